/* Tables and cards: rows of documents in columns as wide as what they hold and as narrow as the terminal asks; one document as
 * labels and values. Off a terminal nothing is cut. Owns cells while it prints. */
#include <stdarg.h>
#include <stdlib.h>
#include "cli.h"

enum { GAP = 2, FLEX_MIN = 8 };

struct grid {
    struct cli *cli;
    const struct column *col[GRID_COLS];
    size_t n;
    unsigned width[GRID_COLS];
    struct json_object *rows;
};

static void put_cell(struct buf *b, const struct column *col, struct json_object *row)
{
    struct buf text = { 0 };
    doc_flat(&text, doc_at(row, col->path), NULL);
    if (col->flags & COL_TIME && text.n) text_time(b, buf_text(&text), true, false);
    else text_clean(b, text.p ? text.p : "", text.n, false);
    if (!b->n) buf_puts(b, "-");
    buf_free(&text);
}

static void measure(struct grid *g)
{
    size_t n_rows = doc_len(g->rows, "");
    for (size_t k = 0; k < g->n; k++) {
        g->width[k] = text_width(g->col[k]->head, strlen(g->col[k]->head));
        for (size_t i = 0; i < n_rows; i++) {
            struct buf cell = { 0 };
            put_cell(&cell, g->col[k], doc_idx(g->rows, "", i));
            unsigned width = cell.bad ? 0 : text_width(cell.p, cell.n);
            if (width > g->width[k]) g->width[k] = width;
            buf_free(&cell);
        }
    }
}

/* A column without a single value says nothing. */
static bool is_empty(const struct grid *g, size_t k)
{
    for (size_t i = 0; i < doc_len(g->rows, ""); i++)
        if (*doc_str(doc_idx(g->rows, "", i), g->col[k]->path)) return false;
    return true;
}

static void leave_out_empty(struct grid *g)
{
    size_t n = 0;
    for (size_t k = 0; k < g->n; k++)
        if (!k || !g->col[k]->drop || !is_empty(g, k)) g->col[n++] = g->col[k];
    g->n = n;
}

static unsigned total(const struct grid *g)
{
    unsigned sum = (unsigned)(g->n ? g->n - 1 : 0) * GAP;
    for (size_t k = 0; k < g->n; k++) sum += g->width[k];
    return sum;
}

/* The widest column that may be cut loses one place; false: none is left. */
static bool squeeze(struct grid *g)
{
    size_t at = g->n;
    for (size_t k = 0; k < g->n; k++) {
        unsigned least = (unsigned)strlen(g->col[k]->head) > FLEX_MIN ? (unsigned)strlen(g->col[k]->head) : FLEX_MIN;
        if (g->col[k]->flags & COL_FLEX && g->width[k] > least && (at == g->n || g->width[k] > g->width[at])) at = k;
    }
    if (at == g->n) return false;
    g->width[at]--;
    return true;
}

static bool drop_column(struct grid *g)
{
    size_t at = 0;
    for (size_t k = 1; k < g->n; k++)
        if (g->col[k]->drop > g->col[at]->drop) at = k;
    if (!g->n || !g->col[at]->drop) return false;
    for (size_t k = at; k + 1 < g->n; k++) {
        g->col[k] = g->col[k + 1];
        g->width[k] = g->width[k + 1];
    }
    g->n--;
    return true;
}

/* Cutting comes first; what cannot be shown even then loses its least telling column, and the others their cuts. */
static void make_fit(struct grid *g)
{
    while (g->cli->width && total(g) > g->cli->width) {
        if (squeeze(g)) continue;
        if (!drop_column(g)) return;
        measure(g);
    }
}

static void put_padded(struct grid *g, struct buf *line, size_t k, const char *p, size_t n, enum ink color)
{
    unsigned have = text_width(p, n), room = g->width[k];
    bool cut = have > room;
    const char *dots = g->cli->utf8 ? "\xe2\x80\xa6" : "~";
    if (cut) {
        n = text_fit(p, n, room - 1);
        have = text_width(p, n) + 1;
    }
    unsigned pad = room > have ? room - have : 0;
    bool right = g->col[k]->flags & COL_RIGHT, last = k + 1 == g->n;
    buf_printf(line, "%*s%s", right ? (int)pad : 0, "", ink(g->cli->color_out && color, color));
    buf_add(line, p, n);
    buf_printf(line, "%s%s%*s", cut ? dots : "", ink(g->cli->color_out && color, INK_NONE), right || last ? 0 : (int)pad, "");
    if (!last) buf_printf(line, "%*s", GAP, "");
}

static void print_head(struct grid *g)
{
    struct buf line = { 0 };
    for (size_t k = 0; k < g->n; k++) put_padded(g, &line, k, g->col[k]->head, strlen(g->col[k]->head), INK_DIM);
    buf_puts(&line, "\n");
    out_buf(g->cli, &line);
}

static void print_row(struct grid *g, struct json_object *row)
{
    struct buf line = { 0 };
    for (size_t k = 0; k < g->n; k++) {
        struct buf cell = { 0 };
        put_cell(&cell, g->col[k], row);
        enum ink color = g->col[k]->flags & COL_STATE ? ink_of_state(doc_str(row, g->col[k]->path)) : INK_NONE;
        if (!cell.bad) put_padded(g, &line, k, cell.p, cell.n, color);
        buf_free(&cell);
    }
    buf_puts(&line, "\n");
    out_buf(g->cli, &line);
}

void grid_print(struct cli *c, const struct column *cols, size_t n, struct json_object *rows, bool head)
{
    struct grid g = { .cli = c, .rows = rows };
    for (size_t k = 0; k < n && k < GRID_COLS; k++) g.col[g.n++] = &cols[k];
    leave_out_empty(&g);
    measure(&g);
    make_fit(&g);
    if (head) print_head(&g);
    for (size_t i = 0, n_rows = doc_len(rows, ""); i < n_rows; i++) print_row(&g, doc_idx(rows, "", i));
}

/* ---- pairs */

static unsigned widest(struct json_object *rows, const char *name)
{
    unsigned most = 0;
    for (size_t i = 0; i < doc_len(rows, ""); i++) {
        const char *text = doc_str(doc_idx(rows, "", i), name);
        unsigned width = text_width(text, strlen(text));
        if (width > most) most = width;
    }
    return most;
}

void pairs_put(struct cli *c, struct buf *b, struct json_object *rows, const char *name, const char *text)
{
    enum { INDENT = 4, ROOM = 20 };
    unsigned col = widest(rows, name) + GAP;
    bool below = c->width && col + ROOM > c->width;
    for (size_t i = 0; i < doc_len(rows, ""); i++) {
        const char *left = doc_str(doc_idx(rows, "", i), name), *right = doc_str(doc_idx(rows, "", i), text);
        struct buf clean = { 0 };
        unsigned have = text_width(left, strlen(left));
        text_clean(b, left, strlen(left), false);
        if (below) buf_printf(b, "\n%*s", INDENT, "");
        else buf_printf(b, "%*s", (int)(col > have ? col - have : 1), "");
        text_clean(&clean, right, strlen(right), true);
        text_wrap(b, clean.p ? clean.p : "", clean.n, c->width, below ? INDENT : col);
        buf_free(&clean);
    }
}

/* ---- cards */

static void put_value(struct cli *c, struct buf *b, const char *label, enum ink color, const struct buf *value)
{
    enum { LABEL = 14 };
    buf_printf(b, "%s%-*s%s ", ink(c->color_out, INK_DIM), LABEL, label, ink(c->color_out, INK_NONE));
    if (strlen(label) > LABEL) buf_printf(b, "\n%*s", LABEL + 1, "");     /* a long one has a line of its own */
    buf_puts(b, ink(c->color_out && color, color));
    text_wrap(b, value->p ? value->p : "", value->n, c->width, LABEL + 1);
    buf_puts(b, ink(c->color_out && color, INK_NONE));
}

void card_row(struct cli *c, struct buf *b, const char *label, enum ink color, const char *fmt, ...)
{
    struct buf value = { 0 };
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) >= 0) text_clean(&value, text, strlen(text), true);
    va_end(ap);
    put_value(c, b, label, color, &value);
    free(text);
    buf_free(&value);
}

void card_member(struct cli *c, struct buf *b, const char *label, struct json_object *doc, const char *path)
{
    const char *text = doc_str(doc, path);
    if (*text) card_row(c, b, label, ink_of_state(text), "%s", text);
}

void card_time(struct cli *c, struct buf *b, const char *label, struct json_object *doc, const char *path)
{
    struct buf shown = { 0 };
    const char *text = doc_str(doc, path);
    if (!*text) return;
    text_time(&shown, text, true, false);
    card_row(c, b, label, INK_NONE, STR_FMT, STR_ARG(buf_view(&shown)));
    buf_free(&shown);
}
