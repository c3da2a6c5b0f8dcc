/* POST of a SAG: a collection of its own and mintShare items in it, as one request. Each item's id follows from the SAG's name and its
 * place, so the same call again finds what it made, and a larger mintShare mints what is missing. Owns the intake and the wait of one
 * call. Calls pipe.h. Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "api/admin.h"
#include "api/fields.h"
#include "api/sag.h"
#include "base/digest.h"
#include "base/json.h"

enum { TURN_ITEMS = 200, VENUE_MAX = 128 };

static struct sag *state(const struct call *c) { return c->state; }

struct mintd_str sag_ticket(const struct sag *s, uint64_t place, char ret[SAG_ID])
{
    int n = snprintf(ret, SAG_ID, "sag/" STR_FMT "/%" PRIu64, STR_ARG(s->name), place);
    return (struct mintd_str){ ret, (size_t)n };
}

/* ---- what is asked */

static bool take_share(struct call *c, struct sag *s, struct mintd_str value)
{
    struct buf one = { 0 };
    const struct field share = { "mintShare", FIELD_U64, true, c->api->conf->api.max_items, &s->share };
    if (value.n) buf_printf(&one, "{\"mintShare\":" STR_FMT "}", STR_ARG(value));
    else buf_puts(&one, "{}");
    struct mintd_str object = arena_str(c->mem, buf_view(&one));
    buf_free(&one);
    if (!object.n) return call_memory(c), false;
    if (!fields_read(c, object, "/sagProperties", &share, 1)) return false;
    if (s->share) return true;
    call_problem(c, &(struct problem){ .status = 422, .code = "field.range", .pointer = "/sagProperties/mintShare" },
                 "must be a whole number from 1 to %u", c->api->conf->api.max_items);
    return false;
}

/* All but mintShare goes into each item, as it was sent. */
static bool take_properties(struct call *c, struct sag *s)
{
    struct mintd_str key, value, share = { NULL, 0 };
    size_t pos = 0;
    buf_puts(&s->data, "{");
    while (json_member(s->properties, &pos, &key, &value)) {
        if (json_is(key, S("mintShare"))) {
            share = value;
            continue;
        }
        s->has_event = s->has_event || json_is(key, S("eventName"));
        s->has_seat = s->has_seat || json_is(key, S("seatNumber"));
        buf_printf(&s->data, STR_FMT ":" STR_FMT ",", STR_ARG(key), STR_ARG(value));
    }
    if (!s->has_event) {
        buf_puts(&s->data, "\"eventName\":");
        buf_json(&s->data, s->name);
        buf_puts(&s->data, ",");
    }
    return take_share(c, s, share);
}

/* A key of one venue makes its SAGs there; anyone else's are of the venue "sag" unless the body says another. */
static bool take_venue(struct call *c, struct sag *s)
{
    if (!s->venue.n) s->venue = call_venue(c) ? c->who.venue_name : S("sag");
    return call_venue_named(c, s->venue);
}

static bool take_body(struct call *c, struct sag *s)
{
    const struct field fields[] = {
        { "sagName", FIELD_STR, true, SAG_NAME_MAX, &s->name }, { "sagProperties", FIELD_OBJECT, true, 0, &s->properties },
        { "venueId", FIELD_STR, false, VENUE_MAX, &s->venue }, { "pipeline", FIELD_STR, false, VENUE_MAX, &s->pipeline },
    };
    return call_fields(c, fields, ARRAY_LEN(fields)) && take_venue(c, s) && take_properties(c, s);
}

/* ---- waiting, then the answer */

static void wait_on(struct call *c);

static void on_wait(void *arg, bool done)
{
    struct call *c = arg;
    struct sag *s = c->state;
    s->wait = NULL;
    if (!call_open(c)) return;
    if (done) wait_on(c);
    else batch_accepted(c, &s->reply, "running");
}

/* Its own batch first, then those that have what was known. */
static void wait_on(struct call *c)
{
    struct sag *s = state(c);
    uint64_t now = loop_now_ms(c->api->loop), next = 0;
    if (s->reply.request && !s->own_done) next = s->reply.request;
    else if (s->waited < s->reply.n_batches) next = s->reply.batches[s->waited++];
    s->own_done = true;
    if (!next) return sag_answer(c);
    s->wait = pipe_wait(c->api->pipe, next, s->until_ms > now ? s->until_ms - now : 0, on_wait, c);
    if (!s->wait) call_memory(c);
}

static void accepted(struct call *c, const struct pipe_result *r)
{
    struct sag *s = state(c);
    if (!batch_reply_of(c, r, s->preference, &s->reply)) return;
    if (r->verdict == PIPE_ACCEPTED) stats_accepted(c->api->stats, r->request, r->n_items - r->known, c->started_us);
    s->until_ms = loop_now_ms(c->api->loop) + s->wait_ms;
    if (s->wait_ms && s->share <= c->api->conf->api.sync_items && !c->api->draining) wait_on(c);
    else batch_accepted(c, &s->reply, "accepted");
}

/* ---- the intake's verdicts */

/* What is wrong with an item is wrong with the properties it was made of. */
static void bad(struct call *c, const struct pipe_result *r)
{
    char at[256] = "";
    const char *data = r->pointer.n ? memmem(r->pointer.p, r->pointer.n, "/ticketData", 11) : NULL;
    size_t rest = data ? r->pointer.n - (size_t)(data - r->pointer.p) - 11 : 0;
    if (data) snprintf(at, sizeof at, "/sagProperties" STR_FMT, (int)rest, data + 11);
    else if (str_starts(r->pointer, S("/tickets"))) snprintf(at, sizeof at, "/sagName");
    else snprintf(at, sizeof at, STR_FMT, STR_ARG(r->pointer));
    call_problem(c, &(struct problem){ .status = 422, .code = batch_code(c, r->code, "body.refused"), .pointer = at }, STR_FMT,
                 STR_ARG(r->msg.n ? r->msg : S("the request is refused")));
}

static void taken(struct call *c, const struct pipe_result *r)
{
    char members[48];
    snprintf(members, sizeof members, ",\"batchId\":\"%" PRIu64 "\"", r->request);
    call_problem(c, &(struct problem){ .status = 409, .code = "sag.exists", .pointer = "/sagName", .members = members },
                 "a SAG of this name was made with other properties (batch %" PRIu64 "); nothing of this request was accepted", r->request);
}

static void on_verdict(void *arg, const struct pipe_result *r)
{
    struct call *c = arg;
    state(c)->stopped = true;
    if (!call_open(c)) return;
    switch (r->verdict) {
    case PIPE_ACCEPTED: case PIPE_REPLAYED: case PIPE_KNOWN:
        accepted(c, r);
        return;
    case PIPE_TICKET_TAKEN:
        taken(c, r);
        return;
    case PIPE_BAD:
        bad(c, r);
        return;
    default:
        batch_refused(c, r, "for this SAG");
    }
}

/* ---- the items, some in a turn */

static void turn_soon(struct call *c);

static void on_resume(void *arg)
{
    struct call *c = arg;
    if (!state(c)->paused) return;
    state(c)->paused = false;
    turn_soon(c);
}

/* 0: go on */
static int add_item(struct sag *s)
{
    char id[SAG_ID];
    struct buf data = { 0 };
    buf_str(&data, buf_view(&s->data));
    if (!s->has_seat) buf_printf(&data, "\"seatNumber\":\"#%" PRIu64 "\",", s->added + 1);
    if (data.n > 1) data.n--;                              /* the last comma */
    buf_puts(&data, "}");
    struct pipe_ticket t = { .id = sag_ticket(s, s->added + 1, id), .data = buf_view(&data) };
    int r = data.bad ? -ENOMEM : pipe_intake_add(s->intake, &t, on_resume);
    buf_free(&data);
    s->added++;
    return r;
}

static void seal(struct call *c)
{
    struct sag *s = state(c);
    const struct mintd_str parts[] = { S("sag"), buf_view(&c->body) };
    uint8_t hash[DIGEST_LEN];
    s->stopped = true;
    if (digest_parts(parts, ARRAY_LEN(parts), true, hash)) call_memory(c);
    else pipe_intake_seal(s->intake, hash);
}

static void on_turn(void *arg)
{
    struct call *c = arg;
    struct sag *s = state(c);
    loop_timer_del(s->turn);
    s->turn = NULL;
    for (uint32_t i = 0; i < TURN_ITEMS && s->added < s->share; i++) {
        int r = add_item(s);
        if (r == -ECANCELED) return;                       /* the verdict is on its way */
        if (r == -ENOMEM) return call_memory(c);
        s->paused = r == -EAGAIN;
        if (s->paused) return;
    }
    if (s->added == s->share) seal(c);
    else turn_soon(c);
}

static void turn_soon(struct call *c)
{
    struct sag *s = state(c);
    if (!s->turn && !s->stopped) s->turn = loop_timer(c->api->loop, 0, on_turn, c);
    if (!s->turn && !s->stopped) call_memory(c);
}

void sag_post(struct call *c)
{
    struct sag *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    c->state = s;
    s->wait_ms = (uint64_t)c->api->conf->api.wait_ms;
    call_prefer(c, &s->wait_ms, s->preference);
    if (!call_idem_key(c, &s->key) || !take_body(c, s)) return;
    if (s->data.bad) return call_memory(c);
    bool streamed = (s->data.n + 300) * s->share > (uint64_t)c->api->conf->intake_memory;
    struct pipe_open open = { .venue = s->venue, .pipeline = s->pipeline, .collection = s->name, .idem_key = s->key,
                              .request_id = str_of(c->id), .streamed = streamed };
    if (pipe_intake_open(c->api->pipe, &open, on_verdict, c, &s->intake)) call_memory(c);
    else turn_soon(c);
}

void sag_gone(struct call *c, bool sent)
{
    struct sag *s = state(c);
    (void)sent;
    if (s->wait) pipe_unwait(s->wait);
    if (s->intake) pipe_intake_close(s->intake);
    loop_timer_del(s->turn);
    buf_free(&s->data);
    s->wait = NULL;
    s->intake = NULL;
    s->turn = NULL;
}

void sag_drain(struct call *c)
{
    struct sag *s = state(c);
    if (!s->wait) return;
    pipe_unwait(s->wait);
    s->wait = NULL;
    batch_accepted(c, &s->reply, "running");
}
