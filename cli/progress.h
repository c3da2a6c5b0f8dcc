/* A line on stderr that says how far something is: rewritten on a terminal, at most ten times a second; else a new one each
 * ten seconds. Owns its samples. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H
#include "cli.h"

enum { PROGRESS_SAMPLES = 64 };
struct progress {
    struct cli *cli;
    const char *label;
    bool bytes;                                /* counts bytes, not tickets */
    int64_t begun, drawn;
    struct { int64_t at; uint64_t done; } sample[PROGRESS_SAMPLES];
    unsigned n, next;
};
void progress_begin(struct progress *, struct cli *, const char *label, bool bytes);
void progress_show(struct progress *, uint64_t done, uint64_t total, uint64_t failed);
void progress_end(struct progress *);          /* wipes the line */
#endif
