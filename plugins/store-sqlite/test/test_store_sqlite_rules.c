/* The rules of the database itself: statements that go past the plugin, each refused by exactly its rule. And the control of each: with
 * that one rule taken away the same statement is no longer stopped by it, so that the case could fail. */
#include "fix.h"

/* Requests of the world, two items and one chunk each; the chunk is named after the request. */
#define R_SIGNED "1"
#define R_FREE   "2"
#define R_DONE   "3"
#define R_FAILED "4"
#define R_UP     "5"
#define R_LANDED "6"
#define R_QUAR   "7"
#define R_MOVED  "8"
#define R_RETRY  "9"      /* UPLOADED for the second time, attempt 1 proven dead */
#define R_OPEN   "10"     /* open, its items staged */
#define ID(r)    "(" r " << 24)"
#define LATER    "(1 << 62)"
#define HASH32   "zeroblob(32)"
#define HASH_ONE "x'0101010101010101010101010101010101010101010101010101010101010101'"

struct rule { const char *name, *drop, *before, *sql; };    /* drop: the trigger taken away; NULL: a CHECK; "fk": a foreign key */

#define CHUNK_COLS "(id, n, kind, origin, parent, lane, collection, venue, request, state, accepted_at)"
#define HOME(id, n, request, state) "INSERT INTO chunks " CHUNK_COLS " VALUES (" id ", " n ", 0, 0, NULL, 1, 1, 1, " request ", " state ", 1)"
#define NEW_CHUNK(n, request, state) "INSERT INTO chunks " CHUNK_COLS " VALUES (" LATER " + 900, " n ", 0, 1, NULL, 1, 1, 1, " request ", " state ", 1)"
#define ITEM(id, ticket) "INSERT INTO items (id, venue, ticket, ord) VALUES (" id ", 1, " ticket ", 0)"
#define MOVE(item, gen, from, to, pos) "INSERT INTO item_moves VALUES (" item ", 0, " gen ", " from ", " to ", " pos ")"
#define ATTEMPT(chunk, no, tx) "INSERT INTO attempts (chunk, no, network, tx_id, bytes, bound, fee_cap, slot, epoch, created_at) " \
    "VALUES (" chunk ", " no ", 'net1', " tx ", x'01', 5, 1, 1, 1, 1)"
#define PROOF(chunk, no, kind, mark, absent) "INSERT INTO proofs (chunk, no, kind, watermark, absent_at, effect_absent, quorum, endpoints, error, created_at) " \
    "VALUES (" chunk ", " no ", " kind ", " mark ", " absent ", 1, 2, 'a b', 'e', 1)"
#define SIGN(chunk) "UPDATE chunks SET state = 4, attempt_no = attempt_no + 1 WHERE id = " chunk
#define TO(state, rest, chunk) "UPDATE chunks SET state = " state rest " WHERE id = " chunk
#define FINAL ", done = 1, minted_at = 1, block_time = 1, fee = 0, evidence = '{}'"

#define KEY(id, name, venue) "INSERT INTO api_keys (id, name, hash, scopes, venue, created_at, revoked_at, used_at) VALUES (" id ", " name ", " HASH_ONE ", 's', " venue ", 1, 5, 5)"
#define REPORT(id, n) "INSERT INTO reconciliation_reports VALUES (" id ", 'v', 'd', " n ", " n ", 0, 0, 0, 0, 0.0, NULL, 't')"

static const struct rule rules[] = {
    { "meta_replace", "meta_replace", "", "INSERT OR REPLACE INTO meta VALUES ('identity', 'mine')" },
    { "meta_fixed", "meta_fixed", "", "UPDATE meta SET val = '9 9' WHERE key = 'schema'" },
    { "meta_fixed", "meta_fixed", "INSERT INTO meta VALUES ('k', 'v')", "UPDATE meta SET key = 'l' WHERE key = 'k'" },
    { "meta_keep", "meta_keep", "", "DELETE FROM meta WHERE key = 'identity'" },
    { "venues_unique", "venues_replace", "", "INSERT OR REPLACE INTO venues (name) VALUES ('arena')" },
    { "venues_id", "venues_replace", "", "INSERT OR REPLACE INTO venues VALUES (1, 'other')" },
    { "venues_fixed", "venues_fixed", "", "UPDATE venues SET name = 'other'" },
    { "venues_keep", "venues_keep", "INSERT INTO venues VALUES (77, 'empty')", "DELETE FROM venues WHERE id = 77" },
    { "venues_named", NULL, "", "INSERT INTO venues (name) VALUES ('')" },
    { "collections_unique", "collections_replace", "", "INSERT OR REPLACE INTO collections (venue, pipeline, name, network, state) VALUES (1, 'line', 'show', 'n', 1)" },
    { "collections_id", "collections_replace", "", "INSERT OR REPLACE INTO collections (id, venue, pipeline, name, network, state) VALUES (1, 1, 'line', 'q', 'n', 1)" },
    { "collections_chain_ref", "collections_replace", "UPDATE collections SET chain_ref = 'ref' WHERE id = 1",
      "INSERT OR REPLACE INTO collections (venue, pipeline, name, network, state, chain_ref) VALUES (1, 'line', 'q', 'net1', 1, 'ref')" },
    { "collections_parent", "collections_parent", "", "INSERT INTO collections (venue, pipeline, name, network, state, parent) VALUES (1, 'line', 'q', 'n', 1, 99)" },
    { "collections_fixed", "collections_fixed", "", "UPDATE collections SET name = 'q' WHERE id = 1" },
    { "collections_fixed", "collections_fixed", "", "UPDATE collections SET max_supply = 1000 WHERE id = 1" },
    { "collections_ref_once", "collections_ref_once", "UPDATE collections SET chain_ref = 'ref' WHERE id = 1", "UPDATE collections SET chain_ref = 'new' WHERE id = 1" },
    { "collections_chain_ref", "collections_ref_once", "UPDATE collections SET chain_ref = 'ref' WHERE id = 1", "UPDATE OR REPLACE collections SET chain_ref = 'ref' WHERE id = 2" },
    { "collections_transition", "collections_transition", "", "UPDATE collections SET state = 1 WHERE id = 1" },
    { "collections_accepted", "collections_accepted", "", "UPDATE collections SET accepted = accepted - 1 WHERE id = 1" },
    { "collections_accepted", "collections_accepted", "UPDATE collections SET state = 5 WHERE id = 1", "UPDATE collections SET accepted = accepted + 1 WHERE id = 1" },
    { "collections_keep", "collections_keep", "", "DELETE FROM collections WHERE id = 2" },
    { "collections_supply", NULL, "INSERT INTO collections (id, venue, pipeline, name, network, state, max_supply) VALUES (77, 1, 'line', 'q', 'n', 2, 3)",
      "UPDATE collections SET accepted = 4 WHERE id = 77" },
    { "collections_state", NULL, "", "INSERT INTO collections (venue, pipeline, name, network, state) VALUES (1, 'line', 'q', 'n', 9)" },
    { "fk", "fk", "", "INSERT INTO collections (venue, pipeline, name, network, state) VALUES (99, 'line', 'q', 'n', 1)" },

    { "requests_unique", "requests_replace", "", "INSERT OR REPLACE INTO requests (venue, idem_key, state, slot, epoch, created_at) VALUES (1, 'r1', 0, 1, 1, 1)" },
    { "requests_id", "requests_replace", "", "INSERT OR REPLACE INTO requests (id, venue, idem_key, state, slot, epoch, created_at) VALUES (1, 1, 'q', 0, 1, 1, 1)" },
    { "requests_start", "requests_start", "", "INSERT INTO requests (venue, idem_key, state, slot, epoch, created_at, body_hash, n_items, sealed_at) "
      "VALUES (1, 'q', 1, 1, 1, 1, " HASH32 ", 1, 1)" },
    { "requests_fixed", "requests_fixed", "", "UPDATE requests SET idem_key = 'q' WHERE id = " R_DONE },
    { "requests_fixed", "requests_fixed", "", "UPDATE requests SET epoch = 9 WHERE id = " R_OPEN },
    { "requests_frozen", "requests_frozen", "", "UPDATE requests SET body_hash = " HASH32 " WHERE id = " R_DONE },
    { "requests_frozen", "requests_frozen", "", "UPDATE requests SET n_items = 1 WHERE id = " R_DONE },
    { "requests_seal", "requests_seal", HOME(ID(R_OPEN), "1", R_OPEN, "1"), "UPDATE requests SET state = 1, body_hash = " HASH32 ", n_items = 2, sealed_at = 1 WHERE id = " R_OPEN },
    { "requests_seal", "requests_seal", HOME(ID(R_OPEN), "2", R_OPEN, "1"), "UPDATE requests SET state = 1, body_hash = " HASH32 ", n_items = 3, sealed_at = 1 WHERE id = " R_OPEN },
    { "requests_seal", "requests_seal", HOME(ID(R_OPEN) " + 1", "2", R_OPEN, "1"), "UPDATE requests SET state = 1, body_hash = " HASH32 ", n_items = 2, sealed_at = 1 WHERE id = " R_OPEN },
    { "requests_cancel_once", "requests_cancel_once", "UPDATE requests SET cancel_at = 5 WHERE id = 2", "UPDATE requests SET cancel_at = 6 WHERE id = 2" },
    { "requests_finish", "requests_finish", "", "UPDATE requests SET finished_at = 5 WHERE id = " R_UP },
    { "requests_finish", "requests_finish", "", "UPDATE requests SET finished_at = 5 WHERE id = " R_DONE },
    { "requests_keep", "requests_keep", "DROP TRIGGER requests_rows", "DELETE FROM requests WHERE id = " R_DONE },
    { "requests_rows", "requests_rows", "", "DELETE FROM requests WHERE id = " R_OPEN },
    { "requests_sealed", NULL, "DROP TRIGGER requests_seal", "UPDATE requests SET state = 1 WHERE id = " R_OPEN },
    { "requests_sealed", NULL, "", "UPDATE requests SET cancel_at = 1 WHERE id = " R_OPEN },
    { "requests_keyed", NULL, "", "INSERT INTO requests (venue, idem_key, state, slot, epoch, created_at) VALUES (1, '', 0, 1, 1, 1)" },
    { "requests_id", NULL, "", "INSERT INTO requests (id, venue, idem_key, state, slot, epoch, created_at) VALUES (1 << 38, 1, 'q', 0, 1, 1, 1)" },
    { "fk", "fk", "", "INSERT INTO requests (venue, idem_key, state, slot, epoch, created_at) VALUES (99, 'q', 0, 1, 1, 1)" },

    { "items_unique", "items_replace", "", "INSERT OR REPLACE INTO items (id, venue, ticket, ord) VALUES (" ID(R_OPEN) " + 9, 1, 'r1-0', 0)" },
    { "items_id", "items_replace", "", "INSERT OR REPLACE INTO items (id, venue, ticket, ord) VALUES (" ID(R_OPEN) ", 1, 'q', 0)" },
    { "items_open", "items_open", "", ITEM(ID(R_DONE) " + 9", "'q'") },
    { "items_open", "items_open", "", ITEM(ID("99"), "'q'") },
    { "items_fixed", "items_fixed", "", "UPDATE items SET ticket = 'q' WHERE id = " ID(R_DONE) },
    { "items_fixed", "items_fixed", "", "UPDATE items SET recipient = 'thief' WHERE id = " ID(R_UP) },
    { "items_emptied", "items_emptied", "", "UPDATE items SET body = NULL WHERE id = " ID(R_UP) },
    { "items_emptied", "items_emptied", "", "UPDATE items SET body = 'other' WHERE id = " ID(R_DONE) },
    { "items_emptied", "items_emptied", "", "UPDATE items SET extra = NULL WHERE id = " ID(R_MOVED) },             /* its chunk ended, it lives elsewhere */
    { "items_keep", "items_keep", "", "DELETE FROM items WHERE id = " ID(R_DONE) },
    { "items_named", NULL, "", ITEM(ID(R_OPEN) " + 9", "''") },

    { "chunks_id", "chunks_replace", "DROP TRIGGER chunks_request", "INSERT OR REPLACE INTO chunks " CHUNK_COLS " VALUES (" LATER ", 1, 0, 1, NULL, 1, 1, 1, 8, 1, 1)" },
    { "chunks_create", "chunks_replace", "", "INSERT OR REPLACE INTO chunks " CHUNK_COLS " VALUES (" LATER " + 900, 0, 1, 2, NULL, 0, 2, 1, NULL, 3, 1)" },
    { "chunks_follow", "chunks_replace", "INSERT INTO chunks " CHUNK_COLS " VALUES (" LATER " + 800, 2, 2, 2, " ID(R_DONE) ", -1, 1, 1, 3, 3, 1)",
      "INSERT OR REPLACE INTO chunks " CHUNK_COLS " VALUES (" LATER " + 900, 2, 2, 2, " ID(R_DONE) ", -1, 1, 1, 3, 3, 1)" },
    { "chunks_home", "chunks_home", "", HOME(ID("3") " + 5", "1", "3", "1") },                                                /* sealed */
    { "chunks_home", "chunks_home", "DROP TRIGGER chunks_overlap", HOME(ID("11") " - 1", "2", R_OPEN, "1") },                                           /* into the next */
    { "chunks_overlap", "chunks_overlap", HOME(ID(R_OPEN), "2", R_OPEN, "1"), HOME(ID(R_OPEN) " + 1", "1", R_OPEN, "1") },
    { "chunks_overlap", "chunks_overlap", HOME(ID(R_OPEN) " + 1", "1", R_OPEN, "1"), HOME(ID(R_OPEN), "2", R_OPEN, "1") },
    { "chunks_start", "chunks_start", "", HOME(ID(R_OPEN), "2", R_OPEN, "3") },
    { "chunks_start", "chunks_start", "", NEW_CHUNK("1", "3", "2") },
    { "chunks_collection", "chunks_collection", "", "INSERT INTO chunks " CHUNK_COLS " VALUES (" LATER " + 900, 1, 0, 1, NULL, 99, 99, 1, 3, 1, 1)" },
    { "chunks_request", "chunks_request", "", NEW_CHUNK("1", R_OPEN, "1") },
    { "chunks_parent", "chunks_parent", "", "INSERT INTO chunks " CHUNK_COLS " VALUES (" LATER " + 900, 2, 2, 2, " ID(R_LANDED) ", -1, 1, 1, 6, 3, 1)" },
    { "chunks_parent", "chunks_parent", "", "INSERT INTO chunks " CHUNK_COLS " VALUES (" LATER " + 900, 1, 2, 2, " ID(R_DONE) ", -1, 1, 1, 3, 3, 1)" },
    { "chunks_terminal", "chunks_terminal", "", "UPDATE chunks SET error = 'q' WHERE id = " ID(R_FAILED) },
    { "chunks_terminal", "chunks_terminal", "", "UPDATE chunks SET fee = 99 WHERE id = " ID(R_DONE) },
    { "chunks_terminal", "chunks_terminal", "DROP TRIGGER chunks_transition; DROP TRIGGER chunks_proof", TO("3", ", done = 0, problem = NULL", ID(R_FAILED)) },
    { "chunks_fixed", "chunks_fixed", "", "UPDATE chunks SET n = 1 WHERE id = " ID(R_UP) },
    { "chunks_fixed", "chunks_fixed", "", "UPDATE chunks SET request = 3 WHERE id = " ID(R_UP) },
    { "chunks_transition", "chunks_transition", "", TO("3", "", ID(R_FREE)) },
    { "chunks_transition", "chunks_transition", "", TO("1", "", ID(R_UP)) },
    { "chunks_transition", "chunks_transition", PROOF(ID(R_LANDED), "1", "2", "1", "1"), TO("12", ", done = 1, problem = 'p'", ID(R_LANDED)) },
    { "chunks_attempt_no", "chunks_attempt_no", "", TO("4", ", attempt_no = 2", ID(R_UP)) },
    { "chunks_attempt_no", "chunks_attempt_no", "", "UPDATE chunks SET attempt_no = 0 WHERE id = " ID(R_SIGNED) },
    { "chunks_attempt_row", "chunks_attempt_row", SIGN(ID(R_UP)), TO("5", "", ID(R_UP)) },
    { "chunks_proof", "chunks_proof", "", TO("3", "", ID(R_SIGNED)) },
    { "chunks_proof", "chunks_proof", "", TO("11", ", done = 1, problem = 'p'", ID(R_LANDED)) },
    { "chunks_proof", "chunks_proof", "", TO("13", ", done = 1, problem = NULL", ID(R_QUAR)) },
    { "chunks_alive", "chunks_alive", PROOF(ID(R_QUAR), "1", "2", "1", "1"), TO("10", FINAL ", assets = 'x', problem = NULL", ID(R_QUAR)) },
    { "chunks_alive", "chunks_alive", PROOF(ID(R_QUAR), "1", "2", "1", "1"), TO("4", ", problem = NULL", ID(R_QUAR)) },
    { "chunks_serial", "chunks_serial", "", TO("10", FINAL ", first_serial = (SELECT first_serial + 1 FROM chunks WHERE id = " ID(R_DONE) ")", ID(R_LANDED)) },
    { "chunks_serial", "chunks_serial", "", TO("10", FINAL ", first_serial = (SELECT first_serial - 1 FROM chunks WHERE id = " ID(R_DONE) ")", ID(R_LANDED)) },
    { "chunks_keep", "chunks_keep", "", "DELETE FROM chunks WHERE id = " ID(R_FREE) },
    { "chunks_range", NULL, "DROP TRIGGER chunks_home", HOME(LATER " + 900", "2", R_OPEN, "1") },
    { "chunks_range", NULL, "", "INSERT INTO chunks " CHUNK_COLS " VALUES (900, 1, 0, 1, NULL, 1, 1, 1, 3, 1, 1)" },
    { "chunks_shape", NULL, "", "INSERT INTO chunks " CHUNK_COLS " VALUES (" LATER " + 900, 1, 0, 1, NULL, 2, 1, 1, 3, 1, 1)" },
    { "chunks_shape", NULL, "", NEW_CHUNK("0", "3", "1") },
    { "chunks_done", NULL, "", TO("11", ", problem = 'p'", ID(R_UP)) },
    { "chunks_free", NULL, "", TO("6", ", problem = 'p'", ID(R_UP)) },
    { "chunks_reason", NULL, "", TO("11", ", done = 1", ID(R_UP)) },
    { "chunks_reason", NULL, "", "UPDATE chunks SET problem = 'p' WHERE id = " ID(R_UP) },
    { "chunks_final", NULL, "", TO("10", ", done = 1, minted_at = 1, block_time = 1, fee = 0, assets = 'x'", ID(R_LANDED)) },
    { "chunks_final", NULL, "", TO("10", FINAL, ID(R_LANDED)) },
    { "chunks_result", NULL, "", "UPDATE chunks SET fee = 5 WHERE id = " ID(R_LANDED) },
    { "chunks_fee", NULL, "", TO("10", ", done = 1, minted_at = 1, block_time = 1, fee = -1, evidence = '{}', assets = 'x'", ID(R_LANDED)) },
    { "chunks_state", NULL, "DROP TRIGGER chunks_transition", TO("7", "", ID(R_UP)) },

    { "item_moves_source", "item_moves_source", NEW_CHUNK("1", R_UP, "1"), MOVE(ID(R_UP), "0", ID(R_UP), LATER " + 900", "0") },
    { "item_moves_source", "item_moves_source", NEW_CHUNK("1", R_DONE, "1"), MOVE(ID(R_DONE), "0", ID(R_DONE), LATER " + 900", "0") },       /* minted: never */
    { "item_moves_member", "item_moves_member", NEW_CHUNK("1", R_FAILED, "1"), MOVE(ID(R_UP), "0", ID(R_FAILED), LATER " + 900", "0") },
    { "item_moves_member", "item_moves_member", NEW_CHUNK("1", R_MOVED, "1"), MOVE(ID(R_MOVED), "1", ID(R_MOVED), LATER " + 900", "0") },      /* it has left */
    { "item_moves_member", "item_moves_member", NEW_CHUNK("1", R_FAILED, "1"), MOVE(ID(R_FAILED), "3", ID(R_FAILED), LATER " + 900", "0") },
    { "item_moves_seat", "item_moves_seat", NEW_CHUNK("1", R_FAILED, "1"), MOVE(ID(R_FAILED), "0", ID(R_FAILED), LATER " + 900", "1") },
    { "item_moves_seat", "item_moves_seat", NEW_CHUNK("1", R_UP, "1"), MOVE(ID(R_FAILED), "0", ID(R_FAILED), LATER " + 900", "0") },          /* of another request */
    { "item_moves_taken", "item_moves_seat", NEW_CHUNK("1", R_FAILED, "1") ";" MOVE(ID(R_FAILED), "0", ID(R_FAILED), LATER " + 900", "0"),
      "INSERT OR REPLACE INTO item_moves VALUES (" ID(R_FAILED) " + 1, 0, 0, " ID(R_FAILED) ", " LATER " + 900, 0)" },
    { "item_moves_fixed", "item_moves_fixed", "", "UPDATE item_moves SET pos = 7 WHERE item = " ID(R_MOVED) },
    { "item_moves_keep", "item_moves_keep", "", "DELETE FROM item_moves" },
    { "item_moves_kind", NULL, "DROP TRIGGER item_moves_source; DROP TRIGGER item_moves_member; DROP TRIGGER item_moves_seat", "INSERT INTO item_moves VALUES (1, 1, 0, 1, 1, 0)" },

    { "attempts_id", "attempts_replace", "", "INSERT OR REPLACE INTO attempts (chunk, no, network, tx_id, bytes, bound, fee_cap, slot, epoch, created_at) "
      "VALUES (" ID(R_SIGNED) ", 1, 'net1', 'q', x'01', 5, 1, 1, 1, 1)" },
    { "attempts_tx_id", "attempts_replace", SIGN(ID(R_UP)), "INSERT OR REPLACE INTO attempts (chunk, no, network, tx_id, bytes, bound, fee_cap, slot, epoch, created_at) "
      "SELECT " ID(R_UP) ", 1, network, tx_id, x'01', 5, 1, 1, 1, 1 FROM attempts WHERE chunk = " ID(R_SIGNED) },
    { "attempts_proof", "attempts_proof", "DROP TRIGGER chunks_attempt_no; DROP TRIGGER attempts_fence", ATTEMPT(ID(R_SIGNED), "2", "'q'") },
    { "fk", "fk", "DROP TRIGGER attempts_proof; DROP TRIGGER attempts_fence", ATTEMPT(ID(R_SIGNED), "2", "'q'") },      /* the key alone holds it too */
    { "attempts_fence", "attempts_fence", "", ATTEMPT(ID(R_UP), "1", "'q'") },                                        /* not signed */
    { "attempts_fence", "attempts_fence", SIGN(ID(R_UP)) "; UPDATE leases SET epoch = epoch + 1", ATTEMPT(ID(R_UP), "1", "'q'") },
    { "attempts_fence", "attempts_fence", SIGN(ID(R_UP)) "; UPDATE chunks SET owner = 2 WHERE id = " ID(R_UP), ATTEMPT(ID(R_UP), "1", "'q'") },
    { "attempts_complete", "attempts_complete", "DROP TRIGGER chunks_start; INSERT INTO chunks (id, n, kind, origin, lane, collection, venue, request, state, owner, accepted_at) "
      "VALUES (" LATER " + 900, 1, 0, 1, 1, 1, 1, 4, 3, 1, 1); " SIGN(LATER " + 900"), ATTEMPT(LATER " + 900", "1", "'q'") },
    { "attempts_bytes", "attempts_bytes", SIGN(ID(R_UP)), "INSERT INTO attempts (chunk, no, network, tx_id, bound, fee_cap, slot, epoch, created_at) VALUES (" ID(R_UP) ", 1, 'n', 'q', 5, 1, 1, 1, 1)" },
    { "attempts_fixed", "attempts_fixed", "", "UPDATE attempts SET tx_id = 'q' WHERE chunk = " ID(R_SIGNED) },
    { "attempts_fixed", "attempts_fixed", "", "UPDATE attempts SET bound = 0 WHERE chunk = " ID(R_DONE) },
    { "attempts_emptied", "attempts_emptied", "", "UPDATE attempts SET bytes = NULL WHERE chunk = " ID(R_SIGNED) },
    { "attempts_emptied", "attempts_emptied", "", "UPDATE attempts SET bytes = x'02' WHERE chunk = " ID(R_DONE) },
    { "attempts_keep", "attempts_keep", "", "DELETE FROM attempts WHERE chunk = " ID(R_SIGNED) },
    { "attempts_no", NULL, SIGN(ID(R_UP)), ATTEMPT(ID(R_UP), "1", "''") },

    { "proofs_id", "proofs_replace", "DROP TRIGGER proofs_newest", "INSERT OR REPLACE INTO proofs (chunk, no, kind, error, created_at) VALUES (" ID(R_FAILED) ", 1, 2, 'q', 1)" },
    { "proofs_newest", "proofs_newest", "", PROOF(ID(R_DONE), "1", "2", "1", "1") },
    { "proofs_newest", "proofs_newest", "", PROOF(ID(R_UP), "1", "2", "1", "1") },
    { "fk", "fk", "DROP TRIGGER proofs_newest", PROOF(ID(R_UP), "1", "2", "1", "1") },
    { "proofs_bound", "proofs_bound", "", PROOF(ID(R_SIGNED), "1", "1", "100", "100") },
    { "proofs_fixed", "proofs_fixed", "", "UPDATE proofs SET watermark = 1 WHERE chunk = " ID(R_FAILED) },
    { "proofs_keep", "proofs_keep", "", "DELETE FROM proofs WHERE chunk = " ID(R_FAILED) },
    { "proofs_kind", NULL, "", PROOF(ID(R_SIGNED), "1", "5", "1", "1") },
    { "proofs_expired", NULL, "", PROOF(ID(R_SIGNED), "1", "1", "101", "100") },
    { "proofs_expired", NULL, "", PROOF(ID(R_SIGNED), "1", "1", "101", "NULL") },
    { "proofs_erred", NULL, "", "INSERT INTO proofs (chunk, no, kind, created_at) VALUES (" ID(R_SIGNED) ", 1, 2, 1)" },
    { "proofs_operators", NULL, "", "INSERT INTO proofs (chunk, no, kind, by1, by2, created_at) VALUES (" ID(R_SIGNED) ", 1, 4, 'ann', 'ann', 1)" },

    { "verdicts_id", "verdicts_replace", "INSERT INTO verdicts VALUES (" ID(R_QUAR) ", 1, 1, 'a', 'b', 'e', 1)", "INSERT OR REPLACE INTO verdicts VALUES (" ID(R_QUAR) ", 1, 1, 'c', 'd', 'e', 1)" },
    { "verdicts_chunk", "verdicts_chunk", "", "INSERT INTO verdicts VALUES (" ID(R_DONE) ", 1, 1, 'a', 'b', 'e', 1)" },
    { "verdicts_fixed", "verdicts_fixed", "INSERT INTO verdicts VALUES (" ID(R_QUAR) ", 1, 1, 'a', 'b', 'e', 1)", "UPDATE verdicts SET by1 = 'c'" },
    { "verdicts_keep", "verdicts_keep", "INSERT INTO verdicts VALUES (" ID(R_QUAR) ", 1, 1, 'a', 'b', 'e', 1)", "DELETE FROM verdicts" },
    { "verdicts_two", NULL, "", "INSERT INTO verdicts VALUES (" ID(R_QUAR) ", 1, 1, 'a', 'a', 'e', 1)" },
    { "verdicts_kind", NULL, "", "INSERT INTO verdicts VALUES (" ID(R_QUAR) ", 1, 9, 'a', 'b', 'e', 1)" },

    { "leases_slot", "leases_replace", "", "INSERT OR REPLACE INTO leases VALUES (1, 9, 'thief', 9, 0, " HASH32 ")" },
    { "leases_forward", "leases_forward", "", "UPDATE leases SET epoch = epoch - 1, holder = holder WHERE slot = 1 AND epoch > 1 OR slot = 2" },
    { "leases_forward", "leases_forward", "", "UPDATE leases SET holder = 'thief' WHERE slot = 1" },
    { "leases_forward", "leases_forward", "", "UPDATE leases SET event_seq = 0 WHERE slot = 1" },
    { "leases_forward", "leases_forward", "", "UPDATE leases SET head = zeroblob(32) WHERE slot = 1" },
    { "leases_keep", "leases_keep", "", "DELETE FROM leases" },
    { "leases_values", NULL, "", "INSERT INTO leases VALUES (0, 1, 'z', 1, 0, " HASH32 ")" },
    { "events_dense", "events_dense", "", "INSERT INTO events SELECT slot, max(seq) + 2, 1, 1, 1, 1, 'k', NULL, hash, NULL FROM events" },
    { "events_dense", "events_dense", "", "INSERT INTO events VALUES (55, 1, 1, 1, 1, 1, 'k', NULL, " HASH32 ", NULL)" },
    { "events_dense", "events_dense", "", "INSERT OR REPLACE INTO events SELECT slot, seq, 1, 1, 1, 1, 'forged', NULL, hash, NULL FROM events WHERE seq = 1" },
    { "events_fixed", "events_fixed", "", "UPDATE events SET body = 'q'" },
    { "events_keep", "events_keep", "", "DELETE FROM events WHERE seq = 1" },
    { "events_hash", NULL, "", "INSERT INTO events SELECT slot, max(seq) + 1, 1, 1, 1, 1, 'k', NULL, x'00', NULL FROM events" },

    { "spend_cap", NULL, "", "INSERT INTO spend VALUES ('s', 1, 10, 6, 5)" },
    { "spend_values", NULL, "", "INSERT INTO spend VALUES ('s', 1, NULL, -1, 0)" },
    { "counters_scope", NULL, "", "INSERT INTO counters (scope, scope_id, kind, stripe) VALUES (2, 1, 1, 1)" },
    { "rollups_hour", NULL, "", "INSERT INTO rollups (venue, pipeline, hour) VALUES (1, 'line', 5)" },
    { "reconciliation_reports_total", NULL, "", "INSERT INTO reconciliation_reports VALUES (1, 'v', 'd', 5, 1, 1, 1, 1, 0, 0.0, NULL, 't')" },
    { "reconciliation_reports_rate", NULL, "", "INSERT INTO reconciliation_reports VALUES (1, 'v', 'd', 3, 1, 1, 1, 0, 1, 0.33, NULL, 't')" },
    { "findings_state", NULL, "", "INSERT INTO findings (venue, class, subject, state, created_at) VALUES (1, 'c', 1, 1, 1)" },
    { "api_keys_digest", NULL, "", "INSERT INTO api_keys (name, hash, scopes, created_at) VALUES ('n', x'00', 's', 1)" },
    { "api_keys_unique", "api_keys_replace", KEY("1", "'k'", "1"), "INSERT OR REPLACE INTO api_keys (name, hash, scopes, created_at) VALUES ('k', " HASH32 ", 's', 1)" },
    { "api_keys_hash", "api_keys_replace", KEY("1", "'k'", "1"), "INSERT OR REPLACE INTO api_keys (name, hash, scopes, created_at) SELECT 'q', hash, 's', 1 FROM api_keys" },
    { "api_keys_id", "api_keys_replace", KEY("1", "'k'", "1"), "INSERT OR REPLACE INTO api_keys (id, name, hash, scopes, created_at) VALUES (1, 'q', " HASH32 ", 's', 1)" },
    { "api_keys_fixed", "api_keys_fixed", KEY("1", "'k'", "1"), "UPDATE api_keys SET hash = " HASH32 },
    { "api_keys_fixed", "api_keys_fixed", KEY("1", "'k'", "1"), "UPDATE api_keys SET name = 'q'" },
    { "api_keys_fixed", "api_keys_fixed", KEY("1", "'k'", "1"), "UPDATE api_keys SET scopes = 'admin'" },
    { "api_keys_fixed", "api_keys_fixed", KEY("1", "'k'", "1"), "UPDATE api_keys SET expires_at = NULL" },
    { "api_keys_revoked", "api_keys_revoked", KEY("1", "'k'", "1"), "UPDATE api_keys SET revoked_at = NULL" },
    { "api_keys_revoked", "api_keys_revoked", KEY("1", "'k'", "1"), "UPDATE api_keys SET revoked_at = revoked_at + 1" },
    { "api_keys_used", "api_keys_used", KEY("1", "'k'", "1"), "UPDATE api_keys SET used_at = used_at - 1" },
    { "api_keys_used", "api_keys_used", KEY("1", "'k'", "1"), "UPDATE api_keys SET used_at = NULL" },
    { "api_keys_keep", "api_keys_keep", KEY("1", "'k'", "1"), "DELETE FROM api_keys" },
    { "fk", "fk", "", KEY("1", "'k'", "99") },
    { "reconciliation_reports_id", "reconciliation_reports_replace", REPORT("1", "5"), "INSERT OR REPLACE INTO reconciliation_reports VALUES (1, 'v', 'd', 0, 0, 0, 0, 0, 0, 0.0, NULL, 't')" },
    { "reconciliation_reports_fixed", "reconciliation_reports_fixed", REPORT("1", "5"), "UPDATE reconciliation_reports SET report_data = '{}'" },
    { "reconciliation_reports_keep", "reconciliation_reports_keep", REPORT("1", "5"), "DELETE FROM reconciliation_reports" },
    { "webhooks_state", NULL, "", "INSERT INTO webhooks (url, state, created_at) VALUES ('u', 3, 1)" },
    { "reconcile_runs_counts", NULL, "", "INSERT INTO reconcile_runs (venue, mode, total_checked, started_at) VALUES (1, 'm', 1, 1)" },
};

static struct fix f;

static void make_world(void)
{
    fix_world(&f, "rules.db");
    uint64_t made = collection(&f, f.venue, "made", 0), show = f.collection, id[10];
    for (int r = 1; r <= 9; r++) {
        char key[8];
        snprintf(key, sizeof key, "r%d", r);
        id[r] = accept(&f, key, 2, 2) << 24;
        assert_int_equal(id[r], (uint64_t)r << 24);
    }
    struct mintd_stage st = { .size = sizeof st, .slot = f.slot, .epoch = f.epoch, .venue = f.venue, .idem_key = S("r10") };
    assert_ok(call(&f, STAGE, &st, 0, (struct mintd_vec){ 0 }));
    st.request = 10;
    assert_ok(call(&f, STAGE, &st, 0, (struct mintd_vec){ items(&f, "r10", 0, 2), 2, sizeof(struct mintd_db_item) }));
    assert_int_equal(sqlite3_exec(raw(&f), "UPDATE chunks SET owner = 1, state = 2 WHERE state = 1 AND id <> 2 << 24", NULL, NULL, NULL), SQLITE_OK);
    bring(&f, id[1], SIGNED);
    bring(&f, id[3], DONE);
    bring(&f, id[4], SIGNED);
    bring(&f, id[5], UPLOADED);
    bring(&f, id[6], LANDED);
    bring(&f, id[7], SIGNED);
    bring(&f, id[9], SIGNED);
    step(&f, id[4], SIGNED, FAILED, 1);
    proof(&f, 1, MINTD_PROOF_EXPIRED);
    step(&f, id[7], SIGNED, QUARANTINE, 1);
    step(&f, id[8], UPLOADING, MOVED, 0);
    split(&f, id[8], id[8], MINTD_MINT, (uint32_t[]){ 2 }, 1);
    step(&f, id[9], SIGNED, UPLOADED, 1);
    proof(&f, 1, MINTD_PROOF_EXPIRED);
    const struct mintd_applied *a = commit(&f);
    for (int i = 0; i < 4; i++) assert_verdict(&a[i], MINTD_APPLIED, "");
    assert_int_equal(newest_chunk(&f), (uint64_t)1 << 62);
    f.collection = made;
    accept(&f, "creation", 1, 1);
    f.collection = show;
    lease(&f, "two", 30000, 0);
    assert_int_equal(sqlite3_exec(raw(&f), "UPDATE leases SET epoch = epoch + 1 WHERE slot = 2", NULL, NULL, NULL), SQLITE_OK);
}

static void assert_exec(sqlite3 *h, const char *sql)
{
    if (sqlite3_exec(h, sql, NULL, NULL, NULL)) fail_msg("%s: %s", sql, sqlite3_errmsg(h));
}

/* What stops the statement, with or without its rule; "" when nothing does. Everything is undone. */
static const char *try(sqlite3 *h, const struct rule *r, bool without, char said[256])
{
    bool fk = r->drop && !strcmp(r->drop, "fk");
    assert_exec(h, without && fk ? "PRAGMA foreign_keys = OFF" : "PRAGMA foreign_keys = ON");
    assert_exec(h, "BEGIN IMMEDIATE");
    if (r->before[0]) assert_exec(h, r->before);
    if (without && !r->drop) assert_exec(h, "PRAGMA ignore_check_constraints = ON");
    if (without && r->drop && !fk) {
        char sql[160];
        snprintf(sql, sizeof sql, "DROP TRIGGER %s", r->drop);
        assert_exec(h, sql);
    }
    int rc = sqlite3_exec(h, r->sql, NULL, NULL, NULL);
    snprintf(said, 256, "%s", rc ? sqlite3_errmsg(h) : "");
    if (!rc && !sqlite3_changes(h)) snprintf(said, 256, "nothing was touched");
    if (!sqlite3_get_autocommit(h)) assert_exec(h, "ROLLBACK");
    assert_exec(h, "PRAGMA ignore_check_constraints = OFF");
    return said;
}

static void refusals(void **state)
{
    (void)state;
    make_world();
    sqlite3 *h = raw(&f);
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const struct rule *r = &rules[i];
        char want[256], said[256];
        bool fk = !strcmp(r->name, "fk");
        snprintf(want, sizeof want, "%s%s", fk ? "FOREIGN KEY constraint failed" : r->drop ? "" : "CHECK constraint failed: ", fk ? "" : r->name);
        if (strcmp(try(h, r, false, said), want)) { print_error("%s: \"%s\", not \"%s\"\n", r->sql, said, want); failed++; }
        if (!strcmp(try(h, r, true, said), want) || strstr(said, "nothing")) { print_error("%s: without %s still \"%s\"\n", r->sql, r->name, said); failed++; }
    }
    assert_int_equal(failed, 0);
    assert_true(ARRAY_LEN(rules) >= 60);
    fix_free(&f);
}

static void every_trigger_has_a_case(void **state)
{
    (void)state;
    fix_world(&f, "rules.db");
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(raw(&f), "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND sql LIKE '%RAISE%'", -1, &st, NULL), SQLITE_OK);
    int n = 0;
    for (; sqlite3_step(st) == SQLITE_ROW; n++) {
        const char *name = (const char *)sqlite3_column_text(st, 0);
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(rules); i++) found = found || (rules[i].drop && !strcmp(rules[i].drop, name));
        if (!found) fail_msg("no case for the trigger %s", name);
    }
    sqlite3_finalize(st);
    assert_true(n > 60);
    fix_free(&f);
}

static int gone(void **state) { (void)state; tmp_clean(); return 0; }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(refusals), cmocka_unit_test(every_trigger_has_a_case) };
    return cmocka_run_group_tests(tests, NULL, gone);
}
