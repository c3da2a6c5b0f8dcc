/* IP addresses and networks (CIDR). An IPv4 address is held in its mapped form (::ffff:a.b.c.d), so that the two ways to write one
 * are the same; a network of one family never holds an address of the other. Pure; any thread. */
#ifndef BASE_NET_H
#define BASE_NET_H
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

enum { NET_TEXT = 56 };                        /* room for one in text */
struct ip { uint8_t b[16]; };
struct net { struct ip ip; uint8_t bits; };    /* bits of the mapped form: 104 for 10.0.0.0/8 */
int  ip_parse(struct mintd_str, struct ip *ret);                          /* 0, -EINVAL */
bool ip_is_v4(const struct ip *);
void ip_print(const struct ip *, char ret[NET_TEXT]);
/* "10.0.0.0/8", "fd00::/8" or a single address. 0, -EINVAL; *ret_why: static text */
int  net_parse(struct mintd_str, struct net *ret, const char **ret_why);
bool net_has(const struct net *, const struct ip *);
bool net_any(const struct net *, uint32_t n, const struct ip *);           /* is it in one of these? */
#endif
