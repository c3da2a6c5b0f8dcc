/* store-sqlite: the descriptor, its options, and the two ends of an instance. Loop thread. */
#include <stdlib.h>

#include "store.h"

static const struct mintd_opt opts[] = {
    { "path", "path", NULL, NULL, "the database file; its folder must exist and be writable (-wal and -shm files appear beside it)",
      0, 0, MINTD_REQUIRED | MINTD_RESTART },
    { "backup", "path", NULL, NULL, "where `mintd backup` writes the online copy", 0, 0, 0 },
    { "busy_timeout", "duration", "10s", NULL, "how long to wait for another process that writes", 0, 600000, 0 },
    { "cache", "size", "8 MiB", NULL, "page cache of the writing connection; each reading one takes a quarter of it", 1 << 20, (int64_t)1 << 40, 0 },
    { "wal_limit", "size", "64 MiB", NULL, "the write-ahead log is cut to this size after a checkpoint", 1 << 20, (int64_t)1 << 40, 0 },
    { "checkpoint_pages", "int", "2000", NULL, "pages in the log that start a checkpoint", 100, 1000000, 0 },
    { "max_size", "size", NULL, NULL, "largest size of the database; unset: the disk decides", 1 << 20, (int64_t)1 << 46, 0 },
    { "verify", "bool", "false", NULL, "check every page at start (slow on a large database)", 0, 0, 0 },
    { "repair_triggers", "bool", "false", NULL, "start although triggers are missing or changed, so that a migration makes them anew", 0, 0, 0 },
};

static const struct mintd_metric metrics[] = {
    [M_COMMITS] = { "mintd_store_sqlite_commits_total", NULL, "transactions committed by the op commit", 1 },
    [M_GROUPS] = { "mintd_store_sqlite_groups_total", NULL, "groups in them", 1 },
    [M_COMMIT_MS] = { "mintd_store_sqlite_commit_seconds", NULL, "time of a commit, its sync included", 3 },
    [M_WAL_PAGES] = { "mintd_store_sqlite_wal_pages", NULL, "pages in the write-ahead log after the last commit", 2 },
    [M_REAPED] = { "mintd_store_sqlite_reaped_requests_total", NULL, "unsealed requests that were dropped", 1 },
};

static const struct mintd_slug slugs[] = {
    { "store.fenced", "another process holds this slot, or the request is no longer open: the process must stop writing" },
    { "store.schema", "run `mintd migrate`, or a version of mintd that knows this schema" },
    { "store.newer_schema", "the database was written by a newer mintd: use that version" },
    { "store.triggers", "triggers are missing or changed: look who did it, then set repair_triggers and run `mintd migrate`" },
    { "store.foreign", "the file belongs to another program: name another path" },
    { "store.corrupt", "restore the last backup; keep the damaged file" },
    { "store.path", "make the folder, or name a file that can be opened" },
    { "store.readonly", "make the file and its folder writable for the daemon's user" },
    { "store.full", "free disk space or raise max_size: nothing accepted is lost, work goes on by itself" },
    { "store.io", "look at the disk and the kernel's log" },
    { "store.broken", "a sync failed: look at the disk, then restart" },
    { "store.busy", "another process wrote for longer than busy_timeout" },
    { "store.open", "the file could not be opened now: usually too many open files" },
    { "store.closed", "the instance is not started" },
    { "store.canceled", "stopped before anything was written" },
    { "store.no_memory", "out of memory" },
    { "store.refused", "a rule of the database stopped a wrong change: report it with the text" },
    { "store.bad_request", "a bug of the caller: report it with the text" },
    { "store.sqlite", "an error of SQLite that has no name here: report it with the code" },
    { "store.no_backup", "set the option backup" },
    { "store.backup", "the copy could not be written: the text says where" },
};

static int check(const struct mintd_host *host, const struct mintd_cfg *cfg)
{
    struct mintd_str path, backup;
    if (host->opt_str(cfg, "path", 0, &path) || host->opt_str(cfg, "backup", 0, &backup)) return 0;
    if (path.n != backup.n || memcmp(path.p, backup.p, path.n)) return 0;
    host->opt_error(cfg, "backup", "is the database itself");
    return -EINVAL;
}

static int64_t number(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name)
{
    int64_t v = 0;
    return host->opt_i64(cfg, name, 0, &v) ? 0 : v;
}

static char *text(const struct mintd_host *host, const struct mintd_cfg *cfg, const char *name)
{
    struct mintd_str s;
    return host->opt_str(cfg, name, 0, &s) ? NULL : strndup(s.p, s.n);
}

static void destroy(void *self)
{
    struct store *s = self;
    store_close(s);
    free(s->path);
    free(s->backup);
    free(s);
}

static int create(const struct mintd_host *host, struct mintd_ctx *ctx, const struct mintd_cfg *cfg, void **ret)
{
    struct mintd_str backup;
    struct store *s = calloc(1, sizeof *s);
    if (!s) return -ENOMEM;
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);            /* counting its memory takes a lock at each allocation; refused once in use */
    s->host = host;
    s->ctx = ctx;
    s->path = text(host, cfg, "path");
    s->backup = text(host, cfg, "backup");
    s->busy_ms = number(host, cfg, "busy_timeout");
    s->cache_bytes = number(host, cfg, "cache");
    s->wal_limit = number(host, cfg, "wal_limit");
    s->max_bytes = number(host, cfg, "max_size");
    s->checkpoint_pages = number(host, cfg, "checkpoint_pages");
    s->verify = number(host, cfg, "verify");
    s->repair = number(host, cfg, "repair_triggers");
    if (!s->path || (!s->backup && !host->opt_str(cfg, "backup", 0, &backup))) { destroy(s); return -ENOMEM; }
    *ret = s;
    return 0;
}

static const struct mintd_store_ops ops = { .size = sizeof ops, .stage = op_stage, .commit = op_commit, .claim = op_claim,
    .query = op_query, .migrate = op_migrate };

const struct mintd_plugin *mintd_plugin_v0(void)
{
    static const struct mintd_plugin plugin = {
        .magic = MINTD_MAGIC, .size = sizeof plugin, .abi_major = MINTD_ABI_MAJOR, .abi_minor = MINTD_ABI_MINOR, .kind = MINTD_STORE,
        .model = MINTD_WORKERS, .workers = 3, .serial_ops = 1 << 0 | 1 << 1 | 1 << 2, .flags = MINTD_SIMULABLE,
        .name = "store-sqlite", .version = "0.1.0", .summary = "the books in one SQLite database file",
        .opts = ROWS(opts, LEN(opts)), .metrics = ROWS(metrics, LEN(metrics)), .slugs = ROWS(slugs, LEN(slugs)),
        .ops = &ops, .check = check, .create = create, .start = op_start, .drain = op_drain, .destroy = destroy,
    };
    return &plugin;
}
