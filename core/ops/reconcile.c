/* Runs: their life and their walk through the store. See reconcile.h. Owns struct run. Calls the store plugin, pipe/, base/. */
#include <errno.h>
#include <stdlib.h>
#include "base/log.h"
#include "ops/reconcile_int.h"

enum { TRIES = 6, RETRY_MS = 200, LEVELS = LINE_MAX - 1 };
static const struct mintd_str NONE = { NULL, 0 };

/* ---- life of a run */

static void page_drop(struct run *run)
{
    arena_free(run->page.mem);
    run->page = (struct rec_page){ 0 };
}

static void run_free(struct run *run)
{
    loop_timer_del(run->timer);
    page_drop(run);
    arena_free(run->requests_mem);
    arena_free(run->cursor_mem);
    arena_free(run->cols_mem);
    buf_free(&run->list);
    buf_free(&run->unknown);
    free(run->name);
    free(run);
}

static void forget(struct run *run)
{
    if (!run->r) return;
    list_del(&run->link);
    run->r->n_runs--;
    run->r = NULL;
}

void run_end(struct run *run, const struct reconcile_result *result)
{
    reconcile_fn *fn = run->fn;
    void *arg = run->arg;
    forget(run);
    if (fn) fn(arg, result);
    run_free(run);
}

void run_fail(struct run *run, const char *why)
{
    log_error("reconciliation of venue %s ended early: %s", run->name, why);
    if (run->r) metric_add(run->r->m.runs, S("failed"), S(""), 1);
    run_end(run, &(struct reconcile_result){ .end = RECONCILE_FAILED, .why = why });
}

bool run_alive(struct run *run)
{
    if (run->r) return true;
    run_free(run);
    return false;
}

/* ---- the store: a page that cannot be read now is tried again, then the run fails */

static void send(struct run *run);

static void send_again(void *arg)
{
    struct run *run = arg;
    loop_timer_del(run->timer);
    run->timer = NULL;
    send(run);
}

static void on_rows(void *arg, struct plug_reply *r)
{
    struct run *run = arg;
    if (!run_alive(run)) return;
    if (r->out->cls == MINTD_OK) {
        run->tries = 0;
        run->query_fn(run, r);
    } else if (++run->tries < TRIES && r->out->cls != MINTD_PERMANENT) {
        run->timer = loop_timer(run->loop, (uint64_t)RETRY_MS << run->tries, send_again, run);
    } else {
        run_fail(run, "the store cannot be read");
    }
}

static void send(struct run *run)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_copy(mem, &run->query, sizeof run->query) : NULL;
    if (q) {
        q->cursor = arena_str(mem, run->query.cursor);
        if (q->ids.n) q->ids.p = arena_copy(mem, run->query.ids.p, q->ids.n * sizeof(uint64_t));
    }
    if (!q || (q->ids.n && !q->ids.p)) {
        arena_free(mem);
        run_fail(run, "out of memory");
        return;
    }
    plug_call_rows(pipe_store(run->pipe), STORE_QUERY, run->query_flags, q, (struct mintd_vec){ 0 }, mem, on_rows, run);
}

/* ids and cursor live until the answer: in the page, or in the run. */
static void query(struct run *run, const struct mintd_query *q, uint32_t flags, plug_fn *fn)
{
    run->query = *q;
    run->query.size = sizeof *q;
    run->query_flags = flags;
    run->query_fn = fn;
    send(run);
}

/* ---- the walk, innermost first: collections, attempts, chunks and their ancestors, items, requests */

static void next_items(struct run *run);
static void next_request(struct run *run);

static struct rec_col *col_of(struct run *run, uint64_t id)
{
    for (uint32_t i = 0; i < run->n_cols; i++) if (run->cols[i].id == id) return &run->cols[i];
    return NULL;
}

static const struct mintd_db_chunk *chunk_of(const struct run *run, uint64_t id)
{
    for (uint32_t i = 0; i < run->page.n_chunks; i++) if (run->page.chunks[i]->id == id) return run->page.chunks[i];
    return NULL;
}

static void resolve(struct run *run)
{
    struct rec_page *p = &run->page;
    for (uint32_t i = 0; i < p->n_items; i++) {
        struct rec_item *it = &p->items[i];
        it->chunk = chunk_of(run, it->it->chunk);
        it->col = it->chunk ? col_of(run, it->chunk->collection) : NULL;
        for (const struct mintd_db_chunk *c = it->chunk; c && it->n_line < LINE_MAX; c = c->parent ? chunk_of(run, c->parent) : NULL)
            it->line[it->n_line++] = c->id;
    }
    for (uint32_t i = 0; i < p->n_txs; i++) {
        p->txs[i].chunk = chunk_of(run, p->txs[i].a->chunk);
        p->txs[i].col = p->txs[i].chunk ? col_of(run, p->txs[i].chunk->collection) : NULL;
    }
    ask_chain(run);
}

static void on_cols(void *arg, struct plug_reply *r)
{
    struct run *run = arg;
    const struct mintd_db_collection *row = r->res->rows.p;
    for (uint32_t i = 0; i < r->res->rows.n && run->n_cols < COLS_MAX; i++) {
        struct rec_col *c = &run->cols[run->n_cols++];
        *c = (struct rec_col){ .id = row[i].id, .chain_ref = arena_str(run->cols_mem, row[i].chain_ref) };
        c->known = pipe_chain(run->pipe, row[i].pipeline, &c->chain);
    }
    resolve(run);
}

/* What a reload or a late chain changed is seen by the next page: only what can be asked is remembered from page to page. */
static void load_cols(struct run *run)
{
    struct rec_page *p = &run->page;
    uint64_t *ids = arena_array(p->mem, p->n_chunks + 1, sizeof *ids);
    uint32_t n = 0;
    if (!ids) return run_fail(run, "out of memory");
    if (run->n_cols > COLS_MAX / 2 || !run->cols_mem) {
        arena_free(run->cols_mem);
        run->cols_mem = arena_new(0);
        run->n_cols = 0;
        if (!run->cols_mem) return run_fail(run, "out of memory");
    }
    for (uint32_t i = 0; i < p->n_chunks && n < COLS_MAX - run->n_cols; i++) {
        bool have = col_of(run, p->chunks[i]->collection) != NULL;
        for (uint32_t k = 0; !have && k < n; k++) have = ids[k] == p->chunks[i]->collection;
        if (!have) ids[n++] = p->chunks[i]->collection;
    }
    if (n) query(run, &(struct mintd_query){ .kind = MINTD_DB_COLLECTION, .max = n, .ids = VEC(ids, n) }, 0, on_cols);
    else resolve(run);
}

static bool add_tx(struct run *run, const struct mintd_db_attempt *a)
{
    struct rec_page *p = &run->page;
    if (p->n_txs == p->cap_txs) {
        uint32_t cap = p->cap_txs ? p->cap_txs * 2 : 64;
        struct rec_tx *txs = arena_array(p->mem, cap, sizeof *txs);
        if (!txs) return false;
        if (p->n_txs) memcpy(txs, p->txs, p->n_txs * sizeof *txs);
        p->txs = txs;
        p->cap_txs = cap;
    }
    p->txs[p->n_txs++] = (struct rec_tx){ .a = a };
    return true;
}

static void on_attempts(void *arg, struct plug_reply *r)
{
    struct run *run = arg;
    const struct mintd_db_attempt *row = r->res->rows.p;
    bool ok = !arena_hold(run->page.mem, r->mem);
    for (uint32_t i = 0; ok && i < r->res->rows.n; i++) ok = add_tx(run, &row[i]);
    if (!ok) return run_fail(run, "out of memory");
    if (!r->res->next.n) return load_cols(run);
    struct mintd_query q = run->query;
    q.cursor = r->res->next;
    query(run, &q, 1, on_attempts);
}

/* Only what has ended is compared with the chain, so only its attempts matter; an ancestor has ended by being one. */
static void load_attempts(struct run *run)
{
    struct rec_page *p = &run->page;
    uint64_t *ids = arena_array(p->mem, p->n_chunks + 1, sizeof *ids);
    uint32_t n = 0;
    if (!ids) return run_fail(run, "out of memory");
    for (uint32_t i = 0; i < p->n_chunks; i++)
        if (p->chunks[i]->attempt_no && p->chunks[i]->state >= MINTD_ST_DONE) ids[n++] = p->chunks[i]->id;
    if (n) query(run, &(struct mintd_query){ .kind = MINTD_DB_ATTEMPT, .ids = VEC(ids, n) }, 1, on_attempts);
    else load_cols(run);
}

static void load_chunks(struct run *run, const uint64_t *ids, uint32_t n);

static bool add_chunk(struct run *run, const struct mintd_db_chunk *c)
{
    struct rec_page *p = &run->page;
    if (p->n_chunks == p->cap_chunks) {
        uint32_t cap = p->cap_chunks ? p->cap_chunks * 2 : 64;
        const struct mintd_db_chunk **more = arena_array(p->mem, cap, sizeof *more);
        if (!more) return false;
        if (p->n_chunks) memcpy(more, p->chunks, p->n_chunks * sizeof *more);
        p->chunks = more;
        p->cap_chunks = cap;
    }
    p->chunks[p->n_chunks++] = c;
    return true;
}

/* Chunks come of others by splits and retries; a transaction of those may have landed too. */
static void load_ancestors(struct run *run)
{
    struct rec_page *p = &run->page;
    uint64_t *ids = arena_array(p->mem, p->n_chunks + 1, sizeof *ids);
    uint32_t n = 0, from = p->n_level;
    if (!ids) return run_fail(run, "out of memory");
    for (uint32_t i = from; i < p->n_chunks; i++) {
        uint64_t parent = p->chunks[i]->parent;
        bool have = !parent || chunk_of(run, parent);
        for (uint32_t k = 0; !have && k < n; k++) have = ids[k] == parent;
        if (!have) ids[n++] = parent;
    }
    p->n_level = p->n_chunks;
    if (n && p->level++ < LEVELS) load_chunks(run, ids, n);
    else load_attempts(run);
}

static void on_chunks(void *arg, struct plug_reply *r)
{
    struct run *run = arg;
    const struct mintd_db_chunk *row = r->res->rows.p;
    bool ok = !arena_hold(run->page.mem, r->mem);
    for (uint32_t i = 0; ok && i < r->res->rows.n; i++) ok = add_chunk(run, &row[i]);
    if (!ok) return run_fail(run, "out of memory");
    if (!r->res->next.n) return load_ancestors(run);
    struct mintd_query q = run->query;
    q.cursor = r->res->next;
    query(run, &q, 0, on_chunks);
}

static void load_chunks(struct run *run, const uint64_t *ids, uint32_t n)
{
    query(run, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .ids = VEC(ids, n) }, 0, on_chunks);
}

static void on_items(void *arg, struct plug_reply *r)
{
    struct run *run = arg;
    struct rec_page *p = &run->page;
    const struct mintd_db_item *row = r->res->rows.p;
    uint64_t *ids = arena_array(p->mem, r->res->rows.n + 1, sizeof *ids);
    uint32_t n = 0;
    p->items = arena_array(p->mem, r->res->rows.n + 1, sizeof *p->items);
    arena_free(run->cursor_mem);
    run->cursor_mem = arena_new(256);
    if (!ids || !p->items || !run->cursor_mem || arena_hold(p->mem, r->mem)) return run_fail(run, "out of memory");
    run->items_next = arena_str(run->cursor_mem, r->res->next);
    for (uint32_t i = 0; i < r->res->rows.n; i++) {
        p->items[p->n_items++].it = &row[i];
        if (!n || ids[n - 1] != row[i].chunk) ids[n++] = row[i].chunk;
    }
    if (n) load_chunks(run, ids, n);
    else run_judged(run);
}

static void next_items(struct run *run)
{
    page_drop(run);
    run->page.mem = arena_new(64 << 10);
    if (!run->page.mem) return run_fail(run, "out of memory");
    query(run, &(struct mintd_query){ .kind = MINTD_DB_ITEM, .request = run->requests[run->at_request].id, .max = PAGE_ITEMS, .cursor = run->items_next },
          0, on_items);
}

void run_judged(struct run *run)
{
    for (uint32_t i = 0; i < run->page.n_items; i++) report_item(run, &run->page.items[i]);
    if (run->items_next.n) return next_items(run);
    run->at_request++;
    next_request(run);
}

static void on_requests(void *arg, struct plug_reply *r)
{
    struct run *run = arg;
    arena_free(run->requests_mem);
    run->requests_mem = r->mem;
    r->mem = NULL;
    run->requests = r->res->rows.p;
    run->n_requests = r->res->rows.n;
    run->requests_next = r->res->next;
    run->at_request = 0;
    next_request(run);
}

static void load_requests(struct run *run)
{
    query(run, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .venue = run->venue, .max = PAGE_REQUESTS, .cursor = run->requests_next }, 0, on_requests);
}

static void next_request(struct run *run)
{
    while (run->at_request < run->n_requests && run->requests[run->at_request].state != MINTD_RQ_SEALED) run->at_request++;
    run->items_next = NONE;
    if (run->at_request < run->n_requests) next_items(run);
    else if (run->requests_next.n) load_requests(run);
    else {
        page_drop(run);
        report_write(run);
    }
}

/* ---- from outside */

static void begin(void *arg)
{
    struct run *run = arg;
    loop_timer_del(run->timer);
    run->timer = NULL;
    load_requests(run);
}

static struct run *run_new(struct reconciler *r, uint64_t venue, struct mintd_str name)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run) return NULL;
    uint32_t rate = r->conf->reconcile_rate ? r->conf->reconcile_rate : 1;
    *run = (struct run){ .r = r, .loop = r->loop, .pipe = r->pipe, .venue = venue, .name = strndup(name.p, name.n),
        .tolerance_ms = r->conf->reconcile_tolerance_ms, .settle_ms = r->conf->reconcile_settle_ms, .gap_ms = 1000 / rate,
        .begun_us = loop_now_us(r->loop), .begun_ms = loop_wall_us(r->loop) / 1000, .timer = NULL };
    run->timer = loop_timer(r->loop, 0, begin, run);
    if (run->name && run->timer) return run;
    run_free(run);
    return NULL;
}

int reconcile_start(struct reconciler *r, uint64_t venue, struct mintd_str name, reconcile_fn *fn, void *arg)
{
    LIST_EACH(l, &r->runs) if (LIST_OF(l, struct run, link)->venue == venue) return -EALREADY;
    if (r->n_runs == RUNS_MAX) return -EBUSY;
    struct run *run = run_new(r, venue, name);
    if (!run) return -ENOMEM;
    run->fn = fn;
    run->arg = arg;
    list_add(&r->runs, &run->link);
    r->n_runs++;
    log_info("reconciliation of venue %s begins", run->name);
    return 0;
}

void reconcile_leave(struct reconciler *r, uint64_t venue, void *arg)
{
    LIST_EACH(l, &r->runs) {
        struct run *run = LIST_OF(l, struct run, link);
        if (run->venue != venue || run->arg != arg) continue;
        run->fn = NULL;
        run->arg = NULL;
    }
}

struct reconciler *reconciler_new(struct loop *loop, struct pipe *pipe, struct conf *conf)
{
    struct reconciler *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    *r = (struct reconciler){ .loop = loop, .pipe = pipe, .conf = conf_ref(conf) };
    list_init(&r->runs);
    report_metrics(r);
    return r;
}

void reconciler_conf(struct reconciler *r, struct conf *conf)
{
    conf_unref(r->conf);
    r->conf = conf_ref(conf);
}

/* A run that waits for an answer is freed by it; one that waits for its timer, at once. */
void reconciler_stop(struct reconciler *r)
{
    LIST_EACH(l, &r->runs) {
        struct run *run = LIST_OF(l, struct run, link);
        reconcile_fn *fn = run->fn;
        log_info("reconciliation of venue %s is given up: the daemon stops", run->name);
        forget(run);
        run->fn = NULL;
        if (fn) fn(run->arg, &(struct reconcile_result){ .end = RECONCILE_STOPPED });
        if (run->timer) run_free(run);
    }
}

struct reconciler *reconciler_free(struct reconciler *r)
{
    if (!r) return NULL;
    reconciler_stop(r);
    conf_unref(r->conf);
    free(r);
    return NULL;
}
