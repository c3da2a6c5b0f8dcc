/* PUT of one ticket under its own address: the same again is answered with what became of it. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include "api/post.h"

void put_settled(struct call *c)
{
    const struct post *p = c->state;
    ticket_show(c, p->known ? 200 : 201);
}

void put_later(struct call *c)
{
    const struct post *p = c->state;
    const struct http_header headers[] = { { "Location", c->http->path }, { "Preference-Applied", *p->preference ? p->preference : NULL },
                                           { NULL, NULL } };
    struct buf b = { 0 };
    buf_puts(&b, "{\"ticketId\":");
    buf_json(&b, c->param[1]);
    json_str(&b, "venueId", c->param[0]);
    buf_printf(&b, ",\"batchId\":\"%" PRIu64 "\",\"state\":\"accepted\",\"links\":{\"self\":", p->reply.place);
    buf_json(&b, str_of(c->http->path));
    buf_printf(&b, ",\"batch\":\"/v1/batches/%" PRIu64 "\"}}\n", p->reply.place);
    call_json(c, 202, &b, headers);
}

void put_conflict(struct call *c, const struct pipe_result *r)
{
    const struct pipe_conflict *k = r->conflicts;
    char members[48], detail[160];
    struct buf error = { 0 };
    snprintf(members, sizeof members, ",\"batchId\":\"%" PRIu64 "\"", k->request);
    snprintf(detail, sizeof detail, "batch %" PRIu64 " has it with %s", k->request, k->what);
    buf_puts(&error, "{\"pointer\":\"\",\"code\":\"ticket.exists\",\"detail\":");
    buf_json(&error, str_of(detail));
    buf_puts(&error, "}");
    if (error.bad) call_memory(c);
    else call_problem(c, &(struct problem){ .status = 409, .code = "ticket.exists", .errors = buf_view(&error), .members = members },
                      "the ticket was accepted before with other content (%s); nothing was changed", detail);
    buf_free(&error);
}
