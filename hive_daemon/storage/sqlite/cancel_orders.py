"""Cancelling what an event calls back, on SQLite: part of the transaction that makes the event durable."""

from __future__ import annotations

from collections.abc import Sequence

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.event_values import CancelOrder
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.inbox import cancel_if_there
from hive_daemon.storage.sqlite.tx import Tx

_NOT_QUEUED = tuple(
    status
    for status in ExecutionStatus
    if not status.is_terminal and status is not ExecutionStatus.QUEUED
)
_FOUND = f"""
SELECT n, id, session_id, correlation FROM executions INDEXED BY executions_open
WHERE ended_at IS NULL AND status <> 'queued' AND {rows.one_of("status", len(_NOT_QUEUED))}
  AND lane = ?
UNION ALL
SELECT n, id, session_id, correlation FROM executions INDEXED BY executions_queue
WHERE status = 'queued' AND lane = ? ORDER BY 1
"""


def carry_out(tx: Tx, orders: Sequence[CancelOrder], after: int) -> None:
    """Cancel what the orders concern that come after so many of the step's spawned executions."""
    for order in orders:
        if order.after != after:
            continue
        places = (*_NOT_QUEUED, order.lane, order.lane)
        for _, name, *identity in tx.execute(_FOUND, places).fetchall():
            if order.concerns(name, *identity):
                cancel_if_there(tx, name, order.reason)
