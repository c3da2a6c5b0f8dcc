/* What the files of the intake share: intake.c (life, order of things), slab.c (tickets to rows), names.c (names to ids), known.c
 * (tickets that were accepted before), seal.c (the promise). Loop thread. */
#ifndef PIPE_INTAKE_INT_H
#define PIPE_INTAKE_INT_H
#include "pipe/meta.h"
#include "pipe/pipe_int.h"

enum { SLAB_ITEMS = PIPE_SLAB_ITEMS, SLAB_FIRST = 8, SLAB_FIRST_BYTES = 4096, SLABS_QUEUED = 2, RETRY_MS = 1000, TICKET_ID_MAX = 128, RECIPIENT_MAX = 128 };
enum { LIST_MAX = 100 };                     /* conflicts, batches and collections a verdict names */
enum { NAMES_MAX = 10000 };                  /* ticket ids kept of a body that is only compared with an earlier one */
enum { ROUNDS_MAX = 16, IDLE_MAX = 3 };      /* looks for known tickets in all; of those, without finding one */

/* a ticket made into a row */
struct row { struct mintd_db_item item; struct mintd_str collection, name; uint64_t col_id, known; uint32_t place; };
struct slab { struct list link; struct arena *mem; struct row *rows; uint32_t n, cap; size_t bytes; struct mintd_db_item *items; };
struct seen { struct seen *next; struct mintd_str id; };
/* a collection of a dry run: id 0 in the store means that it would be made */
struct plan_col { struct plan_col *next; struct mintd_str name; uint64_t id, tickets; bool exists; };

struct pipe_intake {
    struct list link;
    struct pipe *pipe;
    struct line *line;
    struct arena *mem;                       /* names; lives as long as the intake */
    pipe_intake_fn *fn; void *arg; loop_fn *resume;
    struct mintd_str venue, key, collection, request_id;
    uint64_t opened_us;
    uint64_t venue_id, request;              /* request: number of the OPEN row when streamed */
    bool streamed, dry, own_key, over, closed, sealing, busy, replay, told_stop, venue_asked;
    uint64_t replay_of;
    uint8_t hash[32];
    struct slab *filling;
    struct list queued, ready;               /* slabs to prepare; slabs prepared and kept */
    uint32_t n_queued;
    uint64_t n_items;                        /* taken in */
    uint32_t seq;                            /* next sequence number */
    struct mintd_db_run *runs; uint32_t n_runs, cap_runs;
    struct { uint32_t n_runs, seq; struct mintd_db_run last; } mark;     /* before the last slab was laid out */
    struct map tickets;                      /* hash of ticket id -> those with it: duplicates inside a small or a dry request */
    uint32_t calls;                          /* answers outstanding */
    struct pipe_result result; char text[256]; char pointer[200];
    bool settled;

    /* tickets accepted before (known.c) */
    struct {
        struct slab *slab, *only; uint32_t at; uint64_t found;       /* at, found: rows passed, rows that turned out known */
        void (*then)(struct pipe_intake *), (*go_on)(struct pipe_intake *), (*next)(struct pipe_intake *);
        struct arena *mem;                   /* the page of the answer */
        const struct mintd_db_item *items; uint32_t n_items, *rows;      /* rows: place in the slab of each */
        struct buf cursor;
    } look;
    struct map marked;                       /* item id / 32 -> bits: known tickets told already, to see one that stands twice */
    uint64_t *known; uint32_t n_listed, cap_known; uint64_t n_known;
    uint64_t batches[LIST_MAX]; uint32_t n_batches; bool more_batches;
    struct pipe_conflict conflicts[LIST_MAX]; uint64_t n_conflicts;
    struct slab *staging;                    /* handed to the store, not answered */
    uint64_t holder;                         /* the request that has a ticket of ours, by the store's last refusal */
    uint32_t rounds, idle;
    bool names_lost;                         /* of a replay: too many to keep */

    /* a dry run */
    struct map cols; uint64_t n_cols, n_new_cols, next_col;
    struct pipe_plan plan; struct pipe_plan_col plan_cols[LIST_MAX];
    struct mintd_str constraint;             /* of the store, that refused the seal */
    void (*supply_then)(struct pipe_intake *);
};

/* intake.c */
void intake_proceed(struct pipe_intake *);                         /* the one place that decides what happens next */
void intake_maybe_free(struct pipe_intake *);
void intake_verdict(struct pipe_intake *, enum pipe_verdict, uint64_t request);
void intake_refuse(struct pipe_intake *, const char *code, uint64_t place, struct mintd_str field, const char *msg);
void intake_busy(struct pipe_intake *, const char *code, const char *msg);
void intake_memory(struct pipe_intake *);
void intake_busy_store(struct pipe_intake *);                      /* the commit that would have accepted it was refused or failed */
void intake_busy_call(struct pipe_intake *, const struct mintd_outcome *);
struct mintd_str intake_keep(struct pipe_intake *, struct mintd_str);
/* Begins an answer: counts the call down; false (and the intake may be gone) when nobody waits for it any more. */
bool intake_called(struct pipe_intake *);
void intake_call(struct pipe_intake *, struct plug_inst *, uint32_t op, const void *arg, struct mintd_vec rows, struct arena *mem, plug_fn *fn);
/* Asks the store; q and what it points to lie in mem, which is taken. */
void intake_query(struct pipe_intake *, struct arena *mem, struct mintd_query *q, plug_fn *fn);

/* slab.c */
struct slab *slab_for(struct pipe_intake *);                       /* the one being filled; NULL: no memory */
void slab_free(struct slab *);
int  slab_fill(struct pipe_intake *, struct slab *, const struct pipe_ticket *, const struct meta_ticket *, struct meta_error *);
int  slab_name(struct slab *, const struct pipe_ticket *);         /* only the ticket's id */
bool slab_twice(struct pipe_intake *, const struct slab *);        /* the row behind the last stands in this request already */
void slab_identify(struct pipe_intake *, struct slab *);           /* URIs, then on its way: kept, staged or compared */
int  slab_lay_out(struct pipe_intake *, struct slab *);

/* names.c */
uint64_t name_hash(const struct line *, uint64_t venue, struct mintd_str);
uint64_t name_get(struct pipe *, const struct line *, uint64_t venue, struct mintd_str);
void name_venue(struct pipe_intake *);
bool name_collections(struct pipe_intake *, struct slab *);        /* true when every row has its collection's id; else one is asked for */

/* known.c */
/* Compares the rows of a slab with the store: those accepted before leave it, those with other content become conflicts. */
void known_look(struct pipe_intake *, struct slab *, void (*then)(struct pipe_intake *));
void known_look_ready(struct pipe_intake *, void (*then)(struct pipe_intake *));       /* all that are kept */
/* The store refused because a ticket has another request: looks at one slab, or all that are kept (NULL). go_on when tickets left or are in
 * conflict; else the verdict is on its way. */
void known_taken(struct pipe_intake *, const struct mintd_applied *, struct slab *only, void (*go_on)(struct pipe_intake *));
void known_request(struct pipe_intake *, uint64_t id, plug_fn *fn);                    /* reads one request */
void known_tell(struct pipe_intake *);                             /* fills the result */
void known_free(struct pipe_intake *);

/* supply.c */
void supply_look(struct pipe_intake *, void (*then)(struct pipe_intake *));            /* then, unless a collection has no room for the request */

/* seal.c */
void seal_begin(struct pipe_intake *);                             /* the body is whole and prepared */
#endif
