/* Secrets of the API. The admin key: from the configuration, or made once and kept in state_dir/admin.key; only a keyed hash of it is
 * compared, in constant time. The secret that stored keys are hashed with: likewise, in state_dir/key.secret. Loop thread; reads and
 * writes its files at start and on reload only. */
#ifndef API_AUTH_H
#define API_AUTH_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "conf/conf.h"

enum { AUTH_TEXT = 64, AUTH_KEY = 46 };        /* room for a kept secret; length of a stored key: mk_ and 256 bits in base64url */
struct auth {
    bool on;
    uint8_t secret[32], hash[32];              /* of this process; keyed hash of the admin key */
    uint8_t key_secret[32];                    /* of all instances that share the store */
    char *file;                                /* where a generated admin key is; NULL: it came from the configuration */
    char key[AUTH_TEXT];                       /* the generated key, for the start message */
};
int  auth_load(struct auth *, struct loop *, const struct conf *, struct buf *err);        /* 0, -errno with one line */
void auth_free(struct auth *);
/* The key that the headers show (values or NULL); empty: none */
struct mintd_str auth_shown(const char *x_key, const char *authorization);
bool auth_is_admin(const struct auth *, struct mintd_str shown);
bool auth_may_be_stored(struct mintd_str shown);           /* does it look like a stored key? */
void auth_hash(const struct auth *, struct mintd_str shown, uint8_t ret[32]);          /* BLAKE2b-256, as the store has it */
void auth_make_key(struct loop *, char ret[AUTH_KEY + 1]);
#endif
