"""The life of an embedded runtime: start, stop, start again; what may be changed when."""

import asyncio
import json
import logging
import socket

import pytest

from hive_daemon.errors import (
    AlreadyRegistered,
    AlreadyRunning,
    ConfigError,
    EntryPointNotFound,
    InvalidGraph,
    InvalidInput,
    NotRunning,
    StateLocked,
)
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
)


async def hello(query="nobody"):
    return f"hello, {query}"


GRAPH = graph_of(function("start", hello))


def runtime_at(path, graph=GRAPH, **given):
    return AgentRuntime(graph, GOAL, path, **given)


# --- starting -----------------------------------------------------------------------------------


async def test_it_runs_from_start_to_stop(tmp_path):
    runtime = runtime_at(tmp_path)
    assert (runtime.is_running, runtime._running) == (False, False)
    await runtime.start()
    assert (runtime.is_running, runtime._running) == (True, True)
    await runtime.stop()
    assert (runtime.is_running, runtime._running) == (False, False)


async def test_starting_and_stopping_twice_does_no_harm(tmp_path):
    runtime = runtime_at(tmp_path)
    await runtime.stop()
    await asyncio.gather(runtime.start(), runtime.start())
    await asyncio.gather(runtime.stop(), runtime.stop())
    assert not runtime.is_running


async def test_a_stopped_runtime_starts_again_and_knows_its_executions(tmp_path):
    runtime = runtime_at(tmp_path)
    await runtime.start()
    first = await runtime.trigger_and_wait("default", {"query": "you"})
    await runtime.stop()
    await runtime.start()
    known = await runtime.wait_for_completion(first.execution_id)
    assert (known.success, known.output) == (True, first.output)
    assert (await runtime.trigger_and_wait("default")).success
    await runtime.stop()


async def test_a_failed_start_leaves_nothing_and_may_be_tried_again(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        routes = [{"source_id": "s", "path": "/s", "secret": "x"}]
        config = AgentRuntimeConfig(webhook_port=port, webhook_routes=routes)
        runtime = runtime_at(tmp_path, config=config)
        with pytest.raises(OSError, match=str(port)):
            await runtime.start()
        assert (runtime.is_running, runtime._streams) == (False, {})
    async with running(tmp_path, GRAPH):
        pass
    await runtime.start()
    assert runtime.webhook_server.port == port
    await runtime.stop()


async def test_one_state_directory_has_one_owner(tmp_path):
    async with running(tmp_path, GRAPH):
        with pytest.raises(StateLocked):
            await runtime_at(tmp_path).start()


async def test_without_entry_points_there_is_a_default_one(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        assert [spec.id for spec in runtime.get_entry_points()] == ["default"]
        assert list(runtime._streams) == ["default"]


async def test_without_webhook_routes_there_is_no_server(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        assert runtime.webhook_server is None


async def test_a_tool_that_nobody_offers_keeps_it_from_starting(tmp_path):
    graph = graph_of(model("start", tools=["dig"]))
    with pytest.raises(InvalidGraph, match="nobody offers the tools dig"):
        await runtime_at(tmp_path, graph).start()


# --- entry points -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (EntryPointSpec(id="x", entry_node="nowhere"), "no node 'nowhere'"),
        (EntryPointSpec(id="a/b"), "not a valid name"),
        (EntryPointSpec(id="x", trigger_type="pigeon"), "'pigeon' is unknown"),
        (EntryPointSpec(id="x", isolation_level="none"), "'none' is unknown"),
        (EntryPointSpec(id="x", trigger_type="timer", trigger_config={"cron": "x"}), "cron"),
        (EntryPointSpec(id="x", trigger_type="event"), "names no event"),
        (
            EntryPointSpec(id="x", trigger_type="event", trigger_config={"event_types": ["no"]}),
            "event_types",
        ),
        (
            EntryPointSpec(
                id="x",
                trigger_type="event",
                trigger_config={"event_types": ["custom"], "exclude_own_graph": "yes"},
            ),
            "exclude_own_graph: must be true or false",
        ),
    ],
)
def test_an_entry_point_that_makes_no_sense_is_refused(tmp_path, spec, said):
    with pytest.raises(InvalidGraph, match=said):
        runtime_at(tmp_path).register_entry_point(spec)


def test_an_entry_point_has_one_id(tmp_path):
    runtime = runtime_at(tmp_path)
    runtime.register_entry_point(EntryPointSpec(id="x"))
    with pytest.raises(ValueError, match="'x' is registered already"):
        runtime.register_entry_point(EntryPointSpec(id="x"))
    with pytest.raises(AlreadyRegistered):
        runtime.register_entry_point(EntryPointSpec(id="x"))


def test_an_entry_point_is_unregistered(tmp_path):
    runtime = runtime_at(tmp_path)
    runtime.register_entry_point(EntryPointSpec(id="x"))
    assert [runtime.unregister_entry_point("x") for _ in range(2)] == [True, False]
    assert runtime.get_entry_points() == []


async def test_while_it_runs_entry_points_and_nodes_stay_as_they_are(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        with pytest.raises(RuntimeError):
            runtime.register_entry_point(EntryPointSpec(id="x"))
        with pytest.raises(AlreadyRunning):
            runtime.unregister_entry_point("default")
        with pytest.raises(AlreadyRunning):
            runtime.register_node("start", object())


async def test_a_node_of_ones_own_runs_for_its_id(tmp_path):
    class Mine:
        async def execute(self, ctx):
            from hive_daemon.graph.node import NodeResult

            return NodeResult(success=True, output={"answer": f"mine, {ctx.node_id}"})

    runtime = runtime_at(tmp_path, graph_of(model("start")))
    runtime.register_node("start", Mine())
    await runtime.start()
    assert (await runtime.trigger_and_wait("default")).output["answer"] == "mine, start"
    await runtime.stop()


# --- refusals -----------------------------------------------------------------------------------


async def test_a_runtime_that_does_not_run_takes_nothing(tmp_path):
    runtime = runtime_at(tmp_path)
    with pytest.raises(RuntimeError, match="not running"):
        await runtime.trigger("default")
    with pytest.raises(NotRunning):
        await runtime.inject_input("start", "hello")
    with pytest.raises(NotRunning):
        runtime.pause_timers()


async def test_an_unknown_entry_point_is_named_with_those_that_exist(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        with pytest.raises(ValueError, match="'nothing'") as caught:
            await runtime.trigger("nothing")
        assert isinstance(caught.value, EntryPointNotFound)
        assert caught.value.hint == "entry points: default"


@pytest.mark.parametrize("given", [{"input_data": [1]}, {"session_state": "x"}])
async def test_what_is_no_dict_is_refused(tmp_path, given):
    async with running(tmp_path, GRAPH) as runtime:
        with pytest.raises(InvalidInput, match="must be a dict"):
            await runtime.trigger("default", **given)


async def test_an_input_that_json_cannot_hold_is_refused(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        with pytest.raises(InvalidInput, match="cannot be kept as JSON"):
            await runtime.trigger("default", {"query": object()})


def test_a_configuration_that_makes_no_sense_is_refused_with_every_fault():
    with pytest.raises(ConfigError) as caught:
        AgentRuntimeConfig(max_concurrent_executions=0, drain_seconds=-1)
    assert len(caught.value.problems) == 2


# --- stopping -----------------------------------------------------------------------------------


async def test_stop_lets_what_runs_end_within_its_time(tmp_path):
    turnstile = Turnstile()
    runtime = runtime_at(tmp_path, graph_of(function("start", turnstile.enter)))
    await runtime.start()
    name = await runtime.trigger("default")
    await turnstile.until(1)
    waiting = asyncio.create_task(runtime.wait_for_completion(name))
    stopping = asyncio.create_task(runtime.stop(SECONDS))
    await turnstile.let_through()
    await stopping
    assert (await waiting).status == "completed"


async def test_what_does_not_end_in_time_goes_on_at_the_next_start(tmp_path):
    turnstile = Turnstile()
    runtime = runtime_at(tmp_path, graph_of(function("start", turnstile.enter)))
    await runtime.start()
    name = await runtime.trigger("default")
    await turnstile.until(1)
    waiting = asyncio.create_task(runtime.wait_for_completion(name))
    await runtime.stop(0.0)
    assert (await waiting).status == "interrupted"
    await turnstile.let_through()
    await runtime.start()
    result = await runtime.wait_for_completion(name, SECONDS)
    await runtime.stop()
    assert (result.success, result.execution_id) == (True, name)


async def test_what_was_queued_when_it_stopped_begins_at_the_next_start(tmp_path):
    turnstile = Turnstile()
    config = AgentRuntimeConfig(max_concurrent_executions=1)
    runtime = runtime_at(tmp_path, graph_of(function("start", turnstile.enter)), config=config)
    await runtime.start()
    first, second = await runtime.trigger("default"), await runtime.trigger("default")
    await turnstile.until_in(first)
    waiting = asyncio.create_task(runtime.wait_for_completion(second))
    await runtime.stop(0.0)
    assert (await waiting).status == "queued"
    await turnstile.let_through()
    await runtime.start()
    assert (await runtime.wait_for_completion(second, SECONDS)).success
    await runtime.stop()


# --- what is told -------------------------------------------------------------------------------


async def test_streams_tell_when_they_come_and_go(tmp_path):
    runtime = runtime_at(tmp_path)
    heard = Heard.of(runtime, [EventType.STREAM_STARTED, EventType.STREAM_STOPPED])
    await runtime.start()
    await runtime.stop()
    assert [(e.type, e.stream_id) for e in heard.events] == [
        (EventType.STREAM_STARTED, "default"),
        (EventType.STREAM_STOPPED, "default"),
    ]


async def test_a_failure_is_logged_as_an_error_and_an_end_is_not(tmp_path, caplog):
    async def work(query):
        if query == "fail":
            raise ValueError("no")
        return query

    caplog.set_level(logging.INFO, "hive_daemon.runtime.execution_stream")
    graph = graph_of(function("start", work, ["query"], max_retries=1))
    async with running(tmp_path, graph) as runtime:
        await runtime.trigger_and_wait("default", {"query": "work"})
        failed = await runtime.trigger_and_wait("default", {"query": "fail"})
    told = [(r.levelname, r.getMessage(), r.status) for r in caplog.records]
    assert told == [
        ("INFO", "execution ended", "completed"),
        ("ERROR", "execution failed", "failed"),
    ]
    assert caplog.records[1].repeat_key == failed.execution_id


async def test_every_event_is_in_the_debug_log_if_that_is_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_DEBUG_EVENTS", str(tmp_path / "events"))
    async with running(tmp_path / "state", GRAPH) as runtime:
        await runtime.event_bus.publish(AgentEvent(EventType.CUSTOM, "mine"))
        await runtime.trigger_and_wait("default")
    (file,) = (tmp_path / "events").glob("*.jsonl")
    told = [json.loads(line)["type"] for line in file.read_text().splitlines()]
    assert {"custom", "execution_started", "execution_completed", "stream_stopped"} <= set(told)
