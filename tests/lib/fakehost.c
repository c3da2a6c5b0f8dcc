/* The fake host. Owns the loop, the loaded instance contexts and op records of one test. One thread: the seeded loop's. */
#include "fakehost.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/rows.h"
#include "loop_fake.h"

enum { OP_START = 62, OP_DRAIN = 63, RUN_MAX_MS = 600000 };

struct fh { struct loop *loop; char error[256]; unsigned logged[4]; char poke[128]; unsigned live; };
struct mintd_cfg { struct fh *fh; const struct mintd_plugin *desc; const struct fh_opt *opts; };
struct mintd_ctx { struct fh *fh; struct loop_pool *pool; const struct mintd_plugin *desc; };
struct mintd_op {
    struct mintd_ctx *ctx; struct fh_inst *inst; uint32_t number; struct mintd_req req; struct arena *scratch;
    struct fh_reply *ret; bool *done; mintd_op_fn *fn; uint64_t begun; bool answered;
};
struct handle { struct loop_timer *timer; struct loop_watch *watch; struct loop_dial *dial; };
struct work { struct mintd_ctx *ctx; mintd_fn *work, *after; void *arg; };

static void finish(void *arg)
{
    struct mintd_op *op = arg;
    *op->done = true;
    op->ctx->fh->live--;
    arena_free(op->scratch);
    free(op);
}

static void host_done(struct mintd_op *op, const struct mintd_outcome *out, const struct mintd_res *res)
{
    assert_false(op->answered);
    op->answered = true;
    struct arena *mem = arena_new(0);
    const struct row_type *t = op->number == OP_DRAIN ? NULL : rows_of(op->ctx->desc->kind, op->number, &op->req);
    op->ret->mem = mem;
    op->ret->out = *rows_copy_outcome(mem, out);
    op->ret->res = (struct mintd_res){ .size = sizeof op->ret->res };
    assert_int_equal(rows_copy_res(mem, t, res, &op->ret->res), 0);
    op->ret->took_ms = loop_now_ms(op->ctx->fh->loop) - op->begun;
    loop_post(op->ctx->fh->loop, finish, op);
}

static void *host_scratch(struct mintd_op *op, size_t n) { return arena_alloc(op->scratch, n); }
static int host_canceled(struct mintd_op *op) { (void)op; return 0; }
static uint64_t host_now(struct mintd_ctx *c) { return loop_now_ms(c->fh->loop); }
static int64_t host_wall(struct mintd_ctx *c) { return loop_wall_us(c->fh->loop); }
static void host_random(struct mintd_ctx *c, void *p, size_t n) { loop_random(c->fh->loop, p, n); }
static void host_post(struct mintd_ctx *c, mintd_fn *fn, void *arg) { loop_post(c->fh->loop, fn, arg); }
static int host_sync(struct mintd_ctx *c, int fd) { return loop_sync(c->fh->loop, fd); }

static void host_log(struct mintd_ctx *c, struct mintd_op *op, uint32_t level, struct mintd_str msg, struct mintd_vec fields)
{
    (void)op;
    for (uint32_t i = level < 4 ? level : 3; i < 4; i++) c->fh->logged[i]++;
    if (!getenv("FH_LOG")) return;
    fprintf(stderr, "# " STR_FMT, STR_ARG(msg));
    for (uint32_t i = 0; i < fields.n; i++) {
        struct mintd_field f;
        mintd_row(fields, i, &f, sizeof f);
        fprintf(stderr, " " STR_FMT "=" STR_FMT, STR_ARG(f.key), STR_ARG(f.val));
    }
    fputc('\n', stderr);
}

static void host_metric(struct mintd_ctx *c, uint32_t index, struct mintd_str label, int64_t v)
{
    (void)label; (void)v;
    assert_true(index < c->desc->metrics.n);
}

static void host_poke(struct mintd_ctx *c, struct mintd_str id)
{
    snprintf(c->fh->poke, sizeof c->fh->poke, STR_FMT, STR_ARG(id));
}

static void work_done(void *arg)
{
    struct work *w = arg;
    w->after(w->arg);
    free(w);
}

static void work_run(void *arg)
{
    struct work *w = arg;
    w->work(w->arg);
    loop_post(w->ctx->fh->loop, work_done, w);
}

static int host_offload(struct mintd_ctx *c, mintd_fn *work, mintd_fn *after, void *arg)
{
    struct work *w = calloc(1, sizeof *w);
    *w = (struct work){ c, work, after, arg };
    loop_pool_run(c->pool, 0, work_run, w);
    return 0;
}

static struct mintd_watch *host_watch(struct mintd_ctx *c, int fd, uint32_t ev, mintd_io_fn *fn, void *arg)
{
    struct handle *h = calloc(1, sizeof *h);
    h->watch = loop_watch(c->fh->loop, fd, ev, fn, arg);
    return (struct mintd_watch *)h;
}
static int host_watch_set(struct mintd_watch *w, uint32_t ev) { return loop_watch_set(((struct handle *)w)->watch, ev); }
static void host_watch_del(struct mintd_watch *w) { if (w) loop_watch_del(((struct handle *)w)->watch); free(w); }

static struct mintd_timer *host_timer(struct mintd_ctx *c, uint64_t ms, mintd_fn *fn, void *arg)
{
    struct handle *h = calloc(1, sizeof *h);
    h->timer = loop_timer(c->fh->loop, ms, fn, arg);
    return (struct mintd_timer *)h;
}
static void host_timer_del(struct mintd_timer *t) { if (t) loop_timer_del(((struct handle *)t)->timer); free(t); }

static struct mintd_dial *host_dial(struct mintd_ctx *c, struct mintd_str host, uint32_t port, uint64_t ms, mintd_io_fn *fn, void *arg)
{
    char name[256];
    snprintf(name, sizeof name, STR_FMT, STR_ARG(host));
    struct handle *h = calloc(1, sizeof *h);
    h->dial = loop_dial(c->fh->loop, name, (uint16_t)port, ms, fn, arg);
    return (struct mintd_dial *)h;
}
static void host_dial_del(struct mintd_dial *d) { if (d) loop_dial_del(((struct handle *)d)->dial); free(d); }

static uint32_t host_worker(struct mintd_ctx *c) { int i = loop_pool_self(c->pool); return i < 0 ? 0 : (uint32_t)i; }
static int host_wait(struct mintd_op *op, int fd, uint32_t ev, uint64_t ms)
{
    return loop_pool_wait(op->ctx->pool, fd, ev, ms, &(const volatile int){ 0 });
}
static int host_dial_wait(struct mintd_op *op, struct mintd_str host, uint32_t port, uint64_t ms)
{
    (void)op; (void)host; (void)port; (void)ms;
    return -ECONNREFUSED;
}

static const struct mintd_opt *find_opt(const struct mintd_cfg *cfg, const char *name)
{
    for (uint32_t i = 0; i < cfg->desc->opts.n; i++) {
        const struct mintd_opt *o = MINTD_AT(cfg->desc->opts, i);
        if (!strcmp(o->name, name)) return o;
    }
    fail_msg("plugin %s asks for an option it does not publish: %s", cfg->desc->name, name);
    return NULL;
}

static const char *value_of(const struct mintd_cfg *cfg, const char *name, uint32_t i)
{
    const struct mintd_opt *o = find_opt(cfg, name);
    bool given = false;
    for (const struct fh_opt *f = cfg->opts; f && f->name; f++) {
        if (strcmp(f->name, name)) continue;
        given = true;
        if (i-- == 0) return f->value;
    }
    return given || i ? NULL : o->dflt;
}

static int host_opt_str(const struct mintd_cfg *cfg, const char *name, uint32_t i, struct mintd_str *ret)
{
    const char *v = value_of(cfg, name, i);
    if (!v) return -ENOENT;
    *ret = str_of(v);
    return 0;
}

static int host_opt_i64(const struct mintd_cfg *cfg, const char *name, uint32_t i, int64_t *ret)
{
    static const struct { const char *unit; int64_t by; } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
        { "d", 86400000 }, { "KiB", 1024 }, { "MiB", 1048576 }, { "GiB", 1073741824 }, { "kB", 1000 }, { "MB", 1000000 }, { "B", 1 } };
    const char *v = value_of(cfg, name, i);
    if (!v) return -ENOENT;
    if (!strcmp(v, "true") || !strcmp(v, "false")) { *ret = v[0] == 't'; return 0; }
    char *end;
    *ret = strtoll(v, &end, 10);
    while (*end == ' ') end++;
    for (size_t u = 0; *end && u < ARRAY_LEN(units); u++)
        if (!strcmp(end, units[u].unit)) { *ret *= units[u].by; return 0; }
    if (*end) fail_msg("%s = %s is not a number", name, v);
    return 0;
}

static void host_opt_error(const struct mintd_cfg *cfg, const char *name, const char *why)
{
    snprintf(cfg->fh->error, sizeof cfg->fh->error, "%s: %s", name, why);
}

static const struct mintd_host table = {
    .size = sizeof table, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR,
    .done = host_done, .scratch = host_scratch, .canceled = host_canceled, .now_ms = host_now, .wall_us = host_wall,
    .random = host_random, .log = host_log, .metric = host_metric, .poke = host_poke, .post = host_post, .sync = host_sync,
    .offload = host_offload, .watch = host_watch, .watch_set = host_watch_set, .watch_del = host_watch_del,
    .timer = host_timer, .timer_del = host_timer_del, .dial = host_dial, .dial_del = host_dial_del,
    .worker = host_worker, .wait = host_wait, .dial_wait = host_dial_wait,
    .opt_str = host_opt_str, .opt_i64 = host_opt_i64, .opt_error = host_opt_error,
};

struct fh *fh_new(uint64_t seed)
{
    struct fh *fh = calloc(1, sizeof *fh);
    assert_non_null(fh);
    assert_int_equal(loop_new(&fh->loop), 0);
    loop_fake_seed(fh->loop, seed);
    return fh;
}

void fh_free(struct fh *fh)
{
    while (loop_fake_step(fh->loop)) { }
    assert_int_equal(fh->live, 0);
    assert_int_equal(loop_free(fh->loop), 0);
    free(fh);
}

struct loop *fh_loop(struct fh *fh) { return fh->loop; }
const char *fh_error(struct fh *fh) { return fh->error; }
unsigned fh_logged(struct fh *fh, uint32_t level) { return fh->logged[level]; }
struct mintd_str fh_last_poke(struct fh *fh) { return str_of(fh->poke); }

static const struct mintd_plugin *load(const char *plugin)
{
    char path[PATH_MAX];
    const char *dir = getenv("MINTD_PLUGINS");
    snprintf(path, sizeof path, "%s/%s.so", dir ? dir : "plugins-out", plugin);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!so) fail_msg("%s", dlerror());
    const struct mintd_plugin *(*entry)(void);
    *(void **)&entry = dlsym(so, "mintd_plugin_v0");
    assert_non_null(*(void **)&entry);
    return entry();
}

int fh_create(struct fh *fh, const char *plugin, const struct fh_opt *opts, struct fh_inst *ret)
{
    const struct mintd_plugin *desc = load(plugin);
    struct mintd_cfg cfg = { fh, desc, opts };
    for (const struct fh_opt *f = opts; f && f->name; f++) find_opt(&cfg, f->name);
    int r = desc->check ? desc->check(&table, &cfg) : 0;
    if (r) return r;
    struct mintd_ctx *ctx = calloc(1, sizeof *ctx);
    uint32_t n = desc->model == MINTD_WORKERS && desc->workers ? desc->workers : 1;
    *ctx = (struct mintd_ctx){ fh, loop_pool_new(fh->loop, plugin, n), desc };
    void *self = NULL;
    r = desc->create(&table, ctx, &cfg, &self);
    if (r) { loop_pool_free(ctx->pool); free(ctx); return r; }
    *ret = (struct fh_inst){ desc, self, ctx };
    return 0;
}

void fh_destroy(struct fh *fh, struct fh_inst *inst)
{
    while (loop_fake_step(fh->loop)) { }
    inst->desc->destroy(inst->self);
    loop_pool_free(inst->ctx->pool);
    free(inst->ctx);
    *inst = (struct fh_inst){ 0 };
}

static void op_run(void *arg)
{
    struct mintd_op *op = arg;
    op->fn(op->inst->self, op, &op->req);
}

void fh_call_async(struct fh *fh, struct fh_inst *inst, uint32_t number, const void *arg, uint32_t flags, struct mintd_vec rows,
                   struct fh_reply *ret, bool *done)
{
    mintd_op_fn *fn = number == OP_START ? inst->desc->start : number == OP_DRAIN ? inst->desc->drain
        : ((mintd_op_fn *const *)(const void *)((const char *)inst->desc->ops + 8))[number];
    assert_non_null(fn);
    struct mintd_op *op = calloc(1, sizeof *op);
    *op = (struct mintd_op){ inst->ctx, inst, number, { sizeof op->req, flags, loop_now_ms(fh->loop) + 30000, arg, rows },
        arena_new(0), ret, done, fn, loop_now_ms(fh->loop), false };
    *done = false;
    fh->live++;
    if (inst->desc->model == MINTD_LOOP) loop_post(fh->loop, op_run, op);
    else loop_pool_run(inst->ctx->pool, number < OP_START && inst->desc->serial_ops >> number & 1 ? 0 : -1, op_run, op);
}

static bool reached(void *arg) { return *(const bool *)arg; }

void fh_run(struct fh *fh, const bool *until)
{
    bool ok = loop_fake_until(fh->loop, reached, (void *)(uintptr_t)until, RUN_MAX_MS);
    assert_true(ok);
}

struct fh_reply fh_call(struct fh *fh, struct fh_inst *inst, uint32_t op, const void *arg, uint32_t flags, struct mintd_vec rows)
{
    struct fh_reply reply = { 0 };
    bool done;
    fh_call_async(fh, inst, op, arg, flags, rows, &reply, &done);
    fh_run(fh, &done);
    return reply;
}

void fh_reply_free(struct fh_reply *r)
{
    r->mem = arena_free(r->mem);
}
