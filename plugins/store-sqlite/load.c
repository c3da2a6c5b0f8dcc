/* Rows of the database as rows of the ABI: chunks with what is inside them, items with where they are. Any worker. */
#include <stdlib.h>

#include "store.h"

enum { MINT = 0, TRANSFER = 2, HOME = 0, FOLLOW = 2 };

static int copy_texts(struct call *c, struct q *q, const int *cols, struct mintd_str *const *to, size_t n)
{
    int r = 0;
    for (size_t i = 0; !r && i < n; i++) r = call_copy(c, q, cols[i], to[i]);
    return r;
}

int load_chunk(struct call *c, int64_t id, struct mintd_db_chunk *ret)
{
    struct q q = q_open(c->db, SQL_CHUNK_GET);
    q_int(&q, id);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    int64_t wake = q_i64(&q, 12);
    *ret = (struct mintd_db_chunk){ .id = q_u64(&q, 0), .n = q_u32(&q, 1), .kind = q_u32(&q, 2), .origin = q_u32(&q, 3),
        .parent = q_u64(&q, 4), .lane = q_i64(&q, 5), .collection = q_u64(&q, 6), .venue = q_u64(&q, 7), .request = q_u64(&q, 8),
        .state = q_u32(&q, 9), .attempt_no = q_u32(&q, 10), .slot = q_u32(&q, 11), .wake_in_ms = wake > c->now ? (uint64_t)(wake - c->now) : 0,
        .accepted_at = q_i64(&q, 15), .uploaded_at = q_i64(&q, 16), .minted_at = q_i64(&q, 17), .block_time = q_i64(&q, 18),
        .first_serial = q_u64(&q, 19), .fee = q_u64(&q, 21) };
    r = copy_texts(c, &q, (int[]){ 13, 14, 20, 22, 23 },
                   (struct mintd_str *[]){ &ret->slug, &ret->msg, &ret->assets, &ret->evidence, &ret->upload }, 5);
    q_end(&q);
    return r;
}

/* ---- items */
static int read_item(struct call *c, struct q *q, struct mintd_db_item *ret)
{
    *ret = (struct mintd_db_item){ .id = q_u64(q, 0), .venue = q_u64(q, 1), .ord = q_u32(q, 7), .pos = q_u32(q, 8) };
    return copy_texts(c, q, (int[]){ 2, 3, 4, 5, 6 },
                      (struct mintd_str *[]){ &ret->ticket, &ret->recipient, &ret->uri, &ret->body, &ret->extra }, 5);
}

int item_left(struct call *c, uint64_t chunk, uint64_t item, bool *ret)
{
    struct q q = q_open(c->db, SQL_MOVE_DONE);
    q_int(&q, (int64_t)chunk);
    q_int(&q, (int64_t)item);
    int r = q_row(&q);
    *ret = r == 1;
    if (r == 1) q_end(&q);
    return r < 0 ? r : 0;
}

/* Members of `from` in order, without those that have left `chunk` (which only a dead chunk's can). */
static int load_members(struct call *c, const struct mintd_db_chunk *from, const struct mintd_db_chunk *chunk, struct rows *out)
{
    struct q q = q_open(c->db, from->origin == HOME ? SQL_MEMBERS_HOME : SQL_MEMBERS_MOVED);
    q_int(&q, (int64_t)from->id);
    if (from->origin == HOME) q_int(&q, from->n);
    int r;
    while ((r = q_row(&q)) == 1) {
        bool left = false;
        int r2 = chunk->state > MINTD_ST_DONE ? item_left(c, chunk->id, q_u64(&q, 0), &left) : 0;
        struct mintd_db_item *item = r2 || left ? NULL : rows_add(c, out);
        if (!r2 && !left) r2 = item ? read_item(c, &q, item) : -ENOMEM;
        if (r2) { q_end(&q); return r2; }
    }
    return r;
}

int load_attempt(struct call *c, struct q *q, struct mintd_db_attempt *ret)
{
    int64_t bound = q_i64(q, 5);
    *ret = (struct mintd_db_attempt){ .chunk = q_u64(q, 0), .no = q_u32(q, 1), .bound = bound == INT64_MAX ? UINT64_MAX : (uint64_t)bound,
        .fee_cap = q_u64(q, 6), .slot = q_u32(q, 8), .epoch = q_u64(q, 9), .created_at = q_i64(q, 10) };
    return copy_texts(c, q, (int[]){ 2, 3, 4, 7 },
                      (struct mintd_str *[]){ &ret->network, &ret->tx_id, &ret->bytes, &ret->assets }, 4);
}

static int load_newest(struct call *c, struct mintd_db_chunk *row)
{
    struct q q = q_open(c->db, SQL_ATTEMPT_GET);
    q_int(&q, (int64_t)row->id);
    q_int(&q, row->attempt_no);
    int r = q_row(&q);
    if (r != 1) return r;
    struct mintd_db_attempt *a = call_alloc(c, sizeof *a);
    r = a ? load_attempt(c, &q, a) : -ENOMEM;
    q_end(&q);
    row->attempts = ROWS(a, 1);
    return r;
}

int load_inside(struct call *c, struct mintd_db_chunk *row)
{
    struct mintd_db_chunk parent = { 0 }, *from = row;
    struct rows items = { .stride = sizeof(struct mintd_db_item) };
    int r = 0;
    if (row->kind == TRANSFER && row->origin == FOLLOW) {  /* the items of the mint it follows */
        r = load_chunk(c, (int64_t)row->parent, &parent);
        from = &parent;
    }
    if (!r && row->n) r = load_members(c, from, row, &items);
    row->items = rows_vec(&items);
    return r || !row->attempt_no ? r : load_newest(c, row);
}

/* ---- where an item is */
int item_place(struct call *c, int64_t item, uint32_t kind, int64_t *ret_chunk, uint32_t *ret_pos)
{
    struct q q = q_open(c->db, SQL_MOVED_TO);
    q_int(&q, item);
    q_int(&q, kind);
    int r = q_row(&q);
    if (r == 1) {
        *ret_chunk = q_i64(&q, 0);
        *ret_pos = q_u32(&q, 1);
        q_end(&q);
        return 0;
    }
    if (r || kind != MINT) return r ? r : -ENOENT;
    q = q_open(c->db, SQL_HOME_OF);
    q_int(&q, item);
    r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    *ret_chunk = q_i64(&q, 0);
    *ret_pos = (uint32_t)(item - *ret_chunk);
    q_end(&q);
    return 0;
}

static int follow_of(struct call *c, uint64_t chunk, int64_t *ret)
{
    struct q q = q_open(c->db, SQL_CHUNK_FOLLOW);
    q_int(&q, (int64_t)chunk);
    q_int(&q, TRANSFER);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    *ret = q_i64(&q, 0);
    q_end(&q);
    return 0;
}

static int delivery(struct call *c, struct mintd_db_item *item)
{
    int64_t chunk = 0;
    uint32_t pos;
    int r = item_place(c, (int64_t)item->id, TRANSFER, &chunk, &pos);
    if (r == -ENOENT) r = follow_of(c, item->chunk, &chunk);
    if (r) return r == -ENOENT ? 0 : r;
    struct q q = q_open(c->db, SQL_STATE_OF);
    q_int(&q, chunk);
    r = q_row(&q);
    if (r != 1) return r;
    item->delivery = (uint64_t)chunk;
    item->delivered = q_u32(&q, 0);
    q_end(&q);
    return 0;
}

static struct mintd_str word(struct mintd_str s, uint32_t at)
{
    const char *p = s.p, *end = s.n ? s.p + s.n : NULL;
    for (; p && at; at--) {
        p = memchr(p, ' ', (size_t)(end - p));
        if (p) p++;
    }
    if (!p) return (struct mintd_str){ NULL, 0 };
    const char *stop = memchr(p, ' ', (size_t)(end - p));
    return (struct mintd_str){ p, (size_t)((stop ? stop : end) - p) };
}

static int minted(struct call *c, const struct mintd_db_chunk *ch, struct mintd_db_item *item)
{
    item->asset = ch->first_serial ? call_text(c, "%llu", (unsigned long long)(ch->first_serial + item->pos)) : word(ch->assets, item->pos);
    return delivery(c, item);
}

int load_item(struct call *c, int64_t id, struct mintd_db_chunk *near, struct mintd_db_item *ret)
{
    struct q q = q_open(c->db, SQL_ITEM_GET);
    q_int(&q, id);
    int r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    r = read_item(c, &q, ret);
    q_end(&q);
    int64_t chunk;
    if (!r) r = item_place(c, id, MINT, &chunk, &ret->pos);
    if (!r && (int64_t)near->id != chunk) {
        r = load_chunk(c, chunk, near);
        if (!r && near->attempt_no) r = load_newest(c, near);
    }
    if (r) return r;
    const struct mintd_db_attempt *a = near->attempts.p;
    ret->chunk = near->id;
    ret->state = near->state;
    ret->slug = near->slug;
    if (a) ret->tx_id = a->tx_id;
    return near->state == MINTD_ST_DONE ? minted(c, near, ret) : 0;
}
