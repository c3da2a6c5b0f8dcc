/* Headers of requests that make something: Prefer (RFC 7240), how long a caller wants to wait; Idempotency-Key. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include "api/call.h"

enum { WAIT_MAX_S = 600, KEY_MAX = 255 };

/* Unknown or unusable preferences are ignored. */
void call_prefer(struct call *c, uint64_t *wait_ms, char ret_applied[CALL_PREFERENCE])
{
    const char *s = http_header(c->http, "prefer", NULL);
    uint64_t seconds = 0;
    while (s && *s) {
        s += strspn(s, " \t,");
        size_t n = strcspn(s, ",;");
        struct mintd_str one = { s, n };
        while (one.n && one.p[one.n - 1] == ' ') one.n--;
        if (one.n == 13 && !strncasecmp(one.p, "respond-async", 13)) {
            *wait_ms = 0;
            snprintf(ret_applied, CALL_PREFERENCE, "respond-async");
            return;
        }
        if (one.n > 5 && !strncasecmp(one.p, "wait=", 5) && !str_u64((struct mintd_str){ one.p + 5, one.n - 5 }, &seconds)) {
            if (seconds > WAIT_MAX_S) seconds = WAIT_MAX_S;
            *wait_ms = seconds * 1000;
            snprintf(ret_applied, CALL_PREFERENCE, "wait=%" PRIu64, seconds);
        }
        s += strcspn(s, ",");
    }
}

bool call_idem_key(struct call *c, struct mintd_str *ret)
{
    unsigned n = 0;
    const char *key = http_header(c->http, "idempotency-key", &n);
    if (!n) return true;
    struct mintd_str given = str_of(key);
    bool ok = n == 1 && given.n && given.n <= KEY_MAX && key[0] != '~';
    for (size_t i = 0; ok && i < given.n; i++) ok = key[i] > 0x20 && key[i] < 0x7f;
    *ret = arena_str(c->mem, given);
    if (ok) return ret->n || (call_memory(c), false);
    call_problem(c, &(struct problem){ .status = 400, .code = "idempotency.key" },
                 "Idempotency-Key must be one value of 1 to 255 visible ASCII characters that does not begin with ~");
    return false;
}
