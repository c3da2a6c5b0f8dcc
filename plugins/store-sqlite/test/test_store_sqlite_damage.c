/* Files that are not what they should be, disks that are full, processes that die: a precise outcome or the data, never a crash. */
#include "fix.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct fix f;
static const struct mintd_vec none = { NULL, 0, 0 };

static int begin(void **state) { (void)state; fix_new(&f, "damage.db"); return 0; }
static int end(void **state)
{
    (void)state;
    fix_free(&f);
    tmp_clean();
    return 0;
}

static void put_file(const char *path, const void *p, size_t n)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

static char *get_file(const char *path, size_t *ret_n)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0) { *ret_n = 0; return NULL; }
    assert_int_equal(fstat(fd, &st), 0);
    char *p = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_n = (size_t)st.st_size;
    return p;
}

static void copy_file(const char *from, const char *to, const char *tail)
{
    char a[600], b[600];
    size_t n;
    snprintf(a, sizeof a, "%s%s", from, tail);
    snprintf(b, sizeof b, "%s%s", to, tail);
    char *p = get_file(a, &n);
    if (p) put_file(b, p, n);
    free(p);
}

static const struct fh_reply *start(const struct fh_opt *more)
{
    struct fh_opt opts[6] = { { "path", f.path } };
    for (int i = 0; more && more[i].name; i++) opts[i + 1] = more[i];
    if (f.open) { fh_reply_free(&f.reply); f.replied = false; fh_destroy(f.fh, &f.in); f.open = false; }
    fix_create(&f, opts);
    return call(&f, START, NULL, 0, none);
}

static void world_here(void)
{
    fix_free(&f);
    fix_world(&f, "damage.db");
    accept(&f, "a", 20, 5);
    chunk_at(&f, "b", 3, DONE);
    sqlite3_exec(raw(&f), "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    fix_close(&f);
}

static void raw_exec(const char *sql)
{
    if (sqlite3_exec(raw(&f), sql, NULL, NULL, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(f.raw));
    sqlite3_close(f.raw);
    f.raw = NULL;
}

/* ---- files that were never this store's */
static void migrate_steps(void **state)
{
    (void)state;
    assert_ok(start(NULL));
    const struct mintd_schema *s = call(&f, MIGRATE, NULL, 0, none)->res.rows.p;
    assert_int_equal(s->now, 0);
    uint32_t wanted = s->wanted;
    assert_true(wanted > 0 && s->identity.n == 0);
    struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_VENUE };
    struct mintd_commit c = { .size = sizeof c };
    assert_out(call(&f, QUERY, &q, 0, none), MINTD_PERMANENT, "store.schema");
    assert_out(call(&f, COMMIT, &c, 0, none), MINTD_PERMANENT, "store.schema");
    assert_out(call(&f, CLAIM, &c, 0, none), MINTD_PERMANENT, "store.schema");
    assert_out(call(&f, STAGE, &c, 0, none), MINTD_PERMANENT, "store.schema");
    s = call(&f, MIGRATE, NULL, 1, none)->res.rows.p;
    assert_int_equal(s->now, wanted);
    assert_int_equal(s->identity.n, 32);
    char identity[33] = "";
    memcpy(identity, s->identity.p, 32);
    for (int i = 0; i < 2; i++) assert_str(((const struct mintd_schema *)call(&f, MIGRATE, NULL, 1, none)->res.rows.p)->identity, identity);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM migrations"), wanted);
    fix_close(&f);
    assert_ok(start(NULL));
    assert_str(((const struct mintd_field *)f.reply.res.rows.p)[0].val, identity);
}

static void not_ours(void **state)
{
    (void)state;
    char noise[9000];
    memset(noise, 'n', sizeof noise);
    put_file(f.path, "", 0);
    assert_ok(start(NULL));                                /* an empty file is an empty database */
    fix_close(&f);
    unlink(f.path);
    put_file(f.path, noise, sizeof noise);
    assert_out(start(NULL), MINTD_PERMANENT, "store.corrupt");
    put_file(f.path, noise, 5);
    assert_out(start(NULL), MINTD_PERMANENT, "store.corrupt");
    unlink(f.path);
    fix_close(&f);
    assert_int_equal(sqlite3_open(f.path, &f.raw), SQLITE_OK);
    raw_exec("CREATE TABLE wallet (x); PRAGMA application_id = 77");
    size_t n, m;
    char *before = get_file(f.path, &n);
    assert_out(start(NULL), MINTD_PERMANENT, "store.foreign");
    char *after = get_file(f.path, &m);
    assert_true(n == m && !memcmp(before, after, n));      /* and it is as it was */
    free(before);
    free(after);
    raw_exec("PRAGMA application_id = 0");
    assert_out(start(NULL), MINTD_PERMANENT, "store.foreign");
    raw_exec("PRAGMA application_id = 1835955300");        /* ours, and nothing of ours in it */
    assert_out(start(NULL), MINTD_PERMANENT, "store.schema");
}

static void newer(void **state)
{
    (void)state;
    world_here();
    raw_exec("INSERT INTO migrations SELECT 99, name, checksum, 1 FROM migrations WHERE version = 1");
    assert_out(start(NULL), MINTD_PERMANENT, "store.newer_schema");
    raw_exec("UPDATE migrations SET version = 4294967297 WHERE version = 99");
    assert_out(start(NULL), MINTD_PERMANENT, "store.newer_schema");
    raw_exec("DELETE FROM migrations WHERE version > 99; UPDATE migrations SET checksum = 'other'");
    assert_out(start(NULL), MINTD_PERMANENT, "store.schema");
    raw_exec("DELETE FROM migrations");
    assert_out(start(NULL), MINTD_PERMANENT, "store.schema");
}

static void changed_schema(void **state)
{
    (void)state;
    static const struct { const char *sql, *slug; } changes[] = {
        { "DROP TRIGGER chunks_proof", "store.triggers" },
        { "DROP TRIGGER chunks_keep; CREATE TRIGGER chunks_keep BEFORE DELETE ON chunks WHEN 0 BEGIN SELECT RAISE(ABORT, 'chunks_keep'); END", "store.triggers" },
        { "CREATE TRIGGER extra AFTER INSERT ON chunks BEGIN DELETE FROM meta WHERE 0; END", "store.triggers" },
        { "DROP INDEX chunks_serial", "store.schema" },
        { "ALTER TABLE spend ADD COLUMN note TEXT", "store.schema" },
        { "DROP TABLE rollups", "store.schema" },
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        world_here();
        raw_exec(changes[i].sql);
        assert_out(start(NULL), MINTD_PERMANENT, changes[i].slug);
        bool repairs = !strcmp(changes[i].slug, "store.triggers");
        const struct fh_reply *r = start((struct fh_opt[]){ { "repair_triggers", "true" }, { NULL, NULL } });
        if (!repairs) { assert_out(r, MINTD_PERMANENT, "store.schema"); continue; }
        assert_ok(r);
        struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_VENUE };
        assert_out(call(&f, QUERY, &q, 0, none), MINTD_PERMANENT, "store.schema");
        fix_migrate(&f);
        assert_ok(call(&f, QUERY, &q, 0, none));
        fix_close(&f);
        assert_ok(start(NULL));                            /* as new, without the option */
        fix_close(&f);
    }
}

static void wrong_paths(void **state)
{
    (void)state;
    char dir[512];
    snprintf(dir, sizeof dir, "%s", tmp_dir());
    snprintf(f.path, sizeof f.path, "%s", dir);
    assert_out(start(NULL), MINTD_PERMANENT, "store.path");
    snprintf(f.path, sizeof f.path, "%.400s/missing/x.db", dir);
    assert_out(start(NULL), MINTD_PERMANENT, "store.path");
    snprintf(f.path, sizeof f.path, "%.400s/file", dir);
    put_file(f.path, "", 0);
    snprintf(f.path, sizeof f.path, "%.400s/file/x.db", dir);
    assert_out(start(NULL), MINTD_PERMANENT, "store.path");
    snprintf(f.path, sizeof f.path, "/proc/self/x.db");    /* a folder that takes no files */
    const struct fh_reply *r = start(NULL);
    assert_int_equal(r->out.cls, MINTD_PERMANENT);
    if (geteuid() != 0) {
        snprintf(f.path, sizeof f.path, "%.400s/ro.db", dir);
        put_file(f.path, "", 0);
        assert_int_equal(chmod(f.path, 0400), 0);
        assert_out(start(NULL), MINTD_PERMANENT, "store.readonly");
        assert_int_equal(chmod(f.path, 0600), 0);
        assert_int_equal(chmod(dir, 0500), 0);
        assert_out(start(NULL), MINTD_PERMANENT, "store.readonly");
        assert_int_equal(chmod(dir, 0700), 0);
    }
    snprintf(f.path, sizeof f.path, "%.400s/damage.db", dir);
}

/* ---- damage */
static void truncated(void **state)
{
    (void)state;
    world_here();
    size_t n;
    char *whole = get_file(f.path, &n);
    static const size_t cuts[] = { 2, 99, 511, 512, 1000, 4096, 5000, 8192, 40960 };
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        put_file(f.path, whole, cuts[i]);
        const struct fh_reply *r = start(NULL);
        if (!r->out.cls) fail_msg("a file cut to %zu of %zu bytes was started", cuts[i], n);
        assert_out(r, MINTD_PERMANENT, "store.corrupt");
    }
    put_file(f.path, whole, n);
    assert_ok(start(NULL));
    fix_close(&f);
    free(whole);
}

/* What can be read of the damaged file is either refused or right. */
static void look_at_all(void)
{
    uint64_t ids[4] = { 1 << 24, (1 << 24) + 5, 2 << 24, (uint64_t)1 << 62 };
    const struct mintd_query queries[] = { { .kind = MINTD_DB_VENUE }, { .kind = MINTD_DB_COLLECTION }, { .kind = MINTD_DB_REQUEST },
        { .kind = MINTD_DB_ITEM, .request = 1 }, { .kind = MINTD_DB_CHUNK, .request = 1 }, { .kind = MINTD_DB_CHUNK, .ids = { ids, 4, 8 } },
        { .kind = MINTD_DB_ATTEMPT, .ids = { ids, 4, 8 } }, { .kind = MINTD_DB_EVENT }, { .kind = MINTD_DB_LEASE }, { .kind = MINTD_DB_META },
        { .kind = MINTD_DB_LANE }, { .kind = MINTD_DB_COUNT } };
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct mintd_query q = queries[i];
        q.size = sizeof q;
        const struct fh_reply *r = call(&f, QUERY, &q, 1, none);
        if (r->out.cls) assert_true(str_eq(r->out.slug, S("store.corrupt")) || str_eq(r->out.slug, S("store.sqlite")));
    }
}

static void flipped(void **state)
{
    (void)state;
    world_here();
    size_t n;
    char *whole = get_file(f.path, &n);
    int started = 0, refused = 0;
    for (size_t at = 0; at < n; at += at < 100 ? 3 : 997) {
        whole[at] ^= 0x55;
        put_file(f.path, whole, n);
        bool verify = at % 2;
        const struct fh_reply *r = start(verify ? (struct fh_opt[]){ { "verify", "true" }, { NULL, NULL } } : NULL);
        if (!r->out.cls) {
            started++;
            look_at_all();
            HEAD(&f, VENUE, venue, .name = S("after"));
            const struct fh_reply *w = commit_as(&f, f.slot, f.epoch);
            clear(&f);
            if (w->out.cls && !str_eq(w->out.slug, S("store.corrupt")) && !str_eq(w->out.slug, S("store.fenced")) && !str_eq(w->out.slug, S("store.sqlite")))
                fail_msg("offset %zu: " STR_FMT ": " STR_FMT, at, STR_ARG(w->out.slug), STR_ARG(w->out.msg));
        } else {
            refused++;
            if (!(str_eq(r->out.slug, S("store.corrupt")) || str_eq(r->out.slug, S("store.schema")) || str_eq(r->out.slug, S("store.triggers"))
                || str_eq(r->out.slug, S("store.foreign")) || str_eq(r->out.slug, S("store.newer_schema")) || str_eq(r->out.slug, S("store.sqlite"))))
                fail_msg("offset %zu: " STR_FMT ": " STR_FMT, at, STR_ARG(r->out.slug), STR_ARG(r->out.msg));
        }
        whole[at] ^= 0x55;
        char log[600];
        if (f.open) { fh_reply_free(&f.reply); f.replied = false; fh_destroy(f.fh, &f.in); f.open = false; }
        static const char *const tails[] = { "-wal", "-shm", "-journal" };
        for (int k = 0; k < 3; k++) { snprintf(log, sizeof log, "%s%s", f.path, tails[k]); unlink(log); }
    }
    printf("# flipped: %d started, %d refused\n", started, refused);
    assert_true(refused > 50 && started > 100);
    free(whole);
}

/* ---- no room */
static void full(void **state)
{
    (void)state;
    fix_create(&f, (struct fh_opt[]){ { "path", f.path }, { "max_size", "1 MiB" }, { NULL, NULL } });
    assert_ok(call(&f, START, NULL, 0, none));
    fix_migrate(&f);
    struct mintd_lease_of l = lease(&f, "one", 30000, 0);
    f.slot = l.slot;
    f.epoch = l.epoch;
    f.venue = venue(&f, "arena");
    f.collection = collection(&f, f.venue, "show", MINTD_COL_READY);
    int accepted = 0;
    char key[16];
    for (;; accepted++) {
        snprintf(key, sizeof key, "k%d", accepted);
        accept_group(&f, key, f.collection, 200, 10);
        const struct fh_reply *r = commit_as(&f, f.slot, f.epoch);
        clear(&f);
        if (r->out.cls) { assert_out(r, MINTD_TRANSIENT, "store.full"); break; }
        assert_int_equal(((const struct mintd_applied *)r->res.rows.p)->verdict, MINTD_APPLIED);
        assert_true(accepted < 1000);
    }
    assert_true(accepted > 2);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM items"), accepted * 200);
    uint32_t n;
    const struct mintd_db_chunk *c = claim(&f, (int64_t)f.collection, 1, 0, &n);     /* what needs no room still goes on */
    step(&f, c->id, UPLOADING, UPLOADED, 0);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    fix_close(&f);
    assert_ok(start((struct fh_opt[]){ { "max_size", "64 MiB" }, { NULL, NULL } }));
    accept_group(&f, key, f.collection, 200, 10);          /* the same request again */
    assert_verdict(commit(&f), MINTD_APPLIED, "");
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM requests"), accepted + 1);
}

static void no_descriptors(void **state)
{
    (void)state;
    world_here();
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    fix_create(&f, (struct fh_opt[]){ { "path", f.path }, { NULL, NULL } });
    int probe = open("/dev/null", O_RDONLY);
    for (int more = 0; more < 4; more++) {
        small = (struct rlimit){ (rlim_t)(probe + more), old.rlim_max };
        close(probe);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
        const struct fh_reply *r = call(&f, START, NULL, 0, none);
        uint32_t cls = r->out.cls;
        bool right = !cls || str_eq(r->out.slug, S("store.open"));
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        if (!right) fail_msg("%d free: " STR_FMT ": " STR_FMT, more, STR_ARG(r->out.slug), STR_ARG(r->out.msg));
        if (!more) assert_int_equal(cls, MINTD_TRANSIENT);
        probe = open("/dev/null", O_RDONLY);
    }
    close(probe);
    assert_ok(call(&f, START, NULL, 0, none));             /* and then there are some again */
}

/* ---- a process that dies: what was answered is there, however the log ends */
static void torn_log(void **state)
{
    (void)state;
    fix_free(&f);
    fix_world(&f, "live.db");
    char copy[600], log[620];
    snprintf(copy, sizeof copy, "%s/copy.db", tmp_dir());
    snprintf(log, sizeof log, "%s-wal", copy);
    for (int i = 0; i < 12; i++) {
        char key[16];
        snprintf(key, sizeof key, "t%d", i);
        accept(&f, key, 7, 2);
        if (i % 5 == 4) sqlite3_exec(raw(&f), "PRAGMA wal_checkpoint(PASSIVE)", NULL, NULL, NULL);
        int64_t answered = SQL_INT(&f, "SELECT count(*) FROM items");
        static const int tails[] = { 0, 1, 24, 500, 4096, 4120, 9000 };
        for (size_t k = 0; k < ARRAY_LEN(tails); k++) {
            copy_file(f.path, copy, "");
            copy_file(f.path, copy, "-wal");
            char junk[9000];
            memset(junk, (int)(0x5a + k), sizeof junk);    /* frames of the next commit that did not get whole */
            int fd = open(log, O_WRONLY | O_APPEND);
            assert_int_equal(write(fd, junk, (size_t)tails[k]), tails[k]);
            close(fd);
            struct fix g;
            fix_new(&g, "copy.db");
            fix_open(&g);
            assert_int_equal(SQL_INT(&g, "SELECT count(*) FROM items"), answered);
            assert_int_equal(SQL_INT(&g, "SELECT count(*) FROM pragma_quick_check WHERE quick_check <> 'ok'"), 0);
            g.slot = f.slot;
            g.epoch = f.epoch;
            assert_true(venue(&g, "next") > 0);
            fix_free(&g);
            unlink(log);
        }
    }
}

/* ---- the copy */
static void backups(void **state)
{
    (void)state;
    fix_free(&f);
    fix_world(&f, "live.db");
    assert_out(call(&f, MIGRATE, NULL, 4, none), MINTD_PERMANENT, "store.no_backup");
    fix_close(&f);
    char copy[600], stale[640];
    snprintf(copy, sizeof copy, "%s/copy.db", tmp_dir());
    const struct fh_opt opts[] = { { "backup", copy }, { NULL, NULL } };
    snprintf(stale, sizeof stale, "%s.tmp-journal", copy);
    put_file(stale, "junk", 4);
    for (int round = 0; round < 3; round++) {
        assert_ok(start(opts));
        char key[16];
        snprintf(key, sizeof key, "b%d", round);
        accept(&f, key, 50, 10);
        int64_t want = SQL_INT(&f, "SELECT count(*) FROM items");
        assert_ok(call(&f, MIGRATE, NULL, 4, none));
        fix_close(&f);
        struct fix g;
        fix_new(&g, "copy.db");
        fix_create(&g, (struct fh_opt[]){ { "path", g.path }, { "verify", "true" }, { NULL, NULL } });
        assert_ok(call(&g, START, NULL, 0, none));
        assert_int_equal(SQL_INT(&g, "SELECT count(*) FROM items"), want);
        fix_close(&g);
        snprintf(stale, sizeof stale, "%s-wal", copy);     /* the log of somebody who looked at the last copy and died */
        put_file(stale, "junk", 4);
        snprintf(g.path, sizeof g.path, "%s/nothing", tmp_dir());
        fix_free(&g);
        assert_int_not_equal(access(stale, F_OK), -1);
    }
    snprintf(copy, sizeof copy, "%s/missing/copy.db", tmp_dir());
    assert_ok(start(opts));
    assert_out(call(&f, MIGRATE, NULL, 4, none), MINTD_TRANSIENT, "store.backup");
    struct fh_inst in;
    assert_int_equal(fh_create(f.fh, "store-sqlite", (struct fh_opt[]){ { "path", "/x/a" }, { "backup", "/x/a" }, { NULL, NULL } }, &in), -EINVAL);
}

static void closed(void **state)
{
    (void)state;
    fix_create(&f, (struct fh_opt[]){ { "path", f.path }, { NULL, NULL } });
    struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_VENUE };
    assert_out(call(&f, QUERY, &q, 0, none), MINTD_TRANSIENT, "store.closed");
    assert_out(call(&f, MIGRATE, NULL, 1, none), MINTD_TRANSIENT, "store.closed");
    assert_ok(call(&f, START, NULL, 0, none));
    fix_migrate(&f);
    assert_ok(call(&f, DRAIN, NULL, 0, none));
    assert_out(call(&f, QUERY, &q, 0, none), MINTD_TRANSIENT, "store.closed");
    assert_ok(call(&f, START, NULL, 0, none));
    assert_ok(call(&f, QUERY, &q, 0, none));
}

/* Another process in the middle of writing: waited for in the host's time, then told. */
static void busy(void **state)
{
    (void)state;
    fix_free(&f);
    fix_world(&f, "damage.db");
    assert_int_equal(sqlite3_exec(raw(&f), "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    HEAD(&f, VENUE, venue, .name = S("late"));
    assert_out(commit_as(&f, f.slot, f.epoch), MINTD_TRANSIENT, "store.busy");
    assert_int_equal(sqlite3_exec(raw(&f), "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_verdict(commit(&f), MINTD_APPLIED, "");
}

/* ---- a disk that fails: SQLite's own file layer with two calls that can be told to */
static const sqlite3_io_methods *real_io[2];               /* of a database, which has locks, and of its logs */
static sqlite3_io_methods bad_io[2];
static int sync_rc, write_rc;

static int bad_sync(sqlite3_file *file, int flags) { return sync_rc ? sync_rc : real_io[file->pMethods - bad_io]->xSync(file, flags); }
static int bad_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    return write_rc ? write_rc : real_io[file->pMethods - bad_io]->xWrite(file, p, n, at);
}

static int bad_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
    (void)vfs;
    int rc = unix_vfs->xOpen(unix_vfs, name, file, flags, out);
    if (rc) return rc;
    int log = !(flags & SQLITE_OPEN_MAIN_DB);
    real_io[log] = file->pMethods;
    bad_io[log] = *file->pMethods;
    bad_io[log].xSync = bad_sync;
    bad_io[log].xWrite = bad_write;
    file->pMethods = &bad_io[log];
    return 0;
}

static const struct fh_reply *try_venue(const char *name)
{
    HEAD(&f, VENUE, venue, .name = str_of(name));
    const struct fh_reply *r = commit_as(&f, f.slot, f.epoch);
    clear(&f);
    return r;
}

static void bad_disk(void **state)
{
    (void)state;
    sqlite3_vfs vfs = *sqlite3_vfs_find("unix");
    vfs.zName = "bad";
    vfs.xOpen = bad_open;
    assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
    fix_free(&f);
    fix_world(&f, "damage.db");
    write_rc = SQLITE_FULL;
    assert_out(try_venue("full"), MINTD_TRANSIENT, "store.full");
    write_rc = SQLITE_IOERR_WRITE;
    assert_out(try_venue("torn"), MINTD_AMBIGUOUS, "store.io");
    write_rc = 0;
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM venues"), 1);
    assert_ok(try_venue("good"));                          /* after a failed write it goes on */
    sync_rc = SQLITE_IOERR_FSYNC;
    assert_out(try_venue("doubt"), MINTD_AMBIGUOUS, "store.io");
    sync_rc = 0;
    assert_out(try_venue("more"), MINTD_PERMANENT, "store.broken");           /* after a failed sync it does not */
    struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_VENUE };
    assert_out(call(&f, QUERY, &q, 0, none), MINTD_PERMANENT, "store.broken");
    fix_close(&f);
    assert_ok(start(NULL));
    assert_ok(try_venue("doubt"));                         /* sent again: there once, whichever it was */
    assert_ok(try_venue("more"));
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM venues WHERE name IN ('arena', 'good', 'doubt', 'more')"), 4);
    fix_close(&f);
    sqlite3_vfs_unregister(&vfs);
    sqlite3_vfs_register(sqlite3_vfs_find("unix"), 1);
}

static int gone(void **state) { (void)state; tmp_clean(); return 0; }

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
    const struct CMUnitTest tests[] = { T(migrate_steps), T(not_ours), T(newer), T(changed_schema), T(wrong_paths), T(truncated), T(flipped),
        T(full), T(no_descriptors), T(torn_log), T(backups), T(closed), T(busy),
        T(bad_disk) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
