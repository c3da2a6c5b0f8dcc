/* libcurl as mintctl uses it: HTTP/1.1, a Unix socket or a URL, no redirects, no proxy, bounded answers. Owns the handles. */
#include "http.h"
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "source.h"

#define SOCKET_DEFAULT "/run/mintd/api.sock"
enum { CONNECT_MS = 10000, SILENCE_MS = 60000, KEY_MAX = 1024, POLL_MS = 250, WAIT_MAX_S = 60 };

struct link {
    CURL *easy;
    CURLM *multi;
    const char *socket, *server;               /* one of them */
    char key[KEY_MAX + 32];                    /* as a header line; "" */
};
struct exchange {
    struct cli *cli;
    const struct ask *ask;
    struct reply *reply;
    int64_t moved;                             /* when the last byte went either way */
    uint64_t sent;
    bool too_big, ended, file_failed;
};

/* ---- what is asked: paths */

void url_seg(struct buf *b, const char *text)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    bool dots = !strcmp(text, ".") || !strcmp(text, "..");     /* a path library would walk them */
    for (; *text; text++) {
        if (strchr(safe, *text) && !dots) buf_add(b, text, 1);
        else buf_printf(b, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

void url_query(struct buf *b, const char *name, const char *value)
{
    if (!value) return;
    buf_printf(b, "%s%s=", b->n && memchr(b->p, '?', b->n) ? "&" : "?", name);
    url_seg(b, value);
}

/* ---- where the daemon is */

const char *link_name(const struct cli *c) { return c->link->socket ? c->link->socket : c->link->server; }

const char *link_library(void)
{
    static char text[128];
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    /* below 8 its HTTP/2 is not to be relied on; one connection at a time gains nothing from it anyway */
    snprintf(text, sizeof text, "libcurl %s, HTTP/1.1 alone", curl->version);
    return text;
}

static bool is_loopback(const char *url)
{
    static const char *const hosts[] = { "http://127.", "http://localhost", "http://[::1]" };
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        if (!strncmp(url, hosts[i], strlen(hosts[i]))) return true;
    return false;
}

static int check_url(struct cli *c, const char *url)
{
    const char *host = !strncmp(url, "https://", 8) ? url + 8 : !strncmp(url, "http://", 7) ? url + 7 : NULL;
    if (!host || !*host || strpbrk(host, "?# \n")) {
        complain(c, "the server is a URL like http://127.0.0.1:3018, not %s", url);
        return RC_USAGE;
    }
    if (memchr(host, '@', strcspn(host, "/"))) {
        complain(c, "no user or password belongs into the server's URL: keys come from --key-file, MINTCTL_KEY_FILE or MINTCTL_KEY");
        return RC_USAGE;
    }
    return RC_OK;
}

static int choose(struct cli *c, struct link *l)
{
    const char *socket = c->opt[OPT_SOCKET], *server = c->opt[OPT_SERVER];
    if (!socket && !server) {
        socket = getenv("MINTCTL_SOCKET");
        server = getenv("MINTCTL_SERVER");
        socket = socket && *socket ? socket : NULL;
        server = server && *server ? server : NULL;
    }
    if (socket && server) {
        complain(c, "a socket and a server are named: %s and %s; which of them?", socket, server);
        return RC_USAGE;
    }
    l->server = server;
    l->socket = server ? NULL : socket ? socket : SOCKET_DEFAULT;
    if (l->socket && strlen(l->socket) > 107) {
        complain(c, "the socket's path is longer than 107 bytes");
        return RC_USAGE;
    }
    return server ? check_url(c, server) : RC_OK;
}

/* ---- the key */

static int read_key_file(struct cli *c, const char *path, char key[KEY_MAX + 1])
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 || fstat(fd, &st) ? -1 : read(fd, key, KEY_MAX);
    int err = errno;
    if (fd >= 0) close(fd);
    if (n < 0) {
        complain(c, "cannot read the key file %s: %s", path, strerror(err));
        return RC_USAGE;
    }
    while (n && (key[n - 1] == '\n' || key[n - 1] == '\r' || key[n - 1] == ' ')) n--;
    key[n] = 0;
    if (S_ISREG(st.st_mode) && st.st_mode & 077) say(c, "warning: others may read the key file %s: chmod 600 it", path);
    return RC_OK;
}

static int set_key(struct cli *c, struct link *l, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < n; i++)
        if (key[i] <= ' ' || key[i] > '~') n = 0;
    if (!n || n > KEY_MAX) {
        complain(c, "the key is empty, longer than %d bytes, or not one word of visible ASCII", KEY_MAX);
        return RC_USAGE;
    }
    if (!strncmp(l->server, "http://", 7) && !is_loopback(l->server)) say(c, "warning: the key travels unencrypted to %s", l->server);
    snprintf(l->key, sizeof l->key, "x-admin-api-key: %s", key);
    return RC_OK;
}

/* The socket needs no key: whoever may open it is an administrator. */
static int find_key(struct cli *c, struct link *l)
{
    char key[KEY_MAX + 1];
    const char *file = c->opt[OPT_KEY_FILE], *env = getenv("MINTCTL_KEY");
    if (l->socket) return RC_OK;
    if (!file && env && *env) return set_key(c, l, env);
    if (!file) file = getenv("MINTCTL_KEY_FILE");
    if (!file || !*file) return RC_OK;                     /* the daemon's 401 says it better */
    int rc = read_key_file(c, file, key);
    return rc ? rc : set_key(c, l, key);
}

int link_open(struct cli *c)
{
    struct link *l = calloc(1, sizeof *l);
    if (!l) return RC_FAILED;
    c->link = l;
    int rc = choose(c, l);
    if (!rc) rc = find_key(c, l);
    if (rc) return rc;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(l->easy = curl_easy_init()) || !(l->multi = curl_multi_init())) {
        complain(c, "libcurl does not start");
        return RC_FAILED;
    }
    return RC_OK;
}

void link_close(struct cli *c)
{
    struct link *l = c->link;
    if (!l) return;
    if (l->easy) curl_easy_cleanup(l->easy);
    if (l->multi) curl_multi_cleanup(l->multi);
    curl_global_cleanup();
    explicit_bzero(l->key, sizeof l->key);
    free(l);
    c->link = NULL;
}

/* ---- one exchange: callbacks */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    long status = 0;
    n *= size;
    x->moved = clock_ms();
    curl_easy_getinfo(x->cli->link->easy, CURLINFO_RESPONSE_CODE, &status);
    if (x->ask->sink && status >= 200 && status < 300) {
        size_t taken = x->ask->sink(x->ask->arg, p, n);
        x->ended = x->ended || taken != n;
        return taken;
    }
    buf_add(&x->reply->body, p, n);
    x->too_big = x->reply->body.bad;
    return x->too_big ? 0 : n;
}

static void keep(char *to, size_t size, struct mintd_str value)
{
    if (value.n >= size) return;                           /* longer than anything the daemon sends: as if it were not there */
    memcpy(to, value.p, value.n);
    to[value.n] = 0;
}

static void take_header(struct reply *r, struct mintd_str name, struct mintd_str value)
{
    uint64_t seconds = 0;
    const struct { const char *name; char *to; size_t size; } kept[] = {
        { "content-type", r->type, sizeof r->type }, { "etag", r->etag, sizeof r->etag },
        { "location", r->location, sizeof r->location }, { "x-request-id", r->request_id, sizeof r->request_id } };
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (name.n == strlen(kept[i].name) && !strncasecmp(name.p, kept[i].name, name.n)) keep(kept[i].to, kept[i].size, value);
    if (name.n == 11 && !strncasecmp(name.p, "retry-after", 11) && !str_u64(value, &seconds))
        r->retry_after = seconds < INT32_MAX ? (int64_t)seconds : INT32_MAX;
    if (name.n == 20 && !strncasecmp(name.p, "idempotency-replayed", 20)) r->replayed = str_eq(value, S("true"));
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    const char *colon = memchr(p, ':', n * size), *end = p + n * size;
    x->moved = clock_ms();
    if (!colon) return n * size;
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t')) value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) end--;
    take_header(x->reply, (struct mintd_str){ p, (size_t)(colon - p) }, (struct mintd_str){ value, (size_t)(end - value) });
    return n * size;
}

static size_t on_file(char *p, size_t size, size_t n, void *arg)
{
    struct exchange *x = arg;
    ssize_t got = source_read(x->ask->file, p, size * n);
    if (got < 0) {
        x->file_failed = true;
        return CURL_READFUNC_ABORT;
    }
    x->moved = clock_ms();
    x->sent += (uint64_t)got;
    if (x->ask->sent) x->ask->sent(x->ask->sent_arg, x->sent, x->ask->file->size);
    return (size_t)got;
}

static int on_seek(void *arg, curl_off_t at, int origin)
{
    struct exchange *x = arg;
    if (at || origin != SEEK_SET || source_rewind(x->ask->file)) return CURL_SEEKFUNC_CANTSEEK;
    x->sent = 0;
    return CURL_SEEKFUNC_OK;
}

/* ---- one exchange: options */

static void add_header(struct curl_slist **list, const char *name, const char *value)
{
    struct buf line = { 0 };
    if (!value) return;
    buf_printf(&line, "%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(*list, buf_text(&line));
    if (more) *list = more;
    buf_free(&line);
}

static struct curl_slist *drop_header(struct curl_slist *list, const char *line)
{
    struct curl_slist *more = curl_slist_append(list, line);
    return more ? more : list;
}

static struct curl_slist *headers_of(const struct link *l, const struct ask *a)
{
    struct curl_slist *list = l->key[0] ? curl_slist_append(NULL, l->key) : NULL;
    add_header(&list, "Accept", a->accept ? a->accept : "application/json, application/problem+json");
    if (a->json || a->type) add_header(&list, "Content-Type", a->json ? "application/json" : a->type);
    else list = drop_header(list, "Content-Type:");        /* libcurl would name a form */
    add_header(&list, "Content-Encoding", a->coding);
    add_header(&list, "Idempotency-Key", a->key);
    add_header(&list, "Prefer", a->prefer);
    add_header(&list, "If-None-Match", a->etag);
    add_header(&list, "Last-Event-ID", a->last_event);
    return list;
}

static void set_body(CURL *e, const struct ask *a, struct exchange *x)
{
    bool post = a->method && !strcmp(a->method, "POST");
    if (a->file) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->file->size);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_file);
        curl_easy_setopt(e, CURLOPT_READDATA, x);
        curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(e, CURLOPT_SEEKDATA, x);
    } else if (a->json || post) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, a->json ? a->json : "");
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(a->json ? strlen(a->json) : 0));
    }
    if (a->method && !post) curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, a->method);
}

static void set_options(struct link *l, const struct ask *a, struct exchange *x, const char *url, struct curl_slist *headers)
{
    CURL *e = l->easy;
    curl_easy_reset(e);                                    /* the connection stays */
    curl_easy_setopt(e, CURLOPT_URL, url);
    if (l->socket) curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, l->socket);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_USERAGENT, "mintctl/" MINTD_VERSION);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
    set_body(e, a, x);
}

/* ---- one exchange: the run, and what its failure means */

static int stop_reason(const struct exchange *x)
{
    int64_t now = clock_ms(), silence = x->ask->silence_ms ? x->ask->silence_ms : SILENCE_MS;
    if (cli_interrupted) return RC_DETACHED;
    if (x->cli->deadline && now >= x->cli->deadline) return RC_TIMEOUT;
    return now - x->moved > silence ? RC_TIMEOUT : 0;
}

static int poll_ms(const struct cli *c)
{
    int64_t left = c->deadline ? c->deadline - clock_ms() : POLL_MS;
    return (int)(left > POLL_MS ? POLL_MS : left < 1 ? 1 : left);
}

/* 0: curl came to an end, with its result in *ret */
static int run(struct link *l, struct exchange *x, CURLcode *ret)
{
    int running = 1, stop = 0, left;
    *ret = CURLE_FAILED_INIT;
    curl_multi_add_handle(l->multi, l->easy);
    while (running && !stop) {
        if (curl_multi_perform(l->multi, &running)) break;
        stop = running ? stop_reason(x) : 0;
        if (running && !stop) curl_multi_poll(l->multi, NULL, 0, poll_ms(x->cli), NULL);
    }
    for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left));)
        if (m->msg == CURLMSG_DONE) *ret = m->data.result;
    curl_multi_remove_handle(l->multi, l->easy);
    return stop;
}

static int cannot_connect(struct cli *c, struct buf *why)
{
    long err = 0;
    curl_easy_getinfo(c->link->easy, CURLINFO_OS_ERRNO, &err);
    buf_printf(why, "cannot reach mintd on %s%s%s", link_name(c), err ? ": " : "", err ? strerror((int)err) : "");
    if (err == EACCES) buf_puts(why, " (whoever is to use it belongs to the group of its folder)");
    else if (c->link->socket) buf_puts(why, " (is it running? another place: --socket PATH, or --server URL)");
    return err == EACCES ? RC_REFUSED : RC_UNREACHABLE;
}

static int explain(const struct exchange *x, CURLcode code, struct buf *why)
{
    struct cli *c = x->cli;
    if (x->too_big) buf_printf(why, "the answer is larger than %d MB", REPLY_MAX >> 20);
    else if (x->file_failed && x->ask->file->changed) buf_puts(why, "the file changed while it was read: nothing was accepted");
    else if (x->file_failed) buf_puts(why, "the file could not be read to its end: nothing was accepted");
    if (x->too_big || x->file_failed) return RC_FAILED;
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST) return cannot_connect(c, why);
    buf_printf(why, "%s: %s", link_name(c), curl_easy_strerror(code));
    bool odd = code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_BAD_CONTENT_ENCODING;
    return odd ? RC_FAILED : RC_UNREACHABLE;
}

static int stopped(const struct exchange *x, int stop, struct buf *why)
{
    if (stop == RC_DETACHED) buf_puts(why, "interrupted");
    else if (x->cli->deadline && clock_ms() >= x->cli->deadline) buf_puts(why, "the time of --timeout is over");
    else buf_printf(why, "%s did not answer for %d s", link_name(x->cli), (int)((clock_ms() - x->moved) / 1000));
    return stop;
}

int http_once(struct cli *c, const struct ask *a, struct reply *ret, struct buf *why)
{
    struct link *l = c->link;
    struct buf url = { 0 };
    CURLcode code = CURLE_OK;
    *ret = (struct reply){ .retry_after = -1, .body.max = REPLY_MAX };
    struct exchange x = { .cli = c, .ask = a, .reply = ret, .moved = clock_ms() };
    if (a->file && source_rewind(a->file)) return RC_FAILED;
    size_t n = l->server ? strlen(l->server) : 0;
    while (n && l->server[n - 1] == '/') n--;
    if (l->socket) buf_puts(&url, "http://localhost");
    else buf_add(&url, l->server, n);
    buf_puts(&url, a->path);
    struct curl_slist *headers = headers_of(l, a);
    set_options(l, a, &x, buf_text(&url), headers);
    int stop = run(l, &x, &code);
    curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &ret->status);
    curl_slist_free_all(headers);
    buf_free(&url);
    ret->reached = code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST;
    if (stop) return stopped(&x, stop, why);
    if (code && !x.ended) return explain(&x, code, why);
    if (strstr(ret->type, "json")) ret->doc = doc_parse(ret->body.p ? ret->body.p : "", ret->body.n);
    return RC_OK;
}

void reply_free(struct reply *r)
{
    json_object_put(r->doc);
    r->doc = NULL;
    buf_free(&r->body);
}

/* ---- answers nobody wanted */

const char *problem_code(const struct reply *r) { return doc_str(r->doc, "code"); }

int problem_rc(long status)
{
    if (status == 404 || status == 410) return RC_NOT_FOUND;
    if (status == 408 || status == 504) return RC_TIMEOUT;
    return status >= 400 && status < 500 ? RC_REFUSED : RC_FAILED;
}

/* A single mistake that is the whole answer stands in its first line. */
static const char *only_pointer(struct json_object *doc)
{
    struct json_object *e = doc_idx(doc, "errors", 0);
    bool only = doc_len(doc, "errors") == 1 && !strcmp(doc_str(e, "code"), doc_str(doc, "code"))
        && !strcmp(doc_str(e, "detail"), doc_str(doc, "detail"));
    return only ? doc_str(e, "pointer") : "";
}

static void tell_pointers(struct cli *c, struct json_object *doc)
{
    enum { SHOWN = 20 };
    size_t n = *only_pointer(doc) ? 0 : doc_len(doc, "errors");
    for (size_t i = 0; i < n && i < SHOWN; i++) {
        struct json_object *e = doc_idx(doc, "errors", i);
        detail(c, "  %s: %s (%s)", doc_str(e, "pointer"), doc_str(e, "detail"), doc_str(e, "code"));
    }
    if (n > SHOWN) detail(c, "  and %zu more", n - SHOWN);
}

int problem_tell(struct cli *c, const struct reply *r)
{
    const char *code = problem_code(r), *why = doc_str(r->doc, "detail"), *plain = doc_str(r->doc, "error");
    const char *said = *why ? why : *plain ? plain : "the answer says no more";
    const char *at = only_pointer(r->doc);
    complain(c, "%ld%s%s: %s%s%s", r->status, *code ? " " : "", code, at, *at ? ": " : "", said);
    tell_pointers(c, r->doc);
    const char *batch = doc_str(r->doc, "batchId");
    if (*batch) detail(c, "  it is in batch %s: mintctl batch show %s", batch, batch);
    if (r->status == 401 && c->link->server) detail(c, "  the key comes from --key-file FILE, MINTCTL_KEY or MINTCTL_KEY_FILE");
    if (r->request_id[0]) detail(c, "  request %s", r->request_id);
    return problem_rc(r->status);
}

/* ---- asking with patience */

static bool asks_to_wait(const struct reply *r)
{
    return r->status == 429 || (r->status == 503 && r->retry_after >= 0) ||
           (r->status == 409 && !strcmp(problem_code(r), "idempotency.in_progress"));
}

static int64_t wait_ms(const struct reply *r, unsigned tried)
{
    int64_t s = r && r->retry_after >= 0 ? r->retry_after : INT64_C(1) << tried;
    return (s > WAIT_MAX_S ? WAIT_MAX_S : s) * 1000;
}

/* true: waited, ask again */
static bool patience(struct cli *c, int64_t ms, unsigned tried, const char *why)
{
    if (tried + 1 >= TRIES) return false;
    if (c->deadline && clock_ms() + ms >= c->deadline) {
        complain(c, "%s; waiting %d s more would be too late", why, (int)(ms / 1000));
        return false;
    }
    say(c, "%s; again in %d s (%u of %d)", why, (int)(ms / 1000), tried + 2, TRIES);
    nap(ms);
    return !cli_interrupted;
}

static bool may_repeat(const struct ask *a, int rc, unsigned tried, bool reached)
{
    /* an answer was lost, not a connection refused at once: the same key makes asking again safe */
    return a->key && rc == RC_UNREACHABLE && (tried || reached);
}

int http_ask(struct cli *c, const struct ask *a, struct reply *ret)
{
    for (unsigned tried = 0;; tried++) {
        struct buf why = { 0 }, line = { 0 };
        int rc = http_once(c, a, ret, &why);
        bool again = rc ? may_repeat(a, rc, tried, ret->reached) : asks_to_wait(ret);
        if (!rc && !again) buf_free(&why);
        if (!rc && !again) return ret->status < 300 || ret->status == 304 ? RC_OK : problem_tell(c, ret);
        if (rc) buf_puts(&line, buf_text(&why));
        else buf_printf(&line, "%s answers %ld %s", link_name(c), ret->status, problem_code(ret));
        again = again && patience(c, wait_ms(rc ? NULL : ret, tried), tried, buf_text(&line));
        if (!again && rc) complain(c, "%s", buf_text(&line));
        buf_free(&why);
        buf_free(&line);
        if (!again) return rc ? rc : cli_interrupted ? RC_DETACHED : problem_tell(c, ret);
        reply_free(ret);
    }
}

int http_get(struct cli *c, const char *path, struct reply *ret) { return http_ask(c, &(struct ask){ .path = path }, ret); }

int http_send(struct cli *c, const char *method, const char *path, const char *json, struct reply *ret)
{
    return http_ask(c, &(struct ask){ .method = method, .path = path, .json = json }, ret);
}
