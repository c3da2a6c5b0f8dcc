#!/usr/bin/python3
"""Where a request comes from: allowed addresses, proxies, rates, the Unix socket. Each refusal is looked at whole, and that nothing
changed behind it."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from asking import ask, problem, rows  # noqa: E402
from conf import Config  # noqa: E402
from mintd import Answer, Daemon, batch, tickets  # noqa: E402
from tap import check, equal, main, matches, skip, test, until  # noqa: E402

HEALTH = ("/livez", "/readyz", "/healthz")


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


# ---- the Unix socket

class Local(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)


def local(path, where, method="GET", body=None, headers=None):
    link = Local(path)
    try:
        link.request(method, where, body, {**({"Content-Type": "application/json"} if body else {}), **(headers or {})})
        answer = link.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        link.close()


def with_socket(folder, mode=0o700, **groups):
    """A configuration whose socket lies in a folder of that mode."""
    run = os.path.join(folder, "run")
    os.makedirs(run, exist_ok=True)
    os.chmod(run, mode)
    path = os.path.join(run, "api.sock")
    return path, Config("null", listen={"unix": path}, **groups)


@test
def whoever_opens_the_socket_is_an_administrator(folder):
    path, config = with_socket(folder, api={"allow": ["10.0.0.0/8"], "rate_admin": "1/1d", "rate_read": "1/1d", "rate_wrong": "1/1d"})
    with Daemon(folder, config).start() as mintd:
        for _ in range(3):                                 # neither addresses nor rates concern it
            equal(local(path, "/v1/batches").status, 200)
            equal(local(path, "/v1/keys", headers={"x-admin-api-key": "not one"}).status, 200)
        answer = local(path, "/v1/keys", "POST", b'{"name": "made-here", "scope": "read"}')
        equal(answer.status, 201)
        equal(answer.headers["RateLimit-Limit"], None)
        equal(local(path, "/v1/batches", "POST", batch("venue-1", tickets("t", 1))).status, 200)
        equal(local(path, "/nothing").status, 404)
        problem(ask(mintd, "/v1/batches", key=mintd.key), 403, "auth.address")
        with mintd.store() as store:
            equal(json.loads(store.one("SELECT body FROM events WHERE kind = 'key.created'"))["by"], "(socket)")
        matches(mintd.log, r"peer=unix key=\(?socket")
        status = os.stat(path)
        equal((status.st_mode & 0o777, status.st_gid), (0o660, os.stat(os.path.dirname(path)).st_gid))
        equal(mintd.stop(), 0)
        check(not os.path.exists(path), "the socket was left behind")


@test
def a_socket_alone_is_enough(folder):
    path, config = with_socket(folder)
    config.listen["port"] = 0
    with Daemon(folder, config).launch() as mintd:
        until(lambda: os.path.exists(path) and local(path, "/readyz").status == 200, 15, "the daemon is ready", every=0.1)
        equal(local(path, "/v1/batches").status, 200)
        equal(mintd.stop(), 0)


@test
def a_socket_folder_that_is_open_to_others_stops_the_start(folder):
    for mode in (0o701, 0o702, 0o703, 0o755, 0o777, 0o1777, 0o751, 0o773):
        path, config = with_socket(os.path.join(folder, f"{mode:o}"), mode)
        started(os.path.join(folder, f"{mode:o}"), config, "run is open to others.*0750", path)
    for mode in (0o700, 0o750, 0o770, 0o710, 0o2750):
        path, config = with_socket(os.path.join(folder, f"{mode:o}"), mode)
        with Daemon(os.path.join(folder, f"{mode:o}"), config).start() as mintd:
            equal(local(path, "/v1/batches").status, 200, oct(mode))
            equal(mintd.stop(), 0)


def started(folder, config, pattern, path=None):
    """A start that is refused, in one line."""
    mintd = Daemon(folder, config)
    before = len(mintd.log)
    with mintd.launch():
        equal(mintd.wait(20), 1, mintd.log[-1000:])
    lines = mintd.log[before:].splitlines()
    equal(len(lines), 1, lines)
    matches(lines[0], pattern)
    if path:
        check(not os.path.exists(path), "the socket was made all the same")


@test
def socket_folders_that_are_missing_or_of_somebody_else(folder):
    path, config = with_socket(folder)
    os.rmdir(os.path.dirname(path))
    started(folder, config, "listen.unix: the folder .*/run does not exist", path)
    with open(os.path.dirname(path), "w", encoding="ascii"):
        pass
    started(folder, config, "/run .*(is no folder|can not be looked at)")
    os.remove(os.path.dirname(path))
    if os.geteuid() == 0:
        with_socket(folder)
        os.chown(os.path.dirname(path), 12345, 0)
        started(folder, config, "/run belongs to neither root nor the running user", path)


@test
def what_lies_in_the_place_of_the_socket(folder):
    path, config = with_socket(folder)
    with open(path, "w", encoding="ascii") as file:
        file.write("somebody's notes")
    started(folder, config, "api.sock: File exists")
    with open(path, encoding="ascii") as file:
        equal(file.read(), "somebody's notes")
    os.remove(path)
    with Daemon(folder, config).start() as mintd:
        mintd.kill()                                       # leaves its socket behind
        check(os.path.exists(path))
        mintd.start()
        equal(local(path, "/v1/batches").status, 200)
        other = Config("null", listen={"unix": path})
        started(os.path.join(folder, "other"), other, "api.sock: address already in use")
        equal(local(path, "/v1/batches").status, 200)
        equal(mintd.stop(), 0)


@test
def other_users_get_in_by_the_folders_group_alone(folder):
    drop = ["setpriv", "--reuid=65534", "--clear-groups"]
    if os.geteuid() or subprocess.run([*drop, "--regid=65534", "true"], check=False, capture_output=True).returncode:
        skip("this needs the right to become another user")
    os.chmod(folder, 0o755)
    path, config = with_socket(folder, 0o750)
    os.chown(os.path.dirname(path), 0, 4711)
    probe = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('in')"
    with Daemon(os.path.join(folder, "home"), config).start() as mintd:
        for group, wanted in (("65534", ""), ("4711", "in\n")):
            done = subprocess.run([*drop, f"--regid={group}", sys.executable, "-c", probe, path], check=False, capture_output=True, text=True)
            equal(done.stdout, wanted, group, done.stderr)
        equal(mintd.stop(), 0)


if __name__ == "__main__":
    sys.exit(main())
