/* The retry policy as tables. Pure: owns nothing, calls nothing. */
#include "machine/retry.h"

/* Last part of a slug that speaks of the lane, not of the chunk: one empty purse must not fail ten thousand items. */
static const char *const lane_slugs[] = { "no_funds", "paused", "frozen", "max_supply" };

bool retry_parks(struct mintd_str slug)
{
    size_t dot = slug.n;
    while (dot && slug.p[dot - 1] != '.') dot--;
    struct mintd_str last = { slug.p + dot, slug.n - dot };
    for (size_t i = 0; i < ARRAY_LEN(lane_slugs); i++)
        if (dot && str_eq(last, str_of(lane_slugs[i]))) return true;
    return false;
}

static uint64_t backoff(uint32_t tries, const struct retry_policy *p, uint32_t jitter)
{
    uint64_t base = p->base_ms > 0 ? (uint64_t)p->base_ms : 1, cap = p->cap_ms > 0 ? (uint64_t)p->cap_ms : base;
    uint64_t ms = tries < 32 ? base << (tries < 20 ? tries : 20) : cap;
    if (ms > cap) ms = cap;
    uint64_t span = ms / 2;                                /* 3/4 .. 5/4 of it */
    return ms - span / 2 + (span ? jitter % (span + 1) : 0);
}

static enum retry_act permanent(enum retry_stage stage, struct mintd_str slug)
{
    if (str_eq(slug, S("store.fenced"))) return RETRY_FENCED;
    if (retry_parks(slug)) return RETRY_PARK;
    switch (stage) {
    case STAGE_STATUS: case STAGE_CLAIM: case STAGE_QUERY: return RETRY_AGAIN;  /* reading can not condemn what was promised */
    default:           return RETRY_FAIL;
    }
}

struct retry_verdict retry_decide(enum retry_stage stage, uint32_t cls, struct mintd_str slug, uint32_t tries, uint64_t retry_ms,
                                  const struct retry_policy *p, uint32_t jitter)
{
    struct retry_verdict v = { RETRY_DONE, 0 };
    switch (cls) {
    case MINTD_OK:
        return v;
    case MINTD_PERMANENT:
        v.act = permanent(stage, slug);
        break;
    case MINTD_CANCELED: case MINTD_TRANSIENT: case MINTD_THROTTLED:
        v.act = RETRY_AGAIN;
        break;
    default:                                               /* AMBIGUOUS and whatever a later ABI invents */
        v.act = stage == STAGE_BROADCAST ? RETRY_OBSERVE : RETRY_AGAIN;        /* the rest is repeatable: content, same groups, reads */
        break;
    }
    if (v.act == RETRY_AGAIN || v.act == RETRY_PARK) {
        v.delay_ms = backoff(v.act == RETRY_PARK ? 31 : tries, p, jitter);
        if (v.delay_ms < retry_ms) v.delay_ms = retry_ms;
    }
    return v;
}

const char *retry_stage_name(enum retry_stage s)
{
    static const char *const names[STAGE_COUNT] = { "identify", "put", "check", "public_keys", "prepare", "sign", "seal", "commit",
        "broadcast", "status", "claim", "query" };
    return s < STAGE_COUNT ? names[s] : "unknown";
}
