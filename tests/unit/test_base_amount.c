/* Amounts and shares as text: exact, rounded as the API promises, refused when they are none or too large. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/amount.h"

static void is_text(struct buf *b, const char *wanted)
{
    buf_add(b, "", 1);
    assert_string_equal(b->p, wanted);
    buf_free(b);
}

static void test_put(void **state)
{
    (void)state;
    static const struct { uint64_t v; uint32_t decimals; const char *text; } table[] = {
        { 0, 9, "0" }, { 1, 9, "0.000000001" }, { 1234500000, 9, "1.2345" }, { 1000000000, 9, "1" }, { 100, 0, "100" },
        { 100000000, 9, "0.1" }, { UINT64_MAX, 0, "18446744073709551615" }, { UINT64_MAX, 18, "18.446744073709551615" },
        { 10, 1, "1" }, { 105, 2, "1.05" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf b = { 0 };
        amount_put(&b, table[i].v, table[i].decimals);
        is_text(&b, table[i].text);
    }
}

static void test_parse(void **state)
{
    (void)state;
    static const struct { const char *text; uint32_t decimals; int r; uint64_t v; } table[] = {
        { "0.1", 9, 0, 100000000 }, { "1", 9, 0, 1000000000 }, { "0", 9, 0, 0 }, { "007.50", 2, 0, 750 },
        { "0.0000000001", 9, 0, 1 }, { "0.1000000000", 9, 0, 100000000 }, { "1.01", 0, 0, 2 }, { "1.00", 0, 0, 1 },
        { "18446744073709551615", 0, 0, UINT64_MAX }, { "18446744073709551616", 0, -ERANGE, 0 }, { "18446744073709551615.1", 0, -ERANGE, 0 },
        { "20000000000", 9, -ERANGE, 0 }, { "", 9, -EINVAL, 0 }, { ".1", 9, -EINVAL, 0 }, { "1.", 9, -EINVAL, 0 }, { "1.2.3", 9, -EINVAL, 0 },
        { "-1", 9, -EINVAL, 0 }, { "1e3", 9, -EINVAL, 0 }, { " 1", 9, -EINVAL, 0 }, { "0,1", 9, -EINVAL, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint64_t v = 42;
        assert_int_equal(amount_parse(SZ(table[i].text), table[i].decimals, &v), table[i].r);
        assert_int_equal(v, table[i].r ? 42 : table[i].v);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint64_t v = 1; v < UINT64_MAX / 7; v = v * 7 + 3) {
        struct buf b = { 0 };
        uint64_t back = 0;
        amount_put(&b, v, 9);
        assert_int_equal(amount_parse(buf_view(&b), 9, &back), 0);
        assert_int_equal(back, v);
        buf_free(&b);
    }
}

static void test_ratio(void **state)
{
    (void)state;
    static const struct { uint64_t n, d; uint32_t digits; const char *text; } table[] = {
        { 44200, 450, 2, "98.22" }, { 100, 1, 2, "100.00" }, { 0, 5, 2, "0.00" }, { 5, 0, 2, "0.00" }, { 200, 3, 2, "66.67" },
        { 1, 200, 2, "0.01" }, { 1, 201, 2, "0.00" }, { 1005, 1000, 2, "1.01" }, { 1, 3, 0, "0" }, { 2, 3, 0, "1" },
        { UINT64_MAX, 1, 2, "18446744073709551615.00" }, { UINT64_MAX - 1, UINT64_MAX, 6, "1.000000" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf b = { 0 };
        ratio_put(&b, table[i].n, table[i].d, table[i].digits);
        is_text(&b, table[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put), cmocka_unit_test(test_parse), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_ratio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
