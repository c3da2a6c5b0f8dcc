/* cache-memory, inside: a table of entries and the list of their use.
 *
 * The table: fixed number of buckets, chains, SipHash with a key drawn at create, because keys come from clients. The list: most recently
 * used first; what is over the limit falls off its end. An entry past its time is gone for every reader; its memory comes back when it is
 * asked for, swept or falls off. All on the loop thread; no op takes longer than a slice. */
#ifndef CACHE_MEMORY_CACHE_H
#define CACHE_MEMORY_CACHE_H
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mintd/plugin.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define STR(lit) ((struct mintd_str){ (lit), sizeof(lit) - 1 })
#define ROWS(ptr, count) ((struct mintd_vec){ (ptr), (uint32_t)(count), (uint32_t)sizeof(*(ptr)) })

enum category { URI, SIG, OTHER, CATEGORIES };             /* by the key's beginning: "uri:", "sig:", anything else */
enum metric { M_KEYS, M_BYTES, M_EVICTED, M_EXPIRED };

struct entry {
    struct entry *chain, *newer, *older;
    uint64_t expires, hash;                                /* expires: on now_ms */
    uint32_t key_n, val_n;
    char bytes[];                                          /* key, value */
};

struct table {
    uint8_t key[16];
    struct entry **bucket;
    uint64_t mask, swept;                                  /* buckets - 1; the next bucket to sweep */
    struct entry *newest, *oldest;
    uint64_t limit, bytes, keys;                           /* bytes: of the buckets too */
    uint64_t evicted, expired;                             /* since create */
};

/* ---- sip.c: SipHash-2-4 */
uint64_t sip_hash(const uint8_t key[16], const void *p, size_t n);

/* ---- table.c */
int  table_open(struct table *, uint64_t limit);           /* key filled in by the caller; 0, -ENOMEM */
void table_close(struct table *);
uint64_t table_cost(struct mintd_str key, size_t val_n);   /* what an entry takes of the limit */
uint64_t table_cost_max(const struct table *);             /* an entry that costs more would push out too many others */
struct entry *table_get(struct table *, struct mintd_str key, uint64_t now);   /* now the newest; NULL: none */
int  table_put(struct table *, struct mintd_str key, struct mintd_str val, uint64_t expires, uint64_t now);   /* 0, -ENOMEM */
void table_del(struct table *, struct mintd_str key);
/* Removes what begins with prefix from *at on, for at most `work` buckets and entries. True: the table's end was reached. */
bool table_del_prefix(struct table *, struct mintd_str prefix, uint64_t *at, uint32_t work);

struct cache {
    const struct mintd_host *host;
    struct mintd_ctx *ctx;
    uint64_t ttl_ms[CATEGORIES], hits, misses;
    struct table table;
};

/* ---- ops.c */
void op_start(void *self, struct mintd_op *, const struct mintd_req *);
void op_drain(void *self, struct mintd_op *, const struct mintd_req *);
void op_get(void *self, struct mintd_op *, const struct mintd_req *);
void op_put(void *self, struct mintd_op *, const struct mintd_req *);
void op_del(void *self, struct mintd_op *, const struct mintd_req *);
void op_stats(void *self, struct mintd_op *, const struct mintd_req *);
#endif
