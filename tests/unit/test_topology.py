"""A graph compiled for walking."""

import pytest

from hive_daemon.graph.topology import Topology, declared_keys, hash_of
from tests.fakes.graphs import edge, graph_of


def test_what_can_be_entered_after_a_node():
    graph = graph_of(
        edge("a", "b"),
        edge("b", "a"),
        edge("b", "r"),
        edge("z", "b"),
        nodes={
            "r": {"node_type": "router", "routes": {"1": "p"}},
            "p": {},
            "later": {},
        },
        terminal_nodes=["z"],
        pause_nodes=["p"],
        entry_points={"p_resume": "later"},
    )
    reach = Topology.compile(graph).reach
    assert reach["a"] == {"a", "b", "r", "p", "later"}
    assert reach["r"] == {"p", "later"}
    assert reach["z"] == frozenset()


def test_a_terminal_node_leads_on_only_where_it_fails():
    graph = graph_of(edge("a", "b", "on_failure"), edge("a", "c"), terminal_nodes=["a"])
    assert Topology.compile(graph).reach["a"] == {"b"}


def test_a_fan_out_reaches_as_far_as_its_fork():
    graph = graph_of(edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("d", "a"))
    topology = Topology.compile(graph)
    assert topology.within("a", "b") == {"b", "d", "a"}
    assert topology.within("a", "c") == {"c"}
    assert topology.within("a", "a") == {"a"}
    assert topology.within("d", "b") == {"b", "d"}


@pytest.mark.parametrize(
    ("node", "custom", "attempts"),
    [
        ({"node_type": "function"}, (), 4),
        ({"node_type": "function", "max_retries": 2}, (), 2),
        ({"node_type": "function", "max_retries": 0}, (), 1),
        ({"node_type": "event_loop", "max_retries": 5}, (), 1),
        ({"node_type": "event_loop", "max_retries": 5}, ("a",), 5),
    ],
)
def test_attempts_are_counted_in_all_and_a_model_loop_has_one(node, custom, attempts):
    graph = graph_of(nodes={"a": node}, max_retries_per_node=4)
    assert Topology.compile(graph, custom).attempts("a") == attempts


def test_every_key_that_a_graph_mentions_is_declared():
    graph = graph_of(
        edge("a", "b", input_mapping={"e1": "e2"}),
        nodes={"a": {"input_keys": ["i"], "output_keys": ["o"], "route_on": "r"}},
        memory_keys=["m"],
    )
    assert declared_keys(graph) == {"event", "m", "i", "o", "r", "e1", "e2"}


def test_the_hash_changes_with_the_way_and_with_nothing_else():
    graph = graph_of(edge("a", "b"))
    same = graph_of(edge("a", "b", description="words"), description="words")
    assert hash_of(graph) == hash_of(same)
    others = [
        graph_of(edge("a", "b", "always")),
        graph_of(edge("a", "b"), edge("b", "a")),
        graph_of(edge("a", "b"), terminal_nodes=["b"]),
        graph_of(edge("a", "b"), nodes={"a": {"output_keys": ["x"]}}),
    ]
    assert len({hash_of(g) for g in (graph, *others)}) == 5
