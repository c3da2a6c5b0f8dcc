/* One API call, seen by its route: what was asked, memory that lives as long as it, answers, store reads. Loop thread. */
#ifndef API_CALL_H
#define API_CALL_H
#include <stdbool.h>
#include "api/access.h"
#include "api/api.h"
#include "api/auth.h"
#include "api/httpd.h"
#include "api/stats.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/metric.h"
#include "ops/reconcile.h"
#include "pipe/pipe.h"

struct call;
struct gzip;
enum { ROUTE_BODY = 1,                         /* takes tickets: its body goes to `data` as it arrives, the type is for `start` to judge */
    ROUTE_SMALL = 2,                           /* takes a small JSON body or none: whole in c->body before `start` */
    ROUTE_TEXT = 4,                            /* answers text, not JSON */
    ROUTE_QUIET = 8,                           /* its access line is logged at debug */
    ROUTE_VENUE = 16,                          /* asks call_venue and keeps to it; without this or the next a key of one venue gets 403 */
    ROUTE_PLACE = 32,                          /* its first {} is a venue, held against the key before `start` */
    ROUTE_LIST = 256,                          /* answers NDJSON and CSV as well, see list.h */
    ROUTE_EVENTS = 512,                        /* answers text/event-stream as well */
    ROUTE_ETAG = 1024 };                       /* its 200 has an ETag, and who knows it gets 304 */
enum format { FORMAT_JSON, FORMAT_TEXT, FORMAT_NDJSON, FORMAT_CSV, FORMAT_EVENTS };          /* what the client takes, of these */
struct route {
    const char *method, *path, *name;          /* path: `{}` stands for one decoded segment; name: metric label */
    enum scope scope;                          /* what a key must be allowed; also the class its rate is counted in */
    unsigned flags;
    const char *query;                         /* names of its query parameters, a space between; others are refused. NULL: none */
    void   (*start)(struct call *);            /* headers were checked; without ROUTE_BODY the request is whole */
    size_t (*data)(struct call *, const char *p, size_t n);
    void   (*end)(struct call *);
    void   (*gone)(struct call *, bool sent);  /* answered or left: give back what the route holds */
    void   (*drain)(struct call *);            /* the daemon is stopping: answer soon */
};
extern const struct route api_routes[];
extern const size_t api_n_routes;

struct api {
    struct loop *loop;
    struct conf *conf;
    struct pipe *pipe;
    struct httpd *tcp, *local;
    struct auth auth;
    struct list calls;
    uint32_t n_calls, n_work;                  /* alive; of those, not yet answered and not SCOPE_OPEN */
    bool draining, freed;
    loop_fn *drained;
    void *drained_arg;
    struct loop_timer *drain_timer;
    struct stats *stats;
    struct reconciler *reconciler;             /* NULL once nothing may begin any more */
    struct shown *shown;
    struct hub *hub;                           /* who listens to events */
    struct access access;
    struct api_hooks hooks;
    int64_t clock_us;                          /* wall clock less monotonic, at the start */
    bool copying;                              /* a copy of the store is being written */
    struct keys *keys;
    struct balance *balance;
    uint64_t began_us;
    struct metric *requests, *seconds, *in_flight;
};

enum { CALL_PREFERENCE = 40, CALL_PARAMS = 2, CALL_ID = 64, CALL_BODY_MAX = 64 * 1024 };
struct call {
    struct list link;
    struct api *api;
    struct http_req *http;                     /* NULL: the client is gone or has its answer */
    const struct route *route;
    char id[CALL_ID + 1];                      /* request id */
    struct mintd_str param[CALL_PARAMS];
    struct buf body;                           /* ROUTE_SMALL */
    struct arena *mem;
    struct call_kept { struct call_kept *next; struct arena *mem; } *kept;   /* answers of the store still in use */
    void *state;                               /* the route's, in mem */
    void *load;                                /* of the read in progress, in mem */
    uint64_t started_us, bytes;
    const struct call_stream *stream;          /* NULL: the answer is not in pieces */
    void *stream_state;
    void (*release)(struct call *);            /* NULL, or gives back what lies in no arena, when the call is freed */
    struct gzip *gzip;                         /* of a stream that goes out compressed */
    enum format format;
    struct ip ip;                              /* of the client, also behind a trusted proxy */
    struct who who;
    struct rate_state rate; uint32_t rate_limit;                             /* for the answer's header; limit 0: none */
    unsigned refs, status;
    bool answered, counted, ended;             /* ended: the last piece of a stream was pushed */
};

/* ---- answering; each at most once per call. A call that is already answered or gone drops the answer. */
void call_json(struct call *, unsigned status, struct buf *body, const struct http_header *headers);
void call_text(struct call *, unsigned status, const char *type, struct buf *body);
/* problem+json: pointer NULL or empty: no errors[] entry; errors: the entries as JSON instead, a comma between; members: NULL or more
 * JSON members, each with a leading comma */
struct problem {
    unsigned status;
    const char *code, *pointer;
    struct mintd_str errors;
    const char *members;
    const struct http_header *headers;
    bool close;
};
void call_problem(struct call *, const struct problem *, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void call_memory(struct call *);               /* 503 server.memory */
bool call_open(const struct call *);           /* is an answer, or another piece of it, still wanted? */
/* ---- an answer in pieces (see httpd.h), instead of the above. more: each time the client takes more than there is; gone: the client has
 * left or has all; drain: the daemon is stopping. A problem met later cuts the connection, so that no client takes a part
 * for the whole. */
struct call_stream { void (*more)(struct call *); void (*gone)(struct call *); void (*drain)(struct call *); };
void call_begin(struct call *, const struct call_stream *, const char *type, const struct http_header *headers, bool listens);
/* The bytes go, the buffer is emptied; one that is bad cuts the connection. false: nothing went out yet, so `more` is not called for it. */
bool call_push(struct call *, struct buf *);
size_t call_queued(const struct call *);
void call_finish(struct call *, bool whole);

/* ---- reading the store. fn runs once with the rows, which live as long as the call; not at all when the query failed (the
 * problem was answered) or nobody wants the answer any more. */
typedef void call_rows_fn(struct call *, const struct mintd_res *);
void call_query(struct call *, const struct mintd_query *, uint32_t flags, call_rows_fn *fn);
/* Answers that came after the mark are given back before the call ends: who reads page after page holds one. */
struct call_kept *call_mark(const struct call *);
void call_forget(struct call *, const struct call_kept *mark);
/* ---- writing: one row, durable before fn, which runs once with the verdict; not at all when it was certainly not applied (answered
 * with 503). The row and its strings lie in mem, which is taken. event: NULL or the kind of the event that goes with it. */
typedef void call_written_fn(struct call *, const struct mintd_applied *);
void call_write(struct call *, const struct pipe_row *, struct arena *mem, call_written_fn *fn);
void call_ref(struct call *);
void call_unref(struct call *);

/* ---- the key of the call may be bound to one venue: all that such a call shows or changes must be of it */
uint64_t call_venue(const struct call *);                  /* its id; 0: any */
/* May the call have to do with this venue, by the id in its rows or by its name? false: answered with 403. */
bool call_venue_is(struct call *, uint64_t venue);
bool call_venue_named(struct call *, struct mintd_str name);

/* ---- small things for questions and answers */
/* Prefer: changes *wait_ms if there is one that is heeded, and says which (Preference-Applied; left alone otherwise). */
void call_prefer(struct call *, uint64_t *wait_ms, char ret_applied[CALL_PREFERENCE]);
bool call_type_is(const char *content_type, const char *wanted);         /* parameters that change nothing are allowed */
bool call_idem_key(struct call *, struct mintd_str *ret);  /* Idempotency-Key, copied; false: answered with 400 */
bool call_decode(struct call *, struct mintd_str *);       /* percent-decodes in place of the call; false: answered with 400 */
enum { TIME_TEXT = 32 };
bool time_text(int64_t ms, char ret[TIME_TEXT]);           /* 2026-01-02T03:04:05.678Z; false, and empty, for 0 */
void json_time(struct buf *, const char *name, int64_t ms);                /* ,"name":"2026-01-02T03:04:05.678Z"; nothing for 0 */
void json_str(struct buf *, const char *name, struct mintd_str);           /* ,"name":"..."; nothing for an empty one */
const char *state_name(uint32_t state);        /* of a chunk */
int  limit_get(struct call *, uint32_t dflt, uint32_t max, uint32_t *ret); /* ?limit=; -EINVAL: answered */
#endif
