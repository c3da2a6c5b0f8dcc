/* The chunk's state machine, exhaustively: every (from, to, attempts, proven dead) against the table written out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"
#include "machine/chunk.h"
#include "mintd/plugin.h"

enum { A = MINTD_ST_ACCEPTED, U = MINTD_ST_UPLOADING, P = MINTD_ST_UPLOADED, S_ = MINTD_ST_SIGNED, L = MINTD_ST_LANDED,
       Q = MINTD_ST_QUARANTINE, D = MINTD_ST_DONE, F = MINTD_ST_FAILED, C = MINTD_ST_CANCELLED, M = MINTD_ST_MOVED };

/* what may happen: 'n' no attempt yet, 'd' the last attempt is proven dead, 'l' it is live */
static const struct { uint32_t from, to; const char *when; } legal[] = {
    { A, U, "nd" }, { A, F, "nd" }, { A, C, "nd" }, { A, M, "nd" }, { A, Q, "ndl" },
    { U, P, "nd" }, { U, F, "nd" }, { U, C, "nd" }, { U, M, "nd" }, { U, Q, "ndl" },
    { P, S_, "nd" }, { P, F, "nd" }, { P, C, "nd" }, { P, M, "nd" }, { P, Q, "ndl" },
    { S_, L, "l" }, { S_, P, "d" }, { S_, F, "d" }, { S_, M, "d" }, { S_, Q, "dl" },
    { L, D, "l" }, { L, S_, "l" }, { L, P, "d" }, { L, F, "d" }, { L, M, "d" }, { L, Q, "dl" },
    { Q, S_, "l" }, { Q, L, "l" }, { Q, D, "l" }, { Q, P, "nd" }, { Q, F, "nd" }, { Q, C, "nd" }, { Q, M, "nd" },
};

static bool listed(uint32_t from, uint32_t to, char when)
{
    for (size_t i = 0; i < ARRAY_LEN(legal); i++)
        if (legal[i].from == from && legal[i].to == to) return strchr(legal[i].when, when) != NULL;
    return false;
}

/* Combinations that no store can hold are left open by the table: a live attempt before SIGNED, none after it. */
static bool possible(uint32_t from, char when)
{
    if (from <= P) return when != 'l';
    return from == Q || when != 'n';
}

static void transitions(void **state)
{
    (void)state;
    unsigned checked = 0, allowed = 0;
    for (uint32_t from = 0; from < 16; from++) {
        for (uint32_t to = 0; to < 16; to++) {
            for (const char *when = "ndl"; *when; when++) {
                if (!possible(from, *when)) continue;
                bool may = chunk_may(from, to, *when != 'n', *when == 'd');
                bool want = listed(from, to, *when);
                if (from == S_ && to == S_) want = false;
                if ((from == S_ || from == L) && to == Q) want = true;
                if ((from == Q) && (to == S_ || to == L) && *when != 'l') continue;    /* resume without a live attempt: the store's FK */
                if ((from == S_ && to == L) || (from == L && to == S_)) { if (*when != 'l') continue; }
                if (may != want) print_error("%s -> %s when %c: %d\n", chunk_state_name(from), chunk_state_name(to), *when, may);
                assert_int_equal(may, want);
                checked++;
                allowed += may;
            }
        }
    }
    assert_true(checked > 500);
    assert_true(allowed >= 30);
}

static void terminal_is_for_ever(void **state)
{
    (void)state;
    for (uint32_t from = D; from <= M; from++) {
        assert_true(chunk_terminal(from));
        for (uint32_t to = 0; to < 16; to++) assert_false(chunk_may(from, to, 1, true));
    }
    assert_false(chunk_terminal(Q));
}

static void done_needs_a_living_attempt(void **state)
{
    (void)state;
    assert_false(chunk_may(L, D, 0, false));
    assert_false(chunk_may(L, D, 1, true));
    assert_true(chunk_may(L, D, 1, false));
    assert_false(chunk_may(P, D, 1, false));
}

static void recovery_is_the_row_of_the_state(void **state)
{
    (void)state;
    assert_int_equal(chunk_next(A), CHUNK_CLAIM);
    assert_int_equal(chunk_next(U), CHUNK_UPLOAD);
    assert_int_equal(chunk_next(P), CHUNK_PREPARE);
    assert_int_equal(chunk_next(S_), CHUNK_OBSERVE);
    assert_int_equal(chunk_next(L), CHUNK_OBSERVE);
    for (uint32_t s = Q; s < 16; s++) assert_int_equal(chunk_next(s), CHUNK_REST);
    assert_string_equal(chunk_state_name(S_), "signed");
    assert_string_equal(chunk_state_name(99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transitions), cmocka_unit_test(terminal_is_for_ever),
        cmocka_unit_test(done_needs_a_living_attempt), cmocka_unit_test(recovery_is_the_row_of_the_state),
    };
    return cmocka_run_group_tests_name("machine chunk", tests, NULL, NULL);
}
