/* signer-file on the fake host: RFC 8032, child keys, generation, and every broken key file with its own reason. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "fakehost.h"
#include "loop_fake.h"
#include "tmp.h"

enum { PUBLIC_KEYS, SIGN, START = 62, DRAIN = 63, PATH = 4200 };
#define HEX_1 "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define PUB_1 "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

static const struct mintd_vec none = { NULL, 0, 0 };
static char dir[PATH];
static struct json_object *vectors;

/* ---- the folder of a test */
static const char *fresh(void)
{
    static unsigned n;
    snprintf(dir, sizeof dir, "%s/keys-%u", tmp_dir(), n++);
    assert_int_equal(mkdir(dir, 0700), 0);
    return dir;
}

static const char *in_dir(const char *name)
{
    static char path[PATH + 64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const void *p, size_t n)
{
    int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

static void put_text(const char *name, const char *text) { put(name, text, strlen(text)); }

static void unhex(const char *hex, uint8_t *ret, size_t n) { assert_int_equal(hex_decode(str_of(hex), ret, n), 0); }

static const char *get(struct json_object *o, const char *name)
{
    struct json_object *m = NULL;
    assert_true(json_object_object_get_ex(o, name, &m));
    return json_object_get_string(m);
}

static struct json_object *section(const char *name)
{
    struct json_object *m = NULL;
    assert_true(json_object_object_get_ex(vectors, name, &m));
    assert_true(json_object_array_length(m) > 0);
    return m;
}

/* ---- one instance on its own loop */
struct rig { struct fh *fh; struct fh_inst inst; };

static struct rig rig(const char *key, const char *generate)
{
    struct rig r = { fh_new(1), { 0 } };
    const struct fh_opt opts[] = { { "dir", dir }, { "keys", key }, { "generate", generate }, { NULL, NULL } };
    assert_int_equal(fh_create(r.fh, "signer-file", opts, &r.inst), 0);
    return r;
}

static struct fh_reply start(struct rig *r) { return fh_call(r->fh, &r->inst, START, NULL, 0, none); }

static struct rig started(const char *key)
{
    struct rig r = rig(key, "false");
    struct fh_reply reply = start(&r);
    if (reply.out.cls != MINTD_OK) fail_msg(STR_FMT, STR_ARG(reply.out.msg));
    fh_reply_free(&reply);
    return r;
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

static void assert_hex(struct mintd_str s, const char *want)
{
    char hex[512];
    assert_true(s.n * 2 < sizeof hex);
    hex_encode(s.p, s.n, hex);
    assert_text((struct mintd_str){ hex, s.n * 2 }, want);
}

static struct mintd_sig sig_at(const struct fh_reply *r, uint32_t i)
{
    struct mintd_sig s;
    assert_true(i < r->res.rows.n);
    mintd_row(r->res.rows, i, &s, sizeof s);
    return s;
}

static struct mintd_pub pub_at(const struct fh_reply *r, uint32_t i)
{
    struct mintd_pub p;
    assert_true(i < r->res.rows.n);
    mintd_row(r->res.rows, i, &p, sizeof p);
    return p;
}

static struct fh_reply ask(struct rig *r, uint32_t op, const struct mintd_ask *asks, uint32_t n)
{
    struct fh_reply reply = fh_call(r->fh, &r->inst, op, NULL, 0, VEC(asks, n));
    assert_int_equal(reply.out.cls, MINTD_OK);
    assert_int_equal(reply.res.rows.n, n);
    return reply;
}

/* ---- what it must do */
static void test_rfc8032(void **state)
{
    (void)state;
    struct json_object *all = section("rfc8032");
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        struct json_object *v = json_object_array_get_idx(all, i);
        uint8_t msg[256];
        size_t n = strlen(get(v, "msg")) / 2;
        unhex(get(v, "msg"), msg, n);
        fresh();
        put_text("payer", get(v, "seed"));
        struct rig r = started("payer");
        struct mintd_ask a = { .key = S("payer"), .msg = { (char *)msg, n }, .scheme = MINTD_ED25519 };
        struct fh_reply reply = ask(&r, SIGN, &a, 1);
        struct mintd_sig s = sig_at(&reply, 0);
        assert_null(s.why);
        assert_hex(s.pub, get(v, "pub"));
        assert_hex(s.sig, get(v, "sig"));
        fh_reply_free(&reply);
        done(&r);
    }
}

/* The child key the plugin uses is the one of the frozen seed, computed elsewhere. */
static void test_children(void **state)
{
    (void)state;
    struct json_object *all = section("children");
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        struct json_object *v = json_object_array_get_idx(all, i);
        uint8_t tag[1024], seed[32], pub[32], secret[64], want[64];
        size_t n = strlen(get(v, "tag")) / 2;
        unhex(get(v, "tag"), tag, n);
        unhex(get(v, "child_seed"), seed, sizeof seed);
        crypto_sign_seed_keypair(pub, secret, seed);
        crypto_sign_detached(want, NULL, (const uint8_t *)"hello", 5, secret);
        fresh();
        put_text("item.key", get(v, "parent_seed"));
        struct rig r = started("item");
        struct mintd_ask a = { .key = S("vault/item"), .tag = { (char *)tag, n }, .msg = S("hello"), .scheme = MINTD_ED25519 };
        struct fh_reply reply = ask(&r, PUBLIC_KEYS, &a, 1);
        assert_null(pub_at(&reply, 0).why);
        assert_hex(pub_at(&reply, 0).pub, get(v, "child_pub"));
        assert_memory_equal(pub_at(&reply, 0).pub.p, pub, 32);
        fh_reply_free(&reply);
        reply = ask(&r, SIGN, &a, 1);
        assert_memory_equal(sig_at(&reply, 0).sig.p, want, 64);
        assert_memory_equal(sig_at(&reply, 0).pub.p, pub, 32);
        fh_reply_free(&reply);
        done(&r);
    }
}

static void test_vectors_by_python(void **state)
{
    (void)state;
    char cmd[PATH * 2];
    if (access("/usr/bin/python3", X_OK)) skip();
    snprintf(cmd, sizeof cmd, "/usr/bin/python3 '%s/plugins/signer-file/test/vectors.py' | cmp - '%s/tests/vectors/signer.json'",
             getenv("MINTD_SOURCE"), getenv("MINTD_SOURCE"));
    assert_int_equal(system(cmd), 0);
}

static void test_rows(void **state)
{
    (void)state;
    fresh();
    put_text("a", HEX_1);
    struct rig r = { fh_new(3), { 0 } };
    put_text("b.key", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb\n");
    const struct fh_opt opts[] = { { "dir", dir }, { "keys", "a" }, { "keys", "b" }, { NULL, NULL } };
    assert_int_equal(fh_create(r.fh, "signer-file", opts, &r.inst), 0);
    struct fh_reply reply = start(&r);
    assert_int_equal(reply.res.rows.n, 2);
    const struct mintd_field *facts = reply.res.rows.p;
    assert_text(facts[0].key, "a");
    assert_text(facts[0].val, PUB_1);
    fh_reply_free(&reply);
    const struct mintd_ask asks[] = { { .key = S("a"), .scheme = 1 }, { .key = S("vault/b"), .msg = S("m"), .scheme = 1 },
        { .key = S("c"), .scheme = 1 }, { .key = S("a"), .scheme = 2 }, { .scheme = 1 }, { .key = S("a/"), .scheme = 1 },
        { .key = S("b"), .scheme = 0 } };
    reply = ask(&r, SIGN, asks, ARRAY_LEN(asks));
    assert_null(sig_at(&reply, 0).why);
    assert_null(sig_at(&reply, 1).why);
    assert_hex(sig_at(&reply, 0).pub, PUB_1);
    const char *slugs[] = { "signer.no_key", "signer.scheme", "signer.no_key", "signer.no_key", "signer.scheme" };
    for (uint32_t i = 0; i < ARRAY_LEN(slugs); i++) {
        const struct mintd_outcome *why = sig_at(&reply, i + 2).why;
        assert_non_null(why);
        assert_int_equal(why->cls, MINTD_PERMANENT);
        assert_text(why->slug, slugs[i]);
        assert_int_equal(sig_at(&reply, i + 2).sig.n, 0);
    }
    assert_text(sig_at(&reply, 2).why->msg, "there is no key \"c\"");
    assert_text(sig_at(&reply, 3).why->msg, "the key a signs Ed25519 (scheme 1), scheme 2 was asked for");
    fh_reply_free(&reply);
    reply = ask(&r, PUBLIC_KEYS, asks, ARRAY_LEN(asks));
    assert_hex(pub_at(&reply, 0).pub, PUB_1);
    assert_text(pub_at(&reply, 1).key, "vault/b");
    for (uint32_t i = 0; i < ARRAY_LEN(slugs); i++) assert_text(pub_at(&reply, i + 2).why->slug, slugs[i]);
    fh_reply_free(&reply);
    reply = fh_call(r.fh, &r.inst, PUBLIC_KEYS, NULL, 0, none);      /* no rows: every key */
    assert_int_equal(reply.res.rows.n, 2);
    assert_text(pub_at(&reply, 1).key, "b");
    assert_int_equal(pub_at(&reply, 1).scheme, MINTD_ED25519);
    fh_reply_free(&reply);
    done(&r);
}

static void test_many(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct mintd_ask asks[N];
    static char tags[N][16];
    fresh();
    put_text("item", HEX_1);
    struct rig r = started("item");
    for (unsigned i = 0; i < N; i++) {
        snprintf(tags[i], sizeof tags[i], "t-%u", i);
        asks[i] = (struct mintd_ask){ .key = S("item"), .tag = str_of(tags[i]), .msg = str_of(tags[i]), .scheme = 1 };
    }
    struct fh_reply pubs = ask(&r, PUBLIC_KEYS, asks, N), sigs = ask(&r, SIGN, asks, N);
    for (uint32_t i = 0; i < N; i++) {
        struct mintd_str pub = pub_at(&pubs, i).pub;
        assert_true(str_eq(pub, sig_at(&sigs, i).pub));
        assert_int_equal(crypto_sign_verify_detached((const uint8_t *)sig_at(&sigs, i).sig.p, (const uint8_t *)tags[i], strlen(tags[i]),
                                                     (const uint8_t *)pub.p), 0);
        if (i) assert_false(str_eq(pub, pub_at(&pubs, i - 1).pub));
    }
    fh_reply_free(&pubs);
    fh_reply_free(&sigs);
    done(&r);
}

static void test_closed(void **state)
{
    (void)state;
    fresh();
    put_text("a", HEX_1);
    struct rig r = rig("a", "false");
    struct mintd_ask a = { .key = S("a"), .scheme = 1 };
    for (int round = 0; round < 2; round++) {
        for (uint32_t op = PUBLIC_KEYS; op <= SIGN; op++) {
            struct fh_reply reply = fh_call(r.fh, &r.inst, op, NULL, 0, VEC(&a, 1));
            assert_int_equal(reply.out.cls, MINTD_TRANSIENT);
            assert_text(reply.out.slug, "signer.closed");
            fh_reply_free(&reply);
        }
        struct fh_reply reply = start(&r);
        assert_int_equal(reply.out.cls, MINTD_OK);
        fh_reply_free(&reply);
        reply = ask(&r, SIGN, &a, 1);
        fh_reply_free(&reply);
        reply = fh_call(r.fh, &r.inst, DRAIN, NULL, 0, none);
        fh_reply_free(&reply);
    }
    done(&r);
}

/* ---- generation */
static void test_generate(void **state)
{
    (void)state;
    char first[128];
    struct stat st;
    fresh();
    assert_int_equal(rmdir(dir), 0);                       /* the folder is made as well */
    struct rig r = rig("payer", "true");
    struct fh_reply reply = start(&r);
    assert_int_equal(reply.out.cls, MINTD_OK);
    const struct mintd_field *fact = reply.res.rows.p;
    snprintf(first, sizeof first, STR_FMT, STR_ARG(fact->val));
    fh_reply_free(&reply);
    assert_int_equal(loop_fake_syncs(fh_loop(r.fh)), 3);   /* folder above, file, folder */
    assert_int_equal(fh_logged(r.fh, MINTD_WARN), 1);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(in_dir("payer.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 65);
    assert_int_equal(st.st_nlink, 1);
    done(&r);
    r = rig("payer", "true");                              /* found now, not made again */
    reply = start(&r);
    fact = reply.res.rows.p;
    assert_text(fact->val, first);
    assert_int_equal(loop_fake_syncs(fh_loop(r.fh)), 0);
    assert_int_equal(fh_logged(r.fh, MINTD_WARN), 0);
    fh_reply_free(&reply);
    done(&r);
}

static void test_generate_after_a_crash(void **state)
{
    (void)state;
    fresh();
    put_text(".payer.new", "9d61");                        /* died while writing */
    struct rig r = rig("payer", "true");
    struct fh_reply reply = start(&r);
    assert_int_equal(reply.out.cls, MINTD_OK);
    fh_reply_free(&reply);
    assert_int_not_equal(access(in_dir(".payer.new"), F_OK), 0);
    assert_int_equal(access(in_dir("payer.key"), R_OK), 0);
    done(&r);
}

/* ---- what it must refuse */
#define BEGIN "-----BEGIN PRIVATE KEY-----\n"
#define END "-----END PRIVATE KEY-----\n"
#define ONES "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"

static const struct broken { const char *text; size_t n; const char *slug, *msg; } broken[] = {
#define TEXT(t) (t), sizeof(t) - 1
    { TEXT(""), "signer.format", "is empty" },
    { TEXT("\n\n"), "signer.format", "holds nothing but blanks" },
    { TEXT("9d61b19deffd5a60ba844af492ec2cc4"), "signer.format", "has 32 hex digits: a seed needs 64 of them, or 32 raw bytes" },
    { TEXT("correct horse battery staple, ok"), "signer.format", "has 32 characters of text: a raw seed is 32 random bytes" },
    { TEXT("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "signer.format", "holds one byte 32 times, which is no secret" },
    { TEXT("1111111111111111111111111111111111111111111111111111111111111111"), "signer.format", "holds one byte 32 times, which is no secret" },
    { TEXT("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f"), "signer.format", "does not have 64 hex digits: a seed is 32 bytes" },
    { TEXT(HEX_1 "00"), "signer.format", "does not have 64 hex digits: a seed is 32 bytes" },
    { TEXT(HEX_1 PUB_1), "signer.format", "has 128 hex digits: keep the first 64, they are the seed" },
    { TEXT("0x" HEX_1), "signer.format", "begins with 0x: leave that away" },
    { TEXT("\xef\xbb\xbf" HEX_1), "signer.format", "begins with a byte order mark: save it without one" },
    { TEXT("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7fgg"), "signer.format",
      "has 64 raw bytes: keep the first 32, they are the seed" },
    { TEXT("a secret"), "signer.format", "is in no known form: 32 raw bytes, 64 hex digits, a JSON array of 64 numbers or PEM are" },
    { TEXT("{\"seed\":\"" HEX_1 "\"}"), "signer.format",
      "is in no known form: 32 raw bytes, 64 hex digits, a JSON array of 64 numbers or PEM are" },
    { TEXT("[]"), "signer.format", "is a JSON array with something else than numbers from 0 to 255" },
    { TEXT("[" ONES "]"), "signer.format", "is a JSON array with fewer than 64 numbers" },
    { TEXT("[" ONES "," ONES ",1,1"), "signer.format", "is a JSON array that does not end" },
    { TEXT("[" ONES "," ONES ",1,1,1]"), "signer.format", "is a JSON array with more than 64 numbers" },
    { TEXT("[" ONES "," ONES ",1,256]"), "signer.format", "is a JSON array with something else than numbers from 0 to 255" },
    { TEXT("[" ONES "," ONES ",1,-1]"), "signer.format", "is a JSON array with something else than numbers from 0 to 255" },
    { TEXT("[" ONES "," ONES ",1,01]"), "signer.format", "is a JSON array with something else than numbers from 0 to 255" },
    { TEXT("[" ONES "," ONES ",1,1]]"), "signer.format", "has something behind the JSON array" },
    { TEXT("[1;2]"), "signer.format", "is not a JSON array of numbers" },
    { TEXT("[2," ONES "," ONES ",1]"), "signer.mismatch", "its public half belongs to another secret: the file is damaged" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp"), "signer.format", "is PEM without its END line: the file is cut" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END EC PRIVATE KEY-----\n"), "signer.format",
      "is PEM with a wrong END line" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END BEGIN), "signer.format",
      "has something behind its END line: one key per file" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVh*\n" END), "signer.format", "is PEM with broken base64" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9E\n" END), "signer.format",
      "is not valid PKCS#8: the file is damaged or cut" },
    { TEXT(BEGIN "MC4CAQIwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END), "signer.format", "is not PKCS#8 of version 1 or 2" },
    { TEXT(BEGIN "MC4CAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END), "signer.format",
      "is PKCS#8 whose version does not fit its content" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VuBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END), "signer.format",
      "is an X25519 key, which cannot sign: an Ed25519 key is needed" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VxBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END), "signer.format",
      "is an Ed448 key: an Ed25519 key is needed" },
    { TEXT(BEGIN "MC4CAQAwBQYDK2VyBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END), "signer.format",
      "is a key of an unknown algorithm: an Ed25519 key is needed" },
    { TEXT("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"), "signer.format",
      "is encrypted: decrypt it with `openssl pkcs8`, its place is protected by the file's mode" },
    { TEXT("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"), "signer.format",
      "is in OpenSSH's own format: PKCS#8 is needed (`openssl genpkey -algorithm ed25519`)" },
    { TEXT("-----BEGIN PUBLIC KEY-----\nAAAAAAAA\n"), "signer.format", "is a public key: the private one is needed" },
    { TEXT("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"), "signer.format", "is an RSA key: an Ed25519 key is needed" },
    { TEXT("-----BEGIN EC PRIVATE KEY-----\nAAAA\n"), "signer.format", "is an elliptic curve key (ECDSA): an Ed25519 key is needed" },
    { TEXT("-----BEGIN CERTIFICATE-----\nAAAA\n"), "signer.format", "is a certificate: a private key is needed" },
    { TEXT("-----BEGIN DH PARAMETERS-----\nAAAA\n"), "signer.format", "is PEM, but not of a PRIVATE KEY" },
};

static void refused(const char *key, const char *generate, const char *slug, const char *file, const char *msg)
{
    char want[PATH * 2];
    struct rig r = rig(key, generate);
    struct fh_reply reply = start(&r);
    snprintf(want, sizeof want, "%s%s%s: %s", dir, file[0] ? "/" : "", file, msg);
    assert_int_equal(reply.out.cls, MINTD_PERMANENT);
    assert_text(reply.out.slug, slug);
    assert_text(reply.out.msg, want);
    fh_reply_free(&reply);
    struct mintd_ask a = { .key = str_of(key), .scheme = 1 };
    reply = fh_call(r.fh, &r.inst, SIGN, NULL, 0, VEC(&a, 1));
    assert_text(reply.out.slug, "signer.closed");
    fh_reply_free(&reply);
    done(&r);
}

static void test_broken_files(void **state)
{
    (void)state;
    fresh();
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        put("k.pem", broken[i].text, broken[i].n);
        refused("k", "true", broken[i].slug, "k.pem", broken[i].msg);
        struct stat st;
        assert_int_equal(stat(in_dir("k.pem"), &st), 0);   /* never replaced by a new one */
        assert_int_equal(st.st_size, broken[i].n);
    }
}

static void test_wrong_files(void **state)
{
    (void)state;
    char big[4097];
    memset(big, 'a', sizeof big);
    fresh();
    refused("k", "false", "signer.missing", "", "there is no k, k.key, k.json or k.pem: put the key there, or set generate");
    put("k", big, sizeof big);
    refused("k", "true", "signer.size", "k", "has 4097 bytes, a key file at most 4096");
    put_text("k", HEX_1);
    put_text("k.json", HEX_1);
    refused("k", "true", "signer.several", "", "both k and k.json are there for the key k: remove one");
    unlink(in_dir("k.json"));
    chmod(in_dir("k"), 0640);
    refused("k", "true", "signer.permissions", "k", "others may use it (mode 0640): chmod 0600, and think about a new key");
    chmod(in_dir("k"), 0604);
    refused("k", "true", "signer.permissions", "k", "others may use it (mode 0604): chmod 0600, and think about a new key");
    unlink(in_dir("k"));
    put_text("real", HEX_1);
    assert_int_equal(symlink("real", in_dir("k")), 0);
    refused("k", "true", "signer.file", "k", "is a symbolic link: put the file itself there");
    unlink(in_dir("k"));
    assert_int_equal(symlink("nowhere", in_dir("k")), 0);  /* a dangling one is not taken for a missing key */
    refused("k", "true", "signer.file", "k", "is a symbolic link: put the file itself there");
    unlink(in_dir("k"));
    assert_int_equal(mkdir(in_dir("k"), 0700), 0);
    refused("k", "true", "signer.file", "k", "is a folder: a key must be a regular file");
    rmdir(in_dir("k"));
    assert_int_equal(mkfifo(in_dir("k"), 0600), 0);        /* must not wait for a writer */
    refused("k", "true", "signer.file", "k", "is a device, pipe or socket: a key must be a regular file");
    unlink(in_dir("k"));
    put_text("k", HEX_1);
    if (!geteuid()) {
        assert_int_equal(chown(in_dir("k"), 12345, 12345), 0);
        refused("k", "true", "signer.permissions", "k", "belongs to user 12345: it must be this daemon's or root's");
    }
}

static void test_wrong_folders(void **state)
{
    (void)state;
    fresh();
    put_text("k", HEX_1);
    chmod(dir, 0720);
    refused("k", "true", "signer.permissions", "", "others may write there (mode 0720): chmod go-w");
    chmod(dir, 0700);
    if (!geteuid()) {
        assert_int_equal(chown(dir, 12345, 12345), 0);
        refused("k", "true", "signer.permissions", "", "belongs to user 12345: it must be this daemon's or root's");
    }
    fresh();
    strcat(dir, "/none/below");
    refused("k", "false", "signer.dir", "", "No such file or directory: name the folder of the keys, or set generate");
    refused("k", "true", "signer.io", "", "cannot make the folder: No such file or directory");
    fresh();
    put_text("file", "x");
    strcat(dir, "/file");
    refused("k", "true", "signer.dir", "", "Not a directory: name the folder of the keys, or set generate");
}

static void test_options(void **state)
{
    (void)state;
    static const char *const names[] = { "", ".hidden", "a/b", "../x", "a b", "ключ",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
    struct fh *fh = fh_new(1);
    struct fh_inst inst;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct fh_opt opts[] = { { "keys", names[i] }, { NULL, NULL } };
        assert_int_equal(fh_create(fh, "signer-file", opts, &inst), -EINVAL);
        assert_string_equal(fh_error(fh), "keys: a name of a key has 1 to 64 letters, digits, - _ . and does not begin with a dot");
    }
    const struct fh_opt twice[] = { { "keys", "a" }, { "keys", "b" }, { "keys", "a" }, { NULL, NULL } }, nothing[] = { { NULL, NULL } };
    assert_int_equal(fh_create(fh, "signer-file", twice, &inst), -EINVAL);
    assert_string_equal(fh_error(fh), "keys: names a key twice");
    assert_int_equal(fh_create(fh, "signer-file", nothing, &inst), -EINVAL);
    assert_string_equal(fh_error(fh), "keys: names no key");
    fh_free(fh);
}

static int set_up(void **state)
{
    (void)state;
    char path[PATH];
    snprintf(path, sizeof path, "%s/tests/vectors/signer.json", getenv("MINTD_SOURCE"));
    vectors = json_object_from_file(path);
    return vectors && sodium_init() >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    json_object_put(vectors);
    tmp_clean();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rfc8032), cmocka_unit_test(test_children), cmocka_unit_test(test_vectors_by_python),
        cmocka_unit_test(test_rows), cmocka_unit_test(test_many), cmocka_unit_test(test_closed), cmocka_unit_test(test_generate),
        cmocka_unit_test(test_generate_after_a_crash), cmocka_unit_test(test_broken_files), cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_wrong_folders), cmocka_unit_test(test_options) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
