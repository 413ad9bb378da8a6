"""Cron expressions where croniter takes them otherwise than cron does, and when croniter is loaded at all."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from itertools import islice

import pytest

from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.triggers.cron import parse_cron

NEW_YEAR_2026 = datetime.fromisoformat("2026-01-01")


def first_days(expression: str, many: int) -> list[str]:
    """The first matching times of 2026, as dates: month-day."""
    found = parse_cron(expression).matches_after(NEW_YEAR_2026 - timedelta(minutes=1))
    return [f"{day:%m-%d}" for day in islice(found, many)]


# Ranges that do not go up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "hours"),
    [
        ("9-9", (9,)),
        ("9-9/3", (9,)),
        ("22-2", (0, 1, 2, 22, 23)),
        ("22-4/3", (1, 4, 22)),
        ("23/5", (23,)),
        ("20/2", (20, 22)),
        ("3-1/11", (1, 3, 14)),
        ("*/24", (0,)),
        ("*,5", tuple(range(24))),
    ],
)
def test_a_range_of_hours_names_its_own_hours(field, hours):
    assert parse_cron(f"0 {field} * * *").hours == hours


def test_every_range_of_hours_names_its_own_hours():
    steps = (1, 2, 3, 7, 11, 24)
    written = [(low, high, step) for low in range(24) for high in range(24) for step in steps]
    for low, high, step in written:
        upwards = range(low, (high if low <= high else high + 24) + 1, step)
        expected = tuple(sorted(hour % 24 for hour in upwards))
        assert parse_cron(f"0 {low}-{high}/{step} * * *").hours == expected, (low, high, step)


@pytest.mark.parametrize(
    ("field", "weekdays"),
    [
        ("7-7", "Sun"),
        ("SUN-SUN", "Sun"),
        ("7-0", "Sun"),
        ("0-7", "Thu Fri Sat Sun Mon Tue Wed"),
        ("SUN-7", "Thu Fri Sat Sun Mon Tue Wed"),
        ("5-7", "Fri Sat Sun"),
        ("7-2", "Sun Mon Tue"),
        ("SAT-MON/2", "Sat Mon"),
        ("7/2", "Thu Sat Sun Tue"),
        ("1-7/2", "Fri Sun Mon Wed"),
    ],
)
def test_a_range_of_weekdays_names_its_own_days(field, weekdays):
    week = [NEW_YEAR_2026 + timedelta(days=n) for n in range(7)]
    found = set(first_days(f"0 9 * * {field}", 7))
    assert " ".join(f"{day:%a}" for day in week if f"{day:%m-%d}" in found) == weekdays


def test_a_range_of_months_passes_new_year():
    assert first_days("0 9 1 NOV-FEB/2 *", 3) == ["01-01", "11-01", "01-01"]


# The two day fields ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 9 15 * FRI#2", ["01-09", "01-15", "02-13", "02-15"]),
        ("0 9 L * L5", ["01-30", "01-31", "02-27", "02-28"]),
        ("0 9 * * LFRI", ["01-30", "02-27"]),
        ("0 9 * * 7#1", ["01-04", "02-01"]),
        ("0 9 1,* * MON", ["01-01", "01-02", "01-03"]),
        ("0 9 *,1 * MON", ["01-05", "01-12"]),
        ("0 9 1-31/2 * MON", ["01-01", "01-03", "01-05", "01-07", "01-09", "01-11", "01-12"]),
        ("0 9 */2 * MON", ["01-05", "01-19", "02-09", "02-23"]),
        ("0 9 */2 * MON#1", ["01-05", "06-01", "08-03", "09-07"]),
        ("0 9 13 * */5", ["02-13", "03-13", "09-13", "11-13", "12-13"]),
    ],
)
def test_two_restricted_day_fields_mean_what_debians_cron_means(expression, days):
    assert first_days(expression, len(days)) == days


def test_the_last_day_beside_thirty_others_is_not_every_day():
    expression = parse_cron("0 9 1-15,17-31,L * *")
    assert expression.count_matches(NEW_YEAR_2026, NEW_YEAR_2026 + timedelta(days=31)) == 30


def test_a_weekday_is_found_beside_a_date_that_never_comes():
    assert first_days("0 9 30 2 MON", 2) == ["02-02", "02-09"]


def test_a_leap_day_on_a_fifth_sunday_is_found_forty_years_ahead():
    found = parse_cron("0 0 * 2 SUN#5").matches_after(datetime.fromisoformat("2088-03-01"))
    assert f"{next(found):%F}" == "2128-02-29"


# What is refused though croniter reads it --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("R * * * *", '"R * * * *": minute "r" is not understood'),
        ("0 R(2-5) * * *", '"0 R(2-5) * * *": hour "r(2-5)" is not understood'),
        ("0 0 1-L * *", '"0 0 1-L * *": day of month "1-l" is not understood'),
        ("0 0 5-0 * *", '"0 0 5-0 * *": day of month "5-0" is out of range, it goes from 1 to 31'),
        ("0 0 * * MON-FRI#2", '"0 0 * * MON-FRI#2": day of week "mon-fri#2" is not understood'),
        ("0 0 ?,5 * *", '"0 0 ?,5 * *": day of month "?" is not understood'),
        ("? * * * *", '"? * * * *": minute "?" is not understood'),
        (
            "0 */36 * * *",
            '"0 */36 * * *": hour "*/36" has a step longer than its 24 values, '
            "for an interval use the key every",
        ),
    ],
)
def test_what_nobody_can_rely_on_is_refused(expression, sentence):
    with pytest.raises(InvalidInput) as caught:
        parse_cron(expression)
    assert str(caught.value) == sentence


def test_the_first_mistake_from_the_left_is_told():
    with pytest.raises(InvalidInput, match='hour "24" is out of range'):
        parse_cron("0 24 0 13 8")


# Loading croniter --------------------------------------------------------------------------------------------

WITHOUT_CRON = """
import sys
from hive_daemon.runtime.triggers.timer_config import TimerConfig
TimerConfig.read({"every": "5m"})
assert "croniter" not in sys.modules
TimerConfig.read({"cron": "0 9 * * *"})
assert "croniter" in sys.modules
"""


def test_croniter_is_loaded_by_the_first_cron_expression_and_not_before():
    done = subprocess.run([sys.executable, "-c", WITHOUT_CRON], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
