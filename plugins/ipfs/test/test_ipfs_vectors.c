/* Addresses, nodes and trees against vectors that other implementations made, and against what nobody should accept. */
#include <json-c/json.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "../base.c"
#include "../cid.c"
#include "../node.c"
#include "../tree.c"

static struct json_object *vectors;

static struct json_object *member(struct json_object *o, const char *name)
{
    struct json_object *m = NULL;
    json_object_object_get_ex(o, name, &m);
    return m;
}

static struct json_object *need(struct json_object *o, const char *name)
{
    struct json_object *m = member(o, name);
    if (!m) fail_msg("the vectors have no %s", name);
    return m;
}

static const char *text(struct json_object *o, const char *name) { return json_object_get_string(need(o, name)); }
static uint64_t number(struct json_object *o, const char *name) { return (uint64_t)json_object_get_int64(need(o, name)); }
static struct mintd_str str(const char *s) { return (struct mintd_str){ s, strlen(s) }; }

static struct mintd_str hex(const char *s)
{
    static uint8_t bytes[4096];
    int n = base16_decode(str(s), bytes, sizeof bytes);
    assert_true(n >= 0);
    return (struct mintd_str){ (char *)bytes, (size_t)n };
}

#define EACH(i, list) for (size_t i = 0, end_##i = json_object_array_length(list); i < end_##i; i++)

/* ---- varints and addresses */
static void test_varints(void **state)
{
    (void)state;
    struct json_object *all = need(vectors, "varints");
    EACH(i, all) {
        struct json_object *v = json_object_array_get_idx(all, i);
        struct mintd_str want = hex(text(v, "hex"));
        const uint8_t *p = (const uint8_t *)want.p;
        uint8_t out[16];
        uint64_t got = 0;
        size_t left = want.n;
        assert_int_equal(varint_put(out, number(v, "value")), want.n);
        assert_memory_equal(out, want.p, want.n);
        assert_int_equal(varint_len(number(v, "value")), want.n);
        assert_int_equal(varint_get(&p, &left, &got), 0);
        assert_true(got == number(v, "value") && !left);
        p = (const uint8_t *)want.p;
        left = want.n - 1;
        assert_int_equal(varint_get(&p, &left, &got), -EBADMSG);       /* cut */
    }
    const char *bad[] = { "", "80", "8000", "ff00", "808080808080808000", "80808080808080808001", "ffffffffffffffffffff01" };
    for (size_t i = 0; i < LEN(bad); i++) {
        struct mintd_str s = hex(bad[i]);
        const uint8_t *p = (const uint8_t *)s.p;
        size_t left = s.n;
        uint64_t got;
        assert_int_equal(varint_get(&p, &left, &got), -EBADMSG);
    }
    uint8_t most[16];
    assert_int_equal(varint_put(most, INT64_MAX), 9);
}

static void assert_cid_text(const struct cid *c, const char *want)
{
    char out[CID_TEXT];
    assert_int_equal(cid_print(c, out), strlen(want));
    assert_string_equal(out, want);
}

static void test_cid_encodings(void **state)
{
    (void)state;
    struct json_object *all = need(vectors, "cid_encodings");
    static const char *const forms[] = { "v1_base32", "v1_base58btc", "v1_base36", "v1_base16" };
    EACH(i, all) {
        struct json_object *v = json_object_array_get_idx(all, i);
        struct mintd_str bytes = hex(text(v, "cid_bytes_hex"));
        struct cid c, parsed;
        uint8_t out[CID_BYTES];
        assert_int_equal(cid_decode((const uint8_t *)bytes.p, bytes.n, &c), 0);
        assert_int_equal(cid_encode(&c, out), bytes.n);
        assert_memory_equal(out, bytes.p, bytes.n);
        assert_cid_text(&c, text(v, "default_string"));
        assert_int_equal(cid_parse(str(text(v, "default_string")), &parsed), 0);
        assert_true(cid_eq(&c, &parsed));
        c.version = 1;                                     /* all other forms are of version 1 */
        for (size_t k = 0; k < LEN(forms); k++) {
            assert_int_equal(cid_parse(str(text(v, forms[k])), &parsed), 0);
            assert_true(cid_eq(&c, &parsed));
        }
        assert_cid_text(&parsed, text(v, "v1_base32"));
    }
}

static void test_cids_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "b", "Q", "Qm", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQ", /* short */
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1Aw0H",  /* 0 is no digit */
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQHH", "zQmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
        "Qmzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",  /* not 12 20 */
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykua",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv",         /* loose bits at the end */
        "bAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk=",
        "Bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "1bafkrei", "bafkqaaa", /* identity */
        "f01551320e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", /* another hash */
        "f01711220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", /* another codec */
        "f02551220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", /* another version */
        "f01551221e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85500", "f0155122", "f015512200", "f0",
        "f01551220E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        "f1220e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "k!", "kzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        "z111111111111111111111111111111111111111111111111111111111111111111111111111111111" };
    struct cid c;
    for (size_t i = 0; i < LEN(bad); i++)
        if (!cid_parse(str(bad[i]), &c)) fail_msg("%s was read", bad[i]);
    assert_int_equal(cid_parse((struct mintd_str){ "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevten\0quvyku", 59 }, &c), -EINVAL);
}

/* ---- nodes */
static void test_dag_pb(void **state)
{
    (void)state;
    struct json_object *all = need(vectors, "dag_pb");
    EACH(i, all) {
        struct json_object *v = json_object_array_get_idx(all, i), *want = need(v, "node"), *links = need(want, "links");
        struct mintd_str block = hex(text(v, "hex"));
        uint8_t copy[4096];
        memcpy(copy, block.p, block.n);
        size_t n = block.n, n_links = json_object_array_length(links);
        struct node node;
        struct unixfs ufs;
        struct pb_link l;
        struct link ours[4];
        assert_int_equal(node_read(copy, n, &node), 0);
        struct mintd_str data = hex(text(want, "data_hex"));
        assert_true(node.data.n == data.n && !memcmp(node.data.p, data.p, data.n));
        assert_int_equal(node.n_links, n_links);
        assert_int_equal(unixfs_read(node.data, &ufs), 0);
        bool named = false;
        EACH(k, links) {
            struct json_object *w = json_object_array_get_idx(links, k);
            assert_true(link_next(&node.links, &l));
            assert_cid_text(&l.cid, text(w, "cid"));
            assert_true(l.tsize == number(w, "tsize"));
            assert_true(l.name.n == strlen(text(w, "name")) && !memcmp(l.name.p, text(w, "name"), l.name.n));
            named |= l.name.n != 0;
            ours[k] = (struct link){ l.cid, l.tsize, l.tsize };
        }
        assert_false(link_next(&node.links, &l));
        if (named) continue;                               /* file trees have no names: what we write */
        uint8_t out[4096];
        assert_int_equal(node_write(out, NULL, 0, ours, n_links), n);
        assert_memory_equal(out, copy, n);
    }
}

static void test_unixfs(void **state)
{
    (void)state;
    static const struct { const char *name; uint64_t type, size, hash, fanout; uint32_t sizes; size_t data; } want[] = {
        { "directory", UFS_DIRECTORY, 0, 0, 0, 0, 0 }, { "file empty", UFS_FILE, 0, 0, 0, 0, 0 },
        { "file \"hello world\"", UFS_FILE, 11, 0, 0, 0, 11 }, { "file blocksizes 262144,1", UFS_FILE, 262145, 0, 0, 2, 0 },
        { "hamt fanout 256, buckets 00 and ff", UFS_HAMT, 0, 0x22, 256, 0, 32 }, { "hamt fanout 256, bucket 00 only", UFS_HAMT, 0, 0x22, 256, 0, 1 } };
    struct json_object *all = need(vectors, "unixfs_data");
    assert_int_equal(json_object_array_length(all), LEN(want));
    EACH(i, all) {
        struct json_object *v = json_object_array_get_idx(all, i);
        struct unixfs u;
        assert_string_equal(text(v, "name"), want[i].name);
        assert_int_equal(unixfs_read(hex(text(v, "hex")), &u), 0);
        assert_true(u.type == want[i].type && u.filesize == want[i].size && u.hash_type == want[i].hash && u.fanout == want[i].fanout);
        assert_true(u.n_sizes == want[i].sizes && u.data.n == want[i].data);
        if (u.type != UFS_FILE) continue;
        const struct link parts[2] = { { .filesize = 262144 }, { .filesize = 1 } };
        uint8_t block[4096];
        size_t n = node_write(block, (const uint8_t *)"hello world", u.data.n, parts, u.n_sizes);
        struct node node;
        assert_int_equal(node_read(block, n, &node), 0);
        struct mintd_str data = hex(text(v, "hex"));
        assert_true(node.data.n == data.n && !memcmp(node.data.p, data.p, data.n));
    }
}

#define CID "0a2401551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
static void test_nodes_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "0a", "0a05", "0a020801ff", "1228" CID "1200" "18", "1201", "1a00", "1200",
        "12280a2301551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcd12001801", /* cut address */
        "12" "2a" "1200" CID "1801", "122a" CID "180112" "00", "122c" CID "120012001801", "122a" CID "12001801" "0a020801" "0a020801",
        "0a020801" "122a" CID "12001801" "0a020801", "122b" CID "1200188000", "0a8000", "0affffffffffffffff7f" };
    static const char *const bad_ufs[] = { "", "08", "0806", "0802", "080218", "08021801", "0802120161", "08021201611802", "0802180a2005", "08022001",
        "0802180012", "18000802", "08020802" "1800", "0802180048", "0802" "1800" "0800", "080218002000ff", "088000",
        "0802180a20ffffffffffffffff7f20ffffffffffffffff7f" };
    struct node node;
    struct unixfs u;
    for (size_t i = 0; i < LEN(bad); i++) {
        struct mintd_str s = hex(bad[i]);
        if (!node_read((const uint8_t *)s.p, s.n, &node)) fail_msg("node %s was read", bad[i]);
    }
    for (size_t i = 0; i < LEN(bad_ufs); i++)
        if (!unixfs_read(hex(bad_ufs[i]), &u)) fail_msg("unixfs %s was read", bad_ufs[i]);
    struct mintd_str s = hex("0a020801" "122a" CID "12001801"), empty = { NULL, 0 };
    assert_int_equal(node_read((const uint8_t *)s.p, s.n, &node), 0);  /* Data first, as old writers put it */
    assert_int_equal(node.n_links, 1);
    assert_int_equal(node_read((const uint8_t *)empty.p, 0, &node), 0);      /* the empty node is dag-pb, though no file */
    assert_int_equal(unixfs_read(hex("080218003880032a"), &u), -EBADMSG);
    assert_int_equal(unixfs_read(hex("08021800388003"), &u), 0);       /* a mode */
}

static uint32_t chance(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    return *x ^= *x << 5;
}

static void test_noise(void **state)
{
    (void)state;
    struct json_object *all = need(vectors, "dag_pb");
    uint32_t x = 3;
    for (int i = 0; i < 50000; i++) {
        struct mintd_str from = hex(text(json_object_array_get_idx(all, chance(&x) % 2), "hex"));
        size_t n = chance(&x) % 3 ? from.n : chance(&x) % (from.n + 1);
        uint8_t *block = malloc(n + !n);
        memcpy(block, from.p, n);
        for (unsigned k = chance(&x) % 4; n && k; k--) block[chance(&x) % n] = (uint8_t)chance(&x);
        struct node node;
        struct unixfs u;
        struct pb_link l;
        if (!node_read(block, n, &node)) {
            uint32_t links = 0;
            while (link_next(&node.links, &l)) links++;
            assert_int_equal(links, node.n_links);
            unixfs_read(node.data, &u);
        }
        unixfs_read((struct mintd_str){ (char *)block, n }, &u);
        free(block);
        char cid[80];
        size_t len = chance(&x) % sizeof cid;
        for (size_t k = 0; k < len; k++) cid[k] = "bzkfQmabc0123456789ABCxyz"[chance(&x) % 25];
        struct cid c;
        cid_parse((struct mintd_str){ cid, len }, &c);
    }
}

/* ---- trees */
struct kept { struct cid cid; uint8_t *p; size_t n; bool seen; };
struct blocks { struct kept *at; size_t n, cap, calls; };

static struct kept *lookup(struct blocks *b, const struct cid *c)
{
    for (size_t i = 0; i < b->n; i++) if (cid_eq(&b->at[i].cid, c)) return &b->at[i];
    return NULL;
}

static int keep(void *arg, const struct cid *c, const uint8_t *p, size_t n)
{
    struct blocks *b = arg;
    b->calls++;
    struct kept *old = lookup(b, c);
    if (old) {
        assert_true(old->n == n && !memcmp(old->p, p, n));
        return 0;
    }
    if (b->n == b->cap) b->at = realloc(b->at, (b->cap = b->cap ? b->cap * 2 : 64) * sizeof *b->at);
    uint8_t *copy = malloc(n + 1);
    memcpy(copy, p, n);
    b->at[b->n++] = (struct kept){ *c, copy, n, false };
    return 0;
}

static void forget(struct blocks *b)
{
    for (size_t i = 0; i < b->n; i++) free(b->at[i].p);
    free(b->at);
    *b = (struct blocks){ 0 };
}

/* The canonical CAR of a tree, hashed: header, then every block once, depth first. One number for all bytes of all blocks. */
struct car { EVP_MD_CTX *sha; uint64_t n; };

static void car_add(struct car *car, const void *p, size_t n)
{
    assert_int_equal(EVP_DigestUpdate(car->sha, p, n), 1);
    car->n += n;
}

static void car_block(struct car *car, struct blocks *b, const struct cid *c)
{
    struct kept *k = lookup(b, c);
    uint8_t cid[CID_BYTES], head[16];
    assert_non_null(k);
    if (k->seen) return;
    k->seen = true;
    size_t n = cid_encode(c, cid);
    car_add(car, head, varint_put(head, n + k->n));
    car_add(car, cid, n);
    car_add(car, k->p, k->n);
    if (c->codec == RAW) return;
    struct node node;
    struct pb_link l;
    assert_int_equal(node_read(k->p, k->n, &node), 0);
    while (link_next(&node.links, &l)) car_block(car, b, &l.cid);
}

static void car_of(struct blocks *b, const struct cid *root, struct json_object *want)
{
    struct car car = { EVP_MD_CTX_new(), 0 };
    uint8_t cid[CID_BYTES], sha[32], version[] = { 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 1 };
    size_t n = cid_encode(root, cid);
    const uint8_t head[] = { (uint8_t)(22 + n), 0xa2, 0x65, 'r', 'o', 'o', 't', 's', 0x81, 0xd8, 0x2a, 0x58, (uint8_t)(n + 1), 0 };
    EVP_DigestInit_ex(car.sha, EVP_sha256(), NULL);
    car_add(&car, head, sizeof head);
    car_add(&car, cid, n);
    car_add(&car, version, sizeof version);
    car_block(&car, b, root);
    EVP_DigestFinal_ex(car.sha, sha, NULL);
    EVP_MD_CTX_free(car.sha);
    assert_true(car.n == number(want, "car_bytes"));
    assert_memory_equal(sha, hex(text(want, "car_sha256")).p, 32);
}

static void check_result(struct blocks *b, const struct link *file, struct json_object *want)
{
    struct mintd_str bytes = hex(text(want, "cid_hex"));
    uint8_t cid[CID_BYTES];
    assert_cid_text(&file->cid, text(want, "cid"));
    assert_int_equal(cid_encode(&file->cid, cid), bytes.n);
    assert_memory_equal(cid, bytes.p, bytes.n);
    assert_true(file->tsize == number(want, "tsize"));
    assert_int_equal(b->n, number(want, "blocks"));
    struct kept *root = lookup(b, &file->cid);
    assert_int_equal(root->n, number(want, "root_block_bytes"));
    struct node node;
    if (file->cid.codec == DAG_PB) {
        assert_int_equal(node_read(root->p, root->n, &node), 0);
        assert_int_equal(node.n_links, number(want, "root_links"));
    }
    struct json_object *list = member(want, "block_list");
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        struct json_object *one = json_object_array_get_idx(list, i);
        struct cid c;
        assert_int_equal(cid_parse(str(text(one, "cid")), &c), 0);
        struct kept *k = lookup(b, &c);
        assert_non_null(k);
        assert_int_equal(k->n, number(one, "size"));
        if (member(one, "hex")) assert_memory_equal(k->p, hex(text(one, "hex")).p, k->n);
    }
    car_of(b, &file->cid, want);
}

static uint8_t *generate(struct json_object *input, size_t *ret_n)
{
    const char *gen = text(input, "gen");
    if (!strcmp(gen, "utf8")) { *ret_n = strlen(text(input, "text")); return (uint8_t *)strdup(text(input, "text")); }
    if (!strcmp(gen, "hex")) {
        struct mintd_str s = hex(text(input, "hex"));
        *ret_n = s.n;
        return memcpy(malloc(s.n + 1), s.p, s.n);
    }
    *ret_n = number(input, "size");
    uint8_t *p = calloc(1, *ret_n + 1);
    uint32_t x = 0x6d696e74;
    if (!strcmp(gen, "xorshift32")) for (size_t i = 0; i < *ret_n; i++) p[i] = (uint8_t)chance(&x);
    else assert_string_equal(gen, "zeros");
    return p;
}

static struct profile profile_of(struct json_object *o)
{
    return (struct profile){ (uint32_t)number(o, "chunk_size"), (uint32_t)number(o, "max_file_links"), (uint8_t)number(o, "cid_version"),
        json_object_get_boolean(need(o, "raw_leaves")) };
}

static void build(const struct profile *p, const uint8_t *data, size_t n, struct json_object *want)
{
    struct blocks b = { 0 };
    struct link file, again;
    const struct source from = { data, n, -1 };
    assert_int_equal(tree_build(p, &from, &(struct sink){ keep, &b }, &file), 0);
    assert_true(file.filesize == n);
    check_result(&b, &file, want);
    assert_int_equal(tree_build(p, &from, &(struct sink){ NULL, NULL }, &again), 0);       /* the address alone */
    assert_true(cid_eq(&file.cid, &again.cid));
    forget(&b);
}

static void test_files(void **state)
{
    (void)state;
    struct json_object *all = need(vectors, "files"), *sets = need(vectors, "parameter_sets");
    EACH(i, all) {
        struct json_object *v = json_object_array_get_idx(all, i), *results = need(v, "results");
        size_t n;
        uint8_t *data = generate(need(v, "input"), &n);
        assert_int_equal(n, number(v, "size"));
        json_object_object_foreach(results, name, want) {
            const struct profile p = profile_of(need(sets, name));
            if (!strcmp(name, "unixfs-v1-2025")) assert_memory_equal(&p, &profile_v1, offsetof(struct profile, raw_leaves));
            if (!strcmp(name, "unixfs-v0-2015")) assert_memory_equal(&p, &profile_v0, offsetof(struct profile, raw_leaves));
            build(&p, data, n, want);
        }
        free(data);
    }
}

static void test_small_trees(void **state)
{
    (void)state;
    struct json_object *all = need(vectors, "small_parameter_files");
    EACH(i, all) {
        struct json_object *v = json_object_array_get_idx(all, i);
        const struct profile p = profile_of(need(v, "params"));
        size_t n;
        uint8_t *data = generate(need(v, "input"), &n);
        build(&p, data, n, need(v, "result"));
        free(data);
    }
}

/* ---- sources */
static int file_of(const uint8_t *p, size_t n)
{
    int fd = memfd_create("source", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    return fd;
}

static void test_fd(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 24, 25, 217, 649 };
    static const struct profile small[] = { { 8, 3, 1, true }, { 8, 3, 0, false } };
    uint8_t data[1024];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)chance(&x);
    for (size_t i = 0; i < LEN(sizes) * 2; i++) {
        size_t n = sizes[i / 2];
        struct link a, b;
        int fd = file_of(data, n);
        lseek(fd, 3, SEEK_SET);                            /* where the owner stands does not matter and does not change */
        assert_int_equal(tree_build(&small[i % 2], &(struct source){ data, n, -1 }, &(struct sink){ NULL, NULL }, &a), 0);
        assert_int_equal(tree_build(&small[i % 2], &(struct source){ NULL, n, fd }, &(struct sink){ NULL, NULL }, &b), 0);
        assert_true(cid_eq(&a.cid, &b.cid) && a.tsize == b.tsize);
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 3);
        assert_int_equal(tree_build(&small[i % 2], &(struct source){ NULL, n + 1, fd }, &(struct sink){ NULL, NULL }, &b), -ENODATA);
        close(fd);
    }
    struct link l;
    assert_int_equal(tree_build(&small[0], &(struct source){ NULL, 5, 999 }, &(struct sink){ NULL, NULL }, &l), -EBADF);
}

static int stop_at(void *arg, const struct cid *c, const uint8_t *p, size_t n)
{
    (void)c; (void)p; (void)n;
    return --*(int *)arg ? 0 : -EXDEV;
}

static void test_sink_stops(void **state)
{
    (void)state;
    static const struct profile p = { 8, 3, 1, true };
    uint8_t data[80] = { 0 };
    struct link l;
    for (int blocks = 1; blocks <= 16; blocks++) {         /* ten leaves, four parents, two above them, the root: 17 */
        int left = blocks;
        assert_int_equal(tree_build(&p, &(struct source){ data, sizeof data, -1 }, &(struct sink){ stop_at, &left }, &l), -EXDEV);
    }
    int left = 18;
    assert_int_equal(tree_build(&p, &(struct source){ data, sizeof data, -1 }, &(struct sink){ stop_at, &left }, &l), 0);
    assert_int_equal(left, 1);
}

static void test_too_deep(void **state)
{
    (void)state;
    static const struct profile p = { 1, 2, 1, true };
    static uint8_t data[1 << 12];
    struct link l;
    assert_int_equal(tree_build(&p, &(struct source){ data, 1 << 11, -1 }, &(struct sink){ NULL, NULL }, &l), 0);
    assert_int_equal(tree_build(&p, &(struct source){ data, 1 << 12, -1 }, &(struct sink){ NULL, NULL }, &l), -EFBIG);
}

static int set_up(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/vectors/ipfs.json", getenv("MINTD_SOURCE"));
    vectors = json_object_from_file(path);
    return vectors ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    json_object_put(vectors);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_varints), cmocka_unit_test(test_cid_encodings), cmocka_unit_test(test_cids_refused),
        cmocka_unit_test(test_dag_pb), cmocka_unit_test(test_unixfs), cmocka_unit_test(test_nodes_refused), cmocka_unit_test(test_noise),
        cmocka_unit_test(test_files), cmocka_unit_test(test_small_trees), cmocka_unit_test(test_fd), cmocka_unit_test(test_sink_stops),
        cmocka_unit_test(test_too_deep) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
