/* libmicrohttpd on the loop: see httpd.h. The only file that includes its header. Loop thread.
 *
 * Seven rules, each bought with a hang: (1) every MHD_run is followed by a look at MHD_get_timeout, 0 means next turn; (2) every
 * resume is followed by MHD_run; (3) only the handler's own connection is suspended; (4) a suspended connection does not see its
 * client leave, so whoever suspends has a deadline, and the sweep looks at who only listens; (5) everything is resumed before MHD_stop_daemon; (6) one daemon per listener;
 * (7) the library does not see a client leave whose last bytes and end came together, so the sweep looks.
 * Connections are accepted here, not by the library, which spins when descriptors run out. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>                           /* the C library's struct tcp_info has no byte counts */
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "api/httpd.h"
#include "base/list.h"
#include "base/log.h"

enum { BACKLOG = 512, ACCEPT_BURST = 64, ACCEPT_PAUSE_MS = 200, POOL = 32 * 1024, SWEEP_MS = 250, SWEEP_PART = 16, SWEEP_MIN = 256,
    PIECE = 4096, LISTENER_ROOM = 32 * 1024 };

struct conn {                                  /* one connection, hung to the library's socket context */
    struct list link;
    struct httpd *h;
    struct MHD_Connection *mhd;
    struct req *req;                           /* the request in progress */
    int fd;
    uint64_t head_since;                       /* waiting for (the rest of) a header since; 0: a request is in progress */
    uint64_t mark;                             /* bytes received when the wait began */
    bool first;                                /* nothing was answered yet */
    bool left;                                 /* at the last look its client had sent its end, and something was awaited of it */
    struct ip ip;
};
struct req {
    struct http_req pub;                       /* first member */
    struct conn *conn;
    struct MHD_Response *answer;
    unsigned status;
    uint64_t discarded;
    bool paused, suspended, ended, failed;                                 /* ended: nothing more is awaited of the client */
    struct buf pieces;                         /* of an answer in pieces: pushed, the first `taken` bytes went out */
    size_t taken;
    bool streams, listens, asked, finished, cut;                           /* asked: `more` was called and nothing came since */
};
struct httpd {
    struct loop *loop;
    struct httpd_limits limits;
    const struct httpd_fns *fns;
    void *arg;
    int fd;
    uint16_t port;
    char *unix_path;
    struct MHD_Daemon *mhd;
    struct loop_watch *accept_watch, *epoll_watch;
    struct loop_timer *run_timer, *accept_timer, *sweep_timer;
    uint64_t run_at;                           /* when run_timer fires */
    bool running, dirty, closed, starved;
    struct list conns;
    uint32_t n_conns;
};

static void drive(struct httpd *h);
static void accept_on(struct httpd *h);
static void sweep_in(struct httpd *h);

/* ---- turning the library */

static void on_run_timer(void *arg)
{
    struct httpd *h = arg;
    loop_timer_del(h->run_timer);
    h->run_timer = NULL;
    drive(h);
}

static void run_in(struct httpd *h, uint64_t ms)
{
    uint64_t at = loop_now_ms(h->loop) + ms;
    if (h->run_timer && h->run_at <= at) return;                           /* a run too early does no harm */
    loop_timer_del(h->run_timer);
    h->run_at = at;
    h->run_timer = loop_timer(h->loop, ms, on_run_timer, h);
    if (!h->run_timer) log_error("http: no memory for a timer");
}

static void kick(struct httpd *h)
{
    h->dirty = true;
    if (!h->running) run_in(h, 0);
}

static void drive(struct httpd *h)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    h->dirty = false;
    h->running = true;
    MHD_run(h->mhd);
    h->running = false;
    if (h->dirty) run_in(h, 0);
    else if (MHD_get_timeout(h->mhd, &ms) == MHD_YES) run_in(h, ms);
}

static void on_epoll(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    drive(arg);
}

/* ---- connections */

static uint64_t bytes_received(const struct conn *c)
{
    struct tcp_info info;
    socklen_t n = sizeof info;
    if (c->h->unix_path || getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n)) return 0;
    return n >= offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received ? info.tcpi_bytes_received : 0;
}

static struct ip address_of(const struct sockaddr *sa)
{
    struct ip a = { { 0 } };
    if (sa && sa->sa_family == AF_INET) {
        a.b[10] = a.b[11] = 0xff;
        memcpy(a.b + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    }
    if (sa && sa->sa_family == AF_INET6) memcpy(a.b, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    return a;
}

static void conn_opened(struct httpd *h, struct MHD_Connection *mhd, void **socket_context)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c) return;
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *address = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    c->h = h;
    c->mhd = mhd;
    c->fd = fd ? fd->connect_fd : -1;
    c->first = true;
    c->head_since = loop_now_ms(h->loop);
    c->ip = address_of(address && !h->unix_path ? address->client_addr : NULL);
    list_add(&h->conns, &c->link);
    h->n_conns++;
    *socket_context = c;
    if (!h->sweep_timer) sweep_in(h);
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **socket_context, enum MHD_ConnectionNotificationCode what)
{
    struct httpd *h = arg;
    struct conn *c = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_opened(h, mhd, socket_context);
        return;
    }
    if (!c) return;
    *socket_context = NULL;
    list_del(&c->link);
    h->n_conns--;
    free(c);
    if (!h->accept_watch && !h->accept_timer) accept_on(h);
}

/* Everything the client sent is with the library, which waits for more of a request, and no more can come. Or the client was there
 * to listen. */
static bool client_left(const struct conn *c)
{
    struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };
    const struct req *q = c->req;
    int unread = 0;
    if (q && q->listens) return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
    if (q && (q->ended || q->paused || q->suspended)) return false;
    return poll(&p, 1, 0) > 0 && (p.revents & POLLRDHUP) && !ioctl(c->fd, FIONREAD, &unread) && !unread;
}

/* A header must be whole header_ms after its first byte. The library only counts silence, so this looks at the bytes that came. */
static bool header_late(struct conn *c, uint64_t now)
{
    if (!c->head_since) return false;
    if (!c->first && bytes_received(c) == c->mark) {                       /* idle between requests: the idle timeout's business */
        c->head_since = now;
        return false;
    }
    return now - c->head_since >= (uint64_t)c->h->limits.header_ms;
}

static void cut(struct req *q);

/* A client that left is cut at the second look: in between the library had its turn to see it by itself. */
static void sweep_one(struct conn *c, uint64_t now)
{
    bool left = client_left(c), late = header_late(c, now);
    if (late || (left && c->left)) {
        log_debug("http: connection cut, its %s", late ? "header was not whole in time" : "client left");
        if (c->req && c->req->streams) cut(c->req);
        else shutdown(c->fd, SHUT_RDWR);
        if (late) c->head_since = now;
    }
    c->left = left;
}

/* A part of the connections, each in its turn, so that many of them cost no more than a few. */
static void on_sweep(void *arg)
{
    struct httpd *h = arg;
    uint64_t now = loop_now_ms(h->loop);
    uint32_t part = h->n_conns / SWEEP_PART;
    loop_timer_del(h->sweep_timer);
    h->sweep_timer = NULL;
    if (part < SWEEP_MIN) part = SWEEP_MIN;
    for (uint32_t i = 0; i < part && i < h->n_conns; i++) {
        struct conn *c = LIST_OF(list_pop(&h->conns), struct conn, link);
        list_add(&h->conns, &c->link);
        sweep_one(c, now);
    }
    if (h->n_conns) sweep_in(h);
}

static void sweep_in(struct httpd *h)
{
    uint64_t ms = (uint64_t)h->limits.header_ms / 4;
    h->sweep_timer = loop_timer(h->loop, ms < 20 ? 20 : ms > SWEEP_MS ? SWEEP_MS : ms, on_sweep, h);
}

/* ---- accepting */

static void accept_off(struct httpd *h)
{
    loop_watch_del(h->accept_watch);
    h->accept_watch = NULL;
}

static void on_accept_timer(void *arg)
{
    struct httpd *h = arg;
    loop_timer_del(h->accept_timer);
    h->accept_timer = NULL;
    accept_on(h);
}

/* Out of descriptors or memory: connections wait in the kernel's queue and are asked for again a little later. */
static void starve(struct httpd *h, int err)
{
    if (!h->starved) log_warn("http: no connection can be taken now, trying again each %d ms: %s", ACCEPT_PAUSE_MS, strerror(err));
    h->starved = true;
    accept_off(h);
    h->accept_timer = loop_timer(h->loop, ACCEPT_PAUSE_MS, on_accept_timer, h);
}

static uint32_t count_ip(const struct httpd *h, const struct ip *ip)
{
    uint32_t n = 0;
    LIST_EACH(it, &h->conns) n += !memcmp(&LIST_OF(it, struct conn, link)->ip, ip, sizeof *ip);
    return n;
}

static void admit(struct httpd *h, int fd, const struct sockaddr *sa, socklen_t len)
{
    struct ip ip = address_of(sa);
    if (!h->unix_path && count_ip(h, &ip) >= h->limits.per_ip) {
        close(fd);
        return;
    }
    int one = 1;
    if (!h->unix_path) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (MHD_add_connection(h->mhd, fd, sa, len) != MHD_YES) log_warn("http: a connection was refused: %s", strerror(errno));
    kick(h);
}

static void on_accept(void *arg, int listen_fd, uint32_t events)
{
    struct httpd *h = arg;
    (void)events;
    for (int i = 0; i < ACCEPT_BURST; i++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof sa;
        if (h->n_conns >= h->limits.connections) {
            accept_off(h);
            return;
        }
        int fd = accept4(listen_fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            starve(h, errno);
            return;
        }
        if (fd < 0 && errno == EAGAIN) return;
        if (fd < 0) continue;
        h->starved = false;
        admit(h, fd, (struct sockaddr *)&sa, len);
    }
}

static void accept_on(struct httpd *h)
{
    if (h->closed || h->n_conns >= h->limits.connections) return;
    h->accept_watch = loop_watch(h->loop, h->fd, MINTD_IN, on_accept, h);
    if (!h->accept_watch) starve(h, ENOMEM);
}

/* ---- the guard: framing that two parsers could read differently is refused before a byte of the body is looked at */

struct guard { unsigned n, length, coding, host, expect; const char *bad; };

static bool token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static enum MHD_Result guard_header(void *arg, enum MHD_ValueKind kind, const char *key, size_t key_n, const char *value, size_t value_n)
{
    struct guard *g = arg;
    (void)kind;
    g->n++;
    for (size_t i = 0; i < key_n; i++)
        if (!token_char(key[i])) g->bad = "a header name holds a character that is not allowed";
    for (size_t i = 0; i < value_n; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f) g->bad = "a header value holds a control character";
    if (!strcasecmp(key, "content-length")) {
        g->length++;
        if (!value_n || value_n > 18 || strspn(value, "0123456789") != value_n) g->bad = "Content-Length is not a plain number";
    }
    if (!strcasecmp(key, "transfer-encoding")) {
        g->coding++;
        if (strcasecmp(value, "chunked")) g->bad = "Transfer-Encoding other than chunked";
    }
    g->host += !strcasecmp(key, "host");
    g->expect += !strcasecmp(key, "expect");
    return MHD_YES;
}

static void guard(struct req *q, const char *version)
{
    struct guard g = { 0 };
    MHD_get_connection_values_n(q->conn->mhd, MHD_HEADER_KIND, guard_header, &g);
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(q->conn->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *length = http_header(&q->pub, "content-length", NULL), *expect = http_header(&q->pub, "expect", NULL);
    q->pub.bad_status = 400;
    if (g.length > 1) g.bad = "more than one Content-Length";
    else if (g.coding > 1) g.bad = "more than one Transfer-Encoding";
    else if (g.length && g.coding) g.bad = "both Content-Length and Transfer-Encoding";
    else if (g.host > 1) g.bad = "more than one Host";
    else if (g.coding && strcmp(version, "HTTP/1.1")) g.bad = "Transfer-Encoding in a request that is not HTTP/1.1";
    else if (!g.host && !strcmp(version, "HTTP/1.1")) g.bad = "no Host";
    else if (!g.bad && (g.n > HTTPD_HEADERS_MAX || (size && size->header_size > HTTPD_HEADER_MAX))) {
        g.bad = g.n > HTTPD_HEADERS_MAX ? "more than 100 headers" : "the header is larger than 16 KiB";
        q->pub.bad_status = 431;
    } else if (!g.bad && expect && (g.expect > 1 || strcasecmp(expect, "100-continue"))) {
        g.bad = "Expect other than 100-continue";
        q->pub.bad_status = 417;
    }
    q->pub.bad = g.bad;
    q->pub.expects = expect;
    q->pub.chunked = g.coding;
    if (length && !g.bad) q->pub.length = strtoull(length, NULL, 10);
}

/* ---- requests */

/* http://host/path is the same as /path */
static const char *origin_form(const char *url)
{
    if (strncasecmp(url, "http://", 7)) return url;
    const char *slash = strchr(url + 7, '/');
    return slash ? slash : "/";
}

static struct req *req_new(struct conn *c, const char *url, const char *method, const char *version)
{
    struct req *q = calloc(1, sizeof *q);
    if (!q) return NULL;
    q->conn = c;
    q->pub.method = method;
    q->pub.path = origin_form(url);
    q->pub.ip = c->ip;
    q->pub.local = c->h->unix_path;
    if (q->pub.local) snprintf(q->pub.peer, sizeof q->pub.peer, "unix");
    else ip_print(&c->ip, q->pub.peer);
    c->req = q;
    c->head_since = 0;
    guard(q, version);
    return q;
}

static void suspend(struct req *q)
{
    q->suspended = true;
    MHD_suspend_connection(q->conn->mhd);
}

static void unsuspend(struct req *q)
{
    if (!q->suspended) return;
    q->suspended = false;
    MHD_resume_connection(q->conn->mhd);
    kick(q->conn->h);
}

static enum MHD_Result send_answer(struct req *q)
{
    enum MHD_Result rc = MHD_queue_response(q->conn->mhd, q->status, q->answer);
    MHD_destroy_response(q->answer);
    q->answer = NULL;
    q->ended = true;
    return rc;
}

static enum MHD_Result first_call(struct conn *c, struct req *q)
{
    struct httpd *h = c->h;
    h->fns->begin(h->arg, &q->pub);
    if (q->failed) return MHD_NO;
    if (!q->answer) return MHD_YES;
    bool small = !q->pub.chunked && !q->pub.expects && q->pub.length <= HTTPD_DISCARD_MAX;
    if (small && !q->pub.bad) return MHD_YES;                              /* read on, so that the connection can be kept */
    MHD_add_response_header(q->answer, MHD_HTTP_HEADER_CONNECTION, "close");
    return send_answer(q);
}

static enum MHD_Result body_call(struct req *q, const char *data, size_t *n)
{
    struct httpd *h = q->conn->h;
    if (!q->answer) {
        size_t used = h->fns->data(h->arg, &q->pub, data, *n);
        *n -= used;
    }
    if (q->failed) return MHD_NO;
    if (q->answer) {
        q->discarded += *n;
        *n = 0;
        return q->discarded > h->limits.discard ? MHD_NO : MHD_YES;
    }
    if (q->paused) suspend(q);
    return MHD_YES;
}

static enum MHD_Result last_call(struct req *q)
{
    struct httpd *h = q->conn->h;
    if (!q->ended && !q->answer) h->fns->end(h->arg, &q->pub);
    q->ended = true;
    if (q->failed) return MHD_NO;
    if (q->answer) return send_answer(q);
    suspend(q);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
                                  const char *data, size_t *n, void **state)
{
    (void)arg;
    struct req *q = *state;
    if (q) return *n ? body_call(q, data, n) : last_call(q);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *c = info ? info->socket_context : NULL;
    if (!c) return MHD_NO;
    q = req_new(c, url, method, version);
    *state = q;
    return q ? first_call(c, q) : MHD_NO;
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **state, enum MHD_RequestTerminationCode why)
{
    struct httpd *h = arg;
    struct req *q = *state;
    (void)mhd;
    if (!q) return;
    *state = NULL;
    h->fns->gone(h->arg, &q->pub, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    q->conn->req = NULL;
    q->conn->first = false;
    q->conn->head_since = loop_now_ms(h->loop);
    q->conn->mark = bytes_received(q->conn);
    if (q->answer) MHD_destroy_response(q->answer);
    buf_free(&q->pieces);
    free(q);
}

struct find { const char *name, *value; unsigned n, place; };

static enum MHD_Result find_header(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct find *f = arg;
    (void)kind;
    if (strcasecmp(key, f->name)) return MHD_YES;
    if (f->n++ == f->place) f->value = value ? value : "";
    return MHD_YES;
}

const char *http_header(const struct http_req *pub, const char *name, unsigned *ret_count)
{
    const struct req *q = (const struct req *)(const void *)pub;
    struct find f = { name, NULL, 0, 0 };
    MHD_get_connection_values(q->conn->mhd, MHD_HEADER_KIND, find_header, &f);
    if (ret_count) *ret_count = f.n;
    return f.value;
}

const char *http_header_at(const struct http_req *pub, const char *name, unsigned place)
{
    const struct req *q = (const struct req *)(const void *)pub;
    struct find f = { name, NULL, 0, place };
    MHD_get_connection_values(q->conn->mhd, MHD_HEADER_KIND, find_header, &f);
    return f.value;
}

const char *http_query(const struct http_req *pub, const char *name)
{
    const struct req *q = (const struct req *)(const void *)pub;
    const char *value = NULL;                              /* stays so for ?name without = */
    if (MHD_lookup_connection_value_n(q->conn->mhd, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, NULL) != MHD_YES) return NULL;
    return value ? value : "";
}

struct each_query { bool (*fn)(void *, struct mintd_str, struct mintd_str); void *arg; };

static enum MHD_Result one_query(void *arg, enum MHD_ValueKind kind, const char *key, size_t key_n, const char *value, size_t value_n)
{
    const struct each_query *e = arg;
    (void)kind;
    return e->fn(e->arg, (struct mintd_str){ key, key_n }, (struct mintd_str){ value, value ? value_n : 0 }) ? MHD_YES : MHD_NO;
}

void http_each_query(const struct http_req *pub, bool (*fn)(void *, struct mintd_str, struct mintd_str), void *arg)
{
    const struct req *q = (const struct req *)(const void *)pub;
    struct each_query e = { fn, arg };
    MHD_get_connection_values_n(q->conn->mhd, MHD_GET_ARGUMENT_KIND, one_query, &e);
}

void http_answer(struct http_req *pub, unsigned status, struct buf *body, const struct http_header *headers, bool close_after)
{
    struct req *q = (struct req *)(void *)pub;
    bool ok = !body->bad;
    if (ok) q->answer = MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_FREE);
    if (q->answer) *body = (struct buf){ 0 };
    buf_free(body);
    q->status = status;
    for (; q->answer && headers && headers->name; headers++)
        ok = MHD_add_response_header(q->answer, headers->name, headers->value) == MHD_YES && ok;
    if (q->answer && close_after) ok = MHD_add_response_header(q->answer, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES && ok;
    q->failed = !q->answer || !ok;                                         /* no memory for an answer: the connection is cut */
    unsuspend(q);
}

/* ---- answers in pieces */

/* Fails the reader below, and wakes whoever waits for the socket. */
static void cut(struct req *q)
{
    q->cut = true;
    shutdown(q->conn->fd, SHUT_RDWR);
    unsuspend(q);
}

static size_t take_piece(struct req *q, char *to, size_t max)
{
    size_t left = q->pieces.n - q->taken, n = left < max ? left : max;
    if (n) memcpy(to, q->pieces.p + q->taken, n);
    q->taken += n;
    if (n == left) buf_free(&q->pieces), q->taken = 0;     /* a stream that is silent holds nothing */
    return n;
}

static ssize_t on_read(void *arg, uint64_t pos, char *to, size_t max)
{
    struct req *q = arg;
    struct httpd *h = q->conn->h;
    (void)pos;
    if (!http_queued(&q->pub) && !q->finished && !q->cut && !q->asked) {
        q->asked = true;
        h->fns->more(h->arg, &q->pub);
    }
    if (q->cut || q->pieces.bad) return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = take_piece(q, to, max);
    if (n) return (ssize_t)n;
    if (q->finished) return MHD_CONTENT_READER_END_OF_STREAM;
    suspend(q);
    return 0;
}

void http_begin(struct http_req *pub, unsigned status, const struct http_header *headers, bool listens)
{
    struct req *q = (struct req *)(void *)pub;
    unsigned patience = (unsigned)q->conn->h->limits.idle_ms;
    q->answer = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, on_read, q, NULL);
    q->status = status;
    q->streams = q->answer;
    q->listens = listens;
    bool ok = q->answer;
    for (; ok && headers && headers->name; headers++) ok = MHD_add_response_header(q->answer, headers->name, headers->value) == MHD_YES;
    /* the library ends a body that HEAD does not have with a last chunk, which the next answer would begin with */
    if (ok && !strcmp(pub->method, "HEAD"))
        ok = MHD_set_response_options(q->answer, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END) == MHD_YES;
    q->failed = !ok;
    int room = LISTENER_ROOM;
    if (listens) setsockopt(q->conn->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);       /* many listen, and the kernel's share is memory too */
    /* who vanished without an end takes nothing of what it is sent */
    if (!q->conn->h->unix_path) setsockopt(q->conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
    unsuspend(q);
}

void http_push(struct http_req *pub, const void *p, size_t n)
{
    struct req *q = (struct req *)(void *)pub;
    if (q->finished || q->cut || !n) return;
    if (q->taken) {                                        /* room at the front: who pushes more than is taken keeps no old bytes */
        memmove(q->pieces.p, q->pieces.p + q->taken, q->pieces.n - q->taken);
        q->pieces.n -= q->taken;
        q->taken = 0;
    }
    buf_add(&q->pieces, p, n);
    q->asked = false;
    if (q->streams) unsuspend(q);
}

size_t http_queued(const struct http_req *pub)
{
    const struct req *q = (const struct req *)(const void *)pub;
    return q->pieces.n - q->taken;
}

void http_finish(struct http_req *pub, bool whole)
{
    struct req *q = (struct req *)(void *)pub;
    if (q->finished || q->cut) return;
    if (!whole) { cut(q); return; }
    q->finished = true;
    unsuspend(q);
}

void http_pause(struct http_req *pub) { ((struct req *)(void *)pub)->paused = true; }

void http_resume(struct http_req *pub)
{
    struct req *q = (struct req *)(void *)pub;
    if (!q->paused) return;
    q->paused = false;
    unsuspend(q);
}

/* ---- listeners */

static size_t keep_escapes(void *arg, struct MHD_Connection *mhd, char *s)
{
    (void)arg;
    (void)mhd;
    return strlen(s);
}

static void on_log(void *arg, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
static void on_log(void *arg, const char *fmt, va_list args)
{
    char line[256];
    (void)arg;
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\r\n")] = 0;
    log_debug("http: %s", line);
}

static int bind_tcp(struct httpd *h, const char *address, uint16_t port)
{
    struct addrinfo want = { .ai_flags = AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *got = NULL;
    char service[8];
    int one = 1;
    snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(address, service, &want, &got);
    if (rc) return rc == EAI_SYSTEM ? -errno : -EADDRNOTAVAIL;
    h->fd = socket(got->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    rc = h->fd < 0 || setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(h->fd, got->ai_addr, got->ai_addrlen)
         ? -errno : 0;
    freeaddrinfo(got);
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (!rc && !getsockname(h->fd, (struct sockaddr *)&sa, &len))
        h->port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&sa)->sin6_port
                                                 : ((struct sockaddr_in *)(void *)&sa)->sin_port);
    return rc;
}

/* Who may enter the folder may connect: the socket is its group's. Without the right to give it that group it stays our own. */
static int open_to_group(const char *path)
{
    char folder[sizeof ((struct sockaddr_un *)0)->sun_path];
    const char *slash = strrchr(path, '/');
    struct stat st;
    snprintf(folder, sizeof folder, "%.*s", slash && slash != path ? (int)(slash - path) : 1, slash ? path : ".");
    if (stat(folder, &st)) return -errno;
    if (chown(path, (uid_t)-1, st.st_gid)) log_debug("http: %s does not get the group of its folder: %s", path, strerror(errno));
    return chmod(path, 0660) ? -errno : 0;
}

/* A socket file that nobody answers on is left over from a killed daemon and goes; any other file stays. */
static int bind_unix(struct httpd *h, const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof sa.sun_path) return -ENAMETOOLONG;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) return -errno;
    int taken = !connect(probe, (struct sockaddr *)&sa, sizeof sa), err = errno;
    close(probe);
    if (taken) return -EADDRINUSE;
    struct stat st;
    if (!lstat(path, &st) && !S_ISSOCK(st.st_mode)) return -EEXIST;
    if (err == ECONNREFUSED) unlink(path);
    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (h->fd < 0 || bind(h->fd, (struct sockaddr *)&sa, sizeof sa)) return -errno;
    h->unix_path = strdup(path);
    if (!h->unix_path) return -ENOMEM;
    return open_to_group(path);
}

int httpd_bind(struct loop *loop, const char *address, uint16_t port, const char *unix_path, const struct httpd_limits *limits,
               const struct httpd_fns *fns, void *arg, struct buf *err, struct httpd **ret)
{
    struct httpd *h = calloc(1, sizeof *h);
    if (!h) return -ENOMEM;
    h->loop = loop;
    h->limits = *limits;
    h->fns = fns;
    h->arg = arg;
    h->fd = -1;
    h->closed = true;
    list_init(&h->conns);
    int rc = unix_path ? bind_unix(h, unix_path) : bind_tcp(h, address, port);
    if (rc) {
        if (unix_path) buf_printf(err, "cannot listen on %s: ", unix_path);
        else buf_printf(err, "cannot listen on %s port %u: ", address, port);
        buf_puts(err, rc == -EADDRINUSE ? "address already in use, another program (or another mintd) listens there" : strerror(-rc));
        httpd_free(h);
        return rc;
    }
    *ret = h;
    return 0;
}

static int serve(struct httpd *h)
{
    unsigned idle = (unsigned)((h->limits.idle_ms + 999) / 1000);
    h->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                              on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                              MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
                              MHD_OPTION_CONNECTION_TIMEOUT, idle ? idle : 1u, MHD_OPTION_CONNECTION_LIMIT, 1u << 20,
                              MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                              MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!h->mhd) return -ENOMEM;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || info->epoll_fd < 0) return -ENOTSUP;
    h->epoll_watch = loop_watch(h->loop, info->epoll_fd, MINTD_IN, on_epoll, h);
    return h->epoll_watch ? 0 : -ENOMEM;
}

int httpd_open(struct httpd *h, struct buf *err)
{
    int rc = serve(h);
    if (!rc && listen(h->fd, BACKLOG)) rc = -errno;
    if (rc) {
        buf_printf(err, "cannot listen on %s port %u: %s", h->unix_path ? h->unix_path : "tcp", h->port,
                   rc == -EADDRINUSE ? "address already in use" : strerror(-rc));
        return rc;
    }
    h->closed = false;
    accept_on(h);
    return 0;
}

void httpd_limit(struct httpd *h, const struct httpd_limits *limits)
{
    h->limits = *limits;
    if (!h->accept_watch && !h->accept_timer) accept_on(h);
}

void httpd_close(struct httpd *h)
{
    h->closed = true;
    accept_off(h);
    loop_timer_del(h->accept_timer);
    h->accept_timer = NULL;
    if (h->fd >= 0) close(h->fd);
    h->fd = -1;
    if (h->unix_path) unlink(h->unix_path);
}

static void resume_all(struct httpd *h)
{
    LIST_EACH(it, &h->conns) {
        struct conn *c = LIST_OF(it, struct conn, link);
        if (c->req && c->req->suspended) {
            c->req->suspended = false;
            MHD_resume_connection(c->mhd);
        }
    }
}

struct httpd *httpd_free(struct httpd *h)
{
    if (!h) return NULL;
    httpd_close(h);
    loop_watch_del(h->epoll_watch);
    loop_timer_del(h->sweep_timer);
    h->running = true;                                                     /* nothing arms a timer any more */
    if (h->mhd) {
        resume_all(h);
        MHD_stop_daemon(h->mhd);
    }
    loop_timer_del(h->run_timer);
    free(h->unix_path);
    free(h);
    return NULL;
}

uint16_t httpd_port(const struct httpd *h) { return h->port; }
uint32_t httpd_connections(const struct httpd *h) { return h->n_conns; }

const char *httpd_version(void) { return MHD_get_version(); }
