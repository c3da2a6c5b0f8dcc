/* Estimates: see estimate.h. One after another: the address of an example's metadata (offline), what the chain asks for such items, what a
 * delivery costs where there will be one; then arithmetic, in smallest units, with every overflow noticed. Loop thread. */
#include <errno.h>
#include <stdlib.h>

#include "ops/estimate.h"
#include "ops/pace_run.h"

struct estimating {
    struct loop *loop;
    struct pipe *pipe;
    struct arena *mem;                         /* texts of the question and of the answers */
    struct estimate_ask ask;
    struct pipe_example example;
    struct mintd_str uri;
    struct estimate e;
    bool overflow;
    estimate_fn *fn; void *arg;
};

static void end(struct estimating *x, const struct estimate *e, int err, const struct mintd_outcome *why)
{
    x->fn(x->arg, e, err, why);
    arena_free(x->mem);
    free(x);
}

static bool look(struct estimating *x, struct pipe_view *ret)
{
    static const struct mintd_outcome gone = { .cls = MINTD_TRANSIENT, .slug = { "pipe.not_ready", 14 },
        .msg = { "the chain of this pipeline does not answer yet", 46 } };
    if (pipe_look_at(x->pipe, x->ask.pipeline, ret) && ret->limits) return true;
    end(x, NULL, -EAGAIN, &gone);                          /* a reload took it away meanwhile */
    return false;
}

/* ---- arithmetic */

static uint64_t times(struct estimating *x, uint64_t a, uint64_t b)
{
    uint64_t v = 0;
    x->overflow = __builtin_mul_overflow(a, b, &v) || x->overflow;
    return v;
}

static void add_line(struct estimating *x, struct mintd_str what, uint32_t per, uint64_t n, uint64_t each)
{
    struct estimate *e = &x->e;
    uint64_t amount = times(x, n, each);
    x->overflow = __builtin_add_overflow(e->amount, amount, &e->amount) || e->amount > INT64_MAX || x->overflow;
    if (e->n_lines < ESTIMATE_LINES) e->lines[e->n_lines++] = (struct estimate_line){ arena_str(x->mem, what), per, n, each, amount };
}

static void add_costs(struct estimating *x, const struct mintd_res *res, bool delivery)
{
    const struct mintd_cost *cost = res->rows.p;
    uint64_t n[3] = { x->e.fresh, x->e.transactions, x->ask.count };
    for (uint32_t i = 0; i < res->rows.n; i++) {
        uint32_t per = cost[i].per;
        if (per > 2 || (delivery && !per) || (!per && !n[0])) continue;
        struct mintd_str what = delivery ? arena_printf(x->mem, "delivery " STR_FMT, STR_ARG(cost[i].what)) : cost[i].what;
        add_line(x, what, per, delivery && per == 1 ? x->e.deliveries : n[per], cost[i].amount);
    }
}

static uint64_t ceil_div(uint64_t n, uint64_t d) { return (n + d - 1) / d; }

/* As the intake lays them out: each slab for itself. */
static uint64_t transactions(uint64_t count, uint32_t batch)
{
    return count / PIPE_SLAB_ITEMS * ceil_div(PIPE_SLAB_ITEMS, batch) + ceil_div(count % PIPE_SLAB_ITEMS, batch);
}

static void put_price(struct estimating *x, uint64_t usd_micros)
{
    __extension__ typedef unsigned __int128 wide;
    wide unit = 1, micros;
    for (uint32_t i = 0; i < x->e.decimals; i++) unit *= 10;
    micros = (wide)x->e.amount * usd_micros / unit;
    x->e.priced = usd_micros && micros <= INT64_MAX;
    x->e.usd_micros = (uint64_t)micros;
}

static void finish(struct estimating *x)
{
    struct pipe_view v;
    if (!look(x, &v)) return;
    struct pace_run run = { .view = &v, .now_ms = loop_now_ms(x->loop), .transactions = x->e.transactions, .items = x->ask.count,
                            .batch = x->e.batch, .fresh = x->e.fresh };
    if (pace_run(&run, &x->e.ms)) {
        end(x, NULL, -ENOMEM, NULL);
        return;
    }
    put_price(x, v.limits->usd_micros);
    end(x, x->overflow ? NULL : &x->e, x->overflow ? -ERANGE : 0, NULL);
}

/* ---- what the chain asks for */

static void ask_costs(struct estimating *x, const struct pipe_view *v, uint32_t kind, plug_fn *fn)
{
    struct arena *mem = arena_new(0);
    uint32_t n = x->ask.count < x->e.batch ? (uint32_t)x->ask.count : x->e.batch;
    struct mintd_intent *in = mem ? arena_alloc(mem, sizeof *in) : NULL;
    struct mintd_item *items = in ? arena_array(mem, n, sizeof *items) : NULL;
    if (!items || arena_hold(mem, x->mem)) {
        arena_free(mem);
        end(x, NULL, -ENOMEM, NULL);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        items[i] = (struct mintd_item){ .id = i, .owner = arena_str(mem, v->cf->recipient), .name = x->example.name, .uri = x->uri,
                                        .attrs = x->example.body };
    *in = (struct mintd_intent){ .kind = kind, .attempt = 1, .spec = arena_str(mem, v->cf->collection_spec), .memo = x->example.collection,
                                 .items = VEC(items, n) };
    plug_call_rows(v->chain, CHAIN_ESTIMATE, 0, NULL, VEC(in, 1), mem, fn, x);
}

static void on_delivery(void *arg, struct plug_reply *r)
{
    struct estimating *x = arg;
    if (r->out->cls != MINTD_OK) {
        end(x, NULL, -EAGAIN, r->out);
        return;
    }
    add_costs(x, r->res, true);
    finish(x);
}

static void on_costs(void *arg, struct plug_reply *r)
{
    struct estimating *x = arg;
    struct pipe_view v;
    if (r->out->cls != MINTD_OK) {
        end(x, NULL, -EAGAIN, r->out);
        return;
    }
    add_costs(x, r->res, false);
    if (!x->e.deliveries) finish(x);
    else if (look(x, &v)) ask_costs(x, &v, MINTD_TRANSFER, on_delivery);
}

static void plan(struct estimating *x, const struct pipe_view *v)
{
    const struct mintd_limits *lim = v->limits;
    struct estimate *e = &x->e;
    e->batch = pace_pack(v->cf->batch, lim->items_mint, lim->tx_room, lim->item_base, (uint32_t)x->example.name.n, (uint32_t)x->uri.n);
    e->transactions = transactions(x->ask.count, e->batch);
    e->deliveries = lim->caps & MINTD_C_DELIVERS && v->cf->recipient.n ? e->transactions : 0;
    e->fresh = x->ask.fresh && lim->caps & MINTD_C_COLLECTS;
    e->coin = arena_str(x->mem, lim->coin.n ? lim->coin : lim->unit);
    e->decimals = lim->coin.n && lim->decimals <= 18 ? lim->decimals : 0;
    e->source = arena_str(x->mem, plug_name(v->chain));
    e->network = arena_str(x->mem, lim->network);
    ask_costs(x, v, MINTD_MINT, on_costs);
}

static void on_address(void *arg, struct plug_reply *r)
{
    struct estimating *x = arg;
    struct pipe_view v;
    const struct mintd_stored *s = r->res->rows.p;
    if (r->out->cls != MINTD_OK || !r->res->rows.n || s->why) {
        end(x, NULL, -EAGAIN, r->out->cls != MINTD_OK || !r->res->rows.n ? r->out : s->why);
        return;
    }
    x->uri = arena_str(x->mem, s->uri);
    if (look(x, &v)) plan(x, &v);
}

int estimate_start(struct loop *loop, struct pipe *pipe, const struct estimate_ask *ask, estimate_fn *fn, void *arg)
{
    struct pipe_view v;
    if (!pipe_look_at(pipe, ask->pipeline, &v)) return -ENOENT;
    if (!v.limits) return -EAGAIN;
    struct estimating *x = calloc(1, sizeof *x);
    struct arena *mem = arena_new(0);
    struct mintd_blob *blob = mem ? arena_alloc(mem, sizeof *blob) : NULL;
    if (x) *x = (struct estimating){ .loop = loop, .pipe = pipe, .mem = arena_new(0), .ask = *ask, .fn = fn, .arg = arg };
    bool ok = x && x->mem && blob && !pipe_example(pipe, ask->pipeline, ask->venue, x->mem, &x->example) && !arena_hold(mem, x->mem);
    if (!ok) {
        arena_free(mem);
        if (x) arena_free(x->mem);
        free(x);
        return -ENOMEM;
    }
    x->ask.pipeline = arena_str(x->mem, ask->pipeline);
    x->ask.venue = arena_str(x->mem, ask->venue);
    *blob = (struct mintd_blob){ .name = S("ticket-000001"), .type = S("application/json"), .data = x->example.body,
                                 .len = x->example.body.n, .fd = -1 };
    plug_call_rows(v.uploader, UPLOADER_IDENTIFY, 0, NULL, VEC(blob, 1), mem, on_address, x);
    return 0;
}
