"""The newest log lines in memory, for those who ask the daemon what it said: bounded, and shared by the process.

Lines are kept as they were written: redacted JSON, one record each. Each has a number that grows, also from one process
to the next (it begins with the time in microseconds), so that a reader can go on after a restart. Guarantees: `write`
may be called from any thread and never waits for a reader; at most `MOST_LINES` lines and `MOST_BYTES` bytes are kept.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any, NamedTuple

import orjson

from hive_daemon.clock import SYSTEM_CLOCK, Clock, parse_iso

MOST_LINES = 10_000
MOST_BYTES = 8 * 1024 * 1024

_MICROSECONDS = 1_000_000


class KeptLine(NamedTuple):
    """One log line and its number."""

    seq: int
    text: str


class LogRing:
    """The newest lines; a stream that `logging` writes to."""

    def __init__(
        self,
        *,
        most_lines: int = MOST_LINES,
        most_bytes: int = MOST_BYTES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._lines: deque[KeptLine] = deque()
        self._size = 0
        self._seq = int(clock.time() * _MICROSECONDS)
        self._listeners: dict[Callable[[], object], None] = {}

    def write(self, text: str) -> int:
        """Keep a line; the oldest give way."""
        line = text.rstrip("\n")
        with self._lock:
            self._seq += 1
            self._lines.append(KeptLine(self._seq, line))
            self._size += len(line)
            while len(self._lines) > self._most_lines or self._size > self._most_bytes:
                self._size -= len(self._lines.popleft().text)
            listeners = tuple(self._listeners)
        for tell in listeners:
            # A listener whose event loop is closed hears no more; logging goes on.
            with suppress(RuntimeError):
                tell()
        return len(text)

    def flush(self) -> None:
        """Do nothing: a line is kept once it was written."""

    def after(self, seq: int) -> list[KeptLine]:
        """Return the lines that came after the one with this number, oldest first."""
        with self._lock:
            return list(dropwhile(lambda line: line.seq <= seq, self._lines))

    def listen(self, tell: Callable[[], object]) -> None:
        """Call `tell` after each line, in the thread that wrote it; it must not wait or log."""
        with self._lock:
            self._listeners[tell] = None

    def unlisten(self, tell: Callable[[], object]) -> None:
        """Call it no more."""
        with self._lock:
            self._listeners.pop(tell, None)


@dataclass(frozen=True, slots=True)
class LogChoice:
    """Which lines to show: of one execution, from a level on, from a wall second on. What is not set means any."""

    execution_id: str = ""
    level: int = logging.NOTSET
    since: float | None = None

    def takes(self, text: str) -> bool:
        """Say whether a line is one of them."""
        if not self.execution_id and self.level == logging.NOTSET and self.since is None:
            return True
        # Most lines of a busy daemon belong to others, and need not be read.
        if self.execution_id not in text:
            return False
        return self._takes(orjson.loads(text))

    def _takes(self, record: Mapping[str, Any]) -> bool:
        name = str(record.get("level", "")).upper()
        level = logging.getLevelNamesMapping().get(name, logging.CRITICAL)
        return (
            level >= self.level
            and (not self.execution_id or record.get("execution_id") == self.execution_id)
            and (self.since is None or parse_iso(record["timestamp"]) >= self.since)
        )


_PROCESS = LogRing()


def log_ring() -> LogRing:
    """Return the lines of this process: empty unless `configure_logging` was given it as `recent`."""
    return _PROCESS
