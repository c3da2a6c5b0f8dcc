#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/list.h"
#include "base/log.h"
#include "flow.h"
#include "loop_fake.h"

static char plugins[4096];

unsigned flow_share(void)
{
    const char *text = getenv("FLOW_SHARE");
    unsigned share = text ? (unsigned)strtoul(text, NULL, 10) : 1;
    return share ? share : 1;
}

void flow_setup(void)
{
    static const char *const ours[] = { "MINTD_PLUGINS", "MINTD_SOURCE", "MINTD_BIN" };
    const char *dir = getenv("MINTD_PLUGINS") ? getenv("MINTD_PLUGINS") : getenv("FLOW_PLUGINS");
    snprintf(plugins, sizeof plugins, "%s", dir ? dir : "");
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) unsetenv(ours[i]);        /* the configuration would ask what they mean */
    setenv("FLOW_PLUGINS", plugins, 1);
}

/* ---- configuration */
static const char *or_empty(const char *s) { return s ? s : ""; }

static const char *plugin(const struct flow_text *t, const char *name)
{
    static char text[5][64];
    static unsigned turn;
    char *s = text[turn++ % 5];
    bool wrap = t->wrapped && !strcmp(t->wrapped, name);
    snprintf(s, sizeof text[0], "%s%s%s", wrap && !strcmp(name, "ipfs") ? "uploader-" : "", name, wrap ? "-wrap" : "");
    return s;
}

static void write_conf(const char *path, const char *dir, const struct flow_text *t)
{
    bool null = t->profile && !strcmp(t->profile, "null");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "name = \"%s\"; deployment = \"flow\"; state_dir = \"%s\"; plugin_dir = \"%s\"; store = \"books\"; lease = \"5s\";\n%s\n",
            t->name ? t->name : "flow", dir, plugins, or_empty(t->top));
    fprintf(f, "instances: {\n  books: { plugin = \"%s\"; opts: { path = \"%s/mintd.db\"; %s }; };\n", plugin(t, "store-sqlite"), dir,
            or_empty(t->store));
    fprintf(f, "  hot: { plugin = \"%s\"; };\n  files: { plugin = \"%s\"; opts: { backend = \"local\"; store = \"%s/blocks\"; }; };\n",
            plugin(t, "cache-memory"), plugin(t, "ipfs"), dir);
    fprintf(f, "  vault: { plugin = \"%s\"; opts: { dir = \"%s/keys\"; keys = [\"payer\"]; generate = true; }; };\n", plugin(t, "signer-file"), dir);
    fprintf(f, "  local: { plugin = \"%s\"; opts: { profile = \"%s\"; payer = \"vault/payer\";", plugin(t, "chain-local"),
            t->profile ? t->profile : "solana-like");
    if (!null) fprintf(f, " ledger = \"%s/ledger\";", dir);
    fprintf(f, " %s }; };\n};\n", or_empty(t->chain));
    fprintf(f, "pipelines: { tickets: { chain = \"local\"; uploader = \"files\"; cache = \"hot\"; mint: { %s }; %s }; };\n",
            or_empty(t->mint), or_empty(t->pipeline));
    fclose(f);
}

/* ---- life */
static void started(void *arg, int err, const char *why)
{
    int *ret = arg;
    *ret = err;
    if (err) fprintf(stderr, "start: %s\n", why);
}

struct plug_started { int err; bool done; };
static void plug_up(void *arg, int err, const char *why)
{
    struct plug_started *s = arg;
    *s = (struct plug_started){ err, true };
    if (err) fprintf(stderr, "plugins: %s\n", why);
}

static bool is_done(void *arg) { return *(bool *)arg; }
static bool is_settled(void *arg) { return *(int *)arg != 1; }

static void fatal(void *arg, const char *why)
{
    struct flow *f = arg;
    f->dead = true;
    snprintf(f->why, sizeof f->why, "%s", why);
}

int flow_try(const char *dir, uint64_t seed, const struct flow_text *t, struct flow **ret)
{
    char path[4200];
    struct conf_errors errs = { { 0 }, 0 };
    struct plug_started up = { 0, false };
    struct flow *f = calloc(1, sizeof *f);
    f->dir = dir;
    mkdir(dir, 0700);
    snprintf(path, sizeof path, "%s/keys", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s.cfg", dir, t->name ? t->name : "flow");
    write_conf(path, dir, t);
    assert_int_equal(loop_new(&f->loop), 0);
    loop_fake_seed(f->loop, seed);
    loop_fake_wall(f->loop, 1790000000000000);
    int64_t newest = flow_sql(f, "SELECT max(created_at) FROM (SELECT max(sealed_at) AS created_at FROM requests UNION "
                              "SELECT max(created_at) FROM attempts UNION SELECT max(expires_at) FROM leases)");
    if (newest > 0 && !t->beside) loop_fake_wall(f->loop, (newest + 1000) * 1000);       /* lives follow each other */
    if (conf_load(path, &errs, &f->conf)) fail_msg("%.*s", (int)errs.text.n, errs.text.p);
    assert_int_equal(plug_new(f->loop, &f->plug), 0);
    if (plug_configure(f->plug, f->conf, false, &errs)) fail_msg("%.*s", (int)errs.text.n, errs.text.p);
    conf_errors_free(&errs);
    plug_start(f->plug, plug_up, &up);
    assert_true(loop_fake_until(f->loop, is_done, &up.done, 60000));
    assert_int_equal(up.err, 0);
    int r = 1;
    assert_int_equal(pipe_new(f->loop, f->plug, f->conf, &f->pipe), 0);
    pipe_on_fatal(f->pipe, fatal, f);
    pipe_start(f->pipe, started, &r);
    assert_true(loop_fake_until(f->loop, is_settled, &r, 7200000));
    *ret = f;
    return r;
}

struct flow *flow_new(const char *dir, uint64_t seed, const struct flow_text *t)
{
    struct flow *f;
    assert_int_equal(flow_try(dir, seed, t, &f), 0);
    struct buf why = { 0 };
    for (int i = 0; i < 100 && !pipe_ready(f->pipe, &why); i++) loop_fake_advance(f->loop, 100);
    buf_free(&why);
    return f;
}

static void set(void *arg) { *(bool *)arg = true; }

static void give_back(struct flow *f)
{
    bool done = false;
    plug_drain(f->plug, set, &done);
    assert_true(loop_fake_until(f->loop, is_done, &done, 1200000));
    pipe_free(f->pipe);
    assert_int_equal(plug_free(f->plug), 0);
    conf_unref(f->conf);
    assert_int_equal(loop_free(f->loop), 0);
    free(f);
}

void flow_end(struct flow *f)
{
    bool done = false;
    pipe_drain(f->pipe, set, &done);
    assert_true(loop_fake_until(f->loop, is_done, &done, 1200000));
    give_back(f);
}

void flow_stop(struct flow *f) { give_back(f); }

void flow_run(struct flow *f, uint64_t ms) { loop_fake_advance(f->loop, ms); }

bool flow_until(struct flow *f, bool (*done)(struct flow *), uint64_t ms)
{
    for (uint64_t t = 0, step = 100; t < ms && !f->dead; t += step) {      /* looking costs more than running */
        if (done(f)) return true;
        step = t < 20000 ? 100 : 2000;
        loop_fake_advance(f->loop, step);
    }
    return done(f);
}

/* ---- submitting */
struct submit { struct flow_answer a; bool done; uint64_t retry_ms; };

static void verdict(void *arg, const struct pipe_result *r)
{
    struct submit *s = arg;
    s->a.verdict = r->verdict;
    s->a.request = r->request;
    s->retry_ms = r->retry_ms;
    snprintf(s->a.code, sizeof s->a.code, "%.*s", (int)r->code.n, r->code.n ? r->code.p : "");
    snprintf(s->a.ticket, sizeof s->a.ticket, "%.*s", (int)(r->n_conflicts ? r->conflicts[0].ticket.n : 0), r->n_conflicts ? r->conflicts[0].ticket.p : "");
    s->done = true;
}

static void welcome(void *arg) { (void)arg; }

static struct submit submit_once(struct flow *f, const char *venue, const char *prefix, unsigned n, const char *owner)
{
    struct submit s = { 0 };
    struct pipe_intake *in;
    uint8_t hash[DIGEST_LEN];
    struct mintd_str parts[] = { str_of(venue), str_of(prefix), str_of(owner ? owner : "") };
    assert_int_equal(digest_parts(parts, 3, true, hash), 0);
    hash[0] ^= (uint8_t)n;
    struct pipe_open open = { .venue = str_of(venue), .idem_key = str_of(prefix) };
    assert_int_equal(pipe_intake_open(f->pipe, &open, verdict, &s, &in), 0);
    for (unsigned i = 0; i < n; i++) {
        char id[64], data[160];
        snprintf(id, sizeof id, "%s-%u", prefix, i);
        snprintf(data, sizeof data, "{\"eventName\":\"Concert\",\"tier\":\"VIP\",\"seatNumber\":\"%s\"}", id);
        struct pipe_ticket t = { .id = str_of(id), .recipient = str_of(owner ? owner : ""), .event_id = S("e1"), .user_id = S("u1"),
            .data = str_of(data) };
        int r = pipe_intake_add(in, &t, welcome);
        if (r == -EAGAIN) loop_fake_advance(f->loop, 50);
        else if (r) break;
    }
    pipe_intake_seal(in, hash);
    assert_true(loop_fake_until(f->loop, is_done, &s.done, 600000));
    pipe_intake_close(in);
    return s;
}

struct flow_answer flow_submit(struct flow *f, const char *venue, const char *prefix, unsigned n, const char *owner)
{
    struct submit s;
    for (int i = 0; i < 100; i++) {
        s = submit_once(f, venue, prefix, n, owner);
        if (s.a.verdict != PIPE_BUSY && s.a.verdict != PIPE_IN_PROGRESS) break;
        loop_fake_advance(f->loop, s.retry_ms ? s.retry_ms : 100);
    }
    return s.a;
}

uint64_t flow_accept(struct flow *f, const char *venue, const char *prefix, unsigned n, const char *owner)
{
    struct flow_answer a = flow_submit(f, venue, prefix, n, owner);
    if (a.verdict != PIPE_ACCEPTED && a.verdict != PIPE_REPLAYED) fail_msg("%s: verdict %d, code %s", prefix, a.verdict, a.code);
    return a.request;
}

struct posting { bool done; uint64_t retry_ms; struct flow_posted a; };

static void text_to(char *to, size_t n, struct mintd_str s) { snprintf(to, n, STR_FMT, STR_ARG(s)); }

static void posted(void *arg, const struct pipe_result *r)
{
    struct posting *p = arg;
    p->a = (struct flow_posted){ .verdict = r->verdict, .request = r->request, .known = r->known, .conflicts = r->n_conflicts,
        .n_ids = r->n_known_ids, .n_batches = r->n_batches };
    if (r->plan) p->a.transactions = r->plan->transactions, p->a.collections = r->plan->collections,
                 p->a.new_collections = r->plan->new_collections;
    if (r->n_conflicts) p->a.place = r->conflicts[0].place, text_to(p->a.what, sizeof p->a.what, str_of(r->conflicts[0].what));
    text_to(p->a.code, sizeof p->a.code, r->code);
    text_to(p->a.pointer, sizeof p->a.pointer, r->pointer);
    p->retry_ms = r->retry_ms;
    p->done = true;
}

static void post_tickets(struct flow *f, struct pipe_intake *in, const struct flow_post *w)
{
    for (unsigned i = w->from; i < w->from + w->n + w->twice; i++) {
        char id[64], data[160];
        snprintf(id, sizeof id, "%s-%u", w->prefix, i < w->from + w->n ? i : w->from);
        snprintf(data, sizeof data, "{\"eventName\":\"Concert\",\"tier\":\"%s\",\"seatNumber\":\"%s\"}", w->tier ? w->tier : "VIP", id);
        struct pipe_ticket t = { .id = str_of(id), .recipient = str_of(or_empty(w->owner)), .event_id = S("e1"), .user_id = S("u1"),
            .data = str_of(data) };
        int r = pipe_intake_add(in, &t, welcome);
        if (r == -EAGAIN) loop_fake_advance(f->loop, 50);
        else if (r) break;
    }
}

static struct posting post_once(struct flow *f, const struct flow_post *w)
{
    struct posting p = { 0 };
    struct pipe_intake *in;
    uint8_t hash[DIGEST_LEN];
    char range[64];
    snprintf(range, sizeof range, "%u+%u", w->from, w->n);
    struct mintd_str parts[] = { str_of(w->venue), str_of(w->prefix), str_of(or_empty(w->tier)), str_of(range) };
    assert_int_equal(digest_parts(parts, 4, true, hash), 0);
    struct pipe_open open = { .venue = str_of(w->venue), .idem_key = str_of(or_empty(w->key)), .collection = str_of(or_empty(w->collection)),
        .streamed = w->streamed, .dry = w->dry };
    assert_int_equal(pipe_intake_open(f->pipe, &open, posted, &p, &in), 0);
    post_tickets(f, in, w);
    pipe_intake_seal(in, hash);
    assert_true(loop_fake_until(f->loop, is_done, &p.done, 600000));
    pipe_intake_close(in);
    return p;
}

struct flow_posted flow_post(struct flow *f, const struct flow_post *w)
{
    struct posting p;
    for (int i = 0; i < 100; i++) {
        p = post_once(f, w);
        if (w->once || (p.a.verdict != PIPE_BUSY && p.a.verdict != PIPE_IN_PROGRESS)) break;
        loop_fake_advance(f->loop, p.retry_ms ? p.retry_ms : 100);
    }
    return p.a;
}

struct steered { bool done; int err; uint64_t n; };
static void steered(void *arg, int err, uint64_t n) { *(struct steered *)arg = (struct steered){ true, err, n }; }

void flow_cancel(struct flow *f, uint64_t request)
{
    struct steered s = { 0 };
    pipe_cancel(f->pipe, request, steered, &s);
    assert_true(loop_fake_until(f->loop, is_done, &s.done, 60000));
    assert_int_equal(s.err, 0);
}

uint64_t flow_retry(struct flow *f, uint64_t request)
{
    struct steered s = { 0 };
    pipe_retry(f->pipe, request, steered, &s);
    assert_true(loop_fake_until(f->loop, is_done, &s.done, 60000));
    assert_int_equal(s.err, 0);
    return s.n;
}

/* ---- the books */
static sqlite3 *books(const struct flow *f)
{
    char path[4200];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/mintd.db", f->dir);
    if (access(path, R_OK)) return NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL)) fail_msg("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 5000);
    return db;
}

int64_t flow_sql(const struct flow *f, const char *sql)
{
    sqlite3 *db = books(f);
    sqlite3_stmt *st = NULL;
    if (!db) return -1;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc && strncmp(sqlite3_errmsg(db), "no such table", 13)) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int64_t v = !rc && sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_finalize(st);
    sqlite3_close(db);
    return v;
}

bool flow_all_settled(struct flow *f)
{
    return flow_sql(f, "SELECT count(*) FROM chunks WHERE state < 10") == 0;
}

/* ---- the chain */
struct listing { bool done; struct map uris; unsigned n; bool more; char cursor[256]; };

static void listed(void *arg, struct plug_reply *r)
{
    struct listing *l = arg;
    l->done = true;
    assert_int_equal(r->out->cls, MINTD_OK);
    const struct mintd_truth *t = r->res->rows.p;
    for (uint32_t i = 0; i < r->res->rows.n; i++) {
        uint64_t key = 0;
        uint8_t md[DIGEST_LEN];
        assert_int_equal(digest_parts((struct mintd_str[]){ t[i].collection, t[i].uri }, 2, true, md), 0);
        memcpy(&key, md, sizeof key);
        uintptr_t had = (uintptr_t)map_get(&l->uris, key);
        assert_int_equal(map_put(&l->uris, key, (void *)(had + 1)), 0);
        l->n++;
    }
    l->more = r->res->next.n > 0;
    snprintf(l->cursor, sizeof l->cursor, "%.*s", (int)r->res->next.n, r->res->next.n ? r->res->next.p : "");
}

static void list_collection(struct flow *f, const char *ref, struct listing *l)
{
    l->cursor[0] = '\0';
    do {
        struct arena *mem = arena_new(0);
        struct mintd_list *arg = arena_alloc(mem, sizeof *arg);
        *arg = (struct mintd_list){ .size = sizeof *arg, .max = 500, .collection = arena_str(mem, str_of(ref)),
            .cursor = arena_str(mem, str_of(l->cursor)) };
        l->done = false;
        plug_call_rows(plug_find(f->plug, S("local")), CHAIN_LIST, 0, arg, (struct mintd_vec){ 0 }, mem, listed, l);
        assert_true(loop_fake_until(f->loop, is_done, &l->done, 60000));
    } while (l->more);
}

static void list_all(struct flow *f, struct listing *l)
{
    sqlite3 *db = books(f);
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT chain_ref FROM collections WHERE chain_ref IS NOT NULL", -1, &st, NULL), 0);
    while (sqlite3_step(st) == SQLITE_ROW) list_collection(f, (const char *)sqlite3_column_text(st, 0), l);
    sqlite3_finalize(st);
    sqlite3_close(db);
}

unsigned flow_on_chain(struct flow *f)
{
    struct listing l = { 0 };
    list_all(f, &l);
    map_free(&l.uris);
    return l.n;
}

static const char PLACES[] =
    "SELECT i.uri, i.ticket, c.state, coalesce(o.chain_ref, '') FROM items i JOIN chunks c ON c.id = coalesce("
    "(SELECT to_chunk FROM item_moves WHERE item = i.id AND kind = 0 ORDER BY gen DESC LIMIT 1),"
    "(SELECT max(id) FROM chunks f WHERE f.id <= i.id AND f.origin = 0)) JOIN requests r ON r.id = i.id >> 24 AND r.state = 1 "
    "JOIN collections o ON o.id = c.collection";

const char *flow_judge(struct flow *f)
{
    static char wrong[300];
    struct listing l = { 0 };
    list_all(f, &l);
    sqlite3 *db = books(f);
    sqlite3_stmt *st = NULL;
    unsigned known = 0;
    wrong[0] = '\0';
    assert_int_equal(sqlite3_prepare_v2(db, PLACES, -1, &st, NULL), 0);
    while (!wrong[0] && sqlite3_step(st) == SQLITE_ROW) {
        uint64_t key = 0;
        uint8_t md[DIGEST_LEN];
        struct mintd_str place[] = { str_of((const char *)sqlite3_column_text(st, 3)), str_of((const char *)sqlite3_column_text(st, 0)) };
        assert_int_equal(digest_parts(place, 2, true, md), 0);
        memcpy(&key, md, sizeof key);
        unsigned there = (unsigned)(uintptr_t)map_get(&l.uris, key), wanted = sqlite3_column_int(st, 2) == MINTD_ST_DONE;
        known += there;
        if (there != wanted)
            snprintf(wrong, sizeof wrong, "%s is in state %d and %u times on the chain", (const char *)sqlite3_column_text(st, 1),
                     sqlite3_column_int(st, 2), there);
    }
    if (!wrong[0] && known != l.n) snprintf(wrong, sizeof wrong, "%u assets on the chain, %u of them known", l.n, known);
    sqlite3_finalize(st);
    sqlite3_close(db);
    map_free(&l.uris);
    return wrong[0] ? wrong : NULL;
}
