/* The judge of attempts. Pure: owns nothing, calls nothing. */
#include "machine/proof.h"

#include "base/sabotage.h"
#include "base/str.h"

uint32_t proof_quorum(const struct proof_rule *r, bool death)
{
    uint32_t n = r->witnesses ? r->witnesses : 1;
    uint32_t q = r->quorum ? r->quorum : (n > 1 ? 2 : 1);
    if (death && !r->effect) q *= 2;
    return q < n ? q : n;
}

uint64_t proof_margin(const struct proof_rule *r)
{
    uint64_t by = (r->witnesses <= 1 ? 3u : 1u) * (r->effect ? 1u : 2u);
    return r->margin > UINT64_MAX / by ? UINT64_MAX : r->margin * by;
}

static bool past(const struct proof_rule *r, uint64_t bound, uint64_t clock)
{
    uint64_t margin = proof_margin(r);
    return bound <= UINT64_MAX - margin && clock > bound + margin;
}

/* An answer counts for death only if everything was searched, after the clock was read, by the same route, past the watermark. */
static bool absent_vote(const struct proof_rule *r, const struct proof_attempt *a, const struct mintd_seen *s)
{
    if (SABOTAGE("null_is_absent")) return !s->why && s->state == MINTD_ABSENT;
    uint32_t need = MINTD_F_HISTORY | MINTD_F_AFTER | (r->effect ? (uint32_t)MINTD_F_EFFECT : 0u);
    return !s->why && s->state == MINTD_ABSENT && (s->flags & need) == need && past(r, a->bound, s->clock);
}

static bool final_vote(const struct mintd_seen *s, uint32_t state)
{
    return !s->why && s->state == state && (s->flags & MINTD_F_FINAL);
}

static bool counted_before(const struct mintd_seen *seen, uint32_t n, uint32_t i)
{
    for (uint32_t k = i + 1; k < n; k++)                   /* the last answer of a route is the one that counts */
        if (str_eq(seen[k].route, seen[i].route) && seen[k].state != MINTD_NO_ANSWER) return true;
    return false;
}

struct tally { uint32_t landed, final, erred, absent, best_landed, best_final, best_erred, best_absent; bool odd_count, past; uint64_t low; };

static void count(const struct proof_rule *r, const struct proof_attempt *a, const struct mintd_seen *seen, uint32_t n, struct tally *t)
{
    t->low = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const struct mintd_seen *s = &seen[i];
        if (s->why || s->state == MINTD_NO_ANSWER || counted_before(seen, n, i)) continue;
        if (past(r, a->bound, s->clock)) t->past = true;
        if (s->state == MINTD_LANDED) { t->landed++; t->best_landed = i; }
        if (final_vote(s, MINTD_LANDED) && !(s->flags & MINTD_F_PARTIAL)) {
            if (!a->assets_unknown && s->assets.n != a->items) { t->odd_count = true; continue; }
            t->final++; t->best_final = i;
        }
        if (final_vote(s, MINTD_ERRED)) { t->erred++; t->best_erred = i; }
        if (absent_vote(r, a, s)) {
            t->absent++; t->best_absent = i;
            if (s->clock < t->low) t->low = s->clock;
        }
    }
}

struct proof_result proof_judge(const struct proof_rule *r, const struct proof_attempt *a, const struct mintd_seen *seen, uint32_t n)
{
    struct tally t = { 0 };
    count(r, a, seen, n, &t);
    struct proof_result out = { .verdict = PROOF_OPEN, .quorum = proof_quorum(r, false), .past_bound = t.past };
    uint32_t q = out.quorum, q_death = proof_quorum(r, true);
    out.contradicted = (t.landed && (t.erred || t.absent)) || (t.erred && t.absent);

    if (SABOTAGE("null_is_absent") && t.absent && !t.landed) {             /* planted bug: one "unknown" is taken for a proof */
        out.verdict = PROOF_EXPIRED; out.votes = 1; out.witness = t.best_absent; out.watermark = out.absent_at = a->bound + 1;
        return out;
    }
    if (t.odd_count) { out.verdict = PROOF_CONFLICT; return out; }
    if (t.final >= q && t.erred < q && t.absent < q_death) {
        out.verdict = PROOF_FINAL; out.votes = t.final; out.witness = t.best_final;
    } else if (t.erred >= q && !t.landed && !t.absent) {   /* death only without a single voice against it */
        out.verdict = PROOF_ERRED; out.votes = t.erred; out.witness = t.best_erred;
    } else if (t.absent >= q_death && !t.landed && !t.erred) {
        out.verdict = PROOF_EXPIRED; out.votes = t.absent; out.witness = t.best_absent; out.quorum = q_death;
        out.watermark = out.absent_at = t.low;
    } else if (t.final && (t.erred >= q || t.absent >= q_death)) {
        out.verdict = PROOF_CONFLICT;
    } else if (t.landed) {
        out.verdict = PROOF_LANDED; out.votes = t.landed; out.witness = t.best_landed;
    }
    return out;
}
