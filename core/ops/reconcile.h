/* Reconciliation: every item of a venue against the chain, database to chain. It looks and reports; it changes nothing about a mint. One
 * run per venue at a time, a few in all, each in bounded memory and at a bounded rate of calls to the chain. A run goes on whether
 * anybody waits for it or not, and ends with the process. Loop thread. */
#ifndef OPS_RECONCILE_H
#define OPS_RECONCILE_H
#include "base/loop.h"
#include "conf/conf.h"
#include "pipe/pipe.h"

struct reconciler;
struct reconciler *reconciler_new(struct loop *, struct pipe *, struct conf *);        /* NULL: no memory */
void reconciler_conf(struct reconciler *, struct conf *);  /* a reload: for runs that begin from now on */
void reconciler_stop(struct reconciler *);                 /* ends every run: who waits hears of it */
struct reconciler *reconciler_free(struct reconciler *);   /* NULL ok; returns NULL */

enum reconcile_end { RECONCILE_DONE, RECONCILE_FAILED, RECONCILE_STOPPED };
struct reconcile_result {                      /* lives during the callback */
    enum reconcile_end end;
    const char *why;                           /* FAILED: what could not be read or written */
    uint64_t report, unverified;               /* report: its id */
    struct mintd_db_report row;
    double seconds;
    struct mintd_str discrepancies;            /* a JSON array of {"ticketId", "class", "detail"}, the first of them */
};
typedef void reconcile_fn(void *arg, const struct reconcile_result *);
/* fn once, on a later turn, unless reconcile_leave comes first. 0, -EALREADY: this venue has a run; -EBUSY: too many runs; -ENOMEM */
int  reconcile_start(struct reconciler *, uint64_t venue, struct mintd_str name, reconcile_fn *fn, void *arg);
void reconcile_leave(struct reconciler *, uint64_t venue, void *arg);      /* whoever waits with arg waits no more; the run goes on */
/* discrepancies / checked, six digits as the store keeps it; 0 for none checked */
double reconcile_rate(const struct mintd_db_report *);
#endif
