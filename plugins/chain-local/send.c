/* broadcast, the only op with an effect: what arrives is checked again from its bytes, its fate is decided and written down. The
 * record is the landing: it says when the transaction enters a block and what comes of it, whether or not anybody is alive then. */
#include <stdio.h>
#include <stdlib.h>

#include "base58.h"
#include "local.h"

struct sending {                                           /* one transaction to one route */
    struct job *j;
    const struct mintd_tx *row;
    struct tx *tx;                                         /* NULL: not yet parsed */
    struct mintd_str route;
    int64_t t;
};

static const struct mintd_outcome *no_answer(struct sending *s)
{
    return job_why(s->j, MINTD_AMBIGUOUS, "local.no_answer", 0, "%.*s gave no answer", (int)clip_text(s->route, 100).n, clip_text(s->route, 100).p);
}

/* ---- executing: what comes of it when its block is made */
static bool owned_by_payer(struct local *l, const struct tx *tx, uint32_t asset)
{
    char mine[ID_MAX], owner[256];
    size_t n = base58_encode(tx_payer(tx), KEY, mine, sizeof mine), m = asset_owner(l, asset, INT64_MAX, owner);
    return str_is((struct mintd_str){ mine, n }, (struct mintd_str){ owner, m });
}

static const char *mint_error(struct local *l, const struct tx *tx, uint32_t i, struct mintd_str *ret_about)
{
    const struct tx_item *it = &tx->items[i];
    char text[ID_MAX];
    *ret_about = it->name;
    if (l->o.fail_at_chain && named(&l->o.fail_names, it->name)) return "the name is refused";
    if (l->o.profile != SOLANA_LIKE) return NULL;
    size_t n = base58_encode((const uint8_t *)it->pub.p, KEY, text, sizeof text);
    if (world_asset(l, NONE, (struct mintd_str){ text, n }) != NONE) return "the asset exists already";
    for (uint32_t k = 0; k < i; k++) if (str_is(tx->items[k].pub, it->pub)) return "the asset is there twice";
    return NULL;
}

static const char *transfer_error(struct local *l, const struct tx *tx, uint32_t i, uint32_t coll, int64_t land, struct mintd_str *ret_about)
{
    const struct tx_item *it = &tx->items[i];
    uint32_t a = world_asset(l, coll, it->asset);
    *ret_about = it->asset;
    if (a == NONE || l->w.txs[l->w.assets[a].tx].land > land) return "there is no such asset";
    for (uint32_t k = 0; k < i; k++) if (str_is(tx->items[k].asset, it->asset)) return "the asset is there twice";
    if (!owned_by_payer(l, tx, a)) return "the asset does not belong to the payer";
    *ret_about = it->owner;
    return !it->owner.n || named(&l->o.unassociated, it->owner) ? "the receiver is not associated with the collection" : NULL;
}

static const char *error_of(struct local *l, const struct tx *tx, int64_t land, struct mintd_str *ret_about)
{
    const char *error = NULL;
    if (tx->kind == MINTD_COLLECTION) {                    /* its memo is its name */
        *ret_about = tx->memo;
        return l->o.fail_at_chain && named(&l->o.fail_names, tx->memo) ? "the name is refused" : NULL;
    }
    uint32_t coll = world_coll(&l->w, tx->collection);
    *ret_about = tx->collection;
    if (coll == NONE || l->w.txs[l->w.colls[coll].tx].land > land) return "there is no such collection";
    for (uint32_t i = 0; !error && i < tx->n_items; i++)
        error = tx->kind == MINTD_MINT ? mint_error(l, tx, i, ret_about) : transfer_error(l, tx, i, coll, land, ret_about);
    return error;
}

struct texts { char error[ERROR_MAX + 1], ref[ID_MAX]; };

static void execute(struct local *l, const struct tx *tx, struct record *rec, struct texts *texts)
{
    struct mintd_str about = { NULL, 0 };
    const char *error = error_of(l, tx, rec->land, &about);
    rec->fate = error ? FATE_ERRED : FATE_LANDED;
    if (error) {
        about = clip_text(about, 120);
        int n = snprintf(texts->error, sizeof texts->error, "%s: %.*s", error, (int)about.n, about.p);
        rec->error = (struct mintd_str){ texts->error, n > 0 ? (size_t)n : 0 };
        return;
    }
    if (tx->kind == MINTD_COLLECTION) {
        size_t n = tx_collection_ref(tx, texts->ref);
        if (!n) n = (size_t)snprintf(texts->ref, sizeof texts->ref, "0.0.%u", 1001 + l->w.n_colls);
        rec->collection = (struct mintd_str){ texts->ref, n };
    } else if (tx->kind == MINTD_MINT) {
        rec->serial = l->w.colls[world_coll(&l->w, tx->collection)].serials + 1;
    }
}

/* ---- the checks of a node, in its order; NULL: fine */
static const struct mintd_outcome *check_bytes(struct sending *s, struct tx *tx)
{
    struct local *l = s->j->l;
    char id[ID_MAX];
    const char *what = NULL;
    if (tx_parse(s->row->raw, tx)) what = "the bytes are no transaction of a known format";
    else if (tx->profile != (uint32_t)l->o.profile || memcmp(tx->network.p, l->w.network, NET)) what = "the transaction is of another network";
    else if (!tx_verify(tx)) what = "a signature does not fit";
    else if (!str_is((struct mintd_str){ id, tx_id(tx, id) }, s->row->id)) what = "the bytes are not those of this transaction id";
    else if (tx->n_items > items_max(l, tx->kind)) what = "too many items";
    return what ? job_why(s->j, MINTD_PERMANENT, "local.bad_bytes", 0, "%s", what) : NULL;
}

static uint32_t cost_of(const struct tx *tx) { return tx->kind == MINTD_MINT ? tx->n_items : 1; }

static const struct mintd_outcome *check_rates(struct sending *s)
{
    struct local *l = s->j->l;
    uint64_t wait = bucket_wait(l, 0, cost_of(s->tx), s->t), node = bucket_wait(l, route_hash(s->route), cost_of(s->tx), s->t);
    if (node > wait) wait = node;
    if (!wait) return NULL;
    l->host->metric(l->ctx, M_FAULTS, STR("throttle"), 1);
    return job_why(s->j, MINTD_THROTTLED, "local.busy", wait, "%.*s is busy", (int)clip_text(s->route, 100).n, clip_text(s->route, 100).p);
}

static const struct mintd_outcome *check_funds(struct sending *s, uint64_t *ret_fee)
{
    struct local *l = s->j->l;
    uint64_t fee = fee_of(l, s->tx->kind, s->tx->n_items, s->t), balance = balance_of(l, tx_payer(s->tx));
    *ret_fee = fee;
    if (expired(l, s->tx, s->t)) return job_why(s->j, MINTD_TRANSIENT, "local.expired", 0, "too late: its bound is %llu",
                                                (unsigned long long)s->tx->bound);
    if (fee > s->tx->fee_max)
        return job_why(s->j, MINTD_TRANSIENT, "local.fee_low", 0, "the fee is %llu now, the transaction allows %llu",
                       (unsigned long long)fee, (unsigned long long)s->tx->fee_max);
    if (balance < fee)
        return job_why(s->j, MINTD_PERMANENT, "local.no_funds", 0, "the payer has %llu, the fee is %llu", (unsigned long long)balance,
                       (unsigned long long)fee);
    return NULL;
}

/* ---- taking it */
static const struct mintd_outcome *write_down(struct sending *s, uint64_t fee, bool again)
{
    static const char *const fates[] = { "", "landed", "erred", "dropped", "rolled_back" };
    struct local *l = s->j->l;
    const struct tx *tx = s->tx;
    struct texts texts;
    struct mintd_str id = s->row->id;
    struct record rec = { .type = REC_TX, .time = s->t, .kind = tx->kind, .id = id, .raw = s->row->raw, .collection = tx->collection,
        .route = route_hash(s->route), .land = land_time(l, tx, id, s->t), .fee = fee };
    if (rec.land == INT64_MAX || (!again && fault(l, l->o.ack_and_drop, "ack_and_drop", id, 0))) {
        rec.fate = FATE_DROPPED;
    } else if (!again && fault(l, l->o.rollback, "rollback", id, 0)) {
        rec.fate = FATE_ROLLED;
        rec.until = undo_time(l, rec.land, id);
    } else {
        execute(l, tx, &rec, &texts);
    }
    if (rec.fate == FATE_DROPPED || rec.fate == FATE_ROLLED) rec.fee = 0;
    if (rec.fate != FATE_DROPPED) rec.clock = clock_at(l, rec.land);
    int r = job_write(s->j, &rec);
    l->host->metric(l->ctx, M_TRANSACTIONS, str_z(fates[rec.fate]), !r);
    if (r == -EIO) return job_why(s->j, MINTD_AMBIGUOUS, "local.ledger_broken", 0, "%s", l->led.why);
    if (r) return job_why(s->j, MINTD_TRANSIENT, "local.ledger_full", 0, "%s", r == -ENOMEM ? "out of memory" : l->led.why);
    return NULL;
}

static bool same_bytes(struct local *l, uint32_t i, struct mintd_str raw)
{
    struct loaded ld;
    bool same = !world_load(l, i, &ld) && str_is(ld.rec.raw, raw);
    free(ld.buf);
    return same;
}

static const struct mintd_outcome *take(struct sending *s, struct tx *mem)
{
    struct local *l = s->j->l;
    uint64_t fee;
    uint32_t known = world_tx(l, s->row->id);
    if (known != NONE && !same_bytes(l, known, s->row->raw))
        return job_why(s->j, MINTD_PERMANENT, "local.bad_bytes", 0, "other bytes have used this transaction id");
    bool again = known != NONE && l->w.txs[known].fate == FATE_ROLLED && s->t >= l->w.txs[known].until;
    if (known != NONE && !again) return NULL;              /* a duplicate: known, in flight or done */
    const struct mintd_outcome *why = s->tx ? NULL : check_bytes(s, mem);
    if (!why) s->tx = mem;
    if (!why) why = check_rates(s);
    if (!why) why = check_funds(s, &fee);
    return why ? why : write_down(s, fee, again);
}

static const struct mintd_outcome *send_one(struct sending *s, struct tx *mem)
{
    struct local *l = s->j->l;
    char about[2 * ID_MAX];
    int n = snprintf(about, sizeof about, "%.*s %.*s", (int)(s->row->id.n < ID_MAX ? s->row->id.n : ID_MAX),
                     s->row->id.n ? s->row->id.p : "", (int)clip_text(s->route, 100).n, clip_text(s->route, 100).p);
    struct mintd_str both = { about, (size_t)n };
    uint64_t second = (uint64_t)s->t / 1000000;            /* the same bytes may get through a little later */
    if (l->state != UP) return job_why(s->j, MINTD_TRANSIENT, "local.ledger_broken", 0, "%s", l->led.why);
    if (!route_known(l, s->route))
        return job_why(s->j, MINTD_TRANSIENT, "local.unknown_route", 0, "no endpoint is called %.*s", (int)clip_text(s->route, 100).n, clip_text(s->route, 100).p);
    if (route_down(l, s->route, s->t))
        return job_why(s->j, MINTD_TRANSIENT, "local.unreachable", 0, "%.*s refuses connections", (int)clip_text(s->route, 100).n, clip_text(s->route, 100).p);
    if (fault(l, l->o.drop_request, "drop_request", both, second)) return no_answer(s);
    const struct mintd_outcome *why = take(s, mem);
    if (why) return why;
    if (fault(l, l->o.drop_reply, "drop_reply", both, second)) return no_answer(s);
    if (fault(l, l->o.error_but_land, "error_but_land", s->row->id, 0))
        return job_why(s->j, MINTD_AMBIGUOUS, "local.node_error", 0, "%.*s answered: internal error", (int)clip_text(s->route, 100).n, clip_text(s->route, 100).p);
    return NULL;
}

/* ---- the op */
static uint32_t count_routes(struct mintd_vec rows)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rows.n; i++) {
        struct mintd_tx tx;
        mintd_row(rows, i, &tx, sizeof tx);
        n += tx.routes.n ? tx.routes.n : 1;
    }
    return n;
}

static uint32_t send_all(struct job *j, uint32_t i, const struct mintd_tx *row, struct mintd_sent *sent, struct tx *mem)
{
    struct sending s = { .j = j, .row = row };
    uint32_t n = row->routes.n ? row->routes.n : 1;
    s.t = chain_now(j->l);
    for (uint32_t k = 0; k < n; k++) {
        s.route = route_at(j->l, 0).name;
        if (row->routes.n) mintd_row(row->routes, k, &s.route, sizeof s.route);
        sent[k] = (struct mintd_sent){ .route = s.route, .tx = i, .why = send_one(&s, mem) };
    }
    return n;
}

/* Written, but perhaps only in memory: whether it will be there after a power cut is unknown. */
static void doubt(struct job *j)
{
    struct mintd_sent *sent = (struct mintd_sent *)(uintptr_t)j->res.rows.p;
    for (uint32_t i = 0; i < j->res.rows.n; i++)
        if (!sent[i].why) sent[i].why = job_why(j, MINTD_AMBIGUOUS, "local.ledger_broken", 0, "%s", j->l->led.why);
}

static int broadcast_run(struct job *j)
{
    struct mintd_vec rows = j->req->rows;
    int r = job_catch_up(j);
    if (!r) r = job_lock(j);
    if (r) return r;
    uint32_t n = count_routes(rows), at = 0;
    struct mintd_sent *sent = job_mem(j, n * sizeof *sent);
    struct tx *mem = job_mem(j, sizeof *mem);
    for (uint32_t i = 0; sent && mem && i < rows.n; i++) {
        struct mintd_tx row;
        mintd_row(rows, i, &row, sizeof row);
        at += send_all(j, i, &row, sent + at, mem);
    }
    ledger_unlock(&j->l->led);
    if (!sent || !mem) return -1;
    j->out.cls = MINTD_OK;                                 /* no memory for a reason's text is no reason to forget an effect */
    j->res.rows = ROWS(sent, n);
    j->unsynced = doubt;
    return 0;
}

void op_broadcast(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.send_ms, broadcast_run);
}
