/* See csv.h. Plain bytes of a field are taken a run at a time. */
#include "api/csv.h"

enum { AT_RECORD, AT_FIELD, IN_PLAIN, IN_QUOTES, AFTER_QUOTE, AFTER_CR };

static void fail(struct csv *c, const char *code, const char *why)
{
    c->code = code;
    c->why = why;
}

static void end_field(struct csv *c, bool quoted)
{
    if (c->n == CSV_COLUMNS) { fail(c, "csv.syntax", "a row has more than 256 columns"); return; }
    c->quoted[c->n] = quoted;
    c->ends[c->n++] = c->text.n;
}

static void end_record(struct csv *c)
{
    c->state = AT_RECORD;
    c->line++;
    c->whole = c->n > 0;
}

/* The byte behind a field. */
static void separator(struct csv *c, char b)
{
    if (b == ',') { c->state = AT_FIELD; return; }
    if (b == '\r') c->state = AFTER_CR;
    else end_record(c);
}

static bool is_separator(char b) { return b == ',' || b == '\n' || b == '\r'; }

static size_t plain(struct csv *c, const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && !is_separator(p[i]) && p[i] != '"') i++;
    buf_add(&c->text, p, i);
    if (i == n) return i;
    if (p[i] == '"') { fail(c, "csv.syntax", "a quote stands inside a field without quotes: quote the field and double it"); return i; }
    end_field(c, false);
    separator(c, p[i]);
    return i + 1;
}

static size_t quoted(struct csv *c, const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] != '"') c->line += p[i++] == '\n';
    buf_add(&c->text, p, i);
    if (i == n) return i;
    c->state = AFTER_QUOTE;
    return i + 1;
}

static void after_quote(struct csv *c, char b)
{
    if (b == '"') {
        buf_add(&c->text, "\"", 1);
        c->state = IN_QUOTES;
    } else if (is_separator(b)) {
        end_field(c, true);
        separator(c, b);
    } else fail(c, "csv.syntax", "after the closing quote of a field a comma or the end of the line must follow");
}

static void begin_field(struct csv *c, char b)
{
    if (b == '"') { c->state = IN_QUOTES; return; }
    c->state = IN_PLAIN;
    if (!is_separator(b)) { buf_add(&c->text, &b, 1); return; }
    end_field(c, false);
    separator(c, b);
}

static void begin_record(struct csv *c, char b)
{
    c->text.n = 0;
    c->n = 0;
    c->whole = false;
    c->began = c->line + 1;
    if (b == '\n') end_record(c);                          /* an empty line */
    else if (b == '\r') c->state = AFTER_CR;
    else begin_field(c, b);
}

size_t csv_feed(struct csv *c, const char *p, size_t n)
{
    size_t i = 0;
    if (n) c->whole = false;
    while (i < n && !c->whole && !c->code && !c->text.bad) {
        switch (c->state) {
        case AT_RECORD:   begin_record(c, p[i++]); break;
        case AT_FIELD:    begin_field(c, p[i++]); break;
        case IN_PLAIN:    i += plain(c, p + i, n - i); break;
        case IN_QUOTES:   i += quoted(c, p + i, n - i); break;
        case AFTER_QUOTE: after_quote(c, p[i++]); break;
        default:
            if (p[i++] == '\n') end_record(c);
            else fail(c, "csv.syntax", "a carriage return stands without its line feed");
        }
    }
    return i;
}

bool csv_end(struct csv *c)
{
    c->whole = false;
    if (c->state == IN_QUOTES) fail(c, "csv.syntax", "the text ends inside a quoted field");
    else if (c->state == AFTER_CR) end_record(c);
    else if (c->state != AT_RECORD) {
        end_field(c, c->state == AFTER_QUOTE);
        end_record(c);
    }
    return c->whole && !c->code;
}

struct mintd_str csv_field(const struct csv *c, uint32_t i)
{
    size_t from = i ? c->ends[i - 1] : 0;
    return (struct mintd_str){ c->text.p + from, c->ends[i] - from };
}

void csv_free(struct csv *c) { buf_free(&c->text); }
