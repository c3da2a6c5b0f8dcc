/* Whether a file or folder is in the store with everything below it. Nodes and the root are hashed; leaves further down are looked for at
 * their size. Workers. */
#include <stdlib.h>

#include "ipfs.h"

enum { DEPTH_MAX = 16, VISITS_MAX = 1 << 20 };

static int visit(struct walk *w, const struct cid *c, uint64_t size, uint32_t depth);

static int visit_links(struct walk *w, const uint8_t *p, size_t n, uint32_t depth)
{
    struct node node;
    struct unixfs ufs;
    if (node_read(p, n, &node) || unixfs_read(node.data, &ufs)) return -EPROTO;
    if (ufs.type == UFS_FILE && ufs.n_sizes != node.n_links) return -EPROTO;
    struct pb_link l, last = { .tsize = 0 };
    int r = 0;
    while (!r && link_next(&node.links, &l)) {
        if (cid_eq(&l.cid, &last.cid)) continue;           /* runs of one chunk, as in a file of zeros */
        r = visit(w, &l.cid, l.tsize, depth + 1);
        last = l;
    }
    return r;
}

static int visit(struct walk *w, const struct cid *c, uint64_t size, uint32_t depth)
{
    uint8_t *p = NULL;
    size_t n = 0;
    uint64_t found = 0;
    w->at = *c;
    if (depth > DEPTH_MAX || ++w->visits > VISITS_MAX) return -E2BIG;
    if (w->fs->host->canceled(w->op)) return -ECANCELED;
    if (c->codec == RAW && depth) {
        int r = flatfs_size(w->fs, c->digest, &found);
        return r ? r : found == size ? 0 : -EBADMSG;
    }
    int r = flatfs_get(w->fs, c->digest, &p, &n);
    if (!r && c->codec == DAG_PB) r = visit_links(w, p, n, depth);
    free(p);
    return r;
}

int walk_all(struct walk *w, const struct cid *root)
{
    w->visits = 0;
    return visit(w, root, 0, 0);
}
