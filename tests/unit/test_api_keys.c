/* The copy of the stored keys against a store that answers late, in pages, with failures and with rubbish; on the fake clock. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "api/auth.h"
#include "api/keys.h"
#include "loop_fake.h"

enum { WALL_MS = 1700000000 };
#define NOW ((int64_t)WALL_MS * 1000)

/* ---- the store, as far as keys.c sees it */

static struct loop *l;
static struct keys *ks;
static struct {
    struct mintd_db_key rows[KEYS_MAX + 8]; uint32_t n;
    struct mintd_db_venue venues[3]; uint32_t n_venues, page;
    uint32_t cls;                              /* how it answers */
    bool silent;                               /* it does not answer at all: the call waits in `late` */
    unsigned asked, written;
    struct mintd_db_key last;
    struct late *late;
} store;
struct late { const struct mintd_query *q; struct arena *mem; plug_fn *fn; void *arg; };

struct plug_inst *pipe_store(struct pipe *p) { return (struct plug_inst *)p; }

int pipe_write(struct pipe *p, const struct pipe_row *w, struct arena *mem, pipe_written_fn *fn, void *arg)
{
    (void)p;
    assert_int_equal(w->kind, MINTD_DB_KEY);
    assert_null(w->event);
    store.last = *(const struct mintd_db_key *)w->row;
    store.written++;
    arena_free(mem);
    fn(arg, NULL);
    return 0;
}

static bool wanted(const struct mintd_query *q, uint64_t id)
{
    bool found = !q->ids.n;
    for (uint32_t i = 0; i < q->ids.n; i++) found = found || ((const uint64_t *)q->ids.p)[i] == id;
    return found;
}

static void answer(void *arg)
{
    struct late *a = arg;
    static char next[16];
    struct mintd_res res = { .size = sizeof res };
    struct mintd_outcome out = { .size = sizeof out, .cls = store.cls, .slug = S("store.test"), .msg = S("as asked") };
    struct mintd_db_venue venues[3];
    uint64_t from = 0;
    uint32_t n = 0;
    str_u64(a->q->cursor, &from);
    for (uint32_t i = 0; i < store.n_venues; i++)
        if (wanted(a->q, store.venues[i].id)) venues[n++] = store.venues[i];
    if (store.cls == MINTD_OK && a->q->kind == MINTD_DB_VENUE) res.rows = VEC(venues, n);
    if (store.cls == MINTD_OK && a->q->kind == MINTD_DB_KEY) {
        n = store.n - (uint32_t)from < store.page ? store.n - (uint32_t)from : store.page;
        res.rows = VEC(&store.rows[from], n);
        snprintf(next, sizeof next, "%u", (uint32_t)from + n);
        if (from + n < store.n) res.next = str_of(next);
    }
    a->fn(a->arg, &(struct plug_reply){ .out = &out, .res = &res });
    arena_free(a->mem);
    free(a);
}

void plug_call_rows(struct plug_inst *inst, uint32_t op, uint32_t flags, const void *arg, struct mintd_vec rows, struct arena *mem, plug_fn *fn,
                    void *fn_arg)
{
    struct late *a = malloc(sizeof *a);
    (void)inst;
    (void)rows;
    assert_non_null(a);
    assert_int_equal(op, STORE_QUERY);
    assert_int_equal(flags, 0);
    *a = (struct late){ arg, mem, fn, fn_arg };
    store.asked++;
    if (store.silent) store.late = a;
    else loop_post(l, answer, a);
}

/* ---- keys of the tests */

static uint8_t hashes[KEYS_MAX + 8][32];

static void add_row(uint64_t id, const char *scope)
{
    uint32_t i = store.n++;
    struct auth a = { .on = true };
    char text[32];
    snprintf(text, sizeof text, "key %llu", (unsigned long long)id);
    auth_hash(&a, str_of(text), hashes[i]);
    store.rows[i] = (struct mintd_db_key){ .id = id, .name = S("name"), .hash = { (const char *)hashes[i], 32 }, .scopes = str_of(scope) };
}

static enum keys_found find(uint32_t i, struct key **ret)
{
    *ret = NULL;
    return keys_find(ks, hashes[i], ret);
}

static enum keys_found look(uint32_t i)
{
    struct key *k;
    return find(i, &k);
}

static int setup(void **state)
{
    (void)state;
    memset(&store, 0, sizeof store);
    store.page = 1000;
    if (loop_new(&l)) return -1;
    loop_fake_wall(l, NOW * 1000);
    ks = keys_new(l, (struct pipe *)&store);
    return ks ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    keys_free(ks);
    loop_run(l);
    return loop_free(l);
}

/* ---- */

static void test_hashes_are_keyed_and_long(void **state)
{
    (void)state;
    struct auth a = { .key_secret = { 1 } }, b = { .key_secret = { 2 } };
    uint8_t one[32], same[32], other[32];
    char text[AUTH_KEY + 1], again[AUTH_KEY + 1];
    auth_make_key(l, text);
    auth_make_key(l, again);
    assert_int_equal(strlen(text), AUTH_KEY);
    assert_string_not_equal(text, again);
    assert_memory_equal(text, "mk_", 3);
    assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), AUTH_KEY);
    assert_true(auth_may_be_stored(str_of(text)));
    assert_false(auth_may_be_stored((struct mintd_str){ text, AUTH_KEY - 1 }));
    auth_hash(&a, str_of(text), one);
    auth_hash(&a, str_of(text), same);
    auth_hash(&b, str_of(text), other);
    assert_memory_equal(one, same, 32);
    assert_memory_not_equal(one, other, 32);
    /* BLAKE2b-256 of "abc" under the key 00 01 .. 1f, as Python's hashlib.blake2b says it */
    struct auth known = { .on = true };
    static const uint8_t wanted_hash[] = {
        0xd6, 0x3a, 0x32, 0xd3, 0xe4, 0x47, 0x38, 0xd7, 0x90, 0x7f, 0x96, 0x43, 0x16, 0xc2, 0x41, 0xad,
        0xab, 0xa0, 0xab, 0xfe, 0xab, 0xc3, 0x23, 0x49, 0x67, 0x75, 0x78, 0xa1, 0x5a, 0x20, 0x3f, 0x7f };
    for (uint8_t i = 0; i < 32; i++) known.key_secret[i] = i;
    auth_hash(&known, S("abc"), one);
    assert_memory_equal(one, wanted_hash, 32);
}

static void test_nothing_is_known_before_the_store_answered(void **state)
{
    (void)state;
    add_row(1, "read");
    assert_int_equal(look(0), KEYS_UNREADABLE);
    assert_false(keys_settled(ks));
    store.cls = MINTD_TRANSIENT;
    keys_open(ks);
    loop_fake_advance(l, 5000);
    assert_true(store.asked > 10);
    assert_int_equal(look(0), KEYS_UNREADABLE);
    assert_false(keys_settled(ks));
    store.cls = MINTD_OK;
    loop_fake_advance(l, 100);
    assert_true(keys_settled(ks));
    assert_int_equal(look(0), KEYS_FOUND);
}

static void test_a_store_without_keys_settles_it_too(void **state)
{
    (void)state;
    store.cls = MINTD_PERMANENT;
    keys_open(ks);
    loop_fake_advance(l, 1);
    assert_true(keys_settled(ks));
    assert_int_equal(look(0), KEYS_UNREADABLE);
    unsigned asked = store.asked;
    loop_fake_advance(l, 10000);
    assert_in_range(store.asked, asked + 5, asked + 10);   /* once a second, not all the time */
}

static void test_an_outage_ends_what_was_read(void **state)
{
    (void)state;
    add_row(1, "read");
    keys_open(ks);
    loop_fake_advance(l, 1);
    store.cls = MINTD_TRANSIENT;
    loop_fake_advance(l, KEYS_STALE_MS - 10);
    assert_int_equal(look(0), KEYS_FOUND);
    loop_fake_advance(l, 20);
    assert_int_equal(look(0), KEYS_UNREADABLE);
    store.cls = MINTD_OK;
    loop_fake_advance(l, 1001);
    assert_int_equal(look(0), KEYS_FOUND);
}

static void test_a_silent_store_ends_it_too(void **state)
{
    (void)state;
    add_row(1, "read");
    keys_open(ks);
    loop_fake_advance(l, 1);
    store.silent = true;
    loop_fake_advance(l, KEYS_STALE_MS + 10);
    assert_int_equal(look(0), KEYS_UNREADABLE);
    loop_fake_advance(l, KEYS_READ_MS);
    store.silent = false;
    answer(store.late);
    assert_int_equal(look(0), KEYS_UNREADABLE);            /* it was asked too long ago */
    loop_fake_advance(l, KEYS_READ_MS + 10);
    assert_int_equal(look(0), KEYS_FOUND);
}

static void test_another_instance_revokes(void **state)
{
    (void)state;
    add_row(1, "read");
    add_row(2, "admin");
    keys_open(ks);
    loop_fake_advance(l, 1);
    assert_int_equal(look(0), KEYS_FOUND);
    store.rows[0].revoked_at = NOW;
    add_row(3, "mint");
    loop_fake_advance(l, KEYS_READ_MS + 1);
    assert_int_equal(look(0), KEYS_NONE);
    assert_int_equal(look(1), KEYS_FOUND);
    assert_int_equal(look(2), KEYS_FOUND);
    assert_int_equal(keys_count(ks), 2);
}

static void test_what_a_row_says(void **state)
{
    (void)state;
    struct key *k;
    static const char *const scopes[] = { "read", "mint", "admin" };
    for (uint32_t i = 0; i < 3; i++) add_row(i + 1, scopes[i]);
    store.rows[1].cidr = S("10.0.0.0/8, fd00::/8");
    store.rows[2].venue = 7;
    store.venues[0] = (struct mintd_db_venue){ 7, S("venue-7") };
    store.n_venues = 1;
    keys_open(ks);
    loop_fake_advance(l, 1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(find(i, &k), KEYS_FOUND);
        assert_int_equal(k->scope, SCOPE_READ + i);
        assert_int_equal(k->id, i + 1);
        assert_int_equal(k->n_nets, i == 1 ? 2 : 0);
        assert_true(str_eq(k->venue_name, i == 2 ? S("venue-7") : S("")));
    }
    hashes[0][31] ^= 1;                                    /* begins alike: the rest counts too */
    assert_int_equal(look(0), KEYS_NONE);
}

static void test_rows_that_make_no_sense_open_nothing(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 9; i++) add_row(i, "read");
    store.rows[0].scopes = S("root");
    store.rows[1].scopes = S("");
    store.rows[2].hash.n = 31;
    store.rows[3].cidr = S("everywhere");
    store.rows[4].cidr = S("10.0.0.0/8,");
    store.rows[5].venue = 99;                              /* nobody knows its name */
    store.rows[6].expires_at = NOW - 1;
    store.rows[7].revoked_at = 1;
    keys_open(ks);
    loop_fake_advance(l, 1);
    for (uint32_t i = 0; i < 8; i++)
        if (look(i) != KEYS_NONE) fail_msg("row %u was taken", i);
    assert_int_equal(look(8), KEYS_FOUND);
}

static void test_a_key_expires_by_the_clock(void **state)
{
    (void)state;
    add_row(1, "read");
    store.rows[0].expires_at = NOW + 5000;
    keys_open(ks);
    loop_fake_advance(l, 4999);
    assert_int_equal(look(0), KEYS_FOUND);
    loop_fake_advance(l, 1);
    assert_int_equal(look(0), KEYS_NONE);
}

static void test_pages_and_many_venues(void **state)
{
    (void)state;
    struct key *k;
    store.page = 3;
    for (uint64_t i = 1; i <= 20; i++) {
        add_row(i, "read");
        store.rows[i - 1].venue = 1 + i % 3;
    }
    for (uint64_t i = 1; i <= 3; i++) store.venues[i - 1] = (struct mintd_db_venue){ i, i == 1 ? S("one") : i == 2 ? S("two") : S("three") };
    store.n_venues = 3;
    keys_open(ks);
    loop_fake_advance(l, 1);
    assert_int_equal(keys_count(ks), 20);
    assert_int_equal(store.asked, 8);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(find(i, &k), KEYS_FOUND);
        assert_true(str_eq(k->venue_name, store.venues[k->venue - 1].name));
    }
}

static void test_no_more_than_so_many(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= KEYS_MAX + 5; i++) add_row(i, "read");
    keys_open(ks);
    loop_fake_advance(l, 1);
    assert_int_equal(keys_count(ks), KEYS_MAX);
    assert_int_equal(look(0), KEYS_FOUND);
    assert_int_equal(look(KEYS_MAX - 1), KEYS_FOUND);
    assert_int_equal(look(KEYS_MAX), KEYS_NONE);
}

static void test_changes_hold_at_once_also_while_it_reads(void **state)
{
    (void)state;
    struct key *k;
    add_row(1, "read");
    keys_open(ks);
    loop_fake_advance(l, 1);
    store.silent = true;
    loop_fake_advance(l, KEYS_READ_MS);                    /* a reading is under way that knows nothing of what follows */
    assert_non_null(store.late);
    add_row(2, "mint");
    store.n = 1;                                           /* its answer was made before */
    keys_add(ks, &store.rows[1], S("venue"));
    assert_int_equal(find(1, &k), KEYS_FOUND);
    assert_true(str_eq(k->venue_name, S("venue")));
    keys_drop(ks, 1);
    assert_int_equal(look(0), KEYS_NONE);
    store.silent = false;
    unsigned asked = store.asked;
    answer(store.late);
    assert_int_equal(look(0), KEYS_NONE);
    assert_int_equal(look(1), KEYS_FOUND);
    store.n = 2;
    store.rows[0].revoked_at = NOW;
    loop_fake_advance(l, 1);
    assert_int_equal(store.asked, asked + 1);              /* read again at once */
    assert_int_equal(look(0), KEYS_NONE);
    assert_int_equal(look(1), KEYS_FOUND);
}

static void test_use_is_written_once_a_minute(void **state)
{
    (void)state;
    struct key *k;
    add_row(1, "read");
    store.rows[0].used_at = NOW - 1000;
    keys_open(ks);
    loop_fake_advance(l, 1);
    for (int i = 0; i < 180; i++) {
        assert_int_equal(find(0, &k), KEYS_FOUND);
        keys_used(ks, k);
        loop_fake_advance(l, 1000);
    }
    assert_int_equal(store.written, 3);                    /* the copy was read anew 17 times meanwhile, with the old time in it */
    assert_int_equal(store.last.id, 1);
    assert_int_equal(store.last.used_at, NOW + 179001);
    assert_int_equal(store.last.revoked_at, 0);
    keys_stop(ks);
    loop_fake_advance(l, 1);
    assert_int_equal(find(0, &k), KEYS_FOUND);
    loop_fake_wall(l, (NOW + 3600000) * 1000);
    keys_used(ks, k);
    assert_int_equal(store.written, 3);
}

static void test_the_end_while_it_reads(void **state)
{
    (void)state;
    add_row(1, "read");
    store.silent = true;
    keys_open(ks);
    loop_fake_advance(l, 1);
    keys_stop(ks);
    ks = keys_free(ks);
    answer(store.late);                                    /* the sanitizer sees what is left behind or used again */
}

static void test_columns(void **state)
{
    (void)state;
    enum scope s;
    struct net nets[KEY_NETS_MAX];
    uint32_t n;
    const char *why;
    static const char *const bad[] = { ",", "10.0.0.0/8,,fd00::/8", "10.0.0.0/8 fd00::/8", " 10.0.0.0/8", "10.0.0.0/8,", "10.0.0.0/8, " };
    assert_int_equal(keys_scope(S("admin"), &s), 0);
    assert_int_equal(s, SCOPE_ADMIN);
    assert_string_equal(keys_scope_name(SCOPE_MINT), "mint");
    assert_int_equal(keys_scope(S(""), &s), -EINVAL);
    assert_int_equal(keys_scope(S("Admin"), &s), -EINVAL);
    assert_int_equal(keys_nets(S(""), nets, &n, &why), 0);
    assert_int_equal(n, 0);
    assert_int_equal(keys_nets(S("10.0.0.0/8,::1, fd00::/8"), nets, &n, &why), 0);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (keys_nets(str_of(bad[i]), nets, &n, &why) != -EINVAL) fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(keys_nets(S("1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,"
                               "1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1"), nets, &n, &why), -EINVAL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_hashes_are_keyed_and_long), CASE(test_nothing_is_known_before_the_store_answered),
        CASE(test_a_store_without_keys_settles_it_too), CASE(test_an_outage_ends_what_was_read), CASE(test_a_silent_store_ends_it_too),
        CASE(test_another_instance_revokes), CASE(test_what_a_row_says), CASE(test_rows_that_make_no_sense_open_nothing),
        CASE(test_a_key_expires_by_the_clock), CASE(test_pages_and_many_venues), CASE(test_no_more_than_so_many),
        CASE(test_changes_hold_at_once_also_while_it_reads), CASE(test_use_is_written_once_a_minute), CASE(test_the_end_while_it_reads),
        CASE(test_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
