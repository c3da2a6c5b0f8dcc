/* Checks what a plugin publishes about itself before any of it is used: name, kind, model, ops, options, metrics, slugs.
 * Owns nothing. Calls conf/ and base/. Loop thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "plug/inst.h"

enum { TEXT_MAX = 4096 };

/* Plugins are native code, so a wild pointer cannot be caught; a missing or endless text can. */
static bool text(const char *s) { return s && s[0] && strnlen(s, TEXT_MAX) < TEXT_MAX; }

static bool word(const char *s, const char *more)
{
    if (!text(s) || s[0] < 'a' || s[0] > 'z') return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_' || strchr(more, *s))) return false;
    return true;
}

static int bad(struct buf *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int bad(struct buf *err, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    buf_puts(err, line);
    return -EINVAL;
}

static int lint_identity(const struct plug_file *f, struct buf *err)
{
    const struct mintd_plugin *d = &f->desc;
    if (!text(d->name) || strcmp(d->name, f->name))
        return bad(err, "calls itself \"%s\", the file is called %s.so: rename the file", text(d->name) ? d->name : "", f->name);
    if (!kind_name(d->kind)) return bad(err, "declares kind %u, which this mintd does not know", d->kind);
    uint32_t kind = kind_of_name(SZ(f->name));
    if (kind != d->kind)
        return bad(err, "declares kind %s, its name says %s: the name must begin with its kind", kind_name(d->kind), kind_name(kind));
    if (!text(d->version) || !text(d->summary)) return bad(err, "publishes no version or summary");
    if (d->model != MINTD_LOOP && d->model != MINTD_WORKERS) return bad(err, "declares thread model %u, 1 or 2 needed", d->model);
    if (d->workers > WORKERS_MAX) return bad(err, "wants %u workers, at most %d", d->workers, WORKERS_MAX);
    if (!d->create || !d->destroy) return bad(err, "publishes no create or no destroy");
    return 0;
}

static int lint_ops(const struct plug_file *f, struct buf *err)
{
    uint32_t n = kind_ops(f->desc.kind);
    if (f->desc.model == MINTD_WORKERS && f->desc.serial_ops >> n)
        return bad(err, "serial_ops %#llx names ops beyond the %u of its kind", (unsigned long long)f->desc.serial_ops, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct op_info *info = op_info(f->desc.kind, i);
        if (!f->ops.fn[i] && !info->optional) return bad(err, "does not offer %s, which every %s plugin must", info->name,
                                                         kind_name(f->desc.kind));
    }
    return 0;
}

static bool known_type(const char *type)
{
    static const char *const types[] = { "str", "int", "bool", "duration", "size", "amount", "url", "path", "secret", "key", "enum" };
    if (!text(type)) return false;
    if (!strncmp(type, "list:", 5)) type += 5;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (!strcmp(type, types[i])) return true;
    return false;
}

static int lint_option(const struct plug_file *f, uint32_t i, struct buf *err)
{
    const struct mintd_opt *o = &f->opts[i];
    if (!word(o->name, "")) return bad(err, "option %u has no proper name", i);
    if (!known_type(o->type)) return bad(err, "option %s: type \"%s\" is unknown", o->name, text(o->type) ? o->type : "");
    if (!text(o->help)) return bad(err, "option %s: no help", o->name);
    if (strstr(o->type, "enum") && !text(o->choices)) return bad(err, "option %s: an enum without choices", o->name);
    if (strstr(o->type, "secret") && o->dflt) return bad(err, "option %s: a secret has no default", o->name);
    if (o->min > o->max) return bad(err, "option %s: its range is empty", o->name);
    for (uint32_t k = 0; k < i; k++)
        if (!strcmp(f->opts[k].name, o->name)) return bad(err, "option %s is published twice", o->name);
    return 0;
}

/* The defaults go through the same reader as what users write. */
static int lint_defaults(const struct plug_file *f, struct buf *err)
{
    struct conf_errors errs = { 0 };
    struct conf_opts *opts = NULL;
    uint32_t n = f->desc.opts.n;
    struct mintd_opt *table = calloc(n + 1, sizeof *table);
    if (!table) return -ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        table[i] = f->opts[i];
        table[i].flags &= ~(uint64_t)MINTD_REQUIRED;        /* nothing is written here, and that is not the question */
    }
    int r = conf_opts_new(NULL, f->name, table, n, &errs, &opts);
    if (r == -EINVAL) {
        struct mintd_str line = buf_view(&errs.text);
        const char *end = line.n ? memchr(line.p, '\n', line.n) : NULL;
        if (end) line.n = (size_t)(end - line.p);
        r = bad(err, "a default does not fit its option: " STR_FMT, STR_ARG(line));
    }
    conf_errors_free(&errs);
    conf_opts_free(opts);
    free(table);
    return r;
}

static int lint_metrics(const struct plug_file *f, struct buf *err)
{
    for (uint32_t i = 0; i < f->desc.metrics.n; i++) {
        const struct mintd_metric *m = &f->metrics[i];
        if (!word(m->name, "") || strncmp(m->name, "mintd_", 6)) return bad(err, "metric %u: the name must be mintd_*", i);
        if (m->type < 1 || m->type > 3) return bad(err, "metric %s: type %llu is unknown", m->name, (unsigned long long)m->type);
        if (!text(m->help)) return bad(err, "metric %s: no help", m->name);
        if (m->label && (!word(m->label, "") || !strcmp(m->label, "instance")))
            return bad(err, "metric %s: its label must be one word, and not \"instance\"", m->name);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(f->metrics[k].name, m->name)) return bad(err, "metric %s is published twice", m->name);
    }
    return 0;
}

static int lint_slugs(const struct plug_file *f, struct buf *err)
{
    for (uint32_t i = 0; i < f->desc.slugs.n; i++) {
        const struct mintd_slug *s = &f->slugs[i];
        if (!word(s->slug, ".") || !strchr(s->slug, '.') || strlen(s->slug) > 64)
            return bad(err, "slug %u: must look like \"name.reason\"", i);
        if (!text(s->help)) return bad(err, "slug %s: no help", s->slug);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(f->slugs[k].slug, s->slug)) return bad(err, "slug %s is published twice", s->slug);
    }
    return 0;
}

int lint_desc(const struct plug_file *f, struct buf *err)
{
    int r = lint_identity(f, err);
    if (!r) r = lint_ops(f, err);
    for (uint32_t i = 0; !r && i < f->desc.opts.n; i++) r = lint_option(f, i, err);
    if (!r) r = lint_defaults(f, err);
    if (!r) r = lint_metrics(f, err);
    return r ? r : lint_slugs(f, err);
}
