/* mintd_str helpers and a growable byte buffer. Any thread. */
#ifndef BASE_STR_H
#define BASE_STR_H
#include <stdbool.h>
#include <string.h>
#include "mintd/plugin.h"

#define S(lit)  ((struct mintd_str){ (lit), sizeof(lit) - 1 })
#define SZ(cstr) str_of(cstr)
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define VEC(ptr, count) ((struct mintd_vec){ (ptr), (uint32_t)(count), (uint32_t)sizeof(*(ptr)) })

static inline struct mintd_str str_of(const char *c) { return (struct mintd_str){ c, c ? strlen(c) : 0 }; }
static inline bool str_eq(struct mintd_str a, struct mintd_str b) { return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n)); }
bool str_starts(struct mintd_str s, struct mintd_str prefix);
int  str_u64(struct mintd_str, uint64_t *ret);             /* decimal, whole string; 0, -EINVAL, -ERANGE */
bool str_utf8(struct mintd_str);                           /* well-formed UTF-8, no surrogates, no overlong */
unsigned str_distance(struct mintd_str a, struct mintd_str b);           /* edit distance, for did-you-mean; strings <= 64 */

/* Grows by doubling up to `max` (0: 1 GiB). A failed append sets `bad` and every later append is a no-op: check once. */
struct buf { char *p; size_t n, cap, max; bool bad; };
void buf_add(struct buf *, const void *p, size_t n);
void buf_str(struct buf *, struct mintd_str);
void buf_puts(struct buf *, const char *);
void buf_printf(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_json(struct buf *, struct mintd_str);             /* as a quoted, escaped JSON string; bad UTF-8 becomes U+FFFD */
void buf_hex(struct buf *, const void *p, size_t n);
void buf_free(struct buf *);                               /* frees, back to {0} (keeps max) */
static inline struct mintd_str buf_view(const struct buf *b) { return (struct mintd_str){ b->p, b->n }; }

void hex_encode(const void *p, size_t n, char *ret);       /* writes 2n lower-case digits, no terminator */
int  hex_decode(struct mintd_str, void *ret, size_t n);    /* exactly 2n digits, either case; 0, -EINVAL */
#endif
