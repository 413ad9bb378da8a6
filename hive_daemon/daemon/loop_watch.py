"""The watch over the event loop: how late it is, and the end of a process whose loop is blocked for good.

The loop gives a sign of life every second; a thread of its own looks for it. A loop that gives none for the limit is
blocked: all stacks go to stderr, what was at work is noted for those who look later, and the process ends with 70, for
the service manager to start it anew. What was accepted is durable, so nothing is lost. A process that was stopped as a
whole (SIGSTOP, a suspended machine) is not blocked: the thread slept too, and gives the loop its full time again.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from hive_daemon.clock import SYSTEM_CLOCK, Clock

EXIT_BLOCKED = 70
"""Source: sysexits(3), EX_SOFTWARE; decisions: restart after a blocked loop."""

BEAT_SECONDS = 1.0
REMEMBERED_BEATS = 60
LOOKS_PER_LIMIT = 4
OVERSLEPT = 2.0
"""A thread that slept this many times as long as it meant to was stopped together with the loop."""


class Words(Protocol):
    """What is left behind before the process ends."""

    def leave(self, seconds: float, code: int) -> None:
        """Note that the loop has been blocked for so long, and that the process ends with this code."""


def leave(seconds: float, words: Words | None = None) -> None:
    """Write every stack to stderr, leave the last words, and end the process."""
    sys.stderr.write(f"hived: the event loop was blocked for {seconds:.0f} s, the stacks follow\n")
    sys.stderr.flush()
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    sys.stderr.flush()
    try:
        if words is not None:
            words.leave(seconds, EXIT_BLOCKED)
    finally:
        os._exit(EXIT_BLOCKED)


class LoopWatch:
    """Watches the event loop that `beat` runs on. `limit` is in seconds; with 0 a blocked loop ends nothing."""

    def __init__(
        self,
        limit: float,
        clock: Clock = SYSTEM_CLOCK,
        on_blocked: Callable[[float], None] = leave,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._on_blocked = on_blocked
        self._seen_at = clock.monotonic()
        self._late: deque[float] = deque(maxlen=REMEMBERED_BEATS)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def lag(self) -> float:
        """The longest that the loop was late in the last minute, or is late now, in seconds."""
        overdue = self._clock.monotonic() - self._seen_at - BEAT_SECONDS
        return max(0.0, overdue, *self._late)

    async def beat(self) -> None:
        """Give signs of life until cancelled."""
        while True:
            self._seen_at = due = self._clock.monotonic()
            await self._clock.sleep(BEAT_SECONDS)
            self._late.append(max(0.0, self._clock.monotonic() - due - BEAT_SECONDS))

    def start(self) -> None:
        """Begin to look for signs of life."""
        if self._limit <= 0:
            return
        self._seen_at = self._clock.monotonic()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        nap = self._limit / LOOKS_PER_LIMIT
        spared_until = 0.0
        looked_at = self._clock.monotonic()
        while not self._ending.wait(nap):
            now = self._clock.monotonic()
            if now - looked_at > OVERSLEPT * nap:
                spared_until = now + self._limit
            looked_at = now
            silent = now - self._seen_at - BEAT_SECONDS
            if silent > self._limit and now >= spared_until:
                self._on_blocked(silent)
                return
