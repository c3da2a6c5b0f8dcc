/* The signed bytes. raw = format byte, length of the body, body, number of signatures, (key, signature) each. The body holds
 * everything a signature must cover; only the payer's key stands outside, because whoever signs pays, and the transaction's id
 * follows from it. Raw bytes come back from a database and are read as hostile. Pure. */
#include <sodium.h>
#include <stdio.h>

#include "base58.h"
#include "local.h"

enum { FORMAT = 1, HEAD = 5, PAIR = KEY + SIG };
static const char MAGIC[4] = { 'm', 'c', 'l', '1' };       /* no other protocol signs bytes that begin so */

static void put_item(struct writer *w, const struct tx_item *it)
{
    put_str(w, it->pub, 1);
    put_str(w, it->tag, 1);
    put_str(w, it->name, 2);
    put_str(w, it->uri, 2);
    put_str(w, it->owner, 2);
    put_str(w, it->asset, 1);
}

static void put_body(struct writer *w, const struct tx *tx)
{
    put(w, MAGIC, sizeof MAGIC);
    put_u(w, tx->profile, 1);
    put_u(w, tx->kind, 1);
    put(w, tx->network.p, NET);
    put_u(w, tx->start, 8);
    put_u(w, tx->bound, 8);
    put_u(w, tx->fee_max, 8);
    put_u(w, tx->chunk, 8);
    put_u(w, tx->attempt, 4);
    put_u(w, tx->nonce, 8);
    put_str(w, tx->collection, 1);
    put_str(w, tx->memo, 2);
    put_str(w, tx->spec, 4);
    put_u(w, tx->n_items, 1);
    for (uint32_t i = 0; i < tx->n_items; i++) put_item(w, &tx->items[i]);
}

size_t tx_body(const struct tx *tx, uint8_t *to, size_t cap)
{
    struct writer body = { NULL, 0, 0 }, w = { to, 0, cap };
    put_body(&body, tx);
    put_u(&w, FORMAT, 1);
    put_u(&w, body.n, 4);
    put_body(&w, tx);
    return w.n;
}

static void get_item(struct reader *r, struct tx *tx, struct tx_item *it)
{
    it->pub = get_str(r, 1);
    it->tag = get_str(r, 1);
    it->name = get_str(r, 2);
    it->uri = get_str(r, 2);
    it->owner = get_str(r, 2);
    it->asset = get_str(r, 1);
    bool keyed = tx->profile == SOLANA_LIKE && tx->kind == MINTD_MINT;
    if (it->pub.n != (keyed ? (size_t)KEY : 0)) r->bad = true;
    if (!it->asset.n != (tx->kind != MINTD_TRANSFER)) r->bad = true;
}

static void get_body(struct reader *r, struct tx *tx)
{
    struct mintd_str magic = get_bytes(r, sizeof MAGIC);
    if (r->bad || memcmp(magic.p, MAGIC, sizeof MAGIC)) { r->bad = true; return; }
    tx->profile = (uint32_t)get_u(r, 1);
    tx->kind = (uint32_t)get_u(r, 1);
    tx->network = get_bytes(r, NET);
    tx->start = get_u(r, 8);
    tx->bound = get_u(r, 8);
    tx->fee_max = get_u(r, 8);
    tx->chunk = get_u(r, 8);
    tx->attempt = (uint32_t)get_u(r, 4);
    tx->nonce = get_u(r, 8);
    tx->collection = get_str(r, 1);
    tx->memo = get_str(r, 2);
    tx->spec = get_str(r, 4);
    tx->n_items = (uint32_t)get_u(r, 1);
    if (tx->profile < SOLANA_LIKE || tx->profile > NULL_CHAIN || tx->kind > MINTD_TRANSFER || tx->n_items > ITEMS_MAX) r->bad = true;
    if (!r->bad && (tx->kind == MINTD_COLLECTION) != !tx->n_items) r->bad = true;
    for (uint32_t i = 0; !r->bad && i < tx->n_items; i++) get_item(r, tx, &tx->items[i]);
    if (r->left) r->bad = true;
}

static bool get_head(struct reader *r, struct tx *tx)
{
    *tx = (struct tx){ 0 };
    if (get_u(r, 1) != FORMAT) return false;
    tx->body = get_str(r, 4);
    if (r->bad) return false;
    struct reader body = { (const uint8_t *)tx->body.p, tx->body.n, false };
    get_body(&body, tx);
    return !body.bad;
}

int tx_parse_body(struct mintd_str raw, struct tx *ret)
{
    struct reader r = { (const uint8_t *)raw.p, raw.n, raw.n > RAW_MAX };
    return get_head(&r, ret) && !r.left ? 0 : -EBADMSG;
}

int tx_parse(struct mintd_str raw, struct tx *ret)
{
    struct reader r = { (const uint8_t *)raw.p, raw.n, raw.n > RAW_MAX };
    if (!get_head(&r, ret)) return -EBADMSG;
    ret->n_sigs = (uint32_t)get_u(&r, 1);
    struct mintd_str sigs = get_bytes(&r, (size_t)ret->n_sigs * PAIR);
    ret->sigs = (const uint8_t *)sigs.p;
    return r.bad || r.left || !ret->n_sigs ? -EBADMSG : 0;
}

uint32_t tx_keys(const struct tx *tx)
{
    return 1 + (tx->profile == SOLANA_LIKE && tx->kind == MINTD_MINT ? tx->n_items : 0);
}

bool tx_verify(const struct tx *tx)
{
    if (tx->n_sigs != tx_keys(tx)) return false;
    for (uint32_t i = 0; i < tx->n_sigs; i++) {
        const uint8_t *pub = tx->sigs + (size_t)i * PAIR;
        if (i && memcmp(pub, tx->items[i - 1].pub.p, KEY)) return false;
        if (crypto_sign_verify_detached(pub + KEY, (const uint8_t *)tx->body.p, tx->body.n, pub)) return false;
    }
    return true;
}

const uint8_t *tx_payer(const struct tx *tx) { return tx->sigs; }

/* hedera-like: chosen by the sender, payer and valid start; else the payer's signature. */
size_t tx_id(const struct tx *tx, char ret[ID_MAX])
{
    if (tx->profile != HEDERA_LIKE) return base58_encode(tx->sigs + KEY, SIG, ret, ID_MAX);
    size_t n = base58_encode(tx->sigs, KEY, ret, ID_MAX);
    int w = snprintf(ret + n, ID_MAX - n, "@%llu.%09llu", (unsigned long long)(tx->start / 1000000000u),
                     (unsigned long long)(tx->start % 1000000000u));
    return n + (w > 0 ? (size_t)w : 0);
}

size_t tx_collection_ref(const struct tx *tx, char ret[ID_MAX])
{
    uint8_t hash[KEY];
    if (tx->profile != SOLANA_LIKE || tx->kind != MINTD_COLLECTION) return 0;
    crypto_generichash(hash, sizeof hash, (const uint8_t *)tx->body.p, tx->body.n, NULL, 0);
    return base58_encode(hash, sizeof hash, ret, ID_MAX);
}
