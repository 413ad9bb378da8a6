"""The readable mirror of the store: the documented files of every session, written beside the event loop.

Laws: what was offered before `drained` was called is on disk when it returns, unless the disk refuses; nothing here
ever delays or fails an execution; nothing reads the files back; what could not be written is rebuilt from the store
(`mirror_catch_up`), also after the process that writes them was lost. Memory is bounded: an execution is followed only
while it runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.storage.mirror_files import session_place
from hive_daemon.storage.mirror_fold import MirrorMeta, MirrorMode, SessionRecord
from hive_daemon.storage.mirror_items import (
    Answer,
    Barrier,
    Begun,
    Behind,
    CaughtUp,
    Dismissed,
    Item,
    Lag,
    LagAsked,
    Rebuilding,
    Rebuilt,
    Removed,
    Said,
    Settings,
    Told,
    offered,
)
from hive_daemon.storage.mirror_marker import Start, read_marker
from hive_daemon.storage.mirror_remote import RemoteDesk
from hive_daemon.storage.mirror_thread import ThreadedDesk
from hive_daemon.storage.values import StepCommit, StoredEvent
from hive_daemon.tasks import Scope

__all__ = ["Lag", "Mirror", "MirrorMeta", "MirrorMode", "Rebuilt", "SessionRecord"]

logger = logging.getLogger(__name__)

KEEP_CHECKPOINTS = 5
RESTART_SECONDS = 1.0
"""The pause before a lost process is started again; it doubles each time."""
MOST_RESTART_SECONDS = 60.0


class _Desk(Protocol):
    """Whoever writes."""

    def put(self, item: Item) -> None:
        """Give it an item, in order."""

    async def close(self) -> None:
        """Have everything written that is owed, and end it."""


class _Asked(NamedTuple):
    """A question that is open: who is told the answer, and what is told if nobody answers."""

    tell: Callable[[Any], None]
    otherwise: Rebuilt | Lag | None


class Mirror:
    """The mirror below one state directory. Construct it in a running event loop, and use it only from there.

    With `has_process`, a process of its own writes the files, so that they take no time from this interpreter; it goes
    by the system's clock, ends with this process, and is started again should it be lost. Otherwise a thread does.
    `start` says what a mirror before this one may have left unwritten; `behind` is set whenever something lags.
    """

    def __init__(
        self,
        root: Path,
        mode: MirrorMode,
        clock: Clock = SYSTEM_CLOCK,
        keep_checkpoints: int = KEEP_CHECKPOINTS,
        *,
        has_process: bool = False,
    ) -> None:
        self.mode = mode
        self.behind = asyncio.Event()
        self._root = root
        self._clock = clock
        self._keep = keep_checkpoints
        self._has_process = has_process
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, _Asked] = {}
        self._tokens = count()
        self._scope = Scope("mirror")
        self._losses = 0
        self.start = Start()
        self._is_open = mode is not MirrorMode.OFF
        if self._is_open:
            self._desk = self._open()

    def begin(self, meta: MirrorMeta, seq: int = 0) -> None:
        """Follow an execution that begins to run; `seq` is its last step, if it goes on.

        One that goes on lags until it is rebuilt, since its earlier steps are not known here.
        """
        if self._is_open:
            self._desk.put(Begun(meta, seq))

    def offer(
        self, execution_id: str, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take note of a commit, in commit order; `step` is None for whatever changed without one."""
        if self._is_open:
            self._desk.put(offered(execution_id, step, events, self._clock.time()))

    def complete(self, session_id: str, then: Callable[[], None]) -> None:
        """Call `then` once everything offered so far for this session is on disk, or refused by it.

        One that lags is waited for while somebody rebuilds what lags, a second at most.
        """
        self._ask(_Asked(lambda _: then(), None), partial(Barrier, (session_id,)))

    def drained(self, session_ids: Collection[str]) -> asyncio.Future[None]:
        """Return what is done once these sessions are complete; see `complete`."""
        answer: asyncio.Future[None] = self._loop.create_future()
        self._ask(_Asked(partial(_answer, answer), None), partial(Barrier, session_ids))
        return answer

    def rebuild(self, record: SessionRecord, *, force: bool = False) -> asyncio.Future[Rebuilt]:
        """Write a session's files from the store's rows, and follow those of its executions that run.

        Unless `force` is set, files that show the same step already are left alone.
        """
        answer: asyncio.Future[Rebuilt] = self._loop.create_future()
        otherwise = Rebuilt.DONE if self.mode is MirrorMode.OFF else Rebuilt.FAILED
        asked = _Asked(partial(_answer, answer), otherwise)
        self._ask(asked, partial(Rebuilding, record, force))
        return answer

    def lag(self) -> asyncio.Future[Lag]:
        """Return what is to be rebuilt."""
        answer: asyncio.Future[Lag] = self._loop.create_future()
        self._ask(_Asked(partial(_answer, answer), Lag()), LagAsked)
        return answer

    def dismiss(self, execution_ids: Collection[str]) -> None:
        """Note that there is nothing to rebuild for these executions."""
        if self._is_open:
            self._desk.put(Dismissed(execution_ids))

    def caught_up(self, after_seq: int | None) -> None:
        """Note that nothing up to the event `after_seq` lags except what is named; None: nothing at all."""
        if self._is_open:
            self._desk.put(CaughtUp(after_seq))

    def remove(self, directory: Path, session_id: str) -> None:
        """Remove the files of a session that the store has forgotten."""
        if self._is_open:
            self._desk.put(Removed(session_place(directory, session_id)))

    async def close(self) -> None:
        """Write what is owed and let whoever wrote it end."""
        await self._scope.close()
        if self._is_open:
            self._is_open = False
            await self._desk.close()

    # --- the desk ---------------------------------------------------------------------------

    def _open(self) -> _Desk:
        self.start = read_marker(self._root, self.mode)
        level = logger.getEffectiveLevel()
        settings = Settings(self._root, self.mode, self._keep, self.start, level)
        if self._has_process:
            return RemoteDesk(settings, self._hear, self._ended)
        return ThreadedDesk(settings, self._clock, self._hear, self._ended)

    def _ask(self, asked: _Asked, item: Callable[[int], Item]) -> None:
        if not self._is_open:
            asked.tell(asked.otherwise)
            return
        token = next(self._tokens)
        self._asked[token] = asked
        self._desk.put(item(token))

    def _hear(self, said: Sequence[Said]) -> None:
        """Pass on what was said; whoever is told may raise, and the others are told after that."""
        left = iter(said)
        try:
            for word in left:
                self._pass_on(word)
        finally:
            rest = tuple(left)
            if rest:
                self._loop.call_soon(self._hear, rest)

    def _pass_on(self, word: Said) -> None:
        match word:
            case Answer(token, value):
                asked = self._asked.pop(token, None)
                if asked is not None:
                    asked.tell(value)
            case Behind():
                self.behind.set()
            case Told(record):
                logging.getLogger(record["name"]).handle(logging.makeLogRecord(record))

    def _ended(self) -> None:
        """Answer what is left. Should whoever writes have died of a fault of its own, executions go on without it."""
        was_open, self._is_open = self._is_open, False
        if was_open and self._has_process:
            logger.error("the process that writes the mirror was lost: another one is started")
            self._scope.spawn("restart", self._restart())
        self._hear([Answer(token, asked.otherwise) for token, asked in self._asked.items()])

    async def _restart(self) -> None:
        """Start again, later each time; what was missed meanwhile is caught up with."""
        while not self._is_open:
            await self._clock.sleep(min(RESTART_SECONDS * 2**self._losses, MOST_RESTART_SECONDS))
            self._losses += 1
            try:
                self._desk = self._open()
            except OSError as error:
                logger.warning("no process can be started", extra={"error": str(error)})
            else:
                self._is_open = True
        self.behind.set()


def _answer(answer: asyncio.Future[Any], value: object) -> None:
    if not answer.done():
        answer.set_result(value)
