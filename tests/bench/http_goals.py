"""The goals of intake and reading over HTTP (G12 to G15), against the same rows written by a plain loop, and against what a user would
write instead (peer/: fastify with SQLite). The chain takes next to nothing meanwhile, so that intake alone is measured."""
import os
import shutil
import statistics
import subprocess
import tempfile
import time

from method import HERE, Life, Void, batch, numbers, reference_accept, span, tickets
from method import BUILD

LOAD = os.path.join(BUILD, "bench-load")
PEER = os.path.join(HERE, "peer")
# One ticket an hour: what is accepted stays accepted.
STILL = {"network_rate": 1, "burst": "1s"}
OPEN = {"rate_read": "100000000/1m", "rate_mint": "100000000/1m", "rate_admin": "100000000/1m", "max_connections_per_ip": 256}


def still():
    """fastify logs nothing here, so mintd does not either."""
    return Life("hedera-like", chain=STILL, api=OPEN, log={"level": "warn"})


def peer_missing():
    """Why there is no fastify to compare with; it is installed at the first use."""
    if not shutil.which("npm"):
        return "npm is not installed"
    if not os.path.isdir(os.path.join(PEER, "node_modules", "better-sqlite3", "build")):
        done = subprocess.run(["npm", "ci", "--silent"], cwd=PEER, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"npm ci failed: {done.stderr.strip()[-200:]}"
    return ""


class Peer:
    """The fastify server on a database of its own."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="mintd-peer.")
        self.process = subprocess.Popen(["node", os.path.join(PEER, "server.js"), os.path.join(self.folder, "peer.db")],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- load

def request(method, path, key="", body=b"", more=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{f'x-admin-api-key: {key}' + chr(13) + chr(10) if key else ''}{more}"
    if body:
        head += f"Content-Type: application/json\r\nPrefer: respond-async\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def load(port, connections, rate, seconds, raw):
    """Runs bench-load and returns its numbers; every answer must be a 2xx."""
    with tempfile.NamedTemporaryFile(prefix="mintd-load.") as file:
        file.write(raw)
        file.flush()
        text = subprocess.run([LOAD, str(port), str(connections), str(rate), str(seconds), file.name], check=True,
                              capture_output=True, text=True).stdout
    found = numbers(text)
    if found["ok"] != found["sent"] or not found["sent"]:
        raise Void(text)
    return found


def body_of(count):
    """A body whose ticket ids are fresh each time it is sent."""
    return batch("venue-1", tickets("@@@@@@@@", count))


def stored(life, count):
    with life.daemon.store() as store:
        if store.one("SELECT count(*) FROM items") != count:
            raise Void(f"{store.one('SELECT count(*) FROM items')} rows for {count} tickets")


# ---- G12, G13: one client, bodies of 1,000

def accept_thousands(seconds, usage):
    """Tickets per second of one client that posts bodies of 1,000, one after the other."""
    with still() as life:
        load(life.daemon.port, 1, 0, 0.2, request("POST", "/v1/batches", life.daemon.key, body_of(1000)))
        with life.daemon.store() as store:
            warm = store.one("SELECT count(*) FROM items")
        before = life.daemon.cpu()
        found = load(life.daemon.port, 1, 0, seconds, request("POST", "/v1/batches", life.daemon.key, body_of(1000).replace(b"venue-1", b"venue-2")))
        spent = life.daemon.cpu() - before
        stored(life, warm + 1000 * int(found["sent"]))
        usage[:] = [1e6 * spent / (1000 * found["sent"])]
        return found["rate"] * 1000


def goal_12(bench):
    """a body of 1,000 tickets, durable"""
    seconds, usage = (1 if bench.quick else 4), []
    ratios = bench.compare("G12", lambda: 1 / accept_thousands(seconds, usage), lambda: 1 / reference_accept(100000, 1000))
    bench.row("G12", "1,000 tickets accepted, time / the same rows written by a plain loop", "<= 2.0", span(ratios),
              statistics.median(ratios) <= 2.0, f"CPU {usage[0]:.1f} us/ticket")


def peer_thousands(seconds):
    with Peer() as peer:
        raw = request("POST", "/admin/batch-mint", body=body_of(1000))
        load(peer.port, 1, 0, 1, raw)
        before = peer.cpu()
        found = load(peer.port, 1, 0, seconds, raw.replace(b"venue-1", b"venue-2"))
        return 1e6 * (peer.cpu() - before) / (1000 * found["sent"])


def goal_13(bench):
    """CPU of intake against fastify"""
    why, usage = peer_missing(), []
    if why:
        bench.row("G13", "CPU per accepted ticket / fastify with SQLite", "<= 0.33", f"skipped: {why}", None)
        return
    seconds = 1 if bench.quick else 4

    def ours():
        accept_thousands(seconds, usage)
        return usage[0]
    ratios = bench.compare("G13", ours, lambda: peer_thousands(seconds))
    bench.row("G13", "CPU per accepted ticket, bodies of 1,000 / fastify with SQLite", "<= 0.33", span(ratios), statistics.median(ratios) <= 1 / 3,
              f"CPU {usage[0]:.1f} us/ticket")


# ---- G14: 64 clients, a ticket each

def single_tickets(seconds, usage):
    with still() as life:
        raw = request("POST", "/v1/batches", life.daemon.key, body_of(1))
        load(life.daemon.port, 64, 0, 0.5, raw.replace(b"venue-1", b"venue-0"))
        with life.daemon.store() as store:
            warm = store.one("SELECT count(*) FROM items")
        before = life.daemon.cpu()
        found = load(life.daemon.port, 64, 0, seconds, raw)
        spent = life.daemon.cpu() - before
        stored(life, warm + int(found["sent"]))
        usage[:] = [1e6 * spent / found["sent"], found["p99"]]
        return found["rate"]


def goal_14(bench):
    """64 clients with a ticket each, durable"""
    seconds, usage = (1 if bench.quick else 5), []
    ratios = bench.compare("G14", lambda: single_tickets(seconds, usage), lambda: reference_accept(2000, 1))
    bench.row("G14", "64 clients, a ticket a request, durable: rate / one row a commit in a plain loop", ">= 2.5", span(ratios),
              statistics.median(ratios) >= 2.5, f"CPU {usage[0]:.0f} us/request, p99 {usage[1]:.1f} ms")


# ---- G15: reading

def read_ours(seconds, usage):
    with still() as life:
        where = life.accept(batch("venue-1", tickets("r", 100)))
        time.sleep(0.3)
        raw = request("GET", where, life.daemon.key)
        load(life.daemon.port, 32, 0, 0.5, raw)
        before = life.daemon.cpu()
        full = load(life.daemon.port, 32, 0, seconds, raw)
        spent = life.daemon.cpu() - before
        half = load(life.daemon.port, 32, full["rate"] / 2, seconds, raw)
        usage[:] = [1e6 * spent / full["sent"], full["rate"], half["p99"]]
        return usage[0]


def read_peer(seconds):
    with Peer() as peer:
        load(peer.port, 1, 0, 0.2, request("POST", "/admin/batch-mint", body=body_of(100)))
        raw = request("GET", "/v1/batches/1")
        load(peer.port, 32, 0, 1, raw)
        before = peer.cpu()
        found = load(peer.port, 32, 0, seconds, raw)
        return 1e6 * (peer.cpu() - before) / found["sent"]


def goal_15(bench):
    """the status of a batch"""
    why, usage, seconds = peer_missing(), [], (1 if bench.quick else 4)
    if why:
        read_ours(seconds, usage)
        bench.row("G15", "CPU per status request / fastify", "<= 0.33", f"skipped: {why}", None, f"CPU {usage[0]:.0f} us/request")
    else:
        ratios = bench.compare("G15", lambda: read_ours(seconds, usage), lambda: read_peer(seconds))
        bench.row("G15", "CPU per status request / fastify with SQLite", "<= 0.33", span(ratios), statistics.median(ratios) <= 1 / 3,
                  f"CPU {usage[0]:.0f} us/request, {usage[1]:.0f}/s")
    bench.row("G15", "p99 of a status request at half of that load, fixed arrivals", "<= 5 ms", f"{usage[2]:.2f} ms", usage[2] <= 5)


HTTP_GOALS = {"G12": goal_12, "G13": goal_13, "G14": goal_14, "G15": goal_15}
