/* Op tickets under load on the daemon's own loop and threads: every op is answered once, wrong answers are counted to the last one. */
#include "../abi/kit.h"

enum { OPS = 5000, WINDOW = 500 };

struct load { struct kit k; struct plug_inst *inst; unsigned sent, answered, ok, canceled, times[OPS]; };
struct one { struct load *load; unsigned number; };

static uint32_t mode_of(unsigned i)
{
    if (i % 10 == 3) return EVIL(EVIL_DOUBLE);
    if (i % 100 == 7) return EVIL(EVIL_WAIT);              /* until its deadline */
    return i % 50 == 11 ? EVIL(EVIL_FOREIGN) : 0;
}

static void send_next(struct load *l);

static void answered(void *arg, struct plug_reply *r)
{
    struct one *one = arg;
    struct load *l = one->load;
    l->times[one->number]++;
    l->answered++;
    l->ok += r->out->cls == MINTD_OK;
    l->canceled += r->out->cls == MINTD_CANCELED;
    free(one);
    if (l->sent < OPS) send_next(l);
    if (l->answered == OPS) loop_stop(l->k.loop);
}

static void send_next(struct load *l)
{
    static const struct mintd_kv rows[4];
    struct one *one = malloc(sizeof *one);
    *one = (struct one){ l, l->sent++ };
    uint32_t flags = mode_of(one->number);
    uint32_t op = flags == EVIL(EVIL_FOREIGN) || flags == EVIL(EVIL_WAIT) ? CACHE_DEL : CACHE_GET;
    struct mintd_req req = { .size = sizeof req, .flags = flags, .rows = VEC(rows, op == CACHE_GET ? 4 : 0) };
    plug_call(l->inst, op, &req, arena_new(0), flags == EVIL(EVIL_WAIT) ? 20 : 60000, answered, one);
}

static void test_5000_ops_4_workers(void **state)
{
    (void)state;
    static struct load l;
    kit_open(&l.k, "many: { plugin = \"cache-evil\"; workers = 4; };");
    l.inst = kit_inst(&l.k, "many");
    unsigned doubles = 0, waits = 0;
    for (unsigned i = 0; i < OPS; i++) doubles += mode_of(i) == EVIL(EVIL_DOUBLE);
    for (unsigned i = 0; i < OPS; i++) waits += mode_of(i) == EVIL(EVIL_WAIT);
    while (l.sent < WINDOW) send_next(&l);
    while (l.answered < OPS) loop_run(l.k.loop);
    kit_sleep(&l.k, 50);
    for (unsigned i = 0; i < OPS; i++) assert_int_equal(l.times[i], 1);
    assert_int_equal(doubles, OPS / 10);
    assert_int_equal(kit_defects("many", "double_done"), doubles);
    assert_true(l.ok + l.canceled + (OPS - l.ok - l.canceled) == OPS && l.ok >= OPS - waits);
    assert_int_equal(plug_in_flight(l.inst), 0);
    kit_close(&l.k);
}

/* One worker is busy: what waits behind it was never begun, so "no effect" is certain, even of a commit. */
static void test_deadline_in_the_queue(void **state)
{
    (void)state;
    struct kit k;
    struct answer busy, late;
    kit_open(&k, "queue: { plugin = \"store-evil\"; workers = 1; };");
    kit_send(&k, "queue", STORE_COMMIT, EVIL(EVIL_BLOCK), 1, &busy);
    kit_send_arg(&k, "queue", STORE_COMMIT, 0, NULL, 1, 40, &late);
    kit_wait(&k, &late);
    assert_int_equal(busy.times, 0);
    assert_int_equal(late.cls, MINTD_TRANSIENT);
    assert_string_equal(late.slug, "host.deadline");
    assert_contains(late.msg, "was not begun");
    kit_wait(&k, &busy);
    assert_int_equal(busy.cls, MINTD_OK);
    assert_int_equal(kit_call(&k, "queue", STORE_COMMIT, 0, 1).cls, MINTD_OK);
    assert_int_equal(late.times, 1);
    assert_int_equal(kit_defects("queue", "no_answer"), 0);    /* not the plugin's fault */
    kit_close(&k);
}

/* A drain waits for what runs, refuses what comes, and ends. */
static void test_drain_under_load(void **state)
{
    (void)state;
    struct kit k;
    struct answer a[40], refused;
    kit_open(&k, "load: { plugin = \"store-evil\"; };");
    for (size_t i = 0; i < ARRAY_LEN(a); i++) kit_send(&k, "load", STORE_QUERY, EVIL(EVIL_SLEEP), 1, &a[i]);
    plug_drain(k.plug, kit_drained, &k);
    kit_send(&k, "load", STORE_QUERY, 0, 1, &refused);
    while (!k.ended) loop_run(k.loop);
    for (size_t i = 0; i < ARRAY_LEN(a); i++) assert_int_equal(a[i].cls, MINTD_OK);
    assert_string_equal(refused.slug, "host.draining");
    assert_int_equal(plug_free(k.plug), 0);
    conf_unref(k.conf);
    assert_int_equal(loop_free(k.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_5000_ops_4_workers), cmocka_unit_test(test_deadline_in_the_queue),
        cmocka_unit_test(test_drain_under_load) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    plug_files_close();
    metric_close();
    log_close();
    tmp_clean();
    return failed;
}
