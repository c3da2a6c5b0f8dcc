/* The ops. Loop thread. A cache is never the truth: what cannot be done reads as a miss. */
#include <stdlib.h>

#include "cache.h"

enum { ANSWER_MAX = 6 << 20, SLICE = 4096 };               /* an op carries 8 MiB at most; a slice stays below a millisecond */

static void refuse(struct cache *c, struct mintd_op *op, uint32_t cls, const char *slug, const char *msg)
{
    c->host->done(op, &(struct mintd_outcome){ .size = sizeof(struct mintd_outcome), .cls = cls, .slug = { slug, strlen(slug) },
        .msg = { msg, strlen(msg) } }, NULL);
}

static void report(struct cache *c)
{
    static const struct mintd_str no_label;
    c->host->metric(c->ctx, M_KEYS, no_label, (int64_t)c->table.keys);
    c->host->metric(c->ctx, M_BYTES, no_label, (int64_t)c->table.bytes);
    if (c->table.evicted) c->host->metric(c->ctx, M_EVICTED, no_label, (int64_t)c->table.evicted);
    if (c->table.expired) c->host->metric(c->ctx, M_EXPIRED, no_label, (int64_t)c->table.expired);
    c->table.evicted = c->table.expired = 0;
}

static bool begins(struct mintd_str s, struct mintd_str with) { return s.n >= with.n && !memcmp(s.p, with.p, with.n); }

static enum category category_of(struct mintd_str key) { return begins(key, STR("uri:")) ? URI : begins(key, STR("sig:")) ? SIG : OTHER; }

static uint64_t expiry(const struct cache *c, const struct mintd_kv *kv, uint64_t now)
{
    uint64_t ttl = kv->ttl_ms ? kv->ttl_ms : c->ttl_ms[category_of(kv->key)];
    return ttl > UINT64_MAX - now ? UINT64_MAX : now + ttl;
}

void op_start(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct cache *c = self;
    (void)req;
    c->host->done(op, NULL, NULL);
}

/* ---- get: values stay in the table, done copies them */
static void look_up(struct cache *c, struct mintd_kv *kv, uint64_t now, size_t *left)
{
    struct entry *e = kv->key.n ? table_get(&c->table, kv->key, now) : NULL;
    *kv = (struct mintd_kv){ .key = kv->key };
    if (e && e->val_n <= *left) {
        *left -= e->val_n;
        kv->val = (struct mintd_str){ e->bytes + e->key_n, e->val_n };
        kv->ttl_ms = e->expires - now;
        kv->found = 1;
    }
    *(kv->found ? &c->hits : &c->misses) += 1;
}

void op_get(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct cache *c = self;
    uint32_t n = req->rows.n;
    struct mintd_kv *rows = n ? c->host->scratch(op, n * sizeof *rows) : NULL;
    if (n && !rows) { refuse(c, op, MINTD_TRANSIENT, "cache.memory", "out of memory"); return; }
    uint64_t now = c->host->now_ms(c->ctx);
    size_t left = ANSWER_MAX;
    for (uint32_t i = 0; i < n; i++) {
        mintd_row(req->rows, i, &rows[i], sizeof rows[i]);
        size_t used = rows[i].key.n + sizeof rows[i];
        left = left > used ? left - used : 0;
        look_up(c, &rows[i], now, &left);
    }
    report(c);
    c->host->done(op, NULL, &(struct mintd_res){ .size = sizeof(struct mintd_res), .rows = ROWS(rows, n) });
}

/* ---- put: all rows or none */
static const char *row_fault(const struct cache *c, struct mintd_vec rows)
{
    for (uint32_t i = 0; i < rows.n; i++) {
        struct mintd_kv kv;
        mintd_row(rows, i, &kv, sizeof kv);
        if (!kv.key.n) return "cache.no_key";
        if (table_cost(kv.key, kv.val.n) > table_cost_max(&c->table)) return "cache.too_large";
    }
    return NULL;
}

void op_put(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct cache *c = self;
    const char *fault = row_fault(c, req->rows);
    if (fault) { refuse(c, op, MINTD_TRANSIENT, fault, "nothing of this put was stored"); return; }
    uint64_t now = c->host->now_ms(c->ctx);
    int r = 0;
    for (uint32_t i = 0; !r && i < req->rows.n; i++) {
        struct mintd_kv kv;
        mintd_row(req->rows, i, &kv, sizeof kv);
        r = table_put(&c->table, kv.key, kv.val, expiry(c, &kv, now), now);
    }
    report(c);
    if (r) refuse(c, op, MINTD_TRANSIENT, "cache.memory", "out of memory: some entries were not stored");
    else c->host->done(op, NULL, NULL);
}

/* ---- del: a prefix visits the whole table, in slices with other work of the loop between them */
struct walk { struct cache *c; struct mintd_op *op; struct mintd_vec rows; uint32_t row; uint64_t at; };

static void walk_on(void *arg)
{
    struct walk *w = arg;
    struct cache *c = w->c;
    if (c->host->canceled(w->op)) { refuse(c, w->op, MINTD_TRANSIENT, "cache.canceled", "stopped, some entries may be left"); return; }
    struct mintd_kv kv;
    mintd_row(w->rows, w->row, &kv, sizeof kv);
    if (table_del_prefix(&c->table, kv.key, &w->at, SLICE)) {
        w->at = 0;
        w->row++;
    }
    report(c);
    if (w->row == w->rows.n) c->host->done(w->op, NULL, NULL);
    else c->host->post(c->ctx, walk_on, w);
}

static void del_prefixes(struct cache *c, struct mintd_op *op, struct mintd_vec rows)
{
    struct walk *w = c->host->scratch(op, sizeof *w);
    if (!w) { refuse(c, op, MINTD_TRANSIENT, "cache.memory", "out of memory"); return; }
    *w = (struct walk){ c, op, rows, 0, 0 };
    walk_on(w);
}

void op_del(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct cache *c = self;
    if (req->flags & 1 && req->rows.n) { del_prefixes(c, op, req->rows); return; }
    for (uint32_t i = 0; i < req->rows.n; i++) {
        struct mintd_kv kv;
        mintd_row(req->rows, i, &kv, sizeof kv);
        if (kv.key.n) table_del(&c->table, kv.key);
    }
    report(c);
    c->host->done(op, NULL, NULL);
}

void op_drain(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    static const struct mintd_kv everything;
    (void)req;
    del_prefixes(self, op, ROWS(&everything, 1));
}

/* ---- stats */
void op_stats(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct cache *c = self;
    struct mintd_cache_stats s = { c->table.keys, c->table.bytes, c->hits, c->misses, 1, 0 };
    (void)req;
    c->host->done(op, NULL, &(struct mintd_res){ .size = sizeof(struct mintd_res), .rows = ROWS(&s, 1) });
}
