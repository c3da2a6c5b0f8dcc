/* What the files of reconciliation share. A run is one walk: a page of requests, of each a page of items at a time, with their chunks,
 * these chunks' ancestors and all attempts; then the chain is asked about them, what looks wrong again, and every item gets its
 * class. A page's memory goes with it. */
#ifndef OPS_RECONCILE_INT_H
#define OPS_RECONCILE_INT_H
#include "base/arena.h"
#include "base/list.h"
#include "base/metric.h"
#include "ops/reconcile.h"

enum { PAGE_REQUESTS = 100, PAGE_ITEMS = 200, RUNS_MAX = 4, ROUNDS = 3, CALL_ROWS = 64, LINE_MAX = 9, LISTED_MAX = 1000, COLS_MAX = 64 };

/* What an item turned out to be. The order is that of class_info. */
enum class { CLASS_CONFIRMED, CLASS_PENDING, CLASS_NOT_FOUND, CLASS_UNVERIFIED, CLASS_TRANSACTION_MISSING, CLASS_TRANSACTION_FAILED,
    CLASS_ASSET_MISSING, CLASS_BURNED, CLASS_WRONG_OWNER, CLASS_WRONG_COLLECTION, CLASS_WRONG_METADATA, CLASS_LATE,
    CLASS_LANDED_BUT_FAILED, CLASS_MINTED_TWICE, CLASS_COUNT };
const char *class_word(enum class);
bool class_wrong(enum class);                  /* is it a discrepancy? Not known is none */

struct rec_col { uint64_t id; struct mintd_str chain_ref; struct pipe_chain chain; bool known; };   /* known: the chain can be asked */
enum tx_fate { TX_UNKNOWN, TX_LANDED, TX_ERRED, TX_ABSENT };
struct rec_tx {                                /* one attempt */
    const struct mintd_db_attempt *a; const struct mintd_db_chunk *chunk; const struct rec_col *col;
    enum tx_fate fate; int64_t time_ms; bool ask;
};
struct rec_item {
    const struct mintd_db_item *it; const struct mintd_db_chunk *chunk; const struct rec_col *col;
    uint64_t line[LINE_MAX]; uint32_t n_line;  /* its chunk and the chunks that it comes from */
    struct mintd_truth truth; bool answered, ask;          /* of its asset */
    enum class class; struct mintd_str detail;
};
struct rec_page {
    struct arena *mem;                         /* everything below, and the store's answers */
    struct rec_item *items; uint32_t n_items;
    const struct mintd_db_chunk **chunks; uint32_t n_chunks, cap_chunks, n_level;     /* ancestors behind; n_level: where the last level begins */
    struct rec_tx *txs; uint32_t n_txs, cap_txs;
    uint32_t level, round, at;                 /* at: next transaction or item to ask about */
    bool assets;                               /* the transactions are done, assets are asked about */
};
struct run {
    struct list link;
    struct reconciler *r;                      /* NULL: the run was stopped; only its last answer is awaited */
    struct loop *loop; struct pipe *pipe;
    uint64_t venue; char *name;
    reconcile_fn *fn; void *arg;
    int64_t tolerance_ms, settle_ms; uint64_t gap_ms;
    struct loop_timer *timer; uint64_t next_call_ms;       /* not before: the bounded rate */
    uint64_t begun_us; int64_t begun_ms;
    /* the walk */
    struct arena *requests_mem; const struct mintd_db_request *requests; uint32_t n_requests, at_request;
    struct mintd_str requests_next, items_next;
    struct arena *cursor_mem;                  /* of items_next */
    struct rec_col cols[COLS_MAX]; uint32_t n_cols; struct arena *cols_mem;
    struct rec_page page;
    /* the question to the store under way, kept for another try */
    struct mintd_query query; uint32_t query_flags; plug_fn *query_fn; uint32_t tries;
    /* what came of it */
    uint64_t counts[CLASS_COUNT], checked, calls, listed, unverified_listed;
    struct buf list, unknown;                  /* JSON entries of discrepancies; tickets not verified */
    struct mintd_db_report row;
};
struct reconciler {
    struct loop *loop; struct pipe *pipe; struct conf *conf;
    struct list runs; uint32_t n_runs;
    struct { struct metric *found, *fixed, *seconds, *runs; } m;
};

/* reconcile.c */
void run_fail(struct run *, const char *why);              /* ends the run */
void run_end(struct run *, const struct reconcile_result *);   /* tells and frees */
void run_judged(struct run *);                             /* every item of the page has its class */
bool run_alive(struct run *);                              /* false: it was stopped and is freed now; first thing in every answer */
/* reconcile_ask.c */
void ask_chain(struct run *);                              /* about the page; run_judged when all is known that can be */
/* reconcile_judge.c: pure */
void judge_item(const struct run *, struct rec_item *, int64_t now_ms);
bool item_concerned(const struct rec_item *, const struct rec_tx *);       /* is the attempt one of its chunk or of an ancestor? */
enum tx_fate judge_tx(const struct mintd_seen *, uint32_t n, uint32_t quorum, int64_t *ret_time_ms);
/* reconcile_report.c */
void report_item(struct run *, const struct rec_item *);
void report_write(struct run *);                           /* the row, its events, the metrics; then run_end */
void report_metrics(struct reconciler *);
#endif
