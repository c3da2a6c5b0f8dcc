/* Templates: a list of literal and field segments over one copy of the text. Owns its segments. */
#include "pipe/template.h"

#include <errno.h>
#include <stdlib.h>

enum { FIELD_MAX = 64 };
struct segment { struct mintd_str text; bool field; };
struct template { uint32_t n; struct segment *seg; char text[]; };

static int add(struct template *t, struct mintd_str s, bool field)
{
    if (!s.n && !field) return 0;
    struct segment *seg = realloc(t->seg, (t->n + 1) * sizeof *seg);
    if (!seg) return -ENOMEM;
    t->seg = seg;
    t->seg[t->n++] = (struct segment){ s, field };
    return 0;
}

static struct mintd_str trim(struct mintd_str s)
{
    while (s.n && s.p[0] == ' ') { s.p++; s.n--; }
    while (s.n && s.p[s.n - 1] == ' ') s.n--;
    return s;
}

static int parse(struct template *t, struct mintd_str rest, const char **ret_why)
{
    for (;;) {
        const char *open = rest.n ? memmem(rest.p, rest.n, "{{", 2) : NULL;
        const char *close = rest.n ? memmem(rest.p, rest.n, "}}", 2) : NULL;
        if (!open) return add(t, rest, false);
        if (!close || close < open) { *ret_why = "braces do not match"; return -EINVAL; }
        struct mintd_str name = trim((struct mintd_str){ open + 2, (size_t)(close - open) - 2 });
        if (!name.n || name.n > FIELD_MAX || memchr(name.p, '{', name.n)) {
            *ret_why = "a field name is empty, too long or contains a brace";
            return -EINVAL;
        }
        int r = add(t, (struct mintd_str){ rest.p, (size_t)(open - rest.p) }, false);
        if (!r) r = add(t, name, true);
        if (r) return r;
        rest.n -= (size_t)(close + 2 - rest.p);
        rest.p = close + 2;
    }
}

int template_new(struct mintd_str text, struct template **ret, const char **ret_why)
{
    struct template *t = calloc(1, sizeof *t + text.n);
    *ret_why = "no memory";
    if (!t) return -ENOMEM;
    if (text.n) memcpy(t->text, text.p, text.n);
    int r = parse(t, (struct mintd_str){ t->text, text.n }, ret_why);
    if (r) { template_free(t); return r; }
    *ret = t;
    return 0;
}

struct template *template_free(struct template *t)
{
    if (t) free(t->seg);
    free(t);
    return NULL;
}

static void add_escaped(struct buf *out, struct mintd_str value)
{
    struct buf quoted = { 0 };
    buf_json(&quoted, value);
    if (quoted.bad || quoted.n < 2) out->bad = true;
    else buf_add(out, quoted.p + 1, quoted.n - 2);
    buf_free(&quoted);
}

int template_fill(const struct template *t, bool json, template_lookup *lookup, void *arg, struct buf *out,
                  struct mintd_str *ret_missing)
{
    for (uint32_t i = 0; i < t->n; i++) {
        struct mintd_str value = t->seg[i].text;
        if (!t->seg[i].field) { buf_str(out, value); continue; }
        if (lookup(arg, t->seg[i].text, &value)) { *ret_missing = t->seg[i].text; return -ENOENT; }
        if (json) add_escaped(out, value);
        else buf_str(out, value);
    }
    return out->bad ? -ENOMEM : 0;
}
