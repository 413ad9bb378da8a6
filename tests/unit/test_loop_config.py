"""The limits of a loop, as a graph writes them."""

import pytest

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.errors import ConfigError
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.event_loop_node import EventLoopNode
from hive_daemon.graph.loop_config import LoopConfig, loop_config, unknown_keys, value_problems
from hive_daemon.graph.loop_factory import loop_maker
from hive_daemon.graph.node import NodeSpec


def test_known_keys_are_taken_over():
    config = loop_config({"max_iterations": 7, "tool_call_timeout_seconds": 5})
    assert config == LoopConfig(max_iterations=7, tool_call_timeout_seconds=5)


@pytest.mark.parametrize("name", ["max_history_tokens", "max_context_tokens"])
def test_the_window_has_two_names(name):
    assert loop_config({name: 9_000}).max_history_tokens == 9_000


def test_a_node_that_faces_a_person_may_take_longer():
    assert loop_config({}, is_client_facing=True).max_iterations == 100
    assert loop_config({"max_iterations": 3}, is_client_facing=True).max_iterations == 3


def test_unknown_keys_are_named_with_the_nearest_one():
    assert unknown_keys({"max_iteration": 3, "max_iterations": 3}) == [
        "loop_config.max_iteration is unknown and has no effect; did you mean max_iterations?"
    ]
    assert "known keys: judge_every_n_turns" in unknown_keys({"hooks": {}})[0]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_iterations": 0}, "0 does not fit, write a whole number above 0"),
        ({"max_iterations": 2.5}, "2.5 does not fit, write a whole number above 0"),
        ({"max_stream_retries": -1}, "-1 does not fit, write a whole number of at least 0"),
        ({"tool_call_timeout_seconds": "60"}, "'60' does not fit, write a number above 0"),
        ({"tool_doom_loop_enabled": "no"}, "'no' does not fit, write true or false"),
        ({"max_context_tokens": True}, "True does not fit, write a whole number above 0"),
        ({"spillover_dir": 3}, "3 does not fit, write a text"),
    ],
)
def test_values_that_do_not_fit_are_refused(settings, problem):
    (key,) = settings
    assert value_problems(settings) == [f"loop_config.{key}: {problem}"]
    with pytest.raises(ConfigError, match=f"loop_config.{key}"):
        loop_config(settings)


def test_fitting_values_have_no_problems():
    fits = {"max_stream_retries": 0, "spillover_dir": None, "tool_call_overflow_margin": 1}
    assert value_problems(fits) == []


def test_the_hard_limit_of_tool_calls_has_a_margin():
    assert LoopConfig(max_tool_calls_per_turn=3).hard_tool_limit == 4


def test_a_graph_makes_its_loops_with_its_limits():
    graph = GraphSpec(id="g", entry_node="a", loop_config={"max_tool_calls_per_turn": 2})
    made = loop_maker(graph, SYSTEM_CLOCK)(NodeSpec(id="a"))
    assert isinstance(made, EventLoopNode)
