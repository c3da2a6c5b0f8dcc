/* Names to ids: venues and collections, remembered for the life of the process because they never change. A name nobody knows is
 * written by the book; a dry run only asks whether it is there. Owns the table. Calls the book and the store. Loop thread. */
#include <stdlib.h>

#include "pipe/intake_int.h"

struct name { uint64_t id, hash; struct name *next; struct line *line; size_t n; char text[]; };

uint64_t name_hash(const struct line *line, uint64_t venue, struct mintd_str s)
{
    uint64_t h = 14695981039346656037u ^ venue * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)line;
    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.p[i]) * 1099511628211u;
    return h ? h : 1;
}

uint64_t name_get(struct pipe *p, const struct line *line, uint64_t venue, struct mintd_str s)
{
    struct name *n = map_get(&p->names, name_hash(line, venue, s));
    for (; n; n = n->next)
        if (n->line == line && n->n == s.n && !memcmp(n->text, s.p, s.n) && n->hash == venue) return n->id;
    return 0;
}

static void name_put(struct pipe *p, struct line *line, uint64_t venue, struct mintd_str s, uint64_t id)
{
    uint64_t h = name_hash(line, venue, s);
    struct name *n = malloc(sizeof *n + s.n);
    if (!n) return;
    *n = (struct name){ .id = id, .hash = venue, .line = line, .n = s.n, .next = map_get(&p->names, h) };
    memcpy(n->text, s.p, s.n);
    if (map_put(&p->names, h, n)) free(n);
}

void intake_names_free(struct pipe *p)
{
    size_t it = 0;
    struct name *n;
    while ((n = map_next(&p->names, &it)))
        while (n) { struct name *next = n->next; free(n); n = next; }
    map_free(&p->names);
}

/* ---- written when they are new */
struct naming { struct pipe_intake *in; struct mintd_str text; bool venue; };

static void named(void *arg, const struct mintd_applied *a)
{
    struct naming n = *(struct naming *)arg;
    struct pipe_intake *in = n.in;
    free(arg);
    in->calls--;
    in->busy = false;
    if (!a || a->verdict > MINTD_REPEATED || !a->value) {
        intake_busy_store(in);
    } else {
        if (n.venue) in->venue_id = a->value;
        name_put(in->pipe, n.venue ? NULL : in->line, n.venue ? 0 : in->venue_id, n.text, a->value);
        intake_proceed(in);
    }
    intake_maybe_free(in);
}

static struct group *naming_group(struct pipe_intake *in, struct mintd_str text, bool venue)
{
    struct naming *n = malloc(sizeof *n);
    struct group *g = n ? group_new(0, named, n) : NULL;
    if (!g) { free(n); intake_memory(in); return NULL; }
    *n = (struct naming){ in, text, venue };
    in->calls++;
    in->busy = true;
    return g;
}

static void make_venue(struct pipe_intake *in)
{
    struct group *g = naming_group(in, in->venue, true);
    struct mintd_db_venue *v = g ? GROUP_ROW(g, MINTD_DB_VENUE, mintd_db_venue) : NULL;
    if (!v) return;
    v->name = arena_str(group_mem(g), in->venue);
    book_add(in->pipe, g, BOOK_URGENT | BOOK_GIVE_UP);
}

static void make_collection(struct pipe_intake *in, struct mintd_str name)
{
    const struct mintd_limits *lim = in->line->chain->limits;
    struct group *g = naming_group(in, intake_keep(in, name), false);
    struct mintd_db_collection *c = g ? GROUP_ROW(g, MINTD_DB_COLLECTION, mintd_db_collection) : NULL;
    if (!c) return;
    struct arena *mem = group_mem(g);
    struct mintd_str spec = in->line->cf ? in->line->cf->collection_spec : S("");
    *c = (struct mintd_db_collection){ .venue = in->venue_id, .pipeline = arena_str(mem, in->line->name), .name = arena_str(mem, name),
        .spec = arena_str(mem, spec.n ? spec : S("{}")), .network = arena_str(mem, lim->network),
        .state = lim->caps & MINTD_C_COLLECTS ? MINTD_COL_NEW : MINTD_COL_READY };
    book_add(in->pipe, g, BOOK_URGENT | BOOK_GIVE_UP);
}

/* ---- only asked for by a dry run */
static void ask(struct pipe_intake *in, uint32_t kind, uint64_t venue, struct mintd_str name, plug_fn *fn)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    struct mintd_str *names = q ? arena_alloc(mem, sizeof *names) : NULL;
    if (!names) { arena_free(mem); intake_memory(in); return; }
    *names = arena_str(mem, name);
    *q = (struct mintd_query){ .size = sizeof *q, .kind = kind, .venue = venue, .names = VEC(names, 1) };
    intake_query(in, mem, q, fn);
}

static void venue_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    const struct mintd_db_venue *rows = r->res->rows.p;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); return; }
    if (r->res->rows.n) {
        in->venue_id = rows->id;
        name_put(in->pipe, NULL, 0, in->venue, rows->id);
    }
    intake_proceed(in);
}

static struct plan_col *plan_of(const struct pipe_intake *in, struct mintd_str name)
{
    struct plan_col *c = map_get(&in->cols, name_hash(NULL, 0, name));
    while (c && !str_eq(c->name, name)) c = c->next;
    return c;
}

/* What is not in the store gets a number that no collection has. */
static struct plan_col *plan_add(struct pipe_intake *in, struct mintd_str name, uint64_t id)
{
    uint64_t h = name_hash(NULL, 0, name);
    struct plan_col *c = arena_alloc(in->mem, sizeof *c);
    if (!c) return NULL;
    *c = (struct plan_col){ map_get(&in->cols, h), intake_keep(in, name), id ? id : UINT64_MAX - in->next_col++, 0, id != 0 };
    return map_put(&in->cols, h, c) ? NULL : c;
}

static struct mintd_str unknown_name(const struct pipe_intake *in)
{
    const struct slab *s = LIST_OF(in->queued.next, struct slab, link);
    for (uint32_t i = 0; i < s->n; i++)
        if (!s->rows[i].col_id && !plan_of(in, s->rows[i].collection)) return s->rows[i].collection;
    return S("");
}

static void collection_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    const struct mintd_db_collection *rows = r->res->rows.p;
    struct mintd_str name = unknown_name(in);
    uint64_t id = 0;
    if (r->out->cls != MINTD_OK) { intake_busy_call(in, r->out); return; }
    for (uint32_t i = 0; i < r->res->rows.n; i++) if (str_eq(rows[i].pipeline, in->line->name)) id = rows[i].id;
    if (plan_add(in, name, id)) intake_proceed(in);
    else intake_memory(in);
}

static uint64_t plan_id(struct pipe_intake *in, struct mintd_str name)
{
    struct plan_col *c = plan_of(in, name);
    uint64_t id = c || !in->venue_id ? 0 : name_get(in->pipe, in->line, in->venue_id, name);
    if (!c && (id || !in->venue_id)) {
        c = plan_add(in, name, id);
        if (!c) intake_memory(in);
    }
    return c ? c->id : 0;
}

/* ---- for both */
void name_venue(struct pipe_intake *in)
{
    in->venue_asked = true;
    if (in->dry) ask(in, MINTD_DB_VENUE, 0, in->venue, venue_read);
    else make_venue(in);
}

bool name_collections(struct pipe_intake *in, struct slab *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct row *r = &s->rows[i];
        if (r->col_id) continue;
        if (i && str_eq(r->collection, s->rows[i - 1].collection)) { r->col_id = s->rows[i - 1].col_id; continue; }
        r->col_id = in->dry ? plan_id(in, r->collection) : name_get(in->pipe, in->line, in->venue_id, r->collection);
        if (r->col_id) continue;
        if (in->over) return false;
        if (in->dry) ask(in, MINTD_DB_COLLECTION, in->venue_id, r->collection, collection_read);
        else make_collection(in, r->collection);
        return false;
    }
    return true;
}
