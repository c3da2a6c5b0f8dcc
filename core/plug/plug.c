/* The registry of a daemon's instances: configure, reload, start, drain, free. Owns the instances and their contexts.
 * Calls conf/ and base/. Loop thread. */
#include "plug/plug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "plug/inst.h"

#define INST(l) LIST_OF(l, struct plug_inst, link)
#define EACH_INST(it, p) LIST_EACH(it, &(p)->insts)

int plug_new(struct loop *loop, struct plug **ret)
{
    struct plug *p = calloc(1, sizeof *p);
    if (!p) return -ENOMEM;
    *p = (struct plug){ .loop = loop, .thread = pthread_self() };
    list_init(&p->insts);
    list_init(&p->retired);
    plug_metrics_register();
    *ret = p;
    return 0;
}

/* ---- instances */
static struct plug_inst *inst_of(struct plug *p, struct mintd_str name)
{
    EACH_INST(it, p)
        if (str_eq(SZ(INST(it)->name), name)) return INST(it);
    return NULL;
}

static struct plug_inst *inst_new(struct plug *p, struct mintd_str name, struct plug_file *file)
{
    struct plug_inst *inst = calloc(1, sizeof *inst);
    char *copy = inst ? strndup(name.p, name.n) : NULL;
    if (!copy) { free(inst); return NULL; }
    *inst = (struct plug_inst){ .plug = p, .name = copy, .file = file };
    list_add(&p->insts, &inst->link);
    return inst;
}

static uint32_t inst_free(struct plug_inst *inst)
{
    uint32_t left = ctx_destroy(inst->cur) + ctx_destroy(inst->taking) + ctx_destroy(inst->next);
    list_del(&inst->link);
    if (left) return left;                                  /* its contexts still name it */
    free(inst->name);
    free(inst);
    return 0;
}

static void no_memory(struct conf_errors *errs, const struct conf_instance *ci)
{
    conf_error(errs, ci->file, ci->line, "instance \"" STR_FMT "\": out of memory", STR_ARG(ci->name));
}

/* ---- configure */
static int load_one(struct plug *p, const struct conf *conf, const struct conf_instance *ci, struct conf_errors *errs,
                    struct mintd_ctx **ret)
{
    struct plug_file *file;
    struct buf err = { 0 };
    char dir[4096];
    snprintf(dir, sizeof dir, STR_FMT, STR_ARG(conf->plugin_dir));
    int r = plug_file_load(dir, ci->plugin, &file, &err);
    if (r == -ENOMEM) no_memory(errs, ci);
    else if (r) conf_error(errs, ci->file, ci->line, "instance \"" STR_FMT "\": " STR_FMT, STR_ARG(ci->name), STR_ARG(buf_view(&err)));
    buf_free(&err);
    if (!r) r = ctx_new(p, conf, ci, file, errs, ret);
    return r;
}

static void drop_all(struct mintd_ctx **ctxs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) ctx_destroy(ctxs[i]);
    free(ctxs);
}

static int load_all(struct plug *p, const struct conf *conf, struct conf_errors *errs, struct mintd_ctx ***ret)
{
    struct mintd_ctx **ctxs = calloc(conf->n_instances + 1, sizeof *ctxs);
    if (!ctxs) return -ENOMEM;
    int failed = 0;
    for (uint32_t i = 0; i < conf->n_instances; i++) {
        int r = load_one(p, conf, &conf->instances[i], errs, &ctxs[i]);
        if (r) failed = r;                                  /* go on: all mistakes are shown at once */
    }
    if (failed) drop_all(ctxs, conf->n_instances);
    else *ret = ctxs;
    return failed;
}

static void drop_insts(struct plug *p)
{
    EACH_INST(it, p) p->leaked += inst_free(INST(it));
}

static int create_all(struct plug *p, const struct conf *conf, struct mintd_ctx **ctxs, struct conf_errors *errs)
{
    int failed = 0;
    for (uint32_t i = 0; i < conf->n_instances && !failed; i++) {
        struct plug_inst *inst = inst_new(p, conf->instances[i].name, ctxs[i]->file);
        if (!inst) { no_memory(errs, &conf->instances[i]); failed = -ENOMEM; break; }
        inst->cur = ctxs[i];
        ctxs[i] = NULL;
        failed = ctx_create(inst->cur, inst, errs);
    }
    if (failed) drop_insts(p);
    return failed;
}

int plug_configure(struct plug *p, const struct conf *conf, bool check_only, struct conf_errors *errs)
{
    struct mintd_ctx **ctxs;
    int r = load_all(p, conf, errs, &ctxs);
    if (r) return r;
    if (!check_only) r = create_all(p, conf, ctxs, errs);
    drop_all(ctxs, conf->n_instances);
    return r;
}

/* ---- reload */
static int refuse_change(const struct conf_instance *ci, struct conf_errors *errs, const char *what)
{
    conf_error(errs, ci->file, ci->line, "instance \"" STR_FMT "\": a change of %s needs a restart", STR_ARG(ci->name), what);
    return -EINVAL;
}

/* 1: same settings, 0: changed, -EINVAL: changed in a way that only a restart can follow */
static int compare(const struct plug_inst *inst, const struct mintd_ctx *now, const struct conf_instance *ci, struct conf_errors *errs)
{
    const struct mintd_ctx *was = inst->taking ? inst->taking : inst->cur;
    const char *first = "";
    if (was->file != now->file) return refuse_change(ci, errs, "plugin");
    if (!conf_opts_equal(was->cfg.opts, now->cfg.opts, MINTD_RESTART, &first)) return refuse_change(ci, errs, first);
    return was->workers == now->workers && conf_opts_equal(was->cfg.opts, now->cfg.opts, 0, &first);
}

static int reload_one(struct plug *p, struct mintd_ctx **ctx, const struct conf_instance *ci, struct conf_errors *errs)
{
    struct plug_inst *inst = inst_of(p, ci->name);
    int same = inst && inst->cur ? compare(inst, *ctx, ci, errs) : 0;
    if (same < 0) return same;
    if (inst) inst->dropped = false;
    if (same) return 0;
    if (!inst) inst = inst_new(p, ci->name, (*ctx)->file);
    if (!inst) { no_memory(errs, ci); return -ENOMEM; }
    inst->next = *ctx;
    *ctx = NULL;
    return ctx_create(inst->next, inst, errs);
}

int plug_reload(struct plug *p, const struct conf *conf, struct conf_errors *errs)
{
    struct mintd_ctx **ctxs;
    plug_reload_abort(p);
    int r = load_all(p, conf, errs, &ctxs);
    if (r) return r;
    EACH_INST(it, p) INST(it)->dropped = true;
    for (uint32_t i = 0; i < conf->n_instances; i++) {
        int q = reload_one(p, &ctxs[i], &conf->instances[i], errs);
        if (q) r = q;
    }
    drop_all(ctxs, conf->n_instances);
    if (r) plug_reload_abort(p);
    return r;
}

void plug_reload_abort(struct plug *p)
{
    EACH_INST(it, p) {
        struct plug_inst *inst = INST(it);
        ctx_destroy(inst->next);
        inst->next = NULL;
        inst->dropped = false;
        if (!inst->cur && !inst->gone) inst_free(inst);
    }
}

static void swap_one(struct plug_inst *inst)
{
    struct mintd_ctx *next = inst->next, *taking = inst->taking, *cur = inst->cur;
    bool takes_over = next && cur && cur->state != CTX_FAILED;
    inst->next = NULL;
    if (!next && !inst->dropped) return;
    inst->taking = takes_over ? next : NULL;
    if (!takes_over) inst->cur = next;
    inst->gone = inst->dropped;
    if (next) { inst->gone = false; inst->file = next->file; }
    inst->dropped = false;
    if (taking) ctx_retire(taking);
    if (cur && !takes_over) ctx_retire(cur);
    if (next) ctx_start(next);
}

void plug_swap(struct plug *p)
{
    EACH_INST(it, p) swap_one(INST(it));
}

/* ---- start and drain */
static void tell_started(struct plug *p, int err, const char *why)
{
    plug_started_fn *fn = p->started;
    p->started = NULL;
    fn(p->started_arg, err, why);
}

static void progress_start(struct plug *p)
{
    bool all = true;
    EACH_INST(it, p) {
        const struct mintd_ctx *ctx = INST(it)->cur;
        if (!ctx) continue;
        if (ctx->state == CTX_FAILED) {
            char why[1400];
            snprintf(why, sizeof why, "instance \"%s\" (%s) cannot start: " STR_FMT, INST(it)->name, ctx->desc->name,
                     STR_ARG(buf_view(&ctx->why)));
            tell_started(p, -EIO, why);
            return;
        }
        all &= ctx->state == CTX_READY;
    }
    if (all) tell_started(p, 0, "");
}

static void progress_drain(struct plug *p)
{
    bool all = list_empty(&p->retired);
    EACH_INST(it, p) {
        const struct mintd_ctx *ctx = INST(it)->cur;
        all &= !ctx || ctx->ending;
    }
    if (!all) return;
    loop_post(p->loop, p->drained, p->drained_arg);         /* on a turn of its own: it will free us */
    p->drained = NULL;
}

void plug_progress(struct plug *p)
{
    if (p->started && !p->draining) progress_start(p);
    if (p->drained) progress_drain(p);
}

void plug_start(struct plug *p, plug_started_fn *fn, void *arg)
{
    p->started = fn;
    p->started_arg = arg;
    EACH_INST(it, p)
        if (INST(it)->cur) ctx_start(INST(it)->cur);
    if (list_empty(&p->insts)) plug_progress(p);
}

void plug_drain(struct plug *p, loop_fn *fn, void *arg)
{
    plug_reload_abort(p);
    p->draining = true;
    p->drained = fn;
    p->drained_arg = arg;
    EACH_INST(it, p) {
        struct plug_inst *inst = INST(it);
        if (inst->taking) ctx_retire(inst->taking);
        inst->taking = NULL;
        if (inst->cur) ctx_drain(inst->cur);
    }
    plug_progress(p);
}

int plug_free(struct plug *p)
{
    if (!p) return 0;
    uint32_t left = p->leaked;
    for (struct list *l; (l = list_pop(&p->retired));) left += ctx_destroy(LIST_OF(l, struct mintd_ctx, link));
    EACH_INST(it, p) left += inst_free(INST(it));
    if (!left) free(p);                                     /* a late answer would still look for its loop */
    return (int)left;
}

/* ---- looking */
struct plug_inst *plug_find(struct plug *p, struct mintd_str name)
{
    struct plug_inst *inst = inst_of(p, name);
    return inst && !inst->gone && (inst->cur || inst->taking) ? inst : NULL;
}

struct mintd_str plug_name(const struct plug_inst *inst) { return SZ(inst->name); }

const char *plug_help(const struct plug_inst *inst, struct mintd_str slug)
{
    const char *help = plug_file_help(inst->file, slug);
    return help ? help : "";
}

uint32_t plug_kind(const struct plug_inst *inst) { return inst->file->desc.kind; }

bool plug_offers(const struct plug_inst *inst, uint32_t op)
{
    return op < kind_ops(inst->file->desc.kind) && inst->file->ops.fn[op];
}

bool plug_ready(const struct plug_inst *inst) { return inst->cur && inst->cur->state == CTX_READY; }

uint32_t plug_unready(const struct plug *p, struct buf *ret)
{
    uint32_t n = 0;
    EACH_INST(it, p) {
        const struct plug_inst *inst = INST(it);
        if (inst->gone || plug_ready(inst)) continue;
        const struct buf *why = inst->cur ? &inst->cur->why : NULL;
        n++;
        if (ret) buf_printf(ret, "%s: " STR_FMT "\n", inst->name,
                            STR_ARG(why && why->n ? buf_view(why) : S("not started yet")));
    }
    return n;
}

bool plug_key_at(const struct plug_inst *inst, uint32_t at, struct mintd_str *ret_option, struct mintd_str *ret_key)
{
    const struct mintd_ctx *ctx = inst->cur;
    for (uint32_t i = 0; ctx && i < ctx->desc->opts.n; i++) {
        const struct mintd_opt *o = &ctx->file->opts[i];
        if (strcmp(o->type, "key") && strcmp(o->type, "list:key")) continue;
        for (uint32_t k = 0; !conf_opt_str(ctx->cfg.opts, o->name, k, ret_key); k++) {
            *ret_option = str_of(o->name);
            if (!at--) return true;
        }
    }
    return false;
}

bool plug_granted(const struct plug_inst *inst, struct mintd_str key)
{
    struct mintd_str option, named;
    for (uint32_t i = 0; key.n && plug_key_at(inst, i, &option, &named); i++)
        if (str_eq(named, key)) return true;
    return false;
}

struct mintd_vec plug_facts(const struct plug_inst *inst)
{
    return inst->cur ? inst->cur->facts : (struct mintd_vec){ NULL, 0, sizeof(struct mintd_field) };
}

void plug_on_poke(struct plug_inst *inst, void (*fn)(void *, struct mintd_str), void *arg)
{
    inst->poke = fn;
    inst->poke_arg = arg;
}

void plug_on_failure(struct plug_inst *inst, void (*fn)(void *, const struct mintd_outcome *), void *arg)
{
    inst->failure = fn;
    inst->failure_arg = arg;
}

uint32_t plug_in_flight(const struct plug_inst *inst) { return inst->cur ? inst->cur->live - inst->cur->zombies : 0; }
