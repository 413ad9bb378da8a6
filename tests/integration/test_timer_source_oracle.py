"""A timer source at work through the days on which clocks are changed hands over exactly the oracle's instants.

Forty expressions at a time, once with the agent's start and once added while it runs, on a clock that leaps from one
wake-up to the next: no sleep is longer than 30 s, and nothing is handed over early, late or twice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import datetime

import pytest

from hive_daemon.clock import LOOK_AGAIN_SECONDS
from hive_daemon.runtime.triggers.timer import Timer
from hive_daemon.runtime.triggers.timer_config import TimerConfig
from hive_daemon.runtime.triggers.timer_source import TimerSource
from hive_daemon.runtime.triggers.zones import read_zone
from tests.benchmarks.bench_timers import Ledger
from tests.fakes.cron_oracle import TABLE, ZONES, CronOracle, walls

YEAR_2026, YEAR_2027 = 1_767_225_600, 1_798_761_600
HOUR = 3_600
SPAN = 30 * HOUR


class LeapingClock:
    """A clock for one sleeper: whoever sleeps wakes at once, that much later."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.longest = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)
        self.now += max(seconds, 0.001)
        await asyncio.sleep(0)


def changes(zone: str) -> list[int]:
    """Return the hours of 2026 in which a zone's clock is changed; some hour for one that never changes it."""
    info = read_zone(zone)
    shifts = [
        datetime.fromtimestamp(at, info).utcoffset() for at in range(YEAR_2026, YEAR_2027, HOUR)
    ]
    found = [n for n in range(1, len(shifts)) if shifts[n] != shifts[n - 1]]
    return [YEAR_2026 + n * HOUR for n in found] or [YEAR_2026 + 90 * 24 * HOUR]


CASES = [(zone, at) for zone in ZONES for at in changes(zone)]


@pytest.mark.parametrize(("zone", "change"), CASES)
async def test_what_is_handed_over_is_what_the_oracle_says(zone, change):
    start, end = change - 20 * HOUR, change - 20 * HOUR + SPAN
    clock, handed_over = LeapingClock(start + 0.25), defaultdict(list)

    async def fire(due):
        assert 0 <= due.late_by < 1.0
        handed_over[due.timer.timer_id].append(due.scheduled_at)

    def timers(prefix):
        return [
            Timer(f"{prefix}{n}", f"{prefix}{n}", config.rules, schedule, "signature")
            for n, expression in enumerate(TABLE)
            for config in [TimerConfig.read({"cron": expression, "timezone": zone})]
            for schedule in [config.schedule(read_zone("UTC"), clock.now)]
        ]

    source = TimerSource("a", clock, Ledger(lambda n: clock.now), fire)
    await source.start(timers("a/t"))
    await source.add(timers("a/more::t"))
    while clock.now < end + 1:
        await asyncio.sleep(0)
    await source.stop()
    assert clock.longest <= LOOK_AGAIN_SECONDS
    seen = walls(zone, start - 48 * HOUR, end + 48 * HOUR)
    for n, expression in enumerate(TABLE):
        wanted = [at for at in CronOracle(expression).fires(seen) if start < at <= end]
        for prefix in ("a/t", "a/more::t"):
            got = [at for at in handed_over[f"{prefix}{n}"] if at <= end]
            assert got == wanted, (expression, prefix)
