#!/usr/bin/python3
"""Every fenced block of README.md and docs/*.md is run or checked, against a daemon of the test's own.

    sh      run by bash, in order, each page in a machine of its own: paths of /etc, /var and /run lie in the test's folder, port 3018 is
            a free one, systemctl and journalctl are played by small scripts that start and stop a real mintd
    http    sent; the answer is 2xx, or what <!-- answers: STATUS CODE --> says
    json    parsed; <!-- schema: NAME --> holds it against that schema of openapi.json, <!-- body: METHOD PATH --> sends it
    cfg     <!-- file: PATH --> writes it there, then mintd -t takes it; <!-- file --> alone: it is a whole configuration
    sse     parsed
    yaml    <!-- rules --> is what promtool checks
A block that cannot be run has <!-- not run: REASON --> above it; there are few, and their number is bounded here.
"""
import glob
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import schema  # noqa: E402
from mintd import BUILD, ROOT, Api, environment, free_port  # noqa: E402
from tap import check, equal, main, matches, note, skip, test  # noqa: E402

EXCUSED_MAX = 4
BLOCK = re.compile(r"((?:^ *<!-- [^\n]* -->\n)*)^( *)```([^\n]*)\n(.*?)^ *```$", re.M | re.S)
with open(os.path.join(ROOT, "core", "api", "openapi.json"), encoding="utf-8") as described:
    DOC = json.load(described)


class Block:
    def __init__(self, page, line, marks, kind, text):
        self.page, self.line, self.kind, self.text = page, line, kind, text
        self.marks = dict((mark.partition(": ")[0], mark.partition(": ")[2]) for mark in re.findall(r"<!-- (.*?) -->", marks))

    def __repr__(self):
        return f"{self.page}:{self.line}"


def pages():
    return ["README.md", *sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "docs", "*.md")))]


def blocks(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        text = file.read()
    found = []
    for match in BLOCK.finditer(text):
        lines = [line.removeprefix(match[2]) for line in match[4].splitlines(keepends=True)]
        found.append(Block(page, text.count("\n", 0, match.start(3)) + 1, match[1], match[3], "".join(lines)))
    equal(len(found) * 2, len(re.findall(r"^ *```", text, re.M)), page, "fences that do not pair:")
    return found


SYSTEMCTL = """#!/bin/bash
# systemctl as the pages use it: start, stop, restart, reload, enable --now of the one unit
root=@root@ pid=$(cat @root@/pid 2>/dev/null)
begin() {
    mkdir -p $root/run/mintd $root/var/lib/mintd; chmod 700 $root/var/lib/mintd; chmod 750 $root/run/mintd
    nohup mintd -c $root/etc/mintd/prod.cfg >>$root/journal 2>&1 </dev/null & echo $! >$root/pid
    for i in {1..200}; do curl -sf -o $root/ready http://127.0.0.1:@port@/readyz && exit 0; sleep 0.05; done; exit 1
}
end() { [[ -n $pid ]] && kill $pid 2>/dev/null; for i in {1..200}; do kill -0 $pid 2>/dev/null || break; sleep 0.05; done; rm -f $root/pid; }
case $1 in
daemon-reload) ;;
enable) [[ $* == *--now* ]] && begin ;;
start) begin ;;
stop) end ;;
restart) end; begin ;;
reload) mintd -t -c $root/etc/mintd/prod.cfg && kill -HUP $pid ;;
*) echo "systemctl $1: not played" >&2; exit 1 ;;
esac
"""
JOURNALCTL = """#!/bin/bash
case "$*" in
*--vacuum*) exit 0 ;;
*-n*) [[ "$*" =~ -n\\ ([0-9]+) ]]; tail -n ${BASH_REMATCH[1]} @root@/journal ;;
*) cat @root@/journal ;;
esac
"""


class Machine:
    """A folder that the blocks of one page take for the whole machine."""

    def __init__(self, folder):
        self.root, self.port = os.path.join(folder, "root"), free_port()
        self.bin, self.home = os.path.join(self.root, "bin"), os.path.join(self.root, "home")
        for name in ("bin", "home", "etc/mintd/conf.d", "var/lib/mintd", "var/backups", "run/mintd"):
            os.makedirs(os.path.join(self.root, name), mode=0o700)
        for name in ("prod.cfg", "pipeline.cfg"):
            with open(os.path.join(ROOT, "conf", name), encoding="utf-8") as source, open(
                    os.path.join(self.root, "etc", "mintd", name), "w", encoding="utf-8") as file:
                file.write(self.here(source.read()))
        with open(os.path.join(self.root, "etc", "mintd", "conf.d", "00-quick.cfg"), "w", encoding="ascii") as file:
            file.write("instances: { chain: { opts: { slot_ms = 20; }; }; };\n")      # the chain of pipeline.cfg, without its waiting
        for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
            path = os.path.join(self.bin, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(text.replace("@root@", self.root).replace("@port@", str(self.port)))
            os.chmod(path, stat.S_IRWXU)

    def here(self, text):
        """The text with its places moved into the folder."""
        text = re.sub(r"(?<![\w.])/(etc/mintd|var/lib/mintd|var/backups|run/mintd)\b", rf"{self.root}/\1", text)
        text = re.sub(r"(\$PWD/)?(?<!\w)build/(release|dev)\b", BUILD, text)
        return text.replace(":3018", f":{self.port}")

    def environment(self, text=""):
        """mintctl's socket lies in the folder too, unless the block names a server."""
        socket = {} if "MINTCTL_SERVER" in text else {"MINTCTL_SOCKET": os.path.join(self.root, "run/mintd/api.sock")}
        return environment(extra={"PATH": f"{self.bin}:{BUILD}:{os.environ['PATH']}", "MINTD_LISTEN_PORT": str(self.port),
                                  "HOME": self.home, "NO_COLOR": "1", **socket})

    def state(self):
        return os.path.join(self.root, "var/lib/mintd")

    def run(self, block):
        text = self.here(block.text)
        path = os.path.join(self.root, "said")             # no pipe: what runs on in the background would hold it open
        with open(path, "w+", encoding="utf-8") as said:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=self.home, stdin=subprocess.DEVNULL, stdout=said,
                                  stderr=said, timeout=120, check=False, env=self.environment(text))
        with open(path, encoding="utf-8", errors="replace") as said:
            equal(done.returncode, 0, block, text, said.read()[-3000:])

    def api(self):
        for folder in (self.state(), os.path.join(self.home, "state")):
            try:
                with open(os.path.join(folder, "admin.key"), encoding="ascii") as key:
                    return Api(self.port, key.read().strip())
            except FileNotFoundError:
                pass
        raise AssertionError("no daemon was started on this page")

    def start(self):
        """For a page whose blocks do not start one."""
        if not os.path.exists(os.path.join(self.state(), "admin.key")):
            subprocess.run(["systemctl", "start", "mintd"], check=True, env=self.environment())

    def end(self):
        """Ends what the blocks started."""
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    mine = self.root.encode() in file.read() or os.readlink(f"/proc/{entry}/cwd").startswith(self.root)
            except (OSError, ValueError):
                continue
            if mine and entry.isdigit() and int(entry) != os.getpid():
                os.kill(int(entry), signal.SIGTERM)
                end = time.monotonic() + 15
                while os.path.exists(f"/proc/{entry}") and time.monotonic() < end:
                    time.sleep(0.02)


def configuration(machine, block):
    name = block.marks.get("file")
    check(name is not None, block, "a cfg block needs <!-- file: PATH -->")
    path = machine.here(name) if name.startswith("/") else os.path.join(machine.home, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(machine.here(block.text))
    whole = os.path.join(machine.root, "etc/mintd/prod.cfg") if name.startswith("/etc/mintd/conf.d") else path
    done = subprocess.run(["mintd", "-t", "-c", whole], capture_output=True, text=True, check=False, env=machine.environment())
    equal(done.returncode, 0, block, done.stderr)


def answered(block, answer):
    """2xx that fits the schema of the marker, or the refusal that the marker names."""
    wanted = block.marks.get("answers", "").split()
    if wanted:
        equal([str(answer.status), answer.code][:len(wanted)], wanted, block, answer)
    else:
        check(answer.status < 300, block, answer)


def send(machine, block):
    """Method, path and headers up to an empty line, then the body."""
    machine.start()
    head, _, body = block.text.partition("\n\n")
    first, *rest = head.splitlines()
    method, path = first.split()[:2]
    headers = dict(line.split(": ", 1) for line in rest)
    answered(block, machine.api().call(method, path, body.strip() or None, headers))


def document(machine, block):
    value = json.loads(block.text)
    known = [mark for mark in ("schema", "body") if mark in block.marks]
    check(known, block, "a json block needs <!-- schema: NAME --> or <!-- body: METHOD PATH -->")
    if "schema" in block.marks:
        equal(schema.check(value, DOC["components"]["schemas"][block.marks["schema"]], DOC), [], block)
    if "body" in block.marks:
        machine.start()
        method, path = block.marks["body"].split()
        answered(block, machine.api().call(method, path, block.text))


def rules(machine, block):
    check("rules" in block.marks, block, "a yaml block needs <!-- rules -->")
    if not shutil.which("promtool"):
        skip("promtool is not installed", peer=True)
    path = os.path.join(machine.home, "rules.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(block.text)
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    equal(done.returncode, 0, block, done.stdout + done.stderr)
    with open(os.path.join(ROOT, "docs", "man", "mintd-metrics.7.scd"), encoding="utf-8") as file:
        listed = set(re.findall(r"^\*(\S+)\*", file.read().replace("\\_", "_"), re.M))
    used = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bmint(?:d|ing)_\w+", block.text)}
    equal(sorted(used - listed), [], block, "no such metric:")


def stream(_, block):
    """Server-Sent Events: fields that exist, data that is JSON."""
    for line in block.text.splitlines():
        name, _, value = line.partition(": ")
        check(not line or line.startswith(":") or name in ("id", "event", "retry", "data"), block, line)
        if name == "data":
            json.loads(value)


CHECKS = {"sse": stream, "sh": lambda machine, block: machine.run(block), "http": send, "json": document, "cfg": configuration, "yaml": rules}


def works(page):
    def run(folder):
        machine = Machine(folder)
        count = 0
        try:
            for block in blocks(page):
                if "not run" in block.marks:
                    continue
                check(block.kind in CHECKS, block, f"a block must be one of {', '.join(CHECKS)}, not {block.kind!r}")
                CHECKS[block.kind](machine, block)
                count += 1
            note(f"{count} blocks")
        finally:
            machine.end()
    run.__name__ = re.sub(r"\W", "_", f"{page} works as it stands")
    return run


for each in pages():
    if blocks(each):
        test(works(each))


@test
def few_blocks_are_excused_each_with_its_reason(_):
    excused = [block for page in pages() for block in blocks(page) if "not run" in block.marks]
    for block in excused:
        check(len(block.marks["not run"]) > 10, block, "no reason")
        note(f"not run: {block}: {block.marks['not run']}")
    check(len(excused) <= EXCUSED_MAX, len(excused), "blocks are not run")


@test
def the_page_of_the_api_names_every_route(_):
    with open(os.path.join(ROOT, "docs", "api.md"), encoding="utf-8") as file:
        named = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path in re.findall(
            r"`(GET|POST|PUT|DELETE) (/[^?` ]*)", file.read())}
    described = {(method.upper(), re.sub(r"\{[^}]*\}", "{}", path)) for path, methods in DOC["paths"].items() for method in methods}
    equal(sorted(described - named), [], "not on the page:")
    equal(sorted((method, path) for method, path in named - described if path.startswith(("/v1", "/admin", "/api"))), [], "no such route:")


@test
def links_lead_somewhere(_):
    for page in [*pages(), *(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, "docs", "decisions", "*.md")))]:
        with open(os.path.join(ROOT, page), encoding="utf-8") as file:
            text = file.read()
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            check(os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)), page, "leads nowhere:", target)


@test
def the_readme_is_short_and_names_what_there_is(_):
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    check(len(text.splitlines()) <= 200, len(text.splitlines()), "lines")
    for page in pages()[1:]:
        check(f"({page})" in text, "README.md does not lead to", page)
    for name in sorted(os.listdir(os.path.join(ROOT, "plugins"))):
        if os.path.exists(os.path.join(ROOT, "plugins", name, "plugin.c")):
            matches(text, rf"`{name}`")


if __name__ == "__main__":
    sys.exit(main())
