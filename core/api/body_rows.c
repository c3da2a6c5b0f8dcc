/* Tickets as rows of text: one JSON object per line, or CSV. Remembers on which line a ticket stood as long as lines and places go in
 * step, and where they part. Calls csv.h; loop thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/body_int.h"

/* The ticket at hand stands on this line. */
static void note_line(struct body *b, uint64_t line)
{
    b->line = line;
    if (b->n_marks && b->marks[b->n_marks - 1].line + (b->tickets - b->marks[b->n_marks - 1].place) == line) return;
    if (b->n_marks == LINE_MARKS) {
        if (b->unmarked == UINT64_MAX) b->unmarked = b->tickets;
        return;
    }
    b->marks[b->n_marks].place = b->tickets;
    b->marks[b->n_marks++].line = line;
}

static int too_large(struct body *b)
{
    char room[JSON_POINTER_MAX];
    return body_fail(b, 413, "ticket.too_large", body_pointer(b, S(""), room), "is larger than the limit of %zu bytes (api.max_ticket)",
                     b->limits.max_ticket);
}

/* ---- lines of JSON */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static struct mintd_str trim(struct body *b, struct mintd_str s)
{
    while (s.n && is_blank(s.p[s.n - 1])) s.n--;
    for (; s.n && is_blank(*s.p); b->value_at++) s.p++, s.n--;
    return s;
}

static int take_line(struct body *b, struct mintd_str line)
{
    line = trim(b, line);
    note_line(b, ++b->csv.line);
    int rc = 0;
    if (!line.n) b->n_marks -= b->n_marks && b->marks[b->n_marks - 1].place == b->tickets;
    else if (body_check_query(b) || body_one_more(b)) rc = -EBADMSG;
    else rc = body_json_ticket(b, line, 0);
    if (rc >= 0) b->line = 0;
    return rc;
}

size_t lines_feed(struct body *b, const char *p, size_t n, int *ret_rc)
{
    const char *end = memchr(p, '\n', n);
    size_t used = end ? (size_t)(end - p) + 1 : n, bytes = end ? used - 1 : n;
    if (!b->part.n) b->value_at = b->offset;
    if (b->part.n + bytes > b->limits.max_ticket) {
        note_line(b, b->csv.line + 1);
        *ret_rc = too_large(b);
        return used;
    }
    if (end && !b->part.n) { *ret_rc = take_line(b, (struct mintd_str){ p, bytes }); return used; }
    buf_add(&b->part, p, bytes);
    if (b->part.bad) { *ret_rc = body_fail(b, 503, "server.memory", "", "no memory"); return used; }
    if (!end) return used;
    *ret_rc = take_line(b, buf_view(&b->part));
    b->part.n = 0;
    return used;
}

int lines_end(struct body *b) { return b->part.n ? take_line(b, buf_view(&b->part)) : 0; }

/* ---- CSV: the header */

static int header_fail(struct body *b, const char *why, struct mintd_str name)
{
    char quoted[80];
    snprintf(quoted, sizeof quoted, "%.*s", (int)(name.n < 60 ? name.n : 60), name.n ? name.p : "");
    for (char *c = quoted; *c; c++) if ((unsigned char)*c < 0x20) *c = '?';
    return body_fail(b, 422, "csv.header", "", "%s%s%s", why, name.n ? ": " : "", str_utf8(str_of(quoted)) ? quoted : "");
}

static struct mintd_str column(const struct body *b, uint32_t i)
{
    size_t from = i ? b->column_ends[i - 1] : 0;
    return (struct mintd_str){ b->columns.p + from, b->column_ends[i] - from };
}

static int add_column(struct body *b, uint32_t i, struct mintd_str name)
{
    int f = 0;
    if (!name.n) return header_fail(b, "a column has no name", name);
    if (name.n > JSON_POINTER_MAX / 2 - 2) return header_fail(b, "the name of a column is longer than 254 bytes", name);
    if (memchr(name.p, 0, name.n)) return header_fail(b, "the name of a column holds a NUL", S(""));
    for (uint32_t k = 0; k < i; k++) if (str_eq(column(b, k), name)) return header_fail(b, "two columns have the same name", name);
    while (f < F_DATA && !str_eq(name, body_fields[f])) f++;
    buf_str(&b->columns, name);
    b->column_ends[i] = b->columns.n;
    b->column_field[i] = f;
    b->n_columns = i + 1;
    return b->columns.bad ? body_fail(b, 503, "server.memory", "", "no memory") : 0;
}

static int take_header(struct body *b)
{
    bool has_id = false;
    for (uint32_t i = 0; i < b->csv.n; i++) {
        struct mintd_str name = csv_field(&b->csv, i);
        if (!i && str_starts(name, S("\xef\xbb\xbf"))) name.p += 3, name.n -= 3;       /* spreadsheets begin with it */
        if (add_column(b, i, name)) return -EBADMSG;
        has_id = has_id || b->column_field[i] == F_ID;
    }
    return has_id ? body_check_query(b) : header_fail(b, "the first line must name the columns, one of them id", S(""));
}

/* ---- CSV: a ticket */

static bool is_left_out(const struct csv *c, uint32_t i) { return !csv_field(c, i).n && !c->quoted[i]; }

static int check_record(struct body *b)
{
    char room[JSON_POINTER_MAX];
    const char *pointer = body_pointer(b, S(""), room);
    struct mintd_str all = buf_view(&b->csv.text);
    if (b->csv.n != b->n_columns) return body_fail(b, 422, "csv.columns", pointer, "has %u columns, the header has %u", b->csv.n, b->n_columns);
    if (all.n && memchr(all.p, 0, all.n)) return body_fail(b, 400, "csv.nul", pointer, "holds a NUL");
    for (uint32_t i = 0; i < b->csv.n; i++)
        if (!str_utf8(csv_field(&b->csv, i))) return body_fail(b, 400, "csv.utf8", pointer, "is not valid UTF-8 (column %u)", i + 1);
    return 0;
}

/* Every column that is no member of a ticket becomes a string in ticketData. */
static int make_data(struct body *b, struct mintd_str *ret)
{
    b->text.n = 0;
    buf_puts(&b->text, "{");
    for (uint32_t i = 0; i < b->n_columns; i++) {
        if (b->column_field[i] != F_DATA || is_left_out(&b->csv, i)) continue;
        if (b->text.n > 1) buf_puts(&b->text, ",");
        buf_json(&b->text, column(b, i));
        buf_puts(&b->text, ":");
        buf_json(&b->text, csv_field(&b->csv, i));
    }
    buf_puts(&b->text, "}");
    *ret = buf_view(&b->text);
    return b->text.bad ? body_fail(b, 503, "server.memory", "", "no memory") : 0;
}

static int take_record(struct body *b)
{
    struct pipe_ticket t = { 0 };
    struct mintd_str *to[] = { &t.id, &t.event_id, &t.user_id, &t.recipient };
    char room[JSON_POINTER_MAX];
    if (body_one_more(b) || check_record(b) || make_data(b, &t.data)) return -EBADMSG;
    for (uint32_t i = 0; i < b->n_columns; i++) {
        int f = b->column_field[i];
        if (f == F_DATA || (f != F_ID && is_left_out(&b->csv, i))) continue;
        *to[f] = csv_field(&b->csv, i);
        if (body_check_name(b, *to[f], BODY_ID_MAX, body_pointer(b, body_fields[f], room))) return -EBADMSG;
    }
    return body_begin(b) ? -EBADMSG : body_give(b, &t);
}

static int take(struct body *b)
{
    bool header = !b->n_columns;
    b->line = b->csv.began;
    if (!header) note_line(b, b->csv.began);
    int rc = header ? take_header(b) : take_record(b);
    if (rc >= 0) b->line = 0;
    return rc;
}

static int broken(struct body *b)
{
    char room[JSON_POINTER_MAX] = "";
    b->line = b->csv.line + 1;
    if (b->n_columns) body_pointer(b, S(""), room);
    return body_fail(b, 400, b->csv.code, room, "%s", b->csv.why);
}

size_t table_feed(struct body *b, const char *p, size_t n, int *ret_rc)
{
    size_t used = csv_feed(&b->csv, p, n);
    if (b->csv.code) *ret_rc = broken(b);
    else if (b->csv.text.n > b->limits.max_ticket || b->csv.text.bad) {
        if (b->n_columns) note_line(b, b->csv.began);
        *ret_rc = too_large(b);
    }
    else if (b->csv.whole) *ret_rc = take(b);
    return used;
}

int table_end(struct body *b)
{
    bool last = csv_end(&b->csv);
    if (b->csv.code) return broken(b);
    if (last) return take(b);
    return b->n_columns ? 0 : header_fail(b, "the first line must name the columns, one of them id", S(""));
}
