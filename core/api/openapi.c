/* GET /openapi.json: core/api/openapi.json as it lies in the tree, linked into the daemon. Owns nothing. Loop thread. */
#include "api/batch.h"

__asm__(".pushsection .rodata, \"a\"\n"
        "openapi_text:\n"
        ".incbin \"" OPENAPI_FILE "\"\n"
        "openapi_end:\n"
        ".popsection\n");
extern const char openapi_text[] __attribute__((visibility("hidden"))), openapi_end[] __attribute__((visibility("hidden")));

static const char tag[] = "\"" OPENAPI_TAG "\"";

/* If-None-Match: a list of tags, or any. The text has one form, so that a weak tag is as good as a strong one. */
static bool is_known(const struct call *c)
{
    const char *have = http_header(c->http, "if-none-match", NULL);
    return have && (!strcmp(have, "*") || strstr(have, tag));
}

void openapi_get(struct call *c)
{
    static const struct http_header headers[] = { { "ETag", tag }, { NULL, NULL } };
    struct buf b = { 0 };
    bool known = is_known(c);
    if (!known) buf_add(&b, openapi_text, (size_t)(openapi_end - openapi_text));
    if (b.bad) {
        buf_free(&b);
        call_memory(c);
    } else call_json(c, known ? 304 : 200, &b, headers);
}
