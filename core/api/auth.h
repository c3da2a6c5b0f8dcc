/* The admin key: from the configuration, or made once and kept in state_dir/admin.key. Only a keyed hash of it is compared, in
 * constant time. Loop thread; reads and writes its file at start and on reload only. */
#ifndef API_AUTH_H
#define API_AUTH_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "conf/conf.h"

struct auth {
    bool on;
    uint8_t secret[32], hash[32];              /* of this process; keyed hash of the key */
    char *file;                                /* where a generated key is; NULL: it came from the configuration */
    char key[64];                              /* the generated key, for the start message */
};
enum auth_verdict { AUTH_OK, AUTH_MISSING, AUTH_WRONG, AUTH_TWO };
int  auth_load(struct auth *, struct loop *, const struct conf *, struct buf *err);        /* 0, -errno with one line */
void auth_free(struct auth *);
/* header values or NULL; counts as sent */
enum auth_verdict auth_check(const struct auth *, const char *x_key, unsigned n_x, const char *authorization, unsigned n_authorization);
#endif
