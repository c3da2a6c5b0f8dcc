/* The text of a configuration file, looked at before libconfig reads it: libconfig 1.5 wraps numbers beyond 31 bits, cuts strings at
 * a zero byte, takes include paths as relative whatever they are, and says "syntax error" where a reason is known. Every refusal
 * here has the line it speaks of. Owns nothing after return. Calls base/ only. Loop thread. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "conf/conf_int.h"

enum { INCLUDES_MAX = 8, TOKEN_SHOWN = 40 };

struct scan {
    const char *file, *p, *end, *line_start;
    struct conf_errors *errs;
    const struct scan *from;                               /* the file that includes this one */
    dev_t dev; ino_t ino;
    unsigned line, levels, depth;                          /* levels: of includes; depth: of open brackets */
    char last;                                             /* last character outside blanks and comments */
    bool stop;                                             /* nothing sensible can be said about the rest */
};

static int scan_one(struct scan *, struct buf *ret_text);

#define REFUSE(s, line, ...) conf_error((s)->errs, (s)->file, line, __VA_ARGS__)

const char *scan_include_dir(const char *path, char *buf, size_t n)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    snprintf(buf, n, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return buf;
}

static bool name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*' || c == '_'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool name_char(char c) { return name_start(c) || digit(c) || c == '-'; }

static void next_line(struct scan *s)
{
    s->line++;
    s->line_start = ++s->p;
}

static void skip_to_line_end(struct scan *s)
{
    while (s->p < s->end && *s->p != '\n') s->p++;
}

static void skip_block_comment(struct scan *s)
{
    unsigned opened = s->line;
    for (s->p += 2; s->p < s->end;) {
        if (*s->p == '\n') next_line(s);
        else if (s->end - s->p >= 2 && s->p[0] == '*' && s->p[1] == '/') {
            s->p += 2;
            return;
        } else s->p++;
    }
    REFUSE(s, opened, "the comment that starts here is never closed");
    s->stop = true;
}

static bool hex_zero(const char *p, const char *end)
{
    return end - p >= 4 && (p[1] == 'x' || p[1] == 'X') && p[2] == '0' && p[3] == '0';
}

static void skip_string(struct scan *s)
{
    for (s->p++; s->p < s->end && *s->p != '\n'; s->p++) {
        if (*s->p == '"') {
            s->p++;
            s->last = '"';
            return;
        }
        if (*s->p != '\\') continue;
        if (hex_zero(s->p, s->end)) REFUSE(s, s->line, "a string cannot hold a zero byte (\\x00)");
        if (s->p + 1 < s->end && s->p[1] != '\n') s->p++;
    }
    REFUSE(s, s->line, "the string that starts in this line is not closed in it");
    s->stop = true;
}

static bool hex_fits(const char *p, size_t n)
{
    while (n && *p == '0') p++, n--;
    return n < 8 || (n == 8 && *p <= '7');
}

static void check_number(struct scan *s, const char *p, size_t n)
{
    int shown = n > TOKEN_SHOWN ? TOKEN_SHOWN : (int)n;
    const char *more = n > TOKEN_SHOWN ? "..." : "", *number = p;
    bool hex, l = n && (p[n - 1] == 'L' || p[n - 1] == 'l');
    if (n && (*p == '-' || *p == '+')) p++, n--;
    hex = n > 1 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    size_t digits = 0;
    while (digits < n && digit(p[digits])) digits++;
    if (l) {
        REFUSE(s, s->line, "number %.*s%s: the suffix L is not supported, write a string with a unit", shown, number, more);
    } else if (hex ? !hex_fits(p + 2, n - 2) : digits == n && n >= 10) {
        REFUSE(s, s->line, "number %.*s%s is too large to be written bare, write a string with a unit", shown, number, more);
    } else if (!hex && digits == n && n > 1 && p[0] == '0') {
        REFUSE(s, s->line, "number %.*s%s: leading zeros are ambiguous, leave them out", shown, number, more);
    }
}

static void skip_number(struct scan *s)
{
    const char *from = s->p++;
    while (s->p < s->end && (name_char(*s->p) || *s->p == '.')) {
        bool exponent = *s->p == 'e' || *s->p == 'E';
        s->p++;
        if (exponent && s->p < s->end && *s->p == '+') s->p++;
    }
    check_number(s, from, (size_t)(s->p - from));
    s->last = '0';
}

static void bracket(struct scan *s)
{
    char c = *s->p++;
    bool opens = c == '{' || c == '(' || c == '[';
    if (!opens && s->last == ',') REFUSE(s, s->line, "a comma before the closing %c", c);
    if (opens) s->depth++;
    else if (s->depth) s->depth--;
    s->last = c;
    if (s->depth <= CONF_DEPTH_MAX) return;
    REFUSE(s, s->line, "nested deeper than %d levels", CONF_DEPTH_MAX);
    s->stop = true;
}

static bool is_open(const struct scan *s, const struct stat *st)
{
    for (; s; s = s->from)
        if (s->dev == st->st_dev && s->ino == st->st_ino) return true;
    return false;
}

static void follow(struct scan *s, struct mintd_str name)
{
    char path[PATH_MAX], folder[PATH_MAX];
    const struct scan *top = s;
    struct stat st;
    while (top->from) top = top->from;
    const char *dir = scan_include_dir(top->file, folder, sizeof folder);
    int n = dir ? snprintf(path, sizeof path, "%s/" STR_FMT, dir, STR_ARG(name)) : snprintf(path, sizeof path, STR_FMT, STR_ARG(name));
    if (n < 0 || (size_t)n >= sizeof path) REFUSE(s, s->line, "@include: the path is too long");
    else if (name.p[0] == '/') REFUSE(s, s->line, "@include \"" STR_FMT "\": the path must be relative to the main file", STR_ARG(name));
    else if (stat(path, &st)) REFUSE(s, s->line, "@include \"" STR_FMT "\": %s", STR_ARG(name), strerror(errno));
    else if (!S_ISREG(st.st_mode)) REFUSE(s, s->line, "@include \"" STR_FMT "\": is not a regular file", STR_ARG(name));
    else if (is_open(s, &st)) REFUSE(s, s->line, "@include \"" STR_FMT "\": the file includes itself", STR_ARG(name));
    else if (s->levels + 1 > INCLUDES_MAX) REFUSE(s, s->line, "@include: more than %d levels", INCLUDES_MAX);
    else {
        struct scan inner = { .file = path, .errs = s->errs, .from = s, .levels = s->levels + 1 };
        struct buf text = { 0 };
        scan_one(&inner, &text);
        buf_free(&text);
    }
}

static void include(struct scan *s)
{
    static const char word[] = "@include";
    const char *p = s->p;
    bool alone = true;
    for (const char *q = s->line_start; q < p; q++) alone &= *q == ' ' || *q == '\t';
    skip_to_line_end(s);
    bool ours = (size_t)(s->p - p) > sizeof word && !memcmp(p, word, sizeof word - 1);
    for (p += ours ? sizeof word - 1 : 0; ours && p < s->p && (*p == ' ' || *p == '\t');) p++;
    const char *quote = ours && p < s->p && *p == '"' ? memchr(p + 1, '"', (size_t)(s->p - p - 1)) : NULL;
    if (!alone || !quote || quote == p + 1) {
        REFUSE(s, s->line, "@ only starts a line of its own like @include \"file.cfg\"");
        return;
    }
    struct mintd_str name = { p + 1, (size_t)(quote - p - 1) };
    if (memchr(name.p, '\\', name.n)) REFUSE(s, s->line, "@include: no backslash in the path");
    else follow(s, name);
}

static void scan_text(struct scan *s)
{
    while (s->p < s->end && !s->stop) {
        char c = *s->p, next = s->p + 1 < s->end ? s->p[1] : '\0';
        if (c == '\n') next_line(s);
        else if (c == '#' || (c == '/' && next == '/')) skip_to_line_end(s);
        else if (c == '/' && next == '*') skip_block_comment(s);
        else if (c == '"') skip_string(s);
        else if (c == '@') include(s);
        else if (digit(c) || ((c == '-' || c == '+' || c == '.') && digit(next))) skip_number(s);
        else if (strchr("{}()[]", c)) bracket(s);
        else if (name_start(c)) {
            while (s->p < s->end && name_char(*s->p)) s->p++;
            s->last = 'a';
        } else {
            if (c != ' ' && c != '\t' && c != '\r') s->last = c;
            s->p++;
        }
    }
}

/* Line of the first byte that can not stand in a configuration; 0: none */
static unsigned bad_line(struct mintd_str text, const char **ret_what)
{
    unsigned line = 1;
    for (size_t i = 0; i < text.n; line++) {
        const char *end = memchr(text.p + i, '\n', text.n - i);
        struct mintd_str row = { text.p + i, end ? (size_t)(end - text.p) - i : text.n - i };
        *ret_what = row.n && memchr(row.p, '\0', row.n) ? "a zero byte" : !str_utf8(row) ? "text that is not UTF-8" : NULL;
        if (*ret_what) return line;
        i += row.n + 1;
    }
    return 0;
}

static int read_text(struct scan *s, struct buf *ret_text)
{
    struct stat st;
    struct buf text = { 0 };
    int r = stat(s->file, &st) ? -errno : 0;
    if (!r && !S_ISREG(st.st_mode)) {
        REFUSE(s, 0, "is not a regular file");
        return -EINVAL;
    }
    if (!r) r = file_read(s->file, CONF_TEXT_MAX, &text);
    if (r == -EFBIG) REFUSE(s, 0, "is larger than %d MiB", CONF_TEXT_MAX >> 20);
    else if (r) REFUSE(s, 0, "cannot be read: %s", strerror(-r));
    if (r) return r;
    buf_add(&text, "", 1);                                 /* libconfig wants a C string */
    if (text.bad) {
        buf_free(&text);
        return -ENOMEM;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    *ret_text = text;
    return 0;
}

static int scan_one(struct scan *s, struct buf *ret_text)
{
    struct buf text = { 0 };
    uint32_t before = s->errs->n;
    int r = read_text(s, &text);
    if (r) return r;
    const char *what = NULL;
    unsigned line = bad_line((struct mintd_str){ text.p, text.n - 1 }, &what);
    s->p = s->line_start = text.p;
    s->end = text.p + text.n - 1;
    s->line = 1;
    if (line) REFUSE(s, line, "%s", what);
    else if (str_starts((struct mintd_str){ text.p, text.n }, S("\xef\xbb\xbf"))) REFUSE(s, 1, "starts with a byte order mark, remove it");
    else scan_text(s);
    if (s->errs->n != before) {
        buf_free(&text);
        return -EINVAL;
    }
    *ret_text = text;
    return 0;
}

int scan_file(const char *path, struct conf_errors *errs, struct buf *ret_text)
{
    struct scan s = { .file = path, .errs = errs };
    return scan_one(&s, ret_text);
}
