"""The state of a session, as `state.json` shows it, rebuilt from the rows of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hive_daemon.control.host import Host, stream_at
from hive_daemon.storage.chronicle import SessionIdentity
from hive_daemon.storage.mirror_fold import EDGE_TRAVERSED, NODE_COMPLETED, fold_rows
from hive_daemon.storage.ports import ExecutionStore
from hive_daemon.storage.session_state import state_json
from hive_daemon.storage.values import MAX_PAGE, EventFilter, ExecutionRow, StoredEvent

_SHOWN_CHECKPOINTS = 1
"""The state names only the newest checkpoint."""


async def state_document(host: Host, latest: ExecutionRow) -> bytes:
    """Return the state that the latest execution of a session left, as JSON."""
    store = host.services.store
    checkpoints = [
        checkpoint
        for checkpoint in await store.sessions.checkpoints(latest.session_id)
        if checkpoint.execution_id == latest.execution_id
    ]
    events = [event async for event in _events(store.executions, latest.execution_id)]
    chronicle, _ = fold_rows(
        _identity(host, latest), latest, checkpoints, events, _SHOWN_CHECKPOINTS
    )
    return state_json(chronicle)


def _identity(host: Host, row: ExecutionRow) -> SessionIdentity:
    stream = stream_at(host, row)
    setup = stream.setup if stream is not None else None
    return SessionIdentity(
        agent=row.agent,
        session_id=row.session_id,
        execution_id=row.execution_id,
        ordinal=row.ordinal,
        is_joined=row.is_joined,
        graph_id=setup.graph.id if setup is not None else row.graph_id,
        goal_id=setup.goal.id if setup is not None else "",
        entry_point=row.entry_point,
        stream_id=row.stream_id,
        correlation_id=row.correlation_id,
        isolation_level=setup.isolation if setup is not None else "",
        input=row.input,
        created_at=row.created_at,
        started_at=row.created_at if row.started_at is None else row.started_at,
        trace_id=row.trace_id,
    )


async def _events(store: ExecutionStore, execution_id: str) -> AsyncIterator[StoredEvent]:
    """Yield the events of an execution that its state is made of."""
    after = 0
    while True:
        page = await store.history(
            EventFilter(
                after_seq=after,
                execution_id=execution_id,
                types=(NODE_COMPLETED, EDGE_TRAVERSED),
            )
        )
        for event in page:
            yield event
        if len(page) < MAX_PAGE:
            return
        after = page[-1].seq
