/* The daemon's own loop: real time, real threads, real sockets on loopback. Main thread runs the loop. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/str.h"
#include "tmp.h"

static struct loop *l;

static int setup(void **state)
{
    (void)state;
    return loop_new(&l);
}

static int teardown(void **state)
{
    (void)state;
    return loop_free(l);
}

/* What was called, as letters */
static char trace[64];
static size_t traced;
static void trace_reset(void) { memset(trace, 0, sizeof trace); traced = 0; }
static void note(void *arg)
{
    if (traced + 1 < sizeof trace) trace[traced++] = *(const char *)arg;
}
static void stop(void *arg) { (void)arg; loop_stop(l); }

static void test_clock_and_random(void **state)
{
    (void)state;
    unsigned char a[600] = { 0 }, b[600] = { 0 };
    uint64_t ms = loop_now_ms(l), us = loop_now_us(l);
    assert_in_range(us / 1000 - ms, 0, 1000);
    assert_true(loop_wall_us(l) > 1700000000000000);
    loop_random(l, a, sizeof a);
    loop_random(l, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void test_run_returns_when_nothing_is_left(void **state)
{
    (void)state;
    uint64_t before = loop_now_ms(l);
    loop_run(l);
    assert_true(loop_now_ms(l) - before < 1000);
}

static void test_timers_fire_in_order_and_not_early(void **state)
{
    (void)state;
    trace_reset();
    uint64_t before = loop_now_ms(l);
    struct loop_timer *c = loop_timer(l, 60, note, "c"), *a = loop_timer(l, 10, note, "a"), *b = loop_timer(l, 30, note, "b");
    struct loop_timer *never = loop_timer(l, 20, note, "x");
    loop_timer_del(never);
    loop_run(l);
    assert_string_equal(trace, "abc");
    assert_true(loop_now_ms(l) - before >= 60);
    loop_timer_del(a);
    loop_timer_del(b);
    loop_timer_del(c);
    loop_timer_del(NULL);
}

struct again { struct loop_timer *timer; unsigned left; };
static void fire_again(void *arg)
{
    struct again *t = arg;
    loop_timer_del(t->timer);
    t->timer = --t->left ? loop_timer(l, 1, fire_again, t) : NULL;
}

static void test_timer_deleted_inside_its_callback(void **state)
{
    (void)state;
    struct again t = { NULL, 20 };
    t.timer = loop_timer(l, 0, fire_again, &t);
    loop_run(l);
    assert_int_equal(t.left, 0);
}

/* ---- posts */

enum { POSTERS = 4, POSTS = 5000 };
struct poster { pthread_t thread; unsigned next; bool in_order; };
struct letter { struct poster *from; unsigned number; };
static struct poster posters[POSTERS];
static unsigned arrived;

static void receive(void *arg)
{
    struct letter *m = arg;
    if (m->from->next++ != m->number) m->from->in_order = false;
    free(m);
    if (++arrived == POSTERS * POSTS) loop_stop(l);
}

static void *send_letters(void *arg)
{
    for (unsigned i = 0; i < POSTS; i++) {
        struct letter *m = malloc(sizeof *m);
        *m = (struct letter){ arg, i };
        loop_post(l, receive, m);
    }
    return NULL;
}

static void test_posts_keep_each_threads_order(void **state)
{
    (void)state;
    arrived = 0;
    struct loop_timer *guard = loop_timer(l, 60000, stop, NULL);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i].in_order = true;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, send_letters, &posters[i]), 0);
    }
    loop_run(l);
    for (unsigned i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_true(posters[i].in_order);
    }
    assert_int_equal(arrived, POSTERS * POSTS);
    loop_timer_del(guard);
}

static void post_more(void *arg)
{
    note(arg);
    loop_post(l, note, "2");
    note("1");
}

static void test_post_never_runs_inside_the_caller(void **state)
{
    (void)state;
    trace_reset();
    loop_post(l, post_more, "0");
    assert_string_equal(trace, "");
    loop_run(l);
    assert_string_equal(trace, "012");
}

/* ---- watches */

struct reader { struct loop_watch *watch; char got[16]; size_t n; uint32_t events; };
static void read_some(void *arg, int fd, uint32_t events)
{
    struct reader *r = arg;
    ssize_t n = read(fd, r->got + r->n, sizeof r->got - r->n);
    r->events = events;
    if (n > 0) {
        r->n += (size_t)n;
        return;
    }
    loop_watch_del(r->watch);                              /* end of file: delete inside the callback */
    r->watch = NULL;
    close(fd);
}

static void write_and_close(void *arg)
{
    int *fd = arg;
    assert_int_equal(write(*fd, "pipe", 4), 4);
    close(*fd);
}

static void test_watch_on_a_pipe(void **state)
{
    (void)state;
    int fds[2];
    struct reader r = { 0 };
    assert_int_equal(pipe(fds), 0);
    r.watch = loop_watch(l, fds[0], MINTD_IN, read_some, &r);
    assert_non_null(r.watch);
    struct loop_timer *t = loop_timer(l, 5, write_and_close, &fds[1]);
    loop_run(l);
    loop_timer_del(t);
    assert_null(r.watch);
    assert_int_equal(r.n, 4);
    assert_memory_equal(r.got, "pipe", 4);
    assert_true(r.events & MINTD_IN);
}

static void count_event(void *arg, int fd, uint32_t events)
{
    unsigned *n = arg;
    (void)fd; (void)events;
    if (++*n == 3) loop_stop(l);
}

static void test_watch_set_turns_it_off_and_on(void **state)
{
    (void)state;
    int fds[2];
    unsigned n = 0;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);            /* readable for ever: level-triggered */
    struct loop_watch *w = loop_watch(l, fds[0], MINTD_IN, count_event, &n);
    assert_int_equal(loop_watch_set(w, 0), 0);
    struct loop_timer *t = loop_timer(l, 20, stop, NULL);
    loop_run(l);
    assert_int_equal(n, 0);
    assert_int_equal(loop_watch_set(w, MINTD_IN), 0);
    loop_run(l);
    assert_int_equal(n, 3);
    loop_timer_del(t);
    loop_watch_del(w);
    loop_watch_del(NULL);
    close(fds[0]);
    close(fds[1]);
}

static void note_events(void *arg, int fd, uint32_t events)
{
    (void)fd;
    *(uint32_t *)arg = events;
    loop_stop(l);
}

/* A timer of 0 ms that sets itself again leaves room for sockets; one that is deleted before its turn never fires. */
struct chain { struct loop_timer *timer; unsigned turns, seen_at; int fd; };

static void link_of_chain(void *arg)
{
    struct chain *c = arg;
    loop_timer_del(c->timer);
    c->timer = ++c->turns < 1000 && !c->seen_at ? loop_timer(l, 0, link_of_chain, c) : NULL;
}

static void see(void *arg, int fd, uint32_t events)
{
    struct chain *c = arg;
    char byte;
    (void)events;
    assert_int_equal(fd, c->fd);
    assert_int_equal(read(fd, &byte, 1), 1);
    c->seen_at = c->turns;
    loop_stop(l);
}

static void test_a_chain_of_timers_does_not_starve_a_watch(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    struct chain c = { .fd = fds[0] };
    struct loop_watch *w = loop_watch(l, fds[0], MINTD_IN, see, &c);
    c.timer = loop_timer(l, 0, link_of_chain, &c);
    assert_int_equal(write(fds[1], "x", 1), 1);
    struct loop_timer *never = loop_timer(l, 0, note, "x");
    loop_timer_del(never);
    trace_reset();
    loop_run(l);
    assert_in_range(c.seen_at, 1, 10);
    assert_string_equal(trace, "");
    loop_timer_del(c.timer);
    loop_watch_del(w);
    close(fds[0]);
    close(fds[1]);
}

static void test_watch_reports_an_error_as_what_was_asked_for(void **state)
{
    (void)state;
    int fds[2];
    uint32_t events = 0;
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);                                         /* the writing end of a broken pipe is in error */
    struct loop_watch *w = loop_watch(l, fds[1], MINTD_OUT, note_events, &events);
    loop_run(l);
    assert_int_equal(events, MINTD_OUT);
    events = 0;
    loop_run(l);                                           /* and stays so until someone acts on it */
    assert_int_equal(events, MINTD_OUT);
    loop_watch_del(w);
    close(fds[1]);
}

static void test_watch_refuses_what_can_not_be_watched(void **state)
{
    (void)state;
    unsigned n = 0;
    assert_null(loop_watch(l, 1 << 20, MINTD_IN, count_event, &n));
    char path[512];
    snprintf(path, sizeof path, "%s/plain", tmp_dir());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_null(loop_watch(l, fileno(f), MINTD_IN, count_event, &n));
    assert_int_equal(loop_sync(l, fileno(f)), 0);
    fclose(f);
    assert_int_equal(loop_sync(l, -1), -EBADF);
    assert_int_equal(loop_free(l), 0);                     /* none of it left anything behind */
    assert_int_equal(loop_new(&l), 0);
}

/* ---- dials */

struct call { int result; uint32_t events; unsigned times; struct loop_dial *dial; bool delete_inside; };
static void dialed(void *arg, int fd, uint32_t events)
{
    struct call *c = arg;
    c->result = fd;
    c->events = events;
    c->times++;
    if (!c->delete_inside) return;
    loop_dial_del(c->dial);
    c->dial = NULL;
}

static int listener(int family, int backlog, uint16_t *ret_port)
{
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } a = { .any.sa_family = (sa_family_t)family };
    socklen_t n = family == AF_INET ? sizeof a.v4 : sizeof a.v6;
    if (family == AF_INET) a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else a.v6.sin6_addr = in6addr_loopback;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, &a.any, n) || getsockname(fd, &a.any, &n)) return -1;
    *ret_port = ntohs(family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    if (backlog >= 0) assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void dial_and_run(struct call *c, const char *host, uint16_t port, uint64_t ms)
{
    c->dial = loop_dial(l, host, port, ms, dialed, c);
    assert_non_null(c->dial);
    assert_int_equal(c->times, 0);
    loop_run(l);
    assert_int_equal(c->times, 1);
    loop_dial_del(c->dial);
}

static void test_dial_connects(void **state)
{
    (void)state;
    static const char *const hosts[] = { "127.0.0.1", "localhost" };
    uint16_t port;
    int fd = listener(AF_INET, 8, &port);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct call c = { .delete_inside = i == 1 };
        dial_and_run(&c, hosts[i], port, 5000);
        assert_true(c.result >= 0);
        assert_int_equal(c.events, MINTD_OUT);
        int peer = accept(fd, NULL, NULL);
        assert_int_equal(write(c.result, "hi", 2), 2);
        char got[2];
        assert_int_equal(read(peer, got, 2), 2);
        close(peer);
        assert_int_equal(read(c.result, got, 1), 0);       /* connected, and its own descriptor still open */
        close(c.result);
    }
    close(fd);
}

static void test_dial_refused(void **state)
{
    (void)state;
    struct call c = { 0 };
    uint16_t port;
    int fd = listener(AF_INET, -1, &port);                 /* bound, not listening: nobody else can take the port */
    dial_and_run(&c, "127.0.0.1", port, 5000);
    assert_int_equal(c.result, -ECONNREFUSED);
    assert_int_equal(c.events, 0);
    close(fd);
}

/* A listener whose queue is full swallows further connections: the kernel drops their first packet */
static void test_dial_times_out(void **state)
{
    (void)state;
    uint16_t port;
    int fd = listener(AF_INET, 0, &port), fill[4];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int r = connect(fill[i], (struct sockaddr *)&to, sizeof to);
        assert_true(r == 0 || errno == EINPROGRESS);
    }
    struct call c = { 0 };
    uint64_t before = loop_now_ms(l);
    dial_and_run(&c, "127.0.0.1", port, 150);
    assert_int_equal(c.result, -ETIMEDOUT);
    assert_in_range(loop_now_ms(l) - before, 150, 5000);
    for (size_t i = 0; i < ARRAY_LEN(fill); i++) close(fill[i]);
    close(fd);
}

static void test_dial_unknown_name(void **state)
{
    (void)state;
    struct call c = { 0 };
    dial_and_run(&c, "no host has blanks", 80, 20000);
    assert_true(c.result == -EADDRNOTAVAIL || c.result == -EAGAIN);
}

static void test_dial_deleted_never_calls(void **state)
{
    (void)state;
    struct call a = { 0 }, b = { 0 }, c = { 0 };
    uint16_t port;
    int fd = listener(AF_INET, 8, &port);
    loop_dial_del(loop_dial(l, "127.0.0.1", port, 1000, dialed, &a));
    struct loop_dial *name = loop_dial(l, "localhost", port, 1000, dialed, &b);
    struct loop_timer *t = loop_timer(l, 0, stop, NULL);
    loop_run(l);                                           /* the look-up is under way */
    loop_dial_del(name);
    unsigned before = b.times;
    loop_timer_del(t);
    dial_and_run(&c, "127.0.0.1", port, 1000);
    close(c.result);
    assert_int_equal(b.times, before);
    assert_int_equal(a.times, 0);
    close(fd);
}

/* ---- signals */

static void test_signal(void **state)
{
    (void)state;
    trace_reset();
    struct loop_signal *s = loop_signal(l, SIGUSR1, note, "s");
    struct loop_timer *t = loop_timer(l, 50, stop, NULL);
    raise(SIGUSR1);
    loop_run(l);
    assert_string_equal(trace, "s");
    loop_signal_del(s);
    loop_timer_del(t);
    loop_signal_del(NULL);
}

/* ---- pools */

enum { WORKERS = 3, PIECES = 3000 };
struct piece { int worker; unsigned number; };
static struct loop_pool *pool;
static atomic_uint done_by[WORKERS];
static atomic_bool wrong;

static void work_own(void *arg)
{
    struct piece *w = arg;
    if (loop_pool_self(pool) != w->worker) wrong = true;
    if (atomic_fetch_add(&done_by[w->worker], 1) != w->number) wrong = true;
    free(w);
}

static void test_pool_keeps_each_workers_order(void **state)
{
    (void)state;
    wrong = false;
    for (int i = 0; i < WORKERS; i++) done_by[i] = 0;
    pool = loop_pool_new(l, "order", WORKERS);
    assert_non_null(pool);
    assert_int_equal(loop_pool_self(pool), -1);
    for (unsigned i = 0; i < PIECES; i++) {
        struct piece *w = malloc(sizeof *w);
        *w = (struct piece){ (int)(i % WORKERS), i / WORKERS };
        loop_pool_run(pool, w->worker, work_own, w);
    }
    loop_run(l);                                           /* returns by itself once all work is done */
    for (int i = 0; i < WORKERS; i++) assert_int_equal(done_by[i], PIECES / WORKERS);
    assert_false(wrong);
    loop_pool_free(pool);
}

static atomic_uint meeting;
static void meet(void *arg)
{
    (void)arg;
    atomic_fetch_add(&meeting, 1);
    for (unsigned i = 0; i < 1000 && meeting < WORKERS; i++) loop_pool_wait(pool, -1, 0, 10, NULL);
}

static void test_shared_work_uses_all_workers(void **state)
{
    (void)state;
    pool = loop_pool_new(l, "a long pool name", WORKERS);
    uint64_t before = loop_now_ms(l);
    for (int round = 0; round < 3; round++) {              /* from the second round on, all of them sleep */
        meeting = 0;
        for (int i = 0; i < WORKERS; i++) loop_pool_run(pool, -1, meet, NULL);
        loop_run(l);
        assert_int_equal(meeting, WORKERS);                /* each waited for the others: they ran at the same time */
        struct loop_timer *t = loop_timer(l, 30, note, "t");
        loop_run(l);
        loop_timer_del(t);
    }
    assert_true(loop_now_ms(l) - before < 8000);
    loop_pool_free(pool);
}

static void rest(void *arg)
{
    (void)arg;
    loop_pool_wait(pool, -1, 0, 30, NULL);
}

static void test_one_worker_keeps_the_order_of_both_queues(void **state)
{
    (void)state;
    trace_reset();
    pool = loop_pool_new(l, "one", 1);
    loop_pool_run(pool, 0, rest, NULL);                    /* the rest queues up behind it */
    loop_pool_run(pool, -1, note, "a");
    loop_pool_run(pool, 0, note, "b");
    loop_pool_run(pool, -1, note, "c");
    loop_pool_run(pool, 0, note, "d");
    loop_pool_free(pool);
    assert_string_equal(trace, "abcd");
}

static void count_up(void *arg) { atomic_fetch_add((atomic_uint *)arg, 1); }
static void give_more(void *arg)
{
    for (int i = 0; i < 100; i++) loop_pool_run(pool, i % WORKERS, count_up, arg);
}

static void test_pool_free_runs_what_is_queued(void **state)
{
    (void)state;
    atomic_uint n = 0;
    pool = loop_pool_new(l, "drain", WORKERS);
    for (int i = 0; i < 500; i++) loop_pool_run(pool, -1, count_up, &n);
    loop_pool_run(pool, 1, give_more, &n);
    loop_pool_free(pool);
    assert_int_equal(n, 600);
    loop_pool_free(NULL);
    assert_null(loop_pool_new(l, "none", 0));
}

struct wait { int fd, cancel, result, now; uint64_t ms, took; };
static void wait_for(void *arg)
{
    struct wait *w = arg;
    uint64_t before = loop_now_ms(l);
    w->result = loop_pool_wait(pool, w->fd, MINTD_IN, w->ms, &w->cancel);
    w->took = loop_now_ms(l) - before;
    loop_post(l, stop, NULL);
}

static void set_cancel(void *arg)
{
    __atomic_store_n((int *)arg, 1, __ATOMIC_RELAXED);
}

static void run_wait(struct wait *w)
{
    loop_pool_run(pool, 0, wait_for, w);
    loop_run(l);
}

static void test_pool_wait(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pool = loop_pool_new(l, "wait", 1);
    struct wait sleeps = { .fd = -1, .ms = 120 }, times_out = { .fd = fds[0], .ms = 30 }, reads = { .fd = fds[0], .ms = 60000 };
    struct wait canceled = { .fd = fds[0], .ms = UINT64_MAX };
    run_wait(&sleeps);
    assert_int_equal(sleeps.result, 0);
    assert_in_range(sleeps.took, 120, 5000);
    run_wait(&times_out);
    assert_int_equal(times_out.result, 0);
    struct loop_timer *t = loop_timer(l, 20, set_cancel, &canceled.cancel);
    run_wait(&canceled);
    assert_int_equal(canceled.result, -ECANCELED);
    assert_true(canceled.took < 5000);
    assert_int_equal(write(fds[1], "x", 1), 1);
    run_wait(&reads);
    assert_int_equal(reads.result, MINTD_IN);
    struct wait bad = { .fd = 1 << 20, .ms = 10 };
    run_wait(&bad);
    assert_int_equal(bad.result, -EBADF);
    loop_timer_del(t);
    loop_pool_free(pool);
    close(fds[0]);
    close(fds[1]);
}

static void mask_of(void *arg) { pthread_sigmask(SIG_BLOCK, NULL, arg); }

static void test_workers_take_no_signals(void **state)
{
    (void)state;
    sigset_t mask;
    sigemptyset(&mask);
    pool = loop_pool_new(l, "mask", 1);
    loop_pool_run(pool, 0, mask_of, &mask);
    loop_pool_free(pool);
    assert_int_equal(sigismember(&mask, SIGTERM), 1);
    assert_int_equal(sigismember(&mask, SIGPIPE), 1);
    assert_int_equal(sigismember(&mask, SIGSEGV), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
}

/* ---- the end */

static void test_free_reports_what_is_open(void **state)
{
    (void)state;
    trace_reset();
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    uint32_t events;
    struct loop_timer *t = loop_timer(l, 0, note, "t"), *late = loop_timer(l, 100000, note, "x");
    struct loop_watch *w = loop_watch(l, fds[0], MINTD_IN, note_events, &events);
    struct loop_signal *s = loop_signal(l, SIGUSR2, note, "s");
    struct call c = { 0 };
    struct loop_dial *d = loop_dial(l, "127.0.0.1", 1, 1000, dialed, &c);
    pool = loop_pool_new(l, "open", 1);
    loop_post(l, stop, NULL);
    assert_int_equal(loop_free(l), 7);
    loop_run(l);
    assert_int_equal(loop_free(l), 6);
    loop_timer_del(late);
    loop_watch_del(w);
    loop_signal_del(s);
    loop_run(l);                                           /* what is left: the first timer and the dial */
    assert_int_equal(c.times, 1);
    assert_string_equal(trace, "t");
    assert_int_equal(loop_free(l), 3);                     /* fired or not: still owed */
    loop_timer_del(t);
    loop_dial_del(d);
    loop_pool_free(pool);
    close(fds[0]);
    close(fds[1]);
}

static int clean(void **state)
{
    (void)state;
    tmp_clean();
    return 0;
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_clock_and_random), CASE(test_run_returns_when_nothing_is_left), CASE(test_timers_fire_in_order_and_not_early),
        CASE(test_timer_deleted_inside_its_callback), CASE(test_posts_keep_each_threads_order),
        CASE(test_post_never_runs_inside_the_caller), CASE(test_watch_on_a_pipe), CASE(test_watch_set_turns_it_off_and_on),
        CASE(test_a_chain_of_timers_does_not_starve_a_watch), CASE(test_watch_reports_an_error_as_what_was_asked_for), CASE(test_watch_refuses_what_can_not_be_watched),
        CASE(test_dial_connects), CASE(test_dial_refused), CASE(test_dial_times_out), CASE(test_dial_unknown_name),
        CASE(test_dial_deleted_never_calls), CASE(test_signal), CASE(test_pool_keeps_each_workers_order),
        CASE(test_shared_work_uses_all_workers), CASE(test_one_worker_keeps_the_order_of_both_queues),
        CASE(test_pool_free_runs_what_is_queued), CASE(test_pool_wait),
        CASE(test_workers_take_no_signals), CASE(test_free_reports_what_is_open),
    };
    return cmocka_run_group_tests_name("base loop, real", tests, NULL, clean);
}
