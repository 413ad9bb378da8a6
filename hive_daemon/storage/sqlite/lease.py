"""Who owns what runs, on SQLite."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from hive_daemon.storage.sqlite.events import append_events
from hive_daemon.storage.sqlite.turns import promote
from hive_daemon.storage.sqlite.tx import Tx
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import Beat, EventRecord, Swept

_ORDERED = """
SELECT id, cancel_reason FROM executions INDEXED BY executions_open
WHERE ended_at IS NULL AND status <> 'queued' AND status = 'running' AND owner = ? AND cancel_reason IS NOT NULL
ORDER BY n
"""
_ORPHANS = """
SELECT n, id, lane, attempts, error, session_id FROM executions INDEXED BY executions_open
WHERE ended_at IS NULL AND status <> 'queued' AND status IN ('running', 'interrupted')
  AND owner IS NOT ? ORDER BY n
"""
_QUEUE = """
UPDATE executions SET status = 'queued', was = status, owner = NULL, updated_at = ? WHERE n = ?
"""
_GIVE_UP = """
UPDATE executions SET status = 'recovery_exhausted', error = ?1, error_code = 'recovery_exhausted',
    owner = NULL, ended_at = ?2, updated_at = ?2
WHERE n = ?3
"""


def heartbeat(tx: Tx, node: str, pid: int) -> Beat:
    """Note that a process lives; answer the cancellations ordered for what it runs."""
    tx.execute("DELETE FROM nodes WHERE id <> ?", (node,))
    tx.execute("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", (node, pid, tx.now))
    return Beat(True, tuple(tx.execute(_ORDERED, (node,)).fetchall()))


def sweep(tx: Tx, node: str, max_attempts: int) -> tuple[Swept, set[str]]:
    """Queue again, or give up, what no living process holds; answer the lanes too."""
    requeued, exhausted, lanes = [], [], set()
    tx.lanes.clear()
    for n, name, lane, attempts, error, session_id in tx.execute(_ORPHANS, (node,)).fetchall():
        if attempts >= max_attempts:
            reason = f"the daemon ended {attempts} times while this ran: {error or 'no error kept'}"
            _give_up(tx, n, reason)
            exhausted.append(name)
        else:
            tx.execute(_QUEUE, (tx.now, n))
            requeued.append(name)
            lanes.add(lane)
        promote(tx, session_id)
    return Swept(tuple(requeued), tuple(exhausted)), lanes


def _give_up(tx: Tx, n: int, reason: str) -> None:
    tx.execute(_GIVE_UP, (reason, tx.now, n))
    data = json.dumps({"error": reason, "code": "recovery_exhausted"}).encode()
    append_events(tx, n, (EventRecord("execution_failed", None, tx.now, data),))


class SqliteLease:
    """The lease on SQLite: the lock file says who lives, so a process that is not this one is gone."""

    def __init__(self, writer: Writer, queued: Callable[[str], None]) -> None:
        self._writer = writer
        self._queued = queued

    async def heartbeat(self, node: str) -> Beat:
        """See `NodeLease.heartbeat`."""
        return await self._writer.do(heartbeat, node, os.getpid())

    async def sweep(self, node: str, max_attempts: int) -> Swept:
        """See `NodeLease.sweep`."""
        swept, lanes = await self._writer.do(sweep, node, max_attempts)
        for lane in lanes:
            self._queued(lane)
        return swept
