/* One SQLite connection: opening with the pragmas everything rests on, transactions, prepared statements kept for life, the names of
 * constraints. Calls SQLite only. Runs on the worker that owns the connection. */
#include <stdio.h>

#include "store.h"

static const char *const texts[SQL_COUNT] = {
#define SQL(name, text) [SQL_##name] = text,
#include "statements.h"
#undef SQL
};

/* A foreign key tells SQLite's caller nothing but that it failed; each of these tables has one that can. */
static const struct { const char *statement, *name; } foreign_keys[] = {
    { "INSERT INTO collections", "collections_venue" }, { "INSERT INTO requests", "requests_venue" },
    { "INSERT INTO api_keys", "api_keys_venue" },
    { "INSERT INTO attempts", "attempts_proof" }, { "INSERT INTO proofs", "proofs_attempt" },
};

/* "CHECK constraint failed: NAME", RAISE's own text, "UNIQUE constraint failed: table.column, ..." */
static void name_constraint(struct db *db, sqlite3_stmt *st, int rc)
{
    const char *msg = sqlite3_errmsg(db->h), *colon = strstr(msg, "failed: ");
    if (rc == SQLITE_CONSTRAINT_FOREIGNKEY) {
        snprintf(db->refused, REFUSED_MAX, "foreign_key");
        for (size_t i = 0; i < LEN(foreign_keys); i++)
            if (st && !strncmp(sqlite3_sql(st), foreign_keys[i].statement, strlen(foreign_keys[i].statement)))
                snprintf(db->refused, REFUSED_MAX, "%s", foreign_keys[i].name);
    } else if (rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY || rc == SQLITE_CONSTRAINT_NOTNULL) {
        const char *table = colon ? colon + 8 : "";
        snprintf(db->refused, REFUSED_MAX, "%.*s_%s", (int)strcspn(table, "."), table,
                 rc == SQLITE_CONSTRAINT_NOTNULL ? "not_null" : "unique");
    } else if (rc == SQLITE_CONSTRAINT_DATATYPE) {          /* a sum beyond 63 bits became a fraction */
        snprintf(db->refused, REFUSED_MAX, "out_of_range");
    } else {
        snprintf(db->refused, REFUSED_MAX, "%s", colon ? colon + 8 : msg);
    }
}

static int failed(struct db *db, sqlite3_stmt *st, int rc)
{
    db->rc = rc;
    snprintf(db->text, sizeof db->text, "%s", sqlite3_errcode(db->h) == rc ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc));
    if ((rc & 0xff) == SQLITE_NOMEM) return -ENOMEM;
    if ((rc & 0xff) != SQLITE_CONSTRAINT) return -EIO;
    name_constraint(db, st, rc);
    return -EPERM;
}

int db_exec(struct db *db, const char *sql)
{
    int rc = sqlite3_exec(db->h, sql, NULL, NULL, NULL);
    return rc ? failed(db, NULL, rc) : 0;
}

int db_pragma(struct db *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db->h, sql, -1, &st, NULL);
    if (!rc) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) *ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : failed(db, NULL, rc == SQLITE_DONE ? SQLITE_ERROR : rc);
}

static int set_pragmas(struct store *s, struct db *db, bool writer)
{
    char sql[512];
    snprintf(sql, sizeof sql, "PRAGMA cache_size = %lld; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;"
             " PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = OFF; %s",
             (long long)-(s->cache_bytes / (writer ? 1024 : 4096)), writer ? "PRAGMA synchronous = FULL" : "PRAGMA query_only = ON");
    int r = db_exec(db, sql);
    int64_t on = 0;
    if (!r) r = db_pragma(db, "PRAGMA foreign_keys", &on);
    if (!r && on != 1) r = failed(db, NULL, SQLITE_MISUSE);
    return r;
}

/* Another process writes: waiting is the host's, so it ends with the op. */
static int wait_for_lock(void *arg, int tries)
{
    struct db *db = arg;
    struct call *c = db->call;
    int64_t ms = tries < 10 ? 1 + tries : 20, spent = tries < 10 ? (int64_t)tries * (tries + 1) / 2 : 55 + (int64_t)(tries - 10) * 20;
    if (!c || spent >= c->s->busy_ms || c->s->host->canceled(c->op)) return 0;
    return c->s->host->wait(c->op, -1, 0, (uint64_t)ms) != -ECANCELED;
}

/* A failed sync must not be tried again on the same descriptor: the kernel may have dropped the pages and then report success. */
static bool sync_failed(int rc) { return rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC; }

static void note_broken(struct store *s, int rc)
{
    if (sync_failed(rc)) atomic_store(&s->state, BROKEN);
}

static int committed(void *arg, sqlite3 *h, const char *name, int pages)
{
    struct store *s = arg;
    s->host->metric(s->ctx, M_WAL_PAGES, (struct mintd_str){ NULL, 0 }, pages);
    if (pages >= s->checkpoint_pages) note_broken(s, sqlite3_wal_checkpoint_v2(h, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
    return SQLITE_OK;
}

/* Only after the file has been looked at: this writes to it. */
int db_make_writer(struct store *s, struct db *db)
{
    char sql[160];
    snprintf(sql, sizeof sql, "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA journal_size_limit = %lld", (long long)s->wal_limit);
    int r = db_exec(db, sql);
    int64_t page = 0, pages = 0;
    if (!r) r = db_pragma(db, "PRAGMA page_size", &page);
    if (!r && s->max_bytes) {
        snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)(s->max_bytes / page));
        r = db_pragma(db, sql, &pages);
    }
    if (!r) sqlite3_wal_hook(db->h, committed, s);
    return r;
}

int db_open(struct call *c, const char *path, bool writer, struct db *db)
{
    int rc = sqlite3_open_v2(path, &db->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc) return failed(db, NULL, rc);
    db->call = c;
    sqlite3_busy_handler(db->h, wait_for_lock, db);
    sqlite3_db_config(db->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db->h, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(db->h, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    return set_pragmas(c->s, db, writer);
}

void db_close(struct db *db)
{
    db->call = NULL;
    for (size_t i = 0; i < SQL_COUNT; i++) sqlite3_finalize(db->st[i]);
    sqlite3_close_v2(db->h);
    *db = (struct db){ 0 };
}

/* ---- statements */
struct q q_open(struct db *db, enum sql which)
{
    struct q q = { .db = db, .st = db->st[which] };
    if (!q.st) {
        q.rc = sqlite3_prepare_v3(db->h, texts[which], -1, SQLITE_PREPARE_PERSISTENT, &q.st, NULL);
        db->st[which] = q.st;
    }
    return q;
}

static void bound(struct q *q, int rc) { if (!q->rc) q->rc = rc; }

void q_int(struct q *q, int64_t v) { bound(q, sqlite3_bind_int64(q->st, ++q->n, v)); }

void q_opt(struct q *q, int64_t v)
{
    if (v) q_int(q, v);
    else bound(q, sqlite3_bind_null(q->st, ++q->n));
}

void q_text(struct q *q, struct mintd_str s)
{
    bound(q, sqlite3_bind_text64(q->st, ++q->n, s.n ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8));
}

void q_str(struct q *q, struct mintd_str s)
{
    if (s.n) q_text(q, s);
    else bound(q, sqlite3_bind_null(q->st, ++q->n));
}

void q_blob(struct q *q, struct mintd_str s)
{
    if (s.n) bound(q, sqlite3_bind_blob64(q->st, ++q->n, s.p, s.n, SQLITE_STATIC));
    else bound(q, sqlite3_bind_null(q->st, ++q->n));
}

int q_row(struct q *q)
{
    int rc = q->rc ? q->rc : sqlite3_step(q->st);
    if (rc == SQLITE_ROW) return 1;
    int r = rc == SQLITE_DONE ? 0 : failed(q->db, q->st, rc);      /* names the constraint before reset clears the text */
    q_end(q);
    return r;
}

int q_run(struct q *q)
{
    int r;
    do r = q_row(q); while (r == 1);
    return r;
}

void q_end(struct q *q) { sqlite3_reset(q->st); }

struct mintd_str q_bytes(struct q *q, int col)
{
    const void *p = sqlite3_column_blob(q->st, col);
    return (struct mintd_str){ p, p ? (size_t)sqlite3_column_bytes(q->st, col) : 0 };
}

/* ---- transactions */
int db_begin(struct call *c)
{
    struct q q = q_open(c->db, SQL_BEGIN);
    return q_run(&q);
}

void db_rollback(struct call *c)
{
    if (c->db->h && !sqlite3_get_autocommit(c->db->h)) sqlite3_exec(c->db->h, "ROLLBACK", NULL, NULL, NULL);
}

int db_commit(struct call *c)
{
    struct q q = q_open(c->db, SQL_COMMIT);
    int r = q_run(&q);
    if (!r) return 0;
    c->in_commit = true;
    note_broken(c->s, c->db->rc);
    db_rollback(c);
    return r;
}
