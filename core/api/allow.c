/* The address that counts: see allow.h. Loop thread. */
#include <errno.h>
#include "api/allow.h"

enum { LINES_MAX = 100 };                      /* a request has no more headers than that */

static struct mintd_str trim(struct mintd_str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

/* "10.1.2.3", "fd00::1"; also with a port, as some proxies write it: "10.1.2.3:80", "[fd00::1]:80" */
static int read_address(struct mintd_str s, struct ip *ret)
{
    const char *close = s.n && s.p[0] == '[' ? memchr(s.p, ']', s.n) : NULL, *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    struct mintd_str port = { NULL, 0 };
    uint64_t number = 0;
    if (close) {
        port = (struct mintd_str){ close + 1, s.n - (size_t)(close + 1 - s.p) };
        s = (struct mintd_str){ s.p + 1, (size_t)(close - s.p) - 1 };
        if (!memchr(s.p, ':', s.n)) return -EINVAL;
    } else if (colon && !memchr(colon + 1, ':', s.n - (size_t)(colon + 1 - s.p))) {
        port = (struct mintd_str){ colon, s.n - (size_t)(colon - s.p) };
        s.n = (size_t)(colon - s.p);
    }
    if (port.n && (port.p[0] != ':' || str_u64((struct mintd_str){ port.p + 1, port.n - 1 }, &number) || number > 65535)) return -EINVAL;
    return ip_parse(s, ret);
}

/* One header line from its right end. 1: found, 0: all of it are proxies, -EINVAL */
static int search(struct nets proxies, struct mintd_str line, struct ip *ret)
{
    while (true) {
        const char *comma = line.n ? memrchr(line.p, ',', line.n) : NULL;
        size_t from = comma ? (size_t)(comma + 1 - line.p) : 0;
        if (read_address(trim((struct mintd_str){ line.p + from, line.n - from }), ret)) return -EINVAL;
        if (!net_any(proxies.list, proxies.n, ret)) return 1;
        if (!comma) return 0;
        line.n = from - 1;
    }
}

int allow_client(struct nets proxies, const struct ip *peer, allow_header_fn *header, const void *arg, struct ip *ret)
{
    unsigned n = 0;
    *ret = *peer;
    if (!net_any(proxies.list, proxies.n, peer)) return 0;
    while (n < LINES_MAX && header(arg, n)) n++;
    while (n--) {
        int rc = search(proxies, str_of(header(arg, n)), ret);
        if (rc) return rc < 0 ? rc : 0;
    }
    return 0;
}

bool allow_has(struct nets allow, const struct ip *a) { return !allow.n || net_any(allow.list, allow.n, a); }
