/* One ticket with everything that is known of it: request, chunks it was in, attempts, proofs, delivery, events. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include "api/batch.h"
#include "api/events.h"
#include "base/json.h"

enum { PLACES = 24,                            /* chunks followed back: more re-chunkings than any retry budget makes */
    ROWS = 10000 };                            /* attempts, proofs, events of them: the most that a store answers with */

struct history {
    unsigned status;
    struct mintd_str venue;
    const struct mintd_db_item *item;
    const struct mintd_db_request *request;
    const struct mintd_db_collection *collection;
    const struct mintd_db_chunk *chunk[PLACES];            /* newest first; the delivery, if any, among them */
    uint32_t n_chunks;
    uint64_t wanted[PLACES];                   /* ids of chunk, for queries */
    const struct mintd_res *attempts, *proofs;
};

static bool is_known(const struct history *h, uint64_t chunk)
{
    for (uint32_t i = 0; i < h->n_chunks; i++)
        if (h->wanted[i] == chunk) return true;
    return false;
}

/* ---- the document */

static void put_amount(struct buf *b, const char *name, uint64_t v)
{
    if (v) buf_printf(b, ",\"%s\":\"%" PRIu64 "\"", name, v);
}

static const char *kind_name(uint32_t kind) { return kind == MINTD_TRANSFER ? "delivery" : kind == MINTD_COLLECTION ? "collection" : "mint"; }

/* text that the core or a plugin wrote as JSON goes in as it is, anything else as a string */
static void put_json(struct buf *b, const char *name, struct mintd_str text)
{
    struct json_error e;
    if (!text.n) return;
    buf_printf(b, ",\"%s\":", name);
    if (json_check(text, 0, &e)) buf_json(b, text);
    else buf_str(b, text);
}

/* What became of an attempt. Only a proof says that it is dead; one that is neither may still land. */
static const char *outcome(const struct history *h, const struct mintd_db_chunk *c, const struct mintd_db_attempt *a)
{
    const struct mintd_db_proof *p = h->proofs->rows.p;
    for (uint32_t i = 0; i < h->proofs->rows.n; i++)
        if (p[i].chunk == c->id && p[i].no == a->no) return "dead";
    if (c->state == MINTD_ST_DONE) return "final";
    return c->state == MINTD_ST_QUARANTINE ? "unproven" : c->state == MINTD_ST_LANDED ? "landed" : "open";
}

static void put_attempt(struct buf *b, const struct history *h, const struct mintd_db_chunk *c, const struct mintd_db_attempt *a)
{
    buf_printf(b, "{\"number\":%u,\"outcome\":\"%s\"", a->no, outcome(h, c, a));
    json_str(b, "transactionId", a->tx_id);
    json_str(b, "network", a->network);
    if (a->bound != UINT64_MAX) put_amount(b, "validUntil", a->bound);
    put_amount(b, "feeCap", a->fee_cap);
    json_str(b, "assets", a->assets);
    buf_printf(b, ",\"slot\":%u", a->slot);
    json_time(b, "createdAt", a->created_at);
    buf_puts(b, "}");
}

static void put_proof(struct buf *b, const struct mintd_db_proof *p)
{
    static const char *const kinds[] = { "unknown", "expired", "executed_with_error", "refused", "operators" };
    buf_printf(b, "{\"attempt\":%u,\"kind\":\"%s\"", p->no, kinds[p->kind < ARRAY_LEN(kinds) ? p->kind : 0]);
    put_amount(b, "watermark", p->watermark);
    put_amount(b, "absentAt", p->absent_at);
    buf_printf(b, ",\"effectAbsent\":%s,\"quorum\":%u", p->effect_absent ? "true" : "false", p->quorum);
    json_str(b, "endpoints", p->endpoints);
    json_str(b, "error", p->error);
    put_json(b, "facts", p->facts);
    json_time(b, "createdAt", p->created_at);
    buf_puts(b, "}");
}

static void put_attempts(struct buf *b, const struct history *h, const struct mintd_db_chunk *c)
{
    const struct mintd_db_attempt *a = h->attempts->rows.p;
    const char *comma = "";
    buf_puts(b, ",\"attempts\":[");
    for (uint32_t i = 0; i < h->attempts->rows.n; i++) {
        if (a[i].chunk != c->id) continue;
        buf_puts(b, comma);
        put_attempt(b, h, c, &a[i]);
        comma = ",";
    }
    buf_puts(b, "]");
}

static void put_proofs(struct buf *b, const struct history *h, uint64_t chunk)
{
    const struct mintd_db_proof *p = h->proofs->rows.p;
    const char *comma = "";
    buf_puts(b, ",\"proofs\":[");
    for (uint32_t i = 0; i < h->proofs->rows.n; i++) {
        if (p[i].chunk != chunk) continue;
        buf_puts(b, comma);
        put_proof(b, &p[i]);
        comma = ",";
    }
    buf_puts(b, "]");
}

/* A ticket's share of what its chunk paid, in the chain's smallest unit, to two decimals where it does not come out even. */
static void put_share(struct buf *b, const struct mintd_db_chunk *c)
{
    uint64_t whole = c->n ? c->fee / c->n : 0, rest = c->n ? c->fee % c->n : 0;
    if (!c->fee || !c->n) return;
    buf_printf(b, ",\"feePerTicket\":\"%" PRIu64, whole);
    if (rest) buf_printf(b, ".%02u", (unsigned)(rest * 100 / c->n));
    buf_puts(b, "\"");
}

static void put_chunk(struct buf *b, const struct history *h, const struct mintd_db_chunk *c)
{
    buf_printf(b, "{\"chunkId\":\"%" PRIu64 "\",\"kind\":\"%s\",\"state\":\"%s\",\"tickets\":%u,\"attemptNumber\":%u", c->id,
               kind_name(c->kind), state_name(c->state), c->n, c->attempt_no);
    if (c->parent) buf_printf(b, ",\"parent\":\"%" PRIu64 "\"", c->parent);
    json_time(b, "acceptedAt", c->accepted_at);
    json_time(b, "uploadedAt", c->uploaded_at);
    json_time(b, "mintedAt", c->minted_at);
    json_time(b, "blockTime", c->block_time);
    put_amount(b, "firstSerial", c->first_serial);
    put_amount(b, "fee", c->fee);
    put_share(b, c);
    put_json(b, "upload", c->upload);
    put_json(b, "evidence", c->evidence);
    json_str(b, "code", c->slug);
    json_str(b, "error", c->msg);
    put_attempts(b, h, c);
    put_proofs(b, h, c->id);
    buf_puts(b, "}");
}

static bool concerns(const struct history *h, const struct mintd_db_event *e)
{
    if (e->subject_kind == MINTD_DB_REQUEST) return e->subject == h->request->id;
    if (e->subject_kind == MINTD_DB_ITEM) return e->subject == h->item->id;
    return e->subject_kind == MINTD_DB_CHUNK && is_known(h, e->subject);
}

static void put_events(struct buf *b, const struct history *h, const struct mintd_res *events)
{
    const struct mintd_db_event *e = events->rows.p;
    const char *comma = "";
    buf_puts(b, ",\"events\":[");
    for (uint32_t i = 0; i < events->rows.n; i++) {
        if (!concerns(h, &e[i])) continue;
        buf_printf(b, "%s{\"kind\":", comma);
        buf_json(b, e[i].kind);
        json_time(b, "at", e[i].at);
        buf_printf(b, ",\"subjectKind\":\"%s\",\"subject\":\"%" PRIu64 "\"", event_subject(e[i].subject_kind), e[i].subject);
        put_json(b, "body", e[i].body);
        buf_puts(b, "}");
        comma = ",";
    }
    buf_puts(b, "]");
}

static void put_result(struct buf *b, const struct history *h)
{
    const struct mintd_db_item *it = h->item;
    uint64_t serial = 0;
    buf_puts(b, "{\"ticketId\":");
    buf_json(b, it->ticket);
    json_str(b, "venueId", h->venue);
    buf_printf(b, ",\"state\":\"%s\"", state_name(it->state));
    json_str(b, "signature", it->tx_id);
    json_str(b, "metadataUri", it->uri);
    json_str(b, "asset", it->asset);
    if (it->asset.n && !str_u64(it->asset, &serial)) buf_printf(b, ",\"serial\":%" PRIu64, serial);
    json_str(b, "code", it->slug);
    json_str(b, "error", h->n_chunks ? h->chunk[0]->msg : it->slug);
    json_str(b, "recipient", it->recipient);
    if (it->delivery) buf_printf(b, ",\"delivery\":\"%s\"", state_name(it->delivered));
    if (h->collection) {
        buf_printf(b, ",\"collection\":{\"collectionId\":\"%" PRIu64 "\",\"name\":", h->collection->id);
        buf_json(b, h->collection->name);
        buf_printf(b, ",\"state\":\"%s\"", collection_state(h->collection));
        json_str(b, "reason", h->collection->park_reason);
        json_str(b, "pipeline", h->collection->pipeline);
        json_str(b, "network", h->collection->network);
        json_str(b, "chainRef", h->collection->chain_ref);
        buf_puts(b, "}");
    }
    put_json(b, "metadata", it->body);
    put_json(b, "extra", it->extra);
}

static void put_batch(struct buf *b, const struct history *h)
{
    const struct mintd_db_request *q = h->request;
    struct mintd_str key, value;
    size_t pos = 0;
    buf_printf(b, ",\"batch\":{\"batchId\":\"%" PRIu64 "\",\"position\":%u,\"total\":%" PRIu64, q->id, h->item->ord, q->n_items);
    while (q->options.n && json_member(q->options, &pos, &key, &value)) {
        if (!json_is(key, S("requestId"))) continue;
        buf_puts(b, ",\"requestId\":");
        buf_str(b, value);
    }
    json_time(b, "createdAt", q->created_at);
    json_time(b, "acceptedAt", q->sealed_at);
    json_time(b, "cancelledAt", q->cancel_at);
    json_time(b, "finishedAt", q->finished_at);
    buf_puts(b, "}");
}

static void on_events(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    struct buf b = { 0 };
    put_result(&b, h);
    put_batch(&b, h);
    struct pipe_view pipeline;
    if (h->collection && pipe_look_at(c->api->pipe, h->collection->pipeline, &pipeline) && pipeline.limits)
        json_str(&b, "feeUnit", pipeline.limits->unit);
    buf_puts(&b, ",\"chunks\":[");
    for (uint32_t i = 0; i < h->n_chunks; i++) {
        if (i) buf_puts(&b, ",");
        put_chunk(&b, h, h->chunk[i]);
    }
    buf_puts(&b, "]");
    put_events(&b, h, res);
    buf_puts(&b, "}\n");
    const struct http_header place[] = { { "Location", c->http ? c->http->path : "" }, { NULL, NULL } };
    call_json(c, h->status, &b, h->status == 200 ? NULL : place);
}

/* ---- the reads, in order */

static void on_proofs(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    uint64_t subjects[PLACES + 2] = { h->request->id, h->item->id };
    h->proofs = res;
    memcpy(subjects + 2, h->wanted, h->n_chunks * sizeof *subjects);
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_EVENT, .max = ROWS, .ids = VEC(subjects, h->n_chunks + 2) }, 0, on_events);
}

static void on_attempts(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    h->attempts = res;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_PROOF, .max = ROWS, .ids = VEC(h->wanted, h->n_chunks) }, 0, on_proofs);
}

static void on_collection(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    if (res->rows.n) h->collection = res->rows.p;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ATTEMPT, .max = ROWS, .ids = VEC(h->wanted, h->n_chunks) }, 1, on_attempts);
}

static void on_chunk(struct call *c, const struct mintd_res *res);
static void query_chunk(struct call *c, uint64_t id)
{
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .ids = VEC(&id, 1) }, 0, on_chunk);
}

static void chunks_known(struct call *c)
{
    const struct history *h = c->load;
    uint64_t collection = h->chunk[0]->collection;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COLLECTION, .ids = VEC(&collection, 1) }, 0, on_collection);
}

/* The chunk the item is in, then back to where it was moved from, then its delivery and that one's past. */
static void on_chunk(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    uint64_t next = 0;
    if (res->rows.n && h->n_chunks < PLACES) {
        const struct mintd_db_chunk *chunk = res->rows.p;
        h->wanted[h->n_chunks] = chunk->id;
        h->chunk[h->n_chunks++] = chunk;
        next = chunk->parent && !is_known(h, chunk->parent) ? chunk->parent : 0;
    }
    if (!next && h->item->delivery && !is_known(h, h->item->delivery) && res->rows.n) next = h->item->delivery;
    if (next && h->n_chunks < PLACES) query_chunk(c, next);
    else if (h->n_chunks) chunks_known(c);
    else call_problem(c, &(struct problem){ .status = 500, .code = "store.lost" }, "the store does not show the chunk of this ticket");
}

static void on_request(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    h->request = res->rows.p;
    if (!res->rows.n || h->request->state != MINTD_RQ_SEALED)
        call_problem(c, &(struct problem){ .status = 404, .code = "ticket.unknown" }, "there is no such ticket");
    else query_chunk(c, h->item->chunk);
}

static void follow(struct call *c, const struct mintd_db_item *item)
{
    struct history *h = c->load;
    uint64_t request = item->id >> 24;
    h->item = item;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = VEC(&request, 1) }, 0, on_request);
}

static bool begin(struct call *c)
{
    struct history *h = arena_alloc(c->mem, sizeof *h);
    c->load = h;
    if (h) h->status = 200;
    else call_memory(c);
    return h;
}

static void unknown(struct call *c)
{
    call_problem(c, &(struct problem){ .status = 404, .code = "ticket.unknown" }, "there is no such ticket");
}

/* ---- GET /v1/venues/{venue}/tickets/{id} */

static void on_item(struct call *c, const struct mintd_res *res)
{
    if (res->rows.n) follow(c, res->rows.p);
    else unknown(c);
}

static void on_venue(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    const struct mintd_db_venue *venue = res->rows.p;
    if (!res->rows.n) return unknown(c);
    h->venue = venue->name;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = venue->id, .names = VEC(&c->param[1], 1) }, 0, on_item);
}

void ticket_show(struct call *c, unsigned status)
{
    if (!begin(c)) return;
    ((struct history *)c->load)->status = status;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .names = VEC(&c->param[0], 1) }, 0, on_venue);
}

void ticket_by_venue(struct call *c) { ticket_show(c, 200); }

/* ---- GET /admin/mints/{ticketId} */

static void on_venue_of(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    if (res->rows.n) h->venue = ((const struct mintd_db_venue *)res->rows.p)->name;
    follow(c, h->item);
}

static void on_any_item(struct call *c, const struct mintd_res *res)
{
    struct history *h = c->load;
    if (!res->rows.n) return unknown(c);
    if (res->rows.n > 1) {
        call_problem(c, &(struct problem){ .status = 409, .code = "ticket.ambiguous" },
                     "%u venues have a ticket of this name: ask for /v1/venues/{venueId}/tickets/{ticketId}", res->rows.n);
        return;
    }
    h->item = res->rows.p;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(&h->item->venue, 1) }, 0, on_venue_of);
}

void ticket_by_id(struct call *c)
{
    if (begin(c))
        call_query(c, &(struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = call_venue(c), .names = VEC(&c->param[0], 1) }, 0, on_any_item);
}
