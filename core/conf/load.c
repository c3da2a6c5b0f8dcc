/* Loading: the main file, conf.d beside it, the environment; one conf or errors. Owns every struct conf by reference count.
 * Calls base/ only. Loop thread; blocking on files. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/conf_int.h"

static struct full *full_of(struct conf *c) { return (struct full *)(void *)c; }   /* pub is its first member */

static void full_free(struct full *f)
{
    for (struct opts_list *l = f->lists; l; l = l->next) conf_opts_free(l->opts);
    arena_free(f->tree.mem);
    free(f);
}

static struct full *full_new(const char *file)
{
    char folder[PATH_MAX], real[PATH_MAX];
    struct full *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->refs = 1;
    f->tail = &f->lists;
    f->tree.mem = arena_new(0);
    const char *dir = scan_include_dir(file, folder, sizeof folder);
    if (f->tree.mem) {
        f->pub.file = arena_cstr(f->tree.mem, SZ(file));
        f->tree.folder = arena_str(f->tree.mem, SZ(realpath(dir ? dir : ".", real) ? real : "."));
    }
    if (f->pub.file && f->tree.folder.p) return f;
    full_free(f);
    return NULL;
}

/* ---- conf.d */
static int is_drop_in(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return e->d_name[0] != '.' && n > 4 && !strcmp(e->d_name + n - 4, ".cfg");
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int merge_file(struct full *f, const char *path, struct conf_errors *errs)
{
    struct node *root = NULL;
    int r = tree_read(&f->tree, path, errs, &root);
    if (!r) tree_merge(f->tree.root, root);
    return r;
}

static int merge_drop_ins(struct full *f, struct conf_errors *errs)
{
    char folder[PATH_MAX], path[PATH_MAX];
    struct dirent **entries = NULL;
    const char *dir = scan_include_dir(f->pub.file, folder, sizeof folder);
    snprintf(path, sizeof path, "%s%sconf.d", dir ? dir : "", dir ? "/" : "");
    int n = scandir(path, &entries, is_drop_in, by_name), result = 0;
    if (n < 0 && errno == ENOENT) return 0;
    if (n < 0) {
        result = -errno;
        conf_error(errs, path, 0, "cannot be read: %s", strerror(-result));
    }
    for (int i = 0; i < n; i++) {
        char file[PATH_MAX];
        int w = snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        int r = w < 0 || (size_t)w >= sizeof file ? -ENAMETOOLONG : merge_file(f, file, errs);
        if (r == -ENAMETOOLONG) conf_error(errs, path, 0, "the path of a file in it is too long");
        if (r && !result) result = r;
        free(entries[i]);
    }
    free(entries);
    return result;
}

int conf_load(const char *file, struct conf_errors *errs, struct conf **ret)
{
    if (strlen(file) >= PATH_MAX - 16) {
        conf_error(errs, NULL, 0, "the path of the configuration file is too long");
        return -ENAMETOOLONG;
    }
    struct full *f = full_new(file);
    int r = f ? tree_read(&f->tree, file, errs, &f->tree.root) : -ENOMEM;
    int q = r ? 0 : merge_drop_ins(f, errs);
    if (!r) r = q;
    if (!r) {
        r = env_apply(&f->tree, errs);
        if (r != -ENOMEM) q = full_fill(f, errs);
        if (q) r = q;
    }
    if (r == -ENOMEM) conf_no_memory(errs, file);
    if (r && f) full_free(f);
    if (!r) *ret = &f->pub;
    return r;
}

struct conf *conf_ref(struct conf *c)
{
    full_of(c)->refs++;
    return c;
}

struct conf *conf_unref(struct conf *c)
{
    if (c && !--full_of(c)->refs) full_free(full_of(c));
    return NULL;
}

const struct conf_instance *conf_instance(const struct conf *c, struct mintd_str name)
{
    for (uint32_t i = 0; i < c->n_instances; i++)
        if (str_eq(c->instances[i].name, name)) return &c->instances[i];
    return NULL;
}

void conf_keep_instance(struct conf *c, struct mintd_str name)
{
    const struct conf_instance *one = conf_instance(c, name);
    c->n_instances = one ? 1 : 0;
    if (one) c->instances = one;
}

const struct conf_pipeline *conf_pipeline(const struct conf *c, struct mintd_str name)
{
    for (uint32_t i = 0; i < c->n_pipelines; i++)
        if (str_eq(c->pipelines[i].name, name)) return &c->pipelines[i];
    return NULL;
}

const struct conf_pipeline *conf_pipeline_of(const struct conf *c, struct mintd_str named, struct mintd_str venue)
{
    if (named.n) return conf_pipeline(c, named);
    for (uint32_t i = 0; i < c->n_venues; i++)
        if (str_eq(c->venues[i].name, venue)) return conf_pipeline(c, c->venues[i].pipeline);
    return conf_pipeline(c, c->default_pipeline);
}
