/* Asking the chain about one page: its transactions by all witnesses, then its assets, in slices and at a bounded rate. What looks wrong or
 * was not answered is asked again: witnesses lag, lie and fail, and a report of damage that is none costs trust. Calls chain plugins. */
#include <stdlib.h>
#include "ops/reconcile_int.h"

enum { ROUND_MS = 500, PROVE = 1 };

static void next(struct run *run);

/* ---- calls, one at a time */

struct slice { struct run *run; uint32_t n, places[CALL_ROWS]; };

static void go_on(void *arg)
{
    struct run *run = arg;
    loop_timer_del(run->timer);
    run->timer = NULL;
    next(run);
}

static void pause_for(struct run *run, uint64_t ms)
{
    run->timer = loop_timer(run->loop, ms, go_on, run);
    if (!run->timer) run_fail(run, "out of memory");
}

static bool too_early(struct run *run)
{
    uint64_t now = loop_now_ms(run->loop);
    if (now >= run->next_call_ms) {
        run->next_call_ms = now + run->gap_ms;
        return false;
    }
    pause_for(run, run->next_call_ms - now);
    return true;
}

static uint32_t room(uint32_t max) { return max && max < CALL_ROWS ? max : CALL_ROWS; }

/* ---- transactions */

static void take_fates(struct run *run, const struct slice *s, const struct mintd_seen *rows, uint32_t n)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct rec_tx *t = &run->page.txs[s->places[i]];
        struct mintd_seen mine[64];
        uint32_t k = 0;
        for (uint32_t j = 0; j < n && k < ARRAY_LEN(mine); j++) if (rows[j].tx == i) mine[k++] = rows[j];
        t->fate = judge_tx(mine, k, t->col->chain.quorum, &t->time_ms);
    }
}

static void on_status(void *arg, struct plug_reply *r)
{
    struct slice *s = arg;
    struct run *run = s->run;
    if (run_alive(run)) {
        if (r->out->cls == MINTD_OK) take_fates(run, s, r->res->rows.p, r->res->rows.n);
        next(run);
    }
    free(s);
}

/* "1 2 3" as the row keeps it */
static struct mintd_vec split_assets(struct arena *mem, struct mintd_str text)
{
    uint32_t n = text.n ? 1 : 0, k = 0;
    for (size_t i = 0; i < text.n; i++) n += text.p[i] == ' ';
    struct mintd_str *list = arena_array(mem, n + 1, sizeof *list);
    for (size_t i = 0, from = 0; list && n && i <= text.n; i++) {
        if (i < text.n && text.p[i] != ' ') continue;
        list[k++] = arena_str(mem, (struct mintd_str){ text.p + from, i - from });
        from = i + 1;
    }
    return VEC(list, list ? k : 0);
}

static void put_tx(struct arena *mem, struct mintd_tx *to, const struct rec_tx *t)
{
    *to = (struct mintd_tx){ .id = arena_str(mem, t->a->tx_id), .bound = t->a->bound, .kind = t->chunk->kind, .n_items = t->chunk->n,
        .collection = arena_str(mem, t->col->chain_ref), .assets = split_assets(mem, t->a->assets) };
}

/* Room for the rows of one call, and where their answers belong. NULL: no memory, the run has failed. */
static void *rows_new(struct run *run, size_t row, struct arena **ret_mem, struct slice **ret_slice)
{
    struct slice *s = calloc(1, sizeof *s);
    struct arena *mem = s ? arena_new(0) : NULL;
    void *rows = mem ? arena_array(mem, CALL_ROWS, row) : NULL;
    if (!rows) {
        arena_free(mem);
        free(s);
        run_fail(run, "out of memory");
        return NULL;
    }
    s->run = run;
    *ret_mem = mem;
    *ret_slice = s;
    return rows;
}

static bool ask_txs(struct run *run)
{
    struct rec_page *p = &run->page;
    while (p->at < p->n_txs && !p->txs[p->at].ask) p->at++;
    if (p->at == p->n_txs) return false;
    if (too_early(run)) return true;
    const struct pipe_chain *chain = &p->txs[p->at].col->chain;
    struct arena *mem;
    struct slice *s;
    struct mintd_tx *rows = rows_new(run, sizeof *rows, &mem, &s);
    if (!rows) return true;
    for (uint32_t i = p->at; i < p->n_txs && s->n < room(chain->status_max); i++) {
        if (!p->txs[i].ask || p->txs[i].col->chain.inst != chain->inst) continue;
        p->txs[i].ask = false;
        put_tx(mem, &rows[s->n], &p->txs[i]);
        s->places[s->n++] = i;
    }
    run->calls++;
    plug_call_rows(chain->inst, CHAIN_STATUS, PROVE, NULL, VEC(rows, s->n), mem, on_status, s);
    return true;
}

/* ---- assets */

static void take_truths(struct run *run, const struct slice *s, const struct mintd_truth *rows, uint32_t n)
{
    struct arena *mem = run->page.mem;
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].row >= s->n || rows[i].why || rows[i].state == MINTD_NO_ANSWER) continue;
        struct rec_item *it = &run->page.items[s->places[rows[i].row]];
        it->truth = rows[i];
        it->truth.owner = arena_str(mem, rows[i].owner);
        it->truth.collection = arena_str(mem, rows[i].collection);
        it->truth.uri = arena_str(mem, rows[i].uri);
        it->truth.name = arena_str(mem, rows[i].name);
        it->answered = true;
    }
}

static void on_truths(void *arg, struct plug_reply *r)
{
    struct slice *s = arg;
    struct run *run = s->run;
    if (run_alive(run)) {
        if (r->out->cls == MINTD_OK) take_truths(run, s, r->res->rows.p, r->res->rows.n);
        next(run);
    }
    free(s);
}

static bool ask_assets(struct run *run)
{
    struct rec_page *p = &run->page;
    while (p->at < p->n_items && !p->items[p->at].ask) p->at++;
    if (p->at == p->n_items) return false;
    if (too_early(run)) return true;
    const struct pipe_chain *chain = &p->items[p->at].col->chain;
    struct arena *mem;
    struct slice *s;
    struct mintd_asset *rows = rows_new(run, sizeof *rows, &mem, &s);
    if (!rows) return true;
    for (uint32_t i = p->at; i < p->n_items && s->n < room(chain->inspect_max); i++) {
        struct rec_item *it = &p->items[i];
        if (!it->ask || it->col->chain.inst != chain->inst) continue;
        it->ask = false;
        rows[s->n] = (struct mintd_asset){ arena_str(mem, it->col->chain_ref), arena_str(mem, it->it->asset) };
        s->places[s->n++] = i;
    }
    run->calls++;
    plug_call_rows(chain->inst, CHAIN_INSPECT, 0, NULL, VEC(rows, s->n), mem, on_truths, s);
    return true;
}

/* ---- rounds */

static bool judge_all(struct run *run)
{
    struct rec_page *p = &run->page;
    bool doubt = false;
    for (uint32_t i = 0; i < p->n_items; i++) {
        struct rec_item *it = &p->items[i];
        if (p->round && it->class < CLASS_NOT_FOUND) continue;             /* confirmed or pending it stays */
        judge_item(run, it, loop_wall_us(run->loop) / 1000);
        if (it->class < CLASS_NOT_FOUND || !it->col || !it->col->known) continue;
        doubt = true;
        it->ask = it->it->state == MINTD_ST_DONE && it->it->asset.n;
        if (it->ask) it->answered = false;
        for (uint32_t k = 0; k < p->n_txs; k++)
            if (p->txs[k].col && p->txs[k].col->known && item_concerned(it, &p->txs[k])) p->txs[k].ask = true;
    }
    return doubt;
}

static void next(struct run *run)
{
    struct rec_page *p = &run->page;
    if (!p->assets && ask_txs(run)) return;
    if (!p->assets) {
        p->assets = true;
        p->at = 0;
    }
    if (ask_assets(run)) return;
    bool doubt = judge_all(run);
    p->assets = false;
    p->at = 0;
    if (!doubt || ++p->round == ROUNDS) run_judged(run);
    else pause_for(run, ROUND_MS * p->round);
}

void ask_chain(struct run *run)
{
    struct rec_page *p = &run->page;
    for (uint32_t i = 0; i < p->n_txs; i++) p->txs[i].ask = p->txs[i].col && p->txs[i].col->known;
    for (uint32_t i = 0; i < p->n_items; i++)
        p->items[i].ask = p->items[i].it->state == MINTD_ST_DONE && p->items[i].it->asset.n && p->items[i].col && p->items[i].col->known;
    next(run);
}
