/* Strict JSON: see json.h. Owns nothing; calls base/str only; any thread.
 * The checker exists because the usual parsers take single quotes, NaN and repeated keys even in their strict modes. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/json.h"

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* ---- framing */

static bool ends_scalar(char c) { return is_space(c) || c == ',' || c == '}' || c == ']' || c == ':' || c == '"'; }

static void frame_first(struct json_frame *f, char c)
{
    f->begun = true;
    if (c == '"') f->in_string = true;
    else if (c == '{' || c == '[') f->depth = 1;
    else f->scalar = true;
}

static void frame_next(struct json_frame *f, char c)
{
    if (f->in_string) {
        if (f->escaped) f->escaped = false;
        else if (c == '\\') f->escaped = true;
        else if (c == '"') { f->in_string = false; f->done = !f->depth; }
        return;
    }
    if (c == '"') f->in_string = true;
    else if (c == '{' || c == '[') f->depth++;
    else if (c == '}' || c == ']') f->done = !--f->depth;
}

/* Most bytes are inside a string and mean nothing: the first one from i on that may. */
static size_t frame_dull(const struct json_frame *f, const char *p, size_t i, size_t n)
{
    if (f->in_string && !f->escaped)
        while (i < n && p[i] != '"' && p[i] != '\\') i++;
    return i;
}

size_t json_frame(struct json_frame *f, const char *p, size_t n)
{
    size_t i = 0;
    if (!f->begun && n) frame_first(f, p[i++]);
    for (; i < n && !f->done; i++) {
        i = frame_dull(f, p, i, n);
        if (i == n) break;
        if (f->scalar && ends_scalar(p[i])) { f->done = true; break; }
        if (!f->scalar) frame_next(f, p[i]);
    }
    return i;
}

bool json_frame_end(struct json_frame *f)
{
    if (f->begun && f->scalar) f->done = true;
    return f->done;
}

/* ---- strings */

static int hex4(const char *p, unsigned *ret)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        if (is_digit(c)) v = v << 4 | (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f') v = v << 4 | (unsigned)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') v = v << 4 | (unsigned)(c - 'A' + 10);
        else return -EINVAL;
    }
    *ret = v;
    return 0;
}

static size_t put_utf8(unsigned c, char *out)
{
    if (c < 0x80) { out[0] = (char)c; return 1; }
    if (c < 0x800) { out[0] = (char)(0xc0 | c >> 6); out[1] = (char)(0x80 | (c & 63)); return 2; }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12); out[1] = (char)(0x80 | (c >> 6 & 63)); out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18); out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63)); out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* One escape of a checked string; p is behind the backslash. Returns its bytes without the backslash. */
static size_t unescape(const char *p, char *out, size_t *ret_out)
{
    static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    if (*p == 'u') {
        unsigned c = 0, low = 0;
        hex4(p + 1, &c);
        size_t used = 5;
        if (c >= 0xd800 && c < 0xdc00) {
            hex4(p + 7, &low);
            c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
            used = 11;
        }
        *ret_out = put_utf8(c, out);
        return used;
    }
    const char *name = strchr(names, *p);
    *out = name ? bytes[name - names] : *p;
    *ret_out = 1;
    return 1;
}

size_t json_text(struct mintd_str quoted, char *ret)
{
    size_t n = 0;
    for (size_t i = 1; i + 1 < quoted.n;) {
        if (quoted.p[i] != '\\') { ret[n++] = quoted.p[i++]; continue; }
        size_t out = 0;
        i += 1 + unescape(quoted.p + i + 1, ret + n, &out);
        n += out;
    }
    return n;
}

static bool is_plain(struct mintd_str quoted) { return !quoted.n || !memchr(quoted.p, '\\', quoted.n); }

/* keys are at most JSON_POINTER_MAX bytes here: the checker saw to it */
static struct mintd_str key_text(struct mintd_str quoted, char *room)
{
    if (is_plain(quoted)) return (struct mintd_str){ quoted.p + 1, quoted.n - 2 };
    return (struct mintd_str){ room, json_text(quoted, room) };
}

static bool same_key(struct mintd_str a, struct mintd_str b)
{
    if (is_plain(a) && is_plain(b)) return str_eq(a, b);
    char room_a[JSON_POINTER_MAX], room_b[JSON_POINTER_MAX];
    return str_eq(key_text(a, room_a), key_text(b, room_b));
}

bool json_is(struct mintd_str quoted, struct mintd_str text)
{
    if (is_plain(quoted)) return quoted.n == text.n + 2 && !memcmp(quoted.p + 1, text.p, text.n);
    char room[JSON_POINTER_MAX];
    return quoted.n <= sizeof room && str_eq(key_text(quoted, room), text);
}

/* ---- checking */

struct step { const struct step *up; struct mintd_str key; size_t index; };   /* key.n 0: an array's element */
struct check {
    const char *p, *end, *base;
    struct json_error *err;
    unsigned depth, n_keys;
    struct mintd_str keys[JSON_DEPTH * JSON_MEMBERS / 8];         /* of all objects open now */
};

static int check_value(struct check *, const struct step *);

size_t json_step(char *pointer, size_t len, size_t room, struct mintd_str name)
{
    size_t need = len + name.n + 2;
    for (size_t i = 0; i < name.n; i++) need += name.p[i] == '~' || name.p[i] == '/';
    if (need > room) return len;
    pointer[len++] = '/';
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool special = c == '~' || c == '/';
        pointer[len++] = special ? '~' : c;
        if (special) pointer[len++] = c == '~' ? '0' : '1';
    }
    pointer[len] = 0;
    return len;
}

static void put_pointer(char *out, const struct step *s)
{
    const struct step *path[JSON_DEPTH + 2];
    char room[JSON_POINTER_MAX];
    size_t n_path = 0, n = 0;
    for (; s && n_path < ARRAY_LEN(path); s = s->up) path[n_path++] = s;
    out[0] = 0;
    while (n_path--) {
        struct mintd_str name = { room, 0 };
        if (path[n_path]->key.n) name = key_text(path[n_path]->key, room);
        else name.n = (size_t)snprintf(room, sizeof room, "%zu", path[n_path]->index);
        size_t longer = json_step(out, n, JSON_POINTER_MAX, name);
        if (longer == n) break;
        n = longer;
    }
}

static int fail(struct check *c, const struct step *at, const char *code, const char *detail)
{
    c->err->code = code;
    c->err->detail = detail;
    c->err->at = (size_t)(c->p - c->base);
    put_pointer(c->err->pointer, at);
    return -EBADMSG;
}

static int syntax(struct check *c, const struct step *at, const char *detail) { return fail(c, at, "json.syntax", detail); }

static void skip_space(struct check *c) { while (c->p < c->end && is_space(*c->p)) c->p++; }

static int check_escape(struct check *c, const struct step *at)
{
    if (c->end - c->p < 2) return syntax(c, at, "string has no end");
    if (c->p[1] != 'u') {
        if (!strchr("\"\\/bfnrt", c->p[1]) || !c->p[1]) return syntax(c, at, "unknown escape in string");
        c->p += 2;
        return 0;
    }
    unsigned v = 0, low = 0;
    if (c->end - c->p < 6 || hex4(c->p + 2, &v)) return syntax(c, at, "\\u needs four hexadecimal digits");
    if (!v) return fail(c, at, "json.nul", "\\u0000 is not allowed in a string");
    bool high = v >= 0xd800 && v < 0xdc00;
    if ((v >= 0xdc00 && v < 0xe000) ||
        (high && (c->end - c->p < 12 || c->p[6] != '\\' || c->p[7] != 'u' || hex4(c->p + 8, &low) || low < 0xdc00 || low >= 0xe000)))
        return fail(c, at, "json.surrogate", "\\u escape is half of a surrogate pair");
    c->p += high ? 12 : 6;
    return 0;
}

static int check_string(struct check *c, const struct step *at)
{
    const char *start = ++c->p;
    bool ascii = true;
    while (c->p < c->end && *c->p != '"') {
        unsigned char b = (unsigned char)*c->p;
        if (b < 0x20) return syntax(c, at, "control character in string");
        ascii = ascii && b < 0x80;
        if (b != '\\') { c->p++; continue; }
        int rc = check_escape(c, at);
        if (rc) return rc;
    }
    if (c->p == c->end) return syntax(c, at, "string has no end");
    if (!ascii && !str_utf8((struct mintd_str){ start, (size_t)(c->p - start) }))
        return c->p = start, fail(c, at, "json.utf8", "string is not valid UTF-8");
    c->p++;
    return 0;
}

static bool digits(struct check *c)
{
    const char *start = c->p;
    while (c->p < c->end && is_digit(*c->p)) c->p++;
    return c->p > start;
}

static int check_number(struct check *c, const struct step *at)
{
    const char *start = c->p;
    char text[JSON_NUMBER_MAX + 1];
    bool exponent = false;
    if (*c->p == '-') c->p++;
    const char *whole = c->p;
    if (!digits(c)) return syntax(c, at, "number without digits");
    if (*whole == '0' && c->p - whole > 1) { c->p = whole; return syntax(c, at, "number with a leading zero"); }
    if (c->p < c->end && *c->p == '.' && (c->p++, !digits(c))) return syntax(c, at, "number without digits behind the point");
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        exponent = true;
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-')) c->p++;
        if (!digits(c)) return syntax(c, at, "number without digits in its exponent");
    }
    size_t n = (size_t)(c->p - start);
    if (n > JSON_NUMBER_MAX) return fail(c, at, "json.number", "number is longer than 64 characters: send it as a string");
    memcpy(text, start, n);
    text[n] = 0;
    if (exponent && isinf(strtod(text, NULL))) return fail(c, at, "json.number", "number is out of range: send it as a string");
    return 0;
}

static int check_word(struct check *c, const struct step *at)
{
    static const struct mintd_str words[] = { { "true", 4 }, { "false", 5 }, { "null", 4 } };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if ((size_t)(c->end - c->p) >= words[i].n && !memcmp(c->p, words[i].p, words[i].n)) {
            c->p += words[i].n;
            return 0;
        }
    return syntax(c, at, "a value must begin here");
}

static int check_key(struct check *c, const struct step *at, unsigned first, struct mintd_str *ret)
{
    const char *start = c->p;
    if (c->p == c->end || *c->p != '"') return syntax(c, at, "a member name in double quotes must begin here");
    int rc = check_string(c, at);
    if (rc) return rc;
    struct mintd_str key = { start, (size_t)(c->p - start) };
    if (key.n > JSON_POINTER_MAX / 2) return fail(c, at, "json.key_length", "member name is longer than 254 bytes");
    struct step here = { at, key, 0 };
    for (unsigned i = first; i < c->n_keys; i++)
        if (same_key(c->keys[i], key)) return c->p = start, fail(c, &here, "json.duplicate_key", "member name is there twice");
    if (c->n_keys - first >= JSON_MEMBERS || c->n_keys >= ARRAY_LEN(c->keys))
        return fail(c, at, "json.members", "object has too many members: at most 256");
    c->keys[c->n_keys++] = key;
    *ret = key;
    return 0;
}

static int check_member(struct check *c, const struct step *at, unsigned first)
{
    struct step here = { at, { NULL, 0 }, 0 };
    int rc = check_key(c, at, first, &here.key);
    if (rc) return rc;
    skip_space(c);
    if (c->p == c->end || *c->p != ':') return syntax(c, &here, "a colon must follow the member name");
    c->p++;
    skip_space(c);
    return check_value(c, &here);
}

/* The commas and the end of an object or array. 1: another one follows, 0: closed. */
static int check_more(struct check *c, const struct step *at, char close, const char *what)
{
    skip_space(c);
    if (c->p < c->end && *c->p == close) { c->p++; return 0; }
    if (c->p == c->end || *c->p != ',') return syntax(c, at, what);
    c->p++;
    skip_space(c);
    return 1;
}

static int check_object(struct check *c, const struct step *at)
{
    unsigned first = c->n_keys;
    c->p++;
    skip_space(c);
    if (c->p < c->end && *c->p == '}') { c->p++; return 0; }
    int rc;
    do {
        rc = check_member(c, at, first);
        if (!rc) rc = check_more(c, at, '}', "a comma or } must follow in an object");
    } while (rc == 1);
    c->n_keys = first;
    return rc;
}

static int check_array(struct check *c, const struct step *at)
{
    struct step here = { at, { NULL, 0 }, 0 };
    c->p++;
    skip_space(c);
    if (c->p < c->end && *c->p == ']') { c->p++; return 0; }
    int rc;
    do {
        rc = check_value(c, &here);
        here.index++;
        if (!rc) rc = check_more(c, at, ']', "a comma or ] must follow in an array");
    } while (rc == 1);
    return rc;
}

static int check_nested(struct check *c, const struct step *at)
{
    if (c->depth >= JSON_DEPTH) return fail(c, at, "json.depth", "nested deeper than 32 levels");
    c->depth++;
    int rc = *c->p == '{' ? check_object(c, at) : check_array(c, at);
    c->depth--;
    return rc;
}

static int check_value(struct check *c, const struct step *at)
{
    if (c->p == c->end) return syntax(c, at, "a value is missing");
    if (*c->p == '{' || *c->p == '[') return check_nested(c, at);
    if (*c->p == '"') return check_string(c, at);
    if (*c->p == '-' || is_digit(*c->p)) return check_number(c, at);
    return check_word(c, at);
}

int json_check(struct mintd_str text, unsigned depth, struct json_error *ret)
{
    struct check c;
    c.p = c.base = text.p;
    c.end = text.p + text.n;
    c.err = ret;
    c.depth = depth;
    c.n_keys = 0;
    skip_space(&c);
    int rc = check_value(&c, NULL);
    if (rc) return rc;
    skip_space(&c);
    return c.p < c.end ? syntax(&c, NULL, "only white space may follow the value") : 0;
}

/* ---- walking checked text */

enum json_type json_type(struct mintd_str value)
{
    switch (value.p[0]) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't': case 'f': return JSON_BOOL;
    case 'n': return JSON_NULL;
    default: return JSON_NUMBER;
    }
}

const char *json_type_name(enum json_type t)
{
    static const char *const names[] = { "an object", "an array", "a string", "a number", "a boolean", "null" };
    return names[t];
}

static size_t walk_value(struct mintd_str s, size_t pos, struct mintd_str *ret)
{
    struct json_frame f = { 0 };
    while (is_space(s.p[pos])) pos++;
    size_t n = json_frame(&f, s.p + pos, s.n - pos);
    *ret = (struct mintd_str){ s.p + pos, n };
    return pos + n;
}

bool json_member(struct mintd_str object, size_t *pos, struct mintd_str *ret_key, struct mintd_str *ret_value)
{
    size_t i = *pos ? *pos : 1;
    while (is_space(object.p[i]) || object.p[i] == ',') i++;
    if (object.p[i] == '}') return false;
    i = walk_value(object, i, ret_key);
    while (object.p[i] != ':') i++;
    *pos = walk_value(object, i + 1, ret_value);
    return true;
}
