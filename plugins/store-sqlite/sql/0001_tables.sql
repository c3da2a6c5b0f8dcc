-- Version 1: every table of the store. Times are ms since the epoch, amounts the chain's smallest unit.
-- Constraints are named; the name is what an outcome's slug carries after "store.". Triggers stand in triggers.sql.

-- ---- the database itself

CREATE TABLE meta (
    key TEXT NOT NULL,
    val TEXT NOT NULL,
    CONSTRAINT meta_key PRIMARY KEY (key)
) STRICT, WITHOUT ROWID;

CREATE TABLE migrations (
    version    INTEGER NOT NULL,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,          -- SHA-256 of the file, hex
    applied_at INTEGER NOT NULL,
    CONSTRAINT migrations_version PRIMARY KEY (version)
) STRICT;

-- ---- who and where

CREATE TABLE venues (
    id   INTEGER NOT NULL,
    name TEXT NOT NULL,
    CONSTRAINT venues_id PRIMARY KEY (id),
    CONSTRAINT venues_unique UNIQUE (name),
    CONSTRAINT venues_named CHECK (length(name) > 0)
) STRICT;

CREATE TABLE collections (
    id          INTEGER NOT NULL,
    venue       INTEGER NOT NULL,
    pipeline    TEXT NOT NULL,
    name        TEXT NOT NULL,
    parent      INTEGER,               -- tree of a collection
    spec        TEXT,                  -- JSON
    network     TEXT NOT NULL,
    chain_ref   TEXT,                  -- as the chain names it, set once
    state       INTEGER NOT NULL,      -- 1 NEW 2 READY 3 PARKED 4 FULL 5 CLOSED
    park_reason TEXT,
    max_supply  INTEGER,               -- NULL: no limit
    accepted    INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT collections_id PRIMARY KEY (id),
    CONSTRAINT collections_unique UNIQUE (venue, pipeline, name),
    CONSTRAINT collections_chain_ref UNIQUE (network, chain_ref),
    CONSTRAINT collections_venue FOREIGN KEY (venue) REFERENCES venues (id),
    CONSTRAINT collections_state CHECK (state BETWEEN 1 AND 5),
    CONSTRAINT collections_supply CHECK (accepted >= 0 AND (max_supply IS NULL OR accepted <= max_supply))
) STRICT;

-- ---- what was promised

CREATE TABLE requests (
    id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,      -- a number is never used twice
    venue       INTEGER NOT NULL,
    idem_key    TEXT NOT NULL,
    body_hash   BLOB,                  -- SHA-256, from the seal on
    state       INTEGER NOT NULL,      -- 0 OPEN 1 SEALED
    n_items     INTEGER,
    slot        INTEGER NOT NULL,      -- who took it in
    epoch       INTEGER NOT NULL,
    not_before  INTEGER,
    cancel_at   INTEGER,
    options     TEXT,
    created_at  INTEGER NOT NULL,
    sealed_at   INTEGER,
    finished_at INTEGER,
    CONSTRAINT requests_unique UNIQUE (venue, idem_key),
    CONSTRAINT requests_venue FOREIGN KEY (venue) REFERENCES venues (id),
    CONSTRAINT requests_id CHECK (id BETWEEN 1 AND (1 << 38) - 1),
    CONSTRAINT requests_keyed CHECK (length(idem_key) > 0),
    CONSTRAINT requests_state CHECK (state IN (0, 1)),
    CONSTRAINT requests_sealed CHECK (CASE state
        WHEN 0 THEN body_hash IS NULL AND n_items IS NULL AND sealed_at IS NULL AND finished_at IS NULL AND cancel_at IS NULL
        ELSE body_hash IS NOT NULL AND length(body_hash) = 32 AND n_items IS NOT NULL AND n_items BETWEEN 1 AND 1 << 24
             AND sealed_at IS NOT NULL END)
) STRICT;
CREATE INDEX requests_open ON requests (id) WHERE state = 0;
CREATE INDEX requests_listed ON requests (venue, id);

CREATE TABLE items (
    id        INTEGER NOT NULL,        -- request << 24 | sequence
    venue     INTEGER NOT NULL,
    ticket    TEXT NOT NULL,
    ord       INTEGER NOT NULL,        -- the caller's order
    recipient TEXT,
    uri       TEXT,
    body      TEXT,                    -- the finished metadata, byte for byte
    extra     TEXT,                    -- JSON of what is not published
    CONSTRAINT items_id PRIMARY KEY (id),
    CONSTRAINT items_unique UNIQUE (ticket, venue),
    CONSTRAINT items_named CHECK (length(ticket) > 0)
) STRICT;

-- ---- the work

-- A plain `done` column, not an expression over state: a partial index is then left alone by every step but the last.
CREATE TABLE chunks (
    id           INTEGER NOT NULL,     -- of its first item, or from 2^62 on
    n            INTEGER NOT NULL,
    kind         INTEGER NOT NULL,     -- 0 MINT 1 COLLECTION 2 TRANSFER
    origin       INTEGER NOT NULL,     -- 0 home, 1 re-chunked (item_moves), 2 follow-up
    parent       INTEGER,
    lane         INTEGER NOT NULL,     -- collection, -collection for TRANSFER, 0 for COLLECTION
    collection   INTEGER NOT NULL,
    venue        INTEGER NOT NULL,
    request      INTEGER,
    state        INTEGER NOT NULL,     -- 1 ACCEPTED 2 UPLOADING 3 UPLOADED 4 SIGNED 5 LANDED 6 QUARANTINE
                                       -- 10 DONE 11 FAILED 12 CANCELLED 13 MOVED
    done         INTEGER NOT NULL DEFAULT 0,
    attempt_no   INTEGER NOT NULL DEFAULT 0,
    owner        INTEGER,              -- lease slot, NULL: free
    wake_at      INTEGER NOT NULL DEFAULT 0,
    problem      TEXT,
    error        TEXT,
    accepted_at  INTEGER NOT NULL,
    uploaded_at  INTEGER,
    minted_at    INTEGER,
    block_time   INTEGER,
    first_serial INTEGER,
    assets       TEXT,                 -- n addresses, a space between
    fee          INTEGER,
    evidence     TEXT,
    upload       TEXT,
    CONSTRAINT chunks_id PRIMARY KEY (id),
    CONSTRAINT chunks_range CHECK (CASE origin WHEN 0 THEN id BETWEEN 1 << 24 AND (1 << 62) - 1 ELSE id >= 1 << 62 END),
    CONSTRAINT chunks_shape CHECK (CASE kind
        WHEN 0 THEN origin IN (0, 1) AND n > 0 AND lane = collection AND request IS NOT NULL
        WHEN 1 THEN origin = 2 AND n = 0 AND lane = 0 AND request IS NULL
        WHEN 2 THEN origin IN (1, 2) AND n > 0 AND lane = -collection AND request IS NOT NULL
             AND (origin = 1 OR parent IS NOT NULL)
        ELSE 0 END),
    CONSTRAINT chunks_state CHECK (state BETWEEN 1 AND 6 OR state BETWEEN 10 AND 13),
    CONSTRAINT chunks_done CHECK (done = (state >= 10)),
    CONSTRAINT chunks_signed CHECK (attempt_no >= 0 AND (NOT (state IN (4, 5) OR state = 10) OR attempt_no > 0)),
    CONSTRAINT chunks_free CHECK (state <> 6 OR owner IS NULL),
    CONSTRAINT chunks_reason CHECK ((problem IS NOT NULL) = (state = 6 OR state IN (11, 12))),
    CONSTRAINT chunks_final CHECK (state <> 10 OR (minted_at IS NOT NULL AND block_time IS NOT NULL AND fee IS NOT NULL
        AND evidence IS NOT NULL AND (kind <> 0 OR first_serial IS NOT NULL OR assets IS NOT NULL))),
    CONSTRAINT chunks_result CHECK (state = 10 OR (minted_at IS NULL AND block_time IS NULL AND first_serial IS NULL
        AND assets IS NULL AND fee IS NULL AND evidence IS NULL)),
    CONSTRAINT chunks_fee CHECK (fee >= 0 AND first_serial > 0)
) STRICT;
CREATE INDEX chunks_open ON chunks (lane, wake_at, id) WHERE done = 0;
CREATE INDEX chunks_owned ON chunks (owner, id) WHERE done = 0 AND owner IS NOT NULL;
CREATE INDEX chunks_minted ON chunks (venue, minted_at, id) WHERE minted_at IS NOT NULL;
CREATE UNIQUE INDEX chunks_serial ON chunks (collection, first_serial) WHERE kind = 0 AND first_serial IS NOT NULL;
CREATE INDEX chunks_problem ON chunks (venue, problem, id) WHERE problem IS NOT NULL;
CREATE UNIQUE INDEX chunks_follow ON chunks (parent, kind) WHERE origin = 2;
CREATE INDEX chunks_later ON chunks (request, id) WHERE origin > 0;
CREATE UNIQUE INDEX chunks_create ON chunks (collection) WHERE kind = 1 AND parent IS NULL;

CREATE TABLE item_moves (
    item       INTEGER NOT NULL,
    kind       INTEGER NOT NULL,       -- of the chunks
    gen        INTEGER NOT NULL,       -- number of earlier moves
    from_chunk INTEGER NOT NULL,
    to_chunk   INTEGER NOT NULL,
    pos        INTEGER NOT NULL,
    CONSTRAINT item_moves_id PRIMARY KEY (item, kind, gen),
    CONSTRAINT item_moves_once UNIQUE (from_chunk, item),
    CONSTRAINT item_moves_taken UNIQUE (to_chunk, pos),
    CONSTRAINT item_moves_kind CHECK (kind IN (0, 2))
) STRICT, WITHOUT ROWID;

-- Rows of a kilobyte and more lie badly in an index tree: this table keeps its rowid.
CREATE TABLE attempts (
    chunk      INTEGER NOT NULL,
    no         INTEGER NOT NULL,
    prev_no    INTEGER GENERATED ALWAYS AS (CASE WHEN no > 1 THEN no - 1 END) STORED,
    network    TEXT NOT NULL,
    tx_id      TEXT NOT NULL,
    bytes      BLOB,                   -- signed, opaque
    bound      INTEGER NOT NULL,       -- on the chain's clock; the greatest integer: never expires
    fee_cap    INTEGER NOT NULL,
    assets     TEXT,
    slot       INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT attempts_id PRIMARY KEY (chunk, no),
    CONSTRAINT attempts_tx_id UNIQUE (tx_id, network),
    CONSTRAINT attempts_proof FOREIGN KEY (chunk, prev_no) REFERENCES proofs (chunk, no),
    CONSTRAINT attempts_no CHECK (no > 0 AND length(tx_id) > 0 AND fee_cap >= 0)
) STRICT;

CREATE TABLE proofs (
    chunk         INTEGER NOT NULL,
    no            INTEGER NOT NULL,
    kind          INTEGER NOT NULL,    -- 1 expired 2 executed with error 3 first and only send refused 4 two operators
    watermark     INTEGER,             -- chain clock
    absent_at     INTEGER,             -- chain clock of the lookup that found nothing
    effect_absent INTEGER,             -- 1: the assets were looked up too; 0: this chain has no such lookup
    quorum        INTEGER,
    endpoints     TEXT,
    error         TEXT,
    by1           TEXT,
    by2           TEXT,
    raw_hash      BLOB,
    facts         TEXT,
    created_at    INTEGER NOT NULL,
    CONSTRAINT proofs_id PRIMARY KEY (chunk, no),
    CONSTRAINT proofs_attempt FOREIGN KEY (chunk, no) REFERENCES attempts (chunk, no),
    CONSTRAINT proofs_kind CHECK (kind BETWEEN 1 AND 4),
    CONSTRAINT proofs_expired CHECK (kind <> 1 OR (watermark IS NOT NULL AND absent_at IS NOT NULL AND absent_at >= watermark
        AND effect_absent IS NOT NULL AND quorum IS NOT NULL AND quorum >= 1 AND endpoints IS NOT NULL)),
    CONSTRAINT proofs_erred CHECK (kind NOT IN (2, 3) OR error IS NOT NULL),
    CONSTRAINT proofs_operators CHECK (kind <> 4 OR (by1 IS NOT NULL AND by2 IS NOT NULL AND by1 <> by2))
) STRICT, WITHOUT ROWID;

CREATE TABLE verdicts (
    chunk      INTEGER NOT NULL,
    no         INTEGER NOT NULL,
    kind       INTEGER NOT NULL,       -- 1 adopt 2 resume 3 cancel
    by1        TEXT NOT NULL,
    by2        TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT verdicts_id PRIMARY KEY (chunk, no, kind),
    CONSTRAINT verdicts_kind CHECK (kind BETWEEN 1 AND 3),
    CONSTRAINT verdicts_two CHECK (length(by1) > 0 AND length(by2) > 0 AND by1 <> by2)
) STRICT, WITHOUT ROWID;

-- ---- fence and history

CREATE TABLE leases (
    slot       INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    holder     TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    event_seq  INTEGER NOT NULL DEFAULT 0,
    head       BLOB NOT NULL,          -- hash of the slot's last event
    CONSTRAINT leases_slot PRIMARY KEY (slot),
    CONSTRAINT leases_values CHECK (slot > 0 AND epoch > 0 AND event_seq >= 0 AND length(head) = 32)
) STRICT;

CREATE TABLE events (
    slot         INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    venue        INTEGER NOT NULL,
    subject_kind INTEGER NOT NULL,
    subject      INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    body         TEXT,
    hash         BLOB NOT NULL,        -- SHA-256 over the previous hash and the row
    CONSTRAINT events_id PRIMARY KEY (slot, seq),
    CONSTRAINT events_hash CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_subject ON events (subject);

-- ---- figures

CREATE TABLE counters (
    scope       INTEGER NOT NULL,      -- 0 venue, 1 request
    scope_id    INTEGER NOT NULL,
    kind        INTEGER NOT NULL,      -- of the chunks
    stripe      INTEGER NOT NULL,      -- slot, 0: none
    open        INTEGER NOT NULL DEFAULT 0,
    quarantined INTEGER NOT NULL DEFAULT 0,
    done        INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    cancelled   INTEGER NOT NULL DEFAULT 0,
    transit     INTEGER NOT NULL DEFAULT 0,      -- seats given up or made and not yet taken; 0 at every commit
    mint_ms     INTEGER NOT NULL DEFAULT 0,
    fee         INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT counters_id PRIMARY KEY (scope, scope_id, kind, stripe),
    CONSTRAINT counters_scope CHECK (scope IN (0, 1) AND kind IN (0, 1, 2))
) STRICT, WITHOUT ROWID;

CREATE TABLE spend (
    scope        TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    cap          INTEGER,              -- NULL: none
    reserved     INTEGER NOT NULL DEFAULT 0,
    spent        INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT spend_id PRIMARY KEY (scope, window_start),
    CONSTRAINT spend_cap CHECK (cap IS NULL OR reserved + spent <= cap),
    CONSTRAINT spend_values CHECK (reserved >= 0 AND spent >= 0 AND length(scope) > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollups (
    venue       INTEGER NOT NULL,
    pipeline    TEXT NOT NULL,
    hour        INTEGER NOT NULL,      -- ms, start of the hour
    done        INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    cancelled   INTEGER NOT NULL DEFAULT 0,
    fee         INTEGER NOT NULL DEFAULT 0,
    latency_ms  INTEGER NOT NULL DEFAULT 0,
    buckets     TEXT,                  -- JSON, count per latency bucket
    CONSTRAINT rollups_id PRIMARY KEY (venue, pipeline, hour),
    CONSTRAINT rollups_hour CHECK (hour % 3600000 = 0)
) STRICT, WITHOUT ROWID;

-- ---- comparing the books with the chain

CREATE TABLE reconciliation_reports (
    id                INTEGER NOT NULL,
    venue_id          TEXT NOT NULL,
    report_date       TEXT NOT NULL,
    total_checked     INTEGER NOT NULL,
    confirmed         INTEGER NOT NULL,
    not_found         INTEGER NOT NULL,
    pending           INTEGER NOT NULL,
    errors            INTEGER NOT NULL,
    discrepancy_count INTEGER NOT NULL,
    discrepancy_rate  REAL NOT NULL,
    report_data       TEXT,            -- JSON
    created_at        TEXT DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT reconciliation_reports_id PRIMARY KEY (id),
    CONSTRAINT reconciliation_reports_total CHECK (total_checked = confirmed + not_found + pending + errors),
    CONSTRAINT reconciliation_reports_rate CHECK (discrepancy_rate = CASE total_checked WHEN 0 THEN 0.0
        ELSE round(1.0 * discrepancy_count / total_checked, 6) END)
) STRICT;
CREATE INDEX reconciliation_reports_venue ON reconciliation_reports (venue_id, report_date);

CREATE TABLE reconcile_runs (
    id            INTEGER NOT NULL,
    venue         INTEGER NOT NULL,
    mode          TEXT NOT NULL,       -- database to chain, chain to database
    cursor        TEXT,                -- last chunk done, or the chain's page token
    total_checked INTEGER NOT NULL DEFAULT 0,
    confirmed     INTEGER NOT NULL DEFAULT 0,
    not_found     INTEGER NOT NULL DEFAULT 0,
    pending       INTEGER NOT NULL DEFAULT 0,
    errors        INTEGER NOT NULL DEFAULT 0,
    slot          INTEGER,
    epoch         INTEGER,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER,
    CONSTRAINT reconcile_runs_id PRIMARY KEY (id),
    CONSTRAINT reconcile_runs_venue FOREIGN KEY (venue) REFERENCES venues (id),
    CONSTRAINT reconcile_runs_counts CHECK (total_checked = confirmed + not_found + pending + errors)
) STRICT;

CREATE TABLE findings (
    id         INTEGER NOT NULL,
    venue      INTEGER NOT NULL,
    class      TEXT NOT NULL,
    subject    INTEGER NOT NULL,
    run        INTEGER,
    state      INTEGER NOT NULL,       -- 0 open 1 fixed 2 dismissed
    evidence   TEXT,
    plan       TEXT,
    created_at INTEGER NOT NULL,
    closed_at  INTEGER,
    CONSTRAINT findings_id PRIMARY KEY (id),
    CONSTRAINT findings_run FOREIGN KEY (run) REFERENCES reconcile_runs (id),
    CONSTRAINT findings_state CHECK (state IN (0, 1, 2) AND (closed_at IS NOT NULL) = (state <> 0))
) STRICT;
CREATE UNIQUE INDEX findings_open ON findings (venue, class, subject) WHERE state = 0;

-- ---- access and delivery of news

CREATE TABLE api_keys (
    id           INTEGER NOT NULL,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL,
    scopes       TEXT NOT NULL,
    venue        INTEGER,              -- NULL: any
    cidr         TEXT,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    CONSTRAINT api_keys_id PRIMARY KEY (id),
    CONSTRAINT api_keys_unique UNIQUE (name),
    CONSTRAINT api_keys_hash UNIQUE (hash),
    CONSTRAINT api_keys_venue FOREIGN KEY (venue) REFERENCES venues (id),
    CONSTRAINT api_keys_digest CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE webhooks (
    id         INTEGER NOT NULL,
    venue      INTEGER,                -- NULL: all
    url        TEXT NOT NULL,
    secret     TEXT,                   -- a reference, never the secret
    kinds      TEXT,                   -- event kinds, NULL: all
    cursors    TEXT,                   -- JSON, last event per slot
    state      INTEGER NOT NULL,       -- 0 on 1 off
    created_at INTEGER NOT NULL,
    CONSTRAINT webhooks_id PRIMARY KEY (id),
    CONSTRAINT webhooks_venue FOREIGN KEY (venue) REFERENCES venues (id),
    CONSTRAINT webhooks_state CHECK (state IN (0, 1))
) STRICT;

CREATE TABLE deliveries (
    webhook INTEGER NOT NULL,
    slot    INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    tries   INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    status  INTEGER,
    error   TEXT,
    CONSTRAINT deliveries_id PRIMARY KEY (webhook, slot, seq),
    CONSTRAINT deliveries_webhook FOREIGN KEY (webhook) REFERENCES webhooks (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (next_at);
