"""Cron schedules against an oracle that was written apart from them: it steps minute by minute, as a daemon would.

The oracle knows nothing of folds and gaps (PEP 495). It looks at the wall every real minute, and for fixed-time
jobs it remembers the latest time that the wall has shown, as Debian's cron does.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_daemon.durations import format_duration, parse_duration
from hive_daemon.runtime.triggers.catchup import CatchUp, missed
from hive_daemon.runtime.triggers.schedule import CronSchedule, IntervalSchedule, occurrences

ZONES = ("Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "UTC")
MINUTE = timedelta(minutes=1)
YEAR_2026 = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
YEAR_2028 = datetime(2028, 1, 1, tzinfo=UTC).timestamp()

TABLE = (
    "* * * * *",
    "*/5 * * * *",
    "*/7 * * * *",
    "*/30 * * * *",
    "0 * * * *",
    "30 * * * *",
    "15,45 * * * *",
    "*/30 2 * * *",
    "*/20 1-3 * * *",
    "0 */2 * * *",
    "30 */6 * * *",
    "0 0 * * *",
    "15 0 * * *",
    "30 0 * * *",
    "59 23 * * *",
    "30 23 * * *",
    "0 1 * * *",
    "30 1 * * *",
    "45 1 * * *",
    "0 2 * * *",
    "15 2 * * *",
    "30 2 * * *",
    "0 3 * * *",
    "0,30 1-3 * * *",
    "10-50/20 0-4/2 * * *",
    "0-59 2 * * *",
    "0 9 * * 1-5",
    "30 2 * * SUN",
    "30 1 * * 7",
    "0 0 * * 6-7",
    "0 0 1 * *",
    "30 2 L 3,10 *",
    "30 2 * 3 L7",
    "30 1 * NOV SUN#1",
    "30 2 8-14 * SUN",
    "30 2 */2 * SUN",
    "0 22-3 * * *",
    "30 2 29 3 *",
    "0 0 6 9 *",
    "@daily",
    "@hourly",
    "@weekly",
)


# The oracle --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.low
        return int(text)

    def says(self, atom: str, value: int) -> bool:
        span, _, step = atom.partition("/")
        if span == "*":
            first, last = self.low, self.high
        elif "-" in span:
            first, last = (self.number(end) for end in span.split("-"))
        else:
            first = self.number(span)
            last = self.high if step else first
        if first > last:
            return value >= first or value <= last
        return first <= value <= last and (value - first) % int(step or 1) == 0


MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
WEEKDAY = Field(0, 6, DAY_NAMES)
ALIASES = {"@daily": "0 0 * * *", "@hourly": "0 * * * *", "@weekly": "0 0 * * 0"}


class Oracle:
    def __init__(self, expression: str) -> None:
        minute, hour, self.day, month, self.weekday = ALIASES.get(expression, expression).split()
        self.is_fixed = minute[0] != "*" and hour[0] != "*"
        self.minutes = self._set(minute, Field(0, 59))
        self.hours = self._set(hour, Field(0, 23))
        self.months = self._set(month, Field(1, 12, MONTH_NAMES))
        self._days: dict[date, bool] = {}

    @staticmethod
    def _set(text: str, field: Field) -> frozenset[int]:
        values = range(field.low, field.high + 1)
        return frozenset(v for v in values if any(field.says(a, v) for a in text.split(",")))

    def matches(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and self.matches_day(wall.date())
        )

    def matches_day(self, day: date) -> bool:
        if day not in self._days:
            self._days[day] = day.month in self.months and self._matches_both_fields(day)
        return self._days[day]

    def _matches_both_fields(self, day: date) -> bool:
        by_date = any(self._says_date(atom, day) for atom in self.day.split(","))
        by_weekday = any(self._says_weekday(atom, day) for atom in self.weekday.split(","))
        if self.day[0] == "*" or self.weekday[0] == "*":
            return by_date and by_weekday
        return by_date or by_weekday

    def _says_date(self, atom: str, day: date) -> bool:
        if atom == "L":
            return (day + timedelta(days=1)).month != day.month
        return Field(1, 31).says(atom, day.day)

    def _says_weekday(self, atom: str, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if atom[0] == "L":
            is_last = (day + timedelta(days=7)).month != day.month
            return is_last and WEEKDAY.number(atom[1:]) % 7 == weekday
        if "#" in atom:
            name, _, nth = atom.partition("#")
            seen = sum(
                1
                for earlier in range(1, day.day + 1)
                if day.replace(day=earlier).isoweekday() % 7 == weekday
            )
            return WEEKDAY.number(name) % 7 == weekday and seen == int(nth)
        return any(WEEKDAY.says(atom, value) for value in ({weekday, weekday or 7}))

    def fires(self, minutes: Iterator[tuple[int, datetime]]) -> list[float]:
        fired: list[float] = []
        latest = None
        for instant, wall in minutes:
            if latest is None:
                latest = wall - MINUTE
            if self.is_fixed:
                shown = iter_minutes(latest + MINUTE, wall)
                is_due = any(self.matches(skipped) for skipped in shown)
            else:
                is_due = self.matches(wall)
            if is_due:
                fired.append(float(instant))
            latest = max(latest, wall)
        return fired


def iter_minutes(first: datetime, last: datetime) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += MINUTE


def walls(zone: str, start: float, end: float) -> Iterator[tuple[int, datetime]]:
    info = ZoneInfo(zone)
    for instant in range(int(start), int(end), 60):
        yield instant, datetime.fromtimestamp(instant, info).replace(tzinfo=None, fold=0)


@cache
def changes(zone: str) -> tuple[int, ...]:
    """Every hour of 2026 and 2027 in which the offset changes; for UTC two days of no interest."""
    info = ZoneInfo(zone)
    hours = range(int(YEAR_2026), int(YEAR_2028), 3600)
    offsets = ((hour, datetime.fromtimestamp(hour, info).utcoffset()) for hour in hours)
    found = tuple(after[0] for before, after in pairwise(offsets) if before[1] != after[1])
    return found or (int(YEAR_2026) + 59 * 86400, int(YEAR_2026) + 300 * 86400)


@cache
def window(zone: str, change: int) -> tuple[tuple[int, datetime], ...]:
    return tuple(walls(zone, change - 36 * 3600, change + 36 * 3600))


def assert_agrees(expression: str, zone: str, change: int) -> None:
    minutes = window(zone, change)
    schedule = CronSchedule(expression, ZoneInfo(zone))
    start, end = minutes[0][0], minutes[-1][0]
    found = occurrences(schedule, start - 1, end, limit=10_000)
    assert list(found) == Oracle(expression).fires(iter(minutes))


# The laws ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", TABLE)
def test_every_change_of_the_clock_in_two_years_is_as_the_oracle_says(expression, zone):
    for change in changes(zone):
        assert_agrees(expression, zone, change)


@pytest.mark.parametrize("zone", ["America/Santiago", "Australia/Lord_Howe"])
def test_a_daily_job_in_the_changing_hour_follows_the_oracle_for_a_whole_year(zone):
    schedule = CronSchedule("30 2 * * *", ZoneInfo(zone))
    end = YEAR_2026 + 365 * 86400
    expected = Oracle("30 2 * * *").fires(walls(zone, YEAR_2026, end))
    assert list(occurrences(schedule, YEAR_2026 - 1, end - 1)) == expected


def spans(low: int, high: int) -> st.SearchStrategy[str]:
    """One field: stars, steps, values, ranges and lists of them."""
    value = st.integers(low, high)
    pair = st.tuples(value, value).filter(lambda p: p[0] < p[1])
    step = st.integers(1, high - low)
    plain = st.one_of(
        value.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        st.tuples(pair, step).map(lambda x: f"{x[0][0]}-{x[0][1]}/{x[1]}"),
        st.tuples(value, step).map(lambda x: f"{x[0]}/{x[1]}"),
    )
    lists = st.lists(plain, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), step.map(lambda s: f"*/{s}"), lists)


EARLY = st.one_of(
    st.just("*"), st.sampled_from(["0", "1", "2", "3", "23", "0-3", "1,2", "*/2", "2-23/3"])
)
EXPRESSIONS = st.tuples(spans(0, 59), EARLY, spans(1, 31), spans(1, 12), spans(0, 6)).map(" ".join)
MOMENTS = st.integers(int(YEAR_2026), int(YEAR_2028))


def possible(expression: str) -> bool:
    """Whether some month is long enough for the days that are asked for."""
    oracle = Oracle(expression)
    return any(
        oracle.matches_day(date(2024, month, day))
        for month in oracle.months
        for day in range(1, calendar.monthrange(2024, month)[1] + 1)
    )


@settings(max_examples=100, deadline=None)
@given(EXPRESSIONS.filter(possible), st.sampled_from(ZONES), st.integers(0, 3))
def test_any_expression_follows_the_oracle_when_the_clock_is_changed(expression, zone, which):
    found = changes(zone)
    assert_agrees(expression, zone, found[which % len(found)])


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(spans(0, 59), spans(0, 23), spans(1, 31), spans(1, 12), spans(0, 6))
    .map(" ".join)
    .filter(possible),
    MOMENTS,
)
def test_without_changes_of_the_clock_croniter_agrees(expression, moment):
    other = croniter(expression, datetime.fromtimestamp(moment, UTC), implement_cron_bug=True)
    ours = occurrences(CronSchedule(expression), moment, limit=5)
    assert list(ours) == [other.get_next(float) for _ in ours]


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS.filter(possible), st.sampled_from(ZONES), MOMENTS, st.integers(0, 200 * 3600))
def test_counting_agrees_with_visiting(expression, zone, after, length):
    schedule = CronSchedule(expression, ZoneInfo(zone))
    every = occurrences(schedule, after, after + length, limit=100_000)
    assert schedule.count(after, after + length) == len(every)
    assert schedule.newest(after, after + length, 7) == every[-7:]


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS.filter(possible), st.sampled_from(ZONES), st.integers(0, 3), st.data())
def test_counting_agrees_with_visiting_when_the_clock_is_changed(expression, zone, which, data):
    schedule = CronSchedule(expression, ZoneInfo(zone))
    change = changes(zone)[which % len(changes(zone))]
    after = change + data.draw(st.integers(-7200, 7200))
    until = after + data.draw(st.integers(0, 60 * 3600))
    assert schedule.count(after, until) == len(occurrences(schedule, after, until, limit=10_000))


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS.filter(possible), st.sampled_from(ZONES), MOMENTS, st.floats(0, 1))
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
