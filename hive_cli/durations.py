"""Durations and moments as people write and read them.

What `parse_duration` takes here, `hive_daemon.durations` takes too, with the same meaning. This is the only module
of the command line that reads a clock.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from hive_cli.failures import Failure
from hive_daemon.control.wire import ErrorCode

_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_ONLY_DAYS_SECONDS = 10 * 86_400
_DURATION = r"\s*".join(rf"(?:(\d{{1,12}}(?:\.\d{{1,6}})?)\s*{unit})?" for unit in _UNITS)


def parse_duration(text: str) -> float:
    """Read `90s`, `5m`, `1h30m` as seconds; raises Failure for anything else, a bare number included.

    >>> parse_duration("1h30m")
    5400.0
    """
    match = re.fullmatch(_DURATION, text.strip().lower(), re.ASCII)
    if match is None or not any(match.groups()):
        raise Failure(
            ErrorCode.USAGE,
            f'"{text}" is not a duration',
            "write a number and a unit, largest first: 90s, 5m, 1h30m",
        )
    pairs = zip(match.groups("0"), _UNITS.values(), strict=True)
    return round(sum(float(number) * unit for number, unit in pairs), 3)


def brief(seconds: float) -> str:
    """Write seconds in the two largest units that matter.

    >>> brief(3723), brief(0.25), brief(7.31)
    ('1h2m', '250ms', '7.3s')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    rest = int(seconds)
    if rest >= _ONLY_DAYS_SECONDS:
        return f"{rest // 86_400}d"
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        amount, rest = divmod(rest, int(_UNITS[unit]))
        if amount or parts:
            parts.append(f"{amount}{unit}" if amount else "")
    return "".join(parts[:2])


def moment_of(text: str) -> str:
    """Return the time that `2h` ago was, or a time that is written out, as ISO 8601 in UTC; raises Failure."""
    if not text[:4].isdecimal() or text[4:5] != "-":
        return _iso(datetime.now(UTC) - timedelta(seconds=parse_duration(text)))
    try:
        return _iso(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError):
        raise Failure(
            ErrorCode.USAGE,
            f'"{text}" is not a time',
            "write a duration as 2h, or a time as 2026-03-02T09:00",
        ) from None


def _iso(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat()}Z"


def monotonic() -> float:
    """Return seconds of a clock that never steps."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Do nothing for that long."""
    time.sleep(seconds)


def relative(moment: object, now: float | None = None) -> str:
    """Say how far away an ISO time is: `3m ago`, `in 4m`; a dash for no time at all."""
    seconds = _seconds(moment)
    if seconds is None:
        return "-"
    distance = seconds - (time.time() if now is None else now)
    if abs(distance) < 1:
        return "now"
    return f"in {brief(distance)}" if distance > 0 else f"{brief(-distance)} ago"


def absolute(moment: object) -> str:
    """Write an ISO time as local date and time; a dash for no time at all."""
    seconds = _seconds(moment)
    return "-" if seconds is None else _local(seconds).strftime("%Y-%m-%d %H:%M:%S")


def time_of_day(moment: object) -> str:
    """Write an ISO time as local time of day."""
    seconds = _seconds(moment)
    return "--:--:--" if seconds is None else _local(seconds).strftime("%H:%M:%S")


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()


def _seconds(moment: object) -> float | None:
    if not isinstance(moment, str):
        return None
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return None
