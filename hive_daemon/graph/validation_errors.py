"""What refuses a graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from hive_daemon.graph.choice import route_key
from hive_daemon.graph.edge import EdgeCondition
from hive_daemon.graph.expression import ExpressionError
from hive_daemon.graph.loop_config import value_problems
from hive_daemon.graph.node import FUNCTION, NODE_TYPES, ROUTER
from hive_daemon.graph.validation_view import Found, GraphView, expression_of
from hive_daemon.ids import NAME_RULE, is_name

TRIGGER_WORDS = ("webhook", "api", "timer", "event", "manual")
ISOLATION_WORDS = ("isolated", "shared", "synchronized")

_FORMER_TYPES = {
    "llm_generate": "write node_type event_loop: a model loop does this",
    "llm_tool_use": "write node_type event_loop: a model loop does this",
    "gcu": "browser nodes are not supported: use an event_loop node with browser tools, or register a node of your own",
}


def _names(view: GraphView) -> Found:
    graph = view.graph
    named = [
        (f"graph {graph.id!r}", graph.id),
        *((where, node.id) for where, node in view.nodes),
        *((where, entry.id) for where, entry in view.entries),
    ]
    for where, name in named:
        if not is_name(name):
            yield where, f"{name!r} is not a valid name; {NAME_RULE}"


def _duplicates(view: GraphView) -> Found:
    groups: tuple[tuple[str, Sequence[tuple[str, str]]], ...] = (
        ("node", [(where, node.id) for where, node in view.nodes]),
        ("edge", [(where, edge.id) for where, edge in view.edges]),
        ("entry point", [(where, entry.id) for where, entry in view.entries]),
    )
    for kind, members in groups:
        first: dict[str, str] = {}
        for where, name in members:
            if name in first:
                place = first[name].split(" ", 1)[0]
                yield where, f"the {kind} id {name!r} is taken by {place}; give each {kind} its own"
            first.setdefault(name, where)


def _unknown_nodes(view: GraphView) -> Found:
    graph = view.graph
    if graph.entry_node not in view.node_ids:
        yield "entry_node", view.unknown("entry node", graph.entry_node)
    for role, listed in (
        ("terminal_nodes", graph.terminal_nodes),
        ("pause_nodes", graph.pause_nodes),
    ):
        for i, node in enumerate(listed):
            if node not in view.node_ids:
                yield f"{role}[{i}]", view.unknown(role.replace("_nodes", " node"), node)
    for name, node in graph.entry_points.items():
        if node not in view.node_ids:
            yield f"entry_points[{name!r}]", view.unknown("node", node)
    for where, entry in view.entries:
        if entry.entry_node and entry.entry_node not in view.node_ids:
            yield where, view.unknown("entry node", entry.entry_node)
    for where, edge in view.edges:
        for role, node in (("source", edge.source), ("target", edge.target)):
            if node not in view.node_ids:
                yield where, view.unknown(role, node)


def _node_types(view: GraphView) -> Found:
    for where, node in view.nodes:
        if node.node_type in NODE_TYPES or node.id in view.registered:
            continue
        known = ", ".join(NODE_TYPES)
        advice = _FORMER_TYPES.get(
            node.node_type, f"use one of {known}, or register a node of your own for this id"
        )
        yield where, f"node type {node.node_type!r} is unknown; {advice}"


def _routers(view: GraphView) -> Found:
    for where, node in view.nodes:
        if node.node_type == ROUTER and node.id not in view.registered:
            if not node.routes:
                yield (
                    where,
                    "a router needs routes: write routes: {value: node id, default: node id}",
                )
            if route_key(node) is None:
                yield (
                    where,
                    "a router needs a key to go by: write route_on, or give it an input key",
                )
        for value, target in node.routes.items():
            if target not in view.node_ids:
                yield where, view.unknown(f"the target of route {value!r},", target)


def _functions(view: GraphView) -> Found:
    for where, node in view.nodes:
        if node.node_type == FUNCTION and not node.function and node.id not in view.registered:
            yield where, "a function node needs a function: write function: module:attr"


def _conditions(view: GraphView) -> Found:
    for where, edge in view.edges:
        if edge.condition is not EdgeCondition.CONDITIONAL:
            continue
        if not (edge.condition_expr or "").strip():
            yield where, "a conditional edge needs a condition_expr, such as output.score > 0.8"
            continue
        try:
            expression_of(edge)
        except ExpressionError as error:
            yield where, f"condition_expr cannot be read: {error}"


def _same_keys(view: GraphView) -> Found:
    if "memory_conflict_strategy" in view.graph.parallel_config.model_fields_set:
        return
    for node, targets in view.fans():
        for one, other in combinations(targets, 2):
            keys = ", ".join(key for key in one.output_keys if key in other.output_keys)
            if keys:
                yield (
                    f"node {node.id!r}",
                    f"its parallel targets {one.id!r} and {other.id!r} both write {keys}; give them different output "
                    "keys, or set parallel_config.memory_conflict_strategy",
                )


def _faces(view: GraphView) -> Found:
    for node, targets in view.fans():
        facing = [target.id for target in targets if target.client_facing]
        if len(facing) > 1:
            yield (
                f"node {node.id!r}",
                f"several of its parallel targets face a person ({', '.join(facing)}); at most one may",
            )


def _entry_words(view: GraphView) -> Found:
    for where, entry in view.entries:
        for key, word, words in (
            ("trigger_type", entry.trigger_type, TRIGGER_WORDS),
            ("isolation_level", entry.isolation_level, ISOLATION_WORDS),
        ):
            if word not in words:
                yield where, f"{key} {word!r} is unknown; use one of {', '.join(words)}"


def _loop_values(view: GraphView) -> Found:
    for sentence in value_problems(view.graph.loop_config):
        yield f"graph {view.graph.id!r}", sentence


ERRORS = (
    _names,
    _duplicates,
    _unknown_nodes,
    _node_types,
    _routers,
    _functions,
    _conditions,
    _same_keys,
    _faces,
    _entry_words,
    _loop_values,
)
"""The checks; each yields where something is wrong, and what, with the remedy."""
