/* A dry run of the pacing of one pipeline: when would the last of n transactions be final? Pure but for memory. Any thread. */
#ifndef OPS_PACE_RUN_H
#define OPS_PACE_RUN_H
#include "pipe/pipe.h"

struct pace_run {
    const struct pipe_view *view;
    uint64_t now_ms;                           /* of the loop: what the buckets count from */
    uint64_t transactions, items;              /* mints; items of all */
    uint32_t batch;                            /* items in a full one */
    bool fresh;                                /* a collection is created before */
};
int pace_run(const struct pace_run *, uint64_t *ret_ms);    /* 0, -ENOMEM */
#endif
