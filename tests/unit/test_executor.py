"""The graph executor on real nodes: failures, retries, limits, pauses, branches."""

import asyncio
import json

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.graph.edge import ParallelExecutionConfig
from hive_daemon.graph.executor import ExecutionResult, GraphExecutor
from tests.fakes.clock import FakeClock
from tests.fakes.graphs import GOAL, edge, graph_of


def nothing():
    return None


async def never():
    await asyncio.Event().wait()


class Failing:
    """A function that fails so many times."""

    def __init__(self, times=1_000, error=ValueError):
        self.times, self.error, self.calls = times, error, 0

    async def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error("no such order")
        return {"x": self.calls}


def graph_by(*edges, functions=None, nodes=None, **fields):
    """Return a graph of function nodes; those that are not given do nothing."""
    graph = graph_of(*edges, nodes=nodes, **fields)
    for node in graph.nodes:
        if node.node_type == "function" and node.function is None:
            node.function = (functions or {}).get(node.id, nothing)
    return graph


async def run(graph, inputs=None, state=None, **settings):
    return await GraphExecutor(**settings).execute(graph, GOAL, inputs, state)


# --- failures -----------------------------------------------------------------------------------


async def test_a_mistake_of_the_configuration_is_not_tried_again():
    failing = Failing(error=ConfigError)
    result = await run(graph_by(functions={"a": failing}, nodes={"a": {"max_retries": 8}}))
    assert (result.error, failing.calls) == ("no such order", 1)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_a_node_that_would_end_the_process_fails(error):
    class Leaving:
        async def execute(self, ctx):
            raise error(3)

    result = await run(graph_by(nodes={"a": {"max_retries": 1}}), node_registry={"a": Leaving()})
    assert (result.success, result.error) == (False, f"{error.__name__}: 3")


async def test_a_function_that_raises_takes_its_failure_edge():
    graph = graph_by(
        edge("a", "b"),
        edge("a", "c", "on_failure"),
        functions={"a": Failing()},
        nodes={"a": {"max_retries": 1}},
    )
    result = await run(graph)
    assert (result.success, result.path) == (True, ["a", "c"])
    assert (result.nodes_with_failures, result.execution_quality) == (["a"], "degraded")


async def test_always_follows_a_failure_where_no_failure_edge_does():
    graph = graph_by(
        edge("a", "b", "always"), functions={"a": Failing()}, nodes={"a": {"max_retries": 1}}
    )
    result = await run(graph)
    assert (result.success, result.path) == (True, ["a", "b"])


async def test_a_terminal_node_that_fails_takes_its_failure_edge():
    graph = graph_by(
        edge("a", "b", "on_failure"),
        functions={"a": Failing()},
        nodes={"a": {"max_retries": 1}},
        terminal_nodes=["a", "b"],
    )
    assert (await run(graph)).path == ["a", "b"]


async def test_a_failure_that_no_edge_handles_fails_the_execution_and_says_why():
    graph = graph_by(edge("a", "b"), functions={"b": Failing()}, nodes={"b": {"max_retries": 1}})
    result = await run(graph, {"k": 1})
    assert (result.success, result.status, result.execution_quality) == (False, "failed", "failed")
    assert (result.error, result.error_code) == ("ValueError: no such order", "ValueError")
    assert (result.path, result.output) == (["a", "b"], {"k": 1})
    assert result.session_state["resume_from"] == "b"


async def test_an_execution_that_failed_goes_on_at_the_node_that_failed():
    failing = Failing(times=1)
    graph = graph_by(
        edge("a", "b"),
        edge("b", "c"),
        functions={"b": failing},
        nodes={"b": {"max_retries": 1, "output_keys": ["x"]}},
    )
    failed = await run(graph)
    again = await run(graph, state=json.loads(json.dumps(failed.session_state)))
    assert (again.success, again.path, again.output) == (True, ["a", "b", "c"], {"x": 2})


async def test_no_way_on_is_a_failure_in_a_graph_that_has_ends():
    graph = graph_by(edge("a", "b", expr="x == 1"), terminal_nodes=["b"], memory_keys=["x"])
    result = await run(graph)
    assert (result.success, result.error_code) == (False, "dead_end")
    assert result.error == "no edge out of 'a' matches, and it is not a terminal node"


async def test_no_way_on_is_an_end_in_a_graph_without_ends():
    graph = graph_by(edge("a", "b", expr="x == 1"), memory_keys=["x"])
    result = await run(graph)
    assert (result.success, result.path) == (True, ["a"])


async def test_a_graph_that_cannot_run_is_a_failed_result_with_every_error():
    graph = graph_by(edge("a", "b", expr="1 +"), entry_node="zzz")
    result = await run(graph)
    assert (result.success, result.status, result.path) == (False, "failed", [])
    assert result.error.startswith("Invalid graph: entry_node: entry node 'zzz'")
    assert "edges[0] 'a-b': condition_expr cannot be read" in result.error


# --- retries ------------------------------------------------------------------------------------


async def test_a_node_is_tried_again_with_growing_pauses():
    failing, clock = Failing(times=2), FakeClock()
    graph = graph_by(functions={"a": failing}, nodes={"a": {"output_keys": ["x"]}})
    result = await run(graph, clock=clock)
    assert (result.success, result.output, clock.slept) == (True, {"x": 3}, [1.0, 2.0])
    assert (result.total_retries, result.retry_details) == (2, {"a": 2})
    assert (result.path, result.execution_quality) == (["a"], "degraded")


async def test_pauses_grow_to_a_minute_and_attempts_are_counted_in_all():
    failing, clock = Failing(), FakeClock()
    graph = graph_by(functions={"a": failing}, nodes={"a": {"max_retries": 8}})
    result = await run(graph, clock=clock)
    assert (result.success, failing.calls) == (False, 8)
    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


@pytest.mark.parametrize(("retry_on", "calls"), [([], 3), (["KeyError"], 3), (["OSError"], 1)])
async def test_only_failures_that_are_named_are_tried_again(retry_on, calls):
    failing = Failing(error=KeyError)
    graph = graph_by(functions={"a": failing}, nodes={"a": {"retry_on": retry_on}})
    await run(graph, clock=FakeClock())
    assert failing.calls == calls


async def test_the_graph_says_how_often_where_the_node_does_not():
    failing = Failing()
    graph = graph_by(functions={"a": failing}, nodes={"a": {}}, max_retries_per_node=2)
    await run(graph, clock=FakeClock())
    assert failing.calls == 2


# --- limits -------------------------------------------------------------------------------------


async def test_a_node_that_takes_too_long_fails_with_its_limit():
    graph = graph_by(
        functions={"a": never}, nodes={"a": {"timeout_seconds": 0.01, "max_retries": 1}}
    )
    result = await run(graph)
    assert (result.error_code, result.error) == ("timeout", "the node took longer than 0.01 s")


async def test_a_branch_that_takes_too_long_fails_and_its_failure_edge_handles_that():
    quick = ParallelExecutionConfig(branch_timeout_seconds=0.01)
    ways = [edge("s", "slow"), edge("s", "b")]
    failed = await run(graph_by(*ways, functions={"slow": never}, parallel_config=quick))
    assert (failed.success, failed.error_code) == (False, "branch_timeout")
    assert "branch_timeout_seconds" in failed.error
    handled = await run(
        graph_by(
            *ways,
            edge("slow", "c", "on_failure"),
            functions={"slow": never},
            parallel_config=quick,
        )
    )
    assert (handled.success, handled.nodes_with_failures) == (True, ["slow"])
    assert handled.path[-1] == "c"


async def test_a_node_that_was_visited_often_enough_is_passed_by():
    graph = graph_by(
        edge("a", "b"),
        edge("b", "a", expr="n < 3"),
        edge("b", "c", expr="n >= 3"),
        functions={"b": lambda n=0: {"n": n + 1}},
        nodes={"a": {"max_node_visits": 2}, "b": {"output_keys": ["n"]}},
    )
    result = await run(graph)
    assert (result.path, result.output) == (["a", "b", "a", "b", "b", "c"], {"n": 3})
    assert result.node_visit_counts == {"a": 2, "b": 3, "c": 1}


async def test_too_many_steps_are_a_failure():
    result = await run(graph_by(edge("a", "b"), edge("b", "a"), max_steps=7))
    assert (result.success, result.steps_executed, result.error_code) == (False, 7, "max_steps")
    assert result.error == "the limit of 7 steps (max_steps) is reached before 'b'"


# --- pauses and people --------------------------------------------------------------------------


async def test_an_execution_pauses_after_a_pause_node_and_goes_on_behind_it():
    seen = []
    graph = graph_by(
        edge("a", "b"),
        edge("b", "c"),
        functions={"c": lambda more=None: seen.append(more)},
        pause_nodes=["b"],
        memory_keys=["more"],
    )
    paused = await run(graph, {"k": 1})
    assert (paused.success, paused.status, paused.paused_at) == (True, "paused", "b")
    assert (paused.path, seen) == (["a", "b"], [])
    state = json.loads(json.dumps(paused.session_state))
    done = await run(graph, {"more": "tea"}, state)
    assert (done.success, done.status, done.paused_at) == (True, "completed", None)
    assert (done.path, seen) == (["a", "b", "c"], ["tea"])
    assert done.output == {"k": 1, "more": "tea"}


async def test_a_program_that_asks_for_a_pause_gets_one_at_the_next_boundary():
    seen, executor = [], GraphExecutor()
    graph = graph_by(
        edge("a", "b"),
        functions={"a": lambda: executor.request_pause(), "b": lambda: seen.append("b")},
    )
    paused = await executor.execute(graph, GOAL)
    assert (paused.success, paused.status, paused.path, seen) == (True, "paused", ["a"], [])
    state = json.loads(json.dumps(paused.session_state))
    done = await executor.execute(graph, GOAL, session_state=state)
    assert (done.status, done.path, seen) == ("completed", ["a", "b"], ["b"])


async def test_a_pause_may_name_another_node_to_go_on_at():
    graph = graph_by(
        edge("a", "b"),
        nodes={"c": {}},
        pause_nodes=["a"],
        entry_points={"a_resume": "c"},
    )
    paused = await run(graph)
    assert (await run(graph, state=paused.session_state)).path == ["a", "c"]


async def test_an_older_session_state_without_a_walk_goes_on_after_its_pause_node():
    graph = graph_by(edge("a", "b"), edge("b", "c"), pause_nodes=["b"])
    state = {"memory": {"k": 1}, "paused_at": "b", "execution_path": ["a", "b"]}
    result = await run(graph, {"more": 2}, state)
    assert (result.path, result.output) == (["a", "b", "c"], {"k": 1, "more": 2})


async def test_a_question_parks_the_execution_until_it_is_answered():
    graph = graph_by(
        edge("ask", "b"),
        nodes={
            "ask": {
                "node_type": "human_input",
                "description": "How many?",
                "output_keys": ["count"],
            }
        },
    )
    parked = await run(graph)
    assert (parked.success, parked.status, parked.paused_at) == (True, "waiting_input", "ask")
    (branch,) = parked.session_state["walk"]["branches"]
    assert branch["question"] == "How many?"
    unanswered = await run(graph, state=parked.session_state)
    assert unanswered.status == "waiting_input"
    done = await run(graph, {"input": "three"}, parked.session_state)
    assert (done.status, done.path) == ("completed", ["ask", "b"])
    assert done.output["count"] == "three"


async def test_a_pause_within_a_branch_waits_until_the_others_have_ended():
    graph = graph_by(
        edge("s", "a"),
        edge("s", "b"),
        edge("b", "c"),
        edge("a", "z"),
        edge("c", "z"),
        pause_nodes=["a"],
    )
    paused = await run(graph)
    assert (paused.paused_at, sorted(paused.path)) == ("a", ["a", "b", "c", "s"])
    done = await run(graph, state=json.loads(json.dumps(paused.session_state)))
    assert (done.status, done.path[-1], done.path.count("z")) == ("completed", "z", 1)


# --- branches -----------------------------------------------------------------------------------


async def test_branches_run_at_the_same_time():
    met = {"a": asyncio.Event(), "b": asyncio.Event()}

    def meeting(mine, other):
        async def meet():
            met[mine].set()
            await met[other].wait()

        return meet

    graph = graph_by(
        edge("s", "a"),
        edge("s", "b"),
        edge("a", "z"),
        edge("b", "z"),
        functions={"a": meeting("a", "b"), "b": meeting("b", "a")},
    )
    result = await run(graph)
    assert (result.success, result.path) == (True, ["s", "a", "b", "z"])


async def test_a_failed_branch_stops_its_siblings():
    ended = []

    async def wait():
        try:
            await never()
        finally:
            ended.append("b")

    graph = graph_by(
        edge("s", "a"),
        edge("s", "b"),
        functions={"a": Failing(), "b": wait},
        nodes={"a": {"max_retries": 1}},
    )
    result = await run(graph)
    assert (result.success, ended) == (False, ["b"])


@pytest.mark.parametrize(("policy", "success"), [("wait_all", False), ("continue_others", True)])
async def test_a_failed_branch_may_let_its_siblings_end(policy, success):
    graph = graph_by(
        edge("s", "a"),
        edge("s", "b"),
        edge("b", "c"),
        functions={"a": Failing(), "c": lambda: {"x": 1}},
        nodes={"a": {"max_retries": 1}, "c": {"output_keys": ["x"]}},
        parallel_config=ParallelExecutionConfig(policy),
    )
    result = await run(graph)
    assert (result.success, result.path) == (success, ["s", "a", "b", "c"])
    assert result.had_partial_failures is success
    assert result.nodes_with_failures == ["a"]


@pytest.mark.parametrize(("strategy", "value"), [("last_wins", "c"), ("first_wins", "b")])
async def test_what_branches_wrote_is_merged_in_their_order(strategy, value):
    after_c = asyncio.Event()

    async def b():
        await after_c.wait()
        return {"x": "b"}

    async def c():
        after_c.set()
        return {"x": "c"}

    graph = graph_by(
        edge("a", "b"),
        edge("a", "c"),
        edge("b", "z"),
        edge("c", "z"),
        functions={"b": b, "c": c},
        nodes={"b": {"output_keys": ["x"]}, "c": {"output_keys": ["x"]}},
        parallel_config=ParallelExecutionConfig(memory_conflict_strategy=strategy),
    )
    assert (await run(graph)).output == {"x": value}


async def test_a_cancelled_execution_stops_its_nodes():
    began, ended = asyncio.Event(), []

    async def wait():
        began.set()
        try:
            await never()
        finally:
            ended.append("a")

    work = asyncio.ensure_future(run(graph_by(nodes={"a": {}}, functions={"a": wait})))
    await began.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert ended == ["a"]


def test_a_result_is_read_back_from_its_dict():
    result = ExecutionResult(True, {"x": 1}, path=["a"])
    assert ExecutionResult.from_dict({**result.to_dict(), "unknown": 1}) == result
