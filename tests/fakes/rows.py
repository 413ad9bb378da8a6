"""An execution as the store shows it, for what only reads rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import ExecutionRow

NAME = "session_20260302_090000_1a2b3c4d"
BEGAN = 1_772_442_000.0

_ROW = ExecutionRow(
    n=1,
    execution_id=NAME,
    session_id=NAME,
    agent="ops",
    graph_id="ops",
    entry_point="run",
    stream_id="run",
    status=ExecutionStatus.RUNNING,
    source="api",
    correlation_id="",
    causation=(),
    created_at=BEGAN,
    started_at=BEGAN,
    updated_at=BEGAN,
    ended_at=None,
    ordinal=1,
    is_joined=False,
    attempts=1,
    seq=1,
    steps=0,
    node_id=None,
    input=b"{}",
    result=None,
    error=None,
    error_code="",
    waiting=None,
    cancel_reason=None,
    trace_id="",
)


def execution_row(**changes: Any) -> ExecutionRow:
    """Return an execution of `ops/run` that runs, but for these changes."""
    return replace(_ROW, **changes)
