/* cache-memory: the descriptor, its options, and the two ends of an instance. Loop thread. */
#include <stdlib.h>

#include "cache.h"

#define YEAR_MS (365LL * 24 * 3600 * 1000)

static const struct mintd_opt opts[] = {
    { "max_bytes", "size", "8 MiB", NULL, "memory of all entries with their overhead; the least recently used ones make room", 1 << 16,
      (int64_t)1 << 36, 0 },
    { "ttl_uri", "duration", "24h", NULL, "lifetime of keys that begin with uri: (addresses of metadata, which does not change)", 1, YEAR_MS, 0 },
    { "ttl_sig", "duration", "1h", NULL, "lifetime of keys that begin with sig: (transaction signatures, whose confirmation may change)", 1,
      YEAR_MS, 0 },
    { "ttl_other", "duration", "1h", NULL, "lifetime of all other keys", 1, YEAR_MS, 0 },
};

static const struct mintd_metric metrics[] = {
    [M_KEYS] = { "mintd_cache_memory_keys", NULL, "entries held, those past their time until they are swept included", 2 },
    [M_BYTES] = { "mintd_cache_memory_bytes", NULL, "their memory with all overhead", 2 },
    [M_EVICTED] = { "mintd_cache_memory_evicted_total", NULL, "entries dropped to make room: raise max_bytes if this grows", 1 },
    [M_EXPIRED] = { "mintd_cache_memory_expired_total", NULL, "entries dropped because their time was over", 1 },
};

static const struct mintd_slug slugs[] = {
    { "cache.too_large", "an entry may take an eighth of max_bytes and 4 MiB: raise max_bytes, or do not cache such values" },
    { "cache.no_key", "a bug of the caller: a key must not be empty" },
    { "cache.memory", "out of memory; the daemon goes on without the cache" },
    { "cache.canceled", "stopped before the end" },
};

static void destroy(void *self)
{
    struct cache *c = self;
    table_close(&c->table);
    free(c);
}

static uint64_t number(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name)
{
    int64_t v = 0;
    return host->opt_i64(cfg, name, 0, &v) ? 0 : (uint64_t)v;
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c) return -ENOMEM;
    c->host = host;
    c->ctx = ctx;
    c->ttl_ms[URI] = number(host, cfg, "ttl_uri");
    c->ttl_ms[SIG] = number(host, cfg, "ttl_sig");
    c->ttl_ms[OTHER] = number(host, cfg, "ttl_other");
    host->random(ctx, c->table.key, sizeof c->table.key);
    if (table_open(&c->table, number(host, cfg, "max_bytes"))) { destroy(c); return -ENOMEM; }
    *ret = c;
    return 0;
}

static const struct mintd_cache_ops ops = { .size = sizeof ops, .get = op_get, .put = op_put, .del = op_del, .stats = op_stats };

const struct mintd_plugin *mintd_plugin_v0(void)
{
    static const struct mintd_plugin plugin = {
        .magic = MINTD_MAGIC, .size = sizeof plugin, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .kind = MINTD_CACHE,
        .model = MINTD_LOOP, .flags = MINTD_SIMULABLE,
        .name = "cache-memory", .version = "0.1.0", .summary = "a cache in the daemon's own memory, bounded by bytes",
        .opts = ROWS(opts, LEN(opts)), .metrics = ROWS(metrics, LEN(metrics)), .slugs = ROWS(slugs, LEN(slugs)),
        .ops = &ops, .create = create, .start = op_start, .drain = op_drain, .destroy = destroy,
    };
    return &plugin;
}
