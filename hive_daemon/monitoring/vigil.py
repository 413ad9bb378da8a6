"""The vigil of a process: the watchman, the desk he reports to, and the alerts, running as long as the process does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from hive_daemon.monitoring.alerts import AlertRule, Alerts
from hive_daemon.monitoring.incident_desk import IncidentDesk
from hive_daemon.monitoring.watchman import Watchman
from hive_daemon.runtime.notices import Notices
from hive_daemon.runtime.services import Services
from hive_daemon.storage.incident_book import FAILURES_IN_A_ROW
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 1.0
"""How long the end of the process waits for reports, and then for alerts, that are on their way."""


@dataclass(frozen=True, slots=True)
class Vigil:
    """Who watches, who keeps the book, who tells people."""

    watchman: Watchman
    desk: IncidentDesk
    alerts: Alerts


@asynccontextmanager
async def keep_vigil(
    services: Services, rules: Iterable[AlertRule], failures: int = FAILURES_IN_A_ROW
) -> AsyncIterator[Vigil]:
    """Watch over everything that runs on these services. `failures` in a row are an incident; 0: never."""
    book, clock = services.store.incidents, services.clock
    alerts = Alerts(rules, book, clock)
    notices = Notices(services.store.notices, services.hub.show)
    desk = IncidentDesk(book, services.store.executions, alerts, notices.tell, clock, failures)
    await desk.load()
    limits = replace(services.settings.health, stall_seconds=services.settings.stall_seconds)
    watchman = Watchman(desk, limits)
    scope = Scope("vigil")
    alerts.start(scope)
    scope.spawn("incidents", desk.run())
    token = services.hub.listen(watchman.tell)
    try:
        yield Vigil(watchman, desk, alerts)
        await _settle(desk)
        await alerts.settle(LAST_WORDS_SECONDS)
    finally:
        services.hub.unlisten(token)
        await scope.close()


async def _settle(desk: IncidentDesk) -> None:
    try:
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await desk.settle()
    except TimeoutError:
        logger.warning("reports were not worked in before the end")
