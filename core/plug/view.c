/* Instances as people and programs ask about them: what they are, how they are, with which options they run. Text that a plugin made is
 * shown with every registered secret masked. Owns nothing. Calls conf/ and base/. Loop thread. */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/str.h"
#include "plug/inst.h"

void plug_each(const struct plug *p, void (*fn)(void *arg, struct plug_inst *), void *arg)
{
    LIST_EACH(it, (struct list *)(uintptr_t)&p->insts) {
        struct plug_inst *inst = LIST_OF(it, struct plug_inst, link);
        if (!inst->gone && (inst->cur || inst->taking)) fn(arg, inst);
    }
}

static const char *state_of(const struct plug_inst *inst)
{
    static const char *const names[] = { [CTX_CREATED] = "created", [CTX_STARTING] = "starting", [CTX_READY] = "ready",
        [CTX_FAILED] = "failed", [CTX_DRAINING] = "draining", [CTX_DRAINED] = "drained" };
    return inst->cur ? names[inst->cur->state] : "created";
}

static void put_masked(struct buf *b, struct mintd_str s)
{
    struct buf text = { 0 };
    log_mask(s, &text);
    buf_json(b, buf_view(&text));
    buf_free(&text);
}

static void put_facts(const struct plug_inst *inst, struct buf *b)
{
    struct mintd_vec facts = plug_facts(inst);
    const struct mintd_field *f = facts.p;
    buf_puts(b, ",\"facts\":{");
    for (uint32_t i = 0; i < facts.n; i++) {
        if (i) buf_puts(b, ",");
        buf_json(b, f[i].key);
        buf_puts(b, ":");
        put_masked(b, f[i].val);
    }
    buf_puts(b, "}");
}

void plug_why(const struct plug_inst *inst, struct buf *b)
{
    const struct mintd_ctx *ctx = inst->taking ? inst->taking : inst->cur;
    if (ctx && ctx->why.n) log_mask(buf_view(&ctx->why), b);
    else if (!plug_ready(inst)) buf_puts(b, "not started yet");
}

void plug_state_json(const struct plug_inst *inst, struct buf *b)
{
    const struct mintd_plugin *d = &inst->file->desc;
    struct buf why = { 0 };
    plug_why(inst, &why);
    buf_puts(b, "{\"name\":");
    buf_json(b, SZ(inst->name));
    buf_puts(b, ",\"plugin\":");
    buf_json(b, SZ(d->name));
    buf_puts(b, ",\"version\":");
    buf_json(b, SZ(d->version));
    buf_printf(b, ",\"kind\":\"%s\",\"state\":\"%s\",\"replacing\":%s,\"inFlight\":%u", kind_name(d->kind), state_of(inst),
               inst->taking ? "true" : "false", plug_in_flight(inst));
    put_facts(inst, b);
    if (why.n) {
        buf_puts(b, ",\"why\":");
        buf_json(b, buf_view(&why));
    }
    buf_puts(b, "}");
    buf_free(&why);
}

void plug_describe_json(const struct plug_inst *inst, struct buf *b)
{
    plug_file_describe(inst->file, true, b);
    while (b->n && b->p[b->n - 1] != '}') b->n--;
    if (b->n) b->n--;                                       /* the object stays open for one more member */
    buf_puts(b, ",\"instance\":");
    plug_state_json(inst, b);
    buf_puts(b, "}\n");
}

void plug_options_json(const struct plug_inst *inst, struct buf *b)
{
    char path[128];
    snprintf(path, sizeof path, "instances.%s.opts", inst->name);
    if (inst->cur) conf_opts_json(inst->cur->cfg.opts, path, b);
}

int plug_option(const struct plug_inst *inst, const char *name, struct mintd_str *ret)
{
    const struct mintd_ctx *ctx = inst->cur;
    for (uint32_t i = 0; ctx && i < ctx->desc->opts.n; i++) {
        const struct mintd_opt *o = &ctx->file->opts[i];
        if (!strcmp(o->name, name) && (!strcmp(o->type, "path") || !strcmp(o->type, "str"))) return conf_opt_str(ctx->cfg.opts, name, 0, ret);
    }
    return -ENOENT;
}
