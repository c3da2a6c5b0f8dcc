#!/usr/bin/python3
"""Who may ask for what: addresses, proxies, rates, keys. Each refusal is looked at whole, and that nothing changed behind it."""
import csv
import datetime
import http.client
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
from conf import Config  # noqa: E402
from mintd import Answer, Api, Daemon, batch, tickets  # noqa: E402
from routes import SCOPES, routes  # noqa: E402
from tap import check, equal, main, matches, note, skip, test, until  # noqa: E402

HEALTH = ("/livez", "/readyz")


def ask(mintd, path, method="GET", source="127.0.0.1", to="127.0.0.1", key=None, headers=(), body=None):
    """One exchange from an address of one's own choice; headers are pairs, so that one can be there twice."""
    link = http.client.HTTPConnection(to, mintd.port, timeout=20, source_address=(source, 0))
    try:
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        link.putrequest(method, path)
        if key:
            link.putheader("x-admin-api-key", key)
        for name, value in headers:
            link.putheader(name, value)
        if body is not None:
            link.putheader("Content-Type", "application/json")
            link.putheader("Content-Length", str(len(body)))
        link.endheaders(body)
        answer = link.getresponse()
        streams = answer.headers["Content-Type"] == "text/event-stream"      # it has no end
        return Answer(answer.status, answer.headers, b"" if streams else answer.read())
    finally:
        link.close()


def problem(answer, status, code, *pattern):
    equal((answer.status, answer.code), (status, code), answer)
    equal(answer.headers["Content-Type"], "application/problem+json")
    check(answer.json["request_id"] == answer.headers["X-Request-Id"], answer)
    for part in pattern:
        matches(answer.json["detail"], part)
    return answer


def rows(mintd):
    """Everything of the store that a request could have changed."""
    with mintd.store() as store:
        return [store.one(f"SELECT count(*) FROM {table}") for table in ("requests", "items", "venues", "events", "api_keys")]


# ---- addresses

@test
def only_addresses_of_the_list_are_heard(folder):
    with Daemon(folder, Config("null", api={"allow": ["10.0.0.0/8", "192.168.0.0/16", "127.0.0.0/30"]})).start() as mintd:
        before = rows(mintd)
        for source in ("127.0.0.1", "127.0.0.3"):
            equal(ask(mintd, "/v1/batches", source=source, key=mintd.key).status, 200)
        for source in ("127.0.0.4", "127.1.0.1"):
            for method, path in (("GET", "/v1/batches"), ("GET", "/metrics"), ("GET", "/nothing"), ("PUT", "/v1/batches")):
                problem(ask(mintd, path, method, source, key=mintd.key), 403, "auth.address", source, "api.allow")
            problem(ask(mintd, "/admin/batch-mint", "POST", source, key=mintd.key, body=batch("v", tickets("t", 1))), 403, "auth.address")
            problem(ask(mintd, "/v1/batches", source=source), 403, "auth.address")           # nor is it said that a key is missing
            problem(ask(mintd, "/v1/batches", source=source, key=mintd.key, headers=[("X-Forwarded-For", "10.1.1.1")]),
                    403, "auth.address", source)
            for path in HEALTH:
                equal(ask(mintd, path, source=source).status, 200)
        equal(rows(mintd), before)
        equal(mintd.stop(), 0)


@test
def a_list_of_ipv6_networks_and_mapped_addresses(folder):
    if not socket.has_ipv6:
        skip("no IPv6 here")
    config = Config("null", api={"allow": ["::1"]}, listen={"address": "::"})
    with Daemon(folder, config).start() as mintd:
        equal(ask(mintd, "/v1/batches", source="::1", to="::1", key=mintd.key).status, 200)
        problem(ask(mintd, "/v1/batches", key=mintd.key), 403, "auth.address", r"address 127\.0\.0\.1 is")
        config.api["allow"] = ["127.0.0.0/8"]
        config.write(folder)
        mintd.signal(signal.SIGHUP)
        until(lambda: "reloaded" in mintd.log, 10, "the reload")
        equal(ask(mintd, "/v1/batches", key=mintd.key).status, 200)          # it arrives as ::ffff:127.0.0.1
        problem(ask(mintd, "/v1/batches", source="::1", to="::1", key=mintd.key), 403, "auth.address", "::1")
        equal(mintd.stop(), 0)


@test
def a_trusted_proxy_is_believed_and_nobody_else(folder):
    config = Config("null", api={"allow": ["192.168.0.0/16", "2001:db8::/32", "127.0.0.1"], "proxies": ["127.0.0.9", "127.0.0.10/31"]})
    with Daemon(folder, config).start() as mintd:
        def status(source, *values):
            answer = ask(mintd, "/v1/batches", source=source, key=mintd.key, headers=[("X-Forwarded-For", value) for value in values])
            if answer.status != 200:
                problem(answer, 403, "auth.address")
            return answer.status
        for values in (["192.168.1.1"], ["9.9.9.9, 192.168.1.1"], ["rubbish, 192.168.1.1"], ["192.168.1.1, 127.0.0.10, 127.0.0.11"],
                       ["9.9.9.9", "192.168.1.1"], ["9.9.9.9", "192.168.1.1", "127.0.0.10"], ["192.168.1.1:4711"],
                       ["2001:db8::7"], ["[2001:db8::7]:80"], ["::ffff:192.168.1.1"]):
            equal(status("127.0.0.9", *values), 200, values)
        for values in ([], ["9.9.9.9"], ["192.168.1.1, 9.9.9.9"], ["192.168.1.1", "9.9.9.9"], ["127.0.0.10"], ["2001:db9::1"]):
            equal(status("127.0.0.9", *values), 403, values)
        for values in ([""], ["rubbish"], ["192.168.1.1,"], ["192.168.1.1", ""], ["unknown, 127.0.0.10"], ["192.168.1.1 127.0.0.10"],
                       ["192.168.1.1%eth0"], ["for=192.168.1.1"], ["192.168.001.001"]):
            equal(status("127.0.0.9", *values), 403, values)
        problem(ask(mintd, "/v1/batches", source="127.0.0.9", key=mintd.key, headers=[("X-Forwarded-For", "x")]), 403, "auth.address",
                "127.0.0.9", "no address")
        equal(status("127.0.0.2", "192.168.1.1"), 403, "an address that is no proxy was believed")
        equal(status("127.0.0.1", "9.9.9.9"), 200, "what anybody claims was believed")
        matches(mintd.log, r"peer=127\.0\.0\.9 client=192\.168\.1\.1\b")
        equal(mintd.stop(), 0)


@test
def networks_from_the_environment(folder):
    with Daemon(folder, Config("null"), env={"MINTD_API_ALLOW": "127.0.0.3, 10.0.0.0/8"}).start() as mintd:
        equal(ask(mintd, "/v1/batches", source="127.0.0.3", key=mintd.key).status, 200)
        problem(ask(mintd, "/v1/batches", key=mintd.key), 403, "auth.address")
        equal(mintd.stop(), 0)


# ---- rates

@test
def ten_requests_in_sixty_seconds(folder):
    with Daemon(folder, Config("null", api={"rate_mint": "10/60s", "rate_read": "5/60000ms"})).start() as mintd:
        api = mintd.api()
        for place in range(10):
            answer = api.mint("venue-1", tickets(f"t{place}", 1))
            equal(answer.status, 200, answer)
            equal((answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]), ("10", str(9 - place)))
            check(0 < int(answer.headers["RateLimit-Reset"]) <= 6 * (place + 1), answer.headers)
        before = rows(mintd)
        for path, body in (("/admin/batch-mint", batch("venue-1", tickets("u", 1))), ("/v1/batches", batch("venue-1", tickets("u", 1))),
                           ("/v1/batches/1/cancel", None)):
            answer = problem(api.call("POST", path, body), 429, "server.rate", r"\b10 minting requests in 60 s \(api\.rate_mint\)")
            check(1 <= int(answer.headers["Retry-After"]) <= 6, answer.headers)
            equal(answer.headers["RateLimit-Remaining"], "0")
        equal(rows(mintd), before)
        for _ in range(5):                                 # another class, another bucket
            equal(api.get("/v1/batches").status, 200)
        for path in ("/v1/batches", "/metrics", "/nothing"):
            problem(api.get(path), 429, "server.rate", r"api\.rate_read")
        problem(ask(mintd, "/v1/batches", source="127.0.0.7", key=mintd.key), 429, "server.rate")     # the key counts, not where it is
        for path in HEALTH:
            for _ in range(20):
                answer = ask(mintd, path)
                equal((answer.status, answer.headers["RateLimit-Limit"]), (200, None))
        equal(mintd.stop(), 0)


@test
def a_bucket_fills_again_as_promised(folder):
    with Daemon(folder, Config("null", api={"rate_read": "2/2s"})).start() as mintd:
        api = mintd.api()
        equal([api.get("/v1/batches").status for _ in range(2)], [200, 200])
        answer = problem(api.get("/v1/batches"), 429, "server.rate")
        equal(answer.headers["Retry-After"], "1")
        time.sleep(1.02)
        equal([api.get("/v1/batches").status for _ in range(2)], [200, 429])
        equal(mintd.stop(), 0)


@test
def without_keys_each_address_has_its_own_bucket(folder):
    with Daemon(folder, Config("null", api={"auth": False, "rate_read": "3/1m", "proxies": ["127.0.0.9"]})).start() as mintd:
        for source in ("127.0.0.1", "127.0.0.2"):
            equal([ask(mintd, "/v1/batches", source=source).status for _ in range(4)], [200, 200, 200, 429])

        def behind(address):
            return ask(mintd, "/v1/batches", source="127.0.0.9", headers=[("X-Forwarded-For", address)]).status
        equal([behind("1.2.3.4") for _ in range(4)], [200, 200, 200, 429])
        equal(behind("1.2.3.5"), 200)
        equal([behind(f"2001:db8:0:1::{n}") for n in range(4)], [200, 200, 200, 429])         # one site
        equal(behind("2001:db8:0:2::1"), 200)
        equal(mintd.stop(), 0)


@test
def guessing_keys_is_throttled_for_each_address(folder):
    with Daemon(folder, Config("null", api={"rate_wrong": "5/1m"})).start() as mintd:
        for n in range(5):
            equal(ask(mintd, "/v1/batches", key=f"guess-{n}").status, 401)
        equal(ask(mintd, "/admin/batch-mint", "POST", source="127.0.0.2", key="guess", body=b"{}").body, b'{"error":"Unauthorized"}')
        for key in ("guess-6", mintd.key):                 # else the limit would tell the right one from the others
            answer = problem(ask(mintd, "/v1/batches", key=key), 429, "server.rate", r"5 keys that are not valid", r"api\.rate_wrong")
            check(1 <= int(answer.headers["Retry-After"]) <= 12, answer.headers)
        equal(ask(mintd, "/v1/batches", source="127.0.0.2", key=mintd.key).status, 200)
        equal(ask(mintd, "/v1/batches").status, 401)       # no key is no guess
        equal(mintd.stop(), 0)


@test
def new_rates_hold_after_a_reload(folder):
    config = Config("null", api={"rate_read": "2/1m"})
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        equal([api.get("/v1/batches").status for _ in range(3)], [200, 200, 429])
        config.api["rate_read"] = "none"
        config.write(folder)
        mintd.signal(signal.SIGHUP)
        until(lambda: "reloaded" in mintd.log, 10, "the reload")
        equal({api.get("/v1/batches").status for _ in range(100)}, {200})
        equal(api.get("/v1/batches").headers["RateLimit-Limit"], None)
        equal(mintd.stop(), 0)


@test
def what_ships_does_not_throttle_a_busy_client(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        with mintd.api() as api:
            equal({api.get("/v1/batches").status for _ in range(3000)}, {200})
        equal(mintd.stop(), 0)


# ---- keys

def post(mintd, path, body, key=None):
    return Api(mintd.port, key or mintd.key).call("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())


def new_key(mintd, name, scope, **more):
    answer = post(mintd, "/v1/keys", {"name": name, "scope": scope, **more})
    equal(answer.status, 201, answer)
    return answer.json["key"]


def soon(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)).isoformat(timespec="milliseconds")


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


if __name__ == "__main__":
    sys.exit(main())
