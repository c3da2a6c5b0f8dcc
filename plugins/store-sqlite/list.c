/* Queries of kinds without an id of their own: attempts, proofs, events, spend, leases, meta, lanes, counters. Any worker. */
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum { LANE_COUNT_MAX = 1000, EVENTS_LOOK_MAX = 20000 };

/* ---- attempts and proofs: of the chunks named by ids, cursor place.no */
static int read_proof(struct call *c, struct q *q, struct mintd_db_proof *ret)
{
    *ret = (struct mintd_db_proof){ .chunk = q_u64(q, 0), .no = q_u32(q, 1), .kind = q_u32(q, 2), .watermark = q_u64(q, 3),
        .absent_at = q_u64(q, 4), .effect_absent = q_u32(q, 5), .quorum = q_u32(q, 6), .created_at = q_i64(q, 13) };
    struct mintd_str *to[] = { &ret->endpoints, &ret->error, &ret->by1, &ret->by2, &ret->raw_hash, &ret->facts };
    int r = 0;
    for (int i = 0; !r && i < (int)LEN(to); i++) r = call_copy(c, q, 7 + i, to[i]);
    return r;
}

static int list_of_chunk(struct call *c, struct asked *a, uint32_t place, uint64_t chunk, int64_t after)
{
    bool attempts = a->q->kind == MINTD_DB_ATTEMPT;
    struct q q = q_open(c->db, attempts ? SQL_ATTEMPT_LIST : SQL_PROOF_LIST);
    q_int(&q, (int64_t)chunk);
    q_int(&q, after);
    if (attempts) q_int(&q, a->flags & 1);
    int r;
    while ((r = q_row(&q)) == 1) {
        if (full(c, a)) {
            a->next = call_text(c, "%u.%lld", place, (long long)q_i64(&q, 1) - 1);
            q_end(&q);
            return 0;
        }
        void *row = rows_add(c, &a->rows);
        int r2 = !row ? -ENOMEM : attempts ? load_attempt(c, &q, row) : read_proof(c, &q, row);
        if (r2) { q_end(&q); return r2; }
    }
    return r;
}

static int list_of_chunks(struct call *c, struct asked *a)
{
    int64_t place = 0, no = 0;
    int r = cursor_numbers(c, a->q->cursor, &place, &no);
    if (!r && (place < 0 || place > UINT32_MAX)) r = bad(c, "this is no cursor of this store");
    for (uint32_t i = (uint32_t)place; !r && !a->next.n && i < a->q->ids.n; i++, no = 0) {
        uint64_t id;
        mintd_row(a->q->ids, i, &id, sizeof id);
        if (id <= INT64_MAX) r = list_of_chunk(c, a, i, id, no);
    }
    return r;
}

/* ---- events: in the order of their streams, cursor slot.seq */
static int read_event(struct call *c, struct q *q, struct asked *a)
{
    struct mintd_db_event *row = rows_add(c, &a->rows);
    if (!row) return -ENOMEM;
    *row = (struct mintd_db_event){ .slot = q_u32(q, 0), .seq = q_u64(q, 1), .at = q_i64(q, 2), .venue = q_u64(q, 3),
        .subject_kind = q_u32(q, 4), .subject = q_u64(q, 5) };
    int r = call_copy(c, q, 6, &row->kind);
    if (!r) r = call_copy(c, q, 7, &row->body);
    return r ? r : call_copy(c, q, 8, &row->hash);
}

struct key { int64_t slot, seq; };
struct keys { struct key *p; uint32_t n, max; };

static int by_stream(const void *x, const void *y)
{
    const struct key *a = x, *b = y;
    if (a->slot != b->slot) return a->slot < b->slot ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

/* The first events of all subjects so far; a subject named twice counts once. */
static int gather(struct call *c, struct keys *k, uint64_t subject, uint64_t venue, struct key after)
{
    struct q q = q_open(c->db, SQL_EVENT_KEYS);
    q_int(&q, (int64_t)subject);
    q_int(&q, after.slot);
    q_int(&q, after.seq);
    q_int(&q, k->max);
    q_int(&q, (int64_t)venue);
    int r;
    while ((r = q_row(&q)) == 1) k->p[k->n++] = (struct key){ q_i64(&q, 0), q_i64(&q, 1) };
    if (k->n) qsort(k->p, k->n, sizeof *k->p, by_stream);
    uint32_t n = 0;
    for (uint32_t i = 0; i < k->n; i++) if (!n || by_stream(&k->p[n - 1], &k->p[i])) k->p[n++] = k->p[i];
    k->n = n < k->max ? n : k->max;
    return r;
}

static int list_events_of(struct call *c, struct asked *a, struct key after)
{
    uint32_t max = a->max + 1;
    struct keys k = { call_alloc(c, 2 * (size_t)max * sizeof *k.p), 0, max };
    int r = k.p ? 0 : -ENOMEM;
    for (uint32_t i = 0; !r && i < a->q->ids.n; i++) {
        uint64_t id;
        mintd_row(a->q->ids, i, &id, sizeof id);
        if (id <= INT64_MAX) r = gather(c, &k, id, a->q->venue, after);
    }
    for (uint32_t i = 0; !r && i < k.n; i++) {
        if (full(c, a)) { a->next = call_text(c, "%lld.%lld", (long long)k.p[i - 1].slot, (long long)k.p[i - 1].seq); break; }
        struct q q = q_open(c->db, SQL_EVENT_GET);
        q_int(&q, k.p[i].slot);
        q_int(&q, k.p[i].seq);
        r = q_row(&q);
        if (r != 1) return r;
        r = read_event(c, &q, a);
        q_end(&q);
    }
    return r;
}

/* ---- rows read one after another: takes what fits, `next` is made of the last one taken when there is one more */
typedef int read_fn(struct call *, struct q *, struct asked *);

static int take(struct call *c, struct asked *a, struct q *q, read_fn *read, bool *ret_more)
{
    int r;
    *ret_more = false;
    while ((r = q_row(q)) == 1) {
        *ret_more = full(c, a);
        r = *ret_more ? 0 : read(c, q, a);
        if (r || *ret_more) { q_end(q); return r; }
    }
    return r;
}

/* A page ends when it is full or, with a venue to look for, when enough was looked at; then it may be short and still have a `next`. */
static int64_t events_to_look_at(const struct asked *a) { return a->q->venue ? EVENTS_LOOK_MAX + 1 : (int64_t)a->max + 1; }

static int take_events(struct call *c, struct asked *a, struct q *q)
{
    struct key at = { 0, 0 };
    int r, looked = 0;
    while ((r = q_row(q)) == 1) {
        bool wanted = !a->q->venue || q_u64(q, 3) == a->q->venue, stop = looked++ == EVENTS_LOOK_MAX || (wanted && full(c, a));
        if (stop) a->next = call_text(c, "%lld.%lld", (long long)at.slot, (long long)at.seq);
        r = stop || !wanted ? 0 : read_event(c, q, a);
        if (stop || r) { q_end(q); return r; }
        at = (struct key){ q_i64(q, 0), q_i64(q, 1) };
    }
    return r;
}

static int list_events_request(struct call *c, struct asked *a, struct key after)
{
    if (a->q->request >= REQUESTS_END) return 0;
    struct q q = q_open(c->db, SQL_LIST_EVENTS_REQUEST);
    q_int(&q, (int64_t)a->q->request);
    q_int(&q, after.slot);
    q_int(&q, after.seq);
    q_int(&q, events_to_look_at(a));
    return take_events(c, a, &q);
}

static int list_events(struct call *c, struct asked *a)
{
    struct key after = { 0, 0 };
    int r = cursor_numbers(c, a->q->cursor, &after.slot, &after.seq);
    if (r || a->q->ids.n) return r ? r : list_events_of(c, a, after);
    if (a->q->request) return list_events_request(c, a, after);
    if (a->q->slot && after.slot && after.slot != a->q->slot) return bad(c, "this cursor is of another slot");
    struct q q = q_open(c->db, a->q->slot ? SQL_LIST_EVENTS_SLOT : SQL_LIST_EVENTS);
    q_int(&q, a->q->slot ? a->q->slot : after.slot);
    q_int(&q, after.seq);
    q_int(&q, events_to_look_at(a));
    return take_events(c, a, &q);
}

/* ---- spend: cursor window.scope, or window.place when scopes are named */
static int read_spend(struct call *c, struct q *q, struct asked *a)
{
    struct mintd_db_spend *row = rows_add(c, &a->rows);
    if (!row) return -ENOMEM;
    *row = (struct mintd_db_spend){ .window_start = q_i64(q, 1), .cap = q_u64(q, 2), .reserved = q_u64(q, 3), .spent = q_u64(q, 4) };
    return call_copy(c, q, 0, &row->scope);
}

static struct mintd_str name_at(const struct asked *a, uint32_t i)
{
    struct { struct mintd_str s; } name;
    mintd_row(a->q->names, i, &name, sizeof name);
    return name.s;
}

static int list_spend_of(struct call *c, struct asked *a)
{
    int64_t window = INT64_MIN, place = 0, shown = 0;
    bool more = false;
    int r = cursor_numbers(c, a->q->cursor, &window, &place);
    if (!r && (place < 0 || place > UINT32_MAX)) r = bad(c, "this is no cursor of this store");
    for (uint32_t i = (uint32_t)place; !r && !more && i < a->q->names.n; i++, window = INT64_MIN) {
        struct q q = q_open(c->db, SQL_LIST_SPEND_SCOPE);
        q_text(&q, name_at(a, i));
        q_int(&q, window);
        q_int(&q, (int64_t)a->max + 1);
        shown = a->rows.n;
        r = take(c, a, &q, read_spend, &more);
        const struct mintd_db_spend *last = more && a->rows.n > shown ? last_row(a) : NULL;
        if (!r && more) a->next = call_text(c, "%lld.%u", last ? (long long)last->window_start : (long long)window, i);
    }
    return r;
}

static int spend_cursor(struct call *c, struct asked *a, const struct mintd_db_spend *last)
{
    char *p = call_alloc(c, last->scope.n + 24);
    if (!p) return -ENOMEM;
    int n = snprintf(p, 24, "%lld.", (long long)last->window_start);
    memcpy(p + n, last->scope.p, last->scope.n);
    a->next = (struct mintd_str){ p, (size_t)n + last->scope.n };
    return 0;
}

static int list_spend(struct call *c, struct asked *a)
{
    if (a->q->names.n) return list_spend_of(c, a);
    struct mintd_str cursor = a->q->cursor, scope = { NULL, 0 };
    const char *dot = cursor.n ? memchr(cursor.p, '.', cursor.n) : NULL;
    int64_t window = INT64_MIN;
    bool more;
    if (dot) scope = (struct mintd_str){ dot + 1, cursor.n - (size_t)(dot - cursor.p) - 1 };
    if (cursor.n && !dot) return bad(c, "this is no cursor of this store");
    int r = cursor_numbers(c, (struct mintd_str){ cursor.p, cursor.n - scope.n - (dot != NULL) }, &window, NULL);
    if (r) return r;
    struct q q = q_open(c->db, SQL_LIST_SPEND);
    q_text(&q, scope);
    q_int(&q, window);
    q_int(&q, (int64_t)a->max + 1);
    r = take(c, a, &q, read_spend, &more);
    const struct mintd_db_spend *last = more ? last_row(a) : NULL;
    return r || !last ? r : spend_cursor(c, a, last);
}

/* ---- leases: cursor is the slot; meta: the key; a named one: its place */
static int read_lease(struct call *c, struct q *q, struct asked *a)
{
    struct mintd_db_lease *row = rows_add(c, &a->rows);
    if (!row) return -ENOMEM;
    *row = (struct mintd_db_lease){ .slot = q_u32(q, 0), .epoch = q_u64(q, 1), .expires_at = q_i64(q, 3), .event_seq = q_u64(q, 4) };
    int r = call_copy(c, q, 2, &row->holder);
    return r ? r : call_copy(c, q, 5, &row->head);
}

static int read_meta(struct call *c, struct q *q, struct asked *a)
{
    struct mintd_db_meta *row = rows_add(c, &a->rows);
    int r = row ? call_copy(c, q, 0, &row->key) : -ENOMEM;
    return r ? r : call_copy(c, q, 1, &row->val);
}

static int list_places(struct call *c, struct asked *a)
{
    bool leases = a->q->kind == MINTD_DB_LEASE, more = false;
    uint32_t n = leases ? a->q->ids.n : a->q->names.n;
    int64_t place = 0;
    int r = cursor_numbers(c, a->q->cursor, &place, NULL);
    if (!r && (place < 0 || place > UINT32_MAX)) r = bad(c, "this is no cursor of this store");
    for (uint32_t i = (uint32_t)place; !r && !more && i < n; i++) {
        uint64_t id = 0;
        struct q q = q_open(c->db, leases ? SQL_GET_LEASE : SQL_GET_META);
        if (leases) {
            mintd_row(a->q->ids, i, &id, sizeof id);
            q_int(&q, id > INT64_MAX ? 0 : (int64_t)id);
        } else {
            q_text(&q, name_at(a, i));
        }
        r = take(c, a, &q, leases ? read_lease : read_meta, &more);
        if (!r && more) a->next = call_text(c, "%u", i);
    }
    return r;
}

static int list_leases(struct call *c, struct asked *a)
{
    int64_t slot = 0;
    bool more;
    if (a->q->ids.n) return list_places(c, a);
    int r = cursor_numbers(c, a->q->cursor, &slot, NULL);
    if (r) return r;
    struct q q = q_open(c->db, SQL_LIST_LEASES);
    q_int(&q, slot);
    q_int(&q, (int64_t)a->max + 1);
    r = take(c, a, &q, read_lease, &more);
    if (!r && more) a->next = call_text(c, "%u", ((const struct mintd_db_lease *)last_row(a))->slot);
    return r;
}

static int list_meta(struct call *c, struct asked *a)
{
    bool more;
    if (a->q->names.n) return list_places(c, a);
    struct q q = q_open(c->db, SQL_LIST_META);
    q_text(&q, a->q->cursor);
    q_int(&q, (int64_t)a->max + 1);
    int r = take(c, a, &q, read_meta, &more);
    if (!r && more) a->next = ((const struct mintd_db_meta *)last_row(a))->key;
    return r;
}

/* ---- lanes */
static bool among(const struct mintd_vec *names, struct mintd_str s)
{
    struct { struct mintd_str s; } name;
    for (uint32_t i = 0; i < names->n; i++) {
        mintd_row(*names, i, &name, sizeof name);
        if (name.s.n == s.n && !memcmp(name.s.p, s.p, s.n)) return true;
    }
    return false;
}

/* 1: this lane's work may be done, its row is filled but for what waits in it. */
static int lane_of(struct call *c, struct asked *a, int64_t lane, uint64_t collection, struct mintd_db_lane *ret)
{
    struct q q = q_open(c->db, SQL_LANE_COLLECTION);
    q_int(&q, (int64_t)collection);
    int r = q_row(&q);
    if (r != 1) return r;
    struct mintd_str pipeline = q_bytes(&q, 1);
    uint32_t state = q_u32(&q, 2);
    bool open = state == (lane ? MINTD_COL_READY : MINTD_COL_NEW) && (!a->q->names.n || among(&a->q->names, pipeline));
    if (open) {
        *ret = (struct mintd_db_lane){ .lane = lane, .collection = collection, .venue = q_u64(&q, 0) };
        r = call_copy(c, &q, 1, &ret->pipeline);
    }
    q_end(&q);
    return r < 0 ? r : open;
}

static int add_lane(struct call *c, struct asked *a, const struct mintd_db_lane *lane)
{
    struct mintd_db_lane *row = rows_add(c, &a->rows);
    if (!row) return -ENOMEM;
    *row = *lane;
    return 0;
}

static uint64_t in_ms(const struct call *c, int64_t wake) { return wake > c->now ? (uint64_t)(wake - c->now) : 0; }

static int work_lane(struct call *c, struct asked *a, int64_t lane)
{
    struct mintd_db_lane row;
    int r = lane_of(c, a, lane, (uint64_t)(lane < 0 ? -lane : lane), &row);
    if (r != 1) return r;
    struct q q = q_open(c->db, SQL_LANE_FREE);
    q_int(&q, lane);
    q_int(&q, LANE_COUNT_MAX);
    while ((r = q_row(&q)) == 1) {
        uint64_t wait = in_ms(c, q_i64(&q, 0));
        if (!row.max++) row.wake_in_ms = wait;
    }
    return r ? r : row.max ? add_lane(c, a, &row) : 0;
}

/* Lane 0 holds the creations of all collections, few at a time: a row for each that has one. */
static int creation_lanes(struct call *c, struct asked *a, int64_t after)
{
    struct q q = q_open(c->db, SQL_LANE_CREATIONS);
    q_int(&q, after);
    int r;
    while ((r = q_row(&q)) == 1) {
        struct mintd_db_lane row;
        if (full(c, a)) {
            a->next = call_text(c, "0.%lld", (long long)after);
            q_end(&q);
            return 0;
        }
        after = q_i64(&q, 0);
        r = lane_of(c, a, 0, q_u64(&q, 2), &row);
        row.max = 1;
        row.wake_in_ms = in_ms(c, q_i64(&q, 1));
        if (r == 1) r = add_lane(c, a, &row);
        if (r) { q_end(&q); return r; }
    }
    return r;
}

/* The cursor is the lane to go on with, and for lane 0 the chunk to go on behind. */
static int list_lanes(struct call *c, struct asked *a)
{
    int64_t lane = INT64_MIN, after = 0;
    int r = cursor_numbers(c, a->q->cursor, &lane, &after);
    while (!r) {
        struct q q = q_open(c->db, SQL_NEXT_LANE);
        q_int(&q, lane);
        r = q_row(&q);
        bool more = r == 1 && sqlite3_column_type(q.st, 0) != SQLITE_NULL;
        if (more) lane = q_i64(&q, 0);
        if (r == 1) q_end(&q);
        if (r < 0 || !more) return r < 0 ? r : 0;
        if (lane && full(c, a)) { a->next = call_text(c, "%lld", (long long)lane); return 0; }
        r = lane ? work_lane(c, a, lane) : creation_lanes(c, a, after);
        if (r || a->next.n || lane == INT64_MAX) return r;
        lane++;
    }
    return r;
}

/* ---- counters: one row per kind of chunk */
static int list_counts(struct call *c, struct asked *a)
{
    uint32_t scope = a->q->request != 0;
    uint64_t id = scope ? a->q->request : a->q->venue;
    int r = 0;
    for (uint32_t kind = 0; !r && kind < 3; kind++) {
        struct mintd_db_count *row = rows_add(c, &a->rows);
        struct q q = q_open(c->db, id ? SQL_COUNTS_ONE : SQL_COUNTS);
        q_int(&q, kind);
        if (id) { q_int(&q, scope); q_int(&q, (int64_t)id); }
        r = row ? q_row(&q) : -ENOMEM;
        if (r != 1) return r;
        *row = (struct mintd_db_count){ .scope = scope, .kind = kind, .scope_id = id, .open = q_u64(&q, 0), .quarantined = q_u64(&q, 1),
            .done = q_u64(&q, 2), .failed = q_u64(&q, 3), .cancelled = q_u64(&q, 4), .transit = q_u64(&q, 5), .mint_ms = q_u64(&q, 6),
            .fee = q_u64(&q, 7) };
        q_end(&q);
        r = 0;
    }
    return r;
}

int list_direct(struct call *c, struct asked *a)
{
    switch (a->q->kind) {
    case MINTD_DB_ATTEMPT: case MINTD_DB_PROOF: return list_of_chunks(c, a);
    case MINTD_DB_EVENT:   return list_events(c, a);
    case MINTD_DB_SPEND:   return list_spend(c, a);
    case MINTD_DB_LEASE:   return list_leases(c, a);
    case MINTD_DB_META:    return list_meta(c, a);
    case MINTD_DB_LANE:    return list_lanes(c, a);
    case MINTD_DB_REPORT:  return list_reports(c, a);
    default:               return list_counts(c, a);
    }
}
