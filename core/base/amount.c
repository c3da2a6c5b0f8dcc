/* Decimal text of integers: see amount.h. Owns nothing. */
#include <errno.h>
#include <inttypes.h>
#include "base/amount.h"

__extension__ typedef unsigned __int128 wide;

static uint64_t power_of_ten(uint32_t n)
{
    uint64_t v = 1;
    while (n--) v *= 10;
    return v;
}

void amount_put(struct buf *b, uint64_t amount, uint32_t decimals)
{
    uint32_t digits = decimals > AMOUNT_DIGITS ? AMOUNT_DIGITS : decimals;
    uint64_t unit = power_of_ten(digits), rest = amount % unit;
    buf_printf(b, "%" PRIu64, amount / unit);
    if (!rest) return;
    while (rest % 10 == 0) rest /= 10, digits--;
    buf_printf(b, ".%0*" PRIu64, (int)digits, rest);
}

/* One digit more: false when it does not fit any more. */
static bool push(uint64_t *v, unsigned digit) { return !__builtin_mul_overflow(*v, 10, v) && !__builtin_add_overflow(*v, digit, v); }

int amount_parse(struct mintd_str s, uint32_t decimals, uint64_t *ret)
{
    uint64_t v = 0;
    uint32_t left = decimals;
    bool point = false, finer = false;
    if (!s.n || s.p[0] == '.' || s.p[s.n - 1] == '.') return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' && !point) { point = true; continue; }
        if (s.p[i] < '0' || s.p[i] > '9') return -EINVAL;
        if (point && !left) { finer = finer || s.p[i] != '0'; continue; }
        if (point) left--;
        if (!push(&v, (unsigned)(s.p[i] - '0'))) return -ERANGE;
    }
    while (left--)
        if (!push(&v, 0)) return -ERANGE;
    if (finer && __builtin_add_overflow(v, 1, &v)) return -ERANGE;
    *ret = v;
    return 0;
}

void ratio_put(struct buf *b, uint64_t n, uint64_t d, uint32_t digits)
{
    uint64_t unit = power_of_ten(digits);
    wide v = d ? ((wide)n * unit * 2 + d) / ((wide)d * 2) : 0;
    uint64_t whole = (uint64_t)(v / unit), rest = (uint64_t)(v % unit);
    if (digits) buf_printf(b, "%" PRIu64 ".%0*" PRIu64, whole, (int)digits, rest);
    else buf_printf(b, "%" PRIu64, whole);
}
