/* Bump allocator. Owns its blocks and one reference to each arena it holds. May call libc only. Any thread, one at
 * a time; only the reference count is atomic. */
#include "base/arena.h"

#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, FIRST = 4096, GROW_MAX = 1 << 20 };

struct block { struct block *next; alignas(ALIGN) char data[]; };
struct hold { struct hold *next; struct arena *held; };
struct arena {
    atomic_uint refs;
    struct block *blocks;
    struct hold *holds;
    char *at;                                              /* free room of the current block */
    size_t left, used, grow;
    alignas(ALIGN) char first[];
};

struct arena *arena_new(size_t first)
{
    if (!first) first = FIRST;
    if (first > SIZE_MAX / 2) return NULL;
    first = (first + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct arena *a = calloc(1, sizeof *a + first);
    if (!a) return NULL;
    atomic_init(&a->refs, 1);
    a->at = a->first;
    a->left = first;
    a->grow = first < GROW_MAX ? first : GROW_MAX;
    return a;
}

struct arena *arena_ref(struct arena *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

struct arena *arena_free(struct arena *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) > 1) return NULL;
    for (struct hold *h = a->holds; h; h = h->next) arena_free(h->held);
    for (struct block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
    return NULL;
}

int arena_hold(struct arena *holder, struct arena *held)
{
    struct hold *h = arena_alloc(holder, sizeof *h);
    if (!h) return -ENOMEM;
    *h = (struct hold){ holder->holds, arena_ref(held) };
    holder->holds = h;
    return 0;
}

static struct block *block_new(struct arena *a, size_t room)
{
    struct block *b = calloc(1, sizeof *b + room);
    if (!b) return NULL;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

/* A block of its own for what is larger than half a fresh one: the rest of the current block is not thrown away */
static void *alloc_slow(struct arena *a, size_t n)
{
    if (a->grow < GROW_MAX) a->grow *= 2;
    bool own = n > a->grow / 2;
    struct block *b = block_new(a, own ? n : a->grow);
    if (!b) return NULL;
    a->used += n;
    if (!own) {
        a->at = b->data + n;
        a->left = a->grow - n;
    }
    return b->data;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2) return NULL;
    n = n ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    if (n > a->left) return alloc_slow(a, n);
    void *p = a->at;
    a->at += n;
    a->left -= n;
    a->used += n;
    return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : arena_alloc(a, bytes);
}

void *arena_copy(struct arena *a, const void *p, size_t n)
{
    void *to = arena_alloc(a, n);
    if (to && n) memcpy(to, p, n);
    return to;
}

char *arena_cstr(struct arena *a, struct mintd_str s)
{
    char *to = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (to && s.n) memcpy(to, s.p, s.n);
    return to;
}

struct mintd_str arena_str(struct arena *a, struct mintd_str s)
{
    char *to = s.n ? arena_cstr(a, s) : NULL;
    return (struct mintd_str){ to, to ? s.n : 0 };
}

struct mintd_str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    struct mintd_str s = { NULL, 0 };
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *to = n > 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (to) {
        vsnprintf(to, (size_t)n + 1, fmt, again);
        s = (struct mintd_str){ to, (size_t)n };
    }
    va_end(again);
    va_end(ap);
    return s;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}
