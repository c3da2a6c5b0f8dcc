/* The header Prefer (RFC 7240): how long a caller wants to wait. Pure but for the header. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include "api/call.h"

enum { WAIT_MAX_S = 600 };

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
