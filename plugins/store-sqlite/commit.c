/* The op commit: one transaction behind the fence, a savepoint per group, a verdict each. And the small heads: venue, collection,
 * lease, meta; keys and reports are in access.c. Worker 0. */
#include <stdio.h>

#include "store.h"

/* ---- reading a group */
struct mintd_change group_change(const struct group *g, uint32_t i)
{
    struct mintd_change ch;
    mintd_row(*g->changes, g->first + i, &ch, sizeof ch);
    return ch;
}

bool group_next(const struct group *g, struct change_iter *it, uint32_t kind, void *ret, size_t size)
{
    for (;;) {
        if (it->row < it->rows.n) { mintd_row(it->rows, it->row++, ret, size); return true; }
        if (++it->at >= g->n) return false;                /* the head is at 0 */
        struct mintd_change ch = group_change(g, it->at);
        it->rows = ch.kind == kind ? ch.rows : (struct mintd_vec){ 0 };
        it->row = 0;
    }
}

int settle(struct group *g, uint32_t verdict, uint64_t value, struct mintd_str detail)
{
    g->out->verdict = verdict;
    g->out->value = value;
    g->out->detail = detail;
    return -EALREADY;
}

int group_events(struct call *c, struct group *g, uint64_t subject)
{
    struct mintd_db_event e;
    struct change_iter it = { 0 };
    int r = 0;
    while (!r && group_next(g, &it, MINTD_DB_EVENT, &e, sizeof e)) {
        if (!e.subject) e.subject = subject;
        r = event_add(c, &e);
    }
    return r;
}

/* ---- venue, collection, meta */
static int group_venue(struct call *c, struct group *g, const struct mintd_db_venue *row)
{
    struct q q = q_open(c->db, SQL_VENUE_FIND);
    q_text(&q, row->name);
    int r = q_row(&q);
    if (r < 0) return r;
    if (r) {
        uint64_t id = q_u64(&q, 0);
        q_end(&q);
        return settle(g, MINTD_REPEATED, id, STR(""));
    }
    q = q_open(c->db, SQL_VENUE_ADD);
    q_text(&q, row->name);
    r = q_run(&q);
    g->out->value = (uint64_t)sqlite3_last_insert_rowid(c->db->h);
    return r ? r : group_events(c, g, g->out->value);
}

static int collection_add(struct call *c, struct group *g, const struct mintd_db_collection *row)
{
    struct q q = q_open(c->db, SQL_COLLECTION_FIND);
    q_int(&q, (int64_t)row->venue);
    q_text(&q, row->pipeline);
    q_text(&q, row->name);
    int r = q_row(&q);
    if (r < 0) return r;
    if (r) {
        uint64_t id = q_u64(&q, 0);
        q_end(&q);
        return settle(g, MINTD_REPEATED, id, STR(""));
    }
    q = q_open(c->db, SQL_COLLECTION_ADD);
    q_int(&q, (int64_t)row->venue);
    q_text(&q, row->pipeline);
    q_text(&q, row->name);
    q_str(&q, row->spec);
    q_text(&q, row->network);
    q_opt(&q, (int64_t)row->parent);
    q_opt(&q, (int64_t)row->max_supply);
    q_int(&q, row->state ? row->state : MINTD_COL_NEW);
    q_str(&q, row->chain_ref);
    r = q_run(&q);
    g->out->value = (uint64_t)sqlite3_last_insert_rowid(c->db->h);
    return r ? r : group_events(c, g, g->out->value);
}

int collection_move(struct call *c, const struct mintd_db_collection *row, uint32_t *ret_verdict, uint64_t *ret_venue)
{
    struct q q = q_open(c->db, SQL_COLLECTION_STATE);
    q_int(&q, (int64_t)row->id);
    int r = q_row(&q);
    if (r < 0) return r;
    uint32_t state = r ? q_u32(&q, 0) : 0;
    struct mintd_str ref = r ? q_bytes(&q, 1) : (struct mintd_str){ NULL, 0 };
    *ret_venue = r ? q_u64(&q, 2) : 0;
    bool same_ref = !row->chain_ref.n || (ref.n == row->chain_ref.n && !memcmp(ref.p, row->chain_ref.p, ref.n));
    if (r) q_end(&q);
    *ret_verdict = state == row->state && same_ref ? MINTD_REPEATED : state == row->from ? MINTD_APPLIED : MINTD_STALE;
    if (*ret_verdict != MINTD_APPLIED) return 0;
    q = q_open(c->db, SQL_COLLECTION_SET);
    q_int(&q, (int64_t)row->id);
    q_int(&q, row->state);
    q_str(&q, row->chain_ref);
    q_str(&q, row->park_reason);
    return q_run(&q);
}

static int group_collection(struct call *c, struct group *g, const struct mintd_db_collection *row)
{
    if (!row->id) return collection_add(c, g, row);
    uint32_t verdict;
    uint64_t venue;
    int r = collection_move(c, row, &verdict, &venue);
    g->out->value = row->id;
    if (r || verdict) return r ? r : settle(g, verdict, row->id, STR(""));
    if (row->state == MINTD_COL_NEW) r = creation_add(c, row->id, venue);                  /* tried again */
    return r ? r : group_events(c, g, row->id);
}

static int group_meta(struct call *c, struct group *g, const struct mintd_db_meta *row)
{
    struct q q = q_open(c->db, SQL_META_GET);
    q_text(&q, row->key);
    int r = q_row(&q);
    if (r < 0) return r;
    if (r) {
        struct mintd_str val = q_bytes(&q, 0);
        bool same = val.n == row->val.n && (!val.n || !memcmp(val.p, row->val.p, val.n));
        bool expected = row->expect.n && val.n == row->expect.n && !memcmp(val.p, row->expect.p, val.n);
        struct mintd_str detail;
        r = call_copy(c, &q, 0, &detail);
        q_end(&q);
        if (r) return r;
        if (same) return settle(g, MINTD_REPEATED, 0, STR(""));
        if (!expected) return settle(g, MINTD_STALE, 0, detail);
    } else if (row->expect.n) {
        return settle(g, MINTD_STALE, 0, STR(""));
    }
    q = q_open(c->db, SQL_META_PUT);
    q_text(&q, row->key);
    q_text(&q, row->val);
    r = q_run(&q);
    return r ? r : group_events(c, g, 0);
}

/* ---- leases */
static int first_slot(struct call *c, enum sql which, struct mintd_str holder, uint32_t *ret)
{
    struct q q = q_open(c->db, which);
    q_text(&q, holder);
    if (which == SQL_LEASE_EXPIRED) q_int(&q, c->now);
    int r = q_row(&q);
    if (r == 1) { *ret = q_u32(&q, 0); q_end(&q); }
    return r < 0 ? r : 0;
}

static int lease_new(struct call *c, const struct mintd_db_lease *row, struct group *g)
{
    struct q q = q_open(c->db, SQL_LEASE_NEW);
    q_text(&q, row->holder);
    q_int(&q, later(c, row->ttl_ms));
    int r = q_row(&q);
    if (r == 1) { g->out->value = q_u64(&q, 0); q_end(&q); }
    return r < 0 ? r : 0;
}

static int lease_take(struct call *c, const struct mintd_db_lease *row, struct group *g)
{
    uint32_t slot = 0;
    int r = row->flags & 1 ? 0 : first_slot(c, SQL_LEASE_OWN, row->holder, &slot);
    if (!r && !slot) r = first_slot(c, SQL_LEASE_EXPIRED, row->holder, &slot);
    if (r) return r;
    if (!slot) return row->flags & 1 ? settle(g, MINTD_STALE, 0, STR("no expired slot")) : lease_new(c, row, g);
    struct q q = q_open(c->db, SQL_LEASE_TAKE);
    q_int(&q, slot);
    q_text(&q, row->holder);
    q_int(&q, later(c, row->ttl_ms));
    g->out->value = slot;
    return q_run(&q);
}

static int group_lease(struct call *c, struct group *g, const struct mintd_db_lease *row)
{
    int r;
    if (!row->slot) {
        r = lease_take(c, row, g);
    } else {
        if (c->slot && row->slot != c->slot) return bad(c, "a slot is renewed and given up by its own holder");
        struct q q = q_open(c->db, SQL_LEASE_RENEW);
        q_int(&q, row->slot);
        q_int(&q, (int64_t)c->epoch);
        q_str(&q, row->holder);
        q_int(&q, later(c, row->ttl_ms));
        g->out->value = row->slot;
        r = q_run(&q);
        if (!r && !sqlite3_changes(c->db->h)) return settle(g, MINTD_STALE, row->slot, STR("held under another epoch"));
    }
    return r ? r : request_reap(c);
}

/* ---- the commit */
#define HEAD(type, fn) { struct type row; mintd_row(head.rows, 0, &row, sizeof row); return fn(c, g, &row); }

static int group_apply(struct call *c, struct group *g)
{
    struct mintd_change head = group_change(g, 0);
    if (head.rows.n != 1) return bad(c, "the head of a group is one row");
    switch (head.kind) {
    case MINTD_DB_VENUE:      HEAD(mintd_db_venue, group_venue)
    case MINTD_DB_COLLECTION: HEAD(mintd_db_collection, group_collection)
    case MINTD_DB_REQUEST:    HEAD(mintd_db_request, group_request)
    case MINTD_DB_CHUNK:      HEAD(mintd_db_chunk, group_chunk)
    case MINTD_DB_LEASE:      HEAD(mintd_db_lease, group_lease)
    case MINTD_DB_META:       HEAD(mintd_db_meta, group_meta)
    case MINTD_DB_KEY:        HEAD(mintd_db_key, group_key)
    case MINTD_DB_REPORT:     HEAD(mintd_db_report, group_report)
    default: return bad(c, "a group begins with a kind that can not be one's head");
    }
}

static int savepoint(struct call *c, enum sql which)
{
    struct q q = q_open(c->db, which);
    return q_run(&q);
}

/* 0: settled, whatever the verdict; negative: the whole commit fails. */
static int group_run(struct call *c, struct group *g)
{
    struct chain before = c->chain;
    int r = savepoint(c, SQL_SAVEPOINT);
    if (r) return r;
    r = group_apply(c, g);
    if (r == -EINVAL) c->s->host->log(c->s->ctx, c->op, MINTD_ERROR, (struct mintd_str){ c->why, strlen(c->why) }, (struct mintd_vec){ 0 });
    if (r == -EINVAL) r = settle(g, MINTD_REFUSED, 0, STR("store.bad_request"));
    if (r == -EPERM) r = settle(g, MINTD_REFUSED, 0, call_text(c, "store.%s", c->db->refused));
    if (r == -EALREADY) {
        c->chain = before;
        r = savepoint(c, SQL_UNDO);
    }
    int r2 = r ? 0 : savepoint(c, SQL_RELEASE);
    return r ? r : r2;
}

static bool unfenced(const struct mintd_vec *changes)
{
    for (uint32_t i = 0; i < changes->n; i++) {
        struct mintd_change ch;
        mintd_row(*changes, i, &ch, sizeof ch);
        if (ch.kind != MINTD_DB_LEASE && ch.kind != MINTD_DB_META) return false;
    }
    return true;
}

/* Bounds of the next group: changes of one number lie side by side. */
static uint32_t group_length(const struct mintd_vec *changes, uint32_t first, uint32_t *ret_number)
{
    struct mintd_change head, ch;
    mintd_row(*changes, first, &head, sizeof head);
    uint32_t n = 1;
    for (; first + n < changes->n; n++) {
        mintd_row(*changes, first + n, &ch, sizeof ch);
        if (ch.group != head.group) break;
    }
    *ret_number = head.group;
    return n;
}

static int run_all(struct call *c, const struct mintd_vec *changes, struct rows *out)
{
    int r = c->slot ? call_fence(c) : unfenced(changes) ? 0 : bad(c, "only leases and meta may be written without a slot");
    if (!r) r = chain_load(c, c->slot);
    for (uint32_t at = 0; !r && at < changes->n;) {
        struct mintd_applied *a = rows_add(c, out);
        if (!a) return -ENOMEM;
        struct group g = { .changes = changes, .first = at, .out = a };
        g.n = group_length(changes, at, &a->group);
        r = group_run(c, &g);
        at += g.n;
    }
    return r ? r : chain_save(c);
}

void op_commit(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct call c;
    struct mintd_commit arg = { 0 };
    if (!call_begin(&c, self, op, true, false)) return;
    call_arg(req, &arg, sizeof arg);
    c.slot = arg.slot;
    c.epoch = arg.epoch;
    uint64_t from = c.s->host->now_ms(c.s->ctx);
    struct rows out = { .stride = sizeof(struct mintd_applied) };
    int r = db_begin(&c);
    if (!r) r = run_all(&c, &req->rows, &out);
    if (!r) r = db_commit(&c);
    if (r) { db_rollback(&c); fail(&c, r); return; }
    struct mintd_str none = { NULL, 0 };
    c.s->host->metric(c.s->ctx, M_COMMITS, none, 1);
    c.s->host->metric(c.s->ctx, M_GROUPS, none, out.n);
    c.s->host->metric(c.s->ctx, M_COMMIT_MS, none, (int64_t)(c.s->host->now_ms(c.s->ctx) - from));
    answer(&c, rows_vec(&out), none);
}
