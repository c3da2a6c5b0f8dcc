/* GET /v1/events, GET /v1/batches/{id}/events: the store's events, as a list from the oldest on, or with Accept: text/event-stream as a
 * stream that goes on. Calls hub.h, list.h. Loop thread. */
#include "api/batch.h"
#include "api/hub.h"
#include "api/list.h"

struct wish {
    struct hub_filter filter;
    struct place from;
    bool resumes;
    struct event_page *page;                   /* of the list */
};

/* ---- as a list */

static void on_page(void *arg, struct event_page *p)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    struct list_view *l = arg;
    struct call *c = l->c;
    struct wish *w = l->state;
    w->page = p;
    if (p && call_open(c)) list_took(l, p->n, p->next);
    else if (!p) call_problem(c, &(struct problem){ .status = 503, .code = "store.unavailable", .headers = later }, "the store cannot be read now");
    event_page_free(p);
    call_unref(c);
}

static void load(struct list_view *l)
{
    const struct wish *w = l->state;
    struct mintd_query q = { .kind = MINTD_DB_EVENT, .max = l->room, .cursor = l->cursor, .request = w->filter.batch, .venue = w->filter.venue };
    call_ref(l->c);
    if (!events_read(pipe_store(l->c->api->pipe), &q, on_page, l)) return;
    call_memory(l->c);
    call_unref(l->c);
}

static bool wanted(struct list_view *l, uint32_t i)
{
    const struct wish *w = l->state;
    return hub_kind_fits(w->filter.kinds, w->page->rows[i].kind);
}

static void row(struct list_view *l, uint32_t i, struct rec *r)
{
    static const struct mintd_db_event none;
    const struct wish *w = l->state;
    const struct event_page *p = w->page;
    const struct mintd_db_event *e = i == UINT32_MAX ? &none : &p->rows[i];
    if (rec_json(r)) {
        event_members(r->b, p, i);
        return;
    }
    rec_u64(r, "slot", e->slot);
    rec_u64(r, "number", e->seq);
    rec_str(r, "kind", e->kind);
    rec_time(r, "at", e->at);
    rec_str(r, "venueId", r->head ? e->kind : p->venue[i]);
    rec_id(r, "batchId", r->head ? 0 : p->batch[i]);
    rec_str(r, "subjectKind", str_of(event_subject(e->subject_kind)));
    rec_id(r, "subject", e->subject);
    rec_str(r, "body", e->body);
}

static const struct list_kind kind = { "events", 100, 1000, load, wanted, row };

/* ---- as a stream */

static void on_heads(struct call *c, const struct mintd_res *res)
{
    static const struct http_header later[] = { { "Retry-After", "5" }, { NULL, NULL } };
    struct wish *w = c->load;
    const struct mintd_db_lease *lease = res->rows.p;
    struct place heads = { 0 };
    for (uint32_t i = 0; i < res->rows.n; i++) place_set(&heads, lease[i].slot, lease[i].event_seq);
    for (uint32_t i = 0; i < w->from.n; i++)
        if (w->from.at[i].seq > place_get(&heads, w->from.at[i].slot)) {
            call_problem(c, &(struct problem){ .status = 400, .code = "events.id", .pointer = "Last-Event-ID" },
                         "is of events that this store does not have: begin again without it");
            return;
        }
    if (hub_full(c->api->hub)) {
        call_problem(c, &(struct problem){ .status = 503, .code = "server.streams", .headers = later },
                     "%u listeners are there already (api.max_streams)", c->api->conf->api.max_streams);
        return;
    }
    if (!w->resumes && !w->filter.batch) w->from = heads;                    /* from now on; of a batch from its beginning */
    w->filter.venue_name = arena_str(c->mem, w->filter.venue_name);
    call_forget(c, NULL);
    hub_listen(c->api->hub, c, &w->filter, &w->from);
}

static void listen_to(struct call *c, struct wish *w)
{
    const char *id = http_header(c->http, "last-event-id", NULL);
    const char *extra = http_query(c->http, "cursor") ? "cursor" : http_query(c->http, "limit") ? "limit" : NULL;
    w->resumes = id && *id;
    if (extra) filter_refuse(c, extra, "is of lists; a stream goes on behind the id in Last-Event-ID");
    else if (w->resumes && place_parse(str_of(id), &w->from))
        call_problem(c, &(struct problem){ .status = 400, .code = "events.id", .pointer = "Last-Event-ID" }, "is no id of an event of this API");
    else {
        c->load = w;
        call_query(c, &(struct mintd_query){ .kind = MINTD_DB_LEASE }, 0, on_heads);
    }
}

static void begin(struct call *c, struct wish *w)
{
    if (c->format == FORMAT_EVENTS) listen_to(c, w);
    else list_start(c, &kind, w);
}

/* ---- GET /v1/events */

static bool kinds_known(struct call *c, struct mintd_str kinds)
{
    for (size_t i = 0; i < kinds.n; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyz_.,*", kinds.p[i])) continue;
        filter_refuse(c, "kind", "must be kinds of events, a comma between, such as request.accepted,chunk.*");
        return false;
    }
    return true;
}

static void on_venue(struct call *c, uint64_t venue)
{
    struct wish *w = arena_alloc(c->mem, sizeof *w);
    if (!w) return call_memory(c);
    w->filter.venue = venue;
    if (filter_text(c, "kind", 256, &w->filter.kinds) && kinds_known(c, w->filter.kinds)) begin(c, w);
}

void event_list(struct call *c) { filter_venue(c, on_venue); }

/* ---- GET /v1/batches/{id}/events */

static void on_venue_of(struct call *c, const struct mintd_res *res)
{
    struct wish *w = c->load;
    if (res->rows.n) w->filter.venue_name = ((const struct mintd_db_venue *)res->rows.p)->name;
    begin(c, w);
}

static void on_request(struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_request *q = res->rows.p;
    struct wish *w = arena_alloc(c->mem, sizeof *w);
    if (!w) return call_memory(c);
    if (!res->rows.n || q->state != MINTD_RQ_SEALED) {
        call_problem(c, &(struct problem){ .status = 404, .code = "batch.unknown" }, "there is no batch " STR_FMT, STR_ARG(c->param[0]));
        return;
    }
    if (!call_venue_is(c, q->venue)) return;
    w->filter.batch = q->id;
    w->filter.items = q->n_items;
    c->load = w;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(&q->venue, 1) }, 0, on_venue_of);
}

void batch_events(struct call *c)
{
    uint64_t id = 0;
    if (batch_id(c, c->param[0], &id)) return;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = VEC(&id, 1) }, 0, on_request);
}
