/* The progress line. The rate is that of the last seconds, so that the ETA follows what happens now. */
#include "progress.h"

enum { DRAW_MS = 100, LINE_MS = 10000, SAMPLE_MS = 200, WINDOW_MS = 10000, BAR_MIN = 8, BAR_MAX = 60, FIRST_MS = 300 };

void progress_begin(struct progress *p, struct cli *c, const char *label, bool bytes)
{
    int64_t now = clock_ms();
    *p = (struct progress){ .cli = c, .label = label, .bytes = bytes, .begun = now, .drawn = now };
}

static void sample(struct progress *p, int64_t now, uint64_t done)
{
    unsigned last = (p->next + PROGRESS_SAMPLES - 1) % PROGRESS_SAMPLES;
    if (p->n && now - p->sample[last].at < SAMPLE_MS) return;
    p->sample[p->next].at = now;
    p->sample[p->next].done = done;
    p->next = (p->next + 1) % PROGRESS_SAMPLES;
    p->n += p->n < PROGRESS_SAMPLES;
}

/* per second, over the window or what there is of it */
static double rate_of(const struct progress *p, int64_t now, uint64_t done)
{
    int64_t at = p->begun;
    uint64_t from = 0;
    for (unsigned i = 0; i < p->n; i++) {
        unsigned k = (p->next + PROGRESS_SAMPLES - p->n + i) % PROGRESS_SAMPLES;
        at = p->sample[k].at;
        from = p->sample[k].done;
        if (now - at <= WINDOW_MS) break;
    }
    return now - at < SAMPLE_MS || done < from ? 0 : (double)(done - from) * 1000 / (double)(now - at);
}

static void put_counts(const struct progress *p, struct buf *b, uint64_t done, uint64_t total, uint64_t failed)
{
    if (total) buf_printf(b, "%3.0f%%  ", 100.0 * (double)done / (double)total);
    if (p->bytes) {
        text_bytes(b, (double)done);
        buf_puts(b, " of ");
        text_bytes(b, (double)total);
    } else buf_printf(b, "%llu/%llu", (unsigned long long)done, (unsigned long long)total);
    if (failed) buf_printf(b, "  %llu failed", (unsigned long long)failed);
}

static void put_pace(const struct progress *p, struct buf *b, double rate, uint64_t left)
{
    if (!(rate > 0)) return;
    buf_puts(b, "  ");
    if (p->bytes) text_bytes(b, rate);
    else buf_printf(b, rate < 9.95 ? "%.1f" : "%.0f", rate);
    buf_puts(b, "/s");
    if (!left) return;
    buf_puts(b, "  ETA ");
    text_span(b, (double)left / rate);
}

static void put_bar(const struct progress *p, struct buf *b, unsigned width, double part)
{
    const struct cli *c = p->cli;
    unsigned full = (unsigned)(part * width + 0.5);
    buf_puts(b, ink(c->color_err, INK_GOOD));
    for (unsigned i = 0; i < full; i++) buf_puts(b, c->utf8 ? "\xe2\x94\x81" : "#");
    buf_puts(b, ink(c->color_err, INK_NONE));
    buf_puts(b, ink(c->color_err, INK_DIM));
    for (unsigned i = full; i < width; i++) buf_puts(b, c->utf8 ? c->color_err ? "\xe2\x94\x81" : "\xe2\x94\x80" : "-");
    buf_puts(b, ink(c->color_err, INK_NONE));
    buf_puts(b, " ");
}

static void draw(struct progress *p, const struct buf *counts, const struct buf *pace, double part)
{
    struct cli *c = p->cli;
    struct buf line = { 0 }, tail = { 0 };
    unsigned label = (unsigned)strlen(p->label) + 2;
    buf_add(&tail, counts->p, counts->n);
    if (text_width(counts->p, counts->n) + text_width(pace->p, pace->n) < c->width_err) buf_add(&tail, pace->p, pace->n);
    unsigned need = text_width(tail.p, tail.n) + 1;
    if (need + label < c->width_err) buf_printf(&line, "%s  ", p->label);
    else label = 0;
    unsigned room = c->width_err > need + label + 1 ? c->width_err - need - label - 1 : 0;
    if (room >= BAR_MIN) put_bar(p, &line, room > BAR_MAX ? BAR_MAX : room, part);
    buf_add(&line, tail.p, text_fit(tail.p, tail.n, c->width_err - 1));
    if (!line.bad && !tail.bad) fprintf(stderr, "\r\033[K%.*s", (int)line.n, line.p);
    fflush(stderr);
    c->line_open = true;
    buf_free(&line);
    buf_free(&tail);
}

void progress_show(struct progress *p, uint64_t done, uint64_t total, uint64_t failed)
{
    struct cli *c = p->cli;
    struct buf counts = { 0 }, pace = { 0 };
    int64_t now = clock_ms();
    sample(p, now, done);
    if (cli_has(c, OPT_QUIET) || now - p->drawn < (c->tty_err ? DRAW_MS : LINE_MS) || now - p->begun < FIRST_MS) return;
    p->drawn = now;
    put_counts(p, &counts, done, total, failed);
    put_pace(p, &pace, rate_of(p, now, done), total > done ? total - done : 0);
    if (c->tty_err) draw(p, &counts, &pace, total ? (double)done / (double)total : 0);
    else say(c, "%s: " STR_FMT STR_FMT, p->label, STR_ARG(buf_view(&counts)), STR_ARG(buf_view(&pace)));
    buf_free(&counts);
    buf_free(&pace);
}

void progress_end(struct progress *p)
{
    if (p->cli->line_open) fputs("\r\033[K", stderr);
    p->cli->line_open = false;
    fflush(stderr);
}
