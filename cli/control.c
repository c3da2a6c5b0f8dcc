/* What an administrator does to the daemon: plugins, configuration, keys, store, log, doctor. */
#include <stdlib.h>
#include <sys/resource.h>
#include "commands.h"
#include "http.h"
#include "list.h"

enum { LONG_MS = 3600000 };

static int show(struct cli *c, const char *path, void (*fn)(struct cli *, struct json_object *))
{
    struct reply r;
    int rc = http_get(c, path, &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) fn(c, r.doc);
    reply_free(&r);
    return rc;
}

/* All of a list that has no pages: rows as JSON lines or as a table. */
static int show_rows(struct cli *c, const char *path, const char *noun, const struct column *cols, size_t n)
{
    struct reply r;
    int rc = http_get(c, path, &r);
    struct json_object *rows = rc ? NULL : doc_at(r.doc, noun);
    for (size_t i = 0; c->format == FORMAT_JSON && i < doc_len(rows, ""); i++) out_json(c, doc_idx(rows, "", i));
    if (!rc && c->format == FORMAT_TABLE) grid_print(c, cols, n, rows, true);
    reply_free(&r);
    return rc;
}

/* ---- plugins */

int cmd_plugin_list(struct cli *c)
{
    static const struct column cols[] = {
        { "NAME", "name", 0, 0 }, { "PLUGIN", "plugin", 0, 1 }, { "VERSION", "version", 0, 3 }, { "KIND", "kind", 0, 2 },
        { "STATE", "state", COL_STATE, 0 }, { "IN FLIGHT", "inFlight", COL_RIGHT, 4 }, { "WHY", "why", COL_FLEX, 5 } };
    return show_rows(c, "/v1/plugins", "plugins", cols, ARRAY_LEN(cols));
}

static void put_named(struct cli *c, struct buf *b, struct json_object *rows, const char *title, const char *name, const char *help)
{
    if (!doc_len(rows, "")) return;
    buf_printf(b, "\n%s%s%s\n", ink(c->color_out, INK_BOLD), title, ink(c->color_out, INK_NONE));
    pairs_put(c, b, rows, name, help);
}

static void plugin_info(struct cli *c, struct json_object *doc)
{
    static const char *const rows[][2] = { { "name", "instance.name" }, { "plugin", "name" }, { "version", "version" }, { "kind", "kind" },
        { "about", "summary" }, { "state", "instance.state" }, { "why", "instance.why" }, { "in flight", "instance.inFlight" },
        { "file", "file" }, { "abi", "abi" },
        { "threads", "model" } };
    struct buf b = { 0 }, facts = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) card_member(c, &b, rows[i][0], doc, rows[i][1]);
    doc_flat(&facts, doc_at(doc, "instance.facts"), NULL);
    if (facts.n) card_row(c, &b, "facts", INK_NONE, "%s", buf_text(&facts));
    put_named(c, &b, doc_at(doc, "options"), "Options", "name", "help");
    put_named(c, &b, doc_at(doc, "slugs"), "Reasons it may give", "slug", "help");
    out_buf(c, &b);
    buf_free(&facts);
}

int cmd_plugin_info(struct cli *c)
{
    struct buf path = { 0 };
    buf_puts(&path, "/v1/plugins/");
    url_seg(&path, c->arg[0]);
    int rc = show(c, buf_text(&path), plugin_info);
    buf_free(&path);
    return rc;
}

/* ---- configuration */

static void mistakes(struct cli *c, struct json_object *rows, const char *title)
{
    struct buf b = { 0 };
    for (size_t i = 0; i < doc_len(rows, ""); i++) {
        struct json_object *m = doc_idx(rows, "", i);
        struct buf line = { 0 };
        if (*doc_str(m, "file")) buf_printf(&line, "%s:", doc_str(m, "file"));
        if (*doc_str(m, "line")) buf_printf(&line, "%s:", doc_str(m, "line"));
        buf_printf(&line, "%s%s", line.n ? " " : "", doc_str(m, "message"));
        card_row(c, &b, i ? "" : title, INK_NONE, "%s", buf_text(&line));
        buf_free(&line);
    }
    out_buf(c, &b);
}

int cmd_config_check(struct cli *c)
{
    struct reply r;
    int rc = http_send(c, "POST", "/v1/config/check", NULL, &r);
    bool valid = !rc && doc_bool(r.doc, "valid");
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) {
        struct buf b = { 0 };
        card_member(c, &b, "file", r.doc, "file");
        card_row(c, &b, "valid", valid ? INK_GOOD : INK_BAD, "%s", valid ? "yes" : "no");
        out_buf(c, &b);
        mistakes(c, doc_at(r.doc, "errors"), "mistakes");
        mistakes(c, doc_at(r.doc, "needsRestart"), "needs restart");
    }
    reply_free(&r);
    return rc ? rc : valid ? RC_OK : RC_FAILED;
}

static void config_show(struct cli *c, struct json_object *doc)
{
    static const struct column cols[] = { { "OPTION", "name", 0, 0 }, { "VALUE", "value", COL_FLEX, 0 },
                                          { "FROM", "origin", COL_FLEX, 1 } };
    say(c, "file %s", doc_str(doc, "file"));
    grid_print(c, cols, ARRAY_LEN(cols), doc_at(doc, "options"), true);
}

int cmd_config_show(struct cli *c) { return show(c, "/v1/config", config_show); }

int cmd_config_reload(struct cli *c)
{
    struct reply r;
    int rc = http_send(c, "POST", "/v1/config/reload", NULL, &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) printf("taken over: %s, %s instances, %s pipelines\n", doc_str(r.doc, "file"), doc_str(r.doc, "instances"),
                         doc_str(r.doc, "pipelines"));
    reply_free(&r);
    return rc;
}

/* ---- log */

int cmd_log(struct cli *c)
{
    struct reply r;
    struct buf body = { 0 };
    buf_puts(&body, "{\"level\":");
    buf_json(&body, str_of(c->arg[0]));
    buf_puts(&body, "}");
    int rc = c->n_args ? http_send(c, "PUT", "/v1/log", buf_text(&body), &r) : http_get(c, "/v1/log", &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) {
        struct buf b = { 0 };
        card_member(c, &b, "level", r.doc, "level");
        card_member(c, &b, "configured", r.doc, "configured");
        card_member(c, &b, "format", r.doc, "format");
        out_buf(c, &b);
    }
    reply_free(&r);
    buf_free(&body);
    return rc;
}

/* ---- keys */

static int key_body(struct cli *c, struct buf *b)
{
    struct buf time = { 0 };
    int rc = c->opt[OPT_EXPIRES] ? list_time(c, OPT_EXPIRES, &time) : RC_OK;
    buf_puts(b, "{\"name\":");
    buf_json(b, str_of(c->arg[0]));
    buf_puts(b, ",\"scope\":");
    buf_json(b, str_of(c->opt[OPT_SCOPE] ? c->opt[OPT_SCOPE] : "read"));
    if (c->opt[OPT_VENUE]) {
        buf_puts(b, ",\"venue\":");
        buf_json(b, str_of(c->opt[OPT_VENUE]));
    }
    if (!rc && time.n) {
        buf_puts(b, ",\"expiresAt\":");
        buf_json(b, buf_view(&time));
    }
    buf_puts(b, "}");
    buf_free(&time);
    return rc;
}

int cmd_key_new(struct cli *c)
{
    struct buf body = { 0 };
    struct reply r = { 0 };
    int rc = key_body(c, &body);
    if (!rc) rc = http_send(c, "POST", "/v1/keys", buf_text(&body), &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) {
        struct buf b = { 0 };
        say(c, "key %s, scope %s%s%s; it is shown this once:", doc_str(r.doc, "name"), doc_str(r.doc, "scope"),
            *doc_str(r.doc, "expiresAt") ? ", until " : "", doc_str(r.doc, "expiresAt"));
        text_clean(&b, doc_str(r.doc, "key"), strlen(doc_str(r.doc, "key")), false);
        buf_puts(&b, "\n");
        out_buf(c, &b);
    }
    if (r.body.p) explicit_bzero(r.body.p, r.body.n);
    reply_free(&r);
    buf_free(&body);
    return rc;
}

int cmd_key_list(struct cli *c)
{
    static const struct column cols[] = {
        { "NAME", "name", COL_FLEX, 0 }, { "SCOPE", "scope", 0, 0 }, { "VENUE", "venue", COL_FLEX, 4 },
        { "EXPIRES", "expiresAt", COL_TIME, 1 },
        { "REVOKED", "revokedAt", COL_TIME, 2 }, { "LAST USED", "lastUsedAt", COL_TIME, 3 }, { "CREATED", "createdAt", COL_TIME, 5 } };
    return list_run(c, &(struct list){ "/v1/keys", "keys", cols, ARRAY_LEN(cols), 1000, "no keys but the one of the configuration" });
}

int cmd_key_revoke(struct cli *c)
{
    struct buf path = { 0 };
    struct reply r = { 0 };
    int rc = confirm(c, "revoke the key %s? Who uses it is locked out at once", c->arg[0]);
    buf_puts(&path, "/v1/keys/");
    url_seg(&path, c->arg[0]);
    if (!rc) rc = http_send(c, "DELETE", buf_text(&path), NULL, &r);
    if (!rc && c->format == FORMAT_JSON && r.doc) out_json(c, r.doc);
    else if (!rc) say(c, "key %s is revoked", c->arg[0]);
    reply_free(&r);
    buf_free(&path);
    return rc;
}

/* ---- store */

static void card_bytes(struct cli *c, struct buf *b, const char *label, struct json_object *doc, const char *path)
{
    struct buf text = { 0 };
    if (!doc_at(doc, path)) return;
    text_bytes(&text, doc_num(doc, path));
    card_row(c, b, label, INK_NONE, "%s", buf_text(&text));
    buf_free(&text);
}

static void db_status(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 }, facts = { 0 };
    card_row(c, &b, "store", ink_of_state(doc_str(doc, "store.state")), "%s (%s %s), %s", doc_str(doc, "store.name"),
             doc_str(doc, "store.plugin"),
             doc_str(doc, "store.version"), doc_str(doc, "store.state"));
    card_member(c, &b, "why", doc, "store.why");
    card_row(c, &b, "schema", INK_NONE, "%s, this version wants %s", doc_str(doc, "schema.now"), doc_str(doc, "schema.wanted"));
    card_member(c, &b, "identity", doc, "identity");
    card_bytes(c, &b, "size", doc, "bytes");
    card_bytes(c, &b, "log", doc, "logBytes");
    card_row(c, &b, "backup to", INK_NONE, "%s%s", *doc_str(doc, "backup") ? doc_str(doc, "backup")
             : "nowhere: set the store's option backup",
             doc_bool(doc, "copying") ? " (being written now)" : "");
    doc_flat(&facts, doc_at(doc, "store.facts"), NULL);
    if (facts.n) card_row(c, &b, "facts", INK_NONE, "%s", buf_text(&facts));
    out_buf(c, &b);
    buf_free(&facts);
}

int cmd_db_status(struct cli *c) { return show(c, "/v1/database", db_status); }

int cmd_db_backup(struct cli *c)
{
    struct reply r;
    int rc = http_ask(c, &(struct ask){ .method = "POST", .path = "/v1/database/backup", .silence_ms = LONG_MS }, &r);
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) {
        struct buf b = { 0 };
        card_member(c, &b, "file", r.doc, "file");
        card_bytes(c, &b, "size", r.doc, "bytes");
        card_member(c, &b, "schema", r.doc, "schema");
        card_row(c, &b, "took", INK_NONE, "%s s", doc_str(r.doc, "durationSeconds"));
        out_buf(c, &b);
    }
    reply_free(&r);
    return rc;
}

/* ---- doctor */

static void put_check(struct cli *c, struct buf *b, const char *verdict, const char *name, const char *text, const char *advice)
{
    struct buf line = { 0 };
    bool good = !strcmp(verdict, "ok");
    buf_printf(b, "%s%-5s%s", ink(c->color_out, ink_of_state(verdict)), verdict, ink(c->color_out, INK_NONE));
    buf_printf(&line, "%s: %s", name, text);
    if (!good && *advice) buf_printf(&line, "\n%s %s", c->utf8 ? "\xe2\x86\x92" : "->", advice);
    struct buf clean = { 0 };
    text_clean(&clean, line.p ? line.p : "", line.n, true);
    text_wrap(b, clean.p ? clean.p : "", clean.n, c->width, 5);
    buf_free(&clean);
    buf_free(&line);
}

static void doctor(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 }, versions = { 0 };
    doc_flat(&versions, doc_at(doc, "versions"), NULL);
    for (size_t i = 0; i < doc_len(doc, "checks"); i++) {
        struct json_object *k = doc_idx(doc, "checks", i);
        put_check(c, &b, doc_str(k, "verdict"), doc_str(k, "name"), doc_str(k, "detail"), doc_str(k, "advice"));
    }
    const char *version = doc_str(doc, "versions.mintd");
    bool same = !*version || !strcmp(version, MINTD_VERSION);
    struct buf own = { 0 };
    buf_printf(&own, "version " MINTD_VERSION "%s%s, %s, through %s", same ? "" : " of a daemon ", same ? "" : version, link_library(),
               link_name(c));
    put_check(c, &b, same ? "ok" : "warn", "mintctl", buf_text(&own), "install both from the same version");
    buf_free(&own);
    out_buf(c, &b);
    say(c, "%s ok, %s warnings, %s failed; %s", doc_str(doc, "summary.ok"), doc_str(doc, "summary.warn"), doc_str(doc, "summary.fail"),
        buf_text(&versions));
    buf_free(&versions);
}

int cmd_doctor(struct cli *c)
{
    struct reply r;
    int rc = http_get(c, "/v1/doctor", &r);
    const char *verdict = rc ? "" : doc_str(r.doc, "verdict");
    if (!rc && c->format == FORMAT_JSON) out_json(c, r.doc);
    else if (!rc) doctor(c, r.doc);
    if (!strcmp(verdict, "fail")) rc = RC_FAILED;
    else if (!strcmp(verdict, "warn")) rc = RC_PARTIAL;
    reply_free(&r);
    return rc;
}
