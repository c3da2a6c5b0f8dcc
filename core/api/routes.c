/* The route table: one line per route, read by the dispatcher, by 404 and 405 and by the tests. The first
 * that fits is taken: a literal path stands before one with {}. Loop thread. */
#include "api/admin.h"
#include "api/batch.h"
#include "api/control.h"
#include "api/key.h"
#include "api/reconcile.h"

#define TICKET_FILTERS "venue event state from to chain collection limit cursor"
#define BATCH_FNS batch_post, batch_data, batch_end, batch_gone, batch_drain
#define PUT_FNS ticket_put, batch_data, batch_end, batch_gone, batch_drain
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"          /* most routes need but a start */
const struct route api_routes[] = {
    /* ---- health and description */
    { "GET",  "/livez",                    "livez",         SCOPE_OPEN,  ROUTE_TEXT | ROUTE_QUIET, NULL, health_live },
    { "GET",  "/readyz",                   "readyz",        SCOPE_OPEN,  ROUTE_TEXT | ROUTE_QUIET, "verbose", health_ready },
    { "GET",  "/healthz",                  "healthz",       SCOPE_OPEN,  ROUTE_TEXT | ROUTE_QUIET, "verbose", health_ready },
    { "GET",  "/metrics",                  "metrics",       SCOPE_READ,  ROUTE_TEXT | ROUTE_QUIET, NULL, health_metrics },
    { "GET",  "/openapi.json",             "openapi",       SCOPE_READ,  ROUTE_VENUE, NULL, openapi_get },

    /* ---- batches */
    { "POST", "/admin/batch-mint",         "batch_mint",    SCOPE_MINT,  ROUTE_BODY | ROUTE_VENUE, "venue pipeline collection dry_run", BATCH_FNS },
    { "POST", "/v1/batches",               "batch_create",  SCOPE_MINT,  ROUTE_BODY | ROUTE_VENUE, "venue pipeline collection dry_run", BATCH_FNS },
    { "GET",  "/v1/batches",               "batches",       SCOPE_READ,  ROUTE_LIST | ROUTE_ETAG | ROUTE_VENUE, "venue state from to limit cursor", batch_list },
    { "GET",  "/v1/batches/{}",            "batch",         SCOPE_READ,  ROUTE_ETAG | ROUTE_VENUE, "verbose", batch_get },
    { "GET",  "/v1/batches/{}/tickets",    "batch_tickets", SCOPE_READ,  ROUTE_LIST | ROUTE_ETAG | ROUTE_VENUE, "state limit cursor", batch_tickets },
    { "GET",  "/v1/batches/{}/events",     "batch_events",  SCOPE_READ,  ROUTE_LIST | ROUTE_EVENTS | ROUTE_VENUE, "limit cursor", batch_events },
    { "POST", "/v1/batches/{}/cancel",     "batch_cancel",  SCOPE_MINT,  ROUTE_VENUE, NULL, batch_cancel },
    { "POST", "/v1/batches/{}/retry",      "batch_retry",   SCOPE_MINT,  ROUTE_VENUE, NULL, batch_retry },

    /* ---- tickets */
    { "GET",  "/admin/mints",              "mints",         SCOPE_READ,  ROUTE_LIST | ROUTE_ETAG | ROUTE_VENUE, TICKET_FILTERS, mint_list },
    { "GET",  "/v1/tickets",               "tickets",       SCOPE_READ,  ROUTE_LIST | ROUTE_ETAG | ROUTE_VENUE, TICKET_FILTERS, ticket_list },
    { "GET",  "/admin/mints/{}",           "mint",          SCOPE_READ,  ROUTE_ETAG | ROUTE_VENUE, NULL, ticket_by_id },
    { "GET",  "/v1/tickets/{}",            "ticket_any",    SCOPE_READ,  ROUTE_ETAG | ROUTE_VENUE, NULL, ticket_by_id },
    { "PUT",  "/v1/venues/{}/tickets/{}",  "ticket_put",    SCOPE_MINT,  ROUTE_BODY | ROUTE_PLACE, "dry_run", PUT_FNS },
    { "GET",  "/v1/venues/{}/tickets/{}",  "ticket",        SCOPE_READ,  ROUTE_ETAG | ROUTE_PLACE, NULL, ticket_by_venue },

    /* ---- reconciliation */
    { "POST", "/admin/reconcile/{}",       "reconcile",     SCOPE_ADMIN, ROUTE_SMALL | ROUTE_PLACE, NULL, reconcile_by_path, NULL, NULL, reconcile_gone },
    { "GET",  "/admin/reconcile/{}/history", "reconcile_history", SCOPE_READ, ROUTE_PLACE, "limit cursor", history_by_path },
    { "POST", "/v1/reconciliations",       "reconciliation", SCOPE_ADMIN, ROUTE_SMALL | ROUTE_VENUE, NULL, reconcile_by_body, NULL, NULL, reconcile_gone },
    { "GET",  "/v1/reconciliations",       "reconciliations", SCOPE_READ, ROUTE_VENUE, "venue limit cursor", history_by_query },

    /* ---- collections */
    { "GET",  "/v1/collections",           "collections",   SCOPE_READ,  ROUTE_LIST | ROUTE_ETAG | ROUTE_VENUE, "venue state limit cursor", collection_list },
    { "POST", "/v1/collections",           "collection_create", SCOPE_MINT, ROUTE_SMALL | ROUTE_VENUE, NULL, collection_post },
    { "GET",  "/v1/collections/{}",        "collection",    SCOPE_READ,  ROUTE_ETAG | ROUTE_VENUE, NULL, collection_get },

    /* ---- events */
    { "GET",  "/v1/events",                "events",        SCOPE_READ,  ROUTE_LIST | ROUTE_EVENTS | ROUTE_VENUE, "venue kind limit cursor", event_list },

    /* ---- the daemon itself */
    { "GET",  "/v1/config",                "config",        SCOPE_ADMIN, 0, NULL, control_config },
    { "POST", "/v1/config/check",          "config_check",  SCOPE_ADMIN, ROUTE_SMALL, NULL, control_config_check },
    { "POST", "/v1/config/reload",         "config_reload", SCOPE_ADMIN, ROUTE_SMALL, NULL, control_config_reload },
    { "GET",  "/v1/log",                   "log",           SCOPE_READ,  0, NULL, control_log },
    { "PUT",  "/v1/log",                   "log_set",       SCOPE_ADMIN, ROUTE_SMALL, NULL, control_log_set },
    { "GET",  "/v1/plugins",               "plugins",       SCOPE_READ,  0, NULL, control_plugins },
    { "GET",  "/v1/plugins/{}",            "plugin",        SCOPE_READ,  0, NULL, control_plugin },
    { "GET",  "/v1/database",              "database",      SCOPE_READ,  0, NULL, control_database },
    { "POST", "/v1/database/backup",       "backup",        SCOPE_ADMIN, ROUTE_SMALL, NULL, control_backup },
    { "GET",  "/v1/doctor",                "doctor",        SCOPE_ADMIN, 0, NULL, doctor, NULL, NULL, doctor_gone },

    /* ---- keys */
    { "GET",  "/v1/keys",                  "keys",          SCOPE_ADMIN, ROUTE_LIST, "limit cursor", key_list },
    { "POST", "/v1/keys",                  "key_create",    SCOPE_ADMIN, ROUTE_SMALL, NULL, key_create },
    { "DELETE", "/v1/keys/{}",             "key_revoke",    SCOPE_ADMIN, 0, NULL, key_revoke },

    /* ---- a collection with its items */
    { "POST", "/api/v1/sag",               "sag",           SCOPE_MINT,  ROUTE_SMALL | ROUTE_VENUE, NULL, sag_post, NULL, NULL, sag_gone, sag_drain },

    /* ---- figures */
    { "GET",  "/admin/dashboard",          "dashboard",     SCOPE_READ,  ROUTE_ETAG | ROUTE_VENUE, NULL, dashboard_get },
    { "GET",  "/admin/stats/{}",           "venue_stats",   SCOPE_READ,  ROUTE_PLACE, NULL, venue_stats },
    { "GET",  "/v1/venues",                "venues",        SCOPE_READ,  ROUTE_LIST | ROUTE_ETAG | ROUTE_VENUE, "limit cursor", venue_list },
    { "GET",  "/v1/venues/{}/stats",       "venue_figures", SCOPE_READ,  ROUTE_PLACE, NULL, venue_stats },
    { "GET",  "/admin/system/status",      "system_status", SCOPE_READ,  0, NULL, status_get, NULL, NULL, gather_gone },
    { "GET",  "/v1/status",                "status",        SCOPE_READ,  0, NULL, status_get, NULL, NULL, gather_gone },
    { "GET",  "/v1/wallets",               "wallets",       SCOPE_READ,  0, NULL, wallet_list },
    { "GET",  "/admin/batch-mint/estimate", "batch_estimate", SCOPE_READ, ROUTE_VENUE, "count pipeline venue collection", estimate_get },
    { "GET",  "/v1/estimate",              "estimate",      SCOPE_READ,  ROUTE_VENUE, "count pipeline venue collection", estimate_get },

    /* ---- cache */
    { "GET",    "/admin/cache/stats",      "cache_stats",   SCOPE_READ,  0, NULL, cache_stats, NULL, NULL, gather_gone },
    { "GET",    "/v1/cache",               "cache",         SCOPE_READ,  0, NULL, cache_stats, NULL, NULL, gather_gone },
    { "DELETE", "/admin/cache/clear",      "cache_clear",   SCOPE_ADMIN, 0, NULL, cache_clear, NULL, NULL, gather_gone },
    { "DELETE", "/v1/cache",               "cache_empty",   SCOPE_ADMIN, 0, NULL, cache_clear, NULL, NULL, gather_gone },
    { "DELETE", "/admin/cache/{}",         "cache_remove",  SCOPE_ADMIN, ROUTE_VENUE, NULL, cache_forget, NULL, NULL, gather_gone },
    { "DELETE", "/v1/cache/{}",            "cache_forget",  SCOPE_ADMIN, ROUTE_VENUE, NULL, cache_forget, NULL, NULL, gather_gone },
};
const size_t api_n_routes = ARRAY_LEN(api_routes);
