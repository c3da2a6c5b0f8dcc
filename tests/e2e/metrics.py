#!/usr/bin/python3
"""What the daemon tells about itself: metrics as dashboards and promtool read them, and the log from a request's header to its last line."""
import collections
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from conf import Config  # noqa: E402
from mintd import Daemon, batch, ticket, tickets  # noqa: E402
from tap import check, equal, main, matches, skip, test, until  # noqa: E402

# The names that dashboards of earlier deployments ask for, with their types.
SEED = {"minting_batch_size": "histogram", "minting_batch_duration_seconds": "histogram", "minting_batch_success_rate": "gauge",
        "minting_admin_requests_total": "counter", "minting_admin_errors_total": "counter",
        "minting_cache_hits_total": "counter", "minting_cache_misses_total": "counter", "minting_cache_hit_rate": "gauge",
        "minting_reconciliation_discrepancies": "gauge", "minting_reconciliation_fixed": "counter", "minting_reconciliation_duration": "histogram"}
# The same numbers under names that conform: base units, _total, ratios from 0 to 1.
TWINS = {"minting_batch_size": "mintd_batch_tickets", "minting_batch_duration_seconds": "mintd_batch_duration_seconds",
         "minting_batch_success_rate": "mintd_batch_success_ratio", "minting_cache_hits_total": "mintd_cache_hits_total",
         "minting_cache_misses_total": "mintd_cache_misses_total", "minting_cache_hit_rate": "mintd_cache_hit_ratio",
         "minting_reconciliation_discrepancies": "mintd_reconcile_discrepancies", "minting_reconciliation_fixed": "mintd_reconcile_fixed_total",
         "minting_reconciliation_duration": "mintd_reconcile_duration_seconds", "minting_admin_requests_total": "mintd_admin_requests_total",
         "minting_admin_errors_total": "mintd_admin_errors_total"}
OWN = {"mintd_build_info": "gauge", "mintd_loop_lag_seconds": "histogram", "mintd_stage_seconds": "histogram", "mintd_queue_depth": "gauge",
       "mintd_ops_total": "counter", "mintd_op_seconds": "histogram", "mintd_ops_in_flight": "gauge", "mintd_http_in_flight": "gauge",
       "mintd_http_requests_total": "counter", "mintd_http_request_seconds": "histogram", "mintd_transactions_in_flight": "gauge",
       "mintd_items_minted_total": "counter", "process_cpu_seconds_total": "counter", "process_resident_memory_bytes": "gauge",
       "process_threads": "gauge", "process_open_fds": "gauge", "process_max_fds": "gauge", "process_start_time_seconds": "gauge"}
# What promtool says about the spelling of names that are not ours to change. Nothing else is allowed.
FINDINGS = {'minting_reconciliation_fixed counter metrics should have "_total" suffix'}


def traffic(mintd):
    """Batches that work, one that is refused, a list, a wrong path: the text of the metrics afterwards."""
    api = mintd.api()
    equal(api.mint("venue-1", tickets("t", 12)).status, 200)
    equal(api.mint("venue-1", tickets("t", 12, pad=3)).status, 409)
    equal(api.get("/v1/batches").status, 200)
    equal(api.get("/nothing").status, 404)
    return api.get("/metrics").text


def types(text):
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def samples(text):
    return re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", text, re.M)


def family(name, known):
    """The metric that a sample belongs to."""
    for end in ("_bucket", "_sum", "_count"):
        base = name[:-len(end)] if name.endswith(end) else name
        if base != name and known.get(base) == "histogram":
            return base
    return name


@test
def every_promised_name_is_there_with_its_type(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        found = types(traffic(mintd))
        for name, kind in {**SEED, **OWN}.items():
            equal(found.get(name), kind, name)
        equal(len(SEED), 11)
        for name, twin in TWINS.items():
            equal(found.get(twin), found[name], twin)


@test
def a_twin_has_the_numbers_of_its_seed_name(folder):
    with Daemon(folder, Config("solana-like", mint={"batch": 1})).start() as mintd:
        traffic(mintd)
        api = mintd.api()
        equal(api.mint("venue-2", tickets("t", 12)).status, 200)         # the same metadata again: the cache knows its addresses
        equal(api.call("POST", "/admin/reconcile/venue-1").status, 200)
        m = api.metrics()
        for name, twin in TWINS.items():
            for end in ("_sum", "_count") if name + "_count" in {row[0] for row in m.rows} else ("",):
                scale = 100 if twin.endswith("hit_ratio") else 1
                check(abs(m.sum(name + end) - scale * m.sum(twin + end)) < 1e-9, name, m.sum(name + end), twin, m.sum(twin + end))
                check(m.sum(name + end) > 0 or "discrepancies" in name or "fixed" in name, name, "is 0: the test tells nothing")


@test
def every_sample_has_help_and_type_and_counts_make_sense(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        text = traffic(mintd)
        known, helps = types(text), dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.M))
        seen = collections.Counter()
        for name, labels, value in samples(text):
            base = family(name, known)
            check(base in known and helps.get(base), name, "has no HELP or TYPE")
            seen[name, labels] += 1
            if known[base] != "gauge":
                check(float(value) >= 0, name, labels, value)
        equal([key for key, times in seen.items() if times > 1], [], "samples that stand twice")
        equal([name for name, kind in known.items() if kind == "counter" and not name.endswith("_total")
               and not name.startswith("minting_")], [], "counters without _total")


@test
def the_numbers_are_those_of_the_traffic(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        traffic(mintd)
        m = mintd.api().metrics()
        equal(m.sum("minting_batch_size_count"), 1)
        equal(m.sum("minting_batch_size_sum"), 12)
        equal(m.sum("minting_admin_requests_total", route="batch_mint", code="200"), 1)
        equal(m.sum("minting_admin_requests_total", route="batch_mint", code="409"), 1)
        equal(m.sum("minting_admin_errors_total", route="batch_mint"), 1)
        equal(m.sum("mintd_http_requests_total", route="none", code="404"), 1)
        equal(m.sum("mintd_items_minted_total", pipeline="tickets"), 12)
        equal(m.sum("mintd_stage_seconds_count", stage="accept"), 1)
        for stage in ("upload", "ready", "sign", "broadcast", "land", "final"):
            check(m.sum("mintd_stage_seconds_count", stage=stage) >= 3, stage)
        check(m.sum("mintd_ops_total", **{"class": "ok"}) > 10)
        equal(m.sum("mintd_queue_depth"), 0, "nothing waits after the batch")
        check(m.sum("process_threads") >= 3 and 1e6 < m.sum("process_resident_memory_bytes") < 1e9)
        until(lambda: mintd.api().metrics().sum("mintd_loop_lag_seconds_count") >= 1, 5, "the lag of the loop")


@test
def a_failed_op_is_counted_by_instance_and_class(folder):
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        equal(api.call("POST", "/v1/database/backup").code, "store.no_backup")
        m = api.metrics()
        equal(m.sum("mintd_ops_total", instance="books", **{"class": "permanent"}), 1)
        check(m.sum("mintd_ops_total", instance="books", **{"class": "ok"}) > 1)
        check(m.sum("mintd_op_seconds_count", instance="books", op="query") > 1)


@test
def no_label_value_grows_without_bound(folder):
    """Names that callers choose (venues, tickets, paths, request ids, methods) make no series."""
    with Daemon(folder, Config("solana-like")).start() as mintd:
        api = mintd.api()
        before = len(samples(traffic(mintd)))
        for n in range(120):
            api.call("GET", f"/no/such/{n}", headers={"X-Request-Id": f"r-{n}"})
            api.call("GET", f"/admin/mints/ticket-{n}")
            api.call(f"ODD{n}", "/livez")
        for n in range(5):
            equal(api.mint(f"venue-{n}", tickets(f"n{n}", 1)).status, 200)
        text = api.get("/metrics").text
        check(len(samples(text)) < before + 120, "series grew from", before, "to", len(samples(text)))
        check(not re.search(r"venue-3|ticket-7|/no/such|ODD5|r-77", text), "a caller's text is a label value")


@test
def promtool_finds_nothing_but_the_seed_s_spellings(folder):
    if not shutil.which("promtool"):
        skip("promtool (Debian package prometheus) is not installed", peer=True)
    with Daemon(folder, Config("hedera-like")).start() as mintd:
        text = traffic(mintd)
    run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60)
    equal(set((run.stdout + run.stderr).splitlines()), FINDINGS)


# ---- the log

def lines_of(log, request_id):
    return [line for line in log.splitlines() if f"request_id={request_id} " in line]


def words(lines):
    return {word for word in ("batch settled", 'msg="request"') if any(word in line for line in lines)}


@test
def a_request_id_goes_from_the_header_to_the_last_line(folder):
    with Daemon(folder, Config("solana-like", log={"level": "debug"})).start() as mintd:
        body = batch("venue-1", tickets("t", 8))
        answer = mintd.api().call("POST", "/admin/batch-mint", body, {"X-Request-Id": "order-4711.a"})
        equal((answer.status, answer.headers["X-Request-Id"]), (200, "order-4711.a"))
        number = answer.json["batchId"]
        said = until(lambda: "\n".join(found) if {"batch settled", 'msg="request"'} <= words(found := lines_of(mintd.log, "order-4711.a")) else "",
                     5, "the end")
        matches(said, 'msg="a batch is taken in for venue venue-1"')
        matches(said, rf'batch={number} venue=venue-1 tickets=8 msg="batch accepted"')
        matches(said, rf'batch={number} minted=8 failed=0 cancelled=0 msg="batch settled"')
        matches(said, 'method=POST path=/admin/batch-mint status=200')
        equal(said.count("batch settled"), 1)
        with mintd.store() as store:
            body = json.loads(store.one("SELECT body FROM events WHERE kind = 'request.accepted'"))
            equal(body["requestId"], "order-4711.a")
            equal(json.loads(store.one("SELECT options FROM requests"))["requestId"], "order-4711.a")


@test
def a_restart_knows_the_request_id_of_what_it_goes_on_with(folder):
    config = Config("solana-like", chain={"slot_ms": 400, "finality": 5})
    with Daemon(folder, config).start() as mintd:
        answer = mintd.api().call("POST", "/admin/batch-mint", batch("venue-1", tickets("t", 8)),
                                  {"X-Request-Id": "before.the.crash", "Prefer": "respond-async"})
        equal(answer.status, 202)
        mintd.kill()
        seen = len(mintd.log)
        mintd.start()
        mintd.api().follow(answer.headers["Location"])
        until(lambda: "batch settled" in mintd.log[seen:], 5, "the end of the batch in the log")
        matches(mintd.log[seen:], 'request_id=before.the.crash batch=1 minted=8 failed=0 cancelled=0 msg="batch settled"')


@test
def failed_chunks_are_logged_with_the_request_that_brought_them(folder):
    with Daemon(folder, Config("solana-like", chain={"fail_names": ["Concert B2"]})).start() as mintd:
        items = [ticket(f"t-{n}", seat=f"B{n}") for n in range(4)]
        answer = mintd.api().call("POST", "/admin/batch-mint", batch("venue-1", items), {"X-Request-Id": "with-failures"})
        equal((answer.status, answer.json["summary"]["failed"]), (200, 1))
        said = until(lambda: "\n".join(found) if "batch settled" in "".join(found := lines_of(mintd.log, "with-failures")) else "", 5, "the end")
        matches(said, r'warn chunk=\d+ request_id=with-failures batch=1 msg="chunk failed: ')
        matches(said, r'minted=3 failed=1 cancelled=0 msg="batch settled"')


@test
def a_cancelled_batch_has_one_last_line_too(folder):
    with Daemon(folder, Config("solana-like", chain={"slot_ms": 400, "network_rate": 1})).start() as mintd:
        api = mintd.api()
        answer = api.call("POST", "/admin/batch-mint", batch("venue-1", tickets("t", 300)),
                          {"X-Request-Id": "regretted", "Prefer": "respond-async"})
        where = answer.headers["Location"]
        equal(api.call("POST", where + "/cancel").status, 200)
        api.follow(where, timeout=60)
        until(lambda: "batch settled" in mintd.log, 5, "the last line")
        equal(len(re.findall('request_id=regretted batch=1 .*msg="batch settled"', mintd.log)), 1)


@test
def the_log_is_json_when_asked_and_every_line_is_an_object(folder):
    with Daemon(folder, Config("solana-like", log={"level": "debug", "format": "json"})).start() as mintd:
        answer = mintd.api().call("POST", "/admin/batch-mint", batch("venue-1", tickets("t", 3)), {"X-Request-Id": "as-json"})
        equal(answer.status, 200)
        until(lambda: "batch settled" in mintd.log and '"msg":"request"' in mintd.log, 5, "the last line")
        mintd.stop()
        lines = [json.loads(line) for line in mintd.log.splitlines()]
        for line in lines:
            check({"ts", "level", "msg"} <= line.keys() and all(isinstance(value, str) for value in line.values()), line)
        about = [line["msg"] for line in lines if line.get("request_id") == "as-json"]
        check({"batch accepted", "batch settled", "request"} <= set(about), about)


if __name__ == "__main__":
    sys.exit(main())
