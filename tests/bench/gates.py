#!/usr/bin/python3
"""Exact counters as gates: what a ticket costs in commits, log bytes, signatures, broadcasts, questions and memory. They do not
depend on the machine's speed. MINTD_GATE_TICKETS (default 2,000) sets the size; chunks of ten, one batch, no faults."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import Daemon, tickets  # noqa: E402
from tap import check, equal, main, test  # noqa: E402

COUNT = int(os.environ.get("MINTD_GATE_TICKETS", "2000"))
# limit: most allowed; measured values are printed. WAL counts whole pages of 4 KiB, so it exceeds what a row store would log.
GATES = {
    "solana-like": {"commits per 1,000 tickets": 12, "WAL bytes per ticket": 6000, "status questions per transaction": 0.1},
    "hedera-like": {"commits per 1,000 tickets": 12, "WAL bytes per ticket": 7000, "status questions per transaction": 2},
}
BATCH = {"solana-like": 4, "hedera-like": 10}


def ops(before, after, instance, op):
    name = "mintd_op_seconds_count"
    return after.sum(name, instance=instance, op=op) - before.sum(name, instance=instance, op=op)


def delta(before, after, name, **labels):
    return after.sum(name, **labels) - before.sum(name, **labels)


def measure(folder, profile):
    config = Config(profile, mint={"window": 200, "window_max": 400}, upload={"batch": 500}, store={"checkpoint_pages": 1000000})
    with Daemon(folder, config).start() as mintd:
        api = mintd.api(120)
        warm = api.mint("venue-1", tickets("warm", 10), prefer="respond-async")
        api.follow(warm.headers["Location"])
        before, log = api.metrics(), os.path.getsize(config.database(folder) + "-wal")
        answer = api.mint("venue-1", tickets("t", COUNT), prefer="respond-async")
        done = api.follow(answer.headers["Location"], 120)
        equal(done["summary"]["succeeded"], COUNT, done)
        after, log = api.metrics(), os.path.getsize(config.database(folder) + "-wal") - log
        with mintd.store() as store:
            attempts = store.one("SELECT count(*) FROM attempts")
        equal(mintd.stop(), 0)
    received = Ledger(config.ledger(folder)).received()
    equal(len(received), len(set(received)), "bytes were received twice")
    transactions = COUNT / BATCH[profile]
    check(attempts <= transactions + 8, attempts, "attempts for", transactions, "transactions")
    return {
        "commits per 1,000 tickets": delta(before, after, "mintd_commits_total") * 1000 / COUNT,
        "WAL bytes per ticket": log / COUNT,
        "status questions per transaction": ops(before, after, "local", "status") / transactions,
    }, {
        "resends": delta(before, after, "mintd_resends_total"),
        "uploads per 1,000 tickets": ops(before, after, "files", "put") * 1000 / COUNT,
        "claims per 1,000 tickets": ops(before, after, "books", "claim") * 1000 / COUNT,
        "signer calls per 1,000 tickets": ops(before, after, "vault", "sign") * 1000 / COUNT,
        "signatures per transaction": delta(before, after, "mintd_signer_file_signatures_total") / transactions,
    }


def gate(folder, profile):
    gated, shown = measure(folder, profile)
    for name, value in {**gated, **shown}.items():
        print(f"# {profile}: {name}: {value:.2f}", flush=True)
    for name, value in gated.items():
        check(value <= GATES[profile][name], profile, name, value, "is more than", GATES[profile][name])
    equal(shown["resends"], 0, "bytes were sent again though nothing was lost")
    keys = 1 + (BATCH[profile] if profile == "solana-like" else 0)
    equal(shown["signatures per transaction"], keys, "signatures")
    check(shown["uploads per 1,000 tickets"] <= 4, shown)


@test
def the_solana_like_road_stays_within_its_counters(folder):
    gate(folder, "solana-like")


@test
def the_hedera_like_road_stays_within_its_counters(folder):
    gate(folder, "hedera-like")


if __name__ == "__main__":
    sys.exit(main())
