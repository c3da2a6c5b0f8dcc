/* Durations, sizes and amounts: exact or refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>

#include <cmocka.h>

#include "conf/conf_int.h"

struct row { const char *text; int r; int64_t value; };

static void test_durations(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "0", 0, 0 }, { "250ms", 0, 250 }, { "5s", 0, 5000 }, { "1.5s", 0, 1500 }, { "2h", 0, 7200000 }, { "1d", 0, 86400000 },
        { "10 m", 0, 600000 }, { "0.25d", 0, 21600000 }, { "0.001s", 0, 1 }, { "1.0000s", 0, 1000 },
        { "106751991167d", 0, INT64_C(9223372036828800000) }, { "106751991168d", -ERANGE, 0 }, { "9223372036854775808ms", -ERANGE, 0 },
        { "5", -EINVAL, 0 }, { "", -EINVAL, 0 }, { "s", -EINVAL, 0 }, { "-1s", -EINVAL, 0 }, { "1.s", -EINVAL, 0 }, { ".5s", -EINVAL, 0 },
        { "1S", -EINVAL, 0 }, { "1 sec", -EINVAL, 0 }, { "0.0005s", -EINVAL, 0 }, { "1e3s", -EINVAL, 0 }, { "1s ", -EINVAL, 0 },
        { "00", -EINVAL, 0 }, { "0x1s", -EINVAL, 0 }, { "1.0000000000000000001s", -EINVAL, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = -7;
        assert_int_equal(conf_parse_duration(SZ(rows[i].text), &v), rows[i].r);
        assert_int_equal(v, rows[i].r ? -7 : rows[i].value);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "0", 0, 0 }, { "64 KiB", 0, 65536 }, { "33 MB", 0, 33000000 }, { "1.5GiB", 0, 1610612736 }, { "1 B", 0, 1 }, { "2kB", 0, 2000 },
        { "8388607 TiB", 0, INT64_C(9223370937343148032) }, { "8388608 TiB", -ERANGE, 0 }, { "0.5 B", -EINVAL, 0 }, { "64 kib", -EINVAL, 0 },
        { "64", -EINVAL, 0 }, { "64 K", -EINVAL, 0 }, { "64  KiB", 0, 65536 }, { "6 4 KiB", -EINVAL, 0 }, { "0.1 KiB", -EINVAL, 0 },
        { "0.125 KiB", 0, 128 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = -7;
        assert_int_equal(conf_parse_size(SZ(rows[i].text), &v), rows[i].r);
        assert_int_equal(v, rows[i].r ? -7 : rows[i].value);
    }
}

static void test_amounts(void **state)
{
    (void)state;
    static const char hbar[] = "tinybar=0|hbar=8", eth[] = "wei=0|eth=18";
    static const struct { const char *text, *units; int r; int64_t value; } rows[] = {
        { "12345", NULL, 0, 12345 }, { "12345.5", NULL, -EINVAL, 0 }, { "5 hbar", NULL, -EINVAL, 0 }, { "0", hbar, 0, 0 },
        { "5", hbar, -EINVAL, 0 }, { "5 tinybar", hbar, 0, 5 }, { "2.5 hbar", hbar, 0, 250000000 }, { "0.00000001 hbar", hbar, 0, 1 },
        { "0.000000001 hbar", hbar, -EINVAL, 0 }, { "92233720368.54775807 hbar", hbar, 0, INT64_MAX },
        { "92233720368.54775808 hbar", hbar, -ERANGE, 0 }, { "9.223372036854775807 eth", eth, 0, INT64_MAX },
        { "10 eth", eth, -ERANGE, 0 }, { "1 HBAR", hbar, -EINVAL, 0 }, { "1 hba", hbar, -EINVAL, 0 }, { "-1 hbar", hbar, -EINVAL, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = -7;
        assert_int_equal(conf_parse_amount(SZ(rows[i].text), rows[i].units, &v), rows[i].r);
        assert_int_equal(v, rows[i].r ? -7 : rows[i].value);
    }
}

/* What is printed reads back as the same number. */
static void test_printing(void **state)
{
    (void)state;
    static const int64_t values[] = { 1, 999, 1000, 1500, 60000, 90000, 3600000, 86400000, 86400001, INT64_MAX };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf b = { 0 };
        int64_t v = 0;
        unit_print_duration(&b, values[i]);
        assert_int_equal(conf_parse_duration(buf_view(&b), &v), 0);
        assert_int_equal(v, values[i]);
        b.n = 0;
        unit_print_size(&b, values[i]);
        assert_int_equal(conf_parse_size(buf_view(&b), &v), 0);
        assert_int_equal(v, values[i]);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations), cmocka_unit_test(test_sizes), cmocka_unit_test(test_amounts), cmocka_unit_test(test_printing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
