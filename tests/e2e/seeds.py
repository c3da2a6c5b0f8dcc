#!/usr/bin/python3
"""The answers that earlier deployments know, held against their own examples: the same members, types and nesting, with values that equal
COUNT(*) over the rows of the database file; the requests sent with curl as they were documented."""
import collections
import fcntl
import http.client
import json
import os
import re
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Api, Daemon, ticket, tickets  # noqa: E402
from tap import check, equal, main, matches, note, test, until  # noqa: E402

DASHBOARD = json.loads("""{
  "totalMints": 1543, "pendingMints": 12, "failedMints": 8,
  "recentMints": [{"ticketId": "ticket-1", "signature": "3x7B...", "metadataUri": "ipfs://Qm..."}]}""")
VENUE_STATS = json.loads("""{
  "venueId": "venue-123", "totalMints": 450, "successfulMints": 442, "failedMints": 8, "successRate": 98.22, "avgMintTimeSeconds": 3.45}""")
STATUS = json.loads("""{
  "balanceMonitor": {"balance": 1.2345, "sufficient": true, "minRequired": 0.1, "lastCheck": "2025-11-13T18:00:00Z"},
  "cache": {"enabled": true, "connected": true, "keyCount": 234},
  "database": {"connected": true},
  "timestamp": "2025-11-13T18:00:00Z"}""")
BATCH = json.loads("""{
  "venueId": "venue-123",
  "tickets": [{"id": "ticket-1", "eventId": "event-1", "userId": "user-1",
    "ticketData": {"eventName": "Concert", "eventDate": "2025-12-01", "venue": "Stadium", "tier": "VIP", "seatNumber": "A1"}}]}""")
BATCH_ANSWER = json.loads("""{
  "successful": [{"ticketId": "ticket-1", "signature": "3x7B...", "metadataUri": "ipfs://Qm..."}],
  "failed": [{"ticketId": "ticket-2", "error": "RPC error: rate limit"}],
  "summary": {"total": 100, "succeeded": 98, "failed": 2, "totalDuration": 28.5, "avgDuration": 0.29}}""")
CACHE_STATS = json.loads("""{
  "enabled": true, "connected": true, "hits": 10, "misses": 5, "hitRate": 66.67, "keyCount": 5, "memoryBytes": 1000}""")
ESTIMATE = json.loads("""{"estimatedSOL": 0.5, "estimatedTimeSeconds": 28.5}""")
SAG = json.loads("""{"sagName": "My SAG", "sagProperties": {"mintShare": 30}}""")
SAG_ANSWER = json.loads("""{
  "success": true,
  "message": "SAG created successfully",
  "data": {
    "sag": [{"sagName": "My SAG"}],
    "token": {"tokenId": "0.0.123456", "transactionId": "0.0.123@1234567890.123456789"},
    "minting": {
      "totalProcessed": 30, "totalFailed": 0, "batches": 6, "serialNumbers": [1, 2, 3, 4, 5],
      "summary": "Successfully minted 30 NFTs using 6 batches"}}}""")
TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"


# ---- shapes

def kind(value):
    """JSON's own types: an integer where the example has a fraction is a number as well."""
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def like(got, example, where=""):
    """got has every member of the example, with its type, at its place; more members are allowed beside them."""
    equal(kind(got), kind(example), where or "/", "in", got)
    if isinstance(example, dict):
        for name, value in example.items():
            check(name in got, f"{where}/{name} is missing in", got)
            like(got[name], value, f"{where}/{name}")
    elif isinstance(example, list) and example:
        for place, value in enumerate(got):
            like(value, example[0], f"{where}/{place}")
    elif isinstance(example, str) and re.match(TIME, example):
        matches(got, TIME, where)


def curl(mintd, *arguments, key=True, port=3018):
    """curl as written, with this daemon's port and the key: status, body."""
    told = [argument.replace(f"localhost:{port}", f"127.0.0.1:{mintd.port}") for argument in arguments]
    if key:
        told += ["-H", f"x-admin-api-key: {mintd.key}"]
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *told], capture_output=True, text=True, timeout=60, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def got(mintd, path):
    answer = mintd.api().get(path)
    equal(answer.status, 200, path, answer)
    return answer.json


def states(store, venue=None):
    """COUNT(*) of items by state, out of the rows themselves."""
    counts = collections.Counter()
    for row in store.items():
        name = store.one("SELECT name FROM venues WHERE id = ?", row["venue"])
        if venue in (None, name):
            counts[row["state"]] += 1
    return counts


# ---- the dashboard and the figures of a venue

def figures(mintd, venue=None):
    with mintd.store() as store:
        n = states(store, venue)
    failed = n[11] + n[12]
    return {"total": sum(n.values()), "pending": sum(n.values()) - n[10] - failed, "failed": failed, "done": n[10]}


def percent(part, whole):
    """Two digits, halves up, without floating point."""
    return (part * 10000 * 2 + whole) // (2 * whole) / 100 if whole else 0


def dashboard_equals_rows(mintd):
    seen, rows = got(mintd, "/admin/dashboard"), figures(mintd)
    like(seen, DASHBOARD)
    equal([seen["totalMints"], seen["pendingMints"], seen["failedMints"], seen["successfulMints"]],
          [rows["total"], rows["pending"], rows["failed"], rows["done"]], seen)
    return seen


def stats_equal_rows(mintd, venue):
    seen, rows = got(mintd, f"/admin/stats/{venue}"), figures(mintd, venue)
    like(seen, VENUE_STATS)
    equal(seen["venueId"], venue)
    equal([seen["totalMints"], seen["successfulMints"], seen["failedMints"], seen["pendingMints"]],
          [rows["total"], rows["done"], rows["failed"], rows["pending"]], seen)
    equal(seen["successRate"], percent(rows["done"], rows["done"] + rows["failed"]))
    with mintd.store() as store:
        ms, n = store.rows("SELECT coalesce(sum(n * (minted_at - accepted_at)), 0), coalesce(sum(n), 0) FROM chunks "
                           "WHERE kind = 0 AND state = 10 AND venue = (SELECT id FROM venues WHERE name = ?)", venue)[0]
    equal(seen["avgMintTimeSeconds"], (2 * ms + 10 * n) // (20 * n) / 100 if n else 0, seen)
    equal(got(mintd, f"/v1/venues/{venue}/stats"), seen)
    return seen


@test
def eight_of_450_fail_and_the_figures_say_98_22(folder):
    bad = [f"Concert B{n}" for n in range(8)]
    with Daemon(folder, Config("hedera-like", chain={"fail_names": bad})).start() as mintd:
        api = mintd.api()
        items = tickets("t", 442) + [ticket(f"bad-{n}", seat=f"B{n}") for n in range(8)]
        answer = api.mint("venue-123", items, prefer="wait=60")
        equal(answer.status, 200, answer)
        equal(api.mint("venue-9", tickets("u", 3)).status, 200)
        seen = stats_equal_rows(mintd, "venue-123")
        equal([seen[name] for name in ("totalMints", "successfulMints", "failedMints", "successRate")], [450, 442, 8, 98.22])
        raw = api.get("/admin/stats/venue-123").text
        matches(raw, r'"successRate":98\.22,"avgMintTimeSeconds":\d+\.\d\d,')
        equal(stats_equal_rows(mintd, "venue-9")["successRate"], 100)
        board = dashboard_equals_rows(mintd)
        equal([board["totalMints"], board["failedMints"], board["pendingMints"]], [453, 8, 0])
        status, body = curl(mintd, "http://localhost:3018/admin/dashboard")
        equal((status, json.loads(body)), (200, board))
        matches(subprocess.run([os.path.join(mintd.build, "mintd"), "--describe", "core"], capture_output=True, text=True, check=True).stdout,
                r"port\b[^\n]*3018", "the port of the documentation is the default")
        sums = [got(mintd, f"/admin/stats/{venue}") for venue in ("venue-123", "venue-9")]
        for whole, part in (("totalMints", "totalMints"), ("failedMints", "failedMints"), ("successfulMints", "successfulMints"),
                            ("pendingMints", "pendingMints")):
            equal(board[whole], sum(one[part] for one in sums), whole)


@test
def the_ten_latest_mints_stand_newest_first(folder):
    with Daemon(folder, Config("solana-like", mint={"batch": 1, "window": 1, "window_max": 1})).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("a", 7), prefer="wait=60").status, 200)
        equal(len(dashboard_equals_rows(mintd)["recentMints"]), 7)
        equal(mintd.api().mint("venue-2", tickets("b", 6), prefer="wait=60").status, 200)
        recent = dashboard_equals_rows(mintd)["recentMints"]
        equal(len(recent), 10)
        times = [row["mintedAt"] for row in recent]
        equal(times, sorted(times, reverse=True))
        with mintd.store() as store:
            newest = store.rows("SELECT id FROM chunks WHERE kind = 0 AND state = 10 ORDER BY minted_at DESC, id DESC LIMIT 10")
            at = {row["chunk"]: row["ticket"] for row in store.items()}
        equal([row["ticketId"] for row in recent], [at[row["id"]] for row in newest])
        equal({row["venueId"] for row in recent[:6]}, {"venue-2"})
        one = mintd.api().get(f"/v1/venues/venue-2/tickets/{recent[0]['ticketId']}").json
        for name in ("signature", "metadataUri", "asset", "state"):
            equal(recent[0][name], one[name], name)
        equal(recent[0]["batchId"], one["batch"]["batchId"])


@test
def figures_equal_the_rows_at_every_moment_and_after_kills(folder):
    """Counters are written with the rows, so a kill anywhere leaves both or neither."""
    config = Config("hedera-like", chain={"fail_names": ["Concert B1", "Concert B2"], "latency": "60ms"}, mint={"batch": 4, "window": 4})
    with Daemon(folder, config).start() as mintd:
        mintd.api().mint("venue-1", tickets("t", 240) + [ticket("bad-1", seat="B1"), ticket("bad-2", seat="B2")], prefer="respond-async")
        for _ in range(4):
            time.sleep(0.25)
            mintd.kill()
            rows = figures(mintd)
            mintd.start()
            seen = got(mintd, "/admin/dashboard")
            equal(seen["totalMints"], rows["total"])
            check(seen["successfulMints"] >= rows["done"] and seen["failedMints"] >= rows["failed"], seen, rows)
            equal(seen["totalMints"], seen["pendingMints"] + seen["failedMints"] + seen["successfulMints"], seen)
        until(lambda: got(mintd, "/admin/dashboard")["pendingMints"] == 0, 60, "everything is settled")
        equal([dashboard_equals_rows(mintd)[name] for name in ("totalMints", "failedMints")], [242, 2])
        api = mintd.api()
        where = api.get("/v1/batches").json["batches"][0]["links"]["self"]
        equal(api.call("POST", where + "/retry").json["tickets"], 2)
        until(lambda: got(mintd, "/admin/dashboard")["pendingMints"] == 0, 60, "the retried ones are settled")
        dashboard_equals_rows(mintd)
        stats_equal_rows(mintd, "venue-1")


@test
def venues_are_listed_with_their_figures(folder):
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        api = mintd.api()
        equal(got(mintd, "/v1/venues"), {"venues": []})
        for n in range(5):
            equal(api.mint(f"venue-{n}", tickets("t", n + 1)).status, 200)
        seen, path = [], "/v1/venues?limit=2"
        while path:
            page = got(mintd, path)
            check(len(page["venues"]) <= 2, page)
            seen += page["venues"]
            path = f"/v1/venues?limit=2&cursor={page['next']}" if "next" in page else None
        equal([(row["venueId"], row["totalMints"]) for row in seen], [(f"venue-{n}", n + 1) for n in range(5)])
        for row in seen:
            equal(got(mintd, f"/admin/stats/{row['venueId']}"), row)
        lines = api.get("/v1/venues", headers={"Accept": "text/csv"}).text.split()
        equal(lines[0], "venueId,totalMints,successfulMints,failedMints,successRate,avgMintTimeSeconds,pendingMints")
        equal(len(lines), 6)
        matches(lines[5], r"^venue-4,5,5,0,100\.00,\d+\.\d\d,0$")
        unknown = api.get("/admin/stats/nobody")
        equal((unknown.status, unknown.code), (404, "venue.unknown"), unknown)
        twice = api.get("/v1/venues?limit=0")
        equal((twice.status, twice.code), (400, "query.limit"), twice)


# ---- the state of the system

@test
def the_status_has_the_shape_of_the_seed(folder):
    with Daemon(folder, Config("solana-like", chain={"coin": "SOL", "balance": "1.2345 loc"})).start() as mintd:
        until(lambda: got(mintd, "/admin/system/status")["balanceMonitor"]["lastCheck"], 5, "the wallets were looked at")
        status, body = curl(mintd, "http://localhost:3018/admin/system/status")
        equal(status, 200, body)
        seen = json.loads(body)
        like(seen, STATUS)
        monitor = seen["balanceMonitor"]
        equal([monitor["balance"], monitor["sufficient"], monitor["minRequired"]], [1.2345, True, 0.1])
        equal([monitor["chain"], monitor["role"], monitor["currency"]], ["local", "payer", "SOL"])
        equal(seen["database"]["connected"], True)
        equal([seen["cache"]["enabled"], seen["cache"]["connected"], seen["cache"]["keyCount"]], [True, True, 0])
        equal(seen["accepting"], True)
        equal(seen["chains"][0]["connected"], True)
        equal(len(seen["wallets"]), 1)
        matches(seen["version"], r"^\d+\.\d+")
        equal(set(got(mintd, "/v1/status")) - set(seen), set())
        equal(mintd.api().mint("venue-1", tickets("t", 8)).status, 200)
        with mintd.store() as store:
            uris = store.one("SELECT count(DISTINCT uri) FROM items")
        equal(got(mintd, "/admin/system/status")["cache"]["keyCount"], uris)
        equal(got(mintd, "/admin/system/status")["queue"], {"pending": 0, "quarantined": 0})
        equal(mintd.stop(), 0, mintd.log[-1500:])


class Bare(Config):
    """Without any cache."""

    def write(self, folder):
        super().write(folder)
        with open(self.path(folder), encoding="utf-8") as file:
            lines = file.read()
        lines = re.sub(r'cache = "hot";', "", re.sub(r"hot: \{.*?\}; \};|hot: \{[^}]*\};", "", lines))
        with open(self.path(folder), "w", encoding="utf-8") as file:
            file.write(lines)


@test
def without_a_cache_it_says_so_and_still_works(folder):
    with Daemon(folder, Bare("hedera-like")).start() as mintd:
        api = mintd.api()
        equal(got(mintd, "/admin/system/status")["cache"], {"enabled": False, "connected": False, "keyCount": 0})
        stats = got(mintd, "/admin/cache/stats")
        like(stats, CACHE_STATS)
        equal([stats["enabled"], stats["connected"], stats["caches"]], [False, False, []])
        equal(api.mint("venue-1", tickets("t", 3)).status, 200)
        cleared = api.call("DELETE", "/admin/cache/clear")
        equal(cleared.status, 200, cleared)
        equal([cleared.json["enabled"], cleared.json["removed"]], [False, 0])
        equal(api.call("DELETE", "/admin/cache/t-000001").json["removed"], 0)


@test
def a_store_that_hangs_does_not_hang_the_status(folder):
    """Another process holds the locks that every reader of the database needs."""
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        equal(mintd.api().mint("venue-1", tickets("t", 3)).status, 200)
        with open(mintd.config.database(folder) + "-shm", "r+b") as shm:
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 123, 5, 0)         # WAL_READ_LOCK 0 to 4
            fcntl.fcntl(shm, fcntl.F_OFD_SETLKW, lock)
            began = time.monotonic()
            seen = got(mintd, "/admin/system/status")
            took = time.monotonic() - began
            free = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 123, 5, 0)
            fcntl.fcntl(shm, fcntl.F_OFD_SETLK, free)
        like(seen, STATUS)
        equal(seen["database"]["connected"], False, seen)
        equal(seen["cache"]["connected"], True, seen)
        check("queue" not in seen, seen)
        check(took < 3, "it took", took, "s")
        until(lambda: got(mintd, "/admin/system/status")["database"]["connected"], 20, "the database is back")


@test
def a_wallet_that_runs_low_is_said_once(folder):
    """0.1005 coins, and each transaction costs: after some mints less than min_balance is left; refilled, it is enough again."""
    config = Config("hedera-like", top={"balance_check": "100ms"}, chain={"balance": "0.1005 loc", "fee_tx": "10000 nloc", "fee_item": "50000 nloc",
                                                                          "fee_collection": "0 nloc"})
    with Daemon(folder, config).start() as mintd:
        def monitor():
            return got(mintd, "/admin/system/status")["balanceMonitor"]

        def events():
            with mintd.store() as store:
                return [row["kind"] for row in store.rows("SELECT kind FROM events WHERE kind LIKE 'wallet.%' ORDER BY slot, seq")]

        until(lambda: monitor()["balance"] == 0.1005, 5, "the balance is known")
        equal([monitor()["sufficient"], events()], [True, []])
        equal(mintd.api().metrics().sum("mintd_wallet_sufficient", chain="local", role="payer"), 1)
        equal(mintd.api().mint("venue-1", tickets("t", 30)).status, 200)
        until(lambda: not monitor()["sufficient"], 5, "it is too little")
        with mintd.store() as store:
            spent = store.one("SELECT sum(fee) FROM chunks")
        equal(monitor()["balance"], (100500000 - spent) / 1e9)
        until(lambda: events() == ["wallet.low"], 5, "the event")
        matches(mintd.log, r"WARN.*wallet payer of chain local .*is below the limit of 0\.1 LOC|warn.*below the limit of 0\.1")
        with mintd.store() as store:
            body = json.loads(store.one("SELECT body FROM events WHERE kind = 'wallet.low'"))
        equal([body["chain"], body["role"], body["minRequired"], body["currency"]], ["local", "payer", "0.1", "LOC"])
        equal(mintd.api().metrics().sum("mintd_wallet_sufficient", chain="local"), 0)
        check(abs(mintd.api().metrics().sum("mintd_wallet_balance", chain="local") - monitor()["balance"]) < 1e-9)
        equal(got(mintd, "/v1/wallets")["wallets"], got(mintd, "/admin/system/status")["wallets"])
        equal(mintd.stop(), 0)
        mintd.start()
        until(lambda: monitor()["lastCheck"], 5, "looked at after the restart")
        time.sleep(0.5)
        equal(events(), ["wallet.low"], "a restart is no news")
        config.chain["balance"] = "5 loc"
        config.write(folder)
        mintd.signal(1)
        until(lambda: events() == ["wallet.low", "wallet.ok"], 10, "the refill")
        equal(monitor()["sufficient"], True)


@test
def a_limit_of_its_own_and_one_that_is_none(folder):
    with Daemon(folder, Config("hedera-like", chain={"balance": "3 loc"}, pipeline={"min_balance": "3.000000001"})).start() as mintd:
        until(lambda: got(mintd, "/admin/system/status")["balanceMonitor"]["lastCheck"], 5, "looked at")
        matches(mintd.api().get("/admin/system/status").text, r'"balance":3,"sufficient":false,"minRequired":3\.000000001,')
    for wrong in ("", "-1", "1e3", "0,1", "much", "1."):
        bad = os.path.join(folder, "bad")
        config = Config("hedera-like", pipeline={"min_balance": wrong})
        config.write(bad)
        done = subprocess.run([os.path.join(mintd.build, "mintd"), "-t", "-c", config.path(bad)], capture_output=True, text=True, check=False,
                              env={**os.environ, "MINTD_PLUGIN_DIR": os.path.join(mintd.build, "plugins-out")})
        equal(done.returncode, 1, wrong, done.stdout)
        matches(done.stderr, r"mintd\.cfg:\d+: .*min_balance.*no amount", wrong)


# ---- the cache

@test
def the_cache_counts_and_forgets_what_it_is_told_to(folder):
    same = '{"name": "{{eventName}} {{seatNumber}}"}'       # the ticket's id is not in it, so another ticket may have the same metadata
    with Daemon(folder, Config("hedera-like", pipeline={"metadata": same})).start() as mintd:
        api = mintd.api()
        equal(api.mint("venue-1", tickets("t", 20)).status, 200)
        seen = got(mintd, "/admin/cache/stats")
        like(seen, CACHE_STATS)
        equal([seen["enabled"], seen["connected"], seen["hits"], seen["misses"], seen["hitRate"], seen["keyCount"]], [True, True, 0, 20, 0, 20])
        check(seen["memoryBytes"] > 20 * 64, seen)
        equal(got(mintd, "/v1/cache")["keyCount"], 20)
        metrics = api.metrics()
        equal([metrics.sum("minting_cache_hits_total"), metrics.sum("minting_cache_misses_total"), metrics.sum("minting_cache_hit_rate")], [0, 20, 0])
        equal(api.mint("venue-2", [{**row, "id": "again-" + row["id"]} for row in tickets("t", 20)[:10]]).status, 200)
        metrics = api.metrics()
        equal([metrics.sum("minting_cache_hits_total"), metrics.sum("minting_cache_misses_total")], [10, 20])
        check(abs(metrics.sum("minting_cache_hit_rate") - 100 / 3) < 1e-6, metrics.rows)
        seen = got(mintd, "/admin/cache/stats")
        equal([seen["hits"], seen["misses"], seen["hitRate"], seen["keyCount"]], [10, 20, 33.33, 20])
        status, body = curl(mintd, "-X", "DELETE", "http://localhost:3018/admin/cache/t-000003")
        equal(status, 200, body)
        equal([json.loads(body)["success"], json.loads(body)["ticketId"], json.loads(body)["removed"]], [True, "t-000003", 1])
        equal(got(mintd, "/admin/cache/stats")["keyCount"], 19)
        equal(api.call("DELETE", "/v1/cache/t-000003").json["removed"], 0)
        unknown = api.call("DELETE", "/admin/cache/nobody")
        equal((unknown.status, unknown.code), (404, "ticket.unknown"), unknown)
        equal(got(mintd, "/admin/cache/stats")["keyCount"], 19)
        status, body = curl(mintd, "-X", "DELETE", "http://localhost:3018/admin/cache/clear")
        equal((status, json.loads(body)["removed"]), (200, 19), body)
        equal(got(mintd, "/admin/cache/stats")["keyCount"], 0)
        equal(api.mint("venue-3", tickets("v", 2)).status, 200)
        equal(api.call("DELETE", "/v1/cache").json["removed"], 2)
        equal(mintd.stop(), 0, mintd.log[-1500:])


class Two(Config):
    """A second chain with its own wallet, and a second pipeline with its own cache."""

    def write(self, folder):
        super().write(folder)
        os.makedirs(os.path.join(folder, "conf.d"), exist_ok=True)
        with open(os.path.join(folder, "conf.d", "two.cfg"), "w", encoding="utf-8") as file:
            file.write(f"""
                default_pipeline = "tickets";
                instances: {{
                    other: {{ plugin = "chain-local"; opts: {{ profile = "hedera-like"; payer = "vault/payer"; balance = "4 loc"; coin = "OTH";
                                                              fee_item = "3000000 nloc"; ledger = "{folder}/other.ledger"; }}; }};
                    warm: {{ plugin = "cache-memory"; }};
                }};
                pipelines: {{ second: {{ chain = "other"; uploader = "files"; cache = "warm"; min_balance = "4.5"; }}; }};
                venues = ( {{ name = "venue-2"; pipeline = "second"; }} );
                """)


@test
def all_wallets_and_all_caches_are_asked(folder):
    with Daemon(folder, Two("hedera-like")).start() as mintd:
        api = mintd.api()
        wallets = until(lambda: (w := got(mintd, "/v1/wallets")["wallets"]) and all(one["lastCheck"] for one in w) and w, 5, "both were looked at")
        equal({one["chain"]: (one["currency"], one["sufficient"]) for one in wallets}, {"local": ("LOC", True), "other": ("OTH", False)})
        monitor = got(mintd, "/admin/system/status")["balanceMonitor"]
        equal([monitor["chain"], monitor["balance"], monitor["minRequired"], monitor["sufficient"]], ["other", 4, 4.5, False])
        equal([chain["name"] for chain in got(mintd, "/v1/status")["chains"]], ["local", "other"])
        equal(api.mint("venue-1", tickets("a", 5)).status, 200)
        equal(api.mint("venue-2", tickets("b", 7)).status, 200)
        seen = got(mintd, "/admin/cache/stats")
        equal({one["name"]: one["keyCount"] for one in seen["caches"]}, {"hot": 5, "warm": 7})
        equal([seen["keyCount"], seen["misses"], seen["memoryBytes"]], [12, 12, sum(one["memoryBytes"] for one in seen["caches"])])
        equal(got(mintd, "/admin/system/status")["cache"]["keyCount"], 12)
        equal(api.call("DELETE", "/admin/cache/b-000001").json["removed"], 1)
        equal(api.call("DELETE", "/admin/cache/clear").json["removed"], 11)
        equal([one["keyCount"] for one in got(mintd, "/admin/cache/stats")["caches"]], [0, 0])
        for query, currency, amount in (("count=10", "LOC", "0.02001"), ("count=10&pipeline=second", "OTH", "0.04001"),
                                        ("count=10&venue=venue-2", "OTH", "0.030005")):
            guess = got(mintd, f"/v1/estimate?{query}")
            equal([guess["currency"], guess["amount"]], [currency, amount], query)
        equal(mintd.stop(), 0, mintd.log[-1500:])


# ---- estimates

def close_to(got, real, what, share=0.1):
    check(abs(got - real) <= share * real, f"{what}: estimated {got}, really {real}, off by {100 * (got / real - 1):.1f} %")
    note(f"{what}: estimated {got}, really {real}: {100 * (got / real - 1):+.1f} %")


def estimated_and_minted(mintd, venue, count, prefix):
    """An estimate, then the same for real: amount against the fees of the rows, time against the batch's own figures. Up to three times, because
    the model knows the pipeline and the chain, not what else this machine has to do just now."""
    for turn in range(3):
        guess = got(mintd, f"/v1/estimate?count={count}&venue={venue}")
        with mintd.store() as store:
            before = store.one("SELECT coalesce(sum(fee), 0) FROM chunks")
        answer = mintd.api(120).mint(venue, tickets(f"{prefix}{turn}", count), prefer="wait=120")
        equal((answer.status, answer.json["summary"]["succeeded"]), (200, count), answer)
        with mintd.store() as store:
            spent = store.one("SELECT sum(fee) FROM chunks") - before
            planned = store.one("SELECT count(*) FROM chunks WHERE kind = 0 AND id >> 24 = ?", int(answer.json["batchId"]))
        what = f"{prefix}: {count} into a {'new' if guess['newCollection'] else 'known'} collection"
        equal(guess["transactions"], planned, what)
        close_to(float(guess["amount"]), spent / 1e9, what + ", amount")
        equal(sum(round(float(line["amount"]) * 1e9) for line in guess["breakdown"]), round(float(guess["amount"]) * 1e9))
        for line in guess["breakdown"]:
            equal(round(float(line["each"]) * 1e9) * line["count"], round(float(line["amount"]) * 1e9), line)
        real = answer.json["summary"]["totalDuration"]
        note(f"{what}, time: estimated {guess['estimatedTimeSeconds']}, really {real}: {100 * (guess['estimatedTimeSeconds'] / real - 1):+.1f} %")
        if abs(guess["estimatedTimeSeconds"] - real) <= 0.1 * real:
            return guess
        venue += "-again" if guess["newCollection"] else ""
    raise AssertionError(f"{what}: three times off by more than 10 %")


@test
def estimates_of_a_chain_with_blocks_come_true(folder):
    with Daemon(folder, Config("solana-like", chain={"coin": "SOL", "slot_ms": 30, "finality": 40, "usd": "150 usd"})).start() as mintd:
        status, body = curl(mintd, "http://localhost:3018/admin/batch-mint/estimate?count=100")
        equal(status, 200, body)
        seen = json.loads(body)
        like(seen, ESTIMATE)
        equal([seen["count"], seen["currency"], seen["transactions"], seen["newCollection"]], [100, "SOL", 25, True])
        equal([seen["estimatedSOL"], seen["amount"]], [0.11013, "0.11013"])
        equal(seen["estimatedUSD"], 16.5195)
        equal([seen["feeSource"], seen["deliveries"]], ["local", 0])
        equal(got(mintd, "/v1/estimate?count=100")["amount"], "0.11013")
        equal(estimated_and_minted(mintd, "venue-1", 60, "a")["newCollection"], True)
        equal(estimated_and_minted(mintd, "venue-1", 160, "b")["newCollection"], False)
        equal(estimated_and_minted(mintd, "venue-2", 160, "c")["newCollection"], True)
        equal(got(mintd, "/v1/estimate?count=1&venue=venue-2&collection=venue-2")["newCollection"], False)
        equal(got(mintd, "/v1/estimate?count=1&venue=venue-2&collection=another")["newCollection"], True)
        equal(mintd.stop(), 0, mintd.log[-1500:])


@test
def estimates_with_published_rates_come_true(folder):
    config = Config("hedera-like", chain={"network_rate": 40000, "burst": "1s", "latency": "300ms"})
    with Daemon(folder, config).start() as mintd:
        guess = estimated_and_minted(mintd, "venue-1", 240, "a")
        equal(guess["currency"], "LOC")
        check("estimatedSOL" not in guess and "estimatedUSD" not in guess, guess)
        estimated_and_minted(mintd, "venue-1", 200, "b")
        estimated_and_minted(mintd, "venue-2", 200, "c")


@test
def estimates_of_waves_come_true(folder):
    mint = {"mode": "fixed", "batch": 5, "maxConcurrentWorkers": 3, "batch_delay": "200ms"}
    with Daemon(folder, Config("hedera-like", chain={"latency": "400ms"}, mint=mint)).start() as mintd:
        equal(estimated_and_minted(mintd, "venue-1", 30, "a")["transactions"], 6)
        estimated_and_minted(mintd, "venue-1", 60, "b")
        estimated_and_minted(mintd, "venue-2", 61, "c")


@test
def deliveries_are_part_of_the_price_where_there_are_some(folder):
    with Daemon(folder, Config("hedera-like", pipeline={"recipient": "0.0.4711"})).start() as mintd:
        guess = got(mintd, "/v1/estimate?count=95&venue=venue-1")
        equal([guess["transactions"], guess["deliveries"]], [10, 10])
        equal(mintd.api().mint("venue-1", tickets("t", 95), prefer="wait=60").status, 200)
        with mintd.store() as store:
            until(lambda: store.open_chunks() == 0, 30, "everything is delivered")
            equal(round(float(guess["amount"]) * 1e9), store.one("SELECT sum(fee) FROM chunks"))


@test
def questions_for_estimates_have_limits(folder):
    refused = {"": ("estimate.count", "count"), "?count=": ("estimate.count", "count"), "?count=0": ("estimate.count", "count"),
               "?count=1000000001": ("estimate.count", "count"), "?count=-1": ("estimate.count", "count"), "?count=1.5": ("estimate.count", "count"),
               "?count=1e3": ("estimate.count", "count"), "?count=99999999999999999999": ("estimate.count", "count"),
               "?count=5&pipeline=none": ("request.unknown_pipeline", "pipeline"), "?count=2": ("estimate.too_large", "count")}
    with Daemon(folder, Config("hedera-like", chain={"fee_item": "9000000000 loc", "balance": "9000000000 loc"})).start() as mintd:
        for path in ("/admin/batch-mint/estimate", "/v1/estimate"):
            for query, (code, pointer) in refused.items():
                answer = mintd.api().get(path + query)
                equal((answer.status, answer.code, answer.json["errors"][0]["pointer"]), (422, code, pointer), query, answer)
            equal(mintd.api().get(path + "?count=1&size=2").code, "query.unknown")
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM requests"), 0)
    with Daemon(os.path.join(folder, "most"), Config("hedera-like", chain={"fee_tx": "0 nloc", "fee_item": "0 nloc"})).start() as mintd:
        began = time.monotonic()
        guess = got(mintd, "/v1/estimate?count=1000000000")
        check(time.monotonic() - began < 0.5, "it took", time.monotonic() - began)
        equal(guess["transactions"], 100000000)


@test
def a_chain_that_is_not_there_cannot_be_asked(folder):
    with Daemon(folder, Config("hedera-like", top={"drain": "1s"}, chain={"read_latency": "30s"})).launch() as mintd:
        until(lambda: os.path.exists(os.path.join(mintd.state_dir, "admin.key")), 5, "the key")
        api = mintd.api()

        def alive():
            try:
                return api.get("/livez").status == 200
            except OSError:
                return False
        until(alive, 10, "it listens")
        answer = api.get("/v1/estimate?count=5")
        equal((answer.status, answer.code), (503, "estimate.unavailable"), answer)
        check(int(answer.headers["Retry-After"]) >= 1)
        seen = got(mintd, "/admin/system/status")
        equal([seen["balanceMonitor"]["balance"], seen["balanceMonitor"]["sufficient"], seen["accepting"]], [None, False, False])
        equal([chain["connected"] for chain in seen["chains"]], [False])
        equal(mintd.stop(), 0, mintd.log[-1500:])


# ---- batches

@test
def the_batch_of_the_seed_with_98_of_100(folder):
    with Daemon(folder, Config("solana-like", chain={"fail_names": ["Concert B1", "Concert B2"]})).start() as mintd:
        items = [*BATCH["tickets"], *tickets("t", 97), ticket("bad-1", seat="B1"), ticket("bad-2", seat="B2")]
        path = os.path.join(folder, "batch.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**BATCH, "tickets": items}, file)
        status, body = curl(mintd, "-X", "POST", "http://localhost:3018/admin/batch-mint", "-H", "Content-Type: application/json", "-d", "@" + path)
        equal(status, 200, body)
        seen = json.loads(body)
        like(seen, BATCH_ANSWER)
        summary = seen["summary"]
        equal([summary["total"], summary["succeeded"], summary["failed"]], [100, 98, 2])
        check(abs(summary["avgDuration"] - summary["totalDuration"] / 100) < 0.0001, summary)
        with mintd.store() as store:
            rows = {row["ticket"]: row for row in store.items()}
            equal(collections.Counter(row["state"] for row in rows.values()), {10: 98, 11: 2})
            for row in seen["successful"]:
                equal(row["metadataUri"], rows[row["ticketId"]]["uri"])
                equal(row["signature"], store.one("SELECT tx_id FROM attempts WHERE chunk = ? ORDER BY no DESC LIMIT 1", rows[row["ticketId"]]["chunk"]))
        equal({row["ticketId"] for row in seen["successful"]}, {name for name, row in rows.items() if row["state"] == 10})
        equal({row["ticketId"] for row in seen["failed"]}, {"bad-1", "bad-2"})
        metrics = until(lambda: (m := mintd.api().metrics()).sum("minting_batch_success_rate") and m, 5, "the batch is in the metrics")
        equal([metrics.sum("minting_batch_size_sum"), metrics.sum("minting_batch_size_count")], [100, 1])
        equal(metrics.sum("minting_batch_success_rate"), 0.98)
        equal(metrics.sum("minting_batch_duration_seconds_count"), 1)
        check(0 < metrics.sum("minting_batch_duration_seconds_sum") < 30)
        equal([metrics.sum("mintd_items_minted_total"), metrics.sum("mintd_items_failed_total", state="failed")], [98, 2])


@test
def calls_of_administrators_are_counted_by_route_and_code(folder):
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        api = mintd.api()
        first = api.metrics()
        check(first.has("minting_admin_requests_total") and first.has("minting_admin_errors_total"), "there from the start")
        equal([first.sum("minting_admin_requests_total"), first.sum("minting_admin_errors_total")], [0, 0])
        equal(api.get("/admin/mints/nobody").status, 404)
        equal(api.get("/admin/dashboard").status, 200)
        equal(api.get("/admin/dashboard", key=None).status, 401)
        equal(api.get("/admin/nothing").status, 404)
        equal(api.get("/v1/status").status, 200)
        seen = api.metrics()
        count = lambda **labels: seen.sum("minting_admin_requests_total", **labels)
        equal([count(), count(route="mint", code="404"), count(route="dashboard", code="200"), count(route="dashboard", code="401"),
               count(route="none", code="404"), count(route="status")], [4, 1, 1, 1, 1, 0])
        equal([seen.sum("minting_admin_errors_total"), seen.sum("minting_admin_errors_total", route="dashboard")], [3, 1])


# ---- SAGs

MODES = {"sequential": {"batch": 1, "window": 1, "window_max": 1},
         "fixed": {"mode": "fixed", "batch": 5, "maxConcurrentWorkers": 3, "batch_delay": "20ms"},
         "adaptive": {"batch": 5}}


def post_sag(mintd, name="My SAG", share=30, prefer=None, key=None, body=None, properties=None, **more):
    headers = {**({"Prefer": prefer} if prefer else {}), **({"Idempotency-Key": key} if key else {})}
    asked = {"sagName": name, "sagProperties": {"mintShare": share, **(properties or {})}, **more}
    return mintd.api(90).call("POST", "/api/v1/sag", json.dumps(asked).encode() if body is None else body, headers)


def sag_equals_rows(mintd, seen, name="My SAG", venue="sag"):
    """Every number of the document, counted once more in the rows."""
    like(seen, SAG_ANSWER)
    minting, token = seen["data"]["minting"], seen["data"]["token"]
    with mintd.store() as store:
        col = store.rows("SELECT c.id, c.chain_ref, v.name AS venue FROM collections c JOIN venues v ON v.id = c.venue WHERE c.name = ?", name)
        equal([(row["chain_ref"], row["venue"]) for row in col], [(token["tokenId"], venue)])
        creations = store.rows("SELECT id FROM chunks WHERE kind = 1 AND collection = ?", col[0]["id"])
        equal(len(creations), 1, "the collection is created once")
        equal(token["transactionId"], store.one("SELECT tx_id FROM attempts WHERE chunk = ? ORDER BY no DESC LIMIT 1", creations[0]["id"]))
        items = sorted((row for row in store.items() if row["ticket"].startswith(f"sag/{name}/")), key=lambda row: int(row["ticket"].rsplit("/", 1)[1]))
        requests = sorted({row["request"] for row in items})
        marks = ",".join("?" * len(requests))
        equal(minting["batches"], store.one(f"SELECT count(*) FROM chunks WHERE kind = 0 AND origin = 0 AND id >> 24 IN ({marks})", *requests))
    done = [row for row in items if row["state"] == 10]
    equal([minting["totalProcessed"], minting["totalFailed"]], [len(items), len(items) - len(done)], minting)
    serials = [row["first_serial"] + row["pos"] for row in done if row["first_serial"]]
    equal(minting["serialNumbers"], serials, "serials in the order of the items")
    equal(len(set(serials)), len(serials), "none twice")
    equal(sorted(serials), list(range(1, len(serials) + 1)), "none missing")
    lost = [entry["item"] for batch in minting["errors"] for entry in batch["items"]]
    equal(lost, [int(row["ticket"].rsplit("/", 1)[1]) for row in items if row["state"] != 10])
    for batch in minting["errors"]:
        check(batch["error"] and batch["code"] and 1 <= batch["batch"] <= minting["batches"], batch)
        for entry in batch["items"]:
            check(entry["error"] and entry["code"] and entry["state"] == "failed", entry)
            equal(entry["ticketId"], f"sag/{name}/{entry['item']}")
    equal([int(one) for one in seen["data"]["sag"][0]["batches"]], requests)
    return minting


def sag_in_every_mode(folder, profile):
    shapes = []
    for mode, mint in MODES.items():
        with Daemon(os.path.join(folder, mode), Config(profile, mint=mint, chain={"fail_names": ["Bad #3", "Bad #4", "Bad #17"]})).start() as mintd:
            answer = post_sag(mintd)
            equal(answer.status, 200, mode, answer)
            minting = sag_equals_rows(mintd, answer.json)
            batches = {"sequential": 30, "fixed": 6, "adaptive": 6}[mode] if profile == "hedera-like" else minting["batches"]
            equal([minting["totalProcessed"], minting["totalFailed"], minting["batches"], minting["errors"]], [30, 0, batches, []])
            equal(minting["summary"], f"Successfully minted 30 NFTs using {batches} batches")
            bad = post_sag(mintd, name="Bad", share=20)
            equal(bad.status, 200, mode, bad)
            minting = sag_equals_rows(mintd, bad.json, "Bad")
            equal([bad.json["success"], minting["totalProcessed"], minting["totalFailed"]], [True, 20, 3])
            equal(minting["summary"], f"Minted 17 of 20 NFTs using {minting['batches']} batches, 3 failed")
            equal(len({batch["batch"] for batch in minting["errors"]}), len(minting["errors"]), "one entry for each batch")
            shapes.append({name: kind(value) for part in (bad.json, bad.json["data"], minting) for name, value in part.items()})
    equal(shapes[0], shapes[1])
    equal(shapes[1], shapes[2])


@test
def a_sag_has_the_same_shape_in_every_mode_where_the_chain_counts(folder):
    sag_in_every_mode(folder, "hedera-like")


@test
def a_sag_has_the_same_shape_in_every_mode_where_items_have_addresses(folder):
    sag_in_every_mode(folder, "solana-like")


@test
def the_sag_of_the_seed_sent_with_curl(folder):
    with Daemon(folder, Config("hedera-like", mint=MODES["adaptive"])).start() as mintd:
        status, body = curl(mintd, "-X", "POST", "http://localhost:3018/api/v1/sag", "-H", "Content-Type: application/json", "-d", json.dumps(SAG))
        equal(status, 200, body)
        seen = json.loads(body)
        minting = sag_equals_rows(mintd, seen)
        equal([seen["success"], seen["message"], minting["summary"]],
              [True, "SAG created successfully", "Successfully minted 30 NFTs using 6 batches"])
        equal(sorted(minting["serialNumbers"]), list(range(1, 31)))
        status, body = curl(mintd, "-X", "POST", "http://localhost:3018/api/v1/sag", "-H", "Content-Type: application/json", "-d", json.dumps(SAG), key=False)
        equal((status, body), (401, '{"error":"Unauthorized"}'))
        equal(mintd.stop(), 0, mintd.log[-1500:])


@test
def a_sag_sent_again_mints_nothing_twice(folder):
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        def minted():
            with mintd.store() as store:
                return store.one("SELECT count(*) FROM items"), store.one("SELECT count(*) FROM chunks WHERE kind = 1"), store.one("SELECT count(*) FROM requests")

        first = post_sag(mintd, share=20, properties={"artist": "X"}).json
        equal(post_sag(mintd, share=20, properties={"artist": "X"}).json, first)
        equal(minted(), (20, 1, 1))
        more = post_sag(mintd, share=25, properties={"artist": "X"})
        equal(sag_equals_rows(mintd, more.json)["totalProcessed"], 25)
        equal(minted(), (25, 1, 2))
        other = post_sag(mintd, share=25, properties={"artist": "Y"})
        equal((other.status, other.code, other.json["errors"][0]["pointer"]), (409, "sag.exists", "/sagName"), other)
        equal(minted(), (25, 1, 2))
        equal(post_sag(mintd, share=3, venueId="venue-7").status, 200)
        keyed = post_sag(mintd, name="Keyed", share=4, key="once")
        equal(keyed.status, 200, keyed)
        again = post_sag(mintd, name="Keyed", share=4, key="once")
        equal((again.status, again.headers["Idempotency-Replayed"], again.json), (200, "true", keyed.json), again)
        wrong = post_sag(mintd, name="Keyed", share=5, key="once")
        equal((wrong.status, wrong.code), (422, "idempotency.other_body"), wrong)
        equal(minted(), (32, 3, 4))
        equal(mintd.stop(), 0, mintd.log[-1500:])


@test
def a_large_or_impatient_sag_gets_a_place_to_look(folder):
    with Daemon(folder, Config("hedera-like", api={"sync_items": 100}, chain={"latency": "300ms"})).start() as mintd:
        for share, prefer in ((101, None), (100, "respond-async"), (99, "wait=0")):
            answer = post_sag(mintd, name=f"SAG {share}", share=share, prefer=prefer)
            equal(answer.status, 202, answer)
            equal(mintd.api().follow(answer.headers["Location"])["summary"], {"total": share, "succeeded": share, "failed": 0})
        later = post_sag(mintd, name="SAG 100", share=100)
        equal(later.status, 200, later)
        sag_equals_rows(mintd, later.json, "SAG 100")
        big = post_sag(mintd, name="Big", share=12345, properties={"note": "x" * 500})    # streamed into the store
        equal(big.status, 202, big)
        equal(mintd.api().get(big.headers["Location"]).json["summary"]["total"], 12345)
        started = threading.Thread(target=lambda: time.sleep(0.3) or mintd.signal(15))
        started.start()
        waiting = post_sag(mintd, name="Waiting", share=50, prefer="wait=60")
        started.join()
        check(waiting.status in (200, 202), waiting)
        equal(mintd.wait(), 0)


@test
def a_sag_survives_a_kill_with_one_collection(folder):
    with Daemon(folder, Config("hedera-like", chain={"latency": "400ms"}, mint={"batch": 2, "window": 2, "window_max": 2})).start() as mintd:
        equal(post_sag(mintd, share=12, prefer="respond-async").status, 202)
        for _ in range(3):
            time.sleep(0.3)
            mintd.kill()
            mintd.start()
            answer = post_sag(mintd, share=12, prefer="respond-async")
            check(answer.status in (202, 409), answer)
        answer = until(lambda: (a := post_sag(mintd, share=12, prefer="wait=30")).status == 200 and a, 60, "it is minted")
        equal(sag_equals_rows(mintd, answer.json)["totalFailed"], 0)
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM items"), 12)
        check("artist" not in mintd.log and "payer.key" not in mintd.log.replace("keys/payer.key", ""), "neither properties nor keys are in the log")


@test
def what_is_wrong_with_a_sag_is_named(folder):
    good = {"sagName": "S", "sagProperties": {"mintShare": 1}}
    bad = [(b"", 422, "field.required", "/sagName"), (b"{", 400, None, None), (b"[]", 422, "field.type", None),
           ({**good, "sagName": ""}, 422, "field.empty", "/sagName"), ({**good, "sagName": "n" * 101}, 422, "field.too_long", "/sagName"),
           ({**good, "sagName": 5}, 422, "field.type", "/sagName"), ({"sagName": "S"}, 422, "field.required", "/sagProperties"),
           ({**good, "sagProperties": []}, 422, "field.type", "/sagProperties"),
           ({**good, "sagProperties": {}}, 422, "field.required", "/sagProperties/mintShare"),
           ({**good, "sagProperties": {"mintShare": 0}}, 422, "field.range", "/sagProperties/mintShare"),
           ({**good, "sagProperties": {"mintShare": -1}}, 422, "field.range", "/sagProperties/mintShare"),
           ({**good, "sagProperties": {"mintShare": 1.5}}, 422, "field.range", "/sagProperties/mintShare"),
           ({**good, "sagProperties": {"mintShare": "30"}}, 422, "field.type", "/sagProperties/mintShare"),
           ({**good, "sagProperties": {"mintShare": 101}}, 422, "field.range", "/sagProperties/mintShare"),
           ({**good, "extra": 1}, 422, "field.unknown", "/extra"), ({**good, "pipeline": "none"}, 422, "request.unknown_pipeline", "/pipeline"),
           ({**good, "venueId": ""}, 422, "field.empty", "/venueId"), ({**good, "venueId": "v" * 129}, 422, "field.too_long", "/venueId"),
           (good, 422, "ticket.missing_field", "/sagProperties/artist"), (b'{"sagName":"S","sagName":"S"}', 400, None, None)]
    config = Config("hedera-like", api={"max_items": 100}, pipeline={"metadata": '{"name": "{{eventName}} of {{artist}}"}'})
    with Daemon(folder, config).start() as mintd:
        for body, status, code, pointer in bad:
            answer = post_sag(mintd, body=body if isinstance(body, bytes) else json.dumps(body).encode())
            equal(answer.status, status, body, answer)
            if code:
                equal(answer.code, code, body, answer)
            if pointer:
                equal(answer.json["errors"][0]["pointer"], pointer, body, answer)
        headers = mintd.api().call("POST", "/api/v1/sag", json.dumps(good).encode(), {"Idempotency-Key": "~x"})
        equal((headers.status, headers.code), (400, "idempotency.key"), headers)
        text = mintd.api().call("POST", "/api/v1/sag", b"{}", {"Content-Type": "text/plain"})
        equal((text.status, text.code), (415, "http.content_type"), text)
        huge = post_sag(mintd, properties={"note": "x" * 70000})
        equal((huge.status, huge.code), (413, "body.too_large"), huge)
        with mintd.store() as store:
            equal([store.one(f"SELECT count(*) FROM {table}") for table in ("items", "chunks", "collections")], [0, 0, 0])
        equal(post_sag(mintd, share=100, properties={"artist": "X"}).status, 200)
        equal(mintd.stop(), 0, mintd.log[-1500:])


@test
def a_key_of_one_venue_sees_and_makes_that_venue_alone(folder):
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        api = mintd.api()
        equal(api.mint("venue-1", tickets("a", 3)).status, 200)
        equal(api.mint("venue-2", tickets("b", 5)).status, 200)
        made = api.call("POST", "/v1/keys", json.dumps({"name": "one", "scope": "admin", "venue": "venue-1"}).encode())
        equal(made.status, 201, made)
        own = Api(mintd.port, made.json["key"])
        board = own.get("/admin/dashboard").json
        equal([board["totalMints"], {row["venueId"] for row in board["recentMints"]}], [3, {"venue-1"}])
        equal([row["venueId"] for row in own.get("/v1/venues").json["venues"]], ["venue-1"])
        equal(own.get("/admin/stats/venue-1").json["totalMints"], 3)
        equal(own.get("/v1/estimate?count=5").json["newCollection"], False)
        for path in ("/admin/stats/venue-2", "/v1/venues/venue-2/stats", "/v1/estimate?count=1&venue=venue-2", "/admin/system/status", "/v1/wallets",
                     "/admin/cache/stats"):
            equal((own.get(path).status, own.get(path).code), (403, "auth.venue"), path)
        equal(own.call("DELETE", "/admin/cache/a-000001").json["removed"], 1)
        equal(own.call("DELETE", "/admin/cache/b-000001").status, 404)
        equal(own.call("DELETE", "/admin/cache/clear").status, 403)
        sag = own.call("POST", "/api/v1/sag", json.dumps(SAG).encode())
        equal((sag.status, sag.json["data"]["sag"][0]["venueId"]), (200, "venue-1"), sag)
        foreign = own.call("POST", "/api/v1/sag", json.dumps({**SAG, "venueId": "venue-2"}).encode())
        equal((foreign.status, foreign.code), (403, "auth.venue"), foreign)
        equal(got(mintd, "/admin/dashboard")["totalMints"], 38)
        equal(mintd.stop(), 0, mintd.log[-1500:])


@test
def a_thousand_tickets_are_estimated_minted_and_what_failed_is_retried(folder):
    """The use case of the seed: estimate, execute, handle the failures."""
    config = Config("hedera-like", chain={"network_rate": 120000, "burst": "1s", "latency": "200ms", "fail_names": ["Concert B1", "Concert B2", "Concert B3"]})
    with Daemon(folder, config).start() as mintd:
        api = mintd.api(120)
        equal(api.mint("venue-1", tickets("warm", 100)).status, 200)               # it learns what this machine and chain take
        guess = got(mintd, "/admin/batch-mint/estimate?count=1000&venue=venue-123")
        items = tickets("t", 997) + [ticket(f"bad-{n}", seat=f"B{n}") for n in (1, 2, 3)]
        answer = api.mint("venue-123", items, prefer="wait=120")
        equal(answer.status, 200, answer)
        summary = answer.json["summary"]
        equal([summary["total"], summary["succeeded"], summary["failed"]], [1000, 997, 3])
        with mintd.store() as store:
            fees = store.one("SELECT sum(fee) FROM chunks WHERE venue = (SELECT id FROM venues WHERE name = 'venue-123')") / 1e9
        close_to(float(guess["amount"]), fees, "a thousand, amount")
        close_to(guess["estimatedTimeSeconds"], summary["totalDuration"], "a thousand, time", 0.25)      # three failed, and the machine may be busy
        equal(sorted(row["ticketId"] for row in answer.json["failed"]), ["bad-1", "bad-2", "bad-3"])
        equal(got(mintd, "/admin/stats/venue-123")["successRate"], 99.7)
        config.chain["fail_names"] = []
        config.write(folder)
        mintd.signal(1)
        until(lambda: "reload" in mintd.log.lower(), 10, "the reload")
        where = f"/v1/batches/{answer.json['batchId']}"
        until(lambda: api.call("POST", where + "/retry").status == 200 and api.follow(where)["summary"]["failed"] == 0, 30, "the failed three are minted")
        equal(stats_equal_rows(mintd, "venue-123")["successRate"], 100)


if __name__ == "__main__":
    sys.exit(main())
