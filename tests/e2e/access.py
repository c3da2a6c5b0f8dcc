#!/usr/bin/python3
"""Who may ask for what: keys, their scopes, a key of one venue. Each refusal is looked at whole, and that nothing changed behind it."""
import csv
import gzip
import json
import os
import re
import secrets
import signal
import socket
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from asking import ask, new_key, post, problem, rows, soon  # noqa: E402
from conf import Config  # noqa: E402
from mintd import Api, Daemon, batch, tickets  # noqa: E402
from routes import SCOPES, routes  # noqa: E402
from tap import check, equal, main, matches, note, test, until  # noqa: E402


# ---- keys

@test
def the_life_of_a_key(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        api = mintd.api()
        equal(api.get("/v1/keys").json, {"keys": []})
        answer = post(mintd, "/v1/keys", {"name": "shop.1", "scope": "mint", "cidr": ["127.0.0.0/8", "fd00::/8"],
                                          "expiresAt": "2100-01-01T00:00:00+01:00", "venue": "venue-1"})
        equal((answer.status, answer.headers["Location"], answer.headers["Cache-Control"]), (201, "/v1/keys/shop.1", "no-store"))
        made = answer.json
        text = made.pop("key")
        check(re.fullmatch(r"mk_[A-Za-z0-9_-]{43}", text), text)
        equal(set(made), {"name", "scope", "venue", "cidr", "createdAt", "expiresAt"})
        equal((made["name"], made["scope"], made["venue"], made["cidr"], made["expiresAt"]),
              ("shop.1", "mint", "venue-1", ["127.0.0.0/8", "fd00::/8"], "2099-12-31T23:00:00.000Z"))
        reader = new_key(mintd, "reader", "read")
        equal(api.get("/v1/keys").json["keys"], [made, {**api.get("/v1/keys").json["keys"][1], "name": "reader", "scope": "read"}])
        check("lastUsedAt" not in api.get("/v1/keys").text)
        for headers in ([("x-admin-api-key", reader)], [("Authorization", f"Bearer {reader}")], [("authorization", f"bearer  {reader}")]):
            equal(ask(mintd, "/v1/batches", headers=headers).status, 200, headers)
        used = until(lambda: api.get("/v1/keys").json["keys"][1].get("lastUsedAt"), 5, "lastUsedAt")
        with mintd.store() as store:
            written = store.one("SELECT used_at FROM api_keys WHERE name = 'reader'")
        for _ in range(5):
            equal(api.get("/v1/batches", key=reader).status, 200)
        time.sleep(0.2)
        equal(api.get("/v1/keys").json["keys"][1]["lastUsedAt"], used, "used_at is written at each use")
        answer = api.call("DELETE", "/v1/keys/reader")
        equal((answer.status, answer.json["name"], answer.json["scope"]), (200, "reader", "read"))
        revoked = answer.json["revokedAt"]
        problem(api.get("/v1/batches", key=reader), 401, "auth.key", "revoked")
        equal(api.call("DELETE", "/v1/keys/reader").json["revokedAt"], revoked)
        equal(api.get("/v1/keys").json["keys"][1]["revokedAt"], revoked)
        problem(api.call("DELETE", "/v1/keys/nobody"), 404, "key.unknown")
        problem(post(mintd, "/v1/keys", {"name": "reader", "scope": "read"}), 409, "key.exists")
        with mintd.store() as store:
            equal(written, store.one("SELECT used_at FROM api_keys WHERE name = 'reader'"))
            events = [(row["kind"], json.loads(row["body"])) for row in store.rows("SELECT kind, body FROM events WHERE kind LIKE 'key.%' ORDER BY seq")]
        equal([(kind, body["name"], body["by"]) for kind, body in events],
              [("key.created", "shop.1", "(admin key)"), ("key.created", "reader", "(admin key)"), ("key.revoked", "reader", "(admin key)")])
        matches(mintd.log, r"path=/v1/batches status=200 [^\n]*key=reader")
        equal(mintd.stop(), 0)
        for path, _, files in os.walk(folder):             # neither text is anywhere
            for name in files:
                with open(os.path.join(path, name), "rb") as file:
                    content = file.read()
                for secret in (text, reader):
                    check(secret.encode() not in content, "the key's text is in", name)
        equal(os.stat(os.path.join(mintd.state_dir, "key.secret")).st_mode & 0o777, 0o600)


@test
def a_list_of_keys_has_pages(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        names = [f"key-{n:02}" for n in range(23)]
        for name in names:
            new_key(mintd, name, "read", **({"venue": f"venue-{name}"} if name.endswith("3") else {}))
        found, where = [], "/v1/keys?limit=5"
        while where:
            answer = mintd.api().get(where)
            equal(answer.status, 200, answer)
            check(len(answer.json["keys"]) <= 5)
            found += answer.json["keys"]
            where = f"/v1/keys?limit=5&cursor={answer.json['next']}" if "next" in answer.json else None
        equal([key["name"] for key in found], names)
        equal([key["venue"] for key in found if "venue" in key], ["venue-key-03", "venue-key-13"])
        lines = mintd.api().get("/v1/keys", headers={"Accept": "application/x-ndjson"}).text.splitlines()
        equal([json.loads(line) for line in lines], found)
        table = list(csv.DictReader(mintd.api().get("/v1/keys", headers={"Accept": "text/csv"}).text.splitlines()))
        equal([(row["name"], row["scope"], row["venue"]) for row in table], [(key["name"], "read", key.get("venue", "")) for key in found])
        problem(mintd.api().get("/v1/keys?limit=0"), 400, "query.limit")
        problem(mintd.api().get("/v1/keys?cursor=zz"), 400, "query.cursor")
        problem(mintd.api().get("/v1/keys?scope=read"), 400, "query.unknown")
        equal(mintd.stop(), 0)


@test
def what_no_key_is_made_of(folder):
    good = {"name": "k", "scope": "read"}
    cases = (
        ({"scope": "read"}, "field.required", "/name"), ({"name": "k"}, "field.required", "/scope"),
        ({**good, "name": ""}, "field.empty", "/name"), ({**good, "name": "n" * 65}, "field.too_long", "/name"),
        ({**good, "name": "a b"}, "field.characters", "/name"), ({**good, "name": "a/b"}, "field.characters", "/name"),
        ({**good, "name": "\u00e4"}, "field.characters", "/name"), ({**good, "name": 7}, "field.type", "/name"),
        ({**good, "scope": "root"}, "field.value", "/scope"), ({**good, "scope": "READ"}, "field.value", "/scope"),
        ({**good, "scope": ["read"]}, "field.type", "/scope"), ({**good, "venue": ""}, "field.empty", "/venue"),
        ({**good, "venue": "v" * 129}, "field.too_long", "/venue"), ({**good, "venue": None}, "field.type", "/venue"),
        ({**good, "cidr": "10.0.0.0/8"}, "field.type", "/cidr"), ({**good, "cidr": ["10.0.0.0/8", "x"]}, "field.value", "/cidr/1"),
        ({**good, "cidr": ["10.0.0.1/8"]}, "field.value", "/cidr/0"), ({**good, "cidr": ["10.0.0.0/8, ::1"]}, "field.value", "/cidr/0"),
        ({**good, "cidr": [""]}, "field.value", "/cidr/0"), ({**good, "cidr": ["1" * 2000]}, "field.value", "/cidr/0"),
        ({**good, "cidr": ["::1"] * 17}, "field.too_long", "/cidr"), ({**good, "expiresAt": "2001-01-01T00:00:00Z"}, "field.range", "/expiresAt"),
        ({**good, "expiresAt": "tomorrow"}, "field.time", "/expiresAt"), ({**good, "expiresAt": 4102444800}, "field.type", "/expiresAt"),
        ({**good, "expires": "2100-01-01T00:00:00Z"}, "field.unknown", "/expires"), ({**good, "key": "mk_mine"}, "field.unknown", "/key"),
    )
    with Daemon(folder, Config("null")).start() as mintd:
        before = rows(mintd)
        for body, code, pointer in cases:
            answer = problem(post(mintd, "/v1/keys", body), 422, code)
            equal(answer.json["errors"][0]["pointer"], pointer, body)
        problem(post(mintd, "/v1/keys", b"[]"), 422, "field.type")
        problem(post(mintd, "/v1/keys", b'{"name":"k","name":"l","scope":"read"}'), 400, "json.duplicate_key")
        problem(post(mintd, "/v1/keys", b'{"name":"k"'), 400, "json.syntax")
        equal(rows(mintd), before)
        equal(mintd.api().get("/v1/keys").json, {"keys": []})
        for name, cidr in (("n" * 64, ["::1"] * 16), ("A.b_c-9", [])):
            new_key(mintd, name, "read", cidr=cidr)
        equal(mintd.stop(), 0)


def use(mintd, route, key, **more):
    """The route with a key and next to nothing else: only what stands before it is looked at."""
    body = b"{}" if route.method in ("POST", "PUT") else None
    return ask(mintd, route.at("x1"), route.method, key=key, body=body, **more)


@test
def every_route_wants_a_key_of_its_scope(folder):
    with Daemon(folder, Config("null", api={"rate_wrong": "none"})).start() as mintd:
        keys = {scope: new_key(mintd, scope.lower(), scope.lower()) for scope in SCOPES[1:]}
        strangers = {"none": None, "empty": " ", "unknown": "mk_" + secrets.token_urlsafe(32), "no key at all": "x" * 64, "long": "y" * 4000,
                     "cut": keys["ADMIN"][:-1], "longer": keys["ADMIN"] + "A", "in capitals": keys["ADMIN"].upper()}
        before, refused, let = rows(mintd), 0, 0
        for route in routes():
            if route.scope == "OPEN":
                check(route.path in ("/livez", "/readyz", "/healthz"), "open and no health:", route)
                check(use(mintd, route, None).status in (200, 503), route)
                check(use(mintd, route, "mk_wrong").status in (200, 503), route)
                continue
            for what, key in strangers.items():
                answer = use(mintd, route, key)
                equal(answer.status, 401, route, what, answer)
                equal(answer.headers["WWW-Authenticate"], "Bearer")
                if route.path.startswith(("/admin", "/api/v1")):
                    equal((answer.body, answer.headers["Content-Type"]), (b'{"error":"Unauthorized"}', "application/json"))
                else:
                    problem(answer, 401, "auth.key")
                refused += 1
            for scope in SCOPES[1:SCOPES.index(route.scope)]:
                problem(use(mintd, route, keys[scope]), 403, "auth.scope", f"scope {route.scope.lower()}", f"only {scope.lower()}")
                refused += 1
        equal(rows(mintd), before)
        for route in routes():
            for scope in SCOPES[max(1, SCOPES.index(route.scope)):]:
                answer = use(mintd, route, keys[scope])
                check(answer.status not in (401, 403, 405) and not answer.code.startswith("auth."), route, scope, answer)
                let += 1
        for path in ("/", "/nothing", "/admin", "/admin/nothing", "/api/v1/nothing", "/v1", "/v1/keys/a/b", "/livez/x", "/LIVEZ", "/%6civez", "/livez%2f"):
            equal(ask(mintd, path).status, 401, "it is told without a key what there is:", path)
            equal(ask(mintd, path, key=keys["READ"]).status, 404, path)
        note(f"{len(routes())} routes, {refused} refusals, {let} let through")
        equal(mintd.stop(), 0)


@test
def two_keys_at_once_are_none(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        key = new_key(mintd, "reader", "read")
        for headers in ([("x-admin-api-key", key), ("Authorization", f"Bearer {mintd.key}")], [("x-admin-api-key", key)] * 2,
                        [("Authorization", f"Bearer {key}")] * 2, [("x-admin-api-key", ""), ("Authorization", f"Bearer {key}")]):
            for path in ("/v1/batches", "/admin/mints/t"):
                problem(ask(mintd, path, headers=headers), 400, "auth.two_keys")
        for value in ("Basic dXNlcjpwYXNz", "Bearer", "Bearer ", key, f"Token {key}"):
            problem(ask(mintd, "/v1/batches", headers=[("Authorization", value)]), 401, "auth.key")
        equal(mintd.stop(), 0)


@test
def a_key_expires(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        key = new_key(mintd, "short", "read", expiresAt=soon(seconds=1))
        equal(mintd.api().get("/v1/batches", key=key).status, 200)
        time.sleep(1.05)
        problem(mintd.api().get("/v1/batches", key=key), 401, "auth.key", "expired")
        equal(ask(mintd, "/admin/mints/t", key=key).body, b'{"error":"Unauthorized"}')
        equal(mintd.stop(), 0)


@test
def a_key_of_one_network(folder):
    with Daemon(folder, Config("null", api={"proxies": ["127.0.0.9"]})).start() as mintd:
        key = new_key(mintd, "office", "read", cidr=["127.0.0.2/31", "192.168.0.0/16"])
        for source in ("127.0.0.2", "127.0.0.3"):
            equal(ask(mintd, "/v1/batches", source=source, key=key).status, 200)
        for source in ("127.0.0.1", "127.0.0.4"):
            problem(ask(mintd, "/v1/batches", source=source, key=key), 403, "auth.address", source)
        for client, status in (("192.168.3.4", 200), ("192.169.3.4", 403)):
            equal(ask(mintd, "/v1/batches", source="127.0.0.9", key=key, headers=[("X-Forwarded-For", client)]).status, status)
        equal(mintd.stop(), 0)


@test
def each_key_has_its_own_buckets(folder):
    with Daemon(folder, Config("null", api={"rate_read": "3/1m"})).start() as mintd:
        keys = [new_key(mintd, f"reader-{n}", "read") for n in range(3)]
        for key in keys:
            equal([ask(mintd, "/v1/batches", key=key).status for _ in range(4)], [200, 200, 200, 429])
        equal(ask(mintd, "/v1/batches", key=mintd.key).status, 200)
        equal(mintd.stop(), 0)


@test
def keys_outlive_the_process(folder):
    config = Config("null")
    with Daemon(folder, config).start() as mintd:
        kept, revoked = new_key(mintd, "kept", "mint"), new_key(mintd, "revoked", "admin")
        equal(mintd.api().call("DELETE", "/v1/keys/revoked").status, 200)
        late = new_key(mintd, "late", "read")
        mintd.kill()                                       # what was answered is durable
        mintd.start()
        equal(mintd.api().get("/v1/batches", key=kept).status, 200)
        equal(mintd.api().get("/v1/batches", key=late).status, 200)
        problem(mintd.api().get("/v1/batches", key=revoked), 401, "auth.key")
        equal(mintd.stop(), 0)
        os.remove(os.path.join(mintd.state_dir, "key.secret"))             # the keys are worth nothing without it
        mintd.start()
        problem(mintd.api().get("/v1/batches", key=kept), 401, "auth.key")
        equal(len(mintd.api().get("/v1/keys").json["keys"]), 3)
        equal(mintd.stop(), 0)


@test
def a_stream_ends_with_its_key(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        keys = {"revoked": new_key(mintd, "revoked", "read"), "kept": new_key(mintd, "kept", "read"),
                "expires": new_key(mintd, "expires", "read", expiresAt=soon(seconds=2))}
        links = {name: listen(mintd, key) for name, key in keys.items()}
        for link in links.values():
            check(b"200 OK" in lines_until(link, b"\r\n\r\n", 10)[0])
        equal(mintd.api().call("DELETE", "/v1/keys/revoked").status, 200)
        equal(lines_until(links["revoked"], b"\0", 5)[1], True, "it goes on listening with a revoked key")
        equal(lines_until(links["expires"], b"\0", 14)[1], True, "it goes on listening with a key that expired")
        equal(lines_until(links["kept"], b"\0", 0.5)[1], False, "a valid key's stream was cut")
        for link in links.values():
            link.close()
        equal(mintd.stop(), 0)


@test
def a_secret_of_ones_own(folder):
    with Daemon(folder, Config("null", api={"key_secret": "env:KEYS_SECRET"}), env={"KEYS_SECRET": "s" * 32}).start() as mintd:
        key = new_key(mintd, "reader", "read")
        equal(mintd.stop(), 0)
        check(not os.path.exists(os.path.join(mintd.state_dir, "key.secret")))
        mintd.start()
        equal(mintd.api().get("/v1/batches", key=key).status, 200)
        mintd.config.api["key_secret"] = "env:OTHER"
        mintd.config.write(folder)
        mintd.signal(signal.SIGHUP)
        until(lambda: "reload refused" in mintd.log, 10, "the refusal")
        equal(mintd.stop(), 0)
        mintd.start(env={"OTHER": "t" * 32})
        problem(mintd.api().get("/v1/batches", key=key), 401, "auth.key")
        equal(mintd.stop(), 0)
        check("s" * 32 not in mintd.log, "the secret is in the log")


@test
def the_key_of_the_configuration_is_no_row(folder):
    secret = "configured-" + "k" * 30
    with Daemon(folder, Config("null"), env={"ADMIN_API_KEY": secret}).start() as mintd:
        api = Api(mintd.port, secret)
        equal(api.call("POST", "/v1/keys", b'{"name":"a","scope":"admin"}').status, 201)
        equal([key["name"] for key in api.get("/v1/keys").json["keys"]], ["a"])
        equal(ask(mintd, "/v1/keys", headers=[("Authorization", f"Bearer {secret}")]).status, 200)
        check(secret not in mintd.log)
        equal(mintd.stop(), 0)


@test
def what_another_instance_revokes_ends_here_too(folder):
    first = Config("null", api={"key_secret": "env:SECRET"})
    second = Config("null", api={"key_secret": "env:SECRET"}, top={"name": "second"})
    env = {"SECRET": "shared-" + "x" * 32}
    with Daemon(os.path.join(folder, "1"), first, env=env).start() as one:
        second.store["path"] = first.database(one.folder)
        with Daemon(os.path.join(folder, "2"), second, env=env).start() as two:
            key = new_key(one, "shared", "read")
            until(lambda: two.api().get("/v1/batches", key=key).status == 200, 12, "the other instance knows the new key", every=0.3)
            equal(one.api().call("DELETE", "/v1/keys/shared").status, 200)
            until(lambda: two.api().get("/v1/batches", key=key).status == 401, 12, "the other instance knows that it is revoked", every=0.3)
            problem(two.api().get("/v1/batches", key=key), 401, "auth.key")
            equal(two.stop(), 0)
        equal(one.stop(), 0)


@test
def keys_that_cannot_be_read_are_refused_and_the_admin_key_is_not(folder):
    with Daemon(folder, Config("null", api={"rate_wrong": "20/1m"})).start() as mintd:
        key = new_key(mintd, "reader", "read")
        column = sqlite3.connect(mintd.config.database(folder), timeout=10)
        column.execute("ALTER TABLE api_keys RENAME COLUMN cidr TO network")
        column.commit()
        until(lambda: "the stored keys cannot be read" in mintd.log, 15, "the failure is said")
        equal(mintd.api().get("/v1/batches", key=key).status, 200)         # what was read counts for a while
        answer = until(lambda: (lambda a: a if a.status != 200 else None)(mintd.api().get("/v1/batches", key=key)), 35, "the end of that", every=0.5)
        problem(answer, 503, "auth.unavailable", "admin key")
        check(int(answer.headers["Retry-After"]) > 0)
        equal(mintd.api().get("/v1/batches").status, 200)
        equal(mintd.api().mint("venue-1", tickets("t", 1)).status, 200)
        problem(mintd.api().get("/v1/batches", key="no-stored-key"), 401, "auth.key")
        problem(mintd.api().get("/v1/keys"), 503, "store.unavailable")
        for _ in range(20):
            mintd.api().get("/v1/batches", key=key)
        problem(mintd.api().get("/v1/batches", key=key), 429, "server.rate", r"api\.rate_wrong")     # no time to guess the admin key
        column.execute("ALTER TABLE api_keys RENAME COLUMN network TO cidr")
        column.commit()
        column.close()
        until(lambda: ask(mintd, "/v1/batches", source="127.0.0.2", key=key).status == 200, 15, "the keys are back")
        matches(mintd.log, "the stored keys can be read again")
        equal(len([line for line in mintd.log.splitlines() if "the stored keys cannot" in line]), 1)
        mintd.stop()


@test
def a_secret_that_others_may_read_stops_the_start(folder):
    config = Config("null")
    with Daemon(folder, config).start() as mintd:
        equal(mintd.stop(), 0)
        path = os.path.join(mintd.state_dir, "key.secret")
        for mode, content, why in ((0o640, None, "mode"), (0o600, b"short\n", "32 to 63"), (0o600, b"", "32 to 63"), (0o600, b"x" * 40 + b"\n" + b"y" * 10, "32 to 63")):
            if content is not None:
                with open(path, "wb") as file:
                    file.write(content)
            os.chmod(path, mode)
            before = len(mintd.log)
            mintd.launch()
            equal(mintd.wait(20), 1, why)
            said = mintd.log[before:]
            matches(said, "key\\.secret: .*" + why)
            equal(len([line for line in said.splitlines() if "key.secret" in line]), 1)


# ---- venues

OWN, FOREIGN = "venue-own", "venue-foreign"
MARKS = ("foreign",)                                     # in everything that belongs to the other venue


class World:
    """Two venues with a batch each, the ids of what they have, and keys that are bound to the one or to none."""

    def __init__(self, mintd):
        self.mintd, self.batch = mintd, {}
        for venue in (OWN, FOREIGN):
            short = venue.split("-")[1]
            items = [dict(item, eventId=f"event-{short}") for item in tickets(f"t-{short}", 3)]
            answer = mintd.api().call("POST", "/v1/batches", batch(venue, items), {"Prefer": "wait=20"})
            equal(answer.status, 200, answer)
            self.batch[venue] = answer.json["batchId"]
        self.bound = {scope: new_key(mintd, f"bound-{scope}", scope, venue=OWN) for scope in ("read", "mint", "admin")}

    def ticket(self, venue):
        return f"t-{venue.split('-')[1]}-000001"

    def ask(self, route, *values, query="", key=None, **more):
        return ask(self.mintd, route.at(*values) + query, route.method, key=key or self.bound["admin"], **more)


def refused(answer):
    problem(answer, 403, "auth.venue", OWN)


def allowed(answer):
    check(answer.status < 400, answer)
    return answer


def by_batch(world, route):
    refused(world.ask(route, world.batch[FOREIGN]))
    allowed(world.ask(route, world.batch[OWN]))


def by_body(world, route):
    refused(world.ask(route, body=batch(FOREIGN, tickets("t-foreign-new", 1))))
    late = b'{"tickets": %s, "venueId": "%s"}' % (json.dumps(tickets("t-foreign-new", 1)).encode(), FOREIGN.encode())
    refused(world.ask(route, body=late))                   # the venue comes behind the tickets
    refused(world.ask(route, body=batch(OWN.upper(), tickets("t-foreign-new", 1))))
    for venue, query in ((FOREIGN, ""), (FOREIGN, "&dry_run=1"), ("venue-nobody", "")):
        item = tickets("t-foreign-new", 1)[0]
        row = f"id,eventName\r\n{item['id']},Concert\r\n".encode()
        for kind, body in (("application/json", json.dumps([item]).encode()), ("application/x-ndjson", json.dumps(item).encode() + b"\n"),
                           ("text/csv", row)):
            refused(world.ask(route, query=f"?venue={venue}{query}", body=body, kind=kind))
            refused(world.ask(route, query=f"?venue={venue}{query}", body=gzip.compress(body), kind=kind, headers=[("Content-Encoding", "gzip")]))
    refused(world.ask(route, query="?dry_run=1", body=batch(FOREIGN, tickets("t-foreign-new", 1))))
    refused(world.ask(route, body=batch(FOREIGN, tickets("t-foreign", 3))))        # what is there already is not shown either
    for first, second in ((OWN, FOREIGN), (FOREIGN, OWN)):                          # two venues at once are no way round
        check(world.ask(route, query=f"?venue={first}", body=batch(second, tickets("t-foreign-new", 1))).status in (400, 403, 422))
    allowed(world.ask(route, body=batch(OWN, tickets(f"t-own-{route.name}", 1))))
    line = json.dumps(tickets(f"t-own-line-{route.name}", 1)[0]).encode() + b"\n"
    allowed(world.ask(route, query=f"?venue={OWN}", body=line, kind="application/x-ndjson"))


def by_ticket(world, route):
    equal(world.ask(route, world.ticket(FOREIGN)).status, 404)
    equal(world.ask(route, world.ticket(FOREIGN), key=world.mintd.key).status, 200)
    equal(world.ask(route, world.ticket(OWN)).status, 200)


def own_only(world, route, queries=("",)):
    """Nothing of the other venue in any form, and what is missing is there without the binding."""
    forms = ("application/json", "application/x-ndjson", "text/csv") if "ROUTE_LIST" in route.flags else ("application/json",)
    for form in forms:
        headers = [("Accept", form)]
        for query in queries:
            answer = allowed(world.ask(route, query=query, headers=headers))
            check(OWN in answer.text, route, "shows nothing of its own:", answer)
            check(not any(mark in answer.text for mark in MARKS), route, form, "shows the other venue:", answer)
        unbound = world.ask(route, key=world.mintd.key, headers=headers)
        check(FOREIGN in unbound.text, route, "would show it to nobody, so this test tells nothing:", unbound)


def as_list(world, route):
    refused(world.ask(route, query=f"?venue={FOREIGN}"))
    refused(world.ask(route, query="?venue=venue-nobody"))
    own_only(world, route, ("", f"?venue={OWN}"))


def lines_until(link, wanted, seconds):
    """Of a stream: what came until `wanted` was in it, or the time or the stream was over; and whether that was its end."""
    text, end = b"", time.monotonic() + seconds
    while wanted not in text and time.monotonic() < end:
        link.settimeout(max(0.05, end - time.monotonic()))
        try:
            part = link.recv(65536)
        except TimeoutError:
            break
        if not part:
            return text, True
        text += part
    return text, False


def listen(mintd, key, path="/v1/events"):
    link = socket.create_connection(("127.0.0.1", mintd.port), timeout=20)
    link.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nx-admin-api-key: {key}\r\n\r\n".encode())
    return link


def events(world, route):
    as_list(world, route)
    key = world.bound["read"]
    with listen(world.mintd, key) as own, listen(world.mintd, world.mintd.key) as every:
        for link in (own, every):
            check(b"200 OK" in lines_until(link, b"\r\n\r\n", 10)[0])
        for venue in (FOREIGN, OWN):
            name = f"t-{venue.split('-')[1]}-heard"
            equal(world.mintd.api().mint(venue, tickets(name, 1)).status, 200)
        seen = lines_until(own, b"request.finished", 10)[0]
        check(OWN.encode() in seen and FOREIGN.encode() not in seen, seen)
        check(FOREIGN.encode() in lines_until(every, FOREIGN.encode(), 10)[0])


def figures(world, route):
    own_only(world, route)
    with world.mintd.store() as store:
        items = store.one("SELECT count(*) FROM items i JOIN venues v ON v.id = i.venue WHERE v.name = ?", OWN)
    equal(world.ask(route).json["totalMints"], items)
    equal({mint["venueId"] for mint in world.ask(route).json["recentMints"]}, {OWN})


def estimates(world, route):
    refused(world.ask(route, query=f"?count=3&venue={FOREIGN}"))
    equal(allowed(world.ask(route, query="?count=3")).json, allowed(world.ask(route, query=f"?count=3&venue={OWN}")).json)


def by_member(world, route):
    refused(world.ask(route, body={"venueId": FOREIGN}))
    refused(world.ask(route, body={"venueId": "venue-nobody"}))
    allowed(world.ask(route, body={"venueId": OWN}))


def by_sag(world, route):
    def sag(name, **more):
        return {"sagName": name, "sagProperties": {"mintShare": 1}, **more}

    refused(world.ask(route, body=sag("x", venueId=FOREIGN)))
    refused(world.ask(route, body=sag("x", venueId="venue-nobody")))
    for more in ({}, {"venueId": OWN}):
        equal(allowed(world.ask(route, body=sag(f"own {len(more)}", **more))).json["data"]["sag"][0]["venueId"], OWN)


def by_collection(world, route):
    every = ask(world.mintd, "/v1/collections", key=world.mintd.key).json["collections"]
    for row in every:
        answer = world.ask(route, row["collectionId"])
        (allowed if row["venueId"] == OWN else refused)(answer)
    equal({row["venueId"] for row in every}, {OWN, FOREIGN})


def new_collection(world, route):
    refused(world.ask(route, body={"venueId": FOREIGN, "name": "x"}))
    allowed(world.ask(route, body={"venueId": OWN, "name": "x"}))


def reports(world, route):
    for venue in (OWN, FOREIGN):
        allowed(ask(world.mintd, "/v1/reconciliations", "POST", key=world.mintd.key, body={"venueId": venue}))
    until(lambda: all(ask(world.mintd, f"/v1/reconciliations?venue={venue}", key=world.mintd.key).json["reconciliations"]
                      for venue in (OWN, FOREIGN)), 10, "a report of each venue")
    as_list(world, route)


def no_data(world, route):
    equal(world.ask(route).body, world.ask(route, key=world.mintd.key).body)


# How each route that keeps to the venue of the key by itself is asked for another one.
RECIPES = {
    "openapi": no_data, "batch_mint": by_body, "batch_create": by_body, "batches": as_list, "batch": by_batch, "batch_tickets": by_batch,
    "batch_events": by_batch, "events": events, "collections": as_list, "collection": by_collection, "collection_create": new_collection,
    "batch_cancel": by_batch, "batch_retry": by_batch, "mints": as_list, "tickets": as_list, "mint": by_ticket, "ticket_any": by_ticket,
    "reconciliation": by_member, "reconciliations": reports, "dashboard": figures, "venues": own_only,
    "batch_estimate": estimates, "estimate": estimates, "sag": by_sag, "cache_remove": by_ticket, "cache_forget": by_ticket,
}


@test
def a_key_of_one_venue_reaches_no_other_on_any_route(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        world = World(mintd)
        kinds = {"closed": 0, "path": 0, "recipe": 0}
        for route in routes():
            if route.scope == "OPEN":
                continue
            if not route.flags & {"ROUTE_VENUE", "ROUTE_PLACE"}:
                body = b"{}" if route.method in ("POST", "PUT") else None
                refused(world.ask(route, "x1", body=body))
                kinds["closed"] += 1
            elif "ROUTE_PLACE" in route.flags:
                body = b"{}" if route.method in ("POST", "PUT") else None
                for venue in (FOREIGN, "venue-nobody", OWN.upper(), OWN + "x", OWN.replace("-", "%2D") + "%20"):
                    refused(world.ask(route, venue, world.ticket(FOREIGN), body=body))
                for venue in (OWN, OWN.replace("-", "%2D")):
                    answer = world.ask(route, venue, world.ticket(OWN), body=body)
                    check(answer.status not in (401, 403), route, answer)
                kinds["path"] += 1
            else:
                check(route.name in RECIPES, route, "has ROUTE_VENUE: say in RECIPES how it is asked for another venue")
                RECIPES[route.name](world, route)
                kinds["recipe"] += 1
            if route.scope == "ADMIN":                     # the scope is looked at first
                problem(world.ask(route, "x1", key=world.bound["mint"], body=b"{}" if route.method in ("POST", "PUT") else None), 403, "auth.scope")
        note(*(f"{count} {kind}" for kind, count in kinds.items()))
        with mintd.store() as store:
            foreign = store.rows("SELECT i.ticket FROM items i JOIN venues v ON v.id = i.venue WHERE v.name = ?", FOREIGN)
            equal({row["ticket"] for row in foreign}, {*(f"t-foreign-{n:06}" for n in range(3)), "t-foreign-heard-000000"})
            equal(store.one("SELECT count(*) FROM requests q JOIN venues v ON v.id = q.venue WHERE v.name = ? AND q.cancel_at IS NOT NULL", FOREIGN), 0)
            equal(store.one("SELECT count(*) FROM api_keys"), 3)
        equal(mintd.stop(), 0)


@test
def a_key_may_be_older_than_the_first_batch_of_its_venue(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        key = new_key(mintd, "shop", "mint", venue="new venue/\u00e4")
        equal(mintd.api().get("/v1/batches", key=key).json, {"batches": []})
        problem(post(mintd, "/v1/batches", batch("venue-2", tickets("t", 1)).decode().encode(), key), 403, "auth.venue", "new venue/\u00e4")
        equal(post(mintd, "/v1/batches", batch("new venue/\u00e4", tickets("t", 1)), key).status, 200)
        equal(len(mintd.api().get("/v1/batches", key=key).json["batches"]), 1)
        equal(mintd.api().get("/v1/venues/new%20venue%2F%C3%A4/tickets/t-000000", key=key).status, 200)
        equal(mintd.stop(), 0)


if __name__ == "__main__":
    sys.exit(main())
