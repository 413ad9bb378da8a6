"""`/v1/events`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import agents_of
from hive_daemon.control.places import find_agent, find_lane
from hive_daemon.control.references import find_execution, find_session_id
from hive_daemon.control.selection import Selection, read_types
from hive_daemon.control.streams import answer_stream
from hive_daemon.ids import session_of


async def stream_events(control: Control, ask: Ask) -> web.StreamResponse:
    """Stream the events of all agents."""
    query, store = ask.query, control.store.executions
    agent, session = query.one("agent"), query.one("session_id")
    execution = query.one("execution_id")
    selection = Selection(
        agent=find_agent(control.host, agent).name if agent is not None else "",
        session_id=await find_session_id(store, session) if session is not None else "",
        execution_id=(await find_execution(store, execution)).execution_id
        if execution is not None
        else "",
        types=read_types(query.every("type")),
        lanes=frozenset(find_lane(control.host, text) for text in query.every("entry_point")),
    )
    return await answer_stream(control, ask, selection, _watched(control, selection))


def _watched(control: Control, selection: Selection) -> tuple[str, ...]:
    """Return the names under which the hub is told that somebody watches live events."""
    if selection.execution_id or selection.session_id:
        return (selection.session_id or session_of(selection.execution_id),)
    if selection.agent:
        return (selection.agent,)
    if selection.lanes:
        return tuple({lane.agent for lane in selection.lanes})
    return tuple(agent.name for agent in agents_of(control.host))
