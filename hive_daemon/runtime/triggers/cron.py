"""Cron expressions: which wall-clock minutes five fields name. The one door to croniter.

Nothing here knows of time zones: a wall time is a naive `datetime`, as a clock on the wall shows it. When such a
minute really happens (once, twice or never, on the days when the clock is changed) is `schedule`'s matter; croniter
is never given a zone, for with one it fires a doubled time twice.

croniter reads the fields and finds the days; both are kept, so ten thousand timers cost little more than their
distinct fields. Where it (7.0) takes an expression otherwise than cron does, it is handed another spelling:

* a range that does not go up is written out: hour `9-9` would be every hour, and `22-4/3` would lose 1 and 4;
* two restricted day fields are handed over one after the other, each with `*` beside it, for it finds no date at all
  for the 15th or FRI#2;
* `L` and `#` are handed over apart from the rest of their list: it refuses `MON,FRI#2`, and `1-15,17-31,L` would be
  every day.

What it reads but no two programs agree on is refused: H, R (a random time), W, a sixth field, a step past the field.

Guarantee: every `CronExpression` names at least one minute of the calendar, which ends with the year 9900.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cache, lru_cache
from itertools import takewhile
from types import ModuleType

from hive_daemon.errors import InvalidInput

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The names that stand for a whole expression."""

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_LAST_YEAR = 9900
_YEARS_AHEAD = 48
"""Longest gap between two matching days is 40 years: a 29 February on a given weekday, across 2100."""
_CALENDAR_START = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall time has no zone

_EVERY_DAY = "0 0 * * *"
"""The rule that every day matches."""

_RANGE = re.compile(
    r"(?:(?P<star>\*)|(?P<low>[0-9]{1,4}|[a-z]{3})(?:-(?P<high>[0-9]{1,4}|[a-z]{3}))?)"
    r"(?:/(?P<step>[0-9]{1,4}))?"
)
_WEEKDAY_OF_MONTH = re.compile(
    r"(?:(?P<day>[0-9]|[a-z]{3})#(?P<nth>[0-9])|l(?P<last>[0-9]|[a-z]{3}))"
)


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its place, its name, its values and the highest number that may be written."""

    place: int
    name: str
    low: int
    high: int
    highest: int

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def alone(self, text: str) -> str:
        """Return the expression in which only this field is restricted."""
        return " ".join(text if place == self.place else "*" for place in range(5))

    def refuse(self, part: str, why: str) -> InvalidInput:
        """Return the error for a part of this field that cannot be read."""
        return InvalidInput(f'{self.name} "{part}" {why}')


_MINUTES = _Field(0, "minute", 0, 59, 59)
_HOURS = _Field(1, "hour", 0, 23, 23)
_DAYS = _Field(2, "day of month", 1, 31, 31)
_MONTHS = _Field(3, "month", 1, 12, 12)
# Sunday is 0 and 7 alike, so that 5-7 reads as it is meant.
_WEEKDAYS = _Field(4, "day of week", 0, 6, 7)


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A cron expression that has been read; make one with `parse_cron`."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[str, ...]
    """Expressions for croniter; the days that are meant are those which match one of them."""
    is_fixed_time: bool
    """Neither the minute nor the hour field starts with `*`: the job belongs to times of the day."""

    def matches_after(self, wall: datetime) -> Iterator[datetime]:
        """Yield every matching wall time later than `wall`, in order, up to the calendar's end."""
        start = wall.replace(second=0, microsecond=0, fold=0) + _MINUTE
        for day in self.days_from(_midnight(start)):
            for hour, minute in self._times_from(max(start, day)):
                yield day.replace(hour=hour, minute=minute)

    def count_matches(self, after: datetime, until: datetime) -> int:
        """Count the matching wall times in (after, until], `after` not being the later. Steps by days."""
        days = takewhile(_midnight(until).__gt__, self.days_from(_midnight(after)))
        whole = sum(1 for _ in days) * len(self.hours) * len(self.minutes)
        return whole + self._count_today(until) - self._count_today(after)

    def names(self, wall: datetime) -> bool:
        """Say whether it names the minute of this wall time."""
        return wall.minute in self.minutes and wall.hour in self.hours and self.names_day(wall)

    def names_day(self, wall: datetime) -> bool:
        """Say whether it names the day of this wall time. The first question about a year costs a millisecond."""
        day = wall.toordinal()
        return any(day in _days_of_year(rule, wall.year) for rule in self.days)

    def days_of(self, year: int) -> frozenset[int]:
        """Return the days of a year that it names, as `date.toordinal` counts them."""
        return frozenset[int]().union(*(_days_of_year(rule, year) for rule in self.days))

    def days_from(self, midnight: datetime) -> Iterator[datetime]:
        """Yield the matching days, as their midnights, from this one on."""
        while found := [day for rule in self.days if (day := _first_day(rule, midnight))]:
            yield min(found)
            midnight = min(found) + _DAY

    def _times_from(self, first: datetime) -> Iterator[tuple[int, int]]:
        """Yield each (hour, minute) of a day from this one on."""
        for hour in self.hours[bisect_left(self.hours, first.hour) :]:
            here = bisect_left(self.minutes, first.minute) if hour == first.hour else 0
            for minute in self.minutes[here:]:
                yield hour, minute

    def _count_today(self, wall: datetime) -> int:
        """Count the matches of this day up to and including this time."""
        midnight = _midnight(wall)
        if midnight not in (_first_day(rule, midnight) for rule in self.days):
            return 0
        whole_hours = bisect_left(self.hours, wall.hour) * len(self.minutes)
        if wall.hour not in self.hours:
            return whole_hours
        return whole_hours + bisect_right(self.minutes, wall.minute)


def parse_cron(text: str) -> CronExpression:
    """Read a cron expression: minute, hour, day of month, month, day of week.

    Understood: `*`, numbers, names (`MON`, `JAN`), ranges (`22-2` passes midnight), steps (`*/5`, `8-18/2`, `3/10`),
    lists, `?` for `*` in a day field, `L` (last day of the month), `L5` (last Friday), `FRI#2` (second Friday), 7 for
    Sunday, and the names of `ALIASES`. Raises InvalidInput, also for an expression that no day ever matches.

    Law (cron(8)): if both day fields are restricted, either one is enough; a field that starts with `*` is not.
    """
    fields = ALIASES.get(text.strip().lower(), text).lower().split()
    _check_shape(text, fields)
    minute, hour, day, month, weekday = fields
    try:
        expression = CronExpression(
            text=text.strip(),
            minutes=_values(minute, _MINUTES),
            hours=_values(hour, _HOURS),
            days=_day_rules(day, month, weekday),
            is_fixed_time=not (minute.startswith("*") or hour.startswith("*")),
        )
    except InvalidInput as error:
        raise InvalidInput(f'"{text}": {error}') from None
    if not expression.days:
        raise InvalidInput(f'"{text}" never fires, none of its months has such a day')
    return expression


def _check_shape(text: str, fields: list[str]) -> None:
    if fields and fields[0].startswith("@"):
        hints = {"@reboot": "use run_immediately: true", "@every": "use the key every"}
        hint = hints.get(fields[0], f"known are {', '.join(ALIASES)}")
        raise InvalidInput(f'"{text}" is not a known name, {hint}')
    if len(fields) != 5:
        seconds = ", for seconds use the key every" if len(fields) in (6, 7) else ""
        plural = "field" if len(fields) == 1 else "fields"
        raise InvalidInput(
            f'"{text}" has {len(fields)} {plural}, a cron expression needs 5{seconds}'
        )


# What croniter is asked --------------------------------------------------------------------------------------


@cache
def _croniter() -> ModuleType:
    # Loading it takes 46 ms, which a program without cron timers need not pay.
    import croniter

    library: ModuleType = croniter
    return library


@lru_cache(maxsize=4096)
def _values(text: str, field: _Field) -> tuple[int, ...]:
    """Return the sorted values of the minute or hour field, in lower case. Raises InvalidInput."""
    fields, _ = _croniter().croniter.expand(field.alone(_spell(text, field)))
    if "*" in fields[field.place]:
        return tuple(range(field.low, field.high + 1))
    return tuple(fields[field.place])


@lru_cache(maxsize=4096)
def _number(text: str, field: _Field) -> int:
    """Return the number that a number or a name stands for. Raises InvalidInput."""
    library = _croniter()
    try:
        fields, _ = library.croniter.expand(field.alone(text))
    except library.CroniterNotAlphaError:
        raise InvalidInput("is not understood") from None
    except library.CroniterBadCronError:
        why = f"is out of range, it goes from {field.low} to {field.highest}"
        raise InvalidInput(why) from None
    return int(text if text.isdigit() else fields[field.place][0])


@lru_cache(maxsize=8192)
def _first_day(rule: str, midnight: datetime) -> datetime | None:
    """Return the first day, as its midnight, that matches an expression for croniter and is not earlier."""
    if midnight.year > _LAST_YEAR:
        return None
    if rule == _EVERY_DAY:
        return midnight
    library = _croniter()
    stepper = library.croniter(
        rule, midnight - _MINUTE, day_or=False, max_years_between_matches=_YEARS_AHEAD
    )
    try:
        day: datetime = stepper.get_next(datetime)
    except library.CroniterBadDateError:
        return None
    return day


@lru_cache(maxsize=1024)
def _days_of_year(rule: str, year: int) -> frozenset[int]:
    """Return the days of a year, as ordinals, that match an expression for croniter."""
    new_year = datetime(year, 1, 1)  # noqa: DTZ001 - a wall time has no zone
    until = new_year.replace(year=year + 1)
    if "#" in rule or "l" in rule:
        stepper = _croniter().croniter(rule, new_year - _MINUTE, day_or=False)
        days = takewhile(until.__gt__, stepper.all_next(datetime))
        return frozenset(day.toordinal() for day in days)
    fields, _ = _croniter().croniter.expand(rule)
    dates, months, weekdays = (frozenset[int | str](values) for values in fields[2:5])
    every = (new_year + n * _DAY for n in range((until - new_year).days))
    return frozenset(
        day.toordinal()
        for day in every
        if ("*" in months or day.month in months)
        and ("*" in dates or day.day in dates)
        and ("*" in weekdays or day.isoweekday() % 7 in weekdays)
    )


# What croniter is told ---------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _day_rules(day: str, month: str, weekday: str) -> tuple[str, ...]:
    """Return the day fields, in lower case, as `CronExpression.days`; rules that never come are left out.

    Raises InvalidInput.
    """
    day = _spell("*" if day == "?" else day, _DAYS)
    month = _spell(month, _MONTHS)
    weekday = _spell("*" if weekday == "?" else weekday, _WEEKDAYS)
    days, weekdays = _groups(day), _groups(weekday)
    if day.startswith("*") or weekday.startswith("*"):
        rules = [f"0 0 {one} {month} {other}" for one in days for other in weekdays]
    else:
        rules = [f"0 0 {one} {month} *" for one in days]
        rules += [f"0 0 * {month} {one}" for one in weekdays]
    return tuple(rule for rule in rules if _first_day(rule, _CALENDAR_START) is not None)


def _groups(text: str) -> list[str]:
    """Return a day field in lists that croniter reads rightly: the plain parts, and those with `#` or `L`."""
    parts = text.split(",")
    special = [part for part in parts if "#" in part or "l" in part]
    plain = [part for part in parts if part not in special]
    return [",".join(group) for group in (plain, special) if group]


@lru_cache(maxsize=4096)
def _spell(text: str, field: _Field) -> str:
    """Return a field, in lower case, in the spelling that croniter takes as cron does. Raises InvalidInput."""
    return ",".join(_spell_part(part, field) for part in text.split(","))


def _spell_part(part: str, field: _Field) -> str:
    if field is _DAYS and part == "l":
        return part
    try:
        if field is _WEEKDAYS and (match := _WEEKDAY_OF_MONTH.fullmatch(part)):
            return _spell_weekday_of_month(match)
        if match := _RANGE.fullmatch(part):
            return _spell_range(match, field)
    except InvalidInput as error:
        raise field.refuse(part, str(error)) from None
    raise field.refuse(part, "is not understood")


def _spell_weekday_of_month(match: re.Match[str]) -> str:
    if match["last"]:
        return f"l{_number(match['last'], _WEEKDAYS)}"
    if not 1 <= int(match["nth"]) <= 5:
        raise InvalidInput("asks for a week that no month has, only #1 to #5 exist")
    return f"{_number(match['day'], _WEEKDAYS)}#{match['nth']}"


def _spell_range(match: re.Match[str], field: _Field) -> str:
    """Return `*`, a value or a range, with or without a step; a range that does not go up becomes a list."""
    step = _step(match["step"] or "1", field)
    if match["star"]:
        return f"*/{step}" if match["step"] else "*"
    low = _number(match["low"], field)
    high = field.high if match["step"] else low
    if match["high"]:
        high = _number(match["high"], field)
    if low < high:
        return f"{low}-{high}/{step}"
    if low > high:
        high += field.size
    values = range(low, high + 1, step)
    return ",".join(str(field.low + (value - field.low) % field.size) for value in values)


def _step(text: str, field: _Field) -> int:
    step = int(text)
    if step < 1:
        raise InvalidInput("has a step of 0, it must be at least 1")
    if step > field.size:
        raise InvalidInput(
            f"has a step longer than its {field.size} values, for an interval use the key every"
        )
    return step


def _midnight(wall: datetime) -> datetime:
    return datetime.combine(wall.date(), time.min)
