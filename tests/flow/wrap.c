/* A plugin around a plugin: passes everything on, except one call that the test named. Tests only.
 *
 * FLOW_WRAP = "PLUGIN OP WHEN CLASS NTH": of that plugin's op (its place in the ops table) the NTH call
 *   before   is not made; the answer is CLASS
 *   after    is made; its answer is replaced by CLASS
 *   lost     is made; nobody answers until long after the deadline
 *   garble   is made; the answer says OK and brings no rows
 * FLOW_FIRED names a file that is made when it happens. CLASS is the number of an outcome class, or k: the process ends there (exit code 99). */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mintd/plugin.h"

enum { OPS = 10, KILLED = 99, LATE_MS = 60000 };
enum when { NEVER, BEFORE, AFTER, LOST, GARBLE };

struct wrapped { const struct mintd_plugin *real; struct mintd_host host; const struct mintd_host *daemon;
    struct mintd_ctx *ctx; void *self; struct mintd_timer *timer; unsigned calls; };
static struct { enum when when; char cls; unsigned op, nth; struct mintd_op *target, *silent; const struct mintd_host *daemon; } fault;

static const struct mintd_plugin *real(void)
{
    static const struct mintd_plugin *found;
    char path[4096];
    if (found) return found;
    snprintf(path, sizeof path, "%s/" WRAPPED ".so", getenv("FLOW_PLUGINS"));
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct mintd_plugin *(*entry)(void) = NULL;
    if (so) *(void **)&entry = dlsym(so, "mintd_plugin_v0");
    if (!entry) { fprintf(stderr, "wrap: %s\n", dlerror()); abort(); }
    return found = entry();
}

static void read_fault(void)
{
    char plugin[32], when[16];
    const char *text = getenv("FLOW_WRAP");
    fault.when = NEVER;
    if (!text || sscanf(text, "%31s %u %15s %c %u", plugin, &fault.op, when, &fault.cls, &fault.nth) != 5 || strcmp(plugin, WRAPPED)) return;
    fault.when = !strcmp(when, "before") ? BEFORE : !strcmp(when, "after") ? AFTER : !strcmp(when, "lost") ? LOST : GARBLE;
}

/* Leaves a file, so that the test knows that its fault was not idle. */
static void fired(void)
{
    FILE *f = fopen(getenv("FLOW_FIRED"), "w");
    if (!f) abort();
    fclose(f);
}

static void answer(const struct mintd_host *host, struct mintd_op *op)
{
    if (fault.cls == 'k') _exit(KILLED);
    struct mintd_outcome out = { .size = sizeof out, .cls = (uint32_t)(fault.cls - '0'), .slug = { "test.injected", 13 }, .msg = { "by the test", 11 } };
    host->done(op, &out, NULL);
}

static void done(struct mintd_op *op, const struct mintd_outcome *out, const struct mintd_res *res)
{
    if (op != fault.target) { fault.daemon->done(op, out, res); return; }
    fault.target = NULL;
    if (fault.when == AFTER) answer(fault.daemon, op);
    else if (fault.when == GARBLE) fault.daemon->done(op, NULL, NULL);
    else fault.silent = op;
}

static void pass(unsigned i, void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct wrapped *w = self;
    mintd_op_fn *const *ops = (mintd_op_fn *const *)((const char *)w->real->ops + 8);
    if (fault.when != NEVER && i == fault.op && ++w->calls == fault.nth) {
        fired();
        if (fault.when == BEFORE) { answer(w->daemon, op); return; }
        fault.target = op;
    }
    ops[i](w->self, op, req);
}

#define OP(i) static void op##i(void *self, struct mintd_op *op, const struct mintd_req *req) { pass(i, self, op, req); }
OP(0) OP(1) OP(2) OP(3) OP(4) OP(5) OP(6) OP(7) OP(8) OP(9)

static void start(void *self, struct mintd_op *op, const struct mintd_req *req) { struct wrapped *w = self; w->real->start(w->self, op, req); }

static void drain(void *self, struct mintd_op *op, const struct mintd_req *req) { struct wrapped *w = self; w->real->drain(w->self, op, req); }

static void too_late(void *arg)
{
    struct wrapped *w = arg;
    w->daemon->timer_del(w->timer);
    w->daemon->done(fault.silent, NULL, NULL);
}

static void cancel(void *self, struct mintd_op *op)
{
    struct wrapped *w = self;
    if (op == fault.silent) w->timer = w->daemon->timer(w->ctx, LATE_MS, too_late, w);
    else if (w->real->cancel) w->real->cancel(w->self, op);
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret)
{
    struct wrapped *w = calloc(1, sizeof *w);
    if (!w) return -12;
    read_fault();
    w->real = real();
    w->daemon = fault.daemon = host;
    w->ctx = ctx;
    w->host = *host;
    w->host.done = done;
    int r = w->real->create(&w->host, ctx, cfg, &w->self);
    if (r) free(w);
    else *ret = w;
    return r;
}

static void destroy(void *self)
{
    struct wrapped *w = self;
    w->real->destroy(w->self);
    free(w);
}

const struct mintd_plugin *mintd_plugin_v0(void)
{
    static struct mintd_plugin mine;
    static struct { uint32_t size, caps; mintd_op_fn *op[OPS]; } ops;
    static mintd_op_fn *const all[OPS] = { op0, op1, op2, op3, op4, op5, op6, op7, op8, op9 };
    const struct mintd_plugin *r = real();
    mine = *r;
    mine.name = NAME;
    mine.create = create;
    mine.destroy = destroy;
    mine.start = start;
    mine.drain = drain;
    mine.cancel = cancel;
    memcpy(&ops, r->ops, 8);
    mintd_op_fn *const *theirs = (mintd_op_fn *const *)((const char *)r->ops + 8);
    for (unsigned i = 0; i < (ops.size - 8) / sizeof(void *) && i < OPS; i++) ops.op[i] = theirs[i] ? all[i] : NULL;
    mine.ops = &ops;
    return &mine;
}
