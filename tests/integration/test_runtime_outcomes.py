"""Goal progress in a running agent: fed by what nodes come to and what judges say."""

from __future__ import annotations

from contextlib import asynccontextmanager

from hive_daemon.graph.goal import Goal, SuccessCriterion
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from tests.fakes.embedded import SECONDS, Heard, function, graph_of, model

GOAL = Goal(
    id="goal",
    name="Goal",
    success_criteria=[SuccessCriterion(id="works", description="It works.", target="75%")],
)


async def work() -> str:
    return "done"


async def fail() -> None:
    raise ValueError("broken")


@asynccontextmanager
async def agent(path, script=None):
    graph = graph_of(function("work", work), function("fail", fail, max_retries=1), model("think"))
    runtime = AgentRuntime(graph, GOAL, path, llm=ScriptedProvider(script))
    for node in ("work", "fail", "think"):
        runtime.register_entry_point(EntryPointSpec(id=node, entry_node=node))
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop(0.0)


async def test_what_nodes_come_to_is_the_progress(tmp_path):
    async with agent(tmp_path) as runtime:
        before = await runtime.get_goal_progress()
        for entry_point in ("work", "fail", "work"):
            await runtime.trigger_and_wait(entry_point, {}, timeout=SECONDS)
        after = await runtime.get_goal_progress()
        counts = runtime.get_stats()["outcome_aggregator"]
    assert before["overall_progress"] == 0.0
    assert (
        after["metrics"].items()
        >= {
            "successful_outcomes": 2,
            "failed_outcomes": 1,
            "streams_active": 2,
            "executions_total": 3,
        }.items()
    )
    assert after["criteria_status"]["works"]["progress"] == round(2 / 3 / 0.75, 4)
    assert counts["successful_outcomes"] == 2


async def test_what_judges_say_counts(tmp_path):
    script = {"nodes": {"think": [{"text": "Hm."}, {"set_output": {"answer": "42"}}]}}
    async with agent(tmp_path, script) as runtime:
        await runtime.trigger_and_wait("think", {}, timeout=SECONDS)
        report = await runtime.get_goal_progress()
    assert report["metrics"]["verdicts"] == {"RETRY": 1, "ACCEPT": 1}
    assert report["recommendation"] == "complete"


async def test_a_goal_that_is_reached_is_told_once(tmp_path):
    async with agent(tmp_path) as runtime:
        heard = Heard.of(runtime, [EventType.GOAL_ACHIEVED, EventType.GOAL_PROGRESS])
        await runtime.trigger_and_wait("work", {}, timeout=SECONDS)
        for _ in range(2):
            await runtime.get_goal_progress()
        await runtime.event_bus.drain()
    assert [event.type.value for event in heard.events] == [
        "goal_progress",
        "goal_achieved",
        "goal_progress",
    ]


async def test_each_graph_has_a_progress_of_its_own(tmp_path):
    async with agent(tmp_path) as runtime:
        more = graph_of(function("fail", fail, max_retries=1), id="more")
        await runtime.add_graph("more", more, GOAL, {"run": EntryPointSpec(id="run")})
        await runtime.trigger_and_wait("work", {}, timeout=SECONDS)
        await runtime.trigger_and_wait("more::run", {}, timeout=SECONDS)
        primary = await runtime.get_goal_progress()
        secondary = await runtime.get_graph_registration("more").outcomes.evaluate_goal_progress()
    assert primary["metrics"]["success_rate"] == 1.0
    assert secondary["metrics"]["success_rate"] == 0.0
