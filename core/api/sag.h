/* One POST of a SAG: shared by sag.c (what is asked, taking it in, waiting) and sag_answer.c (the document). Loop thread. */
#ifndef API_SAG_H
#define API_SAG_H
#include "api/batch.h"

struct sag {
    struct mintd_str name, venue, pipeline, properties;    /* properties: the object as it was sent */
    struct buf data;                           /* what each item's ticketData begins with: "{" and members, a comma behind each */
    bool has_event, has_seat;                  /* the properties name eventName, seatNumber themselves */
    uint64_t share, added, wait_ms, until_ms;
    struct mintd_str key;
    char preference[CALL_PREFERENCE];
    struct pipe_intake *intake;
    struct pipe_wait *wait;
    struct loop_timer *turn;
    struct batch_reply reply;
    uint32_t waited;                           /* batches of known items that were waited for */
    bool paused, stopped, own_done;
};
enum { SAG_NAME_MAX = 100, SAG_ID = SAG_NAME_MAX + 32 };
struct mintd_str sag_ticket(const struct sag *, uint64_t place, char ret[SAG_ID]);         /* id of the item, from 1 */
/* All is settled: reads the items and answers. The document, or 202 when something is open after all. */
void sag_answer(struct call *);
#endif
