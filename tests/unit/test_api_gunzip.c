/* gzip in pieces: any cut unpacks the same, what is damaged or cut short is said, a bomb needs no memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "api/gunzip.h"
#include "base/str.h"

static void pack(struct buf *to, const char *p, size_t n)
{
    z_stream z = { 0 };
    static char room[1 << 20];
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)room;
    z.avail_out = sizeof room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    buf_add(to, room, sizeof room - z.avail_out);
    deflateEnd(&z);
}

/* Feeds in pieces of `piece` bytes through a room of `room`; 0 and the text, or the error. */
static int unpack(const char *p, size_t n, size_t piece, size_t room, struct buf *ret, bool *ret_whole)
{
    struct gunzip *g = gunzip_new();
    char out[512];
    int r = 0;
    assert_non_null(g);
    for (size_t at = 0; !r && at < n;) {
        size_t here = n - at < piece ? n - at : piece, used = 0, got = 0;
        char *copy = malloc(here);                         /* ends where the bytes end */
        memcpy(copy, p + at, here);
        size_t done = 0;
        do {
            r = gunzip_feed(g, copy + done, here - done, out, room, &used, &got);
            buf_add(ret, out, got);
            done += used;
        } while (!r && (used || got));
        if (!r) assert_int_equal(done, here);
        free(copy);
        at += here;
    }
    *ret_whole = gunzip_whole(g);
    gunzip_free(g);
    return r;
}

static const char text[] = "id,tier\nticket-1,VIP\nticket-2,VIP\nticket-3,Standing\n";

static void test_any_cut(void **state)
{
    (void)state;
    struct buf packed = { 0 };
    pack(&packed, text, sizeof text - 1);
    pack(&packed, text, sizeof text - 1);                  /* two members make one text */
    for (size_t piece = 1; piece <= packed.n; piece++) {
        for (size_t room = 1; room <= 512; room = room * 7 + 1) {
            struct buf out = { 0 };
            bool whole = false;
            assert_int_equal(unpack(packed.p, packed.n, piece, room, &out, &whole), 0);
            assert_true(whole);
            assert_int_equal(out.n, 2 * (sizeof text - 1));
            assert_memory_equal(out.p, text, sizeof text - 1);
            assert_memory_equal(out.p + sizeof text - 1, text, sizeof text - 1);
            buf_free(&out);
        }
    }
    buf_free(&packed);
}

static void test_cut_short(void **state)
{
    (void)state;
    struct buf packed = { 0 };
    pack(&packed, text, sizeof text - 1);
    for (size_t n = 0; n < packed.n; n++) {
        struct buf out = { 0 };
        bool whole = true;
        assert_int_equal(unpack(packed.p, n, 5, 512, &out, &whole), 0);
        assert_false(whole);
        buf_free(&out);
    }
    buf_free(&packed);
}

/* One bit changed: an error, or not whole; never the text as if nothing had happened. */
static void test_damaged(void **state)
{
    (void)state;
    struct buf packed = { 0 };
    pack(&packed, text, sizeof text - 1);
    for (size_t at = 0; at < packed.n; at++) {
        if (at >= 4 && at < 10) continue;                  /* time, hints and system of the header say nothing about the text */
        struct buf out = { 0 };
        bool whole = true;
        packed.p[at] ^= 0x10;
        int r = unpack(packed.p, packed.n, packed.n, 512, &out, &whole);
        if (!r && whole) fail_msg("byte %zu changed and nobody saw it", at);
        packed.p[at] ^= 0x10;
        buf_free(&out);
    }
    struct buf out = { 0 };
    bool whole = true;
    assert_int_equal(unpack(text, sizeof text - 1, 3, 512, &out, &whole), -EBADMSG);       /* no gzip at all */
    buf_add(&packed, "more", 4);
    assert_int_equal(unpack(packed.p, packed.n, 7, 512, &out, &whole), -EBADMSG);          /* something else behind it */
    buf_free(&out);
    buf_free(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_any_cut), cmocka_unit_test(test_cut_short), cmocka_unit_test(test_damaged) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
