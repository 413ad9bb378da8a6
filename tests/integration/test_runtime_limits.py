"""How many executions of an embedded runtime run at once, counted inside the nodes."""

import asyncio
import json
import threading

import pytest

from hive_daemon.errors import InvalidGraph
from hive_daemon.runtime.agent_runtime import AgentRuntime, AgentRuntimeConfig
from hive_daemon.runtime.entry_point import EntryPointSpec
from tests.fakes.embedded import GOAL, SECONDS, Turnstile, function, graph_of, running


class Headcount:
    """A node that gives up the loop a few times while it is inside, and remembers the largest crowd."""

    def __init__(self):
        self.inside = self.most = self.visits = 0

    async def enter(self):
        self.inside += 1
        self.visits += 1
        self.most = max(self.most, self.inside)
        for _ in range(10):
            await asyncio.sleep(0)
        self.inside -= 1
        return "seen"


class ThreadCount:
    """The same for a plain function, which runs in a worker thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self.inside = self.most = self.visits = 0

    def enter(self):
        with self._lock:
            self.inside += 1
            self.visits += 1
            self.most = max(self.most, self.inside)
        with self._lock:
            self.inside -= 1
        return "seen"


@pytest.mark.parametrize("counter", [Headcount, ThreadCount])
async def test_a_hundred_triggers_never_run_more_than_the_global_limit(tmp_path, counter):
    count = counter()
    spec = EntryPointSpec(id="api", entry_node="work", max_concurrent=5)
    config = AgentRuntimeConfig(max_concurrent_executions=3)
    graph = graph_of(function("work", count.enter))
    async with running(tmp_path, graph, spec, config=config) as runtime:
        names = await asyncio.gather(*(runtime.trigger("api") for _ in range(100)))
        results = [await runtime.wait_for_completion(name, SECONDS) for name in names]
    assert [result.status for result in results] == ["completed"] * 100
    assert len(set(names)) == count.visits == 100
    assert 1 <= count.most <= 3


async def test_all_slots_of_the_global_limit_are_used(tmp_path):
    turnstile = Turnstile()
    spec = EntryPointSpec(id="api", entry_node="work", max_concurrent=5)
    config = AgentRuntimeConfig(max_concurrent_executions=3)
    graph = graph_of(function("work", turnstile.enter))
    async with running(tmp_path, graph, spec, config=config) as runtime:
        names = [await runtime.trigger("api") for _ in range(10)]
        await turnstile.until(3)
        assert runtime.get_stats()["streams"]["api"]["status_counts"] == {"running": 3, "queued": 7}
        await turnstile.let_through()
        for name in names:
            assert (await runtime.wait_for_completion(name, SECONDS)).success
    assert turnstile.most == 3


async def test_the_entry_points_own_limit_holds_below_the_global_one(tmp_path):
    turnstile = Turnstile()
    spec = EntryPointSpec(id="api", entry_node="work", max_concurrent=2)
    async with running(tmp_path, graph_of(function("work", turnstile.enter)), spec) as runtime:
        names = [await runtime.trigger("api") for _ in range(6)]
        await turnstile.until(2)
        await turnstile.let_through()
        for name in names:
            assert (await runtime.wait_for_completion(name, SECONDS)).success
    assert turnstile.most == 2


async def test_what_waits_begins_in_the_order_of_its_priority(tmp_path):
    turnstile = Turnstile()
    graph = graph_of(function("work", turnstile.enter))
    specs = [
        EntryPointSpec(id="first", entry_node="work"),
        EntryPointSpec(id="low", entry_node="work", priority=1),
        EntryPointSpec(id="high", entry_node="work", priority=9),
    ]
    config = AgentRuntimeConfig(max_concurrent_executions=1)
    async with running(tmp_path, graph, *specs, config=config) as runtime:
        first = await runtime.trigger("first")
        await turnstile.until_in(first)
        low, high = await runtime.trigger("low"), await runtime.trigger("high")
        await turnstile.let_through()
        await runtime.wait_for_completion(low, SECONDS)
    assert [name for move, name in turnstile.log if move == "in"] == [first, high, low]


def test_a_limit_below_one_is_refused():
    runtime = AgentRuntime(graph_of(function("work", Headcount().enter)), GOAL, "unused")
    with pytest.raises(InvalidGraph, match="max_concurrent: 0"):
        runtime.register_entry_point(EntryPointSpec(id="api", max_concurrent=0))


# --- a single slot ------------------------------------------------------------------------------

SINGLE = EntryPointSpec(id="singleton", entry_node="work", max_concurrent=1)


class Stubborn:
    """A plain function: its thread cannot be stopped, it ends when the test says so."""

    def __init__(self):
        self.log = []
        self.begun = [threading.Event(), threading.Event()]
        self.may_end = threading.Event()

    def work(self, ctx):
        mine = self.begun[sum(move == "in" for move, _ in self.log)]
        self.log.append(("in", ctx.execution_id))
        mine.set()
        assert self.may_end.wait(SECONDS)
        self.log.append(("out", ctx.execution_id))
        return "done"


async def test_the_next_begins_only_when_the_thread_of_the_old_one_has_returned(tmp_path):
    stubborn = Stubborn()
    async with running(tmp_path, graph_of(function("work", stubborn.work)), SINGLE) as runtime:
        old = await runtime.trigger("singleton")
        await asyncio.to_thread(stubborn.begun[0].wait, SECONDS)
        new = await runtime.trigger("singleton")
        stream = runtime.get_stream("singleton")
        assert stream.active_execution_ids == [old]
        assert stream.get_stats()["status_counts"] == {"running": 1, "queued": 1}
        stubborn.may_end.set()
        result = await runtime.wait_for_completion(new, SECONDS)
        assert (await runtime.wait_for_completion(old, SECONDS)).status == "cancelled"
    assert stubborn.log == [("in", old), ("out", old), ("in", new), ("out", new)]
    assert (result.success, result.session_id, new) == (True, old, f"{old}-2")


async def test_the_session_directory_is_one_and_shows_the_new_execution(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("work", turnstile.enter)), SINGLE) as runtime:
        old = await runtime.trigger("singleton")
        await turnstile.until_in(old)
        new = await runtime.trigger("singleton")
        await turnstile.let_through()
        await runtime.wait_for_completion(new, SECONDS)
    (session,) = (tmp_path / "sessions").iterdir()
    state = json.loads((session / "state.json").read_text())
    assert (session.name, state["execution_id"], state["status"]) == (old, new, "completed")


async def test_of_many_triggers_at_once_the_last_one_stays(tmp_path):
    turnstile = Turnstile()
    async with running(tmp_path, graph_of(function("work", turnstile.enter)), SINGLE) as runtime:
        names = await asyncio.gather(*(runtime.trigger("singleton") for _ in range(10)))
        await turnstile.until_in(names[-1])
        await turnstile.let_through()
        results = [await runtime.wait_for_completion(name, SECONDS) for name in names]
    assert [result.status for result in results] == [*["cancelled"] * 9, "completed"]
    assert {result.session_id for result in results} == {names[0]}
    assert turnstile.most == 1


async def test_after_one_that_ended_the_next_has_a_session_of_its_own(tmp_path):
    async def work():
        return "done"

    async with running(tmp_path, graph_of(function("work", work)), SINGLE) as runtime:
        first = await runtime.trigger_and_wait("singleton")
        second = await runtime.trigger_and_wait("singleton")
    assert first.session_id != second.session_id
