#!/usr/bin/python3
"""Collections through HTTP on the real daemon: made before their first ticket, listed, shown, full."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Daemon, parallel, tickets  # noqa: E402
from tap import check, equal, main, matches, test  # noqa: E402


def make(api, **body):
    return api.call("POST", "/v1/collections", json.dumps(body).encode())


def count(mintd, table="collections"):
    with mintd.store() as store:
        return store.one(f"SELECT count(*) FROM {table}")


@test
def a_collection_is_made_once_and_minted_into(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        first = make(api, venueId="venue-1", name="Summer", maxSupply=50, spec={"royalty": 500, "text": "a \\ b \" c"})
        equal((first.status, first.headers["Location"]), (201, "/v1/collections/1"), first)
        body = first.json
        check(body.pop("network"), body)
        equal(body, {"collectionId": "1", "venueId": "venue-1", "name": "Summer", "pipeline": "tickets", "state": "new", "maxSupply": 50,
                     "accepted": 0, "spec": {"royalty": 500, "text": "a \\ b \" c"}, "links": {"self": "/v1/collections/1"}})
        for again in (make(api, venueId="venue-1", name="Summer"), make(api, venueId="venue-1", name="Summer", pipeline="tickets", maxSupply=50),
                      api.call("POST", "/v1/collections", b'{ "venueId": "venue-1",\n"name": "Summer", "spec" : {"royalty" : 500,\t"text": "a \\\\ b \\" c" } }')):
            equal((again.status, again.headers["Location"], again.json), (200, None, first.json), again)
        equal(api.get("/v1/collections/1").json, first.json)
        equal(api.mint("venue-1", tickets("t", 12), collection="Summer").status, 200)
        now = api.get("/v1/collections/1").json
        equal((now["state"], now["accepted"]), ("ready", 12))
        check(now["chainRef"], now)
        equal({row["collection"] for row in api.get("/v1/tickets?collection=Summer").json["tickets"]}, {"Summer"})
        equal(count(mintd), 1)
        events = [row["kind"] for row in api.get("/v1/events?kind=collection.*").json["events"]]
        equal(events, ["collection.added", "collection.created"])
        mintd.kill()
        mintd.start()
        equal(mintd.api().get("/v1/collections/1").json, now)


@test
def another_content_under_the_same_name_is_refused_and_changes_nothing(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        made = make(api, venueId="venue-1", name="Summer", maxSupply=50, spec={"royalty": 500}).json
        for body, pointer in (({"maxSupply": 51}, "/maxSupply"), ({"spec": {"royalty": 501}}, "/spec"), ({"spec": {}}, "/spec"),
                              ({"spec": {"royalty": 500, "x": 1}, "maxSupply": 50}, "/spec")):
            answer = make(api, venueId="venue-1", name="Summer", **body)
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"], answer.json["collectionId"]),
                  (409, "collection.exists", pointer, "1"))
        equal(api.get("/v1/collections/1").json, made)
        equal(make(api, venueId="venue-2", name="Summer", maxSupply=7).status, 201, "another venue, another collection")
        equal(api.mint("venue-1", tickets("t", 1), collection="Winter").status, 200)
        answer = make(api, venueId="venue-1", name="Winter", maxSupply=9)
        equal((answer.status, answer.code), (409, "collection.exists"), "made without a limit by its first batch")
        equal(make(api, venueId="venue-1", name="Winter").status, 200)


@test
def the_same_request_from_many_at_once_makes_one(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        answers = parallel(lambda _: make(mintd.api(), venueId="venue-1", name="Summer", maxSupply=5), range(16))
        equal(sorted(answer.status for answer in answers), [200] * 15 + [201])
        equal({answer.json["collectionId"] for answer in answers}, {"1"})


@test
def what_is_asked_wrongly_is_refused_by_its_name(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        good = {"venueId": "venue-1", "name": "Summer"}
        for body, status, code, pointer in (
                ({"name": "x"}, 422, "field.required", "/venueId"), ({"venueId": "v"}, 422, "field.required", "/name"),
                ({**good, "colour": 1}, 422, "field.unknown", "/colour"), ({**good, "name": ""}, 422, "field.empty", "/name"),
                ({**good, "name": "x" * 129}, 422, "field.too_long", "/name"), ({**good, "name": 5}, 422, "field.type", "/name"),
                ({**good, "name": "a\tb"}, 422, "field.characters", "/name"), ({**good, "venueId": "a\nb"}, 422, "field.characters", "/venueId"),
                ({**good, "maxSupply": 0}, 422, "field.range", "/maxSupply"), ({**good, "maxSupply": -1}, 422, "field.range", "/maxSupply"),
                ({**good, "maxSupply": 2**53}, 422, "field.range", "/maxSupply"), ({**good, "maxSupply": 1.5}, 422, "field.range", "/maxSupply"),
                ({**good, "maxSupply": "5"}, 422, "field.type", "/maxSupply"), ({**good, "spec": []}, 422, "field.type", "/spec"),
                ({**good, "spec": {"x": "y" * 16384}}, 422, "field.too_long", "/spec"),
                ({**good, "pipeline": "none"}, 422, "request.unknown_pipeline", "/pipeline")):
            answer = make(api, **body)
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (status, code, pointer), body)
        equal(api.call("POST", "/v1/collections", b"[]").code, "field.type")
        equal(api.call("POST", "/v1/collections", b'{"venueId":"v","venueId":"v","name":"n"}').code, "json.duplicate_key")
        for path in ("/v1/collections/1", "/v1/collections/0", "/v1/collections/x", "/v1/collections/99999999999999999999"):
            answer = api.get(path)
            equal((answer.status, answer.code), (404, "collection.unknown"), path)
        equal((count(mintd), count(mintd, "venues")), (0, 0))


@test
def collections_are_listed_and_filtered(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        for place in range(7):
            equal(make(api, venueId=f"venue-{place % 2}", name=f"C{place}", **({"maxSupply": 3} if place == 6 else {})).status, 201)
        api.mint("venue-1", tickets("t", 3), collection="C1")
        api.mint("venue-0", tickets("u", 3), collection="C6")

        def names(query=""):
            rows, cursor = [], ""
            while cursor is not None:
                answer = api.get(f"/v1/collections?limit=2{query}{cursor and '&cursor=' + cursor}")
                equal(answer.status, 200, answer)
                rows += [row["name"] for row in answer.json["collections"]]
                cursor = answer.json.get("next")
            return rows
        equal(names(), [f"C{place}" for place in range(7)])
        equal(names("&venue=venue-1"), ["C1", "C3", "C5"])
        equal(names("&state=ready"), ["C1"])
        equal(names("&state=full"), ["C6"])
        equal(names("&state=new,full"), ["C0", "C2", "C3", "C4", "C5", "C6"])
        equal(api.get("/v1/collections?state=open").code, "query.value")
        equal(api.get("/v1/collections?venue=none").code, "venue.unknown")
        sheet = api.get("/v1/collections", headers={"Accept": "text/csv"}).text.split("\r\n")
        equal(sheet[0], "collectionId,venueId,name,pipeline,network,state,chainRef,reason,maxSupply,accepted,spec")
        equal(len(sheet), 9)
        tag = api.get("/v1/collections/1").headers["ETag"]
        equal(api.get("/v1/collections/1", headers={"If-None-Match": tag}).status, 304)


@test
def a_full_collection_refuses_a_batch_precisely(folder):
    with Daemon(folder, Config("solana-like", intake={"memory": "20 KiB"})).start() as mintd:
        api = mintd.api()
        make(api, venueId="venue-1", name="Small", maxSupply=10)
        make(api, venueId="venue-1", name="venue-1", maxSupply=3)
        equal(api.mint("venue-1", tickets("a", 7), collection="Small").status, 200)
        for items, streamed in ((tickets("b", 4), False), (tickets("c", 40, pad=1000), True)):
            answer = api.mint("", [], body=json.dumps({"venueId": "venue-1", "collection": "Small", "tickets": items}).encode())
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (422, "collection.full", "/collection"), streamed, answer)
            matches(answer.json["detail"], f'"Small" takes 10 tickets and has 7: the {len(items)} of')
        answer = api.mint("venue-1", tickets("d", 4))
        equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (422, "collection.full", "/tickets"))
        body = json.dumps({"venueId": "venue-1", "collection": "Small", "tickets": tickets("b", 4)}).encode()
        dry = api.call("POST", "/v1/batches?dry_run=1", body)
        equal((dry.status, dry.code), (422, "collection.full"), dry)
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 7)
            equal([row[0] for row in store.rows("SELECT accepted FROM collections ORDER BY id")], [7, 0])
        equal(api.mint("venue-1", tickets("b", 3), collection="Small").status, 200, "the rest fits")
        equal(api.get("/v1/collections/1").json["state"], "full")
        equal(api.mint("venue-1", tickets("b", 3), collection="Small").status, 200, "those are known already")
        equal(api.mint("venue-1", tickets("e", 1), collection="Small").code, "collection.full")
        equal(mintd.stop(), 0)


if __name__ == "__main__":
    sys.exit(main())
