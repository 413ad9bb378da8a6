"""Finding the session that somebody means, in a state directory that nothing has opened yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hive_daemon.control.wire import LATEST, choose
from hive_daemon.errors import Conflict, SessionNotFound
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.session_reader import SessionReader
from hive_daemon.storage.values import ExecutionRow

_PAGE = 500
_SHOWN = 5
_INTERRUPTED = (
    ExecutionStatus.QUEUED,
    ExecutionStatus.RUNNING,
    ExecutionStatus.INTERRUPTED,
)


@dataclass(frozen=True, slots=True)
class SessionFound:
    """A session by its latest main execution, as it stood before anything was started."""

    session_id: str
    execution_id: str
    stream_id: str
    status: ExecutionStatus

    @property
    def is_interrupted(self) -> bool:
        """Whether it goes on by itself as soon as its agent runs."""
        return self.status in _INTERRUPTED


def find_session(state_dir: Path, agent: str, reference: str) -> SessionFound:
    """Return the session of an agent that an id, the beginning of one, or `latest` means.

    Blocking. Raises SessionNotFound, Conflict (ambiguous, or completed), and the errors of the store.
    """
    reader = SessionReader.find(state_dir)
    rows = [] if reader is None else [row for row in _all(reader) if row.agent == agent]
    if reference == LATEST:
        found = rows[:1]
    else:
        chosen = choose(reference, [row.session_id for row in rows])
        found = [row for row in rows if row.session_id in chosen]
    if not found:
        raise SessionNotFound(
            f"{state_dir} holds no session {reference!r} of this agent",
            hint="--state-dir names the directory that the run was given",
        )
    if len(found) > 1:
        shown = ", ".join(row.session_id for row in found[:_SHOWN])
        raise Conflict(f"{reference!r} is the beginning of several sessions", hint=f"say {shown}")
    row = found[0]
    if row.status is ExecutionStatus.COMPLETED:
        raise Conflict(
            f"{row.session_id} is completed, there is nothing to go on with",
            hint="run the agent anew, without --resume",
        )
    return SessionFound(row.session_id, row.execution_id, row.stream_id, row.status)


def _all(reader: SessionReader) -> Iterator[ExecutionRow]:
    before = None
    while rows := reader.latest(before=before, limit=_PAGE):
        yield from rows
        before = rows[-1].n
