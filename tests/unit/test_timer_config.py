"""What a person may write into a timer's trigger_config."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from hive_daemon.errors import ConfigError
from hive_daemon.runtime.triggers.catchup import CatchUp
from hive_daemon.runtime.triggers.schedule import CronSchedule, IntervalSchedule
from hive_daemon.runtime.triggers.timer_config import Overlap, TimerConfig
from hive_daemon.runtime.triggers.trimmed import MomentSchedule, share_of

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
        ({}, "a timer needs one of cron, crons, interval_minutes, every and at"),
        (
            {"every": "5m", "cron": DAILY},
            "cron and every cannot stand together, keep one of them",
        ),
        (
            {"every": "5m", "interval_minutes": 5},
            "interval_minutes and every cannot stand together, keep one of them",
        ),
        (
            {"crons": [DAILY], "cron": DAILY, "interval_minutes": 5},
            "cron and crons and interval_minutes cannot stand together, keep one of them",
        ),
        (
            {"at": "2026-12-01T09:00", "every": "5m"},
            "every and at cannot stand together, keep one of them",
        ),
        ({"at": []}, "a timer needs one of cron, crons, interval_minutes, every and at"),
        (
            {"crons": [DAILY, "0 9 * *"]},
            'crons[1]: "0 9 * *" has 4 fields, a cron expression needs 5',
        ),
        ({"crons": [9]}, "crons[0]: 9 is not a cron expression, put it into quotes"),
        (
            {"crons": "0 0 30 2 *"},
            'crons: "0 0 30 2 *" never fires, none of its months has such a day',
        ),
        (
            {"every": "1h", "exclude": ["* 0-6 * * *", "* 25 * * *"]},
            'exclude[1]: "* 25 * * *": hour "25" is out of range, it goes from 0 to 23',
        ),
        (
            {"at": "tomorrow"},
            "at: 'tomorrow' is not a moment, write for example 2026-12-01T09:00 or 2026-12-01T09:00+01:00",
        ),
        (
            {"at": ["2026-12-01T09:00", "2026-12-02"]},
            'at[1]: "2026-12-02" has no time of day, '
            "write for example 2026-12-01T09:00 or 2026-12-01T09:00+01:00",
        ),
        (
            {"at": "2026-13-01T09:00"},
            "at: '2026-13-01T09:00' is not a moment: month must be in 1..12",
        ),
        (
            {"every": "5m", "start_time": date(2026, 12, 1)},
            'start_time: "2026-12-01" has no time of day, '
            "write for example 2026-12-01T09:00 or 2026-12-01T09:00+01:00",
        ),
        (
            {"every": "5m", "end_time": 5},
            "end_time: 5 is not a moment, write for example 2026-12-01T09:00 or 2026-12-01T09:00+01:00",
        ),
        ({"every": "5m", "phase": 5}, "phase: 5 has no unit, write for example 90s, 5m or 1h30m"),
        (
            {"every": "5m", "phase": "5m"},
            "phase: 5m is not shorter than the interval of 5m, take away whole intervals",
        ),
        (
            {"cron": DAILY, "phase": "5m"},
            "phase: belongs to every or interval_minutes, cron and at say their times themselves",
        ),
        (
            {"cron": DAILY, "jitter": "a while"},
            'jitter: "a while" is not a duration, write a number and a unit, largest first: 90s, 5m, 1h30m',
        ),
        (
            {"every": "5m", "remaining_actions": 0},
            "remaining_actions: must be greater than or equal to 1, not 0",
        ),
        (
            {"every": "5m", "pause_on_failure": -1},
            "pause_on_failure: must be greater than or equal to 0, not -1",
        ),
        (
            {"every": "5m", "pause_on_failure": True},
            "pause_on_failure: must be a valid integer, not True",
        ),
        ({"every": "5m", "paused": "yes"}, "paused: must be a valid boolean, not 'yes'"),
        ({"every": "5m", "note": 5}, "note: must be a valid string, not 5"),
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
        "zzz: unknown key, known are cron, crons, interval_minutes, every, at, timezone, phase, "
        "jitter, exclude, start_time, end_time, remaining_actions, run_immediately, "
        "idle_timeout_seconds, overlap, catchup, catchup_window, pause_on_failure, paused, note",
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


# Schedules that can never be due -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger_config", "sentence"),
    [
        (
            {"cron": DAILY, "exclude": "* 8-9 * * *"},
            "exclude leaves nothing of 0 9 * * *: let it name fewer times",
        ),
        (
            {"crons": [DAILY, "0 8 * * 1"], "exclude": ["* 8 * * *", "* 9 * * *"]},
            "exclude leaves nothing of 0 9 * * * or 0 8 * * 1: let it name fewer times",
        ),
        (
            {"every": "5m", "exclude": ["* 0-11 * * *", "* 12-23 * * *"]},
            "exclude names every minute, nothing would ever be due: name fewer",
        ),
        (
            {
                "every": "5m",
                "start_time": "2026-12-01T09:00+01:00",
                "end_time": "2026-12-01T07:59Z",
            },
            "end_time 2026-12-01 07:59:00+00:00 is before start_time 2026-12-01 09:00:00+01:00, "
            "nothing would ever be due: write a later end_time",
        ),
        (
            {
                "cron": "0 0 29 2 *",
                "start_time": "2026-01-01T00:00",
                "end_time": "2028-01-01T00:00",
            },
            "nothing would ever be due: 0 0 29 2 *, from 2026-01-01 00:00:00+00:00, "
            "until 2028-01-01 00:00:00+00:00; loosen start_time, end_time or exclude",
        ),
        (
            {"at": "2026-12-01T09:00", "exclude": "* 9 1 12 *"},
            "nothing would ever be due: at 2026-12-01 09:00:00+00:00, but not * 9 1 12 *; "
            "loosen start_time, end_time or exclude",
        ),
        (
            {"at": "2026-12-01T09:00", "end_time": "2026-11-30T00:00"},
            "nothing would ever be due: at 2026-12-01 09:00:00+00:00, until 2026-11-30 00:00:00+00:00; "
            "loosen start_time, end_time or exclude",
        ),
        (
            {"every": "1d", "phase": "9h", "exclude": "* 9 * * *", "timezone": "UTC"},
            "nothing would ever be due: every 1d, but not * 9 * * *; "
            "loosen start_time, end_time or exclude",
        ),
    ],
)
def test_a_schedule_of_which_nothing_can_ever_be_due_is_refused(trigger_config, sentence):
    assert problems(trigger_config) == (sentence,)


@pytest.mark.parametrize(
    "trigger_config",
    [
        {"at": "2001-01-01T09:00"},
        {"cron": DAILY, "end_time": "2001-01-01T09:00"},
        {"every": "5m", "start_time": "2001-01-01T09:00", "end_time": "2001-01-02T09:00"},
    ],
)
def test_a_schedule_whose_time_has_passed_is_read_and_never_due(trigger_config):
    schedule = TimerConfig.read(trigger_config).schedule(UTC, anchor=NOW)
    assert schedule.next_after(NOW) is None


def test_what_only_the_zone_of_the_daemon_decides_is_not_refused():
    # 09:00 is before 10:00 UTC in Berlin, and after it in New York.
    config = {"at": "2026-12-01T09:00", "end_time": "2026-12-01T08:30Z"}
    assert TimerConfig.read(config).schedule(BERLIN, 0.0).next_after(0.0) is not None
    assert (
        TimerConfig.read(config).schedule(ZoneInfo("America/New_York"), 0.0).next_after(0.0) is None
    )
    assert problems({**config, "timezone": "America/New_York"})[0].startswith("nothing would")


# What the newer keys mean ------------------------------------------------------------------------------------

NOW = datetime(2026, 3, 2, 9, 7, tzinfo=UTC).timestamp()


def next_times(trigger_config: dict[str, object], many: int, zone: ZoneInfo = BERLIN) -> list[str]:
    """The next times after `NOW`, as the wall shows them, of a timer that began then."""
    schedule = TimerConfig.read(trigger_config).schedule(zone, NOW, "a/t")
    found = []
    due = schedule.next_after(NOW)
    while due is not None and len(found) < many:
        found.append(f"{datetime.fromtimestamp(due, zone):%m-%d %H:%M:%S%z}")
        due = schedule.next_after(due)
    return found


def test_of_several_expressions_any_is_enough_and_an_instant_of_two_is_one():
    config = {"crons": ["0 9 * * *", "0 9,18 * * MON"]}
    assert next_times(config, 3) == [
        "03-02 18:00:00+0100",
        "03-03 09:00:00+0100",
        "03-04 09:00:00+0100",
    ]


def test_a_one_shot_is_due_once_by_the_wall_of_its_zone():
    assert next_times({"at": "2026-03-29T02:30"}, 5) == ["03-29 03:00:00+0200"]


def test_moments_may_be_listed_in_any_order_with_or_without_an_offset():
    config = {"at": ["2026-03-05T12:00:00.250+05:30", "2026-03-04 09:00", "2026-03-04T08:00Z"]}
    assert next_times(config, 5) == ["03-04 09:00:00+0100", "03-05 07:30:00+0100"]


def test_a_moment_as_yaml_reads_it_is_read():
    moment = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
    schedule = TimerConfig.read({"at": moment}).schedule(BERLIN, 0.0)
    assert schedule == MomentSchedule((moment.timestamp(),), BERLIN)


def test_a_phase_lays_the_instants_of_an_interval_down_wherever_it_is_started():
    assert next_times({"every": "1h", "phase": "15m"}, 2) == [
        "03-02 10:15:00+0100",
        "03-02 11:15:00+0100",
    ]


def test_a_start_time_is_the_first_occurrence_of_an_interval():
    config = {"every": "2w", "start_time": "2026-03-09T09:00"}
    assert next_times(config, 3) == [
        "03-09 09:00:00+0100",
        "03-23 09:00:00+0100",
        "04-06 10:00:00+0200",
    ]


def test_nothing_is_due_before_the_start_or_after_the_end_and_both_belong_to_it():
    config = {"cron": DAILY, "start_time": "2026-03-05T09:00", "end_time": "2026-03-06T09:00"}
    assert next_times(config, 5) == ["03-05 09:00:00+0100", "03-06 09:00:00+0100"]


def test_an_excluded_minute_is_not_due_of_a_cron_job():
    config = {"cron": "0 9 * * *", "exclude": ["* * 3-5 3 *", "* * * * SAT,SUN"]}
    assert next_times(config, 2) == ["03-06 09:00:00+0100", "03-09 09:00:00+0100"]


def test_an_excluded_minute_is_not_due_of_an_interval():
    config = {"every": "6h", "phase": "0s", "exclude": "* 0-6 * * *"}
    assert next_times(config, 3) == [
        "03-02 13:00:00+0100",
        "03-02 19:00:00+0100",
        "03-03 07:00:00+0100",
    ]


def test_what_a_gap_moves_into_an_excluded_minute_is_not_due():
    config = {"cron": "30 2 * * *", "exclude": "0 3 * * *", "start_time": "2026-03-28T00:00"}
    assert next_times(config, 2) == ["03-28 02:30:00+0100", "03-30 02:30:00+0200"]


def test_what_is_excluded_is_not_moved_by_a_gap_either():
    config = {"cron": "30 2 * * *", "exclude": "30 2 29 3 *", "start_time": "2026-03-28T00:00"}
    assert next_times(config, 2) == ["03-28 02:30:00+0100", "03-30 02:30:00+0200"]


def test_an_expression_of_which_nothing_is_left_is_passed_over():
    config = {"crons": ["0 12 * * *", "*/30 3 * * *"], "exclude": "* 12 * * *"}
    assert next_times(config, 2) == ["03-03 03:00:00+0100", "03-03 03:30:00+0100"]


def test_jitter_moves_the_beginning_of_a_run_and_not_the_instant_it_is_known_by():
    config = TimerConfig.read({"cron": DAILY, "jitter": "10m"})
    plain, moved = config.schedule(UTC, NOW), config.schedule(UTC, NOW, "a/t")
    assert (plain.delay, moved.delay) == (0.0, share_of(600.0, "a/t"))
    assert moved.next_after(NOW) == plain.next_after(NOW)


def test_the_shares_of_a_jitter_are_spread_over_it():
    shares = [share_of(100.0, f"agent/timer-{n}") for n in range(1000)]
    tenths = [sum(10 * n <= share < 10 * (n + 1) for share in shares) for n in range(10)]
    assert min(tenths) > 60


@pytest.mark.parametrize(
    ("trigger_config", "is_steady"),
    [
        ({"every": "5m"}, True),
        ({"every": "5m", "exclude": "* 9 * * *", "end_time": "2027-01-01T00:00"}, True),
        ({"every": "5m", "phase": "1m"}, False),
        ({"every": "5m", "start_time": "2026-03-09T09:00"}, False),
        ({"cron": DAILY}, False),
        ({"at": "2026-12-01T09:00"}, False),
    ],
)
def test_only_an_interval_that_nobody_pinned_down_is_counted_from_its_first_start(
    trigger_config, is_steady
):
    schedule = TimerConfig.read(trigger_config).schedule(UTC, NOW)
    assert schedule.is_steady is is_steady
    assert (schedule.anchored_at(NOW + 1) != schedule) is is_steady


def test_a_schedule_says_all_that_its_owner_wrote():
    config = {
        "crons": ["0 9 * * *", "0 18 * * *"],
        "exclude": "* * 25 12 *",
        "start_time": "2026-03-09T09:00",
        "end_time": "2026-12-31T23:59Z",
    }
    assert str(TimerConfig.read(config).schedule(BERLIN, 0.0)) == (
        "0 9 * * * or 0 18 * * *, but not * * 25 12 *, from 2026-03-09 09:00:00+01:00, "
        "until 2027-01-01 00:59:00+01:00"
    )


def test_the_rules_carry_what_the_ledger_and_the_operator_need():
    rules = TimerConfig.read(
        {
            "cron": DAILY,
            "paused": True,
            "note": "until May",
            "remaining_actions": 3,
            "pause_on_failure": 0,
        }
    ).rules
    assert (rules.starts_paused, rules.note) == (True, "until May")
    assert (rules.remaining_actions, rules.pause_on_failure) == (3, 0)


def test_five_failures_in_a_row_pause_a_timer_for_which_nothing_is_written():
    assert TimerConfig.read({"cron": DAILY}).rules.pause_on_failure == 5


def test_every_key_is_in_the_table_of_the_documents():
    text = Path(__file__).parents[2].joinpath("docs/timers.md").read_text(encoding="utf-8")
    table = text.partition("## Cron expressions")[0]
    assert [key for key in TimerConfig.model_fields if f"| `{key}` |" not in table] == []
