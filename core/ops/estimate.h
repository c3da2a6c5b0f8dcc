/* What a mint would cost and how long it would take. The amount is what the chain's `estimate` says per collection, transaction and item,
 * times what the packing plans; the time comes from a dry run of the pacing: the same buckets, windows and waves, on a clock of its own.
 * Nothing is written or sent. Calls pipe/, machine/, plug/. Loop thread. */
#ifndef OPS_ESTIMATE_H
#define OPS_ESTIMATE_H
#include "pipe/pipe.h"

enum { ESTIMATE_LINES = 16, ESTIMATE_COUNT_MAX = 1000000000 };
struct estimate_ask { struct mintd_str pipeline, venue; uint64_t count; bool fresh; };     /* fresh: the collection must be made first */
struct estimate_line { struct mintd_str what; uint32_t per; uint64_t times, each, amount; };           /* per: 0 once, 1 tx, 2 item */
struct estimate {
    uint64_t transactions, deliveries, amount, ms, usd_micros;             /* usd_micros of the amount; 0: no price known */
    bool fresh, priced;
    struct estimate_line lines[ESTIMATE_LINES]; uint32_t n_lines;
    struct mintd_str coin, source, network;    /* source: the chain instance that was asked */
    uint32_t decimals, batch;
};
/* fn once, on a later turn. e NULL: it cannot be said; err -ERANGE: the amount is beyond what can be counted, else `why` (the chain's
 * or the uploader's answer, -EAGAIN). All is live during the callback only. */
typedef void estimate_fn(void *arg, const struct estimate *e, int err, const struct mintd_outcome *why);
int estimate_start(struct loop *, struct pipe *, const struct estimate_ask *, estimate_fn *, void *arg);   /* 0, -ENOENT: no such
                                                               pipeline, -EAGAIN: its chain has not answered yet, -ENOMEM */
#endif
