"""Escalation tickets: how a judge calls for help with an execution that does not get on."""

from __future__ import annotations

from enum import StrEnum
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from hive_daemon.clock import iso_z, utc_now

EVIDENCE_CHARS = 500


class Severity(StrEnum):
    """How urgent a ticket is, in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place in the order, 0 for the lowest."""
        return list(Severity).index(self)


def _new_id() -> str:
    return str(uuid4())


def _now() -> str:
    return iso_z(utc_now().timestamp())


class EscalationTicket(BaseModel):
    """What is wrong with an execution, how urgent it is, and what to do. `created_at` is ISO 8601 UTC.

    `steps_since_last_accept` counts the verdicts since the last ACCEPT; `stall_minutes` is None while steps are made.
    Raises pydantic.ValidationError for one that is incomplete.
    """

    model_config = ConfigDict(extra="forbid", use_enum_values=True)

    ticket_id: str = Field(default_factory=_new_id)
    created_at: str = Field(default_factory=_now)
    worker_agent_id: str
    worker_session_id: str
    worker_node_id: str
    worker_graph_id: str
    severity: Severity
    cause: str = Field(min_length=1)
    judge_reasoning: str = Field(min_length=1)
    suggested_action: str = Field(min_length=1)
    recent_verdicts: list[str] = Field(default_factory=list)
    total_steps_checked: int = Field(default=0, ge=0)
    steps_since_last_accept: int = Field(default=0, ge=0)
    stall_minutes: float | None = None
    evidence_snippet: str = ""
