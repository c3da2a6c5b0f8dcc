/* The prepared statements by name; included by store.h for the names and by db.c for the texts. */
SQL(BEGIN, "BEGIN IMMEDIATE")
SQL(BEGIN_READ, "BEGIN")
SQL(COMMIT, "COMMIT")
SQL(SAVEPOINT, "SAVEPOINT g")
SQL(RELEASE, "RELEASE g")
SQL(UNDO, "ROLLBACK TO g")

/* leases, meta */
SQL(LEASE_HEAD, "SELECT epoch, event_seq, head FROM leases WHERE slot = ?1")
SQL(LEASE_CHAIN, "UPDATE leases SET event_seq = ?2, head = ?3 WHERE slot = ?1")
SQL(LEASE_OWN, "SELECT slot FROM leases WHERE holder = ?1 ORDER BY slot")
SQL(LEASE_EXPIRED, "SELECT slot FROM leases WHERE expires_at <= ?2 AND holder <> ?1 ORDER BY slot LIMIT 1")
SQL(LEASE_TAKE, "UPDATE leases SET epoch = epoch + 1, holder = ?2, expires_at = ?3 WHERE slot = ?1")
SQL(LEASE_NEW, "INSERT INTO leases (slot, epoch, holder, expires_at, head) "
    "SELECT coalesce(max(slot), 0) + 1, 1, ?1, ?2, zeroblob(32) FROM leases RETURNING slot")
SQL(LEASE_RENEW, "UPDATE leases SET expires_at = ?4 WHERE slot = ?1 AND epoch = ?2 AND (?3 IS NULL OR holder = ?3)")
SQL(META_GET, "SELECT val FROM meta WHERE key = ?1")
SQL(META_PUT, "INSERT INTO meta (key, val) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET val = excluded.val")

/* venues, collections */
SQL(VENUE_FIND, "SELECT id FROM venues WHERE name = ?1")
SQL(VENUE_ADD, "INSERT INTO venues (name) VALUES (?1)")
SQL(COLLECTION_FIND, "SELECT id FROM collections WHERE venue = ?1 AND pipeline = ?2 AND name = ?3")
SQL(COLLECTION_ADD, "INSERT INTO collections (venue, pipeline, name, spec, network, parent, max_supply, state, chain_ref) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
SQL(COLLECTION_STATE, "SELECT state, chain_ref, venue FROM collections WHERE id = ?1")
SQL(COLLECTION_SET, "UPDATE collections SET state = ?2, chain_ref = coalesce(?3, chain_ref), "
    "park_reason = coalesce(?4, CASE WHEN state = ?2 THEN park_reason END) WHERE id = ?1")
SQL(COLLECTION_ACCEPT, "UPDATE collections SET accepted = accepted + ?2 WHERE id = ?1")

/* requests, items */
SQL(REQUEST_FIND, "SELECT r.id, r.state, r.body_hash, EXISTS (SELECT 1 FROM leases l WHERE l.slot = r.slot AND l.epoch = r.epoch) "
    "FROM requests r WHERE r.venue = ?1 AND r.idem_key = ?2")
SQL(REQUEST_STATE, "SELECT r.venue, r.state, r.body_hash, r.slot, r.epoch, r.cancel_at, "
    "EXISTS (SELECT 1 FROM leases l WHERE l.slot = r.slot AND l.epoch = r.epoch) FROM requests r WHERE r.id = ?1")
SQL(REQUEST_ADD, "INSERT INTO requests (venue, idem_key, state, slot, epoch, not_before, options, created_at) "
    "VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7)")
SQL(REQUEST_SEAL, "UPDATE requests SET state = 1, body_hash = ?2, n_items = ?3, sealed_at = ?4, "
    "options = coalesce(?5, options), not_before = coalesce(?6, not_before) WHERE id = ?1")
SQL(REQUEST_CANCEL, "UPDATE requests SET cancel_at = ?2 WHERE id = ?1")
SQL(REQUEST_FINISH, "UPDATE requests SET finished_at = ?2 WHERE id = ?1 AND finished_at IS NULL")
SQL(REQUEST_DELETE, "DELETE FROM requests WHERE id = ?1")
SQL(REQUEST_STALE, "SELECT r.id FROM requests r WHERE r.state = 0 "
    "AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.slot = r.slot AND l.epoch = r.epoch) ORDER BY r.id LIMIT 1")
SQL(REQUEST_OPEN_SEATS, "SELECT coalesce(sum(CASE kind WHEN 0 THEN open + quarantined ELSE 0 END), 0), "
    "coalesce(sum(open + quarantined), 0), coalesce(sum(CASE kind WHEN 0 THEN done ELSE 0 END), 0), "
    "coalesce(sum(CASE kind WHEN 0 THEN failed ELSE 0 END), 0), coalesce(sum(CASE kind WHEN 0 THEN cancelled ELSE 0 END), 0) "
    "FROM counters WHERE scope = 1 AND scope_id = ?1")
SQL(ITEM_ADD, "INSERT INTO items (id, venue, ticket, ord, recipient, uri, body, extra) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
SQL(ITEM_HOLDER, "SELECT id FROM items WHERE ticket = ?1 AND venue = ?2")
SQL(ITEM_DELETE, "DELETE FROM items WHERE id IN (SELECT id FROM items WHERE id >= ?1 AND id < ?2 LIMIT ?3)")

/* keys, reports: times of a report are texts, as its table has them */
SQL(KEY_FIND, "SELECT id, hash FROM api_keys WHERE name = ?1")
SQL(KEY_ADD, "INSERT INTO api_keys (name, hash, scopes, venue, cidr, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
SQL(KEY_TIMES, "SELECT revoked_at, used_at FROM api_keys WHERE id = ?1")
SQL(KEY_REVOKE, "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1")
SQL(KEY_USE, "UPDATE api_keys SET used_at = ?2 WHERE id = ?1")
SQL(GET_KEY, "SELECT id, venue, name, hash, scopes, cidr, created_at, expires_at, revoked_at, used_at FROM api_keys WHERE id = ?1")
SQL(LIST_KEYS, "SELECT id FROM api_keys WHERE id > ?1 ORDER BY id LIMIT ?2")
#define ISO(ms) "strftime('%Y-%m-%dT%H:%M:%fZ', " ms " / 1000.0, 'unixepoch')"
#define MS(iso) "CAST(round((julianday(" iso ") - 2440587.5) * 86400000.0) AS INTEGER)"
#define REPORT_COLUMNS "SELECT id, total_checked, confirmed, not_found, pending, errors, discrepancy_count, venue_id, report_data, " \
    MS("report_date") ", " MS("created_at") " FROM reconciliation_reports "
SQL(REPORT_FIND, "SELECT id FROM reconciliation_reports WHERE venue_id = ?1 AND report_date = " ISO("?2") " AND total_checked = ?3 "
    "AND confirmed = ?4 AND not_found = ?5 AND pending = ?6 AND errors = ?7 AND discrepancy_count = ?8 ORDER BY id LIMIT 1")
SQL(REPORT_ADD, "INSERT INTO reconciliation_reports (venue_id, report_date, total_checked, confirmed, not_found, pending, errors, "
    "discrepancy_count, discrepancy_rate, report_data, created_at) VALUES (?1, " ISO("?2") ", ?3, ?4, ?5, ?6, ?7, ?8, "
    "CASE ?3 WHEN 0 THEN 0.0 ELSE round(1.0 * ?8 / ?3, 6) END, ?9, " ISO("?10") ")")
SQL(LIST_REPORTS, REPORT_COLUMNS "WHERE id < ?1 ORDER BY id DESC LIMIT ?2")
SQL(LIST_REPORTS_VENUE, REPORT_COLUMNS "WHERE venue_id = ?3 AND (report_date, id) < "
    "(coalesce((SELECT report_date FROM reconciliation_reports WHERE id = ?1), '~'), ?1) ORDER BY report_date DESC, id DESC LIMIT ?2")
#undef ISO
#undef MS
#undef REPORT_COLUMNS

/* chunks */
SQL(CHUNK_HEAD, "SELECT state, attempt_no, owner, collection, venue, request FROM chunks WHERE id = ?1")
SQL(CHUNK_NEXT_ID, "SELECT max(id) FROM chunks")
SQL(CHUNK_ADD, "INSERT INTO chunks (id, n, kind, origin, parent, lane, collection, venue, request, state, wake_at, accepted_at) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")
/* The two steps of the good path name no indexed column but the last: whoever owns a chunk keeps it. */
SQL(CHUNK_STEP, "UPDATE chunks SET state = ?2, attempt_no = ?3 WHERE id = ?1")
SQL(CHUNK_UPLOADED, "UPDATE chunks SET state = ?2, attempt_no = ?3, uploaded_at = coalesce(?4, uploaded_at), upload = coalesce(?5, upload) "
    "WHERE id = ?1")
SQL(CHUNK_OTHER, "UPDATE chunks SET state = ?2, attempt_no = ?3, uploaded_at = coalesce(?4, uploaded_at), upload = coalesce(?5, upload), "
    "owner = ?6, wake_at = coalesce(?7, wake_at), problem = ?8, error = ?9 WHERE id = ?1")
SQL(CHUNK_FINAL, "UPDATE chunks SET state = 10, done = 1, minted_at = ?2, block_time = ?3, first_serial = ?4, assets = ?5, fee = ?6, "
    "evidence = ?7, problem = NULL, error = NULL WHERE id = ?1")
SQL(CHUNK_END, "UPDATE chunks SET state = ?2, done = 1, problem = ?3, error = ?4 WHERE id = ?1")
SQL(CHUNK_FOLLOW, "SELECT id FROM chunks WHERE parent = ?1 AND kind = ?2 AND origin = 2")
SQL(CHUNK_CREATION, "SELECT id FROM chunks WHERE collection = ?1 AND kind = 1 AND parent IS NULL")
SQL(CHUNK_DUE, "SELECT id FROM chunks WHERE done = 0 AND lane = ?1 AND wake_at <= ?2 AND owner IS NULL AND state IN (1, 3) "
    "AND (?3 = 0 OR collection = ?3) ORDER BY wake_at, id LIMIT ?4")
SQL(CHUNK_CLAIM, "UPDATE chunks SET owner = ?2, state = CASE state WHEN 1 THEN 2 ELSE state END WHERE id = ?1")
SQL(CHUNK_GET, "SELECT id, n, kind, origin, parent, lane, collection, venue, request, state, attempt_no, owner, wake_at, problem, error, "
    "accepted_at, uploaded_at, minted_at, block_time, first_serial, assets, fee, evidence, upload FROM chunks WHERE id = ?1")
SQL(ATTEMPT_ADD, "INSERT INTO attempts (chunk, no, network, tx_id, bytes, bound, fee_cap, assets, slot, epoch, created_at) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")
SQL(ATTEMPT_TX, "SELECT tx_id FROM attempts WHERE chunk = ?1 AND no = ?2")
SQL(ATTEMPT_GET, "SELECT chunk, no, network, tx_id, bytes, bound, fee_cap, assets, slot, epoch, created_at FROM attempts "
    "WHERE chunk = ?1 AND no = ?2")
SQL(ATTEMPT_LIST, "SELECT chunk, no, network, tx_id, CASE ?3 WHEN 0 THEN bytes END, bound, fee_cap, assets, slot, epoch, created_at "
    "FROM attempts WHERE chunk = ?1 AND no > ?2 ORDER BY no")
SQL(PROOF_ADD, "INSERT INTO proofs (chunk, no, kind, watermark, absent_at, effect_absent, quorum, endpoints, error, by1, by2, raw_hash, "
    "facts, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)")
SQL(PROOF_LIST, "SELECT chunk, no, kind, watermark, absent_at, effect_absent, quorum, endpoints, error, by1, by2, raw_hash, facts, created_at "
    "FROM proofs WHERE chunk = ?1 AND no > ?2 ORDER BY no")
SQL(MOVE_ADD, "INSERT INTO item_moves (item, kind, gen, from_chunk, to_chunk, pos) "
    "SELECT ?1, ?2, (SELECT count(*) FROM item_moves WHERE item = ?1 AND kind = ?2), ?3, ?4, ?5")
SQL(MOVE_DONE, "SELECT 1 FROM item_moves WHERE from_chunk = ?1 AND item = ?2")
SQL(TRANSIT, "SELECT coalesce(sum(transit), 0) FROM counters WHERE scope = 0 AND scope_id = ?1")
SQL(SPEND_RESERVE, "INSERT INTO spend (scope, window_start, cap, reserved) VALUES (?1, ?2, ?3, ?4) "
    "ON CONFLICT (scope, window_start) DO UPDATE SET cap = excluded.cap, reserved = reserved + excluded.reserved")
SQL(SPEND_SETTLE, "INSERT INTO spend (scope, window_start, spent) VALUES (?1, ?2, ?4) ON CONFLICT (scope, window_start) DO UPDATE SET "
    "reserved = max(0, reserved + ?3), spent = spent + ?4, cap = max(cap, max(0, reserved + ?3) + spent + ?4)")
SQL(EVENT_ADD, "INSERT INTO events (slot, seq, at, venue, subject_kind, subject, kind, body, hash, request) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, "
    "?8, ?9, CASE ?5 WHEN 3 THEN ?6 WHEN 5 THEN (SELECT request FROM chunks WHERE id = ?6) END)")

/* members of a chunk, in order; the place of an item */
SQL(ITEM_GET, "SELECT i.id, i.venue, i.ticket, i.recipient, i.uri, i.body, i.extra, i.ord, 0 FROM items i "
    "JOIN requests r ON r.id = i.id >> 24 AND r.state = 1 WHERE i.id = ?1")
SQL(MEMBERS_HOME, "SELECT id, venue, ticket, recipient, uri, body, extra, ord, id - ?1 FROM items WHERE id >= ?1 AND id < ?1 + ?2 ORDER BY id")
SQL(MEMBERS_MOVED, "SELECT i.id, i.venue, i.ticket, i.recipient, i.uri, i.body, i.extra, i.ord, m.pos FROM item_moves m "
    "JOIN items i ON i.id = m.item WHERE m.to_chunk = ?1 ORDER BY m.pos")
SQL(HOME_OF, "SELECT id FROM chunks WHERE id <= ?1 ORDER BY id DESC LIMIT 1")
SQL(MOVED_TO, "SELECT to_chunk, pos FROM item_moves WHERE item = ?1 AND kind = ?2 ORDER BY gen DESC LIMIT 1")
SQL(STATE_OF, "SELECT state FROM chunks WHERE id = ?1")

/* lists of items, from the newest back: the next chunk, then its members from the last to the first, and whether each is of an event */
#define FOUND "SELECT id, n, origin, state, collection, venue, request, minted_at FROM chunks WHERE "
#define OF_EVENT(col) "?3 IS NULL OR CASE WHEN json_valid(" col ") THEN CAST(json_extract(" col ", '$.eventId') AS TEXT) = ?3 END"
SQL(NEWEST_CHUNK, FOUND "id < ?1 ORDER BY id DESC LIMIT 1")
/* Those of one commit were minted in the same millisecond: the rest of it first, then the time before. */
SQL(MINTED_WITH, FOUND "kind = 0 AND minted_at = ?1 AND id < ?2 ORDER BY id DESC LIMIT 1")
SQL(MINTED_BEFORE, FOUND "kind = 0 AND minted_at < ?1 ORDER BY minted_at DESC, id DESC LIMIT 1")
SQL(MINTED_WITH_VENUE, FOUND "kind = 0 AND venue = ?3 AND minted_at = ?1 AND id < ?2 ORDER BY id DESC LIMIT 1")
SQL(MINTED_BEFORE_VENUE, FOUND "kind = 0 AND venue = ?2 AND minted_at < ?1 ORDER BY minted_at DESC, id DESC LIMIT 1")
SQL(TROUBLED_CHUNK, FOUND "problem IS NOT NULL AND kind = 0 AND venue = ?1 AND id < ?2 ORDER BY id DESC LIMIT 1")
SQL(TROUBLED_VENUE, "SELECT min(venue) FROM chunks WHERE problem IS NOT NULL AND kind = 0 AND venue > ?1")
SQL(SEATS_HOME, "SELECT id, id - ?1, " OF_EVENT("extra") " FROM items WHERE id >= ?1 AND id < ?1 + ?2 ORDER BY id DESC")
SQL(SEATS_MOVED, "SELECT i.id, m.pos, " OF_EVENT("i.extra") " FROM item_moves m JOIN items i ON i.id = m.item "
    "WHERE m.to_chunk = ?1 AND m.pos < ?2 ORDER BY m.pos DESC")
SQL(REQUEST_CREATED, "SELECT created_at FROM requests WHERE id = ?1")
#undef FOUND
#undef OF_EVENT

/* queries: lists of ids, then rows by id */
SQL(LIST_VENUES, "SELECT id FROM venues WHERE id > ?1 ORDER BY id LIMIT ?2")
SQL(LIST_COLLECTIONS, "SELECT id FROM collections WHERE id > ?1 AND (?3 = 0 OR venue = ?3) ORDER BY id LIMIT ?2")
SQL(LIST_COLLECTIONS_NAMED, "SELECT id FROM collections WHERE name = ?1 AND (?2 = 0 OR venue = ?2)")
SQL(LIST_REQUESTS, "SELECT id FROM requests WHERE state = 1 AND id < ?1 ORDER BY id DESC LIMIT ?2")
SQL(LIST_REQUESTS_VENUE, "SELECT id FROM requests WHERE state = 1 AND id < ?1 AND venue = ?3 ORDER BY id DESC LIMIT ?2")
SQL(LIST_REQUESTS_TIME, "SELECT id FROM requests WHERE state = 1 AND id < ?1 AND (?3 = 0 OR venue = ?3) AND created_at >= ?4 AND created_at < ?5 "
    "ORDER BY id DESC LIMIT ?2")
SQL(LIST_REQUESTS_KEY, "SELECT id FROM requests WHERE venue = ?1 AND idem_key = ?2")
SQL(LIST_ITEMS, "SELECT id FROM items WHERE id > ?1 AND id >= ?3 AND id < ?4 ORDER BY id LIMIT ?2")
SQL(LIST_ITEMS_TICKET, "SELECT id FROM items WHERE ticket = ?1 AND (?2 = 0 OR venue = ?2)")
SQL(LIST_CHUNKS_HOME, "SELECT id FROM chunks WHERE id > ?1 AND id >= ?3 AND id < ?4 AND (?5 >> state) & 1 "
    "ORDER BY id LIMIT ?2")
SQL(LIST_CHUNKS_LATER, "SELECT id FROM chunks WHERE request = ?3 AND origin > 0 AND id > ?1 AND (?4 >> state) & 1 ORDER BY id LIMIT ?2")
SQL(LIST_CHUNKS_SLOT, "SELECT id FROM chunks WHERE done = 0 AND owner = ?3 AND owner IS NOT NULL AND id > ?1 AND (?4 >> state) & 1 "
    "ORDER BY id LIMIT ?2")
SQL(GET_VENUE, "SELECT id, name FROM venues WHERE id = ?1")
SQL(GET_COLLECTION, "SELECT id, venue, parent, max_supply, accepted, state, pipeline, name, spec, network, chain_ref, park_reason "
    "FROM collections WHERE id = ?1")
SQL(GET_REQUEST, "SELECT id, venue, n_items, idem_key, body_hash, options, state, not_before, cancel_at, created_at, sealed_at, finished_at "
    "FROM requests WHERE id = ?1")
SQL(LIST_EVENTS, "SELECT slot, seq, at, venue, subject_kind, subject, kind, body, hash FROM events "
    "WHERE (slot, seq) > (?1, ?2) ORDER BY slot, seq LIMIT ?3")
SQL(LIST_EVENTS_SLOT, "SELECT slot, seq, at, venue, subject_kind, subject, kind, body, hash FROM events "
    "WHERE slot = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")
SQL(LIST_EVENTS_REQUEST, "SELECT slot, seq, at, venue, subject_kind, subject, kind, body, hash FROM events "
    "WHERE request = ?1 AND request IS NOT NULL AND (slot, seq) > (?2, ?3) ORDER BY slot, seq LIMIT ?4")
SQL(EVENT_KEYS, "SELECT slot, seq FROM events WHERE subject = ?1 AND (slot, seq) > (?2, ?3) AND (?5 = 0 OR venue = ?5) "
    "ORDER BY slot, seq LIMIT ?4")
SQL(EVENT_GET, "SELECT slot, seq, at, venue, subject_kind, subject, kind, body, hash FROM events WHERE slot = ?1 AND seq = ?2")
SQL(LIST_SPEND, "SELECT scope, window_start, cap, reserved, spent FROM spend WHERE (scope, window_start) > (?1, ?2) "
    "ORDER BY scope, window_start LIMIT ?3")
SQL(LIST_SPEND_SCOPE, "SELECT scope, window_start, cap, reserved, spent FROM spend WHERE scope = ?1 AND window_start > ?2 "
    "ORDER BY window_start LIMIT ?3")
SQL(LIST_LEASES, "SELECT slot, epoch, holder, expires_at, event_seq, head FROM leases WHERE slot > ?1 ORDER BY slot LIMIT ?2")
SQL(GET_LEASE, "SELECT slot, epoch, holder, expires_at, event_seq, head FROM leases WHERE slot = ?1")
SQL(LIST_META, "SELECT key, val FROM meta WHERE key > ?1 ORDER BY key LIMIT ?2")
SQL(GET_META, "SELECT key, val FROM meta WHERE key = ?1")
SQL(NEXT_LANE, "SELECT min(lane) FROM chunks WHERE done = 0 AND lane >= ?1")
SQL(LANE_COLLECTION, "SELECT venue, pipeline, state FROM collections WHERE id = ?1")
SQL(LANE_FREE, "SELECT wake_at FROM chunks WHERE done = 0 AND lane = ?1 AND owner IS NULL AND state IN (1, 3) ORDER BY wake_at, id LIMIT ?2")
SQL(LANE_CREATIONS, "SELECT id, wake_at, collection FROM chunks WHERE done = 0 AND lane = 0 AND owner IS NULL AND state IN (1, 3) AND id > ?1 "
    "ORDER BY id")
SQL(COUNTS, "SELECT coalesce(sum(open), 0), coalesce(sum(quarantined), 0), coalesce(sum(done), 0), coalesce(sum(failed), 0), "
    "coalesce(sum(cancelled), 0), coalesce(sum(transit), 0), coalesce(sum(mint_ms), 0), coalesce(sum(fee), 0) "
    "FROM counters WHERE scope = 0 AND kind = ?1")
SQL(COUNTS_ONE, "SELECT coalesce(sum(open), 0), coalesce(sum(quarantined), 0), coalesce(sum(done), 0), coalesce(sum(failed), 0), "
    "coalesce(sum(cancelled), 0), coalesce(sum(transit), 0), coalesce(sum(mint_ms), 0), coalesce(sum(fee), 0) "
    "FROM counters WHERE scope = ?2 AND scope_id = ?3 AND kind = ?1")
