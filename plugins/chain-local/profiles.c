/* What the profiles differ in: clock, validity, finality, fees, limits, rates. Pure but for the reading of the clock. */
#include "local.h"

static const struct numbers { uint32_t items; uint32_t uri_max; } numbers[] = {
    [SOLANA_LIKE] = { 4, 200 }, [HEDERA_LIKE] = { 10, 100 }, [NULL_CHAIN] = { 10, 400 } };
enum { NULL_VALID_MS = 3600000 };

/* ---- time. Never backwards: not before what the ledger saw, not before what this instance said, whatever the wall clock does */
int64_t chain_now(struct local *l)
{
    uint64_t ms = l->host->now_ms(l->ctx);
    int64_t wall = l->host->wall_us(l->ctx), t = l->anchor_t + (int64_t)(ms - l->anchor_ms) * 1000;
    if (t < wall) t = wall;
    if (t < l->w.last) t = l->w.last;
    l->anchor_t = t;
    l->anchor_ms = ms;
    return t;
}

static uint64_t height_at(const struct local *l, int64_t t)
{
    return FIRST_HEIGHT + (t > l->w.genesis ? (uint64_t)(t - l->w.genesis) / (uint64_t)l->w.slot_us : 0);
}

static int64_t block_time(const struct local *l, uint64_t height)
{
    return l->w.genesis + (int64_t)(height - FIRST_HEIGHT) * l->w.slot_us;
}

uint64_t clock_at(const struct local *l, int64_t t)
{
    if (l->o.profile == SOLANA_LIKE) return height_at(l, t);
    uint64_t us = t > 0 ? (uint64_t)t : 0;
    return l->o.profile == HEDERA_LIKE ? us * 1000 : us / 1000;
}

uint64_t proof_clock(const struct local *l, int64_t t)
{
    uint64_t clock = clock_at(l, t);
    if (l->o.profile != SOLANA_LIKE) return clock;
    return clock > l->o.finality ? clock - l->o.finality : 0;
}

bool is_final(const struct local *l, const struct wtx *w, int64_t t)
{
    if (w->fate == FATE_ROLLED || t < w->land) return false;
    return l->o.profile != SOLANA_LIKE || height_at(l, t) >= height_at(l, w->land) + l->o.finality;
}

void validity(struct local *l, int64_t t, uint64_t *ret_start, uint64_t *ret_bound)
{
    uint64_t now = clock_at(l, t);
    *ret_start = now;
    *ret_bound = now + (l->o.profile == SOLANA_LIKE ? l->o.validity : NULL_VALID_MS);
    if (l->o.profile != HEDERA_LIKE) return;
    uint32_t noise;                                        /* other daemons may pay from the same account */
    l->host->random(l->ctx, &noise, sizeof noise);
    int64_t start = (t - l->o.valid_us / 24) * 1000 + noise % 1000000;
    if (start <= l->last_start) start = l->last_start + 1;
    l->last_start = start;
    *ret_start = (uint64_t)start;
    *ret_bound = (uint64_t)(start + l->o.valid_us * 1000);
}

bool expired(const struct local *l, const struct tx *tx, int64_t t)
{
    uint64_t now = clock_at(l, t);
    if (l->o.profile == SOLANA_LIKE) return now + 1 > tx->bound;
    if (l->o.profile == HEDERA_LIKE) now += (uint64_t)l->o.valid_us * 1000 / 12;
    return now > tx->bound;
}

uint64_t margin_of(const struct local *l)
{
    if (l->o.profile == SOLANA_LIKE) return l->o.validity / 16 ? l->o.validity / 16 : 1;
    return l->o.profile == HEDERA_LIKE ? (uint64_t)l->o.valid_us * 1000 / 24 : 0;
}

int64_t receipts_us(const struct local *l) { return l->o.valid_us / 2 * 3; }

static uint64_t land_height(const struct local *l, const struct tx *tx, struct mintd_str id, uint64_t height)
{
    if (struck(l, l->o.late_accept, "late_accept", id, 0)) {
        uint64_t late = tx->bound - roll(l, "late_by", id, 0) % 4 - 1;
        if (late > height) height = late;
    }
    bool last = struck(l, l->o.land_at_deadline, "land_at_deadline", id, 0);
    return last && tx->bound > height ? tx->bound : height;
}

int64_t land_time(const struct local *l, const struct tx *tx, struct mintd_str id, int64_t t)
{
    int64_t jitter = l->o.jitter_us ? (int64_t)(roll(l, "jitter", id, 0) % (uint64_t)(l->o.jitter_us + 1)) : 0;
    int64_t at = t + l->o.latency_us + jitter, bound_us = (int64_t)(tx->bound / 1000);
    if (l->o.profile == NULL_CHAIN) return at;
    if (l->o.profile == SOLANA_LIKE) {
        uint64_t height = height_at(l, at), now = height_at(l, t);
        height = land_height(l, tx, id, height > now ? height : now + 1);
        return height > tx->bound ? INT64_MAX : block_time(l, height);
    }
    int64_t late = bound_us - l->o.valid_us / 32;
    if (struck(l, l->o.late_accept, "late_accept", id, 0) && at < late) at = late;
    if (struck(l, l->o.land_at_deadline, "land_at_deadline", id, 0) && at < bound_us) at = bound_us;
    return at > bound_us ? INT64_MAX : at;
}

int64_t undo_time(const struct local *l, int64_t land, struct mintd_str id)
{
    uint64_t blocks = 1 + roll(l, "depth", id, 0) % (l->o.finality - 1);
    return land + (int64_t)blocks * l->w.slot_us;
}

/* ---- money */
uint64_t fee_of(const struct local *l, uint32_t kind, uint32_t n_items, int64_t t)
{
    uint64_t fee = (uint64_t)l->o.fee_tx, more = 0;
    if (kind == MINTD_MINT && __builtin_mul_overflow((uint64_t)l->o.fee_item, n_items, &more)) return UINT64_MAX;
    if (kind == MINTD_COLLECTION) more = (uint64_t)l->o.fee_collection;
    if (__builtin_add_overflow(fee, more, &fee)) return UINT64_MAX;
    bool spike = struck(l, l->o.fee_spike, "fee_spike", STR(""), (uint64_t)t / WEATHER_US);
    if (spike && __builtin_mul_overflow(fee, (uint64_t)l->o.fee_spike_factor, &fee)) return UINT64_MAX;
    return fee;
}

uint64_t balance_of(const struct local *l, const uint8_t pub[KEY])
{
    const struct wacct *a = world_acct(&l->w, pub);
    uint64_t had = (uint64_t)l->o.balance;
    if (a && l->o.no_funds && a->paid >= (uint64_t)l->o.no_funds) return 0;
    return !a ? had : a->spent < had ? had - a->spent : 0;
}

/* ---- limits */
uint32_t items_max(const struct local *l, uint32_t kind)
{
    if (kind == MINTD_COLLECTION) return 0;
    return l->o.items_mint ? l->o.items_mint : numbers[l->o.profile].items;
}

uint32_t uri_max(const struct local *l) { return numbers[l->o.profile].uri_max; }

/* As on the real one, a transaction has room for its items only if their texts are short. */
uint32_t tx_room(const struct local *l)
{
    uint32_t room = items_max(l, MINTD_MINT) * 225;
    return l->o.profile != SOLANA_LIKE ? 0 : room > 900 ? room : 900;
}

/* ---- rates. A bucket is the time at which it will be full again; every record of the ledger takes from it, whoever wrote it */
static int64_t cost_us(const struct local *l, uint32_t route, uint32_t cost, int64_t t)
{
    int64_t rate = route ? l->o.node_rate : l->o.network_rate;
    bool step = l->o.throttle_step && (t - l->w.genesis) / l->o.throttle_period_us % 2;
    if (step) rate = rate * l->o.throttle_step / 1000;
    return rate > 0 ? (int64_t)cost * 1000000000 / rate : 0;
}

static struct bucket *bucket_of(struct local *l, uint32_t route)
{
    for (uint32_t i = 0; i < l->w.n_buckets; i++) if (l->w.buckets[i].route == route) return &l->w.buckets[i];
    return NULL;
}

uint64_t bucket_wait(struct local *l, uint32_t route, uint32_t cost, int64_t t)
{
    const struct bucket *b = bucket_of(l, route);
    int64_t us = b ? cost_us(l, route, cost, t) : 0, room = l->o.burst_us > us ? l->o.burst_us : us;
    if (!us || b->full_at <= t) return 0;
    int64_t over = b->full_at + us - t - room;
    return over > 0 ? (uint64_t)over / 1000 + 1 : 0;
}

void bucket_take(struct local *l, uint32_t route, uint32_t cost, int64_t t)
{
    struct bucket *b = bucket_of(l, route);
    if (!b) return;
    if (b->full_at < t) b->full_at = t;
    b->full_at += cost_us(l, route, cost, t);
}
