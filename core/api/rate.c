/* Token buckets: see rate.h. A bucket is one number, the time at which it will be full again: taking a token moves it by the time that
 * one token needs to come back. Calls libsodium for the keyed hash of names. Loop thread. */
#include <sodium.h>
#include <stdlib.h>
#include "api/rate.h"

enum { LOOKED_AT = 4 };                        /* buckets looked at for one that is full, so that taking costs the same always */
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

struct bucket { struct list link; uint64_t hash, full_at; };           /* ns, on the loop's clock */

void rate_init(struct rate *r, struct loop *loop, uint32_t max)
{
    *r = (struct rate){ .loop = loop, .max = max };
    list_init(&r->old);
    loop_random(loop, r->secret, sizeof r->secret);
}

void rate_limit(struct rate *r, struct conf_rate limit) { r->limit = limit; }

void rate_free(struct rate *r)
{
    struct list *l;
    if (!r->loop) return;                                  /* never begun */
    while ((l = list_pop(&r->old))) free(LIST_OF(l, struct bucket, link));
    map_free(&r->map);
}

static uint64_t hash_of(const struct rate *r, struct mintd_str name)
{
    uint64_t hash = 0;
    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)name.p, name.n, r->secret);
    return hash ? hash : 1;                                /* the map takes no 0 */
}

/* A bucket that is full again says nothing: forgotten, it would begin full. */
static void forget_one(struct rate *r, uint64_t now)
{
    int looked = 0;
    LIST_EACH(it, &r->old) {
        struct bucket *b = LIST_OF(it, struct bucket, link);
        if (b->full_at <= now) {
            map_del(&r->map, b->hash);
            list_del(&b->link);
            free(b);
            return;
        }
        if (++looked == LOOKED_AT) return;
    }
}

static struct bucket *bucket_new(struct rate *r, uint64_t hash, uint64_t now)
{
    if (r->map.n >= r->max) forget_one(r, now);
    struct bucket *b = r->map.n < r->max ? calloc(1, sizeof *b) : NULL;
    if (!b || map_put(&r->map, hash, b)) {
        free(b);
        return NULL;
    }
    b->hash = hash;
    b->full_at = now;
    list_add(&r->old, &b->link);
    return b;
}

static uint64_t seconds(uint64_t ns) { return (ns + NS_PER_S - 1) / NS_PER_S; }

static uint64_t one_token(const struct rate *r) { return (uint64_t)r->limit.ms * NS_PER_MS / r->limit.n; }

static struct rate_state refused(const struct rate *r)
{
    return (struct rate_state){ .retry_s = seconds(one_token(r)), .reset_s = seconds(one_token(r) * r->limit.n) };
}

struct rate_state rate_take(struct rate *r, struct mintd_str name, bool look)
{
    if (!r->limit.n) return (struct rate_state){ .ok = true };
    uint64_t now = loop_now_ms(r->loop) * NS_PER_MS, hash = hash_of(r, name);
    uint64_t one = one_token(r), all = one * r->limit.n;
    struct bucket *b = map_get(&r->map, hash);
    if (!b && look && r->map.n < r->max) return (struct rate_state){ .ok = true, .remaining = r->limit.n };
    if (!b) b = bucket_new(r, hash, now);
    if (!b) return refused(r);
    if (b->full_at < now) b->full_at = now;
    if (b->full_at > now + all) b->full_at = now + all;                    /* the limit was another one before */
    struct rate_state s = { .ok = b->full_at + one <= now + all };
    if (!s.ok) s.retry_s = seconds(b->full_at + one - now - all);
    else if (!look) b->full_at += one;
    s.remaining = (uint32_t)((now + all - b->full_at) / one);
    s.reset_s = seconds(b->full_at - now);
    list_del(&b->link);
    list_add(&r->old, &b->link);
    return s;
}
