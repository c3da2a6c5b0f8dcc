/* The shortest life of a request through the store: accept, claim, done, and the books that must agree at its end. */
#include "fix.h"

static void walk(void **state)
{
    (void)state;
    struct fix f;
    fix_world(&f, "walk.db");
    accept_group(&f, "order-1", f.collection, 25, 10);
    uint64_t request = applied(&f);
    uint32_t n;
    const struct mintd_db_chunk *c = claim(&f, (int64_t)f.collection, 10, 1, &n);
    assert_int_equal(n, 3);
    uint64_t id[3];
    for (uint32_t i = 0; i < n; i++) {
        id[i] = c[i].id;
        assert_int_equal(c[i].id, (request << 24) + 10 * i);
        assert_int_equal(c[i].state, UPLOADING);
        assert_int_equal(c[i].slot, f.slot);
        assert_int_equal(c[i].items.n, i < 2 ? 10 : 5);
    }
    for (uint32_t i = 0; i < n; i++) bring(&f, id[i], LANDED);
    for (uint32_t i = 0; i < n; i++) {
        step(&f, id[i], LANDED, DONE, 1);
        assert_int_equal(applied(&f), i == 0 ? 15 : i == 1 ? 5 : 0);       /* seats still to be minted */
    }
    assert_int_equal(SQL_INT(&f, "SELECT finished_at IS NOT NULL FROM requests"), 1);
    assert_int_equal(SQL_INT(&f, "SELECT count(*) FROM events WHERE kind = 'request.finished'"), 1);
    const struct fh_reply *r = ask(&f, (struct mintd_query){ .kind = MINTD_DB_COUNT, .request = request }, 0);
    const struct mintd_db_count *counts = r->res.rows.p;
    assert_int_equal(r->res.rows.n, 3);
    assert_int_equal(counts[0].done, 25);
    assert_int_equal(counts[0].open, 0);
    assert_int_equal(counts[0].fee, 33);
    fix_free(&f);
}

static int gone(void **state) { (void)state; tmp_clean(); return 0; }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(walk) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
