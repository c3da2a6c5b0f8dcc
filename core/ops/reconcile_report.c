/* What a run found: counted, listed, written as one row with its events, shown in the metrics. Calls pipe/ and base/. */
#include <inttypes.h>
#include <stdio.h>
#include "base/log.h"
#include "ops/reconcile_int.h"

static const struct mintd_str NONE = { NULL, 0 };

void report_metrics(struct reconciler *r)
{
    static const double seconds[] = { 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400, 43200, 0 };
    r->m.found = metric_new(METRIC_GAUGE, "minting_reconciliation_discrepancies", "venue,class", "discrepancies that the last reconciliation of a venue found", NULL);
    metric_twin(r->m.found, "mintd_reconcile_discrepancies", "discrepancies that the last reconciliation of a venue found", 1);
    r->m.fixed = metric_new(METRIC_COUNTER, "minting_reconciliation_fixed", NULL, "discrepancies that were repaired", NULL);
    metric_twin(r->m.fixed, "mintd_reconcile_fixed_total", "discrepancies that were repaired", 1);
    r->m.seconds = metric_new(METRIC_HISTOGRAM, "minting_reconciliation_duration", NULL, "time of a reconciliation in seconds", seconds);
    metric_twin(r->m.seconds, "mintd_reconcile_duration_seconds", "time of a reconciliation", 1);
    r->m.runs = metric_new(METRIC_COUNTER, "mintd_reconcile_runs_total", "end", "reconciliations that ended, by how", NULL);
}

double reconcile_rate(const struct mintd_db_report *row)
{
    return row->total_checked ? (double)row->discrepancy_count / (double)row->total_checked : 0;
}

static void list(struct buf *b, uint64_t *listed, const struct rec_item *it)
{
    if (*listed == LISTED_MAX) return;
    ++*listed;
    buf_puts(b, b->n ? ",{\"ticketId\":" : "{\"ticketId\":");
    buf_json(b, it->it->ticket);
    buf_printf(b, ",\"class\":\"%s\",\"detail\":", class_word(it->class));
    buf_json(b, it->detail);
    buf_puts(b, "}");
}

void report_item(struct run *run, const struct rec_item *it)
{
    run->counts[it->class]++;
    run->checked++;
    if (class_wrong(it->class)) list(&run->list, &run->listed, it);
    else if (it->class == CLASS_UNVERIFIED) list(&run->unknown, &run->unverified_listed, it);
}

static struct mintd_db_report row_of(const struct run *run)
{
    struct mintd_db_report row = { .total_checked = run->checked, .confirmed = run->counts[CLASS_CONFIRMED],
        .not_found = run->counts[CLASS_NOT_FOUND], .pending = run->counts[CLASS_PENDING], .report_date = run->begun_ms };
    for (uint32_t i = 0; i < CLASS_COUNT; i++) {
        if (i >= CLASS_UNVERIFIED) row.errors += run->counts[i];
        if (class_wrong((enum class)i)) row.discrepancy_count += run->counts[i];
    }
    return row;
}

static double seconds_of(const struct run *run) { return (double)(loop_now_us(run->loop) - run->begun_us) / 1e6; }

static void put_data(struct buf *b, const struct run *run)
{
    const char *comma = "";
    buf_puts(b, "{\"classes\":{");
    for (uint32_t i = CLASS_NOT_FOUND; i < CLASS_COUNT; i++) {
        if (!run->counts[i]) continue;
        buf_printf(b, "%s\"%s\":%" PRIu64, comma, class_word((enum class)i), run->counts[i]);
        comma = ",";
    }
    buf_printf(b, "},\"durationSeconds\":%.3f,\"chainCalls\":%" PRIu64 ",\"truncated\":%s,\"discrepancies\":[", seconds_of(run), run->calls,
               run->row.discrepancy_count > run->listed || run->counts[CLASS_UNVERIFIED] > run->unverified_listed ? "true" : "false");
    buf_str(b, buf_view(&run->list));
    buf_puts(b, "],\"unverified\":[");
    buf_str(b, buf_view(&run->unknown));
    buf_puts(b, "]}");
}

static void put_event(struct buf *b, const struct run *run, bool all)
{
    const struct mintd_db_report *row = &run->row;
    buf_puts(b, "{\"venue\":");
    buf_json(b, str_of(run->name));
    if (all) buf_printf(b, ",\"totalChecked\":%" PRIu64 ",\"confirmed\":%" PRIu64 ",\"notFound\":%" PRIu64 ",\"pending\":%" PRIu64 ",\"errors\":%" PRIu64,
                        row->total_checked, row->confirmed, row->not_found, row->pending, row->errors);
    buf_printf(b, ",\"discrepancies\":%" PRIu64 ",\"rate\":%.4f}", row->discrepancy_count, reconcile_rate(row) * 100);
}

static void show(struct run *run, double seconds)
{
    struct reconciler *r = run->r;
    const struct mintd_str venue = str_of(run->name);
    for (uint32_t i = 0; i < CLASS_COUNT; i++) {
        if (class_wrong((enum class)i)) metric_set(r->m.found, venue, str_of(class_word((enum class)i)), (double)run->counts[i]);
    }
    metric_observe(r->m.seconds, NONE, NONE, seconds);
    metric_add(r->m.runs, S("finished"), NONE, 1);
    log_msg(run->row.discrepancy_count ? MINTD_WARN : MINTD_INFO, "reconciliation of venue %s: %" PRIu64 " checked, %" PRIu64 " discrepancies, %" PRIu64
            " not verified, in %.1f s", run->name, run->checked, run->row.discrepancy_count, run->counts[CLASS_UNVERIFIED], seconds);
}

static void on_written(void *arg, const struct mintd_applied *a)
{
    struct run *run = arg;
    double seconds = seconds_of(run);
    if (!run_alive(run)) return;
    if (!a || a->verdict > MINTD_REPEATED) {
        run_fail(run, "the store does not take the report");
        return;
    }
    show(run, seconds);
    struct buf all = { 0 };
    buf_puts(&all, "[");
    buf_str(&all, buf_view(&run->list));
    buf_puts(&all, "]");
    run_end(run, &(struct reconcile_result){ .end = RECONCILE_DONE, .report = a->value, .unverified = run->counts[CLASS_UNVERIFIED], .row = run->row,
        .seconds = seconds, .discrepancies = all.bad ? S("[]") : buf_view(&all) });
    buf_free(&all);
}

void report_write(struct run *run)
{
    struct buf data = { 0 }, event = { 0 }, wrong = { 0 };
    struct arena *mem = arena_new(0);
    run->row = row_of(run);
    put_data(&data, run);
    put_event(&event, run, true);
    put_event(&wrong, run, false);
    struct mintd_db_report row = run->row;
    row.venue_id = mem ? arena_str(mem, str_of(run->name)) : NONE;
    row.report_data = mem ? arena_str(mem, buf_view(&data)) : NONE;
    struct pipe_row w = { MINTD_DB_REPORT, &row, sizeof row, "reconcile.finished", run->venue, buf_view(&event),
                          row.discrepancy_count ? "reconcile.discrepancy" : NULL, buf_view(&wrong) };
    bool ok = mem && !data.bad && !event.bad && !wrong.bad && row.report_data.n && !run->list.bad && !run->unknown.bad;
    if (!ok) arena_free(mem);
    int r = ok ? pipe_write(run->pipe, &w, mem, on_written, run) : -1;
    buf_free(&data);
    buf_free(&event);
    buf_free(&wrong);
    if (r) run_fail(run, "out of memory");
}
