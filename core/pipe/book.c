/* The book: the one step writer of a slot. Gathers groups and flushes them as one commit: at commit.items worth of items, after
 * commit.delay, or at once when something urgent waits. One commit is out at a time; what fails without a verdict is sent again
 * as it is, because nothing else writes these rows. Calls plug/ and machine/. Loop thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "pipe/pipe_int.h"

enum { CHANGES_MAX = 8, FLUSH_BYTES = 4 << 20, GROUPS_MAX = 4096, FAULT_LOG_MS = 10000 };

struct group {
    struct list link;
    struct arena *mem;
    struct mintd_change ch[CHANGES_MAX]; uint32_t n;
    uint32_t weight, how;
    group_fn *fn; void *arg;
};

struct group *group_new(uint32_t weight, group_fn *fn, void *arg)
{
    struct group *g = calloc(1, sizeof *g);
    if (!g || !(g->mem = arena_new(0))) { free(g); return NULL; }
    g->weight = weight;
    g->fn = fn;
    g->arg = arg;
    return g;
}

struct arena *group_mem(struct group *g) { return g->mem; }

static void group_end(struct group *g, const struct mintd_applied *a)
{
    if (g->fn) g->fn(g->arg, a);
    arena_free(g->mem);
    free(g);
}

void *group_rows(struct group *g, uint32_t kind, size_t size, uint32_t n)
{
    void *rows = g->n < CHANGES_MAX ? arena_array(g->mem, n, size) : NULL;
    if (rows) g->ch[g->n++] = (struct mintd_change){ kind, 0, { rows, n, (uint32_t)size } };
    return rows;
}

void group_absorb(struct group *g, struct group *from)
{
    for (uint32_t i = 0; i < from->n && g->n < CHANGES_MAX; i++) g->ch[g->n++] = from->ch[i];
    if (arena_hold(g->mem, from->mem)) abort();            /* a few bytes for a proof in hand: as in lay_out */
    arena_free(from->mem);
    free(from);
}

void book_event(struct group *g, struct arena *mem, const char *kind, uint64_t venue, uint64_t request, struct mintd_str body)
{
    struct mintd_db_event *e = GROUP_ROW(g, MINTD_DB_EVENT, mintd_db_event);
    if (!e) return;
    *e = (struct mintd_db_event){ .venue = venue, .kind = str_of(kind), .body = arena_str(mem, body),
        .subject = request, .subject_kind = g->ch[0].kind };
}

static void flush(struct pipe *p);

static void tick(void *arg)
{
    struct pipe *p = arg;
    loop_timer_del(p->book.timer);
    p->book.timer = NULL;
    flush(p);
}

/* Urgent steps still wait for the end of this turn: what became ready together is written together. */
static void arm(struct pipe *p)
{
    struct book *b = &p->book;
    if (b->out || !b->n_waiting || p->state == PIPE_DEAD) return;
    uint64_t ms = b->urgent || b->items >= p->conf->commit_items || b->bytes >= FLUSH_BYTES ? 0 : (uint64_t)p->conf->commit_ms;
    if (b->timer && ms) return;
    loop_timer_del(b->timer);
    b->timer = loop_timer(p->loop, ms, tick, p);
}

void book_add(struct pipe *p, struct group *g, uint32_t how)
{
    struct book *b = &p->book;
    if (p->state == PIPE_DEAD) { group_end(g, NULL); return; }
    g->how = how;
    list_add(&b->waiting, &g->link);
    b->n_waiting++;
    b->items += g->weight;
    b->bytes += arena_used(g->mem);
    if (how != BOOK_LAZY) b->urgent = true;
    arm(p);
}

int pipe_write(struct pipe *p, const struct pipe_row *w, struct arena *mem, pipe_written_fn *fn, void *arg)
{
    struct group *g = group_new(0, fn, arg);
    void *row = g ? group_rows(g, w->kind, w->size, 1) : NULL;
    if (!row || arena_hold(g->mem, mem)) {
        if (g) arena_free(g->mem);
        free(g);
        arena_free(mem);
        return -ENOMEM;
    }
    arena_free(mem);
    memcpy(row, w->row, w->size);
    if (w->event) book_event(g, g->mem, w->event, w->venue, 0, w->body.n ? w->body : S("{}"));
    if (w->also) book_event(g, g->mem, w->also, w->venue, 0, w->also_body.n ? w->also_body : S("{}"));
    book_add(p, g, BOOK_URGENT | BOOK_GIVE_UP);
    return 0;
}

static void give_up(struct pipe *p)
{
    LIST_EACH(l, &p->book.flying) {
        struct group *g = LIST_OF(l, struct group, link);
        if (!(g->how & BOOK_GIVE_UP)) continue;
        list_del(l);
        group_end(g, NULL);
    }
}

/* Back in front of the queue, in order. */
static void take_back(struct pipe *p)
{
    struct book *b = &p->book;
    while (!list_empty(&b->flying)) {
        struct list *l = b->flying.prev;
        list_del(l);
        struct group *g = LIST_OF(l, struct group, link);
        b->waiting.next->prev = l; l->next = b->waiting.next; l->prev = &b->waiting; b->waiting.next = l;
        b->n_waiting++;
        b->items += g->weight;
        b->bytes += arena_used(g->mem);
        if (g->how != BOOK_LAZY) b->urgent = true;
    }
}

/* Whoever wants to write meets the same fault: it is logged when it begins and now and then, and once when it is over. */
static void note_fault(struct pipe *p, const struct mintd_outcome *o)
{
    struct book *b = &p->book;
    uint64_t now = loop_now_ms(p->loop);
    if (!str_eq(o->slug, str_of(b->fault)) || now - b->said_ms >= FAULT_LOG_MS) {
        pipe_outcome(p, NULL, STAGE_COMMIT, 0, o);
        b->said_ms = now;
    }
    snprintf(b->fault, sizeof b->fault, STR_FMT, STR_ARG(o->slug));
}

static void note_recovery(struct book *b)
{
    if (b->fault[0]) log_info("the store takes writes again");
    b->fault[0] = 0;
    b->tries = 0;
}

static void failed(struct pipe *p, const struct mintd_outcome *o)
{
    struct book *b = &p->book;
    struct retry_verdict v = pipe_retry_in(p, NULL, STAGE_COMMIT, o, b->tries++);
    bool over = v.act == RETRY_FENCED || v.act == RETRY_FAIL;
    if (!over) note_fault(p, o);
    if (o->cls == MINTD_TRANSIENT || o->cls == MINTD_THROTTLED || o->cls == MINTD_CANCELED || o->cls == MINTD_PERMANENT)
        give_up(p);
    take_back(p);
    if (over) {
        pipe_fatal(p, "%s: " STR_FMT ": " STR_FMT " (%s)",
                   v.act == RETRY_FENCED ? "another instance took this slot" : "the store refuses every write",
                   STR_ARG(o->slug), STR_ARG(o->msg), plug_help(p->store, o->slug));
        return;
    }
    loop_timer_del(b->timer);
    b->timer = loop_timer(p->loop, v.delay_ms, tick, p);
}

static void answer(struct pipe *p, const struct mintd_applied *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct group *g = LIST_OF(list_pop(&p->book.flying), struct group, link);
        group_end(g, &rows[i]);
    }
}

static void committed(void *arg, struct plug_reply *r)
{
    struct pipe *p = arg;
    struct book *b = &p->book;
    pipe_called(p);
    p->written++;
    CRASH("book.commit.after");
    b->out = false;
    uint32_t n = 0;
    LIST_EACH(l, &b->flying) n++;
    if (p->state == PIPE_DEAD) { take_back(p); return; }
    if (r->out->cls == MINTD_OK && r->res->rows.n != n) {
        log_error("the store answered %u verdicts to %u groups", r->res->rows.n, n);
        failed(p, &(struct mintd_outcome){ .cls = MINTD_AMBIGUOUS, .slug = S("store.verdicts") });
    } else if (r->out->cls == MINTD_OK) {
        note_recovery(b);
        metric_add(p->m.groups, S(""), S(""), n);
        answer(p, r->res->rows.p, n);
        if (p->commit_fn) p->commit_fn(p->commit_arg);
    } else {
        failed(p, r->out);
    }
    arm(p);
}

static struct mintd_vec lay_out(struct pipe *p, struct arena *mem)
{
    struct book *b = &p->book;
    uint32_t n = 0, groups = 0;
    size_t bytes = 0;
    LIST_EACH(l, &b->waiting) {
        struct group *g = LIST_OF(l, struct group, link);
        if (groups && (bytes + arena_used(g->mem) > FLUSH_BYTES || groups == GROUPS_MAX)) break;
        bytes += arena_used(g->mem);
        groups++;
        n += g->n;
    }
    struct mintd_change *ch = arena_array(mem, n, sizeof *ch);
    if (!ch) return (struct mintd_vec){ 0 };
    uint32_t k = 0;
    for (uint32_t i = 0; i < groups; i++) {
        struct group *g = LIST_OF(list_pop(&b->waiting), struct group, link);
        for (uint32_t c = 0; c < g->n; c++) { ch[k] = g->ch[c]; ch[k++].group = i + 1; }
        if (arena_hold(mem, g->mem)) abort();              /* a few bytes at the moment of a commit: nothing sane is left to do */
        list_add(&b->flying, &g->link);
        b->n_waiting--;
        b->items -= g->weight;
        b->bytes -= arena_used(g->mem);
    }
    return VEC(ch, n);
}

static void flush(struct pipe *p)
{
    struct book *b = &p->book;
    if (b->out || !b->n_waiting || p->state == PIPE_DEAD) return;
    struct arena *mem = arena_new(0);
    struct mintd_commit *c = mem ? arena_alloc(mem, sizeof *c) : NULL;
    struct mintd_vec rows = c ? lay_out(p, mem) : (struct mintd_vec){ 0 };
    if (!rows.n) {
        arena_free(mem);
        b->timer = loop_timer(p->loop, 100, tick, p);
        return;
    }
    *c = (struct mintd_commit){ .size = sizeof *c, .flags = 1, .slot = p->slot, .epoch = p->epoch };
    b->out = true;
    b->urgent = false;
    LIST_EACH(l, &b->waiting) if (LIST_OF(l, struct group, link)->how != BOOK_LAZY) b->urgent = true;
    metric_add(p->m.commits, S(""), S(""), 1);
    CRASH("book.commit.before");
    pipe_call(p, p->store, STORE_COMMIT, 1, c, rows, mem, committed, p);
}

bool book_idle(const struct pipe *p) { return !p->book.out && !p->book.n_waiting; }

void book_free(struct pipe *p)
{
    struct list *l;
    loop_timer_del(p->book.timer);
    p->book.timer = NULL;
    while ((l = list_pop(&p->book.flying)) || (l = list_pop(&p->book.waiting)))
        group_end(LIST_OF(l, struct group, link), NULL);
}
