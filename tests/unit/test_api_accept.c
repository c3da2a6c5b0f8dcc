/* What a client would take, out of what is there; whether it has a document already; places in the streams of events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/accept.h"
#include "api/events.h"
#include "api/gzip.h"

static const char *const types[] = { "application/json", "application/x-ndjson", "text/csv" };
static const struct { const char *header; int place; } accepted[] = {
    { NULL, 0 }, { "", 0 }, { " , ", 0 }, { "*/*", 0 }, { "text/*", 2 }, { "text/csv", 2 }, { "TEXT/Csv", 2 }, { "text/csv;q=0.4, application/x-ndjson;q=0.5", 1 },
    { "text/csv, application/json", 0 }, { "text/csv;q=1, */*;q=0.5", 2 }, { "application/json;q=0, */*", 1 }, { "application/*;q=0, text/csv", 2 },
    { "application/*;q=0, application/x-ndjson;q=0.1", 1 }, { "text/csv ; charset=utf-8 ; q=0.7", 2 }, { "text/html", -1 }, { "text/csvx", -1 }, { "text", -1 },
    { "*/*;q=0", -1 }, { "text/csv;q=-1", -1 }, { "text/csv;q=x", -1 }, { "text/csv;q=nan", -1 }, { "text/csv;q=9", 2 }, { "text/csv;q=", -1 }, { "/", -1 },
    { "*/csv", -1 }, { ";q=1", -1 }, { ";;;,,,;", -1 }, { "text/csv;a=\"x;q=0\"", 2 }, { "text/csv;Q=0", -1 }, { "text/csv;q=0.0004", -1 }, { "*", -1 },
};

static void test_the_best_of_what_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++)
        if (accept_type(accepted[i].header, types, 3) != accepted[i].place)
            fail_msg("%s: %d", accepted[i].header, accept_type(accepted[i].header, types, 3));
}

static void test_gzip_where_it_is_allowed(void **state)
{
    static const char *const yes[] = { "gzip", "GZIP", "x-gzip", "br, gzip;q=0.1", "*", "identity;q=0, *;q=0.5", "gzip, *;q=0" };
    static const char *const no[] = { "", "identity", "gzip;q=0", "gzip;q=0, *", "gzipp", "br", "*;q=0", "gzip;q=0.0" };
    (void)state;
    assert_false(accept_gzip(NULL));
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!accept_gzip(yes[i])) fail_msg("%s", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (accept_gzip(no[i])) fail_msg("%s", no[i]);
}

static void test_who_knows_a_document(void **state)
{
    static const char *const yes[] = { "W/\"ab\"", "\"ab\"", "*", "\"x\", W/\"ab\"", "W/\"a,b\",\"ab\"", " , \"ab\"" };
    static const char *const no[] = { "", "ab", "\"abc\"", "W/", "\"", "\"x\", \"y\"", "W/\"x", "\"ab" };
    (void)state;
    assert_false(accept_known(NULL, "W/\"ab\""));
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!accept_known(yes[i], "W/\"ab\"")) fail_msg("%s", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (accept_known(no[i], "W/\"ab\"")) fail_msg("%s", no[i]);
}

static void test_places_are_read_as_they_are_written(void **state)
{
    static const char *const good[] = { "0", "1.17", "1.17-2.3", "3.9223372036854775807", "1.1-4294967295.5" };
    static const char *const bad[] = { "", "1", "1.", ".1", "1.0", "0.1", "1.2-", "-1.2", "1.2--3.4", "1.2-1.3", "1.2 ", "1.-2", "4294967296.1",
        "1.9223372036854775808", "1.99999999999999999999", "a.b", "1.2.3" };
    struct place p, q = { 0 };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct buf b = { 0 };
        assert_int_equal(place_parse(str_of(good[i]), &p), 0);
        place_put(&b, &p);
        assert_true(str_eq(buf_view(&b), str_of(good[i])));
        buf_free(&b);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (!place_parse(str_of(bad[i]), &p)) fail_msg("%s", bad[i]);
    for (uint32_t slot = PLACE_SLOTS; slot; slot--) place_set(&q, slot, slot);             /* any order, kept sorted */
    place_set(&q, 1, 9);
    assert_int_equal(q.n, PLACE_SLOTS);
    assert_int_equal(place_get(&q, 1), 9);
    assert_int_equal(place_get(&q, PLACE_SLOTS + 1), 0);
    p = q;
    assert_true(place_equal(&p, &q));
    place_set(&p, 7, 8);
    assert_false(place_equal(&p, &q));
}

static void test_small_bodies_stay_as_they_are(void **state)
{
    struct buf b = { 0 };
    (void)state;
    for (int i = 0; i < 200; i++) buf_puts(&b, "abcd");
    assert_false(gzip_whole(&b));
    assert_int_equal(b.n, 800);
    for (int i = 0; i < 2000; i++) buf_puts(&b, "abcd");
    assert_true(gzip_whole(&b));
    assert_in_range(b.n, 20, 200);
    assert_memory_equal(b.p, "\x1f\x8b", 2);
    buf_free(&b);
    b.bad = true;
    assert_false(gzip_whole(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_best_of_what_is_there), cmocka_unit_test(test_gzip_where_it_is_allowed),
        cmocka_unit_test(test_who_knows_a_document), cmocka_unit_test(test_places_are_read_as_they_are_written),
        cmocka_unit_test(test_small_bodies_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
