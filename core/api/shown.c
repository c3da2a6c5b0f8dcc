/* Documents as they were shown last: see shown.h. A table of places, each holding the one that came last. Loop thread. */
#include <stdlib.h>
#include "api/shown.h"

enum { PLACES = 64 };
struct doc { uint64_t id, written, at_ms; uint32_t kind; size_t n; char *text; };
struct shown { struct doc docs[PLACES]; };

struct shown *shown_new(void) { return calloc(1, sizeof(struct shown)); }

struct shown *shown_free(struct shown *s)
{
    for (int i = 0; s && i < PLACES; i++) free(s->docs[i].text);
    free(s);
    return NULL;
}

struct mintd_str shown_get(const struct shown *s, uint64_t id, uint32_t kind, uint64_t written, uint64_t now_ms)
{
    const struct doc *d = &s->docs[id % PLACES];
    bool good = d->text && d->id == id && d->kind == kind && d->written == written && now_ms - d->at_ms < SHOWN_MS;
    return good ? (struct mintd_str){ d->text, d->n } : (struct mintd_str){ NULL, 0 };
}

void shown_put(struct shown *s, uint64_t id, uint32_t kind, uint64_t written, uint64_t now_ms, struct mintd_str text)
{
    struct doc *d = &s->docs[id % PLACES];
    if (text.n > SHOWN_BYTES) return;
    char *p = malloc(text.n + 1);
    if (!p) return;
    memcpy(p, text.p, text.n);
    free(d->text);
    *d = (struct doc){ .id = id, .written = written, .at_ms = now_ms, .kind = kind, .n = text.n, .text = p };
}
