/* The checks of who asks: see access.h. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include "api/call.h"

enum { ADDRESSES_MAX = 16384, V6_SITE = 8 };                            /* bytes: one IPv6 caller owns at least a /64 */

/* ---- the buckets */

void access_init(struct access *a, struct loop *loop)
{
    for (unsigned i = SCOPE_READ; i < SCOPES; i++) {
        rate_init(&a->key[i], loop, KEYS_MAX + 1);         /* and the admin key */
        rate_init(&a->address[i], loop, ADDRESSES_MAX);
    }
    rate_init(&a->wrong, loop, ADDRESSES_MAX);
}

void access_limit(struct access *a, const struct conf_api *conf)
{
    const struct conf_rate limits[SCOPES] = { [SCOPE_READ] = conf->rate_read, [SCOPE_MINT] = conf->rate_mint, [SCOPE_ADMIN] = conf->rate_admin };
    for (unsigned i = SCOPE_READ; i < SCOPES; i++) {
        rate_limit(&a->key[i], limits[i]);
        rate_limit(&a->address[i], limits[i]);
    }
    rate_limit(&a->wrong, conf->rate_wrong);
}

void access_free(struct access *a)
{
    for (unsigned i = SCOPE_READ; i < SCOPES; i++) {
        rate_free(&a->key[i]);
        rate_free(&a->address[i]);
    }
    rate_free(&a->wrong);
}

/* ---- refusals */

/* The seed's admin routes answer exactly this; everything else gets a problem document. */
static bool unauthorized(struct call *c, const char *why)
{
    static const struct http_header bearer[] = { { "WWW-Authenticate", "Bearer" }, { NULL, NULL } };
    struct mintd_str path = str_of(c->http->path);
    struct buf b = { 0 };
    if (!str_starts(path, S("/admin")) && !str_starts(path, S("/api/v1"))) {
        call_problem(c, &(struct problem){ .status = 401, .code = "auth.key", .headers = bearer }, "%s", why);
        return false;
    }
    buf_puts(&b, "{\"error\":\"Unauthorized\"}");
    call_json(c, 401, &b, bearer);
    return false;
}

static bool too_many(struct call *c, const struct rate *r, const struct rate_state *s, const char *what, const char *option)
{
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%" PRIu64, s->retry_s);
    const struct http_header later[] = { { "Retry-After", seconds }, { NULL, NULL } };
    call_problem(c, &(struct problem){ .status = 429, .code = "server.rate", .headers = later },
                 "more than %" PRIu32 " %s in %" PRId64 " s (%s): ask again in %s s", r->limit.n, what, r->limit.ms / 1000, option, seconds);
    return false;
}

/* ---- address */

static const char *forwarded(const void *arg, unsigned i) { return http_header_at(arg, "x-forwarded-for", i); }

static bool from_allowed(struct call *c)
{
    const struct conf_api *conf = &c->api->conf->api;
    struct nets proxies = { conf->proxies, conf->n_proxies }, allow = { conf->allow, conf->n_allow };
    char text[NET_TEXT];
    struct ip client;
    if (c->http->local) return true;
    if (allow_client(proxies, &c->http->ip, forwarded, c->http, &client)) {
        call_problem(c, &(struct problem){ .status = 403, .code = "auth.address" },
                     "the proxy %s says in X-Forwarded-For what is no address", c->http->peer);
        return false;
    }
    c->ip = client;
    if (allow_has(allow, &c->ip)) return true;
    ip_print(&c->ip, text);
    call_problem(c, &(struct problem){ .status = 403, .code = "auth.address" }, "address %s is not in api.allow", text);
    return false;
}

static struct mintd_str address_name(const struct call *c)
{
    return (struct mintd_str){ (const char *)c->ip.b, ip_is_v4(&c->ip) ? sizeof c->ip.b : V6_SITE };
}

/* ---- rate */

static const char *const rate_options[SCOPES] = { "", "api.rate_read", "api.rate_mint", "api.rate_admin" };

static bool within(struct call *c, struct rate *r, struct mintd_str name, enum scope class)
{
    static const char *const what[SCOPES] = { "", "reading requests", "minting requests", "administering requests" };
    struct rate_state s = rate_take(r, name, false);
    c->rate_limit = r->limit.n;
    c->rate = s;
    return s.ok || too_many(c, r, &s, what[class], rate_options[class]);
}

static bool within_rate(struct call *c, bool has_key)
{
    enum scope class = c->route ? c->route->scope : SCOPE_READ;
    struct access *a = &c->api->access;
    if (has_key) return within(c, &a->key[class], (struct mintd_str){ (const char *)&c->who.key, sizeof c->who.key }, class);
    return within(c, &a->address[class], address_name(c), class);
}

/* ---- key */

/* Once an address has shown too many wrong keys none of its keys is looked at, or the limit would be no limit for guessing. */
static bool may_try(struct call *c)
{
    struct rate *wrong = &c->api->access.wrong;
    struct rate_state s = rate_take(wrong, address_name(c), true);
    return s.ok || too_many(c, wrong, &s, "keys that are not valid", "api.rate_wrong");
}

static bool wrong(struct call *c)
{
    rate_take(&c->api->access.wrong, address_name(c), false);
    return unauthorized(c, "the key is not valid: it is unknown, has expired or was revoked");
}

/* It may be the right one, so it is not called wrong; but it is counted, or an outage would be the time to guess the admin key. */
static bool unreadable(struct call *c)
{
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    rate_take(&c->api->access.wrong, address_name(c), false);
    call_problem(c, &(struct problem){ .status = 503, .code = "auth.unavailable", .headers = later },
                 "the stored keys cannot be read now: only the admin key is known");
    return false;
}

static bool is_admin(struct call *c, const char *name)
{
    c->who = (struct who){ .scope = SCOPE_ADMIN, .name = str_of(name) };
    return true;
}

static bool take_key(struct call *c, struct key *k)
{
    if (k->n_nets && !net_any(k->nets, k->n_nets, &c->ip)) {
        char text[NET_TEXT];
        ip_print(&c->ip, text);
        call_problem(c, &(struct problem){ .status = 403, .code = "auth.address" }, "this key is not valid from address %s", text);
        return false;
    }
    c->who = (struct who){ k->scope, k->id, k->venue, arena_str(c->mem, k->name), arena_str(c->mem, k->venue_name) };
    if (!c->who.name.p || (k->venue && !c->who.venue_name.p)) return call_memory(c), false;
    keys_used(c->api->keys, k);
    return within_rate(c, true);
}

static bool has_valid_key(struct call *c, struct mintd_str shown)
{
    uint8_t hash[32];
    struct key *k = NULL;
    if (!may_try(c)) return false;
    if (auth_is_admin(&c->api->auth, shown)) return is_admin(c, "(admin key)") && within_rate(c, true);
    if (!auth_may_be_stored(shown)) return wrong(c);
    auth_hash(&c->api->auth, shown, hash);
    enum keys_found found = keys_find(c->api->keys, hash, &k);
    if (found == KEYS_FOUND) return take_key(c, k);
    return found == KEYS_NONE ? wrong(c) : unreadable(c);
}

bool access_ask(struct call *c)
{
    unsigned n_x = 0, n_authorization = 0;
    struct mintd_str shown;
    if (c->route && c->route->scope == SCOPE_OPEN) return true;
    if (!from_allowed(c)) return false;
    if (c->http->local) return is_admin(c, "(socket)");
    if (!c->api->auth.on) return is_admin(c, "(anyone)") && within_rate(c, false);
    const char *x = http_header(c->http, "x-admin-api-key", &n_x), *authorization = http_header(c->http, "authorization", &n_authorization);
    if (n_x + n_authorization > 1) {
        call_problem(c, &(struct problem){ .status = 400, .code = "auth.two_keys" },
                     "send the key once: either x-admin-api-key or Authorization: Bearer");
        return false;
    }
    shown = auth_shown(x, authorization);
    if (shown.n) return has_valid_key(c, shown);
    return within_rate(c, false) && unauthorized(c, "a key is needed: x-admin-api-key or Authorization: Bearer");
}

/* ---- the route */

static bool foreign(struct call *c)
{
    call_problem(c, &(struct problem){ .status = 403, .code = "auth.venue" }, "this key is for venue " STR_FMT " alone", STR_ARG(c->who.venue_name));
    return false;
}

/* A route that does not say how it keeps to one venue is closed to keys that are bound to one. */
static bool keeps_to_venue(struct call *c)
{
    if (!c->who.venue || c->route->scope == SCOPE_OPEN || c->route->flags & (ROUTE_VENUE | ROUTE_PLACE)) return true;
    call_problem(c, &(struct problem){ .status = 403, .code = "auth.venue" },
                 "this key is for venue " STR_FMT " alone, and this route is about all of them", STR_ARG(c->who.venue_name));
    return false;
}

bool access_use(struct call *c)
{
    if (c->route->scope <= c->who.scope) return keeps_to_venue(c);
    call_problem(c, &(struct problem){ .status = 403, .code = "auth.scope" }, "this needs a key of scope %s, this one may only %s",
                 keys_scope_name(c->route->scope), keys_scope_name(c->who.scope));
    return false;
}

bool access_place(struct call *c) { return !(c->route->flags & ROUTE_PLACE) || call_venue_named(c, c->param[0]); }

uint64_t call_venue(const struct call *c) { return c->who.venue; }
bool call_venue_is(struct call *c, uint64_t venue) { return !c->who.venue || c->who.venue == venue || foreign(c); }
bool call_venue_named(struct call *c, struct mintd_str name) { return !c->who.venue || str_eq(c->who.venue_name, name) || foreign(c); }

/* Who listens has asked long ago, with a key that may be gone since. */
void access_cut(struct api *api)
{
    LIST_EACH(it, &api->calls) {
        struct call *c = LIST_OF(it, struct call, link);
        if (c->stream && c->who.key && call_open(c) && !keys_alive(api->keys, c->who.key)) call_finish(c, false);
    }
}
