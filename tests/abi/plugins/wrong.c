/* A small cache plugin that is right, or wrong in exactly one way that the loader must name (WRONG_*). */
#include "mintd/plugin.h"

#define VEC(a) { (a), sizeof(a) / sizeof((a)[0]), sizeof((a)[0]) }
#ifndef WRONG_ENTRY
#define WRONG_ENTRY mintd_plugin_v0
#endif
#ifdef WRONG_NAME
#define NAME "cache-other"
#else
#define NAME WRONG_FILE
#endif

#define USED __attribute__((unused))                        /* each way leaves something out */

struct wrong { const struct mintd_host *host; };
static struct wrong self_is_constant;

static void op(void *self, struct mintd_op *o, const struct mintd_req *req)
{
    (void)self; (void)o; (void)req;
}

USED static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret_self)
{
    (void)host; (void)ctx; (void)cfg;
    *ret_self = &self_is_constant;
    return 0;
}

static void destroy(void *self) { (void)self; }

static const struct mintd_opt opts[] = {
#if defined WRONG_OPT_TYPE
    { "size", "bytes", "1 MiB", NULL, "how much", 0, 0, 0 },
#elif defined WRONG_OPT_NAME
    { "Size", "size", "1 MiB", NULL, "how much", 0, 0, 0 },
#elif defined WRONG_OPT_DEFAULT
    { "size", "size", "1 parsec", NULL, "how much", 0, 0, 0 },
#elif defined WRONG_OPT_ENUM
    { "size", "enum", "big", NULL, "how much", 0, 0, 0 },
#elif defined WRONG_OPT_SECRET
    { "size", "secret", "env:HOME", NULL, "how much", 0, 0, 0 },
#elif defined WRONG_OPT_HELP
    { "size", "size", "1 MiB", NULL, NULL, 0, 0, 0 },
#else
    { "size", "size", "1 MiB", NULL, "how much", 0, 0, MINTD_REQUIRED },
#endif
#ifdef WRONG_OPT_TWICE
    { "size", "size", "1 MiB", NULL, "how much", 0, 0, 0 },
#endif
    { "modes", "list:enum", "a,b", "a|b|c", "which", 0, 0, 0 },
};
static const struct mintd_metric metrics[] = {
#if defined WRONG_METRIC_NAME
    { "wrong_total", NULL, "Things.", 1 },
#elif defined WRONG_METRIC_TYPE
    { "mintd_wrong_total", NULL, "Things.", 4 },
#elif defined WRONG_METRIC_LABEL
    { "mintd_wrong_total", "instance", "Things.", 1 },
#else
    { "mintd_wrong_total", "place", "Things.", 1 },
#endif
#ifdef WRONG_METRIC_TWICE
    { "mintd_wrong_total", "place", "Things.", 1 },
#endif
};
static const struct mintd_slug slugs[] = {
#if defined WRONG_SLUG_FORM
    { "Wrong Slug", "help" },
#elif defined WRONG_SLUG_HELP
    { "wrong.slug", "" },
#else
    { "wrong.slug", "nothing to do" },
#endif
#ifdef WRONG_SLUG_TWICE
    { "wrong.slug", "nothing to do" },
#endif
};
USED static const struct mintd_cache_ops ops = { sizeof ops, 0, op, op,
#ifdef WRONG_NO_REQUIRED
    NULL,
#else
    op,
#endif
    op };

static const struct mintd_plugin desc = {
#ifdef WRONG_MAGIC
    .magic = 0x12345678,
#else
    .magic = MINTD_MAGIC,
#endif
#if defined WRONG_SIZE_HEAD
    .size = 8,
#elif defined WRONG_SIZE_SHORT
    .size = 40,
#else
    .size = sizeof desc,
#endif
#ifdef WRONG_MAJOR
    .abi_major = 7,
#endif
#ifdef WRONG_MINOR
    .abi_minor = 9, .need_minor = 9,
#endif
#ifdef WRONG_KIND
    .kind = MINTD_SIGNER,
#else
    .kind = MINTD_CACHE,
#endif
#ifdef WRONG_MODEL
    .model = 3,
#else
    .model = MINTD_WORKERS,
#endif
#ifdef WRONG_WORKERS
    .workers = 1000,
#else
    .workers = 2,
#endif
#ifdef WRONG_SERIAL
    .serial_ops = 0x10,
#endif
    .name = NAME,
#ifndef WRONG_NO_VERSION
    .version = "1.0",
#endif
    .summary = "is refused",
#ifdef WRONG_OPT_STRIDE
    .opts = { opts, 1, 0 },
#else
    .opts = VEC(opts),
#endif
    .metrics = VEC(metrics), .slugs = VEC(slugs),
#ifndef WRONG_NO_OPS
    .ops = &ops,
#endif
#ifndef WRONG_NO_CREATE
    .create = create,
#endif
    .destroy = destroy,
};

const struct mintd_plugin *WRONG_ENTRY(void);
#ifdef WRONG_NULL_DESC
const struct mintd_plugin *WRONG_ENTRY(void) { return desc.size ? NULL : &desc; }
#else
const struct mintd_plugin *WRONG_ENTRY(void) { return &desc; }
#endif
