/* The chunk's state machine. Pure: owns nothing, calls nothing. */
#include "machine/chunk.h"

#include "mintd/plugin.h"

#define BIT(s) (1u << MINTD_ST_##s)

static const struct { const char *name; enum chunk_next next; uint32_t to; } states[] = {
    [MINTD_ST_ACCEPTED]   = { "accepted",   CHUNK_CLAIM,   BIT(UPLOADING) | BIT(FAILED) | BIT(CANCELLED) | BIT(MOVED) },
    [MINTD_ST_UPLOADING]  = { "uploading",  CHUNK_UPLOAD,  BIT(UPLOADED) | BIT(FAILED) | BIT(CANCELLED) | BIT(MOVED) },
    [MINTD_ST_UPLOADED]   = { "uploaded",   CHUNK_PREPARE, BIT(SIGNED) | BIT(FAILED) | BIT(CANCELLED) | BIT(MOVED) },
    [MINTD_ST_SIGNED]     = { "signed",     CHUNK_OBSERVE, BIT(LANDED) | BIT(UPLOADED) | BIT(FAILED) | BIT(MOVED) },
    [MINTD_ST_LANDED]     = { "landed",     CHUNK_OBSERVE, BIT(DONE) | BIT(SIGNED) | BIT(UPLOADED) | BIT(FAILED) | BIT(MOVED) },
    [MINTD_ST_QUARANTINE] = { "quarantine", CHUNK_REST,    BIT(SIGNED) | BIT(LANDED) | BIT(DONE) | BIT(UPLOADED) | BIT(FAILED)
                                                           | BIT(CANCELLED) | BIT(MOVED) },
    [MINTD_ST_DONE]       = { "done",       CHUNK_REST, 0 },
    [MINTD_ST_FAILED]     = { "failed",     CHUNK_REST, 0 },
    [MINTD_ST_CANCELLED]  = { "cancelled",  CHUNK_REST, 0 },
    [MINTD_ST_MOVED]      = { "moved",      CHUNK_REST, 0 },
};
enum { N_STATES = sizeof states / sizeof states[0] };

const char *chunk_state_name(uint32_t state)
{
    return state < N_STATES && states[state].name ? states[state].name : "unknown";
}

bool chunk_terminal(uint32_t state)
{
    return state >= MINTD_ST_DONE && state <= MINTD_ST_MOVED;
}

/* Leaving an attempt behind: back to work or to an end, from a state in which bytes may be out. */
static bool abandons(uint32_t from, uint32_t to)
{
    bool sent = from == MINTD_ST_SIGNED || from == MINTD_ST_LANDED || from == MINTD_ST_QUARANTINE;
    return sent && to != MINTD_ST_SIGNED && to != MINTD_ST_LANDED && to != MINTD_ST_QUARANTINE && to != MINTD_ST_DONE;
}

bool chunk_may(uint32_t from, uint32_t to, uint32_t attempt_no, bool proven_dead)
{
    if (from >= N_STATES || to >= N_STATES || !states[from].name || chunk_terminal(from)) return false;
    if (to == MINTD_ST_QUARANTINE) return from != to;
    if (!(states[from].to >> to & 1)) return false;
    bool had_attempt = attempt_no > 0;
    if (abandons(from, to) && had_attempt && !proven_dead) return false;
    if (to == MINTD_ST_DONE && (!had_attempt || proven_dead)) return false;
    if (from == MINTD_ST_UPLOADED && had_attempt && to != MINTD_ST_SIGNED && !proven_dead) return false;
    return true;
}

enum chunk_next chunk_next(uint32_t state)
{
    return state < N_STATES && states[state].name ? states[state].next : CHUNK_REST;
}
