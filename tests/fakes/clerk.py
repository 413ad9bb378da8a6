"""An agent whose model wants to send money, which a person must approve; and a tool server that it never starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.control_host import GOAL, FakeAgent, Host, edge

POLICY = {
    "policy": [{"tool": "send", "when": "args.amount > 100", "action": "ask", "message": "much"}]
}
FIRST = {"to": "bob", "amount": 120}
SCRIPT = {
    "nodes": {
        "work": [
            {"tool_calls": [{"name": "send", "input": FIRST}]},
            {"set_output": {"said": "{{ $last }}"}},
        ]
    }
}
GRAPH = GraphSpec(
    id="clerk",
    entry_node="work",
    terminal_nodes=["work"],
    nodes=[NodeSpec(id="work", node_type="event_loop", output_keys=["said"], tools=["send"])],
)


def begun() -> dict[str, Any]:
    return {}


def twice() -> tuple[GraphSpec, dict[str, Any]]:
    """Return a graph with two such nodes side by side, and what its model does."""
    work = [
        NodeSpec(id=id, node_type="event_loop", output_keys=[f"said_{id}"], tools=["send"])
        for id in ("left", "right")
    ]
    begin = NodeSpec(id="begin", node_type="function", function=begun)
    edges = [edge("begin", "left"), edge("begin", "right")]
    graph = GraphSpec(id="clerk", entry_node="begin", nodes=[begin, *work], edges=edges)
    script = {
        node.id: [
            {"tool_calls": [{"name": "send", "input": {"to": node.id, "amount": 120}}]},
            {"set_output": {f"said_{node.id}": "{{ $last }}"}},
        ]
        for node in work
    }
    return graph, {"nodes": script}


@dataclass
class Clerk:
    """The tool of the agent: what it sent."""

    graph: GraphSpec = field(default_factory=lambda: GRAPH)
    script: dict[str, Any] = field(default_factory=lambda: SCRIPT)
    sent: list[dict[str, Any]] = field(default_factory=list)
    extra: tuple[EntryPointSpec, ...] = ()

    def tools(self) -> ToolRegistry:
        registry = ToolRegistry()
        registry.register_function(self.send)
        registry.register_mcp_server({"name": "files", "command": "none", "disabled": True})
        return registry

    def send(self, to: str, amount: int) -> str:
        """Send money."""
        self.sent.append({"to": to, "amount": amount})
        return f"sent {amount} to {to}"

    def runtime(self, *args: Any, **options: Any) -> AgentRuntime:
        """Make its runtime, with entry points that people and events begin."""
        runtime = AgentRuntime(
            self.graph,
            GOAL,
            *args,
            llm=ScriptedProvider(self.script),
            tool_executor=self.tools().get_executor(),
            config=AgentRuntimeConfig(drain_seconds=0.5),
            **options,
        )
        runtime.register_entry_point(
            EntryPointSpec(id="pay", isolation_level="isolated", tools=POLICY)
        )
        event = {"event_types": ["custom"]}
        runtime.register_entry_point(
            EntryPointSpec(
                id="heard",
                trigger_type="event",
                trigger_config=event,
                isolation_level="isolated",
                tools=POLICY,
            )
        )
        for spec in self.extra:
            runtime.register_entry_point(spec)
        return runtime


async def add_clerk(host: Host, clerk: Clerk | None = None) -> Clerk:
    """Start the agent in a daemon."""
    clerk = clerk or Clerk()
    directory = host.services.settings.state_dir / "agents" / "clerk"
    placement = Placement(host.services, "clerk", directory, host.webhooks)
    runtime = clerk.runtime(placement=placement)
    await runtime.start()
    host.agents.agents["clerk"] = FakeAgent("clerk", directory, runtime=runtime)
    return clerk
