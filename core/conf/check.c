/* The typed settings of the core out of the merged tree: each group against its table, then what only makes sense together.
 * Owns nothing beyond the arena of its conf. Calls base/ only. Loop thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/amount.h"
#include "conf/conf_int.h"

struct filler { struct full *full; struct conf_errors *errs; bool no_memory; };

static const char *const top_groups[] = { "log", "commit", "intake", "listen", "api", "reconcile", "instances", "pipelines", "venues", NULL };
static const char *const instance_groups[] = { "opts", NULL };
static const char *const pipeline_groups[] = { "upload", "mint", "confirm", "retry", NULL };

/* ---- reading a checked group; a group that failed reads as absent, its errors are already written */
static struct mintd_str text(const struct conf_opts *o, const char *name)
{
    struct mintd_str s = { NULL, 0 };
    if (o) conf_opt_str(o, name, 0, &s);
    return s;
}

static int64_t number(const struct conf_opts *o, const char *name)
{
    int64_t n = 0;
    if (o) conf_opt_i64(o, name, 0, &n);
    return n;
}

static uint32_t small(const struct conf_opts *o, const char *name) { return (uint32_t)number(o, name); }

/* Place of the choice in its option's list */
static uint32_t choice(const struct conf_opts *o, const char *name, const char *choices)
{
    struct mintd_str s = text(o, name);
    uint32_t i = 0;
    for (const char *p = choices; s.n && *p; i++) {
        size_t n = strcspn(p, "|");
        if (str_eq(s, (struct mintd_str){ p, n })) return i;
        p += n + (p[n] == '|');
    }
    return 0;
}

static const char *path_of(struct filler *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static const char *path_of(struct filler *f, const char *fmt, ...)
{
    char path[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(path, sizeof path, fmt, args);
    va_end(args);
    char *copy = arena_cstr(f->full->tree.mem, SZ(path));
    f->no_memory |= !copy;
    return copy ? copy : "";
}

static void remember(struct filler *f, struct conf_opts *opts, const char *path, const struct node *extra)
{
    struct opts_list *l = arena_alloc(f->full->tree.mem, sizeof *l);
    if (!l) {
        conf_opts_free(opts);
        f->no_memory = true;
        return;
    }
    *l = (struct opts_list){ opts, path, extra, NULL };
    *f->full->tail = l;
    f->full->tail = &l->next;
}

/* Group `n` (NULL: not written) of `parent` against its table; NULL: refused. path NULL: not printed as a group */
static struct conf_opts *check(struct filler *f, unsigned schema, const struct node *parent, const struct node *n, const char *what,
                               const char *path, const char *const *groups)
{
    const struct schema *s = &conf_schema[schema];
    struct node none = { .type = NODE_GROUP, .file = parent->file, .line = parent->line };
    struct conf_section section = { &f->full->tree, n ? n : &none };
    struct conf_opts *opts = NULL;
    if (n && n->type != NODE_GROUP) {
        conf_error(f->errs, n->file, n->line, "%s: expected a group { ... }, found %s", what, node_type_name(n));
        return NULL;
    }
    int r = opts_check(&section, what, s->table, s->n, groups, f->errs, &opts);
    f->no_memory |= r == -ENOMEM;
    if (r) return NULL;
    remember(f, opts, path, n ? node_find(n, S("opts")) : NULL);
    return f->no_memory ? NULL : opts;
}

static struct conf_opts *check_group(struct filler *f, unsigned schema)
{
    const struct node *root = f->full->tree.root;
    const char *name = conf_schema[schema].group;
    return check(f, schema, root, node_find(root, SZ(name)), name, name, NULL);
}

/* ---- names and paths */
static bool good_name(struct mintd_str s)
{
    if (!s.n || s.n > CONF_NAME_MAX) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-')) return false;
    }
    return true;
}

static void check_name(struct filler *f, const struct conf_opts *o, const char *option)
{
    if (o && text(o, option).n && !good_name(text(o, option)))
        conf_opt_error(o, option, "only letters, digits, _ and - are allowed, at most 64", f->errs);
}

static void check_member_name(struct filler *f, const struct node *n, const char *kind)
{
    if (!good_name(SZ(n->name)))
        conf_error(f->errs, n->file, n->line, "%s name \"%s\": only letters, digits, _ and - are allowed, at most %d", kind, n->name,
                   CONF_NAME_MAX);
}

static struct slot *slot_named(struct conf_opts *o, const char *name)
{
    for (uint32_t i = 0; o && i < o->n; i++)
        if (!strcmp(o->slots[i].opt->name, name)) return &o->slots[i];
    return NULL;
}

/* A default that only the rest of the configuration knows */
static struct mintd_str derive(struct filler *f, struct conf_opts *o, const char *name, struct mintd_str value)
{
    struct slot *s = slot_named(o, name);
    if (!s) return value;
    s->v = arena_alloc(f->full->tree.mem, sizeof *s->v);
    if (s->v) *s->v = (struct value){ .str = value, .quoted = true };
    f->no_memory |= !s->v;
    s->n = s->v ? 1 : 0;
    s->set = s->v;
    return value;
}

/* Relative to the main file's folder, or to the current one where the environment says it */
static struct mintd_str absolute(struct filler *f, struct conf_opts *o, const char *name)
{
    char cwd[PATH_MAX];
    struct slot *s = slot_named(o, name);
    if (!s || !s->set || s->v[0].str.p[0] == '/') return s && s->set ? s->v[0].str : (struct mintd_str){ NULL, 0 };
    bool file = s->line || !s->file;
    struct mintd_str base = file ? f->full->tree.folder : getcwd(cwd, sizeof cwd) ? SZ(cwd) : S(".");
    struct mintd_str joined = arena_printf(f->full->tree.mem, STR_FMT "/" STR_FMT, STR_ARG(base), STR_ARG(s->v[0].str));
    f->no_memory |= !joined.p;
    if (joined.n >= PATH_MAX) conf_opt_error(o, name, "the path is too long", f->errs);
    return s->v[0].str = joined;
}

/* Where other errors should look for files although the top level itself has one */
static struct mintd_str likely_state_dir(struct filler *f)
{
    const struct node *n = node_find(f->full->tree.root, S("state_dir"));
    if (!n || !n->str.n || n->str.p[0] == '/') return n ? n->str : (struct mintd_str){ NULL, 0 };
    return arena_printf(f->full->tree.mem, STR_FMT "/" STR_FMT, STR_ARG(f->full->tree.folder), STR_ARG(n->str));
}

/* Beside a build's own binary lie the plugins of that build. */
static void own_plugin_dir(char *ret, size_t n)
{
    char exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(exe, '/');
    int w = slash ? snprintf(ret, n, "%.*s/plugins-out", (int)(slash - exe), exe) : -1;
    if (w < 0 || (size_t)w >= n || access(ret, F_OK)) snprintf(ret, n, "%s", MINTD_PLUGIN_DIR);
}

void conf_plugin_dir(char *ret, size_t n)
{
    const char *named = getenv("MINTD_PLUGIN_DIR");
    if (named && *named) snprintf(ret, n, "%s", named);
    else own_plugin_dir(ret, n);
}

static struct mintd_str default_plugin_dir(struct filler *f)
{
    char dir[PATH_MAX];
    own_plugin_dir(dir, sizeof dir);
    struct mintd_str copy = arena_str(f->full->tree.mem, SZ(dir));
    f->no_memory |= !copy.p;
    return copy;
}

/* ---- the groups of the core */
static struct conf_opts *fill_top(struct filler *f)
{
    struct conf *c = &f->full->pub;
    const struct node *root = f->full->tree.root;
    struct conf_opts *o = check(f, SCHEMA_TOP, root, root, "", "", top_groups);
    c->state_dir = absolute(f, o, "state_dir");
    c->plugin_dir = absolute(f, o, "plugin_dir");
    if (!c->plugin_dir.n) c->plugin_dir = derive(f, o, "plugin_dir", default_plugin_dir(f));
    f->full->tree.state_dir = o ? c->state_dir : likely_state_dir(f);
    check_name(f, o, "name");
    check_name(f, o, "deployment");
    c->name = text(o, "name");
    c->deployment = text(o, "deployment");
    c->store = text(o, "store");
    c->migrate = number(o, "migrate");
    c->lease_ms = number(o, "lease");
    c->drain_ms = number(o, "drain");
    c->balance_ms = number(o, "balance_check");
    c->default_pipeline = text(o, "default_pipeline");
    return o;
}

static void fill_log(struct filler *f)
{
    struct conf *c = &f->full->pub;
    const struct conf_opts *o = check_group(f, SCHEMA_LOG);
    c->log_level = choice(o, "level", "error|warn|info|debug");          /* the order of MINTD_ERROR .. MINTD_DEBUG */
    c->log_json = choice(o, "format", "text|json");
}

static void fill_commit(struct filler *f)
{
    struct conf *c = &f->full->pub;
    const struct conf_opts *o = check_group(f, SCHEMA_COMMIT);
    c->commit_items = small(o, "items");
    c->commit_ms = number(o, "delay");
    o = check_group(f, SCHEMA_INTAKE);
    c->slab_bytes = number(o, "slab");
    c->intake_memory = number(o, "memory");
    o = check_group(f, SCHEMA_RECONCILE);
    c->reconcile_tolerance_ms = number(o, "tolerance");
    c->reconcile_settle_ms = number(o, "settle");
    c->reconcile_rate = small(o, "rate");
}

static bool ip_address(struct mintd_str s)
{
    char address[64];
    struct in6_addr any;
    snprintf(address, sizeof address, STR_FMT, STR_ARG(s));
    return s.n < sizeof address && (inet_pton(AF_INET, address, &any) == 1 || inet_pton(AF_INET6, address, &any) == 1);
}

static void fill_listen(struct filler *f)
{
    struct conf_api *a = &f->full->pub.api;
    const struct conf_opts *o = check_group(f, SCHEMA_LISTEN);
    if (!o) return;
    a->address = text(o, "address");
    a->port = small(o, "port");
    a->unix_path = text(o, "unix");
    if (!ip_address(a->address)) conf_opt_error(o, "address", "not an IP address", f->errs);
    if (a->unix_path.n >= sizeof((struct sockaddr_un *)0)->sun_path)
        conf_opt_error(o, "unix", "the path of a Unix socket has at most 107 bytes", f->errs);
    if (!a->port && !a->unix_path.n) conf_opt_error(o, "port", "0 and no unix: nobody could reach the daemon", f->errs);
}

static const struct net *networks(struct filler *f, const struct conf_opts *o, const char *name, uint32_t *ret_n)
{
    struct mintd_str one;
    char why[160];
    const char *reason;
    uint32_t n = 0;
    while (o && !conf_opt_str(o, name, n, &one)) n++;
    struct net *list = arena_array(f->full->tree.mem, n ? n : 1, sizeof *list);
    f->no_memory |= !list;
    for (uint32_t i = 0; list && i < n; i++) {
        conf_opt_str(o, name, i, &one);
        if (!net_parse(one, &list[i], &reason)) continue;
        snprintf(why, sizeof why, "\"%.60s\" %s", arena_cstr(f->full->tree.mem, one), reason);
        conf_opt_error(o, name, why, f->errs);
    }
    *ret_n = list ? n : 0;
    return list;
}

static struct conf_rate rate(struct filler *f, const struct conf_opts *o, const char *name)
{
    struct conf_rate r = { 0, 0 };
    if (o && conf_parse_rate(text(o, name), &r))
        conf_opt_error(o, name, "is no rate: write 1 to 1000000000 and a period of 1s to 1d as in \"600/1m\", or \"none\"", f->errs);
    return r;
}

static void fill_access(struct filler *f, const struct conf_opts *o)
{
    struct conf_api *a = &f->full->pub.api;
    a->allow = networks(f, o, "allow", &a->n_allow);
    if (o && conf_opt_has(o, "allow") && !a->n_allow) conf_opt_error(o, "allow", "is empty: name a network, or leave the option out", f->errs);
    a->proxies = networks(f, o, "proxies", &a->n_proxies);
    a->rate_read = rate(f, o, "rate_read");
    a->rate_mint = rate(f, o, "rate_mint");
    a->rate_admin = rate(f, o, "rate_admin");
    a->rate_wrong = rate(f, o, "rate_wrong");
}

static void fill_api(struct filler *f)
{
    struct conf_api *a = &f->full->pub.api;
    const struct conf_opts *o = check_group(f, SCHEMA_API);
    a->auth = number(o, "auth");
    a->admin_key = text(o, "admin_key");
    a->key_secret = text(o, "key_secret");
    if (a->key_secret.n && a->key_secret.n < 32) conf_opt_error(o, "key_secret", "has fewer than 32 bytes", f->errs);
    a->sync_items = small(o, "sync_items");
    a->wait_ms = number(o, "wait");
    a->max_body = number(o, "max_body");
    a->max_ticket = number(o, "max_ticket");
    a->max_items = small(o, "max_items");
    a->max_connections = small(o, "max_connections");
    a->max_connections_per_ip = small(o, "max_connections_per_ip");
    a->max_streams = (uint32_t)number(o, "max_streams");
    a->heartbeat_ms = number(o, "sse_heartbeat");
    a->header_ms = number(o, "header_timeout");
    a->idle_ms = number(o, "idle_timeout");
    if (o && a->max_ticket > a->max_body) conf_opt_error(o, "max_ticket", "is larger than max_body", f->errs);
    fill_access(f, o);
}

/* ---- members: instances, pipelines, venues. A mistyped or missing container is an error and reads as empty. */
static const struct node *members(struct filler *f, const char *name, enum node_type type, bool needed)
{
    const struct node *root = f->full->tree.root, *n = node_find(root, SZ(name));
    if (n && n->type != type)
        conf_error(f->errs, n->file, n->line, "%s: expected %s, found %s", name, type == NODE_GROUP ? "a group { ... }" : "a list ( ... )",
                   node_type_name(n));
    else if (needed && !node_count(n)) conf_error(f->errs, n ? n->file : root->file, n ? n->line : root->line, "no %s", name);
    return n && n->type == type ? n : NULL;
}

static void *rows(struct filler *f, const struct node *n, size_t size)
{
    void *p = arena_array(f->full->tree.mem, node_count(n) + 1, size);
    f->no_memory |= !p;
    return p;
}

static void fill_instance(struct filler *f, const struct node *group, const struct node *n, struct conf_instance *ret)
{
    struct mintd_str name = SZ(n->name);
    const char *what = path_of(f, "instances.%s", n->name);
    check_member_name(f, n, "instance");
    const struct conf_opts *o = check(f, SCHEMA_INSTANCE, group, n, what, what, instance_groups);
    const struct node *opts = node_find(n, S("opts"));
    if (opts && opts->type != NODE_GROUP)
        conf_error(f->errs, opts->file, opts->line, "%s.opts: expected a group { ... }, found %s", what, node_type_name(opts));
    check_name(f, o, "plugin");
    struct conf_section *section = arena_alloc(f->full->tree.mem, sizeof *section);
    struct node *empty = opts ? NULL : node_new(&f->full->tree, NULL, "opts", NODE_GROUP);
    if (!section || (!opts && !empty)) {
        f->no_memory = true;
        return;
    }
    if (empty) {                                           /* so that defaults know the state folder, errors a line */
        empty->file = n->file;
        empty->line = n->line;
    }
    *section = (struct conf_section){ &f->full->tree, opts ? opts : empty };
    *ret = (struct conf_instance){ .name = name, .plugin = text(o, "plugin"), .workers = small(o, "workers"), .opts = section,
        .file = n->file, .line = n->line };
}

static void fill_instances(struct filler *f)
{
    struct conf *c = &f->full->pub;
    const struct node *group = members(f, "instances", NODE_GROUP, true);
    struct conf_instance *list = rows(f, group, sizeof *list);
    for (const struct node *n = group ? group->first : NULL; n && !f->no_memory; n = n->next)
        fill_instance(f, group, n, &list[c->n_instances++]);
    c->instances = list;
}

static void fill_mint(struct filler *f, const struct node *n, const char *what, struct conf_pipeline *p)
{
    const char *path = path_of(f, "%s.mint", what);
    const struct conf_opts *o = check(f, SCHEMA_MINT, n, node_find(n, S("mint")), path, path, NULL);
    p->mode = choice(o, "mode", "adaptive|fixed") ? CONF_FIXED : CONF_ADAPTIVE;
    p->batch = small(o, "batch");
    p->max_workers = small(o, "maxConcurrentWorkers");
    p->batch_delay_ms = number(o, "batch_delay");
    p->window = small(o, "window");
    p->window_max = small(o, "window_max");
    p->fee_cap = (uint64_t)number(o, "fee_cap");
    p->spend_cap = (uint64_t)number(o, "spend_cap");
    p->spend_window_ms = number(o, "spend_window");
    p->attempts = small(o, "attempts");
    p->stop_on_error = number(o, "stop_on_error");
    p->broadcast_routes = small(o, "broadcast_routes");
    if (o && p->window > p->window_max) conf_opt_error(o, "window", "is larger than window_max", f->errs);
    if (o && p->spend_cap && p->fee_cap > p->spend_cap) conf_opt_error(o, "fee_cap", "is larger than spend_cap", f->errs);
}

static void fill_policies(struct filler *f, const struct node *n, const char *what, struct conf_pipeline *p)
{
    const char *path = path_of(f, "%s.upload", what);
    const struct conf_opts *o = check(f, SCHEMA_UPLOAD, n, node_find(n, S("upload")), path, path, NULL);
    p->upload_batch = small(o, "batch");
    p->upload_concurrency = small(o, "concurrency");
    p->gate = MINTD_LOCAL + choice(o, "gate", "local|accepted|pinned|retrievable");
    fill_mint(f, n, what, p);
    path = path_of(f, "%s.confirm", what);
    o = check(f, SCHEMA_CONFIRM, n, node_find(n, S("confirm")), path, path, NULL);
    p->poll_ms = number(o, "poll");
    p->quorum = small(o, "quorum");
    p->proof_deadline_ms = number(o, "proof_deadline");
    p->rebroadcast_ms = number(o, "rebroadcast");
    path = path_of(f, "%s.retry", what);
    o = check(f, SCHEMA_RETRY, n, node_find(n, S("retry")), path, path, NULL);
    p->retry_base_ms = number(o, "base");
    p->retry_cap_ms = number(o, "cap");
    p->retry_attempts = small(o, "attempts");
    if (o && p->retry_base_ms > p->retry_cap_ms) conf_opt_error(o, "base", "is longer than cap", f->errs);
}

/* What the pipeline's template reader will want: every {{ has its }}, with a name between */
static const char *template_fault(struct mintd_str s)
{
    for (;;) {
        const char *open = s.n ? memmem(s.p, s.n, "{{", 2) : NULL;
        if (!open) return NULL;
        s.n -= (size_t)(open + 2 - s.p);
        s.p = open + 2;
        const char *close = s.n ? memmem(s.p, s.n, "}}", 2) : NULL;
        if (!close) return "a {{ has no }}";
        size_t n = (size_t)(close - s.p);
        if (!n || n > CONF_NAME_MAX || memchr(s.p, '{', n) || memchr(s.p, '}', n)) return "a {{name}} is empty, too long or has braces in it";
        s.n -= n + 2;
        s.p = close + 2;
    }
}

static void check_template(struct filler *f, const struct conf_opts *o, const char *option)
{
    const char *fault = template_fault(text(o, option));
    if (fault) conf_opt_error(o, option, fault, f->errs);
}

static bool looks_like_object(struct mintd_str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0])) s.p++, s.n--;
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1])) s.n--;
    return s.n > 1 && s.p[0] == '{' && s.p[s.n - 1] == '}';
}

static void check_texts(struct filler *f, const struct conf_opts *o, const struct conf_pipeline *p)
{
    check_template(f, o, "collection");
    check_template(f, o, "metadata");
    if (!p->collection.n) conf_opt_error(o, "collection", "is empty", f->errs);
    if (p->metadata.n && !looks_like_object(p->metadata)) conf_opt_error(o, "metadata", "is not a JSON object { ... }", f->errs);
    uint64_t any;
    if (amount_parse(p->min_balance, 0, &any)) conf_opt_error(o, "min_balance", "is no amount such as 0.1 or 12", f->errs);
    if (!looks_like_object(p->collection_spec)) conf_opt_error(o, "collection_spec", "is not a JSON object { ... }", f->errs);
}

/* An option that names an instance or a pipeline, which must be there */
static void check_reference(struct filler *f, const struct conf_opts *o, const char *option, const char *container, const char *one)
{
    struct mintd_str name = text(o, option);
    const struct node *all = node_find(f->full->tree.root, SZ(container));
    if (!name.n || !all || all->type != NODE_GROUP || node_find(all, name)) return;
    struct nearest near = { .wanted = name };
    char hint[128], why[512];
    for (const struct node *n = all->first; n; n = n->next) nearest_try(&near, SZ(n->name));
    snprintf(why, sizeof why, "there is no %s \"" STR_FMT "\"%s", one, STR_ARG(name), nearest_hint(&near, hint, sizeof hint));
    conf_opt_error(o, option, why, f->errs);
}

static void check_filled(struct filler *f, const struct conf_opts *o, const char *option)
{
    if (o && conf_opt_has(o, option) && !text(o, option).n) conf_opt_error(o, option, "is empty", f->errs);
}

static void fill_pipeline(struct filler *f, const struct node *group, const struct node *n, struct conf_pipeline *p)
{
    const char *what = path_of(f, "pipelines.%s", n->name);
    check_member_name(f, n, "pipeline");
    const struct conf_opts *o = check(f, SCHEMA_PIPELINE, group, n, what, what, pipeline_groups);
    *p = (struct conf_pipeline){ .name = SZ(n->name), .chain = text(o, "chain"), .uploader = text(o, "uploader"),
        .cache = text(o, "cache"), .collection = text(o, "collection"), .collection_spec = text(o, "collection_spec"),
        .metadata = text(o, "metadata"), .recipient = text(o, "recipient"), .min_balance = text(o, "min_balance"), .file = n->file, .line = n->line };
    if (n->type == NODE_GROUP) fill_policies(f, n, what, p);
    if (!o) return;
    check_filled(f, o, "chain");
    check_filled(f, o, "uploader");
    check_reference(f, o, "chain", "instances", "instance");
    check_reference(f, o, "uploader", "instances", "instance");
    check_reference(f, o, "cache", "instances", "instance");
    check_texts(f, o, p);
}

static void fill_pipelines(struct filler *f)
{
    struct conf *c = &f->full->pub;
    const struct node *group = members(f, "pipelines", NODE_GROUP, true);
    struct conf_pipeline *list = rows(f, group, sizeof *list);
    for (const struct node *n = group ? group->first : NULL; n && !f->no_memory; n = n->next)
        fill_pipeline(f, group, n, &list[c->n_pipelines++]);
    c->pipelines = list;
}

static void fill_venue(struct filler *f, const struct node *list, const struct node *n, struct conf_venue *all, uint32_t i)
{
    const char *what = path_of(f, "venues[%u]", i);
    const struct conf_opts *o = check(f, SCHEMA_VENUE, list, n, what, NULL, NULL);
    all[i] = (struct conf_venue){ text(o, "name"), text(o, "pipeline") };
    if (!o) return;
    check_filled(f, o, "name");
    check_filled(f, o, "pipeline");
    check_reference(f, o, "pipeline", "pipelines", "pipeline");
    for (uint32_t k = 0; k < i && all[i].name.n; k++)
        if (str_eq(all[k].name, all[i].name)) conf_opt_error(o, "name", "this venue has an entry already", f->errs);
}

static void fill_venues(struct filler *f)
{
    struct conf *c = &f->full->pub;
    const struct node *group = members(f, "venues", NODE_LIST, false);
    struct conf_venue *list = rows(f, group, sizeof *list);
    for (const struct node *n = group ? group->first : NULL; n && !f->no_memory; n = n->next)
        fill_venue(f, group, n, list, c->n_venues++);
    c->venues = list;
}

static void check_default_pipeline(struct filler *f, struct conf_opts *top)
{
    struct conf *c = &f->full->pub;
    const struct node *root = f->full->tree.root;
    check_filled(f, top, "store");
    check_reference(f, top, "store", "instances", "instance");
    check_reference(f, top, "default_pipeline", "pipelines", "pipeline");
    if (c->default_pipeline.n) return;
    if (c->n_pipelines == 1) c->default_pipeline = derive(f, top, "default_pipeline", c->pipelines[0].name);
    else if (top && c->n_pipelines)
        conf_error(f->errs, root->file, root->line, "required option \"default_pipeline\" is missing: there are several pipelines");
}

int conf_check_reload(const struct conf *old, const struct conf *next, struct conf_errors *errs)
{
    const struct full *a = (const struct full *)(const void *)old, *b = (const struct full *)(const void *)next;
    const char *name = NULL;
    if (conf_opts_equal(a->lists->opts, b->lists->opts, MINTD_RESTART, &name)) return 0;
    conf_opt_error(b->lists->opts, name, "a change needs a restart", errs);
    return -EINVAL;
}

int full_fill(struct full *full, struct conf_errors *errs)
{
    struct filler f = { .full = full, .errs = errs };
    uint32_t before = errs->n;
    struct conf_opts *top = fill_top(&f);
    fill_log(&f);
    fill_commit(&f);
    fill_listen(&f);
    fill_api(&f);
    fill_instances(&f);
    fill_pipelines(&f);
    fill_venues(&f);
    check_default_pipeline(&f, top);
    return f.no_memory ? -ENOMEM : errs->n != before ? -EINVAL : 0;
}
