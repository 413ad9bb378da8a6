"""Faces of the agent runtime: timers, events, and looking at how things stand.

Each is a slice of the runtime's programming interface; `AgentRuntime` is all of them together.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.outcome_aggregator import OutcomeAggregator
from hive_daemon.runtime.runtime_base import RuntimeBase

if TYPE_CHECKING:
    from hive_daemon.runtime.webhook_server import WebhookServer
    from hive_daemon.storage.concurrent import ConcurrentStorage


class TimerFace(RuntimeBase):
    """Pausing timers, and asking when they fire."""

    def pause_timers(self, ids: Iterable[str] | None = None, note: str = "", by: str = "") -> None:
        """Let timers fire no more: at once, and durably soon after. Without ids, all of them."""
        self._set_paused(ids, True, note, by)

    def resume_timers(self, ids: Iterable[str] | None = None) -> None:
        """Let timers fire again. Without ids, all of them."""
        self._set_paused(ids, False, "", "")

    def _set_paused(self, ids: Iterable[str] | None, paused: bool, note: str, by: str) -> None:
        source = self.running().timers.source
        wanted = list(source.timers if ids is None else ids)
        if wanted:
            source.set_paused(wanted, paused, by=by, note=note)

    @property
    def timers_paused(self) -> bool:
        """Whether there are timers, and all of them are paused."""
        timers = self.opened.timers.source.timers.values() if self.opened else ()
        return bool(timers) and all(timer.is_paused for timer in timers)

    @property
    def _timer_tasks(self) -> list[Any]:
        return list(self.opened.timers.source.timers.values()) if self.opened else []

    @property
    def _timer_next_fire(self) -> dict[str, float]:
        return dict(self.opened.timers.source.next_fire) if self.opened else {}

    def get_timer_next_fire_in(self, entry_point_id: str) -> float | None:
        """Return in how many seconds a timer fires next."""
        due = self._timer_next_fire.get(entry_point_id)
        return None if due is None else max(0.0, due - self.clock.monotonic())


class EventFace(RuntimeBase):
    """Subscribing to the events of the agent."""

    def subscribe_to_events(
        self,
        event_types: Iterable[EventType | str],
        handler: Callable[[AgentEvent], Any],
        filter_stream: str | None = None,
        filter_node: str | None = None,
        filter_execution: str | None = None,
        filter_graph: str | None = None,
    ) -> str:
        """Call `handler` for every matching event; see `EventBus.subscribe`."""
        return self.event_bus.subscribe(
            event_types,
            handler,
            filter_stream=filter_stream,
            filter_node=filter_node,
            filter_execution=filter_execution,
            filter_graph=filter_graph,
        )

    def unsubscribe_from_events(self, subscription_id: str) -> bool:
        """Forget a subscription; say whether there was one."""
        return self.event_bus.unsubscribe(subscription_id)


class InspectionFace(TimerFace):
    """Looking at how things stand."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it takes triggers."""

    @property
    @abstractmethod
    def storage(self) -> ConcurrentStorage:
        """Where programs keep runs of their own, beside the sessions."""

    @property
    def outcome_aggregator(self) -> OutcomeAggregator:
        """The goal's progress over all streams of the primary graph."""
        return self._hosts[self._graph_id].outcomes

    @property
    def webhook_server(self) -> WebhookServer | None:
        """The server that takes webhooks, None without routes or when not running."""
        return self.opened.webhooks if self.opened else None

    async def get_goal_progress(self) -> dict[str, Any]:
        """Reckon how far the goal is reached; see `OutcomeAggregator.evaluate_goal_progress`."""
        return await self.outcome_aggregator.evaluate_goal_progress()

    @property
    def agent_idle_seconds(self) -> float:
        """Seconds since a running execution last did something; 0 while a node is at work, inf when nothing runs."""
        return min((host.idle_seconds for host in self._hosts.values()), default=math.inf)

    @property
    def user_idle_seconds(self) -> float:
        """Seconds since somebody last said something to a node."""
        return self.clock.monotonic() - self._last_input

    def get_waiting_nodes(self) -> list[dict[str, str]]:
        """Return the nodes that wait for a person, as `{node_id, execution_id}`."""
        return [node for stream in self._streams.values() for node in stream.get_waiting_nodes()]

    def find_awaiting_node(self) -> tuple[str | None, str | None]:
        """Return a node that waits for a person and its graph, or two Nones."""
        for host in self._hosts.values():
            for stream in host.streams.values():
                for node in stream.get_waiting_nodes():
                    return node["node_id"], host.graph_id
        return None, None

    def get_active_streams(self) -> list[ExecutionStream]:
        """Return the streams in which something runs."""
        return [stream for stream in self._streams.values() if stream.get_active_count()]

    def get_stats(self) -> dict[str, Any]:
        """Return how things stand: what runs, each stream, goal progress counts, bus, shared state."""
        streams = {name: stream.get_stats() for name, stream in self._streams.items()}
        return {
            "running": self.is_running,
            "entry_points": len(self._hosts[self._graph_id].specs),
            "active_executions": sum(s.get_active_count() for s in self._streams.values()),
            "streams": streams,
            "goal_id": self.goal.id,
            "graphs": list(self._hosts),
            "timers_paused": self.timers_paused,
            "outcome_aggregator": self.outcome_aggregator.get_stats(),
            "event_bus": self.event_bus.get_stats(),
            "state_manager": self.state_manager.get_stats(),
        }
