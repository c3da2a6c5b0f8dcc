#!/usr/bin/python3
"""JSON that parsers disagree about, with the verdict of this one: status, code and pointer, the same whether the body comes whole, in
chunks, or cut anywhere; what is refused changes no row, what is taken arrives in the metadata as it was sent."""
import http.client
import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Daemon  # noqa: E402
from tap import check, equal, main, note, test  # noqa: E402

TABLES = ("venues", "collections", "requests", "items", "chunks", "events")


def body(data, before=b"", behind=b""):
    """A batch of two tickets; the second has this text as its ticketData."""
    data = data if isinstance(data, bytes) else data.encode()
    return (b'{"venueId":"v","tickets":[{"id":"first","ticketData":{"seatNumber":"1"}},{"id":"odd","ticketData":' + data + b"}" + before
            + b"]}" + behind)


def nested(depth, kind="["):
    """So many levels below ticketData, which is the fourth itself."""
    if kind == "[":
        return '{"x":' + "[" * depth + "]" * depth + "}"
    return '{"x":' + '{"y":' * depth + "1" + "}" * depth + "}"


def members(count):
    return "{" + ",".join(f'"m{n}":{n}' for n in range(count)) + "}"


AT = "/tickets/1/ticketData"
SYNTAX = (400, "json.syntax")
REFUSED = {
    # what json-c lets pass even when it is told to be strict
    "single quotes": (body("{'x':'a'}"), *SYNTAX, AT),
    "single quotes around a value": (body('{"x":\'a\'}'), *SYNTAX, AT + "/x"),
    "NaN": (body('{"x":NaN}'), *SYNTAX, AT + "/x"),
    "nan": (body('{"x":nan}'), *SYNTAX, AT + "/x"),
    "Infinity": (body('{"x":Infinity}'), *SYNTAX, AT + "/x"),
    "minus Infinity": (body('{"x":-Infinity}'), *SYNTAX, AT + "/x"),
    "True": (body('{"x":True}'), *SYNTAX, AT + "/x"),
    "a duplicate key": (body('{"x":1,"x":1}'), 400, "json.duplicate_key", AT + "/x"),
    "a duplicate key, escaped": (body('{"x":1,"\\u0078":1}'), 400, "json.duplicate_key", AT + "/x"),
    "a duplicate key further in": (body('{"x":[{"y":1,"y":2}]}'), 400, "json.duplicate_key", AT + "/x/0/y"),
    "a duplicate member of a ticket": (body('{},"id":"other"'), 400, "json.duplicate_key", "/tickets/1/id"),
    "a duplicate member of the head": (b'{"venueId":"v","venueId":"w","tickets":[]}', 400, "json.duplicate_key", "/venueId"),
    # numbers
    "beyond double": (body('{"x":1e309}'), 400, "json.number", AT + "/x"),
    "beyond double, negative": (body('{"x":-1e309}'), 400, "json.number", AT + "/x"),
    "beyond double in an array": (body('{"x":[1,2e400]}'), 400, "json.number", AT + "/x/1"),
    "65 characters": (body('{"x":' + "1" * 65 + "}"), 400, "json.number", AT + "/x"),
    "a leading zero": (body('{"x":01}'), *SYNTAX, AT + "/x"),
    "a leading plus": (body('{"x":+1}'), *SYNTAX, AT + "/x"),
    "a leading point": (body('{"x":.5}'), *SYNTAX, AT + "/x"),
    "a trailing point": (body('{"x":5.}'), *SYNTAX, AT + "/x"),
    "an empty exponent": (body('{"x":1e}'), *SYNTAX, AT + "/x"),
    "hexadecimal": (body('{"x":0x10}'), *SYNTAX, AT),
    "minus alone": (body('{"x":-}'), *SYNTAX, AT + "/x"),
    # punctuation
    "a trailing comma in an object": (body('{"x":1,}'), *SYNTAX, AT),
    "a trailing comma in an array": (body('{"x":[1,]}'), *SYNTAX, AT + "/x/1"),
    "a trailing comma behind the tickets": (body("{}", before=b","), *SYNTAX, "/tickets/2"),
    "a comma alone": (body("{,}"), *SYNTAX, AT),
    "two commas": (body('{"x":[1,,2]}'), *SYNTAX, AT + "/x/1"),
    "no comma": (body('{"x":1 "y":2}'), *SYNTAX, AT),
    "no colon": (body('{"x" 1}'), *SYNTAX, AT + "/x"),
    "a key without quotes": (body("{x:1}"), *SYNTAX, AT),
    "a comment": (body('{"x":1/* one */}'), *SYNTAX, AT),
    "a line comment": (body('{"x":1 // one\n}'), *SYNTAX, AT),
    "a comment behind": (body("{}", behind=b"// end"), *SYNTAX, None),
    "brackets that do not pair": (body('{"x":[1}'), *SYNTAX, AT + "/x"),
    # strings
    "a line break in a string": (body('{"x":"a\nb"}'), *SYNTAX, AT + "/x"),
    "a tab in a string": (body('{"x":"a\tb"}'), *SYNTAX, AT + "/x"),
    "an escape nobody knows": (body('{"x":"\\x41"}'), *SYNTAX, AT + "/x"),
    "a short escape": (body('{"x":"\\u00"}'), *SYNTAX, AT + "/x"),
    "a NUL by escape": (body('{"x":"a\\u0000b"}'), 400, "json.nul", AT + "/x"),
    "a NUL by escape in a key": (body('{"a\\u0000":1}'), 400, "json.nul", AT),
    "a NUL": (body(b'{"x":"a\0b"}'), *SYNTAX, AT + "/x"),
    "a NUL between": (body(b'{"x":1\0}'), *SYNTAX, AT),
    "half a surrogate pair": (body('{"x":"\\ud800"}'), 400, "json.surrogate", AT + "/x"),
    "the other half": (body('{"x":"\\udc00"}'), 400, "json.surrogate", AT + "/x"),
    "two first halves": (body('{"x":"\\ud800\\ud800"}'), 400, "json.surrogate", AT + "/x"),
    "a half before text": (body('{"x":"\\ud83dx"}'), 400, "json.surrogate", AT + "/x"),
    "invalid UTF-8": (body(b'{"x":"\xff"}'), 400, "json.utf8", AT + "/x"),
    "overlong UTF-8": (body(b'{"x":"\xc0\xaf"}'), 400, "json.utf8", AT + "/x"),
    "a surrogate in UTF-8": (body(b'{"x":"\xed\xa0\x80"}'), 400, "json.utf8", AT + "/x"),
    "beyond Unicode": (body(b'{"x":"\xf4\x90\x80\x80"}'), 400, "json.utf8", AT + "/x"),
    "UTF-8 cut short": (body(b'{"x":"\xe2\x82"}'), 400, "json.utf8", AT + "/x"),
    "UTF-8 cut short in an id": (b'{"venueId":"v","tickets":[{"id":"\xe2\x82","ticketData":{}}]}', 400, "json.utf8", "/tickets/0/id"),
    "UTF-8 cut short in the venue": (b'{"venueId":"\xe2\x82","tickets":[]}', 400, "json.utf8", "/venueId"),
    # the whole
    "a byte order mark": (b"\xef\xbb\xbf" + body("{}"), *SYNTAX, None),
    "UTF-16": (body("{}").decode().encode("utf-16"), *SYNTAX, None),
    "something behind": (body("{}", behind=b"x"), *SYNTAX, None),
    "a second object behind": (body("{}", behind=b"{}"), *SYNTAX, None),
    "cut short": (body("{}")[:-1], *SYNTAX, None),
    "cut short in a ticket": (body("{}")[:-4], *SYNTAX, "/tickets/1"),
    "a string alone": (b'"v"', *SYNTAX, None),
    "white space alone": (b" \n", *SYNTAX, None),
    "a vertical tab": (b"\v" + body("{}"), *SYNTAX, None),
    "no-break space": (b"\xc2\xa0" + body("{}"), *SYNTAX, None),
    # sizes
    "33 levels": (body(nested(29)), 400, "json.depth", AT + "/x" + "/0" * 28),
    "33 levels of objects": (body(nested(29, "{")), 400, "json.depth", AT + "/x" + "/y" * 28),
    "100,000 levels": (body(nested(15000)), 400, "json.depth", AT + "/x" + "/0" * 28),
    "257 members": (body(members(257)), 400, "json.members", AT),
    "a key of 255 bytes": (body('{"' + "k" * 255 + '":1}'), 400, "json.key_length", AT),
    # types
    "ticketData null": (body("null"), 422, "field.type", AT),
    "ticketData a string": (body('"{}"'), 422, "field.type", AT),
    "an id that is a number": (b'{"venueId":"v","tickets":[{"id":1,"ticketData":{}}]}', 422, "field.type", "/tickets/0/id"),
    "an id that is null": (b'{"venueId":"v","tickets":[{"id":null,"ticketData":{}}]}', 422, "field.type", "/tickets/0/id"),
    "a member nobody knows": (body('{},"price":1'), 422, "field.unknown", "/tickets/1/price"),
    "another case": (b'{"VenueId":"v","tickets":[]}', 422, "field.unknown", "/VenueId"),
    "__proto__": (b'{"__proto__":{},"venueId":"v","tickets":[]}', 422, "field.unknown", "/__proto__"),
    "a control character in an id": (b'{"venueId":"v","tickets":[{"id":"a\\nb","ticketData":{}}]}', 422, "field.characters", "/tickets/0/id"),
}
# taken: text of the value of x -> what the metadata has for it, and where
TAKEN = {
    "the largest double": ("1.7976931348623157e308", "1.7976931348623157e308"),
    "the smallest": ("5e-324", "5e-324"),
    "minus zero": ("-0", "-0"),
    "beyond 53 bits": ("9007199254740993", "9007199254740993"),
    "beyond 64 bits": ("18446744073709551617", "18446744073709551617"),
    "64 digits": ("1" * 64, "1" * 64),
    "trailing zeros": ("1.50", "1.50"),
    "an exponent": ("1E+2", "1E+2"),
    "a pair": ('"\\ud83d\\ude00"', '"\U0001f600"'),
    "the same raw": ('"\U0001f600"', '"\U0001f600"'),
    "a slash escaped": ('"a\\/b"', '"a/b"'),
    "controls escaped": ('"a\\u001fb\\tc"', '"a\\u001fb\\tc"'),
    "delete": ('"\\u007f"', '"\x7f"'),
    "a noncharacter": ('"\\uffff"', '"\uffff"'),
    "a replacement character": ('"\ufffd"', '"\ufffd"'),
    "an empty string": ('""', '""'),
    "white space": (" \t\r\n true \n", "true"),
    "empty containers": ('[{},[],""]', '[{},[],""]'),
    "32 levels": ("[" * 28 + "]" * 28, "[" * 28 + "]" * 28),
}


def counts(mintd):
    with mintd.store() as store:
        return [store.one(f"SELECT count(*) FROM {table}") for table in TABLES]


def started(folder, **api):
    return Daemon(folder, Config("null", intake={"memory": "16 KiB", "slab": "4 KiB"}, api={"rate_wrong": "none", **api})).start()


class Link:
    """One kept connection on which bodies go out as they are cut."""

    def __init__(self, mintd):
        self.port, self.key = mintd.port, mintd.key
        self.link = None

    def send(self, pieces, chunked):
        """Status, code, pointer."""
        if not self.link:
            self.link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self.link.connect()
            self.link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = {"x-admin-api-key": self.key, "Content-Type": "application/json", "Prefer": "respond-async"}
        size = sum(len(piece) for piece in pieces)
        frame = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        out = ["POST /v1/batches HTTP/1.1\r\nHost: x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in head.items()) + frame + "\r\n\r\n"]
        out = [out[0].encode()]
        for piece in pieces:
            if piece:
                out.append(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            out.append(b"0\r\n\r\n")
        sock = self.link.sock
        if chunked:
            sock.sendall(b"".join(out))                    # each chunk reaches the reader by itself
        else:
            for part in out:
                sock.sendall(part)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        text = answer.read()
        if answer.headers.get("Connection") == "close":
            self.link.close()
            self.link = None
        told = json.loads(text) if text[:1] == b"{" else {}
        return answer.status, told.get("code"), told["errors"][0]["pointer"] if "errors" in told else None


@test
def each_oddity_has_its_verdict_and_changes_nothing(folder):
    with started(folder) as mintd:
        link, before = Link(mintd), counts(mintd)
        wrong = []
        for name, (text, *verdict) in REFUSED.items():
            for chunked in (False, True):
                got = link.send([text], chunked)
                if list(got) != verdict or counts(mintd) != before:
                    wrong.append(f"{name}, {'chunked' if chunked else 'whole'}: {got}, wanted {verdict}")
        check(not wrong, "\n".join(wrong))
        note(f"{len(REFUSED)} oddities")


@test
def the_verdict_is_the_same_wherever_the_body_is_cut(folder):
    with started(folder) as mintd:
        link, before, cuts = Link(mintd), counts(mintd), 0
        for name, (text, status, code, pointer) in REFUSED.items():
            if len(text) > 400:
                continue
            equal(link.send([text[at:at + 1] for at in range(len(text))], True), (status, code, pointer), name, "byte by byte")
            for at in range(1, len(text)):
                cuts += 1
                equal(link.send([text[:at], text[at:]], at % 2 == 0), (status, code, pointer), name, "cut at", at)
        equal(counts(mintd), before)
        note(f"{cuts} cuts")


@test
def what_is_taken_arrives_as_it_was_sent(folder):
    with started(folder) as mintd:
        api = mintd.api()
        for place, (name, (text, wanted)) in enumerate(TAKEN.items()):
            for way, extra in enumerate(("", " " * 20000)):            # small and streamed
                sent = ('{"venueId":"v","tickets":[{"id":"t%d-%d","ticketData":{"seatNumber":"%d-%d","x":%s}}]%s}' %
                        (place, way, place, way, text, extra)).encode()
                answer = api.call("POST", "/v1/batches", sent)
                equal(answer.status, 200, name, answer)
                with mintd.store() as store:
                    metadata = store.one("SELECT body FROM items WHERE ticket = ?", f"t{place}-{way}")
                shape = '{"trait_type":"x","value":%s}' if wanted[0] not in "[{" else '"properties":{"x":%s}'
                check(shape % wanted in metadata, name, metadata)
                json.loads(metadata)


@test
def counts_and_sizes_at_their_limits(folder):
    with started(folder, max_ticket="4 KiB", max_items=20, max_body="32 KiB") as mintd:
        link = Link(mintd)

        def batch(tickets):
            return b'{"venueId":"v","tickets":[' + b",".join(tickets) + b"]}"

        def ticket(name, size=0):
            start = b'{"id":"%s","ticketData":{"seatNumber":"%s","pad":"' % (name, name[:20])
            return start + b"p" * (size - len(start) - 3) + b'"}}'

        ok, number = (202, None, None), iter(range(1000))
        rows = []
        for extra in (-1, 0, 1):
            bad = extra > 0
            rows += [
                ("tickets", batch([ticket(b"n%d-%d" % (next(number), k)) for k in range(20 + extra)]),
                 (413, "batch.too_many_tickets", "/tickets") if bad else ok),
                ("ticket bytes", batch([ticket(b"s%d" % next(number), 4096 + extra)]), (413, "ticket.too_large", "/tickets/0") if bad else ok),
                ("id", batch([ticket(b"%0*d" % (128 + extra, next(number)))]), (422, "ticket.id", "/tickets/0/id") if bad else ok),
                ("venue", b'{"venueId":"%s","tickets":[%s]}' % (b"v" * (128 + extra), ticket(b"v%d" % next(number))),
                 (422, "field.length", "/venueId") if bad else ok),
                ("collection", b'{"venueId":"v","collection":"%s","tickets":[%s]}' % (b"c" * (128 + extra), ticket(b"c%d" % next(number))),
                 (422, "field.length", "/collection") if bad else ok),
                ("recipient", batch([ticket(b"r%d" % next(number))[:-1] + b',"recipient":"%s"}' % (b"r" * (128 + extra))]),
                 (422, "ticket.recipient", "/tickets/0/recipient") if bad else ok),
                ("userId", batch([ticket(b"u%d" % next(number))[:-1] + b',"userId":"%s"}' % (b"u" * (256 + extra))]),
                 (422, "field.length", "/tickets/0/userId") if bad else ok),
                ("depth", body(nested(28 + extra)).replace(b'"odd"', b'"d%d"' % extra).replace(b'"first"', b'"f%d"' % extra),
                 (400, "json.depth", AT + "/x" + "/0" * 28) if bad else ok),
                ("members", body(members(256 + extra)).replace(b'"odd"', b'"m%d"' % extra).replace(b'"first"', b'"g%d"' % extra),
                 (400, "json.members", AT) if bad else ok),
            ]
        for name, text, wanted in rows:
            for way in (False, True):
                if wanted == ok and way:
                    continue                               # its tickets are there by now
                equal(link.send([text], way), wanted, name, len(text))
        for extra in (-1, 0, 1):                           # the whole body, by its length and by what arrives
            text = batch([ticket(b"w%d" % extra)])
            text = text + b" " * (32768 + extra - len(text))
            for way in (True, False):
                equal(link.send([text], way)[:2], (413, "body.too_large") if extra > 0 else (202, None), "body", extra)


if __name__ == "__main__":
    sys.exit(main())
