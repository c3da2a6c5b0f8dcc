/* dag-pb nodes and the UnixFS message in them, written in the one canonical form, read strictly. Pure. */
#include "ipfs.h"

enum { LINK_ROOM = 96 };                                   /* the longest link, its block size included, has 82 bytes */

/* ---- writing */
struct out { uint8_t *p; size_t n; };

static void put_byte(struct out *o, uint8_t b) { o->p[o->n++] = b; }
static void put_varint(struct out *o, uint64_t v) { o->n += varint_put(o->p + o->n, v); }

static void put_bytes(struct out *o, uint8_t tag, const void *p, size_t n)
{
    put_byte(o, tag);
    put_varint(o, n);
    if (n) memcpy(o->p + o->n, p, n);
    o->n += n;
}

static void put_number(struct out *o, uint8_t tag, uint64_t v)
{
    put_byte(o, tag);
    put_varint(o, v);
}

size_t node_room(size_t data_n, size_t links_n) { return data_n + links_n * LINK_ROOM + 64; }

/* The name is written although it is empty: every published address of a file depends on it. */
static void put_link(struct out *o, const struct link *l)
{
    uint8_t cid[CID_BYTES];
    size_t n = cid_encode(&l->cid, cid);
    put_number(o, 0x12, 1 + varint_len(n) + n + 2 + 1 + varint_len(l->tsize));
    put_bytes(o, 0x0a, cid, n);
    put_bytes(o, 0x12, NULL, 0);
    put_number(o, 0x18, l->tsize);
}

static size_t file_len(size_t data_n, const struct link *links, size_t n_links, uint64_t size)
{
    size_t n = 2 + 1 + varint_len(size);
    if (data_n) n += 1 + varint_len(data_n) + data_n;
    for (size_t i = 0; i < n_links; i++) n += 1 + varint_len(links[i].filesize);
    return n;
}

size_t node_write(uint8_t *to, const uint8_t *data, size_t data_n, const struct link *links, size_t n_links)
{
    struct out o = { to, 0 };
    uint64_t size = data_n;
    for (size_t i = 0; i < n_links; i++) {
        put_link(&o, &links[i]);
        size += links[i].filesize;
    }
    put_number(&o, 0x0a, file_len(data_n, links, n_links, size));
    put_number(&o, 0x08, UFS_FILE);
    if (data_n) put_bytes(&o, 0x12, data, data_n);
    put_number(&o, 0x18, size);
    for (size_t i = 0; i < n_links; i++) put_number(&o, 0x20, links[i].filesize);
    return o.n;
}

/* ---- reading */
struct in { const uint8_t *p; size_t n; };

static bool take_tag(struct in *in, uint8_t tag)
{
    if (!in->n || in->p[0] != tag) return false;
    in->p++, in->n--;
    return true;
}

static int take_bytes(struct in *in, struct mintd_str *ret)
{
    uint64_t n;
    if (varint_get(&in->p, &in->n, &n) || n > in->n) return -EBADMSG;
    *ret = (struct mintd_str){ (const char *)in->p, (size_t)n };
    in->p += n;
    in->n -= (size_t)n;
    return 0;
}

static int take_number(struct in *in, uint64_t *ret) { return varint_get(&in->p, &in->n, ret); }

static int link_read(struct mintd_str s, struct pb_link *ret)
{
    struct in in = { (const uint8_t *)s.p, s.n };
    struct mintd_str cid;
    *ret = (struct pb_link){ .name = { NULL, 0 } };
    if (!take_tag(&in, 0x0a) || take_bytes(&in, &cid) || cid_decode((const uint8_t *)cid.p, cid.n, &ret->cid)) return -EBADMSG;
    if (take_tag(&in, 0x12) && take_bytes(&in, &ret->name)) return -EBADMSG;
    if (take_tag(&in, 0x18) && take_number(&in, &ret->tsize)) return -EBADMSG;
    return in.n ? -EBADMSG : 0;
}

static int links_read(struct in *in, struct node *ret)
{
    const uint8_t *from = in->p;
    struct mintd_str s;
    struct pb_link l;
    while (take_tag(in, 0x12)) {
        if (take_bytes(in, &s) || link_read(s, &l)) return -EBADMSG;
        ret->n_links++;
    }
    ret->links = (struct mintd_str){ (const char *)from, (size_t)(in->p - from) };
    return 0;
}

/* Data stands behind the links; old writers put it before them. */
int node_read(const uint8_t *p, size_t n, struct node *ret)
{
    struct in in = { p, n };
    *ret = (struct node){ .n_links = 0 };
    bool first = take_tag(&in, 0x0a);
    if (first && take_bytes(&in, &ret->data)) return -EBADMSG;
    if (links_read(&in, ret)) return -EBADMSG;
    if (!first && take_tag(&in, 0x0a) && take_bytes(&in, &ret->data)) return -EBADMSG;
    return in.n ? -EBADMSG : 0;
}

bool link_next(struct mintd_str *rest, struct pb_link *ret)
{
    struct in in = { (const uint8_t *)rest->p, rest->n };
    struct mintd_str s;
    if (!take_tag(&in, 0x12) || take_bytes(&in, &s) || link_read(s, ret)) return false;
    *rest = (struct mintd_str){ (const char *)in.p, in.n };
    return true;
}

int unixfs_read(struct mintd_str s, struct unixfs *ret)
{
    struct in in = { (const uint8_t *)s.p, s.n };
    struct mintd_str mtime;
    uint64_t size, mode;
    *ret = (struct unixfs){ .type = 0 };
    if (!take_tag(&in, 0x08) || take_number(&in, &ret->type) || ret->type > UFS_HAMT) return -EBADMSG;
    if (take_tag(&in, 0x12) && take_bytes(&in, &ret->data)) return -EBADMSG;
    if (take_tag(&in, 0x18) ? take_number(&in, &ret->filesize) : ret->type == UFS_FILE) return -EBADMSG;
    for (; take_tag(&in, 0x20); ret->n_sizes++) {
        if (take_number(&in, &size) || size > UINT64_MAX / 2 - ret->sizes) return -EBADMSG;
        ret->sizes += size;
    }
    if (take_tag(&in, 0x28) && take_number(&in, &ret->hash_type)) return -EBADMSG;
    if (take_tag(&in, 0x30) && take_number(&in, &ret->fanout)) return -EBADMSG;
    if (take_tag(&in, 0x38) && take_number(&in, &mode)) return -EBADMSG;
    if (take_tag(&in, 0x42) && take_bytes(&in, &mtime)) return -EBADMSG;
    if (ret->type == UFS_FILE && ret->filesize != ret->sizes + ret->data.n) return -EBADMSG;
    return in.n ? -EBADMSG : 0;
}
