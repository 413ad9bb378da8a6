"""A graph as the checks of its validation look at it."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from hive_daemon.graph.edge import EdgeCondition, EdgeSpec, GraphSpec
from hive_daemon.graph.expression import Expression
from hive_daemon.graph.node import NodeSpec

_SURE = (EdgeCondition.ALWAYS, EdgeCondition.ON_SUCCESS)

Found = Iterator[tuple[str, str]]
"""Where, and what."""


class GraphView:
    """A graph as the checks look at it: every part with its place, as `edges[3] 'e1'`."""

    def __init__(self, graph: GraphSpec, registered: frozenset[str]) -> None:
        self.graph = graph
        self.registered = registered
        self.node_ids = {node.id for node in graph.nodes}
        self.nodes = [(f"nodes[{i}] {node.id!r}", node) for i, node in enumerate(graph.nodes)]
        self.edges = [(f"edges[{i}] {edge.id!r}", edge) for i, edge in enumerate(graph.edges)]
        self.entries = [
            (f"async_entry_points[{i}] {entry.id!r}", entry)
            for i, entry in enumerate(graph.async_entry_points)
        ]

    def unknown(self, role: str, node_id: str) -> str:
        """Say that a node does not exist, and which one may be meant."""
        near = get_close_matches(node_id, self.node_ids, n=1)
        advice = f"did you mean {near[0]!r}?" if near else "add the node, or name another"
        return f"{role} {node_id!r} is not a node of the graph; {advice}"

    def starts(self) -> list[str]:
        """Return the nodes where executions may begin."""
        graph = self.graph
        entries = [entry.entry_node or graph.entry_node for entry in graph.async_entry_points]
        return [graph.entry_node, *graph.entry_points.values(), *entries]

    def fans(self) -> Iterator[tuple[NodeSpec, list[NodeSpec]]]:
        """Yield the nodes whose success is always followed along several ways, with their targets."""
        if not self.graph.parallel_config.is_enabled:
            return
        nodes = {node.id: node for node in self.graph.nodes}
        for node in nodes.values():
            edges = (e for e in self.graph.edges if e.source == node.id and e.condition in _SURE)
            targets = {edge.target: nodes[edge.target] for edge in edges if edge.target in nodes}
            if len(targets) > 1 and node.id not in self.graph.terminal_nodes:
                yield node, list(targets.values())


def expression_of(edge: EdgeSpec) -> Expression:
    """Return the condition of an edge. Raises ExpressionError."""
    return Expression.parse(edge.condition_expr or "")
