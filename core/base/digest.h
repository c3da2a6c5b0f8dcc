/* SHA-256 over several strings. Any thread. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

enum { DIGEST_LEN = 32 };
/* lengths: each part is preceded by its length (8 bytes, little-endian), so that no two lists read the same. 0, -ENOMEM */
int digest_parts(const struct mintd_str *parts, size_t n, bool lengths, uint8_t ret[DIGEST_LEN]);
#endif
