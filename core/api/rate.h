/* Token buckets: at most n requests at once and n per period, for each name (a key, an address) on its own. One struct rate is one
 * limit with all its names. Owns a bounded table: when it is full of buckets that still matter, or memory is short, a new name
 * is refused, never let through unlimited. Calls base/. Loop thread. */
#ifndef API_RATE_H
#define API_RATE_H
#include "base/list.h"
#include "base/loop.h"
#include "base/str.h"
#include "conf/conf.h"

struct rate {
    struct loop *loop;
    struct conf_rate limit;                    /* n 0: none */
    uint32_t max;                              /* names at most */
    struct map map;                            /* hash of the name -> bucket */
    struct list old;                           /* longest unused first */
    uint8_t secret[16];                        /* nobody outside can choose names that meet in the table */
};
struct rate_state { bool ok; uint32_t remaining; uint64_t reset_s, retry_s; };    /* seconds until it is full; until one is let through */

void rate_init(struct rate *, struct loop *, uint32_t max);
void rate_limit(struct rate *, struct conf_rate);           /* from now on; what was taken stays taken */
/* Takes one if there is one. look: only says what taking would. */
struct rate_state rate_take(struct rate *, struct mintd_str name, bool look);
void rate_free(struct rate *);
#endif
