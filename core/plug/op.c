/* Op tickets. Owns the ticket slots of the process: a plugin holds a cookie (generation, owner, slot), so that a second or late
 * answer is recognised instead of followed; slots are reused, never freed, because a cookie may come back at any time.
 * Calls base/. op_done, op_scratch, op_canceled and op_peek: any thread; op_run: where work.c puts it; the rest: loop.
 *
 * A ticket's road: QUEUED -> RUNNING -> ANSWERED -> FREE, or where the plugin stays silent -> SETTLED -> LATE -> FREE. Its lock
 * guards state and generation; who moved the state owns the other members. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/rows.h"
#include "base/str.h"
#include "plug/inst.h"

enum { SLOT_BITS = 18, OWNER_BITS = 12, BLOCK = 256, BLOCKS = (1 << SLOT_BITS) / BLOCK };
enum op_state { OP_FREE, OP_QUEUED, OP_RUNNING, OP_ANSWERED, OP_SETTLED, OP_LATE };
#define GENERATIONS ((uint64_t)1 << (64 - SLOT_BITS - OWNER_BITS))

struct ticket {
    pthread_mutex_t lock;
    uint32_t index; enum op_state state; uint64_t gen;
    struct ticket *next_free;
    struct mintd_ctx *ctx; const struct op_info *info; uint32_t number;
    struct mintd_req req; struct arena *mem;                /* request and scratch */
    plug_fn *fn; void *arg; struct plug_reply reply;
    volatile int cancel;
    struct loop_timer *timer; uint64_t begun_us;
};

static struct ticket *blocks[BLOCKS];                       /* slots are atomic: filled by the loop, read by any thread */
static uint32_t n_blocks;
static struct ticket *free_tickets;                         /* loop only */

/* ---- slots and cookies */
static bool more_tickets(void)
{
    struct ticket *b = n_blocks < BLOCKS ? calloc(BLOCK, sizeof *b) : NULL;
    if (!b) return false;
    for (uint32_t i = BLOCK; i-- > 0;) {
        pthread_mutex_init(&b[i].lock, NULL);
        b[i].index = n_blocks * BLOCK + i;
        b[i].gen = 1;
        b[i].next_free = free_tickets;
        free_tickets = &b[i];
    }
    __atomic_store_n(&blocks[n_blocks++], b, __ATOMIC_RELEASE);
    return true;
}

static struct mintd_op *cookie_of(const struct ticket *t)
{
    uint64_t c = t->gen << (SLOT_BITS + OWNER_BITS) | (uint64_t)owner_number(t->ctx->owner) << SLOT_BITS | t->index;
    return (struct mintd_op *)(uintptr_t)c;
}

static struct owner *cookie_owner(const struct mintd_op *cookie)
{
    return owner_at((uint32_t)((uintptr_t)cookie >> SLOT_BITS) & ((1u << OWNER_BITS) - 1));
}

/* The live ticket of a cookie with its lock held; NULL: that op has ended, or never was. */
static struct ticket *ticket_lock(const struct mintd_op *cookie)
{
    uint64_t c = (uintptr_t)cookie;
    uint32_t index = (uint32_t)c & ((1u << SLOT_BITS) - 1);
    struct ticket *b = __atomic_load_n(&blocks[index / BLOCK], __ATOMIC_ACQUIRE);
    if (!b) return NULL;
    struct ticket *t = &b[index % BLOCK];
    pthread_mutex_lock(&t->lock);
    if (t->state != OP_FREE && t->gen == c >> (SLOT_BITS + OWNER_BITS) && cookie == cookie_of(t)) return t;
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- answers made by the host */
static const struct mintd_outcome no_memory[] = {
    [MINTD_TRANSIENT] = { sizeof(struct mintd_outcome), MINTD_TRANSIENT, 0, 0, { "host.no_memory", 14 }, { "out of memory", 13 } },
    [MINTD_AMBIGUOUS] = { sizeof(struct mintd_outcome), MINTD_AMBIGUOUS, 0, 0, { "host.no_memory", 14 }, { "out of memory", 13 } },
};
static const struct mintd_res no_rows = { .size = sizeof no_rows };

static struct plug_reply reply_of(struct arena *mem, uint32_t cls, struct mintd_str slug, struct mintd_str msg)
{
    struct mintd_outcome *o = mem ? arena_alloc(mem, sizeof *o) : NULL;
    uint32_t doubt = cls == MINTD_AMBIGUOUS ? MINTD_AMBIGUOUS : MINTD_TRANSIENT;
    if (!o) return (struct plug_reply){ .out = &no_memory[doubt], .res = &no_rows, .mem = mem };
    *o = (struct mintd_outcome){ .size = sizeof *o, .cls = cls, .slug = slug, .msg = msg };
    return (struct plug_reply){ .out = o, .res = &no_rows, .mem = mem };
}

struct refusal { plug_fn *fn; void *arg; struct plug_reply reply; };

static void refuse_later(void *arg)
{
    struct refusal *r = arg;
    r->fn(r->arg, &r->reply);
    arena_free(r->reply.mem);
    free(r);
}

static void refuse(struct plug *p, struct arena *mem, uint32_t cls, struct mintd_str slug, const char *msg, plug_fn *fn, void *arg)
{
    struct refusal *r = malloc(sizeof *r);
    if (!r) abort();                                        /* the caller is owed its answer and nothing is left to give it */
    *r = (struct refusal){ fn, arg, reply_of(mem ? mem : arena_new(0), cls, slug, SZ(msg)) };
    loop_post(p->loop, refuse_later, r);
}

/* ---- reading the plugin's answer */
static bool outcome_readable(const struct mintd_outcome *out)
{
    return !out || ((uintptr_t)out % 8 == 0 && out->size >= offsetof(struct mintd_outcome, code));
}

static bool rows_as_promised(const struct ticket *t, const struct mintd_res *res)
{
    if (t->info->rows == ROWS_ONE) return res->rows.n == 1;
    return t->info->rows != ROWS_EACH || res->rows.n == t->req.rows.n;
}

/* -EBADMSG: the answer is worth nothing */
static int read_rows(struct ticket *t, struct arena *mem, const struct mintd_res *from, bool ok, const struct mintd_res **ret)
{
    struct mintd_res *res = arena_alloc(mem, sizeof *res);
    if (!res) return -ENOMEM;
    *res = no_rows;
    int r = from && (uintptr_t)from % 8 ? -EBADMSG
        : rows_copy_res(mem, rows_of(t->ctx->desc->kind, t->number, &t->req), from, res);
    if (!r && ok && !rows_as_promised(t, res)) r = -EBADMSG;
    *ret = r ? &no_rows : res;
    return r;
}

static struct plug_reply distrust(struct ticket *t, struct arena *mem, enum defect d, const char *slug, const char *msg)
{
    defect(t->ctx->owner, d, t->info->name);
    return reply_of(mem, op_doubt(t->info), SZ(slug), SZ(msg));
}

static struct plug_reply unlisted(struct ticket *t, struct arena *mem, const struct mintd_outcome *o)
{
    struct mintd_str msg = arena_printf(mem, "the plugin answered %s (%u), which %s does not list: " STR_FMT " " STR_FMT,
                                        class_name(o->cls), o->cls, t->info->name, STR_ARG(o->slug), STR_ARG(o->msg));
    defect(t->ctx->owner, DEFECT_UNLISTED_CLASS, t->info->name);
    return reply_of(mem, op_doubt(t->info), S("host.unlisted_class"), msg);
}

static struct plug_reply read_answer(struct ticket *t, const struct mintd_outcome *out, const struct mintd_res *res)
{
    struct arena *mem = arena_new(0);
    struct plug_reply lost = { .out = &no_memory[op_doubt(t->info)], .res = &no_rows, .mem = mem };
    if (!mem) return lost;
    if (!outcome_readable(out))
        return distrust(t, mem, DEFECT_BAD_OUTCOME, "host.bad_outcome", "the plugin's outcome cannot be read");
    const struct mintd_outcome *o = rows_copy_outcome(mem, out);
    if (!o) return lost;
    bool ok = o->cls == MINTD_OK;
    if (!ok && (o->cls > MINTD_AMBIGUOUS || !(t->info->classes & 1u << o->cls))) return unlisted(t, mem, o);
    if (!ok && !plug_file_help(t->ctx->file, o->slug)) defect(t->ctx->owner, DEFECT_UNLISTED_SLUG, t->info->name);
    const struct mintd_res *rows;
    int r = read_rows(t, mem, res, ok, &rows);
    if (r == -ENOMEM) return lost;
    if (r && ok) return distrust(t, mem, DEFECT_BAD_RESULT, "host.bad_result", "the plugin's result rows cannot be read");
    if (r) defect(t->ctx->owner, DEFECT_BAD_RESULT, t->info->name);
    return (struct plug_reply){ .out = o, .res = rows, .mem = mem };
}

/* ---- giving the answer on, loop thread */
struct delivery {
    struct mintd_ctx *ctx; const struct op_info *info; uint64_t begun_us; plug_fn *fn; void *arg; struct plug_reply reply;
};

/* What is left to do for the caller; the ticket owes it nothing more. */
static struct delivery delivery_of(struct ticket *t)
{
    struct delivery d = { t->ctx, t->info, t->begun_us, t->fn, t->arg, t->reply };
    t->fn = NULL;
    return d;
}

/* A start that fails is told by whoever asked for it, with its consequence. */
static uint32_t note_level(const struct delivery *d)
{
    uint32_t cls = d->reply.out->cls;
    bool start = d->info == op_info(d->ctx->desc->kind, PLUG_START);
    return !start && (cls == MINTD_PERMANENT || cls == MINTD_AMBIGUOUS) ? MINTD_WARN : MINTD_DEBUG;
}

static void note(const struct delivery *d)
{
    struct mintd_str who = owner_name(d->ctx->owner);
    const struct mintd_outcome *o = d->reply.out;
    metric_observe(plug_metrics.seconds, who, SZ(d->info->name), (double)d->reply.took_us / 1e6);
    metric_add(plug_metrics.ops, who, SZ(class_name(o->cls)), 1);
    metric_add(plug_metrics.in_flight, who, (struct mintd_str){ NULL, 0 }, -1);
    uint32_t level = note_level(d);
    if (!log_on(level)) return;
    char code[24], dur[24];
    struct mintd_field f[] = { { S("instance"), who }, { S("op"), SZ(d->info->name) }, { S("class"), SZ(class_name(o->cls)) },
        { S("slug"), o->slug }, { S("code"), { code, 0 } }, { S("dur_ms"), { dur, 0 } } };
    f[4].val.n = (size_t)snprintf(code, sizeof code, "%lld", (long long)o->code);
    f[5].val.n = (size_t)snprintf(dur, sizeof dur, "%llu", (unsigned long long)d->reply.took_us / 1000);
    log_fields(level, o->msg.n ? o->msg : S("op answered"), f, ARRAY_LEN(f));
}

static void deliver(struct delivery *d)
{
    d->reply.took_us = loop_now_us(d->ctx->plug->loop) - d->begun_us;
    struct plug_inst *inst = d->ctx->inst;
    note(d);
    if (inst && inst->failure && d->reply.out->cls != MINTD_OK) inst->failure(inst->failure_arg, d->reply.out);
    d->fn(d->arg, &d->reply);
    arena_free(d->reply.mem);
}

static void release(struct ticket *t)
{
    t->ctx->live--;
    t->mem = arena_free(t->mem);
    pthread_mutex_lock(&t->lock);
    t->state = OP_FREE;
    t->gen = (t->gen + 1) % GENERATIONS;
    if (!t->gen) t->gen = 1;
    pthread_mutex_unlock(&t->lock);
    t->next_free = free_tickets;
    free_tickets = t;
}

/* The plugin's answer, or the late end of a ticket that the host settled. */
static void op_ended(void *arg)
{
    struct ticket *t = arg;
    struct mintd_ctx *ctx = ctx_get(t->ctx);
    struct arena *mem = t->mem;
    loop_timer_del(t->timer);
    t->timer = NULL;
    if (t->fn) {
        struct delivery d = delivery_of(t);
        t->mem = NULL;
        release(t);                                         /* fn may begin the next op in this slot */
        deliver(&d);
        arena_free(mem);                                    /* only now: fn may still look at what it asked */
    } else {
        ctx->zombies--;
        release(t);
    }
    ctx_put(ctx);
}

/* ---- deadline */
static void op_timeout(void *arg);

static void settle(struct ticket *t, uint32_t cls, const char *msg)
{
    t->reply = reply_of(arena_new(0), cls, S("host.deadline"), SZ(msg));
    struct mintd_ctx *ctx = ctx_get(t->ctx);
    ctx->zombies++;
    struct delivery d = delivery_of(t);
    deliver(&d);
    ctx_put(ctx);
}

static void tell(struct ticket *t, struct mintd_op *cookie)
{
    struct mintd_ctx *ctx = t->ctx;
    __atomic_store_n(&t->cancel, 1, __ATOMIC_RELEASE);
    loop_timer_del(t->timer);
    t->timer = loop_timer(ctx->plug->loop, GRACE_MS, op_timeout, t);
    if (!ctx->desc->cancel) return;
    uint64_t entered = work_enter(ctx);
    ctx->desc->cancel(ctx->self, cookie);
    work_leave(ctx, "cancel", entered);
}

static void op_timeout(void *arg)
{
    struct ticket *t = arg;
    pthread_mutex_lock(&t->lock);
    enum op_state was = t->state;
    bool over = was == OP_QUEUED || (was == OP_RUNNING && t->cancel);
    if (over) t->state = OP_SETTLED;
    struct mintd_op *cookie = cookie_of(t);
    pthread_mutex_unlock(&t->lock);
    if (was == OP_QUEUED || was == OP_RUNNING) {
        if (!over) { tell(t, cookie); return; }
        loop_timer_del(t->timer);
        t->timer = NULL;
        if (was == OP_RUNNING) defect(t->ctx->owner, DEFECT_NO_ANSWER, t->info->name);
        settle(t, was == OP_QUEUED ? MINTD_TRANSIENT : op_doubt(t->info),
               was == OP_QUEUED ? "no worker was free before the deadline, the op was not begun"
                                : "no answer from the plugin before deadline and grace were over");
    }
}

void op_stop(struct mintd_op *cookie)
{
    struct ticket *t = ticket_lock(cookie);
    if (!t) return;
    bool running = t->state == OP_RUNNING && !t->cancel;
    pthread_mutex_unlock(&t->lock);
    if (running) tell(t, cookie);
}

/* ---- beginning */
static struct ticket *ticket_new(struct mintd_ctx *ctx, uint32_t op, const struct op_info *info, const struct mintd_req *req,
                                 struct arena *mem)
{
    if (!free_tickets && !more_tickets()) return NULL;
    struct ticket *t = free_tickets;
    free_tickets = t->next_free;
    t->ctx = ctx;
    t->info = info;
    t->number = op;
    t->req = *req;
    t->req.size = sizeof t->req;
    t->mem = mem;
    t->reply = (struct plug_reply){ 0 };
    __atomic_store_n(&t->cancel, 0, __ATOMIC_RELAXED);
    t->begun_us = loop_now_us(ctx->plug->loop);
    return t;
}

static bool set_deadline(struct ticket *t, uint64_t ms)
{
    if (!ms) ms = op_deadline(t->info, t->ctx->desc->kind, t->number, t->req.flags);
    t->req.deadline_ms = ms ? loop_now_ms(t->ctx->plug->loop) + ms : UINT64_MAX;
    t->timer = ms ? loop_timer(t->ctx->plug->loop, ms, op_timeout, t) : NULL;
    return !ms || t->timer;
}

struct mintd_op *op_begin(struct mintd_ctx *ctx, uint32_t op, const struct mintd_req *req, struct arena *mem,
                          uint64_t deadline_ms, plug_fn *fn, void *arg)
{
    const struct op_info *info = op_info(ctx->desc->kind, op);
    bool full = ctx->live >= LIVE_MAX;
    struct ticket *t = full ? NULL : ticket_new(ctx, op, info, req, mem);
    if (t) ctx->live++;
    if (t && !set_deadline(t, deadline_ms)) {
        t->mem = NULL;
        release(t);
        t = NULL;
    }
    if (!t) {
        refuse(ctx->plug, mem, MINTD_TRANSIENT, full ? S("host.busy") : S("host.no_memory"),
               full ? "4096 ops of this instance wait for their answers already" : "out of memory", fn, arg);
        return NULL;
    }
    t->fn = fn;
    t->arg = arg;
    pthread_mutex_lock(&t->lock);
    t->state = OP_QUEUED;
    struct mintd_op *cookie = cookie_of(t);
    pthread_mutex_unlock(&t->lock);
    metric_add(plug_metrics.in_flight, owner_name(ctx->owner), (struct mintd_str){ NULL, 0 }, 1);
    work_run_op(ctx, op, t);
    return cookie;
}

static mintd_op_fn *function_of(const struct mintd_ctx *ctx, uint32_t op)
{
    if (op == PLUG_START) return ctx->desc->start;
    if (op == PLUG_DRAIN) return ctx->desc->drain;
    return op < OPS_MAX ? ctx->file->ops.fn[op] : NULL;
}

void op_run(void *arg)
{
    struct ticket *t = arg;
    struct mintd_ctx *ctx = t->ctx;
    pthread_mutex_lock(&t->lock);
    bool settled = t->state == OP_SETTLED;
    t->state = settled ? OP_LATE : OP_RUNNING;
    struct mintd_op *cookie = cookie_of(t);
    pthread_mutex_unlock(&t->lock);
    if (settled) { loop_post(ctx->plug->loop, op_ended, t); return; }
    bool loop = ctx->desc->model == MINTD_LOOP;             /* done may give the ticket away: nothing of it is read after */
    const struct op_info *info = t->info;
    uint64_t entered = loop ? work_enter(ctx) : 0;
    function_of(ctx, t->number)(ctx->self, cookie, &t->req);
    if (loop) work_leave(ctx, info->name, entered);
}

/* ---- what the host table does with a cookie, any thread */
void op_done(struct mintd_op *cookie, const struct mintd_outcome *out, const struct mintd_res *res)
{
    struct ticket *t = ticket_lock(cookie);
    enum op_state was = t ? t->state : OP_FREE;
    if (was == OP_RUNNING) t->state = OP_ANSWERED;
    if (was == OP_SETTLED) t->state = OP_LATE;
    const char *op = t ? t->info->name : "";
    if (t) pthread_mutex_unlock(&t->lock);
    if (was == OP_RUNNING) t->reply = read_answer(t, out, res);
    else defect(cookie_owner(cookie), was == OP_SETTLED ? DEFECT_LATE_DONE : DEFECT_DOUBLE_DONE, op);
    if (was == OP_RUNNING || was == OP_SETTLED) loop_post(t->ctx->plug->loop, op_ended, t);
}

void *op_scratch(struct mintd_op *cookie, size_t n)
{
    struct ticket *t = ticket_lock(cookie);
    if (!t) { defect(cookie_owner(cookie), DEFECT_STALE_OP, "scratch"); return NULL; }
    if (!t->mem) t->mem = arena_new(0);
    void *p = t->mem ? arena_alloc(t->mem, n) : NULL;
    pthread_mutex_unlock(&t->lock);
    return p;
}

static uint64_t chunk_of(const struct ticket *t)
{
    struct mintd_vec rows = t->req.rows;
    uint32_t kind = t->ctx->desc->kind;
    if (rows.n != 1) return 0;
    if (kind == MINTD_CHAIN && t->number == CHAIN_PREPARE) return ((const struct mintd_intent *)rows.p)->chunk;
    return kind == MINTD_SIGNER ? ((const struct mintd_ask *)rows.p)->chunk : 0;
}

bool op_peek(struct mintd_op *cookie, const char *what, struct op_view *ret)
{
    struct ticket *t = ticket_lock(cookie);
    if (!t && what) defect(cookie_owner(cookie), DEFECT_STALE_OP, what);
    if (!t) return false;
    *ret = (struct op_view){ t->ctx, t->number, chunk_of(t), t->req.deadline_ms, &t->cancel };
    pthread_mutex_unlock(&t->lock);
    return true;
}

int op_canceled(struct mintd_op *cookie)
{
    struct op_view v;
    if (!op_peek(cookie, "canceled", &v)) return 1;
    return __atomic_load_n(v.cancel, __ATOMIC_ACQUIRE) || loop_now_ms(v.ctx->plug->loop) >= v.deadline_ms;
}

/* ---- plug.h: calls */
void plug_call(struct plug_inst *inst, uint32_t op, const struct mintd_req *req, struct arena *mem, uint64_t deadline_ms,
               plug_fn *fn, void *arg)
{
    struct mintd_ctx *ctx = inst->cur;
    if (ctx && ctx->state == CTX_READY && op < PLUG_START && function_of(ctx, op)) {
        op_begin(ctx, op, req, mem, deadline_ms, fn, arg);
        return;
    }
    if (!ctx || ctx->state != CTX_READY) {
        bool ends = !ctx || ctx->state >= CTX_DRAINING;
        refuse(inst->plug, mem, MINTD_TRANSIENT, ends ? S("host.draining") : S("host.not_ready"),
               ends ? "the instance is being shut down" : "the instance has not started yet", fn, arg);
        return;
    }
    refuse(inst->plug, mem, MINTD_PERMANENT, S("host.not_offered"), "the plugin does not offer this op", fn, arg);
}

void plug_call_rows(struct plug_inst *inst, uint32_t op, uint32_t flags, const void *op_arg, struct mintd_vec rows,
                    struct arena *mem, plug_fn *fn, void *arg)
{
    struct mintd_req req = { .size = sizeof req, .flags = flags, .arg = op_arg, .rows = rows };
    plug_call(inst, op, &req, mem, 0, fn, arg);
}
