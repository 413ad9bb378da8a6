"""Nodes that give no sign of life: told once for each silence, and only where the silence means something."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hive_daemon.graph.facts import NodeActionPlan
from hive_daemon.graph.node import NodeResult
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.llm.provider import LLMProvider
from hive_daemon.llm.scripted import ScriptedProvider
from hive_daemon.llm.stream_events import FinishEvent, TextDeltaEvent
from hive_daemon.llm.values import Tool
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig
from hive_daemon.runtime.services import Services
from tests.fakes.embedded import SECONDS, Heard, function, graph_of, model, running, services_at
from tests.fakes.openai_server import Break, Failure, FakeOpenAI, Reply
from tests.fakes.still_clock import StillClock

LIMIT = 240.0


@dataclass
class Held:
    """A node that the test holds."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def execute(self, ctx):
        self.entered.set()
        await self.let_go.wait()
        return NodeResult(True, {"answer": "done"})


@dataclass
class World:
    """A runtime whose time the test moves."""

    runtime: AgentRuntime
    services: Services
    clock: StillClock
    heard: Heard

    async def later(self, seconds):
        """Let time pass; what there is to tell then is heard."""
        self.clock.advance(seconds)
        await self.services.stalls.look()
        await self.services.hub.flush()
        await self.runtime.event_bus.publish(AgentEvent(EventType.CUSTOM, "test"))

    @property
    def told(self):
        return [event.data for event in self.heard.found(EventType.NODE_STALLED)]

    async def until_told(self, count):
        await self.heard.until(EventType.NODE_STALLED, count=count)


@asynccontextmanager
async def watched(tmp_path, graph, *specs, seconds=LIMIT, clock=None, **given):
    clock = clock or StillClock()
    config = AgentRuntimeConfig(stall_seconds=seconds)
    async with (
        services_at(tmp_path, clock, config) as (services, placement),
        running(None, graph, *specs, placement=placement, **given) as runtime,
    ):
        yield World(runtime, services, clock, Heard.of(runtime))


async def came(*events):
    async with asyncio.timeout(SECONDS):
        for event in events:
            await event.wait()


async def let_end(world, name, *events):
    for event in events:
        event.set()
    return await world.runtime.wait_for_completion(name, SECONDS)


async def test_a_node_that_hangs_is_told_once_with_its_node_and_how_long(tmp_path):
    held = Held()
    graph = graph_of(function("n", lambda: None))
    async with watched(tmp_path, graph, node_registry={"n": held}) as world:
        name = await world.runtime.trigger("default", {})
        await came(held.entered)
        await world.later(LIMIT - 1)
        assert world.told == []
        world.clock.advance(1)
        await world.until_told(1)
        (event,) = world.heard.found(EventType.NODE_STALLED)
        assert (event.node_id, event.execution_id, event.data) == (
            "n",
            name,
            {"reason": "no sign of life for 240 s", "seconds": LIMIT},
        )
        await world.later(10 * LIMIT)
        assert len(world.told) == 1
        assert (await let_end(world, name, held.let_go)).status == "completed"


async def test_it_is_told_again_after_a_sign_of_life(tmp_path):
    steps = [asyncio.Event(), asyncio.Event()]
    entered = asyncio.Event()

    class Speaks:
        async def execute(self, ctx):
            entered.set()
            await steps[0].wait()
            await ctx.recorder.record(NodeActionPlan(ctx.node_id, "go on"))
            await steps[1].wait()
            return NodeResult(True, {"answer": "done"})

    graph = graph_of(function("n", lambda: None))
    async with watched(tmp_path, graph, node_registry={"n": Speaks()}) as world:
        name = await world.runtime.trigger("default", {})
        await came(entered)
        await world.later(LIMIT)
        await world.until_told(1)
        steps[0].set()
        await world.heard.until(EventType.NODE_ACTION_PLAN)
        await world.later(LIMIT - 1)
        assert len(world.told) == 1
        await world.later(LIMIT)
        await world.until_told(2)
        await let_end(world, name, steps[1])


async def test_a_branch_that_hangs_is_told_beside_one_that_gets_on(tmp_path):
    held, entered, beats = Held(), asyncio.Event(), asyncio.Queue()

    class Busy:
        async def execute(self, ctx):
            entered.set()
            while await beats.get():
                await ctx.recorder.record(NodeActionPlan(ctx.node_id, "on"))
            return NodeResult(True, {"busy": "done"})

    graph = graph_of(
        function("a", lambda: "open", outputs=["a"]),
        function("hangs", lambda: None),
        function("busy", lambda: None, outputs=["busy"]),
        edges=[("a", "hangs"), ("a", "busy")],
    )
    registry = {"hangs": held, "busy": Busy()}
    async with watched(tmp_path, graph, node_registry=registry) as world:
        name = await world.runtime.trigger("default", {})
        await came(held.entered, entered)
        for count in range(1, 4):
            await world.later(LIMIT / 3)
            beats.put_nowait(True)
            await world.heard.until(EventType.NODE_ACTION_PLAN, count=count)
        await world.later(1)
        await world.until_told(1)
        assert [e.node_id for e in world.heard.found(EventType.NODE_STALLED)] == ["hangs"]
        beats.put_nowait(False)
        await let_end(world, name, held.let_go)


async def test_an_event_entry_point_hears_of_it(tmp_path):
    held, saved = Held(), asyncio.Event()

    async def repair(event):
        saved.set()
        return event["data"]["seconds"]

    guardian = EntryPointSpec(
        id="guardian",
        entry_node="repair",
        trigger_type="event",
        trigger_config={"event_types": ["node_stalled"]},
        isolation_level="isolated",
    )
    graph = graph_of(
        function("n", lambda: None), function("repair", repair, ["event"], ["seconds"])
    )
    desk, registry = EntryPointSpec(id="desk"), {"n": held}
    async with watched(tmp_path, graph, desk, guardian, node_registry=registry) as world:
        name = await world.runtime.trigger("desk", {})
        await came(held.entered)
        await world.later(LIMIT)
        await came(saved)
        await let_end(world, name, held.let_go)


async def test_telling_it_is_no_activity(tmp_path):
    held = Held()
    graph = graph_of(function("n", lambda: None))
    async with watched(tmp_path, graph, node_registry={"n": held}) as world:
        name = await world.runtime.trigger("default", {})
        await came(held.entered)
        execution = world.runtime.find_stream("default").get_context(name)
        execution.pulses, pulses = (), execution.pulses
        idle = execution.idle_seconds
        execution.pulses = pulses
        await world.later(LIMIT)
        assert len(world.told) == 1
        execution.pulses = ()
        assert execution.idle_seconds == idle + LIMIT
        execution.pulses = pulses
        await let_end(world, name, held.let_go)


async def test_zero_turns_it_off(tmp_path):
    held = Held()
    graph = graph_of(function("n", lambda: None))
    async with watched(tmp_path, graph, seconds=0, node_registry={"n": held}) as world:
        name = await world.runtime.trigger("default", {})
        await came(held.entered)
        await world.later(100 * LIMIT)
        assert world.told == []
        await let_end(world, name, held.let_go)


async def test_the_pause_before_a_further_attempt_is_not_told(tmp_path):
    class Fails:
        async def execute(self, ctx):
            return NodeResult(False, error="not now")

    graph = graph_of(function("n", lambda: None))
    async with watched(tmp_path, graph, seconds=0.5, node_registry={"n": Fails()}) as world:
        name = await world.runtime.trigger("default", {})
        for count in (1, 2):
            await world.heard.until(EventType.NODE_RETRY, count=count)
            await world.later(count)
        failed = await let_end(world, name)
        assert (failed.status, world.told) == ("failed", [])


async def test_what_waits_for_a_person_is_not_told(tmp_path):
    graph = graph_of(model("n", node_type="human_input", description="Who?"))
    async with watched(tmp_path, graph) as world:
        waiting = await world.runtime.trigger_and_wait("default", {})
        assert waiting.status == "waiting_input"
        await world.later(10 * LIMIT)
        assert world.told == []


# --- model loops --------------------------------------------------------------------------------


class Steady(LLMProvider):
    """A model that says a word each time the test lets it."""

    model = "steady"

    def __init__(self):
        self.words = asyncio.Queue()
        self.asked = asyncio.Event()
        self.said = 0

    async def stream(self, messages, system="", tools=None, max_tokens=4096):
        self.asked.set()
        text = ""
        while word := await self.words.get():
            text += word
            self.said += 1
            yield TextDeltaEvent(content=word, snapshot=text)
        yield FinishEvent(stop_reason="stop", input_tokens=1, output_tokens=1, model="steady")


async def test_a_stream_that_goes_on_is_progress_though_nobody_listens(tmp_path):
    llm = Steady()
    graph = graph_of(model("n", []))
    async with watched(tmp_path, graph, llm=llm) as world:
        name = await world.runtime.trigger("default", {})
        await came(llm.asked)
        for _ in range(6):
            await world.later(LIMIT - 1)
            llm.words.put_nowait("word ")
            await world.later(0)
        assert (world.told, llm.said) == ([], 6)
        await world.later(LIMIT)
        await world.until_told(1)
        llm.words.put_nowait("")
        await let_end(world, name)


async def test_a_model_server_that_stalls_is_told(tmp_path):
    async with FakeOpenAI() as server:
        server.otherwise = Reply(breaks=Break.STALL_BEFORE_HEADERS)
        llm = OpenAIProvider("openai/fake", api_key="sk", api_base=server.base_url)
        graph = graph_of(model("n"))
        async with watched(tmp_path, graph, llm=llm) as world:
            name = await world.runtime.trigger("default", {})
            await server.wait_for_requests(1)
            await world.later(LIMIT)
            await world.until_told(1)
            await world.runtime.cancel_execution("default", name)
        await llm.aclose()


async def test_the_pause_that_a_model_service_asks_for_is_not_told(tmp_path):
    async with FakeOpenAI() as server:
        clock = StillClock()
        server.script(Failure(429, retry_after="50"), Reply(text="ok"))
        base = server.base_url
        llm = OpenAIProvider("openai/fake", api_key="sk", api_base=base, clock=clock)
        graph = graph_of(model("n", []))
        async with watched(tmp_path, graph, clock=clock, seconds=40, llm=llm) as world:
            name = await world.runtime.trigger("default", {})
            await world.heard.until(EventType.NODE_RETRY)
            await world.later(45)
            assert world.told == []
            world.clock.advance(10)
            assert (await let_end(world, name)).status == "completed"
        await llm.aclose()


async def test_a_tool_within_its_time_is_not_told(tmp_path):
    called, let_go = asyncio.Event(), asyncio.Event()

    async def run(use):
        called.set()
        await let_go.wait()
        return "done"

    turns = [{"tool_calls": [{"name": "dig", "input": {}}]}, {"set_output": {"answer": "x"}}]
    graph = graph_of(model("n", tools=["dig"]))
    llm = ScriptedProvider({"nodes": {"n": turns}})
    given = {"llm": llm, "tools": [Tool("dig", "Dig.")], "tool_executor": run}
    async with watched(tmp_path, graph, **given) as world:
        name = await world.runtime.trigger("default", {})
        await came(called)
        await world.later(10 * LIMIT)
        assert world.told == []
        await let_end(world, name, let_go)
