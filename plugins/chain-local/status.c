/* status: what each witness saw of a transaction, as far as that witness has got. A witness reads its clock first and then looks up
 * at that clock, so what it says is consistent with itself even where it lags; only the liar is not. Concludes nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "base58.h"
#include "local.h"

struct look {                                              /* one transaction */
    struct job *j;
    struct mintd_tx row;
    uint32_t i, known;                                     /* row of the request, place in the world */
    int64_t now;
    struct loaded ld;                                      /* read when first needed */
    bool read, mine;                                       /* mine: the ledger's bytes are those asked about */
    struct mintd_str liar;
};

/* ---- reading it */
static bool load(struct look *k)
{
    if (k->read || k->known == NONE) return k->read;
    k->read = !world_load(k->j->l, k->known, &k->ld);
    if (!k->read) return false;
    k->mine = !k->row.raw.n || str_is(k->ld.rec.raw, k->row.raw);
    return true;
}

/* ---- the effect, looked up without the transaction */
static bool effect_absent(struct local *l, struct mintd_str raw, int64_t view)
{
    struct tx tx;
    char text[256];
    if (tx_parse(raw, &tx)) return false;
    if (tx.kind == MINTD_COLLECTION) {
        uint32_t c = world_coll(&l->w, (struct mintd_str){ text, tx_collection_ref(&tx, text) });
        return c == NONE || l->w.txs[l->w.colls[c].tx].land > view;
    }
    uint32_t coll = world_coll(&l->w, tx.collection);
    for (uint32_t i = 0; i < tx.n_items; i++) {
        struct mintd_str asset = tx.items[i].asset;
        if (tx.kind == MINTD_MINT) asset = (struct mintd_str){ text, base58_encode((const uint8_t *)tx.items[i].pub.p, KEY, text, sizeof text) };
        uint32_t a = world_asset(l, tx.kind == MINTD_MINT ? NONE : coll, asset);
        if (tx.kind == MINTD_MINT && a != NONE && l->w.txs[l->w.assets[a].tx].land <= view) return false;
        if (tx.kind != MINTD_TRANSFER) continue;
        size_t n = a == NONE ? 0 : asset_owner(l, a, view, text);
        if (a == NONE || !n || str_is((struct mintd_str){ text, n }, tx.items[i].owner)) return false;
    }
    return true;
}

/* ---- one answer */
static void absent(struct look *k, struct mintd_seen *s, int64_t view)
{
    struct local *l = k->j->l;
    s->state = MINTD_ABSENT;
    if (!(k->j->req->flags & 1)) return;
    s->flags = MINTD_F_HISTORY | MINTD_F_AFTER;
    if (l->o.profile == SOLANA_LIKE && effect_absent(l, k->row.raw, view)) s->flags |= MINTD_F_EFFECT;
}

static void put_assets(struct look *k, struct mintd_seen *s)
{
    const struct loaded *ld = &k->ld;
    uint32_t n = ld->rec.kind == MINTD_MINT ? ld->tx.n_items : ld->rec.kind == MINTD_COLLECTION ? 1 : 0;
    struct mintd_str *assets = n ? job_mem(k->j, n * sizeof *assets) : NULL;
    char text[ID_MAX];
    for (uint32_t i = 0; assets && i < n; i++) {
        struct mintd_str a = ld->rec.collection;
        if (ld->rec.kind == MINTD_MINT && ld->tx.profile == SOLANA_LIKE)
            a = (struct mintd_str){ text, base58_encode((const uint8_t *)ld->tx.items[i].pub.p, KEY, text, sizeof text) };
        else if (ld->rec.kind == MINTD_MINT)
            a = (struct mintd_str){ text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)(ld->rec.serial + i)) };
        assets[i] = job_text(k->j, a);
    }
    s->assets = ROWS(assets, assets ? n : 0);
}

static void executed(struct look *k, struct mintd_seen *s, int64_t view)
{
    struct local *l = k->j->l;
    const struct wtx *w = &l->w.txs[k->known];
    s->state = w->fate == FATE_ERRED ? MINTD_ERRED : MINTD_LANDED;
    s->flags = is_final(l, w, view) ? MINTD_F_FINAL : 0;
    if (k->j->req->flags & 1) s->flags |= MINTD_F_HISTORY | MINTD_F_AFTER;
    s->height = clock_at(l, w->land);
    s->time_ms = w->land / 1000;
    s->fee = w->fee;
    if (s->state == MINTD_LANDED) put_assets(k, s);
}

static struct mintd_str json_text(struct job *j, struct mintd_str s)
{
    struct writer w = { job_mem(j, s.n * 6 + 1), 0, s.n * 6 };
    char esc[8];
    for (size_t i = 0; w.p && i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c == '"' || c == '\\') { esc[0] = '\\'; esc[1] = (char)c; put(&w, esc, 2); }
        else if (c < 0x20) put(&w, esc, (size_t)snprintf(esc, sizeof esc, "\\u%04x", c));
        else put(&w, &c, 1);
    }
    return (struct mintd_str){ (char *)w.p, w.p ? w.n : 0 };
}

static void put_facts(struct look *k, struct mintd_seen *s)
{
    static const char *const names[] = { "no_answer", "absent", "pending", "landed", "erred" };
    struct mintd_str error = s->state == MINTD_ERRED ? json_text(k->j, k->ld.rec.error) : (struct mintd_str){ NULL, 0 };
    s->facts = job_printf(k->j, "{\"state\":\"%s\",\"clock\":%llu,\"height\":%llu,\"final\":%s%s%.*s%s}", names[s->state],
                          (unsigned long long)s->clock, (unsigned long long)s->height, s->flags & MINTD_F_FINAL ? "true" : "false",
                          error.n ? ",\"error\":\"" : "", (int)error.n, error.n ? error.p : "", error.n ? "\"" : "");
}

static void ask(struct look *k, struct route route, struct mintd_seen *s)
{
    struct local *l = k->j->l;
    *s = (struct mintd_seen){ .route = route.name, .tx = k->i };
    if (route_down(l, route.name, k->now)) {
        s->why = job_why(k->j, MINTD_TRANSIENT, "local.unreachable", 0, "%.*s refuses connections", (int)clip_text(route.name, 100).n, route.name.p);
        return;
    }
    int64_t view = route_view(l, route.name, k->now);
    const struct wtx *w = k->known == NONE ? NULL : &l->w.txs[k->known];
    s->clock = proof_clock(l, view);
    if (w && !load(k)) {                                   /* the record cannot be read back: nobody may conclude anything */
        s->why = job_why(k->j, MINTD_TRANSIENT, "local.ledger_io", 0, "%s", l->led.why);
        return;
    }
    bool there = w && k->mine && w->fate != FATE_DROPPED && !(w->fate == FATE_ROLLED && view >= w->until);
    there = there && view >= k->ld.rec.time;               /* a witness that lags has not even heard of it */
    if (!there || str_is(k->liar, route.name)) absent(k, s, view);
    else if (view >= w->land) executed(k, s, view);
    else s->state = MINTD_PENDING;
    put_facts(k, s);
}

/* ---- who is asked */
static bool remembers(const struct look *k, const struct route *r)
{
    const struct local *l = k->j->l;
    struct tx tx;
    if (l->o.profile != HEDERA_LIKE || (r->use & MINTD_PROVE)) return true;
    return !tx_parse(k->row.raw, &tx) && k->now <= (int64_t)(tx.start / 1000) + receipts_us(l);
}

static bool took_it(const struct look *k, struct mintd_str name)
{
    for (uint32_t i = 0; i < k->row.routes.n; i++) {
        struct mintd_str r;
        mintd_row(k->row.routes, i, &r, sizeof r);
        if (str_is(r, name)) return true;
    }
    return false;
}

/* Any one: who took it and still remembers, else whoever is there. */
static struct route one_witness(const struct look *k)
{
    const struct local *l = k->j->l;
    uint32_t n = routes_n(l), from = (uint32_t)(roll(l, "witness", k->row.id, (uint64_t)k->now / WEATHER_US) % n);
    struct route best = route_at(l, n - 1);
    int least = 4;
    for (uint32_t i = 0; i < n; i++) {
        struct route r = route_at(l, (from + i) % n);
        int rank = (route_down(l, r.name, k->now) ? 2 : 0) + (took_it(k, r.name) ? 0 : 1);
        if (!remembers(k, &r) || rank >= least) continue;
        least = rank;
        best = r;
    }
    return best;
}

static uint32_t ask_all(struct look *k, struct mintd_seen *to)
{
    const struct local *l = k->j->l;
    uint32_t n = 0;
    if (!(k->j->req->flags & 1)) {
        ask(k, one_witness(k), to);
        return 1;
    }
    for (uint32_t i = 0; i < routes_n(l); i++)
        if (route_at(l, i).use & MINTD_PROVE) ask(k, route_at(l, i), &to[n++]);
    return n;
}

/* An answer that buries a transaction binds the ledger: its clock is written down, so that no daemon with a slower clock, and none after
 * the wall clock was set back, lets it land after all. */
static int bind_clock(struct job *j, int64_t now)
{
    struct record mark = { .type = REC_MARK, .time = now };
    int r = job_lock(j);
    if (r) return r;
    if (mark.time < j->l->w.last) mark.time = j->l->w.last;
    int res = job_write(j, &mark);
    ledger_unlock(&j->l->led);
    return res ? job_refuse(j, MINTD_TRANSIENT, res == -EIO ? "local.ledger_broken" : "local.ledger_full", "%s", j->l->led.why) : 0;
}

static void unsynced(struct job *j) { job_refuse(j, MINTD_TRANSIENT, "local.ledger_broken", "%s", j->l->led.why); }

static bool needs_bind(struct local *l, struct mintd_vec rows, int64_t now)
{
    for (uint32_t i = 0; i < rows.n; i++) {
        struct mintd_tx row;
        mintd_row(rows, i, &row, sizeof row);
        if (proof_clock(l, now) > row.bound && clock_at(l, l->w.last) <= row.bound) return true;
    }
    return false;
}

static int status_run(struct job *j)
{
    struct local *l = j->l;
    struct mintd_vec rows = j->req->rows;
    int r = job_catch_up(j);
    if (r) return r;
    if (rows.n > STATUS_MAX) return job_refuse(j, MINTD_TRANSIENT, "local.bad_request", "%u transactions, at most %d", rows.n, STATUS_MAX);
    int64_t now = chain_now(l);
    if ((j->req->flags & 1) && !l->led.memory && needs_bind(l, rows, now)) {
        r = bind_clock(j, now);
        if (r) return r;
    }
    uint32_t each = j->req->flags & 1 ? route_provers(l) : 1, n = 0;
    struct mintd_seen *seen = job_mem(j, (size_t)rows.n * each * sizeof *seen);
    struct look *k = job_mem(j, sizeof *k);
    for (uint32_t i = 0; seen && k && i < rows.n; i++) {
        *k = (struct look){ .j = j, .i = i, .now = now };
        mintd_row(rows, i, &k->row, sizeof k->row);
        k->known = world_tx(l, k->row.id);
        if (k->known != NONE && l->w.txs[k->known].fate != FATE_DROPPED) k->liar = route_liar(l, k->row.id);
        n += ask_all(k, seen + n);
        free(k->ld.buf);
    }
    if (j->out.cls) return -1;
    j->res.rows = ROWS(seen, n);
    j->unsynced = unsynced;
    return 0;
}

void op_status(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    job_begin(self, op, req, ((struct local *)self)->o.read_ms, status_run);
}
