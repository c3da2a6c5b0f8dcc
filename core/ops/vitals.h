/* What the process tells about itself beside its work: its build, and how late the loop runs what is due. Loop thread. */
#ifndef OPS_VITALS_H
#define OPS_VITALS_H
#include "base/loop.h"

struct vitals;
struct vitals *vitals_new(struct loop *, const char *version);             /* NULL: no memory; version: for the life of the process */
struct vitals *vitals_free(struct vitals *);                               /* NULL ok; returns NULL */
#endif
