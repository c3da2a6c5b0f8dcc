/* How much waits where: read when somebody asks for the metrics, not kept up to date in between. Loop thread. */
#include "pipe/pipe_int.h"

static const struct mintd_str NONE = { NULL, 0 };

static uint32_t length(const struct list *head)
{
    uint32_t n = 0;
    for (const struct list *l = head->next; l && l != head; l = l->next) n++;
    return n;
}

static uint32_t ready_of(const struct line *line)
{
    uint32_t n = 0;
    for (const struct list *l = line->cols.next; l != &line->cols; l = l->next)
        n += length(&LIST_OF(l, struct col, ring)->ready);
    return n;
}

static void depth(struct pipe *p, const char *queue, uint32_t n) { metric_set(p->m.depth, str_of(queue), NONE, n); }

void pipe_sample(struct pipe *p)
{
    uint32_t uploading = 0, ready = 0, watched = 0;
    LIST_EACH(l, &p->lines) {
        struct line *line = LIST_OF(l, struct line, link);
        uint32_t n = ready_of(line);
        ready += n;
        uploading += length(&line->uploading);
        metric_set(p->m.ready, line->name, NONE, n);
    }
    LIST_EACH(l, &p->chains) watched += length(&LIST_OF(l, struct chain, link)->watched);
    depth(p, "intake", length(&p->intakes));
    depth(p, "upload", uploading);
    depth(p, "mint", ready);
    depth(p, "watch", watched);
    depth(p, "resting", p->resting);
    depth(p, "commit", p->book.n_waiting);
    depth(p, "waiting_clients", length(&p->waits));
    metric_set(p->m.memory, NONE, NONE, (double)p->chunks.n);
}
