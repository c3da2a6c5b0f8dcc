"""A mintd of one's own for a test: configuration, process, HTTP client, metrics, a look into its SQLite file.

Each daemon has a free loopback port and its own folder. Nothing here knows a test. Python 3 standard library only.
"""
import concurrent.futures
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("MINTD_BUILD", os.path.join(ROOT, "build", "dev")))

STATES = {1: "ACCEPTED", 2: "UPLOADING", 3: "UPLOADED", 4: "SIGNED", 5: "LANDED", 6: "QUARANTINE",
          10: "MINTED", 11: "FAILED", 12: "CANCELLED", 13: "MOVED"}


def binary(build=BUILD):
    return os.path.join(build, "mintd")


def plugin_dir(build=BUILD):
    return os.path.join(build, "plugins-out")


def run(*arguments, build=BUILD, env=None, timeout=30):
    """mintd with these arguments, to its end: a CompletedProcess with text output."""
    return subprocess.run([binary(build), *arguments], capture_output=True, text=True, timeout=timeout, check=False,
                          env=environment(build, env))


def environment(build=BUILD, extra=None):
    """The caller's environment without anything mintd reads, plus extra."""
    ours = {name: value for name, value in os.environ.items()
            if not re.match(r"MINTD_|ADMIN_API_KEY|REDIS_|MAX_BATCH_SIZE|BATCH_DELAY_MS|RECONCILIATION_|JOURNAL_STREAM", name)}
    ours["MINTD_PLUGIN_DIR"] = plugin_dir(build)
    ours.update(extra or {})
    return ours


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- tickets and bodies

def ticket(name, tier="VIP", seat="A1", pad=0):
    data = {"eventName": "Concert", "eventDate": "2026-12-01", "venue": "Stadium", "tier": tier, "seatNumber": seat}
    if pad:
        data["note"] = "x" * pad
    return {"id": name, "eventId": "event-1", "userId": f"user-{name}", "ticketData": data}


def tickets(prefix, count, pad=0):
    return [ticket(f"{prefix}-{n:06d}", seat=f"{prefix}-{n}", pad=pad) for n in range(count)]


def batch(venue, items, **more):
    return json.dumps({"venueId": venue, "tickets": items, **more}).encode()


class Answer:
    """Status, headers and body of one HTTP exchange."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def code(self):
        """The stable code of a problem document, else ''."""
        try:
            return self.json.get("code", "")
        except ValueError:
            return ""

    def __repr__(self):
        return f"HTTP {self.status} {self.body[:400]!r}"


class Api:
    """One client of one daemon; a new connection per call unless used as a context manager. Not shared between threads."""

    def __init__(self, port, key, timeout=30):
        self.port, self.key, self.timeout = port, key, timeout
        self.kept = None

    def __enter__(self):
        self.kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        return self

    def __exit__(self, *_):
        self.kept.close()
        self.kept = None

    def call(self, method, path, body=None, headers=None, key=""):
        connection = self.kept or http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        sent = dict(headers or {})
        key = self.key if key == "" else key
        if key:
            sent.setdefault("x-admin-api-key", key)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            if connection is not self.kept:
                connection.close()

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def mint(self, venue, items, key=None, prefer=None, body=None, **more):
        headers = {}
        if key:
            headers["Idempotency-Key"] = key
        if prefer:
            headers["Prefer"] = prefer
        return self.call("POST", "/admin/batch-mint", batch(venue, items, **more) if body is None else body, headers)

    def follow(self, where, timeout=30, every=0.05):
        """Waits until every mint of the batch at `where` is settled and returns its last description."""
        end = time.monotonic() + timeout
        while True:
            answer = self.get(where)
            if answer.status != 200:
                raise AssertionError(f"GET {where}: {answer!r}")
            summary = answer.json["summary"]
            if summary["succeeded"] + summary["failed"] >= summary["total"]:
                return answer.json
            if time.monotonic() > end:
                raise AssertionError(f"batch {where} not settled in {timeout} s: {summary}")
            time.sleep(every)

    def metrics(self):
        answer = self.get("/metrics")
        if answer.status != 200:
            raise AssertionError(f"GET /metrics: {answer!r}")
        return Metrics(answer.text)


class Metrics:
    """Prometheus text, summed over the labels that a question leaves open."""
    LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", re.M)
    LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

    def __init__(self, text):
        self.rows = [(name, dict(self.LABEL.findall(labels or "")), float(value))
                     for name, labels, value in self.LINE.findall(text)]

    def sum(self, name, **labels):
        return sum(value for found, having, value in self.rows
                   if found == name and all(having.get(label) == wanted for label, wanted in labels.items()))

    def has(self, name):
        return any(found == name for found, _, _ in self.rows)


class Daemon:
    """One state folder and the process that runs on it, started and ended any number of times."""

    def __init__(self, folder, config, build=BUILD, env=None, prefix=()):
        self.folder, self.build, self.env, self.prefix = folder, build, dict(env or {}), list(prefix)
        self.config = config
        self.port = config.port
        self.process = None
        self.log_path = os.path.join(folder, "mintd.log")
        os.makedirs(folder, exist_ok=True)
        config.write(folder)

    @property
    def state_dir(self):
        return self.config.state_dir(self.folder)

    @property
    def key(self):
        with open(os.path.join(self.state_dir, "admin.key"), encoding="ascii") as file:
            return file.read().strip()

    @property
    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def launch(self, env=None):
        """Starts the process and waits for nothing."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, binary(self.build), "-c", self.config.path(self.folder)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=environment(self.build, {**self.env, **(env or {})}))
        return self

    def start(self, env=None, timeout=20):
        self.launch(env)
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=20):
        end = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"mintd ended with {self.process.returncode}: {self.log[-2000:]}")
            if self.ready():
                return
            if time.monotonic() > end:
                raise AssertionError(f"mintd not ready in {timeout} s: {self.log[-2000:]}")
            time.sleep(0.005)

    def ready(self):
        try:
            return Api(self.port, None, timeout=5).get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def api(self, timeout=30):
        return Api(self.port, self.key, timeout)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=15):
        """SIGTERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout=15):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"mintd did not end in {timeout} s: {self.log[-2000:]}") from None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    # -- what the kernel says of the process
    def memory(self, field="VmHWM"):
        """KiB"""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(rf"^{field}:\s+(\d+)", status.read(), re.M)[1])

    def reset_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def cpu(self):
        """Seconds of CPU, user and system."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # -- the store, read-only, beside the running daemon
    def store(self):
        return Store(self.config.database(self.folder))


class Store:
    """mintd's SQLite file, opened for reading only."""

    # An item's place is its last move, else the first chunk whose range it lies in (docs/store.md, items and chunks).
    ITEMS = """
        SELECT i.id, i.venue, i.ticket, i.uri, i.id >> 24 AS request, c.id AS chunk, c.state, c.problem, c.attempt_no,
               c.first_serial, c.assets, c.collection, c.pos
        FROM items i JOIN (
            SELECT i.id AS item, c.*, coalesce(m.pos, i.id - c.id) AS pos
            FROM items i
            LEFT JOIN item_moves m ON m.item = i.id AND m.kind = 0
                 AND m.gen = (SELECT max(gen) FROM item_moves x WHERE x.item = i.id AND x.kind = 0)
            JOIN chunks c ON c.id = coalesce(m.to_chunk, (
                 SELECT max(id) FROM chunks f WHERE f.id <= i.id AND f.origin = 0 AND f.kind = 0))
        ) c ON c.item = i.id
        """

    def __init__(self, path):
        self.path = path
        self.db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10, check_same_thread=False)
        self.db.row_factory = sqlite3.Row

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.db.close()

    def rows(self, sql, *values):
        return self.db.execute(sql, values).fetchall()

    def one(self, sql, *values):
        return self.db.execute(sql, values).fetchone()[0]

    def items(self):
        return self.rows(self.ITEMS)

    def open_chunks(self):
        return self.one("SELECT count(*) FROM chunks WHERE state < 10")


def parallel(function, arguments, workers=None):
    """function(argument) for all at once; the results in order."""
    arguments = list(arguments)
    with concurrent.futures.ThreadPoolExecutor(workers or len(arguments)) as pool:
        return list(pool.map(function, arguments))
