/* Key files: where they may lie, who may own them, how one is made. Worker 0. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signer.h"

static const char *const suffixes[] = { "", ".key", ".json", ".pem" };
enum { FILE_NAME = NAME_MAX_LEN + 8 };

bool trouble(struct trouble *t, uint32_t cls, const char *slug, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->msg, sizeof t->msg, fmt, args);
    va_end(args);
    t->cls = cls;
    t->slug = slug;
    return false;
}

static bool io_trouble(struct trouble *t, const char *path, const char *name, const char *what, int err)
{
    bool later = err == ENOSPC || err == EDQUOT || err == EMFILE || err == ENFILE || err == ENOMEM || err == EIO || err == EINTR;
    return trouble(t, later ? MINTD_TRANSIENT : MINTD_PERMANENT, "signer.io", "%s%s%s: cannot %s: %s", path, name[0] ? "/" : "", name, what,
                   strerror(err));
}

static bool owner_ok(const struct stat *st) { return st->st_uid == geteuid() || st->st_uid == 0; }

/* ---- the folder: whoever may write there may put other keys in the place of ours */
static int sync_parent(struct signer *s)
{
    char *copy = strdup(s->dir), *slash = copy ? strrchr(copy, '/') : NULL;
    if (!copy) return -ENOMEM;
    if (slash) slash[slash == copy] = '\0';
    int fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : s->host->sync(s->ctx, fd);
    if (fd >= 0) close(fd);
    free(copy);
    return r;
}

static bool make_dir(struct signer *s, struct trouble *t)
{
    if (mkdir(s->dir, 0700) && errno != EEXIST) return io_trouble(t, s->dir, "", "make the folder", errno);
    int r = sync_parent(s);
    return r ? io_trouble(t, s->dir, "", "sync the folder above", -r) : true;
}

static bool dir_ok(struct signer *s, int fd, struct trouble *t)
{
    struct stat st;
    if (fstat(fd, &st)) return io_trouble(t, s->dir, "", "look at it", errno);
    if (!owner_ok(&st))
        return trouble(t, MINTD_PERMANENT, "signer.permissions",
                       "%s: belongs to user %u: it must be this daemon's or root's", s->dir, st.st_uid);
    if (st.st_mode & 022)
        return trouble(t, MINTD_PERMANENT, "signer.permissions",
                       "%s: others may write there (mode %04o): chmod go-w", s->dir, st.st_mode & 07777);
    return true;
}

int keyfile_dir(struct signer *s, struct trouble *t)
{
    int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && s->generate) {
        if (!make_dir(s, t)) return -1;
        fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0) {
        trouble(t, MINTD_PERMANENT, "signer.dir",
                "%s: %s: name the folder of the keys, or set generate", s->dir, strerror(errno));
        return -1;
    }
    if (dir_ok(s, fd, t)) return fd;
    close(fd);
    return -1;
}

/* ---- making one: written aside, synced, then linked, so that a key either is there whole or not at all and none is replaced */
static bool write_temp(struct signer *s, int dir, const char *temp, const char *text, size_t n, struct trouble *t)
{
    unlinkat(dir, temp, 0);                                /* of a process that died: the folder's lock is ours */
    int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return io_trouble(t, s->dir, temp, "make it", errno);
    ssize_t w = write(fd, text, n);
    int r = w < 0 ? -errno : (size_t)w != n ? -ENOSPC : s->host->sync(s->ctx, fd);
    if (close(fd) && !r) r = -errno;
    return r ? io_trouble(t, s->dir, temp, "write it", -r) : true;
}

static bool publish(struct signer *s, int dir, const char *temp, const char *file, struct trouble *t)
{
    if (linkat(dir, temp, dir, file, 0)) return io_trouble(t, s->dir, file, "make it", errno);
    unlinkat(dir, temp, 0);
    int r = s->host->sync(s->ctx, dir);
    return r ? io_trouble(t, s->dir, "", "sync the folder", -r) : true;
}

static bool generate(struct signer *s, int dir, const char *name, struct material *m, char file[FILE_NAME], struct trouble *t)
{
    char temp[FILE_NAME];
    snprintf(temp, sizeof temp, ".%s.new", name);
    snprintf(file, FILE_NAME, "%s.key", name);
    if (flock(dir, LOCK_EX | LOCK_NB))
        return trouble(t, MINTD_TRANSIENT, "signer.busy", "%s: another process is making keys here", s->dir);
    s->host->random(s->ctx, m->seed, SEED);
    char *text = (char *)m->file;
    sodium_bin2hex(text, FILE_MAX, m->seed, SEED);
    text[SEED * 2] = '\n';
    bool ok = write_temp(s, dir, temp, text, SEED * 2 + 1, t) && publish(s, dir, temp, file, t);
    if (!ok) unlinkat(dir, temp, 0);
    flock(dir, LOCK_UN);
    return ok;
}

/* ---- reading one */
static bool stat_ok(struct signer *s, const char *file, const struct stat *st, struct trouble *t)
{
    if (!S_ISREG(st->st_mode))
        return trouble(t, MINTD_PERMANENT, "signer.file", "%s/%s: %s: a key must be a regular file", s->dir, file,
                       S_ISDIR(st->st_mode) ? "is a folder" : "is a device, pipe or socket");
    if (!owner_ok(st))
        return trouble(t, MINTD_PERMANENT, "signer.permissions",
                       "%s/%s: belongs to user %u: it must be this daemon's or root's", s->dir, file, st->st_uid);
    if (st->st_mode & 077)
        return trouble(t, MINTD_PERMANENT, "signer.permissions",
                       "%s/%s: others may use it (mode %04o): chmod 0600, and think about a new key",
                       s->dir, file, st->st_mode & 07777);
    if (st->st_size > FILE_MAX)
        return trouble(t, MINTD_PERMANENT, "signer.size",
                       "%s/%s: has %lld bytes, a key file at most %d", s->dir, file, (long long)st->st_size, FILE_MAX);
    return true;
}

static bool read_all(struct signer *s, int fd, const char *file, struct material *m, struct trouble *t)
{
    m->n = 0;
    for (;;) {
        ssize_t r = read(fd, m->file + m->n, FILE_MAX - m->n);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return io_trouble(t, s->dir, file, "read it", errno);
        if (!r) return true;
        m->n += (size_t)r;
    }
}

static bool read_file(struct signer *s, int dir, const char *file, struct material *m, struct trouble *t)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ELOOP)
        return trouble(t, MINTD_PERMANENT, "signer.file", "%s/%s: is a symbolic link: put the file itself there", s->dir, file);
    if (fd < 0) return io_trouble(t, s->dir, file, "open it", errno);
    struct stat st;
    bool ok = fstat(fd, &st) ? io_trouble(t, s->dir, file, "look at it", errno)
        : stat_ok(s, file, &st, t) && read_all(s, fd, file, m, t);
    close(fd);
    if (!ok) return false;
    const char *why = format_read(m);
    return why ? trouble(t, MINTD_PERMANENT, "signer.format", "%s/%s: %s", s->dir, file, why) : true;
}

/* The one file of this key: 1 found, 0 none, -1 trouble. */
static int find(struct signer *s, int dir, const char *name, char file[FILE_NAME], struct trouble *t)
{
    int found = 0;
    for (size_t i = 0; i < LEN(suffixes); i++) {
        char now[FILE_NAME];
        struct stat st;
        snprintf(now, sizeof now, "%s%s", name, suffixes[i]);
        if (fstatat(dir, now, &st, AT_SYMLINK_NOFOLLOW)) {
            if (errno == ENOENT) continue;
            io_trouble(t, s->dir, now, "look at it", errno);
            return -1;
        }
        if (found) {
            trouble(t, MINTD_PERMANENT, "signer.several",
                    "%s: both %s and %s are there for the key %s: remove one", s->dir, file, now, name);
            return -1;
        }
        found = 1;
        memcpy(file, now, sizeof now);
    }
    return found;
}

static void tell(struct signer *s, const char *name, const char *file, const uint8_t pub[PUB])
{
    char hex[PUB * 2 + 1], path[4096 + FILE_NAME];
    sodium_bin2hex(hex, sizeof hex, pub, PUB);
    snprintf(path, sizeof path, "%.4000s/%s", s->dir, file);
    struct mintd_field fields[] = { { STR("key"), { name, strlen(name) } }, { STR("file"), { path, strlen(path) } },
                                    { STR("public_key"), { hex, PUB * 2 } } };
    s->host->log(s->ctx, NULL, MINTD_WARN, STR("made a new key: keep a copy of its file in a safe place"), ROWS(fields, LEN(fields)));
}

bool keyfile_load(struct signer *s, int dir, const char *name, struct material *m, struct trouble *t)
{
    char file[FILE_NAME];
    uint8_t pub[PUB], secret[SECRET];
    int found = find(s, dir, name, file, t);
    if (found < 0) return false;
    if (!found && !s->generate)
        return trouble(t, MINTD_PERMANENT, "signer.missing",
                       "%s: there is no %s, %s.key, %s.json or %s.pem: put the key there, or set generate",
                       s->dir, name, name, name, name);
    if (!found && !generate(s, dir, name, m, file, t)) return false;
    if (!read_file(s, dir, file, m, t)) return false;
    crypto_sign_seed_keypair(pub, secret, m->seed);
    sodium_memzero(secret, sizeof secret);
    if (m->has_pub && memcmp(pub, m->pub, PUB))
        return trouble(t, MINTD_PERMANENT, "signer.mismatch",
                       "%s/%s: its public half belongs to another secret: the file is damaged", s->dir, file);
    memcpy(m->pub, pub, PUB);
    if (!found) tell(s, name, file, pub);
    return true;
}
