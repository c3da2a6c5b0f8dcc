#!/usr/bin/python3
"""The suites behind tools/test: builds what each needs, runs it, adds up single tests.

C suites run under ctest and count cmocka's single tests (TAP); Python suites print TAP themselves. A program that dies counts
as one more failure. Environment: MINTD_KILLS (kills of the kill -9 harness, default 300), MINTD_TEST_SCALE (a factor on
kills, default 1), MINTD_JOBS (default: number of cores), CI=true (skips marked `peer` fail).
"""
import glob
import os
import re
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "/usr/bin/python3"
JOBS = int(os.environ.get("MINTD_JOBS", os.cpu_count() or 1))
KILLS = int(int(os.environ.get("MINTD_KILLS", "300")) * float(os.environ.get("MINTD_TEST_SCALE", "1")))
TAP = re.compile(r"^(not ok|ok) \d+(?: - |\s)?(.*)$", re.M)
PLAN = re.compile(r"^1\.\.(\d+)$", re.M)
# Presets beside those of CMakePresets.json: a build that honours planted bugs.
EXTRA = {"sabotage": ("dev", "-DCMAKE_C_FLAGS=-DMINTD_SABOTAGE")}


class Total:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.lock = threading.Lock()

    def passes(self, count=1):
        with self.lock:
            self.passed += count

    def skips(self, what):
        with self.lock:
            self.skipped += 1
        say(f"  skipped: {what}")

    def fails(self, what, output=""):
        with self.lock:
            self.failed += 1
            self.failures.append(what)
        say(f"  FAILED: {what}")
        for line in output.strip().splitlines()[-40:]:
            say(f"    | {line}")


def say(text):
    print(text, flush=True)


class Progress:
    """Where a suite is: one rewritten line on a terminal, else a line each 20 s."""

    def __init__(self, suite):
        self.suite, self.start, self.shown = suite, time.monotonic(), time.monotonic()
        self.tty = sys.stdout.isatty()

    def show(self, text):
        now = time.monotonic()
        if self.tty:
            sys.stdout.write(f"\r  {self.suite}: {text}"[:100].ljust(100))
            sys.stdout.flush()
        elif now - self.shown > 20:
            self.shown = now
            say(f"  {self.suite}: {text} ({now - self.start:.0f} s)")

    def clear(self):
        if self.tty:
            sys.stdout.write("\r" + " " * 100 + "\r")


def stream(command, progress, env=None, cwd=ROOT):
    """Runs it, showing its last line as progress. Exit code and whole output."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                          errors="replace", cwd=cwd, env={**os.environ, **(env or {})}) as process:
        for line in process.stdout:
            lines.append(line)
            if line.strip():
                progress.show(line.strip())
    progress.clear()
    return process.returncode, "".join(lines)


def build(total, name, targets=()):
    """Configures and builds one preset; a failed build is one failed test."""
    folder = os.path.join(ROOT, "build", name)
    preset, *more = EXTRA.get(name, (name,))
    progress = Progress(f"build {name}")
    code, output = stream(["cmake", "--preset", preset, "-B", folder, *more], progress)
    if code == 0:
        code, output = stream(["cmake", "--build", folder, "-j", str(JOBS),
                               *(["--target", *targets] if targets else [])], progress)
    if code:
        total.fails(f"build {name}", output)
        return False
    total.passes()
    return True


def count_tap(total, name, code, output, shown=""):
    """Adds up the ok / not ok lines of a program; what the plan promised and never came is one failure."""
    seen = failed = 0
    for line in output.splitlines():
        found = TAP.match(line)
        if not found:
            continue
        seen += 1
        what = f"{name}: {found[2]}"
        if "# SKIP" in line:
            total.skips(what)
        elif found[1] == "ok":
            total.passes()
        else:
            failed += 1
            total.fails(what, "" if failed > 1 else shown or output)
    promised = sum(int(number) for number in PLAN.findall(output))
    if seen < promised or (code and not failed) or not seen:
        total.fails(f"{name}: {seen} of {promised} tests ran, exit {code}", output)


def ctest(total, name, *selection, env=None):
    """Every ctest program of that build that the selection names."""
    folder = os.path.join(ROOT, "build", name)
    report = os.path.join(folder, "report.xml")
    if os.path.exists(report):
        os.remove(report)
    stream(["ctest", "--test-dir", folder, "-j", str(JOBS), "--no-tests=error", "--output-junit", report,
            "--test-output-size-passed", "4000000", "--test-output-size-failed", "4000000", *selection],
           Progress(f"ctest {name}"), {"CMOCKA_MESSAGE_OUTPUT": "TAP", "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", **(env or {})})
    if not os.path.exists(report):
        total.fails(f"ctest {name}: nothing ran")
        return
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        program = f"{name}/{case.get('name')}"
        ran = case.get("status") == "run"
        if TAP.search(output):
            count_tap(total, program, 0 if ran else 1, output)
        elif ran:
            total.passes()
        else:
            total.fails(program, output or case.get("status", ""))


def python(total, script, env=None, arguments=(), build_name="dev"):
    """One TAP program."""
    name = os.path.relpath(script, os.path.join(ROOT, "tests"))
    say_env = {"MINTD_BUILD": os.path.join(ROOT, "build", build_name), **(env or {})}
    code, output = stream([PYTHON, script, *arguments], Progress(name), say_env)
    count_tap(total, f"{build_name}/{name}", code, output)


def together(jobs, width):
    """Runs the callables, at most `width` at a time."""
    queue = list(jobs)
    lock = threading.Lock()

    def worker():
        while True:
            with lock:
                if not queue:
                    return
                job = queue.pop(0)
            job()

    threads = [threading.Thread(target=worker) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---- the suites

def crash_points(total):
    """tests/crash-points.txt names exactly the crash points of the source."""
    with open(os.path.join(ROOT, "tests", "crash-points.txt"), encoding="ascii") as file:
        listed = {line.split()[0] for line in file if line.strip() and not line.startswith("#")}
    found = set()
    for path in glob.glob(f"{ROOT}/core/**/*.c", recursive=True) + glob.glob(f"{ROOT}/plugins/*/*.c"):
        with open(path, encoding="utf-8") as file:
            found.update(re.findall(r'\bCRASH\("([^"]+)"\)', file.read()))
    if listed == found:
        total.passes()
    else:
        total.fails("tests/crash-points.txt", f"only listed: {sorted(listed - found)}, only in the source: {sorted(found - listed)}")


def suite_scripts(total):
    """every script of the tree parses, shell scripts pass shellcheck where it is installed, lists are complete"""
    crash_points(total)
    for path in sorted(glob.glob(f"{ROOT}/t*/**/*.py", recursive=True)):
        code, output = stream([PYTHON, "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", path], Progress("scripts"))
        total.fails(os.path.relpath(path, ROOT), output) if code else total.passes()
    for path in ("tools/demo", "tools/test", "tools/packages.sh", ".ci/run"):
        code, output = stream(["bash", "-n", path], Progress("scripts"))
        total.fails(path, output) if code else total.passes()
        if any(os.access(os.path.join(folder, "shellcheck"), os.X_OK) for folder in os.environ["PATH"].split(":")):
            code, output = stream(["shellcheck", "-x", path], Progress("scripts"))
            total.fails(f"shellcheck {path}", output) if code else total.passes()


def suite_unit(total):
    """gcc, crash points on: unit, abi and flow tests"""
    if build(total, "dev"):
        ctest(total, "dev")


def suite_asan(total):
    """the same under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, with a third of the flow's scripts"""
    if build(total, "asan"):
        ctest(total, "asan", env={"FLOW_SHARE": os.environ.get("FLOW_SHARE", "3")})


def suite_tsan(total):
    """what runs on real threads (host, ops, workers) under ThreadSanitizer"""
    if build(total, "tsan"):
        ctest(total, "tsan", "-R", "_real$")


def suite_clang(total):
    """clang 14 builds all of it without a warning"""
    build(total, "clang")


def suite_release(total):
    """the release build: hardening, exported symbols, install"""
    if build(total, "release"):
        python(total, f"{ROOT}/tests/e2e/release.py", build_name="release")


APART = {"kill.py", "sabotage.py", "release.py"}


def suite_e2e(total):
    """the real daemon through HTTP, real files, real signals"""
    if not build(total, "dev"):
        return
    scripts = [path for path in sorted(glob.glob(f"{ROOT}/tests/e2e/*.py")) if os.path.basename(path) not in APART]
    together([lambda path=path: python(total, path) for path in scripts], JOBS + 1)        # they wait more than they work


def suite_e2e_asan(total):
    """the daemon's main roads under AddressSanitizer"""
    if build(total, "asan"):
        scripts = ("refusals.py", "openapi.py", "access.py", "mint.py", "control.py", "addresses.py", "formats.py", "put.py", "repost.py",
                   "json_input.py", "collection.py", "history.py")
        together([lambda path=f"{ROOT}/tests/e2e/{script}": python(total, path, build_name="asan") for script in scripts], JOBS)


def suite_kill(total):
    """kill -9 under load with a faulty chain: nothing lost, doubled or stuck"""
    if not build(total, "dev"):
        return
    share = max(1, KILLS // 2)
    together([lambda profile=profile: python(total, f"{ROOT}/tests/e2e/kill.py",
                                             arguments=["--profile", profile, "--kills", str(share)])
              for profile in ("solana-like", "hedera-like")], min(JOBS, 2))


def suite_sabotage(total):
    """three planted bugs, each of which the kill harness must see"""
    if build(total, "sabotage", ("mintd", "all")):
        python(total, f"{ROOT}/tests/e2e/sabotage.py", build_name="sabotage")


def suite_gates(total):
    """exact counters: commits, updates, broadcasts, signatures, status requests"""
    if build(total, "release"):
        python(total, f"{ROOT}/tests/bench/gates.py", build_name="release")


SUITES = {name.removeprefix("suite_").replace("_", "-"): function for name, function in list(globals().items())
          if name.startswith("suite_")}


def main():
    words = sys.argv[1:]
    if any(word in ("-h", "--help") for word in words):
        say(f"usage: tools/test [--no-install] [SUITE...]\n\n{__doc__}\nsuites, in this order:")
        say("\n".join(f"  {name:10} {function.__doc__}" for name, function in SUITES.items()))
        return 0
    if "--list" in words:
        say("\n".join(SUITES))
        return 0
    unknown = [word for word in words if word not in SUITES]
    if unknown:
        say(f"test: no suite {unknown[0]}; there are {', '.join(SUITES)}")
        return 2
    total = Total()
    os.chdir(ROOT)
    for place, name in enumerate(words or SUITES, 1):
        say(f"[{place}/{len(words or SUITES)}] {name}: {SUITES[name].__doc__}")
        before, start = (total.passed, total.failed, total.skipped), time.monotonic()
        SUITES[name](total)
        after = (total.passed, total.failed, total.skipped)
        passed, failed, skipped = (b - a for a, b in zip(before, after))
        say(f"  {passed} passed, {failed} failed, {skipped} skipped in {time.monotonic() - start:.0f} s")
    for what in total.failures:
        say(f"FAILED {what}")
    say(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
