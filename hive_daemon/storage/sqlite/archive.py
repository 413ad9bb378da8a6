"""A hive.db as seen from outside: read-only, whoever owns it, one short connection per question.

Blocking; callers on an event loop ask from a worker thread. Every answer is one consistent snapshot. Every method
raises StorageCorrupt, StorageTooNew or StorageUnavailable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hive_daemon.ids import session_of
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite import rows
from hive_daemon.storage.sqlite.database import DATABASE, open_reader, translated
from hive_daemon.storage.values import CheckpointRow, ExecutionRow, StoredEvent

T = TypeVar("T")

_EXECUTIONS = f"SELECT {rows.EXECUTION} FROM executions WHERE session_id = ? ORDER BY ordinal"
_CHECKPOINTS = (
    f"SELECT {rows.CHECKPOINT} FROM executions x CROSS JOIN checkpoints c "
    "WHERE c.x = x.n AND x.session_id = ? ORDER BY x.n, c.seq"
)
_EVENTS = (
    f"SELECT {rows.EVENT} FROM executions x CROSS JOIN events e "
    "WHERE e.x = x.n AND x.session_id = ? ORDER BY e.seq"
)
_LATEST = (
    "n = (SELECT l.n FROM executions l WHERE l.session_id = executions.session_id "
    "ORDER BY l.joined, l.ordinal DESC LIMIT 1)"
)


@dataclass(frozen=True, slots=True)
class SessionRows:
    """Everything hive.db holds of one session; executions by ordinal, the rest oldest first."""

    executions: Sequence[ExecutionRow]
    checkpoints: Sequence[CheckpointRow]
    events: Sequence[StoredEvent]


class Archive:
    """The executions of one agent in a hive.db, or of all if `agent` is None."""

    def __init__(self, path: Path, agent: str | None = None) -> None:
        self.path = path
        self.agent = agent

    def session(self, session_id: str) -> SessionRows | None:
        """Return a session, None if there is none of this agent."""
        with self._connection() as connection:
            executions = _all(connection, _EXECUTIONS, session_id, rows.execution)
            if not executions or self.agent not in (None, executions[0].agent):
                return None
            return SessionRows(
                executions,
                _all(connection, _CHECKPOINTS, session_id, rows.checkpoint),
                _all(connection, _EVENTS, session_id, rows.event),
            )

    def latest(
        self,
        statuses: Sequence[ExecutionStatus] = (),
        *,
        before: int | None = None,
        limit: int = 100,
    ) -> list[ExecutionRow]:
        """Return the last main execution of each session, newest first; `before` is the `n` of the page before."""
        tests, values = [_LATEST], list[str | int]()
        if self.agent is not None:
            tests.append("agent = ?")
            values.append(self.agent)
        if statuses:
            tests.append(f"status IN ({', '.join('?' * len(statuses))})")
            values.extend(statuses)
        if before is not None:
            tests.append("n < ?")
            values.append(before)
        with self._connection() as connection:
            found = connection.execute(
                f"SELECT {rows.EXECUTION} FROM executions WHERE {' AND '.join(tests)} "
                "ORDER BY n DESC LIMIT ?",
                (*values, limit),
            )
            return [rows.execution(connection, row) for row in found.fetchall()]

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with translated(self.path), closing(open_reader(self.path)) as connection:
            connection.execute("BEGIN")
            yield connection


def find_archive(base: Path) -> Archive | None:
    """Return the database that a directory of sessions belongs to.

    It lies in the directory itself, or, for `{state}/agents/{agent}`, in the state directory.
    """
    if (base / DATABASE).is_file():
        return Archive(base / DATABASE)
    above = base.absolute().parent
    if above.name == "agents" and (above.parent / DATABASE).is_file():
        return Archive(above.parent / DATABASE, base.absolute().name)
    return None


def _all(
    connection: sqlite3.Connection,
    query: str,
    session_id: str,
    read: Callable[[sqlite3.Connection, rows.Row], T],
) -> list[T]:
    found = connection.execute(query, (session_of(session_id),)).fetchall()
    return [read(connection, row) for row in found]
