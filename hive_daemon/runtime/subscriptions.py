"""Subscriptions of the event bus: what each one wants, what waits for it, and how an event finds those who want it.

Finding costs what it finds: an index by type, then by the narrowest filter, so that subscribers who want something else
are not even looked at.
"""

from __future__ import annotations

import dis
import inspect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from hive_daemon.runtime.events import AgentEvent, EventFilter, EventType

Handler = Callable[[AgentEvent], object]
"""Called with an event; what it returns is awaited if it can be."""

_SUSPENDS = frozenset({"YIELD_VALUE", "SEND", "GET_AWAITABLE", "GET_AITER", "BEFORE_ASYNC_WITH"})


class Telling:
    """A `publish` that waits until every handler ran: how many have still to, and what to do then."""

    __slots__ = ("done", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done: Callable[[], None] | None = None

    def told(self) -> None:
        """Note that one handler ran, or that it will not."""
        self.left -= 1
        if self.left == 0 and self.done is not None:
            self.done()


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscriber. `dropped` counts the events that its queue had no room for.

    `present` is the event that its handler is at work on. `is_prompt`: the handler is called on the spot, since it
    cannot be suspended. `is_slow`: it once took long, so it does not count among the handlers that run at once.
    """

    id: str
    event_types: frozenset[EventType]
    handler: Handler
    filter_stream: str | None = None
    filter_node: str | None = None
    filter_execution: str | None = None
    filter_graph: str | None = None
    dropped: int = 0
    queue: deque[tuple[AgentEvent, Telling | None]] = field(default_factory=deque, repr=False)
    present: AgentEvent | None = field(default=None, repr=False)
    is_busy: bool = False
    is_slow: bool = False
    is_async: bool = field(init=False)
    is_prompt: bool = field(init=False)
    beyond: EventFilter | None = field(init=False, repr=False)
    """What is to be checked beyond its place in the index; None for nothing."""

    def __post_init__(self) -> None:
        self.is_async = _is_coroutine_function(self.handler)
        self.is_prompt = not self.is_async or never_waits(self.handler)
        wanted = EventFilter(
            stream=self.filter_stream or "",
            node=self.filter_node or "",
            execution=self.filter_execution or "",
            graph=self.filter_graph or "",
        )
        filters = (wanted.stream, wanted.node, wanted.execution, wanted.graph)
        self.beyond = wanted if sum(map(bool, filters)) > 1 else None

    def forget(self) -> None:
        """Drop what waits for it; nobody waits for that any more."""
        while self.queue:
            _, telling = self.queue.popleft()
            if telling is not None:
                telling.told()


def _is_coroutine_function(handler: Handler) -> bool:
    call = getattr(type(handler), "__call__", None)  # noqa: B004 - whether it can be awaited, not called
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)


def never_waits(handler: Handler) -> bool:
    """Say whether a coroutine function cannot be suspended: there is no await in its code.

    False where that cannot be told.
    """
    code = getattr(handler, "__code__", None)
    if type(code) is not CodeType:
        return False
    return all(step.opname not in _SUSPENDS for step in dis.get_instructions(code))


def run_through(coroutine: Any) -> None:
    """Run a coroutine that cannot be suspended. Raises what it raises."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("a handler without an await was suspended")


Shelf = dict[str, Subscription]


class _Kind:
    """The subscribers of one type of event, each where its narrowest filter puts it."""

    __slots__ = ("anywhere", "executions", "graphs", "nodes", "streams")

    def __init__(self) -> None:
        self.anywhere: Shelf = {}
        self.executions: dict[str, Shelf] = {}
        self.nodes: dict[str, Shelf] = {}
        self.graphs: dict[str, Shelf] = {}
        self.streams: dict[str, Shelf] = {}

    def put(self, subscription: Subscription) -> None:
        """Take a subscription in."""
        shelves, place = self._place(subscription)
        shelf = self.anywhere if shelves is None else shelves.setdefault(place, {})
        shelf[subscription.id] = subscription

    def remove(self, subscription: Subscription) -> bool:
        """Forget a subscription; say whether any is left."""
        shelves, place = self._place(subscription)
        shelf = self.anywhere if shelves is None else shelves[place]
        del shelf[subscription.id]
        if shelves is not None and not shelf:
            del shelves[place]
        return any((self.anywhere, self.executions, self.nodes, self.graphs, self.streams))

    def _place(self, subscription: Subscription) -> tuple[dict[str, Shelf] | None, str]:
        for shelves, place in (
            (self.executions, subscription.filter_execution),
            (self.nodes, subscription.filter_node),
            (self.graphs, subscription.filter_graph),
            (self.streams, subscription.filter_stream),
        ):
            if place:
                return shelves, place
        return None, ""

    def collect(self, event: AgentEvent, found: list[Subscription]) -> None:
        """Add those who want the event to `found`."""
        if self.anywhere:
            found.extend(self.anywhere.values())
        if self.streams:
            _take(self.streams.get(event.stream_id), event, found)
            # A stream filter that names a graph means every stream of it.
            if event.graph_id and event.graph_id != event.stream_id:
                _take(self.streams.get(event.graph_id), event, found)
        if self.graphs and event.graph_id:
            _take(self.graphs.get(event.graph_id), event, found)
        if self.nodes and event.node_id:
            _take(self.nodes.get(event.node_id), event, found)
        if self.executions and event.execution_id:
            _take(self.executions.get(event.execution_id), event, found)


def _take(shelf: Shelf | None, event: AgentEvent, found: list[Subscription]) -> None:
    if shelf is None:
        return
    found.extend(
        subscription
        for subscription in shelf.values()
        if subscription.beyond is None or subscription.beyond.matches(event)
    )


class SubscriptionIndex:
    """All subscriptions of a bus, by id and by what they want."""

    def __init__(self) -> None:
        self._all: dict[str, Subscription] = {}
        self._kinds: dict[EventType | None, _Kind] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Subscription]:
        return iter(tuple(self._all.values()))

    def __getitem__(self, subscription_id: str) -> Subscription:
        return self._all[subscription_id]

    def put(self, subscription: Subscription) -> None:
        """Take a subscription in; one without types wants all of them."""
        self._all[subscription.id] = subscription
        for kind in subscription.event_types or (None,):
            if kind not in self._kinds:
                self._kinds[kind] = _Kind()
            self._kinds[kind].put(subscription)

    def pop(self, subscription_id: str) -> Subscription | None:
        """Forget a subscription and return it, or None."""
        subscription = self._all.pop(subscription_id, None)
        if subscription is None:
            return None
        for kind in subscription.event_types or (None,):
            if not self._kinds[kind].remove(subscription):
                del self._kinds[kind]
        return subscription

    def wants(self, kind: EventType) -> bool:
        """Say whether anybody listens to this type of event."""
        return kind in self._kinds or None in self._kinds

    def find(self, event: AgentEvent) -> list[Subscription]:
        """Return who wants the event."""
        found: list[Subscription] = []
        kinds = self._kinds
        if event.type in kinds:
            kinds[event.type].collect(event, found)
        if None in kinds:
            kinds[None].collect(event, found)
        return found
