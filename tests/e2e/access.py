#!/usr/bin/python3
"""Who may ask for what: addresses, proxies, rates. Each refusal is looked at whole, and that nothing changed behind it."""
import http.client
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Answer, Daemon, batch, tickets  # noqa: E402
from tap import check, equal, main, matches, skip, test, until  # noqa: E402

HEALTH = ("/livez", "/readyz")


def ask(mintd, path, method="GET", source="127.0.0.1", to="127.0.0.1", key=None, headers=(), body=None):
    """One exchange from an address of one's own choice; headers are pairs, so that one can be there twice."""
    link = http.client.HTTPConnection(to, mintd.port, timeout=20, source_address=(source, 0))
    try:
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
        return Answer(answer.status, answer.headers, answer.read())
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
        return [store.one(f"SELECT count(*) FROM {table}") for table in ("requests", "items", "venues", "events")]


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


if __name__ == "__main__":
    sys.exit(main())
