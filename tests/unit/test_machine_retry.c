/* The retry policy over every stage, class and number of tries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "machine/retry.h"

static const struct retry_policy policy = { 100, 10000, 8 };

static enum retry_act act(enum retry_stage s, uint32_t cls, const char *slug)
{
    return retry_decide(s, cls, str_of(slug), 0, 0, &policy, 7).act;
}

/* rows: classes OK..AMBIGUOUS and an unknown one; D done, A again, F fail, O observe */
static const struct { enum retry_stage stage; const char *acts; } table[] = {
    { STAGE_IDENTIFY,  "DAAAFAA" }, { STAGE_PUT,     "DAAAFAA" }, { STAGE_CHECK,  "DAAAFAA" }, { STAGE_KEYS,      "DAAAFAA" },
    { STAGE_PREPARE,   "DAAAFAA" }, { STAGE_SIGN,    "DAAAFAA" }, { STAGE_SEAL,   "DAAAFAA" }, { STAGE_COMMIT,    "DAAAFAA" },
    { STAGE_BROADCAST, "DAAAFOO" }, { STAGE_STATUS,  "DAAAAAA" }, { STAGE_CLAIM,  "DAAAAAA" }, { STAGE_QUERY,     "DAAAAAA" },
};

static void every_stage_and_class(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(table), STAGE_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(table[i].stage, i);
        for (uint32_t cls = 0; cls < 7; cls++) {
            enum retry_act want = table[i].acts[cls] == 'D' ? RETRY_DONE : table[i].acts[cls] == 'A' ? RETRY_AGAIN
                : table[i].acts[cls] == 'F' ? RETRY_FAIL : RETRY_OBSERVE;
            assert_int_equal(act(table[i].stage, cls, "x.y"), want);
        }
    }
}

static void fenced_stops_everything(void **state)
{
    (void)state;
    for (int s = 0; s < STAGE_COUNT; s++) assert_int_equal(act((enum retry_stage)s, MINTD_PERMANENT, "store.fenced"), RETRY_FENCED);
    assert_int_equal(act(STAGE_COMMIT, MINTD_TRANSIENT, "store.fenced"), RETRY_AGAIN);
}

static void lane_slugs_park(void **state)
{
    (void)state;
    const char *parks[] = { "local.no_funds", "hedera.paused", "a.b.frozen", "solana.max_supply" };
    const char *not[] = { "no_funds", "local.no_funds_x", "local.funds", "", "paused.local" };
    for (size_t i = 0; i < ARRAY_LEN(parks); i++) {
        assert_true(retry_parks(str_of(parks[i])));
        assert_int_equal(act(STAGE_PREPARE, MINTD_PERMANENT, parks[i]), RETRY_PARK);
    }
    for (size_t i = 0; i < ARRAY_LEN(not); i++) assert_false(retry_parks(str_of(not[i])));
}

static void backoff_grows_to_the_cap_and_spreads(void **state)
{
    (void)state;
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t tries = 0; tries < 40; tries++) {
        for (uint32_t jitter = 0; jitter < 5000; jitter += 13) {
            uint64_t mid = tries < 7 ? 100u << tries : 10000;
            if (mid > 10000) mid = 10000;
            struct retry_verdict v = retry_decide(STAGE_PUT, MINTD_TRANSIENT, S(""), tries, 0, &policy, jitter * 2654435761u);
            assert_true(v.delay_ms >= mid * 3 / 4 && v.delay_ms <= mid * 5 / 4);
            if (tries == 39) { if (v.delay_ms < low) low = v.delay_ms; if (v.delay_ms > high) high = v.delay_ms; }
        }
    }
    assert_true(high - low > 3000);
}

static void the_peer_is_honoured(void **state)
{
    (void)state;
    assert_true(retry_decide(STAGE_PUT, MINTD_THROTTLED, S(""), 0, 30000, &policy, 1).delay_ms == 30000);
    assert_true(retry_decide(STAGE_PUT, MINTD_OK, S(""), 0, 30000, &policy, 1).delay_ms == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stage_and_class), cmocka_unit_test(fenced_stops_everything), cmocka_unit_test(lane_slugs_park),
        cmocka_unit_test(backoff_grows_to_the_cap_and_spreads), cmocka_unit_test(the_peer_is_honoured),
    };
    return cmocka_run_group_tests_name("machine retry", tests, NULL, NULL);
}
