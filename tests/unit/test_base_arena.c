/* Arena: alignment, zeroing, growth, references and holds. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/str.h"

static void test_blocks_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *a = arena_new(64);
    unsigned char *before = NULL;
    size_t n_before = 0;
    for (size_t n = 0; n < 3000; n += 7) {
        unsigned char *p = arena_alloc(a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, n);                                /* the sanitizer sees it if a block is too short */
        for (size_t i = 0; i < n_before; i++) assert_int_equal(before[i], 0xff);
        before = p;
        n_before = n;
    }
    assert_true(arena_used(a) >= 3000 / 7 * 1500);
    assert_null(arena_free(a));
    assert_null(arena_free(NULL));
}

static void test_large_block_keeps_the_current_one(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024);
    char *first = arena_alloc(a, 16), *large = arena_alloc(a, 3 << 20), *next = arena_alloc(a, 16);
    assert_non_null(large);
    assert_ptr_equal(next, first + 16);
    assert_int_equal(arena_used(a), (3 << 20) + 32);
    arena_free(a);
}

static void test_impossible_sizes_are_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    assert_null(arena_array(a, SIZE_MAX / 2, 3));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 8));
    assert_null(arena_new(SIZE_MAX));
    assert_int_equal(arena_used(a), 0);
    assert_non_null(arena_array(a, 3, 5));
    arena_free(a);
}

static void test_strings(void **state)
{
    (void)state;
    struct arena *a = arena_new(0);
    char text[] = "ticket";
    struct mintd_str s = arena_str(a, SZ(text));
    text[0] = 'x';
    assert_true(str_eq(s, S("ticket")));
    assert_int_equal(s.p[s.n], 0);
    s = arena_str(a, (struct mintd_str){ "", 0 });
    assert_null(s.p);
    assert_int_equal(s.n, 0);
    assert_string_equal(arena_cstr(a, (struct mintd_str){ "abcdef", 3 }), "abc");
    assert_string_equal(arena_cstr(a, (struct mintd_str){ NULL, 0 }), "");
    s = arena_printf(a, "%s-%0500d", "n", 7);
    assert_int_equal(s.n, 502);
    assert_memory_equal(s.p, "n-0", 3);
    assert_int_equal(s.p[501], '7');
    assert_memory_equal(arena_copy(a, "\0\1\2", 3), "\0\1\2", 3);
    arena_free(a);
}

static void test_references_and_holds(void **state)
{
    (void)state;
    struct arena *held = arena_new(0), *holder = arena_new(0);
    char *text = arena_cstr(held, S("alive"));
    assert_int_equal(arena_hold(holder, held), 0);
    arena_free(held);                                      /* the holder's reference keeps it: a use after free is the sanitizer's */
    assert_string_equal(text, "alive");
    assert_ptr_equal(arena_ref(holder), holder);
    arena_free(holder);
    assert_string_equal(text, "alive");
    arena_free(holder);
}

static void *ref_and_free(void *arg)
{
    for (int i = 0; i < 10000; i++) arena_free(arena_ref(arg));
    return NULL;
}

static void test_counting_is_thread_safe(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, ref_and_free, a), 0);
    for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_non_null(arena_alloc(a, 100));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_zeroed_aligned_and_apart), cmocka_unit_test(test_large_block_keeps_the_current_one),
        cmocka_unit_test(test_impossible_sizes_are_refused), cmocka_unit_test(test_strings),
        cmocka_unit_test(test_references_and_holds), cmocka_unit_test(test_counting_is_thread_safe),
    };
    return cmocka_run_group_tests_name("base arena", tests, NULL, NULL);
}
