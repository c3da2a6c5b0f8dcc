/* Tickets to rows: a slab gathers them, learns their URIs and is laid out in the order of its lanes. Then it is kept (small body),
 * staged (streamed body) or only compared (dry run, or a request that will be refused). Owns slabs. Calls the uploader's identify
 * and the store's stage. Loop thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "pipe/intake_int.h"

void slab_free(struct slab *s)
{
    if (!s) return;
    arena_free(s->mem);
    free(s);
}

/* A request of one ticket takes little, one of a thousand finds room by doubling. */
static bool slab_grow(struct slab *s)
{
    uint32_t cap = !s->cap ? SLAB_FIRST : s->cap * 2 < SLAB_ITEMS ? s->cap * 2 : SLAB_ITEMS;
    struct row *rows = arena_array(s->mem, cap, sizeof *rows);
    if (!rows) return false;
    if (s->n) memcpy(rows, s->rows, s->n * sizeof *rows);
    s->rows = rows;
    s->cap = cap;
    return true;
}

struct slab *slab_for(struct pipe_intake *in)
{
    if (!in->filling) in->filling = calloc(1, sizeof *in->filling);
    struct slab *s = in->filling;
    if (s && !s->mem) s->mem = arena_new(SLAB_FIRST_BYTES);
    return s && s->mem && (s->n < s->cap || slab_grow(s)) ? s : NULL;
}

int slab_fill(struct pipe_intake *in, struct slab *s, const struct pipe_ticket *t, const struct meta_ticket *m, struct meta_error *err)
{
    struct row *row = &s->rows[s->n];
    struct buf body = { 0 }, extra = { 0 }, coll = { 0 };
    int r = meta_body(in->line->metadata, m, &body, err);
    if (!r) r = meta_extra(m, &extra);
    if (!r && in->collection.n) buf_str(&coll, in->collection);
    else if (!r) r = meta_text(in->line->collection, m, &coll, err);
    if (!r) {
        struct mintd_str who = t->recipient.n ? t->recipient : in->line->cf->recipient;
        row->item = (struct mintd_db_item){ .venue = in->venue_id, .ticket = arena_str(s->mem, t->id), .recipient = arena_str(s->mem, who),
            .body = arena_str(s->mem, buf_view(&body)), .extra = arena_str(s->mem, buf_view(&extra)), .ord = (uint32_t)in->n_items };
        row->collection = arena_str(s->mem, buf_view(&coll));
        row->place = s->n;
        if (!row->item.body.n || !row->collection.n) r = -ENOMEM;
        if (!r) r = meta_name(row->item.body, s->mem, &row->name);
    }
    s->bytes += body.n + extra.n + coll.n + t->id.n + 200;
    buf_free(&body);
    buf_free(&extra);
    buf_free(&coll);
    return r;
}

int slab_name(struct slab *s, const struct pipe_ticket *t)
{
    s->rows[s->n].item.ticket = arena_str(s->mem, t->id);
    s->bytes += t->id.n;
    return s->rows[s->n].item.ticket.n ? 0 : -ENOMEM;
}

/* A streamed request leaves it to the store's unique key. A dry run writes nothing there: it keeps the hashes, 64 bits of each. */
bool slab_twice(struct pipe_intake *in, const struct slab *s)
{
    struct mintd_str ticket = s->rows[s->n].item.ticket;
    uint64_t h = name_hash(NULL, 0, ticket);
    if (in->streamed && !in->dry) return false;
    struct seen *first = map_get(&in->tickets, h), *one;
    if (in->streamed) {
        if (!first) map_put(&in->tickets, h, in);
        return first;
    }
    for (one = first; one; one = one->next) if (str_eq(one->id, ticket)) return true;
    one = arena_alloc(in->mem, sizeof *one);
    if (!one) return false;
    *one = (struct seen){ first, intake_keep(in, ticket) };
    map_put(&in->tickets, h, one);
    return false;
}

/* ---- order and runs */
static int run_add(struct pipe_intake *in, struct mintd_db_run run)
{
    struct mintd_db_run *last = in->n_runs ? &in->runs[in->n_runs - 1] : NULL;
    if (last && last->collection == run.collection && last->batch == run.batch && last->first + last->count == run.first
        && last->count % last->batch == 0) {
        last->count += run.count;                          /* whole chunks: the run goes on */
        return 0;
    }
    if (in->n_runs == in->cap_runs) {
        uint32_t cap = in->cap_runs ? in->cap_runs * 2 : 16;
        struct mintd_db_run *runs = realloc(in->runs, cap * sizeof *runs);
        if (!runs) return -ENOMEM;
        in->runs = runs;
        in->cap_runs = cap;
    }
    in->runs[in->n_runs++] = run;
    return 0;
}

static int by_collection(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->col_id != y->col_id) return x->col_id < y->col_id ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* Rows in lane order with their sequence numbers, and the runs they make. */
int slab_lay_out(struct pipe_intake *in, struct slab *s)
{
    const struct mintd_limits *lim = in->line->chain->limits;
    const struct conf_pipeline *cf = in->line->cf;
    qsort(s->rows, s->n, sizeof *s->rows, by_collection);
    if (!s->items) s->items = arena_array(s->mem, s->n, sizeof *s->items);
    if (!s->items) return -ENOMEM;
    in->mark.n_runs = in->n_runs;
    in->mark.seq = in->seq;
    if (in->n_runs) in->mark.last = in->runs[in->n_runs - 1];
    for (uint32_t i = 0; i < s->n;) {
        uint32_t end = i, name = 0, uri = 0;
        for (; end < s->n && s->rows[end].col_id == s->rows[i].col_id; end++) {
            if (s->rows[end].name.n > name) name = (uint32_t)s->rows[end].name.n;
            if (s->rows[end].item.uri.n > uri) uri = (uint32_t)s->rows[end].item.uri.n;
            s->items[end] = s->rows[end].item;
            s->items[end].id = in->seq + end;
        }
        uint32_t batch = pace_pack(cf ? cf->batch : 0, lim->items_mint, lim->tx_room, lim->item_base, name, uri);
        if (run_add(in, (struct mintd_db_run){ s->rows[i].col_id, in->seq + i, end - i, batch, 0 })) return -ENOMEM;
        i = end;
    }
    in->seq += s->n;
    return 0;
}

/* Takes the numbers and runs of the slab laid out last back. */
static void undo(struct pipe_intake *in)
{
    in->n_runs = in->mark.n_runs;
    in->seq = in->mark.seq;
    if (in->n_runs) in->runs[in->n_runs - 1] = in->mark.last;
}

/* ---- a slab of a streamed body */
static void stage(struct pipe_intake *in, struct slab *s);

static void next(struct pipe_intake *in)
{
    slab_free(in->staging);
    in->staging = NULL;
    in->rounds = in->idle = 0;
    intake_proceed(in);
}

/* Some of a refused slab were known and are out of it: the rest is staged again. */
static void looked(struct pipe_intake *in)
{
    struct slab *s = in->staging;
    undo(in);
    if (s->n && !in->n_conflicts) stage(in, s);
    else next(in);
}

static void staged(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    CRASH("intake.stage.after");
    if (!intake_called(in)) return;
    const struct mintd_applied *a = r->res->rows.p;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); return; }
    if (r->res->rows.n == 1 && a->verdict == MINTD_DUPLICATE) { known_taken(in, a, in->staging, looked); return; }
    if (r->res->rows.n != 1 || a->verdict != MINTD_APPLIED) { intake_busy(in, "store.stage", "the store did not take the tickets"); return; }
    next(in);
}

static void stage(struct pipe_intake *in, struct slab *s)
{
    struct arena *mem = arena_new(0);
    struct mintd_stage *st = mem ? arena_alloc(mem, sizeof *st) : NULL;
    in->staging = s;
    if (!st || arena_hold(mem, s->mem) || slab_lay_out(in, s)) { arena_free(mem); intake_memory(in); return; }
    *st = (struct mintd_stage){ .size = sizeof *st, .slot = in->pipe->slot, .epoch = in->pipe->epoch, .request = in->request,
        .venue = in->venue_id };
    CRASH("intake.stage.before");
    intake_call(in, in->pipe->store, STORE_STAGE, st, VEC(s->items, s->n), mem, staged);
}

/* ---- a slab that is only compared */
static void plan(struct pipe_intake *in, const struct slab *s)
{
    for (uint32_t i = 0, end; i < s->n; i = end) {
        struct plan_col *c = map_get(&in->cols, name_hash(NULL, 0, s->rows[i].collection));
        while (c && c->id != s->rows[i].col_id) c = c->next;
        for (end = i; end < s->n && s->rows[end].col_id == s->rows[i].col_id; end++) continue;
        if (!c) continue;
        if (!c->tickets && in->n_cols++ < LIST_MAX)
            in->plan_cols[in->n_cols - 1] = (struct pipe_plan_col){ c->name, 0, c->exists };
        in->n_new_cols += !c->tickets && !c->exists;
        c->tickets += end - i;
        for (uint64_t k = 0; k < in->n_cols && k < LIST_MAX; k++)
            if (str_eq(in->plan_cols[k].name, c->name)) in->plan_cols[k].tickets = c->tickets;
    }
}

static void compared(struct pipe_intake *in)
{
    struct slab *s = in->staging;
    in->staging = NULL;
    int r = in->dry && s->n ? slab_lay_out(in, s) : 0;
    if (!r && in->dry) plan(in, s);
    slab_free(s);
    if (r) intake_memory(in);
    else intake_proceed(in);
}

static void compare(struct pipe_intake *in, struct slab *s)
{
    in->staging = s;
    if (in->venue_id) known_look(in, s, compared);
    else compared(in);                                     /* a venue nobody ever named has no tickets */
}

/* ---- URIs */
static void slab_ready(struct pipe_intake *in, struct slab *s)
{
    list_del(&s->link);
    in->n_queued--;
    if (in->dry || in->n_conflicts) { compare(in, s); return; }
    if (in->streamed) { stage(in, s); return; }
    list_add(&in->ready, &s->link);
    if (slab_lay_out(in, s)) intake_memory(in);
    else intake_proceed(in);
}

static void take_uris(struct pipe_intake *in, struct slab *s, const struct mintd_stored *rows)
{
    uint32_t max = in->line->chain->limits->uri_max;
    for (uint32_t i = 0; !in->over && i < s->n; i++) {
        struct row *row = &s->rows[i];
        if (rows[i].why) intake_refuse(in, "metadata.refused", row->item.ord, S("ticketData"), "the uploader refuses this metadata");
        else if (max && rows[i].uri.n > max)
            intake_refuse(in, "metadata.uri_too_long", row->item.ord, S("ticketData"), "the URI is too long for the chain");
        else row->item.uri = rows[i].uri;
    }
}

static void identified(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    struct slab *s = LIST_OF(in->queued.next, struct slab, link);
    if (r->out->cls != MINTD_OK || r->res->rows.n != s->n) { intake_busy_call(in, r->out); return; }
    if (arena_hold(s->mem, r->mem)) { intake_memory(in); return; }
    take_uris(in, s, r->res->rows.p);
    if (!in->over) slab_ready(in, s);
}

void slab_identify(struct pipe_intake *in, struct slab *s)
{
    struct arena *mem = arena_new(0);
    struct mintd_blob *blobs = mem ? arena_array(mem, s->n, sizeof *blobs) : NULL;
    if (!blobs || arena_hold(mem, s->mem)) { arena_free(mem); intake_memory(in); return; }
    for (uint32_t i = 0; i < s->n; i++)
        blobs[i] = (struct mintd_blob){ .name = s->rows[i].item.ticket, .type = S("application/json"), .data = s->rows[i].item.body,
            .len = s->rows[i].item.body.n, .fd = -1 };
    intake_call(in, in->line->uploader, UPLOADER_IDENTIFY, NULL, VEC(blobs, s->n), mem, identified);
}
