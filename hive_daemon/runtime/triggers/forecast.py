"""What timers will do: their next occurrences, and every fire of some days ahead with the collisions to expect.

Pure, and bounded however many timers there are and however often they are due: what is left out is counted. It may
still take a second, so it does not belong on a loop that others wait for.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import islice

from hive_daemon.runtime.triggers.schedule import Schedule, walk
from hive_daemon.runtime.triggers.trimmed import before
from hive_daemon.runtime.triggers.zones import clock_changes, wall_at

MOST_FIRES = 10_000
"""The most fires that a forecast lists."""
MOST_COLLISIONS = 1_000
"""The most collisions that a forecast lists."""
MOST_NAMED = 20
"""The most timers that one collision names."""
MOST_LOOKS = 50_000
"""So many times a forecast looks when a timer is due, in search of collisions."""

_DAY_SECONDS = 86_400.0
_SECOND = timedelta(seconds=1)
_FINEST_SECONDS = 0.0005
"""Less than what lies between two occurrences."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A timer whose future is asked for. `remaining`: how many executions it may still start; None is no end."""

    timer_id: str
    schedule: Schedule
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class Fire:
    """One occurrence to come, in wall seconds; it begins when its timer's jitter says, at `scheduled_at` or later."""

    timer_id: str
    scheduled_at: float
    begins_at: float
    local: str
    """When it begins in the timer's zone, in ISO 8601 with the offset from UTC."""
    is_change_day: bool
    """Whether the clock of the zone is changed on that day."""


@dataclass(frozen=True, slots=True)
class Collision:
    """A minute of UTC, by its first second, in which several timers begin."""

    at: float
    timer_ids: tuple[str, ...]
    """The first `MOST_NAMED` of them, by id."""
    count: int
    """How many timers they are."""


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A change of the clock of one zone."""

    zone: str
    at: float
    day: date
    """The day on the wall that is longer or shorter by it."""
    local: str
    """What the wall shows from then on, in ISO 8601 with the offset from UTC."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What some timers do within a span of time."""

    fires: tuple[Fire, ...]
    """In the order in which they begin."""
    left_out: int
    """How many further fires there are."""
    collisions: tuple[Collision, ...]
    """In order of time."""
    collisions_left_out: int
    """How many further collisions were found."""
    looked_until: float
    """Collisions have been looked for up to here: the end, or earlier if there was too much to look at."""
    changes: tuple[ClockChange, ...]
    """The changes of the clock in the zones of the timers."""


def upcoming(planned: Planned, after: float, many: int) -> tuple[Fire, ...]:
    """Return the next `many` fires of a timer that begin later than `after`, fewer if it ends."""
    most = many if planned.remaining is None else min(many, planned.remaining)
    schedule = planned.schedule
    found = tuple(islice(walk(schedule, after - schedule.delay), max(0, most)))
    if not found:
        return ()
    days = _change_days([planned], found[0], found[-1] + schedule.delay)
    return tuple(days.fire(planned, instant) for instant in found)


def forecast(
    planned: Sequence[Planned], start: float, end: float, limit: int = MOST_FIRES
) -> Forecast:
    """Say what these timers do in (start, end].

    If there are more than `limit` fires, every timer lists an equal share from the beginning of the span, so that one
    which is due each second does not hide those which are due each day; the rest are counted.
    """
    spans = [_span(one, start, end) for one in planned]
    share = _fair_share([span.count for span in spans], limit)
    days = _change_days(planned, start, end)
    listed = heapq.merge(*(_begins(span, n, share) for n, span in enumerate(spans)))
    fires = tuple(days.fire(spans[n].planned, instant) for _, n, instant in listed)
    collisions, looked_until = _collisions(spans, start, end)
    return Forecast(
        fires=fires,
        left_out=sum(span.count for span in spans) - len(fires),
        collisions=tuple(collisions[:MOST_COLLISIONS]),
        collisions_left_out=max(0, len(collisions) - MOST_COLLISIONS),
        looked_until=looked_until,
        changes=tuple(change for change in days.changes if start < change.at <= end),
    )


# Spans -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """The occurrences of a timer in (after, until], by their nominal instants, and how many they are."""

    planned: Planned
    after: float
    until: float
    count: int


def _span(planned: Planned, start: float, end: float) -> _Span:
    schedule = planned.schedule
    after, until = start - schedule.delay, end - schedule.delay
    count = schedule.count(after, until)
    if planned.remaining is not None and planned.remaining < count:
        count = max(0, planned.remaining)
        until = _instant_of_last(schedule, after, until, count)
    return _Span(planned, after, until, count)


def _instant_of_last(schedule: Schedule, after: float, until: float, many: int) -> float:
    """Return an instant up to which there are `many` occurrences since `after`: between the last and the next one."""
    least = after
    while until - least > _FINEST_SECONDS:
        middle = (least + until) / 2
        if schedule.count(after, middle) >= many:
            until = middle
        else:
            least = middle
    return until


def _begins(span: _Span, n: int, share: int) -> Iterator[tuple[float, int, float]]:
    """Yield when each of the first `share` occurrences begins, with the number of its timer and its own instant."""
    schedule = span.planned.schedule
    for instant in islice(walk(schedule, span.after, span.until), min(share, span.count)):
        yield instant + schedule.delay, n, instant


def _fair_share(counts: Sequence[int], limit: int) -> int:
    """Return the greatest number such that all counts, each cut off at it, add up to `limit` at most."""
    left = limit
    for done, count in enumerate(sorted(counts)):
        share = left // (len(counts) - done)
        if count > share:
            return share
        left -= count
    return limit


# Collisions --------------------------------------------------------------------------------------------------


def _collisions(spans: Sequence[_Span], start: float, end: float) -> tuple[list[Collision], float]:
    """Return every minute in which several timers begin, and up to where somebody has looked."""
    if len(spans) < 2:
        return [], end
    found: list[Collision] = []
    heap: list[tuple[int, int]] = []
    for n, span in enumerate(spans):
        _look_on(heap, n, span, start)
    looks = 0
    while heap and looks < MOST_LOOKS:
        minute = heap[0][0]
        together = []
        while heap and heap[0][0] == minute:
            together.append(heapq.heappop(heap)[1])
        if len(together) > 1:
            names = sorted(spans[n].planned.timer_id for n in together)
            found.append(Collision(60.0 * minute, tuple(names[:MOST_NAMED]), len(names)))
        for n in together:
            _look_on(heap, n, spans[n], before(60.0 * (minute + 1)), minute + 1)
        looks += len(together)
    return found, min(end, 60.0 * heap[0][0]) if heap else end


def _look_on(
    heap: list[tuple[int, int]], n: int, span: _Span, after: float, least: int = 0
) -> None:
    """Put on the heap the next minute, not before `least`, in which a timer begins later than `after`."""
    schedule = span.planned.schedule
    due = schedule.next_after(max(span.after, after - schedule.delay))
    if span.count and due is not None and due <= span.until:
        heapq.heappush(heap, (max(least, math.floor((due + schedule.delay) / 60)), n))


# Clock changes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ChangeDays:
    """The changes of the clock in some zones and about some span."""

    changes: tuple[ClockChange, ...]
    days: Mapping[tzinfo, frozenset[date]]

    def fire(self, planned: Planned, instant: float) -> Fire:
        """Return the occurrence of a timer at this instant."""
        schedule = planned.schedule
        begins_at = instant + schedule.delay
        local = _local(begins_at, schedule.zone)
        is_change_day = local.date() in self.days[schedule.zone]
        return Fire(planned.timer_id, instant, begins_at, _written(local), is_change_day)


def _change_days(planned: Sequence[Planned], start: float, end: float) -> _ChangeDays:
    """Return the changes in the zones of these timers; a day to either side, for a change later on the last day."""
    zones = {one.schedule.zone for one in planned}
    by_zone = {
        zone: [
            _change(at, zone)
            for at in clock_changes(start - _DAY_SECONDS, end + _DAY_SECONDS, zone)
        ]
        for zone in zones
    }
    return _ChangeDays(
        changes=tuple(
            sorted(
                (change for changes in by_zone.values() for change in changes),
                key=lambda change: (change.at, change.zone),
            )
        ),
        days={zone: frozenset(one.day for one in changes) for zone, changes in by_zone.items()},
    )


def _change(at: float, zone: tzinfo) -> ClockChange:
    """Return a change; its day is that of the wall times which are left out or come twice."""
    shown = wall_at(at, zone)
    expected = wall_at(at - 1, zone) + _SECOND
    day = min(shown, expected).date()
    return ClockChange(str(zone), at, day, _written(_local(at, zone)))


def _local(instant: float, zone: tzinfo) -> datetime:
    milliseconds = round(1000 * instant)
    local = datetime.fromtimestamp(milliseconds // 1000, zone)
    return local.replace(microsecond=1000 * (milliseconds % 1000))


def _written(local: datetime) -> str:
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")
