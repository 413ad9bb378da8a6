"""The model and the length of answers: those of the node, else of the entry point, else of the agent."""

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.graph.executor import GraphExecutor
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from tests.fakes.embedded import GOAL, graph_of, model
from tests.fakes.model_stages import until_no_connection_is_open
from tests.fakes.openai_server import Call, FakeOpenAI, Reply

ANSWER = Reply(calls=(Call("set_output", {"key": "answer", "value": "yes"}),))
GRAPH = graph_of(
    model("plain"),
    model("own", model="openai/of-the-node", max_tokens=7),
    edges=[("plain", "own")],
    max_tokens=900,
)
SPECS = (
    EntryPointSpec(id="usual"),
    EntryPointSpec(id="other", model="openai/of-the-entry", max_tokens=80),
)


@pytest.fixture
async def server():
    async with FakeOpenAI() as fake:
        fake.script(ANSWER, Reply(text="Done."), ANSWER, Reply(text="Done."))
        yield fake


@pytest.mark.parametrize(
    ("entry_point", "asked"),
    [
        ("usual", [("of-the-agent", 900)] * 2 + [("of-the-node", 7)] * 2),
        ("other", [("of-the-entry", 80)] * 2 + [("of-the-node", 7)] * 2),
    ],
)
async def test_the_nearest_model_is_asked(tmp_path, server, entry_point, asked):
    llm = OpenAIProvider("openai/of-the-agent", "k", server.base_url)
    runtime = AgentRuntime(GRAPH, GOAL, tmp_path, llm=llm)
    for spec in SPECS:
        runtime.register_entry_point(spec)
    await runtime.start()
    try:
        result = await runtime.trigger_and_wait(entry_point, {})
    finally:
        await runtime.stop()
        await llm.aclose()
    assert (result.success, result.output) == (True, {"answer": "yes"})
    assert [(each.body["model"], each.body["max_tokens"]) for each in server.requests] == asked


async def test_a_graph_that_runs_alone_asks_the_model_of_its_node(server):
    llm = OpenAIProvider("openai/of-the-program", "k", server.base_url)
    result = await GraphExecutor(llm=llm).execute(GRAPH, GOAL)
    await llm.aclose()
    assert (result.success, result.output) == (True, {"answer": "yes"})
    asked = [(each.body["model"], each.headers["Authorization"]) for each in server.requests]
    assert asked == [("of-the-program", "Bearer k")] * 2 + [("of-the-node", "Bearer k")] * 2


async def test_a_graph_that_runs_alone_leaves_no_connection_of_its_nodes_models(server):
    llm = OpenAIProvider("openai/of-the-program", "k", server.base_url)
    await GraphExecutor(llm=llm).execute(GRAPH, GOAL)
    await llm.aclose()
    await until_no_connection_is_open(server)


async def test_a_graph_that_runs_alone_fails_by_a_faulty_model():
    graph = graph_of(model("m", model="scripted:gone.json"))
    result = await GraphExecutor().execute(graph, GOAL)
    assert not result.success
    assert "gone.json" in result.error


async def test_a_faulty_model_is_told_at_the_start(tmp_path):
    graph = graph_of(model("m", model="scripted:gone.json"))
    runtime = AgentRuntime(graph, GOAL, tmp_path)
    with pytest.raises(ConfigError, match=r"gone\.json"):
        await runtime.start()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model": " "}, "model: ' ' must be the name of a model"),
        ({"fallbacks": "openai/a"}, "fallbacks: 'openai/a' must be a list of names of models"),
        ({"max_tokens": 0}, "max_tokens: 0 must be a whole number, at least 1"),
    ],
)
def test_what_cannot_be_a_model_is_a_problem_of_the_entry_point(fields, problem):
    spec = EntryPointSpec(id="a", **fields)
    assert spec.problems() == [f"entry point 'a': {problem}"]
