/* The seal is the promise: one commit, then the verdict. Tickets that turn out to be known leave the request before it is tried again.
 * Calls the book and the store. Loop thread. */
#include "base/crash.h"
#include "pipe/intake_int.h"

static void seal(struct pipe_intake *in);

/* ---- an earlier request under the same key */
static void replay_looked(struct pipe_intake *in) { intake_verdict(in, PIPE_REPLAYED, in->replay_of); }

/* It accepted fewer tickets than the body has: the others had been accepted before it. */
static void replayed(struct pipe_intake *in, const struct mintd_db_request *row)
{
    in->replay = true;
    in->replay_of = row->id;
    if (row->n_items + in->n_known >= in->n_items) replay_looked(in);
    else if (in->n_items <= NAMES_MAX && !in->names_lost) known_look_ready(in, replay_looked);
    else {
        in->n_known = in->n_items - row->n_items;
        replay_looked(in);
    }
}

static void judge_key(struct pipe_intake *in, const struct mintd_db_request *row)
{
    if (row->state == MINTD_RQ_OPEN) intake_verdict(in, PIPE_IN_PROGRESS, row->id);
    else if (row->body_hash.n == 32 && !memcmp(row->body_hash.p, in->hash, 32)) replayed(in, row);
    else intake_verdict(in, PIPE_OTHER_BODY, row->id);
}

static void replay_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    if (r->out->cls != MINTD_OK || r->res->rows.n != 1) intake_busy(in, "store.unavailable", "the earlier request can not be read now");
    else judge_key(in, r->res->rows.p);
}

/* ---- nothing new: no request is made, and no key is used up */
static void all_known(struct pipe_intake *in)
{
    intake_verdict(in, PIPE_KNOWN, in->n_batches == 1 && !in->more_batches ? in->batches[0] : 0);
}

static void key_read(void *arg, struct plug_reply *r)
{
    struct pipe_intake *in = arg;
    if (!intake_called(in)) return;
    if (r->out->cls != MINTD_OK) intake_busy_call(in, r->out);
    else if (r->res->rows.n) judge_key(in, r->res->rows.p);
    else all_known(in);
}

/* Another request with this key may have been sealed between the refusal and the look. */
static void check_key(struct pipe_intake *in)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    struct mintd_str *names = q ? arena_alloc(mem, sizeof *names) : NULL;
    if (!names) { arena_free(mem); intake_memory(in); return; }
    *names = arena_str(mem, in->key);
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_REQUEST, .venue = in->venue_id, .names = VEC(names, 1) };
    intake_query(in, mem, q, key_read);
}

/* ---- a small body whose tickets were looked for */
static void relay(struct pipe_intake *in)
{
    in->seq = in->n_runs = 0;
    LIST_EACH(l, &in->ready) {
        struct slab *s = LIST_OF(l, struct slab, link);
        if (s->n && slab_lay_out(in, s)) { intake_memory(in); return; }
    }
    intake_proceed(in);
}

/* ---- the verdict of the commit */
static void repeated(struct pipe_intake *in, uint64_t request)
{
    if (in->streamed || in->own_key) intake_verdict(in, PIPE_ACCEPTED, request);       /* the answer of our own commit was lost */
    else known_request(in, request, replay_read);
}

static void stale(struct pipe_intake *in, const struct mintd_applied *a)
{
    if (in->streamed) intake_busy(in, "store.stage", "the store has given this request up: send it again");
    else intake_verdict(in, str_eq(a->detail, S("open")) ? PIPE_IN_PROGRESS : PIPE_OTHER_BODY, a->value);
}

static void constrained(struct pipe_intake *in)
{
    in->result.code = intake_keep(in, in->constraint);
    in->result.msg = S("the store refused the request by a constraint");
    intake_verdict(in, PIPE_BAD, 0);
}

static void refused(struct pipe_intake *in, struct mintd_str constraint)
{
    in->constraint = intake_keep(in, constraint);
    if (str_eq(constraint, S("store.collections_supply"))) supply_look(in, constrained);
    else constrained(in);
}

static void map_verdict(struct pipe_intake *in, const struct mintd_applied *a)
{
    switch (a->verdict) {
    case MINTD_APPLIED:   intake_verdict(in, PIPE_ACCEPTED, a->value); break;
    case MINTD_REPEATED:  repeated(in, a->value); break;
    case MINTD_DUPLICATE: known_taken(in, a, NULL, relay); break;
    case MINTD_STALE:     stale(in, a); break;
    default:              refused(in, a->detail); break;
    }
}

static void note_accepted(struct pipe_intake *in)
{
    struct pipe *p = in->pipe;
    trail_put(p, in->result.request, in->request_id);
    trail_begin(p, in->result.request, in->venue, in->seq);
    metric_observe(p->m.stages, S("accept"), S(""), (double)(loop_now_us(p->loop) - in->opened_us) / 1e6);
}

static void sealed(void *arg, const struct mintd_applied *a)
{
    struct pipe_intake *in = arg;
    in->calls--;
    CRASH("intake.seal.after");
    if (!a) intake_busy_store(in);
    else map_verdict(in, a);
    if (in->result.verdict == PIPE_ACCEPTED && in->over) {
        note_accepted(in);
        in->pipe->lanes.more = true;
        lane_kick(in->pipe);
    }
}

/* ---- the commit */
static bool put_items(struct pipe_intake *in, struct group *g)
{
    if (in->streamed) return true;
    struct mintd_db_item *rows = group_rows(g, MINTD_DB_ITEM, sizeof *rows, in->seq);
    uint32_t k = 0;
    LIST_EACH(l, &in->ready) {
        struct slab *s = LIST_OF(l, struct slab, link);
        if (!rows || arena_hold(group_mem(g), s->mem)) return false;
        memcpy(&rows[k], s->items, s->n * sizeof *rows);
        k += s->n;
    }
    return rows;
}

static struct mintd_str options(const struct pipe_intake *in, struct arena *mem)
{
    bool has_id = in->request_id.n > 0;
    return arena_printf(mem, "{\"pipeline\":\"" STR_FMT "\"%s" STR_FMT "%s}", STR_ARG(in->line->name), has_id ? ",\"requestId\":\"" : "",
                        STR_ARG(in->request_id), has_id ? "\"" : "");
}

static struct mintd_str event_body(const struct pipe_intake *in, struct arena *mem)
{
    struct buf b = { 0 };
    if (in->request_id.n) buf_printf(&b, ",\"requestId\":\"" STR_FMT "\"", STR_ARG(in->request_id));
    if (in->n_known) buf_printf(&b, ",\"known\":%llu", (unsigned long long)in->n_known);
    struct mintd_str text = b.n ? arena_printf(mem, "{" STR_FMT "}", (int)b.n - 1, b.p + 1) : S("{}");
    buf_free(&b);
    return text;
}

static void seal(struct pipe_intake *in)
{
    struct group *g = group_new(in->seq, sealed, in);
    struct mintd_db_request *r = g ? GROUP_ROW(g, MINTD_DB_REQUEST, mintd_db_request) : NULL;
    if (!r) { intake_memory(in); return; }
    struct arena *mem = group_mem(g);
    struct mintd_db_run *runs = arena_copy(mem, in->runs, in->n_runs * sizeof *runs);
    *r = (struct mintd_db_request){ .id = in->request, .venue = in->venue_id, .n_items = in->seq, .idem_key = arena_str(mem, in->key),
        .body_hash = arena_str(mem, (struct mintd_str){ (char *)in->hash, sizeof in->hash }), .from = MINTD_RQ_OPEN,
        .state = MINTD_RQ_SEALED, .options = options(in, mem),
        .runs = VEC(runs, in->n_runs) };
    if (!runs || !put_items(in, g)) { intake_memory(in); return; }
    book_event(g, mem, "request.accepted", in->venue_id, 0, event_body(in, mem));
    in->calls++;
    CRASH("intake.seal.before");
    book_add(in->pipe, g, BOOK_URGENT | BOOK_GIVE_UP);
}

/* ---- a dry run ends here */
static void planned(struct pipe_intake *in)
{
    struct pipe_plan *p = &in->plan;
    *p = (struct pipe_plan){ .pipeline = in->line->name, .collections = in->n_cols, .new_collections = in->n_new_cols,
        .cols = in->plan_cols, .n_cols = (uint32_t)(in->n_cols < LIST_MAX ? in->n_cols : LIST_MAX) };
    for (uint32_t i = 0; i < in->n_runs; i++) p->transactions += (in->runs[i].count + in->runs[i].batch - 1) / in->runs[i].batch;
    in->result.plan = p;
    intake_verdict(in, PIPE_PLANNED, 0);
}

void seal_begin(struct pipe_intake *in)
{
    in->busy = true;
    if (in->replay) known_request(in, in->replay_of, replay_read);
    else if (in->n_conflicts) intake_verdict(in, PIPE_TICKET_TAKEN, in->conflicts[0].request);
    else if (in->dry) supply_look(in, planned);
    else if (in->seq) seal(in);
    else if (in->streamed || in->own_key) all_known(in);
    else check_key(in);
}
