/* One plugin built against the header of today, of an older and of a newer minor (PROBE_AGE -1, 0, 1): it must work with hosts of
 * either age. It answers what it was asked, the tail of longer rows poisoned, and reports what it saw of the host. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mintd/plugin.h"

#define VEC(a) { (a), sizeof(a) / sizeof((a)[0]), sizeof((a)[0]) }
#ifndef PROBE_NEEDS
#define PROBE_NEEDS 0
#endif
enum { POISON = 0xAA };

struct probe { const struct mintd_host *host; struct mintd_ctx *ctx; int64_t depth; };

static void *rows_of(struct probe *p, struct mintd_op *op, size_t n, size_t size)
{
    unsigned char *rows = p->host->scratch(op, n * size);
    if (rows) memset(rows, POISON, n * size);               /* what this header does not know by name stays poison */
    return rows;
}

static void get(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct probe *p = self;
    struct mintd_kv *rows = rows_of(p, op, req->rows.n, sizeof *rows);
    for (uint32_t i = 0; i < req->rows.n; i++) {
        struct mintd_kv kv;
        mintd_row(req->rows, i, &kv, sizeof kv);
        rows[i].key = kv.key;
        rows[i].val = kv.key;
        rows[i].ttl_ms = kv.ttl_ms;
        rows[i].found = 1;
        rows[i].flags = 0;
    }
    struct mintd_res res = { .size = sizeof res, .rows = { rows, req->rows.n, sizeof *rows } };
    p->host->done(op, NULL, &res);
}

static void nothing(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct probe *p = self;
    struct mintd_outcome o = { .size = sizeof o, .cls = MINTD_TRANSIENT, .slug = { "probe.none", 10 } };
    (void)req;
    p->host->done(op, &o, NULL);
}

static void stats(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct probe *p = self;
    struct mintd_cache_stats *s = rows_of(p, op, 1, sizeof *s);
    (void)req;
    s->keys = p->host->abi_minor;
    s->bytes = p->host->size;
    s->hits = sizeof(struct mintd_host);
    s->misses = (uint64_t)p->depth;
    struct mintd_res res = { .size = sizeof res, .rows = { s, 1, sizeof *s } };
    p->host->done(op, NULL, &res);
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret_self)
{
    struct probe *p = calloc(1, sizeof *p);
    if (!p) return -ENOMEM;
    *p = (struct probe){ host, ctx, 0 };
    if (host->opt_i64(cfg, "depth", 0, &p->depth)) { free(p); return -EINVAL; }
    *ret_self = p;
    return 0;
}

static void destroy(void *self) { free(self); }

static const struct mintd_opt opts[] = { { .name = "depth", .type = "int", .dflt = "3", .help = "a number", .min = 1, .max = 9 } };
static const struct mintd_metric metrics[] = { { .name = "mintd_probe_total", .help = "Things.", .type = 1 } };
static const struct mintd_slug slugs[] = { { .slug = "probe.none", .help = "nothing to do" } };
static const struct mintd_cache_ops ops = { .size = sizeof ops, .get = get, .put = nothing, .del = nothing, .stats = stats };
static const struct mintd_plugin desc = {
    .magic = MINTD_MAGIC, .size = sizeof desc, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .need_minor = PROBE_NEEDS,
    .kind = MINTD_CACHE, .model = MINTD_LOOP, .name = PROBE_NAME, .version = "1.0", .summary = "tells what it sees",
    .opts = VEC(opts), .metrics = VEC(metrics), .slugs = VEC(slugs), .ops = &ops, .create = create, .destroy = destroy,
};

const struct mintd_plugin *mintd_plugin_v0(void) { return &desc; }
