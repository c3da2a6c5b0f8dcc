/* The members of a small JSON body: each route names those it takes, everything else is refused by its name. Loop thread. */
#ifndef API_FIELDS_H
#define API_FIELDS_H
#include "api/call.h"

enum field_type { FIELD_STR,                   /* struct mintd_str, decoded, in the call's memory; 1 to max bytes */
    FIELD_U64,                                 /* uint64_t, 0 to max (0: any), no fraction or exponent */
    FIELD_BOOL,                                /* bool */
    FIELD_TIME,                                /* int64_t, ms since the epoch: "2026-01-02T03:04:05Z", fraction and offset allowed */
    FIELD_OBJECT,                              /* struct mintd_str, the object as it was sent */
    FIELD_STRINGS };                           /* struct mintd_vec of struct mintd_str, decoded; at most max */
struct field { const char *name; enum field_type type; bool required; size_t max; void *ret; };   /* ret is left alone when absent */
/* c->body as an object with these members; no body reads as {}. false: answered with a problem that points at the member. */
bool call_fields(struct call *, const struct field *, size_t n);
/* As call_fields, for an object inside: pointer is where it stands. */
bool fields_read(struct call *, struct mintd_str object, const char *pointer, const struct field *, size_t n);
/* RFC 3339 date-time. 0, -EINVAL */
int  time_parse(struct mintd_str, int64_t *ret_ms);
#endif
