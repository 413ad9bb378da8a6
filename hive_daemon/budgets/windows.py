"""The windows of budgets, in the time zone of the daemon.

An hour and a day are those of the clock on the wall; 30 days are today and the 29 days before, and roll on at midnight.
What is spent is kept by the hour, so a window is a sum of hours. Instants are wall seconds since 1970, UTC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

from hive_daemon.budgets.rules import Per

HOUR_SECONDS = 3600.0
DAYS = 30


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` to `until`, which is excluded; `until` is None for a life."""

    since: float
    until: float | None = None


LIFE = Window(0.0)
"""Everything that was ever spent."""


def hour_of(now: float, zone: tzinfo) -> float:
    """Return when the hour on the wall began."""
    offset = (datetime.fromtimestamp(now, zone).utcoffset() or timedelta(0)).total_seconds()
    return math.floor((now + offset) / HOUR_SECONDS) * HOUR_SECONDS - offset


def window_at(per: Per, now: float, zone: tzinfo) -> Window:
    """Return the window that this instant is in; since ≤ now < until."""
    match per:
        case Per.HOUR:
            began = hour_of(now, zone)
            return Window(began, began + HOUR_SECONDS)
        case Per.DAY:
            return Window(_midnight(now, zone, 0), _midnight(now, zone, 1))
        case Per.MONTH:
            return Window(_midnight(now, zone, 1 - DAYS), _midnight(now, zone, 1))
    return LIFE


def _midnight(now: float, zone: tzinfo, days: int) -> float:
    """Return when the day so many days after today begins."""
    day = datetime.fromtimestamp(now, zone).date() + timedelta(days)
    return datetime.combine(day, time(), zone).timestamp()
