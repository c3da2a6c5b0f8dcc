/* The options of the core as tables of struct mintd_opt: names, types, defaults, ranges, help. Data only. Their comments for users
 * stand in conf/pipeline.cfg, conf/prod.cfg and docs/configuration.md; a test compares them. Any thread. */
#include "conf/conf_int.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR, KI = 1024, MI = 1024 * KI };

static const struct mintd_opt top[] = {
    { "name", "str", "mintd", NULL, "name of this instance: the holder of its lease; one per state folder", 0, 0, MINTD_RESTART },
    { "deployment", "str", NULL, NULL, "pinned name that item keys derive from; never changes once something was minted", 0, 0,
      MINTD_REQUIRED | MINTD_RESTART },
    { "state_dir", "path", "/var/lib/mintd", NULL, "folder of everything the daemon writes; relative to the main file", 0, 0, MINTD_RESTART },
    { "plugin_dir", "path", NULL, NULL, "folder of the plugin files; relative to the main file (default: where they were installed)", 0, 0,
      MINTD_RESTART },
    { "store", "str", NULL, NULL, "instance that keeps the books", 0, 0, MINTD_REQUIRED | MINTD_RESTART },
    { "migrate", "bool", "true", NULL, "apply the store's migrations at start", 0, 0, 0 },
    { "lease", "duration", "15s", NULL, "an instance that was silent for so long may be taken over", SECOND, 10 * MINUTE, MINTD_RESTART },
    { "drain", "duration", "10s", NULL, "SIGTERM: finish or park within this time", 0, HOUR, 0 },
    { "balance_check", "duration", "60s", NULL, "how often the wallets of the chains are looked at", 100, DAY, 0 },
    { "default_pipeline", "str", NULL, NULL, "pipeline of venues without one (default: the only pipeline)", 0, 0, 0 },
};
static const struct mintd_opt log_opts[] = {
    { "level", "enum", "info", "error|warn|info|debug", "least important record that is written", 0, 0, 0 },
    { "format", "enum", "text", "text|json", "one line of key=value pairs, or one JSON object, per record", 0, 0, 0 },
};
static const struct mintd_opt commit[] = {
    { "items", "int", "500", NULL, "group commit: flush at so many items' worth of steps", 1, 100000, 0 },
    { "delay", "duration", "5ms", NULL, "group commit: flush at the latest after this time", 0, SECOND, 0 },
};
static const struct mintd_opt intake[] = {
    { "slab", "size", "1 MiB", NULL, "streamed bodies: bytes of tickets stored at a time", 4 * KI, 4 * MI, 0 },
    { "memory", "size", "1 MiB", NULL, "a larger body is streamed into the store instead of held in memory", 0, 64 * MI, 0 },
};
static const struct mintd_opt listen[] = {
    { "address", "str", "127.0.0.1", NULL, "IP address to listen on", 0, 0, MINTD_RESTART },
    { "port", "int", "3018", NULL, "TCP port, 0: none", 0, 65535, MINTD_RESTART },
    { "unix", "path", NULL, NULL, "Unix socket to listen on as well; who may enter its folder administers without a key", 0, 0, MINTD_RESTART },
};
static const struct mintd_opt api[] = {
    { "auth", "bool", "true", NULL, "every route but health needs a key", 0, 0, 0 },
    { "admin_key", "secret", NULL, NULL, "the admin key (default: one is made in state_dir/admin.key)", 0, 0, 0 },
    { "key_secret", "secret", NULL, NULL, "what stored keys are hashed with, the same for all instances on one store (default: made in "
      "state_dir/key.secret)", 0, 0, MINTD_RESTART },
    { "sync_items", "int", "1000", NULL, "larger batches are answered with 202 at once", 0, 1000000, 0 },
    { "wait", "duration", "60s", NULL, "longest time a caller is kept waiting for the result", 0, HOUR, 0 },
    { "max_body", "size", "64 MiB", NULL, "largest request body", KI, 1024 * MI, 0 },
    { "max_ticket", "size", "64 KiB", NULL, "largest single ticket", KI, MI, 0 },
    { "max_items", "int", "100000", NULL, "most tickets in one request", 1, 16000000, 0 },
    { "max_connections", "int", "256", NULL, "open connections, all together", 1, 65535, 0 },
    { "max_connections_per_ip", "int", "64", NULL, "open connections from one address", 1, 65535, 0 },
    { "allow", "list:str", NULL, NULL, "networks that may ask, as in 10.0.0.0/8; health is answered to all (default: everyone)", 0, 0, 0 },
    { "proxies", "list:str", NULL, NULL, "networks of proxies that are believed about who asked them (X-Forwarded-For)", 0, 0, 0 },
    { "rate_read", "str", "60000/1m", NULL, "requests that only read, for each key or address; none: no limit", 0, 0, 0 },
    { "rate_mint", "str", "60000/1m", NULL, "requests that mint, for each key or address", 0, 0, 0 },
    { "rate_admin", "str", "6000/1m", NULL, "requests that administer, for each key or address", 0, 0, 0 },
    { "rate_wrong", "str", "60/1m", NULL, "keys that are not valid, from each address; behind it no key of that address is looked at", 0, 0, 0 },
    { "max_streams", "int", "128", NULL, "listeners of events at once, all together", 0, 65535, 0 },
    { "sse_heartbeat", "duration", "15s", NULL, "a sign of life to each listener of events this often", 100, HOUR, 0 },
    { "header_timeout", "duration", "10s", NULL, "a request's head must be complete by then", 100, 10 * MINUTE, 0 },
    { "idle_timeout", "duration", "60s", NULL, "a connection that is silent for so long is closed", SECOND, HOUR, 0 },
};
static const struct mintd_opt reconcile[] = {
    { "tolerance", "duration", "10m", NULL, "a block may be so far from the recorded time before it counts as a discrepancy", 0, DAY, 0 },
    { "settle", "duration", "1m", NULL, "a mint younger than this is not held against witnesses that do not show it yet", 0, DAY, 0 },
    { "rate", "int", "20", NULL, "questions to the chain per second, at most", 1, 1000, 0 },
};
static const struct mintd_opt instance[] = {
    { "plugin", "str", NULL, NULL, "plugin file without .so", 0, 0, MINTD_REQUIRED },
    { "workers", "int", "0", NULL, "private threads, 0: what the plugin suggests", 0, 64, 0 },
};
static const struct mintd_opt pipeline[] = {
    { "chain", "str", NULL, NULL, "chain instance", 0, 0, MINTD_REQUIRED },
    { "uploader", "str", NULL, NULL, "uploader instance", 0, 0, MINTD_REQUIRED },
    { "cache", "str", NULL, NULL, "cache instance", 0, 0, 0 },
    { "collection", "str", "{{venueId}}", NULL, "template of the collection's name", 0, 0, 0 },
    { "collection_spec", "str", "{}", NULL, "JSON object handed to the chain when it creates a collection", 0, 0, 0 },
    { "metadata", "str", NULL, NULL, "template of an item's metadata JSON (default: the built-in mapping)", 0, 0, 0 },
    { "recipient", "str", NULL, NULL, "owner of items whose ticket names none (default: the chain's)", 0, 0, 0 },
    { "min_balance", "str", "0.1", NULL, "warn when a wallet of the chain has less, in its coin: 12.5", 0, 0, 0 },
};
static const struct mintd_opt upload[] = {
    { "batch", "int", "250", NULL, "items per upload", 1, 10000, 0 },
    { "concurrency", "int", "4", NULL, "uploads in flight", 1, 256, 0 },
    { "gate", "enum", "accepted", "local|accepted|pinned|retrievable", "how safe the metadata must be before minting", 0, 0, 0 },
};
static const struct mintd_opt mint[] = {
    { "mode", "enum", "adaptive", "adaptive|fixed", "a window that finds its size, or waves of a constant size", 0, 0, 0 },
    { "batch", "int", "0", NULL, "items per transaction, 0: the chain's limit", 0, 10000, 0 },
    { "maxConcurrentWorkers", "int", "3", NULL, "fixed: transactions per wave", 1, 1000, 0 },
    { "batch_delay", "duration", "100ms", NULL, "fixed: pause between waves", 0, HOUR, 0 },
    { "window", "int", "16", NULL, "adaptive: transactions in flight at start", 1, 10000, 0 },
    { "window_max", "int", "200", NULL, "adaptive: transactions in flight at most", 1, 10000, 0 },
    { "fee_cap", "amount", "0", NULL, "most a transaction may cost, in the chain's smallest unit, 0: no cap", 0, 0, 0 },
    { "spend_cap", "amount", "0", NULL, "most the pipeline may spend per spend_window, 0: no cap", 0, 0, 0 },
    { "spend_window", "duration", "1d", NULL, "period of spend_cap", MINUTE, 20 * DAY, 0 },
    { "attempts", "int", "5", NULL, "transactions tried for the same items before they fail", 1, 1000, 0 },
    { "stop_on_error", "bool", "false", NULL, "one failed transaction cancels the rest of its request", 0, 0, 0 },
    { "broadcast_routes", "int", "3", NULL, "nodes that get the same transaction", 1, 64, 0 },
};
static const struct mintd_opt confirm[] = {
    { "poll", "duration", "0", NULL, "how often the chain is asked, 0: by its finality", 0, HOUR, 0 },
    { "quorum", "int", "0", NULL, "endpoints that must agree on a proof, 0: two, or one of one", 0, 64, 0 },
    { "proof_deadline", "duration", "30m", NULL, "neither final nor proved dead by then: quarantine", SECOND, 7 * DAY, 0 },
    { "rebroadcast", "duration", "2s", NULL, "the same bytes are sent again this often while they may land", 100, HOUR, 0 },
};
static const struct mintd_opt retry[] = {
    { "base", "duration", "500ms", NULL, "first pause after a failed call; doubles from then on", 1, HOUR, 0 },
    { "cap", "duration", "60s", NULL, "longest pause", 1, DAY, 0 },
    { "attempts", "int", "8", NULL, "tries of one step before its items fail", 1, 1000, 0 },
};
static const struct mintd_opt venue[] = {
    { "name", "str", NULL, NULL, "venueId as callers write it", 0, 0, MINTD_REQUIRED },
    { "pipeline", "str", NULL, NULL, "its pipeline", 0, 0, MINTD_REQUIRED },
};

#define TABLE(group, table) { group, table, ARRAY_LEN(table) }
const struct schema conf_schema[SCHEMA_COUNT] = {
    [SCHEMA_TOP] = TABLE("", top), [SCHEMA_LOG] = TABLE("log", log_opts), [SCHEMA_COMMIT] = TABLE("commit", commit),
    [SCHEMA_INTAKE] = TABLE("intake", intake), [SCHEMA_LISTEN] = TABLE("listen", listen), [SCHEMA_API] = TABLE("api", api),
    [SCHEMA_RECONCILE] = TABLE("reconcile", reconcile),
    [SCHEMA_INSTANCE] = TABLE("instances", instance), [SCHEMA_PIPELINE] = TABLE("pipelines", pipeline),
    [SCHEMA_UPLOAD] = TABLE("upload", upload), [SCHEMA_MINT] = TABLE("mint", mint), [SCHEMA_CONFIRM] = TABLE("confirm", confirm),
    [SCHEMA_RETRY] = TABLE("retry", retry), [SCHEMA_VENUE] = TABLE("venues", venue),
};
