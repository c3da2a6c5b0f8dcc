#!/usr/bin/python3
"""The daemon as an operator meets it: keys, health, metrics, reload, shutdown, two instances."""
import http.client
import os
import re
import signal
import socket
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Api, Daemon, batch, tickets  # noqa: E402
from tap import check, equal, main, matches, test, until  # noqa: E402


@test
def without_the_key_nothing_but_health_is_answered(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        for key in (None, "wrong", mintd.key[:-1], mintd.key + "x", "x" * 5000):
            for method, path in (("POST", "/admin/batch-mint"), ("GET", "/admin/mints/t"), ("GET", "/metrics")):
                answer = api.call(method, path, b"{}" if method == "POST" else None, key=key)
                check(answer.status in (401, 431), method, path, answer)
                check("t-000001" not in answer.text)
        for path in ("/livez", "/readyz"):
            equal(api.get(path, key=None).status, 200, path)
        equal(stat.S_IMODE(os.stat(os.path.join(mintd.state_dir, "admin.key")).st_mode) & 0o077, 0)


@test
def both_ways_to_show_a_key_work(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        equal(mintd.api().get("/metrics").status, 200)
        equal(mintd.api().get("/metrics", key=None, headers={"Authorization": f"Bearer {mintd.key}"}).status, 200)
        equal(mintd.api().get("/metrics", key=None, headers={"Authorization": "Bearer wrong"}).status, 401)


@test
def the_key_stays_out_of_the_log(folder):
    with Daemon(folder, Config("solana-like", log={"level": "debug"})).start() as mintd:
        mintd.api().mint("venue-1", tickets("t", 3))
        check(mintd.key not in mintd.log, "the generated key is in the log")


@test
def unknown_paths_and_methods_have_problem_documents(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        for method, path, status in (("GET", "/nothing", 404), ("GET", "/admin/batch-mint", 405), ("DELETE", "/livez", 405),
                                     ("GET", "/admin/mints/none", 404)):
            answer = api.call(method, path)
            equal(answer.status, status, method, path)
            matches(answer.headers["Content-Type"], "application/problem\\+json")


def raw(port, text):
    """The whole answer to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(text)
        answer = b""
        while True:
            try:
                more = link.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            if not more:
                break
            answer += more
    return answer.decode(errors="replace")


@test
def ambiguous_framing_is_refused_and_closes_the_connection(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        head = f"POST /admin/batch-mint HTTP/1.1\r\nHost: x\r\nx-admin-api-key: {mintd.key}\r\n"
        hidden = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        for lines in ("Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
                      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"):
            answer = raw(mintd.port, (head + lines + "\r\n0\r\n\r\n" + hidden).encode())
            matches(answer, r"^HTTP/1\.1 400", lines)
            equal(len(re.findall(r"HTTP/1\.1 ", answer)), 1, "answers to", lines)
        matches(raw(mintd.port, b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), r"^HTTP/1\.1 400")
        equal(mintd.api().get("/livez").status, 200)


@test
def a_header_that_never_ends_is_cut_off(folder):
    with Daemon(folder, Config("solana-like", api={"header_timeout": "1s"})).start() as mintd:
        with socket.create_connection(("127.0.0.1", mintd.port), timeout=15) as link:
            start = time.monotonic()
            link.sendall(b"GET /livez HTTP/1.1\r\n")
            try:
                while time.monotonic() - start < 12:
                    link.sendall(b"x")
                    time.sleep(0.2)
            except OSError:
                pass
            check(time.monotonic() - start < 8, "the connection was still open after 8 s")
        equal(mintd.api().get("/livez").status, 200)


@test
def metrics_are_prometheus_text(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        mintd.api().mint("venue-1", tickets("t", 3))
        text = mintd.api().get("/metrics").text
        for line in text.splitlines():
            check(re.match(r'^(#( (HELP|TYPE|EOF).*)?|[a-zA-Z_:][\w:]*(\{.*\})? [-+\w.]+)$', line), "odd line:", line)
        for name in ("mintd_ops_total", "process_resident_memory_bytes"):
            check(re.search(rf"^{name}", text, re.M), name, "is missing")


@test
def a_reload_takes_a_valid_file_whole(folder):
    config = Config("solana-like", api={"sync_items": 100})
    with Daemon(folder, config).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("a", 20)).status, 200)
        config.api["sync_items"] = 5
        config.write(folder)
        mintd.signal(signal.SIGHUP)
        until(lambda: "reload" in mintd.log, 10, "a log line about the reload")
        until(lambda: mintd.api().mint("venue-1", tickets(f"b{time.monotonic_ns()}", 20)).status == 202, 10, "the new limit")
        equal(mintd.stop(), 0)


@test
def a_reload_refuses_an_invalid_file_whole(folder):
    config = Config("solana-like", api={"sync_items": 100})
    with Daemon(folder, config).start() as mintd:
        config.api["sync_items"] = 5
        config.top["no_such_option"] = 1
        config.write(folder)
        mintd.signal(signal.SIGHUP)
        until(lambda: "no_such_option" in mintd.log, 10, "the refusal in the log")
        matches(mintd.log, r"mintd\.cfg:\d+")
        equal(mintd.api().mint("venue-1", tickets("a", 20)).status, 200, "the old limit holds")
        equal(mintd.process.poll(), None)


@test
def reloads_under_load_lose_no_request(folder):
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        for turn in range(20):
            config.mint["window"] = 8 + turn % 2
            config.write(folder)
            mintd.signal(signal.SIGHUP)
            equal(api.mint("venue-1", tickets(f"r{turn}", 5)).status, 200)
        with mintd.store() as store:
            equal({row["state"] for row in store.items()}, {10})


@test
def sigterm_drains_within_ten_seconds_and_a_start_goes_on(folder):
    with Daemon(folder, Config("solana-like", chain={"latency": "2s"})).start() as mintd:
        answer = mintd.api().mint("venue-1", tickets("t", 40), prefer="respond-async")
        equal(answer.status, 202, answer)
        start = time.monotonic()
        equal(mintd.stop(12), 0, mintd.log[-1500:])
        check(time.monotonic() - start < 10, "the drain took", time.monotonic() - start)
        mintd.start()
        equal(mintd.api().follow(answer.headers["Location"])["summary"]["succeeded"], 40)


@test
def sigterm_answers_a_waiting_client(folder):
    with Daemon(folder, Config("solana-like", chain={"latency": "20s"})).start() as mintd:
        link = http.client.HTTPConnection("127.0.0.1", mintd.port, timeout=20)
        link.request("POST", "/admin/batch-mint", batch("venue-1", tickets("t", 3)),
                     {"x-admin-api-key": mintd.key, "Content-Type": "application/json"})

        def accepted():
            with mintd.store() as store:
                return store.one("SELECT count(*) FROM items") == 3
        until(accepted, 10, "the request is accepted")
        mintd.signal(signal.SIGTERM)
        equal(link.getresponse().status, 202)
        link.close()
        equal(mintd.wait(12), 0)


@test
def sigterm_during_start_ends_it(folder):
    for wait in (0, 0.005, 0.02, 0.05):
        with Daemon(folder, Config("solana-like")).launch() as mintd:
            time.sleep(wait)
            mintd.signal(signal.SIGTERM)
            check(mintd.wait(12) in (0, -signal.SIGTERM), mintd.log[-1000:])


@test
def a_second_instance_on_the_same_state_is_refused(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        twin = Config("solana-like")
        twin.top["state_dir"] = mintd.state_dir
        second = Daemon(os.path.join(folder, "second"), twin).launch()
        equal(second.wait(10), 1)
        matches(second.log, "(?i)(in use|lock|another)")
        equal(mintd.api().mint("venue-1", tickets("t", 3)).status, 200)


@test
def a_taken_port_is_one_clear_line(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = Config("solana-like")
        config.port = taken.getsockname()[1]
        mintd = Daemon(folder, config).launch()
        equal(mintd.wait(10), 1)
        matches(mintd.log, rf"{config.port}.*(?i:in use)")


@test
def a_suspended_daemon_goes_on(folder):
    with Daemon(folder, Config("solana-like", top={"lease": "2s"})).start() as mintd:
        where = mintd.api().mint("venue-1", tickets("t", 30), prefer="respond-async").headers["Location"]
        mintd.signal(signal.SIGSTOP)
        time.sleep(4)
        mintd.signal(signal.SIGCONT)
        equal(mintd.api().follow(where)["summary"]["succeeded"], 30)
        equal(Api(mintd.port, mintd.key).mint("venue-1", tickets("u", 3)).status, 200)


if __name__ == "__main__":
    sys.exit(main())
