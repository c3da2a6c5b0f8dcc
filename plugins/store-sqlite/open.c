/* start and drain: the file, its header, the connections, the schema. Everything is looked at before anything is written, so a wrong
 * file is refused as it was. Any worker, with no other op of the instance alive. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"

enum { HEADER = 100 };

static void path_refusal(struct call *c, const char *path, int err)
{
    char msg[512];
    snprintf(msg, sizeof msg, "%s: %s", path, strerror(err));
    switch (err) {
    case EACCES: case EPERM: case EROFS: refuse(c, MINTD_PERMANENT, "store.readonly", msg); break;
    case ENOSPC: case EDQUOT: refuse(c, MINTD_TRANSIENT, "store.full", msg); break;
    case EMFILE: case ENFILE: case ENOMEM: refuse(c, MINTD_TRANSIENT, "store.open", msg); break;
    default: refuse(c, MINTD_PERMANENT, "store.path", msg);
    }
}

static bool folder_ok(struct call *c)
{
    char *dir = strdup(c->s->path), *slash = dir ? strrchr(dir, '/') : NULL;
    if (!dir) { fail(c, -ENOMEM); return false; }
    if (slash) slash[slash == dir] = '\0';
    const char *name = slash ? dir : ".";
    struct stat st;
    int err = stat(name, &st) ? errno : !S_ISDIR(st.st_mode) ? ENOTDIR : access(name, W_OK | X_OK) ? errno : 0;
    if (err) path_refusal(c, name, err);
    free(dir);
    return !err;
}

static bool file_ok(struct call *c)
{
    const char *path = c->s->path;
    struct stat st;
    int err = 0;
    if (!folder_ok(c)) return false;
    if (stat(path, &st)) {
        int fd = errno == ENOENT ? open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600) : -1;
        err = fd < 0 ? errno : 0;
        if (fd >= 0) close(fd);
    } else if (!S_ISREG(st.st_mode)) {
        err = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    } else if (access(path, R_OK | W_OK)) {
        err = errno;
    } else if (st.st_mode & 077) {
        c->s->host->log(c->s->ctx, NULL, MINTD_WARN, STR("others can read the database file: chmod it to 0600"), (struct mintd_vec){ 0 });
    }
    if (err) path_refusal(c, path, err);
    return !err;
}

static uint32_t be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

/* NULL, or what is wrong with a header that this plugin can have written. */
static const char *header_fault(const uint8_t *h)
{
    static const uint8_t zeros[20];
    uint32_t page = (uint32_t)h[16] << 8 | h[17];
    if (memcmp(h, "SQLite format 3", 16)) return "this is not a SQLite database";
    if (page != 1 && (page < 512 || page & (page - 1))) return "damaged header: page size";
    if (h[18] != h[19] || h[18] < 1 || h[18] > 2) return "damaged header: format version";
    if (h[20] > 64 || h[21] != 64 || h[22] != 32 || h[23] != 32) return "damaged header: payload fractions";
    if (be32(h + 44) > 4) return "damaged header: schema format";
    if (be32(h + 52) || be32(h + 64)) return "damaged header: vacuum settings";
    if (be32(h + 56) > 1) return "damaged header: text encoding";
    if (memcmp(h + 72, zeros, sizeof zeros)) return "damaged header: reserved bytes";
    return NULL;
}

/* Through SQLite's own file: opening and closing the file beside it would drop its locks. */
static bool header_ok(struct call *c)
{
    sqlite3_file *f = NULL;
    sqlite3_int64 size = 0;
    uint8_t h[HEADER] = { 0 };
    int rc = sqlite3_file_control(c->db->h, "main", SQLITE_FCNTL_FILE_POINTER, &f);
    if (!rc) rc = f->pMethods->xFileSize(f, &size);
    if (!rc && size >= HEADER) rc = f->pMethods->xRead(f, h, HEADER, 0);
    if (rc) { c->db->rc = rc; fail(c, -EIO); return false; }
    if (!size) return true;
    uint32_t id = be32(h + 68);
    bool sqlite = size >= 512 && !memcmp(h, "SQLite format 3", 16), foreign = sqlite && id && id != APPLICATION_ID;
    const char *fault = size < 512 ? "shorter than a database can be" : foreign ? "the database of another program" : header_fault(h);
    char msg[512];
    if (!fault) return true;
    snprintf(msg, sizeof msg, "%s: %s", c->s->path, fault);
    refuse(c, MINTD_PERMANENT, foreign ? "store.foreign" : "store.corrupt", msg);
    return false;
}

/* A file shorter than the pages it had before all of the log went into it. In this order: another process may be writing. */
static int length_check(struct call *c)
{
    int log = 0, moved = 0;
    sqlite3_file *f = NULL;
    sqlite3_int64 size = 0;
    int64_t pages = 0, page = 0;
    int r = db_pragma(c->db, "PRAGMA page_count", &pages);
    if (!r) r = db_pragma(c->db, "PRAGMA page_size", &page);
    if (r) return r;
    c->db->rc = sqlite3_wal_checkpoint_v2(c->db->h, "main", SQLITE_CHECKPOINT_PASSIVE, &log, &moved);
    if (c->db->rc == SQLITE_BUSY || (!c->db->rc && log != moved)) return 0;
    if (c->db->rc) return -EIO;
    if (sqlite3_file_control(c->db->h, "main", SQLITE_FCNTL_FILE_POINTER, &f) || f->pMethods->xFileSize(f, &size)) return 0;
    if (size >= pages * page) return 0;
    c->db->rc = SQLITE_CORRUPT;
    snprintf(c->why, sizeof c->why, "%lld bytes where %lld pages of %lld should be", (long long)size, (long long)pages, (long long)page);
    return -EIO;
}

static int full_check(struct call *c)
{
    sqlite3_stmt *st = NULL;
    c->db->rc = sqlite3_prepare_v2(c->db->h, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (!c->db->rc) c->db->rc = sqlite3_step(st);
    const char *text = c->db->rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : "";
    bool ok = text && !strcmp(text, "ok");
    if (!ok && c->db->rc == SQLITE_ROW) {
        snprintf(c->why, sizeof c->why, "%s", text ? text : "");
        c->db->rc = SQLITE_CORRUPT;
    }
    sqlite3_finalize(st);
    return ok ? 0 : -EIO;
}

/* The schema decides what the instance may do: nothing but migrate on an empty or older one. */
static bool schema_ok(struct call *c)
{
    uint32_t now, wanted = schema_wanted();
    char msg[512];
    int r = schema_now(c->db, &now), state = now == wanted ? READY : UNREADY;
    if (!r && now > wanted) {
        snprintf(msg, sizeof msg, "%s: schema %u, this version knows up to %u", c->s->path, now, wanted);
        refuse(c, MINTD_PERMANENT, "store.newer_schema", msg);
        return false;
    }
    if (r == -EBADMSG) snprintf(c->why, sizeof c->why, "the list of applied migrations is missing or empty");
    if (!r && state == READY) r = schema_compare(c);
    snprintf(msg, sizeof msg, "%s: %s", c->s->path, c->why);
    if (r == -ESTALE && c->s->repair) {
        c->s->host->log(c->s->ctx, NULL, MINTD_WARN, (struct mintd_str){ msg, strlen(msg) }, (struct mintd_vec){ 0 });
        state = UNREADY;
        r = 0;
    }
    switch (r) {
    case 0:        atomic_store(&c->s->state, state); return true;
    case -ENOENT:
        snprintf(msg, sizeof msg, "%s: the database of another program", c->s->path);
        refuse(c, MINTD_PERMANENT, "store.foreign", msg);
        return false;
    case -ESTALE:  refuse(c, MINTD_PERMANENT, "store.triggers", msg); return false;
    case -EBADMSG: refuse(c, MINTD_PERMANENT, "store.schema", msg); return false;
    default:       fail(c, r); return false;
    }
}

static bool open_all(struct call *c)
{
    if (!file_ok(c)) return false;
    int r = db_open(c, c->s->path, true, c->db);
    if (r) { fail(c, r); return false; }
    if (!header_ok(c)) return false;
    uint32_t now;
    r = schema_now(c->db, &now);                           /* another program's database is not even switched to a log */
    if (!r) r = db_make_writer(c->s, c->db);
    if (!r) r = length_check(c);
    if (!r && c->s->verify) r = full_check(c);
    if (r && r != -ENOENT && r != -EBADMSG) { fail(c, r); return false; }
    return schema_ok(c);
}

void store_close(struct store *s)
{
    for (size_t i = 0; i < READERS_MAX; i++) {
        if (s->readers[i]) db_close(s->readers[i]);
        free(s->readers[i]);
        s->readers[i] = NULL;
    }
    db_close(&s->writer);
    if (atomic_load(&s->state) != BROKEN) atomic_store(&s->state, CLOSED);
}

void op_start(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct store *s = self;
    struct call c = { .s = s, .op = op, .db = &s->writer, .now = s->host->wall_us(s->ctx) / 1000 };
    (void)req;
    store_close(s);
    if (!open_all(&c)) { store_close(s); return; }
    char id[33] = "", version[16];
    uint32_t now = 0;
    int r = schema_now(c.db, &now);
    if (!r && now) r = identity_of(c.db, id);
    if (r) { fail(&c, r); store_close(s); return; }
    snprintf(version, sizeof version, "%u", now);
    struct mintd_field facts[] = {
        { STR("identity"), { id, strlen(id) } }, { STR("version"), { sqlite3_libversion(), strlen(sqlite3_libversion()) } },
        { STR("schema"), { version, strlen(version) } },
    };
    answer(&c, ROWS(facts, LEN(facts)), (struct mintd_str){ NULL, 0 });
}

void op_drain(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct store *s = self;
    (void)req;
    store_close(s);
    s->host->done(op, NULL, NULL);
}
