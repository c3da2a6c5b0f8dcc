/* Lists of items from the newest back (MINTD_Q_NEWEST, MINTD_Q_MINTED): chunk by chunk, in each from its last member to its first.
 * Three ways to the next chunk: by number (n), by time of mint (m), and, when only what failed, was cancelled or is in quarantine is
 * asked for, through the index of those (p). A cursor is the letter of its way and where to go on. A page looks at LOOK_MAX rows at
 * most, so a filter that matches nothing costs no more than one that does. Any worker. */
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum { LOOK_MAX = 20000, CURSOR_NUMBERS = 3 };
#define CHUNK_MAX (INT64_MAX - 1)
#define MOVED_ON (1u << MINTD_ST_FAILED | 1u << MINTD_ST_CANCELLED | 1u << MINTD_ST_MOVED)      /* members may have left */
#define TROUBLED (1u << MINTD_ST_FAILED | 1u << MINTD_ST_CANCELLED | 1u << MINTD_ST_QUARANTINE)

struct found { int64_t id, request, minted_at; uint64_t collection, venue; uint32_t n, origin, state; };

/* Where the walk is: at the members of `chunk` below `pos`, then at the chunks behind it. key: venue of way p, time of way m. */
struct walk {
    struct call *c;
    struct asked *a;
    char way;
    int64_t key, chunk, pos;
    int64_t left;                                          /* rows it may still look at */
    int64_t timed; bool in_time;                           /* the request whose time was looked up last */
    struct mintd_db_chunk near;
};

/* ---- cursors */
static int read_cursor(struct walk *w)
{
    struct mintd_str s = w->a->q->cursor;
    int64_t *to[CURSOR_NUMBERS] = { &w->key, &w->chunk, &w->pos };
    char text[80];
    if (!s.n) return 0;
    if (s.n >= sizeof text || s.p[0] != w->way) return bad(w->c, "this is no cursor of this list");
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    char *end = text;
    for (size_t i = 0; i < CURSOR_NUMBERS; i++) {
        const char *at = end + 1;
        errno = 0;
        *to[i] = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
        if (errno || *to[i] < 0 || *to[i] > CHUNK_MAX || *end != (i + 1 < CURSOR_NUMBERS ? '.' : '\0'))
            return bad(w->c, "this is no cursor of this list");
    }
    if (w->way == 'p' && w->a->q->venue && (uint64_t)w->key != w->a->q->venue) return bad(w->c, "this cursor is of another venue");
    return w->way == 'n' && w->chunk >= LATER_ID ? bad(w->c, "this is no cursor of this list") : 0;
}

static int stop_here(struct walk *w)
{
    w->a->next = call_text(w->c, "%c%lld.%lld.%lld", w->way, (long long)w->key, (long long)w->chunk, (long long)w->pos);
    return w->a->next.n ? 0 : -ENOMEM;
}

static void go_below(struct walk *w, int64_t chunk) { w->chunk = chunk - 1; w->pos = CHUNK_MAX; }

/* ---- the next chunk of each way: 1, 0: no more */
static int read_found(struct q *q, struct found *ret)
{
    int r = q_row(q);
    if (r != 1) return r;
    *ret = (struct found){ .id = q_i64(q, 0), .n = q_u32(q, 1), .origin = q_u32(q, 2), .state = q_u32(q, 3), .collection = q_u64(q, 4),
        .venue = q_u64(q, 5), .request = q_i64(q, 6), .minted_at = q_i64(q, 7) };
    q_end(q);
    return 1;
}

static int next_by_number(struct walk *w, struct found *ret)
{
    struct q q = q_open(w->c->db, SQL_NEWEST_CHUNK);
    q_int(&q, w->chunk + 1);
    return read_found(&q, ret);
}

static int next_by_time(struct walk *w, struct found *ret)
{
    int64_t venue = (int64_t)w->a->q->venue;
    struct q q = q_open(w->c->db, venue ? SQL_MINTED_WITH_VENUE : SQL_MINTED_WITH);
    q_int(&q, w->key);
    q_int(&q, w->chunk + 1);
    if (venue) q_int(&q, venue);
    int r = read_found(&q, ret);
    if (r) return r;
    q = q_open(w->c->db, venue ? SQL_MINTED_BEFORE_VENUE : SQL_MINTED_BEFORE);
    q_int(&q, w->key);
    if (venue) q_int(&q, venue);
    r = read_found(&q, ret);
    if (r == 1) w->key = ret->minted_at;
    return r;
}

static int next_venue(struct walk *w)
{
    struct q q = q_open(w->c->db, SQL_TROUBLED_VENUE);
    q_int(&q, w->key);
    int r = q_row(&q);
    if (r != 1) return r;
    bool more = sqlite3_column_type(q.st, 0) != SQLITE_NULL;
    if (more) w->key = q_i64(&q, 0);
    q_end(&q);
    go_below(w, CHUNK_MAX);
    return more;
}

static int next_troubled(struct walk *w, struct found *ret)
{
    int r;
    for (;;) {
        struct q q = q_open(w->c->db, SQL_TROUBLED_CHUNK);
        q_int(&q, w->key);
        q_int(&q, w->chunk + 1);
        if ((r = read_found(&q, ret)) || w->a->q->venue) return r;
        if ((r = next_venue(w)) != 1) return r;
    }
}

static int next_chunk(struct walk *w, struct found *ret)
{
    int r = w->way == 'm' ? next_by_time(w, ret) : w->way == 'p' ? next_troubled(w, ret) : next_by_number(w, ret);
    if (r == 1 && ret->id != w->chunk) w->pos = CHUNK_MAX;
    if (r == 1) w->chunk = ret->id;
    w->left--;
    return r;
}

/* ---- is it wanted */
static int created(struct walk *w, int64_t request, int64_t *ret)
{
    struct q q = q_open(w->c->db, SQL_REQUEST_CREATED);
    q_int(&q, request);
    int r = q_row(&q);
    if (r != 1) return r;
    *ret = q_i64(&q, 0);
    q_end(&q);
    w->left--;
    return 0;
}

static int in_time(struct walk *w, int64_t request, bool *ret)
{
    const struct mintd_query *q = w->a->q;
    int64_t at = 0;
    int r = (q->from_ms || q->to_ms) && w->timed != request ? created(w, request, &at) : 0;
    if (!r && w->timed != request) {
        w->timed = request;
        w->in_time = at >= q->from_ms && (!q->to_ms || at < q->to_ms);
    }
    *ret = w->in_time;
    return r;
}

/* The next request of the venue: those of others are passed over at once. 0: there is none. */
static int pass_venues(struct walk *w, int64_t request)
{
    struct q q = q_open(w->c->db, SQL_LIST_REQUESTS_VENUE);
    q_int(&q, request);
    q_int(&q, 1);
    q_int(&q, (int64_t)w->a->q->venue);
    int r = q_row(&q);
    if (r != 1) return r;
    go_below(w, first_item(q_u64(&q, 0) + 1));
    q_end(&q);
    return 1;
}

/* 1: its members are to be looked at. 0: it was passed over. -ENOENT: nothing behind it either. */
static int wanted(struct walk *w, const struct found *f)
{
    const struct mintd_query *q = w->a->q;
    if (w->way == 'm') return 1;
    if (q->venue && f->venue != q->venue) {
        int r = pass_venues(w, f->request);
        return r < 0 ? r : r ? 0 : -ENOENT;
    }
    bool timely;
    int r = in_time(w, f->request, &timely);
    if (r) return r;
    bool inside = w->way == 'n' && MOVED_ON >> f->state & 1;        /* each member may be in another state */
    if (timely && (!q->collection || q->collection == f->collection) && (!q->states || inside || q->states >> f->state & 1)) return 1;
    go_below(w, timely || w->way == 'p' ? f->id : first_item((uint64_t)f->request));
    return 0;
}

static int item_state(struct walk *w, int64_t item, uint32_t *ret)
{
    int64_t chunk = 0;
    uint32_t pos;
    int r = item_place(w->c, item, MINTD_MINT, &chunk, &pos);
    if (r) return r;
    struct q q = q_open(w->c->db, SQL_STATE_OF);
    q_int(&q, chunk);
    r = q_row(&q);
    if (r != 1) return r ? r : -ENOENT;
    *ret = q_u32(&q, 0);
    q_end(&q);
    return 0;
}

static int is_in(struct walk *w, const struct found *f, int64_t item, bool *ret)
{
    *ret = true;
    if (!(MOVED_ON >> f->state & 1)) return 0;
    if (w->way == 'p') {
        int r = item_left(w->c, (uint64_t)f->id, (uint64_t)item, ret);
        *ret = !*ret;
        return r;
    }
    uint32_t state = 0;
    int r = w->a->q->states ? item_state(w, item, &state) : 0;
    *ret = !w->a->q->states || w->a->q->states >> state & 1;
    return r;
}

/* ---- the members of a chunk */
static int add_item(struct walk *w, int64_t item)
{
    void *row = rows_add(w->c, &w->a->rows);
    int r = row ? load_item(w->c, item, &w->near, row) : -ENOMEM;
    if (r == -ENOENT) w->a->rows.n--;
    return r == -ENOENT ? 0 : r;
}

/* Goes on below the one just looked at; stops before one that does not fit any more. */
static int look_at(struct walk *w, const struct found *f, struct q *q)
{
    bool in = q_i64(q, 2);
    int64_t item = q_i64(q, 0), pos = q_i64(q, 1);
    int r = in ? is_in(w, f, item, &in) : 0;
    if (!r && in && full(w->c, w->a)) return stop_here(w);
    if (!r && in) r = add_item(w, item);
    w->pos = pos;
    return --w->left > 0 || r ? r : stop_here(w);
}

static int members(struct walk *w, const struct found *f)
{
    struct q q = q_open(w->c->db, f->origin ? SQL_SEATS_MOVED : SQL_SEATS_HOME);
    q_int(&q, f->id);
    q_int(&q, w->pos < f->n ? w->pos : f->n);
    q_str(&q, w->a->q->event);
    int r;
    while ((r = q_row(&q)) == 1) {
        r = look_at(w, f, &q);
        if (r || w->a->next.n) { q_end(&q); return r; }
    }
    if (!r) go_below(w, f->id);
    return r;
}

/* ---- the list */
static int choose(struct walk *w)
{
    const struct mintd_query *q = w->a->q;
    bool minted = w->a->flags & MINTD_Q_MINTED;
    if (q->ids.n || q->names.n || q->request) return bad(w->c, "a list from the newest back takes no ids, names or request");
    if (minted && w->a->flags & MINTD_Q_NEWEST) return bad(w->c, "a list is by number or by time of mint, not both");
    if (minted && (q->states || q->collection || q->event.n || q->from_ms || q->to_ms))
        return bad(w->c, "the list by time of mint is filtered by venue alone");
    w->way = minted ? 'm' : q->states && !(q->states & ~(uint64_t)TROUBLED) ? 'p' : 'n';
    w->key = minted ? INT64_MAX : w->way == 'p' ? (int64_t)q->venue : 0;
    go_below(w, w->way == 'n' ? LATER_ID : CHUNK_MAX);
    return q->venue > INT64_MAX ? bad(w->c, "a venue's number is not that great") : read_cursor(w);
}

int list_newest(struct call *c, struct asked *a)
{
    struct walk w = { .c = c, .a = a, .left = LOOK_MAX, .in_time = true };
    struct found f;
    int r = choose(&w);
    while (!r && !a->next.n && (r = next_chunk(&w, &f)) == 1) {
        r = wanted(&w, &f);
        if (r == -ENOENT) return 0;
        if (r == 1) r = members(&w, &f);
        if (!r && !a->next.n && w.left <= 0) r = stop_here(&w);
    }
    return r;
}
