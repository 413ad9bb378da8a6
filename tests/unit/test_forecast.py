"""What timers will do, by example."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from hive_daemon.clock import parse_iso
from hive_daemon.runtime.triggers.forecast import (
    ClockChange,
    Collision,
    Fire,
    Planned,
    forecast,
    upcoming,
)
from hive_daemon.runtime.triggers.timer_config import TimerConfig

BERLIN = ZoneInfo("Europe/Berlin")
SANTIAGO = ZoneInfo("America/Santiago")
SATURDAY = parse_iso("2026-10-24T00:00:00Z")
TUESDAY = parse_iso("2026-10-27T00:00:00Z")
HOUR = 3600.0


def planned(
    timer_id: str, zone: ZoneInfo = BERLIN, remaining: int | None = None, **config: object
) -> Planned:
    """A timer that begins on that Saturday."""
    schedule = TimerConfig.read(config).schedule(zone, SATURDAY, timer_id)
    return Planned(timer_id, schedule, remaining)


def test_the_next_fires_are_told_with_their_offset_and_the_day_the_clock_is_changed():
    found = upcoming(planned("a/daily", cron="30 2 * * *"), SATURDAY, 3)
    assert [(fire.local, fire.is_change_day) for fire in found] == [
        ("2026-10-24T02:30:00+02:00", False),
        ("2026-10-25T02:30:00+02:00", True),
        ("2026-10-26T02:30:00+01:00", False),
    ]


def test_a_timer_that_ends_has_fewer_next_fires():
    once = planned("a/once", at="2026-10-25T09:00")
    assert [fire.local for fire in upcoming(once, SATURDAY, 5)] == ["2026-10-25T09:00:00+01:00"]
    assert upcoming(once, TUESDAY, 5) == ()


def test_a_timer_has_no_more_next_fires_than_it_may_still_start():
    found = upcoming(planned("a/daily", remaining=2, cron="30 2 * * *"), SATURDAY, 5)
    assert len(found) == 2


def test_a_fire_is_shown_when_it_begins_and_known_by_its_own_instant():
    spread = planned("a/spread", every="1h", jitter="10m")
    delay = spread.schedule.delay
    (fire,) = upcoming(spread, SATURDAY + delay, 1)
    assert (fire.scheduled_at, fire.begins_at) == (SATURDAY + HOUR, SATURDAY + HOUR + delay)


def test_a_forecast_lists_every_fire_in_order_with_the_changes_of_the_clock():
    daily, night = planned("a/daily", cron="0 9 * * *"), planned("a/night", cron="30 2 * * *")
    found = forecast([daily, night], SATURDAY, TUESDAY)
    assert [(fire.timer_id, fire.local) for fire in found.fires] == [
        ("a/night", "2026-10-24T02:30:00+02:00"),
        ("a/daily", "2026-10-24T09:00:00+02:00"),
        ("a/night", "2026-10-25T02:30:00+02:00"),
        ("a/daily", "2026-10-25T09:00:00+01:00"),
        ("a/night", "2026-10-26T02:30:00+01:00"),
        ("a/daily", "2026-10-26T09:00:00+01:00"),
    ]
    change = parse_iso("2026-10-25T01:00:00Z")
    assert found.changes == (
        ClockChange("Europe/Berlin", change, date(2026, 10, 25), "2026-10-25T02:00:00+01:00"),
    )
    assert (found.left_out, found.collisions, found.looked_until) == (0, (), TUESDAY)


def test_the_day_without_a_midnight_is_the_day_the_clock_is_changed():
    start = parse_iso("2026-09-05T12:00:00Z")
    found = upcoming(planned("a/t", SANTIAGO, cron="0 12 * * *"), start, 3)
    assert [(fire.local[:10], fire.is_change_day) for fire in found] == [
        ("2026-09-05", False),
        ("2026-09-06", True),
        ("2026-09-07", False),
    ]


def test_timers_that_begin_in_one_minute_collide():
    hourly = planned("a/hourly", cron="0 * * * *")
    daily = planned("b/daily", cron="0 9 * * *")
    other = planned("c/other", at="2026-10-24T09:00:40")
    found = forecast([daily, hourly, other], SATURDAY, SATURDAY + 12 * HOUR)
    nine = parse_iso("2026-10-24T07:00:00Z")
    assert found.collisions == (Collision(nine, ("a/hourly", "b/daily", "c/other"), 3),)


def test_a_timer_does_not_collide_with_itself():
    often = planned("a/often", every="1s")
    found = forecast([often, planned("b/once", at="2026-10-24T09:00")], SATURDAY, TUESDAY)
    assert [collision.timer_ids for collision in found.collisions] == [("a/often", "b/once")]


def test_a_timer_that_is_due_each_second_does_not_hide_one_that_is_due_each_day():
    often, daily = planned("a/often", every="1s"), planned("b/daily", cron="0 9 * * *")
    found = forecast([often, daily], SATURDAY, SATURDAY + 14 * 86_400.0, limit=100)
    assert sum(fire.timer_id == "b/daily" for fire in found.fires) == 14
    assert len(found.fires) == 100
    assert found.left_out == 14 * 86_400 - 86


def test_a_timer_stops_in_a_forecast_when_it_has_used_up_its_executions():
    few = planned("a/few", remaining=3, every="1h")
    found = forecast([few, planned("b/t", every="1h")], SATURDAY, TUESDAY)
    assert sum(fire.timer_id == "a/few" for fire in found.fires) == 3
    assert len(found.collisions) == 3


def test_a_timer_that_may_start_no_more_is_not_in_a_forecast():
    found = forecast([planned("a/done", remaining=0, every="1h")], SATURDAY, TUESDAY)
    assert (found.fires, found.left_out) == ((), 0)


def test_many_busy_timers_are_looked_at_for_so_long_only_and_it_is_said():
    busy = [planned(f"a/{n:02}", cron="* * * * *") for n in range(25)]
    found = forecast(busy, SATURDAY, SATURDAY + 14 * 86_400.0, limit=50)
    assert SATURDAY < found.looked_until < SATURDAY + 14 * 86_400.0
    assert (found.collisions[0].count, len(found.collisions[0].timer_ids)) == (25, 20)
    assert len(found.collisions) + found.collisions_left_out == 2000
    assert len(found.fires) + found.left_out == 25 * 14 * 1440


def test_a_fire_between_seconds_is_told_to_the_millisecond():
    found = upcoming(planned("a/t", every="250ms"), SATURDAY, 1)
    assert found == (
        Fire("a/t", SATURDAY + 0.25, SATURDAY + 0.25, "2026-10-24T02:00:00.250+02:00", False),
    )
