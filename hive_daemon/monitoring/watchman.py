"""The watchman: sees by the events of the process which executions do not get on, and reports them to the desk.

He needs no graph, no model, no store and no clock of his own: nothing is done while nothing happens. Of each execution
that runs he keeps one `Watch`. Silence is told him by the stall watch, which knows what has a reason.
"""

from __future__ import annotations

from dataclasses import replace

from hive_daemon.monitoring.health import (
    WATCHED,
    Finding,
    Pattern,
    Sign,
    Thresholds,
    Watch,
    diagnose,
    is_news,
    reviewed,
    seen,
)
from hive_daemon.monitoring.incident_desk import ESCALATION, PAUSED, Failure, IncidentDesk
from hive_daemon.monitoring.signature import normalise
from hive_daemon.monitoring.ticket import EVIDENCE_CHARS, Severity
from hive_daemon.runtime.events import AgentEvent, EventType
from hive_daemon.storage.incident_book import Sighting
from hive_daemon.storage.timer_values import LEDGER_NAME, TimerOutcome

_WATCHED = frozenset(WATCHED)
_LEFT = frozenset({EventType.EXECUTION_CANCELLED, EventType.EXECUTION_PAUSED})


class Watchman:
    """Follows everything that runs in the process."""

    def __init__(self, desk: IncidentDesk, limits: Thresholds) -> None:
        self._desk = desk
        self._limits = limits
        self._watches: dict[str, Watch] = {}
        self._refused: set[str] = set()

    @property
    def watched(self) -> int:
        """How many executions are remembered."""
        return len(self._watches)

    def refused(self, agent: str, trouble: str) -> None:
        """The model service does not take the key of an agent."""
        self._refused.add(agent)
        self._desk.refused(agent, trouble)

    def answered(self, agent: str) -> None:
        """It takes it again."""
        self._refused.discard(agent)
        self._desk.answered(agent)

    def tell(self, event: AgentEvent) -> None:
        """Take note of an event."""
        if event.execution_id is None:
            self._hear_notice(event)
            return
        if event.type in _WATCHED and event.seq is not None:
            self._see(event)
            return
        match event.type:
            case EventType.NODE_STALLED if event.data.get("seconds") is not None:
                self._look(event, float(event.data["seconds"]))
            case EventType.ESCALATION_REQUESTED:
                self._desk.sight(_escalation(event))
            case EventType.EXECUTION_COMPLETED:
                self._watches.pop(event.execution_id, None)
                self._desk.succeeded(event.agent or "", event.stream_id)
            case EventType.EXECUTION_FAILED:
                self._failed(event)
            case kind if kind in _LEFT:
                self._watches.pop(event.execution_id, None)

    def _see(self, event: AgentEvent) -> None:
        assert event.execution_id is not None
        assert event.seq is not None
        watch = self._watches.get(event.execution_id) or Watch(checks=1)
        at = event.timestamp.timestamp()
        sign = Sign(event.seq, event.type.value, at, event.node_id, event.data)
        self._watches[event.execution_id] = seen(watch, sign)
        self._look(event, 0.0)

    def _look(self, event: AgentEvent, quiet_seconds: float) -> None:
        """Judge an execution, and report what is new."""
        assert event.execution_id is not None
        watch = self._watches.get(event.execution_id) or Watch(checks=1)
        finding = diagnose(watch, watch.last_step_at, self._limits, quiet_seconds)
        if finding is None:
            return
        if is_news(watch, finding):
            self._desk.sight(_sighting(event, watch, finding))
        self._watches[event.execution_id] = replace(reviewed(watch, finding), checks=1)

    def _failed(self, event: AgentEvent) -> None:
        assert event.execution_id is not None
        watch = self._watches.pop(event.execution_id, None)
        if watch is not None and watch.told:
            # What is wrong with it was told already, and better.
            return
        self._desk.failed(_failure(event, str(event.data.get("code") or "failed")))

    def _hear_notice(self, event: AgentEvent) -> None:
        """Hear of what belongs to no execution: timers."""
        agent = event.agent or ""
        match event.type:
            case EventType.TIMER_PAUSED if event.data.get("by") == LEDGER_NAME:
                if agent not in self._refused:
                    self._desk.sight(_paused(event))
            case EventType.TIMER_RESUMED:
                self._desk.over(agent, event.stream_id, PAUSED, str(event.data.get("by") or ""))
            case EventType.TRIGGER_SKIPPED if event.data.get("outcome") == TimerOutcome.FAILED:
                self._desk.failed(_failure(event, "not_started"))


def _failure(event: AgentEvent, code: str) -> Failure:
    said = event.data.get("error") or event.data.get("reason") or "it failed"
    return Failure(
        agent=event.agent or "",
        entry_point=event.stream_id,
        error=str(said),
        code=code,
        at=event.timestamp.timestamp(),
        graph_id=event.graph_id or "",
        node_id=event.node_id or "",
        execution_id=event.execution_id or "",
    )


def _sighting(event: AgentEvent, watch: Watch, finding: Finding) -> Sighting:
    about = watch.node_id if finding.pattern is Pattern.STALL else normalise(watch.evidence)
    return Sighting(
        agent=event.agent or "",
        entry_point=event.stream_id,
        pattern=finding.pattern,
        error="" if finding.pattern is Pattern.RUNAWAY_COST else about,
        severity=finding.severity,
        cause=finding.cause,
        action=f"{finding.action} Begin with `hive why {event.execution_id}`.",
        at=event.timestamp.timestamp(),
        evidence=watch.evidence[:EVIDENCE_CHARS],
        graph_id=event.graph_id or "",
        node_id=event.node_id or watch.node_id,
        execution_id=event.execution_id or "",
    )


def _escalation(event: AgentEvent) -> Sighting:
    reason = str(event.data.get("reason") or "help is needed")
    return Sighting(
        agent=event.agent or "",
        entry_point=event.stream_id,
        pattern=ESCALATION,
        error=normalise(reason),
        severity=Severity.HIGH,
        cause=f"It asks for help: {reason}",
        action=f"Look at it with `hive why {event.execution_id}`; it does not mend this by itself.",
        at=event.timestamp.timestamp(),
        evidence=str(event.data.get("context") or "")[:EVIDENCE_CHARS],
        graph_id=event.graph_id or "",
        node_id=event.node_id or "",
        execution_id=event.execution_id or "",
    )


def _paused(event: AgentEvent) -> Sighting:
    reason = str(event.data.get("reason") or "")
    name = f"{event.agent}/{event.stream_id}"
    return Sighting(
        agent=event.agent or "",
        entry_point=event.stream_id,
        pattern=PAUSED,
        error="",
        severity=Severity.HIGH,
        cause=f"Its timer paused itself: {reason}",
        action=f"See what fails with `hive why timers/{name}`, mend it, then `hive timers resume {name}`.",
        at=event.timestamp.timestamp(),
        evidence=reason,
        graph_id=event.graph_id or "",
    )
