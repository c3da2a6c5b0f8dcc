/* The ops: blobs in, one row each out. Workers; identify also without a store. */
#include <stdio.h>
#include <stdlib.h>

#include "ipfs.h"

#define SCHEME "ipfs://"
enum { SCHEME_LEN = sizeof SCHEME - 1 };

struct row { struct mintd_stored row; char uri[SCHEME_LEN + CID_TEXT], facts[104]; };

/* ---- answers */
static void refuse(struct ipfs *s, struct mintd_op *op, uint32_t cls, const char *slug, const char *msg)
{
    s->host->done(op, &(struct mintd_outcome){ .size = sizeof(struct mintd_outcome), .cls = cls, .slug = { slug, strlen(slug) },
        .msg = { msg, strlen(msg) } }, NULL);
}

static void answer(struct ipfs *s, struct mintd_op *op, const struct row *rows, uint32_t n)
{
    s->host->done(op, NULL, &(struct mintd_res){ .size = sizeof(struct mintd_res), .rows = { rows, n, sizeof *rows } });
}

static void no_memory(struct ipfs *s, struct mintd_op *op) { refuse(s, op, MINTD_TRANSIENT, "ipfs.memory", "out of memory"); }

/* A row's own reason. False: no memory. */
static bool row_why(struct ipfs *s, struct mintd_op *op, struct row *row, const struct trouble *t)
{
    size_t n = strlen(t->msg);
    struct { struct mintd_outcome out; char msg[]; } *w = s->host->scratch(op, sizeof *w + n);
    if (!w) return false;
    memcpy(w->msg, t->msg, n);
    w->out = (struct mintd_outcome){ .size = sizeof w->out, .cls = t->cls, .slug = { t->slug, strlen(t->slug) }, .msg = { w->msg, n } };
    row->row = (struct mintd_stored){ .why = &w->out };
    return true;
}

static void put_uri(struct row *row, const struct cid *c)
{
    memcpy(row->uri, SCHEME, SCHEME_LEN);
    row->row.uri = (struct mintd_str){ row->uri, SCHEME_LEN + cid_print(c, row->uri + SCHEME_LEN) };
}

static void put_facts(struct row *row, int n) { row->row.facts = (struct mintd_str){ row->facts, (size_t)n }; }

/* ---- what a blob is */
static struct source source_of(const struct mintd_blob *b)
{
    bool file = !b->data.n && b->fd >= 0 && b->len;        /* fd 0 of a row that has none is never read */
    return (struct source){ (const uint8_t *)b->data.p, file ? b->len : b->data.n, file ? b->fd : -1 };
}

static bool uri_parse(struct mintd_str uri, struct cid *ret, struct trouble *t)
{
    struct mintd_str cid = uri;
    if (uri.n > SCHEME_LEN && !memcmp(uri.p, SCHEME, SCHEME_LEN)) cid = (struct mintd_str){ uri.p + SCHEME_LEN, uri.n - SCHEME_LEN };
    if (!cid_parse(cid, ret)) return true;
    return trouble(t, MINTD_PERMANENT, "ipfs.uri",
                   "%.*s is no address this store can hold: ipfs://CID with SHA-256, raw or dag-pb, and no path",
                   (int)(uri.n < 100 ? uri.n : 100), uri.p);
}

static bool source_trouble(struct trouble *t, int r)
{
    switch (r) {
    case -ENODATA: return trouble(t, MINTD_PERMANENT, "ipfs.short", "the file is shorter than was announced");
    case -EFBIG:   return trouble(t, MINTD_PERMANENT, "ipfs.too_large",
                                  "the file is larger than a tree of this profile can hold");
    default:       return trouble(t, MINTD_TRANSIENT, "ipfs.source", "the file cannot be read: %s", strerror(-r));
    }
}

/* ---- start, drain */
void op_start(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct ipfs *s = self;
    struct trouble t;
    (void)req;
    flatfs_close(s);
    if (!flatfs_open(s, &t)) { refuse(s, op, t.cls, t.slug, t.msg); return; }
    struct mintd_field facts[] = { { STR("store"), { s->path, strlen(s->path) } },
        { STR("profile"), s->profile == &profile_v1 ? STR("unixfs-v1-2025") : STR("unixfs-v0-2015") } };
    s->host->done(op, NULL, &(struct mintd_res){ .size = sizeof(struct mintd_res), .rows = ROWS(facts, LEN(facts)) });
}

void op_drain(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct ipfs *s = self;
    (void)req;
    flatfs_close(s);
    s->host->done(op, NULL, NULL);
}

/* ---- identify. It may answer with a row's reason or refuse for good, nothing else */
static bool identify_row(struct ipfs *s, struct mintd_op *op, const struct mintd_blob *b, struct row *row)
{
    struct source from = source_of(b);
    struct link file;
    struct trouble t;
    int r = tree_build(s->profile, &from, &(struct sink){ NULL, NULL }, &file);
    if (r == -ENOMEM) return false;
    if (r) { source_trouble(&t, r); return row_why(s, op, row, &t); }
    put_uri(row, &file.cid);
    row->row.level = MINTD_LOCAL;
    return true;
}

void op_identify(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct ipfs *s = self;
    uint32_t n = req->rows.n;
    struct row *rows = n ? s->host->scratch(op, n * sizeof *rows) : NULL;
    bool ok = !n || rows;
    for (uint32_t i = 0; ok && i < n; i++) {
        struct mintd_blob b;
        mintd_row(req->rows, i, &b, sizeof b);
        ok = identify_row(s, op, &b, &rows[i]);
    }
    if (ok) answer(s, op, rows, n);
    else refuse(s, op, MINTD_PERMANENT, "ipfs.memory", "out of memory");
}

/* ---- put */
struct put { struct ipfs *s; struct mintd_op *op; struct batch *b; uint32_t blocks; };

static int put_block(void *arg, const struct cid *c, const uint8_t *p, size_t n)
{
    struct put *put = arg;
    if (put->s->host->canceled(put->op)) return -ECANCELED;
    put->blocks++;
    return flatfs_put(put->b, c->digest, p, n) ? 0 : -EREMOTEIO;       /* why: in the batch */
}

/* The same answer for ever: an address given at intake decides how the blob is cut, whatever the profile is now. */
static int put_row(struct put *put, const struct mintd_blob *b, struct row *row, struct trouble *t)
{
    struct source from = source_of(b);
    struct link file;
    struct cid want;
    t->slug = NULL;
    if (b->uri.n && !uri_parse(b->uri, &want, t)) return 0;
    const struct profile *p = !b->uri.n ? put->s->profile : want.version ? &profile_v1 : &profile_v0;
    put->blocks = 0;
    int r = tree_build(p, &from, &(struct sink){ put_block, put }, &file);
    if (r == -ECANCELED || r == -EREMOTEIO || r == -ENOMEM) return r;
    if (r) { source_trouble(t, r); return 0; }
    put_uri(row, &file.cid);
    if (b->uri.n && !cid_eq(&want, &file.cid)) {
        trouble(t, MINTD_PERMANENT, "ipfs.mismatch", "the content is %s, not what its address says", row->uri);
        return 0;
    }
    row->row.pin = (struct mintd_str){ row->uri + SCHEME_LEN, row->row.uri.n - SCHEME_LEN };
    row->row.level = MINTD_PINNED;
    put_facts(row, snprintf(row->facts, sizeof row->facts, "{\"blocks\":%u,\"bytes\":%llu}", put->blocks, (unsigned long long)file.tsize));
    return 0;
}

static void put_end(struct put *put, int r, const struct row *rows, uint32_t n)
{
    struct ipfs *s = put->s;
    struct trouble *t = &put->b->t;
    if (!r && !flatfs_commit(put->b)) r = -EREMOTEIO;
    flatfs_abandon(put->b);
    if (put->b->written) s->host->metric(s->ctx, M_BLOCKS, (struct mintd_str){ NULL, 0 }, (int64_t)put->b->written);
    switch (r) {
    case 0:          answer(s, put->op, rows, n); break;
    case -ECANCELED: refuse(s, put->op, MINTD_CANCELED, "ipfs.canceled", "stopped: what was stored so far does no harm"); break;
    case -ENOMEM:    no_memory(s, put->op); break;
    default:         refuse(s, put->op, t->cls, t->slug, t->msg);
    }
}

void op_put(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct ipfs *s = self;
    uint32_t n = req->rows.n;
    if (s->root < 0) { refuse(s, op, MINTD_TRANSIENT, "ipfs.closed", "the store is not open"); return; }
    struct row *rows = n ? s->host->scratch(op, n * sizeof *rows) : NULL;
    struct batch *batch = s->host->scratch(op, sizeof *batch);
    if ((n && !rows) || !batch) { no_memory(s, op); return; }
    batch->fs = s;
    struct put put = { s, op, batch, 0 };
    struct trouble t;
    int r = 0;
    for (uint32_t i = 0; !r && i < n; i++) {
        struct mintd_blob b;
        mintd_row(req->rows, i, &b, sizeof b);
        r = put_row(&put, &b, &rows[i], &t);
        if (!r && t.slug && !row_why(s, op, &rows[i], &t)) r = -ENOMEM;
    }
    put_end(&put, r, rows, n);
}

/* ---- check */
static void check_absent(struct ipfs *s, struct row *row, const struct cid *at, bool damaged)
{
    char text[CID_TEXT];
    size_t n = cid_print(at, text);
    row->row.level = 0;
    put_facts(row, snprintf(row->facts, sizeof row->facts, "{\"%s\":\"%s\"}", damaged ? "damaged" : "missing", text));
    if (!damaged) return;
    struct mintd_field field = { STR("block"), { text, n } };
    s->host->log(s->ctx, NULL, MINTD_WARN, STR("a stored block is damaged: it counts as missing, the next put writes it anew"), ROWS(&field, 1));
    s->host->metric(s->ctx, M_DAMAGED, (struct mintd_str){ NULL, 0 }, 1);
}

static int check_row(struct ipfs *s, struct mintd_op *op, const struct mintd_blob *b, struct row *row, struct trouble *t)
{
    struct cid root;
    char text[CID_TEXT];
    t->slug = NULL;
    if (!uri_parse(b->uri.n ? b->uri : b->pin, &root, t)) return 0;
    struct walk w = { .fs = s, .op = op };
    int r = walk_all(&w, &root);
    put_uri(row, &root);
    row->row.pin = (struct mintd_str){ row->uri + SCHEME_LEN, row->row.uri.n - SCHEME_LEN };
    cid_print(&w.at, text);
    switch (r) {
    case 0:                     row->row.level = MINTD_PINNED; break;
    case -ENOENT: case -EBADMSG: check_absent(s, row, &w.at, r == -EBADMSG); break;
    case -ECANCELED: case -ENOMEM: return r;
    case -EPROTO:               trouble(t, MINTD_PERMANENT, "ipfs.block", "%s is no file or folder of UnixFS", text); break;
    case -E2BIG:                trouble(t, MINTD_PERMANENT, "ipfs.block",
                                        "%s: the tree below it is too deep or too large to check", row->uri); break;
    default:                    io_trouble(t, s->path, "read a block", -r);
    }
    return 0;
}

void op_check(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct ipfs *s = self;
    uint32_t n = req->rows.n;
    if (s->root < 0) { refuse(s, op, MINTD_TRANSIENT, "ipfs.closed", "the store is not open"); return; }
    struct row *rows = n ? s->host->scratch(op, n * sizeof *rows) : NULL;
    struct trouble t;
    int r = n && !rows ? -ENOMEM : 0;
    for (uint32_t i = 0; !r && i < n; i++) {
        struct mintd_blob b;
        mintd_row(req->rows, i, &b, sizeof b);
        r = check_row(s, op, &b, &rows[i], &t);
        if (!r && t.slug && !row_why(s, op, &rows[i], &t)) r = -ENOMEM;
    }
    if (!r) answer(s, op, rows, n);
    else if (r == -ENOMEM) no_memory(s, op);
    else refuse(s, op, MINTD_CANCELED, "ipfs.canceled", "stopped");
}
