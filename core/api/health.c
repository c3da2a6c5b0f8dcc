/* Health and metrics. The answers carry no secret and touch no store. Loop thread. */
#include "api/batch.h"

void health_live(struct call *c)
{
    struct buf b = { 0 };
    buf_puts(&b, "ok\n");
    call_text(c, 200, "text/plain; charset=utf-8", &b);
}

void health_ready(struct call *c)
{
    struct buf why = { 0 }, b = { 0 };
    bool ready = pipe_ready(c->api->pipe, &why);
    if (ready && !keys_settled(c->api->keys)) buf_puts(&why, "the keys are not read yet"), ready = false;
    if (c->api->draining) buf_puts(&why, why.n ? "; shutting down" : "shutting down");
    ready = ready && !c->api->draining;
    buf_puts(&b, ready ? "ok\n" : "not ready");
    if (!ready) {
        buf_puts(&b, ": ");
        buf_str(&b, why.n ? buf_view(&why) : S("starting"));
        buf_puts(&b, "\n");
    }
    if (http_query(c->http, "verbose"))
        buf_printf(&b, "pipeline: %s\nconnections: %u\nrequests in flight: %u\n", ready ? "accepts work" : "accepts no work",
                   (c->api->tcp ? httpd_connections(c->api->tcp) : 0) + (c->api->local ? httpd_connections(c->api->local) : 0),
                   c->api->n_calls);
    buf_free(&why);
    call_text(c, ready ? 200 : 503, "text/plain; charset=utf-8", &b);
}

void health_metrics(struct call *c)
{
    struct buf b = { 0 };
    pipe_sample(c->api->pipe);
    metric_write(&b);
    call_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}
