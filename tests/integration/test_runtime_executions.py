"""Executions of an embedded runtime: triggering, waiting, results, cancelling."""

import asyncio

import pytest

from hive_daemon.errors import (
    EntryPointNotFound,
    ExecutionNotFound,
    GraphNotFound,
    IdempotencyConflict,
)
from hive_daemon.ids import is_session_id
from hive_daemon.runtime.agent_runtime import AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.services import SWEEP_SECONDS
from hive_daemon.tools.context import execution_context
from tests.fakes.embedded import SECONDS, Heard, Turnstile, function, graph_of, running, services_at
from tests.fakes.still_clock import StillClock


async def hello(query="nobody"):
    return f"hello, {query}"


GRAPH = graph_of(function("start", hello))
UNKNOWN = "session_20260302_090000_00000000"


# --- triggering and waiting ---------------------------------------------------------------------


async def test_the_first_execution_of_a_session_has_its_id(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        result = await runtime.trigger_and_wait("default", {"query": "you"})
    assert is_session_id(result.execution_id)
    assert result.session_id == result.execution_id
    assert (result.output["answer"], result.path) == ("hello, you", ["start"])


async def test_waiting_in_vain_gives_none_and_the_execution_goes_on(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("start", turnstile.enter))) as runtime:
        assert await runtime.trigger_and_wait("default", timeout=0.01) is None
        await turnstile.until(1)
        (name,) = runtime.get_stream("default").active_execution_ids
        assert await runtime.wait_for_completion(name, timeout=0.01) is None
        await turnstile.let_through()
        assert (await runtime.wait_for_completion(name, SECONDS)).success


async def test_whoever_stops_waiting_does_not_stop_the_execution(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("start", turnstile.enter))) as runtime:
        name = await runtime.trigger("default")
        waiting = asyncio.create_task(runtime.wait_for_completion(name))
        await turnstile.until(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        await turnstile.let_through()
        assert (await runtime.wait_for_completion(name, SECONDS)).success


async def test_many_may_wait_for_the_same_execution(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("start", turnstile.enter))) as runtime:
        name = await runtime.trigger("default")
        waiting = [asyncio.create_task(runtime.wait_for_completion(name)) for _ in range(5)]
        await turnstile.until(1)
        await turnstile.let_through()
        assert [(await each).status for each in waiting] == ["completed"] * 5


async def test_waiting_for_an_execution_that_never_was_says_so(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        with pytest.raises(ExecutionNotFound):
            await runtime.wait_for_completion(UNKNOWN)


async def test_a_failure_is_a_result_with_its_reason(tmp_path):
    async def work():
        raise ValueError("out of order")

    async with running(tmp_path, graph_of(function("start", work, max_retries=1))) as runtime:
        result = await runtime.trigger_and_wait("default")
    assert (result.success, result.status) == (False, "failed")
    assert "out of order" in result.error


async def test_the_correlation_id_is_on_every_event(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        heard = Heard.of(runtime)
        await runtime.trigger_and_wait("default", correlation_id="order-7")
        await heard.until(EventType.EXECUTION_COMPLETED)
        assert {event.correlation_id for event in heard.events} == {"order-7"}


async def test_the_same_key_begins_one_execution(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        names = [
            await runtime.trigger("default", {"query": "x"}, idempotency_key="k") for _ in range(3)
        ]
        assert len(set(names)) == 1
        with pytest.raises(IdempotencyConflict):
            await runtime.trigger("default", {"query": "y"}, idempotency_key="k")


async def test_a_node_and_its_tools_know_where_they_are(tmp_path):
    known = {}

    async def work(ctx):
        known.update(execution_context())

    graph = graph_of(function("start", work, outputs=()))
    async with running(tmp_path, graph) as runtime:
        result = await runtime.trigger_and_wait("default")
        assert execution_context() == {}
    name = result.execution_id
    assert known == {
        "data_dir": str(tmp_path / "sessions" / name / "data"),
        "session_id": name,
        "execution_id": name,
        "stream_id": "default",
        "node_id": "start",
    }


# --- results ------------------------------------------------------------------------------------


async def test_a_result_is_at_hand_as_long_as_it_is_kept(tmp_path):
    config = AgentRuntimeConfig(execution_result_max=2)
    async with running(tmp_path, GRAPH, config=config) as runtime:
        names = [(await runtime.trigger_and_wait("default")).execution_id for _ in range(3)]
        at_hand = [runtime.get_execution_result("default", name) for name in names]
        assert [result and result.execution_id for result in at_hand] == [None, *names[1:]]
        old = await runtime.wait_for_completion(names[0])
        assert (old.success, old.output["answer"]) == (True, "hello, nobody")


async def test_results_are_not_kept_at_all_if_so_wanted(tmp_path):
    config = AgentRuntimeConfig(execution_result_max=0)
    async with running(tmp_path, GRAPH, config=config) as runtime:
        result = await runtime.trigger_and_wait("default")
        assert result.success
        assert runtime.get_execution_result("default", result.execution_id) is None


# --- cancelling ---------------------------------------------------------------------------------


async def test_a_running_execution_is_cancelled(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("start", turnstile.enter))) as runtime:
        heard = Heard.of(runtime)
        name = await runtime.trigger("default")
        await turnstile.until(1)
        assert await runtime.cancel_execution("default", name)
        result = await runtime.wait_for_completion(name, SECONDS)
        await heard.until(EventType.EXECUTION_CANCELLED)
        assert (result.success, result.status, turnstile.inside) == (False, "cancelled", 0)


async def test_a_queued_execution_is_cancelled_and_never_runs(tmp_path):
    turnstile = Turnstile()
    config = AgentRuntimeConfig(max_concurrent_executions=1)
    graph = graph_of(function("start", turnstile.enter))
    async with running(tmp_path, graph, config=config) as runtime:
        first, second = await runtime.trigger("default"), await runtime.trigger("default")
        await turnstile.until_in(first)
        assert await runtime.cancel_execution("default", second)
        assert (await runtime.wait_for_completion(second, SECONDS)).status == "cancelled"
        await turnstile.let_through()
        assert (await runtime.wait_for_completion(first, SECONDS)).success
    assert ("in", second) not in turnstile.log


async def test_what_has_ended_or_never_was_cannot_be_cancelled(tmp_path):
    async with running(tmp_path, GRAPH) as runtime:
        done = await runtime.trigger_and_wait("default")
        assert not await runtime.cancel_execution("default", done.execution_id)
        assert not await runtime.cancel_execution("default", UNKNOWN)
        with pytest.raises(EntryPointNotFound):
            await runtime.cancel_execution("nothing", done.execution_id)
        with pytest.raises(GraphNotFound):
            await runtime.cancel_execution("default", done.execution_id, graph_id="nothing")


async def test_an_execution_of_another_entry_point_is_left_alone(tmp_path):
    turnstile = Turnstile()
    graph = graph_of(function("start", turnstile.enter))
    specs = [EntryPointSpec(id="a", entry_node="start"), EntryPointSpec(id="b", entry_node="start")]
    async with running(tmp_path, graph, *specs) as runtime:
        name = await runtime.trigger("a")
        await turnstile.until(1)
        assert not await runtime.cancel_execution("b", name)
        await turnstile.let_through()
        assert (await runtime.wait_for_completion(name, SECONDS)).success


async def test_an_order_that_only_the_store_knows_is_carried_out_at_the_next_sweep(tmp_path):
    turnstile, clock = Turnstile(), StillClock()
    graph = graph_of(function("start", turnstile.enter))
    async with (
        services_at(tmp_path, clock) as (services, placement),
        running(None, graph, placement=placement) as runtime,
    ):
        name = await runtime.trigger("default")
        await turnstile.until(1)
        await services.store.inbox.cancel(name, "by another process")
        clock.advance(SWEEP_SECONDS)
        result = await runtime.wait_for_completion(name, SECONDS)
    assert (result.status, result.error) == ("cancelled", "by another process")


async def test_an_execution_past_its_time_fails(tmp_path):
    turnstile = Turnstile()
    spec = EntryPointSpec(id="api", timeout=0.05)
    async with running(tmp_path, graph_of(function("start", turnstile.enter)), spec) as runtime:
        result = await runtime.trigger_and_wait("api", timeout=SECONDS)
    assert (result.status, result.error_code) == ("failed", "timeout")


# --- events set them off ------------------------------------------------------------------------


async def test_what_programs_publish_goes_through_the_runtimes_trigger(tmp_path):
    """A program may put its own function in the place of `trigger`."""
    spec = EntryPointSpec(
        id="react",
        trigger_type="event",
        trigger_config={"event_types": [EventType.CUSTOM]},
    )
    async with running(tmp_path, GRAPH, spec) as runtime:
        calls = []
        real = runtime.trigger

        async def mine(entry_point_id, input_data, session_state=None):
            calls.append((entry_point_id, input_data["event"]["data"]))
            return await real(entry_point_id, input_data, session_state=session_state)

        runtime.trigger = mine
        await runtime.event_bus.publish(AgentEvent(EventType.CUSTOM, "mine", data={"n": 1}))
    assert calls == [("react", {"n": 1})]
