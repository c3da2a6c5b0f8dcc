#!/usr/bin/python3
"""kill -9 under load with a faulty chain. Clients mint without pause; the daemon is killed at random moments and at every named
crash point; then the faults end, everything accepted must settle, and three books are compared (tests/lib/checker.py).

A failing run keeps its folder and prints how to run it again with the same choices. The order of threads is the machine's, so
the same seed gives the same plan, not the same microseconds.
"""
import argparse
import collections
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import checker  # noqa: E402
from checker import Request  # noqa: E402
from conf import FAULTS, Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import ROOT, Api, Daemon, batch, tickets  # noqa: E402

BACKLOG = 1500       # open chunks above which clients pause


def crash_names():
    with open(os.path.join(ROOT, "tests", "crash-points.txt"), encoding="ascii") as file:
        return [line.split()[0] for line in file if line.strip() and not line.startswith("#")]


class Client(threading.Thread):
    """Submits one batch after the other until told to end; keeps every promise it was given."""

    def __init__(self, run, number):
        super().__init__(daemon=True)
        self.run_, self.number = run, number
        self.rng = random.Random(f"{run.seed}/client/{number}")
        self.requests = []

    def run(self):
        count = 0
        while not self.run_.over.is_set():
            if self.run_.full.is_set():
                time.sleep(0.02)
                continue
            count += 1
            venue = f"venue-{self.rng.randrange(3)}"
            key = f"c{self.number}-{count}"
            size = self.rng.choice((1, 2, 3, 7, 10, 11, 20, 33))
            request = Request(venue, key, [f"{key}-{n:06d}" for n in range(size)])
            self.requests.append(request)
            self.submit(request, batch(venue, tickets(key, size)))
            time.sleep(self.rng.uniform(0, 0.08))

    def submit(self, request, body):
        """Until a definite answer; one time in twelve it gives up after a connection was lost."""
        while not self.run_.abandoned.is_set():
            try:
                answer = self.run_.api().mint(request.venue, None, key=request.key, prefer="respond-async", body=body)
            except (OSError, http.client.HTTPException):
                if self.rng.random() < 0.08:
                    return
                time.sleep(self.rng.uniform(0.005, 0.05))
                continue
            if answer.status in (200, 202):
                request.outcome = Request.ACCEPTED
                request.places.add(answer.headers.get("Location"))
                self.afterwards(request, body)
                return
            if answer.status in (429, 503, 507) or (answer.status == 409 and "Retry-After" in answer.headers):
                time.sleep(self.rng.uniform(0.01, 0.06))
                continue
            request.complaint = f"{answer!r}"
            return

    def afterwards(self, request, body):
        """Sometimes asks again with the same key, sometimes cancels."""
        dice = self.rng.random()
        try:
            if dice < 0.15:
                again = self.run_.api().mint(request.venue, None, key=request.key, prefer="respond-async", body=body)
                if again.status in (200, 202):
                    request.places.add(again.headers.get("Location"))
                elif again.status not in (409, 429, 503, 507) or (again.status == 409 and "Retry-After" not in again.headers):
                    request.complaint = f"a repeat was answered {again!r}"
            elif dice < 0.18:
                request.cancelled = True
                self.run_.api().call("POST", next(iter(request.places)) + "/cancel")
        except (OSError, http.client.HTTPException):
            pass


class Run:
    def __init__(self, profile, seed, folder, kills, faults=True, clients=4, points=True, env=None, settle=90):
        self.profile, self.seed, self.folder, self.kills, self.points = profile, seed, folder, kills, points
        self.rng = random.Random(f"{seed}/killer")
        self.settle = settle
        self.config = Config(profile, chain={**(FAULTS[profile] if faults else {}), "seed": seed},
                             intake={"memory": "4 KiB", "slab": "4 KiB"})         # larger batches are staged
        self.daemon = Daemon(folder, self.config, env=env)
        self.over, self.abandoned, self.full = threading.Event(), threading.Event(), threading.Event()
        self.clients = [Client(self, number) for number in range(clients)]
        self.key = None
        self.reached, self.missed = collections.Counter(), []
        self.problems = []

    def api(self):
        return Api(self.daemon.port, self.key, timeout=10)

    def plan(self):
        """One entry per kill: None for a random moment, else (name, n). Every name comes up before any comes up twice; points
        given by name take all kills."""
        names = crash_names() if self.points is True else self.points or []
        entries = [(name, 1) for name in names] * 2        # so that each is passed at least once
        share, turns = (3, (1, 2, 4, 8)) if self.points is True else (1, (5, 15, 40, 90))
        while len(entries) < self.kills // share and names:
            entries.append((self.rng.choice(names), self.rng.choice(turns)))
        entries = entries[:max(2 * len(names), self.kills)]
        entries += [None] * (self.kills - len(entries))
        self.rng.shuffle(entries)
        return entries

    def kill_once(self, entry):
        env = {"MINTD_CRASH_AT": f"{entry[0]}:{entry[1]}"} if entry else {}
        if entry:
            self.full.clear()                              # most points need somebody who asks
        self.daemon.launch(env)
        process = self.daemon.process
        if not entry:
            if self.rng.random() < 0.85:
                self.daemon.wait_ready(20)
                time.sleep(self.rng.uniform(0.02, 0.45))
            else:
                time.sleep(self.rng.uniform(0, 0.15))
        else:
            try:
                process.wait(4 if entry[1] == 1 and not self.reached[entry[0]] else 1.5)
            except Exception:  # subprocess.TimeoutExpired: the point was not passed so often in this life
                self.missed.append(entry[0])
        code = process.poll()
        if code is None:
            self.daemon.kill()
        elif code == -signal.SIGKILL and entry:
            self.reached[entry[0]] += 1
        else:
            raise AssertionError(f"mintd ended by itself with {code}: {self.daemon.log[-3000:]}")

    def watch_backlog(self):
        try:
            with self.daemon.store() as store:
                (self.full.set if store.open_chunks() > BACKLOG else self.full.clear)()
        except Exception:  # no file yet, or locked by a recovery: look again after the next kill
            pass

    def attack(self):
        self.daemon.start()
        self.key = self.daemon.key
        for client in self.clients:
            client.start()
        self.daemon.kill()
        entries = self.plan()
        for place, entry in enumerate(entries):
            self.kill_once(entry)
            if place % 5 == 0:
                self.watch_backlog()
            if place % 25 == 24:
                print(f"# {place + 1} of {len(entries)} kills", flush=True)
        for _ in range(3):                                 # a point may wait for work that there was none of
            for name in sorted(set(self.missed) - set(self.reached)):
                self.kill_once((name, 1))

    def calm_down(self):
        """Faults off; clients finish what they began; everything open must end."""
        self.over.set()
        self.config.chain = {}
        self.config.write(self.folder)
        self.daemon.start()
        for client in self.clients:
            client.join(30)
        self.abandoned.set()
        end = time.monotonic() + self.settle
        with self.daemon.store() as store:
            while store.open_chunks() and time.monotonic() < end:
                time.sleep(0.1)
        code = self.daemon.stop()
        if code:
            self.problems.append(("exit", f"SIGTERM was answered with exit code {code}"))

    def judge(self):
        requests = [request for client in self.clients for request in client.requests]
        with self.daemon.store() as store:
            self.problems += checker.judge(requests, store, Ledger(self.config.ledger(self.folder)))
            minted = store.one("SELECT coalesce(sum(n), 0) FROM chunks WHERE kind = 0 AND state = 10")
            proofs = store.one("SELECT count(*) FROM proofs")
            attempts = store.one("SELECT count(*) FROM attempts")
        told = collections.Counter(request.outcome for request in requests)
        print(f"# {len(requests)} requests: {dict(told)}; {minted} tickets minted, {attempts} attempts, {proofs} proofs of death; "
              f"{len(self.reached)} crash points reached", flush=True)
        never = sorted(set(self.missed) - set(self.reached))
        if never:
            print(f"# crash points not passed in this run: {' '.join(never)}", flush=True)
            if self.kills >= 100:
                self.problems.append(("unreached", f"no life of this run passed {' '.join(never)}"))
        with open(os.path.join(self.folder, "history.json"), "w", encoding="utf-8") as file:
            json.dump([{**vars(request), "places": sorted(map(str, request.places))} for request in requests], file)
        return self.problems

    def whole(self):
        """All of it; returns the problems found."""
        try:
            self.attack()
            self.calm_down()
            return self.judge()
        finally:
            self.over.set()
            self.abandoned.set()
            self.daemon.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="solana-like", choices=sorted(FAULTS))
    parser.add_argument("--kills", type=int, default=int(os.environ.get("MINTD_KILLS", "300")) // 2)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--keep", action="store_true", help="keep the folder of a good run too")
    given = parser.parse_args()
    again = f"tests/e2e/kill.py --profile {given.profile} --kills {given.kills} --seed {given.seed}"
    print(f"1..1\n# {again}", flush=True)
    folder = tempfile.mkdtemp(prefix="mintd-kill.")
    start = time.monotonic()
    try:
        found = Run(given.profile, given.seed, folder, given.kills).whole()
    except AssertionError as error:
        found = [("died", str(error))]
    counts = collections.Counter(kind for kind, _ in found)
    for kind, message in found[:30]:
        print(f"# {kind}: {message}")
    name = (f"{given.kills} kills on {given.profile}: {counts['lost']} lost, {counts['double']} double, "
            f"{counts['stuck']} stuck, {sum(counts.values())} findings, {time.monotonic() - start:.0f} s")
    if found:
        print(f"not ok 1 - {name}\n# folder kept: {folder}\n# again: {again}")
        return 1
    print(f"ok 1 - {name}")
    if given.keep:
        print(f"# folder kept: {folder}")
    else:
        __import__("shutil").rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
