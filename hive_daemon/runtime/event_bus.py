"""The event bus: who wants to hear of what, and in which order they hear it.

Laws, each with a test:
- one timeline: every subscriber hears events in the order in which they were published, one at a time;
- `publish` returns when the matching handlers ran or failed; from inside a handler it returns once queued, so that
  handlers that publish cannot deadlock, however deep;
- `deliver`, which the journal uses, never waits: a handler that is slow delays nobody but itself. Among those that run
  at once `max_concurrent_handlers` are counted, and one that takes longer than a second is not counted any more;
- every subscriber's queue is bounded: what does not fit is dropped, oldest first, and counted;
- a handler's exception is logged and reaches nobody else;
- what a handler publishes carries the causation chain of the event that it handles.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.runtime.bus_emitters import Emitters
from hive_daemon.runtime.event_history import EventHistory
from hive_daemon.runtime.events import ONCE, AgentEvent, EventFilter, EventType
from hive_daemon.runtime.events import event_types as types_of
from hive_daemon.runtime.handlers import Handlers, handled_now
from hive_daemon.runtime.subscriptions import Handler, Subscription, SubscriptionIndex, Telling

__all__ = ["AgentEvent", "EventBus", "EventType", "Subscription"]

Watcher = Callable[[AgentEvent], None]


class EventBus(Emitters):
    """Publish and subscribe within one process. `max_concurrent_handlers` bounds the handlers that run at once."""

    def __init__(
        self,
        max_history: int = 1000,
        max_concurrent_handlers: int = 10,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._history = EventHistory(max_history)
        self._subscriptions = SubscriptionIndex()
        self._handlers = Handlers(max_concurrent_handlers, clock)
        self._waiters: dict[EventType, dict[asyncio.Future[AgentEvent], EventFilter]] = {}
        self._watchers: tuple[Watcher, ...] = ()
        self._next_id = 0

    # --- subscribing ------------------------------------------------------------------------

    def subscribe(
        self,
        event_types: Iterable[EventType | str],
        handler: Handler,
        filter_stream: str | None = None,
        filter_node: str | None = None,
        filter_execution: str | None = None,
        filter_graph: str | None = None,
    ) -> str:
        """Call `handler` for every matching event from now on; answer the id to unsubscribe with.

        No types means all of them, an empty filter any. A `filter_stream` that is a graph's id means all streams of
        it. Raises ValueError for an unknown event type.
        """
        wanted = types_of(event_types)
        self._next_id += 1
        subscription = Subscription(
            f"sub_{self._next_id}",
            wanted,
            handler,
            filter_stream,
            filter_node,
            filter_execution,
            filter_graph,
        )
        self._subscriptions.put(subscription)
        return subscription.id

    def unsubscribe(self, subscription_id: str) -> bool:
        """Forget a subscription and what waits for it; say whether there was one."""
        subscription = self._subscriptions.pop(subscription_id)
        if subscription is None:
            return False
        subscription.forget()
        return True

    def wants(self, kind: EventType) -> bool:
        """Say whether anybody listens to this type of event, or waits for one."""
        return self._subscriptions.wants(kind) or kind in self._waiters

    def watch(self, tell: Watcher) -> Callable[[], None]:
        """Call `tell` for every event at the moment it is published, before any handler; the answer ends that.

        For what must see everything, or complete it. It must not wait and not fail.
        """
        self._watchers = (*self._watchers, tell)
        return partial(self._unwatch, tell)

    def _unwatch(self, tell: Watcher) -> None:
        self._watchers = tuple(other for other in self._watchers if other is not tell)

    # --- publishing -------------------------------------------------------------------------

    async def publish(self, event: AgentEvent) -> None:
        """Tell everybody who wants to know; return when they were told, or from inside a handler at once."""
        handled = handled_now()
        listeners = self._note(event, handled)
        if not listeners:
            return
        if handled is not None:
            self._handlers.offer(event, listeners, None)
            return
        telling = Telling(len(listeners))
        self._handlers.offer(event, listeners, telling)
        if telling.left:
            everybody: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            telling.done = partial(_settle, everybody)
            await everybody

    def deliver(self, event: AgentEvent) -> None:
        """Tell everybody who wants to know, without waiting for them."""
        listeners = self._note(event, handled_now())
        if listeners:
            self._handlers.offer(event, listeners, None)

    def _note(self, event: AgentEvent, handled: AgentEvent | None) -> list[Subscription]:
        """Put an event on the timeline; return who wants it."""
        if handled is not None and event.seq is None and not event.causation:
            event.causation = handled.causation
        for tell in self._watchers:
            tell(event)
        self._history.add(event)
        if event.type in self._waiters:
            for waiter, wanted in self._waiters[event.type].items():
                if not waiter.done() and wanted.matches(event):
                    waiter.set_result(event)
        return self._subscriptions.find(event)

    # --- looking back and waiting -----------------------------------------------------------

    def get_history(
        self,
        event_type: EventType | str | None = None,
        stream_id: str | None = None,
        execution_id: str | None = None,
        limit: int = 100,
    ) -> list[AgentEvent]:
        """Return past events that match, newest first.

        The history is bounded by `max_history`; of live events it holds the last 100.
        """
        types = types_of([event_type] if event_type else ())
        wanted = EventFilter(types, stream_id or "", execution=execution_id or "")
        return self._history.find(wanted, limit)

    async def wait_for(
        self,
        event_type: EventType | str,
        stream_id: str | None = None,
        node_id: str | None = None,
        execution_id: str | None = None,
        graph_id: str | None = None,
        timeout: float | None = None,
        *,
        look_back: bool | None = None,
    ) -> AgentEvent | None:
        """Wait for the next matching event; None after `timeout` seconds, of which 0 is possible.

        With `look_back` the last one in the history will do. By default that is so for what happens once to the
        execution that is named: its start and its end.
        """
        kind = EventType(event_type)
        wanted = EventFilter(
            frozenset({kind}), stream_id or "", node_id or "", execution_id or "", graph_id or ""
        )
        if look_back is None:
            look_back = bool(execution_id) and kind in ONCE
        if look_back:
            for event in self._history.find(wanted, 1):
                return event
        with self._waiting(kind, wanted) as waiter:
            try:
                async with asyncio.timeout(timeout):
                    return await waiter
            except TimeoutError:
                return None

    @contextlib.contextmanager
    def _waiting(
        self, kind: EventType, wanted: EventFilter
    ) -> Iterator[asyncio.Future[AgentEvent]]:
        waiter: asyncio.Future[AgentEvent] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(kind, {})
        waiters[waiter] = wanted
        try:
            yield waiter
        finally:
            del waiters[waiter]
            if not waiters and self._waiters.get(kind) is waiters:
                del self._waiters[kind]

    def get_stats(self) -> dict[str, Any]:
        """Return counts since the bus was made: events by type, subscriptions, dropped.

        `history` is how many events are remembered, `history_forgotten` how many were and are not any more.
        """
        return {
            "total_events": self._history.total,
            "subscriptions": len(self._subscriptions),
            "events_by_type": self._history.counts,
            "dropped": self._handlers.dropped,
            "dropped_by": {s.id: s.dropped for s in self._subscriptions if s.dropped},
            "history": len(self._history),
            "history_forgotten": self._history.total - len(self._history),
        }

    async def drain(self, timeout: float | None = None) -> list[str]:
        """Wait until every handler ran; name those that did not end in time."""
        return await self._handlers.drain(timeout)

    async def close(self, timeout: float | None = 5.0) -> list[str]:
        """Call no handler any more and cancel those that run; name those that did not end in time.

        Nobody who publishes waits for them any more.
        """
        for subscription in self._subscriptions:
            subscription.forget()
        return await self._handlers.close(timeout)


def _settle(everybody: asyncio.Future[None]) -> None:
    if not everybody.done():
        everybody.set_result(None)
