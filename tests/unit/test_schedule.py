"""Schedules, cron expressions, durations and catching up, by example."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from hive_daemon.clock import iso_z, parse_iso
from hive_daemon.durations import format_duration, parse_duration
from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.triggers.catchup import CatchUp, MissedPlan, missed
from hive_daemon.runtime.triggers.cron import parse_cron
from hive_daemon.runtime.triggers.schedule import (
    CronSchedule,
    IntervalSchedule,
    explain,
    occurrences,
)
from hive_daemon.runtime.triggers.zones import read_zone

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
SANTIAGO = "America/Santiago"
LORD_HOWE = "Australia/Lord_Howe"


def local_times(expression: str, zone: str, after: str, until: str) -> list[str]:
    """Every occurrence between two UTC times, as the wall shows it."""
    info = ZoneInfo(zone)
    schedule = CronSchedule(expression, info)
    found = occurrences(schedule, parse_iso(after), parse_iso(until))
    return [f"{datetime.fromtimestamp(due, info):%d %H:%M %z}" for due in found]


# Changing the clock ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "day", "expected"),
    [
        ("30 2 * * *", NEW_YORK, "2026-03-08T05:00Z", ["08 03:00 -0400"]),
        ("30 1 * * *", NEW_YORK, "2026-11-01T04:00Z", ["01 01:30 -0400"]),
        ("30 2 * * *", BERLIN, "2026-03-28T23:00Z", ["29 03:00 +0200"]),
        ("30 2 * * *", BERLIN, "2026-10-24T22:00Z", ["25 02:30 +0200"]),
        ("0 0 * * *", SANTIAGO, "2026-09-06T03:30Z", ["06 01:00 -0300"]),
        ("30 23 * * *", SANTIAGO, "2026-04-04T12:00Z", ["04 23:30 -0300"]),
        ("15 2 * * *", LORD_HOWE, "2026-10-03T14:00Z", ["04 02:30 +1100"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-04T13:00Z", ["05 01:45 +1100"]),
    ],
)
def test_a_fixed_time_fires_once_on_the_day_the_clock_is_changed(expression, zone, day, expected):
    until = iso_z(parse_iso(day) + 22 * 3600)
    assert local_times(expression, zone, day, until) == expected


def test_fixed_times_in_one_gap_fire_together_at_its_end():
    times = local_times("0,30 2,3 * * *", BERLIN, "2026-03-28T23:00Z", "2026-03-29T04:00Z")
    assert times == ["29 03:00 +0200", "29 03:30 +0200"]


def test_a_wildcard_job_keeps_its_real_interval_over_the_gap():
    times = local_times("*/30 * * * *", BERLIN, "2026-03-28T23:59Z", "2026-03-29T02:00Z")
    assert times == [
        "29 01:00 +0100",
        "29 01:30 +0100",
        "29 03:00 +0200",
        "29 03:30 +0200",
        "29 04:00 +0200",
    ]


def test_a_wildcard_job_fires_in_both_passes_of_a_doubled_hour():
    times = local_times("*/30 * * * *", BERLIN, "2026-10-24T23:59Z", "2026-10-25T02:00Z")
    assert times == [
        "25 02:00 +0200",
        "25 02:30 +0200",
        "25 02:00 +0100",
        "25 02:30 +0100",
        "25 03:00 +0100",
    ]


def test_a_wildcard_job_whose_only_hour_is_missing_does_not_fire_that_day():
    times = local_times("*/30 2 * * *", BERLIN, "2026-03-28T12:00Z", "2026-03-30T00:15Z")
    assert times == ["30 02:00 +0200"]


def test_a_morning_job_stays_at_its_hour_over_the_change():
    schedule = CronSchedule("0 9 * * *", ZoneInfo(BERLIN))
    assert (
        iso_z(schedule.next_after(parse_iso("2026-03-28T11:00Z"))) == "2026-03-29T07:00:00.000000Z"
    )


def test_waking_early_gives_the_same_occurrence_and_waking_on_time_the_next():
    schedule = CronSchedule("0 9 * * *")
    due = parse_iso("2026-03-02T09:00Z")
    assert schedule.next_after(due - 0.0000002) == due
    assert schedule.next_after(due) == due + 86_400


def test_a_job_of_leap_days_skips_the_year_2100():
    schedule = CronSchedule("0 0 29 2 *")
    assert schedule.next_after(parse_iso("2096-03-01")) == parse_iso("2104-02-29")


def test_a_schedule_ends_with_the_calendar():
    assert CronSchedule("0 0 1 1 *").next_after(parse_iso("9998-06-01")) is None


# Reading expressions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 9 * * MON-FRI", "2026-03-06T10:00Z", "2026-03-09T09:00Z"),
        ("0 9 * jan,JUL *", "2026-03-06T10:00Z", "2026-07-01T09:00Z"),
        ("0 9 * * 7", "2026-03-06T10:00Z", "2026-03-08T09:00Z"),
        ("0 9 * * FRI-MON", "2026-03-06T10:00Z", "2026-03-07T09:00Z"),
        ("0 22-2 * * *", "2026-03-06T23:30Z", "2026-03-07T00:00Z"),
        ("0 9-9 * * *", "2026-03-06T09:30Z", "2026-03-07T09:00Z"),
        ("59/15 * * * *", "2026-03-06T09:00Z", "2026-03-06T09:59Z"),
        ("3/20 * * * *", "2026-03-06T09:24Z", "2026-03-06T09:43Z"),
        ("0 8-18/4 * * *", "2026-03-06T12:30Z", "2026-03-06T16:00Z"),
        ("0 9 L * *", "2026-02-03T10:00Z", "2026-02-28T09:00Z"),
        ("0 9 15,L * *", "2026-02-16T10:00Z", "2026-02-28T09:00Z"),
        ("0 9 * * L5", "2026-03-06T10:00Z", "2026-03-27T09:00Z"),
        ("0 9 * * FRI#2", "2026-03-06T10:00Z", "2026-03-13T09:00Z"),
        ("0 9 * * MON,FRI#2", "2026-03-10T10:00Z", "2026-03-13T09:00Z"),
        ("0 9 ? * 1", "2026-03-06T10:00Z", "2026-03-09T09:00Z"),
        ("  @Daily ", "2026-03-06T10:00Z", "2026-03-07T00:00Z"),
        ("@weekly", "2026-03-06T10:00Z", "2026-03-08T00:00Z"),
        ("@monthly", "2026-03-06T10:00Z", "2026-04-01T00:00Z"),
        ("@yearly", "2026-03-06T10:00Z", "2027-01-01T00:00Z"),
        ("@hourly", "2026-03-06T10:00Z", "2026-03-06T11:00Z"),
    ],
)
def test_an_expression_means_what_cron_means_by_it(expression, after, expected):
    assert CronSchedule(expression).next_after(parse_iso(after)) == parse_iso(expected)


def test_two_restricted_day_fields_are_alternatives():
    times = local_times("0 9 15 * MON", "UTC", "2026-03-10", "2026-03-23T12:00")
    assert times == ["15 09:00 +0000", "16 09:00 +0000", "23 09:00 +0000"]


def test_a_day_field_that_starts_with_a_star_narrows_the_other():
    times = local_times("0 9 */2 * MON", "UTC", "2026-03-01", "2026-03-31")
    assert times == ["09 09:00 +0000", "23 09:00 +0000"]


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("0 9 * *", '"0 9 * *" has 4 fields, a cron expression needs 5'),
        ("daily", '"daily" has 1 field, a cron expression needs 5'),
        ("", '"" has 0 fields, a cron expression needs 5'),
        (
            "0 0 9 * * *",
            '"0 0 9 * * *" has 6 fields, a cron expression needs 5, for seconds use the key every',
        ),
        ("60 * * * *", '"60 * * * *": minute "60" is out of range, it goes from 0 to 59'),
        ("* 24 * * *", '"* 24 * * *": hour "24" is out of range, it goes from 0 to 23'),
        ("* * 0 * *", '"* * 0 * *": day of month "0" is out of range, it goes from 1 to 31'),
        ("* * * 13 *", '"* * * 13 *": month "13" is out of range, it goes from 1 to 12'),
        ("* * * * 8", '"* * * * 8": day of week "8" is out of range, it goes from 0 to 7'),
        ("* * * * FRY", '"* * * * FRY": day of week "fry" is not understood'),
        ("MON * * * *", '"MON * * * *": minute "mon" is not understood'),
        ("1,,2 * * * *", '"1,,2 * * * *": minute "" is not understood'),
        ("-5 * * * *", '"-5 * * * *": minute "-5" is not understood'),
        ("*/0 * * * *", '"*/0 * * * *": minute "*/0" has a step of 0, it must be at least 1'),
        (
            "*/90 * * * *",
            '"*/90 * * * *": minute "*/90" has a step longer than its 60 values, '
            "for an interval use the key every",
        ),
        ("0 9 15W * *", '"0 9 15W * *": day of month "15w" is not understood'),
        ("H H * * *", '"H H * * *": minute "h" is not understood'),
        (
            "0 9 * * 5#6",
            '"0 9 * * 5#6": day of week "5#6" asks for a week that no month has, only #1 to #5 exist',
        ),
        ("0 0 30 2 *", '"0 0 30 2 *" never fires, none of its months has such a day'),
        ("0 0 31 2,4,6 *", '"0 0 31 2,4,6 *" never fires, none of its months has such a day'),
        ("@reboot", '"@reboot" is not a known name, use run_immediately: true'),
        ("@every 5m", '"@every 5m" is not a known name, use the key every'),
        (
            "@dayly",
            '"@dayly" is not a known name, known are @yearly, @annually, @monthly, @weekly, @daily, '
            "@midnight, @hourly",
        ),
    ],
)
def test_an_expression_that_cannot_work_is_refused_with_the_reason(expression, sentence):
    with pytest.raises(InvalidInput) as caught:
        CronSchedule(expression)
    assert str(caught.value) == sentence


def test_an_impossible_date_beside_a_weekday_is_no_fault():
    schedule = CronSchedule("0 0 30 2 MON")
    assert schedule.next_after(parse_iso("2026-01-01")) == parse_iso("2026-02-02")


@pytest.mark.parametrize(
    ("expression", "is_fixed_time"),
    [
        ("30 2 * * *", True),
        ("0-59 2 * * *", True),
        ("*/30 2 * * *", False),
        ("30 * * * *", False),
        ("30 */2 * * *", False),
        ("*,5 2 * * *", False),
    ],
)
def test_only_a_star_in_minute_or_hour_makes_a_wildcard_job(expression, is_fixed_time):
    assert parse_cron(expression).is_fixed_time is is_fixed_time


# Zones -------------------------------------------------------------------------------------------------------


def test_utc_needs_no_time_zone_data():
    assert read_zone("utc") is UTC


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Europe/Berlim", '"Europe/Berlim" is not a time zone, did you mean Europe/Berlin?'),
        ("europe/berlin", '"europe/berlin" is not a time zone, did you mean Europe/Berlin?'),
        ("", '"" is not a time zone, write a name such as Europe/Berlin'),
        (
            "../../etc/passwd",
            '"../../etc/passwd" is not a time zone, write a name such as Europe/Berlin',
        ),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_name(name, sentence):
    with pytest.raises(InvalidInput) as caught:
        read_zone(name)
    assert str(caught.value) == sentence


def test_the_name_of_a_folder_of_zones_is_refused():
    with pytest.raises(InvalidInput, match='"Europe" is not a time zone'):
        read_zone("Europe")


# Intervals ---------------------------------------------------------------------------------------------------


def test_an_interval_fires_on_its_grid_however_late_one_asks():
    schedule = IntervalSchedule(300.0, anchor=1000.0)
    assert [schedule.next_after(at) for at in (1000.0, 1001.0, 1299.9, 1300.0, 2417.0)] == [
        1300.0,
        1300.0,
        1300.0,
        1600.0,
        2500.0,
    ]


def test_the_anchor_itself_is_the_first_occurrence():
    assert IntervalSchedule(300.0, anchor=1000.0).next_after(0.0) == 1000.0


@pytest.mark.parametrize("period", [0.0, -1.0, 0.0001, float("inf"), float("nan"), 1e12])
def test_an_impossible_interval_is_refused(period):
    with pytest.raises(InvalidInput, match="must be between 1 ms and 100 years"):
        IntervalSchedule(period, anchor=0.0)


def test_occurrences_stop_at_the_limit():
    assert occurrences(IntervalSchedule(10.0, 0.0), after=0.0, limit=3) == (10.0, 20.0, 30.0)


def test_occurrences_include_the_end_but_not_the_beginning():
    assert occurrences(IntervalSchedule(10.0, 0.0), after=10.0, until=30.0) == (20.0, 30.0)


# Catching up -------------------------------------------------------------------------------------------------

MINUTELY = CronSchedule("* * * * *")


@pytest.mark.parametrize(
    ("policy", "window_seconds", "expected"),
    [
        (CatchUp.ONE, 900.0, MissedPlan((600.0,), tuple(60.0 * n for n in range(1, 10)), 9)),
        (CatchUp.NONE, 900.0, MissedPlan((), tuple(60.0 * n for n in range(1, 11)), 10)),
        (CatchUp.ALL, 900.0, MissedPlan(tuple(60.0 * n for n in range(1, 11)), (), 0)),
        (
            CatchUp.ALL,
            125.0,
            MissedPlan((480.0, 540.0, 600.0), tuple(60.0 * n for n in range(1, 8)), 7),
        ),
        (CatchUp.ONE, 1.0, MissedPlan((), tuple(60.0 * n for n in range(1, 11)), 10)),
    ],
)
def test_ten_missed_minutes_are_caught_up_as_the_policy_says(policy, window_seconds, expected):
    assert missed(MINUTELY, 0.0, 605.0, policy, window_seconds) == expected


def test_catching_up_all_starts_at_most_ten_runs_and_counts_the_others():
    plan = missed(MINUTELY, 0.0, 6000.0, CatchUp.ALL, window_seconds=86_400.0)
    assert (plan.fire, plan.missed_count) == (tuple(60.0 * n for n in range(91, 101)), 90)


def test_a_year_of_missed_minutes_is_counted_and_caught_up_once():
    start, now = parse_iso("2026-01-01"), parse_iso("2027-01-01")
    plan = missed(CronSchedule("* * * * *", ZoneInfo(BERLIN)), start, now, CatchUp.ONE, 900.0)
    assert (plan.fire, plan.missed_count) == ((now,), 365 * 24 * 60 - 1)


def test_counting_from_the_second_pass_leaves_out_what_ran_in_the_first():
    schedule = CronSchedule("30 2 * * *", ZoneInfo(BERLIN))
    second_pass = parse_iso("2026-10-25T01:15Z")
    assert schedule.count(second_pass, second_pass + 3600) == 0


def test_nothing_is_missed_when_the_clock_went_back():
    plan = missed(MINUTELY, 600.0, 120.0, CatchUp.ALL, window_seconds=900.0)
    assert plan == MissedPlan((), (), 0)


# For people --------------------------------------------------------------------------------------------------


def test_a_cron_timer_is_explained_in_local_time_with_its_offset():
    schedule = CronSchedule("0 9 * * 1-5", ZoneInfo(BERLIN))
    due = schedule.next_after(parse_iso("2026-03-28T12:00Z"))
    assert explain(schedule, due) == "0 9 * * 1-5: next Mon 2026-03-30 09:00:00+02:00 Europe/Berlin"


def test_an_interval_is_explained_in_the_zone_of_its_owner():
    schedule = IntervalSchedule(5400.0, parse_iso("2026-01-01"), ZoneInfo(NEW_YORK))
    due = schedule.next_after(parse_iso("2026-01-01"))
    assert (
        explain(schedule, due) == "every 1h30m: next Wed 2025-12-31 20:30:00-05:00 America/New_York"
    )


def test_a_schedule_that_has_ended_is_explained_as_such():
    assert explain(CronSchedule("0 9 * * *"), None) == "0 9 * * *: never again"


# Durations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("250ms", 0.25),
        ("1m30.5s", 90.5),
        (" 2d 4H ", 187_200.0),
        ("1w", 604_800.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_read_as_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "m", "5 minutes", "-5m", "30m1h", "1h1h", "1e3s", "٣s", "inf"]
)
def test_what_is_not_a_duration_is_refused(text):
    with pytest.raises(InvalidInput, match="is not a duration"):
        parse_duration(text)


def test_a_duration_finer_than_a_millisecond_is_refused():
    with pytest.raises(InvalidInput, match="finer than a millisecond"):
        parse_duration("0.5ms")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.25, "250ms"), (90.0, "1m30s"), (5400.0, "1h30m"), (86_400.0, "1d")],
)
def test_a_duration_is_written_as_people_do(seconds, text):
    assert format_duration(seconds) == text
