/* start and drain: the ledger is opened or begun, read to its end and checked against the configuration. Reading goes in slices, so that
 * a long ledger does not hold the loop. */
#include <stdio.h>

#include "local.h"

static const char *profile_name(uint32_t p)
{
    static const char *const names[] = { "unknown", "solana-like", "hedera-like", "null" };
    return p < LEN(names) ? names[p] : names[0];
}

static void close_all(struct local *l)
{
    ledger_close(&l->led);
    world_free(&l->w);
    l->state = DOWN;
}

static int give_up(struct job *j, uint32_t cls, const char *slug)
{
    struct local *l = j->l;
    job_refuse(j, cls, slug, "%s", l->led.why);
    close_all(l);
    return -1;
}

static int open_failed(struct job *j, int r)
{
    switch (-r) {
    case EBADMSG: return give_up(j, MINTD_PERMANENT, "local.not_a_ledger");
    case ENOSPC: case EDQUOT: return give_up(j, MINTD_TRANSIENT, "local.ledger_full");
    case EACCES: case EPERM: case EROFS: case ENOENT: case ENOTDIR: case EISDIR: case ELOOP: case ENAMETOOLONG: case ENXIO:
        return give_up(j, MINTD_PERMANENT, "local.ledger_path");
    default: return give_up(j, MINTD_TRANSIENT, "local.ledger_io");
    }
}

/* ---- the first record */
static int begin_ledger(struct job *j)
{
    struct local *l = j->l;
    char salt[32] = "in memory";                           /* always the same network, there is nothing to tell apart */
    struct record rec = { .type = REC_GENESIS, .profile = l->o.profile, .slot_us = l->o.slot_us, .salt = { salt, sizeof salt } };
    if (!l->led.memory) {
        l->host->random(l->ctx, salt, sizeof salt);
        rec.time = l->host->wall_us(l->ctx);
    }
    l->new_file = true;
    int r = job_write(j, &rec);
    return r ? open_failed(j, r) : 0;
}

static int check_fit(struct job *j)
{
    struct local *l = j->l;
    if (l->w.profile != (uint32_t)l->o.profile) {
        snprintf(l->led.why, sizeof l->led.why, "%s was made with profile %s, the configuration says %s: name another ledger or that profile",
                 l->led.path, profile_name(l->w.profile), profile_name(l->o.profile));
        return give_up(j, MINTD_PERMANENT, "local.wrong_profile");
    }
    if (l->w.slot_us == l->o.slot_us) return 0;
    char text[200];
    int n = snprintf(text, sizeof text, "the ledger was made with slots of %lld ms, the configured %lld ms are not used",
                     (long long)(l->w.slot_us / 1000), (long long)(l->o.slot_us / 1000));
    l->host->log(l->ctx, j->op, MINTD_WARN, (struct mintd_str){ text, (size_t)n }, (struct mintd_vec){ 0 });
    return 0;
}

/* ---- start */
static int put_facts(struct job *j)
{
    struct local *l = j->l;
    struct mintd_field *f = job_mem(j, 4 * sizeof *f);
    if (!f) { close_all(l); return -1; }
    f[0] = (struct mintd_field){ STR("network"), str_z(l->w.network_text) };
    f[1] = (struct mintd_field){ STR("profile"), str_z(profile_name(l->o.profile)) };
    f[2] = (struct mintd_field){ STR("ledger"), l->led.memory ? STR("memory") : str_z(l->led.path) };
    f[3] = (struct mintd_field){ STR("transactions"), job_printf(j, "%u", l->w.n_txs) };
    j->res.rows = ROWS(f, 4);
    return 0;
}

static void unsynced(struct job *j) { give_up(j, MINTD_TRANSIENT, "local.ledger_io"); }

static int open_once(struct job *j)
{
    struct local *l = j->l;
    if (l->led.fd >= 0 || l->w.n_buckets) return 0;
    world_init(&l->w, l);
    int r = ledger_open(&l->led);
    return r ? open_failed(j, r) : 0;
}

int start_run(struct job *j)
{
    struct local *l = j->l;
    if (l->state != DOWN) close_all(l);
    int r = open_once(j);
    if (!r) r = job_catch_up(j);
    if (!r) r = job_lock(j);
    if (r < 0 && l->state == BROKEN) return give_up(j, MINTD_PERMANENT, "local.ledger_damaged");
    if (r) return r;
    if (!l->w.profile) r = begin_ledger(j);
    ledger_unlock(&l->led);
    if (!r) r = check_fit(j);
    if (r) return r;
    l->anchor_t = l->w.last;
    l->anchor_ms = l->host->now_ms(l->ctx);
    l->state = UP;
    j->unsynced = unsynced;
    return put_facts(j);
}

void op_start(void *self, struct mintd_op *op, const struct mintd_req *req) { job_begin(self, op, req, 0, start_run); }

void op_drain(void *self, struct mintd_op *op, const struct mintd_req *req)
{
    struct local *l = self;
    (void)req;
    close_all(l);
    l->host->done(op, NULL, NULL);
}
