#!/usr/bin/python3
"""Lists through HTTP on the real daemon: pages and cursors, filters, NDJSON and CSV as streams, gzip, ETag, refusals."""
import csv
import gzip
import io
import json
import os
import sys
import time
from urllib.parse import quote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import BUILD, Daemon, ticket, tickets  # noqa: E402
from tap import check, equal, main, matches, test, until  # noqa: E402

LISTS = {"/v1/batches": "batches", "/v1/tickets": "tickets", "/admin/mints": "mints", "/v1/batches/1/tickets": "tickets"}


def pages(api, path, noun, **query):
    """All rows of a list, page by page, and how many pages there were."""
    rows, count, cursor = [], 0, None
    while True:
        asked = dict(query, **({"cursor": cursor} if cursor else {}))
        answer = api.get(path + "?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in asked.items()))
        equal(answer.status, 200, path, asked, answer)
        equal(set(answer.json) - {"next"}, {noun}, path)
        check(len(answer.json[noun]) <= int(query.get("limit", 10**6)), "a page is longer than its limit")
        rows += answer.json[noun]
        count += 1
        cursor = answer.json.get("next")
        if not cursor:
            return rows, count
        check(count < 1000, "the list has no end")


def lines(answer):
    return [json.loads(line) for line in answer.body.decode().splitlines()]


def table(answer):
    text = answer.body.decode()
    check(text.endswith("\r\n"), "RFC 4180 ends lines with CR LF")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def fill(api):
    """Three batches of two venues, two events and several outcomes; the state of each ticket."""
    first = tickets("a", 30) + [ticket("bad-1", seat="B1"), ticket("bad-2", seat="B2")]
    equal(api.mint("venue-1", first).status, 200)
    second = tickets("b", 25)
    for one in second:
        one["eventId"] = "event-2"
    equal(api.mint("venue-1", second, collection="Second").status, 200)
    equal(api.mint("venue-2", tickets("c", 20)).status, 200)
    states = {one["id"]: "failed" if one["id"].startswith("bad") else "minted" for one in first + second + tickets("c", 20)}
    return states


def daemon(folder, **groups):
    groups.setdefault("chain", {"fail_names": ["Concert B1", "Concert B2"]})
    return Daemon(folder, Config("solana-like", **groups)).start()


@test
def every_list_pages_through_all_rows_once_in_its_order(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        states = fill(api)
        for path in ("/v1/tickets", "/admin/mints"):
            for limit in (1, 7, 77, 1000):
                rows, count = pages(api, path, LISTS[path], limit=limit)
                equal({row["ticketId"]: row["state"] for row in rows}, states, path, limit)
                equal(len(rows), len(states), path, limit)
                check(count >= len(states) / limit, count, "pages")
        newest = [row["ticketId"] for row in pages(api, "/v1/tickets", "tickets")[0]]
        equal(newest[:20], [f"c-{n:06d}" for n in range(19, -1, -1)])
        for limit in (1, 2, 100):
            rows, _ = pages(api, "/v1/batches", "batches", limit=limit)
            equal([row["batchId"] for row in rows], ["3", "2", "1"], limit)
        rows, _ = pages(api, "/v1/batches/1/tickets", "tickets", limit=5)
        equal([row["ticketId"] for row in rows], [*(f"a-{n:06d}" for n in range(30)), "bad-1", "bad-2"])
        row = api.get("/v1/tickets?event=event-2&limit=1").json["tickets"][0]
        with mintd.store() as store:
            uri = store.one("SELECT uri FROM items WHERE ticket = ?", row["ticketId"])
        equal({name: row[name] for name in ("venueId", "eventId", "userId", "batchId", "state", "metadataUri", "collection", "pipeline")},
              {"venueId": "venue-1", "eventId": "event-2", "userId": f"user-{row['ticketId']}", "batchId": "2", "state": "minted",
               "metadataUri": uri, "collection": "Second", "pipeline": "tickets"})
        for name in ("signature", "asset", "network", "acceptedAt", "mintedAt"):
            check(row[name], name, row)
        failed = api.get("/admin/mints?state=failed").json["mints"]
        equal(sorted((row["ticketId"], row["state"], bool(row["code"]), bool(row["error"])) for row in failed),
              [("bad-1", "failed", True, True), ("bad-2", "failed", True, True)])


@test
def filters_select_exactly_what_they_say(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        states = fill(api)

        def found(limit=9, **query):
            return sorted(row["ticketId"] for row in pages(api, "/v1/tickets", "tickets", limit=limit, **query)[0])

        def those(wanted):
            return sorted(name for name in states if wanted(name))
        equal(found(venue="venue-1"), those(lambda name: name[0] in "ab"))
        equal(found(venue="venue-2"), those(lambda name: name[0] == "c"))
        equal(found(event="event-2"), those(lambda name: name[0] == "b" and name[:2] != "ba"))
        equal(found(state="failed"), ["bad-1", "bad-2"])
        equal(found(state="failed,minted"), sorted(states))
        equal(found(state="minted", venue="venue-1", event="event-1"), those(lambda name: name.startswith("a-")))
        equal(found(state="accepted"), [])
        equal(found(collection="Second"), those(lambda name: name.startswith("b-")))
        equal(found(chain="local"), sorted(states))
        network = api.get("/v1/tickets?limit=1").json["tickets"][0]["network"]
        equal(found(chain=network, limit=50), sorted(states))
        equal(found(chain="local", collection="venue-2"), those(lambda name: name[0] == "c"))
        with mintd.store() as store:
            at = dict(store.rows("SELECT id, created_at FROM requests"))
        middle = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at[2] // 1000)) + f".{at[2] % 1000:03d}Z"
        equal(found(to=middle), those(lambda name: name[:2] in ("a-", "ba")))
        equal(found(**{"from": middle}), those(lambda name: name[0] in "bc" and name[:2] != "ba"))
        for path, query, wanted in (("/v1/batches", {"to": middle}, ["1"]), ("/v1/batches", {"from": middle}, ["3", "2"]),
                                    ("/v1/batches", {"state": "partial"}, ["1"]), ("/v1/batches", {"state": "completed"}, ["3", "2"]),
                                    ("/v1/batches", {"state": "completed,partial", "venue": "venue-1"}, ["2", "1"]),
                                    ("/v1/batches", {"state": "running"}, []), ("/v1/batches", {"venue": "venue-2"}, ["3"])):
            for limit in (1, 50):
                equal([row["batchId"] for row in pages(api, path, "batches", limit=limit, **query)[0]], wanted, query)
        equal([row["ticketId"] for row in pages(api, "/v1/batches/1/tickets", "tickets", state="failed", limit=3)[0]], ["bad-1", "bad-2"])


@test
def a_state_that_passes_is_found_while_it_lasts(folder):
    with daemon(folder, chain={"latency": "20s"}) as mintd, mintd.api() as api:
        equal(api.mint("venue-1", tickets("t", 12), prefer="respond-async").status, 202)
        until(lambda: len(api.get("/v1/tickets?state=accepted,uploading,uploaded").json["tickets"]) == 12, 10, "all wait for their collection")
        equal(api.get("/v1/tickets?state=signed,landed,minted,failed").json, {"tickets": []})
        equal([row["batchId"] for row in api.get("/v1/batches?state=accepted,running").json["batches"]], ["1"])
        equal(api.get("/v1/batches?state=completed").json, {"batches": []})


@test
def pages_are_stable_while_others_insert(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        states = fill(api)
        seen, cursor, turn = [], "", 0
        while cursor is not None:
            answer = api.get(f"/v1/tickets?limit=6{cursor and '&cursor=' + cursor}").json
            seen += [row["ticketId"] for row in answer["tickets"]]
            cursor = answer.get("next")
            equal(api.mint(f"venue-{turn % 3}", tickets(f"new{turn}", 3)).status, 200)
            turn += 1
        equal(sorted(seen), sorted(states), "each ticket that was there at the first page, once")


@test
def a_cursor_outlives_the_process_and_serves_its_own_list_only(folder):
    with daemon(folder) as mintd:
        api = mintd.api()
        fill(api)
        own = {path: api.get(path + "?limit=1").json["next"] for path in LISTS}
        filtered = api.get("/v1/tickets?limit=1&venue=venue-1").json["next"]
        mintd.kill()
        mintd.start()
        for path, cursor in own.items():
            equal(api.get(f"{path}?limit=1&cursor={cursor}").status, 200, path)
            equal(api.get(f"{path}?limit=50&cursor={cursor}").status, 200, "another limit is no other list")
        strangers = [(path, cursor) for path in LISTS for other, cursor in own.items() if other != path]
        strangers += [("/v1/tickets", filtered), ("/v1/tickets?venue=venue-2", filtered), ("/v1/tickets?venue=venue-1&state=minted", filtered),
                      ("/v1/batches/2/tickets", own["/v1/batches/1/tickets"])]
        mine = own["/v1/tickets"]
        for place in range(0, len(mine), 3):
            strangers.append(("/v1/tickets", mine[:place] + ("A" if mine[place] != "A" else "B") + mine[place + 1:]))
        strangers += [("/v1/tickets", bad) for bad in (mine[:-1], mine + "A", "x", "AAAA", "0", "%00", "!" * 20, mine.lower(), "A" * 1500)]
        for path, cursor in strangers:
            answer = api.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}")
            equal((answer.status, answer.json["code"], answer.json["errors"][0]["pointer"]), (400, "query.cursor", "cursor"), path, cursor)


@test
def what_a_filter_does_not_know_is_refused_with_what_it_knows(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        fill(api)
        for path, query, pointer, wanted in (
                ("/v1/batches", "state=done", "state", "accepted, running, completed, partial, failed, cancelled"),
                ("/v1/tickets", "state=minted,gone", "state", "quarantined"), ("/v1/tickets", "state=minted,,failed", "state", "known are"),
                ("/v1/tickets", "state=", "state", "1 to"), ("/v1/batches/1/tickets", "state=running", "state", "signed"),
                ("/v1/tickets", "from=yesterday", "from", "RFC 3339"), ("/admin/mints", "to=2026-13-01T00:00:00Z", "to", "RFC 3339"),
                ("/v1/batches", "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "to", "later than from"),
                ("/v1/tickets", "chain=moon", "chain", "local"), ("/v1/tickets", "event=", "event", "1 to"),
                ("/v1/tickets", "venue=", "venue", "1 to 128")):
            answer = api.get(f"{path}?{query}")
            equal((answer.status, answer.json["code"]), (400, "query.value"), path, query)
            equal(answer.json["errors"][0]["pointer"], pointer)
            matches(answer.json["detail"], wanted)
        for path, query, status, code in (
                ("/v1/tickets", "venue=nowhere", 404, "venue.unknown"), ("/v1/tickets", "collection=none", 404, "collection.unknown"),
                ("/v1/batches", "venue=nowhere", 404, "venue.unknown"), ("/v1/batches/99/tickets", "", 404, "batch.unknown"),
                ("/v1/tickets", "limit=0", 400, "query.limit"), ("/v1/tickets", "limit=1001", 400, "query.limit"),
                ("/v1/batches", "limit=101", 400, "query.limit"), ("/v1/batches", "event=e", 400, "query.unknown"),
                ("/admin/mints", "stat=failed", 400, "query.unknown"), ("/admin/mints", "state=failed&state=minted", 400, "query.twice")):
            answer = api.get(f"{path}?{query}")
            equal((answer.status, answer.code), (status, code), path, query)


@test
def ndjson_and_csv_hold_the_whole_list(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        states = fill(api)
        api.mint("venue-1", tickets("many", 900), prefer="respond-async")
        api.follow("/v1/batches/4")
        states.update({f"many-{n:06d}": "minted" for n in range(900)})
        for path, noun in LISTS.items():
            rows, _ = pages(api, path, noun)
            stream = api.get(path, headers={"Accept": "application/x-ndjson"})
            equal((stream.status, stream.headers["Content-Type"]), (200, "application/x-ndjson"))
            equal(lines(stream), rows, path)
            sheet = api.get(path, headers={"Accept": "text/csv"})
            equal(sheet.headers["Content-Type"], "text/csv; charset=utf-8; header=present")
            key = "batchId" if noun == "batches" else "ticketId"
            equal([row[key] for row in table(sheet)], [row[key] for row in rows], path)
            equal([row["state"] for row in table(sheet)], [row["state"] for row in rows], path)
        equal({row["ticketId"]: row["state"] for row in lines(api.get("/v1/tickets", headers={"Accept": "application/x-ndjson"}))}, states)
        sheet = table(api.get("/v1/tickets?venue=venue-1&state=failed", headers={"Accept": "text/csv"}))
        equal(sorted(row["ticketId"] for row in sheet), ["bad-1", "bad-2"])
        equal(table(api.get("/v1/tickets?state=accepted", headers={"Accept": "text/csv"})), [], "an empty list has a head line alone")
        equal(api.get("/v1/tickets?state=accepted", headers={"Accept": "application/x-ndjson"}).body, b"")
        equal(len(table(api.get("/v1/tickets?limit=450", headers={"Accept": "text/csv"}))), 450, "limit ends a stream")
        batch = table(api.get("/v1/batches?venue=venue-1", headers={"Accept": "text/csv"}))[-1]
        equal({name: batch[name] for name in ("batchId", "venueId", "state", "total", "minted", "failed", "open")},
              {"batchId": "1", "venueId": "venue-1", "state": "partial", "total": "32", "minted": "30", "failed": "2", "open": "0"})


@test
def csv_is_quoted_and_runs_no_formula(folder):
    names = ["=1+1", "+49", "-x", "@sum", "a,b", 'q"uote', "'", "ümläut", " plain ", "a;b", "=\"a\",b"]
    with daemon(folder) as mintd, mintd.api() as api:
        items = [ticket(name, seat=f"s{place}") for place, name in enumerate(names)]
        answer = api.mint("venue-1", items)
        equal(answer.status, 200, answer)
        sheet = api.get("/v1/batches/1/tickets", headers={"Accept": "text/csv"})
        got = [row["ticketId"] for row in table(sheet)]
        equal(got, [("'" + name if name[0] in "=+-@\t\r" else name) for name in names])
        check(b"\n=" not in sheet.body and b'\n"=' not in sheet.body, "a cell begins with =")
        equal([row["ticketId"] for row in lines(api.get("/v1/batches/1/tickets", headers={"Accept": "application/x-ndjson"}))], names)


@test
def accept_decides_and_what_is_not_there_is_refused(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        fill(api)
        for accept, wanted in (("*/*", "application/json"), ("application/*", "application/json"), ("text/*", "text/csv"),
                               ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"), ("text/csv, application/json", "application/json"),
                               ("text/csv, */*;q=0.1", "text/csv"), ("application/json;q=0, */*", "application/x-ndjson"),
                               ("text/html, application/xml;q=0.9, */*;q=0.8", "application/json"), ("TEXT/CSV", "text/csv")):
            answer = api.get("/v1/tickets", headers={"Accept": accept})
            equal((answer.status, answer.headers["Content-Type"].split(";")[0]), (200, wanted), accept)
            matches(answer.headers["Vary"], "Accept, Accept-Encoding")
        for accept in ("text/html", "application/json;q=0", "image/*", "text/csvx", "*/*;q=0"):
            answer = api.get("/v1/tickets", headers={"Accept": accept})
            equal((answer.status, answer.code), (406, "http.accept"), accept)
            matches(answer.json["detail"], "application/json, application/x-ndjson, text/csv")
        equal(api.get("/v1/batches/1", headers={"Accept": "text/csv"}).code, "http.accept", "one document is no list")
        equal(api.get("/v1/tickets?limit=9999", headers={"Accept": "text/csv"}).status, 400, "refused before the first line")


@test
def gzip_is_used_where_it_is_allowed_and_worth_it(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        fill(api)
        for accept in ("application/json", "text/csv", "application/x-ndjson"):
            plain = api.get("/v1/tickets", headers={"Accept": accept})
            for coding in ("gzip", "deflate, gzip;q=0.5", "*", "x-gzip"):
                small = api.get("/v1/tickets", headers={"Accept": accept, "Accept-Encoding": coding})
                equal(small.headers["Content-Encoding"], "gzip", accept, coding)
                equal(gzip.decompress(small.body), plain.body)
                check(len(small.body) < len(plain.body) / 3, len(small.body), "of", len(plain.body))
            for coding in ("identity", "gzip;q=0", "br", "*;q=0", "gzip;q=0, *"):
                equal(api.get("/v1/tickets", headers={"Accept": accept, "Accept-Encoding": coding}).headers["Content-Encoding"], None, coding)
        equal(api.get("/v1/tickets?limit=1", headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"], None, "under 1 KiB")
        metrics = api.get("/metrics", headers={"Accept-Encoding": "gzip"})
        matches(gzip.decompress(metrics.body).decode(), "minting_batch_size")


@test
def who_knows_a_document_gets_304(folder):
    with daemon(folder) as mintd, mintd.api() as api:
        fill(api)
        for path in ("/v1/batches/1", "/v1/batches", "/v1/tickets?limit=5", "/admin/mints/a-000001", "/v1/venues/venue-1/tickets/a-000001",
                     "/v1/batches/1/tickets"):
            answer = api.get(path)
            tag = answer.headers["ETag"]
            matches(tag, r'^W/"[0-9a-f]{24}"$')
            equal(answer.headers["Cache-Control"], "no-store")
            for known in (tag, tag[2:], f'"other", {tag}', "*", f'W/"a,b",{tag}'):
                again = api.get(path, headers={"If-None-Match": known, "Accept-Encoding": "gzip"})
                equal((again.status, again.body, again.headers["ETag"]), (304, b"", tag), path, known)
            equal(api.get(path, headers={"If-None-Match": '"other"'}).body, answer.body)
            head = api.call("HEAD", path)
            equal((head.status, head.body, head.headers["ETag"], head.headers["Content-Length"]), (200, b"", tag, str(len(answer.body))))
        tag = api.get("/v1/batches").headers["ETag"]
        equal(api.mint("venue-1", tickets("later", 2)).status, 200)
        equal(api.get("/v1/batches", headers={"If-None-Match": tag}).status, 200, "it changed")
        head = api.call("HEAD", "/v1/tickets", headers={"Accept": "text/csv"})
        equal((head.status, head.body, head.headers["Content-Type"].split(";")[0]), (200, b"", "text/csv"))


@test
def a_large_export_to_a_slow_reader_needs_little_memory(folder):
    import socket
    with Daemon(folder, Config("null", api={"max_items": 100000})).start() as mintd:
        api = mintd.api(timeout=120)
        for turn in range(2):
            answer = api.mint("venue-1", tickets(f"t{turn}", 20000, pad=200), prefer="respond-async")
            equal(answer.status, 202, answer)
        for turn in range(2):
            api.follow(f"/v1/batches/{turn + 1}", timeout=120)
        mintd.reset_peak()
        before = mintd.memory("VmRSS")
        with socket.create_connection(("127.0.0.1", mintd.port), timeout=30) as link:
            link.sendall(f"GET /v1/tickets HTTP/1.0\r\nx-admin-api-key: {mintd.key}\r\nAccept: text/csv\r\n\r\n".encode())
            time.sleep(1)
            equal(api.get("/livez").status, 200, "others are served meanwhile")
            body, turn = b"", 0
            pieces = []
            while True:
                piece = link.recv(65536)
                if not piece:
                    break
                pieces.append(piece)
                turn += 1
                if turn % 16 == 0:
                    time.sleep(0.001)
            body = b"".join(pieces).split(b"\r\n\r\n", 1)[1]
        equal(body.count(b"\r\n"), 40001)
        grown = mintd.memory("VmHWM") - before
        check(BUILD.endswith(("asan", "tsan")) or grown < 16 * 1024, "the export took", grown, "KiB")


@test
def the_end_of_the_daemon_shows_in_a_stream(folder):
    import http.client
    with Daemon(folder, Config("null", api={"max_items": 100000})).start() as mintd:
        api = mintd.api(timeout=60)
        api.mint("venue-1", tickets("t", 30000), prefer="respond-async")
        api.follow("/v1/batches/1", timeout=60)
        link = http.client.HTTPConnection("127.0.0.1", mintd.port, timeout=20)
        link.request("GET", "/v1/tickets", headers={"x-admin-api-key": mintd.key, "Accept": "application/x-ndjson"})
        answer = link.getresponse()
        answer.read(1000)
        start = time.monotonic()
        equal(mintd.stop(), 0)
        check(time.monotonic() - start < 5, "the stream held up the end")
        try:
            answer.read()
            torn = False
        except (http.client.IncompleteRead, ConnectionError):
            torn = True
        check(torn, "a part of the list looked like the whole")


if __name__ == "__main__":
    sys.exit(main())
