/* The judge: what witnesses' answers amount to. Bound 100, margin 10 unless stated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"
#include "machine/proof.h"

enum { FULL = MINTD_F_HISTORY | MINTD_F_AFTER | MINTD_F_EFFECT };
static const struct mintd_str two_assets[] = { { "a", 1 }, { "b", 1 } };
static const struct mintd_outcome refused = { .size = sizeof refused, .cls = MINTD_TRANSIENT };

#define SEEN(r, st, fl, clk) { .route = { r, 1 }, .state = (st), .flags = (fl), .clock = (clk), .assets = { two_assets, 2, sizeof two_assets[0] } }
#define ABSENT(r, clk) SEEN(r, MINTD_ABSENT, FULL, clk)
#define FINAL(r) SEEN(r, MINTD_LANDED, MINTD_F_FINAL, 90)
#define ERRED(r) SEEN(r, MINTD_ERRED, MINTD_F_FINAL, 90)
#define LANDED(r) SEEN(r, MINTD_LANDED, 0, 90)

struct row { const char *what; uint32_t witnesses, quorum; bool effect; struct mintd_seen seen[4]; uint32_t n; enum proof_verdict want; };

static const struct row rows[] = {
    { "nothing", 3, 0, true, { { .why = NULL } }, 0, PROOF_OPEN },
    { "two final of three", 3, 0, true, { FINAL("a"), FINAL("b") }, 2, PROOF_FINAL },
    { "one final of three is not enough", 3, 0, true, { FINAL("a") }, 1, PROOF_LANDED },
    { "one final of one", 1, 0, true, { FINAL("a") }, 1, PROOF_FINAL },
    { "the same route twice is one voice", 3, 0, true, { FINAL("a"), FINAL("a") }, 2, PROOF_LANDED },
    { "landed is display", 3, 0, true, { LANDED("a"), LANDED("b"), LANDED("c") }, 3, PROOF_LANDED },
    { "partial keeps asking", 1, 0, true, { SEEN("a", MINTD_LANDED, MINTD_F_FINAL | MINTD_F_PARTIAL, 90) }, 1, PROOF_LANDED },
    { "two absent past the watermark", 3, 0, true, { ABSENT("a", 111), ABSENT("b", 112) }, 2, PROOF_EXPIRED },
    { "at bound plus margin is not past", 3, 0, true, { ABSENT("a", 110), ABSENT("b", 112) }, 2, PROOF_OPEN },
    { "absent below the watermark", 3, 0, true, { ABSENT("a", 99), ABSENT("b", 99), ABSENT("c", 99) }, 3, PROOF_OPEN },
    { "absent without history", 3, 0, true, { SEEN("a", MINTD_ABSENT, MINTD_F_AFTER | MINTD_F_EFFECT, 200), ABSENT("b", 200) }, 2, PROOF_OPEN },
    { "absent asked before the clock", 3, 0, true, { SEEN("a", MINTD_ABSENT, MINTD_F_HISTORY | MINTD_F_EFFECT, 200), ABSENT("b", 200) }, 2, PROOF_OPEN },
    { "absent without the effect looked up", 3, 0, true, { SEEN("a", MINTD_ABSENT, MINTD_F_HISTORY | MINTD_F_AFTER, 200), ABSENT("b", 200) }, 2, PROOF_OPEN },
    { "an error is no answer", 3, 0, true, { { .why = &refused, .route = { "a", 1 }, .state = MINTD_ABSENT, .flags = FULL, .clock = 200 }, ABSENT("b", 200) }, 2, PROOF_OPEN },
    { "no answer is no answer", 3, 0, true, { SEEN("a", MINTD_NO_ANSWER, FULL, 200), ABSENT("b", 200) }, 2, PROOF_OPEN },
    { "one voice landed vetoes death", 3, 0, true, { ABSENT("a", 200), ABSENT("b", 200), LANDED("c") }, 3, PROOF_LANDED },
    { "one voice erred vetoes expiry", 3, 0, true, { ABSENT("a", 200), ABSENT("b", 200), ERRED("c") }, 3, PROOF_OPEN },
    { "two erred", 3, 0, true, { ERRED("a"), ERRED("b") }, 2, PROOF_ERRED },
    { "erred, not final", 1, 0, true, { SEEN("a", MINTD_ERRED, 0, 90) }, 1, PROOF_OPEN },
    { "erred against landed", 3, 0, true, { ERRED("a"), ERRED("b"), LANDED("c") }, 3, PROOF_LANDED },
    { "final against erred", 3, 1, true, { FINAL("a"), ERRED("b") }, 2, PROOF_CONFLICT },
    { "a minority can not undo finality", 3, 0, true, { FINAL("a"), FINAL("b"), ABSENT("c", 200) }, 3, PROOF_FINAL },
    { "without effect look-up the quorum doubles", 3, 0, false, { ABSENT("a", 130), ABSENT("b", 130) }, 2, PROOF_OPEN },
    { "without effect look-up all of three", 3, 0, false, { ABSENT("a", 130), ABSENT("b", 130), ABSENT("c", 130) }, 3, PROOF_EXPIRED },
    { "without effect look-up the margin doubles", 3, 0, false, { ABSENT("a", 120), ABSENT("b", 120), ABSENT("c", 120) }, 3, PROOF_OPEN },
    { "a single endpoint triples the margin", 1, 0, true, { ABSENT("a", 130) }, 1, PROOF_OPEN },
    { "a single endpoint past it", 1, 0, true, { ABSENT("a", 131) }, 1, PROOF_EXPIRED },
    { "a single endpoint without effect: six times", 1, 0, false, { ABSENT("a", 160) }, 1, PROOF_OPEN },
    { "and past that", 1, 0, false, { ABSENT("a", 161) }, 1, PROOF_EXPIRED },
};

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proof_rule rule = { rows[i].quorum, rows[i].witnesses, 10, rows[i].effect };
        struct proof_attempt a = { 100, 2, false };
        struct proof_result got = proof_judge(&rule, &a, rows[i].seen, rows[i].n);
        if (got.verdict != rows[i].want) print_error("%s: %d, wanted %d\n", rows[i].what, (int)got.verdict, (int)rows[i].want);
        assert_int_equal(got.verdict, rows[i].want);
    }
}

static void the_watermark_is_the_lowest_clock(void **state)
{
    (void)state;
    struct mintd_seen seen[] = { ABSENT("a", 300), ABSENT("b", 150) };
    struct proof_rule rule = { 0, 3, 10, true };
    struct proof_attempt a = { 100, 2, false };
    struct proof_result got = proof_judge(&rule, &a, seen, 2);
    assert_int_equal(got.verdict, PROOF_EXPIRED);
    assert_int_equal(got.watermark, 150);
    assert_int_equal(got.votes, 2);
    assert_true(got.past_bound);
}

static void a_wrong_number_of_assets_is_a_conflict(void **state)
{
    (void)state;
    struct mintd_seen seen[] = { FINAL("a") };
    struct proof_rule rule = { 0, 1, 10, true };
    assert_int_equal(proof_judge(&rule, &(struct proof_attempt){ 100, 3, false }, seen, 1).verdict, PROOF_CONFLICT);
    assert_int_equal(proof_judge(&rule, &(struct proof_attempt){ 100, 3, true }, seen, 1).verdict, PROOF_FINAL);
}

static void what_never_expires_never_dies_of_age(void **state)
{
    (void)state;
    struct mintd_seen seen[] = { ABSENT("a", UINT64_MAX), ABSENT("b", UINT64_MAX) };
    struct proof_rule rule = { 0, 2, 10, true };
    assert_int_equal(proof_judge(&rule, &(struct proof_attempt){ UINT64_MAX, 2, false }, seen, 2).verdict, PROOF_OPEN);
    rule.margin = UINT64_MAX;
    assert_int_equal(proof_judge(&rule, &(struct proof_attempt){ 100, 2, false }, seen, 2).verdict, PROOF_OPEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table), cmocka_unit_test(the_watermark_is_the_lowest_clock),
        cmocka_unit_test(a_wrong_number_of_assets_is_a_conflict), cmocka_unit_test(what_never_expires_never_dies_of_age),
    };
    return cmocka_run_group_tests_name("machine proof", tests, NULL, NULL);
}
