/* Lists of the API: pages followed, filters taken from the options, printed as table, JSON lines or CSV. */
#ifndef CLI_LIST_H
#define CLI_LIST_H
#include "http.h"

struct list {
    const char *path, *noun;                   /* "/v1/batches", "batches": the member that has the rows */
    const struct column *cols;
    size_t n;
    unsigned page;                             /* rows the daemon gives at once, at most */
    const char *none;                          /* what to say when there is nothing */
};
int list_run(struct cli *, const struct list *);
int list_time(struct cli *, enum opt, struct buf *ret);    /* --from and the like as RFC 3339: a time, a date, or 2h for two hours ago */
#endif
