/* The batch request as a stream: see body.h. Owns the piece of a value that is not whole yet. Calls json.h; loop thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/body.h"
#include "base/json.h"

enum state { AT_START, AT_KEY_OR_END, AT_KEY, IN_KEY, AT_COLON, AT_VALUE, IN_VALUE, AT_ARRAY, AT_ITEM_OR_END, AT_ITEM,
             IN_ITEM, AT_ITEM_NEXT, AT_NEXT, AT_END };
enum member { M_VENUE, M_PIPELINE, M_COLLECTION, M_TICKETS, M_COUNT };
static const struct mintd_str member_names[M_COUNT] =
    { { "venueId", 7 }, { "pipeline", 8 }, { "collection", 10 }, { "tickets", 7 } };

struct body {
    struct body_limits limits;
    const struct body_fns *fns;                /* NULL: only the head */
    void *arg;
    enum state state;
    enum member member;
    unsigned seen;                             /* mask of members */
    bool given, begun, stopped;                /* head known beforehand; head handed out */
    uint64_t offset, value_at, tickets;        /* bytes before this piece; where the value began; tickets so far */
    struct json_frame frame;
    struct buf part, text;                     /* start of a value that came in pieces; decoded strings of one ticket */
    struct body_head head;
    char names[M_TICKETS][BODY_NAME_MAX];
    struct body_error err;
};

struct body *body_new(const struct body_limits *limits, const struct body_fns *fns, void *arg, const struct body_head *head)
{
    struct body *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->limits = *limits;
    b->fns = fns;
    b->arg = arg;
    b->part.max = limits->max_ticket + 1;
    if (head) {
        b->given = true;
        b->head = *head;
    }
    return b;
}

struct body *body_free(struct body *b)
{
    if (!b) return NULL;
    buf_free(&b->part);
    buf_free(&b->text);
    free(b);
    return NULL;
}

const struct body_error *body_error(const struct body *b) { return &b->err; }
const struct body_head *body_head(const struct body *b) { return &b->head; }
uint64_t body_tickets(const struct body *b) { return b->tickets; }

/* ---- errors */

static int fail(struct body *b, unsigned status, const char *code, const char *pointer, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
static int fail(struct body *b, unsigned status, const char *code, const char *pointer, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(b->err.detail, sizeof b->err.detail, fmt, args);
    va_end(args);
    b->err.status = status;
    b->err.code = code;
    snprintf(b->err.pointer, sizeof b->err.pointer, "%s", pointer);
    return -EBADMSG;
}

/* where the reader stands, for errors between values */
static const char *here(const struct body *b, char *room, size_t n)
{
    bool in_tickets = b->state == AT_ITEM_OR_END || b->state == AT_ITEM || b->state == IN_ITEM;
    room[0] = 0;
    if (in_tickets) snprintf(room, n, "/tickets/%llu", (unsigned long long)b->tickets);
    else if (b->state == AT_ARRAY || b->state == AT_ITEM_NEXT) snprintf(room, n, "/tickets");
    else if (b->state == AT_COLON || b->state == AT_VALUE || b->state == IN_VALUE)
        snprintf(room, n, "/%s", member_names[b->member].p);
    return room;
}

static int syntax(struct body *b, uint64_t at, const char *what)
{
    char room[64];
    return fail(b, 400, "json.syntax", here(b, room, sizeof room), "%s (byte %llu)", what, (unsigned long long)at);
}

/* ---- members of the head */

static int check_slice(struct body *b, struct mintd_str slice, unsigned depth)
{
    struct json_error e;
    char room[64];
    if (!json_check(slice, depth, &e)) return 0;
    const char *prefix = here(b, room, sizeof room);
    fail(b, 400, e.code, prefix, "%s (byte %llu)", e.detail, (unsigned long long)(b->value_at + e.at));
    size_t n = strlen(b->err.pointer);
    snprintf(b->err.pointer + n, sizeof b->err.pointer - n, "%s", e.pointer);
    return -EBADMSG;
}

/* length and characters of a decoded identifier */
static int check_name(struct body *b, struct mintd_str s, size_t max, const char *pointer)
{
    if (!s.n) return fail(b, 422, "field.empty", pointer, "must not be empty");
    if (s.n > max) return fail(b, 422, "field.length", pointer, "has %zu bytes, at most %zu are allowed", s.n, max);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return fail(b, 422, "field.characters", pointer, "must not hold control characters");
    return 0;
}

static int head_member(struct body *b, struct mintd_str value)
{
    char pointer[32];
    snprintf(pointer, sizeof pointer, "/%s", member_names[b->member].p);
    if (json_type(value) != JSON_STRING)
        return fail(b, 422, "field.type", pointer, "must be a string, is %s", json_type_name(json_type(value)));
    if (value.n > 6 * BODY_NAME_MAX + 2) return fail(b, 422, "field.length", pointer, "has more than %d bytes", BODY_NAME_MAX);
    char text[6 * BODY_NAME_MAX + 2];
    struct mintd_str s = { text, json_text(value, text) };
    int rc = check_name(b, s, BODY_NAME_MAX, pointer);
    if (rc || b->given) return rc;
    if (b->begun) {
        b->err.order = true;
        return fail(b, 422, "body.order", pointer, "must stand before \"tickets\" in a streamed body");
    }
    memcpy(b->names[b->member], s.p, s.n);
    struct mintd_str *to[] = { &b->head.venue, &b->head.pipeline, &b->head.collection };
    *to[b->member] = (struct mintd_str){ b->names[b->member], s.n };
    return 0;
}

static int take_key(struct body *b, struct mintd_str key)
{
    struct json_error e;
    if (json_check(key, 1, &e)) return fail(b, 400, e.code, "", "%s (byte %llu)", e.detail, (unsigned long long)(b->value_at + e.at));
    for (unsigned m = 0; m < M_COUNT; m++) {
        if (!json_is(key, member_names[m])) continue;
        char pointer[32];
        snprintf(pointer, sizeof pointer, "/%s", member_names[m].p);
        if (b->seen & 1u << m) return fail(b, 400, "json.duplicate_key", pointer, "member name is there twice");
        b->seen |= 1u << m;
        b->member = m;
        b->state = AT_COLON;
        return 0;
    }
    char text[JSON_POINTER_MAX], pointer[JSON_POINTER_MAX] = "";
    if (key.n > sizeof text / 2) return fail(b, 422, "field.unknown", "", "unknown member with a name of %zu bytes", key.n - 2);
    struct mintd_str name = { text, json_text(key, text) };
    json_step(pointer, 0, sizeof pointer, name);
    return fail(b, 422, "field.unknown", pointer, "unknown member: known are venueId, tickets, pipeline, collection");
}

static int begin_tickets(struct body *b)
{
    b->state = AT_ITEM_OR_END;
    if (!b->fns) return 0;
    if (!b->given && !b->head.venue.n) {
        b->err.order = true;
        return fail(b, 422, "body.order", "/venueId", "must stand before \"tickets\" in a streamed body");
    }
    b->begun = true;
    int rc = b->fns->head(b->arg, &b->head);
    b->stopped = rc == BODY_STOP;
    return 0;
}

/* ---- one ticket */

enum field { F_ID, F_EVENT, F_USER, F_RECIPIENT, F_DATA, F_COUNT };
static const struct mintd_str field_names[F_COUNT] =
    { { "id", 2 }, { "eventId", 7 }, { "userId", 6 }, { "recipient", 9 }, { "ticketData", 10 } };

static int field_of(struct mintd_str key)
{
    for (int f = 0; f < F_COUNT; f++)
        if (json_is(key, field_names[f])) return f;
    return -ENOENT;
}

static const char *field_pointer(const struct body *b, struct mintd_str name, char room[JSON_POINTER_MAX])
{
    int n = snprintf(room, JSON_POINTER_MAX, "/tickets/%llu", (unsigned long long)b->tickets);
    json_step(room, (size_t)n, JSON_POINTER_MAX, name);
    return room;
}

static int ticket_field(struct body *b, enum field f, struct mintd_str value, struct pipe_ticket *t)
{
    enum json_type type = json_type(value);
    char room[JSON_POINTER_MAX];
    const char *pointer = field_pointer(b, field_names[f], room);
    if (f == F_DATA) {
        if (type != JSON_OBJECT) return fail(b, 422, "field.type", pointer, "must be an object, is %s", json_type_name(type));
        t->data = value;
        return 0;
    }
    if (type != JSON_STRING) return fail(b, 422, "field.type", pointer, "must be a string, is %s", json_type_name(type));
    struct mintd_str *to[] = { &t->id, &t->event_id, &t->user_id, &t->recipient };
    struct mintd_str s = { b->text.p + b->text.n, json_text(value, b->text.p + b->text.n) };
    b->text.n += s.n;
    *to[f] = s;
    return check_name(b, s, BODY_ID_MAX, pointer);
}

static int unknown_field(struct body *b, struct mintd_str key)
{
    char text[JSON_POINTER_MAX], room[JSON_POINTER_MAX];
    const char *pointer = field_pointer(b, (struct mintd_str){ text, json_text(key, text) }, room);
    return fail(b, 422, "field.unknown", pointer, "unknown member: known are id, eventId, userId, recipient, ticketData");
}

static int missing_field(struct body *b, enum field f)
{
    char room[JSON_POINTER_MAX];
    return fail(b, 422, "field.required", field_pointer(b, field_names[f], room), "is missing");
}

/* room for all decoded strings of a ticket, which are never longer than the ticket */
static int reserve_text(struct body *b, size_t n)
{
    b->text.n = 0;
    if (b->text.cap >= n) return 0;
    char *p = realloc(b->text.p, n);
    if (!p) return fail(b, 503, "server.memory", "", "no memory");
    b->text.p = p;
    b->text.cap = n;
    return 0;
}

static int read_ticket(struct body *b, struct mintd_str slice, struct pipe_ticket *t)
{
    char pointer[48];
    snprintf(pointer, sizeof pointer, "/tickets/%llu", (unsigned long long)b->tickets);
    if (json_type(slice) != JSON_OBJECT)
        return fail(b, 422, "field.type", pointer, "must be an object, is %s", json_type_name(json_type(slice)));
    int rc = reserve_text(b, slice.n);
    struct mintd_str key, value;
    for (size_t pos = 0; !rc && json_member(slice, &pos, &key, &value);) {
        int f = field_of(key);
        rc = f < 0 ? unknown_field(b, key) : ticket_field(b, (enum field)f, value, t);
    }
    if (rc) return rc;
    if (!t->id.n) return missing_field(b, F_ID);
    return t->data.n ? 0 : missing_field(b, F_DATA);
}

static int take_ticket(struct body *b, struct mintd_str slice)
{
    struct pipe_ticket t = { 0 };
    int rc = check_slice(b, slice, 2);
    if (!rc) rc = read_ticket(b, slice, &t);
    if (rc) return rc;
    rc = b->fns->ticket(b->arg, &t);
    b->tickets++;
    b->stopped = rc == BODY_STOP;
    return rc == BODY_PAUSE ? 1 : 0;
}

/* ---- the stream */

/* One whole value. 1: pause behind it. */
static int take_value(struct body *b, struct mintd_str slice)
{
    int rc = 0;
    switch (b->state) {
    case IN_KEY:
        return take_key(b, slice);
    case IN_VALUE:
        rc = check_slice(b, slice, 1);
        if (!rc) rc = head_member(b, slice);
        b->state = AT_NEXT;
        return rc;
    default:
        if (b->fns) rc = take_ticket(b, slice);
        else b->tickets++;
        b->state = AT_ITEM_NEXT;
        return rc;
    }
}

static int too_large(struct body *b)
{
    char room[64];
    const char *pointer = here(b, room, sizeof room);
    if (b->state == IN_ITEM)
        return fail(b, 413, "ticket.too_large", pointer, "is larger than the limit of %zu bytes (api.max_ticket)", b->limits.max_ticket);
    return fail(b, 422, "field.length", pointer, "is longer than %zu bytes", b->limits.max_ticket);
}

/* Bytes of the value taken from p; *ret_rc: < 0 error, 1 pause behind it. */
static size_t feed_value(struct body *b, const char *p, size_t n, int *ret_rc)
{
    if (!b->frame.begun) b->value_at = b->offset;
    size_t used = json_frame(&b->frame, p, n);
    struct mintd_str slice = { p, used };
    *ret_rc = 0;
    if (b->part.n + used > b->limits.max_ticket) { *ret_rc = too_large(b); return used; }
    if (b->frame.done && !b->part.n) { *ret_rc = take_value(b, slice); return used; }
    buf_add(&b->part, p, used);
    if (b->part.bad) { *ret_rc = fail(b, 503, "server.memory", "", "no memory"); return used; }
    if (!b->frame.done) return used;
    slice = buf_view(&b->part);
    *ret_rc = take_value(b, slice);
    b->part.n = 0;
    return used;
}

/* Begins a value of the given state; its first byte is read again by feed_value. */
static int begin(struct body *b, enum state s)
{
    b->state = s;
    b->frame = (struct json_frame){ 0 };
    return 0;
}

static int next_item(struct body *b)
{
    if (b->tickets < b->limits.max_tickets) return begin(b, IN_ITEM);
    return fail(b, 413, "batch.too_many_tickets", "/tickets", "holds more than the limit of %llu tickets (api.max_items)",
                (unsigned long long)b->limits.max_tickets);
}

static int end_tickets(struct body *b)
{
    b->state = AT_NEXT;
    return b->tickets ? 0 : fail(b, 422, "field.empty", "/tickets", "must hold at least one ticket");
}

/* One byte of structure. Sets *ret_used 0 when the byte belongs to the value that begins here. */
static int feed_byte(struct body *b, char c, size_t *ret_used)
{
    *ret_used = 1;
    switch (b->state) {
    case AT_START:
        if (c != '{') return syntax(b, b->offset, "the body must be one JSON object");
        b->state = AT_KEY_OR_END;
        return 0;
    case AT_KEY_OR_END:
        if (c == '}') { b->state = AT_END; return 0; }
        __attribute__((fallthrough));
    case AT_KEY:
        if (c != '"') return syntax(b, b->offset, "a member name in double quotes must begin here");
        *ret_used = 0;
        return begin(b, IN_KEY);
    case AT_COLON:
        if (c != ':') return syntax(b, b->offset, "a colon must follow the member name");
        b->state = b->member == M_TICKETS ? AT_ARRAY : AT_VALUE;
        return 0;
    case AT_VALUE:
        *ret_used = 0;
        return begin(b, IN_VALUE);
    case AT_ARRAY:
        if (c == '[') return begin_tickets(b);
        if (strchr("{\"-0123456789tfn", c)) return fail(b, 422, "field.type", "/tickets", "must be an array");
        return syntax(b, b->offset, "a value must begin here");
    case AT_ITEM_OR_END:
        if (c == ']') return end_tickets(b);
        __attribute__((fallthrough));
    case AT_ITEM:
        *ret_used = 0;
        return next_item(b);
    case AT_ITEM_NEXT:
        if (c == ']') return end_tickets(b);
        if (c != ',') return syntax(b, b->offset, "a comma or ] must follow in an array");
        b->state = AT_ITEM;
        return 0;
    case AT_NEXT:
        if (c == '}') { b->state = AT_END; return 0; }
        if (c != ',') return syntax(b, b->offset, "a comma or } must follow in an object");
        b->state = AT_KEY;
        return 0;
    default:
        return syntax(b, b->offset, "only white space may follow the object");
    }
}

static bool in_value(const struct body *b) { return b->state == IN_KEY || b->state == IN_VALUE || b->state == IN_ITEM; }

size_t body_feed(struct body *b, const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && !b->err.status && !b->stopped) {
        size_t used = 1;
        int rc = 0;
        if (in_value(b)) used = feed_value(b, p + i, n - i, &rc);
        else if (p[i] != ' ' && p[i] != '\n' && p[i] != '\r' && p[i] != '\t') rc = feed_byte(b, p[i], &used);
        i += used;
        b->offset += used;
        if (rc > 0) break;
    }
    return i;
}

int body_end(struct body *b)
{
    if (b->err.status) return -EBADMSG;
    if (!b->offset) return fail(b, 400, "body.empty", "", "the request has no body");
    if (b->state != AT_END) return syntax(b, b->offset, "the body ends too early");
    if (!(b->seen & 1u << M_VENUE)) return fail(b, 422, "field.required", "/venueId", "is missing");
    if (!(b->seen & 1u << M_TICKETS)) return fail(b, 422, "field.required", "/tickets", "is missing");
    return 0;
}
