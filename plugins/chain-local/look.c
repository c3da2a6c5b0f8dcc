/* inspect, list, find: what there is, finalized only, as the first healthy witness has it. */
#include <stdio.h>
#include <stdlib.h>

#include "base58.h"
#include "local.h"

struct sight { struct route route; int64_t view; };

static uint32_t payer_text(const struct tx *tx, char ret[256])
{
    return (uint32_t)base58_encode(tx_payer(tx), KEY, ret, 256);
}

/* Where mints land in a treasury, the item's owner gets it by a transfer. */
static size_t first_owner(const struct local *l, const struct loaded *ld, uint32_t item, char ret[256])
{
    struct mintd_str owner = ld->tx.items[item].owner;
    if (l->o.profile == HEDERA_LIKE || !owner.n || owner.n > 255) return payer_text(&ld->tx, ret);
    memcpy(ret, owner.p, owner.n);
    return owner.n;
}

size_t asset_owner(struct local *l, uint32_t asset, int64_t t, char ret[256])
{
    const struct world *w = &l->w;
    struct loaded ld;
    uint32_t move = w->assets[asset].move;
    while (move && t != INT64_MAX && !is_final(l, &w->txs[w->moves[move - 1].tx], t)) move = w->moves[move - 1].before;
    uint32_t tx = move ? w->moves[move - 1].tx : w->assets[asset].tx, item = move ? w->moves[move - 1].item : w->assets[asset].item;
    size_t n = 0;
    if (!world_load(l, tx, &ld) && item < ld.tx.n_items) {
        struct mintd_str owner = ld.tx.items[item].owner;
        if (!move) n = first_owner(l, &ld, item, ret);
        else if (owner.n < 256) { memcpy(ret, owner.p, owner.n); n = owner.n; }
    }
    free(ld.buf);
    return n;
}

/* The first PROVE route that answers; -1 with out set if none does. */
static int sight_of(struct job *j, struct sight *ret)
{
    struct local *l = j->l;
    int64_t now = chain_now(l);
    for (uint32_t i = 0; i < routes_n(l); i++) {
        struct route r = route_at(l, i);
        if (!(r.use & MINTD_PROVE) || route_down(l, r.name, now)) continue;
        *ret = (struct sight){ r, route_view(l, r.name, now) };
        return 0;
    }
    return job_refuse(j, MINTD_TRANSIENT, "local.unreachable", "no endpoint accepts connections");
}

static struct mintd_str asset_text(struct job *j, const struct loaded *ld, uint32_t item)
{
    char text[ID_MAX];
    if (ld->tx.profile != SOLANA_LIKE) return job_printf(j, "%llu", (unsigned long long)(ld->rec.serial + item));
    size_t n = base58_encode((const uint8_t *)ld->tx.items[item].pub.p, KEY, text, sizeof text);
    return job_text(j, (struct mintd_str){ text, n });
}

/* The row of an asset that is there for ever. */
static void put_truth(struct job *j, uint32_t a, const struct sight *s, struct mintd_truth *t)
{
    struct local *l = j->l;
    const struct wasset *as = &l->w.assets[a];
    struct loaded ld;
    char owner[256];
    if (world_load(l, as->tx, &ld) || as->item >= ld.tx.n_items) {
        t->why = job_why(j, MINTD_TRANSIENT, "local.ledger_io", 0, "%s", l->led.why);
    } else {
        const struct tx_item *it = &ld.tx.items[as->item];
        *t = (struct mintd_truth){ .route = s->route.name, .row = t->row, .state = MINTD_LANDED, .flags = MINTD_F_FINAL,
            .asset = asset_text(j, &ld, as->item), .collection = job_text(j, ld.rec.collection), .name = job_text(j, it->name),
            .uri = job_text(j, it->uri), .tx = job_text(j, ld.rec.id), .clock = proof_clock(l, s->view), .time_ms = ld.rec.land / 1000 };
        t->owner = job_text(j, (struct mintd_str){ owner, asset_owner(l, a, s->view, owner) });
    }
    free(ld.buf);
}

static bool there(const struct local *l, uint32_t a, const struct sight *s)
{
    return is_final(l, &l->w.txs[l->w.assets[a].tx], s->view);
}

/* ---- inspect */
static void inspect_one(struct job *j, const struct mintd_asset *in, const struct sight *s, struct mintd_truth *t)
{
    struct local *l = j->l;
    uint8_t pub[KEY];
    *t = (struct mintd_truth){ .row = t->row, .route = s->route.name, .asset = in->asset, .collection = in->collection,
        .state = MINTD_ABSENT, .flags = MINTD_F_FINAL | MINTD_F_HISTORY, .clock = proof_clock(l, s->view) };
    if (l->o.profile == SOLANA_LIKE && base58_decode(in->asset.p, in->asset.n, pub, KEY)) {
        t->why = job_why(j, MINTD_PERMANENT, "local.bad_asset", 0, "an asset is 32 bytes in base58");
        return;
    }
    uint32_t coll = in->collection.n || l->o.profile != SOLANA_LIKE ? world_coll(&l->w, in->collection) : NONE;
    bool nowhere = coll == NONE && (in->collection.n || l->o.profile != SOLANA_LIKE);
    uint32_t a = nowhere ? NONE : world_asset(l, coll, in->asset);
    if (a != NONE && there(l, a, s)) put_truth(j, a, s, t);
}

static int inspect_run(struct job *j)
{
    struct mintd_vec rows = j->req->rows;
    struct sight s;
    int r = job_catch_up(j);
    if (!r) r = sight_of(j, &s);
    if (r) return r;
    if (rows.n > INSPECT_MAX) return job_refuse(j, MINTD_PERMANENT, "local.bad_request", "%u assets, at most %d", rows.n, INSPECT_MAX);
    struct mintd_truth *out = job_mem(j, rows.n * sizeof *out);
    for (uint32_t i = 0; out && i < rows.n; i++) {
        struct mintd_asset in;
        mintd_row(rows, i, &in, sizeof in);
        out[i].row = i;
        inspect_one(j, &in, &s, &out[i]);
    }
    if (j->out.cls) return -1;
    j->res.rows = ROWS(out, rows.n);
    return 0;
}

/* ---- list: in the order of the ledger; the cursor is the place to go on */
static bool read_cursor(struct mintd_str s, uint32_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || i > 9) return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *ret = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
    return true;
}

static int list_run(struct job *j)
{
    struct local *l = j->l;
    const struct mintd_list *arg = j->req->arg;
    struct sight s;
    uint32_t from = 0, n = 0, at;
    int r = job_catch_up(j);
    if (!r) r = sight_of(j, &s);
    if (r) return r;
    if (!arg || !MINTD_HAS(arg, struct mintd_list, cursor) || !read_cursor(arg->cursor, &from))
        return job_refuse(j, MINTD_PERMANENT, "local.bad_request", "a list needs a collection and, to go on, the cursor it gave");
    uint32_t coll = world_coll(&l->w, arg->collection), most = arg->max && arg->max < 1000 ? arg->max : 1000;
    if (coll == NONE) return job_refuse(j, MINTD_PERMANENT, "local.no_collection", "there is no such collection");
    struct mintd_truth *out = job_mem(j, most * sizeof *out);
    for (at = from; out && at < l->w.n_assets && n < most; at++) {
        if (l->w.assets[at].coll != coll || !there(l, at, &s)) continue;
        out[n].row = n;
        put_truth(j, at, &s, &out[n++]);
    }
    if (j->out.cls || !out) return -1;
    j->res.rows = ROWS(out, n);
    if (at < l->w.n_assets) j->res.next = job_printf(j, "%u", at);
    return 0;
}

/* ---- find: by URI, and by tag where both sides have one */
static bool is_of(struct job *j, uint32_t a, const struct mintd_item *it)
{
    struct loaded ld;
    const struct wasset *as = &j->l->w.assets[a];
    bool same = !world_load(j->l, as->tx, &ld) && as->item < ld.tx.n_items && str_is(ld.tx.items[as->item].uri, it->uri);
    if (same && it->tag.n && ld.tx.items[as->item].tag.n) same = str_is(ld.tx.items[as->item].tag, it->tag);
    free(ld.buf);
    return same;
}

static uint32_t find_one(struct job *j, const struct mintd_item *it, uint32_t coll, const struct sight *s, struct mintd_truth *to,
                         uint32_t row, uint32_t room)
{
    struct local *l = j->l;
    uint32_t n = 0;
    for (uint32_t a = 0; it->uri.n && n < room && (a = world_marked(l, it->uri, a)) != NONE; a++) {
        if ((coll != NONE && l->w.assets[a].coll != coll) || !there(l, a, s) || !is_of(j, a, it)) continue;
        to[n].row = row;
        put_truth(j, a, s, &to[n++]);
    }
    return n;
}

static int find_run(struct job *j)
{
    struct local *l = j->l;
    const struct mintd_list *arg = j->req->arg;
    struct mintd_vec rows = j->req->rows;
    struct sight s;
    uint32_t coll = NONE, n = 0, room = rows.n + 64;
    int r = job_catch_up(j);
    if (!r) r = sight_of(j, &s);
    if (r) return r;
    if (rows.n > INSPECT_MAX) return job_refuse(j, MINTD_PERMANENT, "local.bad_request", "%u items, at most %d", rows.n, INSPECT_MAX);
    if (arg && MINTD_HAS(arg, struct mintd_list, collection) && arg->collection.n) {
        coll = world_coll(&l->w, arg->collection);
        if (coll == NONE) return job_refuse(j, MINTD_PERMANENT, "local.no_collection", "there is no such collection");
    }
    struct mintd_truth *out = job_mem(j, room * sizeof *out);
    for (uint32_t i = 0; out && i < rows.n; i++) {
        struct mintd_item it;
        mintd_row(rows, i, &it, sizeof it);
        n += find_one(j, &it, coll, &s, out + n, i, room - n - (rows.n - 1 - i));
    }
    if (j->out.cls) return -1;
    j->res.rows = ROWS(out, n);
    return 0;
}

void op_inspect(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.read_ms, inspect_run);
}
void op_list(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.read_ms, list_run);
}
void op_find(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.read_ms, find_run);
}
