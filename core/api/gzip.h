/* Bodies made smaller (RFC 1952) on their way out: whole ones, and streams in little memory. Any thread. */
#ifndef API_GZIP_H
#define API_GZIP_H
#include <stdbool.h>
#include "base/str.h"

enum { GZIP_MIN = 1024, GZIP_WHOLE_MAX = 512 * 1024 };     /* smaller is not worth it; larger would hold the loop up */
bool gzip_whole(struct buf *body);                         /* replaces the body; false: left as it was */

struct gzip;
struct gzip *gzip_new(void);                               /* NULL: no memory */
int  gzip_add(struct gzip *, const void *p, size_t n, bool end, struct buf *to);           /* what is ready so far; 0, -ENOMEM */
struct gzip *gzip_free(struct gzip *);                     /* NULL ok */
#endif
