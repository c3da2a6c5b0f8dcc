/* Upload: the metadata of claimed chunks, up to the gate of the pipeline. Content-addressed, so every step may be repeated. What
 * the cache says is trusted for skipping a put, never for anything about the mint. Loop thread. */
#include <stdlib.h>

#include "base/crash.h"
#include "pipe/pipe_int.h"

enum { PUT_BYTES = 4 << 20 };
static const struct mintd_str NONE = { NULL, 0 };

/* One put or check: the blobs of some chunks, row by row. */
struct put {
    struct line *line;
    struct chunk *chunks[BATCH_MAX * 8]; uint32_t n;
    struct mintd_blob *blobs; uint32_t rows;
    struct arena *mem;                       /* of the next call */
    bool checking;
};

static uint32_t gate(const struct line *line) { return line->cf && line->cf->gate ? line->cf->gate : (uint32_t)MINTD_LOCAL; }

void upload_add(struct chunk *c)
{
    c->busy = false;
    list_add(&c->line->uploading, &c->link);
    upload_turn(c->line);
}

static void again(void *arg)
{
    struct chunk *c = arg;
    loop_timer_del(c->timer);
    c->timer = NULL;
    if (c->cancel) { chunk_cancel_now(c->line->pipe, c, NULL, NULL); return; }
    upload_add(c);
}

static void uploaded(void *arg, const struct mintd_applied *a)
{
    struct chunk *c = arg;
    struct pipe *p = c->line->pipe;
    if (!chunk_verdict(p, c, a, "uploaded")) return;
    c->state = MINTD_ST_UPLOADED;
    c->busy = false;
    metric_add(p->m.chunks, S("uploaded"), NONE, 1);
    chunk_mark(p, c, "upload");
    chunk_route(p, c);
}

static void reached(struct pipe *p, struct chunk *c, uint32_t level)
{
    struct group *g = group_new(c->n_items, uploaded, c);
    struct mintd_db_chunk *row = chunk_change(g, c, MINTD_ST_UPLOADED);
    if (!row) { chunk_later(p, c, 1000, again); return; }
    row->upload = arena_printf(group_mem(g), "{\"level\":%u}", level);
    book_add(p, g, BOOK_LAZY);
}

/* ---- answers */
static bool *bad_rows(struct put *put, const struct mintd_stored *rows, uint32_t from, uint32_t n, struct arena *mem, uint32_t *ret_bad)
{
    bool *bad = arena_array(mem, n, sizeof *bad);
    for (uint32_t i = 0; bad && i < n; i++) {
        const struct mintd_outcome *why = rows[from + i].why;
        bool wrong = !why && rows[from + i].uri.n && !str_eq(rows[from + i].uri, put->blobs[from + i].uri);
        bad[i] = wrong || (why && why->cls == MINTD_PERMANENT);
        *ret_bad += bad[i];
    }
    return bad;
}

/* The weakest of the chunk's rows decides; a row that can never work is set apart first. */
static void settle_chunk(struct put *put, struct chunk *c, const struct mintd_stored *rows, uint32_t from, struct arena *mem)
{
    struct pipe *p = c->line->pipe;
    const struct mintd_outcome *why = NULL;
    uint32_t level = MINTD_FETCHED, n_bad = 0;
    bool *bad = bad_rows(put, rows, from, c->n_items, mem, &n_bad);
    for (uint32_t i = 0; i < c->n_items; i++) {
        if (rows[from + i].why) why = rows[from + i].why;
        else if (rows[from + i].level < level) level = rows[from + i].level;
    }
    if (c->cancel) { chunk_cancel_now(p, c, NULL, NULL); return; }
    if (bad && n_bad && n_bad < c->n_items) { chunk_split(p, c, NULL, bad, c->n_items); return; }
    if (bad && n_bad) {
        chunk_fail(p, c, why ? why->slug : S("pipe.wrong_cid"), why ? why->msg : S("the uploader stored it under another address"), NULL);
        return;
    }
    if (why) {
        struct retry_verdict v = pipe_retry_in(p, c->line, put->checking ? STAGE_CHECK : STAGE_PUT, why, c->tries++);
        pipe_outcome(p, c->line, put->checking ? STAGE_CHECK : STAGE_PUT, c->id, why);
        chunk_later(p, c, v.delay_ms, again);
        return;
    }
    if (level >= gate(c->line)) { c->level = level; reached(p, c, level); return; }
    c->put_done = level != 0;                              /* level 0: certainly not there, put it again */
    struct retry_verdict v = pipe_retry_in(p, c->line, STAGE_CHECK, &(struct mintd_outcome){ .cls = MINTD_TRANSIENT }, c->tries++);
    chunk_later(p, c, v.delay_ms, again);
}

static void put_end(struct put *put)
{
    arena_free(put->mem);
    put->line->puts_out--;
    upload_turn(put->line);
    free(put);
}

static void forget(void *arg, struct plug_reply *r)
{
    (void)r;                                               /* a cache that fails costs a put next time */
    pipe_called(arg);
}

static void remember(struct put *put, const struct mintd_stored *rows)
{
    struct line *line = put->line;
    struct arena *mem = line->cache ? arena_new(0) : NULL;
    struct mintd_kv *kv = mem ? arena_array(mem, put->rows, sizeof *kv) : NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; kv && i < put->rows; i++) {
        if (rows[i].why || rows[i].level < gate(line)) continue;
        kv[n].key = arena_printf(mem, "uri:" STR_FMT, STR_ARG(put->blobs[i].uri));
        kv[n++].val = arena_printf(mem, "%u", rows[i].level);
    }
    if (n) pipe_call(line->pipe, line->cache, CACHE_PUT, 0, NULL, VEC(kv, n), mem, forget, line->pipe);
    else arena_free(mem);
}

static void learn(struct line *line, uint64_t us) { line->put_us = line->put_us ? (line->put_us * 7 + us) / 8 : us ? us : 1; }

static void answered(void *arg, struct plug_reply *r)
{
    struct put *put = arg;
    struct pipe *p = put->line->pipe;
    pipe_called(p);
    CRASH("upload.put.after");
    bool ok = r->out->cls == MINTD_OK && r->res->rows.n == put->rows;
    if (!ok) pipe_outcome(p, put->line, STAGE_PUT, 0, r->out);
    if (ok && p->state == PIPE_RUNNING) remember(put, r->res->rows.p);
    if (ok && !put->checking && put->rows) learn(put->line, r->took_us / put->rows);
    uint32_t from = 0;
    for (uint32_t i = 0; i < put->n; i++) {
        struct chunk *c = put->chunks[i];
        if (ok) {
            settle_chunk(put, c, r->res->rows.p, from, r->mem);
        } else if (r->out->cls == MINTD_PERMANENT && put->n == 1 && c->n_items == 1) {
            chunk_fail(p, c, r->out->slug, r->out->msg, NULL);
        } else {
            struct retry_verdict v = pipe_retry_in(p, put->line, STAGE_PUT, r->out->cls == MINTD_OK
                ? &(struct mintd_outcome){ .cls = MINTD_TRANSIENT } : r->out, c->tries++);
            chunk_later(p, c, v.delay_ms ? v.delay_ms : 1000, again);
        }
        from += c->n_items;
    }
    put_end(put);
}

static void send(struct put *put)
{
    struct line *line = put->line;
    for (uint32_t i = 0; i < put->n; i++)
        if (arena_hold(put->mem, put->chunks[i]->mem)) abort();        /* as in the book: a few bytes */
    CRASH("upload.put.before");
    pipe_call(line->pipe, line->uploader, put->checking ? UPLOADER_CHECK : UPLOADER_PUT, 0, NULL, VEC(put->blobs, put->rows),
              arena_ref(put->mem), answered, put);
}

/* ---- the cache in front: a chunk all of whose blobs are known to be there needs no put */
/* What cannot be read is a miss. */
static void count_cache(struct pipe *p, const struct mintd_kv *kv, uint32_t n, uint32_t asked)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) found += kv[i].found != 0;
    metric_add(p->m.hits, NONE, NONE, found);
    metric_add(p->m.misses, NONE, NONE, asked - found);
    double hits = metric_get(p->m.hits, NONE, NONE), all = hits + metric_get(p->m.misses, NONE, NONE);
    metric_set(p->m.hit_rate, NONE, NONE, all > 0 ? 100 * hits / all : 0);
}

static void cached(void *arg, struct plug_reply *r)
{
    struct put *put = arg;
    struct pipe *p = put->line->pipe;
    pipe_called(p);
    const struct mintd_kv *kv = r->res->rows.p;
    bool usable = r->out->cls == MINTD_OK && r->res->rows.n == put->rows;
    count_cache(p, kv, usable ? put->rows : 0, put->rows);
    uint32_t from = 0, kept = 0, rows = 0;
    for (uint32_t i = 0; i < put->n; i++) {
        struct chunk *c = put->chunks[i];
        bool all = usable;
        for (uint32_t k = 0; all && k < c->n_items; k++)
            all = kv[from + k].found && kv[from + k].val.n == 1 && (uint32_t)(kv[from + k].val.p[0] - '0') >= gate(put->line);
        if (all) {
            reached(p, c, gate(put->line));
        } else {
            memmove(&put->blobs[rows], &put->blobs[from], c->n_items * sizeof *put->blobs);
            rows += c->n_items;
            put->chunks[kept++] = c;
        }
        from += c->n_items;
    }
    put->n = kept;
    put->rows = rows;
    if (kept) send(put);
    else put_end(put);
}

static void ask_cache(struct put *put)
{
    struct line *line = put->line;
    struct arena *mem = arena_new(0);
    struct mintd_kv *kv = mem ? arena_array(mem, put->rows, sizeof *kv) : NULL;
    if (!kv) { arena_free(mem); send(put); return; }
    for (uint32_t i = 0; i < put->rows; i++) kv[i].key = arena_printf(mem, "uri:" STR_FMT, STR_ARG(put->blobs[i].uri));
    pipe_call(line->pipe, line->cache, CACHE_GET, 0, NULL, VEC(kv, put->rows), mem, cached, put);
}

/* ---- gathering */
static uint32_t fill(struct put *put, uint32_t blobs_max)
{
    struct line *line = put->line;
    size_t bytes = 0;
    uint32_t rows = 0;
    LIST_EACH(l, &line->uploading) {
        struct chunk *c = LIST_OF(l, struct chunk, link);
        if (put->n == ARRAY_LEN(put->chunks) || (put->n && (rows + c->n_items > blobs_max || c->put_done != put->checking))) break;
        size_t add = 0;
        for (uint32_t i = 0; i < c->n_items; i++) add += c->items[i].body.n + 256;
        if (put->n && bytes + add > PUT_BYTES) break;
        if (!put->n) put->checking = c->put_done;
        bytes += add;
        rows += c->n_items;
        list_del(l);
        c->busy = true;
        put->chunks[put->n++] = c;
    }
    return rows;
}

static bool lay_out(struct put *put, uint32_t rows)
{
    put->mem = arena_new(0);
    put->blobs = put->mem ? arena_array(put->mem, rows, sizeof *put->blobs) : NULL;
    if (!put->blobs) { arena_free(put->mem); return false; }
    for (uint32_t i = 0; i < put->n; i++) {
        struct chunk *c = put->chunks[i];
        for (uint32_t k = 0; k < c->n_items; k++)
            put->blobs[put->rows++] = (struct mintd_blob){ .name = c->items[k].ticket, .type = S("application/json"),
                .data = c->items[k].body, .uri = c->items[k].uri, .len = c->items[k].body.n, .fd = -1 };
    }
    return true;
}

static bool one_put(struct line *line)
{
    struct put *put = calloc(1, sizeof *put);
    if (!put) return false;
    put->line = line;
    uint32_t rows = fill(put, line->cf ? line->cf->upload_batch : 1);
    if (!put->n) { free(put); return false; }
    line->puts_out++;
    if (!lay_out(put, rows)) {
        for (uint32_t i = 0; i < put->n; i++) chunk_later(line->pipe, put->chunks[i], 1000, again);
        line->puts_out--;
        free(put);
        return false;
    }
    if (line->cache && !put->checking) ask_cache(put);
    else send(put);
    return true;
}

static void turn(void *arg)
{
    struct line *line = arg;
    line->upload_posted = false;
    while (line->pipe->state == PIPE_RUNNING && line->cf && line->puts_out < line->cf->upload_concurrency
           && !list_empty(&line->uploading))
        if (!one_put(line)) break;
}

/* Later in this turn of the loop, so that chunks that arrive together travel together. */
void upload_turn(struct line *line)
{
    if (line->upload_posted || list_empty(&line->uploading)) return;
    line->upload_posted = true;
    loop_post(line->pipe->loop, turn, line);
}
