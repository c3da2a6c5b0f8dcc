/* See list.h. Holds one page at a time. */
#include "list.h"
#include <errno.h>
#include <time.h>

enum { LIMIT_DEFAULT = 50 };

struct pager {
    struct cli *cli;
    const struct list *list;
    struct buf query;                          /* the filters */
    uint64_t left, shown;                      /* left: UINT64_MAX for all */
    struct buf cursor;
};

/* ---- times */

static void put_rfc3339(struct buf *b, int64_t ms)
{
    char text[32];
    struct tm tm;
    time_t s = (time_t)(ms / 1000);
    if (gmtime_r(&s, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm)) buf_puts(b, text);
}

int list_time(struct cli *c, enum opt o, struct buf *ret)
{
    const char *text = c->opt[o];
    int64_t ms = 0;
    size_t n = strlen(text);
    bool ahead = o == OPT_EXPIRES;
    if (n && text[n - 1] >= 'a' && !args_duration(text, &ms)) put_rfc3339(ret, clock_wall_ms() + (ahead ? ms : -ms));
    else if (n == 10 && text[4] == '-' && text[7] == '-') buf_printf(ret, "%sT00:00:00Z", text);
    else if (strchr(text, 'T')) buf_puts(ret, text);       /* the daemon reads it strictly */
    else {
        complain(c, "--%s is a time like 2026-01-02T03:04:05Z, a date, or a span like 2h or 30d, not %s", cli_options[o].name, text);
        return RC_USAGE;
    }
    return RC_OK;
}

/* ---- the question */

static int put_filters(struct pager *p)
{
    static const struct { enum opt opt; const char *name; bool time; } filters[] = {
        { OPT_VENUE, "venue", false }, { OPT_EVENT, "event", false }, { OPT_STATE, "state", false }, { OPT_CHAIN, "chain", false },
        { OPT_COLLECTION, "collection", false }, { OPT_KIND, "kind", false },
        { OPT_FROM, "from", true }, { OPT_TO, "to", true } };
    struct cli *c = p->cli;
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        struct buf time = { 0 };
        if (!c->opt[filters[i].opt]) continue;
        int rc = filters[i].time ? list_time(c, filters[i].opt, &time) : RC_OK;
        if (!rc) url_query(&p->query, filters[i].name, filters[i].time ? buf_text(&time) : c->opt[filters[i].opt]);
        buf_free(&time);
        if (rc) return rc;
    }
    return RC_OK;
}

static int take_limit(struct pager *p)
{
    const char *text = p->cli->opt[OPT_LIMIT];
    p->left = LIMIT_DEFAULT;
    if (text && str_u64(str_of(text), &p->left)) {
        complain(p->cli, "--limit is a number of rows, 0 for all, not %s", text);
        return RC_USAGE;
    }
    if (!p->left) p->left = UINT64_MAX;
    return RC_OK;
}

static int fetch(struct pager *p, struct reply *ret)
{
    struct buf path = { 0 };
    char limit[24];
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)(p->left < p->list->page ? p->left : p->list->page));
    buf_puts(&path, p->list->path);
    buf_str(&path, buf_view(&p->query));
    url_query(&path, "limit", limit);
    if (p->cursor.n) url_query(&path, "cursor", p->cursor.p);
    int rc = http_get(p->cli, buf_text(&path), ret);
    buf_free(&path);
    return rc;
}

/* ---- the answer */

static void show(struct pager *p, struct json_object *rows)
{
    size_t n = doc_len(rows, "");
    if (p->cli->format == FORMAT_TABLE && n) grid_print(p->cli, p->list->cols, p->list->n, rows, !p->shown);
    for (size_t i = 0; p->cli->format == FORMAT_JSON && i < n; i++) out_json(p->cli, doc_idx(rows, "", i));
    p->shown += n;
    if (p->left != UINT64_MAX) p->left -= n < p->left ? n : p->left;
}

/* Takes the next cursor; false: that was the last page, or the daemon gives the same one again. */
static bool take_cursor(struct pager *p, struct json_object *doc)
{
    const char *next = doc_str(doc, "next");
    bool more = *next && (!p->cursor.n || strcmp(p->cursor.p, next) != 0);
    p->cursor.n = 0;
    if (more) buf_add(&p->cursor, next, strlen(next) + 1);
    return more && !p->cursor.bad;
}

/* ---- CSV: the daemon streams the whole list; lines are counted here */

struct csv { struct pager *pager; bool quoted, head, full; struct buf clean; };

/* How much of it belongs to the rows that are wanted. */
static size_t count_lines(struct csv *v, const char *p, size_t n)
{
    struct pager *g = v->pager;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '"') v->quoted = !v->quoted;
        if (p[i] != '\n' || v->quoted) continue;
        if (!v->head) v->head = true;
        else {
            g->shown++;
            if (g->left != UINT64_MAX) g->left--;
        }
        v->full = !g->left;
        if (v->full) return i + 1;
    }
    return n;
}

static size_t on_csv(void *arg, const char *p, size_t n)
{
    struct csv *v = arg;
    size_t take = v->full ? 0 : count_lines(v, p, n);
    bool tty = v->pager->cli->tty_out;
    if (tty) text_clean(&v->clean, p, take, true);         /* into a file the bytes go as they are */
    size_t length = tty ? v->clean.n : take;
    size_t written = length ? fwrite(tty ? v->clean.p : p, 1, length, stdout) : 0;
    v->clean.n = 0;
    return written == length && take == n ? n : 0;
}

static int run_csv(struct pager *p)
{
    struct csv v = { .pager = p };
    struct reply r;
    struct buf path = { 0 };
    buf_puts(&path, p->list->path);
    buf_str(&path, buf_view(&p->query));
    int rc = http_ask(p->cli, &(struct ask){ .path = buf_text(&path), .accept = "text/csv, application/problem+json", .sink = on_csv,
                                             .arg = &v }, &r);
    reply_free(&r);
    buf_free(&path);
    buf_free(&v.clean);
    if (!rc && v.full) say(p->cli, "%llu rows; there may be more: --limit 0 shows all", (unsigned long long)p->shown);
    return rc;
}

static int run(struct pager *p)
{
    bool more = true;
    while (more && p->left) {
        struct reply r;
        int rc = fetch(p, &r);
        if (!rc) show(p, doc_at(r.doc, p->list->noun));
        more = !rc && take_cursor(p, r.doc);
        reply_free(&r);
        if (rc) return rc;
    }
    if (!p->shown) say(p->cli, "%s", p->list->none);
    else if (more) say(p->cli, "there is more: --limit 0 shows all");
    return RC_OK;
}

int list_run(struct cli *c, const struct list *l)
{
    struct pager p = { .cli = c, .list = l };
    int rc = put_filters(&p);
    if (!rc) rc = take_limit(&p);
    if (!rc) rc = c->format == FORMAT_CSV ? run_csv(&p) : run(&p);
    buf_free(&p.query);
    buf_free(&p.cursor);
    return rc;
}
