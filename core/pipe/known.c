/* Tickets that were accepted before. They are looked for only when the store has refused a ticket of ours (or in a dry run): the way of
 * a new batch stays as short as it was. What is sealed stays sealed, so a ticket found here can never be taken in a second time.
 * Owns the look. Calls the store's query. Loop thread. */
#include <stdlib.h>

#include "pipe/intake_int.h"

enum { WORD = 8 * sizeof(void *), SEQ_BITS = 24 };

static void ask_items(struct pipe_intake *in);

/* ---- what was found */

/* Marks a known ticket; true when it was marked before: then it stands twice in this request. */
static bool marked(struct pipe_intake *in, uint64_t id)
{
    uintptr_t bits = (uintptr_t)map_get(&in->marked, id / WORD), bit = (uintptr_t)1 << id % WORD;
    if (bits & bit) return true;
    if (map_put(&in->marked, id / WORD, (void *)(bits | bit))) intake_memory(in);
    return false;
}

static void add_batch(struct pipe_intake *in, uint64_t request)
{
    for (uint32_t i = in->n_batches; i > 0; i--) if (in->batches[i - 1] == request) return;
    if (in->n_batches == LIST_MAX) in->more_batches = true;
    else in->batches[in->n_batches++] = request;
}

static void add_known(struct pipe_intake *in, uint64_t id)
{
    in->n_known++;
    in->look.found++;
    add_batch(in, id >> SEQ_BITS);
    if (in->n_known > in->pipe->conf->api.sync_items) return;          /* no answer will list so many */
    if (in->n_listed == in->cap_known) {
        uint32_t cap = in->cap_known ? in->cap_known * 2 : 64;
        uint64_t *known = realloc(in->known, cap * sizeof *known);
        if (!known) { intake_memory(in); return; }
        in->known = known;
        in->cap_known = cap;
    }
    in->known[in->n_listed++] = id;
}

static const char *difference(const struct row *row, const struct mintd_db_item *item, const struct mintd_db_chunk *chunk)
{
    if (!str_eq(row->item.body, item->body)) return "other metadata";
    if (!str_eq(row->item.recipient, item->recipient)) return "another recipient";
    if (!str_eq(row->item.extra, item->extra)) return "another eventId or userId";
    return row->col_id == chunk->collection ? NULL : "another collection or pipeline";
}

static void add_conflict(struct pipe_intake *in, const struct row *row, uint64_t request, const char *what)
{
    if (in->n_conflicts++ < LIST_MAX)
        in->conflicts[in->n_conflicts - 1] = (struct pipe_conflict){ row->item.ord, request, intake_keep(in, row->item.ticket), what };
}

static void judge(struct pipe_intake *in, struct row *row, const struct mintd_db_item *item, const struct mintd_db_chunk *chunk)
{
    uint64_t request = item->id >> SEQ_BITS;
    if (chunk->request != request) return;                 /* of a request that is still open: it has no chunk of its own */
    const char *what = in->replay ? NULL : difference(row, item, chunk);
    if (in->replay && request == in->replay_of) return;
    if (what) add_conflict(in, row, request, what);
    else if (marked(in, item->id)) intake_refuse(in, "ticket.duplicate", row->item.ord, S("id"), "this ticket id stands twice in the request");
    else row->known = item->id;
}

/* ---- reading */
static void slab_over(struct pipe_intake *in)
{
    struct slab *s = in->look.slab;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->rows[i].known) add_known(in, s->rows[i].known);
        else s->rows[n++] = s->rows[i];
    }
    s->n = n;
    if (!in->over) in->look.then(in);
}

static void page_over(struct pipe_intake *in)
{
    in->look.mem = arena_free(in->look.mem);
    if (in->over) return;
    if (in->look.cursor.n) ask_items(in);
    else slab_over(in);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void chunks_read(void *arg, struct plug_reply *r);

static void ask_chunks(struct pipe_intake *in, struct mintd_str cursor)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *ids = q ? arena_array(mem, in->look.n_items, sizeof *ids) : NULL;
    uint32_t n = 0;
    if (!ids) { arena_free(mem); intake_memory(in); return; }
    for (uint32_t i = 0; i < in->look.n_items; i++) ids[i] = in->look.items[i].chunk;
    qsort(ids, in->look.n_items, sizeof *ids, by_value);
    for (uint32_t i = 0; i < in->look.n_items; i++) if (!n || ids[n - 1] != ids[i]) ids[n++] = ids[i];
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_CHUNK, .max = n, .ids = VEC(ids, n), .cursor = arena_str(mem, cursor) };
    intake_query(in, mem, q, chunks_read);
}

static int by_id(const void *id, const void *chunk)
{
    uint64_t a = *(const uint64_t *)id, b = ((const struct mintd_db_chunk *)chunk)->id;
    return a < b ? -1 : a > b;
}

static void chunks_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    const struct mintd_db_chunk *rows = r->res->rows.p, *chunk;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); return; }
    for (uint32_t i = 0; !in->over && r->res->rows.n && i < in->look.n_items; i++) {
        chunk = bsearch(&in->look.items[i].chunk, rows, r->res->rows.n, sizeof *rows, by_id);
        if (chunk) judge(in, &in->look.slab->rows[in->look.rows[i]], &in->look.items[i], chunk);
    }
    if (!in->over && r->res->next.n) ask_chunks(in, r->res->next);
    else page_over(in);
}

/* The store answers in the order of the names. */
static bool match(struct pipe_intake *in)
{
    const struct slab *s = in->look.slab;
    in->look.rows = arena_array(in->look.mem, in->look.n_items, sizeof *in->look.rows);
    for (uint32_t i = 0; in->look.rows && i < in->look.n_items; i++) {
        while (in->look.at < s->n && !str_eq(s->rows[in->look.at].item.ticket, in->look.items[i].ticket)) in->look.at++;
        if (in->look.at == s->n) { intake_busy(in, "store.unavailable", "the store answered tickets nobody asked for"); return false; }
        in->look.rows[i] = in->look.at++;
    }
    if (!in->look.rows) intake_memory(in);
    return in->look.rows;
}

static void items_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); return; }
    in->look.cursor.n = 0;
    buf_str(&in->look.cursor, r->res->next);
    if (in->look.cursor.bad) { intake_memory(in); return; }
    if (!r->res->rows.n) { page_over(in); return; }
    in->look.items = r->res->rows.p;
    in->look.n_items = r->res->rows.n;
    in->look.mem = r->mem;
    r->mem = NULL;
    if (match(in)) ask_chunks(in, S(""));
}

static void ask_items(struct pipe_intake *in)
{
    const struct slab *s = in->look.slab;
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    struct mintd_str *names = q ? arena_array(mem, s->n, sizeof *names) : NULL;
    if (!names || arena_hold(mem, s->mem)) { arena_free(mem); intake_memory(in); return; }
    for (uint32_t i = 0; i < s->n; i++) names[i] = s->rows[i].item.ticket;
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_ITEM, .venue = in->venue_id, .names = VEC(names, s->n), .max = s->n,
        .cursor = arena_str(mem, buf_view(&in->look.cursor)) };
    intake_query(in, mem, q, items_read);
}

void known_look(struct pipe_intake *in, struct slab *s, void (*then)(struct pipe_intake *))
{
    in->look.slab = s;
    in->look.at = 0;
    in->look.then = then;
    in->look.cursor.n = 0;
    if (s->n) ask_items(in);
    else then(in);
}

/* ---- all that are kept */
static void next_ready(struct pipe_intake *in)
{
    struct list *next = in->look.slab->link.next;
    if (next != &in->ready) known_look(in, LIST_OF(next, struct slab, link), next_ready);
    else in->look.go_on(in);
}

void known_look_ready(struct pipe_intake *in, void (*then)(struct pipe_intake *))
{
    in->look.go_on = then;
    if (list_empty(&in->ready)) then(in);
    else known_look(in, LIST_OF(in->ready.next, struct slab, link), next_ready);
}

/* ---- a round: the store refused, because a ticket has another request */
static void look_round(struct pipe_intake *in);

void known_request(struct pipe_intake *in, uint64_t id, plug_fn *fn)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *ids = q ? arena_copy(mem, &id, sizeof id) : NULL;
    if (!ids) { arena_free(mem); intake_memory(in); return; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_REQUEST, .ids = VEC(ids, 1) };
    intake_query(in, mem, q, fn);
}

/* None was known, so the holder was open when we looked. If it is sealed by now, its tickets can be seen by now. */
static void holder_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    const struct mintd_db_request *rows = r->res->rows.p;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); return; }
    bool open = !r->res->rows.n || rows[0].state == MINTD_RQ_OPEN;
    if (open || ++in->idle > IDLE_MAX) intake_verdict(in, PIPE_IN_PROGRESS, in->holder);
    else look_round(in);
}

static void round_over(struct pipe_intake *in)
{
    void (*go_on)(struct pipe_intake *) = in->look.next;
    if (in->n_conflicts || in->look.found) go_on(in);
    else known_request(in, in->holder, holder_read);
}

static void look_round(struct pipe_intake *in)
{
    in->look.found = 0;
    if (in->look.only) known_look(in, in->look.only, round_over);
    else known_look_ready(in, round_over);
}

static uint64_t place_of(const struct slab *s, struct mintd_str ticket)
{
    for (uint32_t i = s ? s->n : 0; i > 0; i--) if (str_eq(s->rows[i - 1].item.ticket, ticket)) return s->rows[i - 1].item.ord;
    return UINT64_MAX;
}

void known_taken(struct pipe_intake *in, const struct mintd_applied *a, struct slab *only, void (*go_on)(struct pipe_intake *))
{
    in->busy = true;
    in->holder = a->value;
    in->look.only = only;
    in->look.next = go_on;
    if (in->request && a->value == in->request)
        intake_refuse(in, "ticket.duplicate", place_of(only, a->detail), S("id"), "this ticket id stands twice in the request");
    else if (++in->rounds > ROUNDS_MAX) intake_verdict(in, PIPE_IN_PROGRESS, a->value);
    else look_round(in);
}

/* ---- the result */
void known_tell(struct pipe_intake *in)
{
    struct pipe_result *r = &in->result;
    r->known = in->n_known;
    r->known_ids = in->known;
    r->n_known_ids = in->n_listed == in->n_known ? in->n_listed : 0;
    r->batches = in->batches;
    r->n_batches = in->n_batches;
    r->more_batches = in->more_batches;
    r->conflicts = in->conflicts;
    r->n_conflicts = in->n_conflicts;
}

void known_free(struct pipe_intake *in)
{
    map_free(&in->marked);
    free(in->known);
    arena_free(in->look.mem);
    buf_free(&in->look.cursor);
}
