/* completion: scripts for three shells, made of the command table. */
#include "cli.h"
#include "commands.h"

/* What stands behind an option or a command in completion: words, files, or nothing known. */
static const struct { const char *name, *words; } values[] = {
    { "output", "table json csv" }, { "format", "json array ndjson csv" }, { "scope", "read mint admin" },
    { "state", "new ready parked full closed accepted running completed partial failed cancelled uploading uploaded signed landed "
     "minted quarantined" }, { "completion", "bash zsh fish" },
    { "log", "error warn info debug" } };

static const char *words_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (!strcmp(values[i].name, name)) return values[i].words;
    return NULL;
}

static bool takes_file(const char *name) { return !strcmp(name, "submit") || !strcmp(name, "key-file") || !strcmp(name, "socket"); }

/* The nth different first word of the table; NULL behind the last */
static const char *first_word(size_t *at, char word[32])
{
    for (; *at < cli_n_commands; (*at)++) {
        const char *name = cli_commands[*at].name;
        size_t n = strcspn(name, " ");
        if (*at && !strncmp(cli_commands[*at - 1].name, name, n) && cli_commands[*at - 1].name[n] == ' ') continue;
        snprintf(word, 32, "%.*s", (int)n, name);
        (*at)++;
        return word;
    }
    return NULL;
}

static bool in_group(const struct command *cmd, const char *group)
{
    size_t n = strlen(group);
    return !strncmp(cmd->name, group, n) && cmd->name[n] == ' ';
}

static void put_option_names(uint64_t mask, const char *sep)
{
    for (size_t i = 0; i < OPT_COUNT; i++)
        if (mask & UINT64_C(1) << i) printf("%s--%s", sep, cli_options[i].name);
}

/* A shell pattern of all options that take a value */
static void put_value_pattern(void)
{
    const char *bar = "";
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (!cli_options[i].value) continue;
        printf("%s--%s", bar, cli_options[i].name);
        if (cli_options[i].letter) printf("|-%c", cli_options[i].letter);
        bar = "|";
    }
}

static void put_option_case(const struct option_row *o)
{
    printf("    --%s", o->name);
    if (o->letter) printf("|-%c", o->letter);
    printf(") ");
}

static const uint64_t GLOBAL_OPTS = (UINT64_C(1) << OPT_GLOBALS) - 1;

/* ---- bash */

static void bash_values(void)
{
    puts("    case $prev in");
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const struct option_row *o = &cli_options[i];
        if (!o->value) continue;
        put_option_case(o);
        if (words_of(o->name)) printf("COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", words_of(o->name));
        else if (takes_file(o->name)) puts("COMPREPLY=($(compgen -f -- \"$cur\")); return ;;");
        else puts("return ;;");
    }
    puts("    esac");
}

static void bash_options(void)
{
    puts("    if [[ $cur == -* ]]; then\n        case $cmd in");
    for (size_t i = 0; i < cli_n_commands; i++) {
        printf("        '%s') list='", cli_commands[i].name);
        put_option_names(cli_commands[i].options, " ");
        puts("' ;;");
    }
    printf("        esac\n        COMPREPLY=($(compgen -W \"$list");
    put_option_names(GLOBAL_OPTS, " ");
    puts("\" -- \"$cur\"))\n        return\n    fi");
}

static void bash_words(void)
{
    char word[32];
    printf("    case $cmd in\n    '') list='");
    for (size_t at = 0; first_word(&at, word);) printf(" %s", word);
    puts("' ;;");
    for (size_t at = 0; first_word(&at, word);) {
        const struct command *single = command_find(str_of(word));
        if (single && words_of(word)) printf("    '%s') list='%s' ;;\n", word, words_of(word));
        else if (single && takes_file(word)) printf("    '%s') COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", word);
        if (single) continue;
        printf("    '%s') list='", word);
        for (size_t i = 0; i < cli_n_commands; i++)
            if (in_group(&cli_commands[i], word)) printf(" %s", cli_commands[i].name + strlen(word) + 1);
        puts("' ;;");
    }
    puts("    esac\n    COMPREPLY=($(compgen -W \"$list\" -- \"$cur\"))");
}

static void bash(void)
{
    puts("# bash completion of mintctl: source <(mintctl completion bash)\n_mintctl() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} cmd='' list='' i\n"
         "    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in");
    printf("        ");
    put_value_pattern();
    puts(") ((i++)) ;;\n        -*) ;;\n        *) cmd+=${cmd:+ }${COMP_WORDS[i]} ;;\n        esac\n    done");
    bash_values();
    bash_options();
    bash_words();
    puts("}\ncomplete -F _mintctl mintctl");
}

/* ---- zsh */

/* text inside '...' with the colons of _describe escaped */
static void put_quoted(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') fputs("'\\''", stdout);
        else if (*text == ':') fputs("\\:", stdout);
        else putchar(*text);
    }
}

static void zsh_option(size_t i)
{
    printf(" '--%s:", cli_options[i].name);
    put_quoted(cli_options[i].help);
    printf("'");
}

static void zsh_values(void)
{
    puts("  case $words[CURRENT-1] in");
    for (size_t i = 0; i < OPT_COUNT; i++) {
        const struct option_row *o = &cli_options[i];
        if (!o->value) continue;
        put_option_case(o);
        if (words_of(o->name)) printf("compadd -- %s; return ;;\n", words_of(o->name));
        else if (takes_file(o->name)) puts("_files; return ;;");
        else puts("return ;;");
    }
    puts("  esac");
}

static void zsh_options(void)
{
    puts("  if [[ $words[CURRENT] == -* ]]; then\n    case $cmd in");
    for (size_t i = 0; i < cli_n_commands; i++) {
        if (!cli_commands[i].options) continue;
        printf("    '%s') list=(", cli_commands[i].name);
        for (size_t k = 0; k < OPT_COUNT; k++)
            if (cli_commands[i].options & UINT64_C(1) << k) zsh_option(k);
        puts(" ) ;;");
    }
    printf("    esac\n    list+=(");
    for (size_t k = 0; k < OPT_GLOBALS; k++) zsh_option(k);
    puts(" )\n    _describe -o option list\n    return\n  fi");
}

static void zsh_word(const char *word, const char *help)
{
    printf(" '%s:", word);
    put_quoted(help);
    printf("'");
}

static void zsh_words(void)
{
    char word[32];
    printf("  case $cmd in\n    '') list=(");
    for (size_t at = 0; first_word(&at, word);) {
        const struct command *single = command_find(str_of(word));
        zsh_word(word, single ? single->summary : "more");
    }
    puts(" ) ;;");
    for (size_t at = 0; first_word(&at, word);) {
        const struct command *single = command_find(str_of(word));
        if (single && words_of(word)) printf("    '%s') compadd -- %s; return ;;\n", word, words_of(word));
        else if (single && takes_file(word)) printf("    '%s') _files; return ;;\n", word);
        if (single) continue;
        printf("    '%s') list=(", word);
        for (size_t i = 0; i < cli_n_commands; i++)
            if (in_group(&cli_commands[i], word)) zsh_word(cli_commands[i].name + strlen(word) + 1, cli_commands[i].summary);
        puts(" ) ;;");
    }
    puts("  esac\n  _describe command list");
}

static void zsh(void)
{
    puts("#compdef mintctl\n# zsh completion of mintctl: mintctl completion zsh > \"${fpath[1]}/_mintctl\"\n_mintctl() {\n  local "
         "cmd='' i\n  local -a list\n"
         "  for ((i = 2; i < CURRENT; i++)); do\n    case $words[i] in");
    printf("    ");
    put_value_pattern();
    puts(") ((i++)) ;;\n    -*) ;;\n    *) cmd+=${cmd:+ }$words[i] ;;\n    esac\n  done");
    zsh_values();
    zsh_options();
    zsh_words();
    puts("}\nif [[ $funcstack[1] == _mintctl ]]; then _mintctl \"$@\"; else compdef _mintctl mintctl; fi");
}

/* ---- fish */

static void fish_text(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void fish_option(size_t i, const char *cmd)
{
    const struct option_row *o = &cli_options[i];
    printf("complete -c mintctl");
    if (cmd) printf(" -n '__mintctl_at \"%s\"'", cmd);
    printf(" -l %s", o->name);
    if (o->letter) printf(" -s %c", o->letter);
    if (o->value) printf(takes_file(o->name) ? " -r -F" : " -x");
    if (words_of(o->name)) printf(" -a '%s'", words_of(o->name));
    printf(" -d ");
    fish_text(o->help);
    putchar('\n');
}

static void fish_command(const struct command *cmd)
{
    char word[32];
    const char *space = strchr(cmd->name, ' ');
    snprintf(word, sizeof word, "%.*s", (int)(space ? space - cmd->name : 0), cmd->name);
    printf("complete -c mintctl -n '__mintctl_is \"%s\"' -a %s -d ", word, space ? space + 1 : cmd->name);
    fish_text(cmd->summary);
    putchar('\n');
    if (words_of(cmd->name)) printf("complete -c mintctl -n '__mintctl_is \"%s\"' -a '%s'\n", cmd->name, words_of(cmd->name));
    if (takes_file(cmd->name)) printf("complete -c mintctl -n '__mintctl_is \"%s\"' -F\n", cmd->name);
    for (size_t i = 0; i < OPT_COUNT; i++)
        if (cmd->options & UINT64_C(1) << i) fish_option(i, cmd->name);
}

static void fish(void)
{
    char word[32];
    puts("# fish completion of mintctl: mintctl completion fish > ~/.config/fish/completions/mintctl.fish\nfunction __mintctl_words\n"
         "    set -l skip 0\n    for word in (commandline -opc)[2..]\n        if test $skip = 1\n            set skip 0\n            "
        "continue\n        end\n"
         "        switch $word");
    printf("            case ");
    for (size_t i = 0; i < OPT_COUNT; i++) {
        if (!cli_options[i].value) continue;
        printf("--%s ", cli_options[i].name);
        if (cli_options[i].letter) printf("-%c ", cli_options[i].letter);
    }
    puts("\n                set skip 1\n            case '-*'\n            case '*'\n                echo $word\n        end\n    "
         "end\nend\n"
         "function __mintctl_is\n    set -l words (__mintctl_words)\n    test \"$words\" = \"$argv[1]\"\nend\n"
         "function __mintctl_at\n    set -l words (__mintctl_words)\n    string match -q -- \"$argv[1]*\" \"$words\"\nend\ncomplete -c "
        "mintctl -f");
    for (size_t at = 0; first_word(&at, word);)
        if (!command_find(str_of(word))) printf("complete -c mintctl -n '__mintctl_is \"\"' -a %s\n", word);
    for (size_t i = 0; i < cli_n_commands; i++) fish_command(&cli_commands[i]);
    for (size_t i = 0; i < OPT_GLOBALS; i++) fish_option(i, NULL);
}

int cmd_completion(struct cli *c)
{
    static const struct { const char *shell; void (*fn)(void); } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (!strcmp(c->arg[0], shells[i].shell)) {
            shells[i].fn();
            return RC_OK;
        }
    complain(c, "there is a completion for bash, zsh and fish, not for %s", c->arg[0]);
    return RC_USAGE;
}
