/* A plugin that breaks the contract on demand, one way per mode (evil.h). Built for several kinds and thread models from this one
 * source: EVIL_NAME, EVIL_KIND, EVIL_MODEL, EVIL_WORKERS, EVIL_SERIAL. Otherwise it answers zeroed rows, as many as asked. */
#include "evil.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mintd/plugin.h"

#define STR(lit) ((struct mintd_str){ (lit), sizeof(lit) - 1 })
#define VEC(a)   { (a), sizeof(a) / sizeof((a)[0]), sizeof((a)[0]) }

enum { KEPT_MAX = 8192, ROW = 256 };
struct evil {
    const struct mintd_host *host; struct mintd_ctx *ctx; const struct mintd_cfg *cfg;
    pthread_mutex_t lock; struct mintd_op *kept[KEPT_MAX]; uint32_t n_kept; struct mintd_op *cancel_done;
    pthread_t foreign[64]; uint32_t n_foreign, starts_left;
    int64_t mode; uint32_t start;
};
struct later { struct evil *e; struct mintd_op *op; struct mintd_timer *timer; struct mintd_dial *dial; };

static void answer(struct evil *e, struct mintd_op *op, uint32_t cls, struct mintd_str slug, struct mintd_str msg)
{
    struct mintd_outcome o = { .size = sizeof o, .cls = cls, .slug = slug, .msg = msg };
    e->host->done(op, &o, NULL);
}

/* OK with zeroed rows: longer than any row type of this header, which a host must be able to read */
static void answer_rows(struct evil *e, struct mintd_op *op, uint32_t n)
{
    void *rows = n ? e->host->scratch(op, (size_t)n * ROW) : NULL;
    struct mintd_res r = { .size = sizeof r, .rows = { rows, n, ROW } };
    e->host->done(op, NULL, &r);
}

static void answer_vec(struct evil *e, struct mintd_op *op, struct mintd_vec v)
{
    struct mintd_res r = { .size = sizeof r, .rows = v };
    e->host->done(op, NULL, &r);
}

static void keep(struct evil *e, struct mintd_op *op)
{
    pthread_mutex_lock(&e->lock);
    if (e->n_kept < KEPT_MAX) e->kept[e->n_kept++] = op;
    pthread_mutex_unlock(&e->lock);
}

static void release(struct evil *e)
{
    pthread_mutex_lock(&e->lock);
    for (uint32_t i = 0; i < e->n_kept; i++) e->host->done(e->kept[i], NULL, NULL);
    e->n_kept = 0;
    pthread_mutex_unlock(&e->lock);
}

static void *foreign_done(void *arg)
{
    struct later *l = arg;
    usleep(1000);
    l->e->host->done(l->op, NULL, NULL);
    free(l);
    return NULL;
}

static struct later *later(struct evil *e, struct mintd_op *op)
{
    struct later *l = calloc(1, sizeof *l);
    l->e = e;
    l->op = op;
    return l;
}

static void foreign(struct evil *e, struct mintd_op *op)
{
    pthread_mutex_lock(&e->lock);
    uint32_t i = e->n_foreign++ % 64;
    if (e->foreign[i]) pthread_join(e->foreign[i], NULL);
    pthread_create(&e->foreign[i], NULL, foreign_done, later(e, op));
    pthread_mutex_unlock(&e->lock);
}

static void nothing(void *arg) { (void)arg; }
static void nothing_io(void *arg, int fd, uint32_t events) { (void)arg; (void)fd; (void)events; }

/* On a worker what only the loop may, on the loop what only workers may. Every one must refuse and do nothing. */
static void wrong_thread(struct evil *e, struct mintd_op *op, uint32_t n)
{
    const struct mintd_host *h = e->host;
    int wrong = 0;
    if (EVIL_MODEL == MINTD_WORKERS) {
        wrong |= h->timer(e->ctx, 1, nothing, NULL) != NULL;
        wrong |= h->watch(e->ctx, 0, MINTD_IN, nothing_io, NULL) != NULL;
        wrong |= h->dial(e->ctx, STR("127.0.0.1"), 1, 1, nothing_io, NULL) != NULL;
        wrong |= h->offload(e->ctx, nothing, nothing, NULL) != -EPERM;
    } else {
        wrong |= h->wait(op, -1, 0, 1) != -EPERM;
        wrong |= h->dial_wait(op, STR("127.0.0.1"), 1, 1) != -EPERM;
        wrong |= h->sync(e->ctx, 1) != -EPERM;
        wrong |= h->worker(e->ctx) != 0;
    }
    if (wrong) answer(e, op, MINTD_TRANSIENT, STR("evil.wrong_thread"), STR("a call from the wrong thread went through"));
    else answer_rows(e, op, n);
}

static void stale(struct evil *e, struct mintd_op *op, uint32_t n)
{
    answer_rows(e, op, n);
    e->host->scratch((struct mintd_op *)((uintptr_t)op ^ ((uintptr_t)1 << 60)), 8);     /* another generation */
    e->host->canceled((struct mintd_op *)((uintptr_t)op ^ ((uintptr_t)1 << 60)));
}

static void metrics(struct evil *e, struct mintd_op *op, uint32_t n)
{
    struct mintd_field bad[2] = { { { NULL, 5 }, STR("x") }, { STR("bad key\n"), { NULL, 9 } } };
    struct mintd_vec none = { NULL, 3, 32 }, odd = { bad, 2, 12 }, both = VEC(bad);
    e->host->metric(e->ctx, 99, STR("x"), 1);
    e->host->metric(e->ctx, 0, STR("x"), -1);
    e->host->metric(e->ctx, 0, (struct mintd_str){ NULL, 7 }, 1);
    e->host->metric(e->ctx, 1, STR("x"), 42);
    e->host->metric(e->ctx, 2, STR("x"), 20);
    e->host->log(e->ctx, op, MINTD_WARN, (struct mintd_str){ NULL, 9 }, none);
    e->host->log(e->ctx, op, 77, STR("odd"), odd);
    e->host->log(e->ctx, op, MINTD_WARN, STR("line\nbreak"), both);
    answer_rows(e, op, n);
}

static void cookies(struct evil *e, struct mintd_op *op, uint32_t n)
{
    static const uintptr_t wild[] = { 0, 1, 0x1234, 0x7fffffffffffu, UINTPTR_MAX, (uintptr_t)1 << 63 };
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) e->host->done((struct mintd_op *)wild[i], NULL, NULL);
    answer_rows(e, op, n);
}

static void flood(struct evil *e, struct mintd_op *op, uint32_t n)
{
    for (int i = 0; i < 2000; i++) e->host->poke(e->ctx, STR("flood"));
    e->host->poke(e->ctx, (struct mintd_str){ NULL, 4000 });
    for (int i = 0; i < 2000; i++) e->host->post(e->ctx, nothing, NULL);
    answer_rows(e, op, n);
}

static void later_done(void *arg)
{
    struct later *l = arg;
    if (l->timer) l->e->host->timer_del(l->timer);
    answer_rows(l->e, l->op, 0);
    free(l);
}

static void dialled(void *arg, int fd, uint32_t events)
{
    struct later *l = arg;
    (void)events;
    l->e->host->dial_del(l->dial);
    if (fd >= 0) close(fd);
    if (fd >= 0) answer_rows(l->e, l->op, 0);
    else answer(l->e, l->op, MINTD_TRANSIENT, STR("evil.dial"), STR("no connection"));
    free(l);
}

static void dial(struct evil *e, struct mintd_op *op, const struct mintd_req *req)
{
    uint32_t port = *(const uint32_t *)req->arg;
    if (EVIL_MODEL == MINTD_WORKERS) {
        int fd = e->host->dial_wait(op, STR("127.0.0.1"), port, 2000);
        if (fd >= 0) close(fd);
        if (fd >= 0) answer_rows(e, op, 0);
        else answer(e, op, MINTD_TRANSIENT, STR("evil.dial"), fd == -ECONNREFUSED ? STR("refused") : STR("no connection"));
        return;
    }
    struct later *l = later(e, op);
    l->dial = e->host->dial(e->ctx, STR("127.0.0.1"), port, 2000, dialled, l);
}

static void later_on(struct evil *e, struct mintd_op *op)
{
    struct later *l = later(e, op);
    l->timer = e->host->timer(e->ctx, 20, later_done, l);
    if (!l->timer) later_done(l);
}

static void wait_for_cancel(struct evil *e, struct mintd_op *op, uint32_t n)
{
    int r = e->host->wait(op, -1, 0, 60000);
    if (r == -ECANCELED && e->host->canceled(op)) answer(e, op, MINTD_CANCELED, STR("evil.canceled"), STR("told to stop"));
    else if (r == -ECANCELED) answer(e, op, MINTD_TRANSIENT, STR("evil.canceled"), STR("canceled without reason"));
    else answer_rows(e, op, n);
}

static void wrong_rows(struct evil *e, struct mintd_op *op, uint32_t n, int64_t mode)
{
    char *rows = e->host->scratch(op, (size_t)(n + 1) * ROW);
    switch (mode) {
    case EVIL_ROWS_NULL:      answer_vec(e, op, (struct mintd_vec){ NULL, n, ROW }); return;
    case EVIL_ROWS_STRIDE_0:  answer_vec(e, op, (struct mintd_vec){ rows, n, 0 }); return;
    case EVIL_ROWS_STRIDE_12: answer_vec(e, op, (struct mintd_vec){ rows, n, 12 }); return;
    case EVIL_ROWS_HUGE:      answer_vec(e, op, (struct mintd_vec){ rows, 0x40000000, ROW }); return;
    case EVIL_ROWS_UNALIGNED: answer_vec(e, op, (struct mintd_vec){ rows + 3, n, ROW }); return;
    case EVIL_ROWS_FEWER:     answer_rows(e, op, n - 1); return;
    default:                  memset(rows, 0x01, ROW);       /* every string of row 0: wild, and longer than 8 MiB */
                              memset(rows, 0, 8);            /* but no `why` */
                              answer_vec(e, op, (struct mintd_vec){ rows, n, ROW });
    }
}

static void wrong_outcome(struct evil *e, struct mintd_op *op, int64_t mode)
{
    struct mintd_outcome o[2] = { { .size = sizeof o[0], .cls = MINTD_TRANSIENT, .slug = STR("evil.usual"), .msg = STR("on demand") } };
    struct mintd_outcome *p = o;
    if (mode == EVIL_CLASS_GARBAGE) o[0].cls = 77;
    if (mode == EVIL_CLASS_UNLISTED) o[0].cls = MINTD_AMBIGUOUS;
    if (mode == EVIL_OUTCOME_SIZE) o[0].size = 4;
    if (mode == EVIL_OUTCOME_NULL_TEXT) o[0].slug = o[0].msg = (struct mintd_str){ NULL, 100 };
    if (mode == EVIL_OUTCOME_UNALIGNED) p = (struct mintd_outcome *)(void *)((char *)o + 4);
    if (mode == EVIL_SLUG_UNLISTED) o[0].slug = STR("evil.never_published");
    if (mode == EVIL_PERMANENT) o[0].cls = MINTD_PERMANENT;
    if (mode == EVIL_AMBIGUOUS) o[0].cls = MINTD_AMBIGUOUS;
    e->host->done(op, p, NULL);
}

static void wrong_result_size(struct evil *e, struct mintd_op *op)
{
    struct mintd_res r = { .size = 4, .rows = { &r, 1, 8 } };
    e->host->done(op, NULL, &r);
}

static void act(void *self, struct mintd_op *op, const struct mintd_req *req, uint32_t rows)
{
    struct evil *e = self;
    int64_t mode = req->flags >> 8 ? req->flags >> 8 : e->mode;
    switch (mode) {
    case EVIL_DOUBLE:          answer_rows(e, op, rows); e->host->done(op, NULL, NULL); return;
    case EVIL_NEVER:           return;
    case EVIL_KEEP:            keep(e, op); return;
    case EVIL_RELEASE:         release(e); answer_rows(e, op, rows); return;
    case EVIL_CLASS_GARBAGE: case EVIL_CLASS_UNLISTED: case EVIL_OUTCOME_SIZE: case EVIL_OUTCOME_NULL_TEXT: case EVIL_AMBIGUOUS:
    case EVIL_OUTCOME_UNALIGNED: case EVIL_SLUG_UNLISTED: case EVIL_PERMANENT: wrong_outcome(e, op, mode); return;
    case EVIL_ROWS_NULL: case EVIL_ROWS_STRIDE_0: case EVIL_ROWS_STRIDE_12: case EVIL_ROWS_HUGE: case EVIL_ROWS_UNALIGNED:
    case EVIL_ROWS_FEWER: case EVIL_ROWS_NULL_TEXT: wrong_rows(e, op, rows, mode); return;
    case EVIL_RES_SIZE:        wrong_result_size(e, op); return;
    case EVIL_BLOCK:           usleep(200000); answer_rows(e, op, rows); return;
    case EVIL_SLEEP:           usleep(20000); answer_rows(e, op, rows); return;
    case EVIL_FOREIGN:         foreign(e, op); return;
    case EVIL_CANCEL_DONE:     e->cancel_done = op; return;
    case EVIL_WRONG_THREAD:    wrong_thread(e, op, rows); return;
    case EVIL_STALE:           stale(e, op, rows); return;
    case EVIL_METRICS:         metrics(e, op, rows); return;
    case EVIL_COOKIES:         cookies(e, op, rows); return;
    case EVIL_LEAK:            e->host->timer(e->ctx, 3600000, nothing, NULL); answer_rows(e, op, rows); return;
    case EVIL_FLOOD:           flood(e, op, rows); return;
    case EVIL_SCRATCH:         answer_rows(e, op, e->host->scratch(op, SIZE_MAX) ? 0 : rows); return;
    case EVIL_WAIT:            wait_for_cancel(e, op, rows); return;
    case EVIL_LATER:           later_on(e, op); return;
    case EVIL_DIAL:            dial(e, op, req); return;
    case EVIL_OFFLOAD:         if (e->host->offload(e->ctx, nothing, later_done, later(e, op))) abort(); return;
    case EVIL_OPTION_LATE: {
        int64_t v = 7;
        answer_rows(e, op, e->host->opt_i64(e->cfg, "starts", 0, &v) && v == 7 ? rows : 0);
        return;
    }
    case EVIL_WORKER: {                                      /* one row whose first 32 bits say which worker ran it */
        uint32_t *row = e->host->scratch(op, ROW);
        row[0] = e->host->worker(e->ctx);
        usleep(2000);
        answer_vec(e, op, (struct mintd_vec){ row, 1, ROW });
        return;
    }
    default:                   answer_rows(e, op, rows);
    }
}

static void each(void *self, struct mintd_op *op, const struct mintd_req *req) { act(self, op, req, req->rows.n); }
#if EVIL_KIND != 5                                          /* signers have no op with one row */
static void one(void *self, struct mintd_op *op, const struct mintd_req *req) { act(self, op, req, 1); }
#endif

static void start(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct evil *e = self;
    static const struct mintd_field facts[] = { { { "network", 7 }, { "evil-1", 6 } }, { { "peer", 4 }, { "none", 4 } } };
    (void)req;
    if (e->starts_left) {
        e->starts_left--;
        answer(e, op, MINTD_TRANSIENT, STR("evil.not_yet"), STR("the peer is not there yet"));
        return;
    }
    switch (e->start) {
    case 1: answer(e, op, MINTD_PERMANENT, STR("evil.usual"), STR("wrong network")); return;
    case 2: return;
    case 3: answer(e, op, 99, STR("evil.usual"), STR("nonsense")); return;
    default: answer_vec(e, op, (struct mintd_vec)VEC(facts));
    }
}

static void drain(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct evil *e = self;
    (void)req;
    e->host->done(op, NULL, NULL);
}

static void cancel(void *self, struct mintd_op *op)
{
    struct evil *e = self;
    if (e->cancel_done != op) return;
    e->cancel_done = NULL;
    answer(e, op, MINTD_CANCELED, STR("evil.canceled"), STR("stopped when told"));
}

static int64_t number(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name)
{
    int64_t v = 0;
    host->opt_i64(cfg, name, 0, &v);
    return v;
}

static int is(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name, const char *value)
{
    struct mintd_str s;
    return !host->opt_str(cfg, name, 0, &s) && s.n == strlen(value) && !memcmp(s.p, value, s.n);
}

static int check(const struct mintd_host *host, const struct mintd_cfg *cfg)
{
    struct mintd_str s;
    int64_t v;
    if (is(host, cfg, "lifecycle", "check_fails")) { host->opt_error(cfg, "lifecycle", "check was told to refuse"); return -EINVAL; }
    if (is(host, cfg, "lifecycle", "check_silent")) return -EACCES;
    if (is(host, cfg, "lifecycle", "bad_options")) {
        if (!host->opt_str(cfg, "no_such", 0, &s) || !host->opt_i64(cfg, "lifecycle", 0, &v) || !host->opt_str(cfg, NULL, 0, &s))
            return -EINVAL;
        host->opt_error(cfg, "no_such", "who am i");
        host->opt_error(cfg, NULL, NULL);
    }
    return 0;
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret_self)
{
    if (is(host, cfg, "lifecycle", "create_fails")) return -ENOSPC;
    if (is(host, cfg, "lifecycle", "create_positive")) return 7;
    struct evil *e = calloc(1, sizeof *e);
    e->host = host;
    e->ctx = ctx;
    e->cfg = cfg;
    pthread_mutex_init(&e->lock, NULL);
    e->mode = number(host, cfg, "mode");
    e->starts_left = (uint32_t)number(host, cfg, "starts");
    e->start = is(host, cfg, "lifecycle", "start_fails") ? 1 : is(host, cfg, "lifecycle", "start_silent") ? 2
        : is(host, cfg, "lifecycle", "start_garbage") ? 3 : 0;
    if (is(host, cfg, "lifecycle", "create_leaks")) { host->timer(ctx, 10, nothing, NULL); free(e); return -ENOMEM; }
    *ret_self = e;
    return 0;
}

static void destroy(void *self)
{
    struct evil *e = self;
    for (uint32_t i = 0; i < 64; i++)
        if (e->foreign[i]) pthread_join(e->foreign[i], NULL);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

static const struct mintd_opt opts[] = {
    { "mode", "int", "0", NULL, "what every op does wrong unless its flags say otherwise", 0, 100, 0 },
    { "starts", "int", "0", NULL, "how often start fails before it works", 0, 1000, 0 },
    { "lifecycle", "enum", "fine", "fine|check_fails|check_silent|bad_options|create_fails|create_positive|create_leaks|start_fails|"
      "start_silent|start_garbage", "what the lifecycle does wrong", 0, 0, 0 },
    { "label", "str", "a", NULL, "free text; a change makes a new instance", 0, 0, 0 },
    { "home", "str", "here", NULL, "free text that needs a restart to change", 0, 0, MINTD_RESTART },
    { "payer", "key", NULL, NULL, "a key", 0, 0, 0 },
    { "others", "list:key", NULL, NULL, "more keys", 0, 0, 0 },
    { "token", "secret", NULL, NULL, "a secret", 0, 0, 0 },
};
static const struct mintd_metric metrics_table[] = {
    { "mintd_evil_things_total", NULL, "Things.", 1 },
    { "mintd_evil_level", "place", "Level by place.", 2 },
    { "mintd_evil_seconds", "place", "Time by place.", 3 },
};
static const struct mintd_slug slugs[] = {
    { "evil.usual", "nothing to do, it is a test" },
    { "evil.not_yet", "wait" },
    { "evil.canceled", "nothing" },
    { "evil.dial", "look at the peer" },
    { "evil.wrong_thread", "look at the host" },
};

#if EVIL_KIND == 1
static const struct mintd_chain_ops ops = { sizeof ops, 0, one, each, each, each, each, each, NULL, NULL, each, each };
#elif EVIL_KIND == 2
static const struct mintd_store_ops ops = { sizeof ops, 0, one, each, each, each, one };
#elif EVIL_KIND == 3
static const struct mintd_cache_ops ops = { sizeof ops, 0, each, each, each, one };
#else
static const struct mintd_signer_ops ops = { sizeof ops, 0, each, each };
#endif

static const struct mintd_plugin desc = {
    .magic = MINTD_MAGIC, .size = sizeof desc, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .need_minor = 0,
    .kind = EVIL_KIND, .model = EVIL_MODEL, .workers = EVIL_WORKERS, .serial_ops = EVIL_SERIAL,
    .name = EVIL_NAME, .version = "1.0", .summary = "breaks the contract on demand",
    .opts = VEC(opts), .metrics = VEC(metrics_table), .slugs = VEC(slugs), .ops = &ops,
    .check = check, .create = create, .start = start, .drain = drain, .cancel = cancel, .destroy = destroy,
};

const struct mintd_plugin *mintd_plugin_v0(void) { return &desc; }
