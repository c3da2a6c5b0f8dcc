/* Controls of the seeded loop (loop_fake.c exports base/loop.h): virtual time, one thread, every order drawn from the seed.
 * Pool work runs as an event of the loop; loop_pool_wait inside it advances nothing and returns 0 after noting the wait.
 * Real file descriptors can not be watched unless they are plain pipes or socket pairs of the test (polled without blocking). */
#ifndef LOOP_FAKE_H
#define LOOP_FAKE_H
#include <stdbool.h>
#include "base/loop.h"
void     loop_fake_seed(struct loop *, uint64_t seed);                 /* right after loop_new; default 1 */
void     loop_fake_wall(struct loop *, int64_t wall_us);               /* set the wall clock; it then advances with virtual time */
bool     loop_fake_step(struct loop *);                                /* one event; false: nothing left */
bool     loop_fake_until(struct loop *, bool (*done)(void *), void *arg, uint64_t max_ms);   /* virtual ms; false: not reached */
void     loop_fake_advance(struct loop *, uint64_t ms);                /* runs everything due in that time */
unsigned loop_fake_open(struct loop *);                                /* handles alive, for leak checks */
uint64_t loop_fake_syncs(struct loop *);                               /* number of loop_sync calls */
#endif
