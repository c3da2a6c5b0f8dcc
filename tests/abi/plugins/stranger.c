/* A shared object that is no plugin. One form runs code at load, which a refused file must never get to do. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int stranger_answer(void);
int stranger_answer(void) { return 42; }

#ifdef STRANGER_CONSTRUCTOR
__attribute__((constructor)) static void at_load(void)
{
    const char *mark = getenv("STRANGER_MARK");
    int fd = mark ? open(mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) close(fd);
}
#endif
