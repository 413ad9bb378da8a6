"""Events: what the world outside an execution is told. The pure part: types, the event itself, filters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from hive_daemon.clock import SYSTEM_CLOCK, iso_z
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import StoredEvent


class EventType(StrEnum):
    """Every type of event. Durable unless `LIVE` has it; docs/events.md says when each comes, and with what."""

    # A member is equal to its text, so it has its hash; an Enum's own would differ, and cost a call.
    __hash__ = str.__hash__

    EXECUTION_STARTED = "execution_started"
    EXECUTION_COMPLETED = "execution_completed"
    EXECUTION_FAILED = "execution_failed"
    EXECUTION_CANCELLED = "execution_cancelled"
    EXECUTION_PAUSED = "execution_paused"
    EXECUTION_RESUMED = "execution_resumed"
    EXECUTION_RESURRECTED = "execution_resurrected"

    NODE_STARTED = "node_started"
    NODE_COMPLETED = "node_completed"
    NODE_SKIPPED = "node_skipped"
    NODE_RETRY = "node_retry"
    NODE_STALLED = "node_stalled"
    NODE_TOOL_DOOM_LOOP = "node_tool_doom_loop"
    NODE_LOOP_STARTED = "node_loop_started"
    NODE_LOOP_ITERATION = "node_loop_iteration"
    NODE_LOOP_COMPLETED = "node_loop_completed"
    NODE_ACTION_PLAN = "node_action_plan"
    NODE_INTERNAL_OUTPUT = "node_internal_output"
    NODE_INPUT_BLOCKED = "node_input_blocked"

    EDGE_TRAVERSED = "edge_traversed"
    EDGE_ERROR = "edge_error"
    BRANCH_FAILED = "branch_failed"

    LLM_TEXT_DELTA = "llm_text_delta"
    LLM_REASONING_DELTA = "llm_reasoning_delta"
    LLM_TURN_COMPLETE = "llm_turn_complete"
    LLM_CALL_FAILED = "llm_call_failed"

    TOOL_CALL_STARTED = "tool_call_started"
    TOOL_CALL_COMPLETED = "tool_call_completed"

    CLIENT_OUTPUT_DELTA = "client_output_delta"
    CLIENT_INPUT_REQUESTED = "client_input_requested"
    CLIENT_INPUT_RECEIVED = "client_input_received"

    JUDGE_VERDICT = "judge_verdict"
    OUTPUT_KEY_SET = "output_key_set"
    CONSTRAINT_VIOLATION = "constraint_violation"
    GOAL_PROGRESS = "goal_progress"
    GOAL_ACHIEVED = "goal_achieved"
    CONTEXT_COMPACTED = "context_compacted"
    ESCALATION_REQUESTED = "escalation_requested"
    WORKER_ESCALATION_TICKET = "worker_escalation_ticket"
    INCIDENT_OPENED = "incident_opened"
    INCIDENT_RESOLVED = "incident_resolved"

    BUDGET_WARNING = "budget_warning"
    BUDGET_EXCEEDED = "budget_exceeded"

    STATE_CHANGED = "state_changed"
    STATE_CONFLICT = "state_conflict"
    STREAM_STARTED = "stream_started"
    STREAM_STOPPED = "stream_stopped"
    TIMER_PAUSED = "timer_paused"
    TIMER_RESUMED = "timer_resumed"
    TIMER_DONE = "timer_done"
    TRIGGER_SKIPPED = "trigger_skipped"
    TRIGGER_SUPPRESSED = "trigger_suppressed"
    WEBHOOK_RECEIVED = "webhook_received"
    CUSTOM = "custom"


LIVE = frozenset(
    {EventType.LLM_TEXT_DELTA, EventType.LLM_REASONING_DELTA, EventType.CLIENT_OUTPUT_DELTA}
)
"""Shown to whoever listens at that moment, never stored."""

ENDINGS = frozenset(
    {EventType.EXECUTION_COMPLETED, EventType.EXECUTION_FAILED, EventType.EXECUTION_CANCELLED}
)
"""After one of these an execution is terminal."""


ONCE = ENDINGS | {EventType.EXECUTION_STARTED}
"""Told once of an execution: whoever waits for one of these means the one that may have been already."""


def status_told(event: AgentEvent) -> ExecutionStatus:
    """Return the status of an execution after an event with which it stops: an end, or a pause."""
    match event.type:
        case EventType.EXECUTION_COMPLETED:
            return ExecutionStatus.COMPLETED
        case EventType.EXECUTION_CANCELLED:
            return ExecutionStatus.CANCELLED
        case EventType.EXECUTION_PAUSED:
            return ExecutionStatus(event.data.get("status") or ExecutionStatus.PAUSED)
    exhausted = ExecutionStatus.RECOVERY_EXHAUSTED
    return exhausted if event.data.get("code") == exhausted else ExecutionStatus.FAILED


def _now() -> datetime:
    return datetime.fromtimestamp(SYSTEM_CLOCK.time(), UTC)


@dataclass(slots=True)
class AgentEvent:
    """Something that happened, where, and in consequence of what.

    `seq` (over the whole store) and `execution_seq` (dense in its execution) are set on durable events that are stored.
    `causation` names the entry points whose executions led here, oldest first, the one that it comes from last.
    Raises ValueError for an unknown type.
    """

    type: EventType
    stream_id: str
    node_id: str | None = None
    execution_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime = field(default_factory=_now)
    correlation_id: str | None = None
    graph_id: str | None = None
    session_id: str | None = None
    agent: str | None = None
    causation: tuple[str, ...] = ()
    seq: int | None = None
    execution_seq: int | None = None

    def __post_init__(self) -> None:
        if self.type.__class__ is not EventType:
            self.type = EventType(self.type)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON values, as it is handed to entry points, tails and logs."""
        return {
            "seq": self.seq,
            "execution_seq": self.execution_seq,
            "type": self.type.value,
            "timestamp": iso_z(self.timestamp.timestamp()),
            "agent": self.agent,
            "graph_id": self.graph_id,
            "stream_id": self.stream_id,
            "node_id": self.node_id,
            "execution_id": self.execution_id,
            "session_id": self.session_id,
            "correlation_id": self.correlation_id,
            "causation": list(self.causation),
            "data": self.data,
        }


def from_stored(event: StoredEvent) -> AgentEvent:
    """Return a durable event as subscribers see it."""
    return AgentEvent(
        type=EventType(event.type),
        stream_id=event.stream_id,
        node_id=event.node_id,
        execution_id=event.execution_id or None,
        data=orjson.loads(event.data),
        timestamp=datetime.fromtimestamp(event.timestamp, UTC),
        correlation_id=event.correlation_id or None,
        graph_id=event.graph_id or None,
        session_id=event.session_id or None,
        agent=event.agent,
        causation=chain_of(event),
        seq=event.seq,
        execution_seq=event.execution_seq or None,
    )


def chain_of(event: StoredEvent) -> tuple[str, ...]:
    """Return the whole causation chain of a durable event: an execution's ends with its own entry point."""
    if not event.execution_id:
        return event.causation
    return (*event.causation, f"{event.agent}/{event.stream_id}")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events somebody wants. An empty field means any."""

    types: frozenset[EventType] = frozenset()
    stream: str = ""
    node: str = ""
    execution: str = ""
    graph: str = ""

    def matches(self, event: AgentEvent) -> bool:
        """Say whether the event is wanted. A stream filter that names a graph matches all its streams."""
        return (
            (not self.types or event.type in self.types)
            and (not self.stream or self.stream in (event.stream_id, event.graph_id))
            and (not self.node or self.node == event.node_id)
            and (not self.execution or self.execution == event.execution_id)
            and (not self.graph or self.graph == event.graph_id)
        )


def event_types(wanted: Any) -> frozenset[EventType]:
    """Read event types from members or texts. Raises ValueError that names the unknown one."""
    if isinstance(wanted, (str, EventType)):
        wanted = [wanted]
    return frozenset(EventType(item) for item in wanted)
