/* What lists promise: items from the newest back under every filter, by time of mint, events of a request; keys and reports; and a
 * database of the first schema that is brought to this one. */
#include "fix.h"

static struct fix f;

static int begin(void **state) { (void)state; fix_world(&f, "lists.db"); return 0; }
static int end(void **state) { (void)state; fix_free(&f); return 0; }
static int gone(void **state) { (void)state; tmp_clean(); return 0; }

#define IDS(...)   { (uint64_t[]){ __VA_ARGS__ }, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, 8 }
#define NAMES(...) { (struct mintd_str[]){ __VA_ARGS__ }, sizeof((struct mintd_str[]){ __VA_ARGS__ }) / sizeof(struct mintd_str), sizeof(struct mintd_str) }
#define MASK(s)    ((uint64_t)1 << (s))
#define TROUBLED   (MASK(FAILED) | MASK(CANCELLED) | MASK(QUARANTINE))
enum { LOOK_MAX = 20000, SEEN_MAX = 50000 };

/* ---- a list, page by page */
struct list { uint64_t *id; uint32_t n, pages, shortest; };

static struct list turn(struct mintd_query q, uint32_t flags, uint32_t max, void (*meanwhile)(void))
{
    struct list l = { calloc(SEEN_MAX, sizeof(uint64_t)), 0, 0, UINT32_MAX };
    char cursor[128];
    q.max = max;
    q.kind = MINTD_DB_ITEM;
    for (;;) {
        const struct fh_reply *r = ask(&f, q, flags);
        assert_true(!max || r->res.rows.n <= max);
        for (uint32_t i = 0; i < r->res.rows.n; i++) l.id[l.n++] = ((const struct mintd_db_item *)MINTD_AT(r->res.rows, i))->id;
        l.pages++;
        if (r->res.rows.n < l.shortest) l.shortest = r->res.rows.n;
        if (!r->res.next.n) return l;
        assert_true(r->res.next.n < sizeof cursor && l.pages < 5000);
        memcpy(cursor, r->res.next.p, r->res.next.n);
        q.cursor = (struct mintd_str){ cursor, r->res.next.n };
        if (meanwhile) meanwhile();
    }
}

/* The list is what `sql` (ids in order) says, whatever the size of a page. */
static void assert_list(struct mintd_query q, uint32_t flags, const char *sql)
{
    static const uint32_t sizes[] = { 10000, 1, 3, 7 };
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct list l = turn(q, flags, sizes[s], NULL);
        sqlite3_stmt *st = NULL;
        if (sqlite3_prepare_v2(raw(&f), sql, -1, &st, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(raw(&f)));
        uint32_t n = 0;
        for (; sqlite3_step(st) == SQLITE_ROW; n++) {
            uint64_t want = (uint64_t)sqlite3_column_int64(st, 0);
            if (n >= l.n || l.id[n] != want)
                fail_msg("pages of %u, row %u: %llu, not %llu: %s", sizes[s], n, n < l.n ? (unsigned long long)l.id[n] : 0, (unsigned long long)want, sql);
        }
        sqlite3_finalize(st);
        assert_int_equal(l.n, n);
        free(l.id);
    }
}

/* Where every item is now, in SQL of its own. */
#define NOW "(SELECT i.id, i.venue, i.extra, r.created_at, c.state, c.collection, c.id AS chunk, c.minted_at, " \
    "coalesce((SELECT pos FROM item_moves m WHERE m.item = i.id AND m.kind = 0 ORDER BY gen DESC LIMIT 1), i.id - c.id) AS pos " \
    "FROM items i JOIN requests r ON r.id = i.id >> 24 AND r.state = 1 JOIN chunks c ON c.id = coalesce(" \
    "(SELECT to_chunk FROM item_moves m WHERE m.item = i.id AND m.kind = 0 ORDER BY gen DESC LIMIT 1), " \
    "(SELECT max(h.id) FROM chunks h WHERE h.id <= i.id)))"

static uint64_t accept_of(const char *key, uint32_t n, uint32_t chunk, const char *event)
{
    accept_group(&f, key, f.collection, n, chunk);
    struct mintd_db_item *it = (void *)(uintptr_t)f.b.ch[1].rows.p;
    for (uint32_t i = 0; event && i < n; i++) it[i].extra = arena_printf(f.mem, "{\"eventId\":\"%s\",\"n\":%u}", event, i);
    const struct mintd_applied *a = commit(&f);
    assert_verdict(a, MINTD_APPLIED, "");
    return a->value;
}

static void claim_all(void)
{
    uint32_t n;
    claim(&f, (int64_t)f.collection, 1000, 0, &n);
}

static void fail_chunk(uint64_t id, uint32_t from, uint32_t to)
{
    step(&f, id, from, to, 0);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
}

/* Every item of a dead chunk into a new one. Its id. */
static uint64_t retry(uint64_t id, uint32_t n, uint32_t state)
{
    step(&f, id, state, state, 0);
    split(&f, id, id, MINTD_MINT, &n, 1);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    return newest_chunk(&f);
}

static void deliver(uint64_t mint, uint32_t n)
{
    step(&f, mint, LANDED, DONE, 1)->first_serial = mint % 1000000 + 1;
    ROW(&f, CHUNK, chunk, .kind = MINTD_TRANSFER, .origin = 2, .parent = mint, .n = n, .state = UPLOADED);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    uint32_t got;
    claim(&f, -(int64_t)f.collection, 10, 0, &got);
    uint64_t id = newest_chunk(&f);
    advance(&f, 10);
    sign(&f, id, 1);
    step(&f, id, SIGNED, LANDED, 1);
    step(&f, id, LANDED, DONE, 1)->first_serial = 0;
    const struct mintd_applied *a = commit(&f);
    for (int i = 0; i < 3; i++) assert_verdict(&a[i], MINTD_APPLIED, "");
}

static uint64_t other_venue, other_collection, second_collection;
static int64_t middle_ms;

/* Two venues, three collections, three events, items in every state, some tried again, some delivered. */
static void world_of_items(void)
{
    uint64_t home = f.venue, show = f.collection;
    other_venue = venue(&f, "hall");
    other_collection = collection(&f, other_venue, "else", MINTD_COL_READY);
    second_collection = collection(&f, home, "second", MINTD_COL_READY);
    uint64_t a = accept_of("a", 12, 3, "e1") << 24;
    f.venue = other_venue;
    f.collection = other_collection;
    uint64_t b = accept_of("b", 7, 2, "e1") << 24;
    claim_all();
    bring(&f, b, DONE);
    fail_chunk(b + 2, UPLOADING, FAILED);
    fail_chunk(b + 4, UPLOADING, QUARANTINE);
    f.venue = home;
    f.collection = second_collection;
    advance(&f, 5000);
    middle_ms = (int64_t)SQL_INT(&f, "SELECT max(created_at) FROM requests") + 1;
    uint64_t c = accept_of("c", 6, 2, "e2") << 24;
    claim_all();
    bring(&f, c, LANDED);
    deliver(c, 2);
    fail_chunk(c + 2, UPLOADING, CANCELLED);
    f.collection = show;
    claim_all();
    advance(&f, 10);
    bring(&f, a + 3, DONE);
    fail_chunk(a, UPLOADING, FAILED);
    uint64_t again1 = retry(a, 3, FAILED);
    claim_all();
    fail_chunk(again1, UPLOADING, FAILED);
    step(&f, again1, FAILED, FAILED, 0);
    rows(&f, MINTD_DB_CHUNK, &(struct mintd_db_chunk){ .kind = MINTD_MINT, .origin = 1, .parent = again1, .n = 1, .state = ACCEPTED }, 1,
         sizeof(struct mintd_db_chunk));                   /* one leaves again, two stay in the dead chunk */
    ROW(&f, MEMBER, member, .item = a + 1, .to_chunk = 1, .kind = MINTD_MINT);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    step(&f, a + 6, UPLOADING, MOVED, 0);
    split(&f, a + 6, a + 6, MINTD_MINT, (uint32_t[]){ 1, 2 }, 2);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    uint64_t part = newest_chunk(&f);
    claim_all();
    advance(&f, 10);
    bring(&f, part, DONE);
    advance(&f, 5000);
    accept_of("d", 5, 5, NULL);
    struct mintd_stage st = { .size = sizeof st, .slot = f.slot, .epoch = f.epoch, .venue = f.venue, .idem_key = S("open") };
    const struct mintd_applied *open = call(&f, STAGE, &st, 0, (struct mintd_vec){ 0 })->res.rows.p;
    st.request = open->value;
    assert_ok(call(&f, STAGE, &st, 0, (struct mintd_vec){ items(&f, "open", 0, 4), 4, sizeof(struct mintd_db_item) }));
    accept_of("e", 5, 1, "e2");
}

static void newest(void **state)
{
    (void)state;
    world_of_items();
    assert_list((struct mintd_query){ 0 }, 2, "SELECT id FROM " NOW " ORDER BY id DESC");
    assert_list((struct mintd_query){ .venue = f.venue }, 2, "SELECT id FROM " NOW " WHERE venue = 1 ORDER BY id DESC");
    assert_list((struct mintd_query){ .venue = other_venue }, 2, "SELECT id FROM " NOW " WHERE venue = 2 ORDER BY id DESC");
    assert_list((struct mintd_query){ .venue = 77 }, 2, "SELECT 1 WHERE 0");
    assert_list((struct mintd_query){ .event = S("e1") }, 2, "SELECT id FROM " NOW " WHERE extra LIKE '%\"e1\"%' ORDER BY id DESC");
    assert_list((struct mintd_query){ .event = S("e2"), .collection = second_collection }, 2,
                "SELECT id FROM " NOW " WHERE extra LIKE '%\"e2\"%' AND collection = 3 ORDER BY id DESC");
    assert_list((struct mintd_query){ .event = S("") , .collection = f.collection }, 2, "SELECT id FROM " NOW " WHERE collection = 1 ORDER BY id DESC");
    assert_list((struct mintd_query){ .event = S("e1' OR 1=1 --") }, 2, "SELECT 1 WHERE 0");
    uint32_t states[] = { ACCEPTED, UPLOADING, UPLOADED, DONE, LANDED };
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        char sql[900];
        snprintf(sql, sizeof sql, "SELECT id FROM " NOW " WHERE state = %u ORDER BY id DESC", states[i]);
        assert_list((struct mintd_query){ .states = MASK(states[i]) }, 2, sql);
    }
    assert_list((struct mintd_query){ .states = MASK(FAILED) | MASK(DONE) | MASK(ACCEPTED), .venue = f.venue }, 2,
                "SELECT id FROM " NOW " WHERE venue = 1 AND state IN (11, 10, 1) ORDER BY id DESC");
    char sql[900];
    snprintf(sql, sizeof sql, "SELECT id FROM " NOW " WHERE created_at >= %lld ORDER BY id DESC", (long long)middle_ms);
    assert_list((struct mintd_query){ .from_ms = middle_ms }, 2, sql);
    snprintf(sql, sizeof sql, "SELECT id FROM " NOW " WHERE created_at < %lld ORDER BY id DESC", (long long)middle_ms);
    assert_list((struct mintd_query){ .to_ms = middle_ms }, 2, sql);
    snprintf(sql, sizeof sql, "SELECT id FROM " NOW " WHERE venue = 1 AND created_at >= %lld AND created_at < %lld ORDER BY id DESC",
             (long long)middle_ms, (long long)middle_ms + 5000);
    assert_list((struct mintd_query){ .from_ms = middle_ms, .to_ms = middle_ms + 5000, .venue = f.venue }, 2, sql);
    assert_true(SQL_INT(&f, "SELECT count(DISTINCT created_at) FROM requests") > 2);
    const struct mintd_db_item *it = ask(&f, (struct mintd_query){ .kind = MINTD_DB_ITEM, .states = MASK(DONE), .max = 1 }, 2)->res.rows.p;
    assert_true(it->asset.n && it->tx_id.n && it->body.n && it->chunk && it->state == DONE);       /* whole rows */
}

/* ---- what failed, was cancelled or is in quarantine */
static void troubled(void **state)
{
    (void)state;
    world_of_items();
    static const char all[] = "SELECT id FROM " NOW " WHERE state IN (6, 11, 12) ORDER BY venue, chunk DESC, pos DESC";
    assert_true(SQL_INT(&f, "SELECT count(*) FROM " NOW " WHERE state IN (6, 11, 12)") == 8);
    assert_list((struct mintd_query){ .states = TROUBLED }, 2, all);
    assert_list((struct mintd_query){ .states = MASK(FAILED) }, 2, "SELECT id FROM " NOW " WHERE state = 11 ORDER BY venue, chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .states = MASK(CANCELLED) }, 2, "SELECT id FROM " NOW " WHERE state = 12 ORDER BY venue, chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .states = MASK(QUARANTINE) }, 2, "SELECT id FROM " NOW " WHERE state = 6 ORDER BY venue, chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .states = TROUBLED, .venue = other_venue }, 2,
                "SELECT id FROM " NOW " WHERE state IN (6, 11, 12) AND venue = 2 ORDER BY chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .states = TROUBLED, .event = S("e2") }, 2,
                "SELECT id FROM " NOW " WHERE state IN (6, 11, 12) AND extra LIKE '%\"e2\"%' ORDER BY venue, chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .states = TROUBLED, .collection = f.collection }, 2,
                "SELECT id FROM " NOW " WHERE state IN (6, 11, 12) AND collection = 1 ORDER BY venue, chunk DESC, pos DESC");
    char sql[900];
    snprintf(sql, sizeof sql, "SELECT id FROM " NOW " WHERE state IN (6, 11, 12) AND created_at >= %lld ORDER BY venue, chunk DESC, pos DESC",
             (long long)middle_ms);
    assert_list((struct mintd_query){ .states = TROUBLED, .from_ms = middle_ms }, 2, sql);
    /* it finds three in a hundred thousand without looking at the others: one page, where the other way needs several */
    accept_of("crowd", 100000, 100000, NULL);
    struct list l = turn((struct mintd_query){ .states = TROUBLED }, 2, 1000, NULL);
    assert_int_equal(l.pages, 1);
    free(l.id);
    l = turn((struct mintd_query){ .event = S("e1") }, 2, 1000, NULL);
    assert_true(l.pages >= 6 && l.pages <= 7 && l.shortest == 0 && l.n == 19);
    free(l.id);
}

/* ---- by time of mint */
static void minted(void **state)
{
    (void)state;
    world_of_items();
    assert_true(SQL_INT(&f, "SELECT count(*) FROM chunks WHERE kind = 2 AND state = 10") == 1);
    assert_true(SQL_INT(&f, "SELECT count(*) FROM " NOW " WHERE state = 10") == 9);
    assert_list((struct mintd_query){ 0 }, 4, "SELECT id FROM " NOW " WHERE state = 10 ORDER BY minted_at DESC, chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .venue = f.venue }, 4,
                "SELECT id FROM " NOW " WHERE state = 10 AND venue = 1 ORDER BY minted_at DESC, chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .venue = other_venue }, 4,
                "SELECT id FROM " NOW " WHERE state = 10 AND venue = 2 ORDER BY minted_at DESC, chunk DESC, pos DESC");
    assert_list((struct mintd_query){ .venue = 99 }, 4, "SELECT 1 WHERE 0");
}

/* ---- inserts between the pages */
static int added;

static void add_between(void)
{
    char key[24];
    snprintf(key, sizeof key, "grown%d", added++);
    uint64_t id = one_chunk(&f, key, 3);
    if (added % 3 == 0) fail_chunk(id, UPLOADING, FAILED);
    else bring(&f, id, DONE);
    advance(&f, 3);
}

static void stable(void **state)
{
    (void)state;
    static const struct { struct mintd_query q; uint32_t flags; } lists[] = { { { 0 }, 2 }, { { .venue = 1 }, 2 }, { { .states = MASK(DONE) }, 2 },
        { { .states = MASK(FAILED) }, 2 }, { { .states = TROUBLED, .venue = 1 }, 2 }, { { 0 }, 4 }, { { .venue = 1 }, 4 } };
    added = 0;
    for (int i = 0; i < 12; i++) add_between();
    for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
        struct list before = turn(lists[k].q, lists[k].flags, 10000, NULL), seen = turn(lists[k].q, lists[k].flags, 2, add_between);
        assert_true(before.n >= 12 && seen.pages >= before.n / 2);
        for (uint32_t i = 0; i < before.n; i++) {
            int times = 0;
            for (uint32_t j = 0; j < seen.n; j++) times += before.id[i] == seen.id[j];
            if (times != 1) fail_msg("list %zu: item %llu seen %d times", k, (unsigned long long)before.id[i], times);
        }
        free(before.id);
        free(seen.id);
    }
}

/* The reason of a chunk changes and it goes from quarantine to failed while its list is turned. */
static void settle_one(void)
{
    uint64_t id = (uint64_t)SQL_INT(&f, "SELECT coalesce(max(id), 0) FROM chunks WHERE state = 6");
    if (!id) return;
    struct mintd_db_chunk *c = step(&f, id, QUARANTINE, FAILED, 0);
    c->slug = added++ % 2 ? S("aaa.first") : S("zzz.last");
    assert_verdict(commit(&f), MINTD_APPLIED, "");
}

static void stable_while_reasons_change(void **state)
{
    (void)state;
    char key[16];
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "q%d", i);
        fail_chunk(one_chunk(&f, key, 2), UPLOADING, QUARANTINE);
    }
    struct list seen = turn((struct mintd_query){ .states = TROUBLED }, 2, 3, settle_one);
    assert_int_equal(seen.n, 40);
    for (uint32_t i = 1; i < seen.n; i++) assert_true(seen.id[i] < seen.id[i - 1]);
    assert_true(SQL_INT(&f, "SELECT count(*) FROM chunks WHERE state = 11") > 10);
    free(seen.id);
}

/* ---- what is no list */
static void refusals(void **state)
{
    (void)state;
    world_of_items();
    const struct { struct mintd_query q; uint32_t flags; } wrong[] = {
        { { 0 }, 6 }, { { .states = 1 << DONE }, 4 }, { { .event = { "e", 1 } }, 4 }, { { .collection = 1 }, 4 }, { { .from_ms = 1 }, 4 }, { { .to_ms = 1 }, 4 },
        { { .request = 1 }, 2 }, { { .request = 1 }, 4 }, { { .ids = IDS(1) }, 2 }, { { .names = NAMES(S("a-1")) }, 4 }, { { .venue = UINT64_MAX }, 2 },
        { { .cursor = { "m5.5.5", 6 } }, 2 }, { { .cursor = { "n0.5.5", 6 } }, 4 }, { { .cursor = { "n0.5.5", 6 }, .states = 1 << FAILED }, 2 },
        { { .cursor = { "p1.5.5", 6 } }, 2 }, { { .cursor = { "p1.5.5", 6 }, .states = 1 << FAILED, .venue = 2 }, 2 },
        { { .cursor = { "n0.4611686018427387904.1", 24 } }, 2 },
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct mintd_query q = wrong[i].q;
        q.size = sizeof q;
        q.kind = MINTD_DB_ITEM;
        const struct fh_reply *r = call(&f, QUERY, &q, wrong[i].flags, (struct mintd_vec){ 0 });
        if (r->out.cls != MINTD_PERMANENT || !str_eq(r->out.slug, S("store.bad_request"))) fail_msg("case %zu was not refused", i);
    }
    static const char *const cursors[] = { "x", "n", "n.", "n1", "n1.2", "n1.2.", "n1.2.3.", "n1.2.3.4", "n-1.2.3", "n1.-2.3", "n 1.2.3", "n1.2.99999999999999999999",
        "n1.2.9223372036854775807", "n0x1.2.3", "1.2.3", "12345", "n0.0.0", "n0.16777216.1", "n0.4611686018427387903.9223372036854775806" };
    for (size_t i = 0; i < ARRAY_LEN(cursors); i++) {
        struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_ITEM, .cursor = str_of(cursors[i]) };
        const struct fh_reply *r = call(&f, QUERY, &q, 2, (struct mintd_vec){ 0 });
        if (i < 16) assert_out(r, MINTD_PERMANENT, "store.bad_request");
        else assert_ok(r);
    }
    HEAD(&f, VENUE, venue, .name = S("odd"));              /* what is no JSON is of no event, and stops nothing */
    commit(&f);
    accept_group(&f, "odd", f.collection, 3, 3);
    struct mintd_db_item *it = (void *)(uintptr_t)f.b.ch[1].rows.p;
    it[0].extra = S("{\"eventId\":");
    it[1].extra = S("{\"eventId\":7}");
    it[2].extra = S("[]");
    commit(&f);
    struct list l = turn((struct mintd_query){ .event = S("7") }, 2, 10, NULL);
    assert_int_equal(l.n, 1);
    free(l.id);
}

/* ---- events of a request, of a venue */
static uint32_t events(struct mintd_query q, uint32_t max, uint64_t *ret_subjects, uint32_t *ret_pages)
{
    char cursor[128];
    uint32_t n = 0;
    uint64_t slot = 0, seq = 0;
    q.kind = MINTD_DB_EVENT;
    q.max = max;
    for (*ret_pages = 1;; ++*ret_pages) {
        const struct fh_reply *r = ask(&f, q, 0);
        for (uint32_t i = 0; i < r->res.rows.n; i++, n++) {
            struct mintd_db_event e;
            mintd_row(r->res.rows, i, &e, sizeof e);
            assert_true(e.slot > slot || (e.slot == slot && e.seq > seq));
            assert_true(!q.venue || e.venue == q.venue);
            slot = e.slot;
            seq = e.seq;
            ret_subjects[n] = e.subject;
        }
        if (!r->res.next.n) return n;
        memcpy(cursor, r->res.next.p, r->res.next.n);
        q.cursor = (struct mintd_str){ cursor, r->res.next.n };
    }
}

static void note(const char *kind, uint32_t subject_kind, uint64_t subject, uint64_t of_venue)
{
    ROW(&f, EVENT, event, .venue = of_venue, .kind = str_of(kind), .subject = subject, .subject_kind = subject_kind, .body = S("{}"));
}

static void events_of_requests(void **state)
{
    (void)state;
    uint64_t a = accept(&f, "a", 4, 2), b = accept(&f, "b", 4, 2), other = venue(&f, "hall"), s[64];
    uint32_t pages;
    claim_all();
    step(&f, a << 24, UPLOADING, FAILED, 0);               /* home, subject 0: the head */
    note("chunk.failed", MINTD_DB_CHUNK, 0, f.venue);
    commit(&f);
    uint64_t later = retry(a << 24, 2, FAILED);
    claim_all();
    step(&f, later, UPLOADING, QUARANTINE, 0);
    note("chunk.quarantine", MINTD_DB_CHUNK, 0, f.venue);
    commit(&f);
    HEAD(&f, META, meta, .key = S("k"), .val = S("v"));    /* the same numbers, of other kinds */
    note("key.made", MINTD_DB_KEY, a, f.venue);
    note("item.seen", MINTD_DB_ITEM, a << 24, f.venue);
    note("collection.made", MINTD_DB_COLLECTION, a, other);
    note("chunk.of_none", MINTD_DB_CHUNK, (a << 24) + 1, f.venue);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    struct mintd_lease_of l = lease(&f, "two", 30000, 0);   /* and one more of it in a stream of its own */
    struct mintd_lease_of own = { f.slot, f.epoch };
    f.slot = l.slot;
    f.epoch = l.epoch;
    HEAD(&f, REQUEST, request, .id = a, .cancel_at = 5);
    note("request.cancel", MINTD_DB_REQUEST, 0, f.venue);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    f.slot = own.slot;
    f.epoch = own.epoch;
    for (uint32_t max = 1; max < 9; max += 3) {
        assert_int_equal(events((struct mintd_query){ .request = a }, max, s, &pages), 4);
        assert_true(s[0] == a && s[1] == a << 24 && s[2] == later && s[3] == a);
        assert_int_equal(events((struct mintd_query){ .request = b }, max, s, &pages), 1);
        assert_int_equal(events((struct mintd_query){ .request = a, .venue = f.venue }, max, s, &pages), 4);
        assert_int_equal(events((struct mintd_query){ .request = a, .venue = other }, max, s, &pages), 0);
        assert_int_equal(events((struct mintd_query){ .request = a + ((uint64_t)1 << 40) }, max, s, &pages), 0);
        assert_int_equal(events((struct mintd_query){ .venue = other }, max, s, &pages), 1);
        assert_int_equal(events((struct mintd_query){ .venue = f.venue }, max, s, &pages), 8);
        assert_int_equal(events((struct mintd_query){ .venue = f.venue, .slot = l.slot }, max, s, &pages), 1);
        assert_int_equal(events((struct mintd_query){ .venue = other, .slot = l.slot }, max, s, &pages), 0);
        assert_int_equal(events((struct mintd_query){ .ids = IDS(a), .venue = other }, max, s, &pages), 1);
        assert_int_equal(events((struct mintd_query){ .ids = IDS(a) }, max, s, &pages), 4);
    }
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM events WHERE request IS NULL"), 4);
}

/* A venue that says nothing costs a bounded page, however much the others said. */
static void events_of_a_quiet_venue(void **state)
{
    (void)state;
    uint64_t quiet = venue(&f, "quiet"), s[64];
    uint32_t pages;
    sqlite3 *h = raw(&f);
    assert_int_equal(sqlite3_exec(h, "DROP TRIGGER events_dense; WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "INSERT INTO events SELECT 9, i, 1, 1, 0, i, 'noise', NULL, zeroblob(32), NULL FROM n", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, "INSERT INTO events VALUES (9, 50001, 1, 2, 0, 7, 'word', NULL, zeroblob(32), NULL)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(quiet, 2);
    assert_int_equal(events((struct mintd_query){ .venue = quiet }, 10, s, &pages), 1);
    assert_int_equal(pages, 3);
    assert_int_equal(events((struct mintd_query){ .venue = quiet, .slot = 9 }, 10, s, &pages), 1);
    assert_int_equal(pages, 3);
    assert_int_equal(s[0], 7);
}

/* ---- keys */
static struct mintd_db_key *key(const char *name, const char *hash)
{
    struct mintd_db_key *k = HEAD(&f, KEY, key, .name = str_of(name), .scopes = S("read mint"), .expires_at = 99, .cidr = S("10.0.0.0/8"));
    k->hash = arena_str(f.mem, hash_of(hash));
    return k;
}

static const struct mintd_db_key *get_key(uint64_t id)
{
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_KEY, .ids = { &id, 1, 8 } }, 0);
    return r->res.rows.n == 1 ? r->res.rows.p : NULL;
}

static void keys(void **state)
{
    (void)state;
    key("ops", "h1");
    note("key.created", MINTD_DB_KEY, 0, 0);
    uint64_t id = applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT subject FROM events WHERE kind = 'key.created' AND subject_kind = 15"), id);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM events WHERE kind = 'key.created'"), 1);
    key("ops", "h2");
    const struct mintd_applied *a = commit(&f);
    assert_verdict(a, MINTD_STALE, "hash");
    assert_int_equal(a->value, id);
    key("copy", "h1");
    refused(&f, MINTD_REFUSED, "store.api_keys_hash");
    key("far", "h3")->venue = 99;
    refused(&f, MINTD_REFUSED, "store.api_keys_venue");
    key("", "h3");
    refused(&f, MINTD_REFUSED, "store.bad_request");
    key("short", "h3")->hash.n = 31;
    refused(&f, MINTD_REFUSED, "store.bad_request");
    key("none", "h3")->scopes.n = 0;
    refused(&f, MINTD_REFUSED, "store.bad_request");
    struct mintd_db_key *k = key("venue", "h3");
    k->venue = f.venue;
    k->created_at = 77;
    k->expires_at = 0;
    uint64_t second = applied(&f);
    const struct mintd_db_key *got = get_key(second);
    assert_true(got->venue == f.venue && got->created_at == 77 && !got->expires_at && !got->revoked_at && !got->used_at);
    got = get_key(id);
    assert_true(got->id == id && !got->venue && got->expires_at == 99 && got->created_at >= WALL_MS);
    assert_str(got->name, "ops");
    assert_str(got->scopes, "read mint");
    assert_str(got->cidr, "10.0.0.0/8");
    assert_true(got->hash.n == 32 && !memcmp(got->hash.p, hash_of("h1").p, 32));
    assert_null(get_key(99));
    HEAD(&f, KEY, key, .id = id, .used_at = 500);
    assert_int_equal(applied(&f), id);
    HEAD(&f, KEY, key, .id = id, .used_at = 499);
    refused(&f, MINTD_REPEATED, "");
    HEAD(&f, KEY, key, .id = id, .used_at = 501);
    assert_int_equal(applied(&f), id);
    HEAD(&f, KEY, key, .id = id, .revoked_at = 600, .used_at = 400);
    assert_int_equal(applied(&f), id);
    HEAD(&f, KEY, key, .id = id, .revoked_at = 700);
    refused(&f, MINTD_REPEATED, "");
    got = get_key(id);
    assert_true(got->used_at == 501 && got->revoked_at == 600);
    HEAD(&f, KEY, key, .id = id, .used_at = 800);          /* a call that began before it was revoked */
    assert_int_equal(applied(&f), id);
    HEAD(&f, KEY, key, .id = 99, .revoked_at = 1);
    refused(&f, MINTD_STALE, "no such key");
    HEAD(&f, KEY, key, .id = id);
    refused(&f, MINTD_REFUSED, "store.bad_request");
    HEAD(&f, KEY, key, .id = id, .revoked_at = -1);
    refused(&f, MINTD_REFUSED, "store.bad_request");
    key("ops", "h1");                                      /* its name is gone for good, its row is known */
    refused(&f, MINTD_REPEATED, "");
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_KEY }, 0);
    assert_int_equal(r->res.rows.n, 2);
    r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_KEY, .max = 1 }, 0);
    assert_true(r->res.rows.n == 1 && r->res.next.n);
    r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_KEY, .names = NAMES(S("none"), S("venue"), S("ops")) }, 0);
    assert_int_equal(r->res.rows.n, 2);
    assert_int_equal(((const struct mintd_db_key *)r->res.rows.p)->id, second);
}

/* ---- reports */
static struct mintd_db_report *report(const char *of, int64_t date, uint64_t confirmed)
{
    return HEAD(&f, REPORT, report, .venue_id = str_of(of), .report_date = date, .total_checked = 450, .confirmed = confirmed,
                .not_found = 450 - confirmed, .discrepancy_count = 450 - confirmed, .report_data = S("{\"a\":1}"));
}

static void reports(void **state)
{
    (void)state;
    report("arena", WALL_MS + 123, 442);
    note("reconciliation.done", MINTD_DB_REPORT, 0, f.venue);
    uint64_t id = applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT subject FROM events WHERE kind = 'reconciliation.done' AND subject_kind = 16"), id);
    assert_int_equal(SQL_INT(&f, "SELECT report_date = '2026-09-21T14:13:20.123Z' AND typeof(created_at) = 'text' AND discrepancy_rate = 0.017778 "
                             "AND report_data = '{\"a\":1}' FROM reconciliation_reports"), 1);
    report("arena", WALL_MS + 123, 441);                   /* counted anew, or at another time, or elsewhere: another report */
    applied(&f);
    report("arena", WALL_MS + 122, 442);
    uint64_t earlier = applied(&f);
    report("hall", WALL_MS + 123, 442);
    applied(&f);
    struct mintd_db_report *r = report("arena", WALL_MS + 999, 0);
    r->total_checked = r->not_found = r->discrepancy_count = 0;
    applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT discrepancy_rate = 0 FROM reconciliation_reports WHERE total_checked = 0"), 1);
    advance(&f, 5000);
    report("arena", 0, 450);                               /* now */
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    report("arena", 5, 442)->errors = 1;
    refused(&f, MINTD_REFUSED, "store.reconciliation_reports_total");
    report("", 5, 442);
    refused(&f, MINTD_REFUSED, "store.bad_request");
    report("arena", 5, 442)->id = id;
    refused(&f, MINTD_REFUSED, "store.bad_request");
    report("arena", INT64_MAX, 442);
    refused(&f, MINTD_REFUSED, "store.reconciliation_reports_not_null");
    static const int64_t odd[] = { 1, 999, 1000, 951782399999, 1583020799001, 4102444799999, -1 };
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) { report("odd", odd[i], 450)->created_at = odd[i]; applied(&f); }
    const struct fh_reply *got = ask(&f, (struct mintd_query){ .kind = MINTD_DB_REPORT, .names = NAMES(S("odd")) }, 0);
    assert_int_equal(got->res.rows.n, ARRAY_LEN(odd));
    for (uint32_t i = 0; i < got->res.rows.n; i++) {
        const struct mintd_db_report *o = MINTD_AT(got->res.rows, i);
        assert_int_equal(o->report_date, odd[i == 6 ? 6 : 5 - i]);
        assert_int_equal(o->created_at, o->report_date);
    }
    for (uint32_t max = 1; max < 9; max += 3) {
        uint64_t last = 0;
        uint32_t n = 0;
        char cursor[32];
        for (struct mintd_query q = { .kind = MINTD_DB_REPORT, .names = NAMES(S("arena")), .max = max };; ) {
            got = ask(&f, q, 0);
            for (uint32_t i = 0; i < got->res.rows.n; i++, n++) last = ((const struct mintd_db_report *)MINTD_AT(got->res.rows, i))->id;
            if (!got->res.next.n) break;
            memcpy(cursor, got->res.next.p, got->res.next.n);
            q.cursor = (struct mintd_str){ cursor, got->res.next.n };
        }
        assert_int_equal(n, 5);
        assert_int_equal(last, earlier);
    }
    got = ask(&f, (struct mintd_query){ .kind = MINTD_DB_REPORT }, 0);
    assert_int_equal(got->res.rows.n, 6 + ARRAY_LEN(odd));
    const struct mintd_db_report *oldest = MINTD_AT(got->res.rows, got->res.rows.n - 1);
    assert_true(oldest->id == id && oldest->total_checked == 450 && oldest->confirmed == 442 && oldest->not_found == 8 && oldest->discrepancy_count == 8);
    assert_true(oldest->report_date == WALL_MS + 123 && oldest->created_at >= WALL_MS);
    assert_str(oldest->venue_id, "arena");
    assert_str(oldest->report_data, "{\"a\":1}");
    struct mintd_query two = { .size = sizeof two, .kind = MINTD_DB_REPORT, .names = NAMES(S("a"), S("b")) };
    assert_out(call(&f, QUERY, &two, 0, (struct mintd_vec){ 0 }), MINTD_PERMANENT, "store.bad_request");
}

/* ---- a database of the first schema */
static void exec(sqlite3 *h, const char *sql)
{
    if (sqlite3_exec(h, sql, NULL, NULL, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(h));
}

static void exec_file(sqlite3 *h, const char *name)
{
    char path[600], *sql = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/plugins/store-sqlite/sql/%s", getenv("MINTD_SOURCE"), name);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_true(getdelim(&sql, &n, '\0', in) > 0);
    fclose(in);
    exec(h, sql);
    free(sql);
}

/* The world in hand as a database of version 1, with its rows and nothing that version 2 added. */
static void as_version_1(const char *path)
{
    sqlite3 *h = NULL;
    char sql[1024];
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    exec_file(h, "0001_tables.sql");
    snprintf(sql, sizeof sql, "PRAGMA application_id = 1835955300; ATTACH '%s' AS world; CREATE TEMP TABLE copied AS SELECT name FROM main.sqlite_schema "
             "WHERE type = 'table' AND name NOT LIKE 'sqlite%%'", f.path);
    exec(h, sql);
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_prepare_v2(h, "SELECT 'INSERT INTO main.' || t.name || ' SELECT ' || group_concat(c.name, ', ') || ' FROM world.' || t.name "
        "FROM copied t, pragma_table_info(t.name, 'main') c GROUP BY t.name", -1, &st, NULL), SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) exec(h, (const char *)sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    exec(h, "DELETE FROM main.migrations WHERE version > 1; UPDATE main.meta SET val = '1 1' WHERE key = 'schema';"
            "CREATE TRIGGER main.venues_keep BEFORE DELETE ON venues BEGIN SELECT RAISE(ABORT, 'old'); END; DETACH world");
    sqlite3_close(h);
}

static void from_version_1(void **state)
{
    (void)state;
    world_of_items();
    assert_verdict((key("old", "h"), commit(&f)), MINTD_APPLIED, "");
    char old[sizeof f.path], identity[64];
    snprintf(old, sizeof old, "%.400s.v1", f.path);
    int64_t n_events = SQL_INT(&f, "SELECT count(*) FROM events WHERE request IS NOT NULL");
    assert_int_equal(n_events, 5);
    uint64_t s[64];
    uint32_t pages, of_a = events((struct mintd_query){ .request = 1 }, 100, s, &pages);
    struct fh_reply *r;
    as_version_1(old);
    fix_close(&f);
    unlink(f.path);
    memcpy(f.path, old, sizeof old);
    fix_open(&f);
    r = &f.reply;
    assert_str(((const struct mintd_field *)r->res.rows.p)[2].val, "1");
    snprintf(identity, sizeof identity, STR_FMT, STR_ARG(((const struct mintd_field *)r->res.rows.p)[0].val));
    assert_int_equal(strlen(identity), 32);
    struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_VENUE };
    assert_out(call(&f, QUERY, &q, 0, (struct mintd_vec){ 0 }), MINTD_PERMANENT, "store.schema");
    const struct mintd_schema *schema = call(&f, MIGRATE, NULL, 0, (struct mintd_vec){ 0 })->res.rows.p;
    assert_true(schema->now == 1 && schema->wanted == 2);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM pragma_table_info('events') WHERE name = 'request'"), 0);       /* looked at only */
    fix_migrate(&f);
    schema = f.reply.res.rows.p;
    assert_true(schema->now == 2 && schema->wanted == 2);
    assert_str(schema->identity, identity);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM migrations"), 2);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM meta WHERE key = 'schema' AND val = '2 2'"), 1);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM events WHERE request IS NOT NULL"), n_events);
    assert_int_equal(events((struct mintd_query){ .request = 1 }, 100, s, &pages), of_a);
    assert_true(get_key(1) && !get_key(1)->used_at);
    HEAD(&f, KEY, key, .id = 1, .used_at = 9);
    assert_int_equal(applied(&f), 1);
    assert_list((struct mintd_query){ 0 }, 2, "SELECT id FROM " NOW " ORDER BY id DESC");
    assert_list((struct mintd_query){ 0 }, 4, "SELECT id FROM " NOW " WHERE state = 10 ORDER BY minted_at DESC, chunk DESC, pos DESC");
    bring(&f, one_chunk(&f, "after", 3), DONE);            /* and it goes on, under the rules of now */
    assert_int_equal(sqlite3_exec(raw(&f), "DELETE FROM venues", NULL, NULL, NULL), SQLITE_CONSTRAINT);
    assert_string_equal(sqlite3_errmsg(raw(&f)), "venues_keep");
    fix_close(&f);
    fix_open(&f);
    assert_str(((const struct mintd_field *)f.reply.res.rows.p)[2].val, "2");
    assert_ok(call(&f, QUERY, &q, 0, (struct mintd_vec){ 0 }));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
    const struct CMUnitTest tests[] = { T(newest), T(troubled), T(minted), T(stable), T(stable_while_reasons_change), T(refusals),
        T(events_of_requests), T(events_of_a_quiet_venue), T(keys), T(reports), T(from_version_1) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
