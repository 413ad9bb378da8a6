"""Which events a stream shows: a pure filter over what is stored and what happens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Protocol

from hive_daemon.control.places import Lane
from hive_daemon.control.query import shown
from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.events import LIVE, EventType
from hive_daemon.storage.values import MAX_PAGE, EventFilter


class Happening(Protocol):
    """The part of an event that says where it belongs, stored or not."""

    @property
    def type(self) -> str:
        """Its type."""

    @property
    def agent(self) -> str | None:
        """The agent."""

    @property
    def stream_id(self) -> str:
        """The stream."""

    @property
    def session_id(self) -> str | None:
        """The session."""

    @property
    def execution_id(self) -> str | None:
        """The execution."""

    @property
    def graph_id(self) -> str | None:
        """The graph."""

    @property
    def node_id(self) -> str | None:
        """The node."""

    @property
    def correlation_id(self) -> str | None:
        """What it belongs together with."""


class EventField(StrEnum):
    """What events are chosen by, beside their type and their entry point: the names of the query parameters."""

    AGENT = "agent"
    GRAPH = "graph_id"
    STREAM = "stream_id"
    NODE = "node_id"
    SESSION = "session_id"
    EXECUTION = "execution_id"
    CORRELATION = "correlation_id"


Among = tuple[EventField, frozenset[str]]
"""A field, and the values of which it must have one."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to show: any within one field, all across them. An empty field means any."""

    agent: str = ""
    session_id: str = ""
    execution_id: str = ""
    types: frozenset[str] = frozenset()
    lanes: frozenset[Lane] = frozenset()
    among: tuple[Among, ...] = ()

    def matches(self, event: Happening) -> bool:
        """Say whether an event is shown."""
        return (
            (not self.session_id or event.session_id == self.session_id)
            and (not self.execution_id or event.execution_id == self.execution_id)
            and (not self.agent or event.agent == self.agent)
            and (not self.types or event.type in self.types)
            and (not self.lanes or Lane(event.agent or "", event.stream_id) in self.lanes)
            and all(_is_among(event, name, values) for name, values in self.among)
        )

    @property
    def wants_live(self) -> bool:
        """Whether live events can be among what is shown."""
        return not self.types or not self.types.isdisjoint(LIVE)

    @property
    def is_exact(self) -> bool:
        """Whether the store can do all of the choosing."""
        if self.among:
            return False
        return not self.lanes or (
            len(self.lanes) == 1 and all(self.agent in ("", lane.agent) for lane in self.lanes)
        )

    @property
    def _only_node(self) -> str | None:
        nodes = [values for name, values in self.among if name is EventField.NODE]
        return next(iter(nodes[0])) if nodes and len(nodes[0]) == 1 else None

    def stored(self, after_seq: int, *, limit: int = MAX_PAGE, newest: bool = False) -> EventFilter:
        """Return the filter by which the store finds these events, and perhaps others (`is_exact`)."""
        lane = next(iter(self.lanes)) if len(self.lanes) == 1 else None
        agents = {lane.agent for lane in self.lanes}
        agent = self.agent or (agents.pop() if len(agents) == 1 else "")
        return EventFilter(
            after_seq=after_seq,
            agent=agent or None,
            session_id=self.session_id or None,
            execution_id=self.execution_id or None,
            types=tuple(sorted(self.types)),
            stream_id=lane.stream_id if lane is not None else None,
            node_id=self._only_node,
            limit=limit,
            newest=newest,
        )


def _is_among(event: Happening, name: EventField, values: frozenset[str]) -> bool:
    """Say whether a field has one of the values; a stream that is a graph's id means every stream of it."""
    if name is EventField.STREAM and event.graph_id in values:
        return True
    return getattr(event, name) in values


def read_types(wanted: Iterable[str]) -> frozenset[str]:
    """Read event types: exact ones, or the beginning of some and `*`. Raises InvalidInput for one that is none."""
    found: set[str] = set()
    for text in wanted:
        matching = {
            str(kind)
            for kind in EventType
            if (kind.startswith(text[:-1]) if text.endswith("*") else kind == text)
        }
        if not matching:
            names = sorted(map(str, EventType))
            near = get_close_matches(text.rstrip("*"), names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the types are {', '.join(names)}"
            raise InvalidInput(f"there is no event type {shown(text)}", hint=hint)
        found |= matching
    return frozenset(found)
