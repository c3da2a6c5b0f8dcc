/* Making, listing and revoking keys. The text of a key is in the answer that makes it and nowhere else. Calls keys.h, and the store
 * through call.h. Loop thread. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include "api/fields.h"
#include "api/key.h"
#include "api/list.h"

enum { NAME_MAX_BYTES = 64, VENUE_MAX_BYTES = 128, CIDR_MAX_BYTES = NET_TEXT + 4 };

/* ---- a key as it is shown */

static void put_nets(struct buf *b, struct mintd_str cidr)
{
    struct net nets[KEY_NETS_MAX];
    const char *why;
    uint32_t n = 0;
    if (!cidr.n || keys_nets(cidr, nets, &n, &why)) return;
    buf_puts(b, ",\"cidr\":[");
    while (cidr.n) {
        const char *comma = memchr(cidr.p, ',', cidr.n);
        size_t len = comma ? (size_t)(comma - cidr.p) : cidr.n;
        buf_json(b, (struct mintd_str){ cidr.p, len });
        cidr.p += len;
        cidr.n -= len;
        while (cidr.n && (*cidr.p == ',' || *cidr.p == ' ')) cidr.p++, cidr.n--;
        if (cidr.n) buf_puts(b, ",");
    }
    buf_puts(b, "]");
}

static void put_members(struct buf *b, const struct mintd_db_key *k, struct mintd_str venue)
{
    buf_puts(b, "\"name\":");
    buf_json(b, k->name);
    json_str(b, "scope", k->scopes);
    json_str(b, "venue", venue);
    put_nets(b, k->cidr);
    json_time(b, "createdAt", k->created_at);
    json_time(b, "expiresAt", k->expires_at);
    json_time(b, "revokedAt", k->revoked_at);
    json_time(b, "lastUsedAt", k->used_at);
}

/* Without its end, so that more can follow. */
static void put_key(struct buf *b, const struct mintd_db_key *k, struct mintd_str venue)
{
    buf_puts(b, "{");
    put_members(b, k, venue);
}

/* ---- GET /v1/keys */

struct list_state { const struct mintd_res *keys, *venues; };

static struct mintd_str venue_of(const struct list_state *s, uint64_t id)
{
    for (uint32_t i = 0; s->venues && i < s->venues->rows.n; i++) {
        const struct mintd_db_venue *v = (const struct mintd_db_venue *)s->venues->rows.p + i;
        if (v->id == id) return v->name;
    }
    return (struct mintd_str){ NULL, 0 };
}

static void row(struct list_view *l, uint32_t i, struct rec *r)
{
    static const struct mintd_db_key none;
    const struct list_state *s = l->state;
    const struct mintd_db_key *k = i == UINT32_MAX ? &none : (const struct mintd_db_key *)s->keys->rows.p + i;
    struct mintd_str venue = k->venue ? venue_of(s, k->venue) : (struct mintd_str){ NULL, 0 };
    if (rec_json(r)) {
        put_members(r->b, k, venue);
        return;
    }
    rec_str(r, "name", k->name);
    rec_str(r, "scope", k->scopes);
    rec_str(r, "venue", venue);
    rec_str(r, "cidr", k->cidr);
    rec_time(r, "createdAt", k->created_at);
    rec_time(r, "expiresAt", k->expires_at);
    rec_time(r, "revokedAt", k->revoked_at);
    rec_time(r, "lastUsedAt", k->used_at);
}

static void on_list_venues(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct list_state *s = l->state;
    s->venues = res;
    list_took(l, s->keys->rows.n, s->keys->next);
}

static void on_list(struct call *c, const struct mintd_res *res)
{
    struct list_view *l = list_of(c);
    struct list_state *s = l->state;
    uint64_t *ids = arena_array(l->page, res->rows.n + 1, sizeof *ids);
    uint32_t n = 0;
    if (!ids) return call_memory(c);
    for (uint32_t i = 0; i < res->rows.n; i++) {
        const struct mintd_db_key *k = (const struct mintd_db_key *)res->rows.p + i;
        if (k->venue) ids[n++] = k->venue;
    }
    s->keys = res;
    if (n) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(ids, n), .max = n }, 0, on_list_venues);
    else on_list_venues(c, NULL);
}

static void load(struct list_view *l)
{
    call_query(l->c, &(struct mintd_query){ .kind = MINTD_DB_KEY, .max = l->room, .cursor = l->cursor }, 0, on_list);
}

void key_list(struct call *c)
{
    static const struct list_kind kind = { "keys", 100, 1000, load, NULL, row };
    struct list_state *s = arena_alloc(c->mem, sizeof *s);
    if (s) list_start(c, &kind, s);
    else call_memory(c);
}

/* ---- POST /v1/keys */

struct making {
    struct mintd_str name, scope, venue, cidr;
    struct mintd_vec nets;                     /* of struct mintd_str, as sent */
    struct mintd_db_key row;
    uint8_t hash[32];
    char text[AUTH_KEY + 1];
};

static void bad(struct call *c, const char *pointer, const char *code, const char *why)
{
    call_problem(c, &(struct problem){ .status = 422, .code = code, .pointer = pointer }, "%s", why);
}

static bool name_fits(struct call *c, struct mintd_str name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    for (size_t i = 0; i < name.n; i++)
        if (!name.p[i] || !strchr(allowed, name.p[i]))
            return bad(c, "/name", "field.characters", "only letters, digits, '.', '_' and '-' are allowed"), false;
    return true;
}

static bool scope_fits(struct call *c, struct mintd_str scope)
{
    enum scope any;
    if (!keys_scope(scope, &any)) return true;
    return bad(c, "/scope", "field.value", "must be read, mint or admin"), false;
}

/* The networks as the row has them. */
static bool nets_fit(struct call *c, struct making *m)
{
    const struct mintd_str *one = m->nets.p;
    struct buf b = { 0 };
    char pointer[32];
    const char *why;
    struct net net;
    for (uint32_t i = 0; i < m->nets.n; i++) {
        snprintf(pointer, sizeof pointer, "/cidr/%u", i);
        if (one[i].n > CIDR_MAX_BYTES || net_parse(one[i], &net, &why)) {
            buf_free(&b);
            return bad(c, pointer, "field.value", one[i].n > CIDR_MAX_BYTES ? "is no network" : why), false;
        }
        if (i) buf_puts(&b, ", ");
        buf_str(&b, one[i]);
    }
    m->cidr = arena_str(c->mem, buf_view(&b));
    bool lost = b.bad || (b.n && !m->cidr.p);
    buf_free(&b);
    if (lost) call_memory(c);
    return !lost;
}

static bool time_fits(struct call *c, int64_t expires_at)
{
    if (!expires_at || expires_at > loop_wall_us(c->api->loop) / 1000) return true;
    return bad(c, "/expiresAt", "field.range", "must be in the future"), false;
}

static bool has_room(struct call *c)
{
    if (keys_count(c->api->keys) < KEYS_MAX) return true;
    call_problem(c, &(struct problem){ .status = 409, .code = "key.limit" }, "there are %d keys already: revoke those that nobody needs", KEYS_MAX);
    return false;
}

static void created(struct call *c, struct making *m)
{
    struct buf b = { 0 };
    char location[NAME_MAX_BYTES + 16];
    snprintf(location, sizeof location, "/v1/keys/" STR_FMT, STR_ARG(m->name));
    put_key(&b, &m->row, m->venue);
    buf_printf(&b, ",\"key\":\"%s\"}\n", m->text);
    const struct http_header headers[] = { { "Location", location }, { NULL, NULL } };
    call_json(c, 201, &b, headers);
}

static void on_created(struct call *c, const struct mintd_applied *a)
{
    struct making *m = c->state;
    static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };
    if (a->verdict == MINTD_STALE || a->verdict == MINTD_DUPLICATE)
        call_problem(c, &(struct problem){ .status = 409, .code = "key.exists", .pointer = "/name" },
                     "there is or was a key of this name; names are not used again, so that a name in the log stays one key");
    else if (a->verdict > MINTD_REPEATED)
        call_problem(c, &(struct problem){ .status = 503, .code = "store.unavailable", .headers = later },
                     "the store did not take the key: nothing was changed");
    else {
        m->row.id = a->value;
        keys_add(c->api->keys, &m->row, m->venue);
        created(c, m);
    }
    sodium_memzero(m->text, sizeof m->text);
}

/* What the log of events keeps: who made or revoked what. */
static struct mintd_str event_body(struct call *c, struct arena *mem, const struct mintd_db_key *k, struct mintd_str venue)
{
    struct buf b = { 0 };
    put_key(&b, &(struct mintd_db_key){ .name = k->name, .scopes = k->scopes, .cidr = k->cidr, .expires_at = k->expires_at }, venue);
    json_str(&b, "by", c->who.name);
    json_str(&b, "request_id", str_of(c->id));
    buf_puts(&b, "}");
    struct mintd_str body = arena_str(mem, buf_view(&b));
    buf_free(&b);
    return body;
}

static void write_key(struct call *c)
{
    struct making *m = c->state;
    struct arena *mem = arena_new(0);
    struct mintd_db_key *row = mem ? arena_copy(mem, &m->row, sizeof m->row) : NULL;
    if (!row) {
        arena_free(mem);
        return call_memory(c);
    }
    row->name = arena_str(mem, m->row.name);
    row->hash = arena_str(mem, m->row.hash);
    row->scopes = arena_str(mem, m->row.scopes);
    row->cidr = arena_str(mem, m->row.cidr);
    struct pipe_row w = { .kind = MINTD_DB_KEY, .row = row, .size = sizeof *row, .event = "key.created", .venue = row->venue,
                          .body = event_body(c, mem, row, m->venue) };
    if (row->name.p && row->hash.p && row->scopes.p && w.body.p && (!m->row.cidr.n || row->cidr.p)) call_write(c, &w, mem, on_created);
    else arena_free(mem), call_memory(c);
}

static void on_venue(struct call *c, const struct mintd_applied *a)
{
    struct making *m = c->state;
    if (a->verdict > MINTD_REPEATED) return call_memory(c);
    m->row.venue = a->value;
    write_key(c);
}

/* A key may be bound to a venue before its first batch. */
static void write_venue(struct call *c)
{
    struct making *m = c->state;
    struct arena *mem = arena_new(0);
    struct mintd_db_venue *row = mem ? arena_alloc(mem, sizeof *row) : NULL;
    if (row) row->name = arena_str(mem, m->venue);
    if (row && row->name.p) call_write(c, &(struct pipe_row){ .kind = MINTD_DB_VENUE, .row = row, .size = sizeof *row }, mem, on_venue);
    else arena_free(mem), call_memory(c);
}

void key_create(struct call *c)
{
    struct making *m = arena_alloc(c->mem, sizeof *m);
    int64_t expires_at = 0;
    if (!m) return call_memory(c);
    c->state = m;
    const struct field fields[] = {
        { "name", FIELD_STR, true, NAME_MAX_BYTES, &m->name }, { "scope", FIELD_STR, true, 16, &m->scope },
        { "venue", FIELD_STR, false, VENUE_MAX_BYTES, &m->venue }, { "cidr", FIELD_STRINGS, false, KEY_NETS_MAX, &m->nets },
        { "expiresAt", FIELD_TIME, false, 0, &expires_at },
    };
    if (!call_fields(c, fields, ARRAY_LEN(fields)) || !name_fits(c, m->name) || !scope_fits(c, m->scope) || !nets_fit(c, m)
        || !time_fits(c, expires_at) || !has_room(c))
        return;
    auth_make_key(c->api->loop, m->text);
    auth_hash(&c->api->auth, str_of(m->text), m->hash);
    m->row = (struct mintd_db_key){ .name = m->name, .hash = { (const char *)m->hash, sizeof m->hash }, .scopes = m->scope, .cidr = m->cidr,
                                    .created_at = loop_wall_us(c->api->loop) / 1000, .expires_at = expires_at };
    if (m->venue.n) write_venue(c);
    else write_key(c);
}

/* ---- DELETE /v1/keys/{name} */

struct revoking { const struct mintd_db_key *key; struct mintd_str venue; int64_t at; };

static void revoked(struct call *c, const struct mintd_db_key *key, int64_t at)
{
    const struct revoking *r = c->state;
    struct mintd_db_key shown = *key;
    struct buf b = { 0 };
    shown.revoked_at = at;
    put_key(&b, &shown, r->venue);
    buf_puts(&b, "}\n");
    call_json(c, 200, &b, NULL);
}

static void on_revoked(struct call *c, const struct mintd_applied *a)
{
    const struct revoking *r = c->state;
    if (a->verdict > MINTD_REPEATED) return call_memory(c);
    keys_drop(c->api->keys, r->key->id);
    revoked(c, r->key, r->at);
}

static void write_revocation(struct call *c)
{
    struct revoking *r = c->state;
    struct arena *mem = arena_new(0);
    struct mintd_db_key *row = mem ? arena_alloc(mem, sizeof *row) : NULL;
    struct mintd_str body = row ? event_body(c, mem, r->key, r->venue) : (struct mintd_str){ NULL, 0 };
    if (!body.p) {
        arena_free(mem);
        return call_memory(c);
    }
    r->at = loop_wall_us(c->api->loop) / 1000;
    row->id = r->key->id;
    row->revoked_at = r->at;
    call_write(c, &(struct pipe_row){ .kind = MINTD_DB_KEY, .row = row, .size = sizeof *row, .event = "key.revoked", .venue = r->key->venue,
                                      .body = body }, mem, on_revoked);
}

/* Twice is fine: the second time says when it was. */
static void on_revoke_venue(struct call *c, const struct mintd_res *res)
{
    struct revoking *r = c->state;
    if (res && res->rows.n) r->venue = ((const struct mintd_db_venue *)res->rows.p)->name;
    if (r->key->revoked_at) revoked(c, r->key, r->key->revoked_at);
    else write_revocation(c);
}

static void on_revoke_key(struct call *c, const struct mintd_res *res)
{
    struct revoking *r = arena_alloc(c->mem, sizeof *r);
    if (!r) return call_memory(c);
    if (!res->rows.n) {
        call_problem(c, &(struct problem){ .status = 404, .code = "key.unknown" }, "there is no key " STR_FMT, STR_ARG(c->param[0]));
        return;
    }
    r->key = res->rows.p;
    c->state = r;
    if (r->key->venue) call_query(c, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(&r->key->venue, 1) }, 0, on_revoke_venue);
    else on_revoke_venue(c, NULL);
}

void key_revoke(struct call *c)
{
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_KEY, .names = VEC(&c->param[0], 1) }, 0, on_revoke_key);
}
