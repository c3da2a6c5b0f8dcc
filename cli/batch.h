/* What the commands on batches share. */
#ifndef CLI_BATCH_H
#define CLI_BATCH_H
#include "http.h"

int  batch_check(struct cli *, const char *id);            /* 0 when it can be a batch's id */
void batch_card(struct cli *, struct json_object *batch);  /* to stdout */
int  batch_rc(struct json_object *batch);                  /* the exit code that its state means */
/* Follows it to its end and prints it. The exit code is the state's, or that of what came between. known: the daemon was there a
 * moment ago, so that one that cannot be reached now is waited for. */
int  batch_watch(struct cli *, const char *id, bool known);
#endif
