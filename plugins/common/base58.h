/* Base58 with the Bitcoin alphabet, as Solana writes keys and signatures. Compiled into each plugin that needs it. Any thread. */
#ifndef PLUGINS_BASE58_H
#define PLUGINS_BASE58_H
#include <stddef.h>
#include <stdint.h>

enum { BASE58_BYTES_MAX = 128, BASE58_TEXT_MAX = 176 };    /* at most so many bytes in, so many digits out */
/* Writes the digits and a terminator; cap counts both. Returns the number of digits, 0: it does not fit, or n is too large. */
size_t base58_encode(const uint8_t *p, size_t n, char *ret, size_t cap);
/* Exactly n bytes, or -1: a foreign digit, or another number of bytes. *ret is untouched on failure. */
int    base58_decode(const char *p, size_t digits, uint8_t *ret, size_t n);
#endif
