/* Plugins of today's, an older and a newer minor on this host. The same file is built a second time as a host of the next minor. */
#include "kit.h"

static const uint32_t host_minor = MINTD_ABI_MINOR;

struct got { struct mintd_kv kv[3]; struct mintd_cache_stats stats; uint32_t n; uint32_t cls; struct kit *kit; char key[3][16]; };

static void got_kv(void *arg, struct plug_reply *r)
{
    struct got *g = arg;
    g->cls = r->out->cls;
    g->n = r->res->rows.n;
    assert_int_equal(r->res->rows.stride, sizeof(struct mintd_kv));
    for (uint32_t i = 0; i < g->n && i < 3; i++) {
        g->kv[i] = ((const struct mintd_kv *)r->res->rows.p)[i];
        snprintf(g->key[i], sizeof g->key[i], STR_FMT, STR_ARG(g->kv[i].val));
    }
    loop_stop(g->kit->loop);
}

static void got_stats(void *arg, struct plug_reply *r)
{
    struct got *g = arg;
    g->cls = r->out->cls;
    assert_int_equal(r->res->rows.n, 1);
    g->stats = *(const struct mintd_cache_stats *)r->res->rows.p;
    loop_stop(g->kit->loop);
}

static void ask_get(struct kit *k, const char *inst, struct got *g)
{
    static const struct mintd_kv rows[3] = { { .key = { "a", 1 }, .ttl_ms = 1 }, { .key = { "bb", 2 }, .ttl_ms = 2 },
        { .key = { "ccc", 3 }, .ttl_ms = 3 } };
    *g = (struct got){ .cls = 1000, .kit = k };
    plug_call_rows(kit_inst(k, inst), CACHE_GET, 0, NULL, VEC(rows, 3), arena_new(0), got_kv, g);
    while (g->cls == 1000) loop_run(k->loop);
}

static void ask_stats(struct kit *k, const char *inst, struct got *g)
{
    *g = (struct got){ .cls = 1000, .kit = k };
    plug_call_rows(kit_inst(k, inst), CACHE_STATS, 0, NULL, (struct mintd_vec){ 0 }, NULL, got_stats, g);
    while (g->cls == 1000) loop_run(k->loop);
}

static void works(const char *plugin, bool has_connected)
{
    struct kit k;
    struct got g;
    char text[128];
    snprintf(text, sizeof text, "one: { plugin = \"%s\"; opts: { depth = 5; }; };", plugin);
    kit_open(&k, text);
    ask_get(&k, "one", &g);
    assert_int_equal(g.cls, MINTD_OK);
    assert_int_equal(g.n, 3);
    assert_string_equal(g.key[2], "ccc");
    assert_int_equal(g.kv[1].ttl_ms, 2);
    assert_int_equal(g.kv[1].found, 1);
    ask_stats(&k, "one", &g);
    assert_int_equal(g.stats.keys, host_minor);
    assert_int_equal(g.stats.bytes, sizeof(struct mintd_host));
    assert_int_equal(g.stats.misses, 5);
    assert_true(has_connected == (g.stats.connected != 0));  /* poison, or zero where the plugin's row ends before it */
    struct answer a = kit_call(&k, "one", CACHE_PUT, 0, 1);
    assert_int_equal(a.cls, MINTD_TRANSIENT);
    assert_string_equal(a.slug, "probe.none");
    assert_int_equal(kit_defects("one", "unlisted_slug"), 0);
    kit_close(&k);
}

static void test_today(void **state) { (void)state; works("cache-now", true); }
static void test_older(void **state) { (void)state; works("cache-old", false); }
static void test_newer(void **state) { (void)state; works("cache-new", true); }

static void test_newer_needed(void **state)
{
    (void)state;
    struct kit k;
    char errors[2048];
    kit_new(&k);
    int r = kit_configure(&k, "one: { plugin = \"cache-newer-needed\"; };", true, errors, sizeof errors);
    assert_int_equal(r, host_minor ? 0 : -EINVAL);
    if (r) assert_contains(errors, "needs ABI 0.1, this mintd offers 0.0: update mintd");
    assert_int_equal(plug_free(k.plug), 0);
    conf_unref(k.conf);
    assert_int_equal(loop_free(k.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_today), cmocka_unit_test(test_older), cmocka_unit_test(test_newer),
        cmocka_unit_test(test_newer_needed) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    plug_files_close();
    metric_close();
    log_close();
    tmp_clean();
    return failed;
}
