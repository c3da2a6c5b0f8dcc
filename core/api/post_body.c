/* The body of a request for tickets: reads it into pipe's intake as it arrives, unpacked if it was packed, and seals it at its end. Owns
 * the reader, the hash of the text, the kept bytes of a small body. Calls body.h, gunzip.h, pipe.h. Loop thread. */
#include <errno.h>
#include <stdlib.h>
#include "api/post.h"

static void turn_soon(struct call *c);

/* ---- the reader's calls */

static int on_head(void *arg, const struct body_head *head)
{
    struct call *c = arg;
    struct post *p = c->state;
    struct pipe_open open = { .venue = head->venue, .pipeline = head->pipeline, .collection = head->collection,
                              .idem_key = p->key, .request_id = str_of(c->id), .streamed = p->streamed, .dry = p->dry };
    if (!call_venue_named(c, head->venue)) return p->stopped = true, BODY_STOP;
    if (!pipe_intake_open(c->api->pipe, &open, post_verdict, c, &p->intake)) return BODY_GO;
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
    if (p->again || p->gunzip) turn_soon(c);
    else http_resume(c->http);
}

static int on_ticket(void *arg, const struct pipe_ticket *t)
{
    struct call *c = arg;
    struct post *p = c->state;
    struct pipe_ticket named = *t;
    if (p->format == BODY_ONE) named.id = c->param[1];
    int rc = pipe_intake_add(p->intake, &named, on_resume);
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
    const struct post *p = c->state;
    const struct conf_api *conf = &c->api->conf->api;
    struct body_limits limits = { (size_t)conf->max_ticket, conf->max_items };
    struct body *b = body_new(&limits, head_only ? NULL : &reader_fns, c, head);
    if (b) body_as(b, p->format, &p->query);
    else call_memory(c);
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
    if (p->stopped) return;                    /* the last line was refused */
    if (!head_only) return seal(c);
    body_free(p->head);
    p->head = p->body;
    p->at = 0;
    p->body = reader(c, false, body_head(p->head));
    if (p->body) turn_soon(c);
    else p->stopped = true;
}

/* One turn of a second reading. */
static void reread(struct call *c)
{
    struct post *p = c->state;
    size_t n = p->kept.n - p->at;
    p->at += body_feed(p->body, p->kept.p + p->at, n < TURN_BYTES ? n : TURN_BYTES);
    if (p->stopped || !call_open(c) || p->paused) return;
    if (body_error(p->body)->status) refuse(c);
    else if (p->at < p->kept.n) turn_soon(c);
    else end_of_reading(c);
}

/* Bytes of the text, as they were before they were packed. */
static size_t take(struct call *c, const char *bytes, size_t n)
{
    struct post *p = c->state;
    size_t used = n;
    p->received += n;
    if (p->received > (uint64_t)c->api->conf->api.max_body) {
        p->stopped = true;
        call_problem(c, &(struct problem){ .status = 413, .code = "body.too_large" }, "the body is larger than the limit of %lld bytes (api.max_body)%s",
                     (long long)c->api->conf->api.max_body, p->gunzip ? ", unpacked" : "");
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
    return used;
}

/* ---- a packed body: a bounded piece per turn, so that a small body that unpacks to a large one keeps nobody waiting */

static void damaged(struct call *c, const char *why)
{
    struct post *p = c->state;
    p->stopped = true;
    call_problem(c, &(struct problem){ .status = 400, .code = "body.gzip" }, "%s", why);
}

static bool unpack_some(struct call *c, const char *bytes, size_t n, size_t *ret_used)
{
    struct post *p = c->state;
    p->unpacked_at = 0;
    int r = gunzip_feed(p->gunzip, bytes, n, p->unpacked, UNPACK_BYTES, ret_used, &p->unpacked_n);
    if (r == -ENOMEM) { p->stopped = true; call_memory(c); }
    else if (r) damaged(c, "the body is not valid gzip");
    return !r && (p->unpacked_n || *ret_used);
}

/* Bytes taken of the packed ones. Pauses when the intake does, or when this turn has done enough. */
static size_t unpack(struct call *c, const char *bytes, size_t n)
{
    struct post *p = c->state;
    size_t at = 0, used = 0, done = 0;
    do {
        at += used;
        while (!p->paused && p->unpacked_at < p->unpacked_n) {
            size_t took = take(c, p->unpacked + p->unpacked_at, p->unpacked_n - p->unpacked_at);
            if (p->stopped) return n;
            p->unpacked_at += took;
            done += took;
        }
        if (p->paused) return at;
        if (done >= TURN_BYTES) {
            p->paused = true;
            turn_soon(c);
            return at;
        }
    } while (unpack_some(c, bytes + at, n - at, &used));
    return p->stopped ? n : at;
}

/* What was unpacked and not read yet; then more is welcome. */
static void unpack_on(struct call *c)
{
    struct post *p = c->state;
    p->paused = false;
    unpack(c, "", 0);
    if (!p->paused || p->stopped) http_resume(c->http);
}

static void on_turn(void *arg)
{
    struct call *c = arg;
    struct post *p = c->state;
    loop_timer_del(p->turn);
    p->turn = NULL;
    if (p->gunzip) unpack_on(c);
    else reread(c);
}

static void turn_soon(struct call *c)
{
    struct post *p = c->state;
    if (!p->turn) p->turn = loop_timer(c->api->loop, 0, on_turn, c);
    if (!p->turn) call_memory(c);
}

/* ---- what the dispatcher calls */

bool post_open(struct call *c)
{
    struct post *p = c->state;
    p->kept.max = (size_t)c->api->conf->intake_memory + 1;
    p->sha = EVP_MD_CTX_new();
    if (p->sha && EVP_DigestInit_ex(p->sha, EVP_sha256(), NULL) == 1) p->body = reader(c, false, NULL);
    else call_memory(c);
    return p->body;
}

size_t batch_data(struct call *c, const char *bytes, size_t n)
{
    struct post *p = c->state;
    if (!p || p->stopped || !p->body) return n;            /* the verdict is on its way */
    size_t used = p->gunzip ? unpack(c, bytes, n) : take(c, bytes, n);
    if (p->paused && !p->stopped) http_pause(c->http);
    return used;
}

void batch_end(struct call *c)
{
    struct post *p = c->state;
    if (!p || p->stopped || !p->body) return;
    if (p->kept.bad) call_memory(c);
    else if (p->gunzip && !gunzip_whole(p->gunzip)) damaged(c, "the gzip body ends too early");
    else if (p->again) read_again(c);
    else end_of_reading(c);
}

void post_close(struct post *p)
{
    drop_intake(p);
    loop_timer_del(p->turn);
    p->turn = NULL;
    EVP_MD_CTX_free(p->sha);
    body_free(p->body);
    body_free(p->head);
    gunzip_free(p->gunzip);
    buf_free(&p->kept);
    p->sha = NULL;
    p->gunzip = NULL;
    p->body = p->head = NULL;
}
