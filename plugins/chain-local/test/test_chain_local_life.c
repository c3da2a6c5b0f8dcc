/* The life of transactions on each profile, from the collection to the transfer, and what is refused on the way. */
#include "kit.h"

static const struct fh_opt fast[] = { { "slot_ms", "100" }, { "finality", "8" }, { "validity", "40" }, { "valid_duration", "12000" },
    { "latency", "300" }, { NULL, NULL } };

static void open_fast(struct kit *k, const char *profile, const char *name)
{
    kit_open_with(k, NULL, profile, ledger_path(name), fast);
}

static void check_assets(const struct mintd_seen *s, const struct mintd_tx *tx, uint32_t n)
{
    const struct mintd_str *seen = s->assets.p, *sealed = tx->assets.p;
    assert_int_equal(s->assets.n, n);
    for (uint32_t i = 0; i < tx->assets.n; i++) assert_true(str_eq(seen[i], sealed[i]));
}

static void test_solana_like(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, "solana-like", "solana");
    struct mintd_limits lim = limits(&k);
    assert_int_equal(lim.item_scheme, MINTD_ED25519);
    assert_int_equal(lim.items_mint, 4);
    assert_int_equal(lim.caps, MINTD_C_EFFECT | MINTD_C_COLLECTS);
    assert_true(str_eq(lim.item_key, S("vault/items")));
    assert_int_equal(lim.routes.n, 3);
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "a", 0, 4);
    assert_int_equal(tx.assets.n, 4);
    uint8_t pk[32], sk[64];
    key_pair(S("tag:a:0"), pk, sk);
    assert_int_equal(status(&k, tx).state, MINTD_ABSENT);
    send_ok(&k, tx);
    assert_int_equal(status(&k, tx).state, MINTD_PENDING);
    pass(&k, 450);
    struct mintd_seen s = status(&k, tx);
    assert_int_equal(s.state, MINTD_LANDED);
    assert_int_equal(s.flags & MINTD_F_FINAL, 0);
    assert_true(s.height <= tx.bound);
    pass(&k, 900);
    s = status(&k, tx);
    assert_int_equal(s.flags & MINTD_F_FINAL, MINTD_F_FINAL);
    assert_int_equal(s.fee, 5000 + 4 * 1000);
    check_assets(&s, &tx, 4);
    uint32_t n;
    const struct mintd_seen *all = prove(&k, tx, &n);
    assert_int_equal(n, 3);
    for (uint32_t i = 0; i < n; i++) { assert_int_equal(all[i].state, MINTD_LANDED); check_assets(&all[i], &tx, 4); }
    assert_int_equal(listed(&k, coll), 4);
    kit_close(&k);
}

static void test_creating_an_asset_twice_is_an_error_on_the_chain(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, "solana-like", "twice");
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx one = make_mint(&k, coll, "x", 0, 2), two = make_mint(&k, coll, "x", 1, 2);      /* both planned before either lands */
    assert_false(str_eq(one.id, two.id));
    send_ok(&k, one);
    send_ok(&k, two);
    assert_int_equal(settle(&k, one).state, MINTD_LANDED);
    struct mintd_seen s = settle(&k, two);
    assert_int_equal(s.state, MINTD_ERRED);
    assert_null(s.why);
    assert_non_null(memmem(s.facts.p, s.facts.n, "\"error\":\"the asset exists already", 31));
    assert_int_equal(listed(&k, coll), 2);
    struct items it;
    make_items(&it, "x", 1, 2, true);
    struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
    struct mintd_plan plan = prepare(&k, &in);                           /* and now it is known beforehand */
    assert_int_equal(plan.bad.n, 1);
    const struct mintd_bad *bad = plan.bad.p;
    assert_int_equal(bad->item, 0);
    assert_slug(bad->why, MINTD_PERMANENT, "local.asset_exists");
    kit_close(&k);
}

static void deliver(struct kit *k, struct mintd_str coll, uint64_t serial, const char *to, uint32_t want)
{
    struct items it;
    char asset[24];
    make_items(&it, "t", 0, 1, false);
    snprintf(asset, sizeof asset, "%llu", (unsigned long long)serial);
    it.rows[0].asset = str_of(asset);
    it.rows[0].owner = str_of(to);
    struct mintd_intent in = make_intent(MINTD_TRANSFER, coll, &it);
    struct mintd_tx tx = make_tx(k, &in);
    send_ok(k, tx);
    assert_int_equal(settle(k, tx).state, want);
}

static void test_hedera_like(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, "hedera-like", "hedera");
    struct mintd_limits lim = limits(&k);
    assert_int_equal(lim.item_scheme, 0);
    assert_int_equal(lim.items_mint, 10);
    assert_int_equal(lim.caps, MINTD_C_DELIVERS | MINTD_C_COLLECTS);
    const struct mintd_route *routes = lim.routes.p;
    assert_int_equal(lim.routes.n, 6);
    assert_int_equal(routes[0].use & (MINTD_SEND | MINTD_PROVE), MINTD_SEND);
    assert_int_equal(routes[5].use & (MINTD_SEND | MINTD_PROVE), MINTD_PROVE);
    struct mintd_str coll = make_collection(&k);
    assert_true(str_starts(coll, S("0.0.")));
    struct mintd_tx a = make_mint(&k, coll, "a", 0, 10), b = make_mint(&k, coll, "b", 0, 3);
    assert_non_null(memchr(a.id.p, '@', a.id.n));
    assert_false(str_eq(a.id, b.id));
    send_ok(&k, b);
    send_ok(&k, a);
    struct mintd_seen sb = settle(&k, b), sa = settle(&k, a);
    assert_true(str_eq(((const struct mintd_str *)sb.assets.p)[0], S("1")));        /* consecutive, in the order of consensus */
    assert_true(str_eq(((const struct mintd_str *)sa.assets.p)[9], S("13")));
    deliver(&k, coll, 5, "0.0.777", MINTD_LANDED);
    deliver(&k, coll, 5, "0.0.778", MINTD_ERRED);                        /* no longer the payer's */
    struct mintd_asset look[] = { { coll, S("5") }, { coll, S("6") }, { coll, S("99") } };
    const struct mintd_truth *t = ok(call(&k, INSPECT, NULL, 0, VEC(look, 3)))->res.rows.p;
    assert_true(str_eq(t[0].owner, S("0.0.777")));
    assert_true(t[1].owner.n > 30);                                      /* still in the treasury */
    assert_int_equal(t[1].state, MINTD_LANDED);
    assert_true(str_eq(t[1].name, S("a-2")) && str_eq(t[1].uri, S("ipfs://a/2")) && str_eq(t[1].tx, a.id));
    assert_int_equal(t[2].state, MINTD_ABSENT);
    kit_close(&k);
}

static void test_null(void **state)
{
    (void)state;
    struct kit k;
    kit_open_with(&k, NULL, "null", "/nowhere/at/all", NULL);
    uint64_t syncs = loop_fake_syncs(fh_loop(k.fh));
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "n", 0, 10);
    send_ok(&k, tx);
    struct mintd_seen s = status(&k, tx);
    assert_int_equal(s.state, MINTD_LANDED);
    assert_int_equal(s.flags & MINTD_F_FINAL, MINTD_F_FINAL);
    assert_int_equal(s.assets.n, 10);
    assert_int_equal(listed(&k, coll), 10);
    assert_int_equal(loop_fake_syncs(fh_loop(k.fh)), syncs);
    kit_close(&k);
}

static void test_null_across_segments(void **state)
{
    (void)state;
    struct kit k;
    kit_open_with(&k, NULL, "null", "/nowhere", NULL);
    static char long_spec[200000];
    memset(long_spec, 'x', sizeof long_spec);
    struct mintd_intent in = make_intent(MINTD_COLLECTION, S(""), NULL);
    in.spec = (struct mintd_str){ long_spec, sizeof long_spec };
    struct mintd_str first = { 0 };
    for (int i = 0; i < 50; i++) {                                       /* 10 MB: three segments of memory */
        struct mintd_tx tx = make_tx(&k, &in);
        send_ok(&k, tx);
        struct mintd_seen s = status(&k, tx);
        assert_int_equal(s.state, MINTD_LANDED);
        if (!i) first = *(const struct mintd_str *)s.assets.p;
    }
    struct mintd_tx tx = make_mint(&k, first, "seg", 0, 2);
    send_ok(&k, tx);
    assert_int_equal(listed(&k, first), 2);
    kit_close(&k);
}

static void test_look(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, "solana-like", "look");
    struct mintd_str coll = make_collection(&k), other = make_collection(&k);
    for (uint32_t i = 0; i < 3; i++) {
        struct mintd_tx tx = make_mint(&k, i == 1 ? other : coll, "l", 10 * i, 4);
        send_ok(&k, tx);
        settle(&k, tx);
    }
    struct mintd_list arg = { .size = sizeof arg, .max = 3, .collection = coll };
    uint32_t pages = 0, rows = 0;
    for (;; pages++) {                                                   /* by cursor, in chain order */
        struct fh_reply *r = ok(call(&k, LIST, &arg, 0, (struct mintd_vec){ 0 }));
        const struct mintd_truth *t = r->res.rows.p;
        for (uint32_t i = 0; i < r->res.rows.n; i++, rows++) {
            char name[16];
            snprintf(name, sizeof name, "l-%u", rows < 4 ? rows : 16 + rows);
            assert_true(str_eq(t[i].name, str_of(name)));
        }
        if (!r->res.next.n) break;
        arg.cursor = r->res.next;
    }
    assert_int_equal(rows, 8);
    assert_int_equal(pages, 2);
    struct items it;
    make_items(&it, "l", 10, 2, false);
    it.rows[1].uri = S("ipfs://l/nobody");
    struct mintd_list in_other = { .size = sizeof in_other, .collection = other };
    struct fh_reply *r = ok(call(&k, FIND, &in_other, 0, VEC(it.rows, 2)));
    assert_int_equal(r->res.rows.n, 1);
    assert_int_equal(((const struct mintd_truth *)r->res.rows.p)->row, 0);
    struct mintd_list in_coll = { .size = sizeof in_coll, .collection = coll };
    assert_int_equal(ok(call(&k, FIND, &in_coll, 0, VEC(it.rows, 2)))->res.rows.n, 0);
    assert_int_equal(ok(call(&k, FIND, NULL, 0, VEC(it.rows, 2)))->res.rows.n, 1);
    it.rows[0].tag = S("another tag");
    assert_int_equal(ok(call(&k, FIND, NULL, 0, VEC(it.rows, 2)))->res.rows.n, 0);
    struct mintd_asset bad = { coll, S("not base58 0OIl") };
    const struct mintd_truth *t = ok(call(&k, INSPECT, NULL, 0, VEC(&bad, 1)))->res.rows.p;
    assert_slug(t->why, MINTD_PERMANENT, "local.bad_asset");
    struct mintd_list broken = { .size = sizeof broken, .collection = coll, .cursor = S("12x") };
    assert_slug(&call(&k, LIST, &broken, 0, (struct mintd_vec){ 0 })->out, MINTD_PERMANENT, "local.bad_request");
    kit_close(&k);
}

static void test_owner_at_mint_and_transfer_on_solana_like(void **state)
{
    (void)state;
    struct kit k;
    struct items it;
    open_fast(&k, "solana-like", "owner");
    struct mintd_str coll = make_collection(&k);
    make_items(&it, "o", 0, 2, true);
    it.rows[0].owner = S("somebody");
    struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
    struct mintd_tx tx = make_tx(&k, &in);
    send_ok(&k, tx);
    settle(&k, tx);
    const struct mintd_str *assets = tx.assets.p;
    struct mintd_asset look[] = { { coll, assets[0] }, { S(""), assets[1] } };
    const struct mintd_truth *t = ok(call(&k, INSPECT, NULL, 0, VEC(look, 2)))->res.rows.p;
    assert_true(str_eq(t[0].owner, S("somebody")));
    assert_int_equal(t[1].state, MINTD_LANDED);
    it.rows[1].asset = assets[1];
    it.rows[1].owner = S("new owner");
    in = make_intent(MINTD_TRANSFER, coll, &it);
    in.items = VEC(&it.rows[1], 1);
    struct mintd_tx move = make_tx(&k, &in);
    send_ok(&k, move);
    settle(&k, move);
    t = ok(call(&k, INSPECT, NULL, 0, VEC(look, 2)))->res.rows.p;
    assert_true(str_eq(t[1].owner, S("new owner")));
    kit_close(&k);
}

static void test_money(void **state)
{
    (void)state;
    struct kit k;
    KIT_OPEN(&k, "hedera-like", "money", { "balance", "100000" }, { "valid_duration", "12000" });
    uint8_t pk[32], sk[64];
    key_pair((struct mintd_str){ 0 }, pk, sk);
    struct mintd_key key = { .role = S("payer"), .ref = S("vault/payer"), .pub = { (char *)pk, 32 } };
    struct fh_reply *r = ok(call(&k, WALLET, NULL, 0, VEC(&key, 1)));
    const struct mintd_purse *p = r->res.rows.p;
    assert_int_equal(p->balance, 100000);
    const struct mintd_cost *c = ok(call(&k, ESTIMATE, NULL, 0, (struct mintd_vec){ 0 }))->res.rows.p;
    assert_int_equal(c[0].amount, 95000);
    assert_int_equal(c[1].amount, 5000);
    assert_int_equal(c[2].amount, 1000);
    struct mintd_str coll = make_collection(&k);
    p = ok(call(&k, WALLET, NULL, 0, VEC(&key, 1)))->res.rows.p;
    assert_int_equal(p->balance, 5000);
    struct items it;
    make_items(&it, "m", 0, 1, false);
    struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
    struct mintd_plan plan = prepare(&k, &in);                           /* known from the last seal */
    assert_slug(plan.why, MINTD_PERMANENT, "local.no_funds");
    in.fee_cap = 100;
    plan = prepare(&k, &in);
    assert_slug(plan.why, MINTD_TRANSIENT, "local.fee_cap");
    key.pub.n = 5;
    assert_slug(&call(&k, WALLET, NULL, 0, VEC(&key, 1))->out, MINTD_PERMANENT, "local.bad_request");
    kit_close(&k);
}

static void test_prepare_refuses(void **state)
{
    (void)state;
    struct kit k;
    static char text[300];
    struct items it;
    memset(text, 'n', sizeof text);
    open_fast(&k, "solana-like", "refuses");
    struct mintd_str coll = make_collection(&k);
    make_items(&it, "p", 0, 6, true);
    struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
    struct mintd_plan plan = prepare(&k, &in);
    assert_int_equal(plan.fit, 4);
    assert_int_equal(plan.asks.n, 0);
    it.n = 4;
    for (uint32_t i = 0; i < 4; i++) it.rows[i].uri = (struct mintd_str){ text, 190 };
    in = make_intent(MINTD_MINT, coll, &it);
    plan = prepare(&k, &in);
    assert_int_equal(plan.fit, 3);                                       /* 4 * (100 + 3 + 190) > 900 */
    make_items(&it, "p", 0, 4, true);
    it.rows[1].name = (struct mintd_str){ text, 201 };
    it.rows[2].uri = (struct mintd_str){ text, 201 };
    it.rows[3].pub.n = 0;
    in = make_intent(MINTD_MINT, coll, &it);
    plan = prepare(&k, &in);
    const struct mintd_bad *bad = plan.bad.p;
    assert_int_equal(plan.bad.n, 3);
    assert_slug(bad[0].why, MINTD_PERMANENT, "local.too_long");
    assert_slug(bad[1].why, MINTD_PERMANENT, "local.too_long");
    assert_slug(bad[2].why, MINTD_PERMANENT, "local.no_item_key");
    assert_int_equal(bad[2].item, 3);
    in = make_intent(MINTD_MINT, S("no such collection"), &it);
    plan = prepare(&k, &in);
    assert_slug(plan.why, MINTD_PERMANENT, "local.no_collection");
    in = make_intent(9, coll, &it);
    plan = prepare(&k, &in);
    assert_slug(plan.why, MINTD_PERMANENT, "local.bad_request");
    in = make_intent(MINTD_MINT, coll, NULL);
    plan = prepare(&k, &in);
    assert_slug(plan.why, MINTD_PERMANENT, "local.bad_request");
    kit_close(&k);
}

static void test_seal_refuses(void **state)
{
    (void)state;
    struct kit k;
    struct items it;
    open_fast(&k, "solana-like", "seal");
    struct mintd_str coll = make_collection(&k);
    make_items(&it, "s", 0, 3, true);
    struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
    struct mintd_plan plan = prepare(&k, &in);
    assert_int_equal(plan.asks.n, 4);
    struct mintd_seal s = sign_plan(&k, &plan);
    struct mintd_sig *sigs = (struct mintd_sig *)(uintptr_t)s.sigs.p;
    for (uint32_t i = 0; i < 4; i++) {                                   /* every signature counts */
        ((char *)(uintptr_t)sigs[i].sig.p)[i * 9] ^= 1;
        assert_slug(seal(&k, &s).why, MINTD_PERMANENT, "local.bad_signature");
        ((char *)(uintptr_t)sigs[i].sig.p)[i * 9] ^= 1;
    }
    struct mintd_sig swap = sigs[1];
    sigs[1] = sigs[2];
    assert_slug(seal(&k, &s).why, MINTD_PERMANENT, "local.bad_signature");
    sigs[1] = swap;
    s.sigs.n = 3;
    assert_slug(seal(&k, &s).why, MINTD_PERMANENT, "local.bad_signature");
    s.sigs.n = 4;
    s.state.n--;
    assert_slug(seal(&k, &s).why, MINTD_PERMANENT, "local.bad_request");
    s.state.n++;
    struct mintd_tx a = seal(&k, &s), b = seal(&k, &s);
    assert_null(a.why);
    assert_true(str_eq(a.raw, b.raw) && str_eq(a.id, b.id));             /* pure */
    kit_close(&k);
}

static void test_replays_land_once(void **state)
{
    (void)state;
    static const char *const profiles[] = { "solana-like", "hedera-like" };
    for (int p = 0; p < 2; p++) {
        struct kit k;
        open_fast(&k, profiles[p], p ? "replay-h" : "replay-s");
        struct mintd_str coll = make_collection(&k);
        struct mintd_tx tx = make_mint(&k, coll, "r", 0, 3);
        for (int i = 0; i < 5; i++) { send_ok(&k, tx); pass(&k, 100); }
        settle(&k, tx);
        for (int i = 0; i < 5; i++) { send_ok(&k, tx); pass(&k, 3000); } /* also long after its bound: known is known */
        assert_int_equal(listed(&k, coll), 3);
        kit_close(&k);
    }
}

static void test_expiry(void **state)
{
    (void)state;
    static const char *const profiles[] = { "solana-like", "hedera-like" };
    for (int p = 0; p < 2; p++) {
        struct kit k;
        uint32_t n;
        open_fast(&k, profiles[p], p ? "expiry-h" : "expiry-s");
        uint64_t margin = limits(&k).margin;
        struct mintd_str coll = make_collection(&k);
        struct mintd_tx tx = make_mint(&k, coll, "e", 0, 2);
        const struct mintd_seen *s = prove(&k, tx, &n);
        assert_true(s[0].clock <= tx.bound);                             /* absent, but too early to count */
        pass(&k, 30000);
        assert_slug(broadcast(&k, tx, NULL).why, MINTD_TRANSIENT, "local.expired");
        s = prove(&k, tx, &n);
        assert_int_equal(n, 3);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(is_absent_vote(&s[i], p == 0));
            assert_true(s[i].clock > tx.bound + margin * 2);
        }
        assert_int_equal(listed(&k, coll), 0);
        kit_close(&k);
    }
}

/* A proof binds the ledger: the wall clock set back, and a new process, still refuse what was proven dead. */
static void test_a_proof_of_death_holds_when_the_clock_is_set_back(void **state)
{
    (void)state;
    struct kit k;
    uint32_t n;
    open_fast(&k, "solana-like", "back");
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "b", 0, 1);
    int64_t before = loop_wall_us(fh_loop(k.fh));
    pass(&k, 10000);
    assert_true(is_absent_vote(prove(&k, tx, &n), true));
    loop_fake_wall(fh_loop(k.fh), before);
    struct kit later;
    kit_open_with(&later, k.fh, "solana-like", ledger_path("back"), fast);
    assert_slug(broadcast(&later, tx, NULL).why, MINTD_TRANSIENT, "local.expired");
    assert_slug(broadcast(&k, tx, NULL).why, MINTD_TRANSIENT, "local.expired");
    struct mintd_tx fresh = make_mint(&later, coll, "b", 0, 1);          /* and the chain goes on: time does not stand still */
    send_ok(&later, fresh);
    settle(&later, fresh);
    kit_close(&later);
    kit_close(&k);
}

static void test_names_fail_where_asked(void **state)
{
    (void)state;
    struct kit k;
    struct items it;
    KIT_OPEN(&k, "hedera-like", "names", { "fail_names", "f-1" }, { "fail_names", "f-3" }, { "valid_duration", "12000" });
    struct mintd_str coll = make_collection(&k);
    make_items(&it, "f", 0, 4, false);
    struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
    struct mintd_plan plan = prepare(&k, &in);
    const struct mintd_bad *bad = plan.bad.p;
    assert_int_equal(plan.bad.n, 2);
    assert_int_equal(bad[0].item, 1);
    assert_int_equal(bad[1].item, 3);
    assert_slug(bad[1].why, MINTD_PERMANENT, "local.refused_name");
    kit_close(&k);
    KIT_OPEN(&k, "hedera-like", "names", { "fail_names", "f-1" }, { "fail_at", "chain" }, { "valid_duration", "12000" });
    in = make_intent(MINTD_MINT, coll = make_collection(&k), &it);
    struct mintd_tx tx = make_tx(&k, &in);
    send_ok(&k, tx);
    struct mintd_seen s = settle(&k, tx);
    assert_int_equal(s.state, MINTD_ERRED);
    assert_non_null(memmem(s.facts.p, s.facts.n, "\"error\":\"the name is refused: f-1\"", 34));
    assert_int_equal(listed(&k, coll), 0);
    kit_close(&k);
}

static void test_unassociated(void **state)
{
    (void)state;
    struct kit k;
    struct items it;
    KIT_OPEN(&k, "hedera-like", "assoc", { "unassociated", "0.0.5" }, { "valid_duration", "12000" });
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "u", 0, 3);
    send_ok(&k, tx);
    settle(&k, tx);
    make_items(&it, "u", 0, 3, false);
    it.rows[0].asset = S("1"); it.rows[0].owner = S("0.0.4");
    it.rows[1].asset = S("2"); it.rows[1].owner = S("0.0.5");
    it.rows[2].asset = S("9"); it.rows[2].owner = S("0.0.6");
    struct mintd_intent in = make_intent(MINTD_TRANSFER, coll, &it);
    struct mintd_plan plan = prepare(&k, &in);
    const struct mintd_bad *bad = plan.bad.p;
    assert_int_equal(plan.bad.n, 2);
    assert_slug(bad[0].why, MINTD_PERMANENT, "local.not_associated");
    assert_int_equal(bad[0].item, 1);
    assert_slug(bad[1].why, MINTD_PERMANENT, "local.no_asset");
    deliver(&k, coll, 1, "0.0.4", MINTD_LANDED);
    kit_close(&k);
}

static int clean(void **state)
{
    (void)state;
    tmp_clean();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_solana_like), cmocka_unit_test(test_creating_an_asset_twice_is_an_error_on_the_chain),
        cmocka_unit_test(test_hedera_like), cmocka_unit_test(test_null), cmocka_unit_test(test_null_across_segments),
        cmocka_unit_test(test_look), cmocka_unit_test(test_owner_at_mint_and_transfer_on_solana_like), cmocka_unit_test(test_money),
        cmocka_unit_test(test_prepare_refuses), cmocka_unit_test(test_seal_refuses), cmocka_unit_test(test_replays_land_once),
        cmocka_unit_test(test_expiry), cmocka_unit_test(test_a_proof_of_death_holds_when_the_clock_is_set_back),
        cmocka_unit_test(test_names_fail_where_asked), cmocka_unit_test(test_unassociated),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
