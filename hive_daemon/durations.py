"""Durations as people write them: `90s`, `5m`, `1h30m`.

Guarantees: reading is exact to the millisecond, and whatever `format_duration` writes, `parse_duration` reads
back as the same number of seconds.
"""

from __future__ import annotations

import re
from decimal import Decimal

from hive_daemon.errors import InvalidInput

_UNITS = {
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
"""Milliseconds in each unit, the largest first."""

_DURATION = re.compile(
    r"\s*".join(rf"(?:(?P<{unit}>\d{{1,12}}(?:\.\d{{1,6}})?)\s*{unit})?" for unit in _UNITS),
    re.ASCII,
)


def parse_duration(text: str) -> float:
    """Read a duration such as `90s`, `1h30m`, `1.5h` or `250ms` as seconds.

    Units are w, d, h, m, s and ms, each at most once, the largest first. A bare number is refused, since
    nobody can tell whether `90` means seconds or minutes. Raises InvalidInput.

    >>> parse_duration("1h30m")
    5400.0
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match.lastgroup is None:
        raise InvalidInput(
            f'"{text}" is not a duration, write a number and a unit, largest first: 90s, 5m, 1h30m'
        )
    parts = match.groupdict()
    milliseconds = sum(
        (Decimal(number) * _UNITS[unit] for unit, number in parts.items() if number), Decimal(0)
    )
    if milliseconds != int(milliseconds):
        raise InvalidInput(f'"{text}" is finer than a millisecond, the shortest step is 1ms')
    return float(milliseconds / 1000)


def format_duration(seconds: float) -> str:
    """Write seconds (>= 0) as people do, rounded to the millisecond.

    >>> format_duration(5400)
    '1h30m'
    """
    rest = round(seconds * 1000)
    parts = []
    for unit, size in _UNITS.items():
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
