"""`concurrency` and `flow` of an entry point, as a program and the nodes see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hive_daemon.errors import Busy, ConfigError, QueueFull, RateLimited
from hive_daemon.runtime.agent_runtime import AgentRuntime
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.intake import Call
from hive_daemon.runtime.opened_services import open_services
from hive_daemon.runtime.runtime_config import AgentRuntimeConfig, Placement
from hive_daemon.runtime.services import ServiceSettings, begin_work
from hive_daemon.runtime.webhook_server import WebhookServer
from hive_daemon.storage.admission import HeldBy
from hive_daemon.storage.values import Submitted
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import SECONDS, Heard, Turnstile, function, graph_of, running

MARCH = 1_772_442_000.0


def entry(name: str = "api", **fields: Any) -> EntryPointSpec:
    return EntryPointSpec(id=name, entry_node="work", **fields)


class World:
    """A runtime whose node the test holds, on a clock of the test's own."""

    def __init__(self, runtime: AgentRuntime, turnstile: Turnstile, clock: FakeClock) -> None:
        self.runtime = runtime
        self.turnstile = turnstile
        self.clock = clock

    async def submit(self, entry_point: str = "api", **fields: Any) -> Submitted:
        source = fields.pop("source", "api")
        session_id = fields.pop("session_id", "")
        call = Call(input_data=fields, source=source, session_id=session_id)
        answer = await self.runtime.find_stream(entry_point).submit(call)
        assert answer is not None
        return answer

    async def holds(self, execution_id: str) -> list[HeldBy]:
        services = self.runtime.running().services
        found = await services.store.queue.explain(execution_id, services.dispatcher.limits)
        return [by for by, _ in found.holds]

    async def result(self, execution_id: str) -> Any:
        return await self.runtime.wait_for_completion(execution_id, SECONDS)

    @property
    def came(self) -> list[str]:
        return [name for move, name in self.turnstile.log if move == "in"]


@asynccontextmanager
async def world(path: Path, *specs: EntryPointSpec, **settings: Any) -> AsyncIterator[World]:
    """An agent with these entry points. They begin at `work`, where the test holds them."""
    turnstile, clock = Turnstile(), FakeClock(MARCH, auto=False)
    graph = graph_of(
        function("work", turnstile.enter),
        function("quick", lambda: "done", outputs=("done",)),
    )
    async with open_services(ServiceSettings(path, **settings), clock) as services:
        placement = Placement(services, "agent", path / "agents" / "agent", WebhookServer(None))
        begin_work(services)
        async with running(None, graph, *specs, placement=placement) as runtime:
            yield World(runtime, turnstile, clock)


# --- who runs beside whom -------------------------------------------------------------------


async def test_a_key_bounds_those_with_its_value_and_lets_others_pass(tmp_path: Path) -> None:
    spec = entry(concurrency={"max": 1, "key": "input.user"})
    async with world(tmp_path, spec) as here:
        ann = await here.submit(user="ann")
        await here.turnstile.until(1)
        again, bob = await here.submit(user="ann"), await here.submit(user="bob")
        await here.turnstile.until(2)
        assert here.came == [ann.execution_id, bob.execution_id]
        assert await here.holds(again.execution_id) == [HeldBy.KEY]
        await here.turnstile.let_through()
        assert (await here.result(again.execution_id)).success
    assert here.turnstile.most == 2


async def test_max_concurrent_bounds_all_keys_together(tmp_path: Path) -> None:
    spec = entry(max_concurrent=2, concurrency={"max": 1, "key": "input.user"})
    async with world(tmp_path, spec) as here:
        names = [(await here.submit(user=user)).execution_id for user in "abcde"]
        await here.turnstile.until(2)
        assert await here.holds(names[-1]) == [HeldBy.LANE]
        await here.turnstile.let_through()
        for name in names:
            assert (await here.result(name)).success
    assert here.turnstile.most == 2


async def test_reject_refuses_what_finds_no_free_slot(tmp_path: Path) -> None:
    async with world(tmp_path, entry(concurrency={"max": 1, "strategy": "reject"})) as here:
        first = await here.submit()
        with pytest.raises(Busy):
            await here.submit()
        await here.turnstile.let_through()
        await here.result(first.execution_id)
        assert (await here.submit()).created


async def test_queue_overrides_what_a_single_slot_means(tmp_path: Path) -> None:
    async with world(tmp_path, entry(max_concurrent=1, concurrency={"strategy": "queue"})) as here:
        names = [(await here.submit()).execution_id for _ in range(3)]
        await here.turnstile.let_through()
        assert [(await here.result(name)).status for name in names] == ["completed"] * 3
    assert here.came == names


@pytest.mark.parametrize(
    ("concurrency", "kept"),
    [
        ({"strategy": "interrupt"}, {"old": 1, "new": 2}),
        ({"strategy": "rollback"}, {"new": 2}),
        ({}, {"new": 2}),
    ],
    ids=["interrupt", "rollback", "a bare single slot"],
)
async def test_what_takes_over_goes_on_in_the_session_after_the_end_of_the_old(
    tmp_path: Path, concurrency: dict[str, Any], kept: dict[str, int]
) -> None:
    async with world(tmp_path, entry(max_concurrent=1, concurrency=concurrency)) as here:
        old = await here.submit(old=1)
        await here.turnstile.until(1)
        new = await here.submit(new=2)
        assert new.replaced == (old.execution_id,)
        assert (await here.result(old.execution_id)).status == "cancelled"
        await here.turnstile.let_through()
        result = await here.result(new.execution_id)
    memory = result.session_state["memory"]
    assert {key: memory[key] for key in ("old", "new") if key in memory} == kept
    assert (result.session_id, result.success) == (old.session_id, True)
    first, second = old.execution_id, new.execution_id
    assert here.turnstile.log == [("in", first), ("out", first), ("in", second), ("out", second)]


async def test_interrupt_leaves_other_keys_alone(tmp_path: Path) -> None:
    spec = entry(concurrency={"max": 1, "key": "input.user", "strategy": "interrupt"})
    async with world(tmp_path, spec) as here:
        ann, bob = await here.submit(user="ann"), await here.submit(user="bob")
        await here.turnstile.until(2)
        again = await here.submit(user="ann")
        assert again.replaced == (ann.execution_id,)
        await here.turnstile.let_through()
        assert (await here.result(bob.execution_id)).success
        assert (await here.result(again.execution_id)).session_id == ann.session_id


async def test_keep_newest_lets_run_what_runs_and_the_newest_wait(tmp_path: Path) -> None:
    async with world(tmp_path, entry(concurrency={"max": 1, "strategy": "keep_newest"})) as here:
        first = await here.submit()
        await here.turnstile.until(1)
        second, third = await here.submit(), await here.submit()
        assert third.replaced == (second.execution_id,)
        await here.turnstile.let_through()
        names = [each.execution_id for each in (first, second, third)]
        ends = [(await here.result(name)).status for name in names]
    assert ends == ["completed", "cancelled", "completed"]


async def test_a_full_queue_refuses_with_its_depth_and_when_to_come_again(tmp_path: Path) -> None:
    async with world(tmp_path, entry(concurrency={"max": 1, "queue_max": 2})) as here:
        await here.submit()
        await here.turnstile.until(1)
        for _ in range(2):
            await here.submit()
        await here.clock.advance(12.0)
        with pytest.raises(QueueFull) as refused:
            await here.submit()
        assert (refused.value.depth, refused.value.oldest_age) == (2, 12.0)
        assert refused.value.retry_after is not None


async def test_what_waits_too_long_is_cancelled_and_never_runs(tmp_path: Path) -> None:
    spec = entry(concurrency={"max": 1, "queue_timeout": "10m"})
    async with world(tmp_path, spec) as here:
        first = await here.submit()
        await here.turnstile.until(1)
        late = await here.submit()
        await here.clock.advance(601.0)
        assert (await here.result(late.execution_id)).status == "cancelled"
        await here.turnstile.let_through()
        assert (await here.result(first.execution_id)).success
    assert here.came == [first.execution_id]


async def test_the_slots_kept_for_calls_are_never_taken_by_timers_and_events(
    tmp_path: Path,
) -> None:
    settings = {"max_concurrent_executions": 3, "interactive_slots": 1}
    async with world(tmp_path, entry(), **settings) as here:
        behind = [await here.submit(source=each) for each in ("timer", "event", "timer")]
        await here.turnstile.until(2)
        assert await here.holds(behind[-1].execution_id) == [HeldBy.BACKGROUND]
        called = await here.submit()
        await here.turnstile.until_in(called.execution_id)
        await here.turnstile.let_through()
        for each in behind:
            assert (await here.result(each.execution_id)).success


def test_a_fifth_of_the_slots_is_kept_for_calls_if_nothing_is_said() -> None:
    def background(total: int) -> int:
        return ServiceSettings(Path(), max_concurrent_executions=total).background_slots

    assert [background(total) for total in (1, 2, 4, 5, 10, 100)] == [1, 1, 3, 4, 8, 80]


def test_all_slots_cannot_be_kept_for_calls() -> None:
    with pytest.raises(ConfigError, match="interactive_slots: 5 must be from 0 to 4"):
        AgentRuntimeConfig(max_concurrent_executions=5, interactive_slots=5)


# --- which triggers count -------------------------------------------------------------------


async def test_a_known_dedupe_key_is_the_execution_that_it_started(tmp_path: Path) -> None:
    spec = entry(flow={"dedupe": {"key": "input.order", "ttl": "1h"}})
    async with world(tmp_path, spec) as here:
        first, again = await here.submit(order=7), await here.submit(order=7, more=True)
        other = await here.submit(order=8)
        await here.clock.advance(3601.0)
        later = await here.submit(order=7)
    assert (again.created, again.execution_id) == (False, first.execution_id)
    assert (other.created, later.created) == (True, True)


async def test_a_rate_limit_refuses_and_says_when_to_come_again(tmp_path: Path) -> None:
    spec = entry(flow={"rate_limit": {"limit": 2, "per": "1m", "key": "input.user"}})
    async with world(tmp_path, spec) as here:
        for _ in range(2):
            await here.submit(user="ann")
        with pytest.raises(RateLimited) as refused:
            await here.submit(user="ann")
        assert (await here.submit(user="bob")).created
        assert refused.value.retry_after is not None
        await here.clock.advance(refused.value.retry_after)
        assert (await here.submit(user="ann")).created


async def test_a_debounce_begins_once_with_the_newest_input(tmp_path: Path) -> None:
    spec = entry(flow={"debounce": {"period": "30s", "max_wait": "1m", "key": "input.repo"}})
    async with world(tmp_path, spec) as here:
        first = await here.submit(repo="hive", push=1)
        await here.clock.advance(20.0)
        second = await here.submit(repo="hive", push=2)
        other = await here.submit(repo="bees", push=9)
        assert (second.coalesced, second.execution_id) == (True, first.execution_id)
        assert second.due_at == MARCH + 50.0
        assert await here.holds(first.execution_id) == [HeldBy.DEBOUNCE]
        await here.clock.advance(29.0)
        assert here.came == []
        await here.clock.advance(2.0)
        await here.turnstile.until(2)
        await here.turnstile.let_through()
        result = await here.result(first.execution_id)
        assert (await here.result(other.execution_id)).success
    assert result.session_state["memory"]["push"] == 2


async def test_a_debounce_waits_no_longer_than_its_max_wait(tmp_path: Path) -> None:
    spec = entry(flow={"debounce": {"period": "30s", "max_wait": "1m"}})
    async with world(tmp_path, spec) as here:
        answers = []
        for _ in range(3):
            answers.append(await here.submit())
            await here.clock.advance(25.0)
    assert [each.due_at for each in answers] == [MARCH + 30.0, MARCH + 55.0, MARCH + 60.0]


async def test_a_batch_gathers_triggers_into_one_execution(tmp_path: Path) -> None:
    spec = entry(flow={"batch": {"max": 3, "wait": "10s"}})
    async with world(tmp_path, spec) as here:
        await here.turnstile.let_through()
        answers = [await here.submit(n=n) for n in range(3)]
        alone = await here.submit(n=3)
        assert {each.execution_id for each in answers} == {answers[0].execution_id}
        full = await here.result(answers[0].execution_id)
        await here.clock.advance(11.0)
        rest = await here.result(alone.execution_id)
    assert full.session_state["memory"]["batch"] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert rest.session_state["memory"]["batch"] == [{"n": 3}]


async def test_a_throttle_lets_begin_so_many_and_the_others_wait(tmp_path: Path) -> None:
    spec = entry(flow={"throttle": {"limit": 1, "per": "1m"}})
    async with world(tmp_path, spec) as here:
        first, second = await here.submit(), await here.submit()
        await here.turnstile.until(1)
        assert second.due_at == MARCH + 60.0
        assert await here.holds(second.execution_id) == [HeldBy.THROTTLE]
        await here.clock.advance(61.0)
        await here.turnstile.until(2)
    assert here.came == [first.execution_id, second.execution_id]


async def test_a_refused_event_is_told_of_with_the_reason(tmp_path: Path) -> None:
    listening = entry(
        "react",
        trigger_type="event",
        trigger_config={"event_types": ["execution_completed"], "filter_stream": "api"},
        concurrency={"max": 1, "strategy": "reject"},
    )
    quick = EntryPointSpec(id="api", entry_node="quick")
    async with world(tmp_path, quick, listening) as here:
        heard = Heard.of(here.runtime)
        busy = await here.submit("react")
        await here.turnstile.until(1)
        await here.submit()
        event = await heard.until(EventType.TRIGGER_SUPPRESSED)
        await here.turnstile.let_through()
        assert (await here.result(busy.execution_id)).success
    assert event.data["entry_point"] == "agent/react"
    assert (event.data["event_type"], event.data["code"]) == ("execution_completed", "busy")


# --- cancelling, whatever it is about ------------------------------------------------------


@pytest.mark.parametrize(
    "flow",
    [{"debounce": {"period": "1h"}}, {"throttle": {"limit": 1, "per": "1h"}}],
    ids=["debounced", "throttled"],
)
async def test_what_is_held_back_is_cancelled_at_once_and_never_runs(
    tmp_path: Path, flow: dict[str, Any]
) -> None:
    async with world(tmp_path, entry(flow=flow)) as here:
        await here.turnstile.let_through()
        if "throttle" in flow:
            await here.result((await here.submit()).execution_id)
        held = await here.submit()
        stream = here.runtime.find_stream("api")
        assert held.due_at is not None
        assert await stream.cancel_execution(held.execution_id)
        assert (await here.result(held.execution_id)).status == "cancelled"
        await here.clock.advance(7200.0)
        assert held.execution_id not in here.came
        assert stream.queued_count == 0


async def test_what_backs_off_is_cancelled_at_once(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("not now")

    clock = FakeClock(MARCH, auto=False)
    graph = graph_of(function("work", fail, max_retries=5))
    async with open_services(ServiceSettings(tmp_path), clock) as services:
        placement = Placement(services, "agent", tmp_path / "agents", WebhookServer(None))
        begin_work(services)
        async with running(None, graph, entry(), placement=placement) as runtime:
            heard = Heard.of(runtime)
            name = await runtime.trigger("api")
            await heard.until(EventType.NODE_RETRY)
            assert await runtime.cancel_execution("api", name)
            result = await runtime.wait_for_completion(name, SECONDS)
    assert result is not None
    assert result.status == "cancelled"


# --- one writer for each session ------------------------------------------------------------


async def test_fifty_triggers_on_one_session_run_one_after_the_other(tmp_path: Path) -> None:
    async with world(tmp_path, entry(max_concurrent=50)) as here:
        await here.turnstile.let_through()
        first = await here.submit()
        await here.result(first.execution_id)
        session = first.session_id
        answers = await asyncio.gather(*(here.submit(session_id=session) for _ in range(50)))
        names = [each.execution_id for each in answers]
        for name in names:
            assert (await here.result(name)).success
    assert here.turnstile.most == 1
    assert sorted(set(names)) == sorted(names)
