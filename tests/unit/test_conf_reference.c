/* conf/pipeline.cfg and docs/configuration.md name every option of the core and of the plugins that come along, with its default, and
 * no other; the shipped configurations pass mintd -t. */
#include <ctype.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/file.h"
#include "conf/conf_int.h"
#include "tmp.h"

static const char *const plugins[] = { "store-sqlite", "chain-local", "ipfs", "cache-memory", "signer-file" };

static void read_source(const char *name, struct buf *ret)
{
    char path[512];
    const char *source = getenv("MINTD_SOURCE");
    snprintf(path, sizeof path, "%s/%s", source ? source : ".", name);
    if (file_read(path, 1 << 20, ret)) fail_msg("%s cannot be read", path);
    buf_add(ret, "", 1);
}

/* What stands between the line `head` and the next `stop`, or the end */
static char *section(const char *text, const char *head, const char *stop)
{
    char first[128];
    snprintf(first, sizeof first, "\n%s\n", head);
    const char *start = strstr(text, first);
    if (!start) fail_msg("no section \"%s\"", head);
    start += strlen(first);
    const char *end = strstr(start, stop);
    char *copy = strndup(start, end ? (size_t)(end - start) : strlen(start));
    assert_non_null(copy);
    return copy;
}

static void expect(const char *file, const char *section_text, const char *head, const char *line)
{
    if (!strstr(section_text, line)) fail_msg("%s: \"%s\" is not in section %s", file, line, head);
}

static unsigned lines_with(const char *text, const char *start)
{
    unsigned n = 0;
    for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p != NULL)
        if (!strncmp(p, start, strlen(start)) && isalpha((unsigned char)p[strlen(start)])) n++;
    return n;
}

static void in_pipeline_cfg(const char *text, const char *head, const struct mintd_opt *opts, uint32_t n)
{
    char first[128], line[512];
    snprintf(first, sizeof first, "# %s", head);
    char *part = section(text, first, "\n#\n");
    for (uint32_t i = 0; i < n; i++) {
        bool bare = !strcmp(opts[i].type, "int") || !strcmp(opts[i].type, "bool"), list = !strncmp(opts[i].type, "list:", 5);
        const char *quote = bare ? "" : list ? "( \"" : "\"", *unquote = bare ? "" : list ? "\" )" : "\"";
        if (opts[i].dflt) snprintf(line, sizeof line, "#   %s = %s%s%s;", opts[i].name, quote, opts[i].dflt, unquote);
        else snprintf(line, sizeof line, "#   %s = ", opts[i].name);
        expect("conf/pipeline.cfg", part, head, line);
    }
    if (lines_with(part, "#   ") != n) fail_msg("conf/pipeline.cfg: %s has %u options, built in are %u", head, lines_with(part, "#   "), n);
    free(part);
}

static void in_document(const char *text, const char *head, const struct mintd_opt *opts, uint32_t n)
{
    char first[128], line[512];
    snprintf(first, sizeof first, "### %s", head);
    char *part = section(text, first, "\n### ");
    for (uint32_t i = 0; i < n; i++) {
        const char *d = opts[i].dflt;
        if (d) snprintf(line, sizeof line, "| `%s` | %s | `%s` |", opts[i].name, opts[i].type, *d ? d : "\"\"");
        else snprintf(line, sizeof line, "| `%s` | %s | |", opts[i].name, opts[i].type);
        expect("docs/configuration.md", part, head, line);
    }
    unsigned rows = 0;
    for (const char *p = part; (p = strstr(p, "\n| `")); p++) rows++;
    if (rows != n) fail_msg("docs/configuration.md: %s has %u options, built in are %u", head, rows, n);
    free(part);
}

static const char *place(unsigned i, char buf[64])
{
    const char *group = conf_schema[i].group;
    if (i == SCHEMA_TOP) return "(top level)";
    if (i == SCHEMA_INSTANCE || i == SCHEMA_PIPELINE) snprintf(buf, 64, "%s.NAME", group);
    else if (i > SCHEMA_PIPELINE && i < SCHEMA_VENUE) snprintf(buf, 64, "pipelines.NAME.%s", group);
    else snprintf(buf, 64, i == SCHEMA_VENUE ? "%s[]" : "%s", group);
    return buf;
}

static void test_core(void **state)
{
    (void)state;
    struct buf cfg = { 0 }, doc = { 0 };
    read_source("conf/pipeline.cfg", &cfg);
    read_source("docs/configuration.md", &doc);
    for (unsigned i = 0; i < SCHEMA_COUNT; i++) {
        char head[64];
        in_pipeline_cfg(cfg.p, place(i, head), conf_schema[i].table, conf_schema[i].n);
        in_document(doc.p, place(i, head), conf_schema[i].table, conf_schema[i].n);
    }
    buf_free(&cfg);
    buf_free(&doc);
}

static void test_plugins(void **state)
{
    (void)state;
    struct buf cfg = { 0 }, doc = { 0 };
    read_source("conf/pipeline.cfg", &cfg);
    read_source("docs/configuration.md", &doc);
    for (size_t i = 0; i < ARRAY_LEN(plugins); i++) {
        char path[512], head[64];
        const char *dir = getenv("MINTD_PLUGINS");
        snprintf(path, sizeof path, "%s/%s.so", dir ? dir : "plugins-out", plugins[i]);
        void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!lib) fail_msg("%s", dlerror());
        const struct mintd_plugin *(*entry)(void) = NULL;
        *(void **)&entry = dlsym(lib, "mintd_plugin_v0");
        if (!entry) fail_msg("%s has no entry", path);
        const struct mintd_plugin *p = entry();
        assert_int_equal(p->opts.stride, sizeof(struct mintd_opt));
        snprintf(head, sizeof head, "instances.NAME.opts of %s", plugins[i]);
        in_pipeline_cfg(cfg.p, head, p->opts.p, p->opts.n);
        in_document(doc.p, plugins[i], p->opts.p, p->opts.n);
    }
    buf_free(&cfg);
    buf_free(&doc);
}

/* In a folder of its own and a clean environment, so that nothing but the file decides. */
static void passes(const char *name)
{
    char command[2048];
    const char *bin = getenv("MINTD_BIN"), *dir = getenv("MINTD_PLUGINS"), *source = getenv("MINTD_SOURCE");
    if (!bin || !dir || !source) skip();
    snprintf(command, sizeof command, "cd '%s' && env -i PATH=\"$PATH\" MINTD_PLUGIN_DIR='%s' '%s' -t -c '%s/conf/%s' >out 2>err && "
             "grep -q ': ok' out && test ! -s err || { cat err >&2; exit 1; }", tmp_dir(), dir, bin, source,
             name);
    int r = system(command);
    if (r) fail_msg("mintd -t -c conf/%s: exit status %d", name, WEXITSTATUS(r));
}

static void test_dev_cfg(void **state) { (void)state; passes("dev.cfg"); }
static void test_prod_cfg(void **state) { (void)state; passes("prod.cfg"); }

static int clean(void **state)
{
    (void)state;
    tmp_clean();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core), cmocka_unit_test(test_plugins), cmocka_unit_test(test_dev_cfg), cmocka_unit_test(test_prod_cfg),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
