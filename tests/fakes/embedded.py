"""A runtime inside a test: small graphs of functions, a node that the test holds, and what the bus told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive_daemon.clock import Clock
from hive_daemon.graph.edge import EdgeSpec, GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node import NodeSpec
from hive_daemon.runtime.agent_runtime import AgentRuntime, create_agent_runtime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.opened_services import open_services
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig, Placement
from hive_daemon.runtime.services import Services, ServiceSettings, begin_work
from hive_daemon.runtime.webhook_server import WebhookServer

SECONDS = 20.0
"""How long a test waits for what must come."""

GOAL = Goal(id="goal", name="Goal", description="Do what the test wants.")


def function(
    node_id: str,
    call: Callable[..., Any],
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = ("answer",),
    **fields: Any,
) -> NodeSpec:
    """A function node."""
    return NodeSpec(
        id=node_id,
        name=node_id,
        node_type="function",
        function=call,
        input_keys=list(inputs),
        output_keys=list(outputs),
        **fields,
    )


def model(node_id: str, outputs: Sequence[str] = ("answer",), **fields: Any) -> NodeSpec:
    """A node that a model works in."""
    fields.setdefault("system_prompt", "Answer.")
    return NodeSpec(id=node_id, name=node_id, output_keys=list(outputs), **fields)


def graph_of(*nodes: NodeSpec, edges: Iterable[tuple[str, str]] = (), **fields: Any) -> GraphSpec:
    """A graph that begins at its first node; edges follow success."""
    fields.setdefault("id", "agent")
    return GraphSpec(
        goal_id=GOAL.id,
        entry_node=nodes[0].id,
        nodes=list(nodes),
        edges=[
            EdgeSpec(id=f"{a}-{b}", source=a, target=b, condition="on_success") for a, b in edges
        ],
        **fields,
    )


class Turnstile:
    """A node that waits until the test lets it through; it counts who is inside, and writes down who came and went."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.log: list[tuple[str, str]] = []
        self._open = False
        self._moved = asyncio.Condition()

    async def enter(self, ctx: Any) -> str:
        """Be a node."""
        name = ctx.execution_id
        async with self._moved:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.log.append(("in", name))
            self._moved.notify_all()
            try:
                await self._moved.wait_for(lambda: self._open)
            finally:
                self.inside -= 1
                self.log.append(("out", name))
                self._moved.notify_all()
        return "through"

    async def until(self, inside: int) -> None:
        """Wait until so many are inside."""
        async with asyncio.timeout(SECONDS), self._moved:
            await self._moved.wait_for(lambda: self.inside >= inside)

    async def until_in(self, execution_id: str) -> None:
        """Wait until this execution has come."""
        async with asyncio.timeout(SECONDS), self._moved:
            await self._moved.wait_for(lambda: ("in", execution_id) in self.log)

    async def let_through(self) -> None:
        """Let everybody through, now and later."""
        async with self._moved:
            self._open = True
            self._moved.notify_all()


@dataclass
class Heard:
    """What a runtime's bus told, in order."""

    runtime: AgentRuntime
    events: list[AgentEvent]
    _come: asyncio.Condition

    @classmethod
    def of(cls, runtime: AgentRuntime, kinds: Iterable[EventType] = tuple(EventType)) -> Heard:
        """Begin to listen."""
        heard = cls(runtime, [], asyncio.Condition())
        runtime.subscribe_to_events(list(kinds), heard._take)
        return heard

    async def _take(self, event: AgentEvent) -> None:
        async with self._come:
            self.events.append(event)
            self._come.notify_all()

    def found(self, kind: EventType, stream_id: str = "", node_id: str = "") -> list[AgentEvent]:
        """What came so far of one kind."""
        return [
            event
            for event in self.events
            if event.type == kind
            and stream_id in ("", event.stream_id)
            and node_id in ("", event.node_id)
        ]

    async def until(
        self, kind: EventType, stream_id: str = "", node_id: str = "", count: int = 1
    ) -> AgentEvent:
        """Wait until so many came of one kind; the last of them."""
        async with asyncio.timeout(SECONDS), self._come:
            await self._come.wait_for(lambda: len(self.found(kind, stream_id, node_id)) >= count)
        return self.found(kind, stream_id, node_id)[count - 1]


@asynccontextmanager
async def running(
    path: Path | None, graph: GraphSpec, *specs: EntryPointSpec, **given: Any
) -> AsyncIterator[AgentRuntime]:
    """A runtime that runs, with its own store at `path` if given; stopped at once afterwards."""
    runtime = create_agent_runtime(graph, GOAL, path, specs, **given)
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop(0.0)


@asynccontextmanager
async def services_at(
    path: Path, clock: Clock, config: AgentRuntimeConfig | None = None
) -> AsyncIterator[tuple[Services, Placement]]:
    """Services that go by a clock of the test's own, and a place for one agent among them."""
    config = config or AgentRuntimeConfig()
    settings = ServiceSettings(
        state_dir=path,
        max_concurrent_executions=config.max_concurrent_executions,
        stall_seconds=config.stall_seconds,
    )
    async with open_services(settings, clock) as services:
        placement = Placement(services, "agent", path / "agents" / "agent", WebhookServer(None))
        begin_work(services)
        yield services, placement
