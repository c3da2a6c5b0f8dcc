/* cache-memory on the fake host: what is found, when it expires, what falls off first, how much it holds. */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../sip.c"
#include "fakehost.h"
#include "loop_fake.h"

enum { GET, PUT, DEL, STATS, START = 62, DRAIN = 63, SMALL = 65536, BUCKETS = 256 };
#define HOUR_MS 3600000ull

static const struct mintd_vec none = { NULL, 0, 0 };
struct rig { struct fh *fh; struct fh_inst inst; };

static struct rig rig(const char *max_bytes)
{
    struct rig r = { fh_new(5), { 0 } };
    const struct fh_opt opts[] = { { "max_bytes", max_bytes }, { NULL, NULL } };
    assert_int_equal(fh_create(r.fh, "cache-memory", opts, &r.inst), 0);
    struct fh_reply reply = fh_call(r.fh, &r.inst, START, NULL, 0, none);
    assert_int_equal(reply.out.cls, MINTD_OK);
    fh_reply_free(&reply);
    return r;
}

static void done(struct rig *r)
{
    fh_destroy(r->fh, &r->inst);
    fh_free(r->fh);
}

static void call(struct rig *r, uint32_t op, uint32_t flags, const struct mintd_kv *rows, uint32_t n)
{
    struct fh_reply reply = fh_call(r->fh, &r->inst, op, NULL, flags, VEC(rows, n));
    assert_int_equal(reply.out.cls, MINTD_OK);
    fh_reply_free(&reply);
}

static void put_for(struct rig *r, const char *key, const char *val, uint64_t ttl_ms)
{
    call(r, PUT, 0, &(struct mintd_kv){ .key = str_of(key), .val = str_of(val), .ttl_ms = ttl_ms }, 1);
}

static void put(struct rig *r, const char *key, const char *val) { put_for(r, key, val, 0); }
static void del(struct rig *r, const char *key, uint32_t flags) { call(r, DEL, flags, &(struct mintd_kv){ .key = str_of(key) }, 1); }

/* The value, NULL on a miss; *ret_left gets the rest of its life. */
static const char *get_left(struct rig *r, const char *key, uint64_t *ret_left)
{
    static char val[256];
    struct mintd_kv row = { .key = str_of(key) }, kv;
    struct fh_reply reply = fh_call(r->fh, &r->inst, GET, NULL, 0, VEC(&row, 1));
    assert_int_equal(reply.out.cls, MINTD_OK);
    assert_int_equal(reply.res.rows.n, 1);
    mintd_row(reply.res.rows, 0, &kv, sizeof kv);
    assert_true(str_eq(kv.key, row.key));
    assert_true(kv.found || !kv.val.n);
    assert_true(kv.val.n < sizeof val);
    snprintf(val, sizeof val, STR_FMT, STR_ARG(kv.val));
    if (ret_left) *ret_left = kv.ttl_ms;
    fh_reply_free(&reply);
    return kv.found ? val : NULL;
}

static const char *get(struct rig *r, const char *key) { return get_left(r, key, NULL); }
static bool has(struct rig *r, const char *key) { return get(r, key) != NULL; }

static struct mintd_cache_stats stats(struct rig *r)
{
    struct mintd_cache_stats s;
    struct fh_reply reply = fh_call(r->fh, &r->inst, STATS, NULL, 0, none);
    assert_int_equal(reply.res.rows.n, 1);
    mintd_row(reply.res.rows, 0, &s, sizeof s);
    fh_reply_free(&reply);
    return s;
}

static uint64_t cost(size_t key_n, size_t val_n) { return (key_n + val_n + 48 + 16 + 15) / 16 * 16; }

/* ---- */
static void test_sip(void **state)
{
    (void)state;
    uint8_t key[16], text[64];
    for (unsigned i = 0; i < 64; i++) text[i] = (uint8_t)i;
    memcpy(key, text, sizeof key);
    assert_true(sip_hash(key, text, 15) == 0xa129ca6149be45e5ull);     /* the example of the paper */
    for (size_t n = 0; n <= sizeof text; n++) {
        uint8_t want[8];
        uint64_t got = sip_hash(key, text, n);
        crypto_shorthash(want, text, n, key);
        assert_memory_equal(&got, want, sizeof want);
    }
}

static void test_basics(void **state)
{
    (void)state;
    struct rig r = rig("1 MiB");
    assert_null(get(&r, "uri:a"));
    put(&r, "uri:a", "one");
    assert_string_equal(get(&r, "uri:a"), "one");
    put(&r, "uri:a", "two, longer");
    assert_string_equal(get(&r, "uri:a"), "two, longer");
    assert_null(get(&r, "uri:"));
    assert_null(get(&r, "uri:ab"));
    put(&r, "empty", "");
    assert_string_equal(get(&r, "empty"), "");
    del(&r, "uri:a", 0);
    del(&r, "never there", 0);
    assert_false(has(&r, "uri:a"));
    assert_true(has(&r, "empty"));
    struct mintd_kv binary = { .key = { "a\0b", 3 }, .val = { "\0\xff", 2 } }, kv;
    call(&r, PUT, 0, &binary, 1);
    struct fh_reply reply = fh_call(r.fh, &r.inst, GET, NULL, 0, VEC(&binary, 1));
    mintd_row(reply.res.rows, 0, &kv, sizeof kv);
    assert_true(kv.found && str_eq(kv.val, binary.val));
    fh_reply_free(&reply);
    assert_false(has(&r, "a"));
    done(&r);
}

static void test_batch(void **state)
{
    (void)state;
    struct rig r = rig("1 MiB");
    const struct mintd_kv rows[] = { { .key = S("a"), .val = S("1") }, { .key = S("b"), .val = S("2") }, { .key = S("a"), .val = S("3") } };
    const struct mintd_kv asks[] = { { .key = S("b") }, { .key = S("c") }, { .key = S("a") }, { .key = S("") } };
    call(&r, PUT, 0, rows, ARRAY_LEN(rows));
    struct fh_reply reply = fh_call(r.fh, &r.inst, GET, NULL, 0, VEC(asks, ARRAY_LEN(asks)));
    assert_int_equal(reply.res.rows.n, ARRAY_LEN(asks));
    const struct mintd_kv *kv = reply.res.rows.p;
    assert_true(kv[0].found && str_eq(kv[0].val, S("2")));
    assert_true(!kv[1].found && !kv[3].found);
    assert_true(kv[2].found && str_eq(kv[2].val, S("3")));
    fh_reply_free(&reply);
    call(&r, GET, 0, NULL, 0);
    call(&r, PUT, 0, NULL, 0);
    call(&r, DEL, 1, NULL, 0);
    assert_int_equal(stats(&r).keys, 2);
    done(&r);
}

static void test_lifetimes(void **state)
{
    (void)state;
    const struct { const char *key; uint64_t given, ms; } lives[] = { { "uri:x", 0, 24 * HOUR_MS }, { "sig:x", 0, HOUR_MS }, { "x", 0, HOUR_MS },
        { "ur", 0, HOUR_MS }, { "URI:x", 0, HOUR_MS }, { "uri:short", 1, 1 }, { "sig:long", 48 * HOUR_MS, 48 * HOUR_MS } };
    for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
        struct rig r = rig("1 MiB");
        uint64_t left = 0;
        loop_fake_advance(fh_loop(r.fh), 12345);
        put_for(&r, lives[i].key, "v", lives[i].given);
        assert_non_null(get_left(&r, lives[i].key, &left));
        assert_int_equal(left, lives[i].ms);
        loop_fake_advance(fh_loop(r.fh), lives[i].ms - 1);
        assert_non_null(get_left(&r, lives[i].key, &left));    /* being read does not lengthen its life */
        assert_int_equal(left, 1);
        assert_int_equal(stats(&r).keys, 1);
        loop_fake_advance(fh_loop(r.fh), 1);
        assert_false(has(&r, lives[i].key));
        assert_int_equal(stats(&r).keys, 0);
        assert_int_equal(stats(&r).bytes, (1 << 20) / 256 * 8);
        put(&r, lives[i].key, "again");
        assert_string_equal(get(&r, lives[i].key), "again");
        done(&r);
    }
}

static void test_for_ever(void **state)
{
    (void)state;
    struct rig r = rig("1 MiB");
    loop_fake_advance(fh_loop(r.fh), 1000);
    put_for(&r, "k", "v", UINT64_MAX);
    loop_fake_advance(fh_loop(r.fh), 1000 * HOUR_MS);
    assert_true(has(&r, "k"));
    done(&r);
}

static void test_options(void **state)
{
    (void)state;
    struct rig r = { fh_new(1), { 0 } };
    const struct fh_opt opts[] = { { "ttl_uri", "10" }, { "ttl_sig", "20" }, { "ttl_other", "30" }, { NULL, NULL } };
    assert_int_equal(fh_create(r.fh, "cache-memory", opts, &r.inst), 0);
    put(&r, "uri:", "v");
    put(&r, "sig:", "v");
    put(&r, "etc:", "v");
    for (unsigned ms = 10; ms <= 30; ms += 10) {
        loop_fake_advance(fh_loop(r.fh), 10);
        assert_int_equal(has(&r, "uri:"), 0);
        assert_int_equal(has(&r, "sig:"), ms < 20);
        assert_int_equal(has(&r, "etc:"), ms < 30);
    }
    done(&r);
}

/* Entries of one size: who was used last stays. */
static void test_eviction_order(void **state)
{
    (void)state;
    struct rig r = rig("64 KiB");
    char key[32], val[200];
    memset(val, 'v', sizeof val);
    val[sizeof val - 1] = '\0';
    unsigned fit = (unsigned)((SMALL - BUCKETS * 8) / cost(7, sizeof val - 1));
    for (unsigned i = 0; i < fit; i++) {
        snprintf(key, sizeof key, "key%04u", i);
        put(&r, key, val);
    }
    assert_int_equal(stats(&r).keys, fit);
    assert_true(has(&r, "key0000"));                       /* oldest no more */
    put(&r, "key0001", val);                               /* nor this one */
    put(&r, "new0000", val);
    assert_int_equal(stats(&r).keys, fit);
    assert_false(has(&r, "key0002"));
    put(&r, "new0001", val);
    assert_false(has(&r, "key0003"));
    const char *stay[] = { "key0000", "key0001", "key0004", "new0000", "new0001" };
    for (size_t i = 0; i < ARRAY_LEN(stay); i++) assert_true(has(&r, stay[i]));
    val[150] = '\0';
    put(&r, "key0004", val);                               /* smaller now: its old size was given back */
    assert_true(stats(&r).bytes <= SMALL);
    assert_int_equal(stats(&r).keys, fit);
    done(&r);
}

static uint32_t chance(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    return *x ^= *x << 5;
}

static void test_bytes_stay_bounded(void **state)
{
    (void)state;
    enum { PUTS = 100000, BATCH = 250 };
    static struct mintd_kv rows[BATCH];
    static char keys[BATCH][32], val[2000];
    struct rig r = rig("1 MiB");
    uint32_t x = 9;
    uint64_t top = 0;
    for (unsigned i = 0; i < PUTS; i += BATCH) {
        for (unsigned k = 0; k < BATCH; k++) {
            size_t n = chance(&x) % 8 ? chance(&x) % 60 : chance(&x) % sizeof val;
            snprintf(keys[k], sizeof keys[k], "uri:%u", chance(&x) % 50000);
            rows[k] = (struct mintd_kv){ .key = str_of(keys[k]), .val = { val, n }, .ttl_ms = 1 + chance(&x) % 5000 };
        }
        call(&r, PUT, 0, rows, BATCH);
        if (chance(&x) % 10 == 0) loop_fake_advance(fh_loop(r.fh), chance(&x) % 1000);
        struct mintd_cache_stats s = stats(&r);
        assert_true(s.bytes <= 1 << 20);
        if (s.bytes > top) top = s.bytes;
    }
    assert_true(top > (1 << 20) * 99 / 100);
    assert_true(stats(&r).keys > 1000);
    call(&r, DEL, 1, &(struct mintd_kv){ .key = S("") }, 1);
    assert_int_equal(stats(&r).keys, 0);
    assert_int_equal(stats(&r).bytes, (1 << 20) / 256 * 8);
    done(&r);
}

/* What nobody asks for any more gives its memory back as others are stored. */
static void test_sweep(void **state)
{
    (void)state;
    struct rig r = rig("64 KiB");
    char key[32];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "old%u", i);
        put_for(&r, key, "v", 1000);
    }
    loop_fake_advance(fh_loop(r.fh), 1000);
    for (unsigned i = 0; i < BUCKETS / 2; i++) put(&r, "one key", "v");
    assert_int_equal(stats(&r).keys, 1);
    done(&r);
}

static void test_stats(void **state)
{
    (void)state;
    struct rig r = rig("64 KiB");
    struct mintd_cache_stats s = stats(&r);
    assert_int_equal(s.bytes, BUCKETS * 8);
    assert_int_equal(s.connected, 1);
    put(&r, "abc", "12345");
    put(&r, "sig:1", "");
    has(&r, "abc");
    has(&r, "abc");
    has(&r, "no");
    s = stats(&r);
    assert_int_equal(s.keys, 2);
    assert_int_equal(s.bytes, BUCKETS * 8 + cost(3, 5) + cost(5, 0));
    assert_int_equal(s.hits, 2);
    assert_int_equal(s.misses, 1);
    put(&r, "abc", "1");
    del(&r, "sig:1", 0);
    s = stats(&r);
    assert_int_equal(s.keys, 1);
    assert_int_equal(s.bytes, BUCKETS * 8 + cost(3, 1));
    loop_fake_advance(fh_loop(r.fh), HOUR_MS);
    assert_false(has(&r, "abc"));
    s = stats(&r);
    assert_int_equal(s.keys, 0);
    assert_int_equal(s.hits, 2);
    assert_int_equal(s.misses, 2);
    assert_int_equal(s.bytes, BUCKETS * 8);
    done(&r);
}

static void test_prefix(void **state)
{
    (void)state;
    enum { N = 30000 };
    struct rig r = rig("64 MiB");
    static struct mintd_kv rows[N];
    static char keys[N][24];
    static const char *const heads[] = { "uri:a", "uri:b", "sig:" };
    for (unsigned i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "%s/%u", heads[i % 3], i);
        rows[i] = (struct mintd_kv){ .key = str_of(keys[i]), .val = S("v") };
    }
    call(&r, PUT, 0, rows, N);
    assert_int_equal(stats(&r).keys, N);
    del(&r, "uri:a/", 1);
    assert_int_equal(stats(&r).keys, N / 3 * 2);
    for (unsigned i = 0; i < N; i += 101) assert_int_equal(has(&r, keys[i]), i % 3 != 0);
    del(&r, "sig:/29", 0);                                 /* without the flag: that very key */
    assert_int_equal(stats(&r).keys, N / 3 * 2 - 1);
    del(&r, "no such prefix", 1);
    const struct mintd_kv two[] = { { .key = S("sig:/1") }, { .key = S("uri:b") } };
    call(&r, DEL, 1, two, 2);
    for (unsigned i = 1; i < N; i += 101) {
        bool gone = i % 3 != 2 || keys[i][5] == '1' || i == 29;
        assert_int_equal(has(&r, keys[i]), !gone);
    }
    del(&r, "", 1);
    assert_int_equal(stats(&r).keys, 0);
    done(&r);
}

/* Other ops run between the slices of a long deletion, and what they store or remove does no harm. */
static void test_prefix_among_others(void **state)
{
    (void)state;
    enum { N = 40000 };
    struct rig r = rig("64 MiB");
    char key[32];
    static struct mintd_kv rows[N];
    static char keys[N][16];
    for (unsigned i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "old/%u", i);
        rows[i] = (struct mintd_kv){ .key = str_of(keys[i]) };
    }
    call(&r, PUT, 0, rows, N);
    struct fh_reply gone;
    bool finished = false;
    unsigned others = 0;
    struct mintd_kv prefix = { .key = S("old/") };
    fh_call_async(r.fh, &r.inst, DEL, NULL, 1, VEC(&prefix, 1), &gone, &finished);
    for (const volatile bool *end = &finished; !*end; others++) {
        snprintf(key, sizeof key, "new/%u", others);
        put(&r, key, "v");
        del(&r, keys[others], 0);
    }
    assert_int_equal(gone.out.cls, MINTD_OK);
    fh_reply_free(&gone);
    assert_true(others > 3);
    assert_int_equal(stats(&r).keys, others);
    done(&r);
}

static void refused(struct rig *r, const struct mintd_kv *rows, uint32_t n, const char *slug)
{
    uint64_t keys = stats(r).keys;
    struct fh_reply reply = fh_call(r->fh, &r->inst, PUT, NULL, 0, VEC(rows, n));
    assert_int_equal(reply.out.cls, MINTD_TRANSIENT);
    assert_true(str_eq(reply.out.slug, str_of(slug)));
    fh_reply_free(&reply);
    assert_int_equal(stats(r).keys, keys);
}

static void test_refusals(void **state)
{
    (void)state;
    struct rig r = rig("64 KiB");
    static char huge[SMALL];
    size_t fits = SMALL / 8 - 48 - 16 - 4;
    const struct mintd_kv rows[] = { { .key = S("fine") }, { .key = S("huge"), .val = { huge, fits + 1 } } };
    put(&r, "keep", "me");
    refused(&r, rows, 2, "cache.too_large");
    refused(&r, &(struct mintd_kv){ .key = S("huge"), .val = { huge, sizeof huge } }, 1, "cache.too_large");
    refused(&r, &(struct mintd_kv){ .key = { huge, fits + 5 } }, 1, "cache.too_large");
    refused(&r, &(struct mintd_kv){ .val = S("v") }, 1, "cache.no_key");
    call(&r, PUT, 0, &(struct mintd_kv){ .key = S("huge"), .val = { huge, fits } }, 1);
    assert_int_equal(stats(&r).keys, 2);
    assert_true(has(&r, "keep"));
    done(&r);
}

/* An answer has an end: what does not fit is a miss, not a failure. */
static void test_large_answer(void **state)
{
    (void)state;
    enum { N = 10, MIB = 1 << 20 };
    struct rig r = rig("64 MiB");
    static char big[MIB], keys[N][8];
    struct mintd_kv rows[N];
    for (unsigned i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i);
        call(&r, PUT, 0, &(struct mintd_kv){ .key = str_of(keys[i]), .val = { big, MIB } }, 1);
        rows[i] = (struct mintd_kv){ .key = str_of(keys[i]) };
    }
    struct fh_reply reply = fh_call(r.fh, &r.inst, GET, NULL, 0, VEC(rows, N));
    assert_int_equal(reply.out.cls, MINTD_OK);
    const struct mintd_kv *kv = reply.res.rows.p;
    for (unsigned i = 0; i < N; i++) assert_int_equal(kv[i].found, i < 5);
    fh_reply_free(&reply);
    assert_int_equal(stats(&r).hits, 5);
    assert_int_equal(stats(&r).misses, 5);
    done(&r);
}

/* Against a model that is too slow to be wrong. */
static void test_model(void **state)
{
    (void)state;
    enum { KEYS = 40, STEPS = 20000 };
    struct { bool there; char val[16]; uint64_t expires; } model[KEYS] = { 0 };
    struct rig r = rig("1 MiB");
    uint32_t x = 77;
    char key[32];
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t k = chance(&x) % KEYS;
        uint64_t now = loop_now_ms(fh_loop(r.fh));
        snprintf(key, sizeof key, "%s%u", k % 2 ? "uri:" : "etc:", k);
        if (model[k].there && model[k].expires <= now) model[k].there = false;
        switch (chance(&x) % 8) {
        case 0: case 1: case 2:
            snprintf(model[k].val, sizeof model[k].val, "%u", chance(&x));
            model[k].expires = now + 1 + chance(&x) % 300;
            model[k].there = true;
            put_for(&r, key, model[k].val, model[k].expires - now);
            break;
        case 3: del(&r, key, 0); model[k].there = false; break;
        case 4:
            if (chance(&x) % 50) break;
            del(&r, "uri:", 1);
            for (unsigned i = 1; i < KEYS; i += 2) model[i].there = false;
            break;
        case 5: loop_fake_advance(fh_loop(r.fh), chance(&x) % 20); break;
        default: {
            const char *val = get(&r, key);
            assert_int_equal(val != NULL, model[k].there);
            if (val) assert_string_equal(val, model[k].val);
        }
        }
    }
    done(&r);
}

static void test_drain(void **state)
{
    (void)state;
    struct rig r = rig("1 MiB");
    put(&r, "a", "b");
    struct fh_reply reply = fh_call(r.fh, &r.inst, DRAIN, NULL, 0, none);
    assert_int_equal(reply.out.cls, MINTD_OK);
    fh_reply_free(&reply);
    assert_int_equal(stats(&r).keys, 0);
    done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sip), cmocka_unit_test(test_basics), cmocka_unit_test(test_batch),
        cmocka_unit_test(test_lifetimes), cmocka_unit_test(test_for_ever), cmocka_unit_test(test_options), cmocka_unit_test(test_eviction_order),
        cmocka_unit_test(test_bytes_stay_bounded), cmocka_unit_test(test_sweep), cmocka_unit_test(test_stats), cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_prefix_among_others), cmocka_unit_test(test_refusals), cmocka_unit_test(test_large_answer),
        cmocka_unit_test(test_model), cmocka_unit_test(test_drain) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
