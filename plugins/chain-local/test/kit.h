/* What the tests of chain-local share: an instance on the seeded loop, a signer of libsodium, and the road of a transaction in single
 * calls. Every reply lives until the kit is closed. */
#ifndef CHAIN_LOCAL_KIT_H
#define CHAIN_LOCAL_KIT_H
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sodium.h>

#include "fakehost.h"
#include "loop_fake.h"
#include "tmp.h"

enum { LIMITS, PREPARE, SEAL, BROADCAST, STATUS, INSPECT, LIST, FIND, ESTIMATE, WALLET, START = 62, DRAIN = 63 };
enum { REPLIES = 4096, ITEMS = 16 };

struct kit { struct fh *fh; struct fh_inst inst; struct fh_reply *replies; uint32_t n; bool borrowed; };
struct sent_tx { struct mintd_tx tx; struct mintd_seal seal; };

static inline struct fh_reply *call(struct kit *k, uint32_t op, const void *arg, uint32_t flags, struct mintd_vec rows)
{
    assert_true(k->n < REPLIES);
    struct fh_reply *r = &k->replies[k->n++];
    *r = fh_call(k->fh, &k->inst, op, arg, flags, rows);
    return r;
}

static inline void assert_slug(const struct mintd_outcome *o, uint32_t cls, const char *slug)
{
    if (o->cls == cls && str_eq(o->slug, str_of(slug))) return;
    fail_msg("class %u " STR_FMT " (" STR_FMT "), wanted %u %s", o->cls, STR_ARG(o->slug), STR_ARG(o->msg), cls, slug);
}

static inline struct fh_reply *ok(struct fh_reply *r)
{
    if (r->out.cls != MINTD_OK) fail_msg("class %u " STR_FMT ": " STR_FMT, r->out.cls, STR_ARG(r->out.slug), STR_ARG(r->out.msg));
    return r;
}

/* ---- opening. opts: up to a NULL name; fees and payer are filled in */
static inline int kit_create(struct kit *k, struct fh *fh, const char *profile, const char *ledger, const struct fh_opt *more)
{
    struct fh_opt opts[64] = { { "profile", profile }, { "ledger", ledger }, { "payer", "vault/payer" }, { "item_key", "vault/items" } };
    static const struct fh_opt dflt[] = { { "fee_tx", "5000" }, { "fee_item", "1000" }, { "fee_collection", "90000" },
        { "balance", "1000000000" } };
    size_t n = 4;
    for (; more && more->name; more++) opts[n++] = *more;
    for (size_t i = 0; i < ARRAY_LEN(dflt); i++) {
        bool given = false;
        for (size_t j = 0; j < n; j++) given = given || !strcmp(opts[j].name, dflt[i].name);
        if (!given) opts[n++] = dflt[i];
    }
    *k = (struct kit){ .fh = fh ? fh : fh_new(7), .borrowed = fh != NULL };
    k->replies = calloc(REPLIES, sizeof *k->replies);
    assert_true(sodium_init() >= 0);
    return fh_create(k->fh, "chain-local", opts, &k->inst);
}

static inline struct fh_reply *kit_start(struct kit *k) { return call(k, START, NULL, 0, (struct mintd_vec){ 0 }); }

static inline void kit_open_with(struct kit *k, struct fh *fh, const char *profile, const char *ledger, const struct fh_opt *more)
{
    int r = kit_create(k, fh, profile, ledger, more);
    if (r) fail_msg("create: %d %s", r, fh_error(k->fh));
    ok(kit_start(k));
}

static inline void kit_free(struct kit *k)
{
    if (k->inst.self) fh_destroy(k->fh, &k->inst);
    for (uint32_t i = 0; i < k->n; i++) fh_reply_free(&k->replies[i]);
    free(k->replies);
    if (!k->borrowed) fh_free(k->fh);
}

static inline void kit_close(struct kit *k)
{
    ok(call(k, DRAIN, NULL, 0, (struct mintd_vec){ 0 }));
    kit_free(k);
}

static inline const char *ledger_path(const char *name)
{
    static char paths[32][512];
    static unsigned n;
    char *p = paths[n++ % 32];
    snprintf(p, sizeof paths[0], "%s/%s.ledger", tmp_dir(), name);
    return p;
}

#define KIT_OPEN(k, profile, name, ...) \
    kit_open_with(k, NULL, profile, ledger_path(name), (const struct fh_opt[]){ __VA_ARGS__ __VA_OPT__(,) { NULL, NULL } })
#define KIT_BESIDE(k, other, profile, name, ...) \
    kit_open_with(k, (other)->fh, profile, ledger_path(name), (const struct fh_opt[]){ __VA_ARGS__ __VA_OPT__(,) { NULL, NULL } })

static inline void pass(struct kit *k, uint64_t ms) { loop_fake_advance(fh_loop(k->fh), ms); }

/* ---- keys: the payer has none of a tag, an item's key follows from its tag */
static inline void key_pair(struct mintd_str tag, uint8_t pk[32], uint8_t sk[64])
{
    uint8_t seed[32];
    crypto_generichash(seed, sizeof seed, (const uint8_t *)(tag.n ? tag.p : "payer"), tag.n ? tag.n : 5, NULL, 0);
    crypto_sign_seed_keypair(pk, sk, seed);
}

static inline struct mintd_sig sign_ask(struct arena *mem, const struct mintd_ask *ask)
{
    uint8_t pk[32], sk[64], sig[64];
    assert_int_equal(ask->scheme, MINTD_ED25519);
    assert_true(str_eq(ask->key, ask->tag.n ? S("vault/items") : S("vault/payer")));
    key_pair(ask->tag, pk, sk);
    crypto_sign_detached(sig, NULL, (const uint8_t *)ask->msg.p, ask->msg.n, sk);
    return (struct mintd_sig){ .pub = { arena_copy(mem, pk, 32), 32 }, .sig = { arena_copy(mem, sig, 64), 64 } };
}

/* ---- items and intents */
struct items { struct mintd_item rows[ITEMS]; char text[ITEMS][4][96]; uint8_t pub[ITEMS][32]; uint32_t n; };

/* Items named PREFIX-FROM.. with their own tags and keys. */
static inline void make_items(struct items *it, const char *prefix, uint32_t from, uint32_t n, bool keyed)
{
    uint8_t sk[64];
    it->n = n;
    for (uint32_t i = 0; i < n; i++) {
        snprintf(it->text[i][0], sizeof it->text[i][0], "%s-%u", prefix, from + i);
        snprintf(it->text[i][1], sizeof it->text[i][1], "ipfs://%s/%u", prefix, from + i);
        snprintf(it->text[i][2], sizeof it->text[i][2], "tag:%s:%u", prefix, from + i);
        it->rows[i] = (struct mintd_item){ .id = from + i, .name = str_of(it->text[i][0]), .uri = str_of(it->text[i][1]),
            .tag = str_of(it->text[i][2]) };
        key_pair(it->rows[i].tag, it->pub[i], sk);
        if (keyed) it->rows[i].pub = (struct mintd_str){ (char *)it->pub[i], 32 };
    }
}

static inline struct mintd_intent make_intent(uint32_t kind, struct mintd_str collection, struct items *it)
{
    struct mintd_intent in = { .kind = kind, .attempt = 1, .chunk = 42, .collection = collection, .memo = S("memo") };
    if (it) in.items = VEC(it->rows, it->n);
    if (kind == MINTD_COLLECTION) in.spec = S("{\"name\":\"c\"}");
    return in;
}

/* ---- the road */
static inline struct mintd_plan prepare(struct kit *k, const struct mintd_intent *in)
{
    struct fh_reply *r = ok(call(k, PREPARE, NULL, 0, VEC(in, 1)));
    assert_int_equal(r->res.rows.n, 1);
    return *(const struct mintd_plan *)r->res.rows.p;
}

static inline struct mintd_seal sign_plan(struct kit *k, const struct mintd_plan *plan)
{
    struct arena *mem = k->replies[k->n - 1].mem;
    const struct mintd_ask *asks = plan->asks.p;
    struct mintd_sig *sigs = arena_array(mem, plan->asks.n, sizeof *sigs);
    for (uint32_t i = 0; i < plan->asks.n; i++) sigs[i] = sign_ask(mem, &asks[i]);
    return (struct mintd_seal){ plan->state, VEC(sigs, plan->asks.n) };
}

static inline struct mintd_tx seal(struct kit *k, const struct mintd_seal *s)
{
    struct fh_reply *r = ok(call(k, SEAL, NULL, 0, VEC(s, 1)));
    assert_int_equal(r->res.rows.n, 1);
    return *(const struct mintd_tx *)r->res.rows.p;
}

static inline struct mintd_tx make_tx(struct kit *k, const struct mintd_intent *in)
{
    struct mintd_plan plan = prepare(k, in);
    if (plan.why) fail_msg("plan: " STR_FMT, STR_ARG(plan.why->msg));
    assert_int_equal(plan.bad.n, 0);
    assert_true(plan.asks.n > 0);
    struct mintd_seal s = sign_plan(k, &plan);
    struct mintd_tx tx = seal(k, &s);
    if (tx.why) fail_msg("seal: " STR_FMT, STR_ARG(tx.why->msg));
    assert_int_equal(tx.bound, plan.bound);
    return tx;
}

static inline struct mintd_sent broadcast(struct kit *k, struct mintd_tx tx, const char *route)
{
    struct mintd_str to = str_of(route);
    if (route) tx.routes = VEC(&to, 1);
    struct fh_reply *r = ok(call(k, BROADCAST, NULL, 0, VEC(&tx, 1)));
    assert_int_equal(r->res.rows.n, 1);
    return *(const struct mintd_sent *)r->res.rows.p;
}

static inline void send_ok(struct kit *k, struct mintd_tx tx)
{
    struct mintd_sent s = broadcast(k, tx, NULL);
    if (s.why) fail_msg("sent: " STR_FMT, STR_ARG(s.why->msg));
}

static inline struct mintd_seen status(struct kit *k, struct mintd_tx tx)
{
    struct fh_reply *r = ok(call(k, STATUS, NULL, 0, VEC(&tx, 1)));
    assert_int_equal(r->res.rows.n, 1);
    return *(const struct mintd_seen *)r->res.rows.p;
}

static inline const struct mintd_seen *prove(struct kit *k, struct mintd_tx tx, uint32_t *ret_n)
{
    struct fh_reply *r = ok(call(k, STATUS, NULL, 1, VEC(&tx, 1)));
    *ret_n = r->res.rows.n;
    return r->res.rows.p;
}

static inline struct mintd_limits limits(struct kit *k)
{
    struct fh_reply *r = ok(call(k, LIMITS, NULL, 0, (struct mintd_vec){ 0 }));
    assert_int_equal(r->res.rows.n, 1);
    return *(const struct mintd_limits *)r->res.rows.p;
}

/* Until status says FINAL. */
static inline struct mintd_seen settle(struct kit *k, struct mintd_tx tx)
{
    for (int i = 0; i < 400; i++) {
        struct mintd_seen s = status(k, tx);
        if (s.flags & MINTD_F_FINAL) return s;
        pass(k, 200);
    }
    fail_msg("not final in 80 s");
    return (struct mintd_seen){ 0 };
}

/* A final collection; its reference. */
static inline struct mintd_str make_collection(struct kit *k)
{
    struct mintd_intent in = make_intent(MINTD_COLLECTION, S(""), NULL);
    struct mintd_tx tx = make_tx(k, &in);
    send_ok(k, tx);
    struct mintd_seen s = settle(k, tx);
    assert_int_equal(s.state, MINTD_LANDED);
    assert_int_equal(s.assets.n, 1);
    return *(const struct mintd_str *)s.assets.p;
}

static inline struct mintd_tx make_mint(struct kit *k, struct mintd_str collection, const char *prefix, uint32_t from, uint32_t n)
{
    struct items it;
    make_items(&it, prefix, from, n, limits(k).item_scheme != 0);
    struct mintd_intent in = make_intent(MINTD_MINT, collection, &it);
    return make_tx(k, &in);
}

static inline uint32_t listed(struct kit *k, struct mintd_str collection)
{
    struct mintd_list arg = { .size = sizeof arg, .max = 1000, .collection = collection };
    return ok(call(k, LIST, &arg, 0, (struct mintd_vec){ 0 }))->res.rows.n;
}

static inline bool is_absent_vote(const struct mintd_seen *s, bool effect)
{
    uint32_t need = MINTD_F_HISTORY | MINTD_F_AFTER | (effect ? (uint32_t)MINTD_F_EFFECT : 0u);
    return !s->why && s->state == MINTD_ABSENT && (s->flags & need) == need;
}
#endif
