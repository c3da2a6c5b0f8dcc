/* Batches as the API shows them: counters, states; and steering (cancel, retry). Reads through call_query.
 * Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "api/batch.h"
#include "api/shown.h"

/* ---- one view */

struct load { struct batch_view *view; bool chunks; void (*fn)(struct call *); };
struct view_state { struct batch_view view; uint64_t written, at_ms; bool verbose; };     /* written, at_ms: before the first read */

static const struct mintd_db_chunk *chunk_rows(const struct mintd_res *res) { return res->rows.p; }

static void count_chunks(struct batch_view *v, const struct mintd_res *res)
{
    const struct mintd_db_chunk *chunk = chunk_rows(res);
    for (uint32_t i = 0; i < res->rows.n; i++) {
        uint32_t state = chunk[i].state < ARRAY_LEN(v->mints) ? chunk[i].state : 0;
        if (chunk[i].kind == MINTD_TRANSFER) v->deliveries[state]++;
        else v->mints[state]++;
        v->begun = v->begun || state != MINTD_ST_ACCEPTED;
    }
}

static void query_chunks(struct call *c, struct mintd_str cursor);
static void on_chunks(struct call *c, const struct mintd_res *res)
{
    struct load *l = c->load;
    count_chunks(l->view, res);
    if (l->chunks && res->next.n) {
        query_chunks(c, res->next);
        return;
    }
    l->view->listed = l->chunks;
    l->fn(c);
}

static void query_chunks(struct call *c, struct mintd_str cursor)
{
    const struct load *l = c->load;
    /* without the list one chunk that is past ACCEPTED is enough to know that work began */
    uint64_t states = l->chunks ? 0 : UINT64_C(0xffff) & ~(UINT64_C(1) << MINTD_ST_ACCEPTED);
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = l->view->request->id, .states = states,
                                         .max = l->chunks ? 10000 : 1, .cursor = cursor }, 0, on_chunks);
}

static void on_count(struct call *c, const struct mintd_res *res)
{
    struct load *l = c->load;
    struct batch_view *v = l->view;
    if (res->rows.n) v->count = *(const struct mintd_db_count *)res->rows.p;
    v->begun = v->count.open < v->request->n_items;
    if (l->chunks || !v->begun) query_chunks(c, (struct mintd_str){ NULL, 0 });
    else l->fn(c);
}

void batch_view_load(struct call *c, struct batch_view *v, bool chunks, void (*fn)(struct call *))
{
    if (!c->load) c->load = arena_alloc(c->mem, sizeof(struct load));
    if (!c->load) return call_memory(c);
    *(struct load *)c->load = (struct load){ v, chunks, fn };
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COUNT, .request = v->request->id }, 0, on_count);
}

bool batch_settled(const struct batch_view *v)
{
    return v->count.done + v->count.failed + v->count.cancelled >= v->request->n_items;
}

const char *batch_state(const struct batch_view *v)
{
    if (!batch_settled(v)) return v->begun ? "running" : "accepted";
    if (v->count.done == v->request->n_items) return "completed";
    if (v->count.done) return "partial";
    return v->count.failed ? "failed" : "cancelled";
}

static void put_states(struct buf *b, const char *name, const uint32_t *n)
{
    const char *comma = "";
    buf_printf(b, ",\"%s\":{", name);
    for (uint32_t i = 0; i < 16; i++) {
        if (!n[i]) continue;
        buf_printf(b, "%s\"%s\":%u", comma, state_name(i), n[i]);
        comma = ",";
    }
    buf_puts(b, "}");
}

void batch_view_members(struct buf *b, const struct batch_view *v)
{
    const struct mintd_db_request *q = v->request;
    const struct mintd_db_count *n = &v->count;
    buf_printf(b, "\"batchId\":\"%" PRIu64 "\"", q->id);
    json_str(b, "venueId", v->venue);
    buf_printf(b, ",\"state\":\"%s\"", batch_state(v));
    json_time(b, "createdAt", q->created_at);
    json_time(b, "sealedAt", q->sealed_at);
    json_time(b, "cancelledAt", q->cancel_at);
    json_time(b, "finishedAt", q->finished_at);
    buf_printf(b, ",\"summary\":{\"total\":%" PRIu64 ",\"succeeded\":%" PRIu64 ",\"failed\":%" PRIu64 "}", q->n_items, n->done,
               n->failed + n->cancelled);
    buf_printf(b, ",\"items\":{\"open\":%" PRIu64 ",\"quarantined\":%" PRIu64 ",\"minted\":%" PRIu64 ",\"failed\":%" PRIu64
               ",\"cancelled\":%" PRIu64 "},\"fee\":\"%" PRIu64 "\"", n->open, n->quarantined, n->done, n->failed, n->cancelled, n->fee);
    if (v->listed) {
        put_states(b, "chunks", v->mints);
        put_states(b, "deliveries", v->deliveries);
    }
    buf_printf(b, ",\"links\":{\"self\":\"/v1/batches/%" PRIu64 "\",\"tickets\":\"/v1/batches/%" PRIu64 "/tickets\"}", q->id, q->id);
}

void batch_view_put(struct buf *b, const struct batch_view *v)
{
    buf_puts(b, "{");
    batch_view_members(b, v);
    buf_puts(b, "}");
}

/* ---- GET /v1/batches/{id} */

int batch_id(struct call *c, struct mintd_str text, uint64_t *ret)
{
    uint64_t id = 0;
    if (!str_u64(text, &id) && id && id < UINT64_C(1) << 39) {
        *ret = id;
        return 0;
    }
    call_problem(c, &(struct problem){ .status = 404, .code = "batch.unknown" }, "there is no batch " STR_FMT, STR_ARG(text));
    return -EINVAL;
}

static void answer_view(struct call *c)
{
    struct view_state *s = c->state;
    struct buf b = { 0 };
    batch_view_put(&b, &s->view);
    buf_puts(&b, "\n");
    if (!b.bad && !c->who.venue) shown_put(c->api->shown, s->view.request->id, s->verbose, s->written, s->at_ms, buf_view(&b));
    call_json(c, 200, &b, NULL);
}

enum { CHUNKS_SHOWN = 10000 };                 /* larger batches show their chunks only with ?verbose */

static void on_venue(struct call *c, const struct mintd_res *res)
{
    struct view_state *s = c->state;
    if (res->rows.n) s->view.venue = ((const struct mintd_db_venue *)res->rows.p)->name;
    bool chunks = s->view.request->n_items <= CHUNKS_SHOWN || s->verbose;
    batch_view_load(c, &s->view, chunks, answer_view);
}

static void on_request(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_request *q = res->rows.p;
    if (!res->rows.n || q->state != MINTD_RQ_SEALED) {
        call_problem(c, &(struct problem){ .status = 404, .code = "batch.unknown" }, "there is no batch " STR_FMT, STR_ARG(c->param[0]));
        return;
    }
    struct view_state *s = c->state;
    if (!call_venue_is(c, q->venue)) return;
    s->view.request = q;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(&q->venue, 1) }, 0, on_venue);
}

/* A key that is bound to a venue is judged by the rows, each time. */
static bool answer_again(struct call *c, uint64_t id)
{
    const struct view_state *s = c->state;
    struct mintd_str text = c->who.venue ? S("") : shown_get(c->api->shown, id, s->verbose, s->written, s->at_ms);
    struct buf b = { 0 };
    if (!text.n) return false;
    buf_str(&b, text);
    call_json(c, 200, &b, NULL);
    return true;
}

void batch_get(struct call *c)
{
    uint64_t id = 0;
    struct view_state *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    if (batch_id(c, c->param[0], &id)) return;
    c->state = s;
    *s = (struct view_state){ .written = pipe_written(c->api->pipe), .at_ms = loop_now_ms(c->api->loop), .verbose = http_query(c->http, "verbose") };
    if (!answer_again(c, id)) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = VEC(&id, 1) }, 0, on_request);
}

/* ---- cancel and retry */

static void on_steered(void *arg, int err, uint64_t n)
{
    struct call *c = arg;
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    struct buf b = { 0 };
    if (err == -ENOENT)
        call_problem(c, &(struct problem){ .status = 404, .code = "batch.unknown" }, "there is no batch " STR_FMT, STR_ARG(c->param[0]));
    else if (err)
        call_problem(c, &(struct problem){ .status = 503, .code = "server.busy", .headers = later }, "the batch cannot be changed now");
    else {
        buf_printf(&b, "{\"batchId\":\"" STR_FMT "\",\"tickets\":%" PRIu64 "}\n", STR_ARG(c->param[0]), n);
        call_json(c, 200, &b, NULL);
    }
    call_unref(c);
}

typedef void steer_fn(struct pipe *, uint64_t request, pipe_steer_fn *, void *arg);
struct steering { steer_fn *fn; uint64_t id; };

static void steer(struct call *c)
{
    const struct steering *s = c->load;
    call_ref(c);
    s->fn(c->api->pipe, s->id, on_steered, c);
}

static void on_own_request(struct call *c, const struct mintd_res *res)
{
    if (!res->rows.n || call_venue_is(c, ((const struct mintd_db_request *)res->rows.p)->venue)) steer(c);
}

/* The pipeline does not know whose key it is. */
static void steer_batch(struct call *c, steer_fn *fn)
{
    struct steering *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    s->fn = fn;
    c->load = s;
    if (batch_id(c, c->param[0], &s->id)) return;
    if (call_venue(c)) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = VEC(&s->id, 1) }, 0, on_own_request);
    else steer(c);
}

void batch_cancel(struct call *c) { steer_batch(c, pipe_cancel); }
void batch_retry(struct call *c) { steer_batch(c, pipe_retry); }
