#!/usr/bin/python3
"""Batches through HTTP on the real daemon: both chain profiles, the seed's answers, idempotency, follow, cancel, retry."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Daemon, batch, parallel, ticket, tickets  # noqa: E402
from tap import check, equal, main, matches, test, until  # noqa: E402


def settled(api, answer, timeout=30):
    equal(answer.status, 202, answer)
    return api.follow(answer.headers["Location"], timeout)


def happy(folder, profile):
    with Daemon(folder, Config(profile)).start() as mintd:
        api = mintd.api()
        items = tickets("t", 57)
        done = settled(api, api.mint("venue-1", items, key="k1", prefer="respond-async"))
        equal(done["summary"]["total"], 57)
        equal(done["summary"]["succeeded"], 57, done)
        equal(done["summary"]["failed"], 0)
        with mintd.store() as store:
            rows = store.items()
            equal({row["ticket"] for row in rows}, {item["id"] for item in items})
            equal({row["state"] for row in rows}, {10})
        equal(mintd.stop(), 0, mintd.log[-1500:])


@test
def a_batch_is_minted_on_the_solana_like_profile(folder):
    happy(folder, "solana-like")


@test
def a_batch_is_minted_on_the_hedera_like_profile(folder):
    happy(folder, "hedera-like")


@test
def the_answer_has_the_shape_of_the_seed(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        answer = mintd.api().mint("venue-123", [ticket("ticket-1"), ticket("ticket-2", seat="A2")])
        equal(answer.status, 200, answer)
        matches(answer.headers["Content-Type"], r"^application/json")
        body = answer.json
        for name in ("successful", "failed", "summary"):
            check(name in body, name, "is missing in", body)
        equal([row["ticketId"] for row in body["successful"]], ["ticket-1", "ticket-2"])
        for row in body["successful"]:
            check(row["signature"], row)
            matches(row["metadataUri"], r"^ipfs://")
        equal(body["failed"], [])
        summary = body["summary"]
        equal((summary["total"], summary["succeeded"], summary["failed"]), (2, 2, 0))
        check(0 < summary["totalDuration"] < 30, summary)
        check(abs(summary["avgDuration"] - summary["totalDuration"] / 2) < 0.01, summary)


@test
def two_of_a_hundred_fail_and_are_named_with_a_reason(folder):
    with Daemon(folder, Config("solana-like", chain={"fail_names": ["Concert B1", "Concert B2"]})).start() as mintd:
        items = tickets("good", 98) + [ticket("bad-1", seat="B1"), ticket("bad-2", seat="B2")]
        answer = mintd.api().mint("venue-1", items, prefer="wait=60")
        equal(answer.status, 200, answer)
        summary = answer.json["summary"]
        equal((summary["total"], summary["succeeded"], summary["failed"]), (100, 98, 2), answer)
        equal(sorted(row["ticketId"] for row in answer.json["failed"]), ["bad-1", "bad-2"])
        for row in answer.json["failed"]:
            check(row["error"], row)


@test
def the_same_key_and_body_get_the_same_answer(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        items = tickets("t", 12)
        first = api.mint("venue-1", items, key="once", prefer="respond-async")
        again = api.mint("venue-1", items, key="once", prefer="respond-async")
        equal(again.headers["Location"], first.headers["Location"])
        settled(api, first)
        late = api.mint("venue-1", items, key="once")
        equal(late.status, 200, late)
        equal(late.json["summary"]["succeeded"], 12)
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM requests"), 1)
            equal(store.one("SELECT count(*) FROM items"), 12)


@test
def the_same_key_with_another_body_is_refused(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        settled(api, api.mint("venue-1", tickets("a", 3), key="once", prefer="respond-async"))
        other = api.mint("venue-1", tickets("b", 3), key="once")
        equal(other.status, 422, other)
        matches(other.headers["Content-Type"], "application/problem\\+json")
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 3)


@test
def the_same_key_in_another_venue_is_another_key(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        equal(api.mint("venue-1", tickets("a", 2), key="once").status, 200)
        equal(api.mint("venue-2", tickets("a", 2), key="once").status, 200)


@test
def a_known_ticket_refuses_the_whole_request(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        first = api.mint("venue-1", tickets("t", 5), key="one", prefer="respond-async")
        second = api.mint("venue-1", tickets("fresh", 4) + [ticket("t-000002")], key="two")
        equal(second.status, 409, second)
        matches(second.text, "t-000002")
        matches(second.text, first.headers["Location"].rsplit("/", 1)[1])
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 5)


@test
def sixty_four_clients_with_one_key_make_one_request(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        body = batch("venue-1", tickets("t", 40))

        def send(_):
            while True:
                answer = mintd.api().mint("venue-1", None, key="storm", prefer="respond-async", body=body)
                if answer.status != 409:
                    return answer
                check("Retry-After" in answer.headers, answer)

        answers = parallel(send, range(64))
        equal({answer.status for answer in answers}, {202})
        equal(len({answer.headers["Location"] for answer in answers}), 1)
        settled(mintd.api(), answers[0])
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM requests"), 1)
            equal(store.one("SELECT count(*) FROM items"), 40)


@test
def a_batch_above_the_synchronous_limit_is_answered_at_once(folder):
    with Daemon(folder, Config("solana-like", api={"sync_items": 10})).start() as mintd:
        api = mintd.api()
        equal(api.mint("venue-1", tickets("small", 10)).status, 200)
        large = api.mint("venue-1", tickets("large", 11))
        equal(large.status, 202, large)
        equal(settled(api, large)["summary"]["succeeded"], 11)


@test
def a_wait_that_ends_early_is_answered_with_a_place_to_look(folder):
    with Daemon(folder, Config("solana-like", chain={"latency": "3s"})).start() as mintd:
        api = mintd.api()
        answer = api.mint("venue-1", tickets("t", 3), prefer="wait=1")
        equal(answer.status, 202, answer)
        equal(settled(api, answer)["summary"]["succeeded"], 3)


@test
def one_ticket_shows_its_history(folder):
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        api = mintd.api()
        equal(api.mint("venue-1", tickets("t", 3)).status, 200)
        answer = api.get("/admin/mints/t-000001")
        equal(answer.status, 200, answer)
        matches(answer.text, "t-000001")
        matches(answer.text, "ipfs://")
        matches(answer.text, "(?i)minted")
        equal(api.get("/admin/mints/nobody").status, 404)


def slow(folder):
    """A chain that lets one transaction through at a time, slowly."""
    return Daemon(folder, Config("solana-like", chain={"latency": "500ms"},
                                 mint={"mode": "fixed", "batch": 1, "maxConcurrentWorkers": 1, "batch_delay": "0ms"})).start()


@test
def cancel_stops_what_is_not_signed_and_only_that(folder):
    with slow(folder) as mintd:
        api = mintd.api()
        answer = api.mint("venue-1", tickets("t", 12), key="k", prefer="respond-async")
        where = answer.headers["Location"]
        until(lambda: api.get(where).json["summary"]["succeeded"] >= 1, 20, "the first ticket is minted")
        cancelled = api.call("POST", where + "/cancel")
        check(cancelled.status in (200, 202), cancelled)
        done = api.follow(where)
        summary = done["summary"]
        check(summary["succeeded"] >= 1 and summary["failed"] >= 1, summary)
        with mintd.store() as store:
            equal({row["state"] for row in store.items()}, {10, 12})
        again = api.call("POST", where + "/cancel")
        check(again.status in (200, 202, 409), again)


@test
def retry_mints_what_was_cancelled_and_nothing_else(folder):
    with slow(folder) as mintd:
        api = mintd.api()
        where = api.mint("venue-1", tickets("t", 6), key="k", prefer="respond-async").headers["Location"]
        api.call("POST", where + "/cancel")
        failed = api.follow(where)["summary"]["failed"]
        check(failed >= 1, "nothing was cancelled")
        retried = api.call("POST", where + "/retry")
        check(retried.status in (200, 202), retried)
        until(lambda: api.get(where).json["summary"]["succeeded"] == 6, 30, "all six minted after the retry")
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM item_moves"), failed)


@test
def a_restart_goes_on_where_it_stopped(folder):
    with slow(folder) as mintd:
        where = mintd.api().mint("venue-1", tickets("t", 6), prefer="respond-async").headers["Location"]
        mintd.kill()
        mintd.start()
        equal(mintd.api().follow(where)["summary"]["succeeded"], 6)


@test
def bad_bodies_are_refused_precisely_and_store_nothing(folder):
    good = ticket("t-1")
    bodies = {
        b"": 400, b"{": 400, b"[]": 400, b"null": 400, b'{"venueId":"v"}': 400,
        b'{"venueId":"v","tickets":[]}': 400, b'{"venueId":"v","tickets":{}}': 400,
        b'{"venueId":7,"tickets":[]}': 400, b'{"venueId":"","tickets":[{"id":"a","ticketData":{}}]}': 400,
        batch("v", [good]) + b"x": 400, batch("v", [good])[:-1]: 400,
        batch("v", [{**good, "id": ""}]): 400, batch("v", [{**good, "id": 5}]): 400,
        batch("v", [{"eventId": "e"}]): 400, batch("v", [{**good, "ticketData": "text"}]): 400,
        batch("v", [good, good]): None, b'{"venueId":"v","tickets":[{"id":"\xff","ticketData":{}}]}': 400,
        b'{"tickets":' + b"[" * 200 + b"]" * 200 + b"}": 400,
    }
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        for body, status in bodies.items():
            answer = api.mint("v", None, body=body)
            check(400 <= answer.status < 500 and (status is None or answer.status in (400, 422)), body[:80], answer)
            matches(answer.headers["Content-Type"], "application/problem\\+json", body[:80])
            check(answer.code, body[:80], "has no code:", answer)
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 0)
            equal(store.one("SELECT count(*) FROM requests WHERE state = 1"), 0)
        equal(mintd.api().mint("v", [good]).status, 200)


if __name__ == "__main__":
    sys.exit(main())
