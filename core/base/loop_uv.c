/* The daemon's back end of base/loop.h, on libuv. Owns the uv loop, every handle on it and the pools' threads. May call
 * libuv, libc and base/{list,log}. Runs on the loop thread but for what base/loop.h calls "any thread" and the bodies
 * of workers.
 *
 * Handles: a public handle is one allocation around its uv handle and dies in uv's close callback, so deleting it
 * inside its own callback is safe and loop_free runs the loop until the last close callback is through.
 * Posts: one FIFO under a mutex and one uv_async. Pools: own threads; uv's global pool looks names up for dials and
 * does nothing else.
 * loop_post and loop_pool_run can not fail: with a post or a piece of work lost, an op would never end, so when there
 * is no memory for its node the process says so and aborts; everything it had promised is on disk, and a restart
 * recovers as from kill -9.
 * A dial whose name has no address ends in -EADDRNOTAVAIL, one that could not be looked up now in -EAGAIN. */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "mintd/plugin.h"

enum { WAIT_SLICE_MS = 50, WORKERS_MAX = 1024 };

struct task { struct list link; loop_fn *fn; void *arg; uint64_t age; };
struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_idle_t idle;                                        /* runs while timers of 0 ms wait, each in a turn of its own */
    struct list soon;
    pthread_mutex_t lock;                                  /* posts */
    struct list posts;
    atomic_size_t posted, working;                         /* posts not run yet; pool work not finished yet */
    unsigned open, waiting;                                /* handles not deleted; those that may still call back */
    atomic_bool stop;
};

static void *need(size_t n)
{
    void *p = calloc(1, n);
    if (!p) {
        log_error("out of memory for work that must not be lost, aborting");
        abort();
    }
    return p;
}

static uint64_t clock_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t monotonic_ms(void) { return clock_us(CLOCK_MONOTONIC) / 1000; }

static uint64_t add_ms(uint64_t a, uint64_t b) { return b > UINT64_MAX - a ? UINT64_MAX : a + b; }

/* ---- the loop, posts, clocks */

static void run_posts(uv_async_t *wake)
{
    struct loop *l = wake->data;
    struct list batch;
    list_init(&batch);
    pthread_mutex_lock(&l->lock);
    if (!list_empty(&l->posts)) {                          /* take the whole chain; what posts post comes next round */
        batch = l->posts;
        batch.next->prev = batch.prev->next = &batch;
        list_init(&l->posts);
    }
    pthread_mutex_unlock(&l->lock);
    for (struct list *it; (it = list_pop(&batch));) {
        struct task *t = LIST_OF(it, struct task, link), copy = *t;
        free(t);
        atomic_fetch_sub(&l->posted, 1);
        copy.fn(copy.arg);
    }
}

const char *loop_backend(void)
{
    static char text[32];
    snprintf(text, sizeof text, "libuv %s", uv_version_string());
    return text;
}

int loop_new(struct loop **ret_loop)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l) return -ENOMEM;
    int r = uv_loop_init(&l->uv);
    if (r) {
        free(l);
        return r;
    }
    r = uv_async_init(&l->uv, &l->wake, run_posts);
    if (r) {
        uv_loop_close(&l->uv);
        free(l);
        return r;
    }
    uv_idle_init(&l->uv, &l->idle);
    l->wake.data = l->idle.data = l;
    list_init(&l->soon);
    pthread_mutex_init(&l->lock, NULL);
    list_init(&l->posts);
    *ret_loop = l;
    return 0;
}

int loop_free(struct loop *l)
{
    size_t left = l->open + atomic_load(&l->posted);
    if (left) return (int)left;
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);                        /* close callbacks; a name look-up that was given up */
    int r = uv_loop_close(&l->uv);
    assert(!r);
    (void)r;
    pthread_mutex_destroy(&l->lock);
    free(l);
    return 0;
}

static bool alive(struct loop *l)
{
    return l->waiting || atomic_load(&l->working) || atomic_load(&l->posted);
}

void loop_run(struct loop *l)
{
    while (!atomic_load(&l->stop) && alive(l)) uv_run(&l->uv, UV_RUN_ONCE);
    atomic_store(&l->stop, false);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    uv_async_send(&l->wake);
}

void loop_post(struct loop *l, loop_fn *fn, void *arg)
{
    struct task *t = need(sizeof *t);
    t->fn = fn;
    t->arg = arg;
    pthread_mutex_lock(&l->lock);
    list_add(&l->posts, &t->link);
    atomic_fetch_add(&l->posted, 1);
    pthread_mutex_unlock(&l->lock);
    uv_async_send(&l->wake);
}

uint64_t loop_now_ms(struct loop *l) { (void)l; return monotonic_ms(); }
uint64_t loop_now_us(struct loop *l) { (void)l; return clock_us(CLOCK_MONOTONIC); }
int64_t loop_wall_us(struct loop *l) { (void)l; return (int64_t)clock_us(CLOCK_REALTIME); }

void loop_random(struct loop *l, void *buf, size_t n)
{
    (void)l;
    for (unsigned char *to = buf; n;) {
        ssize_t got = getrandom(to, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            log_error("the kernel gives no random numbers, aborting");
            abort();
        }
        to += got;
        n -= (size_t)got;
    }
}

int loop_sync(struct loop *l, int fd)
{
    (void)l;
    int r;
    do r = fdatasync(fd);
    while (r && errno == EINTR);
    return r ? -errno : 0;
}

static void opened(struct loop *l)
{
    l->open++;
    l->waiting++;
}

/* was_waiting: it could still have called back */
static void closed(struct loop *l, bool was_waiting)
{
    l->open--;
    if (was_waiting) l->waiting--;
}

/* ---- timers: due is kept because uv's own clock may lag a millisecond behind loop_now_ms */

/* One of 0 ms is no timer of uv: that runs what is due until nothing is, so a chain of them would keep every socket waiting. It waits in
 * `soon`, and between two links of such a chain the loop looks at its sockets. */
struct loop_timer { uv_timer_t uv; struct list link; struct loop *loop; loop_fn *fn; void *arg; uint64_t due; bool fired, inner, soon; };

static void soon_fire(uv_idle_t *idle)
{
    struct loop *l = idle->data;
    struct list batch;
    list_init(&batch);
    for (struct list *it; (it = list_pop(&l->soon));) list_add(&batch, it);          /* what comes meanwhile is for the next turn */
    for (struct list *it; (it = list_pop(&batch));) {
        struct loop_timer *t = LIST_OF(it, struct loop_timer, link);
        t->fired = true;
        if (!t->inner) l->waiting--;
        t->fn(t->arg);
    }
    if (list_empty(&l->soon)) uv_idle_stop(idle);
}

static void timer_gone(uv_handle_t *h) { free(h->data); }

static void timer_fire(uv_timer_t *uv)
{
    struct loop_timer *t = uv->data;
    uint64_t now = monotonic_ms();
    if (now < t->due) {
        uv_timer_start(uv, timer_fire, t->due - now, 0);
        return;
    }
    t->fired = true;
    if (!t->inner) t->loop->waiting--;
    t->fn(t->arg);                                         /* t may be closing after this */
}

/* inner: part of a dial, which counts itself */
static struct loop_timer *timer_new(struct loop *l, uint64_t ms, loop_fn *fn, void *arg, bool inner)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    uint64_t due = add_ms(monotonic_ms(), ms);
    *t = (struct loop_timer){ .loop = l, .fn = fn, .arg = arg, .due = due, .inner = inner, .soon = !ms };
    if (!ms) {
        list_add(&l->soon, &t->link);
        uv_idle_start(&l->idle, soon_fire);
        return t;
    }
    uv_timer_init(&l->uv, &t->uv);
    t->uv.data = t;
    uv_update_time(&l->uv);                                /* a long callback must not shorten the wait */
    uv_timer_start(&t->uv, timer_fire, ms, 0);
    return t;
}

static struct loop_timer *timer_close(struct loop_timer *t)
{
    if (t && t->soon) {
        list_del(&t->link);
        free(t);
    } else if (t) {
        uv_close((uv_handle_t *)&t->uv, timer_gone);
    }
    return NULL;
}

struct loop_timer *loop_timer(struct loop *l, uint64_t ms, loop_fn *fn, void *arg)
{
    struct loop_timer *t = timer_new(l, ms, fn, arg, false);
    if (t) opened(l);
    return t;
}

void loop_timer_del(struct loop_timer *t)
{
    if (!t) return;
    closed(t->loop, !t->fired);
    timer_close(t);
}

/* ---- watches: level-triggered */

struct loop_watch { uv_poll_t uv; struct loop *loop; loop_io_fn *fn; void *arg; int fd; uint32_t events; };

static void watch_gone(uv_handle_t *h) { free(h->data); }

static void watch_ready(uv_poll_t *uv, int status, int got);

static int watch_start(struct loop_watch *w)
{
    int want = (w->events & MINTD_IN ? UV_READABLE : 0) | (w->events & MINTD_OUT ? UV_WRITABLE : 0);
    return want ? uv_poll_start(&w->uv, want, watch_ready) : uv_poll_stop(&w->uv);
}

static void watch_ready(uv_poll_t *uv, int status, int got)
{
    struct loop_watch *w = uv->data;
    uint32_t events = (got & UV_READABLE ? MINTD_IN : 0u) | (got & UV_WRITABLE ? MINTD_OUT : 0u);
    if (status < 0) {                                      /* uv stops it on error; here the error stays visible */
        events = w->events;
        watch_start(w);
    }
    w->fn(w->arg, w->fd, events);
}

static struct loop_watch *watch_new(struct loop *l, int fd, uint32_t events, loop_io_fn *fn, void *arg)
{
    struct loop_watch *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    *w = (struct loop_watch){ .loop = l, .fn = fn, .arg = arg, .fd = fd, .events = events };
    if (uv_poll_init(&l->uv, &w->uv, fd)) {                /* nothing registered yet: no close callback is owed */
        free(w);
        return NULL;
    }
    w->uv.data = w;
    if (!watch_start(w)) return w;
    uv_close((uv_handle_t *)&w->uv, watch_gone);
    return NULL;
}

static struct loop_watch *watch_close(struct loop_watch *w)
{
    if (w) uv_close((uv_handle_t *)&w->uv, watch_gone);
    return NULL;
}

struct loop_watch *loop_watch(struct loop *l, int fd, uint32_t events, loop_io_fn *fn, void *arg)
{
    struct loop_watch *w = watch_new(l, fd, events, fn, arg);
    if (w) opened(l);
    return w;
}

int loop_watch_set(struct loop_watch *w, uint32_t events)
{
    if (events == w->events) return 0;                     /* each change costs a system call */
    w->events = events;
    return watch_start(w);
}

void loop_watch_del(struct loop_watch *w)
{
    if (!w) return;
    closed(w->loop, true);
    watch_close(w);
}

/* ---- signals */

struct loop_signal { uv_signal_t uv; struct loop *loop; loop_fn *fn; void *arg; };

static void signal_gone(uv_handle_t *h) { free(h->data); }

static void signal_fire(uv_signal_t *uv, int signum)
{
    struct loop_signal *s = uv->data;
    (void)signum;
    s->fn(s->arg);
}

struct loop_signal *loop_signal(struct loop *l, int signum, loop_fn *fn, void *arg)
{
    struct loop_signal *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    *s = (struct loop_signal){ .loop = l, .fn = fn, .arg = arg };
    if (uv_signal_init(&l->uv, &s->uv)) {
        free(s);
        return NULL;
    }
    s->uv.data = s;
    if (uv_signal_start(&s->uv, signal_fire, signum)) {
        uv_close((uv_handle_t *)&s->uv, signal_gone);
        return NULL;
    }
    opened(l);
    return s;
}

void loop_signal_del(struct loop_signal *s)
{
    if (!s) return;
    closed(s->loop, true);
    uv_close((uv_handle_t *)&s->uv, signal_gone);
}

/* ---- dials: look the name up, then connect to its addresses in order. Each try may take its share of what is left, so
 * that one dead address can not use up the deadline of the next. */

struct loop_dial {
    uv_getaddrinfo_t look_up;
    struct loop *loop;
    loop_io_fn *fn;
    void *arg;
    struct addrinfo *all, *next;
    struct loop_timer *timer;
    struct loop_watch *watch;
    uint64_t deadline;
    int fd, error;                                         /* fd of the try under way; why the last one failed */
    bool looking, done, deleted;
    uint16_t port;
    char host[];
};

static void dial_try(struct loop_dial *d);

static void dial_reset(struct loop_dial *d)
{
    d->timer = timer_close(d->timer);
    d->watch = watch_close(d->watch);
    if (d->fd >= 0) close(d->fd);
    d->fd = -1;
}

static void dial_end(struct loop_dial *d, int result)
{
    dial_reset(d);
    uv_freeaddrinfo(d->all);
    d->all = d->next = NULL;
    d->done = true;
    d->loop->waiting--;
    d->fn(d->arg, result, result >= 0 ? MINTD_OUT : 0);    /* d may be gone after this */
}

static void dial_connected(struct loop_dial *d)
{
    int fd = d->fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    d->fd = -1;                                            /* the receiver's */
    dial_end(d, fd);
}

static void dial_ready(void *arg, int fd, uint32_t events)
{
    struct loop_dial *d = arg;
    int error = 0;
    (void)events;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error })) error = errno;
    if (!error) {
        d->watch = watch_close(d->watch);                  /* before the descriptor changes hands */
        dial_connected(d);
        return;
    }
    d->error = -error;
    dial_try(d);
}

static void dial_late(void *arg)
{
    struct loop_dial *d = arg;
    d->error = -ETIMEDOUT;
    dial_try(d);
}

/* 1: connected, 0: under way, -errno */
static int dial_start(struct loop_dial *d, const struct addrinfo *to, uint64_t ms)
{
    d->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0) return -errno;
    if (!connect(d->fd, to->ai_addr, to->ai_addrlen)) return 1;
    if (errno != EINPROGRESS) return -errno;
    d->watch = watch_new(d->loop, d->fd, MINTD_OUT, dial_ready, d);
    d->timer = timer_new(d->loop, ms, dial_late, d, true);
    return d->watch && d->timer ? 0 : -ENOMEM;
}

static void dial_try(struct loop_dial *d)
{
    for (;;) {
        uint64_t now = monotonic_ms(), tries = 0;
        dial_reset(d);
        for (struct addrinfo *a = d->next; a; a = a->ai_next) tries++;
        if (!tries || now >= d->deadline) {
            dial_end(d, tries ? -ETIMEDOUT : d->error);
            return;
        }
        struct addrinfo *to = d->next;
        d->next = to->ai_next;
        int r = dial_start(d, to, (d->deadline - now + tries - 1) / tries);
        if (r == 0) return;
        if (r > 0) {
            dial_connected(d);
            return;
        }
        d->error = r;
    }
}

static int look_up_error(int r)
{
    if (r == UV_EAI_AGAIN) return -EAGAIN;
    if (r == UV_EAI_MEMORY || r == UV_ENOMEM) return -ENOMEM;
    return -EADDRNOTAVAIL;
}

static void looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct loop_dial *d = req->data;
    d->looking = false;
    if (d->deleted || d->done) {                           /* given up meanwhile */
        uv_freeaddrinfo(found);
        if (d->deleted) free(d);
        return;
    }
    d->all = d->next = found;
    d->error = status ? look_up_error(status) : -EADDRNOTAVAIL;
    dial_try(d);
}

static void look_up_late(void *arg)
{
    struct loop_dial *d = arg;
    uv_cancel((uv_req_t *)&d->look_up);                    /* if it runs already, its answer finds the dial done */
    dial_end(d, -ETIMEDOUT);
}

/* First turn of the loop after loop_dial: nothing is ever called back from inside the caller */
static void dial_begin(void *arg)
{
    struct loop_dial *d = arg;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)d->port);
    dial_reset(d);
    if (!getaddrinfo(d->host, port, &hints, &d->all)) {    /* an address: no look-up, cannot block */
        d->next = d->all;
        dial_try(d);
        return;
    }
    d->all = NULL;
    hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
    uint64_t now = monotonic_ms();
    d->timer = timer_new(d->loop, d->deadline > now ? d->deadline - now : 0, look_up_late, d, true);
    uv_loop_t *uv = &d->loop->uv;
    int r = d->timer ? uv_getaddrinfo(uv, &d->look_up, looked_up, d->host, port, &hints) : UV_ENOMEM;
    if (r) dial_end(d, look_up_error(r));
    else d->looking = true;
}

struct loop_dial *loop_dial(struct loop *l, const char *host, uint16_t port, uint64_t ms, loop_io_fn *fn,
                            void *arg)
{
    size_t n = strlen(host) + 1;
    struct loop_dial *d = calloc(1, sizeof *d + n);
    if (!d) return NULL;
    *d = (struct loop_dial){ .loop = l, .fn = fn, .arg = arg, .fd = -1, .port = port };
    d->deadline = add_ms(monotonic_ms(), ms);
    memcpy(d->host, host, n);
    d->look_up.data = d;
    d->timer = timer_new(l, 0, dial_begin, d, true);
    if (!d->timer) {
        free(d);
        return NULL;
    }
    opened(l);
    return d;
}

void loop_dial_del(struct loop_dial *d)
{
    if (!d) return;
    closed(d->loop, !d->done);
    dial_reset(d);
    uv_freeaddrinfo(d->all);
    d->all = NULL;
    d->deleted = true;
    if (d->looking) uv_cancel((uv_req_t *)&d->look_up);    /* its callback frees d */
    else free(d);
}

/* ---- pools: each worker takes the older of its own and the shared queue's head */

struct worker {
    struct loop_pool *pool;
    pthread_t thread;
    pthread_cond_t wake;
    struct list own;
    int index;
    bool idle;
};
struct loop_pool {
    struct loop *loop;
    pthread_mutex_t lock;
    struct list shared;
    uint64_t age;
    size_t pending;                                        /* given and not finished */
    bool closing;
    uint32_t n;
    struct worker workers[];
};

static _Thread_local struct worker *self;

static struct task *head_of(struct list *queue)
{
    return list_empty(queue) ? NULL : LIST_OF(queue->next, struct task, link);
}

static struct task *take(struct worker *w)
{
    struct task *own = head_of(&w->own), *shared = head_of(&w->pool->shared);
    struct task *t = !own || (shared && shared->age < own->age) ? shared : own;
    if (t) list_del(&t->link);
    return t;
}

static void wake_all(struct loop_pool *p)
{
    for (uint32_t i = 0; i < p->n; i++) pthread_cond_signal(&p->workers[i].wake);
}

/* Runs unlocked */
static void run_task(struct loop_pool *p, struct task *t)
{
    t->fn(t->arg);
    free(t);
    bool last = atomic_fetch_sub(&p->loop->working, 1) == 1;
    if (last) uv_async_send(&p->loop->wake);               /* loop_run may wait for just this */
}

static void *worker_main(void *arg)
{
    struct worker *w = self = arg;
    struct loop_pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    while (!p->closing || p->pending) {
        struct task *t = take(w);
        if (!t) {
            w->idle = true;
            pthread_cond_wait(&w->wake, &p->lock);
            w->idle = false;
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        run_task(p, t);
        pthread_mutex_lock(&p->lock);
        if (--p->pending == 0 && p->closing) wake_all(p);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* All but a fault of the thread itself, which must reach its handler */
static void fill_outside_signals(sigset_t *ret)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
    sigfillset(ret);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(ret, faults[i]);
}

/* A worker takes no signals from outside: the loop thread does */
static int worker_start(struct loop_pool *p, struct worker *w, const char *name)
{
    char title[16];
    sigset_t outside, before;
    fill_outside_signals(&outside);
    pthread_sigmask(SIG_SETMASK, &outside, &before);
    int r = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r) return -r;
    snprintf(title, sizeof title, p->n > 1 ? "%.11s/%d" : "%.15s", name, w->index);
    pthread_setname_np(w->thread, title);
    return 0;
}

/* Joins the first `started` workers; the others never ran */
static void pool_close(struct loop_pool *p, uint32_t started)
{
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    wake_all(p);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < started; i++) pthread_join(p->workers[i].thread, NULL);
    for (uint32_t i = 0; i < p->n; i++) pthread_cond_destroy(&p->workers[i].wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

struct loop_pool *loop_pool_new(struct loop *l, const char *name, uint32_t n)
{
    if (!n || n > WORKERS_MAX) return NULL;
    struct loop_pool *p = calloc(1, sizeof *p + n * sizeof p->workers[0]);
    if (!p) return NULL;
    p->loop = l;
    p->n = n;
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->shared);
    for (uint32_t i = 0; i < n; i++) {
        p->workers[i].pool = p;
        p->workers[i].index = (int)i;
        list_init(&p->workers[i].own);
        pthread_cond_init(&p->workers[i].wake, NULL);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!worker_start(p, &p->workers[i], name)) continue;
        pool_close(p, i);
        return NULL;
    }
    l->open++;
    return p;
}

static struct worker *idle_worker(struct loop_pool *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->workers[i].idle) return &p->workers[i];
    return NULL;
}

void loop_pool_run(struct loop_pool *p, int worker, loop_fn *fn, void *arg)
{
    assert(worker < (int)p->n);
    struct task *t = need(sizeof *t);
    t->fn = fn;
    t->arg = arg;
    atomic_fetch_add(&p->loop->working, 1);
    pthread_mutex_lock(&p->lock);
    struct worker *w = worker < 0 ? idle_worker(p) : &p->workers[worker];
    t->age = ++p->age;
    p->pending++;
    list_add(worker < 0 ? &p->shared : &w->own, &t->link);
    if (w) {
        w->idle = false;                                   /* the next shared work wakes another one */
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&p->lock);
}

void loop_pool_free(struct loop_pool *p)
{
    if (!p) return;
    p->loop->open--;
    pool_close(p, p->n);
}

int loop_pool_self(struct loop_pool *p)
{
    return self && self->pool == p ? self->index : -1;
}

/* 0: nothing within ms */
static int poll_slice(int fd, uint32_t events, int ms)
{
    int want = (events & MINTD_IN ? POLLIN : 0) | (events & MINTD_OUT ? POLLOUT : 0);
    struct pollfd p = { .fd = fd, .events = (short)want };
    int r = poll(&p, fd < 0 ? 0 : 1, ms);
    if (r < 0) return errno == EINTR ? 0 : -errno;
    if (r == 0) return 0;
    if (p.revents & POLLNVAL) return -EBADF;
    if (p.revents & (POLLERR | POLLHUP)) return (int)events;
    return (p.revents & POLLIN ? MINTD_IN : 0) | (p.revents & POLLOUT ? MINTD_OUT : 0);
}

int loop_pool_wait(struct loop_pool *p, int fd, uint32_t events, uint64_t ms, const volatile int *cancel)
{
    uint64_t until = add_ms(monotonic_ms(), ms);
    (void)p;
    for (;;) {
        if (cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED)) return -ECANCELED;
        uint64_t now = monotonic_ms(), left = now < until ? until - now : 0;
        int r = poll_slice(fd, events, left < WAIT_SLICE_MS ? (int)left : WAIT_SLICE_MS);
        if (r || !left) return r;
    }
}
