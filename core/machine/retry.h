/* The retry policy: one pure function over (stage, outcome class, tries). Durations in ms. Any thread. */
#ifndef MACHINE_RETRY_H
#define MACHINE_RETRY_H
#include <stdint.h>
#include "base/str.h"

enum retry_stage { STAGE_IDENTIFY, STAGE_PUT, STAGE_CHECK, STAGE_KEYS, STAGE_PREPARE, STAGE_SIGN, STAGE_SEAL, STAGE_COMMIT,
                   STAGE_BROADCAST, STAGE_STATUS, STAGE_CLAIM, STAGE_QUERY, STAGE_COUNT };
enum retry_act {
    RETRY_DONE,        /* it worked */
    RETRY_AGAIN,       /* the same call, after delay_ms; a promised item is never given up for a passing fault */
    RETRY_FAIL,        /* definite and without effect: the chunk (or the call) ends with this reason */
    RETRY_PARK,        /* definite for now for the whole lane (no funds, paused, supply): all of it waits delay_ms */
    RETRY_OBSERVE,     /* the effect is unknown: ask the chain, never the caller's luck */
    RETRY_FENCED,      /* the slot is not ours any more: stop everything */
};
struct retry_policy { int64_t base_ms, cap_ms; uint32_t attempts; };
struct retry_verdict { enum retry_act act; uint64_t delay_ms; };

/* tries: how often this was tried before, 0 the first time. retry_ms: what the peer asked for, 0 nothing. jitter: 32 random bits.
 * Backoff: base * 2^tries up to cap, plus or minus a quarter; at least retry_ms. */
struct retry_verdict retry_decide(enum retry_stage, uint32_t cls, struct mintd_str slug, uint32_t tries, uint64_t retry_ms,
                                  const struct retry_policy *, uint32_t jitter);
bool retry_parks(struct mintd_str slug);       /* its last part speaks of the lane: no_funds, paused, frozen, max_supply */
const char *retry_stage_name(enum retry_stage);
#endif
