/* The seeded loop: the same seed is the same run, the orders that base/loop.h promises hold under every seed. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/str.h"
#include "loop_fake.h"

static struct loop *l;
static struct loop_pool *pool;

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

static char trace[256];
static size_t traced;
static void trace_reset(void) { memset(trace, 0, sizeof trace); traced = 0; }
static void note(void *arg)
{
    if (traced + 1 < sizeof trace) trace[traced++] = *(const char *)arg;
}
static void post_note(void *arg) { loop_post(l, note, arg); }

/* A mixture of everything; leaves what happened in trace */
static void mixture(uint64_t seed)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct loop_timer *timers[5];
    assert_int_equal(loop_new(&l), 0);
    loop_fake_seed(l, seed);
    trace_reset();
    pool = loop_pool_new(l, "mixed", 2);
    for (size_t i = 0; i < 5; i++) timers[i] = loop_timer(l, i % 3, note, (void *)(uintptr_t)&letters[i]);
    for (size_t i = 5; i < 10; i++) loop_post(l, note, (void *)(uintptr_t)&letters[i]);
    for (size_t i = 10; i < 18; i++) loop_pool_run(pool, (int)(i % 3) - 1, post_note, (void *)(uintptr_t)&letters[i]);
    loop_run(l);
    for (size_t i = 0; i < 5; i++) loop_timer_del(timers[i]);
    loop_pool_free(pool);
    assert_int_equal(loop_free(l), 0);
    assert_int_equal(strlen(trace), 18);
}

static bool in_order(const char *letters)
{
    const char *at = trace;
    for (; *letters; letters++) {
        at = strchr(at, *letters);
        if (!at) return false;
    }
    return true;
}

static void test_same_seed_same_run(void **state)
{
    (void)state;
    char first[sizeof trace];
    unsigned different = 0;
    mixture(7);
    memcpy(first, trace, sizeof first);
    mixture(7);
    assert_string_equal(trace, first);
    for (uint64_t seed = 8; seed < 28; seed++) {
        mixture(seed);
        different += strcmp(trace, first) != 0;
    }
    assert_true(different > 15);
}

static void test_promised_orders_hold_under_every_seed(void **state)
{
    (void)state;
    bool swapped = false;
    for (uint64_t seed = 0; seed < 500; seed++) {
        mixture(seed);
        assert_true(in_order("fghij"));                    /* posts */
        assert_true(in_order("adbec"));                    /* timers by time, then age */
        assert_true(in_order("knq"));                      /* worker 0 */
        assert_true(in_order("lor"));                      /* worker 1 */
        swapped |= !in_order("mp");                        /* shared work: any order */
    }
    assert_true(swapped);
}

static void test_virtual_time(void **state)
{
    (void)state;
    uint64_t start = loop_now_ms(l);
    int64_t wall = loop_wall_us(l);
    trace_reset();
    struct loop_timer *day = loop_timer(l, 86400000, note, "d"), *hour = loop_timer(l, 3600000, note, "h");
    loop_fake_advance(l, 3599999);
    assert_string_equal(trace, "");
    assert_int_equal(loop_now_ms(l) - start, 3599999);
    loop_fake_advance(l, 1);
    assert_string_equal(trace, "h");
    loop_run(l);
    assert_string_equal(trace, "hd");
    assert_int_equal(loop_now_ms(l) - start, 86400000);
    assert_int_equal(loop_wall_us(l) - wall, 86400000000);
    loop_fake_wall(l, 5);
    assert_int_equal(loop_wall_us(l), 5);
    loop_fake_advance(l, 2);
    assert_int_equal(loop_wall_us(l), 2005);
    loop_timer_del(day);
    loop_timer_del(hour);
}

static bool traced_two(void *arg) { (void)arg; return traced == 2; }

static void test_until(void **state)
{
    (void)state;
    trace_reset();
    struct loop_timer *t[3];
    for (size_t i = 0; i < 3; i++) t[i] = loop_timer(l, 10 * (i + 1), note, "t");
    uint64_t start = loop_now_ms(l);
    assert_false(loop_fake_until(l, traced_two, NULL, 15));
    assert_int_equal(loop_now_ms(l) - start, 15);
    assert_true(loop_fake_until(l, traced_two, NULL, 15));
    assert_int_equal(loop_now_ms(l) - start, 20);
    while (loop_fake_step(l)) { }
    assert_int_equal(traced, 3);
    for (size_t i = 0; i < 3; i++) loop_timer_del(t[i]);
}

static void stop_and_note(void *arg)
{
    note(arg);
    loop_stop(l);
}

static void test_stop(void **state)
{
    (void)state;
    trace_reset();
    loop_post(l, stop_and_note, "1");
    loop_post(l, note, "2");
    loop_run(l);
    assert_string_equal(trace, "1");
    loop_run(l);
    assert_string_equal(trace, "12");
}

static void test_random_comes_from_the_seed(void **state)
{
    (void)state;
    unsigned char a[64], b[64], c[64];
    loop_fake_seed(l, 3);
    loop_random(l, a, sizeof a);
    loop_fake_seed(l, 3);
    loop_random(l, b, sizeof b);
    loop_fake_seed(l, 4);
    loop_random(l, c, sizeof c);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    assert_int_equal(loop_sync(l, -1), 0);
    assert_int_equal(loop_sync(l, 0), 0);
    assert_int_equal(loop_fake_syncs(l), 2);
}

/* ---- pools */

struct seen { int self; uint64_t before, after; int waited; const int *cancel; };
static void look_around(void *arg)
{
    struct seen *s = arg;
    s->self = loop_pool_self(pool);
    s->before = loop_now_ms(l);
    s->waited = loop_pool_wait(pool, -1, 0, 50, s->cancel);
    s->after = loop_now_ms(l);
    loop_post(l, note, "p");
}

static void test_wait_moves_the_workers_own_clock(void **state)
{
    (void)state;
    struct seen first = { 0 }, second = { 0 }, other = { 0 };
    trace_reset();
    pool = loop_pool_new(l, "wait", 2);
    loop_pool_run(pool, 1, look_around, &first);
    loop_pool_run(pool, 1, look_around, &second);
    loop_pool_run(pool, 0, look_around, &other);
    loop_fake_advance(l, 49);
    assert_string_equal(trace, "");                        /* their posts arrive when their waits are over */
    loop_fake_advance(l, 200);
    assert_string_equal(trace, "ppp");
    assert_int_equal(first.self, 1);
    assert_int_equal(other.self, 0);
    assert_int_equal(first.waited, 0);
    assert_int_equal(first.after - first.before, 50);
    assert_true(second.before >= first.after);             /* one worker: one after the other */
    assert_true(other.before < first.after);               /* another worker: meanwhile */
    assert_int_equal(loop_pool_self(pool), -1);
    loop_pool_free(pool);
}

static void test_shared_work_goes_to_a_free_worker(void **state)
{
    (void)state;
    struct seen seen[6] = { 0 };
    pool = loop_pool_new(l, "free", 3);
    uint64_t start = loop_now_ms(l);
    for (size_t i = 0; i < 6; i++) loop_pool_run(pool, -1, look_around, &seen[i]);
    loop_run(l);
    assert_in_range(loop_now_ms(l) - start, 100, 110);     /* six waits of 50 ms on three workers */
    loop_pool_free(pool);
}

static void test_wait_and_cancel(void **state)
{
    (void)state;
    int canceled = 1;
    struct seen s = { .cancel = &canceled };
    pool = loop_pool_new(l, "cancel", 1);
    loop_pool_run(pool, 0, look_around, &s);
    loop_pool_free(pool);                                  /* runs what is queued */
    assert_int_equal(s.waited, -ECANCELED);
    assert_int_equal(s.after, s.before);
    assert_int_equal(loop_free(l), 1);                     /* its post */
    loop_run(l);
}

/* ---- descriptors */

struct reader { struct loop_watch *watch; char got[8]; size_t n; };
static void read_one(void *arg, int fd, uint32_t events)
{
    struct reader *r = arg;
    assert_int_equal(events, MINTD_IN);
    if (read(fd, &r->got[r->n], 1) == 1) {
        r->n++;
        return;
    }
    loop_watch_del(r->watch);
    r->watch = NULL;
}

static void write_both(void *arg)
{
    int *fds = arg;
    assert_int_equal(write(fds[0], "ab", 2), 2);
    close(fds[0]);
}

static void test_watch(void **state)
{
    (void)state;
    int fds[2];
    struct reader r = { 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    r.watch = loop_watch(l, fds[1], MINTD_IN, read_one, &r);
    assert_false(loop_fake_step(l));                       /* nothing ready, nothing else: does not block */
    struct loop_timer *t = loop_timer(l, 1000, write_both, fds);
    assert_int_equal(loop_watch_set(r.watch, 0), 0);
    loop_run(l);
    assert_int_equal(r.n, 0);
    assert_int_equal(loop_watch_set(r.watch, MINTD_IN), 0);
    loop_run(l);
    assert_memory_equal(r.got, "ab", 2);
    assert_null(r.watch);
    loop_timer_del(t);
    close(fds[1]);
}

static void dialed(void *arg, int fd, uint32_t events)
{
    *(int *)arg = fd;
    assert_int_equal(events, fd >= 0 ? MINTD_OUT : 0);
}

static void test_dial(void **state)
{
    (void)state;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), none = 0, some = 0, refused = 0, away = 0;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    getsockname(fd, (struct sockaddr *)&a, &(socklen_t){ sizeof a });
    struct loop_dial *d = loop_dial(l, "127.0.0.1", ntohs(a.sin_port), 1000, dialed, &refused);
    assert_int_equal(listen(fd, 4), 0);
    struct loop_dial *ok = loop_dial(l, "localhost", ntohs(a.sin_port), 1000, dialed, &some);
    struct loop_dial *out = loop_dial(l, "192.0.2.1", 80, 1000, dialed, &away);
    loop_dial_del(loop_dial(l, "localhost", ntohs(a.sin_port), 1000, dialed, &none));
    assert_int_equal(some, 0);
    loop_run(l);
    assert_int_equal(refused, -ECONNREFUSED);
    assert_int_equal(away, -ECONNREFUSED);
    assert_true(some > 0);
    assert_int_equal(none, 0);
    loop_dial_del(d);
    loop_dial_del(ok);
    loop_dial_del(out);
    assert_int_equal(close(some), 0);                      /* ours: deleting the dial did not close it */
    close(fd);
}

static void test_open_handles_are_counted(void **state)
{
    (void)state;
    struct loop_timer *t = loop_timer(l, 1, note, "t");
    struct loop_signal *s = loop_signal(l, 15, note, "s");
    pool = loop_pool_new(l, "open", 1);
    loop_post(l, note, "p");
    assert_int_equal(loop_fake_open(l), 4);
    assert_int_equal(loop_free(l), 4);
    loop_run(l);
    assert_int_equal(loop_free(l), 3);
    loop_timer_del(t);
    loop_signal_del(s);
    loop_pool_free(pool);
    assert_int_equal(loop_fake_open(l), 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_run), cmocka_unit_test(test_promised_orders_hold_under_every_seed),
        CASE(test_virtual_time), CASE(test_until), CASE(test_stop), CASE(test_random_comes_from_the_seed),
        CASE(test_wait_moves_the_workers_own_clock), CASE(test_shared_work_goes_to_a_free_worker), CASE(test_wait_and_cancel),
        CASE(test_watch), CASE(test_dial), CASE(test_open_handles_are_counted),
    };
    return cmocka_run_group_tests_name("base loop, seeded", tests, NULL, NULL);
}
