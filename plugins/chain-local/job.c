/* Ops in progress. A job first travels (its latency), then runs; where the lock is taken or much is to be read it runs again later;
 * what it wrote is synced before it answers, many jobs by one sync. Lives in the op's scratch memory, so nothing is freed here. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "local.h"

enum { SLICE = 512 << 10, LOCK_RETRY_MS = 2 };

static void step(struct job *j);

static void answer(struct job *j)
{
    struct local *l = j->l;
    if (j->prev) j->prev->next = j->next;
    else l->jobs = j->next;
    if (j->next) j->next->prev = j->prev;
    l->host->timer_del(j->timer);
    j->timer = NULL;
    l->host->done(j->op, j->out.cls ? &j->out : NULL, j->out.cls ? NULL : &j->res);
}

/* ---- what runs answer with */
int job_refuse(struct job *j, uint32_t cls, const char *slug, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(j->text, sizeof j->text, fmt, args);
    va_end(args);
    j->out = (struct mintd_outcome){ .size = sizeof j->out, .cls = cls, .slug = str_z(slug), .msg = str_z(j->text) };
    return -1;
}

void *job_mem(struct job *j, size_t n)
{
    void *p = j->l->host->scratch(j->op, n ? n : 1);
    if (!p) job_refuse(j, MINTD_TRANSIENT, "local.no_memory", "out of memory");
    return p;
}

struct mintd_str job_text(struct job *j, struct mintd_str s)
{
    char *p = s.n ? job_mem(j, s.n) : NULL;
    if (!p) return (struct mintd_str){ NULL, 0 };
    memcpy(p, s.p, s.n);
    return (struct mintd_str){ p, s.n };
}

struct mintd_str job_printf(struct job *j, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return job_text(j, str_z(text));
}

const struct mintd_outcome *job_why(struct job *j, uint32_t cls, const char *slug, uint64_t retry_ms, const char *fmt, ...)
{
    static const struct mintd_outcome no_memory = { .size = sizeof no_memory, .cls = MINTD_TRANSIENT,
        .slug = { "local.no_memory", 15 }, .msg = { "out of memory", 13 } };
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct mintd_outcome *o = job_mem(j, sizeof *o);
    if (!o) return &no_memory;
    *o = (struct mintd_outcome){ .size = sizeof *o, .cls = cls, .retry_ms = retry_ms, .slug = str_z(slug), .msg = job_text(j, str_z(text)) };
    return o;
}

/* ---- running */
static void again(void *arg)
{
    struct job *j = arg;
    j->l->host->timer_del(j->timer);
    j->timer = NULL;
    step(j);
}

static bool run_in(struct job *j, uint64_t ms)
{
    j->timer = j->l->host->timer(j->l->ctx, ms, again, j);
    if (!j->timer) job_refuse(j, MINTD_TRANSIENT, "local.no_memory", "out of memory");
    return j->timer != NULL;
}

static void sync_work(void *arg)
{
    struct local *l = arg;
    l->sync_result = l->host->sync(l->ctx, l->led.fd);
    if (l->sync_result || !l->new_file) return;
    char *dir = strdup(l->led.path), *slash = dir ? strrchr(dir, '/') : NULL;
    if (slash) slash[slash == dir] = '\0';
    int fd = dir ? open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    l->sync_result = fd < 0 ? -EIO : l->host->sync(l->ctx, fd);
    if (fd >= 0) close(fd);
    free(dir);
}

static void sync_begin(struct local *l);

static void sync_done(void *arg)
{
    struct local *l = arg;
    bool more = false;
    l->syncing = false;
    if (!l->sync_result) l->new_file = false;
    else if (l->state != BROKEN) {                         /* what the kernel dropped will not come back by asking again */
        l->state = BROKEN;
        snprintf(l->led.why, sizeof l->led.why, "%s: sync: %s: restart after the disk is sound", l->led.path, strerror(-l->sync_result));
    }
    for (struct job *j = l->jobs, *next; j; j = next) {
        next = j->next;
        if (!j->waits_sync) continue;
        if (!l->sync_result && j->sync_to > l->sync_to) { more = true; continue; }
        if (l->sync_result && j->unsynced) j->unsynced(j);
        answer(j);
    }
    if (more) sync_begin(l);
}

static void sync_begin(struct local *l)
{
    if (l->syncing) return;
    l->syncing = true;
    l->sync_to = l->led.pos;
    int r = l->host->offload(l->ctx, sync_work, sync_done, l);
    if (!r) return;
    l->sync_result = r;
    l->host->post(l->ctx, sync_done, l);
}

static void step(struct job *j)
{
    struct local *l = j->l;
    int r = j->run(j);
    if (r > 0 && run_in(j, (uint64_t)r - 1)) return;
    if (r == 0 && j->wrote && !l->led.memory) {
        j->waits_sync = true;
        j->sync_to = l->led.pos;
        sync_begin(l);
        return;
    }
    answer(j);
}

static int check_up(struct job *j)
{
    struct local *l = j->l;
    uint32_t cls = j->run == seal_run ? MINTD_PERMANENT : MINTD_TRANSIENT;     /* the only class a seal has; of a whole call it condemns nobody */
    if (l->state == DOWN) return job_refuse(j, cls, "local.not_started", "the instance has not been started");
    if (l->state == BROKEN) return job_refuse(j, cls, "local.ledger_broken", "%s", l->led.why);
    return 0;
}

void job_begin(void *self, struct mintd_op *op, const struct mintd_req *req, int64_t delay_ms, int (*run)(struct job *))
{
    static const struct mintd_outcome no_memory = { .size = sizeof no_memory, .cls = MINTD_TRANSIENT,
        .slug = { "local.no_memory", 15 }, .msg = { "out of memory", 13 } };
    struct local *l = self;
    struct job *j = l->host->scratch(op, sizeof *j);
    if (!j) { l->host->done(op, &no_memory, NULL); return; }
    *j = (struct job){ .next = l->jobs, .l = l, .op = op, .req = req, .run = run, .res = { .size = sizeof j->res } };
    if (l->jobs) l->jobs->prev = j;
    l->jobs = j;
    if (run != start_run && check_up(j)) answer(j);
    else if (delay_ms <= 0) step(j);
    else if (!run_in(j, (uint64_t)delay_ms)) answer(j);
}

/* What has not arrived has no effect; what is being synced answers in a moment. */
void job_cancel(void *self, struct mintd_op *op)
{
    struct local *l = self;
    for (struct job *j = l->jobs; j; j = j->next) {
        if (j->op != op || j->waits_sync) continue;
        job_refuse(j, MINTD_CANCELED, "local.canceled", "canceled before it took effect");
        answer(j);
        return;
    }
}

/* ---- the ledger, from a job */
static int broken(struct job *j)
{
    struct local *l = j->l;
    l->state = BROKEN;
    return job_refuse(j, MINTD_TRANSIENT, "local.ledger_broken", "%s", l->led.why);
}

static int apply(struct local *l, const uint8_t *p, uint32_t n, uint64_t at)
{
    struct record rec;
    int r = record_parse(p, n, &rec);
    if (!r) r = world_apply(l, &rec, at, n);
    if (r) snprintf(l->led.why, sizeof l->led.why, "%s: record at byte %llu: %s", l->led.path, (unsigned long long)at,
                    r == -EBADMSG ? "it contradicts the records before it" : strerror(-r));
    return r;
}

int job_catch_up(struct job *j)
{
    struct local *l = j->l;
    uint64_t until = l->led.pos + SLICE, at;
    uint8_t *p;
    uint32_t n;
    if (l->led.memory) return 0;
    while (l->led.pos < until) {
        int r = ledger_next(&l->led, &p, &n, &at);
        if (r == -ENOENT) return 0;
        if (!r) {
            r = apply(l, p, n, at);
            free(p);
        }
        if (r) return broken(j);
    }
    return 1;
}

int job_lock(struct job *j)
{
    struct local *l = j->l;
    int r = ledger_lock(&l->led);
    if (r == -EAGAIN) return LOCK_RETRY_MS + 1;
    if (r) return job_refuse(j, MINTD_TRANSIENT, "local.ledger_io", "%s", l->led.why);
    r = job_catch_up(j);
    if (!r && ledger_cut(&l->led)) r = broken(j);
    if (r) ledger_unlock(&l->led);
    return r;
}

int job_write(struct job *j, const struct record *rec)
{
    struct local *l = j->l;
    uint64_t at;
    uint32_t n;
    int r = ledger_append(&l->led, rec, &at, &n);
    if (r) return r;
    j->wrote = true;
    r = world_apply(l, rec, at, n);
    if (!r) return 0;
    snprintf(l->led.why, sizeof l->led.why, "%s: a record was written but not taken in: %s: restart", l->led.path, strerror(-r));
    l->state = BROKEN;
    return -EIO;
}
