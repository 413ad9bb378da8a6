"""The readable mirror of the store: the documented files of every session, written by a thread of their own.

Laws: what was offered before `drained` was called is on disk when it returns, unless the disk refuses; nothing here
ever delays or fails an execution; nothing reads the files back; what could not be written is rebuilt from the store
(`mirror_catch_up`). Memory is bounded: an execution is followed only while it runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.storage.mirror_files import Files, Place, session_place, sweep
from hive_daemon.storage.mirror_fold import MirrorMeta, MirrorMode, SessionRecord
from hive_daemon.storage.mirror_marker import Marker, Start, read_marker
from hive_daemon.storage.mirror_pages import Pages
from hive_daemon.storage.mirror_scribe import Lag, Rebuilt, Scribe
from hive_daemon.storage.values import StepCommit, StoredEvent
from hive_daemon.tasks import to_thread

__all__ = ["Lag", "Mirror", "MirrorMeta", "MirrorMode", "Rebuilt", "SessionRecord"]

T = TypeVar("T")

KEEP_CHECKPOINTS = 5
MARK_SECONDS = 1.0
HOLD_SECONDS = 1.0
MOST_AT_ONCE = 4_096


class _Begun(NamedTuple):
    meta: MirrorMeta
    seq: int


class _Offered(NamedTuple):
    execution_id: str
    step: StepCommit | None
    events: Sequence[StoredEvent]
    at: float


class _Barrier(NamedTuple):
    session_ids: Collection[str]
    answer: asyncio.Future[None]


class _Rebuilding(NamedTuple):
    record: SessionRecord
    force: bool
    answer: asyncio.Future[Rebuilt]


class _LagAsked(NamedTuple):
    answer: asyncio.Future[Lag]


class _Dismissed(NamedTuple):
    execution_ids: Collection[str]


class _CaughtUp(NamedTuple):
    after_seq: int | None


class _Removed(NamedTuple):
    place: Place


_Item = _Begun | _Offered | _Barrier | _Rebuilding | _LagAsked | _Dismissed | _CaughtUp | _Removed


class Mirror:
    """The mirror below one state directory. Construct it in a running event loop, and use it only from there.

    `start` says what a mirror before this one may have left unwritten; `behind` is set whenever something lags.
    """

    def __init__(
        self,
        root: Path,
        mode: MirrorMode,
        clock: Clock = SYSTEM_CLOCK,
        keep_checkpoints: int = KEEP_CHECKPOINTS,
    ) -> None:
        self.mode = mode
        self.behind = asyncio.Event()
        self._root = root
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._is_open = mode is not MirrorMode.OFF
        self.start = read_marker(root, mode) if self._is_open else Start()
        files = Files()
        self._files = files
        self._marker = Marker(root, mode, files, self.start)
        self._scribe = Scribe(
            Pages(files, mode, keep_checkpoints), clock, keep_checkpoints, self.start.after_seq
        )
        self._thread = threading.Thread(target=self._run, name="hive-mirror", daemon=True)
        self._items: list[_Item | None] = []
        self._held: list[tuple[float, _Barrier]] = []
        self._is_tended = False
        self._due: float | None = None
        self._mark_due: float | None = None
        if self._is_open:
            self._thread.start()

    def begin(self, meta: MirrorMeta, seq: int = 0) -> None:
        """Follow an execution that begins to run; `seq` is its last step, if it goes on.

        One that goes on lags until it is rebuilt, since its earlier steps are not known here.
        """
        if self._is_open:
            self._queue.put(_Begun(meta, seq))

    def offer(
        self, execution_id: str, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take note of a commit, in commit order; `step` is None for whatever changed without one."""
        if self._is_open:
            self._queue.put(_Offered(execution_id, step, events, self._clock.time()))

    def drained(self, session_ids: Collection[str]) -> asyncio.Future[None]:
        """Return what is done once everything offered so far for these sessions is on disk, or refused by it.

        Those that lag are waited for while somebody rebuilds what lags, a second at most.
        """
        answer: asyncio.Future[None] = self._loop.create_future()
        if self._is_open:
            self._queue.put(_Barrier(session_ids, answer))
        else:
            answer.set_result(None)
        return answer

    def rebuild(self, record: SessionRecord, *, force: bool = False) -> asyncio.Future[Rebuilt]:
        """Write a session's files from the store's rows, and follow those of its executions that run.

        Unless `force` is set, files that show the same step already are left alone.
        """
        answer: asyncio.Future[Rebuilt] = self._loop.create_future()
        if self._is_open:
            self._queue.put(_Rebuilding(record, force, answer))
        else:
            answer.set_result(Rebuilt.DONE)
        return answer

    def lag(self) -> asyncio.Future[Lag]:
        """Return what is to be rebuilt."""
        answer: asyncio.Future[Lag] = self._loop.create_future()
        if self._is_open:
            self._queue.put(_LagAsked(answer))
        else:
            answer.set_result(Lag())
        return answer

    def dismiss(self, execution_ids: Collection[str]) -> None:
        """Note that there is nothing to rebuild for these executions."""
        if self._is_open:
            self._queue.put(_Dismissed(execution_ids))

    def caught_up(self, after_seq: int | None) -> None:
        """Note that nothing up to the event `after_seq` lags except what is named; None: nothing at all."""
        if self._is_open:
            self._queue.put(_CaughtUp(after_seq))

    def remove(self, directory: Path, session_id: str) -> None:
        """Remove the files of a session that the store has forgotten."""
        if self._is_open:
            self._queue.put(_Removed(session_place(directory, session_id)))

    async def close(self) -> None:
        """Write what is owed and end the thread."""
        if self._is_open:
            self._is_open = False
            self._queue.put(None)
            await to_thread(self._thread.join)

    # --- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._sweep()
            while self._round():
                pass
            self._scribe.settle_all()
            self._mark(is_closed=True)
        finally:
            self._files.close()
            self._call(self._bury)

    def _round(self) -> bool:
        """Take in what has queued up, write what is due; say False at the end."""
        items = self._items = self._next_items()
        losses = self._scribe.losses
        for item in items:
            if item is not None:
                self._take(item)
        if self._held:
            self._settle()
        self._due = self._scribe.write_due()
        if self._scribe.losses > losses:
            self._call(self.behind.set)
        self._mark_in_time(bool(items))
        return not items or items[-1] is not None

    def _next_items(self) -> list[_Item | None]:
        held_until = self._held[0][0] if self._held else None
        ends = (self._due, self._mark_due, held_until)
        due = min((end for end in ends if end is not None), default=None)
        patience = None if due is None else max(due - self._clock.monotonic(), 0.0)
        items: list[_Item | None] = []
        try:
            items.append(self._queue.get(timeout=patience))
            while items[-1] is not None and len(items) < MOST_AT_ONCE:
                items.append(self._queue.get_nowait())
        except Empty:
            return items
        return items

    def _take(self, item: _Item) -> None:
        match item:
            case _Offered():
                self._scribe.take(*item)
            case _Begun(meta, seq):
                self._scribe.begin(meta, seq)
            case _Rebuilding(record, force, answer):
                self._call(_answer, answer, self._scribe.rebuild(record, force))
            case _Barrier():
                self._held.append((self._clock.monotonic() + HOLD_SECONDS, item))
            case _LagAsked(answer):
                self._is_tended = True
                self._call(_answer, answer, self._scribe.lag)
            case _Dismissed(execution_ids):
                self._scribe.dismiss(execution_ids)
            case _CaughtUp(after_seq):
                self._scribe.caught_up(after_seq)
            case _Removed(place):
                self._scribe.remove(place)

    def _settle(self) -> None:
        """Write what is waited for, and let go of those that need not wait for a rebuilding."""
        self._scribe.settle({name for _, barrier in self._held for name in barrier.session_ids})
        now = self._clock.monotonic()
        held, self._held = self._held, []
        done = []
        for until, barrier in held:
            is_in_time = self._is_tended and now < until
            if is_in_time and self._scribe.will_rebuild(barrier.session_ids):
                self._held.append((until, barrier))
            else:
                done.append(barrier)
        if done:
            self._call(_release, done)

    def _sweep(self) -> None:
        try:
            sweep((self._root, *self._root.glob("agents/*")))
        except OSError as error:
            self._scribe.complain(error)

    def _mark_in_time(self, has_news: bool) -> None:
        """Move the marker once a second while anything happens, and not at all otherwise."""
        now = self._clock.monotonic()
        if self._mark_due is None:
            self._mark_due = now + MARK_SECONDS if has_news else None
        elif now >= self._mark_due:
            self._mark()
            self._mark_due = None

    def _mark(self, *, is_closed: bool = False) -> None:
        try:
            self._marker.write(
                self._scribe.mirrored_seq, self._clock.monotonic(), is_closed=is_closed
            )
        except OSError as error:
            self._scribe.complain(error)

    def _call(self, call: Callable[..., object], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    # --- back on the loop -------------------------------------------------------------------

    def _bury(self) -> None:
        """Answer what is left. Should the thread have died of a fault of its own, executions go on without it."""
        self._is_open = False
        items = [*self._items, *(barrier for _, barrier in self._held)]
        while not self._queue.empty():
            items.append(self._queue.get_nowait())
        for item in items:
            match item:
                case _Barrier():
                    _release([item])
                case _Rebuilding(answer=answer):
                    _answer(answer, Rebuilt.FAILED)
                case _LagAsked(answer):
                    _answer(answer, Lag())
                case _:
                    continue


def _release(barriers: Iterable[_Barrier]) -> None:
    for barrier in barriers:
        _answer(barrier.answer, None)


def _answer(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():
        answer.set_result(value)
