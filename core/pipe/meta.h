/* Metadata: an item's JSON made from the caller's ticket by the pipeline's template, and what is read back from stored JSON.
 * Pure. Loop thread. */
#ifndef PIPE_META_H
#define PIPE_META_H
#include "base/arena.h"
#include "pipe/pipe.h"
#include "pipe/template.h"

struct meta_error { struct mintd_str code, field; char msg[160]; };      /* field: of the template or of ticketData */
struct meta_ticket;                          /* ticketData, taken apart once */
int  meta_parse(const struct pipe_ticket *, struct mintd_str venue, struct meta_ticket **ret);
                                             /* the ticket must outlive it. 0, -EINVAL: not an object, -ENOMEM */
struct meta_ticket *meta_ticket_free(struct meta_ticket *);
/* template NULL: the built-in mapping. 0; -EINVAL with *err; -ENOMEM. The result is one JSON object with a string "name". */
int  meta_body(const struct template *, const struct meta_ticket *, struct buf *ret, struct meta_error *err);
int  meta_text(const struct template *, const struct meta_ticket *, struct buf *ret, struct meta_error *err);   /* collection names */
int  meta_extra(const struct meta_ticket *, struct buf *ret);            /* what is kept but not published; empty if nothing */
int  meta_name(struct mintd_str body, struct arena *, struct mintd_str *ret);    /* "name" of a stored body; 0, -EINVAL, -ENOMEM */
struct mintd_str meta_member(struct mintd_str json, const char *name, struct arena *);   /* a string member; absent: n 0 */
#endif
