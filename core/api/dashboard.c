/* The dashboard and the figures of venues. They come from the store's counters, in O(1) however many rows there are, and mean the same
 * everywhere: total = pending + failed + successful; pending is what is not settled (quarantined included), failed what ended without
 * a mint (failed or cancelled). Loop thread. */
#include <inttypes.h>
#include "api/admin.h"
#include "api/list.h"
#include "base/amount.h"

enum { RECENT = 10 };

struct figures { uint64_t total, pending, failed, successful, mint_ms; };

static struct figures figures_of(const struct mintd_res *counts)
{
    struct mintd_db_count n = { 0 };
    if (counts->rows.n) n = *(const struct mintd_db_count *)counts->rows.p;          /* the first row is that of mints */
    struct figures f = { .pending = n.open + n.quarantined, .failed = n.failed + n.cancelled, .successful = n.done, .mint_ms = n.mint_ms };
    f.total = f.pending + f.failed + f.successful;
    return f;
}

/* ---- GET /admin/dashboard */

struct recent { const struct mintd_res *counts, *items, *chunks; };

static int64_t minted_at(const struct mintd_res *chunks, uint64_t id)
{
    const struct mintd_db_chunk *c = chunks->rows.p;
    for (uint32_t i = 0; i < chunks->rows.n; i++)
        if (c[i].id == id) return c[i].minted_at;
    return 0;
}

static struct mintd_str venue_name(const struct mintd_res *venues, uint64_t id)
{
    const struct mintd_db_venue *v = venues->rows.p;
    for (uint32_t i = 0; i < venues->rows.n; i++)
        if (v[i].id == id) return v[i].name;
    return (struct mintd_str){ NULL, 0 };
}

static void put_mint(struct buf *b, const struct recent *r, const struct mintd_res *venues, const struct mintd_db_item *it)
{
    uint64_t serial = 0;
    buf_puts(b, "{\"ticketId\":");
    buf_json(b, it->ticket);
    json_str(b, "venueId", venue_name(venues, it->venue));
    buf_printf(b, ",\"state\":\"%s\",\"batchId\":\"%" PRIu64 "\"", state_name(it->state), it->id >> 24);
    json_str(b, "signature", it->tx_id);
    json_str(b, "metadataUri", it->uri);
    json_str(b, "asset", it->asset);
    if (it->asset.n && !str_u64(it->asset, &serial)) buf_printf(b, ",\"serial\":%" PRIu64, serial);
    json_time(b, "mintedAt", minted_at(r->chunks, it->chunk));
    buf_puts(b, "}");
}

static void answer(struct call *c, const struct mintd_res *venues)
{
    const struct recent *r = c->load;
    const struct mintd_db_item *it = r->items->rows.p;
    struct figures f = figures_of(r->counts);
    struct buf b = { 0 };
    buf_printf(&b, "{\"totalMints\":%" PRIu64 ",\"pendingMints\":%" PRIu64 ",\"failedMints\":%" PRIu64 ",\"recentMints\":[", f.total,
               f.pending,
               f.failed);
    for (uint32_t i = 0; i < r->items->rows.n; i++) {
        if (i) buf_puts(&b, ",");
        put_mint(&b, r, venues, &it[i]);
    }
    buf_printf(&b, "],\"successfulMints\":%" PRIu64 "}\n", f.successful);
    call_json(c, 200, &b, NULL);
}

static void on_chunks(struct call *c, const struct mintd_res *res)
{
    struct recent *r = c->load;
    const struct mintd_db_item *it = r->items->rows.p;
    uint64_t venues[RECENT];
    r->chunks = res;
    for (uint32_t i = 0; i < r->items->rows.n; i++) venues[i] = it[i].venue;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(venues, r->items->rows.n) }, 0, answer);
}

static void on_recent(struct call *c, const struct mintd_res *res)
{
    struct recent *r = c->load;
    const struct mintd_db_item *it = res->rows.p;
    uint64_t chunks[RECENT];
    uint32_t n = res->rows.n < RECENT ? res->rows.n : RECENT;
    r->items = res;
    for (uint32_t i = 0; i < n; i++) chunks[i] = it[i].chunk;
    if (n) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .ids = VEC(chunks, n) }, 0, on_chunks);
    else answer(c, res);
}

static void on_counts(struct call *c, const struct mintd_res *res)
{
    ((struct recent *)c->load)->counts = res;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = call_venue(c), .max = RECENT }, MINTD_Q_MINTED, on_recent);
}

void dashboard_get(struct call *c)
{
    c->load = arena_alloc(c->mem, sizeof(struct recent));
    if (c->load) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COUNT, .venue = call_venue(c) }, 0, on_counts);
    else call_memory(c);
}

/* ---- GET /admin/stats/{venueId} */

/* Rates speak of what is settled: what is still pending is neither a success nor a failure. */
static void put_stats(struct rec *r, struct mintd_str venue, const struct figures *f)
{
    rec_str(r, "venueId", venue);
    rec_u64(r, "totalMints", f->total);
    rec_u64(r, "successfulMints", f->successful);
    rec_u64(r, "failedMints", f->failed);
    rec_ratio(r, "successRate", f->successful * 100, f->successful + f->failed, 2);
    rec_ratio(r, "avgMintTimeSeconds", f->mint_ms, f->successful * 1000, 2);
    rec_u64(r, "pendingMints", f->pending);
}

static bool is_configured(const struct conf *conf, struct mintd_str venue)
{
    for (uint32_t i = 0; i < conf->n_venues; i++)
        if (str_eq(conf->venues[i].name, venue)) return true;
    return false;
}

static void on_venue_counts(struct call *c, const struct mintd_res *res)
{
    struct figures f = figures_of(res);
    struct buf b = { 0 };
    struct rec r = { .b = &b, .format = FORMAT_JSON };
    buf_puts(&b, "{");
    put_stats(&r, c->param[0], &f);
    buf_puts(&b, "}\n");
    call_json(c, 200, &b, NULL);
}

static void on_venue(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_venue *venue = res->rows.p;
    if (res->rows.n)
        call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COUNT, .venue = venue->id }, 0, on_venue_counts);
    else if (is_configured(c->api->conf, c->param[0])) on_venue_counts(c, res);            /* no rows: all figures are 0 */
    else call_problem(c, &(struct problem){ .status = 404, .code = "venue.unknown" }, "no batch of this venue was ever accepted");
}

void venue_stats(struct call *c)
{
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .names = VEC(&c->param[0], 1) }, 0, on_venue);
}

/* ---- GET /v1/venues */

struct venues { const struct mintd_res *rows; struct figures *figures; uint32_t at; };

static void count_next(struct call *c);

static void on_counted(struct call *c, const struct mintd_res *res)
{
    struct venues *v = list_of(c)->state;
    v->figures[v->at++] = figures_of(res);
    count_next(c);
}

static void count_next(struct call *c)
{
    struct list_view *l = list_of(c);
    const struct venues *v = l->state;
    const struct mintd_db_venue *venue = v->rows->rows.p;
    if (v->at == v->rows->rows.n) list_took(l, v->at, v->rows->next);
    else call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COUNT, .venue = venue[v->at].id }, 0, on_counted);
}

static void on_venues(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct venues *v = l->state;
    *v = (struct venues){ .rows = res, .figures = arena_array(l->page, res->rows.n + 1, sizeof *v->figures) };
    if (v->figures) count_next(c);
    else call_memory(c);
}

static void load(struct list_view *l)
{
    uint64_t only = call_venue(l->c);
    call_query(l->c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(&only, only ? 1 : 0), .cursor = l->cursor, .max = l->room }, 0,
               on_venues);
}

static void row(struct list_view *l, uint32_t i, struct rec *r)
{
    static const struct figures none;
    const struct venues *v = l->state;
    if (i == UINT32_MAX) put_stats(r, (struct mintd_str){ NULL, 0 }, &none);
    else put_stats(r, ((const struct mintd_db_venue *)v->rows->rows.p)[i].name, &v->figures[i]);
}

static const struct list_kind kind = { "venues", 20, 100, load, NULL, row };

void venue_list(struct call *c)
{
    struct venues *v = arena_alloc(c->mem, sizeof *v);
    if (v) list_start(c, &kind, v);
    else call_memory(c);
}
