"""What is known of one execution: the values from which its readable files are rendered. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from hive_daemon.spending import NO_CALLS, Spending
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import Checkpoint, CheckpointRow, Ending

_ACTIVE = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)
_FAILURES = (ExecutionStatus.FAILED, ExecutionStatus.RECOVERY_EXHAUSTED)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MOST_REASONS = 50
_MOST_FILE_NAME = 200


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """Which execution of which session this is. `input` is JSON; times are wall seconds UTC."""

    agent: str
    session_id: str
    execution_id: str
    ordinal: int
    is_joined: bool
    graph_id: str
    goal_id: str
    entry_point: str
    stream_id: str
    correlation_id: str
    isolation_level: str
    input: bytes
    created_at: float
    started_at: float
    trace_id: str


class ShownStep(NamedTuple):
    """What the files show of a step."""

    seq: int
    node_id: str | None
    steps: int | None
    checkpoint: Checkpoint | None
    ending: Ending | None


class ShownEvent(NamedTuple):
    """What the files show of an event."""

    seq: int
    type: str
    timestamp: float
    execution_id: str
    node_id: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class ShownCheckpoint:
    """A checkpoint with what memory (`{key: JSON}`) and the path were then: the first `steps` nodes of `path`.

    `file` lies below the session's directory.
    """

    row: CheckpointRow
    name: str
    file: str
    memory: Mapping[str, bytes]
    path: list[str]
    steps: int


def checkpoint_file(checkpoint_id: str) -> str:
    """Return the file of a checkpoint, below the session's directory; no id can lead anywhere else."""
    return f"checkpoints/{_UNSAFE.sub('_', checkpoint_id)[-_MOST_FILE_NAME:]}.json"


def shown_checkpoint(
    row: CheckpointRow, memory: Mapping[str, bytes], path: list[str]
) -> ShownCheckpoint:
    """Return a checkpoint as it is shown; `path` may grow afterwards, `memory` may not change."""
    name = row.checkpoint_id
    return ShownCheckpoint(row, name, checkpoint_file(name), memory, path, len(path))


@dataclass(slots=True)
class Chronicle:
    """What is known of one execution as of step `seq` and event `event_seq`.

    `path` only grows, or is replaced as a whole; `checkpoints` are the newest ones; `latency_seconds` is what its nodes
    took together. `result` holds an ExecutionResult's fields.
    """

    identity: SessionIdentity
    checkpoints: deque[ShownCheckpoint]
    status: ExecutionStatus = ExecutionStatus.RUNNING
    seq: int = 0
    event_seq: int = 0
    node_id: str | None = None
    steps: int = 0
    updated_at: float = 0.0
    ended_at: float | None = None
    parked_at: float | None = None
    memory: dict[str, bytes] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    walk: bytes | None = None
    nodes: list[str] = field(default_factory=list)
    edges: dict[str, None] = field(default_factory=dict)
    told: Spending = NO_CALLS
    latency_seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)
    result: Mapping[str, Any] | None = None
    error: str | None = None
    _walk_read: tuple[bytes | None, Mapping[str, Any]] = (None, {})

    @property
    def has_summary(self) -> bool:
        """Whether there is an end, or a rest, to sum up."""
        return self.status not in _ACTIVE

    @property
    def has_failed(self) -> bool:
        """Whether it ended in failure."""
        return self.status in _FAILURES

    @property
    def outcome(self) -> Mapping[str, Any]:
        """The result's fields; what goes on has none, whatever an earlier rest left behind."""
        if not self.has_summary:
            return {}
        if self.result is not None:
            return self.result
        return {"success": False} if self.status.is_terminal else {}

    @property
    def duration_seconds(self) -> float:
        """From its start to its end, or to its last step."""
        until = self.updated_at if self.ended_at is None else self.ended_at
        return max(until - self.identity.started_at, 0.0)

    @property
    def retries(self) -> Mapping[str, int]:
        """How often each node was tried again."""
        given = self.outcome.get("retry_details")
        retries: Mapping[str, int] = self.walk_fields.get("retries", {}) if given is None else given
        return retries

    @property
    def walk_fields(self) -> Mapping[str, Any]:
        """What the last checkpoint says of the walk."""
        walk, fields = self._walk_read
        if walk is not self.walk:
            fields = orjson.loads(self.walk) if self.walk else {}
            self._walk_read = (self.walk, fields)
        return fields

    @property
    def spending(self) -> Spending:
        """What its model calls came to: by its result, else by its last checkpoint, else by what its nodes told."""
        totals = self.walk_fields.get("totals")
        for kept in (self.outcome, totals):
            if kept and "input_tokens" in kept:
                return Spending.of(kept)
        return self.told

    @property
    def quality(self) -> str:
        """`clean`, `degraded` or `failed`."""
        if self.has_failed:
            return "failed"
        given = self.outcome.get("execution_quality")
        return given if isinstance(given, str) else "degraded" if self.retries else "clean"

    def note_attention(self, node_id: str | None, reasons: list[str]) -> None:
        """Remember why somebody should look at this execution; the first fifty reasons are kept."""
        room = _MOST_REASONS - len(self.reasons)
        self.reasons.extend(f"{node_id}: {reason}" for reason in reasons[:room])
