/* A file of tickets: read twice (once to know it, once to send it), never held in memory. Standard input that cannot be read
 * again is copied to an unnamed temporary file first. */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H
#include <openssl/evp.h>
#include "cli.h"

enum source_format { SOURCE_NONE, SOURCE_JSON, SOURCE_ARRAY, SOURCE_NDJSON, SOURCE_CSV };
struct source {
    const char *name;
    int fd;
    uint64_t size, at;                         /* bytes; at: the next to be sent */
    bool gzip;
    enum source_format format;
    uint64_t tickets;                          /* as counted; the daemon has the last word */
    char venue[129], pipeline[129], collection[129];   /* of a JSON document that names them at its top, else "" */
    unsigned char digest[32];                  /* SHA-256 of the bytes as they lie there */
    EVP_MD_CTX *again;                         /* of the bytes as they are sent */
    bool changed;                              /* they differ: the file was written to meanwhile */
};

int  source_open(struct cli *, const char *path, const char *format, struct source *ret);    /* 0 or an exit code, told */
ssize_t source_read(struct source *, void *p, size_t n);   /* 0: end; negative: -errno, -EAGAIN: it changed */
int  source_rewind(struct source *);
void source_close(struct source *);
const char *source_media(const struct source *);
const char *source_format_name(enum source_format);
#endif
