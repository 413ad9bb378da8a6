"""How the executions of a timer ended, counted in its row: each end once, and a pause when too many failed in a row.

What is counted is read from the executions themselves, never told: so an end that nobody was there to hear of is
counted by whoever looks next.
"""

from __future__ import annotations

from collections.abc import Sequence

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.timer_values import LEDGER_NAME, TimerRow

_ENDED = """
SELECT o.scheduled_at, coalesce(x.status, '') FROM occurrences o
LEFT JOIN executions x ON x.id = o.execution_id
WHERE o.timer_id = ? AND o.execution_id IS NOT NULL AND o.ended IS NULL
    AND (x.id IS NULL OR x.ended_at IS NOT NULL)
ORDER BY x.ended_at, o.scheduled_at
"""
_NOTE_END = "UPDATE occurrences SET ended = ? WHERE timer_id = ? AND scheduled_at = ?"
_COUNT = "UPDATE timers SET failures = CASE WHEN ? THEN failures + 1 ELSE 0 END WHERE id = ?"
_PAUSE = """
UPDATE timers SET paused_at = ?1, paused_until = NULL, paused_by = ?2, is_news = 1,
    note = failures || CASE failures WHEN 1 THEN ' execution' ELSE ' executions in a row' END || ' failed'
WHERE id = ?3 AND failure_limit > 0 AND failures >= failure_limit
    AND (paused_at IS NULL OR paused_until <= ?1)
"""
_FAILED = (ExecutionStatus.FAILED, ExecutionStatus.RECOVERY_EXHAUSTED)
_COUNTED = (*_FAILED, ExecutionStatus.COMPLETED)


def account(tx: Tx, timer_ids: Sequence[str]) -> list[TimerRow]:
    """Count for some timers; answer those that were paused by it, each once."""
    told = []
    for timer_id in timer_ids:
        count_ends(tx, timer_id)
        found = tx.execute(
            f"SELECT {rows.TIMER} FROM timers WHERE id = ? AND is_news", (timer_id,)
        ).fetchone()
        if found is not None:
            tx.execute("UPDATE timers SET is_news = 0 WHERE id = ?", (timer_id,))
            told.append(rows.timer(found))
    return told


def count_ends(tx: Tx, timer_id: str) -> None:
    """Count the ends of a timer's executions that were not counted yet."""
    for scheduled_at, status in tx.execute(_ENDED, (timer_id,)).fetchall():
        tx.execute(_NOTE_END, (status, timer_id, scheduled_at))
        if status in _COUNTED:
            tx.execute(_COUNT, (status in _FAILED, timer_id))
    _pause_if_failing(tx, timer_id)


def count_failure(tx: Tx, timer_id: str) -> None:
    """Count an instant for which nothing could be started."""
    tx.execute(_COUNT, (True, timer_id))
    _pause_if_failing(tx, timer_id)


def _pause_if_failing(tx: Tx, timer_id: str) -> None:
    tx.execute(_PAUSE, (tx.now, LEDGER_NAME, timer_id))
