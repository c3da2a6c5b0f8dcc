/* Settings as JSON for programs: every effective value with where it comes from. Secrets are never printed. Owns nothing. Calls base/
 * only. Loop thread. */
#include "conf/conf_int.h"

/* A password inside an address is nobody's business either: "redis://user:***@host". */
static void put_url(struct buf *b, struct mintd_str s)
{
    const char *at = s.n ? memrchr(s.p, '@', s.n) : NULL, *scheme = at ? memmem(s.p, (size_t)(at - s.p), "://", 3) : NULL;
    const char *colon = scheme ? memchr(scheme + 3, ':', (size_t)(at - scheme - 3)) : NULL;
    if (!colon) { buf_json(b, s); return; }
    struct buf text = { 0 };
    buf_add(&text, s.p, (size_t)(colon - s.p));
    buf_puts(&text, ":***");
    buf_add(&text, at, s.n - (size_t)(at - s.p));
    buf_json(b, buf_view(&text));
    buf_free(&text);
}

static void put_value(struct buf *b, const struct mintd_opt *o, const struct value *v)
{
    if (opts_is(o, "secret")) buf_puts(b, "\"***\"");
    else if (v->quoted && opts_is(o, "url")) put_url(b, v->str);
    else if (v->quoted) buf_json(b, v->str);
    else if (opts_is(o, "bool")) buf_puts(b, v->num ? "true" : "false");
    else buf_printf(b, "%lld", (long long)v->num);
}

static void put_origin(struct buf *b, const char *file, unsigned line)
{
    struct buf text = { 0 };
    if (file && line) buf_printf(&text, "%s:%u", file, line);
    else buf_puts(&text, file ? file : "default");
    buf_puts(b, ",\"origin\":");
    buf_json(b, buf_view(&text));
    buf_free(&text);
}

static void put_name(struct buf *b, const char *path, const char *name)
{
    struct buf text = { 0 };
    buf_printf(&text, "%s%s%s", path, *path ? "." : "", name);
    buf_puts(b, b->n && b->p[b->n - 1] != '[' ? ",{\"name\":" : "{\"name\":");
    buf_json(b, buf_view(&text));
    buf_free(&text);
}

void conf_opts_json(const struct conf_opts *o, const char *path, struct buf *b)
{
    for (uint32_t i = 0; i < o->n; i++) {
        const struct slot *s = &o->slots[i];
        bool list = opts_is_list(s->opt);
        if (!s->set) continue;
        put_name(b, path, s->opt->name);
        buf_puts(b, list ? ",\"value\":[" : ",\"value\":");
        for (uint32_t k = 0; k < s->n; k++) {
            if (k) buf_puts(b, ",");
            put_value(b, s->opt, &s->v[k]);
        }
        if (list) buf_puts(b, "]");
        put_origin(b, s->file, s->line);
        buf_puts(b, "}");
    }
}

static void put_venues(const struct conf *c, const struct node *venues, struct buf *b)
{
    if (!c->n_venues) return;
    put_name(b, "", "venues");
    buf_puts(b, ",\"value\":[");
    for (uint32_t i = 0; i < c->n_venues; i++) {
        buf_puts(b, i ? ",{\"name\":" : "{\"name\":");
        buf_json(b, c->venues[i].name);
        buf_puts(b, ",\"pipeline\":");
        buf_json(b, c->venues[i].pipeline);
        buf_puts(b, "}");
    }
    buf_puts(b, "]");
    put_origin(b, venues ? venues->file : NULL, venues ? venues->line : 0);
    buf_puts(b, "}");
}

void conf_json(const struct conf *c, struct buf *b)
{
    const struct full *full = (const struct full *)(const void *)c;      /* pub is its first member */
    for (const struct opts_list *l = full->lists; l; l = l->next)
        if (l->path) conf_opts_json(l->opts, l->path, b);
    put_venues(c, node_find(full->tree.root, S("venues")), b);
}
