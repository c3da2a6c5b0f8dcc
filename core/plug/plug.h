/* Plugins: loading, handshake, the host table they see, op tickets, private workers. Owns instances, ops, deadlines.
 * Calls base/ and conf/ only. Loop thread, except what the host table allows plugins from their workers.
 *
 * An op: plug_call gives request memory (an arena) to the op; the plugin answers with one host->done; the answer is deep
 * copied (rows normalised to this host's struct sizes, so core code may index them as plain arrays) and handed to fn on a
 * later turn of the loop. Past the deadline the plugin is told; 5 s later the op is settled by the host (broadcast and commit:
 * AMBIGUOUS, else TRANSIENT, slug host.deadline), slot and memory kept until the late answer, which only counts. */
#ifndef PLUG_PLUG_H
#define PLUG_PLUG_H
#include "base/arena.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "mintd/plugin.h"

/* op numbers: place in the ops table of the kind, the two lifecycle ops apart */
enum { CHAIN_LIMITS, CHAIN_PREPARE, CHAIN_SEAL, CHAIN_BROADCAST, CHAIN_STATUS, CHAIN_INSPECT, CHAIN_LIST, CHAIN_FIND,
       CHAIN_ESTIMATE, CHAIN_WALLET };
enum { SIGNER_PUBLIC_KEYS, SIGNER_SIGN };
enum { UPLOADER_IDENTIFY, UPLOADER_PUT, UPLOADER_CHECK };
enum { CACHE_GET, CACHE_PUT, CACHE_DEL, CACHE_STATS };
enum { STORE_STAGE, STORE_COMMIT, STORE_CLAIM, STORE_QUERY, STORE_MIGRATE };
enum { PLUG_START = 62, PLUG_DRAIN = 63 };

/* ---- plugin files */
struct plug_file;                                /* one loaded .so; never unloaded */
/* Opens DIR/NAME.so after checking owner and mode; verifies magic, size, major, needed minor, kind and name (chain-local must be
 * kind chain, name "local"... name is the full "chain-local"). On failure *err is one line: file, found, needed, remedy. */
int  plug_file_load(const char *dir, struct mintd_str name, struct plug_file **ret, struct buf *err);   /* 0, -errno */
const struct mintd_plugin *plug_file_desc(const struct plug_file *);           /* copied to this host's size, NULLs where short */
void plug_file_describe(const struct plug_file *, bool json, struct buf *);   /* mintd --describe */
void plug_files_close(void);                     /* frees the records at exit, unloads nothing */

/* ---- instances */
struct plug;                                     /* the registry of one daemon */
struct plug_inst;
int  plug_new(struct loop *, struct plug **ret);
/* Loads, validates options, runs check for every instance of the conf, then create. Errors as file:line lines; nothing stays
 * created on failure. check_only: stops before create (mintd -t). */
int  plug_configure(struct plug *, const struct conf *, bool check_only, struct conf_errors *);
/* Compares a new conf with the running instances (SIGHUP). Refuses (errors) when an option marked MINTD_RESTART changed; else
 * creates second instances beside those whose options changed; plug_swap lets them take over, old ones drain and end by
 * themselves; plug_reload_abort drops them. */
int  plug_reload(struct plug *, const struct conf *, struct conf_errors *);
void plug_swap(struct plug *);
void plug_reload_abort(struct plug *);
/* Starts every instance, with backoff, until it works or is PERMANENT. fn(arg, 0 or -errno, line about the failure). A TRANSIENT
 * start failure keeps being retried and is shown by plug_unready. */
typedef void plug_started_fn(void *arg, int err, const char *why);
void plug_start(struct plug *, plug_started_fn *, void *arg);
/* How many instances have not started; one line "name: why" for each in *ret (NULL ok). */
uint32_t plug_unready(const struct plug *, struct buf *ret);
void plug_drain(struct plug *, loop_fn *, void *arg);       /* waits for live ops (bounded by their deadlines), drains, calls fn */
int  plug_free(struct plug *);                   /* destroys all; 0, or number of ops that never answered (leaks those) */
struct plug_inst *plug_find(struct plug *, struct mintd_str name);             /* NULL: none; stable across plug_swap */
struct mintd_str plug_name(const struct plug_inst *);
const char *plug_help(const struct plug_inst *, struct mintd_str slug);        /* what to do, as its plugin published; "" if nothing */
uint32_t plug_kind(const struct plug_inst *);
bool plug_offers(const struct plug_inst *, uint32_t op);
bool plug_ready(const struct plug_inst *);                   /* started */
bool plug_granted(const struct plug_inst *, struct mintd_str key);   /* "instance/key" is named by one of its `key` options */
/* The i-th key that its `key` options name, with the option's name. false: there is none. Both live as long as the instance. */
bool plug_key_at(const struct plug_inst *, uint32_t i, struct mintd_str *ret_option, struct mintd_str *ret_key);
/* facts of `start` as reported by the plugin (mintd_field rows) */
struct mintd_vec plug_facts(const struct plug_inst *);
void plug_on_poke(struct plug_inst *, void (*fn)(void *arg, struct mintd_str id), void *arg);   /* on the loop */
/* Every answer of the instance that is not OK, whoever asked, before the asker hears it; fn NULL: no more. */
void plug_on_failure(struct plug_inst *, void (*fn)(void *arg, const struct mintd_outcome *), void *arg);

/* ---- calls */
struct plug_reply {
    const struct mintd_outcome *out;             /* never NULL; an unknown class was already read as the rule says */
    const struct mintd_res *res;                 /* never NULL; rows in this host's struct size, 8-aligned */
    struct arena *mem;                           /* holds out and res; freed after fn unless fn takes it (set NULL) */
    uint64_t took_us;
};
typedef void plug_fn(void *arg, struct plug_reply *);
/* req lies in mem (or is static); mem is taken in any case and freed after the plugin's done. deadline_ms 0: the op's default.
 * fn is called exactly once, on a later turn, whatever happens (an instance that is not ready: TRANSIENT host.not_ready).
 * What fn's row type is: see the op tables in plugin.h. */
void plug_call(struct plug_inst *, uint32_t op, const struct mintd_req *req, struct arena *mem, uint64_t deadline_ms,
               plug_fn *fn, void *arg);
/* Convenience for the common shape: builds the request in mem. rows are not copied. */
void plug_call_rows(struct plug_inst *, uint32_t op, uint32_t flags, const void *op_arg, struct mintd_vec rows, struct arena *mem,
                    plug_fn *fn, void *arg);
uint32_t plug_in_flight(const struct plug_inst *);

/* ---- looking at instances (view.c) */
void plug_each(const struct plug *, void (*fn)(void *arg, struct plug_inst *), void *arg);
void plug_state_json(const struct plug_inst *, struct buf *);         /* {"name", "plugin", "version", "kind", "state", ...} */
void plug_describe_json(const struct plug_inst *, struct buf *);      /* as --describe --json, and "instance": its state */
void plug_options_json(const struct plug_inst *, struct buf *);       /* its effective options, as conf_json */
void plug_why(const struct plug_inst *, struct buf *);                /* why it is not ready; empty: it is */
int  plug_option(const struct plug_inst *, const char *name, struct mintd_str *ret);   /* a str or path; -ENOENT: none, or not set */
#endif
