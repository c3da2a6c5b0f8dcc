/* The lease slot: taken at start, renewed at a third of its time, given up at drain. Recovery is: whatever open chunk the slot owns
 * goes to the stage of its state; repeated slowly, because the answer of a claim may have been lost. Loop thread. */
#include <errno.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/sabotage.h"
#include "pipe/pipe_int.h"

enum { SWEEP_MS = 60000, PAGE = 200, RETRY_MS = 500 };

static void renew_later(struct pipe *p);
static void read_back(struct pipe *p);

bool slot_fresh(const struct pipe *p)
{
    return p->epoch && loop_now_ms(p->loop) - p->renewed_ms < (uint64_t)p->conf->lease_ms / 2;
}

/* ---- recovery and sweep */
static void sweep_end(struct pipe *p)
{
    p->sweeping = false;
    p->sweep_mem = arena_free(p->sweep_mem);
    p->sweep_cursor = (struct mintd_str){ NULL, 0 };
    p->swept_ms = loop_now_ms(p->loop);
    p->lanes.more = true;                                  /* what an earlier life accepted, or freed, waits there */
    lane_kick(p);
}

struct sweep { struct pipe *p; struct arena *mem; const struct mintd_db_chunk *rows; uint32_t n; bool last; };
static void sweep_page(struct pipe *p);

static void sweep_adopt(void *arg)
{
    struct sweep *s = arg;
    struct pipe *p = s->p;
    for (uint32_t i = 0; i < s->n && p->state == PIPE_RUNNING; i++) {
        struct col *col = lane_col(p, s->rows[i].collection);
        if (!col || map_get(&p->chunks, s->rows[i].id) || SABOTAGE("forget_what_was_open")) continue;
        struct chunk *c = chunk_adopt(p, col->line, col, &s->rows[i], s->mem);
        if (c) chunk_route(p, c);
    }
    bool last = s->last || p->state != PIPE_RUNNING;
    arena_free(s->mem);
    free(s);
    if (last) sweep_end(p);
    else sweep_page(p);
}

static void sweep_rows(void *arg, struct plug_reply *r)
{
    struct pipe *p = arg;
    pipe_called(p);
    struct sweep *s = r->out->cls == MINTD_OK ? calloc(1, sizeof *s) : NULL;
    uint64_t *ids = s ? arena_array(r->mem, r->res->rows.n + 1, sizeof *ids) : NULL;
    if (!ids) {
        if (r->out->cls != MINTD_OK) pipe_outcome(p, NULL, STAGE_QUERY, 0, r->out);
        free(s);
        p->swept_ms = 0;
        sweep_end(p);
        return;
    }
    *s = (struct sweep){ p, r->mem, r->res->rows.p, r->res->rows.n, !r->res->next.n };
    r->mem = NULL;
    for (uint32_t i = 0; i < s->n; i++) ids[i] = s->rows[i].collection;
    arena_free(p->sweep_mem);
    p->sweep_mem = arena_new(0);
    p->sweep_cursor = p->sweep_mem ? arena_str(p->sweep_mem, r->res->next) : (struct mintd_str){ NULL, 0 };
    lane_load(p, ids, s->n, sweep_adopt, s);
}

static void sweep_page(struct pipe *p)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    if (!q) { arena_free(mem); sweep_end(p); return; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_CHUNK, .max = PAGE, .slot = p->slot, .flags = 1,
        .cursor = arena_str(mem, p->sweep_cursor) };
    pipe_call(p, p->store, STORE_QUERY, 1, q, (struct mintd_vec){ 0 }, mem, sweep_rows, p);
}

void slot_recover(struct pipe *p)
{
    if (p->sweeping || p->state != PIPE_RUNNING) return;
    p->sweeping = true;
    sweep_page(p);
}

/* ---- lease */
static void begin(struct pipe *p);

static void begin_again(void *arg)
{
    struct pipe *p = arg;
    loop_timer_del(p->lease_timer);
    p->lease_timer = NULL;
    begin(p);
}

static void acquired(void *arg, const struct mintd_applied *a)
{
    struct pipe *p = arg;
    if (!a || p->state == PIPE_DEAD) return;
    CRASH("slot.acquire.after");
    if (a->verdict > MINTD_REPEATED || !a->value || a->value > UINT32_MAX) {
        log_warn("no lease slot to take (verdict %u " STR_FMT "), trying again", a->verdict, STR_ARG(a->detail));
        p->lease_timer = loop_timer(p->loop, RETRY_MS, begin_again, p);
        return;
    }
    p->slot = (uint32_t)a->value;
    read_back(p);
}

static void begin(struct pipe *p)
{
    p->slot = 0;
    p->epoch = 0;
    struct group *g = group_new(0, acquired, p);
    struct mintd_db_lease *l = g ? GROUP_ROW(g, MINTD_DB_LEASE, mintd_db_lease) : NULL;
    if (!l) { pipe_fatal(p, "no memory for the lease"); return; }
    *l = (struct mintd_db_lease){ .ttl_ms = (uint64_t)p->conf->lease_ms, .holder = arena_str(group_mem(g), p->conf->name) };
    book_add(p, g, BOOK_URGENT);
}

/* Budgets are shared by the live slots: each uses 1/k. */
static void count_live(struct pipe *p, const struct mintd_db_lease *rows, uint32_t n)
{
    int64_t now = loop_wall_us(p->loop) / 1000;
    uint32_t live = 0;
    for (uint32_t i = 0; i < n; i++) live += rows[i].expires_at > now || rows[i].slot == p->slot;
    p->live_slots = live ? live : 1;
    metric_set(p->m.leases, S(""), S(""), p->live_slots);
}

static void leases_read(void *arg, struct plug_reply *r)
{
    struct pipe *p = arg;
    pipe_called(p);
    if (p->state == PIPE_DEAD) return;
    const struct mintd_db_lease *rows = r->res->rows.p;
    if (r->out->cls == MINTD_OK) count_live(p, rows, r->res->rows.n);
    if (p->epoch) return;
    for (uint32_t i = 0; r->out->cls == MINTD_OK && i < r->res->rows.n; i++) {
        if (rows[i].slot != p->slot || !str_eq(rows[i].holder, p->conf->name)) continue;
        p->epoch = rows[i].epoch;
        p->renewed_ms = loop_now_ms(p->loop);
    }
    if (!p->epoch) { p->lease_timer = loop_timer(p->loop, RETRY_MS, begin_again, p); return; }
    log_info("slot %u taken with epoch %llu", p->slot, (unsigned long long)p->epoch);
    p->state = PIPE_RUNNING;
    p->why = S("");
    LIST_EACH(l, &p->chains) chain_refresh(LIST_OF(l, struct chain, link));
    renew_later(p);
    if (!p->started) { p->started = true; p->started_fn(p->started_arg, 0, ""); }
    slot_recover(p);
}

static void read_back(struct pipe *p)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    if (!q) { arena_free(mem); return; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_LEASE };
    pipe_call(p, p->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, leases_read, p);
}

static void renewed(void *arg, const struct mintd_applied *a)
{
    struct pipe *p = arg;
    if (!a || p->state == PIPE_DEAD) return;
    if (a->verdict > MINTD_REPEATED) { pipe_fatal(p, "the lease of this slot is gone"); return; }
    bool stale = !slot_fresh(p);
    p->renewed_ms = loop_now_ms(p->loop);
    if (stale) LIST_EACH(l, &p->lines) mint_kick(LIST_OF(l, struct line, link));      /* they held still meanwhile */
    if (stale) lane_kick(p);
    read_back(p);
    if (!p->swept_ms || p->renewed_ms - p->swept_ms > SWEEP_MS) slot_recover(p);
}

static void renew(void *arg)
{
    struct pipe *p = arg;
    loop_timer_del(p->lease_timer);
    p->lease_timer = NULL;
    renew_later(p);
    struct group *g = group_new(0, renewed, p);
    struct mintd_db_lease *l = g ? GROUP_ROW(g, MINTD_DB_LEASE, mintd_db_lease) : NULL;
    if (!l) return;
    *l = (struct mintd_db_lease){ .slot = p->slot, .ttl_ms = (uint64_t)p->conf->lease_ms,
        .holder = arena_str(group_mem(g), p->conf->name) };
    book_add(p, g, BOOK_URGENT);
}

static void renew_later(struct pipe *p)
{
    p->lease_timer = loop_timer(p->loop, (uint64_t)p->conf->lease_ms / 3 + 1, renew, p);
}

void slot_start(struct pipe *p) { begin(p); }

void slot_release(struct pipe *p, group_fn *fn, void *arg)
{
    loop_timer_del(p->lease_timer);
    p->lease_timer = NULL;
    struct group *g = p->epoch ? group_new(0, fn, arg) : NULL;
    struct mintd_db_lease *l = g ? GROUP_ROW(g, MINTD_DB_LEASE, mintd_db_lease) : NULL;
    if (!l) { fn(arg, NULL); return; }
    *l = (struct mintd_db_lease){ .slot = p->slot, .flags = 2, .holder = arena_str(group_mem(g), p->conf->name) };
    book_add(p, g, BOOK_URGENT | BOOK_GIVE_UP);
}
