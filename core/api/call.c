/* Calls: from a request's headers to its last byte. Owns the checks every route shares (guard, path, method, key, media types, size),
 * the answers and the store reads. Calls httpd.h, plug/, pipe/, base/. Loop thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <sodium.h>
#include "api/accept.h"
#include "api/call.h"
#include "api/gzip.h"
#include "api/serve.h"
#include "base/log.h"

enum { HEADERS = 18, TAG_TEXT = 32 };

/* ---- life */

void call_ref(struct call *c) { c->refs++; }

struct call_kept *call_mark(const struct call *c) { return c->kept; }

void call_forget(struct call *c, const struct call_kept *mark)
{
    while (c->kept && c->kept != mark) {
        struct call_kept *k = c->kept;
        c->kept = k->next;
        arena_free(k->mem);
        free(k);
    }
}

void call_unref(struct call *c)
{
    struct api *api = c->api;
    if (--c->refs) return;
    if (c->release) c->release(c);
    gzip_free(c->gzip);
    call_forget(c, NULL);
    list_del(&c->link);
    api->n_calls--;
    buf_free(&c->body);
    arena_free(c->mem);
    free(c);
    serve_call_ended(api);
}

static struct call *call_new(struct api *api, struct http_req *http)
{
    struct call *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->mem = arena_new(0);
    if (!c->mem) return free(c), NULL;
    c->api = api;
    c->http = http;
    c->refs = 1;
    c->started_us = loop_now_us(api->loop);
    list_add(&api->calls, &c->link);
    api->n_calls++;
    http->user = c;
    return c;
}

bool call_open(const struct call *c) { return c->http && (!c->answered || (c->stream && !c->ended)); }

/* ---- answers */

struct rate_text { char limit[12], remaining[12], reset[24]; };

static void put_rate(const struct call *c, struct rate_text *t, struct http_header *ret)
{
    snprintf(t->limit, sizeof t->limit, "%u", c->rate_limit);
    snprintf(t->remaining, sizeof t->remaining, "%u", c->rate.remaining);
    snprintf(t->reset, sizeof t->reset, "%llu", (unsigned long long)c->rate.reset_s);
    ret[0] = (struct http_header){ "RateLimit-Limit", t->limit };
    ret[1] = (struct http_header){ "RateLimit-Remaining", t->remaining };
    ret[2] = (struct http_header){ "RateLimit-Reset", t->reset };
}

static void fill_headers(const struct call *c, const char *type, const struct http_header *more, struct rate_text *text,
                         struct http_header ret[HEADERS])
{
    size_t n = 0;
    ret[n++] = (struct http_header){ "Content-Type", type };
    ret[n++] = (struct http_header){ "X-Request-Id", c->id };
    ret[n++] = (struct http_header){ "Cache-Control", "no-store" };
    ret[n++] = (struct http_header){ "Vary", c->route && c->route->flags & (ROUTE_LIST | ROUTE_EVENTS) ? "Accept, Accept-Encoding" : "Accept-Encoding" };
    for (; more && more->name && n < HEADERS - 1; more++)
        if (more->value) ret[n++] = *more;
    if (c->rate_limit && n + 3 < HEADERS) put_rate(c, text, ret + n), n += 3;
    ret[n] = (struct http_header){ NULL, NULL };
}

static void add_header(struct http_header headers[HEADERS], const char *name, const char *value)
{
    size_t n = 0;
    while (headers[n].name) n++;
    if (n + 1 >= HEADERS) return;
    headers[n] = (struct http_header){ name, value };
    headers[n + 1] = (struct http_header){ NULL, NULL };
}

static bool takes_gzip(const struct call *c) { return accept_gzip(http_header(c->http, "accept-encoding", NULL)); }

/* 304 without the body when the client has this very one; weak, because the same document may go out compressed or not. */
static unsigned known_already(const struct call *c, unsigned status, struct buf *body, char ret_tag[TAG_TEXT])
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    if (status != 200 || !c->route || !(c->route->flags & ROUTE_ETAG) || body->bad) return status;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)body->p, body->n, NULL, 0);
    memcpy(ret_tag, "W/\"", 3);
    hex_encode(hash, 12, ret_tag + 3);
    memcpy(ret_tag + 27, "\"", 2);
    if (!accept_known(http_header(c->http, "if-none-match", NULL), ret_tag)) return status;
    buf_free(body);
    return 304;
}

static void answer(struct call *c, unsigned status, const char *type, struct buf *body, const struct http_header *more, bool close)
{
    struct http_header headers[HEADERS];
    struct rate_text text;
    if (!c->http || c->answered) {
        if (call_open(c)) call_finish(c, false);           /* a part of an answer is no answer */
        buf_free(body);
        return;
    }
    char tag[TAG_TEXT] = "";
    status = known_already(c, status, body, tag);
    fill_headers(c, type, more, &text, headers);
    if (tag[0]) add_header(headers, "ETag", tag);
    if (takes_gzip(c) && gzip_whole(body)) add_header(headers, "Content-Encoding", "gzip");
    c->answered = true;
    c->status = status;
    c->bytes = body->n;
    http_answer(c->http, status, body, headers, close || c->api->draining);
}

void call_json(struct call *c, unsigned status, struct buf *body, const struct http_header *headers)
{
    answer(c, status, "application/json", body, headers, false);
}

void call_text(struct call *c, unsigned status, const char *type, struct buf *body) { answer(c, status, type, body, NULL, false); }

void call_begin(struct call *c, const struct call_stream *stream, const char *type, const struct http_header *more, bool listens)
{
    struct http_header headers[HEADERS];
    struct rate_text text;
    fill_headers(c, type, more, &text, headers);
    if (!listens && takes_gzip(c) && (c->gzip = gzip_new())) add_header(headers, "Content-Encoding", "gzip");
    c->answered = true;
    c->stream = stream;
    c->status = 200;
    if (c->counted) {                                      /* a listener does not hold up the end of the daemon */
        c->counted = false;
        c->api->n_work--;
    }
    http_begin(c->http, 200, headers, listens);
}

static void push(struct call *c, struct buf *b)
{
    if (b->bad) {
        call_finish(c, false);
        return;
    }
    http_push(c->http, b->p, b->n);
    c->bytes += b->n;
}

/* false: nothing is ready to go out yet */
bool call_push(struct call *c, struct buf *b)
{
    struct buf small = { 0 }, *out = c->gzip ? &small : b;
    bool any = false;
    if (call_open(c)) {
        if (c->gzip && (b->bad || gzip_add(c->gzip, b->p, b->n, false, &small))) small.bad = true;
        any = out->n || out->bad;
        push(c, out);
    }
    buf_free(&small);
    buf_free(b);
    return any;
}

size_t call_queued(const struct call *c) { return c->http ? http_queued(c->http) : 0; }

void call_finish(struct call *c, bool whole)
{
    struct buf rest = { 0 };
    if (!call_open(c)) return;
    if (whole && c->gzip) {
        whole = !gzip_add(c->gzip, "", 0, true, &rest);
        http_push(c->http, rest.p, rest.n);
    }
    buf_free(&rest);
    c->ended = true;
    http_finish(c->http, whole);
}

static const char *title_of(unsigned status)
{
    static const struct { unsigned status; const char *title; } titles[] = {
        { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" }, { 409, "Conflict" }, { 413, "Content Too Large" }, { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" }, { 422, "Unprocessable Content" }, { 431, "Request Header Fields Too Large" },
        { 429, "Too Many Requests" }, { 500, "Internal Server Error" }, { 503, "Service Unavailable" }, { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        if (titles[i].status == status) return titles[i].title;
    return "Error";
}

void call_problem(struct call *c, const struct problem *p, const char *fmt, ...)
{
    char detail[768];
    struct buf b = { 0 };
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    buf_printf(&b, "{\"type\":\"urn:mintd:error:%s\",\"title\":\"%s\",\"status\":%u,\"detail\":", p->code, title_of(p->status), p->status);
    buf_json(&b, str_of(detail));
    buf_printf(&b, ",\"code\":\"%s\"", p->code);
    if (p->errors.n) {
        buf_puts(&b, ",\"errors\":[");
        buf_str(&b, p->errors);
        buf_puts(&b, "]");
    } else if (p->pointer && p->pointer[0]) {
        buf_puts(&b, ",\"errors\":[{\"pointer\":");
        buf_json(&b, str_of(p->pointer));
        buf_printf(&b, ",\"code\":\"%s\",\"detail\":", p->code);
        buf_json(&b, str_of(detail));
        buf_puts(&b, "}]");
    }
    if (p->members) buf_puts(&b, p->members);
    json_str(&b, "request_id", str_of(c->id));
    buf_puts(&b, "}\n");
    answer(c, p->status, "application/problem+json", &b, p->headers, p->close);
}

void call_memory(struct call *c)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    call_problem(c, &(struct problem){ .status = 503, .code = "server.memory", .headers = later }, "no memory for this request now");
}

/* ---- store reads */

struct query { struct call *c; call_rows_fn *fn; bool cursor; };

static bool keep(struct call *c, struct plug_reply *r)
{
    struct call_kept *k = malloc(sizeof *k);
    if (!k) return false;
    *k = (struct call_kept){ c->kept, r->mem };
    c->kept = k;
    r->mem = NULL;
    return true;
}

static void query_failed(struct call *c, const struct mintd_outcome *o, bool cursor)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    if (o->cls == MINTD_PERMANENT && cursor && str_eq(o->slug, S("store.bad_request"))) {
        call_problem(c, &(struct problem){ .status = 400, .code = "query.cursor", .pointer = "cursor" }, "is not a cursor of this list");
        return;
    }
    log_fields(MINTD_WARN, S("the store cannot be read"),
               (struct mintd_field[]){ { S("request_id"), str_of(c->id) }, { S("slug"), o->slug }, { S("reason"), o->msg } }, 3);
    call_problem(c, &(struct problem){ .status = 503, .code = "store.unavailable", .headers = later }, "the store cannot be read now");
}

static void on_rows(void *arg, struct plug_reply *r)
{
    struct query q = *(struct query *)arg;
    struct call *c = q.c;
    free(arg);
    if (call_open(c) && r->out->cls != MINTD_OK) query_failed(c, r->out, q.cursor);
    else if (call_open(c)) {
        const struct mintd_res *res = r->res;
        if (keep(c, r)) q.fn(c, res);
        else call_memory(c);
    }
    call_unref(c);
}

/* The request is copied whole: the plugin may still read it when the call has long been answered for its lateness. */
static struct mintd_query *copy_query(struct arena *mem, const struct mintd_query *from)
{
    struct mintd_query *q = arena_copy(mem, from, sizeof *from);
    if (!q) return NULL;
    struct mintd_str *names = from->names.n ? arena_array(mem, from->names.n, sizeof *names) : NULL;
    q->size = sizeof *q;
    q->cursor = arena_str(mem, from->cursor);
    if (from->ids.n) q->ids.p = arena_copy(mem, from->ids.p, (size_t)from->ids.n * sizeof(uint64_t));
    for (uint32_t i = 0; names && i < from->names.n; i++) names[i] = arena_str(mem, ((const struct mintd_str *)from->names.p)[i]);
    q->names.p = names;
    return (from->ids.n && !q->ids.p) || (from->names.n && !names) ? NULL : q;
}

void call_query(struct call *c, const struct mintd_query *want, uint32_t flags, call_rows_fn *fn)
{
    struct plug_inst *store = pipe_store(c->api->pipe);
    struct arena *mem = arena_new(0);
    struct query *q = malloc(sizeof *q);
    struct mintd_query *copy = mem ? copy_query(mem, want) : NULL;
    if (!q || !copy || !store) {
        free(q);
        arena_free(mem);
        call_memory(c);
        return;
    }
    *q = (struct query){ c, fn, want->cursor.n > 0 };
    call_ref(c);
    plug_call_rows(store, STORE_QUERY, flags, copy, (struct mintd_vec){ 0 }, mem, on_rows, q);
}

/* ---- store writes */

struct writing { struct call *c; call_written_fn *fn; };

static void not_written(struct call *c)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    call_problem(c, &(struct problem){ .status = 503, .code = "store.unavailable", .headers = later },
                 "the store does not take writes now: nothing was changed");
}

static void on_written(void *arg, const struct mintd_applied *a)
{
    const struct writing *w = arg;
    struct call *c = w->c;
    if (a) w->fn(c, a);
    else not_written(c);
    call_unref(c);
}

void call_write(struct call *c, const struct pipe_row *row, struct arena *mem, call_written_fn *fn)
{
    struct writing *w = arena_alloc(c->mem, sizeof *w);
    if (!w) {
        arena_free(mem);
        call_memory(c);
        return;
    }
    *w = (struct writing){ c, fn };
    call_ref(c);
    if (!pipe_write(c->api->pipe, row, mem, on_written, w)) return;
    call_memory(c);
    call_unref(c);
}

/* ---- the checks every route shares; each answers and returns false when it refuses */

static void make_id(struct call *c)
{
    const char *given = http_header(c->http, "x-request-id", NULL);
    size_t n = given ? strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") : 0;
    if (n && n <= CALL_ID && !given[n]) {
        memcpy(c->id, given, n + 1);
        return;
    }
    uint8_t raw[12];
    loop_random(c->api->loop, raw, sizeof raw);
    hex_encode(raw, sizeof raw, c->id);
}

static bool is_framed(struct call *c)
{
    if (!c->http->bad) return true;
    call_problem(c, &(struct problem){ .status = c->http->bad_status, .code = "http.request", .close = true },
                 "the request is refused: %s", c->http->bad);
    return false;
}

static struct mintd_str segment(const char **path)
{
    const char *start = *path + 1, *end = strchrnul(start, '/');
    *path = end;
    return (struct mintd_str){ start, (size_t)(end - start) };
}

static bool path_matches(const char *pattern, const char *path, struct mintd_str param[CALL_PARAMS])
{
    unsigned n = 0;
    while (*pattern == '/' && *path == '/') {
        struct mintd_str want = segment(&pattern), have = segment(&path);
        if (str_eq(want, S("{}")) && have.n) param[n++] = have;
        else if (!str_eq(want, have)) return false;
    }
    return !*pattern && !*path;
}

static bool same_method(const char *route, const char *asked)
{
    return !strcmp(route, asked) || (!strcmp(asked, "HEAD") && !strcmp(route, "GET"));
}

/* Sets the route if path and method fit; *ret_allow: the methods of the path, empty if there is no such path. */
static void find_route(struct call *c, char ret_allow[64])
{
    size_t n = 0;
    ret_allow[0] = 0;
    for (size_t i = 0; i < api_n_routes; i++) {
        struct mintd_str param[CALL_PARAMS] = { { NULL, 0 } };
        const struct route *r = &api_routes[i];
        if (!path_matches(r->path, c->http->path, param)) continue;
        if (!strstr(ret_allow, r->method)) n += (size_t)snprintf(ret_allow + n, 64 - n, "%s%s%s", n ? ", " : "", r->method, strcmp(r->method, "GET") ? "" : ", HEAD");
        if (!same_method(r->method, c->http->method) || c->route) continue;
        c->route = r;
        memcpy(c->param, param, sizeof param);
    }
}

static bool has_route(struct call *c, const char *allow)
{
    const struct http_header headers[] = { { "Allow", allow }, { NULL, NULL } };
    if (c->route) return true;
    if (allow[0]) call_problem(c, &(struct problem){ .status = 405, .code = "http.method", .headers = headers },
                               "this path knows the methods %s", allow);
    else call_problem(c, &(struct problem){ .status = 404, .code = "http.path" }, "there is nothing at this path");
    return false;
}

static bool accepts(struct call *c)
{
    static const enum format formats[] = { FORMAT_JSON, FORMAT_NDJSON, FORMAT_CSV, FORMAT_EVENTS };
    static const char *const names[] = { "application/json", "application/x-ndjson", "text/csv", "text/event-stream" };
    const char *types[ARRAY_LEN(names)], *header = http_header(c->http, "accept", NULL);
    enum format of[ARRAY_LEN(names)];
    size_t n = 0;
    struct buf all = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        bool there = !i || (i < 3 && c->route->flags & ROUTE_LIST) || (i == 3 && c->route->flags & ROUTE_EVENTS);
        if (!there) continue;
        of[n] = c->route->flags & ROUTE_TEXT ? FORMAT_TEXT : formats[i];
        types[n++] = c->route->flags & ROUTE_TEXT ? "text/plain" : names[i];
    }
    int place = accept_type(header, types, n);
    if (place >= 0) return c->format = of[place], true;
    for (size_t i = 0; i < n; i++) buf_printf(&all, "%s%s", i ? ", " : "", types[i]);
    call_problem(c, &(struct problem){ .status = 406, .code = "http.accept" }, "this route answers " STR_FMT, STR_ARG(buf_view(&all)));
    buf_free(&all);
    return false;
}

/* The text is UTF-8, and CSV begins with its header: saying so is allowed, saying anything else is not. */
bool call_type_is(const char *type, const char *wanted)
{
    static const char *const harmless[] = { "charset=utf-8", "charset=\"utf-8\"", "header=present" };
    size_t n = strlen(wanted);
    if (!type || strncasecmp(type, wanted, n)) return false;
    for (type += n; *(type += strspn(type, " "));) {
        if (*type++ != ';') return false;
        type += strspn(type, " ");
        size_t len = strcspn(type, " ;");
        bool ok = false;
        for (size_t i = 0; i < ARRAY_LEN(harmless); i++) ok = ok || (len == strlen(harmless[i]) && !strncasecmp(type, harmless[i], len));
        if (!ok) return false;
        type += len;
    }
    return true;
}

static void small_too_large(struct call *c)
{
    call_problem(c, &(struct problem){ .status = 413, .code = "body.too_large" }, "the body of this route has at most %d bytes", CALL_BODY_MAX);
}

static bool body_fits(struct call *c)
{
    const char *coding = http_header(c->http, "content-encoding", NULL);
    bool has_body = c->http->length || c->http->chunked;
    if (!(c->route->flags & (ROUTE_BODY | ROUTE_SMALL))) {
        if (has_body) call_problem(c, &(struct problem){ .status = 400, .code = "body.unexpected" }, "this route takes no body");
        return !has_body;
    }
    if (!has_body && c->route->flags & ROUTE_SMALL) return true;
    if (c->route->flags & ROUTE_SMALL && !call_type_is(http_header(c->http, "content-type", NULL), "application/json")) {
        call_problem(c, &(struct problem){ .status = 415, .code = "http.content_type" }, "Content-Type must be application/json");
        return false;
    }
    if (c->route->flags & ROUTE_SMALL && coding && strcasecmp(coding, "identity")) {
        call_problem(c, &(struct problem){ .status = 415, .code = "http.content_encoding" }, "Content-Encoding is not supported");
        return false;
    }
    if (c->route->flags & ROUTE_SMALL) return c->http->length <= CALL_BODY_MAX || (small_too_large(c), false);
    if (c->http->length <= (uint64_t)c->api->conf->api.max_body) return true;
    call_problem(c, &(struct problem){ .status = 413, .code = "body.too_large" }, "the body has %llu bytes, the limit is %lld (api.max_body)",
                 (unsigned long long)c->http->length, (long long)c->api->conf->api.max_body);
    return false;
}

/* Health and metrics: answered when nothing else is. */
static bool is_background(const struct route *r) { return r->scope == SCOPE_OPEN || r->flags & ROUTE_QUIET; }

static bool is_serving(struct call *c)
{
    static const struct http_header later[] = { { "Retry-After", "5" }, { NULL, NULL } };
    if (!c->api->draining || is_background(c->route)) return true;
    call_problem(c, &(struct problem){ .status = 503, .code = "server.draining", .headers = later }, "the daemon is shutting down");
    return false;
}

static int hex_value(char h)
{
    if (h >= '0' && h <= '9') return h - '0';
    h |= 0x20;
    return h >= 'a' && h <= 'f' ? h - 'a' + 10 : -1;
}

/* Control characters, NUL and bad UTF-8 cannot name anything. */
bool call_decode(struct call *c, struct mintd_str *s)
{
    char *out = arena_alloc(c->mem, s->n + 1);
    size_t n = 0;
    bool ok = out != NULL;
    for (size_t i = 0; ok && i < s->n; i++) {
        int v = (unsigned char)s->p[i];
        if (s->p[i] == '%') {
            int high = i + 2 < s->n ? hex_value(s->p[i + 1]) : -1, low = high >= 0 ? hex_value(s->p[i + 2]) : -1;
            v = low >= 0 ? high << 4 | low : 0;
            i += 2;
        }
        ok = v >= 0x20 && v != 0x7f;
        if (ok) out[n++] = (char)v;
    }
    *s = (struct mintd_str){ out, n };
    if (ok && str_utf8(*s)) return true;
    call_problem(c, &(struct problem){ .status = 400, .code = "http.path_encoding" }, "the path or query is not valid percent-encoded UTF-8");
    return false;
}

/* ?name=value: known to the route and there once. A page that ignored a misspelt filter would answer another question. */
struct query_check { struct call *c; const char *seen[16]; size_t n_seen; bool ok; };

static bool is_word(const char *words, struct mintd_str word)
{
    for (const char *p = words; p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (str_eq(word, (struct mintd_str){ p, n })) return true;
        p += n;
    }
    return false;
}

static bool check_query(void *arg, struct mintd_str name, struct mintd_str value)
{
    struct query_check *q = arg;
    char pointer[80];
    (void)value;
    snprintf(pointer, sizeof pointer, STR_FMT, STR_ARG(name));
    bool twice = false;
    for (size_t i = 0; i < q->n_seen; i++) twice = twice || str_eq(name, str_of(q->seen[i]));
    q->ok = is_word(q->c->route->query, name) && !twice && q->n_seen < ARRAY_LEN(q->seen);
    if (q->ok) q->seen[q->n_seen++] = name.p;
    else call_problem(q->c, &(struct problem){ .status = 400, .code = twice ? "query.twice" : "query.unknown", .pointer = pointer },
                      twice ? "this query parameter is there twice" : "this route knows no such query parameter%s%s",
                      twice || !q->c->route->query ? "" : "; it knows ", twice || !q->c->route->query ? "" : q->c->route->query);
    return q->ok;
}

static bool query_fits(struct call *c)
{
    struct query_check q = { .c = c, .ok = true };
    http_each_query(c->http, check_query, &q);
    return q.ok;
}

static bool decode_params(struct call *c)
{
    for (int i = 0; i < CALL_PARAMS; i++)
        if (c->param[i].n && !call_decode(c, &c->param[i])) return false;
    return true;
}

/* ---- what the HTTP server calls */

static void on_begin(void *arg, struct http_req *http)
{
    char allow[64];
    struct call *c = call_new(arg, http);
    if (!c) {
        http_answer(http, 503, &(struct buf){ 0 }, NULL, true);
        return;
    }
    make_id(c);
    find_route(c, allow);
    metric_add(c->api->in_flight, S(""), S(""), 1);
    if (c->route && c->route->scope != SCOPE_OPEN) {
        c->counted = true;
        c->api->n_work++;
    }
    if (!is_framed(c) || !access_ask(c) || !has_route(c, allow) || !access_use(c) || !is_serving(c) || !accepts(c) || !query_fits(c) || !body_fits(c)
        || !decode_params(c) || !access_place(c))
        return;
    if (c->route->flags & ROUTE_BODY) c->route->start(c);
}

static size_t on_data(void *arg, struct http_req *http, const char *p, size_t n)
{
    struct call *c = http->user;
    (void)arg;
    if (c->route->data) return c->route->data(c, p, n);
    if (!(c->route->flags & ROUTE_SMALL) || !call_open(c)) return n;
    if (c->body.n + n > CALL_BODY_MAX) small_too_large(c);
    else buf_add(&c->body, p, n);
    return n;
}

static void on_end(void *arg, struct http_req *http)
{
    struct call *c = http->user;
    (void)arg;
    if (c->body.bad) call_memory(c);
    else if (c->route->end) c->route->end(c);
    else c->route->start(c);
}

static void log_access(const struct call *c, bool sent)
{
    uint32_t level = c->route && c->route->flags & ROUTE_QUIET && c->status != 500 ? MINTD_DEBUG : MINTD_INFO;
    char status[12], ms[24], bytes[24], client[NET_TEXT] = "";
    if (!log_on(level)) return;
    snprintf(status, sizeof status, "%u", c->status);
    snprintf(ms, sizeof ms, "%.3f", (double)(loop_now_us(c->api->loop) - c->started_us) / 1000);
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)c->bytes);
    static const struct ip none;
    bool behind = !c->http->local && memcmp(&c->ip, &c->http->ip, sizeof c->ip) && memcmp(&c->ip, &none, sizeof none);
    if (behind) ip_print(&c->ip, client);
    struct mintd_field f[9] = {
        { S("request_id"), str_of(c->id) }, { S("method"), str_of(c->http->method) }, { S("path"), str_of(c->http->path) },
        { S("status"), str_of(status) }, { S("bytes"), str_of(bytes) }, { S("ms"), str_of(ms) }, { S("peer"), str_of(c->http->peer) },
    };
    uint32_t n = 7;
    if (behind) f[n++] = (struct mintd_field){ S("client"), str_of(client) };
    if (c->who.name.n) f[n++] = (struct mintd_field){ S("key"), c->who.name };
    log_fields(level, sent ? S("request") : S("request, its client left before the answer"), f, n);
}

static void on_gone(void *arg, struct http_req *http, bool sent)
{
    struct call *c = http->user;
    char status[12];
    (void)arg;
    if (!c) return;
    struct api *api = c->api;
    struct mintd_str route = str_of(c->route ? c->route->name : "none");
    snprintf(status, sizeof status, "%u", c->answered ? c->status : 499);
    log_access(c, sent);
    metric_add(api->requests, route, str_of(status), 1);
    stats_call(api->stats, http->path, route, str_of(status));
    metric_observe(api->seconds, route, S(""), (double)(loop_now_us(api->loop) - c->started_us) / 1e6);
    metric_add(api->in_flight, S(""), S(""), -1);
    if (c->state && c->route->gone) c->route->gone(c, sent);
    if (c->stream && c->stream->gone) c->stream->gone(c);
    if (c->counted) api->n_work--;
    c->http = NULL;
    call_unref(c);
}

static void on_more(void *arg, struct http_req *http)
{
    struct call *c = http->user;
    (void)arg;
    if (call_open(c)) c->stream->more(c);
}

const struct httpd_fns serve_fns = { on_begin, on_data, on_end, on_gone, on_more };

/* ---- small things for answers */

bool time_text(int64_t ms, char ret[TIME_TEXT])
{
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    ret[0] = 0;
    if (ms <= 0 || !gmtime_r(&s, &tm)) return false;
    size_t n = strftime(ret, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    return n && snprintf(ret + n, TIME_TEXT - n, ".%03dZ", (int)(ms % 1000)) > 0;
}

void json_time(struct buf *b, const char *name, int64_t ms)
{
    char text[TIME_TEXT];
    if (time_text(ms, text)) buf_printf(b, ",\"%s\":\"%s\"", name, text);
}

void json_str(struct buf *b, const char *name, struct mintd_str value)
{
    if (!value.n) return;
    buf_printf(b, ",\"%s\":", name);
    buf_json(b, value);
}

const char *state_name(uint32_t state)
{
    static const char *const names[] = { [MINTD_ST_ACCEPTED] = "accepted", [MINTD_ST_UPLOADING] = "uploading",
        [MINTD_ST_UPLOADED] = "uploaded", [MINTD_ST_SIGNED] = "signed", [MINTD_ST_LANDED] = "landed",
        [MINTD_ST_QUARANTINE] = "quarantined", [MINTD_ST_DONE] = "minted", [MINTD_ST_FAILED] = "failed",
        [MINTD_ST_CANCELLED] = "cancelled", [MINTD_ST_MOVED] = "moved" };
    return state < ARRAY_LEN(names) && names[state] ? names[state] : "unknown";
}

int limit_get(struct call *c, uint32_t dflt, uint32_t max, uint32_t *ret)
{
    const char *text = http_query(c->http, "limit");
    uint64_t n = dflt;
    if (text && (str_u64(str_of(text), &n) || !n || n > max)) {
        call_problem(c, &(struct problem){ .status = 400, .code = "query.limit", .pointer = "limit" },
                     "must be a number from 1 to %u", max);
        return -EINVAL;
    }
    *ret = (uint32_t)n;
    return 0;
}
