/* Tickets sent again: known ones are told, never taken in twice, other content is refused whole, small and streamed bodies alike; and
 * the same with every call of the store failing, losing its answer or killing the process in turn. Each faulty life is a process of
 * its own, followed by one without faults on the same folder. FLOW_ONLY=part of a name runs those. */
#include <errno.h>
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
#include "loop_fake.h"
#include "tmp.h"

enum { HOUR = 3600000, KILLED = 99, ALL = 26 };
#define SLABS "intake: { slab = \"4 KiB\"; memory = \"4 KiB\"; };"
#define POST(...) flow_post(f, &(struct flow_post){ .venue = "v", .prefix = "t", __VA_ARGS__ })

static const char *fresh(void)
{
    static unsigned n;
    static char dir[4096];
    snprintf(dir, sizeof dir, "%s/repost-%u", tmp_dir(), n++);
    return dir;
}

static struct flow *begin(uint64_t seed) { return flow_new(fresh(), seed, &(struct flow_text){ .top = SLABS }); }

/* Everything minted once, and nothing of a request that was not accepted is left. */
static void end(struct flow *f, unsigned items)
{
    assert_true(flow_until(f, flow_all_settled, 2 * HOUR));
    flow_run(f, 120000);
    const char *wrong = flow_judge(f);
    if (wrong) fail_msg("%s", wrong);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM items"), items);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM requests WHERE state = 0"), 0);
    assert_int_equal(flow_sql(f, "SELECT coalesce(sum(done), 0) FROM counters WHERE scope = 0 AND kind = 0"), items);
    assert_int_equal(flow_sql(f, "SELECT coalesce(sum(n_items), 0) FROM requests"), items);
    assert_int_equal(flow_on_chain(f), items);
    flow_end(f);
}

static void the_same_tickets_again_make_nothing(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(1);
        struct flow_posted a = POST(.n = 40, .streamed = streamed);
        assert_int_equal(a.verdict, PIPE_ACCEPTED);
        assert_int_equal(a.known, 0);
        for (int way = 0; way < 2; way++) {                /* sent again either way, without a key and with a new one */
            struct flow_posted b = POST(.n = 40, .streamed = way, .key = way ? "other" : NULL);
            assert_int_equal(b.verdict, PIPE_KNOWN);
            assert_int_equal(b.request, a.request);
            assert_int_equal(b.known, 40);
            assert_int_equal(b.n_ids, 40);
            assert_int_equal(b.n_batches, 1);
        }
        assert_int_equal(flow_sql(f, "SELECT count(*) FROM requests WHERE state = 1"), 1);
        end(f, 40);
    }
}

static void new_ones_among_known_ones_are_accepted(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(2);
        POST(.n = 60);
        struct flow_posted b = POST(.from = 30, .n = 200, .streamed = streamed);
        assert_int_equal(b.verdict, PIPE_ACCEPTED);
        assert_int_equal(b.known, 30);
        assert_int_equal(flow_sql(f, "SELECT n_items FROM requests ORDER BY id DESC LIMIT 1"), 170);
        struct flow_posted c = POST(.n = 240, .streamed = streamed);       /* two batches have parts of it, at its beginning and in its middle */
        assert_int_equal(c.verdict, PIPE_ACCEPTED);
        assert_int_equal(c.known, 230);
        assert_int_equal(c.n_batches, 2);
        struct flow_posted d = POST(.n = 240, .streamed = !streamed);
        assert_int_equal(d.verdict, PIPE_KNOWN);
        assert_int_equal(d.request, 0);
        assert_int_equal(d.n_batches, 3);
        end(f, 240);
    }
}

/* Every second ticket is known: each slab loses some in its middle, and the runs go on over the gaps. */
static void numbers_have_no_gaps_where_known_tickets_were(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(3);
        for (unsigned i = 0; i < 120; i += 12) POST(.from = i, .n = 5);
        struct flow_posted b = POST(.n = 120, .streamed = streamed);
        assert_int_equal(b.verdict, PIPE_ACCEPTED);
        assert_int_equal(b.known, 50);
        assert_int_equal(b.n_batches, 10);
        assert_int_equal(flow_sql(f, "SELECT max(id & 16777215) FROM items WHERE id >> 24 = (SELECT max(id) FROM requests)"), 69);
        assert_int_equal(flow_sql(f, "SELECT sum(n) FROM chunks WHERE request = (SELECT max(id) FROM requests)"), 70);
        end(f, 120);
    }
}

static void other_content_refuses_the_whole_request(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(4);
        struct flow_posted a = POST(.from = 50, .n = 150);
        static const struct { struct flow_post w; const char *what; } others[] = {
            { { .tier = "Standing" }, "other metadata" }, { { .owner = "somebody" }, "another recipient" },
            { { .collection = "else" }, "another collection or pipeline" },
        };
        for (size_t i = 0; i < ARRAY_LEN(others); i++) {
            struct flow_post w = others[i].w;
            w.venue = "v", w.prefix = "t", w.n = 210, w.streamed = streamed;
            struct flow_posted b = flow_post(f, &w);
            assert_int_equal(b.verdict, PIPE_TICKET_TAKEN);
            assert_int_equal(b.request, a.request);
            assert_int_equal(b.conflicts, 150);            /* all of them, also those behind the first refusal */
            assert_int_equal(b.place, 50);
            assert_string_equal(b.what, others[i].what);
        }
        flow_run(f, 1000);
        assert_int_equal(flow_sql(f, "SELECT count(*) FROM requests"), 1);
        end(f, 150);
    }
}

static void a_ticket_twice_is_refused_whether_it_is_known_or_not(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(5);
        POST(.n = 60);
        for (unsigned from = 0; from <= 60; from += 60) {
            struct flow_posted b = POST(.from = from, .n = 60, .twice = true, .streamed = streamed);
            assert_int_equal(b.verdict, PIPE_BAD);
            assert_string_equal(b.code, "ticket.duplicate");
            assert_string_equal(b.pointer, "/tickets/60/id");
            b = POST(.from = from, .n = 60, .twice = true, .streamed = streamed, .dry = true);
            assert_string_equal(b.code, "ticket.duplicate");
        }
        flow_run(f, 1000);
        end(f, 60);
    }
}

static void a_key_keeps_its_rules_when_some_were_known(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(6);
        POST(.n = 30);
        struct flow_posted a = POST(.from = 20, .n = 30, .key = "k", .streamed = streamed);
        assert_int_equal(a.verdict, PIPE_ACCEPTED);
        assert_int_equal(a.known, 10);
        for (int way = 0; way < 2; way++) {
            struct flow_posted b = POST(.from = 20, .n = 30, .key = "k", .streamed = way);
            assert_int_equal(b.verdict, PIPE_REPLAYED);
            assert_int_equal(b.request, a.request);
            assert_int_equal(b.known, 10);
            assert_int_equal(b.n_ids, 10);
            assert_int_equal(b.n_batches, 1);
            b = POST(.from = 20, .n = 31, .key = "k", .streamed = way);
            assert_int_equal(b.verdict, PIPE_OTHER_BODY);
        }
        end(f, 50);
    }
}

/* ---- at the same moment */
struct racer { bool done; enum pipe_verdict verdict; uint64_t request; struct pipe_intake *in; };

static void raced(void *arg, const struct pipe_result *r)
{
    struct racer *x = arg;
    x->done = true;
    x->verdict = r->verdict;
    x->request = r->request;
}

static void welcome(void *arg) { (void)arg; }

static void race_begin(struct flow *f, struct racer *x, const char *key, bool streamed, unsigned n)
{
    *x = (struct racer){ 0 };
    struct pipe_open open = { .venue = S("v"), .idem_key = str_of(key), .streamed = streamed };
    assert_int_equal(pipe_intake_open(f->pipe, &open, raced, x, &x->in), 0);
    for (unsigned i = 0; i < n; i++) {
        char id[32], data[100];
        snprintf(id, sizeof id, "t-%u", i);
        snprintf(data, sizeof data, "{\"eventName\":\"Concert\",\"tier\":\"VIP\",\"seatNumber\":\"%s\"}", id);
        struct pipe_ticket t = { .id = str_of(id), .event_id = S("e1"), .user_id = S("u1"), .data = str_of(data) };
        if (pipe_intake_add(x->in, &t, welcome) == -EAGAIN) loop_fake_advance(f->loop, 50);
    }
}

static bool told(void *arg) { return ((struct racer *)arg)->done; }

static void of_two_at_once_one_is_accepted(void **state)
{
    (void)state;
    for (int keyed = 0; keyed < 2; keyed++) {
        struct flow *f = begin(7);
        const uint8_t hash[32] = { 9 };
        struct racer x[3];
        for (int i = 0; i < 3; i++) race_begin(f, &x[i], keyed ? "k" : "", false, 20);
        for (int i = 0; i < 3; i++) pipe_intake_seal(x[i].in, hash);
        unsigned accepted = 0;
        for (int i = 0; i < 3; i++) {
            assert_true(loop_fake_until(f->loop, told, &x[i], 60000));
            accepted += x[i].verdict == PIPE_ACCEPTED;
            assert_true(x[i].verdict == PIPE_ACCEPTED || x[i].verdict == (keyed ? PIPE_REPLAYED : PIPE_KNOWN));
            assert_int_equal(x[i].request, x[0].request);
        }
        assert_int_equal(accepted, 1);
        for (int i = 0; i < 3; i++) pipe_intake_close(x[i].in);
        end(f, 20);
    }
}

static void tickets_of_an_open_request_are_in_progress(void **state)
{
    (void)state;
    struct flow *f = begin(8);
    const uint8_t hash[32] = { 9 };
    struct racer x;
    flow_accept(f, "v", "other", 5, NULL);                  /* its chunks must not be taken for those of the open one */
    race_begin(f, &x, "open", true, 100);
    loop_fake_advance(f->loop, 500);
    assert_true(flow_sql(f, "SELECT count(*) FROM items") > 20);
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow_posted b = POST(.n = 10, .streamed = streamed, .once = true);
        assert_int_equal(b.verdict, PIPE_IN_PROGRESS);
    }
    pipe_intake_seal(x.in, hash);
    assert_true(loop_fake_until(f->loop, told, &x, 60000));
    assert_int_equal(x.verdict, PIPE_ACCEPTED);
    pipe_intake_close(x.in);
    assert_int_equal(POST(.n = 10).verdict, PIPE_KNOWN);
    end(f, 105);
}

/* The client leaves when its body is whole: what it sent is taken in, and its key is not stuck. */
static void a_client_that_leaves_behind_its_body_does_not_stop_it(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(9);
        const uint8_t hash[32] = { 9 };
        struct racer x;
        race_begin(f, &x, "k", streamed, 100);
        pipe_intake_seal(x.in, hash);
        pipe_intake_close(x.in);
        flow_run(f, 1000);
        assert_false(x.done);
        assert_int_equal(flow_sql(f, "SELECT count(*) FROM requests WHERE state = 1"), 1);
        end(f, 100);
    }
    struct flow *f = begin(10);                            /* before its end: nothing stays, not even the row being opened just then */
    struct racer x;
    race_begin(f, &x, "k", true, 1);
    pipe_intake_close(x.in);
    flow_run(f, 1000);
    assert_int_equal(flow_sql(f, "SELECT count(*) FROM requests"), 0);
    assert_int_equal(POST(.n = 3, .key = "k").verdict, PIPE_ACCEPTED);
    end(f, 3);
}

/* ---- a dry run */
static void a_dry_run_plans_and_writes_nothing(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct flow *f = begin(11);
        struct flow_posted a = POST(.n = 45, .dry = true, .streamed = streamed);
        assert_int_equal(a.verdict, PIPE_PLANNED);
        assert_int_equal(a.known, 0);
        assert_int_equal(a.collections, 1);
        assert_int_equal(a.new_collections, 1);
        uint64_t planned = a.transactions;
        flow_run(f, 1000);
        assert_int_equal(flow_sql(f, "SELECT (SELECT count(*) FROM venues) + (SELECT count(*) FROM collections) + "
                                  "(SELECT count(*) FROM requests) + (SELECT count(*) FROM items)"), 0);
        POST(.n = 45, .streamed = streamed);
        assert_int_equal(flow_sql(f, "SELECT count(*) FROM chunks WHERE kind = 0"), planned);
        a = POST(.from = 40, .n = 45, .dry = true, .streamed = streamed);
        assert_int_equal(a.verdict, PIPE_PLANNED);
        assert_int_equal(a.known, 5);
        assert_int_equal(a.new_collections, 0);
        a = POST(.from = 40, .n = 45, .tier = "none", .dry = true, .streamed = streamed);
        assert_int_equal(a.verdict, PIPE_TICKET_TAKEN);
        assert_int_equal(a.conflicts, 5);
        a = POST(.n = 45, .dry = true, .streamed = streamed);
        assert_int_equal(a.transactions, 0);
        assert_int_equal(a.known, 45);
        end(f, 45);
    }
}

/* ---- faults of the store: argv: --life DIR wrapped|- */
static const char *life[2];

static bool fine(struct flow_posted a) { return a.verdict == PIPE_ACCEPTED || a.verdict == PIPE_REPLAYED || a.verdict == PIPE_KNOWN; }

static void one_life(void **state)
{
    (void)state;
    bool faulty = life[1][0] != '-';
    struct flow *f;
    int r = flow_try(life[0], 7, &(struct flow_text){ .top = SLABS, .wrapped = faulty ? "store-sqlite" : NULL }, &f);
    if (r && !faulty) fail_msg("the second life could not start");
    for (int turn = 0; !r && !f->dead && turn < 2; turn++) {
        bool first = fine(POST(.n = 9, .key = "a")), second = fine(POST(.from = 3, .n = 12, .key = turn ? NULL : "b"));
        bool third = fine(POST(.from = 10, .n = 16, .streamed = true, .key = turn ? NULL : "c"));
        if (!faulty) assert_true(first && second && third);
    }
    if (!r) flow_until(f, flow_all_settled, HOUR);
    if (faulty) flow_run(f, 300000);                       /* an answer that comes far too late comes by then */
    if (r || f->dead) { flow_stop(f); return; }
    if (!faulty) assert_true(flow_sql(f, "SELECT count(*) FROM requests") <= 5);
    if (faulty) flow_end(f);
    else end(f, ALL);
}

static int run_life(const char *dir, const char *wrap)
{
    char fired[4200];
    snprintf(fired, sizeof fired, "%s.fired", dir);
    pid_t pid = fork();
    if (!pid) {
        if (wrap) setenv("FLOW_WRAP", wrap, 1);
        setenv("FLOW_FIRED", fired, 1);
        if (!getenv("FLOW_VERBOSE")) {
            char log[4200];
            snprintf(log, sizeof log, "%s.log", dir);
            if (!freopen(log, "a", stderr) || !freopen(log, "a", stdout)) _exit(98);
        }
        execl("/proc/self/exe", "life", "--life", dir, wrap ? "wrapped" : "-", (char *)NULL);
        _exit(97);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct fault { unsigned op; const char *what, *when; char cls; };
static const struct fault faults[] = {
    { 1, "commit", "lost", '0' }, { 1, "commit", "before", 'k' }, { 1, "commit", "after", 'k' }, { 1, "commit", "after", '5' }, { 1, "commit", "before", '2' },
    { 0, "stage", "lost", '0' }, { 0, "stage", "before", 'k' }, { 0, "stage", "after", 'k' }, { 0, "stage", "after", '5' }, { 0, "stage", "before", '2' },
    { 3, "query", "lost", '0' }, { 3, "query", "before", 'k' }, { 3, "query", "before", '2' }, { 3, "query", "garble", '0' },
};
enum { COMMITS = 16, STAGES = 6, QUERIES = 16 };

/* The nth call of each op, with every kind of fault in turn. */
static void known_tickets_meet_every_fault_of_the_store(void **state)
{
    (void)state;
    const char *only = getenv("FLOW_ONLY");
    unsigned run = 0, bad = 0, hits = 0, share = flow_share(), place = 0;
    for (unsigned k = 0; k < 3 * ARRAY_LEN(faults) * COMMITS; k++) {
        const struct fault *x = &faults[k % ARRAY_LEN(faults)];
        unsigned nth = 1 + k / (unsigned)ARRAY_LEN(faults), last = x->op == 1 ? COMMITS : x->op ? QUERIES : STAGES;
        char dir[4096], wrap[96], name[96], fired[4200];
        if (nth > last || (x->op == 1 && nth < 4) || (x->op && (nth + k) % 2)) continue;       /* every second: a life takes its time */
        snprintf(name, sizeof name, "%s/%s/%c/%u", x->what, x->when, x->cls, nth);
        if (only ? !strstr(name, only) : place++ % share) continue;
        snprintf(dir, sizeof dir, "%s/fault-%u", tmp_dir(), k);
        snprintf(fired, sizeof fired, "%s.fired", dir);
        snprintf(wrap, sizeof wrap, "store-sqlite %u %s %c %u", x->op, x->when, x->cls, nth);
        int first = run_life(dir, wrap), hit = !access(fired, F_OK);
        int second = run_life(dir, NULL);
        run++;
        hits += (unsigned)hit;
        if ((first == 0 || (x->cls == 'k' && first == KILLED)) && !second) continue;
        bad++;
        print_error("%s: first life %d%s, second life %d, see %s.log\n", name, first, hit ? "" : " (the fault never came up)", second, dir);
    }
    print_message("%u lives, %u met their fault, %u bad\n", run, hits, bad);
    assert_int_equal(bad, 0);
    assert_true(only || hits >= 60 / share);
}

int main(int argc, char **argv)
{
    flow_setup();
    if (argc == 4 && !strcmp(argv[1], "--life")) {
        memcpy(life, argv + 2, sizeof life);
        const struct CMUnitTest one[] = { cmocka_unit_test(one_life) };
        int failed = cmocka_run_group_tests(one, NULL, NULL);
        plug_files_close();
        return failed;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_tickets_again_make_nothing),
        cmocka_unit_test(new_ones_among_known_ones_are_accepted),
        cmocka_unit_test(numbers_have_no_gaps_where_known_tickets_were),
        cmocka_unit_test(other_content_refuses_the_whole_request),
        cmocka_unit_test(a_ticket_twice_is_refused_whether_it_is_known_or_not),
        cmocka_unit_test(a_key_keeps_its_rules_when_some_were_known),
        cmocka_unit_test(of_two_at_once_one_is_accepted),
        cmocka_unit_test(tickets_of_an_open_request_are_in_progress),
        cmocka_unit_test(a_client_that_leaves_behind_its_body_does_not_stop_it),
        cmocka_unit_test(a_dry_run_plans_and_writes_nothing),
        cmocka_unit_test(known_tickets_meet_every_fault_of_the_store),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    plug_files_close();
    if (!r) tmp_clean();
    return r;
}
