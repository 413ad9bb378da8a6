"""How durations, moments and lists of cron expressions are written in a `trigger_config`.

Each is read from what a person, a YAML file or JSON gives, and written out so that it is read back as the same value.
A mistake raises InvalidInput with a remedy, which names the member of a list that is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, PlainSerializer

from hive_daemon.durations import format_duration, parse_duration
from hive_daemon.errors import InvalidInput
from hive_daemon.runtime.triggers.cron import parse_cron

_SAMPLE = "write for example 2026-12-01T09:00 or 2026-12-01T09:00+01:00"
_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?\s?(Z|[+-]\d{2}:?\d{2})?", re.I
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOST_LISTED = 1000

_T = TypeVar("_T")


def read_duration(value: object) -> float:
    """Return the seconds of a duration with units. Raises InvalidInput."""
    if not isinstance(value, str):
        raise InvalidInput(f"{value!r} has no unit, write for example 90s, 5m or 1h30m")
    return parse_duration(value)


def read_moment(value: object) -> datetime:
    """Return a moment, with the offset that was written or none. Raises InvalidInput.

    YAML reads a bare timestamp as a datetime and a bare day as a date; a day alone is refused, since nobody can tell
    which of its hours is meant.
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, date) or (isinstance(value, str) and _is_day(value)):
        raise InvalidInput(f'"{value}" has no time of day, {_SAMPLE}')
    if not isinstance(value, str) or not _MOMENT.fullmatch(value.strip()):
        raise InvalidInput(f"{value!r} is not a moment, {_SAMPLE}")
    try:
        return datetime.fromisoformat(value.strip().upper().replace(" ", "T", 1).replace(" ", ""))
    except ValueError as error:
        raise InvalidInput(f"{value!r} is not a moment: {error}") from None


def read_moments(value: object) -> tuple[datetime, ...]:
    """Return one moment, or a list of them, in the order written. Raises InvalidInput."""
    return tuple(_members(value, read_moment))


def read_crons(value: object) -> tuple[str, ...]:
    """Return one cron expression, or a list of them, as written; each can be read. Raises InvalidInput."""
    return tuple(_members(value, _read_cron))


def _read_cron(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{value!r} is not a cron expression, put it into quotes")
    parse_cron(value)
    return value


def _members(value: object, read: Callable[[object], _T]) -> Iterator[_T]:
    """Read a value that stands alone, or each member of a list, telling which one a mistake is in."""
    if not isinstance(value, list | tuple):
        yield read(value)
        return
    if len(value) > _MOST_LISTED:
        raise InvalidInput(f"lists {len(value)}, the most is {_MOST_LISTED}")
    for n, member in enumerate(value):
        try:
            yield read(member)
        except InvalidInput as error:
            raise InvalidInput(f"[{n}]: {error}") from None


def _is_day(text: str) -> bool:
    return _DAY.fullmatch(text.strip()) is not None


def _write_moment(moment: datetime) -> str:
    return moment.isoformat()


def _write_moments(moments: tuple[datetime, ...]) -> list[str]:
    return [moment.isoformat() for moment in moments]


Duration = Annotated[float, BeforeValidator(read_duration), PlainSerializer(format_duration)]
"""Written as text with units, held as seconds."""

Moment = Annotated[datetime, BeforeValidator(read_moment), PlainSerializer(_write_moment)]
"""Written in ISO 8601; held with its offset, or without one where a wall time is meant."""

Moments = Annotated[
    tuple[datetime, ...], BeforeValidator(read_moments), PlainSerializer(_write_moments)
]
"""One moment or a list of them."""

Crons = Annotated[tuple[str, ...], BeforeValidator(read_crons)]
"""One cron expression or a list of them."""
