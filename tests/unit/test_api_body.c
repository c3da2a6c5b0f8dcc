/* The batch request as a stream: any cut gives the same tickets and the same errors; memory is one ticket. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/body.h"

static const struct body_limits roomy = { 4096, 1000 };

struct seen { struct buf text; unsigned heads, tickets, pause_every, stop_at; bool twice; };

static void note(struct buf *b, struct mintd_str s)
{
    buf_json(b, s);
    buf_puts(b, " ");
}

static int on_head(void *arg, const struct body_head *h)
{
    struct seen *s = arg;
    s->heads++;
    note(&s->text, h->venue);
    note(&s->text, h->pipeline);
    note(&s->text, h->collection);
    buf_puts(&s->text, "| ");
    return BODY_GO;
}

static int on_ticket(void *arg, const struct pipe_ticket *t)
{
    struct seen *s = arg;
    s->tickets++;
    const struct mintd_str all[] = { t->id, t->event_id, t->user_id, t->recipient, t->data };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) note(&s->text, all[i]);
    buf_puts(&s->text, "| ");
    if (s->stop_at && s->tickets == s->stop_at) return BODY_STOP;
    return s->pause_every && s->tickets % s->pause_every == 0 ? BODY_PAUSE : BODY_GO;
}

static const struct body_fns fns = { on_head, on_ticket };

/* Feeds pieces cut at `cut` (each byte alone for SIZE_MAX), each in memory of its own; a verdict as text */
static void feed(struct body *b, const char *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    size_t at = 0, used;
    do {
        used = body_feed(b, copy + at, n - at);            /* again after a pause */
        at += used;
    } while (at < n && used);
    free(copy);
}

static void read_all(const char *text, size_t n, size_t cut, const struct body_limits *limits, struct buf *ret)
{
    struct seen s = { .pause_every = (unsigned)(cut % 3) };
    struct body *b = body_new(limits, &fns, &s, NULL);
    assert_non_null(b);
    if (cut == SIZE_MAX) for (size_t i = 0; i < n; i++) feed(b, text + i, 1);
    else {
        feed(b, text, cut);
        feed(b, text + cut, n - cut);
    }
    int r = body_end(b);
    const struct body_error *e = body_error(b);
    buf_str(ret, buf_view(&s.text));
    if (r) buf_printf(ret, "%u %s %s: %s", e->status, e->code, e->pointer, e->detail);
    buf_add(ret, "", 1);
    buf_free(&s.text);
    body_free(b);
}

/* The same whatever the pieces; returns the verdict in ret. */
static void read_any_cut(const char *text, size_t n, const struct body_limits *limits, struct buf *ret)
{
    read_all(text, n, n, limits, ret);
    for (size_t cut = 0; cut <= n; cut++) {
        struct buf other = { 0 };
        read_all(text, n, cut == n ? SIZE_MAX : cut, limits, &other);
        if (strcmp(other.p, ret->p)) fail_msg("cut at %zu of %s\nwhole: %s\nhere:  %s", cut, text, ret->p, other.p);
        buf_free(&other);
    }
}

static void says(const char *text, const char *wanted)
{
    struct buf b = { 0 };
    read_any_cut(text, strlen(text), &roomy, &b);
    if (strcmp(b.p, wanted)) fail_msg("%s\nexpected: %s\nfound:    %s", text, wanted, b.p);
    buf_free(&b);
}

static void test_good(void **state)
{
    (void)state;
    says("{\"venueId\":\"v\",\"tickets\":[{\"id\":\"a\",\"ticketData\":{}}]}", "\"v\" \"\" \"\" | \"a\" \"\" \"\" \"\" \"{}\" | ");
    says(" { \"collection\" : \"c\\u0021\" , \"pipeline\" : \"p\",\"venueId\":\"v\\\"\" ,\n\"tickets\" : [ {\"ticketData\" : { \"x\" : [1, {}] },"
         " \"id\":\"a\",\"userId\":\"u\",\"eventId\":\"e\",\"recipient\":\"r\"} , {\"id\":\"\\ud83d\\ude00\",\"ticketData\":{}} ] } \n",
         "\"v\\\"\" \"p\" \"c!\" | \"a\" \"e\" \"u\" \"r\" \"{ \\\"x\\\" : [1, {}] }\" | \"\xf0\x9f\x98\x80\" \"\" \"\" \"\" \"{}\" | ");
}

#define GOOD "{\"id\":\"a\",\"ticketData\":{}}"
#define V "\"v\" \"\" \"\" | "
#define A "\"a\" \"\" \"\" \"\" \"{}\" | "
static void test_refusals(void **state)
{
    (void)state;
    static const struct { const char *text, *wanted; } rows[] = {
        { "", "400 body.empty : the request has no body" },
        { "[]", "422 field.required venue: a body of this kind needs the query parameter venue" },
        { "null", "400 json.syntax : the body must be one JSON object, or an array of tickets (byte 0)" },
        { "\xef\xbb\xbf{}", "400 json.syntax : the body must be one JSON object, or an array of tickets (byte 0)" },
        { "{", "400 json.syntax : the body ends too early (byte 1)" },
        { "{}", "422 field.required /venueId: is missing" },
        { "{\"venueId\":\"v\"}", "422 field.required /tickets: is missing" },
        { "{\"venueId\":\"v\",}", "400 json.syntax : a member name in double quotes must begin here (byte 15)" },
        { "{\"venueId\" \"v\"}", "400 json.syntax /venueId: a colon must follow the member name (byte 11)" },
        { "{\"venueId\":7}", "422 field.type /venueId: must be a string, is a number" },
        { "{\"venueId\":\"\"}", "422 field.empty /venueId: must not be empty" },
        { "{\"venueId\":\"a\\u0007\"}", "422 field.characters /venueId: must not hold control characters" },
        { "{\"venueId\":\"v\",\"venueId\":\"w\"}", "400 json.duplicate_key /venueId: member name is there twice" },
        { "{\"venueId\":\"v\",\"venue\\u0049d\":\"w\"}", "400 json.duplicate_key /venueId: member name is there twice" },
        { "{\"a/b~\":1}", "422 field.unknown /a~1b~0: unknown member: known are venueId, tickets, pipeline, collection" },
        { "{\"venueId\":\"v\",\"tickets\":[]}", V "422 field.empty /tickets: must hold at least one ticket" },
        { "{\"venueId\":\"v\",\"tickets\":{}}", "422 field.type /tickets: must be an array" },
        { "{\"venueId\":\"v\",\"tickets\":x}", "400 json.syntax /tickets: a value must begin here (byte 25)" },
        { "{\"venueId\":\"v\",\"tickets\":[7]}", V "422 field.type /tickets/0: must be an object, is a number" },
        { "{\"venueId\":\"v\",\"tickets\":[" GOOD ",]}", V A "400 json.syntax /tickets/1: a value must begin here (byte 53)" },
        { "{\"venueId\":\"v\",\"tickets\":[" GOOD " " GOOD "]}", V A "400 json.syntax /tickets: a comma or ] must follow in an array (byte 53)" },
        { "{\"venueId\":\"v\",\"tickets\":[{\"ticketData\":{}}]}", V "422 field.required /tickets/0/id: is missing" },
        { "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"a\"}]}", V "422 field.required /tickets/0/ticketData: is missing" },
        { "{\"venueId\":\"v\",\"tickets\":[{\"id\":5,\"ticketData\":{}}]}", V "422 field.type /tickets/0/id: must be a string, is a number" },
        { "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"\",\"ticketData\":{}}]}", V "422 field.empty /tickets/0/id: must not be empty" },
        { "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"a\",\"ticketData\":\"x\"}]}",
          V "422 field.type /tickets/0/ticketData: must be an object, is a string" },
        { "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"a\",\"seat\":1,\"ticketData\":{}}]}",
          V "422 field.unknown /tickets/0/seat: unknown member: known are id, eventId, userId, recipient, ticketData" },
        { "{\"venueId\":\"v\",\"tickets\":[" GOOD ",{\"id\":\"b\",\"ticketData\":{\"x\":1,\"x\":2}}]}",
          V A "400 json.duplicate_key /tickets/1/ticketData/x: member name is there twice (byte 83)" },
        { "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"\xff\",\"ticketData\":{}}]}", V "400 json.utf8 /tickets/0/id: string is not valid UTF-8 (byte 33)" },
        { "{\"venueId\":\"v\",\"tickets\":[" GOOD "]", V A "400 json.syntax : the body ends too early (byte 53)" },
        { "{\"venueId\":\"v\",\"tickets\":[" GOOD "]}x", V A "400 json.syntax : only white space may follow the object (byte 54)" },
        { "{\"tickets\":[" GOOD "],\"venueId\":\"v\"}", "422 body.order /venueId: must stand before \"tickets\" in a streamed body" },
        { "{\"venueId\":\"v\",\"tickets\":[" GOOD "],\"collection\":\"c\"}",
          V A "422 body.order /collection: must stand before \"tickets\" in a streamed body" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) says(rows[i].text, rows[i].wanted);
}

static void test_limits(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 4; n++) {                    /* tickets */
        const struct body_limits limits = { 4096, 3 };
        struct buf text = { 0 }, out = { 0 };
        buf_puts(&text, "{\"venueId\":\"v\",\"tickets\":[");
        for (unsigned i = 0; i < n; i++) buf_puts(&text, i ? "," GOOD : GOOD);
        buf_puts(&text, "]}");
        read_any_cut(text.p, text.n, &limits, &out);
        assert_int_equal(strstr(out.p, "413 batch.too_many_tickets /tickets") != NULL, n > 3);
        buf_free(&text);
        buf_free(&out);
    }
    for (size_t n = 199; n <= 201; n++) {                  /* bytes of a ticket */
        const struct body_limits limits = { 200, 10 };
        struct buf text = { 0 }, out = { 0 };
        buf_puts(&text, "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"a\",\"ticketData\":{\"x\":\"");
        for (size_t i = strlen("{\"id\":\"a\",\"ticketData\":{\"x\":\"\"}}"); i < n; i++) buf_puts(&text, "y");
        buf_puts(&text, "\"}}]}");
        read_any_cut(text.p, text.n, &limits, &out);
        assert_int_equal(strstr(out.p, "413 ticket.too_large /tickets/0: is larger than the limit of 200 bytes") != NULL, n > 200);
        buf_free(&text);
        buf_free(&out);
    }
    for (size_t n = BODY_ID_MAX - 1; n <= BODY_ID_MAX + 1; n++) {
        struct buf text = { 0 }, out = { 0 };
        buf_puts(&text, "{\"venueId\":\"v\",\"tickets\":[{\"ticketData\":{},\"id\":\"");
        for (size_t i = 0; i < n; i++) buf_puts(&text, "i");
        buf_puts(&text, "\"}]}");
        read_all(text.p, text.n, text.n, &roomy, &out);
        assert_int_equal(strstr(out.p, "422 field.length /tickets/0/id") != NULL, n > BODY_ID_MAX);
        buf_free(&text);
        buf_free(&out);
    }
    for (size_t n = BODY_NAME_MAX - 1; n <= BODY_NAME_MAX + 1; n++) {
        struct buf text = { 0 }, out = { 0 };
        buf_puts(&text, "{\"venueId\":\"");
        for (size_t i = 0; i < n; i++) buf_puts(&text, "\\u0076");
        buf_puts(&text, "\",\"tickets\":[" GOOD "]}");
        read_all(text.p, text.n, text.n, &roomy, &out);
        assert_int_equal(strstr(out.p, "422 field.length /venueId") != NULL, n > BODY_NAME_MAX);
        buf_free(&text);
        buf_free(&out);
    }
}

static void test_deep_nesting(void **state)
{
    (void)state;
    static const struct body_limits limits = { 1 << 20, 10 };
    struct buf text = { 0 }, out = { 0 };
    buf_puts(&text, "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"a\",\"ticketData\":{\"x\":");
    for (int i = 0; i < 100000; i++) buf_puts(&text, "[");
    for (int i = 0; i < 100000; i++) buf_puts(&text, "]");
    buf_puts(&text, "}}]}");
    read_all(text.p, text.n, text.n / 2, &limits, &out);
    assert_non_null(strstr(out.p, "400 json.depth /tickets/0/ticketData/x/0/0"));
    buf_free(&text);
    buf_free(&out);
}

/* A ticket that never ends is cut off at its limit, not gathered. */
static void test_bounded_memory(void **state)
{
    (void)state;
    struct seen s = { .heads = 0 };
    struct body *b = body_new(&roomy, &fns, &s, NULL);
    static const char head[] = "{\"venueId\":\"v\",\"tickets\":[{\"id\":\"";
    char piece[1024];
    size_t taken = body_feed(b, head, sizeof head - 1);
    memset(piece, 'x', sizeof piece);
    for (int i = 0; i < 1000 && !body_error(b)->status; i++) taken += body_feed(b, piece, sizeof piece);
    assert_int_equal(body_error(b)->status, 413);
    assert_true(taken < roomy.max_ticket + 2 * sizeof piece);
    assert_int_equal(body_feed(b, piece, sizeof piece), 0);
    body_free(b);
    buf_free(&s.text);
}

static void test_stop(void **state)
{
    (void)state;
    static const char text[] = "{\"venueId\":\"v\",\"tickets\":[" GOOD "," GOOD "," GOOD "]}";
    struct seen s = { .stop_at = 2 };
    struct body *b = body_new(&roomy, &fns, &s, NULL);
    size_t n = body_feed(b, text, sizeof text - 1);
    assert_int_equal(s.tickets, 2);
    assert_true(n < sizeof text - 1);
    assert_int_equal(body_feed(b, text + n, sizeof text - 1 - n), 0);
    assert_int_equal(s.tickets, 2);
    body_free(b);
    buf_free(&s.text);
}

/* Members behind the tickets: the caller reads once for the head, then again with it. */
static void test_second_reading(void **state)
{
    (void)state;
    static const char text[] = "{\"tickets\":[" GOOD "],\"collection\":\"c\",\"venueId\":\"v\"}";
    struct seen s = { .heads = 0 };
    struct body *b = body_new(&roomy, &fns, &s, NULL);
    feed(b, text, sizeof text - 1);
    assert_int_equal(body_end(b), -EBADMSG);
    assert_true(body_error(b)->order);
    assert_int_equal(s.heads, 0);
    body_free(b);
    struct body *head = body_new(&roomy, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof text - 1; i++) feed(head, text + i, 1);
    assert_int_equal(body_end(head), 0);
    assert_int_equal(body_tickets(head), 1);
    assert_true(str_eq(body_head(head)->collection, S("c")));
    b = body_new(&roomy, &fns, &s, body_head(head));
    feed(b, text, sizeof text - 1);
    assert_int_equal(body_end(b), 0);
    buf_add(&s.text, "", 1);
    assert_string_equal(s.text.p, "\"v\" \"\" \"c\" | " A);
    body_free(b);
    body_free(head);
    buf_free(&s.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_refusals), cmocka_unit_test(test_limits), cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_bounded_memory), cmocka_unit_test(test_stop), cmocka_unit_test(test_second_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
