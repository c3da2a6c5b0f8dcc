/* Collections: made before their first ticket, listed, shown. On the chain one is created with the first batch that is sealed for it.
 * Calls call.h, fields.h, list.h. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include "api/batch.h"
#include "api/fields.h"
#include "api/list.h"
#include "base/json.h"

enum { NAME_BYTES = 128, SPEC_MAX = 16 * 1024 };
static const uint64_t SUPPLY_MAX = UINT64_C(9007199254740991);   /* what every reader of JSON can count */

/* ---- the document */

static const struct filter_word states[] = {
    { "new", 1 << 0 }, { "ready", 1 << 1 }, { "parked", 1 << 2 }, { "full", 1 << 3 }, { "closed", 1 << 4 },
};

const char *collection_state(const struct mintd_db_collection *col)
{
    if (col->max_supply && col->accepted >= col->max_supply && col->state <= MINTD_COL_READY) return "full";
    return col->state && col->state <= ARRAY_LEN(states) ? states[col->state - 1].name : "new";
}

static void put_members(struct buf *b, const struct mintd_db_collection *col, struct mintd_str venue)
{
    buf_printf(b, "\"collectionId\":\"%" PRIu64 "\"", col->id);
    json_str(b, "venueId", venue);
    json_str(b, "name", col->name);
    json_str(b, "pipeline", col->pipeline);
    json_str(b, "network", col->network);
    buf_printf(b, ",\"state\":\"%s\"", collection_state(col));
    json_str(b, "chainRef", col->chain_ref);
    json_str(b, "reason", col->park_reason);
    if (col->max_supply) buf_printf(b, ",\"maxSupply\":%" PRIu64, col->max_supply);
    buf_printf(b, ",\"accepted\":%" PRIu64 ",\"spec\":", col->accepted);
    buf_str(b, col->spec.n ? col->spec : S("{}"));
    buf_printf(b, ",\"links\":{\"self\":\"/v1/collections/%" PRIu64 "\"}", col->id);
}

/* ---- GET /v1/collections */

struct cols {
    struct mintd_query q;
    uint64_t states;
    const struct mintd_db_collection *col;     /* of the page */
    uint32_t n;
    struct mintd_str next;
    const struct mintd_db_venue *venue;
    uint32_t n_venues;
};

static struct mintd_str venue_name(const struct cols *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->n_venues; i++)
        if (s->venue[i].id == id) return s->venue[i].name;
    return S("");
}

static void on_venues(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct cols *s = l->state;
    s->venue = res->rows.p;
    s->n_venues = res->rows.n;
    list_took(l, s->n, s->next);
}

static void on_cols(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct cols *s = l->state;
    uint64_t *ids = arena_array(l->page, res->rows.n + 1, sizeof *ids);
    uint32_t n = 0;
    s->col = res->rows.p;
    s->n = res->rows.n;
    s->next = res->next;
    if (!ids) return call_memory(c);
    for (uint32_t i = 0, k; i < s->n; i++) {
        for (k = 0; k < n && ids[k] != s->col[i].venue; k++) { }
        if (k == n) ids[n++] = s->col[i].venue;
    }
    if (!n) list_took(l, 0, s->next);
    else call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .max = n, .ids = VEC(ids, n) }, 0, on_venues);
}

static void load(struct list_view *l)
{
    struct cols *s = l->state;
    s->q.cursor = l->cursor;
    s->q.max = l->room;
    call_query(l->c, &s->q, 0, on_cols);
}

static bool wanted(struct list_view *l, uint32_t i)
{
    const struct cols *s = l->state;
    for (size_t k = 0; k < ARRAY_LEN(states); k++)
        if (!strcmp(collection_state(&s->col[i]), states[k].name)) return !s->states || s->states & states[k].bit;
    return false;
}

static void row(struct list_view *l, uint32_t i, struct rec *r)
{
    static const struct mintd_db_collection none;
    const struct cols *s = l->state;
    const struct mintd_db_collection *col = i == UINT32_MAX ? &none : &s->col[i];
    if (rec_json(r)) {
        put_members(r->b, col, venue_name(s, col->venue));
        return;
    }
    rec_id(r, "collectionId", col->id);
    rec_str(r, "venueId", venue_name(s, col->venue));
    rec_str(r, "name", col->name);
    rec_str(r, "pipeline", col->pipeline);
    rec_str(r, "network", col->network);
    rec_str(r, "state", str_of(collection_state(col)));
    rec_str(r, "chainRef", col->chain_ref);
    rec_str(r, "reason", col->park_reason);
    rec_id(r, "maxSupply", col->max_supply);
    rec_u64(r, "accepted", col->accepted);
    rec_str(r, "spec", col->spec);
}

static const struct list_kind kind = { "collections", 100, 1000, load, wanted, row };

static void on_filter(struct call *c, uint64_t venue)
{
    struct cols *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    s->q = (struct mintd_query){ .kind = MINTD_DB_COLLECTION, .venue = venue };
    if (filter_words(c, "state", states, ARRAY_LEN(states), &s->states)) list_start(c, &kind, s);
}

void collection_list(struct call *c) { filter_venue(c, on_filter); }

/* ---- one of them, as an answer */

struct showing {
    uint64_t id;
    const struct mintd_db_collection *col;
    unsigned status;
    /* ---- of one that is to be made: what was asked for */
    struct mintd_str venue, name, pipeline, spec, network;
    uint64_t max_supply, venue_id;
    bool collects;
};

static void on_shown_venue(struct call *c, const struct mintd_res *res)
{
    const struct showing *s = c->load;
    const struct mintd_db_venue *venue = res->rows.p;
    char where[48];
    struct buf b = { 0 };
    snprintf(where, sizeof where, "/v1/collections/%" PRIu64, s->id);
    const struct http_header headers[] = { { "Location", s->status == 201 ? where : NULL }, { NULL, NULL } };
    buf_puts(&b, "{");
    put_members(&b, s->col, res->rows.n ? venue->name : S(""));
    buf_puts(&b, "}\n");
    call_json(c, s->status, &b, headers);
}

static void unknown(struct call *c)
{
    call_problem(c, &(struct problem){ .status = 404, .code = "collection.unknown" }, "there is no collection " STR_FMT, STR_ARG(c->param[0]));
}

/* The same object is the same text: white space between its tokens goes. */
static struct mintd_str compact(struct call *c, struct mintd_str json)
{
    char *out = arena_alloc(c->mem, json.n + 1);
    size_t n = 0;
    bool text = false;
    for (size_t i = 0; out && i < json.n; i++) {
        if (!text && strchr(" \t\r\n", json.p[i])) continue;
        if (text && json.p[i] == '\\') out[n++] = json.p[i++];
        else if (json.p[i] == '"') text = !text;
        out[n++] = json.p[i];
    }
    return (struct mintd_str){ out, n };
}

/* What was asked for by name must be so; what was left out is as it is. */
static bool same(struct call *c, const struct showing *s)
{
    const char *other = s->spec.n && !str_eq(s->spec, compact(c, s->col->spec)) ? "spec" : s->max_supply && s->max_supply != s->col->max_supply ? "maxSupply" : NULL;
    char pointer[16], members[64];
    if (!other) return true;
    snprintf(pointer, sizeof pointer, "/%s", other);
    snprintf(members, sizeof members, ",\"collectionId\":\"%" PRIu64 "\"", s->id);
    call_problem(c, &(struct problem){ .status = 409, .code = "collection.exists", .pointer = pointer, .members = members },
                 "this collection is there already with another %s, and that never changes: see /v1/collections/%" PRIu64, other, s->id);
    return false;
}

static void on_shown(struct call *c, const struct mintd_res *res)
{
    struct showing *s = c->load;
    s->col = res->rows.p;
    if (!res->rows.n) return unknown(c);
    if (!call_venue_is(c, s->col->venue) || (s->name.n && s->status == 200 && !same(c, s))) return;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(&s->col->venue, 1) }, 0, on_shown_venue);
}

static void show(struct call *c, struct showing *s)
{
    c->load = s;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_COLLECTION, .ids = VEC(&s->id, 1) }, 0, on_shown);
}

void collection_get(struct call *c)
{
    struct showing *s = arena_alloc(c->mem, sizeof *s);
    if (!s) return call_memory(c);
    s->status = 200;
    if (str_u64(c->param[0], &s->id) || !s->id || s->id > INT64_MAX) unknown(c);
    else show(c, s);
}

/* ---- POST /v1/collections */

static void not_taken(struct call *c)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    call_problem(c, &(struct problem){ .status = 503, .code = "store.unavailable", .headers = later }, "the store did not take the collection");
}

static void on_made(struct call *c, const struct mintd_applied *a)
{
    struct showing *s = c->load;
    if (a->verdict > MINTD_REPEATED || !a->value) return not_taken(c);
    s->id = a->value;
    s->status = a->verdict == MINTD_APPLIED ? 201 : 200;
    show(c, s);
}

static void on_venue_made(struct call *c, const struct mintd_applied *a)
{
    struct showing *s = c->load;
    struct arena *mem = arena_new(0);
    if (a->verdict > MINTD_REPEATED || !a->value) {
        arena_free(mem);
        return not_taken(c);
    }
    const struct conf_pipeline *cf = conf_pipeline(c->api->conf, s->pipeline);
    struct mintd_str dflt = cf && cf->collection_spec.n ? cf->collection_spec : S("{}");
    s->venue_id = a->value;
    if (!mem) return call_memory(c);
    struct mintd_db_collection row = { .venue = s->venue_id, .pipeline = arena_str(mem, s->pipeline), .name = arena_str(mem, s->name),
        .spec = arena_str(mem, s->spec.n ? s->spec : dflt), .network = arena_str(mem, s->network), .max_supply = s->max_supply,
        .state = s->collects ? MINTD_COL_NEW : MINTD_COL_READY };
    call_write(c, &(struct pipe_row){ .kind = MINTD_DB_COLLECTION, .row = &row, .size = sizeof row, .event = "collection.added",
                                      .venue = s->venue_id }, mem, on_made);
}

static bool refuse(struct call *c, unsigned status, const char *code, const char *pointer, const char *why)
{
    call_problem(c, &(struct problem){ .status = status, .code = code, .pointer = pointer }, "%s", why);
    return false;
}

static bool is_name(struct call *c, struct mintd_str s, const char *pointer)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) return refuse(c, 422, "field.characters", pointer, "must not hold control characters");
    return true;
}

static bool take(struct call *c, struct showing *s)
{
    s->max_supply = UINT64_MAX;                            /* left out */
    const struct field fields[] = {
        { "venueId", FIELD_STR, true, NAME_BYTES, &s->venue }, { "name", FIELD_STR, true, NAME_BYTES, &s->name },
        { "pipeline", FIELD_STR, false, NAME_BYTES, &s->pipeline }, { "spec", FIELD_OBJECT, false, 0, &s->spec },
        { "maxSupply", FIELD_U64, false, SUPPLY_MAX, &s->max_supply },
    };
    if (!call_fields(c, fields, ARRAY_LEN(fields)) || !is_name(c, s->venue, "/venueId") || !is_name(c, s->name, "/name")) return false;
    if (!s->max_supply) return refuse(c, 422, "field.range", "/maxSupply", "must be at least 1; leave it out for no limit");
    if (s->max_supply == UINT64_MAX) s->max_supply = 0;
    if (s->spec.n > SPEC_MAX) return refuse(c, 422, "field.too_long", "/spec", "has more than 16 KiB");
    if (s->spec.n) s->spec = compact(c, s->spec);
    return call_venue_named(c, s->venue);
}

/* The pipeline, and what its chain says. */
static bool find_chain(struct call *c, struct showing *s)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    const struct conf_pipeline *cf = conf_pipeline_of(c->api->conf, s->pipeline, s->venue);
    struct pipe_view view;
    struct buf why = { 0 };
    if (!cf) return refuse(c, 422, "request.unknown_pipeline", "/pipeline", "no such pipeline is configured");
    s->pipeline = arena_str(c->mem, cf->name);             /* a reload may drop the configuration meanwhile */
    bool ready = pipe_ready(c->api->pipe, &why) && pipe_look_at(c->api->pipe, cf->name, &view) && view.limits;
    if (ready) {
        s->network = arena_str(c->mem, view.limits->network);
        s->collects = view.limits->caps & MINTD_C_COLLECTS;
    } else {
        call_problem(c, &(struct problem){ .status = 503, .code = "pipe.not_ready", .headers = later }, STR_FMT,
                     STR_ARG(why.n ? buf_view(&why) : S("the chain of this pipeline does not answer yet")));
    }
    buf_free(&why);
    return ready;
}

void collection_post(struct call *c)
{
    struct showing *s = arena_alloc(c->mem, sizeof *s);
    struct arena *mem;
    if (!s) return call_memory(c);
    if (!take(c, s) || !find_chain(c, s)) return;
    mem = arena_new(0);
    if (!mem) return call_memory(c);
    c->load = s;
    struct mintd_db_venue row = { .name = arena_str(mem, s->venue) };
    call_write(c, &(struct pipe_row){ .kind = MINTD_DB_VENUE, .row = &row, .size = sizeof row }, mem, on_venue_made);
}
