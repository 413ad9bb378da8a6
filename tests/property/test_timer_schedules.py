"""Laws of what a timer's owner may write beside a cron expression or an interval, against plain visiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hive_daemon.errors import ConfigError, InvalidInput
from hive_daemon.runtime.triggers.exclusions import Exclusions
from hive_daemon.runtime.triggers.forecast import MOST_COLLISIONS, Planned, forecast
from hive_daemon.runtime.triggers.schedule import CronSchedule, IntervalSchedule, occurrences
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.trimmed import (
    MomentSchedule,
    TrimmedSchedule,
    instant_meant,
    share_of,
)
from tests.fakes.cron_oracle import ZONES, CronOracle, fires_of, minute_shown, walls
from tests.fakes.cron_text import DAILY, EARLY

CHANGES = {
    "Europe/Berlin": (1774746000, 1792890000),
    "America/New_York": (1772953200, 1793512800),
    "America/Santiago": (1775358000, 1788667200),
    "Australia/Lord_Howe": (1775314800, 1791041400),
    "UTC": (1772323200, 1793145600),
}
"""When the clocks were changed in 2026; for UTC two days of no interest."""

zones = st.sampled_from(ZONES)
sides = st.integers(0, 1)
lists = st.lists(st.one_of(EARLY, DAILY), min_size=1, max_size=3)
takers = st.lists(DAILY, min_size=0, max_size=2)


@settings(max_examples=20, deadline=None)
@given(lists, takers, zones, sides)
def test_several_expressions_less_others_follow_the_oracle_when_the_clock_is_changed(
    crons, exclude, zone, which
):
    change = CHANGES[zone][which]
    start, end = change - 36 * 3600, change + 36 * 3600
    first, *also = crons
    try:
        schedule = CronSchedule(first, ZoneInfo(zone), tuple(also), tuple(exclude))
    except InvalidInput:
        assume(False)
    expected = fires_of(crons, exclude, zone, walls(zone, start, end))
    assert list(occurrences(schedule, start - 1, end - 1, limit=10_000)) == expected
    assert schedule.count(start - 1, end - 1) == len(expected)
    assert list(schedule.newest(start - 1, end - 1, 5)) == expected[-5:]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(60, 40_000),
    st.integers(0, 3600),
    st.lists(st.one_of(EARLY, DAILY), min_size=1, max_size=2),
    zones,
    sides,
)
def test_an_interval_less_what_is_excluded_is_what_visiting_leaves(
    period, offset, exclude, zone, which
):
    change = CHANGES[zone][which]
    whole = IntervalSchedule(float(period), change - 50 * 3600.0 + offset, ZoneInfo(zone))
    schedule = TrimmedSchedule(whole, Exclusions(tuple(exclude), ZoneInfo(zone)))
    start, end = change - 40 * 3600.0, change + 40 * 3600.0
    taken = [CronOracle(text) for text in exclude]
    expected = tuple(
        due
        for due in occurrences(whole, start, end, limit=10_000)
        if not any(one.names(minute_shown(int(due), ZoneInfo(zone))) for one in taken)
    )
    assert occurrences(schedule, start, end, limit=10_000) == expected
    assert schedule.count(start, end) == len(expected)
    assert schedule.newest(start, end, 4) == expected[-4:]


configs = st.fixed_dictionaries(
    {},
    optional={
        "exclude": takers,
        "jitter": st.sampled_from(["1s", "10m"]),
        "start_time": st.sampled_from(["2026-03-20T09:00", "2026-03-29T02:30"]),
        "end_time": st.sampled_from(["2026-04-10T09:00", "2026-10-25T02:30"]),
        "timezone": zones,
    },
)
kinds = st.one_of(
    st.fixed_dictionaries({"crons": lists}),
    st.fixed_dictionaries({"every": st.sampled_from(["7m", "1h30m", "2w"])}),
    st.fixed_dictionaries({"every": st.sampled_from(["7m", "1h"]), "phase": st.just("5m")}),
    st.fixed_dictionaries(
        {"at": st.lists(st.sampled_from(["2026-03-29T02:30", "2026-04-01T12:00Z"]), min_size=1)}
    ),
)
NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


@settings(max_examples=40, deadline=None)
@given(kinds, configs, st.floats(0, 60 * 86_400.0), st.floats(0, 1))
def test_every_schedule_increases_and_never_depends_on_when_one_asks(kind, config, ahead, part):
    try:
        schedule = TimerConfig.read({**kind, **config}).schedule(UTC, NOW, "a/t")
    except ConfigError:
        assume(False)
    after, until = NOW + ahead, NOW + ahead + 86_400.0
    every = occurrences(schedule, after, until, limit=10_000)
    assert all(one < other for one, other in pairwise((after, *every)))
    assert schedule.count(after, until) == len(every)
    assert schedule.newest(after, until, 3) == every[-3:]
    for one, other in list(pairwise(every))[:5]:
        assert schedule.next_after(min(one + (other - one) * part, other - 0.001)) == other


@settings(max_examples=40, deadline=None)
@given(kinds, configs)
def test_whatever_is_read_is_written_out_so_that_it_is_read_back(kind, config):
    try:
        found = TimerConfig.read({**kind, **config})
    except ConfigError:
        assume(False)
    written = found.model_dump(mode="json", exclude_defaults=True)
    assert TimerConfig.read(written) == found


@given(st.text(min_size=1), st.integers(1, 10**9))
def test_a_share_of_the_jitter_is_the_same_at_each_start(timer_id, milliseconds):
    jitter = milliseconds / 1000
    share = share_of(jitter, timer_id)
    assert 0 <= share < jitter
    assert share == share_of(jitter, timer_id)


@given(zones, sides, st.integers(-600, 600))
def test_a_moment_of_the_wall_is_the_first_instant_that_shows_it_or_a_later_one(zone, which, ahead):
    info, change = ZoneInfo(zone), CHANGES[zone][which]
    day = datetime.fromtimestamp(change, info).replace(tzinfo=None, second=0)
    wall = day + timedelta(minutes=ahead)
    number = wall.toordinal() * 1440 + 60 * wall.hour + wall.minute
    seen = walls(zone, change - 36 * 3600, change + 36 * 3600)
    due = instant_meant(wall, info)
    assert [due] == seen.reached(number)
    assert MomentSchedule((due,), info).next_after(due - 1) == due


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(kinds, st.sampled_from(["0s", "10m"])), min_size=1, max_size=4),
    st.integers(1, 400),
    st.one_of(st.none(), st.integers(0, 5)),
)
def test_a_forecast_tells_or_counts_every_fire_and_finds_every_collision(found, limit, remaining):
    plans = []
    for n, (kind, jitter) in enumerate(found):
        timer_id = f"a/{n}"
        config = TimerConfig.read({**kind, "jitter": jitter})
        plans.append(Planned(timer_id, config.schedule(UTC, NOW, timer_id), remaining))
    start, end = NOW + 27 * 86_400.0, NOW + 29 * 86_400.0
    told = forecast(plans, start, end, limit)
    every = sorted(
        (due + one.schedule.delay, one.timer_id)
        for one in plans
        for due in upcoming_instants(one, start, end)
    )
    listed = [(fire.begins_at, fire.timer_id) for fire in told.fires]
    assert len(listed) <= limit
    assert len(listed) + told.left_out == len(every)
    assert listed == (every if len(every) <= limit else sorted(set(listed) & set(every)))
    minutes: dict[int, set[str]] = {}
    for begins_at, timer_id in every:
        minutes.setdefault(int(begins_at // 60), set()).add(timer_id)
    collisions = [
        (60.0 * at, tuple(sorted(ids))) for at, ids in sorted(minutes.items()) if len(ids) > 1
    ]
    assert [(one.at, one.timer_ids) for one in told.collisions] == collisions[:MOST_COLLISIONS]
    assert told.collisions_left_out == max(0, len(collisions) - MOST_COLLISIONS)


def upcoming_instants(planned: Planned, start: float, end: float) -> tuple[float, ...]:
    """What visiting finds."""
    delay = planned.schedule.delay
    most = 100_000 if planned.remaining is None else planned.remaining
    return occurrences(planned.schedule, start - delay, end - delay, limit=most)
