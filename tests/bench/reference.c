/* What the bench compares with: the same schema and the same durable steps without a daemon, a chain or JSON, as fast as one loop
 * of SQLite statements goes. Works on a fresh database that `mintd migrate` made.
 *
 *   bench-reference chunks DB COUNT ITEMS_PER_COMMIT    chunks of ten, steps of many chunks in a commit
 *   bench-reference rows DB COUNT 1                     a chunk per item, every step of every item a commit of its own
 *   bench-reference accept DB COUNT ITEMS_PER_COMMIT    the rows of an accepted request alone, a request a commit
 *   bench-reference calibrate FOLDER                    200 fdatasyncs and a fixed Ed25519 loop, to see a noisy machine */
#include <fcntl.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 10, BODY = 330, RAW = 700, SYNCS = 200, SIGNATURES = 2000 };
typedef long long i64;

static sqlite3 *db;

static void die(const char *what)
{
    fprintf(stderr, "bench-reference: %s: %s\n", what, db ? sqlite3_errmsg(db) : "");
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL)) die(sql);
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *st;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL)) die(sql);
    return st;
}

static void step(sqlite3_stmt *st)
{
    if (sqlite3_step(st) != SQLITE_DONE) die(sqlite3_sql(st));
    sqlite3_reset(st);
}

/* ---- the four durable steps of a ticket */
static void accept_items(i64 request, i64 first, i64 n, i64 chunk)
{
    static sqlite3_stmt *req, *item, *ch, *seal, *col;
    static char body[BODY + 1];
    char name[32], key[32];
    if (!req) {
        memset(body, 'x', BODY);
        req = prepare("INSERT INTO requests (venue, idem_key, state, slot, epoch, created_at) VALUES (1, ?1, 0, 1, 1, 1)");
        item = prepare("INSERT INTO items (id, venue, ticket, ord, uri, body) VALUES (?1, 1, ?2, ?3, ?2, ?4)");
        ch = prepare("INSERT INTO chunks (id, n, kind, origin, lane, collection, venue, request, state, accepted_at) VALUES (?1, ?2, 0, 0, 1, 1, 1, ?3, 1, 1)");
        col = prepare("UPDATE collections SET accepted = accepted + ?1 WHERE id = 1");
        seal = prepare("UPDATE requests SET state = 1, body_hash = zeroblob(32), n_items = ?2, sealed_at = 1 WHERE id = ?1");
    }
    snprintf(key, sizeof key, "k%lld", request);
    run("BEGIN IMMEDIATE");
    sqlite3_bind_text(req, 1, key, -1, SQLITE_STATIC);
    step(req);
    for (i64 i = 0; i < n; i++) {
        snprintf(name, sizeof name, "ticket-%08lld", first + i);
        sqlite3_bind_int64(item, 1, request << 24 | i);
        sqlite3_bind_text(item, 2, name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(item, 3, i);
        sqlite3_bind_text(item, 4, body, BODY, SQLITE_STATIC);
        step(item);
    }
    for (i64 i = 0; i < n; i += chunk) {
        sqlite3_bind_int64(ch, 1, request << 24 | i);
        sqlite3_bind_int64(ch, 2, n - i < chunk ? n - i : chunk);
        sqlite3_bind_int64(ch, 3, request);
        step(ch);
    }
    sqlite3_bind_int64(col, 1, n);
    step(col);
    sqlite3_bind_int64(seal, 1, request);
    sqlite3_bind_int64(seal, 2, n);
    step(seal);
    run("COMMIT");
}

enum move { CLAIM, UPLOADED, SIGNED, DONE, MOVES };

static void move_chunk(enum move m, i64 id)
{
    static sqlite3_stmt *st[MOVES], *attempt;
    static const char *const sql[MOVES] = {
        "UPDATE chunks SET state = 2, owner = 1 WHERE id = ?1 AND state = 1",
        "UPDATE chunks SET state = 3, uploaded_at = 1, upload = '{\"level\":3}' WHERE id = ?1 AND state = 2",
        "UPDATE chunks SET state = 4, attempt_no = 1 WHERE id = ?1 AND state = 3",
        "UPDATE chunks SET state = 10, done = 1, minted_at = 2, block_time = 2, first_serial = ?1, fee = 1, evidence = '{}' WHERE id = ?1 AND state = 4",
    };
    static char raw[RAW];
    char tx[32];
    if (!st[m]) st[m] = prepare(sql[m]);
    sqlite3_bind_int64(st[m], 1, id);
    step(st[m]);
    if (m != SIGNED) return;
    if (!attempt)
        attempt = prepare("INSERT INTO attempts (chunk, no, network, tx_id, bytes, bound, fee_cap, slot, epoch, created_at) "
                          "VALUES (?1, 1, 'net', ?2, ?3, 1, 1, 1, 1, 1)");
    snprintf(tx, sizeof tx, "tx%lld", id);
    memset(raw, 'r', RAW);
    sqlite3_bind_int64(attempt, 1, id);
    sqlite3_bind_text(attempt, 2, tx, -1, SQLITE_STATIC);
    sqlite3_bind_blob(attempt, 3, raw, RAW, SQLITE_STATIC);
    step(attempt);
}

static void walk(i64 count, i64 per_commit, i64 chunk)
{
    for (i64 at = 0, request = 1; at < count; at += per_commit, request++) {
        i64 n = count - at < per_commit ? count - at : per_commit;
        accept_items(request, at, n, chunk);
        for (enum move m = CLAIM; m < MOVES; m++) {
            run("BEGIN IMMEDIATE");
            for (i64 i = 0; i < n; i += chunk) move_chunk(m, request << 24 | i);
            run("COMMIT");
        }
    }
}

static void only_accept(i64 count, i64 per_commit, i64 chunk)
{
    for (i64 at = 0, request = 1; at < count; at += per_commit, request++) accept_items(request, at, per_commit, chunk);
}

typedef void work_fn(i64 count, i64 per_commit, i64 chunk);

static int measure(work_fn *work, const char *path, i64 count, i64 per_commit, i64 chunk)
{
    if (sqlite3_open(path, &db)) die(path);
    run("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
        "PRAGMA wal_autocheckpoint = 2000; PRAGMA wal_checkpoint(TRUNCATE)");
    run("BEGIN; INSERT INTO venues (name) VALUES ('venue-1');"
        "INSERT INTO collections (venue, pipeline, name, network, state) VALUES (1, 'tickets', 'c', 'net', 2);"
        "INSERT INTO leases (slot, epoch, holder, expires_at, head) VALUES (1, 1, 'bench', 1, zeroblob(32)); COMMIT");
    double from = now();
    work(count, per_commit, chunk);
    double took = now() - from;
    sqlite3_close_v2(db);
    printf("rate=%.1f seconds=%.3f\n", (double)count / took, took);
    return 0;
}

static int calibrate(const char *folder)
{
    char path[4096], block[8192];
    unsigned char pk[crypto_sign_PUBLICKEYBYTES], sk[crypto_sign_SECRETKEYBYTES], sig[crypto_sign_BYTES], seed[crypto_sign_SEEDBYTES] = { 1 };
    snprintf(path, sizeof path, "%s/calibrate", folder);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    memset(block, 1, sizeof block);
    if (fd < 0 || sodium_init() < 0) die(path);
    double from = now();
    for (int i = 0; i < SYNCS; i++)
        if (pwrite(fd, block, sizeof block, 0) != (ssize_t)sizeof block || fdatasync(fd)) die(path);
    double sync = now() - from;
    close(fd);
    unlink(path);
    crypto_sign_seed_keypair(pk, sk, seed);
    from = now();
    for (int i = 0; i < SIGNATURES; i++) crypto_sign_detached(sig, NULL, (unsigned char *)block, RAW, sk);
    printf("sync=%.6f sign=%.6f\n", sync, now() - from);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "calibrate")) return calibrate(argv[2]);
    i64 count = argc == 5 ? atoll(argv[3]) : 0, per = argc == 5 ? atoll(argv[4]) : 0;
    if (count > 0 && per > 0 && !strcmp(argv[1], "chunks")) return measure(walk, argv[2], count, per, CHUNK);
    if (count > 0 && per > 0 && !strcmp(argv[1], "rows")) return measure(walk, argv[2], count, 1, 1);
    if (count > 0 && per > 0 && !strcmp(argv[1], "accept")) return measure(only_accept, argv[2], count, per, CHUNK);
    fprintf(stderr, "usage: bench-reference chunks|rows|accept DB COUNT ITEMS_PER_COMMIT | calibrate FOLDER\n");
    return 2;
}
