/* Amounts and shares as decimal text, exact: integers in smallest units go in, no floating point is used. Pure. Any thread. */
#ifndef BASE_AMOUNT_H
#define BASE_AMOUNT_H
#include <stdint.h>
#include "base/str.h"

enum { AMOUNT_DIGITS = 18 };                   /* most decimals a coin may have here */
/* "1.2345" of 12345 with 4 decimals; no zeros at the end, no point without digits behind it. Also a JSON number. */
void amount_put(struct buf *, uint64_t amount, uint32_t decimals);
/* Digits, at most one point between digits. What is finer than the coin rounds up. 0, -EINVAL: no such text, -ERANGE: too large */
int  amount_parse(struct mintd_str, uint32_t decimals, uint64_t *ret);
/* n / d, halves up, with exactly `digits` (0 to 6) decimals; d 0 reads as 0 */
void ratio_put(struct buf *, uint64_t n, uint64_t d, uint32_t digits);
#endif
