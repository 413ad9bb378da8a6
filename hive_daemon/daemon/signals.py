"""Signals: the first SIGTERM or SIGINT asks to drain, the second to stop at once; SIGHUP reopens the logs."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

_STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Whether somebody asked the daemon to stop, and whether at once."""

    drain: asyncio.Event = field(default_factory=asyncio.Event)
    now: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, reason: str) -> None:
        """Ask to drain; asked again, to stop at once."""
        if self.drain.is_set():
            logger.warning("stopping at once", extra={"reason": reason})
            self.now.set()
        else:
            logger.info("draining", extra={"reason": reason})
            self.drain.set()


@contextmanager
def handled(request: StopRequest, reopen: Callable[[], None]) -> Iterator[None]:
    """Handle the signals of the process while the context lasts."""
    loop = asyncio.get_running_loop()
    for number in _STOPS:
        loop.add_signal_handler(number, request.ask, number.name)
    loop.add_signal_handler(signal.SIGHUP, reopen)
    try:
        yield
    finally:
        for number in (*_STOPS, signal.SIGHUP):
            loop.remove_signal_handler(number)
