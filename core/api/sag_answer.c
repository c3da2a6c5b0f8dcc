/* The document of a SAG whose items are all settled: reads its items by their ids, its collection with the creation's transaction, and the
 * chunks of the batches that have them. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include "api/sag.h"

enum { BATCHES_MAX = 100, BLOCK = 1000 };

struct page { struct page *next; const struct mintd_res *res; };
struct pages { struct page *first, **last; };
struct view {
    uint64_t venue, asked;                     /* asked: items whose ids were sent */
    struct mintd_str *ids;                     /* of all items, in order */
    struct pages items, chunks;
    uint64_t batches[BATCHES_MAX]; uint32_t n_batches, at;
    struct mintd_str collection, reference, transaction;
    uint64_t minted, failed;
};

static bool add_page(struct call *c, struct pages *to, const struct mintd_res *res)
{
    struct page *p = arena_alloc(c->mem, sizeof *p);
    if (!p) return call_memory(c), false;
    *p = (struct page){ NULL, res };
    *to->last = p;
    to->last = &p->next;
    return true;
}

/* ---- walking */

struct at { const struct page *page; uint32_t i; };

static const struct mintd_db_item *next_item(const struct view *v, struct at *at)
{
    if (!at->page && !at->i) at->page = v->items.first;
    while (at->page && at->i == at->page->res->rows.n) *at = (struct at){ at->page->next, at->page->next ? 0 : 1 };
    return at->page ? (const struct mintd_db_item *)at->page->res->rows.p + at->i++ : NULL;
}

/* The transaction that was planned for an item is the chunk it was laid out in; -1 when it is not among those read. Counts from 1. */
static uint32_t planned(const struct view *v, uint64_t item, uint32_t *ret_all)
{
    uint32_t n = 0, place = 0;
    for (const struct page *p = v->chunks.first; p; p = p->next) {
        const struct mintd_db_chunk *c = p->res->rows.p;
        for (uint32_t i = 0; i < p->res->rows.n; i++) {
            if (c[i].kind != MINTD_MINT || c[i].origin) continue;
            n++;
            if (item >= c[i].id && item < c[i].id + c[i].n) place = n;
        }
    }
    if (ret_all) *ret_all = n;
    return place;
}

static const struct mintd_db_chunk *chunk_of(const struct view *v, uint64_t id)
{
    for (const struct page *p = v->chunks.first; p; p = p->next) {
        const struct mintd_db_chunk *c = p->res->rows.p;
        for (uint32_t i = 0; i < p->res->rows.n; i++)
            if (c[i].id == id) return &c[i];
    }
    return NULL;
}

/* ---- the document */

static void put_nullable(struct buf *b, const char *name, struct mintd_str s)
{
    buf_printf(b, "\"%s\":", name);
    if (s.n) buf_json(b, s);
    else buf_puts(b, "null");
}

static void put_sag(struct buf *b, const struct sag *s, const struct view *v)
{
    buf_puts(b, "{\"sagName\":");
    buf_json(b, s->name);
    json_str(b, "venueId", s->venue);
    json_str(b, "collection", v->collection);
    buf_printf(b, ",\"mintShare\":%" PRIu64 ",\"properties\":" STR_FMT ",\"batchId\":\"%" PRIu64 "\",\"batches\":[", s->share,
               STR_ARG(s->properties), v->n_batches ? v->batches[0] : 0);
    for (uint32_t i = 0; i < v->n_batches; i++) buf_printf(b, "%s\"%" PRIu64 "\"", i ? "," : "", v->batches[i]);
    buf_puts(b, "]}");
}

/* Numbers where the chain counts, else the assets' own names; both in item order. */
static void put_assets(struct buf *b, const struct view *v, bool serials)
{
    const struct mintd_db_item *it;
    const char *comma = "";
    uint64_t serial = 0;
    for (struct at at = { NULL, 0 }; (it = next_item(v, &at)) != NULL;) {
        if (it->state != MINTD_ST_DONE || !it->asset.n || !str_u64(it->asset, &serial) != serials) continue;
        buf_puts(b, comma);
        if (serials) buf_printf(b, "%" PRIu64, serial);
        else buf_json(b, it->asset);
        comma = ",";
    }
}

static struct mintd_str reason(const struct view *v, const struct mintd_db_item *it)
{
    const struct mintd_db_chunk *chunk = chunk_of(v, it->chunk);
    if (chunk && chunk->msg.n) return chunk->msg;
    return it->slug.n ? it->slug : str_of(state_name(it->state));
}

static void put_failure(struct buf *b, const struct view *v, const struct mintd_db_item *it, uint64_t place)
{
    buf_printf(b, "{\"item\":%" PRIu64 ",\"ticketId\":", place);
    buf_json(b, it->ticket);
    buf_printf(b, ",\"state\":\"%s\",\"error\":", state_name(it->state));
    buf_json(b, reason(v, it));
    json_str(b, "code", it->slug);
    buf_puts(b, "}");
}

/* One entry for each planned transaction that lost items; the items of one stand side by side. */
static void put_errors(struct buf *b, const struct view *v)
{
    const struct mintd_db_item *it;
    uint32_t open = 0;
    uint64_t place = 0;
    buf_puts(b, "[");
    for (struct at at = { NULL, 0 }; (it = next_item(v, &at)) != NULL;) {
        place++;
        if (it->state == MINTD_ST_DONE) continue;
        uint32_t batch = planned(v, it->id, NULL);
        if (batch == open && open) buf_puts(b, ",");
        else {
            buf_printf(b, "%s{\"batch\":%u,\"error\":", open ? "]}," : "", batch);
            buf_json(b, reason(v, it));
            json_str(b, "code", it->slug);
            buf_puts(b, ",\"items\":[");
        }
        open = batch ? batch : 1;
        put_failure(b, v, it, place);
    }
    buf_puts(b, open ? "]}]" : "]");
}

static void put_summary(struct buf *b, const struct view *v, uint32_t batches)
{
    uint64_t all = v->minted + v->failed;
    if (!v->failed) buf_printf(b, "\"Successfully minted %" PRIu64 " NFTs using %u batches\"", all, batches);
    else
        buf_printf(b, "\"Minted %" PRIu64 " of %" PRIu64 " NFTs using %u batches, %" PRIu64 " failed\"", v->minted, all, batches,
                   v->failed);
}

static void put_minting(struct buf *b, const struct view *v)
{
    uint32_t batches = 0;
    planned(v, 0, &batches);
    buf_printf(b, "{\"totalProcessed\":%" PRIu64 ",\"totalFailed\":%" PRIu64 ",\"batches\":%u,\"serialNumbers\":[", v->minted + v->failed,
               v->failed,
               batches);
    put_assets(b, v, true);
    buf_puts(b, "],\"summary\":");
    put_summary(b, v, batches);
    buf_puts(b, ",\"assets\":[");
    put_assets(b, v, false);
    buf_puts(b, "],\"errors\":");
    put_errors(b, v);
    buf_puts(b, "}");
}

static void put_all(struct call *c, const struct view *v)
{
    const struct sag *s = c->state;
    char where[48];
    struct buf b = { 0 };
    buf_printf(&b, "{\"success\":%s,\"message\":\"%s\",\"data\":{\"sag\":[", v->minted ? "true" : "false",
               v->minted ? "SAG created successfully" : "SAG created, but none of its items was minted");
    put_sag(&b, s, v);
    buf_puts(&b, "],\"token\":{");
    put_nullable(&b, "tokenId", v->reference);
    buf_puts(&b, ",");
    put_nullable(&b, "transactionId", v->transaction);
    buf_puts(&b, "},\"minting\":");
    put_minting(&b, v);
    buf_puts(&b, "}}\n");
    snprintf(where, sizeof where, "/v1/batches/%" PRIu64, v->n_batches ? v->batches[0] : 0);
    const struct http_header headers[] = { { "Location", where }, { "Idempotency-Replayed", s->reply.replayed ? "true" : NULL },
                                           { "Preference-Applied", s->preference[0] ? s->preference : NULL }, { NULL, NULL } };
    call_json(c, 200, &b, headers);
}

/* ---- the reads, in order */

static void lost(struct call *c)
{
    call_problem(c, &(struct problem){ .status = 500, .code = "store.lost" }, "the store does not show the accepted items");
}

static void query_chunks(struct call *c, struct mintd_str cursor);

static void on_chunks(struct call *c, const struct mintd_res *res)
{
    struct view *v = c->load;
    if (!add_page(c, &v->chunks, res)) return;
    if (res->next.n) return query_chunks(c, res->next);
    if (++v->at < v->n_batches) query_chunks(c, (struct mintd_str){ NULL, 0 });
    else put_all(c, v);
}

static void query_chunks(struct call *c, struct mintd_str cursor)
{
    const struct view *v = c->load;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = v->batches[v->at], .max = 10000, .cursor = cursor }, 0,
               on_chunks);
}

static void on_attempts(struct call *c, const struct mintd_res *res)
{
    struct view *v = c->load;
    const struct mintd_db_attempt *a = res->rows.p;
    if (res->rows.n) v->transaction = a[res->rows.n - 1].tx_id;
    query_chunks(c, (struct mintd_str){ NULL, 0 });
}

static void on_creations(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_chunk *chunk = res->rows.p;
    if (!res->rows.n) query_chunks(c, (struct mintd_str){ NULL, 0 });      /* a chain that needs none */
    else call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ATTEMPT, .ids = VEC(&chunk[res->rows.n - 1].id, 1) }, 1, on_attempts);
}

static void on_collection(struct call *c, const struct mintd_res *res)
{
    struct view *v = c->load;
    const struct mintd_db_collection *col = res->rows.p;
    if (!res->rows.n) return lost(c);
    v->collection = col->name;
    v->reference = col->chain_ref;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .collection = col->id }, 0, on_creations);
}

/* The collection is the one that the first item's chunk lies in. */
static void on_first_chunk(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_chunk *chunk = res->rows.p;
    if (res->rows.n) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COLLECTION, .ids = VEC(&chunk->collection, 1) }, 0,
                                on_collection);
    else lost(c);
}

static void add_batch(struct view *v, uint64_t request)
{
    uint32_t i = 0;
    while (i < v->n_batches && v->batches[i] != request) i++;
    if (i == v->n_batches && i < BATCHES_MAX) v->batches[v->n_batches++] = request;
}

/* false: some item is open again, as after a retry */
static bool count(struct view *v)
{
    const struct mintd_db_item *it;
    for (struct at at = { NULL, 0 }; (it = next_item(v, &at)) != NULL;) {
        if (it->state < MINTD_ST_DONE) return false;
        *(it->state == MINTD_ST_DONE ? &v->minted : &v->failed) += 1;
        add_batch(v, it->id >> 24);
    }
    return true;
}

static void all_items(struct call *c)
{
    struct sag *s = c->state;
    struct view *v = c->load;
    struct at at = { NULL, 0 };
    const struct mintd_db_item *first = next_item(v, &at);
    if (!first) lost(c);
    else if (!count(v)) batch_accepted(c, &s->reply, "running");
    else call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .ids = VEC(&first->chunk, 1) }, 0, on_first_chunk);
}

static void query_items(struct call *c, struct mintd_str cursor);

static void on_items(struct call *c, const struct mintd_res *res)
{
    struct sag *s = c->state;
    struct view *v = c->load;
    if (!add_page(c, &v->items, res)) return;
    if (res->next.n) return query_items(c, res->next);
    v->asked += BLOCK;
    if (v->asked < s->share) query_items(c, (struct mintd_str){ NULL, 0 });
    else all_items(c);
}

static void query_items(struct call *c, struct mintd_str cursor)
{
    const struct sag *s = c->state;
    const struct view *v = c->load;
    uint64_t n = s->share - v->asked < BLOCK ? s->share - v->asked : BLOCK;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = v->venue, .names = VEC(v->ids + v->asked, n), .max = BLOCK,
               .cursor = cursor },
               0, on_items);
}

static bool make_ids(struct call *c, const struct sag *s, struct view *v)
{
    char id[SAG_ID];
    v->ids = arena_array(c->mem, s->share, sizeof *v->ids);
    for (uint64_t i = 0; v->ids && i < s->share; i++) {
        v->ids[i] = arena_str(c->mem, sag_ticket(s, i + 1, id));
        if (!v->ids[i].n) return false;
    }
    return v->ids;
}

static void on_venue(struct call *c, const struct mintd_res *res)
{
    struct view *v = c->load;
    if (!res->rows.n) return lost(c);
    v->venue = ((const struct mintd_db_venue *)res->rows.p)->id;
    query_items(c, (struct mintd_str){ NULL, 0 });
}

void sag_answer(struct call *c)
{
    struct sag *s = c->state;
    struct view *v = arena_alloc(c->mem, sizeof *v);
    if (!v || !make_ids(c, s, v)) return call_memory(c);
    v->items.last = &v->items.first;
    v->chunks.last = &v->chunks.first;
    c->load = v;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .names = VEC(&s->venue, 1) }, 0, on_venue);
}
