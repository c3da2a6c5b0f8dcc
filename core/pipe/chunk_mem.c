/* Chunks in memory and the change groups that every stage writes about them. Owns struct chunk. Calls the stages, the book and
 * machine/. Loop thread. */
#include <errno.h>
#include <stdlib.h>

#include "pipe/pipe_int.h"

static const struct mintd_str NONE = { NULL, 0 };

static int load_attempt(struct chunk *c, const struct mintd_db_attempt *a)
{
    c->tx_id = a->tx_id;
    c->raw = a->bytes;
    c->bound = a->bound;
    c->fee_max = a->fee_cap;
    c->signed_at = a->created_at;
    c->inherited = true;
    struct mintd_str rest = a->assets;
    uint32_t n = 0;
    for (size_t i = 0; i < rest.n; i++) n += rest.p[i] == ' ';
    if (!rest.n) return 0;
    c->assets = arena_array(c->mem, n + 1, sizeof *c->assets);
    if (!c->assets) return -ENOMEM;
    while (rest.n) {
        const char *sp = memchr(rest.p, ' ', rest.n);
        size_t len = sp ? (size_t)(sp - rest.p) : rest.n;
        c->assets[c->n_assets++] = (struct mintd_str){ rest.p, len };
        rest.p += len + (sp != NULL);
        rest.n -= len + (sp != NULL);
    }
    return 0;
}

struct chunk *chunk_adopt(struct pipe *p, struct line *line, struct col *col, const struct mintd_db_chunk *row, struct arena *mem)
{
    struct chunk *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    *c = (struct chunk){ .line = line, .col = col, .mem = arena_ref(mem), .row = row, .items = row->items.p, .n_items = row->items.n,
        .id = row->id, .request = row->request, .kind = row->kind, .state = row->state, .attempt_no = row->attempt_no };
    bool live = row->state == MINTD_ST_SIGNED || row->state == MINTD_ST_LANDED;
    if (live && row->attempts.n) {
        if (load_attempt(c, row->attempts.p)) goto bad;
        c->signed_ms = loop_now_ms(p->loop);
    } else if (live) {
        log_error("chunk %llu is %s without an attempt: left alone", (unsigned long long)c->id, chunk_state_name(c->state));
        goto bad;
    }
    if (map_put(&p->chunks, c->id, c)) goto bad;
    col->held++;
    c->marked_us = loop_now_us(p->loop);
    trail_want(p, c->request);
    metric_set(p->m.memory, NONE, NONE, (double)p->chunks.n);
    return c;
bad:
    arena_free(c->mem);
    free(c);
    return NULL;
}

void chunk_mark(const struct pipe *p, struct chunk *c, const char *stage)
{
    uint64_t now = loop_now_us(p->loop);
    metric_observe(p->m.stages, str_of(stage), NONE, (double)(now - c->marked_us) / 1e6);
    c->marked_us = now;
}

void chunk_route(struct pipe *p, struct chunk *c)
{
    c->tries = 0;
    if (c->cancel && c->state <= MINTD_ST_UPLOADED) { chunk_cancel_now(p, c, NULL, NULL); return; }
    switch (chunk_next(c->state)) {
    case CHUNK_UPLOAD:  upload_add(c); break;
    case CHUNK_PREPARE: mint_add(c); break;
    case CHUNK_OBSERVE: watch_add(p, c); break;
    default:            chunk_drop(p, c); break;
    }
}

void chunk_drop(struct pipe *p, struct chunk *c)
{
    list_del(&c->link);
    loop_timer_del(c->timer);
    chunk_unseat(p, c);
    chunk_rest(p, c, false);
    map_del(&p->chunks, c->id);
    c->col->held--;
    metric_set(p->m.memory, NONE, NONE, (double)p->chunks.n);
    arena_free(c->own);
    arena_free(c->mem);
    free(c);
    if (p->state == PIPE_RUNNING) lane_kick(p);
}

void chunk_rest(struct pipe *p, struct chunk *c, bool rests)
{
    const struct conf_pipeline *cf = c->line->cf;
    if (c->rests == rests) return;
    c->rests = rests;
    p->resting += rests ? 1 : -1u;
    if (rests && cf && cf->mode != CONF_FIXED) chunk_unseat(p, c);         /* a wave waits for the end of its last */
    if (rests) lane_kick(p);
}

void chunk_later(struct pipe *p, struct chunk *c, uint64_t ms, loop_fn *fn)
{
    loop_timer_del(c->timer);
    c->timer = loop_timer(p->loop, ms, fn, c);
}

void chunk_seat(struct chunk *c)
{
    if (c->seated) return;
    c->seated = true;
    c->line->window.in_flight++;
}

void chunk_unseat(struct pipe *p, struct chunk *c)
{
    if (c->budgets_held) chain_budgets_back(c->line->chain, c);
    if (!c->seated) return;
    struct line *line = c->line;
    c->seated = false;
    line->window.in_flight--;
    metric_set(p->m.in_flight, line->name, NONE, (double)line->window.in_flight);
    if (line->wave_open && --line->wave_open == 0 && line->cf)
        line->wave_next = loop_now_ms(p->loop) + (uint64_t)line->cf->batch_delay_ms;
    mint_kick(line);
}

struct mintd_db_chunk *chunk_change(struct group *g, const struct chunk *c, uint32_t to)
{
    struct mintd_db_chunk *row = g ? GROUP_ROW(g, MINTD_DB_CHUNK, mintd_db_chunk) : NULL;
    if (row) *row = (struct mintd_db_chunk){ .id = c->id, .kind = c->kind, .from = c->state, .state = to, .attempt_no = c->attempt_no };
    return row;
}

bool chunk_verdict(struct pipe *p, struct chunk *c, const struct mintd_applied *a, const char *what)
{
    if (!a) { chunk_drop(p, c); return false; }            /* the end of this process: the store knows */
    if (a->verdict == MINTD_APPLIED || a->verdict == MINTD_REPEATED) return true;
    trail_log(p, MINTD_ERROR, c->request, c->id, "%s was not applied (verdict %u " STR_FMT "): leaving it to the store", what, a->verdict,
              STR_ARG(a->detail));
    chunk_drop(p, c);
    return false;
}

/* ---- ends */
struct ending { struct pipe *p; struct chunk *c; uint32_t to; group_fn *fn; void *arg; };

static void ended(void *arg, const struct mintd_applied *a)
{
    struct ending e = *(struct ending *)arg;
    struct mintd_applied copy = a ? *a : (struct mintd_applied){ .verdict = MINTD_STALE };
    free(arg);
    if (chunk_verdict(e.p, e.c, a, chunk_state_name(e.to))) {
        uint64_t request = e.c->request;
        struct line *line = e.c->line;
        metric_add(e.p->m.chunks, str_of(chunk_state_name(e.to)), NONE, 1);
        uint32_t items = e.c->kind == MINTD_MINT ? e.c->n_items : 0;
        bool mint = e.c->kind != MINTD_COLLECTION, last = e.c->kind == MINTD_MINT && copy.value == 0 && chunk_terminal(e.to);
        if (!mint && e.to == MINTD_ST_FAILED) e.c->col->state = MINTD_COL_PARKED;
        if (e.c->kind == MINTD_MINT && chunk_terminal(e.to))
            metric_add(e.p->m.failed, line->name, str_of(chunk_state_name(e.to)), e.c->n_items);
        chunk_drop(e.p, e.c);
        if (mint && copy.value == 0) steer_mint_done(e.p, request);
        if (items) trail_count(e.p, request, e.to, items);
        if (last) trail_end(e.p, request);
        if (e.to == MINTD_ST_FAILED && mint) steer_failed(e.p, line, request);
    }
    if (e.fn) e.fn(e.arg, a ? &copy : NULL);
}

static struct group *ending_group(struct pipe *p, struct chunk *c, uint32_t to, group_fn *fn, void *arg)
{
    struct ending *e = malloc(sizeof *e);
    struct group *g = e ? group_new(c->n_items, ended, e) : NULL;
    if (!g) { free(e); return NULL; }
    *e = (struct ending){ p, c, to, fn, arg };
    return g;
}

/* Out of every queue, until its commit answers. */
static void rest(struct chunk *c)
{
    c->busy = true;
    list_del(&c->link);
    loop_timer_del(c->timer);
    c->timer = NULL;
}

static void out_of_memory(struct pipe *p, struct chunk *c)
{
    trail_log(p, MINTD_ERROR, c->request, c->id, "out of memory, taken up again later");
    chunk_drop(p, c);
}

/* Nothing can be minted into a collection that was not made: it waits, with the reason, for a retry. */
static void park(struct group *g, struct col *col, struct mintd_str slug, struct mintd_str msg)
{
    struct mintd_db_collection *row = GROUP_ROW(g, MINTD_DB_COLLECTION, mintd_db_collection);
    if (row) *row = (struct mintd_db_collection){ .id = col->id, .from = col->state, .state = MINTD_COL_PARKED,
        .park_reason = arena_printf(group_mem(g), STR_FMT ": " STR_FMT, STR_ARG(slug), STR_ARG(msg)) };
    log_error("collection " STR_FMT " could not be made and waits: retry one of its batches to try again", STR_ARG(col->name));
}

static void end(struct pipe *p, struct chunk *c, struct group *proof, uint32_t to, struct mintd_str slug, struct mintd_str msg,
                group_fn *fn, void *arg)
{
    struct group *g = ending_group(p, c, to, fn, arg);
    struct mintd_db_chunk *row = chunk_change(g, c, to);
    if (!row) { out_of_memory(p, c); return; }
    struct arena *mem = group_mem(g);
    row->slug = arena_str(mem, slug);
    row->msg = arena_str(mem, msg);
    if (to == MINTD_ST_QUARANTINE) row->flags = 1;
    if (proof) group_absorb(g, proof);
    if (c->kind == MINTD_COLLECTION && to == MINTD_ST_FAILED) park(g, c->col, slug, msg);
    struct buf body = { 0 };
    buf_puts(&body, "{\"code\":");
    buf_json(&body, slug);
    buf_puts(&body, ",\"reason\":");
    buf_json(&body, msg);
    buf_puts(&body, "}");
    char kind[32] = "chunk.";
    strcat(kind, chunk_state_name(to));
    book_event(g, mem, arena_cstr(mem, str_of(kind)), c->row->venue, 0, buf_view(&body));
    buf_free(&body);
    rest(c);
    book_add(p, g, BOOK_URGENT);
}

void chunk_fail(struct pipe *p, struct chunk *c, struct mintd_str slug, struct mintd_str msg, struct group *proof)
{
    trail_log(p, MINTD_WARN, c->request, c->id, "chunk failed: " STR_FMT " (" STR_FMT ")", STR_ARG(msg), STR_ARG(slug));
    end(p, c, proof, MINTD_ST_FAILED, slug, msg, NULL, NULL);
}

void chunk_cancel_now(struct pipe *p, struct chunk *c, group_fn *fn, void *arg)
{
    end(p, c, NULL, MINTD_ST_CANCELLED, S("pipe.cancelled"), S("cancelled on request"), fn, arg);
}

void chunk_end_empty(struct pipe *p, struct chunk *c)
{
    end(p, c, NULL, MINTD_ST_CANCELLED, S("pipe.nothing_to_deliver"), S("no item of it names a receiver"), NULL, NULL);
}

void chunk_quarantine(struct pipe *p, struct chunk *c, const char *slug, struct mintd_str msg)
{
    trail_log(p, MINTD_ERROR, c->request, c->id, "chunk quarantined: " STR_FMT " (%s): needs an operator's verdict", STR_ARG(msg), slug);
    metric_add(p->m.quarantined, NONE, NONE, 1);
    end(p, c, NULL, MINTD_ST_QUARANTINE, str_of(slug), msg, NULL, NULL);
}

/* ---- splitting */
static uint32_t plan_parts(const struct chunk *c, const bool *alone, uint32_t fit, uint32_t *part_of, uint32_t *sizes)
{
    uint32_t parts = 0, open = UINT32_MAX;
    for (uint32_t i = 0; i < c->n_items; i++) {
        uint32_t part;
        if (alone && alone[i]) {
            part = parts++;
        } else {
            if (open == UINT32_MAX || sizes[open] >= fit) open = parts++;
            part = open;
        }
        part_of[i] = part;
        sizes[part]++;
    }
    return parts;
}

static void split_done(void *arg, const struct mintd_applied *a)
{
    struct ending e = *(struct ending *)arg;
    free(arg);
    if (!chunk_verdict(e.p, e.c, a, "split")) return;
    metric_add(e.p->m.chunks, S("moved"), NONE, 1);
    e.p->lanes.more = true;
    chunk_drop(e.p, e.c);
    lane_kick(e.p);
}

void chunk_split(struct pipe *p, struct chunk *c, struct group *proof, const bool *alone, uint32_t fit)
{
    uint32_t n = c->n_items;
    struct ending *e = calloc(1, sizeof *e);
    struct group *g = e ? group_new(n, split_done, e) : NULL;
    struct mintd_db_chunk *head = chunk_change(g, c, MINTD_ST_MOVED);
    uint32_t *part_of = g ? arena_array(group_mem(g), n, 2 * sizeof *part_of) : NULL;
    if (!head || !part_of) { out_of_memory(p, c); return; }
    *e = (struct ending){ p, c, MINTD_ST_MOVED, NULL, NULL };
    if (proof) group_absorb(g, proof);
    uint32_t parts = plan_parts(c, alone, fit ? fit : 1, part_of, part_of + n);
    struct mintd_db_chunk *rows = group_rows(g, MINTD_DB_CHUNK, sizeof *rows, parts);
    struct mintd_db_member *moves = group_rows(g, MINTD_DB_MEMBER, sizeof *moves, n);
    if (!rows || !moves) { out_of_memory(p, c); return; }
    for (uint32_t i = 0; i < parts; i++)
        rows[i] = (struct mintd_db_chunk){ .kind = c->kind, .origin = 1, .parent = c->id, .n = part_of[n + i],
            .state = c->kind == MINTD_MINT && c->state < MINTD_ST_UPLOADED ? MINTD_ST_ACCEPTED : MINTD_ST_UPLOADED };
    uint32_t *filled = part_of + n;                        /* count down to hand out positions from 0 */
    for (uint32_t i = 0; i < n; i++) {
        uint32_t part = part_of[i];
        moves[i] = (struct mintd_db_member){ .item = c->items[i].id, .from_chunk = c->id, .to_chunk = part + 1,
            .pos = rows[part].n - filled[part]--, .kind = c->kind };
    }
    trail_log(p, MINTD_INFO, c->request, c->id, "chunk split into %u", parts);
    rest(c);
    book_add(p, g, BOOK_URGENT);
}
