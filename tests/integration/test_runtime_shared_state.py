"""Shared state in a running agent: what nodes of one execution write, nodes of another read, by isolation level."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.errors import StateConflict
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.shared_state import SharedStateManager, StateScope
from hive_daemon.storage.values import StateWrite
from tests.fakes.embedded import GOAL, SECONDS, Heard, Turnstile, function, graph_of, services_at

LEVELS = ("isolated", "shared", "synchronized")


async def add(seen: int = 0) -> dict:
    return {"seen": seen + 1, "own": "mine"}


async def tell(seen: int | None = None, own: str | None = None) -> dict:
    return {"answer": [seen, own]}


COUNT = function("count", add, inputs=["seen"], outputs=["seen", "own"])
TELL = function("tell", tell, inputs=["seen", "own"])


def specs(*levels):
    return [
        EntryPointSpec(id=f"{what}-{level}", entry_node=what, isolation_level=level)
        for what in ("count", "tell")
        for level in levels or LEVELS
    ]


@asynccontextmanager
async def agent(path, *entry_points, graph=None):
    async with services_at(path, SYSTEM_CLOCK) as (services, placement):
        graph = graph or graph_of(COUNT, TELL, memory_keys=["seen"])
        runtime = AgentRuntime(graph, GOAL, placement=placement)
        for spec in entry_points or specs():
            runtime.register_entry_point(spec)
        await runtime.start()
        try:
            yield services, runtime
        finally:
            await runtime.stop(0.0)


async def run(runtime, entry_point, inputs=None):
    result = await runtime.trigger_and_wait(entry_point, inputs or {}, timeout=SECONDS)
    assert result is not None
    assert result.success, result.error
    return result.output


# --- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("writer", "reader", "expected"),
    [
        ("shared", "shared", 1),
        ("shared", "synchronized", 1),
        ("synchronized", "shared", 1),
        ("synchronized", "synchronized", 1),
        ("isolated", "shared", None),
        ("shared", "isolated", None),
        ("isolated", "isolated", None),
    ],
)
async def test_what_one_execution_writes_another_reads_by_level(tmp_path, writer, reader, expected):
    async with agent(tmp_path) as (_, runtime):
        await run(runtime, f"count-{writer}")
        output = await run(runtime, f"tell-{reader}")
    assert output["answer"] == [expected, None]


async def test_only_keys_that_the_graph_names_are_shared(tmp_path):
    async with agent(tmp_path, graph=graph_of(COUNT, TELL)) as (_, runtime):
        await run(runtime, "count-shared")
        output = await run(runtime, "tell-shared")
    assert output["answer"] == [None, None]


async def test_an_isolated_execution_begins_anew_each_time(tmp_path):
    async with agent(tmp_path) as (_, runtime):
        outputs = [(await run(runtime, "count-isolated"))["seen"] for _ in range(3)]
    assert outputs == [1, 1, 1]


async def test_an_execution_prefers_what_it_was_given_itself(tmp_path):
    async with agent(tmp_path) as (_, runtime):
        await run(runtime, "count-shared")
        output = await run(runtime, "tell-shared", {"seen": 40})
    assert output["answer"] == [40, None]


async def test_shared_values_survive_a_restart(tmp_path):
    async with agent(tmp_path) as (_, runtime):
        await run(runtime, "count-shared")
    async with agent(tmp_path) as (_, runtime):
        assert (await run(runtime, "count-shared"))["seen"] == 2
        assert runtime.state_manager.read_sync("seen", "", "", "shared") == 2


# --- synchronized -------------------------------------------------------------------------------


async def test_no_synchronized_write_is_lost_however_many_run_at_once(tmp_path):
    async with agent(tmp_path) as (_, runtime):
        heard = Heard.of(runtime, [EventType.STATE_CONFLICT])
        await asyncio.gather(*(run(runtime, "count-synchronized") for _ in range(12)))
        output = await run(runtime, "tell-synchronized")
        await runtime.event_bus.drain()
    assert output["answer"] == [12, None]
    assert all(event.data["keys"] == ["seen"] for event in heard.events)


async def test_a_synchronized_node_whose_key_was_changed_meanwhile_runs_again_and_says_so(tmp_path):
    gate = Turnstile()
    runs = []

    async def slow(ctx, seen: int = 0) -> dict:
        runs.append(seen)
        await gate.enter(ctx)
        return {"seen": seen + 1}

    graph = graph_of(
        COUNT, function("slow", slow, inputs=["seen"], outputs=["seen"]), memory_keys=["seen"]
    )
    entry_points = (
        EntryPointSpec(id="slow", entry_node="slow", isolation_level="synchronized"),
        EntryPointSpec(id="count-shared", entry_node="count"),
    )
    async with agent(tmp_path, *entry_points, graph=graph) as (_, runtime):
        heard = Heard.of(runtime)
        name = await runtime.trigger("slow", {})
        await gate.until(1)
        await run(runtime, "count-shared")
        await gate.let_through()
        result = await runtime.wait_for_completion(name, SECONDS)
        conflict = await heard.until(EventType.STATE_CONFLICT, "slow")
    assert result.output["seen"] == 2
    assert runs == [0, 1]
    assert conflict.data == {"keys": ["seen"], "retry_count": 1}


async def test_of_shared_writes_the_last_one_wins(tmp_path):
    gate = Turnstile()

    async def slow(ctx) -> dict:
        await gate.enter(ctx)
        return {"seen": 100}

    graph = graph_of(COUNT, function("slow", slow, outputs=["seen"]), TELL, memory_keys=["seen"])
    entry_points = (*specs("shared"), EntryPointSpec(id="slow", entry_node="slow"))
    async with agent(tmp_path, *entry_points, graph=graph) as (_, runtime):
        name = await runtime.trigger("slow", {})
        await gate.until(1)
        await run(runtime, "count-shared")
        await gate.let_through()
        await runtime.wait_for_completion(name, SECONDS)
        assert (await run(runtime, "tell-shared"))["answer"] == [100, None]


# --- the manager and the nodes ------------------------------------------------------------------


async def test_what_a_program_writes_through_the_manager_nodes_read(tmp_path):
    async with agent(tmp_path) as (_, runtime):
        manager = runtime.state_manager
        await manager.write("seen", 7, "program", "nobody", scope=StateScope.GLOBAL)
        await manager.write("own", "for tell", "program", "tell-shared", scope="stream")
        assert (await run(runtime, "tell-shared"))["answer"] == [7, "for tell"]
        assert (await run(runtime, "tell-synchronized"))["answer"] == [7, None]
        assert (await run(runtime, "tell-isolated"))["answer"] == [None, None]


async def test_what_nodes_write_a_program_reads_with_its_history(tmp_path):
    async with agent(tmp_path) as (_, runtime):
        await run(runtime, "count-shared")
        manager = runtime.state_manager
        assert await manager.read("seen", "program", "count-shared", "shared") == 1
        [change] = manager.get_recent_changes(1)
    assert (change.key, change.new_value, change.scope) == ("seen", 1, StateScope.GLOBAL)
    assert change.stream_id == "count-shared"


async def test_memory_and_store_agree_whoever_writes_at_the_same_time(tmp_path):
    async with agent(tmp_path) as (services, runtime):
        manager = runtime.state_manager

        async def program(n):
            await manager.write("seen", 1000 + n, f"program-{n}", "x", scope="global")

        await asyncio.gather(
            *(run(runtime, "count-synchronized") for _ in range(8)),
            *(run(runtime, "count-shared") for _ in range(8)),
            *(program(n) for n in range(8)),
        )
        shown = manager.read_sync("seen", "", "", "shared")
        versions = manager.versions(["seen"])
        other = SharedStateManager(services.store.sessions, runtime.agent)
        await other.load([])
        assert other.read_sync("seen", "", "", "shared") == shown
        assert other.versions(["seen"]) == versions


async def test_a_program_finds_its_way_back_after_a_write_it_never_heard_of(tmp_path):
    async with agent(tmp_path) as (services, runtime):
        manager = runtime.state_manager
        await manager.write("seen", 1, "program", "x", scope="global")
        behind = StateWrite(manager.scope_name(""), "seen", b"5", None)
        await services.store.sessions.write_state([behind])
        await manager.write("seen", 6, "program", "x", scope="global")
        assert manager.versions(["seen"]) == {"seen": 3}
        assert (await run(runtime, "count-synchronized"))["seen"] == 7


class Contrary:
    """A store that refuses every write of shared state."""

    async def write_state(self, writes):
        raise StateConflict("somebody was faster", subject="seen")

    async def state(self, scopes):
        return {}


async def test_a_write_that_always_comes_too_late_is_given_up():
    manager = SharedStateManager(Contrary(), "agent")
    with pytest.raises(StateConflict):
        await manager.write("seen", 1, "program", "x", scope="global")
    assert manager.read_sync("seen", "program", "x", "shared") is None


async def test_what_a_cancelled_step_wrote_nobody_reads(tmp_path):
    gate = Turnstile()

    async def slow(ctx) -> dict:
        await gate.enter(ctx)
        return {"seen": 100}

    graph = graph_of(TELL, function("slow", slow, outputs=["seen"]), memory_keys=["seen"])
    entry_points = (
        EntryPointSpec(id="slow", entry_node="slow"),
        EntryPointSpec(id="tell-shared", entry_node="tell"),
    )
    async with agent(tmp_path, *entry_points, graph=graph) as (_, runtime):
        name = await runtime.trigger("slow", {})
        await gate.until(1)
        assert await runtime.cancel_execution("slow", name)
        await runtime.wait_for_completion(name, SECONDS)
        assert (await run(runtime, "tell-shared"))["answer"] == [None, None]
