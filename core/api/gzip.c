/* gzip: see gzip.h. Calls zlib. Any thread. */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include "api/gzip.h"

/* A stream keeps a window of 8 KiB and small tables: about 50 KiB in all, so that many may run. */
enum { LEVEL = 1, WINDOW_WHOLE = 15 + 16, WINDOW_STREAM = 13 + 16, MEMORY_WHOLE = 8, MEMORY_STREAM = 5, ROOM = 16 * 1024 };

struct gzip { z_stream z; };

static struct gzip *make(int window, int memory)
{
    struct gzip *g = calloc(1, sizeof *g);
    if (g && deflateInit2(&g->z, LEVEL, Z_DEFLATED, window, memory, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(g);
        g = NULL;
    }
    return g;
}

struct gzip *gzip_new(void) { return make(WINDOW_STREAM, MEMORY_STREAM); }

int gzip_add(struct gzip *g, const void *p, size_t n, bool end, struct buf *to)
{
    unsigned char room[ROOM];
    g->z.next_in = (z_const Bytef *)(uintptr_t)p;
    g->z.avail_in = (uInt)n;
    do {
        g->z.next_out = room;
        g->z.avail_out = sizeof room;
        if (deflate(&g->z, end ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) return -ENOMEM;
        buf_add(to, room, sizeof room - g->z.avail_out);
    } while (!g->z.avail_out);
    return to->bad ? -ENOMEM : 0;
}

struct gzip *gzip_free(struct gzip *g)
{
    if (g) deflateEnd(&g->z);
    free(g);
    return NULL;
}

bool gzip_whole(struct buf *body)
{
    struct buf small = { 0 };
    struct gzip *g = body->bad || body->n < GZIP_MIN || body->n > GZIP_WHOLE_MAX ? NULL : make(WINDOW_WHOLE, MEMORY_WHOLE);
    bool done = g && !gzip_add(g, body->p, body->n, true, &small) && small.n < body->n;
    gzip_free(g);
    if (!done) {
        buf_free(&small);
        return false;
    }
    buf_free(body);
    *body = small;
    return true;
}
