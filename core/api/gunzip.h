/* A gzip stream that arrives in pieces (RFC 1952, also several members one behind the other), unpacked into the caller's buffer: memory
 * is that of zlib's window, whatever it unpacks to. Pure; any thread. */
#ifndef API_GUNZIP_H
#define API_GUNZIP_H
#include <stdbool.h>
#include <stddef.h>

struct gunzip;
struct gunzip *gunzip_new(void);               /* NULL: no memory */
struct gunzip *gunzip_free(struct gunzip *);   /* NULL ok; returns NULL */
/* Unpacks some of p into out; *ret_used: bytes of p taken, *ret_n: bytes put into out. Call again until neither moves. 0; -EBADMSG: this
 * is no gzip or it is damaged; -ENOMEM */
int  gunzip_feed(struct gunzip *, const char *p, size_t n, char *out, size_t room, size_t *ret_used, size_t *ret_n);
bool gunzip_whole(const struct gunzip *);      /* what came so far ends behind a whole member */
#endif
