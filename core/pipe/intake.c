/* Intake: one request being read. Tickets are gathered into slabs; a slab gets its collections, its order by lane, its URIs, and
 * is then kept (small body: one commit takes all) or staged (streamed body). The seal is the promise: one commit, then the verdict.
 * Owns intakes and slabs. Calls the book, the uploader's identify and the store. Loop thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/sabotage.h"
#include "pipe/meta.h"
#include "pipe/pipe_int.h"

enum { SLAB_ITEMS = 1000, SLAB_FIRST = 8, SLAB_FIRST_BYTES = 4096, SLABS_QUEUED = 2, RETRY_MS = 1000, TICKET_ID_MAX = 128, RECIPIENT_MAX = 128 };

/* a ticket made into a row */
struct row { struct mintd_db_item item; struct mintd_str collection, name; uint64_t col_id; uint32_t place; };
struct slab { struct list link; struct arena *mem; struct row *rows; uint32_t n, cap; size_t bytes; struct mintd_db_item *items; };

struct pipe_intake {
    struct list link;
    struct pipe *pipe;
    struct line *line;
    struct arena *mem;                       /* names; lives as long as the intake */
    pipe_intake_fn *fn; void *arg; loop_fn *resume;
    struct mintd_str venue, key, collection, request_id;
    uint64_t opened_us;
    uint64_t venue_id, request;              /* request: number of the OPEN row when streamed */
    bool streamed, over, closed, sealing, busy, replay, told_stop;
    uint64_t replay_of;
    uint8_t hash[32];
    struct slab *filling;
    struct list queued, ready;               /* slabs to prepare; slabs prepared and kept */
    uint32_t n_queued;
    uint64_t n_items;                        /* taken in */
    uint32_t seq;                            /* next sequence number */
    struct mintd_db_run *runs; uint32_t n_runs, cap_runs;
    struct map tickets;                      /* hash of ticket id -> the id, small bodies: duplicates inside the request */
    uint32_t calls;                          /* answers outstanding */
    struct pipe_result result; char text[256]; char pointer[200];
    bool settled;
};

static void proceed(struct pipe_intake *in);

/* ---- the end */
static void slab_free(struct slab *s)
{
    if (!s) return;
    arena_free(s->mem);
    free(s);
}

static void intake_free(struct pipe_intake *in)
{
    struct list *l;
    while ((l = list_pop(&in->queued)) || (l = list_pop(&in->ready))) slab_free(LIST_OF(l, struct slab, link));
    slab_free(in->filling);
    list_del(&in->link);
    map_free(&in->tickets);
    free(in->runs);
    arena_free(in->mem);
    free(in);
}

static void maybe_free(struct pipe_intake *in)
{
    if (in->closed && !in->calls && in->settled) intake_free(in);
}

static void tell(void *arg)
{
    struct pipe_intake *in = arg;
    in->calls--;
    in->settled = true;
    if (!in->closed) in->fn(in->arg, &in->result);
    else maybe_free(in);
}

static struct mintd_str keep(struct pipe_intake *in, struct mintd_str s) { return arena_str(in->mem, s); }

static void stage_dropped(void *arg, struct plug_reply *r)
{
    (void)r;                                               /* unsealed: the store reaps it later in any case */
    struct pipe_intake *in = arg;
    pipe_called(in->pipe);
    in->calls--;
    maybe_free(in);
}

static void drop_staged(struct pipe_intake *in)
{
    struct arena *mem = arena_new(0);
    struct mintd_stage *s = mem ? arena_alloc(mem, sizeof *s) : NULL;
    if (!s) { arena_free(mem); return; }
    *s = (struct mintd_stage){ .size = sizeof *s, .flags = 1, .slot = in->pipe->slot, .epoch = in->pipe->epoch,
        .request = in->request, .venue = in->venue_id };
    in->calls++;
    pipe_call(in->pipe, in->pipe->store, STORE_STAGE, 1, s, (struct mintd_vec){ 0 }, mem, stage_dropped, in);
}

/* The verdict, told on a later turn so that no caller is re-entered. */
static void verdict(struct pipe_intake *in, enum pipe_verdict v, uint64_t request)
{
    if (in->over) return;
    in->over = true;
    in->result.verdict = v;
    in->result.request = request;
    in->result.n_items = in->n_items;
    if (v == PIPE_BUSY && !in->result.retry_ms) in->result.retry_ms = RETRY_MS;
    if (in->request && v != PIPE_ACCEPTED && in->pipe->state != PIPE_DEAD) drop_staged(in);
    in->calls++;
    loop_post(in->pipe->loop, tell, in);
}

static void refuse(struct pipe_intake *in, const char *code, uint64_t place, struct mintd_str field, const char *msg)
{
    if (in->over) return;
    snprintf(in->text, sizeof in->text, "%s", msg);
    if (place == UINT64_MAX) in->pointer[0] = 0;
    else if (field.n) snprintf(in->pointer, sizeof in->pointer, "/tickets/%llu/" STR_FMT, (unsigned long long)place, STR_ARG(field));
    else snprintf(in->pointer, sizeof in->pointer, "/tickets/%llu", (unsigned long long)place);
    in->result.code = str_of(code);
    in->result.msg = str_of(in->text);
    in->result.pointer = str_of(in->pointer);
    verdict(in, PIPE_BAD, 0);
}

static void busy(struct pipe_intake *in, const char *code, const char *msg)
{
    in->result.code = str_of(code);
    in->result.msg = str_of(msg);
    verdict(in, PIPE_BUSY, 0);
}

/* The commit that would have accepted it was refused or failed. */
static void busy_store(struct pipe_intake *in)
{
    struct pipe *p = in->pipe;
    const char *fault = p->book.fault[0] ? p->book.fault : "store.unavailable", *help = plug_help(p->store, str_of(fault));
    snprintf(in->text, sizeof in->text, "the store does not take writes now%s%s", *help ? ": " : "", help);
    in->result.code = keep(in, str_of(fault));
    in->result.msg = str_of(in->text);
    verdict(in, PIPE_BUSY, 0);
}

static void busy_call(struct pipe_intake *in, const struct mintd_outcome *o)
{
    trail_say(MINTD_WARN, in->request_id, "a batch cannot be taken in now: " STR_FMT, STR_ARG(o->slug));
    pipe_outcome(in->pipe, in->line, STAGE_COMMIT, 0, o);
    in->result.code = keep(in, o->slug);
    in->result.msg = keep(in, o->msg);
    in->result.retry_ms = o->retry_ms;
    verdict(in, PIPE_BUSY, 0);
}

/* ---- who has the ticket: sealed is a conflict for ever, open only for now */
static void owner_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    pipe_called(in->pipe);
    in->calls--;
    const struct mintd_db_request *rows = r->res->rows.p;
    bool open = r->out->cls == MINTD_OK && (!r->res->rows.n || rows[0].state == MINTD_RQ_OPEN);
    verdict(in, open ? PIPE_IN_PROGRESS : PIPE_TICKET_TAKEN, in->replay_of);
    maybe_free(in);
}

static bool query_request(struct pipe_intake *in, uint64_t id, plug_fn *fn)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    uint64_t *ids = q ? arena_copy(mem, &id, sizeof id) : NULL;
    if (!ids) { arena_free(mem); return false; }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_REQUEST, .ids = VEC(ids, 1) };
    in->calls++;
    pipe_call(in->pipe, in->pipe->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, fn, in);
    return true;
}

static void taken(struct pipe_intake *in, uint64_t request, struct mintd_str ticket)
{
    in->result.ticket = keep(in, ticket);
    in->replay_of = request;
    if (request == in->request && request) {
        refuse(in, "ticket.duplicate", UINT64_MAX, S(""), "a ticket id stands twice in this request");
        return;
    }
    if (!query_request(in, request, owner_read)) busy(in, "pipe.no_memory", "out of memory");
}

/* ---- the seal */
static void map_verdict(struct pipe_intake *in, const struct mintd_applied *a)
{
    switch (a->verdict) {
    case MINTD_APPLIED:   verdict(in, PIPE_ACCEPTED, a->value); break;
    case MINTD_REPEATED:  verdict(in, in->streamed ? PIPE_ACCEPTED : PIPE_REPLAYED, a->value); break;
    case MINTD_DUPLICATE: taken(in, a->value, a->detail); break;
    case MINTD_STALE:     verdict(in, str_eq(a->detail, S("open")) ? PIPE_IN_PROGRESS : PIPE_OTHER_BODY, a->value); break;
    default:
        in->result.code = keep(in, a->detail);
        in->result.msg = S("the store refused the request by a constraint");
        verdict(in, PIPE_BAD, 0);
        break;
    }
}

static void note_accepted(struct pipe_intake *in)
{
    struct pipe *p = in->pipe;
    trail_put(p, in->result.request, in->request_id);
    trail_begin(p, in->result.request, in->venue, in->n_items);
    metric_observe(p->m.stages, S("accept"), S(""), (double)(loop_now_us(p->loop) - in->opened_us) / 1e6);
}

static void sealed(void *arg, const struct mintd_applied *a)
{
    struct pipe_intake *in = arg;
    in->calls--;
    CRASH("intake.seal.after");
    if (!a) busy_store(in);
    else map_verdict(in, a);
    if (in->result.verdict == PIPE_ACCEPTED && in->over) {
        note_accepted(in);
        in->pipe->lanes.more = true;
        lane_kick(in->pipe);
    }
    maybe_free(in);
}

static bool put_items(struct pipe_intake *in, struct group *g)
{
    uint32_t n = 0;
    LIST_EACH(l, &in->ready) n += LIST_OF(l, struct slab, link)->n;
    struct mintd_db_item *rows = n ? group_rows(g, MINTD_DB_ITEM, sizeof *rows, n) : NULL;
    uint32_t k = 0;
    LIST_EACH(l, &in->ready) {
        struct slab *s = LIST_OF(l, struct slab, link);
        if (!rows || arena_hold(group_mem(g), s->mem)) return false;
        memcpy(&rows[k], s->items, s->n * sizeof *rows);
        k += s->n;
    }
    return rows || in->streamed;
}

static struct mintd_str options(const struct pipe_intake *in, struct arena *mem)
{
    bool has_id = in->request_id.n > 0;
    return arena_printf(mem, "{\"pipeline\":\"" STR_FMT "\"%s" STR_FMT "%s}", STR_ARG(in->line->name), has_id ? ",\"requestId\":\"" : "",
                        STR_ARG(in->request_id), has_id ? "\"" : "");
}

static void seal(struct pipe_intake *in)
{
    struct group *g = group_new((uint32_t)in->n_items, sealed, in);
    struct mintd_db_request *r = g ? GROUP_ROW(g, MINTD_DB_REQUEST, mintd_db_request) : NULL;
    if (!r) { busy(in, "pipe.no_memory", "out of memory"); return; }
    struct arena *mem = group_mem(g);
    struct mintd_db_run *runs = arena_copy(mem, in->runs, in->n_runs * sizeof *runs);
    *r = (struct mintd_db_request){ .id = in->request, .venue = in->venue_id, .n_items = in->n_items, .idem_key = arena_str(mem, in->key),
        .body_hash = arena_str(mem, (struct mintd_str){ (char *)in->hash, sizeof in->hash }), .from = MINTD_RQ_OPEN,
        .state = MINTD_RQ_SEALED, .options = options(in, mem),
        .runs = VEC(runs, in->n_runs) };
    if (!runs || !put_items(in, g)) { busy(in, "pipe.no_memory", "out of memory"); return; }
    struct mintd_str body = in->request_id.n ? arena_printf(mem, "{\"requestId\":\"" STR_FMT "\"}", STR_ARG(in->request_id)) : S("{}");
    book_event(g, mem, "request.accepted", in->venue_id, 0, body);
    in->calls++;
    CRASH("intake.seal.before");
    book_add(in->pipe, g, BOOK_URGENT | BOOK_GIVE_UP);
}

/* A streamed body under a key that is sealed already: it was only hashed. */
static void replay_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    pipe_called(in->pipe);
    in->calls--;
    const struct mintd_db_request *row = r->res->rows.p;
    if (r->out->cls != MINTD_OK || r->res->rows.n != 1) busy(in, "store.unavailable", "the earlier request can not be read now");
    else if (row->state == MINTD_RQ_OPEN) verdict(in, PIPE_IN_PROGRESS, row->id);
    else if (row->body_hash.n == 32 && !memcmp(row->body_hash.p, in->hash, 32)) verdict(in, PIPE_REPLAYED, row->id);
    else verdict(in, PIPE_OTHER_BODY, row->id);
    maybe_free(in);
}

/* ---- slabs: collections, order, runs, URIs */
static int run_add(struct pipe_intake *in, struct mintd_db_run run)
{
    struct mintd_db_run *last = in->n_runs ? &in->runs[in->n_runs - 1] : NULL;
    if (last && last->collection == run.collection && last->batch == run.batch && last->first + last->count == run.first
        && last->count % last->batch == 0) {
        last->count += run.count;                          /* whole chunks: the run goes on */
        return 0;
    }
    if (in->n_runs == in->cap_runs) {
        uint32_t cap = in->cap_runs ? in->cap_runs * 2 : 16;
        struct mintd_db_run *runs = realloc(in->runs, cap * sizeof *runs);
        if (!runs) return -ENOMEM;
        in->runs = runs;
        in->cap_runs = cap;
    }
    in->runs[in->n_runs++] = run;
    return 0;
}

static int by_collection(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->col_id != y->col_id) return x->col_id < y->col_id ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* Rows in lane order with their sequence numbers, and the runs they make. */
static int lay_out(struct pipe_intake *in, struct slab *s)
{
    const struct mintd_limits *lim = in->line->chain->limits;
    const struct conf_pipeline *cf = in->line->cf;
    qsort(s->rows, s->n, sizeof *s->rows, by_collection);
    s->items = arena_array(s->mem, s->n, sizeof *s->items);
    if (!s->items) return -ENOMEM;
    for (uint32_t i = 0; i < s->n;) {
        uint32_t end = i, name = 0, uri = 0;
        for (; end < s->n && s->rows[end].col_id == s->rows[i].col_id; end++) {
            if (s->rows[end].name.n > name) name = (uint32_t)s->rows[end].name.n;
            if (s->rows[end].item.uri.n > uri) uri = (uint32_t)s->rows[end].item.uri.n;
            s->items[end] = s->rows[end].item;
            s->items[end].id = in->seq + end;
        }
        uint32_t batch = pace_pack(cf ? cf->batch : 0, lim->items_mint, lim->tx_room, lim->item_base, name, uri);
        if (run_add(in, (struct mintd_db_run){ s->rows[i].col_id, in->seq + i, end - i, batch, 0 })) return -ENOMEM;
        i = end;
    }
    in->seq += s->n;
    return 0;
}

static void staged(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    pipe_called(in->pipe);
    in->calls--;
    in->busy = false;
    CRASH("intake.stage.after");
    const struct mintd_applied *a = r->res->rows.p;
    if (r->out->cls != MINTD_OK) busy_call(in, r->out);
    else if (r->res->rows.n == 1 && a->verdict == MINTD_DUPLICATE) taken(in, a->value, a->detail);
    else if (r->res->rows.n != 1 || a->verdict != MINTD_APPLIED) busy(in, "store.stage", "the store did not take the tickets");
    else proceed(in);
    maybe_free(in);
}

static void stage(struct pipe_intake *in, struct slab *s)
{
    struct arena *mem = arena_new(0);
    struct mintd_stage *st = mem ? arena_alloc(mem, sizeof *st) : NULL;
    if (!st || arena_hold(mem, s->mem)) { arena_free(mem); busy(in, "pipe.no_memory", "out of memory"); return; }
    *st = (struct mintd_stage){ .size = sizeof *st, .slot = in->pipe->slot, .epoch = in->pipe->epoch, .request = in->request,
        .venue = in->venue_id };
    in->calls++;
    in->busy = true;
    CRASH("intake.stage.before");
    pipe_call(in->pipe, in->pipe->store, STORE_STAGE, 0, st, VEC(s->items, s->n), mem, staged, in);
    slab_free(s);
}

static void slab_ready(struct pipe_intake *in, struct slab *s)
{
    list_del(&s->link);
    in->n_queued--;
    if (lay_out(in, s)) { slab_free(s); busy(in, "pipe.no_memory", "out of memory"); return; }
    if (in->streamed) { stage(in, s); return; }
    list_add(&in->ready, &s->link);
    in->busy = false;
    proceed(in);
}

static struct slab *first_queued(struct pipe_intake *in)
{
    return list_empty(&in->queued) ? NULL : LIST_OF(in->queued.next, struct slab, link);
}

static void identified(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    struct slab *s = first_queued(in);
    pipe_called(in->pipe);
    in->calls--;
    const struct mintd_stored *rows = r->res->rows.p;
    uint32_t max = in->line->chain->limits->uri_max;
    bool ok = r->out->cls == MINTD_OK && r->res->rows.n == s->n;
    if (in->over) { maybe_free(in); return; }
    if (!ok) busy_call(in, r->out);
    else if (arena_hold(s->mem, r->mem)) busy(in, "pipe.no_memory", "out of memory");
    for (uint32_t i = 0; !in->over && i < s->n; i++) {
        struct row *row = &s->rows[i];
        if (rows[i].why) refuse(in, "metadata.refused", row->item.ord, S("ticketData"), "the uploader refuses this metadata");
        else if (max && rows[i].uri.n > max) refuse(in, "metadata.uri_too_long", row->item.ord, S("ticketData"), "the URI is too long for the chain");
        else row->item.uri = rows[i].uri;
    }
    if (!in->over) slab_ready(in, s);
    maybe_free(in);
}

static void identify(struct pipe_intake *in, struct slab *s)
{
    struct arena *mem = arena_new(0);
    struct mintd_blob *blobs = mem ? arena_array(mem, s->n, sizeof *blobs) : NULL;
    if (!blobs || arena_hold(mem, s->mem)) { arena_free(mem); busy(in, "pipe.no_memory", "out of memory"); return; }
    for (uint32_t i = 0; i < s->n; i++)
        blobs[i] = (struct mintd_blob){ .name = s->rows[i].item.ticket, .type = S("application/json"), .data = s->rows[i].item.body,
            .len = s->rows[i].item.body.n, .fd = -1 };
    in->calls++;
    pipe_call(in->pipe, in->line->uploader, UPLOADER_IDENTIFY, 0, NULL, VEC(blobs, s->n), mem, identified, in);
}

/* ---- names to ids, remembered for the life of the process: they never change */
struct name { uint64_t id, hash; struct name *next; struct line *line; size_t n; char text[]; };

static uint64_t name_hash(const struct line *line, uint64_t venue, struct mintd_str s)
{
    uint64_t h = 14695981039346656037u ^ venue * 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)line;
    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.p[i]) * 1099511628211u;
    return h ? h : 1;
}

static uint64_t name_get(struct pipe *p, const struct line *line, uint64_t venue, struct mintd_str s)
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

struct naming { struct pipe_intake *in; struct mintd_str text; bool venue; };

static void named(void *arg, const struct mintd_applied *a)
{
    struct naming n = *(struct naming *)arg;
    struct pipe_intake *in = n.in;
    free(arg);
    in->calls--;
    in->busy = false;
    if (!a || a->verdict > MINTD_REPEATED || !a->value) {
        busy_store(in);
    } else {
        if (n.venue) in->venue_id = a->value;
        name_put(in->pipe, n.venue ? NULL : in->line, n.venue ? 0 : in->venue_id, n.text, a->value);
        proceed(in);
    }
    maybe_free(in);
}

static struct group *naming_group(struct pipe_intake *in, struct mintd_str text, bool venue)
{
    struct naming *n = malloc(sizeof *n);
    struct group *g = n ? group_new(0, named, n) : NULL;
    if (!g) { free(n); busy(in, "pipe.no_memory", "out of memory"); return NULL; }
    *n = (struct naming){ in, text, venue };
    in->calls++;
    in->busy = true;
    return g;
}

static void name_venue(struct pipe_intake *in)
{
    struct group *g = naming_group(in, in->venue, true);
    struct mintd_db_venue *v = g ? GROUP_ROW(g, MINTD_DB_VENUE, mintd_db_venue) : NULL;
    if (!v) return;
    v->name = arena_str(group_mem(g), in->venue);
    book_add(in->pipe, g, BOOK_URGENT | BOOK_GIVE_UP);
}

static void name_collection(struct pipe_intake *in, struct mintd_str name)
{
    const struct mintd_limits *lim = in->line->chain->limits;
    struct group *g = naming_group(in, keep(in, name), false);
    struct mintd_db_collection *c = g ? GROUP_ROW(g, MINTD_DB_COLLECTION, mintd_db_collection) : NULL;
    if (!c) return;
    struct arena *mem = group_mem(g);
    struct mintd_str spec = in->line->cf ? in->line->cf->collection_spec : S("");
    *c = (struct mintd_db_collection){ .venue = in->venue_id, .pipeline = arena_str(mem, in->line->name), .name = arena_str(mem, name),
        .spec = arena_str(mem, spec.n ? spec : S("{}")), .network = arena_str(mem, lim->network),
        .state = lim->caps & MINTD_C_COLLECTS ? MINTD_COL_NEW : MINTD_COL_READY };
    book_add(in->pipe, g, BOOK_URGENT | BOOK_GIVE_UP);
}

/* True when every row knows its collection; else one unknown name is on its way to the store. */
static bool collections_known(struct pipe_intake *in, struct slab *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct row *r = &s->rows[i];
        if (r->col_id) continue;
        if (i && str_eq(r->collection, s->rows[i - 1].collection)) { r->col_id = s->rows[i - 1].col_id; continue; }
        r->col_id = name_get(in->pipe, in->line, in->venue_id, r->collection);
        if (!r->col_id) { name_collection(in, r->collection); return false; }
    }
    return true;
}

static void opened(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    pipe_called(in->pipe);
    in->calls--;
    in->busy = false;
    const struct mintd_applied *a = r->res->rows.p;
    if (r->out->cls != MINTD_OK) { busy_call(in, r->out); }
    else if (r->res->rows.n != 1) { busy(in, "store.stage", "the store did not open the request"); }
    else if (a->verdict == MINTD_APPLIED) { in->request = a->value; proceed(in); }
    else if (str_eq(a->detail, S("open"))) { verdict(in, PIPE_IN_PROGRESS, a->value); }
    else { in->replay = true; in->replay_of = a->value; proceed(in); }
    if (in->closed && !in->over) { in->over = in->settled = true; if (in->request) drop_staged(in); }
    maybe_free(in);
}

static void open_staged(struct pipe_intake *in)
{
    struct arena *mem = arena_new(0);
    struct mintd_stage *st = mem ? arena_alloc(mem, sizeof *st) : NULL;
    if (!st) { arena_free(mem); busy(in, "pipe.no_memory", "out of memory"); return; }
    *st = (struct mintd_stage){ .size = sizeof *st, .slot = in->pipe->slot, .epoch = in->pipe->epoch, .venue = in->venue_id,
        .idem_key = arena_str(mem, in->key) };
    in->calls++;
    in->busy = true;
    pipe_call(in->pipe, in->pipe->store, STORE_STAGE, 0, st, (struct mintd_vec){ 0 }, mem, opened, in);
}

static void enqueue(struct pipe_intake *in)
{
    if (!in->filling) return;
    list_add(&in->queued, &in->filling->link);
    in->n_queued++;
    in->filling = NULL;
}

static void drop_queued(struct pipe_intake *in)
{
    struct list *l;
    while ((l = list_pop(&in->queued))) slab_free(LIST_OF(l, struct slab, link));
    in->n_queued = 0;
}

/* The one place that decides what happens next to this intake. */
static void proceed(struct pipe_intake *in)
{
    if (in->over || in->busy || in->closed) return;
    if (!in->venue_id) in->venue_id = name_get(in->pipe, NULL, 0, in->venue);
    if (!in->venue_id) { name_venue(in); return; }
    if (in->streamed && !in->request && !in->replay) { open_staged(in); return; }
    if (in->replay) drop_queued(in);
    struct slab *s = first_queued(in);
    if (s) {
        if (!collections_known(in, s)) return;
        in->busy = true;
        identify(in, s);
    } else if (in->sealing && in->replay) {
        if (!query_request(in, in->replay_of, replay_read)) busy(in, "pipe.no_memory", "out of memory");
        in->busy = true;
    } else if (in->sealing) {
        in->busy = true;
        seal(in);
    }
    if (in->told_stop && in->n_queued < SLABS_QUEUED && !in->sealing && !in->over) {
        in->told_stop = false;
        if (in->resume) loop_post(in->pipe->loop, in->resume, in->arg);
    }
}

/* ---- what the caller does */
int pipe_intake_open(struct pipe *p, const struct pipe_open *o, pipe_intake_fn *fn, void *arg, struct pipe_intake **ret)
{
    struct pipe_intake *in = calloc(1, sizeof *in);
    if (!in || !(in->mem = arena_new(0))) { free(in); return -ENOMEM; }
    in->pipe = p;
    in->fn = fn;
    in->arg = arg;
    in->streamed = o->streamed;
    in->venue = keep(in, o->venue);
    in->collection = keep(in, o->collection);
    in->request_id = keep(in, o->request_id);
    in->opened_us = loop_now_us(p->loop);
    trail_say(MINTD_DEBUG, in->request_id, "a batch is taken in for venue " STR_FMT, STR_ARG(in->venue));
    in->key = keep(in, SABOTAGE("drop_idem_key") ? S("") : o->idem_key);
    list_init(&in->queued);
    list_init(&in->ready);
    list_add(&p->intakes, &in->link);
    *ret = in;
    if (!in->key.n) {                                      /* so that a lost COMMIT can be asked for */
        uint8_t r[16];
        loop_random(p->loop, r, sizeof r);
        char hex[33] = "~";
        hex_encode(r, sizeof r - 1, hex + 1);
        hex[31] = 0;
        in->key = keep(in, str_of(hex));
    }
    struct buf why = { 0 };
    const struct conf_pipeline *cf = conf_pipeline_of(p->conf, o->pipeline, o->venue);
    in->line = cf ? pipe_line(p, cf->name) : NULL;
    if (!cf) {
        refuse(in, "request.unknown_pipeline", UINT64_MAX, S(""), "no such pipeline is configured");
        in->result.pointer = S("/pipeline");
    } else if (!pipe_ready(p, &why) || !in->line || !in->line->chain->limits) {
        in->result.msg = why.n ? keep(in, buf_view(&why)) : S("the chain of this pipeline does not answer yet");
        in->result.code = S("pipe.not_ready");
        verdict(in, PIPE_BUSY, 0);
    } else {
        proceed(in);
    }
    buf_free(&why);
    return 0;
}

static bool check_ticket(struct pipe_intake *in, const struct pipe_ticket *t)
{
    if (!t->id.n) refuse(in, "ticket.id", in->n_items, S("id"), "a ticket needs an id");
    else if (t->id.n > TICKET_ID_MAX) refuse(in, "ticket.id", in->n_items, S("id"), "a ticket id has at most 128 bytes");
    else if (t->recipient.n > RECIPIENT_MAX) refuse(in, "ticket.recipient", in->n_items, S("recipient"), "a recipient has at most 128 bytes");
    else if (in->n_items >= in->pipe->conf->api.max_items)
        refuse(in, "request.too_many_tickets", UINT64_MAX, S(""), "more tickets than api.max_items allows in one request");
    return !in->over;
}

/* A request of one ticket takes little, one of a thousand finds room by doubling. */
static bool slab_grow(struct slab *s)
{
    uint32_t cap = !s->cap ? SLAB_FIRST : s->cap * 2 < SLAB_ITEMS ? s->cap * 2 : SLAB_ITEMS;
    struct row *rows = arena_array(s->mem, cap, sizeof *rows);
    if (!rows) return false;
    if (s->n) memcpy(rows, s->rows, s->n * sizeof *rows);
    s->rows = rows;
    s->cap = cap;
    return true;
}

static struct slab *slab_for(struct pipe_intake *in)
{
    if (!in->filling) in->filling = calloc(1, sizeof *in->filling);
    struct slab *s = in->filling;
    if (s && !s->mem) s->mem = arena_new(SLAB_FIRST_BYTES);
    return s && s->mem && (s->n < s->cap || slab_grow(s)) ? s : NULL;
}

static int fill_row(struct pipe_intake *in, struct slab *s, const struct pipe_ticket *t, const struct meta_ticket *m, struct meta_error *err)
{
    struct row *row = &s->rows[s->n];
    struct buf body = { 0 }, extra = { 0 }, coll = { 0 };
    int r = meta_body(in->line->metadata, m, &body, err);
    if (!r) r = meta_extra(m, &extra);
    if (!r && in->collection.n) buf_str(&coll, in->collection);
    else if (!r) r = meta_text(in->line->collection, m, &coll, err);
    if (!r) {
        struct mintd_str who = t->recipient.n ? t->recipient : in->line->cf->recipient;
        row->item = (struct mintd_db_item){ .venue = in->venue_id, .ticket = arena_str(s->mem, t->id), .recipient = arena_str(s->mem, who),
            .body = arena_str(s->mem, buf_view(&body)), .extra = arena_str(s->mem, buf_view(&extra)), .ord = (uint32_t)in->n_items };
        row->collection = arena_str(s->mem, buf_view(&coll));
        row->place = s->n;
        if (!row->item.body.n || !row->collection.n) r = -ENOMEM;
        if (!r) r = meta_name(row->item.body, s->mem, &row->name);
    }
    s->bytes += body.n + extra.n + coll.n + t->id.n + 200;
    buf_free(&body);
    buf_free(&extra);
    buf_free(&coll);
    return r;
}

static bool twice(struct pipe_intake *in, struct slab *s)
{
    if (in->streamed) return false;                        /* the store's unique key tells */
    struct mintd_str ticket = s->rows[s->n].item.ticket;
    uint64_t h = name_hash(NULL, 0, ticket);
    const struct mintd_str *other = map_get(&in->tickets, h);
    if (other) return str_eq(*other, ticket);              /* another text with the same hash: left to the store's key */
    map_put(&in->tickets, h, arena_copy(s->mem, &ticket, sizeof ticket));
    return false;
}

int pipe_intake_add(struct pipe_intake *in, const struct pipe_ticket *t, loop_fn *resume)
{
    if (in->over || in->closed || !check_ticket(in, t)) return -ECANCELED;
    in->resume = resume;
    if (in->replay) { in->n_items++; return 0; }
    struct slab *s = slab_for(in);
    struct meta_ticket *m = NULL;
    struct meta_error err = { 0 };
    int r = s ? meta_parse(t, in->venue, &m) : -ENOMEM;
    if (r == -EINVAL) err = (struct meta_error){ .code = S("ticket.data"), .msg = "ticketData must be a JSON object" };
    if (!r) r = fill_row(in, s, t, m, &err);
    meta_ticket_free(m);
    uint32_t name_max = in->line->chain->limits->name_max;
    if (r == -ENOMEM) { busy(in, "pipe.no_memory", "out of memory"); return -ECANCELED; }
    if (r) {
        char field[100] = "ticketData";
        if (err.field.n) snprintf(field, sizeof field, "ticketData/" STR_FMT, STR_ARG(err.field));
        refuse(in, err.code.n ? err.code.p : "metadata.name", in->n_items, str_of(field), err.msg[0] ? err.msg : "the metadata has no name");
        return -ECANCELED;
    }
    if (name_max && s->rows[s->n].name.n > name_max) {
        refuse(in, "metadata.name_too_long", in->n_items, S("ticketData"), "the name in the metadata is too long for the chain");
        return -ECANCELED;
    }
    if (twice(in, s)) { refuse(in, "ticket.duplicate", in->n_items, S("id"), "this ticket id stands twice in the request"); return -ECANCELED; }
    s->n++;
    in->n_items++;
    if (s->n == SLAB_ITEMS || s->bytes >= (size_t)in->pipe->conf->slab_bytes) { enqueue(in); proceed(in); }
    if (in->over) return -ECANCELED;
    in->told_stop = in->n_queued >= SLABS_QUEUED;
    return in->told_stop ? -EAGAIN : 0;
}

void pipe_intake_seal(struct pipe_intake *in, const uint8_t hash[32])
{
    if (in->over || in->closed) return;
    memcpy(in->hash, hash, sizeof in->hash);
    if (!in->n_items) { refuse(in, "request.no_tickets", UINT64_MAX, S(""), "a request needs at least one ticket"); return; }
    enqueue(in);
    in->sealing = true;
    proceed(in);
}

void pipe_intake_close(struct pipe_intake *in)
{
    in->closed = true;
    if (!in->over && !in->sealing) {                       /* the client is gone before the end of its body */
        in->over = in->settled = true;
        if (in->request && in->pipe->state == PIPE_RUNNING) drop_staged(in);
    }
    if (in->over && in->settled) maybe_free(in);
}

void intake_end_all(struct pipe *p)
{
    LIST_EACH(l, &p->intakes) {
        struct pipe_intake *in = LIST_OF(l, struct pipe_intake, link);
        if (!in->over && !in->sealing) busy(in, "pipe.draining", "the daemon is stopping");
    }
}
