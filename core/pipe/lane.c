/* Lanes: which collections have work, and claiming it in turn so that no lane starves another. Owns struct col. What is in memory
 * is bounded: CHUNKS_MAX in all, and a lane that has nothing in memory always gets a few. Loop thread. */
#include <stdlib.h>

#include "base/crash.h"
#include "pipe/pipe_int.h"

enum { POLL_MS = 3000, LANES_MAX = 200, FOOT_IN_DOOR = 4 };
static const struct mintd_str NONE = { NULL, 0 };

struct col *lane_col(struct pipe *p, uint64_t id) { return map_get(&p->cols, id); }

void col_free(struct col *col)
{
    if (!col) return;
    list_del(&col->ring);
    arena_free(col->mem);
    free(col);
}

void lane_made(struct pipe *p, uint64_t collection, struct mintd_str chain_ref)
{
    struct col *col = lane_col(p, collection);
    if (!col) return;
    col->chain_ref = arena_str(col->mem, chain_ref);
    col->state = MINTD_COL_READY;
    p->lanes.more = true;
    lane_kick(p);
}

/* ---- loading collections and the names of their venues */
struct load { struct pipe *p; lane_loaded_fn *fn; void *arg; struct arena *mem; const struct mintd_db_collection *rows; uint32_t n; };

static void load_end(struct load *l)
{
    l->fn(l->arg);
    arena_free(l->mem);
    free(l);
}

static void put_col(struct pipe *p, const struct mintd_db_collection *row, const struct mintd_db_venue *venues, uint32_t n)
{
    struct line *line = NULL;
    LIST_EACH(l, &p->lines) if (str_eq(LIST_OF(l, struct line, link)->name, row->pipeline)) line = LIST_OF(l, struct line, link);
    struct mintd_str venue = NONE;
    for (uint32_t i = 0; i < n; i++) if (venues[i].id == row->venue) venue = venues[i].name;
    if (!line || !venue.n || lane_col(p, row->id)) return;
    struct col *col = calloc(1, sizeof *col);
    if (!col || !(col->mem = arena_new(512))) { free(col); return; }
    col->id = row->id;
    col->venue = row->venue;
    col->line = line;
    col->state = row->state;
    col->venue_name = arena_str(col->mem, venue);
    col->name = arena_str(col->mem, row->name);
    col->spec = arena_str(col->mem, row->spec);
    col->chain_ref = arena_str(col->mem, row->chain_ref);
    list_init(&col->ready);
    if (map_put(&p->cols, col->id, col)) col_free(col);
}

static void venues_read(void *arg, struct plug_reply *r)
{
    struct load *l = arg;
    pipe_called(l->p);
    if (r->out->cls == MINTD_OK)
        for (uint32_t i = 0; i < l->n; i++) put_col(l->p, &l->rows[i], r->res->rows.p, r->res->rows.n);
    else
        pipe_outcome(l->p, NULL, STAGE_QUERY, 0, r->out);
    load_end(l);
}

static bool query_ids(struct pipe *p, uint32_t kind, const uint64_t *ids, uint32_t n, plug_fn *fn, void *arg)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *copy = q ? arena_copy(mem, ids, n * sizeof *ids) : NULL;
    if (!copy) { arena_free(mem); return false; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = kind, .max = n, .ids = VEC(copy, n) };
    pipe_call(p, p->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, fn, arg);
    return true;
}

static void cols_read(void *arg, struct plug_reply *r)
{
    struct load *l = arg;
    pipe_called(l->p);
    uint64_t *ids = r->out->cls == MINTD_OK ? arena_array(r->mem, r->res->rows.n + 1, sizeof *ids) : NULL;
    if (!ids || !r->res->rows.n) { load_end(l); return; }
    l->mem = r->mem;
    r->mem = NULL;
    l->rows = r->res->rows.p;
    l->n = r->res->rows.n;
    for (uint32_t i = 0; i < l->n; i++) ids[i] = l->rows[i].venue;
    if (!query_ids(l->p, MINTD_DB_VENUE, ids, l->n, venues_read, l)) load_end(l);
}

static void loaded_already(void *arg) { load_end(arg); }

void lane_load(struct pipe *p, const uint64_t *ids, uint32_t n, lane_loaded_fn *fn, void *arg)
{
    uint64_t *want = malloc((n + 1) * sizeof *want);
    struct load *l = calloc(1, sizeof *l);
    if (!want || !l) { free(want); free(l); fn(arg); return; }
    *l = (struct load){ .p = p, .fn = fn, .arg = arg };
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool have = !ids[i] || lane_col(p, ids[i]);
        for (uint32_t j = 0; !have && j < k; j++) have = want[j] == ids[i];
        if (!have) want[k++] = ids[i];
    }
    if (!k || !query_ids(p, MINTD_DB_COLLECTION, want, k, cols_read, l)) loop_post(p->loop, loaded_already, l);
    free(want);
}

/* ---- claiming */
static void discover(struct pipe *p);

static void wake(void *arg)
{
    struct pipe *p = arg;
    loop_timer_del(p->lanes.timer);
    p->lanes.timer = NULL;
    p->lanes.more = true;
    lane_kick(p);
}

static void done(struct pipe *p, uint64_t wake_ms)
{
    p->lanes.out = false;
    if (p->state != PIPE_RUNNING) return;
    if (p->lanes.again) { p->lanes.again = false; lane_kick(p); }
    if (p->lanes.out) return;
    loop_timer_del(p->lanes.timer);
    p->lanes.timer = loop_timer(p->loop, wake_ms < POLL_MS ? (wake_ms ? wake_ms : 1) : POLL_MS, wake, p);
}

struct claim { struct pipe *p; struct arena *mem; const struct mintd_db_chunk *rows; uint32_t n; };

static void adopt(void *arg)
{
    struct claim *cl = arg;
    struct pipe *p = cl->p;
    for (uint32_t i = 0; i < cl->n; i++) {
        struct col *col = lane_col(p, cl->rows[i].collection);
        if (!col || map_get(&p->chunks, cl->rows[i].id)) continue;
        struct chunk *c = chunk_adopt(p, col->line, col, &cl->rows[i], cl->mem);
        if (c) chunk_route(p, c);
    }
    arena_free(cl->mem);
    free(cl);
    done(p, POLL_MS);
}

static void claimed(void *arg, struct plug_reply *r)
{
    struct pipe *p = arg;
    pipe_called(p);
    p->written++;
    CRASH("lane.claim.after");
    struct claim *cl = r->out->cls == MINTD_OK && p->state == PIPE_RUNNING ? calloc(1, sizeof *cl) : NULL;
    uint64_t *ids = cl ? arena_array(r->mem, r->res->rows.n + 1, sizeof *ids) : NULL;
    if (!ids) {
        if (r->out->cls != MINTD_OK) pipe_outcome(p, NULL, STAGE_CLAIM, 0, r->out);
        free(cl);
        if (r->out->cls == MINTD_PERMANENT && str_eq(r->out->slug, S("store.fenced"))) pipe_fatal(p, "another instance took this slot");
        done(p, 500);
        return;
    }
    *cl = (struct claim){ p, r->mem, r->res->rows.p, r->res->rows.n };
    r->mem = NULL;
    if (cl->n) metric_add(p->m.claims, NONE, NONE, 1);
    for (uint32_t i = 0; i < cl->n; i++) ids[i] = cl->rows[i].collection;
    lane_load(p, ids, cl->n, adopt, cl);
}

/* Equal shares first, what small lanes leave goes to the others. */
static uint32_t share_out(struct mintd_db_lane *lanes, uint32_t n, uint32_t room, uint32_t first)
{
    uint32_t given = 0;
    uint32_t want[LANES_MAX];
    for (uint32_t i = 0; i < n; i++) { want[i] = lanes[i].max; lanes[i].max = 0; }
    for (bool moved = true; moved && given < room;) {
        moved = false;
        uint32_t each = (room - given) / n;
        if (!each) each = 1;
        for (uint32_t k = 0; k < n && given < room; k++) {
            uint32_t i = (first + k) % n, take = want[i] < each ? want[i] : each;
            if (take > room - given) take = room - given;
            lanes[i].max += take;
            want[i] -= take;
            given += take;
            moved = moved || take;
        }
    }
    return given;
}

static void foot_in_door(struct pipe *p, struct mintd_db_lane *lanes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct col *col = lane_col(p, lanes[i].collection);
        lanes[i].max = (!col || !col->held) && lanes[i].max ? (lanes[i].max < FOOT_IN_DOOR ? lanes[i].max : FOOT_IN_DOOR) : 0;
    }
}

static uint32_t room(const struct pipe *p)
{
    uint32_t cap = CHUNKS_MIN;
    LIST_EACH(l, (struct list *)(uintptr_t)&p->lines) {
        struct line *line = LIST_OF(l, struct line, link);
        uint32_t two = (uint32_t)(line->window.milli / 1000) * 2;
        uint32_t ahead = line->cf ? line->cf->upload_batch / 4 : 0;
        if (two + ahead > cap) cap = two + ahead;
    }
    if (cap > CHUNKS_MAX) cap = CHUNKS_MAX;
    uint32_t busy = (uint32_t)p->chunks.n - p->resting;
    return busy < cap && p->resting < RESTING_MAX ? cap - busy : 0;
}

static void claim(struct pipe *p, struct arena *mem, struct mintd_db_lane *lanes, uint32_t n)
{
    uint32_t k = 0, left = room(p);
    if (left) share_out(lanes, n, left, p->lanes.turn++ % n);
    else foot_in_door(p, lanes, n);
    for (uint32_t i = 0; i < n; i++) if (lanes[i].max) lanes[k++] = lanes[i];
    struct mintd_claim *c = k ? arena_alloc(mem, sizeof *c) : NULL;
    if (!c) { arena_free(mem); done(p, POLL_MS); return; }
    *c = (struct mintd_claim){ .size = sizeof *c, .slot = p->slot, .epoch = p->epoch };
    CRASH("lane.claim.before");
    pipe_call(p, p->store, STORE_CLAIM, 1, c, VEC(lanes, k), mem, claimed, p);
}

static void lanes_read(void *arg, struct plug_reply *r)
{
    struct pipe *p = arg;
    pipe_called(p);
    struct arena *mem = r->out->cls == MINTD_OK && p->state == PIPE_RUNNING ? arena_new(0) : NULL;
    uint32_t n = r->res->rows.n < LANES_MAX ? r->res->rows.n : LANES_MAX, due = 0;
    struct mintd_db_lane *lanes = mem ? arena_array(mem, n + 1, sizeof *lanes) : NULL;
    if (!lanes) {
        if (r->out->cls != MINTD_OK) pipe_outcome(p, NULL, STAGE_QUERY, 0, r->out);
        arena_free(mem);
        done(p, 500);
        return;
    }
    const struct mintd_db_lane *rows = r->res->rows.p;
    uint64_t soonest = POLL_MS;
    for (uint32_t i = 0; i < n; i++) {
        struct line *line = pipe_line(p, rows[i].pipeline);
        if (!line || !line->chain->limits) continue;
        if (rows[i].wake_in_ms) { if (rows[i].wake_in_ms < soonest) soonest = rows[i].wake_in_ms; continue; }
        lanes[due] = rows[i];
        lanes[due++].pipeline = NONE;                      /* a claim reads lane and max alone */
    }
    p->lanes.more = due != 0;
    if (due) claim(p, mem, lanes, due);
    else { arena_free(mem); done(p, soonest); }
}

static void discover(struct pipe *p)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint32_t n = p->conf->n_pipelines;
    struct mintd_str *names = q ? arena_array(mem, n + 1, sizeof *names) : NULL;
    if (!names) { arena_free(mem); done(p, POLL_MS); return; }
    for (uint32_t i = 0; i < n; i++) names[i] = arena_str(mem, p->conf->pipelines[i].name);
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_LANE, .max = LANES_MAX, .slot = p->slot, .names = VEC(names, n) };
    pipe_call(p, p->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, lanes_read, p);
}

/* Asks the store only when there may be something and somewhere to put it. */
void lane_kick(struct pipe *p)
{
    if (p->state != PIPE_RUNNING || p->sweeping || !slot_fresh(p)) return;
    if (p->lanes.out) { p->lanes.again = true; return; }
    uint32_t left = room(p);
    bool wanted = p->lanes.more && (left >= CHUNKS_MIN / 2 || p->chunks.n - p->resting <= CHUNKS_MIN / 2 || !p->lanes.timer);
    if (!wanted) return;
    loop_timer_del(p->lanes.timer);
    p->lanes.timer = NULL;
    p->lanes.out = true;
    p->lanes.again = false;
    discover(p);
}

void lane_stop(struct pipe *p)
{
    loop_timer_del(p->lanes.timer);
    p->lanes.timer = NULL;
}
