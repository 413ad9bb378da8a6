"""The stretches of time that cron expressions take away from a timer, as the wall of its zone shows them.

Pure. An instant is excluded if the wall shows, at that instant, a minute that one of the expressions names; what was
named but is not shown on the day the clock goes forward is not excluded anywhere, what is shown twice is both times.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache

from hive_daemon.runtime.triggers.cron import CronExpression, parse_cron
from hive_daemon.runtime.triggers.wall_times import Minutes, minutes_on
from hive_daemon.runtime.triggers.zones import change_within, wall_at

_DAY_MINUTES = 1440
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
MOST_SECONDS = 48 * 366 * 86_400.0
"""How far to look for an instant that is not excluded: every kind of day comes within 40 years."""


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Cron expressions and the zone in which they are meant. Raises InvalidInput for one that cannot be read."""

    texts: tuple[str, ...]
    zone: tzinfo = UTC
    _crons: tuple[CronExpression, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_crons", tuple(parse_cron(text) for text in self.texts))

    def cover(self, instant: float) -> bool:
        """Say whether this instant is excluded."""
        wall = wall_at(instant, self.zone)
        return any(cron.names(wall) for cron in self._crons)

    def free_from(self, instant: float) -> float | None:
        """Return the first instant, from this one on, that is not excluded; None if there is none in 48 years."""
        return self._first(instant, instant + MOST_SECONDS, is_covered=False)

    def covered_from(self, instant: float, until: float) -> float | None:
        """Return the first instant in [instant, until] that is excluded; None if there is none."""
        return self._first(instant, until, is_covered=True)

    def _first(self, instant: float, until: float, *, is_covered: bool) -> float | None:
        if self.cover(instant) is is_covered:
            return instant
        here = float(math.floor(instant))
        while here <= until:
            wall = wall_at(here, self.zone)
            there, is_found = self._next_wall(wall, is_covered=is_covered)
            later = here + (there - wall) / _SECOND
            change = change_within(here, later, self.zone)
            if change is not None:
                # Up to it the wall showed none, and it goes on elsewhere.
                later, is_found = change, self.cover(change) is is_covered
            if is_found:
                return later if later <= until else None
            here = later
        return None

    def _next_wall(self, wall: datetime, *, is_covered: bool) -> tuple[datetime, bool]:
        """Return the next minute of this day that is as wanted, else the next midnight; and whether it is so."""
        midnight = datetime.combine(wall.date(), time.min)
        wanted = _wanted(minutes_on(self._crons, midnight), is_covered)
        place = bisect_right(wanted, 60 * wall.hour + wall.minute)
        if place < len(wanted):
            return midnight + timedelta(minutes=wanted[place]), True
        tomorrow = midnight + _DAY
        return tomorrow, (0 in minutes_on(self._crons, tomorrow)) is is_covered


@lru_cache(maxsize=256)
def _wanted(covered: Minutes, is_covered: bool) -> tuple[int, ...]:
    return tuple(minute for minute in range(_DAY_MINUTES) if (minute in covered) is is_covered)
