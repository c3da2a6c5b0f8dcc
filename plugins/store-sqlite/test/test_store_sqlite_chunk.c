/* Chunks: claims, every legal and illegal step, attempts and proofs, splits, retries, deliveries, creations, spending. */
#include "fix.h"

static struct fix f;

static int begin(void **state) { (void)state; fix_world(&f, "chunk.db"); return 0; }
static int end(void **state)
{
    (void)state;
    assert_int_equal(SQL_INT(&f, "SELECT coalesce(sum(transit), 0) FROM counters"), 0);
    fix_free(&f);
    return 0;
}
static int gone(void **state) { (void)state; tmp_clean(); return 0; }

static uint32_t state_of(uint64_t chunk) { return (uint32_t)SQL_INT(&f, "SELECT state FROM chunks WHERE id = %lld", chunk); }

/* ---- claims */
static void claims(void **state)
{
    (void)state;
    uint64_t second = collection(&f, f.venue, "second", MINTD_COL_READY), first = f.collection;
    uint64_t a = accept(&f, "a", 8, 2);
    advance(&f, 10);
    f.collection = second;
    accept(&f, "b", 4, 2);
    f.collection = first;
    struct mintd_claim arg = { .size = sizeof arg, .slot = f.slot, .epoch = f.epoch };
    struct mintd_db_lane lanes[] = { { .lane = (int64_t)first, .max = 3 }, { .lane = (int64_t)second, .max = 1 }, { .lane = 99, .max = 5 } };
    const struct fh_reply *r = call(&f, CLAIM, &arg, 1, (struct mintd_vec){ lanes, 3, sizeof lanes[0] });
    assert_ok(r);
    assert_int_equal(r->res.rows.n, 4);
    const struct mintd_db_chunk *c = r->res.rows.p;
    for (uint32_t i = 0; i < 3; i++) {
        const struct mintd_db_item *it = c[i].items.p;
        assert_int_equal(c[i].id, (a << 24) + 2 * i);
        assert_int_equal(c[i].collection, first);
        assert_int_equal(c[i].items.n, 2);
        assert_int_equal(it[1].pos, 1);
        assert_int_equal(it[1].id, c[i].id + 1);
        assert_str(it[0].uri, "ipfs://x");
    }
    assert_int_equal(c[3].collection, second);
    uint32_t n;
    claim(&f, (int64_t)first, 10, 0, &n);
    assert_int_equal(n, 1);                                /* nobody's chunk twice */
    claim(&f, (int64_t)first, 10, 0, &n);
    assert_int_equal(n, 0);
    claim(&f, (int64_t)second, 0, 0, &n);
    assert_int_equal(n, 0);
    assert_int_equal(ask(&f, (struct mintd_query){ .kind = MINTD_DB_CHUNK, .slot = f.slot }, 0)->res.rows.n, 5);
}

static void claims_with_attempt(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 2, SIGNED);
    struct mintd_db_chunk *c = step(&f, id, SIGNED, UPLOADED, 1);
    c->flags = 1;
    c->wake_in_ms = 5000;
    proof(&f, 1, MINTD_PROOF_EXPIRED);
    applied(&f);
    uint32_t n;
    claim(&f, (int64_t)f.collection, 9, 1, &n);
    assert_int_equal(n, 0);
    advance(&f, 5001);
    const struct mintd_db_chunk *got = claim(&f, (int64_t)f.collection, 9, 1, &n);
    assert_int_equal(n, 1);
    assert_int_equal(got->state, UPLOADED);
    assert_int_equal(got->attempts.n, 1);
    const struct mintd_db_attempt *a = got->attempts.p;
    assert_int_equal(a->no, 1);
    assert_int_equal(a->bound, 100);
    assert_int_equal(a->fee_cap, 50);
    assert_int_equal(a->slot, f.slot);
    assert_int_equal(a->epoch, f.epoch);
    assert_str(a->bytes, "signed");
}

/* ---- every pair of states: what is legal and with what it must come */
enum { NO, YES, WITH_PROOF, WITH_ATTEMPT };
static const uint32_t states[] = { ACCEPTED, UPLOADING, UPLOADED, SIGNED, LANDED, QUARANTINE, DONE, FAILED, CANCELLED, MOVED };
/* to:                               1   2    3    4             5    6    10   11          12          13 */
static const uint8_t legal[10][10] = {
    { NO, YES, NO, NO, NO, YES, NO, YES, YES, YES },                                             /* ACCEPTED */
    { YES, NO, YES, NO, NO, YES, NO, YES, YES, YES },                                            /* UPLOADING */
    { NO, NO, NO, WITH_ATTEMPT, NO, YES, NO, YES, YES, YES },                                    /* UPLOADED */
    { NO, NO, WITH_PROOF, NO, YES, YES, YES, WITH_PROOF, NO, WITH_PROOF },                       /* SIGNED */
    { NO, NO, WITH_PROOF, YES, NO, YES, YES, WITH_PROOF, NO, WITH_PROOF },                       /* LANDED */
    { NO, NO, WITH_PROOF, YES, YES, NO, YES, WITH_PROOF, WITH_PROOF, WITH_PROOF },               /* QUARANTINE of a signed one */
    { 0 }, { 0 }, { 0 }, { 0 },
};

static uint64_t chunk_in(uint32_t st, const char *key)
{
    if (st == ACCEPTED) return accept(&f, key, 2, 2) << 24;
    uint64_t id = chunk_at(&f, key, 2, st == QUARANTINE || st == FAILED ? SIGNED : st == CANCELLED || st == MOVED ? UPLOADING : st);
    if (st == QUARANTINE) step(&f, id, SIGNED, QUARANTINE, 1);
    if (st == FAILED) { step(&f, id, SIGNED, FAILED, 1); proof(&f, 1, MINTD_PROOF_ERRED); }
    if (st == CANCELLED) step(&f, id, UPLOADING, CANCELLED, 0);
    if (st == MOVED) { step(&f, id, UPLOADING, MOVED, 0); split(&f, id, id, MINTD_MINT, (uint32_t[]){ 1, 1 }, 2); }
    if (st >= QUARANTINE && st != DONE) assert_verdict(commit(&f), MINTD_APPLIED, "");
    assert_int_equal(state_of(id), st);
    return id;
}

static void move(uint64_t id, uint32_t from, uint32_t to, uint32_t no, bool with)
{
    if (to == SIGNED && from < SIGNED) {
        sign(&f, id, no + 1);
        f.b.n -= !with;
        struct mintd_db_chunk *c = (void *)(uintptr_t)f.b.ch[0].rows.p;
        c->from = from;
        if (!with) c->attempt_no = no;
        return;
    }
    struct mintd_db_chunk *c = step(&f, id, from, to, no);
    if (to == DONE) c->first_serial = id >> 20;
    if (with && no) proof(&f, no, MINTD_PROOF_EXPIRED);
    if (to == MOVED) split(&f, id, id, MINTD_MINT, (uint32_t[]){ 1, 1 }, 2);
}

static void one_pair(uint32_t i, uint32_t j)
{
    char key[16];
    snprintf(key, sizeof key, "p%u-%u", i, j);
    uint32_t from = states[i], to = states[j], rule = legal[i][j];
    uint64_t id = chunk_in(from, key);
    uint32_t no = (uint32_t)SQL_INT(&f, "SELECT attempt_no FROM chunks WHERE id = %lld", id);
    if (from == to) return;
    if (rule == WITH_PROOF || rule == WITH_ATTEMPT) {
        move(id, from, to, no, false);
        const struct mintd_applied *a = commit(&f);
        if (a->verdict != MINTD_REFUSED) fail_msg("%u -> %u went without its proof or attempt: %s", from, to, verdict_name(a->verdict));
        assert_int_equal(state_of(id), from);
    }
    move(id, from, to, no, rule >= WITH_PROOF);
    const struct mintd_applied *a = again(&f);
    uint32_t want = rule ? MINTD_APPLIED : MINTD_REFUSED;
    if (a->verdict != want) fail_msg("%u -> %u: %s " STR_FMT, from, to, verdict_name(a->verdict), STR_ARG(a->detail));
    if (rule) assert_verdict(again(&f), MINTD_REPEATED, "");
    clear(&f);
    assert_int_equal(state_of(id), rule ? to : from);
}

static void every_pair(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 10; i++) for (uint32_t j = 0; j < 10; j++) one_pair(i, j);
}

static void compares(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 2, UPLOADED);
    step(&f, id, UPLOADING, FAILED, 0);
    refused(&f, MINTD_STALE, "state 3, attempt 0, slot 1");
    step(&f, id, UPLOADED, FAILED, 1);
    refused(&f, MINTD_STALE, NULL);
    sign(&f, id, 2);
    refused(&f, MINTD_STALE, NULL);
    struct mintd_lease_of two = lease(&f, "two", 30000, 0), one = { f.slot, f.epoch };
    f.slot = two.slot;
    f.epoch = two.epoch;
    sign(&f, id, 1);                                       /* another's chunk */
    refused(&f, MINTD_STALE, NULL);
    step(&f, id, UPLOADED, CANCELLED, 0);
    refused(&f, MINTD_STALE, NULL);
    f.slot = one.slot;
    f.epoch = one.epoch;
    sign(&f, id, 1)->bytes = S("");
    refused(&f, MINTD_REFUSED, "store.attempts_bytes");
    sign(&f, id, 1);
    applied(&f);
    sign(&f, id, 1)->tx_id = S("other");                   /* the same number, another transaction */
    refused(&f, MINTD_STALE, NULL);
    uint64_t b = chunk_at(&f, "b", 2, UPLOADED);
    sign(&f, b, 1)->tx_id = arena_printf(f.mem, "tx-%llu-1", (unsigned long long)id);
    refused(&f, MINTD_REFUSED, "store.attempts_tx_id");
}

/* ---- proofs */
static void proofs(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 2, SIGNED);
    step(&f, id, SIGNED, UPLOADED, 1);
    proof(&f, 1, MINTD_PROOF_EXPIRED)->watermark = 100;    /* the bound itself is not beyond it */
    refused(&f, MINTD_REFUSED, "store.proofs_bound");
    step(&f, id, SIGNED, UPLOADED, 1);
    proof(&f, 1, MINTD_PROOF_EXPIRED)->absent_at = 100;    /* looked before the watermark */
    refused(&f, MINTD_REFUSED, "store.proofs_expired");
    step(&f, id, SIGNED, UPLOADED, 1);
    proof(&f, 1, MINTD_PROOF_OPERATORS)->by2 = S("ann");
    refused(&f, MINTD_REFUSED, "store.proofs_operators");
    step(&f, id, SIGNED, UPLOADED, 1);
    proof(&f, 1, MINTD_PROOF_ERRED)->error = S("");
    refused(&f, MINTD_REFUSED, "store.proofs_erred");
    step(&f, id, SIGNED, UPLOADED, 1);
    proof(&f, 2, MINTD_PROOF_ERRED);
    refused(&f, MINTD_REFUSED, "store.proofs_newest");
    for (uint32_t no = 1; no <= 4; no++) {
        step(&f, id, SIGNED, UPLOADED, no);
        proof(&f, no, no);
        applied(&f);
        sign(&f, id, no + 1);
        applied(&f);
    }
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_PROOF, .ids = { &id, 1, 8 } }, 0);
    assert_int_equal(r->res.rows.n, 4);
    const struct mintd_db_proof *p = r->res.rows.p;
    assert_int_equal(p[0].watermark, 101);
    assert_str(p[3].by2, "bob");
    step(&f, id, SIGNED, DONE, 4);                         /* with a dead attempt */
    refused(&f, MINTD_STALE, NULL);
}

static void dead_is_not_done(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 2, SIGNED);
    step(&f, id, SIGNED, QUARANTINE, 1);
    proof(&f, 1, MINTD_PROOF_EXPIRED);
    applied(&f);
    step(&f, id, QUARANTINE, DONE, 1);
    refused(&f, MINTD_REFUSED, "store.chunks_alive");
    step(&f, id, QUARANTINE, SIGNED, 1);
    refused(&f, MINTD_REFUSED, "store.chunks_alive");
    sqlite3_exec(raw(&f), "INSERT INTO verdicts SELECT id, 1, 1, 'ann', 'bob', '{}', 1 FROM chunks", NULL, NULL, NULL);
    step(&f, id, QUARANTINE, DONE, 1);                     /* two people looked */
    applied(&f);
}

static void quarantine(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 2, SIGNED);
    step(&f, id, SIGNED, QUARANTINE, 1)->flags = 0;
    refused(&f, MINTD_REFUSED, "store.chunks_free");
    step(&f, id, SIGNED, QUARANTINE, 1)->slug = S("");
    refused(&f, MINTD_REFUSED, "store.chunks_reason");
    step(&f, id, SIGNED, QUARANTINE, 1);
    applied(&f);
    const struct mintd_db_chunk *c = get_chunk(&f, id);
    assert_str(c->slug, "test.reason");
    assert_str(c->msg, "because");
    assert_int_equal(c->slot, 0);
    uint32_t n;
    claim(&f, (int64_t)f.collection, 9, 0, &n);
    assert_int_equal(n, 0);
    step(&f, id, QUARANTINE, LANDED, 1)->slot = f.slot;
    applied(&f);
    c = get_chunk(&f, id);
    assert_int_equal(c->slot, f.slot);
    assert_int_equal(c->slug.n, 0);
    step(&f, id, LANDED, DONE, 1);
    assert_int_equal(applied(&f), 0);
}

static void results(void **state)
{
    (void)state;
    uint64_t a = chunk_at(&f, "a", 3, LANDED), b = chunk_at(&f, "b", 3, LANDED);
    step(&f, a, LANDED, DONE, 1)->first_serial = 0;
    refused(&f, MINTD_REFUSED, "store.chunks_final");
    step(&f, a, LANDED, DONE, 1)->first_serial = 100;
    applied(&f);
    for (uint64_t serial = 98; serial <= 102; serial++) {  /* its three serials would touch another's */
        step(&f, b, LANDED, DONE, 1)->first_serial = serial;
        refused(&f, MINTD_REFUSED, "store.chunks_serial");
    }
    struct mintd_db_chunk *c = step(&f, b, LANDED, DONE, 1);
    c->first_serial = 0;
    c->assets = S("X1 X2 X3");
    applied(&f);
    assert_str(get_item(&f, a + 2)->asset, "102");
    assert_str(get_item(&f, b)->asset, "X1");
    assert_str(get_item(&f, b + 2)->asset, "X3");
}

static void two_steps_of_one_commit(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 4, SIGNED);
    step(&f, id, SIGNED, LANDED, 1);
    step(&f, id, LANDED, DONE, 1);
    const struct mintd_applied *a = again(&f);
    assert_verdict(&a[0], MINTD_APPLIED, "");
    assert_verdict(&a[1], MINTD_APPLIED, "");
    a = commit(&f);
    assert_verdict(&a[0], MINTD_STALE, NULL);              /* past it: the end tells */
    assert_verdict(&a[1], MINTD_REPEATED, "");
}

/* ---- splits */
static void splits(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 5, UPLOADED);
    step(&f, id, UPLOADED, MOVED, 0);
    split(&f, id, id, MINTD_MINT, (uint32_t[]){ 2, 2 }, 2);                  /* one item forgotten */
    refused(&f, MINTD_REFUSED, "store.transit");
    step(&f, id, UPLOADED, MOVED, 0);
    refused(&f, MINTD_REFUSED, "store.transit");
    step(&f, id, UPLOADED, MOVED, 0);
    split(&f, id, id + 1, MINTD_MINT, (uint32_t[]){ 5 }, 1);                 /* an item of nobody */
    refused(&f, MINTD_REFUSED, "store.item_moves_member");
    step(&f, id, UPLOADED, MOVED, 0);
    split(&f, id, id, MINTD_MINT, (uint32_t[]){ 3, 2 }, 2);
    assert_int_equal(applied(&f), 5);
    const struct mintd_db_chunk *c = get_chunk(&f, newest_chunk(&f));
    assert_int_equal(c->origin, 1);
    assert_int_equal(c->parent, id);
    assert_int_equal(c->n, 2);
    assert_int_equal(c->items.n, 2);
    assert_int_equal(((const struct mintd_db_item *)c->items.p)[0].id, id + 3);
    assert_int_equal(get_chunk(&f, id)->items.n, 0);       /* all have left */
    assert_int_equal(get_item(&f, id + 4)->chunk, newest_chunk(&f));
    /* with a proof, out of a signed one, and twice in a row */
    uint64_t b = chunk_at(&f, "b", 3, SIGNED);
    step(&f, b, SIGNED, MOVED, 1);
    proof(&f, 1, MINTD_PROOF_ERRED);
    split(&f, b, b, MINTD_MINT, (uint32_t[]){ 2, 1 }, 2);
    applied(&f);
    uint32_t n;
    claim(&f, (int64_t)f.collection, 99, 0, &n);           /* those of the first were taken along with b */
    assert_int_equal(n, 2);
    uint64_t part = newest_chunk(&f) - 1;
    step(&f, part, UPLOADING, MOVED, 0);
    split(&f, part, b, MINTD_MINT, (uint32_t[]){ 1, 1 }, 2);
    applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT max(gen) FROM item_moves WHERE item = %lld", b), 1);
    assert_int_equal(get_item(&f, b + 1)->chunk, newest_chunk(&f));
    step(&f, b, MOVED, MOVED, 1);                          /* an item that has gone on from there */
    split(&f, b, b, MINTD_MINT, (uint32_t[]){ 1 }, 1);
    assert_true(commit(&f)->verdict != MINTD_APPLIED);
}

static void malformed_groups(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "a", 2, UPLOADED);
    HEAD(&f, CHUNK, chunk, .from = 1, .state = 2);
    refused(&f, MINTD_REFUSED, "store.bad_request");
    step(&f, id, UPLOADED, FAILED, 0);
    ROW(&f, CHUNK, chunk, .id = id, .state = ACCEPTED);
    refused(&f, MINTD_REFUSED, "store.bad_request");
    step(&f, id, UPLOADED, MOVED, 0);
    ROW(&f, MEMBER, member, .item = id, .to_chunk = 1);
    refused(&f, MINTD_REFUSED, "store.bad_request");
    step(&f, id, UPLOADED, 77, 0);
    refused(&f, MINTD_REFUSED, NULL);
    step(&f, UINT64_MAX, UPLOADED, FAILED, 0);
    refused(&f, MINTD_STALE, NULL);
    assert_int_equal(state_of(id), UPLOADED);
}

/* ---- retry */
static void retry_group(uint64_t from, uint32_t st, uint32_t no, uint64_t item, uint32_t n)
{
    step(&f, from, st, st, no);
    split(&f, from, item, MINTD_MINT, &n, 1);
}

static void retries(void **state)
{
    (void)state;
    for (uint32_t st = FAILED; st <= CANCELLED; st++) {
        uint64_t id = chunk_in(st, st == FAILED ? "f" : "c");
        uint32_t no = st == FAILED;
        retry_group(id, st, no, id, 2);
        applied(&f);
        uint64_t again_id = newest_chunk(&f);
        assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM item_moves WHERE from_chunk = %lld", id), 2);
        assert_int_equal(get_chunk(&f, id)->items.n, 0);
        assert_int_equal(get_chunk(&f, id)->state, st);    /* what was, stays */
        assert_int_equal(get_chunk(&f, again_id)->items.n, 2);
        assert_int_equal(get_item(&f, id)->chunk, again_id);
        retry_group(id, st, no, id + 1, 1);                /* one that went with the first retry */
        assert_true(commit(&f)->verdict != MINTD_APPLIED);
        assert_int_equal(newest_chunk(&f), again_id);
    }
    assert_int_equal(SQL_INT(&f, "SELECT sum(failed) + sum(cancelled) FROM counters WHERE scope = 0"), 0);
    assert_int_equal(SQL_INT(&f, "SELECT sum(open) FROM counters WHERE scope = 0"), 4);
}

/* Whoever asks for the retry need not be who saw it fail. */
static void retry_from_another_slot(void **state)
{
    (void)state;
    uint64_t id = chunk_in(FAILED, "f");
    struct mintd_lease_of two = lease(&f, "two", 30000, 0);
    f.slot = two.slot;
    f.epoch = two.epoch;
    retry_group(id, FAILED, 1, id, 2);
    applied(&f);
    bring(&f, one_chunk(&f, "other", 1), DONE);         /* its claim takes the new chunk too */
    step(&f, newest_chunk(&f), UPLOADING, CANCELLED, 0);
    applied(&f);
}

static void partial_retry(void **state)
{
    (void)state;
    uint64_t id = chunk_at(&f, "p", 5, UPLOADED);
    step(&f, id, UPLOADED, FAILED, 0);
    applied(&f);
    retry_group(id, FAILED, 0, id + 1, 2);
    applied(&f);
    assert_int_equal(get_chunk(&f, id)->items.n, 3);
    assert_int_equal(get_item(&f, id)->state, FAILED);
    assert_str(get_item(&f, id)->slug, "test.reason");
    assert_int_equal(get_item(&f, id + 1)->state, ACCEPTED);
    assert_int_equal(SQL_INT(&f, "SELECT sum(failed) FROM counters WHERE scope = 1"), 3);
}

/* ---- the end of a request */
static void ends_once(void **state)
{
    (void)state;
    uint64_t request = accept(&f, "e", 4, 2), a = request << 24, b = a + 2;
    uint32_t n;
    claim(&f, (int64_t)f.collection, 9, 0, &n);
    bring(&f, a, LANDED);
    step(&f, a, LANDED, DONE, 1);
    assert_int_equal(applied(&f), 2);
    step(&f, b, UPLOADING, FAILED, 0);
    assert_int_equal(applied(&f), 0);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM events WHERE kind = 'request.finished' AND subject = %lld "
                             "AND body = '{\"minted\":2,\"failed\":2,\"cancelled\":0}'", request), 1);
    int64_t at = SQL_INT(&f, "SELECT finished_at FROM requests");
    advance(&f, 100);
    retry_group(b, FAILED, 0, b, 2);
    applied(&f);
    claim(&f, (int64_t)f.collection, 9, 0, &n);
    bring(&f, newest_chunk(&f), DONE);
    assert_int_equal(SQL_INT(&f, "SELECT finished_at FROM requests"), at);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM events WHERE kind = 'request.finished'"), 1);
}

/* ---- deliveries */
static uint64_t delivered_chunk(const char *key, uint32_t n)
{
    uint64_t id = chunk_at(&f, key, n, LANDED);
    step(&f, id, LANDED, DONE, 1);
    ROW(&f, CHUNK, chunk, .kind = MINTD_TRANSFER, .origin = 2, .parent = id, .n = n, .state = UPLOADED);
    assert_int_equal(applied(&f), 0);
    return id;
}

static void deliveries(void **state)
{
    (void)state;
    uint64_t id = delivered_chunk("d", 3), t = newest_chunk(&f);
    assert_int_equal(SQL_INT(&f, "SELECT finished_at IS NULL FROM requests"), 1);          /* minted, not finished */
    const struct mintd_db_chunk *c = get_chunk(&f, t);
    assert_int_equal(c->lane, -(int64_t)f.collection);
    assert_int_equal(c->items.n, 3);
    assert_int_equal(((const struct mintd_db_item *)c->items.p)[2].id, id + 2);
    assert_int_equal(get_item(&f, id)->delivery, t);
    assert_int_equal(get_item(&f, id)->delivered, UPLOADED);
    uint32_t n;
    claim(&f, -(int64_t)f.collection, 9, 1, &n);
    assert_int_equal(n, 1);
    sign(&f, t, 1);
    applied(&f);
    step(&f, t, SIGNED, MOVED, 1);                         /* one receiver is to blame */
    proof(&f, 1, MINTD_PROOF_ERRED);
    split(&f, t, id, MINTD_TRANSFER, (uint32_t[]){ 1, 2 }, 2);
    applied(&f);
    uint64_t good = newest_chunk(&f), poor = good - 1;
    claim(&f, -(int64_t)f.collection, 9, 1, &n);
    assert_int_equal(n, 2);
    sign(&f, good, 1);
    step(&f, good, SIGNED, DONE, 1)->first_serial = 0;
    step(&f, poor, UPLOADED, FAILED, 0);
    const struct mintd_applied *a = commit(&f);
    for (int i = 0; i < 3; i++) assert_verdict(&a[i], MINTD_APPLIED, "");
    assert_int_equal(get_item(&f, id)->delivery, poor);
    assert_int_equal(get_item(&f, id)->delivered, FAILED);
    assert_int_equal(get_item(&f, id)->state, DONE);
    assert_int_equal(get_item(&f, id + 2)->delivery, good);
    assert_int_equal(get_item(&f, id + 2)->delivered, DONE);
    assert_int_equal(SQL_INT(&f, "SELECT finished_at IS NOT NULL FROM requests"), 1);
    step(&f, poor, FAILED, FAILED, 0);                     /* the delivery alone is tried again */
    split(&f, poor, id, MINTD_TRANSFER, (uint32_t[]){ 1 }, 1);
    applied(&f);
    assert_int_equal(get_item(&f, id)->delivered, UPLOADED);
    uint64_t other = chunk_at(&f, "o", 2, LANDED);
    step(&f, other, LANDED, DONE, 1);
    ROW(&f, CHUNK, chunk, .kind = MINTD_TRANSFER, .origin = 2, .parent = id, .request = id >> 24, .n = 3, .state = UPLOADED);
    refused(&f, MINTD_REFUSED, "store.chunks_follow");     /* one delivery for a mint */
}

/* ---- creations */
static void creations(void **state)
{
    (void)state;
    uint64_t col = collection(&f, f.venue, "made", 0);
    f.collection = col;
    accept(&f, "c", 2, 2);
    uint64_t first = newest_chunk(&f);
    uint32_t n;
    claim(&f, 0, 9, 1, &n);
    assert_int_equal(n, 1);
    sign(&f, first, 1);
    applied(&f);
    step(&f, first, SIGNED, FAILED, 1);
    proof(&f, 1, MINTD_PROOF_ERRED);
    ROW(&f, COLLECTION, collection, .id = col, .from = MINTD_COL_NEW, .state = MINTD_COL_PARKED, .park_reason = S("no funds"));
    assert_int_equal(applied(&f), 0);
    HEAD(&f, COLLECTION, collection, .id = col, .from = MINTD_COL_PARKED, .state = MINTD_COL_NEW);
    applied(&f);
    uint64_t second = newest_chunk(&f);
    assert_int_not_equal(second, first);
    assert_int_equal(get_chunk(&f, second)->parent, first);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM chunks WHERE kind = 1"), 2);
    struct mintd_query both = { .kind = MINTD_DB_CHUNK, .collection = col, .max = 1 };
    const struct fh_reply *page = ask(&f, both, 0);        /* the creations of a collection, in order, a page each */
    assert_int_equal(page->res.rows.n, 1);
    assert_int_equal(((const struct mintd_db_chunk *)page->res.rows.p)->id, first);
    char cursor[32];
    memcpy(cursor, page->res.next.p, page->res.next.n);
    both.cursor = (struct mintd_str){ cursor, page->res.next.n };
    page = ask(&f, both, 0);
    assert_int_equal(((const struct mintd_db_chunk *)page->res.rows.p)->id, second);
    assert_int_equal(page->res.next.n, 0);
    assert_int_equal(ask(&f, (struct mintd_query){ .kind = MINTD_DB_CHUNK, .collection = col + 1000 }, 0)->res.rows.n, 0);
    HEAD(&f, COLLECTION, collection, .id = col, .from = MINTD_COL_NEW, .state = MINTD_COL_PARKED);
    HEAD(&f, COLLECTION, collection, .id = col, .from = MINTD_COL_PARKED, .state = MINTD_COL_NEW);
    commit(&f);
    assert_int_equal(newest_chunk(&f), second);            /* it still lives: no third */
    claim(&f, 0, 9, 0, &n);
    assert_int_equal(n, 1);
    sign(&f, second, 1);
    applied(&f);
    struct mintd_db_chunk *c = step(&f, second, SIGNED, DONE, 1);
    c->assets = S("0.0.9");
    c->first_serial = 0;
    ROW(&f, COLLECTION, collection, .id = col, .from = MINTD_COL_READY, .state = MINTD_COL_READY, .chain_ref = S("0.0.9"));
    refused(&f, MINTD_STALE, "collection");
    assert_int_equal(state_of(second), SIGNED);            /* together or not at all */
    c = step(&f, second, SIGNED, DONE, 1);
    c->assets = S("0.0.9");
    c->first_serial = 0;
    ROW(&f, COLLECTION, collection, .id = col, .from = MINTD_COL_NEW, .state = MINTD_COL_READY, .chain_ref = S("0.0.9"));
    assert_int_equal(applied(&f), 0);
    assert_int_equal(SQL_INT(&f, "SELECT state = 2 AND chain_ref = '0.0.9' FROM collections WHERE id = %lld", col), 1);
}

/* ---- spending */
static void spend(int64_t reserve, int64_t spent, uint64_t cap, int64_t window)
{
    ROW(&f, SPEND, spend, .scope = S("pipeline/line"), .window_start = window, .reserve = reserve, .spend = spent, .cap = cap);
}

static void spending(void **state)
{
    (void)state;
    uint64_t a = chunk_at(&f, "a", 1, UPLOADED), b = chunk_at(&f, "b", 1, UPLOADED), c = chunk_at(&f, "c", 1, UPLOADED);
    sign(&f, a, 1);
    spend(60, 0, 100, 0);
    applied(&f);                                           /* twice sent, once reserved */
    assert_int_equal(SQL_INT(&f, "SELECT reserved FROM spend"), 60);
    sign(&f, b, 1);
    spend(41, 0, 100, 0);
    refused(&f, MINTD_REFUSED, "store.spend_cap");
    assert_int_equal(state_of(b), UPLOADED);
    sign(&f, b, 1);
    spend(40, 0, 100, 0);
    applied(&f);
    step(&f, a, SIGNED, DONE, 1);
    spend(-60, 75, 100, 0);                                /* dearer than planned, beyond the cap: it happened */
    applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT reserved = 40 AND spent = 75 FROM spend"), 1);
    sign(&f, c, 1);
    spend(1, 0, 100, 0);
    refused(&f, MINTD_REFUSED, "store.spend_cap");
    sign(&f, c, 1);
    spend(1, 0, 100, 86400000);                            /* a new window */
    applied(&f);
    step(&f, b, SIGNED, DONE, 1);
    spend(-40, 7, 100, 2 * 86400000LL);                    /* settled where nothing was reserved */
    applied(&f);
    step(&f, c, SIGNED, UPLOADED, 1);
    proof(&f, 1, MINTD_PROOF_EXPIRED);
    spend(-1, 0, 100, 86400000);
    applied(&f);
    assert_int_equal(SQL_INT(&f, "SELECT group_concat(reserved || '/' || spent) = '40/75,0/0,0/7' FROM spend"), 1);
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_SPEND }, 0);
    assert_int_equal(r->res.rows.n, 3);
    sign(&f, c, 2);
    spend(INT64_MAX, 0, 0, 86400000);
    spend(INT64_MAX, 0, 0, 86400000);
    refused(&f, MINTD_REFUSED, "store.out_of_range");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
    const struct CMUnitTest tests[] = { T(claims), T(claims_with_attempt), T(every_pair), T(compares), T(proofs), T(dead_is_not_done),
        T(quarantine), T(results), T(two_steps_of_one_commit), T(splits), T(malformed_groups), T(retries), T(retry_from_another_slot),
        T(partial_retry), T(ends_once), T(deliveries), T(creations), T(spending) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
