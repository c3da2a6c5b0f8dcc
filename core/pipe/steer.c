/* Following and steering requests: waiters, cancel, retry. Owns waiters. Calls the book and the store. Loop thread. */
#include <errno.h>
#include <stdlib.h>

#include "pipe/pipe_int.h"

enum { PAGE = 200 };

/* ---- waiting */
struct pipe_wait {
    struct list link;
    struct pipe *pipe;
    uint64_t request;
    pipe_wait_fn *fn; void *arg;
    struct loop_timer *timer;
    bool asking, gone, done;
};

static void wait_free(struct pipe_wait *w)
{
    list_del(&w->link);
    loop_timer_del(w->timer);
    if (w->asking) { w->gone = true; w->timer = NULL; return; }
    free(w);
}

static void wait_over(void *arg)
{
    struct pipe_wait *w = arg;
    pipe_wait_fn *fn = w->fn;
    void *fn_arg = w->arg;
    bool done = w->done;
    wait_free(w);
    fn(fn_arg, done);
}

static void wait_soon(struct pipe_wait *w)
{
    w->done = true;
    loop_timer_del(w->timer);
    w->timer = loop_timer(w->pipe->loop, 0, wait_over, w);
}

static void open_read(void *arg, struct plug_reply *r)
{
    struct pipe_wait *w = arg;
    pipe_called(w->pipe);
    w->asking = false;
    if (w->gone) { free(w); return; }
    if (r->out->cls != MINTD_OK) return;                   /* the end of its last chunk or the time will wake it */
    const struct mintd_db_chunk *rows = r->res->rows.p;
    for (uint32_t i = 0; i < r->res->rows.n; i++) if (rows[i].kind == MINTD_MINT) return;
    if (!r->res->next.n) wait_soon(w);
}

static bool query_chunks(struct pipe *p, uint64_t request, uint64_t states, struct mintd_str cursor, uint32_t flags, plug_fn *fn, void *arg)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    if (!q) { arena_free(mem); return false; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_CHUNK, .max = PAGE, .flags = flags, .request = request,
        .states = states, .cursor = arena_str(mem, cursor) };
    pipe_call(p, p->store, STORE_QUERY, flags, q, (struct mintd_vec){ 0 }, mem, fn, arg);
    return true;
}

#define STATE(s) ((uint64_t)1 << MINTD_ST_##s)

struct pipe_wait *pipe_wait(struct pipe *p, uint64_t request, uint64_t ms, pipe_wait_fn *fn, void *arg)
{
    struct pipe_wait *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    *w = (struct pipe_wait){ .pipe = p, .request = request, .fn = fn, .arg = arg };
    w->timer = loop_timer(p->loop, ms, wait_over, w);
    if (!w->timer) { free(w); return NULL; }
    list_add(&p->waits, &w->link);
    w->asking = query_chunks(p, request, STATE(ACCEPTED) | STATE(UPLOADING) | STATE(UPLOADED) | STATE(SIGNED) | STATE(LANDED),
                             (struct mintd_str){ NULL, 0 }, 0, open_read, w);
    return w;
}

void pipe_unwait(struct pipe_wait *w) { if (w) wait_free(w); }

void pipe_on_settled(struct pipe *p, pipe_settled_fn *fn, void *arg)
{
    p->settled_fn = fn;
    p->settled_arg = arg;
}

void steer_mint_done(struct pipe *p, uint64_t request)
{
    if (p->settled_fn) p->settled_fn(p->settled_arg, request);
    LIST_EACH(l, &p->waits) {
        struct pipe_wait *w = LIST_OF(l, struct pipe_wait, link);
        if (w->request == request && !w->done) wait_soon(w);
    }
}

void steer_free(struct pipe *p)
{
    LIST_EACH(l, &p->waits) wait_free(LIST_OF(l, struct pipe_wait, link));
}

/* ---- cancel and retry: page by page over the request's chunks, each chunk a group of its own */
struct steer {
    struct pipe *p;
    uint64_t request, n, revived;            /* revived: the last collection of that kind */
    pipe_steer_fn *fn; void *arg;
    struct arena *mem;                       /* of the present page */
    const struct mintd_db_chunk *rows; uint32_t n_rows;
    struct mintd_str cursor;
    uint32_t pending; bool retry, failed;
};
struct one { struct steer *s; uint64_t items, id; };

static void page(struct steer *s);

static void steer_end(struct steer *s, int err)
{
    if (s->fn) s->fn(s->arg, err, s->n);
    arena_free(s->mem);
    free(s);
}

static void page_done(struct steer *s)
{
    if (--s->pending) return;
    if (s->failed) steer_end(s, -EAGAIN);
    else if (s->cursor.n) page(s);
    else {
        struct pipe *p = s->p;
        uint64_t request = s->request;
        if (s->n && !s->retry) steer_mint_done(p, request);
        if (s->retry) { p->lanes.more = true; lane_kick(p); }
        steer_end(s, 0);
    }
}

static void settled(void *arg, const struct mintd_applied *a)
{
    struct one o = *(struct one *)arg;
    free(arg);
    if (!a) o.s->failed = true;
    else if (a->verdict == MINTD_APPLIED) o.s->n += o.items;
    page_done(o.s);                                        /* STALE, REFUSED: it moved on meanwhile, or was retried before */
}

/* A chunk that nobody had in memory: if it was the last, nobody else says so. */
static void cancelled(void *arg, const struct mintd_applied *a)
{
    const struct one *o = arg;
    if (a && a->verdict == MINTD_APPLIED) trail_count(o->s->p, o->s->request, MINTD_ST_CANCELLED, o->items);
    if (a && a->verdict == MINTD_APPLIED && !a->value) trail_end(o->s->p, o->s->request);
    settled(arg, a);
}

static struct group *one_group(struct steer *s, const struct mintd_db_chunk *c, uint64_t id, group_fn *fn)
{
    struct one *o = malloc(sizeof *o);
    struct group *g = o ? group_new(c->items.n, fn, o) : NULL;
    if (!g) { free(o); s->failed = true; return NULL; }
    *o = (struct one){ s, c->n, id };
    s->pending++;
    return g;
}

static void cancel_one(struct steer *s, const struct mintd_db_chunk *c)
{
    struct chunk *mine = map_get(&s->p->chunks, c->id);
    if (mine && mine->state > MINTD_ST_UPLOADED) return;
    if (mine && mine->busy) { mine->cancel = true; s->n += c->n; return; }     /* at its next step */
    if (mine) {
        struct one *o = malloc(sizeof *o);
        if (!o) { s->failed = true; return; }
        *o = (struct one){ s, c->n, c->id };
        s->pending++;
        chunk_cancel_now(s->p, mine, settled, o);
        return;
    }
    struct group *g = one_group(s, c, c->id, c->kind == MINTD_MINT ? cancelled : settled);
    if (!g) return;
    struct mintd_db_chunk *row = GROUP_ROW(g, MINTD_DB_CHUNK, mintd_db_chunk);
    if (row) *row = (struct mintd_db_chunk){ .id = c->id, .kind = c->kind, .from = c->state, .state = MINTD_ST_CANCELLED,
        .attempt_no = c->attempt_no, .slug = S("pipe.cancelled"), .msg = S("cancelled on request") };
    if (row) book_event(g, group_mem(g), "chunk.cancelled", c->venue, 0, S("{\"code\":\"pipe.cancelled\",\"reason\":\"cancelled on request\"}"));
    book_add(s->p, g, BOOK_URGENT);
}

static void retry_one(struct steer *s, const struct mintd_db_chunk *c)
{
    struct group *g = one_group(s, c, c->id, settled);
    if (!g) return;
    const struct mintd_db_item *items = c->items.p;
    struct mintd_db_chunk *head = GROUP_ROW(g, MINTD_DB_CHUNK, mintd_db_chunk);
    struct mintd_db_chunk *fresh = GROUP_ROW(g, MINTD_DB_CHUNK, mintd_db_chunk);
    struct mintd_db_member *moves = group_rows(g, MINTD_DB_MEMBER, sizeof *moves, c->items.n);
    if (head && fresh && moves) {
        *head = (struct mintd_db_chunk){ .id = c->id, .kind = c->kind, .from = c->state, .state = c->state, .attempt_no = c->attempt_no };
        *fresh = (struct mintd_db_chunk){ .kind = c->kind, .origin = 1, .parent = c->id, .n = c->items.n,
            .state = c->kind == MINTD_MINT ? MINTD_ST_ACCEPTED : MINTD_ST_UPLOADED };
        for (uint32_t i = 0; i < c->items.n; i++)
            moves[i] = (struct mintd_db_member){ .item = items[i].id, .from_chunk = c->id, .to_chunk = 1, .pos = i, .kind = c->kind };
        book_event(g, group_mem(g), "chunk.retried", c->venue, 0, arena_printf(group_mem(g), "{\"tickets\":%u}", c->items.n));
    }
    book_add(s->p, g, BOOK_URGENT);
}

/* Its chunks wait for a collection whose creation failed: that is tried again. */
static void revived(void *arg, const struct mintd_applied *a)
{
    struct one o = *(struct one *)arg;
    struct col *col = lane_col(o.s->p, o.id);
    if (col && a && a->verdict <= MINTD_REPEATED) col->state = MINTD_COL_NEW;
    settled(arg, a);
}

static void revive(struct steer *s, const struct mintd_db_chunk *c)
{
    struct col *col = lane_col(s->p, c->collection);
    if (!col || col->state != MINTD_COL_PARKED) return;
    if (s->revived == c->collection) { s->n += c->n; return; }
    struct group *g = one_group(s, c, c->collection, revived);
    struct mintd_db_collection *row = g ? GROUP_ROW(g, MINTD_DB_COLLECTION, mintd_db_collection) : NULL;
    if (!row) return;
    *row = (struct mintd_db_collection){ .id = c->collection, .from = MINTD_COL_PARKED, .state = MINTD_COL_NEW };
    s->revived = c->collection;
    book_add(s->p, g, BOOK_URGENT);
}

static void page_loaded(void *arg)
{
    struct steer *s = arg;
    s->pending = 1;
    for (uint32_t i = 0; i < s->n_rows; i++) {
        const struct mintd_db_chunk *c = &s->rows[i];
        if (c->kind == MINTD_COLLECTION) continue;
        if (!s->retry) cancel_one(s, c);
        else if (c->state == MINTD_ST_ACCEPTED) revive(s, c);
        else if (c->items.n) retry_one(s, c);
    }
    page_done(s);
}

static void page_read(void *arg, struct plug_reply *r)
{
    struct steer *s = arg;
    pipe_called(s->p);
    uint64_t *ids = r->out->cls == MINTD_OK ? arena_array(r->mem, r->res->rows.n + 1, sizeof *ids) : NULL;
    if (!ids) { steer_end(s, -EAGAIN); return; }
    arena_free(s->mem);
    s->mem = r->mem;
    r->mem = NULL;
    s->cursor = r->res->next;
    s->rows = r->res->rows.p;
    s->n_rows = r->res->rows.n;
    for (uint32_t i = 0; i < s->n_rows; i++) ids[i] = s->rows[i].collection;
    lane_load(s->p, ids, s->n_rows, page_loaded, s);
}

static void page(struct steer *s)
{
    uint64_t states = s->retry ? STATE(ACCEPTED) | STATE(FAILED) | STATE(CANCELLED) : STATE(ACCEPTED) | STATE(UPLOADING) | STATE(UPLOADED);
    if (!query_chunks(s->p, s->request, states, s->cursor, s->retry ? 1 : 0, page_read, s)) steer_end(s, -EAGAIN);
}

static void request_read(void *arg, struct plug_reply *r)
{
    struct steer *s = arg;
    pipe_called(s->p);
    const struct mintd_db_request *row = r->res->rows.p;
    if (r->out->cls != MINTD_OK) steer_end(s, -EAGAIN);
    else if (r->res->rows.n != 1 || row->state != MINTD_RQ_SEALED) steer_end(s, -ENOENT);
    else page(s);
}

static void cancel_noted(void *arg, const struct mintd_applied *a)
{
    struct steer *s = arg;
    if (!a) steer_end(s, -EAGAIN);
    else if (a->verdict > MINTD_REPEATED) steer_end(s, -ENOENT);
    else page(s);
}

static void steer(struct pipe *p, uint64_t request, bool retry, pipe_steer_fn *fn, void *arg)
{
    struct steer *s = calloc(1, sizeof *s);
    if (!s) { if (fn) fn(arg, -EAGAIN, 0); return; }
    *s = (struct steer){ .p = p, .request = request, .retry = retry, .fn = fn, .arg = arg };
    if (p->state != PIPE_RUNNING) { steer_end(s, -EAGAIN); return; }
    if (!retry) {
        struct group *g = group_new(0, cancel_noted, s);
        struct mintd_db_request *row = g ? GROUP_ROW(g, MINTD_DB_REQUEST, mintd_db_request) : NULL;
        if (!row) { steer_end(s, -EAGAIN); return; }
        *row = (struct mintd_db_request){ .id = request, .cancel_at = loop_wall_us(p->loop) / 1000 };
        book_add(p, g, BOOK_URGENT | BOOK_GIVE_UP);
        return;
    }
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *ids = q ? arena_copy(mem, &request, sizeof request) : NULL;
    if (!ids) { arena_free(mem); steer_end(s, -EAGAIN); return; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_REQUEST, .ids = VEC(ids, 1) };
    pipe_call(p, p->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, request_read, s);
}

void pipe_cancel(struct pipe *p, uint64_t request, pipe_steer_fn *fn, void *arg) { steer(p, request, false, fn, arg); }
void pipe_retry(struct pipe *p, uint64_t request, pipe_steer_fn *fn, void *arg) { steer(p, request, true, fn, arg); }

void steer_failed(struct pipe *p, const struct line *line, uint64_t request)
{
    if (line->cf && line->cf->stop_on_error) pipe_cancel(p, request, NULL, NULL);
}
