#!/usr/bin/python3
"""Reconciliation: every planted discrepancy is found and none that is not there; it looks and changes nothing; its reports stay."""
import contextlib
import os
import re
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import ledger  # noqa: E402
from conf import FAULTS, Config  # noqa: E402
from mintd import Daemon, parallel, ticket, tickets  # noqa: E402
from tap import check, equal, main, matches, note, test, until  # noqa: E402

COLUMNS = ["id", "venue_id", "report_date", "total_checked", "confirmed", "not_found", "pending", "errors", "discrepancy_count",
           "discrepancy_rate", "report_data", "created_at"]
OWNER = "11111111111111111111111111111112"
# One ticket per transaction, so that what is planted about one says nothing about another; no patience for what is young.
ALONE = {"mint": {"batch": 1}, "reconcile": {"settle": "0s", "rate": 1000}}


def config(profile="solana-like", **more):
    return Config(profile, **{**ALONE, **more})


@contextlib.contextmanager
def tampered(path):
    """The database of a stopped daemon, its guards taken off and put back word by word."""
    db = sqlite3.connect(path, isolation_level=None)
    guards = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    db.execute("PRAGMA ignore_check_constraints = ON")
    for name, _ in guards:
        db.execute(f"DROP TRIGGER {name}")
    yield db
    for _, sql in guards:
        db.execute(sql)
    db.close()


def reconcile(mintd, venue="venue-1", **headers):
    answer = mintd.api(120).call("POST", f"/admin/reconcile/{venue}", headers=headers)
    equal(answer.status, 200, answer)
    counts(answer.json)
    return answer.json


def counts(found):
    """What must hold of every answer."""
    equal(found["confirmed"] + found["notFound"] + found["pending"] + found["errors"], found["totalChecked"], found)
    equal(len(found["discrepancies"]), min(found["discrepancyCount"], 1000))
    rate = found["discrepancyCount"] / found["totalChecked"] if found["totalChecked"] else 0
    check(abs(found["discrepancyRate"] - rate) < 1e-6, found)
    check(found["discrepancyCount"] + found["unverified"] == found["notFound"] + found["errors"], found)


def classes(found):
    return {each["ticketId"]: each["class"] for each in found["discrepancies"]}


def minted(mintd, venue="venue-1", count=20, prefix="t"):
    items = [ticket(f"{prefix}-{n}", seat=f"{prefix}{n}") for n in range(count)]
    answer = mintd.api(60).mint(venue, items)
    equal((answer.status, answer.json["summary"]["succeeded"]), (200, count))
    return {each["ticketId"]: each for each in answer.json["successful"]}


def state(path):
    """Everything that minting is about."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return [db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
                for table in ("chunks", "items", "attempts", "proofs", "item_moves", "collections", "requests")]


@test
def what_is_right_is_confirmed(folder):
    for profile in ("solana-like", "hedera-like", "null"):
        place = os.path.join(folder, profile)
        with Daemon(place, Config(profile, reconcile=ALONE["reconcile"])).start() as mintd:
            equal(mintd.api(60).mint("venue-1", tickets("a", 330)).status, 200)
            equal(mintd.api(60).mint("venue-1", tickets("b", 1)).status, 200)
            equal(mintd.api(60).mint("venue-2", tickets("a", 7)).status, 200)
            before = state(mintd.config.database(place))
            found = reconcile(mintd)
            equal((found["venueId"], found["totalChecked"], found["confirmed"], found["discrepancies"], found["discrepancyRate"], found["unverified"]),
                  ("venue-1", 331, 331, [], 0, 0), profile)
            check(found["durationSeconds"] >= 0 and re.match(r"^\d+$", found["reportId"]) and re.match(r"^\d{4}-.*Z$", found["reportDate"]), found)
            check(state(mintd.config.database(place)) == before, "reconciliation changed something", profile)
            equal(reconcile(mintd, "venue-2")["totalChecked"], 7)


@test
def every_planted_discrepancy_is_found_and_no_other(folder):
    cfg = config()
    with Daemon(folder, cfg).start() as mintd:
        done = minted(mintd)
        equal(reconcile(mintd)["discrepancies"], [])
        mintd.stop()
        with tampered(cfg.database(folder)) as db:
            place = "(SELECT id FROM items WHERE ticket = ?)"                      # of one ticket, the chunk's id is the item's
            db.execute("UPDATE items SET recipient = ? WHERE ticket = 't-1'", (OWNER,))
            db.execute("UPDATE items SET uri = 'ipfs://bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' WHERE ticket = 't-2'")
            db.execute("UPDATE items SET body = replace(body, 'Concert', 'Konzert') WHERE ticket = 't-3'")
            db.execute(f"UPDATE chunks SET block_time = block_time - 600001 WHERE id = {place}", ("t-4",))
            db.execute(f"UPDATE chunks SET block_time = block_time + 600000 WHERE id = {place}", ("t-5",))     # just within
            db.execute(f"UPDATE attempts SET tx_id = 'never' || tx_id WHERE chunk = {place}", ("t-6",))
            db.execute(f"UPDATE chunks SET state = 11, problem = 'pipe.attempts', error = 'gave up', minted_at = NULL, block_time = NULL, "
                       f"assets = NULL, fee = NULL, evidence = NULL WHERE id = {place}", ("t-7",))
            db.execute(f"UPDATE chunks SET assets = (SELECT assets FROM chunks WHERE id = {place}) WHERE id = {place}", ("t-9", "t-8"))
        ledger.refate(cfg.ledger(folder), {done["t-10"]["signature"]: ledger.DROPPED, done["t-11"]["signature"]: ledger.ERRED})
        before = state(cfg.database(folder))
        mintd.start()
        found = reconcile(mintd)
        wanted = {"t-1": "wrong_owner", "t-2": "wrong_metadata", "t-3": "wrong_metadata", "t-4": "late", "t-6": "transaction_missing",
                  "t-7": "landed_but_failed", "t-8": "wrong_metadata", "t-10": "not_found", "t-11": "transaction_failed"}
        equal(classes(found), wanted)
        equal((found["totalChecked"], found["confirmed"], found["notFound"], found["errors"], found["pending"], found["unverified"]), (20, 11, 1, 8, 0, 0))
        equal(found["discrepancyRate"], 9 / 20)
        details = {each["ticketId"]: each["detail"] for each in found["discrepancies"]}
        matches(details["t-1"], OWNER)
        matches(details["t-2"], "bafkreiaaaa")
        matches(details["t-4"], "600001 ms")
        matches(details["t-7"], re.escape(done["t-7"]["signature"]))
        check(state(cfg.database(folder)) == before, "it repaired something")
        m = mintd.api().metrics()
        for name in ("minting_reconciliation_discrepancies", "mintd_reconcile_discrepancies"):
            equal((m.sum(name, venue="venue-1"), m.sum(name, venue="venue-1", **{"class": "wrong_metadata"})), (9, 3))
        equal((m.sum("minting_reconciliation_fixed"), m.sum("minting_reconciliation_duration_count"), m.sum("mintd_reconcile_duration_seconds_count")), (0, 1, 1))
        with mintd.store() as store:
            bodies = dict(store.rows("SELECT kind, body FROM events WHERE kind LIKE 'reconcile.%' ORDER BY seq DESC LIMIT 2"))
        matches(bodies["reconcile.discrepancy"], r'"venue":"venue-1","discrepancies":9,"rate":45\.0000')
        matches(bodies["reconcile.finished"], r'"totalChecked":20,"confirmed":11,"notFound":1,"pending":0,"errors":8')


@test
def an_owner_on_a_chain_that_delivers_is_checked_too(folder):
    cfg = config("hedera-like")
    with Daemon(folder, cfg).start() as mintd:
        items = [{**ticket(f"t-{n}", seat=str(n)), "recipient": f"0.0.{1000 + n}"} for n in range(6)] + [ticket("plain")]
        equal(mintd.api(60).mint("venue-1", items).status, 200)

        def delivered():
            with mintd.store() as store:
                return store.one("SELECT count(*) FROM chunks WHERE state < 10") == 0

        until(delivered, 20, "the deliveries")
        equal((reconcile(mintd)["confirmed"], reconcile(mintd)["discrepancies"]), (7, []))
        mintd.stop()
        with tampered(cfg.database(folder)) as db:
            db.execute("UPDATE items SET recipient = '0.0.9999' WHERE ticket = 't-2'")
        mintd.start()
        equal(classes(reconcile(mintd)), {"t-2": "wrong_owner"})


@test
def a_ticket_that_an_earlier_transaction_minted_as_well_is_found(folder):
    cfg = config()
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=4)
        minted(mintd, "venue-2", 1, "other")
        mintd.stop()
        with tampered(cfg.database(folder)) as db:
            one, other = (db.execute("SELECT id FROM items WHERE ticket = ?", (name,)).fetchone()[0] for name in ("t-2", "other-0"))
            db.execute("UPDATE attempts SET no = 2 WHERE chunk = ?", (one,))
            db.execute("UPDATE attempts SET chunk = ? WHERE chunk = ?", (one, other))
            db.execute("UPDATE chunks SET attempt_no = 2 WHERE id = ?", (one,))
        mintd.start()
        equal(classes(reconcile(mintd)), {"t-2": "minted_twice"})
        equal(classes(reconcile(mintd, "venue-2")), {"other-0": "asset_missing"})


@test
def failed_and_cancelled_tickets_are_looked_for_as_well(folder):
    """With attempts that were proven dead, with none, moved by a retry: nothing of them is on the chain, so they are confirmed."""
    cfg = config(chain={"fail_names": ["Concert A3", "Concert A4"], "fail_at": "chain"})
    with Daemon(folder, cfg).start() as mintd:
        answer = mintd.api(60).mint("venue-1", [ticket(f"t-{n}", seat=f"A{n}") for n in range(8)])
        equal((answer.status, answer.json["summary"]["failed"]), (200, 2))
        equal(mintd.api().call("POST", f"/v1/batches/{answer.json['batchId']}/retry").status, 200)
        mintd.api().follow(f"/v1/batches/{answer.json['batchId']}")
        found = reconcile(mintd)
        equal((found["totalChecked"], found["confirmed"], found["discrepancies"], found["unverified"]), (8, 8, [], 0))
        with mintd.store() as store:
            first = store.one("SELECT a.tx_id FROM attempts a JOIN chunks c ON c.id = a.chunk WHERE c.state = 11 ORDER BY a.chunk LIMIT 1")
            name = store.one("SELECT i.ticket FROM items i JOIN attempts a ON a.chunk = i.id WHERE a.tx_id = ?", first)
        mintd.stop()
        ledger.refate(cfg.ledger(folder), {first: ledger.LANDED})
        mintd.start()
        equal(classes(reconcile(mintd)), {name: "landed_but_failed"}, "an attempt that a retry left behind landed after all")


@test
def no_answer_is_never_absence(folder):
    cfg = config()
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=6)
        mintd.stop()
        cfg.chain["restart"] = 1000                                    # every endpoint refuses connections
        cfg.write(folder)
        mintd.start()
        found = reconcile(mintd)
        equal((found["totalChecked"], found["errors"], found["unverified"], found["notFound"], found["discrepancies"], found["discrepancyRate"]),
              (6, 6, 6, 0, [], 0))
        report = mintd.api().get("/v1/reconciliations?venue=venue-1").json["reconciliations"][0]
        equal(sorted(each["ticketId"] for each in report["report_data"]["unverified"]), [f"t-{n}" for n in range(6)])
        with mintd.store() as store:
            equal(store.one("SELECT count(*) FROM events WHERE kind = 'reconcile.discrepancy'"), 0)
        mintd.stop()
        cfg.chain["restart"] = 0
        cfg.write(folder)
        mintd.start()
        equal(reconcile(mintd)["confirmed"], 6)


@test
def a_pipeline_that_is_gone_makes_its_tickets_unverified(folder):
    cfg = config()
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=3)
        mintd.stop()
        with open(cfg.path(folder), encoding="utf-8") as file:
            text = file.read()
        with open(cfg.path(folder), "w", encoding="utf-8") as file:
            file.write(text.replace("pipelines: { tickets:", "pipelines: { others:"))
        mintd.start()
        found = reconcile(mintd)
        equal((found["totalChecked"], found["unverified"], found["discrepancies"]), (3, 3, []))


@test
def faults_make_no_false_alarms(folder):
    for profile in ("solana-like", "hedera-like"):
        place = os.path.join(folder, profile)
        cfg = Config(profile, reconcile={"rate": 1000}, chain=FAULTS[profile])
        with Daemon(place, cfg).start() as mintd:
            answer = mintd.api(120).mint("venue-1", tickets("t", 120))
            check(answer.status in (200, 202), answer)
            if answer.status == 202:
                mintd.api().follow(answer.headers["Location"], timeout=90)
            found = [reconcile(mintd) for _ in range(3)]
            note(profile, [(each["confirmed"], each["unverified"]) for each in found])
            equal([each["discrepancies"] for each in found], [[]] * 3, profile)
            check(all(each["confirmed"] >= 60 for each in found), found)


@test
def it_works_while_minting_and_counts_each_ticket_once(folder):
    cfg = Config("solana-like", reconcile={"rate": 1000}, chain={"slot_ms": 100})
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=30)
        answer = mintd.api().mint("venue-1", tickets("later", 400), prefer="respond-async")
        equal(answer.status, 202)
        found = reconcile(mintd)
        equal(found["totalChecked"], 430)
        check(found["confirmed"] >= 30 and found["pending"] > 0 and found["discrepancies"] == [], found)
        mintd.api().follow(answer.headers["Location"], timeout=60)
        equal(reconcile(mintd)["confirmed"], 430)
        equal(mintd.api().metrics().sum("mintd_items_minted_total"), 430)


@test
def one_run_per_venue_and_the_caller_need_not_wait(folder):
    cfg = Config("solana-like", reconcile={"rate": 1, "settle": "0s"}, mint={"batch": 1})
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=70)
        api = mintd.api()
        answer = api.call("POST", "/v1/reconciliations", b'{"venueId": "venue-1"}', {"Prefer": "respond-async"})
        equal((answer.status, answer.json["venueId"], answer.json["state"]), (202, "venue-1", "running"))
        equal((answer.headers["Location"], answer.headers["Preference-Applied"]), ("/v1/reconciliations?venue=venue-1", "respond-async"))
        again = api.call("POST", "/admin/reconcile/venue-1")
        equal((again.status, again.code, again.headers["Retry-After"]), (409, "reconcile.running", "1"))
        equal(api.get(answer.headers["Location"]).json["reconciliations"], [])
        rows = until(lambda: api.get(answer.headers["Location"]).json["reconciliations"], 20, "the report of a run that nobody waits for")
        equal((len(rows), rows[0]["total_checked"], rows[0]["confirmed"]), (1, 70, 70))
        check(rows[0]["report_data"]["durationSeconds"] >= 2, "the rate of one question per second was not kept", rows[0])
        answer = api.call("POST", "/admin/reconcile/venue-1", headers={"Prefer": "wait=1"})
        equal((answer.status, answer.headers["Preference-Applied"]), (202, "wait=1"))
        until(lambda: len(api.get("/v1/reconciliations?venue=venue-1").json["reconciliations"]) == 2, 20, "its report")
        answer = api.call("POST", "/admin/reconcile/venue-1", headers={"Prefer": "wait=30"})
        equal((answer.status, answer.json["confirmed"], answer.headers["Preference-Applied"]), (200, 70, "wait=30"))


@test
def too_many_venues_at_once_are_refused(folder):
    cfg = Config("solana-like", reconcile={"rate": 1}, mint={"batch": 1})
    with Daemon(folder, cfg).start() as mintd:
        for n in range(5):
            minted(mintd, f"venue-{n}", 3, f"v{n}")
        codes = [mintd.api().call("POST", f"/admin/reconcile/venue-{n}", headers={"Prefer": "respond-async"}) for n in range(5)]
        equal([answer.status for answer in codes], [202] * 4 + [503])
        equal((codes[4].code, codes[4].headers["Retry-After"]), ("reconcile.busy", "1"))


@test
def a_stop_gives_a_run_up_and_tells_who_waits(folder):
    cfg = Config("solana-like", reconcile={"rate": 1}, mint={"batch": 1})
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=130)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(mintd.api().call("POST", "/admin/reconcile/venue-1")))
        thread.start()
        until(lambda: "reconciliation of venue venue-1 begins" in mintd.log, 5, "the run")
        equal(mintd.stop(), 0)
        thread.join()
        equal((answers[0].status, answers[0].code), (503, "server.draining"))
        mintd.start()
        equal(mintd.api().get("/v1/reconciliations?venue=venue-1").json["reconciliations"], [])
        check("left open" not in mintd.log and "bug of mintd" not in mintd.log, mintd.log[-500:])


@test
def a_client_that_leaves_does_not_end_the_run(folder):
    cfg = Config("solana-like", reconcile={"rate": 2}, mint={"batch": 1})
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=70)
        try:
            mintd.api(timeout=0.3).call("POST", "/admin/reconcile/venue-1")
            check(False, "it answered at once")
        except TimeoutError:
            pass
        until(lambda: mintd.api().get("/v1/reconciliations?venue=venue-1").json["reconciliations"], 20, "the report")


@test
def history_has_the_table_s_columns_newest_first_in_pages_for_ever(folder):
    cfg = config()
    with Daemon(folder, cfg).start() as mintd:
        minted(mintd, count=2)
        minted(mintd, "venue-2", 1, "x")
        ids = [int(reconcile(mintd)["reportId"]) for _ in range(5)]
        other = int(reconcile(mintd, "venue-2")["reportId"])
        mintd.kill()
        mintd.start()
        api = mintd.api()
        for path in ("/admin/reconcile/venue-1/history", "/v1/reconciliations?venue=venue-1"):
            document = api.get(path).json
            equal([row["id"] for row in document["reconciliations"]], ids[::-1])
            check("next" not in document)
        row = document["reconciliations"][0]
        equal(list(row), COLUMNS)
        equal((row["venue_id"], row["total_checked"], row["confirmed"], row["discrepancy_rate"]), ("venue-1", 2, 2, 0))
        check(isinstance(row["report_data"], dict) and isinstance(row["id"], int), row)
        matches(row["report_date"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        matches(row["created_at"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")
        seen, cursor = [], ""
        while cursor is not None:
            page = api.get(f"/admin/reconcile/venue-1/history?limit=2{cursor}").json
            seen += [row["id"] for row in page["reconciliations"]]
            cursor = f"&cursor={page['next']}" if "next" in page else None
        equal(seen, ids[::-1])
        equal([row["id"] for row in api.get("/v1/reconciliations").json["reconciliations"]], [other] + ids[::-1])
        with mintd.store() as store:
            check({name for name in COLUMNS} <= {column[1] for column in store.rows("PRAGMA table_info(reconciliation_reports)")})
            equal(store.one("SELECT count(*) FROM reconciliation_reports"), 6)


@test
def a_long_list_is_cut_and_its_count_is_not(folder):
    cfg = config()
    with Daemon(folder, cfg).start() as mintd:
        equal(mintd.api(60).mint("venue-1", tickets("t", 1100)).status, 202)
        mintd.api().follow("/v1/batches/1", timeout=60)
        equal(reconcile(mintd)["confirmed"], 1100)
        mintd.stop()
        with tampered(cfg.database(folder)) as db:
            db.execute("UPDATE items SET recipient = ? WHERE id % 11 != 0", (OWNER,))
            wrong = db.execute("SELECT count(*) FROM items WHERE recipient = ?", (OWNER,)).fetchone()[0]
        mintd.start()
        found = reconcile(mintd)
        equal((found["discrepancyCount"], len(found["discrepancies"]), found["errors"]), (wrong, min(wrong, 1000), wrong))
        report = mintd.api().get("/v1/reconciliations").json["reconciliations"][0]
        equal((report["discrepancy_count"], len(report["report_data"]["discrepancies"])), (wrong, min(wrong, 1000)))
        equal(report["report_data"]["truncated"], wrong > 1000)
        equal(report["discrepancy_rate"], round(wrong / 1100, 6))


@test
def refusals_say_why_and_leave_no_report(folder):
    with Daemon(folder, config()).start() as mintd:
        minted(mintd, count=1)
        api = mintd.api()
        for method, path, body, status, code in (
                ("POST", "/admin/reconcile/nowhere", None, 404, "venue.unknown"), ("POST", "/v1/reconciliations", b'{"venueId": "nowhere"}', 404, "venue.unknown"),
                ("GET", "/admin/reconcile/nowhere/history", None, 404, "venue.unknown"), ("GET", "/v1/reconciliations?venue=nowhere", None, 404, "venue.unknown"),
                ("POST", "/v1/reconciliations", b"{}", 422, "field.required"), ("POST", "/v1/reconciliations", b'{"venueId": 7}', 422, "field.type"),
                ("POST", "/v1/reconciliations", b'{"venueId": "venue-1", "fix": true}', 422, "field.unknown"),
                ("POST", "/admin/reconcile/venue-1", b'{"ticketIds": []}', 422, "field.unknown"),
                ("GET", "/v1/reconciliations?limit=0", None, 400, "query.limit"), ("GET", "/v1/reconciliations?limit=101", None, 400, "query.limit"),
                ("GET", "/v1/reconciliations?cursor=zz", None, 400, "query.cursor"), ("GET", "/v1/reconciliations?cursor=00ff", None, 400, "query.cursor"),
                ("GET", "/v1/reconciliations?venues=venue-1", None, 400, "query.unknown"), ("POST", "/admin/reconcile/venue-1?dry=1", None, 400, "query.unknown")):
            answer = api.call(method, path, body)
            equal((answer.status, answer.code), (status, code), method, path, body)
        for method, path in (("POST", "/admin/reconcile/venue-1"), ("GET", "/admin/reconcile/venue-1/history")):
            answer = api.call(method, path, key=None)
            equal((answer.status, answer.text), (401, '{"error":"Unauthorized"}'))
        equal(api.call("POST", "/admin/reconcile/venue-1/fix").status, 404)
        equal(api.get("/v1/reconciliations").json, {"reconciliations": []})


@test
def names_of_venues_are_escaped_in_the_location(folder):
    with Daemon(folder, config()).start() as mintd:
        venue = "Halle 7/ü&x"
        minted(mintd, venue, 1)
        answer = mintd.api().call("POST", "/v1/reconciliations", '{"venueId": "Halle 7/ü&x"}'.encode(), {"Prefer": "respond-async"})
        equal((answer.status, answer.headers["Location"]), (202, "/v1/reconciliations?venue=Halle%207%2F%C3%BC%26x"))
        rows = until(lambda: mintd.api().get(answer.headers["Location"]).json["reconciliations"], 10, "the report")
        equal(rows[0]["venue_id"], venue)
        done = parallel(lambda _: mintd.api().call("POST", "/admin/reconcile/Halle%207%2F%C3%BC%26x").status, range(3))
        check(set(done) <= {200, 409} and 200 in done, done)


if __name__ == "__main__":
    sys.exit(main())
