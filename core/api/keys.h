/* The stored keys, as the API checks them: a copy in memory of those that are neither revoked nor expired, found by their hash. Read from
 * the store at the start and every few seconds, because another instance may have revoked one; when the store was silent for too long
 * the copy counts no more. Owns the copy and its timer. Calls pipe/ and plug/. Loop thread. */
#ifndef API_KEYS_H
#define API_KEYS_H
#include <stdbool.h>
#include "base/loop.h"
#include "base/net.h"
#include "pipe/pipe.h"

/* What a key is allowed, and needs to be for a route; a higher one includes the lower ones. OPEN: health alone; needs no key, answered
 * while draining. */
enum scope { SCOPE_OPEN, SCOPE_READ, SCOPE_MINT, SCOPE_ADMIN, SCOPES };
enum { KEYS_MAX = 10000, KEY_NETS_MAX = 16, KEYS_READ_MS = 10000, KEYS_STALE_MS = 30000, KEYS_USED_MS = 60000 };

struct key {                                   /* lives as long as the copy it is in: until the loop's next turn */
    struct key *next, *peer;                   /* others: whose hash begins alike; of the same venue */
    uint64_t id, venue;                        /* venue 0: any */
    enum scope scope;
    uint8_t hash[32];
    int64_t expires_at, used_at;               /* ms since the epoch, 0: never */
    struct mintd_str name, venue_name;
    const struct net *nets; uint32_t n_nets;   /* none: from anywhere */
    bool revoked;
};
struct keys;
struct keys *keys_new(struct loop *, struct pipe *);        /* NULL: no memory */
void keys_on_change(struct keys *, loop_fn *, void *arg);    /* after each reading and revocation: some may be over */
void keys_open(struct keys *);                              /* begins to read */
void keys_stop(struct keys *);                              /* reads and writes no more; before the pipeline goes */
struct keys *keys_free(struct keys *);                      /* NULL ok; returns NULL */
bool keys_settled(const struct keys *);                     /* the store has answered once */

enum keys_found { KEYS_FOUND, KEYS_NONE, KEYS_UNREADABLE };
enum keys_found keys_find(struct keys *, const uint8_t hash[32], struct key **ret);
void keys_used(struct keys *, struct key *);                /* writes used_at now and then */
bool keys_alive(const struct keys *, uint64_t id);
uint32_t keys_count(const struct keys *);
/* What was just written, known at once: a new row, a revoked one. */
void keys_add(struct keys *, const struct mintd_db_key *, struct mintd_str venue);
void keys_drop(struct keys *, uint64_t id);

/* ---- the columns of a row. 0, -EINVAL */
int  keys_scope(struct mintd_str, enum scope *ret);
const char *keys_scope_name(enum scope);
/* "10.0.0.0/8, fd00::/8"; at most KEY_NETS_MAX */
int  keys_nets(struct mintd_str text, struct net ret[KEY_NETS_MAX], uint32_t *ret_n, const char **ret_why);
#endif
