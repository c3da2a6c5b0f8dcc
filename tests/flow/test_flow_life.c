/* What the pipeline does over a life: waves, lanes, failures of single items, retries, cancels, deliveries, collections, caps, staged
 * intake, takeover, and every fault of the chain at once with the judge at the end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/str.h"
#include "flow.h"
#include "loop_fake.h"
#include "tmp.h"

enum { HOUR = 3600000 };

static const char *fresh(void)
{
    static unsigned n;
    static char dir[4096];
    snprintf(dir, sizeof dir, "%s/life-%u", tmp_dir(), n++);
    return dir;
}

static void settle(struct flow *f)
{
    if (!flow_until(f, flow_all_settled, 2 * HOUR))
        fail_msg("not settled: %lld chunks open, first in state %lld", (long long)flow_sql(f, "SELECT count(*) FROM chunks WHERE state < 10"),
                 (long long)flow_sql(f, "SELECT min(state) FROM chunks WHERE state < 10"));
}

static void sound(struct flow *f)
{
    flow_run(f, 120000);                                   /* endpoints may lag behind */
    const char *wrong = flow_judge(f);
    if (wrong) fail_msg("%s", wrong);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM requests WHERE state = 1 AND finished_at IS NULL"), 0);
    assert_int_equal(flow_sql(f, "SELECT coalesce(sum(transit), 0) FROM counters"), 0);
}

static int64_t items_in(struct flow *f, const char *column)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT coalesce(sum(%s), 0) FROM counters WHERE scope = 0 AND kind = 0", column);
    return flow_sql(f, sql);
}

static void many_lanes_are_minted_in_turn(void **state)
{
    (void)state;
    struct flow *f = flow_new(fresh(), 11, &(struct flow_text){ .mint = "window = 4; window_max = 4;" });
    flow_accept(f, "big", "big", 200, NULL);
    flow_accept(f, "small", "small", 8, NULL);
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "done"), 208);
    /* the small lane did not wait for the big one */
    assert_true(flow_sql(f, "SELECT max(minted_at) FROM chunks WHERE kind = 0 AND venue = 2") <
                flow_sql(f, "SELECT max(minted_at) FROM chunks WHERE kind = 0 AND venue = 1"));
    flow_end(f);
}

static void fixed_mode_goes_in_waves_with_a_barrier_and_a_pause(void **state)
{
    (void)state;
    struct flow *f = flow_new(fresh(), 12, &(struct flow_text){
        .mint = "mode = \"fixed\"; batch = 2; maxConcurrentWorkers = 3; batch_delay = \"700ms\";" });
    flow_accept(f, "v", "warm", 1, NULL);
    settle(f);
    flow_accept(f, "v", "t", 24, NULL);                    /* 12 transactions, 4 waves */
    settle(f);
    sound(f);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM chunks WHERE request = 2 AND kind = 0"), 12);
    assert_int_equal(flow_sql(f, "SELECT max(n) FROM chunks WHERE request = 2"), 2);
    static const char WAVES[] =
        "WITH a AS (SELECT (row_number() OVER (ORDER BY c.id) - 1) / 3 AS wave, t.created_at, c.minted_at FROM chunks c "
        "JOIN attempts t ON t.chunk = c.id AND t.no = 1 WHERE c.request = 2 AND c.kind = 0), "
        "w AS (SELECT wave, min(created_at) AS began, max(minted_at) AS ended FROM a GROUP BY wave) ";
    char sql[700];
    snprintf(sql, sizeof sql, "%s SELECT count(*) FROM w", WAVES);
    assert_int_equal(flow_sql(f, sql), 4);
    snprintf(sql, sizeof sql, "%s SELECT min(n.began - w.ended) FROM w JOIN w n ON n.wave = w.wave + 1", WAVES);
    assert_in_range(flow_sql(f, sql), 650, 5000);          /* the next wave begins after the last one's end and the pause */
    flow_end(f);
}

static void one_bad_item_does_not_stop_the_rest(void **state)
{
    (void)state;
    static const char *const at[] = { "prepare", "chain" };
    for (int i = 0; i < 2; i++) {
        char chain[160];
        const char *dir = fresh();
        snprintf(chain, sizeof chain, "fail_names = [\"Concert t-5\"]; fail_at = \"%s\";", at[i]);
        struct flow *f = flow_new(dir, 13, &(struct flow_text){ .chain = chain });
        uint64_t request = flow_accept(f, "v", "t", 24, NULL);
        settle(f);
        sound(f);
        assert_int_equal(items_in(f, "done"), 23);
        assert_int_equal(items_in(f, "failed"), 1);
        assert_int_equal(flow_sql(f, "SELECT count(*) FROM chunks WHERE state = 11 AND n = 1 AND problem IS NOT NULL AND error IS NOT NULL"), 1);
        flow_end(f);
        f = flow_new(dir, 14, &(struct flow_text){ .chain = NULL });   /* mended: the retry mints that one alone */
        assert_int_equal(flow_retry(f, request), 1);
        settle(f);
        sound(f);
        assert_int_equal(items_in(f, "done"), 24);
        assert_int_equal(items_in(f, "failed"), 0);
        assert_int_equal(flow_retry(f, request), 0);
        flow_end(f);
    }
}

static void stop_on_error_cancels_what_is_not_signed(void **state)
{
    (void)state;
    struct flow *f = flow_new(fresh(), 15, &(struct flow_text){ .chain = "fail_names = [\"Concert t-0\"]; fail_at = \"prepare\";",
        .mint = "mode = \"fixed\"; batch = 1; maxConcurrentWorkers = 1; batch_delay = \"1s\"; stop_on_error = true;" });
    flow_accept(f, "v", "t", 20, NULL);
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "failed"), 1);
    assert_true(items_in(f, "cancelled") >= 15);
    assert_int_equal(items_in(f, "failed") + items_in(f, "cancelled") + items_in(f, "done"), 20);
    flow_end(f);
}

static void a_cancel_ends_what_has_not_been_signed_and_a_retry_brings_it_back(void **state)
{
    (void)state;
    struct flow *f = flow_new(fresh(), 16, &(struct flow_text){
        .mint = "mode = \"fixed\"; batch = 1; maxConcurrentWorkers = 2; batch_delay = \"0ms\";" });
    uint64_t request = flow_accept(f, "v", "t", 40, NULL);
    flow_run(f, 60000);
    flow_cancel(f, request);
    settle(f);
    sound(f);
    int64_t done = items_in(f, "done"), cancelled = items_in(f, "cancelled");
    assert_true(cancelled > 0 && done > 0);
    assert_int_equal(done + cancelled, 40);
    assert_int_equal(flow_retry(f, request), cancelled);
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "done"), 40);
    flow_end(f);
}

static void a_delivery_that_one_receiver_refuses_leaves_the_mint_alone(void **state)
{
    (void)state;
    const char *dir = fresh();
    struct flow *f = flow_new(dir, 17, &(struct flow_text){ .profile = "hedera-like", .chain = "unassociated = [\"stranger\"];" });
    flow_accept(f, "v", "good", 12, "friend");
    uint64_t bad = flow_accept(f, "v", "bad", 3, "stranger");
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "done"), 15);
    assert_int_equal(flow_sql(f, "SELECT coalesce(sum(n), 0) FROM chunks WHERE kind = 2 AND state = 10"), 12);
    assert_int_equal(flow_sql(f, "SELECT coalesce(sum(n), 0) FROM chunks WHERE kind = 2 AND state = 11"), 3);
    flow_end(f);
    f = flow_new(dir, 18, &(struct flow_text){ .profile = "hedera-like" });        /* they have associated by now */
    assert_int_equal(flow_retry(f, bad), 3);
    settle(f);
    sound(f);
    assert_int_equal(flow_sql(f, "SELECT coalesce(sum(done), 0) FROM counters WHERE scope = 0 AND kind = 2"), 15);
    assert_int_equal(items_in(f, "done"), 15);
    flow_end(f);
}

static bool all_decided(struct flow *f) { return flow_sql(f, "SELECT count(*) FROM chunks WHERE state < 6") == 0; }

static void what_can_not_be_proven_is_quarantined_and_never_tried_again(void **state)
{
    (void)state;
    const char *dir = fresh();
    struct flow_text doubt = { .chain = "lie = 1000;", .pipeline = "confirm: { quorum = 3; proof_deadline = \"2m\"; };" };
    struct flow *f = flow_new(dir, 33, &(struct flow_text){ .profile = NULL });
    flow_accept(f, "v", "first", 1, NULL);
    settle(f);
    flow_end(f);
    f = flow_new(dir, 34, &doubt);                         /* one of three endpoints denies everything, all three must agree */
    flow_accept(f, "v", "t", 12, NULL);
    assert_true(flow_until(f, all_decided, HOUR));
    assert_int_equal(items_in(f, "quarantined"), 12);
    flow_end(f);
    f = flow_new(dir, 35, &(struct flow_text){ .profile = NULL });         /* it takes a person's verdict, not a restart */
    flow_run(f, HOUR);
    assert_int_equal(items_in(f, "quarantined"), 12);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM chunks WHERE state = 6 AND problem = 'pipe.no_proof' AND owner IS NULL"), 3);
    assert_int_equal(flow_sql(f, "SELECT max(no) FROM attempts"), 1);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM proofs"), 0);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM requests WHERE finished_at IS NULL"), 1);
    assert_int_equal(flow_on_chain(f), 13);                /* they did land, once */
    flow_end(f);
}

static bool creation_failed(struct flow *f) { return flow_sql(f, "SELECT count(*) FROM chunks WHERE kind = 1 AND state = 11") == 1; }

static void a_collection_that_could_not_be_made_waits_for_a_retry(void **state)
{
    (void)state;
    const char *dir = fresh();
    struct flow *f = flow_new(dir, 19, &(struct flow_text){ .chain = "fail_names = [\"v\"]; fail_at = \"chain\";" });
    uint64_t request = flow_accept(f, "v", "t", 10, NULL);
    assert_true(flow_until(f, creation_failed, HOUR));
    flow_run(f, 60000);
    assert_int_equal(flow_sql(f, "SELECT state FROM collections"), MINTD_COL_PARKED);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM collections WHERE park_reason IS NOT NULL"), 1);
    assert_int_equal(items_in(f, "open"), 10);
    flow_end(f);
    f = flow_new(dir, 20, &(struct flow_text){ .profile = NULL });
    assert_int_equal(flow_retry(f, request), 10);
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "done"), 10);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM chunks WHERE kind = 1"), 2);
    flow_end(f);
}

static void a_spending_cap_spreads_a_batch_over_its_windows(void **state)
{
    (void)state;
    struct flow *f = flow_new(fresh(), 21, &(struct flow_text){ .profile = "hedera-like",
        .chain = "fee_tx = \"10 nloc\"; fee_item = \"1 nloc\"; fee_collection = \"10 nloc\";", .mint = "batch = 10; spend_cap = \"60\"; spend_window = \"1m\";" });
    flow_accept(f, "v", "t", 100, NULL);                   /* 10 transactions of 20, and the collection */
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "done"), 100);
    assert_int_equal(flow_sql(f, "SELECT sum(reserved) FROM spend"), 0);
    assert_true(flow_sql(f, "SELECT count(*) FROM spend") > 2);
    assert_true(flow_sql(f, "SELECT max(spent) FROM spend") <= 60);
    assert_int_equal(flow_sql(f, "SELECT sum(spent) FROM spend"), flow_sql(f, "SELECT sum(fee) FROM chunks"));
    flow_end(f);
}

static void a_key_is_answered_once_and_a_ticket_is_accepted_once(void **state)
{
    (void)state;
    struct flow *f = flow_new(fresh(), 22, &(struct flow_text){ .profile = NULL });
    uint64_t first = flow_accept(f, "v", "t", 5, NULL);
    struct flow_answer again = flow_submit(f, "v", "t", 5, NULL), other = flow_submit(f, "v", "t", 6, NULL);
    assert_int_equal(again.verdict, PIPE_REPLAYED);
    assert_int_equal(again.request, first);
    assert_int_equal(other.verdict, PIPE_OTHER_BODY);
    struct flow_answer elsewhere = flow_submit(f, "w", "t", 5, NULL);
    assert_int_equal(elsewhere.verdict, PIPE_ACCEPTED);    /* tickets and keys belong to a venue */
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "done"), 10);
    flow_end(f);
}

struct told { bool done; enum pipe_verdict verdict; uint64_t request; };
static void tell(void *arg, const struct pipe_result *r) { *(struct told *)arg = (struct told){ true, r->verdict, r->request }; }
static bool is_told(void *arg) { return ((struct told *)arg)->done; }
static void welcome(void *arg) { (void)arg; }

/* n tickets through a streamed intake, sealed or left. */
static struct told stream(struct flow *f, const char *prefix, unsigned n, bool seal, struct pipe_intake **ret)
{
    struct told t = { 0 };
    uint8_t hash[DIGEST_LEN] = { 7 };
    struct pipe_open open = { .venue = S("v"), .idem_key = str_of(prefix), .streamed = true };
    assert_int_equal(pipe_intake_open(f->pipe, &open, tell, &t, ret), 0);
    for (unsigned i = 0; i < n; i++) {
        char id[64], data[400];
        snprintf(id, sizeof id, "%s-%u", prefix, i);
        snprintf(data, sizeof data, "{\"eventName\":\"Concert\",\"seatNumber\":\"%s\",\"pad\":\"%0200u\"}", id, i);
        struct pipe_ticket ticket = { .id = str_of(id), .data = str_of(data) };
        int r = pipe_intake_add(*ret, &ticket, welcome);
        if (r == -EAGAIN) loop_fake_advance(f->loop, 20);
        else if (r) fail_msg("add %u: %d, verdict %d", i, r, t.verdict);
    }
    loop_fake_advance(f->loop, 500);
    if (!seal) return t;
    pipe_intake_seal(*ret, hash);
    assert_true(loop_fake_until(f->loop, is_told, &t, 60000));
    return t;
}

static void a_staged_batch_is_invisible_until_its_seal_and_swept_without_it(void **state)
{
    (void)state;
    const char *dir = fresh();
    struct flow_text text = { .top = "intake: { slab = \"4 KiB\"; memory = \"4 KiB\"; };" };
    struct pipe_intake *left, *whole;
    pid_t pid = fork();
    if (!pid) {                                            /* dies in the middle of the body */
        struct flow *dying = flow_new(dir, 23, &text);
        stream(dying, "left", 300, false, &left);
        _exit(flow_sql(dying, "SELECT count(*) FROM items") > 200 && flow_sql(dying, "SELECT count(*) FROM chunks") == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct flow *f = flow_new(dir, 24, &text);
    flow_run(f, 30000);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM items"), 0);
    struct told t = stream(f, "left", 300, true, &whole);
    assert_int_equal(t.verdict, PIPE_ACCEPTED);
    pipe_intake_close(whole);
    settle(f);
    sound(f);
    assert_int_equal(items_in(f, "done"), 300);
    t = stream(f, "left", 300, true, &whole);
    assert_int_equal(t.verdict, PIPE_REPLAYED);
    pipe_intake_close(whole);
    flow_end(f);
}

static void another_instance_inherits_the_slot_of_a_dead_one(void **state)
{
    (void)state;
    const char *dir = fresh();
    struct flow *a = flow_new(dir, 25, &(struct flow_text){ .name = "one" });
    flow_accept(a, "v", "t", 60, NULL);
    flow_run(a, 15000);
    assert_true(flow_sql(a, "SELECT count(*) FROM attempts") > 0);
    flow_stop(a);
    struct flow *b = flow_new(dir, 26, &(struct flow_text){ .name = "two" });
    assert_int_equal(flow_sql(b, "SELECT count(*) FROM leases"), 1);
    assert_int_equal(flow_sql(b, "SELECT epoch FROM leases"), 2);
    settle(b);
    sound(b);
    assert_int_equal(items_in(b, "done"), 60);
    flow_end(b);
}

static void what_was_accepted_and_never_claimed_is_found_after_a_restart(void **state)
{
    (void)state;
    const char *dir = fresh();
    struct flow *f = flow_new(dir, 31, &(struct flow_text){ .mint = "window = 1; window_max = 1;" });
    flow_accept(f, "v", "t", 600, NULL);                   /* 150 chunks, more than are held in memory */
    flow_stop(f);
    f = flow_new(dir, 32, &(struct flow_text){ .profile = NULL });
    settle(f);                                             /* nobody asks for anything in this life */
    sound(f);
    assert_int_equal(items_in(f, "done"), 600);
    flow_end(f);
}

static void two_instances_share_one_store_and_one_chain(void **state)
{
    (void)state;
    const char *dir = fresh();
    struct flow *a = flow_new(dir, 27, &(struct flow_text){ .name = "one" });
    struct flow *b = flow_new(dir, 28, &(struct flow_text){ .name = "two", .beside = true });
    assert_int_equal(flow_sql(a, "SELECT count(*) FROM leases"), 2);
    flow_accept(a, "v", "a", 200, NULL);
    flow_accept(b, "v", "b", 200, NULL);
    flow_accept(b, "w", "c", 200, NULL);
    for (int i = 0; i < 72000 && !flow_all_settled(a); i++) {
        flow_run(a, 50);
        flow_run(b, 50);
    }
    settle(a);
    sound(a);
    assert_int_equal(items_in(a, "done"), 600);
    assert_true(flow_sql(a, "SELECT count(DISTINCT slot) FROM attempts") == 2);
    flow_end(a);
    flow_end(b);
}

static void another_network_or_deployment_is_refused(void **state)
{
    (void)state;
    const char *dir = fresh();
    char ledger[4200];
    struct flow *f = flow_new(dir, 29, &(struct flow_text){ .profile = NULL });
    flow_accept(f, "v", "t", 3, NULL);
    settle(f);
    flow_end(f);
    snprintf(ledger, sizeof ledger, "%s/ledger", dir);
    assert_int_equal(remove(ledger), 0);                   /* a new ledger is another network */
    f = flow_new(dir, 30, &(struct flow_text){ .profile = NULL });
    flow_run(f, 60000);
    struct buf why = { 0 };
    assert_false(pipe_ready(f->pipe, &why));
    buf_free(&why);
    flow_end(f);
}

/* Every fault that the chain knows, one after the other and all together. Per mille where it is a chance. */
static const char *const faults[] = {
    "drop_request = 250;", "drop_reply = 250;", "error_but_land = 250;", "ack_and_drop = 250;", "late_accept = 250;", "rollback = 250;",
    "stale_read = 300;", "lie = 200;", "land_at_deadline = 250;", "fee_spike = 200; fee_spike_factor = 3;", "restart = 100;", "network_rate = 10000; burst = \"1s\"; publish_rates = false; throttle_step = 250; throttle_period = \"10s\";",
    ("drop_request = 80; drop_reply = 80; error_but_land = 80; ack_and_drop = 80; late_accept = 60; stale_read = 80; "
     "lie = 60; land_at_deadline = 60; fee_spike = 60; restart = 20;"),
    "rollback = 100; drop_request = 100; ack_and_drop = 100; stale_read = 100;",
};

static void faults_on(const char *profile)
{
    const char *only = getenv("FLOW_ONLY");
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        bool rolls = strstr(faults[i], "rollback") != NULL;    /* the other profile's blocks are final at once */
        if (only && !strstr(faults[i], only)) continue;
        if (rolls && !strcmp(profile, "hedera-like")) continue;
        char chain[500];
        snprintf(chain, sizeof chain, "seed = %zu; %s", 100 + i, faults[i]);
        struct flow *f = flow_new(fresh(), 40 + i, &(struct flow_text){ .profile = profile, .chain = chain,
            .mint = "attempts = 40;", .pipeline = "confirm: { proof_deadline = \"2h\"; }; retry: { attempts = 200; }" });
        flow_accept(f, "v", "t", 60, "friend");
        print_message("%s: %s\n", profile, faults[i]);
        settle(f);
        sound(f);
        assert_int_equal(items_in(f, "done"), 60);
        flow_end(f);
    }
}

static void every_fault_of_the_solana_like_chain(void **state) { (void)state; faults_on("solana-like"); }
static void every_fault_of_the_hedera_like_chain(void **state) { (void)state; faults_on("hedera-like"); }

int main(void)
{
    flow_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_lanes_are_minted_in_turn),
        cmocka_unit_test(fixed_mode_goes_in_waves_with_a_barrier_and_a_pause),
        cmocka_unit_test(one_bad_item_does_not_stop_the_rest),
        cmocka_unit_test(stop_on_error_cancels_what_is_not_signed),
        cmocka_unit_test(a_cancel_ends_what_has_not_been_signed_and_a_retry_brings_it_back),
        cmocka_unit_test(a_delivery_that_one_receiver_refuses_leaves_the_mint_alone),
        cmocka_unit_test(what_can_not_be_proven_is_quarantined_and_never_tried_again),
        cmocka_unit_test(a_collection_that_could_not_be_made_waits_for_a_retry),
        cmocka_unit_test(a_spending_cap_spreads_a_batch_over_its_windows),
        cmocka_unit_test(a_key_is_answered_once_and_a_ticket_is_accepted_once),
        cmocka_unit_test(a_staged_batch_is_invisible_until_its_seal_and_swept_without_it),
        cmocka_unit_test(another_instance_inherits_the_slot_of_a_dead_one),
        cmocka_unit_test(what_was_accepted_and_never_claimed_is_found_after_a_restart),
        cmocka_unit_test(two_instances_share_one_store_and_one_chain),
        cmocka_unit_test(another_network_or_deployment_is_refused),
        cmocka_unit_test(every_fault_of_the_solana_like_chain),
        cmocka_unit_test(every_fault_of_the_hedera_like_chain),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    plug_files_close();
    if (!r) tmp_clean();
    return r;
}
