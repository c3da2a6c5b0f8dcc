/* See vitals.h. Owns one timer: how much later than asked it fires is what every other event of the loop waits too. Calls base/. */
#include <stdio.h>
#include <stdlib.h>
#include "base/metric.h"
#include "mintd/plugin.h"
#include "ops/vitals.h"

enum { EVERY_MS = 500 };
struct vitals { struct loop *loop; struct loop_timer *timer; uint64_t due_us; struct metric *lag; };

static void look(void *arg);

static void again(struct vitals *v)
{
    v->due_us = loop_now_us(v->loop) + EVERY_MS * 1000;
    v->timer = loop_timer(v->loop, EVERY_MS, look, v);
}

static void look(void *arg)
{
    struct vitals *v = arg;
    uint64_t now = loop_now_us(v->loop);
    loop_timer_del(v->timer);
    metric_observe(v->lag, S(""), S(""), now > v->due_us ? (double)(now - v->due_us) / 1e6 : 0);
    again(v);
}

struct vitals *vitals_new(struct loop *loop, const char *version)
{
    char abi[16];
    struct vitals *v = calloc(1, sizeof *v);
    if (!v) return NULL;
    v->loop = loop;
    v->lag = metric_new(METRIC_HISTOGRAM, "mintd_loop_lag_seconds", NULL, "how late the event loop runs what is due, looked at twice a second", NULL);
    int n = snprintf(abi, sizeof abi, "%d.%d", MINTD_ABI_MAJOR, MINTD_ABI_MINOR);
    metric_set(metric_new(METRIC_GAUGE, "mintd_build_info", "version,abi", "always 1; the version and the plugin ABI are its labels", NULL),
               str_of(version), (struct mintd_str){ abi, (size_t)n }, 1);
    again(v);
    return v;
}

struct vitals *vitals_free(struct vitals *v)
{
    if (v) loop_timer_del(v->timer);
    free(v);
    return NULL;
}
