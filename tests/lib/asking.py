"""Asking a daemon as somebody in particular: from an address, through a proxy, with a key of one's own; and what a refusal looks like."""
import datetime
import http.client
import json

from mintd import Answer, Api
from tap import check, equal, matches

def ask(mintd, path, method="GET", source="127.0.0.1", to="127.0.0.1", key=None, headers=(), body=None, kind="application/json"):
    """One exchange from an address of one's own choice; headers are pairs, so that one can be there twice."""
    link = http.client.HTTPConnection(to, mintd.port, timeout=20, source_address=(source, 0))
    try:
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        link.putrequest(method, path)
        if key:
            link.putheader("x-admin-api-key", key)
        for name, value in headers:
            link.putheader(name, value)
        if body is not None:
            link.putheader("Content-Type", kind)
            link.putheader("Content-Length", str(len(body)))
        link.endheaders(body)
        answer = link.getresponse()
        streams = answer.headers["Content-Type"] == "text/event-stream"      # it has no end
        return Answer(answer.status, answer.headers, b"" if streams else answer.read())
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
        return [store.one(f"SELECT count(*) FROM {table}") for table in ("requests", "items", "venues", "events", "api_keys")]


def post(mintd, path, body, key=None):
    return Api(mintd.port, key or mintd.key).call("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())


def new_key(mintd, name, scope, **more):
    answer = post(mintd, "/v1/keys", {"name": name, "scope": scope, **more})
    equal(answer.status, 201, answer)
    return answer.json["key"]


def soon(**delta):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**delta)).isoformat(timespec="milliseconds")
