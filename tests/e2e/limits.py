#!/usr/bin/python3
"""The machine runs out of something: disk, file descriptors, memory, a working fsync. Nothing that was promised may be lost."""
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import BUILD, Api, Daemon, batch, ticket, tickets  # noqa: E402
from tap import check, equal, main, matches, note, skip, test, until  # noqa: E402


def mounted(path, size):
    os.makedirs(path, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "mintd-test", path], check=False,
                          capture_output=True, text=True)
    if done.returncode:
        skip(f"mounting a sized tmpfs is not permitted here: {done.stderr.strip()}")


def fill(path):
    """Takes all the space that is left."""
    with open(os.path.join(path, "filler"), "wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 65536):
                pass
        except OSError:
            pass


@test
def a_full_disk_refuses_precisely_and_loses_nothing_accepted(folder):
    state = os.path.join(folder, "small")
    mounted(state, "24m")
    try:
        config = Config("solana-like", top={"state_dir": state})
        with Daemon(os.path.join(folder, "home"), config).start() as mintd:
            api = mintd.api()
            accepted = []
            equal(api.mint("venue-1", tickets("before", 20), key="before").status, 200)
            accepted += [item["id"] for item in tickets("before", 20)]
            equal(api.mint("venue-1", tickets("during", 200, pad=500), key="during", prefer="respond-async").status, 202)
            accepted += [item["id"] for item in tickets("during", 200)]
            fill(state)                                    # the disk is full in the middle of that
            refusals = 0
            for turn in range(40):
                items = tickets(f"full{turn}", 50, pad=2000)
                answer = api.mint("venue-1", items, key=f"full{turn}", prefer="respond-async")
                if answer.status == 202:
                    accepted += [item["id"] for item in items]
                    continue
                refusals += 1
                equal((answer.status, answer.code, answer.headers["Content-Type"]), (503, "store.full", "application/problem+json"))
                matches(answer.json["detail"], "free disk space")
                check(int(answer.headers["Retry-After"]) > 0, answer)
            check(refusals, "the disk never became full")
            equal(api.get("/livez").status, 200)
            os.remove(os.path.join(state, "filler"))
            until(lambda: api.mint("venue-1", tickets("after", 5), key="after", prefer="respond-async").status == 202, 30,
                  "accepting again")
            accepted += [item["id"] for item in tickets("after", 5)]

            def settled():
                with mintd.store() as store:
                    return not store.open_chunks()
            until(settled, 60, "everything accepted is terminal", every=0.2)
            with mintd.store() as store:
                states = {row["ticket"]: row["state"] for row in store.items()}
            equal([name for name in accepted if states.get(name) != 10], [], "accepted and not minted:")
            note(f"{refusals} refusals, {len(accepted)} tickets accepted and minted")
            equal(mintd.stop(), 0)
            full = [line for line in mintd.log.splitlines() if "op=commit" in line and "store.full" in line]
            check(1 <= len(full) <= 4, len(full), "lines say it:", *full[:5])
            matches(mintd.log, "takes writes again")
    finally:
        subprocess.run(["umount", "-l", state], check=False)


@test
def a_start_on_a_full_disk_is_one_clear_line(folder):
    state = os.path.join(folder, "small")
    mounted(state, "256k")
    try:
        fill(state)
        mintd = Daemon(os.path.join(folder, "home"), Config("solana-like", top={"state_dir": state})).launch()
        with mintd:
            equal(mintd.wait(20), 1, mintd.log[-1000:])
            matches(mintd.log, "small/.*No space left on device")
            equal(len(mintd.log.splitlines()), 1, mintd.log)
    finally:
        subprocess.run(["umount", "-l", state], check=False)


@test
def too_many_connections_exhaust_descriptors_and_it_recovers(folder):
    if not shutil.which("prlimit"):
        skip("prlimit is not installed")
    with Daemon(folder, Config("solana-like", api={"max_connections_per_ip": 1000, "max_connections": 1000}),
                prefix=["prlimit", "--nofile=64"]).start() as mintd:
        where = mintd.api().mint("venue-1", tickets("t", 60), key="k", prefer="respond-async").headers["Location"]
        crowd = []
        for _ in range(300):
            link = socket.socket()
            link.settimeout(2)
            try:
                link.connect(("127.0.0.1", mintd.port))
                link.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")      # never finished
                crowd.append(link)
            except OSError:
                link.close()
        time.sleep(1)
        before = mintd.cpu()
        time.sleep(1)
        check(mintd.cpu() - before < 0.6, "it spins while out of descriptors:", mintd.cpu() - before)
        equal(mintd.process.poll(), None, mintd.log[-1000:])
        for link in crowd:
            link.close()
        until(mintd.ready, 15, "answers again")
        equal(mintd.api().follow(where)["summary"]["succeeded"], 60)
        equal(mintd.api().mint("venue-1", tickets("u", 5)).status, 200)
        equal(mintd.stop(), 0)


@test
def a_connection_limit_per_address_holds(folder):
    with Daemon(folder, Config("solana-like", api={"max_connections_per_ip": 8})).start() as mintd:
        links = [socket.create_connection(("127.0.0.1", mintd.port), timeout=5) for _ in range(20)]
        cut = 0
        for link in links:
            try:
                link.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                cut += not link.recv(100)
            except OSError:
                cut += 1
        check(cut >= 12, "only", cut, "of 20 connections were cut")
        for link in links:
            link.close()
        until(mintd.ready, 10, "answers again")


@test
def a_failing_fsync_ends_the_daemon_and_loses_nothing(folder):
    if not shutil.which("strace"):
        skip("strace is not installed")
    config = Config("solana-like")
    with Daemon(folder, config).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("t", 10), key="before").status, 200)
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync",
                                   "-e", "inject=fdatasync,fsync:error=EIO:when=1+", "-p", str(mintd.process.pid)],
                                  stderr=subprocess.PIPE, text=True)
        time.sleep(0.7)
        if tracer.poll() is not None:
            skip(f"tracing is not permitted here: {tracer.stderr.read().strip()[:200]}")
        try:
            try:
                answer = Api(mintd.port, mintd.key, timeout=20).mint("venue-1", tickets("u", 10), key="during")
                check(answer.status in (503, 507, 500), "accepted without a working fsync:", answer)
            except (OSError, http.client.HTTPException):
                pass
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
        mintd.kill()
        mintd.start()
        api = mintd.api()
        again = api.mint("venue-1", tickets("u", 10), key="during", prefer="respond-async")
        check(again.status in (200, 202), again)
        api.follow(again.headers["Location"]) if again.status == 202 else None
        with mintd.store() as store:
            rows = store.items()
            equal(len(rows), 20)
            equal({row["state"] for row in rows}, {10})


@test
def little_memory_is_a_clean_end_or_a_refusal(folder):
    if BUILD.endswith(("asan", "tsan")):
        skip("an address space limit and a sanitizer exclude each other")
    for megabytes in (8, 16, 32, 64, 80, 96, 112, 128, 192):
        home = os.path.join(folder, str(megabytes))
        config = Config("solana-like")
        answer = None
        with Daemon(home, config, prefix=["prlimit", f"--as={megabytes << 20}"]).launch() as mintd:
            try:
                mintd.wait_ready(3)
                answer = mintd.api(10).mint("venue-1", tickets("t", 200, pad=3000), key="k")
                check(answer.status in (200, 202, 503), answer)
            except (AssertionError, OSError, http.client.HTTPException) as error:
                note(megabytes, "MiB:", type(error).__name__)
            code = mintd.process.poll()
            check(code in (None, 1, 127), megabytes, "MB:", code, mintd.log[-500:])      # 127: the dynamic loader's
            note(f"{megabytes} MiB: exit {code}, answer {answer.status if answer else None}, "
                 f"{mintd.log.splitlines()[-1][:150] if code else ''}")
        if answer is None:
            continue
        with Daemon(home, config).start() as mintd:                        # what little memory left behind is whole
            again = mintd.api().mint("venue-1", tickets("t", 200, pad=3000), key="k")
            equal((again.status, again.json["summary"]["succeeded"]), (200, 200))
            equal(mintd.stop(), 0)
        uris = [mint["uri"] for mint in Ledger(config.ledger(home)).mints()]
        equal((len(uris), len(set(uris))), (200, 200), megabytes, "MB, in the ledger:")


@test
def the_log_pipe_may_break(folder):
    config = Config("solana-like", log={"level": "debug"})
    config.write(folder)
    with Daemon(folder, config).launch() as mintd:
        mintd.wait_ready()
        equal(mintd.stop(), 0)
    from mintd import binary, environment
    process = subprocess.Popen([binary(), "-c", config.path(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment())
    process.stdout.close()
    try:
        until(lambda: Api(config.port, None, 5).get("/livez").status == 200 if _listening(config.port) else False, 10,
              "it runs without a reader of its log")
        process.send_signal(signal.SIGTERM)
        equal(process.wait(12), 0)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---- limits on what a client may send: one below, at, and one above each; above is refused and changes nothing

def exchange(mintd, head, body=b"", source="127.0.0.1"):
    """Status, code and whether the connection was closed, of a request written by hand."""
    with socket.create_connection(("127.0.0.1", mintd.port), timeout=20, source_address=(source, 0)) as link:
        link.sendall(head + body)
        answer = http.client.HTTPResponse(link)
        answer.begin()
        text = answer.read()
        try:
            code = json.loads(text).get("code", "")
        except ValueError:
            code = ""
        return answer.status, code, answer.headers.get("Connection") == "close"


def request(mintd, path="/v1/batches", method="GET", headers=(), length=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: mintd", f"x-admin-api-key: {mintd.key}", *headers]
    if length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(mintd, path, body):
    parts = [body[at:at + 4000] for at in range(0, len(body), 4000)]
    head = request(mintd, path, "POST", ["Content-Type: application/json", "Transfer-Encoding: chunked"])
    return head, b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def around(limit):
    """One below, at, one above: with what is expected of it."""
    return (limit - 1, True), (limit, True), (limit + 1, False)


def accepted(mintd):
    with mintd.store() as store:
        return store.one("SELECT count(*) FROM items"), store.one("SELECT count(*) FROM requests"), store.one("SELECT count(*) FROM api_keys")


@test
def a_request_has_at_most_a_hundred_headers(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        for count, fits in around(100):
            got = exchange(mintd, request(mintd, headers=[f"X-{n}: x" for n in range(count - 2)]))
            equal(got, (200, "", False) if fits else (431, "http.request", True), count)
        equal(mintd.stop(), 0)


@test
def a_header_has_at_most_16_kib(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        empty = len(request(mintd, headers=["X: "]))
        for size, fits in around(16 * 1024):
            head = request(mintd, headers=["X: " + "x" * (size - empty)])
            equal(len(head), size)
            equal(exchange(mintd, head), (200, "", False) if fits else (431, "http.request", True), size)
        status = exchange(mintd, request(mintd, headers=[f"X-{n}: {'x' * 8000}" for n in range(20)]))[0]
        equal(status, 431, "160 KiB of headers")
        equal(exchange(mintd, request(mintd, "/v1/batches?cursor=" + "0" * 20000))[0] in (400, 414, 431), True)
        equal(mintd.stop(), 0)


@test
def a_small_body_has_at_most_64_kib(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        for place, (size, fits) in enumerate(around(64 * 1024)):
            for way in ("length", "chunked"):
                body = json.dumps({"name": f"{way}-{place}", "scope": "read"}).encode()
                body += b" " * (size - len(body))
                before = accepted(mintd)
                if way == "chunked":
                    status, code, _ = exchange(mintd, *chunked(mintd, "/v1/keys", body))
                else:
                    status, code, _ = exchange(mintd, request(mintd, "/v1/keys", "POST", length=len(body)), body)
                equal((status, code), (201, "") if fits else (413, "body.too_large"), way, size)
                equal(accepted(mintd) != before, fits)
        equal(mintd.stop(), 0)


@test
def a_batch_has_at_most_max_body_bytes(folder):
    for memory in ("1 MiB", "4 KiB"):                      # held in memory, and streamed
        home = os.path.join(folder, memory.replace(" ", ""))
        with Daemon(home, Config("null", api={"max_body": "16 KiB", "max_ticket": "4 KiB"}, intake={"memory": memory})).start() as mintd:
            for place, (size, fits) in enumerate(around(16 * 1024)):
                for way in ("length", "chunked"):
                    body = batch("venue-1", tickets(f"{way}-{place}", 3))
                    body += b" " * (size - len(body))
                    before = accepted(mintd)
                    if way == "chunked":
                        status, code, _ = exchange(mintd, *chunked(mintd, "/v1/batches", body))
                    else:
                        status, code, _ = exchange(mintd, request(mintd, "/v1/batches", "POST", length=len(body)), body)
                    equal((status, code), (200, "") if fits else (413, "body.too_large"), memory, way, size)
                    if fits:
                        check(accepted(mintd) != before, memory, way, size)
                    else:                                  # what was streamed into the store before the end was seen goes again
                        until(lambda kept=before: accepted(mintd) == kept, 5, f"nothing is left of {memory} {way} {size}")
            equal(mintd.stop(), 0)


@test
def a_ticket_has_at_most_max_ticket_bytes(folder):
    with Daemon(folder, Config("null", api={"max_ticket": "2 KiB"})).start() as mintd:
        empty = len(json.dumps(ticket("t-0", pad=1))) - 1
        for place, (size, fits) in enumerate(around(2048)):
            item = ticket(f"t-{place}", pad=size - empty)
            equal(len(json.dumps(item)), size)
            before = accepted(mintd)
            answer = mintd.api().mint("venue-1", [ticket(f"s-{place}"), item])
            equal((answer.status, answer.code), (200, "") if fits else (413, "ticket.too_large"), size, answer)
            equal(accepted(mintd) != before, fits)
            if not fits:
                equal(answer.json["errors"][0]["pointer"], "/tickets/1")
        equal(mintd.stop(), 0)


@test
def a_request_has_at_most_max_items_tickets(folder):
    with Daemon(folder, Config("null", api={"max_items": 10})).start() as mintd:
        for count, fits in around(10):
            before = accepted(mintd)
            answer = mintd.api().mint("venue-1", tickets(f"t{count}", count))
            equal((answer.status, answer.code), (200, "") if fits else (413, "batch.too_many_tickets"), count, answer)
            equal(accepted(mintd)[0] - before[0], count if fits else 0)
        equal(mintd.stop(), 0)


@test
def names_and_ids_have_their_length(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        api = mintd.api()
        for size, fits in around(255):
            answer = api.mint("venue-1", tickets(f"k{size}", 1), key="k" * size)
            equal((answer.status, answer.code), (200, "") if fits else (400, "idempotency.key"), size)
        for size, fits in around(128):
            answer = api.mint("v" * size, tickets(f"v{size}", 1))
            equal(answer.status, 200 if fits else 422, size, answer)
        for size, fits in around(64):
            answer = api.get("/v1/batches", headers={"X-Request-Id": "r" * size})
            equal((answer.status, answer.headers["X-Request-Id"] == "r" * size), (200, fits), size)
        equal(mintd.stop(), 0)


def answered(link, wait=20):
    """Whether a request on this open connection is answered within that time; None: it was closed instead."""
    link.settimeout(wait)
    try:
        link.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = http.client.HTTPResponse(link)
        answer.begin()
        return answer.read() == b"ok\n"
    except TimeoutError:
        return False
    except (OSError, http.client.HTTPException):
        return None


@test
def connections_in_all(folder):
    limit = 8
    with Daemon(folder, Config("null", api={"max_connections": limit, "max_connections_per_ip": 100})).start() as mintd:
        time.sleep(0.3)                                    # what asked whether it is ready has gone
        links = [socket.create_connection(("127.0.0.1", mintd.port), timeout=5) for _ in range(limit)]
        equal([answered(link) for link in links], [True] * limit)
        late = socket.create_connection(("127.0.0.1", mintd.port), timeout=5)
        equal(answered(late, 0.5), False, "one more than the limit was served")
        links.pop().close()
        late.settimeout(10)
        check(late.recv(12).startswith(b"HTTP/1.1 200"), "it waits although there is room")
        equal([answered(link) for link in links], [True] * (limit - 1))
        for link in (*links, late):
            link.close()
        equal(mintd.stop(), 0)


@test
def connections_of_one_address(folder):
    limit = 5
    with Daemon(folder, Config("null", api={"max_connections_per_ip": limit})).start() as mintd:
        time.sleep(0.3)
        links = [socket.create_connection(("127.0.0.1", mintd.port), timeout=5) for _ in range(limit)]
        equal([answered(link) for link in links], [True] * limit)
        with socket.create_connection(("127.0.0.1", mintd.port), timeout=5) as late:
            equal(answered(late), None, "one more than the limit was served")
        with socket.create_connection(("127.0.0.1", mintd.port), timeout=5, source_address=("127.0.0.2", 0)) as other:
            equal(answered(other), True, "another address is counted with it")
        links.pop().close()
        time.sleep(0.3)
        with socket.create_connection(("127.0.0.1", mintd.port), timeout=5) as again:
            equal(answered(again), True)
        for link in links:
            link.close()
        equal(mintd.stop(), 0)


def slowly(mintd, seconds):
    """A header whose last line comes after so long, some bytes all the time; whether it was answered."""
    with socket.create_connection(("127.0.0.1", mintd.port), timeout=20) as link:
        try:
            link.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(min(0.1, max(0, end - time.monotonic())))
                link.sendall(b"X: y\r\n")
            link.sendall(b"\r\n")
            return link.recv(12).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


@test
def a_header_is_whole_in_time_or_not_heard(folder):
    with Daemon(folder, Config("null", api={"header_timeout": "1500ms", "idle_timeout": "1h"})).start() as mintd:
        equal(slowly(mintd, 1.0), True)
        equal(slowly(mintd, 2.4), False, "a header that took longer than allowed was heard")
        equal(mintd.ready(), True)
        equal(mintd.stop(), 0)


@test
def a_silent_connection_is_closed_in_time(folder):
    with Daemon(folder, Config("null", api={"idle_timeout": "2s"})).start() as mintd:
        for silent, wanted in ((1.0, True), (4.5, None)):
            with socket.create_connection(("127.0.0.1", mintd.port), timeout=20) as link:
                equal(answered(link), True)
                time.sleep(silent)
                equal(answered(link), wanted, silent, "seconds of silence")
        equal(mintd.stop(), 0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    sys.exit(main())
