/* The event stream of a slot: dense numbers and a hash chain whose head lies in the lease row. Calls db.c and libcrypto. Worker 0.
 *
 * hash = SHA-256(previous hash | slot seq at venue subject_kind subject, each 8 bytes big-endian | length of kind, 8 bytes | kind |
 * length of body, 8 bytes | body); the hash before the first event is 32 zero bytes. */
#include <openssl/evp.h>

#include "store.h"

int chain_load(struct call *c, uint32_t slot)
{
    struct q q = q_open(c->db, SQL_LEASE_HEAD);
    q_int(&q, slot);
    int r = q_row(&q);
    if (r < 0) return r;
    struct chain chain = { .slot = slot };
    if (r) {
        struct mintd_str head = q_bytes(&q, 2);
        chain.seq = q_i64(&q, 1);
        if (head.n == HASH_LEN) memcpy(chain.head, head.p, HASH_LEN);
        q_end(&q);
    }
    c->chain = chain;
    return 0;
}

int chain_save(struct call *c)
{
    if (!c->chain.dirty) return 0;
    struct q q = q_open(c->db, SQL_LEASE_CHAIN);
    q_int(&q, c->chain.slot);
    q_int(&q, c->chain.seq);
    q_blob(&q, (struct mintd_str){ (const char *)c->chain.head, HASH_LEN });
    c->chain.dirty = false;
    return q_run(&q);
}

static void put_u64(EVP_MD_CTX *md, uint64_t v)
{
    uint8_t b[8];
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)(v >> (56 - 8 * i));
    EVP_DigestUpdate(md, b, sizeof b);
}

static void put_str(EVP_MD_CTX *md, struct mintd_str s)
{
    put_u64(md, s.n);
    if (s.n) EVP_DigestUpdate(md, s.p, s.n);
}

static int chain_hash(struct chain *chain, const struct mintd_db_event *e)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)) { EVP_MD_CTX_free(md); return -ENOMEM; }
    EVP_DigestUpdate(md, chain->head, HASH_LEN);
    put_u64(md, chain->slot);
    put_u64(md, (uint64_t)chain->seq);
    put_u64(md, (uint64_t)e->at);
    put_u64(md, e->venue);
    put_u64(md, e->subject_kind);
    put_u64(md, e->subject);
    put_str(md, e->kind);
    put_str(md, e->body);
    int ok = EVP_DigestFinal_ex(md, chain->head, NULL);
    EVP_MD_CTX_free(md);
    return ok ? 0 : -ENOMEM;
}

int event_add(struct call *c, const struct mintd_db_event *from)
{
    struct mintd_db_event e = *from;
    if (!e.at) e.at = c->now;
    c->chain.seq++;
    c->chain.dirty = true;
    int r = chain_hash(&c->chain, &e);
    if (r) return r;
    struct q q = q_open(c->db, SQL_EVENT_ADD);
    q_int(&q, c->chain.slot);
    q_int(&q, c->chain.seq);
    q_int(&q, e.at);
    q_int(&q, (int64_t)e.venue);
    q_int(&q, e.subject_kind);
    q_int(&q, (int64_t)e.subject);
    q_text(&q, e.kind);
    q_str(&q, e.body);
    q_blob(&q, (struct mintd_str){ (const char *)c->chain.head, HASH_LEN });
    return q_run(&q);
}
