/* The metrics registry and its text form. Owns the series; names, labels and helps are the caller's for the life of
 * the process. May call libc and base/{str,list,file}. Updates from any thread under one mutex: they are short and rare
 * next to the work they count. metric_new answers NULL on no memory, on a name or label that Prometheus would refuse,
 * and on a name that is taken with another type or other labels; every update ignores NULL. A sample that finds no
 * memory for its series is dropped. */
#include "base/metric.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/list.h"

enum { LABELS = 2, LABEL_MAX = 64, OTHER = LABEL_MAX, BUCKETS_MAX = 32 };

struct series { double value, sum; uint64_t counts[]; };   /* counts: one per bucket and +Inf, of a histogram */
struct label { struct mintd_str name; struct mintd_str values[LABEL_MAX]; uint32_t n; };
struct metric {
    struct list link;
    enum metric_type type;
    const char *name, *label_text, *help;
    const char *twin, *twin_help; double twin_scale;       /* NULL: none */
    struct label labels[LABELS];
    uint32_t n_labels, n_buckets;
    const double *buckets;
    struct series **series;                                /* [value of label 0][of label 1], OTHER the last */
};

static const double latency[] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 0 };
static struct list registry = { &registry, &registry };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool name_ok(struct mintd_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i && c >= '0' && c <= '9')) return false;
    }
    return s.n > 0;
}

static size_t dimension(const struct metric *m, uint32_t label)
{
    return label < m->n_labels ? LABEL_MAX + 1 : 1;
}

static struct metric *find(const char *name)
{
    LIST_EACH(it, &registry) {
        struct metric *m = LIST_OF(it, struct metric, link);
        if (!strcmp(m->name, name) || (m->twin && !strcmp(m->twin, name))) return m;
    }
    return NULL;
}

static bool same(const struct metric *m, enum metric_type type, const char *name, const char *label)
{
    return m->type == type && !strcmp(m->label_text, label) && !strcmp(m->name, name);
}

static bool take_labels(struct metric *m, const char *text)
{
    while (*text) {
        struct mintd_str name = { text, strcspn(text, ",") };
        if (m->n_labels == LABELS || !name_ok(name)) return false;
        m->labels[m->n_labels++].name = name;
        text += name.n;
        if (*text && !*++text) return false;               /* a comma at the end */
    }
    return true;
}

static bool take_buckets(struct metric *m, const double *buckets)
{
    if (m->type != METRIC_HISTOGRAM) return true;
    m->buckets = buckets ? buckets : latency;
    while (m->buckets[m->n_buckets] != 0) {
        uint32_t i = m->n_buckets++;
        if (i == BUCKETS_MAX || (i && m->buckets[i] <= m->buckets[i - 1])) return false;
    }
    return m->n_buckets > 0;
}

static void metric_free(struct metric *m)
{
    size_t n = m->series ? dimension(m, 0) * dimension(m, 1) : 0;
    for (size_t i = 0; i < n; i++) free(m->series[i]);
    free(m->series);
    for (size_t l = 0; l < LABELS; l++)
        for (uint32_t i = 0; i < m->labels[l].n; i++) free((char *)(uintptr_t)m->labels[l].values[i].p);
    free(m);
}

static struct series *series_new(const struct metric *m)
{
    size_t counts = m->type == METRIC_HISTOGRAM ? m->n_buckets + 1u : 0;
    return calloc(1, sizeof(struct series) + counts * sizeof(uint64_t));
}

static struct metric *create(enum metric_type type, const char *name, const char *label, const char *help,
                             const double *buckets)
{
    struct metric *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->type = type;
    m->name = name;
    m->label_text = label;
    m->help = help ? help : "";
    bool ok = name_ok(SZ(name)) && take_labels(m, label) && take_buckets(m, buckets);
    if (ok) m->series = calloc(dimension(m, 0) * dimension(m, 1), sizeof *m->series);
    if (ok && m->series && !m->n_labels) m->series[0] = series_new(m);    /* shows as 0 before its first event */
    if (!m->series || (!m->n_labels && !m->series[0])) {
        metric_free(m);
        return NULL;
    }
    list_add(&registry, &m->link);
    return m;
}

struct metric *metric_new(enum metric_type type, const char *name, const char *label, const char *help,
                          const double *buckets)
{
    if (!label) label = "";
    pthread_mutex_lock(&lock);
    struct metric *m = find(name);
    if (!m) m = create(type, name, label, help, buckets);
    else if (!same(m, type, name, label)) m = NULL;
    pthread_mutex_unlock(&lock);
    return m;
}

void metric_twin(struct metric *m, const char *name, const char *help, double scale)
{
    if (!m || !name_ok(SZ(name))) return;
    pthread_mutex_lock(&lock);
    if (!find(name)) {
        m->twin = name;
        m->twin_help = help;
        m->twin_scale = scale;
    }
    pthread_mutex_unlock(&lock);
}

/* Index of value; OTHER when the label is full or memory is short; without keep, an unknown value is OTHER + 1 */
static uint32_t label_index(struct label *l, struct mintd_str value, bool keep)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (str_eq(l->values[i], value)) return i;
    if (str_eq(value, S("other"))) return OTHER;
    if (!keep) return OTHER + 1;
    char *copy = l->n < LABEL_MAX ? malloc(value.n + 1) : NULL;
    if (!copy) return OTHER;
    if (value.n) memcpy(copy, value.p, value.n);
    l->values[l->n] = (struct mintd_str){ copy, value.n };
    return l->n++;
}

static struct series *lookup(struct metric *m, struct mintd_str value1, struct mintd_str value2, bool keep)
{
    uint32_t i = m->n_labels > 0 ? label_index(&m->labels[0], value1, keep) : 0;
    uint32_t j = m->n_labels > 1 ? label_index(&m->labels[1], value2, keep) : 0;
    if (i > OTHER || j > OTHER) return NULL;
    struct series **at = &m->series[i * dimension(m, 1) + j];
    if (!*at && keep) *at = series_new(m);
    return *at;
}

void metric_add(struct metric *m, struct mintd_str value1, struct mintd_str value2, double v)
{
    if (!m || m->type == METRIC_HISTOGRAM || (m->type == METRIC_COUNTER && !(v >= 0))) return;
    pthread_mutex_lock(&lock);
    struct series *s = lookup(m, value1, value2, true);
    if (s) s->value += v;
    pthread_mutex_unlock(&lock);
}

void metric_set(struct metric *m, struct mintd_str value1, struct mintd_str value2, double v)
{
    if (!m || m->type != METRIC_GAUGE) return;
    pthread_mutex_lock(&lock);
    struct series *s = lookup(m, value1, value2, true);
    if (s) s->value = v;
    pthread_mutex_unlock(&lock);
}

void metric_observe(struct metric *m, struct mintd_str value1, struct mintd_str value2, double v)
{
    if (!m || m->type != METRIC_HISTOGRAM || isnan(v)) return;
    uint32_t b = 0;
    while (b < m->n_buckets && v > m->buckets[b]) b++;
    pthread_mutex_lock(&lock);
    struct series *s = lookup(m, value1, value2, true);
    if (s) {
        s->counts[b]++;
        s->sum += v;
    }
    pthread_mutex_unlock(&lock);
}

double metric_get(struct metric *m, struct mintd_str value1, struct mintd_str value2)
{
    if (!m) return 0;
    pthread_mutex_lock(&lock);
    struct series *s = lookup(m, value1, value2, false);
    double v = s ? s->value : 0;
    pthread_mutex_unlock(&lock);
    return v;
}

void metric_close(void)
{
    pthread_mutex_lock(&lock);
    for (struct list *l; (l = list_pop(&registry));) metric_free(LIST_OF(l, struct metric, link));
    pthread_mutex_unlock(&lock);
}

/* ---- the text form */

/* The shortest decimal that reads back as the same number */
static void put_number(struct buf *b, double v)
{
    char text[32];
    if (isnan(v)) buf_puts(b, "NaN");
    else if (isinf(v)) buf_puts(b, v > 0 ? "+Inf" : "-Inf");
    else {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, v);
            if (!(strtod(text, NULL) < v) && !(strtod(text, NULL) > v)) break;
        }
        buf_puts(b, text);
    }
}

/* Backslash, newline and, in a label value, the quote are escaped; scrapers refuse what is not UTF-8: it becomes '?' */
static void put_text(struct buf *b, struct mintd_str s, bool quoted)
{
    bool utf8 = str_utf8(s);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\') buf_puts(b, "\\\\");
        else if (c == '\n') buf_puts(b, "\\n");
        else if (c == '"' && quoted) buf_puts(b, "\\\"");
        else buf_add(b, (unsigned char)c >= 0x80 && !utf8 ? "?" : &c, 1);
    }
}

static void put_head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s ", name);
    put_text(b, SZ(help), false);
    buf_printf(b, "\n# TYPE %s %s\n", name, type);
}

static void put_labels(struct buf *b, const struct metric *m, const uint32_t at[LABELS], const double *le)
{
    if (!m->n_labels && !le) return;
    buf_puts(b, "{");
    for (uint32_t l = 0; l < m->n_labels; l++) {
        buf_printf(b, "%s" STR_FMT "=\"", l ? "," : "", STR_ARG(m->labels[l].name));
        put_text(b, at[l] == OTHER ? S("other") : m->labels[l].values[at[l]], true);
        buf_puts(b, "\"");
    }
    if (le) {
        buf_puts(b, m->n_labels ? ",le=\"" : "le=\"");
        put_number(b, *le);
        buf_puts(b, "\"");
    }
    buf_puts(b, "}");
}

static void put_sample(struct buf *b, const struct metric *m, const char *name, const char *suffix, const uint32_t at[LABELS],
                       const double *le, double v)
{
    buf_puts(b, name);
    buf_puts(b, suffix);
    put_labels(b, m, at, le);
    buf_puts(b, " ");
    put_number(b, v);
    buf_puts(b, "\n");
}

static void put_series(struct buf *b, const struct metric *m, const char *name, double scale, const struct series *s, const uint32_t at[LABELS])
{
    if (m->type != METRIC_HISTOGRAM) {
        put_sample(b, m, name, "", at, NULL, m->type == METRIC_GAUGE ? s->value * scale : s->value);
        return;
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i <= m->n_buckets; i++) {
        double le = i < m->n_buckets ? m->buckets[i] : (double)INFINITY;
        total += s->counts[i];
        put_sample(b, m, name, "_bucket", at, &le, (double)total);
    }
    put_sample(b, m, name, "_sum", at, NULL, s->sum);
    put_sample(b, m, name, "_count", at, NULL, (double)total);
}

static void put_metric(struct buf *b, const struct metric *m, const char *name, const char *help, double scale)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram" };
    uint32_t rows = (uint32_t)dimension(m, 0), columns = (uint32_t)dimension(m, 1);
    put_head(b, name, types[m->type], help);
    for (uint32_t i = 0; i < rows * columns; i++)
        if (m->series[i]) put_series(b, m, name, scale, m->series[i], (uint32_t[LABELS]){ i / columns, i % columns });
}

static void put_process(struct buf *b, const char *name, const char *type, const char *help, double v)
{
    put_head(b, name, type, help);
    buf_printf(b, "%s ", name);
    put_number(b, v);
    buf_puts(b, "\n");
}

/* /proc text of at most 1 MiB, NUL-terminated; false: not to be had */
static bool read_proc(const char *path, struct buf *b)
{
    if (file_read(path, 1 << 20, b)) return false;
    buf_add(b, "", 1);
    return !b->bad;
}

static double boot_time(void)
{
    struct buf b = { 0 };
    double t = 0;
    const char *line = read_proc("/proc/stat", &b) ? strstr(b.p, "\nbtime ") : NULL;
    if (line) t = strtod(line + 7, NULL);
    buf_free(&b);
    return t;
}

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return 0;
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(dir));) n += e->d_name[0] != '.';
    closedir(dir);
    return n - 1;                                          /* the one that reads the folder */
}

/* Members of /proc/self/stat, in ticks and pages; false: not to be had */
struct stat_line { unsigned long long user, system, threads, start, pages; };
static bool read_stat(struct stat_line *ret)
{
    static const char format[] = " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %llu %*d"
                                 " %llu %*u %llu";
    struct buf text = { 0 };
    const char *rest = read_proc("/proc/self/stat", &text) ? strrchr(text.p, ')') : NULL;   /* a name may hold anything */
    int n = rest ? sscanf(rest + 1, format, &ret->user, &ret->system, &ret->threads, &ret->start, &ret->pages) : 0;
    buf_free(&text);
    return n == 5;
}

static void put_stat(struct buf *b)
{
    struct stat_line s;
    if (!read_stat(&s)) return;
    double tick = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    double cpu = (double)(s.user + s.system) / tick, begun = boot_time() + (double)s.start / tick;
    put_process(b, "process_cpu_seconds_total", "counter", "User and system CPU time spent", cpu);
    put_process(b, "process_resident_memory_bytes", "gauge", "Resident memory", (double)s.pages * page);
    put_process(b, "process_threads", "gauge", "Threads", (double)s.threads);
    put_process(b, "process_start_time_seconds", "gauge", "Start of the process since the epoch", begun);
}

void metric_write(struct buf *b)
{
    struct rlimit files;
    pthread_mutex_lock(&lock);
    LIST_EACH(it, &registry) {
        const struct metric *m = LIST_OF(it, struct metric, link);
        put_metric(b, m, m->name, m->help, 1);
        if (m->twin) put_metric(b, m, m->twin, m->twin_help, m->twin_scale);
    }
    pthread_mutex_unlock(&lock);
    put_stat(b);
    put_process(b, "process_open_fds", "gauge", "Open file descriptors", open_fds());
    if (!getrlimit(RLIMIT_NOFILE, &files))
        put_process(b, "process_max_fds", "gauge", "Limit of open file descriptors", (double)files.rlim_cur);
}
