"""`/v1/queue`: what was accepted and has not begun."""

from __future__ import annotations

import logging

from aiohttp import web

from hive_daemon.control.answers import answer, listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.pages import Page
from hive_daemon.control.places import find_agent, find_lane
from hive_daemon.control.queue_views import explained_view, queued_view
from hive_daemon.control.references import find_execution
from hive_daemon.control.routes.executions import order_cancel
from hive_daemon.errors import IllegalMove
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.admission import QueueFilter
from hive_daemon.storage.values import ExecutionRow

logger = logging.getLogger(__name__)

MOST_REASON = 1_000


async def list_queue(control: Control, ask: Ask) -> web.StreamResponse:
    """List what waits, in the order in which it would run."""
    agent, address = ask.query.one("agent"), ask.query.one("entry_point")
    page = Page.of(ask.query)
    if agent is not None:
        find_agent(control.host, agent)
    lane = None if address is None else find_lane(control.host, address)
    if lane is not None and agent not in (None, lane.agent):
        return listed([])
    offset = page.offset()
    found = await control.store.queue.listing(
        QueueFilter(
            lane=None if lane is None else f"{lane.agent}/{lane.stream_id}",
            agent=agent,
            offset=offset,
            limit=page.limit,
        )
    )
    cursor = f"o{offset + len(found)}" if len(found) == page.limit else None
    return listed([queued_view(queued) for queued in found], cursor)


async def explain(control: Control, ask: Ask) -> web.StreamResponse:
    """Say why an execution waits."""
    row = await _find_queued(control, ask)
    return await _explained(control, row.execution_id)


async def to_front(control: Control, ask: Ask) -> web.StreamResponse:
    """Let an execution be the next of its entry point; answer with what holds it still."""
    row = await _find_queued(control, ask)
    await control.store.queue.to_front(row.execution_id)
    logger.info("moved to the front", extra={"execution_id": row.execution_id, "by": str(ask.peer)})
    control.host.services.dispatcher.hint(f"{row.agent}/{row.stream_id}")
    return await _explained(control, row.execution_id)


async def cancel(control: Control, ask: Ask) -> web.StreamResponse:
    """Cancel an execution that waits; answer once the order is durable."""
    row = await _find_queued(control, ask)
    reason = ask.body.text("reason", most=MOST_REASON) or f"cancelled by {ask.peer}"
    return await order_cancel(control, row, reason, str(ask.peer))


async def _explained(control: Control, execution_id: str) -> web.Response:
    limits = control.host.services.dispatcher.limits
    return answer(explained_view(await control.store.queue.explain(execution_id, limits)))


async def _find_queued(control: Control, ask: Ask) -> ExecutionRow:
    """Return the execution that the path names. Raises IllegalMove if it does not wait any more."""
    row = await find_execution(control.store.executions, ask.names["execution"])
    if row.status is not ExecutionStatus.QUEUED:
        raise IllegalMove(
            f"{row.execution_id} is {row.status}, it does not wait in the queue",
            hint=f"see `hive executions show {row.execution_id}`",
        )
    return row
