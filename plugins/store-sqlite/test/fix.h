/* What the tests of this store share: an instance on the fake host, groups of changes, the usual steps of a chunk, and a second
 * connection that looks at the file past the plugin. Everything a call answers lives until the next call. One thread. */
#ifndef STORE_SQLITE_FIX_H
#define STORE_SQLITE_FIX_H
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/str.h"
#include "fakehost.h"
#include "loop_fake.h"
#include "tmp.h"

#define FIX static __attribute__((unused))
enum { STAGE, COMMIT, CLAIM, QUERY, MIGRATE, START = 62, DRAIN = 63 };
enum { CHANGES = 4096, NETWORK_LEN = 4 };
#define ACCEPTED   MINTD_ST_ACCEPTED
#define UPLOADING  MINTD_ST_UPLOADING
#define UPLOADED   MINTD_ST_UPLOADED
#define SIGNED     MINTD_ST_SIGNED
#define LANDED     MINTD_ST_LANDED
#define QUARANTINE MINTD_ST_QUARANTINE
#define DONE       MINTD_ST_DONE
#define FAILED     MINTD_ST_FAILED
#define CANCELLED  MINTD_ST_CANCELLED
#define MOVED      MINTD_ST_MOVED
static const int64_t WALL_MS = 1790000000000;              /* when the tests begin */

struct batch { struct mintd_change ch[CHANGES]; uint32_t n, groups; };
struct fix {
    struct fh *fh; struct fh_inst in; struct fh_reply reply; bool replied, open;
    char path[512];
    uint32_t slot; uint64_t epoch, venue, collection;      /* what most tests work with */
    struct batch b;
    struct arena *mem;                                     /* rows of the batch in hand */
    sqlite3 *raw;
};

/* ---- calls */
FIX const struct fh_reply *call(struct fix *f, uint32_t op, const void *arg, uint32_t flags, struct mintd_vec rows)
{
    if (f->replied) fh_reply_free(&f->reply);
    f->reply = fh_call(f->fh, &f->in, op, arg, flags, rows);
    f->replied = true;
    return &f->reply;
}

FIX void assert_str(struct mintd_str s, const char *want)
{
    if (s.n != strlen(want) || (s.n && memcmp(s.p, want, s.n))) fail_msg("\"%.*s\" is not \"%s\"", (int)s.n, s.p ? s.p : "", want);
}

FIX void assert_ok(const struct fh_reply *r)
{
    if (r->out.cls) fail_msg("class %u, " STR_FMT ": " STR_FMT, r->out.cls, STR_ARG(r->out.slug), STR_ARG(r->out.msg));
}

FIX void assert_out(const struct fh_reply *r, uint32_t cls, const char *slug)
{
    if (r->out.cls != cls || !str_eq(r->out.slug, str_of(slug)))
        fail_msg("class %u, " STR_FMT ": " STR_FMT " where %u %s should be", r->out.cls, STR_ARG(r->out.slug), STR_ARG(r->out.msg), cls, slug);
}

/* ---- an instance */
FIX void fix_create(struct fix *f, const struct fh_opt *opts)
{
    assert_int_equal(fh_create(f->fh, "store-sqlite", opts, &f->in), 0);
    f->open = true;
}

FIX void fix_new(struct fix *f, const char *name)
{
    *f = (struct fix){ .fh = fh_new(7) };
    loop_fake_wall(fh_loop(f->fh), WALL_MS * 1000);
    f->mem = arena_new(0);
    snprintf(f->path, sizeof f->path, "%s/%s", tmp_dir(), name);
}

FIX void fix_close(struct fix *f)
{
    if (f->replied) fh_reply_free(&f->reply);
    f->replied = false;
    sqlite3_close(f->raw);
    f->raw = NULL;
    if (f->open) {
        assert_ok(call(f, DRAIN, NULL, 0, (struct mintd_vec){ 0 }));
        fh_reply_free(&f->reply);
        f->replied = false;
        fh_destroy(f->fh, &f->in);
    }
    f->open = false;
}

FIX void fix_free(struct fix *f)
{
    fix_close(f);
    arena_free(f->mem);
    fh_free(f->fh);
    unlink(f->path);
    *f = (struct fix){ 0 };
}

FIX void fix_open(struct fix *f)
{
    fix_create(f, (struct fh_opt[]){ { "path", f->path }, { NULL, NULL } });
    assert_ok(call(f, START, NULL, 0, (struct mintd_vec){ 0 }));
}

FIX void fix_migrate(struct fix *f) { assert_ok(call(f, MIGRATE, NULL, 1, (struct mintd_vec){ 0 })); }

/* ---- the file, past the plugin */
FIX sqlite3 *raw(struct fix *f)
{
    if (!f->raw) assert_int_equal(sqlite3_open_v2(f->path, &f->raw, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(f->raw, 1000);
    return f->raw;
}

FIX int64_t sql_int(sqlite3 *h, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *sql = sqlite3_vmprintf(fmt, ap);
    va_end(ap);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(h, sql, -1, &st, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(h));
    if (sqlite3_step(st) != SQLITE_ROW) fail_msg("%s: no row: %s", sql, sqlite3_errmsg(h));
    int64_t v = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_free(sql);
    return v;
}
#define SQL_INT(f, ...) sql_int(raw(f), __VA_ARGS__)

/* ---- groups */
FIX void group(struct fix *f) { f->b.groups++; }           /* what is added next belongs to a new group */

FIX void *rows(struct fix *f, uint32_t kind, const void *from, uint32_t n, size_t size)
{
    assert_true(f->b.n < CHANGES);
    void *p = arena_copy(f->mem, from, n * size);
    assert_non_null(p);
    f->b.ch[f->b.n++] = (struct mintd_change){ kind, f->b.groups, { p, n, (uint32_t)size } };
    return p;
}
#define ROW(f, KIND, type, ...) rows(f, MINTD_DB_##KIND, &(struct mintd_db_##type){ __VA_ARGS__ }, 1, sizeof(struct mintd_db_##type))
#define HEAD(f, KIND, type, ...) (group(f), ROW(f, KIND, type, __VA_ARGS__))

FIX const struct fh_reply *commit_as(struct fix *f, uint32_t slot, uint64_t epoch)
{
    struct mintd_commit arg = { .size = sizeof arg, .flags = 1, .slot = slot, .epoch = epoch };
    return call(f, COMMIT, &arg, 1, (struct mintd_vec){ f->b.ch, f->b.n, sizeof f->b.ch[0] });
}

FIX void clear(struct fix *f)
{
    f->b.n = f->b.groups = 0;
    arena_free(f->mem);
    f->mem = arena_new(0);
}

/* The groups in hand as one commit of the fixture's slot. `again` may follow, before anything else is added. */
FIX const struct mintd_applied *again(struct fix *f)
{
    const struct fh_reply *r = commit_as(f, f->slot, f->epoch);
    assert_ok(r);
    assert_int_equal(r->res.rows.n, f->b.groups);
    const struct mintd_applied *a = r->res.rows.p;
    for (uint32_t i = 0; i < r->res.rows.n; i++) assert_int_equal(a[i].group, i + 1);
    return a;
}

FIX const struct mintd_applied *commit(struct fix *f)
{
    const struct mintd_applied *a = again(f);
    clear(f);
    return a;
}

FIX const char *verdict_name(uint32_t v)
{
    static const char *const names[] = { "APPLIED", "REPEATED", "STALE", "DUPLICATE", "REFUSED" };
    return v < 5 ? names[v] : "?";
}

FIX void assert_verdict(const struct mintd_applied *a, uint32_t want, const char *detail)
{
    if (a->verdict != want) fail_msg("%s %llu \"" STR_FMT "\" where %s should be", verdict_name(a->verdict), (unsigned long long)a->value,
                                     STR_ARG(a->detail), verdict_name(want));
    if (detail) assert_str(a->detail, detail);
}

/* The group in hand is applied, and sent again, as after a lost COMMIT, it is known. The value of both. */
FIX uint64_t applied(struct fix *f)
{
    const struct mintd_applied *a = again(f);
    assert_verdict(&a[0], MINTD_APPLIED, "");
    uint64_t v = a[0].value;
    a = commit(f);
    assert_verdict(&a[0], MINTD_REPEATED, "");
    assert_int_equal(a[0].value, v);
    return v;
}

FIX void refused(struct fix *f, uint32_t verdict, const char *detail) { assert_verdict(commit(f), verdict, detail); }

/* ---- the usual world */
FIX struct mintd_lease_of { uint32_t slot; uint64_t epoch; } lease(struct fix *f, const char *holder, uint64_t ttl_ms, uint32_t flags);

FIX const struct mintd_db_lease *lease_row(struct fix *f, uint32_t slot)
{
    uint64_t id = slot;
    struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_LEASE, .ids = { &id, 1, 8 } };
    const struct fh_reply *r = call(f, QUERY, &q, 0, (struct mintd_vec){ 0 });
    assert_ok(r);
    return r->res.rows.n ? r->res.rows.p : NULL;
}

FIX struct mintd_lease_of lease(struct fix *f, const char *holder, uint64_t ttl_ms, uint32_t flags)
{
    HEAD(f, LEASE, lease, .holder = str_of(holder), .ttl_ms = ttl_ms, .flags = flags);
    const struct fh_reply *r = commit_as(f, 0, 0);
    clear(f);
    assert_ok(r);
    const struct mintd_applied *a = r->res.rows.p;
    if (a->verdict) return (struct mintd_lease_of){ 0, 0 };
    uint32_t slot = (uint32_t)a->value;
    return (struct mintd_lease_of){ slot, lease_row(f, slot)->epoch };
}

FIX uint64_t venue(struct fix *f, const char *name)
{
    HEAD(f, VENUE, venue, .name = str_of(name));
    return commit(f)->value;
}

FIX uint64_t collection(struct fix *f, uint64_t of, const char *name, uint32_t state)
{
    HEAD(f, COLLECTION, collection, .venue = of, .pipeline = S("line"), .name = str_of(name), .network = S("net1"), .spec = S("{}"),
         .state = state);
    const struct mintd_applied *a = commit(f);
    assert_true(a->verdict <= MINTD_REPEATED);
    return a->value;
}

FIX void fix_world(struct fix *f, const char *name)
{
    fix_new(f, name);
    fix_open(f);
    fix_migrate(f);
    struct mintd_lease_of l = lease(f, "one", 30000, 0);
    f->slot = l.slot;
    f->epoch = l.epoch;
    f->venue = venue(f, "arena");
    f->collection = collection(f, f->venue, "show", MINTD_COL_READY);
}

/* ---- taking in */
FIX struct mintd_str hash_of(const char *key)
{
    static char h[32];
    memset(h, 0, sizeof h);
    memcpy(h, key, strlen(key) < 32 ? strlen(key) : 32);
    return (struct mintd_str){ h, 32 };
}

FIX struct mintd_db_item *items(struct fix *f, const char *prefix, uint32_t first, uint32_t n)
{
    struct mintd_db_item *it = arena_array(f->mem, n, sizeof *it);
    for (uint32_t i = 0; i < n; i++)
        it[i] = (struct mintd_db_item){ .id = first + i, .ord = first + i, .ticket = arena_printf(f->mem, "%s-%u", prefix, first + i),
            .recipient = S("0.0.77"), .uri = S("ipfs://x"), .body = arena_printf(f->mem, "{\"n\":%u}", first + i), .extra = S("{}") };
    return it;
}

/* The group of an accept: n items of one collection, `chunk` of them together. */
FIX void accept_group(struct fix *f, const char *key, uint64_t col, uint32_t n, uint32_t chunk)
{
    char *copy = arena_cstr(f->mem, str_of(key));
    struct mintd_db_run *run = arena_copy(f->mem, &(struct mintd_db_run){ .collection = col, .count = n, .batch = chunk }, sizeof *run);
    struct mintd_str hash = arena_str(f->mem, hash_of(key));
    HEAD(f, REQUEST, request, .venue = f->venue, .idem_key = str_of(copy), .body_hash = hash, .state = MINTD_RQ_SEALED, .n_items = n,
         .options = S("{}"), .runs = { run, 1, sizeof *run });
    rows(f, MINTD_DB_ITEM, items(f, key, 0, n), n, sizeof(struct mintd_db_item));
    ROW(f, EVENT, event, .venue = f->venue, .kind = S("request.accepted"), .subject_kind = MINTD_DB_REQUEST);
}

FIX uint64_t accept(struct fix *f, const char *key, uint32_t n, uint32_t chunk)
{
    accept_group(f, key, f->collection, n, chunk);
    const struct mintd_applied *a = commit(f);
    assert_verdict(a, MINTD_APPLIED, "");
    return a->value;
}

FIX const struct mintd_db_chunk *claim(struct fix *f, int64_t lane, uint32_t max, uint32_t flags, uint32_t *ret_n)
{
    struct mintd_claim arg = { .size = sizeof arg, .slot = f->slot, .epoch = f->epoch };
    struct mintd_db_lane l = { .lane = lane, .max = max };
    const struct fh_reply *r = call(f, CLAIM, &arg, flags, (struct mintd_vec){ &l, 1, sizeof l });
    assert_ok(r);
    *ret_n = r->res.rows.n;
    return r->res.rows.p;
}

/* One request with one chunk of n items, claimed. Its id. */
FIX uint64_t one_chunk(struct fix *f, const char *key, uint32_t n)
{
    uint32_t got;
    uint64_t id = accept(f, key, n, n) << 24;
    const struct mintd_db_chunk *c = claim(f, (int64_t)f->collection, 1000, 0, &got);
    for (uint32_t i = 0; i < got; i++) if (c[i].id == id) return id;
    fail_msg("the chunk of %s was not claimed", key);
    return 0;
}

/* ---- the steps of a chunk, each the head of a new group */
FIX struct mintd_db_chunk *step(struct fix *f, uint64_t id, uint32_t from, uint32_t to, uint32_t no)
{
    struct mintd_db_chunk *c = HEAD(f, CHUNK, chunk, .id = id, .from = from, .state = to, .attempt_no = no);
    if (to == QUARANTINE) c->flags = 1;
    if (to == QUARANTINE || to == FAILED || to == CANCELLED) { c->slug = S("test.reason"); c->msg = S("because"); }
    if (to == DONE) { c->first_serial = id % 1000000 + no; c->fee = 11; c->evidence = S("{}"); c->block_time = WALL_MS + 5; }
    return c;
}

FIX struct mintd_db_attempt *sign(struct fix *f, uint64_t id, uint32_t no)
{
    step(f, id, UPLOADED, SIGNED, no);
    return ROW(f, ATTEMPT, attempt, .chunk = id, .no = no, .bound = 100 * no, .fee_cap = 50, .network = S("net1"), .bytes = S("signed"),
               .tx_id = arena_printf(f->mem, "tx-%llu-%u", (unsigned long long)id, no));
}

FIX struct mintd_db_proof *proof(struct fix *f, uint32_t no, uint32_t kind)
{
    return ROW(f, PROOF, proof, .no = no, .kind = kind, .watermark = 100 * no + 1, .absent_at = 100 * no + 2, .effect_absent = 1, .quorum = 2,
               .endpoints = S("a b"), .error = kind == MINTD_PROOF_EXPIRED ? S("") : S("INVALID"),
               .by1 = kind == MINTD_PROOF_OPERATORS ? S("ann") : S(""), .by2 = kind == MINTD_PROOF_OPERATORS ? S("bob") : S(""));
}

/* An own chunk that was just claimed, brought to a state of the good path. */
FIX void bring(struct fix *f, uint64_t id, uint32_t to)
{
    step(f, id, UPLOADING, UPLOADED, 0);
    if (to >= SIGNED) sign(f, id, 1);
    if (to >= LANDED) step(f, id, SIGNED, LANDED, 1);
    if (to == DONE) step(f, id, LANDED, DONE, 1);
    uint32_t n = f->b.groups;
    const struct mintd_applied *a = commit(f);
    for (uint32_t i = 0; i < n; i++) assert_verdict(&a[i], MINTD_APPLIED, "");
}

FIX uint64_t chunk_at(struct fix *f, const char *key, uint32_t n, uint32_t state)
{
    uint64_t id = one_chunk(f, key, n);
    if (state >= UPLOADED) bring(f, id, state);
    return id;
}

/* New chunks of `sizes` items each and the moves of every item of `from` into them, in the group in hand. */
FIX void split(struct fix *f, uint64_t from, uint64_t first_item, uint32_t kind, const uint32_t *sizes, uint32_t parts)
{
    struct mintd_db_chunk *c = arena_array(f->mem, parts, sizeof *c);
    struct mintd_db_member m[64];
    uint32_t n = 0;
    for (uint32_t p = 0; p < parts; p++) {
        c[p] = (struct mintd_db_chunk){ .kind = kind, .origin = 1, .parent = from, .n = sizes[p], .state = kind == MINTD_MINT ? ACCEPTED : UPLOADED };
        for (uint32_t i = 0; i < sizes[p]; i++, n++)
            m[n] = (struct mintd_db_member){ .item = first_item + n, .to_chunk = p + 1, .pos = i, .kind = kind };
    }
    rows(f, MINTD_DB_CHUNK, c, parts, sizeof *c);
    rows(f, MINTD_DB_MEMBER, m, n, sizeof m[0]);
}

/* ---- asking */
FIX const struct fh_reply *ask(struct fix *f, struct mintd_query q, uint32_t flags)
{
    q.size = sizeof q;
    const struct fh_reply *r = call(f, QUERY, &q, flags, (struct mintd_vec){ 0 });
    assert_ok(r);
    return r;
}

FIX const struct mintd_db_chunk *get_chunk(struct fix *f, uint64_t id)
{
    const struct fh_reply *r = ask(f, (struct mintd_query){ .kind = MINTD_DB_CHUNK, .ids = { &id, 1, 8 } }, 1);
    assert_int_equal(r->res.rows.n, 1);
    return r->res.rows.p;
}

FIX const struct mintd_db_item *get_item(struct fix *f, uint64_t id)
{
    const struct fh_reply *r = ask(f, (struct mintd_query){ .kind = MINTD_DB_ITEM, .ids = { &id, 1, 8 } }, 0);
    return r->res.rows.n == 1 ? r->res.rows.p : NULL;
}

FIX uint64_t newest_chunk(struct fix *f) { return (uint64_t)SQL_INT(f, "SELECT max(id) FROM chunks"); }

FIX void advance(struct fix *f, uint64_t ms) { loop_fake_advance(fh_loop(f->fh), ms); }
#endif
