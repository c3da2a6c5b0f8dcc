/* An uploader that keeps nothing: the upload's share of a run is what the pipeline itself spends on it. An address is the SHA-256 of
 * the blob, so every promise of identity holds; put and check say at once that all of it is there. For measurements only. */
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mintd/plugin.h"

#define SCHEME "sha256:"
enum { SCHEME_LEN = sizeof SCHEME - 1, HEX = 2 * crypto_hash_sha256_BYTES, NO_MEMORY = -12 };

struct null { const struct mintd_host *host; };
struct row { struct mintd_stored row; char uri[SCHEME_LEN + HEX + 1]; };

static void answer(struct null *s, struct mintd_op *op, const struct mintd_req *req, uint32_t level, bool hash)
{
    uint32_t n = req->rows.n;
    struct row *rows = n ? s->host->scratch(op, n * sizeof *rows) : NULL;
    if (n && !rows) {
        static const char slug[] = "uploader.memory", msg[] = "out of memory";
        s->host->done(op, &(struct mintd_outcome){ .size = sizeof(struct mintd_outcome), .cls = MINTD_TRANSIENT,
            .slug = { slug, sizeof slug - 1 }, .msg = { msg, sizeof msg - 1 } }, NULL);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint8_t digest[crypto_hash_sha256_BYTES];
        struct mintd_blob b;
        mintd_row(req->rows, i, &b, sizeof b);
        rows[i].row = (struct mintd_stored){ .uri = b.uri, .level = level };
        if (!hash && b.uri.n) continue;
        crypto_hash_sha256(digest, (const uint8_t *)b.data.p, b.data.n);
        memcpy(rows[i].uri, SCHEME, SCHEME_LEN);
        sodium_bin2hex(rows[i].uri + SCHEME_LEN, HEX + 1, digest, sizeof digest);
        rows[i].row.uri = (struct mintd_str){ rows[i].uri, SCHEME_LEN + HEX };
    }
    s->host->done(op, NULL, &(struct mintd_res){ .size = sizeof(struct mintd_res), .rows = { rows, n, sizeof *rows } });
}

static void op_identify(void *self, struct mintd_op *op, const struct mintd_req *req) { answer(self, op, req, MINTD_LOCAL, true); }
static void op_put(void *self, struct mintd_op *op, const struct mintd_req *req) { answer(self, op, req, MINTD_ACCEPTED, false); }
static void op_check(void *self, struct mintd_op *op, const struct mintd_req *req) { answer(self, op, req, MINTD_ACCEPTED, false); }

static void op_life(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    (void)req;
    ((struct null *)self)->host->done(op, NULL, NULL);
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret)
{
    (void)ctx;
    (void)cfg;
    struct null *s = calloc(1, sizeof *s);
    if (!s) return NO_MEMORY;
    s->host = host;
    *ret = s;
    return 0;
}

static const struct mintd_uploader_ops ops = { .size = sizeof ops, .identify = op_identify, .put = op_put, .check = op_check };
static const struct mintd_slug slugs[] = { { "uploader.memory", "out of memory" } };

const struct mintd_plugin *mintd_plugin_v0(void)
{
    static const struct mintd_plugin plugin = {
        .magic = MINTD_MAGIC, .size = sizeof plugin, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .kind = MINTD_UPLOADER,
        .model = MINTD_LOOP, .name = "uploader-null", .version = "0.1.0", .summary = "keeps nothing, for measurements",
        .slugs = { slugs, 1, sizeof slugs[0] }, .ops = &ops, .create = create, .start = op_life, .drain = op_life, .destroy = free,
    };
    return &plugin;
}
