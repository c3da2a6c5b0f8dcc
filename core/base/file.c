/* Small file helpers. Owns nothing after return. May call libc and base/str. Blocking, so start-up, tests and workers
 * only; what the store's or a ledger's order depends on is synced through loop_sync, not here. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void fd_close(int *fd)
{
    if (*fd >= 0) close(*fd);
}
#define AUTO_FD __attribute__((cleanup(fd_close))) int

static int read_all(int fd, struct buf *b)
{
    char chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) return 0;
        if (b->n + (size_t)n > b->max) return -EFBIG;
        buf_add(b, chunk, (size_t)n);
        if (b->bad) return -ENOMEM;
    }
}

/* *ret must be initialised; what it held is replaced. max 0: 1 GiB */
int file_read(const char *path, size_t max, struct buf *ret)
{
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return -errno;
    struct buf b = { .max = max ? max : 1 << 30 };
    int r = read_all(fd, &b);
    if (r) {
        buf_free(&b);
        return r;
    }
    b.max = ret->max;
    buf_free(ret);
    *ret = b;
    return 0;
}

static int write_all(int fd, struct mintd_str data)
{
    while (data.n) {
        ssize_t n = write(fd, data.p, data.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        data.p += n;
        data.n -= (size_t)n;
    }
    return 0;
}

static int write_temp(const char *temp, int fd, struct mintd_str data, unsigned mode, const char *path)
{
    int r = write_all(fd, data);
    if (r) return r;
    if (fchmod(fd, mode) || fsync(fd) || rename(temp, path)) return -errno;
    return 0;
}

static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int len = !slash ? 1 : slash == path ? 1 : (int)(slash - path);
    snprintf(folder, sizeof folder, "%.*s", len, slash ? path : ".");
    AUTO_FD fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) ? -errno : 0;
}

int file_write(const char *path, struct mintd_str data, unsigned mode)
{
    char temp[PATH_MAX];
    int n = snprintf(temp, sizeof temp, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof temp) return -ENAMETOOLONG;
    AUTO_FD fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) return -errno;
    int r = write_temp(temp, fd, data, mode, path);
    if (r) {
        unlink(temp);
        return r;
    }
    return sync_folder(path);
}

static int mkdir_one(const char *path, unsigned mode)
{
    struct stat st;
    if (!mkdir(path, mode)) return 0;
    int r = -errno;
    if (stat(path, &st)) return r;                         /* mkdir may say EROFS or EACCES of a folder that is there */
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int file_mkdirs(const char *path, unsigned mode)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (!n) return -ENOENT;
    if (n >= sizeof part) return -ENAMETOOLONG;
    memcpy(part, path, n + 1);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        int r = mkdir_one(part, mode);
        if (r) return r;
        *p = '/';
    }
    return mkdir_one(part, mode);
}

static const char *distrust(const struct stat *st, unsigned forbidden_mode)
{
    if (!S_ISREG(st->st_mode)) return "is not a regular file";
    if (st->st_uid != 0 && st->st_uid != geteuid()) return "belongs to neither root nor the running user";
    if (st->st_mode & (S_IWGRP | S_IWOTH)) return "may be written by its group or by others";
    if (st->st_mode & forbidden_mode) return "has a mode that allows too much";
    return NULL;
}

int file_trusted(const char *path, unsigned forbidden_mode, const char **ret_why)
{
    struct stat st;
    if (stat(path, &st)) {
        int r = -errno;
        *ret_why = r == -ENOENT ? "does not exist" : r == -EACCES ? "permission denied" : "can not be looked at";
        return r;
    }
    const char *why = distrust(&st, forbidden_mode);
    if (!why) return 0;
    *ret_why = why;
    return -EPERM;
}

static const char *unguarded(const struct stat *st)
{
    if (!S_ISDIR(st->st_mode)) return "is no folder";
    if (st->st_uid != 0 && st->st_uid != geteuid()) return "belongs to neither root nor the running user";
    if (st->st_mode & (S_IWOTH | S_IXOTH)) return "is open to others";
    return NULL;
}

int file_guarded(const char *folder, const char **ret_why)
{
    struct stat st;
    if (stat(folder, &st)) {
        int r = -errno;
        *ret_why = r == -ENOENT ? "does not exist" : r == -EACCES ? "cannot be entered" : "can not be looked at";
        return r;
    }
    const char *why = unguarded(&st);
    if (!why) return 0;
    *ret_why = why;
    return -EPERM;
}
