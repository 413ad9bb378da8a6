"""The tables of hive.db and the steps from each schema version to the next.

Two laws are kept by the tables themselves: one running execution writes a session (`executions_writers`), and a blob
lives exactly as long as something refers to it (`blobs_unreferenced`).

`stage` says whether a queued execution is worth looking at: 0 ready; 1 behind another of its session, which runs, or is
queued in the same lane with the same key and comes first; 2 held until `due_at`. What is behind or held is no part of
what a claim reads, however much it is. When the one before it stops to run, or to wait, the best of those behind is
made ready (`turns.promote`). Too many may be ready, never too few: a claim looks at the session itself.
"""

from __future__ import annotations

VERSION = 1
APPLICATION_ID = 0x48495645
"""The letters HIVE in the header of the file."""

TABLES = """
CREATE TABLE executions (
    n             INTEGER PRIMARY KEY,  -- given out by the writer, never twice
    id            TEXT NOT NULL UNIQUE,
    session_id    TEXT NOT NULL,
    ordinal       INTEGER NOT NULL,
    agent         TEXT NOT NULL,
    graph_id      TEXT NOT NULL,
    entry_point   TEXT NOT NULL,
    stream_id     TEXT NOT NULL,
    lane          TEXT NOT NULL,
    status        TEXT NOT NULL,
    was           TEXT,
    joined        INTEGER NOT NULL,
    stage         INTEGER NOT NULL,
    background    INTEGER NOT NULL,     -- begun by a timer or an event
    front         INTEGER NOT NULL DEFAULT 0,  -- below 0 if it was moved to the front, the last one the lowest
    priority      INTEGER NOT NULL,
    key           TEXT NOT NULL,        -- the group within the lane
    due_at        REAL,
    slot_at       REAL,                 -- what a throttle makes of due_at
    expires_at    REAL,                 -- counts for what has not begun
    hold          TEXT,                 -- debounce or batch
    hold_key      TEXT,                 -- set while it takes others in
    gathered      INTEGER NOT NULL DEFAULT 0,  -- how many it took in
    carry_from    INTEGER,
    source        TEXT NOT NULL,
    correlation   TEXT NOT NULL,
    causation     TEXT NOT NULL,
    trace_id      TEXT NOT NULL,
    trace_parent  TEXT NOT NULL DEFAULT '',  -- the span that asked for it, of whoever did
    owner         TEXT,
    epoch         INTEGER NOT NULL DEFAULT 0,
    attempts      INTEGER NOT NULL DEFAULT 0,
    seq           INTEGER NOT NULL DEFAULT 0,
    claimed_seq   INTEGER NOT NULL DEFAULT 0,  -- the last step before this epoch began
    event_seq     INTEGER NOT NULL DEFAULT 0,
    heard         INTEGER NOT NULL DEFAULT 0,  -- the last inbox item before this epoch began
    steps         INTEGER NOT NULL DEFAULT 0,
    node_id       TEXT,
    created_at    REAL NOT NULL,
    started_at    REAL,
    updated_at    REAL NOT NULL,
    ended_at      REAL,                 -- set if and only if the status is terminal
    input         BLOB NOT NULL,
    state         BLOB,
    result        BLOB,
    error         TEXT,
    error_code    TEXT NOT NULL DEFAULT '',
    waiting       BLOB,
    cancel_reason TEXT,
    cancelled_by  TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX executions_session ON executions (session_id, ordinal);
CREATE INDEX executions_open ON executions (status, lane, key, background, n, ended_at)
    WHERE ended_at IS NULL AND status <> 'queued';  -- the last is there so that counting needs it alone
CREATE INDEX executions_queue ON executions (lane, stage, background, front, priority DESC, key, n)
    WHERE status = 'queued';
CREATE INDEX executions_groups ON executions (lane, key, n) WHERE status = 'queued' AND key <> '';
CREATE INDEX executions_followers ON executions (session_id)
    WHERE status = 'queued' AND stage = 0 AND NOT joined AND ordinal > 1;
CREATE INDEX executions_behind ON executions (session_id, lane, key, background, front,
    priority DESC, n)
    WHERE status = 'queued' AND stage = 1;
CREATE INDEX executions_due ON executions (due_at, lane) WHERE status = 'queued' AND stage = 2;
CREATE INDEX executions_expiry ON executions (expires_at, lane)
    WHERE status = 'queued' AND was IS NULL AND expires_at IS NOT NULL;
CREATE INDEX executions_holds ON executions (lane, hold_key)
    WHERE status = 'queued' AND hold_key IS NOT NULL;
CREATE INDEX executions_ended ON executions (status, n) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX executions_writers ON executions (session_id)
    WHERE status = 'running' AND NOT joined;

CREATE TABLE lanes (  -- those with keys
    lane TEXT PRIMARY KEY,
    last_key TEXT NOT NULL  -- the key served last
) STRICT, WITHOUT ROWID;
CREATE TABLE rates (
    lane TEXT NOT NULL, meter TEXT NOT NULL, key TEXT NOT NULL,
    arrival REAL NOT NULL,  -- the theoretical arrival time; one that has passed is as good as none
    PRIMARY KEY (lane, meter, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX rates_arrival ON rates (arrival);

CREATE TABLE dedupe (
    namespace TEXT NOT NULL, key TEXT NOT NULL, body_hash TEXT NOT NULL,
    execution_id TEXT NOT NULL, expires_at REAL NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX dedupe_expiry ON dedupe (expires_at);

CREATE TABLE checkpoints (
    x INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, node_id TEXT, next_node TEXT,
    created_at REAL NOT NULL, walk BLOB NOT NULL, patch BLOB NOT NULL, is_snapshot INTEGER NOT NULL,
    PRIMARY KEY (x, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY, x INTEGER NOT NULL, execution_seq INTEGER NOT NULL,
    type TEXT NOT NULL, node_id TEXT, at REAL NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX events_of ON events (x);
CREATE TABLE notices (  -- events of no execution, numbered with the others
    seq INTEGER PRIMARY KEY, type TEXT NOT NULL, at REAL NOT NULL, agent TEXT NOT NULL,
    graph_id TEXT NOT NULL, stream_id TEXT NOT NULL, node_id TEXT, correlation TEXT NOT NULL,
    causation TEXT NOT NULL, data BLOB NOT NULL
) STRICT;

CREATE TABLE records (
    session_id TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (session_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    scope TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, node_id TEXT NOT NULL,
    content TEXT NOT NULL, key TEXT, created_at REAL NOT NULL, taken_at REAL
) STRICT;
CREATE INDEX inbox_open ON inbox (session_id) WHERE taken_at IS NULL;
CREATE UNIQUE INDEX inbox_key ON inbox (session_id, key) WHERE key IS NOT NULL;

CREATE TABLE timers (
    id TEXT PRIMARY KEY, agent TEXT NOT NULL, entry_point TEXT NOT NULL, signature TEXT NOT NULL,
    anchor REAL NOT NULL, last_scheduled REAL, next_at REAL,
    last_outcome TEXT, last_reason TEXT, last_at REAL, last_execution TEXT, last_late_by REAL,
    fired INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    missed INTEGER NOT NULL DEFAULT 0,
    paused_at REAL, paused_by TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '',
    paused_until REAL,  -- the pause ends by itself then
    remaining INTEGER,  -- how many more executions it begins, NULL for any number
    written_remaining INTEGER, written_paused INTEGER NOT NULL DEFAULT 0,  -- as its owner wrote it
    failures INTEGER NOT NULL DEFAULT 0, failure_limit INTEGER NOT NULL DEFAULT 0,
    is_news INTEGER NOT NULL DEFAULT 0,  -- the ledger paused it, and nobody was told yet
    active INTEGER NOT NULL DEFAULT 1,
    forgotten REAL  -- the instants up to this one are settled, though their rows are gone
) STRICT, WITHOUT ROWID;

CREATE TABLE occurrences (
    timer_id TEXT NOT NULL, scheduled_at REAL NOT NULL, at REAL NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL, execution_id TEXT, late_by REAL NOT NULL,
    ended TEXT,  -- how its execution ended, once that was noted; '' if that cannot be known any more
    PRIMARY KEY (timer_id, scheduled_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX occurrences_open ON occurrences (timer_id) WHERE execution_id IS NOT NULL AND ended IS NULL;

CREATE TABLE blobs (key TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE blob_refs (
    kind TEXT NOT NULL, owner TEXT NOT NULL, part TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (kind, owner, part, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_refs_key ON blob_refs (key);
CREATE TRIGGER blobs_unreferenced AFTER DELETE ON blob_refs
WHEN NOT EXISTS (SELECT 1 FROM blob_refs WHERE key = old.key)
BEGIN
    DELETE FROM blobs WHERE key = old.key;
END;

CREATE TABLE nodes (id TEXT PRIMARY KEY, pid INTEGER NOT NULL, seen_at REAL NOT NULL) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""

MIGRATIONS: dict[int, str] = {}
"""`MIGRATIONS[v]` brings a database of version v to v + 1."""
