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
int  auth_load(struct auth *, struct loop *, const struct conf *, struct buf *err);        /* 0, -errno with one line */
void auth_free(struct auth *);
/* The key that the headers show (values or NULL); empty: none */
struct mintd_str auth_shown(const char *x_key, const char *authorization);
bool auth_is_admin(const struct auth *, struct mintd_str shown);
#endif
