/* Token buckets on the fake clock: bursts, refill, what is said about them, and a table that is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "api/rate.h"
#include "loop_fake.h"

static struct loop *l;
static struct rate r;

static int setup(void **state)
{
    (void)state;
    return loop_new(&l);
}

static int teardown(void **state)
{
    (void)state;
    rate_free(&r);
    return loop_free(l);
}

static void begin(uint32_t max, uint32_t n, int64_t ms)
{
    rate_init(&r, l, max);
    rate_limit(&r, (struct conf_rate){ n, ms });
}

static struct rate_state take(const char *name) { return rate_take(&r, str_of(name), false); }

static unsigned burst(const char *name, unsigned tries)
{
    unsigned n = 0;
    while (tries--) n += take(name).ok;
    return n;
}

static void test_ten_a_minute(void **state)
{
    (void)state;
    begin(100, 10, 60000);
    for (unsigned i = 0; i < 10; i++) {
        struct rate_state s = take("a");
        assert_true(s.ok);
        assert_int_equal(s.remaining, 9 - i);
        assert_int_equal(s.reset_s, 6 * (i + 1));
    }
    struct rate_state s = take("a");
    assert_false(s.ok);
    assert_int_equal(s.remaining, 0);
    assert_int_equal(s.retry_s, 6);
    assert_int_equal(s.reset_s, 60);
    loop_fake_advance(l, 5999);
    s = take("a");
    assert_false(s.ok);
    assert_int_equal(s.retry_s, 1);                        /* never 0: that would be an invitation */
    loop_fake_advance(l, 1);
    assert_true(take("a").ok);
    assert_false(take("a").ok);
    loop_fake_advance(l, 3600000);
    assert_int_equal(burst("a", 20), 10);                  /* an hour saves up no more than one bucket */
}

static void test_a_refusal_costs_nothing(void **state)
{
    (void)state;
    begin(100, 2, 2000);
    assert_int_equal(burst("a", 1000), 2);
    loop_fake_advance(l, 1000);
    assert_int_equal(burst("a", 1000), 1);
}

static void test_each_name_has_its_own(void **state)
{
    (void)state;
    begin(100, 3, 60000);
    assert_int_equal(burst("a", 9), 3);
    assert_int_equal(burst("b", 9), 3);
    assert_int_equal(rate_take(&r, (struct mintd_str){ "a\0", 2 }, false).remaining, 2);
}

static void test_looking_takes_nothing(void **state)
{
    (void)state;
    begin(100, 1, 60000);
    for (int i = 0; i < 5; i++) assert_true(rate_take(&r, S("a"), true).ok);
    assert_true(take("a").ok);
    assert_false(rate_take(&r, S("a"), true).ok);
    assert_int_equal(rate_take(&r, S("a"), true).retry_s, 60);
}

static void test_no_limit(void **state)
{
    (void)state;
    begin(1, 0, 0);
    assert_int_equal(burst("a", 100000), 100000);
    assert_int_equal(r.map.n, 0);
}

static void test_large_and_odd_limits_hold_exactly(void **state)
{
    (void)state;
    static const struct conf_rate limits[] = { { 1000000, 1000 }, { 999983, 1001 }, { 7, 1000 }, { 1, 86400000 }, { 600, 60000 } };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        begin(4, limits[i].n, limits[i].ms);
        assert_int_equal(burst("a", limits[i].n + 1000), limits[i].n);
        loop_fake_advance(l, (uint64_t)limits[i].ms);
        assert_int_equal(burst("a", limits[i].n + 1000), limits[i].n);
        rate_free(&r);
    }
    r = (struct rate){ 0 };
}

static void test_a_full_table_refuses_new_names_until_a_bucket_is_full_again(void **state)
{
    (void)state;
    char name[16];
    begin(50, 2, 60000);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_true(take(name).ok);
    }
    struct rate_state s = take("late");
    assert_false(s.ok);
    assert_int_equal(s.retry_s, 30);
    assert_false(rate_take(&r, S("late"), true).ok);
    assert_true(take("n7").ok);                            /* those that are known go on */
    loop_fake_advance(l, 30000);                           /* all but n7 are full */
    assert_true(take("late").ok);
    assert_int_equal(r.map.n, 50);
    for (int i = 0; i < 48; i++) {
        snprintf(name, sizeof name, "m%d", i);
        if (!take(name).ok) fail_msg("%s has no place", name);
    }
    assert_false(take("one more").ok);
    assert_false(rate_take(&r, S("one more"), true).ok);
}

static void test_a_new_limit_holds_at_once(void **state)
{
    (void)state;
    begin(10, 1000, 60000);
    assert_int_equal(burst("a", 600), 600);
    rate_limit(&r, (struct conf_rate){ 5, 10000 });
    assert_false(take("a").ok);                            /* far beyond the new one */
    loop_fake_advance(l, 10000);
    assert_int_equal(burst("a", 600), 5);
    rate_limit(&r, (struct conf_rate){ 0, 0 });
    assert_int_equal(burst("a", 600), 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ten_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_refusal_costs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_name_has_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_looking_takes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_and_odd_limits_hold_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_table_refuses_new_names_until_a_bucket_is_full_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_limit_holds_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
