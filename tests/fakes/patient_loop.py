"""The event loop of the tests: time in which the machine gave it no turn does not count.

A deadline of 0.2 s, in a process that was not run for a second, has passed before anybody could have met it. Here time
goes on as it does, but between two looks at the clock, which are never far apart, by no more than `STRIDE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import selectors
import time

LOOK_SECONDS = 0.01
"""How long the loop waits at most before it looks at its clock again."""

STRIDE_SECONDS = 0.05
"""Less than the deadlines of tests that must not pass; more than a look is late on a machine that has work to do."""


class _PatientSelector(selectors.DefaultSelector):
    """Waits for short times, so that the loop looks at its clock often enough."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None else min(timeout, LOOK_SECONDS))


class PatientLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio, but for its clock."""

    def __init__(self) -> None:
        self._looked_at = self._now = time.monotonic()
        super().__init__(_PatientSelector())

    def time(self) -> float:
        """Return the seconds that count."""
        looked_at = time.monotonic()
        self._now += min(looked_at - self._looked_at, STRIDE_SECONDS)
        self._looked_at = looked_at
        return self._now
