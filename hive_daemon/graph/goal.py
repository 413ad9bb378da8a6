"""What an agent is for: the goal, how success is told, what must not happen."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hive_daemon.clock import utc_now

SUCCESS_SHARE = 0.9
"""Share of the criteria's weight that must be met before a goal counts as reached."""


class GoalStatus(StrEnum):
    """Where a goal is in its life."""

    DRAFT = "draft"
    READY = "ready"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    SUSPENDED = "suspended"


class SuccessCriterion(BaseModel):
    """One sign of success: how it is measured and what it should reach."""

    model_config = ConfigDict(extra="allow")

    id: str
    description: str
    metric: str = ""
    type: str = "success_rate"
    target: Any = None
    weight: float = Field(default=1.0, ge=0.0, le=1.0)
    met: bool = False


class Constraint(BaseModel):
    """Something the agent must (`hard`) or should (anything else) respect.

    `check` is an expression of `graph.expression` over the output and the memory; it is true while the
    constraint holds.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    description: str
    constraint_type: str = "soft"
    category: str = "general"
    check: str = ""

    @property
    def is_hard(self) -> bool:
        """Whether breaking it fails the execution."""
        return self.constraint_type == "hard"


class Goal(BaseModel):
    """What the agent works towards."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: str
    description: str = ""
    status: GoalStatus = GoalStatus.DRAFT
    success_criteria: list[SuccessCriterion] = Field(default_factory=list)
    constraints: list[Constraint] = Field(default_factory=list)
    context: dict[str, Any] = Field(default_factory=dict)
    required_capabilities: list[str] = Field(default_factory=list)
    input_schema: dict[str, Any] = Field(default_factory=dict)
    output_schema: dict[str, Any] = Field(default_factory=dict)
    version: str = "1.0.0"
    parent_version: str | None = None
    evolution_reason: str | None = None
    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now)

    def is_success(self) -> bool:
        """Say whether at least 90 % of the criteria's weight is met; False without criteria."""
        total = sum(criterion.weight for criterion in self.success_criteria)
        met = sum(criterion.weight for criterion in self.success_criteria if criterion.met)
        return total > 0 and met / total >= SUCCESS_SHARE

    def to_prompt_context(self) -> str:
        """Render the goal for a model; empty when it says nothing beyond its name."""
        if not (self.success_criteria or self.constraints or self.context):
            return ""
        lines = [f"# Goal: {self.name}", self.description]
        if self.success_criteria:
            lines.append("\n## Success criteria")
            lines.extend(f"- {criterion.description}" for criterion in self.success_criteria)
        if self.constraints:
            lines.append("\n## Constraints")
            lines.extend(
                f"- [{'MUST' if rule.is_hard else 'SHOULD'}] {rule.description}"
                for rule in self.constraints
            )
        if self.context:
            lines.append("\n## Context")
            lines.extend(f"- {key}: {value}" for key, value in self.context.items())
        return "\n".join(line for line in lines if line)
