/* Sealed cursors: see cursor.h. Calls call.h and libsodium. Loop thread. */
#include <errno.h>
#include <sodium.h>
#include "api/cursor.h"

enum { TAG = 10, TEXT_MAX = 1024, RAW_MAX = 768, VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

static void add(crypto_generichash_state *h, struct mintd_str s)
{
    uint64_t n = s.n;
    crypto_generichash_update(h, (const unsigned char *)&n, sizeof n);
    if (s.n) crypto_generichash_update(h, (const unsigned char *)s.p, s.n);
}

/* Every parameter of the route but the place itself. */
static void add_filters(crypto_generichash_state *h, struct call *c)
{
    char name[32];
    for (const char *p = c->route->query; p && *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        p += n;
        if (!strcmp(name, "cursor") || !strcmp(name, "limit")) continue;
        const char *value = http_query(c->http, name);
        add(h, str_of(name));
        add(h, str_of(value ? value : ""));
    }
}

static void tag_of(struct call *c, struct mintd_str of, struct mintd_str cursor, unsigned char ret[TAG])
{
    unsigned char key[crypto_generichash_KEYBYTES], full[crypto_generichash_BYTES];
    struct mintd_str identity = pipe_identity(c->api->pipe);
    crypto_generichash_state h;
    crypto_generichash(key, sizeof key, (const unsigned char *)identity.p, identity.n, (const unsigned char *)"mintd list cursor", 17);
    crypto_generichash_init(&h, key, sizeof key, sizeof full);
    add(&h, of);
    for (size_t i = 0; i < CALL_PARAMS; i++) add(&h, c->param[i]);
    add_filters(&h, c);
    add(&h, cursor);
    crypto_generichash_final(&h, full, sizeof full);
    memcpy(ret, full, TAG);
}

int cursor_open(struct call *c, struct mintd_str of, struct buf *ret)
{
    unsigned char raw[RAW_MAX], tag[TAG];
    const char *text = http_query(c->http, "cursor");
    size_t n = 0;
    if (!text || !*text) return 0;
    bool ok = strlen(text) <= TEXT_MAX && !sodium_base642bin(raw, sizeof raw, text, strlen(text), NULL, &n, NULL, VARIANT) && n > TAG;
    struct mintd_str inside = { (const char *)raw + TAG, ok ? n - TAG : 0 };
    if (ok) tag_of(c, of, inside, tag);
    if (ok && !sodium_memcmp(tag, raw, TAG)) {
        buf_str(ret, inside);
        return 0;
    }
    call_problem(c, &(struct problem){ .status = 400, .code = "query.cursor", .pointer = "cursor" },
                 "is not a cursor of this list with these filters: begin again without one");
    return -EINVAL;
}

void cursor_seal(struct call *c, struct mintd_str of, struct mintd_str cursor, struct buf *ret)
{
    unsigned char raw[RAW_MAX];
    char text[sodium_base64_ENCODED_LEN(RAW_MAX, VARIANT)];
    size_t n = cursor.n < RAW_MAX - TAG ? cursor.n : RAW_MAX - TAG;            /* no store makes one so long */
    tag_of(c, of, (struct mintd_str){ cursor.p, n }, raw);
    memcpy(raw + TAG, cursor.p, n);
    sodium_bin2base64(text, sizeof text, raw, n + TAG, VARIANT);
    buf_printf(ret, "\"%s\"", text);
}
