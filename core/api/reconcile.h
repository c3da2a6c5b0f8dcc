/* Routes of reconciliation. Loop thread. */
#ifndef API_RECONCILE_H
#define API_RECONCILE_H
#include "api/call.h"

void reconcile_by_path(struct call *);         /* POST /admin/reconcile/{venueId} */
void reconcile_by_body(struct call *);         /* POST /v1/reconciliations {"venueId"} */
void reconcile_gone(struct call *, bool sent);
void history_by_path(struct call *);           /* GET /admin/reconcile/{venueId}/history */
void history_by_query(struct call *);          /* GET /v1/reconciliations?venue= */
#endif
