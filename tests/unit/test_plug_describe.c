/* mintd --describe as text and as JSON that a parser accepts. */
#include <json-c/json.h>

#include "../abi/kit.h"

static char *described(const char *plugin, bool json)
{
    struct plug_file *f;
    struct buf err = { 0 }, out = { 0 };
    assert_int_equal(plug_file_load(kit_plugins(), SZ(plugin), &f, &err), 0);
    plug_file_describe(f, json, &out);
    assert_false(out.bad);
    char *text = strndup(out.p, out.n);
    buf_free(&out);
    return text;
}

static struct json_object *member(struct json_object *o, const char *name)
{
    struct json_object *m = NULL;
    if (!json_object_object_get_ex(o, name, &m)) fail_msg("no member %s", name);
    return m;
}

static void test_json(void **state)
{
    (void)state;
    char *text = described("store-evil", true);
    struct json_object *o = json_tokener_parse(text);
    assert_non_null(o);
    assert_string_equal(json_object_get_string(member(o, "name")), "store-evil");
    assert_string_equal(json_object_get_string(member(o, "kind")), "store");
    assert_string_equal(json_object_get_string(member(o, "model")), "workers");
    assert_int_equal(json_object_get_int(member(o, "workers")), 3);
    assert_int_equal(json_object_array_length(member(o, "options")), 8);
    assert_int_equal(json_object_array_length(member(o, "metrics")), 3);
    assert_int_equal(json_object_array_length(member(o, "slugs")), 5);
    struct json_object *ops = member(o, "ops");
    assert_int_equal(json_object_array_length(ops), 5);
    struct json_object *query = json_object_array_get_idx(ops, STORE_QUERY);
    assert_string_equal(json_object_get_string(member(query, "name")), "query");
    assert_false(json_object_get_boolean(member(query, "serial")));
    assert_true(json_object_get_boolean(member(json_object_array_get_idx(ops, STORE_COMMIT), "serial")));
    json_object_put(o);
    free(text);
}

static void test_text(void **state)
{
    (void)state;
    char *text = described("chain-evil", false);
    assert_contains(text, "chain-evil 1.0: breaks the contract on demand\n");
    assert_contains(text, "threads     loop\n");
    assert_contains(text, "ops         limits prepare seal broadcast status inspect estimate wallet\n");
    assert_contains(text, "not offered list find\n");
    assert_contains(text, "abi         0.1, needs 0.0\n");
    assert_contains(text, "  lifecycle: enum, default fine, one of fine|");
    assert_contains(text, "  mintd_evil_level (gauge by instance, place)\n");
    assert_contains(text, "  evil.not_yet\n      wait\n");
    free(text);
    text = described("store-evil", false);
    assert_contains(text, "stage* commit* claim* query migrate*");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_json), cmocka_unit_test(test_text) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    plug_files_close();
    metric_close();
    log_close();
    tmp_clean();
    return failed;
}
