/* The store as an operator sees it, and its copy. Calls the store plugin; a copy goes on when its client leaves. Loop thread. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include "api/control.h"
#include "api/fields.h"
#include "base/log.h"

enum { COPY = 4 };
static const struct http_header later[] = { { "Retry-After", "1" }, { NULL, NULL } };

static uint64_t size_of(struct mintd_str path, const char *tail)
{
    char name[4200];
    struct stat st;
    snprintf(name, sizeof name, STR_FMT "%s", STR_ARG(path), tail);
    return path.n && !stat(name, &st) ? (uint64_t)st.st_size : 0;
}

/* A failed call to the store: its slug is the code, and its plugin says what to do. */
static void store_failed(struct call *c, const struct mintd_outcome *o)
{
    struct plug_inst *store = pipe_store(c->api->pipe);
    const char *slug = arena_cstr(c->mem, o->slug), *help = plug_help(store, o->slug);
    bool final = o->cls == MINTD_PERMANENT;
    struct buf why = { 0 };
    log_mask(o->msg, &why);
    call_problem(c, &(struct problem){ .status = final ? 409 : 503, .code = slug && *slug ? slug : "store.unavailable", .headers = final ? NULL : later },
                 STR_FMT "%s%s", STR_ARG(buf_view(&why)), *help ? ": " : "", help);
    buf_free(&why);
}

/* ---- GET /v1/database */

static void put_slots(struct buf *b, const struct call *c, const struct mintd_res *res)
{
    const struct mintd_db_lease *l = res->rows.p;
    int64_t now = loop_wall_us(c->api->loop) / 1000;
    buf_puts(b, ",\"slots\":[");
    for (uint32_t i = 0; i < res->rows.n; i++) {
        buf_printf(b, "%s{\"slot\":%u,\"epoch\":%" PRIu64 ",\"events\":%" PRIu64 ",\"live\":%s", i ? "," : "", l[i].slot, l[i].epoch, l[i].event_seq,
                   l[i].expires_at > now ? "true" : "false");
        json_str(b, "holder", l[i].holder);
        json_time(b, "expiresAt", l[i].expires_at);
        buf_puts(b, "}");
    }
    buf_puts(b, "]");
}

static void on_leases(struct call *c, const struct mintd_res *res)
{
    struct plug_inst *store = pipe_store(c->api->pipe);
    const struct mintd_schema *s = c->load;
    struct mintd_str path = { NULL, 0 }, backup = { NULL, 0 };
    struct buf b = { 0 };
    plug_option(store, "path", &path);
    plug_option(store, "backup", &backup);
    buf_puts(&b, "{\"store\":");
    plug_state_json(store, &b);
    buf_printf(&b, ",\"schema\":{\"now\":%u,\"wanted\":%u}", s->now, s->wanted);
    json_str(&b, "identity", s->identity);
    uint64_t bytes = size_of(path, ""), log = size_of(path, "-wal");
    if (bytes) buf_printf(&b, ",\"bytes\":%" PRIu64 ",\"logBytes\":%" PRIu64, bytes, log);
    buf_puts(&b, ",\"backup\":");
    if (backup.n) buf_json(&b, backup);
    else buf_puts(&b, "null");
    buf_printf(&b, ",\"copying\":%s", c->api->copying ? "true" : "false");
    put_slots(&b, c, res);
    buf_puts(&b, "}\n");
    call_json(c, 200, &b, NULL);
}

static void on_schema(struct call *c, struct plug_reply *r)
{
    struct mintd_schema *s = arena_alloc(c->mem, sizeof *s);
    if (r->out->cls != MINTD_OK || !r->res->rows.n) return store_failed(c, r->out);
    if (!s) return call_memory(c);
    *s = *(const struct mintd_schema *)r->res->rows.p;
    s->identity = arena_str(c->mem, s->identity);
    c->load = s;
    call_query(c, &(struct mintd_query){ .kind = MINTD_DB_LEASE }, 0, on_leases);
}

void control_database(struct call *c) { control_ask(c, pipe_store(c->api->pipe), STORE_MIGRATE, 0, NULL, on_schema); }

/* ---- POST /v1/database/backup */

struct copy { struct call *c; uint64_t begun_us; };

static void copied(struct call *c, const struct copy *k, uint32_t schema)
{
    struct mintd_str file = { NULL, 0 };
    struct buf b = { 0 };
    double seconds = (double)(loop_now_us(c->api->loop) - k->begun_us) / 1e6;
    plug_option(pipe_store(c->api->pipe), "backup", &file);
    log_info("the store was copied to " STR_FMT " in %.3f s", STR_ARG(file), seconds);
    buf_puts(&b, "{\"file\":");
    buf_json(&b, file);
    buf_printf(&b, ",\"bytes\":%" PRIu64 ",\"schema\":%u,\"durationSeconds\":%.3f}\n", size_of(file, ""), schema, seconds);
    call_json(c, 200, &b, NULL);
}

static void on_copied(void *arg, struct plug_reply *r)
{
    const struct copy *k = arg;
    struct call *c = k->c;
    c->api->copying = false;
    bool ok = r->out->cls == MINTD_OK && r->res->rows.n;
    if (ok && !c->api->freed) copied(c, k, ((const struct mintd_schema *)r->res->rows.p)->now);
    else if (!ok) {
        log_warn("the store could not be copied: " STR_FMT ": " STR_FMT, STR_ARG(r->out->slug), STR_ARG(r->out->msg));
        if (call_open(c)) store_failed(c, r->out);
    }
    call_unref(c);
}

void control_backup(struct call *c)
{
    if (!call_fields(c, NULL, 0)) return;
    if (c->api->copying) {
        call_problem(c, &(struct problem){ .status = 409, .code = "database.copying", .headers = later }, "a copy is being written already: wait for its end");
        return;
    }
    struct arena *mem = arena_new(0);
    struct copy *k = mem ? arena_alloc(c->mem, sizeof *k) : NULL;
    if (!k) {
        arena_free(mem);
        call_memory(c);
        return;
    }
    *k = (struct copy){ c, loop_now_us(c->api->loop) };
    c->api->copying = true;
    call_ref(c);
    plug_call_rows(pipe_store(c->api->pipe), STORE_MIGRATE, COPY, NULL, (struct mintd_vec){ 0 }, mem, on_copied, k);
}
