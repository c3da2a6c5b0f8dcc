/* The ledger file: several daemons on it, what a dead writer leaves behind, what a foreign hand does to it, and bytes that were
 * tampered with. */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "kit.h"

#include "../../common/base58.c"

static const struct fh_opt fast[] = { { "slot_ms", "100" }, { "finality", "8" }, { "validity", "40" }, { "valid_duration", "12000" },
    { NULL, NULL } };

static void open_fast(struct kit *k, struct kit *beside, const char *profile, const char *name)
{
    kit_open_with(k, beside ? beside->fh : NULL, profile, ledger_path(name), fast);
}

static size_t slurp(const char *path, uint8_t **ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && !fstat(fd, &st));
    *ret = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, *ret, (size_t)st.st_size), st.st_size);
    close(fd);
    return (size_t)st.st_size;
}

static void spit(const char *path, const uint8_t *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

static size_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

static void test_base58(void **state)
{
    (void)state;
    static const struct { const char *hex, *text; } rows[] = { { "", "" }, { "61", "2g" }, { "626262", "a3gV" }, { "00", "1" },
        { "73696d706c792061206c6f6e6720737472696e67", "2cFupjhnEsSn59qHXstmK2ffpLv2" }, { "516b6fcd0f", "ABnLTmg" },
        { "00000000000000000000", "1111111111" }, { "00eb15231dfceb60925886b67d065299925915aeb172c06647", "1NS17iag9jJgTHD1VXjvLCEnZuQ3rJDE9L" } };
    uint8_t bytes[128], back[128];
    char text[BASE58_TEXT_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].hex) / 2;
        assert_int_equal(hex_decode(str_of(rows[i].hex), bytes, n), 0);
        assert_int_equal(base58_encode(bytes, n, text, sizeof text), strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
        assert_int_equal(base58_decode(text, strlen(text), back, n), 0);
        assert_memory_equal(back, bytes, n);
        assert_int_equal(base58_decode(text, strlen(text), back, n + 1), -1);
        if (n) assert_int_equal(base58_decode(text, strlen(text), back, n - 1), -1);
    }
    memset(bytes, 0xff, sizeof bytes);
    size_t n = base58_encode(bytes, sizeof bytes, text, sizeof text);
    assert_int_equal(n, 175);
    assert_int_equal(base58_decode(text, n, back, sizeof back), 0);
    assert_memory_equal(back, bytes, sizeof bytes);
    assert_int_equal(base58_encode(bytes, sizeof bytes, text, n), 0);    /* no room for the terminator */
    assert_int_equal(base58_decode("2g0", 3, back, 1), -1);
    assert_int_equal(base58_decode("zzzz", 4, back, 2), -1);
}

/* One chain for two daemons; either sees what the other sent, and one set of bytes lands once whoever sends it. */
static void test_two_daemons(void **state)
{
    (void)state;
    struct kit a, b;
    open_fast(&a, NULL, "hedera-like", "shared");
    open_fast(&b, &a, "hedera-like", "shared");
    assert_true(str_eq(limits(&a).network, limits(&b).network));
    struct mintd_str coll = make_collection(&a);
    uint32_t minted = 0;
    for (uint32_t i = 0; i < 20; i++) {
        struct mintd_tx tx = make_mint(i % 2 ? &a : &b, coll, "two", 10 * i, 1 + i % 5);
        minted += 1 + i % 5;
        if (i % 3) send_ok(&a, tx);
        send_ok(&b, tx);
        assert_int_equal(settle(&a, tx).state, MINTD_LANDED);
        assert_int_equal(status(&b, tx).state, MINTD_LANDED);
    }
    assert_int_equal(listed(&a, coll), minted);
    assert_int_equal(listed(&b, coll), minted);
    struct mintd_asset look[32];
    char text[32][8];
    for (uint32_t i = 0; i < 32; i++) {                                  /* serials without a gap, whoever sent */
        snprintf(text[i], sizeof text[i], "%u", i + 1);
        look[i] = (struct mintd_asset){ coll, str_of(text[i]) };
    }
    const struct mintd_truth *t = ok(call(&a, INSPECT, NULL, 0, VEC(look, 32)))->res.rows.p;
    for (uint32_t i = 0; i < 32; i++) assert_int_equal(t[i].state, MINTD_LANDED);
    kit_close(&b);
    kit_close(&a);
}

/* The lock is somebody else's for a while: sends wait without holding the loop, reads do not wait. */
static void test_a_held_lock(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, NULL, "solana-like", "held");
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "h", 0, 1);
    int fd = open(ledger_path("held"), O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    struct fh_reply r = { 0 };
    bool done;
    fh_call_async(k.fh, &k.inst, BROADCAST, NULL, 0, VEC(&tx, 1), &r, &done);
    pass(&k, 500);
    assert_false(done);
    assert_int_equal(status(&k, tx).state, MINTD_ABSENT);
    assert_int_equal(flock(fd, LOCK_UN), 0);
    fh_run(k.fh, &done);
    assert_null(((const struct mintd_sent *)r.res.rows.p)->why);
    fh_reply_free(&r);
    close(fd);
    assert_int_equal(settle(&k, tx).state, MINTD_LANDED);
    kit_close(&k);
}

static void test_everything_is_there_after_a_restart(void **state)
{
    (void)state;
    static const char *const profiles[] = { "solana-like", "hedera-like" };
    for (int p = 0; p < 2; p++) {
        struct kit k;
        const char *name = p ? "again-h" : "again-s";
        open_fast(&k, NULL, profiles[p], name);
        struct mintd_str coll = make_collection(&k), network = limits(&k).network;
        struct mintd_tx tx = make_mint(&k, coll, "g", 0, 4), late = make_mint(&k, coll, "g", 4, 2);
        send_ok(&k, tx);
        settle(&k, tx);
        send_ok(&k, late);                                               /* accepted, the daemon dies before the block */
        uint64_t fee = status(&k, tx).fee;
        struct kit next;
        open_fast(&next, &k, profiles[p], name);
        assert_true(str_eq(limits(&next).network, network));
        assert_int_equal(status(&next, tx).state, MINTD_LANDED);
        assert_int_equal(status(&next, tx).fee, fee);
        assert_int_equal(settle(&next, late).state, MINTD_LANDED);
        assert_int_equal(listed(&next, coll), 6);
        kit_close(&next);
        kit_close(&k);
    }
}

static void test_a_send_is_synced_before_it_is_answered(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, NULL, "solana-like", "synced");
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx[8];
    for (uint32_t i = 0; i < 8; i++) tx[i] = make_mint(&k, coll, "y", i, 1);
    uint64_t before = loop_fake_syncs(fh_loop(k.fh));
    status(&k, tx[0]);
    assert_int_equal(loop_fake_syncs(fh_loop(k.fh)), before);
    struct fh_reply r[8] = { { .mem = NULL } };
    bool done[8];
    for (uint32_t i = 0; i < 8; i++) fh_call_async(k.fh, &k.inst, BROADCAST, NULL, 0, VEC(&tx[i], 1), &r[i], &done[i]);
    for (uint32_t i = 0; i < 8; i++) { fh_run(k.fh, &done[i]); fh_reply_free(&r[i]); }
    uint64_t syncs = loop_fake_syncs(fh_loop(k.fh)) - before;
    assert_true(syncs >= 1 && syncs <= 4);                               /* in company */
    kit_close(&k);
}

/* ---- torn and damaged */
struct made { uint8_t *bytes; size_t n, first_end; struct mintd_str coll; struct mintd_tx last; uint32_t assets; };

static const struct fh_opt patient[] = { { "slot_ms", "100" }, { "finality", "8" }, { "validity", "10000" }, { NULL, NULL } };

/* A ledger with a collection and two mints; the second is the last record. */
static void make_ledger(struct kit *k, const char *name, struct made *m)
{
    kit_open_with(k, NULL, "solana-like", ledger_path(name), patient);
    m->coll = make_collection(k);
    struct mintd_tx one = make_mint(k, m->coll, "torn", 0, 2);
    m->last = make_mint(k, m->coll, "torn", 2, 1);
    send_ok(k, one);
    m->first_end = size_of(ledger_path(name));
    send_ok(k, m->last);
    settle(k, m->last);
    m->n = slurp(ledger_path(name), &m->bytes);
}

static int start_on(struct kit *k, const uint8_t *p, size_t n, struct kit *next)
{
    const char *path = ledger_path("cut");
    spit(path, p, n);
    assert_int_equal(kit_create(next, k->fh, "solana-like", path, patient), 0);
    return (int)kit_start(next)->out.cls;
}

static void test_a_torn_tail_is_cut_at_every_byte(void **state)
{
    (void)state;
    struct kit k, next;
    struct made m;
    make_ledger(&k, "torn", &m);
    for (size_t n = m.first_end; n < m.n; n++) {
        assert_int_equal(start_on(&k, m.bytes, n, &next), MINTD_OK);
        assert_int_equal(size_of(ledger_path("cut")), m.first_end);
        if (n % 16 == 0) {
            send_ok(&next, m.last);                                      /* its place is free again, the same bytes land there */
            settle(&next, m.last);
            assert_int_equal(listed(&next, m.coll), 3);
        }
        kit_close(&next);
    }
    for (size_t n = 0; n < 16; n++) {                                    /* not even the head was finished: begun anew */
        assert_int_equal(start_on(&k, m.bytes, n, &next), MINTD_OK);
        assert_false(str_eq(limits(&next).network, limits(&k).network));
        kit_close(&next);
    }
    uint8_t *zeros = calloc(1, m.n + 4096);
    memcpy(zeros, m.bytes, m.first_end);                                 /* space that was taken and never filled */
    assert_int_equal(start_on(&k, zeros, m.n + 4096, &next), MINTD_OK);
    assert_int_equal(size_of(ledger_path("cut")), m.first_end);
    kit_close(&next);
    memcpy(zeros, m.bytes, m.n - 50);
    memset(zeros + m.n - 50, 0, 50);
    assert_int_equal(start_on(&k, zeros, m.n, &next), MINTD_OK);
    assert_int_equal(size_of(ledger_path("cut")), m.first_end);
    kit_close(&next);
    free(zeros);
    free(m.bytes);
    kit_close(&k);
}

/* A tail torn by another daemon while this one runs: its next send cuts it. */
static void test_a_torn_tail_beside_a_running_daemon(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, NULL, "solana-like", "live");
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "v", 0, 2);
    size_t whole = size_of(ledger_path("live"));
    int fd = open(ledger_path("live"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "\1\2\3\4\5", 5), 5);
    close(fd);
    assert_int_equal(listed(&k, coll), 0);
    assert_int_equal(size_of(ledger_path("live")), whole + 5);           /* a reader leaves it: it could be a write under way */
    send_ok(&k, tx);
    settle(&k, tx);
    struct kit next;
    open_fast(&next, &k, "solana-like", "live");
    assert_int_equal(listed(&next, coll), 2);
    kit_close(&next);
    kit_close(&k);
}

static void test_damage_is_refused_and_named(void **state)
{
    (void)state;
    struct kit k, next;
    struct made m;
    make_ledger(&k, "damage", &m);
    uint8_t *copy = malloc(m.n);
    for (size_t at = 0; at < m.n; at += at < 200 ? 1 : 13) {
        memcpy(copy, m.bytes, m.n);
        copy[at] ^= 0x41;
        assert_int_equal(start_on(&k, copy, m.n, &next), MINTD_PERMANENT);
        const struct mintd_outcome *o = &next.replies[next.n - 1].out;
        assert_slug(o, MINTD_PERMANENT, at < 16 ? "local.not_a_ledger" : "local.ledger_damaged");
        assert_non_null(memmem(o->msg.p, o->msg.n, "cut.ledger", 10));
        assert_int_equal(size_of(ledger_path("cut")), m.n);              /* nothing was touched */
        kit_free(&next);
    }
    memcpy(copy, m.bytes, m.n);
    memmove(copy + m.first_end - 100, copy + m.first_end, m.n - m.first_end);
    assert_int_equal(start_on(&k, copy, m.n - 100, &next), MINTD_PERMANENT);
    kit_free(&next);
    free(copy);
    free(m.bytes);
    kit_close(&k);
}

static void test_damage_under_a_running_daemon_stops_it(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, NULL, "solana-like", "shrunk");
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "d", 0, 1);
    assert_int_equal(truncate(ledger_path("shrunk"), 60), 0);
    struct fh_reply *r = call(&k, BROADCAST, NULL, 0, VEC(&tx, 1));
    assert_slug(&r->out, MINTD_TRANSIENT, "local.ledger_broken");
    r = call(&k, STATUS, NULL, 1, VEC(&tx, 1));                          /* and nobody is told "absent" */
    assert_slug(&r->out, MINTD_TRANSIENT, "local.ledger_broken");
    assert_int_equal(size_of(ledger_path("shrunk")), 60);
    kit_close(&k);
}

/* Room for half a record: nothing of it stays, nothing landed, and with room again the same bytes land. */
static void test_a_full_disk(void **state)
{
    (void)state;
    struct kit k;
    open_fast(&k, NULL, "solana-like", "full");
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "full", 0, 2);
    size_t whole = size_of(ledger_path("full"));
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){ whole + 100, old.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct mintd_sent s = broadcast(&k, tx, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_slug(s.why, MINTD_TRANSIENT, "local.ledger_full");
    assert_int_equal(size_of(ledger_path("full")), whole);
    assert_int_equal(status(&k, tx).state, MINTD_ABSENT);
    send_ok(&k, tx);
    assert_int_equal(settle(&k, tx).state, MINTD_LANDED);
    kit_close(&k);
}

static void test_files_that_cannot_be_a_ledger(void **state)
{
    (void)state;
    struct kit k, next;
    open_fast(&k, NULL, "solana-like", "fits");
    assert_int_equal(start_on(&k, (const uint8_t *)"SQLite format 3\0 and more", 25, &next), MINTD_PERMANENT);
    assert_slug(&next.replies[0].out, MINTD_PERMANENT, "local.not_a_ledger");
    kit_free(&next);
    assert_int_equal(kit_create(&next, k.fh, "hedera-like", ledger_path("fits"), fast), 0);
    struct fh_reply *r = kit_start(&next);
    assert_slug(&r->out, MINTD_PERMANENT, "local.wrong_profile");
    assert_non_null(memmem(r->out.msg.p, r->out.msg.n, "solana-like", 11));
    kit_free(&next);
    assert_int_equal(kit_create(&next, k.fh, "solana-like", tmp_dir(), fast), 0);
    assert_slug(&kit_start(&next)->out, MINTD_PERMANENT, "local.ledger_path");
    kit_free(&next);
    assert_int_equal(kit_create(&next, k.fh, "solana-like", "/nowhere/at/all", fast), 0);
    assert_slug(&kit_start(&next)->out, MINTD_PERMANENT, "local.ledger_path");
    assert_slug(&call(&next, LIMITS, NULL, 0, (struct mintd_vec){ 0 })->out, MINTD_TRANSIENT, "local.not_started");
    kit_free(&next);
    kit_close(&k);
}

static void test_a_ledger_keeps_its_slots(void **state)
{
    (void)state;
    struct kit first, k;
    open_fast(&first, NULL, "solana-like", "slots");
    struct mintd_str coll = make_collection(&first);
    struct mintd_tx tx = make_mint(&first, coll, "k", 0, 1);
    assert_int_equal(fh_logged(first.fh, MINTD_WARN), 0);
    KIT_BESIDE(&k, &first, "solana-like", "slots", { "slot_ms", "5000" }, { "validity", "40" }, { "finality", "8" });
    assert_int_equal(fh_logged(k.fh, MINTD_WARN), 1);
    send_ok(&k, tx);
    pass(&k, 1500);
    assert_int_equal(status(&k, tx).flags & MINTD_F_FINAL, MINTD_F_FINAL);     /* 15 blocks of 100 ms, not one of 5 s */
    kit_close(&k);
    kit_close(&first);
}

/* ---- tampering */
static void tamper(const char *profile, const char *name)
{
    struct kit k;
    open_fast(&k, NULL, profile, name);
    struct mintd_str coll = make_collection(&k);
    struct mintd_tx tx = make_mint(&k, coll, "flip", 0, 2);
    char *raw = malloc(tx.raw.n + 1);
    for (size_t at = 0; at < tx.raw.n; at++) {
        struct mintd_tx bent = tx;
        memcpy(raw, tx.raw.p, tx.raw.n);
        raw[at] ^= (char)(1 << at % 8);
        bent.raw.p = raw;
        assert_slug(broadcast(&k, bent, NULL).why, MINTD_PERMANENT, "local.bad_bytes");
    }
    for (size_t n = 0; n < tx.raw.n; n += 7) {
        struct mintd_tx shorter = tx;
        shorter.raw.n = n;
        assert_slug(broadcast(&k, shorter, NULL).why, MINTD_PERMANENT, "local.bad_bytes");
    }
    memcpy(raw, tx.raw.p, tx.raw.n);
    raw[tx.raw.n] = 0;
    struct mintd_tx longer = tx;
    longer.raw = (struct mintd_str){ raw, tx.raw.n + 1 };
    assert_slug(broadcast(&k, longer, NULL).why, MINTD_PERMANENT, "local.bad_bytes");
    struct mintd_tx renamed = tx;
    renamed.id = S("another id");
    assert_slug(broadcast(&k, renamed, NULL).why, MINTD_PERMANENT, "local.bad_bytes");
    pass(&k, 2000);
    assert_int_equal(listed(&k, coll), 0);
    send_ok(&k, tx);
    settle(&k, tx);
    raw[41] ^= 1;
    struct mintd_tx bent = tx;                                           /* landed already: other bytes under its id are no duplicate */
    bent.raw.p = raw;
    assert_slug(broadcast(&k, bent, NULL).why, MINTD_PERMANENT, "local.bad_bytes");
    assert_int_equal(status(&k, bent).state, MINTD_ABSENT);
    assert_int_equal(listed(&k, coll), 2);
    free(raw);
    kit_close(&k);
}

static void test_tampered_bytes_never_land(void **state)
{
    (void)state;
    tamper("solana-like", "flip-s");
    tamper("hedera-like", "flip-h");
}

static void test_bytes_of_another_network(void **state)
{
    (void)state;
    struct kit a, b;
    open_fast(&a, NULL, "solana-like", "net-a");
    open_fast(&b, &a, "solana-like", "net-b");
    assert_false(str_eq(limits(&a).network, limits(&b).network));
    struct mintd_tx tx = make_mint(&a, make_collection(&a), "n", 0, 1);
    assert_slug(broadcast(&b, tx, NULL).why, MINTD_PERMANENT, "local.bad_bytes");
    kit_close(&b);
    kit_close(&a);
}

/* The checker's reader, written from the format alone, must see what the plugin sees. */
static void test_the_other_reader_agrees(void **state)
{
    (void)state;
    struct kit k;
    char line[2048], command[2048], wanted[256];
    uint32_t mints = 0, txs = 0, moved = 0;
    KIT_OPEN(&k, "hedera-like", "reader", { "valid_duration", "12000" }, { "ack_and_drop", "400" }, { "seed", "3" });
    struct mintd_str coll = { 0 };
    for (int i = 0; i < 20 && !coll.n; i++) {
        struct mintd_intent in = make_intent(MINTD_COLLECTION, S(""), NULL);
        struct mintd_tx tx = make_tx(&k, &in);
        send_ok(&k, tx);
        struct mintd_seen s = status(&k, tx);
        txs++;
        if (s.state == MINTD_LANDED) coll = *(const struct mintd_str *)s.assets.p;
    }
    for (uint32_t i = 0; i < 12; i++, txs++) {
        struct mintd_tx tx = make_mint(&k, coll, "read", 10 * i, 2);
        send_ok(&k, tx);
        if (status(&k, tx).state == MINTD_LANDED) mints += 2;
    }
    assert_true(mints > 4 && mints < 24);
    struct items it;
    make_items(&it, "move", 0, 1, false);
    it.rows[0].asset = S("2");
    it.rows[0].owner = S("0.0.4711");
    struct mintd_intent in = make_intent(MINTD_TRANSFER, coll, &it);
    struct mintd_tx move = { 0 };
    do {
        send_ok(&k, move = make_tx(&k, &in));
        txs++;
    } while (status(&k, move).state != MINTD_LANDED);
    assert_int_equal(listed(&k, coll), mints);
    snprintf(command, sizeof command, "python3 '%s/tests/lib/ledger.py' '%s'", getenv("MINTD_SOURCE"), ledger_path("reader"));
    snprintf(wanted, sizeof wanted, "\"owner\": \"0.0.4711\", \"collection\": \"" STR_FMT "\"", STR_ARG(coll));
    FILE *f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        mints -= strstr(line, "\"uri\": \"ipfs://read/") != NULL;
        txs -= strstr(line, "\"fate\"") != NULL;
        moved += strstr(line, wanted) != NULL && strstr(line, "\"asset\": \"2\"") != NULL;
    }
    assert_int_equal(pclose(f), 0);
    assert_int_equal(mints, 0);
    assert_int_equal(txs, 0);
    assert_int_equal(moved, 1);
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
        cmocka_unit_test(test_base58), cmocka_unit_test(test_two_daemons), cmocka_unit_test(test_a_held_lock),
        cmocka_unit_test(test_everything_is_there_after_a_restart), cmocka_unit_test(test_a_send_is_synced_before_it_is_answered),
        cmocka_unit_test(test_a_torn_tail_is_cut_at_every_byte), cmocka_unit_test(test_a_torn_tail_beside_a_running_daemon),
        cmocka_unit_test(test_damage_is_refused_and_named), cmocka_unit_test(test_damage_under_a_running_daemon_stops_it),
        cmocka_unit_test(test_a_full_disk), cmocka_unit_test(test_files_that_cannot_be_a_ledger), cmocka_unit_test(test_a_ledger_keeps_its_slots),
        cmocka_unit_test(test_tampered_bytes_never_land), cmocka_unit_test(test_bytes_of_another_network),
        cmocka_unit_test(test_the_other_reader_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
