/* The command line against the command table. Every refusal says what would have been right. Owns nothing. */
#include <errno.h>
#include <stdlib.h>
#include "cli.h"

enum { WORDS_MAX = 8, CLOSE = 2 };

struct line { struct cli *cli; char **argv; int argc, at; const char *word[WORDS_MAX]; unsigned n; bool only_words; };

bool cli_has(const struct cli *c, enum opt o) { return c->opt[o] != NULL; }

/* ---- did you mean */

struct guess { const char *best; unsigned distance; };

static void weigh(struct guess *g, const char *typed, const char *known)
{
    unsigned d = str_distance(str_of(typed), str_of(known));
    if (d > CLOSE && strlen(typed) > 2 && !strncmp(known, typed, strlen(typed))) d = CLOSE;     /* a beginning is near enough */
    if (d <= CLOSE && d < strlen(typed) && d < g->distance) *g = (struct guess){ known, d };
}

static int unknown_option(struct cli *c, const char *typed)
{
    struct guess g = { NULL, CLOSE + 1 };
    for (size_t i = 0; i < OPT_COUNT; i++) weigh(&g, typed, cli_options[i].name);
    if (g.best) complain(c, "there is no option --%s; did you mean --%s?", typed, g.best);
    else complain(c, "there is no option --%s; mintctl help lists them", typed);
    return RC_USAGE;
}

static int unknown_command(struct cli *c, const char *typed)
{
    struct guess g = { NULL, CLOSE + 1 };
    char group[32];
    for (size_t i = 0; i < cli_n_commands; i++) {
        const char *name = cli_commands[i].name, *space = strchr(name, ' ');
        weigh(&g, typed, name);
        if (space && !strchr(typed, ' ')) {
            snprintf(group, sizeof group, "%.*s", (int)(space - name), name);
            if (str_distance(str_of(typed), str_of(group)) < g.distance) weigh(&g, typed, group);
            if (g.best == group) g.best = name, g.distance = CLOSE;    /* group is overwritten: its first command stands for it */
            if (!strcmp(space + 1, typed)) g = (struct guess){ name, 0 };
        }
    }
    if (g.best) complain(c, "there is no command %s; did you mean %s?", typed, g.best);
    else complain(c, "there is no command %s; mintctl help lists them", typed);
    return RC_USAGE;
}

/* ---- options */

static int take_option(struct line *l, size_t i, const char *shown, const char *value)
{
    const struct option_row *row = &cli_options[i];
    if (row->value && !value && l->at < l->argc) value = l->argv[l->at++];
    if (row->value && !value) {
        complain(l->cli, "%s wants %s behind it: %s", shown, row->value, row->help);
        return RC_USAGE;
    }
    if (row->value && l->cli->opt[i] && strcmp(l->cli->opt[i], value) != 0) {
        complain(l->cli, "%s is there twice: %s and %s", shown, l->cli->opt[i], value);
        return RC_USAGE;
    }
    l->cli->opt[i] = row->value ? value : "";
    return RC_OK;
}

static int take_long(struct line *l, const char *text)
{
    const char *equals = strchr(text, '=');
    char name[40];
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (strcmp(cli_options[i].name, name) != 0) continue;
        if (equals && !cli_options[i].value) {
            complain(l->cli, "--%s takes no value", name);
            return RC_USAGE;
        }
        return take_option(l, i, l->argv[l->at - 1], equals ? equals + 1 : NULL);
    }
    return unknown_option(l->cli, name);
}

static int take_letters(struct line *l, const char *text)
{
    for (; *text; text++) {
        size_t i = 0;
        char shown[3] = { '-', *text, 0 };
        while (i < OPT_COUNT && cli_options[i].letter != *text) i++;
        if (i == OPT_COUNT) {
            complain(l->cli, "there is no option %s; mintctl help lists them", shown);
            return RC_USAGE;
        }
        const char *value = cli_options[i].value && text[1] ? text + 1 : NULL;
        int rc = take_option(l, i, shown, value);
        if (rc || cli_options[i].value) return rc;
    }
    return RC_OK;
}

static int take_word(struct line *l, const char *text)
{
    if (!l->only_words && !strcmp(text, "--")) {
        l->only_words = true;
        return RC_OK;
    }
    if (!l->only_words && text[0] == '-' && text[1] == '-') return take_long(l, text + 2);
    if (!l->only_words && text[0] == '-' && text[1]) return take_letters(l, text + 1);
    if (l->n == WORDS_MAX) {
        complain(l->cli, "too many words: %s", text);
        return RC_USAGE;
    }
    l->word[l->n++] = text;
    return RC_OK;
}

/* ---- which command */

const struct command *command_find(struct mintd_str name)
{
    for (size_t i = 0; i < cli_n_commands; i++)
        if (str_eq(str_of(cli_commands[i].name), name)) return &cli_commands[i];
    return NULL;
}

static bool is_group(const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < cli_n_commands; i++)
        if (!strncmp(cli_commands[i].name, word, n) && cli_commands[i].name[n] == ' ') return true;
    return false;
}

/* The command and how many words it took */
static const struct command *find(const struct line *l, unsigned *ret_used)
{
    char two[64];
    *ret_used = 1;
    if (!is_group(l->word[0])) return command_find(str_of(l->word[0]));
    *ret_used = 2;
    if (l->n < 2) return NULL;
    snprintf(two, sizeof two, "%s %s", l->word[0], l->word[1]);
    return command_find(str_of(two));
}

static int no_command(struct line *l)
{
    struct cli *c = l->cli;
    bool help = cli_has(c, OPT_HELP);
    char two[64];
    if (l->n == 1 && is_group(l->word[0])) {
        help_group(help ? stdout : stderr, c, l->word[0]);
        return help ? -1 : RC_USAGE;
    }
    if (l->n > 1 && is_group(l->word[0])) snprintf(two, sizeof two, "%.30s %.30s", l->word[0], l->word[1]);
    else snprintf(two, sizeof two, "%.60s", l->word[0]);
    return unknown_command(c, two);
}

/* ---- does it all fit together */

static int check_options(struct cli *c)
{
    for (size_t i = OPT_GLOBALS; i < OPT_COUNT; i++)
        if (c->opt[i] && !(c->cmd->options & UINT64_C(1) << i)) {
            complain(c, "%s has no option --%s; mintctl help %s lists them", c->cmd->name, cli_options[i].name, c->cmd->name);
            return RC_USAGE;
        }
    return RC_OK;
}

static int check_words(struct cli *c)
{
    if (c->n_args >= c->cmd->min && c->n_args <= c->cmd->max) return RC_OK;
    if (c->n_args < c->cmd->min) complain(c, "%s wants %s: mintctl %s %s", c->cmd->name, c->cmd->args, c->cmd->name, c->cmd->args);
    else complain(c, "%s takes nothing more, but there is %s", c->cmd->name, c->arg[c->cmd->max]);
    return RC_USAGE;
}

static int check_output(struct cli *c)
{
    static const char *const names[] = { "table", "json", "csv" };
    const char *wanted = c->opt[OPT_OUTPUT];
    c->format = cli_has(c, OPT_JSON) ? FORMAT_JSON : FORMAT_TABLE;
    if (!wanted) return RC_OK;
    size_t i = 0;
    while (i < ARRAY_LEN(names) && strcmp(names[i], wanted) != 0) i++;
    if (i == ARRAY_LEN(names)) complain(c, "-o is table, json or csv, not %s", wanted);
    else if (i != FORMAT_JSON && cli_has(c, OPT_JSON)) complain(c, "--json and -o %s: which of them?", wanted);
    else if (i == FORMAT_CSV && !c->cmd->csv) complain(c, "%s has no CSV: only lists have", c->cmd->name);
    else {
        c->format = (enum format)i;
        return RC_OK;
    }
    return RC_USAGE;
}

int args_duration(const char *text, int64_t *ret_ms)
{
    static const struct { const char *unit; int64_t ms; } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
        { "h", 3600000 }, { "d", 86400000 } };
    size_t digits = strspn(text, "0123456789");
    uint64_t n = 0;
    if (str_u64((struct mintd_str){ text, digits }, &n) || n > 1000000000) return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (!strcmp(text + digits, units[i].unit)) {
            *ret_ms = (int64_t)n * units[i].ms;
            return 0;
        }
    return -EINVAL;
}

static int check_timeout(struct cli *c)
{
    int64_t ms = 0;
    const char *text = c->opt[OPT_TIMEOUT];
    if (!text) return RC_OK;
    if (args_duration(text, &ms) || !ms) {
        complain(c, "--timeout is a time like 30s, 5m or 2h, not %s", text);
        return RC_USAGE;
    }
    c->deadline = clock_ms() + ms;
    return RC_OK;
}

static int settle(struct line *l)
{
    struct cli *c = l->cli;
    unsigned used = 0;
    c->cmd = find(l, &used);
    if (!c->cmd) return no_command(l);
    for (unsigned i = used; i < l->n && c->n_args < ARGS_MAX; i++) c->arg[c->n_args++] = l->word[i];
    if (cli_has(c, OPT_HELP)) return RC_OK;
    int rc = check_options(c);
    if (!rc) rc = check_words(c);
    if (!rc) rc = check_output(c);
    return rc ? rc : check_timeout(c);
}

int args_parse(struct cli *c, int argc, char **argv)
{
    struct line l = { .cli = c, .argv = argv, .argc = argc, .at = 1 };
    while (l.at < argc) {
        int rc = take_word(&l, argv[l.at++]);
        if (rc) return rc;
    }
    return l.n ? settle(&l) : RC_OK;
}
