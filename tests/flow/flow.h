/* One daemon without its process: the real pipeline and the real plugins on the seeded loop. One thread; a test may have several
 * one after the other on the same folder (lives of the same daemon). Virtual time. */
#ifndef FLOW_H
#define FLOW_H
#include <stdbool.h>
#include <stdint.h>
#include "conf/conf.h"
#include "pipe/pipe.h"
#include "plug/plug.h"

struct flow {
    struct loop *loop;
    struct plug *plug;
    struct conf *conf;
    struct pipe *pipe;
    const char *dir;
    bool dead;                               /* pipe_on_fatal was called */
    char why[256];
};

/* What the configuration file says besides the usual; each a piece of libconfig text or NULL. */
struct flow_text { const char *profile, *wrapped, *name, *chain, *mint, *pipeline, *store, *top;
    bool beside; };                          /* runs beside another life: the same wall clock */

unsigned flow_share(void);                                 /* FLOW_SHARE=n: one of n scripts runs; 1 without it */
void  flow_setup(void);                                    /* once, before everything: takes the environment over */
struct flow *flow_new(const char *dir, uint64_t seed, const struct flow_text *);   /* returns when work is accepted; asserts it */
int   flow_try(const char *dir, uint64_t seed, const struct flow_text *, struct flow **ret);       /* or what pipe_start said */
void  flow_end(struct flow *);                             /* drains; asserts that nothing is left */
void  flow_stop(struct flow *);                            /* no drain: as if the process had died, memory given back */
void  flow_run(struct flow *, uint64_t ms);
bool  flow_until(struct flow *, bool (*done)(struct flow *), uint64_t ms);

/* Tickets PREFIX-0 .. PREFIX-(n-1) under the key PREFIX, owner NULL: none. Asks again while the daemon is busy. */
struct flow_answer { enum pipe_verdict verdict; uint64_t request; char code[64], ticket[64]; };
struct flow_answer flow_submit(struct flow *, const char *venue, const char *prefix, unsigned n, const char *owner);
uint64_t flow_accept(struct flow *, const char *venue, const char *prefix, unsigned n, const char *owner);  /* asserts it */
/* Tickets PREFIX-from .. PREFIX-(from + n - 1) with the tier given; key NULL: none. once: whatever the first answer is. */
struct flow_post { const char *venue, *key, *prefix, *tier, *owner, *collection; unsigned from, n; bool streamed, dry, once, twice; };   /* twice: the first stands at the end again */
struct flow_posted { enum pipe_verdict verdict; uint64_t request, known, conflicts, place, transactions, collections, new_collections;
    unsigned n_ids, n_batches; char code[64], pointer[80], what[64]; };
struct flow_posted flow_post(struct flow *, const struct flow_post *);
void  flow_cancel(struct flow *, uint64_t request);
uint64_t flow_retry(struct flow *, uint64_t request);      /* items affected */
bool  flow_all_settled(struct flow *);                     /* every sealed request is finished, by the store */

int64_t flow_sql(const struct flow *, const char *sql);    /* first column of the first row, -1: no row */
/* The chain against the books: every DONE item is on the chain exactly once, every other not at all. NULL, or what is wrong. */
const char *flow_judge(struct flow *);
unsigned flow_on_chain(struct flow *);                     /* assets in all collections of the books */
#endif
