"""Timers of a running agent: a real store, a clock of the test's own."""

from __future__ import annotations

import pytest

from hive_daemon.clock import iso_z
from hive_daemon.errors import TimerNotFound
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.storage.timer_values import TimerOutcome
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import GOAL, Turnstile, function, graph_of
from tests.fakes.timed_agent import DONE, LANE, NINE, REPORT, agent, look_at, timer


@pytest.fixture
def clock():
    return FakeClock(NINE, auto=False)


# --- when they fire -----------------------------------------------------------------------------


async def test_an_interval_fires_a_period_after_the_start_and_then_each_period(tmp_path, clock):
    async with agent(tmp_path, clock, timer(interval_minutes=1)) as made:
        for count in (1, 2, 3):
            await clock.advance(60)
            await made.fired(count)
        assert await made.ledger() == [(60, "fired"), (120, "fired"), (180, "fired")]


async def test_an_execution_is_told_which_instant_set_it_off(tmp_path, clock):
    async with agent(tmp_path, clock, timer(every="90s")) as made:
        await clock.advance(90)
        told = await made.fired(1)
    assert told == {
        "source": "timer",
        "reason": "scheduled",
        "timer": LANE,
        "scheduled_for": iso_z(NINE + 90),
        "late_by": 0.0,
    }


async def test_a_cron_timer_fires_at_its_times_of_the_wall_clock(tmp_path, clock):
    async with agent(tmp_path, clock, timer(cron="*/15 9 * * MON-FRI")) as made:
        for count in (1, 2):
            await clock.advance(900)
            await made.fired(count)
        assert await made.ledger() == [(900, "fired"), (1800, "fired")]


async def test_run_immediately_fires_at_the_start_and_a_period_later(tmp_path, clock):
    spec = timer(interval_minutes=2, run_immediately=True)
    async with agent(tmp_path, clock, spec) as made:
        assert (await made.fired(1))["reason"] == "run_immediately"
        await clock.advance(120)
        assert (await made.fired(2))["reason"] == "scheduled"
        assert await made.ledger() == [(0, "fired"), (120, "fired")]


async def test_a_step_of_the_wall_clock_moves_no_interval(tmp_path, clock):
    async with agent(tmp_path, clock, timer(interval_minutes=1)) as made:
        clock.jump(3600)
        await clock.advance(60)
        await made.fired(1)
        clock.jump(-7200)
        await clock.advance(60)
        await made.fired(2)
        assert await made.ledger() == [(60, "fired"), (120, "fired")]


async def test_a_cron_time_comes_once_though_the_wall_clock_shows_it_twice(tmp_path, clock):
    async with agent(tmp_path, clock, timer(cron="5 9 * * *")) as made:
        await clock.advance(300)
        await made.fired(1)
        clock.jump(-120)
        await clock.advance(600)
        assert await made.ledger() == [(300, "fired")]
        assert len(made.heard.found(EventType.EXECUTION_STARTED)) == 1


async def test_the_next_fire_is_told_in_seconds_and_counts_down(tmp_path, clock):
    async with agent(tmp_path, clock, timer(interval_minutes=5)) as made:
        assert made.runtime.get_timer_next_fire_in("report") == pytest.approx(300)
        await clock.advance(100)
        assert made.runtime.get_timer_next_fire_in("report") == pytest.approx(200)
        assert made.runtime.get_timer_next_fire_in("nobody") is None
        assert set(made.runtime._timer_next_fire) == {"report"}


async def test_a_timer_whose_handle_is_cancelled_fires_no_more(tmp_path, clock):
    specs = timer(interval_minutes=1), timer("other", interval_minutes=1)
    async with agent(tmp_path, clock, *specs) as made:
        handles = made.runtime._timer_tasks
        assert len(handles) == 2
        handles[0].cancel()
        await clock.advance(60)
        await made.fired(1, "other")
        assert handles[0].done()
        assert await made.ledger() == []


async def test_a_timer_that_cannot_start_anything_says_why(tmp_path, clock):
    spec = timer(interval_minutes=1)
    spec.task = "half a character: \ud83d"
    async with agent(tmp_path, clock, spec) as made:
        await clock.advance(60)
        outcome, reason = await made.skipped(1)
        assert outcome == "failed"
        assert "cannot be kept as JSON" in reason
        assert await made.ledger() == [(60, "failed")]


# --- pausing ------------------------------------------------------------------------------------


async def test_a_paused_timer_skips_and_says_so_until_it_is_resumed(tmp_path, clock):
    async with agent(tmp_path, clock, timer(interval_minutes=1)) as made:
        made.runtime.pause_timers()
        assert made.runtime.timers_paused
        await clock.advance(60)
        assert await made.skipped(1) == ("skipped_paused", "the timer was paused")
        made.runtime.resume_timers()
        assert not made.runtime.timers_paused
        await clock.advance(60)
        await made.fired(1)
        assert await made.ledger() == [(60, "skipped_paused"), (120, "fired")]


async def test_one_timer_can_be_paused_by_its_entry_point(tmp_path, clock):
    specs = timer(interval_minutes=1), timer("other", interval_minutes=1)
    async with agent(tmp_path, clock, *specs) as made:
        made.runtime.pause_timers(["report"], note="too loud", by="ann")
        assert not made.runtime.timers_paused
        await clock.advance(60)
        await made.skipped(1)
        await made.fired(1, "other")
        assert await made.ledger("agent/other") == [(60, "fired")]
        rows = {row.timer_id: row for row in await made.services.store.timers.rows("agent")}
        assert (rows[LANE].note, rows[LANE].paused_by) == ("too loud", "ann")


async def test_an_unknown_timer_pauses_none(tmp_path, clock):
    async with agent(tmp_path, clock, timer(interval_minutes=1)) as made:
        with pytest.raises(TimerNotFound, match="nobody"):
            made.runtime.pause_timers(["report", "nobody"])
        assert not made.runtime.timers_paused


async def test_a_pause_survives_a_restart_and_so_does_its_end(tmp_path, clock):
    spec = timer(interval_minutes=1)
    async with agent(tmp_path, clock, spec) as made:
        made.runtime.pause_timers()
    async with agent(tmp_path, clock, spec) as made:
        assert made.runtime.timers_paused
        await clock.advance(60)
        await made.skipped(1)
        made.runtime.resume_timers()
    async with agent(tmp_path, clock, spec) as made:
        assert not made.runtime.timers_paused
        await clock.advance(60)
        await made.fired(1)
        assert await made.ledger() == [(60, "skipped_paused"), (120, "fired")]


# --- what runs already --------------------------------------------------------------------------


async def test_a_timer_skips_while_its_graph_is_at_work_and_has_an_idle_gate(tmp_path, clock):
    gate = Turnstile()
    graph = graph_of(function("wait", gate.enter), REPORT)
    spec = timer(interval_minutes=1, idle_timeout_seconds=300)
    spec.entry_node = "report"
    async with agent(tmp_path, clock, spec, EntryPointSpec(id="api"), graph=graph) as made:
        await made.runtime.trigger("api", {})
        await gate.until(1)
        await clock.advance(60)
        outcome, reason = await made.skipped(1)
        assert (outcome, "idle_timeout_seconds 300" in reason) == ("skipped_idle", True)
        await gate.let_through()
        await made.fired(1, "api")
        await clock.advance(60)
        await made.fired(1)


@pytest.mark.parametrize("overlap", ["skip", None])
async def test_a_timer_skips_while_its_last_execution_runs(tmp_path, clock, overlap):
    gate = Turnstile()
    config = {} if overlap is None else {"overlap": overlap}
    spec = timer(interval_minutes=1, **config)
    async with agent(tmp_path, clock, spec, graph=graph_of(function("w", gate.enter))) as made:
        await clock.advance(60)
        await gate.until(1)
        await clock.advance(60)
        assert await made.skipped(1) == ("skipped_overlap", "its last execution still runs")
        await gate.let_through()
        await made.fired(1)


async def test_with_one_slot_a_timer_replaces_what_runs_in_its_session(tmp_path, clock):
    gate = Turnstile()
    spec = timer(interval_minutes=1, max_concurrent=1)
    async with agent(tmp_path, clock, spec, graph=graph_of(function("w", gate.enter))) as made:
        await clock.advance(60)
        await gate.until(1)
        await clock.advance(60)
        cancelled = await made.heard.until(EventType.EXECUTION_CANCELLED)
        await gate.until_in(f"{cancelled.session_id}-2")
        await gate.let_through()
        await made.fired(1)
        assert gate.most == 1
        assert await made.ledger() == [(60, "fired"), (120, "fired")]


async def test_an_isolated_timer_that_reuses_its_session_finds_what_it_left(tmp_path, clock):
    async def count(seen: int = 0) -> dict:
        return {"seen": seen + 1, "answer": seen + 1}

    node = function("count", count, inputs=["seen"], outputs=["seen", "answer"])
    spec = timer(interval_minutes=1, session="reuse")
    async with agent(tmp_path, clock, spec, graph=graph_of(node)) as made:
        answers = []
        for number in (1, 2, 3):
            await clock.advance(60)
            answers.append(await made.fired(number))
        sessions = {event.session_id for event in made.heard.found(DONE)}
    assert (answers, len(sessions)) == ([1, 2, 3], 1)


async def test_a_shared_timer_joins_the_session_that_lives_with_a_copy_of_its_keys(tmp_path, clock):
    gate = Turnstile()

    async def report(topic: str = "nothing") -> str:
        return f"about {topic}"

    graph = graph_of(function("wait", gate.enter), function("tell", report, inputs=["topic"]))
    spec = timer(interval_minutes=1)
    spec.entry_node = "tell"
    async with agent(tmp_path, clock, spec, EntryPointSpec(id="api"), graph=graph) as made:
        session = await made.runtime.trigger("api", {"topic": "rain", "other": 1})
        await gate.until(1)
        await clock.advance(60)
        assert await made.fired(1) == "about rain"
        joined = made.heard.found(DONE, "report")[0]
        assert (joined.session_id, joined.execution_id) == (session, f"{session}-2")
        await gate.let_through()
        await made.fired(1, "api")


# --- restarts, graphs that come and go ------------------------------------------------------------


async def test_what_was_missed_while_nobody_was_there_is_caught_up_once(tmp_path, clock):
    spec = timer(interval_minutes=1)
    async with agent(tmp_path, clock, spec) as made:
        await clock.advance(60)
        await made.fired(1)
    await clock.advance(200)
    async with agent(tmp_path, clock, spec) as made:
        told = await made.fired(1)
        assert (told["reason"], told["late_by"]) == ("caught up", 20.0)
        await clock.advance(40)
        await made.fired(2)
        ledger = [row for row in await made.ledger() if row[1] == TimerOutcome.FIRED]
    assert ledger == [(60, "fired"), (240, "fired"), (300, "fired")]


async def test_an_interval_keeps_its_phase_over_a_restart(tmp_path, clock):
    spec = timer(interval_minutes=10)
    async with agent(tmp_path, clock, spec):
        await clock.advance(200)
    await clock.advance(100)
    async with agent(tmp_path, clock, spec) as made:
        assert made.runtime.get_timer_next_fire_in("report") == pytest.approx(300)


async def test_the_timers_of_a_graph_come_and_go_with_it(tmp_path, clock):
    async with agent(tmp_path, clock, timer(interval_minutes=10)) as made:
        more = graph_of(function("tick", look_at, inputs=["event"]), id="more")
        await made.runtime.add_graph(
            "more", more, GOAL, {"tick": timer("tick", interval_minutes=1)}
        )
        await clock.advance(60)
        await made.fired(1, "more::tick")
        await made.runtime.remove_graph("more")
        await clock.advance(300)
        assert await made.ledger("agent/more::tick") == [(60, "fired")]
        assert set(made.runtime._timer_next_fire) == {"report"}
