"""Moments as people name them on the command line."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from hive_cli.app import main
from hive_cli.durations import moment_of
from hive_cli.failures import Failure


def test_a_duration_is_that_long_ago():
    before = datetime.now(UTC)
    text = moment_of("2h")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", text)
    since = datetime.fromisoformat(text)
    assert before <= since + timedelta(hours=2) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-02T09:00:00Z", "2026-03-02T09:00:00Z"),
        ("2026-03-02T10:30:00.25+01:30", "2026-03-02T09:00:00.250000Z"),
    ],
)
def test_a_time_with_its_zone_is_that_time(text, meant):
    assert moment_of(text) == meant


@pytest.mark.parametrize("text", ["yesterday", "2", "2026-13-01", "2026-03-02Tnoon", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(Failure) as caught:
        moment_of(text)
    assert caught.value.exit_code == 2


def test_events_begin_at_one_place(capsys):
    assert main(["events", "--since", "1h", "--from-seq", "3"]) == 2
    assert "--since and --from-seq exclude each other" in capsys.readouterr().err
