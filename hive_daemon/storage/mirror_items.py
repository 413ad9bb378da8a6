"""What the mirror is told and what it answers: the messages between the event loop and whoever writes the files.

They are plain values, so that they may cross to another process. Of a commit, only what the files show crosses.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from hive_daemon.storage.chronicle import ShownEvent, ShownStep
from hive_daemon.storage.mirror_files import Place
from hive_daemon.storage.mirror_fold import SHOWN_EVENTS, MirrorMeta, MirrorMode, SessionRecord
from hive_daemon.storage.mirror_marker import Start
from hive_daemon.storage.values import StepCommit, StoredEvent


class Rebuilt(StrEnum):
    """What became of a rebuilding: done, the rows were older than what was offered, or the disk failed."""

    DONE = "done"
    STALE = "stale"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Lag:
    """What is not on disk: these executions, and whatever came after the event `after_seq`, if it is set."""

    executions: tuple[str, ...] = ()
    after_seq: int | None = None


class Settings(NamedTuple):
    """What a writer needs to know before anything else; `log_level` is from where on it tells of log records."""

    root: Path
    mode: MirrorMode
    keep_checkpoints: int
    start: Start
    log_level: int = 0


# --- what it is told ---------------------------------------------------------------------------


class Begun(NamedTuple):
    """An execution begins to run, or goes on after its step `seq`."""

    meta: MirrorMeta
    seq: int


class Offered(NamedTuple):
    """A commit at wall second `at` with the events from `first` to `last`, 0 without any; `events` are those shown."""

    execution_id: str
    step: StepCommit | ShownStep | None
    first: int
    last: int
    events: Sequence[StoredEvent | ShownEvent]
    at: float


class Barrier(NamedTuple):
    """Somebody waits until these sessions are written."""

    session_ids: Collection[str]
    token: int


class Rebuilding(NamedTuple):
    """A session is to be written from the store's rows."""

    record: SessionRecord
    force: bool
    token: int


class LagAsked(NamedTuple):
    """Somebody asks what lags, and so tends to it."""

    token: int


class Dismissed(NamedTuple):
    """There is nothing to rebuild for these executions."""

    execution_ids: Collection[str]


class CaughtUp(NamedTuple):
    """Nothing up to the event `after_seq` lags except what is named; None: nothing at all."""

    after_seq: int | None


class Removed(NamedTuple):
    """The store has forgotten what is shown at this place."""

    place: Place


class Closed(NamedTuple):
    """Nothing else is coming."""


Item = Begun | Offered | Barrier | Rebuilding | LagAsked | Dismissed | CaughtUp | Removed | Closed


def offered(
    execution_id: str, step: StepCommit | None, events: Sequence[StoredEvent], at: float
) -> Offered:
    """Return what the mirror is told of a commit: of its events, those that the files show."""
    first, last = (events[0].seq, events[-1].seq) if events else (0, 0)
    shown = [event for event in events if event.type in SHOWN_EVENTS]
    return Offered(execution_id, step, first, last, shown, at)


# --- what it answers ---------------------------------------------------------------------------


class Answer(NamedTuple):
    """The answer to the item with this token."""

    token: int
    value: Rebuilt | Lag | None


class Behind(NamedTuple):
    """Something began to lag."""


class Told(NamedTuple):
    """A log record of another process, by its attributes."""

    record: dict[str, Any]


Said = Answer | Behind | Told
