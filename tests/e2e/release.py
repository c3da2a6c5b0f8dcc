#!/usr/bin/python3
"""The release build as a packager meets it: hardening of the binaries, exported symbols, what `install` puts where, the header and
the .pc file from outside the tree."""
import glob
import http.client
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from mintd import BUILD, ROOT, Api, binary, environment, free_port, plugin_dir, tickets  # noqa: E402
from tap import check, equal, main, matches, test, until  # noqa: E402

SHIPPED = ("cache-memory", "chain-local", "ipfs", "signer-file", "store-sqlite")
# what a plugin may be linked with beside libc
LIBRARIES = {"cache-memory": set(), "chain-local": {"libcrypto", "libsodium"}, "ipfs": {"libcrypto"},
             "signer-file": {"libsodium"}, "store-sqlite": {"libsqlite3", "libcrypto"}}


def tool(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def elves():
    return [binary(), os.path.join(BUILD, "mintctl")] + [os.path.join(plugin_dir(), name + ".so") for name in SHIPPED]


@test
def binaries_are_hardened(_):
    for path in elves():
        head, dynamic, segments = tool("readelf", "-hW", path), tool("readelf", "-dW", path), tool("readelf", "-lW", path)
        matches(head, r"Type:\s+DYN", path, "is not position independent")
        matches(dynamic, r"BIND_NOW|NOW", path, "is bound lazily")
        matches(segments, r"GNU_RELRO", path)
        stack = re.search(r"GNU_STACK(?:\s+0x\w+){5}\s+([RWE ]+?)\s+0x", segments)
        check(stack and "E" not in stack[1], path, "has an executable stack or none described")
        check("TEXTREL" not in dynamic, path, "has text relocations")
        check(not re.search(r"R(UN)?PATH", dynamic), path, "has a run path")
        check("__stack_chk_fail" in tool("nm", "-D", path), path, "has no stack protector")
    # Debian's own start files carry no CET note, so the linker drops it from the result: the compiler's flag is what there is.
    with open(os.path.join(BUILD, "compile_commands.json"), encoding="utf-8") as file:
        for entry in json.load(file):
            for flag in ("-fcf-protection=full", "-fstack-clash-protection", "-D_FORTIFY_SOURCE=3", "-ftrivial-auto-var-init=zero"):
                check(flag in entry["command"], entry["file"], "was compiled without", flag)
    check(re.search(r"__\w+_chk", tool("nm", "-D", binary())), "no fortified call in the daemon")


@test
def a_plugin_exports_one_symbol(_):
    for name in SHIPPED:
        lines = tool("nm", "-D", "--defined-only", os.path.join(plugin_dir(), name + ".so")).split("\n")
        symbols = {line.split()[-1] for line in lines if line.strip()}
        equal({symbol for symbol in symbols if "mintd_plugin_v0" not in symbol and not symbol.startswith("MINTD")}, set(), name)


@test
def a_plugin_links_its_own_libraries_only(_):
    for name, allowed in LIBRARIES.items():
        needed = set(re.findall(r"NEEDED.*\[(lib[\w-]+?)(?:-[\d.]+)?\.so", tool("readelf", "-dW", os.path.join(plugin_dir(), name + ".so"))))
        equal(needed - allowed - {"libc", "libm"}, set(), name)


@test
def crash_points_are_not_in_a_release(_):
    with open(binary(), "rb") as file:
        content = file.read()
    check(b"MINTD_CRASH_AT" not in content, "crash points are compiled in")
    check(b"MINTD_SABOTAGE" not in content, "planted bugs are compiled in")


def installed(folder):
    subprocess.run(["cmake", "--install", BUILD, "--prefix", "/usr"], check=True, capture_output=True,
                   env={**os.environ, "DESTDIR": folder})
    return sorted(os.path.relpath(path, folder) for path in glob.glob(folder + "/**", recursive=True) if os.path.isfile(path))


@test
def install_puts_everything_in_its_place(folder):
    files = installed(folder)
    text = "\n".join(files)
    matches(text, r"usr/(s?bin)/mintd\n")
    for path in ("bin/mintctl", "share/bash-completion/completions/mintctl", "share/zsh/vendor-completions/_mintctl",
                 "share/fish/vendor_completions.d/mintctl.fish"):
        check(f"usr/{path}\n" in text + "\n", path, "is not installed")
    for name in SHIPPED:
        matches(text, rf"lib/.*mintd/{name}\.so|lib/mintd/{name}\.so")
    matches(text, r"include/mintd/plugin\.h")
    matches(text, r"pkgconfig/mintd[\w-]*\.pc")
    for name in ("dev.cfg", "prod.cfg", "pipeline.cfg"):
        matches(text, name.replace(".", r"\."))
    units = [path for path in files if path.endswith("mintd.service")]
    equal(len(units), 1, "systemd units")
    with open(os.path.join(folder, units[0]), encoding="ascii") as unit:
        text = unit.read()
    check("@" not in re.sub(r"SystemCallFilter=.*", "", text), "a place was not filled in:", text)
    for path in re.findall(r"^Exec\w+=(/usr\S+) -\S* ?-?c? ?(/\S+)", text, re.M):
        check(all(os.path.exists(folder + part) for part in path), path, "is not installed")
    headers = [path for path in files if path.endswith(".h")]
    equal([os.path.basename(path) for path in headers], ["plugin.h"])
    for path in files:
        check(not re.search(r"test|evil|fake", os.path.basename(path)), path, "is a test file")
        check(not os.stat(os.path.join(folder, path)).st_mode & 0o022, path, "is writable by others")


@test
def an_outside_plugin_builds_from_the_installed_header(folder):
    files = installed(folder)
    pc = next(path for path in files if path.endswith(".pc"))
    name = os.path.basename(pc)[:-3]
    env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(os.path.join(folder, pc)), "PKG_CONFIG_SYSROOT_DIR": folder}
    flags = subprocess.run(["pkg-config", "--cflags", name], check=True, capture_output=True, text=True, env=env).stdout.split()
    equal(subprocess.run(["pkg-config", "--modversion", name], check=True, capture_output=True, text=True, env=env).returncode, 0)
    source = os.path.join(folder, "x.c")
    with open(source, "w", encoding="ascii") as file:
        file.write("#include <mintd/plugin.h>\nconst struct mintd_plugin *mintd_plugin_v0(void) { return 0; }\n")
    if not flags:                                            # pkg-config drops -I/usr/include, the compiler's own place
        flags = [f"-I{folder}/usr/include"]
    for words in (["gcc", "-std=c99"], ["gcc", "-std=c11"], ["g++", "-x", "c++", "-std=c++17"]):
        subprocess.run([*words, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-shared", *flags, "-o", folder + "/x.so",
                        source], check=True, capture_output=True)


@test
def an_installed_tree_runs(folder):
    installed(folder)
    mintd = glob.glob(folder + "/usr/*bin/mintd")[0]
    plugins = os.path.dirname(glob.glob(folder + "/usr/lib/**/chain-local.so", recursive=True)[0])
    conf = glob.glob(folder + "/**/dev.cfg", recursive=True)[0]
    port = free_port()
    env = environment(extra={"MINTD_PLUGIN_DIR": plugins, "MINTD_STATE_DIR": folder + "/state", "MINTD_LISTEN_PORT": str(port)})
    for name in ("dev.cfg", "prod.cfg"):
        done = subprocess.run([mintd, "-t", "-c", os.path.join(os.path.dirname(conf), name)], capture_output=True, text=True,
                              check=False, env=env)
        equal(done.returncode, 0, done.stderr)
    with subprocess.Popen([mintd, "-c", conf], stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            until(lambda: process.poll() is not None or answers(port), 15, "ready")
            with open(folder + "/state/admin.key", encoding="ascii") as key:
                equal(Api(port, key.read().strip()).mint("venue-1", tickets("t", 5)).json["summary"]["succeeded"], 5)
        finally:
            process.terminate()
            said = process.communicate(timeout=15)[1]
        equal(process.returncode, 0, said)


def answers(port):
    try:
        return Api(port, None, 5).get("/readyz").status == 200
    except (OSError, http.client.HTTPException):
        return False


@test
def the_daemon_is_small(_):
    size = os.path.getsize(binary())
    check(size < 8 << 20, "the unstripped binary has", size, "bytes")
    check(os.path.getsize(os.path.join(ROOT, "include/mintd/plugin.h")) < 60000)


if __name__ == "__main__":
    sys.exit(main())
