/* The admin key and the hashes of stored ones: see auth.h. Calls base/, conf/ and libsodium. Loop thread. */
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

/* ---- a secret that is made once and kept: one line in a file of the state folder */

static int make_kept(struct loop *loop, const char *path, const char *what, char ret[AUTH_TEXT], struct buf *err)
{
    uint8_t raw[KEY_BYTES];
    loop_random(loop, raw, sizeof raw);
    sodium_bin2base64(ret, AUTH_TEXT, raw, sizeof raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(raw, sizeof raw);
    char line[AUTH_TEXT + 1];
    int n = snprintf(line, sizeof line, "%s\n", ret);
    int rc = file_write(path, (struct mintd_str){ line, (size_t)n }, 0600);
    sodium_memzero(line, sizeof line);
    if (rc) buf_printf(err, "%s: cannot write the %s: %s", path, what, strerror(-rc));
    return rc;
}

static int read_kept(const char *path, const char *what, char ret[AUTH_TEXT], struct buf *err)
{
    const char *why = NULL;
    struct buf text = { 0 };
    int rc = file_trusted(path, 077, &why);
    if (rc) {
        buf_printf(err, "%s: the %s is refused: %s", path, what, why ? why : strerror(-rc));
        return rc;
    }
    rc = file_read(path, AUTH_TEXT, &text);
    while (!rc && text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r')) text.n--;
    if (rc) buf_printf(err, "%s: cannot read the %s: %s", path, what, strerror(-rc));
    else if (text.n < 32 || text.n >= AUTH_TEXT || memchr(text.p, '\n', text.n)) {
        buf_printf(err, "%s: is not the %s: one line of 32 to 63 characters is needed; delete it to have a new one made", path, what);
        rc = -EINVAL;
    } else {
        memcpy(ret, text.p, text.n);
        ret[text.n] = 0;
    }
    if (text.p) sodium_memzero(text.p, text.n);
    buf_free(&text);
    return rc;
}

static int kept(struct loop *loop, const struct conf *conf, const char *name, const char *what, char ret[AUTH_TEXT], char **ret_path,
                struct buf *err)
{
    if (asprintf(ret_path, STR_FMT "/%s", STR_ARG(conf->state_dir), name) < 0) {
        *ret_path = NULL;
        buf_puts(err, "no memory");
        return -ENOMEM;
    }
    const char *why = NULL;
    int rc = file_trusted(*ret_path, 0, &why);
    return rc == -ENOENT ? make_kept(loop, *ret_path, what, ret, err) : read_kept(*ret_path, what, ret, err);
}

static int load_secret(struct auth *a, struct loop *loop, const struct conf *conf, struct buf *err)
{
    char text[AUTH_TEXT] = "", *path = NULL;
    struct mintd_str secret = conf->api.key_secret;
    int rc = 0;
    if (!secret.n) {
        rc = kept(loop, conf, "key.secret", "secret of the stored keys", text, &path, err);
        secret = str_of(text);
    }
    if (!rc) {
        log_secret(secret);
        crypto_generichash(a->key_secret, sizeof a->key_secret, (const unsigned char *)secret.p, secret.n, NULL, 0);
    }
    sodium_memzero(text, sizeof text);
    free(path);
    return rc;
}

int auth_load(struct auth *ret, struct loop *loop, const struct conf *conf, struct buf *err)
{
    struct auth a = { .on = conf->api.auth };
    struct mintd_str key = conf->api.admin_key;
    int rc = 0;
    if (sodium_init() < 0) return buf_puts(err, "libsodium does not start"), -EIO;
    loop_random(loop, a.secret, sizeof a.secret);
    if (a.on && !key.n) {
        rc = kept(loop, conf, "admin.key", "admin key", a.key, &a.file, err);
        key = str_of(a.key);
    }
    if (!rc && a.on) rc = load_secret(&a, loop, conf, err);
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

void auth_hash(const struct auth *a, struct mintd_str shown, uint8_t ret[32])
{
    crypto_generichash(ret, 32, (const unsigned char *)shown.p, shown.n, a->key_secret, sizeof a->key_secret);
}

bool auth_may_be_stored(struct mintd_str shown) { return shown.n == AUTH_KEY && str_starts(shown, S("mk_")); }

void auth_make_key(struct loop *loop, char ret[AUTH_KEY + 1])
{
    uint8_t raw[KEY_BYTES];
    loop_random(loop, raw, sizeof raw);
    memcpy(ret, "mk_", 3);
    sodium_bin2base64(ret + 3, AUTH_KEY - 2, raw, sizeof raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(raw, sizeof raw);
}
