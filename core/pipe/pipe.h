/* The pipeline of one daemon: lease, recovery, intake, upload, mint, confirm. Turns machine decisions into plugin calls.
 * Owns everything between an accepted request and its terminal chunks. Calls plug/, machine/, conf/, base/. Loop thread. */
#ifndef PIPE_PIPE_H
#define PIPE_PIPE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "conf/conf.h"
#include "machine/pace.h"
#include "plug/plug.h"

struct pipe;
/* conf is referenced. Instances must be configured. */
int  pipe_new(struct loop *, struct plug *, struct conf *, struct pipe **ret);
/* migrate (or look), pins, lease, recovery. fn(arg, 0) when work may be accepted, fn(arg, -errno) with `why` when it never
 * will (wrong network, newer schema, lost pin ...). Called once; the store's or chain's transient failures are retried inside. */
typedef void pipe_started_fn(void *arg, int err, const char *why);
void pipe_start(struct pipe *, pipe_started_fn *, void *arg);
void pipe_reconfigure(struct pipe *, struct conf *);        /* after plug_swap: new policies for what is not yet decided */
void pipe_drain(struct pipe *, loop_fn *, void *arg);       /* no new work; parks; ends the lease; then fn */
void pipe_free(struct pipe *);                              /* after drain, or at once in tests that died */
/* The slot was lost or the store is beyond use: nothing more can be written. Once; the process should end and start anew. */
typedef void pipe_fatal_fn(void *arg, const char *why);
void pipe_on_fatal(struct pipe *, pipe_fatal_fn *, void *arg);
bool pipe_ready(const struct pipe *, struct buf *why);      /* accepts work: lease held, store answers, one chain known */
uint64_t pipe_written(const struct pipe *);                 /* changes with everything this process writes that a reader may see */
void pipe_sample(struct pipe *);                            /* brings the gauges of its queues up to date */
struct plug_inst *pipe_store(struct pipe *);
struct mintd_str pipe_identity(const struct pipe *);        /* of the store's books, made with them; empty before the start */
/* fn after each commit, on the loop: rows changed, and events may be new. One listener; NULL: none any more. */
void pipe_on_commit(struct pipe *, loop_fn *fn, void *arg);
/* The chain of a pipeline, for whoever asks it something himself. false: no such pipeline, or its chain was never heard. */
struct pipe_chain { struct plug_inst *inst; uint32_t quorum, status_max, inspect_max, caps; };
bool pipe_chain(struct pipe *, struct mintd_str pipeline, struct pipe_chain *ret);
struct plug *pipe_plug(struct pipe *);
/* One pipeline as it stands. Its pointers hold until the caller returns to the loop. */
struct pipe_budget { const struct mintd_budget *b; struct pace_bucket bucket; uint32_t open; };
struct pipe_view {
    const struct conf_pipeline *cf;
    struct plug_inst *chain, *uploader, *cache;  /* cache may be NULL */
    const struct mintd_limits *limits;           /* NULL: the chain has not answered yet */
    uint64_t window_milli, in_flight;            /* adaptive: transactions allowed, in thousandths; open ones */
    uint64_t landing_ms, put_us;                 /* learned: from send to final; a put, per blob; 0: not known yet */
    const struct pipe_budget *budgets; uint32_t n_budgets;
};
bool pipe_look(struct pipe *, uint32_t i, struct pipe_view *ret);          /* the i-th that is configured; false: there is none */
bool pipe_look_at(struct pipe *, struct mintd_str name, struct pipe_view *ret);
/* A ticket like any other, as the pipeline would lay it out: for reckoning. 0, -ENOENT, -ENOMEM */
struct pipe_example { struct mintd_str body, name, collection; };
int  pipe_example(struct pipe *, struct mintd_str pipeline, struct mintd_str venue, struct arena *, struct pipe_example *ret);
enum { PIPE_SLAB_ITEMS = 1000 };                 /* tickets that are laid out into transactions together */
/* Writes one row of `kind` through the book, with the event named (NULL: none; body: JSON, may be empty) about it. The row and its
 * strings lie in mem, which is taken. fn once, on a later turn; NULL: certainly not applied. 0, -ENOMEM (fn is not called then). */
struct pipe_row { uint32_t kind; const void *row; size_t size; const char *event; uint64_t venue; struct mintd_str body;
    const char *also; struct mintd_str also_body; };         /* NULL, or a second event */
typedef void pipe_written_fn(void *arg, const struct mintd_applied *);
int pipe_write(struct pipe *, const struct pipe_row *, struct arena *mem, pipe_written_fn *, void *arg);

/* ---- intake. One per request being read. All strings are copied before the call returns. */
struct pipe_intake;
struct pipe_ticket {
    struct mintd_str id, recipient;              /* id: caller's, unique per venue for ever */
    struct mintd_str event_id, user_id;          /* kept in `extra`, never published */
    struct mintd_str data;                       /* ticketData: one valid JSON object, verbatim */
};
struct pipe_open {
    struct mintd_str venue, pipeline, collection;/* pipeline, collection: empty = by the rules */
    struct mintd_str idem_key;                   /* empty: the core makes one */
    struct mintd_str request_id;                 /* of the caller's request: letters, digits, . _ -; goes into log, options, event */
    bool     streamed;                           /* the body may exceed conf.intake_memory: stage in slabs */
    bool     dry;                                /* judge and plan, change nothing */
};
enum pipe_verdict {
    PIPE_ACCEPTED,           /* sealed: `request` is the promise */
    PIPE_REPLAYED,           /* same key, same body: `request` is the earlier one */
    PIPE_KNOWN,              /* every ticket was accepted before with the same content: no new request; `request`: the one that has all, or 0 */
    PIPE_PLANNED,            /* a dry run came through: `plan` */
    PIPE_OTHER_BODY,         /* same key, other body (422) */
    PIPE_IN_PROGRESS,        /* same key or ticket under an OPEN request (409 + Retry-After) */
    PIPE_TICKET_TAKEN,       /* `conflicts`: tickets accepted before with other content; nothing was accepted (409) */
    PIPE_BAD,                /* the caller's fault: `code` slug, `pointer`, `msg` (400 / 422) */
    PIPE_BUSY,               /* not now: store down, lease lost, disk full, draining (503 + retry_ms) */
};
struct pipe_conflict { uint64_t place, request; struct mintd_str ticket; const char *what; };      /* place in the body, from 0 */
struct pipe_plan_col { struct mintd_str name; uint64_t tickets; bool exists; };
struct pipe_plan {                               /* of the tickets that are new; cols: the first of the collections */
    struct mintd_str pipeline;
    uint64_t transactions, collections, new_collections;
    const struct pipe_plan_col *cols; uint32_t n_cols;
};
struct pipe_result {                             /* lives until pipe_intake_close */
    enum pipe_verdict verdict; uint64_t request, n_items, retry_ms;        /* n_items: tickets of the body */
    struct mintd_str code, pointer, msg;
    uint64_t place;                              /* PIPE_BAD: the ticket concerned, UINT64_MAX: none */
    /* tickets accepted before with the same content; they are not in `request` unless it is a replay of theirs. known_ids: their items,
     * none when there are more than api.sync_items; batches: their requests, the first 100 */
    uint64_t known; const uint64_t *known_ids; uint32_t n_known_ids;
    const uint64_t *batches; uint32_t n_batches; bool more_batches;
    const struct pipe_conflict *conflicts; uint64_t n_conflicts;           /* the first 100 of n_conflicts */
    const struct pipe_plan *plan;
};
typedef void pipe_intake_fn(void *arg, const struct pipe_result *);
/* fn is called exactly once: at the first refusal (the intake is then over, further calls are ignored until close) or with the
 * verdict of pipe_intake_seal. 0, -ENOMEM. Never calls fn from inside pipe_open or pipe_intake_add. */
int  pipe_intake_open(struct pipe *, const struct pipe_open *, pipe_intake_fn *, void *arg, struct pipe_intake **ret);
/* 0: go on. -EAGAIN: taken, but stop reading; resume(arg) is called when more is welcome. -ECANCELED: fn is on its way. */
int  pipe_intake_add(struct pipe_intake *, const struct pipe_ticket *, loop_fn *resume);
void pipe_intake_seal(struct pipe_intake *, const uint8_t body_hash[32]);      /* the whole body was read and is well-formed */
void pipe_intake_close(struct pipe_intake *);    /* always owed once; before the verdict it means: client gone, drop it all */

/* ---- following and steering */
/* fn once: when every mint seat of the request is terminal, or after ms (done=false). Returns a handle for pipe_unwait. */
typedef void pipe_wait_fn(void *arg, bool done);
struct pipe_wait;
struct pipe_wait *pipe_wait(struct pipe *, uint64_t request, uint64_t ms, pipe_wait_fn *, void *arg);
void pipe_unwait(struct pipe_wait *);            /* before fn only */
/* Whenever no mint seat of a request is open any more, as far as this process did it; more than once when it is retried. NULL: none */
typedef void pipe_settled_fn(void *arg, uint64_t request);
void pipe_on_settled(struct pipe *, pipe_settled_fn *, void *arg);
/* cancel: what is not yet SIGNED becomes CANCELLED. retry: FAILED and CANCELLED items move into new chunks. n: items affected.
 * err: 0, -ENOENT (no such request), -EAGAIN (not now). */
typedef void pipe_steer_fn(void *arg, int err, uint64_t n);
void pipe_cancel(struct pipe *, uint64_t request, pipe_steer_fn *, void *arg);
void pipe_retry(struct pipe *, uint64_t request, pipe_steer_fn *, void *arg);
#endif
