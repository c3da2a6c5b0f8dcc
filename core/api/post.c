/* Requests for tickets: POST of a batch, PUT of one ticket. What headers and query ask for, and what the intake's verdicts become.
 * Owns what belongs to one such call. Calls pipe.h. Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include "api/post.h"
#include "base/crash.h"

/* ---- headers */

static const char *const packings[] = { "gzip", "x-gzip" };

static bool take_packing(struct call *c, struct post *p)
{
    static const struct http_header known[] = { { "Accept-Encoding", "gzip" }, { NULL, NULL } };
    unsigned n = 0;
    const char *coding = http_header(c->http, "content-encoding", &n);
    bool packed = false;
    for (size_t i = 0; coding && i < ARRAY_LEN(packings); i++) packed = packed || !strcasecmp(coding, packings[i]);
    if (n > 1 || (coding && !packed && strcasecmp(coding, "identity"))) {
        call_problem(c, &(struct problem){ .status = 415, .code = "http.content_encoding", .headers = known },
                     "Content-Encoding must be gzip, or the body not encoded at all");
        return false;
    }
    if (!packed) return true;
    p->gunzip = gunzip_new();
    p->unpacked = p->gunzip ? arena_alloc(c->mem, UNPACK_BYTES) : NULL;
    if (!p->unpacked) call_memory(c);
    return p->unpacked;
}

/* The route that takes one ticket knows JSON alone. */
static bool take_format(struct call *c, struct post *p)
{
    const char *type = http_header(c->http, "content-type", NULL);
    bool one = p->format == BODY_ONE;
    if (call_type_is(type, "application/json")) return true;
    if (!one && (call_type_is(type, "application/x-ndjson") || call_type_is(type, "application/ndjson"))) p->format = BODY_LINES;
    else if (!one && call_type_is(type, "text/csv")) p->format = BODY_CSV;
    else {
        call_problem(c, &(struct problem){ .status = 415, .code = "http.content_type" },
                     one ? "Content-Type must be application/json" : "Content-Type must be application/json, application/x-ndjson or text/csv");
        return false;
    }
    return true;
}

/* ---- query */

static bool take_word(struct call *c, const char *name, struct mintd_str *ret)
{
    const char *s = http_query(c->http, name);
    if (!s) return true;
    *ret = str_of(s);
    if (!call_decode(c, ret)) return false;
    if (ret->n && ret->n <= BODY_NAME_MAX) return true;
    call_problem(c, &(struct problem){ .status = 422, .code = ret->n ? "field.length" : "field.empty", .pointer = name },
                 "must have 1 to %d bytes", BODY_NAME_MAX);
    return false;
}

static bool take_dry(struct call *c, struct post *p)
{
    const char *s = http_query(c->http, "dry_run");
    if (!s || !strcmp(s, "0") || !strcmp(s, "false")) return true;
    p->dry = !*s || !strcmp(s, "1") || !strcmp(s, "true");
    if (!p->dry) call_problem(c, &(struct problem){ .status = 400, .code = "query.dry_run", .pointer = "dry_run" }, "must be 1 or 0");
    return p->dry;
}

static bool take_query(struct call *c, struct post *p)
{
    return take_word(c, "venue", &p->query.venue) && take_word(c, "pipeline", &p->query.pipeline)
        && take_word(c, "collection", &p->query.collection) && take_dry(c, p);
}

/* ---- the intake's answers */

static void wait_on(struct call *c);

static void answer_settled(struct call *c)
{
    struct post *p = c->state;
    if (p->format == BODY_ONE) put_settled(c);
    else batch_answer(c, &p->reply);
}

static void answer_later(struct call *c, const char *state)
{
    struct post *p = c->state;
    if (p->format == BODY_ONE) put_later(c);
    else batch_accepted(c, &p->reply, state);
}

static void followed(struct call *c, bool done)
{
    struct post *p = c->state;
    p->wait = NULL;
    if (!call_open(c)) return;
    if (done) wait_on(c);
    else answer_later(c, "running");
}

static void on_wait(void *arg, bool done) { followed(arg, done); }

/* One batch after the other, its own first, until all that the answer lists is settled or the time is over. */
static void wait_on(struct call *c)
{
    struct post *p = c->state;
    uint64_t now = loop_now_ms(c->api->loop), next = 0;
    bool known = p->reply.known == p->reply.n_ids;
    if (p->reply.request && !p->own_done) next = p->reply.request;
    else if (known && p->waited < p->reply.n_batches) next = p->reply.batches[p->waited++];
    p->own_done = true;
    if (!next) return answer_settled(c);
    p->wait = pipe_wait(c->api->pipe, next, p->until_ms > now ? p->until_ms - now : 0, on_wait, c);
    if (!p->wait) call_memory(c);
}

static void accepted(struct call *c, const struct pipe_result *r)
{
    struct post *p = c->state;
    p->accepted = true;
    p->known = r->verdict == PIPE_KNOWN;
    if (!batch_reply_of(c, r, p->preference, &p->reply)) return;
    if (r->verdict == PIPE_ACCEPTED) stats_accepted(c->api->stats, r->request, r->n_items - r->known, c->started_us);
    CRASH("api.accept.before_reply");
    if (!call_open(c)) return;
    p->until_ms = loop_now_ms(c->api->loop) + p->wait_ms;
    if (p->known && p->format == BODY_ONE) put_settled(c);
    else if (p->wait_ms && r->n_items <= c->api->conf->api.sync_items && !c->api->draining) wait_on(c);
    else answer_later(c, "accepted");
}

/* ---- a dry run */

static void planned(struct call *c, const struct pipe_result *r)
{
    const struct post *p = c->state;
    const struct pipe_plan *plan = r->plan;
    struct buf b = { 0 };
    buf_puts(&b, "{\"dryRun\":true");
    json_str(&b, "venueId", body_head(p->body)->venue);
    json_str(&b, "pipeline", plan->pipeline);
    buf_printf(&b, ",\"total\":%" PRIu64 ",\"new\":%" PRIu64 ",\"known\":%" PRIu64 ",\"batches\":[", r->n_items, r->n_items - r->known, r->known);
    for (uint32_t i = 0; i < r->n_batches; i++) buf_printf(&b, "%s\"%" PRIu64 "\"", i ? "," : "", r->batches[i]);
    buf_printf(&b, "],\"transactions\":%" PRIu64 ",\"collectionCount\":%" PRIu64 ",\"newCollections\":%" PRIu64 ",\"collections\":[",
               plan->transactions, plan->collections, plan->new_collections);
    for (uint32_t i = 0; i < plan->n_cols; i++) {
        buf_puts(&b, i ? ",{\"name\":" : "{\"name\":");
        buf_json(&b, plan->cols[i].name);
        buf_printf(&b, ",\"tickets\":%" PRIu64 ",\"exists\":%s}", plan->cols[i].tickets, plan->cols[i].exists ? "true" : "false");
    }
    buf_puts(&b, "]}\n");
    call_json(c, 200, &b, NULL);
}

/* ---- refusals */

/* The intake counts tickets; who sent lines or rows looks for a line. A single ticket is not in a list. */
static void bad(struct call *c, const struct pipe_result *r)
{
    const struct post *p = c->state;
    char *pointer = arena_cstr(c->mem, r->pointer), at[40] = "";
    uint64_t line = r->place == UINT64_MAX || !r->pointer.n ? 0 : body_line(p->body, r->place);
    if (line) snprintf(at, sizeof at, " (line %" PRIu64 ")", line);
    if (pointer && p->format == BODY_ONE && !strncmp(pointer, "/tickets/0", 10)) pointer += 10;
    call_problem(c, &(struct problem){ .status = 422, .code = batch_code(c, r->code, "body.refused"), .pointer = pointer },
                 STR_FMT "%s", STR_ARG(r->msg.n ? r->msg : S("the request is refused")), at);
}

static uint64_t line_of(void *arg, uint64_t place) { return body_line(((const struct post *)arg)->body, place); }

void post_verdict(void *arg, const struct pipe_result *r)
{
    struct call *c = arg;
    struct post *p = c->state;
    p->stopped = true;
    if (!call_open(c)) return;
    switch (r->verdict) {
    case PIPE_ACCEPTED: case PIPE_REPLAYED: case PIPE_KNOWN:
        accepted(c, r);
        return;
    case PIPE_PLANNED:
        planned(c, r);
        return;
    case PIPE_TICKET_TAKEN:
        if (p->format == BODY_ONE) put_conflict(c, r);
        else batch_conflict(c, r, line_of, p);
        return;
    case PIPE_BAD:
        bad(c, r);
        return;
    case PIPE_OTHER_BODY: case PIPE_IN_PROGRESS: case PIPE_BUSY:
        batch_refused(c, r, "one of these tickets");
    }
}

/* ---- the routes */

static struct post *begin(struct call *c, enum body_format format)
{
    struct post *p = arena_alloc(c->mem, sizeof *p);
    if (!p) return call_memory(c), NULL;
    c->state = p;
    p->format = format;
    p->wait_ms = (uint64_t)c->api->conf->api.wait_ms;
    call_prefer(c, &p->wait_ms, p->preference);
    return p;
}

void batch_post(struct call *c)
{
    struct post *p = begin(c, BODY_JSON);
    if (!p || !take_format(c, p) || !take_packing(c, p) || !take_query(c, p) || !call_idem_key(c, &p->key)) return;
    /* what a packed body unpacks to is not known beforehand */
    p->streamed = c->http->chunked || p->gunzip || c->http->length > (uint64_t)c->api->conf->intake_memory;
    post_open(c);
}

/* The address names the ticket: that is key enough. */
void ticket_put(struct call *c)
{
    struct post *p = begin(c, BODY_ONE);
    if (!p || !take_format(c, p) || !take_packing(c, p) || !take_dry(c, p)) return;
    p->query.venue = c->param[0];
    if (p->query.venue.n <= BODY_NAME_MAX) post_open(c);
    else call_problem(c, &(struct problem){ .status = 422, .code = "field.length", .pointer = "venueId" }, "has %zu bytes, at most %d are allowed",
                      p->query.venue.n, BODY_NAME_MAX);
}

void batch_gone(struct call *c, bool sent)
{
    struct post *p = c->state;
    if (p->accepted && sent) CRASH("api.accept.after_reply");
    if (p->wait) pipe_unwait(p->wait);
    p->wait = NULL;
    post_close(p);
}

/* The daemon is stopping: a client that waits for its mints gets its place to look. */
void batch_drain(struct call *c)
{
    struct post *p = c->state;
    if (!p->wait) return;
    pipe_unwait(p->wait);
    followed(c, false);
}
