"""Self-healing of a running agent: each rung mends what it is for, says so, and never goes beyond the cap."""

from __future__ import annotations

import asyncio

import pytest

from hive_daemon.llm.fallbacks import FallbackProvider
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.runtime.agent_runtime import AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import SECONDS, Heard, function, graph_of, model, running
from tests.fakes.vigil_world import watched

TOLD = (EventType.EXECUTION_RESURRECTED, EventType.ESCALATION_REQUESTED)


def healing(*rungs, **fields):
    """An entry point with a ladder."""
    return EntryPointSpec(id="api", heal=list(rungs), **fields)


def steps(heard):
    """The rungs that were taken and the causes, in order."""
    found = heard.found(EventType.EXECUTION_RESURRECTED)
    return [(event.data["rung"], event.data["cause"]) for event in found]


@pytest.fixture
def clock():
    return FakeClock()


class Shaky:
    """A node that fails so many times."""

    def __init__(self, times, error=ConnectionError):
        self.left = times
        self.runs = 0
        self.error = error

    async def work(self) -> str:
        self.runs += 1
        if self.left:
            self.left -= 1
            raise self.error("gone")
        return "done"

    @property
    def graph(self):
        return graph_of(function("w", self.work, max_retries=1))


async def test_a_failure_that_may_pass_is_tried_again_at_its_node(tmp_path, clock):
    shaky = Shaky(1)
    async with watched(tmp_path, clock, shaky.graph, healing("retry_node", "escalate")) as made:
        assert await made.run() == "completed"
        assert steps(made.heard) == [("retry_node", "transient")]
        assert await made.incidents() == []


async def test_what_is_not_mended_is_escalated_and_an_incident(tmp_path, clock):
    shaky = Shaky(9)
    async with watched(tmp_path, clock, shaky.graph, healing("retry_node", "escalate")) as made:
        assert await made.run() == "failed"
        assert steps(made.heard) == [("retry_node", "transient")]
        [asked] = made.heard.found(EventType.ESCALATION_REQUESTED)
        assert asked.data["context"] == "cause transient, after 1 further tries"
        assert [each.pattern for each in await made.incidents()] == ["escalation"]
    assert shaky.runs == 2


async def test_a_fault_of_the_program_is_escalated_at_once(tmp_path, clock):
    shaky = Shaky(9, ValueError)
    async with watched(tmp_path, clock, shaky.graph, healing("retry_node", "escalate")) as made:
        await made.run()
        assert (steps(made.heard), shaky.runs) == ([], 1)
        assert len(made.heard.found(EventType.ESCALATION_REQUESTED)) == 1


async def test_it_is_tried_so_often_and_no_more(tmp_path, clock):
    shaky = Shaky(99)
    spec = healing("retry_node", max_resurrections=4)
    async with watched(tmp_path, clock, shaky.graph, spec) as made:
        assert await made.run() == "failed"
        assert (len(steps(made.heard)), shaky.runs) == (4, 5)


CIRCLE = {"tool_calls": [{"name": "look", "input": {}}], "repeat": True}


def look() -> str:
    """Look."""
    return "nothing"


async def test_a_loop_begins_its_node_anew_and_forgets_what_was_said(tmp_path, clock):
    asked = []

    class Model(ScriptedProvider):
        async def stream(self, messages, *args, **given):
            asked.append(len(messages))
            async for event in super().stream(messages, *args, **given):
                yield event

    registry = ToolRegistry()
    registry.register_function(look)
    node = model("m", tools=["look"], max_retries=1)
    llm = Model({"nodes": {"m": [CIRCLE]}})
    spec = healing("restart_from_checkpoint", max_resurrections=1)
    async with watched(
        tmp_path,
        clock,
        graph_of(node),
        spec,
        llm=llm,
        tools=list(registry.get_tools().values()),
        tool_executor=registry.get_executor(),
    ) as made:
        assert await made.run() == "failed"
        assert steps(made.heard) == [("restart_from_checkpoint", "loop")]
        calls = made.heard.found(EventType.TOOL_CALL_STARTED)
    begun = [place for place, length in enumerate(asked) if length == 1]
    assert begun == [0, len(asked) // 2]
    ids = [event.data["tool_use_id"] for event in calls]
    assert len(ids) == len(asked)


@pytest.mark.parametrize("kind", ["auth", "quota", "bad_request"])
async def test_a_refusal_goes_on_with_the_other_model(tmp_path, clock, kind):
    bad = {"nodes": {"m": [{"error": {"kind": kind}, "repeat": True}]}}
    worse = {"nodes": {"m": [{"error": {"kind": kind, "attempts": 0}}]}}
    good = {"nodes": {"m": [{"text": "well", "set_output": {"answer": "well"}}]}}
    first, second = ScriptedProvider(bad), Once(ScriptedProvider(good), ScriptedProvider(worse))
    llm = FallbackProvider([first, second], clock=clock)
    node = model("m", max_retries=1)
    async with watched(tmp_path, clock, graph_of(node), healing("fallback_model"), llm=llm) as made:
        assert await made.run() == "completed"
        assert steps(made.heard) == [("fallback_model", "refused")]


class Once(ScriptedProvider):
    """A model that refuses the first call, and answers the others."""

    def __init__(self, later, first):
        super().__init__({})
        self.model = "second"
        self._turns = [first]
        self._later = later

    async def stream(self, *args, **given):
        provider = self._turns.pop() if self._turns else self._later
        async for event in provider.stream(*args, **given):
            yield event


async def test_a_node_that_falls_silent_is_cut_off_and_begun_anew(tmp_path):
    waits = [True]

    async def work() -> str:
        if waits:
            waits.pop()
            await asyncio.Event().wait()
        return "done"

    graph = graph_of(function("w", work, max_retries=1))
    config = AgentRuntimeConfig(stall_seconds=0.1)
    spec = healing("restart_from_checkpoint")
    async with running(tmp_path, graph, spec, config=config) as runtime:
        heard = Heard.of(runtime)
        result = await runtime.trigger_and_wait("api", {}, timeout=SECONDS)
    assert result.status == "completed"
    assert steps(heard) == [("restart_from_checkpoint", "stall")]


async def test_a_cancellation_is_never_healed(tmp_path, clock):
    began = asyncio.Event()

    async def work() -> str:
        began.set()
        await asyncio.Event().wait()
        return "never"

    graph = graph_of(function("w", work, max_retries=1))
    spec = healing("retry_node", "restart_from_checkpoint", "escalate")
    async with watched(tmp_path, clock, graph, spec) as made:
        name = await made.runtime.trigger("api", {})
        await began.wait()
        await made.runtime.cancel_execution("api", name)
        result = await made.runtime.wait_for_completion(name, SECONDS)
        await made.settle()
        assert result.status == "cancelled"
        assert not any(made.heard.found(kind) for kind in TOLD)
