"""`/v1/executions`."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from hive_daemon.control.answers import answer, listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import at_work
from hive_daemon.control.pages import Page, page_of_rows
from hive_daemon.control.places import find_agent, find_lane
from hive_daemon.control.references import find_execution, find_session_id
from hive_daemon.control.trace_view import all_events, trace_view
from hive_daemon.control.views import execution_view, listed_execution_view
from hive_daemon.control.walked import all_walked_by, walked_by
from hive_daemon.control.wire import WAIT_SECONDS_MAX
from hive_daemon.errors import IllegalMove
from hive_daemon.runtime.execution import StopReason
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import ExecutionFilter, ExecutionRow
from hive_daemon.tasks import to_thread

logger = logging.getLogger(__name__)

MOST_REASON = 1_000


async def list_executions(control: Control, ask: Ask) -> web.StreamResponse:
    """List executions, newest first."""
    query = ask.query
    agent, address, session = query.one("agent"), query.one("entry_point"), query.one("session_id")
    page, statuses = Page.of(query), query.choices("status", ExecutionStatus)
    if agent is not None:
        find_agent(control.host, agent)
    lane = None if address is None else find_lane(control.host, address)
    if lane is not None and agent not in (None, lane.agent):
        return listed([])
    store = control.store.executions
    wanted = ExecutionFilter(
        agent=lane.agent if lane is not None else agent,
        stream_id=lane.stream_id if lane is not None else None,
        statuses=statuses,
        session_id=None if session is None else await find_session_id(store, session),
    )
    rows, cursor = await page_of_rows(store, wanted, page)
    walked = await all_walked_by(control.host, rows)
    now = control.now()
    views = (listed_execution_view(row, one, now) for row, one in zip(rows, walked, strict=True))
    return listed(list(views), cursor)


async def show_trace(control: Control, ask: Ask) -> web.StreamResponse:
    """Show what an execution did when."""
    row = await find_execution(control.store.executions, ask.names["execution"])
    events = await all_events(control.store.executions, row.execution_id)
    return answer(await to_thread(trace_view, row, events))


async def show_execution(control: Control, ask: Ask) -> web.StreamResponse:
    """Show an execution, if wanted as soon as it is settled."""
    seconds = ask.query.seconds("wait", WAIT_SECONDS_MAX)
    row = await find_execution(control.store.executions, ask.names["execution"])
    if seconds:
        row = await _wait(control, ask, row, seconds)
    walked = await walked_by(control.host, row)
    return answer(execution_view(row, walked, control.now()))


def is_settled(status: ExecutionStatus) -> bool:
    """Say whether an execution stays as it is until somebody does something."""
    return status.is_terminal or status.is_parked


async def _wait(control: Control, ask: Ask, row: ExecutionRow, seconds: float) -> ExecutionRow:
    """Return the execution once it is settled, or as it is when the time is over or nobody waits any more.

    Once it is answered as settled, its readable files are complete.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    hub, name = control.host.services.hub, row.execution_id
    while True:
        with hub.waiting(name) as stopped:
            # Looked at after the waiting began: what stops from here on is noticed.
            row = await control.store.executions.load(name)
            left = deadline - loop.time()
            if left <= 0 or (is_settled(row.status) and not _is_to_tell(control, row)):
                return row
            ends = (stopped, control.closing, ask.connection.gone)
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if control.closing.done() or ask.connection.gone.done():
            return await control.store.executions.load(name)


def _is_to_tell(control: Control, row: ExecutionRow) -> bool:
    """Say whether an execution that is settled is not told of yet: what is read can be ahead of what is heard."""
    work = at_work(control.host, row)
    is_ending = work is not None and not work.is_published
    return is_ending or control.host.services.hub.is_to_tell(row.execution_id)


async def cancel(control: Control, ask: Ask) -> web.StreamResponse:
    """Order a cancellation; answer once the order is durable."""
    reason = ask.body.text("reason", most=MOST_REASON) or f"cancelled by {ask.peer}"
    row = await find_execution(control.store.executions, ask.names["execution"])
    return await order_cancel(control, row, reason, str(ask.peer))


async def order_cancel(
    control: Control, row: ExecutionRow, reason: str, by: str
) -> web.StreamResponse:
    """Order a cancellation and say where it stands. Raises IllegalMove if the execution is over."""
    _check_not_over(row.execution_id, row.status)
    status = await _order(control, row, reason, by)
    _check_not_over(row.execution_id, status)
    logger.info("cancelled", extra={"execution_id": row.execution_id, "by": by, "status": status})
    content = {
        "execution_id": row.execution_id,
        "session_id": row.session_id,
        "status": status,
    }
    return answer(content, 202)


async def _order(control: Control, row: ExecutionRow, reason: str, by: str) -> ExecutionStatus:
    inbox, name = control.store.inbox, row.execution_id
    status = await inbox.cancel(name, reason, by)
    if status is not ExecutionStatus.RUNNING:
        return status
    execution = at_work(control.host, row)
    if execution is None:
        # It was claimed at this moment and has not begun: by the time a second order is durable it has.
        status = await inbox.cancel(name, reason, by)
        execution = at_work(control.host, row)
    if execution is not None:
        execution.stop(StopReason.CANCEL, reason)
    return status


def _check_not_over(name: str, status: ExecutionStatus) -> None:
    if status.is_terminal and status is not ExecutionStatus.CANCELLED:
        raise IllegalMove(f"{name} is {status} already", hint="there is nothing to cancel any more")
