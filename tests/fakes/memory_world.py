"""What the in-memory store holds: plain dictionaries of frozen values.

An operation works on a copy of the world; the copy becomes the world if nothing was raised. So every operation is
atomic, and that is all there is to understand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hive_daemon.errors import ExecutionNotFound
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.event_values import Notice
from hive_daemon.storage.ports import KEPT_NOTICES
from hive_daemon.storage.timer_values import Occurrence, TimerRow, TimerSpec
from hive_daemon.storage.values import (
    BACKGROUND,
    CheckpointRow,
    EventRecord,
    ExecutionRow,
    Fence,
    StepCommit,
    StoredEvent,
    Submission,
)

WAITING = (ExecutionStatus.WAITING_INPUT, ExecutionStatus.WAITING_APPROVAL)
_OF_ENTRY = frozenset(
    {"epoch", "claimed_seq", "event_seq", "heard", "owner", "was"}
    | {"front", "slot_at", "expires_at", "hold", "hold_key", "gathered"}
)


@dataclass(frozen=True)
class Entry:
    """One execution: what everybody may see, and what only the store needs."""

    row: ExecutionRow
    lane: str
    priority: int
    epoch: int = 0
    claimed_seq: int = 0
    event_seq: int = 0
    heard: int = 0
    owner: str | None = None
    was: ExecutionStatus | None = None
    front: int = 0
    slot_at: float | None = None
    expires_at: float | None = None
    hold: str | None = None
    hold_key: str | None = None
    gathered: int = 0

    @property
    def is_queued(self) -> bool:
        """Whether it waits in the queue."""
        return self.row.status is ExecutionStatus.QUEUED

    @property
    def is_background(self) -> bool:
        """Whether nobody waits for it."""
        return self.row.source in BACKGROUND

    def but(self, **changes: Any) -> Entry:
        """Return a changed copy; the names are those of the row or of the entry."""
        mine = {name: changes.pop(name) for name in tuple(changes) if name in _OF_ENTRY}
        return replace(self, row=replace(self.row, **changes), **mine)


@dataclass(frozen=True)
class Item:
    """Something said to a session."""

    session_id: str
    node_id: str
    content: str
    key: str
    created_at: float
    is_taken: bool = False


@dataclass
class World:
    """Everything the store knows, and what an operation on it is to have told."""

    now: float = 0.0
    entries: dict[int, Entry] = field(default_factory=dict)
    dedupe: dict[tuple[str, str], tuple[str, str, str, float]] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)
    checkpoints: dict[tuple[int, int], CheckpointRow] = field(default_factory=dict)
    records: dict[tuple[str, str], bytes] = field(default_factory=dict)
    state: dict[tuple[str, str], tuple[bytes, int]] = field(default_factory=dict)
    inbox: dict[int, Item] = field(default_factory=dict)
    ordinals: dict[str, int] = field(default_factory=dict)
    arrivals: dict[tuple[str, str, str], float] = field(default_factory=dict)
    last_keys: dict[str, str] = field(default_factory=dict)
    timers: dict[str, TimerRow] = field(default_factory=dict)
    idle_timers: frozenset[str] = frozenset()
    timer_terms: dict[str, TimerSpec] = field(default_factory=dict)
    timer_news: frozenset[str] = frozenset()
    occurrences: dict[tuple[str, float], Occurrence] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    last_row: int = 0
    last_event: int = 0
    last_item: int = 0
    operations: int = 0
    step: tuple[Fence, StepCommit] | None = None
    fresh: list[StoredEvent] = field(default_factory=list)
    lanes: list[str] = field(default_factory=list)

    def copy(self, now: float) -> World:
        """Return a copy to work on; its values are frozen, so they need none."""
        mine: dict[str, Any] = {
            name: value.copy() if isinstance(value, dict | list) else value
            for name, value in vars(self).items()
        }
        return World(**{**mine, "now": now, "step": None, "fresh": [], "lanes": []})

    def named(self, name: str) -> Entry | None:
        """Return an execution by its id."""
        return next((e for e in self.entries.values() if e.row.execution_id == name), None)

    def known(self, name: str) -> Entry:
        """Return an execution by its id. Raises ExecutionNotFound."""
        entry = self.named(name)
        if entry is None:
            raise ExecutionNotFound(subject=name)
        return entry

    def held(self, fence: Fence) -> Entry | None:
        """Return the execution whose latest claim made this fence."""
        entry = self.entries.get(fence.row)
        if entry is None or entry.row.execution_id != fence.execution_id:
            return None
        return entry if entry.epoch == fence.epoch else None

    def of_session(self, session_id: str) -> list[Entry]:
        """Return the executions of a session, oldest first."""
        return [e for e in self.entries.values() if e.row.session_id == session_id]

    def running(self) -> list[Entry]:
        """Return what runs."""
        return [e for e in self.entries.values() if e.row.status is ExecutionStatus.RUNNING]

    def put(self, entry: Entry) -> None:
        """Keep an execution."""
        self.entries[entry.row.n] = entry

    def wake(self, entry: Entry) -> None:
        """Queue an execution again."""
        was = entry.row.status
        self.put(entry.but(status=ExecutionStatus.QUEUED, was=was, owner=None, updated_at=self.now))
        self.lanes.append(entry.lane)

    def end(self, entry: Entry, status: ExecutionStatus, error: str, code: str) -> None:
        """End an execution that does not run."""
        self.put(
            entry.but(
                status=status,
                owner=None,
                error=error,
                error_code=code,
                ended_at=self.now,
                updated_at=self.now,
            )
        )

    def tell(self, n: int, type: str, **data: str) -> None:
        """Add an event to an execution outside a step."""
        self.number(n, (EventRecord(type, None, self.now, json.dumps(data).encode()),))

    def number(self, n: int, records: Sequence[EventRecord]) -> None:
        """Number the events of an execution."""
        for record in records:
            entry = self.entries[n].but(event_seq=self.entries[n].event_seq + 1)
            self.put(entry)
            self.last_event += 1
            row = entry.row
            event = StoredEvent(
                self.last_event,
                entry.event_seq,
                record.type,
                record.timestamp,
                row.agent,
                row.graph_id,
                row.stream_id,
                record.node_id,
                row.execution_id,
                row.session_id,
                row.correlation_id,
                row.causation,
                record.data,
            )
            self.events.append(event)
            self.fresh.append(event)

    def post(self, notice: Notice) -> None:
        """Number a notice, and forget the oldest beyond those that are kept."""
        self.last_event += 1
        event = StoredEvent(
            seq=self.last_event,
            execution_seq=0,
            type=notice.type,
            timestamp=notice.timestamp,
            agent=notice.agent,
            graph_id=notice.graph_id,
            stream_id=notice.stream_id,
            node_id=notice.node_id,
            execution_id="",
            session_id="",
            correlation_id=notice.correlation_id,
            causation=notice.causation,
            data=notice.data,
        )
        self.events.append(event)
        self.fresh.append(event)
        kept = [event.seq for event in self.events if not event.execution_id][-KEPT_NOTICES:]
        self.events = [e for e in self.events if e.execution_id or e.seq >= kept[0]]


def new_row(world: World, submission: Submission, name: str, ordinal: int) -> ExecutionRow:
    """Return the row of an execution that was just accepted."""
    return ExecutionRow(
        n=world.last_row,
        execution_id=name,
        session_id=submission.session_id,
        agent=submission.agent,
        graph_id=submission.graph_id,
        entry_point=submission.entry_point,
        stream_id=submission.stream_id,
        status=ExecutionStatus.QUEUED,
        source=submission.source,
        correlation_id=submission.correlation_id or name,
        causation=submission.causation,
        created_at=world.now,
        started_at=None,
        updated_at=world.now,
        ended_at=None,
        ordinal=ordinal,
        is_joined=submission.is_joined,
        attempts=0,
        seq=0,
        steps=0,
        node_id=None,
        input=submission.input,
        result=None,
        error=None,
        error_code="",
        waiting=None,
        cancel_reason=None,
        trace_id=submission.trace_id,
        trace_parent=submission.trace_parent,
        state=submission.state,
    )


def waits_at(waiting: bytes | None, node_id: str) -> bool:
    """Say whether an execution with this `waiting` waits at a node; what is said to none is for whichever asks."""
    described = json.loads(waiting) if waiting else None
    if not isinstance(described, dict) or described.get("node_id") is None:
        return True
    kinds = {n["node_id"]: n.get("kind") for n in described.get("nodes", [described])}
    if node_id == "":
        return not set(kinds.values()) <= {"paused", "waiting_approval"}
    return kinds.get(node_id, "paused") != "paused"
