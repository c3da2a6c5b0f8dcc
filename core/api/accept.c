/* Accept, Accept-Encoding, If-None-Match: see accept.h. Calls nothing. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "api/accept.h"

static const char SPACE[] = " \t";
enum { Q_ONE = 1000 };

/* One element of a list: [name_n bytes] and its weight. Returns where the next begins. */
struct range { const char *name; size_t n; int q; };

static int weight(const char *p, const char *end)
{
    double q = strtod(p, NULL);
    return p >= end || !(q >= 0) ? 0 : q >= 1 ? Q_ONE : (int)(q * Q_ONE + 0.5);
}

/* As strcspn, but what stands in quotes stops nothing. */
static size_t span(const char *p, const char *stops)
{
    size_t n = 0;
    bool quoted = false;
    for (; p[n] && (quoted || !strchr(stops, p[n])); n++)
        if (p[n] == '"') quoted = !quoted;
    return n;
}

static const char *next_range(const char *p, struct range *ret)
{
    p += strspn(p, ", \t");
    const char *end = p + span(p, ","), *param = p + span(p, ",;");
    *ret = (struct range){ p, (size_t)(param - p), Q_ONE };
    while (ret->n && strchr(SPACE, p[ret->n - 1])) ret->n--;
    while (param < end) {
        param += 1 + strspn(param + 1, SPACE);
        if (end - param >= 2 && (*param | 0x20) == 'q' && param[1] == '=') ret->q = weight(param + 2, end);
        param += span(param, ",;");
    }
    return end;
}

/* 0: it does not fit; the more exactly it names the type, the more */
static int fits(const struct range *r, const char *type)
{
    size_t major = strcspn(type, "/") + 1;
    if (r->n == 3 && !strncmp(r->name, "*/*", 3)) return 1;
    if (r->n == major + 1 && r->name[major] == '*') return strncasecmp(r->name, type, major) ? 0 : 2;
    return r->n == strlen(type) && !strncasecmp(r->name, type, r->n) ? 3 : 0;
}

/* What the list says of one type: the most exact range decides. -1: nothing */
static int quality(const char *header, const char *type)
{
    int best = 0, q = -1;
    struct range r;
    for (const char *p = header; *p;) {
        p = next_range(p, &r);
        int how = r.n ? fits(&r, type) : 0;
        if (how <= best) continue;
        best = how;
        q = r.q;
    }
    return q;
}

int accept_type(const char *header, const char *const *types, size_t n)
{
    int best = 0, place = -1;
    if (!header || !header[strspn(header, ", \t")]) return 0;
    for (size_t i = 0; i < n; i++) {
        int q = quality(header, types[i]);
        if (q <= best) continue;
        best = q;
        place = (int)i;
    }
    return place;
}

bool accept_gzip(const char *header)
{
    int named = -1, any = -1;
    struct range r;
    for (const char *p = header ? header : ""; *p;) {
        p = next_range(p, &r);
        if ((r.n == 4 && !strncasecmp(r.name, "gzip", 4)) || (r.n == 6 && !strncasecmp(r.name, "x-gzip", 6))) named = r.q;
        if (r.n == 1 && *r.name == '*') any = r.q;
    }
    return named >= 0 ? named > 0 : any > 0;
}

static const char *opaque(const char *tag) { return !strncmp(tag, "W/", 2) ? tag + 2 : tag; }

bool accept_known(const char *header, const char *tag)
{
    const char *want = opaque(tag);
    size_t n = strlen(want);
    for (const char *p = header ? header : ""; *p;) {
        p += strspn(p, ", \t");
        if (*p == '*') return true;
        p = opaque(p);
        if (!strncmp(p, want, n)) return true;
        const char *quote = *p == '"' ? strchr(p + 1, '"') : NULL;         /* a tag may hold a comma */
        p = quote ? quote + 1 : p + strcspn(p, ",");
    }
    return false;
}
