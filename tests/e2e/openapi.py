#!/usr/bin/python3
"""core/api/openapi.json held against the route table and against a real daemon: every route, every example, every status.

Each answer that the tests get is checked against what the document says of that route and status: media type, schema (a member
that nobody described is a failure), problem code, headers. The last test asks whether every documented status was really seen.
"""
import gzip
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import schema  # noqa: E402
from conf import Config  # noqa: E402
from mintd import BUILD, ROOT, Answer, Daemon, batch, tickets  # noqa: E402
from tap import check, equal, main, matches, note, skip, test, until  # noqa: E402

FILE = os.path.join(ROOT, "core", "api", "openapi.json")
with open(FILE, encoding="utf-8") as described:
    DOC = json.load(described)
SEEN = set()                                               # (operation, status) that a daemon really answered

# Statuses that no test can make a healthy build give, each with its reason.
UNPROVOKED = {
    (name, 500): "store.lost: the store would have to lose rows that it promised; the damage tests of the store stop the daemon first"
    for name in ("batch_mint", "batch_create", "mint", "ticket", "ticket_any", "ticket_put", "sag")
    if f"'{name}'" in str(DOC)
}


class Operation:
    def __init__(self, method, path, spec):
        self.method, self.path, self.spec, self.name = method.upper(), path, spec, spec["operationId"]
        self.responses = {int(status): schema.resolve(response, DOC) for status, response in spec["responses"].items()}
        self.parameters = [schema.resolve(parameter, DOC) for parameter in spec.get("parameters", [])]
        self.codes = {int(status): set(codes) for status, codes in DOC["x-common-codes"].items()}
        for status, codes in spec.get("x-codes", {}).items():
            self.codes[int(status)] = self.codes.get(int(status), set()) | set(codes)

    def names(self, place):
        return [parameter["name"] for parameter in self.parameters if parameter["in"] == place]

    def url(self, values=None, query=None):
        """Its path with these values, or those of the document."""
        path = self.path
        for parameter in self.parameters:
            if parameter["in"] == "path":
                value = str((values or {}).get(parameter["name"], parameter.get("example")))
                path = path.replace("{" + parameter["name"] + "}", urllib.parse.quote(value, safe=""))
        needed = {part["name"]: part["example"] for part in self.parameters if part["in"] == "query" and part.get("required")}
        query = {**needed, **(query or {})}
        return path + ("?" + urllib.parse.urlencode(query) if query else "")

    def bodies(self):
        """media type -> example bodies of the request"""
        content = schema.resolve(self.spec.get("requestBody", {}), DOC).get("content", {})
        return {kind: [part["example"]] if "example" in part else [each["value"] for each in part.get("examples", {}).values()]
                for kind, part in content.items()}

    def held(self, answer):
        """The answer against the document; it is remembered that this status was seen."""
        where = f"{self.method} {self.path} {answer.status}"
        check(answer.status in self.responses, where, "is not described:", answer)
        said = self.responses[answer.status]
        kind = (answer.headers.get("Content-Type") or "").split(";")[0]
        if said.get("content"):
            check(kind in said["content"], where, f"is {kind!r}, described are", *said["content"])
            if kind in ("application/json", "application/problem+json"):
                equal(schema.check(answer.json, said["content"][kind]["schema"], DOC), [], where, answer)
        if kind == "application/x-ndjson":
            rows = [json.loads(line) for line in answer.text.splitlines()]
            equal([schema.check(row, said["content"][kind]["schema"], DOC) for row in rows if schema.check(
                row, said["content"][kind]["schema"], DOC)], [], where, answer)
            check(rows, where, "no row")
        if kind == "text/csv":
            matches(answer.text, "^[a-zA-Z_,]+\r\n.*\r\n$", where)
        if kind == "application/problem+json":
            equal((answer.json["status"], answer.json["type"]), (answer.status, "urn:mintd:error:" + answer.code), where)
            check(answer.code in self.codes.get(answer.status, ()), where, "carries a code that is not listed:", answer.code)
            equal(answer.json["request_id"], answer.headers["X-Request-Id"], where)
        for name, header in said.get("headers", {}).items():
            if answer.headers.get(name) is not None:
                value = answer.headers[name]
                rule = schema.resolve(header, DOC)["schema"]
                equal(schema.check(int(value) if rule["type"] == "integer" else value, rule, DOC), [], where, name)
        if answer.status in (429, 503) and kind == "application/problem+json":
            check(answer.headers.get("Retry-After"), where, "without Retry-After")
        SEEN.add((self.name, answer.status))
        return answer


OPERATIONS = {spec["operationId"]: Operation(method, path, spec)
              for path, methods in DOC["paths"].items() for method, spec in methods.items() if method != "parameters"}


def each(*statuses):
    """Operations that describe one of these statuses."""
    return [operation for operation in OPERATIONS.values() if not statuses or any(s in operation.responses for s in statuses)]


def raw(operation, value):
    return value if isinstance(value, (bytes, str)) else json.dumps(value)


def some_body(operation):
    """A body that the route takes, its media type, or nothing."""
    for kind, examples in operation.bodies().items():
        if examples:
            return raw(operation, examples[0]), {"Content-Type": kind}
    return None, {}


class World:
    """A daemon with something in it, and path values that exist there."""

    def __init__(self, folder, **groups):
        config = Config("solana-like", **groups)
        config.api.setdefault("rate_wrong", "none")
        config.store.setdefault("backup", os.path.join(folder, "copy.db"))
        config.chain["fail_names"] = ["Concert bad-0"]
        self.mintd = Daemon(folder, config)

    def __enter__(self):
        self.mintd.start()
        self.api = self.mintd.api()
        answer = self.api.mint("venue-123", tickets("ok", 3) + tickets("bad", 1), key="first")
        equal((answer.status, answer.json["state"]), (200, "partial"), answer)
        # a report, so that every list has a row
        self.api.call("POST", "/v1/reconciliations", json.dumps({"venueId": "venue-123"}))
        equal(self.api.call("POST", "/v1/keys", json.dumps({"name": "first", "scope": "read"})).status, 201)
        self.values = {"collection": "1", "batch": answer.json["batchId"], "venue": "venue-123", "ticket": "ok-000000"}
        return self

    def __exit__(self, *_):
        self.mintd.kill()

    def ask(self, operation, values=None, query=None, headers=None, body="own", key=""):
        given, sent = some_body(operation) if body == "own" else (body, {"Content-Type": "application/json"} if body else {})
        sent.update(headers or {})
        return self.api.call(operation.method, operation.url({**self.values, **(values or {})}, query), given, sent, key=key)


# ---- the document itself

ROUTE = re.compile(r'^\s*\{ "([A-Z]+)",\s*"([^"]+)",\s*"([^"]+)",\s*SCOPE_([A-Z]+),\s*([^,]+),\s*(\w+|"[^"]*"),', re.M)


def table():
    """(method, path) -> name, scope, flags, query names; from the source that the daemon is built from."""
    with open(os.path.join(ROOT, "core", "api", "routes.c"), encoding="utf-8") as file:
        text = file.read()
    names = {"NULL": "", **{name: words for name, words in re.findall(r'^#define (\w+) "([^"]*)"', text, re.M)}}
    rows = ROUTE.findall(text)
    equal(len(rows), len(re.findall(r'^\s*\{ "[A-Z]+",', text, re.M)), "a line of the route table cannot be read")
    return {(method, path): (name, scope.lower(), flags, names.get(query, query.strip('"')).split())
            for method, path, name, scope, flags, query in rows}


@test
def the_document_has_every_route_of_the_table_and_no_other(_):
    ours = {(operation.method, re.sub(r"\{[^}]+\}", "{}", operation.path)): operation for operation in OPERATIONS.values()}
    routes = table()
    equal(sorted(set(routes) - set(ours)), [], "only in the route table:")
    equal(sorted(set(ours) - set(routes)), [], "only in the document:")
    for place, (name, scope, flags, query) in routes.items():
        operation = ours[place]
        equal(operation.name, name, place)
        equal(operation.spec["x-scope"], scope, place)
        equal(sorted(operation.names("query")), sorted(query), place, "query parameters:")
        equal(sorted(operation.names("path")), sorted(re.findall(r"\{([^}]+)\}", operation.path)), place, "path parameters:")
        equal("requestBody" in operation.spec, "ROUTE_BODY" in flags or "ROUTE_SMALL" in flags, place, "takes a body:")
        equal(operation.spec.get("security"), [] if scope == "open" else None, place, "security:")
    note(f"{len(ours)} routes")


@test
def every_example_fits_its_schema(_):
    seen = 0
    for operation in OPERATIONS.values():
        contents = [schema.resolve(operation.spec.get("requestBody", {}), DOC).get("content", {})]
        contents += [response.get("content", {}) for response in operation.responses.values()]
        for content in contents:
            for kind, part in content.items():
                examples = [part["example"]] if "example" in part else [each["value"] for each in part.get("examples", {}).values()]
                check(examples, operation.name, kind, "has no example")
                for example in examples:
                    equal(schema.check(example, part["schema"], DOC), [], operation.name, kind)
                    seen += 1
    note(f"{seen} examples")


def codes_of(value):
    if isinstance(value, dict):
        yield from (value[name] for name in ("code",) if isinstance(value.get(name), str))
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from codes_of(part)


@test
def every_part_is_used_and_every_code_is_on_the_errors_page(_):
    text = json.dumps(DOC)
    for kind, parts in DOC["components"].items():
        if kind != "securitySchemes":
            equal([name for name in parts if f'"#/components/{kind}/{name}"' not in text], [], kind, "never used:")
    with open(os.path.join(ROOT, "docs", "errors.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| `([a-z_]+\.[a-z0-9_]+)` \| ?([^|]*)", file.read(), re.M)
    page = {code for code, _ in rows}
    listed = set().union(*(codes for operation in OPERATIONS.values() for codes in operation.codes.values()))
    equal(sorted(listed - page), [], "listed here and not on docs/errors.md:")
    nowhere = {"http.path", "http.method"}                 # of a path or a method that is no route
    equal(sorted(code for code, status in rows if re.match(r"\d{3}", status) and code not in listed | nowhere), [],
          "answered with a status and listed at no route:")


@test
def the_daemon_serves_the_file_of_the_tree(folder):
    with World(folder) as world, open(FILE, "rb") as file:
        served = world.api.get("/openapi.json")
        equal((served.status, served.body), (200, file.read()))
        tag = served.headers["ETag"]
        matches(tag, r'^"[0-9a-f]{16}"$')
        for known in (tag, f'W/{tag}', f'"other", {tag}', "*"):
            answer = OPERATIONS["openapi"].held(world.api.get("/openapi.json", headers={"If-None-Match": known}))
            equal((answer.status, answer.body, answer.headers["ETag"]), (304, b"", tag), known)
        equal(world.api.get("/openapi.json", headers={"If-None-Match": '"0"'}).status, 200)
        equal(world.api.get("/openapi.json", key="wrong").status, 401)


@test
def a_linter_from_npm_finds_nothing(_):
    if not shutil.which("npm"):
        skip("npm is not installed", peer=True)
    home = os.path.join(BUILD, "openapi-lint")
    os.makedirs(home, exist_ok=True)
    source = os.path.join(ROOT, "tests", "openapi")
    for name in ("package.json", "package-lock.json", ".npmrc", "spectral.yaml"):
        shutil.copy(os.path.join(source, name), home)
    linter = os.path.join(home, "node_modules", ".bin", "spectral")
    if not os.path.exists(linter):
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=home, capture_output=True, text=True,
                              timeout=300, check=False)
        if done.returncode and re.search(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT", done.stderr):
            skip(f"no package registry can be reached: {done.stderr.strip()[-200:]}", peer=True)
        equal(done.returncode, 0, done.stderr[-1500:])
    done = subprocess.run([linter, "lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint", FILE], cwd=home,
                          capture_output=True, text=True, timeout=120, check=False)
    equal(done.returncode, 0, done.stdout[-3000:], done.stderr[-1000:])
    note(done.stdout.strip())


# ---- a real daemon

def plainly(world, operation):
    """Each request example of the document, with path values that exist; also as NDJSON and CSV, and once more with its ETag."""
    for kind, examples in operation.bodies().items() or {"": [None]}.items():
        for example in examples:
            answer = operation.held(world.ask(operation, body=None if example is None else raw(operation, example),
                                              headers={"Content-Type": kind} if kind else {}))
            check(answer.status < 300, operation.name, answer)
    others(world, operation)


def others(world, operation):
    """The other media types of its 200, and 304."""
    for kind in operation.responses[200].get("content", {}):
        if kind in ("application/x-ndjson", "text/csv"):
            answer = operation.held(world.ask(operation, headers={"Accept": kind}))
            equal(answer.headers["Content-Type"].split(";")[0], kind, operation.name)
    if "text/event-stream" in operation.responses[200].get("content", {}):
        a_stream(world, operation)
    if 304 in operation.responses:
        def unchanged():                                   # what others asked for without waiting may still be minted
            tag = world.ask(operation).headers["ETag"]
            return operation.held(world.ask(operation, headers={"If-None-Match": tag})).status == 304
        until(unchanged, 10, f"{operation.name} does not know its own ETag")


def a_stream(world, operation):
    """Its head and its first event; a stream has no end of its own."""
    link = http.client.HTTPConnection("127.0.0.1", world.mintd.port, timeout=10)
    link.request("GET", operation.url(world.values), headers={"x-admin-api-key": world.mintd.key, "Accept": "text/event-stream"})
    answer = link.getresponse()
    world.api.mint(f"venue-{operation.name}", tickets("streamed", 1))
    text = b""
    while not re.search(rb"^data: ", text, re.M):
        text += answer.readline()
    link.close()
    operation.held(Answer(answer.status, answer.headers, text))
    matches(text.decode(), r"^id: \S+$.*^event: \S+$.*^data: \{|^retry: ")


@test
def every_route_answers_as_described(folder):
    """Of what differs all is said, not only the first."""
    wrong = []
    with World(folder) as world:
        for operation in OPERATIONS.values():
            try:
                scene(operation)(world, operation)
            except (AssertionError, KeyError, ValueError) as error:
                wrong.append(f"{operation.name}: {error!r}"[:1500])
    check(not wrong, "\n".join(wrong))


def a_batch(world, operation):
    """The seed's request, then its 202, its replay, its conflicts."""
    body, headers = some_body(operation)
    venue = f"venue-{operation.name}"
    body = batch(venue, json.loads(body)["tickets"])
    first = operation.held(world.ask(operation, body=body, headers={**headers, "Idempotency-Key": f"{operation.name}-1"}))
    equal((first.status, first.json["summary"]["succeeded"]), (200, 1), first)
    again = operation.held(world.ask(operation, body=body, headers={**headers, "Idempotency-Key": f"{operation.name}-1"}))
    equal((again.status, again.headers["Idempotency-Replayed"]), (200, "true"))
    later = operation.held(world.ask(operation, body=batch(venue, tickets("later", 2)),
                                     headers={"Prefer": "respond-async", "Idempotency-Key": f"{operation.name}-2"}))
    equal((later.status, later.headers["Preference-Applied"]), (202, "respond-async"))
    known = operation.held(world.ask(operation, body=batch(venue, tickets("later", 3))))
    equal((known.status, known.json["known"], len(known.json["batches"])), (200, 2, 1))
    known = operation.held(world.ask(operation, body=batch(venue, tickets("later", 3)), headers={"Prefer": "respond-async"}))
    equal((known.status, known.json["known"], "batchId" in known.json), (202, 3, False))
    other = operation.held(world.ask(operation, body=batch(venue, tickets("other", 1)), headers={"Idempotency-Key": f"{operation.name}-1"}))
    equal((other.status, other.code), (422, "idempotency.other_body"))
    taken = operation.held(world.ask(operation, body=batch(venue, tickets("later", 1, pad=5))))
    equal((taken.status, taken.code), (409, "ticket.exists"))


    for kind, examples in operation.bodies().items():
        if kind != "application/json":
            answer = operation.held(world.ask(operation, body=examples[0], headers={"Content-Type": kind},
                                              query={"venue": f"{venue}-{kind[-3:]}"}))
            equal((answer.status, answer.json["summary"]["succeeded"]), (200, 1), kind)
    if "dry_run" in operation.names("query"):
        answer = operation.held(world.ask(operation, body=batch(venue, tickets("later", 4)), query={"dry_run": 1}))
        equal((answer.status, answer.json["new"], answer.json["known"]), (200, 1, 3))
        packed = gzip.compress(json.dumps(tickets("packed", 2)).encode())
        answer = operation.held(world.ask(operation, body=packed, query={"venue": venue}, headers={"Content-Encoding": "gzip"}))
        equal((answer.status, answer.json["summary"]["total"]), (200, 2))


def a_sag(world, operation):
    """The seed's request, its repeat, the same name with other properties, and without waiting."""
    body, headers = some_body(operation)
    for _ in range(2):
        answer = operation.held(world.ask(operation, body=body, headers=headers))
        equal((answer.status, answer.json["data"]["minting"]["totalProcessed"]), (200, 30))
    other = operation.held(world.ask(operation, body=body.replace('"mintShare": 30', '"mintShare": 30, "tier": "VIP"'), headers=headers))
    equal((other.status, other.code), (409, "sag.exists"))
    later = operation.held(world.ask(operation, body=body.replace("My SAG", "Another"), headers={**headers, "Prefer": "respond-async"}))
    equal(later.status, 202)


def a_ticket(world, operation):
    """Put, put again, put otherwise, put without waiting, only looked at."""
    body, headers = some_body(operation)
    place = {"venue": "venue-put", "ticket": "put-1"}
    equal(operation.held(world.ask(operation, values=place, query={"dry_run": 1})).json["new"], 1)
    for status in (201, 200):
        answer = operation.held(world.ask(operation, values=place, body=body, headers=headers))
        equal((answer.status, answer.json["state"]), (status, "minted"))
    other = operation.held(world.ask(operation, values=place, body=json.dumps({"ticketData": {"eventName": "Other", "seatNumber": "1"}})))
    equal((other.status, other.code), (409, "ticket.exists"))
    later = operation.held(world.ask(operation, values={**place, "ticket": "put-2"}, headers={"Prefer": "respond-async"}))
    equal((later.status, later.json["ticketId"]), (202, "put-2"))


def ambiguous(world, operation):
    equal(operation.held(world.ask(operation)).status, 200)
    for venue in ("venue-a", "venue-b"):
        equal(world.api.mint(venue, tickets("same", 1)).status, 200)
    answer = operation.held(world.ask(operation, values={"ticket": "same-000000"}))
    equal((answer.status, answer.code), (409, "ticket.ambiguous"))
    others(world, operation)


def every_page(world, operation):
    """A page of one, its next page, and the filters that the document names."""
    first = operation.held(world.ask(operation, query={"limit": 1}))
    equal(first.status, 200)
    if "next" in first.json:
        equal(operation.held(world.ask(operation, query={"limit": 1, "cursor": first.json["next"]})).status, 200)
    most = next(p for p in operation.parameters if p["name"] == "limit")["schema"]["maximum"]
    for limit, status in ((most, 200), (most + 1, 400), (0, 400)):
        equal(operation.held(world.ask(operation, query={"limit": limit})).status, status, limit)
    answer = operation.held(world.ask(operation, query={"cursor": "zz"}))
    equal((answer.status, answer.code), (400, "query.cursor"))
    for parameter in operation.parameters:
        if parameter["in"] == "query" and "example" in parameter:
            answer = operation.held(world.ask(operation, query={parameter["name"]: parameter["example"]}))
            equal(answer.status, 200, operation.name, parameter["name"], answer)
    others(world, operation)


def a_backup(world, operation):
    equal(operation.held(world.ask(operation)).status, 200)
    config = Config("solana-like")
    with Daemon(os.path.join(world.mintd.folder, "other"), config).start() as mintd:
        answer = operation.held(mintd.api().call("POST", "/v1/database/backup"))
        equal((answer.status, answer.code), (409, "store.no_backup"))


def a_reload(world, operation):
    equal(operation.held(world.ask(operation)).status, 200)
    path = world.mintd.config.path(world.mintd.folder)
    with open(path, "a", encoding="utf-8") as file:
        file.write("nonsense = 1;\n")
    answer = operation.held(world.ask(operation))
    equal((answer.status, answer.code, answer.json["mistakes"][0]["line"] > 1), (422, "config.invalid", True))
    checked = OPERATIONS["config_check"].held(world.ask(OPERATIONS["config_check"])).json
    equal((checked["valid"], len(checked["errors"])), (False, 1))


def a_key(world, operation):
    """Made, made again, and as NDJSON never its text; revoked by the route that does that."""
    body, headers = some_body(operation)
    made = operation.held(world.ask(operation))
    equal(made.status, 201)
    equal(made.headers["Location"], "/v1/keys/" + made.json["name"])
    again = operation.held(world.ask(operation, body=body, headers=headers))
    equal((again.status, again.code), (409, "key.exists"))


def a_revocation(world, operation):
    world.ask(OPERATIONS["key_create"], body=json.dumps({"name": "gone", "scope": "read"}))
    for _ in range(2):
        answer = operation.held(world.ask(operation, values={"key": "gone"}))
        equal((answer.status, answer.json["name"], "revokedAt" in answer.json), (200, "gone", True))


def a_reconciliation(world, operation):
    """With its result; then on a slow chain, where it goes on by itself and a second one is refused."""
    answer = operation.held(world.ask(operation))
    equal((answer.status, answer.json["totalChecked"], answer.json["discrepancies"]), (200, 4, []))
    with World(os.path.join(world.mintd.folder, operation.name), chain={"read_latency": "400ms"}) as slow:
        later = operation.held(slow.ask(operation, headers={"Prefer": "respond-async"}))
        equal((later.status, later.headers["Location"]), (202, "/v1/reconciliations?venue=venue-123"))
        again = operation.held(slow.ask(operation))
        equal((again.status, again.code), (409, "reconcile.running"))


def a_collection(world, operation):
    """Made, made again, made otherwise."""
    body, headers = some_body(operation)
    for status in (201, 200):
        answer = operation.held(world.ask(operation, body=body, headers=headers))
        equal((answer.status, answer.json["accepted"]), (status, 0))
    other = operation.held(world.ask(operation, body=body.replace("5000", "5001"), headers=headers))
    equal((other.status, other.code), (409, "collection.exists"))


SCENES = {"collection_create": a_collection, "sag": a_sag, "ticket_put": a_ticket, "reconcile": a_reconciliation, "reconciliation": a_reconciliation, "backup": a_backup, "config_reload": a_reload, "batch_mint": a_batch, "batch_create": a_batch, "key_create": a_key,
          "key_revoke": a_revocation}


def scene(operation):
    if operation.name in SCENES:
        return SCENES[operation.name]
    if "limit" in operation.names("query"):
        return every_page
    return ambiguous if "ticket.ambiguous" in operation.codes.get(409, ()) else plainly


# ---- refusals that have one way for all routes

@test
def what_a_route_does_not_know_is_400(folder):
    with World(folder) as world:
        for operation in each(400):
            equal(operation.held(world.ask(operation, query={"nonsense": 1})).code, "query.unknown", operation.name)


@test
def without_a_key_401(folder):
    with World(folder) as world:
        for operation in each(401):
            for key in (None, "wrong"):
                equal(operation.held(world.ask(operation, key=key)).status, 401, operation.name)
        for operation in OPERATIONS.values():
            equal(world.ask(operation, key=None).status == 401, operation.spec["x-scope"] != "open", operation.name)


UNKNOWN = {"batch": "4711", "venue": "nowhere", "ticket": "nothing", "name": "nothing", "key": "nothing", "collection": "4711"}


@test
def what_is_not_there_is_404(folder):
    with World(folder) as world:
        for operation in each(404):
            values = {name: UNKNOWN[name] for name in operation.names("path")}
            query = {"venue": "nowhere"} if "venue" in operation.names("query") else {}
            body = json.dumps({"venueId": "nowhere"}) if operation.bodies() and not values else "own"
            equal(operation.held(world.ask(operation, values=values, query=query, body=body)).status, 404, operation.name)


@test
def what_the_client_does_not_accept_is_406(folder):
    with World(folder) as world:
        for operation in each(406):
            equal(operation.held(world.ask(operation, headers={"Accept": "image/png"})).code, "http.accept", operation.name)


@test
def bodies_that_are_too_large_or_of_another_kind(folder):
    with World(folder, api={"max_body": "64 KiB"}) as world:
        for operation in each(413):
            answer = operation.held(world.ask(operation, body="{" + " " * 70000 + "}"))
            equal((answer.status, answer.code), (413, "body.too_large"), operation.name)
        for operation in each(415):
            answer = operation.held(world.ask(operation, body="a", headers={"Content-Type": "image/png"}))
            equal((answer.status, answer.code), (415, "http.content_type"), operation.name)


@test
def members_that_a_route_does_not_know_are_422(folder):
    with World(folder) as world:
        for operation in each(422):
            if not operation.bodies():
                equal(operation.held(world.ask(operation, query={"count": 0})).code, "estimate.count", operation.name)
                continue
            answer = operation.held(world.ask(operation, body='{"nonsense": 1}'))
            equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (422, "field.unknown", "/nonsense"), operation.name)


@test
def from_an_address_that_is_not_allowed_403(folder):
    """A trusted proxy speaks for another address."""
    with World(folder, api={"allow": ["127.0.0.0/8"], "proxies": ["127.0.0.1/32"]}) as world:
        for operation in each(403):
            answer = operation.held(world.ask(operation, headers={"X-Forwarded-For": "203.0.113.9"}))
            equal((answer.status, answer.code), (403, "auth.address"), operation.name)


@test
def with_a_key_that_may_not_403(folder):
    with World(folder) as world:
        keys = {scope: world.ask(OPERATIONS["key_create"], body=json.dumps({"name": scope, "scope": scope})).json["key"]
                for scope in ("read", "mint")}
        for operation in OPERATIONS.values():
            for scope, more in (("read", ("mint", "admin")), ("mint", ("admin",))):
                if operation.spec["x-scope"] in more:
                    answer = operation.held(world.ask(operation, key=keys[scope]))
                    equal((answer.status, answer.code), (403, "auth.scope"), operation.name, scope)


@test
def above_the_rate_429(folder):
    with World(folder, api={"rate_read": "5/1h", "rate_mint": "5/1h", "rate_admin": "5/1h"}) as world:
        for operation in each(429):
            answer = until(lambda ask=operation: (lambda got: got if got.status == 429 else None)(world.ask(ask)), 10, operation.name)
            equal(operation.held(answer).code, "server.rate", operation.name)


def exchange(link, request):
    """One request on a kept connection."""
    link.request(*request)
    answer = link.getresponse()
    return Answer(answer.status, answer.headers, answer.read())


@test
def while_it_stops_503(folder):
    """A request that is half sent keeps the daemon from ending; the others are asked on connections that were open before."""
    with World(folder, api={"max_connections_per_ip": 300, "max_connections": 300}) as world:
        port, key = world.mintd.port, world.mintd.key
        links = {}
        for operation in each(503):
            links[operation.name] = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            equal(exchange(links[operation.name], ("GET", "/livez", None, {})).status, 200)
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nx-admin-api-key: {key}\r\nContent-Type: application/json\r\n"
                         "Content-Length: 100\r\n\r\n{".encode())
            until(lambda: world.api.metrics().sum("mintd_http_in_flight") >= 2, 5, "the half request is being read")
            world.mintd.signal(signal.SIGTERM)
            until(lambda: "draining" in world.mintd.log or "stopping" in world.mintd.log, 5, "the daemon says that it stops")
            for operation in each(503):
                body, headers = some_body(operation)
                answer = operation.held(exchange(links[operation.name], (
                    operation.method, operation.url(world.values), body, {**headers, "x-admin-api-key": key})))
                equal(answer.status, 503, operation.name, answer)
                if operation.spec["x-scope"] != "open":
                    equal(answer.code, "server.draining", operation.name)
        equal(world.mintd.wait(), 0)


# ---- and was everything seen?

@test
def every_status_of_the_document_was_answered(_):
    if len(sys.argv) > 1:
        skip("only a whole run can tell")
    described = {(operation.name, status) for operation in OPERATIONS.values() for status in operation.responses}
    missing = sorted(described - SEEN - set(UNPROVOKED))
    equal(missing, [], "described, never answered:")
    equal(sorted(set(UNPROVOKED) - described), [], "excused, not described:")
    equal(sorted(set(UNPROVOKED) & SEEN), [], "excused, but answered:")
    for (name, status), reason in sorted(UNPROVOKED.items()):
        note(f"not provoked: {name} {status}: {reason}")
    note(f"{len(described & SEEN)} of {len(described)} statuses of {len(OPERATIONS)} routes answered by a daemon")


if __name__ == "__main__":
    sys.exit(main())
