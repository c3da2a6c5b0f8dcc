/* Files and crash points: whole reads, atomic writes, folders, trust; who dies where. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/crash.h"
#include "base/file.h"
#include "base/log.h"
#include "tmp.h"

static char path_buf[4200];
static const char *in_tmp(const char *name)
{
    snprintf(path_buf, sizeof path_buf, "%s/%s", tmp_dir(), name);
    return path_buf;
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_write_and_read(void **state)
{
    (void)state;
    const char *path = in_tmp("data");
    struct buf b = { .max = 10 };
    mode_t before = umask(077);
    assert_int_equal(file_write(path, S("first"), 0644), 0);
    umask(before);
    assert_int_equal(mode_of(path), 0644);                 /* whatever the umask */
    assert_int_equal(file_write(path, S("second\0!"), 0600), 0);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(file_read(path, 8, &b), 0);
    assert_true(str_eq(buf_view(&b), S("second\0!")));
    assert_int_equal(b.max, 10);
    assert_int_equal(file_read(path, 7, &b), -EFBIG);
    assert_true(str_eq(buf_view(&b), S("second\0!")));     /* untouched on failure */
    assert_int_equal(file_read(in_tmp("absent"), 8, &b), -ENOENT);
    assert_int_equal(file_read(tmp_dir(), 8, &b), -EISDIR);
    buf_free(&b);
}

static void test_large_and_empty(void **state)
{
    (void)state;
    static char large[100000];
    struct buf b = { 0 };
    memset(large, 'x', sizeof large);
    assert_int_equal(file_write(in_tmp("large"), (struct mintd_str){ large, sizeof large }, 0600), 0);
    assert_int_equal(file_read(path_buf, sizeof large, &b), 0);
    assert_int_equal(b.n, sizeof large);
    assert_memory_equal(b.p, large, sizeof large);
    assert_int_equal(file_write(path_buf, S(""), 0600), 0);
    assert_int_equal(file_read(path_buf, 0, &b), 0);
    assert_int_equal(b.n, 0);
    buf_free(&b);
}

static void test_failed_write_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(file_mkdirs(in_tmp("target/full"), 0700), 0);
    assert_int_equal(file_write(in_tmp("target"), S("x"), 0600), -EISDIR);     /* the rename is refused */
    assert_int_equal(file_write(in_tmp("no/such"), S("x"), 0600), -ENOENT);
    char command[4300];
    snprintf(command, sizeof command, "test -z \"$(ls '%s' | grep 'target[.]')\"", tmp_dir());
    assert_int_equal(system(command), 0);
}

static void test_mkdirs(void **state)
{
    (void)state;
    struct stat st;
    char longest[5000];
    assert_int_equal(file_mkdirs(in_tmp("a/b//c/"), 0750), 0);
    assert_int_equal(stat(in_tmp("a/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(file_mkdirs(in_tmp("a/b/c"), 0750), 0);
    assert_int_equal(file_mkdirs("/", 0750), 0);
    assert_int_equal(file_write(in_tmp("a/file"), S("x"), 0600), 0);
    assert_int_equal(file_mkdirs(in_tmp("a/file"), 0750), -ENOTDIR);
    assert_int_equal(file_mkdirs(in_tmp("a/file/under"), 0750), -ENOTDIR);
    assert_int_equal(file_mkdirs("", 0750), -ENOENT);
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(file_mkdirs(longest, 0750), -ENAMETOOLONG);
}

static void trust_is(const char *path, unsigned forbidden, int want)
{
    const char *why = "untouched";
    int r = file_trusted(path, forbidden, &why);
    assert_int_equal(r, want);
    if (r) assert_string_not_equal(why, "untouched");
    else assert_string_equal(why, "untouched");
}

static void test_trust(void **state)
{
    (void)state;
    char path[4200];
    snprintf(path, sizeof path, "%s", in_tmp("secret"));
    assert_int_equal(file_write(path, S("x"), 0600), 0);
    trust_is(path, 0077, 0);
    chmod(path, 0644);
    trust_is(path, 0, 0);
    trust_is(path, 0077, -EPERM);
    chmod(path, 0620);
    trust_is(path, 0, -EPERM);
    chmod(path, 0602);
    trust_is(path, 0, -EPERM);
    trust_is(tmp_dir(), 0, -EPERM);
    trust_is(in_tmp("absent"), 0, -ENOENT);
    chmod(path, 0600);
    assert_int_equal(symlink(path, in_tmp("link")), 0);
    trust_is(in_tmp("link"), 0077, 0);                     /* what counts is the file itself */
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        trust_is(path, 0, -EPERM);
    }
}

#ifdef MINTD_CRASH_POINTS
/* Passes points a, b, a, b, ... ten times in a child; the number of passes before it died, 20: it lived; -1: it aborted */
static int passes(const char *at)
{
    int fds[2], status, n = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (!pid) {
        log_setup(MINTD_ERROR, false);
        if (at) setenv("MINTD_CRASH_AT", at, 1);
        else unsetenv("MINTD_CRASH_AT");
        close(STDERR_FILENO);
        for (int i = 0; i < 20; i++) {
            CRASH(i % 2 ? "test.b" : "test.a");
            if (write(fds[1], "x", 1) != 1) break;
        }
        _exit(0);
    }
    close(fds[1]);
    for (char c; read(fds[0], &c, 1) == 1;) n++;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGKILL ? n : -1;
    return n;
}

static void test_crash_points(void **state)
{
    (void)state;
    assert_int_equal(passes(NULL), 20);
    assert_int_equal(passes(""), 20);
    assert_int_equal(passes("test.other"), 20);
    assert_int_equal(passes("test.a"), 0);
    assert_int_equal(passes("test.b"), 1);
    assert_int_equal(passes("test.a:3"), 4);
    assert_int_equal(passes("test.b:10"), 19);
    assert_int_equal(passes("test.b:11"), 20);
    assert_int_equal(passes("test.a:5,test.b:2"), 3);
    assert_int_equal(passes("test.a:0"), -1);
    assert_int_equal(passes("test.a:x"), -1);
    assert_int_equal(passes(":1"), -1);
}
#endif

static void guard_is(const char *folder, int want)
{
    const char *why = "untouched";
    assert_int_equal(file_guarded(folder, &why), want);
    assert_int_equal(strcmp(why, "untouched") == 0, want == 0);
}

static void test_guarded_folder(void **state)
{
    (void)state;
    char path[4200];
    static const unsigned closed[] = { 0700, 0750, 0770, 0710, 0704, 02750 }, open[] = { 0701, 0702, 0755, 0777, 01777, 0773 };
    snprintf(path, sizeof path, "%s", in_tmp("run"));
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
        assert_int_equal(chmod(path, closed[i]), 0);
        guard_is(path, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        assert_int_equal(chmod(path, open[i]), 0);
        guard_is(path, -EPERM);
    }
    assert_int_equal(chmod(path, 0700), 0);
    guard_is(in_tmp("nowhere"), -ENOENT);
    guard_is("/proc/self/status", -EPERM);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        guard_is(path, -EPERM);
    }
}

static int clean(void **state)
{
    (void)state;
    tmp_clean();
    return access(tmp_dir(), F_OK) == 0 ? (tmp_clean(), 0) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_read), cmocka_unit_test(test_large_and_empty), cmocka_unit_test(test_failed_write_leaves_nothing),
        cmocka_unit_test(test_mkdirs), cmocka_unit_test(test_trust), cmocka_unit_test(test_guarded_folder),
#ifdef MINTD_CRASH_POINTS
        cmocka_unit_test(test_crash_points),
#endif
    };
    return cmocka_run_group_tests_name("base file", tests, NULL, clean);
}
