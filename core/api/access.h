/* Who asks, and is it allowed: address, key, rate; then, for the route, scope and venue. Each check answers and returns false when it
 * refuses. Owns the buckets of one API. Calls auth.h, allow.h, rate.h. Loop thread. */
#ifndef API_ACCESS_H
#define API_ACCESS_H
#include "api/allow.h"
#include "api/keys.h"
#include "api/rate.h"

struct api; struct call;
/* Buckets by class of route: of keys, and of addresses where no key tells callers apart; wrong: keys that are not valid. */
struct access { struct rate key[SCOPES], address[SCOPES], wrong; };
/* Who asks. key 0: the admin key, the Unix socket, or nobody where no key is needed. venue 0: any; else the only one that the call may
 * see and touch. The strings live as long as the call. */
struct who { enum scope scope; uint64_t key, venue; struct mintd_str name, venue_name; };

void access_init(struct access *, struct loop *);
void access_limit(struct access *, const struct conf_api *);               /* from now on */
void access_free(struct access *);

void access_cut(struct api *);                 /* ends the streams of keys that are over */
bool access_ask(struct call *);                /* address, key, rate: before it is said whether there is such a route */
bool access_use(struct call *);                /* may this key use this route? */
bool access_place(struct call *);              /* and the venue that its path names? */
#endif
