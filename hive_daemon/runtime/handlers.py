"""Running the handlers of an event bus: each one event at a time, in order, none in the way of another.

A handler that cannot be suspended is called on the spot. The others run in a task for as long as there is something for
them; `most` of these tasks run at once. One that keeps others waiting for a second is counted among them no more.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any, cast

from hive_daemon.clock import Clock
from hive_daemon.observability.trace_context import reset_trace_context, set_trace_of
from hive_daemon.runtime.events import AgentEvent
from hive_daemon.runtime.subscriptions import Subscription, Telling, run_through
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

MAX_QUEUED = 10_000
"""Events that may wait for one handler; what comes then drops the oldest."""

PATIENCE_SECONDS = 1.0
"""How long a handler may keep others from running."""

FAILED = "event handler failed"

BURST = 256
"""Events that are handled before the rest of the process gets its turn."""

Begun = tuple[AgentEvent, Telling | None, Awaitable[Any]]
"""An event whose handler was called, and what it answered to be awaited."""

_handling: ContextVar[Subscription | None] = ContextVar("hive_handling_event", default=None)


def handled_now() -> AgentEvent | None:
    """Return the event whose handler asks, None outside handlers."""
    listener = _handling.get()
    return None if listener is None else listener.present


class Handlers:
    """Runs the handlers of one bus."""

    def __init__(self, most: int, clock: Clock) -> None:
        self.dropped = 0
        self._most = most
        self._clock = clock
        self._prompt: deque[Subscription] = deque()
        self._ready: deque[Subscription] = deque()
        self._counted: set[Subscription] = set()
        self._scope = Scope("event bus")
        self._patience = Scope("event bus patience")
        self._is_prompting = False
        self._is_closed = False

    def offer(
        self, event: AgentEvent, listeners: Sequence[Subscription], telling: Telling | None
    ) -> None:
        """Queue an event for everybody first, then let handlers run: so all hear of it before what it leads to."""
        if self._is_closed:
            _tell_nobody(listeners, telling)
            return
        for listener in listeners:
            if len(listener.queue) >= MAX_QUEUED:
                self._drop_oldest(listener)
            listener.queue.append((event, telling))
            if not listener.is_busy:
                self._line_up(listener)
        self._run()

    def _drop_oldest(self, listener: Subscription) -> None:
        _, telling = listener.queue.popleft()
        if telling is not None:
            telling.told()
        self.dropped += 1
        listener.dropped += 1
        if listener.dropped == 1:
            logger.warning(
                "a subscriber is too slow, its oldest events are dropped",
                extra={"subscription": listener.id, "queued": MAX_QUEUED},
            )

    def _line_up(self, listener: Subscription) -> None:
        listener.is_busy = True
        if listener.is_prompt:
            self._prompt.append(listener)
        elif listener.is_slow:
            self._start(listener)
        else:
            self._ready.append(listener)

    def _leave(self, listener: Subscription) -> None:
        """Take note that a listener is idle, or line it up again if something came meanwhile."""
        listener.is_busy = False
        if listener.queue:
            self._line_up(listener)

    def _run(self) -> None:
        if self._prompt and not self._is_prompting:
            self._call_prompt_ones()
        if self._ready:
            self._start_ready()

    # --- on the spot ------------------------------------------------------------------------

    def _call_prompt_ones(self) -> None:
        self._is_prompting = True
        left = BURST
        try:
            while self._prompt and left:
                listener = self._prompt.popleft()
                left -= 1
                if not listener.queue or self._call(listener):
                    self._leave(listener)
        finally:
            self._is_prompting = False
        if self._prompt:
            asyncio.get_running_loop().call_soon(self._run)

    def _call(self, listener: Subscription) -> bool:
        """Call a handler that cannot be suspended; say whether it is done.

        A plain function may answer something to be awaited: that goes on in a task.
        """
        event, telling = listener.queue.popleft()
        listener.present = event
        token = _handling.set(listener)
        trace = _enter_trace(event)
        try:
            outcome = listener.handler(event)
            if listener.is_async:
                run_through(outcome)
                outcome = None
        except (Exception, asyncio.CancelledError):
            logger.exception(FAILED, extra=_about(listener, event))
            outcome = None
        finally:
            reset_trace_context(trace)
            _handling.reset(token)
        if outcome is not None and inspect.isawaitable(outcome):
            listener.is_prompt = False
            self._start(listener, (event, telling, outcome))
            return False
        listener.present = None
        if telling is not None:
            telling.told()
        return True

    # --- in tasks ---------------------------------------------------------------------------

    def _start_ready(self) -> None:
        while self._ready and len(self._counted) < self._most:
            listener = self._ready.popleft()
            self._counted.add(listener)
            self._start(listener)
        if self._ready and not len(self._patience):
            self._patience.spawn("patience", self._be_patient())

    def _start(self, listener: Subscription, begun: Begun | None = None) -> None:
        self._scope.spawn(f"handler {listener.id}", self._handle(listener, begun))

    async def _handle(self, listener: Subscription, begun: Begun | None) -> None:
        """Handle what is queued for a listener, after what was begun already."""
        _handling.set(listener)
        try:
            if begun is not None:
                await _finish(listener, *begun)
            left = BURST
            while listener.queue and left and not self._is_closed:
                left -= 1
                event, telling = listener.queue.popleft()
                await _finish(listener, event, telling, None)
        finally:
            self._counted.discard(listener)
            if not self._is_closed:
                self._leave(listener)
                self._run()

    async def _be_patient(self) -> None:
        """While handlers wait for others, stop counting those that take too long."""
        while self._ready:
            at_work = {listener: listener.present for listener in self._counted}
            await self._clock.sleep(PATIENCE_SECONDS)
            for listener, event in at_work.items():
                if event is not None and listener.present is event:
                    listener.is_slow = True
                    self._counted.discard(listener)
            self._start_ready()

    # --- the end ----------------------------------------------------------------------------

    async def drain(self, timeout: float | None) -> list[str]:
        """Wait until nothing is queued; name the handlers that did not end in time."""
        until = None if timeout is None else self._clock.monotonic() + timeout
        while self._prompt or len(self._scope):
            left = None if until is None else max(0.0, until - self._clock.monotonic())
            alive = await self._scope.drain(left)
            if alive or left == 0.0:
                return alive or [f"handler {listener.id}" for listener in self._prompt]
            await _next_turn()
        return []

    async def close(self, timeout: float | None) -> list[str]:
        """Run no handler any more; cancel those that run and name those that did not end in time."""
        self._is_closed = True
        self._prompt.clear()
        self._ready.clear()
        await self._patience.close(timeout)
        return await self._scope.close(timeout)


async def _finish(
    listener: Subscription, event: AgentEvent, telling: Telling | None, begun: Awaitable[Any] | None
) -> None:
    """Run a handler that may wait, or what it answered, to its end: where every exception is caught."""
    listener.present = event
    trace = _enter_trace(event)
    try:
        outcome = listener.handler(event) if begun is None else begun
        if listener.is_async or inspect.isawaitable(outcome):
            await cast(Awaitable[Any], outcome)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        logger.exception(FAILED, extra=_about(listener, event))
    except Exception:
        logger.exception(FAILED, extra=_about(listener, event))
    finally:
        reset_trace_context(trace)
        listener.present = None
        if telling is not None:
            telling.told()


def _enter_trace(event: AgentEvent) -> Token[MappingProxyType[str, Any]]:
    """Let what a handler logs belong to the execution that the event tells of."""
    where = {
        "session_id": event.session_id,
        "stream_id": event.stream_id,
        "agent_id": event.agent,
        "node_id": event.node_id,
    }
    return set_trace_of(event.execution_id, where)


def _tell_nobody(listeners: Sequence[Subscription], telling: Telling | None) -> None:
    if telling is not None:
        for _ in listeners:
            telling.told()


def _about(listener: Subscription, event: AgentEvent) -> dict[str, str]:
    return {"subscription": listener.id, "event_type": event.type.value}


async def _next_turn() -> None:
    """Let the rest of the process have its turn."""
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn
