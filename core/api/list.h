/* Lists: pages of JSON with a cursor, or the whole list as NDJSON or CSV, page after page in bounded memory. A kind of list says how
 * a page is read and how a row is written; everything else is here. Loop thread. */
#ifndef API_LIST_H
#define API_LIST_H
#include "api/call.h"

/* ---- a row, in any of the formats: the same calls write an object's members or a line's fields, and the head line of a CSV file */
struct rec { struct buf *b; enum format format; bool head, begun; };
bool rec_json(const struct rec *);
void rec_str(struct rec *, const char *name, struct mintd_str);      /* nothing, or an empty field, when empty */
void rec_json_text(struct rec *, const char *name, struct mintd_str quoted);         /* a JSON string as it was sent; may be empty */
void rec_u64(struct rec *, const char *name, uint64_t);              /* always there */
void rec_ratio(struct rec *, const char *name, uint64_t n, uint64_t d, uint32_t digits);      /* n / d, as ratio_put */
void rec_id(struct rec *, const char *name, uint64_t);               /* a number that JSON shows as a string; nothing for 0 */
void rec_time(struct rec *, const char *name, int64_t ms);           /* nothing for 0 */

/* ---- the list */
struct list_view;
struct list_kind {
    const char *noun;                          /* the JSON page's member */
    uint32_t dflt, max;                        /* of ?limit= */
    void (*load)(struct list_view *);          /* reads at most l->room rows behind l->cursor, ends with list_took */
    bool (*wanted)(struct list_view *, uint32_t i);                  /* NULL: every row */
    void (*row)(struct list_view *, uint32_t i, struct rec *);       /* i UINT32_MAX: for the head line, from an empty row */
};
struct list_view {
    struct call *c;
    const struct list_kind *kind;
    void *state;                               /* the kind's */
    struct arena *page;                        /* memory of this page alone */
    struct mintd_str cursor;                   /* where this page begins; empty: at the front */
    uint32_t room;
    /* ---- the rest belongs to list.c */
    struct buf place, out;
    const struct call_kept *mark;
    uint32_t want, rounds, looked;
    uint64_t shown;
    bool limited, loading, begun;
};
/* Once, when the filters are known. state lies in c->mem and lives as long as the call. */
void list_start(struct call *, const struct list_kind *, void *state);
/* The page that load read: n rows are there, next: the store's cursor behind them. */
void list_took(struct list_view *, uint32_t n, struct mintd_str next);
struct list_view *list_of(const struct call *);

/* ---- filters: 0 when they are absent; false: answered with 400, which names the parameter and what it knows */
struct filter_word { const char *name; uint64_t bit; };
bool filter_words(struct call *, const char *name, const struct filter_word *, size_t n, uint64_t *ret_mask);     /* a comma between */
bool filter_times(struct call *, int64_t *ret_from, int64_t *ret_to);          /* ?from=&to=, RFC 3339 */
bool filter_text(struct call *, const char *name, size_t max, struct mintd_str *ret);
void filter_refuse(struct call *, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* fn with the id of ?venue=, or that of the key's; 0 without; a venue that is not known: 404 */
void filter_venue(struct call *, void (*fn)(struct call *, uint64_t venue));
#endif
