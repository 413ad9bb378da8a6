"""Alerts on their way: each rule has a sink, a line of its own, and a cooldown for each incident.

Guarantees: who offers an alert never waits; a sink that is slow or away delays no other, and no execution; the same
incident is told to a sink once within its cooldown, over restarts, and not at all while it is acknowledged; that it is
over is told as well. A delivery that fails, however it fails, is tried again a few times; what cannot be delivered is
logged, and the alerts after it come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hive_daemon.clock import Clock
from hive_daemon.errors import HiveError
from hive_daemon.monitoring.alert_rules import (
    COOLDOWN_SECONDS,
    TIMEOUT_SECONDS,
    Alert,
    AlertKind,
    concerns,
)
from hive_daemon.monitoring.ticket import Severity
from hive_daemon.storage.incident_book import IncidentBook
from hive_daemon.tasks import Scope

logger = logging.getLogger(__name__)

PAUSES_SECONDS = (1.0, 10.0, 60.0)
"""How long to wait before each further try of a delivery."""

MOST_WAITING = 200
"""Alerts that wait for one sink; further ones are dropped, and the log says so."""

FAILURES = (HiveError, OSError, TimeoutError)
"""How a delivery is expected to fail; of any other way the log has the stack besides."""


class AlertFailed(HiveError):
    """The alert was not taken."""


class Sink(Protocol):
    """Where alerts go."""

    async def deliver(self, alert: Alert) -> None:
        """Tell it, within the sink's own time. Raises AlertFailed, OSError, TimeoutError."""


class LogSink:
    """The log of the daemon."""

    async def deliver(self, alert: Alert) -> None:
        """Write one line."""
        incident = alert.incident
        is_over = alert.kind is AlertKind.RESOLVED
        is_urgent = Severity(incident.severity).rank >= Severity.HIGH.rank
        level = logging.INFO if is_over else logging.ERROR if is_urgent else logging.WARNING
        told = {
            "incident": incident.id,
            "alert": alert.kind.value,
            "severity": incident.severity,
            "pattern": incident.pattern,
            "agent": incident.agent,
            "entry_point": incident.entry_point,
            "count": incident.count,
            "cause": incident.cause,
            "action": incident.action,
            "repeat_key": f"{incident.id} {alert.kind.value}",
        }
        logger.log(level, "alert", extra=told)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Who is told of what. `name` is the same over restarts, and no other rule's; `shown` names the sink in the log."""

    name: str
    sink: Sink
    shown: str
    min_severity: Severity = Severity.LOW
    cooldown_seconds: float = COOLDOWN_SECONDS
    timeout_seconds: float = TIMEOUT_SECONDS


def log_rule() -> AlertRule:
    """Return the rule that holds whatever else is written: the log is always told."""
    return AlertRule("log", LogSink(), "log")


@dataclass(slots=True)
class _Line:
    rule: AlertRule
    waiting: asyncio.Queue[Alert] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))


class Alerts:
    """Takes alerts and delivers them."""

    def __init__(self, rules: Iterable[AlertRule], book: IncidentBook, clock: Clock) -> None:
        self._lines: Sequence[_Line] = [_Line(rule) for rule in rules]
        self._book = book
        self._clock = clock

    def start(self, scope: Scope) -> None:
        """Begin to deliver, until the scope closes."""
        for line in self._lines:
            scope.spawn(f"alerts to {line.rule.name}", self._work(line))

    def offer(self, alert: Alert) -> None:
        """Take an alert for every rule that it concerns."""
        for line in self._lines:
            if not concerns(alert, line.rule.min_severity):
                continue
            try:
                line.waiting.put_nowait(alert)
            except asyncio.QueueFull:
                logger.error("an alert was dropped, too many wait", extra=_about(line.rule, alert))

    async def settle(self, seconds: float) -> None:
        """Wait until nothing waits any more, so long at most."""
        try:
            async with asyncio.timeout(seconds):
                for line in self._lines:
                    await line.waiting.join()
        except TimeoutError:
            left = sum(line.waiting.qsize() for line in self._lines)
            logger.warning("alerts were not delivered before the end", extra={"count": left})

    async def _work(self, line: _Line) -> None:
        while True:
            alert = await line.waiting.get()
            try:
                await self._pass_on(line.rule, alert)
            finally:
                line.waiting.task_done()

    async def _pass_on(self, rule: AlertRule, alert: Alert) -> None:
        kind = "recovery" if alert.kind is AlertKind.RESOLVED else "trouble"
        try:
            may = await self._book.may_alert(
                alert.incident.id, f"{rule.name}:{kind}", rule.cooldown_seconds
            )
        except Exception as error:
            # Better told twice than not at all.
            logger.warning(
                "the cooldown of an alert is not known",
                extra={"error": _told(error)},
                exc_info=not isinstance(error, HiveError),
            )
            may = True
        if may:
            await self._deliver(rule, alert)

    async def _deliver(self, rule: AlertRule, alert: Alert) -> None:
        for pause in (*PAUSES_SECONDS, None):
            try:
                async with asyncio.timeout(rule.timeout_seconds):
                    await rule.sink.deliver(alert)
            except Exception as error:  # noqa: BLE001 # handler delivery: an alert sink
                _log_failure(rule, alert, error, pause)
            else:
                return
            if pause is not None:
                await self._clock.sleep(pause)


def _log_failure(rule: AlertRule, alert: Alert, error: Exception, pause: float | None) -> None:
    """Log how a delivery failed, and that it is made again after a pause; None for no more."""
    told = {**_about(rule, alert), "error": _told(error)}
    stack = None if isinstance(error, FAILURES) else error
    if pause is None:
        logger.error("an alert could not be delivered", extra=told, exc_info=stack)
        return
    again = {**told, "delay_seconds": pause}
    logger.warning("an alert is delivered again", extra=again, exc_info=stack)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def _about(rule: AlertRule, alert: Alert) -> dict[str, str]:
    told = {"to": rule.shown, "alert": alert.kind.value, "incident": alert.incident.id}
    return {**told, "repeat_key": f"{rule.name} {alert.incident.id} {alert.kind.value}"}
