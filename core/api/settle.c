/* The answer to an accepted batch: the seed's document once every ticket is settled, 202 and a place to look before. Reads the
 * request, its chunks (for reasons and times) and its items. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/batch.h"

struct page { struct page *next; const struct mintd_res *res; };
struct pages { struct page *first, **last; };
struct settle {
    const struct mintd_db_request *request;
    struct pages chunks, items;                /* each in the order of ids */
    int64_t minted_at;                         /* the latest */
    bool replayed;
    const char *preference;
};

static void put_location(uint64_t request, char ret[48]) { snprintf(ret, 48, "/v1/batches/%" PRIu64, request); }

static void reply(struct call *c, unsigned status, uint64_t request, bool replayed, const char *preference, struct buf *b)
{
    char where[48];
    put_location(request, where);
    const struct http_header headers[] = { { "Location", where }, { "Idempotency-Replayed", replayed ? "true" : NULL },
                                           { "Preference-Applied", *preference ? preference : NULL }, { NULL, NULL } };
    call_json(c, status, b, headers);
}

void batch_accepted(struct call *c, uint64_t request, uint64_t n_items, const char *state, bool replayed, const char *preference)
{
    char where[48];
    struct buf b = { 0 };
    put_location(request, where);
    buf_printf(&b, "{\"batchId\":\"%" PRIu64 "\",\"state\":\"%s\",\"total\":%" PRIu64 ",\"links\":{\"self\":\"%s\",\"tickets\":\"%s/tickets\"}}\n",
               request, state, n_items, where, where);
    reply(c, 202, request, replayed, preference, &b);
}

/* ---- the document */

static void put_minted(struct buf *b, const struct mintd_db_item *it)
{
    uint64_t serial = 0;
    buf_puts(b, "{\"ticketId\":");
    buf_json(b, it->ticket);
    buf_puts(b, ",\"signature\":");
    buf_json(b, it->tx_id);
    buf_puts(b, ",\"metadataUri\":");
    buf_json(b, it->uri);
    json_str(b, "asset", it->asset);
    if (it->asset.n && !str_u64(it->asset, &serial)) buf_printf(b, ",\"serial\":%" PRIu64, serial);
    buf_puts(b, "}");
}

static int by_id(const void *id, const void *chunk)
{
    uint64_t a = *(const uint64_t *)id, b = ((const struct mintd_db_chunk *)chunk)->id;
    return a < b ? -1 : a > b;
}

static const struct mintd_db_chunk *chunk_of(const struct settle *s, uint64_t id)
{
    const struct mintd_db_chunk *found = NULL;
    for (const struct page *p = s->chunks.first; p && !found; p = p->next)
        if (p->res->rows.n) found = bsearch(&id, p->res->rows.p, p->res->rows.n, sizeof *found, by_id);
    return found;
}

static void put_failed(struct buf *b, const struct settle *s, const struct mintd_db_item *it)
{
    const struct mintd_db_chunk *chunk = chunk_of(s, it->chunk);
    struct mintd_str why = chunk && chunk->msg.n ? chunk->msg : it->slug;
    buf_puts(b, "{\"ticketId\":");
    buf_json(b, it->ticket);
    buf_puts(b, ",\"error\":");
    buf_json(b, why.n ? why : str_of(state_name(it->state)));
    json_str(b, "code", it->slug);
    buf_printf(b, ",\"state\":\"%s\"}", state_name(it->state));
}

/* Items in state MINTED (or all others) as one JSON array; returns how many. */
static uint64_t put_items(struct buf *b, const struct settle *s, bool minted)
{
    uint64_t n = 0;
    buf_puts(b, "[");
    for (const struct page *p = s->items.first; p; p = p->next) {
        const struct mintd_db_item *it = p->res->rows.p;
        for (uint32_t i = 0; i < p->res->rows.n; i++) {
            if ((it[i].state == MINTD_ST_DONE) != minted) continue;
            if (n++) buf_puts(b, ",");
            if (minted) put_minted(b, &it[i]);
            else put_failed(b, s, &it[i]);
        }
    }
    buf_puts(b, "]");
    return n;
}

/* Seconds from the request to its last mint: the same whenever it is asked. */
static double duration(const struct call *c, const struct settle *s)
{
    int64_t end = s->minted_at ? s->minted_at : s->request->finished_at;
    if (!end) end = loop_wall_us(c->api->loop) / 1000;
    int64_t ms = end - s->request->created_at;
    return (double)(ms > 0 ? ms : 1) / 1000;
}

static bool is_settled(const struct settle *s)
{
    for (const struct page *p = s->items.first; p; p = p->next)
        for (uint32_t i = 0; i < p->res->rows.n; i++)
            if (((const struct mintd_db_item *)p->res->rows.p)[i].state < MINTD_ST_DONE) return false;
    return true;
}

static void answer(struct call *c, struct settle *s)
{
    struct buf b = { 0 };
    uint64_t id = s->request->id;
    buf_puts(&b, "{\"successful\":");
    uint64_t done = put_items(&b, s, true);
    buf_puts(&b, ",\"failed\":");
    uint64_t failed = put_items(&b, s, false), total = done + failed;
    double seconds = duration(c, s);
    buf_printf(&b, ",\"summary\":{\"total\":%" PRIu64 ",\"succeeded\":%" PRIu64 ",\"failed\":%" PRIu64
               ",\"totalDuration\":%.3f,\"avgDuration\":%.4f}", total, done, failed, seconds, total ? seconds / (double)total : 0);
    buf_printf(&b, ",\"batchId\":\"%" PRIu64 "\",\"state\":\"%s\"}\n", id, !failed ? "completed" : done ? "partial" : "failed");
    reply(c, 200, id, s->replayed, s->preference, &b);
}

static void finish(struct call *c, struct settle *s)
{
    if (is_settled(s)) answer(c, s);
    else batch_accepted(c, s->request->id, s->request->n_items, "running", s->replayed, s->preference);
}

/* ---- reading, page by page */

static void query_page(struct call *c, uint32_t kind, struct mintd_str cursor, call_rows_fn *fn)
{
    const struct settle *s = c->load;
    call_query(c, &(struct mintd_query){ .kind = kind, .request = s->request->id, .max = 10000, .cursor = cursor }, 0, fn);
}

static bool add_page(struct call *c, struct pages *to, const struct mintd_res *res)
{
    struct page *p = arena_alloc(c->mem, sizeof *p);
    if (!p) return call_memory(c), false;
    *p = (struct page){ NULL, res };
    *to->last = p;
    to->last = &p->next;
    return true;
}

static void on_items(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    if (!add_page(c, &s->items, res)) return;
    if (res->next.n) query_page(c, MINTD_DB_ITEM, res->next, on_items);
    else finish(c, s);
}

static void on_chunks(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    const struct mintd_db_chunk *chunk = res->rows.p;
    for (uint32_t i = 0; i < res->rows.n; i++)
        if (chunk[i].kind == MINTD_MINT && chunk[i].minted_at > s->minted_at) s->minted_at = chunk[i].minted_at;
    if (!add_page(c, &s->chunks, res)) return;
    if (res->next.n) query_page(c, MINTD_DB_CHUNK, res->next, on_chunks);
    else query_page(c, MINTD_DB_ITEM, (struct mintd_str){ NULL, 0 }, on_items);
}

static void on_request(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    s->request = res->rows.p;
    if (res->rows.n) query_page(c, MINTD_DB_CHUNK, (struct mintd_str){ NULL, 0 }, on_chunks);
    else call_problem(c, &(struct problem){ .status = 500, .code = "store.lost" }, "the store does not show the accepted batch");
}

void batch_answer(struct call *c, uint64_t request, bool replayed, const char *preference)
{
    struct settle *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    s->chunks.last = &s->chunks.first;
    s->items.last = &s->items.first;
    s->replayed = replayed;
    s->preference = preference;
    c->load = s;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = VEC(&request, 1) }, 0, on_request);
}
