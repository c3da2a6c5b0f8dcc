/* limits, estimate, wallet: what the chain allows, what it costs, what the payer has. */
#include "base58.h"
#include "local.h"

/* ---- limits */
static uint32_t clip(int64_t v) { return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v; }

static struct mintd_budget budget(const struct local *l, struct mintd_str route, int64_t rate)
{
    int64_t burst = rate > INT64_MAX / (l->o.burst_us + 1) ? INT64_MAX : rate * l->o.burst_us / 1000000;
    return (struct mintd_budget){ .route = route, .kinds = 1u << MINTD_MINT, .per_s = clip(rate), .burst = clip(burst), .cost_item = 1000 };
}

/* Mints pay per item, everything else per transaction. */
static uint32_t put_budgets(const struct local *l, struct mintd_budget *to)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i <= routes_n(l); i++) {
        int64_t rate = i ? l->o.node_rate : l->o.network_rate;
        if (!rate || (i && !(route_at(l, i - 1).use & MINTD_SEND))) continue;
        to[n] = budget(l, i ? route_at(l, i - 1).name : (struct mintd_str){ NULL, 0 }, rate);
        to[n + 1] = to[n];
        to[n + 1].kinds = 1u << MINTD_COLLECTION | 1u << MINTD_TRANSFER;
        to[n + 1].cost_item = 0;
        to[n + 1].cost_tx = 1000;
        n += 2;
    }
    return n;
}

static uint32_t finality_ms(const struct local *l)
{
    int64_t us = l->o.latency_us;
    if (l->o.profile == SOLANA_LIKE) us += (l->o.finality + 1) * l->w.slot_us;
    return l->o.profile == NULL_CHAIN ? 0 : clip(us / 1000);
}

/* Checking signatures is what takes time on the loop: about 64 in a call. */
static uint32_t prepare_max(const struct local *l)
{
    uint32_t n = PREPARE_MAX / (l->o.profile == SOLANA_LIKE ? 1 + items_max(l, MINTD_MINT) : 1);
    return n ? n : 1;
}

static void put_numbers(const struct local *l, struct mintd_limits *lim)
{
    static const uint32_t caps[] = { [SOLANA_LIKE] = MINTD_C_EFFECT | MINTD_C_COLLECTS, [HEDERA_LIKE] = MINTD_C_DELIVERS | MINTD_C_COLLECTS,
        [NULL_CHAIN] = MINTD_C_COLLECTS };
    *lim = (struct mintd_limits){ .network = str_z(l->w.network_text), .unit = STR("nloc"), .coin = str_z(l->o.coin), .usd_micros = (uint64_t)l->o.usd, .decimals = 9, .caps = caps[l->o.profile],
        .items_mint = items_max(l, MINTD_MINT), .items_transfer = items_max(l, MINTD_TRANSFER), .name_max = NAME_MAX_LEN,
        .uri_max = uri_max(l), .tx_room = tx_room(l), .item_base = tx_room(l) ? ITEM_BASE : 0, .prepare_max = prepare_max(l),
        .status_max = STATUS_MAX, .inspect_max = INSPECT_MAX, .finality_ms = finality_ms(l), .ttl_ms = 60000, .margin = margin_of(l) };
    if (l->o.profile != SOLANA_LIKE) return;
    lim->item_key = str_z(l->o.item_key);
    lim->item_scheme = MINTD_ED25519;
}

static int limits_run(struct job *j)
{
    struct local *l = j->l;
    uint32_t n = routes_n(l), n_budgets = 0;
    int64_t now = chain_now(l);
    struct mintd_limits *lim = job_mem(j, sizeof *lim);
    struct mintd_route *routes = job_mem(j, n * sizeof *routes);
    struct mintd_budget *budgets = job_mem(j, 2 * (n + 1) * sizeof *budgets);
    if (!lim || !routes || !budgets) return -1;
    put_numbers(l, lim);
    for (uint32_t i = 0; i < n; i++) {
        struct route r = route_at(l, i);
        routes[i] = (struct mintd_route){ r.name, r.use, route_down(l, r.name, now) };
    }
    if (l->o.publish_rates) n_budgets = put_budgets(l, budgets);
    lim->routes = ROWS(routes, n);
    lim->budgets = ROWS(budgets, n_budgets);
    j->res.rows = ROWS(lim, 1);
    return 0;
}

/* ---- estimate */
static int estimate_run(struct job *j)
{
    struct local *l = j->l;
    int64_t now = chain_now(l);
    uint64_t tx = fee_of(l, MINTD_TRANSFER, 1, now);
    struct mintd_cost *cost = job_mem(j, 3 * sizeof *cost);
    if (!cost) return -1;
    struct mintd_intent in = { .kind = MINTD_MINT };
    if (j->req->rows.n) mintd_row(j->req->rows, 0, &in, sizeof in);
    cost[0] = (struct mintd_cost){ .what = STR("collection"), .amount = fee_of(l, MINTD_COLLECTION, 0, now), .per = 0 };
    cost[1] = (struct mintd_cost){ .what = STR("transaction"), .amount = tx, .per = 1 };
    cost[2] = (struct mintd_cost){ .what = STR("item"), .amount = fee_of(l, MINTD_MINT, 1, now) - tx, .per = 2 };
    j->res.rows = in.kind == MINTD_TRANSFER ? ROWS(&cost[1], 1) : ROWS(cost, 3);
    return 0;
}

/* ---- wallet */
static int wallet_run(struct job *j)
{
    struct local *l = j->l;
    struct mintd_vec rows = j->req->rows;
    int r = job_catch_up(j);
    if (r) return r;
    struct mintd_purse *out = job_mem(j, rows.n * sizeof *out);
    int64_t now = chain_now(l);
    uint32_t n = 0;
    for (uint32_t i = 0; out && i < rows.n; i++) {
        struct mintd_key k;
        char text[ID_MAX];
        mintd_row(rows, i, &k, sizeof k);
        if (str_is(k.role, STR("item_key"))) continue;     /* its children are addresses of items, no accounts */
        if (k.pub.n != KEY) return job_refuse(j, MINTD_PERMANENT, "local.bad_request", "an account is the public key of a key, 32 bytes");
        const uint8_t *pub = (const uint8_t *)k.pub.p;
        out[n] = (struct mintd_purse){ .role = k.role, .route = route_at(l, 0).name, .balance = balance_of(l, pub), .clock = clock_at(l, now) };
        out[n++].account = job_text(j, (struct mintd_str){ text, base58_encode(pub, KEY, text, sizeof text) });
    }
    if (j->out.cls) return -1;
    j->res.rows = ROWS(out, n);
    return 0;
}

void op_limits(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.read_ms, limits_run);
}
void op_estimate(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.read_ms, estimate_run);
}
void op_wallet(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.read_ms, wallet_run);
}
