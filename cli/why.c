/* why: everything that is known of one ticket, as one timeline. The document is a tree by chunk; what counts for a reader is the
 * order in which it happened. Owns the lines it sorts. */
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include "commands.h"
#include "ticket.h"

enum { MOMENTS_MAX = 20000, LABEL = 10 };

struct moment { int64_t at; unsigned order; enum ink ink; const char *label; struct buf text; };
struct story { struct cli *cli; struct moment *m; unsigned n, cap; };

/* ---- collecting */

static struct moment *add(struct story *s, struct json_object *doc, const char *path, const char *label, enum ink color)
{
    int64_t at = text_time_ms(doc_str(doc, path));
    if (at < 0 || s->n == MOMENTS_MAX) return NULL;
    if (s->n == s->cap) {
        unsigned cap = s->cap ? 2 * s->cap : 64;
        struct moment *m = realloc(s->m, cap * sizeof *m);
        if (!m) return NULL;
        s->m = m;
        s->cap = cap;
    }
    s->m[s->n] = (struct moment){ .at = at, .order = s->n, .ink = color, .label = label };
    return &s->m[s->n++];
}

static void tell(struct moment *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct moment *m, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    if (!m) return;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) >= 0) buf_puts(&m->text, text);
    va_end(ap);
    free(text);
}

static void more(struct moment *m, struct json_object *doc, const char *path, const char *fmt)
{
    const char *value = doc_str(doc, path), *mark = strstr(fmt, "%s");
    if (!m || !*value) return;
    buf_add(&m->text, fmt, (size_t)(mark - fmt));
    buf_puts(&m->text, value);
    buf_puts(&m->text, mark + 2);
}

static void flat(struct moment *m, struct json_object *doc, const char *path)
{
    struct json_object *at = doc_at(doc, path);
    if (!m || !at) return;
    buf_puts(&m->text, ": ");
    doc_flat(&m->text, at, NULL);
}

static void take_batch(struct story *s, struct json_object *doc)
{
    struct json_object *batch = doc_at(doc, "batch");
    struct moment *m = add(s, batch, "createdAt", "request", INK_NONE);
    tell(m, "batch %s arrives, this is its ticket %lld", doc_str(batch, "batchId"), (long long)doc_int(batch, "position") + 1);
    more(m, batch, "requestId", ", request %s");
    tell(add(s, batch, "acceptedAt", "accepted", INK_NONE), "stored durably: from here on it is minted exactly once");
    tell(add(s, batch, "finishedAt", "finished", INK_NONE), "everything of batch %s is settled", doc_str(batch, "batchId"));
}

static void take_attempt(struct story *s, struct json_object *a, const char *chunk)
{
    struct moment *m = add(s, a, "createdAt", "attempt", INK_NAME);
    tell(m, "number %s of chunk %s: transaction %s", doc_str(a, "number"), chunk, doc_str(a, "transactionId"));
    more(m, a, "network", " on %s");
    more(m, a, "validUntil", ", counts until %s at the latest");
    more(m, a, "feeCap", ", pays at most %s");
    more(m, a, "slot", ", signed by slot %s");
}

static void take_proof(struct story *s, struct json_object *p, const char *chunk)
{
    struct moment *m = add(s, p, "createdAt", "proof", INK_WARN);
    tell(m, "attempt %s of chunk %s is dead: %s", doc_str(p, "attempt"), chunk, doc_str(p, "kind"));
    more(m, p, "watermark", ", the chain had passed %s");
    more(m, p, "absentAt", ", absent at %s");
    more(m, p, "quorum", ", said by %s");
    more(m, p, "endpoints", " (%s)");
    more(m, p, "error", ": %s");
    flat(m, p, "facts");
}

static void take_chunk(struct story *s, struct json_object *c)
{
    const char *id = doc_str(c, "chunkId"), *kind = doc_str(c, "kind"), *state = doc_str(c, "state");
    bool delivery = !strcmp(kind, "delivery");
    struct moment *m = add(s, c, "acceptedAt", "chunk", INK_NONE);
    tell(m, "%s chunk %s with %s tickets", kind, id, doc_str(c, "tickets"));
    more(m, c, "parent", ", made of chunk %s");
    m = add(s, c, "uploadedAt", "metadata", INK_NONE);
    tell(m, "chunk %s is uploaded", id);
    flat(m, c, "upload");
    tell(add(s, c, "blockTime", "block", INK_NONE), "time of the block that has chunk %s", id);
    bool minted = !strcmp(state, "minted");
    m = add(s, c, "mintedAt", minted ? delivery ? "delivered" : "minted" : state, minted ? INK_GOOD : INK_BAD);
    tell(m, "chunk %s is %s", id, minted ? "final" : state);
    more(m, c, "firstSerial", ", first serial %s");
    more(m, c, "fee", ", fee %s for the whole chunk");
    more(m, c, "code", ", %s");
    more(m, c, "error", ": %s");
    flat(m, c, "evidence");
    for (size_t i = 0; i < doc_len(c, "attempts"); i++) take_attempt(s, doc_idx(c, "attempts", i), id);
    for (size_t i = 0; i < doc_len(c, "proofs"); i++) take_proof(s, doc_idx(c, "proofs", i), id);
}

static void take_event(struct story *s, struct json_object *e)
{
    struct moment *m = add(s, e, "at", "event", INK_NONE);
    tell(m, "%s", doc_str(e, "kind"));
    flat(m, e, "body");
}

/* ---- telling */

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static void put_when(struct buf *b, int64_t at, int64_t *day)
{
    char text[40];
    struct tm tm;
    time_t s = (time_t)(at / 1000);
    if (!localtime_r(&s, &tm)) return;
    int64_t today = tm.tm_year * 366 + tm.tm_yday;
    if (today != *day && strftime(text, sizeof text, "%Y-%m-%d", &tm)) buf_printf(b, "%s\n", text);
    *day = today;
    strftime(text, sizeof text, "%H:%M:%S", &tm);
    buf_printf(b, "%s.%03d  ", text, (int)(at % 1000));
}

static void print_moment(struct story *s, const struct moment *m, int64_t *day)
{
    struct cli *c = s->cli;
    struct buf b = { 0 }, clean = { 0 };
    bool narrow = c->width && c->width < 60;
    unsigned indent = narrow ? 4 : 14 + LABEL + 1;
    buf_puts(&b, ink(c->color_out, INK_DIM));
    put_when(&b, m->at, day);
    buf_puts(&b, ink(c->color_out, INK_NONE));
    buf_printf(&b, "%s%-*s%s ", ink(c->color_out && m->ink, m->ink), LABEL, m->label, ink(c->color_out && m->ink, INK_NONE));
    if (narrow) buf_printf(&b, "\n%*s", (int)indent, "");
    text_clean(&clean, m->text.p ? m->text.p : "", m->text.n, false);
    text_wrap(&b, clean.p ? clean.p : "", clean.n, c->width, indent);
    out_buf(c, &b);
    buf_free(&clean);
}

static void print_story(struct story *s, struct json_object *doc)
{
    int64_t day = -1;
    ticket_card(s->cli, doc);
    fputs("\n", stdout);
    if (s->n) qsort(s->m, s->n, sizeof *s->m, by_time);
    for (unsigned i = 0; i < s->n; i++) print_moment(s, &s->m[i], &day);
}

int cmd_why(struct cli *c)
{
    struct story s = { .cli = c };
    struct reply r;
    int rc = ticket_get(c, &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) {
        take_batch(&s, r.doc);
        for (size_t i = 0; i < doc_len(r.doc, "chunks"); i++) take_chunk(&s, doc_idx(r.doc, "chunks", i));
        for (size_t i = 0; i < doc_len(r.doc, "events"); i++) take_event(&s, doc_idx(r.doc, "events", i));
        print_story(&s, r.doc);
    }
    for (unsigned i = 0; i < s.n; i++) buf_free(&s.m[i].text);
    free(s.m);
    reply_free(&r);
    return rc;
}
