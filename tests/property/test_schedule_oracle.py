"""Schedules against an oracle that was written apart from them: it steps minute by minute, as a daemon would."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.durations import format_duration, parse_duration
from hive_daemon.runtime.triggers.catchup import CatchUp, missed
from hive_daemon.runtime.triggers.schedule import CronSchedule, IntervalSchedule, occurrences, walk
from tests.fakes.cron_oracle import TABLE, YEAR_2026, YEAR_2028, ZONES, CronOracle, walls
from tests.fakes.cron_text import ANY, EARLY

EVERY_MINUTE = "* * * * *"


@cache
def changes(zone: str) -> tuple[int, ...]:
    """Every hour of 2026 and 2027 in which the offset changes; for UTC two days of no interest."""
    info = ZoneInfo(zone)
    hours = range(int(YEAR_2026), int(YEAR_2028), 3600)
    offsets = ((hour, datetime.fromtimestamp(hour, info).utcoffset()) for hour in hours)
    found = tuple(after[0] for before, after in pairwise(offsets) if before[1] != after[1])
    return found or (int(YEAR_2026) + 59 * 86400, int(YEAR_2026) + 300 * 86400)


def assert_agrees(expression: str, zone: str, change: int) -> None:
    start, end = change - 36 * 3600, change + 36 * 3600
    schedule = CronSchedule(expression, ZoneInfo(zone))
    found = occurrences(schedule, start - 1, end - 1, limit=10_000)
    assert list(found) == CronOracle(expression).fires(walls(zone, start, end))


# The laws ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", TABLE)
def test_for_two_years_a_cron_job_is_due_exactly_when_the_oracle_says(zone, expression):
    schedule = CronSchedule(expression, ZoneInfo(zone))
    expected = CronOracle(expression).fires(walls(zone, YEAR_2026, YEAR_2028))
    assert list(walk(schedule, YEAR_2026 - 1, YEAR_2028 - 1)) == expected


@pytest.mark.parametrize("zone", ZONES)
def test_a_job_of_every_minute_follows_the_oracle_through_every_change_of_the_clock(zone):
    for change in changes(zone):
        assert_agrees(EVERY_MINUTE, zone, change)


MOMENTS = st.integers(int(YEAR_2026), int(YEAR_2028))


@settings(max_examples=100, deadline=None)
@given(EARLY, st.sampled_from(ZONES), st.integers(0, 3))
def test_any_expression_follows_the_oracle_when_the_clock_is_changed(expression, zone, which):
    found = changes(zone)
    assert_agrees(expression, zone, found[which % len(found)])


@settings(max_examples=100, deadline=None)
@given(ANY, MOMENTS)
def test_without_changes_of_the_clock_croniter_agrees(expression, moment):
    other = croniter(expression, datetime.fromtimestamp(moment, UTC), implement_cron_bug=True)
    ours = occurrences(CronSchedule(expression), moment, limit=5)
    assert list(ours) == [other.get_next(float) for _ in ours]


@settings(max_examples=60, deadline=None)
@given(EARLY, st.sampled_from(ZONES), MOMENTS, st.integers(0, 200 * 3600))
def test_counting_agrees_with_visiting(expression, zone, after, length):
    schedule = CronSchedule(expression, ZoneInfo(zone))
    every = occurrences(schedule, after, after + length, limit=100_000)
    assert schedule.count(after, after + length) == len(every)
    assert schedule.newest(after, after + length, 7) == every[-7:]


@settings(max_examples=60, deadline=None)
@given(EARLY, st.sampled_from(ZONES), st.integers(0, 3), st.data())
def test_counting_agrees_with_visiting_when_the_clock_is_changed(expression, zone, which, data):
    schedule = CronSchedule(expression, ZoneInfo(zone))
    change = changes(zone)[which % len(changes(zone))]
    after = change + data.draw(st.integers(-7200, 7200))
    until = after + data.draw(st.integers(0, 60 * 3600))
    assert schedule.count(after, until) == len(occurrences(schedule, after, until, limit=10_000))


@settings(max_examples=60, deadline=None)
@given(EARLY, st.sampled_from(ZONES), MOMENTS, st.floats(0, 1))
def test_the_next_occurrence_does_not_depend_on_when_one_asks(expression, zone, moment, part):
    schedule = CronSchedule(expression, ZoneInfo(zone))
    first = schedule.next_after(moment)
    second = schedule.next_after(first)
    between = min(first + (second - first) * part, second - 0.001)
    assert moment < first < second == schedule.next_after(between)


PERIODS = st.one_of(st.floats(0.001, 1e6), st.integers(1, 10**6).map(float))
ANCHORS = st.floats(1.5e9, 2.5e9)


@settings(max_examples=100, deadline=None)
@given(PERIODS, ANCHORS, st.integers(0, 10**6), st.floats(0, 1))
def test_an_interval_never_leaves_its_grid(period, anchor, n, part):
    schedule = IntervalSchedule(period, anchor)
    this, following = anchor + n * period, anchor + (n + 1) * period
    moment = min(this + part * (following - this), following)
    expected = following if moment < following else anchor + (n + 2) * period
    assert schedule.next_after(moment) == expected


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 1e5), ANCHORS, st.floats(-1e5, 1e5), st.integers(0, 300))
def test_counting_an_interval_agrees_with_visiting(period, anchor, offset, many):
    schedule = IntervalSchedule(period, anchor)
    after, until = anchor + offset, anchor + offset + many * period
    every = occurrences(schedule, after, until)
    assert schedule.count(after, until) == len(every)
    assert schedule.newest(after, until, 5) == every[-5:]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 3600),
    st.integers(-3600, 86_400),
    st.sampled_from(CatchUp),
    st.integers(0, 7200),
    st.integers(1, 12),
)
def test_a_missed_occurrence_is_either_fired_or_counted(period, gap, policy, window_seconds, cap):
    schedule = IntervalSchedule(period, 1000.0)
    last, now = 5000.0, 5000.0 + gap
    plan = missed(schedule, last, now, policy, window_seconds, cap)
    every = occurrences(schedule, last, now, limit=100_000)
    assert len(plan.fire) + plan.missed_count == len(every)
    assert set(plan.fire).isdisjoint(plan.missed)
    assert set(plan.fire) | set(plan.missed) <= set(every)
    assert len(plan.missed) == min(cap, plan.missed_count)
    assert all(now - due <= window_seconds for due in plan.fire)
    assert len(plan.fire) <= {CatchUp.NONE: 0, CatchUp.ONE: 1, CatchUp.ALL: cap}[policy]


@given(st.integers(0, 10**12))
def test_a_duration_that_was_written_is_read_back(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds
