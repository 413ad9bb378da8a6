"""Executions, as the control API shows them: from rows of the store to the objects of docs/control-api.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from hive_daemon.clock import iso_z
from hive_daemon.observability.redaction import redactor
from hive_daemon.spending import NO_CALLS, Spending
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import CheckpointRow, ExecutionRow, Submitted
from hive_daemon.storage.waiting import Awaited, read

if TYPE_CHECKING:
    # Only then: what an execution looks like is also told by a run in the foreground, which serves nobody.
    from hive_daemon.control.answers import Json

_WAITING_KINDS = {
    ExecutionStatus.PAUSED: "pause",
    ExecutionStatus.WAITING_INPUT: "input",
    ExecutionStatus.WAITING_APPROVAL: "approval",
}
_KINDS_SHOWN = {status.value: shown for status, shown in _WAITING_KINDS.items()}


@dataclass(frozen=True, slots=True)
class Walked:
    """What an execution has come to so far. `output` is None before it stopped."""

    path: tuple[str, ...] = ()
    output: Mapping[str, Any] | None = None
    spending: Spending = NO_CALLS
    active_node: str | None = None


def execution_view(row: ExecutionRow, walked: Walked, now: float) -> Json:
    """Return an execution; `now` in wall seconds."""
    payload = {"input": orjson.Fragment(row.input), "output": walked.output}
    return {**_head(row, walked, now), **payload, **_tail(row)}


def listed_execution_view(row: ExecutionRow, walked: Walked, now: float) -> Json:
    """Return an execution as it stands in lists, without its input and output."""
    return {**_head(row, walked, now), **_tail(row)}


def _head(row: ExecutionRow, walked: Walked, now: float) -> Json:
    return {
        "id": row.execution_id,
        "session_id": row.session_id,
        "agent": row.agent,
        "graph_id": row.graph_id,
        "entry_point": address_of(row),
        "stream_id": row.stream_id,
        "status": row.status,
        "source": row.source,
        "correlation_id": row.correlation_id,
        "created_at": iso_z(row.created_at),
        "started_at": time_view(row.started_at),
        "ended_at": time_view(row.ended_at),
        "duration_seconds": _duration_seconds(row, now),
        "attempts": row.attempts,
        "steps": row.steps,
        "current_node": current_node(row, walked),
        "path": list(walked.path),
        **walked.spending.to_json(),
    }


def _tail(row: ExecutionRow) -> Json:
    waiting = waiting_view(row)
    return {
        "error": redactor().redact_text(row.error) if row.error else None,
        "error_code": row.error_code or None,
        "cancelled_by": row.cancelled_by or None,
        "paused_at": waiting["node_id"] or None if waiting else None,
        "waiting": waiting,
        "joined": row.is_joined,
        "causation": list(row.causation),
    }


def address_of(row: ExecutionRow) -> str:
    """Return the full address of the entry point that an execution belongs to."""
    return f"{row.agent}/{row.stream_id}"


def current_node(row: ExecutionRow, walked: Walked) -> str | None:
    """Return the node that runs, or that the execution stopped at; None once it is complete."""
    if row.status is ExecutionStatus.COMPLETED:
        return None
    waiting = waiting_view(row)
    if waiting and waiting["node_id"]:
        node_id: str = waiting["node_id"]
        return node_id
    return walked.active_node or row.node_id


def waiting_view(row: ExecutionRow) -> Json | None:
    """Return what an execution waits for, None when it does not wait."""
    kind = _WAITING_KINDS.get(row.status)
    if kind is None:
        return None
    said: Mapping[str, Any] = orjson.loads(row.waiting) if row.waiting else {}
    return {
        "kind": kind,
        "node_id": said.get("node_id") or row.node_id or "",
        "question": said.get("question") or "",
        "options": [str(option) for option in said.get("options") or ()],
        "nodes": [_awaited_view(one) for one in read(row.waiting)],
    }


def _awaited_view(awaited: Awaited) -> Json:
    return {
        "kind": _KINDS_SHOWN.get(awaited.kind, awaited.kind),
        "node_id": awaited.node_id,
        "question": awaited.question,
        "options": list(awaited.options),
    }


def _duration_seconds(row: ExecutionRow, now: float) -> float | None:
    if row.started_at is None:
        return None
    until = now if row.ended_at is None else row.ended_at
    return round(max(until - row.started_at, 0.0), 6)


def time_view(seconds: float | None) -> str | None:
    """Write wall seconds as a time, None as None."""
    return None if seconds is None else iso_z(seconds)


class Outcome(StrEnum):
    """What became of a request that starts or continues work."""

    QUEUED = "queued"
    DUPLICATE = "duplicate"
    COALESCED = "coalesced"
    CONTINUED = "continued"


def outcome_of(submitted: Submitted, otherwise: Outcome) -> Outcome:
    """Say what became of a submission; `otherwise` if the execution was there before."""
    if submitted.coalesced:
        return Outcome.COALESCED
    return Outcome.QUEUED if submitted.created else otherwise


def accepted_view(
    submitted: Submitted,
    entry_point: str,
    status: ExecutionStatus,
    otherwise: Outcome = Outcome.CONTINUED,
) -> Json:
    """Return what became of a request that starts or continues work."""
    return {
        "execution_id": submitted.execution_id,
        "execution_ids": [submitted.execution_id],
        "session_id": submitted.session_id,
        "entry_point": entry_point,
        "status": status,
        "created": submitted.created,
        "outcome": outcome_of(submitted, otherwise),
        "due_at": time_view(submitted.due_at),
    }


def checkpoint_view(row: CheckpointRow, session_id: str) -> Json:
    """Return a checkpoint."""
    walk = orjson.loads(row.walk)
    return {
        "checkpoint_id": row.checkpoint_id,
        "checkpoint_type": row.kind,
        "execution_id": row.execution_id,
        "session_id": session_id,
        "created_at": iso_z(row.created_at),
        "current_node": row.node_id,
        "next_node": row.next_node,
        "is_clean": not walk.get("retries") and not walk.get("failed_nodes"),
        "description": f"{row.kind.replace('_', ' ')}: {row.node_id or 'start'}",
    }
