/* The mintd plugin ABI, major 0: the only header a plugin needs and the only one that is installed.
 *
 * Promise: none yet. While the entry symbol is mintd_plugin_v0 any release may change this file. Once it is
 * mintd_plugin_v1: minor only appends; a member is never reused, reordered or retyped.
 * Change log (newest first):
 *   0.1  limits: coin, usd_micros. store: KEY and REPORT rows; query: event, and lists of items by MINTD_Q_*.
 *   0.0  first version.
 *
 * Rules, in full in docs/architecture.md:
 *  - A plugin is one .so with ONE exported function, mintd_plugin_v0. It links nothing of mintd; everything it may ask of
 *    the daemon is in struct mintd_host. It creates no threads, keeps no mutable globals and sees no other plugin.
 *  - `frozen` structs (str, vec) embed by value. `sized` ones start with `size`, written by the side that fills them, and
 *    cross alone by pointer. `rows` have no size and cross only inside a mintd_vec: read them with mintd_row, never p[i].
 *  - Ops return void and end in exactly one host->done(), from any thread, also from inside the op.
 *  - Request memory and scratch live until done returns. What is passed to done is copied before done returns. Nobody frees
 *    the other side's memory. File descriptors stay the owner's: dup to keep one.
 *  - Reserved members are 0. Constants travel as uint32_t; an unknown one reads as the least certain value. */
#ifndef MINTD_PLUGIN_H
#define MINTD_PLUGIN_H
#include <stddef.h>
#include <stdint.h>
#if UINTPTR_MAX != 0xffffffffffffffffu
#error "mintd plugins are 64-bit only"
#endif
#ifdef __cplusplus
extern "C" {
#endif
#define MINTD_MAGIC 0x646e696du                           /* "mind", little-endian */
enum { MINTD_ABI_MAJOR = 0, MINTD_ABI_MINOR = 1 };        /* major: in the entry symbol; minor: +1 per append */

/* frozen for ever: the only structs embedded by value */
struct mintd_str { const char *p; size_t n; };            /* borrowed bytes, no terminator; n 0: absent */
struct mintd_vec { const void *p; uint32_t n, stride; };  /* n rows, stride bytes apart, 8-aligned */
#define MINTD_HAS(s, T, m) ((s)->size >= offsetof(T, m) + sizeof(((T *)0)->m))
#define MINTD_AT(v, i)     ((const void *)((const char *)(v).p + (size_t)(i) * (v).stride))
/* The safe read of row i (i < v.n): copies the shorter of stride and n, zeroes the rest of *ret. */
static inline void mintd_row(struct mintd_vec v, uint32_t i, void *ret, size_t n)
{
    const char *from = (const char *)MINTD_AT(v, i);
    for (size_t k = 0; k < n; k++) ((char *)ret)[k] = k < v.stride ? from[k] : (char)0;
}
struct mintd_op; struct mintd_ctx; struct mintd_cfg; struct mintd_watch; struct mintd_timer; struct mintd_dial;

/* Outcome, request, result: the same three for every op of every kind. An outcome speaks of that one call. */
enum { MINTD_OK = 0,        /* ran; single rows may still carry their own `why` */
    MINTD_CANCELED = 1,     /* no effect: cancel, drain or the deadline came first */
    MINTD_TRANSIENT = 2,    /* no effect; the same call may work later */
    MINTD_THROTTLED = 3,    /* no effect; not before retry_ms (0: the host picks) */
    MINTD_PERMANENT = 4,    /* no effect; never will work unchanged */
    MINTD_AMBIGUOUS = 5 };  /* effect of THIS call unknown: in doubt after the first byte left, this one */
struct mintd_outcome { uint32_t size, cls; int64_t code; uint64_t retry_ms; struct mintd_str slug, msg; };
struct mintd_req { uint32_t size, flags; uint64_t deadline_ms;     /* on now_ms; flags: per op, see the op tables */
    const void *arg; struct mintd_vec rows; };                     /* arg: the op's own sized struct, or NULL */
struct mintd_res { uint32_t size, flags; struct mintd_vec rows; struct mintd_str next; };  /* next: cursor */
typedef void mintd_op_fn(void *self, struct mintd_op *, const struct mintd_req *);
typedef void mintd_fn(void *arg);
typedef void mintd_io_fn(void *arg, int fd, uint32_t events);
struct mintd_field { struct mintd_str key, val; };
enum { MINTD_IN = 1, MINTD_OUT = 2 };                     /* events; an error or hang-up reports both asked-for bits */
enum { MINTD_ERROR = 0, MINTD_WARN = 1, MINTD_INFO = 2, MINTD_DEBUG = 3 };                 /* log levels */

/* The host table: const, outlives every instance, the only source of time, randomness, waiting and file sync. */
struct mintd_host {
    uint32_t size; uint16_t abi_major, abi_minor;
    /* any thread; NULL outcome: OK; NULL result: no rows */
    void     (*done)(struct mintd_op *, const struct mintd_outcome *, const struct mintd_res *);
    void    *(*scratch)(struct mintd_op *, size_t);  /* zeroed, lives until done; NULL: no memory */
    int      (*canceled)(struct mintd_op *);         /* 1: told to stop, or past the deadline */
    uint64_t (*now_ms)(struct mintd_ctx *);          /* monotonic: waits, deadlines */
    int64_t  (*wall_us)(struct mintd_ctx *);         /* UTC: labels, schedules, never a safety decision */
    void     (*random)(struct mintd_ctx *, void *, size_t);
    void     (*log)(struct mintd_ctx *, struct mintd_op *or_null, uint32_t level, struct mintd_str msg, struct mintd_vec fields);
    void     (*metric)(struct mintd_ctx *, uint32_t index, struct mintd_str label, int64_t v);
    void     (*poke)(struct mintd_ctx *, struct mintd_str id);     /* hint: there is news (about id) */
    void     (*post)(struct mintd_ctx *, mintd_fn *, void *);      /* run on the loop, in order */
    int      (*sync)(struct mintd_ctx *, int fd);    /* fdatasync, 0 or -errno; blocks: worker or offload only */
    /* loop thread only */
    int  (*offload)(struct mintd_ctx *, mintd_fn *work, mintd_fn *after, void *);  /* private worker, in order; 0/-errno */
    struct mintd_watch *(*watch)(struct mintd_ctx *, int fd, uint32_t events, mintd_io_fn *, void *);
    int  (*watch_set)(struct mintd_watch *, uint32_t events);
    void (*watch_del)(struct mintd_watch *);         /* on return: never called again; same for the next two */
    struct mintd_timer *(*timer)(struct mintd_ctx *, uint64_t ms, mintd_fn *, void *);     /* fires once */
    void (*timer_del)(struct mintd_timer *);         /* owed once, fired or not */
    struct mintd_dial *(*dial)(struct mintd_ctx *, struct mintd_str host, uint32_t port, uint64_t ms, mintd_io_fn *, void *);
    void (*dial_del)(struct mintd_dial *);           /* owed once; fn got a non-blocking fd (yours) or -errno */
    /* worker threads only */
    uint32_t (*worker)(struct mintd_ctx *);          /* 0 .. workers-1: index for per-thread handles */
    int  (*wait)(struct mintd_op *, int fd, uint32_t events, uint64_t ms);  /* events, 0 time, -ECANCELED; fd -1: sleep */
    int  (*dial_wait)(struct mintd_op *, struct mintd_str host, uint32_t port, uint64_t ms);  /* fd (yours), -errno */
    /* check and create only: values typed, ranged, defaulted, secrets resolved; i indexes a list. 0, -ENOENT if unset or
       beyond the list. Units: duration ms, size bytes, amount the smallest unit, bool 0/1. Strings live as long as cfg. */
    int  (*opt_str)(const struct mintd_cfg *, const char *name, uint32_t i, struct mintd_str *ret);
    int  (*opt_i64)(const struct mintd_cfg *, const char *name, uint32_t i, int64_t *ret);
    void (*opt_error)(const struct mintd_cfg *, const char *name, const char *why);        /* adds file:line */
};

/* ---- chain. Amounts: smallest unit. bound, clock, margin: one chain clock (block height, consensus ns), only compared.
 * op          effect  classes      rows -> result                                    flags
 * limits      none    C T H P      - -> 1 limits
 * prepare     none    C T H P      intent -> plan, each: asks, bound; fit < n = too big; bad = items that would fail
 * seal        none    P            seal -> tx, each; pure; verifies every signature
 * broadcast   THE ONE C T H P A    tx (routes = send to) -> sent, one per tx and route. Same bytes any number of times
 * status      none    C T H        tx (routes = who took it) -> seen. 0: any one witness; 1: every PROVE route, with
 *                                  history and effect. Reports per witness, never concludes
 * inspect     none    C T H P      asset -> truth, each; finalized only
 * list ?      none    C T H P      arg list -> truth in chain order, `next`
 * find ?      none    C T H P      item (arg list: collection) -> truth, 0..n each
 * estimate    none    C T H P      intent (a sample) -> cost
 * wallet      none    C T H P      key (role: the option that names it) -> purse of each that holds money         ---- */
enum { MINTD_MINT = 0, MINTD_COLLECTION = 1, MINTD_TRANSFER = 2 };       /* budgets: mask of 1 << kind */
enum { MINTD_SEND = 1, MINTD_READ = 2, MINTD_PROVE = 4 };                /* PROVE: has history, counts for a quorum */
struct mintd_route { struct mintd_str name; uint32_t use, state; };      /* node or endpoint; name shows no secret; state 1: sick */
struct mintd_budget { struct mintd_str route; uint32_t kinds, per_s, burst, cost_tx, cost_item, in_flight; };
enum { MINTD_C_EFFECT = 1,  /* assets can be looked up without the transaction */
    MINTD_C_DELIVERS = 2,   /* mints land in a treasury: a TRANSFER follows */
    MINTD_C_COLLECTS = 4 }; /* a mint needs a collection made on the chain first */
struct mintd_limits { struct mintd_str network, unit;     /* genesis hash or ledger id, pinned; "tinybar" */
    struct mintd_str item_key;                            /* "instance/key" that item keys are derived from */
    uint32_t decimals, item_scheme;                       /* item_scheme 0: items have no key of their own */
    uint32_t items_mint, items_transfer, name_max, uri_max;
    uint32_t tx_room, item_base;                          /* bytes: sum(item_base + name + uri) <= tx_room; 0: no limit */
    uint32_t prepare_max, status_max, inspect_max, caps;  /* rows per call; MINTD_C_* */
    uint32_t finality_ms, ttl_ms; uint64_t margin;        /* ask again after ttl_ms */
    struct mintd_vec routes, budgets;                     /* budgets: thousandths; route absent: whole network */
    struct mintd_str coin; uint64_t usd_micros; };        /* since 0.1: "SOL"; price of one coin in 1/1000000 USD, 0: not known */
struct mintd_key { struct mintd_str role, ref, pub; uint32_t scheme, flags; };             /* "payer", "vault/hot" */
struct mintd_item { uint64_t id; struct mintd_str tag, owner, name, uri, attrs, asset, pub; };   /* tag, pub: of the item key */
struct mintd_intent { uint32_t kind, attempt; uint64_t chunk, fee_cap; struct mintd_str collection, spec, memo;
    struct mintd_vec items, keys, routes; };              /* collection: chain_ref; spec: JSON; routes: str, best first */
struct mintd_ask { struct mintd_str key, tag, msg; uint64_t chunk; uint32_t scheme, attempt; };  /* tag: derive a child */
struct mintd_bad { const struct mintd_outcome *why; uint32_t item, flags; };               /* item: index in the intent */
struct mintd_plan { const struct mintd_outcome *why; uint64_t bound, fee_max; uint32_t fit, flags;
    struct mintd_str state; struct mintd_vec asks, bad; };               /* state: opaque, handed back to seal */
struct mintd_seal { struct mintd_str state; struct mintd_vec sigs; };    /* mintd_sig, in the order of asks */
struct mintd_tx { const struct mintd_outcome *why; struct mintd_str id, raw, collection;
    uint64_t bound, fee_max; uint32_t kind, n_items;                     /* bound UINT64_MAX: never expires */
    struct mintd_vec assets, routes, items; };                           /* str, str; items: only to prove */
    /* an asset is a text as the chain shows it; serials of one transaction are decimal and consecutive */
struct mintd_sent { const struct mintd_outcome *why; struct mintd_str route; uint32_t tx, flags; };    /* tx: row of the request */
enum { MINTD_NO_ANSWER = 0, MINTD_ABSENT = 1, MINTD_PENDING = 2,
    MINTD_LANDED = 3,       /* executed, effect there; of an asset: present */
    MINTD_ERRED = 4 };      /* executed, no effect; of an asset: burned */
enum { MINTD_F_FINAL = 1,   /* no rollback possible any more */
    MINTD_F_PARTIAL = 2,    /* executed, but this witness does not know the assets */
    MINTD_F_HISTORY = 4,    /* all history was searched */
    MINTD_F_AFTER = 8,      /* asked after `clock` was read, answered at or beyond it, by the same route */
    MINTD_F_EFFECT = 16 };  /* the assets themselves were looked up too, under the same condition */
struct mintd_seen { const struct mintd_outcome *why; struct mintd_str route, facts;        /* facts: JSON, for the proof */
    uint32_t tx, state, flags, reserved; uint64_t clock, height, fee; int64_t time_ms; struct mintd_vec assets; };
struct mintd_asset { struct mintd_str collection, asset; };
struct mintd_truth { const struct mintd_outcome *why; struct mintd_str route, asset, collection, owner, name, uri, tx;
    uint32_t row, state, flags, reserved; uint64_t clock; int64_t time_ms; };
struct mintd_list { uint32_t size, max; struct mintd_str collection, cursor; };
struct mintd_cost { struct mintd_str what; uint64_t amount; uint32_t per, flags; };        /* 0 once, 1 tx, 2 item */
struct mintd_purse { struct mintd_str account, role, route; uint64_t balance, clock; };
struct mintd_chain_ops { uint32_t size, caps;
    mintd_op_fn *limits, *prepare, *seal, *broadcast, *status, *inspect, *list, *find, *estimate, *wallet; };

/* ---- signer
 * public_keys none    C T H P      ask (key, tag, scheme) -> pub, each; no rows: every key. Same answer for ever
 * sign        guard   C T H P      ask -> sig, each. Whole messages, never digests; same message: allowed again
 * Derivation of a child key from (key, scheme, tag) is part of the signer's contract and frozen by a test vector. A signer
 * that cannot derive answers PERMANENT signer.no_derive.                                                          ---- */
enum { MINTD_ED25519 = 1, MINTD_SECP256K1_KECCAK = 2 };   /* 2: the signer hashes; r || s || v */
struct mintd_pub { const struct mintd_outcome *why; struct mintd_str key, pub; uint32_t scheme, flags; };
struct mintd_sig { const struct mintd_outcome *why; struct mintd_str pub, sig; };
struct mintd_signer_ops { uint32_t size, caps; mintd_op_fn *public_keys, *sign; };

/* ---- uploader
 * identify ?  none    P            blob -> stored LOCAL, each; no network; same answer for ever
 * put         stored  C T H P      blob -> stored, each: reached level, `pin` handle; repeatable, same uri
 * check       none    C T H P      blob (uri, pin) -> stored, each; level 0 = certainly not there; no answer = `why`  ---- */
enum { MINTD_LOCAL = 1, MINTD_ACCEPTED = 2, MINTD_PINNED = 3, MINTD_FETCHED = 4 };
struct mintd_blob { struct mintd_str name, type, data, uri, pin; uint64_t len; int32_t fd; uint32_t flags; };  /* fd -1: data */
struct mintd_stored { const struct mintd_outcome *why; struct mintd_str uri, pin, facts; uint32_t level, flags; };
struct mintd_uploader_ops { uint32_t size, caps; mintd_op_fn *identify, *put, *check; };

/* ---- cache: never the truth. Any failure reads as a miss; never retried in line
 * get / put   - / set C T          kv -> kv, each, `found` / -      (put: ttl_ms 0 = the category's default)
 * del         remove  C T          kv -> -                          flags 1: key is a prefix, within own namespace
 * stats       none    C T          - -> cache_stats                                                               ---- */
struct mintd_kv { struct mintd_str key, val; uint64_t ttl_ms; uint32_t found, flags; };
struct mintd_cache_stats { uint64_t keys, bytes, hits, misses; uint32_t connected, reserved; };
struct mintd_cache_ops { uint32_t size, caps; mintd_op_fn *get, *put, *del, *stats; };

/* ---- store: one set of rows for writing and reading, members named as the columns of docs/store.md. Times: ms since the
 * epoch on the store's clock. Absent, 0 = leave as it is. id 0 inserts; later rows of a group name their head by 0.
 * migrate     applies C T P A      - -> schema                      flags 1: apply; 0: look
 * stage       slab    C T H P A    arg stage; item -> 1 applied     request 0: opens one; flags 1: drop request and rows
 * commit      durable C T H P A    arg commit; change -> applied, one per group, in order of first appearance
 * claim       durable C T H P A    arg claim; lane (max each) -> chunk            flags 1: with items and newest attempt
 * query       none    C T H P      arg query; -> rows of that kind, `next`; primary only                          ---- */
enum { MINTD_DB_VENUE = 1, MINTD_DB_COLLECTION, MINTD_DB_REQUEST, MINTD_DB_ITEM, MINTD_DB_CHUNK, MINTD_DB_MEMBER,
    MINTD_DB_ATTEMPT, MINTD_DB_PROOF, MINTD_DB_EVENT, MINTD_DB_SPEND, MINTD_DB_LEASE, MINTD_DB_META,
    MINTD_DB_LANE, MINTD_DB_COUNT,                        /* kinds of change, of query, of its rows */
    MINTD_DB_KEY, MINTD_DB_REPORT };                      /* since 0.1 */
enum { MINTD_Q_NEWEST = 2, MINTD_Q_MINTED = 4 };          /* since 0.1, flags of an ITEM query: newest first, filtered; by time of mint */
enum { MINTD_ST_ACCEPTED = 1, MINTD_ST_UPLOADING, MINTD_ST_UPLOADED, MINTD_ST_SIGNED, MINTD_ST_LANDED, MINTD_ST_QUARANTINE,
    MINTD_ST_DONE = 10, MINTD_ST_FAILED, MINTD_ST_CANCELLED, MINTD_ST_MOVED };
enum { MINTD_COL_NEW = 1, MINTD_COL_READY, MINTD_COL_PARKED, MINTD_COL_FULL, MINTD_COL_CLOSED };
enum { MINTD_RQ_OPEN = 0, MINTD_RQ_SEALED = 1 };
enum { MINTD_PROOF_EXPIRED = 1, MINTD_PROOF_ERRED, MINTD_PROOF_REFUSED, MINTD_PROOF_OPERATORS };
struct mintd_db_venue { uint64_t id; struct mintd_str name; };
struct mintd_db_collection { uint64_t id, venue, parent, max_supply, accepted; uint32_t from, state;     /* from: compare */
    struct mintd_str pipeline, name, spec, network, chain_ref, park_reason; };
struct mintd_db_run { uint64_t collection; uint32_t first, count, batch, reserved; };  /* first: sequence; batch: per chunk */
struct mintd_db_request { uint64_t id, venue, n_items; struct mintd_str idem_key, body_hash, options; uint32_t from, state;
    int64_t not_before, cancel_at, created_at, sealed_at, finished_at; struct mintd_vec runs; };
struct mintd_db_item { uint64_t id, venue;                /* id in a write: the sequence, the store adds request << 24 */
    struct mintd_str ticket, recipient, uri, body, extra; uint32_t ord, pos;
    uint64_t chunk, delivery; struct mintd_str tx_id, asset, slug; uint32_t state, delivered; };  /* query only */
struct mintd_db_chunk { uint64_t id, parent, request, collection, venue; int64_t lane;
    uint32_t kind, origin, n, from, state, attempt_no, slot, flags;      /* slot 0: free; flags 1: give it free */
    uint64_t wake_in_ms, first_serial, fee; int64_t accepted_at, uploaded_at, minted_at, block_time;
    struct mintd_str upload, assets, evidence, slug, msg;
    struct mintd_vec items, attempts; };                                 /* nested rows: claim and query only */
struct mintd_db_member { uint64_t item, from_chunk, to_chunk; uint32_t pos, kind, gen, reserved; };
struct mintd_db_attempt { uint64_t chunk, bound, fee_cap, epoch; int64_t created_at;
    struct mintd_str network, tx_id, bytes, assets; uint32_t no, slot; };
struct mintd_db_proof { uint64_t chunk, watermark, absent_at; int64_t created_at; uint32_t no, kind, effect_absent, quorum;
    struct mintd_str endpoints, error, by1, by2, raw_hash, facts; };     /* watermark, absent_at: chain clock */
struct mintd_db_event { uint64_t seq, venue, subject; int64_t at; uint32_t slot, subject_kind;  /* seq, hash: the store's */
    struct mintd_str kind, body, hash; };
struct mintd_db_spend { struct mintd_str scope; int64_t window_start, reserve, spend;          /* these two: changes */
    uint64_t cap, reserved, spent; };
struct mintd_db_lease { uint32_t slot, flags; uint64_t epoch, event_seq, ttl_ms; int64_t expires_at; struct mintd_str holder, head; };
struct mintd_db_meta { struct mintd_str key, val, expect; };
struct mintd_db_count { uint32_t scope, kind; uint64_t scope_id, open, quarantined, done, failed, cancelled, transit, mint_ms, fee; };
struct mintd_db_lane { int64_t lane; uint64_t collection, venue, wake_in_ms; struct mintd_str pipeline; uint32_t max, flags; };
struct mintd_db_key { uint64_t id, venue; struct mintd_str name, hash, scopes, cidr;     /* venue 0: any; hash: 32 bytes */
    int64_t created_at, expires_at, revoked_at, used_at; };              /* expires_at, revoked_at 0: never */
struct mintd_db_report { uint64_t id, total_checked, confirmed, not_found, pending, errors, discrepancy_count;
    struct mintd_str venue_id, report_data; int64_t report_date, created_at; };
struct mintd_change { uint32_t kind, group; struct mintd_vec rows; };
struct mintd_commit { uint32_t size, flags, slot, reserved; uint64_t epoch; };             /* flags 1: durable before done */
enum { MINTD_APPLIED = 0, MINTD_REPEATED = 1, MINTD_STALE = 2, MINTD_DUPLICATE = 3, MINTD_REFUSED = 4 };
struct mintd_applied { uint32_t group, verdict; uint64_t value; struct mintd_str detail; };
struct mintd_stage { uint32_t size, flags, slot, reserved; uint64_t epoch, request, venue; struct mintd_str idem_key; };
struct mintd_claim { uint32_t size, flags, slot, reserved; uint64_t epoch; };
struct mintd_query { uint32_t size, kind, max, flags, slot, reserved; uint64_t states, venue, request, collection;
    int64_t from_ms, to_ms; struct mintd_str cursor; struct mintd_vec ids, names;      /* ids: uint64_t; names: str */
    struct mintd_str event; };                                           /* since 0.1: eventId of items */
struct mintd_schema { struct mintd_str identity; uint64_t kinds; uint32_t now, wanted; };  /* kinds: mask of 1 << DB_* */
struct mintd_store_ops { uint32_t size, caps; mintd_op_fn *stage, *commit, *claim, *query, *migrate; };

/* ---- what a plugin publishes */
enum { MINTD_REQUIRED = 1, MINTD_RESTART = 2 };           /* 2: a change needs a restart, not just a new instance */
struct mintd_opt {            /* type: str int bool duration size amount url path secret key enum list:<type> */
    const char *name, *type, *dflt, *choices, *help;      /* dflt as written in a config, NULL: unset; choices: of an enum, "a|b|c";
                                                             of an amount, its units, "tinybar=0|hbar=8" (decimals each) */
    int64_t min, max; uint64_t flags; };                  /* range of numbers, min == max: none */
struct mintd_metric { const char *name, *label, *help; uint64_t type; };         /* 1 counter, 2 gauge, 3 histogram in ms */
struct mintd_slug { const char *slug, *help; };           /* every slug an outcome may carry; help: what to do */
enum { MINTD_CHAIN = 1, MINTD_STORE = 2, MINTD_CACHE = 3, MINTD_UPLOADER = 4, MINTD_SIGNER = 5 };
enum { MINTD_LOOP = 1, MINTD_WORKERS = 2 };
enum { MINTD_SIMULABLE = 1 };                             /* time, randomness, waiting, sync come from the host alone */
struct mintd_plugin {
    uint32_t magic, size; uint16_t abi_major, abi_minor, need_minor, kind;    /* need_minor: oldest host it runs on */
    uint32_t model, workers;          /* workers: default of the built-in option */
    uint64_t serial_ops, flags;       /* bit i: op i of its table runs alone, in order, on worker 0; flags: MINTD_SIMULABLE */
    const char *name, *version, *summary;
    struct mintd_vec opts, metrics, slugs;
    const void *ops;                  /* the table of this kind; NULL member: not offered */
    int  (*check)(const struct mintd_host *, const struct mintd_cfg *);       /* pure: options across each other; 0 or -errno */
    int  (*create)(const struct mintd_host *, struct mintd_ctx *, const struct mintd_cfg *, void **ret_self);   /* no I/O */
    mintd_op_fn *start, *drain;       /* start: connects, verifies; rows of mintd_field, facts about the peer */
    void (*cancel)(void *self, struct mintd_op *);        /* loop thread, advisory, done is still owed; may be NULL */
    void (*destroy)(void *self);      /* once per successful create, with no live op */
};
const struct mintd_plugin *mintd_plugin_v0(void);         /* the only exported symbol */
#ifdef __cplusplus
}
#endif
#endif
