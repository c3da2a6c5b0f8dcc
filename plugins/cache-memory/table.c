/* The table: lookups, the list of use, expiry, the limit. Owns all memory of the entries. Loop thread. */
#include <stdlib.h>

#include "cache.h"

/* One bucket for each 256 to 512 bytes of the limit. The number is fixed, because moving a large table would hold up the loop; even the
 * smallest entries then make chains of three at most on average. */
enum { BYTES_PER_BUCKET = 256, HEAP_OVERHEAD = 16, HEAP_STEP = 16, SWEEP = 2, ENTRY_MAX = 4 << 20 };

int table_open(struct table *t, uint64_t limit)
{
    uint64_t n = 1;
    while (n * 2 <= limit / BYTES_PER_BUCKET) n *= 2;
    t->bucket = calloc(n, sizeof *t->bucket);
    if (!t->bucket) return -ENOMEM;
    t->mask = n - 1;
    t->limit = limit;
    t->bytes = n * sizeof *t->bucket;
    return 0;
}

void table_close(struct table *t)
{
    for (struct entry *e = t->newest, *older; e; e = older) {
        older = e->older;
        free(e);
    }
    free(t->bucket);
    t->bucket = NULL;
    t->newest = t->oldest = NULL;
    t->bytes = t->keys = 0;
}

uint64_t table_cost(struct mintd_str key, size_t val_n)
{
    uint64_t n = sizeof(struct entry) + key.n + val_n + HEAP_OVERHEAD;
    return (n + HEAP_STEP - 1) & ~(uint64_t)(HEAP_STEP - 1);
}

uint64_t table_cost_max(const struct table *t) { return t->limit / 8 < ENTRY_MAX ? t->limit / 8 : ENTRY_MAX; }

static struct mintd_str key_of(const struct entry *e) { return (struct mintd_str){ e->bytes, e->key_n }; }

static void unlink_use(struct table *t, struct entry *e)
{
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
}

static void use(struct table *t, struct entry *e)
{
    e->newer = NULL;
    e->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = e;
    t->newest = e;
}

static struct entry **bucket_of(struct table *t, uint64_t hash) { return &t->bucket[hash & t->mask]; }

static struct entry **find(struct table *t, struct mintd_str key, uint64_t hash)
{
    struct entry **at = bucket_of(t, hash);
    while (*at && ((*at)->hash != hash || (*at)->key_n != key.n || memcmp((*at)->bytes, key.p, key.n))) at = &(*at)->chain;
    return at;
}

/* *at: the place that points to it */
static void drop(struct table *t, struct entry **at)
{
    struct entry *e = *at;
    *at = e->chain;
    unlink_use(t, e);
    t->bytes -= table_cost(key_of(e), e->val_n);
    t->keys--;
    free(e);
}

static void drop_entry(struct table *t, struct entry *e)
{
    struct entry **at = bucket_of(t, e->hash);
    while (*at != e) at = &(*at)->chain;
    drop(t, at);
}

struct entry *table_get(struct table *t, struct mintd_str key, uint64_t now)
{
    struct entry **at = find(t, key, sip_hash(t->key, key.p, key.n)), *e = *at;
    if (!e) return NULL;
    if (e->expires <= now) {
        drop(t, at);
        t->expired++;
        return NULL;
    }
    unlink_use(t, e);
    use(t, e);
    return e;
}

/* A put pays for cleaning up: after as many puts as half the buckets the whole table has been looked at once. */
static void sweep(struct table *t, uint64_t now)
{
    for (int i = 0; i < SWEEP; i++) {
        struct entry **at = &t->bucket[t->swept++ & t->mask];
        while (*at) {
            if ((*at)->expires > now) { at = &(*at)->chain; continue; }
            drop(t, at);
            t->expired++;
        }
    }
}

static void make_room(struct table *t, uint64_t cost)
{
    while (t->oldest && t->bytes + cost > t->limit) {
        drop_entry(t, t->oldest);
        t->evicted++;
    }
}

int table_put(struct table *t, struct mintd_str key, struct mintd_str val, uint64_t expires, uint64_t now)
{
    struct entry *e = malloc(sizeof *e + key.n + val.n);
    if (!e) return -ENOMEM;
    uint64_t hash = sip_hash(t->key, key.p, key.n);
    struct entry **old = find(t, key, hash);
    if (*old) drop(t, old);
    sweep(t, now);
    make_room(t, table_cost(key, val.n));
    *e = (struct entry){ .expires = expires, .hash = hash, .key_n = (uint32_t)key.n, .val_n = (uint32_t)val.n };
    memcpy(e->bytes, key.p, key.n);
    if (val.n) memcpy(e->bytes + key.n, val.p, val.n);
    struct entry **head = bucket_of(t, hash);
    e->chain = *head;
    *head = e;
    use(t, e);
    t->bytes += table_cost(key, val.n);
    t->keys++;
    return 0;
}

void table_del(struct table *t, struct mintd_str key)
{
    struct entry **at = find(t, key, sip_hash(t->key, key.p, key.n));
    if (*at) drop(t, at);
}

bool table_del_prefix(struct table *t, struct mintd_str prefix, uint64_t *at, uint32_t work)
{
    for (; *at <= t->mask && work; ++*at, work--) {
        for (struct entry **e = &t->bucket[*at]; *e;) {
            if (work > 1) work--;
            if ((*e)->key_n >= prefix.n && (!prefix.n || !memcmp((*e)->bytes, prefix.p, prefix.n))) drop(t, e);
            else e = &(*e)->chain;
        }
    }
    return *at > t->mask;
}
