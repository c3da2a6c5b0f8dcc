/* The map from u64 to pointer: open addressing with linear probing, deletion by shifting back, so there are no
 * tombstones. Owns its table, never the values. May call libc only. Not thread-safe. */
#include "base/list.h"

#include <errno.h>
#include <stdlib.h>

enum { MAP_FIRST = 16 };

static size_t home_of(const struct map *m, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;                /* ids are dense: spread them, keep the high bits */
    return (size_t)(h ^ h >> 32) & (m->cap - 1);
}

/* Slot of key, or the empty slot where it belongs; the table is never full */
static size_t slot_of(const struct map *m, uint64_t key)
{
    size_t i = home_of(m, key);
    while (m->keys[i] && m->keys[i] != key) i = (i + 1) & (m->cap - 1);
    return i;
}

static int map_grow(struct map *m)
{
    struct map bigger = { .cap = m->cap ? m->cap * 2 : MAP_FIRST, .n = m->n };
    bigger.keys = calloc(bigger.cap, sizeof *bigger.keys);
    bigger.vals = calloc(bigger.cap, sizeof *bigger.vals);
    if (!bigger.keys || !bigger.vals) {
        map_free(&bigger);
        return -ENOMEM;
    }
    for (size_t i = 0; i < m->cap; i++) {
        if (!m->keys[i]) continue;
        size_t to = slot_of(&bigger, m->keys[i]);
        bigger.keys[to] = m->keys[i];
        bigger.vals[to] = m->vals[i];
    }
    map_free(m);
    *m = bigger;
    return 0;
}

int map_put(struct map *m, uint64_t key, void *val)
{
    if (!key || !val) return -EINVAL;
    if (m->n >= m->cap / 4 * 3 && !map_get(m, key) && map_grow(m)) return -ENOMEM;
    size_t i = slot_of(m, key);
    if (!m->keys[i]) m->n++;
    m->keys[i] = key;
    m->vals[i] = val;
    return 0;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->n && key ? m->vals[slot_of(m, key)] : NULL;
}

void *map_del(struct map *m, uint64_t key)
{
    void *val = map_get(m, key);
    if (!val) return NULL;
    size_t hole = slot_of(m, key), mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->keys[i]; i = (i + 1) & mask) {
        if (((i - home_of(m, m->keys[i])) & mask) < ((i - hole) & mask)) continue;      /* at home behind the hole */
        m->keys[hole] = m->keys[i];
        m->vals[hole] = m->vals[i];
        hole = i;
    }
    m->keys[hole] = 0;
    m->vals[hole] = NULL;
    m->n--;
    return val;
}

void *map_next(const struct map *m, size_t *iter)
{
    while (*iter < m->cap) {
        size_t i = (*iter)++;
        if (m->keys[i]) return m->vals[i];
    }
    return NULL;
}

void map_free(struct map *m)
{
    free(m->keys);
    free(m->vals);
    *m = (struct map){ 0 };
}
