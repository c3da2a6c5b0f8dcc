/* Queries: every kind and selector, pages that together are the whole, bounds, hostile cursors, and counters that stay true. */
#include "fix.h"

static struct fix f;

static int begin(void **state) { (void)state; fix_world(&f, "query.db"); return 0; }
static int end(void **state) { (void)state; fix_free(&f); return 0; }
static int gone(void **state) { (void)state; tmp_clean(); return 0; }

#define IDS(...)   { (uint64_t[]){ __VA_ARGS__ }, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, 8 }
#define NAMES(...) { (struct mintd_str[]){ __VA_ARGS__ }, sizeof((struct mintd_str[]){ __VA_ARGS__ }) / sizeof(struct mintd_str), sizeof(struct mintd_str) }

/* The key of a row, as text: what tells it from every other of its kind. */
static void key_of(uint32_t kind, const void *row, char ret[160])
{
    const struct mintd_db_spend *s = row;
    const struct mintd_db_event *e = row;
    const struct mintd_db_attempt *a = row;
    const struct mintd_db_proof *p = row;
    const struct mintd_db_lane *l = row;
    const struct mintd_db_meta *m = row;
    switch (kind) {
    case MINTD_DB_SPEND:   snprintf(ret, 160, STR_FMT " %lld", STR_ARG(s->scope), (long long)s->window_start); break;
    case MINTD_DB_EVENT:   snprintf(ret, 160, "%u.%llu", e->slot, (unsigned long long)e->seq); break;
    case MINTD_DB_ATTEMPT: snprintf(ret, 160, "%llu.%u", (unsigned long long)a->chunk, a->no); break;
    case MINTD_DB_PROOF:   snprintf(ret, 160, "%llu.%u", (unsigned long long)p->chunk, p->no); break;
    case MINTD_DB_LANE:    snprintf(ret, 160, "%lld.%llu", (long long)l->lane, (unsigned long long)l->collection); break;
    case MINTD_DB_META:    snprintf(ret, 160, STR_FMT, STR_ARG(m->key)); break;
    case MINTD_DB_LEASE:   snprintf(ret, 160, "%u", ((const struct mintd_db_lease *)row)->slot); break;
    default:               snprintf(ret, 160, "%llu", (unsigned long long)*(const uint64_t *)row);   /* id comes first */
    }
}

struct keys { char (*k)[160]; uint32_t n; };

static struct keys page_through(struct mintd_query q, uint32_t max, void (*meanwhile)(void))
{
    struct keys ks = { calloc(5000, 160), 0 };
    char cursor[256];
    q.max = max;
    for (uint32_t pages = 0;; pages++) {
        const struct fh_reply *r = ask(&f, q, 0);
        assert_true(!max || r->res.rows.n <= max);
        for (uint32_t i = 0; i < r->res.rows.n; i++) key_of(q.kind, MINTD_AT(r->res.rows, i), ks.k[ks.n++]);
        if (!r->res.next.n) return ks;
        assert_true(r->res.next.n < sizeof cursor && pages < 5000);
        memcpy(cursor, r->res.next.p, r->res.next.n);
        q.cursor = (struct mintd_str){ cursor, r->res.next.n };
        if (meanwhile) meanwhile();
    }
}

static void assert_whole(struct mintd_query q, uint32_t n)
{
    struct keys whole = page_through(q, 10000, NULL);
    if (whole.n != n) fail_msg("kind %u: %u rows, %u expected", q.kind, whole.n, n);
    for (uint32_t max = 1; max < 8; max += 3) {
        struct keys pages = page_through(q, max, NULL);
        if (pages.n != n) fail_msg("kind %u by %u: %u rows, %u expected", q.kind, max, pages.n, n);
        for (uint32_t i = 0; i < n; i++) assert_string_equal(pages.k[i], whole.k[i]);
        free(pages.k);
    }
    free(whole.k);
}

static uint64_t world_of_rows(void)
{
    uint64_t dead = chunk_at(&f, "dead", 3, UPLOADED);
    for (uint32_t no = 1; no <= 4; no++) {
        sign(&f, dead, no);
        struct mintd_db_chunk *c = step(&f, dead, SIGNED, UPLOADED, no);
        c->flags = 1;
        c->slot = 0;
        proof(&f, no, MINTD_PROOF_EXPIRED);
        ROW(&f, SPEND, spend, .scope = S("s"), .window_start = no * 10, .reserve = 1);
        ROW(&f, SPEND, spend, .scope = arena_printf(f.mem, "scope.%u", no), .window_start = -5, .reserve = 1);
        const struct mintd_applied *a = commit(&f);
        for (int i = 0; i < 2; i++) assert_verdict(&a[i], MINTD_APPLIED, "");
        uint32_t n;
        if (no < 4) claim(&f, (int64_t)f.collection, 9, 0, &n);
    }
    for (int i = 0; i < 12; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%02d", i);
        venue(&f, name);
        lease(&f, name, 30000, 0);
        HEAD(&f, META, meta, .key = str_of(arena_cstr(f.mem, str_of(name))), .val = S("v"));
        commit(&f);
        collection(&f, f.venue, name, i < 6 ? MINTD_COL_READY : 0);
        accept(&f, name, 6, 2);
    }
    return dead;
}

static void pages(void **state)
{
    (void)state;
    uint64_t dead = world_of_rows(), home = f.collection;
    for (int i = 0; i < 8; i++) {                          /* lanes: five of READY collections, three creations of NEW ones */
        char name[16];
        snprintf(name, sizeof name, "n%02d", i + 1);
        f.collection = collection(&f, f.venue, name, MINTD_COL_READY);
        snprintf(name, sizeof name, "lane%d", i);
        accept(&f, name, 2, 1);
    }
    uint64_t request = dead >> 24, many = accept(&f, "many", 40, 3);
    f.collection = home;
    assert_whole((struct mintd_query){ .kind = MINTD_DB_VENUE }, 13);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_VENUE, .names = NAMES(S("n03"), S("none"), S("n01"), S("n02"), S("n07")) }, 4);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = IDS(3, 99, 1, 2) }, 3);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_COLLECTION }, 13);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_COLLECTION, .venue = f.venue }, 13);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_COLLECTION, .venue = f.venue + 1 }, 0);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_COLLECTION, .names = NAMES(S("n03"), S("show")) }, 2);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_REQUEST }, 22);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_REQUEST, .venue = f.venue }, 22);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_REQUEST, .venue = f.venue, .names = NAMES(S("n03"), S("?"), S("n05")) }, 2);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_REQUEST, .ids = IDS(request, 77777, many) }, 2);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_ITEM, .request = many }, 40);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_ITEM, .ids = IDS(dead + 2, dead, dead + 3, UINT64_MAX) }, 2);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_ITEM, .names = NAMES(S("many-3"), S("many-4"), S("none"), S("dead-0")) }, 3);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = f.venue + 1, .names = NAMES(S("many-3")) }, 0);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = many }, 14);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = many, .states = 1 << ACCEPTED }, 14);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = many, .states = 1 << DONE }, 0);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = many + ((uint64_t)1 << 40) }, 0);      /* no wrapping round */
    assert_whole((struct mintd_query){ .kind = MINTD_DB_ITEM, .request = many + ((uint64_t)1 << 40) }, 0);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_CHUNK, .ids = IDS(dead, dead + 1) }, 1);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_ATTEMPT, .ids = IDS(dead, 5, dead) }, 8);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_PROOF, .ids = IDS(dead) }, 4);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_EVENT }, 22);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_EVENT, .slot = f.slot }, 22);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_EVENT, .slot = 500 }, 0);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_EVENT, .ids = IDS(many, request, 9999, many) }, 2);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_SPEND }, 8);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_SPEND, .names = NAMES(S("scope.2"), S("s"), S("none")) }, 5);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_LEASE }, 13);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_LEASE, .ids = IDS(9, 3, 99, 4) }, 3);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_META }, 14);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_META, .names = NAMES(S("n03"), S("none"), S("n01")) }, 2);
    assert_whole((struct mintd_query){ .kind = MINTD_DB_LANE }, 9);
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_ATTEMPT, .ids = IDS(dead) }, 1);
    assert_int_equal(((const struct mintd_db_attempt *)r->res.rows.p)->bytes.n, 0);        /* flags 1: without bytes */
    r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_REQUEST, .max = 1 }, 0);
    assert_int_equal(((const struct mintd_db_request *)r->res.rows.p)->id, many);          /* newest first */
}

/* What was there at the first page is seen once, whatever comes meanwhile. */
static int added;
static void add_rows(void)
{
    char key[16];
    snprintf(key, sizeof key, "m%d", added++);
    accept(&f, key, 2, 1);
    venue(&f, key);
    sqlite3_exec(raw(&f), "INSERT INTO spend (scope, window_start) SELECT 'b', max(window_start) - 1 FROM spend UNION ALL SELECT 'a', count(*) FROM spend",
                 NULL, NULL, NULL);
}

static void growing_pages(void **state)
{
    (void)state;
    added = 0;
    for (int i = 0; i < 6; i++) add_rows();
    static const uint32_t kinds[] = { MINTD_DB_VENUE, MINTD_DB_REQUEST, MINTD_DB_EVENT, MINTD_DB_SPEND };
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct mintd_query q = { .kind = kinds[k], .venue = kinds[k] == MINTD_DB_REQUEST ? f.venue : 0 };
        struct keys before = page_through(q, 10000, NULL), seen = { calloc(5000, 160), 0 };
        char cursor[256];
        q.max = 2;
        for (int pages_left = 40; pages_left--;) {         /* it may never end: it grows as fast */
            const struct fh_reply *r = ask(&f, q, 0);
            for (uint32_t i = 0; i < r->res.rows.n; i++) key_of(q.kind, MINTD_AT(r->res.rows, i), seen.k[seen.n++]);
            if (!r->res.next.n) break;
            memcpy(cursor, r->res.next.p, r->res.next.n);
            q.cursor = (struct mintd_str){ cursor, r->res.next.n };
            add_rows();
        }
        for (uint32_t i = 0; i < before.n; i++) {
            int times = 0;
            for (uint32_t j = 0; j < seen.n; j++) times += !strcmp(before.k[i], seen.k[j]);
            if (times != 1) fail_msg("kind %u: row %s seen %d times", kinds[k], before.k[i], times);
        }
        free(before.k);
        free(seen.k);
    }
}

static void hostile_cursors(void **state)
{
    (void)state;
    uint64_t request = accept(&f, "h", 10, 1), chunk = request << 24;
    static const char *const cursors[] = { "x", "-1", "99999999999999999999999", "1.x", "1.2.3", " ", "1 ", ".", "0x10", "1.99999999999999999999999",
        "18446744073709551615", "9223372036854775807", "-9223372036854775808", "4294967296", "'; DROP TABLE chunks; --" };
    const struct mintd_query queries[] = { { .kind = MINTD_DB_VENUE }, { .kind = MINTD_DB_VENUE, .ids = IDS(1) }, { .kind = MINTD_DB_COLLECTION },
        { .kind = MINTD_DB_REQUEST }, { .kind = MINTD_DB_ITEM, .request = request }, { .kind = MINTD_DB_ITEM, .names = NAMES(S("h-1")) },
        { .kind = MINTD_DB_CHUNK, .request = request }, { .kind = MINTD_DB_CHUNK, .slot = 1 }, { .kind = MINTD_DB_ATTEMPT, .ids = IDS(chunk) },
        { .kind = MINTD_DB_EVENT }, { .kind = MINTD_DB_EVENT, .slot = 1 }, { .kind = MINTD_DB_EVENT, .ids = IDS(request) }, { .kind = MINTD_DB_SPEND },
        { .kind = MINTD_DB_SPEND, .names = NAMES(S("a")) }, { .kind = MINTD_DB_LEASE }, { .kind = MINTD_DB_LEASE, .ids = IDS(1) },
        { .kind = MINTD_DB_META }, { .kind = MINTD_DB_META, .names = NAMES(S("a")) }, { .kind = MINTD_DB_LANE },
        { .kind = MINTD_DB_EVENT, .request = request }, { .kind = MINTD_DB_EVENT, .venue = 1 }, { .kind = MINTD_DB_KEY }, { .kind = MINTD_DB_KEY, .ids = IDS(1) },
        { .kind = MINTD_DB_KEY, .names = NAMES(S("a")) }, { .kind = MINTD_DB_REPORT }, { .kind = MINTD_DB_REPORT, .names = NAMES(S("a")) } };
    char big[4096];
    memset(big, '1', sizeof big);
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        for (size_t k = 0; k <= ARRAY_LEN(cursors); k++) {
            struct mintd_query q = queries[i];
            q.size = sizeof q;
            q.cursor = k < ARRAY_LEN(cursors) ? str_of(cursors[k]) : (struct mintd_str){ big, sizeof big };
            const struct fh_reply *r = call(&f, QUERY, &q, 0, (struct mintd_vec){ 0 });
            if (r->out.cls) assert_out(r, MINTD_PERMANENT, "store.bad_request");
            else assert_true(r->res.rows.n <= 13);
            if (!k && q.kind != MINTD_DB_META) assert_int_equal(r->out.cls, MINTD_PERMANENT);
        }
    }
    static const uint32_t bad[] = { 0, MINTD_DB_MEMBER, MINTD_DB_REPORT + 1, UINT32_MAX, MINTD_DB_ITEM, MINTD_DB_CHUNK };       /* nothing selects */
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct mintd_query q = { .size = sizeof q, .kind = bad[i] };
        assert_out(call(&f, QUERY, &q, 0, (struct mintd_vec){ 0 }), MINTD_PERMANENT, "store.bad_request");
    }
    struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_REQUEST, .names = NAMES(S("h")) };
    assert_out(call(&f, QUERY, &q, 0, (struct mintd_vec){ 0 }), MINTD_PERMANENT, "store.bad_request");
    q = (struct mintd_query){ .size = sizeof q, .kind = MINTD_DB_CHUNK, .names = NAMES(S("h")) };
    assert_out(call(&f, QUERY, &q, 0, (struct mintd_vec){ 0 }), MINTD_PERMANENT, "store.bad_request");
}

static void bounded(void **state)
{
    (void)state;
    enum { BODY = 100000, N = 100 };
    char *body = malloc(BODY);
    memset(body, 'b', BODY);
    accept_group(&f, "fat", f.collection, N, 5);
    struct mintd_db_item *it = (void *)(uintptr_t)f.b.ch[1].rows.p;
    for (int i = 0; i < N; i++) it[i].body = (struct mintd_str){ body, BODY };
    const struct mintd_applied *a = commit(&f);
    assert_verdict(a, MINTD_APPLIED, "");
    uint64_t request = a->value;
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_ITEM, .request = request }, 0);
    assert_true(r->res.rows.n >= 41 && r->res.rows.n <= 43 && r->res.next.n);
    struct keys all = page_through((struct mintd_query){ .kind = MINTD_DB_ITEM, .request = request }, 0, NULL);
    assert_int_equal(all.n, N);
    free(all.k);
    uint32_t n;
    claim(&f, (int64_t)f.collection, 1000, 1, &n);         /* a claim stops as early, what it left can be claimed next */
    assert_true(n >= 8 && n <= 9);
    r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = request }, 1);
    assert_true(r->res.rows.n <= 9 && r->res.next.n);
    free(body);
}

/* ---- lanes */
static const struct mintd_db_lane *lanes(struct mintd_query q, uint32_t want)
{
    q.kind = MINTD_DB_LANE;
    const struct fh_reply *r = ask(&f, q, 0);
    assert_int_equal(r->res.rows.n, want);
    return r->res.rows.p;
}

static void lane_rows(void **state)
{
    (void)state;
    uint64_t fresh = collection(&f, f.venue, "fresh", 0), ready = f.collection;
    f.collection = fresh;
    accept(&f, "n", 4, 1);
    f.collection = ready;
    accept(&f, "r", 5, 2);
    const struct mintd_db_lane *l = lanes((struct mintd_query){ 0 }, 2);
    assert_int_equal(l[0].lane, 0);
    assert_int_equal(l[0].collection, fresh);
    assert_int_equal(l[0].max, 1);
    assert_int_equal(l[1].lane, ready);
    assert_int_equal(l[1].max, 3);
    assert_int_equal(l[1].wake_in_ms, 0);
    assert_int_equal(l[1].venue, f.venue);
    assert_str(l[1].pipeline, "line");
    lanes((struct mintd_query){ .names = NAMES(S("other")) }, 0);
    lanes((struct mintd_query){ .names = NAMES(S("other"), S("line")) }, 2);
    uint32_t n;
    uint64_t id = claim(&f, (int64_t)ready, 9, 0, &n)->id;
    lanes((struct mintd_query){ 0 }, 1);                   /* what is owned is no work for another */
    struct mintd_db_chunk *c = step(&f, id, UPLOADING, ACCEPTED, 0);
    c->flags = 1;
    c->wake_in_ms = 4000;
    applied(&f);
    l = lanes((struct mintd_query){ 0 }, 2);
    assert_true(l[1].wake_in_ms > 3000 && l[1].wake_in_ms <= 4000);
    advance(&f, 5000);
    assert_int_equal(lanes((struct mintd_query){ 0 }, 2)[1].wake_in_ms, 0);
    HEAD(&f, COLLECTION, collection, .id = ready, .from = MINTD_COL_READY, .state = MINTD_COL_PARKED, .park_reason = S("pause"));
    HEAD(&f, COLLECTION, collection, .id = fresh, .from = MINTD_COL_NEW, .state = MINTD_COL_PARKED);
    commit(&f);
    lanes((struct mintd_query){ 0 }, 0);
    HEAD(&f, COLLECTION, collection, .id = fresh, .from = MINTD_COL_PARKED, .state = MINTD_COL_READY);
    commit(&f);
    assert_int_equal(lanes((struct mintd_query){ 0 }, 1)->lane, fresh);
}

/* ---- where an item is, after a retry and a delivery */
static void items_on_their_way(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "i", 3, SIGNED);
    const struct mintd_db_item *it = get_item(&f, id + 1);
    assert_int_equal(it->chunk, id);
    assert_int_equal(it->pos, 1);
    assert_int_equal(it->state, SIGNED);
    char tx[64];
    snprintf(tx, sizeof tx, "tx-%llu-1", (unsigned long long)id);
    assert_str(it->tx_id, tx);
    step(&f, id, SIGNED, FAILED, 1);
    proof(&f, 1, MINTD_PROOF_ERRED);
    step(&f, id, FAILED, FAILED, 1);
    split(&f, id, id, MINTD_MINT, (uint32_t[]){ 3 }, 1);
    commit(&f);
    uint64_t again_id = newest_chunk(&f);
    it = get_item(&f, id + 1);
    assert_int_equal(it->chunk, again_id);
    assert_int_equal(it->state, ACCEPTED);
    assert_int_equal(it->tx_id.n + it->slug.n + it->asset.n, 0);
    uint32_t n;
    claim(&f, (int64_t)f.collection, 9, 0, &n);
    bring(&f, again_id, LANDED);
    step(&f, again_id, LANDED, DONE, 1)->first_serial = 500;
    ROW(&f, CHUNK, chunk, .kind = MINTD_TRANSFER, .origin = 2, .parent = again_id, .n = 3, .state = UPLOADED);
    commit(&f);
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_ITEM, .venue = f.venue, .names = NAMES(S("i-1")) }, 0);
    assert_int_equal(r->res.rows.n, 1);
    it = r->res.rows.p;
    snprintf(tx, sizeof tx, "tx-%llu-1", (unsigned long long)again_id);
    assert_str(it->asset, "501");
    assert_str(it->tx_id, tx);
    assert_str(it->recipient, "0.0.77");
    assert_int_equal(it->delivery, again_id + 1);
    assert_int_equal(it->delivered, UPLOADED);
    assert_int_equal(get_chunk(&f, again_id + 1)->items.n, 3);      /* of a mint that was itself a retry */
}

/* ---- a long random walk of legal steps: the counters are the rows */
struct walker { uint64_t rng; uint32_t keys; };

static uint32_t draw(struct walker *w, uint32_t below)
{
    w->rng = w->rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->rng >> 33) % below);
}

static void pick(struct walker *w, const struct mintd_db_chunk *c)
{
    uint64_t id = c->id, first = c->items.n ? ((const struct mintd_db_item *)c->items.p)->id : 0;
    uint32_t no = c->attempt_no, n = c->items.n, kind = c->kind, st = c->state, die = draw(w, 10);
    bool whole = n == c->n;
    for (uint32_t i = 0; i < n; i++) whole = whole && ((const struct mintd_db_item *)c->items.p)[i].id == first + i;
    switch (st) {
    case ACCEPTED: step(&f, id, st, die < 2 ? CANCELLED : QUARANTINE, no); break;
    case UPLOADING:
        if (die < 7) step(&f, id, st, UPLOADED, no);
        else if (die == 7 && whole) { step(&f, id, st, MOVED, no); split(&f, id, first, kind, (uint32_t[]){ 1, n - 1 }, n > 1 ? 2 : 1); }
        else step(&f, id, st, die == 8 ? FAILED : CANCELLED, no);
        break;
    case UPLOADED: if (die < 9) sign(&f, id, no + 1); else step(&f, id, st, FAILED, no); break;
    case SIGNED: case LANDED:
        if (die < 3 && st == SIGNED) step(&f, id, st, LANDED, no);
        else if (die < 6) {
            struct mintd_db_chunk *d = step(&f, id, st, DONE, no);
            d->first_serial = 0;
            d->assets = S("x");
            d->fee = die;
            if (kind == MINTD_MINT && die < 5) ROW(&f, CHUNK, chunk, .kind = MINTD_TRANSFER, .origin = 2, .parent = id, .n = c->n, .state = UPLOADED);
        } else if (die == 6) step(&f, id, st, QUARANTINE, no);
        else {
            step(&f, id, st, die == 7 ? FAILED : UPLOADED, no);
            proof(&f, no, MINTD_PROOF_ERRED);
        }
        break;
    case QUARANTINE: if (no) step(&f, id, st, SIGNED, no)->slot = f.slot; else step(&f, id, st, CANCELLED, no); break;
    case FAILED: case CANCELLED:
        if (n && whole) { step(&f, id, st, st, no); split(&f, id, first, kind, &n, 1); }
        break;
    default: break;
    }
}

static const char count_sql[] =
    "SELECT %s FROM (SELECT c.*, CASE WHEN c.state IN (11, 12) THEN c.n - (SELECT count(*) FROM item_moves m WHERE m.from_chunk = c.id) ELSE c.n END "
    "AS seats FROM chunks c WHERE c.kind = %u AND (%llu = 0 OR c.request = %llu))";

static void assert_counts(uint64_t request)
{
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_COUNT, .request = request, .venue = request % 2 ? 0 : f.venue }, 0);
    assert_int_equal(r->res.rows.n, 3);
    struct mintd_db_count c[3];
    memcpy(c, r->res.rows.p, sizeof c);
    for (uint32_t k = 0; k < 3; k += 2) {
        const struct { const char *what; uint64_t have; } want[] = { { "coalesce(sum(seats * (state < 6)), 0)", c[k].open },
            { "coalesce(sum(seats * (state = 6)), 0)", c[k].quarantined }, { "coalesce(sum(seats * (state = 10)), 0)", c[k].done },
            { "coalesce(sum(seats * (state = 11)), 0)", c[k].failed }, { "coalesce(sum(seats * (state = 12)), 0)", c[k].cancelled },
            { "coalesce(sum(n * (minted_at - accepted_at)), 0)", c[k].mint_ms }, { "coalesce(sum(fee), 0)", c[k].fee }, { "coalesce(sum(0), 0)", c[k].transit } };
        assert_int_equal(c[k].kind, k);
        for (size_t i = 0; i < ARRAY_LEN(want); i++)
            assert_int_equal(want[i].have, SQL_INT(&f, count_sql, want[i].what, k, (unsigned long long)request, (unsigned long long)request));
    }
}

static void random_walk(void **state)
{
    (void)state;
    struct walker w = { .rng = 42 };
    uint32_t applied_n = 0, n, verdicts[5] = { 0 };
    for (int round = 0; round < 120; round++) {
        char key[16];
        snprintf(key, sizeof key, "w%d", round);
        if (round % 3 == 0) accept(&f, key, 1 + draw(&w, 12), 1 + draw(&w, 5));
        if (draw(&w, 2)) claim(&f, (int64_t)f.collection, 1 + draw(&w, 6), 0, &n);
        if (draw(&w, 2)) claim(&f, -(int64_t)f.collection, 1 + draw(&w, 6), 0, &n);
        advance(&f, draw(&w, 500));
        uint64_t request = 1 + draw(&w, (uint32_t)SQL_INT(&f, "SELECT max(id) FROM requests"));
        const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_CHUNK, .request = request }, 1);
        for (uint32_t i = 0; i < r->res.rows.n; i++) {
            if (draw(&w, 3)) pick(&w, (const struct mintd_db_chunk *)MINTD_AT(r->res.rows, i));
        }
        if (!f.b.n) continue;
        uint32_t groups = f.b.groups;
        const struct mintd_applied *a = commit(&f);
        for (uint32_t i = 0; i < groups; i++) verdicts[a[i].verdict]++;
        if (round % 10 == 9) assert_counts(0);
    }
    applied_n = verdicts[MINTD_APPLIED];
    assert_true(applied_n > 200);
    assert_int_equal(verdicts[MINTD_REFUSED] + verdicts[MINTD_DUPLICATE] + verdicts[MINTD_REPEATED], 0);
    assert_counts(0);
    for (uint64_t request = 1; request <= (uint64_t)SQL_INT(&f, "SELECT max(id) FROM requests"); request++) assert_counts(request);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests r WHERE finished_at IS NOT NULL AND 1 <> "
                             "(SELECT count(*) FROM events WHERE kind = 'request.finished' AND subject = r.id)"), 0);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests r WHERE finished_at IS NULL AND NOT EXISTS "
                             "(SELECT 1 FROM chunks WHERE request = r.id AND done = 0)"), 0);
    assert_true(SQL_INT(&f, "SELECT count(*) FROM requests r WHERE finished_at IS NOT NULL") > 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
    const struct CMUnitTest tests[] = { T(pages), T(growing_pages), T(hostile_cursors), T(bounded), T(lane_rows), T(items_on_their_way),
        T(random_walk) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
