/* The two streams: data on stdout, talk on stderr; whether a terminal is there and how wide, colours, questions, clocks. */
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"

enum { WIDTH_MIN = 20, WIDTH_MAX = 1000, WIDTH_DEFAULT = 80 };

static unsigned width_of(int fd)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    uint64_t n = 0;
    if (!ioctl(fd, TIOCGWINSZ, &size) && size.ws_col) n = size.ws_col;
    else if (!columns || str_u64(str_of(columns), &n)) n = WIDTH_DEFAULT;
    return (unsigned)(n < WIDTH_MIN ? WIDTH_MIN : n > WIDTH_MAX ? WIDTH_MAX : n);
}

static bool wants_color(const struct cli *c)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return !cli_has(c, OPT_NO_COLOR) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

void term_init(struct cli *c)
{
    setlocale(LC_CTYPE, "");
    c->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
    c->tty_out = isatty(STDOUT_FILENO);
    c->tty_err = isatty(STDERR_FILENO);
    c->width = c->tty_out ? width_of(STDOUT_FILENO) : 0;
    c->width_err = c->tty_err ? width_of(STDERR_FILENO) : 0;
    c->color_out = c->tty_out && wants_color(c);
    c->color_err = c->tty_err && wants_color(c);
}

int term_end(struct cli *c, int rc)
{
    bool broken = fflush(stdout) || ferror(stdout);
    int err = errno;
    if (broken && err != EPIPE) complain(c, "cannot write to standard output: %s", strerror(err));
    return broken && rc == RC_OK ? RC_FAILED : rc;
}

const char *ink(bool on, enum ink i)
{
    static const char *const codes[] = { "\033[0m", "\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[31m", "\033[36m" };
    return on ? codes[i] : "";
}

enum ink ink_of_state(const char *state)
{
    static const struct { const char *state; enum ink ink; } known[] = {
        { "completed", INK_GOOD }, { "minted", INK_GOOD }, { "ok", INK_GOOD }, { "up", INK_GOOD }, { "yes", INK_GOOD },
        { "partial", INK_WARN }, { "quarantined", INK_WARN }, { "warn", INK_WARN }, { "warning", INK_WARN }, { "cancelled", INK_WARN },
        { "failed", INK_BAD }, { "fail", INK_BAD }, { "down", INK_BAD }, { "error", INK_BAD }, { "revoked", INK_BAD }, { "no", INK_BAD },
        { "expired", INK_BAD } };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (!strcmp(state, known[i].state)) return known[i].ink;
    return INK_NONE;
}

/* ---- talk */

static void wipe_line(struct cli *c)
{
    if (c->line_open) fputs("\r\033[K", stderr);
    c->line_open = false;
}

static void talk(struct cli *c, enum ink color, const char *prefix, const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));
static void talk(struct cli *c, enum ink color, const char *prefix, const char *fmt, va_list ap)
{
    struct buf clean = { 0 }, line = { 0 };
    char *text = NULL;
    size_t n = strlen(prefix);
    if (vasprintf(&text, fmt, ap) < 0) return;
    buf_puts(&clean, prefix);
    text_clean(&clean, text, strlen(text), true);
    text_wrap(&line, clean.p ? clean.p : "", clean.n, c->width_err, n ? 2 : 0);
    wipe_line(c);
    fflush(stdout);                                        /* on a terminal both streams come out in order */
    if (!line.bad && line.n >= n)
        fprintf(stderr, "%s%.*s%s%.*s", ink(c->color_err && n, color), (int)n, line.p, ink(c->color_err && n, INK_NONE), (int)(line.n - n),
                line.p + n);
    buf_free(&clean);
    buf_free(&line);
    free(text);
}

void say(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    if (cli_has(c, OPT_QUIET)) return;
    va_start(ap, fmt);
    talk(c, INK_NONE, "", fmt, ap);
    va_end(ap);
}

void complain(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    talk(c, INK_BAD, "mintctl: ", fmt, ap);
    va_end(ap);
}

void detail(struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    talk(c, INK_NONE, "", fmt, ap);
    va_end(ap);
}

void out_buf(struct cli *c, struct buf *b)
{
    wipe_line(c);
    if (b->bad) complain(c, "out of memory while writing the answer");
    else if (b->n) fwrite(b->p, 1, b->n, stdout);
    buf_free(b);
}

/* ---- questions */

/* Where a person could answer: stdin, or the terminal behind it when stdin carries data. -1: nobody is there. */
static int ask_fd(const struct cli *c)
{
    if (cli_has(c, OPT_NO_INPUT) || !c->tty_err) return -1;
    if (isatty(STDIN_FILENO)) return dup(STDIN_FILENO);
    bool data = c->n_args && !strcmp(c->arg[0], "-");
    return data ? open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
}

static bool read_yes(int fd)
{
    char line[16] = "";
    ssize_t n = read(fd, line, sizeof line - 1);
    return n > 0 && (line[0] == 'y' || line[0] == 'Y') && (line[1] == '\n' || !strncasecmp(line, "yes\n", 4));
}

int confirm(struct cli *c, const char *fmt, ...)
{
    struct buf question = { 0 };
    char *text = NULL;
    va_list ap;
    if (cli_has(c, OPT_YES)) return RC_OK;
    int fd = ask_fd(c);
    if (fd < 0) {
        complain(c, "%s asks before it goes on and nobody is there to answer: say --yes", c->cmd->name);
        return RC_USAGE;
    }
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) >= 0) text_clean(&question, text, strlen(text), true);
    va_end(ap);
    wipe_line(c);
    fflush(stdout);
    fprintf(stderr, "%s%.*s%s [y/N] ", ink(c->color_err, INK_BOLD), (int)question.n, question.p ? question.p : "",
            ink(c->color_err, INK_NONE));
    bool yes = read_yes(fd);
    close(fd);
    free(text);
    buf_free(&question);
    if (yes) return RC_OK;
    if (cli_interrupted) fputs("\n", stderr);
    complain(c, "not confirmed: nothing was done");
    return cli_interrupted ? RC_DETACHED : RC_FAILED;
}

/* ---- clocks */

static int64_t clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_ms(void) { return clock_of(CLOCK_MONOTONIC); }
int64_t clock_wall_ms(void) { return clock_of(CLOCK_REALTIME); }

static void on_interrupt(int number)
{
    (void)number;
    cli_interrupted = 1;
}

void catch_interrupt(void)
{
    sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND }, NULL);
}

void nap(int64_t ms)
{
    if (ms > 0 && !cli_interrupted) poll(NULL, 0, ms < 3600000 ? (int)ms : 3600000);
}
