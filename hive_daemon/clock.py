"""Time: the only module that reads a clock.

Everything else asks a `Clock`, so that tests can move time by hand. Wall time is always aware UTC.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

LOOK_AGAIN_SECONDS = 30.0
"""The longest sleep of `sleep_until`: the wall clock may jump (suspend, NTP), so it is read again."""


class Clock(Protocol):
    """Where the time comes from."""

    def time(self) -> float:
        """Return wall time in seconds since 1970, UTC."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never steps."""

    async def sleep(self, seconds: float) -> None:
        """Sleep that many monotonic seconds."""


class SystemClock:
    """The machine's clocks."""

    def time(self) -> float:
        """Return wall time in seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of a clock that never steps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep that many monotonic seconds."""
        # Here: the mirror's process tells the time and never sleeps, and starts in half the time without it.
        import asyncio

        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def utc_now(clock: Clock = SYSTEM_CLOCK) -> datetime:
    """Return the wall time as an aware UTC datetime."""
    return datetime.fromtimestamp(clock.time(), UTC)


def iso_z(seconds: float) -> str:
    """Write wall seconds as ISO 8601 with microseconds and a Z, as every record of Hive does.

    >>> iso_z(0.5)
    '1970-01-01T00:00:00.500000Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_iso(text: str) -> float:
    """Read an ISO 8601 time as wall seconds; a time without a zone is UTC.

    Raises ValueError.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def sleep_until(clock: Clock, due: float) -> None:
    """Sleep until the wall clock shows `due`, looking again at least every 30 seconds."""
    while (remaining := due - clock.time()) > 0:
        await clock.sleep(min(remaining, LOOK_AGAIN_SECONDS))
