/* Intrusive doubly linked list and a map from u64 to pointer. Not thread-safe. */
#ifndef BASE_LIST_H
#define BASE_LIST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct list { struct list *prev, *next; };                 /* head and links alike */
#define LIST_OF(ptr, T, member) ((T *)(void *)((char *)(ptr) - offsetof(T, member)))
static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l || !l->next; }
static inline void list_add(struct list *head, struct list *l)           /* at the tail */
{
    l->prev = head->prev; l->next = head; head->prev->next = l; head->prev = l;
}
static inline void list_del(struct list *l)                              /* fine if not linked; safe twice */
{
    if (l->next) { l->prev->next = l->next; l->next->prev = l->prev; }
    l->prev = l->next = NULL;
}
static inline struct list *list_pop(struct list *head)                   /* first, unlinked; NULL if empty */
{
    struct list *l = head->next;
    if (l == head || !l) return NULL;
    list_del(l);
    return l;
}
/* the body may unlink `it` */
#define LIST_EACH(it, head) for (struct list *it = (head)->next, *it##_n; it != (head) && ((it##_n = it->next), 1); it = it##_n)

struct map { uint64_t *keys; void **vals; size_t cap, n; };              /* zeroed = empty; key 0 and NULL values are not stored */
int   map_put(struct map *, uint64_t key, void *val);                    /* replaces; 0, -ENOMEM */
void *map_get(const struct map *, uint64_t key);                         /* NULL: absent */
void *map_del(struct map *, uint64_t key);                               /* the removed value or NULL */
void *map_next(const struct map *, size_t *iter);                        /* start *iter at 0; NULL at the end; no changes meanwhile */
void  map_free(struct map *);                                            /* the table only */
#endif
