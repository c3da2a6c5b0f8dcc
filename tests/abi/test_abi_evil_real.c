/* The evil plugin on the daemon's own loop and threads: each thing it does wrong is counted, named, read as the contract says, and the
 * next op works as if nothing had been. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "kit.h"

#define ALL \
    "chain: { plugin = \"chain-evil\"; };\nslow: { plugin = \"chain-slow\"; };\nstore: { plugin = \"store-evil\"; };\n" \
    "cache: { plugin = \"cache-evil\"; };\nsigner: { plugin = \"signer-evil\"; };"

static struct kit k;

static int open_all(void **state)
{
    (void)state;
    kit_open(&k, ALL);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    kit_close(&k);
    return 0;
}

static void works(const char *inst, uint32_t op)
{
    struct answer a = kit_call(&k, inst, op, 0, 2);
    if (a.cls) fail_msg("%s: op %u after the evil: %u %s %s", inst, op, a.cls, a.slug, a.msg);
}

/* One wrong answer: how it is read, what is counted. */
static void wrong(const char *inst, uint32_t op, enum evil_mode mode, uint32_t cls, const char *slug, const char *counted)
{
    unsigned before = kit_defects(inst, counted);
    struct answer a = kit_call(&k, inst, op, EVIL(mode), 2);
    if (a.cls != cls || strcmp(a.slug, slug)) fail_msg("%s mode %d: %u %s %s", inst, mode, a.cls, a.slug, a.msg);
    kit_sleep(&k, 20);                                     /* what comes after the answer */
    assert_int_equal(a.times, 1);
    if (kit_defects(inst, counted) == before) fail_msg("%s mode %d: no %s was counted", inst, mode, counted);
    works(inst, op);
}

static void test_double(void **state)
{
    (void)state;
    wrong("chain", CHAIN_PREPARE, EVIL_DOUBLE, MINTD_OK, "", "double_done");
    wrong("store", STORE_QUERY, EVIL_DOUBLE, MINTD_OK, "", "double_done");
    wrong("signer", SIGNER_SIGN, EVIL_DOUBLE, MINTD_OK, "", "double_done");
    assert_logged("instance=chain op=prepare defect=double_done times=1");
}

static void test_class_garbage(void **state)
{
    (void)state;
    wrong("chain", CHAIN_BROADCAST, EVIL_CLASS_GARBAGE, MINTD_AMBIGUOUS, "host.unlisted_class", "unlisted_class");
    wrong("store", STORE_COMMIT, EVIL_CLASS_GARBAGE, MINTD_AMBIGUOUS, "host.unlisted_class", "unlisted_class");
    wrong("chain", CHAIN_PREPARE, EVIL_CLASS_GARBAGE, MINTD_TRANSIENT, "host.unlisted_class", "unlisted_class");
    wrong("store", STORE_QUERY, EVIL_CLASS_GARBAGE, MINTD_TRANSIENT, "host.unlisted_class", "unlisted_class");
}

static void test_class_unlisted(void **state)
{
    (void)state;
    wrong("chain", CHAIN_PREPARE, EVIL_CLASS_UNLISTED, MINTD_TRANSIENT, "host.unlisted_class", "unlisted_class");
    wrong("chain", CHAIN_SEAL, EVIL_OUTCOME_NULL_TEXT, MINTD_TRANSIENT, "host.unlisted_class", "unlisted_class");
    wrong("signer", SIGNER_SIGN, EVIL_CLASS_UNLISTED, MINTD_TRANSIENT, "host.unlisted_class", "unlisted_class");
    struct answer a = kit_call(&k, "chain", CHAIN_BROADCAST, EVIL(EVIL_AMBIGUOUS), 1);
    assert_int_equal(a.cls, MINTD_AMBIGUOUS);              /* listed there: the plugin's own word stays */
    assert_string_equal(a.slug, "evil.usual");
}

static void test_outcomes(void **state)
{
    (void)state;
    wrong("chain", CHAIN_BROADCAST, EVIL_OUTCOME_SIZE, MINTD_AMBIGUOUS, "host.bad_outcome", "bad_outcome");
    wrong("store", STORE_QUERY, EVIL_OUTCOME_SIZE, MINTD_TRANSIENT, "host.bad_outcome", "bad_outcome");
    wrong("cache", CACHE_GET, EVIL_OUTCOME_UNALIGNED, MINTD_TRANSIENT, "host.bad_outcome", "bad_outcome");
    wrong("cache", CACHE_GET, EVIL_OUTCOME_NULL_TEXT, MINTD_TRANSIENT, "", "unlisted_slug");
    wrong("cache", CACHE_GET, EVIL_SLUG_UNLISTED, MINTD_TRANSIENT, "evil.never_published", "unlisted_slug");
}

static void test_rows(void **state)
{
    (void)state;
    static const enum evil_mode modes[] = { EVIL_ROWS_NULL, EVIL_ROWS_STRIDE_0, EVIL_ROWS_STRIDE_12, EVIL_ROWS_HUGE,
        EVIL_ROWS_UNALIGNED, EVIL_ROWS_FEWER, EVIL_ROWS_NULL_TEXT, EVIL_RES_SIZE };
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        wrong("chain", CHAIN_PREPARE, modes[i], MINTD_TRANSIENT, "host.bad_result", "bad_result");
        wrong("signer", SIGNER_SIGN, modes[i], MINTD_TRANSIENT, "host.bad_result", "bad_result");
        if (modes[i] == EVIL_ROWS_FEWER) continue;         /* these two may answer any number */
        wrong("chain", CHAIN_BROADCAST, modes[i], MINTD_AMBIGUOUS, "host.bad_result", "bad_result");
        wrong("store", STORE_COMMIT, modes[i], MINTD_AMBIGUOUS, "host.bad_result", "bad_result");
    }
}

static void test_blocks_the_loop(void **state)
{
    (void)state;
    struct metric *slow = metric_new(METRIC_COUNTER, "mintd_callback_slow_total", "instance,callback",
                                     "Plugin callbacks that held the loop for more than 50 ms.", NULL);
    double before = metric_get(slow, S("chain"), S("inspect"));
    for (int i = 0; i < 2; i++) assert_int_equal(kit_call(&k, "chain", CHAIN_INSPECT, EVIL(EVIL_BLOCK), 1).cls, MINTD_OK);
    assert_true(metric_get(slow, S("chain"), S("inspect")) == before + 2);
    assert_logged("instance=chain callback=inspect");
    const char *first = strstr(kit_log.all, "callback=inspect");
    assert_null(strstr(first + 1, "callback=inspect"));    /* named once a minute */
    assert_int_equal(kit_call(&k, "slow", CHAIN_INSPECT, EVIL(EVIL_BLOCK), 1).cls, MINTD_OK);
    assert_true(metric_get(slow, S("slow"), S("inspect")) == 0);   /* a worker may block */
}

static void test_foreign_thread(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kit_call(&k, "chain", CHAIN_STATUS, EVIL(EVIL_FOREIGN), 0).cls, MINTD_OK);
        assert_int_equal(kit_call(&k, "store", STORE_QUERY, EVIL(EVIL_FOREIGN), 0).cls, MINTD_OK);
    }
}

static void test_wrong_thread(void **state)
{
    (void)state;
    wrong("store", STORE_QUERY, EVIL_WRONG_THREAD, MINTD_OK, "", "wrong_thread");
    wrong("chain", CHAIN_STATUS, EVIL_WRONG_THREAD, MINTD_OK, "", "wrong_thread");
    assert_logged("instance=store op=timer defect=wrong_thread");
    assert_logged("instance=chain op=wait defect=wrong_thread");
}

static void test_stale_and_wild_cookies(void **state)
{
    (void)state;
    wrong("store", STORE_QUERY, EVIL_STALE, MINTD_OK, "", "stale_op");
    assert_int_equal(kit_call(&k, "store", STORE_QUERY, EVIL(EVIL_COOKIES), 1).cls, MINTD_OK);
    assert_int_equal(kit_call(&k, "chain", CHAIN_STATUS, EVIL(EVIL_COOKIES), 1).cls, MINTD_OK);
    assert_true(kit_defects("", "double_done") >= 8);      /* nobody's */
    works("store", STORE_QUERY);
}

static void test_options_after_create(void **state)
{
    (void)state;
    wrong("store", STORE_QUERY, EVIL_OPTION_LATE, MINTD_OK, "", "wrong_thread");
    wrong("chain", CHAIN_STATUS, EVIL_OPTION_LATE, MINTD_OK, "", "unknown_option");
}

static void test_metrics_and_logs(void **state)
{
    (void)state;
    struct buf text = { 0 };
    wrong("chain", CHAIN_STATUS, EVIL_METRICS, MINTD_OK, "", "unknown_metric");
    assert_true(kit_defects("chain", "bad_fields") > 0);
    assert_null(strstr(kit_log.all, "line\nbreak"));
    assert_null(strstr(kit_log.all, "bad key\n"));
    metric_write(&text);
    buf_puts(&text, "");
    buf_add(&text, "", 1);
    assert_contains(text.p, "mintd_evil_things_total{instance=\"chain\"} 1");
    assert_contains(text.p, "mintd_evil_level{instance=\"chain\",place=\"x\"} 42");
    assert_contains(text.p, "mintd_evil_seconds_sum{instance=\"chain\",place=\"x\"} 0.02");
    assert_contains(text.p, "mintd_plugin_defects_total{instance=\"chain\",what=\"unknown_metric\"}");
    assert_contains(text.p, "mintd_op_seconds_count{instance=\"chain\",op=\"status\"}");
    buf_free(&text);
}

static unsigned pokes;
static void poked(void *arg, struct mintd_str id)
{
    (void)arg;
    pokes += str_eq(id, S("flood")) || !id.n;
}

static void test_flood_of_hints(void **state)
{
    (void)state;
    plug_on_poke(kit_inst(&k, "store"), poked, NULL);
    assert_int_equal(kit_call(&k, "store", STORE_QUERY, EVIL(EVIL_FLOOD), 1).cls, MINTD_OK);
    kit_sleep(&k, 50);
    assert_int_equal(pokes, 2001);
    plug_on_poke(kit_inst(&k, "store"), NULL, NULL);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct answer a = kit_call(&k, "store", STORE_QUERY, EVIL(EVIL_SCRATCH), 3);
    assert_int_equal(a.cls, MINTD_OK);
    assert_int_equal(a.n, 3);
}

static void test_done_in_cancel(void **state)
{
    (void)state;
    static const char *const insts[] = { "chain", "slow" };
    for (size_t i = 0; i < ARRAY_LEN(insts); i++) {
        struct answer a;
        kit_send_arg(&k, insts[i], CHAIN_WALLET, EVIL(EVIL_CANCEL_DONE), NULL, 1, 100, &a);
        kit_wait(&k, &a);
        assert_int_equal(a.cls, MINTD_CANCELED);
        assert_string_equal(a.slug, "evil.canceled");
        assert_true(a.took_us >= 95000 && a.took_us < 2000000);
    }
}

static void test_wait_honours_the_deadline(void **state)
{
    (void)state;
    struct answer a;
    kit_send_arg(&k, "store", STORE_QUERY, EVIL(EVIL_WAIT), NULL, 1, 150, &a);
    kit_wait(&k, &a);
    assert_int_equal(a.cls, MINTD_CANCELED);
    assert_true(a.took_us >= 145000 && a.took_us < 2000000);
}

static void test_timers_and_offload(void **state)
{
    (void)state;
    assert_int_equal(kit_call(&k, "chain", CHAIN_STATUS, EVIL(EVIL_LATER), 1).cls, MINTD_OK);
    for (int i = 0; i < 5; i++) assert_int_equal(kit_call(&k, "chain", CHAIN_STATUS, EVIL(EVIL_OFFLOAD), 1).cls, MINTD_OK);
}

static int listener(uint32_t *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static struct answer dial(const char *inst, uint32_t op, uint32_t port)
{
    struct answer a;
    kit_send_arg(&k, inst, op, EVIL(EVIL_DIAL), &port, 0, 0, &a);
    kit_wait(&k, &a);
    return a;
}

static void test_dials(void **state)
{
    (void)state;
    uint32_t port;
    int fd = listener(&port);
    assert_int_equal(dial("chain", CHAIN_STATUS, port).cls, MINTD_OK);
    assert_int_equal(dial("slow", CHAIN_STATUS, port).cls, MINTD_OK);
    close(fd);
    assert_string_equal(dial("chain", CHAIN_STATUS, port).slug, "evil.dial");
    assert_string_equal(dial("slow", CHAIN_STATUS, port).msg, "refused");
    kit_sleep(&k, 20);
}

/* A query must not wait behind a commit: worker 0 is for serial ops alone. */
static void test_serial_ops_have_their_worker(void **state)
{
    (void)state;
    struct answer commit, a;
    kit_send(&k, "store", STORE_COMMIT, EVIL(EVIL_BLOCK), 1, &commit);
    for (int i = 0; i < 20; i++) {
        a = kit_call(&k, "store", STORE_QUERY, EVIL(EVIL_WORKER), 0);
        assert_in_range(a.first, 1, 2);
    }
    assert_int_equal(commit.times, 0);
    kit_wait(&k, &commit);
    for (int i = 0; i < 5; i++) assert_int_equal(kit_call(&k, "store", STORE_CLAIM, EVIL(EVIL_WORKER), 0).first, 0);
    assert_int_equal(kit_call(&k, "signer", SIGNER_SIGN, EVIL(EVIL_WORKER), 1).first, 0);
}

static void test_not_offered(void **state)
{
    (void)state;
    struct answer a = kit_call(&k, "chain", CHAIN_FIND, 0, 1);
    assert_int_equal(a.cls, MINTD_PERMANENT);
    assert_string_equal(a.slug, "host.not_offered");
    assert_int_equal(kit_call(&k, "chain", PLUG_DRAIN, 0, 0).cls, MINTD_PERMANENT);
    assert_int_equal(kit_call(&k, "chain", 40, 0, 0).cls, MINTD_PERMANENT);
    assert_false(plug_offers(kit_inst(&k, "chain"), CHAIN_FIND));
    assert_true(plug_offers(kit_inst(&k, "chain"), CHAIN_WALLET));
}

/* Handles left open and ops never answered: the first are closed, the second keep their instance from being destroyed. */
static void test_leaks(void **state)
{
    (void)state;
    struct kit own;
    kit_open(&own, "leaky: { plugin = \"chain-evil\"; };");
    assert_int_equal(kit_call(&own, "leaky", CHAIN_STATUS, EVIL(EVIL_LEAK), 1).cls, MINTD_OK);
    kit_close(&own);                                       /* asserts that the loop closes clean */
    assert_int_equal(kit_defects("leaky", "leaked_handle"), 1);
}

static void test_late_and_never(void **state)
{
    (void)state;
    struct kit own;
    struct answer a, b, c;
    kit_open(&own, "late: { plugin = \"store-evil\"; };");
    kit_send_arg(&own, "late", STORE_COMMIT, EVIL(EVIL_KEEP), NULL, 1, 50, &a);
    kit_send_arg(&own, "late", STORE_QUERY, EVIL(EVIL_KEEP), NULL, 1, 50, &b);
    kit_send_arg(&own, "late", STORE_QUERY, EVIL(EVIL_NEVER), NULL, 1, 50, &c);
    kit_wait(&own, &a);                                    /* deadline and 5 s */
    kit_wait(&own, &b);
    kit_wait(&own, &c);
    assert_int_equal(a.cls, MINTD_AMBIGUOUS);
    assert_int_equal(b.cls, MINTD_TRANSIENT);
    assert_string_equal(a.slug, "host.deadline");
    assert_int_equal(kit_defects("late", "no_answer"), 3);
    assert_int_equal(plug_in_flight(kit_inst(&own, "late")), 0);
    kit_call(&own, "late", STORE_QUERY, EVIL(EVIL_RELEASE), 1);
    kit_sleep(&own, 20);
    assert_int_equal(kit_defects("late", "late_done"), 2);
    assert_int_equal(a.times + b.times + c.times, 3);      /* the late answers went nowhere */
    kit_close_leaking(&own, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double), cmocka_unit_test(test_class_garbage), cmocka_unit_test(test_class_unlisted),
        cmocka_unit_test(test_outcomes), cmocka_unit_test(test_rows), cmocka_unit_test(test_blocks_the_loop),
        cmocka_unit_test(test_foreign_thread), cmocka_unit_test(test_wrong_thread), cmocka_unit_test(test_stale_and_wild_cookies),
        cmocka_unit_test(test_options_after_create), cmocka_unit_test(test_metrics_and_logs), cmocka_unit_test(test_flood_of_hints),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_done_in_cancel), cmocka_unit_test(test_wait_honours_the_deadline),
        cmocka_unit_test(test_timers_and_offload), cmocka_unit_test(test_dials), cmocka_unit_test(test_serial_ops_have_their_worker),
        cmocka_unit_test(test_not_offered),
    };
    const struct CMUnitTest alone[] = { cmocka_unit_test(test_leaks), cmocka_unit_test(test_late_and_never) };
    int failed = cmocka_run_group_tests(tests, open_all, close_all);
    failed += cmocka_run_group_tests(alone, NULL, NULL);
    plug_files_close();
    metric_close();
    log_close();
    tmp_clean();
    return failed;
}
