/* Reconciliation as the API offers it: begin a run and wait for it or not; the reports of the past. Calls ops/reconcile. Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "api/cursor.h"
#include "api/fields.h"
#include "api/reconcile.h"
#include "ops/reconcile.h"

enum { VENUE_MAX = 128 };
static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };

struct wait {
    struct mintd_str name;                     /* of the venue */
    uint64_t venue, ms;
    struct loop_timer *timer;
    bool running;                              /* the run calls us at its end */
    char preference[CALL_PREFERENCE];
};

static void find_venue(struct call *c, struct mintd_str name, call_rows_fn *fn)
{
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .names = VEC(&name, 1) }, 0, fn);
}

static void unknown_venue(struct call *c)
{
    call_problem(c, &(struct problem){ .status = 404, .code = "venue.unknown" }, "no batch of this venue was ever accepted");
}

/* ---- the answer of a run */

static void put_location(struct buf *b, struct mintd_str venue)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    buf_puts(b, "/v1/reconciliations?venue=");
    for (size_t i = 0; i < venue.n; i++) {
        if (venue.p[i] && strchr(plain, venue.p[i])) buf_add(b, &venue.p[i], 1);
        else buf_printf(b, "%%%02X", (unsigned char)venue.p[i]);
    }
}

static void answer_later(struct call *c)
{
    const struct wait *w = c->state;
    struct buf where = { 0 }, b = { 0 };
    put_location(&where, w->name);
    buf_puts(&b, "{\"venueId\":");
    buf_json(&b, w->name);
    buf_puts(&b, ",\"state\":\"running\",\"links\":{\"reports\":");
    buf_json(&b, buf_view(&where));
    buf_puts(&b, "}}\n");
    char *location = arena_cstr(c->mem, buf_view(&where));
    const struct http_header headers[] = { { "Location", location }, { "Preference-Applied", w->preference[0] ? w->preference : NULL }, { NULL, NULL } };
    buf_free(&where);
    call_json(c, 202, &b, headers);
}

static void answer_now(struct call *c, const struct reconcile_result *r)
{
    const struct wait *w = c->state;
    const struct mintd_db_report *row = &r->row;
    struct buf b = { 0 };
    buf_puts(&b, "{\"venueId\":");
    buf_json(&b, w->name);
    buf_printf(&b, ",\"totalChecked\":%" PRIu64 ",\"confirmed\":%" PRIu64 ",\"notFound\":%" PRIu64 ",\"pending\":%" PRIu64 ",\"errors\":%" PRIu64
               ",\"unverified\":%" PRIu64 ",\"discrepancies\":" STR_FMT ",\"discrepancyCount\":%" PRIu64 ",\"discrepancyRate\":%.6g,\"durationSeconds\":%.3f"
               ",\"reportId\":\"%" PRIu64 "\"", row->total_checked, row->confirmed, row->not_found, row->pending, row->errors, r->unverified,
               STR_ARG(r->discrepancies), row->discrepancy_count, reconcile_rate(row), r->seconds, r->report);
    json_time(&b, "reportDate", row->report_date);
    buf_puts(&b, "}\n");
    const struct http_header headers[] = { { "Preference-Applied", w->preference[0] ? w->preference : NULL }, { NULL, NULL } };
    call_json(c, 200, &b, headers);
}

static void on_result(void *arg, const struct reconcile_result *r)
{
    struct call *c = arg;
    ((struct wait *)c->state)->running = false;
    if (!call_open(c)) return;
    if (r->end == RECONCILE_DONE) answer_now(c, r);
    else if (r->end == RECONCILE_FAILED)
        call_problem(c, &(struct problem){ .status = 503, .code = "reconcile.failed", .headers = later }, "the reconciliation ended early: %s; no report was written", r->why);
    else call_problem(c, &(struct problem){ .status = 503, .code = "server.draining" }, "the daemon is shutting down: reconcile again when it is back");
}

static void on_time(void *arg)
{
    struct call *c = arg;
    struct wait *w = c->state;
    if (w->running) reconcile_leave(c->api->reconciler, w->venue, c);
    w->running = false;
    answer_later(c);
}

/* ---- beginning */

static bool begun(struct call *c, struct wait *w)
{
    switch (reconcile_start(c->api->reconciler, w->venue, w->name, on_result, c)) {
    case 0: return w->running = true;
    case -EALREADY:
        call_problem(c, &(struct problem){ .status = 409, .code = "reconcile.running", .headers = later },
                     "this venue is being reconciled: its report will be under /v1/reconciliations");
        return false;
    case -EBUSY:
        call_problem(c, &(struct problem){ .status = 503, .code = "reconcile.busy", .headers = later }, "enough venues are being reconciled at once: try again when one is done");
        return false;
    default: call_memory(c); return false;
    }
}

static void on_venue(struct call *c, const struct mintd_res *res)
{
    struct wait *w = c->state;
    if (!res->rows.n) return unknown_venue(c);
    w->venue = ((const struct mintd_db_venue *)res->rows.p)->id;
    if (!begun(c, w)) return;
    w->timer = loop_timer(c->api->loop, w->ms, on_time, c);
    if (!w->timer) on_time(c);
}

static void start(struct call *c, struct mintd_str venue)
{
    struct wait *w = arena_alloc(c->mem, sizeof *w);
    if (!w) return call_memory(c);
    *w = (struct wait){ .name = venue, .ms = (uint64_t)c->api->conf->api.wait_ms };
    call_prefer(c, &w->ms, w->preference);
    c->state = w;
    find_venue(c, venue, on_venue);
}

void reconcile_by_path(struct call *c)
{
    if (call_fields(c, NULL, 0)) start(c, c->param[0]);
}

void reconcile_by_body(struct call *c)
{
    struct mintd_str venue = { NULL, 0 };
    const struct field fields[] = { { "venueId", FIELD_STR, true, VENUE_MAX, &venue } };
    if (call_fields(c, fields, ARRAY_LEN(fields)) && call_venue_named(c, venue)) start(c, venue);
}

void reconcile_gone(struct call *c, bool sent)
{
    struct wait *w = c->state;
    (void)sent;
    loop_timer_del(w->timer);
    w->timer = NULL;
    if (w->running && c->api->reconciler) reconcile_leave(c->api->reconciler, w->venue, c);
    w->running = false;
}

/* ---- reports of the past: the columns of the table, by their names */

static void put_report(struct buf *b, const struct mintd_db_report *r)
{
    buf_printf(b, "{\"id\":%" PRIu64 ",\"venue_id\":", r->id);
    buf_json(b, r->venue_id);
    json_time(b, "report_date", r->report_date);
    buf_printf(b, ",\"total_checked\":%" PRIu64 ",\"confirmed\":%" PRIu64 ",\"not_found\":%" PRIu64 ",\"pending\":%" PRIu64 ",\"errors\":%" PRIu64
               ",\"discrepancy_count\":%" PRIu64 ",\"discrepancy_rate\":%.6g,\"report_data\":", r->total_checked, r->confirmed, r->not_found, r->pending,
               r->errors, r->discrepancy_count, reconcile_rate(r));
    if (r->report_data.n) buf_str(b, r->report_data);
    else buf_puts(b, "null");
    json_time(b, "created_at", r->created_at);
    buf_puts(b, "}");
}

/* What a cursor is bound to: the venue's name, kept as the call's load. */
static struct mintd_str list_of(struct call *c)
{
    const struct mintd_str *venue = c->load;
    return arena_printf(c->mem, "reconciliations/" STR_FMT, STR_ARG(*venue));
}

static void on_reports(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_report *row = res->rows.p;
    struct buf b = { 0 };
    buf_puts(&b, "{\"reconciliations\":[");
    for (uint32_t i = 0; i < res->rows.n; i++) {
        if (i) buf_puts(&b, ",");
        put_report(&b, &row[i]);
    }
    buf_puts(&b, "]");
    if (res->next.n) {
        buf_puts(&b, ",\"next\":");
        cursor_seal(c, list_of(c), res->next, &b);
    }
    buf_puts(&b, "}\n");
    call_json(c, 200, &b, NULL);
}

static void list_reports(struct call *c, struct mintd_str venue)
{
    struct mintd_query q = { .kind = MINTD_DB_REPORT };
    struct mintd_str *of = arena_copy(c->mem, &venue, sizeof venue);
    struct buf place = { 0 };
    if (!of) return call_memory(c);
    c->load = of;
    if (limit_get(c, 20, 100, &q.max) || cursor_open(c, list_of(c), &place)) return;
    if (venue.n) q.names = VEC(of, 1);
    q.cursor = buf_view(&place);
    call_query(c, &q, 0, on_reports);
    buf_free(&place);
}

static void on_history_venue(struct call *c, const struct mintd_res *res)
{
    if (res->rows.n) list_reports(c, ((const struct mintd_db_venue *)res->rows.p)->name);
    else unknown_venue(c);
}

void history_by_path(struct call *c) { find_venue(c, c->param[0], on_history_venue); }

void history_by_query(struct call *c)
{
    const char *venue = http_query(c->http, "venue");
    struct mintd_str name = str_of(venue);
    if (!venue) list_reports(c, call_venue(c) ? c->who.venue_name : (struct mintd_str){ NULL, 0 });
    else if (call_decode(c, &name) && call_venue_named(c, name)) find_venue(c, name, on_history_venue);
}
