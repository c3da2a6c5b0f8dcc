/* The seeded back end of base/loop.h: one thread, virtual time, every free order drawn from the seed. Owns the loop's
 * queues and, until it is handed over, the descriptor of a dial. May call libc and base/list. Memory that runs out ends
 * the program: this is a test.
 *
 * There are four queues of events, each ordered by virtual time and age: posts, timers, pool work, dials. A step takes
 * the earliest time and draws among the queues whose head is due then. Pool work is due 0..2 ms after it was given, in
 * order within a worker. Only when nothing is due now are watched descriptors polled, without blocking; time advances
 * only when none is ready. A wait inside pool work moves that worker's own clock: it sees later times, its posts arrive
 * then, its next work starts then. */
#include "loop_fake.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "mintd/plugin.h"

enum queue { Q_POST, Q_TIMER, Q_WORK, Q_DIAL, QUEUES };
enum { WORK_DELAY_US = 2000, WAIT_FD_MS = 500, CONNECT_MS = 200, WATCH_POLL_MAX = 256 };
static const int64_t WALL_DEFAULT = 1750000000000000;      /* some moment in 2025 */

struct event { struct list link; uint64_t at, age; loop_fn *fn; void *arg; };
struct loop {
    struct list queues[QUEUES], watches;
    uint64_t now_us, age, order, noise, syncs;             /* order, noise: generator states */
    int64_t wall;
    struct work *running;
    unsigned timers, n_watches, dials, signals, pools;
    bool stop;
};
struct loop_timer { struct event e; struct loop *loop; };
struct loop_dial { struct event e; struct loop *loop; int result; loop_io_fn *fn; };
struct loop_watch { struct list link; struct loop *loop; int fd; uint32_t events; loop_io_fn *fn; void *arg; };
struct loop_signal { struct loop *loop; };
struct work { struct event e; struct loop_pool *pool; int worker; uint64_t waited_us; };
struct lane { uint64_t given, busy; };                     /* due time of its newest work; when its last wait ends */
struct loop_pool { struct loop *loop; uint32_t n; struct lane lanes[]; };

static void *need(size_t n)
{
    void *p = calloc(1, n);
    if (!p) {
        fputs("the seeded loop is out of memory\n", stderr);
        abort();
    }
    return p;
}

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t draw_below(struct loop *l, uint64_t n)
{
    return draw(&l->order) % n;
}

void loop_fake_seed(struct loop *l, uint64_t seed)
{
    l->order = seed;
    l->noise = ~seed;                                      /* apart: a draw by the code under test moves no event */
}

void loop_fake_wall(struct loop *l, int64_t wall_us) { l->wall = wall_us - (int64_t)l->now_us; }
uint64_t loop_fake_syncs(struct loop *l) { return l->syncs; }

static unsigned queued(struct loop *l, enum queue q)
{
    unsigned n = 0;
    LIST_EACH(it, &l->queues[q]) n++;
    return n;
}

unsigned loop_fake_open(struct loop *l)
{
    return l->timers + l->n_watches + l->dials + l->signals + l->pools + queued(l, Q_POST);
}

const char *loop_backend(void) { return "the seeded loop"; }

int loop_new(struct loop **ret_loop)
{
    struct loop *l = need(sizeof *l);
    for (int q = 0; q < QUEUES; q++) list_init(&l->queues[q]);
    list_init(&l->watches);
    l->wall = WALL_DEFAULT;
    loop_fake_seed(l, 1);
    *ret_loop = l;
    return 0;
}

int loop_free(struct loop *l)
{
    unsigned open = loop_fake_open(l);
    if (open) return (int)open;
    free(l);
    return 0;
}

/* ---- time, randomness, sync: as the work that runs sees them */

uint64_t loop_now_us(struct loop *l) { return l->now_us + (l->running ? l->running->waited_us : 0); }
uint64_t loop_now_ms(struct loop *l) { return loop_now_us(l) / 1000; }
int64_t loop_wall_us(struct loop *l) { return l->wall + (int64_t)loop_now_us(l); }

void loop_random(struct loop *l, void *buf, size_t n)
{
    unsigned char *to = buf;
    for (size_t i = 0; i < n; i++) to[i] = (unsigned char)(draw(&l->noise) >> 56);
}

int loop_sync(struct loop *l, int fd)
{
    (void)fd;
    l->syncs++;
    return 0;
}

/* ---- events */

static uint64_t after_us(struct loop *l, uint64_t ms)
{
    uint64_t now = loop_now_us(l);
    return ms > (UINT64_MAX - now) / 1000 ? UINT64_MAX : now + ms * 1000;
}

static bool is_later(const struct list *link, const struct event *than)
{
    const struct event *e = LIST_OF(link, struct event, link);
    return e->at > than->at || (e->at == than->at && e->age > than->age);
}

/* Kept sorted by time, then age: nearly always an append */
static void insert(struct loop *l, enum queue q, struct event *e)
{
    struct list *head = &l->queues[q], *before = head;
    while (before->prev != head && is_later(before->prev, e)) before = before->prev;
    list_add(before, &e->link);
}

static void enqueue(struct loop *l, enum queue q, struct event *e)
{
    e->age = ++l->age;
    insert(l, q, e);
}

static struct event *first(struct loop *l, enum queue q)
{
    struct list *head = &l->queues[q];
    return list_empty(head) ? NULL : LIST_OF(head->next, struct event, link);
}

static uint64_t next_at(struct loop *l)
{
    uint64_t at = UINT64_MAX;
    for (enum queue q = 0; q < QUEUES; q++) {
        struct event *e = first(l, q);
        if (e && e->at < at) at = e->at;
    }
    return at;
}

static void run_post(struct event *e)
{
    struct event copy = *e;
    free(e);
    copy.fn(copy.arg);
}

static void run_dial(struct event *e)
{
    struct loop_dial *d = LIST_OF(e, struct loop_dial, e);
    int result = d->result;
    d->result = -1;                                        /* the receiver's from here on; d may be gone after fn */
    d->fn(e->arg, result, result >= 0 ? MINTD_OUT : 0);
}

/* The worker that takes w at w's time: its own, or any free one. -1: all are busy; *ret_at: when one no longer is */
static int free_worker(struct loop *l, const struct work *w, uint64_t *ret_at)
{
    uint32_t free_ones = 0;
    uint64_t soonest = UINT64_MAX;
    for (uint32_t i = 0; i < w->pool->n; i++) {
        if (w->worker >= 0 && i != (uint32_t)w->worker) continue;
        uint64_t busy = w->pool->lanes[i].busy;
        if (busy <= w->e.at) free_ones++;
        if (busy < soonest) soonest = busy;
    }
    *ret_at = soonest;
    if (!free_ones || w->worker >= 0) return free_ones ? w->worker : -1;
    uint64_t k = draw_below(l, free_ones);
    for (uint32_t i = 0;; i++)
        if (w->pool->lanes[i].busy <= w->e.at && k-- == 0) return (int)i;
}

static void run_work(struct loop *l, struct event *e)
{
    struct work *w = LIST_OF(e, struct work, e), *outer = l->running;
    uint64_t at;
    int worker = free_worker(l, w, &at);
    if (worker < 0) {                                      /* in its turn once a wait is over: the age stays */
        e->at = at;
        insert(l, Q_WORK, e);
        return;
    }
    w->worker = worker;
    l->running = w;
    e->fn(e->arg);
    l->running = outer;
    if (w->waited_us) w->pool->lanes[worker].busy = l->now_us + w->waited_us;
    free(w);
}

static void run_event(struct loop *l, enum queue q)
{
    struct event *e = first(l, q);
    list_del(&e->link);
    switch (q) {
    case Q_POST:  run_post(e); break;
    case Q_TIMER: e->fn(e->arg); break;                    /* still the owner's, who may have deleted it */
    case Q_WORK:  run_work(l, e); break;
    case Q_DIAL:  run_dial(e); break;
    case QUEUES:  break;
    }
}

/* Runs one of the events due at `at` */
static void run_due(struct loop *l, uint64_t at)
{
    enum queue due[QUEUES];
    unsigned n = 0;
    for (enum queue q = 0; q < QUEUES; q++) {
        struct event *e = first(l, q);
        if (e && e->at <= at) due[n++] = q;
    }
    assert(n);
    if (at > l->now_us) l->now_us = at;
    run_event(l, due[draw_below(l, n)]);
}

static short poll_events(uint32_t events)
{
    return (short)((events & MINTD_IN ? POLLIN : 0) | (events & MINTD_OUT ? POLLOUT : 0));
}

static uint32_t got_events(short revents, uint32_t wanted)
{
    if (revents & ~(POLLIN | POLLOUT)) return wanted;
    return (revents & POLLIN ? MINTD_IN : 0u) | (revents & POLLOUT ? MINTD_OUT : 0u);
}

/* Calls one ready watch, drawn from the seed; false: none is ready */
static bool run_watch(struct loop *l)
{
    struct pollfd fds[WATCH_POLL_MAX];
    struct loop_watch *of[WATCH_POLL_MAX];
    unsigned n = 0, ready = 0;
    LIST_EACH(it, &l->watches) {
        struct loop_watch *w = LIST_OF(it, struct loop_watch, link);
        if (!w->events || n == WATCH_POLL_MAX) continue;
        fds[n] = (struct pollfd){ .fd = w->fd, .events = poll_events(w->events) };
        of[n++] = w;
    }
    if (!n || poll(fds, n, 0) <= 0) return false;
    for (unsigned i = 0; i < n; i++) {
        if (!fds[i].revents) continue;
        of[ready] = of[i];
        fds[ready++].revents = fds[i].revents;
    }
    if (!ready) return false;
    unsigned k = (unsigned)draw_below(l, ready);
    of[k]->fn(of[k]->arg, of[k]->fd, got_events(fds[k].revents, of[k]->events));
    return true;
}

bool loop_fake_step(struct loop *l)
{
    uint64_t at = next_at(l);
    if (at > l->now_us && run_watch(l)) return true;
    if (at == UINT64_MAX) return false;
    run_due(l, at);
    return true;
}

/* One step that begins no later than `limit`; false: nothing left until then */
static bool step_before(struct loop *l, uint64_t limit)
{
    if (next_at(l) <= limit) return loop_fake_step(l);
    return run_watch(l);
}

bool loop_fake_until(struct loop *l, bool (*done)(void *), void *arg, uint64_t max_ms)
{
    uint64_t limit = after_us(l, max_ms);
    while (!done(arg)) {
        if (step_before(l, limit)) continue;
        if (limit != UINT64_MAX) l->now_us = limit;
        return false;
    }
    return true;
}

void loop_fake_advance(struct loop *l, uint64_t ms)
{
    uint64_t limit = after_us(l, ms);
    while (step_before(l, limit)) { }
    l->now_us = limit;
}

void loop_run(struct loop *l)
{
    while (!l->stop && loop_fake_step(l)) { }
    l->stop = false;
}

void loop_stop(struct loop *l) { l->stop = true; }

void loop_post(struct loop *l, loop_fn *fn, void *arg)
{
    struct event *e = need(sizeof *e);
    *e = (struct event){ .at = loop_now_us(l), .fn = fn, .arg = arg };
    enqueue(l, Q_POST, e);
}

/* ---- timers, watches, dials, signals */

struct loop_timer *loop_timer(struct loop *l, uint64_t ms, loop_fn *fn, void *arg)
{
    struct loop_timer *t = need(sizeof *t);
    *t = (struct loop_timer){ { .at = after_us(l, ms), .fn = fn, .arg = arg }, l };
    enqueue(l, Q_TIMER, &t->e);
    l->timers++;
    return t;
}

void loop_timer_del(struct loop_timer *t)
{
    if (!t) return;
    list_del(&t->e.link);
    t->loop->timers--;
    free(t);
}

struct loop_watch *loop_watch(struct loop *l, int fd, uint32_t events, loop_io_fn *fn, void *arg)
{
    struct loop_watch *w = need(sizeof *w);
    *w = (struct loop_watch){ .loop = l, .fd = fd, .events = events, .fn = fn, .arg = arg };
    list_add(&l->watches, &w->link);
    l->n_watches++;
    return w;
}

int loop_watch_set(struct loop_watch *w, uint32_t events)
{
    w->events = events;
    return 0;
}

void loop_watch_del(struct loop_watch *w)
{
    if (!w) return;
    list_del(&w->link);
    w->loop->n_watches--;
    free(w);
}

static int connect_to(int family, const struct sockaddr *to, socklen_t n)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    if (fd < 0) return -errno;
    if (connect(fd, to, n)) error = errno;
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    if (error == EINPROGRESS && poll(&p, 1, CONNECT_MS) == 1)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error });
    if (!error) return fd;
    close(fd);
    return -(error == EINPROGRESS ? ETIMEDOUT : error);
}

/* Loopback only, where the kernel answers at once; the rest of the world refuses */
static int connect_loopback(const char *host, uint16_t port)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = v4.sin_port, .sin6_addr = in6addr_loopback };
    if (!strcmp(host, "::1")) return connect_to(AF_INET6, (struct sockaddr *)&v6, sizeof v6);
    if (!strcmp(host, "localhost")) host = "127.0.0.1";
    bool is_loopback = inet_pton(AF_INET, host, &v4.sin_addr) == 1 && ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    if (!is_loopback) return -ECONNREFUSED;
    return connect_to(AF_INET, (struct sockaddr *)&v4, sizeof v4);
}

struct loop_dial *loop_dial(struct loop *l, const char *host, uint16_t port, uint64_t ms, loop_io_fn *fn,
                            void *arg)
{
    struct loop_dial *d = need(sizeof *d);
    uint64_t at = loop_now_us(l) + draw_below(l, WORK_DELAY_US + 1), last = after_us(l, ms);
    *d = (struct loop_dial){ .e = { .at = at < last ? at : last, .arg = arg }, .loop = l, .fn = fn };
    d->result = connect_loopback(host, port);
    enqueue(l, Q_DIAL, &d->e);
    l->dials++;
    return d;
}

void loop_dial_del(struct loop_dial *d)
{
    if (!d) return;
    list_del(&d->e.link);
    if (d->result >= 0) close(d->result);
    d->loop->dials--;
    free(d);
}

struct loop_signal *loop_signal(struct loop *l, int signum, loop_fn *fn, void *arg)
{
    (void)signum; (void)fn; (void)arg;
    struct loop_signal *s = need(sizeof *s);
    s->loop = l;
    l->signals++;
    return s;
}

void loop_signal_del(struct loop_signal *s)
{
    if (!s) return;
    s->loop->signals--;
    free(s);
}

/* ---- pools */

struct loop_pool *loop_pool_new(struct loop *l, const char *name, uint32_t n)
{
    (void)name;
    if (!n) return NULL;
    struct loop_pool *p = need(sizeof *p + n * sizeof p->lanes[0]);
    p->loop = l;
    p->n = n;
    l->pools++;
    return p;
}

void loop_pool_run(struct loop_pool *p, int worker, loop_fn *fn, void *arg)
{
    struct work *w = need(sizeof *w);
    assert(worker < (int)p->n);
    uint64_t at = loop_now_us(p->loop) + draw_below(p->loop, WORK_DELAY_US + 1);
    *w = (struct work){ .e = { .at = at, .fn = fn, .arg = arg }, .pool = p, .worker = worker };
    if (worker >= 0) {
        uint64_t *given = &p->lanes[worker].given;         /* never before what this worker was given earlier */
        w->e.at = *given = at > *given ? at : *given;
    }
    enqueue(p->loop, Q_WORK, &w->e);
}

static struct event *first_of_pool(struct loop *l, const struct loop_pool *p)
{
    LIST_EACH(it, &l->queues[Q_WORK]) {
        struct event *e = LIST_OF(it, struct event, link);
        if (LIST_OF(e, struct work, e)->pool == p) return e;
    }
    return NULL;
}

void loop_pool_free(struct loop_pool *p)
{
    if (!p) return;
    struct loop *l = p->loop;
    for (struct event *e; (e = first_of_pool(l, p));) {
        if (e->at > l->now_us) l->now_us = e->at;          /* a real join takes as long as the work does */
        list_del(&e->link);
        run_work(l, e);
    }
    l->pools--;
    free(p);
}

int loop_pool_self(struct loop_pool *p)
{
    struct work *w = p->loop->running;
    return w && w->pool == p ? w->worker : -1;
}

static int poll_once(int fd, uint32_t events, int ms)
{
    struct pollfd p = { .fd = fd, .events = poll_events(events) };
    int r = poll(&p, 1, ms);
    if (r <= 0) return r ? -errno : 0;
    return p.revents & POLLNVAL ? -EBADF : (int)got_events(p.revents, events);
}

int loop_pool_wait(struct loop_pool *p, int fd, uint32_t events, uint64_t ms, const volatile int *cancel)
{
    struct work *w = p->loop->running;
    if (cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED)) return -ECANCELED;
    int r = fd < 0 ? 0 : poll_once(fd, events, ms < WAIT_FD_MS ? (int)ms : WAIT_FD_MS);
    if (!r && w) w->waited_us += ms < UINT64_MAX / 2000 ? ms * 1000 : 0;
    return r;
}
