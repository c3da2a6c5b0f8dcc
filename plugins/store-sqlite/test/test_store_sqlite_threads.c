/* On real threads: readers beside the writer see whole commits, and a copy made meanwhile has every commit that was answered before it
 * began. The host here is the barest: each thread is one worker and runs its ops itself. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "fix.h"

enum { COMMITS = 150, READERS = 2, PER = 10, SCRATCH = 4096 };


struct mintd_cfg { const char *path, *backup; };
struct mintd_op { void *mem[SCRATCH]; int n; uint32_t cls; char why[200]; void *rows; uint32_t n_rows, stride; bool done; };
static _Thread_local uint32_t worker_index;
static const struct mintd_plugin *plugin;

static void host_done(struct mintd_op *op, const struct mintd_outcome *o, const struct mintd_res *r)
{
    assert_false(op->done);
    op->done = true;
    op->cls = o ? o->cls : 0;
    if (o) snprintf(op->why, sizeof op->why, STR_FMT ": " STR_FMT, STR_ARG(o->slug), STR_ARG(o->msg));
    if (!r || !r->rows.n) return;
    op->n_rows = r->rows.n;
    op->stride = r->rows.stride;
    op->rows = malloc((size_t)r->rows.n * r->rows.stride);
    memcpy(op->rows, r->rows.p, (size_t)r->rows.n * r->rows.stride);
}

static void *host_scratch(struct mintd_op *op, size_t n) { return op->n < SCRATCH ? op->mem[op->n++] = calloc(1, n) : NULL; }
static int host_canceled(struct mintd_op *op) { (void)op; return 0; }
static uint64_t host_now(struct mintd_ctx *c)
{
    struct timespec t;
    (void)c;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
static int64_t host_wall(struct mintd_ctx *c) { return (int64_t)host_now(c) * 1000 + WALL_MS * 1000; }
static void host_random(struct mintd_ctx *c, void *p, size_t n) { (void)c; memset(p, 0x42, n); }
static void host_log(struct mintd_ctx *c, struct mintd_op *op, uint32_t level, struct mintd_str msg, struct mintd_vec f)
{
    (void)c; (void)op; (void)level; (void)msg; (void)f;
}
static void host_metric(struct mintd_ctx *c, uint32_t i, struct mintd_str label, int64_t v) { (void)c; (void)i; (void)label; (void)v; }
static int host_sync(struct mintd_ctx *c, int fd) { (void)c; return fdatasync(fd) ? -errno : 0; }
static uint32_t host_worker(struct mintd_ctx *c) { (void)c; return worker_index; }
static int host_wait(struct mintd_op *op, int fd, uint32_t ev, uint64_t ms)
{
    (void)op; (void)fd; (void)ev;
    usleep((useconds_t)ms * 1000);
    return 0;
}
static int opt_str(const struct mintd_cfg *cfg, const char *name, uint32_t i, struct mintd_str *ret)
{
    const char *v = !strcmp(name, "path") ? cfg->path : !strcmp(name, "backup") ? cfg->backup : NULL;
    if (!v || i) return -ENOENT;
    *ret = str_of(v);
    return 0;
}
static int opt_i64(const struct mintd_cfg *cfg, const char *name, uint32_t i, int64_t *ret)
{
    (void)cfg; (void)i;
    *ret = !strcmp(name, "busy_timeout") ? 10000 : !strcmp(name, "cache") ? 1 << 20 : !strcmp(name, "wal_limit") ? 1 << 26
        : !strcmp(name, "checkpoint_pages") ? 200 : 0;
    return 0;
}
static void opt_error(const struct mintd_cfg *cfg, const char *name, const char *why) { (void)cfg; fail_msg("%s %s", name, why); }
static const struct mintd_host host = { .size = sizeof host, .done = host_done, .scratch = host_scratch, .canceled = host_canceled,
    .now_ms = host_now, .wall_us = host_wall, .random = host_random, .log = host_log, .metric = host_metric, .sync = host_sync,
    .worker = host_worker, .wait = host_wait, .opt_str = opt_str, .opt_i64 = opt_i64, .opt_error = opt_error };

/* ---- one op, run by the thread that asks for it */
static void op_free(struct mintd_op *op)
{
    for (int i = 0; i < op->n; i++) free(op->mem[i]);
    free(op->rows);
    free(op);
}

static struct mintd_op *op_run(void *self, mintd_op_fn *fn, const void *arg, uint32_t flags, struct mintd_vec rows)
{
    struct mintd_op *op = calloc(1, sizeof *op);
    fn(self, op, &(struct mintd_req){ .size = sizeof(struct mintd_req), .flags = flags, .arg = arg, .rows = rows });
    assert_true(op->done);
    if (op->cls) fail_msg("%s", op->why);
    return op;
}

static const struct mintd_store_ops *ops(void) { return plugin->ops; }

static void *instance(const char *path, const char *backup)
{
    struct mintd_cfg cfg = { path, backup };
    void *self;
    assert_int_equal(plugin->create(&host, NULL, &cfg, &self), 0);
    op_free(op_run(self, plugin->start, NULL, 0, (struct mintd_vec){ 0 }));
    return self;
}

static void end_instance(void *self)
{
    op_free(op_run(self, plugin->drain, NULL, 0, (struct mintd_vec){ 0 }));
    plugin->destroy(self);
}

static uint64_t commit_changes(void *self, struct mintd_change *ch, uint32_t n, uint32_t slot)
{
    struct mintd_commit arg = { .size = sizeof arg, .slot = slot, .epoch = slot };
    struct mintd_op *op = op_run(self, ops()->commit, &arg, 1, (struct mintd_vec){ ch, n, sizeof *ch });
    struct mintd_applied a = *(struct mintd_applied *)op->rows;
    op_free(op);
    assert_int_equal(a.verdict, MINTD_APPLIED);
    return a.value;
}
#define ONE(kind, row) (struct mintd_change){ kind, 1, { &(row), 1, sizeof(row) } }

static void accept_ten(void *self, uint32_t no, size_t body)
{
    struct mintd_db_item it[PER] = { 0 };
    char key[32], tickets[PER][32], *fat = calloc(1, body + 1);
    memset(fat, 'b', body);
    snprintf(key, sizeof key, "key-%u", no);
    for (uint32_t i = 0; i < PER; i++) {
        snprintf(tickets[i], sizeof tickets[i], "t-%u-%u", no, i);
        it[i] = (struct mintd_db_item){ .id = i, .ticket = str_of(tickets[i]), .body = { fat, body } };
    }
    struct mintd_db_run run = { 1, 0, PER, PER / 2, 0 };
    struct mintd_db_request r = { .venue = 1, .idem_key = str_of(key), .body_hash = S("0123456789abcdef0123456789abcdef"), .state = MINTD_RQ_SEALED,
        .n_items = PER, .runs = { &run, 1, sizeof run } };
    struct mintd_change ch[] = { ONE(MINTD_DB_REQUEST, r), { MINTD_DB_ITEM, 1, { it, PER, sizeof it[0] } } };
    commit_changes(self, ch, 2, 1);
    free(fat);
}

static void *world(const char *path)
{
    void *self = instance(path, NULL);
    op_free(op_run(self, ops()->migrate, NULL, 1, (struct mintd_vec){ 0 }));
    struct mintd_db_lease lease = { .holder = S("one"), .ttl_ms = 1000000 };
    struct mintd_db_venue venue_row = { .name = S("arena") };
    struct mintd_db_collection col = { .venue = 1, .pipeline = S("line"), .name = S("show"), .network = S("n"), .state = MINTD_COL_READY };
    commit_changes(self, &ONE(MINTD_DB_LEASE, lease), 1, 0);
    commit_changes(self, &ONE(MINTD_DB_VENUE, venue_row), 1, 1);
    commit_changes(self, &ONE(MINTD_DB_COLLECTION, col), 1, 1);
    return self;
}

/* ---- the threads */
struct shared { void *self; atomic_uint answered, copies; atomic_bool over; uint32_t looks[READERS]; const char *path, *copy; };

static uint64_t open_seats(void *self)
{
    struct mintd_query q = { .size = sizeof q, .kind = MINTD_DB_COUNT, .venue = 1 };
    struct mintd_op *op = op_run(self, ops()->query, &q, 0, (struct mintd_vec){ 0 });
    uint64_t n = ((struct mintd_db_count *)op->rows)->open;
    op_free(op);
    return n;
}

static void *reader(void *arg)
{
    struct shared *s = ((void **)arg)[0];
    worker_index = (uint32_t)(uintptr_t)((void **)arg)[1];
    while (!atomic_load(&s->over)) {
        uint64_t before = (uint64_t)atomic_load(&s->answered) * PER, n = open_seats(s->self);
        assert_true(n >= before);                          /* what was answered is seen */
        assert_int_equal(n % PER, 0);                      /* and nothing half */
        s->looks[worker_index - 1]++;
    }
    return NULL;
}

static void *copier(void *arg)
{
    struct shared *s = arg;
    worker_index = 0;
    while (!atomic_load(&s->over)) {
        void *self = instance(s->path, s->copy);           /* as another process would, beside the one that writes */
        uint32_t before = atomic_load(&s->answered);
        op_free(op_run(self, ops()->migrate, NULL, 4, (struct mintd_vec){ 0 }));
        end_instance(self);
        sqlite3 *h;
        assert_int_equal(sqlite3_open_v2(s->copy, &h, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
        int64_t n = sql_int(h, "SELECT count(*) FROM items");
        assert_true(n >= (int64_t)before * PER);
        assert_int_equal(n % PER, 0);
        assert_int_equal(sql_int(h, "SELECT count(*) FROM pragma_quick_check WHERE quick_check <> 'ok'"), 0);
        sqlite3_close(h);
        atomic_fetch_add(&s->copies, 1);
    }
    return NULL;
}

static void beside_each_other(void **state)
{
    (void)state;
    char path[512], copy[512];
    snprintf(path, sizeof path, "%s/live.db", tmp_dir());
    snprintf(copy, sizeof copy, "%s/copy.db", tmp_dir());
    worker_index = 0;
    struct shared s = { .self = world(path), .path = path, .copy = copy };
    uint32_t no = 0;
    for (; no < 20; no++) { accept_ten(s.self, no, 100000); atomic_fetch_add(&s.answered, 1); }        /* more than one helping of the copy */
    pthread_t t[READERS + 1];
    void *args[READERS][2];
    for (uint32_t i = 0; i < READERS; i++) {
        args[i][0] = &s;
        args[i][1] = (void *)(uintptr_t)(i + 1);
        assert_int_equal(pthread_create(&t[i], NULL, reader, args[i]), 0);
    }
    assert_int_equal(pthread_create(&t[READERS], NULL, copier, &s), 0);
    for (; no < COMMITS || !atomic_load(&s.copies); no++) { accept_ten(s.self, no, 300); atomic_fetch_add(&s.answered, 1); }
    atomic_store(&s.over, true);
    for (uint32_t i = 0; i <= READERS; i++) pthread_join(t[i], NULL);
    for (uint32_t i = 0; i < READERS; i++) assert_true(s.looks[i] > 0);
    assert_int_equal(open_seats(s.self), no * PER);
    printf("# %u commits, %u copies, %u and %u looks\n", no, atomic_load(&s.copies), s.looks[0], s.looks[1]);
    end_instance(s.self);
}

static int load(void **state)
{
    (void)state;
    char path[600];
    const char *dir = getenv("MINTD_PLUGINS");
    snprintf(path, sizeof path, "%s/store-sqlite.so", dir ? dir : "plugins-out");
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!so) fail_msg("%s", dlerror());
    const struct mintd_plugin *(*entry)(void);
    *(void **)&entry = dlsym(so, "mintd_plugin_v0");
    plugin = entry();
    return 0;
}

static int gone(void **state) { (void)state; tmp_clean(); return 0; }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(beside_each_other) };
    return cmocka_run_group_tests(tests, load, gone);
}
