"""Which edges a walk follows out of a node: a pure choice over what the node answered and what memory holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hive_daemon.graph.edge import EdgeCondition, EdgeSpec
from hive_daemon.graph.expression import ExpressionError, UndefinedName
from hive_daemon.graph.facts import EdgeError
from hive_daemon.graph.node import NodeSpec

if TYPE_CHECKING:
    from hive_daemon.graph.topology import Topology

DEFAULT_ROUTE = "default"
_SURE = (EdgeCondition.ALWAYS, EdgeCondition.ON_SUCCESS)


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """How a node ended, as edges see it."""

    node: str
    success: bool
    output: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """The edges that match, those that a model must decide on, and what went wrong while choosing."""

    edges: tuple[EdgeSpec, ...] = ()
    asked: tuple[EdgeSpec, ...] = ()
    faults: tuple[EdgeError, ...] = ()


def choose(topology: Topology, end: NodeEnd, memory: Mapping[str, Any]) -> Choice:
    """Choose the edges to follow.

    Laws: after a success, `on_failure` never matches; of the matching conditional edges only those of the highest
    priority count; after a failure one edge is followed at most, `on_failure` before `always`, and no condition
    is evaluated, since there is no output to judge.
    """
    if not end.success:
        return topology.handlers[end.node]
    faults: list[EdgeError] = []
    names = _Names(topology, end.output, memory)
    matched: list[EdgeSpec] = []
    asked: list[EdgeSpec] = []
    for edge in topology.outgoing[end.node]:
        if edge.condition is EdgeCondition.LLM_DECIDE:
            asked.append(edge)
        elif edge.condition in _SURE or (
            edge.condition is EdgeCondition.CONDITIONAL and _holds(names, edge, faults)
        ):
            matched.append(edge)
    return Choice(_best(matched), tuple(asked), tuple(faults))


def sure_choice(edges: Sequence[EdgeSpec]) -> Choice | None:
    """Return what follows every success of a node with these edges; None if that depends on something."""
    if any(
        edge.condition in (EdgeCondition.CONDITIONAL, EdgeCondition.LLM_DECIDE) for edge in edges
    ):
        return None
    return Choice(tuple(edge for edge in edges if edge.condition in _SURE))


def handler_choice(edges: Sequence[EdgeSpec]) -> Choice:
    """Return what follows the failure of a node with these edges: one edge at most."""
    for condition in (EdgeCondition.ON_FAILURE, EdgeCondition.ALWAYS):
        for edge in edges:
            if edge.condition is condition:
                return Choice((edge,))
    return Choice()


def after_decision(topology: Topology, node: str, followed: frozenset[str]) -> tuple[EdgeSpec, ...]:
    """Return the edges of `node` named in `followed`, in the order in which they are always followed."""
    return tuple(edge for edge in topology.outgoing[node] if edge.id in followed)


def map_inputs(
    edge: EdgeSpec, output: Mapping[str, Any], memory: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an edge's `input_mapping` hands on: from the output, else from memory, else nothing."""
    mapped: dict[str, Any] = {}
    for target, source in edge.input_mapping.items():
        if source in output:
            mapped[target] = output[source]
        elif source in memory:
            mapped[target] = memory[source]
    return mapped


def route_key(node: NodeSpec) -> str | None:
    """Return the memory key that a router looks at."""
    return node.route_on or (node.input_keys[0] if node.input_keys else None)


def route_word(node: NodeSpec, values: Mapping[str, Any]) -> str:
    """Return the value a router goes by, as it is written in `routes`; the text `None` for one that is not set."""
    value = values.get(route_key(node) or "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def route(node: NodeSpec, values: Mapping[str, Any]) -> str | None:
    """Return where a router sends the walk: by its value, else by `default`; None without either."""
    return node.routes.get(route_word(node, values), node.routes.get(DEFAULT_ROUTE))


def _best(matched: list[EdgeSpec]) -> tuple[EdgeSpec, ...]:
    conditional = [e.priority for e in matched if e.condition is EdgeCondition.CONDITIONAL]
    if len(conditional) < 2:
        return tuple(matched)
    top = max(conditional)
    return tuple(
        edge
        for edge in matched
        if edge.condition is not EdgeCondition.CONDITIONAL or edge.priority == top
    )


def _holds(names: _Names, edge: EdgeSpec, faults: list[EdgeError]) -> bool:
    condition = names.topology.conditions.get(edge.id)
    if condition is None:
        return True
    while True:
        try:
            return condition.truth(names)
        except UndefinedName as missing:
            names.forgive(missing.name)
            error = f"{missing.name!r} is declared nowhere in the graph; it counts as None"
        except ExpressionError as wrong:
            faults.append(EdgeError(edge.source, edge.id, condition.text, str(wrong)))
            return False
        faults.append(EdgeError(edge.source, edge.id, condition.text, error))


class _Names(Mapping[str, object]):
    """What an expression may name: output, memory (also as buffer), result, and every memory key."""

    def __init__(
        self, topology: Topology, output: Mapping[str, Any], memory: Mapping[str, Any]
    ) -> None:
        self.topology = topology
        self._values: dict[str, Any] = {**memory}
        self._values.setdefault("result", output.get("result"))
        self._values.update(output=output, memory=memory, buffer=memory)
        self._forgiven: set[str] = set()

    def forgive(self, name: str) -> None:
        """Let an undeclared name be None from now on."""
        self._forgiven.add(name)

    def __getitem__(self, name: str) -> object:
        if name in self._values:
            return self._values[name]
        if name in self.topology.declared or name in self._forgiven:
            return None
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
