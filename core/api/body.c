/* The batch request as a stream: see body.h. Owns the piece of a value that is not whole yet. Calls json.h; loop thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "api/body_int.h"

static const struct mintd_str member_names[M_COUNT] =
    { { "venueId", 7 }, { "pipeline", 8 }, { "collection", 10 }, { "tickets", 7 } };
const struct mintd_str body_fields[F_COUNT] =
    { { "id", 2 }, { "eventId", 7 }, { "userId", 6 }, { "recipient", 9 }, { "ticketData", 10 } };

struct body *body_new(const struct body_limits *limits, const struct body_fns *fns, void *arg, const struct body_head *head)
{
    struct body *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->limits = *limits;
    b->fns = fns;
    b->arg = arg;
    b->part.max = limits->max_ticket + 1;
    b->csv.text.max = limits->max_ticket + 1;
    b->unmarked = UINT64_MAX;
    if (head) {
        b->given = true;
        b->head = *head;
    }
    return b;
}

void body_as(struct body *b, enum body_format format, const struct body_head *query)
{
    b->format = format;
    if (b->given) return;
    b->queried = query->venue.n || query->pipeline.n || query->collection.n;
    b->head = *query;
}

struct body *body_free(struct body *b)
{
    if (!b) return NULL;
    buf_free(&b->part);
    buf_free(&b->text);
    buf_free(&b->columns);
    csv_free(&b->csv);
    free(b);
    return NULL;
}

const struct body_error *body_error(const struct body *b) { return &b->err; }
const struct body_head *body_head(const struct body *b) { return &b->head; }
uint64_t body_tickets(const struct body *b) { return b->tickets; }

uint64_t body_line(const struct body *b, uint64_t place)
{
    if (b->format != BODY_LINES && b->format != BODY_CSV) return 0;
    if (place >= b->unmarked || place > b->tickets) return 0;
    for (uint32_t i = b->n_marks; i > 0; i--)
        if (b->marks[i - 1].place <= place) return b->marks[i - 1].line + (place - b->marks[i - 1].place);
    return 0;
}

/* ---- errors */

int body_fail(struct body *b, unsigned status, const char *code, const char *pointer, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(b->err.detail, sizeof b->err.detail, fmt, args);
    va_end(args);
    size_t n = strlen(b->err.detail);
    if (b->line) snprintf(b->err.detail + n, sizeof b->err.detail - n, " (line %llu)", (unsigned long long)b->line);
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
    if (b->format == BODY_ONE) return room;
    if (b->format == BODY_LINES || in_tickets) snprintf(room, n, "/tickets/%llu", (unsigned long long)b->tickets);
    else if (b->state == AT_ARRAY || b->state == AT_ITEM_NEXT) snprintf(room, n, "/tickets");
    else if (b->state == AT_COLON || b->state == AT_VALUE || b->state == IN_VALUE)
        snprintf(room, n, "/%s", member_names[b->member].p);
    return room;
}

static int syntax(struct body *b, uint64_t at, const char *what)
{
    char room[64];
    return body_fail(b, 400, "json.syntax", here(b, room, sizeof room), "%s (byte %llu)", what, (unsigned long long)at);
}

/* ---- members of the head */

static int check_slice(struct body *b, struct mintd_str slice, unsigned depth)
{
    struct json_error e;
    char room[64];
    if (!json_check(slice, depth, &e)) return 0;
    const char *prefix = here(b, room, sizeof room);
    body_fail(b, 400, e.code, prefix, "%s (byte %llu)", e.detail, (unsigned long long)(b->value_at + e.at));
    size_t n = strlen(b->err.pointer);
    snprintf(b->err.pointer + n, sizeof b->err.pointer - n, "%s", e.pointer);
    return -EBADMSG;
}

/* length and characters of a decoded identifier */
int body_check_name(struct body *b, struct mintd_str s, size_t max, const char *pointer)
{
    if (!s.n) return body_fail(b, 422, "field.empty", pointer, "must not be empty");
    if (s.n > max) return body_fail(b, 422, "field.length", pointer, "has %zu bytes, at most %zu are allowed", s.n, max);
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return body_fail(b, 422, "field.characters", pointer, "must not hold control characters");
    return 0;
}

static int head_member(struct body *b, struct mintd_str value)
{
    char pointer[32];
    snprintf(pointer, sizeof pointer, "/%s", member_names[b->member].p);
    if (json_type(value) != JSON_STRING)
        return body_fail(b, 422, "field.type", pointer, "must be a string, is %s", json_type_name(json_type(value)));
    if (value.n > 6 * BODY_NAME_MAX + 2) return body_fail(b, 422, "field.length", pointer, "has more than %d bytes", BODY_NAME_MAX);
    char text[6 * BODY_NAME_MAX + 2];
    struct mintd_str s = { text, json_text(value, text) };
    int rc = body_check_name(b, s, BODY_NAME_MAX, pointer);
    if (rc || b->given) return rc;
    if (b->begun) {
        b->err.order = true;
        return body_fail(b, 422, "body.order", pointer, "must stand before \"tickets\" in a streamed body");
    }
    memcpy(b->names[b->member], s.p, s.n);
    struct mintd_str *to[] = { &b->head.venue, &b->head.pipeline, &b->head.collection };
    *to[b->member] = (struct mintd_str){ b->names[b->member], s.n };
    return 0;
}

static int take_key(struct body *b, struct mintd_str key)
{
    struct json_error e;
    if (json_check(key, 1, &e)) return body_fail(b, 400, e.code, "", "%s (byte %llu)", e.detail, (unsigned long long)(b->value_at + e.at));
    for (unsigned m = 0; m < M_COUNT; m++) {
        if (!json_is(key, member_names[m])) continue;
        char pointer[32];
        snprintf(pointer, sizeof pointer, "/%s", member_names[m].p);
        if (b->seen & 1u << m) return body_fail(b, 400, "json.duplicate_key", pointer, "member name is there twice");
        b->seen |= 1u << m;
        b->member = m;
        b->state = AT_COLON;
        return 0;
    }
    char text[JSON_POINTER_MAX], pointer[JSON_POINTER_MAX] = "";
    if (key.n > sizeof text / 2) return body_fail(b, 422, "field.unknown", "", "unknown member with a name of %zu bytes", key.n - 2);
    struct mintd_str name = { text, json_text(key, text) };
    json_step(pointer, 0, sizeof pointer, name);
    return body_fail(b, 422, "field.unknown", pointer, "unknown member: known are venueId, tickets, pipeline, collection");
}

int body_begin(struct body *b)
{
    if (b->begun) return 0;
    b->begun = true;
    int rc = b->fns->head(b->arg, &b->head);
    b->stopped = rc == BODY_STOP;
    return 0;
}

static int begin_tickets(struct body *b)
{
    b->state = AT_ITEM_OR_END;
    if (!b->fns) return 0;
    if (!b->given && !b->head.venue.n) {
        b->err.order = true;
        return body_fail(b, 422, "body.order", "/venueId", "must stand before \"tickets\" in a streamed body");
    }
    return body_begin(b);
}

/* A body without members of its own: the query must say the venue. */
int body_check_query(struct body *b)
{
    const struct mintd_str *all[] = { &b->head.venue, &b->head.pipeline, &b->head.collection };
    static const char *const names[] = { "venue", "pipeline", "collection" };
    if (!b->head.venue.n) return body_fail(b, 422, "field.required", "venue", "a body of this kind needs the query parameter venue");
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->n && body_check_name(b, *all[i], BODY_NAME_MAX, names[i])) return -EBADMSG;
    return 0;
}

/* ---- one ticket */

static int field_of(struct mintd_str key)
{
    for (int f = 0; f < F_COUNT; f++)
        if (json_is(key, body_fields[f])) return f;
    return -ENOENT;
}

const char *body_pointer(const struct body *b, struct mintd_str name, char room[JSON_POINTER_MAX])
{
    int n = 0;
    room[0] = 0;
    if (b->format != BODY_ONE) n = snprintf(room, JSON_POINTER_MAX, "/tickets/%llu", (unsigned long long)b->tickets);
    if (name.n) json_step(room, (size_t)n, JSON_POINTER_MAX, name);
    return room;
}

static int take_text(struct body *b, struct mintd_str name, struct mintd_str value, size_t max, struct mintd_str *ret)
{
    char room[JSON_POINTER_MAX];
    const char *pointer = body_pointer(b, name, room);
    if (json_type(value) != JSON_STRING)
        return body_fail(b, 422, "field.type", pointer, "must be a string, is %s", json_type_name(json_type(value)));
    *ret = (struct mintd_str){ b->text.p + b->text.n, json_text(value, b->text.p + b->text.n) };
    b->text.n += ret->n;
    return body_check_name(b, *ret, max, pointer);
}

static int ticket_field(struct body *b, enum field f, struct mintd_str value, struct pipe_ticket *t)
{
    char room[JSON_POINTER_MAX];
    struct mintd_str *to[] = { &t->id, &t->event_id, &t->user_id, &t->recipient };
    if (f != F_DATA) return take_text(b, body_fields[f], value, BODY_ID_MAX, to[f]);
    t->data = value;
    if (json_type(value) == JSON_OBJECT) return 0;
    return body_fail(b, 422, "field.type", body_pointer(b, body_fields[f], room), "must be an object, is %s", json_type_name(json_type(value)));
}

static int unknown_field(struct body *b, struct mintd_str key)
{
    char text[JSON_POINTER_MAX], room[JSON_POINTER_MAX];
    const char *pointer = body_pointer(b, (struct mintd_str){ text, json_text(key, text) }, room);
    bool one = b->format == BODY_ONE;
    return body_fail(b, 422, "field.unknown", pointer, "unknown member: known are %seventId, userId, recipient, ticketData%s", one ? "" : "id, ",
                     one ? ", pipeline, collection" : "");
}

static int missing_field(struct body *b, enum field f)
{
    char room[JSON_POINTER_MAX];
    return body_fail(b, 422, "field.required", body_pointer(b, body_fields[f], room), "is missing");
}

/* room for all decoded strings of a ticket, which are never longer than the ticket */
int body_room(struct body *b, size_t n)
{
    b->text.n = 0;
    if (b->text.cap >= n) return 0;
    char *p = realloc(b->text.p, n);
    if (!p) return body_fail(b, 503, "server.memory", "", "no memory");
    b->text.p = p;
    b->text.cap = n;
    return 0;
}

/* A ticket that is the whole body: the address says its venue and id, the members may steer it. */
static int one_member(struct body *b, struct mintd_str key, struct mintd_str value, struct pipe_ticket *t)
{
    if (json_is(key, member_names[M_PIPELINE])) return take_text(b, member_names[M_PIPELINE], value, BODY_NAME_MAX, &b->head.pipeline);
    if (json_is(key, member_names[M_COLLECTION])) return take_text(b, member_names[M_COLLECTION], value, BODY_NAME_MAX, &b->head.collection);
    int f = field_of(key);
    return f < 0 || f == F_ID ? unknown_field(b, key) : ticket_field(b, (enum field)f, value, t);
}

static int read_ticket(struct body *b, struct mintd_str slice, struct pipe_ticket *t)
{
    char room[JSON_POINTER_MAX];
    bool one = b->format == BODY_ONE;
    if (json_type(slice) != JSON_OBJECT)
        return body_fail(b, 422, "field.type", body_pointer(b, S(""), room), "must be an object, is %s", json_type_name(json_type(slice)));
    int rc = body_room(b, slice.n);
    struct mintd_str key, value;
    for (size_t pos = 0; !rc && json_member(slice, &pos, &key, &value);) {
        int f = one ? F_COUNT : field_of(key);
        rc = one ? one_member(b, key, value, t) : f < 0 ? unknown_field(b, key) : ticket_field(b, (enum field)f, value, t);
    }
    if (rc) return rc;
    if (!t->id.n && !one) return missing_field(b, F_ID);
    return t->data.n ? 0 : missing_field(b, F_DATA);
}

int body_give(struct body *b, const struct pipe_ticket *t)
{
    if (b->stopped) return 0;
    int rc = b->fns->ticket(b->arg, t);
    b->tickets++;
    b->stopped = rc == BODY_STOP;
    return rc == BODY_PAUSE ? 1 : 0;
}

int body_json_ticket(struct body *b, struct mintd_str slice, unsigned depth)
{
    struct pipe_ticket t = { 0 };
    int rc = check_slice(b, slice, depth);
    if (!rc) rc = read_ticket(b, slice, &t);
    if (!rc) rc = body_begin(b);
    return rc ? rc : body_give(b, &t);
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
        if (b->fns) rc = body_json_ticket(b, slice, b->format == BODY_ONE ? 0 : b->list ? 1 : 2);
        else b->tickets++;
        b->state = b->format == BODY_ONE ? AT_END : AT_ITEM_NEXT;
        return rc;
    }
}

static int too_large(struct body *b)
{
    char room[64];
    const char *pointer = here(b, room, sizeof room);
    if (b->state == IN_ITEM)
        return body_fail(b, 413, "ticket.too_large", pointer, "is larger than the limit of %zu bytes (api.max_ticket)", b->limits.max_ticket);
    return body_fail(b, 422, "field.length", pointer, "is longer than %zu bytes", b->limits.max_ticket);
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
    if (b->part.bad) { *ret_rc = body_fail(b, 503, "server.memory", "", "no memory"); return used; }
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

int body_one_more(struct body *b)
{
    if (b->tickets < b->limits.max_tickets) return 0;
    return body_fail(b, 413, "batch.too_many_tickets", "/tickets", "holds more than the limit of %llu tickets (api.max_items)",
                (unsigned long long)b->limits.max_tickets);
}

static int end_tickets(struct body *b)
{
    b->state = b->list ? AT_END : AT_NEXT;
    return b->tickets ? 0 : body_fail(b, 422, "field.empty", "/tickets", "must hold at least one ticket");
}

/* The first byte says what the body is. */
static int start(struct body *b, char c)
{
    if (b->format == BODY_ONE) {
        if (c != '{') return syntax(b, b->offset, "the body must be one JSON object");
        return begin(b, IN_ITEM);
    }
    if (c != '{' && c != '[') return syntax(b, b->offset, "the body must be one JSON object, or an array of tickets");
    b->list = c == '[';
    if (!b->list && b->queried && !b->given)
        return body_fail(b, 422, "body.query", "", "an object names venueId, pipeline and collection itself: leave them out of the query");
    b->state = AT_KEY_OR_END;
    if (!b->list) return 0;
    return body_check_query(b) ? -EBADMSG : begin_tickets(b);
}

/* One byte of structure. Sets *ret_used 0 when the byte belongs to the value that begins here. */
static int feed_byte(struct body *b, char c, size_t *ret_used)
{
    *ret_used = 1;
    switch (b->state) {
    case AT_START:
        *ret_used = b->format != BODY_ONE;
        return start(b, c);
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
        if (strchr("{\"-0123456789tfn", c)) return body_fail(b, 422, "field.type", "/tickets", "must be an array");
        return syntax(b, b->offset, "a value must begin here");
    case AT_ITEM_OR_END:
        if (c == ']') return end_tickets(b);
        __attribute__((fallthrough));
    case AT_ITEM:
        *ret_used = 0;
        return body_one_more(b) ? -EBADMSG : begin(b, IN_ITEM);
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
        return syntax(b, b->offset, b->list ? "only white space may follow the array" : "only white space may follow the object");
    }
}

static bool in_value(const struct body *b) { return b->state == IN_KEY || b->state == IN_VALUE || b->state == IN_ITEM; }

size_t body_feed(struct body *b, const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && !b->err.status && !b->stopped) {
        size_t used = 1;
        int rc = 0;
        if (b->format == BODY_LINES) used = lines_feed(b, p + i, n - i, &rc);
        else if (b->format == BODY_CSV) used = table_feed(b, p + i, n - i, &rc);
        else if (in_value(b)) used = feed_value(b, p + i, n - i, &rc);
        else if (p[i] != ' ' && p[i] != '\n' && p[i] != '\r' && p[i] != '\t') rc = feed_byte(b, p[i], &used);
        i += used;
        b->offset += used;
        if (rc > 0) break;
    }
    return i;
}

static int end_json(struct body *b)
{
    if (b->state != AT_END) return syntax(b, b->offset, "the body ends too early");
    if (b->format == BODY_ONE || b->list) return 0;
    if (!(b->seen & 1u << M_VENUE)) return body_fail(b, 422, "field.required", "/venueId", "is missing");
    if (!(b->seen & 1u << M_TICKETS)) return body_fail(b, 422, "field.required", "/tickets", "is missing");
    return 0;
}

int body_end(struct body *b)
{
    if (b->err.status) return -EBADMSG;
    if (!b->offset) return body_fail(b, 400, "body.empty", "", "the request has no body");
    if (b->format != BODY_LINES && b->format != BODY_CSV) return end_json(b);
    int rc = b->format == BODY_LINES ? lines_end(b) : table_end(b);
    b->line = 0;
    if (rc < 0 || b->stopped) return rc < 0 ? rc : 0;
    return b->tickets ? 0 : body_fail(b, 422, "field.empty", "/tickets", "must hold at least one ticket");
}
