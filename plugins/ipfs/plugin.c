/* ipfs: the descriptor, its options, and the two ends of an instance. Loop thread. */
#include <stdlib.h>

#include "ipfs.h"

static const struct mintd_opt opts[] = {
    { "backend", "enum", "local", "local", "where the blocks go: local, a folder in the layout of Kubo's flatfs", 0, 0, 0 },
    { "store", "path", "ipfs/blocks", NULL, "the folder of the blocks; made if it is missing", 0, 0, 0 },
    { "profile", "enum", "unixfs-v1-2025", "unixfs-v1-2025|unixfs-v0-2015", "how files are cut and addressed: v1 gives bafk... and bafy..., v0 the"
      " older Qm...; blobs that already have an address keep to it", 0, 0, 0 },
};

static const struct mintd_metric metrics[] = {
    [M_BLOCKS] = { "mintd_ipfs_blocks_written_total", NULL, "blocks written to the store; those already there do not count", 1 },
    [M_DAMAGED] = { "mintd_ipfs_blocks_damaged_total", NULL, "blocks whose bytes did not fit their address: look at the disk", 1 },
};

static const struct mintd_slug slugs[] = {
    { "ipfs.full", "free disk space: what waits goes on by itself" },
    { "ipfs.readonly", "make the folder writable for the daemon's user" },
    { "ipfs.io", "look at the disk and the kernel's log" },
    { "ipfs.memory", "out of memory or of open files" },
    { "ipfs.foreign", "the folder belongs to something else: name an empty one" },
    { "ipfs.sharding", "the store has another layout: name another folder, or convert it with Kubo's tools" },
    { "ipfs.uri", "a bug of the caller, or an address from elsewhere: this store holds SHA-256 blocks only" },
    { "ipfs.mismatch", "the content changed after its address was computed: submit it again as a new item" },
    { "ipfs.short", "the source changed while it was read: submit it again" },
    { "ipfs.too_large", "submit smaller files" },
    { "ipfs.source", "the spooled file cannot be read: look at the disk of the state directory" },
    { "ipfs.block", "the stored block is whole but no file: the address names something else" },
    { "ipfs.closed", "the instance is not started" },
    { "ipfs.canceled", "stopped before the end; repeating it is safe" },
};

static void destroy(void *self)
{
    struct ipfs *s = self;
    flatfs_close(s);
    free(s->path);
    free(s);
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret)
{
    struct mintd_str path = { NULL, 0 }, profile = { NULL, 0 };
    struct ipfs *s = calloc(1, sizeof *s);
    if (!s) return -ENOMEM;
    s->host = host;
    s->ctx = ctx;
    s->root = -1;
    s->path = host->opt_str(cfg, "store", 0, &path) ? NULL : strndup(path.p, path.n);
    bool old = !host->opt_str(cfg, "profile", 0, &profile) && profile.n == 14 && !memcmp(profile.p, "unixfs-v0-2015", 14);
    s->profile = old ? &profile_v0 : &profile_v1;
    if (!s->path) { destroy(s); return -ENOMEM; }
    *ret = s;
    return 0;
}

static const struct mintd_uploader_ops ops = { .size = sizeof ops, .identify = op_identify, .put = op_put, .check = op_check };

const struct mintd_plugin *mintd_plugin_v0(void)
{
    static const struct mintd_plugin plugin = {
        .magic = MINTD_MAGIC, .size = sizeof plugin, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .kind = MINTD_UPLOADER,
        .model = MINTD_WORKERS, .workers = 2, .flags = MINTD_SIMULABLE,
        .name = "ipfs", .version = "0.1.0", .summary = "metadata on IPFS, addresses computed here",
        .opts = ROWS(opts, LEN(opts)), .metrics = ROWS(metrics, LEN(metrics)), .slugs = ROWS(slugs, LEN(slugs)),
        .ops = &ops, .create = create, .start = op_start, .drain = op_drain, .destroy = destroy,
    };
    return &plugin;
}
