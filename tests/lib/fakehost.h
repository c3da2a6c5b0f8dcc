/* A host for plugin tests: loads one .so from $MINTD_PLUGINS, runs its ops on the seeded loop and hands back deep copies, exactly
 * as the daemon would, without the daemon. WORKERS ops run as pool events of the seeded loop. One thread. */
#ifndef FAKEHOST_H
#define FAKEHOST_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/loop.h"
#include "base/str.h"
#include "mintd/plugin.h"

struct fh;                                                 /* a loop and its host table */
struct fh_inst { const struct mintd_plugin *desc; void *self; struct mintd_ctx *ctx; };
struct fh_opt { const char *name, *value; };               /* numbers already in base units; a list: the same name repeated */
struct fh_reply { struct mintd_outcome out; struct mintd_res res; uint64_t took_ms; struct arena *mem; };

struct fh *fh_new(uint64_t seed);
void  fh_free(struct fh *);                                /* asserts that the loop closes clean */
struct loop *fh_loop(struct fh *);
/* opts end with {NULL}. Options not given take the plugin's default (numbers, durations "5s" and sizes "1 MiB" are understood).
 * Returns create's result; -EINVAL also when check refused (text: fh_error). */
int   fh_create(struct fh *, const char *plugin, const struct fh_opt *opts, struct fh_inst *ret);
const char *fh_error(struct fh *);                         /* last opt_error as "name: why" */
void  fh_destroy(struct fh *, struct fh_inst *);
/* Runs fn until its done, at most 10 virtual minutes. arg: the op's own struct or NULL. The reply must be freed. */
struct fh_reply fh_call(struct fh *, struct fh_inst *, uint32_t op, const void *arg, uint32_t flags, struct mintd_vec rows);
void  fh_reply_free(struct fh_reply *);
/* Asynchronous form, for concurrency tests: *ret is filled at done; fh_run until *done. */
void  fh_call_async(struct fh *, struct fh_inst *, uint32_t op, const void *arg, uint32_t flags, struct mintd_vec rows,
                    struct fh_reply *ret, bool *done);
void  fh_run(struct fh *, const bool *until);
unsigned fh_logged(struct fh *, uint32_t level);           /* lines logged by plugins at this level or worse */
struct mintd_str fh_last_poke(struct fh *);
#endif
