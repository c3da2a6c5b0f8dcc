/* store-sqlite, inside: the instance, its connections, one call in progress, and what the files offer each other.
 *
 * Threads: plugin.c runs on the loop (check, create, destroy); everything else on workers. The writer connection belongs to worker 0
 * (stage, commit, claim are serial there, and queries that land there use it too); worker i > 0 reads through its own.
 *
 * Results inside: 0, or -EALREADY (a verdict was settled, undo the group), -EPERM (a named constraint refused: db.refused),
 * -EINVAL (the request is malformed: call.why), -ENOMEM, -EIO (SQLite failed: db.rc). */
#ifndef STORE_SQLITE_STORE_H
#define STORE_SQLITE_STORE_H
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mintd/plugin.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define STR(lit) ((struct mintd_str){ (lit), sizeof(lit) - 1 })
#define ROWS(ptr, count) ((struct mintd_vec){ (ptr), (uint32_t)(count), (uint32_t)sizeof(*(ptr)) })

enum { READERS_MAX = 64, ROWS_DEFAULT = 1000, ROWS_MAX = 10000, ANSWER_MAX = 4 << 20, HASH_LEN = 32, REFUSED_MAX = 64,
       APPLICATION_ID = 0x6d6e7464 /* "mntd" */, SEQ_BITS = 24 };
#define LATER_ID ((int64_t)1 << 62)                        /* ids of chunks that are not named after their first item */
#define REQUESTS_END ((uint64_t)1 << 38)                   /* request numbers are below, so that items fit in 62 bits */

enum sql {                                                 /* prepared statements, texts in sql.c */
#define SQL(name, text) SQL_##name,
#include "statements.h"
#undef SQL
    SQL_COUNT
};

struct db {
    sqlite3 *h;
    struct call *call;                                     /* whose turn it is, for waiting */
    int rc;                                                /* extended code of the last failure */
    char text[200];                                        /* what SQLite said to it; "": its code says all */
    char refused[REFUSED_MAX];                             /* name of the constraint that refused last */
    sqlite3_stmt *st[SQL_COUNT];
};

enum state { CLOSED, UNREADY, READY, BROKEN };             /* UNREADY: the schema is not the wanted one */
enum metric { M_COMMITS, M_GROUPS, M_COMMIT_MS, M_WAL_PAGES, M_REAPED };

struct store {
    const struct mintd_host *host;
    struct mintd_ctx *ctx;
    char *path, *backup;
    int64_t busy_ms, cache_bytes, wal_limit, max_bytes, checkpoint_pages;
    bool verify, repair;
    atomic_int state;
    struct db writer;
    struct db *readers[READERS_MAX];                       /* [i] is touched by worker i alone */
};

/* The last event of the slot that writes, carried through a transaction. */
struct chain { uint32_t slot; bool dirty; int64_t seq; uint8_t head[HASH_LEN]; };

struct call {                                              /* one op in progress */
    struct store *s;
    struct mintd_op *op;
    struct db *db;
    int64_t now;                                           /* ms, wall clock */
    size_t bytes;                                          /* gathered for the answer */
    char *block; size_t left;                              /* rest of the current scratch block */
    uint32_t slot; uint64_t epoch;
    struct chain chain;
    bool in_commit;                                        /* the failure came from COMMIT itself */
    char why[160];
};

/* A number of ms from now as a time; as late as can be said when it is out of range. */
static inline int64_t later(const struct call *c, uint64_t ms)
{
    return ms > (uint64_t)(INT64_MAX - c->now) ? INT64_MAX : c->now + (int64_t)ms;
}
static inline int64_t first_item(uint64_t request) { return (int64_t)(request << SEQ_BITS); }

/* ---- db.c */
int  db_open(struct call *, const char *path, bool writer, struct db *db);     /* reads at most: nothing is changed yet */
int  db_make_writer(struct store *, struct db *);          /* write-ahead log, limits, checkpoints */
void db_close(struct db *);
int  db_exec(struct db *, const char *sql);
int  db_pragma(struct db *, const char *sql, int64_t *ret);                    /* first column of the first row */
int  db_begin(struct call *);
int  db_commit(struct call *);
void db_rollback(struct call *);
/* A statement in use: bind in order, then q_run or q_row. A failure on the way comes out there. */
struct q { struct db *db; sqlite3_stmt *st; int n, rc; };
struct q q_open(struct db *, enum sql);
void q_int(struct q *, int64_t);
void q_opt(struct q *, int64_t);                           /* 0: NULL */
void q_text(struct q *, struct mintd_str);                 /* never NULL */
void q_str(struct q *, struct mintd_str);                  /* absent: NULL */
void q_blob(struct q *, struct mintd_str);
int  q_row(struct q *);                                    /* 1: a row; 0: no more; negative. Not 1: the statement is at rest */
int  q_run(struct q *);                                    /* to the end, rows ignored; 0 or negative */
void q_end(struct q *);                                    /* owed after the last q_row that gave 1 */
static inline int64_t q_i64(struct q *q, int col) { return sqlite3_column_int64(q->st, col); }
static inline uint32_t q_u32(struct q *q, int col) { return (uint32_t)sqlite3_column_int64(q->st, col); }
static inline uint64_t q_u64(struct q *q, int col) { return (uint64_t)sqlite3_column_int64(q->st, col); }
struct mintd_str q_bytes(struct q *, int col);             /* lives until the next step */

/* ---- answer.c */
void *call_alloc(struct call *, size_t);                   /* zeroed, lives until done; NULL: no memory */
int  call_copy(struct call *, struct q *, int col, struct mintd_str *ret);     /* into scratch; counted in bytes */
struct mintd_str call_text(struct call *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int  bad(struct call *, const char *why);                  /* -EINVAL */
void answer(struct call *, struct mintd_vec rows, struct mintd_str next);
void refuse(struct call *, uint32_t cls, const char *slug, const char *msg);
void fail(struct call *, int r);                           /* the outcome of a negative result; may break the instance */
/* Rows gathered one by one; rows of one answer lie in one piece. */
struct rows { char *p; uint32_t n, cap, stride; };
void *rows_add(struct call *, struct rows *);              /* zeroed row; NULL: no memory */
static inline struct mintd_vec rows_vec(const struct rows *r) { return (struct mintd_vec){ r->p, r->n, r->stride }; }
/* The beginning of an op. false: it was answered already. `writes`: on the writer connection, in worker 0. */
bool call_begin(struct call *, struct store *, struct mintd_op *, bool writes, bool any_schema);
/* Copies the op's argument as far as the caller's size goes. */
static inline void call_arg(const struct mintd_req *req, void *ret, size_t n)
{
    uint32_t size = req->arg ? *(const uint32_t *)req->arg : 0;
    if (size) memcpy(ret, req->arg, size < n ? size : n);
}
int  call_fence(struct call *);                            /* -EACCES: the epoch of call.slot is not call.epoch */

/* ---- schema.c, migrate.c, open.c */
struct migration { uint32_t version, oldest_reader; const char *name, *text, *end; };
extern const struct migration migrations[];
uint32_t schema_wanted(void);
int  schema_now(struct db *, uint32_t *ret);               /* 0: empty database; -ENOENT: another program's; -EBADMSG: no list of steps */
/* 0; -ESTALE: a trigger is missing, changed or foreign; -EBADMSG: a table, an index or a migration is; call.why says which */
int  schema_compare(struct call *);
int  schema_drop_triggers(struct db *);
extern const struct migration triggers;                    /* the same shape, version 0 */
int  sha256_hex(const void *, size_t, char ret[65]);
int  identity_of(struct db *, char ret[33]);               /* "" before the first migration */
void op_migrate(void *self, struct mintd_op *, const struct mintd_req *);
int  backup_write(struct call *);
void op_start(void *self, struct mintd_op *, const struct mintd_req *);
void op_drain(void *self, struct mintd_op *, const struct mintd_req *);
void store_close(struct store *);

/* ---- events.c */
int  chain_load(struct call *, uint32_t slot);
int  chain_save(struct call *);                            /* writes the lease row if events came */
int  event_add(struct call *, const struct mintd_db_event *);                  /* at 0: now */

/* ---- request.c, chunk.c, access.c, commit.c */
struct group { const struct mintd_vec *changes; uint32_t first, n; struct mintd_applied *out; };
struct change_iter { uint32_t at, row; struct mintd_vec rows; };
struct mintd_change group_change(const struct group *, uint32_t i);            /* 0: the head */
/* The next row of `kind` in the group behind its head. */
bool group_next(const struct group *, struct change_iter *, uint32_t kind, void *ret, size_t size);
int  settle(struct group *, uint32_t verdict, uint64_t value, struct mintd_str detail);       /* -EALREADY */
int  group_events(struct call *, struct group *, uint64_t subject);
int  group_request(struct call *, struct group *, const struct mintd_db_request *);
int  group_chunk(struct call *, struct group *, const struct mintd_db_chunk *);
int  group_key(struct call *, struct group *, const struct mintd_db_key *);
int  group_report(struct call *, struct group *, const struct mintd_db_report *);
int  collection_move(struct call *, const struct mintd_db_collection *, uint32_t *ret_verdict, uint64_t *ret_venue);
int  next_chunk_id(struct call *, int64_t *ret);
struct seats { uint64_t mint_open, open; int64_t done, failed, cancelled; };   /* of a request; the last three of its mints */
int  request_seats(struct call *, uint64_t request, struct seats *ret);
int  creation_add(struct call *, uint64_t collection, uint64_t venue);         /* unless one is open or done */
/* What ended may have been the last of its request. ret_mint_open: mint seats that are not terminal yet. */
int  request_end(struct call *, uint64_t request, uint64_t venue, uint64_t *ret_mint_open);
int  request_reap(struct call *);                          /* what dead epochs left, a bounded part */
void op_stage(void *self, struct mintd_op *, const struct mintd_req *);
void op_commit(void *self, struct mintd_op *, const struct mintd_req *);
void op_claim(void *self, struct mintd_op *, const struct mintd_req *);

/* ---- load.c, query.c, newest.c, list.c */
int  load_chunk(struct call *, int64_t id, struct mintd_db_chunk *);           /* -ENOENT */
int  load_inside(struct call *, struct mintd_db_chunk *);  /* its items and newest attempt */
int  load_item(struct call *, int64_t id, struct mintd_db_chunk *near, struct mintd_db_item *);    /* near: the last one's chunk */
int  load_attempt(struct call *, struct q *, struct mintd_db_attempt *);
int  item_place(struct call *, int64_t item, uint32_t kind, int64_t *ret_chunk, uint32_t *ret_pos);      /* where it is now; -ENOENT */
int  item_left(struct call *, uint64_t chunk, uint64_t item, bool *ret);
struct asked { const struct mintd_query *q; uint32_t flags, max; struct rows rows; struct mintd_str next; };
bool full(const struct call *, const struct asked *);
static inline const void *last_row(const struct asked *a) { return a->rows.p + (size_t)(a->rows.n - 1) * a->rows.stride; }
int  cursor_numbers(struct call *, struct mintd_str, int64_t *a, int64_t *b);  /* "a" or "a.b"; absent: unchanged */
int  list_newest(struct call *, struct asked *);           /* items by MINTD_Q_NEWEST or MINTD_Q_MINTED */
int  get_key(struct call *, int64_t id, struct mintd_db_key *ret);              /* access.c; -ENOENT */
int  list_reports(struct call *, struct asked *);          /* access.c */
int  list_direct(struct call *, struct asked *);           /* kinds that have no id of their own */
void op_query(void *self, struct mintd_op *, const struct mintd_req *);
#endif
