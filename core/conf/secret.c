/* Secrets by reference: cred:NAME, file:PATH, env:NAME. The value lies in guarded memory and is registered with the log; a
 * literal is refused and never shown. Owns nothing after return. Calls libsodium and base/ only. Loop thread, blocking. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "conf/conf_int.h"

struct out { char *p; size_t n; };                         /* where the reason of a failure goes */
#define FAIL(err, ...) (snprintf((err)->p, (err)->n, __VA_ARGS__), -EINVAL)

/* Text loses one line end at its end; keys in raw bytes are left as they are. */
static size_t trimmed(const char *p, size_t n)
{
    size_t end = n;
    if (end && p[end - 1] == '\n') end--;
    if (end && end < n && p[end - 1] == '\r') end--;
    for (size_t i = 0; i < end; i++)
        if ((unsigned char)p[i] < ' ' && !strchr("\t\r\n", p[i])) return n;
    return str_utf8((struct mintd_str){ p, end }) ? end : n;
}

static int keep(const char *p, size_t n, struct mintd_str *ret, struct out *err)
{
    char *copy = sodium_init() < 0 ? NULL : sodium_malloc(n);
    if (!copy) return FAIL(err, "no guarded memory: %s", strerror(errno));
    memcpy(copy, p, n);
    *ret = (struct mintd_str){ copy, n };
    log_secret(*ret);
    return 0;
}

static int read_all(int fd, char *to, size_t room, size_t *ret_n)
{
    size_t n = 0;
    while (n < room) {
        ssize_t got = read(fd, to + n, room - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (!got) break;
        n += (size_t)got;
    }
    *ret_n = n;
    return 0;
}

static int read_file(const char *path, struct mintd_str *ret, struct out *err)
{
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return FAIL(err, "%s: %s", path, strerror(errno));
    char *bytes = malloc(CONF_SECRET_MAX + 1);
    int r = bytes ? read_all(fd, bytes, CONF_SECRET_MAX + 1, &n) : -ENOMEM;
    close(fd);
    if (r) r = FAIL(err, "%s: %s", path, strerror(-r));
    else if (n > CONF_SECRET_MAX) r = FAIL(err, "%s: is larger than %d KiB", path, CONF_SECRET_MAX >> 10);
    else if (!(n = trimmed(bytes, n))) r = FAIL(err, "%s: is empty", path);
    else r = keep(bytes, n, ret, err);
    if (bytes) sodium_memzero(bytes, CONF_SECRET_MAX + 1);
    free(bytes);
    return r;
}

static int from_file(const struct tree *t, struct mintd_str name, struct mintd_str *ret, struct out *err)
{
    char path[PATH_MAX];
    const char *why = NULL;
    bool relative = name.n && name.p[0] != '/' && t && t->state_dir.n;
    int n = relative ? snprintf(path, sizeof path, STR_FMT "/" STR_FMT, STR_ARG(t->state_dir), STR_ARG(name))
                     : snprintf(path, sizeof path, STR_FMT, STR_ARG(name));
    if (!name.n) return FAIL(err, "file: needs a path");
    if (n < 0 || (size_t)n >= sizeof path) return FAIL(err, "file: the path is too long");
    struct stat st;
    if (!stat(path, &st) && S_ISREG(st.st_mode) && st.st_mode & 077)
        return FAIL(err, "%s: mode %04o lets others at it, use 0400 or 0600", path, st.st_mode & 07777);
    if (file_trusted(path, 077, &why)) return FAIL(err, "%s: %s", path, why);
    return read_file(path, ret, err);
}

static int from_credential(struct mintd_str name, struct mintd_str *ret, struct out *err)
{
    char path[PATH_MAX];
    const char *why = NULL, *dir = getenv("CREDENTIALS_DIRECTORY");
    if (!name.n || memchr(name.p, '/', name.n) || name.p[0] == '.') return FAIL(err, "cred: needs the name of a credential");
    if (!dir || !*dir) return FAIL(err, "cred:" STR_FMT ": CREDENTIALS_DIRECTORY is not set", STR_ARG(name));
    int n = snprintf(path, sizeof path, "%s/" STR_FMT, dir, STR_ARG(name));
    if (n < 0 || (size_t)n >= sizeof path) return FAIL(err, "cred: the path is too long");
    if (file_trusted(path, 0, &why)) return FAIL(err, "cred:" STR_FMT ": %s", STR_ARG(name), why);
    return read_file(path, ret, err);
}

static int from_environment(struct mintd_str name, struct mintd_str *ret, struct out *err)
{
    char key[256];
    if (!name.n || name.n >= sizeof key || memchr(name.p, '=', name.n)) return FAIL(err, "env: needs the name of a variable");
    snprintf(key, sizeof key, STR_FMT, STR_ARG(name));
    const char *value = getenv(key);
    if (!value) return FAIL(err, "env:%s: the variable is not set", key);
    if (!*value) return FAIL(err, "env:%s: the variable is empty", key);
    return keep(value, strlen(value), ret, err);
}

int secret_resolve(const struct tree *t, struct mintd_str reference, struct mintd_str *ret, char *err, size_t n)
{
    struct out out = { err, n };
    const char *colon = reference.n ? memchr(reference.p, ':', reference.n) : NULL;
    size_t scheme = colon ? (size_t)(colon - reference.p) + 1 : 0;
    struct mintd_str rest = { reference.p + scheme, reference.n - scheme };
    if (str_starts(reference, S("cred:"))) return from_credential(rest, ret, &out);
    if (str_starts(reference, S("file:"))) return from_file(t, rest, ret, &out);
    if (str_starts(reference, S("env:"))) return from_environment(rest, ret, &out);
    return FAIL(&out, "a secret is never written here, refer to it: \"cred:NAME\", \"file:PATH\" or \"env:NAME\"");
}

void secret_free(struct mintd_str value) { sodium_free((void *)(uintptr_t)value.p); }
