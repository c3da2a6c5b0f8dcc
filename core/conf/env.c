/* The environment as the last layer of the tree: MINTD_<GROUP>_<OPTION> for every option of the core's groups, and the names that
 * earlier deployments use. Owns nothing. Reads environ, calls base/ only. Loop thread. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/conf_int.h"

#define PREFIX "MINTD_"
struct env { struct tree *tree; struct conf_errors *errs; bool no_memory; };

/* Variables of the test suites and tools that share the prefix; they change nothing here. */
static const char *const foreign[] = { "MINTD_BIN", "MINTD_BUILD", "MINTD_JOBS", "MINTD_KILLS", "MINTD_PLUGINS", "MINTD_SOURCE",
    "MINTD_TEST_SCALE",
#ifdef MINTD_CRASH_POINTS
    "MINTD_CRASH_AT",
#endif
#ifdef MINTD_SABOTAGE
    "MINTD_SABOTAGE", "MINTD_SABOTAGE_KILLS",
#endif
};
/* Known names whose feature is not in this version: said, not swallowed. */
static const char *const later[] = { "REDIS_ENABLED", "REDIS_URL", "REDIS_PASSWORD", "RECONCILIATION_SCHEDULE" };

static void env_name(const struct schema *s, const char *option, char *buf, size_t n)
{
    snprintf(buf, n, PREFIX "%s%s%s", s->group, *s->group ? "_" : "", option);
    for (char *p = buf; *p; p++) *p = (char)toupper((unsigned char)*p);
}

/* A setting of this group, new or overwritten, with the variable as its origin */
static void set(struct env *e, struct node *group, const char *option, struct mintd_str value, const char *origin)
{
    if (!group || group->type != NODE_GROUP) return;       /* the schema check names the wrong type */
    struct node *n = node_find(group, SZ(option));
    if (!n) n = node_new(e->tree, group, option, NODE_TEXT);
    struct mintd_str copy = arena_str(e->tree->mem, value);
    if (!n || (value.n && !copy.p)) {
        e->no_memory = true;
        return;
    }
    struct node *next = n->next;
    *n = (struct node){ .next = next, .name = option, .type = NODE_TEXT, .str = copy, .file = origin };
}

static struct node *group_of(struct env *e, const char *name, const char *origin)
{
    if (!*name) return e->tree->root;
    struct node *n = node_find(e->tree->root, SZ(name));
    if (n) return n;
    n = node_new(e->tree, e->tree->root, name, NODE_GROUP);
    if (n) n->file = origin;
    else e->no_memory = true;
    return n;
}

static const char *origin_of(struct env *e, struct mintd_str name)
{
    struct mintd_str s = arena_printf(e->tree->mem, "environment " STR_FMT, STR_ARG(name));
    e->no_memory |= !s.p;
    return s.p;
}

/* false: no such option; near then holds the most alike name, in buf */
static bool option_of(struct mintd_str name, const struct schema **ret_schema, const char **ret_option, struct nearest *near,
                      char buf[CONF_NAME_MAX])
{
    char candidate[CONF_NAME_MAX];
    for (unsigned i = 0; i < SCHEMA_CORE_END; i++)
        for (uint32_t k = 0; k < conf_schema[i].n; k++) {
            *ret_schema = &conf_schema[i];
            *ret_option = conf_schema[i].table[k].name;
            env_name(&conf_schema[i], *ret_option, candidate, sizeof candidate);
            if (str_eq(name, SZ(candidate))) return true;
            nearest_try(near, SZ(candidate));
            if (near->best.p != candidate) continue;
            near->best.p = memcpy(buf, candidate, sizeof candidate);     /* the next one overwrites it */
        }
    return false;
}

static bool is_foreign(struct mintd_str name)
{
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        if (str_eq(name, SZ(foreign[i]))) return true;
    return false;
}

static void one_of_ours(struct env *e, struct mintd_str name, struct mintd_str value)
{
    const struct schema *schema;
    const char *option, *origin;
    struct nearest near = { .wanted = name };
    char hint[128], best[CONF_NAME_MAX];
    if (is_foreign(name) || !(origin = origin_of(e, name))) return;
    if (option_of(name, &schema, &option, &near, best)) set(e, group_of(e, schema->group, origin), option, value, origin);
    else conf_error(e->errs, origin, 0, "no such option%s", nearest_hint(&near, hint, sizeof hint));
}

/* The same value for every pipeline */
static void set_mint(struct env *e, const char *option, struct mintd_str value, const char *origin)
{
    struct node *pipelines = node_find(e->tree->root, S("pipelines"));
    for (struct node *p = pipelines ? pipelines->first : NULL; p; p = p->next) {
        if (p->type != NODE_GROUP) continue;
        struct node *mint = node_find(p, S("mint"));
        if (!mint) mint = node_new(e->tree, p, "mint", NODE_GROUP);
        if (!mint) e->no_memory = true;
        else if (!mint->file) mint->file = origin;
        set(e, mint, option, value, origin);
    }
}

static void older_names(struct env *e)
{
    uint64_t ms;
    const char *batch = getenv("MAX_BATCH_SIZE"), *delay = getenv("BATCH_DELAY_MS"), *origin;
    if (batch && (origin = origin_of(e, S("MAX_BATCH_SIZE")))) set_mint(e, "batch", SZ(batch), origin);
    if (delay && (origin = origin_of(e, S("BATCH_DELAY_MS")))) {
        struct mintd_str text = arena_printf(e->tree->mem, "%sms", delay);
        if (str_u64(SZ(delay), &ms)) conf_error(e->errs, origin, 0, "\"%s\" is not a whole number of milliseconds", delay);
        else set_mint(e, "batch_delay", text, origin);
    }
    if (getenv("ADMIN_API_KEY") && (origin = origin_of(e, S("ADMIN_API_KEY"))))
        set(e, group_of(e, "api", origin), "admin_key", S("env:ADMIN_API_KEY"), origin);
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        if (getenv(later[i])) log_warn("environment variable %s is set, but this version does not read it", later[i]);
}

int env_apply(struct tree *t, struct conf_errors *errs)
{
    struct env e = { .tree = t, .errs = errs };
    uint32_t before = errs->n;
    older_names(&e);
    for (char **p = environ; p && *p; p++) {
        const char *eq = strchr(*p, '=');
        if (eq && !strncmp(*p, PREFIX, sizeof PREFIX - 1)) one_of_ours(&e, (struct mintd_str){ *p, (size_t)(eq - *p) }, SZ(eq + 1));
    }
    return e.no_memory ? -ENOMEM : errs->n != before ? -EINVAL : 0;
}
