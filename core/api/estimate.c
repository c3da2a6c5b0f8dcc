/* GET of an estimate: what so many mints would cost and how long they would take. A collection that is not there yet is part of it; without
 * a venue nobody can know, so it is taken as new. Reads the store, then asks core/ops/estimate. Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include "api/admin.h"
#include "base/amount.h"
#include "ops/estimate.h"

struct asked { struct estimate_ask ask; struct mintd_str collection; };

/* ---- the question */

static bool take_count(struct call *c, uint64_t *ret)
{
    const char *text = http_query(c->http, "count");
    if (text && !str_u64(str_of(text), ret) && *ret && *ret <= ESTIMATE_COUNT_MAX) return true;
    call_problem(c, &(struct problem){ .status = 422, .code = "estimate.count", .pointer = "count" },
                 text ? "must be a whole number from 1 to %d" : "is missing: how many mints, from 1 to %d?", ESTIMATE_COUNT_MAX);
    return false;
}

static bool take_text(struct call *c, const char *name, struct mintd_str *ret)
{
    *ret = str_of(http_query(c->http, name));
    return !ret->n || call_decode(c, ret);
}

static bool take_pipeline(struct call *c, struct asked *a)
{
    const struct conf_pipeline *cf = conf_pipeline_of(c->api->conf, a->ask.pipeline, a->ask.venue);
    if (cf) {
        a->ask.pipeline = arena_str(c->mem, cf->name);
        return true;
    }
    call_problem(c, &(struct problem){ .status = 422, .code = "request.unknown_pipeline", .pointer = "pipeline" },
                 "no such pipeline is configured");
    return false;
}

/* ---- the answer */

static void put_amount(struct buf *b, const char *name, uint64_t v, const struct estimate *e)
{
    buf_printf(b, ",\"%s\":\"", name);
    amount_put(b, v, e->decimals);
    buf_puts(b, "\"");
}

static void put_line(struct buf *b, const struct estimate_line *l, const struct estimate *e)
{
    static const char *const per[] = { "once", "transaction", "item" };
    buf_puts(b, "{\"what\":");
    buf_json(b, l->what);
    buf_printf(b, ",\"per\":\"%s\",\"count\":%" PRIu64, per[l->per], l->times);
    put_amount(b, "each", l->each, e);
    put_amount(b, "amount", l->amount, e);
    buf_puts(b, "}");
}

static void put_estimate(struct buf *b, const struct asked *a, const struct estimate *e)
{
    buf_printf(b, "{\"count\":%" PRIu64 ",\"pipeline\":", a->ask.count);
    buf_json(b, a->ask.pipeline);
    if (str_eq(e->coin, S("SOL"))) {
        buf_puts(b, ",\"estimatedSOL\":");
        amount_put(b, e->amount, e->decimals);
    }
    buf_puts(b, ",\"estimatedTimeSeconds\":");
    ratio_put(b, e->ms, 1000, 3);
    json_str(b, "currency", e->coin);
    put_amount(b, "amount", e->amount, e);
    if (e->priced) {
        buf_puts(b, ",\"estimatedUSD\":");
        amount_put(b, e->usd_micros, 6);
    }
    buf_printf(b, ",\"transactions\":%" PRIu64 ",\"deliveries\":%" PRIu64 ",\"newCollection\":%s,\"breakdown\":[", e->transactions,
               e->deliveries,
               e->fresh ? "true" : "false");
    for (uint32_t i = 0; i < e->n_lines; i++) {
        if (i) buf_puts(b, ",");
        put_line(b, &e->lines[i], e);
    }
    buf_puts(b, "]");
    json_str(b, "feeSource", e->source);
    json_str(b, "network", e->network);
    buf_puts(b, "}\n");
}

static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };

static void refused(struct call *c, int err, const struct mintd_outcome *why)
{
    if (err == -ERANGE)
        call_problem(c, &(struct problem){ .status = 422, .code = "estimate.too_large", .pointer = "count" },
                     "so many cost more than the coin can count");
    else if (err == -EAGAIN)
        call_problem(c, &(struct problem){ .status = 503, .code = "estimate.unavailable", .headers = later },
                     "the chain cannot be asked now: " STR_FMT " (" STR_FMT ")", STR_ARG(why->msg), STR_ARG(why->slug));
    else call_memory(c);
}

static void on_estimate(void *arg, const struct estimate *e, int err, const struct mintd_outcome *why)
{
    struct call *c = arg;
    struct buf b = { 0 };
    if (!e) refused(c, err, why);
    else {
        put_estimate(&b, c->load, e);
        call_json(c, 200, &b, NULL);
    }
    call_unref(c);
}

static void start(struct call *c)
{
    static const struct mintd_outcome starting = { .slug = { "pipe.not_ready", 14 }, .msg = { "it has not answered yet", 23 } };
    struct asked *a = c->load;
    call_ref(c);
    int r = estimate_start(c->api->loop, c->api->pipe, &a->ask, on_estimate, c);
    if (!r) return;
    refused(c, r == -ENOMEM ? r : -EAGAIN, &starting);
    call_unref(c);
}

/* ---- is the collection there? */

static void on_collections(struct call *c, const struct mintd_res *res)
{
    struct asked *a = c->load;
    const struct mintd_db_collection *col = res->rows.p;
    for (uint32_t i = 0; i < res->rows.n; i++)
        if (str_eq(col[i].pipeline, a->ask.pipeline) && col[i].state == MINTD_COL_READY) a->ask.fresh = false;
    start(c);
}

static void on_venue(struct call *c, const struct mintd_res *res)
{
    struct asked *a = c->load;
    const struct mintd_db_venue *v = res->rows.p;
    if (!res->rows.n) start(c);
    else call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COLLECTION, .venue = v->id, .names = VEC(&a->collection, 1) }, 0,
                    on_collections);
}

static bool keep_to_venue(struct call *c, struct mintd_str *venue)
{
    if (venue->n) return call_venue_named(c, *venue);
    if (call_venue(c)) *venue = c->who.venue_name;
    return true;
}

void estimate_get(struct call *c)
{
    struct asked *a = arena_alloc(c->mem, sizeof *a);
    struct pipe_example example = { .collection = { NULL, 0 } };
    if (!a) return call_memory(c);
    c->load = a;
    a->ask.fresh = true;
    if (!take_count(c, &a->ask.count) || !take_text(c, "pipeline", &a->ask.pipeline) || !take_text(c, "venue", &a->ask.venue)
        || !take_text(c, "collection", &a->collection) || !keep_to_venue(c, &a->ask.venue) || !take_pipeline(c, a))
        return;
    if (!a->collection.n && !pipe_example(c->api->pipe, a->ask.pipeline, a->ask.venue, c->mem, &example))
        a->collection = example.collection;
    if (a->ask.venue.n) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .names = VEC(&a->ask.venue, 1) }, 0, on_venue);
    else start(c);
}
