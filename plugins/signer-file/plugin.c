/* signer-file: the descriptor, its options, and the two ends of an instance. Loop thread. */
#include <stdlib.h>

#include "signer.h"

static const struct mintd_opt opts[] = {
    { "dir", "path", "keys", NULL, "folder of the key files; only the daemon's user or root may write there", 0, 0, 0 },
    { "keys", "list:str", NULL, NULL, "names of the keys; NAME is read from one of the files NAME, NAME.key, NAME.json, NAME.pem (mode 0600)"
      " as 32 raw bytes, 64 hex digits, a JSON array of 64 numbers or PEM with PKCS#8", 0, 0, MINTD_REQUIRED },
    { "generate", "bool", "false", NULL, "make keys that are missing (file NAME.key, hex) and log their public halves", 0, 0, 0 },
};

static const struct mintd_slug slugs[] = {
    { "signer.no_key", "name this key in the option keys of the signer, or correct the name where it is used" },
    { "signer.scheme", "this signer holds Ed25519 keys only: give the chain a key of a signer for its scheme" },
    { "signer.missing", "put the key's file into the folder, or set generate" },
    { "signer.several", "keep one file of each key" },
    { "signer.dir", "name the folder of the keys, or set generate so that it is made" },
    { "signer.permissions", "chown and chmod as the text says: a key that others can read is no secret" },
    { "signer.file", "put a regular file in its place" },
    { "signer.size", "name a key file: this one is too large to be one" },
    { "signer.format", "put a whole key file in its place; no key was changed" },
    { "signer.mismatch", "restore the file from its copy: half of it belongs to another key" },
    { "signer.io", "look at the disk and the permissions of the path in the text" },
    { "signer.busy", "wait: another process makes keys in the same folder" },
    { "signer.memory", "free memory, or raise the limit of locked memory" },
    { "signer.closed", "the instance is not started" },
    { "signer.canceled", "stopped before an answer" },
};

static const struct mintd_metric metrics[] = {
    [M_SIGNATURES] = { "mintd_signer_file_signatures_total", NULL, "signatures made", 1 },
};

static bool name_ok(struct mintd_str s)
{
    if (!s.n || s.n > NAME_MAX_LEN || s.p[0] == '.') return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) return false;
    }
    return true;
}

static int check(const struct mintd_host *host, const struct mintd_cfg *cfg)
{
    struct mintd_str name, other;
    uint32_t n = 0;
    const char *why = NULL;
    for (; !why && !host->opt_str(cfg, "keys", n, &name); n++) {
        if (!name_ok(name)) why = "a name of a key has 1 to 64 letters, digits, - _ . and does not begin with a dot";
        if (n == KEYS_MAX) why = "at most 256 keys";
        for (uint32_t i = 0; i < n && !host->opt_str(cfg, "keys", i, &other); i++)
            if (other.n == name.n && !memcmp(other.p, name.p, name.n)) why = "names a key twice";
    }
    if (!n) why = "names no key";
    if (why) host->opt_error(cfg, "keys", why);
    return why ? -EINVAL : 0;
}

static void destroy(void *self)
{
    struct signer *s = self;
    signer_forget(s);
    free(s->keys);
    free(s->dir);
    free(s);
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret)
{
    struct mintd_str s = { NULL, 0 };
    int64_t on = 0;
    struct signer *self = calloc(1, sizeof *self);
    if (!self) return -ENOMEM;
    self->host = host;
    self->ctx = ctx;
    self->dir = host->opt_str(cfg, "dir", 0, &s) ? NULL : strndup(s.p, s.n);
    self->generate = !host->opt_i64(cfg, "generate", 0, &on) && on;
    while (!host->opt_str(cfg, "keys", self->n, &s)) self->n++;
    self->keys = calloc(self->n, sizeof *self->keys);
    if (!self->dir || !self->keys) { destroy(self); return -ENOMEM; }
    for (uint32_t i = 0; i < self->n; i++)
        if (!host->opt_str(cfg, "keys", i, &s)) memcpy(self->keys[i].name, s.p, s.n < NAME_MAX_LEN ? s.n : NAME_MAX_LEN);
    *ret = self;
    return 0;
}

static const struct mintd_signer_ops ops = { .size = sizeof ops, .public_keys = op_public_keys, .sign = op_sign };

const struct mintd_plugin *mintd_plugin_v0(void)
{
    static const struct mintd_plugin plugin = {
        .magic = MINTD_MAGIC, .size = sizeof plugin, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .kind = MINTD_SIGNER,
        .model = MINTD_WORKERS, .workers = 1, .serial_ops = 1 << 0 | 1 << 1, .flags = MINTD_SIMULABLE,
        .name = "signer-file", .version = "0.1.0", .summary = "Ed25519 keys from files, kept in guarded memory",
        .opts = ROWS(opts, LEN(opts)), .metrics = ROWS(metrics, LEN(metrics)), .slugs = ROWS(slugs, LEN(slugs)),
        .ops = &ops, .check = check, .create = create, .start = op_start, .drain = op_drain, .destroy = destroy,
    };
    return &plugin;
}
