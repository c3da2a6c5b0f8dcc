/* GET /v1/tickets and /admin/mints: tickets, newest first; GET /v1/batches/{id}/tickets: those of one batch, in its order. A page is read
 * with its venues, its chunks (when, why, which collection) and its collections. Loop thread. */
#include <stdlib.h>
#include "api/batch.h"
#include "api/list.h"
#include "base/json.h"

enum { EVENT_MAX = 4096, NAME_MAX_BYTES = 256, KNOWN_MAX = 1000 };
#define BIT(s) (UINT64_C(1) << MINTD_ST_##s)
static const struct filter_word states[] = {
    { "accepted", BIT(ACCEPTED) }, { "uploading", BIT(UPLOADING) }, { "uploaded", BIT(UPLOADED) }, { "signed", BIT(SIGNED) },
    { "landed", BIT(LANDED) }, { "minted", BIT(DONE) }, { "failed", BIT(FAILED) }, { "cancelled", BIT(CANCELLED) },
    { "quarantined", BIT(QUARANTINE) },
};
struct tickets {
    struct mintd_query q;
    uint32_t flags;
    const struct list_kind *kind;
    uint64_t states;                           /* those the store does not look at itself */
    struct mintd_str chain, collection;        /* empty: any */
    /* ---- of the page */
    const struct mintd_db_item *item;
    uint32_t n;
    struct mintd_str next;
    uint64_t *ids;                             /* of its chunks, sorted */
    uint32_t n_ids;
    const struct mintd_db_venue *venue;
    uint32_t n_venues;
    struct chunks { struct chunks *next; const struct mintd_db_chunk *chunk; uint32_t n; } *chunks;
    const struct mintd_db_collection *col;
    uint32_t n_cols;
};

/* ---- what a row needs beside the item */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t unique(uint64_t *ids, uint32_t n)
{
    uint32_t k = 0;
    qsort(ids, n, sizeof *ids, by_number);
    for (uint32_t i = 0; i < n; i++)
        if (!k || ids[k - 1] != ids[i]) ids[k++] = ids[i];
    return k;
}

static const struct mintd_db_chunk *chunk_of(const struct tickets *t, uint64_t id)
{
    for (const struct chunks *p = t->chunks; p; p = p->next)
        for (uint32_t low = 0, high = p->n; low < high;) {
            uint32_t mid = low + (high - low) / 2;
            if (p->chunk[mid].id == id) return &p->chunk[mid];
            if (p->chunk[mid].id < id) low = mid + 1;
            else high = mid;
        }
    return NULL;
}

static const struct mintd_db_collection *collection_of(const struct tickets *t, const struct mintd_db_chunk *chunk)
{
    for (uint32_t i = 0; chunk && i < t->n_cols; i++)
        if (t->col[i].id == chunk->collection) return &t->col[i];
    return NULL;
}

static struct mintd_str venue_of(const struct tickets *t, uint64_t id)
{
    for (uint32_t i = 0; i < t->n_venues; i++)
        if (t->venue[i].id == id) return t->venue[i].name;
    return (struct mintd_str){ NULL, 0 };
}

/* A member of the item's `extra`, as it was sent. */
static struct mintd_str extra_of(const struct mintd_db_item *it, struct mintd_str name)
{
    struct mintd_str key, value;
    size_t pos = 0;
    if (it->extra.n && json_type(it->extra) == JSON_OBJECT)
        while (json_member(it->extra, &pos, &key, &value))
            if (json_is(key, name) && json_type(value) == JSON_STRING) return value;
    return (struct mintd_str){ NULL, 0 };
}

/* ---- a row */

static void put_mint(struct rec *r, const struct mintd_db_item *it)
{
    uint64_t serial = 0;
    rec_str(r, "signature", it->tx_id);
    rec_str(r, "metadataUri", it->uri);
    rec_str(r, "asset", it->asset);
    bool counts = it->asset.n && !str_u64(it->asset, &serial);
    if (!rec_json(r)) rec_id(r, "serial", serial);
    else if (counts) rec_u64(r, "serial", serial);
    rec_str(r, "recipient", it->recipient);
}

static void put_chunk(struct rec *r, const struct mintd_db_item *it, const struct mintd_db_chunk *chunk,
                      const struct mintd_db_collection *col)
{
    static const struct mintd_db_chunk no_chunk;
    static const struct mintd_db_collection no_col;
    if (!chunk) chunk = &no_chunk;
    if (!col) col = &no_col;
    rec_str(r, "collection", col->name);
    rec_str(r, "pipeline", col->pipeline);
    rec_str(r, "network", col->network);
    rec_time(r, "acceptedAt", chunk->accepted_at);
    rec_time(r, "mintedAt", chunk->minted_at);
    rec_str(r, "code", it->slug);
    rec_str(r, "error", it->slug.n ? chunk->msg : it->slug);
}

static void row(struct list_view *l, uint32_t i, struct rec *r)
{
    static const struct mintd_db_item none;
    const struct tickets *t = l->state;
    const struct mintd_db_item *it = i == UINT32_MAX ? &none : &t->item[i];
    const struct mintd_db_chunk *chunk = i == UINT32_MAX ? NULL : chunk_of(t, it->chunk);
    rec_str(r, "ticketId", it->ticket);
    rec_str(r, "venueId", venue_of(t, it->venue));
    rec_json_text(r, "eventId", extra_of(it, S("eventId")));
    rec_json_text(r, "userId", extra_of(it, S("userId")));
    rec_id(r, "batchId", it->id >> 24);
    rec_str(r, "state", str_of(state_name(it->state)));
    put_mint(r, it);
    put_chunk(r, it, chunk, collection_of(t, chunk));
    rec_str(r, "delivery", it->delivery ? str_of(state_name(it->delivered)) : S(""));
}

/* ---- which rows */

static bool of_chain(const struct list_view *l, const struct mintd_db_collection *col)
{
    const struct tickets *t = l->state;
    const struct conf_pipeline *p = conf_pipeline(l->c->api->conf, col->pipeline);
    return str_eq(col->network, t->chain) || (p && str_eq(p->chain, t->chain));
}

static bool wanted(struct list_view *l, uint32_t i)
{
    const struct tickets *t = l->state;
    if (t->states && !(t->states >> t->item[i].state & 1)) return false;
    if (!t->chain.n && !t->collection.n) return true;
    const struct mintd_db_collection *col = collection_of(t, chunk_of(t, t->item[i].chunk));
    return col && (!t->collection.n || str_eq(col->name, t->collection)) && (!t->chain.n || of_chain(l, col));
}

/* ---- reading a page */

static void on_cols(struct call *c, const struct mintd_res *res)
{
    struct tickets *t = list_of(c)->state;
    t->col = res->rows.p;
    t->n_cols = res->rows.n;
    list_took(list_of(c), t->n, t->next);
}

static void query_cols(struct call *c)
{
    struct list_view *l = list_of(c);
    struct tickets *t = l->state;
    uint64_t *ids = arena_array(l->page, t->n + 1, sizeof *ids);
    uint32_t n = 0;
    if (!ids) return call_memory(c);
    for (const struct chunks *p = t->chunks; p; p = p->next)
        for (uint32_t i = 0; i < p->n && n < t->n; i++) ids[n++] = p->chunk[i].collection;
    n = unique(ids, n);
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COLLECTION, .max = n, .ids = VEC(ids, n) }, 0, on_cols);
}

static void query_chunks(struct call *c, struct mintd_str cursor);
static void on_chunks(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct tickets *t = l->state;
    struct chunks *p = arena_alloc(l->page, sizeof *p);
    if (!p) return call_memory(c);
    *p = (struct chunks){ t->chunks, res->rows.p, res->rows.n };
    t->chunks = p;
    if (res->next.n) query_chunks(c, res->next);
    else query_cols(c);
}

static void query_chunks(struct call *c, struct mintd_str cursor)
{
    const struct tickets *t = list_of(c)->state;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .max = t->n_ids, .ids = VEC(t->ids, t->n_ids), .cursor = cursor }, 0, on_chunks);
}

static void on_venues(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct tickets *t = l->state;
    t->venue = res->rows.p;
    t->n_venues = res->rows.n;
    t->ids = arena_array(l->page, t->n, sizeof *t->ids);
    if (!t->ids) return call_memory(c);
    for (uint32_t i = 0; i < t->n; i++) t->ids[i] = t->item[i].chunk;
    t->n_ids = unique(t->ids, t->n);
    query_chunks(c, (struct mintd_str){ NULL, 0 });
}

static void on_items(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct tickets *t = l->state;
    uint64_t *ids = arena_array(l->page, res->rows.n + 1, sizeof *ids);
    t->item = res->rows.p;
    t->n = res->rows.n;
    t->next = res->next;
    t->chunks = NULL;
    if (!ids) return call_memory(c);
    for (uint32_t i = 0; i < t->n; i++) ids[i] = t->item[i].venue;
    uint32_t n = unique(ids, t->n);
    if (!t->n) list_took(l, 0, t->next);
    else call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .max = n, .ids = VEC(ids, n) }, 0, on_venues);
}

static void load(struct list_view *l)
{
    struct tickets *t = l->state;
    t->q.cursor = l->cursor;
    t->q.max = l->room;
    call_query(l->c, &t->q, t->flags, on_items);
}

static const struct list_kind tickets_kind = { "tickets", 100, 1000, load, wanted, row }, mints_kind = { "mints", 100, 1000, load, wanted, row };

/* ---- filters of the long list */

static bool names_chain(const struct call *c, struct mintd_str name)
{
    const struct conf *conf = c->api->conf;
    for (uint32_t i = 0; i < conf->n_pipelines; i++)
        if (str_eq(conf->pipelines[i].chain, name)) return true;
    return false;
}

static void refuse_chain(struct call *c, const struct mintd_db_collection *col, uint32_t n)
{
    struct buf known = { 0 };
    const struct conf *conf = c->api->conf;
    for (uint32_t i = 0; i < conf->n_pipelines; i++) buf_printf(&known, ", " STR_FMT, STR_ARG(conf->pipelines[i].chain));
    for (uint32_t i = 0; i < n && i < 8; i++) buf_printf(&known, ", " STR_FMT, STR_ARG(col[i].network));
    buf_add(&known, "", 1);
    filter_refuse(c, "chain", "is neither a chain instance of a pipeline nor a network that was minted to; known are %s", known.p ? known.p + 2 : "");
    buf_free(&known);
}

/* A collection by its name may be several (of venues, of pipelines); one of them the store can look for by itself. */
static void on_known(struct call *c, const struct mintd_res *res)
{
    struct tickets *t = c->load;
    const struct mintd_db_collection *col = res->rows.p;
    bool network = !t->chain.n || names_chain(c, t->chain) || t->collection.n || res->next.n;
    for (uint32_t i = 0; i < res->rows.n; i++) network = network || str_eq(col[i].network, t->chain);
    if (t->collection.n && !res->rows.n)
        call_problem(c, &(struct problem){ .status = 404, .code = "collection.unknown", .pointer = "collection" }, "there is no collection of this name");
    else if (!network) refuse_chain(c, col, res->rows.n);
    else {
        if (t->collection.n && res->rows.n == 1) t->q.collection = col->id;
        list_start(c, t->kind, t);
    }
}

static void on_venue(struct call *c, uint64_t venue)
{
    struct tickets *t = c->state;
    t->q = (struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = venue };
    t->flags = MINTD_Q_NEWEST;
    if (!filter_words(c, "state", states, ARRAY_LEN(states), &t->q.states) || !filter_times(c, &t->q.from_ms, &t->q.to_ms)
        || !filter_text(c, "event", EVENT_MAX, &t->q.event) || !filter_text(c, "chain", NAME_MAX_BYTES, &t->chain)
        || !filter_text(c, "collection", NAME_MAX_BYTES, &t->collection))
        return;
    c->load = t;
    if (!t->chain.n && !t->collection.n) return list_start(c, t->kind, t);
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COLLECTION, .venue = venue, .max = KNOWN_MAX,
                                         .names = { &t->collection, t->collection.n ? 1 : 0, sizeof t->collection } }, 0, on_known);
}

static void start(struct call *c, const struct list_kind *kind)
{
    struct tickets *t = arena_alloc(c->mem, sizeof *t);
    if (!t) return call_memory(c);
    t->kind = kind;
    c->state = t;
    filter_venue(c, on_venue);
}

void ticket_list(struct call *c) { start(c, &tickets_kind); }
void mint_list(struct call *c) { start(c, &mints_kind); }

/* ---- GET /v1/batches/{id}/tickets */

static void on_request(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_request *q = res->rows.p;
    struct tickets *t = arena_alloc(c->mem, sizeof *t);
    if (!t) return call_memory(c);
    if (!res->rows.n || q->state != MINTD_RQ_SEALED) {
        call_problem(c, &(struct problem){ .status = 404, .code = "batch.unknown" }, "there is no batch " STR_FMT, STR_ARG(c->param[0]));
        return;
    }
    if (!call_venue_is(c, q->venue)) return;
    t->q = (struct mintd_query){ .kind = MINTD_DB_ITEM, .request = q->id };
    if (filter_words(c, "state", states, ARRAY_LEN(states), &t->states)) list_start(c, &tickets_kind, t);
}

void batch_tickets(struct call *c)
{
    uint64_t id = 0;
    if (batch_id(c, c->param[0], &id)) return;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = VEC(&id, 1) }, 0, on_request);
}
