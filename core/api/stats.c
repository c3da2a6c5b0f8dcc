/* The numbers of batches and admin calls, under the names that dashboards of earlier deployments ask for. Follows each accepted batch
 * until its last ticket is settled, as long as this process lives. Calls pipe/, plug/, base/. Loop thread. */
#include <stdlib.h>
#include "api/stats.h"
#include "base/log.h"

enum { FOLLOWED_MAX = 10000 };
struct stats {
    struct loop *loop;
    struct pipe *pipe;
    struct map followed;                       /* struct followed by the number of its batch */
    uint32_t refs;                             /* reads of the store under way, and the owner */
    bool closed, reading;                      /* one read at a time: only the batch settled last is shown */
    uint64_t next, next_items;                 /* settled meanwhile; 0: none */
    struct metric *size, *seconds, *rate, *requests, *errors;
};
struct followed { uint64_t started_us, items; };

static void on_settled(void *arg, uint64_t request);

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
    metric_twin(s->size, "mintd_batch_tickets", "tickets in an accepted batch", 1);
    metric_twin(s->seconds, "mintd_batch_duration_seconds", "from the acceptance of a batch to its last settled ticket", 1);
    metric_twin(s->rate, "mintd_batch_success_ratio", "share of minted tickets in the batch settled last, 0 to 1", 1);
    metric_twin(s->requests, "mintd_admin_requests_total", "requests under /admin", 1);
    metric_twin(s->errors, "mintd_admin_errors_total", "of those, answered with 4xx or 5xx", 1);
    pipe_on_settled(pipe, on_settled, s);
    metric_add(s->requests, S("batch_mint"), S("200"), 0); /* there from the start, so that a rate can be taken */
    metric_add(s->errors, S("batch_mint"), S(""), 0);
    return s;
}

static void put(struct stats *s)
{
    if (!--s->refs) free(s);
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
    size_t it = 0;
    struct followed *f;
    if (s->pipe) pipe_on_settled(s->pipe, NULL, NULL);
    s->pipe = NULL;
    while ((f = map_next(&s->followed, &it))) free(f);
    map_free(&s->followed);
}

void stats_call(struct stats *s, const char *path, struct mintd_str route, struct mintd_str code)
{
    if (!str_starts(str_of(path), S("/admin/"))) return;
    metric_add(s->requests, route, code, 1);
    if (code.p[0] >= '4') metric_add(s->errors, route, S(""), 1);
}

struct reading { struct stats *stats; uint64_t items; };

static void read_count(struct stats *s, uint64_t request, uint64_t items);

static void on_count(void *arg, struct plug_reply *r)
{
    struct reading q = *(struct reading *)arg;
    struct stats *s = q.stats;
    uint64_t next = s->next;
    free(arg);
    s->reading = false;
    s->next = 0;
    if (!s->closed && r->out->cls == MINTD_OK && r->res->rows.n) {
        const struct mintd_db_count *n = r->res->rows.p;
        metric_set(s->rate, S(""), S(""), (double)n->done / (double)q.items);
    }
    if (next && s->pipe) read_count(s, next, s->next_items);
    put(s);
}

static void read_count(struct stats *s, uint64_t request, uint64_t items)
{
    if (s->reading) {
        s->next = request;
        s->next_items = items;
        return;
    }
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
    s->reading = true;
    plug_call_rows(pipe_store(s->pipe), STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, on_count, reading);
}

static void on_settled(void *arg, uint64_t request)
{
    struct stats *s = arg;
    struct followed *f = map_del(&s->followed, request);
    if (!f) return;
    metric_observe(s->seconds, S(""), S(""), (double)(loop_now_us(s->loop) - f->started_us) / 1e6);
    read_count(s, request, f->items);
    free(f);
}

void stats_accepted(struct stats *s, uint64_t request, uint64_t items, uint64_t started_us)
{
    metric_observe(s->size, S(""), S(""), (double)items);
    struct followed *f = s->pipe && s->followed.n < FOLLOWED_MAX ? calloc(1, sizeof *f) : NULL;
    if (!f) return;
    *f = (struct followed){ started_us, items };
    if (map_put(&s->followed, request, f)) free(f);
}
