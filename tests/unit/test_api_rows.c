/* Tickets in other shapes than the object: an array, one by itself, lines of JSON, CSV. Any cut gives the same tickets, errors and lines. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/body.h"

struct seen { struct buf text; struct body *body; unsigned tickets, pause_every; };

static int on_head(void *arg, const struct body_head *h)
{
    struct seen *s = arg;
    buf_printf(&s->text, STR_FMT "/" STR_FMT "/" STR_FMT " | ", STR_ARG(h->venue), STR_ARG(h->pipeline), STR_ARG(h->collection));
    return BODY_GO;
}

static int on_ticket(void *arg, const struct pipe_ticket *t)
{
    struct seen *s = arg;
    s->tickets++;
    buf_printf(&s->text, STR_FMT "," STR_FMT "," STR_FMT "," STR_FMT " " STR_FMT " | ", STR_ARG(t->id), STR_ARG(t->event_id),
               STR_ARG(t->user_id), STR_ARG(t->recipient), STR_ARG(t->data));
    return s->pause_every && s->tickets % s->pause_every == 0 ? BODY_PAUSE : BODY_GO;
}

static const struct body_fns fns = { on_head, on_ticket };
static const struct body_limits roomy = { 300, 5 };

static void feed(struct body *b, const char *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    size_t at = 0, used;
    do {
        used = body_feed(b, copy + at, n - at);
        at += used;
    } while (at < n && used);
    free(copy);
}

static void read_all(enum body_format format, const struct body_head *query, const char *text, size_t n, size_t cut, struct buf *ret)
{
    struct seen s = { .pause_every = (unsigned)(cut % 3) };
    struct body *b = body_new(&roomy, &fns, &s, NULL);
    assert_non_null(b);
    body_as(b, format, query);
    if (cut == SIZE_MAX) for (size_t i = 0; i < n; i++) feed(b, text + i, 1);
    else {
        feed(b, text, cut);
        feed(b, text + cut, n - cut);
    }
    int r = body_end(b);
    const struct body_error *e = body_error(b);
    buf_str(ret, buf_view(&s.text));
    if (r) buf_printf(ret, "%u %s %s: %s", e->status, e->code, e->pointer, e->detail);
    else for (unsigned i = 0; i < s.tickets; i++) buf_printf(ret, "%s%llu", i ? " " : "lines ", (unsigned long long)body_line(b, i));
    buf_add(ret, "", 1);
    buf_free(&s.text);
    body_free(b);
}

static void says_of(enum body_format format, const struct body_head *query, const char *text, size_t n, const char *wanted)
{
    for (size_t cut = 0; cut <= n + 1; cut++) {
        struct buf b = { 0 };
        read_all(format, query, text, n, cut > n ? SIZE_MAX : cut, &b);
        if (strcmp(b.p, wanted)) fail_msg("%s\ncut at %zu\nexpected: %s\nfound:    %s", text, cut, wanted, b.p);
        buf_free(&b);
    }
}

static const struct body_head v = { { "v", 1 }, { "p", 1 }, { "c", 1 } }, nobody = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
#define SAYS(format, text, wanted) says_of(format, &v, text, sizeof(text) - 1, wanted)
#define GOOD "{\"id\":\"a\",\"ticketData\":{}}"
#define GAVE "v/p/c | "
#define A "a,,, {} | "

static void test_array(void **state)
{
    (void)state;
    SAYS(BODY_JSON, "[" GOOD "]", GAVE A "lines 0");
    SAYS(BODY_JSON, " [ " GOOD " , {\"id\":\"b\",\"ticketData\":{\"x\":1},\"userId\":\"u\"} ] \n", GAVE A "b,,u, {\"x\":1} | lines 0 0");
    SAYS(BODY_JSON, "[]", GAVE "422 field.empty /tickets: must hold at least one ticket");
    SAYS(BODY_JSON, "[" GOOD "]]", GAVE A "400 json.syntax : only white space may follow the array (byte 28)");
    SAYS(BODY_JSON, "[" GOOD "", GAVE A "400 json.syntax /tickets: the body ends too early (byte 27)");
    SAYS(BODY_JSON, "[7]", GAVE "422 field.type /tickets/0: must be an object, is a number");
    SAYS(BODY_JSON, "{\"venueId\":\"w\",\"tickets\":[" GOOD "]}",
         "422 body.query : an object names venueId, pipeline and collection itself: leave them out of the query");
    says_of(BODY_JSON, &nobody, "[" GOOD "]", sizeof GOOD + 1, "422 field.required venue: a body of this kind needs the query parameter venue");
    char name[BODY_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    says_of(BODY_JSON, &(struct body_head){ .venue = { name, BODY_NAME_MAX } , .pipeline = { name, sizeof name } }, "[", 1,
            "422 field.length pipeline: has 129 bytes, at most 128 are allowed");
}

static void test_one(void **state)
{
    (void)state;
    SAYS(BODY_ONE, " {\"ticketData\":{\"x\":1},\"eventId\":\"e\",\"userId\":\"u\",\"recipient\":\"r\"} ", GAVE ",e,u,r {\"x\":1} | lines 0");
    SAYS(BODY_ONE, "{\"ticketData\":{},\"pipeline\":\"other\",\"collection\":\"o\"}", "v/other/o | ,,, {} | lines 0");
    SAYS(BODY_ONE, "{\"id\":\"a\",\"ticketData\":{}}",
         "422 field.unknown /id: unknown member: known are eventId, userId, recipient, ticketData, pipeline, collection");
    SAYS(BODY_ONE, "{\"userId\":\"u\"}", "422 field.required /ticketData: is missing");
    SAYS(BODY_ONE, "{\"ticketData\":[]}", "422 field.type /ticketData: must be an object, is an array");
    SAYS(BODY_ONE, "{\"ticketData\":{},\"pipeline\":7}", "422 field.type /pipeline: must be a string, is a number");
    SAYS(BODY_ONE, "{\"ticketData\":{\"a\":1,\"a\":1}}", "400 json.duplicate_key /ticketData/a: member name is there twice (byte 21)");
    SAYS(BODY_ONE, "[]", "400 json.syntax : the body must be one JSON object (byte 0)");
    SAYS(BODY_ONE, "{\"ticketData\":{}}{", GAVE ",,, {} | 400 json.syntax : only white space may follow the object (byte 17)");
    SAYS(BODY_ONE, "{\"ticketData\":{}", "400 json.syntax : the body ends too early (byte 16)");
    SAYS(BODY_ONE, "", "400 body.empty : the request has no body");
}

static void test_lines(void **state)
{
    (void)state;
    SAYS(BODY_LINES, GOOD, GAVE A "lines 1");
    SAYS(BODY_LINES, GOOD "\n" GOOD "\r\n", GAVE A A "lines 1 2");
    SAYS(BODY_LINES, "\n\n" GOOD "\n\n  " GOOD " \n" GOOD "\n", GAVE A A A "lines 3 5 6");
    SAYS(BODY_LINES, "\n", "422 field.empty /tickets: must hold at least one ticket");
    SAYS(BODY_LINES, GOOD "\n" GOOD "\n" GOOD "\n" GOOD "\n" GOOD "\n" GOOD "\n",
         GAVE A A A A A "413 batch.too_many_tickets /tickets: holds more than the limit of 5 tickets (api.max_items) (line 6)");
    SAYS(BODY_LINES, GOOD "\n{\"id\":\n\"b\",\"ticketData\":{}}\n", GAVE A "400 json.syntax /tickets/1/id: a value is missing (byte 33) (line 2)");
    SAYS(BODY_LINES, GOOD "\n" GOOD GOOD "\n", GAVE A "400 json.syntax /tickets/1: only white space may follow the value (byte 53) (line 2)");
    SAYS(BODY_LINES, GOOD "\n{\"id\":7,\"ticketData\":{}}", GAVE A "422 field.type /tickets/1/id: must be a string, is a number (line 2)");
    SAYS(BODY_LINES, "[" GOOD "]", "422 field.type /tickets/0: must be an object, is an array (line 1)");
    SAYS(BODY_LINES, GOOD "\n{\"id\":\"\xff\",\"ticketData\":{}}\n", GAVE A "400 json.utf8 /tickets/1/id: string is not valid UTF-8 (byte 34) (line 2)");
    says_of(BODY_LINES, &nobody, GOOD, sizeof GOOD - 1, "422 field.required venue: a body of this kind needs the query parameter venue (line 1)");
}

static void test_csv(void **state)
{
    (void)state;
    SAYS(BODY_CSV, "id\na\n", GAVE A "lines 2");
    SAYS(BODY_CSV, "id\r\na\r\nb", GAVE A "b,,, {} | lines 2 3");
    SAYS(BODY_CSV, "\xef\xbb\xbfid,tier\na,VIP\n", GAVE "a,,, {\"tier\":\"VIP\"} | lines 2");
    SAYS(BODY_CSV, "tier,id,eventId,userId,recipient,seat no\nVIP,a,e,u,r,7\n,b,,,,\n\"\",c,,,,\"\"\n",
         GAVE "a,e,u,r {\"tier\":\"VIP\",\"seat no\":\"7\"} | b,,, {} | c,,, {\"tier\":\"\",\"seat no\":\"\"} | lines 2 3 4");
    SAYS(BODY_CSV, "id,\"a \"\"name\"\"\"\n\"a\",\"x, \"\"y\"\"\r\nz\"\n\nb,{}\n",
         GAVE "a,,, {\"a \\\"name\\\"\":\"x, \\\"y\\\"\\r\\nz\"} | b,,, {\"a \\\"name\\\"\":\"{}\"} | lines 2 5");
    SAYS(BODY_CSV, "id,ticketData\na,{}\n", GAVE "a,,, {\"ticketData\":\"{}\"} | lines 2");
}

static void test_bad_csv(void **state)
{
    (void)state;
    SAYS(BODY_CSV, "", "400 body.empty : the request has no body");
    SAYS(BODY_CSV, "\n\r\n", "422 csv.header : the first line must name the columns, one of them id");
    SAYS(BODY_CSV, "name\na\n", "422 csv.header : the first line must name the columns, one of them id (line 1)");
    SAYS(BODY_CSV, "id,x,x\na,1,2\n", "422 csv.header : two columns have the same name: x (line 1)");
    SAYS(BODY_CSV, "id,,x\n", "422 csv.header : a column has no name (line 1)");
    SAYS(BODY_CSV, "id\n", "422 field.empty /tickets: must hold at least one ticket");
    SAYS(BODY_CSV, "id,x\na,1\nb\n", GAVE "a,,, {\"x\":\"1\"} | 422 csv.columns /tickets/1: has 1 columns, the header has 2 (line 3)");
    SAYS(BODY_CSV, "id,x\n\na,1,2\n", "422 csv.columns /tickets/0: has 3 columns, the header has 2 (line 3)");
    SAYS(BODY_CSV, "id,x\na,b\"c\n",
         "400 csv.syntax /tickets/0: a quote stands inside a field without quotes: quote the field and double it (line 2)");
    SAYS(BODY_CSV, "id,x\na,\"b\"c\n",
         "400 csv.syntax /tickets/0: after the closing quote of a field a comma or the end of the line must follow (line 2)");
    SAYS(BODY_CSV, "id,x\na,\"b\n", "400 csv.syntax /tickets/0: the text ends inside a quoted field (line 3)");
    SAYS(BODY_CSV, "id,x\na,b\rc,d\n", "400 csv.syntax /tickets/0: a carriage return stands without its line feed (line 2)");
    SAYS(BODY_CSV, "id,x\n\ra,b\n", "400 csv.syntax /tickets/0: a carriage return stands without its line feed (line 2)");
    SAYS(BODY_CSV, "id,x\na,\xff\n", "400 csv.utf8 /tickets/0: is not valid UTF-8 (column 2) (line 2)");
    SAYS(BODY_CSV, "id,x\na,b\0\n", "400 csv.nul /tickets/0: holds a NUL (line 2)");
    SAYS(BODY_CSV, "id,x\n,b\n", "422 field.empty /tickets/0/id: must not be empty (line 2)");
    SAYS(BODY_CSV, "id,userId\na,\"\"\n", "422 field.empty /tickets/0/userId: must not be empty (line 2)");
    SAYS(BODY_CSV, "id,userId\na,\"b\nc\"\n", "422 field.characters /tickets/0/userId: must not hold control characters (line 2)");
    SAYS(BODY_CSV, "id\na\nb\nc\nd\ne\nf\n", GAVE "a,,, {} | b,,, {} | c,,, {} | d,,, {} | e,,, {} | "
         "413 batch.too_many_tickets /tickets: holds more than the limit of 5 tickets (api.max_items) (line 7)");
}

/* Limits n-1, n, n+1: bytes of a line and of a row, columns. */
static void test_limits(void **state)
{
    (void)state;
    for (size_t n = 299; n <= 301; n++) {
        struct buf line = { 0 }, row = { 0 }, out = { 0 };
        buf_puts(&line, "{\"id\":\"a\",\"ticketData\":{\"x\":\"");
        while (line.n < n - 3) buf_puts(&line, "y");
        buf_puts(&line, "\"}}\n");
        read_all(BODY_LINES, &v, line.p, line.n, 100, &out);
        assert_int_equal(strstr(out.p, "413 ticket.too_large /tickets/0: is larger than the limit of 300 bytes (api.max_ticket) (line 1)") != NULL, n > 300);
        buf_puts(&row, "id,x\na,");
        while (row.n < n + 6) buf_puts(&row, "y");         /* the bytes of the fields count */
        buf_puts(&row, "\n");
        out.n = 0;
        read_all(BODY_CSV, &v, row.p, row.n, 100, &out);
        assert_int_equal(strstr(out.p, "413 ticket.too_large /tickets/0: is larger than the limit of 300 bytes (api.max_ticket) (line 2)") != NULL, n > 300);
        buf_free(&line);
        buf_free(&row);
        buf_free(&out);
    }
    for (unsigned n = 255; n <= 257; n++) {
        struct buf row = { 0 }, out = { 0 };
        buf_puts(&row, "id");
        for (unsigned i = 1; i < n; i++) buf_printf(&row, ",");
        read_all(BODY_CSV, &v, row.p, row.n, 7, &out);
        assert_int_equal(strstr(out.p, "400 csv.syntax : a row has more than 256 columns") != NULL, n > 256);
        buf_free(&row);
        buf_free(&out);
    }
}

/* Where lines and places part too often, none is told rather than a wrong one. */
static void test_lines_that_cannot_be_told(void **state)
{
    (void)state;
    static const struct body_limits many = { 300, 1000 };
    struct seen s = { .tickets = 0 };
    struct body *b = body_new(&many, &fns, &s, NULL);
    body_as(b, BODY_LINES, &v);
    for (int i = 0; i < 400; i++) feed(b, "\n" GOOD "\n", sizeof GOOD + 1);
    assert_int_equal(body_end(b), 0);
    assert_int_equal(body_line(b, 0), 2);
    assert_int_equal(body_line(b, 200), 402);
    assert_int_equal(body_line(b, 255), 512);
    assert_int_equal(body_line(b, 256), 0);
    assert_int_equal(body_line(b, 399), 0);
    body_free(b);
    buf_free(&s.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_array), cmocka_unit_test(test_one), cmocka_unit_test(test_lines), cmocka_unit_test(test_csv),
        cmocka_unit_test(test_bad_csv), cmocka_unit_test(test_limits), cmocka_unit_test(test_lines_that_cannot_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
