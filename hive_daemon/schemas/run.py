"""Runs: an execution as a list of decisions and problems, for programs that keep such records."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from hive_daemon.schemas.decision import Decision, Outcome, utc_now

_MOST_KEY_DECISIONS = 10


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STUCK = "stuck"
    CANCELLED = "cancelled"


class Problem(BaseModel):
    """Something that went wrong in a run; `severity` is critical, warning or minor."""

    model_config = ConfigDict(extra="allow")

    id: str
    severity: str
    description: str
    root_cause: str | None = None
    decision_id: str | None = None
    timestamp: datetime = Field(default_factory=utc_now)
    suggested_fix: str | None = None


class RunMetrics(BaseModel):
    """The figures of a run."""

    model_config = ConfigDict(extra="allow")

    total_decisions: int = 0
    successful_decisions: int = 0
    failed_decisions: int = 0
    total_tokens: int = 0
    total_latency_ms: int = 0
    nodes_executed: list[str] = Field(default_factory=list)
    edges_traversed: list[str] = Field(default_factory=list)

    @property
    def success_rate(self) -> float:
        """The share of decisions that worked, 0 to 1."""
        return self.successful_decisions / self.total_decisions if self.total_decisions else 0.0


class Run(BaseModel):
    """One run of an agent towards a goal."""

    model_config = ConfigDict(extra="allow")

    id: str
    goal_id: str
    started_at: datetime = Field(default_factory=utc_now)
    status: RunStatus = RunStatus.RUNNING
    completed_at: datetime | None = None
    decisions: list[Decision] = Field(default_factory=list)
    problems: list[Problem] = Field(default_factory=list)
    metrics: RunMetrics = Field(default_factory=RunMetrics)
    narrative: str = ""
    goal_description: str = ""
    input_data: dict[str, Any] = Field(default_factory=dict)
    output_data: dict[str, Any] = Field(default_factory=dict)

    @property
    def duration_ms(self) -> int:
        """Milliseconds from start to end, or to now."""
        end = self.completed_at or utc_now()
        return int((end - self.started_at).total_seconds() * 1000)

    def add_decision(self, decision: Decision) -> None:
        """Add a decision and count it."""
        self.decisions.append(decision)
        self.metrics.total_decisions += 1
        if decision.node_id not in self.metrics.nodes_executed:
            self.metrics.nodes_executed.append(decision.node_id)

    def record_outcome(self, decision_id: str, outcome: Outcome) -> None:
        """Note what came of a decision; one that is not known is passed over."""
        decision = next((d for d in self.decisions if d.id == decision_id), None)
        if decision is None:
            return
        decision.outcome = outcome
        if outcome.success:
            self.metrics.successful_decisions += 1
        else:
            self.metrics.failed_decisions += 1
        self.metrics.total_tokens += outcome.tokens_used
        self.metrics.total_latency_ms += outcome.latency_ms

    def add_problem(
        self,
        severity: str,
        description: str,
        decision_id: str | None = None,
        root_cause: str | None = None,
        suggested_fix: str | None = None,
    ) -> str:
        """Add a problem and return its id."""
        problem = Problem(
            id=f"prob_{len(self.problems)}",
            severity=severity,
            description=description,
            decision_id=decision_id,
            root_cause=root_cause,
            suggested_fix=suggested_fix,
        )
        self.problems.append(problem)
        return problem.id

    def complete(self, status: RunStatus, narrative: str = "") -> None:
        """End the run."""
        self.status = status
        self.completed_at = utc_now()
        self.narrative = narrative or self.narrative or self._narrative()

    def _narrative(self) -> str:
        made = self.metrics
        return (
            f"The run {self.id} ended as {self.status.value}: {made.total_decisions} decisions, "
            f"{made.successful_decisions} of them successful, {len(self.problems)} problems."
        )


class RunSummary(BaseModel):
    """A run in short."""

    model_config = ConfigDict(extra="allow")

    run_id: str
    goal_id: str
    status: RunStatus
    duration_ms: int
    decision_count: int
    success_rate: float
    problem_count: int
    narrative: str
    key_decisions: list[str] = Field(default_factory=list)
    critical_problems: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    successes: list[str] = Field(default_factory=list)

    @classmethod
    def from_run(cls, run: Run) -> Self:
        """Sum up a run."""
        worked = [d for d in run.decisions if d.was_successful]
        return cls(
            run_id=run.id,
            goal_id=run.goal_id,
            status=run.status,
            duration_ms=run.duration_ms,
            decision_count=len(run.decisions),
            success_rate=run.metrics.success_rate,
            problem_count=len(run.problems),
            narrative=run.narrative,
            key_decisions=[f"{d.intent}: {d.reasoning}" for d in run.decisions][
                :_MOST_KEY_DECISIONS
            ],
            critical_problems=[p.description for p in run.problems if p.severity == "critical"],
            warnings=[p.description for p in run.problems if p.severity == "warning"],
            successes=[d.outcome.summary or d.intent for d in worked if d.outcome is not None],
        )
