/* Where plugin code runs and how long it may. Owns the private threads of WORKERS instances: one for serial ops (worker 0) where the
 * plugin names some, so that nothing queues behind them, the others share one queue. LOOP ops run on a turn of their own.
 * Calls base/. Loop thread, but op_run on the workers. */
#include <stdio.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/str.h"
#include "plug/inst.h"

static struct loop_pool *pool_new(struct mintd_ctx *ctx, const char *suffix, uint32_t n)
{
    char name[16];                                          /* as much as the kernel keeps of a thread's name */
    snprintf(name, sizeof name, "%.10s%s", ctx->inst->name, suffix);
    return loop_pool_new(ctx->plug->loop, name, n);
}

int work_new(struct mintd_ctx *ctx)
{
    if (ctx->desc->model != MINTD_WORKERS) return 0;
    bool apart = ctx->desc->serial_ops && ctx->workers > 1;
    if (apart && !(ctx->serial = pool_new(ctx, "/0", 1))) return -1;
    ctx->pool = pool_new(ctx, "", apart ? ctx->workers - 1 : ctx->workers);
    return ctx->pool ? 0 : -1;
}

void work_free(struct mintd_ctx *ctx)
{
    loop_pool_free(ctx->serial);
    loop_pool_free(ctx->pool);
    loop_pool_free(ctx->offload);
    ctx->serial = ctx->pool = ctx->offload = NULL;
}

struct loop_pool *ctx_my_pool(const struct mintd_ctx *ctx, uint32_t *ret_worker)
{
    int i = ctx->serial ? loop_pool_self(ctx->serial) : -1;
    if (i >= 0) { *ret_worker = 0; return ctx->serial; }
    i = ctx->pool ? loop_pool_self(ctx->pool) : -1;
    if (i < 0) return NULL;
    *ret_worker = (uint32_t)i + (ctx->serial ? 1 : 0);
    return ctx->pool;
}

bool ctx_on_loop(const struct mintd_ctx *ctx)
{
    uint32_t worker;
    if (!pthread_equal(pthread_self(), ctx->plug->thread) || ctx_my_pool(ctx, &worker)) return false;
    return !ctx->offload || loop_pool_self(ctx->offload) < 0;   /* a seeded loop runs workers on its own thread */
}

void work_run_op(struct mintd_ctx *ctx, uint32_t op, void *ticket)
{
    bool first = op == PLUG_START || op == PLUG_DRAIN || (op < 64 && ctx->desc->serial_ops >> op & 1);
    if (ctx->desc->model != MINTD_WORKERS) loop_post(ctx->plug->loop, op_run, ticket);
    else if (first && ctx->serial) loop_pool_run(ctx->serial, 0, op_run, ticket);
    else loop_pool_run(ctx->pool, first || ctx->workers == 1 ? 0 : -1, op_run, ticket);
}

uint64_t work_enter(const struct mintd_ctx *ctx) { return loop_now_us(ctx->plug->loop); }

void work_leave(struct mintd_ctx *ctx, const char *what, uint64_t entered)
{
    uint64_t now = loop_now_us(ctx->plug->loop), took = now - entered;
    if (took <= SLOW_US) return;
    metric_add(plug_metrics.slow, owner_name(ctx->owner), SZ(what), 1);
    if (ctx->slow_until_us > now) return;
    ctx->slow_until_us = now + 60000000;
    char ms[24];
    struct mintd_field f[] = { { S("instance"), owner_name(ctx->owner) }, { S("callback"), SZ(what) }, { S("dur_ms"), { ms, 0 } } };
    f[2].val.n = (size_t)snprintf(ms, sizeof ms, "%llu", (unsigned long long)took / 1000);
    log_fields(MINTD_WARN, S("a plugin callback held the loop, nothing else ran meanwhile"), f, ARRAY_LEN(f));
}
