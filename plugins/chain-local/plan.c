/* prepare and seal: from an intent to signed bytes, with no effect anywhere. What would certainly fail is said before it costs. */
#include <sodium.h>
#include <stdio.h>

#include "base58.h"
#include "local.h"

struct plan {                                              /* one intent on its way */
    struct job *j;
    struct mintd_intent in;
    struct mintd_plan *out;
    struct mintd_bad *bad;
    struct tx tx;
    int64_t t;
};

static void bad_item(struct plan *p, uint32_t i, const char *slug, const char *what, struct mintd_str about)
{
    about = clip_text(about, 200);
    const struct mintd_outcome *why = job_why(p->j, MINTD_PERMANENT, slug, 0, "%s: %.*s", what, (int)about.n, about.p);
    p->bad[p->out->bad.n++] = (struct mintd_bad){ .why = why, .item = i };
}

static void check_mint(struct plan *p, uint32_t i, const struct mintd_item *it)
{
    struct local *l = p->j->l;
    char text[ID_MAX];
    if (l->o.profile == SOLANA_LIKE) {
        if (it->pub.n != KEY || !it->tag.n) { bad_item(p, i, "local.no_item_key", "the item has no key of its own", it->name); return; }
        size_t n = base58_encode((const uint8_t *)it->pub.p, KEY, text, sizeof text);
        struct mintd_str asset = { text, n };
        if (world_asset(l, NONE, asset) != NONE) { bad_item(p, i, "local.asset_exists", "the asset exists already", asset); return; }
    }
    if (!l->o.fail_at_chain && named(&l->o.fail_names, it->name)) bad_item(p, i, "local.refused_name", "the name is refused", it->name);
}

static void check_transfer(struct plan *p, uint32_t i, const struct mintd_item *it)
{
    struct local *l = p->j->l;
    uint32_t coll = world_coll(&l->w, p->in.collection);
    if (it->asset.n > 255 || world_asset(l, coll, it->asset) == NONE)
        bad_item(p, i, "local.no_asset", "the collection has no such asset", it->asset);
    else if (!it->owner.n) bad_item(p, i, "local.no_owner", "the asset has no receiver", it->asset);
    else if (named(&l->o.unassociated, it->owner))
        bad_item(p, i, "local.not_associated", "the receiver is not associated with the collection", it->owner);
}

static void check_item(struct plan *p, uint32_t i, const struct mintd_item *it)
{
    if (it->name.n > NAME_MAX_LEN) bad_item(p, i, "local.too_long", "the name is too long", it->name);
    else if (it->uri.n > uri_max(p->j->l)) bad_item(p, i, "local.too_long", "the URI is too long", it->uri);
    else if (it->owner.n > 255 || it->tag.n > 255) bad_item(p, i, "local.too_long", "owner or tag is too long", it->owner);
    else if (p->in.kind == MINTD_MINT) check_mint(p, i, it);
    else check_transfer(p, i, it);
}

/* Items from the first on that fit together. */
static uint32_t fitting(const struct plan *p)
{
    const struct local *l = p->j->l;
    uint32_t most = items_max(l, p->in.kind), room = tx_room(l), n = 0;
    size_t used = 0;
    if (p->in.kind != MINTD_MINT || !room) return most;
    for (; n < p->in.items.n && n < most; n++) {
        struct mintd_item it;
        mintd_row(p->in.items, n, &it, sizeof it);
        used += ITEM_BASE + it.name.n + it.uri.n;
        if (used > room) return n ? n : 1;
    }
    return most;
}

static const uint8_t *payer_of(const struct plan *p)
{
    const struct local *l = p->j->l;
    for (uint32_t i = 0; i < p->in.keys.n; i++) {
        struct mintd_key k;
        mintd_row(p->in.keys, i, &k, sizeof k);
        if (k.pub.n == KEY && str_is(k.ref, str_z(l->o.payer))) return (const uint8_t *)k.pub.p;
    }
    return l->payer_known ? l->payer : NULL;
}

/* What is wrong with the intent as a whole; NULL: nothing */
static const struct mintd_outcome *check_intent(struct plan *p)
{
    struct local *l = p->j->l;
    const struct mintd_intent *in = &p->in;
    struct mintd_str route = route_at(l, 0).name, first;
    if (in->routes.n) { mintd_row(in->routes, 0, &first, sizeof first); route = first; }
    if (route_down(l, route, p->t))
        return job_why(p->j, MINTD_TRANSIENT, "local.unreachable", 0, "%.*s refuses connections", (int)clip_text(route, 100).n, clip_text(route, 100).p);
    if (in->kind > MINTD_TRANSFER || (in->kind == MINTD_COLLECTION) != !in->items.n)
        return job_why(p->j, MINTD_PERMANENT, "local.bad_request", 0, "kind %u with %u items", in->kind, in->items.n);
    if (in->memo.n > 65535 || in->spec.n > RAW_MAX / 2)
        return job_why(p->j, MINTD_PERMANENT, "local.too_long", 0, "the memo or the collection's spec is too long");
    if (in->kind != MINTD_COLLECTION && world_coll(&l->w, in->collection) == NONE)
        return job_why(p->j, MINTD_PERMANENT, "local.no_collection", 0, "there is no collection %.*s",
                       (int)clip_text(in->collection, 200).n, clip_text(in->collection, 200).p);
    return NULL;
}

static const struct mintd_outcome *check_money(struct plan *p)
{
    struct local *l = p->j->l;
    uint64_t fee = fee_of(l, p->in.kind, p->in.items.n, p->t), cap = p->in.fee_cap;
    const uint8_t *payer = payer_of(p);
    if (cap && fee > cap)
        return job_why(p->j, MINTD_TRANSIENT, "local.fee_cap", WEATHER_US / 1000, "the fee is %llu now, the cap is %llu",
                       (unsigned long long)fee, (unsigned long long)cap);
    if (payer && balance_of(l, payer) < fee)
        return job_why(p->j, MINTD_PERMANENT, "local.no_funds", 0, "the payer has %llu, the fee is %llu",
                       (unsigned long long)balance_of(l, payer), (unsigned long long)fee);
    p->out->fee_max = fee > UINT64_MAX / 2 ? UINT64_MAX : fee * 2;
    if (cap && p->out->fee_max > cap) p->out->fee_max = cap;
    return NULL;
}

static void fill_tx(struct plan *p)
{
    struct local *l = p->j->l;
    struct tx *tx = &p->tx;
    *tx = (struct tx){ .kind = p->in.kind, .profile = l->o.profile, .attempt = p->in.attempt, .n_items = p->in.items.n,
        .fee_max = p->out->fee_max, .chunk = p->in.chunk, .network = { (const char *)l->w.network, NET },
        .collection = p->in.collection, .memo = p->in.memo, .spec = p->in.spec };
    if (p->in.kind == MINTD_COLLECTION) tx->collection.n = 0;
    else tx->spec.n = 0;
    l->host->random(l->ctx, &tx->nonce, sizeof tx->nonce);
    validity(l, p->t, &tx->start, &tx->bound);
    p->out->bound = tx->bound;
    for (uint32_t i = 0; i < tx->n_items; i++) {
        struct mintd_item it;
        mintd_row(p->in.items, i, &it, sizeof it);
        tx->items[i] = (struct tx_item){ it.pub, it.tag, it.name, it.uri, it.owner, it.asset };
        if (p->in.kind != MINTD_TRANSFER) tx->items[i].asset.n = 0;
        if (tx_keys(tx) == 1) tx->items[i].pub.n = 0;
    }
}

static void put_asks(struct plan *p)
{
    struct local *l = p->j->l;
    size_t n = tx_body(&p->tx, NULL, 0);
    uint32_t keys = tx_keys(&p->tx);
    uint8_t *raw = job_mem(p->j, n);
    struct mintd_ask *asks = job_mem(p->j, keys * sizeof *asks);
    if (!raw || !asks) return;
    tx_body(&p->tx, raw, n);
    struct tx parsed;
    if (tx_parse_body((struct mintd_str){ (char *)raw, n }, &parsed)) {
        p->out->why = job_why(p->j, MINTD_PERMANENT, "local.too_large", 0, "the transaction would have %zu bytes", n);
        return;
    }
    for (uint32_t i = 0; i < keys; i++)
        asks[i] = (struct mintd_ask){ .key = str_z(i ? l->o.item_key : l->o.payer), .msg = parsed.body, .chunk = p->in.chunk,
            .scheme = MINTD_ED25519, .attempt = p->in.attempt, .tag = i ? p->tx.items[i - 1].tag : (struct mintd_str){ NULL, 0 } };
    p->out->state = (struct mintd_str){ (char *)raw, n };
    p->out->asks = ROWS(asks, keys);
}

static void plan_one(struct plan *p)
{
    p->bad = job_mem(p->j, (p->in.items.n + 1) * sizeof *p->bad);
    if (!p->bad) return;
    p->out->why = check_intent(p);
    if (p->out->why) return;
    p->out->fit = fitting(p);
    p->out->bad = ROWS(p->bad, 0);
    for (uint32_t i = 0; i < p->in.items.n; i++) {
        struct mintd_item it;
        mintd_row(p->in.items, i, &it, sizeof it);
        check_item(p, i, &it);
    }
    if (p->out->bad.n || (p->in.items.n && p->out->fit < p->in.items.n)) return;
    p->out->why = check_money(p);
    if (p->out->why) return;
    fill_tx(p);
    put_asks(p);
}

static int prepare_run(struct job *j)
{
    struct local *l = j->l;
    struct mintd_vec rows = j->req->rows;
    int r = job_catch_up(j);
    if (r) return r;
    if (rows.n > PREPARE_MAX) return job_refuse(j, MINTD_PERMANENT, "local.bad_request", "%u intents, at most %d", rows.n, PREPARE_MAX);
    struct mintd_plan *plans = job_mem(j, rows.n * sizeof *plans);
    int64_t t = chain_now(l);
    for (uint32_t i = 0; plans && i < rows.n; i++) {
        struct plan p = { .j = j, .out = &plans[i], .t = t };
        mintd_row(rows, i, &p.in, sizeof p.in);
        plan_one(&p);
    }
    if (j->out.cls) return -1;
    j->res.rows = ROWS(plans, rows.n);
    return 0;
}

void op_prepare(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.prepare_ms, prepare_run);
}

/* ---- seal */
static const struct mintd_outcome *bad_seal(struct job *j, const char *slug, const char *what)
{
    return job_why(j, MINTD_PERMANENT, slug, 0, "%s", what);
}

/* The transaction with all its signatures, parsed back from what will be stored. */
static const struct mintd_outcome *assemble(struct job *j, const struct mintd_seal *s, struct mintd_str *ret_raw, struct tx *ret)
{
    if (tx_parse_body(s->state, ret) || ret->profile != (uint32_t)j->l->o.profile || memcmp(ret->network.p, j->l->w.network, NET))
        return bad_seal(j, "local.bad_request", "this state was not made by prepare of this network");
    uint32_t keys = tx_keys(ret);
    size_t n = s->state.n + 1 + (size_t)keys * (KEY + SIG);
    struct writer w = { job_mem(j, n), 0, n };
    if (!w.p) return NULL;
    if (s->sigs.n != keys) return bad_seal(j, "local.bad_signature", "the number of signatures is not the number of asks");
    put(&w, s->state.p, s->state.n);
    put_u(&w, keys, 1);
    for (uint32_t i = 0; i < keys; i++) {
        struct mintd_sig sig;
        mintd_row(s->sigs, i, &sig, sizeof sig);
        if (sig.pub.n != KEY || sig.sig.n != SIG) return bad_seal(j, "local.bad_signature", "a key or signature has the wrong length");
        put(&w, sig.pub.p, KEY);
        put(&w, sig.sig.p, SIG);
    }
    *ret_raw = (struct mintd_str){ (char *)w.p, n };
    if (tx_parse(*ret_raw, ret) || !tx_verify(ret)) return bad_seal(j, "local.bad_signature", "a signature does not fit its key and message");
    return NULL;
}

static bool put_assets(struct job *j, const struct tx *tx, struct mintd_tx *out)
{
    char text[ID_MAX];
    uint32_t n = tx->profile != SOLANA_LIKE ? 0 : tx->kind == MINTD_COLLECTION ? 1 : tx->kind == MINTD_MINT ? tx->n_items : 0;
    struct mintd_str *assets = job_mem(j, n * sizeof *assets);
    for (uint32_t i = 0; assets && i < n; i++) {
        size_t len = tx->kind == MINTD_COLLECTION ? tx_collection_ref(tx, text)
                                                  : base58_encode((const uint8_t *)tx->items[i].pub.p, KEY, text, sizeof text);
        assets[i] = job_text(j, (struct mintd_str){ text, len });
    }
    out->assets = ROWS(assets, assets ? n : 0);
    if (tx->kind == MINTD_COLLECTION && n) out->collection = assets ? assets[0] : tx->collection;
    return assets != NULL;
}

static void seal_one(struct job *j, const struct mintd_seal *s, struct mintd_tx *out)
{
    struct tx tx;
    char id[ID_MAX];
    out->why = assemble(j, s, &out->raw, &tx);
    if (out->why || j->out.cls) return;
    out->id = job_text(j, (struct mintd_str){ id, tx_id(&tx, id) });
    out->collection = tx.collection;
    out->bound = tx.bound;
    out->fee_max = tx.fee_max;
    out->kind = tx.kind;
    out->n_items = tx.n_items;
    if (!put_assets(j, &tx, out)) return;
    memcpy(j->l->payer, tx_payer(&tx), KEY);
    j->l->payer_known = true;
}

int seal_run(struct job *j)
{
    struct mintd_vec rows = j->req->rows;
    struct mintd_tx *out = job_mem(j, rows.n * sizeof *out);
    for (uint32_t i = 0; out && !j->out.cls && i < rows.n; i++) {
        struct mintd_seal s;
        mintd_row(rows, i, &s, sizeof s);
        seal_one(j, &s, &out[i]);
    }
    if (j->out.cls) { j->out.cls = MINTD_PERMANENT; return -1; }       /* the only class of this op; a whole call condemns nobody */
    j->res.rows = ROWS(out, rows.n);
    return 0;
}

void op_seal(void *self, struct mintd_op *op, const struct mintd_req *req) { job_begin(self, op, req, 0, seal_run); }
