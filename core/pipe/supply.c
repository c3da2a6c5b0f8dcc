/* Collections that take only so many tickets: which one of a request would have to take too many, when the store has refused the seal or
 * a dry run asks. Calls the store. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "pipe/intake_int.h"

enum { LOOK_MAX = 1000 };                        /* collections of one request that are looked at */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t brings(const struct pipe_intake *in, uint64_t collection)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < in->n_runs; i++)
        if (in->runs[i].collection == collection) n += in->runs[i].count;
    return n;
}

static void refuse_full(struct pipe_intake *in, const struct mintd_db_collection *c, uint64_t more)
{
    char msg[256];
    snprintf(msg, sizeof msg, "collection \"" STR_FMT "\" takes %" PRIu64 " tickets and has %" PRIu64 ": the %" PRIu64 " of this request are too many",
             STR_ARG(c->name), c->max_supply, c->accepted, more);
    intake_refuse(in, "collection.full", UINT64_MAX, S(""), msg);
    in->result.pointer = in->collection.n ? S("/collection") : S("/tickets");
}

static void looked(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    const struct mintd_db_collection *c = r->res->rows.p;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); return; }
    for (uint32_t i = 0; i < r->res->rows.n; i++) {
        uint64_t more = c[i].max_supply ? brings(in, c[i].id) : 0;
        if (c[i].accepted + more <= c[i].max_supply || !c[i].max_supply) continue;
        refuse_full(in, &c[i], more);
        return;
    }
    in->supply_then(in);
}

void supply_look(struct pipe_intake *in, void (*then)(struct pipe_intake *))
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *ids = q ? arena_array(mem, in->n_runs + 1, sizeof *ids) : NULL;
    uint32_t n = 0;
    if (!ids) { arena_free(mem); intake_memory(in); return; }
    for (uint32_t i = 0; i < in->n_runs; i++) ids[i] = in->runs[i].collection;
    qsort(ids, in->n_runs, sizeof *ids, by_number);
    for (uint32_t i = 0; i < in->n_runs && n < LOOK_MAX; i++)
        if (!n || ids[n - 1] != ids[i]) ids[n++] = ids[i];
    in->supply_then = then;
    if (!n) { arena_free(mem); then(in); return; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_COLLECTION, .max = n, .ids = VEC(ids, n) };
    intake_query(in, mem, q, looked);
}
