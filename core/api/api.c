/* Life of the API: sockets, key, limits, reload, drain. Owns struct api. Calls httpd.h, auth.h. Loop thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "api/api.h"
#include "api/hub.h"
#include "api/serve.h"
#include "api/shown.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/balance.h"

enum { DESCRIPTOR_RESERVE = 64 };              /* store, chains, log: opened first, never given to clients */

/* Never more connections than descriptors, so that running out of them stays the exception. */
static uint32_t connection_limit(const struct conf *conf)
{
    struct rlimit r;
    uint32_t want = conf->api.max_connections;
    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur == RLIM_INFINITY || r.rlim_cur >= want + DESCRIPTOR_RESERVE) return want;
    uint32_t room = r.rlim_cur > 2 * DESCRIPTOR_RESERVE ? (uint32_t)r.rlim_cur - DESCRIPTOR_RESERVE : (uint32_t)r.rlim_cur / 2;
    log_warn("api.max_connections is %u, but only %llu file descriptors are allowed: taking %u connections at most",
             want, (unsigned long long)r.rlim_cur, room);
    return room;
}

static struct httpd_limits limits_of(const struct conf *conf)
{
    return (struct httpd_limits){ connection_limit(conf), conf->api.max_connections_per_ip, conf->api.header_ms, conf->api.idle_ms,
                                  2 * (uint64_t)conf->api.max_body };
}

/* Whoever can open the socket is an administrator: the folder says who that is. */
static int guard_socket(const char *path, struct buf *err)
{
    char folder[256];
    const char *why = "", *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash && slash != path ? (int)(slash - path) : 1, slash ? path : ".");
    int rc = file_guarded(folder, &why);
    if (rc)
        buf_printf(err, "listen.unix: the folder %s %s: whoever can open the socket is an administrator, so give it a folder of its own, "
                   "of mintd's user and with mode 0700, or 0750 to let a group in", folder, why);
    return rc;
}

static int bind_all(struct api *api, struct buf *err)
{
    const struct conf_api *c = &api->conf->api;
    struct httpd_limits limits = limits_of(api->conf);
    char text[256];
    int rc = 0;
    if (c->port) {
        snprintf(text, sizeof text, STR_FMT, STR_ARG(c->address));
        rc = httpd_bind(api->loop, text, (uint16_t)c->port, NULL, &limits, &serve_fns, api, err, &api->tcp);
    }
    if (!rc && c->unix_path.n) {
        snprintf(text, sizeof text, STR_FMT, STR_ARG(c->unix_path));
        rc = guard_socket(text, err);
        if (!rc) rc = httpd_bind(api->loop, NULL, 0, text, &limits, &serve_fns, api, err, &api->local);
    }
    return rc;
}

static bool is_loopback(struct mintd_str address)
{
    return str_starts(address, S("127.")) || str_eq(address, S("::1")) || str_eq(address, S("localhost"));
}

int api_new(struct loop *loop, struct conf *conf, struct pipe *pipe, struct buf *err, struct api **ret)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api) return buf_puts(err, "no memory"), -ENOMEM;
    list_init(&api->calls);
    api->loop = loop;
    api->pipe = pipe;
    api->conf = conf_ref(conf);
    api->requests = metric_new(METRIC_COUNTER, "mintd_http_requests_total", "route,code", "HTTP requests answered", NULL);
    api->seconds = metric_new(METRIC_HISTOGRAM, "mintd_http_request_seconds", "route", "time from a request's header to its answer", NULL);
    api->in_flight = metric_new(METRIC_GAUGE, "mintd_http_in_flight", NULL, "HTTP requests being worked on", NULL);
    access_init(&api->access, loop);
    access_limit(&api->access, &conf->api);
    api->reconciler = reconciler_new(loop, pipe, conf);
    api->stats = stats_new(loop, pipe);
    api->shown = shown_new();
    api->keys = keys_new(loop, pipe);
    api->balance = balance_new(loop, pipe, conf);
    api->began_us = loop_now_us(loop);
    api->hub = hub_new(api);
    bool made = api->stats && api->shown && api->keys && api->reconciler && api->balance && api->hub;
    int rc = made ? auth_load(&api->auth, loop, conf, err) : -ENOMEM;
    if (!rc) rc = bind_all(api, err);
    if (rc) {
        api_free(api);
        return rc;
    }
    if (!api->auth.on && !is_loopback(conf->api.address))
        log_warn("api.auth is off and " STR_FMT " is no loopback address: anyone who reaches it can mint", STR_ARG(conf->api.address));
    *ret = api;
    return 0;
}

int api_open(struct api *api, struct buf *err)
{
    int rc = api->tcp ? httpd_open(api->tcp, err) : 0;
    return !rc && api->local ? httpd_open(api->local, err) : rc;
}

static void on_keys(void *arg) { access_cut(arg); }

void api_started(struct api *api)
{
    keys_on_change(api->keys, on_keys, api);
    keys_open(api->keys);
}

int api_check(const struct api *api, const struct conf *next, struct conf_errors *errs)
{
    const struct conf_api *a = &api->conf->api, *b = &next->api;
    uint32_t before = errs->n;
    if (!str_eq(a->address, b->address)) conf_error(errs, next->file, 0, "api.address changed: needs a restart");
    if (a->port != b->port) conf_error(errs, next->file, 0, "api.port changed from %u to %u: needs a restart", a->port, b->port);
    if (!str_eq(a->unix_path, b->unix_path)) conf_error(errs, next->file, 0, "api.unix changed: needs a restart");
    if (!str_eq(a->key_secret, b->key_secret)) conf_error(errs, next->file, 0, "api.key_secret changed: needs a restart");
    return errs->n > before ? -EINVAL : 0;
}

int api_reconfigure(struct api *api, struct conf *next, struct buf *err)
{
    int rc = auth_load(&api->auth, api->loop, next, err);
    if (rc) return rc;
    conf_unref(api->conf);
    api->conf = conf_ref(next);
    reconciler_conf(api->reconciler, next);
    access_limit(&api->access, &next->api);
    balance_configure(api->balance, next);
    struct httpd_limits limits = limits_of(next);
    if (api->tcp) httpd_limit(api->tcp, &limits);
    if (api->local) httpd_limit(api->local, &limits);
    return 0;
}

void api_hook(struct api *api, const struct api_hooks *h)
{
    api->hooks = *h;
    api->clock_us = loop_wall_us(api->loop) - (int64_t)loop_now_us(api->loop);
}

static void on_drained(void *arg)
{
    struct api *api = arg;
    loop_timer_del(api->drain_timer);
    api->drain_timer = NULL;
    api->drained(api->drained_arg);
}

/* on a turn of its own: the last call may end deep inside the HTTP server */
static void drained_soon(struct api *api)
{
    if (api->drained && !api->n_work && !api->drain_timer) api->drain_timer = loop_timer(api->loop, 0, on_drained, api);
}

void api_drain(struct api *api, loop_fn *fn, void *arg)
{
    api->draining = true;
    stats_stop(api->stats);
    keys_stop(api->keys);
    balance_stop(api->balance);
    hub_stop(api->hub);
    api->drained_arg = arg;
    LIST_EACH(it, &api->calls) {
        struct call *c = LIST_OF(it, struct call, link);
        if (!call_open(c)) continue;
        if (c->stream) c->stream->drain(c);
        else if (c->state && c->route && c->route->drain) c->route->drain(c);
    }
    reconciler_stop(api->reconciler);
    api->drained = fn;
    drained_soon(api);
}

static void release(struct api *api)
{
    stats_free(api->stats);
    shown_free(api->shown);
    keys_free(api->keys);
    hub_free(api->hub);
    access_free(&api->access);
    balance_free(api->balance);
    auth_free(&api->auth);
    conf_unref(api->conf);
    free(api);
}

void serve_call_ended(struct api *api)
{
    if (api->freed && !api->n_calls) release(api);
    else if (!api->freed) drained_soon(api);
}

/* Calls whose store reads are still on their way outlive the sockets; the last one takes the rest along. */
struct api *api_free(struct api *api)
{
    if (!api) return NULL;
    loop_timer_del(api->drain_timer);
    api->drained = NULL;
    if (api->stats) stats_stop(api->stats);
    if (api->keys) keys_stop(api->keys);
    api->reconciler = reconciler_free(api->reconciler);
    if (api->balance) balance_stop(api->balance);
    hub_stop(api->hub);
    httpd_free(api->tcp);
    httpd_free(api->local);
    api->tcp = api->local = NULL;
    api->freed = true;
    if (!api->n_calls) release(api);
    return NULL;
}

uint16_t api_port(const struct api *api) { return api->tcp ? httpd_port(api->tcp) : 0; }
const char *api_key_file(const struct api *api) { return api->auth.file; }
