"""Judges a run: what clients were told, what the store says, what the chain's own ledger says. Read-only, after the run.

Verdicts are (class, message):
  lost         accepted, and now unknown, or open for ever, or FAILED without a reason
  stuck        accepted and not terminal (QUARANTINE included) although every fault is off
  double       a ticket with two effects on the chain, two tickets with one asset, an effect of a ticket that is not MINTED
  phantom      MINTED without its effect on the ledger, or with another asset
  uncommitted  the chain saw a transaction that no committed attempt names
  false-proof  a proof of death for a transaction that did take effect
  key          one idempotency key, two requests or two answers; a request half there
  counters     a counter that is not COUNT(*)
"""
import collections

DONE, FAILED, CANCELLED, MOVED = 10, 11, 12, 13
# columns of `counters` and the states they count
COUNTED = {"open": (1, 2, 3, 4, 5), "quarantined": (6,), "done": (10,), "failed": (11,), "cancelled": (12,)}


class Request:
    """What a client knows of one request."""
    ACCEPTED, UNKNOWN, REFUSED = "accepted", "unknown", "refused"

    def __init__(self, venue, key, tickets):
        self.venue, self.key, self.tickets = venue, key, tickets
        self.outcome = self.UNKNOWN
        self.places = set()          # every Location it was ever told
        self.cancelled = False       # somebody asked for a cancel
        self.complaint = ""          # an answer that must not be


def assets_of(row):
    """The asset of an item's seat, as the store believes."""
    if row["first_serial"] is not None:
        return str(row["first_serial"] + row["pos"])
    return (row["assets"] or "").split(" ")[row["pos"]] if row["assets"] else ""


def check_requests(requests, items, found):
    """Every promise kept? items: ticket -> row"""
    for request in requests:
        if request.complaint:
            found.append(("key", f"{request.key}: {request.complaint}"))
        if len(request.places) > 1:
            found.append(("key", f"{request.key} was told {sorted(request.places)}"))
        rows = [items.get((request.venue, name)) for name in request.tickets]
        there = [row for row in rows if row is not None]
        if len({row["request"] for row in there}) > 1:
            found.append(("key", f"{request.key} lies in {len({row['request'] for row in there})} requests"))
        if there and len(there) < len(rows):
            found.append(("key" if request.outcome != Request.ACCEPTED else "lost",
                          f"{request.key}: {len(there)} of {len(rows)} tickets are there"))
        elif not there and request.outcome == Request.ACCEPTED:
            found.append(("lost", f"{request.key}: accepted, none of {len(rows)} tickets is there"))
        elif there and request.outcome == Request.REFUSED:
            found.append(("key", f"{request.key}: refused, but its tickets are there"))
        for row in there:
            name = row["ticket"]
            if row["state"] < 10:
                found.append(("stuck", f"{name} is in state {row['state']} ({row['problem'] or '-'})"))
            elif row["state"] == MOVED:
                found.append(("lost", f"{name} lies in a chunk that moved away"))
            elif row["state"] == FAILED and not row["problem"]:
                found.append(("lost", f"{name} failed without a reason"))
            elif row["state"] == CANCELLED and not request.cancelled:
                found.append(("lost", f"{name} was cancelled and nobody asked"))


def check_effects(store, ledger, rows, found):
    """The ledger judges: one effect per MINTED ticket, none for any other."""
    by_uri = collections.defaultdict(list)
    seats = collections.Counter()
    for mint in ledger.mints():
        by_uri[mint["uri"]].append(mint)
        seats[(mint["collection"], mint["asset"])] += 1
    for place, count in seats.items():
        if count > 1:
            found.append(("double", f"asset {place} exists {count} times"))
    refs = {row["id"]: row["chain_ref"] for row in store.rows("SELECT id, chain_ref FROM collections")}
    believed = collections.Counter()
    for row in rows:
        effects = by_uri.pop(row["uri"], [])
        if len(effects) > 1:
            found.append(("double", f"{row['ticket']} was minted {len(effects)} times: {[e['asset'] for e in effects]}"))
        if row["state"] != DONE:
            if effects:
                found.append(("double", f"{row['ticket']} is in state {row['state']} but was minted as {effects[0]['asset']}"))
            continue
        asset = assets_of(row)
        believed[(row["collection"], asset)] += 1
        if not effects:
            found.append(("phantom", f"{row['ticket']} is MINTED as {asset}, the ledger knows nothing of it"))
        elif effects[0]["asset"] != asset or (refs[row["collection"]] and effects[0]["collection"] != refs[row["collection"]]):
            found.append(("phantom", f"{row['ticket']} is MINTED as {asset}, the ledger says {effects[0]}"))
    for place, count in believed.items():
        if count > 1:
            found.append(("double", f"{count} tickets believe in asset {place}"))
    for uri, effects in by_uri.items():
        found.append(("double", f"{uri} was minted as {effects[0]['asset']} and belongs to no item"))


def check_attempts(store, ledger, found):
    """No byte before its attempt; no proof of death for what lives."""
    known = {row["tx_id"]: (row["chunk"], row["no"]) for row in store.rows("SELECT tx_id, chunk, no FROM attempts")}
    for tx_id in ledger.received():
        if tx_id not in known:
            found.append(("uncommitted", f"the chain received {tx_id}, no attempt names it"))
    effective = set(ledger.effective())
    for row in store.rows("SELECT a.tx_id, p.chunk, p.no, p.kind FROM proofs p JOIN attempts a USING (chunk, no)"):
        if row["tx_id"] in effective:
            found.append(("false-proof", f"chunk {row['chunk']} attempt {row['no']} ({row['tx_id']}) took effect, "
                                         f"yet has a proof of death of kind {row['kind']}"))


def check_counters(store, rows, found):
    """Every stripe sum against a count of the items where they are now, per venue and per request."""
    for scope, column in ((0, "venue"), (1, "request")):
        counted = {row["scope_id"]: row for row in store.rows(
            f"SELECT scope_id, {', '.join(f'sum({name}) AS {name}' for name in COUNTED)} FROM counters "
            "WHERE scope = ? AND kind = 0 GROUP BY scope_id", scope)}
        real = collections.defaultdict(collections.Counter)
        for row in rows:
            for name, states in COUNTED.items():
                real[row[column]][name] += row["state"] in states
        for scope_id in set(counted) | set(real):
            for name in COUNTED:
                got = counted[scope_id][name] if scope_id in counted else 0
                if got != real[scope_id][name]:
                    found.append(("counters", f"{column} {scope_id}: {name} is {got}, there are {real[scope_id][name]}"))


def judge(requests, store, ledger):
    found = []
    names = {row["id"]: row["name"] for row in store.rows("SELECT id, name FROM venues")}
    rows = store.items()
    items = {(names[row["venue"]], row["ticket"]): row for row in rows}
    if len(items) != len(rows):
        found.append(("double", "a ticket has two items"))
    check_requests(requests, items, found)
    check_effects(store, ledger, rows, found)
    check_attempts(store, ledger, found)
    check_counters(store, rows, found)
    return found
