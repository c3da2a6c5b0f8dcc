/* The process: command line, order of start and stop, signals, reload, systemd, exit codes. Owns the loop and every layer's root
 * object. Calls api/, pipe/, plug/, conf/ and base/. Main thread, which is the loop thread.
 *
 * Stop: the API refuses new work and answers who waits, the pipeline finishes or parks, plugins drain, then everything is freed and
 * the loop must be empty. Each wait is bounded; what a stop leaves undone is what a kill -9 would leave: the next start recovers. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metric.h"
#include "ops/vitals.h"

enum { ARENAS = 2, MMAP_FROM = 128 << 10, EXIT_USAGE = 2, FATAL_DRAIN_MS = 2000, SAME_SIGNAL_MS = 200, MIGRATE_APPLY = 1, MIGRATE_COPY = 4 };

static const char help[] =
    "examples:\n"
    "  mintd -c conf/dev.cfg              run, everything embedded, state beside the file\n"
    "  mintd -t -c /etc/mintd/prod.cfg    check a configuration and say every mistake with file:line\n"
    "  mintd -T -c /etc/mintd/prod.cfg    print every effective value with its origin; secrets as ***\n"
    "  mintd --describe chain-local       options, ops, metrics and errors of a plugin (--json for programs)\n"
    "\n"
    "usage: mintd [COMMAND] -c FILE [OPTION]\n"
    "  (no command)       run until SIGTERM or SIGINT; SIGHUP reloads FILE whole or not at all\n"
    "  migrate            bring the store's schema up to date; --dry-run only says what is to do\n"
    "  backup             have the store write the copy that its options name; the daemon may run meanwhile\n"
    "  -c, --config FILE  the main file; FILE's folder/conf.d/*.cfg and the environment override it\n"
    "  -t, --check        check only; no network, nothing is written\n"
    "  -T, --dump         as -t, then print the effective values\n"
    "  --describe PLUGIN  print what a plugin publishes; with -c, of the plugin_dir that FILE names; core: mintd's own options\n"
    "  --json             with --describe: one JSON object\n"
    "  --version, --help\n"
    "\n"
    "exit codes: 0 done, or stopped as asked; 1 refused or failed, standard error says why (a second signal during a stop: 1 at once);\n"
    "2 the command line is wrong\n";

struct args { const char *config, *plugin; bool check, dump, json, dry, migrate, backup; };

struct app {
    const char *file;
    struct loop *loop;
    struct conf *conf;
    struct plug *plug;
    struct pipe *pipe;
    struct api *api;
    struct vitals *vitals;
    struct loop_signal *on_term, *on_int, *on_hup;
    struct loop_timer *step, *limit, *watchdog;    /* bounds of the stop; the next sign of life */
    uint64_t watchdog_ms, stopped_ms;
    int lock, status;
    bool stopping, pipe_told;                  /* pipe_told: the drain of the pipeline has begun */
    uint32_t op;                               /* of a one-shot command: flags of migrate */
};

/* ---- small things */

static void print(FILE *to, struct mintd_str text)
{
    if (text.n) fwrite(text.p, 1, text.n, to);
}

static void log_lines(struct mintd_str text)
{
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        log_error(STR_FMT, (int)n, text.p);
        text.p += n + (end != NULL);
        text.n -= n + (end != NULL);
    }
}

static int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *fmt, ...)
{
    va_list args;
    fputs("mintd: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return EXIT_FAILURE;
}

/* ---- systemd: its protocol is one datagram */

static void notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void notify(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    char text[256];
    size_t n = path ? strlen(path) : 0;
    if (n < 2 || n > sizeof sa.sun_path || (path[0] != '/' && path[0] != '@')) return;
    memcpy(sa.sun_path, path, n);
    if (path[0] == '@') sa.sun_path[0] = 0;                /* abstract */
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return;
    if (sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
        log_debug("systemd was not told: %s", strerror(errno));
    close(fd);
}

static void on_watchdog(void *arg)
{
    struct app *a = arg;
    loop_timer_del(a->watchdog);
    notify("WATCHDOG=1");
    a->watchdog = loop_timer(a->loop, a->watchdog_ms, on_watchdog, a);
}

/* Signs of life come from the loop alone: a loop that hangs is what the watchdog is for. */
static void start_watchdog(struct app *a)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t us = 0, who = 0;
    if (!usec || str_u64(str_of(usec), &us) || us < 2000) return;
    if (pid && (str_u64(str_of(pid), &who) || who != (uint64_t)getpid())) return;
    a->watchdog_ms = us / 2000;
    on_watchdog(a);
}

/* ---- configuration */

static void check_kind(const struct conf *conf, struct mintd_str name, uint32_t kind, const char *wanted, const char *file, unsigned line,
                       const char *option, struct conf_errors *errs)
{
    const struct conf_instance *ci = name.n ? conf_instance(conf, name) : NULL;
    struct plug_file *f;
    struct buf err = { 0 };
    char dir[4096];
    if (!ci) return;
    snprintf(dir, sizeof dir, STR_FMT, STR_ARG(conf->plugin_dir));
    if (plug_file_load(dir, ci->plugin, &f, &err)) buf_free(&err);         /* plug_configure said so */
    else if (plug_file_desc(f)->kind != kind)
        conf_error(errs, file, line, "%s: instance \"" STR_FMT "\" (plugin " STR_FMT ") is not %s", option, STR_ARG(name),
                   STR_ARG(ci->plugin), wanted);
}

/* What only the plugins themselves tell: is each instance of the kind that it is named for? */
static int check_kinds(const struct conf *conf, struct conf_errors *errs)
{
    uint32_t before = errs->n;
    check_kind(conf, conf->store, MINTD_STORE, "a store", conf->file, 0, "store", errs);
    for (uint32_t i = 0; i < conf->n_pipelines; i++) {
        const struct conf_pipeline *p = &conf->pipelines[i];
        check_kind(conf, p->chain, MINTD_CHAIN, "a chain", p->file, p->line, "chain", errs);
        check_kind(conf, p->uploader, MINTD_UPLOADER, "an uploader", p->file, p->line, "uploader", errs);
        check_kind(conf, p->cache, MINTD_CACHE, "a cache", p->file, p->line, "cache", errs);
    }
    return errs->n > before ? -EINVAL : 0;
}

/* Loads and checks everything that can be checked without network. On failure errs has the lines. */
static int load(struct app *a, bool check_only, struct conf_errors *errs)
{
    int r = conf_load(a->file, errs, &a->conf);
    if (r) return r;
    r = plug_configure(a->plug, a->conf, check_only, errs);
    return r ? r : check_kinds(a->conf, errs);
}

static int say_errors(struct conf_errors *errs, int r)
{
    if (errs->text.n) print(stderr, buf_view(&errs->text));
    else if (r) fail("the configuration cannot be loaded: %s", strerror(-r));
    conf_errors_free(errs);
    return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the state folder belongs to one process */

static void say_holder(int fd, struct mintd_str folder)
{
    char pid[24];
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? n : 0] = 0;
    pid[strcspn(pid, "\n")] = 0;
    fail("state folder " STR_FMT " is in use by another mintd%s%s%s", STR_ARG(folder), *pid ? " (pid " : "", pid, *pid ? ")" : "");
}

static int lock_state(struct app *a)
{
    char path[4096], pid[24];
    snprintf(path, sizeof path, STR_FMT, STR_ARG(a->conf->state_dir));
    int r = file_mkdirs(path, 0700);
    if (r) return fail("state folder %s: %s", path, strerror(-r));
    snprintf(path, sizeof path, STR_FMT "/lock", STR_ARG(a->conf->state_dir));
    a->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (a->lock < 0) return fail("state folder: %s: %s", path, strerror(errno));
    if (flock(a->lock, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK) say_holder(a->lock, a->conf->state_dir);
        else fail("state folder: %s: %s", path, strerror(errno));
        return EXIT_FAILURE;
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(a->lock, 0) || pwrite(a->lock, pid, (size_t)n, 0) != n) return fail("state folder: %s: %s", path, strerror(errno));
    return EXIT_SUCCESS;
}

/* ---- the end */

static void drop_handles(struct app *a)
{
    loop_signal_del(a->on_term);
    loop_signal_del(a->on_int);
    loop_signal_del(a->on_hup);
    loop_timer_del(a->step);
    loop_timer_del(a->limit);
    loop_timer_del(a->watchdog);
    a->on_term = a->on_int = a->on_hup = NULL;
    a->step = a->limit = a->watchdog = NULL;
    a->vitals = vitals_free(a->vitals);
}

static void free_layers(struct app *a)
{
    a->api = api_free(a->api);
    pipe_free(a->pipe);
    a->pipe = NULL;
    int left = plug_free(a->plug);
    a->plug = NULL;
    if (left) log_warn("%d calls of plugins never came back", left);
    a->conf = conf_unref(a->conf);
    drop_handles(a);
    loop_run(a->loop);                                     /* what was posted meanwhile */
    int open = loop_free(a->loop);
    if (open && !left) {
        log_error("%d handles of the loop were left open, a bug of mintd", open);
        a->status = EXIT_FAILURE;
    }
}

static int finish(struct app *a)
{
    free_layers(a);
    plug_files_close();
    metric_close();
    log_close();
    if (a->lock >= 0) close(a->lock);
    return a->status;
}

static void on_plugins_drained(void *arg)
{
    struct app *a = arg;
    loop_stop(a->loop);
}

/* A turn of its own: the pipeline may report its end from deep inside. The API goes first, its open calls still know the pipeline. */
static void after_pipe(void *arg)
{
    struct app *a = arg;
    a->api = api_free(a->api);
    pipe_free(a->pipe);
    a->pipe = NULL;
    plug_drain(a->plug, on_plugins_drained, a);
}

static void on_pipe_drained(void *arg) { loop_post(((struct app *)arg)->loop, after_pipe, arg); }

static void drain_pipe(void *arg)
{
    struct app *a = arg;
    if (a->pipe_told) return;
    a->pipe_told = true;
    loop_timer_del(a->step);
    a->step = NULL;
    pipe_drain(a->pipe, on_pipe_drained, a);
}

static void on_step(void *arg)
{
    log_warn("some clients are still sending or reading: they are cut off");
    drain_pipe(arg);
}

/* Nothing is freed: calls that hang may still write into it. */
static void on_limit(void *arg)
{
    struct app *a = arg;
    log_warn("the drain time is over: what is still open goes on at the next start");
    _exit(a->status);
}

static void stop(struct app *a, int status, uint64_t limit_ms)
{
    if (a->stopping) return;
    a->stopping = true;
    a->stopped_ms = loop_now_ms(a->loop);
    a->status = status;
    notify("STOPPING=1");
    a->limit = loop_timer(a->loop, limit_ms, on_limit, a);
    a->step = loop_timer(a->loop, limit_ms / 2, on_step, a);
    if (!a->limit || !a->step) _exit(status);
    api_drain(a->api, drain_pipe, a);
}

static void on_stop_signal(void *arg)
{
    struct app *a = arg;
    if (a->stopping && loop_now_ms(a->loop) - a->stopped_ms < SAME_SIGNAL_MS) return;      /* timeout(1) and terminals send it twice */
    if (a->stopping) {
        log_warn("a second signal: ending at once");
        _exit(EXIT_FAILURE);
    }
    log_info("stopping: finishing or parking within %" PRId64 " ms", a->conf->drain_ms);
    stop(a, EXIT_SUCCESS, (uint64_t)a->conf->drain_ms);
}

/* ---- start */

/* The pipeline has logged why. */
static void on_fatal(void *arg, const char *why)
{
    (void)why;
    stop(arg, EXIT_FAILURE, FATAL_DRAIN_MS);
}

static void say_where(const struct app *a)
{
    const struct conf_api *c = &a->conf->api;
    bool v6 = c->address.n && memchr(c->address.p, ':', c->address.n);
    if (api_port(a->api))
        log_info("listening on http://%s" STR_FMT "%s:%u", v6 ? "[" : "", STR_ARG(c->address), v6 ? "]" : "", api_port(a->api));
    if (c->unix_path.n) log_info("listening on unix:" STR_FMT, STR_ARG(c->unix_path));
    if (api_key_file(a->api)) log_info("the admin key is in %s", api_key_file(a->api));
    else if (!c->auth) log_warn("api.auth is off: whoever reaches the listener can mint");
}

static void on_pipe_started(void *arg, int err, const char *why)
{
    struct app *a = arg;
    if (err) on_fatal(a, why);
    if (a->stopping) return;
    api_started(a->api);
    say_where(a);
    log_info("mintd " MINTD_VERSION " accepts work");
    notify("READY=1\nSTATUS=accepts work\nMAINPID=%ld", (long)getpid());
}

static void on_plugins_started(void *arg, int err, const char *why)
{
    struct app *a = arg;
    if (a->stopping) return;
    if (err) {
        log_error("%s", why);
        stop(a, EXIT_FAILURE, FATAL_DRAIN_MS);
        return;
    }
    pipe_start(a->pipe, on_pipe_started, a);
}

/* ---- SIGHUP: whole or not at all */

static int prepare(struct app *a, struct conf *next, struct conf_errors *errs)
{
    struct buf why = { 0 };
    int r = conf_check_reload(a->conf, next, errs), q = api_check(a->api, next, errs);
    if (!r) r = q;
    q = plug_reload(a->plug, next, errs);
    bool reloaded = !q;
    if (!r) r = q;
    if (reloaded && !r) r = check_kinds(next, errs);
    if (!r && (r = api_reconfigure(a->api, next, &why))) conf_error(errs, next->file, 0, STR_FMT, STR_ARG(buf_view(&why)));
    if (r && reloaded) plug_reload_abort(a->plug);
    buf_free(&why);
    return r;
}

static void take_over(struct app *a, struct conf *next)
{
    log_setup(next->log_level, next->log_json);
    plug_swap(a->plug);
    pipe_reconfigure(a->pipe, next);
    conf_unref(a->conf);
    a->conf = next;
    log_info("reloaded %s", a->file);
}

static int reload(void *arg, struct conf_errors *errs)
{
    struct app *a = arg;
    struct conf *next = NULL;
    if (a->stopping) return -ECANCELED;
    notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, loop_now_us(a->loop));
    int r = conf_load(a->file, errs, &next);
    if (!r) r = prepare(a, next, errs);
    if (!r) take_over(a, next);
    else {
        log_lines(buf_view(&errs->text));
        log_error("reload refused, the settings of before stay in force");
        conf_unref(next);
    }
    notify("READY=1");
    return r;
}

static void on_reload_signal(void *arg)
{
    struct conf_errors errs = { .n = 0 };
    reload(arg, &errs);
    conf_errors_free(&errs);
}

/* The files as a fresh start would read them, with a registry of their own, and then as this process would. Nothing is kept. */
static int check_files(void *arg, struct conf_errors *errs, struct conf_errors *restart)
{
    struct app *a = arg;
    struct plug *fresh = NULL;
    struct conf *next = NULL;
    int r = conf_load(a->file, errs, &next);
    if (!r) r = plug_new(a->loop, &fresh);
    if (!r) r = plug_configure(fresh, next, true, errs);
    if (!r) r = check_kinds(next, errs);
    if (!r) {
        conf_check_reload(a->conf, next, restart);
        api_check(a->api, next, restart);
        if (!plug_reload(a->plug, next, restart)) plug_reload_abort(a->plug);
    }
    plug_free(fresh);
    conf_unref(next);
    return r;
}

/* ---- run */

static void no_secrets_in_cores(void)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)      /* the leak check of those builds traces the process */
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* Two heaps for all threads, and every large block back to the system when it is freed: left to itself the C library keeps up to
 * eight heaps per core and raises its limit with each large block, and what a busy hour took would never come back. */
static void bound_memory(void)
{
    mallopt(M_ARENA_MAX, ARENAS);
    mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
}

static bool watch_signals(struct app *a)
{
    signal(SIGPIPE, SIG_IGN);
    a->on_term = loop_signal(a->loop, SIGTERM, on_stop_signal, a);
    a->on_int = loop_signal(a->loop, SIGINT, on_stop_signal, a);
    a->on_hup = loop_signal(a->loop, SIGHUP, on_reload_signal, a);
    return a->on_term && a->on_int && a->on_hup;
}

/* Makes every layer; nothing of it has talked to the outside yet. */
static int build(struct app *a)
{
    struct conf_errors errs = { .n = 0 };
    struct buf why = { 0 };
    int r = load(a, false, &errs);
    if (a->conf) log_setup(a->conf->log_level, a->conf->log_json);
    if (say_errors(&errs, r) || lock_state(a)) return EXIT_FAILURE;
    r = pipe_new(a->loop, a->plug, a->conf, &a->pipe);
    if (r) return fail("the pipelines cannot be made: %s", strerror(-r));
    pipe_on_fatal(a->pipe, on_fatal, a);
    r = api_new(a->loop, a->conf, a->pipe, &why, &a->api);
    if (!r) api_hook(a->api, &(struct api_hooks){ a, a->plug, MINTD_VERSION, check_files, reload });
    if (!r) r = api_open(a->api, &why);
    if (r) fail(STR_FMT, STR_ARG(buf_view(&why)));
    buf_free(&why);
    return r || !watch_signals(a) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(struct app *a)
{
    no_secrets_in_cores();
    a->status = build(a);
    if (a->status) return finish(a);
    start_watchdog(a);
    a->vitals = vitals_new(a->loop, MINTD_VERSION);
    plug_start(a->plug, on_plugins_started, a);
    loop_run(a->loop);
    log_info("stopped");
    return finish(a);
}

/* ---- one-shot commands */

static int check(struct app *a, bool dump)
{
    struct conf_errors errs = { .n = 0 };
    struct buf text = { 0 };
    int r = load(a, true, &errs);
    a->status = say_errors(&errs, r);
    if (!r && dump) conf_print(a->conf, &text);
    else if (!r) buf_printf(&text, "%s: ok, %u instances, %u pipelines\n", a->file, a->conf->n_instances, a->conf->n_pipelines);
    print(stdout, buf_view(&text));
    buf_free(&text);
    return finish(a);
}

static void one_shot_over(struct app *a, int status)
{
    a->status = status;
    plug_drain(a->plug, on_plugins_drained, a);
}

static void say_schema(const struct app *a, const struct mintd_schema *s)
{
    if (a->op == MIGRATE_COPY) printf("the copy is written; schema %u\n", s->now);
    else if (s->now == s->wanted) printf("schema %u is up to date\n", s->now);
    else printf("schema %u, this version needs %u: run mintd migrate\n", s->now, s->wanted);
}

static void on_schema(void *arg, struct plug_reply *r)
{
    struct app *a = arg;
    bool ok = r->out->cls == MINTD_OK && r->res->rows.n;
    if (ok) say_schema(a, r->res->rows.p);
    else fail(STR_FMT ": " STR_FMT, STR_ARG(r->out->slug), STR_ARG(r->out->msg));
    one_shot_over(a, ok ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void on_store_started(void *arg, int err, const char *why)
{
    struct app *a = arg;
    struct arena *mem = err ? NULL : arena_new(0);
    if (mem) {
        plug_call_rows(plug_find(a->plug, a->conf->store), STORE_MIGRATE, a->op, NULL, (struct mintd_vec){ 0 }, mem, on_schema, a);
        return;
    }
    fail("%s", err ? why : "out of memory");
    one_shot_over(a, EXIT_FAILURE);
}

/* Only the store is made and started. A copy may be made beside a running daemon; a migration may not. */
static int with_store(struct app *a, uint32_t op, bool alone)
{
    struct conf_errors errs = { .n = 0 };
    a->op = op;
    int r = conf_load(a->file, &errs, &a->conf);
    if (!r) {
        log_setup(MINTD_WARN, a->conf->log_json);
        conf_keep_instance(a->conf, a->conf->store);
        r = plug_configure(a->plug, a->conf, false, &errs);
    }
    if (!r) check_kind(a->conf, a->conf->store, MINTD_STORE, "a store", a->conf->file, 0, "store", &errs);
    a->status = say_errors(&errs, errs.n && !r ? -EINVAL : r);
    if (!a->status && alone) a->status = lock_state(a);
    if (a->status) return finish(a);
    plug_start(a->plug, on_store_started, a);
    loop_run(a->loop);
    return finish(a);
}

static int describe(const struct args *args)
{
    struct plug_file *f;
    struct conf_errors errs = { .n = 0 };
    struct conf *conf = NULL;
    struct buf text = { 0 };
    char dir[4096];
    if (!strcmp(args->plugin, "core")) {
        conf_describe(args->json, &text);
        print(stdout, buf_view(&text));
        buf_free(&text);
        return EXIT_SUCCESS;
    }
    if (args->config && conf_load(args->config, &errs, &conf)) return say_errors(&errs, -EINVAL);
    if (conf) snprintf(dir, sizeof dir, STR_FMT, STR_ARG(conf->plugin_dir));
    else conf_plugin_dir(dir, sizeof dir);
    int r = plug_file_load(dir, str_of(args->plugin), &f, &text);
    if (r) fail(STR_FMT, STR_ARG(text.n ? buf_view(&text) : S("out of memory")));
    else {
        plug_file_describe(f, args->json, &text);
        print(stdout, buf_view(&text));
    }
    buf_free(&text);
    conf_unref(conf);
    plug_files_close();
    return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the command line */

static int usage(const char *why)
{
    if (why) fprintf(stderr, "mintd: %s\n", why);
    fputs("try: mintd --help\n", stderr);
    return EXIT_USAGE;
}

static int version(void)
{
    printf("mintd " MINTD_VERSION "\nplugin ABI %u.%u\n", MINTD_ABI_MAJOR, MINTD_ABI_MINOR);
    return EXIT_SUCCESS;
}

enum { OPT_DESCRIBE = 256, OPT_JSON, OPT_DRY_RUN, OPT_VERSION, OPT_HELP };
static const struct option options[] = {
    { "config", required_argument, NULL, 'c' }, { "check", no_argument, NULL, 't' }, { "dump", no_argument, NULL, 'T' },
    { "describe", required_argument, NULL, OPT_DESCRIBE }, { "json", no_argument, NULL, OPT_JSON },
    { "dry-run", no_argument, NULL, OPT_DRY_RUN }, { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, OPT_HELP }, { NULL, 0, NULL, 0 },
};

/* -1: go on, else the exit code */
static int read_args(int argc, char **argv, struct args *ret)
{
    for (int c; (c = getopt_long(argc, argv, "c:tTh", options, NULL)) != -1;) {
        switch (c) {
        case 'c': ret->config = optarg; break;
        case 't': ret->check = true; break;
        case 'T': ret->dump = true; break;
        case OPT_DESCRIBE: ret->plugin = optarg; break;
        case OPT_JSON: ret->json = true; break;
        case OPT_DRY_RUN: ret->dry = true; break;
        case OPT_VERSION: return version();
        case 'h': case OPT_HELP: fputs(help, stdout); return EXIT_SUCCESS;
        default: return usage(NULL);                       /* getopt said what is wrong */
        }
    }
    const char *word = optind < argc ? argv[optind++] : "";
    ret->migrate = !strcmp(word, "migrate");
    ret->backup = !strcmp(word, "backup");
    if ((*word && !ret->migrate && !ret->backup) || optind < argc) return usage("unknown or surplus argument");
    if ((ret->migrate || ret->backup) + ret->check + ret->dump + (ret->plugin != NULL) > 1) return usage("only one command at a time");
    if (ret->dry && !ret->migrate) return usage("--dry-run belongs to migrate");
    if (ret->json && !ret->plugin) return usage("--json belongs to --describe");
    return ret->config || ret->plugin ? -1 : usage("-c FILE is needed");
}

int main(int argc, char **argv)
{
    struct args args = { .config = NULL };
    struct app app = { .lock = -1 };
    int code = read_args(argc, argv, &args);
    if (code >= 0) return code;
    umask(077);
    bound_memory();
    if (args.plugin) return describe(&args);
    app.file = args.config;
    int r = loop_new(&app.loop);
    if (r) return fail("no event loop: %s", strerror(-r));
    if ((r = plug_new(app.loop, &app.plug))) return fail("no plugin registry: %s", strerror(-r));
    if (args.check || args.dump) return check(&app, args.dump);
    if (args.migrate) return with_store(&app, args.dry ? 0 : MIGRATE_APPLY, true);
    if (args.backup) return with_store(&app, MIGRATE_COPY, false);
    return run(&app);
}
