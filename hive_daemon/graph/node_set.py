"""Which implementation runs for which node of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hive_daemon.clock import Clock
from hive_daemon.graph.function_node import FunctionNode, resolve
from hive_daemon.graph.node import (
    EVENT_LOOP,
    FUNCTION,
    HUMAN_INPUT,
    ROUTER,
    NodeContext,
    NodeProtocol,
    NodeResult,
    NodeSpec,
)
from hive_daemon.graph.router_node import HumanInputNode, RouterNode

MakeLoop = Callable[[NodeSpec], NodeProtocol]


@dataclass(frozen=True, slots=True)
class NodeSet:
    """The nodes of one graph, ready to run.

    `registered` are nodes of the program's own, by node id: they win over the node's type. `make_loop` makes the model
    loop of an event_loop node, a new one for each run; the others hold nothing and are made once.
    """

    registered: Mapping[str, Any]
    make_loop: MakeLoop
    clock: Clock
    _made: dict[str, NodeProtocol] = field(default_factory=dict, repr=False)

    def node_for(self, spec: NodeSpec) -> NodeProtocol:
        """Return the implementation of a node. Raises ConfigError for a function that cannot be called."""
        mine = self.registered.get(spec.id)
        if mine is not None:
            return self._registered(spec, mine)
        if spec.node_type == EVENT_LOOP:
            return self.make_loop(spec)
        made = self._made.get(spec.id)
        if made is None:
            made = self._made[spec.id] = self._make(spec)
        return made

    def _registered(self, spec: NodeSpec, mine: Any) -> NodeProtocol:
        """Return a registered node; a bare callable counts as a function node."""
        if hasattr(mine, "execute"):
            return cast(NodeProtocol, mine)
        made = self._made.get(spec.id)
        if not isinstance(made, FunctionNode) or made.function is not mine:
            made = self._made[spec.id] = FunctionNode.of(mine, self.clock)
        return made

    def _make(self, spec: NodeSpec) -> NodeProtocol:
        if spec.node_type == FUNCTION:
            return FunctionNode.of(resolve(spec.function or ""), self.clock)
        if spec.node_type == ROUTER:
            return RouterNode()
        if spec.node_type == HUMAN_INPUT:
            return HumanInputNode()
        return UnknownNode(spec.node_type)


@dataclass(frozen=True, slots=True)
class UnknownNode:
    """Stands for a node whose type nobody knows; validation refuses such a graph."""

    node_type: str

    async def execute(self, ctx: NodeContext) -> NodeResult:
        """Fail, naming the type."""
        error = f"node {ctx.node_id!r} has the unknown type {self.node_type!r}"
        return NodeResult(False, error=error, error_type="unknown_type", retryable=False)
