/* Requests and their items: taking them in (at once or staged), sealing, the end, and what a crashed intake left. Worker 0. */
#include <stdio.h>

#include "store.h"

enum { REAP_ITEMS = 20000, REAP_REQUESTS = 256, SEQ_MAX = 1 << SEQ_BITS };

/* ---- what nobody will seal any more */
static int drop_items(struct call *c, uint64_t request, int64_t max, bool *ret_more)
{
    struct q q = q_open(c->db, SQL_ITEM_DELETE);
    q_int(&q, first_item(request));
    q_int(&q, first_item(request + 1));
    q_int(&q, max);
    int r = q_run(&q);
    *ret_more = sqlite3_changes64(c->db->h) == max;
    return r;
}

static int delete_row(struct call *c, uint64_t request)
{
    struct q q = q_open(c->db, SQL_REQUEST_DELETE);
    q_int(&q, (int64_t)request);
    c->s->host->metric(c->s->ctx, M_REAPED, (struct mintd_str){ NULL, 0 }, 1);
    return q_run(&q);
}

int request_drop(struct call *c, uint64_t id)
{
    bool more;
    int r = drop_items(c, id, SEQ_MAX, &more);
    return r ? r : delete_row(c, id);
}

/* One of them, at most *items of its items; 0 when there is none or some of it is left. */
static int reap_one(struct call *c, int64_t *items)
{
    struct q q = q_open(c->db, SQL_REQUEST_STALE);
    int r = q_row(&q);
    if (r != 1) return r;
    uint64_t id = q_u64(&q, 0);
    q_end(&q);
    bool more;
    r = drop_items(c, id, *items, &more);
    *items -= sqlite3_changes64(c->db->h);
    if (!r && !more) r = delete_row(c, id);
    return r || more ? r : 1;
}

/* A daemon that dies with a hundred clients leaves a hundred of them: they go by their items, not one at a time. */
int request_reap(struct call *c)
{
    int64_t items = REAP_ITEMS;
    int r = 1;
    for (int n = 0; r == 1 && n < REAP_REQUESTS && items > 0; n++) r = reap_one(c, &items);
    return r < 0 ? r : 0;
}

/* ---- keys and tickets */
static int verdict(struct mintd_applied *a, uint32_t verdict, uint64_t value, struct mintd_str detail)
{
    a->verdict = verdict;
    a->value = value;
    a->detail = detail;
    return -EALREADY;
}

int request_find(struct call *c, uint64_t venue, struct mintd_str key, struct mintd_str hash, struct mintd_applied *a)
{
    struct q q = q_open(c->db, SQL_REQUEST_FIND);
    q_int(&q, (int64_t)venue);
    q_text(&q, key);
    int r = q_row(&q);
    if (r != 1) return r;
    uint64_t id = q_u64(&q, 0);
    bool sealed = q_i64(&q, 1), alive = q_i64(&q, 3);
    struct mintd_str old = q_bytes(&q, 2);
    bool same = hash.n && old.n == hash.n && !memcmp(old.p, hash.p, hash.n);
    q_end(&q);
    if (sealed) return verdict(a, same ? MINTD_REPEATED : MINTD_STALE, id, same ? STR("") : STR("hash"));
    return alive ? verdict(a, MINTD_STALE, id, STR("open")) : request_drop(c, id);
}

int request_open(struct call *c, const struct mintd_db_request *row, uint64_t *ret_id)
{
    struct q q = q_open(c->db, SQL_REQUEST_ADD);
    q_int(&q, (int64_t)row->venue);
    q_text(&q, row->idem_key);
    q_int(&q, c->slot);
    q_int(&q, (int64_t)c->epoch);
    q_opt(&q, row->not_before);
    q_str(&q, row->options);
    q_int(&q, c->now);
    int r = q_run(&q);
    *ret_id = (uint64_t)sqlite3_last_insert_rowid(c->db->h);
    return r;
}

static int insert_item(struct call *c, uint64_t request, uint64_t venue, const struct mintd_db_item *item)
{
    struct q q = q_open(c->db, SQL_ITEM_ADD);
    q_int(&q, first_item(request) | (int64_t)item->id);
    q_int(&q, (int64_t)venue);
    q_text(&q, item->ticket);
    q_int(&q, item->ord);
    q_str(&q, item->recipient);
    q_str(&q, item->uri);
    q_str(&q, item->body);
    q_str(&q, item->extra);
    return q_run(&q);
}

/* Who has the ticket. The same row again, as after a lost COMMIT of its slab, is no conflict: 0. A holder that nobody will seal
 * gives it up: -EAGAIN. */
static int ticket_taken(struct call *c, uint64_t venue, const struct mintd_db_item *item, uint64_t own, struct mintd_applied *a)
{
    struct mintd_str ticket = item->ticket;
    struct q q = q_open(c->db, SQL_ITEM_HOLDER);
    q_text(&q, ticket);
    q_int(&q, (int64_t)venue);
    int r = q_row(&q);
    if (r != 1) return r ? r : -EPERM;
    uint64_t id = q_u64(&q, 0), holder = id >> SEQ_BITS;
    q_end(&q);
    if (id == ((uint64_t)first_item(own) | item->id)) return 0;
    q = q_open(c->db, SQL_REQUEST_STATE);
    q_int(&q, (int64_t)holder);
    r = q_row(&q);
    if (r < 0) return r;
    bool dead = r && holder != own && !q_i64(&q, 1) && !q_i64(&q, 6);
    if (r) q_end(&q);
    if (!dead) return verdict(a, MINTD_DUPLICATE, holder, ticket);      /* the caller's own bytes: they live until done */
    r = request_drop(c, holder);
    return r ? r : -EAGAIN;
}

int items_insert(struct call *c, uint64_t request, uint64_t venue, struct mintd_vec items, struct mintd_applied *a)
{
    struct mintd_db_item item;
    for (uint32_t i = 0; i < items.n; i++) {
        mintd_row(items, i, &item, sizeof item);
        if (item.id >= SEQ_MAX) return bad(c, "an item's sequence number is 2^24 or more");
        int r = insert_item(c, request, venue, &item);
        if (r == -EPERM && !strcmp(c->db->refused, "items_unique")) {
            r = ticket_taken(c, venue, &item, request, a);
            if (r == -EAGAIN) r = insert_item(c, request, venue, &item);
        }
        if (r) return r;
    }
    return 0;
}

/* ---- the seal */
struct seal { struct call *c; uint64_t request, venue; int64_t not_before; };

static int add_home_chunk(const struct seal *s, uint64_t collection, uint32_t first, uint32_t n)
{
    struct q q = q_open(s->c->db, SQL_CHUNK_ADD);
    q_int(&q, first_item(s->request) | first);
    q_int(&q, n);
    q_int(&q, MINTD_MINT);
    q_int(&q, 0);
    q_opt(&q, 0);
    q_int(&q, (int64_t)collection);
    q_int(&q, (int64_t)collection);
    q_int(&q, (int64_t)s->venue);
    q_int(&q, (int64_t)s->request);
    q_int(&q, MINTD_ST_ACCEPTED);
    q_int(&q, s->not_before);
    q_int(&q, s->c->now);
    return q_run(&q);
}

static int insert_creation(struct call *c, uint64_t collection, uint64_t venue, int64_t parent)
{
    int64_t id;
    int r = next_chunk_id(c, &id);
    if (r) return r;
    struct q q = q_open(c->db, SQL_CHUNK_ADD);
    q_int(&q, id);
    q_int(&q, 0);
    q_int(&q, MINTD_COLLECTION);
    q_int(&q, 2);
    q_opt(&q, parent);
    q_int(&q, 0);
    q_int(&q, (int64_t)collection);
    q_int(&q, (int64_t)venue);
    q_opt(&q, 0);
    q_int(&q, MINTD_ST_UPLOADED);
    q_int(&q, 0);
    q_int(&q, c->now);
    return q_run(&q);
}

static int one_int(struct call *c, enum sql which, int64_t a, int64_t b, int64_t *ret)
{
    struct q q = q_open(c->db, which);
    q_int(&q, a);
    if (b) q_int(&q, b);
    int r = q_row(&q);
    if (r == 1) { *ret = q_i64(&q, 0); q_end(&q); }
    return r;
}

/* The newest creation of a collection is at the end of a line of dead ones. */
int creation_add(struct call *c, uint64_t collection, uint64_t venue)
{
    int64_t id = 0, next, state = 0;
    int r = one_int(c, SQL_CHUNK_CREATION, (int64_t)collection, 0, &id);
    if (!r) return insert_creation(c, collection, venue, 0);
    while (r == 1 && (r = one_int(c, SQL_CHUNK_FOLLOW, id, MINTD_COLLECTION, &next)) == 1) id = next;
    if (!r) r = one_int(c, SQL_STATE_OF, id, 0, &state);
    if (r < 0) return r;
    return state == MINTD_ST_FAILED || state == MINTD_ST_CANCELLED ? insert_creation(c, collection, venue, id) : 0;
}

static int accept_into(const struct seal *s, uint64_t collection, uint32_t n)
{
    struct q q = q_open(s->c->db, SQL_COLLECTION_STATE);
    q_int(&q, (int64_t)collection);
    int r = q_row(&q);
    if (r != 1) return r ? r : bad(s->c, "a run names a collection that does not exist");
    bool fresh = q_i64(&q, 0) == MINTD_COL_NEW;
    q_end(&q);
    q = q_open(s->c->db, SQL_COLLECTION_ACCEPT);
    q_int(&q, (int64_t)collection);
    q_int(&q, n);
    r = q_run(&q);
    return r || !fresh ? r : creation_add(s->c, collection, s->venue);
}

static int add_run(const struct seal *s, const struct mintd_db_run *run)
{
    if (!run->count || !run->batch || run->count > SEQ_MAX || run->first > SEQ_MAX - run->count)
        return bad(s->c, "a run is empty, has no batch size or ends beyond 2^24");
    int r = 0;
    for (uint32_t at = 0; !r && at < run->count; at += run->batch) {
        uint32_t left = run->count - at, n = left < run->batch ? left : run->batch;
        r = add_home_chunk(s, run->collection, run->first + at, n);
        if (left <= run->batch) break;                     /* at + batch may not fit */
    }
    return r ? r : accept_into(s, run->collection, run->count);
}

static int seal(const struct seal *s, const struct mintd_db_request *row)
{
    struct mintd_db_run run;
    int r = 0;
    for (uint32_t i = 0; !r && i < row->runs.n; i++) {
        mintd_row(row->runs, i, &run, sizeof run);
        r = add_run(s, &run);
    }
    if (r) return r;
    struct q q = q_open(s->c->db, SQL_REQUEST_SEAL);
    q_int(&q, (int64_t)s->request);
    q_blob(&q, row->body_hash);
    q_int(&q, (int64_t)row->n_items);
    q_int(&q, s->c->now);
    q_str(&q, row->options);
    q_opt(&q, row->not_before);
    return q_run(&q);
}

static int seal_and_note(struct call *c, struct group *g, const struct seal *s, const struct mintd_db_request *row)
{
    int r = seal(s, row);
    if (!r) r = group_events(c, g, s->request);
    g->out->value = s->request;
    return r;
}

static int accept(struct call *c, struct group *g, const struct mintd_db_request *row)
{
    struct seal s = { .c = c, .venue = row->venue, .not_before = row->not_before };
    int r = request_find(c, row->venue, row->idem_key, row->body_hash, g->out);
    if (!r) r = request_open(c, row, &s.request);
    for (uint32_t i = 1; !r && i < g->n; i++) {
        struct mintd_change ch = group_change(g, i);
        if (ch.kind == MINTD_DB_ITEM) r = items_insert(c, s.request, row->venue, ch.rows, g->out);
    }
    return r ? r : seal_and_note(c, g, &s, row);
}

int group_request(struct call *c, struct group *g, const struct mintd_db_request *row)
{
    if (!row->id) return row->state == MINTD_RQ_SEALED ? accept(c, g, row) : bad(c, "a new request must be sealed in its group");
    struct q q = q_open(c->db, SQL_REQUEST_STATE);
    q_int(&q, (int64_t)row->id);
    int r = q_row(&q);
    if (r < 0) return r;
    if (!r) return settle(g, MINTD_STALE, row->id, STR("no such request"));
    struct seal s = { c, row->id, q_u64(&q, 0), row->not_before };
    bool sealed = q_i64(&q, 1), cancelled = q_i64(&q, 5), alive = q_i64(&q, 6) && q_u32(&q, 3) == c->slot;
    struct mintd_str old = q_bytes(&q, 2);
    bool same = old.n && old.n == row->body_hash.n && !memcmp(old.p, row->body_hash.p, old.n);
    q_end(&q);
    if (row->state == MINTD_RQ_SEALED) {
        if (sealed) return settle(g, same ? MINTD_REPEATED : MINTD_STALE, row->id, same ? STR("") : STR("hash"));
        return alive ? seal_and_note(c, g, &s, row) : settle(g, MINTD_STALE, row->id, STR("reaped"));
    }
    if (!row->cancel_at) return bad(c, "a change of a request seals it or cancels it");
    if (cancelled || !sealed) return settle(g, cancelled ? MINTD_REPEATED : MINTD_STALE, row->id, cancelled ? STR("") : STR("open"));
    q = q_open(c->db, SQL_REQUEST_CANCEL);
    q_int(&q, (int64_t)row->id);
    q_int(&q, row->cancel_at);
    r = q_run(&q);
    if (!r) r = group_events(c, g, row->id);
    g->out->value = row->id;
    return r;
}

int request_seats(struct call *c, uint64_t request, struct seats *ret)
{
    struct q q = q_open(c->db, SQL_REQUEST_OPEN_SEATS);
    q_int(&q, (int64_t)request);
    int r = q_row(&q);
    if (r != 1) return r;
    *ret = (struct seats){ q_u64(&q, 0), q_u64(&q, 1), q_i64(&q, 2), q_i64(&q, 3), q_i64(&q, 4) };
    q_end(&q);
    return 0;
}

int request_end(struct call *c, uint64_t request, uint64_t venue, uint64_t *ret_mint_open)
{
    struct seats n = { 0 };
    int r = request_seats(c, request, &n);
    *ret_mint_open = n.mint_open;
    if (r || n.open) return r;
    struct q q = q_open(c->db, SQL_REQUEST_FINISH);
    q_int(&q, (int64_t)request);
    q_int(&q, c->now);
    r = q_run(&q);
    if (r || !sqlite3_changes(c->db->h)) return r;         /* it was finished before and some were tried again */
    struct mintd_str body = call_text(c, "{\"minted\":%lld,\"failed\":%lld,\"cancelled\":%lld}", (long long)n.done, (long long)n.failed,
                                      (long long)n.cancelled);
    return event_add(c, &(struct mintd_db_event){ .venue = venue, .subject = request, .subject_kind = MINTD_DB_REQUEST,
        .kind = STR("request.finished"), .body = body });
}

/* ---- staging */
static int stage(struct call *c, const struct mintd_stage *st, uint32_t flags, struct mintd_vec items, struct mintd_applied *a)
{
    if (!st->request) {
        int r = request_find(c, st->venue, st->idem_key, (struct mintd_str){ NULL, 0 }, a);
        return r ? r : request_open(c, &(struct mintd_db_request){ .venue = st->venue, .idem_key = st->idem_key }, &a->value);
    }
    struct q q = q_open(c->db, SQL_REQUEST_STATE);
    q_int(&q, (int64_t)st->request);
    int r = q_row(&q);
    if (r < 0) return r;
    bool open = r && !q_i64(&q, 1) && q_u32(&q, 3) == st->slot && q_u64(&q, 4) == st->epoch;
    uint64_t venue = r ? q_u64(&q, 0) : 0;
    if (r) q_end(&q);
    a->value = st->request;
    if (!open) {
        snprintf(c->why, sizeof c->why, "request %llu is not open under slot %u and epoch %llu", (unsigned long long)st->request,
                 st->slot, (unsigned long long)st->epoch);
        return flags & 1 ? 0 : -EACCES;
    }
    return flags & 1 ? request_drop(c, st->request) : items_insert(c, st->request, venue, items, a);
}

void op_stage(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct call c;
    struct mintd_stage st = { 0 };
    if (!call_begin(&c, self, op, true, false)) return;
    call_arg(req, &st, sizeof st);
    c.slot = st.slot;
    c.epoch = st.epoch;
    struct mintd_applied *a = call_alloc(&c, sizeof *a);
    int r = a ? db_begin(&c) : -ENOMEM;
    if (!r) r = stage(&c, &st, req->flags, req->rows, a);
    if (r == -EALREADY) {                                  /* a verdict; a reaped key or ticket holder stays gone */
        if (a->verdict == MINTD_DUPLICATE) db_rollback(&c);
        else r = db_commit(&c);
        if (r == -EALREADY) r = 0;
    } else if (!r) {
        r = db_commit(&c);
    }
    if (r) { db_rollback(&c); fail(&c, r); return; }
    answer(&c, ROWS(a, 1), (struct mintd_str){ NULL, 0 });
}
