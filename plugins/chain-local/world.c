/* What the ledger amounts to: transactions, assets, collections, payers. Holds hashes and places, not texts: a look-up that must be
 * certain reads the record back. Owns its arrays. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base58.h"
#include "local.h"

/* ---- growing arrays and maps */
static int grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
    void **p = array;
    if (n < *cap) return 0;
    uint32_t bigger = *cap ? *cap + *cap / 2 : 64;
    void *more = realloc(*p, bigger * size);
    if (!more) return -ENOMEM;
    *p = more;
    *cap = bigger;
    return 0;
}

typedef uint64_t hash_fn(const struct world *, uint32_t i);
static uint64_t tx_hash(const struct world *w, uint32_t i) { return w->txs[i].hash; }
static uint64_t asset_hash(const struct world *w, uint32_t i) { return w->assets[i].hash; }
static uint64_t mark_hash(const struct world *w, uint32_t i) { return w->assets[i].mark; }

static void map_put(struct map *m, uint64_t hash, uint32_t i)
{
    uint32_t at = (uint32_t)hash & (m->cap - 1);
    while (m->slots[at]) at = (at + 1) & (m->cap - 1);
    m->slots[at] = i + 1;
    m->n++;
}

/* Room for one more, so that the put after it cannot fail. */
static int map_room(const struct world *w, struct map *m, hash_fn *hash)
{
    if (m->n < m->cap / 4 * 3) return 0;
    struct map bigger = { calloc(m->cap ? m->cap * 2 : 64, sizeof *m->slots), m->cap ? m->cap * 2 : 64, 0 };
    if (!bigger.slots) return -ENOMEM;
    for (uint32_t i = 0; i < m->cap; i++) if (m->slots[i]) map_put(&bigger, hash(w, m->slots[i] - 1), m->slots[i] - 1);
    free(m->slots);
    *m = bigger;
    return 0;
}

/* The next element with this hash. *at: where to look on; UINT32_MAX: from the start. */
static uint32_t map_next(const struct world *w, const struct map *m, hash_fn *hash, uint64_t h, uint32_t *at)
{
    if (!m->cap) return NONE;
    for (*at = *at == UINT32_MAX ? (uint32_t)h & (m->cap - 1) : (*at + 1) & (m->cap - 1); m->slots[*at]; *at = (*at + 1) & (m->cap - 1))
        if (hash(w, m->slots[*at] - 1) == h) return m->slots[*at] - 1;
    return NONE;
}

static uint64_t hash_of(const struct world *w, struct mintd_str s)
{
    uint64_t h;
    crypto_shorthash((uint8_t *)&h, (const uint8_t *)(s.n ? s.p : ""), s.n, w->key);
    return h;
}

uint64_t world_mark_hash(const struct world *w, struct mintd_str uri) { return hash_of(w, uri); }

/* Serials are unique in their collection only, addresses everywhere. */
static uint64_t asset_key(const struct world *w, uint32_t coll, struct mintd_str asset)
{
    return hash_of(w, asset) + (w->profile == SOLANA_LIKE ? 0 : (uint64_t)(coll + 1) * 0x9e3779b97f4a7c15u);
}

/* ---- look-ups */
int world_load(struct local *l, uint32_t i, struct loaded *ret)
{
    const struct wtx *t = &l->w.txs[i];
    ret->buf = NULL;
    int r = ledger_read(&l->led, t->at, t->len, &ret->buf);
    if (!r) r = record_parse(ret->buf, t->len, &ret->rec);
    if (!r) r = tx_parse(ret->rec.raw, &ret->tx);
    return r;
}

static bool has_id(struct local *l, uint32_t i, struct mintd_str id)
{
    uint8_t *buf = NULL;
    struct record rec;
    const struct wtx *t = &l->w.txs[i];
    bool same = !ledger_read(&l->led, t->at, t->len, &buf) && !record_parse(buf, t->len, &rec) && str_is(rec.id, id);
    free(buf);
    return same;
}

uint32_t world_tx(struct local *l, struct mintd_str id)
{
    uint64_t h = hash_of(&l->w, id);
    uint32_t at = UINT32_MAX, i;
    while ((i = map_next(&l->w, &l->w.by_id, tx_hash, h, &at)) != NONE && !has_id(l, i, id)) { }
    return i;
}

uint32_t world_coll(const struct world *w, struct mintd_str ref)
{
    for (uint32_t i = w->n_colls; i-- > 0;) if (str_is(w->colls[i].ref, ref)) return i;
    return NONE;
}

static bool is_asset(struct local *l, uint32_t i, struct mintd_str asset)
{
    const struct wasset *a = &l->w.assets[i];
    struct loaded ld;
    char text[ID_MAX];
    size_t n = 0;
    if (l->w.profile != SOLANA_LIKE) {
        n = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)(l->w.txs[a->tx].serial + a->item));
    } else {
        if (!world_load(l, a->tx, &ld)) n = base58_encode((const uint8_t *)ld.tx.items[a->item].pub.p, KEY, text, sizeof text);
        free(ld.buf);
    }
    return str_is((struct mintd_str){ text, n }, asset);
}

uint32_t world_asset(struct local *l, uint32_t coll, struct mintd_str asset)
{
    uint64_t h = asset_key(&l->w, coll, asset);
    uint32_t at = UINT32_MAX, i;
    while ((i = map_next(&l->w, &l->w.by_asset, asset_hash, h, &at)) != NONE)
        if ((coll == NONE || l->w.assets[i].coll == coll) && is_asset(l, i, asset)) break;
    return i;
}

uint32_t world_marked(struct local *l, struct mintd_str uri, uint32_t from)
{
    uint64_t h = hash_of(&l->w, uri);
    uint32_t at = UINT32_MAX, i, least = NONE;
    while ((i = map_next(&l->w, &l->w.by_mark, mark_hash, h, &at)) != NONE) if (i >= from && i < least) least = i;
    return least;
}

const struct wacct *world_acct(const struct world *w, const uint8_t pub[KEY])
{
    for (uint32_t i = 0; i < w->n_accts; i++) if (!memcmp(w->accts[i].pub, pub, KEY)) return &w->accts[i];
    return NULL;
}

/* ---- applying records */
static int charge(struct world *w, const uint8_t pub[KEY], uint64_t fee)
{
    struct wacct *a = (struct wacct *)(uintptr_t)world_acct(w, pub);
    if (!a) {
        if (grow(&w->accts, w->n_accts, &w->cap_accts, sizeof *w->accts)) return -ENOMEM;
        a = &w->accts[w->n_accts++];
        *a = (struct wacct){ 0 };
        memcpy(a->pub, pub, KEY);
    }
    a->spent = fee > UINT64_MAX - a->spent ? UINT64_MAX : a->spent + fee;
    a->paid++;
    return 0;
}

static int add_coll(struct world *w, struct mintd_str ref, uint32_t tx)
{
    char *copy = malloc(ref.n + 1);
    if (!copy || grow(&w->colls, w->n_colls, &w->cap_colls, sizeof *w->colls)) { free(copy); return -ENOMEM; }
    memcpy(copy, ref.p, ref.n);
    w->colls[w->n_colls++] = (struct wcoll){ { copy, ref.n }, tx, 0 };
    return 0;
}

static int add_asset(struct world *w, const struct tx *tx, uint32_t i, uint32_t t)
{
    char text[ID_MAX];
    size_t n;
    struct wtx *wt = &w->txs[t];
    int r = grow(&w->assets, w->n_assets, &w->cap_assets, sizeof *w->assets);
    if (!r) r = map_room(w, &w->by_asset, asset_hash);
    if (!r) r = map_room(w, &w->by_mark, mark_hash);
    if (r) return r;
    if (w->profile == SOLANA_LIKE) n = base58_encode((const uint8_t *)tx->items[i].pub.p, KEY, text, sizeof text);
    else n = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)(wt->serial + i));
    w->assets[w->n_assets] = (struct wasset){ .hash = asset_key(w, wt->coll, (struct mintd_str){ text, n }),
        .mark = hash_of(w, tx->items[i].uri), .tx = t, .coll = wt->coll, .item = (uint16_t)i };
    map_put(&w->by_asset, w->assets[w->n_assets].hash, w->n_assets);
    map_put(&w->by_mark, w->assets[w->n_assets].mark, w->n_assets);
    w->n_assets++;
    return 0;
}

static int add_mint(struct world *w, const struct tx *tx, uint32_t t)
{
    uint64_t end = w->txs[t].serial + tx->n_items;
    for (uint32_t i = 0; i < tx->n_items; i++) {
        int r = add_asset(w, tx, i, t);
        if (r) return r;
    }
    if (w->txs[t].coll != NONE && end - 1 > w->colls[w->txs[t].coll].serials) w->colls[w->txs[t].coll].serials = end - 1;
    return 0;
}

static int add_moves(struct local *l, const struct tx *tx, uint32_t t)
{
    struct world *w = &l->w;
    for (uint32_t i = 0; i < tx->n_items; i++) {
        uint32_t a = world_asset(l, w->txs[t].coll, tx->items[i].asset);
        if (a == NONE) return -EBADMSG;
        if (grow(&w->moves, w->n_moves, &w->cap_moves, sizeof *w->moves)) return -ENOMEM;
        w->moves[w->n_moves] = (struct wmove){ .tx = t, .asset = a, .before = w->assets[a].move, .item = (uint16_t)i };
        w->assets[a].move = ++w->n_moves;
    }
    return 0;
}

/* The place of this id: the one it has (seen before in undone blocks), or a new one. */
static int place_of(struct local *l, const struct record *rec, uint32_t *ret)
{
    struct world *w = &l->w;
    *ret = world_tx(l, rec->id);
    if (*ret != NONE) return w->txs[*ret].fate == FATE_ROLLED ? 0 : -EBADMSG;
    int r = grow(&w->txs, w->n_txs, &w->cap_txs, sizeof *w->txs);
    if (!r) r = map_room(w, &w->by_id, tx_hash);
    if (r) return r;
    *ret = w->n_txs;
    w->txs[w->n_txs].hash = hash_of(w, rec->id);
    map_put(&w->by_id, w->txs[w->n_txs].hash, w->n_txs);
    w->n_txs++;
    return 0;
}

static int apply_tx(struct local *l, const struct record *rec, uint64_t at, uint32_t len)
{
    struct world *w = &l->w;
    struct tx tx;
    uint32_t t;
    int r = tx_parse(rec->raw, &tx);
    if (!r && (tx.n_sigs != tx_keys(&tx) || tx.kind != rec->kind || tx.profile != w->profile)) r = -EBADMSG;
    if (!r) r = place_of(l, rec, &t);
    if (r) return r;
    uint32_t coll = rec->kind == MINTD_COLLECTION ? NONE : world_coll(w, rec->collection);
    w->txs[t] = (struct wtx){ .hash = w->txs[t].hash, .at = at, .len = len, .fee = rec->fee, .serial = rec->serial, .land = rec->land,
        .until = rec->until, .coll = coll, .fate = (uint8_t)rec->fate, .kind = (uint8_t)rec->kind, .n_items = (uint16_t)tx.n_items };
    uint32_t cost = rec->kind == MINTD_MINT ? tx.n_items : 1;
    bucket_take(l, 0, cost, rec->time);
    bucket_take(l, rec->route, cost, rec->time);
    if (rec->fate != FATE_LANDED && rec->fate != FATE_ERRED) return 0;
    r = charge(w, tx_payer(&tx), rec->fee);
    if (r || rec->fate == FATE_ERRED) return r;
    if (rec->kind == MINTD_COLLECTION) return add_coll(w, rec->collection, t);
    return rec->kind == MINTD_MINT ? add_mint(w, &tx, t) : add_moves(l, &tx, t);
}

static void apply_genesis(struct world *w, const struct record *rec)
{
    uint8_t seed[13 + 1 + 8 + 8 + 255];
    struct writer s = { seed, 0, sizeof seed };
    put(&s, "mintd network", 13);
    put_u(&s, rec->profile, 1);
    put_u(&s, (uint64_t)rec->time, 8);
    put_u(&s, (uint64_t)rec->slot_us, 8);
    put(&s, rec->salt.p, rec->salt.n);
    crypto_generichash(w->network, NET, seed, s.n, NULL, 0);
    memcpy(w->key, w->network, sizeof w->key);
    base58_encode(w->network, NET, w->network_text, sizeof w->network_text);
    w->profile = rec->profile;
    w->genesis = rec->time;
    w->slot_us = rec->slot_us;
}

int world_apply(struct local *l, const struct record *rec, uint64_t at, uint32_t len)
{
    struct world *w = &l->w;
    if ((rec->type == REC_GENESIS) != !w->profile || rec->time < w->last) return -EBADMSG;
    if (rec->type == REC_GENESIS && (rec->slot_us <= 0 || rec->profile < SOLANA_LIKE || rec->profile > NULL_CHAIN)) return -EBADMSG;
    w->last = rec->time;
    if (rec->type == REC_GENESIS) apply_genesis(w, rec);
    return rec->type == REC_TX ? apply_tx(l, rec, at, len) : 0;
}

void world_init(struct world *w, struct local *l)
{
    *w = (struct world){ 0 };
    w->buckets[w->n_buckets++].route = 0;
    for (uint32_t i = 0; i < routes_n(l); i++)
        if (route_at(l, i).use & MINTD_SEND) w->buckets[w->n_buckets++].route = route_hash(route_at(l, i).name);
}

void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->n_colls; i++) free((void *)(uintptr_t)w->colls[i].ref.p);
    free(w->txs);
    free(w->assets);
    free(w->moves);
    free(w->colls);
    free(w->accts);
    free(w->by_id.slots);
    free(w->by_asset.slots);
    free(w->by_mark.slots);
    *w = (struct world){ 0 };
}
