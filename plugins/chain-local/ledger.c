/* The ledger file: magic, then records of header (length, check of the length) and payload (checksum, fields, end mark), appended
 * under a file lock. Format: README.md. Owns the descriptor, or the memory that stands in for the file. Knows no chain.
 *
 * What lies beyond the last whole record is either a torn tail (a writer died: shorter than it says, or never filled) or
 * damage. Only the lock holder may tell, because an unlocked reader can meet a record that is being written. */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "local.h"

enum { MAGIC_LEN = 16, HEAD = 8, SUM = 16, PAYLOAD_MAX = 1 << 20, SEGMENT = 4 << 20, END_MARK = 0xa5 };
static const char MAGIC[MAGIC_LEN] = "mintd ledger 1\n";

static int failed(struct ledger *l, int err, const char *what)
{
    snprintf(l->why, sizeof l->why, "%s: %s: %s", l->path, what, strerror(err));
    return -err;
}

static int damaged(struct ledger *l, const char *what)
{
    snprintf(l->why, sizeof l->why, "%s: %s at byte %llu: the file was changed by something else, restore it from a copy", l->path, what,
             (unsigned long long)l->pos);
    return -EBADMSG;
}

/* ---- bytes: file or memory */
static int read_at(struct ledger *l, uint64_t at, uint8_t *to, size_t n, size_t *ret_got)
{
    size_t got = 0;
    if (l->memory) {
        uint64_t have = l->pos > at ? l->pos - at : 0;
        got = have < n ? (size_t)have : n;
        if (got) memcpy(to, l->segments[at / SEGMENT] + at % SEGMENT, got);
        *ret_got = got;
        return 0;
    }
    while (got < n) {
        ssize_t r = pread(l->fd, to + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return failed(l, errno, "read");
        if (!r) break;
        got += (size_t)r;
    }
    *ret_got = got;
    return 0;
}

static int write_at(struct ledger *l, uint64_t at, const uint8_t *p, size_t n)
{
    for (size_t put_n = 0; put_n < n;) {
        ssize_t r = pwrite(l->fd, p + put_n, n - put_n, (off_t)(at + put_n));
        if (r < 0 && errno == EINTR) continue;
        if (r > 0) { put_n += (size_t)r; continue; }
        int err = r < 0 ? errno : ENOSPC;
        if (ftruncate(l->fd, (off_t)at)) return failed(l, errno, "undoing a half-written record");
        return failed(l, err, "write");
    }
    return 0;
}

/* A record never lies across two segments. */
static int memory_room(struct ledger *l, size_t n, uint64_t *ret_at)
{
    uint64_t at = l->pos, left = SEGMENT - at % SEGMENT;
    if (at / SEGMENT < l->n_segments && n <= left) { *ret_at = at; return 0; }
    uint8_t **more = realloc(l->segments, (l->n_segments + 1) * sizeof *more);
    if (!more) return -ENOMEM;
    l->segments = more;
    more[l->n_segments] = malloc(SEGMENT);
    if (!more[l->n_segments]) return -ENOMEM;
    *ret_at = (uint64_t)l->n_segments++ * SEGMENT;
    return 0;
}

/* ---- one record */
static uint32_t length_check(uint32_t n, uint64_t at)
{
    return (n ^ 0x6c726373u) * 2654435761u ^ (uint32_t)at ^ (uint32_t)(at >> 32);
}

static void checksum(const uint8_t *fields, size_t n, uint64_t at, uint8_t ret[SUM])
{
    uint8_t place[8];
    crypto_generichash_state st;
    struct writer w = { place, 0, sizeof place };
    put_u(&w, at, 8);
    crypto_generichash_init(&st, NULL, 0, SUM);
    crypto_generichash_update(&st, place, sizeof place);
    crypto_generichash_update(&st, fields, n);
    crypto_generichash_final(&st, ret, SUM);
}

static void put_record(struct writer *w, const struct record *r)
{
    put_u(w, r->type, 1);
    put_u(w, (uint64_t)r->time, 8);
    if (r->type == REC_GENESIS) {
        put_u(w, r->profile, 1);
        put_u(w, (uint64_t)r->slot_us, 8);
        put_str(w, r->salt, 1);
    } else if (r->type == REC_TX) {
        put_u(w, r->fate, 1);
        put_u(w, r->kind, 1);
        put_u(w, (uint64_t)r->land, 8);
        put_u(w, (uint64_t)r->until, 8);
        put_u(w, r->clock, 8);
        put_u(w, r->fee, 8);
        put_u(w, r->serial, 8);
        put_u(w, r->route, 4);
        put_str(w, r->error, 1);
        put_str(w, r->collection, 1);
        put_str(w, r->id, 1);
        put_str(w, r->raw, 4);
    }
    put_u(w, END_MARK, 1);
}

int record_parse(const uint8_t *p, uint32_t n, struct record *ret)
{
    struct reader r = { p, n, false };
    get_bytes(&r, SUM);
    *ret = (struct record){ .type = (uint32_t)get_u(&r, 1), .time = (int64_t)get_u(&r, 8) };
    if (ret->type == REC_GENESIS) {
        ret->profile = (uint32_t)get_u(&r, 1);
        ret->slot_us = (int64_t)get_u(&r, 8);
        ret->salt = get_str(&r, 1);
    } else if (ret->type == REC_TX) {
        ret->fate = (uint32_t)get_u(&r, 1);
        ret->kind = (uint32_t)get_u(&r, 1);
        ret->land = (int64_t)get_u(&r, 8);
        ret->until = (int64_t)get_u(&r, 8);
        ret->clock = get_u(&r, 8);
        ret->fee = get_u(&r, 8);
        ret->serial = get_u(&r, 8);
        ret->route = (uint32_t)get_u(&r, 4);
        ret->error = get_str(&r, 1);
        ret->collection = get_str(&r, 1);
        ret->id = get_str(&r, 1);
        ret->raw = get_str(&r, 4);
    } else if (ret->type != REC_MARK) {
        return -EBADMSG;
    }
    bool whole = get_u(&r, 1) == END_MARK && !r.bad && !r.left;
    return whole ? 0 : -EBADMSG;
}

/* Header and payload of the record that would begin at `at`. */
static uint8_t *encode(const struct record *r, uint64_t at, size_t *ret_n)
{
    struct writer size = { NULL, 0, 0 };
    put_record(&size, r);
    uint32_t n = (uint32_t)(SUM + size.n);
    uint8_t *buf = size.n <= PAYLOAD_MAX - SUM ? malloc(HEAD + n) : NULL;
    if (!buf) return NULL;
    struct writer w = { buf, 0, HEAD + n };
    put_u(&w, n, 4);
    put_u(&w, length_check(n, at), 4);
    w.n += SUM;
    put_record(&w, r);
    checksum(buf + HEAD + SUM, n - SUM, at, buf + HEAD);
    *ret_n = w.n;
    return buf;
}

int ledger_append(struct ledger *l, const struct record *r, uint64_t *ret_at, uint32_t *ret_n)
{
    uint64_t at = l->pos;
    size_t n = 0;
    uint8_t *buf = encode(r, at, &n);
    if (!buf) return -ENOMEM;
    int res = l->memory ? memory_room(l, n, &at) : write_at(l, at, buf, n);
    if (!res) {
        if (l->memory) memcpy(l->segments[at / SEGMENT] + at % SEGMENT, buf, n);
        l->pos = at + n;
        *ret_at = at + HEAD;
        *ret_n = (uint32_t)(n - HEAD);
    }
    free(buf);
    return res;
}

int ledger_read(struct ledger *l, uint64_t at, uint32_t n, uint8_t **ret)
{
    size_t got = 0;
    uint8_t *buf = malloc(n ? n : 1);
    if (!buf) return -ENOMEM;
    int r = read_at(l, at, buf, n, &got);
    if (!r && got != n) r = damaged(l, "a record that was there is gone");
    if (r) { free(buf); return r; }
    *ret = buf;
    return 0;
}

/* ---- reading on */
static bool length_ok(const uint8_t head[HEAD], uint64_t at, uint32_t *ret_n)
{
    struct reader r = { head, HEAD, false };
    uint32_t n = (uint32_t)get_u(&r, 4), check = (uint32_t)get_u(&r, 4);
    *ret_n = n;
    return n > SUM && n <= PAYLOAD_MAX && check == length_check(n, at);
}

static bool payload_ok(const uint8_t *p, uint32_t n, uint64_t at)
{
    uint8_t sum[SUM];
    checksum(p + SUM, n - SUM, at, sum);
    return !memcmp(sum, p, SUM);
}

int ledger_next(struct ledger *l, uint8_t **ret, uint32_t *ret_n, uint64_t *ret_at)
{
    uint8_t head[HEAD], *buf = NULL;
    size_t got = 0;
    uint32_t n = 0;
    int r = read_at(l, l->pos, head, sizeof head, &got);
    if (r) return r;
    if (got < sizeof head || !length_ok(head, l->pos, &n)) return -ENOENT;
    buf = malloc(n);
    if (!buf) return -ENOMEM;
    r = read_at(l, l->pos + HEAD, buf, n, &got);
    if (!r && (got < n || !payload_ok(buf, n, l->pos))) r = -ENOENT;
    if (r) { free(buf); return r; }
    *ret = buf;
    *ret_n = n;
    *ret_at = l->pos + HEAD;
    l->pos += HEAD + n;
    return 0;
}

static int only_zeros(struct ledger *l, uint64_t at, bool *ret)
{
    uint8_t buf[4096];
    size_t got;
    do {
        int r = read_at(l, at, buf, sizeof buf, &got);
        if (r) return r;
        for (size_t i = 0; i < got; i++) if (buf[i]) { *ret = false; return 0; }
        at += got;
    } while (got);
    *ret = true;
    return 0;
}

/* Why no whole record is at pos: nothing there, one that was never finished, or damage. */
int ledger_cut(struct ledger *l)
{
    struct stat st;
    uint8_t head[HEAD], last = 0;
    size_t got = 0;
    uint32_t n = 0;
    bool torn = false;
    if (l->memory) return 0;
    if (fstat(l->fd, &st)) return failed(l, errno, "fstat");
    uint64_t size = (uint64_t)st.st_size;
    if (size == l->pos) return 0;
    if (size < l->pos) return damaged(l, "the file became shorter, it should not end");
    int r = read_at(l, l->pos, head, sizeof head, &got);
    if (!r && got < sizeof head) torn = true;
    else if (!r && !length_ok(head, l->pos, &n)) r = only_zeros(l, l->pos, &torn);
    else if (!r && size < l->pos + HEAD + n) torn = true;
    else if (!r) {                                         /* as long as it says: torn only if its end was never written */
        r = read_at(l, l->pos + HEAD + n - 1, &last, 1, &got);
        torn = !last && size == l->pos + HEAD + n;
    }
    if (r) return r;
    if (!torn) return damaged(l, "damaged record");
    return ftruncate(l->fd, (off_t)l->pos) ? failed(l, errno, "cutting a torn tail") : 0;
}

/* ---- lock, open, close */
int ledger_lock(struct ledger *l)
{
    if (l->memory || l->locked) { l->locked = true; return 0; }
    if (flock(l->fd, LOCK_EX | LOCK_NB)) return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : failed(l, errno, "flock");
    l->locked = true;
    return 0;
}

void ledger_unlock(struct ledger *l)
{
    if (!l->memory && l->locked) flock(l->fd, LOCK_UN);
    l->locked = false;
}

/* The magic is written by whoever finds the file empty or with a part of it, under the lock. */
static int check_magic(struct ledger *l)
{
    uint8_t head[MAGIC_LEN];
    size_t got = 0;
    int r = read_at(l, 0, head, sizeof head, &got);
    if (r) return r;
    if (memcmp(head, MAGIC, got)) {
        snprintf(l->why, sizeof l->why, "%s: this is not a chain-local ledger, name another file", l->path);
        return -EBADMSG;
    }
    l->pos = MAGIC_LEN;
    if (got == MAGIC_LEN) return 0;
    r = ledger_lock(l);
    if (!r) r = write_at(l, 0, (const uint8_t *)MAGIC, MAGIC_LEN);
    ledger_unlock(l);
    return r;
}

int ledger_open(struct ledger *l)
{
    struct stat st;
    if (l->memory) return 0;
    l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (l->fd < 0) return failed(l, errno, "open");
    int r = fstat(l->fd, &st) ? failed(l, errno, "fstat") : 0;
    if (!r && !S_ISREG(st.st_mode)) {
        snprintf(l->why, sizeof l->why, "%s: not a regular file", l->path);
        r = -EBADMSG;
    }
    if (!r) r = check_magic(l);
    if (r) ledger_close(l);
    return r;
}

void ledger_close(struct ledger *l)
{
    ledger_unlock(l);
    if (!l->memory && l->fd >= 0) close(l->fd);
    for (uint32_t i = 0; i < l->n_segments; i++) free(l->segments[i]);
    free(l->segments);
    l->segments = NULL;
    l->n_segments = 0;
    l->fd = -1;
    l->pos = 0;
}
