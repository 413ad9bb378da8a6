"""Which moment a person means by a time: `09:00`, `2026-03-02T09:00`, `2h`. Pure: now and the zone are given."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta, tzinfo

from hive_daemon.durations import parse_duration
from hive_daemon.errors import InvalidInput

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_DATE = re.compile(r"\d{4}-.*", re.ASCII)


def read_moment(text: str, now: float, zone: tzinfo) -> float:
    """Return wall seconds: a time of the day is the last one that was, a duration is so long ago.

    A date without an offset is one of the zone. Raises InvalidInput.
    """
    try:
        if match := _CLOCK.fullmatch(text):
            hour, minute, second = (int(part or 0) for part in match.groups())
            return _last(time(hour, minute, second), now, zone)
        if _DATE.fullmatch(text):
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidInput(
            f'"{text}" is no time', hint="write 09:00, 2026-03-02T09:00, or how long ago: 2h"
        ) from None
    return now - parse_duration(text)


def _last(of_day: time, now: float, zone: tzinfo) -> float:
    """Return the last moment at which a clock of the zone showed this time."""
    today = datetime.fromtimestamp(now, zone)
    found = datetime.combine(today.date(), of_day, zone)
    if found.timestamp() > now:
        found = datetime.combine(today.date() - timedelta(days=1), of_day, zone)
    return found.timestamp()
