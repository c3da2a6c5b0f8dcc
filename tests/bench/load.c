/* HTTP load on loopback with fixed arrival times, so that a slow server cannot slow the load down: each latency counts from the moment
 * its request was due, also when every connection was busy then (no coordinated omission).
 *
 *   bench-load PORT CONNECTIONS RATE SECONDS REQUEST_FILE    RATE 0: as fast as answers come, every connection busy
 *
 * The file is one whole HTTP/1.1 request; each `@@@@@@@@` in it becomes a fresh eight-digit number. Answers need a Content-Length.
 * Prints sent= ok= (2xx) rate= p50= p99= max= (ms). One thread, blocking on epoll. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, PLACES_MAX = 1 << 16, ANSWER_MAX = 1 << 20, LATENCIES_MAX = 4000000 };
struct conn { int fd; double due; char *got; size_t n; int busy; };

static struct conn conns[CONNECTIONS_MAX];
static char *request;
static size_t request_n;
static unsigned number;
static double *latencies;
static size_t n_done, n_ok;

static void die(const char *what)
{
    fprintf(stderr, "bench-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void read_request(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) die(path);
    request = malloc(ANSWER_MAX);
    if (!request) die("memory");
    request_n = fread(request, 1, ANSWER_MAX - 1, f);
    request[request_n] = 0;
    fclose(f);
}

static void number_request(void)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%08u", ++number % 100000000u);
    static char **places;
    static size_t n;
    if (!places) {
        places = calloc(PLACES_MAX, sizeof *places);
        for (char *p = request; places && n < PLACES_MAX && (p = strstr(p, "@@@@@@@@")); p += 8) places[n++] = p;
    }
    for (size_t i = 0; i < n; i++) memcpy(places[i], digits, 8);
}

static void dial(struct conn *c, int port, int epoll)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof sa)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e)) die("epoll");
    c->got = malloc(ANSWER_MAX);
    if (!c->got) die("memory");
}

static void send_one(struct conn *c, double due)
{
    number_request();
    for (size_t at = 0; at < request_n;) {
        ssize_t n = write(c->fd, request + at, request_n - at);
        if (n < 0 && errno != EAGAIN) die("write");
        if (n > 0) at += (size_t)n;
    }
    c->due = due;
    c->n = 0;
    c->busy = 1;
}

/* The whole answer is there: 1, and its status; else 0. */
static int is_whole(struct conn *c, int *ret_status)
{
    c->got[c->n] = 0;
    char *end = strstr(c->got, "\r\n\r\n"), *length = strcasestr(c->got, "\r\ncontent-length:");
    if (!end) return 0;
    size_t want = (size_t)(end + 4 - c->got) + (length && length < end ? strtoull(length + 17, NULL, 10) : 0);
    if (c->n < want) return 0;
    *ret_status = atoi(c->got + 9);
    return 1;
}

/* 1: the connection is free again */
static int take(struct conn *c)
{
    int status = 0;
    ssize_t n = read(c->fd, c->got + c->n, ANSWER_MAX - 1 - c->n);
    if (n == 0) { errno = ECONNRESET; die("the server closed a connection"); }
    if (n < 0) return errno == EAGAIN ? 0 : (die("read"), 0);
    c->n += (size_t)n;
    if (!is_whole(c, &status)) return 0;
    c->busy = 0;
    if (n_done < LATENCIES_MAX) latencies[n_done] = now() - c->due;
    n_done++;
    n_ok += status >= 200 && status < 300;
    return 1;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct conn *idle(int n)
{
    for (int i = 0; i < n; i++)
        if (!conns[i].busy) return &conns[i];
    return NULL;
}

static void run(int epoll, int n_conns, double rate, double seconds)
{
    double start = now(), end = start + seconds;
    size_t sent = 0;
    for (;;) {
        double t = now();
        struct conn *c;
        while (t < end && (rate <= 0 || start + (double)sent / rate <= t) && (c = idle(n_conns))) {
            send_one(c, rate > 0 ? start + (double)sent / rate : t);
            sent++;
        }
        if (t >= end && n_done == sent) break;
        struct epoll_event e[64];
        double wait = rate > 0 && t < end ? (start + (double)sent / rate - t) * 1000 : 100;
        int n = epoll_wait(epoll, e, 64, wait < 0 ? 0 : wait > 100 ? 100 : (int)wait);
        for (int i = 0; i < n; i++) take(e[i].data.ptr);
    }
    double took = now() - start;
    size_t kept = n_done < LATENCIES_MAX ? n_done : LATENCIES_MAX;
    qsort(latencies, kept, sizeof *latencies, by_size);
    printf("sent=%zu ok=%zu rate=%.1f p50=%.3f p99=%.3f max=%.3f\n", sent, n_ok, (double)n_done / took, 1e3 * latencies[kept / 2],
           1e3 * latencies[kept * 99 / 100], 1e3 * latencies[kept - 1]);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: bench-load PORT CONNECTIONS RATE SECONDS REQUEST_FILE\n");
        return 2;
    }
    int n = atoi(argv[2]), epoll = epoll_create1(EPOLL_CLOEXEC);
    if (n < 1 || n > CONNECTIONS_MAX || epoll < 0) die("connections");
    latencies = calloc(LATENCIES_MAX, sizeof *latencies);
    if (!latencies) die("memory");
    read_request(argv[5]);
    for (int i = 0; i < n; i++) dial(&conns[i], atoi(argv[1]), epoll);
    run(epoll, n, atof(argv[3]), atof(argv[4]));
    return 0;
}
