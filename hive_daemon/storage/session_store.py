"""SessionStore, the documented face of sessions: hive.db where there is one, the files of `sessions/` where not.

Where a database exists it is the truth and belongs to its daemon: here it is only read, and nothing is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson
from pydantic import ValidationError

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import Conflict, StorageCorrupt
from hive_daemon.ids import check_session_id, is_session_id, new_session_id
from hive_daemon.schemas.session_state import SessionState
from hive_daemon.storage.files import read_file, replace_file
from hive_daemon.storage.session_reader import SessionReader
from hive_daemon.storage.session_state import SESSIONS, STATE, statuses_named
from hive_daemon.tasks import to_thread

__all__ = ["SessionState", "SessionStore"]

PAGE = 100


class SessionStore:
    """The sessions of one agent; `base_path` is the directory that holds `sessions/`.

    Ids that do not look like a session's id are refused with InvalidInput, before they touch a path.
    """

    def __init__(self, base_path: str | Path, clock: Clock = SYSTEM_CLOCK) -> None:
        self.base_path = Path(base_path).expanduser()
        self.sessions_dir = self.base_path / SESSIONS
        self._clock = clock

    def generate_session_id(self) -> str:
        """Make a new session id."""
        return new_session_id(self._clock.time())

    def get_session_path(self, session_id: str) -> Path:
        """Return the directory of a session, whether it exists or not."""
        check_session_id(session_id)
        reader = self._reader()
        return self.sessions_dir / session_id if reader is None else reader.session_path(session_id)

    def get_state_path(self, session_id: str) -> Path:
        """Return the path of a session's `state.json`."""
        return self.get_session_path(session_id) / STATE

    async def write_state(self, session_id: str, state: SessionState) -> None:
        """Write a session's state. Raises Conflict where a database keeps the sessions."""
        path = self.sessions_dir / check_session_id(session_id) / STATE
        self._refuse_with_database()
        content = orjson.dumps(state.model_dump(mode="json"), option=orjson.OPT_APPEND_NEWLINE)
        await to_thread(replace_file, path, content)

    async def read_state(self, session_id: str) -> SessionState | None:
        """Return a session's state, None if there is no such session. Raises StorageCorrupt for a damaged one."""
        return await to_thread(self._read, check_session_id(session_id))

    async def list_sessions(
        self, status: str | None = None, goal_id: str | None = None, limit: int = 100
    ) -> list[SessionState]:
        """Return the newest sessions, last updated first; damaged ones are passed over.

        `status` may be one of ours or an older word (active, success, …).
        """
        return await to_thread(self._list, status, goal_id, limit)

    async def delete_session(self, session_id: str) -> bool:
        """Delete a session's files; say whether there were any. Raises Conflict where a database keeps them."""
        path = self.sessions_dir / check_session_id(session_id)
        self._refuse_with_database()
        return await to_thread(_delete, path)

    async def session_exists(self, session_id: str) -> bool:
        """Say whether there is such a session."""
        return await to_thread(self._exists, check_session_id(session_id))

    def _reader(self) -> SessionReader | None:
        return SessionReader.find(self.base_path)

    def _refuse_with_database(self) -> None:
        if self._reader() is not None:
            raise Conflict(
                "the sessions here are kept in hive.db, which only its daemon changes",
                hint="use the runtime or the `hive sessions` commands",
            )

    def _read(self, session_id: str) -> SessionState | None:
        reader = self._reader()
        if reader is not None:
            state = reader.state(session_id)
            return None if state is None else SessionState.model_validate(state)
        path = self.sessions_dir / session_id / STATE
        content = read_file(path)
        if content is None:
            return None
        return _parsed(content, session_id, path)

    def _exists(self, session_id: str) -> bool:
        reader = self._reader()
        if reader is not None:
            return reader.has(session_id)
        return read_file(self.sessions_dir / session_id / STATE) is not None

    def _list(self, status: str | None, goal_id: str | None, limit: int) -> list[SessionState]:
        reader = self._reader()
        found: list[SessionState] = []
        states = self._from_files() if reader is None else _from_database(reader, status)
        for state in states:
            if len(found) >= limit:
                break
            if _is_wanted(state, status, goal_id):
                found.append(state)
        return sorted(found, key=lambda state: state.timestamps.updated_at, reverse=True)

    def _from_files(self) -> Iterator[SessionState]:
        try:
            names = os.listdir(self.sessions_dir)
        except OSError:
            return
        for name in sorted(filter(is_session_id, names), reverse=True):
            path = self.sessions_dir / name / STATE
            content = read_file(path)
            if content is None:
                continue
            try:
                yield _parsed(content, name, path)
            except StorageCorrupt:
                continue


def _from_database(reader: SessionReader, status: str | None) -> Iterator[SessionState]:
    statuses = () if status is None else tuple(statuses_named(status))
    if status is not None and not statuses:
        return
    before = None
    while rows := reader.latest(statuses, before=before, limit=PAGE):
        for row in rows:
            state = reader.state(row.session_id)
            if state is not None:
                yield SessionState.model_validate(state)
        before = rows[-1].n


def _parsed(content: bytes, session_id: str, path: Path) -> SessionState:
    try:
        state = SessionState.model_validate(orjson.loads(content))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise StorageCorrupt(f"{path} is not the state of a session") from error
    if state.session_id != session_id:
        raise StorageCorrupt(f"{path} tells of another session: {state.session_id[:80]!r}")
    return state


def _is_wanted(state: SessionState, status: str | None, goal_id: str | None) -> bool:
    if goal_id is not None and state.goal_id != goal_id:
        return False
    return status is None or not statuses_named(status).isdisjoint(statuses_named(state.status))


def _delete(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    shutil.rmtree(path)
    return True
