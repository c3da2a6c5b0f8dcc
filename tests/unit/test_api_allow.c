/* Whose address counts behind proxies, and whom an allow-list lets through. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "api/allow.h"

enum { LINES = 3 };
static const char *header(const void *arg, unsigned i)
{
    const char *const *lines = arg;
    return i < LINES ? lines[i] : NULL;
}

static struct net proxies[2];
static struct nets trusted = { proxies, 2 };

static int setup(void **state)
{
    (void)state;
    const char *why;
    return net_parse(S("10.0.0.0/8"), &proxies[0], &why) || net_parse(S("fd00::/8"), &proxies[1], &why);
}

static void expect(struct nets whom, const char *peer, const char *const lines[LINES], const char *wanted)
{
    struct ip from, found;
    char text[NET_TEXT];
    assert_int_equal(ip_parse(str_of(peer), &from), 0);
    int rc = allow_client(whom, &from, header, lines, &found);
    if (!wanted && rc != -EINVAL) fail_msg("%s from %s was believed", lines[0], peer);
    if (!wanted) return;
    if (rc) fail_msg("%s from %s was refused", lines[0] ? lines[0] : "nothing", peer);
    ip_print(&found, text);
    assert_string_equal(text, wanted);
}

static void test_who_counts(void **state)
{
    (void)state;
    static const struct { const char *peer, *lines[LINES], *wanted; } rows[] = {
        { "1.2.3.4", { "5.6.7.8" }, "1.2.3.4" },           /* whoever is no proxy is not believed */
        { "1.2.3.4", { "rubbish" }, "1.2.3.4" },
        { "10.0.0.1", { NULL }, "10.0.0.1" },
        { "10.0.0.1", { "5.6.7.8" }, "5.6.7.8" },
        { "::ffff:10.0.0.1", { "5.6.7.8" }, "5.6.7.8" },
        { "fd00::1", { "2001:db8::7" }, "2001:db8::7" },
        { "10.0.0.1", { "9.9.9.9, 5.6.7.8" }, "5.6.7.8" },                   /* what stands further left may be the caller's invention */
        { "10.0.0.1", { "rubbish, 5.6.7.8" }, "5.6.7.8" },
        { "10.0.0.1", { "9.9.9.9,5.6.7.8 , 10.0.0.2,10.0.0.3" }, "5.6.7.8" },
        { "10.0.0.1", { "10.0.0.3, 10.0.0.2" }, "10.0.0.3" },                /* proxies all the way */
        { "10.0.0.1", { "9.9.9.9", "5.6.7.8" }, "5.6.7.8" },                 /* a line of its own for each proxy */
        { "10.0.0.1", { "9.9.9.9", "5.6.7.8", "10.0.0.2" }, "5.6.7.8" },
        { "10.0.0.1", { "5.6.7.8:4711" }, "5.6.7.8" }, { "10.0.0.1", { "[2001:db8::7]:4711" }, "2001:db8::7" },
        { "10.0.0.1", { "[2001:db8::7]" }, "2001:db8::7" }, { "10.0.0.1", { "::ffff:5.6.7.8" }, "5.6.7.8" },
        { "10.0.0.1", { "" }, NULL }, { "10.0.0.1", { "unknown" }, NULL }, { "10.0.0.1", { "_hidden" }, NULL },
        { "10.0.0.1", { "5.6.7.8," }, NULL }, { "10.0.0.1", { "5.6.7.8, ,10.0.0.2" }, NULL }, { "10.0.0.1", { "," }, NULL },
        { "10.0.0.1", { "rubbish, 10.0.0.2" }, NULL }, { "10.0.0.1", { "5.6.7.8", "rubbish" }, NULL },
        { "10.0.0.1", { "5.6.7.8", "" }, NULL }, { "10.0.0.1", { "5.6.7.8 9.9.9.9" }, NULL }, { "10.0.0.1", { "5.6.7.8;9.9.9.9" }, NULL },
        { "10.0.0.1", { "5.6.7.8:" }, NULL }, { "10.0.0.1", { "5.6.7.8:x" }, NULL }, { "10.0.0.1", { "5.6.7.8:65536" }, NULL },
        { "10.0.0.1", { "[5.6.7.8]:1" }, NULL }, { "10.0.0.1", { "[::1" }, NULL }, { "10.0.0.1", { "[::1]x" }, NULL }, { "10.0.0.1", { "[]" }, NULL },
        { "10.0.0.1", { "::1%lo" }, NULL }, { "10.0.0.1", { "\"5.6.7.8\"" }, NULL }, { "10.0.0.1", { "for=5.6.7.8" }, NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) expect(trusted, rows[i].peer, rows[i].lines, rows[i].wanted);
}

static void test_without_proxies_nothing_is_believed(void **state)
{
    (void)state;
    const char *const lines[LINES] = { "5.6.7.8" };
    expect((struct nets){ NULL, 0 }, "10.0.0.1", lines, "10.0.0.1");
}

static void test_the_list(void **state)
{
    (void)state;
    struct ip in, out;
    assert_int_equal(ip_parse(S("10.1.1.1"), &in), 0);
    assert_int_equal(ip_parse(S("11.1.1.1"), &out), 0);
    assert_true(allow_has(trusted, &in));
    assert_false(allow_has(trusted, &out));
    assert_true(allow_has((struct nets){ NULL, 0 }, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_who_counts), cmocka_unit_test(test_without_proxies_nothing_is_believed),
        cmocka_unit_test(test_the_list) };
    return cmocka_run_group_tests(tests, setup, NULL);
}
