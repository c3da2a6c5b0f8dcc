#!/usr/bin/python3
"""One ticket under its own address, and dry runs: PUT again is the same, a dry run says what would happen and changes nothing."""
import gzip
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import checker  # noqa: E402
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import Daemon, batch, parallel, ticket, tickets  # noqa: E402
from tap import check, equal, main, test  # noqa: E402


def started(folder, **groups):
    return Daemon(folder, Config("solana-like", **groups)).start()


def whole(mintd):
    """Every row of every table but those of the lease and of what time alone writes."""
    with mintd.store() as store:
        names = [row["name"] for row in store.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        return {name: [tuple(row) for row in store.rows(f"SELECT * FROM {name}")] for name in names
                if name not in ("leases", "meta", "keys")}


def put(api, venue, name, body, headers=None, query=""):
    path = f"/v1/venues/{urllib.parse.quote(venue, safe='')}/tickets/{urllib.parse.quote(name, safe='')}{query}"
    return api.call("PUT", path, body if isinstance(body, bytes) else json.dumps(body), headers)


DATA = {"eventName": "Concert", "tier": "VIP", "seatNumber": "A1"}


@test
def put_is_201_then_200_with_what_became_of_it(folder):
    with started(folder) as mintd:
        api = mintd.api()
        body = {"ticketData": DATA, "eventId": "e", "userId": "u"}
        first = put(api, "venue 1", "ticket/1 ü", body)
        equal(first.status, 201, first)
        equal((first.json["ticketId"], first.json["venueId"], first.json["state"]), ("ticket/1 ü", "venue 1", "minted"))
        equal(api.get(first.headers["Location"]).json["ticketId"], "ticket/1 ü")
        before = whole(mintd)
        again = put(api, "venue 1", "ticket/1 ü", body)
        equal((again.status, again.json["signature"]), (200, first.json["signature"]), again)
        spaced = put(api, "venue 1", "ticket/1 ü", json.dumps(dict(reversed(body.items())), indent=3).encode())
        equal(spaced.status, 200, "the order of members and white space do not matter:")
        equal(whole(mintd), before)
        equal(put(api, "venue-2", "ticket/1 ü", {"ticketData": {**DATA, "seatNumber": "A2"}}).status, 201, "in another venue it is another ticket:")
        equal(api.mint("venue 1", [{"id": "ticket/1 ü", **body}]).json["known"], 1, "a batch knows it too:")


@test
def put_later_is_202_and_can_be_followed(folder):
    with started(folder, chain={"latency": "1s"}) as mintd:
        api = mintd.api()
        first = put(api, "v", "t", {"ticketData": DATA}, {"Prefer": "respond-async"})
        equal((first.status, first.json["state"], first.headers["Location"], first.headers["Preference-Applied"]),
              (202, "accepted", "/v1/venues/v/tickets/t", "respond-async"), first)
        now = put(api, "v", "t", {"ticketData": DATA})
        equal(now.status, 200, "the present state, at once:")
        check(now.json["state"] != "minted", now.json["state"])
        equal(api.follow(first.json["links"]["batch"])["summary"]["succeeded"], 1)
        equal(api.get(first.headers["Location"]).json["state"], "minted")
        late = put(api, "v", "t2", {"ticketData": {**DATA, "seatNumber": "A2"}}, {"Prefer": "wait=20"})
        equal((late.status, late.json["state"]), (201, "minted"))


@test
def put_with_other_content_is_refused(folder):
    with started(folder) as mintd:
        api = mintd.api()
        first = put(api, "v", "t", {"ticketData": DATA, "userId": "u"})
        equal(first.status, 201)
        before = whole(mintd)
        for change, what in (({"ticketData": {**DATA, "tier": "x"}}, "metadata"), ({"userId": "w"}, "userId"), ({"recipient": "9" * 32}, "recipient")):
            answer = put(api, "v", "t", {"ticketData": DATA, "userId": "u", **change})
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (409, "ticket.exists", ""), answer)
            equal(answer.json["batchId"], first.json["batch"]["batchId"])
            check(what in answer.json["detail"], answer)
        equal(whole(mintd), before)
        moved = put(api, "v", "t", {"ticketData": DATA, "userId": "u", "collection": "another"})
        equal((moved.status, moved.code), (409, "ticket.exists"), "another collection:")


@test
def put_refuses_what_it_does_not_know(folder):
    with started(folder, api={"max_ticket": "1 KiB"}) as mintd:
        api = mintd.api()
        before = whole(mintd)
        long = "n" * 129
        for venue, name, body, status, code, pointer in (
                ("v", "t", {"id": "t", "ticketData": {}}, 422, "field.unknown", "/id"),
                ("v", "t", {"venueId": "v", "ticketData": {}}, 422, "field.unknown", "/venueId"),
                ("v", "t", {}, 422, "field.required", "/ticketData"),
                ("v", "t", {"ticketData": []}, 422, "field.type", "/ticketData"),
                ("v", "t", {"ticketData": {}, "pipeline": "nobody"}, 422, "request.unknown_pipeline", "/pipeline"),
                ("v", "t", {"ticketData": {}, "recipient": "r" * 129}, 422, "ticket.recipient", "/recipient"),
                ("v", long, {"ticketData": {}}, 422, "ticket.id", "/id"),
                (long, "t", {"ticketData": {}}, 422, "field.length", "venueId"),
                ("v", "t", {"ticketData": {"x": "y" * 1024}}, 413, "ticket.too_large", None),
                ("v", "t", b"[]", 400, "json.syntax", None),
                ("v", "t", b"", 400, "body.empty", None),
                ("v", "t", b'{"ticketData":{"a":1,"a":2}}', 400, "json.duplicate_key", "/ticketData/a")):
            answer = put(api, venue, name, body)
            equal((answer.status, answer.code), (status, code), venue[:9], name[:9], body, answer)
            equal(answer.json["errors"][0]["pointer"] if "errors" in answer.json else None, pointer, answer)
        equal(put(api, "v", "t", b"x", {"Content-Type": "text/csv"}).status, 415)
        equal(put(api, "v", "t", {"ticketData": {}}, query="?venue=x").code, "query.unknown")
        equal(whole(mintd), before)
        equal(put(api, "v" * 128, "n" * 128, {"ticketData": DATA}).status, 201, "just at the limits:")
        fits = {"ticketData": {"seatNumber": "z" * (1024 - len('{"ticketData": {"seatNumber": ""}}'))}}
        equal(len(json.dumps(fits)), 1024)
        check(put(api, "v", "t", fits).code != "ticket.too_large", "n bytes")
        packed = put(api, "v", "packed", gzip.compress(json.dumps({"ticketData": {"seatNumber": "g"}}).encode()), {"Content-Encoding": "gzip"})
        equal(packed.status, 201, packed)


@test
def sixty_four_clients_put_one_ticket(folder):
    with started(folder) as mintd:
        def send(_):
            while True:
                answer = put(mintd.api(), "v", "t", {"ticketData": DATA})
                if answer.status != 409:
                    return answer
                check("Retry-After" in answer.headers, answer)

        statuses = sorted(answer.status for answer in parallel(send, range(64)))
        equal(statuses, [200] * 63 + [201])
        equal(mintd.stop(), 0)
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 1)
            equal(checker.judge([], store, Ledger(mintd.config.ledger(folder))), [])


# ---- dry runs
def dry(api, body, headers=None, query="dry_run=1"):
    return api.call("POST", f"/v1/batches?{query}", body, headers)


def a_dry_run(folder, streamed):
    groups = {"intake": {"memory": "4 KiB", "slab": "8 KiB"}} if streamed else {}
    with started(folder, **groups) as mintd:
        api = mintd.api()
        before = whole(mintd)
        items = tickets("t", 100)
        answer = dry(api, batch("v", items))
        equal(answer.status, 200, answer)
        planned = answer.json
        equal((planned["dryRun"], planned["venueId"], planned["pipeline"]), (True, "v", "tickets"))
        equal((planned["total"], planned["new"], planned["known"], planned["batches"]), (100, 100, 0, []))
        equal((planned["collectionCount"], planned["newCollections"]), (1, 1))
        equal([(row["tickets"], row["exists"]) for row in planned["collections"]], [(100, False)])
        equal(dry(api, batch("v", items), {"Idempotency-Key": "k"}).json, planned, "a key is not used up:")
        for body, status, code in ((batch("v", items + items[:1]), 422, "ticket.duplicate"),
                                   (json.dumps({"venueId": "v", "pipeline": "nobody", "tickets": items}), 422, "request.unknown_pipeline"),
                                   (batch("v", [dict(items[0], ticketData=7)]), 422, "field.type"),
                                   (batch("v", items)[:-1], 400, "json.syntax")):
            equal((dry(api, body).status, dry(api, body).code), (status, code), body[:60])
        for word in ("2", "yes"):
            equal((dry(api, batch("v", items), query=f"dry_run={word}").status,
                   dry(api, batch("v", items), query=f"dry_run={word}").code), (400, "query.dry_run"), word)
        equal(whole(mintd), before)

        real = api.call("POST", "/v1/batches?dry_run=0", batch("v", items), {"Idempotency-Key": "k"})
        equal(real.status, 200, real)
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM chunks WHERE kind = 0 AND origin = 0"), planned["transactions"], "as planned:")
        before = whole(mintd)
        more = dry(api, batch("v", items[50:] + tickets("new", 7)))
        equal((more.json["total"], more.json["new"], more.json["known"], more.json["batches"]), (57, 7, 50, [real.json["batchId"]]), more)
        equal((more.json["newCollections"], more.json["collections"][0]["exists"]), (0, True))
        nothing = dry(api, batch("v", items))
        equal((nothing.json["new"], nothing.json["transactions"], nothing.json["collections"]), (0, 0, []))
        other = dry(api, batch("v", [dict(item, userId="else") for item in items]))
        equal((other.status, other.code, other.json["conflicts"]), (409, "ticket.exists", 100))
        path = f"/v1/venues/v/tickets/{items[0]['id']}?dry_run=1"
        body = {name: value for name, value in items[0].items() if name != "id"}
        equal(api.call("PUT", path, json.dumps(body)).json["known"], 1)
        equal(whole(mintd), before)


@test
def a_dry_run_tells_and_changes_nothing(folder):
    a_dry_run(folder, False)


@test
def a_dry_run_of_a_stream_tells_and_changes_nothing(folder):
    a_dry_run(folder, True)


if __name__ == "__main__":
    sys.exit(main())
