/* mintd --describe: what a plugin publishes, as text or as one JSON object. Owns nothing. Calls conf/ and base/. Loop thread. */
#include <stdio.h>

#include "base/str.h"
#include "plug/inst.h"

static const char *model_name(const struct mintd_plugin *d) { return d->model == MINTD_LOOP ? "loop" : "workers"; }

static const char *metric_type_name(uint64_t type)
{
    static const char *const names[] = { "", "counter", "gauge", "histogram" };
    return type < ARRAY_LEN(names) ? names[type] : "";
}

static bool serial(const struct mintd_plugin *d, uint32_t op) { return d->model == MINTD_WORKERS && d->serial_ops >> op & 1; }

/* ---- JSON */
static void json_member(struct buf *b, const char *name, const char *value)
{
    buf_json(b, SZ(name));
    buf_puts(b, ":");
    if (value) buf_json(b, SZ(value));
    else buf_puts(b, "null");
}

static void json_ops(const struct plug_file *f, struct buf *b)
{
    buf_puts(b, ",\"ops\":[");
    for (uint32_t i = 0; i < kind_ops(f->desc.kind); i++) {
        buf_puts(b, i ? ",{" : "{");
        json_member(b, "name", op_info(f->desc.kind, i)->name);
        buf_printf(b, ",\"offered\":%s,\"serial\":%s}", f->ops.fn[i] ? "true" : "false", serial(&f->desc, i) ? "true" : "false");
    }
    buf_puts(b, "]");
}

static void json_metrics(const struct plug_file *f, struct buf *b)
{
    buf_puts(b, ",\"metrics\":[");
    for (uint32_t i = 0; i < f->desc.metrics.n; i++) {
        const struct mintd_metric *m = &f->metrics[i];
        buf_puts(b, i ? ",{" : "{");
        json_member(b, "name", m->name);
        buf_puts(b, ",");
        json_member(b, "type", metric_type_name(m->type));
        buf_puts(b, ",");
        json_member(b, "label", m->label);
        buf_puts(b, ",");
        json_member(b, "help", m->help);
        buf_puts(b, "}");
    }
    buf_puts(b, "]");
}

static void json_slugs(const struct plug_file *f, struct buf *b)
{
    buf_puts(b, ",\"slugs\":[");
    for (uint32_t i = 0; i < f->desc.slugs.n; i++) {
        buf_puts(b, i ? ",{" : "{");
        json_member(b, "slug", f->slugs[i].slug);
        buf_puts(b, ",");
        json_member(b, "help", f->slugs[i].help);
        buf_puts(b, "}");
    }
    buf_puts(b, "]");
}

static void describe_json(const struct plug_file *f, struct buf *b)
{
    const struct mintd_plugin *d = &f->desc;
    buf_puts(b, "{");
    json_member(b, "name", d->name);
    buf_puts(b, ",");
    json_member(b, "version", d->version);
    buf_puts(b, ",");
    json_member(b, "summary", d->summary);
    buf_puts(b, ",");
    json_member(b, "kind", kind_name(d->kind));
    buf_puts(b, ",");
    json_member(b, "file", f->path);
    buf_printf(b, ",\"abi\":\"%u.%u\",\"needs\":\"%u.%u\",", d->abi_major, d->abi_minor, d->abi_major, d->need_minor);
    json_member(b, "model", model_name(d));
    buf_printf(b, ",\"workers\":%u,\"simulable\":%s", d->workers, d->flags & MINTD_SIMULABLE ? "true" : "false");
    json_ops(f, b);
    buf_puts(b, ",\"options\":");
    conf_table_print(f->opts, d->opts.n, true, b);
    json_metrics(f, b);
    json_slugs(f, b);
    buf_puts(b, "}\n");
}

/* ---- text */
static void text_ops(const struct plug_file *f, struct buf *b, bool offered, const char *title)
{
    bool any = false;
    for (uint32_t i = 0; i < kind_ops(f->desc.kind); i++) {
        if (!f->ops.fn[i] == offered) continue;
        if (!any) buf_printf(b, "%-12s", title);
        buf_printf(b, "%s%s%s", any ? " " : "", op_info(f->desc.kind, i)->name, offered && serial(&f->desc, i) ? "*" : "");
        any = true;
    }
    if (any) buf_puts(b, "\n");
}

static void describe_text(const struct plug_file *f, struct buf *b)
{
    const struct mintd_plugin *d = &f->desc;
    buf_printf(b, "%s %s: %s\n\n", d->name, d->version, d->summary);
    buf_printf(b, "%-12s%s\n%-12s%s\n", "file", f->path, "kind", kind_name(d->kind));
    buf_printf(b, "%-12s%u.%u, needs %u.%u\n", "abi", d->abi_major, d->abi_minor, d->abi_major, d->need_minor);
    if (d->model == MINTD_LOOP) buf_printf(b, "%-12sloop\n", "threads");
    else buf_printf(b, "%-12s%u workers, ops marked * run one after the other\n", "threads", d->workers ? d->workers : 1);
    text_ops(f, b, true, "ops");
    text_ops(f, b, false, "not offered");
    buf_puts(b, "\noptions\n");
    if (d->opts.n) conf_table_print(f->opts, d->opts.n, false, b);
    else buf_puts(b, "  none\n");
    if (d->metrics.n) buf_puts(b, "\nmetrics\n");
    for (uint32_t i = 0; i < d->metrics.n; i++) {
        const struct mintd_metric *m = &f->metrics[i];
        buf_printf(b, "  %s (%s by instance%s%s)\n      %s\n", m->name, metric_type_name(m->type), m->label ? ", " : "",
                   m->label ? m->label : "", m->help);
    }
    if (d->slugs.n) buf_puts(b, "\nreasons it may give\n");
    for (uint32_t i = 0; i < d->slugs.n; i++) buf_printf(b, "  %s\n      %s\n", f->slugs[i].slug, f->slugs[i].help);
}

void plug_file_describe(const struct plug_file *f, bool json, struct buf *b)
{
    if (json) describe_json(f, b);
    else describe_text(f, b);
}
