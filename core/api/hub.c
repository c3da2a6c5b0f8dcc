/* Listeners of events: see hub.h. Owns them, the reader and the counters of the batches that are followed. Calls call.h, events.h and the
 * store. Loop thread.
 *
 * `seen` is the place up to which events were handed to the live listeners. One that is behind reads on its own up to `seen` and joins
 * them when it is there: nothing comes twice and nothing is left out, because both happen on one thread. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/batch.h"
#include "api/hub.h"
#include "base/log.h"

enum { GATHER_MS = 50, LOOK_MS = 2000, PROGRESS_MS = 250, COUNTS_OUT = 32, PAGE = 200, LAG = 64 * 1024 };

/* ---- a batch that someone follows */
struct follow {
    uint64_t batch, items, asked_ms, end_poll;             /* end_poll: the reading of events after which it is told that it is settled */
    struct list listeners;
    struct mintd_db_count count;
    bool dirty, asking, settled;
};
enum listener_state { WAITING, BEHIND, PAUSED, LIVE };      /* for a reading to end; reads itself; its client is slow; served */
struct listener {
    struct list link, of;                                  /* of the hub, of its batch */
    struct hub *hub;
    struct call *call;
    struct hub_filter filter;
    struct follow *follow;
    enum listener_state state;
    uint64_t poll;                                         /* WAITING: for the end of this one */
    struct place at, target;                               /* not LIVE: what was sent; where this round of reading ends */
    uint32_t slot;                                         /* place in target */
    struct buf next;                                       /* the store's cursor in that slot; empty: by `at` */
    bool fresh, told;                                      /* PAUSED: begins a round; the present counters were sent */
};
struct hub {
    struct api *api;
    struct list listeners;
    struct map follows;
    struct place seen, heads;
    struct loop_timer *poll_timer, *beat_timer, *progress_timer;
    uint64_t poll_at, polled_ms, polls;                    /* polls: number of the last reading begun */
    uint32_t n, refs, counts_out;
    bool known, reading, again, stopped;                   /* known: `seen` means something */
};

static void kick(struct hub *h);
static void read_on(struct listener *l);
static void arm_progress(struct hub *h);
static void next_slot(struct hub *h);

static void put(struct hub *h)
{
    if (!--h->refs) free(h);
}

static uint64_t now(const struct hub *h) { return loop_now_ms(h->api->loop); }

/* ---- what is sent */

bool hub_kind_fits(struct mintd_str kinds, struct mintd_str kind)
{
    if (!kinds.n) return true;
    for (size_t at = 0; at < kinds.n;) {
        const char *comma = memchr(kinds.p + at, ',', kinds.n - at);
        struct mintd_str one = { kinds.p + at, comma ? (size_t)(comma - kinds.p) - at : kinds.n - at };
        bool family = one.n > 1 && one.p[one.n - 1] == '*';
        if (family ? str_starts(kind, (struct mintd_str){ one.p, one.n - 1 }) : str_eq(kind, one)) return true;
        at += one.n + 1;
    }
    return false;
}

static bool fits(const struct listener *l, const struct event_page *p, uint32_t i)
{
    if (l->filter.batch) return p->batch[i] == l->filter.batch;
    return (!l->filter.venue || p->rows[i].venue == l->filter.venue) && hub_kind_fits(l->filter.kinds, p->rows[i].kind);
}

static void put_event_text(struct buf *b, const struct event_page *p, uint32_t i, const struct place *at)
{
    buf_puts(b, "id: ");
    place_put(b, at);
    buf_printf(b, "\nevent: " STR_FMT "\ndata: ", STR_ARG(p->rows[i].kind));
    event_put(b, p, i);
    buf_puts(b, "\n\n");
}

static void send(struct listener *l, struct mintd_str text)
{
    struct buf copy = { 0 };
    buf_str(&copy, text);
    call_push(l->call, &copy);
}

static void put_counters(struct buf *b, const struct listener *l, const char *kind)
{
    const struct mintd_db_count *n = &l->follow->count;
    struct mintd_db_request request = { .id = l->filter.batch, .n_items = l->filter.items };
    struct batch_view v = { .request = &request, .count = *n, .begun = n->open < l->filter.items };
    buf_printf(b, "event: %s\ndata: {\"batchId\":\"%" PRIu64 "\"", kind, l->filter.batch);
    json_str(b, "venueId", l->filter.venue_name);
    buf_printf(b, ",\"state\":\"%s\",\"total\":%" PRIu64 ",\"open\":%" PRIu64 ",\"quarantined\":%" PRIu64 ",\"minted\":%" PRIu64
               ",\"failed\":%" PRIu64 ",\"cancelled\":%" PRIu64 "}\n\n", batch_state(&v), l->filter.items, n->open, n->quarantined, n->done,
               n->failed, n->cancelled);
}

static void send_counters(struct listener *l, const char *kind)
{
    struct buf b = { 0 };
    put_counters(&b, l, kind);
    call_push(l->call, &b);
    l->told = true;
}

/* ---- the counters of followed batches: few questions at a time, each batch at most four times a second */

struct counting { struct hub *hub; uint64_t batch; };

static void tell_counters(struct follow *f, bool changed)
{
    LIST_EACH(it, &f->listeners) {
        struct listener *l = LIST_OF(it, struct listener, of);
        if (l->state == LIVE && (changed || !l->told) && call_queued(l->call) < LAG) send_counters(l, "progress");
    }
}

static void on_count(void *arg, struct plug_reply *r)
{
    struct counting q = *(struct counting *)arg;
    struct hub *h = q.hub;
    struct follow *f = h->stopped ? NULL : map_get(&h->follows, q.batch);
    free(arg);
    h->counts_out--;
    if (f) f->asking = false;
    if (f && r->out->cls == MINTD_OK && r->res->rows.n) {
        struct mintd_db_count count = *(const struct mintd_db_count *)r->res->rows.p;
        bool changed = memcmp(&f->count, &count, sizeof count);
        f->count = count;
        tell_counters(f, changed);
        f->settled = count.done + count.failed + count.cancelled >= f->items;
        f->end_poll = h->polls + 1;                        /* its last event is told before its end */
        if (f->settled) kick(h);
    } else if (f) {
        f->dirty = true;
    }
    if (!h->stopped) arm_progress(h);
    put(h);
}

static void ask_count(struct hub *h, struct follow *f)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    struct counting *arg = q ? malloc(sizeof *arg) : NULL;
    f->asked_ms = now(h);
    if (!arg) {
        arena_free(mem);
        return;
    }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_COUNT, .request = f->batch };
    *arg = (struct counting){ h, f->batch };
    f->dirty = false;
    f->asking = true;
    h->counts_out++;
    h->refs++;
    plug_call_rows(pipe_store(h->api->pipe), STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, on_count, arg);
}

static void on_progress(void *arg)
{
    struct hub *h = arg;
    size_t it = 0;
    struct follow *f;
    loop_timer_del(h->progress_timer);
    h->progress_timer = NULL;
    while ((f = map_next(&h->follows, &it)))
        if (f->dirty && !f->asking && h->counts_out < COUNTS_OUT && now(h) - f->asked_ms >= PROGRESS_MS) ask_count(h, f);
    arm_progress(h);
}

static void arm_progress(struct hub *h)
{
    size_t it = 0;
    bool dirty = false;
    for (struct follow *f; !dirty && (f = map_next(&h->follows, &it));) dirty = f->dirty;
    if (dirty && !h->progress_timer) h->progress_timer = loop_timer(h->api->loop, GATHER_MS, on_progress, h);
}

static struct follow *follow_batch(struct hub *h, uint64_t batch, uint64_t items)
{
    struct follow *f = map_get(&h->follows, batch);
    if (f) return f;
    f = calloc(1, sizeof *f);
    if (!f || map_put(&h->follows, batch, f)) return free(f), NULL;
    f->batch = batch;
    f->items = items;
    list_init(&f->listeners);
    return f;
}

static void unfollow(struct hub *h, struct follow *f)
{
    if (!f || !list_empty(&f->listeners)) return;
    map_del(&h->follows, f->batch);
    free(f);
}

/* Every event of a settled batch was told. */
static void tell_end(struct hub *h)
{
    size_t it = 0;
    for (struct follow *f; (f = map_next(&h->follows, &it));) {
        if (!f->settled || f->end_poll > h->polls) continue;
        LIST_EACH(in, &f->listeners) {
            struct listener *l = LIST_OF(in, struct listener, of);
            if (l->state != LIVE || !l->told) continue;
            send_counters(l, "finished");
            call_finish(l->call, true);
        }
    }
}

/* ---- catching up */

static void join(struct listener *l)
{
    l->state = LIVE;
    l->told = false;
    if (!l->follow) return;
    l->follow->dirty = true;
    arm_progress(l->hub);
}

static void fall_behind(struct listener *l)
{
    l->state = BEHIND;
    l->target = l->hub->seen;
    l->slot = 0;
    buf_free(&l->next);
    read_on(l);
}

/* Sends what is new in the present slot. true: the slot is read to its target. */
static bool send_page(struct listener *l, const struct event_page *p)
{
    uint32_t slot = l->target.at[l->slot].slot;
    uint64_t end = l->target.at[l->slot].seq;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct mintd_db_event *e = &p->rows[i];
        if (e->slot != slot || e->seq > end) return true;
        if (e->seq <= place_get(&l->at, slot)) continue;
        place_set(&l->at, slot, e->seq);
        struct buf b = { 0 };
        if (fits(l, p, i)) put_event_text(&b, p, i, &l->at);
        call_push(l->call, &b);
    }
    return !p->next.n;
}

static void on_page(void *arg, struct event_page *p)
{
    struct listener *l = arg;
    struct call *c = l->call;
    if (call_open(c) && !p) call_finish(c, false);         /* it comes back and goes on from its last id */
    if (call_open(c)) {
        bool done = send_page(l, p);
        buf_free(&l->next);
        if (done) place_set(&l->at, l->target.at[l->slot].slot, l->target.at[l->slot].seq);
        else buf_str(&l->next, p->next);
        l->fresh = false;
        if (call_queued(c) > LAG) l->state = PAUSED;
        else read_on(l);
    }
    event_page_free(p);
    call_unref(c);
}

static void query_slot(struct listener *l)
{
    uint32_t slot = l->target.at[l->slot].slot;
    char text[48];
    int n = snprintf(text, sizeof text, "%u.%" PRIu64, slot, place_get(&l->at, slot));
    struct mintd_query q = { .kind = MINTD_DB_EVENT, .max = PAGE, .venue = l->filter.venue, .cursor = { text, (size_t)n } };
    if (l->filter.batch) q.request = l->filter.batch;
    else q.slot = slot;
    if (l->next.n) q.cursor = buf_view(&l->next);
    call_ref(l->call);
    if (!events_read(pipe_store(l->hub->api->pipe), &q, on_page, l)) return;
    call_finish(l->call, false);
    call_unref(l->call);
}

static void read_on(struct listener *l)
{
    struct hub *h = l->hub;
    for (;;) {
        const struct place *t = &l->target;
        while (l->slot < t->n && place_get(&l->at, t->at[l->slot].slot) >= t->at[l->slot].seq) {
            l->slot++;
            buf_free(&l->next);
        }
        if (l->slot < t->n) return query_slot(l);
        if (place_equal(t, &h->seen)) return join(l);
        l->target = h->seen;
        l->slot = 0;
    }
}

/* ---- the reader */

/* Leaves the live ones before this event, which it reads again when its client has taken what waits. */
static void lag(struct listener *l, const struct mintd_db_event *e)
{
    l->state = PAUSED;
    l->fresh = true;
    l->at = l->hub->seen;
    place_set(&l->at, e->slot, e->seq - 1);
}

static void hand_out(struct hub *h, const struct event_page *p, uint32_t i)
{
    struct buf text = { 0 };
    struct follow *f = p->batch[i] ? map_get(&h->follows, p->batch[i]) : NULL;
    place_set(&h->seen, p->rows[i].slot, p->rows[i].seq);
    if (f) f->dirty = true;
    LIST_EACH(it, &h->listeners) {
        struct listener *l = LIST_OF(it, struct listener, link);
        if (l->state != LIVE || !call_open(l->call) || !fits(l, p, i)) continue;
        if (call_queued(l->call) > LAG) {
            lag(l, &p->rows[i]);
            continue;
        }
        if (!text.n) put_event_text(&text, p, i, &h->seen);
        send(l, buf_view(&text));
    }
    buf_free(&text);
}

static void on_poll_timer(void *arg)
{
    struct hub *h = arg;
    loop_timer_del(h->poll_timer);
    h->poll_timer = NULL;
    kick(h);
}

static void set_poll(struct hub *h, uint64_t ms)
{
    uint64_t at = now(h) + ms;
    if (h->poll_timer && h->poll_at <= at) return;
    loop_timer_del(h->poll_timer);
    h->poll_at = at;
    h->poll_timer = NULL;
    if (!h->stopped && h->n) h->poll_timer = loop_timer(h->api->loop, ms, on_poll_timer, h);
}

static void wake_waiting(struct hub *h)
{
    LIST_EACH(it, &h->listeners) {
        struct listener *l = LIST_OF(it, struct listener, link);
        if (l->state == WAITING && l->poll <= h->polls && call_open(l->call)) fall_behind(l);
    }
}

static void reading_over(struct hub *h, bool ok)
{
    h->reading = false;
    if (!h->stopped && ok) {
        wake_waiting(h);
        tell_end(h);
        arm_progress(h);
    }
    if (!h->stopped) set_poll(h, h->again ? GATHER_MS : LOOK_MS);
    h->again = false;
    put(h);
}

static void on_new(void *arg, struct event_page *p)
{
    struct hub *h = arg;
    if (!p || h->stopped) {
        event_page_free(p);
        return reading_over(h, false);
    }
    uint32_t slot = 0;
    for (uint32_t i = 0; i < h->heads.n && !slot; i++)
        if (place_get(&h->seen, h->heads.at[i].slot) < h->heads.at[i].seq) slot = h->heads.at[i].slot;
    for (uint32_t i = 0; i < p->n; i++) hand_out(h, p, i);
    if (!p->n) place_set(&h->seen, slot, place_get(&h->heads, slot));          /* cleared away meanwhile: there is nothing to tell */
    event_page_free(p);
    next_slot(h);
}

static void next_slot(struct hub *h)
{
    char text[48];
    for (uint32_t i = 0; i < h->heads.n; i++) {
        uint32_t slot = h->heads.at[i].slot;
        if (place_get(&h->seen, slot) >= h->heads.at[i].seq) continue;
        int n = snprintf(text, sizeof text, "%u.%" PRIu64, slot, place_get(&h->seen, slot));
        struct mintd_query q = { .kind = MINTD_DB_EVENT, .max = PAGE, .slot = slot, .cursor = { text, (size_t)n } };
        if (events_read(pipe_store(h->api->pipe), &q, on_new, h)) reading_over(h, false);
        return;
    }
    reading_over(h, true);
}

static void on_heads(void *arg, struct plug_reply *r)
{
    struct hub *h = arg;
    const struct mintd_db_lease *lease = r->res->rows.p;
    if (h->stopped || r->out->cls != MINTD_OK) return reading_over(h, false);
    for (uint32_t i = 0; i < r->res->rows.n; i++) place_set(&h->heads, lease[i].slot, lease[i].event_seq);
    if (!h->known) h->seen = h->heads;
    h->known = true;
    next_slot(h);
}

static void poll_now(struct hub *h)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_alloc(mem, sizeof *q) : NULL;
    h->polled_ms = now(h);
    if (!q) {
        arena_free(mem);
        set_poll(h, LOOK_MS);
        return;
    }
    *q = (struct mintd_query){ .size = sizeof *q, .kind = MINTD_DB_LEASE };
    h->reading = true;
    h->polls++;
    h->refs++;
    plug_call_rows(pipe_store(h->api->pipe), STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, on_heads, h);
}

/* Something may be new. What comes close together is read together. */
static void kick(struct hub *h)
{
    uint64_t t = now(h);
    if (!h->n || h->stopped) return;
    if (h->reading) h->again = true;
    else if (t < h->polled_ms + GATHER_MS) set_poll(h, h->polled_ms + GATHER_MS - t);
    else {
        loop_timer_del(h->poll_timer);
        h->poll_timer = NULL;
        poll_now(h);
    }
}

static void on_commit(void *arg) { kick(arg); }

/* ---- listeners */

static void on_beat(void *arg)
{
    struct hub *h = arg;
    loop_timer_del(h->beat_timer);
    h->beat_timer = h->n ? loop_timer(h->api->loop, (uint64_t)h->api->conf->api.heartbeat_ms, on_beat, h) : NULL;
    LIST_EACH(it, &h->listeners) {
        struct listener *l = LIST_OF(it, struct listener, link);
        if (!call_queued(l->call)) send(l, S(":\n\n"));
    }
}

static void on_more(struct call *c)
{
    struct listener *l = c->stream_state;
    if (l->state != PAUSED) return;
    l->state = BEHIND;
    if (l->fresh) fall_behind(l);
    else read_on(l);
}

static void on_gone(struct call *c)
{
    struct listener *l = c->stream_state;
    struct hub *h = l->hub;
    list_del(&l->link);
    list_del(&l->of);
    unfollow(h, l->follow);
    l->follow = NULL;
    if (--h->n) return;
    loop_timer_del(h->poll_timer);
    loop_timer_del(h->beat_timer);
    h->poll_timer = h->beat_timer = NULL;
    h->known = false;                                      /* nobody listens: what happens now is not read */
    h->heads.n = h->seen.n = 0;
}

static void on_drain(struct call *c) { call_finish(c, true); }

static void release(struct call *c)
{
    struct listener *l = c->stream_state;
    buf_free(&l->next);
}

static const struct call_stream stream_fns = { on_more, on_gone, on_drain };

bool hub_full(const struct hub *h) { return h->n >= h->api->conf->api.max_streams; }

void hub_listen(struct hub *h, struct call *c, const struct hub_filter *filter, const struct place *from)
{
    static const struct http_header headers[] = { { "X-Accel-Buffering", "no" }, { NULL, NULL } };
    struct listener *l = arena_alloc(c->mem, sizeof *l);
    struct follow *f = l && filter->batch ? follow_batch(h, filter->batch, filter->items) : NULL;
    if (!l || (filter->batch && !f)) return call_memory(c);
    *l = (struct listener){ .hub = h, .call = c, .filter = *filter, .follow = f, .state = WAITING, .poll = h->polls + 1, .at = *from };
    list_add(&h->listeners, &l->link);
    if (f) list_add(&f->listeners, &l->of);
    if (!h->n++) h->beat_timer = loop_timer(h->api->loop, (uint64_t)h->api->conf->api.heartbeat_ms, on_beat, h);
    c->stream_state = l;
    c->release = release;
    call_begin(c, &stream_fns, "text/event-stream", headers, true);
    send(l, S("retry: 2000\n\n"));
    kick(h);
}

/* ---- life */

struct hub *hub_new(struct api *api)
{
    struct hub *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    h->api = api;
    h->refs = 1;
    list_init(&h->listeners);
    pipe_on_commit(api->pipe, on_commit, h);
    return h;
}

void hub_stop(struct hub *h)
{
    if (!h || h->stopped) return;
    h->stopped = true;
    pipe_on_commit(h->api->pipe, NULL, NULL);
    loop_timer_del(h->poll_timer);
    loop_timer_del(h->beat_timer);
    loop_timer_del(h->progress_timer);
    h->poll_timer = h->beat_timer = h->progress_timer = NULL;
}

void hub_free(struct hub *h)
{
    if (!h) return;
    map_free(&h->follows);
    put(h);
}
