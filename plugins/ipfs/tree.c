/* A file as a balanced tree of blocks: equal chunks, parents of at most `width` children, all leaves at one depth. Memory is one chunk, one
 * block and one row of links for each level, however large the file is. Pure but for reading its source. */
#include <stdlib.h>
#include <unistd.h>

#include "ipfs.h"

enum { LEVELS = 12 };

const struct profile profile_v1 = { 1 << 20, 1024, 1, true };
const struct profile profile_v0 = { 256 << 10, 174, 0, false };

struct tree {
    const struct profile *p;
    const struct source *from;
    const struct sink *sink;
    uint8_t *chunk, *block;
    struct { struct link *links; uint32_t n; } level[LEVELS];
};

static int emit(struct tree *t, uint8_t version, uint8_t codec, const uint8_t *p, size_t n, struct cid *ret)
{
    if (!cid_of(version, codec, p, n, ret)) return -ENOMEM;
    return t->sink->block ? t->sink->block(t->sink->arg, ret, p, n) : 0;
}

static uint8_t *block_buffer(struct tree *t)
{
    size_t leaf = node_room(t->p->chunk, 0), inner = node_room(0, t->p->width);
    if (!t->block) t->block = malloc(leaf > inner ? leaf : inner);
    return t->block;
}

/* ---- from below */
static int push(struct tree *t, uint32_t at, const struct link *l);

static int fold(struct tree *t, uint32_t at)
{
    struct link *links = t->level[at].links, parent = { .tsize = 0 };
    uint32_t n = t->level[at].n;
    uint8_t *block = block_buffer(t);
    if (!block) return -ENOMEM;
    size_t len = node_write(block, NULL, 0, links, n);
    parent.tsize = len;
    for (uint32_t i = 0; i < n; i++) {
        parent.tsize += links[i].tsize;
        parent.filesize += links[i].filesize;
    }
    t->level[at].n = 0;
    int r = emit(t, t->p->version, DAG_PB, block, len, &parent.cid);
    return r ? r : push(t, at + 1, &parent);
}

static int push(struct tree *t, uint32_t at, const struct link *l)
{
    if (at == LEVELS) return -EFBIG;
    if (!t->level[at].links) t->level[at].links = calloc(t->p->width, sizeof *l);
    if (!t->level[at].links) return -ENOMEM;
    t->level[at].links[t->level[at].n++] = *l;
    return t->level[at].n == t->p->width ? fold(t, at) : 0;
}

/* The last group of each level, also one of a single node, gets its parent; the one node of the top level is the file. */
static int finish(struct tree *t, struct link *ret)
{
    for (uint32_t at = 0; at < LEVELS; at++) {
        bool top = at + 1 == LEVELS || !t->level[at + 1].links;
        if (top && t->level[at].n == 1) { *ret = t->level[at].links[0]; return 0; }
        int r = t->level[at].n ? fold(t, at) : 0;
        if (r) return r;
    }
    return -EFBIG;
}

/* ---- the leaves */
static int read_fd(struct tree *t, uint64_t at, size_t n)
{
    if (!t->chunk) t->chunk = malloc(t->p->chunk);
    if (!t->chunk) return -ENOMEM;
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(t->from->fd, t->chunk + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) return r ? -errno : -ENODATA;
        got += (size_t)r;
    }
    return 0;
}

static int leaf(struct tree *t, const uint8_t *p, size_t n, struct link *ret)
{
    *ret = (struct link){ .tsize = n, .filesize = n };
    if (t->p->raw_leaves) return emit(t, 1, RAW, p, n, &ret->cid);
    uint8_t *block = block_buffer(t);
    if (!block) return -ENOMEM;
    ret->tsize = node_write(block, p, n, NULL, 0);
    return emit(t, t->p->version, DAG_PB, block, ret->tsize, &ret->cid);
}

static int one_chunk(struct tree *t, uint64_t at, struct link *ret)
{
    uint64_t left = t->from->n - at;
    size_t n = left < t->p->chunk ? (size_t)left : t->p->chunk;
    int r = t->from->fd >= 0 ? read_fd(t, at, n) : 0;
    if (r) return r;
    return leaf(t, t->from->fd >= 0 ? t->chunk : n ? t->from->p + at : (const uint8_t *)"", n, ret);
}

static int all_chunks(struct tree *t, struct link *ret)
{
    struct link l;
    if (t->from->n <= t->p->chunk) return one_chunk(t, 0, ret);
    for (uint64_t at = 0; at < t->from->n; at += t->p->chunk) {
        int r = one_chunk(t, at, &l);
        if (!r) r = push(t, 0, &l);
        if (r) return r;
    }
    return finish(t, ret);
}

int tree_build(const struct profile *p, const struct source *from, const struct sink *sink, struct link *ret)
{
    struct tree t = { .p = p, .from = from, .sink = sink };
    int r = all_chunks(&t, ret);
    for (uint32_t i = 0; i < LEVELS; i++) free(t.level[i].links);
    free(t.chunk);
    free(t.block);
    return r;
}
