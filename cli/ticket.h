/* A ticket's document, for show and why. */
#ifndef CLI_TICKET_H
#define CLI_TICKET_H
#include "http.h"

int  ticket_get(struct cli *, struct reply *ret);          /* of arg[0] and --venue */
void ticket_card(struct cli *, struct json_object *);
#endif
