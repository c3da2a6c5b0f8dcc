#!/usr/bin/python3
"""Large bodies: 100,000 tickets streamed in flat memory, clients that leave half-way, clients that are slow."""
import http.client
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Daemon, tickets  # noqa: E402
from tap import check, equal, main, note, test, until  # noqa: E402

TICKET = ('{"id":"%s-%06d","eventId":"event-1","userId":"user-%06d","ticketData":{"eventName":"Concert",'
          '"eventDate":"2026-12-01","venue":"Stadium","tier":"Standing","seatNumber":"%06d","note":"%s"}}')


def pieces(prefix, count, pad=155, end=b"]}"):
    """The body in pieces of about 64 KiB, never whole in memory."""
    yield b'{"venueId":"venue-1","tickets":['
    held, size = [], 0
    for n in range(count):
        text = TICKET % (prefix, n, n, n, "x" * pad) + ("," if n < count - 1 else "")
        held.append(text)
        size += len(text)
        if size > 65536:
            yield "".join(held).encode()
            held, size = [], 0
    yield "".join(held).encode() + end


def length(prefix, count, pad=155):
    return sum(len(piece) for piece in pieces(prefix, count, pad))


def send(mintd, prefix, count, key, chunked=False):
    link = http.client.HTTPConnection("127.0.0.1", mintd.port, timeout=120)
    headers = {"x-admin-api-key": mintd.key, "Content-Type": "application/json", "Prefer": "respond-async"}
    if key:
        headers["Idempotency-Key"] = key
    if not chunked:
        headers["Content-Length"] = str(length(prefix, count))
    link.request("POST", "/admin/batch-mint", pieces(prefix, count), headers, encode_chunked=chunked)
    answer = link.getresponse()
    body = answer.read().decode()
    link.close()
    return answer.status, answer.headers.get("Location"), body


@test
def a_hundred_thousand_tickets_are_accepted_and_minted_in_64_mb(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        size = length("t", 100000)
        check(32e6 < size < 36e6, "the body has", size)
        start = time.monotonic()
        status, where, body = send(mintd, "t", 100000, "big")
        equal(status, 202, body)
        accepted = time.monotonic() - start
        done = mintd.api().follow(where, 120, every=0.5)
        equal(done["summary"]["succeeded"], 100000)
        took = time.monotonic() - start
        peak = mintd.memory()
        note(f"{size / 1e6:.0f} MB, 100000 tickets: accepted in {accepted:.1f} s, minted in {took:.1f} s, "
             f"peak RSS {peak / 1024:.1f} MiB, CPU {mintd.cpu():.1f} s")
        if not os.environ.get("MINTD_BUILD", "").endswith(("asan", "tsan")):
            check(peak <= 64 * 1024, "peak RSS", peak, "KiB")
        again = send(mintd, "t", 100000, "big")
        equal((again[0], again[1]), (202, where), "the replay of a streamed body")
        mintd.reset_peak()
        start = time.monotonic()
        known = send(mintd, "t", 100000, None)             # without a key: each ticket is looked for
        equal(known[0], 202, known)
        equal((json.loads(known[2])["known"], known[1]), (100000, where), "the same list without a key")
        peak = mintd.memory()
        note(f"all known: told in {time.monotonic() - start:.1f} s, peak RSS {peak / 1024:.1f} MiB")
        if not os.environ.get("MINTD_BUILD", "").endswith(("asan", "tsan")):
            check(peak <= 64 * 1024, "peak RSS", peak, "KiB")
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 100000)
            until(lambda: store.one("SELECT count(*) FROM requests") == 1, 10, "the row of a stream without news is gone")
        equal(mintd.stop(), 0)


@test
def a_chunked_body_is_taken_as_well(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        status, where, body = send(mintd, "c", 6000, "chunked", chunked=True)
        equal(status, 202, body)
        equal(mintd.api().follow(where, 60)["summary"]["succeeded"], 6000)


def half(mintd, prefix, count, key):
    """Sends half of a body and leaves."""
    with socket.create_connection(("127.0.0.1", mintd.port), timeout=30) as link:
        head = (f"POST /admin/batch-mint HTTP/1.1\r\nHost: x\r\nx-admin-api-key: {mintd.key}\r\nIdempotency-Key: {key}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {length(prefix, count)}\r\n\r\n")
        link.sendall(head.encode())
        whole, sent = length(prefix, count), 0
        for piece in pieces(prefix, count):
            if sent > whole // 2:
                break
            link.sendall(piece)
            sent += len(piece)


@test
def a_client_that_leaves_half_way_leaves_nothing(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        half(mintd, "h", 20000, "leaver")

        def empty():
            with mintd.store() as store:
                return not store.one("SELECT count(*) FROM items") and not store.one("SELECT count(*) FROM requests")
        until(empty, 30, "the unsealed rows are swept")
        end = time.monotonic() + 30
        status, where, body = send(mintd, "h", 20000, "leaver")
        while status == 409 and time.monotonic() < end:    # the daemon has not yet seen that the first one left
            time.sleep(0.2)
            status, where, body = send(mintd, "h", 20000, "leaver")
        equal(status, 202, body)
        equal(mintd.api().follow(where, 60)["summary"]["succeeded"], 20000)


@test
def a_kill_in_the_middle_of_an_intake_leaves_nothing(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        half(mintd, "h", 20000, "killed")
        mintd.kill()
        mintd.start()
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM chunks"), 0, "claimable chunks of an unsealed request:")
        status, where, body = send(mintd, "h", 20000, "killed")
        equal(status, 202, body)
        equal(mintd.api().follow(where, 60)["summary"]["succeeded"], 20000)


@test
def one_bad_ticket_at_the_end_of_a_stream_refuses_it_whole(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        body = b"".join(pieces("b", 20000, end=b',{"id":7}]}'))
        answer = mintd.api().mint("venue-1", None, key="bad", body=body)
        check(answer.status in (400, 422), answer)
        with mintd.store() as store:
            until(lambda: store.one("SELECT count(*) FROM items") == 0, 30, "the staged rows are swept")


@test
def a_body_above_the_limit_is_refused_before_it_is_sent(folder):
    with Daemon(folder, Config("null", api={"max_body": "1 MiB"})).start() as mintd:
        with socket.create_connection(("127.0.0.1", mintd.port), timeout=10) as link:
            link.sendall((f"POST /admin/batch-mint HTTP/1.1\r\nHost: x\r\nx-admin-api-key: {mintd.key}\r\n"
                          f"Content-Type: application/json\r\nContent-Length: 2000000\r\n\r\n").encode())
            answer = link.recv(4096).decode()
        check(answer.startswith("HTTP/1.1 413"), answer)


@test
def a_small_request_is_answered_while_a_large_one_streams(folder):
    with Daemon(folder, Config("null")).start() as mintd:
        with socket.create_connection(("127.0.0.1", mintd.port), timeout=30) as link:
            head = (f"POST /admin/batch-mint HTTP/1.1\r\nHost: x\r\nx-admin-api-key: {mintd.key}\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {length('s', 20000)}\r\n\r\n")
            link.sendall(head.encode())
            for place, piece in enumerate(pieces("s", 20000)):
                link.sendall(piece)
                if place == 20:
                    start = time.monotonic()
                    equal(mintd.api().mint("venue-1", tickets("quick", 3)).status, 200)
                    check(time.monotonic() - start < 5, "the small request took", time.monotonic() - start)


if __name__ == "__main__":
    sys.exit(main())
