/* Whose address counts, and may it ask? A proxy that is trusted (api.proxies) says in X-Forwarded-For who asked it; nobody else is
 * believed. Owns nothing. Calls base/net.h. Pure; loop thread. */
#ifndef API_ALLOW_H
#define API_ALLOW_H
#include "base/net.h"

struct nets { const struct net *list; uint32_t n; };
/* Value `i` of X-Forwarded-For, in the order of the header lines; NULL: no more. */
typedef const char *allow_header_fn(const void *arg, unsigned i);
/* The right-most address that is no trusted proxy; the left-most if all are. A trusted proxy that says nothing speaks for itself.
 * 0; -EINVAL: what a trusted proxy wrote there is no address. */
int allow_client(struct nets proxies, const struct ip *peer, allow_header_fn *, const void *arg, struct ip *ret);
bool allow_has(struct nets allow, const struct ip *);       /* an empty list holds everyone */
#endif
