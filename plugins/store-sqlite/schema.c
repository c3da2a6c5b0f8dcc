/* What the database must look like: the embedded SQL, and comparing a database with it. The reference is made in memory from the same
 * SQL, so a change of any table, index or trigger is seen by its text. Worker 0 (or whichever runs start). */
#include <openssl/evp.h>
#include <stdio.h>

#include "store.h"

#define EMBED(symbol, file) \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" SQL_DIR "/" file "\"\n" #symbol "_end:\n.byte 0\n.popsection\n"); \
    extern __attribute__((visibility("hidden"))) const char symbol[], symbol##_end[]
EMBED(sql_0001, "0001_tables.sql");
EMBED(sql_0002, "0002_lists.sql");
EMBED(sql_triggers, "triggers.sql");

const struct migration migrations[] = {
    { 1, 1, "0001_tables", sql_0001, sql_0001_end },
    { 2, 2, "0002_lists", sql_0002, sql_0002_end },
};
const struct migration triggers = { 0, 0, "triggers", sql_triggers, sql_triggers_end };

uint32_t schema_wanted(void) { return (uint32_t)LEN(migrations); }

int sha256_hex(const void *p, size_t n, char ret[65])
{
    uint8_t md[HASH_LEN];
    if (!EVP_Digest(p, n, md, NULL, EVP_sha256(), NULL)) return -ENOMEM;
    for (size_t i = 0; i < HASH_LEN; i++) snprintf(ret + 2 * i, 3, "%02x", md[i]);
    return 0;
}

int schema_now(struct db *db, uint32_t *ret)
{
    int64_t objects, id, version = 0;
    int r = db_pragma(db, "SELECT count(*) FROM sqlite_schema", &objects);
    if (!r) r = db_pragma(db, "PRAGMA application_id", &id);
    if (r) return r;
    *ret = 0;
    if (!objects && (!id || id == APPLICATION_ID)) return 0;
    if (id != APPLICATION_ID) return -ENOENT;
    r = db_pragma(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'", &objects);
    if (!r && !objects) return -EBADMSG;
    if (!r) r = db_pragma(db, "SELECT coalesce(max(version), 0) FROM migrations", &version);
    if (!r && version < 1) return -EBADMSG;
    if (!r) *ret = version > UINT32_MAX ? UINT32_MAX : (uint32_t)version;
    return r;
}

int identity_of(struct db *db, char ret[33])
{
    ret[0] = '\0';
    struct q q = q_open(db, SQL_META_GET);
    q_text(&q, STR("identity"));
    int r = q_row(&q);
    if (r != 1) return r;
    struct mintd_str s = q_bytes(&q, 0);
    snprintf(ret, 33, "%.*s", (int)s.n, s.p ? s.p : "");
    q_end(&q);
    return 0;
}

int schema_drop_triggers(struct db *db)
{
    for (;;) {
        sqlite3_stmt *st;
        db->rc = sqlite3_prepare_v2(db->h, "SELECT name FROM sqlite_schema WHERE type = 'trigger' LIMIT 1", -1, &st, NULL);
        if (db->rc) return -EIO;
        bool more = sqlite3_step(st) == SQLITE_ROW;
        char *sql = more ? sqlite3_mprintf("DROP TRIGGER \"%w\"", sqlite3_column_text(st, 0)) : NULL;
        sqlite3_finalize(st);
        if (!more) return 0;
        int r = sql ? db_exec(db, sql) : -ENOMEM;
        sqlite3_free(sql);
        if (r) return r;
    }
}

static int make_reference(struct db *ref)
{
    ref->rc = sqlite3_open_v2(":memory:", &ref->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (ref->rc) return -EIO;
    int r = 0;
    for (size_t i = 0; !r && i < LEN(migrations); i++) r = db_exec(ref, migrations[i].text);
    return r ? r : db_exec(ref, triggers.text);
}

/* Every object of `a` must be in `b` with the same text; of `a`'s objects only those of `only_type` if given. */
static int compare(struct call *c, sqlite3 *a, sqlite3 *b, const char *only_type, const char *what)
{
    sqlite3_stmt *list = NULL, *one = NULL;
    int r = -EIO;
    c->db->rc = sqlite3_prepare_v2(a, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND type = coalesce(?1, type) "
                                   "ORDER BY type DESC, name", -1, &list, NULL);
    if (!c->db->rc) c->db->rc = sqlite3_prepare_v2(b, "SELECT sql FROM sqlite_schema WHERE type = ?1 AND name = ?2", -1, &one, NULL);
    if (c->db->rc) goto out;
    sqlite3_bind_text(list, 1, only_type, -1, SQLITE_STATIC);
    while ((c->db->rc = sqlite3_step(list)) == SQLITE_ROW) {
        const char *type = (const char *)sqlite3_column_text(list, 0), *name = (const char *)sqlite3_column_text(list, 1);
        sqlite3_bind_text(one, 1, type, -1, SQLITE_STATIC);
        sqlite3_bind_text(one, 2, name, -1, SQLITE_STATIC);
        bool there = sqlite3_step(one) == SQLITE_ROW;
        bool same = there && !strcmp((const char *)sqlite3_column_text(one, 0), (const char *)sqlite3_column_text(list, 2));
        sqlite3_reset(one);
        if (same) continue;
        snprintf(c->why, sizeof c->why, "%s %s %s", type, name, there ? "was changed" : what);
        r = strcmp(type, "trigger") ? -EBADMSG : -ESTALE;
        goto out;
    }
    r = c->db->rc == SQLITE_DONE ? 0 : -EIO;
out:
    sqlite3_finalize(list);
    sqlite3_finalize(one);
    return r;
}

static int compare_checksums(struct call *c)
{
    sqlite3_stmt *st = NULL;
    char sum[65];
    int r = 0;
    c->db->rc = sqlite3_prepare_v2(c->db->h, "SELECT checksum FROM migrations WHERE version = ?1", -1, &st, NULL);
    if (c->db->rc) return -EIO;
    for (size_t i = 0; !r && i < LEN(migrations); i++) {
        r = sha256_hex(migrations[i].text, (size_t)(migrations[i].end - migrations[i].text), sum);
        sqlite3_bind_int64(st, 1, migrations[i].version);
        if (!r && (sqlite3_step(st) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(st, 0), sum))) {
            snprintf(c->why, sizeof c->why, "migration %s is not the one this version knows", migrations[i].name);
            r = -EBADMSG;
        }
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    return r;
}

int schema_compare(struct call *c)
{
    struct db ref = { 0 };
    int r = make_reference(&ref);
    if (!r) r = compare(c, ref.h, c->db->h, NULL, "is missing");
    if (!r) r = compare(c, c->db->h, ref.h, "trigger", "does not belong here");
    if (!r) r = compare_checksums(c);
    db_close(&ref);
    return r;
}
