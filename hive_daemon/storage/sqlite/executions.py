"""Executions on SQLite: committing their steps, and reading what was committed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from hive_daemon.errors import ExecutionNotFound
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.commit import commit
from hive_daemon.storage.sqlite.events import history
from hive_daemon.storage.sqlite.prune import prune
from hive_daemon.storage.sqlite.reader import Readers
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import (
    EventFilter,
    ExecutionFilter,
    ExecutionRow,
    Fence,
    StepCommit,
    StoredEvent,
    StoreStats,
    Submitted,
)

_OPEN = """
SELECT n FROM executions INDEXED BY executions_queue WHERE status = 'queued'
UNION ALL SELECT n FROM executions INDEXED BY executions_open
WHERE ended_at IS NULL AND status <> 'queued'
"""
_LATEST = """
NOT EXISTS (SELECT 1 FROM executions l WHERE l.session_id = executions.session_id
    AND NOT l.joined AND (executions.joined OR l.ordinal > executions.ordinal))
AND NOT EXISTS (SELECT 1 FROM executions l WHERE executions.joined
    AND l.session_id = executions.session_id AND l.ordinal > executions.ordinal)
"""


class SqliteExecutions:
    """The execution store on SQLite."""

    def __init__(self, writer: Writer, readers: Readers, queued: Callable[[str], None]) -> None:
        self._writer = writer
        self._readers = readers
        self._queued = queued

    def commit(
        self, fence: Fence, step: StepCommit
    ) -> asyncio.Future[tuple[Submitted | None, ...]]:
        """See `ExecutionStore.commit`."""
        answer = self._writer.do(commit, fence, step)
        for submission in step.spawn:
            self._queued(submission.lane)
        return answer

    async def load(self, execution_id: str) -> ExecutionRow:
        """See `ExecutionStore.load`."""
        return await self._readers.read(_load, execution_id)

    async def query(self, wanted: ExecutionFilter) -> list[ExecutionRow]:
        """See `ExecutionStore.query`."""
        return await self._readers.read(_query, wanted)

    async def history(self, wanted: EventFilter) -> list[StoredEvent]:
        """See `ExecutionStore.history`."""
        return await self._readers.read(history, wanted)

    async def prune(self, execution_ids: Sequence[str]) -> int:
        """See `ExecutionStore.prune`."""
        return await self._writer.do(prune, execution_ids)

    async def stats(self) -> StoreStats:
        """See `ExecutionStore.stats`."""
        durations = sorted(self._writer.durations) or [0.0]
        by_status, size = await self._readers.read(_figures)
        return StoreStats(
            size_bytes=size,
            commits=self._writer.commits,
            commit_seconds_p50=durations[len(durations) // 2],
            commit_seconds_p99=durations[len(durations) * 99 // 100],
            by_status=by_status,
            last_seq=self._writer.last_seq,
        )


def _load(connection: sqlite3.Connection, name: str) -> ExecutionRow:
    row = connection.execute(
        f"SELECT {rows.EXECUTION} FROM executions WHERE id = ?", (name,)
    ).fetchone()
    if row is None:
        raise ExecutionNotFound(subject=name)
    return rows.execution(connection, row)


def _query(connection: sqlite3.Connection, wanted: ExecutionFilter) -> list[ExecutionRow]:
    tests: list[str] = []
    values: list[Any] = []
    for column, value in (
        ("agent = ?", wanted.agent),
        ("stream_id = ?", wanted.stream_id),
        ("session_id = ?", wanted.session_id),
        ("n < ?", wanted.before),
    ):
        if value is not None:
            tests.append(column)
            values.append(value)
    if wanted.id_prefix is not None:
        tests.append("n IN (SELECT n FROM executions WHERE id >= ? AND id < ?)")
        values.extend((wanted.id_prefix, rows.after_prefix(wanted.id_prefix)))
    if wanted.statuses:
        tests.append(rows.one_of("status", len(wanted.statuses)))
        values.extend(wanted.statuses)
        # Said for the sake of the partial indexes, so that a rare status is found in a long history.
        if all(status.is_terminal for status in wanted.statuses):
            tests.append("ended_at IS NOT NULL")
        elif not any(status.is_terminal for status in wanted.statuses):
            tests.append(f"n IN ({_OPEN})")
    if wanted.latest_of_session:
        tests.append(_LATEST)
    where = f"WHERE {' AND '.join(tests)}" if tests else ""
    # Within a session both orders are the same, and each has an index.
    order = "n" if wanted.session_id is None else "ordinal"
    found = connection.execute(
        f"SELECT {rows.EXECUTION} FROM executions {where} ORDER BY {order} DESC LIMIT ?",
        (*values, rows.page(wanted.limit)),
    )
    return [rows.execution(connection, row) for row in found.fetchall()]


def _figures(connection: sqlite3.Connection) -> tuple[dict[str, int], int]:
    by_status = dict(
        connection.execute(
            "SELECT status, count(*) FROM executions INDEXED BY executions_open "
            "WHERE ended_at IS NULL AND status <> 'queued' GROUP BY status UNION ALL "
            "SELECT status, count(*) FROM executions INDEXED BY executions_queue "
            "WHERE status = 'queued' GROUP BY status"
        ).fetchall()
    )
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return by_status, pages * size
