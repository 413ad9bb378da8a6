"""`/v1/sessions`, and going on with them."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from hive_daemon.control.answers import Json, answer, listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.continuing import Wish, carry_on
from hive_daemon.control.pages import Page, page_of_rows
from hive_daemon.control.places import find_agent
from hive_daemon.control.references import find_execution, find_session, find_session_id
from hive_daemon.control.routes.entry_points import accepted_answer
from hive_daemon.control.routes.executions import is_settled
from hive_daemon.control.selection import Selection
from hive_daemon.control.speaking import Said, say
from hive_daemon.control.state_view import state_document
from hive_daemon.control.streams import answer_stream
from hive_daemon.control.views import checkpoint_view, listed_execution_view
from hive_daemon.control.walked import walked_by
from hive_daemon.control.wire import BODY_LIMIT_BYTES
from hive_daemon.errors import InvalidInput, NotFound
from hive_daemon.ids import execution_id, is_name
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import CheckpointRow, ExecutionFilter, ExecutionRow
from hive_daemon.tasks import run_all

CHECKPOINT_ID_MAX = 200
"""Characters that the id of a checkpoint may have."""

_GOES_ON = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.INTERRUPTED)


async def list_sessions(control: Control, ask: Ask) -> web.StreamResponse:
    """List sessions, the one whose latest execution is the newest first."""
    agent = ask.query.one("agent")
    if agent is not None:
        find_agent(control.host, agent)
    wanted = ExecutionFilter(
        agent=agent,
        statuses=ask.query.choices("status", ExecutionStatus),
        latest_of_session=True,
    )
    rows, cursor = await page_of_rows(control.store.executions, wanted, Page.of(ask.query))
    views = await run_all("sessions", [control.sessions.list_one(row) for row in rows])
    return listed(views, cursor)


async def show_session(control: Control, ask: Ask) -> web.StreamResponse:
    """Show a session and its latest execution."""
    return answer(await control.sessions.show(await _latest(control, ask), control.now()))


async def show_state(control: Control, ask: Ask) -> web.StreamResponse:
    """Show what `state.json` mirrors."""
    return answer(await state_document(control.host, await _latest(control, ask)))


async def list_checkpoints(control: Control, ask: Ask) -> web.StreamResponse:
    """List the checkpoints of a session, oldest first."""
    page = Page.of(ask.query)
    session_id = (await _latest(control, ask)).session_id
    rows = await control.store.sessions.checkpoints(session_id)
    found, cursor = page.cut(rows, partial(_place_of, session_id))
    return listed([checkpoint_view(row, session_id) for row in found], cursor)


def _place_of(session_id: str, row: CheckpointRow) -> str:
    """Return what sorts checkpoints by execution, then step."""
    is_first = row.execution_id == execution_id(session_id, 1)
    ordinal = 1 if is_first else int(row.execution_id.rpartition("-")[2])
    return f"{ordinal:012d}:{row.seq:012d}"


async def stream_session(control: Control, ask: Ask) -> web.StreamResponse:
    """Stream the events of a session."""
    latest = await _latest(control, ask)
    reference = ask.query.one("execution_id")
    one = None if reference is None else await _execution_of(control, latest, reference)
    selection = Selection(
        session_id=latest.session_id, execution_id=one.execution_id if one is not None else ""
    )
    settled = partial(_settled, control, latest.session_id, selection.execution_id)
    return await answer_stream(control, ask, selection, (latest.session_id,), settled)


async def _execution_of(control: Control, latest: ExecutionRow, reference: str) -> ExecutionRow:
    row = await find_execution(control.store.executions, reference)
    if row.session_id != latest.session_id:
        raise NotFound(
            f"{row.execution_id} does not belong to {latest.session_id}",
            hint=f"it belongs to {row.session_id}",
        )
    return row


async def _settled(control: Control, session_id: str, wanted: str) -> Json | None:
    """Return what a session, or one execution of it, came to; None while it goes on."""
    store = control.store.executions
    if wanted:
        row = await store.load(wanted)
        if not is_settled(row.status):
            return None
    else:
        going_on = ExecutionFilter(session_id=session_id, statuses=_GOES_ON, limit=1)
        if await store.query(going_on):
            return None
        row = await find_session(store, session_id)
    return listed_execution_view(row, await walked_by(control.host, row), control.now())


async def resume(control: Control, ask: Ask) -> web.StreamResponse:
    """Go on with a session, or go back to one of its checkpoints; answer once that is durable."""
    body = ask.body
    checkpoint, retries = body.text("from", most=CHECKPOINT_ID_MAX), body.flag("retry_failed")
    if checkpoint and retries:
        raise InvalidInput("from and retry_failed exclude each other", hint="send one of them")
    wish = Wish(
        await find_session_id(control.store.executions, ask.names["session"]),
        body.mapping("input"),
        key=ask.key,
        digest=f"resume:{body.digest}",
        checkpoint=checkpoint,
        retries_failed=retries,
        accepts_change=body.flag("accept_changed_graph"),
    )
    return await accepted_answer(control, await carry_on(control.host, control.once, wish))


async def give_input(control: Control, ask: Ask) -> web.StreamResponse:
    """Say something to the node that waits; answer once that is durable."""
    text, node_id = ask.body.text("text", most=BODY_LIMIT_BYTES), ask.body.text("node_id", most=64)
    if not ask.body.has("text"):
        raise InvalidInput("there is no text", hint='send {"text": "yes, go on"}')
    if ask.body.has("node_id") and not is_name(node_id):
        raise InvalidInput(f'"{node_id}" is not the id of a node', hint="leave it out, or name one")
    session_id = await find_session_id(control.store.executions, ask.names["session"])
    said = Said(session_id, text, node_id, ask.key, f"input:{ask.body.digest}")
    return await accepted_answer(control, await say(control.host, control.once, said))


async def _latest(control: Control, ask: Ask) -> ExecutionRow:
    return await find_session(control.store.executions, ask.names["session"])
