/* signer-file, inside: the instance, its keys and what the files offer each other.
 *
 * Secrets lie in guarded memory alone, out of reach but during an op; a child key and what a hash needs to make it are on the stack
 * for one signature and wiped. Threads: plugin.c on the loop; everything else on worker 0, one op at a time. */
#ifndef SIGNER_FILE_SIGNER_H
#define SIGNER_FILE_SIGNER_H
#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mintd/plugin.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define STR(lit) ((struct mintd_str){ (lit), sizeof(lit) - 1 })
#define ROWS(ptr, count) ((struct mintd_vec){ (ptr), (uint32_t)(count), (uint32_t)sizeof(*(ptr)) })

enum { SEED = crypto_sign_SEEDBYTES, PUB = crypto_sign_PUBLICKEYBYTES, SECRET = crypto_sign_SECRETKEYBYTES, SIG = crypto_sign_BYTES,
       NAME_MAX_LEN = 64, KEYS_MAX = 256, FILE_MAX = 4096 };
enum metric { M_SIGNATURES };

struct known { char name[NAME_MAX_LEN + 1]; uint8_t pub[PUB]; };

struct signer {
    const struct mintd_host *host;
    struct mintd_ctx *ctx;
    char *dir;
    bool generate;
    uint32_t n;
    struct known *keys;
    uint8_t (*secrets)[SECRET];                            /* guarded, [i] of keys[i]; NULL: not started */
};

/* A refusal on its way to the outcome of start. */
struct trouble { uint32_t cls; const char *slug; char msg[768]; };
bool trouble(struct trouble *, uint32_t cls, const char *slug, const char *fmt, ...) __attribute__((format(printf, 4, 5)));   /* false */

/* What one key file is read into; lies in guarded memory as a whole. */
struct material {
    uint8_t seed[SEED], pub[PUB];
    bool has_pub;                                          /* the file carries the public half too */
    size_t n;
    uint8_t file[FILE_MAX], der[FILE_MAX];
};

/* ---- format.c: m->file to m->seed and perhaps m->pub. NULL, or what is wrong and what to do about it */
const char *format_read(struct material *m);

/* ---- keyfile.c */
int  keyfile_dir(struct signer *, struct trouble *);       /* the checked folder, an fd; -1: trouble */
bool keyfile_load(struct signer *, int dir, const char *name, struct material *, struct trouble *);

/* ---- ops.c */
void op_start(void *self, struct mintd_op *, const struct mintd_req *);
void op_drain(void *self, struct mintd_op *, const struct mintd_req *);
void op_public_keys(void *self, struct mintd_op *, const struct mintd_req *);
void op_sign(void *self, struct mintd_op *, const struct mintd_req *);
void signer_forget(struct signer *);                       /* wipes and frees the secrets */
#endif
