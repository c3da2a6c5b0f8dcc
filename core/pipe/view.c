/* The pipelines as they stand, for those who show or reckon: read only, nothing is kept. Loop thread. */
#include <errno.h>

#include "pipe/meta.h"
#include "pipe/pipe_int.h"

struct plug *pipe_plug(struct pipe *p) { return p->plug; }

static void look(const struct line *line, struct pipe_view *ret)
{
    const struct chain *ch = line->chain;
    *ret = (struct pipe_view){ .cf = line->cf, .chain = ch->inst, .uploader = line->uploader, .cache = line->cache, .limits = ch->limits,
        .window_milli = line->window.milli, .in_flight = line->window.in_flight, .landing_ms = ch->landing_ms, .put_us = line->put_us,
        .budgets = ch->budgets, .n_budgets = ch->n_budgets };
}

bool pipe_look(struct pipe *p, uint32_t i, struct pipe_view *ret)
{
    LIST_EACH(l, &p->lines) {
        const struct line *line = LIST_OF(l, struct line, link);
        if (!line->cf || i--) continue;
        look(line, ret);
        return true;
    }
    return false;
}

bool pipe_look_at(struct pipe *p, struct mintd_str name, struct pipe_view *ret)
{
    const struct line *line = pipe_line(p, name);
    if (line) look(line, ret);
    return line != NULL;
}

/* A ticket as the documentation shows it; what the pipeline's templates want and it does not have is filled from the built-in mapping. */
int pipe_example(struct pipe *p, struct mintd_str pipeline, struct mintd_str venue, struct arena *mem, struct pipe_example *ret)
{
    const struct line *line = pipe_line(p, pipeline);
    struct pipe_ticket t = { .id = S("ticket-000001"), .event_id = S("event-1"), .user_id = S("user-1"),
        .data = S("{\"eventName\":\"Concert\",\"eventDate\":\"2026-12-01\",\"venue\":\"Stadium\",\"tier\":\"VIP\","
                  "\"seatNumber\":\"A1\"}") };
    struct mintd_str at = venue.n ? venue : S("venue-1");
    struct meta_ticket *m = NULL;
    struct meta_error err = { 0 };
    struct buf body = { 0 }, name = { 0 };
    int r = line ? meta_parse(&t, at, &m) : -ENOENT;
    if (r) return r;
    if (meta_body(line->metadata, m, &body, &err) == -EINVAL) body.n = 0, meta_body(NULL, m, &body, &err);
    if (meta_text(line->collection, m, &name, &err)) name.n = 0, buf_str(&name, at);
    *ret = (struct pipe_example){ .body = arena_str(mem, buf_view(&body)), .collection = arena_str(mem, buf_view(&name)) };
    r = ret->body.n && ret->collection.n ? meta_name(ret->body, mem, &ret->name) : -ENOMEM;
    meta_ticket_free(m);
    buf_free(&body);
    buf_free(&name);
    return r;
}
