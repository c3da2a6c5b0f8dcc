/* The balance monitor: what the wallets of the chains have left, asked at an interval, compared with what their pipelines want there.
 * Owns the list of wallets. Calls pipe/, plug/, base/. Loop thread. */
#ifndef OPS_BALANCE_H
#define OPS_BALANCE_H
#include "pipe/pipe.h"

enum { BALANCE_WALLETS = 32, BALANCE_NAME = 72 };
struct wallet {
    char chain[BALANCE_NAME], role[BALANCE_NAME], currency[32], account[160];      /* instance; option that names the key */
    uint32_t decimals;
    uint64_t balance, required;                /* smallest unit; required: the most that a pipeline of this chain wants */
    int64_t checked_ms;                        /* wall clock of the last answer; 0: there was none yet, balance says nothing */
    bool sufficient, hidden;                   /* hidden: the chain keeps no money under this key */
    char error[200];                           /* why the last check failed; empty: it did not */
};
struct balance;
struct balance *balance_new(struct loop *, struct pipe *, struct conf *);  /* NULL: no memory. Asks once the pipeline is ready */
void balance_configure(struct balance *, struct conf *);   /* asks anew with new limits */
void balance_stop(struct balance *);                        /* asks no more; before the pipeline goes */
struct balance *balance_free(struct balance *);             /* NULL ok; returns NULL */
uint32_t balance_wallets(const struct balance *, const struct wallet **ret);
const struct wallet *balance_neediest(const struct balance *);             /* nearest to its limit, unknown ones first; NULL: no wallet */
#endif
