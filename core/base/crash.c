/* Crash points. Owns the list parsed once from MINTD_CRASH_AT. Any thread. */
#include "base/crash.h"

#ifdef MINTD_CRASH_POINTS
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"

enum { POINTS_MAX = 16 };
static struct point { struct mintd_str name; uint64_t nth; atomic_ullong passed; } points[POINTS_MAX];
static size_t n_points;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* name or name:n; false: malformed */
static bool parse_one(struct mintd_str text)
{
    const char *colon = memchr(text.p, ':', text.n);
    struct mintd_str name = { text.p, colon ? (size_t)(colon - text.p) : text.n };
    uint64_t nth = 1;
    if (colon && str_u64((struct mintd_str){ colon + 1, text.n - name.n - 1 }, &nth)) return false;
    if (!name.n || !nth || n_points == POINTS_MAX) return false;
    points[n_points].name = name;
    points[n_points].nth = nth;
    n_points++;
    return true;
}

static void parse(void)
{
    const char *p = getenv("MINTD_CRASH_AT");
    while (p && *p) {
        size_t n = strcspn(p, ",");
        if (!parse_one((struct mintd_str){ p, n })) {      /* a test that meant something else must not pass */
            log_error("MINTD_CRASH_AT is not a list of at most %d name:n: %s", POINTS_MAX, p);
            abort();
        }
        p += n + (p[n] == ',');
    }
}

void crash_point(const char *name)
{
    pthread_once(&once, parse);
    for (size_t i = 0; i < n_points; i++) {
        struct point *p = &points[i];
        if (str_eq(p->name, SZ(name)) && atomic_fetch_add(&p->passed, 1) + 1 == p->nth) raise(SIGKILL);
    }
}
#endif
