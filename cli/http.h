/* One HTTP exchange with the daemon and what to do with answers nobody wanted. Owns the libcurl handles. One thread. */
#ifndef CLI_HTTP_H
#define CLI_HTTP_H
#include "cli.h"

enum { REPLY_MAX = 32 * 1024 * 1024, TRIES = 5 };

struct source;
struct reply {
    long status;
    struct buf body;
    struct json_object *doc;                   /* of a JSON body */
    char type[96], etag[160], location[256], request_id[80];
    int64_t retry_after;                       /* seconds; -1: not given */
    bool replayed, reached;                    /* reached: a connection was there */
};
struct ask {
    const char *method, *path;                 /* path with its query, percent-encoded already; method NULL: GET */
    const char *json;                          /* a small body */
    struct source *file;                       /* a streamed one, with its media type and coding */
    const char *type, *coding, *key, *prefer, *etag, *last_event, *accept;
    size_t (*sink)(void *arg, const char *p, size_t n);    /* takes the body of a 2xx as it comes; fewer than n ends the exchange */
    void *arg;
    void (*sent)(void *arg, uint64_t n, uint64_t of);      /* progress of a streamed body */
    void *sent_arg;
    int64_t silence_ms;                        /* no byte for so long is a timeout; 0: 60 s */
};

int  link_open(struct cli *);                  /* 0 or an exit code */
void link_close(struct cli *);
const char *link_library(void);                            /* "libcurl 7.88.1, HTTP/1.1 alone", for doctor */
const char *link_name(const struct cli *);     /* the socket or the URL, for messages */

/* Answers of any status are 0; else an exit code with a line in why. Never retries. */
int  http_once(struct cli *, const struct ask *, struct reply *ret, struct buf *why);
/* Waits and asks again when the daemon says so (429, 503 with Retry-After), tells what is wrong; 0: a 2xx or 304. */
int  http_ask(struct cli *, const struct ask *, struct reply *ret);
int  http_get(struct cli *, const char *path, struct reply *ret);
int  http_send(struct cli *, const char *method, const char *path, const char *json, struct reply *ret);
void reply_free(struct reply *);
int  problem_tell(struct cli *, const struct reply *);     /* the exit code it means */
int  problem_rc(long status);
const char *problem_code(const struct reply *);

void url_seg(struct buf *, const char *);      /* percent-encoded, for a path segment or a value */
void url_query(struct buf *, const char *name, const char *value);         /* ?name=value or &name=value; skipped when value is NULL */
#endif
