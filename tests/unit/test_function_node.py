"""Function nodes: what a callable is given, where it runs, and what becomes of what it returns."""

import asyncio
import threading

import pytest

from hive_daemon.graph.executor import GraphExecutor
from hive_daemon.graph.node import NodeContext, NodeResult
from tests.fakes.graphs import GOAL, edge, graph_of


def nothing():
    return None


async def run(function, inputs=None, **fields):
    """Run a graph of one function node."""
    node = {"function": function, "output_keys": ["x"], "max_retries": 1, **fields}
    graph = graph_of(nodes={"a": node})
    return await GraphExecutor().execute(graph, GOAL, inputs)


async def test_inputs_are_keyword_arguments():
    result = await run(lambda one, two: [one, two], {"one": 1, "two": 2})
    assert result.output["x"] == [1, 2]


async def test_only_declared_inputs_are_given():
    def take(**given):
        return given

    result = await run(take, {"one": 1, "two": 2}, input_keys=["two"])
    assert result.output["x"] == {"two": 2}


async def test_a_missing_input_is_left_out_if_the_parameter_has_a_default():
    result = await run(lambda one=7: one)
    assert result.output["x"] == 7


async def test_a_missing_input_fails_the_node_at_once_and_is_named():
    called = []

    def needs(one, two):
        called.append(one)

    result = await run(needs, {"one": 1}, max_retries=3)
    assert (result.success, result.error_code, called) == (False, "missing_input", [])
    assert result.error == "nobody has set the inputs that needs needs: two"
    assert result.total_retries == 0


async def test_ctx_is_given_to_who_asks_for_it():
    result = await run(lambda ctx, one: [type(ctx), ctx.node_id, ctx.visit, one], {"one": 1})
    assert result.output["x"] == [NodeContext, "a", 1, 1]


async def test_what_is_written_to_memory_counts_as_output():
    def write(ctx):
        ctx.memory.write("x", ctx.memory.read("one") + 1)

    result = await run(write, {"one": 1}, output_keys=["x", "y"], nullable_output_keys=["y"])
    assert result.output == {"one": 1, "x": 2}


async def test_a_plain_function_runs_in_a_thread_of_its_own():
    result = await run(lambda: threading.current_thread() is threading.main_thread())
    assert result.output["x"] is False


async def test_a_plain_function_does_not_hold_the_others_up():
    called, answered = threading.Event(), threading.Event()

    def ask():
        called.set()
        return answered.wait(30)

    async def answer():
        while not called.is_set():
            await asyncio.sleep(0)
        answered.set()

    graph = graph_of(
        edge("s", "a"),
        edge("s", "b"),
        nodes={
            "s": {"function": nothing},
            "a": {"function": ask, "output_keys": ["x"]},
            "b": {"function": answer},
        },
    )
    result = await GraphExecutor().execute(graph, GOAL)
    assert result.output == {"x": True}


async def test_a_coroutine_function_runs_on_the_loop():
    async def where():
        return asyncio.get_running_loop() is not None

    assert (await run(where)).output["x"] is True


async def test_a_plain_function_may_return_something_to_await():
    async def later():
        return "later"

    assert (await run(lambda: later())).output["x"] == "later"


@pytest.mark.parametrize(
    ("keys", "answer", "output"),
    [
        (["x"], {"x": 1}, {"x": 1}),
        (["x"], {"y": 1}, {"x": {"y": 1}}),
        (["x"], {"x": 1, "y": 2}, {"x": {"x": 1, "y": 2}}),
        (["x"], {}, {"x": {}}),
        (["x"], [1, 2], {"x": [1, 2]}),
        (["x"], 0, {"x": 0}),
        (["x", "y"], {"x": 1, "y": 2}, {"x": 1, "y": 2}),
        ([], {"any": 1}, {"any": 1}),
        ([], None, {}),
    ],
)
async def test_what_is_returned_fills_the_output_keys(keys, answer, output):
    assert (await run(lambda: answer, output_keys=keys)).output == output


@pytest.mark.parametrize(
    ("keys", "answer", "wanted"),
    [
        (["x", "y"], 1, "the function returned int, the node needs a dict of x, y"),
        (["x", "y"], {"z": 1}, "the function returned dict, the node needs a dict of x, y"),
        ([], "word", "the function returned str, the node needs a dict"),
        (["x"], None, "the node succeeded without setting its output: x"),
        (["x", "y"], {"x": 1}, "the node succeeded without setting its output: y"),
    ],
)
async def test_what_does_not_fit_the_output_keys_fails_the_node(keys, answer, wanted):
    result = await run(lambda: answer, output_keys=keys)
    assert (result.success, result.error_code, result.error) == (False, "bad_output", wanted)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_a_function_that_would_end_the_process_fails_its_node_and_nothing_else(error):
    async def leave():
        raise error(3)

    for function in (leave, lambda: leave()):
        result = await run(function)
        assert (result.error_code, result.error) == (error.__name__, f"{error.__name__}: 3")


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_a_function_that_would_end_the_process_in_its_thread_fails_its_node(error):
    def stop():
        raise error(3)

    result = await run(stop)
    assert result.error == f"RuntimeError: stop raised {error.__name__}: 3"


async def test_a_function_whose_iterator_is_at_its_end_fails_its_node():
    def first():
        return next(iter([]))

    result = await run(first)
    assert (result.error_code, result.error) == (
        "RuntimeError",
        "RuntimeError: first raised StopIteration",
    )


async def test_a_node_result_passes_through():
    graph = graph_of(
        edge("a", "b"),
        nodes={
            "a": {"function": lambda: NodeResult(True, {"x": 1}, next_node="c")},
            "b": {"function": nothing},
            "c": {"function": nothing},
        },
    )
    result = await GraphExecutor().execute(graph, GOAL)
    assert (result.path, result.output) == (["a", "c"], {"x": 1})


async def test_a_function_is_found_by_its_name():
    result = await run("os.path:basename", {"p": "/a/b"}, input_keys=["p"])
    assert result.output["x"] == "b"


@pytest.mark.parametrize("name", ["nothing", "os:nothing", "no_such_module:f", "os:sep"])
async def test_a_function_that_cannot_be_found_fails_the_node_and_says_so(name):
    result = await run(name)
    assert (result.success, result.error_code) == (False, "config")
    assert repr(name) in result.error


async def test_a_registered_callable_stands_for_the_node():
    graph = graph_of(nodes={"a": {"output_keys": ["x"]}})
    executor = GraphExecutor(node_registry={"a": lambda: 5})
    assert (await executor.execute(graph, GOAL)).output == {"x": 5}
