"""Which entry points an event sets off, and the guard against events that set off themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hive_daemon.runtime.events import LIVE, AgentEvent, EventFilter, EventType

MAX_CHAIN = 8
"""The longest causation chain of different entry points."""


@dataclass(frozen=True, slots=True)
class EventRoute:
    """An entry point that listens to events. `graph` is its own graph, `lane` its address in the process."""

    entry_point: str
    lane: str
    graph: str
    wanted: EventFilter
    exclude_own_graph: bool = False

    def matches(self, event: AgentEvent) -> bool:
        """Say whether the event sets this entry point off, the guard left aside."""
        if self.exclude_own_graph and event.graph_id == self.graph:
            return False
        return self.wanted.matches(event)


@dataclass(frozen=True, slots=True)
class Suppressed:
    """An entry point that an event would have set off again, and why it was not."""

    route: EventRoute
    reason: str


class EventRouter:
    """The event entry points of one agent, by event type."""

    def __init__(self, routes: Iterable[EventRoute] = ()) -> None:
        self._by_type: dict[EventType, list[EventRoute]] = {}
        for route in routes:
            for kind in route.wanted.types or set(EventType) - LIVE:
                self._by_type.setdefault(kind, []).append(route)

    def listens_to(self, kind: EventType) -> bool:
        """Say whether any entry point listens to this type of event."""
        return kind in self._by_type

    def match(self, event: AgentEvent) -> tuple[list[EventRoute], list[Suppressed]]:
        """Return the entry points that the event sets off, and those kept back.

        Law: an entry point is never set off on a chain that already holds it, nor on one longer than 8.
        """
        chosen: list[EventRoute] = []
        kept_back: list[Suppressed] = []
        for route in self._by_type.get(event.type, ()):
            if not route.matches(event):
                continue
            if route.lane in event.causation:
                kept_back.append(Suppressed(route, "it is part of the chain that led here"))
            elif len(event.causation) >= MAX_CHAIN:
                kept_back.append(Suppressed(route, f"the chain is {MAX_CHAIN} entry points long"))
            else:
                chosen.append(route)
        return chosen, kept_back
