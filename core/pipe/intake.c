/* Intake: one request being read. Tickets are gathered into slabs; a slab gets its collections, its order by lane, its URIs, and
 * is then kept (small body: one commit takes all) or staged (streamed body). The seal is the promise: one commit, then the verdict.
 * This file: the life of an intake and the order of things; the steps stand in slab.c, names.c, known.c, seal.c.
 * Owns intakes. Calls the store's stage. Loop thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipe/intake_int.h"

/* ---- the end */
static void intake_free(struct pipe_intake *in)
{
    struct list *l;
    while ((l = list_pop(&in->queued)) || (l = list_pop(&in->ready))) slab_free(LIST_OF(l, struct slab, link));
    slab_free(in->filling);
    slab_free(in->staging);
    list_del(&in->link);
    known_free(in);
    map_free(&in->tickets);
    map_free(&in->cols);
    free(in->runs);
    arena_free(in->mem);
    free(in);
}

void intake_maybe_free(struct pipe_intake *in)
{
    if (in->closed && !in->calls && in->settled) intake_free(in);
}

static void tell(void *arg)
{
    struct pipe_intake *in = arg;
    in->calls--;
    in->settled = true;
    if (!in->closed) in->fn(in->arg, &in->result);
    else intake_maybe_free(in);
}

struct mintd_str intake_keep(struct pipe_intake *in, struct mintd_str s) { return arena_str(in->mem, s); }

/* ---- calls */
void intake_call(struct pipe_intake *in, struct plug_inst *inst, uint32_t op, const void *arg, struct mintd_vec rows, struct arena *mem,
                 plug_fn *fn)
{
    in->calls++;
    in->busy = true;
    pipe_call(in->pipe, inst, op, 0, arg, rows, mem, fn, in);
}

void intake_query(struct pipe_intake *in, struct arena *mem, struct mintd_query *q, plug_fn *fn)
{
    intake_call(in, in->pipe->store, STORE_QUERY, q, (struct mintd_vec){ 0 }, mem, fn);
}

bool intake_called(struct pipe_intake *in)
{
    pipe_called(in->pipe);
    in->calls--;
    in->busy = false;
    if (!in->over) return true;
    intake_maybe_free(in);
    return false;
}

static void stage_dropped(void *arg, struct plug_reply *r)
{
    (void)r;                                               /* unsealed: the store reaps it later in any case */
    struct pipe_intake *in = arg;
    pipe_called(in->pipe);
    in->calls--;
    intake_maybe_free(in);
}

static void drop_staged(struct pipe_intake *in)
{
    struct arena *mem = arena_new(0);
    struct mintd_stage *s = mem ? arena_alloc(mem, sizeof *s) : NULL;
    if (!s) { arena_free(mem); return; }
    *s = (struct mintd_stage){ .size = sizeof *s, .flags = 1, .slot = in->pipe->slot, .epoch = in->pipe->epoch,
        .request = in->request, .venue = in->venue_id };
    in->calls++;
    pipe_call(in->pipe, in->pipe->store, STORE_STAGE, 1, s, (struct mintd_vec){ 0 }, mem, stage_dropped, in);
}

/* ---- verdicts, told on a later turn so that no caller is re-entered */
void intake_verdict(struct pipe_intake *in, enum pipe_verdict v, uint64_t request)
{
    if (in->over) return;
    in->over = true;
    in->result.verdict = v;
    in->result.request = request;
    in->result.n_items = in->n_items;
    known_tell(in);
    if (v == PIPE_BUSY && !in->result.retry_ms) in->result.retry_ms = RETRY_MS;
    if (in->request && v != PIPE_ACCEPTED && in->pipe->state != PIPE_DEAD) drop_staged(in);
    in->calls++;
    loop_post(in->pipe->loop, tell, in);
}

void intake_refuse(struct pipe_intake *in, const char *code, uint64_t place, struct mintd_str field, const char *msg)
{
    if (in->over) return;
    snprintf(in->text, sizeof in->text, "%s", msg);
    if (place == UINT64_MAX) in->pointer[0] = 0;
    else if (field.n) snprintf(in->pointer, sizeof in->pointer, "/tickets/%llu/" STR_FMT, (unsigned long long)place, STR_ARG(field));
    else snprintf(in->pointer, sizeof in->pointer, "/tickets/%llu", (unsigned long long)place);
    in->result.code = str_of(code);
    in->result.msg = str_of(in->text);
    in->result.pointer = str_of(in->pointer);
    in->result.place = place;
    intake_verdict(in, PIPE_BAD, 0);
}

void intake_busy(struct pipe_intake *in, const char *code, const char *msg)
{
    in->result.code = str_of(code);
    in->result.msg = str_of(msg);
    intake_verdict(in, PIPE_BUSY, 0);
}

void intake_memory(struct pipe_intake *in) { intake_busy(in, "pipe.no_memory", "out of memory"); }

void intake_busy_store(struct pipe_intake *in)
{
    struct pipe *p = in->pipe;
    const char *fault = p->book.fault[0] ? p->book.fault : "store.unavailable", *help = plug_help(p->store, str_of(fault));
    snprintf(in->text, sizeof in->text, "the store does not take writes now%s%s", *help ? ": " : "", help);
    in->result.code = intake_keep(in, str_of(fault));
    in->result.msg = str_of(in->text);
    intake_verdict(in, PIPE_BUSY, 0);
}

void intake_busy_call(struct pipe_intake *in, const struct mintd_outcome *o)
{
    trail_say(MINTD_WARN, in->request_id, "a batch cannot be taken in now: " STR_FMT, STR_ARG(o->slug));
    pipe_outcome(in->pipe, in->line, STAGE_COMMIT, 0, o);
    in->result.code = intake_keep(in, o->slug);
    in->result.msg = intake_keep(in, o->msg);
    in->result.retry_ms = o->retry_ms;
    intake_verdict(in, PIPE_BUSY, 0);
}

/* ---- the row of a streamed body */
static void opened(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    const struct mintd_applied *a = r->res->rows.p;
    bool ok = r->out->cls == MINTD_OK && r->res->rows.n == 1;
    if (ok && a->verdict == MINTD_APPLIED) in->request = a->value;
    if (in->over && in->request) drop_staged(in);          /* it ended while the row was being made */
    if (!intake_called(in)) return;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); }
    else if (!ok) { intake_busy(in, "store.stage", "the store did not open the request"); }
    else if (in->request) { intake_proceed(in); }
    else if (str_eq(a->detail, S("open"))) { intake_verdict(in, PIPE_IN_PROGRESS, a->value); }
    else { in->replay = true; in->replay_of = a->value; intake_proceed(in); }
}

static void open_staged(struct pipe_intake *in)
{
    struct arena *mem = arena_new(0);
    struct mintd_stage *st = mem ? arena_alloc(mem, sizeof *st) : NULL;
    if (!st) { arena_free(mem); intake_memory(in); return; }
    *st = (struct mintd_stage){ .size = sizeof *st, .slot = in->pipe->slot, .epoch = in->pipe->epoch, .venue = in->venue_id,
        .idem_key = arena_str(mem, in->key) };
    intake_call(in, in->pipe->store, STORE_STAGE, st, (struct mintd_vec){ 0 }, mem, opened);
}

/* ---- the order of things */
static void enqueue(struct pipe_intake *in)
{
    if (!in->filling) return;
    list_add(&in->queued, &in->filling->link);
    in->n_queued++;
    in->filling = NULL;
}

/* A streamed body under a key that is sealed already is only hashed. The ids of a short one are kept, so that an answer can list them. */
static void keep_names(struct pipe_intake *in)
{
    struct list *l;
    in->names_lost = in->names_lost || in->n_items > NAMES_MAX;
    while ((l = list_pop(&in->queued))) list_add(&in->ready, l);
    in->n_queued = 0;
    while (in->names_lost && (l = list_pop(&in->ready))) slab_free(LIST_OF(l, struct slab, link));
}

void intake_proceed(struct pipe_intake *in)
{
    if (in->over || in->busy || (in->closed && !in->sealing)) return;
    if (!in->venue_id) in->venue_id = name_get(in->pipe, NULL, 0, in->venue);
    if (!in->venue_id && !(in->dry && in->venue_asked)) { name_venue(in); return; }
    if (in->streamed && !in->dry && !in->request && !in->replay) { open_staged(in); return; }
    if (in->replay) keep_names(in);
    if (in->n_queued) {
        struct slab *s = LIST_OF(in->queued.next, struct slab, link);
        if (!name_collections(in, s)) return;
        slab_identify(in, s);
    } else if (in->sealing) {
        seal_begin(in);
    }
    if (in->told_stop && in->n_queued < SLABS_QUEUED && !in->sealing && !in->over) {
        in->told_stop = false;
        if (in->resume) loop_post(in->pipe->loop, in->resume, in->arg);
    }
}

/* ---- what the caller does */
int pipe_intake_open(struct pipe *p, const struct pipe_open *o, pipe_intake_fn *fn, void *arg, struct pipe_intake **ret)
{
    struct pipe_intake *in = calloc(1, sizeof *in);
    if (!in || !(in->mem = arena_new(0))) { free(in); return -ENOMEM; }
    in->pipe = p;
    in->fn = fn;
    in->arg = arg;
    in->streamed = o->streamed;
    in->dry = o->dry;
    in->venue = intake_keep(in, o->venue);
    in->collection = intake_keep(in, o->collection);
    in->request_id = intake_keep(in, o->request_id);
    in->opened_us = loop_now_us(p->loop);
    trail_say(MINTD_DEBUG, in->request_id, "a batch is taken in for venue " STR_FMT, STR_ARG(in->venue));
    in->key = intake_keep(in, o->idem_key);
    list_init(&in->queued);
    list_init(&in->ready);
    list_add(&p->intakes, &in->link);
    *ret = in;
    in->own_key = !in->key.n;
    if (in->own_key) {                                     /* so that a lost COMMIT can be asked for */
        uint8_t r[16];
        loop_random(p->loop, r, sizeof r);
        char hex[33] = "~";
        hex_encode(r, sizeof r - 1, hex + 1);
        hex[31] = 0;
        in->key = intake_keep(in, str_of(hex));
    }
    struct buf why = { 0 };
    const struct conf_pipeline *cf = conf_pipeline_of(p->conf, o->pipeline, o->venue);
    in->line = cf ? pipe_line(p, cf->name) : NULL;
    if (!cf) {
        intake_refuse(in, "request.unknown_pipeline", UINT64_MAX, S(""), "no such pipeline is configured");
        in->result.pointer = S("/pipeline");
    } else if (!pipe_ready(p, &why) || !in->line || !in->line->chain->limits) {
        in->result.msg = why.n ? intake_keep(in, buf_view(&why)) : S("the chain of this pipeline does not answer yet");
        in->result.code = S("pipe.not_ready");
        intake_verdict(in, PIPE_BUSY, 0);
    }                                                      /* nothing is written before a slab is full or the body is whole: a bad one leaves no trace */
    buf_free(&why);
    return 0;
}

static bool check_ticket(struct pipe_intake *in, const struct pipe_ticket *t)
{
    if (!t->id.n) intake_refuse(in, "ticket.id", in->n_items, S("id"), "a ticket needs an id");
    else if (t->id.n > TICKET_ID_MAX) intake_refuse(in, "ticket.id", in->n_items, S("id"), "a ticket id has at most 128 bytes");
    else if (t->recipient.n > RECIPIENT_MAX) intake_refuse(in, "ticket.recipient", in->n_items, S("recipient"), "a recipient has at most 128 bytes");
    else if (in->n_items >= in->pipe->conf->api.max_items)
        intake_refuse(in, "request.too_many_tickets", UINT64_MAX, S(""), "more tickets than api.max_items allows in one request");
    return !in->over;
}

static int add_row(struct pipe_intake *in, struct slab *s, const struct pipe_ticket *t, struct meta_error *err)
{
    struct meta_ticket *m = NULL;
    int r = meta_parse(t, in->venue, &m);
    if (r == -EINVAL) *err = (struct meta_error){ .code = S("ticket.data"), .msg = "ticketData must be a JSON object" };
    if (!r) r = slab_fill(in, s, t, m, err);
    meta_ticket_free(m);
    return r;
}

static void refuse_row(struct pipe_intake *in, const struct meta_error *err)
{
    char field[100] = "ticketData";
    if (err->field.n) snprintf(field, sizeof field, "ticketData/" STR_FMT, STR_ARG(err->field));
    intake_refuse(in, err->code.n ? err->code.p : "metadata.name", in->n_items, str_of(field),
                  err->msg[0] ? err->msg : "the metadata has no name");
}

/* The row behind the last of the slab, and whether it may stand there. */
static bool make_row(struct pipe_intake *in, struct slab *s, const struct pipe_ticket *t)
{
    struct meta_error err = { 0 };
    uint32_t name_max = in->line->chain->limits->name_max;
    int r = !s ? -ENOMEM : in->replay ? slab_name(s, t) : add_row(in, s, t, &err);
    if (r == -ENOMEM) intake_memory(in);
    else if (r) refuse_row(in, &err);
    else if (in->replay) return true;
    else if (name_max && s->rows[s->n].name.n > name_max)
        intake_refuse(in, "metadata.name_too_long", in->n_items, S("ticketData"), "the name in the metadata is too long for the chain");
    else if (slab_twice(in, s)) intake_refuse(in, "ticket.duplicate", in->n_items, S("id"), "this ticket id stands twice in the request");
    return !in->over;
}

int pipe_intake_add(struct pipe_intake *in, const struct pipe_ticket *t, loop_fn *resume)
{
    if (in->over || in->closed || !check_ticket(in, t)) return -ECANCELED;
    in->resume = resume;
    in->names_lost = in->names_lost || (in->replay && in->n_items >= NAMES_MAX);
    if (in->names_lost) { in->n_items++; return 0; }
    struct slab *s = slab_for(in);
    if (!make_row(in, s, t)) return -ECANCELED;
    s->n++;
    in->n_items++;
    if (s->n == SLAB_ITEMS || s->bytes >= (size_t)in->pipe->conf->slab_bytes) { enqueue(in); intake_proceed(in); }
    if (in->over) return -ECANCELED;
    in->told_stop = in->n_queued >= SLABS_QUEUED;
    return in->told_stop ? -EAGAIN : 0;
}

void pipe_intake_seal(struct pipe_intake *in, const uint8_t hash[32])
{
    if (in->over || in->closed) return;
    memcpy(in->hash, hash, sizeof in->hash);
    if (!in->n_items) { intake_refuse(in, "request.no_tickets", UINT64_MAX, S(""), "a request needs at least one ticket"); return; }
    enqueue(in);
    in->sealing = true;
    intake_proceed(in);
}

void pipe_intake_close(struct pipe_intake *in)
{
    in->closed = true;
    if (!in->over && !in->sealing) {                       /* the client is gone before the end of its body */
        in->over = in->settled = true;
        if (in->request && in->pipe->state == PIPE_RUNNING) drop_staged(in);
    }
    if (in->over && in->settled) intake_maybe_free(in);
}

void intake_end_all(struct pipe *p)
{
    LIST_EACH(l, &p->intakes) {
        struct pipe_intake *in = LIST_OF(l, struct pipe_intake, link);
        if (!in->over && !in->sealing) intake_busy(in, "pipe.draining", "the daemon is stopping");
    }
}
