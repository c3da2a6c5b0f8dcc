/* Dials whose name has several addresses or takes its time. The names of this test are answered by a getaddrinfo of its own, put
 * before libc's; look-ups run on uv's threads, all else on the main thread. */
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/loop.h"
#include "base/str.h"

typedef int look_up_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);
enum { DEAD, GOOD, CLOSED, PORTS };
static char ports[PORTS][8];
static atomic_uint looked_up;
static struct loop *l;

/* Names are lists of the letters d, g and c; s sleeps first */
__attribute__((visibility("default")))
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    look_up_fn *real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!strchr(host, '!')) return real(host, service, hints, ret);
    if (hints->ai_flags & AI_NUMERICHOST) return EAI_NONAME;
    atomic_fetch_add(&looked_up, 1);
    struct addrinfo **end = ret, numeric = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
    *ret = NULL;
    for (; *host != '!'; host++) {
        if (*host == 's') {
            usleep(300000);
            continue;
        }
        const char *port = ports[*host == 'd' ? DEAD : *host == 'g' ? GOOD : CLOSED];
        if (real("127.0.0.1", port, &numeric, end)) return EAI_MEMORY;
        end = &(*end)->ai_next;
    }
    return *ret ? 0 : EAI_NONAME;
}

static int listener(int which, int backlog)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    getsockname(fd, (struct sockaddr *)&a, &(socklen_t){ sizeof a });
    if (backlog >= 0) assert_int_equal(listen(fd, backlog), 0);
    snprintf(ports[which], sizeof ports[which], "%u", (unsigned)ntohs(a.sin_port));
    for (int i = 0; i < 4 && which == DEAD; i++) {         /* a full queue swallows what comes after */
        int more = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int r = connect(more, (struct sockaddr *)&a, sizeof a);
        assert_true(r == 0 || errno == EINPROGRESS);
    }
    return fd;
}

static int setup(void **state)
{
    (void)state;
    if (!ports[GOOD][0]) {
        listener(DEAD, 0);
        listener(GOOD, 64);
        listener(CLOSED, -1);
    }
    looked_up = 0;
    return loop_new(&l);
}

static int teardown(void **state)
{
    (void)state;
    return loop_free(l);
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(l);
}

struct call { int result; unsigned times; uint64_t took; };
static void dialed(void *arg, int fd, uint32_t events)
{
    struct call *c = arg;
    assert_int_equal(events, fd >= 0 ? MINTD_OUT : 0);
    c->result = fd;
    c->times++;
}

static struct call dial(const char *host, uint64_t ms)
{
    struct call c = { 0 };
    uint64_t before = loop_now_ms(l);
    struct loop_dial *d = loop_dial(l, host, 1, ms, dialed, &c);
    assert_non_null(d);
    loop_run(l);
    assert_int_equal(c.times, 1);
    c.took = loop_now_ms(l) - before;
    loop_dial_del(d);
    if (c.result >= 0) assert_int_equal(close(c.result), 0);
    return c;
}

static void test_next_address_after_a_refusal(void **state)
{
    (void)state;
    assert_true(dial("ccg!", 10000).result >= 0);
    assert_int_equal(looked_up, 1);
    assert_int_equal(dial("cc!", 10000).result, -ECONNREFUSED);
}

static void test_dead_address_leaves_time_for_the_next(void **state)
{
    (void)state;
    struct call c = dial("dg!", 400);
    assert_true(c.result >= 0);
    assert_in_range(c.took, 190, 399);                     /* half the time for the first of two */
}

static void test_deadline_is_one_for_all(void **state)
{
    (void)state;
    struct call c = dial("ddd!", 150);
    assert_int_equal(c.result, -ETIMEDOUT);
    assert_in_range(c.took, 145, 5000);
    assert_int_equal(dial("dc!", 150).result, -ECONNREFUSED);   /* why the last try failed */
}

static void test_no_address(void **state)
{
    (void)state;
    assert_int_equal(dial("!", 10000).result, -EADDRNOTAVAIL);
}

static void test_slow_look_up_keeps_the_deadline(void **state)
{
    (void)state;
    struct call c = dial("sg!", 50);
    assert_int_equal(c.result, -ETIMEDOUT);
    assert_in_range(c.took, 50, 250);                      /* the answer comes after 300 ms: to no one, and nothing leaks */
}

static void test_deleted_while_looking_up(void **state)
{
    (void)state;
    struct call c = { 0 };
    struct loop_dial *dials[8];
    for (size_t i = 0; i < 8; i++) dials[i] = loop_dial(l, "sg!", 1, 10000, dialed, &c);    /* uv looks up four at a time */
    struct loop_timer *t = loop_timer(l, 30, stop, NULL);
    loop_run(l);
    for (size_t i = 0; i < 8; i++) loop_dial_del(dials[i]);
    loop_timer_del(t);
    loop_run(l);                                           /* nothing is left to wait for */
    assert_int_equal(c.times, 0);
    assert_in_range(looked_up, 1, 7);                      /* those still in uv's queue were taken back */
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_next_address_after_a_refusal), CASE(test_dead_address_leaves_time_for_the_next), CASE(test_deadline_is_one_for_all),
        CASE(test_no_address), CASE(test_slow_look_up_keeps_the_deadline), CASE(test_deleted_while_looking_up),
    };
    return cmocka_run_group_tests_name("base dial, real", tests, NULL, NULL);
}
