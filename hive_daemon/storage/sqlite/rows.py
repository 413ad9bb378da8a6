"""From rows to values."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from typing import Any

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.sqlite.reader import required, value_of
from hive_daemon.storage.timer_values import Occurrence, TimerOutcome, TimerRow
from hive_daemon.storage.values import (
    MAX_PAGE,
    CheckpointKind,
    CheckpointRow,
    ExecutionRow,
    StoredEvent,
)

EXECUTION = (
    "n, id, session_id, agent, graph_id, entry_point, stream_id, status, source, correlation, "
    "causation, created_at, started_at, updated_at, ended_at, ordinal, joined, attempts, seq, "
    "steps, node_id, input, result, error, error_code, waiting, cancel_reason, trace_id, state, "
    "key, due_at, carry_from, trace_parent, cancelled_by"
)
EVENT = (
    "e.seq, e.execution_seq, e.type, e.at, x.agent, x.graph_id, x.stream_id, e.node_id, x.id, "
    "x.session_id, x.correlation, x.causation, e.data"
)
CHECKPOINT = (
    "x.id, c.seq, c.kind, c.node_id, c.next_node, c.created_at, c.walk, c.patch, c.is_snapshot"
)
TIMER = (
    "id, agent, entry_point, signature, anchor, last_scheduled, next_at, last_outcome, "
    "last_reason, last_at, last_execution, fired, skipped, missed, paused_at, paused_by, note, "
    "paused_until, remaining, failures, forgotten, last_late_by"
)
OCCURRENCE = "timer_id, scheduled_at, at, outcome, reason, execution_id, late_by, ended"

Row = tuple[Any, ...]

_EXECUTION_FIELDS = tuple(field.name for field in fields(ExecutionRow))
_EVENT_FIELDS = tuple(field.name for field in fields(StoredEvent))
_CHECKPOINT_FIELDS = tuple(field.name for field in fields(CheckpointRow))


def page(limit: int) -> int:
    """Return how many rows to read at most."""
    return max(0, min(limit, MAX_PAGE))


def one_of(column: str, count: int) -> str:
    """Write the test that a column is one of `count` values."""
    return f"{column} IN ({', '.join('?' * count)})"


def after_prefix(prefix: str) -> str:
    """Return a text that follows every text with this prefix."""
    return prefix + "\U0010ffff"


def chain(text: str) -> tuple[str, ...]:
    """Read a causation chain."""
    return tuple(json.loads(text)) if text != "[]" else ()


def dump_chain(causation: tuple[str, ...]) -> str:
    """Write a causation chain."""
    return json.dumps(causation) if causation else "[]"


def execution(connection: sqlite3.Connection, row: Row) -> ExecutionRow:
    """Read a row of `EXECUTION`, whose columns stand in the order of ExecutionRow's fields."""
    values: dict[str, Any] = dict(zip(_EXECUTION_FIELDS, row, strict=True))
    values["status"] = ExecutionStatus(values["status"])
    values["causation"] = chain(values["causation"])
    values["is_joined"] = bool(values["is_joined"])
    values["input"] = required(connection, values["input"])
    values["result"] = value_of(connection, values["result"])
    values["waiting"] = value_of(connection, values["waiting"])
    values["state"] = value_of(connection, values["state"])
    return ExecutionRow(**values)


def event(connection: sqlite3.Connection, row: Row) -> StoredEvent:
    """Read a row of `EVENT`, whose columns stand in the order of StoredEvent's fields."""
    values: dict[str, Any] = dict(zip(_EVENT_FIELDS, row, strict=True))
    values["causation"] = chain(values["causation"])
    values["data"] = required(connection, values["data"])
    return StoredEvent(**values)


def checkpoint(connection: sqlite3.Connection, row: Row) -> CheckpointRow:
    """Read a row of `CHECKPOINT`, whose columns stand in the order of CheckpointRow's fields."""
    values: dict[str, Any] = dict(zip(_CHECKPOINT_FIELDS, row, strict=True))
    values["kind"] = CheckpointKind(values["kind"])
    values["walk"] = required(connection, values["walk"])
    values["patch"] = required(connection, values["patch"])
    values["is_snapshot"] = bool(values["is_snapshot"])
    return CheckpointRow(**values)


def timer(row: Row) -> TimerRow:
    """Read a row of `TIMER`."""
    return TimerRow(*row)


def occurrence(row: Row) -> Occurrence:
    """Read a row of `OCCURRENCE`."""
    timer_id, scheduled_at, at, outcome, reason, execution_id, late_by, ended = row
    known = TimerOutcome(outcome)
    return Occurrence(
        timer_id, scheduled_at, at, known, reason, execution_id, late_by, ended or None
    )
