"""Secondary graphs of an embedded runtime: added and removed, before the start and while it runs."""

import asyncio

import pytest

from hive_daemon.errors import (
    AlreadyRegistered,
    EntryPointNotFound,
    GraphNotFound,
    InvalidGraph,
)
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from tests.fakes.embedded import (
    GOAL,
    SECONDS,
    Heard,
    Turnstile,
    function,
    graph_of,
    running,
    services_at,
)
from tests.fakes.still_clock import StillClock


async def primary():
    return "primary"


async def secondary():
    return "secondary"


PRIMARY = graph_of(function("start", primary))
WORKER = graph_of(function("start", secondary), id="worker")
RUN = {"run": EntryPointSpec(entry_node="start")}


async def test_a_graph_is_added_before_the_start_or_while_running(tmp_path):
    runtime = AgentRuntime(PRIMARY, GOAL, tmp_path)
    await runtime.add_graph("before", WORKER, GOAL, RUN)
    await runtime.start()
    await runtime.add_graph("after", WORKER, GOAL, RUN)
    assert runtime.list_graphs() == ["primary", "before", "after"]
    for graph_id in ("before", "after"):
        assert (await runtime.trigger_and_wait(f"{graph_id}::run")).output["answer"] == "secondary"
        by_name = await runtime.trigger_and_wait("run", graph_id=graph_id)
        assert by_name.output["answer"] == "secondary"
    assert list(runtime._streams) == ["default", "before::run", "after::run"]
    await runtime.stop()


async def test_its_files_are_in_a_place_of_their_own(tmp_path):
    async with running(tmp_path, PRIMARY) as runtime:
        await runtime.add_graph("worker", WORKER, GOAL, RUN)
        await runtime.add_graph("other", WORKER, GOAL, RUN, storage_subpath="elsewhere")
        one = await runtime.trigger_and_wait("worker::run")
        other = await runtime.trigger_and_wait("other::run")
    assert (tmp_path / "graphs/worker/sessions" / one.session_id / "state.json").is_file()
    assert (tmp_path / "elsewhere/sessions" / other.session_id / "state.json").is_file()


async def test_the_active_graph_is_asked_first(tmp_path):
    async with running(tmp_path, PRIMARY, EntryPointSpec(id="run")) as runtime:
        await runtime.add_graph("worker", WORKER, GOAL, RUN)
        assert (await runtime.trigger_and_wait("run")).output["answer"] == "primary"
        runtime.active_graph_id = "worker"
        assert (await runtime.trigger_and_wait("run")).output["answer"] == "secondary"


async def test_a_registration_tells_of_its_graph(tmp_path):
    async with running(tmp_path, PRIMARY) as runtime:
        await runtime.add_graph("worker", WORKER, GOAL, RUN)
        host = runtime.get_graph_registration("worker")
        assert (host.graph_id, host.is_primary, list(host.streams)) == ("worker", False, ["run"])
        assert runtime.get_graph_registration("nothing") is None


async def test_an_id_is_given_once(tmp_path):
    async with running(tmp_path, PRIMARY) as runtime:
        for graph_id in ("worker", "primary"):
            if graph_id == "worker":
                await runtime.add_graph(graph_id, WORKER, GOAL, RUN)
            with pytest.raises(AlreadyRegistered):
                await runtime.add_graph(graph_id, WORKER, GOAL, RUN)


async def test_a_graph_that_makes_no_sense_leaves_nothing_behind(tmp_path):
    async with running(tmp_path, PRIMARY) as runtime:
        with pytest.raises(InvalidGraph):
            await runtime.add_graph(
                "worker", WORKER, GOAL, {"run": EntryPointSpec(entry_node="nowhere")}
            )
        assert runtime.list_graphs() == ["primary"]
        await runtime.add_graph("worker", WORKER, GOAL, RUN)


# --- removing -----------------------------------------------------------------------------------


async def test_a_removed_graph_is_gone(tmp_path):
    async with running(tmp_path, PRIMARY) as runtime:
        await runtime.add_graph("worker", WORKER, GOAL, RUN)
        runtime.active_graph_id = "worker"
        await runtime.remove_graph("worker")
        assert (runtime.list_graphs(), runtime.active_graph_id) == (["primary"], "primary")
        with pytest.raises(GraphNotFound):
            await runtime.trigger("worker::run")
        with pytest.raises(GraphNotFound):
            await runtime.remove_graph("worker")


async def test_the_primary_graph_stays(tmp_path):
    async with running(tmp_path, PRIMARY) as runtime:
        with pytest.raises(ValueError, match="primary graph cannot be removed"):
            await runtime.remove_graph("primary")


async def test_what_a_removed_graph_runs_is_put_away_and_goes_on_when_it_is_back(tmp_path):
    turnstile = Turnstile()
    graph = graph_of(function("start", turnstile.enter), id="worker")
    async with running(tmp_path, PRIMARY) as runtime:
        await runtime.add_graph("worker", graph, GOAL, RUN)
        name = await runtime.trigger("worker::run")
        await turnstile.until(1)
        waiting = asyncio.create_task(runtime.wait_for_completion(name))
        await runtime.remove_graph("worker")
        assert (await waiting).status == "interrupted"
        assert (await runtime.trigger_and_wait("default")).success
        await turnstile.let_through()
        await runtime.add_graph("worker", graph, GOAL, RUN)
        assert (await runtime.wait_for_completion(name, SECONDS)).success


async def test_while_a_graph_is_gone_its_queued_executions_belong_to_nobody(tmp_path):
    turnstile = Turnstile()
    graph = graph_of(function("start", turnstile.enter), id="worker")
    single = {"run": EntryPointSpec(entry_node="start", max_concurrent=2)}
    async with running(tmp_path, PRIMARY) as runtime:
        await runtime.add_graph("worker", graph, GOAL, single)
        names = [await runtime.trigger("worker::run") for _ in range(3)]
        await turnstile.until(2)
        await runtime.remove_graph("worker")
        with pytest.raises(EntryPointNotFound, match="is not here"):
            await runtime.wait_for_completion(names[-1])


# --- what they share with the primary one ----------------------------------------------------------


async def test_timers_of_a_secondary_graph_fire_and_go_with_it(tmp_path):
    clock = StillClock()
    timer = {
        "tick": EntryPointSpec(
            entry_node="start", trigger_type="timer", trigger_config={"interval_minutes": 5}
        )
    }
    async with (
        services_at(tmp_path, clock) as (_, placement),
        running(None, PRIMARY, placement=placement) as runtime,
    ):
        heard = Heard.of(runtime)
        await runtime.add_graph("worker", WORKER, GOAL, timer)
        assert runtime.get_timer_next_fire_in("worker::tick") == 300.0
        clock.advance(300)
        await heard.until(EventType.EXECUTION_COMPLETED, "worker::tick")
        await runtime.remove_graph("worker")
        assert runtime.get_timer_next_fire_in("worker::tick") is None


async def test_an_event_entry_point_of_a_secondary_graph_watches_the_primary_one(tmp_path):
    spec = EntryPointSpec(
        entry_node="start",
        trigger_type="event",
        trigger_config={"event_types": ["execution_completed"], "filter_stream": "primary"},
    )
    async with running(tmp_path, PRIMARY) as runtime:
        heard = Heard.of(runtime)
        await runtime.add_graph("worker", WORKER, GOAL, {"watch": spec})
        await runtime.trigger_and_wait("default")
        done = await heard.until(EventType.EXECUTION_COMPLETED, "worker::watch")
        assert (done.graph_id, done.causation[0]) == ("worker", "agent/default")
