/* Base58: long division in base 2^8 and 58. Owns nothing, calls nothing. Quadratic, so both ends are bounded. */
#include "base58.h"

#include <string.h>

static const char digits58[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

size_t base58_encode(const uint8_t *p, size_t n, char *ret, size_t cap)
{
    uint8_t num[BASE58_TEXT_MAX] = { 0 };                  /* least digit first */
    size_t used = 0, zeros = 0;
    if (n > BASE58_BYTES_MAX) return 0;
    while (zeros < n && !p[zeros]) zeros++;
    for (size_t i = zeros; i < n; i++) {
        uint32_t carry = p[i];
        for (size_t k = 0; k < used; k++) {
            carry += (uint32_t)num[k] << 8;
            num[k] = (uint8_t)(carry % 58);
            carry /= 58;
        }
        for (; carry; carry /= 58) num[used++] = (uint8_t)(carry % 58);
    }
    if (zeros + used + 1 > cap) return 0;
    memset(ret, digits58[0], zeros);
    for (size_t k = 0; k < used; k++) ret[zeros + k] = digits58[num[used - 1 - k]];
    ret[zeros + used] = '\0';
    return zeros + used;
}

int base58_decode(const char *p, size_t digits, uint8_t *ret, size_t n)
{
    uint8_t num[BASE58_BYTES_MAX] = { 0 };                 /* least byte first */
    size_t used = 0, zeros = 0;
    if (n > BASE58_BYTES_MAX || digits > BASE58_TEXT_MAX) return -1;
    while (zeros < digits && p[zeros] == digits58[0]) zeros++;
    for (size_t i = zeros; i < digits; i++) {
        const char *at = p[i] ? strchr(digits58, p[i]) : NULL;
        if (!at) return -1;
        uint32_t carry = (uint32_t)(at - digits58);
        for (size_t k = 0; k < used; k++) {
            carry += 58u * num[k];
            num[k] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry && used == n) return -1;
        if (carry) num[used++] = (uint8_t)carry;
    }
    if (zeros + used != n) return -1;
    memset(ret, 0, zeros);
    for (size_t k = 0; k < used; k++) ret[zeros + k] = num[used - 1 - k];
    return 0;
}
