/* Venues, collections, requests, staging, leases and pins: every head kind but CHUNK, with every verdict it can have. */
#include "fix.h"

static struct fix f;

static int begin(void **state) { (void)state; fix_world(&f, "intake.db"); return 0; }
static int end(void **state) { (void)state; fix_free(&f); return 0; }
static int gone(void **state) { (void)state; tmp_clean(); return 0; }

static void venues(void **state)
{
    (void)state;
    HEAD(&f, VENUE, venue, .name = S("stadium"));
    uint64_t id = applied(&f);
    assert_int_equal(venue(&f, "stadium"), id);
    assert_int_not_equal(venue(&f, "club"), id);
    HEAD(&f, VENUE, venue, .name = S(""));
    refused(&f, MINTD_REFUSED, "store.venues_named");
}

static void collections(void **state)
{
    (void)state;
    struct mintd_db_collection row = { .venue = f.venue, .pipeline = S("line"), .name = S("tour"), .network = S("net1"), .max_supply = 5 };
    group(&f);
    rows(&f, MINTD_DB_COLLECTION, &row, 1, sizeof row);
    uint64_t id = applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT state FROM collections WHERE id = %lld", id), MINTD_COL_NEW);      /* 0: NEW */
    HEAD(&f, COLLECTION, collection, .id = id, .from = MINTD_COL_NEW, .state = MINTD_COL_READY, .chain_ref = S("0.0.5"));
    applied(&f);
    HEAD(&f, COLLECTION, collection, .id = id, .from = MINTD_COL_NEW, .state = MINTD_COL_PARKED);
    refused(&f, MINTD_STALE, NULL);
    HEAD(&f, COLLECTION, collection, .id = id, .from = MINTD_COL_READY, .state = MINTD_COL_PARKED, .park_reason = S("funds"));
    applied(&f);
    HEAD(&f, COLLECTION, collection, .id = id, .from = MINTD_COL_PARKED, .state = MINTD_COL_READY);
    applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT park_reason IS NULL AND chain_ref = '0.0.5' FROM collections WHERE id = %lld", id), 1);
    HEAD(&f, COLLECTION, collection, .id = id, .from = MINTD_COL_READY, .state = MINTD_COL_NEW);
    refused(&f, MINTD_REFUSED, "store.collections_transition");
    HEAD(&f, COLLECTION, collection, .id = id, .from = MINTD_COL_READY, .state = MINTD_COL_READY, .chain_ref = S("0.0.6"));
    refused(&f, MINTD_REFUSED, "store.collections_ref_once");
    HEAD(&f, COLLECTION, collection, .id = 999, .from = MINTD_COL_READY, .state = MINTD_COL_PARKED);
    refused(&f, MINTD_STALE, NULL);
    HEAD(&f, COLLECTION, collection, .venue = 999, .pipeline = S("line"), .name = S("x"), .network = S("n"));
    refused(&f, MINTD_REFUSED, "store.collections_venue");
}

/* ---- accept */
static void accepts(void **state)
{
    (void)state;
    accept_group(&f, "a", f.collection, 25, 10);
    uint64_t id = applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM chunks WHERE request = %lld AND state = 1 AND owner IS NULL", id), 3);
    assert_int_equal(SQL_INT(&f, "SELECT accepted FROM collections WHERE id = %lld", f.collection), 25);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM events WHERE subject = %lld", id), 1);
    accept_group(&f, "a", f.collection, 25, 10);           /* the same key with another body */
    ((struct mintd_db_request *)(uintptr_t)f.b.ch[0].rows.p)->body_hash = S("0123456789abcdef0123456789abcdef");
    const struct mintd_applied *a = commit(&f);
    assert_verdict(a, MINTD_STALE, "hash");
    assert_int_equal(a->value, id);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM items"), 25);
    accept_group(&f, "b", f.collection, 3, 10);
    ((struct mintd_db_item *)(uintptr_t)f.b.ch[1].rows.p)[1].ticket = S("a-7");
    a = commit(&f);
    assert_verdict(a, MINTD_DUPLICATE, "a-7");
    assert_int_equal(a->value, id);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests"), 1);
    accept_group(&f, "c", f.collection, 3, 10);            /* one ticket twice in one body */
    ((struct mintd_db_item *)(uintptr_t)f.b.ch[1].rows.p)[2].ticket = S("c-0");
    refused(&f, MINTD_DUPLICATE, "c-0");
}

static void long_ticket(void **state)
{
    (void)state;
    char name[700];
    memset(name, 't', sizeof name);
    for (int i = 0; i < 2; i++) {
        accept_group(&f, i ? "m" : "l", f.collection, 1, 1);
        ((struct mintd_db_item *)(uintptr_t)f.b.ch[1].rows.p)->ticket = (struct mintd_str){ name, sizeof name };
        const struct mintd_applied *a = commit(&f);
        assert_verdict(a, i ? MINTD_DUPLICATE : MINTD_APPLIED, NULL);
        assert_int_equal(a->detail.n, i ? sizeof name : 0);
    }
}

static void seals_what_is_there(void **state)
{
    (void)state;
    static const struct { uint32_t n, count, batch; uint32_t first; const char *why; } bad[] = {
        { 4, 5, 5, 0, "store.requests_seal" }, { 4, 3, 5, 0, "store.requests_seal" }, { 4, 4, 4, 1, "store.requests_seal" },
        { 4, 4, 0, 0, "store.bad_request" }, { 4, 0, 4, 0, "store.bad_request" }, { 4, 1 << 24, 1 << 24, 5, "store.bad_request" } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        accept_group(&f, "s", f.collection, bad[i].n, 4);
        struct mintd_db_run *run = (void *)(uintptr_t)((struct mintd_db_request *)(uintptr_t)f.b.ch[0].rows.p)->runs.p;
        run->count = bad[i].count;
        run->batch = bad[i].batch;
        run->first = bad[i].first;
        refused(&f, MINTD_REFUSED, bad[i].why);
    }
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests") + SQL_INT(&f, "SELECT count(*) FROM items"), 0);
    assert_int_equal(SQL_INT(&f, "SELECT accepted FROM collections"), 0);
    HEAD(&f, COLLECTION, collection, .venue = f.venue, .pipeline = S("line"), .name = S("small"), .network = S("n"), .max_supply = 3,
         .state = MINTD_COL_READY);
    uint64_t small = commit(&f)->value;
    accept_group(&f, "s", small, 4, 4);
    refused(&f, MINTD_REFUSED, "store.collections_supply");
    accept_group(&f, "s", small, 3, 4);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
}

static void runs_of_two_lanes(void **state)
{
    (void)state;
    uint64_t other = collection(&f, f.venue, "second", 0);
    accept_group(&f, "r", f.collection, 7, 4);
    struct mintd_db_request *r = (void *)(uintptr_t)f.b.ch[0].rows.p;
    struct mintd_db_run runs[] = { { f.collection, 3, 4, 4, 0 }, { other, 0, 3, 2, 0 } };
    r->runs = (struct mintd_vec){ runs, 2, sizeof runs[0] };
    r->not_before = WALL_MS + 60000;
    uint64_t id = applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM chunks WHERE request = %lld", id), 3);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM chunks WHERE collection = %lld AND kind = 1 AND state = 3 AND lane = 0", other), 1);
    uint32_t n;
    claim(&f, (int64_t)f.collection, 10, 0, &n);
    assert_int_equal(n, 0);                                /* not before its time */
    advance(&f, 61000);
    claim(&f, (int64_t)f.collection, 10, 0, &n);
    assert_int_equal(n, 1);
    accept_group(&f, "r2", other, 2, 2);                   /* a second request does not ask for a second creation */
    applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM chunks WHERE kind = 1"), 1);
}

/* ---- staging */
static const struct fh_reply *stage_as(struct mintd_stage st, uint32_t flags, const struct mintd_db_item *it, uint32_t n)
{
    st.size = sizeof st;
    return call(&f, STAGE, &st, flags, (struct mintd_vec){ it, n, sizeof *it });
}

static const struct mintd_applied *stage(uint64_t request, const char *key, uint32_t flags, const struct mintd_db_item *it, uint32_t n)
{
    const struct fh_reply *r = stage_as((struct mintd_stage){ .slot = f.slot, .epoch = f.epoch, .request = request, .venue = f.venue,
                                                              .idem_key = str_of(key) }, flags, it, n);
    assert_ok(r);
    assert_int_equal(r->res.rows.n, 1);
    return r->res.rows.p;
}

static void seal_group(uint64_t request, const char *key, uint32_t n)
{
    struct mintd_db_run *run = arena_copy(f.mem, &(struct mintd_db_run){ .collection = f.collection, .count = n, .batch = 10 }, sizeof *run);
    HEAD(&f, REQUEST, request, .id = request, .venue = f.venue, .idem_key = str_of(key), .body_hash = arena_str(f.mem, hash_of(key)),
         .from = MINTD_RQ_OPEN, .state = MINTD_RQ_SEALED, .n_items = n, .options = S("{}"), .runs = { run, 1, sizeof *run });
    ROW(&f, EVENT, event, .venue = f.venue, .kind = S("request.accepted"));
}

static void stages(void **state)
{
    (void)state;
    uint64_t id = stage(0, "st", 0, NULL, 0)->value;
    for (int twice = 0; twice < 2; twice++)                /* the second time as after a lost COMMIT */
        assert_verdict(stage(id, "", 0, items(&f, "st", 0, 15), 15), MINTD_APPLIED, "");
    assert_verdict(stage(id, "", 0, items(&f, "st", 15, 5), 5), MINTD_APPLIED, "");
    assert_verdict(stage(id, "", 0, items(&f, "st", 19, 1), 1), MINTD_APPLIED, "");
    struct mintd_db_item twin = *items(&f, "st", 3, 1);
    twin.id = 30;
    const struct mintd_applied *a = stage(id, "", 0, &twin, 1);
    assert_verdict(a, MINTD_DUPLICATE, "st-3");
    assert_int_equal(a->value, id);
    a = stage(0, "st", 0, NULL, 0);
    assert_verdict(a, MINTD_STALE, "open");
    assert_int_equal(a->value, id);
    accept_group(&f, "st", f.collection, 1, 1);            /* the same key at once while it is open */
    refused(&f, MINTD_STALE, "open");
    accept_group(&f, "other", f.collection, 1, 1);         /* a ticket of an open request */
    ((struct mintd_db_item *)(uintptr_t)f.b.ch[1].rows.p)->ticket = S("st-3");
    a = commit(&f);
    assert_verdict(a, MINTD_DUPLICATE, "st-3");
    assert_int_equal(a->value, id);
    assert_null(get_item(&f, id << 24));                   /* nothing is promised, nothing is shown */
    seal_group(id, "st", 20);
    assert_int_equal(applied(&f), id);
    assert_int_equal(get_item(&f, id << 24)->state, ACCEPTED);
    seal_group(id, "xx", 20);
    refused(&f, MINTD_STALE, "hash");
    assert_verdict(stage(0, "st", 0, NULL, 0), MINTD_STALE, "hash");
    const struct fh_reply *r = stage_as((struct mintd_stage){ .slot = f.slot, .epoch = f.epoch, .request = id, .venue = f.venue }, 0,
                                        items(&f, "late", 20, 1), 1);
    assert_out(r, MINTD_PERMANENT, "store.fenced");
    assert_verdict(stage(id, "", 1, NULL, 0), MINTD_APPLIED, "");           /* what is sealed is not dropped */
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM items"), 20);
}

static void drops(void **state)
{
    (void)state;
    uint64_t id = stage(0, "dr", 0, NULL, 0)->value;
    stage(id, "", 0, items(&f, "dr", 0, 9), 9);
    for (int i = 0; i < 2; i++) assert_verdict(stage(id, "", 1, NULL, 0), MINTD_APPLIED, "");
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests") + SQL_INT(&f, "SELECT count(*) FROM items"), 0);
    seal_group(id, "dr", 9);
    refused(&f, MINTD_STALE, NULL);
    assert_true(accept(&f, "dr", 9, 9) > id);              /* a number is never used twice */
    struct mintd_db_item nameless = { .id = 0 };
    uint64_t open = stage(0, "nn", 0, NULL, 0)->value;
    assert_out(stage_as((struct mintd_stage){ .slot = f.slot, .epoch = f.epoch, .request = open }, 0, &nameless, 1), MINTD_PERMANENT, "store.refused");
    nameless = (struct mintd_db_item){ .id = 1 << 24, .ticket = S("far") };
    assert_out(stage_as((struct mintd_stage){ .slot = f.slot, .epoch = f.epoch, .request = open }, 0, &nameless, 1), MINTD_PERMANENT, "store.bad_request");
}

/* What a dead process left open is in nobody's way. */
static void dead_intake(void **state)
{
    (void)state;
    uint64_t a = stage(0, "k1", 0, NULL, 0)->value, b = stage(0, "k2", 0, NULL, 0)->value, c = stage(0, "k3", 0, NULL, 0)->value;
    stage(a, "", 0, items(&f, "k1", 0, 3), 3);
    stage(b, "", 0, items(&f, "k2", 0, 3), 3);
    stage(c, "", 0, items(&f, "k3", 0, 3), 3);
    uint64_t old = f.epoch;
    f.epoch++;
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests"), 3);
    sqlite3_exec(raw(&f), "UPDATE leases SET epoch = epoch + 1", NULL, NULL, NULL);       /* a new epoch, its reaping still to come */
    accept_group(&f, "k1", f.collection, 3, 3);            /* its key */
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    accept_group(&f, "new", f.collection, 1, 1);           /* its ticket */
    ((struct mintd_db_item *)(uintptr_t)f.b.ch[1].rows.p)->ticket = S("k2-1");
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    assert_verdict(stage(0, "k3", 0, NULL, 0), MINTD_APPLIED, "");
    struct mintd_stage st = { .slot = f.slot, .epoch = old, .request = b, .venue = f.venue };
    assert_out(stage_as(st, 0, items(&f, "k2", 3, 1), 1), MINTD_PERMANENT, "store.fenced");
    st.epoch = f.epoch;
    assert_out(stage_as(st, 0, items(&f, "k2", 3, 1), 1), MINTD_PERMANENT, "store.fenced");
}

static void reaped_in_parts(void **state)
{
    (void)state;
    uint64_t id = stage(0, "big", 0, NULL, 0)->value;
    for (uint32_t k = 0; k < 3; k++) {
        assert_verdict(stage(id, "", 0, items(&f, "big", k * 10000, 10000), 10000), MINTD_APPLIED, "");
        clear(&f);
    }
    lease(&f, "one", 30000, 0);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM items"), 10000);
    lease(&f, "one", 30000, 0);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM items") + SQL_INT(&f, "SELECT count(*) FROM requests"), 0);
}

/* ---- cancel_at */
static void cancels(void **state)
{
    (void)state;
    uint64_t id = accept(&f, "c", 2, 2), open = stage(0, "o", 0, NULL, 0)->value;
    HEAD(&f, REQUEST, request, .id = id, .cancel_at = WALL_MS + 9);
    assert_int_equal(applied(&f), id);
    HEAD(&f, REQUEST, request, .id = id, .cancel_at = WALL_MS + 99);
    refused(&f, MINTD_REPEATED, "");
    assert_int_equal(SQL_INT(&f, "SELECT cancel_at FROM requests WHERE id = %lld", id), WALL_MS + 9);
    HEAD(&f, REQUEST, request, .id = open, .cancel_at = WALL_MS);
    refused(&f, MINTD_STALE, "open");
    HEAD(&f, REQUEST, request, .id = 4711, .cancel_at = WALL_MS);
    refused(&f, MINTD_STALE, NULL);
    HEAD(&f, REQUEST, request, .id = id);
    refused(&f, MINTD_REFUSED, "store.bad_request");
}

/* ---- pins */
static void pins(void **state)
{
    (void)state;
    HEAD(&f, META, meta, .key = S("network/x"), .val = S("genesis"));
    applied(&f);
    HEAD(&f, META, meta, .key = S("network/x"), .val = S("other"));
    refused(&f, MINTD_STALE, "genesis");
    HEAD(&f, META, meta, .key = S("network/x"), .val = S("other"), .expect = S("wrong"));
    refused(&f, MINTD_STALE, "genesis");
    HEAD(&f, META, meta, .key = S("network/x"), .val = S("other"), .expect = S("genesis"));
    applied(&f);
    HEAD(&f, META, meta, .key = S("network/y"), .val = S("v"), .expect = S("something"));
    refused(&f, MINTD_STALE, "");
    HEAD(&f, META, meta, .key = S("identity"), .val = S("me"), .expect = S("x"));
    refused(&f, MINTD_STALE, NULL);
    char id[33] = "", want[1000];
    memset(want, 'w', sizeof want);
    HEAD(&f, META, meta, .key = S("long"), .val = { want, sizeof want });
    applied(&f);
    HEAD(&f, META, meta, .key = S("long"), .val = S("short"));
    assert_int_equal(commit(&f)->detail.n, sizeof want);
    HEAD(&f, META, meta, .key = S("identity"), .val = S("?"));
    const struct mintd_applied *a = commit(&f);
    snprintf(id, sizeof id, STR_FMT, STR_ARG(a->detail));
    HEAD(&f, META, meta, .key = S("identity"), .val = S("forged"), .expect = { id, 32 });
    refused(&f, MINTD_REFUSED, "store.meta_replace");
}

/* ---- leases and the fence */
static void leases(void **state)
{
    (void)state;
    struct mintd_lease_of one = { f.slot, f.epoch }, two = lease(&f, "two", 30000, 0), l;
    assert_int_not_equal(one.slot, two.slot);
    assert_int_equal(lease(&f, "three", 30000, 1).slot, 0);                  /* takeover: nothing has expired */
    l = lease(&f, "one", 30000, 0);                        /* its own slot without waiting, under a new epoch */
    assert_int_equal(l.slot, one.slot);
    assert_int_equal(l.epoch, one.epoch + 1);
    f.epoch = l.epoch;
    HEAD(&f, LEASE, lease, .slot = f.slot, .holder = S("one"), .ttl_ms = 50000);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    int64_t left = lease_row(&f, f.slot)->expires_at - loop_wall_us(fh_loop(f.fh)) / 1000;
    assert_in_range(left, 49000, 50000);
    HEAD(&f, LEASE, lease, .slot = f.slot, .holder = S("thief"), .ttl_ms = 50000);
    refused(&f, MINTD_STALE, NULL);
    HEAD(&f, LEASE, lease, .slot = two.slot);              /* another's, even when its epoch has the same number */
    refused(&f, MINTD_REFUSED, "store.bad_request");
    assert_true(lease_row(&f, two.slot)->expires_at > WALL_MS + 1000);
    HEAD(&f, LEASE, lease, .slot = f.slot, .holder = S("one"));              /* given up */
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    l = lease(&f, "three", 30000, 1);
    assert_int_equal(l.slot, f.slot);
    advance(&f, 40000);
    l = lease(&f, "four", UINT64_MAX, 0);                  /* start: an expired one before a new number */
    assert_int_equal(l.slot, one.slot);
    assert_true(lease_row(&f, l.slot)->expires_at == INT64_MAX);
}

static void assert_fenced_as(uint32_t slot, uint64_t epoch, uint64_t chunk)
{
    struct mintd_db_lane lane = { .lane = (int64_t)f.collection, .max = 1 };
    struct mintd_claim arg = { .size = sizeof arg, .slot = slot, .epoch = epoch };
    for (uint32_t kind = 0; kind < 5; kind++) {
        if (kind == 0) HEAD(&f, VENUE, venue, .name = S("never"));
        if (kind == 1) HEAD(&f, COLLECTION, collection, .id = f.collection, .from = MINTD_COL_READY, .state = MINTD_COL_PARKED);
        if (kind == 2) accept_group(&f, "never", f.collection, 1, 1);
        if (kind == 3) sign(&f, chunk, 1);
        if (kind == 4) HEAD(&f, META, meta, .key = S("never"), .val = S("v"));
        assert_out(commit_as(&f, slot, epoch), MINTD_PERMANENT, "store.fenced");
        clear(&f);
    }
    assert_out(call(&f, CLAIM, &arg, 0, (struct mintd_vec){ &lane, 1, sizeof lane }), MINTD_PERMANENT, "store.fenced");
}

static void fenced(void **state)
{
    (void)state;
    uint64_t chunk = chunk_at(&f, "x", 2, UPLOADED);
    accept(&f, "y", 2, 2);
    uint64_t request = stage(0, "z", 0, NULL, 0)->value;
    struct mintd_lease_of l = lease(&f, "one", 30000, 0);  /* elsewhere, under the same name */
    assert_fenced_as(f.slot, f.epoch, chunk);              /* the zombie */
    assert_fenced_as(f.slot, f.epoch + 5, chunk);
    assert_fenced_as(f.slot, 0, chunk);
    assert_fenced_as(f.slot + 7, f.epoch, chunk);
    assert_out(stage_as((struct mintd_stage){ .slot = f.slot, .epoch = f.epoch, .request = request }, 0, items(&f, "z", 0, 1), 1),
               MINTD_PERMANENT, "store.fenced");
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM venues WHERE name = 'never'") + SQL_INT(&f, "SELECT count(*) FROM meta WHERE key = 'never'")
                     + SQL_INT(&f, "SELECT count(*) FROM attempts") + SQL_INT(&f, "SELECT count(*) FROM collections WHERE state = 3"), 0);
    HEAD(&f, VENUE, venue, .name = S("never"));            /* no slot: leases and pins only */
    assert_out(commit_as(&f, 0, 0), MINTD_PERMANENT, "store.bad_request");
    clear(&f);
    f.epoch = l.epoch;
    sign(&f, chunk, 1);                                    /* who has the slot has its chunks */
    applied(&f);
}

/* ---- groups beside each other */
static void one_bad_among_good(void **state)
{
    (void)state;
    accept(&f, "taken", 1, 1);
    HEAD(&f, VENUE, venue, .name = S("v1"));
    accept_group(&f, "g1", f.collection, 1, 1);
    HEAD(&f, VENUE, venue, .name = S(""));                                     /* 3: REFUSED */
    accept_group(&f, "g2", f.collection, 1, 1);                                /* 4: DUPLICATE */
    ((struct mintd_db_item *)(uintptr_t)f.b.ch[f.b.n - 2].rows.p)->ticket = S("taken-0");
    HEAD(&f, EVENT, event, .kind = S("orphan"));                               /* 5: no head */
    group(&f);
    rows(&f, MINTD_DB_VENUE, (struct mintd_db_venue[]){ { .name = S("p") }, { .name = S("q") } }, 2, sizeof(struct mintd_db_venue));
    HEAD(&f, CHUNK, chunk, .id = 12345, .from = ACCEPTED, .state = CANCELLED); /* 7: STALE */
    accept_group(&f, "g3", f.collection, 1, 1);
    static const uint32_t want[] = { MINTD_APPLIED, MINTD_APPLIED, MINTD_REFUSED, MINTD_DUPLICATE, MINTD_REFUSED, MINTD_REFUSED, MINTD_STALE, MINTD_APPLIED };
    const struct mintd_applied *a = commit(&f);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) assert_verdict(&a[i], want[i], NULL);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests WHERE idem_key IN ('g1', 'g3')"), 2);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests WHERE idem_key = 'g2'"), 0);
    assert_int_equal(SQL_INT(&f, "SELECT max(seq) = count(*) AND count(*) = 3 FROM events"), 1);   /* the refused left no gap */
}

/* The chain of a slot: each hash covers the one before, the lease carries the last. */
static void event_chain(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        char key[8];
        snprintf(key, sizeof key, "e%d", i);
        accept(&f, key, 1, 1);
    }
    assert_int_equal(SQL_INT(&f, "SELECT count(DISTINCT hash) FROM events"), 5);
    assert_int_equal(SQL_INT(&f, "SELECT l.head = e.hash AND l.event_seq = 5 FROM leases l JOIN events e ON e.slot = l.slot AND e.seq = 5"), 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
    const struct CMUnitTest tests[] = { T(venues), T(collections), T(accepts), T(long_ticket), T(seals_what_is_there), T(runs_of_two_lanes),
        T(stages), T(drops), T(dead_intake), T(reaped_in_parts), T(cancels), T(pins), T(leases), T(fenced),
        T(one_bad_among_good), T(event_chain) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
