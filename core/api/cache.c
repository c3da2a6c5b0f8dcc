/* The cache as seen from outside: figures of all instances together, and taking out what they hold. Only mintd's own names are touched:
 * "uri:" (metadata that is known to be stored) and "sig:" (transactions). Loop thread. */
#include <inttypes.h>
#include "api/admin.h"
#include "base/amount.h"

enum { STATS_MS = 1000, DELETE_MS = 10000, TICKETS_MAX = 64, CHUNKS_SEEN = 256 };

/* ---- asking */

void caches_list(struct call *c, struct caches *cs)
{
    struct plug *plug = pipe_plug(c->api->pipe);
    const struct conf *conf = c->api->conf;
    cs->n = 0;
    for (uint32_t i = 0; i < conf->n_instances && cs->n < CACHES_MAX; i++) {
        struct plug_inst *inst = plug_find(plug, conf->instances[i].name);
        if (inst && plug_kind(inst) == MINTD_CACHE) cs->c[cs->n++] = (struct cache_seen){ .inst = inst };
    }
}

struct state {
    struct gather gather;
    struct caches caches;
    struct mintd_cache_stats before;
    struct mintd_vec keys; bool prefixes;      /* what is taken out */
    uint32_t left;                             /* caches that did not confirm yet */
};

static void take_stats(struct cache_seen *seen, const struct plug_reply *r)
{
    seen->answered = r->out->cls == MINTD_OK && r->res->rows.n == 1;
    if (seen->answered) seen->stats = *(const struct mintd_cache_stats *)r->res->rows.p;
}

struct target { struct caches *caches; };

static void on_stats(struct call *c, uint32_t i, const struct plug_reply *r)
{
    const struct target *t = c->load;
    take_stats(&t->caches->c[i], r);
}

void caches_ask(struct call *c, struct caches *cs)
{
    struct target *t = arena_alloc(c->mem, sizeof *t);
    if (!t) return;
    t->caches = cs;
    c->load = t;
    for (uint32_t i = 0; i < cs->n; i++) {
        cs->c[i].answered = false;
        gather_ask(c, cs->c[i].inst, CACHE_STATS, 0, NULL, (struct mintd_vec){ 0 }, arena_new(0), on_stats, i);
    }
}

bool caches_connected(const struct caches *cs)
{
    bool all = cs->n > 0;
    for (uint32_t i = 0; i < cs->n; i++) all = all && cs->c[i].answered && cs->c[i].stats.connected;
    return all;
}

struct mintd_cache_stats caches_sum(const struct caches *cs)
{
    struct mintd_cache_stats sum = { 0 };
    for (uint32_t i = 0; i < cs->n; i++) {
        if (!cs->c[i].answered) continue;
        sum.keys += cs->c[i].stats.keys;
        sum.bytes += cs->c[i].stats.bytes;
        sum.hits += cs->c[i].stats.hits;
        sum.misses += cs->c[i].stats.misses;
    }
    return sum;
}

/* ---- GET /admin/cache/stats */

static void put_stats(struct buf *b, bool connected, const struct mintd_cache_stats *s)
{
    buf_printf(b, "\"connected\":%s,\"hits\":%" PRIu64 ",\"misses\":%" PRIu64 ",\"hitRate\":", connected ? "true" : "false", s->hits,
               s->misses);
    ratio_put(b, s->hits * 100, s->hits + s->misses, 2);
    buf_printf(b, ",\"keyCount\":%" PRIu64 ",\"memoryBytes\":%" PRIu64, s->keys, s->bytes);
}

static void answer_stats(struct call *c)
{
    const struct caches *cs = &((struct state *)c->state)->caches;
    struct mintd_cache_stats sum = caches_sum(cs);
    struct buf b = { 0 };
    buf_printf(&b, "{\"enabled\":%s,", cs->n ? "true" : "false");
    put_stats(&b, caches_connected(cs), &sum);
    buf_puts(&b, ",\"caches\":[");
    for (uint32_t i = 0; i < cs->n; i++) {
        buf_puts(&b, i ? ",{\"name\":" : "{\"name\":");
        buf_json(&b, plug_name(cs->c[i].inst));
        buf_puts(&b, ",");
        put_stats(&b, cs->c[i].answered && cs->c[i].stats.connected, &cs->c[i].stats);
        buf_puts(&b, "}");
    }
    buf_puts(&b, "]}\n");
    call_json(c, 200, &b, NULL);
}

static struct state *begin(struct call *c)
{
    struct state *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c), NULL;
    c->state = s;
    caches_list(c, &s->caches);
    return s;
}

void cache_stats(struct call *c)
{
    struct state *s = begin(c);
    if (!s) return;
    gather_begin(c, STATS_MS, answer_stats);
    caches_ask(c, &s->caches);
    gather_end(c);
}

/* ---- taking out: figures before, the deletion, figures after. A cache that does not confirm may still hold the keys. */

static void unavailable(struct call *c)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    call_problem(c, &(struct problem){ .status = 503, .code = "cache.unavailable", .headers = later },
                 "a cache does not answer: some entries may be left, ask again");
}

static void answer_deleted(struct call *c)
{
    const struct state *s = c->state;
    struct mintd_cache_stats now = caches_sum(&s->caches);
    struct buf b = { 0 };
    buf_printf(&b, "{\"success\":true,\"message\":\"%s\",\"enabled\":%s",
               s->prefixes ? "Cache cleared" : "Cache entries of the ticket removed",
               s->caches.n ? "true" : "false");
    if (!s->prefixes) json_str(&b, "ticketId", c->param[0]);
    if (caches_connected(&s->caches) || !s->caches.n)
        buf_printf(&b, ",\"removed\":%" PRIu64, s->before.keys > now.keys ? s->before.keys - now.keys : 0);
    buf_puts(&b, "}\n");
    call_json(c, 200, &b, NULL);
}

static void after_deletion(struct call *c)
{
    struct state *s = c->state;
    if (s->left) return unavailable(c);
    gather_begin(c, STATS_MS, answer_deleted);
    caches_ask(c, &s->caches);
    gather_end(c);
}

static void on_deleted(struct call *c, uint32_t i, const struct plug_reply *r)
{
    (void)i;
    if (r->out->cls == MINTD_OK) ((struct state *)c->state)->left--;
}

static struct mintd_vec copy_keys(struct arena *mem, struct mintd_vec keys)
{
    const struct mintd_str *from = keys.p;
    struct mintd_kv *to = arena_array(mem, keys.n, sizeof *to);
    for (uint32_t i = 0; to && i < keys.n; i++) to[i].key = arena_str(mem, from[i]);
    return VEC(to, to ? keys.n : 0);
}

static void delete_keys(struct call *c)
{
    struct state *s = c->state;
    s->before = caches_sum(&s->caches);
    s->left = s->caches.n;
    gather_begin(c, DELETE_MS, after_deletion);
    for (uint32_t i = 0; i < s->caches.n; i++) {
        struct arena *mem = arena_new(0);
        struct mintd_vec rows = mem ? copy_keys(mem, s->keys) : (struct mintd_vec){ 0 };
        if (rows.n) gather_ask(c, s->caches.c[i].inst, CACHE_DEL, s->prefixes, NULL, rows, mem, on_deleted, i);
        else arena_free(mem);
    }
    gather_end(c);
}

static void take_out(struct call *c, struct mintd_vec keys, bool prefixes)
{
    struct state *s = begin(c);
    if (!s) return;
    s->keys = keys;
    s->prefixes = prefixes;
    gather_begin(c, STATS_MS, delete_keys);
    caches_ask(c, &s->caches);
    gather_end(c);
}

void cache_clear(struct call *c)
{
    static const struct mintd_str own[] = { { "uri:", 4 }, { "sig:", 4 } };
    take_out(c, VEC(own, ARRAY_LEN(own)), true);
}

/* ---- DELETE /admin/cache/{ticketId}: the keys of its metadata and of every transaction it was ever in */

struct trace { const struct mintd_res *items; uint64_t chunks[CHUNKS_SEEN]; uint32_t n, asked; };

static void add_chunk(struct trace *t, uint64_t id)
{
    uint32_t i = 0;
    while (i < t->n && t->chunks[i] != id) i++;
    if (id && i == t->n && t->n < CHUNKS_SEEN) t->chunks[t->n++] = id;
}

static void on_attempts(struct call *c, const struct mintd_res *res)
{
    const struct trace *t = c->load;
    const struct mintd_db_item *it = t->items->rows.p;
    const struct mintd_db_attempt *a = res->rows.p;
    uint32_t n = 0;
    struct mintd_str *keys = arena_array(c->mem, (size_t)t->items->rows.n + res->rows.n, sizeof *keys);
    for (uint32_t i = 0; keys && i < t->items->rows.n; i++)
        if (it[i].uri.n) keys[n++] = arena_printf(c->mem, "uri:" STR_FMT, STR_ARG(it[i].uri));
    for (uint32_t i = 0; keys && i < res->rows.n; i++) keys[n++] = arena_printf(c->mem, "sig:" STR_FMT, STR_ARG(a[i].tx_id));
    if (keys) take_out(c, VEC(keys, n), false);
    else call_memory(c);
}

static void on_chunks(struct call *c, const struct mintd_res *res);

/* Back to where the ticket was moved from, generation by generation. */
static void look_back(struct call *c)
{
    struct trace *t = c->load;
    uint32_t first = t->asked;
    t->asked = t->n;
    if (first < t->n)
        call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .ids = VEC(t->chunks + first, t->n - first) }, 0, on_chunks);
    else
        call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ATTEMPT, .ids = VEC(t->chunks, t->n), .max = 10000 }, 1, on_attempts);
}

static void on_chunks(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_chunk *chunk = res->rows.p;
    for (uint32_t i = 0; i < res->rows.n; i++) add_chunk(c->load, chunk[i].parent);
    look_back(c);
}

static void on_items(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_item *it = res->rows.p;
    struct trace *t = arena_alloc(c->mem, sizeof *t);
    if (!t) return call_memory(c);
    c->load = t;
    t->items = res;
    for (uint32_t i = 0; i < res->rows.n && i < TICKETS_MAX; i++) add_chunk(t, it[i].chunk), add_chunk(t, it[i].delivery);
    if (res->rows.n) look_back(c);
    else call_problem(c, &(struct problem){ .status = 404, .code = "ticket.unknown" }, "there is no such ticket");
}

void cache_forget(struct call *c)
{
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = call_venue(c), .names = VEC(&c->param[0], 1) }, 0, on_items);
}
