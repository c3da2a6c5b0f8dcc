/* Chunks: the compare-and-set of a step with everything that rides in its group, and the claim. The order of the writes is the order
 * in which the triggers can judge them. Worker 0. */
#include <stdio.h>

#include "store.h"

int next_chunk_id(struct call *c, int64_t *ret)
{
    int64_t max = 0;
    struct q q = q_open(c->db, SQL_CHUNK_NEXT_ID);
    int r = q_row(&q);
    if (r == 1) { max = q_i64(&q, 0); q_end(&q); }
    *ret = max < LATER_ID ? LATER_ID : max + 1;
    return r < 0 ? r : 0;
}

/* What the row is before the change. */
struct held { uint32_t state, attempt_no, owner; uint64_t collection, venue, request; };

static int read_held(struct call *c, uint64_t id, struct held *ret)
{
    struct q q = q_open(c->db, SQL_CHUNK_HEAD);
    q_int(&q, (int64_t)id);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    *ret = (struct held){ q_u32(&q, 0), q_u32(&q, 1), q_u32(&q, 2), q_u64(&q, 3), q_u64(&q, 4), q_u64(&q, 5) };
    q_end(&q);
    return 0;
}

static int same_tx(struct call *c, uint64_t chunk, uint32_t no, struct mintd_str tx, bool *ret)
{
    struct q q = q_open(c->db, SQL_ATTEMPT_TX);
    q_int(&q, (int64_t)chunk);
    q_int(&q, no);
    int r = q_row(&q);
    *ret = r == 1 && q_bytes(&q, 0).n == tx.n && !memcmp(q_bytes(&q, 0).p, tx.p, tx.n);
    if (r == 1) q_end(&q);
    return r < 0 ? r : 0;
}

static int moved_before(struct call *c, struct group *g, uint64_t chunk, bool *ret)
{
    struct mintd_db_member m;
    struct change_iter it = { 0 };
    *ret = false;
    if (!group_next(g, &it, MINTD_DB_MEMBER, &m, sizeof m)) return 0;
    struct q q = q_open(c->db, SQL_MOVE_DONE);
    q_int(&q, (int64_t)chunk);
    q_int(&q, (int64_t)m.item);
    int r = q_row(&q);
    *ret = r == 1;
    if (r == 1) q_end(&q);
    return r < 0 ? r : 0;
}

static bool ends(const struct mintd_db_chunk *row) { return row->state >= MINTD_ST_DONE && row->state != row->from; }

/* 0: as it must be; -EALREADY: a verdict. */
static int compare(struct call *c, struct group *g, const struct mintd_db_chunk *row, const struct held *h,
                   const struct mintd_db_attempt *a)
{
    bool repeated = h->state == row->state && h->attempt_no == row->attempt_no && (row->state != row->from || row->state >= MINTD_ST_DONE);
    int r = 0;
    if (repeated && a) r = same_tx(c, row->id, row->attempt_no, a->tx_id, &repeated);
    else if (repeated && row->state == row->from) r = moved_before(c, g, row->id, &repeated);
    if (r) return r;
    if (repeated) {
        struct seats n = { 0 };
        if (ends(row) && h->request) r = request_seats(c, h->request, &n);
        return r ? r : settle(g, MINTD_REPEATED, n.mint_open, STR(""));
    }
    uint32_t no = a ? a->no - 1 : row->attempt_no;
    bool ours = !h->owner || h->owner == c->slot || h->state >= MINTD_ST_DONE;       /* what has ended is nobody's any more */
    if (h->state == row->from && h->attempt_no == no && ours) return 0;
    return settle(g, MINTD_STALE, 0, call_text(c, "state %u, attempt %u, slot %u", h->state, h->attempt_no, h->owner));
}

/* ---- the step itself */
static int step_done(struct call *c, const struct mintd_db_chunk *row)
{
    struct q q = q_open(c->db, SQL_CHUNK_FINAL);
    q_int(&q, (int64_t)row->id);
    q_int(&q, row->minted_at ? row->minted_at : c->now);
    q_int(&q, row->block_time);
    q_opt(&q, (int64_t)row->first_serial);
    q_str(&q, row->assets);
    q_int(&q, (int64_t)row->fee);
    q_text(&q, row->evidence);
    return q_run(&q);
}

static int step_end(struct call *c, const struct mintd_db_chunk *row)
{
    bool reason = row->state != MINTD_ST_MOVED;
    struct q q = q_open(c->db, SQL_CHUNK_END);
    q_int(&q, (int64_t)row->id);
    q_int(&q, row->state);
    q_str(&q, reason ? row->slug : (struct mintd_str){ NULL, 0 });
    q_str(&q, reason ? row->msg : (struct mintd_str){ NULL, 0 });
    return q_run(&q);
}

static int step(struct call *c, const struct mintd_db_chunk *row, const struct held *h, uint32_t attempt_no)
{
    if (row->state == MINTD_ST_DONE) return step_done(c, row);
    if (row->state > MINTD_ST_DONE) return row->state == row->from ? 0 : step_end(c, row);
    uint32_t owner = row->flags & 1 ? 0 : row->slot ? c->slot : h->owner;
    bool uploaded = row->state == MINTD_ST_UPLOADED && h->state < MINTD_ST_UPLOADED, quarantine = row->state == MINTD_ST_QUARANTINE;
    bool other = quarantine || h->state == MINTD_ST_QUARANTINE || row->flags & 1 || owner != h->owner;
    struct q q = q_open(c->db, other ? SQL_CHUNK_OTHER : uploaded ? SQL_CHUNK_UPLOADED : SQL_CHUNK_STEP);
    q_int(&q, (int64_t)row->id);
    q_int(&q, row->state);
    q_int(&q, attempt_no);
    if (other || uploaded) {
        q_opt(&q, !uploaded ? 0 : row->uploaded_at ? row->uploaded_at : c->now);
        q_str(&q, row->upload);
    }
    if (other) {
        q_opt(&q, owner);
        q_opt(&q, row->flags & 1 && row->wake_in_ms ? later(c, row->wake_in_ms) : 0);
        q_str(&q, quarantine ? row->slug : (struct mintd_str){ NULL, 0 });
        q_str(&q, quarantine ? row->msg : (struct mintd_str){ NULL, 0 });
    }
    return q_run(&q);
}

/* ---- what rides with it */
static int add_proofs(struct call *c, struct group *g, uint64_t chunk)
{
    struct mintd_db_proof p;
    struct change_iter it = { 0 };
    int r = 0;
    while (!r && group_next(g, &it, MINTD_DB_PROOF, &p, sizeof p)) {
        bool expired = p.kind == MINTD_PROOF_EXPIRED;
        struct q q = q_open(c->db, SQL_PROOF_ADD);
        q_int(&q, (int64_t)(p.chunk ? p.chunk : chunk));
        q_int(&q, p.no);
        q_int(&q, p.kind);
        const int64_t found[] = { (int64_t)p.watermark, (int64_t)p.absent_at, p.effect_absent, p.quorum };
        for (size_t i = 0; i < LEN(found); i++) if (expired) q_int(&q, found[i]); else q_opt(&q, found[i]);
        q_str(&q, p.endpoints);
        q_str(&q, p.error);
        q_str(&q, p.by1);
        q_str(&q, p.by2);
        q_blob(&q, p.raw_hash);
        q_str(&q, p.facts);
        q_int(&q, p.created_at ? p.created_at : c->now);
        r = q_run(&q);
    }
    return r;
}

static int add_attempt(struct call *c, const struct mintd_db_chunk *row, const struct mintd_db_attempt *a)
{
    struct q q = q_open(c->db, SQL_ATTEMPT_ADD);
    q_int(&q, (int64_t)row->id);
    q_int(&q, a->no);
    q_text(&q, a->network);
    q_text(&q, a->tx_id);
    q_blob(&q, a->bytes);
    q_int(&q, a->bound > INT64_MAX ? INT64_MAX : (int64_t)a->bound);
    q_int(&q, (int64_t)a->fee_cap);
    q_str(&q, a->assets);
    q_int(&q, c->slot);
    q_int(&q, (int64_t)c->epoch);
    q_int(&q, a->created_at ? a->created_at : c->now);
    return q_run(&q);
}

static int add_chunk(struct call *c, uint64_t head, const struct held *h, const struct mintd_db_chunk *n, int64_t id)
{
    uint64_t collection = n->collection ? n->collection : h->collection;
    int64_t lane = n->kind == MINTD_MINT ? (int64_t)collection : n->kind == MINTD_TRANSFER ? -(int64_t)collection : 0;
    struct q q = q_open(c->db, SQL_CHUNK_ADD);
    q_int(&q, id);
    q_int(&q, n->n);
    q_int(&q, n->kind);
    q_int(&q, n->origin);
    q_opt(&q, (int64_t)(n->parent ? n->parent : head));
    q_int(&q, lane);
    q_int(&q, (int64_t)collection);
    q_int(&q, (int64_t)(n->venue ? n->venue : h->venue));
    q_opt(&q, n->kind == MINTD_COLLECTION ? 0 : (int64_t)(n->request ? n->request : h->request));
    q_int(&q, n->state);
    q_int(&q, n->wake_in_ms ? later(c, n->wake_in_ms) : 0);
    q_int(&q, c->now);
    return q_run(&q);
}

static int add_chunks(struct call *c, struct group *g, uint64_t head, const struct held *h, int64_t *ret_first, uint32_t *ret_n)
{
    struct mintd_db_chunk n;
    struct change_iter it = { 0 };
    int r = 0;
    *ret_n = 0;
    while (!r && group_next(g, &it, MINTD_DB_CHUNK, &n, sizeof n)) {
        if (n.id) return bad(c, "a second chunk of a group must be a new one");
        if (!*ret_n) r = next_chunk_id(c, ret_first);
        if (!r) r = add_chunk(c, head, h, &n, *ret_first + *ret_n);
        ++*ret_n;
    }
    return r;
}

static int add_moves(struct call *c, struct group *g, uint64_t head, int64_t first, uint32_t n, bool *ret_any)
{
    struct mintd_db_member m;
    struct change_iter it = { 0 };
    int r = 0;
    *ret_any = false;
    while (!r && group_next(g, &it, MINTD_DB_MEMBER, &m, sizeof m)) {
        if (!m.to_chunk || m.to_chunk > n) return bad(c, "a member goes to a chunk that is not in its group");
        struct q q = q_open(c->db, SQL_MOVE_ADD);
        q_int(&q, (int64_t)m.item);
        q_int(&q, m.kind);
        q_int(&q, (int64_t)(m.from_chunk ? m.from_chunk : head));
        q_int(&q, first + (int64_t)m.to_chunk - 1);
        q_int(&q, m.pos);
        r = q_run(&q);
        *ret_any = true;
    }
    return r;
}

/* Every seat that was made is taken and every seat that was left was filled elsewhere. */
static int no_transit(struct call *c, struct group *g, uint64_t venue)
{
    struct q q = q_open(c->db, SQL_TRANSIT);
    q_int(&q, (int64_t)venue);
    int r = q_row(&q);
    bool clean = r == 1 && !q_i64(&q, 0);
    if (r == 1) q_end(&q);
    return r < 0 ? r : clean ? 0 : settle(g, MINTD_REFUSED, 0, STR("store.transit"));
}

static int add_spend(struct call *c, struct group *g)
{
    struct mintd_db_spend s;
    struct change_iter it = { 0 };
    int r = 0;
    while (!r && group_next(g, &it, MINTD_DB_SPEND, &s, sizeof s)) {
        bool settles = s.reserve < 0 || s.spend > 0;       /* what happened is never refused, only what is planned */
        struct q q = q_open(c->db, settles ? SQL_SPEND_SETTLE : SQL_SPEND_RESERVE);
        q_text(&q, s.scope);
        q_int(&q, s.window_start);
        if (!settles) q_opt(&q, (int64_t)s.cap);
        q_int(&q, s.reserve);
        if (settles) q_int(&q, s.spend);
        r = q_run(&q);
    }
    return r;
}

static int move_collections(struct call *c, struct group *g)
{
    struct mintd_db_collection col;
    struct change_iter it = { 0 };
    while (group_next(g, &it, MINTD_DB_COLLECTION, &col, sizeof col)) {
        uint32_t verdict;
        uint64_t venue;
        int r = collection_move(c, &col, &verdict, &venue);
        if (r) return r;
        if (verdict == MINTD_STALE) return settle(g, MINTD_STALE, col.id, STR("collection"));
    }
    return 0;
}

int group_chunk(struct call *c, struct group *g, const struct mintd_db_chunk *row)
{
    if (!row->id) return bad(c, "a chunk that heads a group has an id");
    struct mintd_db_attempt attempt;
    struct change_iter it = { 0 };
    const struct mintd_db_attempt *a = group_next(g, &it, MINTD_DB_ATTEMPT, &attempt, sizeof attempt) ? &attempt : NULL;
    struct held h = { 0 };
    int64_t first = 0;
    uint32_t made = 0;
    bool moved = false;
    int r = read_held(c, row->id, &h);
    if (r == -ENOENT) return settle(g, MINTD_STALE, 0, STR("no such chunk"));
    if (!r) r = compare(c, g, row, &h, a);
    if (!r) r = add_proofs(c, g, row->id);
    if (!r) r = step(c, row, &h, a ? a->no : h.attempt_no);
    if (!r && a) r = add_attempt(c, row, a);
    if (!r) r = add_chunks(c, g, row->id, &h, &first, &made);
    if (!r) r = add_moves(c, g, row->id, first, made, &moved);
    if (!r && (made || moved || row->state == MINTD_ST_MOVED)) r = no_transit(c, g, h.venue);
    if (!r) r = add_spend(c, g);
    if (!r) r = move_collections(c, g);
    if (!r) r = group_events(c, g, row->id);
    if (!r && ends(row) && h.request)
        r = request_end(c, h.request, h.venue, &g->out->value);
    return r;
}

/* ---- claim */
static int claim_one(struct call *c, int64_t id, uint32_t flags, struct rows *out)
{
    struct q q = q_open(c->db, SQL_CHUNK_CLAIM);
    q_int(&q, id);
    q_int(&q, c->slot);
    int r = q_run(&q);
    if (r) return r;
    struct mintd_db_chunk *row = rows_add(c, out);
    if (!row) return -ENOMEM;
    r = load_chunk(c, id, row);
    return r || !(flags & 1) ? r : load_inside(c, row);
}

static int claim_lane(struct call *c, const struct mintd_db_lane *lane, uint32_t flags, struct rows *out)
{
    uint32_t max = lane->max < ROWS_MAX ? lane->max : ROWS_MAX, n = 0;
    int64_t *ids = call_alloc(c, (max + 1) * sizeof *ids);
    if (!ids) return -ENOMEM;
    struct q q = q_open(c->db, SQL_CHUNK_DUE);
    q_int(&q, lane->lane);
    q_int(&q, c->now);
    q_int(&q, lane->lane ? 0 : (int64_t)lane->collection);
    q_int(&q, max);
    int r;
    while ((r = q_row(&q)) == 1) ids[n++] = q_i64(&q, 0);
    for (uint32_t i = 0; !r && i < n && c->bytes < ANSWER_MAX; i++) r = claim_one(c, ids[i], flags, out);
    return r;
}

void op_claim(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct call c;
    struct mintd_claim arg = { 0 };
    struct mintd_db_lane lane;
    if (!call_begin(&c, self, op, true, false)) return;
    call_arg(req, &arg, sizeof arg);
    c.slot = arg.slot;
    c.epoch = arg.epoch;
    struct rows out = { .stride = sizeof(struct mintd_db_chunk) };
    int r = db_begin(&c);
    if (!r) r = call_fence(&c);
    for (uint32_t i = 0; !r && i < req->rows.n && c.bytes < ANSWER_MAX; i++) {
        mintd_row(req->rows, i, &lane, sizeof lane);
        r = claim_lane(&c, &lane, req->flags, &out);
    }
    if (!r) r = db_commit(&c);
    if (r) { db_rollback(&c); fail(&c, r); return; }
    answer(&c, rows_vec(&out), (struct mintd_str){ NULL, 0 });
}
