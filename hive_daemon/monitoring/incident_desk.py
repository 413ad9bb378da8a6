"""The incident desk: what is seen becomes an incident, and is told; what is well again is over, and that is told too.

Guarantees: who reports never waits; reports are worked in one after the other, in their order; each opening and each
end is a durable notice. A store that cannot be written loses a report, and the log says so: the trouble is seen again.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

from hive_daemon.clock import Clock
from hive_daemon.errors import HiveError
from hive_daemon.llm.failures import FailureKind
from hive_daemon.monitoring.agent_watch import REFUSALS
from hive_daemon.monitoring.alert_rules import Alert, AlertKind, incident_view
from hive_daemon.monitoring.alerts import Alerts
from hive_daemon.monitoring.signature import normalise
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.incident_book import (
    FAILURES_IN_A_ROW,
    UNRESOLVED,
    Incident,
    IncidentBook,
    IncidentFilter,
    Sighting,
)
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.values import MAX_PAGE, ExecutionFilter

logger = logging.getLogger(__name__)

MOST_WAITING = 5_000
"""Reports that wait; further ones are dropped, and the log says so."""

HIGH_FAILURES = 5

BY_SUCCESS = "a success"
"""Who resolved, where nobody did: an execution of the same entry point completed."""

FAILURES, AUTH, PAUSED, ESCALATION = "failures", "provider_auth", "timer_paused", "escalation"
"""Patterns beside those of `monitoring.health`: it fails again and again, the key is refused, its timer was paused for
that, somebody asks for help."""

LASTING = frozenset({AUTH, PAUSED})
"""Patterns that one success does not end."""

Place = tuple[str, str]
"""An agent and an entry point, empty for the whole agent."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An execution that failed, or that could not be begun (then it has no id)."""

    agent: str
    entry_point: str
    error: str
    code: str
    at: float
    graph_id: str = ""
    node_id: str = ""
    execution_id: str = ""

    @property
    def place(self) -> Place:
        """Where it failed."""
        return self.agent, self.entry_point


class IncidentDesk:
    """Keeps the book. `tell` is where notices go."""

    def __init__(
        self,
        book: IncidentBook,
        executions: ExecutionStore,
        alerts: Alerts,
        tell: Callable[[AgentEvent], None],
        clock: Clock,
        failures: int = FAILURES_IN_A_ROW,
    ) -> None:
        self._book = book
        self._executions = executions
        self._alerts = alerts
        self._tell = tell
        self._clock = clock
        self._failures = failures
        self._open: dict[Place, dict[str, str]] = {}
        self._streaks: dict[Place, int] = {}
        self._waiting: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(MOST_WAITING)

    async def run(self) -> None:
        """Work reports in, until cancelled."""
        while True:
            work = await self._waiting.get()
            try:
                await work()
            except HiveError as error:
                logger.warning("a report was lost", extra={"error": str(error)})
            finally:
                self._waiting.task_done()

    async def load(self) -> None:
        """Learn which incidents are open, before anything is reported."""
        for offset in range(0, 100 * MAX_PAGE, MAX_PAGE):
            wanted = IncidentFilter(statuses=UNRESOLVED, offset=offset, limit=MAX_PAGE)
            page = await self._book.listing(wanted)
            for incident in page:
                self._note(incident)
            if len(page) < MAX_PAGE:
                return

    async def settle(self) -> None:
        """Wait until everything reported so far is worked in."""
        await self._waiting.join()

    # --- reporting --------------------------------------------------------------------------

    def sight(self, sighting: Sighting) -> None:
        """Take note of a trouble."""
        self._add(partial(self._report, sighting))

    def failed(self, failure: Failure) -> None:
        """Take note of a failure; it is a trouble if it is not the first in a row."""
        self._add(partial(self._fail, failure))

    def succeeded(self, agent: str, entry_point: str) -> None:
        """Take note of a success: what was wrong there is over, but for what outlasts one."""
        place = agent, entry_point
        if self._open.get(place) or not self._waiting.empty():
            self._add(partial(self._succeed, place))
        else:
            self._streaks[place] = 0

    def over(self, agent: str, entry_point: str, pattern: str, by: str) -> None:
        """Take note that one kind of trouble is over at a place."""
        self._add(partial(self._end, (agent, entry_point), lambda each: each == pattern, by))

    def refused(self, agent: str, trouble: str) -> None:
        """Take note that the model service does not take the key of an agent."""
        self.sight(
            Sighting(
                agent=agent,
                entry_point="",
                pattern=AUTH,
                error="",
                severity=Severity.CRITICAL,
                cause=f"Its key is refused, and its timers are paused: {trouble}",
                action="Give it a valid key; its timers go on with the first answer of the model.",
                at=self._clock.time(),
                evidence=trouble,
            )
        )

    def answered(self, agent: str) -> None:
        """Take note that the model service answers an agent again."""
        self.over(agent, "", AUTH, "an answer of the model")

    # --- said by people ---------------------------------------------------------------------

    async def acknowledge(self, incident_id: str, by: str, note: str = "") -> Incident:
        """Silence an incident. Raises IncidentNotFound, IllegalMove if it is over."""
        return await self._book.acknowledge(incident_id, by, note)

    async def resolve(self, incident_id: str, by: str, note: str = "") -> Incident:
        """Say that an incident is over; saying it again changes nothing. Raises IncidentNotFound."""
        for incident in await self._book.resolve([incident_id], by, note):
            self._close(incident)
        return await self._book.load(incident_id)

    # --- working in -------------------------------------------------------------------------

    def _add(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            self._waiting.put_nowait(work)
        except asyncio.QueueFull:
            logger.error("a report was dropped, too many wait")

    async def _report(self, sighting: Sighting) -> None:
        reported = await self._book.report(sighting)
        incident = reported.incident
        self._note(incident)
        kind = AlertKind.OPENED if reported.is_opened else AlertKind.CONTINUES
        if reported.is_opened:
            self._publish(EventType.INCIDENT_OPENED, incident)
        self._alerts.offer(Alert(kind, incident, self._clock.time()))

    async def _fail(self, failure: Failure) -> None:
        known = self._streaks.get(failure.place)
        if known is None:
            known = await self._failures_before(failure)
        count = self._streaks[failure.place] = known + 1
        if self._failures and count >= self._least(failure):
            await self._report(_sighting_of(failure, count))

    def _least(self, failure: Failure) -> float:
        """Say from how many failures in a row on one is told: a refused key is told of for the whole agent first."""
        if failure.code != FailureKind.AUTH:
            return self._failures
        is_told = AUTH in self._open.get((failure.agent, ""), {}).values()
        return math.inf if is_told else max(self._failures, REFUSALS + 1)

    async def _failures_before(self, failure: Failure) -> int:
        """Count the failures in a row before this one that the store knows of."""
        ended = (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED)
        rows = await self._executions.query(
            ExecutionFilter(
                agent=failure.agent,
                stream_id=failure.entry_point,
                statuses=(*ended, ExecutionStatus.RECOVERY_EXHAUSTED),
                limit=HIGH_FAILURES + 1,
            )
        )
        before = [row for row in rows if row.execution_id != failure.execution_id]
        completed = [
            place for place, row in enumerate(before) if row.status is ExecutionStatus.COMPLETED
        ]
        return completed[0] if completed else len(before)

    async def _succeed(self, place: Place) -> None:
        self._streaks[place] = 0
        await self._end(place, lambda pattern: pattern not in LASTING, BY_SUCCESS)

    async def _end(self, place: Place, ends: Callable[[str], bool], by: str) -> None:
        known = self._open.get(place, {})
        ids = [incident_id for incident_id, pattern in known.items() if ends(pattern)]
        if ids:
            self._close_all(await self._book.resolve(ids, by))

    def _close_all(self, incidents: Iterable[Incident]) -> None:
        for incident in incidents:
            self._close(incident)

    def _close(self, incident: Incident) -> None:
        known = self._open.get((incident.agent, incident.entry_point), {})
        known.pop(incident.id, None)
        self._publish(EventType.INCIDENT_RESOLVED, incident)
        self._alerts.offer(Alert(AlertKind.RESOLVED, incident, self._clock.time()))

    def _note(self, incident: Incident) -> None:
        place = incident.agent, incident.entry_point
        self._open.setdefault(place, {})[incident.id] = incident.pattern

    def _publish(self, kind: EventType, incident: Incident) -> None:
        self._tell(
            AgentEvent(
                kind,
                incident.entry_point,
                node_id=incident.node_id or None,
                data={"incident": incident_view(incident)},
                graph_id=incident.graph_id,
                agent=incident.agent,
            )
        )


OUTAGES = {
    "model_unavailable": "the model service does not answer",
    "model_rejected": "the model service refuses the request",
    "transient": "the model service does not answer",
    "rate_limited": "the model service takes no more requests for now",
    "quota": "the account at the model service has no credit left",
    "auth": "the model service refuses the key",
    "budget_exceeded": "the budget is spent",
    "storage_full": "there is no space left",
    "storage_unavailable": "the store cannot be written",
    "TimeoutError": "something outside did not answer in time",
    "ConnectionError": "something outside cannot be reached",
    "timeout": "it took too long",
}
"""What is said of failures whose fault is not the agent's, by their code."""


def _sighting_of(failure: Failure, count: int) -> Sighting:
    named = OUTAGES.get(failure.code)
    told = f"{named}: {failure.error}" if named else failure.error
    subject = failure.execution_id or f"{failure.agent}/{failure.entry_point}"
    return Sighting(
        agent=failure.agent,
        entry_point=failure.entry_point,
        pattern=FAILURES,
        error=failure.code if named else normalise(failure.error),
        severity=Severity.HIGH if count >= HIGH_FAILURES else Severity.MEDIUM,
        cause=f"It failed {count} times in a row: {told}",
        action=f"Look at the last one with `hive why {subject}`, mend what the error names, then trigger it again.",
        at=failure.at,
        evidence=failure.error[:500],
        graph_id=failure.graph_id,
        node_id=failure.node_id,
        execution_id=failure.execution_id,
    )
