/* Mint: ready chunks -> keys -> prepare -> sign -> seal -> attempt rows -> broadcast. Nothing leaves the process before the commit
 * that stores its bytes came back (I2); only chunks whose group was applied are sent. A batch is the chunks that take this road
 * together; a chunk that leaves it early goes back to ready, to the store or to its end. Loop thread. */
#include <stdlib.h>

#include "base/crash.h"
#include "base/digest.h"
#include "base/sabotage.h"
#include "pipe/meta.h"
#include "pipe/pipe_int.h"

static const struct mintd_str NONE = { NULL, 0 };

struct batch {
    struct line *line;
    struct chunk *c[BATCH_MAX]; uint32_t n;  /* NULL: left the batch */
    struct arena *mem;                       /* everything of this batch */
    struct mintd_intent *intents;            /* of the chunks still in it, in order */
    struct mintd_plan *plans;                /* by place in c */
    struct mintd_sig *sigs[BATCH_MAX];
    uint32_t calls;                          /* answers outstanding in the present step */
    const struct mintd_outcome *failed;      /* of a call in the present step */
    enum retry_stage stage;
    uint32_t commits, asked[BATCH_MAX];      /* asked: items of the intent, by place in c */
};

/* ---- ready */
static void by_id(struct list *head, struct chunk *c)
{
    struct list *at = head->prev;                          /* nearly always appended: claims come in order */
    while (at != head && LIST_OF(at, struct chunk, link)->id > c->id) at = at->prev;
    c->link.prev = at;
    c->link.next = at->next;
    at->next->prev = &c->link;
    at->next = &c->link;
}

static void put_back(struct chunk *c)
{
    c->busy = false;
    by_id(&c->col->ready, c);
    if (!c->col->ring.next) list_add(&c->line->cols, &c->col->ring);
}

void mint_add(struct chunk *c)
{
    put_back(c);
    mint_kick(c->line);
}

static void ready_again(void *arg)
{
    struct chunk *c = arg;
    loop_timer_del(c->timer);
    c->timer = NULL;
    if (c->cancel) chunk_cancel_now(c->line->pipe, c, NULL, NULL);
    else mint_add(c);
}

/* The next chunk of the next collection that may work now; skips paused ones. *ret_wait: ms until the first paused one may. */
static struct chunk *next_ready(struct line *line, uint64_t now, uint64_t *ret_wait)
{
    uint32_t n = 0;
    LIST_EACH(l, &line->cols) n++;
    while (n--) {
        struct list *l = list_pop(&line->cols);
        struct col *col = LIST_OF(l, struct col, ring);
        if (list_empty(&col->ready)) continue;             /* back in the ring with its next chunk */
        list_add(&line->cols, l);
        if (col->paused_until <= now) return LIST_OF(list_pop(&col->ready), struct chunk, link);
        if (col->paused_until - now < *ret_wait) *ret_wait = col->paused_until - now;
    }
    return NULL;
}

/* ---- leaving a batch */
static void batch_free(struct batch *b)
{
    arena_free(b->mem);
    free(b);
}

static uint32_t batch_left(const struct batch *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) n += b->c[i] != NULL;
    return n;
}

static struct chunk *leave(struct batch *b, uint32_t i)
{
    struct chunk *c = b->c[i];
    b->c[i] = NULL;
    return c;
}

static void pause_lane(struct chunk *c, uint64_t ms, const struct mintd_outcome *o)
{
    struct pipe *p = c->line->pipe;
    c->col->paused_until = loop_now_ms(p->loop) + ms;
    log_error("lane " STR_FMT " of " STR_FMT " waits %llu s: " STR_FMT " (" STR_FMT ")", STR_ARG(c->col->name),
              STR_ARG(c->line->name), (unsigned long long)(ms / 1000), STR_ARG(o->msg), STR_ARG(o->slug));
}

/* A definite answer about one chunk, before anything left the process. */
static void reject(struct batch *b, uint32_t i, enum retry_stage stage, const struct mintd_outcome *o)
{
    struct chunk *c = leave(b, i);
    struct pipe *p = c->line->pipe;
    chunk_unseat(p, c);
    if (c->cancel) { chunk_cancel_now(p, c, NULL, NULL); return; }
    struct retry_verdict v = pipe_retry_in(p, c->line, stage, o, c->tries++);
    if (v.act == RETRY_FAIL) { chunk_fail(p, c, o->slug, o->msg, NULL); return; }
    if (v.act == RETRY_PARK) pause_lane(c, v.delay_ms, o);
    else pipe_outcome(p, c->line, stage, c->id, o);
    chunk_later(p, c, v.delay_ms ? v.delay_ms : 100, ready_again);
}

/* The whole call failed. A call-level PERMANENT condemns nobody: it is a matter of configuration or of the peer, so all wait. */
static void reject_all(struct batch *b, enum retry_stage stage, const struct mintd_outcome *o)
{
    struct mintd_outcome soft = *o;
    if (o->cls == MINTD_PERMANENT) soft.cls = MINTD_TRANSIENT;
    if (batch_left(b)) pipe_outcome(b->line->pipe, b->line, stage, 0, o);
    for (uint32_t i = 0; i < b->n; i++) {
        if (!b->c[i]) continue;
        struct chunk *c = leave(b, i);
        chunk_unseat(b->line->pipe, c);
        struct retry_verdict v = pipe_retry_in(b->line->pipe, b->line, stage, &soft, c->tries++);
        chunk_later(b->line->pipe, c, v.delay_ms ? v.delay_ms : 100, ready_again);
    }
    batch_free(b);
}

static const struct mintd_outcome no_memory = { .size = sizeof no_memory, .cls = MINTD_TRANSIENT, .slug = { "pipe.no_memory", 14 },
    .msg = { "out of memory", 13 } };
static const struct mintd_outcome bad_answer = { .size = sizeof bad_answer, .cls = MINTD_TRANSIENT,
    .slug = { "pipe.bad_answer", 15 }, .msg = { "the plugin answered another number of rows than asked", 53 } };

/* ---- broadcast */
struct cast { struct line *line; struct chunk *c[BATCH_MAX]; uint32_t n; };

static void sent_back(struct pipe *p, struct chunk *c, const struct mintd_outcome *o, bool first)
{
    if (o->cls == MINTD_PERMANENT && first) {              /* proof kind 3: the first and only send of these bytes was refused */
        struct group *g = group_new(0, NULL, NULL);
        struct mintd_db_proof *pr = g ? GROUP_ROW(g, MINTD_DB_PROOF, mintd_db_proof) : NULL;
        if (!pr) { watch_add(p, c); return; }
        struct arena *mem = group_mem(g);
        *pr = (struct mintd_db_proof){ .chunk = c->id, .no = c->attempt_no, .kind = MINTD_PROOF_REFUSED, .quorum = 1,
            .endpoints = arena_str(mem, c->n_routes ? c->routes[0] : S("all")), .error = arena_str(mem, o->slug),
            .facts = arena_printf(mem, "{\"code\":%lld}", (long long)o->code) };
        metric_add(p->m.proofs, S("refused"), NONE, 1);
        watch_bury(p, c, g, o->slug, o->msg, !retry_parks(o->slug));
        if (retry_parks(o->slug)) pause_lane(c, (uint64_t)(c->line->cf ? c->line->cf->retry_cap_ms : 60000), o);
        return;
    }
    struct retry_verdict v = pipe_retry_in(p, c->line, STAGE_BROADCAST, o, c->tries++);
    c->resend_at = loop_now_ms(p->loop) + (v.delay_ms ? v.delay_ms : 1000);
    watch_add(p, c);
}

/* taken >= 1: taken; else unknown >= 1: ambiguous; else the mildest refusal */
static void judge_sent(struct cast *cast, uint32_t i, const struct mintd_sent *rows, uint32_t n)
{
    struct chunk *c = cast->c[i];
    struct line *line = cast->line;
    struct pipe *p = line->pipe;
    const struct mintd_outcome *mildest = NULL;
    uint32_t taken = 0, unknown = 0, answers = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (rows[k].tx != i) continue;
        answers++;
        const struct mintd_outcome *why = rows[k].why;
        if (!why || why->cls == MINTD_OK) { taken++; continue; }
        if (why->cls == MINTD_AMBIGUOUS || why->cls > MINTD_AMBIGUOUS) { unknown++; continue; }
        if (why->cls == MINTD_THROTTLED) chain_refused(line->chain, rows[k].route, c->kind, why->retry_ms);
        if (!mildest || why->cls < mildest->cls) mildest = why;
    }
    bool first = c->sends == 1 && !c->inherited && answers && answers >= c->n_routes;
    if (taken || unknown || !mildest) {
        if (unknown && !taken) pace_window_bad(&line->window, 0, line->chain->landing_ms, loop_now_ms(p->loop));
        watch_add(p, c);
        return;
    }
    if (mildest->cls == MINTD_THROTTLED)
        pace_window_bad(&line->window, mildest->retry_ms, line->chain->landing_ms, loop_now_ms(p->loop));
    sent_back(p, c, mildest, first);
}

static void broadcast_answered(void *arg, struct plug_reply *r)
{
    struct cast *cast = arg;
    struct pipe *p = cast->line->pipe;
    pipe_called(p);
    CRASH("mint.broadcast.after");
    for (uint32_t i = 0; i < cast->n; i++) {
        struct chunk *c = cast->c[i];
        c->busy = false;
        if (c->sends == 1) chunk_mark(p, c, "broadcast");
        if (p->state == PIPE_DEAD) { chunk_drop(p, c); continue; }
        if (r->out->cls == MINTD_OK) { judge_sent(cast, i, r->res->rows.p, r->res->rows.n); continue; }
        if (i == 0) pipe_outcome(p, cast->line, STAGE_BROADCAST, c->id, r->out);
        if (r->out->cls == MINTD_AMBIGUOUS) watch_add(p, c);
        else sent_back(p, c, r->out, c->sends == 1 && !c->inherited);
    }
    free(cast);
}

static void put_tx(struct arena *mem, struct mintd_tx *tx, const struct chunk *c)
{
    *tx = (struct mintd_tx){ .id = c->tx_id, .raw = c->raw, .bound = c->bound, .fee_max = c->fee_max, .kind = c->kind,
        .collection = c->col->chain_ref, .n_items = c->n_items, .assets = VEC(c->assets, c->n_assets) };
    struct mintd_str *routes = arena_array(mem, c->n_routes + 1, sizeof *routes);
    for (uint32_t k = 0; routes && k < c->n_routes; k++) routes[k] = c->routes[k];
    tx->routes = VEC(routes, routes ? c->n_routes : 0);
}

static void broadcast(struct line *line, struct chunk **chunks, uint32_t n)
{
    struct pipe *p = line->pipe;
    struct arena *mem = arena_new(0);
    struct cast *cast = calloc(1, sizeof *cast);
    struct mintd_tx *tx = mem && cast ? arena_array(mem, n, sizeof *tx) : NULL;
    for (uint32_t i = 0; !tx && i < n; i++) { chunks[i]->busy = false; watch_add(p, chunks[i]); }
    if (!tx) { free(cast); arena_free(mem); return; }
    *cast = (struct cast){ .line = line, .n = n };
    uint64_t now = loop_now_ms(p->loop);
    for (uint32_t i = 0; i < n; i++) {
        struct chunk *c = cast->c[i] = chunks[i];
        put_tx(mem, &tx[i], c);
        if (arena_hold(mem, c->mem) || (c->own && arena_hold(mem, c->own))) abort();
        c->busy = true;
        c->sends++;
        c->sent_ms = now;
    }
    CRASH("mint.broadcast.before");
    pipe_call(p, line->chain->inst, CHAIN_BROADCAST, 0, NULL, VEC(tx, n), mem, broadcast_answered, cast);
}

void mint_resend(struct pipe *p, struct chunk *c)
{
    struct conf_pipeline const *cf = c->line->cf;
    struct mintd_str routes[SENT_ROUTES];
    uint32_t n = 0;
    uint64_t wait = chain_routes(c->line->chain, c, cf ? cf->broadcast_routes : 1, routes, &n);
    if (!n) { c->resend_at = loop_now_ms(p->loop) + wait; return; }
    for (uint32_t i = 0; i < n; i++) {                     /* remembered: status asks those that may have it */
        bool known = false;
        for (uint32_t k = 0; k < c->n_routes; k++) known = known || str_eq(c->routes[k], routes[i]);
        struct mintd_str own = known || c->n_routes == SENT_ROUTES ? NONE : arena_str(c->own ? c->own : c->mem, routes[i]);
        if (own.n) c->routes[c->n_routes++] = own;
    }
    watch_del(c);
    metric_add(p->m.resends, NONE, NONE, 1);
    broadcast(c->line, &c, 1);
}

/* ---- the commit of attempts */
struct wrote { struct batch *b; uint32_t i; };

static void commits_done(struct batch *b)
{
    struct chunk *send[BATCH_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) if (b->c[i]) send[n++] = leave(b, i);
    struct line *line = b->line;
    batch_free(b);
    if (n && line->pipe->state == PIPE_DEAD) for (uint32_t i = 0; i < n; i++) chunk_drop(line->pipe, send[i]);
    else if (n && !SABOTAGE("send_before_commit")) broadcast(line, send, n);
    else for (uint32_t i = 0; i < n; i++) { send[i]->busy = false; watch_add(line->pipe, send[i]); }
}

static void wrote(void *arg, const struct mintd_applied *a)
{
    struct wrote w = *(struct wrote *)arg;
    struct batch *b = w.b;
    free(arg);
    struct chunk *c = b->c[w.i];
    if (a && a->verdict == MINTD_REFUSED && str_eq(a->detail, S("store.spend_cap"))) {
        leave(b, w.i);
        c->attempt_no--;
        chunk_unseat(b->line->pipe, c);
        pause_lane(c, 60000, &(struct mintd_outcome){ .slug = a->detail, .msg = S("the spending cap of this window is reached") });
        chunk_later(b->line->pipe, c, 60000, ready_again);
    } else {
        struct pipe *p = b->line->pipe;
        c->state = MINTD_ST_SIGNED;
        if (chunk_verdict(p, c, a, "attempt")) {
            metric_add(p->m.chunks, S("signed"), NONE, 1);
            chunk_mark(p, c, "sign");
        } else {
            leave(b, w.i);
        }
    }
    if (--b->commits == 0) commits_done(b);
}

static struct mintd_str join_assets(struct arena *mem, const struct chunk *c)
{
    struct buf text = { 0 };
    for (uint32_t i = 0; i < c->n_assets; i++) {
        if (i) buf_puts(&text, " ");
        buf_str(&text, c->assets[i]);
    }
    struct mintd_str out = arena_str(mem, buf_view(&text));
    buf_free(&text);
    return out;
}

/* -ENOMEM is answered with NULL: the chunk then goes back to ready, nothing was written. */
static struct group *attempt_group(struct batch *b, uint32_t i)
{
    struct chunk *c = b->c[i];
    struct pipe *p = b->line->pipe;
    const struct conf_pipeline *cf = b->line->cf;
    struct wrote *w = malloc(sizeof *w);
    struct group *g = w ? group_new(c->n_items, wrote, w) : NULL;
    struct mintd_db_chunk *head = g ? chunk_change(g, c, MINTD_ST_SIGNED) : NULL;
    struct mintd_db_attempt *a = head ? GROUP_ROW(g, MINTD_DB_ATTEMPT, mintd_db_attempt) : NULL;
    if (!a) { free(w); return NULL; }
    *w = (struct wrote){ b, i };
    struct arena *mem = group_mem(g);
    c->signed_at = loop_wall_us(p->loop) / 1000;
    head->attempt_no = c->attempt_no + 1;
    *a = (struct mintd_db_attempt){ .chunk = c->id, .no = c->attempt_no + 1, .bound = c->bound, .fee_cap = c->fee_max,
        .network = arena_str(mem, b->line->chain->limits->network), .tx_id = arena_str(mem, c->tx_id),
        .bytes = arena_str(mem, c->raw), .assets = join_assets(mem, c), .slot = p->slot, .epoch = p->epoch,
        .created_at = c->signed_at };
    if (cf && cf->spend_cap) watch_spend(g, c, (int64_t)c->fee_max, 0);
    return g;
}

#ifdef MINTD_SABOTAGE
static void sabotage_answered(void *arg, struct plug_reply *r)
{
    (void)r;
    pipe_called(arg);
}

static void sabotage_send(struct line *line, struct chunk *c)
{
    struct arena *mem = arena_new(0);
    struct mintd_tx *tx = arena_alloc(mem, sizeof *tx);
    put_tx(mem, tx, c);
    arena_hold(mem, c->own);
    pipe_call(line->pipe, line->chain->inst, CHAIN_BROADCAST, 0, NULL, VEC(tx, 1), mem, sabotage_answered, line->pipe);
}
#endif

static void commit(struct batch *b)
{
    struct pipe *p = b->line->pipe;
#ifdef MINTD_SABOTAGE                                      /* planted bug: bytes leave before their row is durable */
    if (SABOTAGE("send_before_commit"))
        for (uint32_t i = 0; i < b->n; i++) if (b->c[i]) sabotage_send(b->line, b->c[i]);
#endif
    b->commits = 1;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!b->c[i]) continue;
        if (b->c[i]->cancel) { reject(b, i, STAGE_COMMIT, &no_memory); continue; }
        struct group *g = attempt_group(b, i);
        if (!g) { reject(b, i, STAGE_COMMIT, &no_memory); continue; }
        b->c[i]->attempt_no++;
        b->c[i]->inherited = false;
        b->c[i]->sends = 0;
        b->c[i]->signed_ms = loop_now_ms(p->loop);
        b->commits++;
        book_add(p, g, SABOTAGE("send_before_commit") ? BOOK_LAZY : BOOK_URGENT);
    }
    if (--b->commits == 0) commits_done(b);
}

/* ---- seal */
static bool keep_attempt(struct chunk *c, const struct mintd_tx *tx)
{
    arena_free(c->own);
    c->own = arena_new(1024 + tx->raw.n);
    if (!c->own) return false;
    c->tx_id = arena_str(c->own, tx->id);
    c->raw = arena_str(c->own, tx->raw);
    c->bound = tx->bound;
    c->fee_max = tx->fee_max;
    c->n_assets = tx->assets.n;
    c->assets = arena_array(c->own, tx->assets.n + 1, sizeof *c->assets);
    const struct mintd_str *from = tx->assets.p;
    for (uint32_t i = 0; c->assets && i < c->n_assets; i++) c->assets[i] = arena_str(c->own, from[i]);
    for (uint32_t i = 0; i < c->n_routes; i++) c->routes[i] = arena_str(c->own, c->routes[i]);
    c->ask_all = c->contradicted = false;
    c->past_ms = 0;
    return c->assets && c->tx_id.n && c->raw.n;
}

static void sealed(void *arg, struct plug_reply *r)
{
    struct batch *b = arg;
    pipe_called(b->line->pipe);
    if (r->out->cls != MINTD_OK) { reject_all(b, STAGE_SEAL, r->out); return; }
    if (r->res->rows.n != batch_left(b)) { reject_all(b, STAGE_SEAL, &bad_answer); return; }
    const struct mintd_tx *tx = r->res->rows.p;
    uint64_t cap = b->line->cf ? b->line->cf->fee_cap : 0;
    for (uint32_t i = 0, k = 0; i < b->n; i++) {
        if (!b->c[i]) continue;
        const struct mintd_tx *t = &tx[k++];
        if (t->why) reject(b, i, STAGE_SEAL, t->why);
        else if (cap && t->fee_max > cap)
            reject(b, i, STAGE_SEAL, &(struct mintd_outcome){ .cls = MINTD_TRANSIENT, .slug = S("pipe.fee_cap"),
                .msg = S("the fee would exceed mint.fee_cap") });
        else if (!keep_attempt(b->c[i], t)) reject(b, i, STAGE_SEAL, &no_memory);
    }
    commit(b);
}

static void seal(struct batch *b)
{
    struct arena *mem = arena_new(0);
    uint32_t n = batch_left(b), k = 0;
    struct mintd_seal *rows = mem ? arena_array(mem, n + 1, sizeof *rows) : NULL;
    if (!rows || arena_hold(mem, b->mem)) { arena_free(mem); reject_all(b, STAGE_SEAL, &no_memory); return; }
    for (uint32_t i = 0; i < b->n; i++)
        if (b->c[i]) rows[k++] = (struct mintd_seal){ b->plans[i].state, VEC(b->sigs[i], b->plans[i].asks.n) };
    if (!n) { arena_free(mem); batch_free(b); return; }
    pipe_call(b->line->pipe, b->line->chain->inst, CHAIN_SEAL, 0, NULL, VEC(rows, n), mem, sealed, b);
}

/* ---- sign: the asks of all plans, one call per signer instance */
struct errand { struct batch *b; uint32_t n; struct { uint32_t chunk, ask; } *to; };

static void all_signed(struct batch *b)
{
    if (b->failed) { reject_all(b, STAGE_SIGN, b->failed); return; }
    seal(b);
}

static void signatures(void *arg, struct plug_reply *r)
{
    struct errand *e = arg;
    struct batch *b = e->b;
    pipe_called(b->line->pipe);
    CRASH("mint.sign.after");
    const struct mintd_sig *sig = r->res->rows.p;
    if (r->out->cls != MINTD_OK || r->res->rows.n != e->n) {
        b->failed = r->out->cls != MINTD_OK ? r->out : &bad_answer;
        if (b->failed == r->out && !arena_hold(b->mem, r->mem)) { /* the outcome lives as long as the batch */ }
    } else if (arena_hold(b->mem, r->mem)) {
        b->failed = &no_memory;
    }
    for (uint32_t k = 0; !b->failed && k < e->n; k++) {
        uint32_t i = e->to[k].chunk;
        if (!b->c[i]) continue;
        if (sig[k].why) reject(b, i, STAGE_SIGN, sig[k].why);
        else b->sigs[i][e->to[k].ask] = sig[k];
    }
    if (--b->calls == 0) all_signed(b);
}

/* "vault/payer" -> the instance vault and its own name for the key */
static struct plug_inst *signer_of(struct pipe *p, struct mintd_str ref, struct mintd_str *ret_key)
{
    const char *slash = ref.n ? memchr(ref.p, '/', ref.n) : NULL;
    if (!slash) return NULL;
    struct mintd_str name = { ref.p, (size_t)(slash - ref.p) };
    *ret_key = (struct mintd_str){ slash + 1, ref.n - name.n - 1 };
    struct plug_inst *inst = plug_find(p->plug, name);
    return inst && plug_kind(inst) == MINTD_SIGNER ? inst : NULL;
}

static const struct mintd_outcome not_granted = { .size = sizeof not_granted, .cls = MINTD_PERMANENT,
    .slug = { "pipe.key_not_granted", 20 }, .msg = { "the chain asked for a key that none of its options names", 56 } };

static uint32_t count_asks(struct batch *b, struct plug_inst *signer)
{
    uint32_t n = 0;
    struct mintd_str key;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct mintd_ask *asks = b->c[i] ? b->plans[i].asks.p : NULL;
        for (uint32_t k = 0; asks && k < b->plans[i].asks.n; k++) n += signer_of(b->line->pipe, asks[k].key, &key) == signer;
    }
    return n;
}

static bool sign_with(struct batch *b, struct plug_inst *signer)
{
    uint32_t n = count_asks(b, signer), at = 0;
    struct arena *mem = arena_new(0);
    struct mintd_ask *rows = mem ? arena_array(mem, n, sizeof *rows) : NULL;
    struct errand *e = arena_alloc(b->mem, sizeof *e);
    if (e) e->to = arena_array(b->mem, n, sizeof *e->to);
    if (!rows || !e || !e->to || arena_hold(mem, b->mem)) { arena_free(mem); return false; }
    e->b = b;
    e->n = n;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct mintd_ask *asks = b->c[i] ? b->plans[i].asks.p : NULL;
        for (uint32_t k = 0; asks && k < b->plans[i].asks.n; k++) {
            struct mintd_str key;
            if (signer_of(b->line->pipe, asks[k].key, &key) != signer) continue;
            rows[at] = asks[k];
            rows[at].key = key;
            e->to[at].chunk = i;
            e->to[at++].ask = k;
        }
    }
    CRASH("mint.sign.before");
    b->calls++;
    pipe_call(b->line->pipe, signer, SIGNER_SIGN, 0, NULL, VEC(rows, n), mem, signatures, e);
    return true;
}

static bool check_asks(struct batch *b, uint32_t i)
{
    const struct mintd_ask *asks = b->plans[i].asks.p;
    uint32_t n = b->plans[i].asks.n;
    struct mintd_str key;
    for (uint32_t k = 0; k < n; k++)
        if (!plug_granted(b->line->chain->inst, asks[k].key) || !signer_of(b->line->pipe, asks[k].key, &key)) return false;
    b->sigs[i] = arena_array(b->mem, n + 1, sizeof *b->sigs[i]);
    return b->sigs[i] != NULL;
}

static void sign(struct batch *b)
{
    struct plug_inst *seen[8];
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if (b->c[i] && !check_asks(b, i)) reject(b, i, STAGE_SIGN, &not_granted);
    b->calls = 1;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct mintd_ask *asks = b->c[i] ? b->plans[i].asks.p : NULL;
        for (uint32_t k = 0; asks && k < b->plans[i].asks.n; k++) {
            struct mintd_str key;
            struct plug_inst *s = signer_of(b->line->pipe, asks[k].key, &key);
            bool known = false;
            for (uint32_t j = 0; j < n; j++) known = known || seen[j] == s;
            if (known) continue;
            if (n == ARRAY_LEN(seen) || !sign_with(b, s)) { b->failed = &no_memory; continue; }
            seen[n++] = s;
        }
    }
    if (--b->calls == 0) all_signed(b);
}

/* ---- prepare */
/* A delivery leaves out what has no receiver, so places in its intent are not places in its chunk. */
static bool in_intent(const struct chunk *c, uint32_t i) { return c->kind != MINTD_TRANSFER || c->items[i].recipient.n; }

static bool *bad_items(const struct mintd_plan *plan, const struct chunk *c, struct arena *mem, uint32_t *ret_n)
{
    const struct mintd_bad *rows = plan->bad.p;
    bool *bad = arena_array(mem, c->n_items + 1, sizeof *bad);
    for (uint32_t i = 0, place = 0; bad && i < c->n_items; i++) {
        if (!in_intent(c, i)) continue;
        for (uint32_t k = 0; k < plan->bad.n; k++) bad[i] = bad[i] || rows[k].item == place;
        *ret_n += bad[i];
        place++;
    }
    return bad;
}

/* True: the chunk stays in the batch. Splitting costs no proof here: no attempt was made, or the last one is proven dead. */
static bool plan_fits(struct batch *b, uint32_t i)
{
    struct chunk *c = b->c[i];
    const struct mintd_plan *plan = &b->plans[i];
    struct pipe *p = b->line->pipe;
    uint32_t n_bad = 0, n = c->n_items;
    if (plan->why) { reject(b, i, STAGE_PREPARE, plan->why); return false; }
    if (c->kind == MINTD_COLLECTION) return true;
    bool *bad = bad_items(plan, c, b->mem, &n_bad);
    if (!bad) { reject(b, i, STAGE_PREPARE, &no_memory); return false; }
    if (n_bad && n == 1) {
        const struct mintd_bad *row = plan->bad.p;
        reject(b, i, STAGE_PREPARE, row->why ? row->why : &bad_answer);
        return false;
    }
    if (!n_bad && plan->fit >= b->asked[i]) return true;
    leave(b, i);
    chunk_unseat(p, c);
    chunk_split(p, c, NULL, bad, n_bad ? n : plan->fit);
    return false;
}

static void prepared(void *arg, struct plug_reply *r)
{
    struct batch *b = arg;
    pipe_called(b->line->pipe);
    if (r->out->cls != MINTD_OK) {
        for (uint32_t i = 0; i < b->n; i++)
            if (b->c[i] && retry_parks(r->out->slug)) pause_lane(b->c[i], 60000, r->out);
        reject_all(b, STAGE_PREPARE, r->out);
        return;
    }
    if (r->res->rows.n != batch_left(b)) { reject_all(b, STAGE_PREPARE, &bad_answer); return; }
    b->plans = arena_array(b->mem, b->n, sizeof *b->plans);
    if (!b->plans || arena_hold(b->mem, r->mem)) { reject_all(b, STAGE_PREPARE, &no_memory); return; }
    const struct mintd_plan *plans = r->res->rows.p;
    for (uint32_t i = 0, k = 0; i < b->n; i++) if (b->c[i]) b->plans[i] = plans[k++];
    for (uint32_t i = 0; i < b->n; i++) if (b->c[i]) plan_fits(b, i);
    if (batch_left(b)) sign(b);
    else batch_free(b);
}

static void prepare(struct batch *b)
{
    struct arena *mem = arena_new(0);
    if (!mem || arena_hold(mem, b->mem)) { arena_free(mem); reject_all(b, STAGE_PREPARE, &no_memory); return; }
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!b->c[i]) continue;
        b->asked[i] = b->intents[i].items.n;
        b->intents[n++] = b->intents[i];
    }
    pipe_call(b->line->pipe, b->line->chain->inst, CHAIN_PREPARE, 0, NULL, VEC(b->intents, n), mem, prepared, b);
}

/* ---- intents: items, their keys, their assets */
static void item_tag(struct arena *mem, const struct pipe *p, const struct col *col, struct mintd_str ticket, struct mintd_str *ret)
{
    struct mintd_str parts[] = { p->conf->deployment, col->venue_name, ticket };
    uint8_t *tag = arena_alloc(mem, DIGEST_LEN);
    if (tag && !digest_parts(parts, ARRAY_LEN(parts), true, tag)) *ret = (struct mintd_str){ (char *)tag, DIGEST_LEN };
}

static void keys_read(void *arg, struct plug_reply *r)
{
    struct batch *b = arg;
    pipe_called(b->line->pipe);
    uint32_t want = 0, k = 0;
    for (uint32_t i = 0; i < b->n; i++) if (b->c[i] && b->c[i]->kind == MINTD_MINT) want += b->c[i]->n_items;
    if (r->out->cls != MINTD_OK) { reject_all(b, STAGE_KEYS, r->out); return; }
    if (r->res->rows.n != want || arena_hold(b->mem, r->mem)) { reject_all(b, STAGE_KEYS, &bad_answer); return; }
    const struct mintd_pub *pubs = r->res->rows.p;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!b->c[i] || b->c[i]->kind != MINTD_MINT) continue;
        struct mintd_item *items = (struct mintd_item *)(uintptr_t)b->intents[i].items.p;
        uint32_t n = b->c[i]->n_items;
        const struct mintd_outcome *why = NULL;
        for (uint32_t j = 0; j < n; j++, k++) {
            if (pubs[k].why || !pubs[k].pub.n) why = pubs[k].why ? pubs[k].why : &bad_answer;
            else items[j].pub = pubs[k].pub;
        }
        if (why) reject(b, i, STAGE_KEYS, why);
    }
    if (batch_left(b)) prepare(b);
    else batch_free(b);
}

static void ask_keys(struct batch *b)
{
    const struct mintd_limits *lim = b->line->chain->limits;
    struct mintd_str key;
    uint32_t n = 0, k = 0;
    for (uint32_t i = 0; i < b->n; i++) if (b->c[i] && b->c[i]->kind == MINTD_MINT) n += b->c[i]->n_items;
    if (!lim->item_scheme || !n) { prepare(b); return; }
    struct plug_inst *signer = signer_of(b->line->pipe, lim->item_key, &key);
    if (!signer || !plug_granted(b->line->chain->inst, lim->item_key)) { reject_all(b, STAGE_KEYS, &not_granted); return; }
    struct arena *mem = arena_new(0);
    struct mintd_ask *rows = mem ? arena_array(mem, n, sizeof *rows) : NULL;
    if (mem) key = arena_str(mem, key);                    /* limits are renewed while the signer works, and take their text along */
    if (!rows || !key.n || arena_hold(mem, b->mem)) { arena_free(mem); reject_all(b, STAGE_KEYS, &no_memory); return; }
    for (uint32_t i = 0; i < b->n; i++) {
        if (!b->c[i] || b->c[i]->kind != MINTD_MINT) continue;
        const struct mintd_item *items = b->intents[i].items.p;
        for (uint32_t j = 0; j < b->c[i]->n_items; j++)
            rows[k++] = (struct mintd_ask){ .key = key, .tag = items[j].tag, .scheme = lim->item_scheme, .chunk = b->c[i]->id };
    }
    pipe_call(b->line->pipe, signer, SIGNER_PUBLIC_KEYS, 0, NULL, VEC(rows, n), mem, keys_read, b);
}

/* A delivery names assets that the mint made: the store knows them. */
static void assets_read(void *arg, struct plug_reply *r)
{
    struct batch *b = arg;
    pipe_called(b->line->pipe);
    if (r->out->cls != MINTD_OK) { reject_all(b, STAGE_QUERY, r->out); return; }
    if (arena_hold(b->mem, r->mem)) { reject_all(b, STAGE_QUERY, &no_memory); return; }
    const struct mintd_db_item *rows = r->res->rows.p;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!b->c[i] || b->c[i]->kind != MINTD_TRANSFER) continue;
        struct mintd_item *items = (struct mintd_item *)(uintptr_t)b->intents[i].items.p;
        bool all = true;
        for (uint32_t j = 0; j < b->intents[i].items.n; j++) {
            for (uint32_t k = 0; k < r->res->rows.n; k++) if (rows[k].id == items[j].id) items[j].asset = rows[k].asset;
            all = all && items[j].asset.n;
        }
        if (!all) reject(b, i, STAGE_QUERY, &bad_answer);
    }
    if (batch_left(b)) ask_keys(b);
    else batch_free(b);
}

static void ask_assets(struct batch *b)
{
    uint32_t n = 0, k = 0;
    for (uint32_t i = 0; i < b->n; i++) if (b->c[i]->kind == MINTD_TRANSFER) n += b->intents[i].items.n;
    if (!n) { ask_keys(b); return; }
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *ids = q ? arena_array(mem, n, sizeof *ids) : NULL;
    if (!ids) { arena_free(mem); reject_all(b, STAGE_QUERY, &no_memory); return; }
    for (uint32_t i = 0; i < b->n; i++) {
        const struct mintd_item *items = b->intents[i].items.p;
        for (uint32_t j = 0; b->c[i]->kind == MINTD_TRANSFER && j < b->intents[i].items.n; j++) ids[k++] = items[j].id;
    }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_ITEM, .max = n, .ids = VEC(ids, n) };
    pipe_call(b->line->pipe, b->line->pipe->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, assets_read, b);
}

static bool put_items(struct batch *b, struct chunk *c, struct mintd_intent *in)
{
    struct mintd_item *items = arena_array(b->mem, c->n_items + 1, sizeof *items);
    if (!items) return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_items; i++) {
        const struct mintd_db_item *row = &c->items[i];
        if (!in_intent(c, i)) continue;                    /* stays in the treasury */
        items[n] = (struct mintd_item){ .id = row->id, .owner = row->recipient, .uri = row->uri, .attrs = row->body };
        if (meta_name(row->body, b->mem, &items[n].name)) return false;
        item_tag(b->mem, b->line->pipe, c->col, row->ticket, &items[n].tag);
        if (!items[n].tag.n) return false;
        n++;
    }
    in->items = VEC(items, n);
    return true;
}

static bool put_intent(struct batch *b, uint32_t i, struct mintd_str *routes, uint32_t n_routes)
{
    struct chunk *c = b->c[i];
    struct mintd_intent *in = &b->intents[i];
    const struct conf_pipeline *cf = b->line->cf;
    *in = (struct mintd_intent){ .kind = c->kind, .attempt = c->attempt_no + 1, .chunk = c->id, .fee_cap = cf->fee_cap,
        .collection = c->col->chain_ref, .spec = c->col->spec,
        .memo = arena_printf(b->mem, "mintd:%llu", (unsigned long long)c->id) };
    if (c->kind == MINTD_COLLECTION) in->memo = c->col->name;
    struct mintd_str *copy = arena_copy(b->mem, routes, n_routes * sizeof *routes);
    in->routes = VEC(copy, copy ? n_routes : 0);
    c->n_routes = copy ? n_routes : 0;
    for (uint32_t k = 0; k < c->n_routes; k++) c->routes[k] = copy[k] = arena_str(b->mem, routes[k]);
    return copy && !arena_hold(b->mem, c->mem) && put_items(b, c, in);
}

/* ---- gathering a batch */
static bool may_start(struct line *line)
{
    struct pipe *p = line->pipe;
    if (p->state != PIPE_RUNNING || !line->cf || !line->chain->limits || !slot_fresh(p)) return false;
    if (line->cf->mode != CONF_FIXED) return pace_window_room(&line->window, loop_now_ms(p->loop)) > 0;
    uint64_t now = loop_now_ms(p->loop);
    if (line->wave_open) return false;
    if (now >= line->wave_next) return true;
    line_wake_in(line, line->wave_next - now);
    return false;
}

static uint32_t batch_room(struct line *line)
{
    uint32_t room = line->cf->mode == CONF_FIXED ? line->cf->max_workers : pace_window_room(&line->window,
                                                                                      loop_now_ms(line->pipe->loop));
    uint32_t most = line->chain->limits->prepare_max;
    if (!most || most > BATCH_MAX) most = BATCH_MAX;
    return room < most ? room : most;
}

/* What a split left of a delivery may have no receiver at all. */
static bool anything_in(const struct chunk *c)
{
    for (uint32_t i = 0; i < c->n_items; i++) if (in_intent(c, i)) return true;
    return c->kind == MINTD_COLLECTION;
}

static void gather(struct batch *b, uint64_t *ret_wait)
{
    struct line *line = b->line;
    uint32_t room = batch_room(line);
    while (b->n < room) {
        struct chunk *c = next_ready(line, loop_now_ms(line->pipe->loop), ret_wait);
        if (!c) break;
        if (!anything_in(c)) { chunk_end_empty(line->pipe, c); continue; }
        struct mintd_str routes[SENT_ROUTES];
        uint32_t n = 0;
        uint64_t wait = chain_routes(line->chain, c, line->cf->broadcast_routes, routes, &n);
        if (!n) {
            if (wait < *ret_wait) *ret_wait = wait;
            put_back(c);
            break;
        }
        b->c[b->n] = c;
        c->busy = true;
        chunk_mark(line->pipe, c, "ready");
        chunk_seat(c);
        if (!put_intent(b, b->n++, routes, n)) reject(b, b->n - 1, STAGE_PREPARE, &no_memory);
    }
}

static void turn(void *arg)
{
    struct line *line = arg;
    line->turn_posted = false;
    uint64_t wait = UINT64_MAX;
    while (may_start(line)) {
        struct batch *b = calloc(1, sizeof *b);
        if (b) b->mem = arena_new(16384);
        if (b && b->mem) b->intents = arena_array(b->mem, BATCH_MAX, sizeof *b->intents);
        if (!b || !b->intents) { if (b) batch_free(b); break; }
        b->line = line;
        gather(b, &wait);
        uint32_t n = 0;
        for (uint32_t i = 0; i < b->n; i++)                /* close the gaps of those that could not be laid out */
            if (b->c[i]) { b->c[n] = b->c[i]; b->intents[n++] = b->intents[i]; }
        b->n = n;
        if (!n) { batch_free(b); break; }
        if (line->cf->mode == CONF_FIXED) line->wave_open = n;
        ask_assets(b);
    }
    metric_set(line->pipe->m.window, line->name, NONE, (double)(line->window.milli / 1000));
    metric_set(line->pipe->m.in_flight, line->name, NONE, (double)line->window.in_flight);
    if (wait != UINT64_MAX) line_wake_in(line, wait);
}

void mint_kick(struct line *line)
{
    if (line->turn_posted || line->pipe->state != PIPE_RUNNING) return;
    line->turn_posted = true;
    loop_post(line->pipe->loop, turn, line);
}
