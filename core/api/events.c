/* Pages of events: see events.h. Reads the rows, then the batches of their chunks, then the names of their venues. Calls plug/. Loop
 * thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "api/events.h"
#include "base/json.h"

/* ---- places */

uint64_t place_get(const struct place *p, uint32_t slot)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->at[i].slot == slot) return p->at[i].seq;
    return 0;
}

void place_set(struct place *p, uint32_t slot, uint64_t seq)
{
    uint32_t i = 0;
    while (i < p->n && p->at[i].slot < slot) i++;
    if (i == p->n || p->at[i].slot != slot) {
        if (p->n == PLACE_SLOTS) return;                   /* as many writers at once as no deployment has */
        memmove(&p->at[i + 1], &p->at[i], (p->n - i) * sizeof p->at[0]);
        p->at[i].slot = slot;
        p->n++;
    }
    p->at[i].seq = seq;
}

static bool covers(const struct place *a, const struct place *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        if (place_get(a, b->at[i].slot) != b->at[i].seq) return false;
    return true;
}

bool place_equal(const struct place *a, const struct place *b) { return covers(a, b) && covers(b, a); }

void place_put(struct buf *b, const struct place *p)
{
    const char *dash = "";
    for (uint32_t i = 0; i < p->n; i++) {
        if (!p->at[i].seq) continue;
        buf_printf(b, "%s%u.%" PRIu64, dash, p->at[i].slot, p->at[i].seq);
        dash = "-";
    }
    if (!*dash) buf_puts(b, "0");
}

static int parse_one(struct mintd_str part, struct place *ret)
{
    const char *dot = part.n ? memchr(part.p, '.', part.n) : NULL;
    size_t n = dot ? (size_t)(dot - part.p) : 0;
    uint64_t slot = 0, seq = 0;
    if (!dot || str_u64((struct mintd_str){ part.p, n }, &slot) || str_u64((struct mintd_str){ dot + 1, part.n - n - 1 }, &seq)) return -EINVAL;
    if (!slot || slot > UINT32_MAX || !seq || seq > INT64_MAX || ret->n == PLACE_SLOTS || place_get(ret, (uint32_t)slot)) return -EINVAL;
    place_set(ret, (uint32_t)slot, seq);
    return 0;
}

int place_parse(struct mintd_str s, struct place *ret)
{
    ret->n = 0;
    if (str_eq(s, S("0"))) return 0;
    for (size_t at = 0; at <= s.n;) {
        const char *dash = at < s.n ? memchr(s.p + at, '-', s.n - at) : NULL;
        size_t n = dash ? (size_t)(dash - s.p) - at : s.n - at;
        int rc = parse_one((struct mintd_str){ s.p + at, n }, ret);
        if (rc) return rc;
        at += n + 1;
    }
    return 0;
}

/* ---- reading */

struct reading { struct plug_inst *store; struct event_page *page; events_fn *fn; void *arg; };

struct event_page *event_page_free(struct event_page *p)
{
    if (p) arena_free(p->mem);
    free(p);
    return NULL;
}

static void over(struct reading *r, bool ok)
{
    struct event_page *page = ok ? r->page : event_page_free(r->page);
    events_fn *fn = r->fn;
    void *arg = r->arg;
    free(r);
    fn(arg, page);
}

/* ids and cursor are copied; -ENOMEM: fn is not called */
static int ask(struct reading *r, const struct mintd_query *want, plug_fn *fn)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_copy(mem, want, sizeof *q) : NULL;
    const uint64_t *ids = q && q->ids.n ? arena_copy(mem, q->ids.p, q->ids.n * sizeof *ids) : NULL;
    if (!q || (q->ids.n && !ids)) {
        arena_free(mem);
        return -ENOMEM;
    }
    q->size = sizeof *q;
    q->ids.p = ids;
    q->cursor = arena_str(mem, want->cursor);
    plug_call_rows(r->store, STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, fn, r);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Of the ids that `of` picks from the rows: each once. */
static struct mintd_vec distinct(const struct event_page *p, uint64_t (*of)(const struct mintd_db_event *))
{
    uint64_t *ids = arena_array(p->mem, p->n + 1, sizeof *ids);
    uint32_t n = 0, k = 0;
    for (uint32_t i = 0; ids && i < p->n; i++)
        if (of(&p->rows[i])) ids[n++] = of(&p->rows[i]);
    if (n) qsort(ids, n, sizeof *ids, by_number);
    for (uint32_t i = 0; i < n; i++)
        if (!k || ids[k - 1] != ids[i]) ids[k++] = ids[i];
    return (struct mintd_vec){ ids, k, sizeof *ids };
}

static uint64_t venue_id(const struct mintd_db_event *e) { return e->venue; }
static uint64_t chunk_id(const struct mintd_db_event *e) { return e->subject_kind == MINTD_DB_CHUNK ? e->subject : 0; }

/* The answer is kept with the page. */
static bool take(struct reading *r, struct plug_reply *reply)
{
    return reply->out->cls == MINTD_OK && !arena_hold(r->page->mem, reply->mem);
}

static void on_venues(void *arg, struct plug_reply *reply)
{
    struct reading *r = arg;
    struct event_page *p = r->page;
    const struct mintd_db_venue *venue = reply->res->rows.p;
    bool ok = take(r, reply);
    for (uint32_t i = 0; ok && i < p->n; i++)
        for (uint32_t k = 0; k < reply->res->rows.n; k++)
            if (venue[k].id == p->rows[i].venue) p->venue[i] = venue[k].name;
    over(r, ok);
}

static void query_venues(struct reading *r)
{
    struct mintd_vec ids = distinct(r->page, venue_id);
    if (!ids.n) over(r, ids.p);
    else if (ask(r, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .max = ids.n, .ids = ids }, on_venues)) over(r, false);
}

static void on_chunks(void *arg, struct plug_reply *reply);
static void query_chunks(struct reading *r, struct mintd_str cursor)
{
    struct mintd_vec ids = distinct(r->page, chunk_id);
    if (!ids.n) query_venues(r);
    else if (ask(r, &(struct mintd_query){ .kind = MINTD_DB_CHUNK, .max = ids.n, .ids = ids, .cursor = cursor }, on_chunks)) over(r, false);
}

static void on_chunks(void *arg, struct plug_reply *reply)
{
    struct reading *r = arg;
    struct event_page *p = r->page;
    const struct mintd_db_chunk *chunk = reply->res->rows.p;
    if (!take(r, reply)) return over(r, false);
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < reply->res->rows.n; k++)
            if (chunk[k].id == chunk_id(&p->rows[i])) p->batch[i] = chunk[k].request;
    if (reply->res->next.n) query_chunks(r, reply->res->next);
    else query_venues(r);
}

static void on_events(void *arg, struct plug_reply *reply)
{
    struct reading *r = arg;
    struct event_page *p = r->page;
    p->n = reply->res->rows.n;
    p->rows = reply->res->rows.p;
    p->next = reply->res->next;
    p->batch = arena_array(p->mem, p->n + 1, sizeof *p->batch);
    p->venue = arena_array(p->mem, p->n + 1, sizeof *p->venue);
    if (!take(r, reply) || !p->batch || !p->venue) return over(r, false);
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->rows[i].subject_kind == MINTD_DB_REQUEST) p->batch[i] = p->rows[i].subject;
        if (p->rows[i].subject_kind == MINTD_DB_ITEM) p->batch[i] = p->rows[i].subject >> 24;
    }
    query_chunks(r, (struct mintd_str){ NULL, 0 });
}

int events_read(struct plug_inst *store, const struct mintd_query *want, events_fn *fn, void *arg)
{
    struct reading *r = calloc(1, sizeof *r);
    struct event_page *p = calloc(1, sizeof *p);
    if (p) p->mem = arena_new(0);
    if (r) *r = (struct reading){ store, p, fn, arg };
    if (r && p && p->mem && store && !ask(r, want, on_events)) return 0;
    event_page_free(p);
    free(r);
    return -ENOMEM;
}

/* ---- the document */

const char *event_subject(uint32_t kind)
{
    static const char *const names[] = { [MINTD_DB_VENUE] = "venue", [MINTD_DB_COLLECTION] = "collection", [MINTD_DB_REQUEST] = "batch",
        [MINTD_DB_ITEM] = "ticket", [MINTD_DB_CHUNK] = "chunk", [MINTD_DB_LEASE] = "slot", [MINTD_DB_META] = "meta",
        [MINTD_DB_KEY] = "key", [MINTD_DB_REPORT] = "report" };
    return kind < ARRAY_LEN(names) && names[kind] ? names[kind] : "other";
}

/* Text that the core or a plugin wrote as JSON goes in as it is, on one line; a break can only stand between its tokens. */
static void put_body(struct buf *b, struct mintd_str body)
{
    struct json_error e;
    if (!body.n) return;
    buf_puts(b, ",\"body\":");
    size_t from = b->n;
    if (json_check(body, 0, &e)) buf_json(b, body);
    else buf_str(b, body);
    for (size_t i = from; !b->bad && i < b->n; i++)
        if (b->p[i] == '\n' || b->p[i] == '\r') b->p[i] = ' ';
}

void event_members(struct buf *b, const struct event_page *p, uint32_t i)
{
    const struct mintd_db_event *e = &p->rows[i];
    buf_printf(b, "\"slot\":%u,\"number\":%" PRIu64, e->slot, e->seq);
    json_str(b, "kind", e->kind);
    json_time(b, "at", e->at);
    json_str(b, "venueId", p->venue[i]);
    if (p->batch[i]) buf_printf(b, ",\"batchId\":\"%" PRIu64 "\"", p->batch[i]);
    buf_printf(b, ",\"subjectKind\":\"%s\",\"subject\":\"%" PRIu64 "\"", event_subject(e->subject_kind), e->subject);
    put_body(b, e->body);
}

void event_put(struct buf *b, const struct event_page *p, uint32_t i)
{
    buf_puts(b, "{");
    event_members(b, p, i);
    buf_puts(b, "}");
}
