/* collection and reconcile. */
#include <errno.h>
#include "commands.h"
#include "http.h"
#include "list.h"

enum { LONG_MS = 3600000, SPEC_MAX = 16 * 1024 };

/* ---- collections */

static void collection_card(struct cli *c, struct json_object *doc)
{
    static const char *const rows[][2] = { { "collection", "name" }, { "id", "collectionId" }, { "venue", "venueId" },
                                           { "pipeline", "pipeline" },
        { "network", "network" }, { "state", "state" }, { "on chain", "chainRef" }, { "reason", "reason" }, { "accepted", "accepted" },
        { "at most", "maxSupply" }, { "spec", "spec" } };
    struct buf b = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) card_member(c, &b, rows[i][0], doc, rows[i][1]);
    out_buf(c, &b);
}

/* --spec: the text itself, or of a file behind @ */
static int read_spec(struct cli *c, struct buf *ret)
{
    const char *text = c->opt[OPT_SPEC];
    char block[4096];
    size_t n;
    FILE *f = text[0] == '@' ? fopen(text + 1, "re") : NULL;
    if (text[0] != '@') buf_puts(ret, text);
    while (f && (n = fread(block, 1, sizeof block, f))) buf_add(ret, block, n);
    bool failed = text[0] == '@' && (!f || ferror(f));
    if (failed) complain(c, "cannot read %s: %s", text + 1, strerror(errno));
    if (f) fclose(f);
    if (failed) return RC_FAILED;
    struct json_object *doc = ret->bad ? NULL : doc_parse(ret->p ? ret->p : "", ret->n);
    bool object = json_object_is_type(doc, json_type_object);
    json_object_put(doc);
    if (object) return RC_OK;
    complain(c, "--spec is a JSON object of at most %d KiB", SPEC_MAX >> 10);
    return RC_USAGE;
}

static int collection_body(struct cli *c, struct buf *b)
{
    struct buf spec = { .max = SPEC_MAX };
    uint64_t most = 0;
    int rc = c->opt[OPT_SPEC] ? read_spec(c, &spec) : RC_OK;
    buf_puts(b, "{\"name\":");
    buf_json(b, str_of(c->arg[0]));
    buf_puts(b, ",\"venueId\":");
    buf_json(b, str_of(c->opt[OPT_VENUE]));
    if (c->opt[OPT_PIPELINE]) {
        buf_puts(b, ",\"pipeline\":");
        buf_json(b, str_of(c->opt[OPT_PIPELINE]));
    }
    if (c->opt[OPT_MAX_SUPPLY] && (str_u64(str_of(c->opt[OPT_MAX_SUPPLY]), &most) || !most)) {
        complain(c, "--max-supply is a number from 1 on, not %s", c->opt[OPT_MAX_SUPPLY]);
        rc = RC_USAGE;
    }
    if (most) buf_printf(b, ",\"maxSupply\":%llu", (unsigned long long)most);
    if (spec.n && !rc) {
        buf_puts(b, ",\"spec\":");
        buf_str(b, buf_view(&spec));
    }
    buf_puts(b, "}");
    buf_free(&spec);
    return rc;
}

int cmd_collection_new(struct cli *c)
{
    struct buf body = { 0 };
    struct reply r = { 0 };
    if (!c->opt[OPT_VENUE]) {
        complain(c, "a collection belongs to a venue: say --venue VENUE");
        return RC_USAGE;
    }
    int rc = collection_body(c, &body);
    if (!rc) rc = http_send(c, "POST", "/v1/collections", buf_text(&body), &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) collection_card(c, r.doc);
    if (!rc && r.status == 200) say(c, "it was there already");
    reply_free(&r);
    buf_free(&body);
    return rc;
}

int cmd_collection_show(struct cli *c)
{
    struct buf path = { 0 };
    struct reply r;
    buf_puts(&path, "/v1/collections/");
    url_seg(&path, c->arg[0]);
    int rc = http_get(c, buf_text(&path), &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) collection_card(c, r.doc);
    reply_free(&r);
    buf_free(&path);
    return rc;
}

int cmd_collection_list(struct cli *c)
{
    static const struct column cols[] = {
        { "ID", "collectionId", COL_RIGHT, 0 }, { "NAME", "name", COL_FLEX, 0 }, { "VENUE", "venueId", COL_FLEX, 2 },
        { "STATE", "state", COL_STATE, 0 },
        { "ACCEPTED", "accepted", COL_RIGHT, 1 }, { "AT MOST", "maxSupply", COL_RIGHT, 3 }, { "PIPELINE", "pipeline", COL_FLEX, 4 },
        { "ON CHAIN", "chainRef", COL_FLEX, 5 }, { "REASON", "reason", COL_FLEX, 6 } };
    return list_run(c, &(struct list){ "/v1/collections", "collections", cols, ARRAY_LEN(cols), 1000, "no collections" });
}

/* ---- reconciliation */

static void report_card(struct cli *c, struct json_object *doc)
{
    static const char *const rows[][2] = { { "report", "reportId" }, { "venue", "venueId" }, { "checked", "totalChecked" },
                                           { "confirmed", "confirmed" },
        { "not found", "notFound" }, { "pending", "pending" }, { "errors", "errors" }, { "not verified", "unverified" } };
    struct buf b = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) card_member(c, &b, rows[i][0], doc, rows[i][1]);
    int64_t n = doc_int(doc, "discrepancyCount");
    card_row(c, &b, "disagree", n ? INK_BAD : INK_GOOD, "%lld (%.2f %%)", (long long)n, 100 * doc_num(doc, "discrepancyRate"));
    card_row(c, &b, "took", INK_NONE, "%s s", doc_str(doc, "durationSeconds"));
    out_buf(c, &b);
}

static void discrepancies(struct cli *c, struct json_object *rows)
{
    static const struct column cols[] = {
        { "TICKET", "ticketId", COL_FLEX, 0 }, { "WHAT", "class", COL_FLEX, 0 }, { "DETAIL", "detail", COL_FLEX, 1 } };
    if (!doc_len(rows, "")) return;
    fputs("\n", stdout);
    grid_print(c, cols, ARRAY_LEN(cols), rows, true);
}

int cmd_reconcile_run(struct cli *c)
{
    struct buf body = { 0 };
    struct reply r;
    buf_puts(&body, "{\"venueId\":");
    buf_json(&body, str_of(c->arg[0]));
    buf_puts(&body, "}");
    int rc = http_ask(c, &(struct ask){ .method = "POST", .path = "/v1/reconciliations", .json = buf_text(&body), .prefer = "wait=600",
                                        .silence_ms = LONG_MS }, &r);
    bool goes_on = !rc && r.status == 202;
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc && !goes_on) {
        report_card(c, r.doc);
        discrepancies(c, doc_at(r.doc, "discrepancies"));
    }
    if (goes_on) {
        complain(c, "it takes longer and goes on by itself; its report will be in: mintctl reconcile history %s", c->arg[0]);
        rc = RC_TIMEOUT;
    } else if (!rc && (doc_int(r.doc, "discrepancyCount") || doc_int(r.doc, "errors"))) rc = RC_PARTIAL;
    reply_free(&r);
    buf_free(&body);
    return rc;
}

int cmd_reconcile_history(struct cli *c)
{
    static const struct column cols[] = {
        { "REPORT", "id", COL_RIGHT, 3 }, { "DATE", "report_date", COL_TIME, 0 }, { "CHECKED", "total_checked", COL_RIGHT, 0 },
        { "CONFIRMED", "confirmed", COL_RIGHT, 2 }, { "NOT FOUND", "not_found", COL_RIGHT, 4 }, { "PENDING", "pending", COL_RIGHT, 5 },
        { "ERRORS", "errors", COL_RIGHT, 1 }, { "DISAGREE", "discrepancy_count", COL_RIGHT, 0 } };
    c->opt[OPT_VENUE] = c->arg[0];                         /* the API has it as a filter */
    return list_run(c, &(struct list){ "/v1/reconciliations", "reconciliations", cols, ARRAY_LEN(cols), 100, "no reports yet" });
}
