/* One created plugin object: its options, threads and end. Owns struct mintd_ctx. Calls conf/ and base/. Loop thread, but ctx_get. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "plug/inst.h"

static int check_workers(struct mintd_ctx *ctx, const struct conf_instance *ci, struct conf_errors *errs)
{
    uint32_t n = ci->workers ? ci->workers : ctx->desc->workers;
    if (ctx->desc->model == MINTD_LOOP && ci->workers) {
        conf_error(errs, ci->file, ci->line, "instance \"" STR_FMT "\": workers: plugin %s runs on the loop and has none",
                   STR_ARG(ci->name), ctx->desc->name);
        return -EINVAL;
    }
    if (n > WORKERS_MAX) {
        conf_error(errs, ci->file, ci->line, "instance \"" STR_FMT "\": workers: %u is too many, at most %d", STR_ARG(ci->name), n,
                   WORKERS_MAX);
        return -EINVAL;
    }
    ctx->workers = n ? n : 1;
    return 0;
}

/* A refusal by the plugin: it named the option itself, or one line is written for it. */
static int refused(struct mintd_ctx *ctx, const struct conf_instance *ci, const char *step, int r, uint32_t errors_before)
{
    int err = r < 0 && r > -4096 ? -r : EINVAL;
    if (ctx->cfg.errs->n == errors_before)
        conf_error(ctx->cfg.errs, ci->file, ci->line, "instance \"" STR_FMT "\": %s of plugin %s failed: %s", STR_ARG(ci->name), step,
                   ctx->desc->name, strerror(err));
    return -EINVAL;
}

static int check_options(struct mintd_ctx *ctx, const struct conf_instance *ci, struct conf_errors *errs)
{
    char what[160];
    snprintf(what, sizeof what, "instance \"" STR_FMT "\" (%s)", STR_ARG(ci->name), ctx->desc->name);
    int r = check_workers(ctx, ci, errs);
    int q = conf_opts_new(ci->opts, what, ctx->file->opts, ctx->desc->opts.n, errs, &ctx->cfg.opts);
    if (r || q) return r ? r : q;
    if (!ctx->desc->check) return 0;
    uint32_t before = errs->n;
    uint64_t entered = work_enter(ctx);
    ctx->cfg.open = true;
    r = ctx->desc->check(&plug_host, &ctx->cfg);
    ctx->cfg.open = false;
    work_leave(ctx, "check", entered);
    return r || errs->n != before ? refused(ctx, ci, "check", r, before) : 0;
}

int ctx_new(struct plug *p, const struct conf *conf, const struct conf_instance *ci, struct plug_file *file,
            struct conf_errors *errs, struct mintd_ctx **ret)
{
    struct mintd_ctx *ctx = calloc(1, sizeof *ctx);
    struct owner *owner = ctx ? owner_of(ci->name) : NULL;
    if (!owner) { free(ctx); return -ENOMEM; }
    *ctx = (struct mintd_ctx){ .plug = p, .file = file, .desc = &file->desc, .owner = owner, .refs = 1, .ci = ci,
        .conf = conf_ref((struct conf *)(uintptr_t)conf) };  /* const only says that nobody changes it */
    ctx->cfg.ctx = ctx;
    ctx->cfg.errs = errs;
    list_init(&ctx->handles);
    int r = check_options(ctx, ci, errs);
    ctx->cfg.errs = NULL;
    if (r) ctx_destroy(ctx);
    else *ret = ctx;
    return r;
}

int ctx_create(struct mintd_ctx *ctx, struct plug_inst *inst, struct conf_errors *errs)
{
    const struct conf_instance *ci = ctx->ci;
    ctx->inst = inst;
    if (work_new(ctx)) {
        conf_error(errs, ci->file, ci->line, "instance \"" STR_FMT "\": cannot start %u workers: out of memory or threads",
                   STR_ARG(ci->name), ctx->workers);
        return -ENOMEM;
    }
    uint32_t before = errs->n;
    plug_file_register(ctx->file);
    ctx->cfg.errs = errs;
    ctx->cfg.open = true;
    uint64_t entered = work_enter(ctx);
    int r = ctx->desc->create(&plug_host, ctx, &ctx->cfg, &ctx->self);
    work_leave(ctx, "create", entered);
    ctx->cfg.open = false;
    ctx->created = !r;
    if (r) r = refused(ctx, ci, "create", r, before);
    ctx->cfg.errs = NULL;
    return r;
}

uint32_t ctx_destroy(struct mintd_ctx *ctx)
{
    if (!ctx) return 0;
    loop_timer_del(ctx->backoff);
    ctx->backoff = NULL;
    if (ctx->live) return ctx->live;                        /* a plugin that never answered may still use any of it */
    work_free(ctx);
    host_close_handles(ctx);
    if (ctx->created) {
        uint64_t entered = work_enter(ctx);
        ctx->desc->destroy(ctx->self);
        work_leave(ctx, "destroy", entered);
        host_close_handles(ctx);
    }
    ctx->created = false;
    ctx->dead = true;
    ctx->cfg.opts = conf_opts_free(ctx->cfg.opts);
    ctx->conf = conf_unref(ctx->conf);
    ctx->facts_mem = arena_free(ctx->facts_mem);
    buf_free(&ctx->why);
    ctx_put(ctx);
    return 0;
}

struct mintd_ctx *ctx_get(struct mintd_ctx *ctx)
{
    __atomic_add_fetch(&ctx->refs, 1, __ATOMIC_RELAXED);
    return ctx;
}

void ctx_put(struct mintd_ctx *ctx)
{
    if (__atomic_sub_fetch(&ctx->refs, 1, __ATOMIC_ACQ_REL) == 0) free(ctx);
    else if (!ctx->dead) ctx_check(ctx);
}
