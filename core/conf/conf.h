/* Configuration: libconfig files -> one merged tree -> validated, typed settings, each with its origin (file:line, environment
 * or default). Owns the files' text, nothing else. Loop thread; no network; a conf is immutable and shared by reference.
 * Precedence: environment > conf.d > main file > default. Every mistake is reported as `file:line: message`, all of them at
 * once (up to 20), with a did-you-mean; a conf with one error is not returned.
 *
 * The same schema rows serve core and plugins: struct mintd_opt. Types and units: docs/configuration.md. */
#ifndef CONF_CONF_H
#define CONF_CONF_H
#include <stdbool.h>
#include <stdint.h>
#include "base/net.h"
#include "base/str.h"
#include "mintd/plugin.h"

/* Collected error lines. `text` is NUL-free, one line per error. */
struct conf_errors { struct buf text; uint32_t n; };
void conf_error(struct conf_errors *, const char *file, unsigned line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void conf_errors_free(struct conf_errors *);

/* ---- the schema machinery, used for core sections and for plugin options alike */
struct conf_section;               /* one group of the merged tree; lives as long as its conf */
struct conf_opts;                  /* one section checked against one table: typed, ranged, defaulted, secrets resolved */
/* Unknown names, bad types, ranges, missing required ones go to `errs`. section NULL: nothing was written, defaults apply.
 * secrets: false = only check the form of references (mintd -t without reading them is never used: -t reads them too). */
int  conf_opts_new(const struct conf_section *, const char *what, const struct mintd_opt *table, uint32_t n,
                   struct conf_errors *errs, struct conf_opts **ret);          /* 0, -EINVAL (errors added), -ENOMEM */
struct conf_opts *conf_opts_free(struct conf_opts *);                          /* wipes secrets; NULL ok */
/* As host->opt_str and host->opt_i64: 0, -ENOENT when unset or i beyond the list. Unknown name: abort (a bug of the caller). */
int  conf_opt_str(const struct conf_opts *, const char *name, uint32_t i, struct mintd_str *ret);
int  conf_opt_i64(const struct conf_opts *, const char *name, uint32_t i, int64_t *ret);
bool conf_opt_has(const struct conf_opts *, const char *name);                 /* written or defaulted */
void conf_opt_error(const struct conf_opts *, const char *name, const char *why, struct conf_errors *);   /* at its file:line */
bool conf_opts_equal(const struct conf_opts *, const struct conf_opts *, uint64_t flags_mask, const char **ret_first_diff);
/* each option as `name = value;  # origin` lines, secrets as "***" */
void conf_opts_print(const struct conf_opts *, struct buf *, int indent);
void conf_table_print(const struct mintd_opt *table, uint32_t n, bool json, struct buf *);   /* for --describe and docs */
void conf_describe(bool json, struct buf *);                                   /* every group of the core, as conf_table_print */
/* "250ms" "5s" "2h" "1d"; "64 KiB" "33 MB"; decimals with units of `choices`. 0, -EINVAL, -ERANGE */
int  conf_parse_duration(struct mintd_str, int64_t *ret_ms);
int  conf_parse_size(struct mintd_str, int64_t *ret_bytes);
int  conf_parse_amount(struct mintd_str, const char *choices, int64_t *ret);
/* "600/1m": so many in a period of 1s to 1d; "none": no limit, n 0. 0, -EINVAL */
struct conf_rate { uint32_t n; int64_t ms; };
int  conf_parse_rate(struct mintd_str, struct conf_rate *ret);

/* ---- the typed settings of the core; strings live as long as the conf */
struct conf_instance {
    struct mintd_str name, plugin;               /* "main", "store-sqlite" */
    uint32_t workers;                            /* 0: the plugin's default */
    const struct conf_section *opts;             /* NULL: none written */
    const char *file; unsigned line;
};
enum conf_mode { CONF_ADAPTIVE, CONF_FIXED };
struct conf_pipeline {
    struct mintd_str name, chain, uploader, cache;           /* instance names; cache may be empty */
    struct mintd_str collection;                 /* name template, default "{{venueId}}" */
    struct mintd_str collection_spec;            /* JSON given to the chain with the creation, default "{}" */
    struct mintd_str metadata;                   /* template text, empty: the built-in mapping */
    struct mintd_str recipient;                  /* owner of items whose ticket names none; empty: the chain's default */
    struct mintd_str min_balance;                /* decimal, in the coin of the chain: less than this in a wallet is a warning */
    /* upload */
    uint32_t upload_batch, upload_concurrency;   /* blobs per put; puts in flight */
    uint32_t gate;                               /* MINTD_LOCAL .. MINTD_FETCHED: level to reach before minting */
    /* mint */
    enum conf_mode mode;
    uint32_t batch;                              /* MAX_BATCH_SIZE: items per transaction, 0: the chain's limit */
    uint32_t max_workers;                        /* maxConcurrentWorkers: transactions per wave in fixed mode */
    int64_t  batch_delay_ms;                     /* BATCH_DELAY_MS: pause between waves in fixed mode */
    uint32_t window, window_max;                 /* adaptive: transactions in flight at start, and at most */
    uint64_t fee_cap;                            /* per transaction, smallest unit; 0: none */
    uint64_t spend_cap; int64_t spend_window_ms; /* per pipeline and window; 0: none */
    uint32_t attempts;                           /* budget of attempts per chunk before FAILED */
    bool     stop_on_error;                      /* one failed chunk cancels the rest of its request */
    uint32_t broadcast_routes;                   /* nodes that get the same bytes */
    /* confirm */
    int64_t  poll_ms;                            /* 0: from the chain's finality */
    uint32_t quorum;                             /* 0: 2 of n, 1 of 1 */
    int64_t  proof_deadline_ms;                  /* no proof by then: QUARANTINE */
    int64_t  rebroadcast_ms;
    /* retry */
    int64_t  retry_base_ms, retry_cap_ms; uint32_t retry_attempts;
    const char *file; unsigned line;
};
struct conf_venue { struct mintd_str name, pipeline; };
struct conf_api {
    struct mintd_str address; uint32_t port;     /* 127.0.0.1, 3018; port 0: none */
    struct mintd_str unix_path;                  /* empty: none */
    bool     auth; struct mintd_str admin_key;   /* empty: one is generated in state_dir/admin.key */
    struct mintd_str key_secret;                 /* stored keys are hashed with it; empty: generated in state_dir/key.secret */
    uint32_t sync_items; int64_t wait_ms;        /* larger batches, longer waits: 202 */
    int64_t  max_body, max_ticket; uint32_t max_items;       /* bytes, bytes of one ticket, tickets per request */
    uint32_t max_connections, max_connections_per_ip; int64_t header_ms, idle_ms;
    uint32_t max_streams; int64_t heartbeat_ms;  /* listeners of events; a sign of life to each this often */
    const struct net *allow, *proxies; uint32_t n_allow, n_proxies;      /* who may ask, 0: everyone; who is believed about others */
    struct conf_rate rate_read, rate_mint, rate_admin, rate_wrong;       /* per key or address; wrong: keys that are not valid, per address */
};
struct conf {
    const char *file;
    struct mintd_str name, deployment;           /* instance name of the lease; pinned name that item keys derive from */
    struct mintd_str state_dir, plugin_dir;      /* absolute, or relative to the main file's folder */
    uint32_t log_level; bool log_json;
    struct mintd_str store;                      /* instance name */
    bool     migrate;                            /* apply migrations at start */
    int64_t  lease_ms;                           /* lease time of the slot */
    int64_t  drain_ms;                           /* SIGTERM: at most this long */
    int64_t  balance_ms;                         /* between two looks at the wallets */
    uint32_t commit_items; int64_t commit_ms;    /* group commit: at so many items' worth, or after so long */
    int64_t  slab_bytes, intake_memory;          /* streamed intake: bytes per slab; a body above intake_memory is staged */
    struct conf_api api;
    int64_t  reconcile_tolerance_ms, reconcile_settle_ms; uint32_t reconcile_rate;   /* questions per second */
    struct mintd_str default_pipeline;
    const struct conf_instance *instances; uint32_t n_instances;
    const struct conf_pipeline *pipelines; uint32_t n_pipelines;
    const struct conf_venue *venues; uint32_t n_venues;
};

/* Reads file, then conf.d/ *.cfg beside it in name order, then the environment. 0, -EINVAL with errors, -errno with errors. */
int  conf_load(const char *file, struct conf_errors *, struct conf **ret);
struct conf *conf_ref(struct conf *);
struct conf *conf_unref(struct conf *);                                        /* returns NULL */
const struct conf_instance *conf_instance(const struct conf *, struct mintd_str name);     /* NULL: none */
const struct conf_pipeline *conf_pipeline(const struct conf *, struct mintd_str name);     /* NULL: none */
const struct conf_pipeline *conf_pipeline_of(const struct conf *, struct mintd_str named, struct mintd_str venue);
/* For commands that need one instance alone: forgets the others. Only before anyone else holds a reference. */
void conf_keep_instance(struct conf *, struct mintd_str name);
/* Where plugins are looked for when no configuration says it: MINTD_PLUGIN_DIR of the environment, else the built-in folder */
void conf_plugin_dir(char *ret, size_t n);
/* SIGHUP: refuses a changed top-level option that needs a restart (names, folders, store, lease). 0, -EINVAL with an error */
int  conf_check_reload(const struct conf *old, const struct conf *next, struct conf_errors *);
/* -T: effective values with origins. An instance's options appear as written: print only what plug_configure found right. */
void conf_print(const struct conf *, struct buf *);
/* The same for programs: objects {"name", "value", "origin"}, a comma before each but the first of an array. An instance's own options
 * are not among them: conf_opts_json has those. */
void conf_json(const struct conf *, struct buf *);
void conf_opts_json(const struct conf_opts *, const char *path, struct buf *);
#endif
