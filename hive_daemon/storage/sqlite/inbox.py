"""What people say to executions, on SQLite: cancel, and answers to questions."""

from __future__ import annotations

import json
from collections.abc import Callable

from hive_daemon.errors import ExecutionNotFound, SessionNotFound
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.events import append_events
from hive_daemon.storage.sqlite.reader import value_of
from hive_daemon.storage.sqlite.turns import promote
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import Ending, EventRecord, Injected
from hive_daemon.storage.waiting import hears

_WAITING = (ExecutionStatus.WAITING_INPUT, ExecutionStatus.WAITING_APPROVAL)
_CANCEL = """
UPDATE executions SET status = 'cancelled', cancel_reason = ?1, error = ?1, cancelled_by = ?5,
    error_code = ?2, waiting = NULL, owner = NULL, ended_at = ?3, updated_at = ?3
WHERE n = ?4
"""
_MARK = """
UPDATE executions SET cancel_reason = ?, cancelled_by = ? WHERE n = ? AND cancel_reason IS NULL
"""
_LISTENING = """
SELECT n, id, status, waiting, lane FROM executions
WHERE session_id = ? AND ended_at IS NULL
  AND status IN ('running', 'waiting_input', 'waiting_approval')
ORDER BY n DESC
"""
_WAKE = """
UPDATE executions SET status = 'queued', was = status, attempts = 0, updated_at = ? WHERE n = ?
"""
_UNREAD = """
SELECT node_id FROM inbox WHERE session_id = ? AND taken_at IS NULL AND id > (
    SELECT heard FROM executions WHERE n = ?)
"""


def cancel(tx: Tx, name: str, reason: str, by: str) -> ExecutionStatus:
    """Mark what runs, cancel what does not; what is terminal stays as it is."""
    status = cancel_if_there(tx, name, reason, by=by)
    if status is None:
        raise ExecutionNotFound(subject=name)
    return status


def cancel_if_there(
    tx: Tx, name: str, reason: str, code: str = "cancelled", by: str = ""
) -> ExecutionStatus | None:
    """Cancel an execution, or answer None if there is none of this name."""
    row = tx.execute(
        "SELECT n, status, lane, session_id FROM executions WHERE id = ?", (name,)
    ).fetchone()
    if row is None:
        return None
    n, status, lane, session_id = row[0], ExecutionStatus(row[1]), row[2], row[3]
    if status.is_terminal:
        return status
    if status is ExecutionStatus.RUNNING:
        tx.execute(_MARK, (reason, by, n))
        return status
    tx.execute(_CANCEL, (reason, code, tx.now, n, by))
    if status is ExecutionStatus.QUEUED:
        tx.shift(lane, -1)
        promote(tx, session_id)
    data = json.dumps({"reason": reason}).encode()
    append_events(tx, n, (EventRecord("execution_cancelled", None, tx.now, data),))
    return ExecutionStatus.CANCELLED


def inject(tx: Tx, session_id: str, node_id: str, content: str, key: str) -> tuple[Injected, str]:
    """Put an item in, and queue the execution that waits for it; answer its lane too."""
    if not _has_session(tx, session_id):
        raise SessionNotFound(subject=session_id)
    if key:
        known = tx.execute(
            "SELECT id FROM inbox WHERE session_id = ? AND key = ?", (session_id, key)
        ).fetchone()
        if known is not None:
            return Injected(known[0], None, False), ""
    (item,) = tx.execute(
        "INSERT INTO inbox (session_id, node_id, content, key, created_at) "
        "VALUES (?, ?, ?, ?, ?) RETURNING id",
        (session_id, node_id, content, key or None, tx.now),
    ).fetchone()
    running = None
    for n, name, status, waiting, lane in tx.execute(_LISTENING, (session_id,)).fetchall():
        if status == ExecutionStatus.RUNNING:
            running = running or name
        elif hears(value_of(tx.connection, waiting), node_id):
            tx.execute(_WAKE, (tx.now, n))
            tx.shift(lane, 1)
            return Injected(item, name, True), lane
    return Injected(item, running, False), ""


def _has_session(tx: Tx, session_id: str) -> bool:
    found = tx.execute("SELECT 1 FROM executions WHERE session_id = ? LIMIT 1", (session_id,))
    return found.fetchone() is not None


def wake_if_unread(tx: Tx, n: int, session_id: str, ending: Ending) -> bool:
    """Queue an execution again that parks while something said to it since its claim is unread."""
    if ending.status not in _WAITING:
        return False
    unread = tx.execute(_UNREAD, (session_id, n)).fetchall()
    if not any(hears(ending.waiting, node_id) for (node_id,) in unread):
        return False
    tx.execute(_WAKE, (tx.now, n))
    return True


class SqliteInbox:
    """The control inbox on SQLite."""

    def __init__(self, writer: Writer, queued: Callable[[str], None]) -> None:
        self._writer = writer
        self._queued = queued

    async def cancel(self, execution_id: str, reason: str, by: str = "") -> ExecutionStatus:
        """See `ControlInbox.cancel`."""
        return await self._writer.do(cancel, execution_id, reason, by)

    async def inject(self, session_id: str, node_id: str, content: str, key: str = "") -> Injected:
        """See `ControlInbox.inject`."""
        injected, lane = await self._writer.do(inject, session_id, node_id, content, key)
        if lane:
            self._queued(lane)
        return injected
