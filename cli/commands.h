/* What the command table calls: each runs one command and returns its exit code. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H
#include "cli.h"

int cmd_submit(struct cli *);
int cmd_watch(struct cli *);
int cmd_batch_list(struct cli *);
int cmd_batch_show(struct cli *);
int cmd_batch_cancel(struct cli *);
int cmd_batch_retry(struct cli *);
int cmd_ticket_list(struct cli *);
int cmd_ticket_show(struct cli *);
int cmd_why(struct cli *);
int cmd_collection_new(struct cli *);
int cmd_collection_list(struct cli *);
int cmd_collection_show(struct cli *);
int cmd_estimate(struct cli *);
int cmd_reconcile_run(struct cli *);
int cmd_reconcile_history(struct cli *);
int cmd_cache_stats(struct cli *);
int cmd_cache_rm(struct cli *);
int cmd_cache_clear(struct cli *);
int cmd_wallet(struct cli *);
int cmd_plugin_list(struct cli *);
int cmd_plugin_info(struct cli *);
int cmd_config_check(struct cli *);
int cmd_config_show(struct cli *);
int cmd_config_reload(struct cli *);
int cmd_key_new(struct cli *);
int cmd_key_list(struct cli *);
int cmd_key_revoke(struct cli *);
int cmd_db_status(struct cli *);
int cmd_db_backup(struct cli *);
int cmd_events_tail(struct cli *);
int cmd_events_list(struct cli *);
int cmd_doctor(struct cli *);
int cmd_status(struct cli *);
int cmd_log(struct cli *);
int cmd_completion(struct cli *);
int cmd_help(struct cli *);
#endif
