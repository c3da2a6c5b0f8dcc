/* Which HTTP request each batch came from, so that every line of the log about it can say so, also after a restart: the id lies in the
 * `options` of the stored request. Owns a bounded memory of ids, and the lines "batch accepted" and "batch settled". What is not
 * known is asked of the store in the background; a line never waits for it. Calls the store. Loop thread. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipe/meta.h"
#include "pipe/pipe_int.h"

enum { KNOWN_MAX = 4096, ENDS_MAX = 64 };
static const struct mintd_str NONE = { NULL, 0 };

/* items and what became of them: as far as this process took them in and ended them */
struct known { struct list link; uint64_t request, items, minted, failed, cancelled; size_t n; char id[]; };

/* ---- what is known */
static void forget(struct pipe *p, struct known *k)
{
    map_del(&p->trail.known, k->request);
    list_del(&k->link);
    free(k);
}

void trail_put(struct pipe *p, uint64_t request, struct mintd_str id)
{
    if (!request || map_get(&p->trail.known, request)) return;
    struct known *k = malloc(sizeof *k + id.n);
    if (!k) return;
    *k = (struct known){ .request = request, .n = id.n };
    if (id.n) memcpy(k->id, id.p, id.n);
    if (map_put(&p->trail.known, request, k)) { free(k); return; }
    list_add(&p->trail.order, &k->link);
    if (p->trail.known.n > KNOWN_MAX) forget(p, LIST_OF(p->trail.order.next, struct known, link));
}

struct mintd_str trail_get(const struct pipe *p, uint64_t request)
{
    const struct known *k = request ? map_get(&p->trail.known, request) : NULL;
    return k ? (struct mintd_str){ k->id, k->n } : NONE;
}

void trail_free(struct pipe *p)
{
    LIST_EACH(l, &p->trail.order) forget(p, LIST_OF(l, struct known, link));
    loop_timer_del(p->trail.timer);
    map_free(&p->trail.known);
}

/* ---- asking the store */
static bool query_requests(struct pipe *p, const uint64_t *ids, uint32_t n, plug_fn *fn, void *arg)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *copy = q ? arena_copy(mem, ids, n * sizeof *ids) : NULL;
    if (!copy) { arena_free(mem); return false; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_REQUEST, .max = n, .ids = VEC(copy, n) };
    pipe_call(p, p->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, fn, arg);
    return true;
}

static void take_rows(struct pipe *p, struct plug_reply *r)
{
    const struct mintd_db_request *rows = r->res->rows.p;
    for (uint32_t i = 0; r->out->cls == MINTD_OK && i < r->res->rows.n; i++)
        trail_put(p, rows[i].id, meta_member(rows[i].options, "requestId", r->mem));
}

static void requests_read(void *arg, struct plug_reply *r)
{
    struct pipe *p = arg;
    pipe_called(p);
    p->trail.out = false;
    take_rows(p, r);
}

static void ask(void *arg)
{
    struct pipe *p = arg;
    uint32_t n = p->trail.n_wanted;
    loop_timer_del(p->trail.timer);
    p->trail.timer = NULL;
    p->trail.n_wanted = 0;
    if (p->state == PIPE_RUNNING && n) p->trail.out = query_requests(p, p->trail.wanted, n, requests_read, p);
}

void trail_want(struct pipe *p, uint64_t request)
{
    if (!request || p->trail.out || p->trail.n_wanted == ARRAY_LEN(p->trail.wanted) || map_get(&p->trail.known, request)) return;
    for (uint32_t i = 0; i < p->trail.n_wanted; i++) if (p->trail.wanted[i] == request) return;
    p->trail.wanted[p->trail.n_wanted++] = request;
    if (!p->trail.timer) p->trail.timer = loop_timer(p->loop, 0, ask, p);
}

/* ---- lines */
static struct mintd_field number(const char *key, uint64_t v, char text[24])
{
    int n = snprintf(text, 24, "%" PRIu64, v);
    return (struct mintd_field){ str_of(key), { text, (size_t)n } };
}

void trail_log(const struct pipe *p, uint32_t level, uint64_t request, uint64_t chunk, const char *fmt, ...)
{
    char msg[600], ids[2][24];
    struct mintd_field f[3];
    uint32_t n = 0;
    va_list ap;
    if (!log_on(level)) return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    struct mintd_str id = trail_get(p, request);
    if (chunk) f[n++] = number("chunk", chunk, ids[0]);
    if (id.n) f[n++] = (struct mintd_field){ S("request_id"), id };
    if (request) f[n++] = number("batch", request, ids[1]);
    log_fields(level, str_of(msg), f, n);
}

void trail_say(uint32_t level, struct mintd_str request_id, const char *fmt, ...)
{
    char msg[600];
    va_list ap;
    if (!log_on(level)) return;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    log_fields(level, str_of(msg), &(struct mintd_field){ S("request_id"), request_id }, request_id.n > 0);
}

void trail_begin(struct pipe *p, uint64_t request, struct mintd_str venue, uint64_t items)
{
    struct known *k = map_get(&p->trail.known, request);
    if (k) k->items = items;
    char ids[2][24];
    struct mintd_str id = trail_get(p, request);
    struct mintd_field f[4] = { number("batch", request, ids[0]), { S("venue"), venue }, number("tickets", items, ids[1]) };
    uint32_t n = 3;
    if (id.n) f[n++] = (struct mintd_field){ S("request_id"), id };
    log_fields(MINTD_INFO, S("batch accepted"), f, n);
}

void trail_count(struct pipe *p, uint64_t request, uint32_t state, uint64_t n)
{
    struct known *k = map_get(&p->trail.known, request);
    if (!k) return;
    if (state == MINTD_ST_DONE) k->minted += n;
    else if (state == MINTD_ST_FAILED) k->failed += n;
    else if (state == MINTD_ST_CANCELLED) k->cancelled += n;
}

/* ---- the end of a batch: where others had a hand in it, or a retry, the store's counts are read first, bounded in number */
struct end { struct pipe *p; uint64_t request; };

static void say_end(const struct pipe *p, uint64_t request, const struct mintd_db_count *c)
{
    char t[4][24];
    struct mintd_str id = trail_get(p, request);
    struct mintd_field f[5] = { number("batch", request, t[0]) };
    uint32_t n = 1;
    if (id.n) f[n++] = (struct mintd_field){ S("request_id"), id };
    if (c) {
        f[n++] = number("minted", c->done, t[1]);
        f[n++] = number("failed", c->failed, t[2]);
        f[n++] = number("cancelled", c->cancelled, t[3]);
    }
    log_fields(MINTD_INFO, S("batch settled"), f, n);
}

static void count_read(void *arg, struct plug_reply *r)
{
    struct end e = *(struct end *)arg;
    free(arg);
    pipe_called(e.p);
    e.p->trail.ends--;
    say_end(e.p, e.request, r->out->cls == MINTD_OK && r->res->rows.n ? r->res->rows.p : NULL);
}

static void count(struct end *e)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    if (!q) {
        e->p->trail.ends--;
        arena_free(mem);
        free(e);
        return;
    }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_COUNT, .request = e->request };
    pipe_call(e->p, e->p->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, count_read, e);
}

static void id_read(void *arg, struct plug_reply *r)
{
    struct end *e = arg;
    pipe_called(e->p);
    take_rows(e->p, r);
    count(e);
}

void trail_end(struct pipe *p, uint64_t request)
{
    const struct known *k = request ? map_get(&p->trail.known, request) : NULL;
    if (!request || !log_on(MINTD_INFO)) return;
    if (k && k->items && k->minted + k->failed + k->cancelled == k->items) {
        say_end(p, request, &(struct mintd_db_count){ .done = k->minted, .failed = k->failed, .cancelled = k->cancelled });
        return;
    }
    struct end *e = p->trail.ends < ENDS_MAX ? malloc(sizeof *e) : NULL;
    if (!e) { say_end(p, request, NULL); return; }
    *e = (struct end){ p, request };
    p->trail.ends++;
    if (k || !query_requests(p, &request, 1, id_read, e)) count(e);
}
