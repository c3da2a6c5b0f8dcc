/* See gunzip.h. Owns zlib's state. */
#include "api/gunzip.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

enum { WINDOW_GZIP = 15 + 16 };                /* the largest window, gzip's frame alone */
struct gunzip { z_stream z; bool between; };               /* behind a member */

struct gunzip *gunzip_new(void)
{
    struct gunzip *g = calloc(1, sizeof *g);
    if (g && inflateInit2(&g->z, WINDOW_GZIP) == Z_OK) return g;
    free(g);
    return NULL;
}

struct gunzip *gunzip_free(struct gunzip *g)
{
    if (g) inflateEnd(&g->z);
    free(g);
    return NULL;
}

bool gunzip_whole(const struct gunzip *g) { return g->between; }

int gunzip_feed(struct gunzip *g, const char *p, size_t n, char *out, size_t room, size_t *ret_used, size_t *ret_n)
{
    *ret_used = *ret_n = 0;
    if (g->between) {
        if (!n) return 0;
        if (inflateReset(&g->z) != Z_OK) return -EBADMSG;
        g->between = false;
    }
    g->z.next_in = (const Bytef *)p;
    g->z.avail_in = n < UINT_MAX ? (uInt)n : UINT_MAX;
    g->z.next_out = (Bytef *)out;
    g->z.avail_out = (uInt)room;
    uInt had = g->z.avail_in;
    int r = inflate(&g->z, Z_NO_FLUSH);
    *ret_used = had - g->z.avail_in;
    *ret_n = room - g->z.avail_out;
    g->between = r == Z_STREAM_END;
    if (r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR) return 0;      /* BUF_ERROR: nothing to do without more bytes or more room */
    return r == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}
