/* One section checked against one table of options: types, units, ranges, defaults, secrets. The same for the core and for
 * plugins. Owns a conf_opts: its arena, and its secrets in guarded memory. Calls base/ only. Loop thread. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf_int.h"

struct check {                                             /* one section on its way through its table */
    const struct tree *tree;
    struct conf_opts *opts;
    struct conf_errors *errs;
    const struct mintd_opt *opt;
    const struct node *node;                               /* the value looked at */
    bool no_memory;
};

bool opts_is_list(const struct mintd_opt *o) { return !strncmp(o->type, "list:", 5); }

bool opts_is(const struct mintd_opt *o, const char *type)
{
    return !strcmp(opts_is_list(o) ? o->type + 5 : o->type, type);
}

bool opts_is_number(const struct mintd_opt *o)
{
    return opts_is(o, "int") || opts_is(o, "bool") || opts_is(o, "duration") || opts_is(o, "size") || opts_is(o, "amount");
}

/* ---- errors of one value: "NAME in WHAT: why" */
static bool refuse(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(struct check *c, const char *fmt, ...)
{
    char why[768];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    const char *what = c->opts->what;
    conf_error(c->errs, c->node->file, c->node->line, "%s%s%s: %s", c->opt->name, *what ? " in " : "", what, why);
    return false;
}

static const char *wanted(const struct mintd_opt *o)
{
    if (opts_is(o, "int")) return "an integer";
    if (opts_is(o, "bool")) return "true or false";
    if (opts_is(o, "duration")) return "a duration like \"5s\"";
    if (opts_is(o, "size")) return "a size like \"64 KiB\"";
    return opts_is(o, "amount") ? "an amount as a string" : "a string";
}

static bool wrong_type(struct check *c)
{
    const char *found = node_type_name(c->node);
    if (c->node->type != NODE_INT || !opts_is_number(c->opt)) return refuse(c, "expected %s, found %s", wanted(c->opt), found);
    if (opts_is(c->opt, "bool")) return refuse(c, "expected true or false, found %lld", (long long)c->node->num);
    if (c->node->num < 0) return refuse(c, "%lld is negative", (long long)c->node->num);
    char unit[64];
    const char *sample = opts_is(c->opt, "duration") ? "s" : opts_is(c->opt, "size") ? " MiB" : unit;
    if (sample == unit) {
        unit[0] = ' ';
        if (!*unit_first(c->opt->choices, unit + 1, sizeof unit - 1)) unit[0] = '\0';
    }
    return refuse(c, "%lld has no unit, write \"%lld%s\"", (long long)c->node->num, (long long)c->node->num, sample);
}

/* ---- values by type */
static bool has_range(const struct mintd_opt *o) { return o->min != o->max; }

static void print_number(const struct mintd_opt *o, int64_t n, struct buf *b)
{
    if (opts_is(o, "duration")) unit_print_duration(b, n);
    else if (opts_is(o, "size")) unit_print_size(b, n);
    else if (opts_is(o, "bool")) buf_puts(b, n ? "true" : "false");
    else buf_printf(b, "%lld", (long long)n);
}

static bool in_range(struct check *c, int64_t n)
{
    const struct mintd_opt *o = c->opt;
    if (!has_range(o) || (n >= o->min && n <= o->max)) return true;
    struct buf range = { 0 };
    print_number(o, n, &range);
    buf_puts(&range, " is out of range, ");
    print_number(o, o->min, &range);
    buf_puts(&range, " to ");
    print_number(o, o->max, &range);
    refuse(c, STR_FMT " allowed", STR_ARG(buf_view(&range)));
    buf_free(&range);
    return false;
}

static int parse_int(struct mintd_str s, int64_t *ret)
{
    uint64_t n;
    bool negative = s.n && s.p[0] == '-';
    int r = str_u64(negative ? (struct mintd_str){ s.p + 1, s.n - 1 } : s, &n);
    if (!r && n > INT64_MAX) r = -ERANGE;
    if (!r) *ret = negative ? -(int64_t)n : (int64_t)n;
    return r;
}

static int parse_bool(struct mintd_str s, int64_t *ret)
{
    if (!str_eq(s, S("true")) && !str_eq(s, S("false"))) return -EINVAL;
    *ret = str_eq(s, S("true"));
    return 0;
}

static int parse_number(const struct mintd_opt *o, struct mintd_str s, int64_t *ret)
{
    if (opts_is(o, "int")) return parse_int(s, ret);
    if (opts_is(o, "bool")) return parse_bool(s, ret);
    if (opts_is(o, "duration")) return conf_parse_duration(s, ret);
    if (opts_is(o, "size")) return conf_parse_size(s, ret);
    return conf_parse_amount(s, o->choices, ret);
}

static bool not_a_number(struct check *c, struct mintd_str s, int r)
{
    char unit[64];
    const struct mintd_opt *o = c->opt;
    if (r == -ERANGE) return refuse(c, "\"" STR_FMT "\" is too large", STR_ARG(s));
    if (s.n > 1 && s.p[0] == '-') return refuse(c, "\"" STR_FMT "\" is negative", STR_ARG(s));
    if (opts_is(o, "duration")) return refuse(c, "\"" STR_FMT "\" is not a duration, write a number and ms, s, m, h or d", STR_ARG(s));
    if (opts_is(o, "size")) return refuse(c, "\"" STR_FMT "\" is not a size, write a number and B, KiB, MiB, GiB, KB, MB or GB", STR_ARG(s));
    if (!opts_is(o, "amount")) return refuse(c, "expected %s, found \"" STR_FMT "\"", wanted(o), STR_ARG(s));
    if (!*unit_first(o->choices, unit, sizeof unit))
        return refuse(c, "\"" STR_FMT "\" is not an amount, write whole smallest units as in \"5000\"", STR_ARG(s));
    return refuse(c, "\"" STR_FMT "\" is not an amount, write it as in \"2 %s\" (units: %s)", STR_ARG(s), unit, o->choices);
}

static bool take_number(struct check *c, struct value *v)
{
    const struct node *n = c->node;
    const struct mintd_opt *o = c->opt;
    bool text = n->type == NODE_TEXT || (n->type == NODE_STR && !opts_is(o, "int") && !opts_is(o, "bool"));
    bool direct = (n->type == NODE_INT && (opts_is(o, "int") || n->num == 0)) || (n->type == NODE_BOOL && opts_is(o, "bool"));
    if (direct && n->type == NODE_INT && opts_is(o, "bool")) direct = false;
    if (!text && !direct) return wrong_type(c);
    if (text) {
        int r = parse_number(o, n->str, &v->num);
        if (r) return not_a_number(c, n->str, r);
        v->str = n->str;
        v->quoted = !opts_is(o, "int") && !opts_is(o, "bool");
    } else v->num = n->num;
    return in_range(c, v->num);
}

static bool check_enum(struct check *c)
{
    struct nearest near = { .wanted = c->node->str };
    char list[256] = "", hint[128];
    size_t used = 0;
    for (const char *p = c->opt->choices; p && *p;) {
        size_t n = strcspn(p, "|");
        struct mintd_str one = { p, n };
        if (str_eq(one, c->node->str)) return true;
        nearest_try(&near, one);
        int w = snprintf(list + used, sizeof list - used, "%s" STR_FMT, used ? ", " : "", STR_ARG(one));
        if (w > 0 && (size_t)w < sizeof list - used) used += (size_t)w;
        p += n + (p[n] == '|');
    }
    return refuse(c, "\"" STR_FMT "\" is none of %s%s", STR_ARG(c->node->str), list, nearest_hint(&near, hint, sizeof hint));
}

/* //user:password@host */
static bool has_password(struct mintd_str rest)
{
    if (!str_starts(rest, S("//"))) return false;
    const char *p = rest.p + 2, *end = rest.p + rest.n, *slash = memchr(p, '/', (size_t)(end - p));
    if (slash) end = slash;
    const char *at = memrchr(p, '@', (size_t)(end - p));
    return at && memchr(p, ':', (size_t)(at - p));
}

static bool check_url(struct check *c)
{
    struct mintd_str s = c->node->str;
    size_t i = 0;
    while (i < s.n && ((s.p[i] >= 'a' && s.p[i] <= 'z') || (i && strchr("0123456789+-.", s.p[i])))) i++;
    bool good = i && i + 1 < s.n && s.p[i] == ':';
    if (good && has_password((struct mintd_str){ s.p + i + 1, s.n - i - 1 }))
        return refuse(c, "a URL must not hold a password");
    for (; good && i < s.n; i++) good = (unsigned char)s.p[i] > ' ' && s.p[i] != 0x7f;
    return good || refuse(c, "not a URL: it needs a scheme like http:// and has no blanks");  /* it may hold a password: not shown */
}

/* "instance/key" */
static bool check_key(struct check *c)
{
    struct mintd_str s = c->node->str;
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    if (!slash || slash == s.p || slash + 1 == s.p + s.n)
        return refuse(c, "\"" STR_FMT "\" is not a key, write \"instance/key\"", STR_ARG(s));
    if (!c->tree) return true;
    struct mintd_str name = { s.p, (size_t)(slash - s.p) };
    const struct node *instances = node_find(c->tree->root, S("instances"));
    if (node_find(instances, name)) return true;
    struct nearest near = { .wanted = name };
    char hint[128];
    for (const struct node *n = instances ? instances->first : NULL; n; n = n->next) nearest_try(&near, SZ(n->name));
    return refuse(c, "there is no instance \"" STR_FMT "\"%s", STR_ARG(name), nearest_hint(&near, hint, sizeof hint));
}

static bool take_path(struct check *c, struct value *v)
{
    struct mintd_str s = c->node->str;
    if (!s.n) return refuse(c, "the path is empty");
    bool join = s.p[0] != '/' && c->tree && c->tree->state_dir.n;
    if (s.n + (join ? c->tree->state_dir.n + 1 : 0) >= PATH_MAX) return refuse(c, "the path is too long");
    v->str = s;
    if (!join) return true;
    v->str = arena_printf(c->opts->mem, STR_FMT "/" STR_FMT, STR_ARG(c->tree->state_dir), STR_ARG(s));
    c->no_memory |= !v->str.n;
    return true;
}

static bool take_text(struct check *c, struct value *v)
{
    char why[PATH_MAX + 256];
    if (c->node->type != NODE_STR && c->node->type != NODE_TEXT) return wrong_type(c);
    v->quoted = true;
    if (!str_utf8(c->node->str)) return refuse(c, "the string is not UTF-8");
    if (opts_is(c->opt, "path")) return take_path(c, v);
    if (opts_is(c->opt, "secret"))
        return !secret_resolve(c->tree, c->node->str, &v->str, why, sizeof why) || refuse(c, "%s", why);
    v->str = c->node->str;
    if (opts_is(c->opt, "enum")) return check_enum(c);
    if (opts_is(c->opt, "url")) return check_url(c);
    return !opts_is(c->opt, "key") || check_key(c);
}

static bool take_value(struct check *c, const struct node *n, struct slot *s)
{
    c->node = n;
    struct value *v = &s->v[s->n];
    bool good = opts_is_number(c->opt) ? take_number(c, v) : take_text(c, v);
    if (good) s->n++;
    return good;
}

/* ---- one option */
static bool take_list(struct check *c, const struct node *n, struct slot *s)
{
    uint32_t count = node_count(n);
    c->node = n;
    if (n->type != NODE_LIST) return refuse(c, "expected a list, found %s", node_type_name(n));
    s->v = arena_array(c->opts->mem, count ? count : 1, sizeof *s->v);
    if (!s->v) return !(c->no_memory = true);
    bool good = true;
    for (const struct node *e = n->first; e; e = e->next) good &= take_value(c, e, s);
    return good;
}

static struct mintd_str trim(struct mintd_str s)
{
    while (s.n && strchr(" \t", s.p[0])) s.p++, s.n--;
    while (s.n && strchr(" \t", s.p[s.n - 1])) s.n--;
    if (s.n > 1 && s.p[0] == '"' && s.p[s.n - 1] == '"') s.p++, s.n -= 2;
    return s;
}

/* Of a default or the environment: [ "a", "b" ] or a, b */
static bool take_text_list(struct check *c, const struct node *n, struct slot *s)
{
    struct node list = { .type = NODE_LIST, .file = n->file, .line = n->line }, *e = NULL;
    struct mintd_str text = n->str;
    text = trim(text);
    if (text.n > 1 && strchr("[(", text.p[0])) text.p++, text.n -= 2;
    while (trim(text).n) {
        const char *comma = memchr(text.p, ',', text.n);
        size_t len = comma ? (size_t)(comma - text.p) : text.n;
        struct node *now = arena_alloc(c->opts->mem, sizeof *now);
        if (!now) return !(c->no_memory = true);
        *now = (struct node){ .type = NODE_TEXT, .str = trim((struct mintd_str){ text.p, len }), .file = n->file, .line = n->line };
        if (e) e->next = now;
        else list.first = now;
        e = now;
        text.p += len + (comma ? 1 : 0);
        text.n -= len + (comma ? 1 : 0);
    }
    return take_list(c, &list, s);
}

static bool take_one(struct check *c, const struct node *n, struct slot *s)
{
    s->v = arena_alloc(c->opts->mem, sizeof *s->v);
    if (!s->v) return !(c->no_memory = true);
    return take_value(c, n, s);
}

static void take_option(struct check *c, const struct node *group, struct slot *s)
{
    const struct mintd_opt *o = c->opt = s->opt;
    const struct node *n = node_find(group, SZ(o->name));
    if (n) {
        s->file = n->file;
        s->line = n->line;
        s->set = !opts_is_list(o) ? take_one(c, n, s) : n->type == NODE_TEXT ? take_text_list(c, n, s) : take_list(c, n, s);
        return;
    }
    struct node dflt = { .type = NODE_TEXT, .str = trim(SZ(o->dflt)) };
    if (o->dflt) s->set = opts_is_list(o) ? take_text_list(c, &dflt, s) : take_one(c, &dflt, s);
    else if (o->flags & MINTD_REQUIRED)
        conf_error(c->errs, c->opts->file, c->opts->line, "required option \"%s\" is missing%s%s", o->name, *c->opts->what ? " in " : "",
                   c->opts->what);
}

/* ---- the section */
static bool named(const char *const *groups, const char *name)
{
    for (; groups && *groups; groups++)
        if (!strcmp(*groups, name)) return true;
    return false;
}

static void unknown_name(struct check *c, const struct node *n, const char *const *groups)
{
    const struct conf_opts *o = c->opts;
    struct nearest near = { .wanted = SZ(n->name) };
    char hint[128];
    for (uint32_t i = 0; i < o->n; i++) nearest_try(&near, SZ(o->slots[i].opt->name));
    for (; groups && *groups; groups++) nearest_try(&near, SZ(*groups));
    conf_error(c->errs, n->file, n->line, "unknown option \"%.64s\"%s%s%s", n->name, *o->what ? " in " : "", o->what,
               nearest_hint(&near, hint, sizeof hint));
}

static void check_names(struct check *c, const struct node *group, const char *const *groups)
{
    for (const struct node *n = group->first; n; n = n->next) {
        bool known = named(groups, n->name);
        for (uint32_t i = 0; i < c->opts->n && !known; i++) known = !strcmp(c->opts->slots[i].opt->name, n->name);
        if (!known) unknown_name(c, n, groups);
    }
}

static struct conf_opts *opts_alloc(const struct conf_section *section, const char *what, const struct mintd_opt *table, uint32_t n)
{
    struct arena *mem = arena_new(0);
    struct conf_opts *o = mem ? arena_alloc(mem, sizeof *o) : NULL;
    if (o) {
        o->mem = mem;
        o->n = n;
        o->what = arena_cstr(mem, SZ(what ? what : ""));
        o->slots = arena_array(mem, n ? n : 1, sizeof *o->slots);
        o->file = section ? section->group->file : NULL;
        o->line = section ? section->group->line : 0;
    }
    if (!o || !o->what || !o->slots) {
        arena_free(mem);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) o->slots[i].opt = &table[i];
    return o;
}

int opts_check(const struct conf_section *section, const char *what, const struct mintd_opt *table, uint32_t n, const char *const *groups,
               struct conf_errors *errs, struct conf_opts **ret)
{
    uint32_t before = errs->n;
    struct check c = { .tree = section ? section->tree : NULL, .errs = errs, .opts = opts_alloc(section, what, table, n) };
    if (!c.opts) return -ENOMEM;
    const struct node *group = section ? section->group : NULL;
    if (group) check_names(&c, group, groups);
    for (uint32_t i = 0; i < n && !c.no_memory; i++) take_option(&c, group, &c.opts->slots[i]);
    int r = c.no_memory ? -ENOMEM : errs->n != before ? -EINVAL : 0;
    if (r) conf_opts_free(c.opts);
    else *ret = c.opts;
    return r;
}

int conf_opts_new(const struct conf_section *section, const char *what, const struct mintd_opt *table, uint32_t n,
                  struct conf_errors *errs, struct conf_opts **ret)
{
    return opts_check(section, what, table, n, NULL, errs, ret);
}

struct conf_opts *conf_opts_free(struct conf_opts *o)
{
    for (uint32_t i = 0; o && i < o->n; i++)
        for (uint32_t k = 0; opts_is(o->slots[i].opt, "secret") && k < o->slots[i].n; k++) secret_free(o->slots[i].v[k].str);
    if (o) arena_free(o->mem);
    return NULL;
}

/* ---- reading */
static const struct slot *slot_of(const struct conf_opts *o, const char *name)
{
    for (uint32_t i = 0; i < o->n; i++)
        if (!strcmp(o->slots[i].opt->name, name)) return &o->slots[i];
    fprintf(stderr, "mintd: bug: no option %s in %s\n", name, o->what);
    abort();
}

static const struct slot *typed_slot(const struct conf_opts *o, const char *name, bool number)
{
    const struct slot *s = slot_of(o, name);
    if (opts_is_number(s->opt) == number) return s;
    fprintf(stderr, "mintd: bug: option %s in %s is %s number\n", name, o->what, number ? "no" : "a");
    abort();
}

int conf_opt_str(const struct conf_opts *o, const char *name, uint32_t i, struct mintd_str *ret)
{
    const struct slot *s = typed_slot(o, name, false);
    if (!s->set || i >= s->n) return -ENOENT;
    *ret = s->v[i].str;
    return 0;
}

int conf_opt_i64(const struct conf_opts *o, const char *name, uint32_t i, int64_t *ret)
{
    const struct slot *s = typed_slot(o, name, true);
    if (!s->set || i >= s->n) return -ENOENT;
    *ret = s->v[i].num;
    return 0;
}

bool conf_opt_has(const struct conf_opts *o, const char *name) { return slot_of(o, name)->set; }

void conf_opt_error(const struct conf_opts *o, const char *name, const char *why, struct conf_errors *errs)
{
    const struct slot *s = slot_of(o, name);
    bool written = s->file;
    conf_error(errs, written ? s->file : o->file, written ? s->line : o->line, "%s%s%s: %s", name, *o->what ? " in " : "", o->what, why);
}

static bool same_slot(const struct slot *a, const struct slot *b)
{
    bool same = a->set == b->set && a->n == b->n && !strcmp(a->opt->name, b->opt->name) && !strcmp(a->opt->type, b->opt->type);
    for (uint32_t i = 0; same && i < a->n; i++)
        same = opts_is_number(a->opt) ? a->v[i].num == b->v[i].num : str_eq(a->v[i].str, b->v[i].str);
    return same;
}

bool conf_opts_equal(const struct conf_opts *a, const struct conf_opts *b, uint64_t flags_mask, const char **ret_first_diff)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const struct mintd_opt *opt = a->slots[i].opt;
        if (flags_mask && !(opt->flags & flags_mask)) continue;
        if (i < b->n && same_slot(&a->slots[i], &b->slots[i])) continue;
        *ret_first_diff = opt->name;
        return false;
    }
    return true;
}
