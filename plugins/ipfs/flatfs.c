/* The block store: one file for each block, named after its hash, in 1,024 folders, as Kubo's flatfs lays them out. A block appears under
 * its name only when its bytes are on the disk: written aside, synced, renamed, the folder synced. The syncs of a whole put come together,
 * after all writes are under way, so that the disk can take them as one. Workers. */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipfs.h"

#define SHARDING "/repo/flatfs/shard/v1/next-to-last/2"
#define TEMP ".temp"
enum { KEY = 55, STALE_S = 3600 };

/* ---- trouble */
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

bool io_trouble(struct trouble *t, const char *path, const char *what, int err)
{
    const char *slug = "ipfs.io";
    switch (err) {
    case ENOSPC: case EDQUOT: slug = "ipfs.full"; break;
    case EROFS: case EACCES: case EPERM: slug = "ipfs.readonly"; break;
    case EMFILE: case ENFILE: case ENOMEM: slug = "ipfs.memory"; break;
    default: break;
    }
    return trouble(t, MINTD_TRANSIENT, slug, "%s: cannot %s: %s", path, what, strerror(err));
}

/* ---- names */
static size_t key_of(const uint8_t digest[DIGEST], char ret[KEY + 1])
{
    struct cid c = { .version = 0, .codec = DAG_PB };      /* whose bytes are the multihash alone */
    uint8_t hash[CID_BYTES];
    memcpy(c.digest, digest, DIGEST);
    size_t n = base32_encode(hash, cid_encode(&c, hash), base32_upper, ret);
    ret[n] = '\0';
    return n;
}

void flatfs_path(const uint8_t digest[DIGEST], char ret[BLOCK_PATH])
{
    char key[KEY + 1];
    size_t n = key_of(digest, key);
    snprintf(ret, BLOCK_PATH, "%.2s/%s.data", key + n - 3, key);
}

static uint32_t shard_of(const char path[BLOCK_PATH])
{
    return (uint32_t)(strchr(base32_upper, path[0]) - base32_upper) * 32 + (uint32_t)(strchr(base32_upper, path[1]) - base32_upper);
}

static void shard_name(uint32_t shard, char ret[3])
{
    ret[0] = base32_upper[shard / 32];
    ret[1] = base32_upper[shard % 32];
    ret[2] = '\0';
}

/* ---- reading */
static int read_at(int fd, uint8_t *to, size_t n, uint64_t at)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(fd, to + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) return r ? -errno : -EBADMSG;
        got += (size_t)r;
    }
    return 0;
}

static int open_block(struct ipfs *fs, const uint8_t digest[DIGEST], uint64_t *ret_size)
{
    char path[BLOCK_PATH];
    struct stat st;
    flatfs_path(digest, path);
    int fd = openat(fs->root, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return errno == ENOTDIR ? -ENOENT : -errno;
    int r = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EBADMSG;
    if (r) { close(fd); return r; }
    *ret_size = (uint64_t)st.st_size;
    return fd;
}

int flatfs_size(struct ipfs *fs, const uint8_t digest[DIGEST], uint64_t *ret)
{
    int fd = open_block(fs, digest, ret);
    if (fd < 0) return fd;
    close(fd);
    return 0;
}

int flatfs_get(struct ipfs *fs, const uint8_t digest[DIGEST], uint8_t **ret, size_t *ret_n)
{
    uint64_t n = 0;
    struct cid found;
    int fd = open_block(fs, digest, &n);
    if (fd < 0) return fd;
    uint8_t *p = n <= BLOCK_MAX ? malloc(n + 1) : NULL;
    int r = n > BLOCK_MAX ? -EBADMSG : p ? read_at(fd, p, n, 0) : -ENOMEM;
    close(fd);
    if (!r && !cid_of(1, RAW, p, n, &found)) r = -ENOMEM;
    if (!r && memcmp(found.digest, digest, DIGEST)) r = -EBADMSG;
    if (r) { free(p); return r; }
    *ret = p;
    *ret_n = n;
    return 0;
}

/* 1: this very block is there; 0: it is not, or something else is in its place */
static int is_there(struct ipfs *fs, const uint8_t digest[DIGEST], const uint8_t *p, size_t n)
{
    uint8_t part[16384];
    uint64_t size = 0;
    int fd = open_block(fs, digest, &size), r = 0;
    if (fd == -ENOENT) return 0;
    if (fd < 0) return fd == -EBADMSG ? -EISDIR : fd;      /* not a file: nothing can be renamed over it */
    bool same = size == n;
    for (size_t at = 0; same && !r && at < n; at += sizeof part) {
        size_t len = n - at < sizeof part ? n - at : sizeof part;
        r = read_at(fd, part, len, at);
        same = !r && !memcmp(part, p + at, len);
    }
    close(fd);
    if (!same) {
        char path[BLOCK_PATH];
        flatfs_path(digest, path);
        struct mintd_field field = { STR("block"), { path, strlen(path) } };
        fs->host->log(fs->ctx, NULL, MINTD_WARN, STR("a damaged block is written anew"), ROWS(&field, 1));
        fs->host->metric(fs->ctx, M_DAMAGED, (struct mintd_str){ NULL, 0 }, 1);
    }
    return same;
}

/* ---- writing */
void flatfs_abandon(struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->files[i].fd >= 0) close(b->files[i].fd);
        unlinkat(b->fs->root, b->files[i].name, 0);
    }
    b->n = 0;
}

static bool failed(struct batch *b, const char *what, int err)
{
    flatfs_abandon(b);
    return io_trouble(&b->t, b->fs->path, what, err);
}

static int open_temp(struct ipfs *fs, char *name, size_t n)
{
    snprintf(name, n, TEMP "/mintd-%s-%llu", fs->nonce, (unsigned long long)atomic_fetch_add(&fs->serial, 1));
    int fd = openat(fs->root, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd >= 0 || errno != ENOENT) return fd;
    mkdirat(fs->root, TEMP, 0755);                         /* another program tidied up */
    return openat(fs->root, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return w ? -errno : -EIO;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

/* Every file is on the disk before the first gets its name. */
static bool sync_files(struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        int r = b->fs->host->sync(b->fs->ctx, b->files[i].fd);
        if (r) return failed(b, "sync a block", -r);
    }
    return true;
}

static int name_file(struct batch *b, struct pending *f)
{
    char path[BLOCK_PATH], shard[3];
    flatfs_path(f->digest, path);
    uint32_t s = shard_of(path);
    b->touched[s / 8] |= (uint8_t)(1u << s % 8);
    if (!renameat(b->fs->root, f->name, b->fs->root, path)) return 0;
    if (errno != ENOENT) return -errno;
    shard_name(s, shard);
    if (mkdirat(b->fs->root, shard, 0755) && errno != EEXIST) return -errno;
    b->made = true;
    return renameat(b->fs->root, f->name, b->fs->root, path) ? -errno : 0;
}

static bool flush(struct batch *b)
{
    if (!sync_files(b)) return false;
    for (uint32_t i = 0; i < b->n; i++) {
        close(b->files[i].fd);
        b->files[i].fd = -1;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        int r = name_file(b, &b->files[i]);
        if (r) return failed(b, "name a block", -r);
    }
    b->written += b->n;
    b->n = 0;
    return true;
}

static bool is_pending(const struct batch *b, const uint8_t digest[DIGEST])
{
    for (uint32_t i = b->n; i--;)
        if (!memcmp(b->files[i].digest, digest, DIGEST)) return true;
    return false;
}

bool flatfs_put(struct batch *b, const uint8_t digest[DIGEST], const uint8_t *p, size_t n)
{
    char path[BLOCK_PATH];
    if (is_pending(b, digest)) return true;
    int there = is_there(b->fs, digest, p, n);
    if (there < 0) return failed(b, "read a block", -there);
    if (there) {                                           /* perhaps by a process that died before it synced the folder */
        flatfs_path(digest, path);
        uint32_t s = shard_of(path);
        b->touched[s / 8] |= (uint8_t)(1u << s % 8);
        return true;
    }
    if (b->n == BATCH_FILES && !flush(b)) return false;
    struct pending *f = &b->files[b->n];
    memcpy(f->digest, digest, DIGEST);
    f->fd = open_temp(b->fs, f->name, sizeof f->name);
    if (f->fd < 0) return failed(b, "make a file", errno);
    b->n++;
    int r = write_all(f->fd, p, n);
    if (r) return failed(b, "write a block", -r);
    sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);   /* starts the write, promises nothing: the syncs come later */
    return true;
}

static int sync_folder(struct ipfs *fs, const char *name)
{
    int fd = openat(fs->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fs->host->sync(fs->ctx, fd);
    if (fd >= 0) close(fd);
    return r;
}

bool flatfs_commit(struct batch *b)
{
    char name[3];
    if (!flush(b)) return false;
    for (uint32_t s = 0; s < SHARDS; s++) {
        if (!(b->touched[s / 8] >> s % 8 & 1)) continue;
        shard_name(s, name);
        int r = sync_folder(b->fs, name);
        if (r) return failed(b, "sync a folder", -r);
    }
    int r = b->made ? sync_folder(b->fs, ".") : 0;
    return r ? failed(b, "sync the folder", -r) : true;
}

/* ---- opening */
static int sync_above(struct ipfs *fs, char *path, char *slash)
{
    char keep = slash[slash == path];
    slash[slash == path] = '\0';
    int fd = open(slash == path ? "/" : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    slash[slash == path] = keep;
    int r = fd < 0 ? -errno : fs->host->sync(fs->ctx, fd);
    if (fd >= 0) close(fd);
    return r;
}

/* Makes what is missing of the path; each new folder's name is synced into the one above. */
static int make_path(struct ipfs *fs)
{
    char *path = strdup(fs->path);
    int r = path ? 0 : -ENOMEM;
    for (char *end = path; !r && end && *end;) {
        char *slash = end;
        end = strchr(end + 1, '/');
        if (end) *end = '\0';
        if (!mkdir(path, 0755)) r = *slash == '/' ? sync_above(fs, path, slash) : 0;
        else if (errno != EEXIST) r = -errno;
        if (end) *end = '/';
    }
    free(path);
    return r;
}

static int write_sharding(struct ipfs *fs)
{
    char name[48];
    int fd = open_temp(fs, name, sizeof name);
    if (fd < 0) return -errno;
    int r = write_all(fd, (const uint8_t *)SHARDING "\n", sizeof SHARDING);
    if (!r) r = fs->host->sync(fs->ctx, fd);
    close(fd);
    if (!r && renameat(fs->root, name, fs->root, "SHARDING")) r = -errno;
    if (r) unlinkat(fs->root, name, 0);
    return r ? r : sync_folder(fs, ".");
}

/* Nothing of value in it: only then may it become a store. */
static bool is_empty(int root)
{
    int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    bool empty = d != NULL;
    for (struct dirent *e; empty && (e = readdir(d));)
        empty = !strcmp(e->d_name, TEMP) || !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    if (d) closedir(d);
    else if (fd >= 0) close(fd);
    return empty;
}

static bool sharding_ok(struct ipfs *fs, struct trouble *t)
{
    uint8_t text[256];
    int fd = openat(fs->root, "SHARDING", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) return io_trouble(t, fs->path, "read SHARDING", errno);
    if (fd < 0) {
        if (!is_empty(fs->root))
            return trouble(t, MINTD_PERMANENT, "ipfs.foreign",
                           "%s: has files, but no SHARDING: it is no block store; name an empty folder", fs->path);
        int r = write_sharding(fs);
        return r ? io_trouble(t, fs->path, "write SHARDING", -r) : true;
    }
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) n--;
    if (n == sizeof SHARDING - 1 && !memcmp(text, SHARDING, sizeof SHARDING - 1)) return true;
    return trouble(t, MINTD_PERMANENT, "ipfs.sharding", "%s: SHARDING is not " SHARDING ": name another folder", fs->path);
}

/* Files in the making of processes that died. Young ones may belong to a living one. */
static void tidy(struct ipfs *fs)
{
    int64_t now = fs->host->wall_us(fs->ctx) / 1000000;
    int fd = openat(fs->root, TEMP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct stat st;
    for (struct dirent *e; d && (e = readdir(d));)
        if (!strncmp(e->d_name, "mintd-", 6) && !fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && st.st_mtime + STALE_S < now)
            unlinkat(fd, e->d_name, 0);
    if (d) closedir(d);
    else if (fd >= 0) close(fd);
}

void flatfs_close(struct ipfs *fs)
{
    if (fs->root >= 0) close(fs->root);
    fs->root = -1;
}

/* At start a path that cannot be used is a mistake in the config, not a bad moment. */
static bool path_trouble(struct trouble *t, const char *path, const char *what, int err)
{
    io_trouble(t, path, what, err);
    if (err == EROFS || err == EACCES || err == EPERM || err == ENOTDIR || err == ELOOP || err == ENAMETOOLONG) t->cls = MINTD_PERMANENT;
    return false;
}

static bool open_store(struct ipfs *fs, struct trouble *t)
{
    int r = make_path(fs);
    if (r) return path_trouble(t, fs->path, "make the folder", -r);
    fs->root = open(fs->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs->root < 0) return path_trouble(t, fs->path, "open the folder", errno);
    if (faccessat(fs->root, ".", W_OK | X_OK, AT_EACCESS)) return path_trouble(t, fs->path, "write there", errno);
    if (mkdirat(fs->root, TEMP, 0755) && errno != EEXIST) return path_trouble(t, fs->path, "make " TEMP, errno);
    if (!sharding_ok(fs, t)) return false;
    tidy(fs);
    return true;
}

bool flatfs_open(struct ipfs *fs, struct trouble *t)
{
    uint64_t nonce;
    fs->host->random(fs->ctx, &nonce, sizeof nonce);
    snprintf(fs->nonce, sizeof fs->nonce, "%016llx", (unsigned long long)nonce);
    if (open_store(fs, t)) return true;
    flatfs_close(fs);
    return false;
}
