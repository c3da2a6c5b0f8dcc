/* A batch as the API shows it, shared by the routes that answer with one. Loop thread. */
#ifndef API_BATCH_H
#define API_BATCH_H
#include "api/call.h"

struct batch_view {
    const struct mintd_db_request *request;
    struct mintd_str venue;
    struct mintd_db_count count;
    bool begun, listed;                        /* some chunk is past ACCEPTED; by_state is filled */
    uint32_t mints[16], deliveries[16];        /* chunks by state */
};
/* Reads counters and, with chunks, the chunks by state. fn once; not when the call was answered with a problem. */
void batch_view_load(struct call *, struct batch_view *, bool chunks, void (*fn)(struct call *));
const char *batch_state(const struct batch_view *);
bool batch_settled(const struct batch_view *);              /* every seat is terminal */
void batch_view_put(struct buf *, const struct batch_view *);              /* the JSON object */
void batch_view_members(struct buf *, const struct batch_view *);          /* without its braces */
int  batch_id(struct call *, struct mintd_str, uint64_t *ret);             /* -EINVAL: answered with 404 */

/* What a request for tickets came to: a batch of its own, tickets that earlier batches have, or both. */
struct batch_reply {
    uint64_t request, place;                   /* the batch whose tickets are all of this request; the one it is shown as. 0: none */
    uint64_t total, known;                     /* tickets of the request; of those, accepted earlier */
    const uint64_t *ids; uint32_t n_ids;       /* items of the known ones; fewer than known: too many to list */
    const uint64_t *batches; uint32_t n_batches;           /* that have them; the first hundred */
    bool replayed;                             /* Idempotency-Replayed: true */
    const char *preference;                    /* Preference-Applied; empty: none */
};
/* From the intake's verdict (accepted, replayed, known); copied into the call's memory. false: no memory, answered. */
bool batch_reply_of(struct call *, const struct pipe_result *, const char *preference, struct batch_reply *ret);
/* The seed's answer once every ticket is settled; 202 before that. The reply lives as long as the call. */
void batch_answer(struct call *, const struct batch_reply *);
void batch_accepted(struct call *, const struct batch_reply *, const char *state);
/* 409 with a pointer for each ticket that was accepted before with other content. line_of: NULL, or where a ticket stood (0: unknown). */
/* The verdicts that mean the same whatever was sent: other body under the key, in progress, busy. what: "one of these tickets" */
void batch_refused(struct call *, const struct pipe_result *, const char *what);
const char *batch_code(struct call *, struct mintd_str code, const char *dflt);              /* lives as long as the call */
void batch_conflict(struct call *, const struct pipe_result *, uint64_t (*line_of)(void *arg, uint64_t place), void *arg);
/* The whole document of the ticket in the path; above 200 with Location. */
void ticket_show(struct call *, unsigned status);

const char *collection_state(const struct mintd_db_collection *);

/* routes */
void batch_post(struct call *);
void ticket_put(struct call *);
size_t batch_data(struct call *, const char *, size_t);
void batch_end(struct call *);
void batch_gone(struct call *, bool sent);
void batch_drain(struct call *);
void batch_get(struct call *);
void batch_tickets(struct call *);
void batch_list(struct call *);
void ticket_list(struct call *);
void mint_list(struct call *);
void batch_cancel(struct call *);
void batch_retry(struct call *);
void batch_events(struct call *);
void collection_list(struct call *);
void collection_post(struct call *);
void collection_get(struct call *);
void event_list(struct call *);
void ticket_by_venue(struct call *);
void ticket_by_id(struct call *);
void health_live(struct call *);
void health_ready(struct call *);
void health_metrics(struct call *);
void openapi_get(struct call *);
#endif
