#!/usr/bin/python3
"""Batches in every shape they may come in: array, NDJSON, CSV, each also packed; what is wrong with them is said with its line."""
import csv
import gzip
import http.client
import io
import json
import os
import sys
import threading
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import checker  # noqa: E402
from conf import Config  # noqa: E402
from ledger import Ledger  # noqa: E402
from mintd import Daemon, batch, ticket, tickets  # noqa: E402
from tap import check, equal, main, note, test  # noqa: E402

LINES, CSV = "application/x-ndjson", "text/csv"
STREAMED = {"memory": "4 KiB", "slab": "8 KiB"}
COLUMNS = ("eventName", "eventDate", "venue", "tier", "seatNumber")


def started(folder, streamed=False, **groups):
    if streamed:
        groups["intake"] = STREAMED
    return Daemon(folder, Config("solana-like", **groups)).start()


def counts(mintd):
    with mintd.store() as store:
        return {table: store.one(f"SELECT count(*) FROM {table}") for table in ("venues", "collections", "requests", "items", "chunks", "events")}


def post(api, body, kind="application/json", query="venue=v", **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.call("POST", f"/v1/batches?{query}" if query else "/v1/batches", body, {"Content-Type": kind, **sent})


def as_lines(items):
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def as_csv(items):
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(("id", "eventId", "userId", *COLUMNS))
    for item in items:
        rows.writerow((item["id"], item["eventId"], item["userId"], *(item["ticketData"][name] for name in COLUMNS)))
    return text.getvalue().encode()


SHAPES = {"object": (lambda items: batch("v", items), "application/json", None),
          "array": (lambda items: json.dumps(items).encode(), "application/json", "venue=v"),
          "lines": (as_lines, LINES, "venue=v"), "csv": (as_csv, CSV + "; header=present; charset=utf-8", "venue=v")}


def every_shape(folder, streamed):
    """The same tickets in each shape are the same tickets: all but the first request find them known."""
    with started(folder, streamed) as mintd:
        api, items = mintd.api(), tickets("t", 60)
        items[7]["ticketData"]["venue"] = 'The "Hall", upper\r\nlevel; 1 ü'
        first = post(api, SHAPES["object"][0](items), query=None)
        equal((first.status, first.json["summary"]["succeeded"]), (200, 60), first)
        for name, (make, kind, query) in SHAPES.items():
            for packed in (False, True):
                headers = {"Content_Encoding": "gzip"} if packed else {}
                body = gzip.compress(make(items)) if packed else make(items)
                answer = post(api, body, kind, query, **headers)
                equal((answer.status, answer.json.get("known")), (200, 60), name, packed, answer)
            fresh = post(api, make([ticket(f"new-{name}", seat=f"n-{name}")]), kind, query)
            equal((fresh.status, fresh.json["summary"]["succeeded"]), (200, 1), name, fresh)
        equal(mintd.stop(), 0)
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 64)
            equal(checker.judge([], store, Ledger(mintd.config.ledger(folder))), [])


@test
def every_shape_gives_the_same_tickets(folder):
    every_shape(folder, False)


@test
def every_shape_streamed_gives_the_same_tickets(folder):
    every_shape(folder, True)


@test
def the_query_steers_lines_and_rows(folder):
    with started(folder) as mintd:
        api = mintd.api()
        answer = post(api, as_lines(tickets("a", 3)), LINES, "venue=v%C3%BC%201&collection=Gala%20X&pipeline=tickets")
        equal(answer.status, 200, answer)
        found = api.get("/v1/venues/v%C3%BC%201/tickets/a-000000").json
        equal((found["venueId"], found["collection"]["name"]), ("vü 1", "Gala X"))
        before = counts(mintd)
        for kind, body in ((LINES, as_lines(tickets("b", 1))), (CSV, as_csv(tickets("b", 1))), ("application/json", b"[]")):
            answer = post(api, body, kind, None)
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (422, "field.required", "venue"), kind)
            answer = post(api, body, kind, "venue=")
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (422, "field.empty", "venue"), kind)
            answer = post(api, body, kind, "venue=" + "v" * 129)
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (422, "field.length", "venue"), kind)
            equal(post(api, body, kind, "venue=%ff").code, "http.path_encoding")
            equal(post(api, body, kind, "venue=v&venue=w").code, "query.twice")
        equal(post(api, as_lines(tickets("b", 1)), LINES, "venue=v&pipeline=nobody").code, "request.unknown_pipeline")
        both = post(api, batch("v", tickets("b", 1)), query="venue=v")
        equal((both.status, both.code), (422, "body.query"), both)
        equal(counts(mintd), before)
        long = post(api, as_lines([ticket("c")]), LINES, "venue=" + "v" * 128)
        equal(long.status, 200, "128 bytes are allowed:")


@test
def what_is_wrong_is_said_with_its_line(folder):
    with started(folder, api={"max_ticket": "1 KiB", "max_items": 50}) as mintd:
        api = mintd.api()
        before = counts(mintd)
        good = json.dumps(ticket("a"))
        rows = (
            (LINES, f"{good}\n\n{{\n", 400, "json.syntax", "/tickets/1", 3),
            (LINES, f"{good}\n{good[:-1]},}}\n", 400, "json.syntax", "/tickets/1", 2),
            (LINES, f"{good}\n{good}", 422, "ticket.duplicate", "/tickets/1/id", 2),
            (LINES, f"{good}\n{json.dumps(ticket('b', pad=1024))}", 413, "ticket.too_large", "/tickets/1", 2),
            (LINES, as_lines(tickets("x", 51)).decode(), 413, "batch.too_many_tickets", "/tickets", 51),
            (LINES, f"\n{good}\n" + json.dumps({"id": "b" * 129, "ticketData": {}}), 422, "ticket.id", "/tickets/1/id", 3),
            (LINES, "\n\n", 422, "field.empty", "/tickets", None),
            (LINES, "", 400, "body.empty", None, None),
            (CSV, "id,tier\na,VIP\nb\n", 422, "csv.columns", "/tickets/1", 3),
            (CSV, "id,tier\n\"a\",\"two\nlines\"\nb,x\"y\n", 400, "csv.syntax", "/tickets/1", 4),
            (CSV, "id,tier\na,VIP\n\na,VIP\n", 422, "ticket.duplicate", "/tickets/1/id", 4),
            (CSV, "name\na\n", 422, "csv.header", None, 1),
            (CSV, "id,id\na,b\n", 422, "csv.header", None, 1),
            (CSV, "id,tier\n,VIP\n", 422, "field.empty", "/tickets/0/id", 2),
            (CSV, "id,tier\na," + "y" * 1024 + "\n", 413, "ticket.too_large", "/tickets/0", 2),
            (CSV, "id,tier\na,\udcff\n", 400, "csv.utf8", "/tickets/0", 2),
            (CSV, "id,tier\na,\0\n", 400, "csv.nul", "/tickets/0", 2),
            (CSV, "id\n", 422, "field.empty", "/tickets", None),
        )
        for kind, body, status, code, pointer, line in rows:
            answer = post(api, body.encode("utf-8", "surrogateescape"), kind)
            equal((answer.status, answer.code), (status, code), repr(body[:80]), answer)
            equal(answer.json["errors"][0]["pointer"] if "errors" in answer.json else None, pointer, answer)
            equal(f"(line {line})" in answer.json["detail"], line is not None, answer)
        equal(counts(mintd), before)
        equal(post(api, as_lines(tickets("t", 5)), LINES).status, 200)
        other = post(api, as_csv([ticket("t-000001", tier="no"), ticket("n"), ticket("t-000003", tier="no")]), CSV)
        equal((other.status, other.json["conflicts"]), (409, 2))
        equal([(row["pointer"], row["detail"][-8:]) for row in other.json["errors"]], [("/tickets/0", "(line 2)"), ("/tickets/2", "(line 4)")])


@test
def other_types_and_codings_are_refused(folder):
    with started(folder) as mintd:
        api = mintd.api()
        before = counts(mintd)
        body = batch("v", tickets("a", 2))
        for kind in ("text/plain", "application/xml", "text/csv; charset=latin1", "application/jsonx", "application/x-ndjson; x=y", ""):
            answer = post(api, body, kind)
            equal((answer.status, answer.code), (415, "http.content_type"), kind)
        for coding in ("br", "deflate", "gzip, gzip", "zstd"):
            answer = post(api, body, query=None, Content_Encoding=coding)
            equal((answer.status, answer.code, answer.headers["Accept-Encoding"]), (415, "http.content_encoding", "gzip"), coding)
        equal(counts(mintd), before)
        equal(post(api, body, "Application/JSON; charset=UTF-8", None, Content_Encoding="identity").status, 200)


@test
def damaged_gzip_is_refused(folder):
    with started(folder) as mintd:
        api = mintd.api()
        before = counts(mintd)
        packed = gzip.compress(as_lines(tickets("t", 40)))
        for name, body in (("cut short", packed[:-3]), ("half", packed[:len(packed) // 2]), ("a byte", packed[:1]), ("none", b""),
                           ("not packed", as_lines(tickets("t", 3))), ("zlib", zlib.compress(as_lines(tickets("t", 3)))),
                           ("checksum", packed[:-8] + b"\0\0\0\0" + packed[-4:]), ("something behind", packed + b"more")):
            answer = post(api, body, LINES, Content_Encoding="gzip")
            equal((answer.status, answer.code), (400, "body.gzip"), name, answer)
        equal(counts(mintd), before)
        two = gzip.compress(as_lines(tickets("t", 40))) + gzip.compress(as_lines(tickets("u", 2)))
        equal(post(api, two, LINES, Content_Encoding="gzip").json["summary"]["succeeded"], 42, "two members are one text:")


@test
def keys_are_bound_to_the_unpacked_text(folder):
    with started(folder) as mintd:
        api, text = mintd.api(), as_lines(tickets("t", 40))
        first = post(api, gzip.compress(text, 9), LINES, Content_Encoding="gzip", Idempotency_Key="k")
        equal(first.status, 200, first)
        for body, headers in ((gzip.compress(text, 1), {"Content_Encoding": "gzip"}), (text, {})):
            again = post(api, body, LINES, Idempotency_Key="k", **headers)
            equal((again.status, again.headers["Idempotency-Replayed"], again.json["batchId"]), (200, "true", first.json["batchId"]), again)
        other = post(api, gzip.compress(text + b"\n"), LINES, Content_Encoding="gzip", Idempotency_Key="k")
        equal((other.status, other.code), (422, "idempotency.other_body"))


@test
def limits_count_what_was_unpacked(folder):
    with started(folder, api={"max_body": "64 KiB", "max_ticket": "32 KiB"}) as mintd:
        api = mintd.api()
        before = counts(mintd)
        for extra, status in ((-1, 200), (0, 200), (1, 413)):
            text = as_lines(tickets(f"t{extra}", 3))
            body = text + b"\n" * (65536 + extra - len(text))
            for packed in (False, True):
                answer = post(api, gzip.compress(body) if packed else body, LINES, **({"Content_Encoding": "gzip"} if packed else {}))
                equal((answer.status, answer.code), (status, "body.too_large" if status == 413 else ""), extra, packed, answer)
                if status == 413:
                    check("65536" in answer.json["detail"] and "api.max_body" in answer.json["detail"], answer)
        equal(counts(mintd)["items"], before["items"] + 6)


def bomb(size):
    """size bytes of empty lines, packed"""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece, out = b"\n" * (1 << 20), []
    for _ in range(size >> 20):
        out.append(packer.compress(piece))
    out.append(packer.flush())
    return b"".join(out)


@test
def a_bomb_is_refused_in_bounded_memory_and_keeps_nobody_waiting(folder):
    with started(folder, api={"max_body": "64 MiB"}) as mintd:
        api = mintd.api()
        mintd.reset_peak()
        before = mintd.memory("VmRSS")
        body = bomb(1 << 30)
        check(len(body) < 1 << 21, len(body))
        worst, over = [0.0], threading.Event()

        def look():
            other = mintd.api()
            while not over.is_set():
                start = time.monotonic()
                equal(other.get("/livez", key=None).status, 200)
                worst[0] = max(worst[0], time.monotonic() - start)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        answer = post(api, body, LINES, Content_Encoding="gzip")
        over.set()
        watcher.join(10)
        equal((answer.status, answer.code), (413, "body.too_large"), answer)
        check(worst[0] < 0.3, "another client waited", worst[0])
        grown = mintd.memory() - before
        note(f"1 GiB in {len(body) >> 10} KiB: {grown} KiB more memory at the most, another client waited {worst[0] * 1000:.0f} ms")
        if not os.environ.get("MINTD_BUILD", "").endswith(("asan", "tsan")):
            check(grown < 4096, "memory grew by", grown, "KiB")
        long = gzip.compress(b'{"id":"' + b"x" * (1 << 26))
        equal(post(api, long, LINES, Content_Encoding="gzip").code, "ticket.too_large", "one endless line:")
        equal(post(api, gzip.compress(b'id,"' + b"x" * (1 << 26)), CSV, Content_Encoding="gzip").code, "ticket.too_large")
        equal(post(api, as_lines(tickets("t", 2)), LINES).status, 200)


@test
def a_hundred_thousand_rows_in_flat_memory(folder):
    with Daemon(folder, Config("null", mint={"maxConcurrentWorkers": 8})).start() as mintd:
        text = io.BytesIO()
        with gzip.GzipFile(fileobj=text, mode="wb", compresslevel=1) as packed:
            packed.write(b"id,userId,eventName,tier,seatNumber,note\r\n")
            for place in range(100000):
                packed.write(b'r-%06d,u-%d,Concert,Standing,%06d,"a ""quoted"" note of some length, %0100d"\r\n' % (place, place, place, place))
        link = http.client.HTTPConnection("127.0.0.1", mintd.port, timeout=120)
        link.request("POST", "/v1/batches?venue=v", text.getvalue(), {"x-admin-api-key": mintd.key, "Content-Type": CSV, "Content-Encoding": "gzip",
                                                                     "Prefer": "respond-async"})
        answer = link.getresponse()
        body = json.loads(answer.read())
        equal((answer.status, body["total"]), (202, 100000), body)
        peak = mintd.memory()
        note(f"{len(text.getvalue()) >> 10} KiB packed, peak RSS {peak / 1024:.1f} MiB")
        if not os.environ.get("MINTD_BUILD", "").endswith(("asan", "tsan")):
            check(peak <= 64 * 1024, "peak RSS", peak, "KiB")
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 100000)


if __name__ == "__main__":
    sys.exit(main())
