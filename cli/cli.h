/* mintctl, what its parts share: the run of one command, the command table, exit codes, output to a person who may sit at a
 * terminal. Knows the daemon through its HTTP API alone; of the core it uses base/str only. One thread. */
#ifndef CLI_H
#define CLI_H
#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "base/str.h"

/* Exit codes, as the manual has them. */
enum {
    RC_OK, RC_FAILED, RC_USAGE, RC_PARTIAL, RC_NOT_FOUND, RC_REFUSED, RC_UNREACHABLE, RC_TIMEOUT,
    RC_DETACHED = 130,                         /* Ctrl-C: what was asked for goes on without this program */
};
enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV };
enum ink { INK_NONE, INK_BOLD, INK_DIM, INK_GOOD, INK_WARN, INK_BAD, INK_NAME };

/* ---- the command table (table.c): help, completion and the manual are made of it */

enum opt {
    OPT_SOCKET, OPT_SERVER, OPT_KEY_FILE, OPT_JSON, OPT_OUTPUT, OPT_NO_COLOR, OPT_YES, OPT_NO_INPUT, OPT_TIMEOUT, OPT_QUIET, OPT_HELP,
    OPT_VERSION,
    OPT_GLOBALS,                               /* those before are known to every command */
    OPT_FORMAT = OPT_GLOBALS, OPT_VENUE, OPT_PIPELINE, OPT_COLLECTION, OPT_KEY, OPT_NO_WAIT, OPT_DRY_RUN, OPT_LIMIT, OPT_STATE,
    OPT_EVENT, OPT_FROM, OPT_TO, OPT_CHAIN, OPT_BATCH, OPT_SINCE, OPT_SCOPE, OPT_EXPIRES, OPT_KIND,
    OPT_MAX_SUPPLY, OPT_SPEC,
    OPT_COUNT,
};
#define OPT(name) (UINT64_C(1) << OPT_##name)

struct option_row { const char *name; char letter; const char *value, *help; };
extern const struct option_row cli_options[OPT_COUNT];

struct cli;
struct command {
    const char *name, *args;                   /* "batch show", "BATCH" */
    const char *summary;                       /* one line, for lists */
    const char *text;                          /* paragraphs of the help; NULL: none */
    const char *examples[4];                   /* "# what" and the command line after it, in turn in one string each */
    uint64_t    options;                       /* beside the global ones */
    unsigned    min, max;                      /* arguments */
    int       (*fn)(struct cli *);
    bool        csv;                           /* a list that has -o csv */
    bool        offline;                       /* talks to no daemon */
};
extern const struct command cli_commands[];
extern const size_t cli_n_commands;
struct variable_row { const char *name, *help; };
extern const struct variable_row cli_variables[];
extern const size_t cli_n_variables;
struct exit_row { int code; const char *help; };
extern const struct exit_row cli_exits[];
extern const size_t cli_n_exits;

/* ---- one run */

enum { ARGS_MAX = 4 };
struct link;
struct cli {
    const struct command *cmd;
    const char *arg[ARGS_MAX];
    unsigned n_args;
    const char *opt[OPT_COUNT];                /* its value, "" for a switch that is on, NULL */
    enum format format;
    bool tty_out, tty_err, color_out, color_err, utf8;
    unsigned width;                            /* columns of stdout; 0: not a terminal, nothing is cut */
    unsigned width_err;
    int64_t deadline;                          /* clock_ms() at which --timeout is over; 0: none */
    bool line_open;                            /* a progress line stands on stderr, to be wiped before talk */
    struct link *link;
};
extern volatile sig_atomic_t cli_interrupted;
bool cli_has(const struct cli *, enum opt);

int args_parse(struct cli *, int argc, char **argv);       /* 0, or an exit code with the reason told */
const struct command *command_find(struct mintd_str name);
int args_duration(const char *text, int64_t *ret_ms);      /* 30s 5m 2h 1d 500ms, a bare number is seconds; 0, -EINVAL */
int help_main(FILE *, const struct cli *);
int help_command(FILE *, const struct cli *, const struct command *);
int help_group(FILE *, const struct cli *, const char *group);

/* ---- talk and data (term.c). Everything that came from outside goes through text_clean on its way to a terminal. */

void term_init(struct cli *);
int  term_end(struct cli *, int rc);                       /* flushes; a full disk behind stdout is a failure */
void say(struct cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));      /* stderr, silent with --quiet */
void complain(struct cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* stderr, always */
void detail(struct cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* more lines to a complaint */
int  confirm(struct cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* 0: go on, else an exit code */
const char *ink(bool on, enum ink);
enum ink ink_of_state(const char *state);
int64_t clock_ms(void);                                    /* monotonic */
int64_t clock_wall_ms(void);
void catch_interrupt(void);                                /* from now on Ctrl-C sets cli_interrupted; a second one kills */
void nap(int64_t ms);                                      /* ends early at Ctrl-C */
void out_buf(struct cli *, struct buf *);                  /* to stdout, and freed */

/* ---- text (text.c) */

const char *buf_text(struct buf *);                        /* its content with a NUL behind it, "" when memory ran out */

void text_clean(struct buf *, const char *p, size_t n, bool newlines);     /* control and direction characters become U+FFFD or ? */
void text_clean_json(struct buf *, const char *json);      /* the same inside serialised JSON: escaped, so that nothing is lost */
unsigned text_width(const char *p, size_t n);              /* columns, roughly */
size_t text_fit(const char *p, size_t n, unsigned width);  /* bytes of the longest beginning that fits */
void text_wrap(struct buf *, const char *p, size_t n, unsigned width, unsigned indent);  /* continuation lines are indented */
void text_bytes(struct buf *, double n);                   /* 12.3 MB */
void text_span(struct buf *, double seconds);              /* 2 m 05 s */
void text_time(struct buf *, const char *rfc3339, bool date, bool ms);     /* local time; anything else is shown as it is */
int64_t text_time_ms(const char *rfc3339);                 /* since 1970; -1: not a time */

/* ---- tables and cards (grid.c) */

enum { GRID_COLS = 12 };
enum column_flags { COL_RIGHT = 1, COL_FLEX = 2, COL_STATE = 4, COL_TIME = 8 };
struct column {
    const char *head, *path;                   /* path: where the value stands in each element */
    unsigned flags, drop;                      /* drop: goes first when there is no room, highest first; 0: stays */
};
void grid_print(struct cli *, const struct column *, size_t n, struct json_object *rows, bool head);
/* Names in a column, texts wrapped beside them; below them where there is no room. */
void pairs_put(struct cli *, struct buf *, struct json_object *rows, const char *name, const char *text);
void card_row(struct cli *, struct buf *, const char *label, enum ink, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void card_member(struct cli *, struct buf *, const char *label, struct json_object *doc, const char *path); /* skipped when absent */
void card_time(struct cli *, struct buf *, const char *label, struct json_object *doc, const char *path);

/* ---- documents (doc.c): every reader takes what is missing or of another type in its stride */

struct json_object *doc_at(struct json_object *, const char *path);        /* "items.open"; NULL */
const char *doc_str(struct json_object *, const char *path);               /* numbers and booleans as text; "" */
int64_t doc_int(struct json_object *, const char *path);                   /* strings of digits too; 0 */
double doc_num(struct json_object *, const char *path);
bool doc_bool(struct json_object *, const char *path);
size_t doc_len(struct json_object *, const char *path);
struct json_object *doc_idx(struct json_object *, const char *path, size_t);
void doc_flat(struct buf *, struct json_object *, const char *skip);       /* "a 1, b x" of an object; skip: " names not shown " */
struct json_object *doc_parse(const char *p, size_t n);                    /* NULL */
void out_json(struct cli *, struct json_object *);                         /* one line */
#endif
