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
int  batch_id(struct call *, struct mintd_str, uint64_t *ret);             /* -EINVAL: answered with 404 */

/* The seed's answer of a settled batch; or the 202 when it is not settled. replayed: Idempotency-Replayed: true. */
void batch_answer(struct call *, uint64_t request, bool replayed, const char *preference);
void batch_accepted(struct call *, uint64_t request, uint64_t n_items, const char *state, bool replayed, const char *preference);

/* routes */
void batch_post(struct call *);
size_t batch_data(struct call *, const char *, size_t);
void batch_end(struct call *);
void batch_gone(struct call *, bool sent);
void batch_drain(struct call *);
void batch_get(struct call *);
void batch_tickets(struct call *);
void batch_list(struct call *);
void batch_cancel(struct call *);
void batch_retry(struct call *);
void ticket_by_venue(struct call *);
void ticket_by_id(struct call *);
void health_live(struct call *);
void health_ready(struct call *);
void health_metrics(struct call *);
void openapi_get(struct call *);
#endif
