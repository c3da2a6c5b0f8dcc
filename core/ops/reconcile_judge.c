/* What the answers of a chain mean for an item. Pure: calls nothing but base/ and machine-independent text. A missing answer never means
 * that something is missing. */
#include <inttypes.h>
#include <stdlib.h>
#include "ops/reconcile_int.h"
#include "pipe/meta.h"

static const struct { const char *word; bool wrong; } class_info[CLASS_COUNT] = {
    [CLASS_CONFIRMED] = { "confirmed", false }, [CLASS_PENDING] = { "pending", false }, [CLASS_NOT_FOUND] = { "not_found", true },
    [CLASS_UNVERIFIED] = { "unverified", false }, [CLASS_TRANSACTION_MISSING] = { "transaction_missing", true },
    [CLASS_TRANSACTION_FAILED] = { "transaction_failed", true }, [CLASS_ASSET_MISSING] = { "asset_missing", true },
    [CLASS_BURNED] = { "burned", true }, [CLASS_WRONG_OWNER] = { "wrong_owner", true }, [CLASS_WRONG_COLLECTION] = { "wrong_collection", true },
    [CLASS_WRONG_METADATA] = { "wrong_metadata", true }, [CLASS_LATE] = { "late", true },
    [CLASS_LANDED_BUT_FAILED] = { "landed_but_failed", true }, [CLASS_MINTED_TWICE] = { "minted_twice", true },
};

const char *class_word(enum class class) { return class_info[class].word; }
bool class_wrong(enum class class) { return class_info[class].wrong; }

/* The last answer of a witness is the one that counts. */
static bool spoke_again(const struct mintd_seen *seen, uint32_t n, uint32_t i)
{
    for (uint32_t k = i + 1; k < n; k++)
        if (str_eq(seen[k].route, seen[i].route) && !seen[k].why && seen[k].state != MINTD_NO_ANSWER) return true;
    return false;
}

/* Death and life both need a quorum; absence counts only from a witness that searched all history. */
enum tx_fate judge_tx(const struct mintd_seen *seen, uint32_t n, uint32_t quorum, int64_t *ret_time_ms)
{
    uint32_t landed = 0, erred = 0, absent = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (seen[i].why || spoke_again(seen, n, i)) continue;
        if (seen[i].state == MINTD_LANDED && seen[i].flags & MINTD_F_FINAL) {
            landed++;
            *ret_time_ms = seen[i].time_ms;
        }
        erred += seen[i].state == MINTD_ERRED && seen[i].flags & MINTD_F_FINAL;
        absent += seen[i].state == MINTD_ABSENT && seen[i].flags & MINTD_F_HISTORY;
    }
    if (landed >= quorum && !erred && absent < quorum) return TX_LANDED;
    if (erred >= quorum && !landed && !absent) return TX_ERRED;
    return absent >= quorum && !landed && !erred ? TX_ABSENT : TX_UNKNOWN;
}

bool item_concerned(const struct rec_item *it, const struct rec_tx *t)
{
    for (uint32_t i = 0; i < it->n_line; i++) if (it->line[i] == t->a->chunk) return true;
    return false;
}

#define VERDICT(it, c, ...) ((it)->class = (c), (it)->detail = arena_printf(run->page.mem, __VA_ARGS__))

static bool same_name(const struct run *run, const struct rec_item *it)
{
    struct mintd_str name = { NULL, 0 };
    if (!it->truth.name.n || meta_name(it->it->body, run->page.mem, &name)) return true;
    return str_eq(name, it->truth.name);
}

static bool owner_known(const struct rec_item *it)
{
    bool delivers = it->col->chain.caps & MINTD_C_DELIVERS;
    return it->it->recipient.n && it->truth.owner.n && (!delivers || it->it->delivered == MINTD_ST_DONE);
}

/* The asset is there: is it what was promised? */
static void judge_asset(const struct run *run, struct rec_item *it, const struct rec_tx *own)
{
    const struct mintd_truth *t = &it->truth;
    int64_t off = own->time_ms && it->chunk->block_time ? llabs(own->time_ms - it->chunk->block_time) : 0;
    if (it->col->chain_ref.n && t->collection.n && !str_eq(t->collection, it->col->chain_ref))
        VERDICT(it, CLASS_WRONG_COLLECTION, "it is in collection " STR_FMT ", not in " STR_FMT, STR_ARG(t->collection), STR_ARG(it->col->chain_ref));
    else if (t->uri.n && !str_eq(t->uri, it->it->uri))
        VERDICT(it, CLASS_WRONG_METADATA, "its metadata is at " STR_FMT ", not at " STR_FMT, STR_ARG(t->uri), STR_ARG(it->it->uri));
    else if (!same_name(run, it))
        VERDICT(it, CLASS_WRONG_METADATA, "its name on the chain is " STR_FMT, STR_ARG(t->name));
    else if (owner_known(it) && !str_eq(t->owner, it->it->recipient))
        VERDICT(it, CLASS_WRONG_OWNER, "it belongs to " STR_FMT ", not to " STR_FMT, STR_ARG(t->owner), STR_ARG(it->it->recipient));
    else if (off > run->tolerance_ms)
        VERDICT(it, CLASS_LATE, "its block is from another time than recorded, by %" PRId64 " ms", off);
    else
        it->class = CLASS_CONFIRMED;
}

static void judge_missing(const struct run *run, struct rec_item *it, enum tx_fate own)
{
    bool absent = it->truth.state == MINTD_ABSENT;
    if (own == TX_ABSENT && absent) VERDICT(it, CLASS_NOT_FOUND, "neither its transaction nor the asset is on the chain");
    else if (absent) VERDICT(it, CLASS_ASSET_MISSING, "its transaction landed, but the asset is not there");
    else VERDICT(it, CLASS_BURNED, "the asset was burned");
}

static const struct rec_tx *own_tx(const struct run *run, const struct rec_item *it)
{
    for (uint32_t i = 0; i < run->page.n_txs; i++) {
        const struct rec_tx *t = &run->page.txs[i];
        if (t->a->chunk == it->it->chunk && t->a->no == it->chunk->attempt_no) return t;
    }
    return NULL;
}

static bool landed_before(const struct run *run, const struct rec_item *it, const struct rec_tx *own)
{
    for (uint32_t i = 0; i < run->page.n_txs; i++) {
        const struct rec_tx *t = &run->page.txs[i];
        if (t != own && t->fate == TX_LANDED && item_concerned(it, t)) return true;
    }
    return false;
}

static void judge_minted(const struct run *run, struct rec_item *it)
{
    const struct rec_tx *own = own_tx(run, it);
    if (!own || !it->it->asset.n) VERDICT(it, CLASS_ASSET_MISSING, "the store has no %s for it", own ? "asset" : "transaction");
    else if (own->fate == TX_UNKNOWN || !it->answered) VERDICT(it, CLASS_UNVERIFIED, "the chain gave no sufficient answer about its %s", it->answered ? "transaction" : "asset");
    else if (own->fate == TX_ERRED) VERDICT(it, CLASS_TRANSACTION_FAILED, "its transaction was executed with an error");
    else if (it->truth.state != MINTD_LANDED) judge_missing(run, it, own->fate);
    else if (own->fate == TX_ABSENT) VERDICT(it, CLASS_TRANSACTION_MISSING, "the asset is there, its transaction is not");
    else if (landed_before(run, it, own)) VERDICT(it, CLASS_MINTED_TWICE, "an earlier transaction of it landed as well");
    else judge_asset(run, it, own);
}

/* Failed or cancelled: nothing of it may be on the chain. */
static void judge_dead(const struct run *run, struct rec_item *it)
{
    it->class = CLASS_CONFIRMED;
    for (uint32_t i = 0; i < run->page.n_txs; i++) {
        const struct rec_tx *t = &run->page.txs[i];
        if (!item_concerned(it, t)) continue;
        if (t->fate == TX_LANDED) {
            VERDICT(it, CLASS_LANDED_BUT_FAILED, "transaction " STR_FMT " landed after all", STR_ARG(t->a->tx_id));
            return;
        }
        if (t->fate == TX_UNKNOWN) VERDICT(it, CLASS_UNVERIFIED, "the chain gave no sufficient answer about transaction " STR_FMT, STR_ARG(t->a->tx_id));
    }
}

void judge_item(const struct run *run, struct rec_item *it, int64_t now_ms)
{
    it->detail = (struct mintd_str){ NULL, 0 };
    if (it->it->state < MINTD_ST_DONE) it->class = CLASS_PENDING;
    else if (!it->chunk || !it->col || (!it->col->known && it->chunk->attempt_no))
        VERDICT(it, CLASS_UNVERIFIED, "its chain is not configured, or does not answer");
    else if (it->it->state == MINTD_ST_DONE) judge_minted(run, it);
    else judge_dead(run, it);
    bool fresh = it->it->state == MINTD_ST_DONE && it->chunk && now_ms - it->chunk->minted_at < run->settle_ms;
    if (fresh && class_wrong(it->class)) VERDICT(it, CLASS_UNVERIFIED, "minted a moment ago, witnesses may not have it yet (%s)", class_word(it->class));
}
