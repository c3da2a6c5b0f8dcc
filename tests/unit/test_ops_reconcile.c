/* What the answers of a chain mean for an item, case by case: life and death need a quorum, silence and lag mean nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/str.h"
#include "ops/reconcile_int.h"

static const struct mintd_outcome refused = { .size = sizeof refused, .cls = MINTD_TRANSIENT };
#define LANDED(r) { .route = { r, 1 }, .state = MINTD_LANDED, .flags = MINTD_F_FINAL, .time_ms = 777 }
#define SHOWN(r)  { .route = { r, 1 }, .state = MINTD_LANDED }
#define ERRED(r)  { .route = { r, 1 }, .state = MINTD_ERRED, .flags = MINTD_F_FINAL }
#define ABSENT(r) { .route = { r, 1 }, .state = MINTD_ABSENT, .flags = MINTD_F_HISTORY }
#define RECENT(r) { .route = { r, 1 }, .state = MINTD_ABSENT }
#define SILENT(r) { .route = { r, 1 }, .state = MINTD_NO_ANSWER }
#define FAILED(r) { .route = { r, 1 }, .state = MINTD_ABSENT, .flags = MINTD_F_HISTORY, .why = &refused }

static const struct fate { const char *what; uint32_t quorum, n; struct mintd_seen seen[4]; enum tx_fate want; } fates[] = {
    { "nobody was asked", 2, 0, { { .why = NULL } }, TX_UNKNOWN },
    { "two of three have it", 2, 3, { LANDED("a"), LANDED("b"), ABSENT("c") }, TX_LANDED },
    { "one of three is not enough", 2, 3, { LANDED("a"), SILENT("b"), SILENT("c") }, TX_UNKNOWN },
    { "one of one is", 1, 1, { LANDED("a") }, TX_LANDED },
    { "the same witness twice is one", 2, 2, { LANDED("a"), LANDED("a") }, TX_UNKNOWN },
    { "what can still be rolled back", 2, 2, { SHOWN("a"), SHOWN("b") }, TX_UNKNOWN },
    { "executed with an error", 2, 2, { ERRED("a"), ERRED("b") }, TX_ERRED },
    { "an error against a success", 1, 2, { ERRED("a"), LANDED("b") }, TX_UNKNOWN },
    { "two have searched all history", 2, 3, { ABSENT("a"), ABSENT("b"), SILENT("c") }, TX_ABSENT },
    { "two have not", 2, 2, { RECENT("a"), RECENT("b") }, TX_UNKNOWN },
    { "all three failed to answer", 2, 3, { FAILED("a"), FAILED("b"), FAILED("c") }, TX_UNKNOWN },
    { "two absent, one has it", 2, 3, { ABSENT("a"), ABSENT("b"), LANDED("c") }, TX_UNKNOWN },
    { "two against two", 2, 4, { ABSENT("a"), ABSENT("b"), LANDED("c"), LANDED("d") }, TX_UNKNOWN },
    { "silence", 1, 2, { SILENT("a"), SILENT("b") }, TX_UNKNOWN },
};

static void fates_of_transactions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fates); i++) {
        int64_t at = 0;
        if (judge_tx(fates[i].seen, fates[i].n, fates[i].quorum, &at) != fates[i].want) fail_msg("%s", fates[i].what);
        if (fates[i].want == TX_LANDED) assert_int_equal(at, 777);
    }
}

/* ---- one item with one transaction and perhaps an earlier one */

#define TEXT(s) { s, sizeof(s) - 1 }
enum { MINUTE = 60000 };

static const struct verdict {
    const char *what;
    uint32_t state; enum tx_fate own, earlier; bool has_earlier, answered, delivers, delivered, fresh, unknown_chain;
    uint32_t asset; const char *owner, *uri, *name, *collection; int64_t off_ms;
    enum class want;
} verdicts[] = {
    { "as it should be", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .want = CLASS_CONFIRMED },
    { "still on its way", MINTD_ST_SIGNED, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .want = CLASS_PENDING },
    { "in quarantine", MINTD_ST_QUARANTINE, .own = TX_ABSENT, .want = CLASS_PENDING },
    { "nowhere", MINTD_ST_DONE, .own = TX_ABSENT, .answered = true, .asset = MINTD_ABSENT, .want = CLASS_NOT_FOUND },
    { "nowhere, but nobody said so of the asset", MINTD_ST_DONE, .own = TX_ABSENT, .want = CLASS_UNVERIFIED },
    { "nobody said anything of the transaction", MINTD_ST_DONE, .own = TX_UNKNOWN, .answered = true, .asset = MINTD_LANDED, .want = CLASS_UNVERIFIED },
    { "nowhere, but a moment ago", MINTD_ST_DONE, .own = TX_ABSENT, .answered = true, .asset = MINTD_ABSENT, .fresh = true, .want = CLASS_UNVERIFIED },
    { "the asset alone", MINTD_ST_DONE, .own = TX_ABSENT, .answered = true, .asset = MINTD_LANDED, .want = CLASS_TRANSACTION_MISSING },
    { "the transaction alone", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_ABSENT, .want = CLASS_ASSET_MISSING },
    { "with an error", MINTD_ST_DONE, .own = TX_ERRED, .answered = true, .asset = MINTD_ABSENT, .want = CLASS_TRANSACTION_FAILED },
    { "burned", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_ERRED, .want = CLASS_BURNED },
    { "another's", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .owner = "mallory", .want = CLASS_WRONG_OWNER },
    { "in the treasury, not delivered yet", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .owner = "treasury",
      .delivers = true, .want = CLASS_CONFIRMED },
    { "in the treasury, though delivered", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .owner = "treasury",
      .delivers = true, .delivered = true, .want = CLASS_WRONG_OWNER },
    { "other metadata", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .uri = "ipfs://other", .want = CLASS_WRONG_METADATA },
    { "another name", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .name = "other", .want = CLASS_WRONG_METADATA },
    { "another collection", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .collection = "other", .want = CLASS_WRONG_COLLECTION },
    { "just within the tolerance", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .off_ms = 10 * MINUTE, .want = CLASS_CONFIRMED },
    { "just beyond it", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .off_ms = 10 * MINUTE + 1, .want = CLASS_LATE },
    { "just beyond it, the other way", MINTD_ST_DONE, .own = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .off_ms = -10 * MINUTE - 1, .want = CLASS_LATE },
    { "twice", MINTD_ST_DONE, .own = TX_LANDED, .has_earlier = true, .earlier = TX_LANDED, .answered = true, .asset = MINTD_LANDED, .want = CLASS_MINTED_TWICE },
    { "once, the earlier one died", MINTD_ST_DONE, .own = TX_LANDED, .has_earlier = true, .earlier = TX_ABSENT, .answered = true, .asset = MINTD_LANDED,
      .want = CLASS_CONFIRMED },
    { "failed and gone", MINTD_ST_FAILED, .own = TX_ABSENT, .want = CLASS_CONFIRMED },
    { "failed with an error", MINTD_ST_FAILED, .own = TX_ERRED, .want = CLASS_CONFIRMED },
    { "failed, and there after all", MINTD_ST_FAILED, .own = TX_LANDED, .want = CLASS_LANDED_BUT_FAILED },
    { "failed, who knows", MINTD_ST_FAILED, .own = TX_UNKNOWN, .want = CLASS_UNVERIFIED },
    { "cancelled, an earlier one is there", MINTD_ST_CANCELLED, .own = TX_ABSENT, .has_earlier = true, .earlier = TX_LANDED, .want = CLASS_LANDED_BUT_FAILED },
    { "cancelled, of an earlier one nobody knows", MINTD_ST_CANCELLED, .own = TX_ABSENT, .has_earlier = true, .earlier = TX_UNKNOWN, .want = CLASS_UNVERIFIED },
    { "its chain is not there", MINTD_ST_DONE, .own = TX_UNKNOWN, .unknown_chain = true, .want = CLASS_UNVERIFIED },
};

static struct mintd_str or_else(const char *given, const char *dflt) { return str_of(given ? given : dflt); }

static enum class judged(const struct verdict *v)
{
    struct arena *mem = arena_new(0);
    struct run run = { .tolerance_ms = 10 * MINUTE, .settle_ms = MINUTE, .page = { .mem = mem } };
    struct mintd_db_item it = { .id = 1, .ticket = TEXT("t"), .recipient = TEXT("alice"), .uri = TEXT("ipfs://x"), .body = TEXT("{\"name\":\"Seat 1\"}"),
        .asset = TEXT("asset"), .chunk = 2, .state = v->state, .delivered = v->delivered ? (uint32_t)MINTD_ST_DONE : 0 };
    struct mintd_db_chunk chunk = { .id = 2, .parent = 1, .state = v->state, .attempt_no = 1, .block_time = 1000 * MINUTE, .minted_at = v->fresh ? 1999 * MINUTE + 1 : 1000 * MINUTE };
    struct mintd_db_chunk parent = { .id = 1, .state = MINTD_ST_MOVED, .attempt_no = 1 };
    struct mintd_db_attempt own = { .chunk = 2, .no = 1, .tx_id = TEXT("own") }, earlier = { .chunk = 1, .no = 1, .tx_id = TEXT("earlier") };
    struct rec_col col = { .chain_ref = TEXT("col"), .known = !v->unknown_chain, .chain = { .caps = v->delivers ? (uint32_t)MINTD_C_DELIVERS : 0 } };
    struct rec_tx txs[2] = { { &own, &chunk, &col, v->own, chunk.block_time + v->off_ms, false }, { &earlier, &parent, &col, v->earlier, 0, false } };
    struct rec_item item = { .it = &it, .chunk = &chunk, .col = &col, .line = { 2, 1 }, .n_line = 2, .answered = v->answered,
        .truth = { .state = v->asset, .owner = or_else(v->owner, "alice"), .uri = or_else(v->uri, "ipfs://x"), .name = or_else(v->name, "Seat 1"),
                   .collection = or_else(v->collection, "col") } };
    run.page.txs = txs;
    run.page.n_txs = v->has_earlier ? 2 : 1;
    judge_item(&run, &item, 2000 * MINUTE);
    enum class got = item.class;
    if (class_wrong(got) || got == CLASS_UNVERIFIED) assert_true(item.detail.n > 0);
    arena_free(mem);
    return got;
}

static void verdicts_about_items(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        enum class got = judged(&verdicts[i]);
        if (got != verdicts[i].want) fail_msg("%s: %s, wanted %s", verdicts[i].what, class_word(got), class_word(verdicts[i].want));
    }
}

static void the_rate_is_a_share(void **state)
{
    (void)state;
    assert_true(reconcile_rate(&(struct mintd_db_report){ 0 }) == 0);
    assert_true(reconcile_rate(&(struct mintd_db_report){ .total_checked = 450, .discrepancy_count = 9 }) == 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(fates_of_transactions), cmocka_unit_test(verdicts_about_items), cmocka_unit_test(the_rate_is_a_share) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
