"""`where`, `max_depth` and `cancel_on` of event entry points in a running agent."""

from __future__ import annotations

import json

from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.storage.values import EventFilter
from tests.fakes.embedded import GOAL, SECONDS, Turnstile, function, graph_of
from tests.integration.test_runtime_events import (
    API,
    BROKEN,
    DONE,
    FAIL,
    WORK,
    agent,
    everything_ends,
    executions,
    listener,
)

SUPPRESSED, CANCELLED = EventType.TRIGGER_SUPPRESSED, EventType.EXECUTION_CANCELLED


async def suppressions(services):
    """The suppressions in the store, oldest first."""
    return await services.store.executions.history(EventFilter(types=(SUPPRESSED.value,)))


def order(n, **fields):
    return AgentEvent(EventType.CUSTOM, "orders", data={"n": n}, **fields)


# --- where ----------------------------------------------------------------------------------------


async def test_a_condition_chooses_among_events_of_executions(tmp_path):
    guardian = listener(
        event_types=["execution_completed"],
        where='event.stream_id == "api" and event.data.output.topic == "rain"',
    )
    async with agent(tmp_path, API, guardian) as (services, runtime, heard):
        await runtime.trigger_and_wait("api", {"topic": "snow"}, timeout=SECONDS)
        await runtime.trigger_and_wait("api", {"topic": "rain"}, timeout=SECONDS)
        await heard.until(DONE, "guardian")
        [row] = await executions(services, "guardian")
    assert json.loads(row.input)["event"]["data"]["output"]["topic"] == "rain"


async def test_a_condition_that_fails_on_an_event_from_outside_is_told_durably(tmp_path):
    guardian = listener(event_types=["custom"], where="event.data.n > 3")
    async with agent(tmp_path, guardian) as (services, runtime, heard):
        await runtime.event_bus.publish(order(3))
        await runtime.event_bus.publish(order("many", correlation_id="c", causation=("x/y",)))
        await runtime.event_bus.publish(order(4))
        told = await heard.until(SUPPRESSED)
        await heard.until(DONE, "guardian")
        [row] = await executions(services, "guardian")
        [kept] = await suppressions(services)
    assert json.loads(row.input)["event"]["data"] == {"n": 4}
    assert told.data["entry_point"] == "agent/guardian"
    assert told.data["reason"].startswith("where: cannot evaluate")
    assert (told.seq, told.execution_id, told.execution_seq) == (kept.seq, None, None)
    assert (told.stream_id, told.agent, told.correlation_id) == ("orders", "agent", "c")
    assert told.causation == kept.causation == ("x/y",)


async def test_the_guard_against_loops_speaks_of_events_that_nodes_publish_too(tmp_path):
    async def ping(ctx) -> str:
        await ctx.runtime.event_bus.emit_custom("ping", n=1)
        return "ping"

    itself = listener("itself", node="ping", event_types=["custom"])
    async with agent(tmp_path, itself, graph=graph_of(function("ping", ping))) as (
        services,
        runtime,
        heard,
    ):
        await runtime.trigger("itself", {})
        told = await heard.until(SUPPRESSED)
        await everything_ends(services, runtime)
        assert len(await executions(services, "itself")) == 1
        assert len(await suppressions(services)) == 1
    assert told.data["reason"] == "it is part of the chain that led here"
    assert told.causation == ("agent/itself",)


# --- loops ----------------------------------------------------------------------------------------


async def watched_by_each_other(runtime, **config):
    """Add two graphs, each of which fails whenever the other does."""
    for name, other in (("left", "right"), ("right", "left")):
        spec = listener("on", node="fail", event_types=["execution_failed"], **config)
        spec.trigger_config["filter_graph"] = other
        await runtime.add_graph(
            name, graph_of(FAIL, id=name), GOAL, {"on": spec, "go": EntryPointSpec(id="go")}
        )


async def test_two_graphs_that_react_to_each_others_failures_stop_and_say_so(tmp_path):
    async with agent(tmp_path, API) as (services, runtime, _):
        await watched_by_each_other(runtime)
        await runtime.trigger_and_wait("left::go", {}, timeout=SECONDS)
        await everything_ends(services, runtime)
        left = await executions(services, "left::on")
        right = await executions(services, "right::on")
        [told] = await suppressions(services)
    assert [row.causation for row in right] == [("agent/left::go",)]
    assert [row.causation for row in left] == [("agent/left::go", "agent/right::on")]
    assert json.loads(told.data)["entry_point"] == "agent/right::on"
    assert told.execution_id == left[0].execution_id


async def test_graphs_that_may_come_again_stop_at_the_cap_and_say_so(tmp_path):
    async with agent(tmp_path, API) as (services, runtime, _):
        await watched_by_each_other(runtime, max_depth=8)
        await runtime.trigger_and_wait("left::go", {}, timeout=SECONDS)
        await everything_ends(services, runtime)
        left = await executions(services, "left::on")
        right = await executions(services, "right::on")
        [told] = await suppressions(services)
    assert sorted(len(row.causation) for row in (*left, *right)) == [1, 2, 3, 4, 5, 6, 7]
    assert json.loads(told.data)["reason"] == "the chain is 8 entry points long"


async def test_an_entry_point_may_come_as_often_as_it_says(tmp_path):
    async with agent(tmp_path, API) as (services, runtime, _):
        await watched_by_each_other(runtime, max_depth=2)
        await runtime.trigger_and_wait("left::go", {}, timeout=SECONDS)
        await everything_ends(services, runtime)
        rows = [*await executions(services, "left::on"), *await executions(services, "right::on")]
        [told] = await suppressions(services)
    assert len(rows) == 4
    assert json.loads(told.data)["reason"] == "it is part of the chain that led here, 2 times"


# --- calling back -----------------------------------------------------------------------------------


def waiting_graph(gate):
    return graph_of(WORK, FAIL, function("wait", gate.enter))


async def test_an_event_of_the_same_correlation_calls_back_what_runs(tmp_path):
    gate = Turnstile()
    waits = EntryPointSpec(id="api", entry_node="work")
    guardian = listener(
        node="wait", event_types=["execution_completed"], cancel_on=["execution_failed"]
    )
    guardian.trigger_config["filter_stream"] = "api"
    async with agent(tmp_path, waits, BROKEN, guardian, graph=waiting_graph(gate)) as (
        services,
        runtime,
        heard,
    ):
        for name in ("one", "two"):
            await runtime.trigger("api", {}, correlation_id=name)
        await gate.until(2)
        failed = await runtime.trigger("broken", {}, correlation_id="one")
        cancelled = await heard.until(CANCELLED, "guardian")
        await gate.let_through()
        done = await heard.until(DONE, "guardian")
        rows = await executions(services, "guardian")
    assert (cancelled.correlation_id, done.correlation_id) == ("one", "two")
    assert cancelled.data["reason"] == f"cancel_on: execution_failed of {failed}"
    assert sorted(row.status.value for row in rows) == ["cancelled", "completed"]


async def test_what_is_queued_is_called_back_too_and_never_runs(tmp_path):
    gate = Turnstile()
    guardian = listener(
        node="wait",
        most=2,
        event_types=["custom"],
        cancel_on={"event_types": ["custom"], "where": "event.data.n == 0", "of": "all"},
        where="event.data.n > 0",
    )
    async with agent(tmp_path, guardian, graph=waiting_graph(gate)) as (services, runtime, heard):
        for n in (1, 2, 3):
            await runtime.event_bus.publish(order(n))
        await gate.until(2)
        await runtime.event_bus.publish(order(0))
        await heard.until(CANCELLED, "guardian", count=3)
        await everything_ends(services, runtime)
        rows = await executions(services, "guardian")
    assert [row.status.value for row in rows] == ["cancelled"] * 3
    assert len(gate.log) == 4


async def test_an_event_that_starts_and_cancels_leaves_only_what_it_starts(tmp_path):
    gate = Turnstile()
    both = ["custom"]
    guardian = listener(node="wait", event_types=both, cancel_on={"event_types": both, "of": "all"})
    async with agent(tmp_path, guardian, graph=waiting_graph(gate)) as (services, runtime, heard):
        await runtime.event_bus.publish(order(1))
        await gate.until(1)
        await runtime.event_bus.publish(order(2))
        await heard.until(CANCELLED, "guardian")
        await gate.let_through()
        await heard.until(DONE, "guardian")
        rows = await executions(services, "guardian")
    assert [row.status.value for row in rows] == ["cancelled", "completed"]
    assert json.loads(rows[1].input)["event"]["data"] == {"n": 2}


async def test_an_event_does_not_cancel_the_execution_that_it_comes_from(tmp_path):
    itself = listener(
        node="fail",
        event_types=["execution_completed"],
        cancel_on={"event_types": ["execution_failed", "node_started"], "of": "all"},
    )
    async with agent(tmp_path, API, itself) as (services, runtime, heard):
        await runtime.trigger_and_wait("api", {}, timeout=SECONDS)
        await heard.until(EventType.EXECUTION_FAILED, "guardian")
        [row] = await executions(services, "guardian")
    assert row.status.value == "failed"


async def test_what_is_being_claimed_while_it_is_called_back_is_stopped_too(tmp_path):
    """Source: the store marks what runs; the claim may be on its way to the stream at that moment."""
    gate = Turnstile()
    watcher = listener(
        "watcher",
        node="wait",
        most=50,
        event_types=["node_started"],
        cancel_on=["execution_failed"],
        filter_stream="broken",
    )
    async with agent(tmp_path, BROKEN, watcher, graph=waiting_graph(gate)) as (
        services,
        runtime,
        heard,
    ):
        for _ in range(40):
            await runtime.trigger("broken", {})
        await heard.until(CANCELLED, "watcher", count=40)
        rows = await executions(services, "watcher")
    assert [row.status.value for row in rows] == ["cancelled"] * 40
