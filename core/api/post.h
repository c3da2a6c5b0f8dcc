/* One request for tickets while it is read, taken in and answered: shared by post.c (what is asked, the intake's verdicts), post_body.c
 * (bytes to tickets) and put.c (a single ticket). Loop thread. */
#ifndef API_POST_H
#define API_POST_H
#include <openssl/evp.h>
#include "api/batch.h"
#include "api/body.h"
#include "api/gunzip.h"

enum { TURN_BYTES = 64 * 1024, UNPACK_BYTES = 16 * 1024 };

struct post {
    struct body *body, *head;                  /* the reader; an earlier reading for the head alone */
    enum body_format format;
    struct body_head query;                    /* what the address says of venue, pipeline and collection */
    struct pipe_intake *intake;
    struct pipe_wait *wait;
    EVP_MD_CTX *sha;
    struct gunzip *gunzip;                     /* NULL: the body is not packed */
    char *unpacked; size_t unpacked_n, unpacked_at;        /* bytes not read yet */
    struct buf kept;                           /* the whole body while it may have to be read again */
    struct loop_timer *turn;
    size_t at;                                 /* of kept, in a second reading */
    uint64_t received, wait_ms, until_ms;      /* received: unpacked */
    struct batch_reply reply;
    uint32_t waited;                           /* batches of known tickets that were waited for */
    bool dry, streamed, again, paused, stopped, accepted, own_done, known;       /* known: nothing was new */
    struct mintd_str key;
    char preference[CALL_PREFERENCE];                       /* Preference-Applied; empty: none */
};

/* post_body.c */
bool post_open(struct call *);                 /* makes reader and hash; false: answered */
void post_close(struct post *);

/* post.c */
void post_verdict(void *arg, const struct pipe_result *);              /* arg: the call */

/* put.c: the same for a single ticket */
void put_settled(struct call *);               /* its batch is settled, or it was known */
void put_later(struct call *);                 /* it is not, and the time is over */
void put_conflict(struct call *, const struct pipe_result *);
#endif
