"""Goal progress: how far the executions of all streams have come towards the goal.

It is fed with what nodes came to and what judges said. Everything is counted, nothing is kept per execution, so it
does not grow.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hive_daemon.clock import SYSTEM_CLOCK
from hive_daemon.graph.goal import Goal, SuccessCriterion
from hive_daemon.runtime.event_bus import EventBus
from hive_daemon.runtime.events import AgentEvent, EventType

MAX_VIOLATIONS = 1000
DEFAULT_TARGET = 0.8
"""The success rate at which a criterion without a percentage counts as met."""


@dataclass(frozen=True, slots=True)
class ConstraintCheck:
    """One constraint that did not hold, where, and how."""

    constraint_id: str
    description: str
    violated: bool
    violation_details: str | None = None
    stream_id: str | None = None
    execution_id: str | None = None
    timestamp: datetime = field(
        default_factory=lambda: datetime.fromtimestamp(SYSTEM_CLOCK.time(), UTC)
    )


class OutcomeAggregator:
    """Counts what nodes and judges say, and reckons the goal's progress from it.

    What it tells the bus carries `graph_id`.
    """

    def __init__(
        self, goal: Goal, event_bus: EventBus | None = None, *, graph_id: str | None = None
    ) -> None:
        self._goal = goal
        self._bus = event_bus
        self._graph_id = graph_id
        self._nodes: Counter[bool] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._executions: Counter[str] = Counter()
        self._decisions: Counter[bool] = Counter()
        self._open_decisions = 0
        self._streams: set[str] = set()
        self._violations: deque[ConstraintCheck] = deque(maxlen=MAX_VIOLATIONS)
        self._achieved = False

    # --- being fed --------------------------------------------------------------------------

    def take(self, event: AgentEvent) -> None:
        """Take an event of an execution into account."""
        match event.type:
            case EventType.NODE_COMPLETED:
                self._streams.add(event.stream_id)
                self._nodes[bool(event.data.get("success"))] += 1
            case EventType.JUDGE_VERDICT:
                self._verdicts[str(event.data.get("action", ""))] += 1
            case (
                EventType.EXECUTION_COMPLETED
                | EventType.EXECUTION_FAILED
                | EventType.EXECUTION_CANCELLED
            ):
                self._executions[event.type.value] += 1
            case EventType.CONSTRAINT_VIOLATION:
                self._note_violation(event)

    def _note_violation(self, event: AgentEvent) -> None:
        self._violations.append(
            ConstraintCheck(
                str(event.data.get("constraint_id", "")),
                str(event.data.get("description", "")),
                True,
                stream_id=event.stream_id,
                execution_id=event.execution_id,
            )
        )

    def record_decision(self, stream_id: str, execution_id: str, decision: Any) -> None:
        """Count a decision that a program made itself."""
        self._streams.add(stream_id)
        self._open_decisions += 1

    def record_outcome(
        self, stream_id: str, execution_id: str, decision_id: str, outcome: Any
    ) -> None:
        """Count how a decision of the program's own turned out; `outcome.success` says."""
        self._decisions[bool(getattr(outcome, "success", outcome))] += 1

    def record_constraint_violation(
        self,
        constraint_id: str,
        description: str,
        violation_details: str | None = None,
        stream_id: str | None = None,
        execution_id: str | None = None,
    ) -> None:
        """Keep a violation that a program found itself, and tell the bus."""
        check = ConstraintCheck(
            constraint_id, description, True, violation_details, stream_id, execution_id
        )
        self._violations.append(check)
        if self._bus is not None:
            self._bus.deliver(
                AgentEvent(
                    EventType.CONSTRAINT_VIOLATION,
                    stream_id or "",
                    execution_id=execution_id,
                    graph_id=self._graph_id,
                    data={"constraint_id": constraint_id, "description": description},
                )
            )

    # --- reckoning --------------------------------------------------------------------------

    async def evaluate_goal_progress(self) -> dict[str, Any]:
        """Reckon the progress and tell the bus of it (GOAL_PROGRESS, once GOAL_ACHIEVED).

        A criterion of type `success_rate` progresses with the share of nodes, verdicts and decisions that succeeded;
        it is met from its percentage target on (80 % without one). Others are met when the goal says so.
        """
        rate = self._success_rate()
        criteria = {c.id: self._status(c, rate) for c in self._goal.success_criteria}
        weight = sum(c.weight for c in self._goal.success_criteria)
        reached = sum(c.weight * criteria[c.id]["progress"] for c in self._goal.success_criteria)
        overall = reached / weight if weight else (rate if rate is not None else 0.0)
        report = {
            "overall_progress": round(overall, 4),
            "criteria_status": criteria,
            "constraint_violations": [_show(check) for check in self._violations],
            "metrics": self._metrics(rate),
            "recommendation": self._recommend(criteria, overall),
        }
        await self._tell(report)
        return report

    def _success_rate(self) -> float | None:
        good = self._nodes[True] + self._verdicts["ACCEPT"] + self._decisions[True]
        bad = self._nodes[False] + self._verdicts["ESCALATE"] + self._decisions[False]
        return good / (good + bad) if good + bad else None

    def _status(self, criterion: SuccessCriterion, rate: float | None) -> dict[str, Any]:
        if criterion.type != "success_rate":
            met = criterion.met
            progress, evidence = float(met), [f"{criterion.type}: judged by the goal itself"]
        else:
            target = _percentage(criterion.target)
            met = rate is not None and rate >= target
            progress = 1.0 if met else min((rate or 0.0) / target, 1.0) if target else 0.0
            evidence = [] if rate is None else [f"success rate {rate:.0%}, target {target:.0%}"]
        return {
            "description": criterion.description,
            "met": met,
            "progress": round(progress, 4),
            "evidence": evidence,
        }

    def _metrics(self, rate: float | None) -> dict[str, Any]:
        good = self._nodes[True] + self._decisions[True]
        bad = self._nodes[False] + self._decisions[False]
        return {
            "total_decisions": good + bad + max(0, self._open_decisions - self._decisions.total()),
            "successful_outcomes": good,
            "failed_outcomes": bad,
            "success_rate": round(rate, 4) if rate is not None else 0.0,
            "streams_active": len(self._streams),
            "executions_total": self._executions.total(),
            "verdicts": dict(self._verdicts),
        }

    def _recommend(self, criteria: dict[str, dict[str, Any]], overall: float) -> str:
        hard = {rule.id for rule in self._goal.constraints if rule.is_hard}
        if any(check.constraint_id in hard for check in self._violations):
            return "adjust"
        if criteria and all(status["met"] for status in criteria.values()):
            return "complete"
        tried = self._nodes.total() + self._decisions.total()
        return "adjust" if tried >= 10 and overall < 0.5 else "continue"

    async def _tell(self, report: dict[str, Any]) -> None:
        progress = {
            "progress": report["overall_progress"],
            "criteria_status": report["criteria_status"],
        }
        await self._publish(EventType.GOAL_PROGRESS, progress)
        if report["recommendation"] == "complete" and not self._achieved:
            self._achieved = True
            await self._publish(EventType.GOAL_ACHIEVED, progress)

    async def _publish(self, kind: EventType, data: dict[str, Any]) -> None:
        if self._bus is not None:
            await self._bus.publish(AgentEvent(kind, "", data=data, graph_id=self._graph_id))

    def get_stats(self) -> dict[str, Any]:
        """Return the counts."""
        return self._metrics(self._success_rate()) | {
            "constraint_violations": len(self._violations)
        }


def _percentage(target: Any) -> float:
    """Read a target such as 0.9, 90, "90%" or ">= 90%"; 80 % when it says nothing."""
    text = str(target).strip().lstrip("><= ").rstrip("% ")
    try:
        value = float(text)
    except ValueError:
        return DEFAULT_TARGET
    share = value / 100 if value > 1 else value
    return share if 0 < share <= 1 else DEFAULT_TARGET


def _show(check: ConstraintCheck) -> dict[str, Any]:
    return {
        "constraint_id": check.constraint_id,
        "description": check.description,
        "details": check.violation_details,
        "stream_id": check.stream_id,
        "execution_id": check.execution_id,
        "timestamp": check.timestamp.isoformat(),
    }
