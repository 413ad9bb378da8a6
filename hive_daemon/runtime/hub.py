"""The hub: what happens to a commit once it is durable.

It is told of every commit in order, hands the steps to the mirror and the events to whoever listens. One task
publishes: durable events in the order of their numbers, live ones where they belong between them; before the end of an
execution is published, its readable files are complete; who waits for it is woken after that. Nothing here delays a
commit, nothing correct depends on a listener, and one that fails is logged and disturbs nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from hive_daemon.runtime.events import ENDINGS, AgentEvent, EventType, from_stored
from hive_daemon.storage.mirror_fold import MirrorMeta
from hive_daemon.storage.values import Fence, StepCommit, StoredEvent
from hive_daemon.tasks import Scope

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

    def drained(self, session_ids: Sequence[str]) -> Awaitable[None]:
        """Wait until everything offered for these sessions is written."""


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
        self._wake = asyncio.Event()
        self._scope = Scope("hub")
        self._listeners: dict[int, _Listening] = {}
        self._watchers: dict[str, int] = {}
        self._waiters: dict[str, list[asyncio.Future[bool]]] = {}
        self._next = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
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
            self._pending.extend(events)
            self._idle.clear()
            self._wake.set()

    def queued(self, lane: str) -> None:
        """Pass on that a lane has something to claim."""
        self._queued(lane)

    # --- publishing -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to publish."""
        self._scope.spawn("publisher", self._publish())

    async def _publish(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = list(self._pending)
            ended = {
                event.session_id
                for event in batch
                if isinstance(event, StoredEvent) and event.type in _STOP_KINDS
            }
            if ended:
                await self._mirror.drained(tuple(ended))
            for place, event in enumerate(batch, 1):
                # It leaves the queue only now: what is shown meanwhile takes its place behind it.
                self._pending.popleft()
                self._tell(event)
                if place % BREATH == 0:
                    await asyncio.sleep(0)
            if not self._pending:
                self._idle.set()

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
            self._wake.set()
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
        await self._scope.close()
        self._is_closed = True
        self.let_go(tuple(self._waiters))


def _call(tell: Listener, event: AgentEvent) -> None:
    """Tell one listener: part of the boundary at which a handler's exceptions are caught."""
    try:
        tell(event)
    except Exception:
        logger.exception("an event listener failed", extra={"event_type": event.type.value})
