/* The life of a context between create and destroy: start with backoff, take-over of a reloaded one, drain.
 * Calls base/. Loop thread. */
#include "base/log.h"
#include "base/str.h"
#include "plug/inst.h"

enum { BACKOFF_MIN_MS = 250, BACKOFF_MAX_MS = 30000 };

static void start_again(void *arg);

static void log_ctx(uint32_t level, const struct mintd_ctx *ctx, const char *msg, struct mintd_str why)
{
    struct mintd_field f[] = { { S("instance"), owner_name(ctx->owner) }, { S("plugin"), SZ(ctx->desc->name) },
        { S("version"), SZ(ctx->desc->version) }, { S("reason"), why } };
    log_fields(level, SZ(msg), f, why.n ? 4 : 3);
}

static void ready(struct mintd_ctx *ctx, struct plug_reply *r)
{
    ctx->state = CTX_READY;
    buf_free(&ctx->why);
    if (r) {
        ctx->facts = r->res->rows;
        ctx->facts_mem = r->mem;
        r->mem = NULL;
    }
    log_ctx(MINTD_INFO, ctx, "instance started", (struct mintd_str){ NULL, 0 });
    struct plug_inst *inst = ctx->inst;
    if (inst->taking == ctx) {
        struct mintd_ctx *old = inst->cur;
        inst->cur = ctx;
        inst->taking = NULL;
        ctx_retire(old);
    }
}

static void failed_for_ever(struct mintd_ctx *ctx)
{
    ctx->state = CTX_FAILED;
    if (ctx->inst->taking != ctx) {
        if (!ctx->plug->started) log_ctx(MINTD_ERROR, ctx, "the new instance cannot start", buf_view(&ctx->why));
        return;
    }
    log_ctx(MINTD_ERROR, ctx, "the reloaded instance cannot start, the old one goes on", buf_view(&ctx->why));
    ctx->inst->taking = NULL;
    ctx_retire(ctx);
}

static void back_off(struct mintd_ctx *ctx, uint64_t retry_ms)
{
    uint64_t ms = ctx->backoff_ms > retry_ms ? ctx->backoff_ms : retry_ms;
    ctx->backoff_ms = ctx->backoff_ms < BACKOFF_MAX_MS / 2 ? ctx->backoff_ms * 2 : BACKOFF_MAX_MS;
    log_ctx(MINTD_WARN, ctx, "instance could not start yet, trying again", buf_view(&ctx->why));
    ctx->backoff = loop_timer(ctx->plug->loop, ms, start_again, ctx);
}

static void start_answered(void *arg, struct plug_reply *r)
{
    struct mintd_ctx *ctx = arg;
    struct plug *p = ctx->plug;
    ctx->starting = NULL;
    if (ctx->state != CTX_STARTING) return;                 /* drained meanwhile */
    if (r->out->cls == MINTD_OK) {
        ready(ctx, r);
        plug_progress(p);
        return;
    }
    const char *help = plug_file_help(ctx->file, r->out->slug);
    buf_free(&ctx->why);
    buf_printf(&ctx->why, STR_FMT ": " STR_FMT, STR_ARG(r->out->slug), STR_ARG(r->out->msg));
    if (help && *help) buf_printf(&ctx->why, " (%s)", help);
    if (r->out->cls == MINTD_PERMANENT) failed_for_ever(ctx);
    else back_off(ctx, r->out->retry_ms);
    plug_progress(p);
}

static void start_once(struct mintd_ctx *ctx)
{
    struct mintd_req req = { .size = sizeof req };
    if (ctx->desc->start) {
        ctx->starting = op_begin(ctx, PLUG_START, &req, NULL, 0, start_answered, ctx);
        return;
    }
    ready(ctx, NULL);
    plug_progress(ctx->plug);
}

static void start_again(void *arg)
{
    struct mintd_ctx *ctx = arg;
    loop_timer_del(ctx->backoff);
    ctx->backoff = NULL;
    start_once(ctx);
}

void ctx_start(struct mintd_ctx *ctx)
{
    if (ctx->state != CTX_CREATED) return;
    ctx->state = CTX_STARTING;
    ctx->backoff_ms = BACKOFF_MIN_MS;
    ctx->backoff = loop_timer(ctx->plug->loop, 0, start_again, ctx);     /* never inside the caller */
}

/* ---- the end */
static void end(void *arg)
{
    struct mintd_ctx *ctx = arg;
    struct plug *p = ctx->plug;
    if (!ctx->dead) {                                       /* plug_free came first otherwise, and p is gone */
        list_del(&ctx->link);
        uint32_t left = ctx_destroy(ctx);
        if (left) log_ctx(MINTD_ERROR, ctx, "instance is left behind, an op never answered", (struct mintd_str){ NULL, 0 });
        p->leaked += left;
        plug_progress(p);
    }
    ctx_put(ctx);
}

static void drain_answered(void *arg, struct plug_reply *r)
{
    struct mintd_ctx *ctx = arg;
    if (r->out->cls != MINTD_OK) log_ctx(MINTD_WARN, ctx, "instance did not drain cleanly", r->out->msg);
    ctx->state = CTX_DRAINED;                               /* ctx_check goes on once this op is off the books */
}

/* Nothing runs any more, as far as it ever will: ask for the drain, then end. */
void ctx_check(struct mintd_ctx *ctx)
{
    bool idle = ctx->live == ctx->zombies && __atomic_load_n(&ctx->refs, __ATOMIC_ACQUIRE) == 1;
    if (!idle || ctx->ending) return;
    if (ctx->state == CTX_DRAINING && !ctx->drain_sent && !ctx->live && ctx->was_ready && ctx->desc->drain) {
        struct mintd_req req = { .size = sizeof req };
        ctx->drain_sent = true;
        op_begin(ctx, PLUG_DRAIN, &req, NULL, 0, drain_answered, ctx);
        return;
    }
    if (ctx->state == CTX_DRAINING) ctx->state = CTX_DRAINED;
    if (ctx->state != CTX_DRAINED) return;
    ctx->ending = true;
    if (ctx->link.next) loop_post(ctx->plug->loop, end, ctx_get(ctx));   /* not inside a call that still looks at it */
    else plug_progress(ctx->plug);
}

void ctx_drain(struct mintd_ctx *ctx)
{
    if (ctx->state >= CTX_DRAINING) return;
    ctx->was_ready = ctx->state == CTX_READY;
    ctx->state = CTX_DRAINING;
    loop_timer_del(ctx->backoff);
    ctx->backoff = NULL;
    if (ctx->starting) op_stop(ctx->starting);
    ctx_check(ctx);
}

void ctx_retire(struct mintd_ctx *ctx)
{
    list_add(&ctx->plug->retired, &ctx->link);
    ctx_drain(ctx);
}
