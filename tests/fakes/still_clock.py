"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio


class StillClock:
    """Wall and monotonic time move together, by hand."""

    def __init__(self, now: float = 1_772_442_000.0) -> None:
        self.now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for due, sleeper in self._sleepers:
            if due <= self.now and not sleeper.done():
                sleeper.set_result(None)
        self._sleepers = [item for item in self._sleepers if not item[1].done()]

    async def sleep(self, seconds: float) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, sleeper))
        self.advance(0)
        await sleeper
