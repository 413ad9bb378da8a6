"""What an execution needs to go on: its last checkpoint, the patches behind it, and what was said to it."""

from __future__ import annotations

import sqlite3

from hive_daemon.storage.sqlite.reader import required
from hive_daemon.storage.values import InboxItem, Restore

_CHAIN = """
SELECT patch, walk FROM checkpoints
WHERE x = ?1 AND seq <= ?2 AND seq >= coalesce(
    (SELECT max(seq) FROM checkpoints WHERE x = ?1 AND seq <= ?2 AND is_snapshot), 0)
ORDER BY seq
"""
_NEWEST = 2**62


def restore_of(connection: sqlite3.Connection, n: int, seq: int | None = None) -> Restore | None:
    """Return the walk at a checkpoint and the patches since the last snapshot before it."""
    rows = connection.execute(_CHAIN, (n, _NEWEST if seq is None else seq)).fetchall()
    if not rows:
        return None
    patches = tuple(required(connection, patch) for patch, _ in rows)
    return Restore(required(connection, rows[-1][1]), patches)


def open_items(connection: sqlite3.Connection, session_id: str) -> tuple[InboxItem, ...]:
    """Return what was said to a session and not used yet, oldest first."""
    rows = connection.execute(
        "SELECT id, node_id, content, created_at FROM inbox "
        "WHERE session_id = ? AND taken_at IS NULL ORDER BY id",
        (session_id,),
    )
    return tuple(InboxItem(*row) for row in rows)
