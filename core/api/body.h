/* Reads the body of a batch request as it arrives: {"venueId": ..., "tickets": [{...}, ...]}, or tickets as lines or rows. Holds at most
 * one ticket; hands each out as soon as its last byte is there. Pure: no I/O, no clock. Loop thread.
 *
 * Members may come in any order, but what is known only behind the tickets cannot steer them: then the reader stops with
 * `order`; a caller that still has the bytes reads them with BODY_HEAD first and again with the head given. */
#ifndef API_BODY_H
#define API_BODY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"
#include "pipe/pipe.h"

enum { BODY_NAME_MAX = 128, BODY_ID_MAX = 256 };            /* bytes: venueId, pipeline, collection; id, eventId, userId, recipient */

struct body_head { struct mintd_str venue, pipeline, collection; };
enum { BODY_GO = 0, BODY_PAUSE = 1, BODY_STOP = 2 };        /* PAUSE: taken, feed no more for now; STOP: never again */
struct body_fns {
    int (*head)(void *arg, const struct body_head *);                      /* once, before the first ticket */
    int (*ticket)(void *arg, const struct pipe_ticket *);
};
struct body_limits { size_t max_ticket; uint64_t max_tickets; };
struct body_error {
    unsigned status;                           /* 0: none */
    bool order;                                /* a member that steers the tickets stands behind them */
    const char *code;
    char pointer[640], detail[256];
};

/* JSON: an object with its members, or an array of tickets; LINES: one ticket as JSON on each line; CSV: a header line, then one ticket
 * each; ONE: the members of one ticket, whose venue and id the address says. */
enum body_format { BODY_JSON, BODY_LINES, BODY_CSV, BODY_ONE };

struct body;
/* fns NULL: BODY_HEAD, only the head is read and the tickets are skipped unjudged. head: known from an earlier reading. */
struct body *body_new(const struct body_limits *, const struct body_fns *, void *arg, const struct body_head *head);
/* Before the first byte: another format, and what the query says of the head; it must outlive the reader. */
void body_as(struct body *, enum body_format, const struct body_head *query);
struct body *body_free(struct body *);                      /* NULL ok; returns NULL */
size_t body_feed(struct body *, const char *p, size_t n);   /* bytes taken: less than n after PAUSE, STOP or an error */
int    body_end(struct body *);                             /* 0: whole and well-formed; -EBADMSG: see body_error */
const struct body_error *body_error(const struct body *);
const struct body_head *body_head(const struct body *);
uint64_t body_tickets(const struct body *);
uint64_t body_line(const struct body *, uint64_t place);    /* of the ticket at that place, from 1; 0: this format has none, or it is not known */
#endif
