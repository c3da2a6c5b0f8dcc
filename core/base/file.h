/* Small file helpers. Blocking: start-up, tests and workers only. */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include <stddef.h>
#include "base/str.h"
int file_read(const char *path, size_t max, struct buf *ret);            /* whole file; -EFBIG beyond max, -errno */
int file_write(const char *path, struct mintd_str data, unsigned mode);  /* temp, fsync, rename, fsync of the folder; 0, -errno */
int file_mkdirs(const char *path, unsigned mode);                        /* like mkdir -p; 0, -errno */
/* Who may have written this: regular file, owner root or us, not writable by group or others. 0, -errno; *ret_why: static text */
int file_trusted(const char *path, unsigned forbidden_mode, const char **ret_why);
/* Who may reach into this folder: owner root or us, others may neither write nor enter; its group may. 0, -errno; *ret_why: static text */
int file_guarded(const char *folder, const char **ret_why);
#endif
