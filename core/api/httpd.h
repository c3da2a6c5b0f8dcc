/* The HTTP server behind a narrow wall: everything that knows the library (libmicrohttpd, external epoll on the loop) is in
 * httpd.c, so that it can be swapped. One struct httpd per listener. Owns sockets, connections, parsing, framing, timeouts and
 * the guard against ambiguous framing; knows no route and no format. Loop thread. */
#ifndef API_HTTPD_H
#define API_HTTPD_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "base/net.h"
#include "base/str.h"

enum { HTTPD_HEADER_MAX = 16 * 1024, HTTPD_HEADERS_MAX = 100, HTTPD_DISCARD_MAX = 64 * 1024 };

struct httpd;
struct http_req {                              /* one request, from its last header byte to `gone` */
    const char *method, *path;                 /* path as sent, still percent-encoded, without query */
    const char *bad;                           /* the guard's objection (400, then the connection closes); NULL: none */
    unsigned bad_status;
    uint64_t length;                           /* Content-Length; 0 if none */
    bool     chunked, expects;                 /* transfer coding; Expect: 100-continue */
    char     peer[NET_TEXT];                   /* address without port, or "unix" */
    struct ip ip;                              /* the same address */
    bool     local;                            /* over the Unix socket */
    void    *user;                             /* the handler's */
};
struct httpd_fns {
    void   (*begin)(void *arg, struct http_req *);                         /* headers are there */
    size_t (*data)(void *arg, struct http_req *, const char *p, size_t n); /* body bytes taken; fewer: pause */
    void   (*end)(void *arg, struct http_req *);                           /* the body is whole (or there is none) */
    void   (*gone)(void *arg, struct http_req *, bool sent);               /* last call; sent: the answer went out whole */
    void   (*more)(void *arg, struct http_req *);                          /* of an answer in pieces: the client can take more */
};
struct httpd_limits {
    uint32_t connections, per_ip;
    int64_t  header_ms, idle_ms;
    uint64_t discard;                          /* body bytes read on after an early answer before the connection is cut */
};
struct http_header { const char *name, *value; };

/* Makes and binds the socket; port 0 picks one. unix_path NULL: TCP. 0, -errno with one line in err. */
int  httpd_bind(struct loop *, const char *address, uint16_t port, const char *unix_path, const struct httpd_limits *,
                const struct httpd_fns *, void *arg, struct buf *err, struct httpd **ret);
int  httpd_open(struct httpd *, struct buf *err);           /* listens and serves */
void httpd_limit(struct httpd *, const struct httpd_limits *);             /* from now on */
void httpd_close(struct httpd *);                           /* takes no new connections */
struct httpd *httpd_free(struct httpd *);                   /* ends everything, `gone` is called for each request; NULL ok */
const char *httpd_version(void);               /* of the library */
uint16_t httpd_port(const struct httpd *);
uint32_t httpd_connections(const struct httpd *);
/* first value or NULL; count (NULL ok): how often the header is there */
const char *http_header(const struct http_req *, const char *name, unsigned *ret_count);
const char *http_header_at(const struct http_req *, const char *name, unsigned place);     /* its value number `place`; NULL: no more */
const char *http_query(const struct http_req *, const char *name);         /* as sent; NULL: not there */
/* Each query parameter, as sent, until fn returns false. */
void http_each_query(const struct http_req *, bool (*fn)(void *arg, struct mintd_str name, struct mintd_str value), void *arg);
/* Once per request, at any time between begin and gone. body is taken. What is left of the request body is read and dropped,
 * or the connection closes behind the answer. headers end with a NULL name. */
void http_answer(struct http_req *, unsigned status, struct buf *body, const struct http_header *headers, bool close);
/* ---- an answer in pieces, of a length nobody knows: instead of http_answer. What is pushed waits in memory until the client takes it,
 * so who pushes looks at http_queued, or pushes one piece each time it is asked for `more`: once whenever nothing waits. A piece may
 * also come later, and is then sent at once. listens: the client is there to listen, so one that ends its side has left; one that
 * vanishes is noticed by what is pushed to it. */
void http_begin(struct http_req *, unsigned status, const struct http_header *headers, bool listens);
void http_push(struct http_req *, const void *p, size_t n);
size_t http_queued(const struct http_req *);                /* bytes pushed and not yet taken */
void http_finish(struct http_req *, bool whole);            /* whole: after what waits; else the connection is cut, so that it shows */
void http_pause(struct http_req *);                         /* inside data: no more data until http_resume */
void http_resume(struct http_req *);
#endif
