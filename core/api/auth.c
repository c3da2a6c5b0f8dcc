/* The admin key: see auth.h. Calls base/, conf/ and libsodium. Loop thread. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include "api/auth.h"
#include "base/file.h"
#include "base/log.h"

enum { KEY_BYTES = 32 };

static void hash_of(const struct auth *a, struct mintd_str key, uint8_t ret[32])
{
    crypto_generichash(ret, 32, (const unsigned char *)key.p, key.n, a->secret, sizeof a->secret);
}

static int make_key(struct auth *a, struct loop *loop, struct buf *err)
{
    uint8_t raw[KEY_BYTES];
    loop_random(loop, raw, sizeof raw);
    sodium_bin2base64(a->key, sizeof a->key, raw, sizeof raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(raw, sizeof raw);
    char line[sizeof a->key + 1];
    int n = snprintf(line, sizeof line, "%s\n", a->key);
    int rc = file_write(a->file, (struct mintd_str){ line, (size_t)n }, 0600);
    sodium_memzero(line, sizeof line);
    if (rc) buf_printf(err, "%s: cannot write the admin key: %s", a->file, strerror(-rc));
    return rc;
}

static int read_key(struct auth *a, struct buf *err)
{
    const char *why = NULL;
    struct buf text = { 0 };
    int rc = file_trusted(a->file, 077, &why);
    if (rc) {
        buf_printf(err, "%s: the admin key is refused: %s", a->file, why ? why : strerror(-rc));
        return rc;
    }
    rc = file_read(a->file, sizeof a->key, &text);
    while (!rc && text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r')) text.n--;
    if (rc) buf_printf(err, "%s: cannot read the admin key: %s", a->file, strerror(-rc));
    else if (text.n < 32 || text.n >= sizeof a->key || memchr(text.p, '\n', text.n)) {
        buf_printf(err, "%s: is not an admin key: one line of 32 to 63 characters is needed; delete it to have a new one made", a->file);
        rc = -EINVAL;
    } else {
        memcpy(a->key, text.p, text.n);
        a->key[text.n] = 0;
    }
    if (text.p) sodium_memzero(text.p, text.n);
    buf_free(&text);
    return rc;
}

static int generated(struct auth *a, struct loop *loop, const struct conf *conf, struct buf *err)
{
    if (asprintf(&a->file, STR_FMT "/admin.key", STR_ARG(conf->state_dir)) < 0) {
        a->file = NULL;
        buf_puts(err, "no memory");
        return -ENOMEM;
    }
    const char *why = NULL;
    int rc = file_trusted(a->file, 0, &why);
    return rc == -ENOENT ? make_key(a, loop, err) : read_key(a, err);
}

int auth_load(struct auth *ret, struct loop *loop, const struct conf *conf, struct buf *err)
{
    struct auth a = { .on = conf->api.auth };
    struct mintd_str key = conf->api.admin_key;
    int rc = 0;
    if (sodium_init() < 0) return buf_puts(err, "libsodium does not start"), -EIO;
    loop_random(loop, a.secret, sizeof a.secret);
    if (a.on && !key.n) {
        rc = generated(&a, loop, conf, err);
        key = str_of(a.key);
    }
    if (rc) {
        auth_free(&a);
        return rc;
    }
    log_secret(key);
    hash_of(&a, key, a.hash);
    auth_free(ret);
    *ret = a;
    return 0;
}

void auth_free(struct auth *a)
{
    free(a->file);
    sodium_memzero(a, sizeof *a);
}

struct mintd_str auth_shown(const char *x_key, const char *authorization)
{
    if (authorization && !strncasecmp(authorization, "bearer ", 7)) return str_of(authorization + 7 + strspn(authorization + 7, " "));
    return str_of(x_key);
}

bool auth_is_admin(const struct auth *a, struct mintd_str shown)
{
    uint8_t hash[32];
    hash_of(a, shown, hash);
    return !sodium_memcmp(hash, a->hash, sizeof hash);
}
