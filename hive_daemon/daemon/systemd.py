"""Talking to the service manager: READY, STATUS, WATCHDOG, STOPPING.

Protocol: sd_notify(3). Without NOTIFY_SOCKET every call does nothing. The watchdog is fed from the event loop: a loop
that is blocked misses it, and the service manager restarts the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import sdnotify

from hive_daemon.clock import Clock

FEED_SHARE = 0.4
"""Share of the watchdog's period after which it is fed again."""

_MICROSECONDS = 1_000_000


class Notifier:
    """Says to the service manager how the daemon is."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._socket = sdnotify.SystemdNotifier() if environ.get("NOTIFY_SOCKET") else None
        self._period = _watchdog_seconds(environ, pid)
        self._status = ""

    @property
    def watchdog_seconds(self) -> float | None:
        """The period within which the service manager wants a sign of life; None when it wants none."""
        return self._period if self._socket is not None else None

    def ready(self) -> None:
        """Say that everything listens."""
        self._send(f"READY=1\nMAINPID={os.getpid()}")

    def status(self, text: str) -> None:
        """Say in one line what the daemon does; the same line is not sent twice."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def stopping(self) -> None:
        """Say that the daemon is on its way to stop."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for that much more time to start or to stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}")

    def _send(self, message: str) -> None:
        if self._socket is not None:
            self._socket.notify(message)

    async def feed(self, clock: Clock, status: Callable[[], str]) -> None:
        """Give signs of life, and the status of the moment, until cancelled."""
        period = self.watchdog_seconds
        pause = period * FEED_SHARE if period is not None else 10.0
        while True:
            if period is not None:
                self._send("WATCHDOG=1")
            self.status(status())
            await clock.sleep(pause)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None and self._socket.socket is not None:
            self._socket.socket.close()


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Read WATCHDOG_USEC, which counts only for the process that WATCHDOG_PID names."""
    wanted = environ.get("WATCHDOG_PID")
    if wanted and wanted != str(pid):
        return None
    try:
        period = int(environ.get("WATCHDOG_USEC", "")) / _MICROSECONDS
    except ValueError:
        return None
    return period if period > 0 else None
