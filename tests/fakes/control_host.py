"""A daemon for tests of the control API: real services on a real store, real agents, a real socket; nothing else."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK, Clock
from hive_daemon.config.loaded import LoadedConfig
from hive_daemon.config.model import HiveConfig
from hive_daemon.control.server import ControlServer
from hive_daemon.control.wire import SOCKET_NAME
from hive_daemon.graph.edge import EdgeCondition, EdgeSpec, GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeContext, NodeResult, NodeSpec
from hive_daemon.monitoring.agent_watch import AgentWatch
from hive_daemon.monitoring.alerts import log_rule
from hive_daemon.monitoring.incident_desk import IncidentDesk
from hive_daemon.monitoring.vigil import keep_vigil
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.lifecycle import RunState
from hive_daemon.runtime.opened_services import open_services
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.runtime.services import Services, ServiceSettings, begin_work, take_over
from hive_daemon.runtime.webhook_server import WebhookServer, WebhookServerConfig
from hive_daemon.storage.mirror_fold import MirrorMode


@dataclass
class FakeStop:
    """Notes that somebody asked the daemon to stop."""

    drain: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    def ask(self, reason: str) -> None:
        """Note the reason."""
        self.asked.append(reason)
        self.drain.set()


@dataclass
class FakeAgent:
    """One agent of the daemon."""

    name: str
    path: Path
    state: str = "ready"
    reason: str = ""
    runtime: AgentRuntime | None = None


@dataclass
class FakeAgents:
    """The agents of the daemon."""

    agents: dict[str, FakeAgent] = field(default_factory=dict)


@dataclass
class Gate:
    """What the `hold` node waits for; `runs` counts how often each node ran."""

    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    fails: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)

    async def hold(self) -> None:
        """Wait until the gate is open."""
        self.entered.set()
        await self.is_open.wait()


class Step:
    """A node that notes its run, waits at the gate if its id is `hold`, and fails while it is told to."""

    def __init__(self, name: str, gate: Gate) -> None:
        self._name = name
        self._gate = gate

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Run once."""
        self._gate.runs.append(self._name)
        if self._name == "hold":
            await self._gate.hold()
        if self._name in self._gate.fails:
            return NodeResult(False, error=f"{self._name} does not work", retryable=False)
        return NodeResult(True, {self._name: f"{self._name} done"})


def node(name: str, **changes: Any) -> NodeSpec:
    """A function node that writes its own name."""
    given = {"id": name, "node_type": "function", "output_keys": [name], **changes}
    return NodeSpec(**given)


def edge(source: str, target: str) -> EdgeSpec:
    """An edge that follows success."""
    return EdgeSpec(
        id=f"{source}-{target}", source=source, target=target, condition=EdgeCondition.ON_SUCCESS
    )


def chain(name: str, *nodes: NodeSpec, pause: tuple[str, ...] = ()) -> GraphSpec:
    """A graph that runs its nodes one after the other."""
    ids = [one.id for one in nodes]
    return GraphSpec(
        id=name,
        goal_id="goal",
        entry_node=ids[0],
        nodes=list(nodes),
        edges=[edge(a, b) for a, b in itertools.pairwise(ids)],
        terminal_nodes=[ids[-1]],
        pause_nodes=list(pause),
    )


GOAL = Goal(id="goal", name="Goal", description="what it is for")


def ops_graph() -> GraphSpec:
    """Parse, wait at the gate, report."""
    return chain("triage", node("parse"), node("hold"), node("report"))


def desk_graph() -> GraphSpec:
    """Ask a person, then answer; or pause and go on."""
    ask = NodeSpec(
        id="ask", node_type="human_input", description="May I go on?", output_keys=["said"]
    )
    graph = chain("desk", node("first"), ask, node("last"))
    rest = chain("rest", node("before"), node("stop"), node("after"), pause=("stop",))
    return graph.model_copy(
        update={
            "nodes": [*graph.nodes, *rest.nodes],
            "edges": [*graph.edges, *rest.edges],
            "terminal_nodes": ["last", "after"],
            "pause_nodes": ["stop"],
        }
    )


def _pause_nothing(agent: str, reason: str) -> list[str]:
    return []


def _resume_nothing(agent: str, timer_ids: Iterable[str]) -> None:
    return


@dataclass
class Host:
    """The daemon, as the control API sees it."""

    loaded: LoadedConfig
    services: Services
    agents: FakeAgents
    webhooks: WebhookServer
    gate: Gate
    incidents: IncidentDesk
    stop: FakeStop = field(default_factory=FakeStop)
    fortunes: AgentWatch = field(
        default_factory=lambda: AgentWatch(_pause_nothing, _resume_nothing)
    )
    lag: float = 0.0
    state: RunState = RunState.RUNNING
    started_at: float = field(default_factory=SYSTEM_CLOCK.time)
    control: ControlServer | None = None

    @property
    def socket(self) -> Path:
        """Where the control socket is."""
        return self.loaded.config.socket

    def runtime(self, name: str) -> AgentRuntime:
        """Return the runtime of an agent."""
        runtime = self.agents.agents[name].runtime
        assert runtime is not None
        return runtime

    async def add(
        self,
        name: str,
        graph: GraphSpec,
        *specs: EntryPointSpec,
        routes: list[dict[str, Any]] | None = None,
    ) -> AgentRuntime:
        """Start an agent of which all function nodes are steps."""
        settings = AgentRuntimeConfig(
            webhook_routes=routes or [], drain_seconds=0.5, execution_result_max=10
        )
        directory = self.services.settings.state_dir / "agents" / name
        runtime = AgentRuntime(
            graph,
            GOAL,
            config=settings,
            graph_id=graph.id,
            node_registry={
                one.id: Step(one.id, self.gate)
                for one in graph.nodes
                if one.node_type == "function"
            },
            placement=Placement(self.services, name, directory, self.webhooks),
        )
        for spec in specs:
            runtime.register_entry_point(spec)
        await runtime.start()
        self.agents.agents[name] = FakeAgent(name, directory, runtime=runtime)
        return runtime

    def degrade(self, name: str, reason: str) -> None:
        """Add an agent that could not be loaded."""
        self.agents.agents[name] = FakeAgent(name, Path("/agents") / name, "degraded", reason)


@asynccontextmanager
async def open_host(
    directory: Path,
    *,
    mirror: MirrorMode = MirrorMode.OFF,
    mirror_process: bool = False,
    clock: Clock = SYSTEM_CLOCK,
    **control: Any,
) -> AsyncIterator[Host]:
    """Open services without agents; nothing is claimed before `begin_work`."""
    config = HiveConfig(
        state_dir=directory / "state",
        socket=directory / SOCKET_NAME,
        control={"allow_uids": (), "allow_gids": (), **control},
    )
    settings = ServiceSettings(
        state_dir=config.state_dir, mirror=mirror, mirror_process=mirror_process
    )
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(settings, clock))
        await take_over(services)
        webhooks = WebhookServer(
            None, WebhookServerConfig("127.0.0.1", 0), ledger=services.store.deliveries
        )
        vigil = await stack.enter_async_context(keep_vigil(services, [log_rule()]))
        host = Host(LoadedConfig(config), services, FakeAgents(), webhooks, Gate(), vigil.desk)
        stack.push_async_callback(_stop_agents, host)
        yield host


async def _stop_agents(host: Host) -> None:
    host.gate.is_open.set()
    running = [agent.runtime for agent in host.agents.agents.values() if agent.runtime]
    await asyncio.gather(*(runtime.stop(0.5) for runtime in running))


@asynccontextmanager
async def running_host(directory: Path, **options: Any) -> AsyncIterator[Host]:
    """Two agents at work behind a control socket: `ops` (a gate to hold) and `desk` (questions and pauses)."""
    async with open_host(directory, **options) as host:
        await host.add(
            "ops",
            ops_graph(),
            EntryPointSpec(id="triage", trigger_type="api", isolation_level="isolated"),
            EntryPointSpec(
                id="report",
                entry_node="report",
                trigger_type="timer",
                trigger_config={"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"},
                isolation_level="isolated",
            ),
            EntryPointSpec(
                id="alert",
                entry_node="report",
                trigger_type="event",
                trigger_config={"event_types": ["webhook_received"], "filter_stream": "pager"},
                isolation_level="isolated",
            ),
            routes=[{"source_id": "pager", "path": "/hooks/pager", "secret": "s3cret-of-pager"}],
        )
        await host.add(
            "desk",
            desk_graph(),
            EntryPointSpec(id="ask", entry_node="first", isolation_level="isolated"),
            EntryPointSpec(id="rest", entry_node="before", isolation_level="isolated"),
            EntryPointSpec(
                id="tick",
                entry_node="before",
                trigger_type="timer",
                trigger_config={"every": "5m"},
                isolation_level="isolated",
            ),
        )
        await host.webhooks.start()
        begin_work(host.services)
        server = ControlServer(host)
        host.control = server
        await server.start()
        try:
            yield host
        finally:
            await server.stop()
            await host.webhooks.stop()


def is_root() -> bool:
    """Say whether this process may become another user."""
    return os.geteuid() == 0
