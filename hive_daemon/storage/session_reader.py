"""Sessions as hive.db knows them, in the shapes of the readable files. Read-only and blocking.

What the database does not hold (an execution's goal and isolation level) comes from the mirror, where it has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from hive_daemon.ids import is_session_id, session_of
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.chronicle import Chronicle
from hive_daemon.storage.files import read_file
from hive_daemon.storage.mirror_fold import Line, MirrorMeta, SessionRecord
from hive_daemon.storage.session_state import SESSIONS, STATE, state_json
from hive_daemon.storage.sqlite.archive import Archive, SessionRows, find_archive
from hive_daemon.storage.values import ExecutionRow

KEEP_ALL = 1_000_000


class SessionReader:
    """The sessions below one directory, read from the database they belong to."""

    def __init__(self, base: Path, archive: Archive) -> None:
        self._base = base
        self._archive = archive

    @classmethod
    def find(cls, base: Path) -> SessionReader | None:
        """Return a reader for a directory that a database belongs to."""
        archive = find_archive(base)
        return None if archive is None else cls(base, archive)

    def session_path(self, session_id: str) -> Path:
        """Return the directory of a session; that of a state directory's agent lies below it."""
        directory = self._base
        if self._archive.agent is None and (self._base / "agents").is_dir():
            rows = self._archive.session(session_id)
            directory = self._directory(rows.executions[0]) if rows else self._base
        return directory / SESSIONS / session_id

    def read(self, execution_id: str) -> tuple[Chronicle, list[Line]] | None:
        """Return what is known of an execution; a session's id means its last main execution."""
        rows = self._archive.session(session_of(execution_id))
        if rows is None:
            return None
        row = _wanted(rows.executions, execution_id)
        return None if row is None else self._record(rows).fold(row.execution_id, KEEP_ALL)

    def state(self, session_id: str) -> dict[str, Any] | None:
        """Return the content of a session's `state.json`, None if there is no such session."""
        found = self.read(session_id)
        if found is None:
            return None
        content: dict[str, Any] = orjson.loads(state_json(found[0]))
        return content

    def latest(
        self, statuses: Sequence[ExecutionStatus] = (), *, before: int | None = None, limit: int
    ) -> list[ExecutionRow]:
        """Return the last main execution of each session, newest first, a page at a time."""
        return self._archive.latest(statuses, before=before, limit=limit)

    def has(self, session_id: str) -> bool:
        """Say whether there is such a session."""
        return self._archive.session(session_id) is not None

    def _record(self, rows: SessionRows) -> SessionRecord:
        described = [(self.meta_of(row), row) for row in rows.executions]
        return SessionRecord(described, rows.checkpoints, rows.events)

    def meta_of(self, row: ExecutionRow) -> MirrorMeta:
        """Return what the readable files need to know of an execution; what only its agent knows, as they have it."""
        directory = self._directory(row)
        known = _known(directory / SESSIONS / row.session_id / STATE)
        return MirrorMeta(
            agent=row.agent,
            session_id=row.session_id,
            execution_id=row.execution_id,
            ordinal=row.ordinal,
            is_joined=row.is_joined,
            graph_id=row.graph_id,
            goal_id=str(known.get("goal_id", "")),
            entry_point=row.entry_point,
            stream_id=row.stream_id,
            correlation_id=row.correlation_id,
            isolation_level=str(known.get("isolation_level", "")),
            input=row.input,
            created_at=row.created_at,
            started_at=row.created_at if row.started_at is None else row.started_at,
            trace_id=row.trace_id,
            directory=directory,
        )

    def _directory(self, row: ExecutionRow) -> Path:
        below = self._base / "agents" / row.agent
        return below if self._archive.agent is None and below.is_dir() else self._base


def _wanted(executions: Sequence[ExecutionRow], execution_id: str) -> ExecutionRow | None:
    if not is_session_id(execution_id):
        return next((row for row in executions if row.execution_id == execution_id), None)
    mains = [row for row in executions if not row.is_joined]
    begun = [row for row in mains if row.started_at is not None]
    return (begun or mains or list(executions))[-1]


def _known(path: Path) -> dict[str, Any]:
    try:
        known = orjson.loads(read_file(path) or b"{}")
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
