"""`/v1/events`."""

from __future__ import annotations

from aiohttp import web

from hive_daemon.control.context import Ask, Control
from hive_daemon.control.host import agents_of
from hive_daemon.control.places import find_agent, find_lane
from hive_daemon.control.query import Query
from hive_daemon.control.references import find_execution, find_session_id
from hive_daemon.control.selection import EventField, Selection, read_types
from hive_daemon.control.streams import answer_stream
from hive_daemon.errors import InvalidInput
from hive_daemon.ids import session_of

PARAMETERS = ("type", "entry_point", *EventField)


async def stream_events(control: Control, ask: Ask) -> web.StreamResponse:
    """Stream the events of all agents."""
    query = ask.query
    chosen = {name: await _values(control, name, query) for name in EventField}
    single = {
        name: next(iter(values)) if len(values) == 1 else "" for name, values in chosen.items()
    }
    told_apart = {EventField.AGENT, EventField.SESSION, EventField.EXECUTION}
    selection = Selection(
        agent=single[EventField.AGENT],
        session_id=single[EventField.SESSION],
        execution_id=single[EventField.EXECUTION],
        types=read_types(query.every("type")),
        lanes=frozenset(find_lane(control.host, text) for text in query.every("entry_point")),
        among=tuple(
            (name, values)
            for name, values in chosen.items()
            if values and not (name in told_apart and single[name])
        ),
    )
    return await answer_stream(control, ask, selection, _watched(control, selection))


async def _values(control: Control, name: EventField, query: Query) -> frozenset[str]:
    """Return the values of a parameter; agents, sessions and executions by what they are called."""
    store, texts = control.store.executions, query.every(name)
    if "" in texts:
        raise InvalidInput(
            f"the query parameter {name} is empty", hint="write a value, or leave it"
        )
    match name:
        case EventField.AGENT:
            return frozenset(find_agent(control.host, text).name for text in texts)
        case EventField.SESSION:
            return frozenset([await find_session_id(store, text) for text in texts])
        case EventField.EXECUTION:
            return frozenset([(await find_execution(store, t)).execution_id for t in texts])
    return frozenset(texts)


def _watched(control: Control, selection: Selection) -> tuple[str, ...]:
    """Return the names under which the hub is told that somebody watches live events."""
    if selection.execution_id or selection.session_id:
        return (selection.session_id or session_of(selection.execution_id),)
    among = dict[EventField, frozenset[str]](selection.among)
    if EventField.SESSION in among or EventField.EXECUTION in among:
        executions = among.get(EventField.EXECUTION, frozenset())
        return (*among.get(EventField.SESSION, ()), *map(session_of, executions))
    if selection.agent or EventField.AGENT in among:
        return (selection.agent,) if selection.agent else tuple(among[EventField.AGENT])
    if selection.lanes:
        return tuple({lane.agent for lane in selection.lanes})
    return tuple(agent.name for agent in agents_of(control.host))
