"""A graph compiled for walking: edges by source, what can reach what, and the hash that names its shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.graph.choice import Choice, handler_choice, sure_choice
from hive_daemon.graph.edge import EdgeCondition, EdgeSpec, GraphSpec
from hive_daemon.graph.expression import Expression
from hive_daemon.graph.node import EVENT_LOOP, NodeSpec

EVENT_KEY = "event"
"""The key under which a timer, an event or a webhook hands its payload to an execution."""


_AFTER_FAILURE = (EdgeCondition.ON_FAILURE, EdgeCondition.ALWAYS)


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything the walk asks about a graph.

    `direct[n]` holds the nodes that can be entered right after n, `reach[n]` all that can be entered after it.
    `sure[n]` is what follows every success of n, None where that depends on something; `handlers[n]` what follows a
    failure. `declared` holds every memory key that the graph mentions. `graph_hash` changes when the way of an
    execution could change.
    """

    graph: GraphSpec
    nodes: dict[str, NodeSpec]
    outgoing: dict[str, tuple[EdgeSpec, ...]]
    conditions: dict[str, Expression]
    sure: dict[str, Choice | None]
    handlers: dict[str, Choice]
    has_ways_out: dict[str, bool]
    direct: dict[str, set[str]]
    reach: dict[str, frozenset[str]]
    terminal: frozenset[str]
    pausing: frozenset[str]
    declared: frozenset[str]
    custom: frozenset[str]
    graph_hash: str
    _within: dict[tuple[str, str], frozenset[str]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def compile(cls, graph: GraphSpec, custom_nodes: Iterable[str] = ()) -> Topology:
        """Compile a graph that `GraphSpec.validate` found no error in.

        `custom_nodes` are the ids for which a node of the program's own is registered.
        """
        nodes = {node.id: node for node in graph.nodes}
        outgoing = {node: tuple(graph.get_outgoing_edges(node)) for node in nodes}
        return cls(
            graph=graph,
            nodes=nodes,
            outgoing=outgoing,
            conditions=_conditions(graph.edges),
            sure={node: sure_choice(edges) for node, edges in outgoing.items()},
            handlers={node: handler_choice(edges) for node, edges in outgoing.items()},
            has_ways_out={node.id: bool(outgoing[node.id] or node.routes) for node in graph.nodes},
            direct=successors(graph),
            reach=reachability(graph),
            terminal=frozenset(graph.terminal_nodes),
            pausing=frozenset(graph.pause_nodes),
            declared=declared_keys(graph),
            custom=frozenset(custom_nodes),
            graph_hash=hash_of(graph),
        )

    def within(self, fork: str, start: str) -> frozenset[str]:
        """Return what a branch of a fan-out at `fork` can come to from `start`, itself included.

        That ends before the fork is passed again, but may end there: branches that lead back to it meet before it.
        """
        known = self._within.get((fork, start))
        if known is None:
            known = _found_from((start,), self.direct, up_to=fork)
            self._within[fork, start] = known
        return known

    def attempts(self, node_id: str) -> int:
        """Return how many attempts a node has in all. A model loop has one: it retries inside."""
        node = self.nodes[node_id]
        if node.node_type == EVENT_LOOP and node_id not in self.custom:
            return 1
        if "max_retries" in node.model_fields_set:
            return max(1, node.max_retries)
        return max(1, self.graph.max_retries_per_node)


def _conditions(edges: Iterable[EdgeSpec]) -> dict[str, Expression]:
    return {
        edge.id: Expression.parse(edge.condition_expr)
        for edge in edges
        if edge.condition is EdgeCondition.CONDITIONAL and edge.condition_expr
    }


def successors(graph: GraphSpec) -> dict[str, set[str]]:
    """Return the direct successors of each node, by edges, by a router's routes, and after a pause.

    Out of a terminal node only its failure leads on.
    """
    found: dict[str, set[str]] = {node.id: set(node.routes.values()) for node in graph.nodes}
    for edge in graph.edges:
        if edge.source not in graph.terminal_nodes or edge.condition in _AFTER_FAILURE:
            found.setdefault(edge.source, set()).add(edge.target)
    for node in graph.pause_nodes:
        resume = graph.entry_points.get(f"{node}_resume")
        if resume is not None:
            found.setdefault(node, set()).add(resume)
    return found


def reachability(graph: GraphSpec) -> dict[str, frozenset[str]]:
    """Return, for each node, the nodes that can be entered after it (itself only through a cycle)."""
    direct = successors(graph)
    return {start: _found_from(direct[start], direct) for start in direct}


def _found_from(
    starts: Iterable[str], direct: Mapping[str, set[str]], *, up_to: str | None = None
) -> frozenset[str]:
    seen: set[str] = set()
    queue = list(starts)
    while queue:
        node = queue.pop()
        if node not in seen:
            seen.add(node)
            queue.extend(direct.get(node, ()) if node != up_to else ())
    return frozenset(seen)


def declared_keys(graph: GraphSpec) -> frozenset[str]:
    """Return every memory key that the graph mentions."""
    keys = {EVENT_KEY, *graph.memory_keys}
    for node in graph.nodes:
        keys.update(node.input_keys, node.output_keys, node.nullable_output_keys)
        if node.route_on:
            keys.add(node.route_on)
    for edge in graph.edges:
        keys.update(edge.input_mapping, edge.input_mapping.values())
    return frozenset(keys)


def hash_of(graph: GraphSpec) -> str:
    """Return 16 hex digits that name the shape of a graph; they change when the way of an execution could change.

    They cover the nodes (id, type, keys read and written, routes), the edges out of each node in the order in which
    they are tried (target, condition, expression, mapping, priority), the entry, the ends, the pauses and where a
    resume begins. They do not cover prompts, tools, models, limits and words, nor the order in which nodes or the keys
    of a mapping are written.
    """
    shape: dict[str, Any] = {
        "nodes": {node.id: _shape_of_node(node) for node in graph.nodes},
        "edges": {
            node.id: [_shape_of_edge(edge) for edge in graph.get_outgoing_edges(node.id)]
            for node in graph.nodes
        },
        "entry": graph.entry_node,
        "ends": sorted(set(graph.terminal_nodes)),
        "pauses": sorted(set(graph.pause_nodes)),
        "resumes": graph.entry_points,
    }
    text = json.dumps(shape, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _shape_of_node(node: NodeSpec) -> list[Any]:
    keys = [node.input_keys, node.output_keys, node.nullable_output_keys]
    return [node.node_type, keys, node.routes, node.route_on]


def _shape_of_edge(edge: EdgeSpec) -> list[Any]:
    condition = [edge.condition, edge.condition_expr]
    return [edge.target, condition, edge.input_mapping, edge.priority]
