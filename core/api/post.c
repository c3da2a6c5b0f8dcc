/* POST of a batch: reads the body into pipe's intake as it arrives, seals, waits or not, answers. Owns the reader, the hash of the
 * raw bytes, the kept bytes of a small body and the intake of one call. Calls body.h, pipe.h. Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/batch.h"
#include "api/body.h"
#include "base/crash.h"
#include "base/sabotage.h"

enum { TURN_BYTES = 64 * 1024, KEY_MAX = 255 };

struct post {
    struct body *body, *head;                  /* the reader; an earlier reading for the head alone */
    struct pipe_intake *intake;
    struct pipe_wait *wait;
    EVP_MD_CTX *sha;
    struct buf kept;                           /* the whole body while it may have to be read again */
    struct loop_timer *turn;
    size_t at;                                 /* of kept, in a second reading */
    uint64_t received, wait_ms, until_ms;
    struct batch_reply reply;
    uint32_t waited;                           /* batches of known tickets that were waited for */
    bool streamed, again, paused, stopped, accepted, own_done;
    struct mintd_str key;
    char preference[CALL_PREFERENCE];          /* Preference-Applied; empty: none */
};

static void turn_soon(struct call *c);

/* ---- headers */

static bool take_key(struct call *c, struct post *p)
{
    unsigned n = 0;
    const char *key = http_header(c->http, "idempotency-key", &n);
    if (!n) return true;
    p->key = str_of(key);
    bool ok = n == 1 && p->key.n && p->key.n <= KEY_MAX && key[0] != '~';
    for (size_t i = 0; ok && i < p->key.n; i++) ok = key[i] > 0x20 && key[i] < 0x7f;
    if (!ok)
        call_problem(c, &(struct problem){ .status = 400, .code = "idempotency.key" },
                     "Idempotency-Key must be one value of 1 to 255 visible ASCII characters that does not begin with ~");
    p->key = arena_str(c->mem, p->key);
    return ok;
}

/* ---- the intake's answers */

static void wait_on(struct call *c);

static void followed(struct call *c, bool done)
{
    struct post *p = c->state;
    p->wait = NULL;
    if (!call_open(c)) return;
    if (done) wait_on(c);
    else batch_accepted(c, &p->reply, "running");
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
    if (!next) return batch_answer(c, &p->reply);
    p->wait = pipe_wait(c->api->pipe, next, p->until_ms > now ? p->until_ms - now : 0, on_wait, c);
    if (!p->wait) call_memory(c);
}

static void accepted(struct call *c, const struct pipe_result *r)
{
    struct post *p = c->state;
    p->accepted = true;
    if (!batch_reply_of(c, r, p->preference, &p->reply)) return;
    if (r->verdict == PIPE_ACCEPTED) stats_accepted(c->api->stats, r->request, r->n_items - r->known, c->started_us);
    CRASH("api.accept.before_reply");
    if (!call_open(c)) return;
    p->until_ms = loop_now_ms(c->api->loop) + p->wait_ms;
    if (p->wait_ms && r->n_items <= c->api->conf->api.sync_items && !c->api->draining) wait_on(c);
    else batch_accepted(c, &p->reply, "accepted");
}

static const char *static_code(struct call *c, struct mintd_str code, const char *dflt)
{
    char *s = code.n ? arena_cstr(c->mem, code) : NULL;
    return s ? s : dflt;
}

static void on_verdict(void *arg, const struct pipe_result *r)
{
    struct call *c = arg;
    char seconds[24], *pointer = arena_cstr(c->mem, r->pointer);
    snprintf(seconds, sizeof seconds, "%" PRIu64, (r->retry_ms + 999) / 1000 ? (r->retry_ms + 999) / 1000 : 1);
    const struct http_header later[] = { { "Retry-After", seconds }, { NULL, NULL } };
    ((struct post *)c->state)->stopped = true;
    if (!call_open(c)) return;
    switch (r->verdict) {
    case PIPE_ACCEPTED: case PIPE_REPLAYED: case PIPE_KNOWN:
        accepted(c, r);
        return;
    case PIPE_PLANNED:
        return;
    case PIPE_OTHER_BODY:
        call_problem(c, &(struct problem){ .status = 422, .code = "idempotency.other_body" },
                     "this Idempotency-Key was used with another body (batch %" PRIu64 ")", r->request);
        return;
    case PIPE_IN_PROGRESS:
        call_problem(c, &(struct problem){ .status = 409, .code = "idempotency.in_progress", .headers = later },
                     "a request with this Idempotency-Key or one of these tickets is being taken in; ask again later");
        return;
    case PIPE_TICKET_TAKEN:
        batch_conflict(c, r);
        return;
    case PIPE_BAD:
        call_problem(c, &(struct problem){ .status = 422, .code = static_code(c, r->code, "body.refused"), .pointer = pointer },
                     STR_FMT, STR_ARG(r->msg.n ? r->msg : S("the request is refused")));
        return;
    case PIPE_BUSY:
        break;
    }
    call_problem(c, &(struct problem){ .status = 503, .code = static_code(c, r->code, "server.busy"), .headers = later },
                 STR_FMT, STR_ARG(r->msg.n ? r->msg : S("no work is accepted now")));
}

/* ---- the reader's calls */

static int on_head(void *arg, const struct body_head *head)
{
    struct call *c = arg;
    struct post *p = c->state;
    struct pipe_open open = { .venue = head->venue, .pipeline = head->pipeline, .collection = head->collection,
                              .idem_key = p->key, .request_id = str_of(c->id), .streamed = p->streamed };
    if (!call_venue_named(c, head->venue)) return p->stopped = true, BODY_STOP;
    if (SABOTAGE("drop_idem_key")) open.idem_key.n = 0;
    if (!pipe_intake_open(c->api->pipe, &open, on_verdict, c, &p->intake)) return BODY_GO;
    p->stopped = true;
    call_memory(c);
    return BODY_STOP;
}

static void on_resume(void *arg)
{
    struct call *c = arg;
    struct post *p = c->state;
    if (!p->paused) return;
    p->paused = false;
    if (p->again) turn_soon(c);
    else http_resume(c->http);
}

static int on_ticket(void *arg, const struct pipe_ticket *t)
{
    struct call *c = arg;
    struct post *p = c->state;
    int rc = pipe_intake_add(p->intake, t, on_resume);
    if (!rc) return BODY_GO;
    if (rc == -EAGAIN) {
        p->paused = true;
        return BODY_PAUSE;
    }
    p->stopped = true;
    if (rc != -ECANCELED) call_memory(c);
    return BODY_STOP;
}

static const struct body_fns reader_fns = { on_head, on_ticket };

/* ---- the body */

static struct body *reader(struct call *c, bool head_only, const struct body_head *head)
{
    const struct conf_api *conf = &c->api->conf->api;
    struct body_limits limits = { (size_t)conf->max_ticket, conf->max_items };
    struct body *b = body_new(&limits, head_only ? NULL : &reader_fns, c, head);
    if (!b) call_memory(c);
    return b;
}

static void refuse(struct call *c)
{
    struct post *p = c->state;
    const struct body_error *e = body_error(p->body);
    p->stopped = true;
    call_problem(c, &(struct problem){ .status = e->status, .code = e->code, .pointer = e->pointer }, "%s", e->detail);
}

static void drop_intake(struct post *p)
{
    if (p->intake) pipe_intake_close(p->intake);
    p->intake = NULL;
}

/* A steering member came too late. A small body is kept and read again once it is whole; nothing of it was promised. */
static bool defer(struct call *c)
{
    struct post *p = c->state;
    if (!body_error(p->body)->order || p->streamed || p->again) return false;
    drop_intake(p);
    p->again = true;
    p->paused = false;
    return true;
}

static void seal(struct call *c)
{
    struct post *p = c->state;
    uint8_t hash[32];
    p->stopped = true;
    if (EVP_DigestFinal_ex(p->sha, hash, NULL) != 1) call_memory(c);
    else pipe_intake_seal(p->intake, hash);
}

static void read_again(struct call *c)
{
    struct post *p = c->state;
    p->head = p->body;
    p->body = reader(c, true, NULL);
    p->at = 0;
    if (p->body) turn_soon(c);
    else p->stopped = true;
}

static void end_of_reading(struct call *c)
{
    struct post *p = c->state;
    bool head_only = p->again && !p->intake;
    if (body_end(p->body)) {
        if (defer(c)) read_again(c);
        else refuse(c);
        return;
    }
    if (!head_only) return seal(c);
    body_free(p->head);
    p->head = p->body;
    p->at = 0;
    p->body = reader(c, false, body_head(p->head));
    if (p->body) turn_soon(c);
    else p->stopped = true;
}

/* One turn of a second reading. */
static void on_turn(void *arg)
{
    struct call *c = arg;
    struct post *p = c->state;
    size_t n = p->kept.n - p->at;
    loop_timer_del(p->turn);
    p->turn = NULL;
    p->at += body_feed(p->body, p->kept.p + p->at, n < TURN_BYTES ? n : TURN_BYTES);
    if (p->stopped || !call_open(c) || p->paused) return;
    if (body_error(p->body)->status) refuse(c);
    else if (p->at < p->kept.n) turn_soon(c);
    else end_of_reading(c);
}

static void turn_soon(struct call *c)
{
    struct post *p = c->state;
    if (!p->turn) p->turn = loop_timer(c->api->loop, 0, on_turn, c);
    if (!p->turn) call_memory(c);
}

void batch_post(struct call *c)
{
    struct post *p = arena_alloc(c->mem, sizeof *p);
    if (!p) return call_memory(c);
    c->state = p;
    p->streamed = c->http->chunked || c->http->length > (uint64_t)c->api->conf->intake_memory;
    p->kept.max = (size_t)c->api->conf->intake_memory + 1;
    p->wait_ms = (uint64_t)c->api->conf->api.wait_ms;
    p->sha = EVP_MD_CTX_new();
    if (!p->sha || EVP_DigestInit_ex(p->sha, EVP_sha256(), NULL) != 1) return call_memory(c);
    call_prefer(c, &p->wait_ms, p->preference);
    if (take_key(c, p)) p->body = reader(c, false, NULL);
}

size_t batch_data(struct call *c, const char *bytes, size_t n)
{
    struct post *p = c->state;
    size_t used = n;
    if (p->stopped) return n;                  /* the verdict is on its way */
    p->received += n;
    if (p->received > (uint64_t)c->api->conf->api.max_body) {
        p->stopped = true;
        call_problem(c, &(struct problem){ .status = 413, .code = "body.too_large" }, "the body is larger than the limit of %lld bytes (api.max_body)",
                     (long long)c->api->conf->api.max_body);
        return n;
    }
    if (!p->again) used = body_feed(p->body, bytes, n);
    if (!p->again && !p->stopped && body_error(p->body)->status) {
        if (!defer(c)) return refuse(c), n;
        used = n;
    }
    if (p->stopped) return n;
    p->received -= n - used;
    EVP_DigestUpdate(p->sha, bytes, used);
    if (!p->streamed) buf_add(&p->kept, bytes, used);
    if (p->paused) http_pause(c->http);
    return used;
}

void batch_end(struct call *c)
{
    struct post *p = c->state;
    if (p->stopped) return;
    if (p->kept.bad) call_memory(c);
    else if (p->again) read_again(c);
    else end_of_reading(c);
}

void batch_gone(struct call *c, bool sent)
{
    struct post *p = c->state;
    if (p->accepted && sent) CRASH("api.accept.after_reply");
    if (p->wait) pipe_unwait(p->wait);
    drop_intake(p);
    loop_timer_del(p->turn);
    EVP_MD_CTX_free(p->sha);
    body_free(p->body);
    body_free(p->head);
    buf_free(&p->kept);
    p->wait = NULL;
    p->turn = NULL;
}

/* The daemon is stopping: a client that waits for its mints gets its place to look. */
void batch_drain(struct call *c)
{
    struct post *p = c->state;
    if (!p->wait) return;
    pipe_unwait(p->wait);
    followed(c, false);
}
