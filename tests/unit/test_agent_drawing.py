"""Drawing the graph of an agent folder."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.graph.edge import EdgeCondition, EdgeSpec, GraphSpec
from hive_daemon.graph.node import NodeSpec
from hive_daemon.runner.drawing import drawn
from hive_daemon.runner.layout import Stop, Way, layout_of
from hive_daemon.runner.mermaid import mermaid
from hive_daemon.runtime.entry_point import EntryPointSpec


def graph(nodes, edges, **more):
    return GraphSpec(
        id="g",
        entry_node=nodes[0],
        nodes=[NodeSpec(id=name) for name in nodes],
        edges=[
            EdgeSpec(id=f"{a}-{b}", source=a, target=b, condition=EdgeCondition.ON_SUCCESS)
            for a, b in edges
        ],
        **more,
    )


def lines(*args, **more):
    return drawn(layout_of(graph(*args, **more)))


def test_a_chain_leads_down():
    assert lines(["a", "b"], [("a", "b")]) == [
        "    a  event_loop",
        "╭── on success → b",
        "│",
        "╰─▶ b  event_loop",
    ]


def test_a_loop_leads_up_and_to_itself():
    assert lines(["a", "b"], [("a", "b"), ("b", "a"), ("b", "b")]) == [
        "╭─────▶ a  event_loop",
        "│   ╭── on success → b",
        "│   │",
        "│ ╭─┴─▶ b  event_loop",
        "╰─┼──── on success → a",
        "  ╰──── on success → b",
    ]


def test_ways_to_one_node_share_a_rail():
    assert lines(["a", "b", "c"], [("a", "b"), ("a", "c"), ("b", "c")]) == [
        "      a  event_loop",
        "  ╭── on success → b",
        "╭─┼── on success → c",
        "│ │",
        "│ ╰─▶ b  event_loop",
        "├──── on success → c",
        "│",
        "╰───▶ c  event_loop",
    ]


def test_nodes_that_nothing_leads_to_come_last_and_are_not_pointed_at():
    assert lines(["a", "island"], [])[-1] == "  island  event_loop"


def test_ways_from_and_to_nowhere_are_left_out():
    assert layout_of(graph(["a"], [("a", "x"), ("x", "a")])).ways == ()


def test_what_is_special_about_a_node_is_said():
    node = NodeSpec(
        id="a", client_facing=True, tools=["look", "see"], max_node_visits=3, model="openai/x"
    )
    spec = GraphSpec(
        id="g", entry_node="a", nodes=[node], edges=[], terminal_nodes=["a"], pause_nodes=["a"]
    )
    points = [
        EntryPointSpec(id="default"),
        EntryPointSpec(id="nightly", entry_node="a", trigger_type="timer"),
    ]
    (stop,) = layout_of(spec, points).stops
    assert stop.marks == (
        "begins default, nightly (timer)",
        "asks people",
        "pauses",
        "ends",
        "at most 3 visits",
        "tools look, see",
        "model openai/x",
    )


def test_every_kind_of_way_has_its_words():
    router = NodeSpec(
        id="r", node_type="router", route_on="kind", routes={"bill": "a", "default": "b"}
    )
    spec = GraphSpec(
        id="g",
        entry_node="r",
        entry_points={"b_resume": "r"},
        pause_nodes=["b"],
        nodes=[router, NodeSpec(id="a"), NodeSpec(id="b")],
        edges=[
            EdgeSpec(
                id="1", source="a", target="b", condition="conditional", condition_expr="x\n> 1"
            ),
            EdgeSpec(id="2", source="a", target="r", condition="always", priority=-1),
            EdgeSpec(id="3", source="a", target="a", condition="on_failure", priority=-2),
            EdgeSpec(id="4", source="b", target="a", condition="llm_decide"),
        ],
    )
    layout = layout_of(spec)
    assert [(way.source, way.label, way.priority) for way in layout.ways] == [
        ("r", "if kind is bill", 0),
        ("r", "otherwise", 0),
        ("b", "if the model says so", 0),
        ("b", "after the pause", 0),
        ("a", "if x > 1", 0),
        ("a", "always", -1),
        ("a", "on failure", -2),
    ]
    assert "─ always, priority -1 → r" in "\n".join(drawn(layout))


def test_without_a_wide_alphabet_the_drawing_is_ascii():
    layout = layout_of(graph(["a", "b"], [("a", "b"), ("b", "a")]))
    assert all(line.isascii() for line in drawn(layout, is_plain=True))


def test_mermaid_is_a_flowchart():
    spec = graph(["a", "b"], [("a", "b")])
    assert mermaid(layout_of(spec)) == (
        'flowchart TD\n    n0("a")\n    n1("b")\n    n0 -->|"on success"| n1\n'
    )


def test_nothing_that_a_graph_says_is_read_as_mermaid():
    edge = EdgeSpec(
        id="e", source="a", target="a", condition="conditional", condition_expr='x == "]|<b>;#&%%"'
    )
    spec = GraphSpec(id="g", entry_node="a", nodes=[NodeSpec(id="a")], edges=[edge])
    said = mermaid(layout_of(spec)).splitlines()[-1]
    label = re.fullmatch(r'    n0 -->\|"(.*)"\| n0', said)[1]
    assert re.fullmatch(r"(?:[\w .,:/()'=-]|#\d+;)*", label)


# --- laws ---------------------------------------------------------------------------------------

NAMES = st.sampled_from("abcdefgh")
GRAPHS = st.lists(st.tuples(NAMES, NAMES), max_size=20).map(
    lambda edges: graph(
        sorted({"a", *(end for edge in edges for end in edge)}), list(dict.fromkeys(edges))
    )
)


@given(GRAPHS)
@settings(max_examples=100, deadline=None)
def test_every_node_and_every_way_is_laid_out_once(spec):
    layout = layout_of(spec)
    assert sorted(stop.id for stop in layout.stops) == sorted(node.id for node in spec.nodes)
    assert sorted(way.id for way in layout.ways) == sorted(edge.id for edge in spec.edges)
    assert [line for line in layout.lines if isinstance(line, Stop)] == list(layout.stops)
    assert [line for line in layout.lines if isinstance(line, Way)] == list(layout.ways)


@given(GRAPHS)
@settings(max_examples=100, deadline=None)
def test_rails_of_one_lane_do_not_touch(spec):
    rails = layout_of(spec).rails
    for at, one in enumerate(rails):
        for other in rails[at + 1 :]:
            apart = one.span[1] < other.span[0] or other.span[1] < one.span[0]
            assert one.lane != other.lane or apart


@given(GRAPHS)
@settings(max_examples=100, deadline=None)
def test_without_a_loop_every_way_from_the_entry_on_leads_down(spec):
    edges = [edge for edge in spec.edges if edge.source < edge.target]
    reached = {"a"}
    for edge in sorted(edges, key=lambda edge: edge.source):
        if edge.source in reached:
            reached.add(edge.target)
    layout = layout_of(spec.model_copy(update={"edges": edges}))
    row = {stop.id: at for at, stop in enumerate(layout.stops)}
    ways = [way for way in layout.ways if way.source in reached]
    assert all(row[way.source] < row[way.target] for way in ways)


@given(GRAPHS)
@settings(max_examples=100, deadline=None)
def test_every_rail_in_the_drawing_can_be_followed_from_its_way_to_its_node(spec):
    layout = layout_of(spec)
    rows = drawn(layout)
    lanes = max((rail.lane for rail in layout.rails), default=-1) + 1
    for rail in layout.rails:
        column = 2 * (lanes - 1 - rail.lane)
        first, last = rail.span
        shown = [rows[line].ljust(column + 1)[column] for line in range(first, last + 1)]
        assert shown[0] in "╭┬"
        assert shown[-1] in "╰┴"
        assert set(shown[1:-1]) <= set("│├┼")
        assert rows[rail.end][2 * lanes] == "▶"
