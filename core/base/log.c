/* The log: one line per record. Owns the level, the registered secrets and the sink. May call libc and base/str. Any
 * thread; one mutex orders lines and guards secrets and sink, so a sink must not log. The clock is read for the label
 * of a line on a terminal or in a file only; a sink and journald get none. */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

enum { VALUE_MAX = 8192, KEY_MAX = 64, SECRET_MIN = 4, STALL_MS = 1000 };

struct secret { struct secret *next; size_t n; char value[]; };
static atomic_uint wanted = MINTD_INFO;
static atomic_bool as_json;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct secret *secrets;                             /* longest first, so that a longer one is never half shown */
static void (*sink_fn)(void *, struct mintd_str);
static void *sink_arg;

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char *const journal_prefix[] = { "<3>", "<4>", "<6>", "<7>" };
static const char *const fixed_keys[] = { "instance", "op", "chunk", "request_id" };
static const char *const own_keys[] = { "ts", "level", "msg" };

void log_setup(uint32_t level, bool json)
{
    atomic_store(&wanted, level);
    atomic_store(&as_json, json);
}

bool log_on(uint32_t level)
{
    return level <= atomic_load_explicit(&wanted, memory_order_relaxed);
}

uint32_t log_level(void) { return atomic_load(&wanted); }

void log_sink(void (*fn)(void *, struct mintd_str), void *arg)
{
    pthread_mutex_lock(&lock);
    sink_fn = fn;
    sink_arg = arg;
    pthread_mutex_unlock(&lock);
}

static bool secret_known(struct mintd_str value)
{
    for (struct secret *s = secrets; s; s = s->next)
        if (str_eq(value, (struct mintd_str){ s->value, s->n })) return true;
    return false;
}

void log_secret(struct mintd_str value)
{
    if (value.n < SECRET_MIN) return;
    pthread_mutex_lock(&lock);
    struct secret *s = secret_known(value) ? NULL : malloc(sizeof *s + value.n);
    if (s) {
        struct secret **at = &secrets;
        while (*at && (*at)->n > value.n) at = &(*at)->next;
        memcpy(s->value, value.p, value.n);
        s->n = value.n;
        s->next = *at;
        *at = s;
    }
    pthread_mutex_unlock(&lock);
}

void log_close(void)
{
    pthread_mutex_lock(&lock);
    while (secrets) {
        struct secret *s = secrets;
        secrets = s->next;
        explicit_bzero(s->value, s->n);
        free(s);
    }
    pthread_mutex_unlock(&lock);
}

static size_t secret_at(struct mintd_str s, size_t i)
{
    for (const struct secret *k = secrets; k; k = k->next)
        if (k->n <= s.n - i && !memcmp(s.p + i, k->value, k->n)) return k->n;
    return 0;
}

/* s with every secret as ***, cut at VALUE_MAX; scratch keeps the text if it had to change */
static struct mintd_str masked(struct mintd_str s, struct buf *scratch)
{
    scratch->n = 0;
    size_t i = 0, from = 0;
    while (secrets && i < s.n) {
        size_t n = secret_at(s, i);
        if (!n) {
            i++;
            continue;
        }
        buf_add(scratch, s.p + from, i - from);
        buf_puts(scratch, "***");
        from = i += n;
    }
    if (!from && s.n <= VALUE_MAX) return s;
    if (from < s.n) buf_add(scratch, s.p + from, s.n - from);
    if (scratch->bad) return S("***");
    if (scratch->n > VALUE_MAX) {
        scratch->n = VALUE_MAX;
        buf_puts(scratch, "...");
    }
    return buf_view(scratch);
}

void log_mask(struct mintd_str s, struct buf *b)
{
    struct buf scratch = { 0 };
    pthread_mutex_lock(&lock);
    buf_str(b, masked(s, &scratch));
    pthread_mutex_unlock(&lock);
    buf_free(&scratch);
}

static bool is_plain(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static void put_escaped(struct buf *b, struct mintd_str s)
{
    bool utf8 = str_utf8(s);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        unsigned char next = i + 1 < s.n ? (unsigned char)s.p[i + 1] : 0xff;
        bool c1 = c == 0xc2 && next < 0xa0;                /* a terminal obeys U+0080..U+009F */
        if (c == '\n') buf_puts(b, "\\n");
        else if (c == '\t') buf_puts(b, "\\t");
        else if (c == '\r') buf_puts(b, "\\r");
        else if (c == '"' || c == '\\') buf_add(b, (char[]){ '\\', (char)c }, 2);
        else if (c1) buf_printf(b, "\\x%02x\\x%02x", c, next), i++;
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) buf_printf(b, "\\x%02x", c);
        else buf_add(b, &c, 1);
    }
}

static void put_value(struct buf *b, struct mintd_str s, bool quote)
{
    quote |= !s.n;
    for (size_t i = 0; i < s.n && !quote; i++) quote = !is_plain((unsigned char)s.p[i]);
    if (quote) buf_puts(b, "\"");
    put_escaped(b, s);
    if (quote) buf_puts(b, "\"");
}

static bool one_of(struct mintd_str key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(key, SZ(names[i]))) return true;
    return false;
}

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.'
        || c == '-';
}

/* A key is made of [A-Za-z0-9_.-]; one that the line itself uses gets an underscore */
static void put_key(struct buf *b, struct mintd_str key)
{
    for (size_t i = 0; i < key.n && i < KEY_MAX; i++) buf_add(b, is_key_char(key.p[i]) ? key.p + i : "_", 1);
    if (!key.n || one_of(key, own_keys, ARRAY_LEN(own_keys))) buf_puts(b, "_");
}

static void put_pair(struct buf *b, bool json, const struct mintd_field *f, struct buf *scratch)
{
    buf_puts(b, json ? ",\"" : " ");
    put_key(b, masked(f->key, scratch));
    buf_puts(b, json ? "\":" : "=");
    if (json) buf_json(b, masked(f->val, scratch));
    else put_value(b, masked(f->val, scratch), false);
}

static void put_pairs(struct buf *b, bool json, const struct mintd_field *f, uint32_t n, struct buf *scratch)
{
    for (size_t k = 0; k < ARRAY_LEN(fixed_keys); k++)
        for (uint32_t i = 0; i < n; i++)
            if (str_eq(f[i].key, SZ(fixed_keys[k]))) put_pair(b, json, &f[i], scratch);
    for (uint32_t i = 0; i < n; i++)
        if (!one_of(f[i].key, fixed_keys, ARRAY_LEN(fixed_keys))) put_pair(b, json, &f[i], scratch);
}

/* stderr is the journal's own stream, not merely inherited from a unit and redirected since */
static bool under_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st)
        && st.st_dev == dev && st.st_ino == ino;
}

static void put_time(struct buf *b)
{
    struct timespec now;
    struct tm tm;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(b, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static void put_head(struct buf *b, uint32_t level, bool json)
{
    bool journal = !sink_fn && under_journal(), time = !sink_fn && !journal;
    if (journal) buf_puts(b, journal_prefix[level]);
    if (json) buf_puts(b, "{");
    if (json && time) buf_puts(b, "\"ts\":\"");
    if (time) put_time(b);
    if (time) buf_puts(b, json ? "\"," : " ");
    if (json) buf_printf(b, "\"level\":\"%s\"", level_names[level]);
    else buf_puts(b, level_names[level]);
}

static void put_msg(struct buf *b, bool json, struct mintd_str msg)
{
    buf_puts(b, json ? ",\"msg\":" : " msg=");
    if (json) buf_json(b, msg);
    else put_value(b, msg, true);
    if (json) buf_puts(b, "}");
}

static bool writable_again(void)
{
    return poll(&(struct pollfd){ .fd = STDERR_FILENO, .events = POLLOUT }, 1, STALL_MS) > 0;
}

static void write_line(struct mintd_str line)
{
    while (line.n) {
        ssize_t n = write(STDERR_FILENO, line.p, line.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN && writable_again()) continue;
        if (n < 0) return;                                 /* nowhere left to say it */
        line.p += n;
        line.n -= (size_t)n;
    }
}

static void emit(struct buf *b)
{
    if (b->bad) {
        buf_free(b);
        *b = (struct buf){ 0 };
        buf_puts(b, "error msg=\"a log line is lost: out of memory\"");
    }
    if (sink_fn) {
        sink_fn(sink_arg, buf_view(b));
        return;
    }
    buf_puts(b, "\n");
    write_line(buf_view(b));
}

void log_fields(uint32_t level, struct mintd_str msg, const struct mintd_field *f, uint32_t n)
{
    if (!log_on(level)) return;
    if (level > MINTD_DEBUG) level = MINTD_DEBUG;
    int saved = errno;
    struct buf line = { 0 }, scratch = { 0 };
    bool json = atomic_load(&as_json);
    pthread_mutex_lock(&lock);
    put_head(&line, level, json);
    put_pairs(&line, json, f, n, &scratch);
    put_msg(&line, json, masked(msg, &scratch));
    emit(&line);
    pthread_mutex_unlock(&lock);
    buf_free(&line);
    buf_free(&scratch);
    errno = saved;
}

void log_msg(uint32_t level, const char *fmt, ...)
{
    if (!log_on(level)) return;
    char small[512], *big = NULL;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    struct mintd_str text = { small, n > 0 ? (size_t)n : 0 };
    if (text.n >= sizeof small) {
        big = malloc(text.n + 1);
        if (big) vsnprintf(big, text.n + 1, fmt, again);
        text.p = big ? big : small;
        if (!big) text.n = sizeof small - 1;
    }
    va_end(again);
    va_end(ap);
    log_fields(level, text, NULL, 0);
    free(big);
}
