"""What a person may write into a timer's trigger_config."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.runtime.triggers.catchup import CatchUp
from hive_daemon.runtime.triggers.schedule import CronSchedule, IntervalSchedule
from hive_daemon.runtime.triggers.timer_config import Overlap, TimerConfig

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = "0 9 * * *"


def problems(trigger_config: dict[object, object]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        TimerConfig.read(trigger_config)
    return caught.value.problems


def test_an_interval_in_minutes_starts_at_the_anchor():
    config = TimerConfig.read({"interval_minutes": 5})
    assert config.schedule(UTC, anchor=1000.0) == IntervalSchedule(300.0, 1000.0, UTC)


def test_an_interval_may_be_written_with_units():
    config = TimerConfig.read({"every": "1h30m", "timezone": "Europe/Berlin"})
    assert config.schedule(UTC, anchor=1000.0) == IntervalSchedule(5400.0, 1000.0, BERLIN)


def test_a_cron_timer_without_a_zone_follows_the_daemon():
    assert TimerConfig.read({"cron": DAILY}).schedule(BERLIN, anchor=0.0) == CronSchedule(
        DAILY, BERLIN
    )


def test_a_written_zone_wins_over_that_of_the_daemon():
    config = TimerConfig.read({"cron": DAILY, "timezone": "Europe/Berlin"})
    assert config.schedule(UTC, anchor=0.0) == CronSchedule(DAILY, BERLIN)


def test_cron_wins_over_interval_minutes_and_says_so():
    config = TimerConfig.read({"cron": DAILY, "interval_minutes": 5})
    assert config.schedule(UTC, anchor=0.0) == CronSchedule(DAILY, UTC)
    assert config.remarks == ("interval_minutes: has no effect beside cron, which wins",)


def test_what_is_not_written_has_a_quiet_default():
    config = TimerConfig.read({"every": "90s"})
    assert config == TimerConfig(
        every="90s",
        run_immediately=False,
        idle_timeout_seconds=None,
        overlap=None,
        catchup=CatchUp.ONE,
        catchup_window="15m",
    )
    assert (config.catchup_window, config.remarks) == (900.0, ())


def test_the_documented_samples_are_read():
    interval = {"interval_minutes": 5, "run_immediately": True, "idle_timeout_seconds": 300}
    cron = {"cron": "0 9 * * 1-5", "run_immediately": False, "idle_timeout_seconds": 300}
    assert TimerConfig.read(interval).run_immediately
    assert TimerConfig.read(cron).idle_timeout_seconds == 300.0


def test_what_is_written_out_is_read_back():
    config = TimerConfig.read(
        {"every": "90s", "catchup": "all", "catchup_window": "1h", "overlap": "skip"}
    )
    written = config.model_dump(mode="json", exclude_none=True)
    assert written["every"] == "1m30s"
    assert TimerConfig.read(written) == config


@pytest.mark.parametrize(
    ("written", "max_concurrent", "expected"),
    [
        (None, 1, Overlap.CANCEL_OTHER),
        (None, 5, Overlap.SKIP),
        ("buffer_one", 1, Overlap.BUFFER_ONE),
        ("allow_all", 5, Overlap.ALLOW_ALL),
    ],
)
def test_a_written_overlap_wins_over_the_one_that_follows_from_the_slots(
    written, max_concurrent, expected
):
    config = TimerConfig.read({"cron": DAILY, "overlap": written})
    assert config.rules.overlap_for(max_concurrent) == expected


@pytest.mark.parametrize(
    ("trigger_config", "sentence"),
    [
        ({}, "a timer needs one of cron, interval_minutes and every"),
        (
            {"every": "5m", "cron": DAILY},
            "every cannot stand beside cron or interval_minutes, keep one of them",
        ),
        (
            {"every": "5m", "interval_minutes": 5},
            "every cannot stand beside cron or interval_minutes, keep one of them",
        ),
        ({"cron": "0 9 * *"}, 'cron: "0 9 * *" has 4 fields, a cron expression needs 5'),
        ({"cron": 9}, "cron: must be a valid string, not 9"),
        (
            {"cron": DAILY, "timezone": "Europe/Berlim"},
            'timezone: "Europe/Berlim" is not a time zone, did you mean Europe/Berlin?',
        ),
        (
            {"cron": DAILY, "idle_timeout": 300},
            "idle_timeout: unknown key, did you mean idle_timeout_seconds?",
        ),
        ({"interval_minutes": 0}, "interval_minutes: must be greater than 0, not 0"),
        ({"interval_minutes": -5}, "interval_minutes: must be greater than 0, not -5"),
        ({"interval_minutes": True}, "interval_minutes: must be a valid number, not True"),
        ({"interval_minutes": "5"}, "interval_minutes: must be a valid number, not '5'"),
        (
            {"interval_minutes": float("inf")},
            "interval_minutes: an interval of inf seconds is not possible, "
            "it must be between 1 ms and 100 years",
        ),
        (
            {"every": "0s"},
            "every: an interval of 0 seconds is not possible, it must be between 1 ms and 100 years",
        ),
        ({"every": 90}, "every: 90 has no unit, write for example 90s, 5m or 1h30m"),
        (
            {"every": "5 minutes"},
            'every: "5 minutes" is not a duration, write a number and a unit, largest first: 90s, 5m, 1h30m',
        ),
        (
            {"cron": DAILY, "catchup_window": 900},
            "catchup_window: 900 has no unit, write for example 90s, 5m or 1h30m",
        ),
        (
            {"cron": DAILY, "catchup": "some"},
            "catchup: must be 'none', 'one' or 'all', not 'some'",
        ),
        (
            {"cron": DAILY, "run_immediately": "yes"},
            "run_immediately: must be a valid boolean, not 'yes'",
        ),
        (
            {"cron": DAILY, "idle_timeout_seconds": -1},
            "idle_timeout_seconds: must be greater than or equal to 0, not -1",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence(trigger_config, sentence):
    assert problems(trigger_config) == (sentence,)


def test_an_unknown_key_like_no_other_lists_the_known_ones():
    assert problems({"cron": DAILY, "zzz": 1}) == (
        "zzz: unknown key, known are cron, interval_minutes, every, timezone, run_immediately, "
        "idle_timeout_seconds, overlap, catchup, catchup_window",
    )


def test_a_key_that_is_no_text_is_refused():
    assert problems({"cron": DAILY, 5: 1})[0].startswith("5: unknown key")


def test_all_mistakes_are_told_at_once():
    told = problems({"cron": "0 9 * *", "timezone": "Mars", "overlap": "never", "catchupp": "one"})
    assert [sentence.partition(":")[0] for sentence in told] == [
        "cron",
        "timezone",
        "overlap",
        "catchupp",
    ]
