/* Help made of the command table: examples first. Owns nothing. */
#include "cli.h"
#include "commands.h"

enum { HELP_WIDTH = 100, OPTION_COL = 26 };

static unsigned help_width(const struct cli *c)
{
    unsigned w = c->width ? c->width : c->width_err ? c->width_err : 80;
    return w > HELP_WIDTH ? HELP_WIDTH : w;
}

static void put_head(FILE *f, const struct cli *c, const char *text)
{
    bool color = f == stdout ? c->color_out : c->color_err;
    fprintf(f, "\n%s%s%s\n", ink(color, INK_BOLD), text, ink(color, INK_NONE));
}

/* `left` in a column, `right` wrapped beside it; on a narrow terminal below it */
static void put_pair(FILE *f, const struct cli *c, const char *left, const char *right, unsigned col)
{
    struct buf b = { 0 };
    unsigned width = help_width(c);
    bool below = strlen(left) + 2 > col || width < col + 24;
    if (below) buf_printf(&b, "  %s\n%*s", left, 8, "");
    else buf_printf(&b, "  %-*s", (int)(col - 2), left);
    text_wrap(&b, right, strlen(right), width, below ? 8 : col);
    if (!b.bad) fwrite(b.p, 1, b.n, f);
    buf_free(&b);
}

static void put_option(FILE *f, const struct cli *c, const struct option_row *o)
{
    char left[64], letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
    put_pair(f, c, left, o->help, OPTION_COL);
}

static void put_text(FILE *f, const struct cli *c, const char *text)
{
    struct buf b = { 0 };
    text_wrap(&b, text, strlen(text), help_width(c), 0);
    if (!b.bad) fprintf(f, "\n%.*s", (int)b.n, b.p);
    buf_free(&b);
}

static void put_examples(FILE *f, const struct cli *c, const struct command *cmd)
{
    bool color = f == stdout ? c->color_out : c->color_err;
    put_head(f, c, "Examples");
    for (size_t i = 0; i < ARRAY_LEN(cmd->examples) && cmd->examples[i]; i++) {
        const char *newline = strchr(cmd->examples[i], '\n');
        if (newline) fprintf(f, "  %s%.*s%s\n", ink(color, INK_DIM), (int)(newline - cmd->examples[i]), cmd->examples[i],
                             ink(color, INK_NONE));
        fprintf(f, "  %s\n", newline ? newline + 1 : cmd->examples[i]);
    }
}

int help_command(FILE *f, const struct cli *c, const struct command *cmd)
{
    fprintf(f, "mintctl %s: %s\n", cmd->name, cmd->summary);
    put_examples(f, c, cmd);
    put_head(f, c, "Usage");
    fprintf(f, "  mintctl %s%s%s%s\n", cmd->name, *cmd->args ? " " : "", cmd->args, cmd->options ? " [options]" : "");
    if (cmd->text) put_text(f, c, cmd->text);
    if (cmd->options) put_head(f, c, "Options");
    for (size_t i = OPT_GLOBALS; i < OPT_COUNT; i++)
        if (cmd->options & UINT64_C(1) << i) put_option(f, c, &cli_options[i]);
    put_head(f, c, "Options of every command");
    for (size_t i = 0; i < OPT_VERSION; i++) put_option(f, c, &cli_options[i]);
    return RC_OK;
}

static void put_command(FILE *f, const struct cli *c, const struct command *cmd)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", cmd->name, *cmd->args ? " " : "", cmd->args);
    put_pair(f, c, left, cmd->summary, OPTION_COL);
}

int help_group(FILE *f, const struct cli *c, const char *group)
{
    size_t n = strlen(group);
    fprintf(f, "mintctl %s: one of these; mintctl help %s COMMAND says more\n\n", group, group);
    for (size_t i = 0; i < cli_n_commands; i++)
        if (!strncmp(cli_commands[i].name, group, n) && cli_commands[i].name[n] == ' ') put_command(f, c, &cli_commands[i]);
    return RC_OK;
}

int help_main(FILE *f, const struct cli *c)
{
    fputs("mintctl drives the minting daemon mintd.\n", f);
    put_head(f, c, "Examples");
    fputs("  mintctl status\n  mintctl submit tickets.csv --venue arena\n  mintctl why A-17\n", f);
    put_head(f, c, "Commands");
    for (size_t i = 0; i < cli_n_commands; i++) put_command(f, c, &cli_commands[i]);
    put_head(f, c, "Options of every command");
    for (size_t i = 0; i < OPT_GLOBALS; i++) put_option(f, c, &cli_options[i]);
    put_head(f, c, "Environment");
    for (size_t i = 0; i < cli_n_variables; i++) put_pair(f, c, cli_variables[i].name, cli_variables[i].help, OPTION_COL);
    put_head(f, c, "Exit codes");
    for (size_t i = 0; i < cli_n_exits; i++) {
        char code[8];
        snprintf(code, sizeof code, "%d", cli_exits[i].code);
        put_pair(f, c, code, cli_exits[i].help, 8);
    }
    return RC_OK;
}

/* ---- the table for programs: the manual and the tests are held against it */

static void json_member(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", name);
    buf_json(b, str_of(value ? value : ""));
}

static void json_options(struct buf *b, uint64_t mask)
{
    const char *comma = "";
    buf_puts(b, "[");
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (!(mask & UINT64_C(1) << i)) continue;
        buf_printf(b, "%s\"%s\"", comma, cli_options[i].name);
        comma = ",";
    }
    buf_puts(b, "]");
}

static void json_command(struct buf *b, const struct command *cmd)
{
    buf_puts(b, b->p[b->n - 1] == '[' ? "{" : ",{");
    json_member(b, "name", cmd->name);
    json_member(b, "arguments", cmd->args);
    json_member(b, "summary", cmd->summary);
    json_member(b, "text", cmd->text);
    buf_puts(b, ",\"examples\":[");
    for (size_t i = 0; i < ARRAY_LEN(cmd->examples) && cmd->examples[i]; i++) {
        if (i) buf_puts(b, ",");
        buf_json(b, str_of(cmd->examples[i]));
    }
    buf_puts(b, "],\"options\":");
    json_options(b, cmd->options);
    buf_printf(b, ",\"csv\":%s}", cmd->csv ? "true" : "false");
}

static void json_option(struct buf *b, const struct option_row *o)
{
    char letter[2] = { o->letter, 0 };
    buf_puts(b, b->p[b->n - 1] == '[' ? "{" : ",{");
    json_member(b, "name", o->name);
    json_member(b, "letter", letter);
    json_member(b, "value", o->value);
    json_member(b, "help", o->help);
    buf_puts(b, "}");
}

static int help_json(struct cli *c)
{
    struct buf b = { 0 };
    buf_puts(&b, "{\"commands\":[");
    for (size_t i = 0; i < cli_n_commands; i++) json_command(&b, &cli_commands[i]);
    buf_puts(&b, "],\"global\":");
    json_options(&b, (UINT64_C(1) << OPT_GLOBALS) - 1);
    buf_puts(&b, ",\"options\":[");
    for (size_t i = 0; i < OPT_COUNT; i++) json_option(&b, &cli_options[i]);
    buf_puts(&b, "],\"variables\":[");
    for (size_t i = 0; i < cli_n_variables; i++) {
        buf_puts(&b, i ? ",{" : "{");
        json_member(&b, "name", cli_variables[i].name);
        json_member(&b, "help", cli_variables[i].help);
        buf_puts(&b, "}");
    }
    buf_puts(&b, "],\"exits\":[");
    for (size_t i = 0; i < cli_n_exits; i++) {
        buf_printf(&b, "%s{\"code\":%d", i ? "," : "", cli_exits[i].code);
        json_member(&b, "help", cli_exits[i].help);
        buf_puts(&b, "}");
    }
    buf_puts(&b, "]}\n");
    out_buf(c, &b);
    return RC_OK;
}

int cmd_help(struct cli *c)
{
    struct buf name = { 0 };
    if (c->format == FORMAT_JSON) return help_json(c);
    if (!c->n_args) return help_main(stdout, c);
    buf_printf(&name, "%s%s%s", c->arg[0], c->n_args > 1 ? " " : "", c->n_args > 1 ? c->arg[1] : "");
    const struct command *cmd = command_find(buf_view(&name));
    bool group = !cmd && c->n_args == 1;
    for (size_t i = 0, n = strlen(c->arg[0]); group && i <= cli_n_commands; i++) {
        if (i == cli_n_commands) group = false;
        else if (!strncmp(cli_commands[i].name, c->arg[0], n) && cli_commands[i].name[n] == ' ') break;
    }
    if (!cmd && !group) complain(c, "there is no command " STR_FMT "; mintctl help lists them", STR_ARG(buf_view(&name)));
    buf_free(&name);
    if (cmd) return help_command(stdout, c, cmd);
    return group ? help_group(stdout, c, c->arg[0]) : RC_USAGE;
}
