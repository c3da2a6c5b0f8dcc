/* Strings, buffer, JSON escaping, UTF-8, hex. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"

static void test_views(void **state)
{
    (void)state;
    assert_true(str_eq(S(""), (struct mintd_str){ NULL, 0 }));
    assert_false(str_eq(S("a"), S("ab")));
    assert_true(str_starts(S("ipfs://x"), S("ipfs://")));
    assert_false(str_starts(S("ipfs"), S("ipfs://")));
    assert_true(str_starts(S("x"), S("")));
    assert_int_equal(SZ(NULL).n, 0);
}

static void test_u64(void **state)
{
    (void)state;
    static const struct { const char *text; int r; uint64_t v; } table[] = {
        { "0", 0, 0 }, { "007", 0, 7 }, { "18446744073709551615", 0, UINT64_MAX }, { "18446744073709551616", -ERANGE, 0 },
        { "99999999999999999999999", -ERANGE, 0 }, { "99999999999999999999999x", -EINVAL, 0 }, { "", -EINVAL, 0 },
        { "-1", -EINVAL, 0 }, { "+1", -EINVAL, 0 }, { " 1", -EINVAL, 0 }, { "1 ", -EINVAL, 0 }, { "0x1", -EINVAL, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint64_t v = 42;
        assert_int_equal(str_u64(SZ(table[i].text), &v), table[i].r);
        assert_int_equal(v, table[i].r ? 42 : table[i].v);
    }
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct { struct mintd_str s; bool good; } table[] = {
        { S(""), true }, { S("plain"), true }, { S("\0"), true }, { S("caf\xc3\xa9"), true }, { S("\xe2\x82\xac"), true },
        { S("\xf0\x9f\x8e\xab"), true }, { S("\xed\x9f\xbf"), true }, { S("\xee\x80\x80"), true }, { S("\xf4\x8f\xbf\xbf"), true },
        { S("\x80"), false }, { S("\xc3"), false }, { S("\xc3("), false }, { S("\xc0\xaf"), false }, { S("\xc1\xbf"), false },
        { S("\xe0\x9f\xbf"), false }, { S("\xe0\xa0\x80"), true }, { S("\xed\xa0\x80"), false }, { S("\xed\xbf\xbf"), false },
        { S("\xf0\x8f\xbf\xbf"), false }, { S("\xf0\x90\x80\x80"), true }, { S("\xf4\x90\x80\x80"), false },
        { S("\xf5\x80\x80\x80"), false }, { S("\xff"), false }, { S("\xe2\x82"), false }, { S("\xf0\x9f\x8e"), false },
        { S("ok\xe2\x28\xa1"), false },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (str_utf8(table[i].s) != table[i].good) fail_msg("row %zu", i);
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(str_distance(S("kitten"), S("sitting")), 3);
    assert_int_equal(str_distance(S(""), S("abc")), 3);
    assert_int_equal(str_distance(S("abc"), S("")), 3);
    assert_int_equal(str_distance(S("finality"), S("finality")), 0);
    assert_int_equal(str_distance(S("finalty"), S("finality")), 1);
    char longer[80];
    memset(longer, 'a', sizeof longer);
    assert_int_equal(str_distance((struct mintd_str){ longer, sizeof longer }, S("aaa")), 80);
}

static void test_buf_grows_and_stops(void **state)
{
    (void)state;
    struct buf b = { .max = 1000 };
    for (int i = 0; i < 100; i++) buf_printf(&b, "%04d", i);
    assert_int_equal(b.n, 400);
    assert_memory_equal(b.p + 396, "0099", 4);
    buf_printf(&b, "%0600d", 1);                           /* longer than the stack buffer, exactly to the limit */
    assert_false(b.bad);
    assert_int_equal(b.n, 1000);
    buf_puts(&b, "x");
    assert_true(b.bad);
    assert_int_equal(b.n, 1000);
    buf_free(&b);
    assert_null(b.p);
    assert_false(b.bad);
    assert_int_equal(b.max, 1000);
    buf_str(&b, S(""));
    buf_add(&b, NULL, 0);
    assert_int_equal(buf_view(&b).n, 0);
    buf_free(&b);
}

static void json_is(struct mintd_str in, const char *want)
{
    struct buf b = { 0 };
    buf_json(&b, in);
    buf_add(&b, "", 1);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

static void test_json(void **state)
{
    (void)state;
    json_is(S(""), "\"\"");
    json_is(S("plain"), "\"plain\"");
    json_is(S("\"\\/\b\f\n\r\t"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    json_is(S("\0\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\x7f\"");
    json_is(S("\xe2\x82\xac \xf0\x9f\x8e\xab"), "\"\xe2\x82\xac \xf0\x9f\x8e\xab\"");
    json_is(S("a\xff" "b\xc3"), "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"");
    json_is(S("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_hex(void **state)
{
    (void)state;
    unsigned char all[256], back[256];
    char text[512];
    for (int i = 0; i < 256; i++) all[i] = (unsigned char)i;
    hex_encode(all, sizeof all, text);
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 506, "fdfeff", 6);
    assert_int_equal(hex_decode((struct mintd_str){ text, 512 }, back, 256), 0);
    assert_memory_equal(all, back, 256);
    assert_int_equal(hex_decode(S("aBcD"), back, 2), 0);
    assert_memory_equal(back, "\xab\xcd", 2);
    assert_int_equal(hex_decode(S("abc"), back, 1), -EINVAL);
    assert_int_equal(hex_decode(S("abcd"), back, 1), -EINVAL);
    assert_int_equal(hex_decode(S("ffxg"), back, 2), -EINVAL);
    assert_memory_equal(back, "\xab\xcd", 2);              /* untouched on failure */
    struct buf b = { 0 };
    buf_hex(&b, "\x00\xfe", 2);
    assert_true(str_eq(buf_view(&b), S("00fe")));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views), cmocka_unit_test(test_u64), cmocka_unit_test(test_utf8), cmocka_unit_test(test_distance),
        cmocka_unit_test(test_buf_grows_and_stops), cmocka_unit_test(test_json), cmocka_unit_test(test_hex),
    };
    return cmocka_run_group_tests_name("base str", tests, NULL, NULL);
}
