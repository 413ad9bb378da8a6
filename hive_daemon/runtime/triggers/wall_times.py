"""The wall times that several cron expressions name together, less those that others take away.

Nothing here knows of time zones, as in `cron`. A single expression of which nothing is taken away is a `WallTimes` by
itself, so thousands of timers pay nothing for what they do not use.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Protocol

from hive_daemon.runtime.triggers.cron import CronExpression

_MINUTE = timedelta(minutes=1)
_YEARS = range(2000, 2028)
"""Among them is every kind of year: both lengths, beginning on each day of the week."""

Minutes = frozenset[int]
"""Minutes of a day, counted from midnight."""


class WallTimes(Protocol):
    """A set of wall-clock minutes."""

    @property
    def is_possible(self) -> bool:
        """Whether there is any."""

    def matches_after(self, wall: datetime) -> Iterator[datetime]:
        """Yield every one later than `wall`, in order, up to the calendar's end."""

    def count_matches(self, after: datetime, until: datetime) -> int:
        """Count those in (after, until], `after` not being the later."""

    def excludes(self, wall: datetime) -> bool:
        """Say whether the minute of this wall time has been taken away."""


def wall_times(crons: tuple[CronExpression, ...], exclude: tuple[CronExpression, ...]) -> WallTimes:
    """Return the wall times that any of `crons` names and none of `exclude`; at least one of `crons` is needed."""
    if len(crons) == 1 and not exclude:
        return _One(crons[0])
    return _Several(crons, exclude)


@lru_cache(maxsize=1024)
def minutes_of(crons: tuple[CronExpression, ...]) -> Minutes:
    """Return the minutes that these expressions name on a day that is one of theirs."""
    return frozenset(60 * hour + m for cron in crons for hour in cron.hours for m in cron.minutes)


def minutes_on(crons: tuple[CronExpression, ...], day: datetime) -> Minutes:
    """Return the minutes of this day that any of these expressions names."""
    return minutes_of(tuple(cron for cron in crons if cron.names_day(day)))


@dataclass(frozen=True, slots=True)
class _One:
    """What a single expression names."""

    cron: CronExpression

    @property
    def is_possible(self) -> bool:
        return True

    def matches_after(self, wall: datetime) -> Iterator[datetime]:
        return self.cron.matches_after(wall)

    def count_matches(self, after: datetime, until: datetime) -> int:
        return self.cron.count_matches(after, until)

    def excludes(self, wall: datetime) -> bool:
        return False


@dataclass(frozen=True)
class _Several:
    """What several expressions name, less what others do."""

    crons: tuple[CronExpression, ...]
    exclude: tuple[CronExpression, ...]

    @cached_property
    def is_possible(self) -> bool:
        days = (day for year in _YEARS for cron in self.crons for day in cron.days_of(year))
        return any(self._minutes(datetime.fromordinal(day)) for day in days)

    def matches_after(self, wall: datetime) -> Iterator[datetime]:
        start = wall.replace(second=0, microsecond=0, fold=0) + _MINUTE
        first = 60 * start.hour + start.minute
        for day in self._days_from(_midnight(start)):
            begin = first if day.date() == start.date() else 0
            for minute in _sorted(self._minutes(day)):
                if minute >= begin:
                    yield day.replace(hour=minute // 60, minute=minute % 60)

    def count_matches(self, after: datetime, until: datetime) -> int:
        days = takewhile(_midnight(until).__gt__, self._days_from(_midnight(after)))
        whole = sum(len(self._minutes(day)) for day in days)
        return whole + self._count_today(until) - self._count_today(after)

    def excludes(self, wall: datetime) -> bool:
        return any(cron.names(wall) for cron in self.exclude)

    def _days_from(self, midnight: datetime) -> Iterator[datetime]:
        """Yield the days that any expression names, each once, from this one on."""
        last = None
        for day in heapq.merge(*(cron.days_from(midnight) for cron in self.crons)):
            if day != last:
                yield day
            last = day

    def _minutes(self, day: datetime) -> Minutes:
        named = minutes_on(self.crons, day)
        return _less(named, minutes_on(self.exclude, day)) if self.exclude else named

    def _count_today(self, wall: datetime) -> int:
        """Count the matches of this wall time's day that are not later than it."""
        now = 60 * wall.hour + wall.minute
        return sum(1 for minute in self._minutes(_midnight(wall)) if minute <= now)


@lru_cache(maxsize=256)
def _less(named: Minutes, taken: Minutes) -> Minutes:
    return named - taken


@lru_cache(maxsize=256)
def _sorted(minutes: Minutes) -> tuple[int, ...]:
    return tuple(sorted(minutes))


def _midnight(wall: datetime) -> datetime:
    return datetime.combine(wall.date(), time.min)
