/* Buckets, window, packing. Pure: owns nothing, calls nothing. */
#include "machine/pace.h"

enum { WINDOW_MIN = 2000, HOLD_DEFAULT_MS = 250 };

static void refill(struct pace_bucket *b, uint64_t now)
{
    if (now <= b->last_ms) return;
    uint64_t ms = now - b->last_ms, room = b->burst - b->level;
    b->last_ms = now;
    if (ms >= room * 1000 / b->per_s + 1) { b->level = b->burst; b->rest = 0; return; }
    uint64_t all = b->per_s * ms + b->rest, add = all / 1000;
    b->level = add < room ? b->level + add : b->burst;
    b->rest = add < room ? all % 1000 : 0;                 /* the fraction is kept: asking often brings nothing */
}

void pace_bucket_set(struct pace_bucket *b, uint64_t per_s, uint64_t burst, uint64_t now)
{
    bool fresh = !b->per_s;
    if (burst < 1) burst = per_s;
    if (!fresh) refill(b, now);
    b->per_s = per_s;
    b->burst = burst;
    if (fresh) { b->level = burst; b->last_ms = now; }
    if (b->level > burst) b->level = burst;
}

uint64_t pace_bucket_wait(struct pace_bucket *b, uint64_t cost, uint64_t now)
{
    if (now < b->hold_until) return b->hold_until - now;
    if (!b->per_s) return 0;
    refill(b, now);
    if (cost > b->burst) cost = b->burst;
    if (b->level >= cost) return 0;
    uint64_t due = b->last_ms + ((cost - b->level) * 1000 - b->rest + b->per_s - 1) / b->per_s;
    return due > now ? due - now : 1;
}

void pace_bucket_take(struct pace_bucket *b, uint64_t cost, uint64_t now)
{
    if (!b->per_s) return;
    refill(b, now);
    uint64_t owed = b->level < cost ? cost - b->level : 0;
    b->level -= cost - owed;
    if (owed) b->last_ms += (owed * 1000 + b->per_s - 1) / b->per_s;   /* a cost above the burst: nothing comes in before that is paid */
}

void pace_bucket_refused(struct pace_bucket *b, uint64_t retry_ms, uint64_t now)
{
    uint64_t until = now + (retry_ms ? retry_ms : HOLD_DEFAULT_MS);
    if (until > b->hold_until) b->hold_until = until;
    b->level = b->rest = 0;
    if (b->last_ms < now) b->last_ms = now;
}

void pace_window_set(struct pace_window *w, uint32_t start, uint32_t max)
{
    w->max = (uint64_t)(max ? max : 1) * 1000;
    uint64_t from = w->milli ? w->milli : (uint64_t)start * 1000;
    w->milli = from > w->max ? w->max : from;
    if (w->milli < 1000) w->milli = 1000;
}

uint32_t pace_window_room(const struct pace_window *w, uint64_t now)
{
    uint64_t size = w->milli / 1000;
    return now < w->hold_until || size <= w->in_flight ? 0 : (uint32_t)(size - w->in_flight);
}

void pace_window_good(struct pace_window *w)
{
    w->milli += 1000000 / (w->milli ? w->milli : 1);
    if (w->milli > w->max) w->milli = w->max;
}

void pace_window_bad(struct pace_window *w, uint64_t retry_ms, uint64_t rtt_ms, uint64_t now)
{
    if (retry_ms && now + retry_ms > w->hold_until) w->hold_until = now + retry_ms;
    if (w->last_cut_ms && now < w->last_cut_ms + rtt_ms) return;
    w->last_cut_ms = now;
    w->milli = w->milli * 7 / 10;
    if (w->milli < WINDOW_MIN) w->milli = WINDOW_MIN < w->max ? WINDOW_MIN : w->max;
}

uint32_t pace_pack(uint32_t configured, uint32_t chain_max, uint32_t tx_room, uint32_t item_base, uint32_t name_len, uint32_t uri_len)
{
    uint32_t n = chain_max ? chain_max : 1;
    if (configured && configured < n) n = configured;
    uint64_t each = (uint64_t)item_base + name_len + uri_len;
    if (tx_room && each && tx_room / each < n) n = (uint32_t)(tx_room / each);
    return n ? n : 1;
}
