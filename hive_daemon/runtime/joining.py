"""Which session a timer's or an event's execution belongs to, by what lives in the runtime at that moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hive_daemon.graph.memory import ROOT
from hive_daemon.runtime.entry_point import IsolationLevel, SessionChoice
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.graph_host import GraphHost
from hive_daemon.runtime.patches import restored
from hive_daemon.runtime.session_binding import Join
from hive_daemon.runtime.spawning import declared
from hive_daemon.storage.ports import Store
from hive_daemon.storage.values import ExecutionFilter


@dataclass(frozen=True, slots=True)
class OwnSession:
    """The session that an isolated entry point keeps using; empty when it begins a new one each time."""

    session_id: str = ""
    is_waiting: bool = False


async def own_session(store: Store, stream: ExecutionStream) -> OwnSession:
    """Return the session that an entry point with `session: reuse` goes on with."""
    setup = stream.setup
    if setup.spec.session != SessionChoice.REUSE:
        return OwnSession()
    rows = await store.executions.query(
        ExecutionFilter(agent=setup.agent, stream_id=setup.stream_id, limit=1)
    )
    if not rows:
        return OwnSession()
    return OwnSession(rows[0].session_id, rows[0].status.is_parked)


async def join_for(
    stream: ExecutionStream, hosts: Iterable[GraphHost], store: Store
) -> Join | None:
    """Return the live session that a shared entry point joins, with a copy of the keys it declares.

    Live is what runs in another stream that is not isolated, the newest first; else what waits there for a person.
    """
    if stream.setup.isolation is IsolationLevel.ISOLATED:
        return None
    others = [
        other
        for host in hosts
        for other in host.streams.values()
        if other is not stream
        and (other.running or other.is_awaiting_input)
        and other.setup.graph_id == stream.setup.graph_id
        and other.setup.isolation is not IsolationLevel.ISOLATED
    ]
    running = [e for other in others for e in other.running.values() if not e.claim.is_joined]
    if running:
        newest = max(running, key=lambda execution: execution.claim.created_at)
        return Join(newest.session_id, declared(stream, newest.values))
    waiting = [item["execution_id"] for other in others for item in other.get_waiting_nodes()]
    if not waiting:
        return None
    newest_id = max(waiting)
    kept = await store.sessions.restore(newest_id)
    values = restored(kept).memory.read([ROOT]) if kept is not None else {}
    return Join(newest_id.split("-", 1)[0], declared(stream, values))
