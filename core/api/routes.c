/* The route table: one line per route, read by the dispatcher, by 404 and 405 and by the tests. Loop thread. */
#include "api/batch.h"

enum { OPEN = ROUTE_OPEN | ROUTE_QUIET };
const struct route api_routes[] = {
    { "GET",  "/livez",                    "livez",         OPEN | ROUTE_TEXT, health_live, NULL, NULL, NULL, NULL },
    { "GET",  "/readyz",                   "readyz",        OPEN | ROUTE_TEXT, health_ready, NULL, NULL, NULL, NULL },
    { "GET",  "/metrics",                  "metrics",       ROUTE_TEXT | ROUTE_QUIET, health_metrics, NULL, NULL, NULL, NULL },
    { "POST", "/admin/batch-mint",         "batch_mint",    ROUTE_BODY, batch_post, batch_data, batch_end, batch_gone, batch_drain },
    { "GET",  "/admin/mints/{}",           "mint",          0, ticket_by_id, NULL, NULL, NULL, NULL },
    { "POST", "/v1/batches",               "batch_create",  ROUTE_BODY, batch_post, batch_data, batch_end, batch_gone, batch_drain },
    { "GET",  "/v1/batches",               "batches",       0, batch_list, NULL, NULL, NULL, NULL },
    { "GET",  "/v1/batches/{}",            "batch",         0, batch_get, NULL, NULL, NULL, NULL },
    { "GET",  "/v1/batches/{}/tickets",    "batch_tickets", 0, batch_tickets, NULL, NULL, NULL, NULL },
    { "POST", "/v1/batches/{}/cancel",     "batch_cancel",  0, batch_cancel, NULL, NULL, NULL, NULL },
    { "POST", "/v1/batches/{}/retry",      "batch_retry",   0, batch_retry, NULL, NULL, NULL, NULL },
    { "GET",  "/v1/venues/{}/tickets/{}",  "ticket",        0, ticket_by_venue, NULL, NULL, NULL, NULL },
};
const size_t api_n_routes = ARRAY_LEN(api_routes);
