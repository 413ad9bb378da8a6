"""How commits become a chronicle: one by one as they happen, or all at once from the store's rows.

Law: folding the commits of an execution one by one, up to any of them, gives what folding its rows as of that commit
gives. What was folded already is passed over, so rows and commits may overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import orjson

from hive_daemon.spending import Spending
from hive_daemon.storage.chronicle import (
    Chronicle,
    SessionIdentity,
    ShownEvent,
    ShownStep,
    shown_checkpoint,
)
from hive_daemon.storage.session_logs import DETAILS, TOOLS, line_of, node_record, tool_record
from hive_daemon.storage.values import (
    CheckpointRow,
    Ending,
    ExecutionRow,
    StepCommit,
    StoredEvent,
)

NODE_COMPLETED = "node_completed"
TOOL_CALL_COMPLETED = "tool_call_completed"
EDGE_TRAVERSED = "edge_traversed"

SHOWN_EVENTS = frozenset({NODE_COMPLETED, TOOL_CALL_COMPLETED, EDGE_TRAVERSED})
"""The events of which the files show more than their number."""


class MirrorMode(StrEnum):
    """How much is mirrored: everything, only `state.json`, nothing."""

    FULL = "full"
    STATE = "state"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class MirrorMeta(SessionIdentity):
    """An execution and the directory of its agent, below which `sessions/` lies."""

    directory: Path


class Line(NamedTuple):
    """One line for one of the logs, and the event that it tells of."""

    file: str
    seq: int
    text: bytes


def begin(identity: SessionIdentity, keep: int) -> Chronicle:
    """Return the chronicle of an execution that has committed nothing yet."""
    return Chronicle(identity, deque(maxlen=keep), updated_at=identity.started_at)


def fold_step(chronicle: Chronicle, step: StepCommit | ShownStep, at: float) -> None:
    """Take in one commit, made at wall second `at`."""
    if step.seq <= chronicle.seq:
        return
    chronicle.seq = step.seq
    chronicle.updated_at = at
    if step.node_id is not None:
        chronicle.node_id = step.node_id
    if step.steps is not None:
        chronicle.steps = step.steps
    if step.checkpoint is not None:
        _add_checkpoint(
            chronicle,
            CheckpointRow(
                chronicle.identity.execution_id,
                step.seq,
                step.checkpoint.kind,
                step.node_id,
                step.checkpoint.next_node,
                at,
                step.checkpoint.walk,
                step.checkpoint.patch,
                step.checkpoint.is_snapshot,
            ),
        )
    if step.ending is not None:
        _end(chronicle, step.ending, at)


def fold_events(chronicle: Chronicle, events: Iterable[StoredEvent | ShownEvent]) -> list[Line]:
    """Take in durable events and return the lines that the logs get for them."""
    lines: list[Line] = []
    for event in events:
        if event.seq <= chronicle.event_seq:
            continue
        chronicle.event_seq = event.seq
        if event.type == NODE_COMPLETED:
            lines.append(_fold_node(chronicle, event))
        elif event.type == TOOL_CALL_COMPLETED:
            record = tool_record(chronicle.identity, event)
            lines.append(Line(TOOLS, event.seq, line_of(record)))
        elif event.type == EDGE_TRAVERSED:
            chronicle.edges[orjson.loads(event.data).get("edge_id", "")] = None
    return lines


def fold_rows(
    identity: SessionIdentity,
    row: ExecutionRow,
    checkpoints: Iterable[CheckpointRow],
    events: Iterable[StoredEvent],
    keep: int,
) -> tuple[Chronicle, list[Line]]:
    """Return the chronicle and all log lines of an execution as the store knows it."""
    chronicle = begin(identity, keep)
    for checkpoint in checkpoints:
        _add_checkpoint(chronicle, checkpoint)
    chronicle.seq = row.seq
    chronicle.node_id = row.node_id
    chronicle.steps = row.steps
    chronicle.status = row.status
    chronicle.updated_at = row.updated_at
    chronicle.ended_at = row.ended_at
    chronicle.parked_at = row.updated_at if row.status.is_parked else None
    chronicle.result = None if row.result is None else orjson.loads(row.result)
    chronicle.error = row.error
    return chronicle, fold_events(chronicle, events)


def _fold_node(chronicle: Chronicle, event: StoredEvent | ShownEvent) -> Line:
    record = node_record(chronicle.identity, event)
    chronicle.nodes.append(event.node_id or "")
    chronicle.told = chronicle.told.plus(Spending.of(record))
    chronicle.latency_seconds += record["duration_seconds"]
    if record["needs_attention"]:
        chronicle.note_attention(event.node_id, record["attention_reasons"])
    return Line(DETAILS, event.seq, line_of(record))


def _add_checkpoint(chronicle: Chronicle, row: CheckpointRow) -> None:
    if chronicle.checkpoints and row.seq <= chronicle.checkpoints[-1].row.seq:
        return
    patch = orjson.loads(row.patch)
    if row.is_snapshot:
        chronicle.memory = {}
        chronicle.path = []
    for scope, key, value, *_ in patch["writes"]:
        if scope == 0:
            chronicle.memory[key] = orjson.dumps(value)
    chronicle.path.extend(patch["path"])
    chronicle.walk = row.walk
    shown = shown_checkpoint(row, chronicle.memory.copy(), chronicle.path)
    chronicle.checkpoints.append(shown)


def _end(chronicle: Chronicle, ending: Ending, at: float) -> None:
    chronicle.status = ending.status
    chronicle.ended_at = at if ending.status.is_terminal else None
    chronicle.parked_at = at if ending.status.is_parked else None
    chronicle.error = ending.error
    if ending.result is not None:
        chronicle.result = orjson.loads(ending.result)


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Everything the store knows of one session, as read in this order: executions, checkpoints, events.

    `executions` are by ordinal; those that never started have no part in the mirror.
    """

    executions: Sequence[tuple[MirrorMeta, ExecutionRow]]
    checkpoints: Sequence[CheckpointRow]
    events: Sequence[StoredEvent]

    def fold(self, execution_id: str, keep: int) -> tuple[Chronicle, list[Line]]:
        """Return the chronicle and log lines of one of the executions. Raises KeyError."""
        for meta, row in self.executions:
            if row.execution_id == execution_id:
                return fold_rows(
                    meta,
                    row,
                    (c for c in self.checkpoints if c.execution_id == execution_id),
                    (e for e in self.events if e.execution_id == execution_id),
                    keep,
                )
        raise KeyError(execution_id)
