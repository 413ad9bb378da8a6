"""How the daemon ends: the doors are closed, what runs gets its time, the rest is put away.

A second signal skips the waiting. When work does not return even then, the process ends by itself after the last
commit: what it held is interrupted, and goes on at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from hive_daemon.daemon.systemd import Notifier
from hive_daemon.tasks import Scope

if TYPE_CHECKING:
    from hive_daemon.daemon.app import Daemon

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""Beyond `drain_seconds`, for putting away what did not end."""


async def drain(daemon: Daemon, notifier: Notifier) -> None:
    """Drain every agent, within `shutdown.drain_seconds`; a second signal ends the waiting."""
    seconds = daemon.loaded.config.shutdown.drain_seconds
    notifier.extend(seconds + GRACE_SECONDS)
    notifier.status(daemon.status_line)
    scope = Scope("shutdown")
    work = scope.spawn("drain", daemon.agents.drain(seconds))
    hurry = scope.spawn("hurry", daemon.stop.now.wait())
    await asyncio.wait([work, hurry], return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        for stream in daemon.streams:
            stream.hurry()
        await work
    hurry.cancel()
    logger.info("drained", extra={"interrupted": daemon.running})
