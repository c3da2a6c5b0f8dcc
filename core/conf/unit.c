/* Durations, sizes and amounts: a decimal number and a unit, exact or refused. Owns nothing. Calls base/ only. Any thread. */
#include <errno.h>
#include <stdio.h>

#include "conf/conf_int.h"

struct unit { const char *name; int64_t factor; };
enum { KI = 1024, DECIMALS_MAX = 18 };

static const struct unit durations[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
static const struct unit sizes[] = {
    { "TiB", (int64_t)KI * KI * KI * KI }, { "GiB", KI * KI * KI }, { "MiB", KI * KI }, { "KiB", KI }, { "TB", 1000000000000 },
    { "GB", 1000000000 }, { "MB", 1000000 }, { "KB", 1000 }, { "kB", 1000 }, { "B", 1 } };

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* "12.5 MiB" -> "12", "5", "MiB"; -EINVAL unless it looks like that */
static int split(struct mintd_str s, struct mintd_str *whole, struct mintd_str *fraction, struct mintd_str *unit)
{
    size_t i = 0, from;
    while (i < s.n && digit(s.p[i])) i++;
    *whole = (struct mintd_str){ s.p, i };
    *fraction = (struct mintd_str){ NULL, 0 };
    if (!i) return -EINVAL;
    if (i < s.n && s.p[i] == '.') {
        for (from = ++i; i < s.n && digit(s.p[i]);) i++;
        if (i == from) return -EINVAL;
        *fraction = (struct mintd_str){ s.p + from, i - from };
    }
    while (i < s.n && s.p[i] == ' ') i++;
    *unit = (struct mintd_str){ s.p + i, s.n - i };
    return 0;
}

/* whole.fraction * factor, which must be a whole number */
static int scale(struct mintd_str whole, struct mintd_str fraction, int64_t factor, int64_t *ret)
{
    int64_t total = 0, part = factor;
    for (size_t i = 0; i < whole.n; i++)
        if (__builtin_mul_overflow(total, 10, &total) || __builtin_add_overflow(total, whole.p[i] - '0', &total)) return -ERANGE;
    if (__builtin_mul_overflow(total, factor, &total)) return -ERANGE;
    while (fraction.n && fraction.p[fraction.n - 1] == '0') fraction.n--;
    if (fraction.n > DECIMALS_MAX) return -EINVAL;
    int64_t power = 1, digits = 0, rest;
    for (size_t i = 0; i < fraction.n; i++) {
        power *= 10;
        digits = digits * 10 + (fraction.p[i] - '0');
    }
    while (power > 1 && power % 10 == 0 && part % 10 == 0) {             /* keeps the product within 63 bits */
        power /= 10;
        part /= 10;
    }
    if (__builtin_mul_overflow(digits, part, &rest) || rest % power) return -EINVAL;
    if (__builtin_add_overflow(total, rest / power, &total)) return -ERANGE;
    *ret = total;
    return 0;
}

static int parse(struct mintd_str s, const struct unit *units, size_t n, int64_t *ret)
{
    struct mintd_str whole, fraction, unit;
    int r = split(s, &whole, &fraction, &unit);
    if (r) return r;
    if (!unit.n && whole.n == 1 && s.n == 1 && s.p[0] == '0') {
        *ret = 0;
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        if (str_eq(unit, SZ(units[i].name))) return scale(whole, fraction, units[i].factor, ret);
    return -EINVAL;
}

int conf_parse_duration(struct mintd_str s, int64_t *ret_ms) { return parse(s, durations, ARRAY_LEN(durations), ret_ms); }

int conf_parse_size(struct mintd_str s, int64_t *ret_bytes) { return parse(s, sizes, ARRAY_LEN(sizes), ret_bytes); }

/* The next "unit=decimals" of choices; false at the end or where it is malformed */
static bool next_unit(const char **choices, struct mintd_str *name, int64_t *factor)
{
    const char *p = *choices, *eq = strchr(p, '='), *end = strchr(p, '|');
    if (!end) end = p + strlen(p);
    if (!eq || eq > end || eq == p) return false;
    uint64_t decimals;
    if (str_u64((struct mintd_str){ eq + 1, (size_t)(end - eq - 1) }, &decimals) || decimals > DECIMALS_MAX) return false;
    *name = (struct mintd_str){ p, (size_t)(eq - p) };
    for (*factor = 1; decimals; decimals--) *factor *= 10;
    *choices = *end ? end + 1 : end;
    return true;
}

int conf_parse_amount(struct mintd_str s, const char *choices, int64_t *ret)
{
    struct mintd_str whole, fraction, unit, name;
    int64_t factor;
    int r = split(s, &whole, &fraction, &unit);
    if (r) return r;
    if (!unit.n && (!choices || (s.n == 1 && s.p[0] == '0'))) return scale(whole, fraction, 1, ret);
    while (choices && *choices && next_unit(&choices, &name, &factor))
        if (str_eq(unit, name)) return scale(whole, fraction, factor, ret);
    return -EINVAL;
}

int conf_parse_rate(struct mintd_str s, struct conf_rate *ret)
{
    enum { MOST = 1000000000, SECOND = 1000, DAY = 86400 * SECOND };
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    uint64_t n = 0;
    int64_t ms = 0;
    if (str_eq(s, S("none"))) return *ret = (struct conf_rate){ 0, 0 }, 0;
    if (!slash || str_u64((struct mintd_str){ s.p, (size_t)(slash - s.p) }, &n) || !n || n > MOST) return -EINVAL;
    if (conf_parse_duration((struct mintd_str){ slash + 1, s.n - (size_t)(slash + 1 - s.p) }, &ms) || ms < SECOND || ms > DAY) return -EINVAL;
    *ret = (struct conf_rate){ (uint32_t)n, ms };
    return 0;
}

const char *unit_first(const char *choices, char *buf, size_t n)
{
    struct mintd_str name = { NULL, 0 };
    int64_t factor;
    if (!choices || !next_unit(&choices, &name, &factor)) return "";
    snprintf(buf, n, STR_FMT, STR_ARG(name));
    return buf;
}

/* In the largest unit that divides it */
static void print(struct buf *b, const struct unit *units, size_t n, const char *space, int64_t v)
{
    for (size_t i = 0; v && i < n; i++) {
        if (v % units[i].factor) continue;
        buf_printf(b, "%lld%s%s", (long long)(v / units[i].factor), space, units[i].name);
        return;
    }
    buf_puts(b, "0");
}

void unit_print_duration(struct buf *b, int64_t ms) { print(b, durations, ARRAY_LEN(durations), "", ms); }

void unit_print_size(struct buf *b, int64_t bytes) { print(b, sizes, ARRAY_LEN(sizes), " ", bytes); }
