/* The balance monitor: see balance.h. A round goes through the chains one after another: the public keys of the keys that a chain's
 * options name, from their signers; then what the chain knows of those accounts. What a round cannot learn keeps its last figure, with
 * the reason beside it. A change between low and enough is an event, once, also across restarts. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/amount.h"
#include "base/log.h"
#include "base/metric.h"
#include "ops/balance.h"

enum { SOON_MS = 200 };
enum told { TOLD_NOTHING, TOLD_OK, TOLD_LOW };

/* A wallet as asked for: its key's whole name, its public half once the signer said it. */
struct asked { char key[2 * BALANCE_NAME]; uint8_t pub[128]; size_t n_pub; enum told told; };

struct round { uint32_t first, n, at; struct plug_inst *chain; };          /* the wallets of one chain; `at`: key being asked for */

struct balance {
    struct loop *loop;
    struct pipe *pipe;
    struct conf *conf;
    struct loop_timer *timer;
    struct wallet wallets[BALANCE_WALLETS];
    struct asked asked[BALANCE_WALLETS];
    uint32_t n, refs;                          /* refs: the owner, and answers under way */
    struct round round;
    bool running, again, stopped, closed;      /* again: the configuration changed during a round */
    bool forget;                               /* ask the signers anew: their keys may be others now */
    struct metric *amount, *sufficient;
};

static void next_chain(struct balance *b);

static void put(struct balance *b)
{
    if (--b->refs) return;
    conf_unref(b->conf);
    free(b);
}

/* ---- the list of wallets, made from the configuration at the beginning of a round */

static void name_of(char ret[BALANCE_NAME], struct mintd_str s) { snprintf(ret, BALANCE_NAME, STR_FMT, STR_ARG(s)); }

static int find(const struct balance *b, uint32_t n, const char *chain, const char *role, const char *key)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(b->wallets[i].chain, chain) && !strcmp(b->wallets[i].role, role) && !strcmp(b->asked[i].key, key)) return (int)i;
    return -1;
}

static void add_wallet(struct balance *b, const struct pipe_view *v, struct mintd_str role, struct mintd_str key)
{
    struct wallet w = { .decimals = v->limits->decimals };
    struct asked a = { .told = TOLD_NOTHING };
    name_of(w.chain, plug_name(v->chain));
    name_of(w.role, role);
    snprintf(a.key, sizeof a.key, STR_FMT, STR_ARG(key));
    int at = find(b, b->n, w.chain, w.role, a.key);
    if (at < 0 && b->n == BALANCE_WALLETS) return;
    if (at < 0) {
        at = (int)b->n++;
        b->wallets[at] = w;
        b->asked[at] = a;
    }
    struct wallet *to = &b->wallets[at];
    uint64_t wanted = 0;
    if (amount_parse(v->cf->min_balance, v->limits->decimals, &wanted)) wanted = UINT64_MAX;   /* more than the coin can count */
    if (wanted > to->required) to->required = wanted;
    snprintf(to->currency, sizeof to->currency, STR_FMT, STR_ARG(v->limits->coin.n ? v->limits->coin : v->limits->unit));
    to->decimals = v->limits->decimals;
}

/* Those that are still wanted keep what is known of them. */
static void list_wallets(struct balance *b)
{
    struct wallet *old = malloc(sizeof b->wallets);
    struct asked *old_asked = malloc(sizeof b->asked);
    uint32_t n_old = b->n;
    if (old && old_asked) {
        memcpy(old, b->wallets, sizeof b->wallets);
        memcpy(old_asked, b->asked, sizeof b->asked);
        b->n = 0;
        struct pipe_view v;
        struct mintd_str role, key;
        for (uint32_t i = 0; pipe_look(b->pipe, i, &v); i++)
            for (uint32_t k = 0; v.limits && plug_key_at(v.chain, k, &role, &key); k++) add_wallet(b, &v, role, key);
        for (uint32_t i = 0; i < n_old; i++) {
            int at = find(b, b->n, old[i].chain, old[i].role, old_asked[i].key);
            if (at < 0) continue;
            uint64_t required = b->wallets[at].required;
            b->wallets[at] = old[i];
            b->wallets[at].required = required;
            b->wallets[at].sufficient = old[i].checked_ms && old[i].balance >= required;
            b->asked[at] = old_asked[i];
            if (b->forget) b->asked[at].n_pub = 0;
        }
    }
    b->forget = false;
    free(old);
    free(old_asked);
}

/* ---- what a round learned */

static void failed(struct balance *b, const char *who, const struct mintd_outcome *o)
{
    for (uint32_t i = b->round.first; i < b->round.first + b->round.n; i++)
        snprintf(b->wallets[i].error, sizeof b->wallets[i].error, "%s: " STR_FMT ": " STR_FMT, who, STR_ARG(o->slug), STR_ARG(o->msg));
    log_warn("the balance of the wallets of %s is not known now: " STR_FMT " (" STR_FMT ")", b->wallets[b->round.first].chain,
             STR_ARG(o->msg), STR_ARG(o->slug));
}

static void put_amount(struct buf *out, const char *name, uint64_t v, const struct wallet *w)
{
    buf_printf(out, ",\"%s\":\"", name);
    amount_put(out, v, w->decimals);
    buf_puts(out, "\"");
}

static struct mintd_str describe(struct arena *mem, const struct wallet *w)
{
    struct buf body = { 0 };
    buf_puts(&body, "{\"chain\":");
    buf_json(&body, str_of(w->chain));
    buf_puts(&body, ",\"role\":");
    buf_json(&body, str_of(w->role));
    buf_puts(&body, ",\"account\":");
    buf_json(&body, str_of(w->account));
    buf_puts(&body, ",\"currency\":");
    buf_json(&body, str_of(w->currency));
    put_amount(&body, "balance", w->balance, w);
    put_amount(&body, "minRequired", w->required, w);
    buf_puts(&body, "}");
    struct mintd_str out = arena_str(mem, buf_view(&body));
    buf_free(&body);
    return out;
}

struct telling { struct balance *b; bool low, second; char chain[BALANCE_NAME], role[BALANCE_NAME], key[2 * BALANCE_NAME]; };

static void tell(struct balance *b, uint32_t i, bool low, struct mintd_str known);

/* STALE names what the store knew: the other state, so this is a change. */
static void on_told(void *arg, const struct mintd_applied *a)
{
    struct telling t = *(struct telling *)arg;
    struct balance *b = t.b;
    free(arg);
    bool change = a && a->verdict == MINTD_STALE && !t.second && a->detail.n;
    int at = b->closed || b->stopped ? -1 : find(b, b->n, t.chain, t.role, t.key);
    if (at >= 0 && !a) b->asked[at].told = TOLD_NOTHING;   /* said again after the next round */
    else if (at >= 0 && change) tell(b, (uint32_t)at, t.low, a->detail);
    put(b);
}

/* The state is a row of the store, so that a restart is no news. The first "ok" of a wallet is none either. */
static void tell(struct balance *b, uint32_t i, bool low, struct mintd_str known)
{
    const struct wallet *w = &b->wallets[i];
    struct telling *t = malloc(sizeof *t);
    struct arena *mem = t ? arena_new(0) : NULL;
    if (!mem) {
        free(t);
        b->asked[i].told = TOLD_NOTHING;
        return;
    }
    *t = (struct telling){ .b = b, .low = low, .second = known.n > 0 };
    memcpy(t->chain, w->chain, sizeof t->chain);
    memcpy(t->role, w->role, sizeof t->role);
    memcpy(t->key, b->asked[i].key, sizeof t->key);
    struct mintd_db_meta row = { .key = arena_printf(mem, "wallet.%s.%s", w->chain, w->role), .val = low ? S("low") : S("ok"),
                                 .expect = arena_str(mem, known) };
    struct pipe_row write = { .kind = MINTD_DB_META, .row = &row, .size = sizeof row, .body = describe(mem, w),
                              .event = low ? "wallet.low" : known.n ? "wallet.ok" : NULL };
    b->refs++;
    if (!pipe_write(b->pipe, &write, mem, on_told, t)) return;
    free(t);
    b->asked[i].told = TOLD_NOTHING;
    put(b);
}

static void log_change(const struct wallet *w)
{
    struct buf text = { 0 };
    amount_put(&text, w->balance, w->decimals);
    buf_puts(&text, " ");
    buf_puts(&text, w->currency);
    buf_puts(&text, w->sufficient ? ", enough for the limit of " : " is below the limit of ");
    amount_put(&text, w->required, w->decimals);
    if (w->sufficient) log_info("wallet %s of chain %s (%s) has " STR_FMT, w->role, w->chain, w->account, STR_ARG(text));
    else log_warn("wallet %s of chain %s (%s) has " STR_FMT " (min_balance): fill it up, or mints will fail", w->role, w->chain, w->account,
                  STR_ARG(text));
    buf_free(&text);
}

static double in_coins(const struct wallet *w)
{
    double v = (double)w->balance;
    for (uint32_t i = 0; i < w->decimals; i++) v /= 10;
    return v;
}

static void learned(struct balance *b, uint32_t i, const struct mintd_purse *p)
{
    struct wallet *w = &b->wallets[i];
    struct asked *a = &b->asked[i];
    w->balance = p->balance;
    w->sufficient = p->balance >= w->required;
    w->checked_ms = loop_wall_us(b->loop) / 1000;
    w->error[0] = 0;
    snprintf(w->account, sizeof w->account, STR_FMT, STR_ARG(p->account));
    metric_set(b->amount, str_of(w->chain), str_of(w->role), in_coins(w));
    metric_set(b->sufficient, str_of(w->chain), str_of(w->role), w->sufficient);
    enum told now = w->sufficient ? TOLD_OK : TOLD_LOW;
    if (a->told == now) return;
    a->told = now;
    log_change(w);
    tell(b, i, !w->sufficient, (struct mintd_str){ NULL, 0 });
}

/* ---- asking */

static void on_timer(void *arg);

static void wait_ms(struct balance *b, uint64_t ms)
{
    loop_timer_del(b->timer);
    b->timer = b->stopped ? NULL : loop_timer(b->loop, ms, on_timer, b);
}

static void round_over(struct balance *b)
{
    b->running = false;
    bool unknown = !b->n;
    for (uint32_t i = 0; i < b->n; i++) unknown = unknown || (!b->wallets[i].checked_ms && !b->wallets[i].hidden);
    wait_ms(b, b->again || (unknown && b->conf->balance_ms > SOON_MS) ? SOON_MS : (uint64_t)b->conf->balance_ms);
    b->again = false;
}

static void chain_done(struct balance *b)
{
    b->round.first += b->round.n;
    next_chain(b);
}

/* A purse is known by its role; a chain leaves out the keys that hold no money. */
static void take_purses(struct balance *b, const struct mintd_purse *p, uint32_t n)
{
    for (uint32_t i = b->round.first; i < b->round.first + b->round.n; i++) {
        uint32_t k = 0;
        while (k < n && !str_eq(p[k].role, str_of(b->wallets[i].role))) k++;
        b->wallets[i].hidden = k == n;
        if (k < n) learned(b, i, &p[k]);
    }
}

static void on_purses(void *arg, struct plug_reply *r)
{
    struct balance *b = arg;
    const struct mintd_purse *p = r->res->rows.p;
    if (!b->closed && !b->stopped) {
        if (r->out->cls != MINTD_OK) failed(b, "the chain does not answer", r->out);
        else take_purses(b, p, r->res->rows.n);
        chain_done(b);
    }
    put(b);
}

static void ask_chain(struct balance *b)
{
    b->round.chain = plug_find(pipe_plug(b->pipe), str_of(b->wallets[b->round.first].chain));      /* it may be gone by a reload */
    struct arena *mem = b->round.chain ? arena_new(0) : NULL;
    struct mintd_key *rows = mem ? arena_array(mem, b->round.n, sizeof *rows) : NULL;
    if (!rows) {
        arena_free(mem);
        chain_done(b);
        return;
    }
    for (uint32_t k = 0; k < b->round.n; k++) {
        const struct asked *a = &b->asked[b->round.first + k];
        const struct wallet *w = &b->wallets[b->round.first + k];
        rows[k] = (struct mintd_key){ .role = arena_str(mem, str_of(w->role)), .ref = arena_str(mem, str_of(a->key)),
                                      .pub = arena_str(mem, (struct mintd_str){ (const char *)a->pub, a->n_pub }) };
    }
    b->refs++;
    plug_call_rows(b->round.chain, CHAIN_WALLET, 0, NULL, VEC(rows, b->round.n), mem, on_purses, b);
}

static void ask_keys(struct balance *b);

static struct mintd_str after_slash(const char *key)
{
    const char *slash = strchr(key, '/');
    return str_of(slash ? slash + 1 : "");
}

/* A signer told all its keys. */
static void on_keys(void *arg, struct plug_reply *r)
{
    struct balance *b = arg;
    const struct mintd_pub *p = r->res->rows.p;
    if (!b->closed && !b->stopped) {
        struct asked *a = &b->asked[b->round.first + b->round.at];
        for (uint32_t k = 0; r->out->cls == MINTD_OK && k < r->res->rows.n; k++) {
            if (p[k].why || p[k].pub.n > sizeof a->pub || !str_eq(p[k].key, after_slash(a->key))) continue;
            memcpy(a->pub, p[k].pub.p, p[k].pub.n);
            a->n_pub = p[k].pub.n;
        }
        static const struct mintd_outcome no_key = { .slug = { "pipe.no_key", 11 }, .msg = { "the signer does not have the key", 32 } };
        if (a->n_pub) b->round.at++, ask_keys(b);
        else failed(b, "the signer does not answer", r->out->cls == MINTD_OK ? &no_key : r->out), chain_done(b);
    }
    put(b);
}

static struct plug_inst *signer_of(struct balance *b, const char *key)
{
    const char *slash = strchr(key, '/');
    struct plug_inst *inst = slash ? plug_find(pipe_plug(b->pipe), (struct mintd_str){ key, (size_t)(slash - key) }) : NULL;
    return inst && plug_kind(inst) == MINTD_SIGNER ? inst : NULL;
}

/* The next key of this chain whose public half is not known yet; then the chain itself. */
static void ask_keys(struct balance *b)
{
    static const struct mintd_outcome no_signer = { .slug = { "pipe.no_signer", 14 }, .msg = { "no such signer", 14 } };
    struct asked *a = &b->asked[b->round.first];
    while (b->round.at < b->round.n && a[b->round.at].n_pub) b->round.at++;
    if (b->round.at == b->round.n) return ask_chain(b);
    struct plug_inst *signer = signer_of(b, a[b->round.at].key);
    struct arena *mem = signer ? arena_new(0) : NULL;
    if (!mem) {
        failed(b, "the key cannot be asked for", &no_signer);
        chain_done(b);
        return;
    }
    b->refs++;
    plug_call_rows(signer, SIGNER_PUBLIC_KEYS, 0, NULL, (struct mintd_vec){ 0 }, mem, on_keys, b);
}

static void next_chain(struct balance *b)
{
    struct round *r = &b->round;
    if (r->first >= b->n) return round_over(b);
    const char *chain = b->wallets[r->first].chain;
    r->n = 1;
    while (r->first + r->n < b->n && !strcmp(b->wallets[r->first + r->n].chain, chain)) r->n++;
    r->at = 0;
    r->chain = plug_find(pipe_plug(b->pipe), str_of(chain));
    if (r->chain && plug_offers(r->chain, CHAIN_WALLET)) ask_keys(b);
    else chain_done(b);
}

static void on_timer(void *arg)
{
    struct balance *b = arg;
    struct buf why = { 0 };
    loop_timer_del(b->timer);
    b->timer = NULL;
    if (pipe_ready(b->pipe, &why)) {
        b->running = true;
        list_wallets(b);
        b->round = (struct round){ 0 };
        next_chain(b);
    } else {
        wait_ms(b, SOON_MS);
    }
    buf_free(&why);
}

/* ---- life */

struct balance *balance_new(struct loop *loop, struct pipe *pipe, struct conf *conf)
{
    struct balance *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->loop = loop;
    b->pipe = pipe;
    b->conf = conf_ref(conf);
    b->refs = 1;
    b->amount = metric_new(METRIC_GAUGE, "mintd_wallet_balance", "chain,role", "what a wallet has left, in coins", NULL);
    b->sufficient = metric_new(METRIC_GAUGE, "mintd_wallet_sufficient", "chain,role", "1: at least min_balance, 0: less", NULL);
    wait_ms(b, 0);
    return b;
}

void balance_configure(struct balance *b, struct conf *conf)
{
    conf_unref(b->conf);
    b->conf = conf_ref(conf);
    b->again = b->running;
    b->forget = true;
    if (!b->running) wait_ms(b, SOON_MS);
}

void balance_stop(struct balance *b)
{
    b->stopped = true;
    wait_ms(b, 0);
}

struct balance *balance_free(struct balance *b)
{
    if (!b) return NULL;
    balance_stop(b);
    b->closed = true;
    put(b);
    return NULL;
}

uint32_t balance_wallets(const struct balance *b, const struct wallet **ret)
{
    *ret = b->wallets;
    return b->n;
}

/* balance / required compared without division */
static bool is_needier(const struct wallet *x, const struct wallet *y)
{
    __extension__ typedef unsigned __int128 wide;
    if (!x->checked_ms || !y->checked_ms) return !x->checked_ms && y->checked_ms;
    if (x->sufficient != y->sufficient) return !x->sufficient;
    return (wide)x->balance * (y->required ? y->required : 1) < (wide)y->balance * (x->required ? x->required : 1);
}

const struct wallet *balance_neediest(const struct balance *b)
{
    const struct wallet *worst = NULL;
    for (uint32_t i = 0; i < b->n; i++)
        if (!b->wallets[i].hidden && (!worst || is_needier(&b->wallets[i], worst))) worst = &b->wallets[i];
    return worst;
}
