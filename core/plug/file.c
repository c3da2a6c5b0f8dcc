/* Loads plugin files: everything is checked before dlopen, because constructors run at load. Owns the records of loaded files and
 * their descriptors, which stay open for life: glibc knows a library by the name it was opened with, and a number of
 * /proc/self/fd that is used again would silently give the first library. Nothing is ever unloaded.
 * Calls base/. Loop thread, at start, on reload and for --describe; blocking. */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/metric.h"
#include "base/str.h"
#include "plug/inst.h"

#define ENTRY "mintd_plugin_v0"

enum { NAME_LEN_MAX = 64, OPENED_MAX = 1024, HEAD = offsetof(struct mintd_plugin, kind),
       DESC_MIN = offsetof(struct mintd_plugin, destroy) + sizeof(void *) };    /* the struct as it was in 0.0 */
_Static_assert(MINTD_ABI_MAJOR == 0, "ENTRY names the major");

struct opened { dev_t dev; ino_t ino; void *so; };
static struct opened opened[OPENED_MAX];                    /* each distinct file once, also those refused after dlopen */
static uint32_t n_opened;
static struct plug_file *files;

static int refuse(struct buf *err, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refuse(struct buf *err, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_printf(err, "%s: %s", path, text);
    return -EINVAL;
}

/* ---- before dlopen */
static bool ours(const struct stat *st) { return st->st_uid == 0 || st->st_uid == geteuid(); }

static int check_owner(const char *path, const struct stat *st, bool dir, struct buf *err)
{
    if (!ours(st))
        return refuse(err, path, "belongs to user %u, must belong to root or to user %u who runs mintd: chown it",
                      (unsigned)st->st_uid, (unsigned)geteuid());
    bool open = st->st_mode & (S_IWGRP | S_IWOTH) && !(dir && st->st_mode & S_ISVTX);
    if (open)
        return refuse(err, path, "mode %04o lets group or others write, and who can write it runs code in mintd: chmod go-w it",
                      (unsigned)(st->st_mode & 07777));
    return 0;
}

/* Every folder on the way must be as trustworthy as the file. A sticky one (/tmp) protects what is inside. */
static int check_folders(const char *dir, struct buf *err)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s", dir);
    for (;;) {
        if (stat(path, &st)) return refuse(err, path, "cannot look at the plugin folder: %s", strerror(errno));
        int r = check_owner(path, &st, true, err);
        char *slash = strrchr(path, '/');
        if (r || !slash || !slash[1]) return r;
        slash[slash == path ? 1 : 0] = 0;
    }
}

static int check_name(const char *dir, struct mintd_str name, struct buf *err)
{
    char shown[NAME_LEN_MAX + 8];
    snprintf(shown, sizeof shown, "\"%.*s\"", (int)(name.n < NAME_LEN_MAX ? name.n : NAME_LEN_MAX), name.p ? name.p : "");
    bool fine = name.n && name.n <= NAME_LEN_MAX;
    for (size_t i = 0; fine && i < name.n; i++) {
        char c = name.p[i];
        fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    }
    if (!fine) return refuse(err, dir, "%s cannot be a plugin's name: lower-case letters, digits and \"-\" only", shown);
    if (!kind_of_name(name))
        return refuse(err, dir, "%s says no kind: plugins are called chain-*, store-*, cache-*, signer-*, uploader-* or ipfs", shown);
    return 0;
}

/* The dynamic loader maps what the program headers promise and dies where a cut file has nothing: looked at before. */
static bool whole(int fd, const struct stat *st, const Elf64_Ehdr *h)
{
    uint64_t size = (uint64_t)st->st_size;
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff > size || h->e_phnum * sizeof(Elf64_Phdr) > size - h->e_phoff) return false;
    for (unsigned i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr p;
        if (pread(fd, &p, sizeof p, (off_t)(h->e_phoff + i * sizeof p)) != (ssize_t)sizeof p) return false;
        if (p.p_type == PT_LOAD && (p.p_offset > size || p.p_filesz > size - p.p_offset)) return false;
    }
    return true;
}

static int check_open_file(const char *path, int fd, struct stat *ret, struct buf *err)
{
    Elf64_Ehdr elf;
    struct stat st;
    if (fstat(fd, &st)) return refuse(err, path, "cannot look at the file: %s", strerror(errno));
    if (!S_ISREG(st.st_mode)) return refuse(err, path, "is %s, a plugin is a regular file", S_ISDIR(st.st_mode) ? "a folder" : "no file");
    int r = check_owner(path, &st, false, err);
    if (r) return r;
    if (!st.st_size) return refuse(err, path, "is empty: install or build the plugin again");
    if (pread(fd, &elf, sizeof elf, 0) != (ssize_t)sizeof elf || memcmp(elf.e_ident, "\177ELF\2", 5))
        return refuse(err, path, "is not a 64-bit shared object (no such ELF header): install or build the plugin again");
    if (!whole(fd, &st, &elf)) return refuse(err, path, "is cut off: install or build the plugin again");
    *ret = st;
    return 0;
}

static int open_file(const char *path, struct buf *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) return fd;
    if (errno == ELOOP) return refuse(err, path, "is a symbolic link, a plugin must be the file itself: copy it there");
    if (errno == ENOENT) return refuse(err, path, "no such file: install the plugin there, or correct its name or plugin_dir");
    return refuse(err, path, "cannot open the plugin: %s", strerror(errno));
}

/* ---- dlopen and handshake */
static const char *reason_of(const char *dl)
{
    const char *colon = dl ? strstr(dl, ": ") : NULL;       /* "/proc/self/fd/7: the reason" */
    return colon ? colon + 2 : dl ? dl : "unknown reason";
}

static int load(const char *path, int fd, const struct stat *st, void **ret, struct buf *err)
{
    for (uint32_t i = 0; i < n_opened; i++)
        if (opened[i].dev == st->st_dev && opened[i].ino == st->st_ino) { close(fd); *ret = opened[i].so; return 0; }
    char self[48];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    void *so = n_opened < OPENED_MAX ? dlopen(self, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : NULL;
    if (!so) {
        int r = refuse(err, path, "cannot be loaded: %s", n_opened < OPENED_MAX ? reason_of(dlerror()) : "too many plugins");
        close(fd);
        return r;
    }
    opened[n_opened++] = (struct opened){ st->st_dev, st->st_ino, so };
    *ret = so;
    return 0;
}

static int no_entry(const char *path, void *so, struct buf *err)
{
    char name[] = "mintd_plugin_v0";
    for (char major = '1'; major <= '9'; major++) {
        name[sizeof name - 2] = major;
        if (dlsym(so, name))
            return refuse(err, path, "is built for ABI major %c (%s), this mintd speaks major 0 (" ENTRY
                          "): build it against this version's plugin.h, or update mintd", major, name);
    }
    return refuse(err, path, "is not a mintd plugin, it exports no " ENTRY);
}

/* Reads magic, size, major and need_minor, and nothing else before these fit. */
static int handshake(const char *path, const struct mintd_plugin *p, struct buf *err)
{
    if (!p || (uintptr_t)p % 8) return refuse(err, path, ENTRY " answers no description, build the plugin again");
    if (p->magic != MINTD_MAGIC)
        return refuse(err, path, "is not a mintd plugin: magic %08x found, %08x needed", p->magic, MINTD_MAGIC);
    if (p->size < HEAD) return refuse(err, path, "its description has %u bytes, at least %d needed: build it again", p->size, DESC_MIN);
    if (p->abi_major != MINTD_ABI_MAJOR)
        return refuse(err, path, "is built for ABI major %u, this mintd speaks major %d: build it against this version's plugin.h",
                      p->abi_major, MINTD_ABI_MAJOR);
    if (p->need_minor > MINTD_ABI_MINOR)
        return refuse(err, path, "needs ABI %u.%u, this mintd offers %d.%d: update mintd, or use an older release of the plugin",
                      p->abi_major, p->need_minor, MINTD_ABI_MAJOR, MINTD_ABI_MINOR);
    if (p->size < DESC_MIN)
        return refuse(err, path, "its description has %u bytes, at least %d needed: build it again", p->size, DESC_MIN);
    return 0;
}

/* ---- the record */
static void *copy_rows(struct mintd_vec *v, size_t size)
{
    char *to = calloc(v->n ? v->n : 1, size);
    for (uint32_t i = 0; to && i < v->n; i++) mintd_row(*v, i, to + (size_t)i * size, size);
    *v = (struct mintd_vec){ to, v->n, (uint32_t)size };
    return to;
}

static bool vec_ok(struct mintd_vec v) { return !v.n || (v.p && v.stride && v.stride % 8 == 0 && v.n <= 1024); }

static int copy_desc(const struct mintd_plugin *p, struct plug_file *f, struct buf *err)
{
    memcpy(&f->desc, p, p->size < sizeof f->desc ? p->size : sizeof f->desc);
    f->desc.size = sizeof f->desc;
    struct mintd_plugin *d = &f->desc;
    if (!vec_ok(d->opts) || !vec_ok(d->metrics) || !vec_ok(d->slugs))
        return refuse(err, f->path, "its option, metric or slug table cannot be read: rows without memory or stride");
    f->opts = copy_rows(&d->opts, sizeof *f->opts);
    f->metrics = copy_rows(&d->metrics, sizeof *f->metrics);
    f->slugs = copy_rows(&d->slugs, sizeof *f->slugs);
    f->registered = calloc(d->metrics.n + 1, sizeof(struct metric *));
    if (!f->opts || !f->metrics || !f->slugs || !f->registered) return -ENOMEM;
    const struct plug_ops *ops = d->ops;
    if (!ops || (uintptr_t)ops % 8) return refuse(err, f->path, "publishes no ops table");
    size_t n = ops->size < sizeof f->ops ? ops->size : sizeof f->ops;
    memcpy(&f->ops, ops, n & ~(size_t)7);
    for (uint32_t i = kind_ops(d->kind); i < OPS_MAX; i++) f->ops.fn[i] = NULL;     /* ops of a newer minor */
    f->ops.size = sizeof f->ops;
    d->ops = &f->ops;
    return 0;
}

/* The registry keeps label texts for ever, so they are made once for each label and never freed. */
static const char *label_text(const char *label)
{
    static struct text { struct text *next; char p[]; } *texts;
    if (!label) return "instance";
    for (struct text *t = texts; t; t = t->next)
        if (!strcmp(t->p + strlen("instance,"), label)) return t->p;
    size_t n = strlen("instance,") + strlen(label) + 1;
    struct text *t = malloc(sizeof *t + n);
    if (!t) return "instance";
    snprintf(t->p, n, "instance,%s", label);
    t->next = texts;
    texts = t;
    return t->p;
}

void plug_file_register(struct plug_file *f)
{
    for (uint32_t i = 0; i < f->desc.metrics.n; i++) {
        const struct mintd_metric *m = &f->metrics[i];
        f->registered[i] = metric_new((enum metric_type)m->type, m->name, label_text(m->label), m->help, NULL);
    }
}

static struct plug_file *file_free(struct plug_file *f)
{
    if (!f) return NULL;
    free(f->name);
    free(f->path);
    free(f->opts);
    free(f->metrics);
    free(f->registered);
    free(f->slugs);
    free(f);
    return NULL;
}

static int lint_with_path(const struct plug_file *f, struct buf *err)
{
    struct buf why = { 0 };
    int r = lint_desc(f, &why);
    if (r) buf_printf(err, "%s: " STR_FMT, f->path, STR_ARG(buf_view(&why)));
    buf_free(&why);
    return r;
}

static int read_plugin(struct plug_file *f, struct buf *err)
{
    struct stat st = { 0 };
    void *so;
    int fd = open_file(f->path, err);
    if (fd < 0) return fd;
    int r = check_open_file(f->path, fd, &st, err);
    if (r) { close(fd); return r; }
    r = load(f->path, fd, &st, &so, err);
    if (r) return r;
    const struct mintd_plugin *(*entry)(void);
    *(void **)&entry = dlsym(so, ENTRY);
    if (!entry) return no_entry(f->path, so, err);
    const struct mintd_plugin *p = entry();
    r = handshake(f->path, p, err);
    if (!r) r = copy_desc(p, f, err);
    if (!r) r = lint_with_path(f, err);
    return r;
}

static struct plug_file *known(const char *path)
{
    struct plug_file *f = files;
    while (f && strcmp(f->path, path)) f = f->next;
    return f;
}

static struct plug_file *file_new(const char *path, struct mintd_str name)
{
    struct plug_file *f = calloc(1, sizeof *f);
    if (f) f->path = strdup(path);
    if (f) f->name = strndup(name.p, name.n);
    return f && f->path && f->name ? f : file_free(f);
}

int plug_file_load(const char *dir, struct mintd_str name, struct plug_file **ret, struct buf *err)
{
    char real[PATH_MAX], path[PATH_MAX + NAME_LEN_MAX + 8];
    int r = check_name(dir, name, err);
    if (r) return r;
    if (!realpath(dir, real)) return refuse(err, dir, "cannot use it as plugin_dir: %s", strerror(errno));
    snprintf(path, sizeof path, "%s/" STR_FMT ".so", strcmp(real, "/") ? real : "", STR_ARG(name));
    struct plug_file *f = known(path);
    if (f) { *ret = f; return 0; }
    f = file_new(path, name);
    if (!f) return -ENOMEM;
    r = check_folders(real, err);
    if (!r) r = read_plugin(f, err);
    if (r) { file_free(f); return r; }
    f->next = files;
    files = f;
    *ret = f;
    return 0;
}

const struct mintd_plugin *plug_file_desc(const struct plug_file *f) { return &f->desc; }

const char *plug_file_help(const struct plug_file *f, struct mintd_str slug)
{
    for (uint32_t i = 0; i < f->desc.slugs.n; i++)
        if (str_eq(slug, SZ(f->slugs[i].slug))) return f->slugs[i].help;
    return NULL;
}

void plug_files_close(void)
{
    while (files) {
        struct plug_file *next = files->next;
        file_free(files);
        files = next;
    }
}
