/* Metadata. The built-in mapping: name and description from the event, the seat or the ticket id; every scalar of ticketData as an
 * attribute under the seed's titles; everything else verbatim under "properties". Owns parsed tickets. Loop thread. */
#include "pipe/meta.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

struct meta_ticket { struct json_object *data; struct pipe_ticket t; struct mintd_str venue; };

static struct json_object *parse(struct mintd_str text)
{
    if (!text.n || text.n > INT32_MAX) return NULL;
    struct json_tokener *tok = json_tokener_new_ex(32);
    if (!tok) return NULL;
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *o = json_tokener_parse_ex(tok, text.p, (int)text.n);
    enum json_tokener_error e = json_tokener_get_error(tok);
    json_tokener_free(tok);
    if (e == json_tokener_success && json_object_is_type(o, json_type_object)) return o;
    json_object_put(o);
    return NULL;
}

int meta_parse(const struct pipe_ticket *t, struct mintd_str venue, struct meta_ticket **ret)
{
    struct meta_ticket *m = calloc(1, sizeof *m);
    if (!m) return -ENOMEM;
    m->t = *t;
    m->venue = venue;
    m->data = t->data.n ? parse(t->data) : json_object_new_object();
    if (!m->data) { free(m); return -EINVAL; }
    *ret = m;
    return 0;
}

struct meta_ticket *meta_ticket_free(struct meta_ticket *m)
{
    if (m) json_object_put(m->data);
    free(m);
    return NULL;
}

static struct mintd_str text_of(struct json_object *o)
{
    if (json_object_is_type(o, json_type_string))
        return (struct mintd_str){ json_object_get_string(o), (size_t)json_object_get_string_len(o) };
    return str_of(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
}

static int lookup(void *arg, struct mintd_str field, struct mintd_str *ret)
{
    const struct meta_ticket *m = arg;
    const struct { struct mintd_str name, value; } own[] = { { S("ticketId"), m->t.id }, { S("venueId"), m->venue },
        { S("eventId"), m->t.event_id }, { S("userId"), m->t.user_id } };
    char name[80];
    struct json_object *v;
    snprintf(name, sizeof name, STR_FMT, STR_ARG(field));
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (!str_eq(field, own[i].name)) continue;
        *ret = own[i].value;
        return own[i].value.n ? 0 : -ENOENT;
    }
    if (!json_object_object_get_ex(m->data, name, &v) || !v) return -ENOENT;
    *ret = text_of(v);
    return 0;
}

static int fail(struct meta_error *err, struct mintd_str code, struct mintd_str field, const char *msg)
{
    *err = (struct meta_error){ .code = code, .field = field };
    snprintf(err->msg, sizeof err->msg, "%s", msg);
    return -EINVAL;
}

static bool scalar(struct json_object *v)
{
    return v && !json_object_is_type(v, json_type_object) && !json_object_is_type(v, json_type_array);
}

static void attribute(struct buf *out, bool *first, const char *key, struct json_object *v)
{
    static const struct { const char *key, *title; } titles[] = { { "eventName", "Event" }, { "eventDate", "Date" },
        { "venue", "Venue" }, { "tier", "Tier" }, { "seatNumber", "Seat" } };
    const char *title = key;
    for (size_t i = 0; i < ARRAY_LEN(titles); i++) if (!strcmp(key, titles[i].key)) title = titles[i].title;
    buf_puts(out, *first ? "{\"trait_type\":" : ",{\"trait_type\":");
    buf_json(out, str_of(title));
    buf_puts(out, ",\"value\":");
    if (json_object_is_type(v, json_type_string)) buf_json(out, text_of(v));
    else buf_str(out, text_of(v));
    buf_puts(out, "}");
    *first = false;
}

static void built_in(const struct meta_ticket *m, struct buf *out)
{
    struct mintd_str event = { 0 }, seat = { 0 };
    struct buf name = { 0 };
    if (lookup((void *)(uintptr_t)m, S("eventName"), &event)) event = m->venue;
    if (lookup((void *)(uintptr_t)m, S("seatNumber"), &seat)) seat = m->t.id;
    buf_printf(&name, STR_FMT " " STR_FMT, STR_ARG(event), STR_ARG(seat));
    buf_puts(out, "{\"name\":");
    buf_json(out, buf_view(&name));
    buf_puts(out, ",\"description\":");
    name.n = 0;
    buf_printf(&name, "Ticket " STR_FMT " for " STR_FMT, STR_ARG(m->t.id), STR_ARG(event));
    buf_json(out, buf_view(&name));
    if (name.bad) out->bad = true;
    buf_free(&name);
    buf_puts(out, ",\"attributes\":[");
    bool first = true, rest = false;
    json_object_object_foreach(m->data, key, value) {
        if (scalar(value)) attribute(out, &first, key, value);
        else rest = rest || value;
    }
    buf_puts(out, "]");
    bool open = false;
    if (rest) {
        json_object_object_foreach(m->data, k2, v2) {
            if (!v2 || scalar(v2)) continue;
            buf_puts(out, open ? "," : ",\"properties\":{");
            buf_json(out, str_of(k2));
            buf_puts(out, ":");
            buf_str(out, text_of(v2));
            open = true;
        }
        buf_puts(out, "}");
    }
    buf_puts(out, "}");
}

int meta_text(const struct template *t, const struct meta_ticket *m, struct buf *out, struct meta_error *err)
{
    struct mintd_str missing;
    int r = template_fill(t, false, lookup, (void *)(uintptr_t)m, out, &missing);
    if (r == -ENOENT) return fail(err, S("ticket.missing_field"), missing, "the pipeline's template needs this field");
    return r;
}

int meta_body(const struct template *t, const struct meta_ticket *m, struct buf *out, struct meta_error *err)
{
    struct mintd_str missing;
    if (!t) { built_in(m, out); return out->bad ? -ENOMEM : 0; }
    int r = template_fill(t, true, lookup, (void *)(uintptr_t)m, out, &missing);
    if (r == -ENOENT) return fail(err, S("ticket.missing_field"), missing, "the pipeline's metadata template needs this field");
    if (r) return r;
    struct json_object *o = parse(buf_view(out)), *name = NULL;
    bool ok = o && json_object_object_get_ex(o, "name", &name) && json_object_is_type(name, json_type_string);
    json_object_put(o);
    if (!ok) return fail(err, S("metadata.template"), S(""), "the metadata template does not give a JSON object with a string name");
    return 0;
}

int meta_extra(const struct meta_ticket *m, struct buf *out)
{
    if (!m->t.event_id.n && !m->t.user_id.n) return 0;
    buf_puts(out, "{");
    if (m->t.event_id.n) { buf_puts(out, "\"eventId\":"); buf_json(out, m->t.event_id); }
    if (m->t.user_id.n) { buf_puts(out, m->t.event_id.n ? ",\"userId\":" : "\"userId\":"); buf_json(out, m->t.user_id); }
    buf_puts(out, "}");
    return out->bad ? -ENOMEM : 0;
}

struct mintd_str meta_member(struct mintd_str json, const char *name, struct arena *mem)
{
    struct mintd_str out = { NULL, 0 };
    struct json_object *o = parse(json), *v;
    if (o && json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_string)) out = arena_str(mem, text_of(v));
    json_object_put(o);
    return out;
}

/* Bodies are stored well-formed, and nearly all begin with their name: then nothing has to be parsed. */
static struct mintd_str leading_name(struct mintd_str body)
{
    static const char head[] = "{\"name\":\"";
    const size_t at = sizeof head - 1;
    struct mintd_str none = { NULL, 0 };
    if (body.n <= at || memcmp(body.p, head, at)) return none;
    const char *end = memchr(body.p + at, '"', body.n - at);
    if (!end || memchr(body.p + at, '\\', (size_t)(end - body.p) - at)) return none;
    return (struct mintd_str){ body.p + at, (size_t)(end - body.p) - at };
}

int meta_name(struct mintd_str body, struct arena *mem, struct mintd_str *ret)
{
    struct mintd_str name = leading_name(body);
    name = name.n ? arena_str(mem, name) : meta_member(body, "name", mem);
    if (!name.n) return -EINVAL;
    *ret = name;
    return 0;
}
