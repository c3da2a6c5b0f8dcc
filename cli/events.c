/* events list and tail: what happened, and the event stream (Server-Sent Events), taken up again behind the last event after a lost
 * connection. Owns one event at a time, bounded. */
#include <time.h>
#include "batch.h"
#include "commands.h"
#include "http.h"
#include "list.h"

enum { EVENT_MAX = 1 << 20, SILENCE_MS = 60000, RETRY_MS = 1000, RETRY_MAX_MS = 15000 };

struct tail {
    struct cli *cli;
    struct buf path, line, data;
    char id[128], next_id[128], kind[64];      /* next_id: of the event that is being read */
    int64_t retry;
    bool known;                                /* a connection was there once */
    bool broken, ended;                        /* ended: a batch's last event was there */
};

/* Counters have no time of their own: they are of now. */
static void put_when(struct buf *b, const char *at)
{
    char now[40];
    struct tm tm;
    int64_t ms = clock_wall_ms();
    time_t s = (time_t)(ms / 1000);
    if (*at) text_time(b, at, false, true);
    else if (localtime_r(&s, &tm) && strftime(now, sizeof now, "%H:%M:%S", &tm)) buf_printf(b, "%s.%03d", now, (int)(ms % 1000));
}

static void print_event(struct tail *t, struct json_object *doc)
{
    struct cli *c = t->cli;
    struct buf b = { 0 }, rest = { 0 }, flat = { 0 };
    const char *kind = t->kind[0] ? t->kind : doc_str(doc, "kind");
    buf_puts(&b, ink(c->color_out, INK_DIM));
    put_when(&b, doc_str(doc, "at"));
    buf_puts(&b, ink(c->color_out, INK_NONE));
    buf_printf(&b, "  %s", ink(c->color_out, INK_NAME));
    text_clean(&b, kind, strlen(kind), false);
    buf_printf(&b, "%s  ", ink(c->color_out, INK_NONE));
    if (*doc_str(doc, "batchId")) buf_printf(&flat, "batch %s  ", doc_str(doc, "batchId"));
    if (*doc_str(doc, "venueId")) buf_printf(&flat, "%s  ", doc_str(doc, "venueId"));
    if (*doc_str(doc, "subjectKind") && strcmp(doc_str(doc, "subjectKind"), "batch") != 0)
        buf_printf(&flat, "%s %s  ", doc_str(doc, "subjectKind"), doc_str(doc, "subject"));
    doc_flat(&flat, doc_at(doc, "body"), NULL);
    doc_flat(&flat, doc, " at kind slot number subjectKind subject body batchId venueId ");
    while (flat.n && flat.p[flat.n - 1] == ' ') flat.n--;
    text_clean(&rest, flat.p ? flat.p : "", flat.n, false);
    text_wrap(&b, rest.p ? rest.p : "", rest.n, c->width, 14);
    out_buf(c, &b);
    fflush(stdout);
    buf_free(&rest);
    buf_free(&flat);
}

static void event_ends(struct tail *t)
{
    struct json_object *doc = t->data.n ? doc_parse(t->data.p, t->data.n) : NULL;
    if (doc && t->cli->format == FORMAT_JSON) {
        out_json(t->cli, doc);
        fflush(stdout);
    } else if (doc) print_event(t, doc);
    if (t->next_id[0]) memcpy(t->id, t->next_id, sizeof t->id);            /* a torn event is asked for again */
    t->ended = t->ended || (t->cli->opt[OPT_BATCH] && !strcmp(t->kind, "finished"));
    json_object_put(doc);
    t->next_id[0] = 0;
    t->data.n = 0;
    t->kind[0] = 0;
}

static void keep(char *to, size_t size, struct mintd_str value)
{
    if (value.n >= size) value.n = 0;
    memcpy(to, value.n ? value.p : "", value.n);
    to[value.n] = 0;
}

/* One line of the stream: "name: value", a comment, or nothing, which ends an event. */
static void take_line(struct tail *t, struct mintd_str line)
{
    const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
    uint64_t ms = 0;
    if (!line.n) {
        event_ends(t);
        return;
    }
    struct mintd_str name = { line.p, colon ? (size_t)(colon - line.p) : line.n }, value = { NULL, 0 };
    if (colon) value = (struct mintd_str){ colon + 1, line.n - name.n - 1 };
    if (value.n && value.p[0] == ' ') value = (struct mintd_str){ value.p + 1, value.n - 1 };
    if (str_eq(name, S("id"))) keep(t->next_id, sizeof t->next_id, value);
    else if (str_eq(name, S("event"))) keep(t->kind, sizeof t->kind, value);
    else if (str_eq(name, S("retry")) && !str_u64(value, &ms)) t->retry = ms < RETRY_MAX_MS ? (int64_t)ms : RETRY_MAX_MS;
    else if (str_eq(name, S("data"))) buf_str(&t->data, value);
}

static size_t on_stream(void *arg, const char *p, size_t n)
{
    struct tail *t = arg;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\r') continue;
        if (p[i] != '\n') buf_add(&t->line, &p[i], 1);
        else {
            take_line(t, buf_view(&t->line));
            t->line.n = 0;
        }
    }
    t->broken = t->line.bad || t->data.bad || ferror(stdout);
    return t->broken || cli_interrupted ? 0 : n;
}

static int resume_hint(struct tail *t, int rc)
{
    const char *last = t->id[0] ? t->id : t->cli->opt[OPT_SINCE], *batch = t->cli->opt[OPT_BATCH];
    if (last) detail(t->cli, "go on with: mintctl events tail%s%s --since %s", batch ? " --batch " : "", batch ? batch : "", last);
    return rc;
}

/* Whether it may be taken up again: then why it ended is in why. */
static bool may_go_on(struct tail *t, int rc, const struct reply *r, struct buf *why)
{
    if (t->broken || t->ended) return false;
    if (!rc && (r->status == 429 || r->status == 503)) buf_printf(why, "%s answers %ld %s", link_name(t->cli), r->status, problem_code(r));
    else if (!rc && r->status < 300) buf_printf(why, "%s ended the stream", link_name(t->cli));
    else return (rc == RC_UNREACHABLE && (t->known || r->reached)) || (rc == RC_TIMEOUT && !t->cli->deadline);
    return true;
}

static int stream_failed(struct tail *t, int rc, const struct reply *r, struct buf *why)
{
    if (t->line.bad || t->data.bad) complain(t->cli, "an event is larger than %d MB", EVENT_MAX >> 20);
    if (t->broken) return RC_FAILED;
    if (!rc) return t->ended ? RC_OK : problem_tell(t->cli, r);
    if (rc != RC_DETACHED) complain(t->cli, "%s", buf_text(why));
    return rc;
}

/* One connection to its end. 0: take it up again, or a batch's stream came to its end */
static int stream_once(struct tail *t)
{
    struct buf why = { 0 };
    struct reply r;
    const char *last = t->id[0] ? t->id : t->cli->opt[OPT_SINCE];
    t->line.n = t->data.n = 0;
    t->kind[0] = t->next_id[0] = 0;
    int rc = http_once(t->cli, &(struct ask){ .path = t->path.p, .accept = "text/event-stream, application/problem+json",
                                              .last_event = last,
                                              .sink = on_stream, .arg = t, .silence_ms = SILENCE_MS }, &r, &why);
    bool again = may_go_on(t, rc, &r, &why);
    if (again) say(t->cli, "%s; taking it up again", buf_text(&why));
    rc = again ? RC_OK : stream_failed(t, rc, &r, &why);
    t->known = t->known || r.reached;
    if (r.retry_after > 0) t->retry = r.retry_after * 1000;
    reply_free(&r);
    buf_free(&why);
    return rc;
}

static int follow(struct tail *t)
{
    for (;;) {
        int rc = stream_once(t);
        if (cli_interrupted) return resume_hint(t, RC_DETACHED);
        if (rc == RC_TIMEOUT) return resume_hint(t, rc);
        if (rc || t->ended) return rc;
        nap(t->retry);
        if (cli_interrupted) return resume_hint(t, RC_DETACHED);
    }
}

int cmd_events_tail(struct cli *c)
{
    struct tail t = { .cli = c, .retry = RETRY_MS, .line.max = EVENT_MAX, .data.max = EVENT_MAX };
    int rc = c->opt[OPT_BATCH] ? batch_check(c, c->opt[OPT_BATCH]) : RC_OK;
    if (rc) return rc;
    if (c->opt[OPT_BATCH]) buf_printf(&t.path, "/v1/batches/%s/events", c->opt[OPT_BATCH]);
    else buf_puts(&t.path, "/v1/events");
    url_query(&t.path, "venue", c->opt[OPT_VENUE]);
    url_query(&t.path, "kind", c->opt[OPT_KIND]);
    buf_text(&t.path);
    catch_interrupt();
    rc = follow(&t);
    buf_free(&t.path);
    buf_free(&t.line);
    buf_free(&t.data);
    return rc;
}

int cmd_events_list(struct cli *c)
{
    static const struct column cols[] = {
        { "AT", "at", COL_TIME, 0 }, { "KIND", "kind", 0, 0 }, { "BATCH", "batchId", COL_RIGHT, 1 }, { "VENUE", "venueId", COL_FLEX, 3 },
        { "ABOUT", "subjectKind", 0, 4 }, { "WHAT", "body", COL_FLEX, 2 } };
    struct list l = { "/v1/events", "events", cols, ARRAY_LEN(cols), 1000, "no events" };
    struct buf path = { 0 };
    int rc = c->opt[OPT_BATCH] ? batch_check(c, c->opt[OPT_BATCH]) : RC_OK;
    if (rc) return rc;
    buf_printf(&path, "/v1/batches/%s/events", c->opt[OPT_BATCH] ? c->opt[OPT_BATCH] : "");
    if (c->opt[OPT_BATCH]) l.path = buf_text(&path);
    rc = list_run(c, &l);
    buf_free(&path);
    return rc;
}
