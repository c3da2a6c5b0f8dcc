/* What the readers of a batch's body share: body.c reads JSON, body_rows.c lines of JSON and CSV. Loop thread. */
#ifndef API_BODY_INT_H
#define API_BODY_INT_H
#include "api/body.h"
#include "api/csv.h"
#include "base/json.h"

enum state { AT_START, AT_KEY_OR_END, AT_KEY, IN_KEY, AT_COLON, AT_VALUE, IN_VALUE, AT_ARRAY, AT_ITEM_OR_END, AT_ITEM,
             IN_ITEM, AT_ITEM_NEXT, AT_NEXT, AT_END };
enum member { M_VENUE, M_PIPELINE, M_COLLECTION, M_TICKETS, M_COUNT };
enum field { F_ID, F_EVENT, F_USER, F_RECIPIENT, F_DATA, F_COUNT };
enum { LINE_MARKS = 256 };

struct body {
    struct body_limits limits;
    const struct body_fns *fns;                /* NULL: only the head */
    void *arg;
    enum body_format format;
    enum state state;
    enum member member;
    unsigned seen;                             /* mask of members */
    bool given, queried, begun, stopped;       /* head known from an earlier reading; from the query; handed out */
    bool list;                                 /* the body is an array */
    uint64_t offset, value_at, tickets;        /* bytes before this piece; where the value began; tickets so far */
    struct json_frame frame;
    struct buf part, text;                     /* start of a value that came in pieces; decoded strings of one ticket */
    struct body_head head;
    char names[M_TICKETS][BODY_NAME_MAX];
    struct body_error err;
    /* lines and CSV */
    uint64_t line;                             /* of the ticket at hand, from 1; 0: not told */
    struct { uint64_t place, line; } marks[LINE_MARKS]; uint32_t n_marks; uint64_t unmarked;   /* where lines and places part; place from which none is told */
    struct csv csv;
    struct buf columns;                        /* names in the header of CSV, one behind the other */
    size_t column_ends[CSV_COLUMNS]; int column_field[CSV_COLUMNS]; uint32_t n_columns;      /* field: an enum field, or F_DATA: a member */
};

extern const struct mintd_str body_fields[F_COUNT];
int  body_fail(struct body *, unsigned status, const char *code, const char *pointer, const char *fmt, ...)
     __attribute__((format(printf, 5, 6)));
const char *body_pointer(const struct body *, struct mintd_str name, char room[JSON_POINTER_MAX]);       /* of a member of the ticket at hand */
int  body_check_name(struct body *, struct mintd_str, size_t max, const char *pointer);
int  body_check_query(struct body *);          /* a body without members of its own: the query must say the venue */
int  body_begin(struct body *);                /* hands the head out, once */
int  body_one_more(struct body *);             /* is one more ticket allowed? */
int  body_give(struct body *, const struct pipe_ticket *);                 /* to the caller; 1: pause behind it */
int  body_json_ticket(struct body *, struct mintd_str slice, unsigned depth);          /* one ticket as JSON text, given; 1: pause */
int  body_room(struct body *, size_t n);       /* for n bytes of decoded strings */

size_t lines_feed(struct body *, const char *p, size_t n, int *ret_rc);
int  lines_end(struct body *);
size_t table_feed(struct body *, const char *p, size_t n, int *ret_rc);
int  table_end(struct body *);
#endif
