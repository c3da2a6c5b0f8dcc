/* The scratch folder of a test program. Owns it until tmp_clean. One thread. */
#include "tmp.h"

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[PATH_MAX + 32];

static char *make_under(const char *base)
{
    snprintf(dir, sizeof dir, "%s/tmp-XXXXXX", base);
    return mkdtemp(dir);
}

const char *tmp_dir(void)
{
    char here[PATH_MAX];
    if (dir[0]) return dir;
    if (getcwd(here, sizeof here) && make_under(here)) return dir;
    if (make_under("/tmp")) return dir;
    perror("no folder for temporary files");
    abort();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st; (void)type; (void)at;
    return remove(path);
}

void tmp_clean(void)
{
    if (dir[0]) nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    dir[0] = '\0';
}
