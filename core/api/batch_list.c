/* GET /v1/batches: batches, newest first, with their counters. Loop thread. */
#include "api/batch.h"
#include "api/list.h"

static const struct filter_word states[] = {
    { "accepted", 1 << 0 }, { "running", 1 << 1 }, { "completed", 1 << 2 }, { "partial", 1 << 3 }, { "failed", 1 << 4 }, { "cancelled", 1 << 5 },
};
struct batches {
    struct mintd_query q;
    uint64_t states;
    /* ---- of the page */
    struct batch_view *views;
    uint32_t n, at;
    struct mintd_str next;
};

static void load_next(struct call *c)
{
    struct list_view *l = list_of(c);
    struct batches *b = l->state;
    if (b->at == b->n) list_took(l, b->n, b->next);
    else batch_view_load(c, &b->views[b->at++], false, load_next);
}

static void on_venues(struct call *c, const struct mintd_res *res)
{
    struct batches *b = list_of(c)->state;
    const struct mintd_db_venue *venue = res->rows.p;
    for (uint32_t i = 0; i < b->n; i++)
        for (uint32_t k = 0; k < res->rows.n; k++)
            if (venue[k].id == b->views[i].request->venue) b->views[i].venue = venue[k].name;
    load_next(c);
}

static void on_requests(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct batches *b = l->state;
    const struct mintd_db_request *q = res->rows.p;
    uint64_t *venues = arena_array(l->page, res->rows.n + 1, sizeof *venues);
    uint32_t n_venues = 0;
    b->views = arena_array(l->page, res->rows.n + 1, sizeof *b->views);
    b->n = b->at = 0;
    b->next = res->next;
    if (!b->views || !venues) return call_memory(c);
    for (uint32_t i = 0; i < res->rows.n; i++) {
        if (q[i].state != MINTD_RQ_SEALED) continue;
        b->views[b->n++].request = &q[i];
        uint32_t k = 0;
        while (k < n_venues && venues[k] != q[i].venue) k++;
        if (k == n_venues) venues[n_venues++] = q[i].venue;
    }
    if (!b->n) list_took(l, 0, b->next);
    else call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(venues, n_venues) }, 0, on_venues);
}

static void load(struct list_view *l)
{
    struct batches *b = l->state;
    b->q.cursor = l->cursor;
    b->q.max = l->room;
    call_query(l->c, &b->q, 0, on_requests);
}

static bool wanted(struct list_view *l, uint32_t i)
{
    const struct batches *b = l->state;
    struct mintd_str state = str_of(batch_state(&b->views[i]));
    for (size_t k = 0; k < ARRAY_LEN(states); k++)
        if (str_eq(state, str_of(states[k].name))) return !b->states || b->states & states[k].bit;
    return false;
}

static void row(struct list_view *l, uint32_t i, struct rec *r)
{
    static const struct mintd_db_request no_request;
    static const struct batch_view none = { .request = &no_request };
    const struct batches *b = l->state;
    const struct batch_view *v = i == UINT32_MAX ? &none : &b->views[i];
    if (rec_json(r)) {
        batch_view_members(r->b, v);
        return;
    }
    rec_id(r, "batchId", v->request->id);
    rec_str(r, "venueId", v->venue);
    rec_str(r, "state", str_of(batch_state(v)));
    rec_time(r, "createdAt", v->request->created_at);
    rec_time(r, "sealedAt", v->request->sealed_at);
    rec_time(r, "cancelledAt", v->request->cancel_at);
    rec_time(r, "finishedAt", v->request->finished_at);
    rec_u64(r, "total", v->request->n_items);
    rec_u64(r, "open", v->count.open);
    rec_u64(r, "quarantined", v->count.quarantined);
    rec_u64(r, "minted", v->count.done);
    rec_u64(r, "failed", v->count.failed);
    rec_u64(r, "cancelled", v->count.cancelled);
    rec_u64(r, "fee", v->count.fee);
}

static const struct list_kind kind = { "batches", 20, 100, load, wanted, row };

static void on_filter(struct call *c, uint64_t venue)
{
    struct batches *b = arena_alloc(c->mem, sizeof *b);
    if (!b) return call_memory(c);
    b->q = (struct mintd_query){ .kind = MINTD_DB_REQUEST, .venue = venue };
    if (!filter_words(c, "state", states, ARRAY_LEN(states), &b->states) || !filter_times(c, &b->q.from_ms, &b->q.to_ms)) return;
    c->load = NULL;                                        /* batch_view_load makes its own */
    list_start(c, &kind, b);
}

void batch_list(struct call *c) { filter_venue(c, on_filter); }
