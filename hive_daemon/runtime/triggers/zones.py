"""Time zones: finding one by name, and going between instants and what the clock on the wall shows.

A wall time is a naive `datetime`. On most days it happens once; when the clock is put back it happens twice, when
it is put forward some times never happen (PEP 495). Instants are wall seconds since 1970, UTC.
"""

from __future__ import annotations

import difflib
import math
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from hive_daemon.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall time has no zone
_SECOND = timedelta(seconds=1)
_NO_SHIFT = timedelta(0)
_DAY_SECONDS = 86_400
EARLIEST = -62_000_000_000.0
"""An instant of the year 5, the earliest that every zone can show."""


def read_zone(name: str) -> tzinfo:
    """Return the time zone of this IANA name. Raises InvalidInput, with the nearest name if there is one."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # OSError: the name of a folder of zones, such as "Europe".
        raise InvalidInput(_unknown_zone(name)) from None


def _unknown_zone(name: str) -> str:
    known = available_timezones()
    if not known:
        return f'time zone "{name}" cannot be read, this machine has no tzdata: install it'
    by_lower = {zone.lower(): zone for zone in sorted(known)}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    hint = f"did you mean {by_lower[near[0]]}?" if near else "write a name such as Europe/Berlin"
    return f'"{name}" is not a time zone, {hint}'


def wall_at(instant: float, zone: tzinfo) -> datetime:
    """Return what the clock on the wall shows, in whole seconds; `fold` is 1 in the second pass of a doubled time."""
    # Rounded down: fromtimestamp alone may round up, past an occurrence.
    whole = math.floor(max(instant, EARLIEST))
    return datetime.fromtimestamp(whole, zone).replace(tzinfo=None)


def doubled_by(wall: datetime, zone: tzinfo) -> timedelta:
    """Return by how much the clock is put back at this wall time: 0 mostly, negative if the time never comes."""
    return _offset(wall, zone, 0) - _offset(wall, zone, 1)


def _offset(wall: datetime, zone: tzinfo, fold: int) -> timedelta:
    # Asking the zone itself, and not a datetime that has it, spares most of the cost of a cron timer.
    return zone.utcoffset(wall if wall.fold == fold else wall.replace(fold=fold)) or _NO_SHIFT


def instant_of(wall: datetime, zone: tzinfo, fold: int) -> float:
    """Return when the wall shows this time in its first (0) or second (1) pass; the time must exist."""
    return (wall - _offset(wall, zone, fold) - _EPOCH) / _SECOND


def first_instant_of(wall: datetime, zone: tzinfo) -> float:
    """Return when the wall first shows this time or, if it never does, any later one."""
    before, after = _offset(wall, zone, 0), _offset(wall, zone, 1)
    first = instant_of(wall, zone, 0)
    return first if before >= after else _end_of_gap(first, zone, before, after)


def change_within(start: float, end: float, zone: tzinfo) -> float | None:
    """Return when the clock is changed within (start, end], a span of whole seconds and of no more than a day or two.

    It is the first instant, in whole seconds, at which the new offset from UTC holds. No zone changes its clock twice
    in so short a time, so the offsets at both ends tell.
    """
    old, new = math.floor(start), math.floor(end)
    after = _offset_at(new, zone)
    if _offset_at(old, zone) == after:
        return None
    while new - old > 1:
        middle = (old + new) // 2
        if _offset_at(middle, zone) == after:
            new = middle
        else:
            old = middle
    return float(new)


def clock_changes(start: float, end: float, zone: tzinfo) -> tuple[float, ...]:
    """Return every instant in (start, end] at which the clock of this zone is changed. Costs a microsecond a day."""
    days = range(math.floor(start), math.floor(end), _DAY_SECONDS)
    found = (change_within(day, min(day + _DAY_SECONDS, end), zone) for day in days)
    return tuple(change for change in found if change is not None)


def _offset_at(instant: float, zone: tzinfo) -> timedelta:
    return datetime.fromtimestamp(instant, zone).utcoffset() or _NO_SHIFT


def _end_of_gap(late: float, zone: tzinfo, before: timedelta, after: timedelta) -> float:
    """Return the instant of the change from offset `before` to `after`, at most their difference before `late`."""
    change = change_within(late - (after - before) / _SECOND, late, zone)
    return late if change is None else change
