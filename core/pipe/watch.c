/* Watching what was signed: batched status calls, and what their answers lead to. Witnesses report, machine/proof concludes, the
 * book records. One status call per chain is out at a time for ordinary polls, one for proofs. Owns no memory but its requests.
 * Loop thread. */
#include <stdlib.h>

#include "base/crash.h"
#include "base/digest.h"
#include "pipe/meta.h"
#include "pipe/pipe_int.h"

enum { POLL_MIN = 10, POLL_MAX = 2000, REBROADCAST_DEFAULT = 4000, CALL_MAX = 256 };
static const struct mintd_str NONE = { NULL, 0 };

static void tick(void *arg);

static uint64_t poll_ms(const struct chunk *c)
{
    if (c->line->cf && c->line->cf->poll_ms > 0) return (uint64_t)c->line->cf->poll_ms;
    uint64_t ms = c->line->chain->limits ? c->line->chain->limits->finality_ms / 20 : 100;
    return ms < POLL_MIN ? POLL_MIN : ms > POLL_MAX ? POLL_MAX : ms;
}

static uint64_t rebroadcast_ms(const struct chunk *c)
{
    return c->line->cf && c->line->cf->rebroadcast_ms > 0 ? (uint64_t)c->line->cf->rebroadcast_ms : REBROADCAST_DEFAULT;
}

void watch_arm(struct chain *ch)
{
    struct pipe *p = ch->pipe;
    if (!ch->limits || p->state != PIPE_RUNNING) return;
    uint64_t now = loop_now_ms(p->loop), at = UINT64_MAX;
    LIST_EACH(l, &ch->watched) {
        struct chunk *c = LIST_OF(l, struct chunk, link);
        if (!c->busy && c->poll_at < at) at = c->poll_at;
    }
    if (at == UINT64_MAX || (ch->tick && ch->tick_at <= at)) return;
    loop_timer_del(ch->tick);
    ch->tick_at = at;
    ch->tick = loop_timer(p->loop, at > now ? at - now : 0, tick, ch);
}

/* The first question comes when an answer is likely: near the learned time from send to final. */
void watch_add(struct pipe *p, struct chunk *c)
{
    struct chain *ch = c->line->chain;
    uint64_t now = loop_now_ms(p->loop), patience = rebroadcast_ms(c);
    c->busy = false;
    if (c->inherited && !c->sends) {
        c->poll_at = now;                                  /* after a takeover: observe first */
        c->resend_at = 0;
        chunk_seat(c);
    } else {
        uint64_t expect = ch->landing_ms ? ch->landing_ms - ch->landing_ms / 16 : ch->limits ? ch->limits->finality_ms * 7 / 8 : 100;
        uint64_t first = expect < patience ? expect : patience;
        c->poll_at = c->sent_ms + first > now ? c->sent_ms + first : now + poll_ms(c);
        if (c->resend_at <= now) c->resend_at = now + patience;
    }
    list_add(&ch->watched, &c->link);
    watch_arm(ch);
}

void watch_del(struct chunk *c) { list_del(&c->link); }

/* ---- what is written */
static struct mintd_str spend_scope(struct arena *mem, const struct line *line)
{
    return arena_printf(mem, "pipeline/" STR_FMT, STR_ARG(line->name));
}

void watch_spend(struct group *g, const struct chunk *c, int64_t reserve, int64_t spend)
{
    const struct conf_pipeline *cf = c->line->cf;
    struct mintd_db_spend *s = cf && cf->spend_cap ? GROUP_ROW(g, MINTD_DB_SPEND, mintd_db_spend) : NULL;
    if (!s) return;
    int64_t window = cf->spend_window_ms > 0 ? cf->spend_window_ms : 86400000;
    *s = (struct mintd_db_spend){ .scope = spend_scope(group_mem(g), c->line), .window_start = c->signed_at - c->signed_at % window,
        .reserve = reserve, .spend = spend, .cap = cf->spend_cap };
}

static void landed(void *arg, const struct mintd_applied *a)
{
    struct chunk *c = arg;
    struct pipe *p = c->line->pipe;
    uint32_t to = c->state == MINTD_ST_SIGNED ? MINTD_ST_LANDED : MINTD_ST_SIGNED;
    if (!chunk_verdict(p, c, a, chunk_state_name(to))) return;
    c->state = to;
    c->busy = false;
    c->poll_at = loop_now_ms(p->loop) + poll_ms(c);
    if (to == MINTD_ST_LANDED) {
        metric_add(p->m.chunks, S("landed"), NONE, 1);
        chunk_mark(p, c, "land");
    }
    list_add(&c->line->chain->watched, &c->link);
    watch_arm(c->line->chain);
}

/* SIGNED <-> LANDED: display only, may ride along with the next commit. */
static void toggle(struct pipe *p, struct chunk *c)
{
    struct group *g = group_new(c->n_items, landed, c);
    if (!chunk_change(g, c, c->state == MINTD_ST_SIGNED ? MINTD_ST_LANDED : MINTD_ST_SIGNED)) return;
    list_del(&c->link);
    c->busy = true;
    chunk_rest(p, c, c->state == MINTD_ST_SIGNED);
    book_add(p, g, BOOK_LAZY);
}

struct final { struct chunk *c; uint64_t took; struct mintd_str ref; struct arena *mem; };

static void finished(void *arg, const struct mintd_applied *a)
{
    struct final f = *(struct final *)arg;
    free(arg);
    struct chunk *c = f.c;
    struct pipe *p = c->line->pipe;
    c->state = MINTD_ST_LANDED;
    uint32_t n = c->n_items, kind = c->kind;
    uint64_t request = c->request, collection = c->col->id;
    struct line *line = c->line;
    if (chunk_verdict(p, c, a, "done")) {
        metric_add(p->m.chunks, S("done"), NONE, 1);
        chunk_mark(p, c, "final");
        if (kind == MINTD_MINT) metric_add(p->m.minted, line->name, NONE, n);
        metric_observe(p->m.seconds, line->name, NONE, (double)f.took / 1000.0);
        uint64_t open = a->value;
        pace_window_good(&line->window);
        chunk_drop(p, c);
        if (kind == MINTD_COLLECTION) lane_made(p, collection, f.ref);
        else if (!open) steer_mint_done(p, request);
        if (kind == MINTD_MINT) trail_count(p, request, MINTD_ST_DONE, n);
        if (kind == MINTD_MINT && !open) trail_end(p, request);
        if (kind == MINTD_MINT && line->chain->limits && (line->chain->limits->caps & MINTD_C_DELIVERS)) p->lanes.more = true;
        lane_kick(p);
    }
    arena_free(f.mem);
}

static struct mintd_str evidence(struct arena *mem, const struct proof_result *pr, const struct mintd_seen *w)
{
    struct buf b = { 0 };
    buf_printf(&b, "{\"routes\":%u,\"quorum\":%u,\"clock\":%llu,\"height\":%llu,\"route\":", pr->votes, pr->quorum,
               (unsigned long long)w->clock, (unsigned long long)w->height);
    buf_json(&b, w->route);
    if (pr->contradicted) buf_puts(&b, ",\"contradicted\":true");
    buf_puts(&b, "}");
    struct mintd_str out = arena_str(mem, buf_view(&b));
    buf_free(&b);
    return out;
}

/* Consecutive decimal serials are stored as the first one, anything else as the list. */
static void put_assets(struct arena *mem, struct mintd_db_chunk *row, const struct mintd_seen *w)
{
    const struct mintd_str *assets = w->assets.p;
    uint64_t first = 0, v = 0;
    bool serials = w->assets.n > 0 && !str_u64(assets[0], &first) && first;
    for (uint32_t i = 1; serials && i < w->assets.n; i++) serials = !str_u64(assets[i], &v) && v == first + i;
    if (serials) { row->first_serial = first; return; }
    struct buf text = { 0 };
    for (uint32_t i = 0; i < w->assets.n; i++) {
        if (i) buf_puts(&text, " ");
        buf_str(&text, assets[i]);
    }
    row->assets = arena_str(mem, buf_view(&text));
    buf_free(&text);
}

static bool wants_delivery(const struct chunk *c)
{
    if (c->kind != MINTD_MINT || !(c->line->chain->limits->caps & MINTD_C_DELIVERS)) return false;
    for (uint32_t i = 0; i < c->n_items; i++) if (c->items[i].recipient.n) return true;
    return false;
}

static void put_done(struct group *g, struct chunk *c, const struct proof_result *pr, const struct mintd_seen *w)
{
    struct arena *mem = group_mem(g);
    struct mintd_db_chunk *row = chunk_change(g, c, MINTD_ST_DONE);
    if (!row) return;
    row->from = MINTD_ST_LANDED;
    row->fee = w->fee;
    row->block_time = w->time_ms;
    row->evidence = evidence(mem, pr, w);
    if (c->kind != MINTD_TRANSFER) put_assets(mem, row, w);
    if (wants_delivery(c)) {
        struct mintd_db_chunk *t = GROUP_ROW(g, MINTD_DB_CHUNK, mintd_db_chunk);
        if (t) *t = (struct mintd_db_chunk){ .kind = MINTD_TRANSFER, .origin = 2, .parent = c->id, .n = c->row->n,
            .state = MINTD_ST_UPLOADED };
    }
    if (c->kind == MINTD_COLLECTION) {
        struct mintd_db_collection *col = GROUP_ROW(g, MINTD_DB_COLLECTION, mintd_db_collection);
        const struct mintd_str *assets = w->assets.p;
        if (col) *col = (struct mintd_db_collection){ .id = c->col->id, .from = c->col->state, .state = MINTD_COL_READY,
            .network = arena_str(mem, c->line->chain->limits->network), .chain_ref = arena_str(mem, assets[0]) };
    }
    watch_spend(g, c, -(int64_t)c->fee_max, (int64_t)w->fee);
    struct buf body = { 0 };
    buf_puts(&body, "{\"transaction\":");
    buf_json(&body, c->tx_id);
    buf_puts(&body, "}");
    book_event(g, mem, c->kind == MINTD_MINT ? "chunk.minted" : c->kind == MINTD_TRANSFER ? "chunk.delivered" : "collection.created",
               c->row->venue, 0, buf_view(&body));
    buf_free(&body);
}

static void finish(struct pipe *p, struct chunk *c, const struct proof_result *pr, const struct mintd_seen *w)
{
    if (c->kind == MINTD_COLLECTION && w->assets.n < 1) return;
    struct final *f = calloc(1, sizeof *f);
    struct group *g = f ? group_new(c->n_items, finished, f) : NULL;
    if (g && c->state == MINTD_ST_SIGNED) {                /* seen landed and final at once: both steps, one commit */
        struct group *first = group_new(0, NULL, NULL);
        if (first && chunk_change(first, c, MINTD_ST_LANDED)) book_add(p, first, BOOK_LAZY);
        metric_add(p->m.chunks, S("landed"), NONE, 1);
        chunk_mark(p, c, "land");
    }
    if (!g) { free(f); return; }
    const struct mintd_str *assets = w->assets.p;
    *f = (struct final){ .c = c, .took = loop_now_ms(p->loop) - c->signed_ms, .mem = arena_new(256) };
    if (c->kind == MINTD_COLLECTION && f->mem) f->ref = arena_str(f->mem, assets[0]);
    put_done(g, c, pr, w);
    struct chain *ch = c->line->chain;
    if (c->sent_ms && !c->inherited) {
        uint64_t took = loop_now_ms(p->loop) - c->sent_ms;
        ch->landing_ms = ch->landing_ms ? (ch->landing_ms * 7 + took) / 8 : took;
    }
    list_del(&c->link);
    c->busy = true;
    CRASH("watch.final.before");
    book_add(p, g, BOOK_URGENT);
}

/* ---- death */
static void buried(void *arg, const struct mintd_applied *a)
{
    struct chunk *c = arg;
    struct pipe *p = c->line->pipe;
    if (!chunk_verdict(p, c, a, "proof")) return;
    c->state = MINTD_ST_UPLOADED;
    c->own = arena_free(c->own);
    c->tx_id = c->raw = NONE;
    c->n_assets = 0;
    c->inherited = false;
    chunk_rest(p, c, false);
    chunk_unseat(p, c);
    chunk_route(p, c);
}

void watch_bury(struct pipe *p, struct chunk *c, struct group *proof, struct mintd_str slug, struct mintd_str msg, bool final)
{
    uint32_t budget = c->line->cf && c->line->cf->attempts ? c->line->cf->attempts : 1;
    list_del(&c->link);
    watch_spend(proof, c, -(int64_t)c->fee_max, 0);
    if (final && c->n_items > 1 && c->kind != MINTD_COLLECTION) {      /* one of them is to blame: each goes its own way */
        bool alone[c->n_items];
        for (uint32_t i = 0; i < c->n_items; i++) alone[i] = true;
        chunk_split(p, c, proof, alone, 1);
        return;
    }
    if (final || (c->attempt_no >= budget && !retry_parks(slug))) {
        chunk_fail(p, c, final ? slug : S("pipe.attempts"), final ? msg : S("every attempt died: the budget of attempts is used up"), proof);
        return;
    }
    struct group *g = group_new(c->n_items, buried, c);
    if (!chunk_change(g, c, MINTD_ST_UPLOADED)) { chunk_drop(p, c); return; }
    group_absorb(g, proof);
    c->busy = true;
    book_add(p, g, BOOK_URGENT);
}

static struct mintd_str hash_hex(struct arena *mem, const struct mintd_seen *seen, uint32_t n)
{
    struct mintd_str facts[ROUTES_MAX];
    uint8_t digest[DIGEST_LEN];
    for (uint32_t i = 0; i < n; i++) facts[i] = seen[i].facts;
    char *hex = arena_alloc(mem, 2 * sizeof digest + 1);
    if (!hex || digest_parts(facts, n, true, digest)) return NONE;
    hex_encode(digest, sizeof digest, hex);
    return (struct mintd_str){ hex, 2 * sizeof digest };
}

static struct mintd_str endpoint_list(struct arena *mem, const struct mintd_seen *seen, uint32_t n)
{
    struct buf b = { 0 };
    for (uint32_t i = 0; i < n; i++) {
        if (seen[i].why || seen[i].state == MINTD_NO_ANSWER) continue;
        if (b.n) buf_puts(&b, " ");
        buf_str(&b, seen[i].route);
    }
    struct mintd_str out = arena_str(mem, buf_view(&b));
    buf_free(&b);
    return out;
}

static void dead(struct pipe *p, struct chunk *c, const struct proof_result *pr, const struct mintd_seen *seen, uint32_t n)
{
    const struct mintd_seen *w = &seen[pr->witness];
    bool erred = pr->verdict == PROOF_ERRED;
    struct group *g = group_new(0, NULL, NULL);
    struct mintd_db_proof *row = g ? GROUP_ROW(g, MINTD_DB_PROOF, mintd_db_proof) : NULL;
    if (!row) return;                                      /* asked again at the next poll */
    struct arena *mem = group_mem(g);
    struct mintd_str error = erred ? meta_member(w->facts, "error", mem) : NONE;
    if (erred && !error.n) error = S("executed with an error");
    *row = (struct mintd_db_proof){ .chunk = c->id, .no = c->attempt_no, .kind = erred ? MINTD_PROOF_ERRED : MINTD_PROOF_EXPIRED,
        .quorum = pr->votes, .watermark = erred ? w->clock : pr->watermark, .absent_at = erred ? 0 : pr->absent_at,
        .effect_absent = !erred, .endpoints = endpoint_list(mem, seen, n), .error = error, .raw_hash = hash_hex(mem, seen, n),
        .facts = arena_str(mem, w->facts) };
    metric_add(p->m.proofs, erred ? S("erred") : S("expired"), NONE, 1);
    trail_log(p, MINTD_INFO, c->request, c->id, "attempt %u is proven dead (%s)", c->attempt_no, erred ? "executed with an error" : "expired");
    CRASH("watch.proof.before");
    if (!erred) pace_window_bad(&c->line->window, 0, c->line->chain->landing_ms, loop_now_ms(p->loop));
    watch_bury(p, c, g, S("chain.rejected"), error, erred);
}

/* ---- one transaction's answers */
static void wait_on(struct pipe *p, struct chunk *c, const struct proof_result *pr)
{
    uint64_t now = loop_now_ms(p->loop);
    c->poll_at = now + poll_ms(c);
    if (pr->past_bound) {
        c->ask_all = true;
        if (!c->past_ms) c->past_ms = now;
        uint64_t patience = c->line->cf ? (uint64_t)c->line->cf->proof_deadline_ms : 1800000;
        if (now - c->past_ms > patience) {
            chunk_quarantine(p, c, "pipe.no_proof", S("the bound passed and no proof of death or life came in time"));
            return;
        }
    } else if (pr->verdict != PROOF_LANDED && c->resend_at <= now) {
        mint_resend(p, c);
        return;
    }
    if (pr->verdict == PROOF_LANDED && c->state == MINTD_ST_SIGNED) toggle(p, c);
}

static void judge(struct pipe *p, struct chunk *c, const struct mintd_seen *seen, uint32_t n, bool all)
{
    struct proof_rule rule = chain_rule(c->line->chain, c->line);
    struct proof_attempt att = { .bound = c->bound, .items = c->n_items, .assets_unknown = c->kind != MINTD_MINT };
    struct proof_result pr = proof_judge(&rule, &att, seen, n);
    bool absent = false;
    for (uint32_t i = 0; i < n; i++) {
        absent = absent || (!seen[i].why && seen[i].state == MINTD_ABSENT);
        if (!all && !seen[i].why && (seen[i].flags & MINTD_F_FINAL) && seen[i].state != MINTD_ABSENT) c->ask_all = pr.quorum > 1;
        if (seen[i].clock > c->line->chain->clock) c->line->chain->clock = seen[i].clock;
    }
    if (pr.contradicted && !c->contradicted) {
        c->contradicted = true;
        trail_log(p, MINTD_ERROR, c->request, c->id, "witnesses contradict each other about " STR_FMT, STR_ARG(c->tx_id));
    }
    switch (pr.verdict) {
    case PROOF_FINAL:    finish(p, c, &pr, &seen[pr.witness]); break;
    case PROOF_ERRED:
    case PROOF_EXPIRED:  dead(p, c, &pr, seen, n); break;
    case PROOF_CONFLICT: chunk_quarantine(p, c, "pipe.contradiction", S("final answers exclude each other")); break;
    default:
        if (pr.verdict == PROOF_OPEN && c->state == MINTD_ST_LANDED && absent && !pr.past_bound) {   /* rolled back */
            c->resend_at = 0;
            toggle(p, c);
        } else {
            wait_on(p, c, &pr);
        }
    }
}

/* ---- polling */
struct poll { struct chain *ch; struct chunk *c[CALL_MAX]; uint32_t n; bool all; };

static void answered(void *arg, struct plug_reply *r)
{
    struct poll *po = arg;
    struct chain *ch = po->ch;
    struct pipe *p = ch->pipe;
    pipe_called(p);
    ch->ticks_out--;
    bool ok = r->out->cls == MINTD_OK;
    uint64_t now = loop_now_ms(p->loop), wait = 0;
    if (!ok) {
        pipe_outcome(p, NULL, STAGE_STATUS, 0, r->out);
        wait = pipe_retry_in(p, po->c[0]->line, STAGE_STATUS, r->out, ch->failures++).delay_ms;
    } else {
        ch->failures = 0;
    }
    const struct mintd_seen *rows = r->res->rows.p;
    for (uint32_t i = 0; i < po->n; i++) {
        struct chunk *c = po->c[i];
        struct mintd_seen mine[ROUTES_MAX];
        uint32_t n = 0;
        c->busy = false;
        if (p->state == PIPE_DEAD) { list_add(&ch->watched, &c->link); continue; }
        for (uint32_t k = 0; ok && k < r->res->rows.n && n < ROUTES_MAX; k++) if (rows[k].tx == i) mine[n++] = rows[k];
        c->poll_at = now + (ok ? poll_ms(c) : wait);
        list_add(&ch->watched, &c->link);
        if (ok) judge(p, c, mine, n, po->all);
    }
    free(po);
    watch_arm(ch);
}

static bool put_prove_items(struct arena *mem, struct mintd_tx *tx, const struct chunk *c)
{
    struct mintd_item *items = arena_array(mem, c->n_items + 1, sizeof *items);
    if (!items) return false;
    for (uint32_t i = 0; i < c->n_items; i++) {
        items[i] = (struct mintd_item){ .id = c->items[i].id, .owner = c->items[i].recipient, .uri = c->items[i].uri };
        if (i < c->n_assets) items[i].asset = c->assets[i];
    }
    tx->items = VEC(items, c->n_items);
    return true;
}

static void ask(struct chain *ch, struct poll *po)
{
    struct pipe *p = ch->pipe;
    struct arena *mem = arena_new(0);
    struct mintd_tx *tx = mem ? arena_array(mem, po->n, sizeof *tx) : NULL;
    bool ok = tx != NULL;
    for (uint32_t i = 0; ok && i < po->n; i++) {
        struct chunk *c = po->c[i];
        struct mintd_str *routes = arena_array(mem, c->n_routes + 1, sizeof *routes);
        ok = routes && !arena_hold(mem, c->mem) && (!c->own || !arena_hold(mem, c->own));
        if (!ok) break;
        memcpy(routes, c->routes, c->n_routes * sizeof *routes);
        tx[i] = (struct mintd_tx){ .id = c->tx_id, .raw = c->raw, .bound = c->bound, .kind = c->kind, .collection = c->col->chain_ref,
            .n_items = c->n_items, .assets = VEC(c->assets, c->n_assets), .routes = VEC(routes, c->n_routes) };
        if (po->all) ok = put_prove_items(mem, &tx[i], c);
    }
    if (!ok) {
        for (uint32_t i = 0; i < po->n; i++) { po->c[i]->busy = false; list_add(&ch->watched, &po->c[i]->link); }
        arena_free(mem);
        free(po);
        return;
    }
    ch->ticks_out++;
    pipe_call(p, ch->inst, CHAIN_STATUS, po->all ? 1 : 0, NULL, VEC(tx, po->n), mem, answered, po);
}

/* All that are due, or nearly: one question instead of two. */
static void ask_due(struct chain *ch, bool all)
{
    uint64_t now = loop_now_ms(ch->pipe->loop);
    uint32_t most = ch->limits->status_max && ch->limits->status_max < CALL_MAX ? ch->limits->status_max : CALL_MAX;
    for (;;) {
        struct poll *po = calloc(1, sizeof *po);
        if (!po) return;
        po->ch = ch;
        po->all = all;
        LIST_EACH(l, &ch->watched) {
            struct chunk *c = LIST_OF(l, struct chunk, link);
            if (c->busy || c->ask_all != all || c->poll_at > now + poll_ms(c) / 2) continue;
            list_del(l);
            c->busy = true;
            po->c[po->n++] = c;
            if (po->n == most) break;
        }
        if (!po->n) { free(po); return; }
        uint32_t n = po->n;
        ask(ch, po);
        if (n < most) return;
    }
}

static void tick(void *arg)
{
    struct chain *ch = arg;
    loop_timer_del(ch->tick);
    ch->tick = NULL;
    if (ch->pipe->state != PIPE_RUNNING || !ch->limits) return;
    ask_due(ch, false);
    ask_due(ch, true);
    watch_arm(ch);
}
