#!/usr/bin/python3
"""What mintd must refuse at its command line and at start, each with one precise line and exit 1; nothing may be harmed."""
import hashlib
import http.client
import os
import re
import shutil
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import mintd as lib  # noqa: E402
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import BUILD, ROOT, Daemon, environment, plugin_dir, run, tickets  # noqa: E402
from tap import check, equal, main, matches, note, skip, test  # noqa: E402

SANITIZED = BUILD.endswith(("asan", "tsan"))


def reason(said):
    """The one line that says why: the only error in the log, or the only line of a daemon that did not come to have a log."""
    errors = [line for line in said.splitlines() if re.match(r"\S+Z error ", line)] or [
        line for line in said.splitlines() if not re.match(r"\S+Z (warn|info) ", line)]
    equal(len(errors), 1, "not one clear line:", said)
    return errors[0]


def refused(folder, config, pattern, env=None):
    """A start that must end with 1 and say why in one line that is kept, whatever the level; returns that line."""
    config.log.setdefault("level", "warn")
    mintd = Daemon(folder, config)
    before = len(mintd.log)                                # of an earlier life
    with mintd.launch(env):
        equal(mintd.wait(20), 1, mintd.log[-2000:])
        said = mintd.log[before:]
        check("Sanitizer" not in said, said)
        check("accepts work" not in said or "network" in said, "it said that it works:", said)
        line = reason(said)
        matches(line, pattern)
    return line


def minted(folder, profile="solana-like"):
    """A state folder with a finished batch in it; the daemon has ended."""
    config = Config(profile)
    with Daemon(folder, config).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("t", 7), key="k").status, 200)
        equal(mintd.stop(), 0)
    return config


# ---- command line

@test
def version_and_help_go_to_stdout(_):
    for word in ("--version", "--help"):
        done = run(word)
        equal(done.returncode, 0, word, done.stderr)
        matches(done.stdout, "mintd", word)
        equal(done.stderr if not SANITIZED else "", "", word)


@test
def usage_errors_are_short(_):
    for words in (["--nonsense"], ["-c"], ["surplus"], ["migrate", "surplus"], ["--describe"]):
        done = run(*words)
        check(done.returncode in (1, 2), words, done.returncode)
        check(done.stderr, words, "said nothing")
        check(len(done.stderr.splitlines()) <= 4, words, done.stderr)


@test
def a_missing_file_is_named(folder):
    done = run("-c", os.path.join(folder, "none.cfg"))
    equal(done.returncode, 1)
    matches(done.stderr, r"none\.cfg.*(?i:no such file)")


@test
def the_shipped_files_pass_the_check(folder):
    for name in ("dev.cfg", "prod.cfg"):
        done = run("-t", "-c", os.path.join(ROOT, "conf", name), env={
            "MINTD_STATE_DIR": folder, "ADMIN_API_KEY": "k" * 40, "CREDENTIALS_DIRECTORY": folder})
        note(name, done.returncode, done.stderr.strip()[:300])
        if name == "dev.cfg":
            equal(done.returncode, 0, done.stderr)


@test
def the_check_finds_every_mistake_with_file_and_line(folder):
    config = Config("solana-like")
    config.log["levl"] = "info"
    config.api["wait"] = "5 fortnights"
    config.write(folder)
    done = run("-t", "-c", config.path(folder))
    equal(done.returncode, 1)
    matches(done.stderr, r"mintd\.cfg:\d+: .*levl")
    matches(done.stderr, r"(?i)did you mean.*level")
    equal(len([line for line in done.stderr.splitlines() if "mintd.cfg:" in line]), 2, done.stderr)


@test
def the_effective_settings_show_their_origin_and_no_secret(folder):
    config = Config("solana-like")
    config.write(folder)
    secret = "s3cr3t-" + "x" * 40
    done = run("-T", "-c", config.path(folder), env={"ADMIN_API_KEY": secret, "MAX_BATCH_SIZE": "7"})
    equal(done.returncode, 0, done.stderr)
    matches(done.stdout, r"mintd\.cfg:\d+")
    matches(done.stdout, r"7\b[^\n]*MAX_BATCH_SIZE")
    check(secret not in done.stdout + done.stderr, "the secret was printed")


@test
def every_plugin_describes_itself(_):
    for name in ("cache-memory", "chain-local", "ipfs", "signer-file", "store-sqlite"):
        done = run("--describe", name)
        equal(done.returncode, 0, name, done.stderr)
        matches(done.stdout, name)
        done = run("--describe", name, "--json")
        equal(done.returncode, 0, name, done.stderr)
        check(name.encode() in done.stdout.encode(), name)
        check(isinstance(__import__("json").loads(done.stdout), dict), done.stdout[:200])
    done = run("--describe", "chain-locl")
    equal(done.returncode, 1)
    matches(done.stderr, "chain-locl")


# ---- plugin files

def with_plugins(folder):
    """A private plugin folder to spoil."""
    plugins = os.path.join(folder, "plugins")
    shutil.copytree(plugin_dir(), plugins)
    return plugins


@test
def a_plugin_file_that_is_not_one_is_refused(folder):
    plugins = with_plugins(folder)
    victim = os.path.join(plugins, "cache-memory.so")

    def library(source):
        path = os.path.join(folder, "x.c")
        with open(path, "w", encoding="ascii") as file:
            file.write(source)
        subprocess.run(["gcc", "-shared", "-fPIC", f"-I{ROOT}/include", "-o", victim, path], check=True)

    def text():
        with open(victim, "w", encoding="ascii") as file:
            file.write("not a library\n")

    head = '#include "mintd/plugin.h"\n__attribute__((visibility("default"))) const struct mintd_plugin *mintd_plugin_v0(void)'
    cases = (
        ("text", text),
        ("empty", lambda: open(victim, "w", encoding="ascii").close()),
        ("cut", lambda: os.truncate(victim, 5000)),
        ("missing", lambda: os.remove(victim)),
        ("no entry", lambda: library("int other(void) { return 0; }\n")),
        ("null", lambda: library(head + " { return 0; }\n")),
        ("other kind", lambda: shutil.copy(os.path.join(plugins, "signer-file.so"), victim)),
        ("no magic", lambda: library("#include <stddef.h>\n" + head +
                                     " { static const struct mintd_plugin p = { .size = sizeof(p) }; return &p; }\n")),
        ("folder", lambda: (os.remove(victim), os.mkdir(victim))),
    )
    for place, (what, spoil) in enumerate(cases):
        spoil()
        note(what, refused(os.path.join(folder, f"case{place}"), Config("solana-like"), r"mintd\.cfg:\d+: .*cache-memory",
                           {"MINTD_PLUGIN_DIR": plugins})[-160:])
        if os.path.isdir(victim):
            os.rmdir(victim)
        shutil.copy(os.path.join(plugin_dir(), "cache-memory.so"), victim)


@test
def a_plugin_that_others_may_write_is_refused(folder):
    plugins = with_plugins(folder)
    for place, mode in enumerate((0o666, 0o664, 0o757)):
        os.chmod(os.path.join(plugins, "chain-local.so"), mode)
        refused(os.path.join(folder, f"mode{place}"), Config("solana-like"), "chain-local.*lets group or others write",
                {"MINTD_PLUGIN_DIR": plugins})
    os.chmod(os.path.join(plugins, "chain-local.so"), 0o755)
    if os.geteuid() == 0:
        os.chown(os.path.join(plugins, "chain-local.so"), 12345, 12345)
        refused(os.path.join(folder, "owner"), Config("solana-like"), "chain-local.*own", {"MINTD_PLUGIN_DIR": plugins})


# ---- the database file

def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


@test
def a_file_that_is_no_database_is_refused_and_left_alone(folder):
    for place, content in enumerate((b"this is no database, only text\n" * 200, b"\x00" * 8192, os.urandom(8192))):
        home = os.path.join(folder, str(place))
        config = Config("solana-like")
        config.write(home)
        path = config.database(home)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        before = digest(path)
        refused(home, config, "(?i)(not a database|database)")
        equal(digest(path), before, "the file was changed")


@test
def somebody_elses_database_is_refused_and_left_alone(folder):
    config = Config("solana-like")
    config.write(folder)
    path = config.database(folder)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")
    db.execute("INSERT INTO customers VALUES (1, 'Ada')")
    db.commit()
    db.close()
    refused(folder, config, "(?i)(not mintd|database|schema|belong)")
    db = sqlite3.connect(path)
    equal(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0], 1, "tables were added")
    db.close()


@test
def a_newer_schema_is_refused(folder):
    config = minted(folder)
    db = sqlite3.connect(config.database(folder))
    db.execute("INSERT INTO migrations SELECT version + 100, 'from the future', checksum, applied_at FROM migrations "
               "ORDER BY version DESC LIMIT 1")
    db.execute("PRAGMA user_version = 1000")
    db.commit()
    db.close()
    before = digest(config.database(folder))
    refused(folder, config, "(?i)newer")
    equal(digest(config.database(folder)), before, "the file was changed")


@test
def missing_triggers_are_refused_unless_migration_restores_them(folder):
    config = minted(folder)
    db = sqlite3.connect(config.database(folder))
    name = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name LIMIT 1").fetchone()[0]
    db.execute(f'DROP TRIGGER "{name}"')
    db.commit()
    db.close()
    config.top["migrate"] = False
    refused(folder, config, "(?i)trigger")
    equal(run("migrate", "-c", config.path(folder)).returncode, 1, "mended without being asked to")
    config.store["repair_triggers"] = True
    config.write(folder)
    done = run("migrate", "-c", config.path(folder))
    equal(done.returncode, 0, done.stderr)
    with Daemon(folder, config).start() as mintd:
        equal(mintd.stop(), 0)


def try_damaged(mintd):
    """Asks a daemon on a damaged database for this and that. Its exit code, None: nothing it did met the damage."""
    asked = (lambda: mintd.api().mint("venue-1", tickets("t", 7), key="k"), lambda: mintd.api().get("/admin/mints/t-000003"),
             lambda: mintd.api().mint("venue-1", tickets("u", 2), key="l"))
    try:
        mintd.wait_ready(10)
        answers = [ask().status for ask in asked]
        check(set(answers) <= {200, 202, 503}, answers)
        if set(answers) == {200}:
            return None
    except (AssertionError, OSError, http.client.HTTPException):
        pass
    return mintd.wait(10)


@test
def damaged_pages_end_the_daemon_and_nothing_is_minted_twice_after_the_restore(folder):
    config = minted(folder)
    config.log["level"] = "warn"
    config.write(folder)
    path, copy = config.database(folder), os.path.join(folder, "copy")
    shutil.copytree(config.state_dir(folder), copy)
    shutil.copy(config.ledger(folder), folder + "/copy.ledger")
    pages = os.path.getsize(path) // 4096
    met = []
    for page in range(0, pages, 5 if SANITIZED else 1):
        shutil.rmtree(config.state_dir(folder))
        shutil.copytree(copy, config.state_dir(folder))
        shutil.copy(folder + "/copy.ledger", config.ledger(folder))
        with open(path, "r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        mintd = Daemon(folder, config)
        before = len(mintd.log)
        with mintd.launch():
            code = try_damaged(mintd)
            if code is None:
                equal(mintd.stop(), 0)
            else:
                equal(code, 1, mintd.log[before:])
                matches(reason(mintd.log[before:]), re.escape(path) + ".*damaged.*restore", "page", page)
                met.append(page)
        shutil.rmtree(config.state_dir(folder))
        shutil.copytree(copy, config.state_dir(folder))                    # older than what was minted meanwhile
        with mintd.start():
            for prefix, count, key in (("t", 7, "k"), ("u", 2, "l")):
                equal(mintd.api().mint("venue-1", tickets(prefix, count), key=key).status, 200, page, mintd.log[before:])
            equal(mintd.stop(), 0)
        uris = [mint["uri"] for mint in Ledger(config.ledger(folder)).mints()]
        equal((len(uris), len(set(uris))), (9, 9), "the ledger after damage of page", page)
    note(f"{len(met)} damaged pages of {pages} were met:", *met)
    check(len(met) >= (4 if SANITIZED else 25), "hardly any damage was met:", met)


@test
def migrate_is_idempotent_and_a_dry_run_changes_nothing(folder):
    config = Config("solana-like", top={"migrate": False})
    config.write(folder)
    done = run("migrate", "--dry-run", "-c", config.path(folder))
    equal(done.returncode, 0, done.stderr)
    check(not os.path.exists(config.database(folder)) or os.path.getsize(config.database(folder)) == 0
          or not lib.Store(config.database(folder)).one("SELECT count(*) FROM sqlite_master"), "the dry run created tables")
    refused(folder, config, "(?i)(migrat|schema)")
    for _ in range(2):
        done = run("migrate", "-c", config.path(folder))
        equal(done.returncode, 0, done.stderr)
    with Daemon(folder, config).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("t", 2)).status, 200)


# ---- keys

@test
def broken_keys_are_refused_without_showing_them(folder):
    good = Config("solana-like")
    good.write(folder)
    cases = {
        "short": b"\x01" * 31, "long": b"\x01" * 33, "empty": b"", "text": b"correct horse battery staple\n",
        "array of 63": str([1] * 63).encode(), "array with 300": str([300] + [1] * 63).encode(),
        "array of text": str(["a"] * 64).encode(), "open array": b"[1,2,3",
        "halves that do not belong together": str(list(range(64))).encode(),
        "pem of rubbish": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "pem cut": b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw",
        "huge": b"\x00" * (4 << 20),
    }
    for place, (what, content) in enumerate(cases.items()):
        home = os.path.join(folder, f"key{place}")
        config = Config("solana-like")
        config.write(home)
        with open(config.key_file(home), "wb") as file:
            file.write(content)
        os.chmod(config.key_file(home), 0o600)
        line = refused(home, config, re.escape(config.key_file(home)))
        note(what, line[-170:])
        if len(content) > 8:
            check(content[:16].decode(errors="ignore").strip() not in line or what.startswith(("pem", "array", "huge")),
                  what, "the key is in the log", line)


@test
def a_key_file_that_others_may_read_is_refused(folder):
    for place, mode in enumerate((0o644, 0o640, 0o602)):
        home = os.path.join(folder, str(place))
        config = Config("solana-like")
        config.write(home)
        with open(config.key_file(home), "w", encoding="ascii") as file:
            file.write("07" * 32)
        os.chmod(config.key_file(home), mode)
        refused(home, config, "(?i)(mode|readable|permission|writable)")


@test
def the_pinned_chain_cannot_be_swapped(folder):
    config = minted(folder)
    os.remove(config.ledger(folder))
    other = Config("hedera-like")
    other.top["state_dir"] = config.state_dir(folder)
    refused(os.path.join(folder, "other"), other, "(?i)(network|chain|pin)")


@test
def the_deployment_name_is_pinned(folder):
    config = minted(folder)
    config.top["deployment"] = "another-name"
    refused(folder, config, "(?i)deployment")


@test
def a_read_only_state_folder_is_named(folder):
    if os.geteuid() == 0:
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*drop, "true"], check=False, capture_output=True).returncode:
            skip("setpriv is not permitted here")
    else:
        drop = []
    config = Config("solana-like")
    config.write(folder)
    os.makedirs(config.state_dir(folder), exist_ok=True)
    os.chmod(config.state_dir(folder), 0o555)
    for path, folders, files in os.walk(folder):
        for name in folders + files:
            if drop:
                os.chown(os.path.join(path, name), 65534, 65534)
    os.chmod(folder, 0o755)
    if drop:
        os.chown(folder, 65534, 65534)
    # the build may lie below a folder that only root may enter
    probe = subprocess.run([*drop, lib.binary(), "--version"], check=False, capture_output=True, env=environment())
    if probe.returncode:
        skip("the build folder is closed to other users")
    done = subprocess.run([*drop, lib.binary(), "-c", config.path(folder)], check=False, capture_output=True, text=True,
                          timeout=20, env=environment())
    equal(done.returncode, 1, done.stderr)
    matches(done.stderr, "(?i)(permission denied|read-only)")
    matches(done.stderr, "state")


if __name__ == "__main__":
    sys.exit(main())
