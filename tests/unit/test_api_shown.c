/* Documents as they were shown last: never older than a write of this process, never older than SHOWN_MS, never another's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "api/shown.h"

static void test_shown_until_something_is_written(void **state)
{
    struct shown *s = shown_new();
    (void)state;
    assert_int_equal(shown_get(s, 7, 0, 1, 1000).n, 0);
    shown_put(s, 7, 0, 1, 1000, S("{}"));
    assert_true(str_eq(shown_get(s, 7, 0, 1, 1000), S("{}")));
    assert_true(str_eq(shown_get(s, 7, 0, 1, 1000 + SHOWN_MS - 1), S("{}")));
    assert_int_equal(shown_get(s, 7, 0, 1, 1000 + SHOWN_MS).n, 0);
    assert_int_equal(shown_get(s, 7, 0, 2, 1000).n, 0);
    assert_int_equal(shown_get(s, 7, 1, 1, 1000).n, 0);
    assert_int_equal(shown_get(s, 8, 0, 1, 1000).n, 0);
    shown_free(s);
}

static void test_the_last_one_of_a_place_stays(void **state)
{
    struct shown *s = shown_new();
    (void)state;
    shown_put(s, 7, 0, 1, 1000, S("seven"));
    shown_put(s, 7 + 64, 0, 1, 1000, S("seventy-one"));
    assert_int_equal(shown_get(s, 7, 0, 1, 1000).n, 0);
    assert_true(str_eq(shown_get(s, 7 + 64, 0, 1, 1000), S("seventy-one")));
    shown_free(s);
}

static void test_a_large_one_is_not_kept(void **state)
{
    static char large[SHOWN_BYTES + 1];
    struct shown *s = shown_new();
    (void)state;
    shown_put(s, 1, 0, 1, 0, (struct mintd_str){ large, SHOWN_BYTES });
    assert_int_equal(shown_get(s, 1, 0, 1, 0).n, SHOWN_BYTES);
    shown_put(s, 2, 0, 1, 0, (struct mintd_str){ large, SHOWN_BYTES + 1 });
    assert_int_equal(shown_get(s, 2, 0, 1, 0).n, 0);
    shown_free(s);
    shown_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown_until_something_is_written),
        cmocka_unit_test(test_the_last_one_of_a_place_stays),
        cmocka_unit_test(test_a_large_one_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
