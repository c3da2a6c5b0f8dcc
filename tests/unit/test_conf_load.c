/* Loading: precedence and origins, drop-ins, includes, environment, secrets, reload, what is printed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "conf/conf.h"
#include "tmp.h"

static const char base[] =
    "deployment = \"test\";\nstore = \"books\";\n"
    "instances: {\n  books: { plugin = \"store-sqlite\"; opts: { path = \"a.db\"; }; };\n"
    "  local: { plugin = \"chain-local\"; };\n  files: { plugin = \"ipfs\"; };\n};\n"
    "pipelines: {\n  tickets: { chain = \"local\"; uploader = \"files\"; };\n};\n";

static char *at(const char *name)
{
    static char path[8][512];
    static unsigned turn;
    char *p = path[turn++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", tmp_dir(), name);
    return p;
}

static void put(const char *name, const char *text) { assert_int_equal(file_write(at(name), SZ(text), 0600), 0); }

static void put_main(const char *more)
{
    char text[4096];
    snprintf(text, sizeof text, "%s%s", base, more);
    put("mintd.cfg", text);
}

static struct conf *load(void)
{
    struct conf_errors errs = { .n = 0 };
    struct conf *conf = NULL;
    int r = conf_load(at("mintd.cfg"), &errs, &conf);
    if (r) fail_msg("refused: " STR_FMT, STR_ARG(buf_view(&errs.text)));
    assert_int_equal(errs.n, 0);
    conf_errors_free(&errs);
    return conf;
}

static void refused(const char *says)
{
    struct conf_errors errs = { .n = 0 };
    struct conf *conf = NULL;
    assert_int_not_equal(conf_load(at("mintd.cfg"), &errs, &conf), 0);
    buf_add(&errs.text, "", 1);
    if (!strstr(errs.text.p, says)) fail_msg("\"%s\" is not in: %s", says, errs.text.p);
    conf_errors_free(&errs);
}

static void assert_printed(const struct conf *conf, const char *line)
{
    struct buf b = { 0 };
    conf_print(conf, &b);
    buf_add(&b, "", 1);
    if (!strstr(b.p, line)) fail_msg("\"%s\" is not in:\n%s", line, b.p);
    buf_free(&b);
}

static int fresh(void **state)
{
    (void)state;
    static const char *const names[] = { "MINTD_API_WAIT", "MINTD_LISTEN_PORT", "MINTD_STATE_DIR", "MAX_BATCH_SIZE", "BATCH_DELAY_MS",
                                         "ADMIN_API_KEY", "MINTD_API_ADMIN_KEY", "CREDENTIALS_DIRECTORY", "MINTD_PLUGIN_DIR", "MINTD_BIN",
                                         "MINTD_PLUGINS" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) unsetenv(names[i]);
    tmp_clean();
    put_main("");
    return 0;
}

static int clean(void **state)
{
    (void)state;
    tmp_clean();
    return 0;
}

static void test_defaults(void **state)
{
    (void)state;
    struct conf *c = load();
    assert_true(str_eq(c->name, S("mintd")));
    assert_true(str_eq(c->state_dir, S("/var/lib/mintd")));
    assert_true(c->migrate);
    assert_int_equal(c->drain_ms, 10000);
    assert_true(str_eq(c->api.address, S("127.0.0.1")));
    assert_int_equal(c->api.port, 3018);
    assert_true(c->api.auth);
    assert_int_equal(c->api.max_items, 100000);
    assert_int_equal(c->n_pipelines, 1);
    assert_true(str_eq(c->default_pipeline, S("tickets")));
    assert_int_equal(c->pipelines[0].mode, CONF_ADAPTIVE);
    assert_int_equal(c->pipelines[0].max_workers, 3);
    assert_int_equal(c->pipelines[0].batch_delay_ms, 100);
    assert_int_equal(c->pipelines[0].gate, MINTD_ACCEPTED);
    assert_true(str_eq(c->pipelines[0].collection, S("{{venueId}}")));
    assert_printed(c, "drain = \"10s\";  # default\n");
    conf_unref(c);
}

static void test_precedence_and_origins(void **state)
{
    (void)state;
    char line[700];
    put_main("api: { wait = \"20s\"; sync_items = 7; };\nlisten: { port = 4000; };\n");
    assert_int_equal(mkdir(at("conf.d"), 0700), 0);
    put("conf.d/10-a.cfg", "api: { wait = \"21s\"; max_items = 5; };\n");
    put("conf.d/20-b.cfg", "api: { max_items = 6; };\n");
    put("conf.d/ignored.txt", "nonsense");
    put("conf.d/.hidden.cfg", "nonsense");
    setenv("MINTD_API_WAIT", "22s", 1);
    struct conf *c = load();
    assert_int_equal(c->api.wait_ms, 22000);               /* environment */
    assert_int_equal(c->api.max_items, 6);                 /* the later drop-in */
    assert_int_equal(c->api.sync_items, 7);                /* main file, in a group that drop-ins touch */
    assert_int_equal(c->api.port, 4000);
    assert_printed(c, "wait = \"22s\";  # environment MINTD_API_WAIT\n");
    snprintf(line, sizeof line, "max_items = 6;  # %s:1\n", at("conf.d/20-b.cfg"));
    assert_printed(c, line);
    snprintf(line, sizeof line, "sync_items = 7;  # %s:11\n", at("mintd.cfg"));
    assert_printed(c, line);
    conf_unref(c);
    unsetenv("MINTD_API_WAIT");
    c = load();
    assert_int_equal(c->api.wait_ms, 21000);
    conf_unref(c);
}

static void test_mistakes_in_a_drop_in(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("conf.d"), 0700), 0);
    put("conf.d/10-a.cfg", "\napi: { wiat = \"21s\"; };\n");
    refused("conf.d/10-a.cfg:2: unknown option \"wiat\" in api, did you mean \"wait\"?");
    put("conf.d/10-a.cfg", "api: { wait = ");
    refused("conf.d/10-a.cfg:1: ");
}

static void test_drop_in_replaces_lists_and_adds_instances(void **state)
{
    (void)state;
    put_main("venues = ( { name = \"v1\"; pipeline = \"tickets\"; }, { name = \"v2\"; pipeline = \"tickets\"; } );\n");
    assert_int_equal(mkdir(at("conf.d"), 0700), 0);
    put("conf.d/x.cfg", "venues = ( { name = \"v3\"; pipeline = \"other\"; } );\ndefault_pipeline = \"tickets\";\n"
                        "pipelines: { other: { chain = \"local\"; uploader = \"files\"; }; };\n");
    struct conf *c = load();
    assert_int_equal(c->n_venues, 1);
    assert_true(str_eq(conf_pipeline_of(c, S(""), S("v3"))->name, S("other")));
    assert_true(str_eq(conf_pipeline_of(c, S(""), S("v1"))->name, S("tickets")));
    assert_true(str_eq(conf_pipeline_of(c, S("tickets"), S("v3"))->name, S("tickets")));
    assert_null(conf_pipeline_of(c, S("none"), S("v3")));
    conf_unref(c);
}

static void test_includes(void **state)
{
    (void)state;
    char text[2048];
    put("pipes.inc", "\npipelines: {\n  tickets: { chain = \"local\"; uploader = \"files\"; mint: { batch = 9; }; };\n};\n");
    snprintf(text, sizeof text, "%.*s@include \"pipes.inc\"\n", (int)(strstr(base, "pipelines") - base), base);
    put("mintd.cfg", text);
    struct conf *c = load();
    assert_int_equal(c->pipelines[0].batch, 9);
    assert_printed(c, "batch = 9;  # pipes.inc:3\n");      /* as it was included */
    conf_unref(c);
}

static void test_seed_environment(void **state)
{
    (void)state;
    setenv("MAX_BATCH_SIZE", "7", 1);
    setenv("BATCH_DELAY_MS", "250", 1);
    setenv("ADMIN_API_KEY", "a-secret-of-the-test", 1);
    struct conf *c = load();
    assert_int_equal(c->pipelines[0].batch, 7);
    assert_int_equal(c->pipelines[0].batch_delay_ms, 250);
    assert_true(str_eq(c->api.admin_key, S("a-secret-of-the-test")));
    assert_printed(c, "batch = 7;  # environment MAX_BATCH_SIZE\n");
    assert_printed(c, "admin_key = \"***\";  # environment ADMIN_API_KEY\n");
    conf_unref(c);
}

static void test_secrets(void **state)
{
    (void)state;
    put_main("state_dir = \".\";\napi: { admin_key = \"file:key.txt\"; };\n");   /* relative to the state folder */
    put("key.txt", "from-a-file\n");
    struct conf *c = load();
    assert_true(str_eq(c->api.admin_key, S("from-a-file")));
    struct buf b = { 0 };
    conf_print(c, &b);
    assert_null(memmem(b.p, b.n, "from-a-file", 11));
    buf_free(&b);
    conf_unref(c);
    assert_int_equal(chmod(at("key.txt"), 0640), 0);
    refused("key.txt");
    put_main("api: { admin_key = \"cred:key\"; };\n");
    refused("cred");
    setenv("CREDENTIALS_DIRECTORY", tmp_dir(), 1);
    put("key", "from-systemd");
    c = load();
    assert_true(str_eq(c->api.admin_key, S("from-systemd")));
    conf_unref(c);
}

static void test_relative_paths(void **state)
{
    (void)state;
    put_main("state_dir = \"sub/state\";\n");
    struct conf *c = load();
    char want[512];
    snprintf(want, sizeof want, "%s/sub/state", tmp_dir());
    assert_true(str_eq(c->state_dir, SZ(want)));
    conf_unref(c);
    setenv("MINTD_STATE_DIR", "/elsewhere", 1);
    c = load();
    assert_true(str_eq(c->state_dir, S("/elsewhere")));
    conf_unref(c);
}

static void test_plugin_dir(void **state)
{
    (void)state;
    char dir[512];
    setenv("MINTD_PLUGIN_DIR", "/some/plugins", 1);
    conf_plugin_dir(dir, sizeof dir);
    assert_string_equal(dir, "/some/plugins");
    struct conf *c = load();
    assert_true(str_eq(c->plugin_dir, S("/some/plugins")));
    conf_unref(c);
}

static void test_reload_refuses_what_needs_a_restart(void **state)
{
    (void)state;
    struct conf *old = load();
    struct conf_errors errs = { .n = 0 };
    put_main("drain = \"3s\";\nlog: { level = \"debug\"; };\n");
    struct conf *next = load();
    assert_int_equal(conf_check_reload(old, next, &errs), 0);
    conf_unref(next);
    put_main("lease = \"3s\";\n");
    next = load();
    assert_int_equal(conf_check_reload(old, next, &errs), -EINVAL);
    assert_non_null(memmem(errs.text.p, errs.text.n, "mintd.cfg:11: lease: a change needs a restart", 45));
    conf_errors_free(&errs);
    conf_unref(next);
    conf_unref(old);
}

static void test_keep_one_instance(void **state)
{
    (void)state;
    struct conf *c = load();
    assert_int_equal(c->n_instances, 3);
    conf_keep_instance(c, S("local"));
    assert_int_equal(c->n_instances, 1);
    assert_true(str_eq(c->instances[0].plugin, S("chain-local")));
    assert_null(conf_instance(c, S("books")));
    conf_keep_instance(c, S("gone"));
    assert_int_equal(c->n_instances, 0);
    conf_unref(c);
}

static void test_all_mistakes_at_once(void **state)
{
    (void)state;
    struct conf_errors errs = { .n = 0 };
    struct conf *c = NULL;
    put_main("api: { wait = 5; port = 1; };\nlog: { level = \"loud\"; };\nnonsense = 1;\n");
    assert_int_equal(conf_load(at("mintd.cfg"), &errs, &c), -EINVAL);
    assert_int_equal(errs.n, 4);
    conf_errors_free(&errs);
}

/* The printed text is itself a configuration with the same values. */
static void test_printed_text_reads_back(void **state)
{
    (void)state;
    put_main("api: { wait = \"20s\"; };\nvenues = ( { name = \"a \\\"b\\\" \\\\ c\"; pipeline = \"tickets\"; } );\n");
    struct conf *c = load();
    struct buf first = { 0 }, second = { 0 };
    conf_print(c, &first);
    conf_unref(c);
    assert_int_equal(file_write(at("mintd.cfg"), buf_view(&first), 0600), 0);
    c = load();
    conf_print(c, &second);
    conf_unref(c);
    for (struct buf *b = &first; b; b = b == &first ? &second : NULL) {       /* values without their origins */
        size_t n = 0;
        bool comment = false;
        for (size_t i = 0; i < b->n; i++) {
            comment = b->p[i] == '\n' ? false : comment || b->p[i] == '#';
            if (!comment) b->p[n++] = b->p[i];
        }
        b->n = n;
    }
    assert_true(str_eq(buf_view(&first), buf_view(&second)));
    buf_free(&first);
    buf_free(&second);
}

#define TEST(name) cmocka_unit_test_setup(name, fresh)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults), TEST(test_precedence_and_origins), TEST(test_mistakes_in_a_drop_in),
        TEST(test_drop_in_replaces_lists_and_adds_instances), TEST(test_includes), TEST(test_seed_environment), TEST(test_secrets),
        TEST(test_relative_paths), TEST(test_plugin_dir), TEST(test_reload_refuses_what_needs_a_restart), TEST(test_keep_one_instance),
        TEST(test_all_mistakes_at_once), TEST(test_printed_text_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
