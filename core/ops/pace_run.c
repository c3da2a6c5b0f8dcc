/* The dry run: see pace_run.h. It goes through the transactions in order and gives each the earliest start that metadata, window or wave,
 * published budgets and what rests allow. Beyond RUN_MAX transactions the rate at the end goes on. Owns nothing. */
#include <errno.h>
#include <stdlib.h>

#include "ops/pace_run.h"

enum { RUN_MAX = 32768, POLL_MIN = 10, POLL_MAX = 2000, REBROADCAST_DEFAULT = 4000, RESTING_MAX = 1024, WAVE_MAX = 64,
    PUT_DEFAULT_US = 1000,
       STAGE_MS = 12,                          /* claim, upload of the first, its commit */
       SEND_MS = 8, FINAL_MS = 6 };            /* prepare, sign, commit of the attempt; commit of the end */

struct run {
    const struct pace_run *ask;
    struct pace_window window;
    struct pipe_budget *budgets; uint32_t n_budgets, next_route;
    uint64_t settle, seat, ready;              /* ms from start to final, to a free seat; when the first metadata was there */
    uint64_t *start;
    uint64_t freed, final;                     /* transactions whose seat is free, that are final, at the present time */
};

static uint64_t max_of(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t min_of(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- how long one transaction takes, as core/pipe/watch.c asks for it */

static uint64_t poll_ms(const struct pipe_view *v)
{
    if (v->cf->poll_ms > 0) return (uint64_t)v->cf->poll_ms;
    return min_of(max_of(v->limits->finality_ms / 20, POLL_MIN), POLL_MAX);
}

static bool has_quorum(const struct pipe_view *v)
{
    const struct mintd_route *r = v->limits->routes.p;
    uint32_t provers = 0;
    for (uint32_t i = 0; i < v->limits->routes.n; i++) provers += (r[i].use & MINTD_PROVE) != 0;
    return v->cf->quorum ? v->cf->quorum > 1 : provers > 1;
}

/* From the send to the final answer: learned, or what the chain says and the questions round it up to. */
static uint64_t landing_ms(const struct pipe_view *v)
{
    if (v->landing_ms) return v->landing_ms;
    uint64_t poll = poll_ms(v);
    return v->limits->finality_ms + poll / 2 + (has_quorum(v) ? poll : 0);
}

/* The first question; a transaction that is seen in a block gives its seat back although it is not final yet. What is not learned yet
 * is learned from the first that is final. */
static uint64_t first_poll_ms(const struct pipe_view *v)
{
    uint64_t expect = landing_ms(v);
    return min_of(expect - expect / 16, v->cf->rebroadcast_ms > 0 ? (uint64_t)v->cf->rebroadcast_ms : REBROADCAST_DEFAULT);
}

/* ---- budgets, as core/pipe/chain.c takes from them */

static bool concerns(const struct pipe_budget *b, struct mintd_str route)
{
    return (b->b->kinds >> MINTD_MINT & 1) && (!b->b->route.n || str_eq(b->b->route, route));
}

static uint64_t cost(const struct pipe_budget *b, uint32_t items) { return b->b->cost_tx + (uint64_t)b->b->cost_item * items; }

static uint64_t wait_for(struct run *r, struct mintd_str route, uint32_t items, uint64_t now)
{
    uint64_t wait = 0;
    for (uint32_t i = 0; i < r->n_budgets; i++)
        if (concerns(&r->budgets[i], route)) wait = max_of(wait, pace_bucket_wait(&r->budgets[i].bucket, cost(&r->budgets[i], items), now));
    return wait;
}

static void take(struct run *r, struct mintd_str route, uint32_t items, uint64_t now, bool network_too)
{
    for (uint32_t i = 0; i < r->n_budgets; i++) {
        struct pipe_budget *b = &r->budgets[i];
        if (concerns(b, route) && (b->b->route.n || network_too)) pace_bucket_take(&b->bucket, cost(b, items), now);
    }
}

/* 0 and taken, or ms to wait */
static uint64_t send(struct run *r, uint32_t items, uint64_t now)
{
    const struct pipe_view *v = r->ask->view;
    const struct mintd_route *routes = v->limits->routes.p;
    uint32_t n = v->limits->routes.n, sent = 0;
    uint64_t least = UINT64_MAX;
    for (uint32_t k = 0; r->n_budgets && k < n && sent < v->cf->broadcast_routes; k++) {
        const struct mintd_route *route = &routes[(r->next_route + k) % n];
        if (!(route->use & MINTD_SEND)) continue;
        uint64_t wait = wait_for(r, route->name, items, now);
        least = min_of(least, wait);
        if (!wait) take(r, route->name, items, now, !sent++);
    }
    if (n) r->next_route = (r->next_route + 1) % n;
    return sent || least == UINT64_MAX ? 0 : least;
}

/* ---- the run */

/* When the metadata of transaction i is there: it travels with what fits into its put, several puts at a time. */
static uint64_t ready_at(const struct run *r, uint64_t i)
{
    const struct pipe_view *v = r->ask->view;
    uint64_t each = v->put_us ? v->put_us : PUT_DEFAULT_US, per_put = v->cf->upload_batch, at_once = per_put * v->cf->upload_concurrency;
    uint64_t round = i * r->ask->batch / at_once, blobs = min_of(r->ask->items - min_of(r->ask->items, round * at_once), per_put);
    return r->ready + (round * per_put + blobs) * each / 1000;
}

static uint64_t window_at(const struct run *r)
{
    const struct pipe_view *v = r->ask->view;
    uint64_t size = r->window.milli / 1000, routes = 0;
    const struct mintd_route *route = v->limits->routes.p;
    for (uint32_t i = 0; i < v->limits->routes.n; i++) routes += (route[i].use & MINTD_SEND) != 0;
    for (uint32_t i = 0; i < r->n_budgets; i++) {
        const struct mintd_budget *b = r->budgets[i].b;
        if (b->in_flight && (b->kinds >> MINTD_MINT & 1)) size = min_of(size, b->in_flight * (b->route.n ? max_of(routes, 1) : 1));
    }
    return max_of(size, 1);
}

/* The earliest time from t on at which the window has room for transaction i. */
static uint64_t window_room(struct run *r, uint64_t i, uint64_t t)
{
    for (;;) {
        while (r->freed < i && r->start[r->freed] + r->seat <= t) r->freed++;
        for (; r->final < i && r->start[r->final] + r->settle <= t; r->final++) pace_window_good(&r->window);
        if (i - r->freed < window_at(r)) return t;
        t = r->start[r->freed] + r->seat;                  /* growth alone wakes nobody */
    }
}

static uint64_t wave_size(const struct pipe_view *v)
{
    uint32_t most = v->limits->prepare_max && v->limits->prepare_max < WAVE_MAX ? v->limits->prepare_max : WAVE_MAX;
    return v->cf->max_workers < most ? v->cf->max_workers : most;
}

static uint64_t earliest(struct run *r, uint64_t i, uint64_t t)
{
    const struct pipe_view *v = r->ask->view;
    t = max_of(t, ready_at(r, i));
    if (v->cf->mode == CONF_FIXED) {
        bool next_wave = i && i % wave_size(v) == 0;
        return next_wave ? max_of(t, r->start[i - 1] + r->settle + (uint64_t)v->cf->batch_delay_ms) : t;
    }
    if (i >= RESTING_MAX) t = max_of(t, r->start[i - RESTING_MAX] + r->settle);
    return window_room(r, i, t);
}

static uint64_t go_through(struct run *r, uint64_t n)
{
    uint64_t left = r->ask->items, t = r->ready;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t items = left < r->ask->batch ? (uint32_t)left : r->ask->batch;
        t = earliest(r, i, t);
        for (uint64_t wait; (wait = send(r, items, t)) != 0;) t += wait;
        r->start[i] = t;
        left -= items;
    }
    return t;
}

int pace_run(const struct pace_run *ask, uint64_t *ret_ms)
{
    const struct pipe_view *v = ask->view;
    uint64_t n = min_of(ask->transactions, RUN_MAX);
    struct run r = { .ask = ask, .n_budgets = v->n_budgets };
    r.start = malloc((n + 1) * sizeof *r.start);
    r.budgets = malloc((v->n_budgets + 1) * sizeof *r.budgets);
    if (r.start && r.budgets) {
        if (v->n_budgets) memcpy(r.budgets, v->budgets, v->n_budgets * sizeof *r.budgets);
        r.window = (struct pace_window){ .milli = max_of(v->window_milli, 1000), .max = (uint64_t)v->cf->window_max * 1000 };
        r.settle = SEND_MS + landing_ms(v) + FINAL_MS;
        r.seat = min_of(SEND_MS + first_poll_ms(v) + FINAL_MS, r.settle);
        r.ready = ask->now_ms + STAGE_MS;
        if (ask->fresh) r.ready += r.settle + STAGE_MS;
        if (ask->fresh && v->cf->mode == CONF_FIXED) r.ready += (uint64_t)v->cf->batch_delay_ms;
        uint64_t last = go_through(&r, n), more = ask->transactions - n;
        if (more) last += (last - r.start[n / 2]) * more / (n - 1 - n / 2);
        *ret_ms = last + r.settle - ask->now_ms;
    }
    int rc = r.start && r.budgets ? 0 : -ENOMEM;
    free(r.start);
    free(r.budgets);
    return rc;
}
