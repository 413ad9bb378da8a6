"""What timers do when nobody is there, when the clock steps, when they are paused and when they fail: on a real store.

The clock is the test's own, its wall clock steps apart from the one that measures (`FakeClock.jump`), as faketime would
make it do.
"""

from __future__ import annotations

import json
import logging
from collections import Counter

import pytest

from hive_daemon.clock import LOOK_AGAIN_SECONDS, iso_z
from hive_daemon.errors import Conflict, InvalidInput
from hive_daemon.runtime.entry_point import EntryPointSpec
from hive_daemon.runtime.events import EventType
from hive_daemon.runtime.timer_orders import AFTER_PAUSE, BACKFILL, MOST_BACKFILLED
from hive_daemon.runtime.timers import _OTHER_KEYS, signature_of
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.zones import read_zone
from hive_daemon.storage.timer_values import KEPT_OCCURRENCES
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import GOAL, Turnstile, function, graph_of
from tests.fakes.timed_agent import DONE, LANE, NINE, SKIPPED, agent, look_at, timer

DAY, HOUR = 86_400, 3_600
DAILY = {"cron": "0 9 * * *"}
FAILED, PAUSED = EventType.EXECUTION_FAILED, EventType.TIMER_PAUSED


@pytest.fixture
def clock():
    return FakeClock(NINE, auto=False)


def outcomes(rows):
    return Counter(row.outcome.value for row in rows)


# --- nobody there -------------------------------------------------------------------------------


@pytest.mark.parametrize("has_fired", [True, False])
@pytest.mark.parametrize("catchup", ["one", "none"])
async def test_stopped_5_s_before_a_daily_fire_and_started_60_s_after(
    tmp_path, clock, catchup, has_fired
):
    spec = timer(**DAILY, catchup=catchup)
    if not has_fired:
        clock.jump(1)
    async with agent(tmp_path, clock, spec):
        await clock.advance(DAY - 5 - (not has_fired))
    await clock.advance(65)
    async with agent(tmp_path, clock, spec) as made:
        if catchup == "one":
            told = await made.fired(1)
            assert (told["scheduled_for"], told["late_by"]) == (iso_z(NINE + DAY), 60.0)
        else:
            event = await made.heard.until(SKIPPED)
            assert (event.data["outcome"], event.data["scheduled_for"]) == (
                "missed",
                iso_z(NINE + DAY),
            )
            assert made.heard.found(EventType.EXECUTION_STARTED) == []
        (row,) = await made.rows()
        wanted = "fired" if catchup == "one" else "missed"
        assert (row.outcome, row.scheduled_at, row.late_by) == (wanted, NINE + DAY, 60.0)
        known = await made.row()
        assert (known.fired, known.missed) == ((1, 0) if catchup == "one" else (0, 1))


@pytest.mark.parametrize(("catchup", "fired"), [("one", 1), ("none", 0), ("all", 10)])
async def test_of_100_missed_instants_the_policy_runs_some_and_each_has_its_row(
    tmp_path, clock, catchup, fired
):
    spec = timer(every="10s", catchup=catchup, overlap="allow_all")
    async with agent(tmp_path, clock, spec):
        await clock.advance(5)
    await clock.advance(1_000)
    async with agent(tmp_path, clock, spec) as made:
        if fired:
            await made.fired(fired)
        await made.heard.until(SKIPPED)
        rows = await made.rows()
        assert [row.scheduled_at for row in rows] == [NINE + 10 * n for n in range(1, 101)]
        assert [row.outcome for row in rows[100 - fired :]] == ["fired"] * fired
        assert outcomes(rows) == +Counter(fired=fired, missed=100 - fired)
        assert (await made.row()).missed == 100 - fired


async def test_of_more_instants_than_the_ledger_keeps_all_are_counted(tmp_path, clock):
    spec = timer(every="1s")
    async with agent(tmp_path, clock, spec):
        await clock.advance(0.5)
    await clock.advance(5_000)
    async with agent(tmp_path, clock, spec) as made:
        await made.fired(1)
        assert (await made.row()).missed == 4_999
        rows = await made.services.store.timers.occurrences(LANE, 1)
        assert rows[0].outcome == "fired"
        missed = await made.heard.until(SKIPPED)
        assert "(4999 instants up to this one)" in missed.data["reason"]
        assert f"{4_999 - KEPT_OCCURRENCES} before the oldest row" in missed.data["reason"]


async def test_all_that_is_caught_up_runs_though_each_finds_the_one_before_at_work(tmp_path, clock):
    gate = Turnstile()
    spec = timer(every="1m", catchup="all", max_concurrent=1)
    graph = graph_of(function("w", gate.enter))
    async with agent(tmp_path, clock, spec, graph=graph):
        await clock.advance(30)
    await clock.advance(180)
    async with agent(tmp_path, clock, spec, graph=graph) as made:
        await gate.until(1)
        await gate.let_through()
        await made.fired(3)
        assert gate.most == 1
        assert await made.ledger() == [(60, "fired"), (120, "fired"), (180, "fired")]


async def test_run_immediately_fires_instead_of_what_one_would_catch_up(tmp_path, clock):
    spec = timer(every="1m", run_immediately=True)
    async with agent(tmp_path, clock, spec) as made:
        await made.fired(1)
    await clock.advance(130)
    async with agent(tmp_path, clock, spec) as made:
        await made.fired(1)
        assert await made.ledger() == [
            (0, "fired"),
            (60, "missed"),
            (120, "missed"),
            (130, "fired"),
        ]


async def test_a_changed_timer_begins_a_new_phase_and_misses_nothing_of_the_old(tmp_path, clock):
    async with agent(tmp_path, clock, timer(every="1m")) as made:
        await clock.advance(60)
        await made.fired(1)
    await clock.advance(200)
    async with agent(tmp_path, clock, timer(every="7m")) as made:
        await clock.advance(420)
        await made.fired(1)
        assert await made.ledger() == [(60, "fired"), (680, "fired")]


ONE_OF_EACH = {
    "crons": ["0 9 * * *"],
    "interval_minutes": 7,
    "every": "7m",
    "at": ["2026-05-01T09:00"],
    "timezone": "Europe/Berlin",
    "phase": "1m",
    "jitter": "1m",
    "exclude": ["* * 1 1 *"],
    "start_time": "2026-05-01T09:00",
    "end_time": "2036-05-01T09:00",
}


@pytest.mark.parametrize("key", sorted(set(TimerConfig.model_fields) - {"cron"}))
def test_every_key_that_says_when_it_is_due_changes_the_signature_and_no_other(key):
    zone = read_zone("UTC")
    alone = {"crons", "at", "interval_minutes", "every"}
    rest = {"every": "5m"} if key in {"phase"} else {"cron": "5 * * * *"}
    value = {"overlap": "skip", "catchup": "all", "catchup_window": "1m", "remaining_actions": 3}
    value |= {"run_immediately": True, "idle_timeout_seconds": 9.0, "pause_on_failure": 2}
    value |= {"paused": True, "note": "n", **ONE_OF_EACH}
    before = TimerConfig.read(rest)
    after = TimerConfig.read({**({} if key in alone else rest), key: value[key]})
    assert (signature_of(before, zone) != signature_of(after, zone)) == (key not in _OTHER_KEYS)


def test_another_zone_of_the_daemon_is_another_schedule_unless_the_timer_names_one():
    bare, named = (
        TimerConfig.read({**DAILY, **more}) for more in ({}, {"timezone": "Europe/Berlin"})
    )
    zones = read_zone("UTC"), read_zone("America/New_York")
    assert len({signature_of(bare, zone) for zone in zones}) == 2
    assert len({signature_of(named, zone) for zone in zones}) == 1


# --- the clock ----------------------------------------------------------------------------------


async def test_a_wall_clock_that_goes_on_3_h_at_once_fires_what_is_due_within_30_s(tmp_path, clock):
    async with agent(tmp_path, clock, timer(cron="0 * * * *", catchup_window="4h")) as made:
        clock.jump(3 * HOUR)
        await clock.advance(LOOK_AGAIN_SECONDS)
        told = await made.fired(1)
        assert told["scheduled_for"] == iso_z(NINE + 3 * HOUR)
        await made.heard.until(SKIPPED)
        assert await made.ledger() == [
            (HOUR, "missed"),
            (2 * HOUR, "missed"),
            (3 * HOUR, "fired"),
        ]


async def test_a_wall_clock_that_goes_back_1_h_fires_nothing_twice_and_loses_nothing(
    tmp_path, clock
):
    async with agent(tmp_path, clock, timer(cron="*/30 * * * *")) as made:
        for count in (1, 2):
            await clock.advance(HOUR / 2)
            await made.fired(count)
        clock.jump(-HOUR)
        await clock.advance(HOUR)
        assert len(await made.rows()) == 2
        await clock.advance(HOUR / 2)
        await made.fired(3)
        assert await made.ledger() == [(HOUR / 2 * n, "fired") for n in (1, 2, 3)]
        assert len(made.heard.found(EventType.EXECUTION_STARTED)) == 3


async def test_nobody_sleeps_longer_than_30_s(tmp_path, clock):
    async with agent(tmp_path, clock, timer(**DAILY), timer("other", every="3d")) as made:
        source, ages = made.runtime.opened.timers.source, []
        for _ in range(60):
            await clock.advance(7)
            ages.append(source.tick_age)
        assert max(ages) < LOOK_AGAIN_SECONDS


async def test_what_came_due_while_the_loop_was_held_up_a_moment_is_fired_each(tmp_path, clock):
    spec = timer(every="1s", catchup="none", overlap="allow_all")
    async with agent(tmp_path, clock, spec) as made:
        clock._move_to(clock.monotonic() + 3.5)
        await clock.advance(0)
        await made.fired(3)
        assert await made.ledger() == [(1, "fired"), (2, "fired"), (3, "fired")]


# --- pausing ------------------------------------------------------------------------------------


def pause(made, **more):
    return made.runtime.opened.timers.source.set_paused(["report"], True, **more)


async def test_a_pause_with_an_end_ends_by_itself(tmp_path, clock):
    async with agent(tmp_path, clock, timer(every="10m")) as made:
        await pause(made, by="ann", note="deploy", until=NINE + 1_500)
        told = made.heard.found(PAUSED)[0].data
        assert (told["by"], told["reason"], told["until"]) == (
            "ann",
            "deploy",
            iso_z(NINE + 1_500),
        )
        for count in (1, 2):
            await clock.advance(600)
            await made.skipped(count)
        await clock.advance(600)
        await made.fired(1)
        await made.heard.until(EventType.TIMER_RESUMED)
        assert [outcome for _, outcome in await made.ledger()] == [
            "skipped_paused",
            "skipped_paused",
            "fired",
        ]
        assert (await made.row()).paused_at is None


async def test_a_pause_with_an_end_ends_over_a_restart_too(tmp_path, clock):
    spec = timer(every="10m", catchup="all", catchup_window="1d")
    async with agent(tmp_path, clock, spec) as made:
        await pause(made, until=NINE + 1_500)
    await clock.advance(2_500)
    async with agent(tmp_path, clock, spec) as made:
        await made.fired(2)
        assert await made.ledger() == [
            (600, "skipped_paused"),
            (1_200, "skipped_paused"),
            (1_800, "fired"),
            (2_400, "fired"),
        ]


async def test_a_paused_timer_has_a_row_for_what_came_due_while_nobody_was_there(tmp_path, clock):
    spec = timer(every="10m")
    async with agent(tmp_path, clock, spec) as made:
        await pause(made, by="ann")
    await clock.advance(1_300)
    async with agent(tmp_path, clock, spec) as made:
        await made.skipped(1)
        assert await made.ledger() == [(600, "skipped_paused"), (1_200, "skipped_paused")]
        assert made.runtime.timers_paused


async def test_a_timer_written_as_paused_begins_so_until_somebody_resumes_it(tmp_path, clock):
    spec = timer(every="1m", paused=True, note="until May")
    async with agent(tmp_path, clock, spec) as made:
        row = await made.row()
        assert (row.paused_by, row.note) == ("config", "until May")
        await clock.advance(60)
        await made.skipped(1)
        made.runtime.resume_timers()
    async with agent(tmp_path, clock, spec) as made:
        await clock.advance(60)
        await made.fired(1)


# --- failing ------------------------------------------------------------------------------------


class Fragile:
    """A node that fails while it is told to."""

    def __init__(self):
        self.is_broken = True

    async def work(self):
        if self.is_broken:
            raise ValueError("out of order")
        return "done"

    @property
    def graph(self):
        return graph_of(function("work", self.work, max_retries=0))


async def test_so_many_failures_in_a_row_pause_a_timer_and_everybody_is_told(
    tmp_path, clock, caplog
):
    fragile = Fragile()
    spec = timer(every="1m", pause_on_failure=3)
    async with agent(tmp_path, clock, spec, graph=fragile.graph) as made:
        for count in (1, 2, 3):
            await clock.advance(60)
            await made.heard.until(FAILED, count=count)
        event = await made.heard.until(PAUSED)
        assert event.data == {
            "timer": LANE,
            "by": "hived",
            "reason": "3 executions in a row failed",
            "until": None,
        }
        (alarm,) = [r for r in caplog.records if getattr(r, "change", "") == "paused"]
        assert (alarm.levelno, alarm.reason) == (logging.ERROR, "3 executions in a row failed")
        await clock.advance(60)
        await made.skipped(1)
        row = await made.row()
        assert (row.paused_by, row.failures) == ("hived", 3)
        fragile.is_broken = False
        made.runtime.resume_timers()
        await clock.advance(60)
        await made.fired(1)
        assert [outcome for _, outcome in await made.ledger()] == [
            *["fired"] * 3,
            "skipped_paused",
            "fired",
        ]


async def test_failures_count_over_restarts_and_a_success_begins_anew(tmp_path, clock):
    fragile = Fragile()
    spec = timer(every="1m", pause_on_failure=2)
    for is_broken in (True, False, True, True):
        fragile.is_broken = is_broken
        async with agent(tmp_path, clock, spec, graph=fragile.graph) as made:
            assert not made.runtime.timers_paused
            await clock.advance(60)
            await made.heard.until(FAILED if is_broken else DONE)
    async with agent(tmp_path, clock, spec, graph=fragile.graph) as made:
        assert made.runtime.timers_paused
        assert (await made.row()).failures == 2


async def test_what_cannot_be_started_pauses_a_timer_too(tmp_path, clock):
    spec = timer(every="1m", pause_on_failure=2)
    spec.task = "half a character: \ud83d"
    async with agent(tmp_path, clock, spec) as made:
        for count in (1, 2):
            await clock.advance(60)
            await made.skipped(count)
        event = await made.heard.until(PAUSED)
        assert event.data["reason"] == "2 executions in a row failed"


# --- what remains -------------------------------------------------------------------------------


async def test_a_timer_with_so_many_actions_is_done_after_them_and_says_so(tmp_path, clock):
    spec = timer(every="1m", remaining_actions=3)
    async with agent(tmp_path, clock, spec) as made:
        await clock.advance(60)
        await made.fired(1)
    async with agent(tmp_path, clock, spec) as made:
        for count in (1, 2):
            await clock.advance(60)
            await made.fired(count)
        event = await made.heard.until(EventType.TIMER_DONE)
        assert event.data == {"timer": LANE, "reason": "none of its remaining_actions is left"}
        assert event.seq is not None, "it is durable: whoever was not there finds it"
        await clock.advance(600)
        assert made.runtime._timer_tasks[0].done()
    async with agent(tmp_path, clock, spec) as made:
        await clock.advance(600)
        assert [at for at, _ in await made.ledger()] == [60, 120, 180]
        assert (await made.row()).remaining == 0


async def test_a_timer_of_single_instants_is_done_after_the_last(tmp_path, clock):
    spec = timer(at=["2026-03-02T09:01", "2026-03-02T09:02:30"])
    async with agent(tmp_path, clock, spec) as made:
        await clock.advance(60)
        await made.fired(1)
        await clock.advance(90)
        await made.fired(2)
        event = await made.heard.until(EventType.TIMER_DONE)
        assert event.data["reason"] == "its schedule is over"


# --- overlap ------------------------------------------------------------------------------------


async def test_a_written_overlap_holds_with_one_slot_too(tmp_path, clock):
    gate = Turnstile()
    spec = timer(every="1m", overlap="buffer_one", max_concurrent=1)
    async with agent(tmp_path, clock, spec, graph=graph_of(function("w", gate.enter))) as made:
        await clock.advance(60)
        await gate.until(1)
        await clock.advance(60)
        await clock.advance(60)
        assert await made.skipped(1) == ("skipped_overlap", "one execution waits already")
        await gate.let_through()
        await made.fired(2)
        assert made.heard.found(EventType.EXECUTION_CANCELLED) == []
        assert gate.most == 1


# --- orders -------------------------------------------------------------------------------------


async def test_an_order_to_run_now_begins_an_execution_though_the_timer_is_paused(tmp_path, clock):
    async with agent(tmp_path, clock, timer(**DAILY)) as made:
        await pause(made)
        submitted = await made.orders.run_now(LANE, "key", "digest")
        again = await made.orders.run_now(LANE, "key", "digest")
        assert (again.execution_id, again.created) == (submitted.execution_id, False)
        told = await made.fired(1)
        assert (told["timer"], told["reason"], told["late_by"]) == (LANE, "by hand", 0.0)
        row = await made.services.store.executions.load(submitted.execution_id)
        assert row.source == "manual"
        assert await made.ledger() == []


async def test_an_order_that_cannot_be_carried_out_says_why(tmp_path, clock):
    graph = graph_of(
        function("work", look_at, inputs=["event"]),
        edges=[],
        pause_nodes=["work"],
    )
    spec = timer(**DAILY, session="reuse")
    async with agent(tmp_path, clock, spec, graph=graph) as made:
        await made.orders.run_now(LANE, "one", "d")
        await made.heard.until(EventType.EXECUTION_PAUSED)
        with pytest.raises(Conflict, match="waits for a person"):
            await made.orders.run_now(LANE, "two", "d")


async def backfilled(made, start, end):
    plan = await made.orders.plan(LANE, await made.row(), start, end)
    return await made.orders.run_again(LANE, plan, BACKFILL)


async def test_a_backfill_runs_what_has_not_fired_in_order_and_once(tmp_path, clock):
    gate = Turnstile()
    spec = timer(cron="*/10 * * * *", catchup="none", max_concurrent=1)
    graph = graph_of(function("look", look_at, inputs=["event"]))
    async with agent(tmp_path, clock, spec, graph=graph) as made:
        await clock.advance(600)
        await made.fired(1)
    await clock.advance(1_900)
    async with agent(tmp_path, clock, spec, graph=graph) as made:
        await made.skipped(1)
        plan = await made.orders.plan(LANE, await made.row(), NINE - 600, NINE + 1_800)
        assert [ran.scheduled_at - NINE for ran in plan] == [-600, 0, 600, 1_200, 1_800]
        assert [bool(ran.execution_id) for ran in plan] == [False, False, True, False, False]
        done = await backfilled(made, NINE - 600, NINE + 1_800)
        assert [ran.began for ran in done] == [True, True, False, True, True]
        last = await made.fired(4)
        assert (last["scheduled_for"], last["reason"]) == (iso_z(NINE + 1_800), BACKFILL)
        assert last["late_by"] == 700.0
        ended = [e.data["output"]["answer"]["scheduled_for"] for e in made.heard.found(DONE)]
        assert ended == sorted(ended)
        again = await backfilled(made, NINE - 600, NINE + 1_800)
        assert [ran.began for ran in again] == [False] * 5
        assert [r.execution_id for r in again] == [r.execution_id for r in done]
        row = await made.row()
        assert (row.fired, row.missed) == (5, 1)
    assert gate.most == 0


async def test_a_backfill_of_too_many_instants_is_refused_and_runs_none(tmp_path, clock):
    async with agent(tmp_path, clock, timer(cron="* * * * *")) as made:
        with pytest.raises(InvalidInput, match="1,441 times then, at most 500") as caught:
            await backfilled(made, NINE - DAY, NINE)
        assert MOST_BACKFILLED == 500
        assert caught.value.hint == "take a shorter span"
        assert await made.ledger() == []


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [(0, 60, "in the future"), (-60, -120, "before the start")],
)
async def test_a_backfill_of_no_possible_span_is_refused(tmp_path, clock, start, end, words):
    async with agent(tmp_path, clock, timer(cron="* * * * *")) as made:
        with pytest.raises(InvalidInput, match=words):
            await backfilled(made, NINE + start, NINE + end)


async def test_what_a_pause_passed_over_is_caught_up_as_the_policy_says(tmp_path, clock):
    spec = timer(every="1m", catchup="all", catchup_window="150s")
    async with agent(tmp_path, clock, spec) as made:
        await pause(made)
        for count in range(1, 5):
            await clock.advance(60)
            await made.skipped(count)
        passed = await made.orders.paused_over(await made.row())
        assert [ran.scheduled_at - NINE for ran in passed] == [120, 180, 240]
        made.runtime.resume_timers()
        await made.orders.run_again(LANE, passed, AFTER_PAUSE)
        assert (await made.fired(3))["reason"] == AFTER_PAUSE
        assert [outcome for _, outcome in await made.ledger()] == ["skipped_paused", *["fired"] * 3]


# --- alike everywhere ---------------------------------------------------------------------------


BERLIN = {"cron": "30 2,14 * * *", "timezone": "Europe/Berlin"}
BEFORE_SUMMER = 1_774_616_400.0  # 2026-03-27T13:00:00Z, two days before the clock goes forward


async def test_a_cron_timer_is_the_same_on_every_graph_and_by_hand(tmp_path):
    clock = FakeClock(BEFORE_SUMMER, auto=False)
    more = graph_of(function("tick", look_at, inputs=["event"]), id="more")
    late = graph_of(function("tick", look_at, inputs=["event"]), id="late")
    async with agent(tmp_path, clock, timer(**BERLIN)) as made:
        tick = {"tick": timer("tick", **BERLIN)}
        await made.runtime.add_graph("more", more, GOAL, tick)
        await clock.advance(600)
        await made.runtime.add_graph("late", late, GOAL, tick)
        streams = ("report", "more::tick", "late::tick")
        for count in (1, 2, 4, 5):
            await clock.advance(12 * HOUR)
            for stream in streams:
                await made.fired(count, stream)
        seen = [
            [
                (json.dumps(event.data["output"]["answer"]["scheduled_for"]), event.type)
                for event in made.heard.found(DONE, stream)
            ]
            for stream in streams
        ]
        assert seen[0] == seen[1] == seen[2]
        ledgers = [await made.ledger(f"agent/{stream}") for stream in streams]
        assert ledgers[0] == ledgers[1] == ledgers[2]
        assert [iso_z(NINE + at)[:16] for at, _ in ledgers[0]] == [
            "2026-03-27T13:30",
            "2026-03-28T01:30",
            "2026-03-28T13:30",
            "2026-03-29T01:00",
            "2026-03-29T12:30",
        ]
        for stream in streams:
            by_rule = made.heard.found(DONE, stream)[-1].data["output"]["answer"]
            await made.orders.run_now(f"agent/{stream}", f"key {stream}", "d")
            by_hand = await made.fired(6, stream)
            changed = {"reason", "scheduled_for", "late_by"}
            assert {k: v for k, v in by_hand.items() if k not in changed} == {
                k: v for k, v in by_rule.items() if k not in changed
            }
            assert set(by_hand) == set(by_rule)


async def test_a_queue_that_takes_no_more_is_a_skip_and_no_failure(tmp_path, clock):
    gate = Turnstile()
    spec = EntryPointSpec(
        id="report",
        trigger_type="timer",
        trigger_config={"every": "1m", "overlap": "allow_all"},
        concurrency={"max": 1, "strategy": "queue", "queue_max": 1},
    )
    async with agent(tmp_path, clock, spec, graph=graph_of(function("w", gate.enter))) as made:
        for _ in range(3):
            await clock.advance(60)
            await gate.until(1)
        outcome, reason = await made.skipped(1)
        assert (outcome, "1 wait for agent/report" in reason) == ("skipped_overlap", True)
        assert (await made.row()).failures == 0
        await gate.let_through()
        await made.fired(2)
