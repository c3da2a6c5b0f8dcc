/* The host table that plugins see, over base/loop.h. Owns the handles a plugin opens, until it deletes them or is destroyed.
 * Every function checks the thread it is called on; a call from the wrong one is counted and does nothing.
 * Calls base/, conf/. Thread: as plugin.h says of each function. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/str.h"
#include "plug/inst.h"

enum { FIELDS_MAX = 24, KEY_MAX = 48, MSG_MAX = 4096, POKE_MAX = 256, HOST_MAX = 255 };

static bool on_loop(const struct mintd_ctx *ctx, const char *what)
{
    if (ctx_on_loop(ctx)) return true;
    defect(ctx->owner, DEFECT_WRONG_THREAD, what);
    return false;
}

/* ---- any thread */
static uint64_t host_now_ms(struct mintd_ctx *ctx) { return loop_now_ms(ctx->plug->loop); }
static int64_t host_wall_us(struct mintd_ctx *ctx) { return loop_wall_us(ctx->plug->loop); }
static void host_random(struct mintd_ctx *ctx, void *p, size_t n) { loop_random(ctx->plug->loop, p, n); }

static struct mintd_str clean_key(struct mintd_str key, char buf[KEY_MAX])
{
    size_t n = key.n < KEY_MAX ? key.n : KEY_MAX;
    for (size_t i = 0; i < n; i++) {
        char c = key.p[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
        buf[i] = fine ? c : '_';
    }
    return (struct mintd_str){ buf, n };
}

static uint32_t copy_fields(struct mintd_ctx *ctx, struct mintd_vec from, struct mintd_field *to, char keys[][KEY_MAX], uint32_t max)
{
    uint32_t n = from.n < max ? from.n : max;
    if (n && (!from.p || from.stride < sizeof(struct mintd_str) || from.stride % 8 || (uintptr_t)from.p % 8)) {
        defect(ctx->owner, DEFECT_BAD_FIELDS, "log");
        return 0;
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct mintd_field f;
        mintd_row(from, i, &f, sizeof f);
        if (!f.key.p || !f.key.n || (f.val.n && !f.val.p)) { defect(ctx->owner, DEFECT_BAD_FIELDS, "log"); continue; }
        to[used] = (struct mintd_field){ clean_key(f.key, keys[used]), f.val };
        used++;
    }
    return used;
}

static void host_log(struct mintd_ctx *ctx, struct mintd_op *op, uint32_t level, struct mintd_str msg, struct mintd_vec fields)
{
    struct mintd_field f[FIELDS_MAX + 3];
    char keys[FIELDS_MAX][KEY_MAX], chunk[24];
    struct op_view v = { 0 };
    uint32_t n = 0;
    if (level > MINTD_DEBUG) level = MINTD_DEBUG;
    if (!log_on(level)) return;
    f[n++] = (struct mintd_field){ S("instance"), owner_name(ctx->owner) };
    if (op && op_peek(op, NULL, &v) && v.ctx == ctx)
        f[n++] = (struct mintd_field){ S("op"), SZ(op_info(ctx->desc->kind, v.number)->name) };
    if (v.chunk && v.ctx == ctx) {
        int len = snprintf(chunk, sizeof chunk, "%llu", (unsigned long long)v.chunk);
        f[n++] = (struct mintd_field){ S("chunk"), { chunk, (size_t)len } };
    }
    n += copy_fields(ctx, fields, f + n, keys, FIELDS_MAX);
    if (!msg.p) msg = (struct mintd_str){ NULL, 0 };
    if (msg.n > MSG_MAX) msg.n = MSG_MAX;
    log_fields(level, msg, f, n);
}

static void host_metric(struct mintd_ctx *ctx, uint32_t index, struct mintd_str label, int64_t v)
{
    const struct plug_file *file = ctx->file;
    if (index >= file->desc.metrics.n) { defect(ctx->owner, DEFECT_UNKNOWN_METRIC, "metric"); return; }
    const struct mintd_metric *m = &file->metrics[index];
    struct mintd_str who = owner_name(ctx->owner), none = { NULL, 0 };
    if (!m->label || !label.p) label = none;
    if (m->type == METRIC_GAUGE) metric_set(file->registered[index], who, label, (double)v);
    else if (m->type == METRIC_HISTOGRAM) metric_observe(file->registered[index], who, label, (double)v / 1000);
    else if (v >= 0) metric_add(file->registered[index], who, label, (double)v);
    else defect(ctx->owner, DEFECT_UNKNOWN_METRIC, m->name);      /* a counter never goes back */
}

struct poke { struct mintd_ctx *ctx; size_t n; char id[]; };

static void poke_run(void *arg)
{
    struct poke *p = arg;
    struct plug_inst *inst = p->ctx->dead ? NULL : p->ctx->inst;
    if (inst && inst->poke && inst->cur == p->ctx) inst->poke(inst->poke_arg, (struct mintd_str){ p->id, p->n });
    ctx_put(p->ctx);
    free(p);
}

static void host_poke(struct mintd_ctx *ctx, struct mintd_str id)
{
    size_t n = !id.p ? 0 : id.n < POKE_MAX ? id.n : POKE_MAX;
    struct poke *p = malloc(sizeof *p + n);
    if (!p) return;                                         /* only a hint: polling finds the news too */
    *p = (struct poke){ .ctx = ctx_get(ctx), .n = n };
    if (n) memcpy(p->id, id.p, n);
    loop_post(ctx->plug->loop, poke_run, p);
}

struct posted { struct mintd_ctx *ctx; mintd_fn *work, *fn; void *arg; };

static void posted_run(void *arg)
{
    struct posted *p = arg;
    struct mintd_ctx *ctx = p->ctx;
    if (!ctx->dead) {
        uint64_t entered = work_enter(ctx);
        p->fn(p->arg);
        work_leave(ctx, p->work ? "offload" : "post", entered);
    }
    free(p);
    ctx_put(ctx);
}

static void host_post(struct mintd_ctx *ctx, mintd_fn *fn, void *arg)
{
    struct posted *p = malloc(sizeof *p);
    if (!p) abort();                                        /* the plugin was promised the call, and the table has no error for it */
    *p = (struct posted){ ctx_get(ctx), NULL, fn, arg };
    loop_post(ctx->plug->loop, posted_run, p);
}

static int host_sync(struct mintd_ctx *ctx, int fd)
{
    uint32_t worker;
    struct loop_pool *off = __atomic_load_n(&ctx->offload, __ATOMIC_ACQUIRE);
    if (ctx_my_pool(ctx, &worker) || (off && loop_pool_self(off) >= 0)) return loop_sync(ctx->plug->loop, fd);
    defect(ctx->owner, DEFECT_WRONG_THREAD, "sync");
    return -EPERM;
}

/* ---- loop thread only */
static void offload_run(void *arg)
{
    struct posted *p = arg;
    p->work(p->arg);
    loop_post(p->ctx->plug->loop, posted_run, p);
}

static int host_offload(struct mintd_ctx *ctx, mintd_fn *work, mintd_fn *after, void *arg)
{
    if (!on_loop(ctx, "offload")) return -EPERM;
    if (!ctx->offload) {
        struct loop_pool *pool = loop_pool_new(ctx->plug->loop, "offload", 1);
        __atomic_store_n(&ctx->offload, pool, __ATOMIC_RELEASE);
    }
    struct posted *p = ctx->offload ? malloc(sizeof *p) : NULL;
    if (!p) return -ENOMEM;
    *p = (struct posted){ ctx_get(ctx), work, after, arg };
    loop_pool_run(ctx->offload, 0, offload_run, p);
    return 0;
}

struct handle {
    struct list link; struct mintd_ctx *ctx;
    struct loop_watch *watch; struct loop_timer *timer; struct loop_dial *dial;
    mintd_fn *fn; mintd_io_fn *io; void *arg;
};
struct mintd_watch { struct handle h; };
struct mintd_timer { struct handle h; };
struct mintd_dial { struct handle h; };

static struct handle *handle_new(struct mintd_ctx *ctx, mintd_fn *fn, mintd_io_fn *io, void *arg)
{
    struct handle *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    *h = (struct handle){ .ctx = ctx, .fn = fn, .io = io, .arg = arg };
    list_add(&ctx->handles, &h->link);
    return h;
}

static void handle_del(struct handle *h)
{
    loop_watch_del(h->watch);
    loop_timer_del(h->timer);
    loop_dial_del(h->dial);
    list_del(&h->link);
    free(h);
}

static void *handle_or_null(struct handle *h, bool opened)
{
    if (h && !opened) handle_del(h);
    return opened ? h : NULL;
}

static void watch_ready(void *arg, int fd, uint32_t events)
{
    const struct handle *h = arg;
    struct mintd_ctx *ctx = h->ctx;
    uint64_t entered = work_enter(ctx);
    h->io(h->arg, fd, events);
    work_leave(ctx, "watch", entered);
}

static void dial_ready(void *arg, int fd, uint32_t events)
{
    const struct handle *h = arg;
    struct mintd_ctx *ctx = h->ctx;
    uint64_t entered = work_enter(ctx);
    h->io(h->arg, fd, events);
    work_leave(ctx, "dial", entered);
}

static void timer_fired(void *arg)
{
    const struct handle *h = arg;
    struct mintd_ctx *ctx = h->ctx;
    uint64_t entered = work_enter(ctx);
    h->fn(h->arg);
    work_leave(ctx, "timer", entered);
}

static struct mintd_watch *host_watch(struct mintd_ctx *ctx, int fd, uint32_t events, mintd_io_fn *fn, void *arg)
{
    struct handle *h = on_loop(ctx, "watch") ? handle_new(ctx, NULL, fn, arg) : NULL;
    if (h) h->watch = loop_watch(ctx->plug->loop, fd, events & (MINTD_IN | MINTD_OUT), watch_ready, h);
    return handle_or_null(h, h && h->watch);
}

static int host_watch_set(struct mintd_watch *w, uint32_t events)
{
    return on_loop(w->h.ctx, "watch_set") ? loop_watch_set(w->h.watch, events & (MINTD_IN | MINTD_OUT)) : -EPERM;
}

static void host_watch_del(struct mintd_watch *w)
{
    if (w && on_loop(w->h.ctx, "watch_del")) handle_del(&w->h);
}

static struct mintd_timer *host_timer(struct mintd_ctx *ctx, uint64_t ms, mintd_fn *fn, void *arg)
{
    struct handle *h = on_loop(ctx, "timer") ? handle_new(ctx, fn, NULL, arg) : NULL;
    if (h) h->timer = loop_timer(ctx->plug->loop, ms, timer_fired, h);
    return handle_or_null(h, h && h->timer);
}

static void host_timer_del(struct mintd_timer *t)
{
    if (t && on_loop(t->h.ctx, "timer_del")) handle_del(&t->h);
}

/* A NUL-terminated copy of a host name, false for what cannot be one. */
static bool host_name(struct mintd_str host, uint32_t port, char ret[HOST_MAX + 1])
{
    if (!host.p || !host.n || host.n > HOST_MAX || memchr(host.p, 0, host.n) || !port || port > UINT16_MAX) return false;
    memcpy(ret, host.p, host.n);
    ret[host.n] = 0;
    return true;
}

static struct mintd_dial *host_dial(struct mintd_ctx *ctx, struct mintd_str host, uint32_t port, uint64_t ms, mintd_io_fn *fn,
                                    void *arg)
{
    char name[HOST_MAX + 1];
    if (!on_loop(ctx, "dial") || !host_name(host, port, name)) return NULL;
    struct handle *h = handle_new(ctx, NULL, fn, arg);
    if (h) h->dial = loop_dial(ctx->plug->loop, name, (uint16_t)port, ms, dial_ready, h);
    return handle_or_null(h, h && h->dial);
}

static void host_dial_del(struct mintd_dial *d)
{
    if (d && on_loop(d->h.ctx, "dial_del")) handle_del(&d->h);
}

void host_close_handles(struct mintd_ctx *ctx)
{
    struct list *l;
    while ((l = list_pop(&ctx->handles))) {
        defect(ctx->owner, DEFECT_LEAKED_HANDLE, "destroy");
        handle_del(LIST_OF(l, struct handle, link));
    }
}

/* ---- worker threads only */
static uint32_t host_worker(struct mintd_ctx *ctx)
{
    uint32_t worker = 0;
    if (!ctx_my_pool(ctx, &worker)) defect(ctx->owner, DEFECT_WRONG_THREAD, "worker");
    return worker;
}

/* 0 and what to wait with, or why not to wait at all */
static int may_wait(struct mintd_op *op, const char *what, struct op_view *v, struct loop_pool **ret_pool)
{
    uint32_t worker;
    if (!op_peek(op, what, v)) return -ECANCELED;
    *ret_pool = ctx_my_pool(v->ctx, &worker);
    if (!*ret_pool) { defect(v->ctx->owner, DEFECT_WRONG_THREAD, what); return -EPERM; }
    bool over = __atomic_load_n(v->cancel, __ATOMIC_ACQUIRE) || loop_now_ms(v->ctx->plug->loop) >= v->deadline_ms;
    return over ? -ECANCELED : 0;
}

static int wait_for(const struct op_view *v, struct loop_pool *pool, int fd, uint32_t events, uint64_t ms)
{
    struct loop *loop = v->ctx->plug->loop;
    uint64_t now = loop_now_ms(loop), left = v->deadline_ms > now ? v->deadline_ms - now : 0;
    int r = loop_pool_wait(pool, fd, events, ms < left ? ms : left, v->cancel);
    return r == 0 && loop_now_ms(loop) >= v->deadline_ms ? -ECANCELED : r;
}

static int host_wait(struct mintd_op *op, int fd, uint32_t events, uint64_t ms)
{
    struct op_view v;
    struct loop_pool *pool;
    int r = may_wait(op, "wait", &v, &pool);
    return r ? r : wait_for(&v, pool, fd, events & (MINTD_IN | MINTD_OUT), ms);
}

/* A dial made on the loop for a worker that waits on `ready`. The loop frees it, after the worker let go. */
struct worker_dial {
    struct mintd_ctx *ctx; struct loop_dial *dial; pthread_mutex_t lock;
    int ready, result; bool answered, taken; uint64_t ms; uint16_t port; char host[HOST_MAX + 1];
};

static void worker_dial_ready(void *arg, int fd, uint32_t events)
{
    (void)events;
    struct worker_dial *d = arg;
    pthread_mutex_lock(&d->lock);
    d->result = fd;
    d->answered = true;
    pthread_mutex_unlock(&d->lock);
    if (eventfd_write(d->ready, 1)) log_error("cannot wake a worker after a dial: %s", strerror(errno));
}

static void worker_dial_begin(void *arg)
{
    struct worker_dial *d = arg;
    d->dial = loop_dial(d->ctx->plug->loop, d->host, d->port, d->ms, worker_dial_ready, d);
    if (!d->dial) worker_dial_ready(d, -ENOMEM, 0);
}

static void worker_dial_end(void *arg)
{
    struct worker_dial *d = arg;
    loop_dial_del(d->dial);
    if (d->answered && !d->taken && d->result >= 0) close(d->result);
    close(d->ready);
    pthread_mutex_destroy(&d->lock);
    ctx_put(d->ctx);
    free(d);
}

static struct worker_dial *worker_dial_new(struct mintd_ctx *ctx, uint32_t port, uint64_t ms)
{
    struct worker_dial *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->ready < 0) { free(d); return NULL; }
    pthread_mutex_init(&d->lock, NULL);
    d->ctx = ctx_get(ctx);
    d->ms = ms;
    d->port = (uint16_t)port;
    return d;
}

static int host_dial_wait(struct mintd_op *op, struct mintd_str host, uint32_t port, uint64_t ms)
{
    struct op_view v;
    struct loop_pool *pool;
    char name[HOST_MAX + 1];
    int r = may_wait(op, "dial_wait", &v, &pool);
    if (r) return r;
    if (!host_name(host, port, name)) return -EINVAL;
    struct worker_dial *d = worker_dial_new(v.ctx, port, ms);
    if (!d) return -ENOMEM;
    memcpy(d->host, name, sizeof name);
    loop_post(v.ctx->plug->loop, worker_dial_begin, d);
    r = wait_for(&v, pool, d->ready, MINTD_IN, ms);
    pthread_mutex_lock(&d->lock);
    d->taken = d->answered && r != -ECANCELED;
    if (d->taken) r = d->result;
    else if (r >= 0) r = -ETIMEDOUT;
    pthread_mutex_unlock(&d->lock);
    loop_post(v.ctx->plug->loop, worker_dial_end, d);
    return r;
}

/* ---- check and create only */
static bool is_number(const char *type)
{
    static const char *const numbers[] = { "int", "bool", "duration", "size", "amount" };
    if (!strncmp(type, "list:", 5)) type += 5;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (!strcmp(type, numbers[i])) return true;
    return false;
}

static bool readable(const struct mintd_cfg *cfg, const char *name, bool number)
{
    const struct plug_file *file = cfg->ctx->file;
    for (uint32_t i = 0; cfg->open && name && i < file->desc.opts.n; i++)
        if (!strcmp(file->opts[i].name, name) && is_number(file->opts[i].type) == number) return true;
    defect(cfg->ctx->owner, DEFECT_UNKNOWN_OPTION, number ? "opt_i64" : "opt_str");
    return false;
}

static int host_opt_str(const struct mintd_cfg *cfg, const char *name, uint32_t i, struct mintd_str *ret)
{
    if (!on_loop(cfg->ctx, "opt_str")) return -EPERM;
    return readable(cfg, name, false) ? conf_opt_str(cfg->opts, name, i, ret) : -EINVAL;
}

static int host_opt_i64(const struct mintd_cfg *cfg, const char *name, uint32_t i, int64_t *ret)
{
    if (!on_loop(cfg->ctx, "opt_i64")) return -EPERM;
    return readable(cfg, name, true) ? conf_opt_i64(cfg->opts, name, i, ret) : -EINVAL;
}

static void host_opt_error(const struct mintd_cfg *cfg, const char *name, const char *why)
{
    if (!on_loop(cfg->ctx, "opt_error")) return;
    const struct plug_file *file = cfg->ctx->file;
    bool published = false;
    for (uint32_t i = 0; name && i < file->desc.opts.n; i++) published |= !strcmp(file->opts[i].name, name);
    if (cfg->open && published) conf_opt_error(cfg->opts, name, why ? why : "refused by the plugin", cfg->errs);
    else defect(cfg->ctx->owner, DEFECT_UNKNOWN_OPTION, "opt_error");
}

const struct mintd_host plug_host = {
    .size = sizeof plug_host, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR,
    .done = op_done, .scratch = op_scratch, .canceled = op_canceled,
    .now_ms = host_now_ms, .wall_us = host_wall_us, .random = host_random,
    .log = host_log, .metric = host_metric, .poke = host_poke, .post = host_post, .sync = host_sync,
    .offload = host_offload,
    .watch = host_watch, .watch_set = host_watch_set, .watch_del = host_watch_del,
    .timer = host_timer, .timer_del = host_timer_del,
    .dial = host_dial, .dial_del = host_dial_del,
    .worker = host_worker, .wait = host_wait, .dial_wait = host_dial_wait,
    .opt_str = host_opt_str, .opt_i64 = host_opt_i64, .opt_error = host_opt_error,
};
