/* Every knob does what it says, and only that: each test looks at what was answered and at what became of it. */
#include "kit.h"

#define FAST { "slot_ms", "100" }, { "finality", "8" }, { "validity", "40" }, { "valid_duration", "12000" }
enum { MANY = 60 };

struct made { struct mintd_str coll; struct mintd_tx tx[MANY]; };

/* A calm instance and a faulty one on one ledger: the calm one makes the collection and tells the truth. */
#define OPEN_PAIR(calm, faulty, profile, name, ...) \
    do { \
        KIT_OPEN(calm, profile, name, FAST); \
        KIT_BESIDE(faulty, calm, profile, name, FAST, __VA_ARGS__); \
    } while (0)

static void close_pair(struct kit *calm, struct kit *faulty)
{
    kit_close(faulty);
    kit_close(calm);
}

static void make_many(struct kit *k, struct made *m, uint32_t n)
{
    m->coll = make_collection(k);
    for (uint32_t i = 0; i < n; i++) m->tx[i] = make_mint(k, m->coll, "f", i, 1);
}

static uint32_t landed_of(struct kit *k, const struct made *m, uint32_t n)
{
    uint32_t landed = 0;
    for (uint32_t i = 0; i < n; i++) landed += status(k, m->tx[i]).state == MINTD_LANDED;
    return landed;
}

static uint32_t doubtful(struct kit *k, struct mintd_tx tx, const char *slug)
{
    struct mintd_sent s = broadcast(k, tx, NULL);
    if (s.why) assert_slug(s.why, MINTD_AMBIGUOUS, slug);
    return s.why != NULL;
}

static void test_drop_request(void **state)
{
    (void)state;
    struct kit calm, k;
    static struct made m;
    OPEN_PAIR(&calm, &k, "solana-like", "drop-request", { "drop_request", "300" });
    make_many(&calm, &m, MANY);
    uint32_t lost = 0;
    for (uint32_t i = 0; i < MANY; i++) lost += doubtful(&k, m.tx[i], "local.no_answer");
    assert_true(lost > MANY / 10 && lost < MANY / 2);
    pass(&k, 300);
    assert_int_equal(landed_of(&calm, &m, MANY), MANY - lost);
    for (int turn = 0; turn < 12 && lost; turn++) {                      /* the same bytes get through a little later */
        lost = 0;
        for (uint32_t i = 0; i < MANY; i++) lost += doubtful(&k, m.tx[i], "local.no_answer");
        pass(&k, 260);
    }
    pass(&k, 2000);
    assert_true(landed_of(&calm, &m, MANY) >= MANY - 2);
    close_pair(&calm, &k);
}

static void test_drop_reply_and_error_but_land(void **state)
{
    (void)state;
    static const char *const knobs[][2] = { { "drop_reply", "local.no_answer" }, { "error_but_land", "local.node_error" } };
    for (int i = 0; i < 2; i++) {
        struct kit calm, k;
        static struct made m;
        OPEN_PAIR(&calm, &k, "hedera-like", knobs[i][0], { knobs[i][0], "300" });
        make_many(&calm, &m, MANY);
        uint32_t in_doubt = 0;
        for (uint32_t t = 0; t < MANY; t++) in_doubt += doubtful(&k, m.tx[t], knobs[i][1]);
        assert_true(in_doubt > MANY / 10 && in_doubt < MANY / 2);
        pass(&k, 100);
        assert_int_equal(landed_of(&calm, &m, MANY), MANY);              /* all of them landed all the same */
        close_pair(&calm, &k);
    }
}

static void test_ack_and_drop(void **state)
{
    (void)state;
    struct kit calm, k;
    static struct made m;
    uint32_t n, dead = 0;
    OPEN_PAIR(&calm, &k, "solana-like", "ack", { "ack_and_drop", "300" });
    make_many(&calm, &m, MANY);
    for (uint32_t i = 0; i < MANY; i++) send_ok(&k, m.tx[i]);
    for (uint32_t i = 0; i < MANY; i++) send_ok(&k, m.tx[i]);            /* acknowledged again, and still lost */
    pass(&k, 10000);
    for (uint32_t i = 0; i < MANY; i++) {
        const struct mintd_seen *s = prove(&calm, m.tx[i], &n);
        if (s[0].state == MINTD_LANDED) continue;
        dead++;
        for (uint32_t w = 0; w < n; w++) assert_true(is_absent_vote(&s[w], true) && s[w].clock > m.tx[i].bound);
    }
    assert_true(dead > MANY / 10 && dead < MANY / 2);
    assert_int_equal(listed(&calm, m.coll), MANY - dead);
    close_pair(&calm, &k);
}

static void late(const char *profile, const char *knob, bool exactly)
{
    struct kit calm, k;
    static struct made m;
    char name[64];
    snprintf(name, sizeof name, "%s-%s", profile, knob);
    OPEN_PAIR(&calm, &k, profile, name, { knob, "1000" });
    make_many(&calm, &m, 4);
    for (uint32_t i = 0; i < 4; i++) send_ok(&k, m.tx[i]);
    pass(&k, 1500);
    assert_int_equal(landed_of(&calm, &m, 4), 0);
    for (uint32_t i = 0; i < 4; i++) {
        struct mintd_seen s = settle(&calm, m.tx[i]);
        assert_int_equal(s.state, MINTD_LANDED);
        assert_true(s.height <= m.tx[i].bound);
        if (!strcmp(profile, "solana-like")) assert_true(exactly ? s.height == m.tx[i].bound : s.height + 4 >= m.tx[i].bound);
        else assert_true(s.height + 400000000u >= m.tx[i].bound);
    }
    close_pair(&calm, &k);
}

static void test_late_landings(void **state)
{
    (void)state;
    late("solana-like", "late_accept", false);
    late("solana-like", "land_at_deadline", true);
    late("hedera-like", "late_accept", false);
    late("hedera-like", "land_at_deadline", true);
}

/* At no moment is a transaction that lands at its bound provably dead. */
static void test_nothing_is_proven_dead_that_lands_at_the_deadline(void **state)
{
    (void)state;
    static const char *const profiles[] = { "solana-like", "hedera-like" };
    for (int p = 0; p < 2; p++) {
        struct kit calm, k;
        uint32_t n;
        OPEN_PAIR(&calm, &k, profiles[p], p ? "edge-h" : "edge-s", { "land_at_deadline", "1000" });
        struct mintd_tx tx = make_mint(&calm, make_collection(&calm), "edge", 0, 1);
        send_ok(&k, tx);
        for (int i = 0; i < 300; i++) {
            const struct mintd_seen *s = prove(i % 2 ? &k : &calm, tx, &n);
            for (uint32_t w = 0; w < n; w++) assert_false(is_absent_vote(&s[w], p == 0) && s[w].clock > tx.bound);
            pass(&k, 50);
        }
        assert_int_equal(settle(&calm, tx).state, MINTD_LANDED);
        close_pair(&calm, &k);
    }
}

static void test_rollback(void **state)
{
    (void)state;
    struct kit calm, k;
    OPEN_PAIR(&calm, &k, "solana-like", "rollback", { "rollback", "1000" }, { "latency", "100" });
    struct mintd_str coll = make_collection(&calm);
    struct mintd_tx tx = make_mint(&calm, coll, "rb", 0, 2), lost = make_mint(&calm, coll, "rb", 2, 1);
    send_ok(&k, tx);
    send_ok(&k, lost);
    bool seen = false, gone = false;
    for (int i = 0; i < 100 && !gone; i++) {
        struct mintd_seen s = status(&calm, tx);
        assert_int_equal(s.flags & MINTD_F_FINAL, 0);                    /* what is undone was never final */
        seen = seen || s.state == MINTD_LANDED;
        gone = seen && s.state == MINTD_ABSENT;
        pass(&k, 20);
    }
    assert_true(gone);
    assert_int_equal(listed(&calm, coll), 0);
    send_ok(&k, tx);                                                     /* the same bytes again: now they land */
    assert_int_equal(settle(&calm, tx).state, MINTD_LANDED);
    pass(&k, 8000);
    uint32_t n;
    const struct mintd_seen *s = prove(&calm, lost, &n);                 /* never sent again: dead, and provably so */
    for (uint32_t w = 0; w < n; w++) assert_true(is_absent_vote(&s[w], true) && s[w].clock > lost.bound);
    assert_int_equal(listed(&calm, coll), 2);
    close_pair(&calm, &k);
}

static void test_stale_read(void **state)
{
    (void)state;
    struct kit calm, k;
    uint32_t n, lagging = 0, current = 0;
    OPEN_PAIR(&calm, &k, "solana-like", "stale", { "stale_read", "500" }, { "stale_lag", "3000" });
    struct mintd_str coll = make_collection(&calm);
    pass(&k, 4000);
    struct mintd_tx tx = make_mint(&calm, coll, "st", 0, 1);
    send_ok(&calm, tx);
    pass(&k, 300);
    for (int i = 0; i < 20; i++, pass(&k, 150)) {
        const struct mintd_seen *truth = prove(&calm, tx, &n), *s = prove(&k, tx, &n);
        for (uint32_t w = 0; w < n; w++) {
            bool lags = s[w].clock + 20 < truth[w].clock;
            lagging += lags;
            current += !lags;
            if (lags && i < 10) assert_int_equal(s[w].state, MINTD_ABSENT);     /* and says so at its own, older clock */
            if (lags) assert_true(s[w].clock < tx.bound);
            if (!lags) assert_int_equal(s[w].state, MINTD_LANDED);
        }
    }
    assert_true(lagging > 5 && current > 5);
    close_pair(&calm, &k);
}

static void test_lie(void **state)
{
    (void)state;
    static const char *const profiles[] = { "solana-like", "hedera-like" };
    for (int p = 0; p < 2; p++) {
        struct kit calm, k;
        static struct made m;
        uint32_t n, by[3] = { 0 };
        OPEN_PAIR(&calm, &k, profiles[p], p ? "lie-h" : "lie-s", { "lie", "1000" });
        make_many(&calm, &m, 20);
        for (uint32_t i = 0; i < 20; i++) send_ok(&k, m.tx[i]);
        pass(&k, 20000);
        for (uint32_t i = 0; i < 20; i++) {
            const struct mintd_seen *s = prove(&k, m.tx[i], &n);
            uint32_t lies = 0;
            for (uint32_t w = 0; w < n; w++) {
                if (s[w].state == MINTD_ABSENT) { lies++; by[w]++; }
                else assert_true(s[w].state == MINTD_LANDED && (s[w].flags & MINTD_F_FINAL));
            }
            assert_int_equal(lies, 1);                                   /* never more than the quorum can bear */
        }
        assert_true(by[0] && by[1] && by[2]);
        close_pair(&calm, &k);
    }
}

static void test_restart(void **state)
{
    (void)state;
    struct kit calm, k;
    OPEN_PAIR(&calm, &k, "solana-like", "restart", { "restart", "400" });
    struct mintd_str coll = make_collection(&calm);
    uint32_t refused = 0, taken = 0, unplanned = 0, unread = 0, sick = 0;
    for (uint32_t i = 0; i < 40; i++) {
        struct items it;
        uint32_t n;
        make_items(&it, "rs", i, 1, true);
        struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
        struct mintd_plan plan = prepare(&k, &in);
        if (plan.why) { unplanned++; assert_slug(plan.why, MINTD_TRANSIENT, "local.unreachable"); }
        struct mintd_tx tx = make_tx(&calm, &in);
        struct mintd_sent s = broadcast(&k, tx, "rpc-2");
        if (s.why) assert_slug(s.why, MINTD_TRANSIENT, "local.unreachable");
        const struct mintd_seen *all = prove(&k, tx, &n);
        for (uint32_t w = 0; w < n; w++) unread += all[w].why != NULL;
        struct mintd_limits lim = limits(&k);
        const struct mintd_route *routes = lim.routes.p;
        for (uint32_t w = 0; w < 3; w++) sick += routes[w].state;
        assert_int_equal(s.why != NULL, routes[1].state);
        refused += s.why != NULL;
        taken += !s.why;
        pass(&k, 2000);
        struct mintd_seen one = status(&calm, tx);
        assert_int_equal(one.state, s.why ? MINTD_ABSENT : MINTD_LANDED);     /* no byte left */
    }
    assert_true(refused > 5 && taken > 5 && unplanned > 5 && unread > 15 && sick > 15);
    close_pair(&calm, &k);
}

static void test_fee_spike(void **state)
{
    (void)state;
    struct kit calm, k;
    OPEN_PAIR(&calm, &k, "hedera-like", "spike", { "fee_spike", "500" }, { "fee_spike_factor", "100" });
    struct mintd_str coll = make_collection(&calm);
    uint32_t low = 0, high = 0, refused = 0;
    for (uint32_t i = 0; i < 30; i++, pass(&k, 2000)) {
        struct items it;
        make_items(&it, "sp", i, 1, false);
        struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
        in.fee_cap = 20000;
        struct mintd_plan plan = prepare(&k, &in);
        if (plan.why) { high++; assert_slug(plan.why, MINTD_TRANSIENT, "local.fee_cap"); }
        else { low++; assert_int_equal(plan.fee_max, 12000); }
        struct mintd_sent s = broadcast(&k, make_tx(&calm, &in), NULL);  /* signed in calm times, sent in these */
        refused += s.why != NULL;
        if (s.why) assert_slug(s.why, MINTD_TRANSIENT, "local.fee_low");
        assert_int_equal(s.why != NULL, plan.why != NULL);
    }
    assert_true(low > 5 && high > 5 && refused == high);
    close_pair(&calm, &k);
}

static void test_no_funds(void **state)
{
    (void)state;
    struct kit k;
    KIT_OPEN(&k, "hedera-like", "dry", FAST, { "no_funds", "3" });
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx[3];
    for (uint32_t i = 0; i < 3; i++) tx[i] = make_mint(&k, coll, "dry", i, 1);
    send_ok(&k, tx[0]);
    send_ok(&k, tx[1]);
    assert_slug(broadcast(&k, tx[2], NULL).why, MINTD_PERMANENT, "local.no_funds");
    send_ok(&k, tx[0]);                                                  /* what is in flight stays known */
    struct items it;
    make_items(&it, "dry", 9, 1, false);
    struct mintd_intent in = make_intent(MINTD_MINT, coll, &it);
    struct mintd_plan plan = prepare(&k, &in);
    assert_slug(plan.why, MINTD_PERMANENT, "local.no_funds");
    assert_int_equal(status(&k, tx[2]).state, MINTD_ABSENT);
    kit_close(&k);
}

/* ---- rates */
static uint32_t push(struct kit *k, struct kit *planner, struct mintd_str coll, const char *prefix, uint32_t n, uint64_t *ret_retry)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct mintd_sent s = broadcast(k, make_mint(planner, coll, prefix, i, 1), i % 2 ? "node-1" : "node-2");
        taken += !s.why;
        if (s.why) assert_slug(s.why, MINTD_THROTTLED, "local.busy");
        if (s.why) *ret_retry = s.why->retry_ms;
    }
    return taken;
}

static void test_rates_hidden_and_published(void **state)
{
    (void)state;
    struct kit calm, k, other;
    uint64_t retry = 0;
    OPEN_PAIR(&calm, &k, "hedera-like", "rates", { "network_rate", "10000" }, { "burst", "1000" }, { "publish_rates", "false" });
    KIT_BESIDE(&other, &calm, "hedera-like", "rates", FAST, { "network_rate", "10000" }, { "burst", "1000" }, { "node_rate", "4000" });
    struct mintd_str coll = make_collection(&calm);
    assert_int_equal(limits(&k).budgets.n, 0);
    struct mintd_limits lim = limits(&other);
    const struct mintd_budget *b = lim.budgets.p;
    assert_int_equal(lim.budgets.n, 8);                                  /* network and three nodes, mints and the rest */
    assert_true(b[0].route.n == 0 && b[0].per_s == 10000 && b[0].burst == 10000 && b[0].cost_item == 1000 && b[0].kinds == 1);
    assert_true(b[2].route.n && b[2].per_s == 4000 && b[3].cost_tx == 1000 && b[3].kinds == 6);
    pass(&calm, 5000);
    uint32_t taken = push(&k, &calm, coll, "r1", 25, &retry);
    assert_true(taken >= 9 && taken <= 12);                              /* what was saved up */
    assert_true(retry > 0 && retry < 1000);
    assert_int_equal(push(&other, &calm, coll, "r2", 5, &retry) <= 1, 1);      /* shared: the other daemon finds it empty */
    pass(&k, 3000);
    taken = push(&other, &calm, coll, "r3", 25, &retry);
    assert_true(taken >= 7 && taken <= 9);                               /* two nodes with four each, though the network has more */
    kit_close(&other);
    close_pair(&calm, &k);
}

static void test_throttle_step(void **state)
{
    (void)state;
    struct kit calm, k;
    uint64_t retry;
    OPEN_PAIR(&calm, &k, "hedera-like", "step", { "network_rate", "40000" }, { "burst", "500" }, { "throttle_step", "250" },
              { "throttle_period", "10000" });
    struct mintd_str coll = make_collection(&calm);
    uint32_t taken[2] = { 0, 0 };
    for (uint32_t p = 0; p < 2; p++) {
        char prefix[8];
        for (uint32_t i = 0; i < 8; i++, pass(&k, 1000)) {
            snprintf(prefix, sizeof prefix, "s%u%u", p, i);
            taken[p] += push(&k, &calm, coll, prefix, 30, &retry);
        }
        pass(&k, 2000);
    }
    assert_true(taken[0] > 2 * taken[1] && taken[1] > 20);
    close_pair(&calm, &k);
}

/* ---- latency */
static void test_latencies(void **state)
{
    (void)state;
    struct kit k;
    KIT_OPEN(&k, "hedera-like", "latency", FAST, { "prepare_latency", "70" }, { "send_latency", "50" }, { "read_latency", "30" },
             { "latency", "500" }, { "jitter", "400" });
    struct mintd_str coll = make_collection(&k);
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < 20; i++) {
        struct mintd_tx tx = make_mint(&k, coll, "lat", i, 1);
        assert_true(k.replies[k.n - 1].took_ms < 5);                     /* seal stays at home */
        assert_int_equal(k.replies[k.n - 2].took_ms, 70);
        send_ok(&k, tx);
        uint64_t sent = (uint64_t)loop_wall_us(fh_loop(k.fh)) * 1000;
        assert_true(k.replies[k.n - 1].took_ms >= 50 && k.replies[k.n - 1].took_ms < 60);
        struct mintd_seen s = settle(&k, tx);
        assert_int_equal(k.replies[k.n - 1].took_ms, 30);
        uint64_t took = s.height > sent ? s.height - sent : 0;
        if (took < least) least = took;
        if (took > most) most = took;
    }
    assert_true(least >= 490000000u && most <= 900000000u && most - least > 100000000u);
    kit_close(&k);
}

/* ---- agreement: the same seed decides the same about the same transaction, in any daemon, before and after a crash */
static void test_seeds(void **state)
{
    (void)state;
    struct kit calm, a, b, c;
    static struct made m;
    char fate[3][MANY];
    OPEN_PAIR(&calm, &a, "solana-like", "seed", { "ack_and_drop", "500" }, { "seed", "11" });
    make_many(&calm, &m, MANY);
    for (uint32_t i = 0; i < MANY; i++) send_ok(&a, m.tx[i]);
    pass(&a, 1000);
    for (uint32_t i = 0; i < MANY; i++) fate[0][i] = (char)status(&calm, m.tx[i]).state;
    FILE *from = fopen(ledger_path("seed"), "rb");                       /* the same history up to the first send, twice more */
    static char bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, from);
    fclose(from);
    size_t cut = 0;
    for (size_t i = 0; !cut && i + m.tx[0].id.n < n; i++) if (!memcmp(bytes + i, m.tx[0].id.p, m.tx[0].id.n)) cut = i;
    for (int w = 1; w < 3; w++) {
        FILE *to = fopen(ledger_path(w == 1 ? "seed-b" : "seed-c"), "wb");
        assert_int_equal(fwrite(bytes, 1, cut, to), cut);
        fclose(to);
    }
    KIT_BESIDE(&b, &calm, "solana-like", "seed-b", FAST, { "ack_and_drop", "500" }, { "seed", "11" });
    KIT_BESIDE(&c, &calm, "solana-like", "seed-c", FAST, { "ack_and_drop", "500" }, { "seed", "12" });
    for (uint32_t i = MANY; i-- > 0;) { send_ok(&b, m.tx[i]); send_ok(&c, m.tx[i]); }      /* and in another order */
    pass(&b, 1000);
    uint32_t differ = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        fate[1][i] = (char)status(&b, m.tx[i]).state;
        fate[2][i] = (char)status(&c, m.tx[i]).state;
        differ += fate[2][i] != fate[0][i];
    }
    assert_memory_equal(fate[0], fate[1], MANY);
    assert_true(differ > MANY / 5);
    kit_close(&c);
    kit_close(&b);
    close_pair(&calm, &a);
}

static void test_options_that_make_no_sense(void **state)
{
    (void)state;
    static const struct { const char *profile; struct fh_opt opts[5]; const char *error; } rows[] = {
        { "hedera-like", { { "rollback", "10" } }, "rollback: " },
        { "null", { { "lie", "10" } }, "lie: " },
        { "solana-like", { { "rollback", "10" }, { "finality", "1" } }, "rollback: " },
        { "solana-like", { { "lie", "1" }, { "endpoints", "a" }, { "endpoints", "b" } }, "lie: a lie needs at least three" },
        { "solana-like", { { "mirrors", "a" } }, "mirrors: only profile" },
        { "solana-like", { { "endpoints", "a" }, { "endpoints", "a" } }, "endpoints: a name is there twice" },
        { "hedera-like", { { "endpoints", "a" }, { "mirrors", "a" } }, "mirrors: a mirror has the name" },
        { "hedera-like", { { "items_mint", "11" } }, "items_mint: " },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kit k;
        assert_int_equal(kit_create(&k, NULL, rows[i].profile, ledger_path("none"), rows[i].opts), -EINVAL);
        if (!str_starts(str_of(fh_error(k.fh)), str_of(rows[i].error))) fail_msg("%s", fh_error(k.fh));
        kit_free(&k);
    }
}

static void test_own_names(void **state)
{
    (void)state;
    struct kit k;
    KIT_OPEN(&k, "solana-like", "own-names", FAST, { "endpoints", "a" }, { "endpoints", "b" });
    struct mintd_limits lim = limits(&k);
    const struct mintd_route *routes = lim.routes.p;
    assert_int_equal(lim.routes.n, 2);
    assert_true(str_eq(routes[1].name, S("b")));
    struct mintd_tx tx = make_mint(&k, make_collection(&k), "own", 0, 1);
    assert_slug(broadcast(&k, tx, "c").why, MINTD_TRANSIENT, "local.unknown_route");
    struct mintd_str both[] = { S("a"), S("b") };
    tx.routes = VEC(both, 2);
    struct fh_reply *r = ok(call(&k, BROADCAST, NULL, 0, VEC(&tx, 1)));
    const struct mintd_sent *sent = r->res.rows.p;
    assert_int_equal(r->res.rows.n, 2);
    assert_true(!sent[0].why && !sent[1].why && str_eq(sent[1].route, S("b")) && sent[1].tx == 0);
    assert_int_equal(settle(&k, tx).state, MINTD_LANDED);
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
        cmocka_unit_test(test_drop_request), cmocka_unit_test(test_drop_reply_and_error_but_land), cmocka_unit_test(test_ack_and_drop),
        cmocka_unit_test(test_late_landings), cmocka_unit_test(test_nothing_is_proven_dead_that_lands_at_the_deadline),
        cmocka_unit_test(test_rollback), cmocka_unit_test(test_stale_read), cmocka_unit_test(test_lie), cmocka_unit_test(test_restart),
        cmocka_unit_test(test_fee_spike), cmocka_unit_test(test_no_funds), cmocka_unit_test(test_rates_hidden_and_published),
        cmocka_unit_test(test_throttle_step), cmocka_unit_test(test_latencies), cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_options_that_make_no_sense), cmocka_unit_test(test_own_names),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
