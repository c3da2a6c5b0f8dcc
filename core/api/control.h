/* The routes of an operator: configuration, log, plugins, database, doctor. Loop thread. */
#ifndef API_CONTROL_H
#define API_CONTROL_H
#include "api/call.h"

void control_config(struct call *);
void control_config_check(struct call *);
void control_config_reload(struct call *);
void control_log(struct call *);
void control_log_set(struct call *);
void control_plugins(struct call *);
void control_plugin(struct call *);
void control_database(struct call *);
void control_backup(struct call *);
void doctor(struct call *);
void doctor_gone(struct call *, bool sent);

/* Asks a plugin in the name of a call; fn runs with its answer, not at all when nobody wants it any more. false: answered with 503. */
typedef void control_answer_fn(struct call *, struct plug_reply *);
bool control_ask(struct call *, struct plug_inst *, uint32_t op, uint32_t flags, const struct mintd_query *or_null, control_answer_fn *fn);
/* Lines of a conf_errors as JSON objects {"file", "line", "message"}, a comma between. */
void control_errors_put(struct buf *, const struct conf_errors *);
#endif
