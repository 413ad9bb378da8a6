"""`/v1/entry-points`, and triggering them."""

from __future__ import annotations

from enum import StrEnum

from aiohttp import web

from hive_daemon.control.agent_views import entry_point_view
from hive_daemon.control.answers import answer, listed
from hive_daemon.control.context import Ask, Control
from hive_daemon.control.continuing import Wish, carry_on
from hive_daemon.control.pages import Page
from hive_daemon.control.places import Place, find_agent, find_place, places
from hive_daemon.control.query import read_choice
from hive_daemon.control.references import find_session_id
from hive_daemon.control.timer_views import clockworks, timer_view
from hive_daemon.control.views import Outcome, accepted_view, address_of
from hive_daemon.errors import NotRunning
from hive_daemon.runtime.execution_stream import ExecutionStream
from hive_daemon.runtime.intake import Call, accepted
from hive_daemon.status import ExecutionStatus
from hive_daemon.storage.values import Submitted

MOST_CORRELATION = 200
MOST_REFERENCE = 64


class Source(StrEnum):
    """Who triggers."""

    API = "api"
    CLI = "cli"
    MANUAL = "manual"


async def list_entry_points(control: Control, ask: Ask) -> web.StreamResponse:
    """List the entry points, by address."""
    name = ask.query.one("agent")
    if name is not None:
        find_agent(control.host, name)
    known = [place for place in places(control.host) if name in (None, place.agent.name)]
    page, cursor = Page.of(ask.query).cut(known, lambda place: place.address)
    timers = await clockworks(control.host)
    return listed(
        [
            entry_point_view(
                place,
                timer_view(control.host, timers[place.address])
                if place.address in timers
                else None,
            )
            for place in page
        ],
        cursor,
    )


async def trigger(control: Control, ask: Ask) -> web.StreamResponse:
    """Start an execution; answer once it is durable."""
    names = ask.names
    agent, entry_point = names.get("agent"), names["entry_point"]
    place = find_place(control.host, f"{agent}/{entry_point}" if agent else entry_point)
    call = Call(
        input_data=ask.body.mapping("input"),
        correlation_id=ask.body.text("correlation_id", most=MOST_CORRELATION),
        source=read_choice(
            "source", ask.body.text("source", most=16, otherwise=Source.API), Source
        ),
        idempotency_key=ask.key,
        body_hash=ask.body.digest,
    )
    stream = _stream_of(place)
    reference = ask.body.text("session_id", most=MOST_REFERENCE)
    if ask.body.has("session_id"):
        session_id = await find_session_id(control.store.executions, reference)
        submitted = await carry_on(control.host, control.once, _wish(session_id, call, stream))
        return await accepted_answer(control, submitted)
    submitted = accepted(await stream.submit(call))
    if submitted.created:
        return answer(accepted_view(submitted, place.address, ExecutionStatus.QUEUED), 202)
    return await accepted_answer(control, submitted, Outcome.DUPLICATE)


def _stream_of(place: Place) -> ExecutionStream:
    """Return the stream of an entry point. Raises NotRunning, Draining."""
    if place.agent.runtime is not None:
        place.agent.runtime.running()
    if place.stream is None:
        raise NotRunning(
            f"the agent {place.agent.name} does not run", hint="see `hive agents list`"
        )
    return place.stream


def _wish(session_id: str, call: Call, stream: ExecutionStream) -> Wish:
    return Wish(
        session_id=session_id,
        inputs=call.input_data,
        source=call.source,
        correlation_id=call.correlation_id,
        key=call.idempotency_key,
        digest=call.body_hash,
        stream=stream,
    )


async def accepted_answer(
    control: Control, submitted: Submitted, otherwise: Outcome = Outcome.CONTINUED
) -> web.Response:
    """Answer with what became of a request that starts or continues work, as it is now."""
    row = await control.store.executions.load(submitted.execution_id)
    return answer(accepted_view(submitted, address_of(row), row.status, otherwise), 202)
