"""Which entry points an event sets off, which it calls back, and the guard against events that set off themselves.

Guarantees: whatever entry points listen to, every chain ends; an entry point that is kept back, by the guard or by a
`where` that cannot be evaluated, is told of, never silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hive_daemon.graph.expression import Expression, ExpressionError
from hive_daemon.runtime.events import LIVE, AgentEvent, EventFilter, EventType
from hive_daemon.storage.event_values import CancelOrder

MAX_CHAIN = 8
"""The longest causation chain: an entry point more is never set off."""


class CancelScope(StrEnum):
    """Which executions of an entry point an event of its `cancel_on` cancels."""

    RELATED = "related"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class EventPattern:
    """Which events are meant: a filter, whether those of one's own graph are, a condition over `event`."""

    wanted: EventFilter
    exclude_own_graph: bool = False
    where: Expression | None = None

    def passes(self, event: AgentEvent, graph: str) -> bool:
        """Say whether the event passes the filter; `graph` is one's own. `where` is not looked at."""
        if self.exclude_own_graph and event.graph_id == graph:
            return False
        return self.wanted.matches(event)


@dataclass(frozen=True, slots=True)
class CancelRule:
    """Which events cancel which of an entry point's executions."""

    pattern: EventPattern
    of: CancelScope = CancelScope.RELATED


@dataclass(frozen=True, slots=True)
class EventRoute:
    """An entry point that listens to events. `graph` is its own graph, `lane` its address in the process.

    `max_depth` is how often it may stand in one causation chain.
    """

    entry_point: str
    lane: str
    graph: str
    pattern: EventPattern
    max_depth: int = 1
    cancel_on: CancelRule | None = None

    def matches(self, event: AgentEvent) -> bool:
        """Say whether the event passes the filters; `where` and the guard are left aside."""
        return self.pattern.passes(event, self.graph)


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An entry point that an event would have set off, and why it was not."""

    route: EventRoute
    reason: str


@dataclass(slots=True)
class _Reading:
    """One event as conditions read it; it is made when the first one asks."""

    event: AgentEvent
    _context: dict[str, Any] = field(default_factory=dict)

    def holds(self, where: Expression | None) -> bool:
        """Say whether a condition holds. Raises ExpressionError."""
        if where is None:
            return True
        if not self._context:
            self._context = {"event": self.event.to_dict()}
        return where.truth(self._context)


class EventRouter:
    """The event entry points of one agent, by event type."""

    def __init__(self, routes: Iterable[EventRoute] = ()) -> None:
        self._by_type: dict[EventType, list[EventRoute]] = {}
        self._cancels: dict[EventType, list[tuple[EventRoute, CancelRule]]] = {}
        for route in routes:
            for kind in route.pattern.wanted.types or set(EventType) - LIVE:
                self._by_type.setdefault(kind, []).append(route)
            if route.cancel_on is not None:
                for kind in route.cancel_on.pattern.wanted.types:
                    self._cancels.setdefault(kind, []).append((route, route.cancel_on))

    def listens_to(self, kind: EventType) -> bool:
        """Say whether an event of this type may set off, or cancel, anything."""
        return kind in self._by_type or kind in self._cancels

    def match(self, event: AgentEvent) -> tuple[list[EventRoute], list[Suppressed]]:
        """Return the entry points that the event sets off, and those kept back.

        Law: none is set off on a chain that holds it `max_depth` times already, nor on one of 8 entry points.
        """
        chosen: list[EventRoute] = []
        kept_back: list[Suppressed] = []
        reading = _Reading(event)
        for route in self._by_type.get(event.type, ()):
            if not route.matches(event):
                continue
            try:
                if not reading.holds(route.pattern.where):
                    continue
            except ExpressionError as error:
                kept_back.append(Suppressed(route, f"where: {error}"))
                continue
            reason = _guard(route, event)
            if reason:
                kept_back.append(Suppressed(route, reason))
            else:
                chosen.append(route)
        return chosen, kept_back

    def cancels(self, event: AgentEvent) -> tuple[list[CancelOrder], list[Suppressed]]:
        """Return what the event cancels, and the entry points whose condition could not be evaluated.

        Law: an event never cancels the execution that it comes from.
        """
        orders: list[CancelOrder] = []
        kept_back: list[Suppressed] = []
        reading = _Reading(event)
        for route, rule in self._cancels.get(event.type, ()):
            if not rule.pattern.passes(event, route.graph):
                continue
            try:
                if reading.holds(rule.pattern.where):
                    orders.append(_order(route, rule, event))
            except ExpressionError as error:
                kept_back.append(Suppressed(route, f"cancel_on.where: {error}"))
        return orders, kept_back


def _guard(route: EventRoute, event: AgentEvent) -> str:
    """Say why the chain forbids to set an entry point off; empty if it does not."""
    times = event.causation.count(route.lane)
    if times >= route.max_depth:
        told = "it is part of the chain that led here"
        return told if times == 1 else f"{told}, {times} times"
    if len(event.causation) >= MAX_CHAIN:
        return f"the chain is {MAX_CHAIN} entry points long"
    return ""


def _order(route: EventRoute, rule: CancelRule, event: AgentEvent) -> CancelOrder:
    origin = event.execution_id or event.stream_id
    return CancelOrder(
        lane=route.lane,
        reason=f"cancel_on: {event.type.value} of {origin}",
        is_all=rule.of is CancelScope.ALL,
        correlation_id=event.correlation_id or "",
        session_id=event.session_id or "",
        spares=event.execution_id or "",
    )
