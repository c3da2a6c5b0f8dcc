/* Who asks, and is it allowed: address, key, rate; then, for the route, scope and venue. Each check answers and returns false when it
 * refuses. Owns the buckets of one API. Calls auth.h, allow.h, rate.h. Loop thread. */
#ifndef API_ACCESS_H
#define API_ACCESS_H
#include "api/allow.h"
#include "api/rate.h"

struct api; struct call;
/* What a key is allowed, and needs to be for a route; a higher one includes the lower ones. OPEN: health alone; needs no key, answered
 * while draining. */
enum scope { SCOPE_OPEN, SCOPE_READ, SCOPE_MINT, SCOPE_ADMIN, SCOPES };
/* Buckets by class of route: of keys, and of addresses where no key tells callers apart; wrong: keys that are not valid. */
struct access { struct rate key[SCOPES], address[SCOPES], wrong; };

void access_init(struct access *, struct loop *);
void access_limit(struct access *, const struct conf_api *);               /* from now on */
void access_free(struct access *);

bool access_ask(struct call *);                /* address, key, rate: before it is said whether there is such a route */
#endif
