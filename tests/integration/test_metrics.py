"""Every metric is moved by what it is about: a daemon does real work, and `/metrics` says so."""

import asyncio
import re
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hive_daemon.daemon.loop_watch import BEAT_SECONDS, LoopWatch
from hive_daemon.graph.edge import GraphSpec
from hive_daemon.graph.node import NodeSpec
from hive_daemon.llm.fallbacks import FallbackProvider
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.observability.metric_table import METRICS
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.runtime_config import Placement
from hive_daemon.tasks import Scope
from hive_daemon.tools.registry import ToolRegistry
from tests.fakes.control_client import Client
from tests.fakes.control_host import GOAL, FakeAgent, Host, chain, node, running_host
from tests.fakes.openai_server import Call, Failure, FakeOpenAI, Reply, Usage

SERIES = re.compile(r"^(hive_\w+?)(?:_bucket|_sum|_count)?(\{.*\})? (\S+)$", re.MULTILINE)


def look(at: str) -> str:
    """Look at something."""
    return f"it is {at}"


def shaky() -> dict[str, object]:
    raise ConnectionError("not now")


GRAPH = GraphSpec(
    id="talk",
    entry_node="work",
    terminal_nodes=["work"],
    nodes=[
        NodeSpec(id="work", node_type="event_loop", output_keys=["said"], tools=["look"]),
        NodeSpec(id="shaky", node_type="function", function=shaky, max_retries=2),
    ],
)
SAYS = Reply(calls=(Call("set_output", {"key": "said", "value": "yes"}),))
DONE = Reply(text="Done.", usage=Usage(30, 20, cached_tokens=10, reasoning_tokens=5))


@dataclass
class World:
    """A daemon at work, and who asks it."""

    host: Host
    client: Client
    model: FakeOpenAI
    children: list[subprocess.Popen] = field(default_factory=list)

    async def values(self) -> dict[str, float]:
        """Return every series with its value."""
        reply = await self.client.get("/metrics")
        assert reply.status == 200
        return {
            name + (labels or ""): float(value)
            for name, labels, value in SERIES.findall(reply.content.decode())
        }

    async def triage(self) -> None:
        """Run an execution to its end."""
        self.host.gate.is_open.set()
        await self.host.runtime("ops").trigger_and_wait("triage", {})
        await self.host.services.hub.flush()

    async def talk(self, *answers: object) -> None:
        """Run the agent that has a model; it is answered this."""
        self.model.script(*answers)
        await self.host.runtime("talk").trigger_and_wait("api", {})
        await self.host.services.hub.flush()

    async def usual_talk(self) -> None:
        """A tool call, an output, and an end."""
        await self.talk(Reply(calls=(Call("look", {"at": "it"}),)), SAYS, DONE)

    async def deliver(self) -> None:
        """Post what nobody signed."""
        port = self.host.webhooks.port
        assert port is not None
        await _post(port, "/hooks/pager")


async def _post(port: int, path: str) -> int:
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}{path}", data=b"{}") as answer,
    ):
        return answer.status


@asynccontextmanager
async def _world(directory):
    async with FakeOpenAI() as model, running_host(directory) as host:
        made = [
            OpenAIProvider(
                f"openai/{name}", "k", model.base_url, backoff_base=0.001, max_attempts=2
            )
            for name in ("gpt-4o", "gpt-4o-mini", "made-at-home")
        ]
        llm = FallbackProvider(made)
        tools = ToolRegistry()
        tools.register_function(look)
        place = host.services.settings.state_dir / "agents" / "talk"
        runtime = AgentRuntime(
            GRAPH,
            GOAL,
            llm=llm,
            tools=list(tools.get_tools().values()),
            tool_executor=tools.get_executor(),
            placement=Placement(host.services, "talk", place, host.webhooks),
        )
        runtime.register_entry_point(
            EntryPointSpec(
                id="api",
                isolation_level="isolated",
                max_resurrections=1,
                budgets=[{"requests": 100, "per": "1d"}],
            )
        )
        runtime.register_entry_point(
            EntryPointSpec(id="shake", entry_node="shaky", isolation_level="isolated")
        )
        runtime.register_entry_point(
            EntryPointSpec(
                id="echo",
                trigger_type="event",
                trigger_config={"event_types": ["custom"], "where": "event.data.missing.deep > 1"},
            )
        )
        await runtime.start()
        host.agents.agents["talk"] = FakeAgent("talk", place, runtime=runtime)
        world = World(host, Client(host.socket), model)
        yield world
        await llm.aclose()
        for child in world.children:
            child.kill()
            child.wait()


@pytest.fixture
async def world(tmp_path):
    async with _world(tmp_path) as made:
        yield made


async def _nothing(world):
    """It is there without anything being done."""


async def _triage(world):
    await world.triage()


async def _held(world):
    await world.client.post("/v1/entry-points/ops/triage/trigger", {"input": {}})
    await world.host.gate.entered.wait()


async def _queued(world):
    world.host.services.dispatcher.unregister("ops/triage")
    await world.client.post("/v1/entry-points/ops/triage/trigger", {"input": {}})


async def _failing(world):
    world.host.gate.fails.add("parse")
    await world.triage()


async def _talk(world):
    await world.usual_talk()


async def _resurrected(world):
    await world.talk(*[Failure(503)] * 40)


async def _retried(world):
    await world.talk(Failure(503), SAYS, DONE)


async def _fallen_back(world):
    await world.talk(Failure(401), SAYS, DONE)


async def _unpriced(world):
    await world.talk(Failure(401), Failure(401), SAYS, DONE)


async def _shaken(world):
    await world.host.runtime("talk").trigger_and_wait("shake", {})
    await world.host.services.hub.flush()


async def _missed(world):
    """A listener that never comes back misses what its queue cannot hold."""
    held = asyncio.Event()

    async def never(event):
        await held.wait()

    bus = world.host.runtime("ops").event_bus
    bus.subscribe([EventType.CUSTOM], never)
    for number in range(10_100):
        event = AgentEvent(EventType.CUSTOM, "somewhere", data={"number": number}, agent="ops")
        world.host.services.hub.show(event)
    await asyncio.sleep(0)
    held.set()


async def _late(world):
    """Something blocks the loop for longer than it may be silent."""
    watch, scope = LoopWatch(limit=0.0), Scope("test")
    scope.spawn("beat", watch.beat())
    await asyncio.sleep(0)
    _block(BEAT_SECONDS + 0.1)
    world.host.lag = watch.lag
    await scope.close()


def _block(seconds: float) -> None:
    time.sleep(seconds)


async def _delivered(world):
    await world.deliver()


async def _fired(world):
    soon = {"every": "1h", "run_immediately": True}
    tick = EntryPointSpec(id="soon", trigger_type="timer", trigger_config=soon)
    quick = await world.host.add("quick", chain("quick", node("only")), tick)
    assert await quick.event_bus.wait_for(EventType.EXECUTION_COMPLETED, look_back=True, timeout=20)


async def _paused(world):
    await world.client.post("/v1/timers/pause", {"ids": ["desk/tick"]})


async def _suppressed(world):
    event = AgentEvent(EventType.CUSTOM, "somewhere", data={})
    bus = world.host.runtime("talk").event_bus
    await bus.publish(event)
    assert await bus.wait_for(EventType.TRIGGER_SUPPRESSED, look_back=True, timeout=20)


async def _failing_twice(world):
    world.host.gate.fails.add("parse")
    for _ in range(2):
        await world.triage()
    await world.host.incidents.settle()


async def _child(world):
    world.children.append(subprocess.Popen(["sleep", "60"]))


ANY = object()
CAUSES = {
    "hive_executions_total": (_triage, "ops", 1),
    "hive_execution_seconds": (_triage, "ops", None),
    "hive_resurrections_total": (_resurrected, "talk", 1),
    "hive_nodes_total": (_triage, 'outcome="ok"', 3),
    "hive_node_retries_total": (_shaken, "talk", 1),
    "hive_running": (_held, "triage", 1),
    "hive_entry_point_slots": (_nothing, "triage", 10),
    "hive_slots": (_nothing, "", 100),
    "hive_slots_used": (_held, "", 1),
    "hive_queue_depth": (_queued, "triage", 1),
    "hive_queue_oldest_seconds": (_queued, "triage", None),
    "hive_timer_instants_total": (_fired, 'outcome="fired"', 1),
    "hive_timer_late_seconds": (_fired, "soon", ANY),
    "hive_timers_paused": (_paused, "desk", 1),
    "hive_scheduler_tick_age_seconds": (_nothing, "ops", None),
    "hive_webhook_requests_total": (_delivered, 'status="401"', 1),
    "hive_webhook_outcomes_total": (_delivered, "/hooks/pager", 1),
    "hive_triggers_suppressed_total": (_suppressed, "talk", 1),
    "hive_model_calls_total": (_talk, 'stop_reason="tool_calls"', 2),
    "hive_model_call_seconds": (_talk, "gpt-4o", None),
    "hive_model_tokens_total": (_talk, 'kind="cached_input"', 10),
    "hive_model_cost_usd_total": (_talk, "gpt-4o", None),
    "hive_model_unpriced_calls_total": (_unpriced, "made-at-home", 2),
    "hive_model_retries_total": (_retried, "gpt-4o", 1),
    "hive_model_fallbacks_total": (_fallen_back, "gpt-4o", None),
    "hive_tool_calls_total": (_talk, 'tool="look"', 1),
    "hive_tool_call_seconds": (_talk, "talk", None),
    "hive_events_total": (_triage, "", None),
    "hive_events_dropped_total": (_missed, "", None),
    "hive_commits_total": (_triage, "", None),
    "hive_commit_seconds": (_nothing, "0.99", None),
    "hive_store_bytes": (_nothing, "", None),
    "hive_loop_lag_seconds": (_late, "", None),
    "hive_resident_bytes": (_nothing, "", None),
    "hive_open_descriptors": (_nothing, "", None),
    "hive_children": (_child, "", None),
    "hive_uptime_seconds": (_nothing, "", None),
    "hive_agents": (_nothing, 'state="ready"', 3),
    "hive_ready": (_nothing, "", 1),
    "hive_budget_left": (_talk, 'unit="requests"', 97),
    "hive_incidents": (_failing_twice, "severity", 1),
    "hive_build_info": (_nothing, "python", 1),
}
"""Metric: what moves it, a part of the labels of its series, and the value then; None for one that is more than 0."""


def test_every_metric_has_its_cause() -> None:
    assert set(CAUSES) == {metric.name for metric in METRICS}


@pytest.mark.parametrize("name", CAUSES)
async def test_a_metric_is_moved_by_what_it_is_about(world, name):
    cause, labels, expected = CAUSES[name]
    before = await world.values()
    await cause(world)
    after = await world.values()
    found = {
        key: value
        for key, value in after.items()
        if key.partition("{")[0] == name and labels in key
    }
    assert found, sorted(key for key in after if key.startswith(name))
    if expected is None:
        assert any(value > 0 for value in found.values()), found
    elif expected is not ANY:
        assert expected in found.values(), found
    if cause is not _nothing:
        assert any(before.get(key) != value for key, value in found.items())
