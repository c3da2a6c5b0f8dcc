/* status, wallet, cache: figures of the daemon, and taking things out of its caches. */
#include "commands.h"
#include "http.h"

/* One GET whose document is printed as it is with --json, else by fn. */
static int show(struct cli *c, const char *path, void (*fn)(struct cli *, struct json_object *), int (*judge)(struct json_object *))
{
    struct reply r;
    int rc = http_get(c, path, &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) fn(c, r.doc);
    if (!rc && judge) rc = judge(r.doc);
    reply_free(&r);
    return rc;
}

static const char *yes_no(bool yes) { return yes ? "yes" : "no"; }

/* ---- wallets */

static void wallet_row(struct cli *c, struct buf *b, struct json_object *w)
{
    bool known = *doc_str(w, "balance"), good = doc_bool(w, "sufficient");
    const char *role = doc_str(w, "role"), *currency = doc_str(w, "currency");
    struct buf label = { 0 };
    buf_printf(&label, "%s", *doc_str(w, "chain") ? doc_str(w, "chain") : "wallet");
    if (*role) buf_printf(&label, " %s", role);
    card_row(c, b, buf_text(&label), good ? INK_GOOD : INK_BAD, "%s%s%s%s", known ? doc_str(w, "balance") : "unknown", known ? " " : "",
             known ? currency : "", good ? "" : known ? ", too low" : "");
    card_row(c, b, "  needs", INK_NONE, "%s %s", *doc_str(w, "minRequired") ? doc_str(w, "minRequired") : "-", currency);
    card_member(c, b, "  account", w, "account");
    card_time(c, b, "  checked", w, "lastCheck");
    card_member(c, b, "  error", w, "error");
    buf_free(&label);
}

static void wallets(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 };
    size_t n = doc_len(doc, "wallets");
    for (size_t i = 0; i < n; i++) wallet_row(c, &b, doc_idx(doc, "wallets", i));
    if (!n) say(c, "no chain has a wallet");
    out_buf(c, &b);
}

static int judge_wallets(struct json_object *doc)
{
    for (size_t i = 0; i < doc_len(doc, "wallets"); i++)
        if (!doc_bool(doc_idx(doc, "wallets", i), "sufficient")) return RC_PARTIAL;
    return RC_OK;
}

int cmd_wallet(struct cli *c)
{
    struct reply r;
    int rc = http_get(c, "/v1/wallets", &r);
    for (size_t i = 0; !rc && c->format == FORMAT_JSON && i < doc_len(r.doc, "wallets"); i++) out_json(c, doc_idx(r.doc, "wallets", i));
    if (!rc && c->format == FORMAT_TABLE) wallets(c, r.doc);
    if (!rc) rc = judge_wallets(r.doc);
    reply_free(&r);
    return rc;
}

/* ---- status */

static void status_chains(struct cli *c, struct buf *b, struct json_object *doc)
{
    for (size_t i = 0; i < doc_len(doc, "chains"); i++) {
        struct json_object *chain = doc_idx(doc, "chains", i);
        bool up = doc_bool(chain, "connected");
        card_row(c, b, i ? "" : "chains", up ? INK_GOOD : INK_BAD, "%s %s%s%s", doc_str(chain, "name"), up ? "connected" : "not reached",
                 *doc_str(chain, "network") ? ", network " : "", doc_str(chain, "network"));
    }
}

static void status_wallets(struct cli *c, struct buf *b, struct json_object *doc)
{
    for (size_t i = 0; i < doc_len(doc, "wallets"); i++) {
        struct json_object *w = doc_idx(doc, "wallets", i);
        bool good = doc_bool(w, "sufficient");
        card_row(c, b, i ? "" : "wallets", good ? INK_GOOD : INK_BAD, "%s %s %s%s", doc_str(w, "chain"),
                 *doc_str(w, "balance") ? doc_str(w, "balance") : "unknown", doc_str(w, "currency"), good ? "" : ", not sufficient");
    }
}

static void status(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 }, up = { 0 };
    bool accepting = doc_bool(doc, "accepting"), database = doc_bool(doc, "database.connected");
    text_span(&up, doc_num(doc, "uptimeSeconds"));
    card_row(c, &b, "mintd", INK_NONE, "%s, up %s, on %s", doc_str(doc, "version"), buf_text(&up), link_name(c));
    card_row(c, &b, "takes work", accepting ? INK_GOOD : INK_BAD, "%s%s%s", yes_no(accepting), accepting ? "" : ": ",
             doc_str(doc, "reason"));
    if (doc_at(doc, "queue"))
        card_row(c, &b, "open tickets", INK_NONE, "%s, %s of them quarantined", doc_str(doc, "queue.pending"),
                 doc_str(doc, "queue.quarantined"));
    card_row(c, &b, "store", database ? INK_GOOD : INK_BAD, "%s", database ? "connected" : "does not answer");
    if (!doc_bool(doc, "cache.enabled")) card_row(c, &b, "cache", INK_NONE, "none");
    else card_row(c, &b, "cache", doc_bool(doc, "cache.connected") ? INK_GOOD : INK_WARN, "%s, %s keys",
                  doc_bool(doc, "cache.connected") ? "connected" : "not connected", doc_str(doc, "cache.keyCount"));
    status_chains(c, &b, doc);
    status_wallets(c, &b, doc);
    out_buf(c, &b);
    buf_free(&up);
}

static int judge_status(struct json_object *doc) { return doc_at(doc, "accepting") && !doc_bool(doc, "accepting") ? RC_FAILED : RC_OK; }
int cmd_status(struct cli *c) { return show(c, "/v1/status", status, judge_status); }

/* ---- caches */

static void cache_rows(struct cli *c, struct buf *b, struct json_object *s)
{
    struct buf size = { 0 };
    bool up = doc_bool(s, "connected");
    text_bytes(&size, doc_num(s, "memoryBytes"));
    card_row(c, b, "connected", up ? INK_GOOD : INK_BAD, "%s", yes_no(up));
    card_row(c, b, "hits", INK_NONE, "%s of %lld, %s %%", doc_str(s, "hits"), (long long)(doc_int(s, "hits") + doc_int(s, "misses")),
             doc_str(s, "hitRate"));
    card_row(c, b, "keys", INK_NONE, "%s, %s", doc_str(s, "keyCount"), buf_text(&size));
    buf_free(&size);
}

static void cache_stats(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 };
    size_t n = doc_len(doc, "caches");
    if (!doc_bool(doc, "enabled")) card_row(c, &b, "cache", INK_NONE, "none is configured");
    else if (n < 2) cache_rows(c, &b, doc);
    for (size_t i = 0; n > 1 && i < n; i++) {
        card_row(c, &b, "cache", INK_BOLD, "%s", doc_str(doc_idx(doc, "caches", i), "name"));
        cache_rows(c, &b, doc_idx(doc, "caches", i));
    }
    out_buf(c, &b);
}

int cmd_cache_stats(struct cli *c) { return show(c, "/v1/cache", cache_stats, NULL); }

static int take_out(struct cli *c, const char *path, const char *what)
{
    struct reply r;
    int rc = http_send(c, "DELETE", path, NULL, &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc && *doc_str(r.doc, "removed")) printf("%s entries of %s forgotten\n", doc_str(r.doc, "removed"), what);
    else if (!rc) printf("%s forgotten\n", what);
    reply_free(&r);
    return rc;
}

int cmd_cache_rm(struct cli *c)
{
    struct buf path = { 0 };
    int rc = confirm(c, "forget what is cached of ticket %s?", c->arg[0]);
    buf_puts(&path, "/v1/cache/");
    url_seg(&path, c->arg[0]);
    if (!rc) rc = take_out(c, buf_text(&path), "the ticket");
    buf_free(&path);
    return rc;
}

int cmd_cache_clear(struct cli *c)
{
    int rc = confirm(c, "forget everything that is cached?");
    return rc ? rc : take_out(c, "/v1/cache", "the cache");
}
