/* The log's grammar, escaping, masking, JSON form, and what goes to stderr in and out of a journal. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include "base/log.h"
#include "base/str.h"
#include "tmp.h"

static char last[20000];
static unsigned lines;

static void keep(void *arg, struct mintd_str line)
{
    (void)arg;
    snprintf(last, sizeof last, STR_FMT, STR_ARG(line));
    lines++;
    errno = EBADF;                                         /* as a failed write would */
}

static int setup(void **state)
{
    (void)state;
    lines = 0;
    last[0] = '\0';
    log_setup(MINTD_INFO, false);
    log_sink(keep, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_sink(NULL, NULL);
    log_close();
    return 0;
}

#define F(k, v) { S(k), S(v) }
#define FIELDS(...) (const struct mintd_field[]){ __VA_ARGS__ }, sizeof((const struct mintd_field[]){ __VA_ARGS__ }) / sizeof(struct mintd_field)

static void test_line(void **state)
{
    (void)state;
    log_fields(MINTD_WARN, S("no reply after send"), FIELDS(F("class", "ambiguous"), F("op", "broadcast"), F("instance", "hedera-main"),
               F("request_id", "7"), F("chunk", "117440512"), F("code", "504")));
    assert_string_equal(last, "warn instance=hedera-main op=broadcast chunk=117440512 request_id=7 class=ambiguous code=504 "
                              "msg=\"no reply after send\"");
    log_error("store %s is gone, %d left", "main", 3);
    assert_string_equal(last, "error msg=\"store main is gone, 3 left\"");
}

static void test_levels(void **state)
{
    (void)state;
    assert_true(log_on(MINTD_INFO));
    assert_false(log_on(MINTD_DEBUG));
    log_debug("hidden");
    assert_int_equal(lines, 0);
    log_setup(MINTD_DEBUG, false);
    log_debug("shown");
    assert_string_equal(last, "debug msg=\"shown\"");
    log_setup(MINTD_ERROR, false);
    log_warn("hidden");
    assert_int_equal(lines, 1);
}

static void test_values_are_quoted_and_escaped(void **state)
{
    (void)state;
    static const struct { struct mintd_str in; const char *out; } table[] = {
        { S("plain-1.5/x:y"), "v=plain-1.5/x:y" }, { S(""), "v=\"\"" }, { S("two words"), "v=\"two words\"" },
        { S("say \"hi\""), "v=\"say \\\"hi\\\"\"" }, { S("a=b"), "v=\"a=b\"" }, { S("back\\slash"), "v=\"back\\\\slash\"" },
        { S("a\nb\tc\rd"), "v=\"a\\nb\\tc\\rd\"" }, { S("\x1b[31m\0"), "v=\"\\x1b[31m\\x00\"" }, { S("\x7f"), "v=\"\\x7f\"" },
        { S("caf\xc3\xa9"), "v=\"caf\xc3\xa9\"" }, { S("\xc2\x9b" "31m"), "v=\"\\xc2\\x9b31m\"" }, { S("bad\xff"), "v=\"bad\\xff\"" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char want[200];
        snprintf(want, sizeof want, "info %s msg=\"m\"", table[i].out);
        log_fields(MINTD_INFO, S("m"), &(struct mintd_field){ S("v"), table[i].in }, 1);
        assert_string_equal(last, want);
    }
    log_info("forged\nerror msg=\"x\"");
    assert_string_equal(last, "info msg=\"forged\\nerror msg=\\\"x\\\"\"");
}

static void test_hostile_keys(void **state)
{
    (void)state;
    log_fields(MINTD_INFO, S("m"), FIELDS(F("a b\"=\n", "1"), F("", "2"), F("msg", "3"), F("level", "4")));
    assert_string_equal(last, "info a_b___=1 _=2 msg_=3 level_=4 msg=\"m\"");
}

static void test_json(void **state)
{
    (void)state;
    log_setup(MINTD_INFO, true);
    log_fields(MINTD_INFO, S("it is \"done\"\n"), FIELDS(F("dur_ms", "12"), F("op", "put\x01")));
    assert_string_equal(last, "{\"level\":\"info\",\"op\":\"put\\u0001\",\"dur_ms\":\"12\",\"msg\":\"it is \\\"done\\\"\\n\"}");
}

static void test_secrets_are_masked(void **state)
{
    (void)state;
    log_secret(S("hunter2"));
    log_secret(S("hunter2hunter2"));
    log_secret(S("hunter2"));
    log_secret(S("abc"));                                  /* too short to mean anything */
    log_secret(S("with \"quote\n"));
    log_fields(MINTD_INFO, S("key hunter2 of abc, hunter2hunter2"), FIELDS(F("url", "http://u:hunter2@h"), F("hunter2", "1")));
    assert_string_equal(last, "info url=http://u:***@h ___=1 msg=\"key *** of abc, ***\"");
    log_info("%s", "is with \"quote\n here");
    assert_string_equal(last, "info msg=\"is *** here\"");
    log_setup(MINTD_INFO, true);
    log_info("hunter2");
    assert_string_equal(last, "{\"level\":\"info\",\"msg\":\"***\"}");
    log_close();
    log_info("hunter2");
    assert_string_equal(last, "{\"level\":\"info\",\"msg\":\"hunter2\"}");
}

static void test_long_values_are_cut(void **state)
{
    (void)state;
    char text[12000];
    memset(text, 'a', sizeof text);
    memcpy(text + 8190, "hunter2", 7);                     /* across the cut: masked first */
    log_secret(S("hunter2"));
    log_fields(MINTD_INFO, (struct mintd_str){ text, sizeof text }, NULL, 0);
    assert_int_equal(strlen(last), strlen("info msg=\"\"") + 8192 + 3);
    assert_null(strstr(last, "hu"));
    assert_non_null(strstr(last, "a**...\""));
    log_msg(MINTD_INFO, "%0600d", 1);                      /* longer than the stack buffer */
    assert_int_equal(strlen(last), strlen("info msg=\"\"") + 600);
}

static void test_errno_survives(void **state)
{
    (void)state;
    errno = ENOSPC;
    log_info("%s", strerror(errno));
    assert_int_equal(errno, ENOSPC);
}

/* What one record looks like on a real stderr; journal: as a unit's stream says */
static void to_stderr(const char *path, bool journal, struct buf *ret)
{
    int saved = dup(STDERR_FILENO), fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct stat st;
    char stream[64];
    assert_true(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    fstat(fd, &st);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + !journal);
    setenv("JOURNAL_STREAM", stream, 1);
    log_sink(NULL, NULL);
    log_warn("one");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    unsetenv("JOURNAL_STREAM");
    assert_int_equal(file_read(path, 1000, ret), 0);
}

static void test_stderr(void **state)
{
    (void)state;
    char path[4200];
    struct buf b = { 0 };
    int year, month, day, h, m, s, ms, end = 0;
    snprintf(path, sizeof path, "%s/stderr", tmp_dir());
    to_stderr(path, true, &b);
    assert_true(str_eq(buf_view(&b), S("<4>warn msg=\"one\"\n")));
    to_stderr(path, false, &b);                            /* the variable is inherited, the stream is another one */
    buf_add(&b, "", 1);
    assert_int_equal(sscanf(b.p, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ warn msg=%n", &year, &month, &day, &h, &m, &s, &ms, &end), 7);
    assert_string_equal(b.p + end, "\"one\"\n");
    buf_free(&b);
}

static void count_whole(void *arg, struct mintd_str line)
{
    unsigned *n = arg;
    if (str_eq(line, S("info k=v msg=\"from a thread\""))) ++*n;
}

static void *log_much(void *arg)
{
    (void)arg;
    for (int i = 0; i < 500; i++) {
        log_fields(MINTD_INFO, S("from a thread"), FIELDS(F("k", "v")));
        log_secret(S("some secret"));
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t t[4];
    unsigned n = 0;
    log_sink(count_whole, &n);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) assert_int_equal(pthread_create(&t[i], NULL, log_much, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) pthread_join(t[i], NULL);
    assert_int_equal(n, 2000);
}

static int clean(void **state)
{
    (void)state;
    tmp_clean();
    return 0;
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_line), CASE(test_levels), CASE(test_values_are_quoted_and_escaped), CASE(test_hostile_keys), CASE(test_json),
        CASE(test_secrets_are_masked), CASE(test_long_values_are_cut), CASE(test_errno_survives), CASE(test_stderr), CASE(test_threads),
    };
    return cmocka_run_group_tests_name("base log", tests, NULL, clean);
}
