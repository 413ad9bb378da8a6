"""The tables of hive.db and the steps from each schema version to the next.

Two laws are kept by the tables themselves: one running execution writes a session (`executions_writers`), and a blob
lives exactly as long as something refers to it (`blobs_unreferenced`).
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
    priority      INTEGER NOT NULL,
    source        TEXT NOT NULL,
    correlation   TEXT NOT NULL,
    causation     TEXT NOT NULL,
    trace_id      TEXT NOT NULL,
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
    cancel_reason TEXT
) STRICT;
CREATE UNIQUE INDEX executions_session ON executions (session_id, ordinal);
CREATE INDEX executions_open ON executions (status, lane, priority DESC, n, ended_at)
    WHERE ended_at IS NULL;  -- the last column is there so that counting needs the index alone
CREATE INDEX executions_ended ON executions (status, n) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX executions_writers ON executions (session_id)
    WHERE status = 'running' AND NOT joined;

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
    last_outcome TEXT, last_reason TEXT, last_at REAL, last_execution TEXT,
    fired INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    missed INTEGER NOT NULL DEFAULT 0,
    paused_at REAL, paused_by TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '',
    active INTEGER NOT NULL DEFAULT 1,
    forgotten REAL  -- the instants up to this one are settled, though their rows are gone
) STRICT, WITHOUT ROWID;

CREATE TABLE occurrences (
    timer_id TEXT NOT NULL, scheduled_at REAL NOT NULL, at REAL NOT NULL,
    outcome TEXT NOT NULL, reason TEXT NOT NULL, execution_id TEXT,
    PRIMARY KEY (timer_id, scheduled_at)
) STRICT, WITHOUT ROWID;

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
