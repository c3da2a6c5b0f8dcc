/* The strict JSON checker and the walk over checked text: what is refused, where and why. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"

/* a copy without a byte behind it, so that the sanitizer sees a read too far */
static int check(const char *text, size_t n, struct json_error *e)
{
    char *p = malloc(n ? n : 1);
    assert_non_null(p);
    memcpy(p, text, n);
    int r = json_check((struct mintd_str){ p, n }, 0, e);
    free(p);
    return r;
}

static void test_valid(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0", "-0", "-0.0e-0", "1E+5", "123456789012345678901234567890", "\"\"", "true", "null", "[]", "{}", " [ ] ", "\t{\r\n}\n",
        "[1,2,3]", "{\"a\":{\"b\":[{\"c\":null}]}}", "\"\\u00e4\\n\\\"\\\\\\/\\b\\f\\r\\t\"", "\"\\ud83d\\ude00\"", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "{\"a\":1,\"A\":2}", "[\"a\",\"a\"]", "{\"a\":{\"a\":1}}", "1e308", "\"\x7f\"", "\"\\u007f\"", "{\"\":1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct json_error e;
        if (check(texts[i], strlen(texts[i]), &e)) fail_msg("%s: %s at %zu", texts[i], e.detail, e.at);
    }
}

static void test_invalid(void **state)
{
    (void)state;
    static const struct { const char *text, *code, *pointer; } rows[] = {
        { "", "json.syntax", "" }, { " ", "json.syntax", "" }, { "[", "json.syntax", "/0" }, { "]", "json.syntax", "" },
        { "[1,]", "json.syntax", "/1" }, { "[1 2]", "json.syntax", "" }, { "[,1]", "json.syntax", "/0" }, { "{", "json.syntax", "" },
        { "{\"a\"}", "json.syntax", "/a" }, { "{\"a\":}", "json.syntax", "/a" }, { "{\"a\":1,}", "json.syntax", "" },
        { "{a:1}", "json.syntax", "" }, { "{'a':1}", "json.syntax", "" }, { "{\"a\":1 \"b\":2}", "json.syntax", "" },
        { "{1:1}", "json.syntax", "" }, { "'a'", "json.syntax", "" }, { "NaN", "json.syntax", "" }, { "Infinity", "json.syntax", "" },
        { "-Infinity", "json.syntax", "" }, { "True", "json.syntax", "" }, { "nul", "json.syntax", "" }, { "truex", "json.syntax", "" },
        { "01", "json.syntax", "" }, { "-", "json.syntax", "" }, { "+1", "json.syntax", "" }, { ".5", "json.syntax", "" },
        { "1.", "json.syntax", "" }, { "1e", "json.syntax", "" }, { "1e+", "json.syntax", "" }, { "0x10", "json.syntax", "" },
        { "1 2", "json.syntax", "" }, { "{} {}", "json.syntax", "" }, { "[]]", "json.syntax", "" }, { "//x\n1", "json.syntax", "" },
        { "/*x*/1", "json.syntax", "" }, { "\xef\xbb\xbf{}", "json.syntax", "" }, { "\"", "json.syntax", "" }, { "\"a", "json.syntax", "" },
        { "\"\\", "json.syntax", "" }, { "\"\\x41\"", "json.syntax", "" }, { "\"\\u12\"", "json.syntax", "" }, { "\"\\u12g4\"", "json.syntax", "" },
        { "\"\n\"", "json.syntax", "" }, { "\"\x01\"", "json.syntax", "" }, { "\v1", "json.syntax", "" }, { "[1}", "json.syntax", "" },
        { "{\"a\":1]", "json.syntax", "" }, { "\"\\u0000\"", "json.nul", "" }, { "{\"a\":\"\\u0000\"}", "json.nul", "/a" },
        { "\"\\ud800\"", "json.surrogate", "" }, { "\"\\udc00\"", "json.surrogate", "" }, { "\"\\ud800\\u0041\"", "json.surrogate", "" },
        { "\"\\ud800x\"", "json.surrogate", "" }, { "\"\\udc00\\ud800\"", "json.surrogate", "" },
        { "\"\xff\"", "json.utf8", "" }, { "\"\xc0\xaf\"", "json.utf8", "" }, { "\"\xed\xa0\x80\"", "json.utf8", "" },
        { "\"\xf4\x90\x80\x80\"", "json.utf8", "" }, { "\"\xc3\"", "json.utf8", "" }, { "{\"a\":[0,\"\x80\"]}", "json.utf8", "/a/1" },
        { "{\"a\":1,\"a\":2}", "json.duplicate_key", "/a" }, { "{\"a\":1,\"\\u0061\":2}", "json.duplicate_key", "/a" },
        { "{\"x\":{\"~/\":1,\"~\\/\":2}}", "json.duplicate_key", "/x/~0~1" },
        { "1e400", "json.number", "" }, { "[-1e400]", "json.number", "/0" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_error e = { .code = "" };
        if (!check(rows[i].text, strlen(rows[i].text), &e)) fail_msg("accepted: %s", rows[i].text);
        if (strcmp(e.code, rows[i].code) || strcmp(e.pointer, rows[i].pointer))
            fail_msg("%s: %s at \"%s\", expected %s at \"%s\"", rows[i].text, e.code, e.pointer, rows[i].code, rows[i].pointer);
        assert_true(e.at <= strlen(rows[i].text));
    }
}

/* No prefix of a text is a text (numbers apart), and none makes the checker read on. */
static void test_prefixes(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1.5e3,{\"\\u00e4\\ud83d\\ude00\":\"x\\n\"},true,null,-7],\"b\":{}}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct json_error e;
        assert_int_equal(check(text, n, &e), -EBADMSG);
    }
}

static void nested(unsigned levels, char open, char close, struct buf *b)
{
    b->n = 0;
    for (unsigned i = 0; i < levels; i++) open == '[' ? buf_puts(b, "[") : buf_puts(b, "{\"a\":");
    buf_puts(b, "1");
    for (unsigned i = 0; i < levels; i++) buf_add(b, &close, 1);
}

static void test_depth(void **state)
{
    (void)state;
    struct json_error e;
    struct buf b = { 0 };
    for (int object = 0; object < 2; object++) {
        char open = object ? '{' : '[', close = object ? '}' : ']';
        nested(JSON_DEPTH, open, close, &b);
        assert_int_equal(check(b.p, b.n, &e), 0);
        assert_int_equal(json_check(buf_view(&b), 1, &e), -EBADMSG);
        nested(JSON_DEPTH + 1, open, close, &b);
        assert_int_equal(check(b.p, b.n, &e), -EBADMSG);
        assert_string_equal(e.code, "json.depth");
        nested(200000, open, close, &b);                   /* no recursion beyond the limit */
        assert_int_equal(check(b.p, b.n, &e), -EBADMSG);
        assert_string_equal(e.code, "json.depth");
    }
    buf_free(&b);
}

static void test_members(void **state)
{
    (void)state;
    struct json_error e;
    for (unsigned n = JSON_MEMBERS - 1; n <= JSON_MEMBERS + 1; n++) {
        struct buf b = { 0 };
        buf_puts(&b, "{");
        for (unsigned i = 0; i < n; i++) buf_printf(&b, "%s\"k%u\":%u", i ? "," : "", i, i);
        buf_puts(&b, "}");
        int r = check(b.p, b.n, &e);
        assert_int_equal(r, n <= JSON_MEMBERS ? 0 : -EBADMSG);
        if (r) assert_string_equal(e.code, "json.members");
        buf_free(&b);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    struct json_error e;
    for (unsigned n = JSON_NUMBER_MAX - 1; n <= JSON_NUMBER_MAX + 1; n++) {
        struct buf b = { 0 };
        for (unsigned i = 0; i < n; i++) buf_puts(&b, "7");
        int r = check(b.p, b.n, &e);
        assert_int_equal(r, n <= JSON_NUMBER_MAX ? 0 : -EBADMSG);
        if (r) assert_string_equal(e.code, "json.number");
        buf_free(&b);
    }
    for (unsigned n = 253; n <= 256; n++) {                /* of a member name */
        struct buf b = { 0 };
        buf_puts(&b, "{\"");
        for (unsigned i = 0; i < n; i++) buf_puts(&b, "k");
        buf_puts(&b, "\":1}");
        int r = check(b.p, b.n, &e);
        assert_int_equal(r, n <= 254 ? 0 : -EBADMSG);
        if (r) assert_string_equal(e.code, "json.key_length");
        buf_free(&b);
    }
}

/* The pointer is cut at a whole step when it becomes too long. */
static void test_long_pointers(void **state)
{
    (void)state;
    struct json_error e;
    struct buf b = { 0 };
    char key[201];
    memset(key, 'k', 200);
    key[200] = 0;
    for (int i = 0; i < 5; i++) buf_printf(&b, "{\"%s\":", key);
    buf_puts(&b, "x");
    assert_int_equal(check(b.p, b.n, &e), -EBADMSG);
    assert_int_equal(strlen(e.pointer), 402);
    buf_free(&b);
}

static void test_framing(void **state)
{
    (void)state;
    static const struct { const char *text; size_t n; } rows[] = {
        { "{\"a\":\"}\"},", 9 }, { "[[],[\"]\"]] ", 10 }, { "\"a\\\"b\",", 6 }, { "\"\\\\\" ", 4 }, { "12,", 2 }, { "true]", 4 }, { "null}", 4 },
        { "-1.5e3 ", 6 }, { "{}{}", 2 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t cut = 0; cut <= strlen(rows[i].text); cut++) {
            struct json_frame f = { 0 };
            size_t n = json_frame(&f, rows[i].text, cut);
            if (!f.done) n += json_frame(&f, rows[i].text + cut, strlen(rows[i].text) - cut);
            assert_true(f.done);
            assert_int_equal(n, rows[i].n);
        }
    struct json_frame f = { 0 };
    json_frame(&f, "12", 2);
    assert_false(f.done);
    assert_true(json_frame_end(&f));
    f = (struct json_frame){ 0 };
    json_frame(&f, "{\"a\":", 5);
    assert_false(json_frame_end(&f));
}

static void test_walk(void **state)
{
    (void)state;
    struct mintd_str o = S("{ \"a\" : 1 ,\"\\u0062\":\"x\\u00e4\\ud83d\\ude00\\n\" , \"c\":[1,{\"d\":2}],\"e\":{\"f\":{}} }"), key, value;
    char text[64];
    size_t pos = 0;
    assert_true(json_member(o, &pos, &key, &value));
    assert_true(json_is(key, S("a")) && str_eq(value, S("1")));
    assert_int_equal(json_type(value), JSON_NUMBER);
    assert_true(json_member(o, &pos, &key, &value));
    assert_true(json_is(key, S("b")) && !json_is(key, S("a")));
    assert_true(str_eq((struct mintd_str){ text, json_text(value, text) }, S("x\xc3\xa4\xf0\x9f\x98\x80\n")));
    assert_true(json_member(o, &pos, &key, &value));
    assert_true(str_eq(value, S("[1,{\"d\":2}]")));
    assert_true(json_member(o, &pos, &key, &value));
    assert_true(str_eq(value, S("{\"f\":{}}")));
    assert_false(json_member(o, &pos, &key, &value));
    pos = 0;
    assert_false(json_member(S("{ }"), &pos, &key, &value));
}

/* Mutations of a good text: whatever the verdict, what was accepted can be walked without reading beyond it. */
static void test_mutations(void **state)
{
    (void)state;
    static const char seed[] = "{\"id\":\"t-1\",\"n\":[1,-2.5e3,true],\"s\":\"\\u00e4\\\\ \xc3\xa4\",\"o\":{\"a\":null,\"b\":{}}}";
    static const char bytes[] = "\"\\{}[],:0-e.tn u\xff\xc3\x01/";
    uint64_t rng = 88172645463325252u;
    unsigned accepted = 0;
    for (unsigned turn = 0; turn < 200000; turn++) {
        char text[sizeof seed];
        memcpy(text, seed, sizeof seed);
        for (unsigned k = 0; k < 1 + turn % 3; k++) {
            rng ^= rng << 13; rng ^= rng >> 7; rng ^= rng << 17;
            text[rng % (sizeof seed - 1)] = bytes[(rng >> 32) % (sizeof bytes - 1)];
        }
        struct json_error e;
        char *copy = malloc(sizeof seed - 1);
        assert_non_null(copy);
        memcpy(copy, text, sizeof seed - 1);
        struct mintd_str s = { copy, sizeof seed - 1 }, key, value;
        if (!json_check(s, 0, &e) && json_type(s) == JSON_OBJECT) {
            char out[sizeof seed];
            accepted++;
            for (size_t pos = 0; json_member(s, &pos, &key, &value);)
                if (json_type(value) == JSON_STRING) assert_true(json_text(value, out) <= value.n);
        }
        free(copy);
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid), cmocka_unit_test(test_invalid), cmocka_unit_test(test_prefixes), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_members), cmocka_unit_test(test_lengths), cmocka_unit_test(test_long_pointers),
        cmocka_unit_test(test_framing), cmocka_unit_test(test_walk), cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
