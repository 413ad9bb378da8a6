"""What model calls come to, where people and programs read it: the result, the logs, and after a resume."""

import json

import pytest

from hive_daemon.graph.node import NodeResult, NodeStats
from tests.fakes.embedded import function, graph_of, running

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
