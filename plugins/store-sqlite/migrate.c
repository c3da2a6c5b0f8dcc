/* The op migrate: looks, applies what is missing, and (flags 4) writes an online copy. Each step is a transaction of its own; the last
 * one brings the triggers, so a database is never at the wanted version without them. To apply is a matter of before the work begins: it
 * takes the writer on any worker. To look and to copy reads, beside whoever writes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store.h"

enum { APPLY = 1, COPY = 4, COPY_PAGES = 4096 };

static int note_step(struct call *c, const struct migration *m)
{
    char sum[65], val[32], id[33];
    int r = sha256_hex(m->text, (size_t)(m->end - m->text), sum);
    char *sql = r ? NULL : sqlite3_mprintf("INSERT INTO migrations (version, name, checksum, applied_at) VALUES (%u, %Q, %Q, %lld)",
                                           m->version, m->name, sum, (long long)c->now);
    if (!sql) return -ENOMEM;
    r = db_exec(c->db, sql);
    sqlite3_free(sql);
    snprintf(val, sizeof val, "%u %u", m->version, m->oldest_reader);
    struct q q = q_open(c->db, SQL_META_PUT);
    q_text(&q, STR("schema"));
    q_text(&q, (struct mintd_str){ val, strlen(val) });
    if (!r) r = q_run(&q);
    if (!r) r = identity_of(c->db, id);
    if (r || id[0]) return r;
    uint8_t raw[16];
    c->s->host->random(c->s->ctx, raw, sizeof raw);
    for (size_t i = 0; i < sizeof raw; i++) snprintf(id + 2 * i, 3, "%02x", raw[i]);
    q = q_open(c->db, SQL_META_PUT);
    q_text(&q, STR("identity"));
    q_text(&q, (struct mintd_str){ id, 32 });
    return q_run(&q);
}

/* One transaction: a missing step, or just the triggers when none is. */
static int apply_one(struct call *c, const struct migration *m, bool last)
{
    char mark[64];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d", APPLICATION_ID);
    int r = db_exec(c->db, "BEGIN EXCLUSIVE");
    if (r) return r;
    r = schema_drop_triggers(c->db);
    if (!r && m) r = db_exec(c->db, m->text);
    if (!r && m) r = db_exec(c->db, mark);
    if (!r && m) r = note_step(c, m);
    if (!r && last) r = db_exec(c->db, triggers.text);
    if (!r) return db_commit(c);
    db_rollback(c);
    return r;
}

static int apply(struct call *c)
{
    uint32_t wanted = schema_wanted(), now;
    int r = schema_now(c->db, &now);
    if (!r && now == wanted) {
        r = schema_compare(c);
        return r == -ESTALE ? apply_one(c, NULL, true) : r;
    }
    while (!r && now < wanted) {
        r = apply_one(c, &migrations[now], now + 1 == wanted);
        if (!r) r = schema_now(c->db, &now);
    }
    return r;
}

/* ---- the copy */

static int copy_pages(struct call *c, sqlite3 *to)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", c->db->h, "main");
    if (!b) { c->db->rc = sqlite3_extended_errcode(to); return -EIO; }
    int rc;
    do rc = sqlite3_backup_step(b, COPY_PAGES);
    while (rc == SQLITE_OK && !c->s->host->canceled(c->op));
    c->db->rc = sqlite3_backup_finish(b);
    if (rc == SQLITE_OK) return -ECANCELED;
    return rc == SQLITE_DONE ? 0 : -EIO;
}

/* Within one read transaction: what others commit meanwhile would make the copy begin anew with every page. */
static int copy_snapshot(struct call *c, sqlite3 *to)
{
    int64_t n;
    int r = db_exec(c->db, "BEGIN");
    if (!r) r = db_pragma(c->db, "SELECT count(*) FROM sqlite_schema", &n);
    if (!r) r = copy_pages(c, to);
    db_rollback(c);
    return r;
}
static int sync_path(struct call *c, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return -errno;
    int r = c->s->host->sync(c->s->ctx, fd);
    close(fd);
    return r;
}

/* A database with the log of another beside it would take that for its own. */
static void discard_logs(const char *path)
{
    static const char *const tails[] = { "-journal", "-wal", "-shm" };
    char name[4200];
    for (size_t i = 0; i < LEN(tails); i++)
        if (snprintf(name, sizeof name, "%s%s", path, tails[i]) < (int)sizeof name) unlink(name);
}

static void discard(const char *path)
{
    unlink(path);
    discard_logs(path);
}

static int into_place(struct call *c, const char *temp)
{
    int r = sync_path(c, temp, O_RDWR);
    if (!r) discard_logs(c->s->backup);
    if (r || rename(temp, c->s->backup)) { r = r ? r : -errno; goto out; }
    char *dir = strdup(c->s->backup), *slash = dir ? strrchr(dir, '/') : NULL;
    if (slash) slash[slash == dir] = '\0';
    r = dir ? sync_path(c, slash ? dir : ".", O_RDONLY | O_DIRECTORY) : -ENOMEM;
    free(dir);
out:
    if (r) snprintf(c->why, sizeof c->why, "%s: %s", c->s->backup, strerror(-r));
    return r ? -EREMOTEIO : 0;
}

/* The copy is made under a name of its own and takes the place of the previous one only when it is whole and on the disk. */
int backup_write(struct call *c)
{
    char temp[4096];
    if (snprintf(temp, sizeof temp, "%s.tmp", c->s->backup) >= (int)sizeof temp) return bad(c, "the path of the copy is too long");
    discard(temp);
    int fd = open(temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { snprintf(c->why, sizeof c->why, "%.100s: %s", temp, strerror(errno)); return -EREMOTEIO; }
    close(fd);
    sqlite3 *to = NULL;
    c->db->rc = sqlite3_open_v2(temp, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    int r = c->db->rc ? -EIO : 0;
    if (!r) c->db->rc = sqlite3_exec(to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL);     /* synced whole */
    if (!r) r = c->db->rc ? -EIO : copy_snapshot(c, to);
    sqlite3_close(to);
    if (!r) r = into_place(c, temp);
    if (r) discard(temp);
    return r;
}

static void answer_schema(struct call *c)
{
    struct mintd_schema row = { .wanted = schema_wanted() };
    char id[33] = "";
    for (uint32_t k = MINTD_DB_VENUE; k <= MINTD_DB_REPORT; k++)
        row.kinds |= (uint64_t)1 << k;
    int r = schema_now(c->db, &row.now);
    if (!r && row.now) r = identity_of(c->db, id);
    if (r) { fail(c, r); return; }
    row.identity = (struct mintd_str){ id, strlen(id) };
    answer(c, ROWS(&row, 1), (struct mintd_str){ NULL, 0 });
}

void op_migrate(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct call c;
    if (!call_begin(&c, self, op, req->flags & APPLY, true)) return;
    if (req->flags & COPY && !c.s->backup) { refuse(&c, MINTD_PERMANENT, "store.no_backup", "option backup names no file"); return; }
    int r = req->flags & APPLY ? apply(&c) : 0;
    if (!r && req->flags & APPLY) {
        r = schema_compare(&c);
        if (!r) atomic_store(&c.s->state, READY);
    }
    if (!r && req->flags & COPY) r = backup_write(&c);
    switch (r) {
    case 0:          answer_schema(&c); break;
    case -ESTALE:    refuse(&c, MINTD_PERMANENT, "store.triggers", c.why); break;
    case -EBADMSG:   refuse(&c, MINTD_PERMANENT, "store.schema", c.why); break;
    case -EREMOTEIO: refuse(&c, MINTD_TRANSIENT, "store.backup", c.why); break;
    default:         fail(&c, r);
    }
}
