#!/usr/bin/python3
"""mintctl against the real daemon over both transports, in a real terminal (tmux), in pipes, and against a server that misbehaves:
every command, every exit code, what is asked before money is spent, what goes to stdout and what to stderr."""
import gzip
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import ledger  # noqa: E402
from conf import Config  # noqa: E402
from mintd import BUILD, Daemon, batch, free_port, ticket, tickets  # noqa: E402
from tap import check, equal, main, matches, skip, test, until  # noqa: E402

BINARY = os.path.join(BUILD, "mintctl")
OK, FAILED, USAGE, PARTIAL, NOT_FOUND, REFUSED, UNREACHABLE, TIMEOUT, DETACHED = 0, 1, 2, 3, 4, 5, 6, 7, 130
ESCAPE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def environment(**more):
    """Nothing of the caller's that mintctl reads."""
    ours = {name: value for name, value in os.environ.items()
            if not re.match(r"MINTCTL_|MINTD_|NO_COLOR$|COLUMNS$|LC_|LANG$|TERM$|TZ$|TMPDIR$", name)}
    return {**ours, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC", **more}


def ctl(*words, env=None, stdin=b"", timeout=60, cwd=None):
    done = subprocess.run([BINARY, *words], input=stdin, capture_output=True, timeout=timeout, check=False, cwd=cwd,
                          env=environment(**(env or {})))
    done.out, done.err = done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")
    return done


def ends(done, code, *patterns):
    """The exit code, and what stderr has to say."""
    equal(done.returncode, code, done.out[-500:], done.err[-1500:])
    for pattern in patterns:
        matches(done.err, pattern)
    return done


def by_socket(mintd):
    return {"MINTCTL_SOCKET": mintd.config.listen["unix"]}


def by_http(mintd):
    return {"MINTCTL_SERVER": f"http://127.0.0.1:{mintd.port}", "MINTCTL_KEY_FILE": os.path.join(mintd.state_dir, "admin.key")}


def config(folder, profile="solana-like", **groups):
    where = os.path.join(folder, "run")
    os.makedirs(where, mode=0o700, exist_ok=True)
    return Config(profile, listen={"unix": os.path.join(where, "api.sock")}, **groups)


def daemon(folder, profile="solana-like", **groups):
    return Daemon(folder, config(folder, profile, **groups))


def write(folder, name, content):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def lines(text):
    """JSON lines, each a document."""
    return [json.loads(line) for line in text.splitlines()]


def submitted(mintd, venue, items, *words, code=OK):
    path = write(mintd.folder, f"{venue}.json", batch(venue, items))
    return lines(ends(ctl("submit", path, "--yes", "--json", *words, env=by_socket(mintd)), code).out)[0]


# ---- a server of one's own

class Fake:
    """An HTTP server that answers what it is told: answers is a list of (status, headers, body) or a function of the request; the
    last one stays. Every request is kept: method, path, headers, body."""

    def __init__(self, *answers):
        fake = self
        self.answers, self.seen, self.keep_bodies = list(answers), [], True

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_all(self):
                fake.handle(self)

            do_GET = do_POST = do_PUT = do_DELETE = handle_all

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None           # clients may leave whenever they like
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def handle(self, request):
        length, body = int(request.headers.get("Content-Length") or 0), b""
        while length:
            part = request.rfile.read(min(length, 1 << 16))
            if not part:
                break
            length -= len(part)
            body = body + part if self.keep_bodies else b""
        self.seen.append((request.command, request.path, request.headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(request)
        if answer is None:
            request.close_connection = True
            return
        status, headers, content = answer
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        request.send_response(status)
        kind = "application/json" if status < 400 else "application/problem+json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        try:
            request.wfile.write(content)
        except OSError:
            request.close_connection = True

    def env(self, **more):
        return {"MINTCTL_SERVER": f"http://127.0.0.1:{self.server.server_address[1]}", "MINTCTL_KEY": "k", **more}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def problem(status, code, detail, errors=(), **headers):
    body = {"type": f"urn:mintd:error:{code}", "title": "x", "status": status, "detail": detail, "code": code, "errors": list(errors),
            "request_id": "abc"}
    return status, {"X-Request-Id": "abc", **{name.replace("_", "-"): value for name, value in headers.items()}}, body


def described(state="completed", total=2, good=2, bad=0, **more):
    return {"batchId": "7", "venueId": "v", "state": state, "createdAt": "2026-01-02T03:04:05.678Z",
            "summary": {"total": total, "succeeded": good, "failed": bad},
            "items": {"open": total - good - bad, "quarantined": 0, "minted": good, "failed": bad, "cancelled": 0}, "fee": "10", **more}


ESTIMATE = (200, {}, {"count": 2, "estimatedSOL": 0.5, "currency": "SOL", "amount": 0.5, "estimatedTimeSeconds": 3})
ACCEPTED = (202, {"Location": "/v1/batches/7"}, {"batchId": "7", "state": "accepted", "total": 2})


# ---- a terminal of one's own

class Screen:
    """A tmux window: what is on it is what a person sees."""

    def __init__(self, folder, width, height, env):
        if not shutil.which("tmux"):
            skip("tmux is not installed", peer=True)
        self.base = ["tmux", "-f", "/dev/null", "-S", os.path.join(folder, f"tmux-{width}x{height}")]
        words = [f"{name}={value}" for name, value in {**env, "PS1": "$ ", "PATH": f"{BUILD}:{os.environ['PATH']}"}.items()]
        shell = ["env", *words, "bash", "--norc", "--noprofile"]
        self.run("new-session", "-d", "-x", str(width), "-y", str(height), " ".join(f"'{word}'" for word in shell), env=environment())
        self.wait(r"\$ *$")

    def run(self, *words, env=None):
        return subprocess.run([*self.base, *words], capture_output=True, text=True, check=True, env=env or environment()).stdout

    def keys(self, *keys):
        self.run("send-keys", *keys)

    def type(self, line):
        self.run("send-keys", "-l", line)
        self.keys("Enter")

    def text(self, escapes=False):
        return self.run("capture-pane", "-p", *(["-e"] if escapes else [])).rstrip("\n")

    def wait(self, pattern, timeout=30):
        def there():
            text = self.text()
            return text if re.search(pattern, text, re.S) else None
        try:
            return until(there, timeout, pattern)
        except AssertionError:
            raise AssertionError(f"not on the screen: {pattern!r}\n{self.text()}") from None

    def fresh(self, line):
        """Types it on an empty screen, so that nothing of before is taken for its answer."""
        self.wait(r"\$ *$")
        self.type("clear")
        self.wait(r"^\$ *$")
        self.type(line)

    def command(self, line, timeout=30):
        """Runs it to its end on an empty screen; the screen without the prompt, and its exit code."""
        self.fresh(f"clear; {line}; echo \"[rc=$?]\"")
        text = self.wait(r"\n?\[rc=\d+\]\n\$ *$", timeout)
        return text[:text.rindex("[rc=")], int(re.search(r"\[rc=(\d+)\]\n\$ *$", text)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run([*self.base, "kill-server"], capture_output=True, check=False)


def fits(text, width):
    for line in text.splitlines():
        check(len(line) <= width, f"wider than {width}:", line)


# ---- the command line itself

def command_table():
    return json.loads(ends(ctl("help", "--json"), OK).out)


@test
def help_begins_with_examples_and_names_every_option(_):
    table = command_table()
    check(len(table["commands"]) >= 34, len(table["commands"]))
    for command in table["commands"]:
        for words in ([*command["name"].split(), "--help"], ["help", *command["name"].split()]):
            done = ends(ctl(*words), OK)
            equal(done.err, "")
            check(done.out.startswith(f"mintctl {command['name']}: {command['summary']}\n"), done.out)
            check(done.out.index("Examples") < done.out.index("Usage"), done.out)
            check(command["examples"] and all(f"mintctl {command['name']}" in text for text in command["examples"]), command)
            for option in command["options"]:
                check(re.search(rf"--{option}\b", done.out), command["name"], option)
            fits(done.out, 80)
    whole = ends(ctl("--help"), OK).out
    for command in table["commands"]:
        check(f"  {command['name']}" in whole, command["name"])
    for word in [f"--{option}" for option in table["global"]] + [row["name"] for row in table["variables"]]:
        check(word in whole, word)
    for row in table["exits"]:
        matches(whole, rf"\n  {row['code']} +\S")


@test
def examples_of_the_help_are_command_lines_that_parse(folder):
    """Each is run against nothing that listens: it gets as far as asking the daemon, or needs none."""
    write(folder, "gala.json", "{}")
    write(folder, "tickets.csv", "id\n1\n")
    for command in command_table()["commands"]:
        for example in command["examples"]:
            line = example.split("\n")[-1]
            if "completion" in line:
                continue
            for part in re.split(r"\s*(?:&&|\|)\s*", line):
                words = part.split(" > ")[0].split()
                if words[0] != "mintctl":
                    continue
                done = ctl(*words[1:], "--no-input", env={"MINTCTL_SOCKET": "/nonexistent/sock"}, stdin=b'{"id": "a"}', cwd=folder)
                allowed = {"help": (OK,)}.get(words[1], (UNREACHABLE, USAGE))
                check(done.returncode in allowed, part, done.returncode, done.err)
                check(done.returncode != USAGE or "nobody is there to answer" in done.err, part, done.err)


@test
def wrong_words_are_named_with_what_would_be_right(_):
    for words, pattern in (
            ((), r"^mintctl drives the minting daemon"),
            (("submti",), r"no command submti; did you mean submit\?"),
            (("batch", "lst"), r"no command batch lst; did you mean batch list\?"),
            (("bach", "list"), r"no command bach; did you mean batch"),
            (("frobnicate",), r"no command frobnicate; mintctl help lists them"),
            (("batch",), r"batch list .*batch cancel"),
            (("status", "--jsn"), r"no option --jsn; did you mean --json\?"),
            (("status", "--zzzzzz"), r"no option --zzzzzz; mintctl help"),
            (("status", "-Z"), r"no option -Z"),
            (("status", "--json=1"), r"--json takes no value"),
            (("status", "--server"), r"--server wants URL"),
            (("status", "--venue", "x"), r"status has no option --venue"),
            (("status", "x"), r"takes nothing more, but there is x"),
            (("watch",), r"watch wants BATCH: mintctl watch BATCH"),
            (("watch", "seven"), r"a batch is a number like 7, not seven"),
            (("watch", "0"), r"a batch is a number"),
            (("status", "-o", "xml"), r"-o is table, json or csv, not xml"),
            (("status", "-o", "csv"), r"status has no CSV: only lists have"),
            (("batch", "list", "-o", "csv", "--json"), r"--json and -o csv: which of them\?"),
            (("batch", "list", "--venue", "a", "--venue", "b"), r"--venue is there twice: a and b"),
            (("batch", "list", "--limit", "many"), r"--limit is a number of rows"),
            (("batch", "list", "--from", "yesterday"), r"--from is a time like"),
            (("status", "--timeout", "soon"), r"--timeout is a time like"),
            (("status", "--timeout", "0"), r"--timeout is a time like"),
            (("estimate", "many"), r"estimate wants a number of tickets, not many"),
            (("completion", "csh"), r"bash, zsh and fish, not for csh"),
            (("help", "nothing"), r"no command nothing"),
            (("a",) * 12, r"too many words|no command")):
        done = ends(ctl(*words, env={"MINTCTL_SOCKET": "/nonexistent/sock"}), USAGE, pattern)
        equal(done.out, "", words)
    equal(ends(ctl("batch", "--help"), OK).err, "")
    matches(ends(ctl("--version"), OK).out, r"^mintctl \d+\.\d+\.\d+\nlibcurl 7\.|8\.")


@test
def the_place_of_the_daemon_is_told_once(folder):
    for env, words, pattern in (
            ({"MINTCTL_SOCKET": "/a", "MINTCTL_SERVER": "http://x"}, (), r"which of them\?"),
            ({}, ("--socket", "/a", "--server", "http://x"), r"which of them\?"),
            ({}, ("--server", "ftp://x"), r"the server is a URL like"),
            ({}, ("--server", "127.0.0.1:3018"), r"the server is a URL like"),
            ({}, ("--server", "http://"), r"the server is a URL like"),
            ({}, ("--server", "http://me:secret@x"), r"no user or password"),
            ({}, ("--socket", "/" + "x" * 120), r"longer than 107 bytes"),
            ({}, ("--server", "http://127.0.0.1:1", "--key-file", folder + "/none"), r"cannot read the key file .*/none: No such file"),
            ({}, ("--server", "http://127.0.0.1:1", "--key-file", write(folder, "empty", "\n")), r"the key is empty"),
            ({"MINTCTL_KEY": "two words"}, ("--server", "http://127.0.0.1:1"), r"not one word of visible ASCII")):
        ends(ctl("status", *words, env=env), USAGE, pattern)
    done = ends(ctl("status", "--server", "http://127.0.0.1:1", env={"MINTCTL_SOCKET": "/a"}), UNREACHABLE)
    check("key" not in done.err, done.err)
    loose = write(folder, "loose", "k\n")
    os.chmod(loose, 0o644)
    ends(ctl("status", "--server", "http://127.0.0.1:1", "--key-file", loose), UNREACHABLE, r"others may read the key file")
    os.chmod(loose, 0o600)
    check("others" not in ctl("status", "--server", "http://127.0.0.1:1", "--key-file", loose).err)
    done = ctl("status", "--server", "http://192.0.2.1:9", "--timeout", "300ms", "--key-file", loose)
    check(done.returncode in (TIMEOUT, UNREACHABLE), done.err)
    matches(done.err, r"the key travels unencrypted to http://192\.0\.2\.1:9")
    with Fake(lambda _: time.sleep(3)) as fake:
        ends(ctl("status", "--timeout", "300ms", env=fake.env()), TIMEOUT, r"the time of --timeout is over")


# ---- the daemon, both ways

@test
def both_transports_and_what_keeps_one_out(folder):
    with daemon(folder).start() as mintd:
        for env in (by_socket(mintd), by_http(mintd)):
            ends(ctl("batch", "list", env=env), OK, r"no batches")
        http_only = {"MINTCTL_SERVER": f"http://127.0.0.1:{mintd.port}"}
        ends(ctl("batch", "list", env=http_only), REFUSED, r"401 auth\.key", r"--key-file FILE, MINTCTL_KEY or MINTCTL_KEY_FILE", r"request \w+")
        ends(ctl("batch", "list", env={**http_only, "MINTCTL_KEY": "wrong"}), REFUSED, r"401 auth\.key")
        ends(ctl("ticket", "show", "x", env={**http_only, "MINTCTL_KEY": "wrong"}), REFUSED, r"401 auth\.key")
        equal(ctl("batch", "list", env={**http_only, "MINTCTL_KEY": mintd.key}).returncode, OK)
        equal(ctl("batch", "list", "--server", http_only["MINTCTL_SERVER"] + "/", "--key-file", os.path.join(mintd.state_dir, "admin.key")).returncode, OK)
        env = by_socket(mintd)
        equal(mintd.stop(), 0)
        for down in (env, by_http(mintd)):
            done = ends(ctl("batch", "list", env=down), UNREACHABLE, r"cannot reach mintd on ")
            equal(done.out, "")
            ends(ctl("batch", "list", "--json", env=down), UNREACHABLE)
    ends(ctl("status", env={"MINTCTL_SOCKET": folder + "/none"}), UNREACHABLE, r"No such file or directory", r"is it running\?")


@test
def a_folder_that_may_not_be_entered_is_a_refusal(folder):
    if os.geteuid():
        skip("only root can become somebody else")
    binary = shutil.copy(BINARY, folder)
    os.chmod(folder, 0o755)
    os.chmod(binary, 0o755)
    with daemon(folder).start() as mintd:
        done = subprocess.run([binary, "status"], capture_output=True, text=True, check=False, user=65534, group=65534, extra_groups=[],
                              env=environment(**by_socket(mintd)))
        equal(done.returncode, REFUSED, done.stderr)
        matches(done.stderr, r"Permission denied \(whoever is to use it belongs to the group of its folder\)")


# ---- submit

@test
def a_file_is_minted_and_a_repeat_is_the_same_batch(folder):
    with daemon(folder).start() as mintd:
        env = by_socket(mintd)
        path = write(folder, "show.json", batch("arena", tickets("a", 30)))
        done = ends(ctl("submit", path, "--yes", env=env), OK, r"show\.json: json, 30 tickets, 5\.\d kB \(format guessed; --format forces one\)",
                    r"accepted as batch 1")
        matches(done.out, r"^batch +1\nvenue +arena\nstate +completed\ntickets +30: 30 minted\n")
        check(not ESCAPE.search(done.out + done.err), done.out, done.err)
        done = ends(ctl("submit", path, "--yes", "--no-wait", env=env), OK, r"batch 1 has this file already")
        equal(done.out, "1\n")
        done = ends(ctl("submit", path, "--yes", "--json", env=env), OK)
        equal((lines(done.out)[0]["batchId"], lines(done.out)[0]["state"]), ("1", "completed"))
        equal(len(mintd.store().items()), 30)
        other = write(folder, "other.json", batch("arena", tickets("b", 3)))
        done = ends(ctl("submit", other, "--yes", "--no-wait", "--json", "--key", "mine", env=env), OK)
        number = lines(done.out)[0]["batchId"]
        equal(lines(ends(ctl("submit", "-", "--yes", "--no-wait", "--json", "--key", "mine", env=env, stdin=batch("arena", tickets("b", 3))), OK).out)
              [0]["batchId"], number)
        ends(ctl("submit", path, "--yes", "--key", "mine", env=env), REFUSED, r"422 idempotency\.other_body")
        equal(ctl("watch", number, env=env).returncode, OK)
        equal(len(mintd.store().items()), 33)


@test
def standard_input_may_be_a_pipe_or_a_file(folder):
    with daemon(folder).start() as mintd:
        body = batch("arena", tickets("p", 5))
        done = ends(ctl("submit", "-", "--yes", env=by_socket(mintd), stdin=body), OK, r"standard input: json, 5 tickets")
        matches(done.out, r"5 minted")
        with open(write(folder, "f.json", body), "rb") as file:
            done = subprocess.run([BINARY, "submit", "-", "--yes", "--json"], stdin=file, capture_output=True, check=False,
                                  env=environment(**by_socket(mintd)))
        equal(done.returncode, OK, done.stderr)
        equal(json.loads(done.stdout)["batchId"], "1")
        equal(mintd.store().one("SELECT count(*) FROM requests"), 1)


@test
def every_format_is_minted_and_known_tickets_are_told(folder):
    """The same three tickets in five shapes are minted once; what is new among them is; other content is refused whole."""
    with daemon(folder).start() as mintd:
        env = by_socket(mintd)
        rows = [{"id": f"t-{n}", "userId": f"u{n}", "ticketData": {"tier": "VIP, front", "seat": f"A{n}"}} for n in (1, 2, 3)]
        table = "id,userId,tier,seat\n" + "".join(f'{row["id"]},{row["userId"]},"{row["ticketData"]["tier"]}",{row["ticketData"]["seat"]}\n' for row in rows)
        shapes = {"t.csv": table, "t.ndjson": "".join(json.dumps(row) + "\n" for row in rows), "t.array": json.dumps(rows),
                  "t.csv.gz": gzip.compress(table.encode()), "t.json": batch("arena", rows)}
        for n, (name, content) in enumerate(shapes.items()):
            words = () if name == "t.json" else ("--venue", "arena")
            done = ends(ctl("submit", write(folder, name, content), "--yes", "--json", *words, env=env), OK, rf"{name}: \S.*, 3 tickets, ")
            equal((lines(done.out)[0]["batchId"], lines(done.out)[0]["summary"]["succeeded"]), ("1", 3))
            if n:
                matches(done.err, r"3 of its tickets were accepted before and are not minted again: batch 1\n")
        more = write(folder, "more.csv", table + "t-4,u4,VIP,A4\n")
        done = ends(ctl("submit", more, "--yes", "--venue", "arena", "--dry-run", env=env), OK, r"dry run: everything is right, nothing was changed")
        matches(done.out, r"^venue +arena\npipeline +tickets\ntickets +4\nnew +1\nknown +3\ntransactions +1\n.*cost +1 ticket: about [\d.]+ LOC, ")
        done = ends(ctl("submit", more, "--yes", "--venue", "arena", "--dry-run", "--json", env=env), OK)
        equal([lines(done.out)[0][name] for name in ("dryRun", "total", "new", "known")], [True, 4, 1, 3])
        equal(mintd.store().one("SELECT count(*) FROM requests"), 1)
        done = ends(ctl("submit", more, "--yes", "--venue", "arena", env=env), OK, r"3 of its tickets were accepted before .*: batch 1\naccepted as batch \d+\n")
        number = re.search(r"accepted as batch (\d+)", done.err)[1]
        equal(len(mintd.store().items()), 4)
        other = write(folder, "other.csv", table.replace("front", "back"))
        for words in (("--dry-run",), ()):
            ends(ctl("submit", other, "--yes", "--venue", "arena", *words, env=env), REFUSED, r"409 ticket\.exists: .*\n  /tickets/0: .*\(line 2\)")
        broken = write(folder, "broken.csv", "id,tier\nx-1,VIP\n,VIP\n")
        ends(ctl("submit", broken, "--yes", "--venue", "arena", env=env), REFUSED, r"422 .*/tickets/1.*line 3")
        equal(len(mintd.store().items()), 4)
        both = write(folder, "both.json", json.dumps([rows[0], {"id": "t-4", "userId": "u4", "ticketData": {"tier": "VIP", "seat": "A4"}}]))
        done = ends(ctl("submit", both, "--yes", "--venue", "arena", "--json", env=env), OK, rf"2 of its tickets .*: batch 1, {number}\n")
        equal(lines(done.out)[0]["batches"], ["1", number])


@test
def nothing_is_spent_unasked(folder):
    """Without a terminal and without --yes nothing is sent, whatever the command."""
    with daemon(folder, chain={"fail_names": ["Concert a-000001"]}).start() as mintd:
        env = by_socket(mintd)
        path = write(folder, "a.json", batch("arena", tickets("a", 3)))
        for words in (("submit", path), ("submit", path, "--no-input")):
            ends(ctl(*words, env=env), USAGE, r"submit asks before it goes on and nobody is there to answer: say --yes")
        equal(mintd.store().one("SELECT count(*) FROM requests"), 0)
        equal(ctl("submit", path, "--yes", env=env).returncode in (OK, PARTIAL, FAILED), True)
        before = mintd.store().rows("SELECT id, state FROM chunks ORDER BY id")
        for words in (("batch", "cancel", "1"), ("batch", "retry", "1"), ("cache", "clear"), ("cache", "rm", "a-000001"),
                      ("key", "revoke", "x")):
            done = ends(ctl(*words, env=env), USAGE, r"nobody is there to answer: say --yes")
            equal(done.out, "", words)
        equal([tuple(row) for row in mintd.store().rows("SELECT id, state FROM chunks ORDER BY id")], [tuple(row) for row in before])


@test
def what_became_of_it_is_the_exit_code(folder):
    """Planted failures: all, some; not found; cancelled."""
    bad = {"fail_names": ["Concert x-1", "Concert y-1"]}
    with daemon(folder, chain=bad).start() as mintd:
        env = by_socket(mintd)
        named = {"eventDate": "2026-12-01", "venue": "S", "tier": "VIP"}
        some = [{"id": f"x-{n}", "ticketData": {**named, "eventName": "Concert", "seatNumber": f"x-{n}"}} for n in (1, 2, 3)]
        path = write(folder, "some.json", batch("arena", some))
        done = ends(ctl("submit", path, "--yes", env=env), PARTIAL, r"what failed: mintctl ticket list --batch 1 --state failed")
        matches(done.out, r"state +partial\ntickets +3: 2 minted, 1 failed\n")
        equal(ctl("watch", "1", env=env).returncode, PARTIAL)
        path = write(folder, "all.json", batch("arena", [{"id": "y-1", "ticketData": {**named, "eventName": "Concert", "seatNumber": "y-1"}}]))
        ends(ctl("submit", path, "--yes", env=env), FAILED)
        for words in (("batch", "show", "999"), ("watch", "999"), ("why", "nosuch"), ("ticket", "show", "nosuch"),
                      ("ticket", "show", "x-2", "--venue", "elsewhere"), ("batch", "cancel", "999", "--yes"), ("plugin", "info", "nosuch")):
            done = ends(ctl(*words, env=env), NOT_FOUND, r"mintctl: 404 \w+\.unknown: ", r"request \w+")
            equal(done.out, "", words)
        equal(ctl("batch", "show", "1", env=env).returncode, OK)
        done = ends(ctl("batch", "retry", "1", "--yes", env=env), PARTIAL, r"1 ticket tried again")
        done = ends(ctl("batch", "retry", "1", "--yes", "--no-wait", "--json", env=env), OK)
        equal(set(lines(done.out)[0]), {"batchId", "tickets"})


def slow(folder):
    """A chain on which nothing is final within a test."""
    return daemon(folder, chain={"slot_ms": 5000, "finality": 30})


@test
def time_and_ctrl_c_end_the_watching_not_the_batch(folder):
    with slow(folder).start() as mintd:
        env = by_socket(mintd)
        path = write(folder, "a.json", batch("arena", tickets("a", 4)))
        begun = time.monotonic()
        ends(ctl("submit", path, "--yes", "--timeout", "1s", env=env), TIMEOUT, r"the time of --timeout is over; batch 1 goes on: mintctl watch 1")
        check(time.monotonic() - begun < 8, "took", time.monotonic() - begun)
        for words in (("watch", "1"), ("submit", path, "--yes")):
            watching = subprocess.Popen([BINARY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**env))
            time.sleep(1.2)
            watching.send_signal(signal.SIGINT)
            out, err = watching.communicate(timeout=5)
            equal(watching.returncode, DETACHED, err)
            matches(err, r"no longer watching; batch 1 goes on: mintctl watch 1")
            equal(out, "")
        equal(mintd.store().one("SELECT count(*) FROM requests"), 1)
        matches(ctl("batch", "show", "1", env=env).out, r"state +running|state +accepted")


@test
def a_watch_survives_a_restart_of_the_daemon(folder):
    with daemon(folder, chain={"slot_ms": 100, "finality": 20}).start() as mintd:
        path = write(folder, "a.json", batch("arena", tickets("a", 40)))
        watching = subprocess.Popen([BINARY, "submit", path, "--yes", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env=environment(**by_socket(mintd)))
        until(lambda: mintd.store().one("SELECT count(*) FROM requests"), 10, "accepted")
        time.sleep(0.3)
        mintd.kill()
        time.sleep(0.7)
        mintd.start()
        out, err = watching.communicate(timeout=60)
        equal(watching.returncode, OK, err)
        matches(err, r"asking again\n.*answers again")
        equal(lines(out)[0]["summary"]["succeeded"], 40)


# ---- reading

@test
def batches_and_tickets_are_listed_shown_and_told(folder):
    with daemon(folder, chain={"fail_names": ["Concert a-1"]}).start() as mintd:
        env = by_socket(mintd)
        items = [{"id": f"a-{n}", "ticketData": {"eventName": "Concert", "seatNumber": f"a-{n}"}} for n in range(6)]
        submitted(mintd, "arena", items, code=PARTIAL)
        for n in range(3):
            submitted(mintd, f"venue-{n}", tickets(f"b{n}", 2))
        listed = lines(ends(ctl("batch", "list", "--json", env=env), OK).out)
        equal([row["batchId"] for row in listed], ["4", "3", "2", "1"])
        equal([row["batchId"] for row in lines(ends(ctl("batch", "list", "--json", "--venue", "venue-1", env=env), OK).out)], ["3"])
        done = ends(ctl("batch", "list", "--limit", "2", env=env), OK, r"there is more: --limit 0 shows all")
        rows = done.out.splitlines()
        equal(rows[0].split(), ["BATCH", "VENUE", "STATE", "TICKETS", "MINTED", "FAILED", "FEE", "CREATED"])
        equal([row.split()[0] for row in rows[1:]], ["4", "3"])
        ends(ctl("batch", "list", "--venue", "nowhere", env=env), NOT_FOUND, r"venue\.unknown")
        shown = lines(ends(ctl("batch", "show", "1", "--json", env=env), OK).out)[0]
        equal(shown, mintd.api().get("/v1/batches/1").json)
        tickets_of = lines(ends(ctl("ticket", "list", "--batch", "1", "--limit", "0", "--json", env=env), OK).out)
        equal(sorted(row["ticketId"] for row in tickets_of), [f"a-{n}" for n in range(6)])
        story = lines(ends(ctl("why", "a-2", "--json", env=env), OK).out)[0]
        equal(story, mintd.api().get("/v1/tickets/a-2").json)
        equal(lines(ctl("ticket", "show", "a-2", "--venue", "arena", "--json", env=env).out)[0], story)
        done = ends(ctl("ticket", "show", "a-1", env=env), OK)
        matches(done.out, r"ticket +a-1\nvenue +arena\nstate +failed\n.*code +\S+\nerror +\S")
        check_story(ends(ctl("why", "a-2", env=env), OK).out, story)
        check_failed_story(ends(ctl("why", "a-1", env=env), OK).out)
        check_csv(mintd, env)
        submitted(mintd, "other", [{"id": "a-2", "ticketData": {"x": 1}}])
        ends(ctl("why", "a-2", env=env), REFUSED, r"409 ticket\.ambiguous", r"say which: --venue VENUE")


def check_csv(mintd, env):
    """The whole list, or as many rows as were asked for."""
    whole = ends(ctl("batch", "list", "-o", "csv", "--limit", "0", env=env), OK)
    equal(whole.out.encode(), mintd.api().call("GET", "/v1/batches", headers={"Accept": "text/csv"}).body)
    part = ends(ctl("batch", "list", "-o", "csv", "--limit", "2", env=env), OK, r"2 rows; there may be more: --limit 0 shows all")
    equal(part.out.splitlines(), whole.out.splitlines()[:3])
    rows = ends(ctl("ticket", "list", "-o", "csv", "--batch", "1", "--state", "failed", env=env), OK).out.splitlines()
    equal(len(rows), len(lines(ctl("ticket", "list", "--json", "--batch", "1", "--state", "failed", env=env).out)) + 1)
    some = lines(ends(ctl("ticket", "list", "--json", "--venue", "arena", "--state", "failed,minted", "--from", "1h", env=env), OK).out)
    equal(len(some), 6)
    equal(lines(ctl("ticket", "list", "--json", "--to", "1h", env=env).out), [])
    ends(ctl("ticket", "list", "--state", "lost", env=env), REFUSED, r"400 query\.value", r"known are ")
    ends(ctl("ticket", "list", "--batch", "1", "--venue", "arena", env=env), USAGE, r"chosen by --state alone, not by --venue")
    every = lines(ctl("ticket", "list", "--json", "--limit", "0", env=env).out)
    equal(len(every), 12)


def check_story(text, story):
    """Everything that is known, in the order in which it happened."""
    head, told = text.split("\n\n", 1)
    for value in (story["ticketId"], story["asset"], story["signature"], story["metadataUri"]):
        check(value in head, value, head)
    moments = re.findall(r"^(\d\d:\d\d:\d\d\.\d{3})  (\w+)", told, re.M)
    equal([at for at, _ in moments], sorted(at for at, _ in moments))
    kinds = [kind for _, kind in moments]
    for kind in ("request", "accepted", "chunk", "metadata", "attempt", "minted", "finished", "event"):
        check(kind in kinds, kind, told)
    check(kinds.index("accepted") < kinds.index("attempt") < kinds.index("minted"), kinds)
    attempt = story["chunks"][0]["attempts"][-1]
    for word in (attempt["transactionId"], f"counts until {attempt['validUntil']} at the latest", f"fee {story['chunks'][0]['fee']}",
                 *(event["kind"] for event in story["events"])):
        check(word in told, word, told)


def check_failed_story(text):
    matches(text, r"state +failed\n")
    matches(text, r"failed +chunk \d+ is failed|chunk\.failed")


@test
def why_tells_what_a_bad_network_did(folder):
    """Half of what is sent vanishes: attempts, the proof that each of them is dead, the one that counted; in this order."""
    with daemon(folder, chain={"ack_and_drop": 500, "validity": 40}).start() as mintd:
        env = by_socket(mintd)
        ctl("submit", write(folder, "a.json", batch("arena", tickets("a", 40))), "--yes", env=env)
        for row in lines(ctl("ticket", "list", "--batch", "1", "--state", "minted", "--json", env=env).out):
            story = lines(ctl("why", row["ticketId"], "--json", env=env).out)[0]
            proofs = [proof for chunk in story["chunks"] for proof in chunk["proofs"]]
            if proofs:
                break
        check(proofs, "no attempt of 40 tickets was lost")
        text = ends(ctl("why", row["ticketId"], env=env), OK).out
        check_story(text, story)
        kinds = re.findall(r"^\d\d:\d\d:\d\d\.\d{3}  (attempt|proof|minted)", text, re.M)
        equal(kinds, ["attempt", "proof"] * len(proofs) + ["attempt", "minted"], text)
        for proof in proofs:
            matches(text, rf"proof +attempt {proof['attempt']} of chunk \d+ is dead: {proof['kind']}, the chain had passed {proof['watermark']}, absent at \d+, "
                          rf"said by {proof['quorum']} \({re.escape(proof['endpoints'])}\)")


# ---- an administrator's commands

@test
def the_daemon_tells_of_itself(folder):
    with daemon(folder, store={"backup": os.path.join(folder, "copy.db")}).start() as mintd:
        env = by_socket(mintd)
        rows = lines(ends(ctl("plugin", "list", "--json", env=env), OK).out)
        equal(sorted(row["name"] for row in rows), ["books", "files", "hot", "local", "vault"])
        matches(ends(ctl("plugin", "list", env=env), OK).out, r"^NAME +PLUGIN +VERSION +KIND +STATE.*\nbooks +store-sqlite ")
        info = ends(ctl("plugin", "info", "local", env=env), OK).out
        matches(info, r"name +local\nplugin +chain-local\n.*state +ready\n")
        equal(lines(ctl("plugin", "info", "local", "--json", env=env).out)[0]["name"], "chain-local")
        done = ends(ctl("config", "show", env=env), OK, r"file .*mintd\.cfg")
        matches(done.out, r"^OPTION +VALUE +FROM\n.*listen\.port +" + str(mintd.port))
        check(mintd.key not in done.out)
        shown = lines(ctl("config", "show", "--json", env=env).out)[0]
        check({"name", "value", "origin"} <= set(shown["options"][0]), shown["options"][0])
        ends(ctl("config", "check", env=env), OK)
        matches(ends(ctl("config", "reload", env=env), OK).out, r"taken over: .*mintd\.cfg, 5 instances, 1 pipelines")
        spoil(mintd)
        matches(ends(ctl("config", "check", env=env), FAILED).out, r"valid +no\nmistakes +.*mintd\.cfg:\d+: .*no_such_option")
        ends(ctl("config", "reload", env=env), REFUSED, r"422 config\.invalid", r"no_such_option")
        matches(ends(ctl("log", env=env), OK).out, r"^level +info\n")
        matches(ends(ctl("log", "debug", env=env), OK).out, r"^level +debug\n")
        equal(mintd.api().get("/v1/log").json["level"], "debug")
        ends(ctl("log", "loud", env=env), REFUSED, r"422 field\.value", r"/level: must be error, warn, info or debug")
        matches(ends(ctl("db", "status", env=env), OK).out, r"^store +books \(store-sqlite .*ready\n.*schema +\d+, this version wants \d+\n.*size +\d")
        equal(lines(ends(ctl("db", "status", "--json", env=env), OK).out)[0]["store"]["name"], "books")
        matches(ends(ctl("db", "backup", env=env), OK).out, r"file +.*copy\.db\nsize ")
        check(os.path.getsize(os.path.join(folder, "copy.db")) > 0)
        doctor(mintd, env)


@test
def keys_are_made_used_and_ended(folder):
    with daemon(folder).start() as mintd:
        env = by_socket(mintd)
        ends(ctl("key", "list", env=env), OK, r"no keys but the one of the configuration")
        done = ends(ctl("key", "new", "shop", "--scope", "mint", "--expires", "30d", env=env), OK, r"key shop, scope mint, until 20\d\d-.*shown this once:")
        key = done.out.strip()
        equal(len(done.out.splitlines()), 1)
        check(key not in done.err)
        until_then = time.time() + 30 * 86400
        made = lines(ends(ctl("key", "list", "--json", env=env), OK).out)[0]
        equal((made["name"], made["scope"]), ("shop", "mint"))
        expires = time.mktime(time.strptime(made["expiresAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        check(abs(expires - until_then) < 60, made)
        with_key = {"MINTCTL_SERVER": f"http://127.0.0.1:{mintd.port}", "MINTCTL_KEY": key}
        ends(ctl("batch", "list", env=with_key), OK)
        ends(ctl("key", "list", env=with_key), REFUSED, r"403 auth\.scope")
        ends(ctl("config", "show", env=with_key), REFUSED, r"403 auth\.scope")
        matches(ends(ctl("key", "list", env=env), OK).out, r"^NAME +SCOPE +EXPIRES +(LAST USED +)?CREATED\nshop +mint +20\d\d-")
        ends(ctl("key", "new", "shop", env=env), REFUSED, r"409 key\.exists")
        ends(ctl("key", "new", "other", "--scope", "god", env=env), REFUSED, r"422 field\.value", r"/scope: must be read, mint or admin")
        ends(ctl("key", "new", "other", "--expires", "someday", env=env), USAGE, r"--expires is a time like")
        bound = lines(ends(ctl("key", "new", "bound", "--venue", "arena", "--json", env=env), OK).out)[0]
        equal((bound["scope"], bound["venue"]), ("read", "arena"))
        ends(ctl("key", "revoke", "shop", "--yes", env=env), OK, r"key shop is revoked")
        ends(ctl("batch", "list", env=with_key), REFUSED, r"401 auth\.key")
        ends(ctl("key", "revoke", "nobody", "--yes", env=env), NOT_FOUND, r"404 key\.unknown")
        rows = ends(ctl("key", "list", "-o", "csv", env=env), OK).out.splitlines()
        equal((rows[0], [row.split(",")[0] for row in rows[1:]]),
              ("name,scope,venue,cidr,createdAt,expiresAt,revokedAt,lastUsedAt", ["shop", "bound"]))


@test
def collections_are_named_before_their_first_ticket(folder):
    with daemon(folder).start() as mintd:
        env = by_socket(mintd)
        ends(ctl("collection", "list", env=env), OK, r"no collections")
        made = ends(ctl("collection", "new", "gala", "--venue", "arena", "--max-supply", "3", env=env), OK)
        matches(made.out, r"^collection +gala\nid +(\d+)\nvenue +arena\npipeline +tickets\n.*state +new\naccepted +0\nat most +3\n")
        number = re.search(r"\nid +(\d+)", made.out)[1]
        ends(ctl("collection", "new", "gala", "--venue", "arena", env=env), OK, r"it was there already")
        ends(ctl("collection", "new", "gala", "--venue", "arena", "--max-supply", "4", env=env), REFUSED, r"409 collection\.exists: /maxSupply: ")
        spec = write(folder, "spec.json", '{"symbol": "GALA"}')
        one = lines(ends(ctl("collection", "new", "spec", "--venue", "arena", "--spec", f"@{spec}", "--json", env=env), OK).out)[0]
        equal((one["name"], one["spec"]), ("spec", {"symbol": "GALA"}))
        equal(lines(ends(ctl("collection", "show", one["collectionId"], "--json", env=env), OK).out)[0], one)
        path = write(folder, "t.ndjson", "".join(json.dumps(row) + "\n" for row in tickets("a", 3)))
        ends(ctl("submit", path, "--yes", "--venue", "arena", "--collection", "gala", env=env), OK)
        rows = ends(ctl("collection", "list", "--venue", "arena", env=env), OK).out.splitlines()
        equal(rows[0].split(), ["ID", "NAME", "VENUE", "STATE", "ACCEPTED", "AT", "MOST", "PIPELINE", "ON", "CHAIN"])
        check(any(re.match(rf" *{number}  gala +arena +full +3 +3 +tickets +\w+", row) for row in rows), rows)
        equal([row["name"] for row in lines(ctl("collection", "list", "--state", "full", "--json", env=env).out)], ["gala"])
        more = write(folder, "m.ndjson", json.dumps(ticket("b-1")) + "\n")
        ends(ctl("submit", more, "--yes", "--venue", "arena", "--collection", "gala", env=env), REFUSED, r"(409|422) collection\.\w+")
        for words, code, pattern in ((("new", "x"), USAGE, r"belongs to a venue: say --venue VENUE"),
                                     (("new", "x", "--venue", "v", "--max-supply", "0"), USAGE, r"--max-supply is a number from 1 on"),
                                     (("new", "x", "--venue", "v", "--spec", "[1]"), USAGE, r"--spec is a JSON object"),
                                     (("new", "x", "--venue", "v", "--spec", "{" + "x" * 20000), USAGE, r"--spec is a JSON object of at most 16 KiB"),
                                     (("new", "x", "--venue", "v", "--spec", "@/none"), FAILED, r"cannot read /none: No such file"),
                                     (("new", "x", "--venue", "v", "--pipeline", "p"), REFUSED, r"422 request\.unknown_pipeline"),
                                     (("show", "999"), NOT_FOUND, r"404 collection\.unknown"),
                                     (("list", "--venue", "nowhere"), NOT_FOUND, r"404 venue\.unknown")):
            ends(ctl("collection", *words, env=env), code, pattern)


@test
def books_and_chain_are_compared(folder):
    with daemon(folder, mint={"batch": 1}, reconcile={"settle": "0s", "rate": 1000}).start() as mintd:
        env = by_socket(mintd)
        submitted(mintd, "arena", tickets("a", 5))
        done = ends(ctl("reconcile", "run", "arena", env=env), OK)
        matches(done.out, r"venue +arena\nchecked +5\nconfirmed +5\n.*disagree +0 \(0\.00 %\)\n")
        lost = lines(ctl("ticket", "show", "a-000002", "--json", env=env).out)[0]["signature"]
        equal(mintd.stop(), 0)
        ledger.refate(mintd.config.ledger(folder), {lost: ledger.DROPPED})
        mintd.start()
        done = ends(ctl("reconcile", "run", "arena", env=env), PARTIAL)
        matches(done.out, r"disagree +1 \(20\.00 %\)\n.*\n\nTICKET +WHAT +DETAIL\na-000002 +not_found +neither its transaction nor the asset")
        report = lines(ends(ctl("reconcile", "run", "arena", "--json", env=env), PARTIAL).out)[0]
        equal((report["discrepancyCount"], report["discrepancies"][0]["ticketId"]), (1, "a-000002"))
        rows = ends(ctl("reconcile", "history", "arena", env=env), OK).out.splitlines()
        equal([row.split()[0] for row in rows], ["REPORT", "3", "2", "1"])
        equal([row["discrepancy_count"] for row in lines(ctl("reconcile", "history", "arena", "--json", env=env).out)], [1, 1, 0])
        for words in (("run", "nowhere"), ("history", "nowhere")):
            ends(ctl("reconcile", *words, env=env), NOT_FOUND, r"404 venue\.unknown")
    with Fake((202, {}, {"venueId": "v", "state": "running"})) as fake:
        ends(ctl("reconcile", "run", "v", env=fake.env()), TIMEOUT, r"goes on by itself; its report will be in: mintctl reconcile history v")
        equal(fake.seen[0][2]["Prefer"], "wait=600")


def balances_known(mintd):
    until(lambda: any(wallet["lastCheck"] for wallet in mintd.api().get("/v1/wallets").json["wallets"]), 10, "a balance")


@test
def money_and_state_at_a_glance(folder):
    with daemon(folder, profile="hedera-like", top={"balance_check": "100ms"}, chain={"balance": "3 loc"}, pipeline={"min_balance": "2.5"}).start() as mintd:
        env = by_socket(mintd)
        balances_known(mintd)
        text = ends(ctl("status", env=env), OK).out
        matches(text, r"^mintd +\d+\.\d+\.\d+, up .*, on /.*api\.sock\ntakes work +yes\nopen tickets +0, 0 of them quarantined\nstore +connected\n"
                      r"cache +connected, 0 keys\nchains +local connected, network \S+\nwallets +local 3 LOC\n$")
        shown, real = lines(ctl("status", "--json", env=env).out)[0], mintd.api().get("/v1/status").json
        equal({**shown, "timestamp": 0, "uptimeSeconds": 0, "wallets": 0, "balanceMonitor": 0},
              {**real, "timestamp": 0, "uptimeSeconds": 0, "wallets": 0, "balanceMonitor": 0})
        matches(ends(ctl("wallet", env=env), OK).out, r"^local payer +3 LOC\n  needs +2\.5 LOC\n  account +\S+\n  checked +20\d\d-\d\d-\d\d ")
        equal(lines(ctl("wallet", "--json", env=env).out)[0]["sufficient"], True)
        estimate = lines(ends(ctl("estimate", "10", "--json", env=env), OK).out)[0]
        equal(estimate, mintd.api().get("/v1/estimate?count=10").json)
        text = ends(ctl("estimate", "10", env=env), OK).out
        matches(text, rf"^tickets +10\ncost +{re.escape(estimate['amount'])} LOC\ntime +[\d.]+ s\n")
        matches(text, r"\n\nWHAT +COUNT +EACH +AMOUNT\n")
        ends(ctl("estimate", "9999999999", env=env), REFUSED, r"422 estimate\.count: count: must be a whole number")
        ends(ctl("estimate", "1", "--pipeline", "nosuch", env=env), REFUSED, r"422 request\.unknown_pipeline")
        path = write(folder, "a.json", batch("arena", tickets("a", 20)))
        done = ends(ctl("submit", path, "--yes", env=env), OK, r"20 tickets: about [\d.]+ LOC, [\d.]+ s\naccepted as batch 1")
        matches(ends(ctl("cache", "stats", env=env), OK).out, r"^connected +yes\nhits +\d+ of \d+, [\d.]+ %\nkeys +[1-9]\d*, [\d.]+ k?B\n$")
        ends(ctl("cache", "rm", "a-000001", "--yes", env=env), OK)
        ends(ctl("cache", "rm", "nosuch", "--yes", env=env), NOT_FOUND, r"404 ticket\.unknown")
        matches(ends(ctl("cache", "clear", "--yes", env=env), OK).out, r"^\d+ entries of the cache forgotten\n$")
        equal(lines(ctl("cache", "stats", "--json", env=env).out)[0]["keyCount"], 0)
        equal(mintd.stop(), 0)
        mintd.config.pipeline["min_balance"] = "3"
        mintd.config.write(folder)
        mintd.start()
        balances_known(mintd)
        matches(ends(ctl("wallet", env=env), PARTIAL).out, r"^local payer +2\.\d+ LOC, too low\n  needs +3 LOC\n")
        matches(ends(ctl("status", env=env), OK).out, r"wallets +local 2\.\d+ LOC, not sufficient\n")


def stream(*parts):
    return 200, {"Content-Type": "text/event-stream"}, "".join(parts).encode()


def event(number, kind, **more):
    doc = {"slot": 1, "number": number, "kind": kind, "at": f"2026-01-02T03:04:0{number}.000Z", "venueId": "arena", "batchId": "7", **more}
    return f"id: 1.{number}\nevent: {kind}\ndata: {json.dumps(doc)}\n\n"


@test
def events_are_followed_and_none_is_lost_or_shown_twice(_):
    torn = event(3, "chunk.minted")[:-20]
    with Fake(stream("retry: 10\n\n", event(1, "request.accepted", body={"requestId": "r"}), ": still here\n\n", event(2, "chunk.minted"), torn), None,
              problem(503, "server.streams", "full", Retry_After="1"), stream(event(3, "chunk.minted"), "data: nonsense\n\n", "event: progress\ndata: {\"minted\": 4}\n\n"),
              lambda _: time.sleep(30)) as fake:
        tail = subprocess.Popen([BINARY, "events", "tail", "--venue", "arena", "--kind", "chunk.*,request.*"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=environment(**fake.env()))
        until(lambda: len(fake.seen) == 5, 20, "the fifth connection")
        time.sleep(0.3)
        tail.send_signal(signal.SIGINT)
        out, err = tail.communicate(timeout=5)
        equal(tail.returncode, DETACHED, err)
        matches(err, r"go on with: mintctl events tail --since 1\.3\n$")
        rows = out.splitlines()
        equal(rows[:3], ["03:04:01.000  request.accepted  batch 7  arena  requestId r", "03:04:02.000  chunk.minted  batch 7  arena",
                         "03:04:03.000  chunk.minted  batch 7  arena"])
        matches(rows[3], r"^\d\d:\d\d:\d\d\.\d{3}  progress  minted 4$")
        equal(len(rows), 4)
        equal([seen[2]["Last-Event-ID"] for seen in fake.seen], [None, "1.2", "1.2", "1.2", "1.3"])
        equal({seen[1] for seen in fake.seen}, {"/v1/events?venue=arena&kind=chunk.%2A%2Crequest.%2A"})
    with Fake(stream("x" * (2 << 20))) as fake:
        ends(ctl("events", "tail", env=fake.env()), FAILED, r"an event is larger than 1 MB")
    with Fake(problem(400, "events.id", "is no id of an event", [])) as fake:
        ends(ctl("events", "tail", "--since", "9.9", env=fake.env()), REFUSED, r"400 events\.id")
        equal(fake.seen[0][2]["Last-Event-ID"], "9.9")
    with Fake(stream(event(1, "request.accepted"), "event: finished\ndata: {\"batchId\": \"7\"}\n\n")) as fake:
        equal(len(lines(ends(ctl("events", "tail", "--batch", "7", "--json", env=fake.env()), OK).out)), 2)
    with Fake(stream(event(1, "a\x1b[2J", body={"x": "\x1b[31m"}), "event: finished\ndata: {}\n\n")) as fake:
        done = ctl("events", "tail", "--batch", "7", env=fake.env())
        check(not ESCAPE.search(done.out), repr(done.out))
    with Fake(stream(event(1, "a"))) as fake:
        ends(ctl("events", "tail", "--timeout", "300ms", env=fake.env()), TIMEOUT, r"go on with: mintctl events tail --since 1\.1")


@test
def events_of_the_daemon_are_listed_and_followed(folder):
    with daemon(folder, api={"sse_heartbeat": "200ms"}).start() as mintd:
        env = by_socket(mintd)
        tail = subprocess.Popen([BINARY, "events", "tail", "--json", "--since", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=environment(**env))
        submitted(mintd, "arena", tickets("a", 5))
        seen = [json.loads(tail.stdout.readline())]
        while seen[-1]["kind"] != "request.accepted":
            seen.append(json.loads(tail.stdout.readline()))
        first = seen[-1]
        equal((first["kind"], first["batchId"], first["venueId"]), ("request.accepted", "1", "arena"))
        equal(mintd.stop(), 0)
        mintd.start()
        submitted(mintd, "hall", tickets("b", 5))
        while not any(row["kind"] == "request.finished" and row["batchId"] == "2" for row in seen):
            seen.append(json.loads(tail.stdout.readline()))
        tail.send_signal(signal.SIGINT)
        err = tail.communicate(timeout=5)[1]
        equal(tail.returncode, DETACHED, err)
        matches(err, r"taking it up again\n")
        last = re.search(r"go on with: mintctl events tail --since (\S+)\n", err)[1]
        listed = lines(ends(ctl("events", "list", "--json", "--limit", "0", env=env), OK).out)
        numbers = [(row["slot"], row["number"]) for row in listed]
        equal(numbers, sorted(set(numbers)))
        equal([(row["slot"], row["number"]) for row in seen], numbers, "an event is missing or twice")
        equal({row["batchId"] for row in lines(ctl("events", "list", "--json", "--batch", "2", env=env).out)}, {"2"})
        equal({row["venueId"] for row in lines(ctl("events", "list", "--json", "--venue", "hall", env=env).out)}, {"hall"})
        kinds = {row["kind"] for row in lines(ctl("events", "list", "--json", "--kind", "chunk.*", env=env).out)}
        equal(kinds, {"chunk.minted"})
        text = ends(ctl("events", "list", "--batch", "1", env=env), OK).out
        matches(text, r"^AT +KIND +BATCH +VENUE +ABOUT +WHAT\n20\d\d-.* request\.accepted +1 +arena +batch +requestId ")
        equal(ends(ctl("events", "list", "-o", "csv", "--limit", "0", env=env), OK).out.splitlines()[0].split(",")[:3], ["slot", "number", "kind"])
        done = ends(ctl("events", "tail", "--batch", "1", env=env), OK)
        matches(done.out, r"request\.accepted  batch 1  arena .*finished  batch 1  arena  state completed, total 5, ")
        ends(ctl("events", "tail", "--since", "77.1", env=env), REFUSED, r"400 events\.id")
        ends(ctl("events", "tail", "--since", "nonsense", env=env), REFUSED, r"400 events\.id")
        ends(ctl("events", "tail", "--batch", "99", env=env), NOT_FOUND, r"404 batch\.unknown")
        ends(ctl("events", "tail", "--since", last, "--timeout", "500ms", env=env), TIMEOUT, rf"--since {re.escape(last)}")


def spoil(mintd):
    with open(mintd.config.path(mintd.folder), "a", encoding="utf-8") as file:
        file.write("no_such_option = 1;\n")


def doctor(mintd, env):
    """The configuration on disk is spoiled by now: that is what it finds."""
    done = ends(ctl("doctor", env=env), FAILED, r"\d+ ok, \d+ warnings, \d+ failed; mintd \d")
    matches(done.out, r"(^|\n)fail config: .*\n {5}\S+ correct the files")
    matches(done.out, r"\nok {3}mintctl: ")
    mintd.config.write(mintd.folder)
    os.chmod(mintd.state_dir, 0o700)
    report = lines(ctl("doctor", "--json", env=env).out)[0]
    equal(ctl("doctor", env=env).returncode, {"ok": OK, "warn": PARTIAL, "fail": FAILED}[report["verdict"]])


# ---- what a stranger answers

@test
def answers_cannot_steer_the_terminal(_):
    evil = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202erunning\ufeff\u200b\U000e0041\x00"
    doc = described(state=evil, venueId=evil)
    with Fake((200, {}, doc)) as fake:
        for words in (("batch", "show", "7"), ("watch", "7")):
            done = ctl(*words, env=fake.env())
            check(not ESCAPE.search(done.out + done.err), repr(done.out + done.err))
            check("\u202e" not in done.out and "\ufeff" not in done.out and "running" in done.out, repr(done.out))
        done = ends(ctl("batch", "show", "7", "--json", env=fake.env()), OK)
        check(not ESCAPE.search(done.out.rstrip("\n")) and "\u202e" not in done.out, repr(done.out))
        equal(json.loads(done.out), doc)
    with Fake(problem(422, "x.y", f"no {evil}", [{"pointer": f"/{evil}", "code": "a.b", "detail": evil}], X_Request_Id="r\x1b1")) as fake:
        done = ends(ctl("batch", "show", "7", env=fake.env()), REFUSED, r"422 x\.y: no ")
        check(not ESCAPE.search(done.err), repr(done.err))
    with Fake((200, {}, b'{"batches":[{"batchId":"7","venueId":"\xff\xfe\xc3("}]}')) as fake:
        check(ctl("batch", "list", env=fake.env()).returncode in (OK, FAILED))


@test
def answers_may_be_nonsense(_):
    for content in (b"", b"null", b"[]", b"7", b'"x"', b"{", b"{}", b'{"batches":7}', b'{"batches":[1,null,"x",[],{}]}', b"<html>", b"[" * 500,
                    b'{"summary":[],"items":7,"state":{},"createdAt":7,"chunks":[1],"fee":{}}', b'{"batches":{"x":1},"next":{}}'):
        with Fake((200, {}, content)) as fake:
            for words in (("batch", "list"), ("batch", "show", "7"), ("ticket", "show", "x"), ("why", "x"), ("status",), ("wallet",), ("doctor",),
                          ("plugin", "list"), ("plugin", "info", "x"), ("config", "show"), ("db", "status"), ("cache", "stats"), ("key", "list"),
                          ("estimate", "3"), ("reconcile", "run", "v"), ("reconcile", "history", "v"), ("config", "check"), ("log",),
                          ("collection", "list"), ("key", "new", "x"), ("batch", "list", "--json"), ("batch", "show", "7", "--json")):
                done = ctl(*words, env=fake.env())
                check(done.returncode in (OK, FAILED, PARTIAL), words, content, done.returncode, done.err)


@test
def what_is_no_daemon_is_not_taken_for_one(_):
    with Fake((404, {"Content-Type": "text/html"}, b"<html>nothing</html>")) as fake:
        ends(ctl("batch", "show", "7", env=fake.env()), NOT_FOUND, r"mintctl: 404: the answer says no more")
    with Fake((302, {"Location": "http://127.0.0.1:1/"}, b"")) as fake:
        ends(ctl("batch", "show", "7", env=fake.env()), FAILED, r"mintctl: 302")
        equal(len(fake.seen), 1)
    with Fake((200, {"Content-Length": "100"}, b'{"a":1}')) as fake:
        ends(ctl("batch", "show", "7", "--timeout", "3s", env=fake.env()), TIMEOUT)
    with Fake(None) as fake:
        ends(ctl("batch", "show", "7", env=fake.env()), UNREACHABLE)
    with Fake((200, {}, b'{"x":"' + b"y" * (33 << 20) + b'"}')) as fake:
        ends(ctl("batch", "show", "7", env=fake.env()), FAILED, r"the answer is larger than 32 MB")
    with Fake((200, {}, {"batches": [{"batchId": "1"}], "next": "again"})) as fake:
        done = ends(ctl("batch", "list", "--limit", "0", "--json", env=fake.env()), OK)
        equal(len(done.out.splitlines()), 2)                 # the same cursor twice is the end


@test
def a_busy_daemon_is_asked_again_with_the_same_key(folder):
    path = write(folder, "a.json", batch("v", tickets("a", 2)))
    busy = problem(503, "server.busy", "later", Retry_After="1")
    rate = problem(429, "server.rate", "slower", Retry_After="0")
    with Fake(ESTIMATE, busy, rate, problem(409, "idempotency.in_progress", "wait", Retry_After="0"), ACCEPTED) as fake:
        begun = time.monotonic()
        ends(ctl("submit", path, "--yes", "--no-wait", env=fake.env()), OK, r"answers 503 server\.busy; again in 1 s \(2 of 5\)",
             r"429 server\.rate; again in 0 s \(3 of 5\)", r"409 idempotency\.in_progress", r"accepted as batch 7")
        check(time.monotonic() - begun >= 1)
        posts = [seen for seen in fake.seen if seen[0] == "POST"]
        equal(len(posts), 4)
        equal(len({seen[2]["Idempotency-Key"] for seen in posts}), 1)
        matches(posts[0][2]["Idempotency-Key"], r"^sha256-[0-9a-f]{64}$")
        with open(path, "rb") as file:
            equal({seen[3] for seen in posts}, {file.read()})
    with Fake(ESTIMATE, busy) as fake:
        ends(ctl("submit", path, "--yes", "--timeout", "1500ms", env=fake.env()), FAILED, r"waiting 1 s more would be too late", r"503 server\.busy")
    with Fake(rate) as fake:
        ends(ctl("status", env=fake.env()), REFUSED, r"\(5 of 5\)", r"429 server\.rate")
        equal(len(fake.seen), 5)
    with Fake(problem(503, "server.busy", "never")) as fake:    # no word of when: not asked again
        ends(ctl("status", env=fake.env()), FAILED, r"503 server\.busy: never")
        equal(len(fake.seen), 1)


@test
def a_lost_answer_is_asked_for_again(folder):
    path = write(folder, "a.json", batch("v", tickets("a", 2)))
    with Fake(ESTIMATE, None, None, (200, {"Idempotency-Replayed": "true"}, ACCEPTED[2]), (200, {}, described())) as fake:
        ends(ctl("submit", path, "--yes", env=fake.env()), OK, r"again in 1 s \(2 of 5\)", r"batch 7 has this file already")
        equal(len({seen[2]["Idempotency-Key"] for seen in fake.seen if seen[0] == "POST"}), 1)
    with Fake(ESTIMATE, lambda _: time.sleep(5)) as fake:
        ends(ctl("submit", path, "--yes", "--timeout", "1s", env=fake.env()), TIMEOUT, r"not known whether the batch was accepted", r"key is sha256-")
    with Fake(ESTIMATE, problem(422, "field.required", "is missing", [{"pointer": "/tickets/0/id", "code": "field.required", "detail": "is missing"}])) as fake:
        ends(ctl("submit", path, "--yes", env=fake.env()), REFUSED, r"422 field\.required: /tickets/0/id: is missing\n  request abc")
    several = [{"pointer": f"/tickets/{n}/id", "code": "field.required", "detail": "is missing"} for n in range(25)]
    with Fake(ESTIMATE, problem(422, "request.invalid", "25 mistakes", several)) as fake:
        ends(ctl("submit", path, "--yes", env=fake.env()), REFUSED, r"422 request\.invalid: 25 mistakes\n  /tickets/0/id: is missing \(field\.required\)\n",
             r"/tickets/19/id: .*\n  and 5 more\n  request abc")


@test
def every_format_is_known_by_its_looks_and_sent_as_it_is(folder):
    ticket_lines = "\n".join(json.dumps(row) for row in tickets("n", 3)) + "\n"
    table = 'id,ticketData.note\na,"two\nlines"\nb,"a ""quote"", and a comma"\n\nc,x'
    pretty = json.dumps({"venueId": "v", "pipeline": "tickets", "tickets": tickets("j", 2), "x": {"tickets": [{}]}}, indent=2)
    cases = (
        ("json", pretty, "json", 2, "application/json"), ("array", json.dumps(tickets("a", 4)), "array", 4, "application/json"),
        ("lines", ticket_lines, "ndjson", 3, "application/x-ndjson"), ("one", json.dumps(ticket("t")), "ndjson", 1, "application/x-ndjson"),
        ("table", table, "csv", 3, "text/csv"), ("bom", "\ufeff" + table, "csv", 3, "text/csv"),
        ("packed", gzip.compress(ticket_lines.encode()), "gzipped ndjson", 3, "application/x-ndjson"),
        ("two", gzip.compress(b"[{},") + gzip.compress(b"{}]"), "gzipped array", 2, "application/json"))
    for name, content, kind, count, media in cases:
        path = write(folder, name, content)
        with Fake(ESTIMATE, ACCEPTED) as fake:
            words = () if kind == "json" else ("--venue", "v", "--collection", "c")
            done = ends(ctl("submit", path, "--yes", "--no-wait", *words, env=fake.env()), OK,
                        rf"{name}: {kind}, {count} tickets?, ", r"2026|about 0\.5 SOL, 3\.0 s")
            equal(done.out, "7\n")
            get, post = fake.seen
            equal((get[1], post[1]), (f"/v1/estimate?count={count}&pipeline=tickets&venue=v", "/v1/batches") if kind == "json" else
                  (f"/v1/estimate?count={count}&venue=v&collection=c", "/v1/batches?venue=v&collection=c"), name)
            equal((post[2]["Content-Type"], post[2]["Content-Encoding"], post[2]["Prefer"]),
                  (media, "gzip" if "gzip" in kind else None, "respond-async"))
            with open(path, "rb") as file:
                equal(post[3], file.read(), name)
    with Fake(ESTIMATE, ACCEPTED) as fake:
        ends(ctl("submit", "-", "--yes", "--no-wait", "--venue", "v", "--format", "csv", env=fake.env(), stdin=b"{x}\n1\n"), OK, r"csv, 1 ticket, 6 B\n")
        equal(fake.seen[1][2]["Content-Type"], "text/csv")
    for words, content, code, pattern in (
            (("--format", "xml"), "x", USAGE, r"--format is json, array, ndjson or csv, not xml"), ((), "", FAILED, r"f is empty"),
            ((), " \n\t", FAILED, r"f is empty"), ((), "id\n1\n", USAGE, r"CSV has no venue in it: say --venue VENUE"),
            ((), "[{}]", USAGE, r"a JSON array has no venue"), ((), ticket_lines, USAGE, r"NDJSON has no venue"),
            (("--venue", "w"), pretty, USAGE, r"--venue says w, the file says v: leave the option out or correct the file"),
            (("--collection", "c"), pretty, USAGE, r"a JSON batch names its collection in the file"),
            (("--venue", "v"), b"\x1f\x8b\x08\x00garbage garbage", FAILED, r"the gzip data are damaged")):
        with Fake(ESTIMATE, ACCEPTED) as fake:
            ends(ctl("submit", write(folder, "f", content), "--yes", *words, env=fake.env()), code, pattern)
            equal(fake.seen, [])
    with Fake(ACCEPTED) as fake:
        ends(ctl("submit", folder, "--yes", env=fake.env()), FAILED, r"Is a directory")
        ends(ctl("submit", folder + "/none", "--yes", env=fake.env()), FAILED, r"No such file")
        equal(fake.seen, [])


@test
def keys_follow_the_bytes_and_what_they_are_for(folder):
    def key(content, *words):
        with Fake(ESTIMATE, ACCEPTED) as fake:
            ends(ctl("submit", "-", "--yes", "--no-wait", *words, env=fake.env(), stdin=content), OK)
            return fake.seen[1][2]["Idempotency-Key"]
    one, two = batch("v", tickets("a", 1)), batch("v", tickets("a", 2))
    equal(key(one), key(one))
    one, venue = json.dumps(tickets("a", 1)).encode(), ("--venue", "v")
    keys = [key(one, *venue), key(two), key(one, *venue, "--pipeline", "p"), key(one, *venue, "--collection", "p"), key(one, *venue, "--key", "own")]
    equal(len(set(keys)), 5, keys)
    equal(keys[4], "own")


@test
def a_file_that_changes_underway_is_not_sent_whole(folder):
    path = write(folder, "a.json", batch("v", tickets("a", 2000)))
    size = os.path.getsize(path)

    def change(_):
        with open(path, "r+b") as file:
            file.seek(size - 40)
            file.write(b"X")
        return ESTIMATE
    with Fake(change, ACCEPTED) as fake:
        ends(ctl("submit", path, "--yes", env=fake.env()), FAILED, r"the file changed while it was read: nothing was accepted")
        check(all(len(seen[3]) < size for seen in fake.seen if seen[0] == "POST"), "the whole file arrived")


@test
def a_large_file_takes_no_memory(folder):
    path = os.path.join(folder, "large.ndjson")
    row = json.dumps(ticket("t", pad=2000)) + "\n"
    with open(path, "w", encoding="ascii") as file:
        for _ in range(30000):
            file.write(row)
    peak = []

    def look(_):
        with open(f"/proc/{child.pid}/status", encoding="ascii") as status:
            peak.append(int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]))
        return ACCEPTED
    with Fake(ESTIMATE, look) as fake:
        fake.keep_bodies = False
        child = subprocess.Popen([BINARY, "submit", path, "--yes", "--venue", "v", "--no-wait"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                 text=True, env=environment(**fake.env()))
        err = child.communicate(timeout=60)[1]
        equal(child.returncode, OK, err)
        matches(err, r"30000 tickets, 6\d\.\d MB")
        check(peak and peak[0] < (24 << 10 if "asan" not in BUILD else 400 << 10), "peak", peak, "KiB")


@test
def output_that_cannot_be_written_is_a_failure(_):
    with Fake((200, {}, described())) as fake:
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "batch", "show", "7"], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment(**fake.env()))
        equal(done.returncode, FAILED)
        matches(done.stderr, r"cannot write to standard output: No space left on device")


@test
def progress_is_a_line_each_ten_seconds_where_nobody_watches(_):
    steps = [(200, {}, described("running", 100, n, 0)) for n in (0, 10, 20)]
    begun = time.monotonic()

    def answer(_):
        past = time.monotonic() - begun
        return (200, {}, described("completed", 100, 98, 2)) if past > 11.5 else steps[min(2, int(past / 4))]
    with Fake(answer) as fake:
        done = ctl("watch", "7", env=fake.env())
        equal(done.returncode, OK, done.err)
        told = [line for line in done.err.splitlines() if line.startswith("batch 7: ")]
        equal(len(told), 1, done.err)
        matches(told[0], r"^batch 7:  20%  20/100  [\d.]+/s  ETA \d+ s$")
        check(len(fake.seen) < 40, len(fake.seen), "requests in 12 s")
        begun = time.monotonic() - 12
        equal(ctl("watch", "7", "--quiet", env=fake.env()).err, "")


# ---- a terminal

@test
def a_person_is_asked_and_sees_it_move(folder):
    with daemon(folder, chain={"slot_ms": 60, "finality": 12}).start() as mintd:
        write(folder, "show.json", batch("arena", tickets("a", 300)))
        with Screen(folder, 100, 30, environment(**by_socket(mintd))) as screen:
            screen.type(f"cd {folder}")
            screen.fresh("mintctl submit show.json")
            screen.wait(r"mint 300 tickets for arena\? \[y/N\]")
            equal(mintd.store().one("SELECT count(*) FROM requests"), 0)
            screen.type("n")
            screen.wait(r"not confirmed: nothing was done")
            equal(mintd.store().one("SELECT count(*) FROM requests"), 0)
            screen.fresh("mintctl submit show.json")
            screen.wait(r"\[y/N\]")
            screen.keys("C-c")
            screen.wait(r"not confirmed")
            screen.fresh("mintctl submit show.json")
            screen.wait(r"\[y/N\]")
            screen.type("y")
            bar = screen.wait(r"\nbatch 1  ━+ +\d+%  \d+/300  ")
            fits(bar, 100)
            text = screen.wait(r"state +completed\n.*\n\$ *$", 60)
            check("━" not in text, "the bar was left behind", text)
            matches(text, r"accepted as batch 1\nbatch +1\nvenue +arena\nstate +completed\ntickets +300: 300 minted\n")
            screen.fresh("cat show.json | mintctl submit -")
            screen.wait(r"standard input: json, 300 tickets.*\[y/N\]")      # stdin has the data, the terminal has the answer
            screen.type("y")
            screen.wait(r"batch 1 has this file already")


@test
def the_bar_fits_any_width(folder):
    begun = time.monotonic()

    def answer(_):
        done = min(100000, int((time.monotonic() - begun) * 9000))
        return 200, {}, described("running" if done < 100000 else "completed", 100000, done, 0)
    for width, bar in ((200, r"^batch 7  ━{60} +\d+%  \d+/100000  [\d.]+/s  ETA [\d.]+ s$"), (60, r"^batch 7  ━{8,} +\d+%  \d+/100000  [\d.]+/s  ETA [\d.]+ s$"),
                       (40, r"^ *\d+%  \d+/100000  [\d.]+/s  ETA [\d.]+ s$"), (24, r"^ *\d+%  \d+/100000$")):
        begun = time.monotonic()
        with Fake(answer) as fake, Screen(folder, width, 10, environment(**fake.env())) as screen:
            screen.type("clear; mintctl watch 7")
            time.sleep(1.5)
            seen = set()
            for _ in range(8):
                rows = screen.text().splitlines()
                if len(rows) == 1:
                    check(re.search(bar, rows[0]), width, rows)
                    seen.add(rows[0])
                else:
                    check(not rows or "$" in rows[0], "more than one line:", rows)
                time.sleep(0.1)
            check(len(seen) >= 2, "it does not move", width, seen)
            screen.keys("C-c")
            text = screen.wait(r"no\s+longer\s+watching;\s+batch\s+7\s+goes\s+on:\s+mintctl\s+watch\s+7")
            check(all(word in text.split() for word in ("longer", "watching;", "mintctl")), "a word is broken:", text)


@test
def screens_are_pleasant_at_any_width(folder):
    with daemon(folder, chain={"fail_names": ["Concert a-1"]}).start() as mintd:
        long_name = "the-very-long-name-of-a-venue-by-the-sea"
        items = [{"id": f"a-{n}", "ticketData": {"eventName": "Concert", "seatNumber": f"a-{n}"}} for n in range(6)]
        submitted(mintd, long_name, items, code=PARTIAL)
        submitted(mintd, "日本武道館", tickets("b", 2))
        env = environment(**by_socket(mintd))
        with Screen(folder, 200, 50, env) as wide:
            text, code = wide.command("mintctl batch list")
            equal(code, OK)
            matches(text, rf"BATCH +VENUE +STATE +TICKETS +MINTED +FAILED +FEE +CREATED\n +2  日本武道館 +completed +2 +2 +0 .*\n +1  {long_name}  partial")
            text, code = wide.command("mintctl why a-2")
            equal(code, OK)
            matches(text, r"\n\d\d:\d\d:\d\d\.\d{3}  attempt +number 1 of chunk \d+: transaction\s+\S+\s+on\s+\S+,\s+counts until \d+ at\s+the\s+latest")
        with Screen(folder, 40, 50, env) as narrow:
            for command in ("batch list", "ticket list --batch 1", "batch show 1", "why a-2", "ticket show a-1", "doctor", "plugin list",
                            "db status", "config show", "help", "help submit", "plugin info local"):
                text, code = narrow.command(f"mintctl {command}")
                fits(text, 40)
                check(code in (OK, PARTIAL, FAILED), command, code, text)
            text, _ = narrow.command("mintctl batch list")
            rows = text.splitlines()
            equal([row.split() for row in rows], [["BATCH", "STATE", "TICKETS", "MINTED"], ["2", "completed", "2", "2"], ["1", "partial", "6", rows[2].split()[3]]])
            rows = narrow.command("mintctl ticket list --batch 1")[0].splitlines()
            check(len(rows) == 7 and all(re.search(r"^a-\d  .*…", row) for row in rows[1:]), "cut in one row each:", rows)
            text, _ = narrow.command("mintctl help watch")
            check("watch BATCH" in text, text)


@test
def colours_are_for_terminals_that_want_them(folder):
    with daemon(folder).start() as mintd:
        submitted(mintd, "arena", tickets("a", 2))
        env = by_socket(mintd)
        with Screen(folder, 100, 30, environment(**env)) as screen:
            screen.command("mintctl batch list")
            matches(screen.text(escapes=True), r"\x1b\[32mcompleted\x1b")
            for command in ("mintctl --no-color batch list", "NO_COLOR=1 mintctl batch list", "TERM=dumb mintctl batch list",
                            "mintctl batch list | cat", "mintctl batch show 1 --no-color"):
                screen.command(command)
                check("\x1b[32m" not in screen.text(escapes=True), command, repr(screen.text(escapes=True)))
        check(not ESCAPE.search(ctl("batch", "list", env=env).out))
        done = ctl("batch", "show", "1", env={**env, "LC_ALL": "C"})
        equal(done.returncode, OK)
        check(done.out.isascii() and not ESCAPE.search(done.out), done.out)


# ---- completion

def completed(folder, line):
    """What bash offers behind this line."""
    script = write(folder, "mintctl.bash", ends(ctl("completion", "bash"), OK).out)
    words = line.split(" ")
    code = f"source {script}; COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; _mintctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    equal(done.stderr, "")
    return set(done.stdout.split())


@test
def shells_complete_what_the_table_has(folder):
    table = command_table()
    first = {command["name"].split()[0] for command in table["commands"]}
    equal(completed(folder, "mintctl "), first)
    equal(completed(folder, "mintctl wa"), {"watch", "wallet"})
    equal(completed(folder, "mintctl batch "), {"list", "show", "cancel", "retry"})
    equal(completed(folder, "mintctl --socket x --json batch "), {"list", "show", "cancel", "retry"})
    equal(completed(folder, "mintctl completion "), {"bash", "zsh", "fish"})
    equal(completed(folder, "mintctl batch list -o "), {"table", "json", "csv"})
    check("mintctl.bash" in completed(folder, "mintctl submit mint"))
    for command in table["commands"]:
        wanted = {f"--{option}" for option in command["options"] + table["global"]}
        equal(completed(folder, f"mintctl {command['name']} --"), wanted, command["name"])
    for shell, check_words in (("zsh", ["zsh", "-n"]), ("fish", ["fish", "--no-execute"])):
        script = write(folder, f"mintctl.{shell}", ends(ctl("completion", shell), OK).out)
        with open(script, encoding="utf-8") as file:
            text = file.read()
        for option in {option for command in table["commands"] for option in command["options"]}:
            check(re.search(rf"--{option}:|-l {option} ", text), shell, option)
        if not shutil.which(shell):
            skip(f"{shell} is not installed", peer=True)
        subprocess.run([*check_words, script], check=True, capture_output=True)
    offers_of_fish(folder)
    offers_of_zsh(folder)


def offers_of_fish(folder):
    for line, wanted in (("mintctl batch ", {"list", "show", "cancel", "retry"}), ("mintctl --socket x key ", {"new", "list", "revoke"}),
                         ("mintctl watch --tim", {"--timeout"}), ("mintctl -o ", {"table", "json", "csv"})):
        done = subprocess.run(["fish", "--no-config", "-c", f"source {folder}/mintctl.fish; complete -C '{line}'"], capture_output=True, text=True, check=True,
                              env=environment(HOME=folder))
        equal((done.stderr, {row.split("\t")[0] for row in done.stdout.splitlines()}), ("", wanted), line)


def offers_of_zsh(folder):
    with Screen(folder, 100, 30, environment(HOME=folder)) as screen:
        screen.type("zsh -f")
        screen.type(f"PS1='> '; autoload -Uz compinit; compinit -u -d {folder}/dump; source {folder}/mintctl.zsh; clear")
        screen.wait(r"^> *$")
        screen.run("send-keys", "-l", "mintctl batch ")
        screen.keys("Tab")
        screen.wait(r"\ncancel +-- cancel what is not signed yet\nlist +-- batches, newest first\nretry +-- .*\nshow +-- ")


if __name__ == "__main__":
    sys.exit(main())
