/* Private to core/plug/: files, contexts, op tickets and what they share. The daemon's other folders see plug.h only.
 *
 * A plug_inst is the stable handle of one configured name. A mintd_ctx is one created plugin object behind it: a reload makes
 * a second one, which takes over when it has started. An op is a ticket; the plugin holds a cookie, never its address.
 * Everything here runs on the loop thread unless it says "any thread". */
#ifndef PLUG_INST_H
#define PLUG_INST_H
#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "plug/plug.h"

enum { OPS_MAX = 16, LIVE_MAX = 4096, WORKERS_MAX = 64, GRACE_MS = 5000, SLOW_US = 50000 };

/* ---- kinds.c: what the ABI says about each op */
enum op_rows { ROWS_ANY, ROWS_ONE, ROWS_EACH };             /* rows of an OK answer: free, exactly 1, as many as asked */
struct op_info { const char *name; uint32_t classes, deadline_ms; bool optional; enum op_rows rows; };
const char *kind_name(uint32_t kind);                       /* "chain"; NULL: unknown */
uint32_t kind_of_name(struct mintd_str plugin);             /* "chain-local" is CHAIN; 0: the name says no kind */
uint32_t kind_ops(uint32_t kind);                           /* how many ops its table has */
const struct op_info *op_info(uint32_t kind, uint32_t op);  /* NULL: no such op; start and drain included */
uint64_t op_deadline(const struct op_info *, uint32_t kind, uint32_t op, uint32_t flags);    /* ms, 0: none */
uint32_t op_doubt(const struct op_info *);                  /* class of an answer that cannot be trusted or never came */
const char *class_name(uint32_t cls);

/* ---- file.c */
struct plug_ops { uint32_t size, caps; mintd_op_fn *fn[OPS_MAX]; };      /* any kind's table at this host's size */
struct plug_file {
    struct plug_file *next;
    char *name, *path;
    struct mintd_plugin desc;                               /* vectors below are copies at this host's row size */
    struct plug_ops ops;
    struct mintd_opt *opts;
    struct mintd_metric *metrics;
    struct metric **registered;                             /* one per published metric */
    struct mintd_slug *slugs;
};
const char *plug_file_help(const struct plug_file *, struct mintd_str slug);   /* any thread; what to do; NULL: not published */
void plug_file_register(struct plug_file *);                /* its metrics, before an instance is created */
/* lint.c: what a plugin publishes about itself. 0, or -EINVAL with one line in *err (without the file's name). */
int  lint_desc(const struct plug_file *, struct buf *err);

/* ---- defects.c: everything a plugin does against the contract is counted, logged now and then, and otherwise harmless */
enum defect { DEFECT_DOUBLE_DONE, DEFECT_LATE_DONE, DEFECT_NO_ANSWER, DEFECT_STALE_OP, DEFECT_BAD_OUTCOME, DEFECT_UNLISTED_CLASS,
    DEFECT_UNLISTED_SLUG, DEFECT_BAD_RESULT, DEFECT_WRONG_THREAD, DEFECT_UNKNOWN_OPTION, DEFECT_UNKNOWN_METRIC,
    DEFECT_BAD_FIELDS, DEFECT_LEAKED_HANDLE, DEFECT_COUNT };
struct owner;                                               /* an instance name, kept for the life of the process */
struct owner *owner_of(struct mintd_str instance);          /* NULL: no memory or 4096 names */
struct owner *owner_at(uint32_t number);                    /* any thread; NULL: none */
uint32_t owner_number(const struct owner *);                /* any thread; 1 .. 4095 */
struct mintd_str owner_name(const struct owner *);          /* any thread; NULL ok */
void defect(struct owner *, enum defect, const char *where);             /* any thread; owner NULL: unknown */
struct plug_metrics { struct metric *seconds, *ops, *in_flight, *slow, *defects; };
extern struct plug_metrics plug_metrics;                    /* set by plug_new, then read by any thread */
void plug_metrics_register(void);

/* ---- contexts: ctx.c, lifecycle in start.c */
enum ctx_state { CTX_CREATED, CTX_STARTING, CTX_READY, CTX_FAILED, CTX_DRAINING, CTX_DRAINED };
struct mintd_cfg {
    struct mintd_ctx *ctx; struct conf_opts *opts; struct conf_errors *errs;
    bool open;                                              /* inside check or create */
};
struct mintd_ctx {
    struct plug *plug; struct plug_inst *inst; struct plug_file *file; const struct mintd_plugin *desc; struct owner *owner;
    struct conf *conf;                                      /* keeps the text behind cfg.opts alive */
    const struct conf_instance *ci;                         /* of conf */
    struct mintd_cfg cfg;
    uint32_t workers;
    void *self;
    bool created, dead;                                     /* dead: destroyed; what was posted is skipped */
    enum ctx_state state;
    struct loop_pool *serial, *pool, *offload;              /* serial: worker 0 alone; pool: the others, or all */
    uint32_t live, zombies;                                 /* tickets in use; those of them the host settled itself */
    uint32_t refs;                                          /* atomic: 1 + what is posted, offloaded or dialled */
    struct list handles;                                    /* watches, timers, dials of the plugin */
    struct list link;                                       /* in plug->retired */
    struct loop_timer *backoff; uint32_t backoff_ms;
    struct mintd_op *starting;                              /* cookie of the start op in flight */
    bool was_ready, drain_sent, ending;                     /* was_ready: when the drain began */
    uint64_t slow_until_us;                                 /* a slow callback was named, be silent until then */
    struct arena *facts_mem; struct mintd_vec facts;
    struct buf why;                                         /* the last failed start */
};
struct plug_inst {
    struct list link; struct plug *plug; char *name; struct plug_file *file;
    struct mintd_ctx *cur, *taking, *next;                  /* serving; starting to take over; created by a reload */
    bool dropped, gone;                                     /* dropped: the reloaded conf has it no more; gone: swapped so */
    void (*poke)(void *, struct mintd_str); void *poke_arg;
    void (*failure)(void *, const struct mintd_outcome *); void *failure_arg;
};
struct plug {
    struct loop *loop; pthread_t thread; struct list insts, retired;
    plug_started_fn *started; void *started_arg;
    loop_fn *drained; void *drained_arg; bool draining;
    uint32_t leaked;                                        /* ops that never answered, of contexts already left behind */
};
/* Validates and creates one context, or with create = false only checks. Errors as conf lines. 0, -EINVAL, -ENOMEM */
int  ctx_new(struct plug *, const struct conf *, const struct conf_instance *, struct plug_file *, struct conf_errors *,
             struct mintd_ctx **ret);                       /* options checked, nothing created */
int  ctx_create(struct mintd_ctx *, struct plug_inst *, struct conf_errors *);
uint32_t ctx_destroy(struct mintd_ctx *);                   /* NULL ok; number of ops that never answered: then it is leaked */
struct mintd_ctx *ctx_get(struct mintd_ctx *);              /* any thread */
void ctx_put(struct mintd_ctx *);                           /* loop; lets a drain go on */
bool ctx_on_loop(const struct mintd_ctx *);                 /* any thread: is the caller on the loop, outside worker code */
struct loop_pool *ctx_my_pool(const struct mintd_ctx *, uint32_t *ret_worker);   /* any thread; NULL: not one of its workers */
void ctx_start(struct mintd_ctx *);                         /* with backoff, until it works or is PERMANENT */
void ctx_retire(struct mintd_ctx *);                        /* drains, destroys, forgets */
void ctx_drain(struct mintd_ctx *);
void ctx_check(struct mintd_ctx *);                         /* goes on draining when the last op or callback ended */
void plug_progress(struct plug *);                          /* plug.c: a context changed its state */

/* ---- op.c */
/* The live ticket of any op number, also of start and drain. fn on a later turn. Takes mem. */
struct mintd_op *op_begin(struct mintd_ctx *, uint32_t op, const struct mintd_req *, struct arena *mem, uint64_t deadline_ms,
                          plug_fn *fn, void *arg);          /* NULL: refused, fn comes all the same */
void op_stop(struct mintd_op *);                            /* tells the plugin now instead of at the deadline; stale is fine */
void op_run(void *op);                                      /* runs the plugin's function; loop or worker */
struct op_view { struct mintd_ctx *ctx; uint32_t number; uint64_t chunk, deadline_ms; const volatile int *cancel; };
bool  op_peek(struct mintd_op *, const char *what, struct op_view *ret);   /* any thread; false: stale, counted if what is set */
void  op_done(struct mintd_op *, const struct mintd_outcome *, const struct mintd_res *);       /* any thread; the host's done */
void *op_scratch(struct mintd_op *, size_t);                /* any thread */
int   op_canceled(struct mintd_op *);                       /* any thread */

/* ---- work.c: where plugin code runs and for how long */
int  work_new(struct mintd_ctx *);                          /* the private threads of a WORKERS plugin; 0, -ENOMEM */
void work_free(struct mintd_ctx *);                         /* joins */
void work_run_op(struct mintd_ctx *, uint32_t op, void *ticket);
uint64_t work_enter(const struct mintd_ctx *);              /* around every callback on the loop */
void work_leave(struct mintd_ctx *, const char *what, uint64_t entered);

/* ---- host.c */
extern const struct mintd_host plug_host;
void host_close_handles(struct mintd_ctx *);                /* deletes what the plugin left open */
#endif
