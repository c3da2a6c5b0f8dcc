/* Keys of the API and reports of a comparison with the chain: heads of a commit and rows of a query. A key's row says who may come in;
 * it is never made anew under its name. A report is written once. Worker 0 writes, any worker reads. */
#include <stdio.h>

#include "store.h"

/* ---- keys */
static int key_add(struct call *c, struct group *g, const struct mintd_db_key *row)
{
    if (!row->name.n || row->hash.n != HASH_LEN || !row->scopes.n) return bad(c, "a key has a name, a hash of 32 bytes and scopes");
    struct q q = q_open(c->db, SQL_KEY_FIND);
    q_text(&q, row->name);
    int r = q_row(&q);
    if (r < 0) return r;
    if (r) {
        uint64_t id = q_u64(&q, 0);
        struct mintd_str old = q_bytes(&q, 1);
        bool same = old.n == HASH_LEN && !memcmp(old.p, row->hash.p, HASH_LEN);
        q_end(&q);
        return settle(g, same ? MINTD_REPEATED : MINTD_STALE, id, same ? STR("") : STR("hash"));
    }
    q = q_open(c->db, SQL_KEY_ADD);
    q_text(&q, row->name);
    q_blob(&q, row->hash);
    q_text(&q, row->scopes);
    q_opt(&q, (int64_t)row->venue);
    q_str(&q, row->cidr);
    q_int(&q, row->created_at ? row->created_at : c->now);
    q_opt(&q, row->expires_at);
    r = q_run(&q);
    g->out->value = (uint64_t)sqlite3_last_insert_rowid(c->db->h);
    return r;
}

static int key_mark(struct call *c, enum sql which, uint64_t id, int64_t at)
{
    struct q q = q_open(c->db, which);
    q_int(&q, (int64_t)id);
    q_int(&q, at);
    return q_run(&q);
}

static int key_change(struct call *c, struct group *g, const struct mintd_db_key *row)
{
    if (row->revoked_at <= 0 && row->used_at <= 0) return bad(c, "a change of a key revokes it or says when it was used");
    struct q q = q_open(c->db, SQL_KEY_TIMES);
    q_int(&q, row->id > INT64_MAX ? 0 : (int64_t)row->id);
    int r = q_row(&q);
    if (r < 0) return r;
    if (!r) return settle(g, MINTD_STALE, row->id, STR("no such key"));
    bool revokes = row->revoked_at > 0 && !q_i64(&q, 0), uses = row->used_at > q_i64(&q, 1);
    q_end(&q);
    if (!revokes && !uses) return settle(g, MINTD_REPEATED, row->id, STR(""));
    g->out->value = row->id;
    r = revokes ? key_mark(c, SQL_KEY_REVOKE, row->id, row->revoked_at) : 0;
    return r || !uses ? r : key_mark(c, SQL_KEY_USE, row->id, row->used_at);
}

int group_key(struct call *c, struct group *g, const struct mintd_db_key *row)
{
    int r = row->id ? key_change(c, g, row) : key_add(c, g, row);
    return r ? r : group_events(c, g, g->out->value);
}

int get_key(struct call *c, int64_t id, struct mintd_db_key *ret)
{
    struct q q = q_open(c->db, SQL_GET_KEY);
    q_int(&q, id);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    *ret = (struct mintd_db_key){ .id = q_u64(&q, 0), .venue = q_u64(&q, 1), .created_at = q_i64(&q, 6), .expires_at = q_i64(&q, 7),
        .revoked_at = q_i64(&q, 8), .used_at = q_i64(&q, 9) };
    struct mintd_str *to[] = { &ret->name, &ret->hash, &ret->scopes, &ret->cidr };
    r = 0;
    for (int i = 0; !r && i < (int)LEN(to); i++) r = call_copy(c, &q, 2 + i, to[i]);
    q_end(&q);
    return r;
}

/* ---- reports */
static struct q report_open(struct call *c, enum sql which, const struct mintd_db_report *row)
{
    const uint64_t counts[] = { row->total_checked, row->confirmed, row->not_found, row->pending, row->errors, row->discrepancy_count };
    struct q q = q_open(c->db, which);
    q_text(&q, row->venue_id);
    q_int(&q, row->report_date ? row->report_date : c->now);
    for (size_t i = 0; i < LEN(counts); i++) q_int(&q, (int64_t)counts[i]);
    return q;
}

int group_report(struct call *c, struct group *g, const struct mintd_db_report *row)
{
    if (row->id || !row->venue_id.n) return bad(c, "a report is written once, and names its venue");
    struct q q = report_open(c, SQL_REPORT_FIND, row);
    int r = q_row(&q);
    if (r < 0) return r;
    if (r) {
        uint64_t id = q_u64(&q, 0);
        q_end(&q);
        return settle(g, MINTD_REPEATED, id, STR(""));
    }
    q = report_open(c, SQL_REPORT_ADD, row);
    q_str(&q, row->report_data);
    q_int(&q, row->created_at ? row->created_at : c->now);
    r = q_run(&q);
    g->out->value = (uint64_t)sqlite3_last_insert_rowid(c->db->h);
    return r ? r : group_events(c, g, g->out->value);
}

static int read_report(struct call *c, struct q *q, struct asked *a)
{
    struct mintd_db_report *row = rows_add(c, &a->rows);
    if (!row) return -ENOMEM;
    *row = (struct mintd_db_report){ .id = q_u64(q, 0), .total_checked = q_u64(q, 1), .confirmed = q_u64(q, 2), .not_found = q_u64(q, 3),
        .pending = q_u64(q, 4), .errors = q_u64(q, 5), .discrepancy_count = q_u64(q, 6), .report_date = q_i64(q, 9), .created_at = q_i64(q, 10) };
    int r = call_copy(c, q, 7, &row->venue_id);
    return r ? r : call_copy(c, q, 8, &row->report_data);
}

/* The cursor is the last report shown. */
int list_reports(struct call *c, struct asked *a)
{
    struct { struct mintd_str s; } venue = { { NULL, 0 } };
    int64_t before = INT64_MAX;
    if (a->q->names.n > 1) return bad(c, "reports are listed of one venue or of all");
    if (a->q->names.n) mintd_row(a->q->names, 0, &venue, sizeof venue);
    int r = cursor_numbers(c, a->q->cursor, &before, NULL);
    if (r || before < 0) return r ? r : bad(c, "this is no cursor of this store");
    struct q q = q_open(c->db, a->q->names.n ? SQL_LIST_REPORTS_VENUE : SQL_LIST_REPORTS);
    q_int(&q, before);
    q_int(&q, (int64_t)a->max + 1);
    if (a->q->names.n) q_text(&q, venue.s);
    while ((r = q_row(&q)) == 1) {
        if (full(c, a)) a->next = call_text(c, "%llu", (unsigned long long)((const struct mintd_db_report *)last_row(a))->id);
        r = a->next.n ? 0 : read_report(c, &q, a);
        if (r || a->next.n) { q_end(&q); return r; }
    }
    return r;
}
