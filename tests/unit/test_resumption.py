"""Where an execution begins when a caller brings the state of an earlier one."""

import json

import pytest

from hive_daemon.errors import GraphChanged, IllegalMove, InvalidInput
from hive_daemon.graph.memory import Memory
from hive_daemon.graph.resumption import (
    added_by,
    answer_text,
    answers_in,
    check_graph,
    check_state,
    first_step,
)
from hive_daemon.graph.topology import Topology
from tests.fakes.graphs import HandWalk, edge, graph_of

CHAIN = graph_of(edge("a", "b"), edge("b", "c"), entry_points={"late": "c"}, pause_nodes=["b"])
TOPOLOGY = Topology.compile(CHAIN)


def begun(state, inputs=None, **settings):
    """Return the nodes that are started, and what memory holds."""
    step = first_step(TOPOLOGY, inputs or {}, state, **settings)
    return [command.node for command in step.commands], step.memory.read([0])


def test_without_a_state_it_begins_at_the_entry():
    assert begun({}, {"k": 1}) == (["a"], {"k": 1})
    assert begun({}, entry="b") == (["b"], {})


@pytest.mark.parametrize("key", ["memory", "data_buffer"])
def test_what_an_earlier_one_left_in_memory_is_there_and_inputs_win(key):
    assert begun({key: {"k": 1, "m": 2}}, {"k": 3}) == (["a"], {"k": 3, "m": 2})


@pytest.mark.parametrize(
    ("state", "node"),
    [
        ({"resume_from": "b"}, "b"),
        ({"resume_from": "late"}, "c"),
        ({"resume_from": "zzz"}, "a"),
        ({"paused_at": "b"}, "c"),
        ({"paused_at": "a"}, "a"),
        ({"paused_at": "zzz"}, "a"),
    ],
)
def test_a_state_without_its_walk_names_where_to_begin(state, node):
    assert begun(state)[0] == [node]


def test_steps_and_visits_count_on():
    state = {
        "resume_from": "b",
        "execution_path": ["a", "b"],
        "node_visit_counts": {"a": 1, "b": 1},
    }
    step = first_step(TOPOLOGY, {}, state)
    assert (step.state.steps, dict(step.state.visits)) == (3, {"a": 1, "b": 2})


def test_the_first_commit_holds_what_the_caller_brought():
    step = first_step(TOPOLOGY, {"more": 2}, {"memory": {"k": 1}, "paused_at": "b"})
    assert Memory().apply(step.writes).read([0]) == {"k": 1, "more": 2}


def test_the_exact_walk_goes_on_where_it_stood():
    graph = graph_of(edge("a", "b"), edge("a", "c"), edge("b", "z"), edge("c", "z"))
    walk = HandWalk(graph, {"k": 1})
    walk.done("a")
    walk.done("b", x=1)
    writes = walk.step.memory.writes()
    state = {
        "memory": {w.key: w.value for w in writes if w.scope == 0},
        "branch_writes": [list(w) for w in writes if w.scope],
        "walk": walk.step.state.to_json(),
    }
    step = first_step(walk.topology, {}, json.loads(json.dumps(state)))
    assert [command.node for command in step.commands] == ["c"]
    assert step.memory == walk.step.memory


def test_a_completed_walk_does_not_go_on():
    walk = HandWalk(graph_of(nodes={"a": {}}))
    walk.done("a")
    with pytest.raises(IllegalMove):
        first_step(walk.topology, {}, {"walk": walk.step.state.to_json()})


@pytest.mark.parametrize(
    "state",
    [
        {"memory": [1]},
        {"walk": "text"},
        {"execution_path": "ab"},
        {"node_visit_counts": 3},
        {"branch_writes": {}},
        {"walk": {}},
        {"walk": {"branches": 3}},
    ],
)
def test_a_state_that_cannot_be_read_is_refused(state):
    with pytest.raises(InvalidInput, match="session_state"):
        first_step(TOPOLOGY, {}, state)


def test_a_walk_at_a_node_that_is_gone_is_refused_and_the_node_named():
    walk = HandWalk(graph_of(nodes={"gone": {}}))
    with pytest.raises(GraphChanged, match="stands at gone, which the graph does not have"):
        check_graph(TOPOLOGY, walk.step.state, TOPOLOGY.graph_hash, accepts_change=True)


def test_a_walk_of_another_graph_is_refused_with_both_hashes_unless_that_is_accepted():
    state = HandWalk(graph_of(edge("a", "b"))).step.state
    with pytest.raises(GraphChanged) as refused:
        check_graph(TOPOLOGY, state, "0123456789abcdef")
    assert str(refused.value) == (
        f"the graph is {TOPOLOGY.graph_hash} now, the checkpoint is of 0123456789abcdef"
    )
    check_graph(TOPOLOGY, state, "0123456789abcdef", accepts_change=True)
    check_graph(TOPOLOGY, state, TOPOLOGY.graph_hash)
    check_graph(TOPOLOGY, state, "")


def test_a_session_state_says_of_which_graph_it_is_and_whether_a_change_is_accepted():
    walk = HandWalk(graph_of(edge("a", "b"))).step.state.to_json()
    state = {"walk": walk, "graph_hash": "0123456789abcdef"}
    with pytest.raises(GraphChanged):
        first_step(TOPOLOGY, {}, state)
    with pytest.raises(GraphChanged):
        check_state(TOPOLOGY, state)
    accepted = {**state, "accept_changed_graph": True}
    check_state(TOPOLOGY, accepted)
    assert [command.node for command in first_step(TOPOLOGY, {}, accepted).commands] == ["a"]


# --- answers ------------------------------------------------------------------------------------


def asking():
    """Return a walk in which b and c ask, b before c."""
    walk = HandWalk(graph_of(edge("a", "b"), edge("a", "c")))
    walk.done("a")
    walk.wait("c")
    walk.wait("b")
    return walk.step.state


@pytest.mark.parametrize(
    ("inputs", "answers"),
    [
        ({}, {}),
        ({"input": "yes"}, {"b": "yes"}),
        ({"c": "yes"}, {"c": "yes"}),
        ({"b": "one", "c": 2}, {"b": "one", "c": "2"}),
    ],
)
def test_an_input_answers_the_nodes_it_names_and_else_the_first(inputs, answers):
    assert answers_in(asking(), inputs) == answers


def test_words_for_a_node_are_no_value_unless_the_graph_knows_their_name():
    topology = Topology.compile(graph_of(edge("a", "b"), edge("a", "c"), memory_keys=["c"]))
    inputs = {"b": "yes", "c": "no", "more": 1}
    assert added_by(topology, inputs, {"b": "yes", "c": "no"}) == {"c": "no", "more": 1}


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"answer": "yes", "other": 1}, "yes"),
        ({"count": 3}, "3"),
        ({"one": [1, None], "two": "x"}, "one: [1,null]\ntwo: x"),
    ],
)
def test_what_a_person_said_is_the_plain_word_or_all_of_it(inputs, text):
    assert answer_text(inputs) == text
