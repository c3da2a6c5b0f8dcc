/* What a client would take, out of what is there (RFC 9110, 12.5). Pure; any thread. */
#ifndef API_ACCEPT_H
#define API_ACCEPT_H
#include <stdbool.h>
#include <stddef.h>

/* Place of the type the header likes best; of equals the first. Without a header: 0. -1: none of them. */
int  accept_type(const char *header, const char *const *types, size_t n);
bool accept_gzip(const char *header);                      /* of Accept-Encoding; false without one */
/* Is a weak comparison of If-None-Match with this tag true? tag: as it is sent, W/"..." */
bool accept_known(const char *header, const char *tag);
#endif
