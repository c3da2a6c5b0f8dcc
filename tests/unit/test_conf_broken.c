/* Every file of tests/conf/broken against the first lines it must be refused with: NAME.expect (@DIR@ stands for the folder), and
 * NAME.env for its environment. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "conf/conf.h"
#include "tmp.h"

enum { CASES_MAX = 400 };

static void copy_cases(void)
{
    char command[1024];
    const char *source = getenv("MINTD_SOURCE");
    snprintf(command, sizeof command, "cp -r '%s/tests/conf/broken/.' '%s'", source ? source : ".", tmp_dir());
    assert_int_equal(system(command), 0);
    assert_int_equal(chdir(tmp_dir()), 0);
    assert_int_equal(chmod("secrets/empty.key", 0600), 0);      /* version control keeps no such modes */
    assert_int_equal(chmod("secrets/wide.key", 0644), 0);
}

static void clean_environment(void)
{
    for (char **p = environ; p && *p;) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*p, "="), *p);
        bool ours = !strncmp(name, "MINTD_", 6) || !strcmp(name, "CREDENTIALS_DIRECTORY") || !strcmp(name, "ADMIN_API_KEY");
        if (ours && strcmp(name, "MINTD_SOURCE")) unsetenv(name);   /* moves the rest up */
        else p++;
    }
    unsetenv("MAX_BATCH_SIZE");
    unsetenv("BATCH_DELAY_MS");
}

static void read_text(const char *name, const char *suffix, struct buf *ret)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", name, suffix);
    assert_int_equal(file_read(path, 1 << 20, ret), 0);
    buf_add(ret, "", 1);
}

static void set_environment(const char *name, bool on)
{
    char path[256];
    struct buf b = { 0 };
    snprintf(path, sizeof path, "%s.env", name);
    if (access(path, F_OK)) return;
    read_text(name, ".env", &b);
    for (char *line = strtok(b.p, "\n"); line; line = strtok(NULL, "\n")) {
        char *eq = strchr(line, '=');
        assert_non_null(eq);
        *eq = 0;
        if (on) setenv(line, eq + 1, 1);
        else unsetenv(line);
    }
    buf_free(&b);
}

static void without_folder(struct buf *text)
{
    struct buf b = { 0 };
    size_t n = strlen(tmp_dir());
    for (size_t i = 0; i < text->n;) {
        bool here = text->n - i >= n && !memcmp(text->p + i, tmp_dir(), n);
        if (here) buf_puts(&b, "@DIR@");
        else buf_add(&b, text->p + i, 1);
        i += here ? n : 1;
    }
    buf_add(&b, "", 1);
    buf_free(text);
    *text = b;
}

static void test_case(void **state)
{
    const char *name = *state;
    char file[256];
    struct conf_errors errs = { .n = 0 };
    struct buf expect = { 0 };
    struct conf *conf = NULL;
    snprintf(file, sizeof file, "%s.cfg", name);
    read_text(name, ".expect", &expect);
    set_environment(name, true);
    int r = conf_load(file, &errs, &conf);
    set_environment(name, false);
    if (r == 0) fail_msg("accepted; expected: %s", expect.p);
    assert_null(conf);
    assert_true(errs.n > 0);
    without_folder(&errs.text);
    if (strncmp(errs.text.p, expect.p, strlen(expect.p))) fail_msg("expected: %sfound: %s", expect.p, errs.text.p);
    conf_errors_free(&errs);
    buf_free(&expect);
}

static int is_expect(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 7 && !strcmp(e->d_name + n - 7, ".expect");
}

int main(void)
{
    struct CMUnitTest tests[CASES_MAX];
    struct dirent **names = NULL;
    clean_environment();
    copy_cases();
    int n = scandir(".", &names, is_expect, alphasort);
    if (n < 100 || n > CASES_MAX) return fprintf(stderr, "%d cases in tests/conf/broken\n", n), 1;
    for (int i = 0; i < n; i++) {
        names[i]->d_name[strlen(names[i]->d_name) - 7] = 0;
        tests[i] = (struct CMUnitTest){ names[i]->d_name, test_case, NULL, NULL, names[i]->d_name };
    }
    int failed = _cmocka_run_group_tests("conf/broken", tests, (size_t)n, NULL, NULL);
    while (n--) free(names[n]);
    free(names);
    failed += chdir("/") ? 1 : 0;
    tmp_clean();
    return failed;
}
