#!/usr/bin/python3
"""Many clients, many Idempotency-Keys, kill -9 in between: whatever was answered, whatever was lost, each key made one batch, each ticket
was minted once. Store, ledger and what clients were told are compared at the end (tests/lib/checker.py).

MINTD_KEYS and MINTD_CLIENTS say how many (the whole size is 10000 and 64), MINTD_SEED repeats the choices.
"""
import http.client
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import checker  # noqa: E402
from checker import Request  # noqa: E402
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import Api, Daemon, batch, tickets  # noqa: E402
from tap import check, equal, main, note, test, until  # noqa: E402

KEYS = int(os.environ.get("MINTD_KEYS", "1600"))
CLIENTS = int(os.environ.get("MINTD_CLIENTS", "32"))
KILLS = max(8, KEYS // 100)
SEED = os.environ.get("MINTD_SEED", str(random.randrange(1 << 30)))


class Client(threading.Thread):
    """Takes its keys one after the other; asks until there is an answer, then asks again in the ways that must change nothing."""

    def __init__(self, run, number):
        super().__init__(daemon=True)
        self.run_, self.rng = run, random.Random(f"{SEED}/client/{number}")
        self.requests = [self.request(key) for key in range(number, KEYS, CLIENTS)]
        self.link = None

    def request(self, key):
        name = f"k{key}"
        request = Request(f"venue-{key % 3}", name, [f"{name}-{n:06d}" for n in range(self.rng.choice((1, 1, 2, 3, 11)))])
        request.body = batch(request.venue, tickets(name, len(request.tickets)))
        return request

    def run(self):
        for request in self.requests:
            self.until_told(request)
            self.run_.told += 1                            # two at once may count as one: it only says how far they are
            dice = self.rng.random()
            if dice < 0.35:
                self.again(request)
            elif dice < 0.5:
                self.without_key(request)
            elif dice < 0.6:
                self.other_body(request)

    def call(self, request, key, body):
        """An answer, however often the daemon dies before it comes. Some connections are cut by the client itself."""
        while not self.run_.abandoned.is_set():
            try:
                if not self.link:
                    self.link = Api(self.run_.port, self.run_.key, timeout=20)
                    self.link.__enter__()
                answer = self.link.mint(request.venue, None, key=key, prefer="respond-async", body=body)
            except (OSError, http.client.HTTPException):
                self.cut()
                self.run_.lost += 1
                time.sleep(self.rng.uniform(0.01, 0.1))
                continue
            if answer.status in (429, 503, 507) or (answer.status == 409 and "Retry-After" in answer.headers):
                time.sleep(self.rng.uniform(0.01, 0.1))
                continue
            return answer
        raise RuntimeError("abandoned")

    def cut(self):
        if self.link:
            self.link.__exit__()
        self.link = None

    def note(self, request, answer):
        if answer.status in (200, 202):
            request.outcome = Request.ACCEPTED
            request.places.add(answer.headers.get("Location"))
        else:
            request.complaint = repr(answer)

    def until_told(self, request):
        if self.rng.random() < 0.2:                        # two at once, on connections of their own
            twin = threading.Thread(target=self.twin, args=(request,), daemon=True)
            twin.start()
            self.note(request, self.call(request, request.key, request.body))
            twin.join(60)
        else:
            self.note(request, self.call(request, request.key, request.body))

    def twin(self, request):
        try:
            answer = Api(self.run_.port, self.run_.key, timeout=20).mint(request.venue, None, key=request.key, prefer="respond-async", body=request.body)
        except (OSError, http.client.HTTPException):
            return
        if answer.status in (200, 202):
            request.places.add(answer.headers.get("Location"))
        elif answer.status not in (429, 503, 507) and not (answer.status == 409 and "Retry-After" in answer.headers):
            request.complaint = f"its twin was answered {answer!r}"

    def again(self, request):
        answer = self.call(request, request.key, request.body)
        self.note(request, answer)
        if answer.headers.get("Idempotency-Replayed") != "true":
            request.complaint = f"a repeat was not told as one: {answer!r}"

    def without_key(self, request):
        answer = self.call(request, None, request.body)
        self.note(request, answer)
        if answer.json.get("known") != len(request.tickets):
            request.complaint = f"without its key: {answer!r}"

    def other_body(self, request):
        answer = self.call(request, request.key, batch(request.venue, tickets(f"never-{request.key}", 1)))
        if (answer.status, answer.code) != (422, "idempotency.other_body"):
            request.complaint = f"another body under its key: {answer!r}"


class Run:
    def __init__(self, mintd):
        self.mintd, self.port, self.key = mintd, mintd.port, mintd.key
        self.abandoned, self.lost, self.kills, self.told = threading.Event(), 0, 0, 0
        self.clients = [Client(self, number) for number in range(CLIENTS)]

    def alive(self):
        return any(client.is_alive() for client in self.clients)

    def go(self):
        """Kills by how far the clients are, so that a fast machine dies as often as a slow one."""
        rng = random.Random(f"{SEED}/killer")
        for client in self.clients:
            client.start()
        end = time.monotonic() + 60 + KEYS / 20
        for mark in [KEYS * (n + rng.random()) / (KILLS + 1) for n in range(KILLS)]:
            while self.alive() and self.told < mark and time.monotonic() < end:
                time.sleep(0.002)
            if not self.alive():
                break
            time.sleep(rng.uniform(0, 0.03))
            self.mintd.kill()
            self.kills += 1
            self.mintd.start()
        while self.alive():
            if time.monotonic() > end:
                self.abandoned.set()
                raise AssertionError("clients are still waiting")
            time.sleep(0.01)


def a_storm(folder, **groups):
    with Daemon(folder, Config("solana-like", api={"rate_mint": "none", "max_connections_per_ip": 500, "max_connections": 1000}, **groups)).start() as mintd:
        run = Run(mintd)
        run.go()
        requests = [request for client in run.clients for request in client.requests]
        with mintd.store() as store:
            until(lambda: store.open_chunks() == 0, 120, "everything accepted is settled", every=0.2)
            until(lambda: not store.one("SELECT count(*) FROM requests WHERE state = 0"), 60, "what died half read is swept", every=0.2)
        equal(mintd.stop(), 0)
        with mintd.store() as store:
            found = checker.judge(requests, store, Ledger(mintd.config.ledger(folder)))
            check(not found, f"seed {SEED}:", *found[:8])
            equal({request.outcome for request in requests}, {Request.ACCEPTED})
            equal(store.one("SELECT count(*) FROM requests WHERE state = 1"), KEYS, "one batch per key:")
            equal(store.one("SELECT count(*) FROM requests WHERE state = 0"), 0)
            equal(store.one("SELECT count(*) FROM items"), sum(len(request.tickets) for request in requests))
            equal(store.one("SELECT count(*) FROM items WHERE ticket LIKE 'never%'"), 0)
        note(f"seed {SEED}: {KEYS} keys, {CLIENTS} clients, {run.kills} kills, {run.lost} answers lost, "
             f"{sum(len(request.tickets) for request in requests)} tickets: 0 lost, 0 double")
        check(run.kills >= 3 and run.lost, "the daemon was killed", run.kills, "times")


@test
def each_key_makes_one_batch_whatever_dies(folder):
    a_storm(folder)


@test
def each_key_makes_one_batch_when_all_bodies_are_staged(folder):
    a_storm(folder, intake={"memory": "0 KiB", "slab": "4 KiB"})


if __name__ == "__main__":
    sys.exit(main())
