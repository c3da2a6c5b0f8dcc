/* The nodes and endpoints of the configuration. Pure. */
#include "local.h"

static const struct strs memory_route = { (struct mintd_str[]){ { "memory", 6 } }, 1 };

static const struct strs *senders(const struct local *l) { return l->o.profile == NULL_CHAIN ? &memory_route : &l->o.endpoints; }

uint32_t routes_n(const struct local *l) { return senders(l)->n + (l->o.profile == HEDERA_LIKE ? l->o.mirrors.n : 0); }

struct route route_at(const struct local *l, uint32_t i)
{
    const struct strs *s = senders(l);
    if (i >= s->n) return (struct route){ l->o.mirrors.p[i - s->n], MINTD_READ | MINTD_PROVE };
    return (struct route){ s->p[i], MINTD_SEND | MINTD_READ | (l->o.profile == HEDERA_LIKE ? 0u : (uint32_t)MINTD_PROVE) };
}

/* FNV-1a, never 0: 0 is the whole network. */
uint32_t route_hash(struct mintd_str name)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < name.n; i++) h = (h ^ (uint8_t)name.p[i]) * 16777619u;
    return h ? h : 1;
}

bool route_known(const struct local *l, struct mintd_str name)
{
    for (uint32_t i = 0; i < routes_n(l); i++) if (str_is(route_at(l, i).name, name)) return true;
    return false;
}

uint32_t route_provers(const struct local *l)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < routes_n(l); i++) n += (route_at(l, i).use & MINTD_PROVE) != 0;
    return n;
}

/* At most one, so that with three witnesses and a quorum of two the truth always wins. */
struct mintd_str route_liar(struct local *l, struct mintd_str id)
{
    uint32_t n = route_provers(l), skip;
    if (n < 3 || !fault(l, l->o.lie, "lie", id, 0)) return (struct mintd_str){ NULL, 0 };
    skip = (uint32_t)(roll(l, "liar", id, 0) % n);
    for (uint32_t i = 0;; i++)
        if ((route_at(l, i).use & MINTD_PROVE) && skip-- == 0) return route_at(l, i).name;
}
