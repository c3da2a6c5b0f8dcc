/* SipHash-2-4: a keyed hash, so that nobody can choose keys that all land in one bucket. Pure. */
#include "cache.h"

static uint64_t rotl(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

static void rounds(uint64_t v[4], int n)
{
    while (n--) {
        v[0] += v[1];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[0] = rotl(v[0], 32);
        v[2] += v[3];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[2] = rotl(v[2], 32);
    }
}

static void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
}

uint64_t sip_hash(const uint8_t key[16], const void *p, size_t n)
{
    const uint8_t *at = p;
    uint64_t k[2], word, last = (uint64_t)n << 56;
    memcpy(k, key, sizeof k);
    uint64_t v[4] = { k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d, k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573 };
    size_t left = n;
    for (; left >= sizeof word; left -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        absorb(v, word);
    }
    for (size_t i = 0; i < left; i++) last |= (uint64_t)at[i] << 8 * i;
    absorb(v, last);
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
