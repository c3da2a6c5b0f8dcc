/* The numbers of batches and admin calls, under the names that dashboards of earlier deployments ask for. Follows each accepted batch
 * until its last ticket is settled, as long as this process lives. Calls pipe/, plug/, base/. Loop thread. */
#include <stdlib.h>
#include "api/stats.h"
#include "base/log.h"

enum { FOLLOWED_MAX = 10000, FOLLOW_MS = 24 * 3600 * 1000 };
struct stats {
    struct loop *loop;
    struct pipe *pipe;
    struct list followed;
    uint32_t n, refs;                          /* batches followed; reads of the store under way, and the owner */
    bool closed;
    struct metric *size, *seconds, *rate, *requests, *errors;
};
struct followed { struct list link; struct stats *stats; struct pipe_wait *wait; uint64_t request, started_us, items; };

struct stats *stats_new(struct loop *loop, struct pipe *pipe)
{
    static const double sizes[] = { 1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 10000, 50000, 100000, 0 };
    static const double seconds[] = { 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 0 };
    struct stats *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    *s = (struct stats){ .loop = loop, .pipe = pipe, .refs = 1,
        .size = metric_new(METRIC_HISTOGRAM, "minting_batch_size", NULL, "tickets in an accepted batch", sizes),
        .seconds = metric_new(METRIC_HISTOGRAM, "minting_batch_duration_seconds", NULL,
                              "from the acceptance of a batch to its last settled ticket", seconds),
        .rate = metric_new(METRIC_GAUGE, "minting_batch_success_rate", NULL, "share of minted tickets in the batch settled last, 0 to 1", NULL),
        .requests = metric_new(METRIC_COUNTER, "minting_admin_requests_total", "route,code", "requests under /admin", NULL),
        .errors = metric_new(METRIC_COUNTER, "minting_admin_errors_total", "route", "of those, answered with 4xx or 5xx", NULL) };
    list_init(&s->followed);
    metric_add(s->requests, S("batch_mint"), S("200"), 0); /* there from the start, so that a rate can be taken */
    metric_add(s->errors, S("batch_mint"), S(""), 0);
    return s;
}

static void put(struct stats *s)
{
    if (!--s->refs) free(s);
}

static void forget(struct followed *f)
{
    list_del(&f->link);
    f->stats->n--;
    free(f);
}

struct stats *stats_free(struct stats *s)
{
    if (!s) return NULL;
    stats_stop(s);
    s->closed = true;
    put(s);
    return NULL;
}

void stats_stop(struct stats *s)
{
    LIST_EACH(it, &s->followed) {
        struct followed *f = LIST_OF(it, struct followed, link);
        pipe_unwait(f->wait);
        forget(f);
    }
}

void stats_call(struct stats *s, const char *path, struct mintd_str route, struct mintd_str code)
{
    if (!str_starts(str_of(path), S("/admin/"))) return;
    metric_add(s->requests, route, code, 1);
    if (code.p[0] >= '4') metric_add(s->errors, route, S(""), 1);
}

struct reading { struct stats *stats; uint64_t items; };

static void on_count(void *arg, struct plug_reply *r)
{
    struct reading q = *(struct reading *)arg;
    free(arg);
    if (!q.stats->closed && r->out->cls == MINTD_OK && r->res->rows.n) {
        const struct mintd_db_count *n = r->res->rows.p;
        metric_set(q.stats->rate, S(""), S(""), (double)n->done / (double)q.items);
    }
    put(q.stats);
}

static void read_count(struct stats *s, uint64_t request, uint64_t items)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    struct reading *reading = q ? malloc(sizeof *reading) : NULL;
    if (!reading) {
        arena_free(mem);
        return;
    }
    *reading = (struct reading){ s, items };
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_COUNT, .request = request };
    s->refs++;
    plug_call_rows(pipe_store(s->pipe), STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, on_count, reading);
}

static void on_settled(void *arg, bool done)
{
    struct followed f = *(struct followed *)arg;
    struct stats *s = f.stats;
    forget(arg);
    if (!done) return;
    metric_observe(s->seconds, S(""), S(""), (double)(loop_now_us(s->loop) - f.started_us) / 1e6);
    read_count(s, f.request, f.items);
}

void stats_accepted(struct stats *s, uint64_t request, uint64_t items, uint64_t started_us)
{
    metric_observe(s->size, S(""), S(""), (double)items);
    struct followed *f = s->n < FOLLOWED_MAX ? calloc(1, sizeof *f) : NULL;
    if (!f) return;
    *f = (struct followed){ .stats = s, .request = request, .started_us = started_us, .items = items };
    f->wait = pipe_wait(s->pipe, request, FOLLOW_MS, on_settled, f);
    if (!f->wait) {
        free(f);
        return;
    }
    list_add(&s->followed, &f->link);
    s->n++;
}
