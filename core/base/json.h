/* Strict JSON (RFC 8259) over bytes in memory: framing of values that arrive in pieces, a checker that says where and why, and
 * a walk over checked text. No tree is ever built; a value is the slice of bytes it was sent as. Pure; any thread. */
#ifndef BASE_JSON_H
#define BASE_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include "base/str.h"

enum { JSON_DEPTH = 32, JSON_MEMBERS = 256, JSON_NUMBER_MAX = 64, JSON_POINTER_MAX = 512 };

/* Finds the end of one value without judging it. Zeroed = before its first byte (which must not be white space). */
struct json_frame { unsigned depth; bool begun, in_string, escaped, scalar, done; };
size_t json_frame(struct json_frame *, const char *p, size_t n);   /* bytes that belong to the value; `done` once it is whole */
bool   json_frame_end(struct json_frame *);                        /* no more bytes will come: is the value whole? */

struct json_error {
    const char *code, *detail;                 /* static: slug and text */
    size_t at;                                 /* byte offset */
    char pointer[JSON_POINTER_MAX];            /* JSON pointer of the innermost value concerned, cut at a whole step */
};
/* text is exactly one value, white space around it allowed: grammar, depth (the outermost value counts `depth` + 1), UTF-8,
 * surrogate pairs, no \u0000, no key twice in an object, at most JSON_MEMBERS members. 0, -EBADMSG. */
int json_check(struct mintd_str text, unsigned depth, struct json_error *ret);

/* Appends one step to a JSON pointer, escaped; nothing when there is no room for all of it. Returns the new length. */
size_t json_step(char *pointer, size_t len, size_t room, struct mintd_str name);

enum json_type { JSON_OBJECT, JSON_ARRAY, JSON_STRING, JSON_NUMBER, JSON_BOOL, JSON_NULL };
/* The rest works on checked values without white space around them. */
enum json_type json_type(struct mintd_str value);
const char *json_type_name(enum json_type);
/* Next member of an object; *pos starts at 0. Key and string values come as sent, quotes included. false: no more. */
bool json_member(struct mintd_str object, size_t *pos, struct mintd_str *ret_key, struct mintd_str *ret_value);
size_t json_text(struct mintd_str quoted, char *ret);              /* decodes a string; ret has room for quoted.n bytes; length */
bool json_is(struct mintd_str quoted, struct mintd_str text);      /* does the string read as text? */
#endif
