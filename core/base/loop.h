/* The seam: every source of time, randomness, timers, readiness, threads and file sync of the core. Two back ends export
 * these symbols: loop_uv.c (the daemon) and tests/lib/loop_fake.c (seeded, virtual time, one thread). Nothing else in core
 * or in an embedded plugin may read a clock, draw a random number, start a thread or wait.
 * Thread: everything on the loop thread unless it says "any thread". */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H
#include <stddef.h>
#include <stdint.h>

struct loop; struct loop_timer; struct loop_watch; struct loop_dial; struct loop_signal; struct loop_pool;
typedef void loop_fn(void *arg);
typedef void loop_io_fn(void *arg, int fd, uint32_t events);          /* MINTD_IN, MINTD_OUT; dial: fd or -errno */

const char *loop_backend(void);                                       /* what drives it, with its version */
int      loop_new(struct loop **ret_loop);                            /* 0, -ENOMEM, -errno */
/* 0, or the number of timers, watches, dials, signals, pools and posts still open: a leak; the loop is then not freed. */
int      loop_free(struct loop *);
void     loop_run(struct loop *);                                     /* until loop_stop, or nothing is left to wait for */
void     loop_stop(struct loop *);                                    /* any thread */

uint64_t loop_now_ms(struct loop *);                                  /* any thread; monotonic */
uint64_t loop_now_us(struct loop *);                                  /* any thread; monotonic, for measurements */
int64_t  loop_wall_us(struct loop *);                                 /* any thread; UTC; never a safety decision */
void     loop_random(struct loop *, void *buf, size_t n);             /* any thread; cryptographic in the daemon */
int      loop_sync(struct loop *, int fd);                            /* worker threads; fdatasync, 0 or -errno */

/* Any thread. fn runs on the loop, in the order of the calls, never inside the caller. Returns false after loop_free began. */
void     loop_post(struct loop *, loop_fn *fn, void *arg);

struct loop_timer *loop_timer(struct loop *, uint64_t ms, loop_fn *fn, void *arg);   /* fires once; NULL: no memory */
void     loop_timer_del(struct loop_timer *);                         /* owed once, fired or not; inside fn is fine; NULL ok */

struct loop_watch *loop_watch(struct loop *, int fd, uint32_t events, loop_io_fn *fn, void *arg);
int      loop_watch_set(struct loop_watch *, uint32_t events);
void     loop_watch_del(struct loop_watch *);                         /* never called again after; NULL ok */

/* Name or address, port, deadline. fn gets a connected non-blocking fd (the caller's) or -errno, once. */
struct loop_dial *loop_dial(struct loop *, const char *host, uint16_t port, uint64_t ms, loop_io_fn *fn, void *arg);
void     loop_dial_del(struct loop_dial *);                           /* owed once; NULL ok */

struct loop_signal *loop_signal(struct loop *, int signum, loop_fn *fn, void *arg);
void     loop_signal_del(struct loop_signal *);

/* n private threads (named for ps and logs). Work given to worker -1 goes to any of them, to worker i to that one, in order.
 * fn runs on the worker; what it wants back on the loop it sends with loop_post. The fake runs it as an event of the loop. */
struct loop_pool *loop_pool_new(struct loop *, const char *name, uint32_t n);         /* NULL: no memory or no threads */
void     loop_pool_run(struct loop_pool *, int worker, loop_fn *fn, void *arg);      /* any thread; never fails (see file) */
void     loop_pool_free(struct loop_pool *);                          /* runs what is queued, joins; NULL ok */
int      loop_pool_self(struct loop_pool *);                          /* worker index of the calling thread, -1 if none */

/* Worker threads: wait up to ms for events on fd (-1: just sleep). Returns events, 0 on time, -ECANCELED once *cancel is
 * non-zero (checked at least each 50 ms), -errno. */
int      loop_pool_wait(struct loop_pool *, int fd, uint32_t events, uint64_t ms, const volatile int *cancel);
#endif
