/* Chance without dice: every decision is a keyed hash of the seed and of what it is about, so that several daemons, and one daemon
 * before and after a crash, decide alike. What has no content of its own (a node down, a lagging node) is weather: a window of
 * chain time. Pure but for a counter. */
#include <sodium.h>

#include "local.h"

uint64_t roll(const struct local *l, const char *what, struct mintd_str a, uint64_t n)
{
    uint8_t key[crypto_shorthash_KEYBYTES], text[512];
    uint64_t h;
    struct writer k = { key, 0, sizeof key }, w = { text, 0, sizeof text };
    put_u(&k, (uint64_t)l->o.seed, 8);
    put_u(&k, 0x6d696e7466617574u, 8);
    put_str(&w, str_z(what), 1);
    put_u(&w, n, 8);
    put_str(&w, a.n < ID_MAX * 2 ? a : (struct mintd_str){ a.p, ID_MAX * 2 }, 2);
    crypto_shorthash((uint8_t *)&h, text, w.n, key);
    return h;
}

bool struck(const struct local *l, int64_t per_mille, const char *what, struct mintd_str a, uint64_t n)
{
    return per_mille > 0 && roll(l, what, a, n) % 1000 < (uint64_t)per_mille;
}

bool fault(struct local *l, int64_t per_mille, const char *what, struct mintd_str a, uint64_t n)
{
    if (!struck(l, per_mille, what, a, n)) return false;
    l->host->metric(l->ctx, M_FAULTS, str_z(what), 1);
    return true;
}

static uint64_t window(int64_t t) { return (uint64_t)t / WEATHER_US; }

bool route_down(const struct local *l, struct mintd_str route, int64_t t)
{
    return struck(l, l->o.restart, "restart", route, window(t));
}

int64_t route_view(const struct local *l, struct mintd_str route, int64_t t)
{
    return struck(l, l->o.stale_read, "stale_read", route, window(t)) ? t - l->o.stale_lag_us : t;
}

bool named(const struct strs *list, struct mintd_str name)
{
    for (uint32_t i = 0; i < list->n; i++) if (str_is(list->p[i], name)) return true;
    return false;
}
