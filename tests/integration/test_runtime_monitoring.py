"""The health judge in a running agent: what it looks at, what it tells and when, also over restarts."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest

from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.values import ToolUse
from hive_daemon.monitoring import (
    HEALTH_JUDGE_ENTRY_POINT,
    judge_goal,
    judge_graph,
    model_judge_graph,
    register_worker_monitoring_tools,
)
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.events import EventType
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import (
    GOAL,
    SECONDS,
    Heard,
    Turnstile,
    function,
    graph_of,
    model,
    services_at,
)
from tests.unit.test_monitoring_ticket import NEEDED

JUDGE = "judge::health_check"
TICKET, DONE = EventType.WORKER_ESCALATION_TICKET, EventType.EXECUTION_COMPLETED


class World:
    """A worker with a judge, on a clock of the test's own."""

    def __init__(self, clock, services, runtime):
        self.clock, self.services, self.runtime = clock, services, runtime
        self.heard = Heard.of(runtime)
        self.looks = 0

    async def look(self, minutes=2):
        """Let so many minutes pass, and the judge look at the end; what it saw."""
        await self.clock.advance(minutes * 60)
        self.looks += 1
        event = await self.heard.until(DONE, JUDGE, count=self.looks)
        return event.data["output"]["health_verdict"]

    @property
    def tickets(self):
        """The tickets so far."""
        return [event.data["ticket"] for event in self.heard.found(TICKET)]


@asynccontextmanager
async def world(path, clock, graph, *specs, judge=judge_graph, **given):
    async with services_at(path, clock) as (services, placement):
        runtime = AgentRuntime(graph, GOAL, placement=placement, **given)
        for spec in specs or (EntryPointSpec(id="api"),):
            runtime.register_entry_point(spec)
        await runtime.add_graph(
            "judge", judge, judge_goal, {"health_check": HEALTH_JUDGE_ENTRY_POINT}
        )
        made = World(clock, services, runtime)
        await runtime.start()
        try:
            yield made
        finally:
            await runtime.stop(0.0)


@pytest.fixture
def clock():
    return FakeClock(auto=False)


async def test_the_judge_looks_every_two_minutes_in_one_session(tmp_path, clock):
    async with world(tmp_path, clock, graph_of(function("w", Turnstile().enter))) as made:
        for minutes in (0, 2, 2):
            assert (await made.look(minutes))["workers"] == []
        sessions = {event.session_id for event in made.heard.found(DONE, JUDGE)}
    assert len(sessions) == 1


async def test_a_stall_is_told_once_and_again_only_after_it_passed(tmp_path, clock):
    gate, second = Turnstile(), Turnstile()
    graph = graph_of(
        function("one", gate.enter), function("two", second.enter), edges=[("one", "two")]
    )
    async with world(tmp_path, clock, graph) as made:
        await made.look(0)
        await made.runtime.trigger("api", {})
        await gate.until(1)
        for _ in range(4):
            await made.look()
        assert [ticket["worker_node_id"] for ticket in made.tickets] == ["one"]
        await gate.let_through()
        await second.until(1)
        for _ in range(3):
            await made.look()
        assert len(made.tickets) == 2
        await second.let_through()


async def test_what_was_told_is_remembered_over_a_restart(tmp_path, clock):
    gate = Turnstile()
    graph = graph_of(function("w", gate.enter))
    async with world(tmp_path, clock, graph) as made:
        await made.look(0)
        await made.runtime.trigger("api", {})
        await gate.until(1)
        for _ in range(2):
            await made.look()
        assert len(made.tickets) == 1
    await clock.advance(1)
    async with world(tmp_path, clock, graph) as made:
        seen = await made.look(0)
        assert [worker["status"] for worker in seen["workers"]] == ["healthy"]
        assert (await made.look())["tickets"] == []


async def test_who_waits_for_a_person_is_left_alone(tmp_path, clock):
    ask = function("ask", str).model_copy(update={"node_type": "human_input", "function": None})
    async with world(tmp_path, clock, graph_of(ask)) as made:
        await made.look(0)
        name = await made.runtime.trigger("api", {})
        await made.runtime.wait_for_completion(name, SECONDS)
        for _ in range(3):
            assert (await made.look())["workers"] == []
    assert made.tickets == []


async def test_the_judge_watches_every_graph_but_its_own(tmp_path, clock):
    gates = Turnstile()
    async with world(tmp_path, clock, graph_of(function("w", gates.enter))) as made:
        await made.look(0)
        more = graph_of(function("more", gates.enter), id="more")
        await made.runtime.add_graph("more", more, GOAL, {"run": EntryPointSpec(id="run")})
        await made.runtime.trigger("api", {})
        await made.runtime.trigger("more::run", {})
        await gates.until(2)
        seen = await made.look()
        await gates.let_through()
    assert {worker["graph_id"] for worker in seen["workers"]} == {"primary", "more"}


async def test_a_ticket_can_start_an_entry_point(tmp_path, clock):
    gate = Turnstile()

    async def repair(ctx, event: dict) -> str:
        await ctx.runtime.cancel_execution("api", event["data"]["ticket"]["worker_session_id"])
        return event["data"]["ticket"]["severity"]

    graph = graph_of(function("w", gate.enter), function("repair", repair, inputs=["event"]))
    repairing = EntryPointSpec(
        id="repair",
        entry_node="repair",
        trigger_type="event",
        trigger_config={"event_types": ["worker_escalation_ticket"]},
        isolation_level="isolated",
    )
    async with world(tmp_path, clock, graph, EntryPointSpec(id="api"), repairing) as made:
        await made.look(0)
        name = await made.runtime.trigger("api", {})
        await gate.until(1)
        for _ in range(2):
            await made.look()
        repaired = await made.heard.until(DONE, "repair")
        result = await made.runtime.wait_for_completion(name, SECONDS)
        memory = (await made.look())["workers"]
    assert repaired.data["output"]["answer"] == "critical"
    assert (result.status, memory) == ("cancelled", [])


async def test_what_is_over_is_forgotten(tmp_path, clock):
    async def work() -> str:
        return "done"

    async with world(tmp_path, clock, graph_of(function("w", work))) as made:
        await made.look(0)
        for _ in range(3):
            await made.runtime.trigger_and_wait("api", {}, timeout=SECONDS)
            await made.look()
        last = made.heard.found(DONE, JUDGE)[-1]
        assert last.data["output"]["health_watch"] == {}


async def test_outside_a_runtime_the_judge_says_so(tmp_path):
    from hive_daemon.graph.executor import GraphExecutor

    result = await GraphExecutor(runtime=None).execute(judge_graph, judge_goal, {})
    assert "inside an agent runtime only" in (result.error or "")


# --- the model that judges, and its tools -------------------------------------------------------


@pytest.fixture
def desk(tmp_path):
    """The tools, the bus they tell, and what was told."""
    bus, told = EventBus(), []
    bus.subscribe([TICKET, EventType.ESCALATION_REQUESTED], told.append)
    registry = ToolRegistry()
    register_worker_monitoring_tools(registry, bus, tmp_path, stream_id=JUDGE)
    return registry, bus, told


async def call(registry, name, **given):
    """Call a tool as a model does."""
    return await registry.get_executor()(ToolUse("call", name, given))


class Counted(ScriptedProvider):
    """A scripted model that counts how often it is asked."""

    asked = 0

    async def stream(self, *args, **given):
        self.asked += 1
        async for event in super().stream(*args, **given):
            yield event


async def test_a_model_is_asked_only_to_explain_a_suspicion(tmp_path, clock):
    bus, told = EventBus(), []
    bus.subscribe([TICKET], told.append)
    registry = ToolRegistry()
    register_worker_monitoring_tools(registry, bus, tmp_path, stream_id=JUDGE, clock=clock)
    script = {
        "nodes": {
            "explain": [
                {"tool_calls": [{"name": "get_worker_health_summary", "input": {}}]},
                {
                    "tool_calls": [
                        {
                            "name": "emit_escalation_ticket",
                            "input": {"ticket_json": json.dumps(NEEDED)},
                        }
                    ]
                },
                {"text": "It is told.", "set_output": {"health_verdict": "it hangs"}},
            ]
        }
    }
    llm, gate = Counted(script), Turnstile()
    given = {
        "llm": llm,
        "tools": list(registry.get_tools().values()),
        "tool_executor": registry.get_executor(),
    }
    graph = graph_of(function("w", gate.enter))
    async with world(tmp_path, clock, graph, judge=model_judge_graph, **given) as made:
        await clock.advance(0)
        await made.heard.until(DONE, JUDGE, count=1)
        name = await made.runtime.trigger("api", {})
        await gate.until(1)
        await clock.advance(120)
        await made.heard.until(DONE, JUDGE, count=2)
        assert llm.asked == 0
        await clock.advance(120)
        done = await made.heard.until(DONE, JUDGE, count=3)
        looked = made.heard.found(EventType.TOOL_CALL_COMPLETED)[0]
        assert llm.asked > 0
        asked = llm.asked
        await clock.advance(120)
        await made.heard.until(DONE, JUDGE, count=4)
        assert llm.asked == asked
        await gate.let_through()
        await made.runtime.wait_for_completion(name, SECONDS)
    assert json.loads(looked.data["result"])["session_id"] == name
    assert done.data["output"]["health_verdict"] == "it hangs"
    [ticket] = [event.data["ticket"] for event in told]
    assert ticket.items() >= NEEDED.items()


async def test_the_summary_tells_how_the_newest_worker_gets_on(tmp_path, desk):
    registry = desk[0]

    async def fail() -> None:
        raise ValueError("broken")

    runtime = AgentRuntime(graph_of(function("w", fail, max_retries=1)), GOAL, tmp_path)
    await runtime.start()
    name = await runtime.trigger("default", {})
    await runtime.wait_for_completion(name, SECONDS)
    await runtime.stop()
    for session_id in ("auto", name):
        result = await call(registry, "get_worker_health_summary", session_id=session_id)
        shown = json.loads(result.content)
        assert shown["last_step_time_iso"].endswith("Z")
        del shown["last_step_time_iso"]
        assert shown == {
            "worker_agent_id": "agent",
            "worker_graph_id": "primary",
            "session_id": name,
            "session_status": "failed",
            "total_steps": 1,
            "recent_verdicts": ["RETRY"],
            "steps_since_last_accept": 1,
            "stall_minutes": None,
            "evidence_snippet": "ValueError: broken",
        }


@pytest.mark.parametrize(
    ("session_id", "sentence"),
    [
        ("auto", "there is no hive.db"),
        ("session_20260302_090000_0000abcd", "there is no hive.db"),
    ],
)
async def test_a_summary_of_nothing_says_so(desk, session_id, sentence):
    result = await call(desk[0], "get_worker_health_summary", session_id=session_id)
    assert result.is_error
    assert sentence in result.content


async def test_a_session_that_is_not_there_is_named(tmp_path, desk):
    runtime = AgentRuntime(graph_of(model("m")), GOAL, tmp_path, llm=ScriptedProvider())
    await runtime.start()
    await runtime.stop()
    for session_id, sentence in (
        ("auto", "no worker session yet"),
        ("../../etc", "no session ../../etc"),
        ("session_20260302_090000_0000abcd", "no session session_20260302_090000_0000abcd"),
    ):
        result = await call(desk[0], "get_worker_health_summary", session_id=session_id)
        assert result.is_error
        assert sentence in result.content


async def test_an_incomplete_ticket_is_refused_with_what_is_missing(desk):
    registry, _, told = desk
    result = await call(registry, "emit_escalation_ticket", ticket_json='{"severity": "high"}')
    assert result.is_error
    assert "worker_session_id" in result.content
    assert told == []


async def test_an_operator_is_told_of_a_ticket(desk):
    registry, _, told = desk
    given = {"ticket_id": "t-1", "analysis": "the disk is full", "urgency": "high"}
    await call(registry, "notify_operator", **given)
    [event] = told
    assert event.type is EventType.ESCALATION_REQUESTED
    assert event.data == {"reason": "the disk is full", "context": "ticket t-1, urgency high"}
    assert event.graph_id == "judge"
