"""The approvals of an execution: tool calls that wait, or waited, for a person, as the store keeps them."""

from __future__ import annotations

import orjson

from hive_daemon.graph.approvals import RECORDS, Approval
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import ExecutionRow


async def approvals_of(store: Store, row: ExecutionRow) -> list[Approval]:
    """Return the approvals of an execution that is not over, by id, whether or not they were decided meanwhile."""
    if row.status.is_terminal:
        return []
    records = await store.sessions.records(row.session_id, RECORDS)
    known = [Approval.from_json(orjson.loads(record)) for _, record in sorted(records.items())]
    return [each for each in known if each.execution_id == row.execution_id]
