#!/usr/bin/python3
"""Batches sent again: known tickets are told in their present state and never minted again, new ones are accepted, other content is
refused whole. Small bodies and streamed ones."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import checker  # noqa: E402
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import Daemon, batch, parallel, ticket, tickets  # noqa: E402
from tap import check, equal, main, test, until  # noqa: E402

TABLES = ("venues", "collections", "requests", "items", "chunks", "attempts", "events")
STREAMED = {"memory": "4 KiB", "slab": "8 KiB"}


def counts(mintd):
    with mintd.store() as store:
        return {table: store.one(f"SELECT count(*) FROM {table}") for table in TABLES}


def sound(folder, mintd, items):
    """Each ticket once in the store and once on the chain."""
    equal(mintd.stop(), 0)
    with mintd.store() as store:
        equal(store.one("SELECT count(*) FROM items"), items)
        equal(checker.judge([], store, Ledger(mintd.config.ledger(folder))), [])


def started(folder, streamed=False, **groups):
    if streamed:
        groups["intake"] = STREAMED
    return Daemon(folder, Config("solana-like", **groups)).start()


def the_same_again(folder, streamed):
    with started(folder, streamed) as mintd:
        api, items = mintd.api(), tickets("t", 60)
        first = api.mint("venue-1", items)
        equal((first.status, "known" in first.json, first.headers["Idempotency-Replayed"]), (200, False, None), first)
        before = counts(mintd)
        for key in (None, "a-key"):
            again = api.mint("venue-1", items, key=key)
            equal((again.status, again.headers["Location"]), (200, first.headers["Location"]), again)
            equal((again.json["known"], again.json["batchId"], again.json["batches"]), (60, first.json["batchId"], [first.json["batchId"]]))
            equal(again.headers["Idempotency-Replayed"], "true")
            equal(sorted(again.json["successful"], key=lambda row: row["ticketId"]),
                  sorted(first.json["successful"], key=lambda row: row["ticketId"]))
            equal(again.json["summary"], first.json["summary"])
        until(lambda: counts(mintd) == before, 10, "the row of a stream without news is gone")
        sound(folder, mintd, 60)


@test
def the_same_tickets_again_are_told_and_not_minted_again(folder):
    the_same_again(folder, False)


@test
def the_same_tickets_streamed_again_are_told_and_not_minted_again(folder):
    the_same_again(folder, True)


def some_new(folder, streamed):
    with started(folder, streamed) as mintd:
        api = mintd.api()
        first = api.mint("venue-1", tickets("a", 50)).json["batchId"]
        second = api.mint("venue-1", tickets("b", 30)).json["batchId"]
        answer = api.mint("venue-1", tickets("a", 40) + tickets("c", 25) + tickets("b", 30), key="mixed")
        equal(answer.status, 200, answer)
        equal((answer.json["known"], answer.json["summary"]["total"], answer.json["summary"]["succeeded"]), (70, 95, 95))
        equal(answer.json["batches"], [first, second])
        check(answer.json["batchId"] not in (first, second), answer.json["batchId"])
        equal(len({row["ticketId"] for row in answer.json["successful"]}), 95)
        equal(api.get(answer.headers["Location"]).json["summary"]["total"], 25, "the new batch has the new tickets alone:")
        again = api.mint("venue-1", tickets("a", 40) + tickets("c", 25) + tickets("b", 30), key="mixed")
        equal((again.status, again.headers["Idempotency-Replayed"], again.json["known"], again.json["batchId"]),
              (200, "true", 70, answer.json["batchId"]))
        equal(again.json["summary"]["total"], 95)
        three = api.mint("venue-1", tickets("c", 25) + tickets("a", 1))      # all known, of two batches
        equal((three.status, "batchId" in three.json, three.headers["Location"], three.json["known"]), (200, False, None, 26))
        later = api.mint("venue-1", tickets("c", 25) + tickets("a", 1) + tickets("d", 1), prefer="respond-async")
        equal((later.status, later.json["known"], later.json["total"]), (202, 26, 27), later)
        equal(api.follow(later.headers["Location"])["summary"]["total"], 1)
        sound(folder, mintd, 106)


@test
def new_tickets_among_known_ones_are_minted(folder):
    some_new(folder, False)


@test
def new_tickets_among_known_ones_of_a_stream_are_minted(folder):
    some_new(folder, True)


def other_content(folder, streamed):
    with started(folder, streamed) as mintd:
        api = mintd.api()
        items = tickets("t", 120)
        first = api.mint("venue-1", items).json["batchId"]
        before = counts(mintd)
        changed = [dict(item, userId="somebody-else") for item in items]
        changed[7]["recipient"] = "9" * 32
        answer = api.mint("venue-1", tickets("new", 3) + changed)
        equal((answer.status, answer.code, answer.json["conflicts"], answer.json["batchId"]), (409, "ticket.exists", 120, first), answer)
        equal(len(answer.json["errors"]), 100)
        equal([(row["pointer"], row["ticketId"], row["batchId"], row["code"]) for row in answer.json["errors"][:2]],
              [("/tickets/3", "t-000000", first, "ticket.exists"), ("/tickets/4", "t-000001", first, "ticket.exists")])
        check("eventId or userId" in answer.json["errors"][0]["detail"], answer.json["errors"][0])
        check("recipient" in answer.json["errors"][7]["detail"], answer.json["errors"][7])
        one = api.mint("venue-1", tickets("new", 3) + items[:5] + [ticket("t-000009", tier="Standing")])
        equal((one.status, one.json["conflicts"], [row["pointer"] for row in one.json["errors"]]), (409, 1, ["/tickets/8"]))
        check("metadata" in one.json["errors"][0]["detail"], one)
        moved = api.mint("venue-1", None, body=json.dumps({"venueId": "venue-1", "collection": "another", "tickets": items[:2]}))
        equal((moved.status, moved.json["conflicts"]), (409, 2))
        check("collection" in moved.json["errors"][0]["detail"], moved)
        until(lambda: counts(mintd)["requests"] == before["requests"], 10, "the row of a refused stream is gone")
        after = counts(mintd)
        equal(after.pop("collections") - before.pop("collections"), 1, "a name alone promises nothing:")
        equal(after, before)
        elsewhere = [ticket(item["id"], seat="elsewhere-" + item["id"]) for item in items]
        equal(api.mint("venue-2", elsewhere).status, 200, "another venue")
        sound(folder, mintd, 240)


@test
def other_content_is_refused_whole_with_a_pointer_per_ticket(folder):
    other_content(folder, False)


@test
def other_content_in_a_stream_is_refused_whole_with_a_pointer_per_ticket(folder):
    other_content(folder, True)


@test
def failed_and_cancelled_tickets_are_told_as_they_are_and_not_tried_again(folder):
    with started(folder, chain={"fail_names": ["Concert B1"]}) as mintd:
        api = mintd.api()
        items = tickets("t", 5) + [ticket("bad", seat="B1")]
        first = api.mint("venue-1", items)
        equal(first.json["summary"]["failed"], 1, first)
        with mintd.store() as store:
            chunks = store.one("SELECT count(*) FROM chunks WHERE request = 1")
        again = api.mint("venue-1", items + [ticket("new")])
        equal((again.status, again.json["state"], again.json["known"]), (200, "partial", 6), again)
        equal(again.json["failed"], first.json["failed"])
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM chunks WHERE request = 1"), chunks)
        sound(folder, mintd, 7)


@test
def known_tickets_on_their_way_are_waited_for(folder):
    with started(folder, chain={"latency": "2s"}) as mintd:
        api, items = mintd.api(), tickets("t", 3)
        first = api.mint("venue-1", items, prefer="respond-async")
        now = api.mint("venue-1", items, prefer="wait=1")
        equal((now.status, now.json["state"], now.json["known"], now.headers["Location"]), (202, "running", 3, first.headers["Location"]))
        then = api.mint("venue-1", items + [ticket("x")], prefer="wait=30")
        equal((then.status, then.json["summary"]["succeeded"], then.json["known"]), (200, 4, 3), then)


@test
def a_changed_template_makes_the_old_tickets_other_content(folder):
    """What the caller sent is not kept, only what became of it: the safe side is a refusal."""
    with started(folder) as mintd:
        items = tickets("t", 4)
        equal(mintd.api().mint("venue-1", items).status, 200)
        equal(mintd.stop(), 0)
        mintd.config.pipeline["metadata"] = '{"name":"{{eventName}} {{seatNumber}}","tier":"{{tier}}"}'
        mintd.config.write(folder)
        mintd.start()
        before = counts(mintd)
        answer = mintd.api().mint("venue-1", items + tickets("new", 2))
        equal((answer.status, answer.code, answer.json["conflicts"]), (409, "ticket.exists", 4), answer)
        check("metadata" in answer.json["errors"][0]["detail"], answer)
        equal(counts(mintd), before)


@test
def many_clients_with_overlapping_tickets_and_no_key(folder):
    with started(folder) as mintd:
        def send(number):
            items = tickets("t", 40)[number % 7:] + tickets(f"own-{number}", 2)
            while True:
                answer = mintd.api().mint("venue-1", None, prefer="wait=60", body=batch("venue-1", items))
                if answer.status != 409:
                    return answer
                check("Retry-After" in answer.headers, answer)

        answers = parallel(send, range(24))
        for number, answer in enumerate(answers):
            equal((answer.status, answer.json["summary"]["succeeded"]), (200, 42 - number % 7), answer)
        equal(sum(42 - number % 7 for number in range(24)) - sum(answer.json.get("known", 0) for answer in answers), 40 + 48)
        sound(folder, mintd, 88)


if __name__ == "__main__":
    sys.exit(main())
