/* The intrusive list and the map. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/list.h"

struct thing { int n; struct list link; };

static void test_list(void **state)
{
    (void)state;
    struct list head;
    struct thing things[4] = { { .n = 0 }, { .n = 1 }, { .n = 2 }, { .n = 3 } };
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    for (size_t i = 0; i < 4; i++) list_add(&head, &things[i].link);
    list_del(&things[2].link);
    list_del(&things[2].link);                             /* twice is fine */
    int seen = 0;
    LIST_EACH(it, &head) {
        seen = seen * 10 + LIST_OF(it, struct thing, link)->n + 1;
        list_del(it);                                      /* the body may unlink */
    }
    assert_int_equal(seen, 124);
    assert_true(list_empty(&head));
    list_add(&head, &things[3].link);
    list_add(&head, &things[0].link);
    assert_ptr_equal(list_pop(&head), &things[3].link);
    assert_ptr_equal(list_pop(&head), &things[0].link);
    assert_null(list_pop(&head));
}

static void test_map_edges(void **state)
{
    (void)state;
    struct map m = { 0 };
    int x, y;
    size_t iter = 0;
    assert_null(map_get(&m, 1));
    assert_null(map_del(&m, 1));
    assert_null(map_next(&m, &iter));
    assert_int_equal(map_put(&m, 0, &x), -EINVAL);
    assert_int_equal(map_put(&m, 1, NULL), -EINVAL);
    assert_int_equal(m.n, 0);
    assert_int_equal(map_put(&m, 1, &x), 0);
    assert_int_equal(map_put(&m, 1, &y), 0);
    assert_int_equal(m.n, 1);
    assert_ptr_equal(map_get(&m, 1), &y);
    assert_null(map_get(&m, 0));
    assert_ptr_equal(map_del(&m, 1), &y);
    assert_null(map_del(&m, 1));
    map_free(&m);
    assert_null(map_get(&m, 1));
}

enum { KEYS = 100000 };

/* Half dense, half multiples of a large power of two: the keys that a weak hash would pile up */
static uint64_t key_of(size_t i)
{
    return i % 2 ? (uint64_t)i << 24 : i + 1;
}

static void test_map_against_an_array(void **state)
{
    (void)state;
    struct map m = { 0 };
    char *present = calloc(1, KEYS), base[1];
    uint64_t x = 88172645463325252u;
    size_t n = 0;
    for (size_t i = 0; i < KEYS; i++) assert_int_equal(map_put(&m, key_of(i), base), 0);
    memset(present, 1, KEYS);
    n = KEYS;
    assert_int_equal(m.n, KEYS);
    for (size_t step = 0; step < 3 * KEYS; step++) {
        x ^= x << 13; x ^= x >> 7; x ^= x << 17;
        size_t i = x % KEYS;
        if (x >> 60 < 10) {
            assert_int_equal(map_del(&m, key_of(i)) != NULL, present[i]);
            n -= (size_t)present[i];
            present[i] = 0;
        } else {
            assert_int_equal(map_put(&m, key_of(i), &present[i]), 0);
            n += !present[i];
            present[i] = 1;
        }
        assert_int_equal(m.n, n);
    }
    for (size_t i = 0; i < KEYS; i++) assert_int_equal(map_get(&m, key_of(i)) != NULL, present[i]);
    size_t iter = 0, seen = 0;
    while (map_next(&m, &iter)) seen++;
    assert_int_equal(seen, n);
    for (size_t i = 0; i < KEYS; i++) map_del(&m, key_of(i));
    assert_int_equal(m.n, 0);
    map_free(&m);
    free(present);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list), cmocka_unit_test(test_map_edges), cmocka_unit_test(test_map_against_an_array),
    };
    return cmocka_run_group_tests_name("base list", tests, NULL, NULL);
}
