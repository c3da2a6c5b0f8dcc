/* Addresses and networks as text, and which holds which. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/net.h"

static struct ip ip(const char *text)
{
    struct ip a;
    if (ip_parse(str_of(text), &a)) fail_msg("%s is no address", text);
    return a;
}

static struct net net(const char *text)
{
    struct net n;
    const char *why;
    if (net_parse(str_of(text), &n, &why)) fail_msg("%s: %s", text, why);
    return n;
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct { const char *text, *printed; } good[] = {
        { "0.0.0.0", "0.0.0.0" }, { "255.255.255.255", "255.255.255.255" }, { "::", "::" }, { "::1", "::1" }, { "FE80::1", "fe80::1" },
        { "::ffff:10.1.2.3", "10.1.2.3" }, { "::ffff:a01:203", "10.1.2.3" }, { "2001:db8:0:0:0:0:0:1", "2001:db8::1" }, { "::10.1.2.3", "::10.1.2.3" },
    };
    static const char *const bad[] = { "", " ", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "0x1.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4:80",
        "[::1]", "::1%lo", ":::", "1::2::3", "12345::", "localhost", "::ffff:256.1.1.1", "1.2.3.4/32",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001" };
    char text[NET_TEXT];
    struct ip a;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        a = ip(good[i].text);
        ip_print(&a, text);
        assert_string_equal(text, good[i].printed);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (ip_parse(str_of(bad[i]), &a) != -EINVAL) fail_msg("\"%s\" was taken for an address", bad[i]);
    assert_int_equal(ip_parse((struct mintd_str){ "1.2.3.4\0", 8 }, &a), -EINVAL);
    assert_int_equal(ip_parse((struct mintd_str){ "1.2.3.45", 7 }, &a), 0);                /* no terminator is needed */
    ip_print(&a, text);
    assert_string_equal(text, "1.2.3.4");
}

static void test_bad_networks(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8 ",
        "10.0.0.0/8/8", "10.0.0.0/255.0.0.0", "10/8", "::/129", "::/1000", "::/0x1", "10.0.0.1/8", "10.0.0.0/4", "fd00::1/64", "fe80::/8", "::1/127" };
    const char *why;
    struct net n;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (net_parse(str_of(bad[i]), &n, &why) != -EINVAL) fail_msg("\"%s\" was taken for a network", bad[i]);
}

static void test_what_a_network_holds(void **state)
{
    (void)state;
    static const struct { const char *net, *in[4], *out[5]; } rows[] = {
        { "10.0.0.0/8", { "10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3" }, { "9.255.255.255", "11.0.0.0", "::10.1.2.3", "::a00:0", "fd00::" } },
        { "192.168.0.0/16", { "192.168.0.1", "192.168.255.255" }, { "192.167.255.255", "192.169.0.0" } },
        { "172.16.0.0/12", { "172.16.0.0", "172.31.255.255" }, { "172.15.255.255", "172.32.0.0" } },
        { "10.1.2.3", { "10.1.2.3" }, { "10.1.2.2", "10.1.2.4" } },
        { "10.1.2.2/31", { "10.1.2.2", "10.1.2.3" }, { "10.1.2.1", "10.1.2.4" } },
        { "0.0.0.0/0", { "0.0.0.0", "255.255.255.255" }, { "::", "::1", "ffff::" } },
        { "128.0.0.0/1", { "128.0.0.0", "255.0.0.1" }, { "127.255.255.255" } },
        { "::/0", { "::", "::1", "ffff::1", "::10.1.2.3" }, { "10.1.2.3", "::ffff:10.1.2.3" } },
        { "::ffff:10.0.0.0/104", { "10.0.0.0", "10.255.0.1" }, { "11.0.0.0", "::a00:0" } },
        { "::ffff:0:0/96", { "10.0.0.0", "0.0.0.1" }, { "::1", "::fffe:a00:0" } },
        { "fd00::/8", { "fd00::", "fdff::1" }, { "fc00::", "fe00::" } },
        { "2001:db8::/33", { "2001:db8:7fff::" }, { "2001:db8:8000::", "2001:db9::" } },
        { "::1", { "::1" }, { "::", "::2", "127.0.0.1" } },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct net n = net(rows[i].net);
        for (size_t k = 0; k < ARRAY_LEN(rows[i].in) && rows[i].in[k]; k++) {
            struct ip a = ip(rows[i].in[k]);
            if (!net_has(&n, &a)) fail_msg("%s is not in %s", rows[i].in[k], rows[i].net);
        }
        for (size_t k = 0; k < ARRAY_LEN(rows[i].out) && rows[i].out[k]; k++) {
            struct ip a = ip(rows[i].out[k]);
            if (net_has(&n, &a)) fail_msg("%s is in %s", rows[i].out[k], rows[i].net);
        }
    }
}

static void test_lists(void **state)
{
    (void)state;
    struct net list[] = { net("10.0.0.0/8"), net("fd00::/8") };
    struct ip in = ip("fd00::7"), out = ip("11.0.0.1");
    assert_true(net_any(list, 2, &in));
    assert_false(net_any(list, 2, &out));
    assert_false(net_any(list, 0, &in));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_addresses), cmocka_unit_test(test_bad_networks),
        cmocka_unit_test(test_what_a_network_holds), cmocka_unit_test(test_lists) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
