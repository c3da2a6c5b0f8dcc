/* estimate, and the price that submit shows. */
#include "estimate.h"
#include "commands.h"
#include "http.h"

static void put_path(struct buf *b, const struct estimate_of *of)
{
    char count[24];
    snprintf(count, sizeof count, "%llu", (unsigned long long)of->tickets);
    buf_puts(b, "/v1/estimate");
    url_query(b, "count", count);
    url_query(b, "pipeline", of->pipeline);
    url_query(b, "venue", of->venue);
    url_query(b, "collection", of->collection);
}

static void put_money(struct buf *b, struct json_object *doc)
{
    const char *amount = doc_str(doc, "amount"), *usd = doc_str(doc, "estimatedUSD");
    buf_printf(b, "%s %s", *amount ? amount : doc_str(doc, "estimatedSOL"), doc_str(doc, "currency"));
    if (*usd) buf_printf(b, " (%s USD)", usd);
}

static void put_line(struct buf *b, uint64_t tickets, struct json_object *doc)
{
    buf_printf(b, "%llu ticket%s: about ", (unsigned long long)tickets, tickets == 1 ? "" : "s");
    put_money(b, doc);
    buf_puts(b, ", ");
    text_span(b, doc_num(doc, "estimatedTimeSeconds"));
}

int estimate_line(struct cli *c, const struct estimate_of *of, struct buf *ret)
{
    struct buf path = { 0 };
    struct reply r;
    put_path(&path, of);
    int rc = http_once(c, &(struct ask){ .path = buf_text(&path) }, &r, ret);
    if (!rc && r.status != 200) {
        buf_printf(ret, "%ld %s: %s", r.status, problem_code(&r), doc_str(r.doc, "detail"));
        rc = problem_rc(r.status) == RC_REFUSED && r.status != 401 && r.status != 403 ? RC_FAILED : problem_rc(r.status);
    } else if (!rc) put_line(ret, of->tickets, r.doc);
    reply_free(&r);
    buf_free(&path);
    return rc;
}

static void breakdown(struct cli *c, struct json_object *rows)
{
    static const struct column cols[] = {
        { "WHAT", "what", COL_FLEX, 0 }, { "COUNT", "count", COL_RIGHT, 0 }, { "EACH", "each", COL_RIGHT, 1 },
        { "AMOUNT", "amount", COL_RIGHT, 0 } };
    if (!doc_len(rows, "")) return;
    fputs("\n", stdout);
    grid_print(c, cols, ARRAY_LEN(cols), rows, true);
}

static void card(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 }, money = { 0 }, time = { 0 };
    put_money(&money, doc);
    text_span(&time, doc_num(doc, "estimatedTimeSeconds"));
    card_member(c, &b, "tickets", doc, "count");
    card_row(c, &b, "cost", INK_BOLD, "%s", buf_text(&money));
    card_row(c, &b, "time", INK_NONE, "%s", buf_text(&time));
    card_member(c, &b, "pipeline", doc, "pipeline");
    card_member(c, &b, "transactions", doc, "transactions");
    if (doc_int(doc, "deliveries")) card_member(c, &b, "deliveries", doc, "deliveries");
    if (doc_bool(doc, "newCollection")) card_row(c, &b, "collection", INK_NONE, "a new one is part of it");
    card_member(c, &b, "said by", doc, "feeSource");
    card_member(c, &b, "network", doc, "network");
    out_buf(c, &b);
    breakdown(c, doc_at(doc, "breakdown"));
    buf_free(&money);
    buf_free(&time);
}

int cmd_estimate(struct cli *c)
{
    struct estimate_of of = { 0, c->opt[OPT_VENUE], c->opt[OPT_PIPELINE], c->opt[OPT_COLLECTION] };
    struct buf path = { 0 };
    struct reply r;
    if (str_u64(str_of(c->arg[0]), &of.tickets) || !of.tickets) {
        complain(c, "estimate wants a number of tickets, not %s", c->arg[0]);
        return RC_USAGE;
    }
    put_path(&path, &of);
    int rc = http_get(c, buf_text(&path), &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) card(c, r.doc);
    reply_free(&r);
    buf_free(&path);
    return rc;
}
