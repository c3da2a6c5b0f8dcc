/* Who listens to events (SSE), and the one reader that serves them all: woken by each commit of this process and, for other writers of
 * the same store, by a slow look; nothing is read while nobody listens. A listener that lags, or that resumes at an older place,
 * reads for itself until it has caught up. Loop thread. */
#ifndef API_HUB_H
#define API_HUB_H
#include "api/events.h"

struct hub; struct api;
struct hub_filter {
    uint64_t batch, items;                     /* events of this batch, counters as `progress`, and an end; 0: of all */
    uint64_t venue;                            /* 0: any */
    struct mintd_str kinds;                    /* a comma between, `chunk.*` stands for all that begin so; empty: any */
    struct mintd_str venue_name;               /* of the batch */
};
struct hub *hub_new(struct api *);                         /* NULL: no memory */
void hub_stop(struct hub *);                               /* ends every stream; NULL ok */
void hub_free(struct hub *);                               /* after hub_stop; NULL ok */
bool hub_full(const struct hub *);                         /* api.max_streams listen */
/* Answers the call with a stream from this place on; strings live as long as the call. Not when hub_full. */
void hub_listen(struct hub *, struct call *, const struct hub_filter *, const struct place *from);
bool hub_kind_fits(struct mintd_str kinds, struct mintd_str kind);
#endif
