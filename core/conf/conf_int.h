/* Inside conf/: the merged tree, the tables of the core and what the files offer each other. Loop thread, like conf.h. */
#ifndef CONF_CONF_INT_H
#define CONF_CONF_INT_H
#include "base/arena.h"
#include "conf/conf.h"

enum { CONF_TEXT_MAX = 4 << 20, CONF_DEPTH_MAX = 32, CONF_ERRORS_MAX = 20, CONF_NAME_MAX = 64, CONF_SECRET_MAX = 65536 };

/* ---- errors.c */
struct nearest { struct mintd_str wanted, best; unsigned distance; };    /* start with .wanted set, the rest 0 */
void nearest_try(struct nearest *, struct mintd_str candidate);
const char *nearest_hint(const struct nearest *, char *buf, size_t n);   /* `, did you mean "x"?` or "" */
void conf_no_memory(struct conf_errors *, const char *file);

/* ---- tree.c: settings with their origin, in the arena of one conf */
enum node_type { NODE_GROUP, NODE_LIST, NODE_INT, NODE_FLOAT, NODE_BOOL, NODE_STR,
    NODE_TEXT };                             /* from the environment or a default: takes the type that is asked for */
struct node {
    struct node *next, *first, *last;        /* sibling; children of groups and lists */
    const char *name;                        /* NULL inside lists */
    struct mintd_str str; int64_t num;
    const char *file;                        /* or "environment NAME"; NULL: default */
    unsigned line;                           /* 0 outside files */
    enum node_type type;
};
struct tree {
    struct arena *mem;
    struct node *root;                       /* a group */
    struct mintd_str folder;                 /* of the main file, absolute */
    struct mintd_str state_dir;              /* absolute; empty until known */
};
struct conf_section { const struct tree *tree; const struct node *group; };

struct node *node_new(struct tree *, struct node *parent, const char *name, enum node_type);   /* NULL: no memory */
struct node *node_find(const struct node *group, struct mintd_str name);
const char *node_type_name(const struct node *);
uint32_t node_count(const struct node *);
/* Reads one file with its includes as a tree of its own. 0; -EINVAL, -errno with errors; -ENOMEM */
int  tree_read(struct tree *, const char *path, struct conf_errors *, struct node **ret_root);
void tree_merge(struct node *into, struct node *from);                   /* groups merge, all else replaces; takes from's nodes */

/* ---- scan.c: the text of one file and its includes, checked for what libconfig would misread. 0, -EINVAL, -errno with errors */
int  scan_file(const char *path, struct conf_errors *, struct buf *ret_text);
const char *scan_include_dir(const char *path, char *buf, size_t n);     /* folder that includes are looked up in; NULL: the current one */

/* ---- env.c */
int  env_apply(struct tree *, struct conf_errors *);                     /* 0, -EINVAL with errors, -ENOMEM */

/* ---- secret.c */
/* Resolves a reference into guarded memory (secret_free). On failure one error, which never shows a literal. */
int  secret_resolve(const struct tree *or_null, struct mintd_str reference, struct mintd_str *ret, char *err, size_t n);
void secret_free(struct mintd_str);

/* ---- unit.c */
void unit_print_duration(struct buf *, int64_t ms);
void unit_print_size(struct buf *, int64_t bytes);
const char *unit_first(const char *choices, char *buf, size_t n);        /* name of the first unit of an amount; "" if none */

/* ---- opts.c */
struct value { struct mintd_str str; int64_t num; bool quoted; };        /* str: as written, resolved where the type says so */
struct slot { const struct mintd_opt *opt; struct value *v; uint32_t n; const char *file; unsigned line; bool set; };
struct conf_opts { struct arena *mem; const char *what, *file; unsigned line; uint32_t n; struct slot *slots; };
/* As conf_opts_new; groups named in `groups` (NULL-terminated) may stand in the section beside the options. */
int  opts_check(const struct conf_section *, const char *what, const struct mintd_opt *table, uint32_t n, const char *const *groups,
                struct conf_errors *, struct conf_opts **ret);
bool opts_is(const struct mintd_opt *, const char *type);                /* of the elements, if a list */
bool opts_is_number(const struct mintd_opt *);
bool opts_is_list(const struct mintd_opt *);

/* ---- schema.c: the options of the core */
struct schema { const char *group; const struct mintd_opt *table; uint32_t n; };
enum { SCHEMA_TOP, SCHEMA_LOG, SCHEMA_COMMIT, SCHEMA_INTAKE, SCHEMA_LISTEN, SCHEMA_API, SCHEMA_RECONCILE, SCHEMA_CORE_END,
    SCHEMA_INSTANCE = SCHEMA_CORE_END, SCHEMA_PIPELINE, SCHEMA_UPLOAD, SCHEMA_MINT, SCHEMA_CONFIRM, SCHEMA_RETRY, SCHEMA_VENUE,
    SCHEMA_COUNT };
extern const struct schema conf_schema[SCHEMA_COUNT];

/* ---- check.c: typed settings out of the tree */
struct opts_list { struct conf_opts *opts; const char *path; const struct node *extra; struct opts_list *next; };
struct full {                                /* what stands behind a struct conf */
    struct conf pub;
    unsigned refs;
    struct tree tree;
    struct opts_list *lists, **tail;         /* in the order of printing */
};
int  full_fill(struct full *, struct conf_errors *);                     /* 0, -EINVAL with errors, -ENOMEM */
#endif
