/* The copy of the stored keys: see keys.h. A reading fills a new copy, page by page, which then takes the old one's place; whatever
 * changed meanwhile makes it begin again. Loop thread. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/keys.h"
#include "base/list.h"
#include "base/log.h"

enum { PAGE = 1000, FIRST_RETRY_MS = 100, RETRY_MS = 1000 };

struct copy { struct arena *mem; struct map by_hash, by_id, by_venue; uint32_t n; };
struct keys {
    struct loop *loop;
    struct pipe *pipe;
    struct copy now, next;                     /* in force; being read */
    struct loop_timer *timer;
    loop_fn *changed;
    void *changed_arg;
    uint64_t read_at;                          /* when the copy in force was asked for; 0: there is none */
    uint64_t asked_at, changes, changes_then;  /* the reading under way, and what it knows */
    bool reading, stopped, freed, settled, said;
};

/* ---- columns */

static const char *const scopes[SCOPES] = { "", "read", "mint", "admin" };

int keys_scope(struct mintd_str s, enum scope *ret)
{
    for (unsigned i = SCOPE_READ; i < SCOPES; i++)
        if (str_eq(s, str_of(scopes[i]))) return *ret = (enum scope)i, 0;
    return -EINVAL;
}

const char *keys_scope_name(enum scope s) { return scopes[s]; }

int keys_nets(struct mintd_str text, struct net ret[KEY_NETS_MAX], uint32_t *ret_n, const char **ret_why)
{
    *ret_n = 0;
    while (text.n) {
        const char *comma = memchr(text.p, ',', text.n);
        size_t n = comma ? (size_t)(comma - text.p) : text.n;
        *ret_why = "too many networks";
        if (*ret_n == KEY_NETS_MAX || net_parse((struct mintd_str){ text.p, n }, &ret[*ret_n], ret_why)) return -EINVAL;
        ++*ret_n;
        n += comma ? 1 : 0;
        text.p += n;
        text.n -= n;
        while (comma && text.n && text.p[0] == ' ') text.p++, text.n--;
        if (comma && !text.n) return -EINVAL;
    }
    return 0;
}

/* ---- one copy */

static void copy_free(struct copy *c)
{
    map_free(&c->by_hash);
    map_free(&c->by_id);
    map_free(&c->by_venue);
    arena_free(c->mem);
    *c = (struct copy){ 0 };
}

static uint64_t begin_of(const uint8_t hash[32])
{
    uint64_t v;
    memcpy(&v, hash, sizeof v);
    return v ? v : 1;                                      /* the map takes no 0 */
}

/* -EINVAL: a row that is no key */
static int fill(struct copy *c, struct key *k, const struct mintd_db_key *row)
{
    struct net nets[KEY_NETS_MAX];
    const char *why;
    if (row->hash.n != sizeof k->hash || !row->id || keys_scope(row->scopes, &k->scope) || keys_nets(row->cidr, nets, &k->n_nets, &why))
        return -EINVAL;
    memcpy(k->hash, row->hash.p, sizeof k->hash);
    k->id = row->id;
    k->venue = row->venue;
    k->expires_at = row->expires_at;
    k->used_at = row->used_at;
    k->name = arena_str(c->mem, row->name);
    k->nets = k->n_nets ? arena_copy(c->mem, nets, k->n_nets * sizeof *nets) : NULL;
    return !k->name.p || (k->n_nets && !k->nets) ? -ENOMEM : 0;
}

static int insert(struct copy *c, struct key *k)
{
    k->next = map_get(&c->by_hash, begin_of(k->hash));
    k->peer = k->venue ? map_get(&c->by_venue, k->venue) : NULL;
    if (map_put(&c->by_id, k->id, k) || (k->venue && map_put(&c->by_venue, k->venue, k)) || map_put(&c->by_hash, begin_of(k->hash), k)) {
        k->revoked = true;                                 /* it may be found by one of them; the copy is given up or read anew */
        return -ENOMEM;
    }
    c->n++;
    return 0;
}

static struct key *copy_add(struct copy *c, const struct mintd_db_key *row, int *ret_rc)
{
    struct key *k = arena_alloc(c->mem, sizeof *k);
    *ret_rc = k ? fill(c, k, row) : -ENOMEM;
    if (!*ret_rc) *ret_rc = insert(c, k);
    return *ret_rc ? NULL : k;
}

static int64_t wall_ms(const struct keys *ks) { return loop_wall_us(ks->loop) / 1000; }

static bool is_over(const struct keys *ks, const struct key *k) { return k->revoked || (k->expires_at && k->expires_at <= wall_ms(ks)); }

/* ---- reading */

static void begin(void *arg);
static void again_in(struct keys *ks, uint64_t ms)
{
    loop_timer_del(ks->timer);
    ks->timer = ks->stopped ? NULL : loop_timer(ks->loop, ms, begin, ks);
}

static void give_up(struct keys *ks)
{
    copy_free(&ks->next);
    ks->reading = false;
    again_in(ks, ks->settled ? RETRY_MS : FIRST_RETRY_MS);
}

static void failed(struct keys *ks, const struct mintd_outcome *o)
{
    ks->settled = ks->settled || o->cls == MINTD_PERMANENT;
    if (!ks->said && ks->settled)
        log_warn("the stored keys cannot be read, they are refused after a while: " STR_FMT ": " STR_FMT, STR_ARG(o->slug), STR_ARG(o->msg));
    ks->said = ks->said || ks->settled;
    give_up(ks);
}

/* What was added or revoked while this was read may be missing in it. */
static void take_over(struct keys *ks)
{
    struct copy old = ks->now;
    size_t it = 0;
    ks->reading = false;
    if (ks->changes != ks->changes_then) {
        copy_free(&ks->next);
        again_in(ks, 0);
        return;
    }
    for (struct key *k; (k = map_next(&old.by_id, &it));) {
        struct key *same = map_get(&ks->next.by_id, k->id);
        if (same && same->used_at < k->used_at) same->used_at = k->used_at;
    }
    ks->now = ks->next;
    ks->next = (struct copy){ 0 };
    ks->read_at = ks->asked_at;
    if (ks->said) log_info("the stored keys can be read again");
    ks->said = false;
    ks->settled = true;
    copy_free(&old);
    again_in(ks, KEYS_READ_MS);
    if (ks->changed) ks->changed(ks->changed_arg);
}

/* The plugin's answer, of a reading that is still wanted. */
static bool is_wanted(struct keys *ks)
{
    if (!ks->stopped) return true;
    copy_free(&ks->next);
    ks->reading = false;
    if (ks->freed) free(ks);
    return false;
}

static void query(struct keys *ks, const struct mintd_query *want, struct mintd_str cursor, plug_fn *fn)
{
    struct arena *mem = arena_new(0);
    struct mintd_query *q = mem ? arena_copy(mem, want, sizeof *want) : NULL;
    if (!q) {
        arena_free(mem);
        give_up(ks);
        return;
    }
    q->size = sizeof *q;
    q->max = PAGE;
    q->cursor = arena_str(mem, cursor);
    if (q->ids.n) q->ids.p = arena_copy(mem, q->ids.p, q->ids.n * sizeof(uint64_t));
    if ((cursor.n && !q->cursor.p) || (q->ids.n && !q->ids.p)) {
        arena_free(mem);
        give_up(ks);
        return;
    }
    plug_call_rows(pipe_store(ks->pipe), STORE_QUERY, 0, q, (struct mintd_vec){ 0 }, mem, fn, ks);
}

static void name_venue(struct keys *ks, const struct mintd_db_venue *v)
{
    struct mintd_str name = arena_str(ks->next.mem, v->name);
    for (struct key *k = map_get(&ks->next.by_venue, v->id); k; k = k->peer) k->venue_name = name;
}

/* A key whose venue cannot be named could not be held to it. */
static void drop_nameless(struct copy *c)
{
    size_t it = 0;
    for (struct key *k; (k = map_next(&c->by_id, &it));)
        if (k->venue && !k->venue_name.n) k->revoked = true;
}

static void read_venues(struct keys *ks, struct mintd_str cursor);
static void on_venues(void *arg, struct plug_reply *r)
{
    struct keys *ks = arg;
    if (!is_wanted(ks)) return;
    if (r->out->cls != MINTD_OK) {
        failed(ks, r->out);
        return;
    }
    for (uint32_t i = 0; i < r->res->rows.n; i++) name_venue(ks, (const struct mintd_db_venue *)r->res->rows.p + i);
    if (r->res->next.n) read_venues(ks, r->res->next);
    else {
        drop_nameless(&ks->next);
        take_over(ks);
    }
}

static void read_venues(struct keys *ks, struct mintd_str cursor)
{
    uint64_t *ids = arena_array(ks->next.mem, ks->next.by_venue.n + 1, sizeof *ids);
    uint32_t n = 0;
    size_t it = 0;
    if (!ids) {
        give_up(ks);
        return;
    }
    for (const struct key *k; (k = map_next(&ks->next.by_venue, &it));) ids[n++] = k->venue;
    if (n) query(ks, &(struct mintd_query){ .kind = MINTD_DB_VENUE, .ids = VEC(ids, n) }, cursor, on_venues);
    else take_over(ks);
}

/* Only keys that are alive have a place; the rest is for the list of keys alone. */
static int take_row(struct keys *ks, const struct mintd_db_key *row)
{
    int rc = 0;
    if (row->revoked_at || (row->expires_at && row->expires_at <= wall_ms(ks))) return 0;
    if (ks->next.n == KEYS_MAX) {
        if (!ks->read_at) log_error("more than %d keys are alive: the key " STR_FMT " and later ones are not valid", KEYS_MAX, STR_ARG(row->name));
        return -EFBIG;
    }
    copy_add(&ks->next, row, &rc);
    if (rc == -EINVAL && !ks->read_at) log_warn("the key " STR_FMT " is not one this version knows: it is not valid", STR_ARG(row->name));
    return rc == -EINVAL ? 0 : rc;
}

static void read_keys(struct keys *ks, struct mintd_str cursor);
static void on_keys(void *arg, struct plug_reply *r)
{
    struct keys *ks = arg;
    int rc = 0;
    if (!is_wanted(ks)) return;
    if (r->out->cls != MINTD_OK) {
        failed(ks, r->out);
        return;
    }
    for (uint32_t i = 0; !rc && i < r->res->rows.n; i++) rc = take_row(ks, (const struct mintd_db_key *)r->res->rows.p + i);
    if (rc == -ENOMEM) give_up(ks);
    else if (r->res->next.n && !rc) read_keys(ks, r->res->next);
    else read_venues(ks, S(""));
}

static void read_keys(struct keys *ks, struct mintd_str cursor)
{
    query(ks, &(struct mintd_query){ .kind = MINTD_DB_KEY }, cursor, on_keys);
}

static void begin(void *arg)
{
    struct keys *ks = arg;
    loop_timer_del(ks->timer);
    ks->timer = NULL;
    if (ks->reading || ks->stopped) return;
    ks->reading = true;
    ks->asked_at = loop_now_ms(ks->loop) + 1;              /* never 0 */
    ks->changes_then = ks->changes;
    ks->next.mem = arena_new(0);
    if (ks->next.mem) read_keys(ks, S(""));
    else give_up(ks);
}

/* ---- life */

struct keys *keys_new(struct loop *loop, struct pipe *pipe)
{
    struct keys *ks = calloc(1, sizeof *ks);
    if (!ks) return NULL;
    ks->loop = loop;
    ks->pipe = pipe;
    return ks;
}

void keys_on_change(struct keys *ks, loop_fn *fn, void *arg)
{
    ks->changed = fn;
    ks->changed_arg = arg;
}

void keys_open(struct keys *ks) { again_in(ks, 0); }

void keys_stop(struct keys *ks)
{
    ks->stopped = true;
    loop_timer_del(ks->timer);
    ks->timer = NULL;
}

struct keys *keys_free(struct keys *ks)
{
    if (!ks) return NULL;
    keys_stop(ks);
    copy_free(&ks->now);
    ks->freed = true;
    if (!ks->reading) free(ks);                            /* else the answer that is still to come takes it along */
    return NULL;
}

bool keys_settled(const struct keys *ks) { return ks->settled; }
bool keys_alive(const struct keys *ks, uint64_t id)
{
    const struct key *k = map_get(&ks->now.by_id, id);
    return k && !is_over(ks, k);
}

uint32_t keys_count(const struct keys *ks) { return ks->now.n; }

/* ---- use */

enum keys_found keys_find(struct keys *ks, const uint8_t hash[32], struct key **ret)
{
    if (!ks->read_at || loop_now_ms(ks->loop) + 1 - ks->read_at > KEYS_STALE_MS) return KEYS_UNREADABLE;
    for (struct key *k = map_get(&ks->now.by_hash, begin_of(hash)); k; k = k->next) {
        if (sodium_memcmp(hash, k->hash, sizeof k->hash)) continue;
        *ret = k;
        return is_over(ks, k) ? KEYS_NONE : KEYS_FOUND;
    }
    return KEYS_NONE;
}

/* Nobody waits for it: what is not written now is written at a later use. */
static void on_used(void *arg, const struct mintd_applied *a)
{
    (void)arg;
    (void)a;
}

void keys_used(struct keys *ks, struct key *k)
{
    int64_t now = wall_ms(ks);
    if (ks->stopped || now - k->used_at < KEYS_USED_MS) return;
    struct arena *mem = arena_new(0);
    struct mintd_db_key *row = mem ? arena_alloc(mem, sizeof *row) : NULL;
    if (!row) {
        arena_free(mem);
        return;
    }
    *row = (struct mintd_db_key){ .id = k->id, .used_at = now };
    k->used_at = now;
    pipe_write(ks->pipe, &(struct pipe_row){ .kind = MINTD_DB_KEY, .row = row, .size = sizeof *row }, mem, on_used, NULL);
}

void keys_add(struct keys *ks, const struct mintd_db_key *row, struct mintd_str venue)
{
    int rc = 0;
    ks->changes++;
    struct key *k = ks->read_at && ks->now.n < KEYS_MAX ? copy_add(&ks->now, row, &rc) : NULL;
    if (k && venue.n) k->venue_name = arena_str(ks->now.mem, venue);
    if (k && venue.n && !k->venue_name.n) k->revoked = true;               /* no memory: until it is read */
    if (!ks->reading) again_in(ks, 0);
}

void keys_drop(struct keys *ks, uint64_t id)
{
    struct key *k = map_get(&ks->now.by_id, id);
    ks->changes++;
    if (k) k->revoked = true;
    if (!ks->reading) again_in(ks, 0);
    if (ks->changed) ks->changed(ks->changed_arg);
}
