/* Bump allocator: many small blocks, freed as one. Any thread, one at a time. Memory is zeroed and 16-aligned.
 * A failed allocation at run time is returned as NULL; sizes are checked. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stddef.h>
#include "mintd/plugin.h"

struct arena;
struct arena *arena_new(size_t first);                     /* first: bytes of the first block, 0 = 4 KiB; NULL: no memory */
struct arena *arena_free(struct arena *);                  /* drops one reference; NULL ok; returns NULL */
struct arena *arena_ref(struct arena *);                   /* one more owner; counting is thread-safe, allocating is not */
int    arena_hold(struct arena *holder, struct arena *held);   /* held lives at least as long as holder; 0, -ENOMEM */
void  *arena_alloc(struct arena *, size_t n);
void  *arena_array(struct arena *, size_t n, size_t size); /* n * size, overflow checked */
void  *arena_copy(struct arena *, const void *p, size_t n);
struct mintd_str arena_str(struct arena *, struct mintd_str);            /* copy; {NULL, 0} on no memory or empty; NUL-terminated */
char  *arena_cstr(struct arena *, struct mintd_str);                     /* NUL-terminated copy */
struct mintd_str arena_printf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_used(const struct arena *);                   /* bytes handed out */
#endif
