/* Several plugins asked at once, for at most a while: what has not answered by then is shown as such and hangs nobody. Loop thread. */
#include "api/admin.h"

struct asking { struct call *c; gather_fn *take; uint32_t i, round; };

static void finish(struct call *c)
{
    struct gather *g = c->state;
    loop_timer_del(g->timer);
    g->timer = NULL;
    g->over = true;
    if (call_open(c)) g->fn(c);
}

static void on_time(void *arg) { finish(arg); }

void gather_begin(struct call *c, uint64_t ms, void (*fn)(struct call *))
{
    struct gather *g = c->state;
    *g = (struct gather){ .waiting = 1, .fn = fn, .round = g->round + 1 };
    g->timer = loop_timer(c->api->loop, ms, on_time, c);
}

void gather_end(struct call *c)
{
    struct gather *g = c->state;
    if (!--g->waiting && !g->over) finish(c);
}

/* An answer that comes too late belongs to a round that is over. */
static void on_answer(void *arg, struct plug_reply *r)
{
    struct asking *a = arg;
    struct call *c = a->c;
    struct gather *g = c->state;
    if (call_open(c) && !g->over && g->round == a->round) {
        a->take(c, a->i, r);
        gather_end(c);
    }
    call_unref(c);
}

void gather_ask(struct call *c, struct plug_inst *inst, uint32_t op, uint32_t flags, const void *op_arg, struct mintd_vec rows,
                struct arena *mem, gather_fn *take, uint32_t i)
{
    struct gather *g = c->state;
    struct asking *a = mem ? arena_alloc(c->mem, sizeof *a) : NULL;
    if (!a) {
        arena_free(mem);
        return;
    }
    *a = (struct asking){ c, take, i, g->round };
    g->waiting++;
    call_ref(c);
    plug_call_rows(inst, op, flags, op_arg, rows, mem, on_answer, a);
}

void gather_gone(struct call *c, bool sent)
{
    struct gather *g = c->state;
    (void)sent;
    loop_timer_del(g->timer);
    g->timer = NULL;
}
