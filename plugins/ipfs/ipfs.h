/* ipfs, inside: addresses, nodes, file trees, the block store, and what the files offer each other.
 *
 * cid.c, base.c, node.c, tree.c are pure and know nothing of the host. flatfs.c and walk.c touch the disk, on workers. Each op works with
 * memory of its own; an instance shares the fd of the store's folder and a counter, nothing else. */
#ifndef IPFS_IPFS_H
#define IPFS_IPFS_H
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mintd/plugin.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define STR(lit) ((struct mintd_str){ (lit), sizeof(lit) - 1 })
#define ROWS(ptr, count) ((struct mintd_vec){ (ptr), (uint32_t)(count), (uint32_t)sizeof(*(ptr)) })

enum { DIGEST = 32, CID_BYTES = 36, CID_TEXT = 64, BLOCK_MAX = 2 << 20, VARINT_MAX = 9 };
enum { RAW = 0x55, DAG_PB = 0x70 };
enum metric { M_BLOCKS, M_DAMAGED };

/* ---- cid.c. A CID with SHA-256; version 0 implies dag-pb. Compared by members, never as text. */
struct cid { uint8_t version, codec, digest[DIGEST]; };
bool cid_of(uint8_t version, uint8_t codec, const void *block, size_t n, struct cid *ret);    /* false: no memory for the hash */
bool cid_eq(const struct cid *, const struct cid *);
size_t cid_encode(const struct cid *, uint8_t ret[CID_BYTES]);                     /* number of bytes */
int  cid_decode(const uint8_t *p, size_t n, struct cid *ret);                      /* exactly n bytes; 0, -EINVAL */
size_t cid_print(const struct cid *, char ret[CID_TEXT]);                          /* base32, version 0 base58; NUL behind it */
int  cid_parse(struct mintd_str, struct cid *ret);                                 /* 0, -EINVAL */
size_t varint_put(uint8_t *to, uint64_t v);                                        /* number of bytes; v < 2^63 */
size_t varint_len(uint64_t v);
int  varint_get(const uint8_t **p, size_t *n, uint64_t *ret);                      /* shortest form only; 0, -EBADMSG */

/* ---- base.c. Number of characters or bytes written; decoding -EINVAL: a foreign character, loose bits, too long */
size_t base32_encode(const uint8_t *p, size_t n, const char *alphabet, char *ret);
extern const char base32_lower[], base32_upper[], base58_alphabet[], base36_alphabet[];
int  base32_decode(struct mintd_str, uint8_t *ret, size_t max);
int  base16_decode(struct mintd_str, uint8_t *ret, size_t max);
size_t radix_encode(const uint8_t *p, size_t n, const char *alphabet, char *ret);  /* n <= CID_BYTES */
int  radix_decode(struct mintd_str, const char *alphabet, uint8_t *ret, size_t max);

/* ---- node.c: dag-pb with UnixFS in it */
struct link { struct cid cid; uint64_t tsize, filesize; }; /* filesize: content bytes below */
size_t node_room(size_t data_n, size_t links_n);           /* no node_write needs more */
/* A file: its bytes (n_links 0), or its parts. Number of bytes. */
size_t node_write(uint8_t *to, const uint8_t *data, size_t data_n, const struct link *links, size_t n_links);
struct pb_link { struct cid cid; struct mintd_str name; uint64_t tsize; };
struct node { struct mintd_str data, links; uint32_t n_links; };       /* links: what link_next reads */
int  node_read(const uint8_t *p, size_t n, struct node *ret);          /* checks every link; 0, -EBADMSG */
bool link_next(struct mintd_str *rest, struct pb_link *ret);
enum { UFS_DIRECTORY = 1, UFS_FILE = 2, UFS_HAMT = 5 };
struct unixfs { uint64_t type, filesize, hash_type, fanout, sizes; struct mintd_str data; uint32_t n_sizes; };    /* sizes: sum */
int  unixfs_read(struct mintd_str, struct unixfs *ret);                /* 0, -EBADMSG */

/* ---- tree.c: a file as blocks */
struct profile { uint32_t chunk, width; uint8_t version; bool raw_leaves; };
extern const struct profile profile_v1, profile_v0;
struct source { const uint8_t *p; uint64_t n; int fd; };   /* p, or fd from its byte 0 on; fd -1: p */
struct sink { int (*block)(void *arg, const struct cid *, const uint8_t *p, size_t n); void *arg; };    /* block NULL: only the address */
/* Hands over every block, parts before wholes. 0, -ENODATA: the source is shorter than n, -ENOMEM, -errno of reading, what block said. */
int tree_build(const struct profile *, const struct source *, const struct sink *, struct link *ret);

/* ---- flatfs.c: the store on disk */
struct ipfs {
    const struct mintd_host *host;
    struct mintd_ctx *ctx;
    const struct profile *profile;
    char *path;
    int root;                                              /* -1: not started */
    char nonce[17];
    atomic_uint_fast64_t serial;                           /* of names for files in the making */
};
struct trouble { uint32_t cls; const char *slug; char msg[640]; };
bool trouble(struct trouble *, uint32_t cls, const char *slug, const char *fmt, ...) __attribute__((format(printf, 4, 5)));   /* false */
bool io_trouble(struct trouble *, const char *path, const char *what, int err);                                           /* false */

bool flatfs_open(struct ipfs *, struct trouble *);
void flatfs_close(struct ipfs *);
enum { BLOCK_PATH = 72, BATCH_FILES = 128, SHARDS = 1024 };
void flatfs_path(const uint8_t digest[DIGEST], char ret[BLOCK_PATH]);  /* "OJ/CIQ...OJY.data" */
/* The block, freed by the caller. 0, -ENOENT, -EBADMSG: not what its address says, -ENOMEM, -errno */
int  flatfs_get(struct ipfs *, const uint8_t digest[DIGEST], uint8_t **ret, size_t *ret_n);
int  flatfs_size(struct ipfs *, const uint8_t digest[DIGEST], uint64_t *ret);      /* 0, -ENOENT, -errno */

/* Blocks on their way to the disk. They are there for good after flatfs_commit, not before. */
struct pending { uint8_t digest[DIGEST]; int fd; char name[48]; };
struct batch {
    struct ipfs *fs;
    struct trouble t;
    uint32_t n;
    uint64_t written;
    bool made;                                             /* a shard's folder is new */
    uint8_t touched[SHARDS / 8];
    struct pending files[BATCH_FILES];
};
bool flatfs_put(struct batch *, const uint8_t digest[DIGEST], const uint8_t *p, size_t n);
bool flatfs_commit(struct batch *);
void flatfs_abandon(struct batch *);

/* ---- walk.c: is all of it there? */
struct walk { struct ipfs *fs; struct mintd_op *op; uint32_t visits; struct cid at; };     /* at: where it ended */
/* 0, -ENOENT, -EBADMSG: damaged, -EPROTO: a valid block that is no node, -E2BIG, -ECANCELED, -ENOMEM, -errno */
int walk_all(struct walk *, const struct cid *root);

/* ---- ops.c */
void op_start(void *self, struct mintd_op *, const struct mintd_req *);
void op_drain(void *self, struct mintd_op *, const struct mintd_req *);
void op_identify(void *self, struct mintd_op *, const struct mintd_req *);
void op_put(void *self, struct mintd_op *, const struct mintd_req *);
void op_check(void *self, struct mintd_op *, const struct mintd_req *);
#endif
