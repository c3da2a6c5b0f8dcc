/* Records of RFC 4180 text that arrives in pieces: fields in quotes with doubled quotes and line breaks inside, CRLF or LF. Owns one
 * record, decoded. Pure; any thread. */
#ifndef API_CSV_H
#define API_CSV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

enum { CSV_COLUMNS = 256 };
struct csv {                                   /* zeroed = before the first byte; text.max: most bytes of a record */
    struct buf text;                           /* fields of the record, one behind the other */
    size_t ends[CSV_COLUMNS]; bool quoted[CSV_COLUMNS];
    uint32_t n;                                /* complete fields */
    int state;
    uint64_t line, began;                      /* lines ended; line the record begins on, from 1 */
    bool whole;                                /* a record is there; the next byte begins another */
    const char *code, *why;                    /* of an error: static slug and text */
};
/* Bytes taken, up to the end of a record (`whole`), of the piece, or to an error (`code`). Empty lines are no records. */
size_t csv_feed(struct csv *, const char *p, size_t n);
bool   csv_end(struct csv *);                  /* no more bytes: true when a last record without line break is whole now; see code */
struct mintd_str csv_field(const struct csv *, uint32_t i);
void   csv_free(struct csv *);
#endif
