"""What looks wrong in a graph that can run all the same."""

from __future__ import annotations

from difflib import get_close_matches

from hive_daemon.graph.edge import EdgeCondition
from hive_daemon.graph.expression import ExpressionError
from hive_daemon.graph.loop_config import unknown_keys
from hive_daemon.graph.node import FUNCTION, NodeSpec
from hive_daemon.graph.topology import EVENT_KEY, declared_keys, successors
from hive_daemon.graph.validation_view import Found, GraphView, expression_of

CONVERSATION_MODES = ("continuous", "isolated")

EXPRESSION_NAMES = frozenset({"output", "memory", "buffer", "result"})
"""What an expression may name besides memory keys."""


def _edges_out_of_ends(view: GraphView) -> Found:
    for where, edge in view.edges:
        if edge.source not in view.graph.terminal_nodes:
            continue
        if edge.condition is EdgeCondition.ALWAYS:
            yield (
                where,
                f"{edge.source!r} is a terminal node: this edge is followed only if it fails",
            )
        elif edge.condition is not EdgeCondition.ON_FAILURE:
            yield where, f"{edge.source!r} is a terminal node: this edge is never followed"


def _missing_inputs(view: GraphView) -> Found:
    """Inputs that nobody produces: no output, no edge, no shared key, and not the input of an entry node."""
    graph = view.graph
    if any(_writes_anything(node, view.registered) for node in graph.nodes):
        return
    starts = set(view.starts())
    known = {EVENT_KEY, *graph.memory_keys}
    for node in graph.nodes:
        known.update(node.output_keys, node.nullable_output_keys)
        if node.id in starts:
            known.update(node.input_keys)
    for edge in graph.edges:
        known.update(edge.input_mapping)
    for where, node in view.nodes:
        for key in node.input_keys:
            if key not in known:
                yield (
                    where,
                    f"nobody produces its input {key!r}: add it to the output_keys of a node before, or to the "
                    "input_keys of the entry node",
                )


def _writes_anything(node: NodeSpec, registered: frozenset[str]) -> bool:
    """Say whether a node may write keys that it does not declare."""
    is_code = node.node_type == FUNCTION or node.id in registered
    return is_code and not node.output_keys


def _unreachable(view: GraphView) -> Found:
    ways = successors(view.graph)
    for node in view.graph.nodes:
        ways.setdefault(node.id, set()).update(node.sub_agents)
    seen: set[str] = set()
    queue = view.starts()
    while queue:
        node_id = queue.pop()
        if node_id not in seen:
            seen.add(node_id)
            queue.extend(ways.get(node_id, ()))
    for where, spec in view.nodes:
        if spec.id not in seen:
            yield where, "no way leads here: add an edge or an entry point, or remove the node"


def _undeclared_names(view: GraphView) -> Found:
    declared = declared_keys(view.graph) | EXPRESSION_NAMES
    for where, edge in view.edges:
        if edge.condition is not EdgeCondition.CONDITIONAL:
            continue
        try:
            names = expression_of(edge).names
        except ExpressionError:
            continue  # an error already
        for name in sorted(names - declared):
            near = get_close_matches(name, declared, n=1)
            advice = (
                f"did you mean {near[0]!r}?" if near else "declare it in output_keys or memory_keys"
            )
            yield where, f"condition_expr names {name!r}, which nothing declares; {advice}"


def _loop_keys(view: GraphView) -> Found:
    for sentence in unknown_keys(view.graph.loop_config):
        yield f"graph {view.graph.id!r}", sentence


def _conversation_mode(view: GraphView) -> Found:
    mode = view.graph.conversation_mode
    if mode not in CONVERSATION_MODES:
        yield (
            f"graph {view.graph.id!r}",
            f"conversation_mode: {mode!r} is unknown and counts as isolated; write continuous or isolated",
        )


WARNINGS = (
    _edges_out_of_ends,
    _missing_inputs,
    _unreachable,
    _undeclared_names,
    _loop_keys,
    _conversation_mode,
)
"""The checks; each yields where something looks wrong, and what, with the remedy."""
