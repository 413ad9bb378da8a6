"""The hub: what happens to a commit once it is durable.

It is told of every commit in order, hands the steps to the mirror and the events to whoever listens. One task
publishes: durable events in the order of their numbers, live ones where they belong between them; before the end of an
execution is published, its readable files are complete, which the mirror is asked for as soon as the end commits; who
waits for it is woken after that. Nothing here delays a commit, nothing correct depends on a listener, and one that
fails is logged and disturbs nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from hive_daemon.runtime.events import ENDINGS, AgentEvent, EventType, from_stored
from hive_daemon.storage.mirror_fold import MirrorMeta
from hive_daemon.storage.values import Fence, StepCommit, StoredEvent

logger = logging.getLogger(__name__)

STOPS = ENDINGS | {EventType.EXECUTION_PAUSED}
"""Events after which an execution does not run any more, for now or for good."""

BREATH = 256
"""Events after which others get their turn on the event loop."""

_STOP_KINDS = frozenset(kind.value for kind in STOPS)


class Mirror(Protocol):
    """Where the readable files are written."""

    def begin(self, meta: MirrorMeta, seq: int = 0) -> None:
        """Follow an execution that begins to run; `seq` is its last step, if it goes on."""

    def offer(
        self, execution_id: str, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take note of a commit, without waiting; `step` is None for events that no step caused."""

    def complete(self, session_id: str, then: Callable[[], None]) -> None:
        """Call `then` once everything offered so far for this session is written; it may be now."""


Listener = Callable[[AgentEvent], None]


@dataclass(frozen=True, slots=True)
class _Listening:
    tell: Listener
    agent: str | None
    wants_live: Callable[[], bool] | None


class Hub:
    """Passes commits on: to the mirror, to the listeners, to those who wait for an execution to stop."""

    def __init__(self, mirror: Mirror, queued: Callable[[str], None]) -> None:
        self._mirror = mirror
        self._queued = queued
        self._pending: deque[StoredEvent | AgentEvent] = deque()
        self._unwritten: set[int] = set()
        self._due: asyncio.Handle | None = None
        self._context = Context()
        self._is_open = False
        self._is_telling = False
        self._listeners: dict[int, _Listening] = {}
        self._watchers: dict[str, int] = {}
        self._waiters: dict[str, list[asyncio.Future[bool]]] = {}
        self._next = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
        self._moved_at = 0.0
        self.published = 0

    # --- told by the store ------------------------------------------------------------------

    def committed(
        self, fence: Fence | None, step: StepCommit | None, events: Sequence[StoredEvent]
    ) -> None:
        """Take note of a commit; see `StoreListener`."""
        if fence is not None:
            self._mirror.offer(fence.execution_id, step, events)
        else:
            for event in events:
                if event.execution_id:
                    self._mirror.offer(event.execution_id, None, (event,))
        if events:
            if not self._pending:
                self._moved_at = asyncio.get_running_loop().time()
            self._ask_for_files(events)
            self._pending.extend(events)
            self._idle.clear()
            self._publish_soon()

    def _ask_for_files(self, events: Sequence[StoredEvent]) -> None:
        """Ask now for what the end of an execution waits for: many are written while others are published."""
        for event in events:
            if event.type in _STOP_KINDS:
                self._unwritten.add(event.seq)
                self._mirror.complete(event.session_id, partial(self._written, event.seq))

    def queued(self, lane: str) -> None:
        """Pass on that a lane has something to claim."""
        self._queued(lane)

    # --- publishing -------------------------------------------------------------------------

    @property
    def silent_seconds(self) -> float:
        """How long nothing was told although something waits to be, on the files of an execution that ended."""
        return asyncio.get_running_loop().time() - self._moved_at if self._pending else 0.0

    def start(self) -> None:
        """Begin to publish, in the context of the caller."""
        self._context = copy_context()
        self._is_open = True
        self._publish_soon()

    def _publish_soon(self) -> None:
        if self._is_open and self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_soon(self._publish, context=self._context)

    def _written(self, seq: int) -> None:
        """Take note that the files are complete that an event tells the end of, and go on if that was waited for."""
        self._unwritten.discard(seq)
        is_waited_for = bool(self._pending) and self._pending[0].seq == seq
        if is_waited_for and self._is_open and not self._is_telling:
            self._context.run(self._publish)

    def _publish(self) -> None:
        """Tell of what waits its turn, as far as the files are complete."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._is_telling = True
        try:
            self._tell_most()
        finally:
            self._is_telling = False
            if not self._pending:
                self._idle.set()
            elif self._is_next_ready():
                self._publish_soon()

    def _tell_most(self) -> None:
        if self._is_next_ready():
            self._moved_at = asyncio.get_running_loop().time()
        for _ in range(BREATH):
            if not self._is_next_ready():
                return
            # It leaves the queue only now: what is shown meanwhile takes its place behind it.
            self._tell(self._pending.popleft())

    def _is_next_ready(self) -> bool:
        if not self._pending:
            return False
        event = self._pending[0]
        return isinstance(event, AgentEvent) or event.seq not in self._unwritten

    def _tell(self, event: StoredEvent | AgentEvent) -> None:
        if isinstance(event, AgentEvent):
            self._show(event)
            return
        self.published += 1
        self._show(from_stored(event))
        if event.type in _STOP_KINDS:
            self._release(event.execution_id, has_stopped=True)

    def show(self, event: AgentEvent) -> None:
        """Tell the listeners of a live event, after everything that is durable and not told yet."""
        if self._pending:
            self._pending.append(event)
            self._publish_soon()
        else:
            self._show(event)

    def _show(self, event: AgentEvent) -> None:
        for listening in tuple(self._listeners.values()):
            if listening.agent is None or listening.agent == event.agent:
                _call(listening.tell, event)

    # --- listening --------------------------------------------------------------------------

    def listen(
        self, tell: Listener, agent: str | None = None, wants_live: Callable[[], bool] | None = None
    ) -> int:
        """Call `tell` for every event, of one agent if given; answer the token for `unlisten`.

        `wants_live` says whether live events are worth making just now.
        """
        self._next += 1
        self._listeners[self._next] = _Listening(tell, agent, wants_live)
        return self._next

    def unlisten(self, token: int) -> None:
        """Stop calling a listener."""
        self._listeners.pop(token, None)

    def watch(self, key: str) -> None:
        """Note that somebody watches live events of an agent or a session, by its name or id."""
        self._watchers[key] = self._watchers.get(key, 0) + 1

    def unwatch(self, key: str) -> None:
        """Note that somebody stopped watching."""
        left = self._watchers.get(key, 0) - 1
        if left > 0:
            self._watchers[key] = left
        else:
            self._watchers.pop(key, None)

    def is_watched(self, agent: str, session_id: str) -> bool:
        """Say whether anybody watches live events of this agent or session."""
        if agent in self._watchers or session_id in self._watchers:
            return True
        return any(
            listening.wants_live is not None
            and listening.agent in (None, agent)
            and listening.wants_live()
            for listening in self._listeners.values()
        )

    # --- waiting ----------------------------------------------------------------------------

    @contextmanager
    def waiting(self, execution_id: str) -> Iterator[asyncio.Future[bool]]:
        """Give a future that is done once the execution stops, counted from now.

        Its value is False if nobody will say so any more, because the runtime stops first.
        """
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            waiter.set_result(False)
        self._waiters.setdefault(execution_id, []).append(waiter)
        try:
            yield waiter
        finally:
            waiters = self._waiters.get(execution_id, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiters.pop(execution_id, None)

    def is_to_tell(self, execution_id: str) -> bool:
        """Say whether the stop of an execution is durable and not published yet: its files may not be complete."""
        return any(
            event.execution_id == execution_id and event.type in _STOP_KINDS
            for event in self._pending
        )

    def let_go(self, execution_ids: Iterable[str]) -> None:
        """Let nobody wait for these executions any more."""
        for execution_id in execution_ids:
            self._release(execution_id, has_stopped=False)

    def _release(self, execution_id: str, *, has_stopped: bool) -> None:
        for waiter in self._waiters.pop(execution_id, ()):
            if not waiter.done():
                waiter.set_result(has_stopped)

    async def flush(self) -> None:
        """Wait until everything committed so far is published."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop publishing."""
        self._is_open = False
        if self._due is not None:
            self._due.cancel()
        self._is_closed = True
        self.let_go(tuple(self._waiters))


def _call(tell: Listener, event: AgentEvent) -> None:
    """Tell one listener: part of the boundary at which a handler's exceptions are caught."""
    try:
        tell(event)
    except Exception:
        logger.exception("an event listener failed", extra={"event_type": event.type.value})
