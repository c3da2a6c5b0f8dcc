/* Strings, the growable buffer, JSON escaping, hex. Owns a buffer's memory alone. May call libc only. Any thread. */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_MAX_DEFAULT = 1 << 30, BUF_FIRST = 256, DISTANCE_MAX = 64 };

bool str_starts(struct mintd_str s, struct mintd_str prefix)
{
    return s.n >= prefix.n && (!prefix.n || !memcmp(s.p, prefix.p, prefix.n));
}

int str_u64(struct mintd_str s, uint64_t *ret)
{
    uint64_t v = 0;
    bool over = false;
    if (!s.n) return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return -EINVAL;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        over |= __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v);
    }
    if (over) return -ERANGE;
    *ret = v;
    return 0;
}

/* Length of the well-formed UTF-8 sequence at p, 0 if there is none (Unicode table 3-7) */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    unsigned char lo = 0x80, hi = 0xbf;                    /* bounds of the second byte */
    size_t len;
    if (p[0] < 0x80) return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef) len = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4) len = 4;
    else return 0;
    if (p[0] == 0xe0) lo = 0xa0;                           /* overlong */
    if (p[0] == 0xed) hi = 0x9f;                           /* surrogates */
    if (p[0] == 0xf0) lo = 0x90;
    if (p[0] == 0xf4) hi = 0x8f;                           /* beyond U+10FFFF */
    if (len > n || p[1] < lo || p[1] > hi) return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return len;
}

bool str_utf8(struct mintd_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0, len; i < s.n; i += len) {
        len = utf8_len(p + i, s.n - i);
        if (!len) return false;
    }
    return true;
}

unsigned str_distance(struct mintd_str a, struct mintd_str b)
{
    unsigned row[DISTANCE_MAX + 1];
    if (a.n > DISTANCE_MAX || b.n > DISTANCE_MAX) return (unsigned)(a.n > b.n ? a.n : b.n);
    for (unsigned j = 0; j <= b.n; j++) row[j] = j;
    for (unsigned i = 0; i < a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < b.n; j++) {
            unsigned change = diagonal + (a.p[i] != b.p[j]);
            unsigned add = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = change < add ? change : add;
        }
    }
    return row[b.n];
}

/* Room for n more bytes; false: bad is set */
static bool buf_room(struct buf *b, size_t n)
{
    size_t max = b->max ? b->max : BUF_MAX_DEFAULT, need = b->n + n;
    if (b->bad || n > max || need > max) b->bad = true;
    if (b->bad || need <= b->cap) return !b->bad;
    size_t cap = b->cap ? b->cap : BUF_FIRST;
    while (cap < need) cap *= 2;
    char *p = realloc(b->p, cap);
    if (!p) {
        b->bad = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!n || !buf_room(b, n)) return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_str(struct buf *b, struct mintd_str s)
{
    buf_add(b, s.p, s.n);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int r = vsnprintf(small, sizeof small, fmt, ap);
    size_t n = r > 0 ? (size_t)r : 0;
    if (r < 0) b->bad = true;
    else if (n < sizeof small) buf_add(b, small, n);
    else {
        char *big = malloc(n + 1);
        if (big) {
            vsnprintf(big, n + 1, fmt, again);
            buf_add(b, big, n);
        } else b->bad = true;
        free(big);
    }
    va_end(again);
    va_end(ap);
}

static void json_escape(struct buf *b, unsigned char c)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = c ? strchr(from, c) : NULL;
    if (at) buf_add(b, (char[]){ '\\', to[at - from] }, 2);
    else buf_printf(b, "\\u%04x", c);
}

void buf_json(struct buf *b, struct mintd_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t from = 0, i = 0;
    buf_add(b, "\"", 1);
    while (i < s.n) {
        size_t len = utf8_len(p + i, s.n - i);
        if (len && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
            i += len;
            continue;
        }
        buf_add(b, s.p + from, i - from);
        if (len) json_escape(b, p[i]);
        else buf_puts(b, "\xef\xbf\xbd");
        from = ++i;
    }
    if (from < s.n) buf_add(b, s.p + from, s.n - from);
    buf_add(b, "\"", 1);
}

void buf_hex(struct buf *b, const void *p, size_t n)
{
    if (n > SIZE_MAX / 2) b->bad = true;
    if (!n || !buf_room(b, 2 * n)) return;
    hex_encode(p, n, b->p + b->n);
    b->n += 2 * n;
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){ .max = b->max };
}

void hex_encode(const void *p, size_t n, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = p;
    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = digits[from[i] >> 4];
        ret[2 * i + 1] = digits[from[i] & 15];
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int hex_decode(struct mintd_str s, void *ret, size_t n)
{
    unsigned char *to = ret;
    if (s.n % 2 || s.n / 2 != n) return -EINVAL;
    for (size_t i = 0; i < s.n; i++)
        if (hex_digit(s.p[i]) < 0) return -EINVAL;
    for (size_t i = 0; i < n; i++)
        to[i] = (unsigned char)(hex_digit(s.p[2 * i]) << 4 | hex_digit(s.p[2 * i + 1]));
    return 0;
}
