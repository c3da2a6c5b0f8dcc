/* What chain-local publishes: options, metrics, slugs, ops; check, create, destroy. */
#include <sodium.h>
#include <stdlib.h>

#include "local.h"

#define MS (1000)
#define MILLE(name, help) { name, "int", "0", NULL, help, 0, 1000, 0 }
static const char UNITS[] = "nloc=0|loc=9";

static const struct mintd_opt opts[] = {
    { "profile", "enum", "solana-like", "solana-like|hedera-like|null", "which chain it behaves like; null: in memory, at once, for measurements",
      0, 0, MINTD_RESTART },
    { "ledger", "path", "chain-local.ledger", NULL, "the ledger file, made when missing; several daemons may share it (null keeps none)", 0, 0,
      MINTD_RESTART },
    { "payer", "key", NULL, NULL, "key that pays and signs", 0, 0, MINTD_REQUIRED },
    { "item_key", "key", NULL, NULL, "solana-like: key that the items' keys are derived from (default: the payer)", 0, 0, 0 },
    { "endpoints", "list:str", NULL, NULL, "names of endpoints, or of nodes (default: three)", 0, 0, 0 },
    { "mirrors", "list:str", NULL, NULL, "hedera-like: names of mirrors (default: three)", 0, 0, 0 },
    { "items_mint", "int", "0", NULL, "items per transaction (0: 4 of solana-like, 10 of the others)", 0, ITEMS_MAX, 0 },
    { "slot_ms", "int", "400", NULL, "solana-like: ms per block; a ledger keeps the value it was made with", 1, 60000, 0 },
    { "finality", "int", "31", NULL, "solana-like: blocks until a block is final", 0, 1000, 0 },
    { "validity", "int", "150", NULL, "solana-like: blocks in which a transaction may land", 1, 100000, 0 },
    { "valid_duration", "duration", "120s", NULL, "hedera-like: how long a transaction may land from its valid start", 1 * MS, 600 * MS, 0 },
    { "latency", "duration", "0s", NULL, "from the acceptance of a transaction to its block", 0, 3600 * MS, 0 },
    { "jitter", "duration", "0s", NULL, "at most so much is added to latency", 0, 3600 * MS, 0 },
    { "prepare_latency", "duration", "0s", NULL, "how long a prepare takes", 0, 3600 * MS, 0 },
    { "send_latency", "duration", "0s", NULL, "how long a broadcast travels", 0, 3600 * MS, 0 },
    { "read_latency", "duration", "0s", NULL, "how long everything that only reads takes", 0, 3600 * MS, 0 },
    { "fee_tx", "amount", "5000 nloc", UNITS, "fee of a transaction", 0, 0, 0 },
    { "fee_item", "amount", "1000000 nloc", UNITS, "fee of each item of a mint, on top", 0, 0, 0 },
    { "fee_collection", "amount", "10000000 nloc", UNITS, "fee of a new collection, on top", 0, 0, 0 },
    { "balance", "amount", "1000000000 loc", UNITS, "what every account began with; raise it to refill them", 0, 0, 0 },
    { "coin", "str", "LOC", NULL, "what the coin is called in estimates and balances", 0, 0, 0 },
    { "usd", "amount", "0", "microusd=0|usd=6", "price of one coin (0: not known)", 0, 0, 0 },
    { "network_rate", "int", "0", NULL, "what the network takes, thousandths of items per second (0: no limit)", 0, 1000000000, 0 },
    { "node_rate", "int", "0", NULL, "what each endpoint takes, thousandths of items per second (0: no limit)", 0, 1000000000, 0 },
    { "burst", "duration", "15s", NULL, "how much of a rate can be saved up", 0, 3600 * MS, 0 },
    { "publish_rates", "bool", "true", NULL, "tell mintd about the rates; false: it has to find out", 0, 0, 0 },
    { "throttle_step", "int", "0", NULL, "thousandths of the rates that hold in every second period (0: they never change)", 0, 1000, 0 },
    { "throttle_period", "duration", "30s", NULL, "length of such a period", 1, 3600 * MS, 0 },
    { "unassociated", "list:str", NULL, NULL, "accounts that no asset can be transferred to", 0, 0, 0 },
    { "seed", "int", "1", NULL, "the same seed decides the same about the same transaction", 0, 0, 0 },
    MILLE("drop_request", "of 1000 sends, so many never arrive"),
    MILLE("drop_reply", "of 1000 sends, so many arrive and are not answered"),
    MILLE("error_but_land", "of 1000 transactions, so many are answered with an error and land"),
    MILLE("ack_and_drop", "of 1000 transactions, so many are acknowledged and never land"),
    MILLE("late_accept", "of 1000 transactions, so many land shortly before their bound"),
    MILLE("land_at_deadline", "of 1000 transactions, so many land at their bound"),
    MILLE("rollback", "solana-like: of 1000 transactions, so many land in blocks that are undone; sent again, they land"),
    MILLE("stale_read", "of 1000 windows of 2 s, an endpoint lags behind in so many"),
    { "stale_lag", "duration", "8s", NULL, "how far it lags", 1, 3600 * MS, 0 },
    MILLE("lie", "of 1000 transactions, one endpoint of three or more denies so many"),
    MILLE("fee_spike", "of 1000 windows of 2 s, so many have higher fees"),
    { "fee_spike_factor", "int", "10", NULL, "so many times higher", 1, 1000000, 0 },
    MILLE("restart", "of 1000 windows of 2 s, an endpoint refuses connections in so many"),
    { "no_funds", "int", "0", NULL, "an account is empty after so many transactions (0: never)", 0, 0, 0 },
    { "fail_names", "list:str", NULL, NULL, "names of items that fail; with fail_at = \"chain\" of collections too", 0, 0, 0 },
    { "fail_at", "enum", "prepare", "prepare|chain", "where they fail", 0, 0, 0 },
};

static const struct mintd_metric metrics[] = {
    [M_TRANSACTIONS] = { "mintd_chain_local_transactions_total", "fate", "transactions written to the ledger", 1 },
    [M_FAULTS] = { "mintd_chain_local_faults_total", "fault", "faults that struck", 1 },
};

static const struct mintd_slug slugs[] = {
    { "local.asset_exists", "the item was minted before: reconcile, then look for it with its asset id" },
    { "local.bad_asset", "an asset of a solana-like chain is 32 bytes in base58: correct the id" },
    { "local.bad_bytes", "the stored bytes are not those that were signed: look for a damaged store" },
    { "local.bad_request", "the core asked what this plugin does not know: use matching versions" },
    { "local.bad_signature", "the signer's answer does not fit: check the signer instance and the key names" },
    { "local.busy", "nothing to do, mintd slows down; to test more speed raise network_rate or node_rate" },
    { "local.canceled", "nothing to do: it had no effect and is tried again" },
    { "local.expired", "nothing to do: a new attempt follows once the old one is proven dead" },
    { "local.fee_cap", "wait for lower fees or raise mint.fee_cap" },
    { "local.fee_low", "nothing to do: fees rose after signing, a new attempt follows" },
    { "local.ledger_broken", "read the message, make the disk sound, restart" },
    { "local.ledger_damaged", "restore the ledger file from a copy, or begin with another ledger and an empty store" },
    { "local.ledger_full", "free space on the ledger's disk" },
    { "local.ledger_io", "read the message: the ledger file can not be read or locked" },
    { "local.ledger_path", "correct the option ledger, or the rights of its folder" },
    { "local.no_answer", "nothing to do: mintd finds out whether it arrived" },
    { "local.no_asset", "the asset to deliver is not in the collection: reconcile" },
    { "local.no_collection", "the collection is not on this ledger: check that the ledger is the right one" },
    { "local.no_funds", "raise the option balance; no_funds = 0 ends the fault" },
    { "local.no_item_key", "items need keys of their own: use a signer that can derive" },
    { "local.no_memory", "give the process more memory" },
    { "local.no_owner", "give the ticket a recipient" },
    { "local.node_error", "nothing to do: mintd finds out whether it landed" },
    { "local.not_a_ledger", "name a file that chain-local made, or a new one" },
    { "local.not_associated", "the receiver must be associated: take it out of unassociated and retry" },
    { "local.not_started", "nothing to do: the instance is starting" },
    { "local.refused_name", "the option fail_names asks for this failure" },
    { "local.too_large", "shorten the collection's spec" },
    { "local.too_long", "shorten the text that the message names" },
    { "local.unknown_route", "an endpoint was renamed while transactions were open: nothing to do" },
    { "local.unreachable", "nothing to do: the fault restart is on" },
    { "local.wrong_profile", "a ledger keeps its profile: name another ledger or that profile" },
};

/* ---- reading options */
static char *text_of(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name)
{
    struct mintd_str s;
    return host->opt_str(cfg, name, 0, &s) ? NULL : strndup(s.n ? s.p : "", s.n);
}

static bool text_is(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name, const char *value)
{
    struct mintd_str s;
    return !host->opt_str(cfg, name, 0, &s) && str_is(s, str_z(value));
}

static int64_t number_of(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name)
{
    int64_t v = 0;
    return host->opt_i64(cfg, name, 0, &v) ? 0 : v;
}

static enum profile profile_of(const struct mintd_host *host, const struct mintd_cfg *cfg)
{
    if (text_is(host, cfg, "profile", "hedera-like")) return HEDERA_LIKE;
    return text_is(host, cfg, "profile", "null") ? NULL_CHAIN : SOLANA_LIKE;
}

static uint32_t count_of(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name)
{
    struct mintd_str s;
    uint32_t n = 0;
    while (!host->opt_str(cfg, name, n, &s)) n++;
    return n;
}

/* ---- check */
static int refuse(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name, const char *why)
{
    host->opt_error(cfg, name, why);
    return -EINVAL;
}

static int check_names(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name, const char *other)
{
    struct mintd_str a, b;
    int r = 0;
    if (count_of(host, cfg, name) > ROUTES_MAX / 2) r = refuse(host, cfg, name, "at most 24 names");
    for (uint32_t i = 0; !r && !host->opt_str(cfg, name, i, &a); i++) {
        if (!a.n || a.n > 100) r = refuse(host, cfg, name, "a name has 1 to 100 bytes");
        for (uint32_t k = 0; !r && k < i; k++)
            if (!host->opt_str(cfg, name, k, &b) && str_is(a, b)) r = refuse(host, cfg, name, "a name is there twice");
        for (uint32_t k = 0; !r && other && !host->opt_str(cfg, other, k, &b); k++)
            if (str_is(a, b)) r = refuse(host, cfg, name, "a mirror has the name of an endpoint");
    }
    return r;
}

static int check(const struct mintd_host *host, const struct mintd_cfg *cfg)
{
    enum profile p = profile_of(host, cfg);
    const char *provers = p == HEDERA_LIKE ? "mirrors" : "endpoints";
    uint32_t n = count_of(host, cfg, provers);
    int r = check_names(host, cfg, "endpoints", NULL);
    if (!r) r = check_names(host, cfg, "mirrors", "endpoints");
    if (!r && p != HEDERA_LIKE && count_of(host, cfg, "mirrors")) r = refuse(host, cfg, "mirrors", "only profile hedera-like has mirrors");
    if (!r && p == HEDERA_LIKE && number_of(host, cfg, "items_mint") > 10) r = refuse(host, cfg, "items_mint", "hedera-like takes at most 10");
    if (!r && number_of(host, cfg, "lie") && n && n < 3) r = refuse(host, cfg, "lie", "a lie needs at least three witnesses, or it would win");
    if (!r && number_of(host, cfg, "lie") && p == NULL_CHAIN) r = refuse(host, cfg, "lie", "profile null has one witness, its lie would win");
    if (!r && number_of(host, cfg, "rollback") && p != SOLANA_LIKE)
        r = refuse(host, cfg, "rollback", "only profile solana-like has blocks that can be undone");
    if (!r && number_of(host, cfg, "rollback") && number_of(host, cfg, "finality") < 2)
        r = refuse(host, cfg, "rollback", "with a finality below 2 there is no block to undo");
    return r;
}

/* ---- create and destroy */
static const char *const node_names[] = { "node-1", "node-2", "node-3" }, *const endpoint_names[] = { "rpc-1", "rpc-2", "rpc-3" },
    *const mirror_names[] = { "mirror-1", "mirror-2", "mirror-3" };

static void free_list(struct strs *s)
{
    for (uint32_t i = 0; i < s->n; i++) free((void *)(uintptr_t)s->p[i].p);
    free(s->p);
}

static bool read_list(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name, const char *const *dflt, struct strs *ret)
{
    uint32_t given = count_of(host, cfg, name), n = given || !dflt ? given : 3;
    ret->p = calloc(n + 1, sizeof *ret->p);
    for (uint32_t i = 0; ret->p && i < n; i++) {
        struct mintd_str s;
        if (!given) s = str_z(dflt[i]);
        else if (host->opt_str(cfg, name, i, &s)) return false;
        char *copy = strndup(s.n ? s.p : "", s.n);
        if (!copy) return false;
        ret->p[ret->n++] = (struct mintd_str){ copy, strlen(copy) };
    }
    return ret->p != NULL;
}

static void read_numbers(const struct mintd_host *host, const struct mintd_cfg *cfg, struct options *o)
{
    const struct { const char *name; int64_t *to; int64_t by; } table[] = {
        { "slot_ms", &o->slot_us, MS }, { "valid_duration", &o->valid_us, MS }, { "latency", &o->latency_us, MS },
        { "jitter", &o->jitter_us, MS }, { "stale_lag", &o->stale_lag_us, MS }, { "burst", &o->burst_us, MS },
        { "throttle_period", &o->throttle_period_us, MS }, { "prepare_latency", &o->prepare_ms, 1 }, { "send_latency", &o->send_ms, 1 },
        { "read_latency", &o->read_ms, 1 }, { "fee_tx", &o->fee_tx, 1 }, { "fee_item", &o->fee_item, 1 },
        { "fee_collection", &o->fee_collection, 1 }, { "balance", &o->balance, 1 }, { "network_rate", &o->network_rate, 1 },
        { "node_rate", &o->node_rate, 1 }, { "usd", &o->usd, 1 }, { "throttle_step", &o->throttle_step, 1 }, { "seed", &o->seed, 1 },
        { "drop_request", &o->drop_request, 1 }, { "drop_reply", &o->drop_reply, 1 }, { "error_but_land", &o->error_but_land, 1 },
        { "ack_and_drop", &o->ack_and_drop, 1 }, { "late_accept", &o->late_accept, 1 }, { "land_at_deadline", &o->land_at_deadline, 1 },
        { "rollback", &o->rollback, 1 }, { "stale_read", &o->stale_read, 1 }, { "lie", &o->lie, 1 }, { "fee_spike", &o->fee_spike, 1 },
        { "fee_spike_factor", &o->fee_spike_factor, 1 }, { "restart", &o->restart, 1 }, { "no_funds", &o->no_funds, 1 },
    };
    for (size_t i = 0; i < LEN(table); i++) *table[i].to = number_of(host, cfg, table[i].name) * table[i].by;
    o->items_mint = (uint32_t)number_of(host, cfg, "items_mint");
    o->finality = (uint32_t)number_of(host, cfg, "finality");
    o->validity = (uint32_t)number_of(host, cfg, "validity");
    o->publish_rates = number_of(host, cfg, "publish_rates");
    o->fail_at_chain = text_is(host, cfg, "fail_at", "chain");
}

static void destroy(void *self)
{
    struct local *l = self;
    if (!l) return;
    ledger_close(&l->led);
    world_free(&l->w);
    free_list(&l->o.endpoints);
    free_list(&l->o.mirrors);
    free_list(&l->o.unassociated);
    free_list(&l->o.fail_names);
    free(l->o.ledger);
    free(l->o.payer);
    free(l->o.item_key);
    free(l->o.coin);
    free(l);
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret_self)
{
    struct local *l = calloc(1, sizeof *l);
    if (sodium_init() < 0 || !l) { free(l); return l ? -EIO : -ENOMEM; }
    struct options *o = &l->o;
    l->host = host;
    l->ctx = ctx;
    l->led.fd = -1;
    o->profile = profile_of(host, cfg);
    read_numbers(host, cfg, o);
    o->ledger = text_of(host, cfg, "ledger");
    o->payer = text_of(host, cfg, "payer");
    o->item_key = text_of(host, cfg, "item_key");
    o->coin = text_of(host, cfg, "coin");
    if (!o->item_key && o->payer) o->item_key = strdup(o->payer);
    bool ok = o->ledger && o->payer && o->item_key && o->coin &&
        read_list(host, cfg, "endpoints", o->profile == HEDERA_LIKE ? node_names : endpoint_names, &o->endpoints) &&
        read_list(host, cfg, "mirrors", o->profile == HEDERA_LIKE ? mirror_names : NULL, &o->mirrors) &&
        read_list(host, cfg, "unassociated", NULL, &o->unassociated) && read_list(host, cfg, "fail_names", NULL, &o->fail_names);
    if (!ok) { destroy(l); return -ENOMEM; }
    l->led.path = o->ledger;
    l->led.memory = o->profile == NULL_CHAIN;
    *ret_self = l;
    return 0;
}

static const struct mintd_chain_ops ops = { .size = sizeof ops, .limits = op_limits, .prepare = op_prepare, .seal = op_seal,
    .broadcast = op_broadcast, .status = op_status, .inspect = op_inspect, .list = op_list, .find = op_find, .estimate = op_estimate,
    .wallet = op_wallet };

static const struct mintd_plugin plugin = {
    .magic = MINTD_MAGIC, .size = sizeof plugin, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .kind = MINTD_CHAIN,
    .model = MINTD_LOOP, .flags = MINTD_SIMULABLE, .name = "chain-local", .version = "0.1.0",
    .summary = "an embedded chain with faults on demand, for development, rehearsals and tests",
    .opts = { opts, LEN(opts), sizeof opts[0] }, .metrics = { metrics, LEN(metrics), sizeof metrics[0] },
    .slugs = { slugs, LEN(slugs), sizeof slugs[0] }, .ops = &ops, .check = check, .create = create, .start = op_start, .drain = op_drain,
    .cancel = job_cancel, .destroy = destroy,
};

__attribute__((visibility("default"))) const struct mintd_plugin *mintd_plugin_v0(void) { return &plugin; }
