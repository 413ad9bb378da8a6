"""The vigil is right: what is healthy raises no alarm however much it repeats itself, what goes in circles raises one.

The runs are the scripts of tests/fakes/vigil_scripts; what the world outside does to an execution is no alarm either.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.stream_events import FinishEvent
from hive_daemon.monitoring import HEALTH_JUDGE_ENTRY_POINT, judge_goal, judge_graph
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import SECONDS, function, graph_of, model
from tests.fakes.vigil_world import watched

SCRIPTS = Path(__file__).parent.parent / "fakes" / "vigil_scripts"
HEALTHY = sorted(SCRIPTS.glob("healthy_*.json"))
LOOPS = sorted(SCRIPTS.glob("loop_*.json"))
DAY = 86_400.0


def tools():
    """What the models of the scripts work with."""
    polls, counts, tries = count(1), count(1), count(1)

    def poll(job: str) -> str:
        """Ask whether a job is done."""
        return "pending" if next(polls) < 6 else "ready"

    def read(page: int) -> str:
        """Read a page."""
        return f"this is page {page}"

    def write(page: int, text: str) -> str:
        """Write a page."""
        return "written"

    def look() -> str:
        """Look around."""
        return "nothing new"

    def tally(of: str) -> str:
        """Count something."""
        return f"{next(counts)} so far"

    def shaky() -> str:
        """Do something that does not work at first."""
        if next(tries) < 3:
            raise ConnectionError("the line is bad")
        return "it works"

    def open_file(path: str) -> str:
        """Open a file."""
        raise FileNotFoundError(f"File not found {path}")

    tally.__name__, open_file.__name__ = "count", "open"
    registry = ToolRegistry()
    for tool in (poll, read, write, look, tally, shaky, open_file):
        registry.register_function(tool)
    return registry


def world(path, clock, script, **fields):
    """An agent whose one node follows a script, watched over."""
    registry = tools()
    node = model(
        "m", ("answer", "draft"), tools=list(registry.get_tools()), max_retries=1, **fields
    )
    node = node.model_copy(update={"nullable_output_keys": ["draft"]})
    return watched(
        path,
        clock,
        graph_of(node),
        llm=ScriptedProvider(script),
        tools=list(registry.get_tools().values()),
        tool_executor=registry.get_executor(),
    )


@pytest.fixture
def clock():
    return FakeClock(auto=False)


def test_the_set_is_whole():
    assert (len(HEALTHY), len(LOOPS)) == (10, 5)


@pytest.mark.parametrize("script", HEALTHY, ids=lambda path: path.stem)
async def test_a_healthy_run_raises_no_alarm(tmp_path, clock, script):
    async with world(tmp_path, clock, json.loads(script.read_text())) as made:
        assert await made.run() == "completed"
        assert await made.incidents() == []
        assert made.vigil.watchman.watched == 0
    assert made.ears.told == []


@pytest.mark.parametrize("script", LOOPS, ids=lambda path: path.stem)
async def test_a_loop_raises_one_alarm(tmp_path, clock, script):
    async with world(tmp_path, clock, json.loads(script.read_text())) as made:
        assert await made.run() == "failed"
        [incident] = await made.incidents()
        assert (incident.pattern, incident.openings) == ("doom_loop", 1)
        assert incident.severity in ("high", "critical")
        assert incident.evidence
    assert [alert.kind.value for alert in made.ears.told][:1] == ["incident.opened"]
    assert {alert.incident.id for alert in made.ears.told} == {incident.id}


@pytest.mark.parametrize("kind", ["transient", "rate_limited", "auth", "quota"])
async def test_an_outage_of_the_provider_is_no_alarm(tmp_path, kind):
    script = {"nodes": {"m": [{"error": {"kind": kind}, "repeat": True}]}}
    async with world(tmp_path, FakeClock(), script) as made:
        assert await made.run() == "failed"
        assert await made.incidents() == []
    assert made.ears.told == []


async def test_an_outage_that_goes_on_is_told_of_the_entry_point_and_named(tmp_path):
    script = {"nodes": {"m": [{"error": {"kind": "quota"}, "repeat": True}]}}
    async with world(tmp_path, FakeClock(), script) as made:
        await made.run()
        await made.run()
        [incident] = await made.incidents()
    assert (incident.pattern, incident.error) == ("failures", "quota")
    assert "the account at the model service has no credit left" in incident.cause


async def test_a_refused_key_of_one_entry_point_is_told_later_than_that_of_the_agent(tmp_path):
    script = {"nodes": {"m": [{"error": {"kind": "auth"}, "repeat": True}]}}
    found = []
    async with world(tmp_path, FakeClock(), script) as made:
        for _ in range(4):
            await made.run()
            found.append(len(await made.incidents()))
    assert found == [0, 0, 0, 1]


async def test_a_node_that_is_tried_again_and_again_because_of_an_outage_is_no_alarm(tmp_path):
    script = {"nodes": {"m": [{"error": {"kind": "transient"}, "repeat": True}]}}
    clock = FakeClock()
    node = model("m", max_retries=15)
    async with watched(tmp_path, clock, graph_of(node), llm=ScriptedProvider(script)) as made:
        assert await made.run() == "failed"
        assert await made.incidents() == []


async def test_a_pause_before_a_further_try_is_no_stall(tmp_path, clock):
    slow = {"kind": "rate_limited", "attempts": 1, "retry_after_seconds": 60}
    script = {"nodes": {"m": [{"error": slow, "text": "well", "set_output": {"answer": "x"}}]}}
    async with watched(
        tmp_path, clock, graph_of(model("m")), llm=ScriptedProvider(script), stall_seconds=5
    ) as made:
        name = await made.runtime.trigger("api", {})
        retry = await made.heard.until(EventType.NODE_RETRY)
        assert retry.data["delay_seconds"] >= 60
        await clock.advance(59)
        await made.settle()
        assert await made.incidents() == []
        await clock.advance(30)
        result = await made.runtime.wait_for_completion(name, SECONDS)
        assert result.status == "completed"


async def test_who_waits_for_a_person_is_no_stall(tmp_path, clock):
    ask = function("ask", str).model_copy(update={"node_type": "human_input", "function": None})
    async with watched(tmp_path, clock, graph_of(ask), stall_seconds=240) as made:
        name = await made.runtime.trigger("api", {})
        await made.runtime.wait_for_completion(name, SECONDS)
        await clock.advance(DAY)
        await made.settle()
        assert await made.incidents() == []


async def test_a_silence_without_a_reason_is_a_stall(tmp_path, clock):
    gate, began = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        began.set()
        await gate.wait()
        return "done"

    async with watched(tmp_path, clock, graph_of(function("w", work)), stall_seconds=240) as made:
        name = await made.runtime.trigger("api", {})
        await began.wait()
        await clock.advance(600)
        stalled = await made.heard.until(EventType.NODE_STALLED)
        await made.settle()
        [incident] = await made.incidents()
        assert (incident.pattern, incident.severity, incident.node_id) == ("stall", "critical", "w")
        assert stalled.node_id == "w"
        gate.set()
        await made.runtime.wait_for_completion(name, SECONDS)
        await made.settle()
        assert (await made.incidents())[0].is_over


async def test_what_costs_too_much_is_an_alarm(tmp_path, clock):
    script = json.loads((SCRIPTS / "healthy_reads_forty_pages.json").read_text())

    class Dear(ScriptedProvider):
        async def stream(self, *args, **given):
            async for event in super().stream(*args, **given):
                yield replace(event, cost_usd=0.5) if isinstance(event, FinishEvent) else event

    registry = tools()
    node = model("m", tools=["read"], max_retries=1)
    async with watched(
        tmp_path,
        clock,
        graph_of(node),
        llm=Dear(script),
        tools=list(registry.get_tools().values()),
        tool_executor=registry.get_executor(),
    ) as made:
        await made.run()
        [incident] = await made.incidents()
    assert (incident.pattern, incident.count) == ("runaway_cost", 2)


async def test_an_idle_day_with_a_judge_asks_no_model(tmp_path, clock):
    asked = []

    class Model(ScriptedProvider):
        async def stream(self, *args, **given):
            asked.append(1)
            async for event in super().stream(*args, **given):
                yield event

    async with watched(
        tmp_path, clock, graph_of(model("m")), EntryPointSpec(id="api"), llm=Model({})
    ) as made:
        await made.runtime.add_graph(
            "judge", judge_graph, judge_goal, {"health_check": HEALTH_JUDGE_ENTRY_POINT}
        )
        for looks in range(1, 25):
            clock.jump(3600.0 - 120.0)
            await clock.advance(120.0)
            await made.heard.until(
                EventType.EXECUTION_COMPLETED, "judge::health_check", count=looks
            )
        await made.settle()
        assert await made.incidents() == []
    assert asked == []
