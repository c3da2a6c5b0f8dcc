/* Members of small bodies: see fields.h. Calls json.h. Loop thread. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include "api/fields.h"
#include "base/json.h"

static bool refuse(struct call *c, const char *pointer, struct mintd_str member, const char *code, const char *why)
{
    char at[JSON_POINTER_MAX];
    size_t n = (size_t)snprintf(at, sizeof at, "%s", pointer);
    n = member.n ? json_step(at, n, sizeof at, member) : n;
    at[n < sizeof at ? n : sizeof at - 1] = 0;
    call_problem(c, &(struct problem){ .status = 422, .code = code, .pointer = at }, "%s", why);
    return false;
}

/* ---- one value */

static int digits(const char *p, size_t n)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

/* ".123" behind the seconds: ms; further digits are cut. Returns the bytes used. */
static size_t fraction(struct mintd_str s, int *ret_ms)
{
    size_t n = 0;
    int scale = 100;
    if (!s.n || s.p[0] != '.') return 0;
    for (n = 1; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++, scale /= 10) *ret_ms += (s.p[n] - '0') * scale;
    return n;
}

static int offset(struct mintd_str s, int *ret_minutes)
{
    if (s.n == 1 && (s.p[0] == 'Z' || s.p[0] == 'z')) return 0;
    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':') return -EINVAL;
    int h = digits(s.p + 1, 2), m = digits(s.p + 4, 2);
    if (h < 0 || h > 23 || m < 0 || m > 59) return -EINVAL;
    *ret_minutes = (s.p[0] == '-' ? -1 : 1) * (h * 60 + m);
    return 0;
}

int time_parse(struct mintd_str s, int64_t *ret_ms)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd";
    int ms = 0, minutes = 0;
    if (s.n < sizeof shape) return -EINVAL;
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == 'd' ? s.p[i] < '0' || s.p[i] > '9' : (s.p[i] | (shape[i] == 'T' ? 0x20 : 0)) != (shape[i] == 'T' ? 't' : shape[i]))
            return -EINVAL;
    struct tm tm = { .tm_year = digits(s.p, 4) - 1900, .tm_mon = digits(s.p + 5, 2) - 1, .tm_mday = digits(s.p + 8, 2),
                     .tm_hour = digits(s.p + 11, 2), .tm_min = digits(s.p + 14, 2), .tm_sec = digits(s.p + 17, 2) };
    struct tm given = tm;
    struct mintd_str rest = { s.p + 19, s.n - 19 };
    size_t n = fraction(rest, &ms);
    if (offset((struct mintd_str){ rest.p + n, rest.n - n }, &minutes) || tm.tm_year < 70 || tm.tm_sec > 59) return -EINVAL;
    time_t t = timegm(&tm);
    if (tm.tm_mon != given.tm_mon || tm.tm_mday != given.tm_mday || tm.tm_hour != given.tm_hour || tm.tm_min != given.tm_min) return -EINVAL;
    *ret_ms = ((int64_t)t - minutes * 60) * 1000 + ms;
    return 0;
}

static bool text_of(struct call *c, struct mintd_str quoted, struct mintd_str *ret)
{
    char *p = arena_alloc(c->mem, quoted.n);
    if (!p) return call_memory(c), false;
    *ret = (struct mintd_str){ p, json_text(quoted, p) };
    return true;
}

static bool take_strings(struct call *c, const char *pointer, const struct field *f, struct mintd_str array)
{
    size_t n = 0, i = 1, cap = f->max ? f->max : 64;
    struct mintd_str *list = arena_array(c->mem, cap, sizeof *list);
    if (!list) return call_memory(c), false;
    while (i < array.n - 1) {
        struct json_frame frame = { 0 };
        while (i < array.n - 1 && memchr(" \t\r\n,", array.p[i], 5)) i++;
        if (i >= array.n - 1) break;
        size_t len = json_frame(&frame, array.p + i, array.n - 1 - i);
        struct mintd_str value = { array.p + i, len };
        if (json_type(value) != JSON_STRING) return refuse(c, pointer, str_of(f->name), "field.type", "must be an array of strings");
        if (n == cap) return refuse(c, pointer, str_of(f->name), "field.too_long", "has too many entries");
        if (!text_of(c, value, &list[n++])) return false;
        i += len;
    }
    *(struct mintd_vec *)f->ret = VEC(list, n);
    return true;
}

static bool take(struct call *c, const char *pointer, const struct field *f, struct mintd_str v)
{
    static const enum json_type wanted[] = { [FIELD_STR] = JSON_STRING, [FIELD_U64] = JSON_NUMBER, [FIELD_BOOL] = JSON_BOOL,
        [FIELD_TIME] = JSON_STRING, [FIELD_OBJECT] = JSON_OBJECT, [FIELD_STRINGS] = JSON_ARRAY };
    struct mintd_str text = v;
    char why[80];
    uint64_t number = 0;
    snprintf(why, sizeof why, "must be of type %s, not %s", json_type_name(wanted[f->type]), json_type_name(json_type(v)));
    if (json_type(v) != wanted[f->type]) return refuse(c, pointer, str_of(f->name), "field.type", why);
    if (wanted[f->type] == JSON_STRING && !text_of(c, v, &text)) return false;
    switch (f->type) {
    case FIELD_STR:
        snprintf(why, sizeof why, "has %zu bytes, allowed are 1 to %zu", text.n, f->max);
        if (!text.n || (f->max && text.n > f->max)) return refuse(c, pointer, str_of(f->name), text.n ? "field.too_long" : "field.empty", why);
        *(struct mintd_str *)f->ret = text;
        return true;
    case FIELD_U64:
        snprintf(why, sizeof why, "must be a whole number from 0 to %zu", f->max ? f->max : SIZE_MAX);
        if (str_u64(v, &number) || (f->max && number > f->max)) return refuse(c, pointer, str_of(f->name), "field.range", why);
        *(uint64_t *)f->ret = number;
        return true;
    case FIELD_BOOL:
        *(bool *)f->ret = v.p[0] == 't';
        return true;
    case FIELD_TIME:
        return !time_parse(text, f->ret)
               || refuse(c, pointer, str_of(f->name), "field.time", "must be a time such as 2026-01-02T03:04:05Z (RFC 3339)");
    case FIELD_OBJECT:
        *(struct mintd_str *)f->ret = v;
        return true;
    case FIELD_STRINGS:
        return take_strings(c, pointer, f, v);
    }
    return false;
}

/* ---- the object */

static const struct field *named(const struct field *f, size_t n, struct mintd_str key, size_t *ret_place)
{
    for (size_t i = 0; i < n; i++)
        if (json_is(key, str_of(f[i].name))) return *ret_place = i, &f[i];
    return NULL;
}

static bool unknown(struct call *c, const char *pointer, struct mintd_str key)
{
    struct mintd_str text;
    return text_of(c, key, &text) && refuse(c, pointer, text, "field.unknown", "this member is not known here");
}

bool fields_read(struct call *c, struct mintd_str object, const char *pointer, const struct field *f, size_t n)
{
    struct mintd_str key, value;
    uint64_t seen = 0;
    size_t pos = 0, i = 0;
    while (json_member(object, &pos, &key, &value)) {
        const struct field *one = named(f, n, key, &i);
        if (!one) return unknown(c, pointer, key);
        if (!take(c, pointer, one, value)) return false;
        seen |= UINT64_C(1) << i;
    }
    for (i = 0; i < n; i++)
        if (f[i].required && !(seen >> i & 1)) return refuse(c, pointer, str_of(f[i].name), "field.required", "is missing");
    return true;
}

bool call_fields(struct call *c, const struct field *f, size_t n)
{
    struct mintd_str text = buf_view(&c->body);
    struct json_error e = { 0 };
    while (text.n && memchr(" \t\r\n", text.p[0], 4)) text.p++, text.n--;
    while (text.n && memchr(" \t\r\n", text.p[text.n - 1], 4)) text.n--;
    if (!c->body.n) text = S("{}");
    if (json_check(text, 0, &e)) {
        call_problem(c, &(struct problem){ .status = 400, .code = e.code ? e.code : "json.syntax", .pointer = e.pointer }, "%s at byte %zu",
                     e.detail, e.at);
        return false;
    }
    if (json_type(text) != JSON_OBJECT) {
        call_problem(c, &(struct problem){ .status = 422, .code = "field.type" }, "the body must be an object");
        return false;
    }
    return fields_read(c, text, "", f, n);
}
