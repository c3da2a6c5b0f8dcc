/* Prices before they are paid. */
#ifndef CLI_ESTIMATE_H
#define CLI_ESTIMATE_H
#include "cli.h"

/* "about 0.0042 SOL (0.63 USD), 12 s" of so many tickets; or, with an exit code, why it is not known. venue, pipeline: NULL ok. */
int  estimate_line(struct cli *, uint64_t tickets, const char *venue, const char *pipeline, struct buf *ret);
void estimate_dry_run(struct cli *, struct json_object *);
#endif
