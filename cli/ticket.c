/* ticket list, show. */
#include "ticket.h"
#include "batch.h"
#include "commands.h"
#include "list.h"

int ticket_get(struct cli *c, struct reply *ret)
{
    struct buf path = { 0 };
    if (c->opt[OPT_VENUE]) {
        buf_puts(&path, "/v1/venues/");
        url_seg(&path, c->opt[OPT_VENUE]);
        buf_puts(&path, "/tickets/");
    } else buf_puts(&path, "/v1/tickets/");
    url_seg(&path, c->arg[0]);
    int rc = http_get(c, buf_text(&path), ret);
    if (rc && !strcmp(problem_code(ret), "ticket.ambiguous")) detail(c, "  say which: --venue VENUE");
    buf_free(&path);
    return rc;
}

void ticket_card(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 };
    static const char *const rows[][2] = { { "ticket", "ticketId" }, { "venue", "venueId" }, { "event", "eventId" }, { "state", "state" },
        { "asset", "asset" }, { "signature", "signature" }, { "metadata", "metadataUri" }, { "recipient", "recipient" },
        { "delivery", "delivery" }, { "collection", "collection.name" }, { "pipeline", "collection.pipeline" },
        { "network", "collection.network" }, { "batch", "batch.batchId" }, { "code", "code" }, { "error", "error" } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) card_member(c, &b, rows[i][0], doc, rows[i][1]);
    out_buf(c, &b);
}

int cmd_ticket_show(struct cli *c)
{
    struct reply r;
    int rc = ticket_get(c, &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) ticket_card(c, r.doc);
    if (!rc && c->format == FORMAT_TABLE && c->tty_out) say(c, "the whole story: mintctl why %s", c->arg[0]);
    reply_free(&r);
    return rc;
}

int cmd_ticket_list(struct cli *c)
{
    static const struct column cols[] = {
        { "TICKET", "ticketId", COL_FLEX, 0 }, { "VENUE", "venueId", COL_FLEX, 5 }, { "BATCH", "batchId", COL_RIGHT, 6 },
        { "STATE", "state", COL_STATE, 0 }, { "ASSET", "asset", COL_FLEX, 2 }, { "MINTED", "mintedAt", COL_TIME, 4 },
        { "CODE", "code", COL_FLEX, 1 },
        { "ERROR", "error", COL_FLEX, 3 } };
    struct list l = { "/v1/tickets", "tickets", cols, ARRAY_LEN(cols), 1000, "no tickets" };
    struct buf path = { 0 };
    int rc = c->opt[OPT_BATCH] ? batch_check(c, c->opt[OPT_BATCH]) : RC_OK;
    if (rc) return rc;
    for (size_t i = OPT_GLOBALS; c->opt[OPT_BATCH] && i < OPT_COUNT; i++)
        if (c->opt[i] && i != OPT_BATCH && i != OPT_STATE && i != OPT_LIMIT) {
            complain(c, "the tickets of one batch are chosen by --state alone, not by --%s", cli_options[i].name);
            return RC_USAGE;
        }
    buf_printf(&path, "/v1/batches/%s/tickets", c->opt[OPT_BATCH] ? c->opt[OPT_BATCH] : "");
    if (c->opt[OPT_BATCH]) l.path = buf_text(&path);
    rc = list_run(c, &l);
    buf_free(&path);
    return rc;
}
