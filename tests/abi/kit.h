/* What the tests of core/plug share: a daemon's registry on the loop the program was linked with, configured from text, and one
 * call at a time or many. Header only, because each test is one file. One thread. */
#ifndef ABI_KIT_H
#define ABI_KIT_H
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/str.h"
#include "evil.h"
#include "plug/plug.h"
#include "tmp.h"

struct kit { struct loop *loop; struct plug *plug; struct conf *conf; int started; char why[512]; bool ended; };
struct answer { uint32_t cls, n, first; char slug[64], msg[256]; uint64_t took_us; unsigned times; struct kit *kit; };

static struct { char all[1 << 16]; size_t n; } kit_log;    /* what was logged since kit_open */

static inline void kit_logged(void *arg, struct mintd_str line)
{
    (void)arg;
    if (kit_log.n + line.n + 2 > sizeof kit_log.all) return;
    memcpy(kit_log.all + kit_log.n, line.p, line.n);
    kit_log.n += line.n;
    kit_log.all[kit_log.n++] = '\n';
    kit_log.all[kit_log.n] = 0;
}

/* BUILD/test-plugins, seen from BUILD/tests/TIER/PROGRAM */
static inline const char *kit_plugins(void)
{
    static char dir[PATH_MAX + 16];
    char self[PATH_MAX];
    assert_non_null(realpath("/proc/self/exe", self));
    for (int i = 0; i < 3; i++) *strrchr(self, '/') = 0;
    snprintf(dir, sizeof dir, "%s/test-plugins", self);
    return dir;
}

/* A whole configuration around the text of `instances`; the first of them is also the store. */
static inline struct conf *kit_conf(const char *instances)
{
    struct buf b = { 0 };
    struct conf_errors errs = { 0 };
    struct conf *conf = NULL;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/test.cfg", tmp_dir());
    size_t name = strcspn(instances, ":");
    buf_printf(&b, "deployment = \"test\"; state_dir = \"state\"; plugin_dir = \"%s\"; store = \"%.*s\";\n", kit_plugins(), (int)name,
               instances);
    buf_printf(&b, "pipelines: { p: { chain = \"%.*s\"; uploader = \"%.*s\"; }; };\n", (int)name, instances, (int)name, instances);
    buf_printf(&b, "instances: {\n%s\n};\n", instances);
    assert_int_equal(file_write(path, buf_view(&b), 0600), 0);
    if (conf_load(path, &errs, &conf)) fail_msg(STR_FMT, STR_ARG(buf_view(&errs.text)));
    buf_free(&b);
    conf_errors_free(&errs);
    return conf;
}

static inline void kit_new(struct kit *k)
{
    *k = (struct kit){ .started = 1 };
    kit_log.n = 0;
    kit_log.all[0] = 0;
    log_sink(kit_logged, NULL);
    assert_int_equal(loop_new(&k->loop), 0);
    assert_int_equal(plug_new(k->loop, &k->plug), 0);
}

static inline int kit_configure(struct kit *k, const char *instances, bool check_only, char *ret_errors, size_t n)
{
    struct conf_errors errs = { 0 };
    k->conf = kit_conf(instances);
    int r = plug_configure(k->plug, k->conf, check_only, &errs);
    snprintf(ret_errors, n, STR_FMT, STR_ARG(buf_view(&errs.text)));
    conf_errors_free(&errs);
    return r;
}

static inline void kit_started(void *arg, int err, const char *why)
{
    struct kit *k = arg;
    assert_int_equal(k->started, 1);                       /* once only */
    k->started = err;
    snprintf(k->why, sizeof k->why, "%s", why);
    loop_stop(k->loop);
}

static inline void kit_start(struct kit *k)
{
    plug_start(k->plug, kit_started, k);
    while (k->started == 1) loop_run(k->loop);
}

static inline void kit_open(struct kit *k, const char *instances)
{
    char errors[2048];
    kit_new(k);
    int r = kit_configure(k, instances, false, errors, sizeof errors);
    if (r) fail_msg("%d: %s", r, errors);
    kit_start(k);
    if (k->started) fail_msg("%s", k->why);
}

static inline void kit_drained(void *arg)
{
    struct kit *k = arg;
    k->ended = true;
    loop_stop(k->loop);
}

static inline void kit_drain(struct kit *k)
{
    plug_drain(k->plug, kit_drained, k);
    while (!k->ended) loop_run(k->loop);
}

/* Drains and frees; left: ops that must have been left behind. With none, the loop must close clean. */
static inline void kit_close_leaking(struct kit *k, int left)
{
    kit_drain(k);
    assert_int_equal(plug_free(k->plug), left);
    conf_unref(k->conf);
    if (!left) assert_int_equal(loop_free(k->loop), 0);
    log_sink(NULL, NULL);
}

static inline void kit_close(struct kit *k) { kit_close_leaking(k, 0); }

static inline struct plug_inst *kit_inst(struct kit *k, const char *name)
{
    struct plug_inst *inst = plug_find(k->plug, SZ(name));
    assert_non_null(inst);
    return inst;
}

static inline void kit_answered(void *arg, struct plug_reply *r)
{
    struct answer *a = arg;
    a->times++;
    assert_non_null(r->out);
    assert_non_null(r->res);
    a->cls = r->out->cls;
    a->n = r->res->rows.n;
    if (a->n) memcpy(&a->first, r->res->rows.p, sizeof a->first);
    a->took_us = r->took_us;
    snprintf(a->slug, sizeof a->slug, STR_FMT, STR_ARG(r->out->slug));
    snprintf(a->msg, sizeof a->msg, STR_FMT, STR_ARG(r->out->msg));
    loop_stop(a->kit->loop);
}

/* Any request of n rows of zeroes: 1 row is as long as the longest row type. */
static inline void kit_send_arg(struct kit *k, const char *inst, uint32_t op, uint32_t flags, const void *op_arg, uint32_t n,
                                uint64_t deadline_ms, struct answer *ret)
{
    static const uint64_t zeroes[64 * 32];
    struct arena *mem = arena_new(0);
    *ret = (struct answer){ .cls = 1000, .kit = k };
    struct mintd_req req = { .size = sizeof req, .flags = flags, .arg = op_arg, .rows = { n ? zeroes : NULL, n, 256 } };
    plug_call(kit_inst(k, inst), op, &req, mem, deadline_ms, kit_answered, ret);
}

static inline void kit_send(struct kit *k, const char *inst, uint32_t op, uint32_t flags, uint32_t n, struct answer *ret)
{
    static const struct mintd_query lanes = { .size = sizeof lanes, .kind = MINTD_DB_LANE };    /* only a store's query looks */
    kit_send_arg(k, inst, op, flags, &lanes, n, 0, ret);
}

static inline void kit_wait(struct kit *k, const struct answer *a)
{
    while (!a->times) loop_run(k->loop);
}

static inline struct answer kit_call(struct kit *k, const char *inst, uint32_t op, uint32_t flags, uint32_t n)
{
    struct answer a;
    kit_send(k, inst, op, flags, n, &a);
    assert_int_equal(a.times, 0);                          /* never inside the call */
    kit_wait(k, &a);
    return a;
}

static inline void kit_timer(void *arg) { loop_stop(arg); }

/* Lets the loop run so long. */
static inline void kit_sleep(struct kit *k, uint64_t ms)
{
    struct loop_timer *t = loop_timer(k->loop, ms, kit_timer, k->loop);
    uint64_t until = loop_now_ms(k->loop) + ms;
    while (loop_now_ms(k->loop) < until) loop_run(k->loop);
    loop_timer_del(t);
}

static inline unsigned kit_defects(const char *inst, const char *what)
{
    struct metric *m = metric_new(METRIC_COUNTER, "mintd_plugin_defects_total", "instance,what",
                                  "What plugins did against their contract.", NULL);
    return (unsigned)metric_get(m, SZ(inst), SZ(what));
}

#define assert_logged(text) do { if (!strstr(kit_log.all, text)) fail_msg("not logged: %s\n%s", text, kit_log.all); } while (0)
#define assert_contains(text, part) do { if (!strstr(text, part)) fail_msg("\"%s\" is not in \"%s\"", part, text); } while (0)
#endif
