"""How the daemon ends: the doors are closed, what runs gets its time, the rest is put away.

A second signal skips the waiting. Law: within `drain_seconds` and the grace the process is gone. What does not return
by then is left behind after the last commit: it is interrupted, and goes on at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hive_daemon.daemon.systemd import Notifier
from hive_daemon.tasks import Scope

if TYPE_CHECKING:
    from hive_daemon.daemon.app import Daemon

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""Beyond `drain_seconds`, for putting away what did not end."""

_RESERVE_SECONDS = 0.8
"""Kept back of the grace: the end by force takes time too, on a busy machine."""

_EXIT_DONE = 0
_EXIT_UNDONE = 1


@dataclass(slots=True)
class Deadline:
    """Ends the process by force once its time is over, from a thread: the event loop may be what hangs.

    `is_drained`: the last commit is made, so nothing is lost by it. `crash` is what the daemon ends of, if it crashed.
    """

    is_drained: bool = False
    crash: BaseException | None = None
    _timer: threading.Timer | None = field(default=None, repr=False)

    def set(self, seconds: float) -> None:
        """End the process so many seconds from now, unless the deadline is set anew or cleared."""
        self.clear()
        self._timer = threading.Timer(seconds - _RESERVE_SECONDS, self._end)
        self._timer.daemon = True
        self._timer.start()

    def clear(self) -> None:
        """Let the process live."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        logger.error(
            "the daemon did not stop in time, it ends by force",
            extra={"threads": [thread.name for thread in threading.enumerate()]},
            exc_info=self.crash,
        )
        logging.shutdown()
        os._exit(_EXIT_DONE if self.is_drained else _EXIT_UNDONE)


async def drain(daemon: Daemon, notifier: Notifier, deadline: Deadline) -> None:
    """Drain every agent, within `shutdown.drain_seconds`; a second signal ends the waiting."""
    seconds = daemon.loaded.config.shutdown.drain_seconds
    deadline.set(seconds + GRACE_SECONDS)
    notifier.extend(seconds + GRACE_SECONDS)
    notifier.status(daemon.status_line)
    scope = Scope("shutdown")
    work = scope.spawn("drain", daemon.agents.drain(seconds))
    hurry = scope.spawn("hurry", daemon.stop.now.wait())
    await asyncio.wait([work, hurry], return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        deadline.set(GRACE_SECONDS)
        for stream in daemon.streams:
            stream.hurry()
    await work
    hurry.cancel()
    deadline.is_drained = True
    logger.info("drained")
