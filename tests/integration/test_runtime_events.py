"""Event entry points of a running agent: which events start them, once, and no loop is endless."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.errors import Busy
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.runtime.webhook_server import Delivery
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.store import open_sqlite
from hive_daemon.storage.values import EventFilter, ExecutionFilter
from tests.fakes.embedded import GOAL, SECONDS, Heard, Turnstile, function, graph_of, services_at
from tests.fakes.store_kit import Ear

DONE, FAILED = EventType.EXECUTION_COMPLETED, EventType.EXECUTION_FAILED


async def work(topic: str = "nothing") -> str:
    return f"about {topic}"


async def fail() -> None:
    raise ValueError("broken")


async def look_at(event: dict) -> dict:
    return {"type": event["type"], "of": event["execution_id"], "stream": event["stream_id"]}


WORK = function("work", work, inputs=["topic"])
FAIL = function("fail", fail, max_retries=1)
GUARD = function("guard", look_at, inputs=["event"])


def listener(entry_point="guardian", *, node="guard", level="isolated", most=10, **config):
    return EntryPointSpec(
        id=entry_point,
        entry_node=node,
        trigger_type="event",
        trigger_config=config,
        isolation_level=level,
        max_concurrent=most,
    )


@asynccontextmanager
async def agent(path, *specs, graph=None):
    async with services_at(path, SYSTEM_CLOCK) as (services, placement):
        runtime = AgentRuntime(graph or graph_of(WORK, FAIL, GUARD), GOAL, placement=placement)
        for spec in specs:
            runtime.register_entry_point(spec)
        await runtime.start()
        try:
            yield services, runtime, Heard.of(runtime)
        finally:
            await runtime.stop(0.0)


async def executions(services, stream_id):
    """The executions of a stream, oldest first."""
    wanted = ExecutionFilter(agent="agent", stream_id=stream_id, limit=500)
    return (await services.store.executions.query(wanted))[::-1]


async def everything_ends(services, runtime):
    """Wait until nothing is queued or runs any more."""
    unfinished = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)
    while rows := await services.store.executions.query(ExecutionFilter(statuses=unfinished)):
        for row in rows:
            await runtime.wait_for_completion(row.execution_id, SECONDS)


# --- which events -------------------------------------------------------------------------------


API, BROKEN = EntryPointSpec(id="api"), EntryPointSpec(id="broken", entry_node="fail")


async def test_an_event_starts_the_entry_point_that_listens_and_is_handed_to_it(tmp_path):
    guardian = listener(event_types=["execution_failed"])
    async with agent(tmp_path, API, BROKEN, guardian) as (services, runtime, heard):
        failed = await runtime.trigger("broken", {})
        await runtime.trigger_and_wait("api", {}, timeout=SECONDS)
        done = await heard.until(DONE, "guardian")
        [row] = await executions(services, "guardian")
    assert done.data["output"]["answer"] == {
        "type": "execution_failed",
        "of": failed,
        "stream": "broken",
    }
    assert (row.source, row.causation) == ("event", ("agent/broken",))
    assert row.session_id != failed


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 2),
        ({"filter_stream": "api"}, 1),
        ({"filter_stream": "primary"}, 2),
        ({"filter_graph": "primary"}, 2),
        ({"filter_graph": "other"}, 0),
        ({"filter_node": "work"}, 1),
        ({"filter_stream": "broken", "filter_node": "work"}, 0),
        ({"exclude_own_graph": True}, 0),
    ],
    ids=str,
)
async def test_every_filter_that_is_set_must_match(tmp_path, config, expected):
    guardian = listener(event_types=["node_completed"], **config)
    async with agent(tmp_path, API, BROKEN, guardian) as (services, runtime, _):
        await runtime.trigger_and_wait("api", {}, timeout=SECONDS)
        await runtime.trigger_and_wait("broken", {}, timeout=SECONDS)
        assert len(await executions(services, "guardian")) == expected


async def test_a_graph_that_excludes_itself_still_hears_the_others(tmp_path):
    async with agent(tmp_path, BROKEN) as (services, runtime, heard):
        repair = graph_of(GUARD, FAIL, id="repair")
        await runtime.add_graph(
            "repair",
            repair,
            GOAL,
            {
                "watch": listener(event_types=["execution_failed"], exclude_own_graph=True),
                "own": EntryPointSpec(entry_node="fail"),
            },
        )
        await runtime.trigger_and_wait("repair::own", {}, timeout=SECONDS)
        await runtime.trigger_and_wait("broken", {}, timeout=SECONDS)
        await heard.until(DONE, "repair::watch")
        rows = await executions(services, "repair::watch")
    assert [row.causation for row in rows] == [("agent/broken",)]


async def test_live_events_start_nothing_though_no_type_is_left_out(tmp_path):
    guardian = listener(event_types=["llm_text_delta", "custom"])
    async with agent(tmp_path, API, guardian) as (services, runtime, heard):
        await runtime.event_bus.emit_llm_text_delta("api", "work", "text", "text")
        await runtime.event_bus.emit_custom("api", n=1)
        await heard.until(DONE, "guardian")
        assert len(await executions(services, "guardian")) == 1


# --- sessions -----------------------------------------------------------------------------------


async def test_a_shared_listener_joins_the_session_with_a_copy_of_its_keys(tmp_path):
    guardian = listener(event_types=["node_completed"], node="work", level="shared")
    guardian.trigger_config["filter_stream"] = "api"
    async with agent(tmp_path, API, guardian) as (services, runtime, heard):
        session = await runtime.trigger("api", {"topic": "rain", "more": 1})
        done = await heard.until(DONE, "guardian")
        [row] = await executions(services, "guardian")
    assert done.data["output"]["answer"] == "about rain"
    assert (row.session_id, row.is_joined) == (session, True)
    assert set(json.loads(row.input)) == {"topic", "event"}


async def test_a_listener_with_one_slot_replaces_what_it_runs_in_its_session(tmp_path):
    gate = Turnstile()
    graph = graph_of(FAIL, function("wait", gate.enter))
    guardian = listener(event_types=["execution_failed"], node="wait", most=1)
    async with agent(tmp_path, BROKEN, guardian, graph=graph) as (services, runtime, heard):
        await runtime.trigger_and_wait("broken", {}, timeout=SECONDS)
        await gate.until(1)
        await runtime.trigger_and_wait("broken", {}, timeout=SECONDS)
        cancelled = await heard.until(EventType.EXECUTION_CANCELLED, "guardian")
        await gate.until_in(f"{cancelled.session_id}-2")
        await gate.let_through()
        await heard.until(DONE, "guardian")
        rows = await executions(services, "guardian")
    assert [row.status.value for row in rows] == ["cancelled", "completed"]
    assert len({row.session_id for row in rows}) == 1
    assert gate.most == 1


# --- no loop is endless -------------------------------------------------------------------------


async def test_an_entry_point_never_sets_itself_off(tmp_path):
    guardian = listener(event_types=["execution_completed"])
    async with agent(tmp_path, API, guardian) as (services, runtime, heard):
        await runtime.trigger_and_wait("api", {}, timeout=SECONDS)
        kept_back = await heard.until(EventType.TRIGGER_SUPPRESSED)
        await everything_ends(services, runtime)
        assert len(await executions(services, "guardian")) == 1
    assert kept_back.data == {
        "entry_point": "agent/guardian",
        "reason": "it is part of the chain that led here",
        "event_type": "execution_completed",
    }


async def test_entry_points_that_set_each_other_off_stop_when_one_comes_again(tmp_path):
    names = ["a", "b", "c"]
    everybody = [listener(name, event_types=["execution_completed"]) for name in names]
    async with agent(tmp_path, API, *everybody) as (services, runtime, _):
        await runtime.trigger_and_wait("api", {}, timeout=SECONDS)
        await everything_ends(services, runtime)
        rows = [row for name in names for row in await executions(services, name)]
    # Every order of every choice of the three, once: 3 + 3·2 + 3·2·1.
    chains = Counter((*row.causation, f"agent/{row.stream_id}") for row in rows)
    assert len(rows) == 15
    assert set(chains.values()) == {1}
    assert all(len(set(chain)) == len(chain) for chain in chains)


async def test_a_chain_of_different_entry_points_ends_after_eight(tmp_path):
    line = [
        listener(f"e{n}", event_types=["execution_completed"], filter_stream=f"e{n - 1}")
        for n in range(1, 12)
    ]
    async with agent(tmp_path, EntryPointSpec(id="e0"), *line) as (services, runtime, heard):
        await runtime.trigger_and_wait("e0", {}, timeout=SECONDS)
        kept_back = await heard.until(EventType.TRIGGER_SUPPRESSED)
        await everything_ends(services, runtime)
        counts = [len(await executions(services, f"e{n}")) for n in range(12)]
    assert counts == [1] * 8 + [0] * 4
    assert kept_back.data["reason"] == "the chain is 8 entry points long"


async def test_nodes_that_publish_events_themselves_do_not_go_round_for_ever(tmp_path):
    async def ping(ctx) -> str:
        await ctx.runtime.event_bus.emit_custom("ping", n=1)
        return "ping"

    async def pong(ctx) -> str:
        await ctx.runtime.event_bus.emit("goal_progress", "pong")
        return "pong"

    graph = graph_of(function("ping", ping), function("pong", pong))
    specs = (
        listener("ping", node="ping", event_types=["goal_progress"]),
        listener("pong", node="pong", event_types=["custom"]),
    )
    async with agent(tmp_path, *specs, graph=graph) as (services, runtime, heard):
        await runtime.trigger("ping", {})
        await heard.until(DONE, "pong")
        await everything_ends(services, runtime)
        ping_rows = await executions(services, "ping")
        pong_rows = await executions(services, "pong")
    assert (len(ping_rows), len(pong_rows)) == (1, 1)
    assert pong_rows[0].causation == ("agent/ping",)


async def test_what_a_node_publishes_itself_says_where_it_comes_from(tmp_path):
    async def ping(ctx) -> str:
        await ctx.runtime.event_bus.emit_custom("anywhere", n=1)
        return "ping"

    async with agent(tmp_path, API, graph=graph_of(function("ping", ping))) as (_, runtime, heard):
        name = await runtime.trigger("api", {})
        event = await heard.until(EventType.CUSTOM)
    assert (event.stream_id, event.graph_id, event.agent) == ("anywhere", "primary", "agent")
    assert event.execution_id == event.session_id == event.correlation_id == name
    assert event.causation == ("agent/api",)


# --- once ---------------------------------------------------------------------------------------


async def test_what_an_event_sets_off_is_in_the_commit_that_made_the_event(tmp_path):
    """Cancel executions at any moment: their events and what those set off are there together, or neither is."""
    dice = random.Random(20_260_302)
    guardian = listener(event_types=["node_completed"], filter_node="work", filter_stream="api")
    graph = graph_of(WORK, FAIL, GUARD, edges=[("work", "fail")])
    async with agent(tmp_path, API, guardian, graph=graph) as (services, runtime, _):
        await runtime.trigger_and_wait("api", {})
        for _ in range(40):
            name = await runtime.trigger("api", {})
            for _ in range(dice.randrange(60)):
                await asyncio.sleep(0)
            await runtime.cancel_execution("api", name)
        await everything_ends(services, runtime)
        events = await services.store.executions.history(
            EventFilter(types=("node_completed",), stream_id="api", node_id="work")
        )
        rows = await executions(services, "guardian")
    assert Counter(json.loads(row.input)["event"]["execution_id"] for row in rows) == Counter(
        event.execution_id for event in events
    )
    assert rows


@pytest.mark.slow
def test_kill_9_neither_loses_nor_doubles_what_events_set_off(tmp_path):
    dice = random.Random(20_260_302)
    for _ in range(4):
        command = [sys.executable, "-m", "tests.integration.event_worker", str(tmp_path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child.stdout:
            for _ in range(dice.randrange(1, 60)):
                assert child.stdout.readline() == "failed\n"
            child.kill()
            child.wait()
        failed, guarded = asyncio.run(told_and_set_off(tmp_path))
        assert failed
        assert Counter(guarded) == Counter(failed)
        watched, called_back = asyncio.run(watched_and_called_back(tmp_path))
        assert watched >= set(failed)
        assert called_back == set(failed)


async def watched_and_called_back(path):
    """Return the executions that a watcher was started for, and those whose failure called it back."""
    async with open_sqlite(path, Ear()) as store:
        rows, before = [], None
        while page := await store.executions.query(
            ExecutionFilter(stream_id="watcher", before=before, limit=500)
        ):
            rows, before = [*rows, *page], page[-1].n
    assert len({row.correlation_id for row in rows}) == len(rows)
    ordered = [row for row in rows if row.cancel_reason is not None]
    assert all(row.cancel_reason.endswith(row.correlation_id) for row in ordered)
    return {row.correlation_id for row in rows}, {row.correlation_id for row in ordered}


async def told_and_set_off(path):
    """Return the executions that failed, and those that the guardian was started for."""
    async with open_sqlite(path, Ear()) as store:
        failed, after = [], 0
        wanted = ("execution_failed",)
        while found := await store.executions.history(
            EventFilter(after_seq=after, types=wanted, stream_id="api")
        ):
            failed += [event.execution_id for event in found]
            after = found[-1].seq
        guarded, before = [], None
        while rows := await store.executions.query(
            ExecutionFilter(stream_id="guardian", before=before, limit=500)
        ):
            guarded += [json.loads(row.input)["event"]["execution_id"] for row in rows]
            before = rows[-1].n
    return failed, guarded


# --- events from outside ------------------------------------------------------------------------


async def test_what_a_program_publishes_starts_the_entry_point_that_listens(tmp_path):
    guardian = listener(event_types=["custom"], filter_stream="orders")
    async with agent(tmp_path, API, guardian) as (services, runtime, heard):
        await runtime.event_bus.publish(
            AgentEvent(EventType.CUSTOM, "orders", data={"n": 1}, correlation_id="order-1")
        )
        await runtime.event_bus.publish(AgentEvent(EventType.CUSTOM, "others"))
        await heard.until(DONE, "guardian")
        [row] = await executions(services, "guardian")
    assert json.loads(row.input)["event"]["data"] == {"n": 1}


async def test_a_program_may_put_something_between_an_event_and_its_entry_point(tmp_path):
    calls = []
    guardian = listener(event_types=["custom"])
    async with agent(tmp_path, API, guardian) as (services, runtime, _):
        through = runtime.trigger

        async def trigger(entry_point_id, input_data=None, correlation_id=None, session_state=None):
            calls.append(entry_point_id)
            return await through("api", {"topic": input_data["event"]["data"]["topic"]})

        runtime.trigger = trigger
        await runtime.event_bus.emit_custom("orders", topic="hail")
        await everything_ends(services, runtime)
        [row] = await executions(services, "api")
    assert calls == ["guardian"]
    assert json.loads(row.input) == {"topic": "hail"}


async def test_a_listener_that_cannot_be_started_does_not_keep_others_from_it(tmp_path, caplog):
    listeners = [listener(name, event_types=["custom"]) for name in "ab"]
    async with agent(tmp_path, API, *listeners) as (services, runtime, _):
        through = runtime.trigger

        async def trigger(entry_point_id, input_data=None, correlation_id=None, session_state=None):
            if entry_point_id == "a":
                raise RuntimeError("not today")
            return await through(entry_point_id, input_data)

        runtime.trigger = trigger
        await runtime.event_bus.emit_custom("orders", n=1)
        await everything_ends(services, runtime)
        counts = [len(await executions(services, name)) for name in "ab"]
    assert counts == [0, 1]
    assert "not today" in caplog.text


async def test_a_delivery_that_one_listener_refuses_is_answered_when_the_others_have_begun(
    tmp_path,
):
    hooks = [
        listener(name, event_types=["webhook_received"], filter_stream="shop") for name in "ab"
    ]
    event = AgentEvent(EventType.WEBHOOK_RECEIVED, "shop", data={"payload": {"n": 1}})
    async with agent(tmp_path, API, *hooks) as (services, runtime, _):
        through, begun = runtime.trigger, []

        async def trigger(entry_point_id, input_data=None, correlation_id=None, session_state=None):
            if entry_point_id == "a":
                raise Busy("not now")
            begun.append(await through(entry_point_id, input_data))
            return begun[-1]

        runtime.trigger = trigger
        with pytest.raises(Busy):
            await runtime.outside.deliver(Delivery(event, "delivery-1", "0" * 64))
        assert len(begun) == 1
        await everything_ends(services, runtime)


async def test_a_delivery_starts_each_listener_once_however_often_it_comes(tmp_path):
    hooks = [
        listener(name, event_types=["webhook_received"], filter_stream="shop") for name in "ab"
    ]
    event = AgentEvent(EventType.WEBHOOK_RECEIVED, "shop", data={"payload": {"n": 1}})
    async with agent(tmp_path, API, *hooks) as (services, runtime, _):
        delivery = Delivery(event, "delivery-1", "0" * 64)
        first = await runtime.outside.deliver(delivery)
        again = await runtime.outside.deliver(delivery)
        await everything_ends(services, runtime)
        rows = [row for name in "ab" for row in await executions(services, name)]
    assert len(set(first)) == 2
    assert first == again
    assert [row.source for row in rows] == ["webhook", "webhook"]
