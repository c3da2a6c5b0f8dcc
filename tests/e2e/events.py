#!/usr/bin/python3
"""Events through HTTP on the real daemon: the list, streams (SSE) of a batch and of everything, resuming, leaving, limits."""
import json
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import BUILD, Daemon, tickets  # noqa: E402
from tap import check, equal, main, matches, test, until  # noqa: E402


SANITIZED = BUILD.endswith(("asan", "tsan"))                # whose memory and time say nothing


class Stream:
    """One listener: its own reader of HTTP/1.1 chunks and of the event stream format."""

    def __init__(self, mintd, path, last=None, timeout=15, key=None, room=None):
        self.link = socket.socket()
        self.link.settimeout(timeout)
        if room:
            self.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.link.connect(("127.0.0.1", mintd.port))
        self.end = time.monotonic() + 2 * timeout
        more = f"Last-Event-ID: {last}\r\n" if last else ""
        self.link.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nx-admin-api-key: {key or mintd.key}\r\n"
                          f"Accept: text/event-stream\r\n{more}\r\n".encode())
        self.file = self.link.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline().strip()):
            name, value = line.decode().split(": ", 1)
            self.headers[name.lower()] = value
        self.text, self.last, self.comments, self.retry, self.whole = b"", last, 0, None, False

    def body(self):
        return self.file.read(int(self.headers["content-length"])).decode()

    def _chunk(self):
        size = self.file.readline()
        if not size:
            return b""
        size = int(size, 16)
        data = self.file.read(size)
        self.file.readline()
        self.whole = self.whole or size == 0
        return data

    def __iter__(self):
        """(event, data) until the stream ends; whole says whether it ended as it should"""
        while True:
            while b"\n\n" not in self.text:
                check(time.monotonic() < self.end, "nothing but signs of life")
                try:
                    chunk = self._chunk()
                except (ConnectionError, ValueError):
                    chunk = b""
                if not chunk:
                    return
                self.text += chunk
            block, self.text = self.text.split(b"\n\n", 1)
            event, data = None, None
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments += 1
                elif name == "id":
                    self.last = value
                elif name == "event":
                    event = value
                elif name == "data":
                    data = json.loads(value)
                elif name == "retry":
                    self.retry = int(value)
                else:
                    raise AssertionError(f"odd line {line!r}")
            if event:
                yield event, data

    def until(self, kind, count=1):
        """Everything up to the count-th event of this kind."""
        got = []
        for event, data in self:
            got.append((event, data))
            count -= event == kind
            if not count:
                return got
        raise AssertionError(f"the stream ended before {kind}: {[event for event, _ in got]}")

    def close(self):
        self.file.close()
        self.link.close()


def stored(got):
    """Those that are rows of the store, by their place."""
    return [(data["slot"], data["number"]) for event, data in got if event not in ("progress", "finished")]


def rows(mintd, where="1"):
    with mintd.store() as store:
        return [tuple(row) for row in store.rows(f"SELECT slot, seq FROM events WHERE {where} ORDER BY slot, seq")]


@test
def a_batch_is_followed_to_its_end(folder):
    with Daemon(folder, Config("solana-like", chain={"fail_names": ["Concert t-3"]})).start() as mintd:
        answer = mintd.api().mint("venue-1", tickets("t", 40)[:3] + tickets("t", 40)[4:], prefer="respond-async")
        equal(answer.status, 202)
        stream = Stream(mintd, "/v1/batches/1/events")
        equal((stream.status, stream.headers["content-type"]), (200, "text/event-stream"))
        got = list(stream)
        check(stream.whole, "the stream was torn")
        equal(stream.retry, 2000)
        equal(got[0][0], "request.accepted")
        equal((got[0][1]["batchId"], got[0][1]["venueId"], got[0][1]["subjectKind"]), ("1", "venue-1", "batch"))
        equal([event for event, _ in got].count("finished"), 1)
        equal(got[-1], ("finished", {"batchId": "1", "venueId": "venue-1", "state": "completed", "total": 39, "open": 0, "quarantined": 0,
                                     "minted": 39, "failed": 0, "cancelled": 0}))
        progress = [data["minted"] for event, data in got if event == "progress"]
        equal(progress, sorted(progress), "counters only grow here")
        check(progress and progress[-1] == 39, progress)
        equal(stored(got), rows(mintd, "request = 1"))
        again = list(Stream(mintd, "/v1/batches/1/events"))
        equal(stored(again), stored(got), "a settled batch tells its story and ends")
        equal(again[-1], got[-1])
        resumed = list(Stream(mintd, "/v1/batches/1/events", last=stream.last))
        equal([event for event, _ in resumed], ["progress", "finished"])


@test
def the_end_comes_after_the_last_event(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        for turn in range(1, 15):
            api.mint("venue-1", tickets(f"t{turn}", 12), prefer="respond-async")
            got = list(Stream(mintd, f"/v1/batches/{turn}/events"))
            equal(stored(got), [place for place in rows(mintd, f"request = {turn} AND kind <> 'request.finished'")]
                  + [place for place in rows(mintd, f"request = {turn} AND kind = 'request.finished'") if place in stored(got)], turn)
            equal(got[-1][0], "finished")


@test
def progress_comes_at_most_four_times_a_second(folder):
    with Daemon(folder, Config("solana-like", mint={"window": 2, "window_max": 2})).start() as mintd:
        mintd.api().mint("venue-1", tickets("t", 120), prefer="respond-async")
        stream, times = Stream(mintd, "/v1/batches/1/events"), []
        start = time.monotonic()
        for event, _ in stream:
            if event == "progress":
                times.append(time.monotonic())
        took = time.monotonic() - start
        check(took > 1, "too quick to tell:", took)
        check(2 < len(times) <= took * 4 + 3, len(times), "in", took, "s")


@test
def cancelled_and_retried_show_and_the_stream_of_all_sees_everything(folder):
    with Daemon(folder, Config("solana-like", chain={"latency": "1s"}, mint={"window": 1, "window_max": 1})).start() as mintd:
        api = mintd.api()
        every, mine = Stream(mintd, "/v1/events"), Stream(mintd, "/v1/events?venue=venue-1&kind=request.*,chunk.cancelled") \
            if api.mint("venue-1", tickets("first", 1)).status == 200 else None
        where = api.mint("venue-1", tickets("t", 32), prefer="respond-async").headers["Location"]
        batch = Stream(mintd, where + "/events", timeout=30)
        until(lambda: api.get(where).json["items"]["minted"], 20, "the first are minted")
        equal(api.call("POST", where + "/cancel").status, 200)
        got = list(batch)
        kinds = [event for event, _ in got]
        check("chunk.cancelled" in kinds and got[-1][1]["cancelled"] > 0, kinds)
        state = api.get(where).json
        equal((got[-1][1]["minted"], got[-1][1]["cancelled"]), (state["items"]["minted"], state["items"]["cancelled"]))
        retried = api.call("POST", where + "/retry").json["tickets"]
        check(retried > 0)
        more = Stream(mintd, where + "/events", last=batch.last, timeout=60)
        rest = list(more)
        check("chunk.retried" in [event for event, _ in rest], rest)
        equal(rest[-1][1]["minted"], 32)
        equal(stored(got) + stored(rest), rows(mintd, "request = 2"))
        api.mint("venue-2", tickets("last", 1))
        seen = every.until("request.finished", 3)
        equal(stored(seen), rows(mintd)[-len(stored(seen)):] if len(rows(mintd)) >= len(stored(seen)) else None)
        mine.link.settimeout(2)
        kinds = []
        try:
            for event, data in mine:
                kinds.append(event)
                equal(data["venueId"], "venue-1")
        except TimeoutError:
            pass
        check(kinds and all(kind.startswith("request.") or kind == "chunk.cancelled" for kind in kinds), kinds)


def resume_across_kills(folder, path, mint, expected):
    """Everything a listener got over several lives of the daemon."""
    with Daemon(folder, Config("solana-like", mint={"window": 3, "window_max": 3})).start() as mintd:
        mint(mintd.api())
        got, last = [], "0"
        for life in range(6):
            stream = Stream(mintd, path, last=last, timeout=30)
            equal(stream.status, 200, stream.headers)
            killer = threading.Timer(0.25 + 0.13 * life, lambda: mintd.process.send_signal(signal.SIGKILL)) if life < 5 else None
            if killer:
                killer.start()
            over = life == 5 and any(event == "request.finished" for event, _ in got) and "/batches/" not in path
            for event, data in [] if over else stream:     # everything was told in an earlier life
                got.append((event, data))
                if event == "finished" or (life == 5 and event == "request.finished" and "/batches/" not in path):
                    break
            last = stream.last
            stream.close()
            if killer:
                killer.join()
                mintd.process.wait()
                mintd.start()
        equal(stored(got), expected(mintd))
        equal(len(set(stored(got))), len(got) - sum(event in ("progress", "finished") for event, _ in got), "nothing comes twice")


@test
def a_batch_resumed_after_kills_loses_and_repeats_nothing(folder):
    resume_across_kills(folder, "/v1/batches/1/events", lambda api: api.mint("venue-1", tickets("t", 200), prefer="respond-async"),
                        lambda mintd: rows(mintd, "request = 1 AND kind <> 'request.finished'")
                        + [place for place in rows(mintd, "request = 1 AND kind = 'request.finished'")])


@test
def the_stream_of_all_resumed_after_kills_loses_and_repeats_nothing(folder):
    resume_across_kills(folder, "/v1/events", lambda api: api.mint("venue-1", tickets("t", 200), prefer="respond-async"),
                        lambda mintd: rows(mintd))


@test
def the_list_of_events_pages_and_filters(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        api.mint("venue-1", tickets("a", 30))
        api.mint("venue-2", tickets("b", 30))
        for path, where in (("/v1/events", "1"), ("/v1/events?venue=venue-2", "venue = 2"), ("/v1/events?kind=chunk.*", "kind LIKE 'chunk.%'"),
                            ("/v1/events?kind=request.accepted,request.finished", "kind LIKE 'request.%'"), ("/v1/batches/2/events", "request = 2"),
                            ("/v1/events?kind=nothing", "0")):
            until(lambda: len(rows(mintd, "kind = 'request.finished'")) == 2, 5, "both ended")
            for limit in (1, 7, 1000):
                got, cursor = [], ""
                while cursor is not None:
                    answer = api.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor and '&cursor=' + cursor}")
                    equal(answer.status, 200, answer)
                    got += answer.json["events"]
                    cursor = answer.json.get("next")
                equal([(row["slot"], row["number"]) for row in got], rows(mintd, where), path, limit)
            lines = api.get(path, headers={"Accept": "application/x-ndjson"}).body.splitlines()
            equal([json.loads(line) for line in lines], got, path)
            sheet = api.get(path, headers={"Accept": "text/csv"}).text.split("\r\n")
            equal(sheet[0], "slot,number,kind,at,venueId,batchId,subjectKind,subject,body")
            equal(len(sheet), len(got) + 2)
        row = api.get("/v1/batches/1/events?limit=1").json["events"][0]
        equal({name: row[name] for name in ("kind", "venueId", "batchId", "subjectKind", "subject")},
              {"kind": "request.accepted", "venueId": "venue-1", "batchId": "1", "subjectKind": "batch", "subject": "1"})


@test
def what_a_stream_refuses(folder):
    with Daemon(folder, Config("solana-like", api={"max_streams": 2})).start() as mintd:
        api = mintd.api()
        api.mint("venue-1", tickets("a", 3))
        for last in ("x", "1", "1.", ".1", "1.0", "0.1", "1.5-1.6", "1.5-", "-1", "1.99999999999999999999", "99999999999.1", "1.5 ", "1.1e3",
                     "-".join(f"{slot}.1" for slot in range(1, 70))):
            stream = Stream(mintd, "/v1/events", last=last)
            body = json.loads(stream.body())
            equal((stream.status, body["code"], body["errors"][0]["pointer"]), (400, "events.id", "Last-Event-ID"), last)
        for last in ("1.999999", "7.1"):
            body = json.loads(Stream(mintd, "/v1/batches/1/events", last=last).body())
            equal(body["code"], "events.id")
            matches(body["detail"], "does not have")
        for path, status, code in (("/v1/batches/9/events", 404, "batch.unknown"), ("/v1/batches/x/events", 404, "batch.unknown"),
                                   ("/v1/events?venue=none", 404, "venue.unknown"), ("/v1/events?kind=A", 400, "query.value"),
                                   ("/v1/events?cursor=x", 400, "query.value"), ("/v1/events?limit=5", 400, "query.value"),
                                   ("/v1/events?from=now", 400, "query.unknown")):
            stream = Stream(mintd, path)
            equal((stream.status, json.loads(stream.body())["code"]), (status, code), path)
        equal(api.get("/v1/events", headers={"Accept": "text/event-stream"}, key=None).status, 401)
        held = [Stream(mintd, "/v1/events") for _ in range(2)]
        third = Stream(mintd, "/v1/events")
        equal((third.status, json.loads(third.body())["code"], third.headers["retry-after"]), (503, "server.streams", "5"))
        equal(api.get("/v1/events").status, 200, "the list is no stream")
        held[0].close()
        until(lambda: Stream(mintd, "/v1/events").status == 200, 20, "the place of one that left is free")
        head = api.call("HEAD", "/v1/events", headers={"Accept": "text/event-stream"})
        equal(head.body, b"")


@test
def a_key_of_one_venue_hears_of_that_venue_alone(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        key = api.call("POST", "/v1/keys", json.dumps({"name": "shop", "scope": "read", "venue": "venue-1"})).json["key"]
        api.mint("venue-1", tickets("a", 3))
        api.mint("venue-2", tickets("b", 3))
        refused = Stream(mintd, "/v1/batches/2/events", key=key)
        equal((refused.status, json.loads(refused.body())["code"]), (403, "auth.venue"))
        every = Stream(mintd, "/v1/events", last="0", key=key)
        api.mint("venue-2", tickets("c", 3))
        api.mint("venue-1", tickets("d", 3))
        got = every.until("request.finished", 2)
        equal({data["venueId"] for _, data in got}, {"venue-1"})
        equal(stored(got), rows(mintd, f"venue = 1 AND seq <= {got[-1][1]['number']}"))


@test
def a_sign_of_life_comes_while_nothing_happens_and_who_leaves_is_noticed(folder):
    with Daemon(folder, Config("solana-like", api={"sse_heartbeat": "200ms"})).start() as mintd:
        stream = Stream(mintd, "/v1/events", timeout=1)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            stream.text += stream._chunk()
        check(5 <= stream.text.count(b":\n\n") <= 9, stream.text)
        idle = mintd.cpu()
        time.sleep(1)
        check(mintd.cpu() - idle < 0.2, "a listener keeps the daemon busy")
        stream.close()
        until(lambda: "left" in mintd.log or mintd.api().metrics().sum("mintd_http_in_flight") <= 1, 20, "the listener that left is noticed")


@test
def the_end_of_the_daemon_ends_streams_as_a_whole(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        streams = [Stream(mintd, "/v1/events") for _ in range(20)]
        start = time.monotonic()
        mintd.signal(signal.SIGTERM)
        for stream in streams:
            equal(list(stream), [])
            check(stream.whole, "a stream was torn by the end")
        equal(mintd.wait(), 0)
        check(time.monotonic() - start < 5)


@test
def a_slow_listener_misses_nothing_and_costs_little(folder):
    with Daemon(folder, Config("null", api={"max_items": 100000})).start() as mintd:
        api = mintd.api(timeout=60)
        slow = Stream(mintd, "/v1/events", last="0", timeout=60, room=4096)
        mintd.reset_peak()
        before = mintd.memory("VmRSS")
        for turn in range(3):
            api.mint("venue-1", tickets(f"t{turn}", 10000), prefer="respond-async")
        for turn in range(3):
            api.follow(f"/v1/batches/{turn + 1}", timeout=60)
        check(len(rows(mintd)) > 2000, "too few events to fill the sockets:", len(rows(mintd)))
        grown = mintd.memory("VmRSS") - before
        got = slow.until("request.finished", 3)
        equal(stored(got), [place for place in rows(mintd) if place <= stored(got)[-1]])
        mintd.api().mint("venue-2", tickets("later", 2))
        equal([data["venueId"] for _, data in slow.until("request.finished")][-1], "venue-2", "it goes on live")
        check(SANITIZED or grown < 64 * 1024, grown, "KiB")


@test
def a_thousand_listeners(folder):
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    config = Config("solana-like", api={"max_connections": 1500, "max_connections_per_ip": 1500, "max_streams": count})
    with Daemon(folder, config).start() as mintd:
        api = mintd.api()
        where = api.mint("venue-1", tickets("first", 4), prefer="respond-async").headers["Location"]
        api.follow(where)
        before = mintd.memory("VmRSS")
        ask = (f"GET /v1/events HTTP/1.1\r\nHost: x\r\nx-admin-api-key: {mintd.key}\r\nAccept: text/event-stream\r\n\r\n").encode()
        links = []
        for _ in range(count):
            link = socket.create_connection(("127.0.0.1", mintd.port), timeout=30)
            link.sendall(ask)
            links.append(link)
        got = {link: b"" for link in links}
        with selectors.DefaultSelector() as ready:
            for link in links:
                link.setblocking(False)
                ready.register(link, selectors.EVENT_READ)

            def gather(enough, seconds):
                end = time.monotonic() + seconds
                while not all(enough(text) for text in got.values()) and time.monotonic() < end:
                    for key, _ in ready.select(1):
                        got[key.fileobj] += key.fileobj.recv(65536)
                return sum(bool(enough(text)) for text in got.values())
            equal(gather(lambda text: b"retry" in text, 30), count, "streams opened")
            check(SANITIZED or mintd.memory("VmRSS") - before < count * 64, "KiB per listener:", (mintd.memory("VmRSS") - before) / count)
            time.sleep(0.2)
            used, start = mintd.cpu(), time.monotonic()
            api.mint("venue-1", tickets("t", 40))
            equal(gather(lambda text: text.count(b"event: request.finished") >= 1, 30), count, "heard the end")
            took = time.monotonic() - start
            check(SANITIZED or mintd.cpu() - used < 5, "CPU", mintd.cpu() - used)
        for link in links:
            link.close()
        check(took < 10, "took", took)
        equal(mintd.stop(), 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    sys.exit(main())
