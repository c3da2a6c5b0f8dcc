/* ipfs on the fake host: identify, put, check, from memory and from files, whole and damaged, under both profiles. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../base.c"
#undef LEN
#include "fakehost.h"
#include "loop_fake.h"
#include "tmp.h"

enum { IDENTIFY, PUT, CHECK, START = 62, DRAIN = 63, CHUNK_V1 = 1 << 20 };
#define EMPTY_V1 "ipfs://bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
#define EMPTY_V0 "ipfs://QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"
#define HELLO_V1 "ipfs://bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
#define HELLO_V0 "ipfs://Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"
#define HELLO_FILE "32/CIQLSTJHXGJU2PQIUUXFFV62PWV7VREE57RXUU4A52IIR55M4LX432I.data"

static const struct mintd_vec none = { NULL, 0, 0 };
static char dir[4096];
struct rig { struct fh *fh; struct fh_inst inst; };

static struct rig open_rig(const char *profile)
{
    struct rig r = { fh_new(1), { 0 } };
    const struct fh_opt opts[] = { { "store", dir }, { "profile", profile }, { NULL, NULL } };
    assert_int_equal(fh_create(r.fh, "ipfs", opts, &r.inst), 0);
    struct fh_reply reply = fh_call(r.fh, &r.inst, START, NULL, 0, none);
    if (reply.out.cls != MINTD_OK) fail_msg(STR_FMT, STR_ARG(reply.out.msg));
    fh_reply_free(&reply);
    return r;
}

static struct rig rig(const char *profile)
{
    static unsigned n;
    snprintf(dir, sizeof dir, "%s/blocks-%u", tmp_dir(), n++);
    return open_rig(profile);
}

static void done(struct rig *r)
{
    fh_destroy(r->fh, &r->inst);
    fh_free(r->fh);
}

static void assert_text(struct mintd_str s, const char *want)
{
    if (!str_eq(s, str_of(want))) fail_msg("\"" STR_FMT "\" where \"%s\" should be", STR_ARG(s), want);
}

static struct mintd_stored at(const struct fh_reply *r, uint32_t i)
{
    struct mintd_stored s;
    assert_true(i < r->res.rows.n);
    mintd_row(r->res.rows, i, &s, sizeof s);
    return s;
}

static struct fh_reply call(struct rig *r, uint32_t op, const struct mintd_blob *blobs, uint32_t n)
{
    struct fh_reply reply = fh_call(r->fh, &r->inst, op, NULL, 0, VEC(blobs, n));
    if (reply.out.cls != MINTD_OK) fail_msg(STR_FMT, STR_ARG(reply.out.msg));
    assert_int_equal(reply.res.rows.n, n);
    return reply;
}

static struct mintd_blob blob(struct mintd_str data) { return (struct mintd_blob){ .type = S("application/json"), .data = data, .len = data.n, .fd = -1 }; }

static void expect(struct rig *r, uint32_t op, struct mintd_blob b, uint32_t level, const char *uri)
{
    struct fh_reply reply = call(r, op, &b, 1);
    struct mintd_stored s = at(&reply, 0);
    if (s.why) fail_msg(STR_FMT, STR_ARG(s.why->msg));
    assert_int_equal(s.level, level);
    assert_text(s.uri, uri);
    if (op != IDENTIFY) assert_text(s.pin, uri + 7);
    fh_reply_free(&reply);
}

static void expect_why(struct rig *r, uint32_t op, struct mintd_blob b, uint32_t cls, const char *slug)
{
    struct fh_reply reply = call(r, op, &b, 1);
    struct mintd_stored s = at(&reply, 0);
    assert_non_null(s.why);
    assert_int_equal(s.why->cls, cls);
    assert_text(s.why->slug, slug);
    assert_int_equal(s.level, 0);
    fh_reply_free(&reply);
}

static void expect_absent(struct rig *r, const char *uri, const char *facts)
{
    struct mintd_blob b = { .uri = str_of(uri), .fd = -1 };
    struct fh_reply reply = call(r, CHECK, &b, 1);
    struct mintd_stored s = at(&reply, 0);
    assert_null(s.why);
    assert_int_equal(s.level, 0);
    assert_text(s.facts, facts);
    fh_reply_free(&reply);
}

static const char *in_store(const char *name)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void noise(uint8_t *p, size_t n)
{
    uint32_t x = 0x6d696e74;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        p[i] = (uint8_t)x;
    }
}

/* ---- */
static void test_identify(void **state)
{
    (void)state;
    struct rig r = rig("unixfs-v1-2025");
    expect(&r, IDENTIFY, blob(S("hello world")), MINTD_LOCAL, HELLO_V1);
    expect(&r, IDENTIFY, blob(S("")), MINTD_LOCAL, EMPTY_V1);
    expect_absent(&r, HELLO_V1, "{\"missing\":\"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e\"}");      /* it stored nothing */
    done(&r);
    r = rig("unixfs-v0-2015");
    expect(&r, IDENTIFY, blob(S("hello world")), MINTD_LOCAL, HELLO_V0);
    expect(&r, IDENTIFY, blob(S("")), MINTD_LOCAL, EMPTY_V0);
    done(&r);
}

/* Needs no store, so it works before start. */
static void test_closed(void **state)
{
    (void)state;
    struct rig r = { fh_new(1), { 0 } };
    const struct fh_opt opts[] = { { "store", "/nonexistent/never/made" }, { NULL, NULL } };
    assert_int_equal(fh_create(r.fh, "ipfs", opts, &r.inst), 0);
    expect(&r, IDENTIFY, blob(S("hello world")), MINTD_LOCAL, HELLO_V1);
    struct mintd_blob b = blob(S("x"));
    for (uint32_t op = PUT; op <= CHECK; op++) {
        struct fh_reply reply = fh_call(r.fh, &r.inst, op, NULL, 0, VEC(&b, 1));
        assert_int_equal(reply.out.cls, MINTD_TRANSIENT);
        assert_text(reply.out.slug, "ipfs.closed");
        fh_reply_free(&reply);
    }
    done(&r);
}

static void test_put_and_check(void **state)
{
    (void)state;
    static const struct { const char *profile, *hello, *empty; } sets[] = { { "unixfs-v1-2025", HELLO_V1, EMPTY_V1 },
        { "unixfs-v0-2015", HELLO_V0, EMPTY_V0 } };
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        struct rig r = rig(sets[i].profile);
        for (int round = 0; round < 2; round++) {
            expect(&r, PUT, blob(S("hello world")), MINTD_PINNED, sets[i].hello);
            expect(&r, PUT, blob(S("")), MINTD_PINNED, sets[i].empty);
        }
        expect(&r, CHECK, (struct mintd_blob){ .uri = str_of(sets[i].hello), .fd = -1 }, MINTD_PINNED, sets[i].hello);
        expect(&r, CHECK, (struct mintd_blob){ .pin = str_of(sets[i].empty + 7), .fd = -1 }, MINTD_PINNED, sets[i].empty);
        done(&r);
        r = open_rig(sets[i].profile);                     /* after a restart */
        expect(&r, CHECK, (struct mintd_blob){ .uri = str_of(sets[i].hello), .fd = -1 }, MINTD_PINNED, sets[i].hello);
        struct fh_reply reply = fh_call(r.fh, &r.inst, DRAIN, NULL, 0, none);
        fh_reply_free(&reply);
        done(&r);
    }
}

/* The file in the store is where any tool looks for it, and holds the bytes. */
static void test_layout(void **state)
{
    (void)state;
    struct rig r = rig("unixfs-v1-2025");
    char text[64] = "";
    expect(&r, PUT, blob(S("hello world")), MINTD_PINNED, HELLO_V1);
    int fd = open(in_store(HELLO_FILE), O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), 11);
    assert_string_equal(text, "hello world");
    close(fd);
    fd = open(in_store("SHARDING"), O_RDONLY);
    memset(text, 0, sizeof text);
    assert_int_equal(read(fd, text, sizeof text - 1), 37);
    assert_string_equal(text, "/repo/flatfs/shard/v1/next-to-last/2\n");
    close(fd);
    done(&r);
}

/* An address given before the profile was changed still decides. */
static void test_profile_changed(void **state)
{
    (void)state;
    struct rig r = rig("unixfs-v1-2025");
    struct mintd_blob b = blob(S("hello world"));
    b.uri = str_of(HELLO_V0);
    expect(&r, PUT, b, MINTD_PINNED, HELLO_V0);
    b.uri = str_of(HELLO_V1);
    expect(&r, PUT, b, MINTD_PINNED, HELLO_V1);
    b.uri = str_of(EMPTY_V1);
    expect_why(&r, PUT, b, MINTD_PERMANENT, "ipfs.mismatch");
    b.uri = S("ipfs://nonsense");
    expect_why(&r, PUT, b, MINTD_PERMANENT, "ipfs.uri");
    b.uri = S(HELLO_V1 "/1.json");
    expect_why(&r, PUT, b, MINTD_PERMANENT, "ipfs.uri");
    expect_why(&r, CHECK, b, MINTD_PERMANENT, "ipfs.uri");
    expect_why(&r, CHECK, blob(S("x")), MINTD_PERMANENT, "ipfs.uri");
    done(&r);
}

static void test_rows_apart(void **state)
{
    (void)state;
    struct rig r = rig("unixfs-v1-2025");
    struct mintd_blob blobs[] = { blob(S("hello world")), blob(S("other")), blob(S("")) };
    blobs[1].uri = str_of(HELLO_V1);
    struct fh_reply reply = call(&r, PUT, blobs, 3);
    assert_text(at(&reply, 0).uri, HELLO_V1);
    assert_text(at(&reply, 1).why->slug, "ipfs.mismatch");
    assert_text(at(&reply, 1).why->msg,
                "the content is ipfs://bafkreigzfgfbbunqonmdpxcl3bo2yza3b46o6j5epzovhjkpf47vwl6p7i, not what its address says");
    assert_text(at(&reply, 2).uri, EMPTY_V1);
    assert_int_equal(at(&reply, 2).level, MINTD_PINNED);
    assert_text(at(&reply, 0).facts, "{\"blocks\":1,\"bytes\":11}");
    fh_reply_free(&reply);
    reply = call(&r, PUT, NULL, 0);
    fh_reply_free(&reply);
    reply = call(&r, CHECK, NULL, 0);
    fh_reply_free(&reply);
    done(&r);
}

/* ---- large ones, from memory and from a file */
static void test_large(void **state)
{
    (void)state;
    static uint8_t data[5 * CHUNK_V1 + 1];
    static const char *const profiles[] = { "unixfs-v1-2025", "unixfs-v0-2015" };
    noise(data, sizeof data);
    for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
        struct rig r = rig(profiles[i]);
        int fd = memfd_create("blob", MFD_CLOEXEC);
        assert_int_equal(write(fd, data, sizeof data), sizeof data);
        struct mintd_blob memory = blob((struct mintd_str){ (char *)data, sizeof data }), file = { .fd = fd, .len = sizeof data };
        struct fh_reply named = call(&r, IDENTIFY, &memory, 1);
        char uri[128];
        snprintf(uri, sizeof uri, STR_FMT, STR_ARG(at(&named, 0).uri));
        fh_reply_free(&named);
        expect(&r, IDENTIFY, file, MINTD_LOCAL, uri);
        expect_absent(&r, uri, strcat(strcat(strcpy((char[256]){ 0 }, "{\"missing\":\""), uri + 7), "\"}"));
        expect(&r, PUT, file, MINTD_PINNED, uri);
        expect(&r, CHECK, (struct mintd_blob){ .uri = str_of(uri), .fd = -1 }, MINTD_PINNED, uri);
        expect(&r, PUT, memory, MINTD_PINNED, uri);
        file.len++;
        expect_why(&r, PUT, file, MINTD_PERMANENT, "ipfs.short");
        expect_why(&r, IDENTIFY, file, MINTD_PERMANENT, "ipfs.short");
        close(fd);
        file.fd = open(tmp_dir(), O_RDONLY);               /* cannot be read */
        expect_why(&r, PUT, file, MINTD_TRANSIENT, "ipfs.source");
        close(file.fd);
        done(&r);
    }
}

/* ---- damage: what is missing or wrong below the root is found, and the next put repairs it */
static void block_file(const uint8_t *p, size_t n, char ret[128])
{
    uint8_t hash[34] = { 0x12, 0x20 };
    char key[64] = "";
    SHA256(p, n, hash + 2);
    size_t len = base32_encode(hash, sizeof hash, base32_upper, key);
    snprintf(ret, 128, "%.2s/%s.data", key + len - 3, key);
}

static void test_damage(void **state)
{
    (void)state;
    static uint8_t data[3 * CHUNK_V1];
    char uri[128], leaf[128], facts[160];
    noise(data, sizeof data);
    struct rig r = rig("unixfs-v1-2025");
    struct mintd_blob b = blob((struct mintd_str){ (char *)data, sizeof data });
    struct fh_reply reply = call(&r, PUT, &b, 1);
    snprintf(uri, sizeof uri, STR_FMT, STR_ARG(at(&reply, 0).uri));
    assert_text(at(&reply, 0).facts, "{\"blocks\":4,\"bytes\":3145887}");
    fh_reply_free(&reply);
    struct mintd_blob middle = blob((struct mintd_str){ (char *)data + CHUNK_V1, CHUNK_V1 });
    reply = call(&r, IDENTIFY, &middle, 1);
    snprintf(facts, sizeof facts, "{\"missing\":\"%.59s\"}", at(&reply, 0).uri.p + 7);
    fh_reply_free(&reply);
    block_file(data + CHUNK_V1, CHUNK_V1, leaf);
    assert_int_equal(unlink(in_store(leaf)), 0);
    expect_absent(&r, uri, facts);
    expect(&r, PUT, b, MINTD_PINNED, uri);
    expect(&r, CHECK, (struct mintd_blob){ .uri = str_of(uri), .fd = -1 }, MINTD_PINNED, uri);
    assert_int_equal(fh_logged(r.fh, MINTD_WARN), 0);
    assert_int_equal(truncate(in_store(leaf), 1000), 0);   /* as after a crash of a store that did not sync */
    memcpy(facts, "{\"damaged\"", 10);
    expect_absent(&r, uri, facts);
    assert_int_equal(fh_logged(r.fh, MINTD_WARN), 1);
    expect(&r, PUT, b, MINTD_PINNED, uri);
    expect(&r, CHECK, (struct mintd_blob){ .uri = str_of(uri), .fd = -1 }, MINTD_PINNED, uri);
    done(&r);
}

static void test_damaged_root(void **state)
{
    (void)state;
    struct rig r = rig("unixfs-v1-2025");
    expect(&r, PUT, blob(S("hello world")), MINTD_PINNED, HELLO_V1);
    int fd = open(in_store(HELLO_FILE), O_WRONLY);
    assert_int_equal(write(fd, "j", 1), 1);                /* one byte, same length */
    close(fd);
    expect_absent(&r, HELLO_V1, "{\"damaged\":\"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e\"}");
    expect(&r, PUT, blob(S("hello world")), MINTD_PINNED, HELLO_V1);
    expect(&r, CHECK, (struct mintd_blob){ .uri = str_of(HELLO_V1), .fd = -1 }, MINTD_PINNED, HELLO_V1);
    done(&r);
}

/* The raw block is there, but asked for as a node it is none: the same hash, another codec. */
static void test_no_node(void **state)
{
    (void)state;
    struct rig r = rig("unixfs-v1-2025");
    struct mintd_str bytes = S("hello world");
    uint8_t hash[36] = { 1, 0x70, 0x12, 0x20 };
    char uri[80] = "ipfs://b";
    SHA256((const uint8_t *)bytes.p, bytes.n, hash + 4);
    base32_encode(hash, sizeof hash, base32_lower, uri + 8);
    expect(&r, PUT, blob(bytes), MINTD_PINNED, HELLO_V1);
    expect_why(&r, CHECK, (struct mintd_blob){ .uri = str_of(uri), .fd = -1 }, MINTD_PERMANENT, "ipfs.block");
    done(&r);
}

/* ---- a batch as the pipeline sends it */
static void test_thousand(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct mintd_blob blobs[N];
    static char text[N][64], uris[N][80];
    struct rig r = rig("unixfs-v1-2025");
    for (unsigned i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "{\"name\":\"Mint #%u\"}", i);
        blobs[i] = blob(str_of(text[i]));
    }
    struct fh_reply reply = call(&r, IDENTIFY, blobs, N);
    for (unsigned i = 0; i < N; i++) {
        snprintf(uris[i], sizeof uris[i], STR_FMT, STR_ARG(at(&reply, i).uri));
        blobs[i].uri = str_of(uris[i]);
    }
    fh_reply_free(&reply);
    uint64_t before = loop_fake_syncs(fh_loop(r.fh));
    reply = call(&r, PUT, blobs, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(at(&reply, i).level, MINTD_PINNED);
        assert_text(at(&reply, i).uri, uris[i]);
    }
    fh_reply_free(&reply);
    uint64_t syncs = loop_fake_syncs(fh_loop(r.fh)) - before;
    assert_true(syncs > N && syncs <= N + 1024 + 1);       /* a file once, a folder once */
    reply = call(&r, CHECK, blobs, N);
    for (unsigned i = 0; i < N; i++) assert_int_equal(at(&reply, i).level, MINTD_PINNED);
    fh_reply_free(&reply);
    done(&r);
}

/* Two workers with the same and with other content at once. */
static void test_at_once(void **state)
{
    (void)state;
    enum { N = 8, EACH = 50 };
    static char text[N][EACH][32];
    static struct mintd_blob blobs[N][EACH];
    struct fh_reply replies[N];
    bool finished[N];
    struct rig r = rig("unixfs-v1-2025");
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < EACH; k++) {
            snprintf(text[i][k], sizeof text[i][k], "%u", i / 2 * 1000 + k);
            blobs[i][k] = blob(str_of(text[i][k]));
        }
        fh_call_async(r.fh, &r.inst, PUT, NULL, 0, VEC(blobs[i], EACH), &replies[i], &finished[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        fh_run(r.fh, &finished[i]);
        assert_int_equal(replies[i].out.cls, MINTD_OK);
        assert_int_equal(at(&replies[i], EACH - 1).level, MINTD_PINNED);
        fh_reply_free(&replies[i]);
    }
    done(&r);
}

static void test_start_refused(void **state)
{
    (void)state;
    struct rig r = { fh_new(1), { 0 } };
    char path[8192];
    snprintf(path, sizeof path, "%s/file", tmp_dir());
    close(open(path, O_CREAT | O_WRONLY, 0644));
    const struct fh_opt opts[] = { { "store", path }, { NULL, NULL } };
    assert_int_equal(fh_create(r.fh, "ipfs", opts, &r.inst), 0);
    struct fh_reply reply = fh_call(r.fh, &r.inst, START, NULL, 0, none);
    assert_int_equal(reply.out.cls, MINTD_PERMANENT);
    assert_text(reply.out.slug, "ipfs.io");
    fh_reply_free(&reply);
    done(&r);
}

static int tear_down(void **state)
{
    (void)state;
    tmp_clean();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_identify), cmocka_unit_test(test_closed), cmocka_unit_test(test_put_and_check),
        cmocka_unit_test(test_layout), cmocka_unit_test(test_profile_changed), cmocka_unit_test(test_rows_apart), cmocka_unit_test(test_large),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_damaged_root), cmocka_unit_test(test_no_node), cmocka_unit_test(test_thousand),
        cmocka_unit_test(test_at_once), cmocka_unit_test(test_start_refused) };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
