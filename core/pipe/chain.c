/* A chain instance as the pipeline sees it: its limits, its routes and the budgets it published. Owns the limits' memory and the
 * buckets. Calls plug/ and machine/pace. Loop thread. */
#include <stdlib.h>

#include "pipe/pipe_int.h"

enum { RETRY_MS = 1000, TTL_MIN = 1000, TTL_DEFAULT = 60000 };

static void again(void *arg)
{
    struct chain *ch = arg;
    loop_timer_del(ch->refresh);
    ch->refresh = NULL;
    chain_refresh(ch);
}

static void again_in(struct chain *ch, uint64_t ms)
{
    loop_timer_del(ch->refresh);
    ch->refresh = loop_timer(ch->pipe->loop, ms, again, ch);
}

/* A little below what is allowed: what is sent at the very limit arrives now early, now late, and early is refused. */
static uint64_t planned(uint64_t allowed, uint32_t share) { return allowed * 98 / 100 / share; }

/* Levels of budgets that are still published survive; each live slot uses its share. */
static void take_budgets(struct chain *ch, const struct mintd_limits *lim, struct arena *mem)
{
    uint64_t now = loop_now_ms(ch->pipe->loop);
    const struct mintd_budget *rows = lim->budgets.p;
    struct pipe_budget *b = arena_array(mem, lim->budgets.n + 1, sizeof *b);
    uint32_t n = b ? lim->budgets.n : 0, share = ch->pipe->live_slots ? ch->pipe->live_slots : 1;
    if (n > 64) n = 64;                                    /* chunk->budgets_held is a mask */
    for (uint32_t i = 0; i < n; i++) {
        if (i < ch->n_budgets && str_eq(ch->budgets[i].b->route, rows[i].route)) b[i] = ch->budgets[i];
        b[i].b = &rows[i];
        pace_bucket_set(&b[i].bucket, planned(rows[i].per_s, share), planned(rows[i].burst, share), now);
    }
    ch->budgets = b;
    ch->n_budgets = n;
}

/* A chain whose network is not the pinned one is never used: wrong endpoint, or somebody else's database. */
struct pin { struct chain *ch; struct arena *mem; const struct mintd_limits *lim; };

static void use(struct chain *ch, struct arena *mem, const struct mintd_limits *lim)
{
    bool first = !ch->limits;
    take_budgets(ch, lim, mem);
    arena_free(ch->mem);
    ch->mem = mem;
    ch->limits = lim;
    uint64_t ttl = lim->ttl_ms ? lim->ttl_ms : TTL_DEFAULT;
    again_in(ch, ttl < TTL_MIN ? TTL_MIN : ttl);
    if (!first) return;
    log_info("chain " STR_FMT " is on network " STR_FMT, STR_ARG(plug_name(ch->inst)), STR_ARG(lim->network));
    ch->pipe->lanes.more = true;                           /* lanes of a chain without limits were passed over */
    lane_kick(ch->pipe);
    LIST_EACH(l, &ch->pipe->lines) {
        struct line *line = LIST_OF(l, struct line, link);
        if (line->chain == ch) mint_kick(line);
    }
    watch_arm(ch);
}

static void pinned(void *arg, const struct mintd_applied *a)
{
    struct pin pin = *(struct pin *)arg;
    free(arg);
    struct chain *ch = pin.ch;
    ch->asking = false;
    if (a && a->verdict <= MINTD_REPEATED) { use(ch, pin.mem, pin.lim); return; }
    if (a) {
        pipe_fatal(ch->pipe, "chain " STR_FMT " is on network " STR_FMT " but this store belongs to " STR_FMT
                   ": point it at that network or use another store", STR_ARG(plug_name(ch->inst)), STR_ARG(pin.lim->network),
                   STR_ARG(a->detail));
    }
    arena_free(pin.mem);
}

static void check_pin(struct chain *ch, struct arena *mem, const struct mintd_limits *lim)
{
    struct pin *pin = malloc(sizeof *pin);
    struct group *g = pin ? group_new(0, pinned, pin) : NULL;
    struct mintd_db_meta *m = g ? GROUP_ROW(g, MINTD_DB_META, mintd_db_meta) : NULL;
    if (!m) { free(pin); arena_free(mem); again_in(ch, RETRY_MS); return; }
    *pin = (struct pin){ ch, mem, lim };
    ch->asking = true;
    m->key = arena_printf(group_mem(g), "network." STR_FMT, STR_ARG(plug_name(ch->inst)));
    m->val = arena_str(group_mem(g), lim->network);
    book_add(ch->pipe, g, BOOK_URGENT);
}

static void limits_read(void *arg, struct plug_reply *r)
{
    struct chain *ch = arg;
    struct pipe *p = ch->pipe;
    pipe_called(p);
    ch->asking = false;
    if (p->state == PIPE_DEAD || p->state == PIPE_DRAINING) return;
    const struct mintd_limits *lim = r->res->rows.p;
    if (r->out->cls != MINTD_OK || r->res->rows.n != 1 || !lim->network.n || lim->routes.n > ROUTES_MAX) {
        if (r->out->cls != MINTD_OK) pipe_outcome(p, NULL, STAGE_QUERY, 0, r->out);
        else log_error("chain " STR_FMT " gave unusable limits", STR_ARG(plug_name(ch->inst)));
        again_in(ch, RETRY_MS);
        return;
    }
    struct arena *mem = r->mem;
    r->mem = NULL;
    if (ch->limits && str_eq(ch->limits->network, lim->network)) use(ch, mem, lim);
    else check_pin(ch, mem, lim);
}

void chain_refresh(struct chain *ch)
{
    if (ch->asking || ch->pipe->state != PIPE_RUNNING) return;
    struct arena *mem = arena_new(0);
    if (!mem) { again_in(ch, RETRY_MS); return; }
    ch->asking = true;
    pipe_call(ch->pipe, ch->inst, CHAIN_LIMITS, 0, NULL, (struct mintd_vec){ 0 }, mem, limits_read, ch);
}

struct chain *chain_of(struct pipe *p, struct plug_inst *inst)
{
    LIST_EACH(l, &p->chains) {
        struct chain *ch = LIST_OF(l, struct chain, link);
        if (ch->inst == inst) return ch;
    }
    struct chain *ch = calloc(1, sizeof *ch);
    if (!ch) return NULL;
    ch->pipe = p;
    ch->inst = inst;
    list_init(&ch->watched);
    list_add(&p->chains, &ch->link);
    return ch;
}

void chain_free(struct chain *ch)
{
    list_del(&ch->link);
    loop_timer_del(ch->refresh);
    loop_timer_del(ch->tick);
    arena_free(ch->mem);
    free(ch);
}

static bool concerns(const struct mintd_budget *b, struct mintd_str route, uint32_t kind)
{
    return (b->kinds >> kind & 1) && (!b->route.n || str_eq(b->route, route));
}

static uint64_t cost(const struct mintd_budget *b, uint32_t items) { return b->cost_tx + (uint64_t)b->cost_item * items; }

static uint64_t wait_for(struct chain *ch, struct mintd_str route, const struct chunk *c)
{
    uint64_t now = loop_now_ms(ch->pipe->loop), wait = 0;
    for (uint32_t i = 0; i < ch->n_budgets; i++) {
        struct pipe_budget *b = &ch->budgets[i];
        if (!concerns(b->b, route, c->kind)) continue;
        uint64_t w = b->b->in_flight && b->open >= b->b->in_flight ? 50 : pace_bucket_wait(&b->bucket, cost(b->b, c->n_items), now);
        if (w > wait) wait = w;
    }
    return wait;
}

static void take(struct chain *ch, struct mintd_str route, struct chunk *c, bool network_too)
{
    uint64_t now = loop_now_ms(ch->pipe->loop);
    for (uint32_t i = 0; i < ch->n_budgets; i++) {
        struct pipe_budget *b = &ch->budgets[i];
        if (!concerns(b->b, route, c->kind) || (!b->b->route.n && !network_too)) continue;
        pace_bucket_take(&b->bucket, cost(b->b, c->n_items), now);
        if (b->b->in_flight && !(c->budgets_held >> i & 1)) { b->open++; c->budgets_held |= (uint64_t)1 << i; }
    }
}

uint64_t chain_routes(struct chain *ch, struct chunk *c, uint32_t want, struct mintd_str *ret, uint32_t *ret_n)
{
    const struct mintd_route *routes = ch->limits->routes.p;
    uint32_t n = ch->limits->routes.n, got = 0;
    uint64_t least = UINT64_MAX;
    if (want > SENT_ROUTES) want = SENT_ROUTES;
    for (uint32_t sick = 0; sick < 2 && got < want; sick++) {          /* healthy ones first */
        for (uint32_t k = 0; k < n && got < want; k++) {
            const struct mintd_route *r = &routes[(ch->next_route + k) % n];
            if (!(r->use & MINTD_SEND) || (r->state != 0) != (sick != 0)) continue;
            uint64_t w = wait_for(ch, r->name, c);
            if (w < least) least = w;
            if (w) continue;
            take(ch, r->name, c, got == 0);
            ret[got++] = r->name;
        }
        if (got) break;
    }
    if (n) ch->next_route = (ch->next_route + 1) % n;
    *ret_n = got;
    return got ? 0 : least == UINT64_MAX ? RETRY_MS : least;
}

void chain_refused(struct chain *ch, struct mintd_str route, uint32_t kind, uint64_t retry_ms)
{
    for (uint32_t i = 0; i < ch->n_budgets; i++) {
        struct pipe_budget *b = &ch->budgets[i];
        if (b->b->route.n && concerns(b->b, route, kind)) pace_bucket_refused(&b->bucket, retry_ms, loop_now_ms(ch->pipe->loop));
    }
}

void chain_budgets_back(struct chain *ch, struct chunk *c)
{
    for (uint32_t i = 0; i < ch->n_budgets; i++)
        if ((c->budgets_held >> i & 1) && ch->budgets[i].open) ch->budgets[i].open--;
    c->budgets_held = 0;
}

struct proof_rule chain_rule(const struct chain *ch, const struct line *line)
{
    const struct mintd_route *routes = ch->limits->routes.p;
    struct proof_rule rule = { .quorum = line->cf ? line->cf->quorum : 0, .margin = ch->limits->margin,
        .effect = ch->limits->caps & MINTD_C_EFFECT };
    for (uint32_t i = 0; i < ch->limits->routes.n; i++) rule.witnesses += (routes[i].use & MINTD_PROVE) != 0;
    return rule;
}
