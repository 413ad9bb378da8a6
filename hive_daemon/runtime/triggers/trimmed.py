"""Single instants, and schedules of which their owner has taken something away: a beginning, an end, excluded minutes.

Pure, as `schedule` is, and under its laws: instants increase strictly and never depend on when somebody asks.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from hive_daemon.durations import format_duration
from hive_daemon.runtime.triggers.exclusions import MOST_SECONDS, Exclusions
from hive_daemon.runtime.triggers.schedule import Schedule, last_ones
from hive_daemon.runtime.triggers.zones import EARLIEST, first_instant_of, instant_of, wall_at

_MOST_TRIES = 100_000
"""So many excluded stretches in a row, an occurrence in each: then there is no end to them."""
_SHARES = 2**64


def instant_meant(moment: datetime, zone: tzinfo) -> float:
    """Return the instant of a moment, to the millisecond; one without an offset is a wall time of this zone.

    A wall time that never comes means the first instant after the gap, one that comes twice its first pass.
    """
    if moment.tzinfo is not None:
        return round(instant_of(moment.astimezone(UTC).replace(tzinfo=None), UTC, 0), 3)
    return round(first_instant_of(moment, zone), 3)


def share_of(jitter_seconds: float, timer_id: str) -> float:
    """Return how far into its jitter this timer begins, in [0, jitter) and whole milliseconds; always the same.

    The share is drawn from the id by SHA-256, so that timers due together are spread evenly. Without an id it is 0.
    """
    if not timer_id:
        return 0.0
    drawn = int.from_bytes(hashlib.sha256(timer_id.encode()).digest()[:8])
    return math.floor(1000 * jitter_seconds * drawn / _SHARES) / 1000


@dataclass(frozen=True, slots=True)
class MomentSchedule:
    """Single instants, strictly increasing; none of them comes again."""

    instants: tuple[float, ...]
    zone: tzinfo = UTC
    """Only for people: the zone in which its times are shown."""

    @property
    def delay(self) -> float:
        """None: it begins at its instants."""
        return 0.0

    @property
    def is_steady(self) -> bool:
        """Never: it follows the wall clock."""
        return False

    def anchored_at(self, anchor: float) -> MomentSchedule:
        """Return it as it is."""
        return self

    def next_after(self, instant: float) -> float | None:
        """Return the first occurrence strictly later than `instant`; None after the last."""
        later = self.instants[bisect_right(self.instants, instant) :]
        return later[0] if later else None

    def newest(self, after: float, until: float, limit: int) -> tuple[float, ...]:
        """Return the last `limit` occurrences in (after, until], in increasing order."""
        end = bisect_right(self.instants, until)
        return self.instants[max(bisect_right(self.instants, after), end - limit) : end]

    def count(self, after: float, until: float) -> int:
        """Count the occurrences in (after, until]."""
        return max(0, bisect_right(self.instants, until) - bisect_right(self.instants, after))

    def __str__(self) -> str:
        """Say what this schedule is: its moments, as the wall shows them."""
        return "at " + ", ".join(_shown(instant, self.zone) for instant in self.instants)


@dataclass(frozen=True, slots=True)
class TrimmedSchedule:
    """The occurrences of `whole` in [start, end] that are not excluded, each begun `delay` seconds late."""

    whole: Schedule
    exclude: Exclusions
    start: float = -math.inf
    end: float = math.inf
    delay: float = 0.0

    @property
    def zone(self) -> tzinfo:
        """The time zone in which people think of this schedule."""
        return self.whole.zone

    @property
    def is_steady(self) -> bool:
        """Whether it counts from the timer's first start."""
        return self.whole.is_steady

    def anchored_at(self, anchor: float) -> TrimmedSchedule:
        """Return it counted from this instant, as far as the whole can be."""
        return replace(self, whole=self.whole.anchored_at(anchor))

    def next_after(self, instant: float) -> float | None:
        """Return the first occurrence strictly later than `instant`; None if there is none."""
        due = self.whole.next_after(max(instant, before(self.start)))
        if due is None or due > self.end:
            return None
        return self._free_after(due) if self.exclude.texts else due

    def _free_after(self, due: float) -> float | None:
        """Return this occurrence of the whole, or the first one after it that is not excluded."""
        latest = min(self.end, due + MOST_SECONDS)
        following: float | None = due
        for _ in range(_MOST_TRIES):
            if following is None or following > latest:
                return None
            free = self.exclude.free_from(following)
            if free is None or free == following:
                return free
            following = self.whole.next_after(before(free))
        return None

    def newest(self, after: float, until: float, limit: int) -> tuple[float, ...]:
        """Return the last `limit` occurrences in (after, until], in increasing order."""
        after, until = max(after, before(self.start)), min(until, self.end)
        if not self.exclude.texts:
            return self.whole.newest(after, until, limit)
        return last_ones(self, after, until, limit)

    def count(self, after: float, until: float) -> int:
        """Count the occurrences in (after, until]: at once, or from one excluded stretch to the next."""
        after, until = max(after, before(self.start)), min(until, self.end)
        if not self.exclude.texts:
            return self.whole.count(after, until) if after < until else 0
        total = 0
        due = self.next_after(after)
        while due is not None and due <= until:
            stop = self.exclude.covered_from(due, until)
            last = until if stop is None else min(until, before(stop))
            total += self.whole.count(before(due), last)
            due = self.next_after(last) if last < until else None
        return total

    def __str__(self) -> str:
        """Say what this schedule is, as its owner wrote it."""
        parts = [str(self.whole), *(f"but not {text}" for text in self.exclude.texts)]
        if self.start > -math.inf:
            parts.append(f"from {_shown(self.start, self.zone)}")
        if self.end < math.inf:
            parts.append(f"until {_shown(self.end, self.zone)}")
        if self.delay:
            parts.append(f"{format_duration(self.delay)} late")
        return ", ".join(parts)


def before(instant: float) -> float:
    """Return the latest number before an instant: strictly after it comes the instant itself, if it is due."""
    return math.nextafter(max(instant, EARLIEST), -math.inf)


def _shown(instant: float, zone: tzinfo) -> str:
    offset = datetime.fromtimestamp(math.floor(instant), zone).isoformat()[19:]
    return f"{wall_at(instant, zone).isoformat(' ')}{offset}"
