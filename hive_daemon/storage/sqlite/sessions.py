"""What belongs to sessions on SQLite: records, checkpoints, shared state."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from hive_daemon.errors import ExecutionNotFound
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.reader import Readers, required
from hive_daemon.storage.sqlite.restore import restore_of
from hive_daemon.storage.sqlite.state import (
    SharedState,
    clear_state,
    read_state,
    write_state,
)
from hive_daemon.storage.sqlite.writer import Writer
from hive_daemon.storage.values import CheckpointRow, Restore, StateWrite


class SqliteSessions:
    """Session records, checkpoints and shared state on SQLite."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def records(self, session_id: str, prefix: str) -> dict[str, bytes]:
        """See `SessionRecords.records`."""
        return await self._readers.read(_records, session_id, prefix)

    async def checkpoints(self, session_id: str) -> list[CheckpointRow]:
        """See `SessionRecords.checkpoints`."""
        return await self._readers.read(_checkpoints, session_id)

    async def restore(self, execution_id: str, seq: int | None = None) -> Restore | None:
        """See `SessionRecords.restore`."""
        return await self._readers.read(_restore, execution_id, seq)

    async def state(self, scopes: Sequence[str]) -> SharedState:
        """See `SessionRecords.state`."""
        return await self._readers.read(read_state, scopes)

    async def write_state(self, writes: Sequence[StateWrite]) -> None:
        """See `SessionRecords.write_state`."""
        await self._writer.do(write_state, writes)

    async def clear_state(self, scope: str) -> None:
        """See `SessionRecords.clear_state`."""
        await self._writer.do(clear_state, scope)


def _records(connection: sqlite3.Connection, session_id: str, prefix: str) -> dict[str, bytes]:
    found = connection.execute(
        "SELECT key, value FROM records WHERE session_id = ? AND key >= ? AND key < ? ORDER BY key",
        (session_id, prefix, rows.after_prefix(prefix)),
    )
    return {key: required(connection, value) for key, value in found.fetchall()}


def _checkpoints(connection: sqlite3.Connection, session_id: str) -> list[CheckpointRow]:
    found = connection.execute(
        f"SELECT {rows.CHECKPOINT} FROM executions x CROSS JOIN checkpoints c "
        "WHERE c.x = x.n AND x.session_id = ? ORDER BY x.n, c.seq",
        (session_id,),
    )
    return [rows.checkpoint(connection, row) for row in found.fetchall()]


def _restore(connection: sqlite3.Connection, name: str, seq: int | None) -> Restore | None:
    row = connection.execute("SELECT n FROM executions WHERE id = ?", (name,)).fetchone()
    if row is None:
        raise ExecutionNotFound(subject=name)
    return restore_of(connection, row[0], seq)
