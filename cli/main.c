/* mintctl: starts, runs one command of the table, ends with its code. */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "http.h"

volatile sig_atomic_t cli_interrupted;

static int print_version(void)
{
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
    printf("mintctl %s\nlibcurl %s (%s)\njson-c %s\n", MINTD_VERSION, curl->version, curl->ssl_version ? curl->ssl_version : "no TLS",
           json_c_version());
    return RC_OK;
}

static int run(struct cli *c)
{
    if (c->cmd && cli_has(c, OPT_HELP)) return help_command(stdout, c, c->cmd);
    if (cli_has(c, OPT_VERSION)) return print_version();
    if (!c->cmd) {
        help_main(cli_has(c, OPT_HELP) ? stdout : stderr, c);
        return cli_has(c, OPT_HELP) ? RC_OK : RC_USAGE;
    }
    if (c->cmd->offline) return c->cmd->fn(c);
    int rc = link_open(c);
    if (!rc) rc = c->cmd->fn(c);
    link_close(c);
    return rc;
}

int main(int argc, char **argv)
{
    struct cli c = { 0 };
    term_init(&c);
    int rc = args_parse(&c, argc, argv);
    term_init(&c);                                         /* again: --no-color is known now */
    if (!rc) rc = run(&c);
    return term_end(&c, rc < 0 ? RC_OK : rc);
}
