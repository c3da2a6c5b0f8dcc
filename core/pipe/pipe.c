/* The pipeline's life: made from the configuration, started (schema, pins, lease), drained. Owns lines and chains; the rest of its
 * work is in the other files of this folder. Loop thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "pipe/pipe_int.h"

enum { START_RETRY_MS = 500, START_RETRY_CAP_MS = 10000, DRAIN_POLL_MS = 20 };

/* ---- shared small things */
uint32_t pipe_random32(struct pipe *p)
{
    uint32_t r;
    loop_random(p->loop, &r, sizeof r);
    return r;
}

struct retry_verdict pipe_retry_in(struct pipe *p, const struct line *line, enum retry_stage stage, const struct mintd_outcome *o,
                                   uint32_t tries)
{
    static const struct retry_policy dflt = { 100, 5000, 0 };
    struct retry_policy mine = dflt;
    if (line && line->cf) mine = (struct retry_policy){ line->cf->retry_base_ms, line->cf->retry_cap_ms, line->cf->retry_attempts };
    return retry_decide(stage, o->cls, o->slug, tries, o->retry_ms, &mine, pipe_random32(p));
}

void pipe_outcome(struct pipe *p, const struct line *line, enum retry_stage stage, uint64_t chunk, const struct mintd_outcome *o)
{
    if (p->damaged || p->state == PIPE_DEAD) return;       /* the end of all work says it */
    static const char *const names[] = { "ok", "canceled", "transient", "throttled", "permanent", "ambiguous" };
    const struct chunk *c = chunk ? map_get(&p->chunks, chunk) : NULL;
    struct mintd_str request_id = trail_get(p, c ? c->request : 0);
    char id[24], code[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)chunk);
    snprintf(code, sizeof code, "%lld", (long long)o->code);
    struct mintd_field f[7];
    uint32_t n = 0;
    if (line) f[n++] = (struct mintd_field){ S("pipeline"), line->name };
    f[n++] = (struct mintd_field){ S("op"), str_of(retry_stage_name(stage)) };
    if (chunk) f[n++] = (struct mintd_field){ S("chunk"), str_of(id) };
    f[n++] = (struct mintd_field){ S("class"), str_of(o->cls < ARRAY_LEN(names) ? names[o->cls] : "unknown") };
    f[n++] = (struct mintd_field){ S("slug"), o->slug };
    if (o->code) f[n++] = (struct mintd_field){ S("code"), str_of(code) };
    if (request_id.n) f[n++] = (struct mintd_field){ S("request_id"), request_id };
    log_fields(o->cls == MINTD_PERMANENT ? MINTD_ERROR : MINTD_WARN, o->msg.n ? o->msg : S("no reason given"), f, n);
}

void pipe_called(struct pipe *p) { p->calls_out--; }

void pipe_call(struct pipe *p, struct plug_inst *inst, uint32_t op, uint32_t flags, const void *arg, struct mintd_vec rows,
               struct arena *mem, plug_fn *fn, void *fn_arg)
{
    p->calls_out++;
    plug_call_rows(inst, op, flags, arg, rows, mem, fn, fn_arg);
}

static void die(struct pipe *p)
{
    log_error("stopping all work: %s", p->fatal);
    p->state = PIPE_DEAD;
    p->why = str_of(p->fatal);
    intake_end_all(p);
    lane_stop(p);
    if (!p->started) { p->started = true; p->started_fn(p->started_arg, -EIO, p->fatal); }
    else if (p->fatal_fn) p->fatal_fn(p->fatal_arg, p->fatal);
}

void pipe_fatal(struct pipe *p, const char *why, ...)
{
    if (p->state == PIPE_DEAD) return;
    va_list ap;
    va_start(ap, why);
    vsnprintf(p->fatal, sizeof p->fatal, why, ap);
    va_end(ap);
    die(p);
}

static void on_damage(void *arg)
{
    struct pipe *p = arg;
    loop_timer_del(p->damaged);
    p->damaged = NULL;
    if (p->state != PIPE_DEAD) die(p);
}

/* Whoever asked: promises and proofs may be among what is lost, so nothing may rely on the rest. Not at once, because who asked has
 * yet to hear it. */
static void on_store_failure(void *arg, const struct mintd_outcome *o)
{
    struct pipe *p = arg;
    if (o->cls != MINTD_PERMANENT || !str_eq(o->slug, S("store.corrupt"))) return;
    if (p->damaged || p->state == PIPE_DEAD || !p->started_fn) return;
    snprintf(p->fatal, sizeof p->fatal, STR_FMT ": " STR_FMT " (%s)", STR_ARG(o->slug), STR_ARG(o->msg), plug_help(p->store, o->slug));
    p->damaged = loop_timer(p->loop, 0, on_damage, p);
}

void pipe_on_fatal(struct pipe *p, pipe_fatal_fn *fn, void *arg)
{
    p->fatal_fn = fn;
    p->fatal_arg = arg;
}

/* ---- lines */
static void wake_line(void *arg)
{
    struct line *line = arg;
    loop_timer_del(line->wake);
    line->wake = NULL;
    mint_kick(line);
}

void line_wake_in(struct line *line, uint64_t ms)
{
    loop_timer_del(line->wake);
    line->wake = loop_timer(line->pipe->loop, ms ? ms : 1, wake_line, line);
}

static int line_wire(struct pipe *p, struct line *line, const struct conf_pipeline *cf)
{
    const char *why;
    struct template *meta = NULL, *coll = NULL;
    struct plug_inst *chain = plug_find(p->plug, cf->chain), *up = plug_find(p->plug, cf->uploader);
    if (!chain || !up || plug_kind(chain) != MINTD_CHAIN || plug_kind(up) != MINTD_UPLOADER || !plug_offers(up, UPLOADER_IDENTIFY)) {
        log_error("pipeline " STR_FMT " needs a chain and a content-addressed uploader", STR_ARG(cf->name));
        return -EINVAL;
    }
    if (cf->metadata.n && template_new(cf->metadata, &meta, &why)) { log_error("metadata template: %s", why); return -EINVAL; }
    struct mintd_str name = cf->collection.n ? cf->collection : S("{{venueId}}");
    if (template_new(name, &coll, &why)) { template_free(meta); log_error("collection template: %s", why); return -EINVAL; }
    template_free(line->metadata);
    template_free(line->collection);
    line->metadata = meta;
    line->collection = coll;
    line->uploader = up;
    line->cache = cf->cache.n ? plug_find(p->plug, cf->cache) : NULL;
    if (!line->chain) line->chain = chain_of(p, chain);
    line->cf = cf;
    pace_window_set(&line->window, cf->window, cf->window_max);
    return line->chain ? 0 : -ENOMEM;
}

static int line_new(struct pipe *p, const struct conf_pipeline *cf)
{
    struct line *line = calloc(1, sizeof *line + cf->name.n + 1);
    if (!line) return -ENOMEM;
    line->pipe = p;
    line->name = (struct mintd_str){ line->name_copy, cf->name.n };
    memcpy(line->name_copy, cf->name.p, cf->name.n);
    list_init(&line->cols);
    list_init(&line->uploading);
    int r = line_wire(p, line, cf);
    if (r) { free(line); return r; }
    list_add(&p->lines, &line->link);
    return 0;
}

static void line_free(struct line *line)
{
    list_del(&line->link);
    loop_timer_del(line->wake);
    template_free(line->metadata);
    template_free(line->collection);
    free(line);
}

static struct line *line_find(struct pipe *p, struct mintd_str name)
{
    LIST_EACH(l, &p->lines) if (str_eq(LIST_OF(l, struct line, link)->name, name)) return LIST_OF(l, struct line, link);
    return NULL;
}

struct line *pipe_line(struct pipe *p, struct mintd_str name)
{
    struct line *line = line_find(p, name);
    return line && line->cf ? line : NULL;
}

/* ---- made and freed */
static void metrics(struct pipe *p)
{
    p->m.stages = metric_new(METRIC_HISTOGRAM, "mintd_stage_seconds", "stage", "time of a batch in accept, of a chunk in every other stage", NULL);
    p->m.depth = metric_new(METRIC_GAUGE, "mintd_queue_depth", "queue", "what waits, by queue: requests, chunks, change groups, clients", NULL);
    p->m.chunks = metric_new(METRIC_COUNTER, "mintd_chunks_total", "state", "chunks that reached a state", NULL);
    p->m.in_flight = metric_new(METRIC_GAUGE, "mintd_transactions_in_flight", "pipeline", "transactions sent and not settled", NULL);
    p->m.window = metric_new(METRIC_GAUGE, "mintd_window_size", "pipeline", "transactions allowed in flight", NULL);
    p->m.ready = metric_new(METRIC_GAUGE, "mintd_chunks_ready", "pipeline", "chunks waiting to be minted", NULL);
    p->m.memory = metric_new(METRIC_GAUGE, "mintd_chunks_loaded", NULL, "chunks held in memory", NULL);
    p->m.commits = metric_new(METRIC_COUNTER, "mintd_commits_total", NULL, "commits of the step writer", NULL);
    p->m.groups = metric_new(METRIC_COUNTER, "mintd_groups_total", NULL, "change groups that got a verdict", NULL);
    p->m.claims = metric_new(METRIC_COUNTER, "mintd_claims_total", NULL, "claims that brought chunks", NULL);
    p->m.proofs = metric_new(METRIC_COUNTER, "mintd_proofs_total", "kind", "attempts proven dead", NULL);
    p->m.resends = metric_new(METRIC_COUNTER, "mintd_resends_total", NULL, "broadcasts of bytes that were sent before", NULL);
    p->m.minted = metric_new(METRIC_COUNTER, "mintd_items_minted_total", "pipeline", "items that became final", NULL);
    p->m.failed = metric_new(METRIC_COUNTER, "mintd_items_failed_total", "pipeline,state", "items that ended without a mint", NULL);
    p->m.quarantined = metric_new(METRIC_COUNTER, "mintd_quarantined_total", NULL, "chunks put into quarantine", NULL);
    p->m.seconds = metric_new(METRIC_HISTOGRAM, "mintd_mint_seconds", "pipeline", "from signing to finality", NULL);
    p->m.hits = metric_new(METRIC_COUNTER, "minting_cache_hits_total", NULL, "addresses that a cache knew to be stored", NULL);
    p->m.misses = metric_new(METRIC_COUNTER, "minting_cache_misses_total", NULL, "addresses that no cache knew", NULL);
    p->m.hit_rate = metric_new(METRIC_GAUGE, "minting_cache_hit_rate", NULL, "hits of all look-ups since the start, percent", NULL);
    metric_twin(p->m.hits, "mintd_cache_hits_total", "addresses that a cache knew to be stored", 1);
    metric_twin(p->m.misses, "mintd_cache_misses_total", "addresses that no cache knew", 1);
    metric_twin(p->m.hit_rate, "mintd_cache_hit_ratio", "hits of all look-ups since the start, 0 to 1", 0.01);
    metric_add(p->m.hits, S(""), S(""), 0);                /* there from the start, so that a rate can be taken */
    metric_add(p->m.misses, S(""), S(""), 0);
    metric_set(p->m.hit_rate, S(""), S(""), 0);
    p->m.leases = metric_new(METRIC_GAUGE, "mintd_live_slots", NULL, "unexpired lease slots on this store", NULL);
}

int pipe_new(struct loop *loop, struct plug *plug, struct conf *conf, struct pipe **ret)
{
    struct pipe *p = calloc(1, sizeof *p);
    if (!p) return -ENOMEM;
    p->loop = loop;
    p->plug = plug;
    p->conf = conf_ref(conf);
    p->why = S("starting");
    p->live_slots = 1;
    struct list *heads[] = { &p->trail.order, &p->chains, &p->lines, &p->intakes, &p->waits, &p->book.waiting, &p->book.flying };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) list_init(heads[i]);
    metrics(p);
    int r = 0;
    p->store = plug_find(plug, conf->store);
    if (!p->store || plug_kind(p->store) != MINTD_STORE) {
        log_error("store " STR_FMT " is not an instance of a store plugin", STR_ARG(conf->store));
        r = -EINVAL;
    }
    else plug_on_failure(p->store, on_store_failure, p);
    for (uint32_t i = 0; !r && i < conf->n_pipelines; i++) r = line_new(p, &conf->pipelines[i]);
    if (r) { pipe_free(p); return r; }
    *ret = p;
    return 0;
}

void pipe_free(struct pipe *p)
{
    if (!p) return;
    p->state = PIPE_DEAD;
    intake_end_all(p);
    book_free(p);
    struct chunk *c;
    size_t it;
    while (it = 0, (c = map_next(&p->chunks, &it))) { c->cancel = false; chunk_drop(p, c); }
    steer_free(p);
    lane_stop(p);
    struct col *col;
    while (it = 0, (col = map_next(&p->cols, &it))) { map_del(&p->cols, col->id); col_free(col); }
    LIST_EACH(l, &p->lines) line_free(LIST_OF(l, struct line, link));
    LIST_EACH(l, &p->chains) chain_free(LIST_OF(l, struct chain, link));
    loop_timer_del(p->lease_timer);
    loop_timer_del(p->drain_timer);
    loop_timer_del(p->start_timer);
    loop_timer_del(p->damaged);
    if (p->store) plug_on_failure(p->store, NULL, NULL);
    arena_free(p->sweep_mem);
    intake_names_free(p);
    trail_free(p);
    map_free(&p->chunks);
    map_free(&p->cols);
    conf_unref(p->conf);
    free(p);
}

void pipe_reconfigure(struct pipe *p, struct conf *conf)
{
    LIST_EACH(l, &p->lines) {
        struct line *line = LIST_OF(l, struct line, link);
        const struct conf_pipeline *cf = conf_pipeline(conf, line->name);
        if (cf && line_wire(p, line, cf) == 0) continue;
        line->cf = NULL;                                   /* its lanes are parked, what is signed is still watched */
        log_warn("pipeline " STR_FMT " %s: its lanes are parked", STR_ARG(line->name),
                 cf ? "can not work with its new settings" : "is gone from the configuration");
    }
    for (uint32_t i = 0; i < conf->n_pipelines; i++)
        if (!line_find(p, conf->pipelines[i].name)) line_new(p, &conf->pipelines[i]);
    struct conf *old = p->conf;
    p->conf = conf_ref(conf);
    LIST_EACH(l, &p->lines) {
        struct line *line = LIST_OF(l, struct line, link);
        if (line->cf) mint_kick(line);
    }
    conf_unref(old);
    LIST_EACH(l, &p->chains) chain_refresh(LIST_OF(l, struct chain, link));
    lane_kick(p);
}

bool pipe_chain(struct pipe *p, struct mintd_str pipeline, struct pipe_chain *ret)
{
    const struct line *line = line_find(p, pipeline);
    const struct mintd_limits *lim = line && line->chain ? line->chain->limits : NULL;
    if (!lim) return false;
    struct proof_rule rule = chain_rule(line->chain, line);
    *ret = (struct pipe_chain){ line->chain->inst, proof_quorum(&rule, false), lim->status_max, lim->inspect_max, lim->caps };
    return true;
}

struct plug_inst *pipe_store(struct pipe *p) { return p->store; }
uint64_t pipe_written(const struct pipe *p) { return p->written; }

bool pipe_ready(const struct pipe *p, struct buf *why)
{
    if (p->state != PIPE_RUNNING) { buf_str(why, p->why); return false; }
    if (!slot_fresh(p)) { buf_puts(why, "the lease was not renewed in time: is the store answering?"); return false; }
    LIST_EACH(l, (struct list *)(uintptr_t)&p->chains) if (LIST_OF(l, struct chain, link)->limits) return true;
    buf_puts(why, "no chain answers yet");
    return false;
}

struct mintd_str pipe_identity(const struct pipe *p) { return str_of(p->identity); }

void pipe_on_commit(struct pipe *p, loop_fn *fn, void *arg)
{
    p->commit_fn = fn;
    p->commit_arg = arg;
}

/* ---- start: schema, pins, lease */
static void start_again(void *arg);

static void start_retry(struct pipe *p)
{
    uint64_t ms = (uint64_t)START_RETRY_MS << (p->start_tries < 5 ? p->start_tries : 5);
    p->start_tries++;
    p->start_timer = loop_timer(p->loop, ms < START_RETRY_CAP_MS ? ms : START_RETRY_CAP_MS, start_again, p);
}

static void deployment_pinned(void *arg, const struct mintd_applied *a)
{
    struct pipe *p = arg;
    if (!a || p->state == PIPE_DEAD) return;
    if (a->verdict > MINTD_REPEATED) {
        pipe_fatal(p, "this store belongs to deployment " STR_FMT ", the configuration says " STR_FMT
                   ": item keys derive from it, so set it back or use another store", STR_ARG(a->detail), STR_ARG(p->conf->deployment));
        return;
    }
    slot_start(p);
}

static void pin_deployment(struct pipe *p)
{
    struct group *g = group_new(0, deployment_pinned, p);
    struct mintd_db_meta *m = g ? GROUP_ROW(g, MINTD_DB_META, mintd_db_meta) : NULL;
    if (!m) { pipe_fatal(p, "no memory"); return; }
    m->key = S("deployment");
    m->val = arena_str(group_mem(g), p->conf->deployment);
    book_add(p, g, BOOK_URGENT);
}

static bool schema_usable(struct pipe *p, const struct mintd_schema *s)
{
    uint64_t need = 0;
    for (uint32_t k = MINTD_DB_VENUE; k <= MINTD_DB_REPORT; k++) need |= (uint64_t)1 << k;
    if (s->now != s->wanted) {
        pipe_fatal(p, "the store is at schema %u, this version needs %u: run mintd migrate, or set migrate = true", s->now, s->wanted);
        return false;
    }
    if ((s->kinds & need) == need) return true;
    pipe_fatal(p, "the store plugin is too old for this core");
    return false;
}

static void schema_read(void *arg, struct plug_reply *r)
{
    struct pipe *p = arg;
    pipe_called(p);
    CRASH("start.migrate.after");
    if (p->state == PIPE_DEAD) return;
    if (r->out->cls == MINTD_OK && r->res->rows.n == 1) {
        const struct mintd_schema *schema = r->res->rows.p;
        snprintf(p->identity, sizeof p->identity, STR_FMT, STR_ARG(schema->identity));
        if (schema_usable(p, schema)) pin_deployment(p);
        return;
    }
    if (r->out->cls == MINTD_PERMANENT) {
        pipe_fatal(p, "the store can not be used: " STR_FMT ": " STR_FMT " (%s)", STR_ARG(r->out->slug), STR_ARG(r->out->msg),
                   plug_help(p->store, r->out->slug));
        return;
    }
    pipe_outcome(p, NULL, STAGE_QUERY, 0, r->out);
    start_retry(p);
}

static void start_again(void *arg)
{
    struct pipe *p = arg;
    loop_timer_del(p->start_timer);
    p->start_timer = NULL;
    struct arena *mem = arena_new(0);
    if (!mem) { start_retry(p); return; }
    CRASH("start.migrate.before");
    pipe_call(p, p->store, STORE_MIGRATE, p->conf->migrate ? 1 : 0, NULL, (struct mintd_vec){ 0 }, mem, schema_read, p);
}

void pipe_start(struct pipe *p, pipe_started_fn *fn, void *arg)
{
    p->started_fn = fn;
    p->started_arg = arg;
    start_again(p);
}

/* ---- drain: no claims, no plans; calls and commits under way finish; then the lease goes back */
static void drained(struct pipe *p)
{
    loop_fn *fn = p->drained_fn;
    p->drained_fn = NULL;
    loop_timer_del(p->drain_timer);
    p->drain_timer = NULL;
    if (fn) fn(p->drained_arg);
}

static void released(void *arg, const struct mintd_applied *a)
{
    (void)a;
    drained(arg);
}

static void drain_poll(void *arg)
{
    struct pipe *p = arg;
    loop_timer_del(p->drain_timer);
    p->drain_timer = NULL;
    if (p->state == PIPE_DEAD || !p->epoch) {
        if (!p->calls_out) { drained(p); return; }
    } else if (!p->calls_out && book_idle(p)) {
        slot_release(p, released, p);
        return;
    }
    p->drain_timer = loop_timer(p->loop, DRAIN_POLL_MS, drain_poll, p);
}

void pipe_drain(struct pipe *p, loop_fn *fn, void *arg)
{
    p->drained_fn = fn;
    p->drained_arg = arg;
    if (p->state != PIPE_DEAD) p->state = PIPE_DRAINING;
    p->why = S("draining");
    loop_timer_del(p->start_timer);
    p->start_timer = NULL;
    intake_end_all(p);
    lane_stop(p);
    drain_poll(p);
}
