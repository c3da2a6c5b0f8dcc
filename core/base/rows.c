/* Row types of the ABI as data and one deep copy over them. Owns nothing. Any thread. */
#include "base/rows.h"

#include <errno.h>

#include "base/str.h"

enum { BYTES_MAX = 8 << 20, DEPTH_MAX = 3 };
enum member_kind { M_STR = 1, M_VEC, M_WHY };

struct member { uint16_t kind, offset; const struct row_type *of; };
struct row_type { uint32_t size; const struct member *m; };

#define STR(T, f) { M_STR, offsetof(struct T, f), NULL }
#define WHY(T)    { M_WHY, offsetof(struct T, why), NULL }
#define NEST(T, f, type) { M_VEC, offsetof(struct T, f), &(type) }
#define TYPE(name, T, ...) \
    static const struct member name##_m[] = { __VA_ARGS__ __VA_OPT__(,) { 0, 0, NULL } }; \
    static const struct row_type name = { sizeof(struct T), name##_m };

struct one_str { struct mintd_str s; };
TYPE(t_str, one_str, STR(one_str, s))
TYPE(t_field, mintd_field, STR(mintd_field, key), STR(mintd_field, val))
TYPE(t_route, mintd_route, STR(mintd_route, name))
TYPE(t_budget, mintd_budget, STR(mintd_budget, route))
TYPE(t_limits, mintd_limits, STR(mintd_limits, network), STR(mintd_limits, unit), STR(mintd_limits, item_key), STR(mintd_limits, coin),
     NEST(mintd_limits, routes, t_route), NEST(mintd_limits, budgets, t_budget))
TYPE(t_ask, mintd_ask, STR(mintd_ask, key), STR(mintd_ask, tag), STR(mintd_ask, msg))
TYPE(t_bad, mintd_bad, WHY(mintd_bad))
TYPE(t_plan, mintd_plan, WHY(mintd_plan), STR(mintd_plan, state), NEST(mintd_plan, asks, t_ask), NEST(mintd_plan, bad, t_bad))
TYPE(t_item, mintd_item, STR(mintd_item, tag), STR(mintd_item, owner), STR(mintd_item, name), STR(mintd_item, uri),
     STR(mintd_item, attrs), STR(mintd_item, asset), STR(mintd_item, pub))
TYPE(t_tx, mintd_tx, WHY(mintd_tx), STR(mintd_tx, id), STR(mintd_tx, raw), STR(mintd_tx, collection),
     NEST(mintd_tx, assets, t_str), NEST(mintd_tx, routes, t_str), NEST(mintd_tx, items, t_item))
TYPE(t_sent, mintd_sent, WHY(mintd_sent), STR(mintd_sent, route))
TYPE(t_seen, mintd_seen, WHY(mintd_seen), STR(mintd_seen, route), STR(mintd_seen, facts), NEST(mintd_seen, assets, t_str))
TYPE(t_truth, mintd_truth, WHY(mintd_truth), STR(mintd_truth, route), STR(mintd_truth, asset), STR(mintd_truth, collection),
     STR(mintd_truth, owner), STR(mintd_truth, name), STR(mintd_truth, uri), STR(mintd_truth, tx))
TYPE(t_cost, mintd_cost, STR(mintd_cost, what))
TYPE(t_purse, mintd_purse, STR(mintd_purse, account), STR(mintd_purse, role), STR(mintd_purse, route))
TYPE(t_pub, mintd_pub, WHY(mintd_pub), STR(mintd_pub, key), STR(mintd_pub, pub))
TYPE(t_sig, mintd_sig, WHY(mintd_sig), STR(mintd_sig, pub), STR(mintd_sig, sig))
TYPE(t_stored, mintd_stored, WHY(mintd_stored), STR(mintd_stored, uri), STR(mintd_stored, pin), STR(mintd_stored, facts))
TYPE(t_kv, mintd_kv, STR(mintd_kv, key), STR(mintd_kv, val))
TYPE(t_cache_stats, mintd_cache_stats)
TYPE(t_applied, mintd_applied, STR(mintd_applied, detail))
TYPE(t_schema, mintd_schema, STR(mintd_schema, identity))
TYPE(t_venue, mintd_db_venue, STR(mintd_db_venue, name))
TYPE(t_collection, mintd_db_collection, STR(mintd_db_collection, pipeline), STR(mintd_db_collection, name),
     STR(mintd_db_collection, spec), STR(mintd_db_collection, network), STR(mintd_db_collection, chain_ref),
     STR(mintd_db_collection, park_reason))
TYPE(t_run, mintd_db_run)
TYPE(t_request, mintd_db_request, STR(mintd_db_request, idem_key), STR(mintd_db_request, body_hash),
     STR(mintd_db_request, options), NEST(mintd_db_request, runs, t_run))
TYPE(t_db_item, mintd_db_item, STR(mintd_db_item, ticket), STR(mintd_db_item, recipient), STR(mintd_db_item, uri),
     STR(mintd_db_item, body), STR(mintd_db_item, extra), STR(mintd_db_item, tx_id), STR(mintd_db_item, asset),
     STR(mintd_db_item, slug))
TYPE(t_attempt, mintd_db_attempt, STR(mintd_db_attempt, network), STR(mintd_db_attempt, tx_id), STR(mintd_db_attempt, bytes),
     STR(mintd_db_attempt, assets))
TYPE(t_chunk, mintd_db_chunk, STR(mintd_db_chunk, upload), STR(mintd_db_chunk, assets), STR(mintd_db_chunk, evidence),
     STR(mintd_db_chunk, slug), STR(mintd_db_chunk, msg), NEST(mintd_db_chunk, items, t_db_item),
     NEST(mintd_db_chunk, attempts, t_attempt))
TYPE(t_member, mintd_db_member)
TYPE(t_proof, mintd_db_proof, STR(mintd_db_proof, endpoints), STR(mintd_db_proof, error), STR(mintd_db_proof, by1),
     STR(mintd_db_proof, by2), STR(mintd_db_proof, raw_hash), STR(mintd_db_proof, facts))
TYPE(t_event, mintd_db_event, STR(mintd_db_event, kind), STR(mintd_db_event, body), STR(mintd_db_event, hash))
TYPE(t_spend, mintd_db_spend, STR(mintd_db_spend, scope))
TYPE(t_lease, mintd_db_lease, STR(mintd_db_lease, holder), STR(mintd_db_lease, head))
TYPE(t_meta, mintd_db_meta, STR(mintd_db_meta, key), STR(mintd_db_meta, val), STR(mintd_db_meta, expect))
TYPE(t_lane, mintd_db_lane, STR(mintd_db_lane, pipeline))
TYPE(t_count, mintd_db_count)
TYPE(t_key, mintd_db_key, STR(mintd_db_key, name), STR(mintd_db_key, hash), STR(mintd_db_key, scopes), STR(mintd_db_key, cidr))
TYPE(t_report, mintd_db_report, STR(mintd_db_report, venue_id), STR(mintd_db_report, report_data))

static const struct row_type *const chain_types[] = { &t_limits, &t_plan, &t_tx, &t_sent, &t_seen, &t_truth, &t_truth, &t_truth,
    &t_cost, &t_purse };
static const struct row_type *const store_types[] = { &t_applied, &t_applied, &t_chunk, NULL, &t_schema };
static const struct row_type *const cache_types[] = { &t_kv, NULL, NULL, &t_cache_stats };
static const struct row_type *const uploader_types[] = { &t_stored, &t_stored, &t_stored };
static const struct row_type *const signer_types[] = { &t_pub, &t_sig };
static const struct row_type *const db_types[] = { [MINTD_DB_VENUE] = &t_venue, [MINTD_DB_COLLECTION] = &t_collection,
    [MINTD_DB_REQUEST] = &t_request, [MINTD_DB_ITEM] = &t_db_item, [MINTD_DB_CHUNK] = &t_chunk, [MINTD_DB_MEMBER] = &t_member,
    [MINTD_DB_ATTEMPT] = &t_attempt, [MINTD_DB_PROOF] = &t_proof, [MINTD_DB_EVENT] = &t_event, [MINTD_DB_SPEND] = &t_spend,
    [MINTD_DB_LEASE] = &t_lease, [MINTD_DB_META] = &t_meta, [MINTD_DB_LANE] = &t_lane, [MINTD_DB_COUNT] = &t_count,
    [MINTD_DB_KEY] = &t_key, [MINTD_DB_REPORT] = &t_report };
enum { OP_START = 62, OP_QUERY = 3 };

static const struct row_type *query_type(const struct mintd_req *req)
{
    const struct mintd_query *q = req ? req->arg : NULL;
    if (!q || !MINTD_HAS(q, struct mintd_query, kind) || q->kind >= ARRAY_LEN(db_types)) return NULL;
    return db_types[q->kind];
}

const struct row_type *rows_of(uint32_t kind, uint32_t op, const struct mintd_req *req)
{
    if (op == OP_START) return &t_field;
#define PICK(table) return op < ARRAY_LEN(table) ? (table)[op] : NULL
    switch (kind) {
    case MINTD_CHAIN:    PICK(chain_types);
    case MINTD_CACHE:    PICK(cache_types);
    case MINTD_UPLOADER: PICK(uploader_types);
    case MINTD_SIGNER:   PICK(signer_types);
    case MINTD_STORE:
        if (op == OP_QUERY) return query_type(req);
        PICK(store_types);
    default:             return NULL;
    }
#undef PICK
}

struct copier { struct arena *mem; size_t left; };

static int copy_bytes(struct copier *c, const void *from, size_t n, void **ret)
{
    if (n > c->left) return -EBADMSG;
    c->left -= n;
    *ret = arena_copy(c->mem, from, n);
    return *ret ? 0 : -ENOMEM;
}

static int copy_str(struct copier *c, struct mintd_str *s)
{
    void *p;
    if (!s->n) { s->p = NULL; return 0; }
    if (!s->p) return -EBADMSG;
    int r = copy_bytes(c, s->p, s->n, &p);
    if (!r) s->p = p;
    return r;
}

static int copy_vec(struct copier *c, const struct row_type *t, struct mintd_vec *v, int depth);

static int copy_member(struct copier *c, const struct member *m, void *at, int depth)
{
    if (m->kind == M_STR) return copy_str(c, at);
    if (m->kind == M_VEC) return copy_vec(c, m->of, at, depth + 1);
    const struct mintd_outcome **why = at;
    if (!*why) return 0;
    if ((uintptr_t)*why % 8) return -EBADMSG;
    *why = rows_copy_outcome(c->mem, *why);
    return *why ? 0 : -ENOMEM;
}

static int copy_vec(struct copier *c, const struct row_type *t, struct mintd_vec *v, int depth)
{
    struct mintd_vec from = *v;
    if (!from.n) { *v = (struct mintd_vec){ NULL, 0, t->size }; return 0; }
    if (!from.p || !from.stride || from.stride % 8 || (uintptr_t)from.p % 8 || depth > DEPTH_MAX) return -EBADMSG;
    size_t bytes = (size_t)from.n * t->size;
    if (bytes > c->left) return -EBADMSG;
    c->left -= bytes;
    char *rows = arena_array(c->mem, from.n, t->size);
    if (!rows) return -ENOMEM;
    for (uint32_t i = 0; i < from.n; i++) {
        char *row = rows + (size_t)i * t->size;
        mintd_row(from, i, row, t->size);
        for (const struct member *m = t->m; m->kind; m++) {
            int r = copy_member(c, m, row + m->offset, depth);
            if (r) return r;
        }
    }
    *v = (struct mintd_vec){ rows, from.n, t->size };
    return 0;
}

int rows_copy_res(struct arena *mem, const struct row_type *t, const struct mintd_res *from, struct mintd_res *ret)
{
    struct mintd_res res = { .size = sizeof res };
    struct copier c = { mem, BYTES_MAX };
    if (from) {
        if (!MINTD_HAS(from, struct mintd_res, rows)) return -EBADMSG;
        res.flags = from->flags;
        res.rows = from->rows;
        if (MINTD_HAS(from, struct mintd_res, next)) res.next = from->next;
    }
    int r = 0;
    if (t) r = copy_vec(&c, t, &res.rows, 0);
    else res.rows = (struct mintd_vec){ NULL, 0, 8 };
    if (!r) r = copy_str(&c, &res.next);
    if (!r) *ret = res;
    return r;
}

static struct mintd_str short_str(struct arena *mem, struct mintd_str s)
{
    if (!s.p) s.n = 0;
    if (s.n > 1024) s.n = 1024;
    return arena_str(mem, s);
}

const struct mintd_outcome *rows_copy_outcome(struct arena *mem, const struct mintd_outcome *from)
{
    struct mintd_outcome *o = arena_alloc(mem, sizeof *o);
    if (!o) return NULL;
    *o = (struct mintd_outcome){ .size = sizeof *o, .cls = MINTD_OK };
    if (!from) return o;
    size_t n = from->size < sizeof *o ? from->size : sizeof *o;
    memcpy(o, from, n);
    o->size = sizeof *o;
    o->slug = short_str(mem, o->slug);
    o->msg = short_str(mem, o->msg);
    return o;
}
