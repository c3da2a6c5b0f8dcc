/* Metrics registry and Prometheus text (0.0.4) writer. Registration on the loop thread, updates from any thread.
 * At most `label_max` (64) values per label, then `other`. Names: prefix mintd_, base units, _total for counters. */
#ifndef BASE_METRIC_H
#define BASE_METRIC_H
#include <stdint.h>
#include "base/str.h"

enum metric_type { METRIC_COUNTER = 1, METRIC_GAUGE = 2, METRIC_HISTOGRAM = 3 };
struct metric;
/* Same name again returns the same metric. label: NULL or up to two label names, "instance,op". buckets (histogram): ascending
 * upper bounds ending with 0; NULL = the default latency set in seconds. All strings must outlive the process. */
struct metric *metric_new(enum metric_type, const char *name, const char *label, const char *help, const double *buckets);
/* The same numbers under a second name, gauges times scale. Once per metric; NULL ok. Strings must outlive the process. */
void metric_twin(struct metric *, const char *name, const char *help, double scale);
/* value1, value2: the label values, empty where the metric has none */
void metric_add(struct metric *, struct mintd_str value1, struct mintd_str value2, double v);      /* counter, gauge */
void metric_set(struct metric *, struct mintd_str value1, struct mintd_str value2, double v);      /* gauge */
void metric_observe(struct metric *, struct mintd_str value1, struct mintd_str value2, double v);  /* histogram */
double metric_get(struct metric *, struct mintd_str value1, struct mintd_str value2);              /* counter, gauge; tests */
void metric_write(struct buf *);                           /* whole registry; process_* included */
void metric_close(void);                                   /* frees everything */
#endif
