/* Buckets, window and packing against figures that can be worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "machine/pace.h"

/* One Hedera node of 31: 125/31 operations a second, an NFT weighs 2.5, burst window 15 s: ten NFTs each 6.2 s, twice at once. */
static void one_node_of_thirty_one(void **state)
{
    (void)state;
    struct pace_bucket b = { 0 };
    uint64_t now = 1000, cost = 25000, sent = 0, start = now;
    pace_bucket_set(&b, 4032, 60480, now);
    while (now < start + 620000) {
        uint64_t wait = pace_bucket_wait(&b, cost, now);
        if (wait) { now += wait; continue; }
        pace_bucket_take(&b, cost, now);
        sent++;
    }
    assert_in_range(sent, 100, 103);                       /* 620 s * 4.032 / 25 = 100, plus the burst of 2.4 */
}

static void never_above_rate_plus_burst(void **state)
{
    (void)state;
    struct pace_bucket b = { 0 };
    pace_bucket_set(&b, 10000, 20000, 0);
    uint64_t taken = 0;
    for (uint64_t now = 0; now < 10000; now++)
        while (!pace_bucket_wait(&b, 1000, now)) { pace_bucket_take(&b, 1000, now); taken++; }
    assert_in_range(taken, 118, 120);                      /* 10/s * 10 s + 20 */
}

/* Several routes ask about the same budget, some of them each ms: the fractions of a ms are neither lost nor given twice. */
static void asking_often_changes_nothing(void **state)
{
    (void)state;
    static const struct { uint64_t per_s, step; } table[] = { { 78400, 113 }, { 78400, 1 }, { 1500, 1 }, { 7, 3 }, { 999, 1 }, { 1001, 7 } };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct pace_bucket b = { 0 };
        uint64_t taken = 0, ms = 1000000;
        pace_bucket_set(&b, table[i].per_s, table[i].per_s, 0);
        pace_bucket_take(&b, table[i].per_s, 0);
        for (uint64_t now = 0; now <= ms; now += table[i].step)
            for (int k = 0; k < 5; k++)
                while (!pace_bucket_wait(&b, table[i].per_s / 7, now)) { pace_bucket_take(&b, table[i].per_s / 7, now); taken += table[i].per_s / 7; }
        uint64_t wanted = table[i].per_s * ms / 1000;
        assert_in_range(taken, wanted - table[i].per_s, wanted);
    }
}

/* One send is worth three bursts: the rate still holds, and a refusal in between forgives nothing. */
static void a_cost_above_the_burst_is_owed(void **state)
{
    (void)state;
    struct pace_bucket b = { 0 };
    pace_bucket_set(&b, 2000, 2000, 0);
    pace_bucket_take(&b, 6000, 0);
    assert_int_equal(pace_bucket_wait(&b, 6000, 0), 3000);
    pace_bucket_refused(&b, 1, 500);
    assert_int_equal(pace_bucket_wait(&b, 6000, 600), 2400);
    uint64_t taken = 0;
    for (uint64_t now = 3000; now < 30000; now++)
        while (!pace_bucket_wait(&b, 6000, now)) { pace_bucket_take(&b, 6000, now); taken++; }
    assert_int_equal(taken, 9);                            /* 27 s * 2 / 6 */
}

static void the_wait_is_exact(void **state)
{
    (void)state;
    struct pace_bucket b = { 0 };
    pace_bucket_set(&b, 1000, 1000, 0);
    pace_bucket_take(&b, 1000, 0);
    uint64_t wait = pace_bucket_wait(&b, 1000, 0);
    assert_int_equal(wait, 1000);
    assert_true(pace_bucket_wait(&b, 1000, wait - 1) > 0);
    assert_int_equal(pace_bucket_wait(&b, 1000, wait), 0);
    assert_int_equal(pace_bucket_wait(&b, 5000, wait), 0); /* more than the burst: when full */
}

static void refusal_empties_and_holds(void **state)
{
    (void)state;
    struct pace_bucket b = { 0 };
    pace_bucket_set(&b, 1000, 10000, 0);
    pace_bucket_refused(&b, 3000, 0);
    assert_int_equal(pace_bucket_wait(&b, 1000, 0), 3000);
    assert_int_equal(pace_bucket_wait(&b, 1000, 3000), 0);
    struct pace_bucket unlimited = { 0 };
    assert_int_equal(pace_bucket_wait(&unlimited, 1u << 30, 5), 0);
}

static void a_new_rate_keeps_the_level(void **state)
{
    (void)state;
    struct pace_bucket b = { 0 };
    pace_bucket_set(&b, 1000, 10000, 0);
    pace_bucket_take(&b, 9000, 0);
    pace_bucket_set(&b, 2000, 20000, 0);
    assert_int_equal(b.level, 1000);
    pace_bucket_set(&b, 2000, 500, 0);
    assert_int_equal(b.level, 500);
}

static void window_grows_one_a_window(void **state)
{
    (void)state;
    struct pace_window w = { 0 };
    pace_window_set(&w, 10, 100);
    assert_int_equal(pace_window_room(&w, 0), 10);
    for (int i = 0; i < 10; i++) pace_window_good(&w);
    assert_in_range(w.milli, 10900, 11000);
    for (int i = 0; i < 100000; i++) pace_window_good(&w);
    assert_int_equal(w.milli, 100000);
}

static void window_is_cut_once_a_round_trip(void **state)
{
    (void)state;
    struct pace_window w = { 0 };
    pace_window_set(&w, 100, 100);
    for (uint64_t t = 0; t < 10; t++) pace_window_bad(&w, 0, 400, 1000 + t);
    assert_int_equal(w.milli, 70000);
    pace_window_bad(&w, 0, 400, 1500);
    assert_int_equal(w.milli, 49000);
    for (uint64_t t = 0; t < 50; t++) pace_window_bad(&w, 0, 400, 2000 + t * 500);
    assert_int_equal(w.milli, 2000);
    pace_window_bad(&w, 5000, 400, 100000);
    assert_int_equal(pace_window_room(&w, 104999), 0);
    assert_int_equal(pace_window_room(&w, 105000), 2);
    w.in_flight = 2;
    assert_int_equal(pace_window_room(&w, 105000), 0);
}

static void packing(void **state)
{
    (void)state;
    assert_int_equal(pace_pack(0, 10, 0, 0, 20, 66), 10);
    assert_int_equal(pace_pack(5, 10, 0, 0, 20, 66), 5);
    assert_int_equal(pace_pack(50, 10, 0, 0, 20, 66), 10);
    assert_int_equal(pace_pack(0, 8, 1000, 150, 30, 70), 4);
    assert_int_equal(pace_pack(0, 8, 100, 150, 30, 70), 1);
    assert_int_equal(pace_pack(0, 0, 0, 0, 0, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_of_thirty_one), cmocka_unit_test(never_above_rate_plus_burst),
        cmocka_unit_test(asking_often_changes_nothing), cmocka_unit_test(a_cost_above_the_burst_is_owed), cmocka_unit_test(the_wait_is_exact),
        cmocka_unit_test(refusal_empties_and_holds), cmocka_unit_test(a_new_rate_keeps_the_level),
        cmocka_unit_test(window_grows_one_a_window), cmocka_unit_test(window_is_cut_once_a_round_trip), cmocka_unit_test(packing),
    };
    return cmocka_run_group_tests_name("machine pace", tests, NULL, NULL);
}
