/* Prices before they are paid. */
#ifndef CLI_ESTIMATE_H
#define CLI_ESTIMATE_H
#include "cli.h"

struct estimate_of { uint64_t tickets; const char *venue, *pipeline, *collection; };     /* names may be NULL */
/* "1000 tickets: about 0.0042 SOL (0.63 USD), 12 s"; or, with an exit code, why it is not known. */
int  estimate_line(struct cli *, const struct estimate_of *, struct buf *ret);
#endif
