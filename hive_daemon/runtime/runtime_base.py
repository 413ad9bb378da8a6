"""What the faces of the agent runtime have in common: its graphs, its streams, and what is open while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.errors import GraphNotFound
from hive_daemon.graph.goal import Goal
from hive_daemon.ids import GRAPH_SEPARATOR
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.graph_host import GraphHost
from hive_daemon.runtime.shared_state import SharedStateManager

if TYPE_CHECKING:
    from hive_daemon.runtime.running import Running


class RuntimeBase(ABC):
    """What the faces know of the runtime."""

    goal: Goal
    _hosts: dict[str, GraphHost]
    _graph_id: str
    active_graph_id: str
    _last_input: float

    @property
    @abstractmethod
    def opened(self) -> Running | None:
        """What is open while it runs, None otherwise."""

    @abstractmethod
    def running(self) -> Running:
        """Return what is open while it runs. Raises NotRunning, Draining."""

    @property
    def clock(self) -> Clock:
        """The clock that its timers go by."""
        return self.opened.services.clock if self.opened is not None else SYSTEM_CLOCK

    @property
    @abstractmethod
    def event_bus(self) -> EventBus:
        """The event bus."""

    @property
    @abstractmethod
    def state_manager(self) -> SharedStateManager:
        """The shared state."""

    @property
    @abstractmethod
    def agent(self) -> str:
        """The agent's name in the process."""

    @property
    def hosts(self) -> list[GraphHost]:
        """The graphs, the primary one first."""
        return list(self._hosts.values())

    @property
    def _streams(self) -> dict[str, ExecutionStream]:
        return {
            stream.stream_id: stream
            for host in self._hosts.values()
            for stream in host.streams.values()
        }

    def get_stream(self, entry_point_id: str) -> ExecutionStream | None:
        """Return the stream of an entry point, `graph::entry_point` on a secondary graph."""
        for host in self._hosts.values():
            found = host.stream_named(entry_point_id)
            if found is not None:
                return found
        return None

    def stream_by_lane(self, lane: str) -> ExecutionStream | None:
        """Return the stream with this address in the process."""
        agent, _, stream_id = lane.partition("/")
        return self.get_stream(stream_id) if agent == self.agent else None

    def find_stream(self, entry_point_id: str, graph_id: str | None = None) -> ExecutionStream:
        """Return the stream of an entry point: of the graph named, else of the active one, else of the primary.

        Raises GraphNotFound, EntryPointNotFound.
        """
        if graph_id is None and GRAPH_SEPARATOR in entry_point_id:
            graph_id, _, entry_point_id = entry_point_id.partition(GRAPH_SEPARATOR)
        if graph_id is not None:
            host = self._hosts.get(graph_id)
            if host is None or host.is_leaving:
                raise GraphNotFound(f"there is no graph {graph_id!r}")
            return host.stream(entry_point_id)
        for name in (self.active_graph_id, self._graph_id):
            host = self._hosts[name]
            if entry_point_id in host.streams:
                return host.streams[entry_point_id]
        return self._hosts[self._graph_id].stream(entry_point_id)
