/* What the store costs, in numbers that do not depend on the machine: the plan of every statement, commits, log bytes and pages. */
#include "fix.h"

#include <sys/stat.h>

static const struct { const char *name, *text; } statements[] = {
#define SQL(name, text) { #name, text },
#include "../statements.h"
#undef SQL
};

/* Walked whole: the index of what is open alone. */
static const struct { const char *name, *plan; } declared_scans[] = { { "REQUEST_STALE", "SCAN r USING INDEX requests_open" } };

static bool declared(const char *name, const char *plan)
{
    for (size_t i = 0; i < ARRAY_LEN(declared_scans); i++)
        if (!strcmp(name, declared_scans[i].name) && !strcmp(plan, declared_scans[i].plan)) return true;
    return false;
}

static void plans(void **state)
{
    (void)state;
    static const char *const big[] = { "SCAN chunks", "SCAN items", "SCAN attempts", "SCAN events", "SCAN item_moves", "SCAN requests", "SCAN r",
        "SCAN i ", "SCAN m ", "SCAN proofs", "SCAN spend", "SCAN counters", "SCAN api_keys", "SCAN reconciliation_reports" };
    struct fix f;
    fix_world(&f, "plans.db");
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        sqlite3_stmt *st = NULL;
        char sql[2048];
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", statements[i].text);
        if (sqlite3_prepare_v2(raw(&f), sql, -1, &st, NULL)) { print_error("%s: %s\n", statements[i].name, sqlite3_errmsg(raw(&f))); failed++; }
        while (st && sqlite3_step(st) == SQLITE_ROW) {
            const char *plan = (const char *)sqlite3_column_text(st, 3);
            for (size_t k = 0; k < ARRAY_LEN(big); k++) {
                if (strncmp(plan, big[k], strlen(big[k])) || declared(statements[i].name, plan)) continue;
                print_error("%s: %s\n", statements[i].name, plan);
                failed++;
            }
        }
        sqlite3_finalize(st);
    }
    assert_int_equal(failed, 0);
    fix_free(&f);
}

/* Where a list promises to go straight to its place: exactly this way, and nothing is sorted. */
static const struct { const char *name, *plan; } straight[] = {
    { "NEWEST_CHUNK", "SEARCH chunks USING INTEGER PRIMARY KEY (rowid<?)" },
    { "MINTED_WITH", "SEARCH chunks USING INDEX chunks_minted_any (minted_at=? AND id<?)" },
    { "MINTED_BEFORE", "SEARCH chunks USING INDEX chunks_minted_any (minted_at<?)" },
    { "MINTED_WITH_VENUE", "SEARCH chunks USING INDEX chunks_minted (venue=? AND minted_at=? AND id<?)" },
    { "MINTED_BEFORE_VENUE", "SEARCH chunks USING INDEX chunks_minted (venue=? AND minted_at<?)" },
    { "TROUBLED_CHUNK", "SEARCH chunks USING INDEX chunks_troubled (venue=? AND id<?)" },
    { "TROUBLED_VENUE", "SEARCH chunks USING INDEX chunks_troubled (venue>?)" },
    { "SEATS_HOME", "SEARCH items USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" },
    { "LIST_EVENTS", "SEARCH events USING PRIMARY KEY ((slot,seq)>(?,?))" },
    { "LIST_EVENTS_SLOT", "SEARCH events USING PRIMARY KEY (slot=? AND seq>?)" },
    { "LIST_EVENTS_REQUEST", "SEARCH events USING INDEX events_request (request=? AND (slot,seq)>(?,?))" },
    { "LIST_ITEMS_TICKET", "SEARCH items USING COVERING INDEX sqlite_autoindex_items_1 (ticket=?)" },
    { "LIST_REQUESTS_VENUE", "SEARCH requests USING INDEX requests_listed (venue=? AND id<?)" },
    { "LIST_REPORTS", "SEARCH reconciliation_reports USING INTEGER PRIMARY KEY (rowid<?)" },
};

static void lists_go_straight(void **state)
{
    (void)state;
    struct fix f;
    fix_world(&f, "straight.db");
    for (size_t i = 0; i < ARRAY_LEN(straight); i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(statements) && strcmp(statements[k].name, straight[i].name)) k++;
        assert_true(k < ARRAY_LEN(statements));
        sqlite3_stmt *st = NULL;
        char sql[2048];
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", statements[k].text);
        assert_int_equal(sqlite3_prepare_v2(raw(&f), sql, -1, &st, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(st), SQLITE_ROW);
        assert_string_equal(sqlite3_column_text(st, 3), straight[i].plan);
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
        sqlite3_finalize(st);
    }
    fix_free(&f);
}

/* The plans of the triggers: the steps of the good path touch a handful of pages however many rows there are. */
static int64_t steps_of(struct fix *f, uint64_t id, bool signs)
{
    sqlite3 *h = raw(f);
    sqlite3_stmt *st = NULL;
    const char *sql = signs ? "UPDATE chunks SET state = 4, attempt_no = attempt_no + 1 WHERE id = ?1" : "UPDATE chunks SET state = 3 WHERE id = ?1";
    assert_int_equal(sqlite3_prepare_v2(h, sql, -1, &st, NULL), SQLITE_OK);
    sqlite3_bind_int64(st, 1, (int64_t)id);
    sqlite3_exec(h, "BEGIN", NULL, NULL, NULL);
    assert_int_equal(sqlite3_step(st), SQLITE_DONE);
    int64_t n = sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 0) + sqlite3_stmt_status(st, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0);
    sqlite3_finalize(st);
    sqlite3_exec(h, "ROLLBACK", NULL, NULL, NULL);
    return n;
}

static void triggers_do_not_grow(void **state)
{
    (void)state;
    struct fix f;
    fix_world(&f, "grow.db");
    uint64_t a = one_chunk(&f, "a", 10);
    int64_t before = steps_of(&f, a, false), rows_before, rows_after;
    accept(&f, "one", 100, 10);
    rows_before = SQL_INT(&f, "SELECT count(*) FROM chunks");
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "more%d", i);
        accept(&f, key, 1000, 10);
    }
    rows_after = SQL_INT(&f, "SELECT count(*) FROM chunks");
    int64_t after = steps_of(&f, a, false);
    printf("# counter trigger_steps_small %lld\n# counter trigger_steps_large %lld\n", (long long)before, (long long)after);
    assert_true(rows_after > 100 * rows_before && after <= before + 10);
    bring(&f, a, UPLOADED);
    assert_true(steps_of(&f, a, true) < 300);
    fix_free(&f);
}

/* ---- what a typical flow writes */
static int64_t wal_size(const struct fix *f)
{
    char path[600];
    struct stat st;
    snprintf(path, sizeof path, "%s-wal", f->path);
    return stat(path, &st) ? 0 : (int64_t)st.st_size;
}

static uint32_t commits;
static void flush_groups(struct fix *f)
{
    uint32_t n = f->b.groups;
    if (!n) return;
    const struct mintd_applied *a = commit(f);
    commits++;
    for (uint32_t i = 0; i < n; i++) assert_verdict(&a[i], MINTD_APPLIED, "");
}

static void one_phase(struct fix *f, const uint64_t *ids, uint32_t n, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < n; i++) {
        if (to == SIGNED) {
            static char bytes[900];
            memset(bytes, 's', sizeof bytes);
            sign(f, ids[i], 1)->bytes = (struct mintd_str){ bytes, sizeof bytes };
        } else {
            step(f, ids[i], from, to, from >= SIGNED);
        }
        if (to == DONE) ((struct mintd_db_chunk *)(uintptr_t)f->b.ch[f->b.n - 1].rows.p)->first_serial = 1 + (ids[i] & 0xffffff) + (ids[i] >> 24) * 100000;
        if (f->b.groups == 50) flush_groups(f);
    }
    flush_groups(f);
}

static void costs(void **state)
{
    (void)state;
    enum { ITEMS = 10000, PER = 10, REQUESTS = 10 };
    struct fix f;
    fix_new(&f, "costs.db");
    fix_create(&f, (struct fh_opt[]){ { "path", f.path }, { "checkpoint_pages", "1000000" }, { NULL, NULL } });
    assert_ok(call(&f, START, NULL, 0, (struct mintd_vec){ 0 }));
    fix_migrate(&f);
    struct mintd_lease_of l = lease(&f, "one", 30000, 0);
    f.slot = l.slot;
    f.epoch = l.epoch;
    f.venue = venue(&f, "arena");
    f.collection = collection(&f, f.venue, "show", MINTD_COL_READY);
    commits = 0;
    static char body[330];
    memset(body, 'b', sizeof body);
    int64_t begun = wal_size(&f);
    for (int i = 0; i < REQUESTS; i++) {
        char key[16];
        snprintf(key, sizeof key, "order-%d", i);
        accept_group(&f, key, f.collection, ITEMS / REQUESTS, PER);
        struct mintd_db_item *it = (void *)(uintptr_t)f.b.ch[1].rows.p;
        for (int k = 0; k < ITEMS / REQUESTS; k++) it[k].body = (struct mintd_str){ body, sizeof body };
        flush_groups(&f);
    }
    int64_t accepted = wal_size(&f);
    static uint64_t ids[ITEMS / PER];
    uint32_t n = 0;
    while (n < ITEMS / PER) {
        uint32_t got;
        const struct mintd_db_chunk *c = claim(&f, (int64_t)f.collection, 50, 1, &got);
        commits++;
        for (uint32_t i = 0; i < got; i++) ids[n++] = c[i].id;
    }
    one_phase(&f, ids, n, UPLOADING, UPLOADED);
    one_phase(&f, ids, n, UPLOADED, SIGNED);
    one_phase(&f, ids, n, SIGNED, LANDED);
    one_phase(&f, ids, n, LANDED, DONE);
    int64_t ended = wal_size(&f), per_1000 = ITEMS / 1000;
    int64_t intake = (accepted - begun) / per_1000, machine = (ended - accepted) / per_1000;
    printf("# counter commits_per_1000_items %lld\n", (long long)commits / per_1000);
    printf("# counter wal_bytes_accept_per_1000_items %lld\n# counter wal_bytes_machine_per_1000_items %lld\n", (long long)intake, (long long)machine);
    printf("# counter wal_pages_per_1000_items %lld\n", (long long)(intake + machine) / 4120);
    printf("# counter file_bytes_per_item %lld\n", (long long)(SQL_INT(&f, "PRAGMA page_count") * 4096 / ITEMS));
    assert_true(commits / per_1000 <= 11);
    assert_true(intake <= 600000);
    assert_true(machine <= 450000);
    assert_int_equal(SQL_INT(&f, "SELECT sum(done) FROM counters WHERE scope = 0"), ITEMS);
    fix_free(&f);
}

static int gone(void **state) { (void)state; tmp_clean(); return 0; }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(plans), cmocka_unit_test(lists_go_straight), cmocka_unit_test(triggers_do_not_grow), cmocka_unit_test(costs) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
