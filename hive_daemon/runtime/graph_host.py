"""A graph in a runtime: checked, compiled, with a stream for each entry point. Primary and secondary graphs alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hive_daemon.budgets.rules import Rule
from hive_daemon.budgets.written import Place, read_rules
from hive_daemon.clock import Clock
from hive_daemon.errors import AlreadyRegistered, ConfigError, EntryPointNotFound, InvalidGraph
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.loop_factory import loop_maker
from hive_daemon.graph.node_set import NodeSet
from hive_daemon.graph.topology import Topology
from hive_daemon.graph.validation import errors_of
from hive_daemon.ids import GRAPH_SEPARATOR
from hive_daemon.runtime.drafting import Spawner
from hive_daemon.runtime.entry_point import EntryPointSpec, TriggerType
from hive_daemon.runtime.events import EventFilter, EventType
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.outcome_aggregator import OutcomeAggregator
from hive_daemon.runtime.routing import EventPattern, EventRoute
from hive_daemon.runtime.services import Services
from hive_daemon.runtime.shared_state import SharedStateManager
from hive_daemon.runtime.stream_setup import Equipment, StreamSetup
from hive_daemon.runtime.triggers.event_config import EventConfig
from hive_daemon.runtime.triggers.timer_config import TimerConfig


@dataclass(frozen=True, slots=True)
class GraphParts:
    """What a graph brings: its shape, its goal, the nodes of the program's own, and what all nodes work with."""

    graph: GraphSpec
    goal: Goal
    equipment: Equipment
    registered: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamRules:
    """How streams of a runtime are set up, beside what their entry points say."""

    agent: str
    directory: Path
    shared: SharedStateManager
    recovery_attempts: int = 3
    result_max: int = 1000
    result_ttl_seconds: float | None = None
    budgets: tuple[Rule, ...] = ()


class GraphHost:
    """One graph of a runtime. `is_primary` graphs have streams named by entry point, others `graph::entry_point`."""

    def __init__(
        self,
        graph_id: str,
        parts: GraphParts,
        rules: StreamRules,
        *,
        is_primary: bool,
        outcomes: OutcomeAggregator,
    ) -> None:
        # Nodes of the primary graph may still be registered: what that would mend is looked at when the streams open.
        to_come = [node.id for node in parts.graph.nodes] if is_primary else []
        _refuse(parts, [*parts.registered, *to_come])
        self.graph_id = graph_id
        self.parts = parts
        self.is_primary = is_primary
        self.outcomes = outcomes
        self.specs: dict[str, EntryPointSpec] = {}
        self.streams: dict[str, ExecutionStream] = {}
        self.is_leaving = False
        self._rules = rules

    # --- entry points -----------------------------------------------------------------------

    def register(self, spec: EntryPointSpec) -> None:
        """Add an entry point. Raises AlreadyRegistered, InvalidGraph."""
        if spec.id in self.specs:
            raise AlreadyRegistered(f"the entry point {spec.id!r} is registered already")
        node = spec.entry_node or self.parts.graph.entry_node
        problems = spec.problems()
        if self.parts.graph.get_node(node) is None:
            problems.append(f"entry point {spec.id!r}: there is no node {node!r} in the graph")
        problems.extend(trigger_problems(spec))
        if problems:
            raise InvalidGraph(problems)
        self.specs[spec.id] = spec

    def unregister(self, entry_point_id: str) -> bool:
        """Forget an entry point; say whether there was one."""
        return self.specs.pop(entry_point_id, None) is not None

    def stream_name(self, entry_point_id: str) -> str:
        """Return the id of an entry point's stream."""
        if self.is_primary:
            return entry_point_id
        return f"{self.graph_id}{GRAPH_SEPARATOR}{entry_point_id}"

    def stream(self, entry_point_id: str) -> ExecutionStream:
        """Return the stream of an entry point. Raises EntryPointNotFound."""
        found = self.streams.get(entry_point_id)
        if found is None:
            known = ", ".join(self.streams) or "none"
            raise EntryPointNotFound(
                f"graph {self.graph_id!r} has no entry point {entry_point_id!r}",
                hint=f"entry points: {known}",
            )
        return found

    def stream_named(self, stream_id: str) -> ExecutionStream | None:
        """Return the stream with this id, None if it is not of this graph or not open."""
        graph_id, _, entry_point_id = stream_id.rpartition(GRAPH_SEPARATOR)
        is_mine = not graph_id if self.is_primary else graph_id == self.graph_id
        return self.streams.get(entry_point_id) if is_mine else None

    # --- streams ----------------------------------------------------------------------------

    def open_streams(self, services: Services, spawner: Spawner) -> list[ExecutionStream]:
        """Make the streams of the entry points. Raises InvalidGraph, ConfigError for a faulty model."""
        parts, rules = self.parts, self._rules
        _refuse(parts, list(parts.registered))
        self._make_models()
        topology = Topology.compile(parts.graph, parts.registered)
        made = []
        for spec in self.specs.values():
            setup = StreamSetup(
                agent=rules.agent,
                graph_id=self.graph_id,
                stream_id=self.stream_name(spec.id),
                spec=spec,
                graph=parts.graph,
                goal=parts.goal,
                topology=topology,
                nodes=self._nodes(services.clock),
                equipment=parts.equipment,
                shared=rules.shared,
                directory=rules.directory,
                recovery_attempts=(
                    rules.recovery_attempts
                    if spec.recovery_attempts is None
                    else spec.recovery_attempts
                ),
                result_max=rules.result_max,
                result_ttl_seconds=rules.result_ttl_seconds,
                budgets=self._budgets(spec),
            )
            self.streams[spec.id] = ExecutionStream(setup, services, spawner)
            made.append(self.streams[spec.id])
        return made

    def _budgets(self, spec: EntryPointSpec) -> tuple[Rule, ...]:
        """Return the budgets of an entry point and of its agent. Raises ConfigError."""
        agent = self._rules.agent
        place = Place(agent, self.stream_name(spec.id))
        return (*self._rules.budgets, *read_rules(spec.budgets, place))

    def _make_models(self) -> None:
        """Make the providers that entry points and nodes name, for a faulty one to be known now. Raises ConfigError."""
        equipment = self.parts.equipment
        for spec in self.specs.values():
            own = equipment.model_of(spec)
            for node in self.parts.graph.nodes:
                if node.model is not None:
                    equipment.models.named(replace(spec.wish, model=node.model), own)

    def forget_streams(self) -> None:
        """Let go of the streams: they have come to rest."""
        self.streams.clear()

    def _nodes(self, clock: Clock) -> NodeSet:
        return NodeSet(self.parts.registered, loop_maker(self.parts.graph, clock), clock)

    def routes(self) -> list[EventRoute]:
        """Return which events set off which entry points."""
        return [
            _route(spec, f"{self._rules.agent}/{self.stream_name(spec.id)}", self.graph_id)
            for spec in self.specs.values()
            if spec.trigger_type == TriggerType.EVENT or is_bound(spec)
        ]

    def timers(self) -> list[EntryPointSpec]:
        """Return the entry points that a timer sets off."""
        return [spec for spec in self.specs.values() if spec.trigger_type == TriggerType.TIMER]

    @property
    def idle_seconds(self) -> float:
        """Seconds since a running execution of this graph last did something; inf when nothing runs."""
        return min(
            (stream.agent_idle_seconds for stream in self.streams.values()), default=float("inf")
        )


def _refuse(parts: GraphParts, registered: Collection[str]) -> None:
    """Raise InvalidGraph with everything that keeps a graph from running: its own errors, tools nobody offers."""
    problems = errors_of(parts.graph, registered)
    offered = {tool.name for tool in parts.equipment.tools}
    for node in parts.graph.nodes:
        missing = [name for name in node.tools if name not in offered]
        if missing and node.id not in registered:
            problems.append(f"node {node.id!r}: nobody offers the tools {', '.join(missing)}")
    if problems:
        raise InvalidGraph(problems, source=f"graph {parts.graph.id!r}")


WEBHOOK_KEYS = frozenset({"source_id"})
"""What may stand in the `trigger_config` of a webhook entry point."""


def is_bound(spec: EntryPointSpec) -> bool:
    """Say whether a webhook route sets an entry point off directly; one without `source_id` waits to be called."""
    is_webhook = spec.trigger_type == TriggerType.WEBHOOK
    return is_webhook and bool(spec.trigger_config.get("source_id"))


def _route(spec: EntryPointSpec, lane: str, graph: str) -> EventRoute:
    if is_bound(spec):
        webhooks = frozenset({EventType.WEBHOOK_RECEIVED})
        wanted = EventFilter(types=webhooks, stream=spec.trigger_config["source_id"])
        return EventRoute(spec.id, lane, graph, EventPattern(wanted))
    return EventConfig.read(spec.trigger_config).route(spec.id, lane, graph)


def trigger_problems(spec: EntryPointSpec) -> list[str]:
    """Return what is wrong with an entry point's `trigger_config`, as sentences."""
    where = f"entry point {spec.id!r}: trigger_config"
    if spec.trigger_type == TriggerType.TIMER:
        return _timer_problems(spec, where)
    if spec.trigger_type == TriggerType.WEBHOOK:
        return _webhook_problems(spec, where)
    if spec.trigger_type == TriggerType.EVENT:
        return _event_problems(spec, where)
    return []


def _event_problems(spec: EntryPointSpec, where: str) -> list[str]:
    try:
        EventConfig.read(spec.trigger_config)
    except ConfigError as error:
        return [f"{where}.{text}" for text in error.problems]
    return []


def _webhook_problems(spec: EntryPointSpec, where: str) -> list[str]:
    unknown = sorted(set(spec.trigger_config) - WEBHOOK_KEYS)
    known = f"known is {', '.join(sorted(WEBHOOK_KEYS))}; the route itself stands in webhook_routes"
    problems = [f"{where}.{key}: unknown key, {known}" for key in unknown]
    if not isinstance(spec.trigger_config.get("source_id", ""), str):
        problems.append(f"{where}.source_id: must name the source of a webhook route")
    return problems


def _timer_problems(spec: EntryPointSpec, where: str) -> list[str]:
    try:
        TimerConfig.read(spec.trigger_config)
    except ConfigError as error:
        # Most problems begin with the key that they are about.
        joints = (("." if ":" in text.partition(" ")[0] else ": ", text) for text in error.problems)
        return [f"{where}{joint}{text}" for joint, text in joints]
    return []
