/* chain-local, inside: one instance, its ledger, what the ledger amounts to, and what the files offer each other.
 *
 * Everything runs on the loop thread; only the sync of the ledger runs on the host's worker. Functions return 0 or -errno.
 * Chain time is in us since the epoch (`t`); what the ABI calls clock depends on the profile: block height, consensus ns, ms. */
#ifndef CHAIN_LOCAL_H
#define CHAIN_LOCAL_H
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mintd/plugin.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define STR(lit) ((struct mintd_str){ (lit), sizeof(lit) - 1 })
#define ROWS(ptr, count) ((struct mintd_vec){ (ptr), (uint32_t)(count), (uint32_t)sizeof(*(ptr)) })

enum { ITEMS_MAX = 64, KEY = 32, SIG = 64, ID_MAX = 128, NET = 32, ROUTES_MAX = 48, RAW_MAX = 512 << 10, ERROR_MAX = 200,
       FIRST_HEIGHT = 1000, PREPARE_MAX = 64, STATUS_MAX = 256, INSPECT_MAX = 256 };
enum profile { SOLANA_LIKE = 1, HEDERA_LIKE = 2, NULL_CHAIN = 3 };
enum fate { FATE_LANDED = 1, FATE_ERRED = 2,               /* executed, with and without effect */
    FATE_DROPPED = 3,                                      /* taken and lost: never lands */
    FATE_ROLLED = 4 };                                     /* seen in blocks that were undone */
enum metric { M_TRANSACTIONS, M_FAULTS };

static inline bool str_is(struct mintd_str a, struct mintd_str b) { return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n)); }
static inline struct mintd_str str_z(const char *c) { return (struct mintd_str){ c, strlen(c) }; }

struct strs { struct mintd_str *p; uint32_t n; };

struct options {
    enum profile profile;
    char *ledger, *payer, *item_key, *coin;
    struct strs endpoints, mirrors, unassociated, fail_names;
    uint32_t items_mint, finality, validity;
    int64_t slot_us, valid_us, latency_us, jitter_us, stale_lag_us;
    int64_t prepare_ms, send_ms, read_ms, burst_us, throttle_period_us;
    int64_t fee_tx, fee_item, fee_collection, balance, network_rate, node_rate, usd;
    int64_t seed, fee_spike, fee_spike_factor, throttle_step, drop_request, drop_reply, error_but_land, ack_and_drop, late_accept,
        rollback, stale_read, lie, land_at_deadline, no_funds, restart;
    bool publish_rates, fail_at_chain;
};

/* ---- tx.c: the signed bytes */
struct tx_item { struct mintd_str pub, tag, name, uri, owner, asset; };
struct tx {
    uint32_t kind, profile, attempt, n_items, n_sigs;
    uint64_t start, bound, fee_max, chunk, nonce;
    struct mintd_str network, collection, memo, spec;
    struct tx_item items[ITEMS_MAX];
    struct mintd_str body;                                 /* what is signed */
    const uint8_t *sigs;                                   /* n_sigs times key and signature: payer, then items in order */
};
size_t tx_body(const struct tx *, uint8_t *to, size_t cap);    /* bytes needed; written when they fit. No signatures */
int    tx_parse(struct mintd_str raw, struct tx *ret);         /* body and signatures, to the last byte; -EBADMSG */
int    tx_parse_body(struct mintd_str raw, struct tx *ret);    /* a plan's state: body alone */
bool   tx_verify(const struct tx *);                           /* as many signatures as keys, each good */
const uint8_t *tx_payer(const struct tx *);
size_t tx_id(const struct tx *, char ret[ID_MAX]);             /* with terminator */
size_t tx_collection_ref(const struct tx *, char ret[ID_MAX]); /* of a COLLECTION where it follows from the bytes */
uint32_t tx_keys(const struct tx *);                           /* signatures wanted */

/* ---- codec.c: little-endian writing and reading with bounds */
struct writer { uint8_t *p; size_t n, cap; };              /* n counts on beyond cap */
struct reader { const uint8_t *p; size_t left; bool bad; };
void put(struct writer *, const void *, size_t);
void put_u(struct writer *, uint64_t v, size_t bytes);
void put_str(struct writer *, struct mintd_str, size_t length_bytes);
uint64_t get_u(struct reader *, size_t bytes);
struct mintd_str get_bytes(struct reader *, size_t n);
struct mintd_str get_str(struct reader *, size_t length_bytes);
struct mintd_str clip_text(struct mintd_str, size_t max);  /* at most max bytes, cut between characters */

/* ---- ledger.c: the file, or memory that stands in for it */
struct ledger {
    int fd; char *path; bool memory, locked;
    uint64_t pos;                                          /* end of the last whole record */
    uint8_t **segments; uint32_t n_segments;
    char why[320];                                         /* of the last failure, for people */
};
struct record {                                            /* decoded; strings point into the payload */
    uint32_t type, fate, kind, route;
    int64_t time, land, until, slot_us;
    uint64_t clock, fee, serial;
    struct mintd_str error, collection, id, raw, salt; uint32_t profile;
};
enum { REC_GENESIS = 1, REC_TX = 2, REC_MARK = 3 };
int  ledger_open(struct ledger *);                         /* creates the file; -errno with why */
void ledger_close(struct ledger *);
int  ledger_lock(struct ledger *);                         /* 0, -EAGAIN: another daemon has it, -errno */
void ledger_unlock(struct ledger *);
/* The next whole record: its payload (malloc, at *ret_at). 0, -ENOENT: no whole one there, -EBADMSG: damaged, -errno */
int  ledger_next(struct ledger *, uint8_t **ret, uint32_t *ret_n, uint64_t *ret_at);
int  ledger_cut(struct ledger *);                          /* locked, after -ENOENT: cuts a torn tail; -EBADMSG: it is none */
int  ledger_append(struct ledger *, const struct record *, uint64_t *ret_at, uint32_t *ret_n);     /* locked, tail read */
int  ledger_read(struct ledger *, uint64_t at, uint32_t n, uint8_t **ret);     /* payload of a record seen before */
int  record_parse(const uint8_t *p, uint32_t n, struct record *ret);           /* 0, -EBADMSG */

/* ---- world.c: what the records amount to, in memory */
struct map { uint32_t *slots; uint32_t cap, n; };          /* place + 1 of an element, by the element's hash */
struct wtx { uint64_t hash, at, fee, serial; int64_t land, until; uint32_t len, coll; uint8_t fate, kind; uint16_t n_items; };
struct wasset { uint64_t hash, mark; uint32_t tx, coll, move; uint16_t item, reserved; };
struct wmove { uint32_t tx, asset, before; uint16_t item, reserved; };         /* before: place + 1 of the move before it */
struct wcoll { struct mintd_str ref; uint32_t tx; uint64_t serials; };
struct wacct { uint8_t pub[KEY]; uint64_t spent, paid; };
struct bucket { uint32_t route; int64_t full_at; };        /* 0: whole network. full_at: when what was taken has flowed back */
struct world {
    uint8_t key[16], network[NET];
    char network_text[64];
    int64_t genesis, slot_us, last;                        /* last: latest time in the ledger */
    uint32_t profile;
    struct wtx *txs; uint32_t n_txs, cap_txs;
    struct wasset *assets; uint32_t n_assets, cap_assets;
    struct wmove *moves; uint32_t n_moves, cap_moves;
    struct wcoll *colls; uint32_t n_colls, cap_colls;
    struct wacct *accts; uint32_t n_accts, cap_accts;
    struct map by_id, by_asset, by_mark;
    struct bucket buckets[ROUTES_MAX + 1]; uint32_t n_buckets;
};
enum { NONE = UINT32_MAX };
struct local;
struct loaded { uint8_t *buf; struct record rec; struct tx tx; };              /* a transaction read back */
void     world_init(struct world *, struct local *);
void     world_free(struct world *);
int      world_apply(struct local *, const struct record *, uint64_t at, uint32_t len);
int      world_load(struct local *, uint32_t tx, struct loaded *);             /* buf is to be freed, also after failure */
uint32_t world_tx(struct local *, struct mintd_str id);                        /* NONE */
uint32_t world_coll(const struct world *, struct mintd_str ref);               /* NONE */
uint32_t world_asset(struct local *, uint32_t coll_or_none, struct mintd_str asset);      /* NONE */
uint32_t world_marked(struct local *, struct mintd_str uri, uint32_t from);    /* the next with this URI's hash, from on; NONE */
const struct wacct *world_acct(const struct world *, const uint8_t pub[KEY]);  /* NULL: never paid */
/* The owner at time t, counting final transfers only (INT64_MAX: all that the ledger knows). Number of bytes, 0: unreadable */
size_t   asset_owner(struct local *, uint32_t asset, int64_t t, char ret[256]);
uint64_t world_mark_hash(const struct world *, struct mintd_str uri);

/* ---- profiles.c: time, fees, limits */
struct local {
    const struct mintd_host *host;
    struct mintd_ctx *ctx;
    struct options o;
    struct ledger led;
    struct world w;
    enum { DOWN, UP, BROKEN } state;
    int64_t anchor_t; uint64_t anchor_ms;                  /* chain time when it was last read */
    int64_t last_start;                                    /* ns, hedera-like: valid starts never repeat */
    uint64_t nonce;
    uint8_t payer[KEY]; bool payer_known;                  /* learned from a seal */
    struct job *jobs;
    bool syncing, new_file; uint64_t sync_to; int sync_result;
};
int64_t  chain_now(struct local *);
uint64_t clock_at(const struct local *, int64_t t);        /* the clock a bound is compared with */
uint64_t proof_clock(const struct local *, int64_t t);     /* the clock up to which nothing can change any more */
bool     is_final(const struct local *, const struct wtx *, int64_t t);
int64_t  land_time(const struct local *, const struct tx *, struct mintd_str id, int64_t t);  /* INT64_MAX: not before its bound */
int64_t  undo_time(const struct local *, int64_t land, struct mintd_str id);
void     validity(struct local *, int64_t t, uint64_t *ret_start, uint64_t *ret_bound);
bool     expired(const struct local *, const struct tx *, int64_t t);          /* too late to be taken */
uint64_t margin_of(const struct local *);
uint64_t fee_of(const struct local *, uint32_t kind, uint32_t n_items, int64_t t);
uint64_t balance_of(const struct local *, const uint8_t pub[KEY]);
uint32_t items_max(const struct local *, uint32_t kind);
uint32_t tx_room(const struct local *);
uint32_t uri_max(const struct local *);
int64_t  receipts_us(const struct local *);                /* how long nodes remember, from the valid start */
uint64_t bucket_wait(struct local *, uint32_t route, uint32_t cost, int64_t t);           /* ms; 0: there is room */
void     bucket_take(struct local *, uint32_t route, uint32_t cost, int64_t t);
enum { ITEM_BASE = 100, NAME_MAX_LEN = 200 };

/* ---- faults.c */
uint64_t roll(const struct local *, const char *what, struct mintd_str a, uint64_t n);
bool     struck(const struct local *, int64_t per_mille, const char *what, struct mintd_str a, uint64_t n);
bool     fault(struct local *, int64_t per_mille, const char *what, struct mintd_str a, uint64_t n);      /* struck, and counted */
bool     route_down(const struct local *, struct mintd_str route, int64_t t);
int64_t  route_view(const struct local *, struct mintd_str route, int64_t t);  /* the time this route has got to */
bool     named(const struct strs *, struct mintd_str);
enum { WEATHER_US = 2000000 };                             /* how long a window of restart, lag or fee spike lasts */

/* ---- routes.c */
struct route { struct mintd_str name; uint32_t use; };
uint32_t routes_n(const struct local *);
struct route route_at(const struct local *, uint32_t i);
uint32_t route_hash(struct mintd_str name);
bool     route_known(const struct local *, struct mintd_str name);
uint32_t route_provers(const struct local *);
struct mintd_str route_liar(struct local *, struct mintd_str id);              /* absent: all tell the truth about it */

/* ---- job.c: ops in progress */
struct job {
    struct job *next, *prev;
    struct local *l;
    struct mintd_op *op;
    const struct mintd_req *req;
    int (*run)(struct job *);                              /* 0: answer; > 0: run again after so many ms; < 0: `out` says why */
    struct mintd_timer *timer;
    bool waits_sync, wrote;
    uint64_t sync_to;
    struct mintd_res res;
    struct mintd_outcome out;
    char text[400];
    void (*unsynced)(struct job *);                        /* the sync failed: turns rows into doubt */
};
void job_begin(void *self, struct mintd_op *, const struct mintd_req *, int64_t delay_ms, int (*run)(struct job *));
int  job_refuse(struct job *, uint32_t cls, const char *slug, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void *job_mem(struct job *, size_t n);                     /* zeroed, until the answer; NULL sets out */
const struct mintd_outcome *job_why(struct job *, uint32_t cls, const char *slug, uint64_t retry_ms, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
struct mintd_str job_text(struct job *, struct mintd_str);
struct mintd_str job_printf(struct job *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void job_cancel(void *self, struct mintd_op *);
int  job_catch_up(struct job *);                           /* reads what others wrote; 0, or what run has to return */
int  job_lock(struct job *);                               /* lock, tail read and mended; the same */
int  job_write(struct job *, const struct record *);       /* append and apply; 0, -errno */

/* ---- the ops */
int start_run(struct job *), seal_run(struct job *);
mintd_op_fn op_start, op_drain, op_limits, op_prepare, op_seal, op_broadcast, op_status, op_inspect, op_list, op_find, op_estimate,
    op_wallet;
#endif
