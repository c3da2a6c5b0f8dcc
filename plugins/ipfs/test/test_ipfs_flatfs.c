/* The block store with a host of the test's own: the order of syncs and names, syncs that fail, full and read-only disks. */
#include <json-c/json.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../base.c"
#include "../cid.c"
#include "../flatfs.c"
#include "tmp.h"

struct mintd_ctx { unsigned syncs, fail_at, warned; int err; };
static struct mintd_ctx ctx;
static char dir[4096];

static int fake_sync(struct mintd_ctx *c, int fd)
{
    assert_true(fcntl(fd, F_GETFD) >= 0);
    return ++c->syncs == c->fail_at ? -c->err : 0;
}

static void fake_random(struct mintd_ctx *c, void *p, size_t n) { (void)c; memset(p, 7, n); }
static int64_t fake_wall(struct mintd_ctx *c) { (void)c; return (int64_t)time(NULL) * 1000000; }
static void fake_metric(struct mintd_ctx *c, uint32_t i, struct mintd_str l, int64_t v) { (void)c; (void)i; (void)l; (void)v; }
static void fake_log(struct mintd_ctx *c, struct mintd_op *op, uint32_t level, struct mintd_str msg, struct mintd_vec fields)
{
    (void)op; (void)msg; (void)fields;
    c->warned += level <= MINTD_WARN;
}

static const struct mintd_host host = { .size = sizeof host, .sync = fake_sync, .random = fake_random, .wall_us = fake_wall,
    .log = fake_log, .metric = fake_metric };

static struct ipfs store_at(const char *path)
{
    static char copy[8192];
    snprintf(copy, sizeof copy, "%s", path);
    ctx = (struct mintd_ctx){ 0 };
    return (struct ipfs){ .host = &host, .ctx = &ctx, .path = copy, .root = -1 };
}

static struct ipfs fresh(void)
{
    static unsigned n;
    struct trouble t;
    snprintf(dir, sizeof dir, "%s/store-%u", tmp_dir(), n++);
    struct ipfs fs = store_at(dir);
    if (!flatfs_open(&fs, &t)) fail_msg("%s", t.msg);
    return fs;
}

static void digest_of(const void *p, size_t n, uint8_t ret[DIGEST])
{
    struct cid c;
    assert_true(cid_of(1, RAW, p, n, &c));
    memcpy(ret, c.digest, DIGEST);
}

static bool put_number(struct batch *b, unsigned i)
{
    char text[32];
    uint8_t digest[DIGEST];
    int n = snprintf(text, sizeof text, "block %u", i);
    digest_of(text, (size_t)n, digest);
    return flatfs_put(b, digest, (const uint8_t *)text, (size_t)n);
}

static int get_number(struct ipfs *fs, unsigned i)
{
    char text[32];
    uint8_t digest[DIGEST], *p;
    size_t got;
    int n = snprintf(text, sizeof text, "block %u", i);
    digest_of(text, (size_t)n, digest);
    int r = flatfs_get(fs, digest, &p, &got);
    if (r) return r;
    assert_int_equal(got, n);
    assert_memory_equal(p, text, got);
    free(p);
    return 0;
}

static unsigned files_in(int root, const char *name)
{
    unsigned n = 0;
    DIR *d = fdopendir(openat(root, name, O_RDONLY | O_DIRECTORY));
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static unsigned open_fds(void) { return files_in(AT_FDCWD, "/proc/self/fd"); }

/* ---- */
static void test_paths(void **state)
{
    (void)state;
    char path[4096], got[BLOCK_PATH], want[BLOCK_PATH + 8];
    snprintf(path, sizeof path, "%s/tests/vectors/ipfs.json", getenv("MINTD_SOURCE"));
    struct json_object *all = json_object_from_file(path), *list = NULL;
    assert_true(json_object_object_get_ex(all, "flatfs", &list));
    assert_true(json_object_array_length(list) >= 10);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *v = json_object_array_get_idx(list, i), *cid = NULL, *file = NULL;
        json_object_object_get_ex(v, "cid", &cid);
        json_object_object_get_ex(v, "path", &file);
        struct cid c;
        const char *text = json_object_get_string(cid);
        assert_int_equal(cid_parse((struct mintd_str){ text, strlen(text) }, &c), 0);
        flatfs_path(c.digest, got);
        snprintf(want, sizeof want, "blocks/%s", got);
        assert_string_equal(want, json_object_get_string(file));
        char shard[3];
        shard_name(shard_of(got), shard);
        assert_memory_equal(shard, got, 2);
    }
    json_object_put(all);
}

static void test_round_trip(void **state)
{
    (void)state;
    enum { N = 300 };
    struct ipfs fs = fresh();
    struct batch b = { .fs = &fs };
    unsigned before = open_fds();
    ctx.syncs = 0;
    for (unsigned i = 0; i < N; i++) {
        assert_true(put_number(&b, i));
        assert_true(put_number(&b, i / 2));                /* there already, or on its way */
        assert_true(open_fds() <= before + BATCH_FILES);
    }
    assert_int_equal(ctx.syncs, N - N % BATCH_FILES);      /* what left the window so far */
    assert_int_equal(get_number(&fs, N - 1), -ENOENT);     /* no name before its bytes are safe */
    assert_true(flatfs_commit(&b));
    assert_int_equal(b.written, N);
    assert_int_equal(open_fds(), before);
    unsigned shards = files_in(fs.root, ".") - 1;          /* SHARDING */
    assert_int_equal(ctx.syncs, N + shards + 1);           /* each file, each folder, the folder of folders */
    assert_int_equal(files_in(fs.root, TEMP), 0);
    for (unsigned i = 0; i < N; i++) assert_int_equal(get_number(&fs, i), 0);
    struct batch again = { .fs = &fs };
    ctx.syncs = 0;
    for (unsigned i = 0; i < N; i++) assert_true(put_number(&again, i));
    assert_true(flatfs_commit(&again));
    assert_int_equal(again.written, 0);
    assert_int_equal(ctx.syncs, shards);                   /* names that an earlier process may not have synced */
    assert_int_equal(ctx.warned, 0);
    flatfs_close(&fs);
}

/* Whichever sync fails: the put fails, nothing has a name without its bytes, nothing is left open or lying about; a repeat works. */
static void test_sync_fails(void **state)
{
    (void)state;
    enum { N = 10 };
    unsigned before = open_fds(), failures = 0;
    for (unsigned at = 1;; at++) {
        struct ipfs fs = fresh();
        struct batch b = { .fs = &fs };
        ctx = (struct mintd_ctx){ .fail_at = at, .err = EIO };
        bool ok = true;
        for (unsigned i = 0; ok && i < N; i++) ok = put_number(&b, i);
        if (ok) ok = flatfs_commit(&b);
        if (ok) { flatfs_close(&fs); break; }
        failures++;
        assert_int_equal(b.t.cls, MINTD_TRANSIENT);
        assert_string_equal(b.t.slug, "ipfs.io");
        assert_non_null(strstr(b.t.msg, "cannot sync"));
        assert_int_equal(files_in(fs.root, TEMP), 0);
        if (at <= N) assert_int_equal(files_in(fs.root, "."), 1);
        ctx.fail_at = 0;
        struct batch next = { .fs = &fs };
        for (unsigned i = 0; i < N; i++) assert_true(put_number(&next, i));
        assert_true(flatfs_commit(&next));
        for (unsigned i = 0; i < N; i++) assert_int_equal(get_number(&fs, i), 0);
        flatfs_close(&fs);
        assert_int_equal(open_fds(), before);
    }
    assert_true(failures > N);
}

static void test_damage(void **state)
{
    (void)state;
    struct ipfs fs = fresh();
    char path[BLOCK_PATH];
    uint8_t digest[DIGEST], *p;
    size_t n;
    uint64_t size;
    struct batch b = { .fs = &fs };
    assert_true(put_number(&b, 1) && flatfs_commit(&b));
    digest_of("block 1", 7, digest);
    flatfs_path(digest, path);
    static const char *const wrong[] = { "", "block 2", "block 1 ", "bloc" };
    for (size_t i = 0; i < LEN(wrong); i++) {
        int fd = openat(fs.root, path, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, wrong[i], strlen(wrong[i])), (ssize_t)strlen(wrong[i]));
        close(fd);
        assert_int_equal(flatfs_get(&fs, digest, &p, &n), -EBADMSG);
        ctx.warned = 0;
        struct batch fix = { .fs = &fs };
        assert_true(put_number(&fix, 1) && flatfs_commit(&fix));
        assert_int_equal(fix.written, 1);
        assert_int_equal(ctx.warned, 1);
        assert_int_equal(get_number(&fs, 1), 0);
    }
    int fd = openat(fs.root, path, O_WRONLY);
    assert_int_equal(ftruncate(fd, BLOCK_MAX + 1), 0);     /* never read into memory */
    close(fd);
    assert_int_equal(flatfs_get(&fs, digest, &p, &n), -EBADMSG);
    assert_int_equal(flatfs_size(&fs, digest, &size), 0);
    assert_true(size == BLOCK_MAX + 1);
    assert_int_equal(unlinkat(fs.root, path, 0), 0);
    assert_int_equal(flatfs_get(&fs, digest, &p, &n), -ENOENT);
    assert_int_equal(mkdirat(fs.root, path, 0755), 0);
    assert_int_equal(flatfs_get(&fs, digest, &p, &n), -EBADMSG);
    struct batch bad = { .fs = &fs };
    assert_false(put_number(&bad, 1));
    assert_string_equal(bad.t.slug, "ipfs.io");
    flatfs_close(&fs);
}

static void test_temp_removed(void **state)
{
    (void)state;
    struct ipfs fs = fresh();
    assert_int_equal(unlinkat(fs.root, TEMP, AT_REMOVEDIR), 0);
    struct batch b = { .fs = &fs };
    assert_true(put_number(&b, 1) && flatfs_commit(&b));
    assert_int_equal(get_number(&fs, 1), 0);
    flatfs_close(&fs);
}

/* ---- opening */
static void put_file(const char *name, const char *text)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void refused(const char *path, uint32_t cls, const char *slug, const char *msg)
{
    struct ipfs fs = store_at(path);
    struct trouble t;
    unsigned before = open_fds();
    assert_false(flatfs_open(&fs, &t));
    assert_int_equal(fs.root, -1);
    assert_int_equal(t.cls, cls);
    assert_string_equal(t.slug, slug);
    if (!strstr(t.msg, msg)) fail_msg("\"%s\" lacks \"%s\"", t.msg, msg);
    assert_int_equal(open_fds(), before);
}

static void test_open(void **state)
{
    (void)state;
    struct trouble t;
    char text[64] = "", deep[8192], path[4096];
    struct ipfs fs = fresh();
    int fd = openat(fs.root, "SHARDING", O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), sizeof SHARDING);
    close(fd);
    assert_string_equal(text, SHARDING "\n");
    flatfs_close(&fs);
    put_file("SHARDING", SHARDING);                        /* without a line end */
    fs = store_at(dir);
    assert_true(flatfs_open(&fs, &t));
    assert_int_equal(ctx.syncs, 0);
    flatfs_close(&fs);
    snprintf(path, sizeof path, "%.4000s/SHARDING", dir);
    refused(path, MINTD_PERMANENT, "ipfs.io", "cannot open the folder: Not a directory");
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    fs = store_at(deep);
    assert_true(flatfs_open(&fs, &t));
    assert_int_equal(ctx.syncs, 3 + 2);                    /* three folders above new ones, SHARDING, its folder */
    flatfs_close(&fs);
    put_file("SHARDING", "/repo/flatfs/shard/v1/prefix/2\n");
    refused(dir, MINTD_PERMANENT, "ipfs.sharding", "SHARDING is not /repo/flatfs/shard/v1/next-to-last/2: name another folder");
    put_file("SHARDING", "");
    refused(dir, MINTD_PERMANENT, "ipfs.sharding", "SHARDING is not");
    assert_int_equal(unlink(path), 0);
    put_file("letter.txt", "dear");
    refused(dir, MINTD_PERMANENT, "ipfs.foreign", "has files, but no SHARDING: it is no block store; name an empty folder");
    snprintf(path, sizeof path, "%.4000s/letter.txt/x", dir);
    refused(path, MINTD_PERMANENT, "ipfs.io", "cannot make the folder: Not a directory");
}

static void test_tidy(void **state)
{
    (void)state;
    struct ipfs fs = fresh();
    struct trouble t;
    const struct timespec old[2] = { { time(NULL) - 2 * STALE_S, 0 }, { time(NULL) - 2 * STALE_S, 0 } };
    flatfs_close(&fs);
    put_file(TEMP "/mintd-old", "x");
    put_file(TEMP "/mintd-young", "x");
    put_file(TEMP "/put-of-another-program", "x");
    fs = store_at(dir);
    assert_true(flatfs_open(&fs, &t));
    assert_int_equal(files_in(fs.root, TEMP), 3);
    assert_int_equal(utimensat(fs.root, TEMP "/mintd-old", old, 0), 0);
    assert_int_equal(utimensat(fs.root, TEMP "/put-of-another-program", old, 0), 0);
    flatfs_close(&fs);
    assert_true(flatfs_open(&fs, &t));
    assert_int_equal(files_in(fs.root, TEMP), 2);
    assert_int_equal(faccessat(fs.root, TEMP "/mintd-old", F_OK, 0), -1);
    flatfs_close(&fs);
}

/* ---- disks, in a child with mounts of its own */
enum { NO_MOUNT = 77 };

static void full_and_readonly(const char *at)
{
    struct ipfs fs = store_at(at);
    struct trouble t;
    static uint8_t big[200000];
    uint8_t digest[DIGEST];
    if (!flatfs_open(&fs, &t)) _exit(1);
    struct batch b = { .fs = &fs };
    if (!put_number(&b, 1) || !flatfs_commit(&b)) _exit(2);
    digest_of(big, sizeof big, digest);
    struct batch full = { .fs = &fs };
    if (flatfs_put(&full, digest, big, sizeof big)) _exit(3);
    if (full.t.cls != MINTD_TRANSIENT || strcmp(full.t.slug, "ipfs.full") || !strstr(full.t.msg, "cannot write a block: No space left")) _exit(4);
    if (files_in(fs.root, TEMP) || get_number(&fs, 1)) _exit(5);
    struct batch small = { .fs = &fs };
    if (!put_number(&small, 2) || !flatfs_commit(&small)) _exit(6);    /* room for this one */
    if (mount(NULL, at, NULL, MS_REMOUNT | MS_RDONLY, NULL)) _exit(NO_MOUNT);
    struct batch ro = { .fs = &fs };
    if (!put_number(&ro, 2)) _exit(7);                     /* there: nothing to write */
    if (put_number(&ro, 3)) _exit(8);
    if (ro.t.cls != MINTD_TRANSIENT || strcmp(ro.t.slug, "ipfs.readonly")) _exit(9);
    flatfs_close(&fs);
    if (flatfs_open(&fs, &t) || t.cls != MINTD_PERMANENT || strcmp(t.slug, "ipfs.readonly")) _exit(10);
    _exit(0);
}

static void test_disks(void **state)
{
    (void)state;
    char at[4096];
    snprintf(at, sizeof at, "%s/mnt", tmp_dir());
    assert_int_equal(mkdir(at, 0755), 0);
    pid_t pid = fork();
    if (!pid) {
        if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS)) _exit(NO_MOUNT);
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", at, "tmpfs", 0, "size=128k")) _exit(NO_MOUNT);
        full_and_readonly(at);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_MOUNT) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int tear_down(void **state)
{
    (void)state;
    tmp_clean();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_paths), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_sync_fails),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_temp_removed), cmocka_unit_test(test_open), cmocka_unit_test(test_tidy),
        cmocka_unit_test(test_disks) };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
