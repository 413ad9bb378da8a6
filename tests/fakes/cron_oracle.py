"""When cron jobs run, by somebody who steps minute by minute, as a daemon would; it shares no code with Hive.

The oracle knows nothing of folds and gaps (PEP 495). `Walls` looks at the wall of a zone at every real minute of a
span, once, and remembers the latest time that it has shown, as Debian's cron does; `CronOracle` reads the five fields
its own way and looks up what it names. So a table of expressions over two years costs seconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import product
from zoneinfo import ZoneInfo

DAY_MINUTES = 1440


# Walls -------------------------------------------------------------------------------------------------------


class Walls:
    """What the wall of a zone shows at every real minute of [start, end), in wall seconds.

    A wall minute is a number: that of its day (`date.toordinal`) times 1440, plus the minute of the day.
    """

    def __init__(self, zone: str, start: float, end: float) -> None:
        info = ZoneInfo(zone)
        self.first = minute_shown(int(start), info)
        self._reached = array("q")
        """For every wall minute from the first on, the real one at which the wall first shows it or a later one."""
        self._skipped: set[int] = set()
        self._again: dict[int, list[int]] = {}
        for instant in range(int(start), int(end), 60):
            self._see(minute_shown(instant, info), instant)

    def _see(self, wall: int, instant: int) -> None:
        if wall <= self.last:
            self._again.setdefault(wall, []).append(instant)
        while self.last < wall:
            self._reached.append(instant)
            if self.last < wall:
                self._skipped.add(self.last)

    @property
    def last(self) -> int:
        """The latest wall minute that has been shown so far."""
        return self.first + len(self._reached) - 1

    def days(self) -> range:
        """Return the days that the wall shows."""
        return range(self.first // DAY_MINUTES, self.last // DAY_MINUTES + 1)

    def shown(self, wall: int) -> list[int]:
        """Return every real minute at which the wall shows this one."""
        first = [] if wall in self._skipped else self.reached(wall)
        return first + self._again.get(wall, [])

    def reached(self, wall: int) -> list[int]:
        """Return the real minute at which the wall first shows this one or, if it never does, the next."""
        return [self._reached[wall - self.first]] if self.first <= wall <= self.last else []


def minute_shown(instant: int, zone: ZoneInfo) -> int:
    """Return the wall minute that is shown at an instant."""
    local = datetime.fromtimestamp(instant, zone)
    return local.toordinal() * DAY_MINUTES + local.hour * 60 + local.minute


@cache
def walls(zone: str, start: float, end: float) -> Walls:
    """Return the walls of a zone, looked at once."""
    return Walls(zone, start, end)


# Fields ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """One of the five fields: its values and their names."""

    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """Return the number that is written, as a number or a name."""
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.low
        return int(text)

    def says(self, atom: str, value: int) -> bool:
        """Say whether a part of a list names this value."""
        span, _, step = atom.partition("/")
        if span == "*":
            first, last = self.low, self.high
        elif "-" in span:
            first, last = (self.number(end) for end in span.split("-"))
        else:
            first = self.number(span)
            last = self.high if step else first
        if first > last:
            return value >= first or value <= last
        return first <= value <= last and (value - first) % int(step or 1) == 0


MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
WEEKDAY = Field(0, 6, DAY_NAMES)
ALIASES = {"@daily": "0 0 * * *", "@hourly": "0 * * * *", "@weekly": "0 0 * * 0"}


class CronOracle:
    """What one cron expression names."""

    def __init__(self, expression: str) -> None:
        minute, hour, self.day, month, self.weekday = ALIASES.get(expression, expression).split()
        self.is_fixed = minute[0] != "*" and hour[0] != "*"
        minutes, hours = self._set(minute, Field(0, 59)), self._set(hour, Field(0, 23))
        self.times = sorted(60 * h + m for h, m in product(hours, minutes))
        self.months = self._set(month, Field(1, 12, MONTH_NAMES))
        self.taken: Sequence[CronOracle] = ()
        """What is taken off what this one names."""
        self._times = frozenset(self.times)
        self._days: dict[int, bool] = {}

    @staticmethod
    def _set(text: str, field: Field) -> frozenset[int]:
        values = range(field.low, field.high + 1)
        return frozenset(v for v in values if any(field.says(a, v) for a in text.split(",")))

    def fires(self, seen: Walls) -> list[float]:
        """Return the instants at which the job runs, in order."""
        due = seen.reached if self.is_fixed else seen.shown
        return sorted({float(instant) for wall in self._named(seen) for instant in due(wall)})

    def names(self, wall: int) -> bool:
        """Say whether the job names this wall minute."""
        day, time = divmod(wall, DAY_MINUTES)
        if day not in self._days:
            self._days[day] = self.matches_day(date.fromordinal(day))
        return self._days[day] and time in self._times

    def _named(self, seen: Walls) -> Iterator[int]:
        for day in seen.days():
            if self.matches_day(date.fromordinal(day)):
                walls = (day * DAY_MINUTES + time for time in self.times)
                yield from (w for w in walls if not any(one.names(w) for one in self.taken))

    def matches_day(self, day: date) -> bool:
        """Say whether the three fields for days name this one."""
        return day.month in self.months and self._matches_both_fields(day)

    def _matches_both_fields(self, day: date) -> bool:
        by_date = any(self._says_date(atom, day) for atom in self.day.split(","))
        by_weekday = any(self._says_weekday(atom, day) for atom in self.weekday.split(","))
        if self.day[0] == "*" or self.weekday[0] == "*":
            return by_date and by_weekday
        return by_date or by_weekday

    def _says_date(self, atom: str, day: date) -> bool:
        if atom == "L":
            return (day + timedelta(days=1)).month != day.month
        return Field(1, 31).says(atom, day.day)

    def _says_weekday(self, atom: str, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if atom[0] == "L":
            is_last = (day + timedelta(days=7)).month != day.month
            return is_last and WEEKDAY.number(atom[1:]) % 7 == weekday
        if "#" in atom:
            name, _, nth = atom.partition("#")
            seen = sum(
                1
                for earlier in range(1, day.day + 1)
                if day.replace(day=earlier).isoweekday() % 7 == weekday
            )
            return WEEKDAY.number(name) % 7 == weekday and seen == int(nth)
        return any(WEEKDAY.says(atom, value) for value in {weekday, weekday or 7})


def fires_of(crons: Sequence[str], exclude: Sequence[str], zone: str, seen: Walls) -> list[float]:
    """Return when a timer with `crons` and `exclude` is due.

    What an exclusion names is taken off what is named, and nothing is due in a minute that shows it.
    """
    info, taken = ZoneInfo(zone), [CronOracle(text) for text in exclude]
    found: set[float] = set()
    for cron in (CronOracle(text) for text in crons):
        cron.taken = taken
        found.update(cron.fires(seen))
    shown = {due: minute_shown(int(due), info) for due in found}
    return sorted(due for due in found if not any(one.names(shown[due]) for one in taken))


# The table ---------------------------------------------------------------------------------------------------

ZONES = ("Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "UTC")
"""One with an hour in Europe, one in America, one whose midnight goes missing, one with half an hour, one without."""

YEAR_2026 = 1_767_225_600.0
YEAR_2028 = 1_830_297_600.0
"""The first instants of these years, UTC."""

TABLE = (
    "*/5 * * * *",
    "*/7 * * * *",
    "*/30 * * * *",
    "0 * * * *",
    "30 * * * *",
    "15,45 * * * *",
    "*/30 2 * * *",
    "*/20 1-3 * * *",
    "0 */2 * * *",
    "30 */6 * * *",
    "0 0 * * *",
    "15 0 * * *",
    "30 0 * * *",
    "59 23 * * *",
    "30 23 * * *",
    "0 1 * * *",
    "30 1 * * *",
    "45 1 * * *",
    "0 2 * * *",
    "15 2 * * *",
    "30 2 * * *",
    "0 3 * * *",
    "0,30 1-3 * * *",
    "10-50/20 0-4/2 * * *",
    "0-59 2 * * *",
    "0 9 * * 1-5",
    "30 2 * * SUN",
    "30 1 * * 7",
    "0 0 * * 6-7",
    "0 0 1 * *",
    "30 2 L 3,10 *",
    "30 2 * 3 L7",
    "30 1 * NOV SUN#1",
    "30 2 8-14 * SUN",
    "30 2 */2 * SUN",
    "0 22-3 * * *",
    "30 2 29 3 *",
    "0 0 6 9 *",
    "@daily",
    "@hourly",
    "@weekly",
)
"""Cron expressions that meet every change of the clock in `ZONES`, and some for every way to write a field."""
