/* The forms a key may come in: a raw seed, hex, the JSON array of Solana's tools, PEM with PKCS#8 (RFC 8410). Pure; every byte of the
 * file must be accounted for, so that a damaged file is never read as another key. */
#include "signer.h"

struct reader { const uint8_t *p; size_t n; };

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool is_hex(uint8_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static bool all(const uint8_t *p, size_t n, bool (*is)(uint8_t))
{
    for (size_t i = 0; i < n; i++) if (!is(p[i])) return false;
    return true;
}

static bool is_text(uint8_t c) { return is_blank(c) || (c >= 0x20 && c < 0x7f); }

/* ---- raw and hex */
static const char *read_raw(struct material *m)
{
    if (all(m->file, SEED, is_hex)) return "has 32 hex digits: a seed needs 64 of them, or 32 raw bytes";
    if (all(m->file, SEED, is_text)) return "has 32 characters of text: a raw seed is 32 random bytes";
    memcpy(m->seed, m->file, SEED);
    return NULL;
}

static const char *read_hex(struct material *m, size_t n)
{
    if (n == SEED * 4) return "has 128 hex digits: keep the first 64, they are the seed";
    if (n != SEED * 2) return "does not have 64 hex digits: a seed is 32 bytes";
    sodium_hex2bin(m->seed, SEED, (const char *)m->file, n, NULL, NULL, NULL);
    return NULL;
}

/* ---- [1,2,...]: 64 numbers, the seed and its public key */
static void skip_blanks(struct reader *r) { while (r->n && is_blank(*r->p)) r->p++, r->n--; }

static bool take(struct reader *r, uint8_t c)
{
    skip_blanks(r);
    if (!r->n || *r->p != c) return false;
    r->p++, r->n--;
    return true;
}

static bool take_byte(struct reader *r, uint8_t *ret)
{
    skip_blanks(r);
    unsigned v = 0, digits = 0;
    bool zero = r->n && *r->p == '0';
    for (; r->n && *r->p >= '0' && *r->p <= '9' && digits < 4; r->p++, r->n--, digits++) v = v * 10 + (*r->p - (unsigned)'0');
    *ret = (uint8_t)v;
    return digits && v <= 255 && digits <= (zero ? 1 : 3);
}

static const char *read_json(struct material *m, size_t n)
{
    struct reader r = { m->file, n };
    take(&r, '[');
    for (size_t i = 0; i < SEED + PUB; i++) {
        uint8_t *to = i < SEED ? &m->seed[i] : &m->pub[i - SEED];
        if (i && !take(&r, ',')) return take(&r, ']') ? "is a JSON array with fewer than 64 numbers" : "is not a JSON array of numbers";
        if (!take_byte(&r, to)) return "is a JSON array with something else than numbers from 0 to 255";
    }
    if (take(&r, ',')) return "is a JSON array with more than 64 numbers";
    if (!take(&r, ']')) return "is a JSON array that does not end";
    m->has_pub = true;
    return r.n ? "has something behind the JSON array" : NULL;
}

/* ---- DER, RFC 5958 and RFC 8410: the shortest length form and nothing left over */
static bool der(struct reader *r, uint8_t tag, struct reader *ret)
{
    if (r->n < 2 || r->p[0] != tag) return false;
    size_t head = 2, n = r->p[1];
    if (n == 0x81 && r->n > 2) {
        head = 3;
        n = r->p[2];
        if (n < 0x80) return false;
    } else if (n == 0x82 && r->n > 3) {
        head = 4;
        n = (size_t)r->p[2] << 8 | r->p[3];
        if (n < 0x100) return false;
    } else if (n >= 0x80) {
        return false;
    }
    if (n > r->n - head) return false;
    *ret = (struct reader){ r->p + head, n };
    r->p += head + n;
    r->n -= head + n;
    return true;
}

static const char *other_algorithm(struct reader oid)
{
    static const struct { uint8_t n; const char *oid, *what; } known[] = {
        { 9, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "is an RSA key: an Ed25519 key is needed" },
        { 7, "\x2a\x86\x48\xce\x3d\x02\x01", "is an elliptic curve key (ECDSA): an Ed25519 key is needed" },
        { 3, "\x2b\x65\x6e", "is an X25519 key, which cannot sign: an Ed25519 key is needed" },
        { 3, "\x2b\x65\x71", "is an Ed448 key: an Ed25519 key is needed" },
    };
    for (size_t i = 0; i < LEN(known); i++)
        if (oid.n == known[i].n && !memcmp(oid.p, known[i].oid, oid.n)) return known[i].what;
    return "is a key of an unknown algorithm: an Ed25519 key is needed";
}

static const char *read_tail(struct material *m, struct reader *r, uint8_t version)
{
    struct reader skipped, bits;
    der(r, 0xa0, &skipped);                                /* attributes */
    m->has_pub = r->n && der(r, 0x81, &bits);
    if (r->n) return "has something unknown behind the private key";
    if (m->has_pub != (version == 1)) return "is PKCS#8 whose version does not fit its content";
    if (!m->has_pub) return NULL;
    if (bits.n != PUB + 1 || bits.p[0]) return "is PKCS#8 with a public key that is not 32 bytes long";
    memcpy(m->pub, bits.p + 1, PUB);
    return NULL;
}

static const char *read_der(struct material *m, size_t n)
{
    static const uint8_t ed25519[] = { 0x2b, 0x65, 0x70 };
    static const char *broken = "is not valid PKCS#8: the file is damaged or cut";
    struct reader file = { m->der, n }, r, version, algorithm, oid, outer, seed;
    if (!der(&file, 0x30, &r) || file.n) return broken;
    if (!der(&r, 0x02, &version) || version.n != 1 || version.p[0] > 1) return "is not PKCS#8 of version 1 or 2";
    if (!der(&r, 0x30, &algorithm) || !der(&algorithm, 0x06, &oid)) return broken;
    if (oid.n != sizeof ed25519 || memcmp(oid.p, ed25519, oid.n)) return other_algorithm(oid);
    if (algorithm.n) return "is PKCS#8 with parameters, which Ed25519 does not have";
    if (!der(&r, 0x04, &outer) || !der(&outer, 0x04, &seed) || outer.n) return broken;
    if (seed.n != SEED) return "is PKCS#8 with a private key that is not 32 bytes long";
    memcpy(m->seed, seed.p, SEED);
    return read_tail(m, &r, version.p[0]);
}

/* ---- PEM: one block, nothing before and nothing after it */
#define BEGIN "-----BEGIN "
#define OURS_BEGIN "-----BEGIN PRIVATE KEY-----"
#define OURS_END "-----END PRIVATE KEY-----"

static bool starts(const struct material *m, size_t n, const char *with)
{
    size_t k = strlen(with);
    return n >= k && !memcmp(m->file, with, k);
}

static const char *other_label(const struct material *m, size_t n)
{
    static const struct { const char *label, *what; } known[] = {
        { BEGIN "ENCRYPTED PRIVATE KEY", "is encrypted: decrypt it with `openssl pkcs8`, its place is protected by the file's mode" },
        { BEGIN "OPENSSH PRIVATE KEY", "is in OpenSSH's own format: PKCS#8 is needed (`openssl genpkey -algorithm ed25519`)" },
        { BEGIN "PUBLIC KEY", "is a public key: the private one is needed" },
        { BEGIN "RSA PRIVATE KEY", "is an RSA key: an Ed25519 key is needed" },
        { BEGIN "EC PRIVATE KEY", "is an elliptic curve key (ECDSA): an Ed25519 key is needed" },
        { BEGIN "CERTIFICATE", "is a certificate: a private key is needed" },
    };
    for (size_t i = 0; i < LEN(known); i++)
        if (starts(m, n, known[i].label)) return known[i].what;
    return "is PEM, but not of a PRIVATE KEY";
}

static const char *read_pem(struct material *m, size_t n)
{
    if (!starts(m, n, OURS_BEGIN)) return other_label(m, n);
    const char *p = (const char *)m->file + sizeof OURS_BEGIN - 1;
    const char *end = memmem(p, n - (sizeof OURS_BEGIN - 1), "-----", 5);
    if (!end) return "is PEM without its END line: the file is cut";
    size_t rest = n - (size_t)(end - (const char *)m->file), len = 0;
    if (rest < sizeof OURS_END - 1 || memcmp(end, OURS_END, sizeof OURS_END - 1)) return "is PEM with a wrong END line";
    if (rest != sizeof OURS_END - 1) return "has something behind its END line: one key per file";
    if (sodium_base642bin(m->der, sizeof m->der, p, (size_t)(end - p), "\r\n", &len, NULL, sodium_base64_VARIANT_ORIGINAL))
        return "is PEM with broken base64";
    return read_der(m, len);
}

/* ---- which one it is */
static const char *read_any(struct material *m)
{
    size_t n = m->n;
    if (!n) return "is empty";
    if (n == SEED) return read_raw(m);
    while (n && is_blank(m->file[n - 1])) n--;
    if (!n) return "holds nothing but blanks";
    if (m->file[0] == '[') return read_json(m, n);
    if (starts(m, n, BEGIN)) return read_pem(m, n);
    if (starts(m, n, "\xef\xbb\xbf")) return "begins with a byte order mark: save it without one";
    if (starts(m, n, "0x")) return "begins with 0x: leave that away";
    if (all(m->file, n, is_hex)) return read_hex(m, n);
    if (m->n == SEED + PUB) return "has 64 raw bytes: keep the first 32, they are the seed";
    return "is in no known form: 32 raw bytes, 64 hex digits, a JSON array of 64 numbers or PEM are";
}

static bool all_equal(const uint8_t *p, size_t n)
{
    for (size_t i = 1; i < n; i++) if (p[i] != p[0]) return false;
    return true;
}

const char *format_read(struct material *m)
{
    m->has_pub = false;
    const char *why = read_any(m);
    if (!why && all_equal(m->seed, SEED)) return "holds one byte 32 times, which is no secret";
    return why;
}
