/* Little-endian numbers and counted strings, written with a count that runs on beyond the buffer and read with bounds. Pure. */
#include "local.h"

void put(struct writer *w, const void *p, size_t n)
{
    if (n && w->n <= w->cap && n <= w->cap - w->n) memcpy(w->p + w->n, p, n);
    w->n += n;
}

void put_u(struct writer *w, uint64_t v, size_t bytes)
{
    uint8_t le[8];
    for (size_t i = 0; i < 8; i++) le[i] = (uint8_t)(v >> 8 * i);
    put(w, le, bytes);
}

void put_str(struct writer *w, struct mintd_str s, size_t length_bytes)
{
    put_u(w, s.n, length_bytes);
    put(w, s.p, s.n);
}

struct mintd_str get_bytes(struct reader *r, size_t n)
{
    if (r->bad || n > r->left) { r->bad = true; return (struct mintd_str){ NULL, 0 }; }
    struct mintd_str s = { (const char *)r->p, n };
    r->p += n;
    r->left -= n;
    return s;
}

uint64_t get_u(struct reader *r, size_t bytes)
{
    struct mintd_str s = get_bytes(r, bytes);
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) v |= (uint64_t)(uint8_t)s.p[i] << 8 * i;
    return v;
}

struct mintd_str get_str(struct reader *r, size_t length_bytes)
{
    return get_bytes(r, (size_t)get_u(r, length_bytes));
}

struct mintd_str clip_text(struct mintd_str s, size_t max)
{
    if (s.n <= max) return (struct mintd_str){ s.n ? s.p : "", s.n };
    while (max && ((uint8_t)s.p[max] & 0xc0) == 0x80) max--;
    return (struct mintd_str){ s.p, max };
}
