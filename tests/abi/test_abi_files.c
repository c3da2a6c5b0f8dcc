/* Files that must not become plugins: each is refused before or right after loading, with one line that names the file, what was
 * found, what is needed and what to do. */
#include <fcntl.h>
#include <sys/stat.h>

#include "kit.h"

struct wrong { const char *file, *says; };
static const struct wrong wrongs[] = {
    { "cache-magic", "is not a mintd plugin: magic 12345678 found, 646e696d needed" },
    { "cache-size-head", "its description has 8 bytes, at least" },
    { "cache-size-short", "its description has 40 bytes, at least" },
    { "cache-major", "is built for ABI major 7, this mintd speaks major 0: build it against" },
    { "cache-minor", "needs ABI 0.9, this mintd offers 0.1: update mintd" },
    { "cache-v3", "is built for ABI major 3 (mintd_plugin_v3), this mintd speaks major 0 (mintd_plugin_v0): build it" },
    { "cache-stranger", "is not a mintd plugin, it exports no mintd_plugin_v0" },
    { "cache-kind", "declares kind signer, its name says cache" },
    { "cache-name", "calls itself \"cache-other\", the file is called cache-name.so: rename" },
    { "cache-model", "declares thread model 3, 1 or 2 needed" },
    { "cache-workers", "wants 1000 workers, at most 64" },
    { "cache-no-version", "publishes no version or summary" },
    { "cache-no-create", "publishes no create or no destroy" },
    { "cache-no-ops", "publishes no ops table" },
    { "cache-no-required", "does not offer del, which every cache plugin must" },
    { "cache-serial", "serial_ops 0x10 names ops beyond the 4 of its kind" },
    { "cache-null-desc", "answers no description" },
    { "cache-opt-type", "option size: type \"bytes\" is unknown" },
    { "cache-opt-name", "option 0 has no proper name" },
    { "cache-opt-default", "a default does not fit its option: size in cache-opt-default: \"1 parsec\" is not a size" },
    { "cache-opt-twice", "option size is published twice" },
    { "cache-opt-enum", "option size: an enum without choices" },
    { "cache-opt-secret", "option size: a secret has no default" },
    { "cache-opt-help", "option size: no help" },
    { "cache-opt-stride", "option, metric or slug table cannot be read" },
    { "cache-metric-name", "metric 0: the name must be mintd_*" },
    { "cache-metric-type", "metric mintd_wrong_total: type 4 is unknown" },
    { "cache-metric-label", "metric mintd_wrong_total: its label must be one word" },
    { "cache-metric-twice", "metric mintd_wrong_total is published twice" },
    { "cache-slug-form", "slug 0: must look like \"name.reason\"" },
    { "cache-slug-help", "slug wrong.slug: no help" },
    { "cache-slug-twice", "slug wrong.slug is published twice" },
    { "cache-absent", "no such file: install the plugin there, or correct its name or plugin_dir" },
    { "redis", "\"redis\" says no kind: plugins are called chain-*" },
    { "cache-", "\"cache-\" says no kind" },
    { "../cache-right", "\"../cache-right\" cannot be a plugin's name" },
    { "Cache-Right", "cannot be a plugin's name" },
    { "", "cannot be a plugin's name" },
};

static const char *refusal_in(const char *dir, const char *name)
{
    static char text[1024];
    struct plug_file *f = NULL;
    struct buf err = { 0 };
    int r = plug_file_load(dir, SZ(name), &f, &err);
    snprintf(text, sizeof text, STR_FMT, STR_ARG(buf_view(&err)));
    buf_free(&err);
    assert_true(r ? !f : f && !text[0]);
    if (r) {
        assert_true(text[0] == '/');                       /* which file */
        assert_null(strchr(text, '\n'));                   /* one line */
    }
    return text;
}

static void test_each_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrongs); i++) {
        const char *got = refusal_in(kit_plugins(), wrongs[i].file);
        if (!strstr(got, wrongs[i].says)) fail_msg("%s: \"%s\" is not in \"%s\"", wrongs[i].file, wrongs[i].says, got);
    }
}

static void test_right_is_loaded_once(void **state)
{
    (void)state;
    struct plug_file *a, *b;
    struct buf err = { 0 };
    assert_int_equal(plug_file_load(kit_plugins(), S("cache-right"), &a, &err), 0);
    assert_int_equal(plug_file_load(kit_plugins(), S("cache-right"), &b, &err), 0);
    assert_ptr_equal(a, b);
    assert_int_equal(err.n, 0);
    const struct mintd_plugin *d = plug_file_desc(a);
    assert_int_equal(d->kind, MINTD_CACHE);
    assert_int_equal(d->opts.n, 2);
    assert_int_equal(d->opts.stride, sizeof(struct mintd_opt));
    assert_non_null(((const struct mintd_cache_ops *)d->ops)->stats);
}

/* ---- files and folders that others could change */
static char dir[PATH_MAX];

static const char *at(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s.so", dir, name);
    return path;
}

static void copy_right(const char *name, mode_t mode)
{
    struct buf bytes = { 0 };
    char from[PATH_MAX + 64];
    snprintf(from, sizeof from, "%s/cache-right.so", kit_plugins());
    assert_int_equal(file_read(from, 1 << 24, &bytes), 0);
    assert_int_equal(file_write(at(name), buf_view(&bytes), 0600), 0);
    assert_int_equal(chmod(at(name), mode), 0);
    buf_free(&bytes);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/plugins", tmp_dir());
    return mkdir(dir, 0755);
}

static void test_writable_by_others(void **state)
{
    (void)state;
    copy_right("cache-right", 0664);
    assert_contains(refusal_in(dir, "cache-right"), "mode 0664 lets group or others write");
    assert_int_equal(chmod(at("cache-right"), 0602), 0);
    assert_contains(refusal_in(dir, "cache-right"), "mode 0602 lets group or others write");
    assert_contains(refusal_in(dir, "cache-right"), "chmod go-w it");
}

static void test_folder_writable_by_others(void **state)
{
    (void)state;
    copy_right("cache-right", 0644);
    assert_int_equal(chmod(dir, 0775), 0);
    assert_contains(refusal_in(dir, "cache-right"), "/plugins: mode 0775 lets group or others write");
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(chmod(tmp_dir(), 0777), 0);           /* further up is just as bad */
    assert_contains(refusal_in(dir, "cache-right"), "mode 0777 lets group or others write");
    assert_int_equal(chmod(tmp_dir(), 01777), 0);          /* sticky: they cannot replace what is ours */
    assert_string_equal(refusal_in(dir, "cache-right"), "");
    assert_int_equal(chmod(tmp_dir(), 0700), 0);
}

static void test_owner(void **state)
{
    (void)state;
    if (geteuid()) skip();
    copy_right("cache-owned", 0644);
    assert_int_equal(chown(at("cache-owned"), 12345, 12345), 0);
    assert_contains(refusal_in(dir, "cache-owned"), "belongs to user 12345, must belong to root");
}

static void test_symlink(void **state)
{
    (void)state;
    char target[PATH_MAX + 64];
    snprintf(target, sizeof target, "%s/cache-right.so", kit_plugins());
    assert_int_equal(symlink(target, at("cache-linked")), 0);
    assert_contains(refusal_in(dir, "cache-linked"), "is a symbolic link, a plugin must be the file itself");
}

static void test_no_elf(void **state)
{
    (void)state;
    assert_int_equal(file_write(at("cache-script"), S("#!/bin/sh\necho hello\n"), 0755), 0);
    assert_contains(refusal_in(dir, "cache-script"), "is not a 64-bit shared object (no such ELF header)");
    assert_int_equal(file_write(at("cache-empty"), S(""), 0644), 0);
    assert_contains(refusal_in(dir, "cache-empty"), "is empty: install or build");
    assert_int_equal(file_write(at("cache-cut"), S("\177ELF\2\1\1"), 0644), 0);
    assert_contains(refusal_in(dir, "cache-cut"), "is not a 64-bit shared object");
    unsigned char head[64] = "\177ELF\2\1\1";            /* its program headers lie beyond its end */
    head[32] = 64;
    head[54] = 56;
    head[56] = 1;
    assert_int_equal(file_write(at("cache-cut"), (struct mintd_str){ (char *)head, sizeof head }, 0644), 0);
    assert_contains(refusal_in(dir, "cache-cut"), "is cut off");
    head[56] = 0;                                          /* none at all: the dynamic loader refuses it, under the user's path */
    assert_int_equal(file_write(at("cache-cut"), (struct mintd_str){ (char *)head, sizeof head }, 0644), 0);
    const char *cut = refusal_in(dir, "cache-cut");
    assert_contains(cut, "cannot be loaded: ");
    assert_null(strstr(cut, "/proc/self/fd"));
    assert_int_equal(mkdir(at("cache-folder"), 0755), 0);
    assert_contains(refusal_in(dir, "cache-folder"), "is a folder, a plugin is a regular file");
    assert_int_equal(mkfifo(at("cache-fifo"), 0600), 0);
    assert_contains(refusal_in(dir, "cache-fifo"), "is no file, a plugin is a regular file");    /* and does not hang */
}

static void test_no_folder(void **state)
{
    (void)state;
    assert_contains(refusal_in("/nowhere/at/all", "cache-right"), "cannot use it as plugin_dir: No such file");
}

/* Constructors run at load: what is refused must be refused before. */
static void test_nothing_runs_before_the_checks(void **state)
{
    (void)state;
    char mark[PATH_MAX + 8], from[PATH_MAX + 64];
    struct buf bytes = { 0 };
    snprintf(mark, sizeof mark, "%s/mark", dir);
    setenv("STRANGER_MARK", mark, 1);
    snprintf(from, sizeof from, "%s/cache-constructor.so", kit_plugins());
    assert_int_equal(file_read(from, 1 << 24, &bytes), 0);
    assert_int_equal(file_write(at("cache-constructor"), buf_view(&bytes), 0600), 0);
    buf_free(&bytes);
    assert_int_equal(chmod(at("cache-constructor"), 0666), 0);
    assert_contains(refusal_in(dir, "cache-constructor"), "mode 0666");
    assert_int_equal(access(mark, F_OK), -1);
    assert_int_equal(chmod(at("cache-constructor"), 0600), 0);
    assert_contains(refusal_in(dir, "cache-constructor"), "exports no mintd_plugin_v0");
    assert_int_equal(access(mark, F_OK), 0);               /* the same file does run code once it is trusted */
}

/* Two files loaded one after the other must not become one: descriptors of loaded files stay open. */
static void test_many_files_stay_apart(void **state)
{
    (void)state;
    struct plug_file *a, *b;
    struct buf err = { 0 };
    assert_int_equal(plug_file_load(kit_plugins(), S("cache-evil"), &a, &err), 0);
    for (int i = 0; i < 20; i++) refusal_in(kit_plugins(), "cache-stranger");
    assert_int_equal(plug_file_load(kit_plugins(), S("store-evil"), &b, &err), 0);
    assert_string_equal(plug_file_desc(a)->name, "cache-evil");
    assert_string_equal(plug_file_desc(b)->name, "store-evil");
    buf_free(&err);
}

static void test_configuration_names_the_line(void **state)
{
    (void)state;
    struct kit k;
    char errors[4096];
    kit_new(&k);
    int r = kit_configure(&k, "a: { plugin = \"cache-magic\"; };\nb: { plugin = \"cache-right\"; };\n"
                          "c: { plugin = \"cache-evil\"; opts: { mod = 3; }; };\nd: { plugin = \"chain-evil\"; workers = 3; };\n"
                          "e: { plugin = \"cache-evil\"; opts: { mode = 101; }; };", false, errors, sizeof errors);
    assert_int_equal(r, -EINVAL);
    assert_contains(errors, "test.cfg:4: instance \"a\": /");
    assert_contains(errors, "magic 12345678 found");
    assert_contains(errors, "test.cfg:6: unknown option \"mod\" in instance \"c\" (cache-evil), did you mean \"mode\"?");
    assert_contains(errors, "test.cfg:7: instance \"d\": workers: plugin chain-evil runs on the loop and has none");
    assert_contains(errors, "test.cfg:8: mode in instance \"e\" (cache-evil): 101 is out of range");
    assert_null(plug_find(k.plug, S("b")));                /* all or nothing */
    assert_int_equal(plug_free(k.plug), 0);
    conf_unref(k.conf);
    assert_int_equal(loop_free(k.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_named), cmocka_unit_test(test_right_is_loaded_once), cmocka_unit_test(test_writable_by_others),
        cmocka_unit_test(test_folder_writable_by_others), cmocka_unit_test(test_owner), cmocka_unit_test(test_symlink),
        cmocka_unit_test(test_no_elf), cmocka_unit_test(test_no_folder), cmocka_unit_test(test_nothing_runs_before_the_checks),
        cmocka_unit_test(test_many_files_stay_apart), cmocka_unit_test(test_configuration_names_the_line),
    };
    int failed = cmocka_run_group_tests(tests, make_dir, NULL);
    plug_files_close();
    metric_close();
    log_close();
    tmp_clean();
    return failed;
}
