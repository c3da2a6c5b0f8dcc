/* Texts of bytes: base32 without padding, base16, and the big-number bases 58 and 36. Pure. */
#include "ipfs.h"

const char base32_lower[] = "abcdefghijklmnopqrstuvwxyz234567", base32_upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const char base58_alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const char base36_alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";

static int digit(const char *alphabet, char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

/* ---- bases of whole bits */
size_t base32_encode(const uint8_t *p, size_t n, const char *alphabet, char *ret)
{
    uint32_t held = 0, bits = 0;
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        held = held << 8 | p[i];
        for (bits += 8; bits >= 5; bits -= 5) ret[out++] = alphabet[held >> (bits - 5) & 31];
    }
    if (bits) ret[out++] = alphabet[held << (5 - bits) & 31];
    return out;
}

static int bits_decode(struct mintd_str s, const char *alphabet, uint32_t width, uint8_t *ret, size_t max)
{
    uint32_t held = 0, bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int d = digit(alphabet, s.p[i]);
        if (d < 0) return -EINVAL;
        held = held << width | (uint32_t)d;
        bits += width;
        if (bits < 8) continue;
        if (n == max) return -EINVAL;
        bits -= 8;
        ret[n++] = (uint8_t)(held >> bits);
    }
    return bits >= width || held & ((1u << bits) - 1) ? -EINVAL : (int)n;      /* a digit too many, loose bits */
}

int base32_decode(struct mintd_str s, uint8_t *ret, size_t max) { return bits_decode(s, base32_lower, 5, ret, max); }
int base16_decode(struct mintd_str s, uint8_t *ret, size_t max) { return bits_decode(s, "0123456789abcdef", 4, ret, max); }

/* ---- bases of one big number; leading zero bytes are leading zero digits */
size_t radix_encode(const uint8_t *p, size_t n, const char *alphabet, char *ret)
{
    uint8_t digits[CID_BYTES * 2] = { 0 };
    uint32_t base = (uint32_t)strlen(alphabet);
    size_t used = 0, zeros = 0, out = 0;
    while (zeros < n && !p[zeros]) zeros++;
    for (size_t i = zeros; i < n; i++) {
        uint32_t carry = p[i];
        for (size_t k = 0; k < used || carry; k++) {
            carry += (uint32_t)digits[k] << 8;
            digits[k] = (uint8_t)(carry % base);
            carry /= base;
            if (k >= used) used = k + 1;
        }
    }
    while (zeros--) ret[out++] = alphabet[0];
    while (used--) ret[out++] = alphabet[digits[used]];
    return out;
}

int radix_decode(struct mintd_str s, const char *alphabet, uint8_t *ret, size_t max)
{
    uint8_t bytes[CID_BYTES] = { 0 };                      /* least significant first */
    uint32_t base = (uint32_t)strlen(alphabet);
    size_t used = 0, zeros = 0;
    while (zeros < s.n && s.p[zeros] == alphabet[0]) zeros++;
    for (size_t i = zeros; i < s.n; i++) {
        int d = digit(alphabet, s.p[i]);
        if (d < 0) return -EINVAL;
        uint32_t carry = (uint32_t)d;
        for (size_t k = 0; k < used || carry; k++) {
            if (k == sizeof bytes) return -EINVAL;
            carry += bytes[k] * base;
            bytes[k] = (uint8_t)carry;
            carry >>= 8;
            if (k >= used) used = k + 1;
        }
    }
    if (zeros + used > max) return -EINVAL;
    memset(ret, 0, zeros);
    for (size_t i = 0; i < used; i++) ret[zeros + i] = bytes[used - 1 - i];
    return (int)(zeros + used);
}
