/* The configuration, the log's level and the plugins as the API shows and changes them. Everything that changes something does what a
 * signal or a command of mintd does too, through the process's hooks. Secrets are never shown. Calls conf/, plug/, base/. Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "api/control.h"
#include "api/fields.h"
#include "base/log.h"

static const char *const levels[] = { "error", "warn", "info", "debug" };

/* ---- asking a plugin */

struct asked { struct call *c; control_answer_fn *fn; };

static void on_answer(void *arg, struct plug_reply *r)
{
    const struct asked *a = arg;
    struct call *c = a->c;
    if (call_open(c)) a->fn(c, r);
    call_unref(c);
}

bool control_ask(struct call *c, struct plug_inst *inst, uint32_t op, uint32_t flags, const struct mintd_query *query, control_answer_fn *fn)
{
    struct arena *mem = arena_new(0);
    struct asked *a = mem ? arena_alloc(c->mem, sizeof *a) : NULL;
    struct mintd_query *q = a && query ? arena_copy(mem, query, sizeof *query) : NULL;
    if (!a || (query && !q)) {
        arena_free(mem);
        call_memory(c);
        return false;
    }
    if (q) q->size = sizeof *q;
    *a = (struct asked){ c, fn };
    call_ref(c);
    plug_call_rows(inst, op, flags, q, (struct mintd_vec){ 0 }, mem, on_answer, a);
    return true;
}

/* ---- GET /v1/config */

struct options { struct buf *b; };

static void put_options(void *arg, struct plug_inst *inst) { plug_options_json(inst, ((struct options *)arg)->b); }

void control_config(struct call *c)
{
    struct buf b = { 0 };
    buf_puts(&b, "{\"file\":");
    buf_json(&b, str_of(c->api->conf->file));
    buf_puts(&b, ",\"options\":[");
    conf_json(c->api->conf, &b);
    plug_each(c->api->hooks.plug, put_options, &(struct options){ &b });
    buf_puts(&b, "]}\n");
    call_json(c, 200, &b, NULL);
}

/* ---- mistakes: "file:line: message", "file: message" or just a message */

static struct mintd_str next_line(struct mintd_str *text)
{
    const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    size_t n = end ? (size_t)(end - text->p) : text->n;
    struct mintd_str line = { text->p, n };
    text->p += n + (end != NULL);
    text->n -= n + (end != NULL);
    return line;
}

static uint64_t line_number(struct mintd_str *file)
{
    const char *colon = file->n ? memrchr(file->p, ':', file->n) : NULL;
    uint64_t line = 0;
    if (!colon || str_u64((struct mintd_str){ colon + 1, file->n - (size_t)(colon + 1 - file->p) }, &line)) return 0;
    file->n = (size_t)(colon - file->p);
    return line;
}

static void put_mistake(struct buf *b, struct mintd_str text)
{
    const char *colon = memmem(text.p, text.n, ": ", 2);
    struct mintd_str file = { text.p, colon ? (size_t)(colon - text.p) : 0 };
    uint64_t line = file.n && (memchr(file.p, '/', file.n) || memchr(file.p, '.', file.n)) ? line_number(&file) : 0;
    if (!line && !(file.n && memchr(file.p, '/', file.n))) file.n = 0;
    struct mintd_str message = file.n ? (struct mintd_str){ colon + 2, text.n - (size_t)(colon + 2 - text.p) } : text;
    buf_puts(b, "{\"message\":");
    buf_json(b, message);
    if (file.n) json_str(b, "file", file);
    if (line) buf_printf(b, ",\"line\":%" PRIu64, line);
    buf_puts(b, "}");
}

void control_errors_put(struct buf *b, const struct conf_errors *errs)
{
    struct mintd_str rest = buf_view(&errs->text);
    for (const char *comma = ""; rest.n; comma = ",") {
        buf_puts(b, comma);
        put_mistake(b, next_line(&rest));
    }
}

/* ---- POST /v1/config/check and reload */

void control_config_check(struct call *c)
{
    struct conf_errors errs = { .n = 0 }, restart = { .n = 0 };
    struct buf b = { 0 };
    if (!call_fields(c, NULL, 0)) return;
    int r = c->api->hooks.check(c->api->hooks.arg, &errs, &restart);
    buf_puts(&b, "{\"file\":");
    buf_json(&b, str_of(c->api->conf->file));
    buf_printf(&b, ",\"valid\":%s,\"errors\":[", r ? "false" : "true");
    if (r == -ENOMEM && !errs.n) conf_error(&errs, NULL, 0, "out of memory");
    control_errors_put(&b, &errs);
    buf_puts(&b, "],\"needsRestart\":[");
    control_errors_put(&b, &restart);
    buf_puts(&b, "]}\n");
    conf_errors_free(&errs);
    conf_errors_free(&restart);
    call_json(c, 200, &b, NULL);
}

static void reload_refused(struct call *c, const struct conf_errors *errs)
{
    struct buf b = { 0 }, members = { 0 };
    struct mintd_str rest = buf_view(&errs->text);
    while (rest.n) {
        struct mintd_str line = next_line(&rest);
        buf_puts(&b, b.n ? ",{\"pointer\":\"\",\"code\":\"config.invalid\",\"detail\":" : "{\"pointer\":\"\",\"code\":\"config.invalid\",\"detail\":");
        buf_json(&b, line);
        buf_puts(&b, "}");
    }
    buf_puts(&members, ",\"mistakes\":[");
    control_errors_put(&members, errs);
    buf_add(&members, "]", 2);                              /* with its end */
    if (b.bad || members.bad) call_memory(c);
    else call_problem(c, &(struct problem){ .status = 422, .code = "config.invalid", .errors = buf_view(&b), .members = members.p },
                      "the configuration was not taken over, the settings of before stay in force: correct what errors name, or restart for what needs it");
    buf_free(&b);
    buf_free(&members);
}

/* On a turn of its own: a reload changes the limits of the listener that this request came in by. */
static void reload_now(void *arg)
{
    struct call *c = arg;
    struct conf_errors errs = { .n = 0 };
    struct buf b = { 0 };
    int r = c->api->draining || c->api->freed ? -ECANCELED : c->api->hooks.reload(c->api->hooks.arg, &errs);
    if (r == -ECANCELED) call_problem(c, &(struct problem){ .status = 503, .code = "server.draining" }, "the daemon is shutting down");
    else if (r) reload_refused(c, &errs);
    else {
        buf_puts(&b, "{\"reloaded\":true,\"file\":");
        buf_json(&b, str_of(c->api->conf->file));
        buf_printf(&b, ",\"instances\":%u,\"pipelines\":%u}\n", c->api->conf->n_instances, c->api->conf->n_pipelines);
        call_json(c, 200, &b, NULL);
    }
    conf_errors_free(&errs);
    call_unref(c);
}

void control_config_reload(struct call *c)
{
    if (!call_fields(c, NULL, 0)) return;
    call_ref(c);
    loop_post(c->api->loop, reload_now, c);
}

/* ---- GET and PUT /v1/log */

void control_log(struct call *c)
{
    struct buf b = { 0 };
    uint32_t now = log_level(), written = c->api->conf->log_level;
    buf_printf(&b, "{\"level\":\"%s\",\"configured\":\"%s\",\"format\":\"%s\"}\n", levels[now < 4 ? now : 3], levels[written < 4 ? written : 3],
               c->api->conf->log_json ? "json" : "text");
    call_json(c, 200, &b, NULL);
}

void control_log_set(struct call *c)
{
    struct mintd_str level = { NULL, 0 };
    const struct field fields[] = { { "level", FIELD_STR, true, 16, &level } };
    if (!call_fields(c, fields, ARRAY_LEN(fields))) return;
    uint32_t i = 0;
    while (i < ARRAY_LEN(levels) && !str_eq(level, str_of(levels[i]))) i++;
    if (i == ARRAY_LEN(levels)) {
        call_problem(c, &(struct problem){ .status = 422, .code = "field.value", .pointer = "/level" }, "must be error, warn, info or debug");
        return;
    }
    log_setup(i, c->api->conf->log_json);
    log_fields(MINTD_WARN, S("the level of the log was set until the next reload"),
               (struct mintd_field[]){ { S("request_id"), str_of(c->id) }, { S("to"), level } }, 2);
    control_log(c);
}

/* ---- GET /v1/plugins, /v1/plugins/{name} */

static void put_plugin(void *arg, struct plug_inst *inst)
{
    struct buf *b = arg;
    if (b->p[b->n - 1] != '[') buf_puts(b, ",");
    plug_state_json(inst, b);
}

void control_plugins(struct call *c)
{
    struct buf b = { 0 };
    buf_puts(&b, "{\"plugins\":[");
    if (!b.bad) plug_each(c->api->hooks.plug, put_plugin, &b);
    buf_puts(&b, "]}\n");
    call_json(c, 200, &b, NULL);
}

void control_plugin(struct call *c)
{
    struct plug_inst *inst = plug_find(c->api->hooks.plug, c->param[0]);
    struct buf b = { 0 };
    if (!inst) {
        call_problem(c, &(struct problem){ .status = 404, .code = "plugin.unknown" }, "no instance has this name: GET /v1/plugins lists them");
        return;
    }
    plug_describe_json(inst, &b);
    call_json(c, 200, &b, NULL);
}
