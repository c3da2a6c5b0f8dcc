/* Text as a terminal takes it: cleaned of what could steer the terminal, measured in columns, cut, wrapped; sizes, spans and
 * times for people. Owns nothing. */
#include <errno.h>
#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include "cli.h"

const char *buf_text(struct buf *b)
{
    buf_add(b, "", 1);
    if (b->bad) return "";
    b->n--;                                                /* what is added later goes over it */
    return b->p;
}

/* One character of well-formed UTF-8 at p, its length in *ret_len; -1 and 1 byte for anything else. */
static int32_t decode(const char *p, size_t n, size_t *ret_len)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t len = u[0] < 0x80 ? 1 : u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    *ret_len = 1;
    if (len > n || !str_utf8((struct mintd_str){ p, len })) return -1;
    int32_t c = len == 1 ? u[0] : u[0] & (0x7f >> len);
    for (size_t i = 1; i < len; i++) c = c << 6 | (u[i] & 0x3f);
    *ret_len = len;
    return c;
}

/* Controls of both sets, and what turns the reading direction around or hides: a name must not look like another. */
static bool is_hostile(int32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

void text_clean(struct buf *b, const char *p, size_t n, bool newlines)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i += len) {
        int32_t c = decode(p + i, n - i, &len);
        if (c == '\t') buf_puts(b, " ");
        else if (c == '\n' && newlines) buf_puts(b, "\n");
        else if (is_hostile(c)) buf_puts(b, "\xef\xbf\xbd");
        else buf_add(b, p + i, len);
    }
}

static void put_escape(struct buf *b, int32_t c)
{
    if (c < 0) buf_puts(b, "\\ufffd");
    else if (c < 0x10000) buf_printf(b, "\\u%04x", (unsigned)c);
    else buf_printf(b, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (c >> 10)), (unsigned)(0xdc00 | (c & 0x3ff)));
}

void text_clean_json(struct buf *b, const char *json)
{
    size_t n = strlen(json), len = 0;
    for (size_t i = 0; i < n; i += len) {
        int32_t c = decode(json + i, n - i, &len);
        if (is_hostile(c)) put_escape(b, c);
        else buf_add(b, json + i, len);
    }
}

/* ---- columns */

/* The ranges of Unicode's East Asian Width that matter, and what stands on the character before it. */
static unsigned columns_of(int32_t c)
{
    static const int32_t wide[][2] = { { 0x1100, 0x115f }, { 0x2e80, 0x303e }, { 0x3041, 0xa4cf }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff },
        { 0xfe30, 0xfe6f }, { 0xff00, 0xff60 }, { 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f }, { 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff },
        { 0x20000, 0x3fffd } };
    static const int32_t none[][2] = { { 0x300, 0x36f }, { 0x483, 0x489 }, { 0x591, 0x5bd }, { 0x610, 0x61a }, { 0x64b, 0x65f },
        { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff }, { 0x20d0, 0x20ff }, { 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f } };
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (c >= none[i][0] && c <= none[i][1]) return 0;
    for (size_t i = 0; i < ARRAY_LEN(wide); i++)
        if (c >= wide[i][0] && c <= wide[i][1]) return 2;
    return 1;
}

unsigned text_width(const char *p, size_t n)
{
    unsigned width = 0;
    size_t len = 0;
    for (size_t i = 0; i < n; i += len) width += columns_of(decode(p + i, n - i, &len));
    return width;
}

size_t text_fit(const char *p, size_t n, unsigned width)
{
    unsigned used = 0;
    size_t i = 0, len = 0;
    for (; i < n; i += len) {
        used += columns_of(decode(p + i, n - i, &len));
        if (used > width) break;
    }
    return i;
}

/* Where to break the text so that it fits: behind its last space, else in the middle of a word. */
static size_t break_at(const char *p, size_t n, unsigned width)
{
    size_t fit = text_fit(p, n, width);
    const char *newline = memchr(p, '\n', fit);
    if (newline) return (size_t)(newline - p);
    if (fit == n || p[fit] == '\n' || p[fit] == ' ') return fit;
    for (size_t i = fit; i > 1; i--)
        if (p[i - 1] == ' ') return i - 1;
    return fit ? fit : n;
}

void text_wrap(struct buf *b, const char *p, size_t n, unsigned width, unsigned indent)
{
    unsigned room = width > indent + 10 ? width - indent : width ? 10 : 100000;
    for (bool first = true; n || first; first = false) {
        size_t at = break_at(p, n, room);
        if (!first) buf_printf(b, "%*s", (int)indent, "");
        buf_add(b, p, at);
        buf_puts(b, "\n");
        at += at < n && (p[at] == ' ' || p[at] == '\n');
        p += at;
        n -= at;
    }
}

/* ---- quantities */

void text_bytes(struct buf *b, double n)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    size_t u = 0;
    for (; n >= 999.5 && u + 1 < ARRAY_LEN(units); u++) n /= 1000;
    buf_printf(b, u && n < 99.95 ? "%.1f %s" : "%.0f %s", n, units[u]);
}

void text_span(struct buf *b, double s)
{
    if (!(s > 0)) buf_puts(b, "0 s");
    else if (s < 9.95) buf_printf(b, "%.1f s", s);
    else if (s < 119.5) buf_printf(b, "%.0f s", s);
    else if (s < 7200) buf_printf(b, "%.0f m %02.0f s", floor(round(s) / 60), fmod(round(s), 60));
    else if (s < 172800) buf_printf(b, "%.0f h %02.0f m", floor(round(s / 60) / 60), fmod(round(s / 60), 60));
    else buf_printf(b, "%.0f d", s / 86400);
}

int64_t text_time_ms(const char *text)
{
    struct tm tm = { 0 };
    int64_t ms = 0;
    const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!p) return -1;
    if (*p == '.')
        for (int64_t unit = 100; *++p >= '0' && *p <= '9'; unit /= 10) ms += (*p - '0') * unit;
    if (strcmp(p, "Z") != 0) return -1;
    return (int64_t)timegm(&tm) * 1000 + ms;
}

void text_time(struct buf *b, const char *text, bool date, bool ms)
{
    struct tm tm;
    char shown[40];
    int64_t at = text_time_ms(text);
    time_t seconds = (time_t)(at / 1000);
    if (at < 0 || !localtime_r(&seconds, &tm)) {
        text_clean(b, text, strlen(text), false);
        return;
    }
    strftime(shown, sizeof shown, date ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &tm);
    buf_puts(b, shown);
    if (ms) buf_printf(b, ".%03d", (int)(at % 1000));
}
