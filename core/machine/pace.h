/* Pacing: token buckets for published budgets, an AIMD window for limits nobody publishes, packing. Time goes in as a number;
 * units are thousandths of an operation, as in mintd_budget. Pure. Any thread, one at a time. */
#ifndef MACHINE_PACE_H
#define MACHINE_PACE_H
#include <stdbool.h>
#include <stdint.h>

struct pace_bucket { uint64_t per_s, burst, level, rest, last_ms, hold_until; };           /* per_s 0: unlimited */
void     pace_bucket_set(struct pace_bucket *, uint64_t per_s, uint64_t burst, uint64_t now_ms);   /* keeps the level, capped */
uint64_t pace_bucket_wait(struct pace_bucket *, uint64_t cost, uint64_t now_ms);   /* ms until cost fits; 0: now. A cost above
                                                                                      the burst fits when the bucket is full */
void     pace_bucket_take(struct pace_bucket *, uint64_t cost, uint64_t now_ms);   /* what is missing is owed: the rate holds */
void     pace_bucket_refused(struct pace_bucket *, uint64_t retry_ms, uint64_t now_ms);   /* the peer says busy: empty, hold */

/* +1 per window of successes, x 0.7 at most once per round trip on refusals and timeouts, never below 2, honours Retry-After. */
struct pace_window { uint64_t milli, max, in_flight, last_cut_ms, hold_until; };   /* milli: size in thousandths */
void     pace_window_set(struct pace_window *, uint32_t start, uint32_t max);
uint32_t pace_window_room(const struct pace_window *, uint64_t now_ms);
void     pace_window_good(struct pace_window *);
void     pace_window_bad(struct pace_window *, uint64_t retry_ms, uint64_t rtt_ms, uint64_t now_ms);

/* Items per transaction: the configured batch (0: none) under the chain's limit and its room for texts of these lengths. >= 1. */
uint32_t pace_pack(uint32_t configured, uint32_t chain_max, uint32_t tx_room, uint32_t item_base, uint32_t name_len, uint32_t uri_len);
#endif
