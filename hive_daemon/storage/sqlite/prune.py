"""Forgetting terminal executions on SQLite, with everything that belongs to them and to nobody else."""

from __future__ import annotations

from collections.abc import Sequence

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.submit import ordinals
from hive_daemon.storage.sqlite.tx import Holder, Tx

_NOTE = """
INSERT INTO meta VALUES (?1, ?2)
ON CONFLICT DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(?2 AS INTEGER))
"""


def prune(tx: Tx, names: Sequence[str]) -> int:
    """Forget terminal executions; what a session owns goes with its last execution."""
    tx.flush()
    pruned = sum(_prune(tx, name) for name in names)
    if pruned:
        _note(tx, "last events", tx.next_event - 1)
        _note(tx, "last executions", tx.next_row - 1)
    return pruned


def _prune(tx: Tx, name: str) -> bool:
    row = tx.execute(
        "SELECT n, status, session_id, ordinal FROM executions WHERE id = ?", (name,)
    ).fetchone()
    if row is None or not ExecutionStatus(row[1]).is_terminal:
        return False
    n, _, session_id, ordinal = row
    for table in ("events", "checkpoints"):
        tx.execute(f"DELETE FROM {table} WHERE x = ?", (n,))
    tx.execute("DELETE FROM executions WHERE n = ?", (n,))
    for holder in (Holder.EXECUTION, Holder.CHECKPOINT):
        tx.execute("DELETE FROM blob_refs WHERE kind = ? AND owner = ?", (holder, name))
    left = tx.execute("SELECT 1 FROM executions WHERE session_id = ? LIMIT 1", (session_id,))
    if left.fetchone() is not None:
        _note(tx, ordinals(session_id), ordinal)
    else:
        _forget_session(tx, session_id)
    return True


def _forget_session(tx: Tx, session_id: str) -> None:
    for table in ("records", "inbox"):
        tx.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))
    tx.execute("DELETE FROM blob_refs WHERE kind = ? AND owner = ?", (Holder.RECORD, session_id))
    tx.execute("DELETE FROM meta WHERE key = ?", (ordinals(session_id),))


def _note(tx: Tx, key: str, number: int) -> None:
    """Remember the highest number given out, so that it is not given out again."""
    tx.execute(_NOTE, (key, str(number)))
