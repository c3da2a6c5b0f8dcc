/* Counts and names what plugins do against the contract, and the metrics of all instances. Owns the instance names that metrics
 * and cookies refer to; they live as long as the process, because an answer may come at any time. Any thread, but
 * owner_of and plug_metrics_register: loop thread. */
#include "plug/inst.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "base/str.h"

enum { OWNERS_MAX = 4096 };

struct owner { uint32_t number; size_t n; uint64_t counts[DEFECT_COUNT]; char name[]; };

static struct owner *owners[OWNERS_MAX];                    /* filled from 1 on, never emptied; slots are atomic */
static struct owner nobody;                                 /* cookies that belong to no instance */
struct plug_metrics plug_metrics;

static const struct { const char *what, *text; } defects[DEFECT_COUNT] = {
    [DEFECT_DOUBLE_DONE]    = { "double_done", "called done for an op that is already answered" },
    [DEFECT_LATE_DONE]      = { "late_done", "answered after deadline and grace, the answer is dropped" },
    [DEFECT_NO_ANSWER]      = { "no_answer", "gave no answer until deadline and grace were over, the host settled the op" },
    [DEFECT_STALE_OP]       = { "stale_op", "used an op that has ended" },
    [DEFECT_BAD_OUTCOME]    = { "bad_outcome", "gave an outcome that cannot be read" },
    [DEFECT_UNLISTED_CLASS] = { "unlisted_class", "gave an outcome class that the op does not list" },
    [DEFECT_UNLISTED_SLUG]  = { "unlisted_slug", "gave a slug that it does not publish" },
    [DEFECT_BAD_RESULT]     = { "bad_result", "gave result rows that cannot be read" },
    [DEFECT_WRONG_THREAD]   = { "wrong_thread", "called a host function on a thread that may not, nothing was done" },
    [DEFECT_UNKNOWN_OPTION] = { "unknown_option", "read an option that it does not publish, or not as its type, or too late" },
    [DEFECT_UNKNOWN_METRIC] = { "unknown_metric", "set a metric that it does not publish" },
    [DEFECT_BAD_FIELDS]     = { "bad_fields", "logged fields that cannot be read" },
    [DEFECT_LEAKED_HANDLE]  = { "leaked_handle", "ended with a watch, timer or dial still open" },
};

struct owner *owner_of(struct mintd_str instance)
{
    uint32_t i = 1;
    for (; i < OWNERS_MAX && owners[i]; i++)
        if (str_eq(owner_name(owners[i]), instance)) return owners[i];
    struct owner *o = i < OWNERS_MAX ? calloc(1, sizeof *o + instance.n + 1) : NULL;
    if (!o) return NULL;
    o->number = i;
    o->n = instance.n;
    memcpy(o->name, instance.p, instance.n);
    __atomic_store_n(&owners[i], o, __ATOMIC_RELEASE);
    return o;
}

struct owner *owner_at(uint32_t number)
{
    return number < OWNERS_MAX ? __atomic_load_n(&owners[number], __ATOMIC_ACQUIRE) : NULL;
}

uint32_t owner_number(const struct owner *o) { return o->number; }

struct mintd_str owner_name(const struct owner *o)
{
    return o ? (struct mintd_str){ o->name, o->n } : (struct mintd_str){ NULL, 0 };
}

static bool power_of_ten(uint64_t n)
{
    while (n % 10 == 0) n /= 10;
    return n == 1;
}

void defect(struct owner *owner, enum defect d, const char *where)
{
    struct owner *o = owner ? owner : &nobody;
    uint64_t n = __atomic_add_fetch(&o->counts[d], 1, __ATOMIC_RELAXED);
    metric_add(plug_metrics.defects, owner_name(owner), SZ(defects[d].what), 1);
    if (!power_of_ten(n)) return;                           /* the counter tells the rest */
    char times[24];
    int len = snprintf(times, sizeof times, "%llu", (unsigned long long)n);
    struct mintd_field f[] = { { S("instance"), owner_name(owner) }, { S("op"), SZ(where) }, { S("defect"), SZ(defects[d].what) },
        { S("times"), { times, (size_t)len } } };
    char text[160];
    len = snprintf(text, sizeof text, "plugin defect: the plugin %s", defects[d].text);
    log_fields(MINTD_WARN, (struct mintd_str){ text, (size_t)len }, f, ARRAY_LEN(f));
}

void plug_metrics_register(void)
{
    plug_metrics = (struct plug_metrics){
        .seconds = metric_new(METRIC_HISTOGRAM, "mintd_op_seconds", "instance,op", "Time from call to answer of plugin ops.", NULL),
        .ops = metric_new(METRIC_COUNTER, "mintd_ops_total", "instance,class", "Answered plugin ops by outcome class.", NULL),
        .in_flight = metric_new(METRIC_GAUGE, "mintd_ops_in_flight", "instance", "Plugin ops waiting for their answer.", NULL),
        .slow = metric_new(METRIC_COUNTER, "mintd_callback_slow_total", "instance,callback",
                           "Plugin callbacks that held the loop for more than 50 ms.", NULL),
        .defects = metric_new(METRIC_COUNTER, "mintd_plugin_defects_total", "instance,what",
                              "What plugins did against their contract.", NULL),
    };
}
