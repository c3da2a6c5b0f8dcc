/* collection and reconcile. */
#include "commands.h"
#include "http.h"
#include "list.h"

enum { LONG_MS = 3600000 };

/* ---- collections */

static void collection_card(struct cli *c, struct json_object *doc)
{
    static const char *const rows[][2] = { { "collection", "name" }, { "id", "collectionId" }, { "pipeline", "pipeline" }, { "network", "network" },
        { "state", "state" }, { "on chain", "chainRef" }, { "transaction", "transactionId" }, { "error", "error" } };
    struct buf b = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) card_member(c, &b, rows[i][0], doc, rows[i][1]);
    card_time(c, &b, "created", doc, "createdAt");
    out_buf(c, &b);
}

int cmd_collection_new(struct cli *c)
{
    struct buf body = { 0 };
    struct reply r = { 0 };
    int rc = confirm(c, "create the collection %s on the chain, and pay for it?", c->arg[0]);
    buf_puts(&body, "{\"name\":");
    buf_json(&body, str_of(c->arg[0]));
    if (c->opt[OPT_PIPELINE]) {
        buf_puts(&body, ",\"pipeline\":");
        buf_json(&body, str_of(c->opt[OPT_PIPELINE]));
    }
    buf_puts(&body, "}");
    if (!rc) rc = http_send(c, "POST", "/v1/collections", buf_text(&body), &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) collection_card(c, r.doc);
    reply_free(&r);
    buf_free(&body);
    return rc;
}

int cmd_collection_list(struct cli *c)
{
    static const struct column cols[] = {
        { "NAME", "name", COL_FLEX, 0 }, { "PIPELINE", "pipeline", COL_FLEX, 2 }, { "STATE", "state", COL_STATE, 0 },
        { "NETWORK", "network", COL_FLEX, 4 }, { "ON CHAIN", "chainRef", COL_FLEX, 1 }, { "CREATED", "createdAt", COL_TIME, 3 } };
    return list_run(c, &(struct list){ "/v1/collections", "collections", cols, ARRAY_LEN(cols), 100, "no collections" });
}

/* ---- reconciliation */

static void report_card(struct cli *c, struct json_object *doc)
{
    static const char *const rows[][2] = { { "report", "reportId" }, { "venue", "venueId" }, { "checked", "totalChecked" }, { "confirmed", "confirmed" },
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
