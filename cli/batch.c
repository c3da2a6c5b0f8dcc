/* batch list, show, cancel, retry. */
#include "batch.h"
#include "commands.h"
#include "list.h"

int batch_check(struct cli *c, const char *id)
{
    uint64_t n = 0;
    if (!str_u64(str_of(id), &n) && n) return RC_OK;
    complain(c, "a batch is a number like 7, not %s", id);
    return RC_USAGE;
}

int batch_rc(struct json_object *batch)
{
    const char *state = doc_str(batch, "state");
    if (!strcmp(state, "partial")) return RC_PARTIAL;
    return !strcmp(state, "failed") || !strcmp(state, "cancelled") ? RC_FAILED : RC_OK;
}

/* ---- one batch */

static void put_counts(struct buf *b, struct json_object *batch)
{
    static const char *const names[] = { "minted", "open", "quarantined", "failed", "cancelled" };
    const char *comma = ": ";
    buf_printf(b, "%s", doc_str(batch, "summary.total"));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int64_t n = doc_int(doc_at(batch, "items"), names[i]);
        if (!n) continue;
        buf_printf(b, "%s%lld %s", comma, (long long)n, names[i]);
        comma = ", ";
    }
}

static void put_states(struct buf *b, struct json_object *counts)
{
    const char *comma = "";
    if (!json_object_is_type(counts, json_type_object)) return;
    json_object_object_foreach(counts, state, n) {
        buf_printf(b, "%s%s %s", comma, json_object_get_string(n), state);
        comma = ", ";
    }
}

static void card_states(struct cli *c, struct buf *b, const char *label, struct json_object *counts)
{
    struct buf text = { 0 };
    put_states(&text, counts);
    if (text.n) card_row(c, b, label, INK_NONE, "%s", buf_text(&text));
    buf_free(&text);
}

static void card_took(struct cli *c, struct buf *b, struct json_object *batch)
{
    struct buf span = { 0 };
    int64_t from = text_time_ms(doc_str(batch, "createdAt")), to = text_time_ms(doc_str(batch, "finishedAt"));
    if (from < 0 || to < from) return;
    text_span(&span, (double)(to - from) / 1000);
    card_row(c, b, "took", INK_NONE, "%s", buf_text(&span));
    buf_free(&span);
}

void batch_card(struct cli *c, struct json_object *batch)
{
    struct buf b = { 0 }, counts = { 0 };
    put_counts(&counts, batch);
    card_member(c, &b, "batch", batch, "batchId");
    card_member(c, &b, "venue", batch, "venueId");
    card_member(c, &b, "state", batch, "state");
    card_row(c, &b, "tickets", INK_NONE, "%s", buf_text(&counts));
    card_states(c, &b, "chunks", doc_at(batch, "chunks"));
    card_states(c, &b, "deliveries", doc_at(batch, "deliveries"));
    if (doc_int(batch, "fee")) card_row(c, &b, "fee", INK_NONE, "%s of the coin's smallest unit", doc_str(batch, "fee"));
    card_time(c, &b, "created", batch, "createdAt");
    card_time(c, &b, "cancelled", batch, "cancelledAt");
    card_time(c, &b, "finished", batch, "finishedAt");
    card_took(c, &b, batch);
    out_buf(c, &b);
    buf_free(&counts);
}

int cmd_batch_show(struct cli *c)
{
    struct reply r;
    struct buf path = { 0 };
    int rc = batch_check(c, c->arg[0]);
    if (rc) return rc;
    buf_printf(&path, "/v1/batches/%s", c->arg[0]);
    rc = http_get(c, buf_text(&path), &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) batch_card(c, r.doc);
    reply_free(&r);
    buf_free(&path);
    return rc;
}

int cmd_batch_list(struct cli *c)
{
    static const struct column cols[] = {
        { "BATCH", "batchId", COL_RIGHT, 0 }, { "VENUE", "venueId", COL_FLEX, 3 }, { "STATE", "state", COL_STATE, 0 },
        { "TICKETS", "summary.total", COL_RIGHT, 0 }, { "MINTED", "items.minted", COL_RIGHT, 0 },
        { "FAILED", "summary.failed", COL_RIGHT, 2 }, { "FEE", "fee", COL_RIGHT, 5 }, { "CREATED", "createdAt", COL_TIME, 4 } };
    return list_run(c, &(struct list){ "/v1/batches", "batches", cols, ARRAY_LEN(cols), 100, "no batches" });
}

/* ---- steering */

static int steer(struct cli *c, const char *verb, struct reply *ret)
{
    struct buf path = { 0 };
    buf_printf(&path, "/v1/batches/%s/%s", c->arg[0], verb);
    int rc = http_send(c, "POST", buf_text(&path), NULL, ret);
    buf_free(&path);
    return rc;
}

/* What there is to cancel or retry, before anybody is asked about it. */
static int look_first(struct cli *c, struct reply *ret)
{
    struct buf path = { 0 };
    int rc = batch_check(c, c->arg[0]);
    if (rc) return rc;
    buf_printf(&path, "/v1/batches/%s", c->arg[0]);
    rc = http_get(c, buf_text(&path), ret);
    buf_free(&path);
    if (rc) reply_free(ret);
    return rc;
}

static const char *how_many(struct json_object *doc, const char *what, char text[64])
{
    int64_t n = doc_int(doc, "tickets");
    snprintf(text, 64, "%lld ticket%s %s", (long long)n, n == 1 ? "" : "s", what);
    return text;
}

int cmd_batch_cancel(struct cli *c)
{
    char text[64];
    struct reply r;
    int rc = look_first(c, &r);
    if (rc) return rc;
    rc = confirm(c, "cancel batch %s? %s of its %s tickets are not settled", c->arg[0], doc_str(r.doc, "items.open"),
                 doc_str(r.doc, "summary.total"));
    reply_free(&r);
    if (rc) return rc;
    rc = steer(c, "cancel", &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) printf("%s\n", how_many(r.doc, "cancelled", text));
    reply_free(&r);
    return rc;
}

int cmd_batch_retry(struct cli *c)
{
    char text[64];
    struct reply r;
    int rc = look_first(c, &r);
    if (rc) return rc;
    rc = confirm(c, "retry batch %s? %s tickets that failed or were cancelled are minted, and paid for", c->arg[0],
                 doc_str(r.doc, "summary.failed"));
    reply_free(&r);
    if (rc) return rc;
    rc = steer(c, "retry", &r);
    int64_t n = rc ? 0 : doc_int(r.doc, "tickets");
    bool ends = rc || !n || cli_has(c, OPT_NO_WAIT);
    if (!rc && ends && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc && ends) printf("%s\n", how_many(r.doc, "tried again", text));
    else if (!rc) say(c, "%s", how_many(r.doc, "tried again", text));
    reply_free(&r);
    return ends ? rc : batch_watch(c, c->arg[0], true);
}
