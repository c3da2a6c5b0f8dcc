/* Cursors of lists: the store's own text, sealed with the list and the filters it belongs to, so that one that was changed, or that is
 * of another list, is refused instead of answering another question. The key comes from the store's identity: cursors outlive the
 * process and mean the same to all that share a store. Loop thread. */
#ifndef API_CURSOR_H
#define API_CURSOR_H
#include "api/call.h"

/* of: what it is bound to, beside the filters that the request names */
int  cursor_open(struct call *, struct mintd_str of, struct buf *ret);         /* ?cursor=; 0, -EINVAL: answered */
void cursor_seal(struct call *, struct mintd_str of, struct mintd_str cursor, struct buf *ret);    /* as a JSON string */
#endif
