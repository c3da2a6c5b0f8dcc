/* What the files of core/pipe share. Loop thread only; nothing here is thread-safe.
 *
 * A chunk in memory stands in exactly one stage and belongs to it: claimed -> upload (upload.c) -> ready -> a batch (mint.c)
 * -> watched (watch.c) -> dropped. Everything durable goes through the book (book.c). */
#ifndef PIPE_PIPE_INT_H
#define PIPE_PIPE_INT_H
#include "base/arena.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/metric.h"
#include "base/str.h"
#include "machine/chunk.h"
#include "machine/pace.h"
#include "machine/proof.h"
#include "machine/retry.h"
#include "pipe/pipe.h"
#include "pipe/template.h"

enum { ROUTES_MAX = 64, SENT_ROUTES = 8, BATCH_MAX = 64, CHUNKS_MIN = 64, CHUNKS_MAX = 512, RESTING_MAX = 1024 };

enum pipe_state { PIPE_STARTING, PIPE_RUNNING, PIPE_DRAINING, PIPE_DEAD };

/* ---- chain instances: limits, routes, budgets, watching (chain.c, watch.c) */
struct chain {
    struct list link;
    struct pipe *pipe;
    struct plug_inst *inst;
    struct arena *mem;                       /* holds limits */
    const struct mintd_limits *limits;       /* NULL: not known yet */
    struct pipe_budget *budgets; uint32_t n_budgets;
    uint32_t next_route;                     /* rotation among equally free routes */
    bool asking;                             /* a limits call is out */
    struct loop_timer *refresh;
    struct list watched;                     /* chunks SIGNED or LANDED */
    struct loop_timer *tick; uint64_t tick_at;
    uint32_t ticks_out;                      /* status calls not answered */
    uint64_t landing_ms;                     /* learned time from send to final */
    uint32_t failures;                       /* consecutive failed status calls */
    uint64_t clock;                          /* highest chain clock seen: display and resend decisions only */
};

/* ---- a pipeline at work */
struct line {
    struct list link;
    struct pipe *pipe;
    struct mintd_str name;
    const struct conf_pipeline *cf;          /* NULL: gone from the configuration, its lanes are parked */
    struct chain *chain;
    struct plug_inst *uploader, *cache;      /* cache may be NULL */
    struct template *metadata, *collection;
    struct list cols;                        /* ring of collections with ready chunks */
    struct pace_window window;
    struct list uploading; uint32_t puts_out; uint64_t put_us;     /* learned time of a put, per blob */
    uint32_t wave_open; uint64_t wave_next;  /* mode fixed: chunks of the wave not settled; earliest next wave */
    bool turn_posted, upload_posted;
    struct loop_timer *wake;
    char name_copy[];                        /* outlives every configuration */
};

/* ---- a collection, which is also a lane */
struct col {
    struct list ring;                        /* in line->cols while ready is not empty */
    struct list ready;                       /* chunks, by id */
    uint64_t id, venue;
    struct line *line;
    struct mintd_str venue_name, name, spec, chain_ref;
    uint32_t state, held;                    /* chunks in memory */
    uint64_t paused_until; uint32_t pauses;
    struct arena *mem;
};

struct chunk {
    struct list link;                        /* in the queue of its stage */
    struct line *line;
    struct col *col;
    struct arena *mem;                       /* holds row and items, shared with its claim */
    struct arena *own;                       /* holds the attempt below */
    const struct mintd_db_chunk *row;
    const struct mintd_db_item *items; uint32_t n_items;
    uint64_t id, request;
    uint32_t kind, state, attempt_no, tries;
    bool busy, cancel, seated, rests;        /* in a call or commit; wanted cancelled; holds a window seat; only waits for finality */
    struct loop_timer *timer;
    /* upload */
    uint32_t level; bool put_done;
    /* attempt */
    struct mintd_str tx_id, raw; uint64_t bound, fee_max;
    struct mintd_str *assets; uint32_t n_assets;
    struct mintd_str routes[SENT_ROUTES]; uint32_t n_routes;
    uint64_t budgets_held;                   /* mask of chain->budgets with an in-flight seat of this chunk */
    uint32_t sends;                          /* broadcasts of these bytes by this process */
    bool inherited;                          /* the attempt was signed before this process knew it: others may have sent it */
    bool ask_all, contradicted;
    uint64_t signed_ms, sent_ms, poll_at, resend_at, past_ms;
    uint64_t marked_us;                      /* since when it is in its present stage */
    int64_t signed_at;                       /* wall clock: names the window its spending was reserved in */
};

/* ---- the book: gathers change groups, one commit at a time */
struct group;
/* a: the verdict; NULL: the group was certainly not applied and is given up (only groups that asked for it, or at the end) */
typedef void group_fn(void *arg, const struct mintd_applied *a);
struct group *group_new(uint32_t weight, group_fn *, void *arg);    /* weight: items it stands for; NULL: no memory */
struct arena *group_mem(struct group *);
/* Adds a change of n zeroed rows of the size, returned for filling. NULL: no memory or too many changes (8). */
void *group_rows(struct group *, uint32_t kind, size_t size, uint32_t n);
#define GROUP_ROW(g, kind, type) ((struct type *)group_rows(g, kind, sizeof(struct type), 1))
/* Moves the changes of `from` (a group that will not be added by itself) behind those of g and frees it. */
void group_absorb(struct group *g, struct group *from);
enum { BOOK_LAZY = 0, BOOK_URGENT = 1, BOOK_GIVE_UP = 2 };                 /* wait for company; commit soon; may be given up */
void book_add(struct pipe *, struct group *, uint32_t how);
void book_event(struct group *, struct arena *, const char *kind, uint64_t venue, uint64_t request, struct mintd_str body);
void book_free(struct pipe *);
bool book_idle(const struct pipe *);
struct book {
    struct list waiting, flying;
    uint32_t items, n_waiting, tries;
    size_t bytes;
    bool out, urgent;
    struct loop_timer *timer;
    char fault[48]; uint64_t said_ms;        /* why the last commit failed; empty: it did not. When that was logged */
};

struct pipe {
    struct loop *loop;
    struct plug *plug;
    struct conf *conf;
    struct plug_inst *store;
    enum pipe_state state;
    struct mintd_str why;                    /* why not ready; lives as long as this */
    char fatal[900];                         /* why all work ended */
    char identity[65];                       /* of the store's books */
    loop_fn *commit_fn; void *commit_arg;
    struct loop_timer *damaged;
    uint32_t slot; uint64_t epoch, renewed_ms; uint32_t live_slots;
    bool started;
    pipe_started_fn *started_fn; void *started_arg;
    pipe_fatal_fn *fatal_fn; void *fatal_arg;
    pipe_settled_fn *settled_fn; void *settled_arg;
    loop_fn *drained_fn; void *drained_arg;
    struct loop_timer *lease_timer, *drain_timer, *start_timer;
    uint32_t start_tries;
    bool sweeping; struct mintd_str sweep_cursor; struct arena *sweep_mem; uint64_t swept_ms;
    struct list chains, lines, intakes, waits;
    struct map chunks, cols, names;
    struct book book;
    struct { bool out, again, more; struct loop_timer *timer; uint32_t turn; } lanes;
    uint32_t resting;                        /* chunks that only wait for finality */
    uint64_t written;                        /* counts commits and claims that were answered */
    uint32_t calls_out;                      /* plugin calls whose answer someone here waits for */
    struct { struct map known; struct list order; uint64_t wanted[64]; uint32_t n_wanted, ends; bool out; struct loop_timer *timer; } trail;
    struct { struct metric *stages, *depth, *chunks, *in_flight, *window, *ready, *memory, *commits, *groups, *claims, *proofs, *resends,
             *minted, *quarantined, *seconds, *leases, *hits, *misses, *hit_rate, *failed; } m;
};

/* pipe.c */
void pipe_fatal(struct pipe *, const char *why, ...) __attribute__((format(printf, 2, 3)));
struct line *pipe_line(struct pipe *, struct mintd_str name);       /* NULL: not configured (any more) */
void line_wake_in(struct line *, uint64_t ms);                     /* mint_kick then; the last call counts */
uint32_t pipe_random32(struct pipe *);
struct retry_verdict pipe_retry_in(struct pipe *, const struct line *or_null, enum retry_stage, const struct mintd_outcome *,
                                   uint32_t tries);
void pipe_call(struct pipe *, struct plug_inst *, uint32_t op, uint32_t flags, const void *arg, struct mintd_vec rows,
               struct arena *mem, plug_fn *fn, void *fn_arg);      /* plug_call that is counted; fn must call pipe_called first */
void pipe_called(struct pipe *);
void pipe_outcome(struct pipe *, const struct line *, enum retry_stage, uint64_t chunk, const struct mintd_outcome *);   /* logs it */

/* chunk_mem.c */
struct chunk *chunk_adopt(struct pipe *, struct line *, struct col *, const struct mintd_db_chunk *row, struct arena *mem);
void chunk_route(struct pipe *, struct chunk *);                   /* into the stage of its state */
void chunk_drop(struct pipe *, struct chunk *);                    /* out of memory; its state is in the store */
/* Landed, waiting for finality: it takes neither a window seat nor room for new claims. */
void chunk_rest(struct pipe *, struct chunk *, bool rests);
void chunk_later(struct pipe *, struct chunk *, uint64_t ms, loop_fn *fn);   /* fn(chunk); one at a time per chunk */
void chunk_seat(struct chunk *);                                   /* takes a window seat */
void chunk_unseat(struct pipe *, struct chunk *);                  /* gives window, wave and budget seats back */
struct mintd_db_chunk *chunk_change(struct group *, const struct chunk *, uint32_t to);
void chunk_fail(struct pipe *, struct chunk *, struct mintd_str slug, struct mintd_str msg, struct group *with_proof);
void chunk_cancel_now(struct pipe *, struct chunk *, group_fn *, void *arg);
void chunk_end_empty(struct pipe *, struct chunk *);               /* a delivery without a receiver */
void chunk_quarantine(struct pipe *, struct chunk *, const char *slug, struct mintd_str msg);
/* Items whose bit in alone[] is set get a chunk each, the rest stay together in chunks of at most `fit`. proof may be NULL. */
void chunk_split(struct pipe *, struct chunk *, struct group *proof, const bool *alone, uint32_t fit);
bool chunk_verdict(struct pipe *, struct chunk *, const struct mintd_applied *, const char *what);   /* true: applied or repeated */

/* The time since the last mark was spent in `stage`. */
void chunk_mark(const struct pipe *, struct chunk *, const char *stage);

/* trail.c: the HTTP request behind a batch, in the log */
void trail_put(struct pipe *, uint64_t request, struct mintd_str id);
struct mintd_str trail_get(const struct pipe *, uint64_t request);   /* empty: not known (yet), or it had none */
void trail_want(struct pipe *, uint64_t request);                  /* to be known soon */
void trail_begin(struct pipe *, uint64_t request, struct mintd_str venue, uint64_t items);   /* logs "batch accepted" */
void trail_count(struct pipe *, uint64_t request, uint32_t state, uint64_t items);     /* mint seats that ended in a state */
void trail_end(struct pipe *, uint64_t request);                   /* logs "batch settled" with its counts */
/* A line about a chunk (0: none) of a batch (0: none) with the fields that name them. */
void trail_log(const struct pipe *, uint32_t level, uint64_t request, uint64_t chunk, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* A line about an HTTP request whose batch has no number (yet). */
void trail_say(uint32_t level, struct mintd_str request_id, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void trail_free(struct pipe *);

/* slot.c: lease, recovery */
void slot_start(struct pipe *);
void slot_recover(struct pipe *);
void slot_release(struct pipe *, group_fn *fn, void *arg);
bool slot_fresh(const struct pipe *);                              /* renewed within half a lease: may plan new attempts */

/* chain.c */
struct chain *chain_of(struct pipe *, struct plug_inst *);         /* found or made; NULL: no memory */
void chain_refresh(struct chain *);
void chain_free(struct chain *);
/* Routes to send to, with room in every budget: 0 and n routes, budgets taken; else ms to wait. */
uint64_t chain_routes(struct chain *, struct chunk *, uint32_t want, struct mintd_str *ret, uint32_t *ret_n);
void chain_refused(struct chain *, struct mintd_str route, uint32_t kind, uint64_t retry_ms);
void chain_budgets_back(struct chain *, struct chunk *);
struct proof_rule chain_rule(const struct chain *, const struct line *);

/* lane.c */
void lane_kick(struct pipe *);
void lane_stop(struct pipe *);
struct col *lane_col(struct pipe *, uint64_t id);                  /* NULL: not loaded */
typedef void lane_loaded_fn(void *arg);
void lane_load(struct pipe *, const uint64_t *ids, uint32_t n, lane_loaded_fn *, void *arg);    /* collections and their venues */
void lane_made(struct pipe *, uint64_t collection, struct mintd_str chain_ref);    /* its creation is final */
void col_free(struct col *);

/* upload.c, mint.c, watch.c */
void upload_add(struct chunk *);
void upload_turn(struct line *);
void mint_add(struct chunk *);
void mint_kick(struct line *);
void mint_resend(struct pipe *, struct chunk *);
void watch_add(struct pipe *, struct chunk *);
void watch_del(struct chunk *);
void watch_arm(struct chain *);
void watch_spend(struct group *, const struct chunk *, int64_t reserve, int64_t spend);   /* adds a SPEND row if there is a cap */
/* The attempt is dead by this proof (a group without a head): a new attempt, or the end when `final` or the budget is used up. */
void watch_bury(struct pipe *, struct chunk *, struct group *proof, struct mintd_str slug, struct mintd_str msg, bool final);

/* steer.c */
void steer_mint_done(struct pipe *, uint64_t request);             /* no mint seat of it is open any more */
void steer_failed(struct pipe *, const struct line *, uint64_t request);
void steer_free(struct pipe *);

/* intake.c */
void intake_end_all(struct pipe *);
void intake_names_free(struct pipe *);
#endif
