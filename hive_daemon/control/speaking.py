"""Saying something to a session: to the node that waits for it, or to what runs."""

from __future__ import annotations

from dataclasses import dataclass

from hive_daemon.control.errors import Ambiguous
from hive_daemon.control.host import Host, at_work, stream_at
from hive_daemon.control.once import Note, Once
from hive_daemon.control.query import shown
from hive_daemon.errors import Conflict
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import ExecutionFilter, ExecutionRow, Submitted
from hive_daemon.storage.waiting import PAUSE, read

_WAITING = (ExecutionStatus.WAITING_INPUT, ExecutionStatus.WAITING_APPROVAL)
_AT_WORK = (ExecutionStatus.RUNNING, ExecutionStatus.QUEUED)


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says to a session. An empty `node_id` leaves open to which node."""

    session_id: str
    text: str
    node_id: str = ""
    key: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is to hear it: a node of an execution; an empty node is whichever asks next."""

    row: ExecutionRow
    node_id: str


async def say(host: Host, once: Once, said: Said) -> Submitted:
    """Say something, durably, once for each key.

    Raises Conflict if nothing waits or runs, Ambiguous if several nodes wait, GraphChanged if what waits may not go on
    in the graph as it is, IdempotencyConflict.
    """
    async with once.turn(said.session_id):
        note = await once.recall(said.session_id, said.key, said.digest) if said.key else None
        is_new = note is None
        if note is None:
            listener = await find_listener(host.services.store, said)
            await _check_graph(host, listener.row)
            note = _note(host, said, listener)
            if said.key:
                await once.keep(said.session_id, said.key, note)
        # The same item is taken once, so this also finishes what an earlier request did not come to.
        await _put(host, said, note)
        return Submitted(note.target, said.session_id, is_new)


async def _check_graph(host: Host, row: ExecutionRow) -> None:
    """Raise GraphChanged for what waits and may not go on; without its agent it does not go on now."""
    stream = stream_at(host, row) if row.status in _WAITING else None
    if stream is not None:
        await stream.check_graph(row.execution_id)


async def find_listener(store: Store, said: Said) -> Listener:
    """Return who is to hear it. Raises Conflict, Ambiguous."""
    waiting = [
        Listener(row, node)
        for row in await _rows(store, said.session_id, _WAITING)
        for node in _nodes_that_wait(row)
    ]
    if said.node_id:
        wanted = [one for one in waiting if one.node_id == said.node_id]
        return wanted[0] if wanted else await _at_work(store, said, waiting)
    nodes = list(dict.fromkeys(one.node_id for one in waiting))
    if len(nodes) > 1:
        raise Ambiguous(
            f"{len(nodes)} nodes wait",
            nodes,
            hint="say which one: --node NODE, node_id in the control API",
        )
    return waiting[0] if waiting else await _at_work(store, said, waiting)


async def _at_work(store: Store, said: Said, waiting: list[Listener]) -> Listener:
    """Return what runs: it hears at its next turn. Raises Conflict."""
    rows = await _rows(store, said.session_id, _AT_WORK)
    if rows:
        main = [row for row in rows if not row.is_joined] or rows
        return Listener(main[0], said.node_id)
    if waiting:
        nodes = ", ".join(one.node_id for one in waiting)
        raise Conflict(
            f"the node {shown(said.node_id)} does not wait for anything", hint=f"{nodes} does"
        )
    name = said.session_id
    latest = ExecutionFilter(session_id=name, latest_of_session=True, limit=1)
    found = await store.executions.query(latest)
    is_over = all(row.status is ExecutionStatus.COMPLETED for row in found)
    way = (
        f"hive trigger ENTRY_POINT --session {name}" if is_over else f"hive sessions resume {name}"
    )
    raise Conflict(f"nothing of {name} waits for input or runs", hint=f"go on with it by `{way}`")


async def _rows(
    store: Store, session_id: str, statuses: tuple[ExecutionStatus, ...]
) -> list[ExecutionRow]:
    return await store.executions.query(ExecutionFilter(session_id=session_id, statuses=statuses))


def _nodes_that_wait(row: ExecutionRow) -> list[str]:
    """Return the nodes of an execution that wait for a person, the one that people are shown first."""
    asking = [one.node_id for one in read(row.waiting) if one.kind != PAUSE]
    return list(dict.fromkeys(asking)) or [row.node_id or ""]


def _note(host: Host, said: Said, listener: Listener) -> Note:
    row = listener.row
    return Note(
        said.digest,
        host.services.clock.time(),
        row.execution_id,
        row.updated_at,
        row.ordinal,
        node_id=listener.node_id,
        done=row.execution_id,
    )


async def _put(host: Host, said: Said, note: Note) -> None:
    key = f"control:{said.key}:{note.at}" if said.key else ""
    inbox = host.services.store.inbox
    injected = await inbox.inject(said.session_id, note.node_id, said.text, key)
    if injected.woke or injected.execution_id is None:
        return
    row = await host.services.store.executions.load(injected.execution_id)
    execution = at_work(host, row)
    if execution is not None:
        execution.hear(injected.item_id, note.node_id, said.text)
