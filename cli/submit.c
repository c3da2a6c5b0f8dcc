/* submit: know the file, price it, ask, send it under a key made of its bytes, watch it. */
#include "batch.h"
#include "commands.h"
#include "estimate.h"
#include "progress.h"
#include "source.h"

struct submit {
    struct cli *cli;
    struct source file;
    const char *venue, *pipeline, *collection; /* of the options, else of the document; NULL */
    struct buf path, key;
    struct progress line;
};

static const char *either(const char *option, const char *found) { return option ? option : *found ? found : NULL; }

/* ---- before anything is sent */

static void tell_file(struct submit *s)
{
    struct buf size = { 0 };
    text_bytes(&size, (double)s->file.size);
    say(s->cli, "%s: %s%s, %llu ticket%s, %s%s", s->file.name, s->file.gzip ? "gzipped " : "", source_format_name(s->file.format),
        (unsigned long long)s->file.tickets, s->file.tickets == 1 ? "" : "s", buf_text(&size),
        s->cli->opt[OPT_FORMAT] ? "" : " (format guessed; --format forces one)");
    buf_free(&size);
}

/* A JSON batch names these itself; two names for one thing are no good. */
static int check_named(struct submit *s, enum opt o, const char *in_file)
{
    const char *option = s->cli->opt[o];
    if (!option || s->file.format != SOURCE_JSON || !strcmp(option, in_file)) return RC_OK;
    if (*in_file) complain(s->cli, "--%s says %s, the file says %s: leave the option out or correct the file", cli_options[o].name,
                           option, in_file);
    else complain(s->cli, "a JSON batch names its %s in the file: put it there, beside \"tickets\"", cli_options[o].name);
    return RC_USAGE;
}

static int check_names(struct submit *s)
{
    int rc = check_named(s, OPT_VENUE, s->file.venue);
    if (!rc) rc = check_named(s, OPT_PIPELINE, s->file.pipeline);
    if (!rc) rc = check_named(s, OPT_COLLECTION, s->file.collection);
    static const char *const what[] = { [SOURCE_ARRAY] = "a JSON array", [SOURCE_NDJSON] = "NDJSON", [SOURCE_CSV] = "CSV" };
    if (rc || s->venue || s->file.format == SOURCE_JSON) return rc;
    complain(s->cli, "%s has no venue in it: say --venue VENUE", what[s->file.format]);
    return RC_USAGE;
}

/* The same bytes for the same collection have the same key, and the daemon makes one batch of them. */
static void make_key(struct submit *s)
{
    unsigned char digest[32] = { 0 };
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    const char *const parts[] = { s->cli->opt[OPT_PIPELINE], s->cli->opt[OPT_COLLECTION] };
    bool plain = !parts[0] && !parts[1];
    if (s->cli->opt[OPT_KEY]) {
        buf_puts(&s->key, s->cli->opt[OPT_KEY]);
    } else if (plain) {
        buf_puts(&s->key, "sha256-");
        buf_hex(&s->key, s->file.digest, sizeof s->file.digest);
    } else if (md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1) {
        EVP_DigestUpdate(md, s->file.digest, sizeof s->file.digest);
        for (size_t i = 0; i < ARRAY_LEN(parts); i++) EVP_DigestUpdate(md, parts[i] ? parts[i] : "", parts[i] ? strlen(parts[i]) + 1 : 1);
        EVP_DigestFinal_ex(md, digest, NULL);
        buf_puts(&s->key, "sha256-");
        buf_hex(&s->key, digest, sizeof digest);
    } else s->key.bad = true;
    EVP_MD_CTX_free(md);
    buf_text(&s->key);
}

static void make_path(struct submit *s)
{
    bool named = s->file.format == SOURCE_JSON;
    buf_puts(&s->path, "/v1/batches");
    url_query(&s->path, "venue", named ? NULL : s->venue);
    url_query(&s->path, "pipeline", named ? NULL : s->pipeline);
    url_query(&s->path, "collection", named ? NULL : s->collection);
    if (cli_has(s->cli, OPT_DRY_RUN)) url_query(&s->path, "dry_run", "1");
    buf_text(&s->path);
}

static int price_and_ask(struct submit *s)
{
    struct cli *c = s->cli;
    struct buf price = { 0 };
    int rc = estimate_line(c, &(struct estimate_of){ s->file.tickets, s->venue, s->pipeline, s->collection }, &price);
    if (rc) say(c, "what it costs is not known: %s", buf_text(&price));
    else say(c, "%s", buf_text(&price));
    buf_free(&price);
    if (rc == RC_DETACHED || rc == RC_UNREACHABLE || rc == RC_REFUSED) return rc;
    return confirm(c, "mint %llu ticket%s%s%s?", (unsigned long long)s->file.tickets, s->file.tickets == 1 ? "" : "s",
                   s->venue ? " for " : "", s->venue ? s->venue : "");
}

/* ---- sending */

static void on_sent(void *arg, uint64_t n, uint64_t of)
{
    struct submit *s = arg;
    progress_show(&s->line, n, of, 0);
}

static int send_file(struct submit *s, struct reply *ret)
{
    struct cli *c = s->cli;
    bool dry = cli_has(c, OPT_DRY_RUN);
    progress_begin(&s->line, c, "sending", true);
    int rc = http_ask(c, &(struct ask){ .method = "POST", .path = s->path.p, .file = &s->file, .type = source_media(&s->file),
                                        .coding = s->file.gzip ? "gzip" : NULL, .key = dry ? NULL : s->key.p, .prefer = "respond-async",
                                        .sent = on_sent, .sent_arg = s, .silence_ms = 120000 }, ret);
    progress_end(&s->line);
    if (!dry && (rc == RC_DETACHED || rc == RC_UNREACHABLE || rc == RC_TIMEOUT))
        detail(c, "it is not known whether the batch was accepted: the same command again is safe, its key is %s", s->key.p);
    return rc;
}

/* Tickets of earlier batches are not minted again; where they are is what is told. */
static void tell_known(struct submit *s, struct json_object *doc)
{
    struct buf batches = { 0 };
    for (size_t i = 0; i < doc_len(doc, "batches"); i++)
        buf_printf(&batches, "%s%s", i ? ", " : "", doc_str(doc_idx(doc, "batches", i), ""));
    say(s->cli, "%s of its tickets were accepted before and are not minted again: batch %s", doc_str(doc, "known"), buf_text(&batches));
    buf_free(&batches);
}

static int accepted(struct submit *s, struct reply *r)
{
    struct cli *c = s->cli;
    char id[24];
    snprintf(id, sizeof id, "%s", doc_str(r->doc, "batchId"));
    if (doc_int(r->doc, "known")) tell_known(s, r->doc);
    if (!id[0] && doc_int(r->doc, "known")) {
        if (c->format == FORMAT_JSON) out_json(c, r->doc);
        return RC_OK;
    }
    if (!id[0]) {
        complain(c, "the daemon took the file but named no batch");
        return RC_FAILED;
    }
    say(c, r->replayed ? "batch %s has this file already" : "accepted as batch %s", id);
    if (!cli_has(c, OPT_NO_WAIT)) return batch_watch(c, id, true);
    if (c->format == FORMAT_JSON) out_json(c, r->doc);
    else printf("%s\n", id);
    return RC_OK;
}

/* What the daemon would do, and what that would cost. */
static int dry_run(struct submit *s, struct json_object *doc)
{
    struct cli *c = s->cli;
    static const char *const rows[][2] = { { "venue", "venueId" }, { "pipeline", "pipeline" }, { "tickets", "total" }, { "new", "new" },
        { "known", "known" }, { "transactions", "transactions" }, { "collections", "collectionCount" },
        { "of them new", "newCollections" } };
    struct buf b = { 0 }, price = { 0 };
    if (c->format == FORMAT_JSON) {
        out_json(c, doc);
        return RC_OK;
    }
    uint64_t fresh = (uint64_t)doc_int(doc, "new");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) card_member(c, &b, rows[i][0], doc, rows[i][1]);
    if (fresh) estimate_line(c, &(struct estimate_of){ fresh, s->venue, s->pipeline, s->collection }, &price);
    card_row(c, &b, "cost", INK_BOLD, "%s", fresh ? buf_text(&price) : "nothing: there is no new ticket");
    out_buf(c, &b);
    say(c, "dry run: everything is right, nothing was changed");
    buf_free(&price);
    return RC_OK;
}

static int send_and_watch(struct submit *s)
{
    struct reply r;
    int rc = send_file(s, &r);
    if (!rc && cli_has(s->cli, OPT_DRY_RUN)) rc = dry_run(s, r.doc);
    else if (!rc) rc = accepted(s, &r);
    reply_free(&r);
    return rc;
}

int cmd_submit(struct cli *c)
{
    struct submit s = { .cli = c };
    catch_interrupt();
    int rc = source_open(c, c->arg[0], c->opt[OPT_FORMAT], &s.file);
    if (!rc) {
        s.venue = either(c->opt[OPT_VENUE], s.file.venue);
        s.pipeline = either(c->opt[OPT_PIPELINE], s.file.pipeline);
        s.collection = either(c->opt[OPT_COLLECTION], s.file.collection);
        tell_file(&s);
        rc = check_names(&s);
    }
    if (!rc && !cli_has(c, OPT_DRY_RUN)) rc = price_and_ask(&s);
    make_key(&s);
    make_path(&s);
    if (!rc && (s.key.bad || s.path.bad)) rc = RC_FAILED;
    if (!rc) rc = send_and_watch(&s);
    source_close(&s.file);
    buf_free(&s.key);
    buf_free(&s.path);
    return rc;
}
