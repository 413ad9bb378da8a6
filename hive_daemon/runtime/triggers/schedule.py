"""When a timer is due: cron and interval schedules as values, in wall seconds since 1970, UTC.

Pure: nothing here reads a clock, *now* is always an argument. (Reading a zone by name opens the machine's time zone
data once.) An occurrence *is* its instant, and the instants of a schedule never depend on when somebody asks. So
a store that keeps one row per timer and instant can neither fire one twice nor lose one.

The law on days when the clock is changed is that of Debian's cron(8):

* a fixed-time expression (neither its minute nor its hour field starts with `*`) fires once for every wall time it
  names: at the first pass if the time comes twice, at the first instant after the gap if it never comes;
* any other expression fires whenever the clock on the wall really shows a time that it names.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from hive_daemon.durations import format_duration
from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.triggers.cron import CronExpression, parse_cron
from hive_daemon.runtime.triggers.zones import doubled_by, first_instant_of, instant_of, wall_at

SHORTEST_PERIOD_SECONDS = 0.001
LONGEST_PERIOD_SECONDS = 100 * 365 * 86_400.0

_DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3_600.0
_NO_SHIFT = timedelta(0)
_LAST_INSTANT = 253_370_000_000.0
"""An instant of the year 9998, the latest that every zone can show."""

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Schedule(Protocol):
    """The instants at which a timer is due, in increasing order."""

    @property
    def zone(self) -> tzinfo:
        """The time zone in which people think of this schedule."""

    def next_after(self, instant: float) -> float | None:
        """Return the first occurrence strictly later than `instant`; None if there is none."""

    def newest(self, after: float, until: float, limit: int) -> tuple[float, ...]:
        """Return the last `limit` occurrences in (after, until], in increasing order."""

    def count(self, after: float, until: float) -> int:
        """Count the occurrences in (after, until], exactly and without visiting each."""

    def __str__(self) -> str:
        """Say what this schedule is, as its owner wrote it."""


@dataclass(frozen=True, slots=True)
class IntervalSchedule:
    """Every `period_seconds` from `anchor` on: occurrence n is anchor + n · period, n = 0, 1, 2, …

    The phase is fixed: how long a run takes, or when anybody looks, moves nothing. Raises InvalidInput for a
    period outside 1 ms … 100 years.
    """

    period_seconds: float
    anchor: float
    zone: tzinfo = UTC
    """Only for people: the zone in which its times are shown."""

    def __post_init__(self) -> None:
        if not SHORTEST_PERIOD_SECONDS <= self.period_seconds <= LONGEST_PERIOD_SECONDS:
            raise InvalidInput(
                f"an interval of {self.period_seconds:g} seconds is not possible, "
                "it must be between 1 ms and 100 years"
            )

    def next_after(self, instant: float) -> float | None:
        """Return the first occurrence strictly later than `instant`: the anchor itself, if that is to come."""
        return self._at(self._index(instant))

    def newest(self, after: float, until: float, limit: int) -> tuple[float, ...]:
        """Return the last `limit` occurrences in (after, until], in increasing order."""
        end = self._index(until)
        return tuple(self._at(n) for n in range(max(self._index(after), end - limit), end))

    def count(self, after: float, until: float) -> int:
        """Count the occurrences in (after, until]."""
        return max(0, self._index(until) - self._index(after))

    def __str__(self) -> str:
        """Say what this schedule is, as its owner wrote it."""
        return f"every {format_duration(self.period_seconds)}"

    def _at(self, n: int) -> float:
        return self.anchor + n * self.period_seconds

    def _index(self, instant: float) -> int:
        """Return how many occurrences are not later than `instant`."""
        if instant < self.anchor:
            return 0
        n = math.floor((instant - self.anchor) / self.period_seconds)
        # The division rounds, the law is about the instants themselves.
        while self._at(n) > instant:
            n -= 1
        while self._at(n + 1) <= instant:
            n += 1
        return n + 1


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """A cron expression in a time zone; the module says what happens when the clock is changed.

    Raises InvalidInput for an expression that cannot be read or never fires.
    """

    expression: str
    zone: tzinfo = UTC
    calendar: CronExpression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "calendar", parse_cron(self.expression))

    def next_after(self, instant: float) -> float | None:
        """Return the first occurrence strictly later than `instant`; None past the year 9900."""
        if instant >= _LAST_INSTANT:
            return None
        here = self._wall(instant)
        if self.calendar.is_fixed_time:
            return self._next_fixed(here, instant)
        passes = [self._next_in_pass(here, 0, instant)]
        if (shift := doubled_by(here, self.zone)) > _NO_SHIFT:
            passes.append(self._next_in_pass(here - shift, 1, instant))
        return min((due for due in passes if due is not None), default=None)

    def newest(self, after: float, until: float, limit: int) -> tuple[float, ...]:
        """Return the last `limit` occurrences in (after, until], in increasing order."""
        start, reach = after, 60.0 * limit
        if self.count(after, until) > limit:
            start = max(after, until - reach)
            while start > after and self.count(start, until) < limit:
                reach *= 2
                start = max(after, until - reach)
        return tuple(deque(_walk(self, start, until), maxlen=limit))

    def count(self, after: float, until: float) -> int:
        """Count the occurrences in (after, until]. Costs microseconds per day between them, more at first."""
        total = 0
        while after < until:
            stop = self._calm_until(after, until)
            if stop > after:
                total += self.calendar.count_matches(self._wall(after), self._wall(stop))
            else:
                stop = min(after + 3 * _HOUR_SECONDS, until)
                total += sum(1 for _ in _walk(self, after, stop))
            after = stop
        return total

    def __str__(self) -> str:
        """Say what this schedule is, as its owner wrote it."""
        return self.expression

    def _wall(self, instant: float) -> datetime:
        return wall_at(instant, self.zone)

    def _next_fixed(self, here: datetime, instant: float) -> float | None:
        for wall in self.calendar.matches_after(here):
            due = first_instant_of(wall, self.zone)
            if due > instant:
                return due
        return None

    def _next_in_pass(self, start: datetime, fold: int, instant: float) -> float | None:
        """Return the first match after `start` that is really shown, seen in this pass, and yet to come."""
        for wall in self.calendar.matches_after(start):
            if doubled_by(wall, self.zone) < _NO_SHIFT:
                continue
            due = instant_of(wall, self.zone, fold)
            if due > instant:
                return due
        return None

    def _calm_until(self, after: float, until: float) -> float:
        """Return an instant up to which the clock on the wall runs on evenly: `after` itself if it does not.

        Looks once a day, and more closely before a change: no zone changes its clock twice within 24 hours.
        """
        start, calm, step = self._wall(after), after, _DAY_SECONDS
        if start.fold:
            return after
        while calm < until and step > _HOUR_SECONDS:
            probe = min(calm + step, until)
            passed = timedelta(seconds=math.floor(probe) - math.floor(after))
            if self._wall(probe) - start == passed:
                calm = probe
            else:
                step /= 2
        return calm


def occurrences(
    schedule: Schedule, after: float, until: float = math.inf, limit: int = 1000
) -> tuple[float, ...]:
    """Return the first `limit` occurrences in (after, until], in increasing order."""
    found: list[float] = []
    for due in _walk(schedule, after, until):
        if len(found) == limit:
            break
        found.append(due)
    return tuple(found)


def explain(schedule: Schedule, next: float | None) -> str:  # noqa: A002
    """Write one line for people: the schedule, its next time on the wall with the UTC offset, the zone.

    >>> explain(CronSchedule("0 9 * * 1-5"), 1774861200.0)
    '0 9 * * 1-5: next Mon 2026-03-30 09:00:00+00:00 UTC'
    """
    if next is None:
        return f"{schedule}: never again"
    local = datetime.fromtimestamp(math.floor(next), schedule.zone)
    return f"{schedule}: next {_WEEKDAYS[local.weekday()]} {local.isoformat(' ')} {schedule.zone}"


def _walk(schedule: Schedule, after: float, until: float) -> Iterator[float]:
    due = schedule.next_after(after)
    while due is not None and due <= until:
        yield due
        due = schedule.next_after(due)
