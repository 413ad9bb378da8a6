"""A clock whose time is the test's own."""

import asyncio
import math
from heapq import heappop, heappush
from itertools import count

GRACE = 50
"""Turns of the event loop that everybody awake gets before time moves on."""


class FakeClock:
    """Time that passes only while somebody sleeps.

    When everybody is asleep, time jumps to the one who wakes first, so that sleeps take no real time and end in the
    order of their moments. Deterministic as long as nobody waits for the world outside (threads, sockets) between two
    sleeps. With `auto=False` time stands still until the test moves it with `advance`. `slept` are the sleeps asked
    for, in order.
    """

    def __init__(
        self, time: float = 1_772_442_000.0, monotonic: float = 1_000.0, *, auto: bool = True
    ) -> None:
        self.slept: list[float] = []
        self._time = time
        self._monotonic = monotonic
        self._auto = auto
        self._numbers = count()
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watch = 0

    def time(self) -> float:
        """Return wall time."""
        return self._time

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Sleep that many seconds of this clock."""
        self.slept.append(seconds)
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._asleep, (self._monotonic + max(0.0, seconds), next(self._numbers), alarm))
        if self._auto:
            self._wait_for_calm()
        await alarm

    def jump(self, seconds: float) -> None:
        """Step the wall clock, as NTP or a suspend does; nobody has slept longer for it."""
        self._time += seconds

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking sleepers in order and letting each do what it does."""
        end = self._monotonic + seconds
        await self._settle()
        while self._next_at() <= end:
            self._wake_next()
            await self._settle()
        self._move_to(end)
        await self._settle()

    @property
    def sleepers(self) -> int:
        """How many are asleep."""
        return sum(not alarm.done() for _, _, alarm in self._asleep)

    async def _settle(self) -> None:
        for _ in range(GRACE):
            await asyncio.sleep(0)

    def _wait_for_calm(self) -> None:
        self._watch += 1
        asyncio.get_running_loop().call_soon(self._look, self._watch, GRACE)

    def _look(self, watch: int, turns: int) -> None:
        if watch != self._watch:
            return
        if turns:
            asyncio.get_running_loop().call_soon(self._look, watch, turns - 1)
            return
        self._wake_next()
        if self._asleep:
            self._wait_for_calm()

    def _next_at(self) -> float:
        """Return when the next one wakes; who was cancelled in the sleep does not count."""
        while self._asleep and self._asleep[0][2].done():
            heappop(self._asleep)
        return self._asleep[0][0] if self._asleep else math.inf

    def _wake_next(self) -> None:
        while self._asleep:
            due, _, alarm = heappop(self._asleep)
            if not alarm.done():
                self._move_to(due)
                alarm.set_result(None)
                return

    def _move_to(self, moment: float) -> None:
        passed = max(0.0, moment - self._monotonic)
        self._monotonic += passed
        self._time += passed
