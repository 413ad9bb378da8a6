"""A graph laid out for looking at: its nodes in reading order, its ways, and the rails that the ways run on. Pure.

Laws: every node is in it once and every way of the graph once; among the nodes that the graph's entry leads to, ways
lead down unless they close a loop; no two rails of one lane touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hive_daemon.graph.edge import EdgeCondition, EdgeSpec, GraphSpec
from hive_daemon.graph.node import EVENT_LOOP, HUMAN_INPUT, NodeSpec
from hive_daemon.runtime.entry_point import EntryPointSpec, TriggerType

_LABELS = {
    EdgeCondition.ALWAYS: "always",
    EdgeCondition.ON_SUCCESS: "on success",
    EdgeCondition.ON_FAILURE: "on failure",
    EdgeCondition.LLM_DECIDE: "if the model says so",
}


@dataclass(frozen=True, slots=True)
class Stop:
    """A node: `marks` say in words what is special about it."""

    id: str
    name: str
    node_type: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """A way from one node to another. `kind` is the edge's condition, `route` or `after_pause`."""

    source: str
    target: str
    kind: str
    label: str
    priority: int = 0
    id: str = ""


@dataclass(frozen=True, slots=True)
class Rail:
    """Where ways to one target run, on one side of it: `starts` are the lines of the ways, `end` is the target's."""

    lane: int
    starts: tuple[int, ...]
    end: int

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last line."""
        return min(*self.starts, self.end), max(*self.starts, self.end)


@dataclass(frozen=True, slots=True)
class Layout:
    """A graph in lines: each node, its ways below it, an empty line. Lane 0 is the one next to the text."""

    graph_id: str
    stops: tuple[Stop, ...]
    ways: tuple[Way, ...]
    lines: tuple[Stop | Way | None, ...]
    rails: tuple[Rail, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return nodes and edges as JSON values, in reading order."""
        nodes, edges = ([asdict(each) for each in found] for found in (self.stops, self.ways))
        return {"graph_id": self.graph_id, "nodes": nodes, "edges": edges}


def layout_of(graph: GraphSpec, entry_points: Iterable[EntryPointSpec] = ()) -> Layout:
    """Lay a graph out. Ways from or to nodes that it does not have are left out."""
    nodes = {node.id: node for node in graph.nodes}
    ways: dict[str, list[Way]] = {name: [] for name in nodes}
    for way in _ways(graph):
        if way.source in nodes and way.target in nodes:
            ways[way.source].append(way)
    begun = _begun(graph, entry_points)
    order = reading_order([*begun, *nodes], ways)
    stops = tuple(_stop(nodes[name], graph, begun.get(name, ())) for name in order)
    lines: list[Stop | Way | None] = []
    for stop in stops:
        lines += [stop, *ways[stop.id], None]
    listed = tuple(way for stop in stops for way in ways[stop.id])
    return Layout(graph.id, stops, listed, tuple(lines[:-1]), rails_of(lines))


def reading_order(starts: Iterable[str], ways: Mapping[str, list[Way]]) -> list[str]:
    """Return the nodes so that ways lead down, except those that close a loop; what a start leads to follows it."""
    seen: set[str] = set()
    order: list[str] = []
    for start in starts:
        if start in ways and start not in seen:
            order += _down_from(start, ways, seen)
    return order


def _down_from(start: str, ways: Mapping[str, list[Way]], seen: set[str]) -> list[str]:
    """Return what is reached from a start, in reverse postorder: the first way of a node is read first."""
    seen.add(start)
    left: list[str] = []
    open_nodes = [(start, iter(reversed(ways[start])))]
    while open_nodes:
        node, rest = open_nodes[-1]
        fresh = next((way.target for way in rest if way.target not in seen), None)
        if fresh is None:
            left.append(node)
            open_nodes.pop()
        else:
            seen.add(fresh)
            open_nodes.append((fresh, iter(reversed(ways[fresh]))))
    return left[::-1]


def rails_of(lines: Iterable[Stop | Way | None]) -> tuple[Rail, ...]:
    """Return the rails of the ways: one for each target and direction, short ones next to the text."""
    numbered = list(enumerate(lines))
    place = {line.id: number for number, line in numbered if isinstance(line, Stop)}
    starts: dict[tuple[int, bool], list[int]] = {}
    for number, line in numbered:
        if isinstance(line, Way):
            end = place[line.target]
            starts.setdefault((end, number < end), []).append(number)
    found = [Rail(0, tuple(numbers), end) for (end, _), numbers in starts.items()]
    found.sort(key=lambda rail: (rail.span[1] - rail.span[0], rail.span))
    laid: list[Rail] = []
    for rail in found:
        taken = {other.lane for other in laid if _touch(rail, other)}
        lane = next(lane for lane in range(len(laid) + 1) if lane not in taken)
        laid.append(Rail(lane, rail.starts, rail.end))
    return tuple(laid)


def _touch(one: Rail, other: Rail) -> bool:
    return one.span[0] <= other.span[1] and other.span[0] <= one.span[1]


# --- what a graph says --------------------------------------------------------------------------


def _ways(graph: GraphSpec) -> Iterator[Way]:
    for node in graph.nodes:
        for edge in graph.get_outgoing_edges(node.id):
            yield Way(
                edge.source, edge.target, edge.condition, _label(edge), edge.priority, edge.id
            )
        on = node.route_on or next(iter(node.input_keys), "value")
        for value, target in node.routes.items():
            label = "otherwise" if value == "default" else f"if {on} is {value}"
            yield Way(node.id, target, "route", label)
        resume = graph.entry_points.get(f"{node.id}_resume")
        if resume is not None and node.id in graph.pause_nodes:
            yield Way(node.id, resume, "after_pause", "after the pause")


def _label(edge: EdgeSpec) -> str:
    if edge.condition is EdgeCondition.CONDITIONAL:
        return f"if {' '.join((edge.condition_expr or '').split())}"
    return _LABELS[edge.condition]


def _begun(graph: GraphSpec, entry_points: Iterable[EntryPointSpec]) -> dict[str, list[str]]:
    """Return the entry points by the node that they begin at, the graph's entry first."""
    found: dict[str, list[str]] = {graph.entry_node: []}
    for spec in entry_points:
        how = "" if spec.trigger_type == TriggerType.MANUAL else f" ({spec.trigger_type})"
        found.setdefault(spec.entry_node or graph.entry_node, []).append(f"{spec.id}{how}")
    return found


def _stop(node: NodeSpec, graph: GraphSpec, begun: Iterable[str]) -> Stop:
    marks = [
        *([f"begins {', '.join(begun)}"] if begun else []),
        *(["asks people"] if node.client_facing or node.node_type == HUMAN_INPUT else []),
        *(["pauses"] if node.id in graph.pause_nodes else []),
        *(["ends"] if node.id in graph.terminal_nodes else []),
        *([f"at most {node.max_node_visits} visits"] if node.max_node_visits > 1 else []),
        *([f"tools {', '.join(node.tools)}"] if node.tools else []),
        *([f"model {node.model}"] if node.model and node.node_type == EVENT_LOOP else []),
    ]
    return Stop(node.id, node.label, node.node_type, tuple(marks))
