"""What work sees of the transaction that it is part of.

Rows that nothing reads before COMMIT (events, checkpoints) are gathered and inserted together: a few statements for a
whole batch. Work that reads them, or removes them, calls `flush` first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

from hive_daemon.storage.sqlite.codec import BLOB_OVER, blob_key, is_plain, pack, pack_key
from hive_daemon.storage.values import EventRecord, Fence, StepCommit, StoredEvent

Row = tuple[Any, ...]

_TOGETHER = 32
"""How many rows one statement inserts: each statement gives up the GIL, and asks for it again."""


@dataclass(frozen=True, slots=True)
class _Insert:
    """Inserts gathered rows of one table."""

    one: str
    many: str

    @classmethod
    def into(cls, table: str, columns: int) -> _Insert:
        """Prepare the statements for a table."""
        head, marks = f"INSERT INTO {table} VALUES ", f"({', '.join('?' * columns)})"
        return cls(head + marks, head + ", ".join([marks] * _TOGETHER))

    def __call__(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        whole = len(rows) - len(rows) % _TOGETHER
        for at in range(0, whole, _TOGETHER):
            connection.execute(self.many, tuple(chain.from_iterable(rows[at : at + _TOGETHER])))
        connection.executemany(self.one, rows[whole:])


_insert_checkpoints = _Insert.into("checkpoints", 9)
_insert_events = _Insert.into("events", 7)


class Holder(StrEnum):
    """What kind of row refers to a blob."""

    EXECUTION = "execution"
    CHECKPOINT = "checkpoint"
    RECORD = "record"
    STATE = "state"
    CALLER = "caller"


@dataclass(frozen=True, slots=True)
class Identity:
    """What an execution's events say of it; none of it ever changes."""

    n: int
    agent: str
    graph_id: str
    stream_id: str
    execution_id: str
    session_id: str
    correlation_id: str
    causation: tuple[str, ...]


@dataclass(slots=True)
class Held:
    """What the writer remembers of an execution that runs, so as not to read its row at each step."""

    identity: Identity
    lane: str
    event_seq: int


@dataclass(slots=True)
class LaneCount:
    """What the writer remembers of a lane whose queue is bounded; `oldest` is the row that waits longest."""

    queued: int
    running: int
    oldest: int | None = None


@dataclass(slots=True)
class Known:
    """What the writer remembers between transactions, until one of them is rolled back."""

    held: dict[int, Held] = field(default_factory=dict)
    lanes: dict[str, LaneCount] = field(default_factory=dict)
    may_be_behind: bool = True  # whether any queued execution may be behind another of its session

    def forget(self) -> None:
        """Remember nothing any more."""
        self.held.clear()
        self.lanes.clear()
        self.may_be_behind = True


class Tx:
    """One transaction. `now` is the store's time.

    `events` and `step` are what the present work is to have told, and `woken` the lane of an execution that it queued
    again, empty if it did not.
    """

    __slots__ = (
        "_checkpoints",
        "_events",
        "_mark",
        "connection",
        "events",
        "execute",
        "held",
        "known",
        "lanes",
        "next_event",
        "next_row",
        "now",
        "step",
        "woken",
    )

    def __init__(
        self,
        connection: sqlite3.Connection,
        now: float,
        known: Known,
        next_event: int,
        next_row: int,
    ) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.now = now
        self.known = known
        self.held = known.held
        self.lanes = known.lanes
        self.next_event = next_event
        self.next_row = next_row
        self.events: list[StoredEvent] = []
        self.step: tuple[Fence, StepCommit] | None = None
        self.woken = ""
        self._checkpoints: list[Row] = []
        self._events: list[Row] = []
        self._mark = (0, 0, 0, 0, 0)

    def begin(self) -> None:
        """Begin a piece of work."""
        self.events = []
        self.step = None
        self.woken = ""
        self._mark = (
            self.connection.total_changes,
            len(self._checkpoints),
            len(self._events),
            self.next_event,
            self.next_row,
        )

    def forget(self) -> bool:
        """Forget what the present work gathered; say whether nothing of it is left in the database either."""
        changes, checkpoints, events, self.next_event, self.next_row = self._mark
        del self._checkpoints[checkpoints:]
        del self._events[events:]
        return self.connection.total_changes == changes

    def keep(self, value: bytes, holder: Holder, owner: str, part: str = "") -> bytes:
        """Return what a column holds for a value; a large one is kept as a blob to which the holder refers."""
        if is_plain(value):
            return value
        if len(value) <= BLOB_OVER:
            return pack(value)
        key = blob_key(value)
        self.execute("INSERT INTO blobs VALUES (?, ?) ON CONFLICT DO NOTHING", (key, pack(value)))
        self.refer(key, holder, owner, part)
        return pack_key(key)

    def refer(self, key: str, holder: Holder, owner: str, part: str = "") -> None:
        """Note that something refers to a blob."""
        self.execute(
            "INSERT INTO blob_refs VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (holder, owner, part, key),
        )

    def shift(self, lane: str, queued: int, running: int = 0) -> None:
        """Note that so many more of a lane are queued, and run."""
        count = self.lanes.get(lane)
        if count is not None:
            count.queued += queued
            count.running += running

    def take_row(self) -> int:
        """Return the number of a new execution's row."""
        self.next_row += 1
        return self.next_row - 1

    def add_checkpoint(self, row: Row) -> None:
        """Insert a checkpoint's row before COMMIT."""
        self._checkpoints.append(row)

    def add_events(self, identity: Identity, events: Sequence[EventRecord], event_seq: int) -> None:
        """Number events, the last of which becomes `event_seq`; insert them before COMMIT, tell them after it."""
        seq = self.next_event
        self.next_event += len(events)
        n, name = identity.n, identity.execution_id
        for place, record in enumerate(events, event_seq - len(events) + 1):
            data = self.keep(record.data, Holder.EXECUTION, name)
            self._events.append(
                (seq, n, place, record.type, record.node_id, record.timestamp, data)
            )
            self.events.append(
                StoredEvent(
                    seq,
                    place,
                    record.type,
                    record.timestamp,
                    identity.agent,
                    identity.graph_id,
                    identity.stream_id,
                    record.node_id,
                    name,
                    identity.session_id,
                    identity.correlation_id,
                    identity.causation,
                    record.data,
                )
            )
            seq += 1

    def flush(self) -> None:
        """Insert what was gathered."""
        if self._checkpoints:
            _insert_checkpoints(self.connection, self._checkpoints)
            self._checkpoints.clear()
        if self._events:
            _insert_events(self.connection, self._events)
            self._events.clear()
