/* The machinery of lists: see list.h. Calls call.h and cursor.h. Loop thread. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/cursor.h"
#include "api/fields.h"
#include "base/json.h"
#include "api/list.h"
#include "base/amount.h"

/* A page of JSON reads on while rows are filtered out, but not for ever; a stream reads STREAM_PAGE rows at a time. */
enum { ROUNDS_MAX = 32, LOOK_MAX = 10000, STREAM_PAGE = 200 };

static void next_page(struct list_view *l);

struct list_view *list_of(const struct call *c) { return c->stream_state; }

/* ---- answering */

static void begin_row(struct list_view *l, struct rec *r)
{
    *r = (struct rec){ .b = &l->out, .format = l->c->format };
    if (l->c->format == FORMAT_JSON && l->shown) buf_puts(&l->out, ",");
}

static void end_row(struct list_view *l)
{
    if (l->c->format == FORMAT_NDJSON) buf_puts(&l->out, "\n");
    if (l->c->format == FORMAT_CSV) buf_puts(&l->out, "\r\n");
}

static void put_row(struct list_view *l, uint32_t i)
{
    struct rec r;
    begin_row(l, &r);
    if (rec_json(&r)) buf_puts(r.b, "{");
    l->kind->row(l, i, &r);
    if (rec_json(&r)) buf_puts(r.b, "}");
    end_row(l);
    l->shown++;
}

static void put_head(struct list_view *l)
{
    struct rec r = { .b = &l->out, .format = FORMAT_CSV, .head = true };
    l->kind->row(l, UINT32_MAX, &r);
    end_row(l);
}

static void answer_page(struct list_view *l, bool more)
{
    struct buf b = { 0 };
    buf_printf(&b, "{\"%s\":[", l->kind->noun);
    buf_str(&b, buf_view(&l->out));
    buf_puts(&b, "]");
    if (more) {
        buf_puts(&b, ",\"next\":");
        cursor_seal(l->c, str_of(l->kind->noun), buf_view(&l->place), &b);
    }
    buf_puts(&b, "}\n");
    b.bad = b.bad || l->out.bad;
    call_json(l->c, 200, &b, NULL);
}

static void page_end(struct list_view *l)
{
    call_forget(l->c, l->mark);
    l->page = arena_free(l->page);
    l->loading = false;
}

/* ---- streams */

static void on_more(struct call *c)
{
    struct list_view *l = list_of(c);
    if (!l->loading) next_page(l);
}

static void on_drain(struct call *c) { call_finish(c, false); }

static const struct call_stream stream_fns = { on_more, NULL, on_drain };

static void stream_begin(struct list_view *l)
{
    bool csv = l->c->format == FORMAT_CSV;
    if (l->begun) return;
    l->begun = true;
    if (csv) put_head(l);
    call_begin(l->c, &stream_fns, csv ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson", NULL, false);
}

/* ---- pages */

void list_took(struct list_view *l, uint32_t n, struct mintd_str next)
{
    bool stream = l->c->format != FORMAT_JSON;
    if (stream) stream_begin(l);
    for (uint32_t i = 0; i < n; i++)
        if (!l->kind->wanted || l->kind->wanted(l, i)) put_row(l, i);
    l->looked += n;
    l->place.n = 0;
    buf_str(&l->place, next);
    page_end(l);
    bool full = l->limited && l->shown >= l->want;
    if (!stream && (full || !next.n || ++l->rounds >= ROUNDS_MAX || l->looked >= LOOK_MAX)) answer_page(l, next.n);
    else if (!stream) next_page(l);
    else {
        bool pushed = call_push(l->c, &l->out);
        if (full || !next.n) call_finish(l->c, true);
        else if (!pushed) next_page(l);                    /* nothing was sent, so nothing asks for more */
    }
}

static void next_page(struct list_view *l)
{
    uint64_t left = l->limited ? l->want - l->shown : STREAM_PAGE;
    l->room = l->c->format != FORMAT_JSON && left > STREAM_PAGE ? STREAM_PAGE : (uint32_t)left;
    l->cursor = buf_view(&l->place);
    l->page = arena_new(0);
    l->loading = true;
    if (l->page && !l->place.bad) l->kind->load(l);
    else call_memory(l->c);
}

static void release(struct call *c)
{
    struct list_view *l = list_of(c);
    arena_free(l->page);
    buf_free(&l->place);
    buf_free(&l->out);
}

void list_start(struct call *c, const struct list_kind *kind, void *state)
{
    struct list_view *l = arena_alloc(c->mem, sizeof *l);
    bool limited = c->format == FORMAT_JSON || http_query(c->http, "limit");
    if (!l) return call_memory(c);
    *l = (struct list_view){ .c = c, .kind = kind, .state = state, .mark = call_mark(c), .limited = limited };
    c->stream_state = l;
    c->release = release;
    if (!limit_get(c, kind->dflt, kind->max, &l->want) && !cursor_open(c, str_of(kind->noun), &l->place)) next_page(l);
}

/* ---- rows */

bool rec_json(const struct rec *r) { return r->format != FORMAT_CSV; }

/* Before the value. true: write it. */
static bool member(struct rec *r, const char *name, bool there)
{
    if (rec_json(r) && !there) return false;
    if (r->begun) buf_puts(r->b, ",");
    r->begun = true;
    if (rec_json(r)) buf_printf(r->b, "\"%s\":", name);
    else if (r->head) buf_puts(r->b, name);
    return there && !r->head;
}

/* RFC 4180; what a spreadsheet would take for a formula gets an apostrophe in front. */
static void put_csv(struct buf *b, struct mintd_str s)
{
    bool formula = strchr("=+-@\t\r", s.p[0]), quote = formula;
    for (size_t i = 0; i < s.n; i++) quote = quote || strchr(",\"\r\n", s.p[i]);
    if (quote) buf_puts(b, "\"");
    if (formula) buf_puts(b, "'");
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"') buf_puts(b, "\"");
        buf_add(b, s.p + i, 1);
    }
    if (quote) buf_puts(b, "\"");
}

void rec_str(struct rec *r, const char *name, struct mintd_str s)
{
    if (!member(r, name, s.n)) return;
    if (rec_json(r)) buf_json(r->b, s);
    else put_csv(r->b, s);
}

void rec_json_text(struct rec *r, const char *name, struct mintd_str quoted)
{
    char *text = !rec_json(r) && quoted.n ? malloc(quoted.n) : NULL;
    bool there = member(r, name, quoted.n && (rec_json(r) || text));
    struct mintd_str plain = { text, text ? json_text(quoted, text) : 0 };
    if (there && rec_json(r)) buf_str(r->b, quoted);
    else if (there && plain.n) put_csv(r->b, plain);
    free(text);
}

void rec_u64(struct rec *r, const char *name, uint64_t v)
{
    if (member(r, name, true)) buf_printf(r->b, "%" PRIu64, v);
}

void rec_ratio(struct rec *r, const char *name, uint64_t n, uint64_t d, uint32_t digits)
{
    if (member(r, name, true)) ratio_put(r->b, n, d, digits);
}

void rec_id(struct rec *r, const char *name, uint64_t v)
{
    if (member(r, name, v)) buf_printf(r->b, rec_json(r) ? "\"%" PRIu64 "\"" : "%" PRIu64, v);
}

void rec_time(struct rec *r, const char *name, int64_t ms)
{
    char text[TIME_TEXT];
    bool there = time_text(ms, text);
    if (member(r, name, there)) buf_printf(r->b, rec_json(r) ? "\"%s\"" : "%s", text);
}

/* ---- filters */

void filter_refuse(struct call *c, const char *name, const char *fmt, ...)
{
    char why[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    call_problem(c, &(struct problem){ .status = 400, .code = "query.value", .pointer = name }, "%s", why);
}

bool filter_text(struct call *c, const char *name, size_t max, struct mintd_str *ret)
{
    const char *value = http_query(c->http, name);
    *ret = str_of(value);
    if (!value) return true;
    if (!call_decode(c, ret)) return false;
    if (ret->n && ret->n <= max) return true;
    filter_refuse(c, name, "must have 1 to %zu bytes", max);
    return false;
}

static void refuse_word(struct call *c, const char *name, struct mintd_str word, const struct filter_word *words, size_t n)
{
    struct buf known = { 0 };
    for (size_t i = 0; i < n; i++) buf_printf(&known, "%s%s", i ? ", " : "", words[i].name);
    buf_add(&known, "", 1);
    filter_refuse(c, name, "\"" STR_FMT "\" is not known here; known are %s", STR_ARG(word), known.p ? known.p : "");
    buf_free(&known);
}

bool filter_words(struct call *c, const char *name, const struct filter_word *words, size_t n, uint64_t *ret_mask)
{
    struct mintd_str text;
    *ret_mask = 0;
    if (!filter_text(c, name, 256, &text)) return false;
    for (size_t at = 0; at < text.n;) {
        const char *comma = memchr(text.p + at, ',', text.n - at);
        struct mintd_str word = { text.p + at, comma ? (size_t)(comma - text.p) - at : text.n - at };
        size_t i = 0;
        while (i < n && !str_eq(word, str_of(words[i].name))) i++;
        if (i == n) return refuse_word(c, name, word, words, n), false;
        *ret_mask |= words[i].bit;
        at += word.n + 1;
    }
    return true;
}

static bool one_time(struct call *c, const char *name, int64_t *ret)
{
    struct mintd_str text;
    if (!filter_text(c, name, 64, &text)) return false;
    if (!text.n || (!time_parse(text, ret) && *ret > 0)) return true;
    filter_refuse(c, name, "must be a time such as 2026-01-02T03:04:05Z (RFC 3339)");
    return false;
}

bool filter_times(struct call *c, int64_t *ret_from, int64_t *ret_to)
{
    if (!one_time(c, "from", ret_from) || !one_time(c, "to", ret_to)) return false;
    if (!*ret_to || *ret_from < *ret_to) return true;
    filter_refuse(c, "to", "must be later than from; what is accepted at `to` itself is not in the list");
    return false;
}

struct venue_filter { void (*fn)(struct call *, uint64_t); };

static void on_venue(struct call *c, const struct mintd_res *res)
{
    const struct venue_filter *v = c->load;
    if (res->rows.n) v->fn(c, ((const struct mintd_db_venue *)res->rows.p)->id);
    else call_problem(c, &(struct problem){ .status = 404, .code = "venue.unknown", .pointer = "venue" },
                      "no batch of this venue was ever accepted");
}

void filter_venue(struct call *c, void (*fn)(struct call *, uint64_t))
{
    struct mintd_str name;
    struct venue_filter *v = arena_alloc(c->mem, sizeof *v);
    if (!v) return call_memory(c);
    if (!filter_text(c, "venue", 128, &name)) return;
    v->fn = fn;
    c->load = v;
    if (name.n && !call_venue_named(c, name)) return;
    if (call_venue(c)) fn(c, call_venue(c));
    else if (name.n) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .names = VEC(&name, 1) }, 0, on_venue);
    else fn(c, 0);
}
