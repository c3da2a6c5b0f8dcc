/* start, drain, public_keys, sign, and the child keys. Worker 0, one op at a time.
 *
 * A child of a key: its seed is BLAKE2b-256, keyed with the parent's seed, of "mintd item key v0", the scheme as four bytes (little
 * end first) and the tag. Assets on chains are named after such keys, so this never changes: tests/vectors/signer.json. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "signer.h"

/* ---- answers */
static void refuse(struct signer *s, struct mintd_op *op, uint32_t cls, const char *slug, const char *msg)
{
    s->host->done(op, &(struct mintd_outcome){ .size = sizeof(struct mintd_outcome), .cls = cls, .slug = { slug, strlen(slug) },
        .msg = { msg, strlen(msg) } }, NULL);
}

static void answer(struct signer *s, struct mintd_op *op, struct mintd_vec rows)
{
    s->host->done(op, NULL, &(struct mintd_res){ .size = sizeof(struct mintd_res), .rows = rows });
}

static void no_memory(struct signer *s, struct mintd_op *op) { refuse(s, op, MINTD_TRANSIENT, "signer.memory", "out of memory"); }

static const struct mintd_outcome *why(struct signer *s, struct mintd_op *op, const char *slug, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* NULL: no memory */
static const struct mintd_outcome *why(struct signer *s, struct mintd_op *op, const char *slug, const char *fmt, ...)
{
    struct { struct mintd_outcome out; char msg[200]; } *w = s->host->scratch(op, sizeof *w);
    if (!w) return NULL;
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->msg, sizeof w->msg, fmt, args);
    va_end(args);
    w->out = (struct mintd_outcome){ .size = sizeof w->out, .cls = MINTD_PERMANENT, .slug = { slug, strlen(slug) },
        .msg = { w->msg, strlen(w->msg) } };
    return &w->out;
}

/* ---- the guarded secrets */
void signer_forget(struct signer *s)
{
    if (s->secrets) sodium_mprotect_readwrite(s->secrets);
    sodium_free(s->secrets);
    s->secrets = NULL;
}

static bool reach(struct signer *s, struct mintd_op *op)
{
    if (!s->secrets) refuse(s, op, MINTD_TRANSIENT, "signer.closed", "the keys are not loaded");
    else if (sodium_mprotect_readonly(s->secrets)) no_memory(s, op);
    else return true;
    return false;
}

static void *guarded(struct signer *s, size_t n, size_t size)
{
    void *p = sodium_allocarray(n, size);
    if (p && sodium_mlock(p, n * size))
        s->host->log(s->ctx, NULL, MINTD_WARN, STR("keys could not be locked into memory and may be swapped to disk: raise LimitMEMLOCK"),
                     (struct mintd_vec){ 0 });
    return p;
}

/* ---- start: every key, or none */
static bool load_all(struct signer *s, int dir, uint8_t (*secrets)[SECRET], struct material *m, struct trouble *t)
{
    for (uint32_t i = 0; i < s->n; i++) {
        if (!keyfile_load(s, dir, s->keys[i].name, m, t)) return false;
        crypto_sign_seed_keypair(s->keys[i].pub, secrets[i], m->seed);
    }
    return true;
}

static bool load(struct signer *s, struct trouble *t)
{
    if (sodium_init() < 0) return trouble(t, MINTD_PERMANENT, "signer.memory", "libsodium does not start on this machine");
    int dir = keyfile_dir(s, t);
    if (dir < 0) return false;
    uint8_t (*secrets)[SECRET] = guarded(s, s->n, SECRET);
    struct material *m = sodium_malloc(sizeof *m);
    bool ok = secrets && m ? load_all(s, dir, secrets, m, t) : trouble(t, MINTD_TRANSIENT, "signer.memory",
                                                                       "no memory for the keys");
    if (ok && sodium_mprotect_noaccess(secrets)) ok = trouble(t, MINTD_TRANSIENT, "signer.memory",
                                                              "the memory of the keys cannot be protected");
    sodium_free(m);
    close(dir);
    if (ok) s->secrets = secrets;
    else sodium_free(secrets);
    return ok;
}

void op_start(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct signer *s = self;
    struct trouble t;
    (void)req;
    signer_forget(s);
    if (!load(s, &t)) { refuse(s, op, t.cls, t.slug, t.msg); return; }
    struct mintd_field *facts = s->host->scratch(op, s->n * sizeof *facts);
    char (*hex)[PUB * 2 + 1] = s->host->scratch(op, s->n * sizeof *hex);
    if (!facts || !hex) { signer_forget(s); no_memory(s, op); return; }
    for (uint32_t i = 0; i < s->n; i++) {
        sodium_bin2hex(hex[i], sizeof hex[i], s->keys[i].pub, PUB);
        facts[i] = (struct mintd_field){ { s->keys[i].name, strlen(s->keys[i].name) }, { hex[i], PUB * 2 } };
    }
    answer(s, op, ROWS(facts, s->n));
}

void op_drain(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct signer *s = self;
    (void)req;
    signer_forget(s);
    s->host->done(op, NULL, NULL);
}

/* ---- which key: "payer", or "vault/payer" with the instance before it */
static int find(const struct signer *s, struct mintd_str key)
{
    const char *slash = key.n ? memrchr(key.p, '/', key.n) : NULL;
    if (slash) key = (struct mintd_str){ slash + 1, key.n - (size_t)(slash + 1 - key.p) };
    for (uint32_t i = 0; i < s->n; i++)
        if (strlen(s->keys[i].name) == key.n && !memcmp(s->keys[i].name, key.p, key.n)) return (int)i;
    return -1;
}

static void derive(const uint8_t parent[SECRET], uint32_t scheme, struct mintd_str tag, uint8_t ret[SECRET])
{
    static const char domain[] = "mintd item key v0";
    uint8_t le[4] = { (uint8_t)scheme, (uint8_t)(scheme >> 8), (uint8_t)(scheme >> 16), (uint8_t)(scheme >> 24) }, seed[SEED], pub[PUB];
    crypto_generichash_state h;
    crypto_generichash_init(&h, parent, SEED, SEED);       /* a secret key begins with its seed */
    crypto_generichash_update(&h, (const uint8_t *)domain, sizeof domain - 1);
    crypto_generichash_update(&h, le, sizeof le);
    crypto_generichash_update(&h, (const uint8_t *)tag.p, tag.n);
    crypto_generichash_final(&h, seed, SEED);
    crypto_sign_seed_keypair(pub, ret, seed);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(&h, sizeof h);
}

/* The key an ask names, its child if there is a tag: *ret, to be wiped. NULL, or why not; *ret_ok false: no memory for the reason. */
static const struct mintd_outcome *pick(struct signer *s, struct mintd_op *op, const struct mintd_ask *ask, uint8_t ret[SECRET], bool *ret_ok)
{
    int i = find(s, ask->key);
    const struct mintd_outcome *w;
    if (i < 0) {
        w = why(s, op, "signer.no_key", "there is no key \"%.*s\"", (int)(ask->key.n < 100 ? ask->key.n : 100), ask->key.p ? ask->key.p : "");
    } else if (ask->scheme != MINTD_ED25519) {
        w = why(s, op, "signer.scheme", "the key %s signs Ed25519 (scheme 1), scheme %u was asked for", s->keys[i].name, ask->scheme);
    } else {
        if (ask->tag.n) derive(s->secrets[i], ask->scheme, ask->tag, ret);
        else memcpy(ret, s->secrets[i], SECRET);
        return NULL;
    }
    *ret_ok = w != NULL;
    return w;
}

/* ---- public_keys */
static void all_keys(struct signer *s, struct mintd_op *op)
{
    struct mintd_pub *rows = s->host->scratch(op, s->n * sizeof *rows);
    if (!rows) { no_memory(s, op); return; }
    for (uint32_t i = 0; i < s->n; i++)
        rows[i] = (struct mintd_pub){ .key = { s->keys[i].name, strlen(s->keys[i].name) }, .pub = { (char *)s->keys[i].pub, PUB },
            .scheme = MINTD_ED25519 };
    answer(s, op, ROWS(rows, s->n));
}

struct pub_row { struct mintd_pub row; uint8_t pub[PUB]; };

static bool pub_of(struct signer *s, struct mintd_op *op, const struct mintd_ask *ask, struct pub_row *ret)
{
    uint8_t secret[SECRET] = { 0 };
    bool ok = true;
    ret->row = (struct mintd_pub){ .key = ask->key, .scheme = ask->scheme };
    ret->row.why = pick(s, op, ask, secret, &ok);
    if (!ret->row.why && ok) {
        memcpy(ret->pub, secret + SEED, PUB);
        ret->row.pub = (struct mintd_str){ (char *)ret->pub, PUB };
    }
    sodium_memzero(secret, sizeof secret);
    return ok;
}

void op_public_keys(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct signer *s = self;
    if (!reach(s, op)) return;
    uint32_t n = req->rows.n, i = 0;
    struct pub_row *rows = n ? s->host->scratch(op, n * sizeof *rows) : NULL;
    bool ok = !n || rows, stop = false;
    for (; ok && i < n && !(stop = s->host->canceled(op)); i++) {
        struct mintd_ask ask;
        mintd_row(req->rows, i, &ask, sizeof ask);
        ok = pub_of(s, op, &ask, &rows[i]);
    }
    sodium_mprotect_noaccess(s->secrets);
    if (!ok) no_memory(s, op);
    else if (stop) refuse(s, op, MINTD_CANCELED, "signer.canceled", "stopped");
    else if (!n) all_keys(s, op);
    else answer(s, op, ROWS(rows, n));
}

/* ---- sign */
struct sig_row { struct mintd_sig row; uint8_t pub[PUB], sig[SIG]; };

static bool sign_one(struct signer *s, struct mintd_op *op, const struct mintd_ask *ask, struct sig_row *ret)
{
    uint8_t secret[SECRET] = { 0 };
    bool ok = true;
    ret->row.why = pick(s, op, ask, secret, &ok);
    if (!ret->row.why && ok) {
        crypto_sign_detached(ret->sig, NULL, (const uint8_t *)ask->msg.p, ask->msg.n, secret);
        memcpy(ret->pub, secret + SEED, PUB);
        ret->row.pub = (struct mintd_str){ (char *)ret->pub, PUB };
        ret->row.sig = (struct mintd_str){ (char *)ret->sig, SIG };
    }
    sodium_memzero(secret, sizeof secret);
    return ok;
}

void op_sign(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct signer *s = self;
    if (!reach(s, op)) return;
    uint32_t n = req->rows.n, i = 0;
    struct sig_row *rows = n ? s->host->scratch(op, n * sizeof *rows) : NULL;
    int64_t made = 0;
    bool ok = !n || rows, stop = false;
    for (; ok && i < n && !(stop = s->host->canceled(op)); i++) {
        struct mintd_ask ask;
        mintd_row(req->rows, i, &ask, sizeof ask);
        ok = sign_one(s, op, &ask, &rows[i]);
        made += ok && !rows[i].row.why;
    }
    sodium_mprotect_noaccess(s->secrets);
    s->host->metric(s->ctx, M_SIGNATURES, (struct mintd_str){ NULL, 0 }, made);
    if (!ok) no_memory(s, op);
    else if (stop) refuse(s, op, MINTD_CANCELED, "signer.canceled", "stopped, nothing was signed");
    else answer(s, op, ROWS(rows, n));
}
