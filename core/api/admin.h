/* The routes of the seed's administrators and their twins under /v1, and what they share. Loop thread. */
#ifndef API_ADMIN_H
#define API_ADMIN_H
#include "api/call.h"

/* ---- gather.c: several plugins asked at once, for at most a while. The struct is the first member of c->state. */
struct gather { struct loop_timer *timer; uint32_t waiting, round; bool over; void (*fn)(struct call *); };
typedef void gather_fn(struct call *, uint32_t i, const struct plug_reply *);             /* takes what it needs out of the answer */
void gather_begin(struct call *, uint64_t ms, void (*fn)(struct call *));  /* fn once: after gather_end when all answered, or at the time */
void gather_ask(struct call *, struct plug_inst *, uint32_t op, uint32_t flags, const void *arg, struct mintd_vec rows, struct arena *mem,
                gather_fn *take, uint32_t i);              /* mem is taken; NULL: no memory, which reads as no answer */
void gather_end(struct call *);                            /* all was asked */
void gather_gone(struct call *, bool sent);                /* `gone` of such routes */

/* ---- cache.c: all cache instances together */
enum { CACHES_MAX = 16 };
struct cache_seen { struct plug_inst *inst; bool answered; struct mintd_cache_stats stats; };
struct caches { struct cache_seen c[CACHES_MAX]; uint32_t n; };
void caches_list(struct call *, struct caches *);          /* those that are configured, not asked yet */
void caches_ask(struct call *, struct caches *);           /* within a gather; must live as long as the call */
bool caches_connected(const struct caches *);              /* there is one, and all answered that they are connected */
struct mintd_cache_stats caches_sum(const struct caches *);

/* ---- routes */
void dashboard_get(struct call *);
void venue_stats(struct call *);
void venue_list(struct call *);
void status_get(struct call *);
void wallet_list(struct call *);
void sag_post(struct call *);
void sag_gone(struct call *, bool sent);
void sag_drain(struct call *);
void estimate_get(struct call *);
void cache_stats(struct call *);
void cache_clear(struct call *);
void cache_forget(struct call *);
#endif
