/* The op tables of the ABI as data: names, listed classes, deadlines, what may be missing. Owns nothing. Any thread. */
#include "plug/inst.h"

#include "base/str.h"

enum { C = 1 << MINTD_CANCELED, T = 1 << MINTD_TRANSIENT, H = 1 << MINTD_THROTTLED, P = 1 << MINTD_PERMANENT,
       A = 1 << MINTD_AMBIGUOUS, PROVE_MS = 20000 };

static const struct op_info chain_ops[] = {
    [CHAIN_LIMITS]    = { "limits", C | T | H | P, 10000, false, ROWS_ONE },
    [CHAIN_PREPARE]   = { "prepare", C | T | H | P, 10000, false, ROWS_EACH },
    [CHAIN_SEAL]      = { "seal", P, 1000, false, ROWS_EACH },
    [CHAIN_BROADCAST] = { "broadcast", C | T | H | P | A, 10000, false, ROWS_ANY },
    [CHAIN_STATUS]    = { "status", C | T | H, 5000, false, ROWS_ANY },
    [CHAIN_INSPECT]   = { "inspect", C | T | H | P, 10000, false, ROWS_ANY },
    [CHAIN_LIST]      = { "list", C | T | H | P, 30000, true, ROWS_ANY },
    [CHAIN_FIND]      = { "find", C | T | H | P, 30000, true, ROWS_ANY },
    [CHAIN_ESTIMATE]  = { "estimate", C | T | H | P, 10000, false, ROWS_ANY },
    [CHAIN_WALLET]    = { "wallet", C | T | H | P, 5000, false, ROWS_ANY },
};
static const struct op_info signer_ops[] = {
    [SIGNER_PUBLIC_KEYS] = { "public_keys", C | T | H | P, 5000, false, ROWS_ANY },
    [SIGNER_SIGN]        = { "sign", C | T | H | P, 10000, false, ROWS_EACH },
};
static const struct op_info uploader_ops[] = {
    [UPLOADER_IDENTIFY] = { "identify", P, 5000, true, ROWS_EACH },
    [UPLOADER_PUT]      = { "put", C | T | H | P, 60000, false, ROWS_EACH },
    [UPLOADER_CHECK]    = { "check", C | T | H | P, 10000, false, ROWS_EACH },
};
static const struct op_info cache_ops[] = {
    [CACHE_GET]   = { "get", C | T, 50, false, ROWS_EACH },
    [CACHE_PUT]   = { "put", C | T, 50, false, ROWS_ANY },
    [CACHE_DEL]   = { "del", C | T, 5000, false, ROWS_ANY },
    [CACHE_STATS] = { "stats", C | T, 1000, false, ROWS_ONE },
};
static const struct op_info store_ops[] = {
    [STORE_STAGE]   = { "stage", C | T | H | P | A, 10000, false, ROWS_ANY },
    [STORE_COMMIT]  = { "commit", C | T | H | P | A, 5000, false, ROWS_ANY },
    [STORE_CLAIM]   = { "claim", C | T | H | P | A, 5000, false, ROWS_ANY },
    [STORE_QUERY]   = { "query", C | T | H | P, 10000, false, ROWS_ANY },
    [STORE_MIGRATE] = { "migrate", C | T | P | A, 0, false, ROWS_ONE },
};
static const struct op_info start_op = { "start", C | T | H | P, 30000, true, ROWS_ANY };
static const struct op_info drain_op = { "drain", T, 10000, true, ROWS_ANY };

static const struct { const char *name, *prefix; const struct op_info *ops; uint32_t n; } kinds[] = {
    [MINTD_CHAIN]    = { "chain", "chain-", chain_ops, ARRAY_LEN(chain_ops) },
    [MINTD_STORE]    = { "store", "store-", store_ops, ARRAY_LEN(store_ops) },
    [MINTD_CACHE]    = { "cache", "cache-", cache_ops, ARRAY_LEN(cache_ops) },
    [MINTD_UPLOADER] = { "uploader", "uploader-", uploader_ops, ARRAY_LEN(uploader_ops) },
    [MINTD_SIGNER]   = { "signer", "signer-", signer_ops, ARRAY_LEN(signer_ops) },
};

static bool known(uint32_t kind) { return kind >= MINTD_CHAIN && kind < ARRAY_LEN(kinds); }

const char *kind_name(uint32_t kind) { return known(kind) ? kinds[kind].name : NULL; }
uint32_t kind_ops(uint32_t kind) { return known(kind) ? kinds[kind].n : 0; }

uint32_t kind_of_name(struct mintd_str plugin)
{
    if (str_eq(plugin, S("ipfs"))) return MINTD_UPLOADER;
    for (uint32_t k = MINTD_CHAIN; k < ARRAY_LEN(kinds); k++)
        if (str_starts(plugin, SZ(kinds[k].prefix)) && plugin.n > strlen(kinds[k].prefix)) return k;
    return 0;
}

const struct op_info *op_info(uint32_t kind, uint32_t op)
{
    if (op == PLUG_START) return &start_op;
    if (op == PLUG_DRAIN) return &drain_op;
    return known(kind) && op < kinds[kind].n ? &kinds[kind].ops[op] : NULL;
}

uint64_t op_deadline(const struct op_info *info, uint32_t kind, uint32_t op, uint32_t flags)
{
    if (kind == MINTD_CHAIN && op == CHAIN_STATUS && flags & 1) return PROVE_MS;
    return info->deadline_ms;
}

/* Where the op may have had an effect, "no effect" would be a guess. */
uint32_t op_doubt(const struct op_info *info) { return info->classes & A ? MINTD_AMBIGUOUS : MINTD_TRANSIENT; }

const char *class_name(uint32_t cls)
{
    static const char *const names[] = { "ok", "canceled", "transient", "throttled", "permanent", "ambiguous" };
    return cls < ARRAY_LEN(names) ? names[cls] : "unknown";
}
