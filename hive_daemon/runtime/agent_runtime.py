"""The agent runtime: the graphs of one agent, their entry points, and everything that sets them off.

    runtime = AgentRuntime(graph, goal, Path("./storage"), llm=llm)
    runtime.register_entry_point(EntryPointSpec(id="api", entry_node="start"))
    await runtime.start()
    result = await runtime.trigger_and_wait("api", {"query": "help"})

Every graph is a `GraphHost`: primary and secondary ones are mounted the same way, before the start or after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hive_daemon.budgets.written import Place, read_rules
from hive_daemon.errors import (
    AlreadyRegistered,
    AlreadyRunning,
    Draining,
    GraphNotFound,
    NotRunning,
)
from hive_daemon.graph.checkpoint_config import CheckpointConfig
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.ids import check_name
from hive_daemon.llm.model_shelf import models_beside
from hive_daemon.llm.models import Models
from hive_daemon.llm.unconfigured import UnconfiguredProvider
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.execution_face import ExecutionFace
from hive_daemon.runtime.faces import EventFace, InspectionFace
from hive_daemon.runtime.graph_host import GraphHost, GraphParts, StreamRules
from hive_daemon.runtime.lifecycle import RunState, move
from hive_daemon.runtime.outcome_aggregator import OutcomeAggregator
from hive_daemon.runtime.outside import OutsideEvents
from hive_daemon.runtime.running import Running, open_running
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig, Placement
from hive_daemon.runtime.shared_state import SharedStateManager
from hive_daemon.runtime.stream_setup import Equipment
from hive_daemon.tasks import Scope
from hive_daemon.tools.mcp_values import ServerView
from hive_daemon.tools.servers import servers_of

if TYPE_CHECKING:
    from hive_daemon.runtime.webhook_server import WebhookServer
    from hive_daemon.storage.concurrent import ConcurrentStorage

__all__ = ["AgentRuntime", "AgentRuntimeConfig", "create_agent_runtime"]

logger = logging.getLogger(__name__)

PRIMARY = "primary"
DEFAULT_ENTRY_POINT = "default"


class AgentRuntime(ExecutionFace, InspectionFace, EventFace):
    """One agent: its graphs, streams, timers, webhooks and events.

    Laws: what `trigger` returned an id for is durable; start is all or nothing; stop is idempotent, ends within
    `drain_seconds` plus a few seconds, and loses nothing. Without a `placement` it owns its store under `storage_path`.
    `models` are for entry points and nodes that name one (else: those beside `llm`); each stop closes them.
    """

    def __init__(
        self,
        graph: GraphSpec,
        goal: Goal,
        storage_path: str | Path | None = None,
        llm: Any = None,
        tools: Sequence[Any] | None = None,
        tool_executor: Callable[..., Any] | None = None,
        config: AgentRuntimeConfig | None = None,
        runtime_log_store: Any = None,
        checkpoint_config: CheckpointConfig | None = None,
        graph_id: str | None = None,
        accounts_prompt: str = "",
        accounts_data: list[dict[str, Any]] | None = None,
        tool_provider_map: dict[str, str] | None = None,
        *,
        event_bus: EventBus | None = None,
        node_registry: Mapping[str, Any] | None = None,
        placement: Placement | None = None,
        models: Models | None = None,
    ) -> None:
        self.config = config or AgentRuntimeConfig()
        self.graph = graph
        self.goal = goal
        self.intro_message = ""
        self.checkpoint_config = checkpoint_config or CheckpointConfig()
        self.runtime_log_store = runtime_log_store
        self._placement = placement
        self._agent = placement.agent if placement else check_name("graph id", graph.id)
        self._storage_path = _storage_path(storage_path, graph.id)
        self._bus = event_bus or EventBus(max_history=self.config.max_history)
        self._state_manager = SharedStateManager()
        provider = llm if llm is not None else UnconfiguredProvider()
        self._equipment = Equipment(
            llm=provider,
            models=models or models_beside(provider),
            tools=tools or (),
            tool_executor=tool_executor,
            accounts_prompt=accounts_prompt,
            runtime=self,
        )
        self._registered: dict[str, Any] = dict(node_registry or {})
        self._graph_id = graph_id or PRIMARY
        self._hosts: dict[str, GraphHost] = {}
        self._mount(self._graph_id, graph, goal, self.directory, is_primary=True)
        self.active_graph_id = self._graph_id
        self._state = RunState.NEW
        self._turn = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._scope = Scope(f"runtime {self._agent}")
        self._stopping: asyncio.Task[None] | None = None
        self._open: Running | None = None
        self._outside = OutsideEvents(self)
        self._last_input = self.clock.monotonic()

    # --- graphs and entry points ------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where the agent's readable files are."""
        return self._placement.directory if self._placement else self._storage_path

    def _mount(
        self, graph_id: str, graph: GraphSpec, goal: Goal, directory: Path, *, is_primary: bool
    ) -> GraphHost:
        rules = StreamRules(
            agent=self._agent,
            directory=directory,
            shared=self._state_manager,
            recovery_attempts=self.config.recovery_attempts,
            result_max=self.config.execution_result_max,
            result_ttl_seconds=self.config.execution_result_ttl_seconds,
            budgets=read_rules(self.config.budgets, Place(self._agent)),
        )
        equipment = self._equipment.for_graph(graph)
        parts = GraphParts(graph, goal, equipment, self._registered)
        host = GraphHost(
            check_name("graph id", graph_id),
            parts,
            rules,
            is_primary=is_primary,
            outcomes=OutcomeAggregator(goal, self._bus, graph_id=graph_id),
        )
        self._hosts[graph_id] = host
        return host

    def register_node(self, node_id: str, implementation: Any) -> None:
        """Let this implementation run whenever a walk comes to `node_id`. Not while running."""
        self._check_still()
        self._registered[node_id] = implementation

    def register_entry_point(self, spec: EntryPointSpec) -> None:
        """Add an entry point to the primary graph.

        Raises AlreadyRunning, AlreadyRegistered, InvalidGraph (also for an unknown node).
        """
        self._check_still()
        self._hosts[self._graph_id].register(spec)

    def unregister_entry_point(self, entry_point_id: str) -> bool:
        """Forget an entry point of the primary graph; say whether there was one."""
        self._check_still()
        return self._hosts[self._graph_id].unregister(entry_point_id)

    def _check_still(self) -> None:
        if self._state in (RunState.STARTING, RunState.RUNNING, RunState.DRAINING):
            raise AlreadyRunning("entry points and nodes cannot be changed while the runtime runs")

    async def add_graph(
        self,
        graph_id: str,
        graph: GraphSpec,
        goal: Goal,
        entry_points: Mapping[str, Any],
        storage_subpath: str | None = None,
    ) -> None:
        """Add a secondary graph with its entry points, before the start or while running.

        Its files are under `storage_subpath` (default `graphs/{graph_id}`). Raises AlreadyRegistered, InvalidGraph.
        """
        async with self._turn:
            if graph_id in self._hosts:
                raise AlreadyRegistered(f"the graph {graph_id!r} is registered already")
            directory = self.directory / (storage_subpath or f"graphs/{graph_id}")
            host = self._mount(graph_id, graph, goal, directory, is_primary=False)
            try:
                for name, declared in entry_points.items():
                    host.register(replace(EntryPointSpec.from_declared(declared), id=name))
                if self._open is not None:
                    await self._open.mount(host)
            except BaseException:
                del self._hosts[graph_id]
                raise

    async def remove_graph(self, graph_id: str) -> None:
        """Remove a secondary graph; what it runs is put away. Raises GraphNotFound, ValueError for the primary."""
        if graph_id == self._graph_id:
            raise ValueError("the primary graph cannot be removed")
        async with self._turn:
            host = self._hosts.get(graph_id)
            if host is None:
                raise GraphNotFound(subject=graph_id)
            host.is_leaving = True
            if self.active_graph_id == graph_id:
                self.active_graph_id = self._graph_id
            try:
                if self._open is not None:
                    await self._open.unmount(host)
            finally:
                del self._hosts[graph_id]

    def list_graphs(self) -> list[str]:
        """Return the ids of the graphs, the primary one first."""
        return list(self._hosts)

    def get_graph_registration(self, graph_id: str) -> GraphHost | None:
        """Return a graph of this runtime, or None."""
        return self._hosts.get(graph_id)

    @property
    def graph_id(self) -> str:
        """The id of the primary graph."""
        return self._graph_id

    @property
    def hosts(self) -> list[GraphHost]:
        """The graphs, the primary one first."""
        return list(self._hosts.values())

    def get_entry_points(self) -> list[EntryPointSpec]:
        """Return the entry points of the primary graph."""
        return list(self._hosts[self._graph_id].specs.values())

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything, or nothing. A runtime that runs is left as it is."""
        async with self._turn:
            if self._state is RunState.RUNNING:
                return
            if not self._hosts[self._graph_id].specs:
                self._hosts[self._graph_id].register(EntryPointSpec(id=DEFAULT_ENTRY_POINT))
            self._state = move(self._state, RunState.STARTING)
            try:
                async with AsyncExitStack() as stack:
                    stack.push_async_callback(self._equipment.models.aclose)
                    self._open = await stack.enter_async_context(
                        open_running(self, self._placement)
                    )
                    self._stack = stack.pop_all()
            except BaseException:
                self._open = None
                self._state = move(self._state, RunState.FAILED)
                raise
            self._last_input = self.clock.monotonic()
            self._state = move(self._state, RunState.RUNNING)

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Stop everything: no new work, a while for what runs, the rest is put away.

        Idempotent. Once begun it goes on to the end, also if whoever asked for it is cancelled.
        """
        if self._stopping is None or self._stopping.done():
            self._stopping = self._scope.spawn("stop", self._stop(drain_seconds))
        await asyncio.shield(self._stopping)

    async def _stop(self, drain_seconds: float | None) -> None:
        async with self._turn:
            if self._state is not RunState.RUNNING or self._open is None:
                return
            self._state = move(self._state, RunState.DRAINING)
            seconds = self.config.drain_seconds if drain_seconds is None else drain_seconds
            try:
                async with self._stack.pop_all():
                    await self._open.drain(seconds)
            finally:
                self._open = None
                self._state = move(self._state, RunState.STOPPED)

    @property
    def is_running(self) -> bool:
        """Whether it takes triggers."""
        return self._state is RunState.RUNNING

    @property
    def _running(self) -> bool:
        return self._state in (RunState.RUNNING, RunState.DRAINING)

    @property
    def is_draining(self) -> bool:
        """Whether it is on its way to stop."""
        return self._state is RunState.DRAINING

    def running(self) -> Running:
        """Return what is open while it runs. Raises NotRunning, Draining."""
        if self._state is RunState.DRAINING:
            raise Draining("the runtime is stopping and takes no new work", hint="try again later")
        if self._open is None or self._state is not RunState.RUNNING:
            raise NotRunning("the runtime is not running", hint="await runtime.start() first")
        return self._open

    # --- parts -----------------------------------------------------------------------------

    @property
    def agent(self) -> str:
        """The agent's name in the process."""
        return self._agent

    @property
    def event_bus(self) -> EventBus:
        """The event bus."""
        return self._bus

    @property
    def state_manager(self) -> SharedStateManager:
        """The shared state."""
        return self._state_manager

    @property
    def tool_executor(self) -> Callable[..., Any] | None:
        """What runs the calls of tools."""
        return self._equipment.tool_executor

    def tool_servers(self) -> list[ServerView]:
        """Return how its MCP servers are; while it does not run they are stopped."""
        servers = self._open.servers if self._open else servers_of(self.tool_executor)
        return servers.views() if servers else []

    @property
    def storage(self) -> ConcurrentStorage:
        """Where programs keep runs of their own, beside the sessions."""
        # Here: few programs do, and the records of runs are a family of models.
        from hive_daemon.storage.concurrent import ConcurrentStorage

        config = self.config
        return ConcurrentStorage(self.directory, config.cache_ttl, config.batch_interval)

    @property
    def outside(self) -> OutsideEvents:
        """How events from outside reach entry points."""
        return self._outside

    @property
    def opened(self) -> Running | None:
        """What is open while it runs, None otherwise."""
        return self._open

    @property
    def owns_services(self) -> bool:
        """Whether the store and all that is its own."""
        return self._placement is None

    @property
    def shared_webhooks(self) -> WebhookServer | None:
        """The process's webhook server, None when it has its own."""
        return self._placement.webhooks if self._placement else None


def create_agent_runtime(
    graph: GraphSpec,
    goal: Goal,
    storage_path: str | Path | None = None,
    entry_points: Iterable[EntryPointSpec] = (),
    *args: Any,
    enable_logging: bool = True,
    **kwargs: Any,
) -> AgentRuntime:
    """Make an AgentRuntime with its entry points; the other arguments are those of AgentRuntime.

    `enable_logging` is accepted for older programs: the logs of executions are always kept.
    """
    runtime = AgentRuntime(graph, goal, storage_path, *args, **kwargs)
    for spec in entry_points:
        runtime.register_entry_point(spec)
    return runtime


def _storage_path(given: str | Path | None, graph_id: str) -> Path:
    return Path(given or Path("~/.hive/agents") / graph_id).expanduser().absolute()
