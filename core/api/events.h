/* Events of the store as the API shows them: a page of rows with what they are about, and places in the streams of the slots. The rows of
 * a slot have dense numbers, so a place is a number per slot. Loop thread. */
#ifndef API_EVENTS_H
#define API_EVENTS_H
#include "api/call.h"

/* ---- places: what was seen of each slot, sorted by slot */
enum { PLACE_SLOTS = 64 };
struct place { uint32_t n; struct { uint32_t slot; uint64_t seq; } at[PLACE_SLOTS]; };
uint64_t place_get(const struct place *, uint32_t slot);   /* 0: nothing of it */
void place_set(struct place *, uint32_t slot, uint64_t seq);
bool place_equal(const struct place *, const struct place *);
void place_put(struct buf *, const struct place *);        /* "1.17-2.3"; "0" for the very beginning */
int  place_parse(struct mintd_str, struct place *ret);     /* 0, -EINVAL */

/* ---- a page */
struct event_page {
    const struct mintd_db_event *rows;
    uint32_t n;
    uint64_t *batch;                           /* of each row; 0: it is about no batch */
    struct mintd_str *venue;                   /* name, may be empty */
    struct mintd_str next;
    struct arena *mem;
};
typedef void events_fn(void *arg, struct event_page *);    /* takes the page; NULL: the store cannot be read now */
/* fn once, on a later turn; -ENOMEM: not at all. The query is copied. */
int  events_read(struct plug_inst *store, const struct mintd_query *, events_fn *fn, void *arg);
struct event_page *event_page_free(struct event_page *);   /* NULL ok */
void event_put(struct buf *, const struct event_page *, uint32_t i);           /* the JSON object, on one line */
void event_members(struct buf *, const struct event_page *, uint32_t i);       /* without its braces */
const char *event_subject(uint32_t subject_kind);
#endif
