/* Settings as text: the effective values with their origins (mintd -T) and option tables (mintd --describe). Secrets are never
 * printed. Owns nothing. Calls base/ only. Loop thread. */
#include <stddef.h>
#include <stdio.h>

#include "conf/conf_int.h"

enum { TAB = 2, DEPTH = 8 };

static void pad(struct buf *b, int n) { buf_printf(b, "%*s", n > 0 ? n : 0, ""); }

/* As libconfig reads it back */
static void print_quoted(struct buf *b, struct mintd_str s)
{
    static const char from[] = "\"\\\n\r\t\f", to[] = "\"\\nrtf";
    buf_puts(b, "\"");
    for (size_t i = 0; i < s.n; i++) {
        const char *at = s.p[i] ? strchr(from, s.p[i]) : NULL;
        if (at) buf_printf(b, "\\%c", to[at - from]);
        else if ((unsigned char)s.p[i] < ' ') buf_printf(b, "\\x%02x", (unsigned)(unsigned char)s.p[i]);
        else buf_add(b, &s.p[i], 1);
    }
    buf_puts(b, "\"");
}

static void print_origin(struct buf *b, const char *file, unsigned line)
{
    if (!file) buf_puts(b, ";  # default\n");
    else if (line) buf_printf(b, ";  # %s:%u\n", file, line);
    else buf_printf(b, ";  # %s\n", file);
}

static void print_value(const struct mintd_opt *o, const struct value *v, struct buf *b)
{
    if (opts_is(o, "secret")) buf_puts(b, "\"***\"");
    else if (v->quoted) print_quoted(b, v->str);
    else if (opts_is(o, "bool")) buf_puts(b, v->num ? "true" : "false");
    else buf_printf(b, "%lld", (long long)v->num);
}

static void print_slot(const struct slot *s, struct buf *b, int indent)
{
    bool list = opts_is_list(s->opt);
    if (!s->set) return;
    pad(b, indent);
    buf_printf(b, "%s = %s", s->opt->name, list ? "( " : "");
    for (uint32_t i = 0; i < s->n; i++) {
        if (i) buf_puts(b, ", ");
        print_value(s->opt, &s->v[i], b);
    }
    if (list) buf_puts(b, s->n ? " )" : ")");
    print_origin(b, s->file, s->line);
}

void conf_opts_print(const struct conf_opts *o, struct buf *b, int indent)
{
    for (uint32_t i = 0; i < o->n; i++) print_slot(&o->slots[i], b, indent);
}

/* ---- what no table describes here: a plugin's options as they were written */
static void print_scalar(const struct node *n, struct buf *b)
{
    if (n->type == NODE_STR || n->type == NODE_TEXT) print_quoted(b, n->str);
    else if (n->type == NODE_BOOL) buf_puts(b, n->num ? "true" : "false");
    else buf_printf(b, "%lld", (long long)n->num);
}

static void print_list(const struct node *list, struct buf *b)
{
    buf_puts(b, "(");
    for (const struct node *n = list->first; n; n = n->next) {
        buf_puts(b, n == list->first ? " " : ", ");
        if (n->type == NODE_GROUP || n->type == NODE_LIST) buf_puts(b, "...");
        else print_scalar(n, b);
    }
    buf_puts(b, " )");
}

static void print_written(const struct node *group, struct buf *b, int indent)
{
    pad(b, indent);
    buf_printf(b, "%s: {\n", group->name);
    for (const struct node *n = group->first; n; n = n->next) {
        if (n->type == NODE_GROUP) {
            print_written(n, b, indent + TAB);
            continue;
        }
        pad(b, indent + TAB);
        buf_printf(b, "%s = ", n->name);
        if (n->type == NODE_LIST) print_list(n, b);
        else print_scalar(n, b);
        print_origin(b, n->file, n->line);
    }
    pad(b, indent);
    buf_puts(b, "};\n");
}

/* ---- the whole */
struct open { struct mintd_str name[DEPTH]; int n; };      /* groups that are open in the text so far */

static int split(const char *path, struct mintd_str ret[DEPTH])
{
    int n = 0;
    while (*path && n < DEPTH) {
        size_t len = strcspn(path, ".");
        ret[n++] = (struct mintd_str){ path, len };
        path += len + (path[len] == '.');
    }
    return n;
}

static void enter(struct open *open, const char *path, struct buf *b)
{
    struct mintd_str name[DEPTH];
    int n = split(path, name), same = 0;
    while (same < n && same < open->n && str_eq(name[same], open->name[same])) same++;
    while (open->n > same) {
        pad(b, --open->n * TAB);
        buf_puts(b, "};\n");
    }
    while (open->n < n) {
        pad(b, open->n * TAB);
        buf_printf(b, STR_FMT ": {\n", STR_ARG(name[open->n]));
        open->name[open->n] = name[open->n];
        open->n++;
    }
}

static void print_venues(const struct conf *c, const struct node *venues, struct buf *b)
{
    if (!c->n_venues) return;
    buf_puts(b, "venues = (\n");
    for (uint32_t i = 0; i < c->n_venues; i++) {
        buf_puts(b, "  { name = ");
        print_quoted(b, c->venues[i].name);
        buf_puts(b, "; pipeline = ");
        print_quoted(b, c->venues[i].pipeline);
        buf_puts(b, i + 1 < c->n_venues ? "; },\n" : "; }\n");
    }
    buf_puts(b, ")");
    print_origin(b, venues ? venues->file : NULL, venues ? venues->line : 0);
}

void conf_print(const struct conf *c, struct buf *b)
{
    const struct full *full = (const struct full *)(const void *)c;      /* pub is its first member */
    struct open open = { .n = 0 };
    for (const struct opts_list *l = full->lists; l; l = l->next) {
        if (!l->path) continue;
        enter(&open, l->path, b);
        conf_opts_print(l->opts, b, open.n * TAB);
        if (l->extra) print_written(l->extra, b, open.n * TAB);
    }
    enter(&open, "", b);
    print_venues(c, node_find(full->tree.root, S("venues")), b);
}

/* ---- option tables */
static void print_range(const struct mintd_opt *o, struct buf *b)
{
    void (*unit)(struct buf *, int64_t) = opts_is(o, "duration") ? unit_print_duration : opts_is(o, "size") ? unit_print_size : NULL;
    if (o->min == o->max) return;
    buf_puts(b, ", ");
    if (unit) {
        unit(b, o->min);
        buf_puts(b, " to ");
        unit(b, o->max);
    } else buf_printf(b, "%lld to %lld", (long long)o->min, (long long)o->max);
}

static void table_text(const struct mintd_opt *o, struct buf *b)
{
    buf_printf(b, "  %s: %s", o->name, o->type);
    if (o->flags & MINTD_REQUIRED) buf_puts(b, ", required");
    if (o->dflt) buf_printf(b, ", default %s", *o->dflt ? o->dflt : "\"\"");
    print_range(o, b);
    if (o->choices) buf_printf(b, ", %s %s", opts_is(o, "amount") ? "units" : "one of", o->choices);
    if (o->flags & MINTD_RESTART) buf_puts(b, ", a change needs a restart");
    buf_printf(b, "\n      %s\n", o->help ? o->help : "");
}

static void json_text(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, ",\"%s\":", name);
    if (value) buf_json(b, SZ(value));
    else buf_puts(b, "null");
}

static void table_json(const struct mintd_opt *o, struct buf *b)
{
    buf_puts(b, "{\"name\":");
    buf_json(b, SZ(o->name));
    json_text(b, "type", o->type);
    json_text(b, "default", o->dflt);
    json_text(b, "choices", o->choices);
    json_text(b, "help", o->help);
    if (o->min != o->max) buf_printf(b, ",\"min\":%lld,\"max\":%lld", (long long)o->min, (long long)o->max);
    buf_printf(b, ",\"required\":%s,\"restart\":%s}", o->flags & MINTD_REQUIRED ? "true" : "false",
               o->flags & MINTD_RESTART ? "true" : "false");
}

void conf_table_print(const struct mintd_opt *table, uint32_t n, bool json, struct buf *b)
{
    if (json) buf_puts(b, "[");
    for (uint32_t i = 0; i < n; i++) {
        if (json && i) buf_puts(b, ",");
        if (json) table_json(&table[i], b);
        else table_text(&table[i], b);
    }
    if (json) buf_puts(b, "]");
}

/* "pipelines.NAME.mint", as it is written */
static void print_place(const struct schema *s, struct buf *b)
{
    ptrdiff_t i = s - conf_schema;
    if (i == SCHEMA_TOP) buf_puts(b, "(top level)");
    else if (i == SCHEMA_INSTANCE || i == SCHEMA_PIPELINE) buf_printf(b, "%s.NAME", s->group);
    else if (i > SCHEMA_PIPELINE && i < SCHEMA_VENUE) buf_printf(b, "pipelines.NAME.%s", s->group);
    else buf_printf(b, i == SCHEMA_VENUE ? "%s[]" : "%s", s->group);
}

void conf_describe(bool json, struct buf *b)
{
    if (json) buf_puts(b, "{\"name\":\"core\",\"groups\":[");
    for (unsigned i = 0; i < SCHEMA_COUNT; i++) {
        const struct schema *s = &conf_schema[i];
        if (json) buf_puts(b, i ? ",{\"group\":\"" : "{\"group\":\"");
        else if (i) buf_puts(b, "\n");
        print_place(s, b);
        buf_puts(b, json ? "\",\"options\":" : "\n");
        conf_table_print(s->table, s->n, json, b);
        if (json) buf_puts(b, "}");
    }
    buf_puts(b, json ? "]}\n" : "");
}
