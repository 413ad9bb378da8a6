"""Decisions: what an agent meant to do, what it chose, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hive_daemon.clock import SYSTEM_CLOCK


def utc_now() -> datetime:
    """Return the wall time as an aware UTC datetime."""
    return datetime.fromtimestamp(SYSTEM_CLOCK.time(), UTC)


class DecisionType(StrEnum):
    """What kind of choice it was."""

    TOOL_SELECTION = "tool_selection"
    PARAMETER_CHOICE = "parameter_choice"
    PATH_CHOICE = "path_choice"
    OUTPUT_FORMAT = "output_format"
    RETRY_STRATEGY = "retry_strategy"
    DELEGATION = "delegation"
    TERMINATION = "termination"
    CUSTOM = "custom"


class Option(BaseModel):
    """One thing that could have been done."""

    model_config = ConfigDict(extra="allow")

    id: str
    description: str
    action_type: str
    action_params: dict[str, Any] = Field(default_factory=dict)
    pros: list[str] = Field(default_factory=list)
    cons: list[str] = Field(default_factory=list)
    confidence: float = 0.5


class Outcome(BaseModel):
    """What came of a decision."""

    model_config = ConfigDict(extra="allow")

    success: bool
    result: Any = None
    error: str | None = None
    state_changes: dict[str, Any] = Field(default_factory=dict)
    tokens_used: int = 0
    latency_ms: int = 0
    summary: str = ""
    timestamp: datetime = Field(default_factory=utc_now)


class DecisionEvaluation(BaseModel):
    """How good a decision was, seen from later."""

    model_config = ConfigDict(extra="allow")

    goal_aligned: bool = True
    alignment_score: float = 1.0
    explanation: str = ""


class Decision(BaseModel):
    """One decision."""

    model_config = ConfigDict(extra="allow")

    id: str
    timestamp: datetime = Field(default_factory=utc_now)
    node_id: str
    intent: str
    decision_type: DecisionType = DecisionType.CUSTOM
    options: list[Option] = Field(default_factory=list)
    chosen_option_id: str = ""
    reasoning: str = ""
    active_constraints: list[str] = Field(default_factory=list)
    input_context: dict[str, Any] = Field(default_factory=dict)
    outcome: Outcome | None = None
    evaluation: DecisionEvaluation | None = None

    @property
    def was_successful(self) -> bool:
        """Whether it is known to have worked."""
        return self.outcome is not None and self.outcome.success

    @property
    def chosen_option(self) -> Option | None:
        """The option that was taken."""
        return next((o for o in self.options if o.id == self.chosen_option_id), None)
