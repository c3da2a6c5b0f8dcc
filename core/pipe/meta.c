/* Metadata. The built-in mapping: name and description from the event, the seat or the ticket id; every scalar of ticketData as an
 * attribute under the seed's titles; everything else verbatim under "properties". Owns tickets taken apart. Loop thread. */
#include "pipe/meta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"

struct member { struct mintd_str key, value; };             /* as sent; the key without its quotes */
struct meta_ticket {
    struct pipe_ticket t;
    struct mintd_str venue;
    struct arena *mem;                       /* decoded texts */
    uint32_t n;
    struct member members[JSON_MEMBERS];
};

/* A string of the ticket, decoded; in place when nothing is escaped. {NULL, 0}: no memory */
static struct mintd_str decoded(const struct meta_ticket *m, struct mintd_str quoted)
{
    if (!memchr(quoted.p, '\\', quoted.n)) return (struct mintd_str){ quoted.p + 1, quoted.n - 2 };
    char *p = arena_alloc(m->mem, quoted.n);
    return p ? (struct mintd_str){ p, json_text(quoted, p) } : (struct mintd_str){ NULL, 0 };
}

static struct mintd_str trimmed(struct mintd_str s)
{
    while (s.n && memchr(" \t\r\n", s.p[0], 4)) s.p++, s.n--;
    while (s.n && memchr(" \t\r\n", s.p[s.n - 1], 4)) s.n--;
    return s;
}

int meta_parse(const struct pipe_ticket *t, struct mintd_str venue, struct meta_ticket **ret)
{
    struct mintd_str data = t->data.n ? trimmed(t->data) : S("{}"), key, value;
    struct meta_ticket *m;
    size_t pos = 0;
    if (!data.n || json_type(data) != JSON_OBJECT) return -EINVAL;
    m = malloc(sizeof *m);
    if (!m || !(m->mem = arena_new(512))) { free(m); return -ENOMEM; }
    m->t = *t;
    m->venue = venue;
    for (m->n = 0; m->n < JSON_MEMBERS && json_member(data, &pos, &key, &value); m->n++)
        m->members[m->n] = (struct member){ decoded(m, key), value };
    *ret = m;
    return 0;
}

struct meta_ticket *meta_ticket_free(struct meta_ticket *m)
{
    if (m) arena_free(m->mem);
    free(m);
    return NULL;
}

static int lookup(void *arg, struct mintd_str field, struct mintd_str *ret)
{
    const struct meta_ticket *m = arg;
    const struct { struct mintd_str name, value; } own[] = { { S("ticketId"), m->t.id }, { S("venueId"), m->venue },
        { S("eventId"), m->t.event_id }, { S("userId"), m->t.user_id } };
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (!str_eq(field, own[i].name)) continue;
        *ret = own[i].value;
        return own[i].value.n ? 0 : -ENOENT;
    }
    for (uint32_t i = 0; i < m->n; i++) {
        if (!str_eq(field, m->members[i].key)) continue;
        struct mintd_str value = m->members[i].value;
        *ret = json_type(value) == JSON_STRING ? decoded(m, value) : value;
        return json_type(value) == JSON_NULL ? -ENOENT : 0;
    }
    return -ENOENT;
}

static int fail(struct meta_error *err, struct mintd_str code, struct mintd_str field, const char *msg)
{
    *err = (struct meta_error){ .code = code, .field = field };
    snprintf(err->msg, sizeof err->msg, "%s", msg);
    return -EINVAL;
}

static bool is_scalar(struct mintd_str value)
{
    enum json_type type = json_type(value);
    return type != JSON_OBJECT && type != JSON_ARRAY && type != JSON_NULL;
}

/* Whatever way the caller escaped a text, the same text gives the same bytes. */
static void put_value(struct buf *out, const struct meta_ticket *m, struct mintd_str value)
{
    if (json_type(value) == JSON_STRING && memchr(value.p, '\\', value.n)) buf_json(out, decoded(m, value));
    else buf_str(out, value);
}

static void attribute(struct buf *out, bool first, const struct meta_ticket *m, const struct member *one)
{
    static const struct { struct mintd_str key, title; } titles[] = { { S("eventName"), S("Event") }, { S("eventDate"), S("Date") },
        { S("venue"), S("Venue") }, { S("tier"), S("Tier") }, { S("seatNumber"), S("Seat") } };
    struct mintd_str title = one->key;
    for (size_t i = 0; i < ARRAY_LEN(titles); i++) if (str_eq(one->key, titles[i].key)) title = titles[i].title;
    buf_str(out, first ? S("{\"trait_type\":") : S(",{\"trait_type\":"));
    buf_json(out, title);
    buf_str(out, S(",\"value\":"));
    put_value(out, m, one->value);
    buf_str(out, S("}"));
}

static void put_name(struct buf *out, const struct meta_ticket *m)
{
    struct mintd_str event = { 0 }, seat = { 0 };
    struct buf name = { 0 };
    if (lookup((void *)(uintptr_t)m, S("eventName"), &event)) event = m->venue;
    if (lookup((void *)(uintptr_t)m, S("seatNumber"), &seat)) seat = m->t.id;
    buf_str(&name, event);
    buf_str(&name, S(" "));
    buf_str(&name, seat);
    buf_str(out, S("{\"name\":"));
    buf_json(out, buf_view(&name));
    name.n = 0;
    buf_str(&name, S("Ticket "));
    buf_str(&name, m->t.id);
    buf_str(&name, S(" for "));
    buf_str(&name, event);
    buf_str(out, S(",\"description\":"));
    buf_json(out, buf_view(&name));
    if (name.bad) out->bad = true;
    buf_free(&name);
}

static void built_in(const struct meta_ticket *m, struct buf *out)
{
    uint32_t attributes = 0, rest = 0;
    put_name(out, m);
    buf_str(out, S(",\"attributes\":["));
    for (uint32_t i = 0; i < m->n; i++)
        if (is_scalar(m->members[i].value)) attribute(out, !attributes++, m, &m->members[i]);
    buf_str(out, S("]"));
    for (uint32_t i = 0; i < m->n; i++) {
        const struct member *one = &m->members[i];
        if (is_scalar(one->value) || json_type(one->value) == JSON_NULL) continue;
        buf_str(out, rest++ ? S(",") : S(",\"properties\":{"));
        buf_json(out, one->key);
        buf_str(out, S(":"));
        buf_str(out, one->value);
    }
    buf_str(out, rest ? S("}}") : S("}"));
}

/* What a template gave, or what a store shows, is judged before it is walked. */
static bool member_of(struct mintd_str json, const char *name, struct mintd_str *ret)
{
    struct mintd_str text = trimmed(json), key;
    struct json_error e;
    size_t pos = 0;
    if (!text.n || json_check(text, 0, &e) || json_type(text) != JSON_OBJECT) return false;
    while (json_member(text, &pos, &key, ret))
        if (json_is(key, str_of(name))) return json_type(*ret) == JSON_STRING;
    return false;
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
    struct mintd_str name;
    if (!member_of(buf_view(out), "name", &name)) return fail(err, S("metadata.template"), S(""), "the metadata template does not give a JSON object with a string name");
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
    struct mintd_str quoted;
    char *p = member_of(json, name, &quoted) ? arena_alloc(mem, quoted.n) : NULL;
    return p ? (struct mintd_str){ p, json_text(quoted, p) } : (struct mintd_str){ NULL, 0 };
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
