/* A file of tickets: what it looks like, how many there are, its digest; then its bytes as they are sent. */
#include "source.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 64 * 1024, TEXT_MAX = 128 };

/* ---- what it looks like. One pass for all formats: which it is, is known at the end. */

struct scan {
    bool begun, object, array;                 /* by the first character that is no space */
    unsigned bom;
    uint32_t depth;
    bool string, escaped, in_tickets, has_tickets, is_key;
    uint64_t tops, elements, tickets;          /* values at the top, objects in a top array, objects in "tickets" */
    char text[TEXT_MAX + 1], key[TEXT_MAX + 1];/* the string being read, the last name at depth 1 */
    size_t text_n;
    uint64_t records;                          /* CSV */
    bool quoted, in_record, blank_line;
    uint64_t lines;                            /* NDJSON: those with something in them */
    struct source *source;
};

static void keep_text(struct scan *s, char *to)
{
    bool whole = s->text_n <= TEXT_MAX && !memchr(s->text, '\\', s->text_n);
    memcpy(to, whole ? s->text : "", whole ? s->text_n : 0);
    to[whole ? s->text_n : 0] = 0;
}

static void string_ends(struct scan *s)
{
    s->string = false;
    if (s->depth != 1 || !s->object || s->tops > 1) return;
    if (s->is_key) {
        keep_text(s, s->key);
        s->has_tickets = s->has_tickets || !strcmp(s->key, "tickets");
    } else if (!strcmp(s->key, "venueId")) keep_text(s, s->source->venue);
    else if (!strcmp(s->key, "pipeline")) keep_text(s, s->source->pipeline);
    else if (!strcmp(s->key, "collection")) keep_text(s, s->source->collection);
}

static void in_string(struct scan *s, char c)
{
    if (!s->escaped && c == '"') {
        string_ends(s);
        return;
    }
    s->escaped = !s->escaped && c == '\\';
    if (s->text_n < TEXT_MAX) s->text[s->text_n] = c;
    if (s->text_n <= TEXT_MAX) s->text_n++;
}

static void opens(struct scan *s, char c)
{
    if (s->depth == 0) s->tops++;
    if (s->depth == 1 && c == '[' && s->object && !strcmp(s->key, "tickets")) s->in_tickets = true;
    if (s->depth == 1 && c == '{') s->elements++;
    if (s->depth == 2 && c == '{' && s->in_tickets) s->tickets++;
    s->depth++;
    s->is_key = c == '{';
}

static void closes(struct scan *s)
{
    s->depth -= s->depth > 0;
    if (s->depth == 1) s->in_tickets = false;
}

static void as_json(struct scan *s, char c)
{
    if (s->string) in_string(s, c);
    else if (c == '"') {
        s->string = true;
        s->text_n = 0;
    } else if (c == '{' || c == '[') opens(s, c);
    else if (c == '}' || c == ']') closes(s);
    else if (c == ':') s->is_key = false;
    else if (c == ',' && s->depth == 1) s->is_key = true;
}

static void as_lines(struct scan *s, char c)
{
    if (c == '\n') s->blank_line = true;
    else if (s->blank_line && !isspace((unsigned char)c)) {
        s->blank_line = false;
        s->lines++;
    }
    if (c == '"') s->quoted = !s->quoted;
    if (s->quoted || (c != '\n' && c != '\r')) {
        s->records += !s->in_record;
        s->in_record = true;
    } else if (c == '\n') s->in_record = false;
}

static void scan_bytes(struct scan *s, const unsigned char *p, size_t n)
{
    static const unsigned char bom[] = { 0xef, 0xbb, 0xbf };
    for (size_t i = 0; i < n; i++) {
        if (s->bom < 3 && p[i] == bom[s->bom]) {
            s->bom++;
            continue;
        }
        s->bom = 3;
        if (!s->begun && !isspace(p[i])) {
            s->begun = true;
            s->object = p[i] == '{';
            s->array = p[i] == '[';
        }
        if (s->object || s->array) as_json(s, (char)p[i]);
        as_lines(s, (char)p[i]);
    }
}

static enum source_format guess(const struct scan *s)
{
    if (!s->begun) return SOURCE_NONE;
    if (s->array) return SOURCE_ARRAY;
    if (!s->object) return SOURCE_CSV;
    return s->has_tickets && s->tops == 1 ? SOURCE_JSON : s->tops == s->lines ? SOURCE_NDJSON : SOURCE_JSON;
}

static uint64_t count(const struct scan *s, enum source_format f)
{
    switch (f) {
    case SOURCE_JSON: return s->tickets;
    case SOURCE_ARRAY: return s->elements;
    case SOURCE_NDJSON: return s->lines;
    case SOURCE_CSV: return s->records ? s->records - 1 : 0;
    case SOURCE_NONE: break;
    }
    return 0;
}

/* ---- the pass over the file */

struct inflater { z_stream z; bool on; };

static int scan_packed(struct inflater *f, struct scan *s, unsigned char *p, size_t n)
{
    unsigned char out[BLOCK];
    f->z.next_in = p;
    f->z.avail_in = (uInt)n;
    while (f->z.avail_in) {
        f->z.next_out = out;
        f->z.avail_out = sizeof out;
        int r = inflate(&f->z, Z_NO_FLUSH);
        if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR) return -EBADMSG;
        scan_bytes(s, out, sizeof out - f->z.avail_out);
        if (r == Z_STREAM_END && inflateReset(&f->z) != Z_OK) return -EBADMSG;
    }
    return 0;
}

static int scan_block(struct source *src, struct inflater *f, struct scan *s, unsigned char *p, size_t n, bool first)
{
    if (first) src->gzip = n > 2 && p[0] == 0x1f && p[1] == 0x8b;
    if (first && src->gzip) f->on = inflateInit2(&f->z, 15 + 16) == Z_OK;
    if (src->gzip) return f->on ? scan_packed(f, s, p, n) : -ENOMEM;
    scan_bytes(s, p, n);
    return 0;
}

static int scan_file(struct source *src, struct scan *s)
{
    unsigned char block[BLOCK];
    struct inflater f = { 0 };
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    int err = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
    ssize_t n = 1;
    for (src->size = 0; !err && n > 0; src->size += (uint64_t)n) {
        n = pread(src->fd, block, sizeof block, (off_t)src->size);
        if (n < 0) err = -errno;
        if (err || !n) break;
        err = scan_block(src, &f, s, block, (size_t)n, !src->size);
        EVP_DigestUpdate(md, block, (size_t)n);
    }
    if (!err && EVP_DigestFinal_ex(md, src->digest, NULL) != 1) err = -EIO;
    EVP_MD_CTX_free(md);
    if (f.on) inflateEnd(&f.z);
    return err;
}

/* ---- standard input and pipes: kept in a file without a name */

static int unnamed_file(void)
{
    const char *dir = getenv("TMPDIR");
    if (!dir || !*dir) dir = "/tmp";
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    struct buf name = { 0 };
    buf_printf(&name, "%s/mintctl.XXXXXX", dir);
    buf_add(&name, "", 1);
    fd = name.bad ? -1 : mkstemp(name.p);
    if (fd >= 0) unlink(name.p);
    buf_free(&name);
    return fd;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno != EINTR) return -errno;
        if (w > 0) {
            p += w;
            n -= (size_t)w;
        }
    }
    return 0;
}

static int copy_to(int from, int to)
{
    char block[BLOCK];
    for (;;) {
        ssize_t n = read(from, block, sizeof block);
        if (cli_interrupted) return -EINTR;
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? -errno : 0;
        int err = write_all(to, block, (size_t)n);
        if (err) return err;
    }
}

static int make_seekable(struct source *s)
{
    struct stat st;
    if (fstat(s->fd, &st)) return -errno;
    if (S_ISDIR(st.st_mode)) return -EISDIR;
    if (S_ISREG(st.st_mode) && lseek(s->fd, 0, SEEK_CUR) == 0) return 0;
    int fd = unnamed_file();
    if (fd < 0) return -errno;
    int err = copy_to(s->fd, fd);
    close(s->fd);
    s->fd = fd;
    return err;
}

/* ---- to the outside */

static const char *const format_names[] = { "nothing", "json", "array", "ndjson", "csv" };
const char *source_format_name(enum source_format f) { return format_names[f]; }

const char *source_media(const struct source *s)
{
    return s->format == SOURCE_NDJSON ? "application/x-ndjson" : s->format == SOURCE_CSV ? "text/csv" : "application/json";
}

static int forced(struct cli *c, const char *format, enum source_format *ret)
{
    if (!format) return RC_OK;
    for (size_t i = SOURCE_JSON; i < ARRAY_LEN(format_names); i++)
        if (!strcmp(format, format_names[i])) {
            *ret = (enum source_format)i;
            return RC_OK;
        }
    complain(c, "--format is json, array, ndjson or csv, not %s", format);
    return RC_USAGE;
}

static int open_fd(struct source *s, const char *path)
{
    bool standard = !strcmp(path, "-");
    s->name = standard ? "standard input" : path;
    s->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return s->fd < 0 ? -errno : make_seekable(s);
}

int source_open(struct cli *c, const char *path, const char *format, struct source *ret)
{
    struct scan scan = { .blank_line = true, .source = ret };
    enum source_format wanted = SOURCE_NONE;
    *ret = (struct source){ .fd = -1 };
    int rc = forced(c, format, &wanted);
    if (rc) return rc;
    int err = open_fd(ret, path);
    if (!err) err = scan_file(ret, &scan);
    ret->format = wanted ? wanted : guess(&scan);
    ret->tickets = count(&scan, ret->format);
    if (err) complain(c, "cannot read %s: %s", ret->name, err == -EBADMSG ? "the gzip data are damaged" : strerror(-err));
    else if (!scan.begun) complain(c, "%s is empty", ret->name);
    return err == -EINTR ? RC_DETACHED : err || !scan.begun ? RC_FAILED : RC_OK;
}

/* The last bytes go out only when all of them were the ones that were read first. */
static bool is_same(struct source *s)
{
    unsigned char digest[32];
    return EVP_DigestFinal_ex(s->again, digest, NULL) == 1 && !memcmp(digest, s->digest, sizeof digest);
}

ssize_t source_read(struct source *s, void *p, size_t n)
{
    uint64_t left = s->size - s->at;
    if (!left) return 0;
    ssize_t got = pread(s->fd, p, left < n ? (size_t)left : n, (off_t)s->at);
    if (got < 0) return -errno;
    s->changed = !got;
    EVP_DigestUpdate(s->again, p, (size_t)got);
    s->at += (uint64_t)got;
    if (got && s->at == s->size) s->changed = !is_same(s);
    return s->changed ? -EAGAIN : got;
}

int source_rewind(struct source *s)
{
    s->at = 0;
    s->changed = false;
    if (!s->again) s->again = EVP_MD_CTX_new();
    return s->again && EVP_DigestInit_ex(s->again, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

void source_close(struct source *s)
{
    if (s->fd >= 0) close(s->fd);
    EVP_MD_CTX_free(s->again);
    s->again = NULL;
    s->fd = -1;
}
