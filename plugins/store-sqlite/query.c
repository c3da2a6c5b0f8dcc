/* The op query: a read transaction, a page of ids, a row for each; kinds without ids are in list.c. A cursor is the last id shown, or
 * the place in the caller's list. Any worker, on its own connection. */
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

/* ---- cursors */
int cursor_numbers(struct call *c, struct mintd_str s, int64_t *a, int64_t *b)
{
    char text[64];
    if (!s.n) return 0;
    if (s.n >= sizeof text) return bad(c, "this is no cursor of this store");
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    char *end;
    errno = 0;
    *a = strtoll(text, &end, 10);
    if (b && *end == '.') *b = strtoll(end + 1, &end, 10);
    if (errno || *end || end == text) return bad(c, "this is no cursor of this store");
    return 0;
}

bool full(const struct call *c, const struct asked *a) { return a->rows.n >= a->max || c->bytes >= ANSWER_MAX; }

/* ---- one row of each kind by its id */
static int get_venue(struct call *c, int64_t id, struct mintd_db_venue *ret)
{
    struct q q = q_open(c->db, SQL_GET_VENUE);
    q_int(&q, id);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    ret->id = q_u64(&q, 0);
    r = call_copy(c, &q, 1, &ret->name);
    q_end(&q);
    return r;
}

static int get_collection(struct call *c, int64_t id, struct mintd_db_collection *ret)
{
    struct q q = q_open(c->db, SQL_GET_COLLECTION);
    q_int(&q, id);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    *ret = (struct mintd_db_collection){ .id = q_u64(&q, 0), .venue = q_u64(&q, 1), .parent = q_u64(&q, 2), .max_supply = q_u64(&q, 3),
        .accepted = q_u64(&q, 4), .state = q_u32(&q, 5) };
    struct mintd_str *to[] = { &ret->pipeline, &ret->name, &ret->spec, &ret->network, &ret->chain_ref, &ret->park_reason };
    r = 0;
    for (int i = 0; !r && i < (int)LEN(to); i++) r = call_copy(c, &q, 6 + i, to[i]);
    q_end(&q);
    return r;
}

static int get_request(struct call *c, int64_t id, struct mintd_db_request *ret)
{
    struct q q = q_open(c->db, SQL_GET_REQUEST);
    q_int(&q, id);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    *ret = (struct mintd_db_request){ .id = q_u64(&q, 0), .venue = q_u64(&q, 1), .n_items = q_u64(&q, 2), .state = q_u32(&q, 6),
        .not_before = q_i64(&q, 7), .cancel_at = q_i64(&q, 8), .created_at = q_i64(&q, 9), .sealed_at = q_i64(&q, 10),
        .finished_at = q_i64(&q, 11) };
    r = call_copy(c, &q, 3, &ret->idem_key);
    if (!r) r = call_copy(c, &q, 4, &ret->body_hash);
    if (!r) r = call_copy(c, &q, 5, &ret->options);
    q_end(&q);
    return r;
}

static int get_chunk(struct call *c, const struct asked *a, int64_t id, struct mintd_db_chunk *ret)
{
    int r = load_chunk(c, id, ret);
    if (r || !(a->flags & 1)) return r;
    return load_inside(c, ret);
}

/* -ENOENT: there is none by this id, which is no mistake. */
static int add_row(struct call *c, struct asked *a, int64_t id, struct mintd_db_chunk *near)
{
    void *row = rows_add(c, &a->rows);
    int r = row ? 0 : -ENOMEM;
    switch (row ? a->q->kind : 0) {
    case MINTD_DB_VENUE:      r = get_venue(c, id, row); break;
    case MINTD_DB_COLLECTION: r = get_collection(c, id, row); break;
    case MINTD_DB_REQUEST:    r = get_request(c, id, row); break;
    case MINTD_DB_ITEM:       r = load_item(c, id, near, row); break;
    case MINTD_DB_CHUNK:      r = get_chunk(c, a, id, row); break;
    case MINTD_DB_KEY:        r = get_key(c, id, row); break;
    }
    if (r == -ENOENT) a->rows.n--;
    return r;
}

/* ---- a page of ids */
struct ids { int64_t *p; uint32_t n, max; };

static int take_ids(struct q *q, struct ids *ids)
{
    int r;
    while ((r = q_row(q)) == 1) {
        if (ids->n < ids->max) ids->p[ids->n++] = q_i64(q, 0);
        else { q_end(q); return 0; }
    }
    return r;
}

static int list_items(struct call *c, const struct mintd_query *q, int64_t after, struct ids *ids)
{
    if (q->request >= REQUESTS_END) return 0;
    struct q s = q_open(c->db, SQL_LIST_ITEMS);
    q_int(&s, after);
    q_int(&s, ids->max);
    q_int(&s, first_item(q->request));
    q_int(&s, first_item(q->request + 1));
    return take_ids(&s, ids);
}

static int list_chunks(struct call *c, const struct mintd_query *q, int64_t after, struct ids *ids)
{
    int64_t states = q->states ? (int64_t)(q->states & INT64_MAX) : INT64_MAX;
    if (q->slot) {
        struct q s = q_open(c->db, SQL_LIST_CHUNKS_SLOT);
        q_int(&s, after);
        q_int(&s, ids->max);
        q_int(&s, q->slot);
        q_int(&s, states);
        return take_ids(&s, ids);
    }
    if (q->request >= REQUESTS_END) return 0;
    struct q s = q_open(c->db, SQL_LIST_CHUNKS_HOME);
    q_int(&s, after);
    q_int(&s, ids->max);
    q_int(&s, first_item(q->request));
    q_int(&s, first_item(q->request + 1));
    q_int(&s, states);
    int r = take_ids(&s, ids);
    if (r || ids->n == ids->max) return r;
    s = q_open(c->db, SQL_LIST_CHUNKS_LATER);
    q_int(&s, after);
    q_int(&s, ids->max - ids->n);
    q_int(&s, (int64_t)q->request);
    q_int(&s, states);
    return take_ids(&s, ids);
}

/* The creations of a collection, each behind the dead one before it. */
static int list_creations(struct call *c, const struct mintd_query *q, int64_t after, struct ids *ids)
{
    struct q s = q_open(c->db, SQL_CHUNK_CREATION);
    q_int(&s, (int64_t)q->collection);
    int r = q_row(&s);
    while (r == 1) {
        int64_t id = q_i64(&s, 0);
        q_end(&s);
        if (id > after) ids->p[ids->n++] = id;
        if (ids->n == ids->max) return 0;
        s = q_open(c->db, SQL_CHUNK_FOLLOW);
        q_int(&s, id);
        q_int(&s, MINTD_COLLECTION);
        r = q_row(&s);
    }
    return r;
}

static int list_requests(struct call *c, const struct mintd_query *q, int64_t before, struct ids *ids)
{
    bool timed = q->from_ms || q->to_ms;
    struct q s = q_open(c->db, timed ? SQL_LIST_REQUESTS_TIME : q->venue ? SQL_LIST_REQUESTS_VENUE : SQL_LIST_REQUESTS);
    q_int(&s, before ? before : INT64_MAX);
    q_int(&s, ids->max);
    if (q->venue || timed) q_int(&s, (int64_t)q->venue);
    if (timed) q_int(&s, q->from_ms);
    if (timed) q_int(&s, q->to_ms ? q->to_ms : INT64_MAX);
    return take_ids(&s, ids);
}

static int list_ids(struct call *c, const struct mintd_query *q, int64_t after, struct ids *ids)
{
    switch (q->kind) {
    case MINTD_DB_ITEM:    return q->request ? list_items(c, q, after, ids) : bad(c, "a query of items names a request, ids or tickets");
    case MINTD_DB_CHUNK:
        if (q->request || q->slot) return list_chunks(c, q, after, ids);
        return q->collection ? list_creations(c, q, after, ids) : bad(c, "a query of chunks names a request, a slot, a collection or ids");
    case MINTD_DB_REQUEST: return list_requests(c, q, after, ids);
    default: break;
    }
    bool collections = q->kind == MINTD_DB_COLLECTION;
    struct q s = q_open(c->db, collections ? SQL_LIST_COLLECTIONS : q->kind == MINTD_DB_KEY ? SQL_LIST_KEYS : SQL_LIST_VENUES);
    q_int(&s, after);
    q_int(&s, ids->max);
    if (collections) q_int(&s, (int64_t)q->venue);
    return take_ids(&s, ids);
}

/* Ids that a name stands for: several venues may have the same ticket or collection. */
static int ids_of_name(struct call *c, const struct mintd_query *q, struct mintd_str name, struct ids *ids)
{
    static const enum sql by_name[] = { [MINTD_DB_VENUE] = SQL_VENUE_FIND, [MINTD_DB_COLLECTION] = SQL_LIST_COLLECTIONS_NAMED,
        [MINTD_DB_REQUEST] = SQL_LIST_REQUESTS_KEY, [MINTD_DB_ITEM] = SQL_LIST_ITEMS_TICKET, [MINTD_DB_KEY] = SQL_KEY_FIND };
    struct q s = q_open(c->db, by_name[q->kind]);
    if (q->kind == MINTD_DB_REQUEST) q_int(&s, (int64_t)q->venue);
    q_text(&s, name);
    if (q->kind == MINTD_DB_COLLECTION || q->kind == MINTD_DB_ITEM) q_int(&s, (int64_t)q->venue);
    return take_ids(&s, ids);
}

/* ---- the three ways to select */
static int by_names(struct call *c, struct asked *a, int64_t from)
{
    struct mintd_db_chunk near = { 0 };
    struct { struct mintd_str s; } name;
    int64_t found[64];
    int r = 0;
    if (a->q->kind == MINTD_DB_CHUNK) return bad(c, "chunks have no names");
    if (a->q->kind == MINTD_DB_REQUEST && !a->q->venue) return bad(c, "an idempotency key is looked up in a venue");
    for (uint32_t i = (uint32_t)from; !r && i < a->q->names.n; i++) {
        if (full(c, a)) { a->next = call_text(c, "%u", i); break; }
        mintd_row(a->q->names, i, &name, sizeof name);
        struct ids ids = { found, 0, LEN(found) };
        r = ids_of_name(c, a->q, name.s, &ids);
        for (uint32_t k = 0; !r && k < ids.n; k++) {
            r = add_row(c, a, ids.p[k], &near);
            if (r == -ENOENT) r = 0;
        }
    }
    return r;
}

static int by_ids(struct call *c, struct asked *a, int64_t from)
{
    struct mintd_db_chunk near = { 0 };
    int r = 0;
    for (uint32_t i = (uint32_t)from; !r && i < a->q->ids.n; i++) {
        if (full(c, a)) { a->next = call_text(c, "%u", i); break; }
        uint64_t id;
        mintd_row(a->q->ids, i, &id, sizeof id);
        r = id > INT64_MAX ? 0 : add_row(c, a, (int64_t)id, &near);
        if (r == -ENOENT) r = 0;
    }
    return r;
}

static int by_list(struct call *c, struct asked *a, int64_t after)
{
    struct mintd_db_chunk near = { 0 };
    struct ids ids = { call_alloc(c, (a->max + 1) * sizeof(int64_t)), 0, a->max + 1 };
    if (!ids.p) return -ENOMEM;
    int r = list_ids(c, a->q, after, &ids);
    for (uint32_t i = 0; !r && i < ids.n; i++) {
        if (full(c, a)) { a->next = call_text(c, "%lld", (long long)ids.p[i - 1]); break; }
        r = add_row(c, a, ids.p[i], &near);
        if (r == -ENOENT) r = 0;
    }
    return r;
}

static uint32_t stride_of(uint32_t kind)
{
    static const uint32_t sizes[] = {
        [MINTD_DB_VENUE] = sizeof(struct mintd_db_venue), [MINTD_DB_COLLECTION] = sizeof(struct mintd_db_collection),
        [MINTD_DB_REQUEST] = sizeof(struct mintd_db_request), [MINTD_DB_ITEM] = sizeof(struct mintd_db_item),
        [MINTD_DB_CHUNK] = sizeof(struct mintd_db_chunk), [MINTD_DB_ATTEMPT] = sizeof(struct mintd_db_attempt),
        [MINTD_DB_PROOF] = sizeof(struct mintd_db_proof), [MINTD_DB_EVENT] = sizeof(struct mintd_db_event),
        [MINTD_DB_SPEND] = sizeof(struct mintd_db_spend), [MINTD_DB_LEASE] = sizeof(struct mintd_db_lease),
        [MINTD_DB_META] = sizeof(struct mintd_db_meta), [MINTD_DB_LANE] = sizeof(struct mintd_db_lane),
        [MINTD_DB_COUNT] = sizeof(struct mintd_db_count), [MINTD_DB_KEY] = sizeof(struct mintd_db_key),
        [MINTD_DB_REPORT] = sizeof(struct mintd_db_report),
    };
    return kind < LEN(sizes) ? sizes[kind] : 0;
}

static int select_rows(struct call *c, struct asked *a)
{
    a->rows.stride = stride_of(a->q->kind);
    if (!a->rows.stride || a->q->kind == MINTD_DB_MEMBER) return bad(c, "this kind can not be asked for");
    if (a->q->kind > MINTD_DB_CHUNK && a->q->kind != MINTD_DB_KEY) return list_direct(c, a);
    if (a->q->kind == MINTD_DB_ITEM && a->flags & (MINTD_Q_NEWEST | MINTD_Q_MINTED)) return list_newest(c, a);
    int64_t after = 0;
    int r = cursor_numbers(c, a->q->cursor, &after, NULL);
    if (!r && (after < 0 || ((a->q->ids.n || a->q->names.n) && after > UINT32_MAX))) r = bad(c, "this is no cursor of this store");
    return r ? r : a->q->ids.n ? by_ids(c, a, after) : a->q->names.n ? by_names(c, a, after) : by_list(c, a, after);
}

void op_query(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct call c;
    struct mintd_query query = { 0 };
    if (!call_begin(&c, self, op, false, false)) return;
    call_arg(req, &query, sizeof query);
    struct asked a = { .q = &query, .flags = req->flags, .max = query.max ? query.max : ROWS_DEFAULT };
    if (a.max > ROWS_MAX) a.max = ROWS_MAX;
    struct q q = q_open(c.db, SQL_BEGIN_READ);
    int r = q_run(&q);
    if (!r) r = select_rows(&c, &a);
    db_rollback(&c);
    if (r) fail(&c, r);
    else answer(&c, rows_vec(&a.rows), a.next);
}
