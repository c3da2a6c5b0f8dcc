/* The state of the whole, asked and not assumed: the store with a short query, the caches for their figures, each within a second; the
 * wallets as the balance monitor saw them last. Loop thread. */
#include <inttypes.h>
#include "api/admin.h"
#include "base/amount.h"
#include "ops/balance.h"

enum { STATUS_MS = 1000 };

struct status { struct gather gather; struct caches caches; bool store; struct mintd_db_count mints; };

/* ---- wallets */

static void put_amount(struct buf *b, const char *name, uint64_t v, const struct wallet *w)
{
    buf_printf(b, ",\"%s\":", name);
    amount_put(b, v, w->decimals);
}

static void put_time(struct buf *b, const char *name, int64_t ms)
{
    if (ms) json_time(b, name, ms);
    else buf_printf(b, ",\"%s\":null", name);
}

/* The seed's four members. A wallet that was never reached has no balance, and is not sufficient. */
static void put_balance(struct buf *b, const struct wallet *w)
{
    buf_puts(b, "{\"balance\":");
    if (w && w->checked_ms) amount_put(b, w->balance, w->decimals);
    else buf_puts(b, "null");
    buf_printf(b, ",\"sufficient\":%s", w && w->sufficient ? "true" : "false");
    if (w) put_amount(b, "minRequired", w->required, w);
    else buf_puts(b, ",\"minRequired\":null");
    put_time(b, "lastCheck", w ? w->checked_ms : 0);
    if (!w) return;
    json_str(b, "chain", str_of(w->chain));
    json_str(b, "role", str_of(w->role));
    json_str(b, "account", str_of(w->account));
    json_str(b, "currency", str_of(w->currency));
    json_str(b, "error", str_of(w->error));
}

static void put_wallets(struct buf *b, const struct balance *balance)
{
    const struct wallet *w;
    const char *comma = "";
    uint32_t n = balance_wallets(balance, &w);
    buf_puts(b, "[");
    for (uint32_t i = 0; i < n; i++) {
        if (w[i].hidden) continue;
        buf_puts(b, comma);
        put_balance(b, &w[i]);
        buf_puts(b, "}");
        comma = ",";
    }
    buf_puts(b, "]");
}

void wallet_list(struct call *c)
{
    struct buf b = { 0 };
    buf_puts(&b, "{\"wallets\":");
    put_wallets(&b, c->api->balance);
    buf_puts(&b, "}\n");
    call_json(c, 200, &b, NULL);
}

/* ---- chains */

static void put_chain(struct buf *b, const struct pipe_view *v)
{
    buf_puts(b, "{\"name\":");
    buf_json(b, plug_name(v->chain));
    buf_printf(b, ",\"connected\":%s", v->limits && plug_ready(v->chain) ? "true" : "false");
    if (v->limits) {
        json_str(b, "network", v->limits->network);
        json_str(b, "currency", v->limits->coin.n ? v->limits->coin : v->limits->unit);
    }
    buf_puts(b, "}");
}

static bool seen_before(struct pipe *pipe, uint32_t at, const struct plug_inst *chain)
{
    struct pipe_view v;
    for (uint32_t i = 0; i < at && pipe_look(pipe, i, &v); i++)
        if (v.chain == chain) return true;
    return false;
}

static void put_chains(struct buf *b, struct pipe *pipe)
{
    struct pipe_view v;
    const char *comma = "";
    buf_puts(b, ",\"chains\":[");
    for (uint32_t i = 0; pipe_look(pipe, i, &v); i++) {
        if (seen_before(pipe, i, v.chain)) continue;
        buf_puts(b, comma);
        put_chain(b, &v);
        comma = ",";
    }
    buf_puts(b, "]");
}

/* ---- GET /admin/system/status */

static void put_rest(struct buf *b, struct call *c, const struct status *s)
{
    struct api *api = c->api;
    struct buf why = { 0 };
    bool ready = pipe_ready(api->pipe, &why) && !api->draining;
    put_chains(b, api->pipe);
    buf_printf(b, ",\"accepting\":%s", ready ? "true" : "false");
    json_str(b, "reason", api->draining ? S("shutting down") : buf_view(&why));
    buf_free(&why);
    if (s->store) buf_printf(b, ",\"queue\":{\"pending\":%" PRIu64 ",\"quarantined\":%" PRIu64 "}", s->mints.open, s->mints.quarantined);
    buf_printf(b, ",\"version\":\"%s\",\"uptimeSeconds\":", MINTD_VERSION);
    ratio_put(b, loop_now_us(api->loop) - api->began_us, 1000000, 0);
}

static void answer(struct call *c)
{
    const struct status *s = c->state;
    struct buf b = { 0 };
    buf_puts(&b, "{\"balanceMonitor\":");
    put_balance(&b, balance_neediest(c->api->balance));
    buf_printf(&b, "},\"cache\":{\"enabled\":%s,\"connected\":%s,\"keyCount\":%" PRIu64 "}", s->caches.n ? "true" : "false",
               caches_connected(&s->caches) ? "true" : "false", caches_sum(&s->caches).keys);
    buf_printf(&b, ",\"database\":{\"connected\":%s}", s->store ? "true" : "false");
    json_time(&b, "timestamp", loop_wall_us(c->api->loop) / 1000);
    buf_puts(&b, ",\"wallets\":");
    put_wallets(&b, c->api->balance);
    put_rest(&b, c, s);
    buf_puts(&b, "}\n");
    call_json(c, 200, &b, NULL);
}

static void on_count(struct call *c, uint32_t i, const struct plug_reply *r)
{
    struct status *s = c->state;
    (void)i;
    s->store = r->out->cls == MINTD_OK && r->res->rows.n;
    if (s->store) s->mints = *(const struct mintd_db_count *)r->res->rows.p;
}

static void ask_store(struct call *c)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    if (!q) {
        arena_free(mem);
        return;
    }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_COUNT };
    gather_ask(c, pipe_store(c->api->pipe), STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, on_count, 0);
}

void status_get(struct call *c)
{
    struct status *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    c->state = s;
    caches_list(c, &s->caches);
    gather_begin(c, STATUS_MS, answer);
    ask_store(c);
    caches_ask(c, &s->caches);
    gather_end(c);
}
