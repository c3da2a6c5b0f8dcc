/* Reload whole or not at all: a second instance starts beside the first, takes over when it works, the first drains. */
#include "../abi/kit.h"
#include "loop_fake.h"

#define ONE(opts) "a: { plugin = \"chain-evil\"; opts: { " opts " }; };\nb: { plugin = \"store-evil\"; };"

static int reload(struct kit *k, const char *text, char *errors, size_t n)
{
    struct conf_errors errs = { 0 };
    struct conf *conf = kit_conf(text);
    int r = plug_reload(k->plug, conf, &errs);
    snprintf(errors, n, STR_FMT, STR_ARG(buf_view(&errs.text)));
    conf_errors_free(&errs);
    conf_unref(conf);                                      /* what still needs it holds its own reference */
    return r;
}

static void swapped(struct kit *k, const char *text)
{
    char errors[1024];
    int r = reload(k, text, errors, sizeof errors);
    if (r) fail_msg("%s", errors);
    plug_swap(k->plug);
}

static void refused(struct kit *k, const char *text, const char *says)
{
    char errors[1024];
    assert_int_not_equal(reload(k, text, errors, sizeof errors), 0);
    assert_contains(errors, says);
    plug_swap(k->plug);                                    /* nothing to swap then */
    loop_fake_advance(k->loop, 1000);
    assert_int_equal(kit_call(k, "a", CHAIN_STATUS, 0, 1).cls, MINTD_OK);
}

static unsigned created(const char *text)
{
    unsigned n = 0;
    for (const char *p = kit_log.all; (p = strstr(p, text)); p++) n++;
    return n;
}

static void test_same_changes_nothing(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, ONE("label = \"x\";"));
    unsigned before = created("msg=\"instance started\"");
    swapped(&k, ONE("label = \"x\";"));
    loop_fake_advance(k.loop, 100);
    assert_int_equal(created("msg=\"instance started\""), before);
    kit_close(&k);
}

static void test_changed_option_takes_over(void **state)
{
    (void)state;
    struct kit k;
    struct answer old, during;
    kit_open(&k, ONE("label = \"x\"; payer = \"b/one\";"));
    struct plug_inst *a = kit_inst(&k, "a");
    kit_send(&k, "a", CHAIN_STATUS, EVIL(EVIL_LATER), 0, &old);
    swapped(&k, ONE("label = \"y\"; payer = \"b/two\"; starts = 2;"));
    kit_send(&k, "a", CHAIN_STATUS, 0, 1, &during);        /* the old one serves until the new one has started */
    assert_true(plug_granted(a, S("b/one")));
    kit_wait(&k, &during);
    assert_int_equal(during.cls, MINTD_OK);
    kit_wait(&k, &old);
    assert_int_equal(old.cls, MINTD_OK);
    loop_fake_advance(k.loop, 1000);                       /* 250 + 500 ms of backoff */
    assert_ptr_equal(kit_inst(&k, "a"), a);                /* the handle stays */
    assert_true(plug_granted(a, S("b/two")));
    assert_false(plug_granted(a, S("b/one")));
    assert_int_equal(kit_call(&k, "a", CHAIN_STATUS, 0, 1).cls, MINTD_OK);
    kit_close(&k);
}

static void test_old_ops_end_where_they_began(void **state)
{
    (void)state;
    struct kit k;
    struct answer old;
    kit_open(&k, ONE("label = \"x\";"));
    kit_send_arg(&k, "a", CHAIN_BROADCAST, EVIL(EVIL_KEEP), NULL, 1, 2000, &old);
    loop_fake_advance(k.loop, 10);
    swapped(&k, ONE("label = \"y\";"));
    loop_fake_advance(k.loop, 100);
    assert_int_equal(kit_call(&k, "a", CHAIN_STATUS, 0, 1).cls, MINTD_OK);
    assert_int_equal(old.times, 0);
    kit_wait(&k, &old);                                    /* its plugin never answered: settled, and that one left behind */
    assert_int_equal(old.cls, MINTD_AMBIGUOUS);
    kit_close_leaking(&k, 1);
}

static void test_restart_options_refuse(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, ONE("home = \"here\";"));
    refused(&k, ONE("home = \"there\";"), "test.cfg:4: instance \"a\": a change of home needs a restart");
    refused(&k, "a: { plugin = \"chain-slow\"; };\nb: { plugin = \"store-evil\"; };", "a change of plugin needs a restart");
    refused(&k, ONE("mode = 1000;"), "mode in instance \"a\" (chain-evil): 1000 is out of range");
    refused(&k, ONE("lifecycle = \"create_fails\";"), "create of plugin chain-evil failed");
    refused(&k, ONE("") "\nc: { plugin = \"cache-nothing\"; };", "no such file");
    kit_close(&k);
}

static void test_abort(void **state)
{
    (void)state;
    struct kit k;
    char errors[256];
    kit_open(&k, ONE("payer = \"b/one\";"));
    assert_int_equal(reload(&k, ONE("payer = \"b/two\";") "\nc: { plugin = \"cache-evil\"; };", errors, sizeof errors), 0);
    assert_null(plug_find(k.plug, S("c")));                /* not before the swap */
    plug_reload_abort(k.plug);
    plug_swap(k.plug);
    loop_fake_advance(k.loop, 100);
    assert_true(plug_granted(kit_inst(&k, "a"), S("b/one")));
    assert_null(plug_find(k.plug, S("c")));
    kit_close(&k);
}

static void test_added_and_removed(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, ONE(""));
    struct plug_inst *b = kit_inst(&k, "b");
    swapped(&k, "a: { plugin = \"chain-evil\"; };\nc: { plugin = \"cache-evil\"; };");
    loop_fake_advance(k.loop, 100);
    assert_int_equal(kit_call(&k, "c", CACHE_GET, 0, 1).cls, MINTD_OK);
    assert_null(plug_find(k.plug, S("b")));
    struct answer a = { .kit = &k };
    plug_call_rows(b, STORE_QUERY, 0, NULL, (struct mintd_vec){ 0 }, NULL, kit_answered, &a);   /* an old handle is no trap */
    kit_wait(&k, &a);
    assert_int_equal(a.cls, MINTD_TRANSIENT);
    swapped(&k, ONE(""));                                  /* and back again */
    loop_fake_advance(k.loop, 100);
    assert_ptr_equal(kit_inst(&k, "b"), b);
    assert_int_equal(kit_call(&k, "b", STORE_QUERY, 0, 1).cls, MINTD_OK);
    kit_close(&k);
}

static void test_new_one_cannot_start(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, ONE("payer = \"b/one\";"));
    swapped(&k, ONE("payer = \"b/two\"; lifecycle = \"start_fails\";"));
    loop_fake_advance(k.loop, 1000);
    assert_logged("the reloaded instance cannot start, the old one goes on");
    assert_true(plug_granted(kit_inst(&k, "a"), S("b/one")));
    assert_int_equal(kit_call(&k, "a", CHAIN_STATUS, 0, 1).cls, MINTD_OK);
    swapped(&k, ONE("payer = \"b/three\";"));
    loop_fake_advance(k.loop, 1000);
    assert_true(plug_granted(kit_inst(&k, "a"), S("b/three")));
    kit_close(&k);
}

static void test_reload_while_reloading(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, ONE("payer = \"b/one\";"));
    swapped(&k, ONE("payer = \"b/two\"; starts = 5;"));    /* takes 7.75 s */
    loop_fake_advance(k.loop, 1000);
    swapped(&k, ONE("payer = \"b/three\"; starts = 1;"));
    loop_fake_advance(k.loop, 1000);
    assert_true(plug_granted(kit_inst(&k, "a"), S("b/three")));
    loop_fake_advance(k.loop, 20000);
    assert_true(plug_granted(kit_inst(&k, "a"), S("b/three")));
    swapped(&k, ONE("payer = \"b/two\"; starts = 5;"));
    kit_close(&k);                                         /* drains in the middle of a take-over */
}

static void test_workers_change(void **state)
{
    (void)state;
    struct kit k;
    kit_open(&k, ONE(""));
    swapped(&k, "a: { plugin = \"chain-evil\"; };\nb: { plugin = \"store-evil\"; workers = 1; };");
    loop_fake_advance(k.loop, 100);
    struct answer a = kit_call(&k, "b", STORE_QUERY, EVIL(EVIL_WORKER), 0);
    assert_int_equal(a.first, 0);                          /* the only one there is now */
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_changes_nothing), cmocka_unit_test(test_changed_option_takes_over),
        cmocka_unit_test(test_old_ops_end_where_they_began), cmocka_unit_test(test_restart_options_refuse), cmocka_unit_test(test_abort),
        cmocka_unit_test(test_added_and_removed), cmocka_unit_test(test_new_one_cannot_start),
        cmocka_unit_test(test_reload_while_reloading), cmocka_unit_test(test_workers_change),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    plug_files_close();
    metric_close();
    log_close();
    tmp_clean();
    return failed;
}
