/* Metrics of batches and of calls under /admin. Loop thread. */
#ifndef API_STATS_H
#define API_STATS_H
#include "base/list.h"
#include "base/metric.h"
#include "pipe/pipe.h"

struct stats;
struct stats *stats_new(struct loop *, struct pipe *);      /* NULL: no memory */
void stats_call(struct stats *, const char *path, struct mintd_str route, struct mintd_str code);
void stats_accepted(struct stats *, uint64_t request, uint64_t items, uint64_t started_us);   /* a new batch, not a replay */
void stats_stop(struct stats *);                            /* follows nothing any more; before the pipeline goes */
struct stats *stats_free(struct stats *);                   /* NULL ok; returns NULL */
#endif
