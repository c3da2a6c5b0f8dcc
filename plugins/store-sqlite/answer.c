/* The two ends of an op: taking it up (state, connection, fence) and its one answer; memory of the answer. Any worker. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum { BLOCK = 32 << 10 };

void *call_alloc(struct call *c, size_t n)
{
    n = (n + 7) & ~(size_t)7;
    if (n > BLOCK / 4) return c->s->host->scratch(c->op, n);
    if (n > c->left) {
        c->block = c->s->host->scratch(c->op, BLOCK);
        c->left = c->block ? BLOCK : 0;
        if (!c->block) return NULL;
    }
    void *p = c->block;
    c->block += n;
    c->left -= n;
    return p;
}

int call_copy(struct call *c, struct q *q, int col, struct mintd_str *ret)
{
    struct mintd_str from = q_bytes(q, col);
    char *p = from.n ? call_alloc(c, from.n) : NULL;
    if (from.n && !p) return -ENOMEM;
    if (from.n) memcpy(p, from.p, from.n);
    c->bytes += from.n;
    *ret = (struct mintd_str){ p, from.n };
    return 0;
}

struct mintd_str call_text(struct call *c, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    char *p = call_alloc(c, len);
    if (!p) return (struct mintd_str){ NULL, 0 };
    memcpy(p, text, len);
    return (struct mintd_str){ p, len };
}

void *rows_add(struct call *c, struct rows *r)
{
    if (r->n == r->cap) {
        uint32_t cap = r->cap ? r->cap * 2 : 16;
        char *p = call_alloc(c, (size_t)cap * r->stride);
        if (!p) return NULL;
        if (r->n) memcpy(p, r->p, (size_t)r->n * r->stride);
        r->p = p;
        r->cap = cap;
    }
    c->bytes += r->stride;
    return r->p + (size_t)r->n++ * r->stride;
}

int bad(struct call *c, const char *why)
{
    snprintf(c->why, sizeof c->why, "%s", why);
    return -EINVAL;
}

void answer(struct call *c, struct mintd_vec rows, struct mintd_str next)
{
    c->s->host->done(c->op, NULL, &(struct mintd_res){ .size = sizeof(struct mintd_res), .rows = rows, .next = next });
}

static void finish(struct call *c, uint32_t cls, const char *slug, int64_t code, const char *msg)
{
    c->s->host->done(c->op, &(struct mintd_outcome){ .size = sizeof(struct mintd_outcome), .cls = cls, .code = code,
        .slug = { slug, strlen(slug) }, .msg = { msg, strlen(msg) } }, NULL);
}

void refuse(struct call *c, uint32_t cls, const char *slug, const char *msg) { finish(c, cls, slug, 0, msg); }

struct reading { uint32_t cls; const char *slug, *what; };

static struct reading read_code(const struct call *c, int rc)
{
    if (atomic_load(&c->s->state) == BROKEN)
        return (struct reading){ c->in_commit ? MINTD_AMBIGUOUS : MINTD_PERMANENT, c->in_commit ? "store.io" : "store.broken",
                                 "the disk failed to sync, nothing more is written until a restart" };
    switch (rc & 0xff) {
    case SQLITE_BUSY: case SQLITE_LOCKED: return (struct reading){ MINTD_TRANSIENT, "store.busy", "another process holds the database" };
    case SQLITE_FULL:      return (struct reading){ MINTD_TRANSIENT, "store.full", "the disk or the permitted size is full" };
    case SQLITE_IOERR:     return (struct reading){ c->in_commit ? MINTD_AMBIGUOUS : MINTD_TRANSIENT, "store.io", "the disk failed" };
    case SQLITE_CORRUPT: case SQLITE_NOTADB: return (struct reading){ MINTD_PERMANENT, "store.corrupt", "the database is damaged" };
    case SQLITE_READONLY: case SQLITE_PERM: case SQLITE_AUTH:
        return (struct reading){ MINTD_PERMANENT, "store.readonly", "the database can not be written" };
    case SQLITE_CANTOPEN:  return (struct reading){ MINTD_TRANSIENT, "store.open", "the database can not be opened" };
    case SQLITE_INTERRUPT: return (struct reading){ MINTD_CANCELED, "store.canceled", "stopped" };
    case SQLITE_TOOBIG: case SQLITE_MISMATCH: case SQLITE_RANGE:
        return (struct reading){ MINTD_PERMANENT, "store.bad_request", "a value does not fit" };
    default:               return (struct reading){ c->in_commit ? MINTD_AMBIGUOUS : MINTD_TRANSIENT, "store.sqlite", "sqlite refused" };
    }
}

static void fail_sqlite(struct call *c)
{
    int rc = c->db->rc;
    struct reading r = read_code(c, rc);
    const char *text = c->db->text[0] ? c->db->text : sqlite3_errstr(rc);
    char msg[640];
    snprintf(msg, sizeof msg, "%s: %s (%s)%s%s", c->s->path, r.what, rc ? text : "", c->why[0] ? ", " : "", c->why);
    finish(c, r.cls, r.slug, rc, msg);
}

void fail(struct call *c, int r)
{
    switch (r) {
    case -ENOMEM:    refuse(c, MINTD_TRANSIENT, "store.no_memory", "out of memory"); break;
    case -EINVAL:    refuse(c, MINTD_PERMANENT, "store.bad_request", c->why); break;
    case -ECANCELED: refuse(c, MINTD_CANCELED, "store.canceled", "stopped before anything was written"); break;
    case -EACCES:    refuse(c, MINTD_PERMANENT, "store.fenced", c->why); break;
    case -EPERM:
        snprintf(c->why, sizeof c->why, "the rule %s of the database refused this", c->db->refused);
        refuse(c, MINTD_PERMANENT, "store.refused", c->why);
        break;
    default: fail_sqlite(c);
    }
}

static int pick_reader(struct call *c)
{
    uint32_t w = c->s->host->worker(c->s->ctx);
    if (w == 0) return 0;
    if (w >= READERS_MAX) return bad(c, "more workers than this store has connections for (64)");
    struct db **slot = &c->s->readers[w];
    if (!*slot) *slot = calloc(1, sizeof **slot);
    if (!*slot) return -ENOMEM;
    c->db = *slot;
    if (c->db->h) return 0;
    int r = db_open(c, c->s->path, false, c->db);
    if (r) { sqlite3_close(c->db->h); c->db->h = NULL; }
    return r;
}

bool call_begin(struct call *c, struct store *s, struct mintd_op *op, bool writes, bool any_schema)
{
    *c = (struct call){ .s = s, .op = op, .db = &s->writer, .now = s->host->wall_us(s->ctx) / 1000 };
    int state = atomic_load(&s->state);
    if (state == BROKEN) { refuse(c, MINTD_PERMANENT, "store.broken", "the disk failed to sync earlier: restart after looking at it"); return false; }
    if (state == CLOSED) { refuse(c, MINTD_TRANSIENT, "store.closed", "the database is not open"); return false; }
    if (state == UNREADY && !any_schema) {
        refuse(c, MINTD_PERMANENT, "store.schema", "the database is not at this version's schema: migrate it first");
        return false;
    }
    if (s->host->canceled(op)) { fail(c, -ECANCELED); return false; }
    int r = writes ? 0 : pick_reader(c);
    if (r) { fail(c, r); return false; }
    c->db->call = c;
    c->db->text[0] = '\0';
    return true;
}

int call_fence(struct call *c)
{
    struct q q = q_open(c->db, SQL_LEASE_HEAD);
    q_int(&q, c->slot);
    int r = q_row(&q);
    if (r < 0) return r;
    uint64_t epoch = r ? q_u64(&q, 0) : 0;
    if (r) q_end(&q);
    if (epoch && epoch == c->epoch) return 0;
    snprintf(c->why, sizeof c->why, "slot %u is at epoch %llu, not %llu", c->slot, (unsigned long long)epoch, (unsigned long long)c->epoch);
    return -EACCES;
}
