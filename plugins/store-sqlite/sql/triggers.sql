-- Every trigger of the store. A refusal carries the name of its trigger, or of the key that it guards. start compares this list
-- with the database's, migrate makes it anew. Each statement begins with "CREATE TRIGGER" and ends with a line "END;".
-- A list of three and more after IN costs a table in memory at each evaluation; on the road of a chunk pairs and ranges stand instead.
-- "_replace" triggers close a hole of SQLite: INSERT OR REPLACE deletes the row in its way without asking the delete triggers.

-- ---- meta, venues, collections

CREATE TRIGGER meta_replace BEFORE INSERT ON meta
WHEN NEW.key IN ('identity', 'schema') AND EXISTS (SELECT 1 FROM meta WHERE key = NEW.key)
BEGIN
    SELECT RAISE(ABORT, 'meta_replace');
END;

CREATE TRIGGER meta_fixed BEFORE UPDATE ON meta
WHEN OLD.key IN ('identity', 'schema') OR NEW.key <> OLD.key
BEGIN
    SELECT RAISE(ABORT, 'meta_fixed');
END;

CREATE TRIGGER meta_keep BEFORE DELETE ON meta
WHEN OLD.key IN ('identity', 'schema')
BEGIN
    SELECT RAISE(ABORT, 'meta_keep');
END;

CREATE TRIGGER venues_replace BEFORE INSERT ON venues
BEGIN
    SELECT RAISE(ABORT, 'venues_unique') WHERE EXISTS (SELECT 1 FROM venues WHERE name = NEW.name);
    SELECT RAISE(ABORT, 'venues_id') WHERE EXISTS (SELECT 1 FROM venues WHERE id = NEW.id);
END;

CREATE TRIGGER venues_fixed BEFORE UPDATE ON venues
BEGIN
    SELECT RAISE(ABORT, 'venues_fixed');
END;

CREATE TRIGGER venues_keep BEFORE DELETE ON venues
BEGIN
    SELECT RAISE(ABORT, 'venues_keep');
END;

CREATE TRIGGER collections_replace BEFORE INSERT ON collections
BEGIN
    SELECT RAISE(ABORT, 'collections_unique')
    WHERE EXISTS (SELECT 1 FROM collections WHERE venue = NEW.venue AND pipeline = NEW.pipeline AND name = NEW.name);
    SELECT RAISE(ABORT, 'collections_id') WHERE EXISTS (SELECT 1 FROM collections WHERE id = NEW.id);
    SELECT RAISE(ABORT, 'collections_chain_ref')
    WHERE EXISTS (SELECT 1 FROM collections WHERE network = NEW.network AND chain_ref = NEW.chain_ref);
END;

CREATE TRIGGER collections_parent BEFORE INSERT ON collections
WHEN NEW.parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM collections WHERE id = NEW.parent AND venue = NEW.venue)
BEGIN
    SELECT RAISE(ABORT, 'collections_parent');
END;

CREATE TRIGGER collections_fixed BEFORE UPDATE OF id, venue, pipeline, name, parent, spec, network, max_supply ON collections
BEGIN
    SELECT RAISE(ABORT, 'collections_fixed');
END;

CREATE TRIGGER collections_ref_once BEFORE UPDATE OF chain_ref ON collections
WHEN NEW.chain_ref IS NOT OLD.chain_ref
BEGIN
    SELECT RAISE(ABORT, 'collections_ref_once') WHERE OLD.chain_ref IS NOT NULL;
    SELECT RAISE(ABORT, 'collections_chain_ref')
    WHERE EXISTS (SELECT 1 FROM collections WHERE network = OLD.network AND chain_ref = NEW.chain_ref);
END;

CREATE TRIGGER collections_transition BEFORE UPDATE OF state ON collections
WHEN NEW.state <> OLD.state AND NOT (CASE OLD.state
    WHEN 1 THEN NEW.state IN (2, 3, 5)
    WHEN 2 THEN NEW.state IN (3, 4, 5)
    WHEN 3 THEN NEW.state IN (2, 5) OR (NEW.state = 1 AND NEW.chain_ref IS NULL)
    WHEN 4 THEN NEW.state = 5
    ELSE 0 END)
BEGIN
    SELECT RAISE(ABORT, 'collections_transition');
END;

CREATE TRIGGER collections_accepted BEFORE UPDATE OF accepted ON collections
WHEN NEW.accepted < OLD.accepted OR (OLD.state = 5 AND NEW.accepted <> OLD.accepted)
BEGIN
    SELECT RAISE(ABORT, 'collections_accepted');
END;

CREATE TRIGGER collections_keep BEFORE DELETE ON collections
BEGIN
    SELECT RAISE(ABORT, 'collections_keep');
END;

-- ---- requests and items

CREATE TRIGGER requests_replace BEFORE INSERT ON requests
BEGIN
    SELECT RAISE(ABORT, 'requests_unique')
    WHERE EXISTS (SELECT 1 FROM requests WHERE venue = NEW.venue AND idem_key = NEW.idem_key);
    SELECT RAISE(ABORT, 'requests_id') WHERE EXISTS (SELECT 1 FROM requests WHERE id = NEW.id);
END;

CREATE TRIGGER requests_start BEFORE INSERT ON requests
WHEN NEW.state <> 0
BEGIN
    SELECT RAISE(ABORT, 'requests_start');
END;

CREATE TRIGGER requests_fixed BEFORE UPDATE OF id, venue, idem_key, slot, epoch, created_at ON requests
BEGIN
    SELECT RAISE(ABORT, 'requests_fixed');
END;

CREATE TRIGGER requests_frozen BEFORE UPDATE OF state, body_hash, n_items, sealed_at, options, not_before ON requests
WHEN OLD.state = 1
BEGIN
    SELECT RAISE(ABORT, 'requests_frozen');
END;

-- Every item lies in exactly one first chunk: as many items as promised, as many seats, and no seat without an item.
CREATE TRIGGER requests_seal BEFORE UPDATE OF state ON requests
WHEN NEW.state = 1 AND OLD.state = 0 AND (
    (SELECT count(*) FROM items WHERE id >= OLD.id << 24 AND id < (OLD.id + 1) << 24) IS NOT NEW.n_items
    OR (SELECT sum(n) FROM chunks WHERE id >= OLD.id << 24 AND id < (OLD.id + 1) << 24) IS NOT NEW.n_items
    OR EXISTS (SELECT 1 FROM chunks c WHERE c.id >= OLD.id << 24 AND c.id < (OLD.id + 1) << 24
               AND (SELECT count(*) FROM items WHERE id >= c.id AND id < c.id + c.n) <> c.n))
BEGIN
    SELECT RAISE(ABORT, 'requests_seal');
END;

CREATE TRIGGER requests_cancel_once BEFORE UPDATE OF cancel_at ON requests
WHEN OLD.cancel_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'requests_cancel_once');
END;

CREATE TRIGGER requests_finish BEFORE UPDATE OF finished_at ON requests
WHEN OLD.finished_at IS NOT NULL
     OR (SELECT coalesce(sum(open + quarantined), 1) FROM counters WHERE scope = 1 AND scope_id = OLD.id) <> 0
BEGIN
    SELECT RAISE(ABORT, 'requests_finish');
END;

CREATE TRIGGER requests_keep BEFORE DELETE ON requests
WHEN OLD.state = 1
BEGIN
    SELECT RAISE(ABORT, 'requests_keep');
END;

CREATE TRIGGER requests_rows BEFORE DELETE ON requests
WHEN EXISTS (SELECT 1 FROM items WHERE id >= OLD.id << 24 AND id < (OLD.id + 1) << 24)
BEGIN
    SELECT RAISE(ABORT, 'requests_rows');
END;

CREATE TRIGGER items_replace BEFORE INSERT ON items
BEGIN
    SELECT RAISE(ABORT, 'items_unique') WHERE EXISTS (SELECT 1 FROM items WHERE ticket = NEW.ticket AND venue = NEW.venue);
    SELECT RAISE(ABORT, 'items_id') WHERE EXISTS (SELECT 1 FROM items WHERE id = NEW.id);
END;

CREATE TRIGGER items_open BEFORE INSERT ON items
WHEN NOT EXISTS (SELECT 1 FROM requests WHERE id = NEW.id >> 24 AND state = 0 AND venue = NEW.venue)
BEGIN
    SELECT RAISE(ABORT, 'items_open');
END;

CREATE TRIGGER items_fixed BEFORE UPDATE OF id, venue, ticket, ord, recipient, uri ON items
BEGIN
    SELECT RAISE(ABORT, 'items_fixed');
END;

-- Retention may empty what is published and private once the item's chunk is terminal.
CREATE TRIGGER items_emptied BEFORE UPDATE OF body, extra ON items
WHEN (NEW.body IS NOT NULL AND NEW.body IS NOT OLD.body) OR (NEW.extra IS NOT NULL AND NEW.extra IS NOT OLD.extra)
     OR NOT EXISTS (SELECT 1 FROM chunks WHERE done = 1 AND id = coalesce(
         (SELECT to_chunk FROM item_moves WHERE item = OLD.id AND kind = 0 ORDER BY gen DESC LIMIT 1),
         (SELECT id FROM chunks WHERE id <= OLD.id ORDER BY id DESC LIMIT 1)))
BEGIN
    SELECT RAISE(ABORT, 'items_emptied');
END;

CREATE TRIGGER items_keep BEFORE DELETE ON items
WHEN NOT EXISTS (SELECT 1 FROM requests WHERE id = OLD.id >> 24 AND state = 0)
BEGIN
    SELECT RAISE(ABORT, 'items_keep');
END;

-- ---- chunks

CREATE TRIGGER chunks_replace BEFORE INSERT ON chunks
BEGIN
    SELECT RAISE(ABORT, 'chunks_id') WHERE EXISTS (SELECT 1 FROM chunks WHERE id = NEW.id);
    SELECT RAISE(ABORT, 'chunks_follow') WHERE NEW.origin = 2 AND NEW.parent IS NOT NULL
        AND EXISTS (SELECT 1 FROM chunks WHERE parent = NEW.parent AND kind = NEW.kind AND origin = 2);
    SELECT RAISE(ABORT, 'chunks_create') WHERE NEW.kind = 1 AND NEW.parent IS NULL
        AND EXISTS (SELECT 1 FROM chunks WHERE collection = NEW.collection AND kind = 1 AND parent IS NULL);
END;

CREATE TRIGGER chunks_home BEFORE INSERT ON chunks
WHEN NEW.origin = 0 AND NOT (NEW.id >> 24 = NEW.request AND (NEW.id + NEW.n - 1) >> 24 = NEW.request
     AND EXISTS (SELECT 1 FROM requests WHERE id = NEW.request AND state = 0 AND venue = NEW.venue))
BEGIN
    SELECT RAISE(ABORT, 'chunks_home');
END;

CREATE TRIGGER chunks_overlap BEFORE INSERT ON chunks
WHEN NEW.origin = 0 AND (SELECT id + n FROM chunks WHERE id < NEW.id + NEW.n ORDER BY id DESC LIMIT 1) > NEW.id
BEGIN
    SELECT RAISE(ABORT, 'chunks_overlap');
END;

CREATE TRIGGER chunks_start BEFORE INSERT ON chunks
WHEN NEW.attempt_no <> 0 OR NEW.state NOT IN (1, 3) OR (NEW.origin = 0 AND NEW.state <> 1) OR (NEW.kind <> 0 AND NEW.state <> 3)
BEGIN
    SELECT RAISE(ABORT, 'chunks_start');
END;

CREATE TRIGGER chunks_collection BEFORE INSERT ON chunks
WHEN NOT EXISTS (SELECT 1 FROM collections WHERE id = NEW.collection AND venue = NEW.venue)
BEGIN
    SELECT RAISE(ABORT, 'chunks_collection');
END;

CREATE TRIGGER chunks_request BEFORE INSERT ON chunks
WHEN NEW.origin > 0 AND NEW.request IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM requests WHERE id = NEW.request AND state = 1 AND venue = NEW.venue)
BEGIN
    SELECT RAISE(ABORT, 'chunks_request');
END;

-- A delivery follows a mint that is DONE and carries all of its items; a creation is tried again after a dead one.
CREATE TRIGGER chunks_parent BEFORE INSERT ON chunks
WHEN NEW.origin = 2 AND NEW.parent IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM chunks p WHERE p.id = NEW.parent AND p.collection = NEW.collection AND CASE NEW.kind
        WHEN 2 THEN p.kind = 0 AND p.state = 10 AND p.n = NEW.n AND p.request IS NEW.request
        ELSE p.kind = 1 AND p.state IN (11, 12) END)
BEGIN
    SELECT RAISE(ABORT, 'chunks_parent');
END;

CREATE TRIGGER chunks_terminal BEFORE UPDATE ON chunks
WHEN OLD.done <> 0
BEGIN
    SELECT RAISE(ABORT, 'chunks_terminal');
END;

CREATE TRIGGER chunks_fixed BEFORE UPDATE OF id, n, kind, origin, parent, lane, collection, venue, request, accepted_at ON chunks
BEGIN
    SELECT RAISE(ABORT, 'chunks_fixed');
END;

CREATE TRIGGER chunks_transition BEFORE UPDATE OF state ON chunks
WHEN NEW.state <> OLD.state AND NOT (CASE OLD.state
    WHEN 1 THEN NEW.state IN (2, 6) OR NEW.state BETWEEN 11 AND 13
    WHEN 2 THEN NEW.state IN (1, 3) OR NEW.state = 6 OR NEW.state BETWEEN 11 AND 13
    WHEN 3 THEN NEW.state IN (4, 6) OR NEW.state BETWEEN 11 AND 13
    WHEN 4 THEN NEW.state IN (3, 5) OR NEW.state IN (6, 13) OR NEW.state BETWEEN 10 AND 11
    WHEN 5 THEN NEW.state IN (3, 4) OR NEW.state IN (6, 13) OR NEW.state BETWEEN 10 AND 11
    WHEN 6 THEN NEW.state BETWEEN 3 AND 5 OR NEW.state BETWEEN 10 AND 13
    ELSE 0 END)
BEGIN
    SELECT RAISE(ABORT, 'chunks_transition');
END;

CREATE TRIGGER chunks_attempt_no BEFORE UPDATE OF state, attempt_no ON chunks
WHEN NEW.attempt_no <> OLD.attempt_no + (OLD.state = 3 AND NEW.state = 4)
BEGIN
    SELECT RAISE(ABORT, 'chunks_attempt_no');
END;

CREATE TRIGGER chunks_attempt_row BEFORE UPDATE OF state ON chunks
WHEN NEW.state IN (5, 10) AND NEW.state <> OLD.state
     AND NOT EXISTS (SELECT 1 FROM attempts WHERE chunk = OLD.id AND no = OLD.attempt_no)
BEGIN
    SELECT RAISE(ABORT, 'chunks_attempt_row');
END;

CREATE TRIGGER chunks_proof BEFORE UPDATE OF state ON chunks
WHEN OLD.attempt_no > 0 AND (NEW.state BETWEEN 1 AND 3 OR NEW.state BETWEEN 11 AND 13)
     AND NOT EXISTS (SELECT 1 FROM proofs WHERE chunk = OLD.id AND no = OLD.attempt_no)
BEGIN
    SELECT RAISE(ABORT, 'chunks_proof');
END;

CREATE TRIGGER chunks_alive BEFORE UPDATE OF state ON chunks
WHEN (NEW.state IN (4, 5) OR NEW.state = 10) AND NEW.attempt_no = OLD.attempt_no
     AND EXISTS (SELECT 1 FROM proofs WHERE chunk = OLD.id AND no = OLD.attempt_no)
     AND NOT (NEW.state = 10 AND EXISTS (SELECT 1 FROM verdicts WHERE chunk = OLD.id AND no = OLD.attempt_no AND kind = 1))
BEGIN
    SELECT RAISE(ABORT, 'chunks_alive');
END;

CREATE TRIGGER chunks_serial BEFORE UPDATE OF first_serial ON chunks
WHEN NEW.first_serial IS NOT NULL AND OLD.kind = 0
     AND (SELECT first_serial + n FROM chunks WHERE collection = OLD.collection AND kind = 0 AND first_serial IS NOT NULL
          AND first_serial < NEW.first_serial + OLD.n ORDER BY first_serial DESC LIMIT 1) > NEW.first_serial
BEGIN
    SELECT RAISE(ABORT, 'chunks_serial');
END;

CREATE TRIGGER chunks_keep BEFORE DELETE ON chunks
BEGIN
    SELECT RAISE(ABORT, 'chunks_keep');
END;

-- ---- moves

CREATE TRIGGER item_moves_source BEFORE INSERT ON item_moves
WHEN NOT EXISTS (SELECT 1 FROM chunks WHERE id = NEW.from_chunk AND kind = NEW.kind AND state IN (11, 12, 13))
BEGIN
    SELECT RAISE(ABORT, 'item_moves_source');
END;

-- The item must be in the source now: by its last move, else by the range it lies in (a delivery: by the mint it follows).
CREATE TRIGGER item_moves_member BEFORE INSERT ON item_moves
WHEN NEW.gen <> (SELECT count(*) FROM item_moves WHERE item = NEW.item AND kind = NEW.kind)
     OR CASE WHEN NEW.gen > 0
        THEN NEW.from_chunk IS NOT (SELECT to_chunk FROM item_moves WHERE item = NEW.item AND kind = NEW.kind
                                    ORDER BY gen DESC LIMIT 1)
        ELSE NOT EXISTS (
            SELECT 1 FROM chunks f LEFT JOIN chunks p ON p.id = f.parent AND f.origin = 2
            WHERE f.id = NEW.from_chunk AND f.kind = NEW.kind AND CASE
                WHEN NEW.kind = 0 THEN f.origin = 0 AND NEW.item >= f.id AND NEW.item < f.id + f.n
                WHEN f.origin <> 2 THEN 0
                WHEN p.origin = 0 THEN NEW.item >= p.id AND NEW.item < p.id + p.n
                ELSE EXISTS (SELECT 1 FROM item_moves WHERE item = NEW.item AND kind = 0 AND to_chunk = p.id) END) END
BEGIN
    SELECT RAISE(ABORT, 'item_moves_member');
END;

CREATE TRIGGER item_moves_seat BEFORE INSERT ON item_moves
BEGIN
    SELECT RAISE(ABORT, 'item_moves_taken') WHERE EXISTS (SELECT 1 FROM item_moves WHERE to_chunk = NEW.to_chunk AND pos = NEW.pos);
    SELECT RAISE(ABORT, 'item_moves_seat') WHERE NOT EXISTS (
        SELECT 1 FROM chunks t JOIN chunks f ON f.id = NEW.from_chunk
        WHERE t.id = NEW.to_chunk AND t.origin = 1 AND t.kind = NEW.kind AND t.done = 0 AND t.attempt_no = 0
          AND NEW.pos >= 0 AND NEW.pos < t.n AND t.venue = f.venue AND t.collection = f.collection AND t.request = f.request);
END;

CREATE TRIGGER item_moves_fixed BEFORE UPDATE ON item_moves
BEGIN
    SELECT RAISE(ABORT, 'item_moves_fixed');
END;

CREATE TRIGGER item_moves_keep BEFORE DELETE ON item_moves
BEGIN
    SELECT RAISE(ABORT, 'item_moves_keep');
END;

-- ---- attempts, proofs, verdicts

CREATE TRIGGER attempts_replace BEFORE INSERT ON attempts
BEGIN
    SELECT RAISE(ABORT, 'attempts_id') WHERE EXISTS (SELECT 1 FROM attempts WHERE chunk = NEW.chunk AND no = NEW.no);
    SELECT RAISE(ABORT, 'attempts_tx_id') WHERE EXISTS (SELECT 1 FROM attempts WHERE tx_id = NEW.tx_id AND network = NEW.network);
END;

CREATE TRIGGER attempts_proof BEFORE INSERT ON attempts
WHEN NEW.no > 1 AND NOT EXISTS (SELECT 1 FROM proofs WHERE chunk = NEW.chunk AND no = NEW.no - 1)
BEGIN
    SELECT RAISE(ABORT, 'attempts_proof');
END;

-- The fence of the attempt itself: the lease is current, and the chunk was just signed under this number by this slot.
CREATE TRIGGER attempts_fence BEFORE INSERT ON attempts
WHEN NOT EXISTS (SELECT 1 FROM chunks c JOIN leases l ON l.slot = NEW.slot AND l.epoch = NEW.epoch
                 WHERE c.id = NEW.chunk AND c.state = 4 AND c.attempt_no = NEW.no AND c.owner = NEW.slot)
BEGIN
    SELECT RAISE(ABORT, 'attempts_fence');
END;

CREATE TRIGGER attempts_complete BEFORE INSERT ON attempts
WHEN EXISTS (SELECT 1 FROM chunks c WHERE c.id = NEW.chunk AND c.origin = 1
             AND c.n <> (SELECT count(*) FROM item_moves WHERE to_chunk = c.id))
BEGIN
    SELECT RAISE(ABORT, 'attempts_complete');
END;

CREATE TRIGGER attempts_bytes BEFORE INSERT ON attempts
WHEN NEW.bytes IS NULL OR length(NEW.bytes) = 0
BEGIN
    SELECT RAISE(ABORT, 'attempts_bytes');
END;

CREATE TRIGGER attempts_fixed BEFORE UPDATE OF chunk, no, network, tx_id, bound, fee_cap, assets, slot, epoch, created_at ON attempts
BEGIN
    SELECT RAISE(ABORT, 'attempts_fixed');
END;

CREATE TRIGGER attempts_emptied BEFORE UPDATE OF bytes ON attempts
WHEN NEW.bytes IS NOT NULL OR NOT EXISTS (SELECT 1 FROM chunks WHERE id = OLD.chunk AND done = 1)
BEGIN
    SELECT RAISE(ABORT, 'attempts_emptied');
END;

CREATE TRIGGER attempts_keep BEFORE DELETE ON attempts
BEGIN
    SELECT RAISE(ABORT, 'attempts_keep');
END;

CREATE TRIGGER proofs_replace BEFORE INSERT ON proofs
WHEN EXISTS (SELECT 1 FROM proofs WHERE chunk = NEW.chunk AND no = NEW.no)
BEGIN
    SELECT RAISE(ABORT, 'proofs_id');
END;

CREATE TRIGGER proofs_newest BEFORE INSERT ON proofs
WHEN NOT EXISTS (SELECT 1 FROM chunks c JOIN attempts a ON a.chunk = c.id AND a.no = NEW.no
                 WHERE c.id = NEW.chunk AND c.state IN (4, 5, 6) AND c.attempt_no = NEW.no)
BEGIN
    SELECT RAISE(ABORT, 'proofs_newest');
END;

CREATE TRIGGER proofs_bound BEFORE INSERT ON proofs
WHEN NEW.kind = 1 AND NOT NEW.watermark > (SELECT bound FROM attempts WHERE chunk = NEW.chunk AND no = NEW.no)
BEGIN
    SELECT RAISE(ABORT, 'proofs_bound');
END;

CREATE TRIGGER proofs_fixed BEFORE UPDATE ON proofs
BEGIN
    SELECT RAISE(ABORT, 'proofs_fixed');
END;

CREATE TRIGGER proofs_keep BEFORE DELETE ON proofs
BEGIN
    SELECT RAISE(ABORT, 'proofs_keep');
END;

CREATE TRIGGER verdicts_replace BEFORE INSERT ON verdicts
WHEN EXISTS (SELECT 1 FROM verdicts WHERE chunk = NEW.chunk AND no = NEW.no AND kind = NEW.kind)
BEGIN
    SELECT RAISE(ABORT, 'verdicts_id');
END;

CREATE TRIGGER verdicts_chunk BEFORE INSERT ON verdicts
WHEN NOT EXISTS (SELECT 1 FROM chunks WHERE id = NEW.chunk AND done = 0 AND attempt_no = NEW.no)
BEGIN
    SELECT RAISE(ABORT, 'verdicts_chunk');
END;

CREATE TRIGGER verdicts_fixed BEFORE UPDATE ON verdicts
BEGIN
    SELECT RAISE(ABORT, 'verdicts_fixed');
END;

CREATE TRIGGER verdicts_keep BEFORE DELETE ON verdicts
BEGIN
    SELECT RAISE(ABORT, 'verdicts_keep');
END;

-- ---- leases and events

CREATE TRIGGER leases_replace BEFORE INSERT ON leases
WHEN EXISTS (SELECT 1 FROM leases WHERE slot = NEW.slot)
BEGIN
    SELECT RAISE(ABORT, 'leases_slot');
END;

CREATE TRIGGER leases_forward BEFORE UPDATE ON leases
WHEN NEW.slot <> OLD.slot OR NEW.epoch < OLD.epoch OR NEW.event_seq < OLD.event_seq
     OR (NEW.holder <> OLD.holder AND NEW.epoch = OLD.epoch) OR (NEW.head <> OLD.head AND NEW.event_seq = OLD.event_seq)
BEGIN
    SELECT RAISE(ABORT, 'leases_forward');
END;

CREATE TRIGGER leases_keep BEFORE DELETE ON leases
BEGIN
    SELECT RAISE(ABORT, 'leases_keep');
END;

CREATE TRIGGER events_dense BEFORE INSERT ON events
WHEN NEW.seq <> coalesce((SELECT max(seq) FROM events WHERE slot = NEW.slot), 0) + 1
     OR NOT EXISTS (SELECT 1 FROM leases WHERE slot = NEW.slot)
BEGIN
    SELECT RAISE(ABORT, 'events_dense');
END;

CREATE TRIGGER events_fixed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events_fixed');
END;

CREATE TRIGGER events_keep BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events_keep');
END;

-- ---- keys and reports: who could come in, and what was found

CREATE TRIGGER api_keys_replace BEFORE INSERT ON api_keys
BEGIN
    SELECT RAISE(ABORT, 'api_keys_unique') WHERE EXISTS (SELECT 1 FROM api_keys WHERE name = NEW.name);
    SELECT RAISE(ABORT, 'api_keys_hash') WHERE EXISTS (SELECT 1 FROM api_keys WHERE hash = NEW.hash);
    SELECT RAISE(ABORT, 'api_keys_id') WHERE EXISTS (SELECT 1 FROM api_keys WHERE id = NEW.id);
END;

CREATE TRIGGER api_keys_fixed BEFORE UPDATE OF id, name, hash, scopes, venue, cidr, created_at, expires_at ON api_keys
BEGIN
    SELECT RAISE(ABORT, 'api_keys_fixed');
END;

CREATE TRIGGER api_keys_revoked BEFORE UPDATE OF revoked_at ON api_keys
WHEN OLD.revoked_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'api_keys_revoked');
END;

CREATE TRIGGER api_keys_used BEFORE UPDATE OF used_at ON api_keys
WHEN OLD.used_at IS NOT NULL AND (NEW.used_at IS NULL OR NEW.used_at < OLD.used_at)
BEGIN
    SELECT RAISE(ABORT, 'api_keys_used');
END;

CREATE TRIGGER api_keys_keep BEFORE DELETE ON api_keys
BEGIN
    SELECT RAISE(ABORT, 'api_keys_keep');
END;

CREATE TRIGGER reconciliation_reports_replace BEFORE INSERT ON reconciliation_reports
WHEN EXISTS (SELECT 1 FROM reconciliation_reports WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'reconciliation_reports_id');
END;

CREATE TRIGGER reconciliation_reports_fixed BEFORE UPDATE ON reconciliation_reports
BEGIN
    SELECT RAISE(ABORT, 'reconciliation_reports_fixed');
END;

CREATE TRIGGER reconciliation_reports_keep BEFORE DELETE ON reconciliation_reports
BEGIN
    SELECT RAISE(ABORT, 'reconciliation_reports_keep');
END;

-- ---- counters: seats of chunks by the state of their chunk. A COLLECTION chunk counts as one.

CREATE TRIGGER chunks_counted AFTER INSERT ON chunks
BEGIN
    INSERT INTO counters (scope, scope_id, kind, stripe, open, transit)
    VALUES (0, NEW.venue, NEW.kind, coalesce(NEW.owner, 0), NEW.n + (NEW.kind = 1), NEW.n * (NEW.origin = 1))
    ON CONFLICT (scope, scope_id, kind, stripe) DO UPDATE SET open = open + excluded.open, transit = transit + excluded.transit;
    INSERT INTO counters (scope, scope_id, kind, stripe, open, transit)
    SELECT 1, NEW.request, NEW.kind, coalesce(NEW.owner, 0), NEW.n, NEW.n * (NEW.origin = 1) WHERE NEW.request IS NOT NULL
    ON CONFLICT (scope, scope_id, kind, stripe) DO UPDATE SET open = open + excluded.open, transit = transit + excluded.transit;
END;

CREATE TRIGGER chunks_recounted AFTER UPDATE OF state ON chunks
WHEN NEW.state <> OLD.state AND (NEW.state >= 6 OR OLD.state >= 6)
BEGIN
    INSERT INTO counters (scope, scope_id, kind, stripe, open, quarantined, done, failed, cancelled, transit, mint_ms, fee)
    VALUES (0, NEW.venue, NEW.kind, coalesce(NEW.owner, OLD.owner, 0),
           (NEW.n + (NEW.kind = 1)) * ((NEW.state < 6) - (OLD.state < 6)), (NEW.n + (NEW.kind = 1)) * ((NEW.state = 6) - (OLD.state = 6)),
           (NEW.n + (NEW.kind = 1)) * (NEW.state = 10), (NEW.n + (NEW.kind = 1)) * (NEW.state = 11),
           (NEW.n + (NEW.kind = 1)) * (NEW.state = 12), NEW.n * (NEW.state = 13),
           NEW.n * max(0, coalesce(NEW.minted_at - NEW.accepted_at, 0)), coalesce(NEW.fee, 0))
    ON CONFLICT (scope, scope_id, kind, stripe) DO UPDATE SET
        open = open + excluded.open, quarantined = quarantined + excluded.quarantined, done = done + excluded.done,
        failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled, transit = transit + excluded.transit,
        mint_ms = mint_ms + excluded.mint_ms, fee = fee + excluded.fee;
    INSERT INTO counters (scope, scope_id, kind, stripe, open, quarantined, done, failed, cancelled, transit, mint_ms, fee)
    SELECT 1, NEW.request, NEW.kind, coalesce(NEW.owner, OLD.owner, 0),
           NEW.n * ((NEW.state < 6) - (OLD.state < 6)), NEW.n * ((NEW.state = 6) - (OLD.state = 6)),
           NEW.n * (NEW.state = 10), NEW.n * (NEW.state = 11),
           NEW.n * (NEW.state = 12), NEW.n * (NEW.state = 13),
           NEW.n * max(0, coalesce(NEW.minted_at - NEW.accepted_at, 0)), coalesce(NEW.fee, 0) WHERE NEW.request IS NOT NULL
    ON CONFLICT (scope, scope_id, kind, stripe) DO UPDATE SET
        open = open + excluded.open, quarantined = quarantined + excluded.quarantined, done = done + excluded.done,
        failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled, transit = transit + excluded.transit,
        mint_ms = mint_ms + excluded.mint_ms, fee = fee + excluded.fee;
END;

CREATE TRIGGER item_moves_counted AFTER INSERT ON item_moves
BEGIN
    INSERT INTO counters (scope, scope_id, kind, stripe, failed, cancelled, transit)
    SELECT s.scope, CASE s.scope WHEN 0 THEN f.venue ELSE f.request END, NEW.kind, 0,
           -(f.state = 11), -(f.state = 12), -1 - (f.state = 13)
    FROM (SELECT 0 AS scope UNION ALL SELECT 1) s, chunks f WHERE f.id = NEW.from_chunk
    ON CONFLICT (scope, scope_id, kind, stripe) DO UPDATE SET
        failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled, transit = transit + excluded.transit;
END;
