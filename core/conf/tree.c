/* The merged tree: libconfig's settings copied into the arena of a conf, each with its file and line. Owns the nodes. Calls
 * libconfig and base/ only. Loop thread. */
#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdio.h>

#include "conf/conf_int.h"

struct node *node_new(struct tree *t, struct node *parent, const char *name, enum node_type type)
{
    struct node *n = arena_alloc(t->mem, sizeof *n);
    if (!n) return NULL;
    n->type = type;
    n->name = name;
    if (!parent) return n;
    if (parent->last) parent->last->next = n;
    else parent->first = n;
    parent->last = n;
    return n;
}

struct node *node_find(const struct node *group, struct mintd_str name)
{
    if (!group || group->type != NODE_GROUP) return NULL;
    for (struct node *n = group->first; n; n = n->next)
        if (str_eq(SZ(n->name), name)) return n;
    return NULL;
}

uint32_t node_count(const struct node *n)
{
    uint32_t count = 0;
    for (const struct node *c = n ? n->first : NULL; c; c = c->next) count++;
    return count;
}

const char *node_type_name(const struct node *n)
{
    static const char *const names[] = { "a group", "a list", "an integer", "a float", "a boolean", "a string", "a text" };
    return names[n->type];
}

/* ---- from libconfig */
struct reading { struct tree *tree; const char *main, *seen, *copied; };   /* seen, copied: the file name met last */

static enum node_type type_of(int type)
{
    switch (type) {
    case CONFIG_TYPE_GROUP: return NODE_GROUP;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64: return NODE_INT;
    case CONFIG_TYPE_FLOAT: return NODE_FLOAT;
    case CONFIG_TYPE_BOOL: return NODE_BOOL;
    case CONFIG_TYPE_STRING: return NODE_STR;
    default: return NODE_LIST;
    }
}

static const char *file_of(struct reading *r, const config_setting_t *setting)
{
    const char *file = config_setting_source_file(setting);
    if (!file) return r->main;
    if (file == r->seen) return r->copied;
    r->seen = file;
    return r->copied = arena_cstr(r->tree->mem, SZ(file));
}

static int read_value(struct reading *r, const config_setting_t *setting, struct node *n)
{
    const char *text;
    if (n->type == NODE_INT) n->num = config_setting_type(setting) == CONFIG_TYPE_INT ? config_setting_get_int(setting)
                                                                                     : config_setting_get_int64(setting);
    if (n->type == NODE_BOOL) n->num = config_setting_get_bool(setting);
    if (n->type != NODE_STR) return 0;
    text = config_setting_get_string(setting);
    n->str = arena_str(r->tree->mem, SZ(text));
    return text && *text && !n->str.p ? -ENOMEM : 0;
}

/* Recursion is bounded: the scan refused deeper nesting */
static int read_node(struct reading *r, config_setting_t *setting, struct node *parent, struct node **ret)
{
    const char *name = config_setting_name(setting);
    struct node *n = node_new(r->tree, parent, name ? arena_cstr(r->tree->mem, SZ(name)) : NULL, type_of(config_setting_type(setting)));
    if (!n || (name && !n->name)) return -ENOMEM;
    n->file = file_of(r, setting);
    n->line = config_setting_source_line(setting);
    if (!n->file || read_value(r, setting, n)) return -ENOMEM;
    int count = config_setting_is_aggregate(setting) ? config_setting_length(setting) : 0;
    for (int i = 0; i < count; i++) {
        int q = read_node(r, config_setting_get_elem(setting, (unsigned)i), n, NULL);
        if (q) return q;
    }
    if (ret) *ret = n;
    return 0;
}

#ifdef __SANITIZE_ADDRESS__
/* libconfig 1.5 does not free the string in front of a syntax error. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libconfig.so\n"; }
#endif

static int parse(struct tree *t, const char *path, const char *text, struct conf_errors *errs, struct node **ret)
{
    char folder[PATH_MAX];
    struct node *root = NULL;
    struct reading reading = { .tree = t, .main = arena_cstr(t->mem, SZ(path)) };
    if (!reading.main) return -ENOMEM;
    config_t config;
    config_init(&config);
    const char *dir = scan_include_dir(path, folder, sizeof folder);
    if (dir) config_set_include_dir(&config, dir);
    int r = 0;
    if (config_read_string(&config, text) != CONFIG_TRUE) {
        const char *file = config_error_file(&config), *why = config_error_text(&config);
        conf_error(errs, file ? file : path, (unsigned)config_error_line(&config), "%s", why ? why : "cannot be parsed");
        r = -EINVAL;
    } else r = read_node(&reading, config_root_setting(&config), NULL, &root);
    config_destroy(&config);
    if (r) return r;
    root->line = 1;
    *ret = root;
    return 0;
}

int tree_read(struct tree *t, const char *path, struct conf_errors *errs, struct node **ret_root)
{
    struct buf text = { 0 };
    int r = scan_file(path, errs, &text);
    if (!r) r = parse(t, path, text.p, errs, ret_root);
    buf_free(&text);
    return r;
}

/* ---- merging */
static void append(struct node *parent, struct node *n)
{
    n->next = NULL;
    if (parent->last) parent->last->next = n;
    else parent->first = n;
    parent->last = n;
}

static void replace(struct node *old, const struct node *now)
{
    struct node *next = old->next;
    *old = *now;
    old->next = next;
}

void tree_merge(struct node *into, struct node *from)
{
    for (struct node *n = from->first, *next; n; n = next) {
        next = n->next;
        struct node *old = node_find(into, SZ(n->name));
        if (!old) append(into, n);
        else if (old->type == NODE_GROUP && n->type == NODE_GROUP) tree_merge(old, n);
        else replace(old, n);
    }
}
