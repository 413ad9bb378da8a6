"""What a stream runs with: the graph compiled, the nodes, what they are given, and the rules of the entry point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hive_daemon.budgets.rules import Rule, Spender
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.node_set import NodeSet
from hive_daemon.graph.topology import Topology
from hive_daemon.llm.models import Models, OneModel
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.values import Tool, ToolExecutor
from hive_daemon.runtime.entry_point import EntryPointSpec, IsolationLevel
from hive_daemon.runtime.shared_state import SharedStateManager
from hive_daemon.tools.registry import OwnedExecutor


@dataclass(frozen=True, slots=True)
class Equipment:
    """What the nodes of an agent work with."""

    llm: LLMProvider
    tools: Sequence[Tool] = ()
    tool_executor: ToolExecutor | None = None
    accounts_prompt: str = ""
    max_tokens: int = 4096
    runtime: Any = None
    models: Models = field(default_factory=OneModel)

    def model_of(self, spec: EntryPointSpec) -> LLMProvider:
        """Return what the executions of an entry point work with. Raises ConfigError."""
        return self.models.named(spec.wish, self.llm)

    @property
    def tools_by_name(self) -> dict[str, Tool]:
        """The tools, by name."""
        return {tool.name: tool for tool in self.tools}

    def for_graph(self, graph: GraphSpec) -> Equipment:
        """Return it for the nodes of a graph, with the tools that they name from the executor's own registry."""
        tools = self.tools
        if isinstance(self.tool_executor, OwnedExecutor):
            wanted = [name for node in graph.nodes for name in node.tools]
            tools = self.tool_executor.registry.equip(wanted, tools)
        return replace(self, tools=tools, max_tokens=graph.max_tokens or 4096)


@dataclass(frozen=True, slots=True)
class StreamSetup:
    """Everything about one stream that does not change while it lives.

    `stream_id` is the entry point's id, on a secondary graph `graph::entry_point`. `directory` is the agent's, where
    the readable files are.
    """

    agent: str
    graph_id: str
    stream_id: str
    spec: EntryPointSpec
    graph: GraphSpec
    goal: Goal
    topology: Topology
    nodes: NodeSet
    equipment: Equipment
    shared: SharedStateManager
    directory: Path
    recovery_attempts: int = 3
    result_max: int = 1000
    result_ttl_seconds: float | None = None
    budgets: tuple[Rule, ...] = ()

    @property
    def lane(self) -> str:
        """The stream's address in the process."""
        return f"{self.agent}/{self.stream_id}"

    def spender(self, session_id: str = "", execution_id: str = "") -> Spender:
        """Return whom the budgets know an execution of it as."""
        return Spender(self.agent, self.stream_id, session_id, execution_id)

    @property
    def isolation(self) -> IsolationLevel:
        """What its executions share with others."""
        return self.spec.get_isolation_level()

    @property
    def carries_memory(self) -> bool:
        """Whether what takes over a session goes on with its memory: where a strategy is written.

        A bare `max_concurrent: 1` begins anew in the session of what it cancels.
        """
        return self.spec.concurrency.get("strategy") is not None

    @property
    def entry_node(self) -> str:
        """Where its executions begin."""
        return self.spec.entry_node or self.graph.entry_node
