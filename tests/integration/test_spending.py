"""What model calls come to, where people and programs read it: the result, the logs, and after a resume."""

import json

import pytest

from hive_daemon.graph.node import NodeResult, NodeStats, Waiting
from hive_daemon.llm.scripted import ScriptedProvider
from tests.fakes.embedded import SECONDS, function, graph_of, model, running

NAMES = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_usd")


class Costly:
    """A node that says what it cost."""

    def __init__(self, cost):
        self.stats = NodeStats(
            llm_call_count=1,
            input_tokens=10,
            cached_tokens=4,
            output_tokens=5,
            reasoning_tokens=2,
            cost_usd=cost,
        )

    async def execute(self, ctx):
        return NodeResult(True, {ctx.node_id: "done"}, stats=self.stats)


def nothing():
    return ""


GRAPH = graph_of(
    *(function(name, nothing, outputs=(name,)) for name in "ab"),
    edges=[("a", "b")],
    pause_nodes=["a"],
)


@pytest.mark.parametrize(("last", "total"), [(0.5, 0.75), (None, None)])
async def test_the_counters_continue_over_a_resume_in_another_process(tmp_path, last, total):
    registry = {"a": Costly(0.25), "b": Costly(last)}
    async with running(tmp_path, GRAPH, node_registry=registry) as runtime:
        paused = await runtime.trigger_and_wait("default", {})
    assert [getattr(paused, name) for name in NAMES] == [10, 4, 5, 2, 0.25]
    async with running(tmp_path, GRAPH, node_registry=registry) as runtime:
        named = {"resume_session_id": paused.session_id}
        done = await runtime.trigger_and_wait("default", {}, session_state=named)
    assert (done.status, done.execution_id) == ("completed", paused.execution_id)
    assert [getattr(done, name) for name in NAMES] == [20, 8, 10, 4, total]
    folder = tmp_path / "sessions" / done.session_id / "logs"
    summary = json.loads((folder / "summary.json").read_text())
    assert [summary[f"total_{name}"] for name in NAMES] == [20, 8, 10, 4, total]
    lines = [json.loads(line) for line in (folder / "details.jsonl").read_text().splitlines()]
    assert [line["cost_usd"] for line in lines] == [0.25, last]


def logs_of(tmp_path, result):
    folder = tmp_path / "sessions" / result.session_id / "logs"
    details = (folder / "details.jsonl").read_text().splitlines()
    return json.loads((folder / "summary.json").read_text()), [json.loads(each) for each in details]


async def answered(tmp_path, graph, said, **given):
    """Ask, stop; and in a runtime of its own for each answer, go on."""
    async with running(tmp_path, graph, **given) as runtime:
        asked = await runtime.trigger_and_wait("default", {})
    for text in said:
        async with running(tmp_path, graph, **given) as runtime:
            await runtime.inject_input("a", text)
            stream = runtime.find_stream("default")
            done = await stream.wait_for_completion(asked.execution_id, SECONDS)
    return done


class Asking(Costly):
    """A node that asks twice, and says what it cost each time."""

    async def execute(self, ctx):
        if ctx.answers < 2:
            return NodeResult(True, waiting=Waiting("Well?"), stats=self.stats)
        return await super().execute(ctx)


@pytest.mark.parametrize(("cost", "total"), [(0.25, 0.75), (None, None)])
async def test_the_log_of_a_visit_that_waited_shows_what_the_whole_visit_cost(
    tmp_path, cost, total
):
    graph = graph_of(function("a", nothing, outputs=("a",)))
    given = {"node_registry": {"a": Asking(cost)}}
    done = await answered(tmp_path, graph, ["one", "two"], **given)
    assert done.status == "completed"
    summary, (line,) = logs_of(tmp_path, done)
    assert [line[name] for name in NAMES] == [30, 12, 15, 6, total]
    assert line["llm_call_count"] == 3
    assert [summary[f"total_{name}"] for name in NAMES] == [30, 12, 15, 6, total]


async def test_the_log_of_a_model_loop_that_asked_shows_what_the_whole_visit_cost(tmp_path):
    asks = {"tool_calls": [{"name": "ask_user", "input": {"question": "Who?"}}]}
    turns = [asks, asks, {"set_output": {"answer": "{{ $last }}"}}]
    graph = graph_of(model("a", client_facing=True))
    llm = ScriptedProvider({"nodes": {"a": turns}})
    done = await answered(tmp_path, graph, ["me", "Ada"], llm=llm)
    assert (done.status, done.output["answer"]) == ("completed", "Ada")
    summary, (line,) = logs_of(tmp_path, done)
    assert line["llm_call_count"] >= 3
    assert [line[name] for name in NAMES] == [summary[f"total_{name}"] for name in NAMES]
    assert line["input_tokens"] == done.input_tokens > 0


async def test_a_further_attempt_after_an_answer_is_logged_by_itself(tmp_path):
    class Fails(Asking):
        async def execute(self, ctx):
            if ctx.answers < 1:
                return NodeResult(True, waiting=Waiting("Well?"), stats=self.stats)
            if ctx.attempt < 2:
                return NodeResult(False, error="no", stats=self.stats)
            return NodeResult(True, {"a": "done"}, stats=self.stats)

    graph = graph_of(function("a", nothing, outputs=("a",)))
    done = await answered(tmp_path, graph, ["one"], node_registry={"a": Fails(0.25)})
    summary, lines = logs_of(tmp_path, done)
    assert [line["cost_usd"] for line in lines] == [0.5, 0.25]
    assert summary["total_cost_usd"] == 0.75
