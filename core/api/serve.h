/* Between api.c (life of the API) and call.c (life of a call). Loop thread. */
#ifndef API_SERVE_H
#define API_SERVE_H
#include "api/call.h"
extern const struct httpd_fns serve_fns;       /* arg: struct api */
void serve_call_ended(struct api *);           /* a call was freed: a drain or a free may be waiting */
#endif
