/* The answer to an accepted batch: the seed's document once every ticket is settled, 202 and a place to look before. Reads the
 * request, its chunks (for reasons and times) and its items. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/batch.h"

struct page { struct page *next; const struct mintd_res *res; };
struct pages { struct page *first, **last; };
struct settle {
    const struct batch_reply *reply;
    const struct mintd_db_request *request;    /* the one whose times count */
    struct pages chunks, items;                /* each in the order of ids: first those of the batch, then those of the known tickets */
    struct page **known;                       /* where the known ones begin in items */
    uint64_t *ids; uint32_t n_ids, at;         /* of the rows being read by their ids, a block at a time */
    int64_t minted_at;                         /* the latest */
};
enum { BLOCK = 1000 };

static void put_location(uint64_t request, char ret[48]) { snprintf(ret, 48, "/v1/batches/%" PRIu64, request); }

static void reply(struct call *c, unsigned status, const struct batch_reply *r, struct buf *b)
{
    char where[48];
    put_location(r->place, where);
    const struct http_header headers[] = { { "Location", r->place ? where : NULL }, { "Idempotency-Replayed", r->replayed ? "true" : NULL },
                                           { "Preference-Applied", *r->preference ? r->preference : NULL }, { NULL, NULL } };
    call_json(c, status, b, headers);
}

/* How many tickets earlier batches have, and which those are; nothing for a request of new tickets. */
static void put_known(struct buf *b, const struct batch_reply *r)
{
    if (!r->known) return;
    buf_printf(b, ",\"known\":%" PRIu64 ",\"batches\":[", r->known);
    for (uint32_t i = 0; i < r->n_batches; i++) buf_printf(b, "%s\"%" PRIu64 "\"", i ? "," : "", r->batches[i]);
    buf_puts(b, "]");
}

void batch_accepted(struct call *c, const struct batch_reply *r, const char *state)
{
    char where[48];
    struct buf b = { 0 };
    put_location(r->place, where);
    buf_puts(&b, "{");
    if (r->place) buf_printf(&b, "\"batchId\":\"%" PRIu64 "\",", r->place);
    buf_printf(&b, "\"state\":\"%s\",\"total\":%" PRIu64, state, r->total);
    put_known(&b, r);
    if (r->place) buf_printf(&b, ",\"links\":{\"self\":\"%s\",\"tickets\":\"%s/tickets\"}", where, where);
    buf_puts(&b, "}\n");
    reply(c, 202, r, &b);
}

bool batch_reply_of(struct call *c, const struct pipe_result *r, const char *preference, struct batch_reply *ret)
{
    bool whole = r->verdict != PIPE_KNOWN;
    *ret = (struct batch_reply){ .request = whole ? r->request : 0, .place = r->request, .total = r->n_items, .known = r->known,
        .ids = arena_copy(c->mem, r->known_ids, r->n_known_ids * sizeof(uint64_t)), .n_ids = r->n_known_ids,
        .batches = arena_copy(c->mem, r->batches, r->n_batches * sizeof(uint64_t)), .n_batches = r->n_batches,
        .replayed = r->verdict != PIPE_ACCEPTED, .preference = preference };
    bool ok = (ret->ids || !ret->n_ids) && (ret->batches || !ret->n_batches);
    if (!ok) call_memory(c);
    return ok;
}

/* ---- tickets with other content */

const char *batch_code(struct call *c, struct mintd_str code, const char *dflt)
{
    const char *s = code.n ? arena_cstr(c->mem, code) : NULL;
    return s ? s : dflt;
}

void batch_refused(struct call *c, const struct pipe_result *r, const char *what)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%" PRIu64, r->retry_ms > 1000 ? (r->retry_ms + 999) / 1000 : 1);
    const struct http_header later[] = { { "Retry-After", seconds }, { NULL, NULL } };
    if (r->verdict == PIPE_OTHER_BODY)
        call_problem(c, &(struct problem){ .status = 422, .code = "idempotency.other_body" },
                     "this Idempotency-Key was used with another body (batch %" PRIu64 ")", r->request);
    else if (r->verdict == PIPE_IN_PROGRESS)
        call_problem(c, &(struct problem){ .status = 409, .code = "idempotency.in_progress", .headers = later },
                     "a request with this Idempotency-Key or %s is being taken in; ask again later", what);
    else
        call_problem(c, &(struct problem){ .status = 503, .code = batch_code(c, r->code, "server.busy"), .headers = later },
                     STR_FMT, STR_ARG(r->msg.n ? r->msg : S("no work is accepted now")));
}

void batch_conflict(struct call *c, const struct pipe_result *r, uint64_t (*line_of)(void *, uint64_t), void *arg)
{
    struct buf errors = { 0 }, detail = { 0 };
    char members[80];
    uint64_t n = r->n_conflicts, shown = 0;
    for (; shown < n && shown < 100; shown++) {
        const struct pipe_conflict *k = &r->conflicts[shown];
        buf_printf(&errors, "%s{\"pointer\":\"/tickets/%" PRIu64 "\",\"code\":\"ticket.exists\",\"detail\":\"batch %" PRIu64
                   " has it with %s", shown ? "," : "", k->place, k->request, k->what);
        uint64_t line = line_of ? line_of(arg, k->place) : 0;
        if (line) buf_printf(&errors, " (line %" PRIu64 ")", line);
        buf_puts(&errors, "\",\"ticketId\":");
        buf_json(&errors, k->ticket);
        buf_printf(&errors, ",\"batchId\":\"%" PRIu64 "\"}", k->request);
    }
    buf_puts(&detail, "ticket ");
    buf_json(&detail, n ? r->conflicts[0].ticket : S(""));
    buf_printf(&detail, " belongs to batch %" PRIu64 " already, with other content", r->request);
    if (n > 1) buf_printf(&detail, ", and %" PRIu64 " more are known likewise", n - 1);
    buf_puts(&detail, "; nothing of this request was accepted");
    snprintf(members, sizeof members, ",\"batchId\":\"%" PRIu64 "\",\"conflicts\":%" PRIu64, r->request, n);
    if (errors.bad || detail.bad) call_memory(c);
    else call_problem(c, &(struct problem){ .status = 409, .code = "ticket.exists", .errors = buf_view(&errors), .members = members },
                      STR_FMT, STR_ARG(detail));
    buf_free(&errors);
    buf_free(&detail);
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
    const struct batch_reply *r = s->reply;
    buf_puts(&b, "{\"successful\":");
    uint64_t done = put_items(&b, s, true);
    buf_puts(&b, ",\"failed\":");
    uint64_t failed = put_items(&b, s, false), total = done + failed;
    double seconds = duration(c, s);
    buf_printf(&b, ",\"summary\":{\"total\":%" PRIu64 ",\"succeeded\":%" PRIu64 ",\"failed\":%" PRIu64
               ",\"totalDuration\":%.3f,\"avgDuration\":%.4f}", total, done, failed, seconds, total ? seconds / (double)total : 0);
    if (r->place) buf_printf(&b, ",\"batchId\":\"%" PRIu64 "\"", r->place);
    put_known(&b, r);
    buf_printf(&b, ",\"state\":\"%s\"}\n", !failed ? "completed" : done ? "partial" : "failed");
    reply(c, 200, r, &b);
}

static void finish(struct call *c, struct settle *s)
{
    if (s->reply->known == s->reply->n_ids && is_settled(s)) answer(c, s);
    else batch_accepted(c, s->reply, "running");
}

/* ---- reading, page by page */

static bool add_page(struct call *c, struct pages *to, const struct mintd_res *res)
{
    struct page *p = arena_alloc(c->mem, sizeof *p);
    if (!p) return call_memory(c), false;
    *p = (struct page){ NULL, res };
    *to->last = p;
    to->last = &p->next;
    return true;
}

static bool add_chunks(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    const struct mintd_db_chunk *chunk = res->rows.p;
    for (uint32_t i = 0; i < res->rows.n; i++)
        if (chunk[i].kind == MINTD_MINT && chunk[i].request == s->request->id && chunk[i].minted_at > s->minted_at)
            s->minted_at = chunk[i].minted_at;
    return add_page(c, &s->chunks, res);
}

/* ---- the known tickets: their items by id, then the chunks these are in */

static void query_block(struct call *c, uint32_t kind, struct mintd_str cursor, call_rows_fn *fn)
{
    const struct settle *s = c->load;
    uint32_t left = s->n_ids - s->at;
    call_query(c, &(struct mintd_query){ .kind = kind, .ids = VEC(s->ids + s->at, left < BLOCK ? left : BLOCK), .max = BLOCK,
                                         .cursor = cursor }, 0, fn);
}

static void on_known_chunks(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    if (!add_chunks(c, res)) return;
    if (!res->next.n) s->at += BLOCK;
    if (res->next.n || s->at < s->n_ids) query_block(c, MINTD_DB_CHUNK, res->next, on_known_chunks);
    else finish(c, s);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void query_known_chunks(struct call *c, struct settle *s)
{
    uint32_t n = 0, kept = 0;
    uint64_t *ids = arena_array(c->mem, s->n_ids, sizeof *ids);
    if (!ids) return call_memory(c);
    for (const struct page *p = *s->known; p; p = p->next)
        for (uint32_t i = 0; i < p->res->rows.n && n < s->n_ids; i++) ids[n++] = ((const struct mintd_db_item *)p->res->rows.p)[i].chunk;
    qsort(ids, n, sizeof *ids, by_value);
    for (uint32_t i = 0; i < n; i++) if (!kept || ids[kept - 1] != ids[i]) ids[kept++] = ids[i];
    s->ids = ids;
    s->n_ids = kept;
    s->at = 0;
    if (kept) query_block(c, MINTD_DB_CHUNK, (struct mintd_str){ NULL, 0 }, on_known_chunks);
    else finish(c, s);
}

static void on_known_items(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    if (!add_page(c, &s->items, res)) return;
    if (!res->next.n) s->at += BLOCK;
    if (res->next.n || s->at < s->n_ids) query_block(c, MINTD_DB_ITEM, res->next, on_known_items);
    else query_known_chunks(c, s);
}

static void query_known(struct call *c, struct settle *s)
{
    s->known = s->items.last;
    s->ids = arena_copy(c->mem, s->reply->ids, s->reply->n_ids * sizeof(uint64_t));
    s->n_ids = s->reply->n_ids;
    if (s->n_ids && !s->ids) return call_memory(c);
    if (s->n_ids) query_block(c, MINTD_DB_ITEM, (struct mintd_str){ NULL, 0 }, on_known_items);
    else finish(c, s);
}

/* ---- the batch: its chunks, then its items */

static void query_page(struct call *c, uint32_t kind, struct mintd_str cursor, call_rows_fn *fn)
{
    const struct settle *s = c->load;
    call_query(c, &(struct mintd_query){ .kind = kind, .request = s->reply->request, .max = 10000, .cursor = cursor }, 0, fn);
}

static void on_items(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    if (!add_page(c, &s->items, res)) return;
    if (res->next.n) query_page(c, MINTD_DB_ITEM, res->next, on_items);
    else query_known(c, s);
}

static void on_chunks(struct call *c, const struct mintd_res *res)
{
    if (!add_chunks(c, res)) return;
    if (res->next.n) query_page(c, MINTD_DB_CHUNK, res->next, on_chunks);
    else query_page(c, MINTD_DB_ITEM, (struct mintd_str){ NULL, 0 }, on_items);
}

static void on_request(struct call *c, const struct mintd_res *res)
{
    struct settle *s = c->load;
    s->request = res->rows.p;
    if (!res->rows.n) call_problem(c, &(struct problem){ .status = 500, .code = "store.lost" }, "the store does not show the accepted batch");
    else if (s->reply->request) query_page(c, MINTD_DB_CHUNK, (struct mintd_str){ NULL, 0 }, on_chunks);
    else query_known(c, s);
}

/* The times are those of the batch; of known tickets alone, those of the newest batch that has some. */
static uint64_t timed_by(const struct batch_reply *r)
{
    uint64_t newest = r->place;
    for (uint32_t i = 0; !r->place && i < r->n_batches; i++) if (r->batches[i] > newest) newest = r->batches[i];
    return newest;
}

void batch_answer(struct call *c, const struct batch_reply *r)
{
    struct settle *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    uint64_t request = timed_by(r);
    s->chunks.last = &s->chunks.first;
    s->items.last = &s->items.first;
    s->reply = r;
    c->load = s;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = VEC(&request, 1) }, 0, on_request);
}
