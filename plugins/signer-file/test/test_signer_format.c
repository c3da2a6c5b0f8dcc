/* The readers of key files, fed with every damage that one byte can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "../format.c"

/* RFC 8410, 10.3: without and with the public half and an attribute */
#define PEM_V1 "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"
#define PEM_V2 "-----BEGIN PRIVATE KEY-----\nMHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" \
    "oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\nZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PRIVATE KEY-----\n"
#define SEED_HEX "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842"
#define PUB_HEX "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"

static struct material *m;
static uint8_t seed[SEED], pub[PUB];
static char json[512];

static const char *read_it(const void *p, size_t n)
{
    memset(m, 0, sizeof *m);
    memcpy(m->file, p, n);
    m->n = n;
    return format_read(m);
}

static void test_forms(void **state)
{
    (void)state;
    const struct { const char *text; bool has_pub; } forms[] = { { SEED_HEX, false }, { SEED_HEX "\n", false }, { SEED_HEX " \r\n", false },
        { PEM_V1, false }, { PEM_V2, true }, { json, true },
        { "D4EE72DBF913584AD5B6D8F1F769F8AD3AFE7C28CBF1D4FBE097A88F44755842", false } };
    for (size_t i = 0; i < LEN(forms); i++) {
        assert_null(read_it(forms[i].text, strlen(forms[i].text)));
        assert_memory_equal(m->seed, seed, SEED);
        assert_int_equal(m->has_pub, forms[i].has_pub);
        if (m->has_pub) assert_memory_equal(m->pub, pub, PUB);
    }
    assert_null(read_it(seed, SEED));
    assert_memory_equal(m->seed, seed, SEED);
}

static void test_line_ends(void **state)
{
    (void)state;
    char text[512] = "";
    for (const char *p = PEM_V1; *p; p++) strcat(text, *p == '\n' ? "\r\n" : (char[]){ *p, 0 });
    assert_null(read_it(text, strlen(text)));
    assert_memory_equal(m->seed, seed, SEED);
}

/* A form that carries the public half: whatever is read with its halves fitting is the key that was written. */
static void every_damage(const char *text)
{
    size_t n = strlen(text), read = 0;
    char copy[1024];
    for (size_t at = 0; at < n; at++) {
        for (unsigned c = 0; c < 256; c++) {
            uint8_t got[PUB], secret[SECRET];
            memcpy(copy, text, n);
            copy[at] = (char)c;
            if (read_it(copy, n)) continue;
            crypto_sign_seed_keypair(got, secret, m->seed);
            assert_true(m->has_pub);
            if (memcmp(got, m->pub, PUB)) continue;
            assert_memory_equal(m->seed, seed, SEED);
            read++;
        }
    }
    assert_true(read >= n);                                /* the unchanged text among them */
}

static void test_damage(void **state)
{
    (void)state;
    every_damage(json);
    every_damage(PEM_V2);
}

static void test_cut(void **state)
{
    (void)state;
    const char *forms[] = { PEM_V1, PEM_V2, json };
    for (size_t i = 0; i < LEN(forms); i++)
        for (size_t n = 0; n + 1 < strlen(forms[i]); n++) assert_non_null(read_it(forms[i], n));
}

static uint32_t chance(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    return *x ^= *x << 5;
}

static void test_noise(void **state)
{
    (void)state;
    const char *forms[] = { PEM_V1, PEM_V2, json, SEED_HEX };
    uint32_t x = 7;
    char copy[FILE_MAX];
    for (int i = 0; i < 20000; i++) {
        const char *form = forms[chance(&x) % LEN(forms)];
        size_t n = strlen(form);
        memcpy(copy, form, n);
        for (unsigned k = chance(&x) % 5; k; k--) copy[chance(&x) % n] = (char)chance(&x);
        if (chance(&x) % 4 == 0) n = chance(&x) % sizeof copy;
        read_it(copy, n);
    }
}

static int set_up(void **state)
{
    (void)state;
    if (sodium_init() < 0) return -1;
    m = sodium_malloc(sizeof *m);
    if (!m) return -1;
    sodium_hex2bin(seed, SEED, SEED_HEX, SEED * 2, NULL, NULL, NULL);
    sodium_hex2bin(pub, PUB, PUB_HEX, PUB * 2, NULL, NULL, NULL);
    size_t n = 0;
    for (unsigned i = 0; i < SEED + PUB; i++)
        n += (size_t)snprintf(json + n, sizeof json - n, "%c%u", i ? ',' : '[', i < SEED ? seed[i] : pub[i - SEED]);
    snprintf(json + n, sizeof json - n, "]");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sodium_free(m);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms), cmocka_unit_test(test_line_ends), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_cut), cmocka_unit_test(test_noise) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
