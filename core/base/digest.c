/* SHA-256 by OpenSSL. Owns nothing. Any thread. */
#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>

static bool add(EVP_MD_CTX *md, const struct mintd_str *part, bool lengths)
{
    uint8_t len[8];
    for (int k = 0; k < 8; k++) len[k] = (uint8_t)((uint64_t)part->n >> (8 * k));
    return (!lengths || EVP_DigestUpdate(md, len, sizeof len)) && (!part->n || EVP_DigestUpdate(md, part->p, part->n));
}

int digest_parts(const struct mintd_str *parts, size_t n, bool lengths, uint8_t ret[DIGEST_LEN])
{
    uint8_t out[DIGEST_LEN];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    for (size_t i = 0; ok && i < n; i++) ok = add(md, &parts[i], lengths);
    ok = ok && EVP_DigestFinal_ex(md, out, NULL);
    EVP_MD_CTX_free(md);
    if (!ok) return -ENOMEM;
    memcpy(ret, out, sizeof out);
    return 0;
}
