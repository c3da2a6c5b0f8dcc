/* CIDs of SHA-256 blocks, codecs raw and dag-pb: bytes, text, varints. Pure. */
#include <openssl/evp.h>

#include "ipfs.h"

enum { SHA2_256 = 0x12 };

bool cid_of(uint8_t version, uint8_t codec, const void *block, size_t n, struct cid *ret)
{
    *ret = (struct cid){ .version = version, .codec = codec };
    return EVP_Digest(block, n, ret->digest, NULL, EVP_sha256(), NULL) == 1;
}

bool cid_eq(const struct cid *a, const struct cid *b)
{
    return a->version == b->version && a->codec == b->codec && !memcmp(a->digest, b->digest, DIGEST);
}

/* ---- varints */
size_t varint_put(uint8_t *to, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) to[n++] = (uint8_t)(v | 0x80);
    to[n++] = (uint8_t)v;
    return n;
}

size_t varint_len(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7) n++;
    return n;
}

int varint_get(const uint8_t **p, size_t *n, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < *n && i < VARINT_MAX; i++) {
        uint8_t b = (*p)[i];
        v |= (uint64_t)(b & 0x7f) << 7 * i;
        if (b & 0x80) continue;
        if (i && !b) return -EBADMSG;
        *p += i + 1;
        *n -= i + 1;
        *ret = v;
        return 0;
    }
    return -EBADMSG;
}

/* ---- bytes */
size_t cid_encode(const struct cid *c, uint8_t ret[CID_BYTES])
{
    size_t n = 0;
    if (c->version) {
        ret[n++] = 1;
        ret[n++] = c->codec;
    }
    ret[n++] = SHA2_256;
    ret[n++] = DIGEST;
    memcpy(ret + n, c->digest, DIGEST);
    return n + DIGEST;
}

int cid_decode(const uint8_t *p, size_t n, struct cid *ret)
{
    struct cid c = { .version = 0, .codec = DAG_PB };
    if (n == CID_BYTES && p[0] == 1 && (p[1] == RAW || p[1] == DAG_PB)) {
        c.version = 1;
        c.codec = p[1];
        p += 2;
        n -= 2;
    }
    if (n != 2 + DIGEST || p[0] != SHA2_256 || p[1] != DIGEST) return -EINVAL;
    memcpy(c.digest, p + 2, DIGEST);
    *ret = c;
    return 0;
}

/* ---- text */
size_t cid_print(const struct cid *c, char ret[CID_TEXT])
{
    uint8_t bytes[CID_BYTES];
    size_t n = cid_encode(c, bytes), out;
    if (c->version) {
        ret[0] = 'b';
        out = 1 + base32_encode(bytes, n, base32_lower, ret + 1);
    } else {
        out = radix_encode(bytes, n, base58_alphabet, ret);
    }
    ret[out] = '\0';
    return out;
}

int cid_parse(struct mintd_str s, struct cid *ret)
{
    uint8_t bytes[CID_BYTES];
    if (s.n < 2) return -EINVAL;
    struct mintd_str rest = { s.p + 1, s.n - 1 };
    int n = -EINVAL;
    bool old = s.n == 46 && s.p[0] == 'Q' && s.p[1] == 'm';
    if (old) n = radix_decode(s, base58_alphabet, bytes, sizeof bytes);
    else if (s.p[0] == 'b') n = base32_decode(rest, bytes, sizeof bytes);
    else if (s.p[0] == 'z') n = radix_decode(rest, base58_alphabet, bytes, sizeof bytes);
    else if (s.p[0] == 'k') n = radix_decode(rest, base36_alphabet, bytes, sizeof bytes);
    else if (s.p[0] == 'f') n = base16_decode(rest, bytes, sizeof bytes);
    struct cid c;
    if (n < 0 || cid_decode(bytes, (size_t)n, &c) || !c.version != old) return -EINVAL;    /* version 0 has no other text */
    *ret = c;
    return 0;
}
