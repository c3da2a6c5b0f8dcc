/* Instances from configuration to the end, and the deadlines of their ops, in virtual time. */
#include "../abi/kit.h"
#include "loop_fake.h"

static uint64_t now(struct kit *k) { return loop_now_ms(k->loop); }

/* ---- configure */
static void refused(const char *lifecycle, const char *says)
{
    struct kit k;
    char text[256], errors[2048];
    snprintf(text, sizeof text, "first: { plugin = \"cache-evil\"; };\nbad: { plugin = \"chain-evil\"; opts: { lifecycle = \"%s\"; }; };",
             lifecycle);
    kit_new(&k);
    assert_int_equal(kit_configure(&k, text, false, errors, sizeof errors), -EINVAL);
    assert_contains(errors, "test.cfg:5: ");
    assert_contains(errors, says);
    assert_null(plug_find(k.plug, S("first")));
    assert_null(plug_find(k.plug, S("bad")));
    assert_int_equal(plug_free(k.plug), 0);
    conf_unref(k.conf);
    assert_int_equal(loop_free(k.loop), 0);                /* nothing stays, not even a timer of a failed create */
}

static void test_check_refuses(void **state)
{
    (void)state;
    refused("check_fails", "lifecycle in instance \"bad\" (chain-evil): check was told to refuse");
    refused("check_silent", "instance \"bad\": check of plugin chain-evil failed: Permission denied");
}

static void test_create_fails(void **state)
{
    (void)state;
    refused("create_fails", "instance \"bad\": create of plugin chain-evil failed: No space left on device");
    refused("create_positive", "create of plugin chain-evil failed: Invalid argument");
    refused("create_leaks", "create of plugin chain-evil failed: Cannot allocate memory");
    assert_int_equal(kit_defects("bad", "leaked_handle"), 1);
}

static void test_bad_option_reads(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, "odd: { plugin = \"chain-evil\"; opts: { lifecycle = \"bad_options\"; }; };");
    assert_int_equal(kit_defects("odd", "unknown_option"), 5);
    kit_close(&k);
}

static void test_check_only_creates_nothing(void **state)
{
    (void)state;
    struct kit k;
    char errors[256];
    kit_new(&k);
    assert_int_equal(kit_configure(&k, "a: { plugin = \"chain-evil\"; opts: { lifecycle = \"create_fails\"; }; };", true, errors,
                                   sizeof errors), 0);
    assert_null(plug_find(k.plug, S("a")));
    assert_int_equal(plug_free(k.plug), 0);
    conf_unref(k.conf);
    assert_int_equal(loop_free(k.loop), 0);
}

/* ---- start */
static uint64_t ready_after(const char *starts)
{
    struct kit k;
    char text[128];
    snprintf(text, sizeof text, "a: { plugin = \"chain-evil\"; opts: { starts = %s; }; };", starts);
    kit_open(&k, text);
    uint64_t ms = now(&k);
    kit_close(&k);
    return ms;
}

static void test_backoff(void **state)
{
    (void)state;
    assert_in_range(ready_after("0"), 0, 5);
    assert_in_range(ready_after("1"), 250, 255);
    assert_in_range(ready_after("4"), 250 + 500 + 1000 + 2000, 3755);
    assert_in_range(ready_after("9"), 250 * 127 + 2 * 30000, 250 * 127 + 2 * 30000 + 20);     /* 16 s, then 30 s, no more */
}

static void test_unready_until_started(void **state)
{
    (void)state;
    struct kit k;
    struct answer a;
    struct buf why = { 0 };
    char errors[256];
    kit_new(&k);
    assert_int_equal(kit_configure(&k, "a: { plugin = \"chain-evil\"; opts: { starts = 3; }; };\nb: { plugin = \"cache-evil\"; };", false,
                                   errors, sizeof errors), 0);
    assert_int_equal(plug_unready(k.plug, NULL), 2);
    plug_start(k.plug, kit_started, &k);
    loop_fake_advance(k.loop, 100);
    assert_int_equal(plug_unready(k.plug, &why), 1);
    buf_add(&why, "", 1);
    assert_string_equal(why.p, "a: evil.not_yet: the peer is not there yet (wait)\n");
    buf_free(&why);
    assert_false(plug_ready(kit_inst(&k, "a")));
    assert_true(plug_ready(kit_inst(&k, "b")));
    kit_send(&k, "a", CHAIN_STATUS, 0, 1, &a);
    kit_wait(&k, &a);
    assert_int_equal(a.cls, MINTD_TRANSIENT);
    assert_string_equal(a.slug, "host.not_ready");
    while (k.started == 1) loop_run(k.loop);
    assert_int_equal(k.started, 0);
    assert_int_equal(plug_unready(k.plug, NULL), 0);
    assert_int_equal(kit_call(&k, "a", CHAIN_STATUS, 0, 1).cls, MINTD_OK);
    kit_close(&k);
}

static void test_start_permanent(void **state)
{
    (void)state;
    struct kit k;
    char errors[256];
    kit_new(&k);
    assert_int_equal(kit_configure(&k, "a: { plugin = \"cache-evil\"; };\nb: { plugin = \"chain-evil\"; opts: { lifecycle = \"start_fails\"; }; };",
                                   false, errors, sizeof errors), 0);
    kit_start(&k);
    assert_int_equal(k.started, -EIO);
    assert_string_equal(k.why, "instance \"b\" (chain-evil) cannot start: evil.usual: wrong network (nothing to do, it is a test)");
    kit_close(&k);
}

static void test_start_garbage_and_silence(void **state)
{
    (void)state;
    struct kit k;
    char errors[256];
    kit_new(&k);
    assert_int_equal(kit_configure(&k, "g: { plugin = \"chain-evil\"; opts: { lifecycle = \"start_garbage\"; }; };\n"
                                   "s: { plugin = \"chain-evil\"; opts: { lifecycle = \"start_silent\"; }; };", false, errors, sizeof errors), 0);
    plug_start(k.plug, kit_started, &k);
    loop_fake_advance(k.loop, 34000);
    assert_int_equal(kit_defects("s", "no_answer"), 0);
    loop_fake_advance(k.loop, 2000);                       /* 30 s and 5 s of grace */
    assert_int_equal(kit_defects("s", "no_answer"), 1);
    assert_true(kit_defects("g", "unlisted_class") >= 5);
    assert_int_equal(k.started, 1);                        /* still trying */
    kit_drain(&k);
    assert_true(plug_free(k.plug) >= 1);
    conf_unref(k.conf);
}

static void test_facts_and_grants(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, "a: { plugin = \"chain-evil\"; opts: { payer = \"a/hot\"; others = ( \"b/x\", \"b/y\" ); label = \"b/z\"; }; };\n"
             "b: { plugin = \"signer-evil\"; };");
    struct plug_inst *a = kit_inst(&k, "a");
    struct mintd_vec facts = plug_facts(a);
    assert_int_equal(facts.n, 2);
    assert_true(str_eq(((const struct mintd_field *)facts.p)[0].val, S("evil-1")));
    assert_true(plug_granted(a, S("a/hot")));
    assert_true(plug_granted(a, S("b/x")));
    assert_true(plug_granted(a, S("b/y")));
    assert_false(plug_granted(a, S("b/z")));               /* written, but in no option of type key */
    assert_false(plug_granted(a, S("")));
    assert_false(plug_granted(kit_inst(&k, "b"), S("a/hot")));
    assert_int_equal(plug_kind(a), MINTD_CHAIN);
    assert_true(str_eq(plug_name(a), S("a")));
    assert_null(plug_find(k.plug, S("c")));
    kit_close(&k);
}

/* ---- deadlines */
struct limit { const char *inst; uint32_t op, flags; uint64_t ms; uint32_t cls; };
static const struct limit limits[] = {
    { "chain", CHAIN_LIMITS, 0, 10000, MINTD_TRANSIENT }, { "chain", CHAIN_PREPARE, 0, 10000, MINTD_TRANSIENT },
    { "chain", CHAIN_SEAL, 0, 1000, MINTD_TRANSIENT }, { "chain", CHAIN_BROADCAST, 0, 10000, MINTD_AMBIGUOUS },
    { "chain", CHAIN_STATUS, 0, 5000, MINTD_TRANSIENT }, { "chain", CHAIN_STATUS, 1, 20000, MINTD_TRANSIENT },
    { "chain", CHAIN_INSPECT, 0, 10000, MINTD_TRANSIENT }, { "chain", CHAIN_ESTIMATE, 0, 10000, MINTD_TRANSIENT },
    { "chain", CHAIN_WALLET, 0, 5000, MINTD_TRANSIENT }, { "signer", SIGNER_PUBLIC_KEYS, 0, 5000, MINTD_TRANSIENT },
    { "signer", SIGNER_SIGN, 0, 10000, MINTD_TRANSIENT }, { "cache", CACHE_GET, 0, 50, MINTD_TRANSIENT },
    { "cache", CACHE_PUT, 0, 50, MINTD_TRANSIENT }, { "cache", CACHE_DEL, 0, 5000, MINTD_TRANSIENT },
    { "cache", CACHE_STATS, 0, 1000, MINTD_TRANSIENT }, { "store", STORE_STAGE, 0, 10000, MINTD_AMBIGUOUS },
    { "store", STORE_COMMIT, 0, 5000, MINTD_AMBIGUOUS }, { "store", STORE_CLAIM, 0, 5000, MINTD_AMBIGUOUS },
    { "store", STORE_QUERY, 0, 10000, MINTD_TRANSIENT },
};

static void test_deadlines(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, "chain: { plugin = \"chain-evil\"; };\nsigner: { plugin = \"signer-evil\"; };\ncache: { plugin = \"cache-evil\"; };\n"
             "store: { plugin = \"store-evil\"; };");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        const struct limit *l = &limits[i];
        uint64_t begun = now(&k);
        struct answer a = kit_call(&k, l->inst, l->op, l->flags | EVIL(EVIL_KEEP), 1);
        assert_int_equal(a.cls, l->cls);
        assert_string_equal(a.slug, "host.deadline");
        assert_in_range(now(&k) - begun, l->ms + 5000, l->ms + 5010);
        assert_int_equal(kit_call(&k, l->inst, l->op, l->flags | EVIL(EVIL_RELEASE), 1).cls, MINTD_OK);
    }
    loop_fake_advance(k.loop, 10);
    assert_int_equal(kit_defects("chain", "late_done"), 9);
    kit_close(&k);                                         /* all answered at last: nothing is left behind */
}

static void test_own_deadline_and_none(void **state)
{
    (void)state;
    struct kit k;
    struct answer a;
    kit_open(&k, "store: { plugin = \"store-evil\"; };");
    uint64_t begun = now(&k);
    kit_send_arg(&k, "store", STORE_COMMIT, EVIL(EVIL_KEEP), NULL, 1, 700, &a);
    kit_wait(&k, &a);
    assert_in_range(now(&k) - begun, 5700, 5710);
    kit_send(&k, "store", STORE_MIGRATE, EVIL(EVIL_KEEP), 1, &a);
    loop_fake_advance(k.loop, 3600000);
    assert_int_equal(a.times, 0);                          /* a migration may take as long as it must */
    kit_call(&k, "store", STORE_QUERY, EVIL(EVIL_RELEASE), 1);
    kit_wait(&k, &a);
    assert_int_equal(a.cls, MINTD_AMBIGUOUS);              /* kept ops are released without the row that migrate owes */
    assert_string_equal(a.slug, "host.bad_result");
    kit_close(&k);
}

static void test_at_most_4096_ops(void **state)
{
    (void)state;
    struct kit k;
    struct answer *a = calloc(4097, sizeof *a);
    kit_open(&k, "chain: { plugin = \"chain-evil\"; };");
    for (int i = 0; i < 4097; i++) kit_send(&k, "chain", CHAIN_STATUS, EVIL(EVIL_LATER), 0, &a[i]);
    assert_int_equal(plug_in_flight(kit_inst(&k, "chain")), 4096);
    loop_fake_advance(k.loop, 5);
    assert_int_equal(a[4096].cls, MINTD_TRANSIENT);
    assert_string_equal(a[4096].slug, "host.busy");
    assert_int_equal(a[4095].times, 0);
    loop_fake_advance(k.loop, 50);
    for (int i = 0; i < 4096; i++) assert_int_equal(a[i].cls + a[i].times, MINTD_OK + 1);
    assert_int_equal(plug_in_flight(kit_inst(&k, "chain")), 0);
    free(a);
    kit_close(&k);
}

/* fn may take the arena and read it later */
static struct arena *taken;
static const struct mintd_res *taken_res;
static void take(void *arg, struct plug_reply *r)
{
    taken = r->mem;
    taken_res = r->res;
    r->mem = NULL;
    loop_stop(arg);
}

static void test_reply_memory_can_be_kept(void **state)
{
    (void)state;
    struct kit k;
    static const uint64_t zeroes[3 * 32];
    kit_open(&k, "chain: { plugin = \"chain-evil\"; };");
    plug_call_rows(kit_inst(&k, "chain"), CHAIN_PREPARE, 0, NULL, (struct mintd_vec){ zeroes, 3, 256 }, NULL, take, k.loop);
    while (!taken) loop_run(k.loop);
    kit_close(&k);
    assert_int_equal(taken_res->rows.n, 3);
    assert_int_equal(taken_res->rows.stride, sizeof(struct mintd_plan));
    assert_null(((const struct mintd_plan *)taken_res->rows.p)[2].why);
    taken = arena_free(taken);
}

static void test_drain_at_any_time(void **state)
{
    (void)state;
    static const uint64_t moments[] = { 0, 1, 100, 251, 400, 5000 };
    for (size_t i = 0; i < ARRAY_LEN(moments); i++) {
        struct kit k;
        char errors[256];
        kit_new(&k);
        assert_int_equal(kit_configure(&k, "a: { plugin = \"chain-evil\"; opts: { starts = 3; }; };\nb: { plugin = \"store-evil\"; };", false,
                                       errors, sizeof errors), 0);
        if (moments[i]) plug_start(k.plug, kit_started, &k);
        loop_fake_advance(k.loop, moments[i]);
        kit_close(&k);
    }
}

static void test_free_without_drain(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, "a: { plugin = \"chain-evil\"; };\nb: { plugin = \"store-evil\"; };");
    assert_int_equal(plug_free(k.plug), 0);
    conf_unref(k.conf);
    assert_int_equal(loop_free(k.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_refuses), cmocka_unit_test(test_create_fails), cmocka_unit_test(test_bad_option_reads),
        cmocka_unit_test(test_check_only_creates_nothing), cmocka_unit_test(test_backoff), cmocka_unit_test(test_unready_until_started),
        cmocka_unit_test(test_start_permanent), cmocka_unit_test(test_start_garbage_and_silence), cmocka_unit_test(test_facts_and_grants),
        cmocka_unit_test(test_deadlines), cmocka_unit_test(test_own_deadline_and_none), cmocka_unit_test(test_at_most_4096_ops),
        cmocka_unit_test(test_reply_memory_can_be_kept), cmocka_unit_test(test_drain_at_any_time), cmocka_unit_test(test_free_without_drain),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    plug_files_close();
    metric_close();
    log_close();
    tmp_clean();
    return failed;
}
