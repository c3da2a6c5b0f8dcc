"""How the bench measures: pairs, calibration, one life of the daemon, the raw loop. The goals are in goals.py."""
import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("MINTD_BUILD", os.path.join(HERE, "..", "..", "build", "release"))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import BUILD, Daemon, batch, plugin_dir, run as mintd_run, tickets  # noqa: E402

REFERENCE = os.path.join(BUILD, "bench-reference")
PLUGINS = os.path.join(BUILD, "bench-plugins")
NOISE = 0.3                       # a pair across which the machine's own speed moved by more than this is measured again


class Void(Exception):
    """A run whose result is wrong does not count at all."""


def plugins_ready():
    """The daemon loads plugins from one folder; the null uploader's gets copies of the real ones. By rename, because a bench beside
    this one may have them mapped."""
    for name in os.listdir(plugin_dir()):
        copy = os.path.join(PLUGINS, f"{name}.{os.getpid()}")
        shutil.copy2(os.path.join(plugin_dir(), name), copy)
        os.replace(copy, os.path.join(PLUGINS, name))


def span(values, unit="x", digits=2):
    return f"{statistics.median(values):.{digits}f}{unit} [{min(values):.{digits}f}..{max(values):.{digits}f}]"


# ---- results

class Bench:
    def __init__(self, pairs, quick, raw):
        self.pairs, self.quick = pairs, quick
        self.raw = open(raw, "w", encoding="utf-8") if raw else None
        self.rows = []

    def runs(self, most):
        """How often to repeat something long."""
        return 1 if self.quick else min(self.pairs, most)

    def note(self, **facts):
        if self.raw:
            self.raw.write(json.dumps(facts) + "\n")
            self.raw.flush()

    def row(self, goal, what, wanted, measured, holds, daemon="", extra=""):
        """holds None: no goal, only told."""
        verdict = {True: "holds", False: "falls short", None: "-"}[holds]
        self.rows.append((goal, what, wanted, measured, verdict, daemon))
        print(f"  {goal}: {what}: {measured} (wanted {wanted or 'nothing'}): {verdict.upper()}; {daemon}"
              + (f"; {extra}" if extra else ""), flush=True)
        self.note(row=goal, what=what, wanted=wanted, measured=measured, holds=holds, daemon=daemon, extra=extra)

    def table(self):
        heads = ("goal", "what", "wanted", "measured", "verdict", "daemon")
        widths = [max(len(str(row[column])) for row in [heads, *self.rows]) for column in range(len(heads))]
        for row in [heads, tuple("-" * width for width in widths), *self.rows]:
            print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")

    def fell_short(self):
        return [row for row in self.rows if row[4] == "falls short"]

    # ---- pairs
    @staticmethod
    def calibrate():
        folder = tempfile.mkdtemp(prefix="mintd-cal.")
        try:
            text = subprocess.run([REFERENCE, "calibrate", folder], check=True, capture_output=True, text=True).stdout
            return numbers(text)
        finally:
            shutil.rmtree(folder)

    def compare(self, goal, subject, reference):
        """The ratios subject / reference of the pairs; each callable returns a rate."""
        ratios, spare, turn = [], self.pairs, 0
        subject(), reference()                             # warm-up
        while len(ratios) < self.pairs:
            before, values = self.calibrate(), {}
            for who in "AB" if turn % 2 == 0 else "BA":
                values[who] = subject() if who == "A" else reference()
            after = self.calibrate()
            noisy = any(abs(after[what] / before[what] - 1) > NOISE for what in before)
            turn += 1
            self.note(goal=goal, turn=turn, subject=values["A"], reference=values["B"], noisy=noisy, before=before, after=after)
            if noisy and spare:
                spare -= 1
                continue
            ratios.append(values["A"] / values["B"])
        return ratios


def numbers(text):
    return {name: float(value) for name, value in (part.split("=") for part in text.split())}


# ---- one life of the daemon

class BenchConfig(Config):
    """blocks: `null` keeps no metadata, `disk` is the real block store."""

    def __init__(self, profile, blocks="null", **groups):
        super().__init__(profile, **groups)
        self.blocks = blocks

    def instances(self, folder):
        found = super().instances(folder)
        if self.blocks == "null":
            found["files"] = ("uploader-null", {})
        return found


class Life:
    """A daemon for one measurement: time, CPU, peak memory."""

    def __init__(self, profile, **options):
        self.folder = tempfile.mkdtemp(prefix="mintd-bench.")
        self.config = BenchConfig(profile, **options)
        self.daemon = Daemon(self.folder, self.config, env={"MINTD_PLUGIN_DIR": PLUGINS})
        self.minted = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.daemon.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        self.daemon.start()
        self.api = self.daemon.api(timeout=900)
        self.cpu_before = self.daemon.cpu()

    def warm(self, count=1):
        """Some tickets, so that the collection exists; not part of what is measured."""
        self.mint(count, prefix="warm")
        self.minted -= count
        self.sounds = count
        self.cpu_before = self.daemon.cpu()

    def accept(self, body):
        answer = self.api.mint("venue-1", None, prefer="respond-async", body=body)
        if answer.status != 202:
            raise Void(f"{answer!r}")
        return answer.headers["Location"]

    def follow(self, where, count, every=0.005, timeout=900):
        with self.api as kept:
            summary = kept.follow(where, timeout, every)["summary"]
        if summary["succeeded"] != count:
            raise Void(f"{summary}")
        self.minted += count

    def mint(self, count, prefix="b", every=0.005, timeout=900):
        """Seconds from the first byte of the request to the last ticket MINTED."""
        body = batch("venue-1", tickets(prefix, count))
        start = time.monotonic()
        self.follow(self.accept(body), count, every, timeout)
        return time.monotonic() - start

    sounds = 0                                             # tickets of warm()

    def sound(self):
        """Exactly the tickets asked for, each once on the ledger, and the store agrees."""
        count = self.minted + self.sounds
        with self.daemon.store() as store:
            if store.one("SELECT count(*) FROM items") != count or store.open_chunks():
                raise Void("the store disagrees")
        if self.config.profile != "null":
            effects = [(mint["collection"], mint["asset"]) for mint in self.ledger().mints()]
            if len(effects) != count or len(set(effects)) != count:
                raise Void(f"{len(effects)} effects, {len(set(effects))} distinct, for {count} tickets")

    def ledger(self):
        return Ledger(self.config.ledger(self.folder))

    def usage(self):
        return (f"CPU {1e6 * (self.daemon.cpu() - self.cpu_before) / max(self.minted, 1):.0f} us/ticket, "
                f"peak {self.daemon.memory() / 1024:.0f} MiB")


# ---- what it is compared with

def fresh_database():
    """A folder with a database that mintd itself made, and the database's path."""
    folder = tempfile.mkdtemp(prefix="mintd-ref.")
    config = Config("null")
    config.write(folder)
    done = mintd_run("migrate", "-c", config.path(folder))
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise Void(done.stderr)
    return folder, config.database(folder)


def raw_loop(mode, count, size, asks, wanted):
    """Rate in items/s of the raw loop; the question asked of the database afterwards must have this answer."""
    folder, path = fresh_database()
    try:
        text = subprocess.run([REFERENCE, mode, path, str(count), str(size)], check=True, capture_output=True, text=True).stdout
        db = sqlite3.connect(path)
        found = db.execute(asks).fetchone()[0]
        db.close()
        if found != wanted:
            raise Void(f"the reference did {found} of {wanted}")
        return numbers(text)["rate"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def reference(mode, count, size):
    """The whole road of a ticket."""
    return raw_loop(mode, count, size, "SELECT sum(n) FROM chunks WHERE state = 10", count)


def reference_accept(count, size):
    """The rows of accepted requests alone."""
    return raw_loop("accept", count, size, "SELECT count(*) FROM items", count)


def machine():
    """What a result depends on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True,
                                check=False).stdout.strip()
    version = mintd_run("--version").stdout.split("\n")[0]
    return (f"{version}, SQLite {sqlite3.sqlite_version}, {cpu[1] if cpu else 'unknown CPU'}, {os.cpu_count()} cores, "
            f"Linux {os.uname().release}, {filesystem} in {tempfile.gettempdir()}, unpinned")
