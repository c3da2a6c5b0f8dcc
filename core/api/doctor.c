/* GET /v1/doctor: looks at what mintd stands on and says of each thing whether it is well and what to do. Reads limits, clocks, modes
 * and space itself, asks the store and every chain one small question and takes the time. Changes nothing. Loop thread. */
#include <errno.h>
#include <gnu/libc-version.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include "api/control.h"
#include "base/amount.h"
#include "base/log.h"
#include "ops/balance.h"

enum { SPARE_FILES = 64, MEMLOCK_MIN = 64 << 10, CLOCK_STEP_MS = 2000, STORE_SLOW_MS = 250, CHAIN_SLOW_MS = 2000 };
enum verdict { WELL, WARN, FAIL };

struct doctor { struct call *c; struct buf checks; uint32_t pending, counts[3]; };
struct probe { struct doctor *d; struct plug_inst *inst; uint64_t begun_us; };

static void say(struct doctor *d, enum verdict v, const char *name, const char *advice, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void say(struct doctor *d, enum verdict v, const char *name, const char *advice, const char *fmt, ...)
{
    static const char *const verdicts[] = { "ok", "warn", "fail" };
    char detail[600];
    struct buf *b = &d->checks;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    d->counts[v]++;
    buf_puts(b, b->n ? ",{\"name\":" : "{\"name\":");
    buf_json(b, str_of(name));
    buf_printf(b, ",\"verdict\":\"%s\",\"detail\":", verdicts[v]);
    buf_json(b, str_of(detail));
    if (v) {
        buf_puts(b, ",\"advice\":");
        buf_json(b, str_of(advice));
    }
    buf_puts(b, "}");
}

/* ---- limits and clocks */

static void check_files(struct doctor *d)
{
    struct rlimit r;
    uint64_t want = (uint64_t)d->c->api->conf->api.max_connections + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &r)) return;
    say(d, r.rlim_cur < want ? WARN : WELL, "limits.files", "raise LimitNOFILE of the unit (or ulimit -n), or lower api.max_connections",
        "%" PRIu64 " file descriptors allowed, %" PRIu64 " may be needed", (uint64_t)r.rlim_cur, want);
}

static void check_memlock(struct doctor *d)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_MEMLOCK, &r)) return;
    say(d, r.rlim_cur < MEMLOCK_MIN ? WARN : WELL, "limits.memlock", "raise LimitMEMLOCK of the unit, so that keys are never swapped out",
        "%" PRIu64 " bytes may be locked", (uint64_t)r.rlim_cur);
}

static void check_core(struct doctor *d)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_CORE, &r)) return;
    say(d, r.rlim_cur ? WARN : WELL, "limits.core", "set LimitCORE=0: a core file would hold keys", "core files of at most %" PRIu64 " bytes", (uint64_t)r.rlim_cur);
}

static void check_clock(struct doctor *d)
{
    struct api *api = d->c->api;
    int64_t step = (loop_wall_us(api->loop) - (int64_t)loop_now_us(api->loop) - api->clock_us) / 1000;
    say(d, llabs(step) > CLOCK_STEP_MS ? WARN : WELL, "clock", "let chrony or systemd-timesyncd run: times of transactions are compared with this clock",
        "the wall clock moved %+" PRId64 " ms against the monotonic one since the start", step);
}

/* ---- folders */

static void check_modes(struct doctor *d)
{
    char path[4200];
    struct stat st;
    snprintf(path, sizeof path, STR_FMT, STR_ARG(d->c->api->conf->state_dir));
    if (stat(path, &st)) say(d, FAIL, "state_dir", "make the folder and give it to the daemon's user", "%s: %s", path, strerror(errno));
    else say(d, st.st_mode & 022 ? FAIL : st.st_mode & 055 ? WARN : WELL, "state_dir", "chmod 0700: keys and books are in there", "%s has mode %04o", path,
             st.st_mode & 07777);
    const char *key = d->c->api->auth.file;
    if (!key) return;
    if (stat(key, &st)) say(d, WARN, "admin.key", "it is read at the next start: restore it, or a new key will be made", "%s: %s", key, strerror(errno));
    else say(d, st.st_mode & 077 ? FAIL : WELL, "admin.key", "chmod 0600, and make a new key if others could read it", "%s has mode %04o", key,
             st.st_mode & 07777);
}

static void check_space(struct doctor *d)
{
    char path[4200];
    struct statvfs fs;
    snprintf(path, sizeof path, STR_FMT, STR_ARG(d->c->api->conf->state_dir));
    if (statvfs(path, &fs) || !fs.f_blocks) return;
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize, percent = (uint64_t)fs.f_bavail * 100 / fs.f_blocks;
    enum verdict v = left < 64 << 20 ? FAIL : left < 1 << 30 || percent < 5 ? WARN : WELL;
    say(d, v, "disk", "free space, or move state_dir: a full disk stops intake, nothing accepted is lost", "%" PRIu64 " MiB (%" PRIu64 " %%) are free under %s",
        left >> 20, percent, path);
}

/* ---- configuration, plugins */

static void check_config(struct doctor *d)
{
    struct conf_errors errs = { .n = 0 }, restart = { .n = 0 };
    int r = d->c->api->hooks.check(d->c->api->hooks.arg, &errs, &restart);
    struct mintd_str first = buf_view(r ? &errs.text : &restart.text);
    const char *end = first.n ? memchr(first.p, '\n', first.n) : NULL;
    if (end) first.n = (size_t)(end - first.p);
    if (r) say(d, FAIL, "config", "correct the files: the daemon would not start with them (POST /v1/config/check lists all)", "%u mistakes, first: " STR_FMT, errs.n,
               STR_ARG(first));
    else if (restart.n) say(d, WARN, "config", "restart when convenient", "the files hold what a running daemon cannot take over: " STR_FMT, STR_ARG(first));
    else say(d, WELL, "config", "", "the files on disk are right");
    conf_errors_free(&errs);
    conf_errors_free(&restart);
}

static void check_work(struct doctor *d)
{
    struct buf why = { 0 };
    bool ready = pipe_ready(d->c->api->pipe, &why);
    say(d, ready ? WELL : FAIL, "work", "see the checks of store and chains; the log says more", "%s" STR_FMT, ready ? "accepts work" : "accepts no work: ",
        STR_ARG(buf_view(&why)));
    buf_free(&why);
}

static void check_plugin(void *arg, struct plug_inst *inst)
{
    struct doctor *d = arg;
    struct buf why = { 0 };
    char name[128];
    bool ready = plug_ready(inst);
    snprintf(name, sizeof name, "plugin." STR_FMT, STR_ARG(plug_name(inst)));
    plug_why(inst, &why);
    say(d, ready && !why.n ? WELL : ready ? WARN : FAIL, name, "read the reason; the errors of the plugin are explained by GET /v1/plugins/{name}", "%s" STR_FMT,
        ready ? "ready" : "not ready: ", STR_ARG(buf_view(&why)));
    buf_free(&why);
}

/* As the balance monitor saw them last; it asks by itself. */
static void check_wallet(struct doctor *d, const struct wallet *w)
{
    char name[160];
    struct buf have = { 0 }, want = { 0 };
    snprintf(name, sizeof name, "wallet.%s.%s", w->chain, w->role);
    amount_put(&have, w->balance, w->decimals);
    amount_put(&want, w->required, w->decimals);
    if (w->error[0]) say(d, WARN, name, "see the check of its chain", "its balance could not be read: %s", w->error);
    else if (!w->checked_ms) say(d, WARN, name, "ask again in a moment", "its balance is not known yet");
    else say(d, w->sufficient ? WELL : FAIL, name, "send coins to the account, or lower min_balance of the pipeline", STR_FMT " %s in %s, " STR_FMT " are required",
             STR_ARG(buf_view(&have)), w->currency, w->account, STR_ARG(buf_view(&want)));
    buf_free(&have);
    buf_free(&want);
}

static void check_wallets(struct doctor *d)
{
    const struct wallet *w;
    uint32_t n = balance_wallets(d->c->api->balance, &w);
    for (uint32_t i = 0; i < n; i++) if (!w[i].hidden) check_wallet(d, &w[i]);
}

/* ---- the end */

static void put_library(struct buf *b, const char *name, const char *version)
{
    buf_printf(b, ",\"%s\":", name);
    buf_json(b, str_of(version));
}

static void answer(struct doctor *d)
{
    struct buf b = { 0 };
    buf_printf(&b, "{\"verdict\":\"%s\",\"summary\":{\"ok\":%u,\"warn\":%u,\"fail\":%u},\"versions\":{\"mintd\":", d->counts[FAIL] ? "fail" : d->counts[WARN] ? "warn" : "ok",
               d->counts[WELL], d->counts[WARN], d->counts[FAIL]);
    buf_json(&b, str_of(d->c->api->hooks.version));
    buf_printf(&b, ",\"abi\":\"%d.%d\"", MINTD_ABI_MAJOR, MINTD_ABI_MINOR);
    put_library(&b, "libc", gnu_get_libc_version());
    put_library(&b, "loop", loop_backend());
    put_library(&b, "libmicrohttpd", httpd_version());
    put_library(&b, "libsodium", sodium_version_string());
    put_library(&b, "openssl", OpenSSL_version(OPENSSL_VERSION));
    buf_puts(&b, "},\"checks\":[");
    buf_str(&b, buf_view(&d->checks));
    buf_puts(&b, "]}\n");
    call_json(d->c, 200, &b, NULL);
}

static void done(struct doctor *d)
{
    if (--d->pending == 0) answer(d);
}

/* ---- questions to the outside */

static const char *name_of(const struct probe *p, const char *what, char text[128])
{
    snprintf(text, 128, "%s." STR_FMT, what, STR_ARG(plug_name(p->inst)));
    return text;
}

static uint64_t took(const struct probe *p) { return (loop_now_us(p->d->c->api->loop) - p->begun_us) / 1000; }

static void failed(const struct probe *p, const char *what, const struct mintd_outcome *o)
{
    char name[128];
    struct buf why = { 0 };
    const char *help = plug_help(p->inst, o->slug);
    log_mask(o->msg, &why);
    say(p->d, FAIL, name_of(p, what, name), *help ? help : "look at the log", "does not answer: " STR_FMT " (" STR_FMT ")", STR_ARG(buf_view(&why)), STR_ARG(o->slug));
    buf_free(&why);
}

static void on_store(struct call *c, struct plug_reply *r)
{
    const struct probe *p = c->load;
    const struct mintd_schema *s = r->res->rows.p;
    char name[128];
    if (r->out->cls != MINTD_OK || !r->res->rows.n) failed(p, "store", r->out);
    else if (s->now != s->wanted) say(p->d, FAIL, name_of(p, "store", name), "run mintd migrate", "schema %u, this version needs %u", s->now, s->wanted);
    else say(p->d, took(p) > STORE_SLOW_MS ? WARN : WELL, name_of(p, "store", name), "the disk or another process holds the store up",
             "schema %u, answered in %" PRIu64 " ms", s->now, took(p));
    done(p->d);
}

struct asked_chain { struct call *c; struct probe p; };

static uint32_t sick(const struct mintd_limits *l)
{
    const struct mintd_route *routes = l->routes.p;
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->routes.n; i++) n += routes[i].state != 0;
    return n;
}

static void judge_chain(const struct probe *p, const struct mintd_limits *l)
{
    char name[128];
    uint32_t n = sick(l);
    enum verdict v = l->routes.n && n == l->routes.n ? FAIL : n || took(p) > CHAIN_SLOW_MS ? WARN : WELL;
    say(p->d, v, name_of(p, "chain", name), "see to the endpoints that are sick or slow, or name others",
        "network " STR_FMT ", %u of %u endpoints sick, answered in %" PRIu64 " ms", STR_ARG(l->network), n, l->routes.n, took(p));
}

static void on_chain(void *arg, struct plug_reply *r)
{
    struct asked_chain *a = arg;
    struct call *c = a->c;
    if (call_open(c)) {
        if (r->out->cls != MINTD_OK || !r->res->rows.n) failed(&a->p, "chain", r->out);
        else judge_chain(&a->p, r->res->rows.p);
        done(a->p.d);
    }
    call_unref(c);
}

static void ask_chain(void *arg, struct plug_inst *inst)
{
    struct doctor *d = arg;
    if (plug_kind(inst) != MINTD_CHAIN) return;
    struct arena *mem = arena_new(0);
    struct asked_chain *a = mem ? arena_alloc(d->c->mem, sizeof *a) : NULL;
    if (!a) {
        arena_free(mem);
        return;
    }
    *a = (struct asked_chain){ d->c, { d, inst, loop_now_us(d->c->api->loop) } };
    d->pending++;
    call_ref(d->c);
    plug_call_rows(inst, CHAIN_LIMITS, 0, NULL, (struct mintd_vec){ 0 }, mem, on_chain, a);
}

static void ask_store(struct doctor *d)
{
    struct probe *p = arena_alloc(d->c->mem, sizeof *p);
    if (!p) return;
    *p = (struct probe){ d, pipe_store(d->c->api->pipe), loop_now_us(d->c->api->loop) };
    d->c->load = p;
    d->pending++;
    control_ask(d->c, p->inst, STORE_MIGRATE, 0, NULL, on_store);
}

void doctor(struct call *c)
{
    struct doctor *d = arena_alloc(c->mem, sizeof *d);
    if (!d) return call_memory(c);
    *d = (struct doctor){ .c = c, .pending = 1 };
    c->state = d;
    check_files(d);
    check_memlock(d);
    check_core(d);
    check_clock(d);
    check_modes(d);
    check_space(d);
    check_config(d);
    check_work(d);
    plug_each(c->api->hooks.plug, check_plugin, d);
    check_wallets(d);
    ask_store(d);
    plug_each(c->api->hooks.plug, ask_chain, d);
    done(d);
}

void doctor_gone(struct call *c, bool sent)
{
    (void)sent;
    buf_free(&((struct doctor *)c->state)->checks);
}
