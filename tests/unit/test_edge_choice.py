"""Which way an execution goes: conditions, routers, and edges that a model decides."""

import asyncio
import json

import pytest

from hive_daemon.graph.edge import ParallelExecutionConfig
from hive_daemon.graph.edge_judge import read_verdict
from hive_daemon.graph.executor import GraphExecutor
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.scripted import ScriptedProvider
from tests.fakes.graphs import GOAL, edge, graph_of


class Bus:
    """Hears of edges."""

    def __init__(self):
        self.errors = []
        self.followed = []

    def emit_edge_error(self, node_id, edge_id, expression, error):
        self.errors.append((node_id, edge_id, expression, error))

    def emit_edge_traversed(self, edge_id, edge_condition):
        self.followed.append((edge_id, edge_condition))


class Silent(LLMProvider):
    """A model that cannot be asked."""

    model = "silent"

    def __init__(self, error):
        self.error = error

    async def acomplete(self, messages, *args, **kwargs):
        raise self.error

    async def stream(self, *args, **kwargs):
        raise self.error
        yield


def says(output):
    return lambda: output


async def run(*edges, output=None, inputs=None, llm=None, nodes=None, **fields):
    """Run a graph whose first node answers `output`; return the path and what the bus heard."""
    graph = graph_of(*edges, nodes=nodes, **fields)
    for node in graph.nodes:
        if node.node_type == "function":
            node.function = says(output if node.id == "a" else {})
            node.max_retries = 1
    bus = Bus()
    result = await GraphExecutor(llm=llm, event_bus=bus).execute(graph, GOAL, inputs)
    return result, bus


# --- conditions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "path"),
    [
        ("output.confidence > 0.8", ["a", "b"]),
        ("confidence > 0.8 and memory.k == 1", ["a", "b"]),
        ("buffer['k'] == 1", ["a", "b"]),
        ("output.confidence > 0.9", ["a"]),
        ("result is None", ["a", "b"]),
        ("later is None or later.deep > 3", ["a", "b"]),
    ],
)
async def test_a_condition_sees_output_and_memory(expr, path):
    result, bus = await run(
        edge("a", "b", expr=expr),
        output={"confidence": 0.85},
        inputs={"k": 1},
        memory_keys=["k", "later", "confidence"],
    )
    assert (result.path, bus.errors) == (path, [])


async def test_of_matching_conditions_the_highest_priority_counts():
    result, _ = await run(
        edge("a", "b", expr="true"),
        edge("a", "c", expr="true", priority=2),
        edge("a", "d", "on_success"),
    )
    assert sorted(result.path) == ["a", "c", "d"]


async def test_a_name_that_nothing_declares_is_none_and_an_error_event():
    result, bus = await run(edge("a", "b", expr="speed is None"))
    assert result.path == ["a", "b"]
    said = "'speed' is declared nowhere in the graph; it counts as None"
    assert bus.errors == [("a", "a-b", "speed is None", said)]


async def test_a_condition_that_cannot_be_computed_is_not_followed_and_says_so():
    result, bus = await run(
        edge("a", "b", expr="count + 1 > 2"), output={"count": "x"}, memory_keys=["count"]
    )
    assert result.path == ["a"]
    ((node, edge_id, expression, error),) = bus.errors
    assert (node, edge_id, expression) == ("a", "a-b", "count + 1 > 2")
    assert "cannot evaluate" in error


async def test_every_undeclared_name_is_told():
    _, bus = await run(edge("a", "b", expr="one is None and two is None"))
    assert [error.split()[0] for *_, error in bus.errors] == ["'one'", "'two'"]


async def test_no_condition_is_asked_after_a_failure():
    result, bus = await run(
        edge("a", "b", expr="unheard is None"), edge("a", "c", "on_failure"), output="no dict"
    )
    assert (result.path, bus.errors) == (["a", "c"], [])


async def test_an_edge_hands_on_values_under_other_names():
    result, _ = await run(
        edge("a", "b", input_mapping={"text": "x", "who": "k", "none": "zzz"}),
        output={"x": 1},
        inputs={"k": 2},
    )
    assert result.output == {"k": 2, "x": 1, "text": 1, "who": 2}


# --- routers ------------------------------------------------------------------------------------


def routed(**routes):
    return {"a": {"node_type": "router", "route_on": "kind", "routes": routes}, "b": {}, "c": {}}


@pytest.mark.parametrize(
    ("value", "path"),
    [("x", ["a", "b"]), ("y", ["a", "c"]), (None, ["a", "c"]), ("X", ["a", "c"])],
)
async def test_a_router_goes_by_its_value_and_else_by_default(value, path):
    result, _ = await run(nodes=routed(x="b", default="c"), inputs={"kind": value})
    assert result.path == path


@pytest.mark.parametrize(("value", "word"), [(True, "true"), (3, "3"), (1.5, "1.5")])
async def test_a_router_reads_values_as_they_are_written_in_its_routes(value, word):
    result, _ = await run(nodes=routed(**{word: "b"}), inputs={"kind": value})
    assert result.path == ["a", "b"]


async def test_a_router_without_a_route_fails_and_names_what_it_knows():
    result, _ = await run(nodes=routed(x="b"), inputs={"kind": "z"})
    assert (result.success, result.error_code) == (False, "no_route")
    assert result.error == "no route for kind = 'z' and no default (routes: x)"


async def test_a_router_that_fails_takes_its_failure_edge():
    result, _ = await run(edge("a", "c", "on_failure"), nodes=routed(x="b"), inputs={"kind": "z"})
    assert result.path == ["a", "c"]


# --- models -------------------------------------------------------------------------------------

ASKED = (
    edge("a", "b", "llm_decide", description="Is it urgent?"),
    edge("a", "c", "llm_decide", description="Is it new?"),
)


async def test_a_model_decides_edge_by_edge():
    script = {"completions": [{"when": "urgent", "text": json.dumps({"proceed": False})}]}
    result, bus = await run(*ASKED, llm=ScriptedProvider(script))
    assert (result.path, bus.errors) == (["a", "c"], [])
    assert bus.followed == [("a-c", "llm_decide")]
    assert result.input_tokens > 0


async def test_edges_that_a_model_decides_are_followed_beside_those_that_match():
    script = {"completions": [{"when": "urgent", "text": '{"proceed": false}'}]}
    result, _ = await run(*ASKED, edge("a", "d"), llm=ScriptedProvider(script))
    assert sorted(result.path) == ["a", "c", "d"]


async def test_an_unclear_answer_is_followed_and_says_so():
    script = {"completions": [{"text": "Perhaps.", "repeat": True}]}
    result, bus = await run(ASKED[0], llm=ScriptedProvider(script))
    assert result.path == ["a", "b"]
    assert bus.errors == [("a", "a-b", "llm_decide", "no verdict in 'Perhaps.'")]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("no answer"), "not decided: KeyError: 'no answer'"),
        (
            asyncio.CancelledError("by somebody else"),
            "not decided: CancelledError: by somebody else",
        ),
    ],
)
async def test_a_model_that_cannot_be_asked_decides_nothing_and_that_is_said(error, said):
    result, bus = await run(ASKED[0], llm=Silent(error))
    assert result.path == ["a", "b"]
    assert bus.errors == [("a", "a-b", "llm_decide", said)]


async def test_a_branch_out_of_time_decides_nothing_and_goes_on():
    class Slow(Silent):
        async def acomplete(self, messages, *args, **kwargs):
            await asyncio.Event().wait()

    ways = (edge("s", "a"), edge("s", "z"), *ASKED)
    config = ParallelExecutionConfig(branch_timeout_seconds=0.01)
    result, bus = await run(*ways, llm=Slow(None), output={}, parallel_config=config)
    assert (result.success, len(bus.errors)) == (True, 2)
    assert result.path[:3] == ["s", "a", "z"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"proceed": true}', True),
        ('Well: {"proceed": false, "reasoning": "{no}"} so.', False),
        ('{"a": 1} {"proceed": true}', True),
        ('{"proceed": "yes"}', None),
        ("{ nothing", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_from_the_first_object_that_has_one(text, verdict):
    assert read_verdict(text) is verdict


# --- model loops --------------------------------------------------------------------------------


async def test_a_scripted_model_drives_a_whole_graph():
    graph = graph_of(
        edge("a", "b", expr="approved"),
        edge("a", "a", expr="not approved"),
        nodes={
            "a": {
                "node_type": "event_loop",
                "output_keys": ["approved"],
                "output_schema": {"approved": {"type": "boolean"}},
            },
            "b": {"node_type": "event_loop", "output_keys": ["report"]},
        },
        terminal_nodes=["b"],
    )
    script = {"nodes": {f"a#{n}": [{"set_output": {"approved": n == 2}}] for n in (1, 2)}}
    result = await GraphExecutor(llm=ScriptedProvider(script)).execute(graph, GOAL)
    assert (result.success, result.path) == (True, ["a", "a", "b"])
    assert result.output["report"]
