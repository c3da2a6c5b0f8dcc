/* Following a batch: asks for its counters, with ETag, at a pace between five times a second and once; survives a daemon that
 * restarts. Ctrl-C and --timeout end the watching, never the batch. */
#include "batch.h"
#include "commands.h"
#include "progress.h"

enum { FIRST_MS = 100, MOST_MS = 1000, LOST_MS = 30000 };

struct watch {
    struct cli *cli;
    const char *id;
    struct buf path;
    char etag[160];
    struct json_object *doc;                   /* the latest description */
    struct progress line;
    bool known;
    int64_t every, lost;                       /* lost: since when nothing answers; 0: it does */
};

static bool is_settled(struct json_object *doc)
{
    int64_t total = doc_int(doc, "summary.total");
    return total && doc_int(doc, "summary.succeeded") + doc_int(doc, "summary.failed") >= total;
}

static void show(struct watch *w)
{
    int64_t good = doc_int(w->doc, "summary.succeeded"), bad = doc_int(w->doc, "summary.failed");
    progress_show(&w->line, (uint64_t)(good + bad), (uint64_t)doc_int(w->doc, "summary.total"), (uint64_t)bad);
}

static int how_to_go_on(struct watch *w, int rc)
{
    progress_end(&w->line);
    complain(w->cli, "%s; batch %s goes on: mintctl watch %s", rc == RC_TIMEOUT ? "the time of --timeout is over" : "no longer watching",
             w->id, w->id);
    return rc;
}

/* The daemon is away: a restart takes seconds, and the batch is safe. */
static int bear_loss(struct watch *w, int rc, struct buf *why)
{
    int64_t now = clock_ms();
    if (rc == RC_DETACHED || (w->cli->deadline && now >= w->cli->deadline)) return how_to_go_on(w, rc);
    if ((rc != RC_UNREACHABLE && rc != RC_TIMEOUT) || !w->known) {
        complain(w->cli, "%s", buf_text(why));
        return rc;
    }
    if (!w->lost) {
        w->lost = now;
        say(w->cli, "%s; asking again", buf_text(why));
    }
    if (now - w->lost > LOST_MS) {
        complain(w->cli, "%s", buf_text(why));
        return how_to_go_on(w, RC_UNREACHABLE);
    }
    return RC_OK;
}

static void take(struct watch *w, struct reply *r)
{
    if (w->lost) say(w->cli, "%s answers again", link_name(w->cli));
    w->lost = 0;
    w->known = true;
    if (r->status != 200 || !r->doc) return;
    json_object_put(w->doc);
    w->doc = r->doc;
    r->doc = NULL;
    snprintf(w->etag, sizeof w->etag, "%s", r->etag);
}

/* One look. 0: go on */
static int look(struct watch *w)
{
    struct reply r;
    struct buf why = { 0 };
    int rc = http_once(w->cli, &(struct ask){ .path = w->path.p, .etag = w->etag[0] ? w->etag : NULL }, &r, &why);
    bool later = !rc && (r.status == 429 || r.status == 503);
    if (rc) rc = bear_loss(w, rc, &why);
    else if (later) w->every = r.retry_after > 0 ? r.retry_after * 1000 : MOST_MS;
    else if (r.status == 200 || r.status == 304) take(w, &r);
    else rc = problem_tell(w->cli, &r);
    reply_free(&r);
    buf_free(&why);
    return rc;
}

static void rest(struct watch *w)
{
    int64_t ms = w->every;
    if (w->cli->deadline && clock_ms() + ms > w->cli->deadline) ms = w->cli->deadline - clock_ms();
    nap(ms);
    w->every = w->every * 5 / 4 > MOST_MS ? MOST_MS : w->every * 5 / 4;
}

static int follow(struct watch *w)
{
    for (;;) {
        int rc = look(w);
        if (rc) return rc;
        if (is_settled(w->doc)) return RC_OK;
        if (w->doc) show(w);
        rest(w);
        if (cli_interrupted) return how_to_go_on(w, RC_DETACHED);
        if (w->cli->deadline && clock_ms() >= w->cli->deadline) return how_to_go_on(w, RC_TIMEOUT);
    }
}

int batch_watch(struct cli *c, const char *id, bool known)
{
    struct watch w = { .cli = c, .id = id, .every = FIRST_MS, .known = known };
    char label[40];
    snprintf(label, sizeof label, "batch %s", id);
    catch_interrupt();
    buf_printf(&w.path, "/v1/batches/%s", id);
    buf_text(&w.path);
    progress_begin(&w.line, c, label, false);
    int rc = w.path.bad ? RC_FAILED : follow(&w);
    progress_end(&w.line);
    if (!rc && c->format == FORMAT_JSON) out_json(c, w.doc);
    else if (!rc) batch_card(c, w.doc);
    if (!rc && doc_int(w.doc, "summary.failed")) say(c, "what failed: mintctl ticket list --batch %s --state failed", id);
    if (!rc) rc = batch_rc(w.doc);
    json_object_put(w.doc);
    buf_free(&w.path);
    return rc;
}

int cmd_watch(struct cli *c)
{
    int rc = batch_check(c, c->arg[0]);
    return rc ? rc : batch_watch(c, c->arg[0], false);
}
