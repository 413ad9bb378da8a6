"""The walk moved by hand: forks, joins, loops, failures, pauses, and what it refuses."""

import pytest

from hive_daemon.errors import IllegalMove
from hive_daemon.graph.edge import ParallelExecutionConfig
from hive_daemon.graph.input_policy import INPUT_NEEDED
from hive_daemon.graph.resumption import asking_nodes
from hive_daemon.graph.walk import advance
from hive_daemon.graph.walk_state import EdgesDecided, NodeDone, NodeWaits, OutcomeKind, Stop
from tests.fakes.graphs import HandWalk, edge, graph_of


def test_a_branch_of_any_depth_is_awaited_where_it_joins():
    graph = graph_of(edge("a", "d"), edge("a", "b"), edge("b", "c"), edge("c", "z"), edge("d", "z"))
    walk = HandWalk(graph)
    for node in ("a", "d", "b", "c"):
        walk.done(node)
    assert walk.path == ["a", "d", "b", "c", "z"]
    walk.done("z")
    assert walk.kind == "completed"


def test_a_join_waits_for_nobody_who_went_elsewhere():
    graph = graph_of(
        edge("a", "b"), edge("a", "c"), edge("b", "z"), edge("c", "z", expr="false"), edge("c", "d")
    )
    walk = HandWalk(graph)
    walk.done("a")
    walk.done("b")
    assert walk.phases["z"] == "waiting"
    walk.done("c")
    assert walk.phases == {"z": "running", "d": "running"}


def test_branches_that_lead_back_to_their_fork_meet_before_it():
    walk = HandWalk(graph_of(edge("a", "b"), edge("a", "c"), edge("b", "a"), edge("c", "a")))
    for node in ("a", "b"):
        walk.done(node)
    assert walk.phases == {"a": "waiting", "c": "running"}
    walk.done("c")
    assert walk.path == ["a", "b", "c", "a"]
    assert len(walk.step.state.branches) == 1


def test_a_branch_that_stays_at_its_fork_waits_for_those_that_come_back():
    walk = HandWalk(graph_of(edge("a", "a"), edge("a", "b"), edge("b", "a")))
    walk.done("a")
    assert walk.phases == {"a": "waiting", "b": "running"}
    walk.done("b")
    assert walk.path == ["a", "b", "a"]


def test_a_loop_that_passes_its_fork_is_not_awaited_by_those_that_went_elsewhere():
    walk = HandWalk(graph_of(edge("poll", "work"), edge("poll", "alert"), edge("work", "poll")))
    walk.done("poll")
    walk.done("work")
    assert walk.path == ["poll", "work", "alert", "poll"]


def test_no_node_runs_twice_at_once():
    walk = HandWalk(graph_of(edge("poll", "work"), edge("poll", "alert"), edge("work", "poll")))
    for node in ("poll", "work", "poll"):
        walk.done(node)
    alerts = {b.phase.value: b.id for b in walk.step.state.branches if b.node == "alert"}
    assert alerts.keys() == {"running", "waiting"}
    walk.tell(NodeDone(alerts["running"], True))
    assert walk.step.state.branch(alerts["waiting"]).phase == "running"


def test_siblings_do_not_see_each_other_and_what_they_wrote_is_merged_where_they_meet():
    graph = graph_of(
        edge("a", "b"),
        edge("a", "c"),
        edge("b", "z"),
        edge("c", "z"),
        nodes={"b": {"output_keys": ["x"]}, "c": {"output_keys": ["y"]}},
    )
    walk = HandWalk(graph, {"k": 1})
    walk.done("a")
    walk.done("b", x=1)
    assert walk.memory == {"k": 1}
    walk.done("c", y=2)
    assert walk.memory == {"k": 1, "x": 1, "y": 2}


def test_a_conflict_fails_the_walk_where_the_strategy_is_error():
    graph = graph_of(
        edge("a", "b"),
        edge("a", "c"),
        edge("b", "z"),
        edge("c", "z"),
        nodes={"b": {"output_keys": ["x"]}, "c": {"output_keys": ["x"]}},
        parallel_config=ParallelExecutionConfig(memory_conflict_strategy="error"),
    )
    walk = HandWalk(graph)
    walk.done("a")
    walk.done("c", x=1)
    walk.done("b", x=2)
    assert (walk.kind, walk.outcome.code) == ("failed", "merge_conflict")
    assert walk.outcome.error == "two branches of a fan-out wrote the key 'x'"


def test_a_later_write_wins_over_the_one_it_knew_of():
    graph = graph_of(
        edge("a", "b"), edge("a", "c"), edge("b", "z"), edge("c", "z"), edge("z", "b2"),
        nodes={n: {"output_keys": ["x"]} for n in ("b", "c", "z")},
    )  # fmt: skip
    walk = HandWalk(graph)
    walk.done("a")
    walk.done("b", x=1)
    walk.done("c", x=2)
    walk.done("z", x=3)
    assert walk.memory == {"x": 3}


def test_a_failed_branch_stops_the_others():
    walk = HandWalk(graph_of(edge("a", "b"), edge("a", "c")))
    walk.done("a")
    other = walk.branch("c").id
    walk.fail("b", "broken", "bad")
    assert (walk.kind, walk.outcome.node, walk.outcome.code) == ("failed", "b", "bad")
    assert walk.step.commands == (Stop(other),)


def test_nothing_follows_an_outcome():
    walk = HandWalk(graph_of(nodes={"a": {}}))
    branch = walk.branch("a").id
    walk.done("a")
    with pytest.raises(IllegalMove):
        advance(walk.topology, walk.step.state, walk.step.memory, NodeDone(branch, True))
    with pytest.raises(IllegalMove):
        walk.go_on()


@pytest.mark.parametrize("report", [NodeDone(99, True), EdgesDecided(1, frozenset())])
def test_a_report_that_nobody_waits_for_is_refused(report):
    walk = HandWalk(graph_of(nodes={"a": {}}))
    with pytest.raises(IllegalMove):
        walk.tell(report)


def test_with_hold_nothing_is_started_and_the_walk_can_be_put_away():
    walk = HandWalk(graph_of(edge("a", "b")))
    walk.done("a", hold=True)
    assert (walk.step.commands, walk.kind, walk.phases) == ((), None, {"b": "waiting"})
    walk.go_on()
    assert walk.running == ["b"]


def test_a_decision_is_asked_once_and_followed():
    graph = graph_of(edge("a", "b", "llm_decide"), edge("a", "c", "llm_decide"), edge("a", "d"))
    walk = HandWalk(graph)
    walk.done("a")
    assert walk.running == ["a"]
    walk.decide("a", "c")
    assert walk.path == ["a", "c", "d"]


def test_a_node_may_send_the_walk_anywhere_in_the_graph_and_nowhere_else():
    walk = HandWalk(graph_of(edge("a", "b"), nodes={"c": {}}))
    walk.done("a", next_node="c")
    assert walk.path == ["a", "c"]
    walk.done("c", next_node="zzz")
    assert (walk.kind, walk.outcome.code) == ("failed", "unknown_node")


def test_what_an_earlier_visit_left_in_nullable_keys_is_cleared():
    graph = graph_of(
        edge("a", "a"), nodes={"a": {"output_keys": ["x", "y"], "nullable_output_keys": ["y"]}}
    )
    walk = HandWalk(graph)
    walk.done("a", x=1, y=2)
    assert walk.memory == {"x": 1, "y": None}


def test_a_question_in_a_branch_parks_when_the_others_have_ended():
    walk = HandWalk(graph_of(edge("a", "b"), edge("a", "c"), edge("b", "z"), edge("c", "z")))
    walk.done("a")
    walk.wait("b", "which?")
    assert walk.kind is None
    walk.done("c")
    assert (walk.kind, walk.outcome.node) == ("waiting_input", "b")
    walk.go_on(b="this one")
    (command,) = walk.step.commands
    assert (command.node, command.answer, command.answers) == ("b", "this one", 1)


def test_a_question_with_an_answer_given_beforehand_goes_on_at_once_and_is_told():
    walk = HandWalk(graph_of(nodes={"a": {}}))
    asks = NodeWaits(walk.branch("a").id, OutcomeKind.WAITING_INPUT, "who?", answer="me")
    (command,) = walk.tell(asks).commands
    assert (command.node, command.answer, command.answers) == ("a", "me", 1)
    assert walk.outcome is None
    assert [fact.kind for fact in walk.facts[-2:]] == [
        "client_input_requested",
        "client_input_received",
    ]


def test_an_answer_given_beforehand_is_not_lost_when_the_walk_is_held():
    walk = HandWalk(graph_of(nodes={"a": {}}))
    asks = NodeWaits(walk.branch("a").id, OutcomeKind.WAITING_INPUT, "who?", answer="me")
    assert walk.tell(asks, hold=True).commands == ()
    (command,) = walk.go_on().commands
    assert (command.node, command.answer, command.answers) == ("a", "me", 1)


def test_what_failed_because_nobody_was_asked_goes_on_with_an_answer():
    walk = HandWalk(graph_of(nodes={"a": {}}))
    walk.fail("a", code=INPUT_NEEDED)
    assert asking_nodes(walk.step.state) == ["a"]
    walk.go_on(a="me")
    (command,) = walk.step.commands
    assert (command.node, command.answer, command.answers) == ("a", "me", 1)


def test_what_failed_otherwise_takes_no_answer():
    walk = HandWalk(graph_of(nodes={"a": {}}))
    walk.fail("a", code="broken")
    assert asking_nodes(walk.step.state) == []
    walk.go_on(a="me")
    (command,) = walk.step.commands
    assert (command.node, command.answer) == ("a", None)


def test_an_unanswered_question_stays_where_others_go_on():
    walk = HandWalk(graph_of(edge("a", "b"), edge("a", "c")))
    walk.done("a")
    walk.wait("b")
    walk.wait("c")
    walk.go_on(c="yes")
    assert (walk.running, walk.phases) == (["c"], {"b": "parked", "c": "running"})
