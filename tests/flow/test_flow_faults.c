/* Every stage x every outcome class x {before the effect, after it, answer lost, answer without rows, killed}: whatever one call of one
 * plugin does, the tickets end up minted exactly once. Each script runs in processes of its own: a life with the fault, then a
 * life without it on the same folder. FLOW_ONLY=part of a name runs those, FLOW_FULL=1 runs every script on both profiles, FLOW_SHARE=n one of n; by
 * default they take turns, so that each stage meets each class on one of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/str.h"
#include "flow.h"
#include "tmp.h"

enum { TICKETS = 9, SETTLE_MS = 3600000, KILLED = 99 };

static const char *const profiles[] = { "solana-like", "hedera-like" };
static const char OWNER[] = "owner-of-tickets";

struct script { const char *plugin; unsigned op; const char *what, *when; char cls; unsigned nth; };
#define BEFORE_ALL(p, op, what, nth) { p, op, what, "before", '1', nth }, { p, op, what, "before", '2', nth }, \
    { p, op, what, "before", '3', nth }, { p, op, what, "before", '4', nth }, { p, op, what, "before", '5', nth }, { p, op, what, "before", 'k', nth }
#define AFTER_ALL(p, op, what, nth) { p, op, what, "after", '2', nth }, { p, op, what, "after", '5', nth }, { p, op, what, "after", 'k', nth }, \
    { p, op, what, "lost", '0', nth }, { p, op, what, "garble", '0', nth }
#define STAGE(p, op, what, nth) BEFORE_ALL(p, op, what, nth), AFTER_ALL(p, op, what, nth)

/* A commit's place in the walk of one batch: 1 pins, 2 lease, 3 network, 4 venue, 5 collection, 6 seal; then creation, upload, attempts, ends. */
static const struct script scripts[] = {
    STAGE("signer-file", 0, "public_keys", 1), STAGE("signer-file", 1, "sign", 1), STAGE("signer-file", 1, "sign", 2),
    STAGE("ipfs", 0, "identify", 1), STAGE("ipfs", 1, "put", 1),
    STAGE("cache-memory", 0, "cache get", 1), STAGE("cache-memory", 1, "cache put", 1),
    STAGE("chain-local", 0, "limits", 1), STAGE("chain-local", 1, "prepare", 1), STAGE("chain-local", 1, "prepare", 2),
    STAGE("chain-local", 2, "seal", 1), STAGE("chain-local", 2, "seal", 2),
    STAGE("chain-local", 3, "broadcast", 1), STAGE("chain-local", 3, "broadcast", 2), STAGE("chain-local", 3, "broadcast", 3),
    STAGE("chain-local", 4, "status", 1), STAGE("chain-local", 4, "status", 3), STAGE("chain-local", 4, "status", 6),
    STAGE("store-sqlite", 1, "commit", 1), STAGE("store-sqlite", 1, "commit", 2), STAGE("store-sqlite", 1, "commit", 3),
    STAGE("store-sqlite", 1, "commit", 4), STAGE("store-sqlite", 1, "commit", 5), STAGE("store-sqlite", 1, "commit", 6),
    STAGE("store-sqlite", 1, "commit", 7), STAGE("store-sqlite", 1, "commit", 8), STAGE("store-sqlite", 1, "commit", 9),
    STAGE("store-sqlite", 1, "commit", 10), STAGE("store-sqlite", 1, "commit", 11),
    STAGE("store-sqlite", 2, "claim", 1), STAGE("store-sqlite", 2, "claim", 2),
    STAGE("store-sqlite", 3, "query", 1), STAGE("store-sqlite", 3, "query", 2), STAGE("store-sqlite", 3, "query", 4),
    BEFORE_ALL("store-sqlite", 4, "migrate", 1),           /* a migration has no deadline: its answer can not be lost, only awaited */
    { "store-sqlite", 4, "migrate", "after", '5', 1 }, { "store-sqlite", 4, "migrate", "after", 'k', 1 },
    { "store-sqlite", 4, "migrate", "garble", '0', 1 },
};

/* ---- one life, in a process of its own: argv: --life DIR PROFILE PLUGIN|- retry|- */
static const char *life[5];

static void one_life(void **state)
{
    (void)state;
    bool faulty = strcmp(life[2], "-") != 0;
    struct flow_text t = { .profile = life[1], .wrapped = faulty ? life[2] : NULL, .mint = "window = 1; window_max = 2;",
        .pipeline = "confirm: { proof_deadline = \"20m\"; }" };
    struct flow *f;
    int r = flow_try(life[0], 7, &t, &f);
    if (r && !faulty) fail_msg("the second life could not start");
    struct flow_answer a = { .verdict = PIPE_BUSY };
    if (!r) a = flow_submit(f, "venue-1", "t", TICKETS, OWNER);
    bool accepted = a.verdict == PIPE_ACCEPTED || a.verdict == PIPE_REPLAYED;
    if (accepted) flow_until(f, flow_all_settled, SETTLE_MS);
    if (!faulty) {
        assert_true(accepted);
        if (life[3][0] == 'r') {                           /* a plugin that says "never" may fail items: a retry brings them back */
            flow_retry(f, a.request);
            flow_until(f, flow_all_settled, SETTLE_MS);
        }
        const char *wrong = flow_judge(f);
        if (wrong) fail_msg("%s", wrong);
        assert_int_equal(flow_sql(f, "SELECT sum(done) FROM counters WHERE scope = 0 AND kind = 0"), TICKETS);
        assert_int_equal(flow_sql(f, "SELECT count(*) FROM chunks WHERE state < 10"), 0);
        assert_int_equal(flow_on_chain(f), TICKETS);
        if (!strcmp(life[1], "hedera-like"))
            assert_int_equal(flow_sql(f, "SELECT sum(done) FROM counters WHERE scope = 0 AND kind = 2"), TICKETS);
    } else if (accepted && !f->dead) {
        const char *wrong = flow_judge(f);
        if (wrong && flow_all_settled(f)) fail_msg("%s", wrong);
    }
    if (faulty) flow_run(f, 300000);                       /* an answer that comes far too late comes by then */
    if (r || f->dead) flow_stop(f);
    else flow_end(f);
}

static int run_life(const char *dir, const char *profile, const struct script *s, bool faulty)
{
    char wrap[96], fired[4200];
    snprintf(wrap, sizeof wrap, "%s %u %s %c %u", s->plugin, s->op, s->when, s->cls, s->nth);
    snprintf(fired, sizeof fired, "%s.fired", dir);
    pid_t pid = fork();
    if (!pid) {
        if (faulty) setenv("FLOW_WRAP", wrap, 1);
        setenv("FLOW_FIRED", fired, 1);
        if (!getenv("FLOW_VERBOSE")) {
            char log[4200];
            snprintf(log, sizeof log, "%s.log", dir);
            if (!freopen(log, "a", stderr) || !freopen(log, "a", stdout)) _exit(98);
        }
        execl("/proc/self/exe", "life", "--life", dir, profile, faulty ? s->plugin : "-", s->cls == '4' ? "r" : "-", (char *)NULL);
        _exit(97);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void show(const char *dir)
{
    char cmd[4300];
    snprintf(cmd, sizeof cmd, "tail -n 25 %s.log >&2", dir);
    if (system(cmd)) print_message("no log\n");
}

static void scripts_of(const char *profile)
{
    const char *only = getenv("FLOW_ONLY"), *full = getenv("FLOW_FULL");
    unsigned run = 0, bad = 0, idle = 0, share = flow_share();
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        const struct script *s = &scripts[i];
        char dir[4096], name[128], fired[4200];
        snprintf(name, sizeof name, "%s/%s/%s/%c/%u", profile, s->what, s->when, s->cls, s->nth);
        if (profile == profiles[1] && !strcmp(s->what, "public_keys")) continue;       /* its items have no keys */
        if (only ? !strstr(name, only) : !full && (i + i / 11) % ARRAY_LEN(profiles) != (profile == profiles[1])) continue;
        if (!only && i / 2 % share) continue;
        snprintf(dir, sizeof dir, "%s/%s-%zu", tmp_dir(), profile, i);
        snprintf(fired, sizeof fired, "%s.fired", dir);
        int first = run_life(dir, profile, s, true);
        bool ok = s->cls == 'k' ? first == KILLED : first == 0, hit = !access(fired, F_OK);
        int second = ok && hit ? run_life(dir, profile, s, false) : 0;
        run++;
        idle += !hit;
        if (ok && hit && !second) continue;
        bad++;
        print_error("%s: first life %d%s, second life %d\n", name, first, hit ? "" : " (the fault never came up)", second);
        show(dir);
    }
    print_message("%u scripts on %s, %u bad, %u idle\n", run, profile, bad, idle);
    assert_int_equal(bad, 0);
    assert_true(only || run >= 60 / share);
}

static void faults_on_the_solana_like_chain(void **state) { (void)state; scripts_of(profiles[0]); }
static void faults_on_the_hedera_like_chain(void **state) { (void)state; scripts_of(profiles[1]); }

int main(int argc, char **argv)
{
    flow_setup();
    if (argc == 6 && !strcmp(argv[1], "--life")) {
        memcpy(life, argv + 2, 4 * sizeof *life);
        const struct CMUnitTest one[] = { cmocka_unit_test(one_life) };
        int failed = cmocka_run_group_tests(one, NULL, NULL);
        plug_files_close();
        return failed;
    }
    const struct CMUnitTest solana[] = { cmocka_unit_test(faults_on_the_solana_like_chain) };
    const struct CMUnitTest hedera[] = { cmocka_unit_test(faults_on_the_hedera_like_chain) };
    bool second = argc == 2 && !strcmp(argv[1], profiles[1]);
    int r = second ? cmocka_run_group_tests(hedera, NULL, NULL) : cmocka_run_group_tests(solana, NULL, NULL);
    if (!r) tmp_clean();
    return r;
}
