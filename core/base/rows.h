/* The row types of the plugin ABI and their deep copy. What a plugin hands to done is hostile until it went through here: rows
 * are read by their stride, written at this host's struct size, strings and nested vectors copied into the arena.
 * Any thread. */
#ifndef BASE_ROWS_H
#define BASE_ROWS_H
#include "base/arena.h"
#include "mintd/plugin.h"

struct row_type;
/* Row type of the result of op `op` (place in the ops table) of a plugin of `kind`; a store query's depends on its request.
 * NULL: this op answers no rows. start (62) answers mintd_field rows. */
const struct row_type *rows_of(uint32_t kind, uint32_t op, const struct mintd_req *);
/* 0; -EBADMSG: rows without memory, stride 0 or unaligned, string without memory, nested deeper than 3, more than 8 MiB in all;
 * -ENOMEM. from NULL or empty: no rows. */
int rows_copy_res(struct arena *, const struct row_type *, const struct mintd_res *from, struct mintd_res *ret);
/* A copy of an outcome; NULL reads as OK. An unknown class stays as it is. NULL: no memory; its strings are dropped on no memory and cut at 1,024 bytes. */
const struct mintd_outcome *rows_copy_outcome(struct arena *, const struct mintd_outcome *from);
#endif
