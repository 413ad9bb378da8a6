"""What an embedded runtime tells of itself: streams, counts, idleness, events, goal progress."""

import math

import pytest

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.errors import NotRunning
from hive_daemon.graph.goal import Goal
from hive_daemon.graph.json_text import find_json_object
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from tests.fakes.embedded import (
    GOAL,
    SECONDS,
    Heard,
    Turnstile,
    function,
    graph_of,
    model,
    running,
    services_at,
)
from tests.fakes.still_clock import StillClock


async def hello(query="nobody"):
    return f"hello, {query}"


GRAPH = graph_of(function("start", hello))


# --- streams and counts -------------------------------------------------------------------------


async def test_each_entry_point_has_a_stream(tmp_path):
    specs = [EntryPointSpec(id="a", max_concurrent=3), EntryPointSpec(id="b")]
    async with running(tmp_path, GRAPH, *specs) as runtime:
        assert list(runtime._streams) == ["a", "b"]
        stream = runtime._streams["a"]
        assert stream is runtime.get_stream("a")
        assert (stream.stream_id, stream.entry_spec.id, stream.limit) == ("a", "a", 3)
        assert runtime.get_stream("nothing") is None
    assert runtime._streams == {}


async def test_the_counts_follow_what_happens(tmp_path):
    turnstile = Turnstile()
    config = AgentRuntimeConfig(max_concurrent_executions=2)
    graph = graph_of(function("start", turnstile.enter))
    async with running(tmp_path, graph, config=config) as runtime:
        stream = runtime.get_stream("default")
        assert stream.get_stats()["status_counts"] == {}
        names = [await runtime.trigger("default") for _ in range(3)]
        await turnstile.until(2)
        assert runtime.get_stats()["active_executions"] == stream.get_active_count() == 2
        assert stream.get_stats()["status_counts"] == {"running": 2, "queued": 1}
        assert [each.stream_id for each in runtime.get_active_streams()] == ["default"]
        assert set(stream.active_execution_ids) < set(names)
        await runtime.cancel_execution("default", names[2])
        await turnstile.let_through()
        for name in names:
            await runtime.wait_for_completion(name, SECONDS)
        stats = stream.get_stats()
        assert stats["status_counts"] == {"completed": 2, "cancelled": 1}
        assert (stats["total_executions"], stats["completed_executions"]) == (3, 2)
        assert (runtime.get_stats()["active_executions"], runtime.get_active_streams()) == (0, [])


async def test_the_stats_hold_what_the_documents_name(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        stats = runtime.get_stats()
    assert {"active_executions", "streams", "running", "entry_points", "event_bus"} <= set(stats)
    assert (stats["goal_id"], stats["graphs"], stats["entry_points"]) == (
        "goal",
        ["primary"],
        1,
    )


async def test_a_running_execution_tells_where_it_is(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("start", turnstile.enter))) as runtime:
        name = await runtime.trigger("default", {"query": "x"})
        await turnstile.until(1)
        execution = runtime.get_stream("default").get_context(name)
        assert (execution.execution_id, execution.session_id) == (name, name)
        assert (execution.nodes, execution.values["query"]) == (("start",), "x")
        await turnstile.let_through()
        await runtime.wait_for_completion(name, SECONDS)
        assert runtime.get_stream("default").get_context(name) is None


# --- idleness -----------------------------------------------------------------------------------


async def test_nothing_running_is_idle_for_ever_and_a_node_at_work_is_not_idle(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("start", turnstile.enter))) as runtime:
        stream = runtime.get_stream("default")
        assert (runtime.agent_idle_seconds, stream.agent_idle_seconds) == (math.inf, math.inf)
        name = await runtime.trigger("default")
        await turnstile.until(1)
        assert (runtime.agent_idle_seconds, stream.agent_idle_seconds) == (0.0, 0.0)
        await turnstile.let_through()
        await runtime.wait_for_completion(name, SECONDS)
        assert runtime.agent_idle_seconds == math.inf


async def test_people_are_idle_since_they_last_said_something(tmp_path):
    clock = StillClock()
    async with (
        services_at(tmp_path, clock) as (_, placement),
        running(None, GRAPH, placement=placement) as runtime,
    ):
        clock.advance(7)
        assert runtime.user_idle_seconds == 7.0
        await runtime.inject_input("start", "hello")
        assert runtime.user_idle_seconds == 0.0


async def test_timers_count_down_on_the_clock_of_the_services(tmp_path):
    clock = StillClock()
    spec = EntryPointSpec(id="tick", trigger_type="timer", trigger_config={"interval_minutes": 5})
    async with (
        services_at(tmp_path, clock) as (_, placement),
        running(None, GRAPH, spec, placement=placement) as runtime,
    ):
        assert runtime._timer_next_fire == {"tick": clock.monotonic() + 300.0}
        clock.advance(100)
        assert runtime.get_timer_next_fire_in("tick") == 200.0
        assert runtime.get_timer_next_fire_in("nothing") is None


async def test_timers_are_listed_when_start_returns(tmp_path):
    spec = EntryPointSpec(id="tick", trigger_type="timer", trigger_config={"interval_minutes": 5})
    async with running(tmp_path, GRAPH, spec) as runtime:
        assert (len(runtime._timer_tasks), list(runtime._timer_next_fire)) == (1, ["tick"])
        assert 0 < runtime._timer_next_fire["tick"] - SYSTEM_CLOCK.monotonic() <= 300
        assert not runtime.timers_paused
        runtime.pause_timers()
        assert runtime.timers_paused
        runtime.resume_timers(["tick"])
        assert not runtime.timers_paused


# --- events -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 2),
        ({"filter_stream": "a"}, 1),
        ({"filter_stream": "primary"}, 2),
        ({"filter_node": "start"}, 0),
        ({"filter_graph": "primary"}, 2),
        ({"filter_graph": "other"}, 0),
    ],
)
async def test_a_subscription_hears_what_its_filters_let_through(tmp_path, filters, count):
    specs = [EntryPointSpec(id="a"), EntryPointSpec(id="b")]
    async with running(tmp_path, GRAPH, *specs) as runtime:
        heard = []
        runtime.subscribe_to_events([EventType.EXECUTION_COMPLETED], heard.append, **filters)
        for name in ("a", "b"):
            await runtime.trigger_and_wait(name)
        await runtime.event_bus.drain(5.0)
        assert len(heard) == count


async def test_a_subscription_by_execution_hears_of_that_one(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("start", turnstile.enter))) as runtime:
        names = [await runtime.trigger("default") for _ in range(2)]
        await turnstile.until(2)
        heard = []
        runtime.subscribe_to_events(
            [EventType.EXECUTION_COMPLETED], heard.append, filter_execution=names[1]
        )
        await turnstile.let_through()
        for name in names:
            await runtime.wait_for_completion(name, SECONDS)
        await runtime.event_bus.drain(5.0)
        assert [event.execution_id for event in heard] == [names[1]]


async def test_unsubscribing_says_whether_there_was_something(tmp_path):
    runtime = AgentRuntime(GRAPH, GOAL, tmp_path)
    token = runtime.subscribe_to_events([EventType.CUSTOM], print)
    assert [runtime.unsubscribe_from_events(token) for _ in range(2)] == [True, False]


async def test_a_program_may_bring_a_bus_of_its_own(tmp_path):
    from hive_daemon.runtime.event_bus import EventBus

    bus = EventBus()
    async with running(tmp_path, GRAPH, event_bus=bus) as runtime:
        assert runtime.event_bus is bus
        await bus.publish(AgentEvent(EventType.CUSTOM, "mine"))
        assert bus.get_history(EventType.CUSTOM)[0].stream_id == "mine"


# --- the goal -----------------------------------------------------------------------------------


async def test_goal_progress_grows_with_what_nodes_achieve(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        heard = Heard.of(runtime)
        before = await runtime.get_goal_progress()
        await runtime.trigger_and_wait("default")
        await heard.until(EventType.EXECUTION_COMPLETED)
        after = await runtime.get_goal_progress()
        assert before["overall_progress"] <= after["overall_progress"]
        assert runtime.outcome_aggregator.get_stats() == runtime.get_stats()["outcome_aggregator"]


def test_a_runtime_tells_what_it_was_made_of(tmp_path):
    goal = Goal(id="g", name="G")
    runtime = AgentRuntime(GRAPH, goal, tmp_path, graph_id="mine")
    assert (runtime.graph, runtime.goal, runtime.graph_id) == (GRAPH, goal, "mine")
    assert (runtime.directory, runtime.list_graphs()) == (tmp_path, ["mine"])
    with pytest.raises(NotRunning):
        runtime.running()


async def test_programs_keep_runs_of_their_own_beside_the_sessions(tmp_path):
    runtime = AgentRuntime(GRAPH, GOAL, tmp_path)
    await runtime.storage.start()
    assert runtime.storage.base_path == tmp_path
    await runtime.storage.stop()


async def test_a_model_that_was_not_configured_fails_the_run_with_a_reason(tmp_path):
    async with running(tmp_path, graph_of(model("start"))) as runtime:
        result = await runtime.trigger_and_wait("default", timeout=SECONDS)
        assert (result.success, "model" in result.error) == (False, True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Here: {"a": {"b": "}"}} and {"c": 1}', '{"a": {"b": "}"}}'),
        ('use {placeholder}, then {"a": 1}', '{"a": 1}'),
        ("{ not json", None),
        ("nothing", None),
        ("{" * 100_000, None),
        ('{"a":' * 3_000, None),
    ],
)
def test_the_first_json_object_of_a_text_is_found(text, found):
    assert find_json_object(text) == found
