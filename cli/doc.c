/* Reading the daemon's JSON documents without trusting their shape. Owns nothing but a document while it parses it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "cli.h"

enum { DOC_DEPTH = 96, DOC_NAME = 64 };

struct json_object *doc_at(struct json_object *doc, const char *path)
{
    char name[DOC_NAME];
    while (doc && path && *path) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof name || !json_object_is_type(doc, json_type_object)) return NULL;
        memcpy(name, path, n);
        name[n] = 0;
        path += n + (path[n] == '.');
        if (!json_object_object_get_ex(doc, name, &doc)) return NULL;
    }
    return doc;
}

const char *doc_str(struct json_object *doc, const char *path)
{
    struct json_object *at = doc_at(doc, path);
    return at ? json_object_get_string(at) : "";
}

int64_t doc_int(struct json_object *doc, const char *path)
{
    struct json_object *at = doc_at(doc, path);
    return at ? json_object_get_int64(at) : 0;
}

double doc_num(struct json_object *doc, const char *path)
{
    struct json_object *at = doc_at(doc, path);
    return at ? json_object_get_double(at) : 0;
}

bool doc_bool(struct json_object *doc, const char *path)
{
    struct json_object *at = doc_at(doc, path);
    return at && json_object_get_boolean(at);
}

size_t doc_len(struct json_object *doc, const char *path)
{
    struct json_object *at = doc_at(doc, path);
    return at && json_object_is_type(at, json_type_array) ? json_object_array_length(at) : 0;
}

struct json_object *doc_idx(struct json_object *doc, const char *path, size_t i)
{
    struct json_object *at = doc_at(doc, path);
    return at && json_object_is_type(at, json_type_array) ? json_object_array_get_idx(at, i) : NULL;
}

static bool is_skipped(const char *skip, const char *name)
{
    char word[DOC_NAME + 2];
    int n = snprintf(word, sizeof word, " %s ", name);
    return skip && n > 0 && (size_t)n < sizeof word && strstr(skip, word);
}

void doc_flat(struct buf *b, struct json_object *doc, const char *skip)
{
    const char *comma = "";
    if (!json_object_is_type(doc, json_type_object)) {
        if (doc) buf_puts(b, json_object_get_string(doc));
        return;
    }
    json_object_object_foreach(doc, name, value) {
        if (is_skipped(skip, name)) continue;
        buf_printf(b, "%s%s %s", comma, name, value ? json_object_get_string(value) : "null");
        comma = ", ";
    }
}

struct json_object *doc_parse(const char *p, size_t n)
{
    if (n > INT32_MAX) return NULL;
    struct json_tokener *t = json_tokener_new_ex(DOC_DEPTH);
    if (!t) return NULL;
    struct json_object *doc = json_tokener_parse_ex(t, p, (int)n);
    if (json_tokener_get_error(t) == json_tokener_continue) doc = json_tokener_parse_ex(t, "", 1);    /* a bare number ends here */
    if (json_tokener_get_error(t) != json_tokener_success) {
        json_object_put(doc);
        doc = NULL;
    }
    json_tokener_free(t);
    return doc;
}

void out_json(struct cli *c, struct json_object *doc)
{
    struct buf b = { 0 };
    text_clean_json(&b, json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    buf_puts(&b, "\n");
    out_buf(c, &b);
}
