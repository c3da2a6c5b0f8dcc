/* Addresses and networks: see net.h. Calls str.h. Any thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include "base/net.h"

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

bool ip_is_v4(const struct ip *a) { return !memcmp(a->b, mapped, sizeof mapped); }

int ip_parse(struct mintd_str s, struct ip *ret)
{
    char text[NET_TEXT];
    struct ip a = { { 0 } };
    if (!s.n || s.n >= sizeof text || memchr(s.p, 0, s.n)) return -EINVAL;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    memcpy(a.b, mapped, sizeof mapped);
    if (inet_pton(AF_INET, text, a.b + 12) != 1 && inet_pton(AF_INET6, text, a.b) != 1) return -EINVAL;
    *ret = a;
    return 0;
}

void ip_print(const struct ip *a, char ret[NET_TEXT])
{
    bool v4 = ip_is_v4(a);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->b + 12 : a->b, ret, NET_TEXT)) snprintf(ret, NET_TEXT, "unknown");
}

/* Is every bit from `bits` on zero? */
static bool is_base(const struct ip *a, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++)
        if (a->b[i / 8] >> (7 - i % 8) & 1) return false;
    return true;
}

static int prefix(struct mintd_str s, unsigned max, unsigned *ret)
{
    uint64_t n = 0;
    if (!s.n || s.n > 3 || (s.n > 1 && s.p[0] == '0') || str_u64(s, &n) || n > max) return -EINVAL;
    *ret = (unsigned)n;
    return 0;
}

int net_parse(struct mintd_str s, struct net *ret, const char **ret_why)
{
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    struct mintd_str address = { s.p, slash ? (size_t)(slash - s.p) : s.n };
    struct ip a;
    *ret_why = "is no network: write it as in 10.0.0.0/8 or fd00::/8";
    if (ip_parse(address, &a)) return -EINVAL;
    bool dotted = !memchr(address.p, ':', address.n);      /* its prefix counts from the first of 32 bits, not of 128 */
    unsigned max = dotted ? 32 : 128, bits = max;
    if (slash && prefix((struct mintd_str){ slash + 1, s.n - address.n - 1 }, max, &bits)) return -EINVAL;
    bits += dotted ? 96 : 0;
    *ret_why = "has bits behind its prefix: write the network's own address";
    if (!is_base(&a, bits)) return -EINVAL;
    *ret = (struct net){ a, (uint8_t)bits };
    return 0;
}

static bool is_v4_net(const struct net *n) { return n->bits >= 96 && ip_is_v4(&n->ip); }

bool net_has(const struct net *n, const struct ip *a)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (is_v4_net(n) != ip_is_v4(a) || memcmp(n->ip.b, a->b, whole)) return false;
    return !rest || (n->ip.b[whole] ^ a->b[whole]) >> (8 - rest) == 0;
}

bool net_any(const struct net *list, uint32_t n, const struct ip *a)
{
    for (uint32_t i = 0; i < n; i++)
        if (net_has(&list[i], a)) return true;
    return false;
}
