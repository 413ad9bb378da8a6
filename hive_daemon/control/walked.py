"""What an execution has come to so far: read from its result, else from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from hive_daemon.control.host import Host, at_work
from hive_daemon.control.views import Walked
from hive_daemon.insight.under_way import SPENDING, spent_under_way
from hive_daemon.spending import Spending
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import SessionRecords
from hive_daemon.storage.values import EventFilter, ExecutionRow
from hive_daemon.tasks import run_all

_LOOKED_AT = 200
"""How many of its newest events say what the nodes of an execution spent that have not ended."""


async def walked_by(host: Host, row: ExecutionRow) -> Walked:
    """Return what an execution has come to so far, with what its nodes spent that are under way, or were cut off."""
    walked = await _kept(host, row)
    if row.status is ExecutionStatus.COMPLETED or not row.seq:
        return walked
    wanted = EventFilter(
        execution_id=row.execution_id, types=SPENDING, limit=_LOOKED_AT, newest=True
    )
    events = await host.services.store.executions.history(wanted)
    return replace(walked, spending=walked.spending.plus(spent_under_way(events)))


async def _kept(host: Host, row: ExecutionRow) -> Walked:
    """Return what its result or its newest checkpoint says."""
    records = host.services.store.sessions
    result = _result(row)
    if result is None:
        return replace(await _under_way(records, row), active_node=_active_node(host, row))
    output = result.get("output") or {}
    if result.get("path") or not row.seq:
        return Walked(tuple(result.get("path") or ()), output, Spending.of(result))
    # It was ended from outside its walk: the walk itself is in the checkpoints.
    return replace(await _under_way(records, row), output=output)


async def all_walked_by(host: Host, rows: Sequence[ExecutionRow]) -> list[Walked]:
    """Return what each of these executions has come to so far."""
    return await run_all("walked", [walked_by(host, row) for row in rows])


def _result(row: ExecutionRow) -> Mapping[str, Any] | None:
    """Return the result of an execution at rest. One that goes on may still have that of an earlier rest."""
    is_at_rest = row.status.is_terminal or row.status.is_parked
    if row.result is None or not is_at_rest:
        return None
    result = orjson.loads(row.result)
    return result if isinstance(result, dict) else None


async def _under_way(records: SessionRecords, row: ExecutionRow) -> Walked:
    kept = await records.restore(row.execution_id) if row.seq else None
    if kept is None:
        return Walked()
    path: list[str] = []
    for patch in kept.patches:
        path.extend(orjson.loads(patch).get("path", ()))
    totals = orjson.loads(kept.walk).get("totals", {})
    return Walked(tuple(path), None, Spending.of(totals))


def _active_node(host: Host, row: ExecutionRow) -> str | None:
    """Return the first node that is at work in an execution of this process."""
    if row.status is not ExecutionStatus.RUNNING:
        return None
    execution = at_work(host, row)
    return execution.nodes[0] if execution and execution.nodes else None
