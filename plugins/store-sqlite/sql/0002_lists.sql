-- Version 2: what lists need: when a key was used last, the request of an event, indexes in the order of the lists.
-- Each index is of MINT chunks alone: an item is minted, failed or in quarantine with its mint, never with its delivery.

ALTER TABLE api_keys ADD COLUMN used_at INTEGER;

-- Of the request itself or of one of its chunks. Not in the hash: it follows from the subject.
ALTER TABLE events ADD COLUMN request INTEGER;
UPDATE events SET request = CASE subject_kind WHEN 3 THEN subject WHEN 5 THEN (SELECT request FROM chunks WHERE id = subject) END;
CREATE INDEX events_request ON events (request, slot, seq) WHERE request IS NOT NULL;

DROP INDEX chunks_minted;
CREATE INDEX chunks_minted ON chunks (venue, minted_at, id) WHERE minted_at IS NOT NULL AND kind = 0;
CREATE INDEX chunks_minted_any ON chunks (minted_at, id) WHERE minted_at IS NOT NULL AND kind = 0;

-- By id: the reason of a chunk may change while its list is turned, its number does not.
CREATE INDEX chunks_troubled ON chunks (venue, id) WHERE problem IS NOT NULL AND kind = 0;
