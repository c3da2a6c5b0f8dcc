/* What the witnesses' answers amount to. Witnesses report, only this concludes: quorum over distinct routes, watermark against
 * the bound. An error, a timeout and an ABSENT below the watermark are no answer. Pure. Any thread. */
#ifndef MACHINE_PROOF_H
#define MACHINE_PROOF_H
#include <stdbool.h>
#include <stdint.h>
#include "mintd/plugin.h"

struct proof_rule {
    uint32_t quorum;           /* q; 0: 2 of n, 1 of 1 */
    uint32_t witnesses;        /* n: distinct PROVE routes */
    uint64_t margin;           /* on the chain's clock */
    bool     effect;           /* the chain can look assets up without the transaction; without it margin and quorum double */
};
struct proof_attempt { uint64_t bound; uint32_t items; bool assets_unknown; };     /* assets_unknown: kinds without item assets */
enum proof_verdict {
    PROOF_OPEN,                /* nothing is decided */
    PROOF_LANDED,              /* at least one witness saw the effect, not yet final */
    PROOF_FINAL,               /* q witnesses: landed, final, as many assets as items */
    PROOF_ERRED,               /* q witnesses: executed with an error, final: dead */
    PROOF_EXPIRED,             /* q witnesses: the clock passed bound + margin, then absent, effect absent: dead */
    PROOF_CONFLICT,            /* final answers that exclude each other, or the wrong number of assets: an operator's case */
};
struct proof_result {
    enum proof_verdict verdict;
    uint32_t votes, quorum, witness;           /* witnesses that agree, needed, row of the best witness */
    uint64_t watermark, absent_at;             /* EXPIRED: lowest clock among the votes (both; the look-up came at or after it) */
    bool     past_bound;                       /* some witness's clock is past bound + margin: time to ask all */
    bool     contradicted;                     /* a verdict stands, but some route says otherwise */
};
uint32_t proof_quorum(const struct proof_rule *, bool death);          /* effective q */
uint64_t proof_margin(const struct proof_rule *);                      /* effective margin: x3 with one witness, x2 without effect */
/* seen: rows of one transaction, a vector normalised to this host's struct size. Rows of one route count once, the last one. */
struct proof_result proof_judge(const struct proof_rule *, const struct proof_attempt *, const struct mintd_seen *seen, uint32_t n);
#endif
