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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from hive_daemon.durations import format_duration
from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.triggers.cron import CronExpression, parse_cron
from hive_daemon.runtime.triggers.wall_times import WallTimes, wall_times
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
    """The instants at which a timer is due, in increasing order.

    They are nominal: the ledger's keys, and what the execution is told as `scheduled_for`. An occurrence begins
    `delay` seconds after its own.
    """

    @property
    def zone(self) -> tzinfo:
        """The time zone in which people think of this schedule."""

    @property
    def delay(self) -> float:
        """How many seconds after its instant every occurrence begins: the timer's share of its jitter, mostly 0."""

    @property
    def is_steady(self) -> bool:
        """Whether it counts from the timer's first start, and so keeps time by a clock that never steps."""

    def anchored_at(self, anchor: float) -> Schedule:
        """Return it counted from this instant, its occurrence 0; itself if its instants are laid down otherwise."""

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
    is_pinned: bool = False
    """Its owner has said where it is anchored: it follows the wall clock, and nobody may anchor it anew."""

    def __post_init__(self) -> None:
        if not SHORTEST_PERIOD_SECONDS <= self.period_seconds <= LONGEST_PERIOD_SECONDS:
            raise InvalidInput(
                f"an interval of {self.period_seconds:g} seconds is not possible, "
                "it must be between 1 ms and 100 years"
            )

    @property
    def delay(self) -> float:
        """None: it begins at its instants."""
        return 0.0

    @property
    def is_steady(self) -> bool:
        """Whether it counts from the timer's first start."""
        return not self.is_pinned

    def anchored_at(self, anchor: float) -> IntervalSchedule:
        """Return it counted from this instant; itself if it is pinned."""
        return self if self.is_pinned else replace(self, anchor=anchor)

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
    """Cron expressions in a time zone, any of which is enough; the module says what happens when the clock is changed.

    `exclude` takes away the wall times that its expressions name, and whatever a gap would move into such a minute.
    Raises InvalidInput for an expression that cannot be read or never fires, and if nothing is left.
    """

    expression: str
    zone: tzinfo = UTC
    also: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    calendar: WallTimes = field(init=False, repr=False, compare=False)
    """All wall times that are meant."""
    _fixed: WallTimes | None = field(init=False, repr=False, compare=False)
    _loose: WallTimes | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        crons = tuple(parse_cron(text) for text in (self.expression, *self.also))
        without = tuple(parse_cron(text) for text in self.exclude)
        whole = wall_times(crons, without)
        if not whole.is_possible:
            raise InvalidInput(f"exclude leaves nothing of {self.written}: let it name fewer times")
        fixed = tuple(cron for cron in crons if cron.is_fixed_time)
        loose = tuple(cron for cron in crons if not cron.is_fixed_time)
        object.__setattr__(self, "calendar", whole)
        object.__setattr__(self, "_fixed", _if_possible(fixed, without))
        object.__setattr__(self, "_loose", _if_possible(loose, without))

    @property
    def delay(self) -> float:
        """None: it begins at its instants."""
        return 0.0

    @property
    def is_steady(self) -> bool:
        """Never: it follows the wall clock."""
        return False

    def anchored_at(self, anchor: float) -> CronSchedule:
        """Return it as it is: the wall says when it is due."""
        return self

    def next_after(self, instant: float) -> float | None:
        """Return the first occurrence strictly later than `instant`; None past the year 9900."""
        if instant >= _LAST_INSTANT:
            return None
        here = self._wall(instant)
        found = []
        if self._fixed is not None:
            found.append(self._next_fixed(self._fixed, here, instant))
        if self._loose is not None:
            found.append(self._next_in_pass(self._loose, here, 0, instant))
            if (shift := doubled_by(here, self.zone)) > _NO_SHIFT:
                found.append(self._next_in_pass(self._loose, here - shift, 1, instant))
        return min((due for due in found if due is not None), default=None)

    def newest(self, after: float, until: float, limit: int) -> tuple[float, ...]:
        """Return the last `limit` occurrences in (after, until], in increasing order."""
        return last_ones(self, after, until, limit)

    def count(self, after: float, until: float) -> int:
        """Count the occurrences in (after, until]. Costs microseconds per day between them, more at first."""
        total = 0
        while after < until:
            stop = self._calm_until(after, until)
            if stop > after:
                total += self.calendar.count_matches(self._wall(after), self._wall(stop))
            else:
                stop = min(after + 3 * _HOUR_SECONDS, until)
                total += sum(1 for _ in walk(self, after, stop))
            after = stop
        return total

    @property
    def written(self) -> str:
        """The expressions alone, as their owner wrote them."""
        return " or ".join((self.expression, *self.also))

    def __str__(self) -> str:
        """Say what this schedule is, as its owner wrote it."""
        return self.written + "".join(f", but not {text}" for text in self.exclude)

    def _wall(self, instant: float) -> datetime:
        return wall_at(instant, self.zone)

    def _next_fixed(self, times: WallTimes, here: datetime, instant: float) -> float | None:
        for wall in times.matches_after(here):
            due = first_instant_of(wall, self.zone)
            if due > instant and not (self.exclude and times.excludes(self._wall(due))):
                return due
        return None

    def _next_in_pass(
        self, times: WallTimes, start: datetime, fold: int, instant: float
    ) -> float | None:
        """Return the first match after `start` that is really shown, seen in this pass, and yet to come."""
        for wall in times.matches_after(start):
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


def _if_possible(
    crons: tuple[CronExpression, ...], exclude: tuple[CronExpression, ...]
) -> WallTimes | None:
    """Return what these name, None if nothing is left of it: nobody would ever find the next one."""
    times = wall_times(crons, exclude) if crons else None
    return times if times is not None and times.is_possible else None


def occurrences(
    schedule: Schedule, after: float, until: float = math.inf, limit: int = 1000
) -> tuple[float, ...]:
    """Return the first `limit` occurrences in (after, until], in increasing order."""
    found: list[float] = []
    for due in walk(schedule, after, until):
        if len(found) == limit:
            break
        found.append(due)
    return tuple(found)


def last_ones(schedule: Schedule, after: float, until: float, limit: int) -> tuple[float, ...]:
    """Return the last `limit` occurrences in (after, until] of a schedule that can count and step forward."""
    start, reach = after, 60.0 * limit
    if schedule.count(after, until) > limit:
        start = max(after, until - reach)
        while start > after and schedule.count(start, until) < limit:
            reach *= 2
            start = max(after, until - reach)
    return tuple(deque(walk(schedule, start, until), maxlen=limit))


def explain(schedule: Schedule, next: float | None) -> str:  # noqa: A002
    """Write one line for people: the schedule, its next time on the wall with the UTC offset, the zone.

    >>> explain(CronSchedule("0 9 * * 1-5"), 1774861200.0)
    '0 9 * * 1-5: next Mon 2026-03-30 09:00:00+00:00 UTC'
    """
    if next is None:
        return f"{schedule}: never again"
    local = datetime.fromtimestamp(math.floor(next), schedule.zone)
    return f"{schedule}: next {_WEEKDAYS[local.weekday()]} {local.isoformat(' ')} {schedule.zone}"


def walk(schedule: Schedule, after: float, until: float = math.inf) -> Iterator[float]:
    """Yield the occurrences in (after, until] one by one, in increasing order."""
    due = schedule.next_after(after)
    while due is not None and due <= until:
        yield due
        due = schedule.next_after(due)
