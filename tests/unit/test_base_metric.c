/* The metrics registry and its text form. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "base/metric.h"

#define NONE ((struct mintd_str){ NULL, 0 })

static struct buf text;

static int teardown(void **state)
{
    (void)state;
    metric_close();
    buf_free(&text);
    return 0;
}

static const char *write_out(void)
{
    text.n = 0;
    metric_write(&text);
    buf_add(&text, "", 1);
    assert_false(text.bad);
    return text.p;
}

static void has(const char *want)
{
    if (!strstr(write_out(), want)) fail_msg("not there: %s\n--- in\n%s", want, text.p);
}

static double sample(const char *name)
{
    char line[100];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(write_out(), line);
    assert_non_null(at);
    return strtod(at + strlen(line), NULL);
}

static void test_counter_and_gauge(void **state)
{
    (void)state;
    struct metric *c = metric_new(METRIC_COUNTER, "mintd_items_total", NULL, "Items", NULL);
    struct metric *g = metric_new(METRIC_GAUGE, "mintd_open", "lane", "Open\\chunks\nnow", NULL);
    has("# HELP mintd_items_total Items\n# TYPE mintd_items_total counter\nmintd_items_total 0\n");
    metric_add(c, NONE, NONE, 2);
    metric_add(c, NONE, NONE, 0.5);
    metric_add(c, NONE, NONE, -1);                         /* a counter never falls */
    metric_add(c, NONE, NONE, (double)NAN);
    metric_set(c, NONE, NONE, 7);
    has("\nmintd_items_total 2.5\n");
    assert_true(metric_get(c, NONE, NONE) > 2.4 && metric_get(c, NONE, NONE) < 2.6);
    metric_set(g, S("a\"b\\c\nd"), NONE, -3);
    metric_set(g, S("x"), NONE, 10);
    metric_add(g, S("x"), NONE, -4);
    has("# HELP mintd_open Open\\\\chunks\\nnow\n# TYPE mintd_open gauge\n");
    has("\nmintd_open{lane=\"a\\\"b\\\\c\\nd\"} -3\nmintd_open{lane=\"x\"} 6\n");
    assert_true(metric_get(g, S("unknown"), NONE) == 0);
    assert_null(strstr(write_out(), "unknown"));           /* asking makes no series */
}

static void test_numbers_read_back(void **state)
{
    (void)state;
    struct metric *g = metric_new(METRIC_GAUGE, "mintd_g", NULL, "", NULL);
    static const struct { double v; const char *text; } table[] = {
        { 0.1, "0.1" }, { 1e15, "1e+15" }, { 123456789012, "123456789012" }, { 1.0 / 3, "0.3333333333333333" },
        { (double)INFINITY, "+Inf" }, { -(double)INFINITY, "-Inf" }, { (double)NAN, "NaN" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char want[64];
        snprintf(want, sizeof want, "\nmintd_g %s\n", table[i].text);
        metric_set(g, NONE, NONE, table[i].v);
        has(want);
    }
}

static void test_histogram(void **state)
{
    (void)state;
    static const double buckets[] = { 0.1, 1, 10, 0 };
    struct metric *h = metric_new(METRIC_HISTOGRAM, "mintd_op_seconds", "instance,op", "Ops", buckets);
    static const double seen[] = { 0.05, 0.1, 0.5, 5, 50, (double)NAN };
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) metric_observe(h, S("hedera"), S("status"), seen[i]);
    has("# TYPE mintd_op_seconds histogram\n"
        "mintd_op_seconds_bucket{instance=\"hedera\",op=\"status\",le=\"0.1\"} 2\n"
        "mintd_op_seconds_bucket{instance=\"hedera\",op=\"status\",le=\"1\"} 3\n"
        "mintd_op_seconds_bucket{instance=\"hedera\",op=\"status\",le=\"10\"} 4\n"
        "mintd_op_seconds_bucket{instance=\"hedera\",op=\"status\",le=\"+Inf\"} 5\n"
        "mintd_op_seconds_sum{instance=\"hedera\",op=\"status\"} 55.65\n"
        "mintd_op_seconds_count{instance=\"hedera\",op=\"status\"} 5\n");
    struct metric *plain = metric_new(METRIC_HISTOGRAM, "mintd_plain_seconds", NULL, "Plain", NULL);
    metric_observe(plain, NONE, NONE, 0.002);
    has("\nmintd_plain_seconds_bucket{le=\"0.001\"} 0\nmintd_plain_seconds_bucket{le=\"0.0025\"} 1\n");
    has("\nmintd_plain_seconds_bucket{le=\"+Inf\"} 1\nmintd_plain_seconds_sum 0.002\nmintd_plain_seconds_count 1\n");
}

static void test_registration(void **state)
{
    (void)state;
    static const double falling[] = { 2, 1, 0 }, empty[] = { 0 };
    struct metric *a = metric_new(METRIC_COUNTER, "mintd_a_total", "op", "A", NULL);
    assert_non_null(a);
    assert_ptr_equal(metric_new(METRIC_COUNTER, "mintd_a_total", "op", "A", NULL), a);
    assert_null(metric_new(METRIC_GAUGE, "mintd_a_total", "op", "A", NULL));
    assert_null(metric_new(METRIC_COUNTER, "mintd_a_total", NULL, "A", NULL));
    assert_null(metric_new(METRIC_COUNTER, "1bad", NULL, "", NULL));
    assert_null(metric_new(METRIC_COUNTER, "", NULL, "", NULL));
    assert_null(metric_new(METRIC_COUNTER, "mintd_b", "a b", "", NULL));
    assert_null(metric_new(METRIC_COUNTER, "mintd_b", "a,", "", NULL));
    assert_null(metric_new(METRIC_COUNTER, "mintd_b", "a,b,c", "", NULL));
    assert_null(metric_new(METRIC_HISTOGRAM, "mintd_b", NULL, "", falling));
    assert_null(metric_new(METRIC_HISTOGRAM, "mintd_b", NULL, "", empty));
    metric_add(NULL, NONE, NONE, 1);                       /* what was refused is ignored, not fatal */
    metric_set(NULL, NONE, NONE, 1);
    metric_observe(NULL, NONE, NONE, 1);
    assert_true(metric_get(NULL, NONE, NONE) == 0);
    metric_observe(a, S("x"), NONE, 1);
    assert_null(strstr(write_out(), "mintd_a_total{"));
    assert_null(strstr(text.p, "mintd_b"));
}

static void test_labels_are_bounded(void **state)
{
    (void)state;
    struct metric *c = metric_new(METRIC_COUNTER, "mintd_c_total", "a,b", "C", NULL);
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "v%d", i);
        metric_add(c, SZ(name), S("same"), 1);
        metric_add(c, SZ(name), S("same"), 1);
    }
    metric_add(c, S("other"), S("same"), 1);
    has("\nmintd_c_total{a=\"v63\",b=\"same\"} 2\n");
    has("\nmintd_c_total{a=\"other\",b=\"same\"} 273\n");
    unsigned series = 0;
    for (const char *p = text.p; (p = strstr(p, "\nmintd_c_total{")); p++) series++;
    assert_int_equal(series, 65);
    metric_add(c, S("bad\xff"), S("utf\xff"), 1);
    has("\nmintd_c_total{a=\"other\",b=\"utf?\"} 1\n");
}

static void test_process(void **state)
{
    (void)state;
    FILE *one = fopen("/dev/null", "r");
    double fds = sample("process_open_fds");
    fclose(one);
    assert_true(sample("process_open_fds") + 1 == fds);
    assert_true(fds >= 4 && fds < 1000);
    assert_true(sample("process_resident_memory_bytes") > 1e5);
    assert_true(sample("process_cpu_seconds_total") < 1000);
    assert_true(sample("process_threads") >= 1);
    assert_true(sample("process_max_fds") >= fds);
    double start = sample("process_start_time_seconds"), now = (double)time(NULL);
    assert_true(start > now - 600 && start < now + 5);
}

/* Every line of the whole text is a comment or `name{labels} number`, and samples follow their own TYPE */
static void test_every_line_parses(void **state)
{
    (void)state;
    struct metric *c = metric_new(METRIC_COUNTER, "mintd_lines_total", "op", "Lines", NULL);
    metric_add(c, S("a b"), NONE, 1);
    metric_observe(metric_new(METRIC_HISTOGRAM, "mintd_h_seconds", "op", "H", NULL), S("x"), NONE, 1);
    char family[100] = "", *save = NULL;
    unsigned samples = 0;
    write_out();
    assert_int_equal(text.p[text.n - 2], '\n');
    for (char *line = strtok_r(text.p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (sscanf(line, "# TYPE %99s", family) == 1 || !strncmp(line, "# HELP ", 7)) continue;
        assert_int_equal(strncmp(line, family, strlen(family)), 0);
        char *value = strrchr(line, ' '), *end;
        assert_non_null(value);
        strtod(value + 1, &end);
        assert_int_equal(*end, 0);
        samples++;
    }
    assert_true(samples > 20);
}

static void *add_much(void *arg)
{
    for (int i = 0; i < 10000; i++) metric_add(arg, i % 2 ? S("odd") : S("even"), NONE, 1);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t t[4];
    struct metric *c = metric_new(METRIC_COUNTER, "mintd_t_total", "n", "T", NULL);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) assert_int_equal(pthread_create(&t[i], NULL, add_much, c), 0);
    for (int i = 0; i < 20; i++) write_out();
    for (size_t i = 0; i < ARRAY_LEN(t); i++) pthread_join(t[i], NULL);
    assert_true(metric_get(c, S("odd"), NONE) == 20000 && metric_get(c, S("even"), NONE) == 20000);
}

#define CASE(fn) cmocka_unit_test_teardown(fn, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_counter_and_gauge), CASE(test_numbers_read_back), CASE(test_histogram), CASE(test_registration),
        CASE(test_labels_are_bounded), CASE(test_process), CASE(test_every_line_parses), CASE(test_threads),
    };
    return cmocka_run_group_tests_name("base metric", tests, NULL, NULL);
}
